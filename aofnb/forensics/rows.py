"""The files of a log as rows, read from any mark on, and the index that has the marks.

Rules of this file: a row is given once it is known whether it counts, so those of a transaction wait for its EXEC;
what cannot be read is told to a `Report`, or is an error, as the caller wants it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from aofnb.errors import AofTruncatedError, RdbError
from aofnb.forensics import _walk_cy, resync
from aofnb.forensics.index import Index, Mark
from aofnb.forensics.parts import Part, PartFile
from aofnb.forensics.reading import (
    OPEN_MULTI,
    OnBad,
    Progress,
    ReadAhead,
    Report,
    ahead,
    borders_before,
    pays_ahead,
    teller,
)
from aofnb.forensics.scan import CHUNK_BYTES, Damage, Records, Walk, scan_file
from aofnb.forensics.snapshot import SnapshotRows

if TYPE_CHECKING:
    import pyarrow as pa

    from aofnb.forensics.columns import RowBuilder, Selection

__all__ = ["build_index", "is_far", "open_multi", "read_rows", "tables"]

# Marks of the index are so many bytes or rows apart, whichever comes first.
_MARK_BYTES = 4 << 20
_MARK_ROWS = 1 << 16
# So many FLUSH* and SWAPDB are remembered.
_FLUSHES = 256


def read_rows(
    parts: Sequence[Part],
    selection: Selection,
    on_bad: OnBad,
    progress: Progress,
    report: Report,
    begin: Mark | None = None,
) -> Iterator[pa.RecordBatch]:
    """All rows from `begin` on, a few megabytes of log at a time; fills `report` on the way.

    Raises
    ------
    AofError
        At damage, if `on_bad` is ``error``.
    """
    from aofnb.forensics.columns import RowBuilder

    builder = RowBuilder([part.name for part in parts], selection)
    if begin is not None:
        builder.resume(begin)
    tell = teller(progress)
    total = sum(part.size for part in parts)
    done = 0
    skipped: int | None = None
    for number, part in enumerate(parts):
        if begin is None or number >= begin.part:
            offset = begin.offset if begin is not None and number == begin.part else 0
            with part.open() as file:
                if not offset:
                    builder.start_part(number)
                    if part.format == "rdb":
                        report.snapshots.append((builder.seq, builder.seq))
                if skipped is None:
                    skipped = done + file.stored_before(offset)
                # Whoever stops early leaves no thread in a file that is closed.
                with closing(_read_part(part, file, offset, builder, on_bad, report)) as batches:
                    for batch in batches:
                        now = done + min(file.stored_before(report.offset), part.size)
                        report.share = (now - skipped) / max(total - skipped, 1)
                        yield batch
                        report.escaped_keys = builder.escaped_keys
                        tell(now, total)
        done += part.size
        tell(done, total)


def _read_part(
    part: Part, file: PartFile, offset: int, builder: RowBuilder, on_bad: OnBad, report: Report
) -> Generator[pa.RecordBatch]:
    """The rows of one file from `offset` on. Those of a transaction wait for its EXEC: only that says that they
    count.
    """
    waiting: list[pa.RecordBatch] = []
    opened = 0
    for found in tables(part, file, offset, on_bad, report):
        if found.behind_damage:
            # Whether the transaction ever ended is gone; what is there of it is given.
            yield from waiting
            waiting.clear()
        report.seconds += [(builder.seq + row, second) for row, second in found.ts]
        rows = builder.batch(found)
        report.rows = builder.seq
        if found.from_snapshot:
            report.snapshots[-1] = report.snapshots[-1][0], builder.seq
        if len(found):
            report.offset = found.file_end
        if rows.settled is not None:
            yield from waiting
            waiting.clear()
            yield rows.settled
        if rows.open is not None:
            if not waiting:
                opened = rows.opened_at
            waiting.append(rows.open)
    if not waiting:
        return
    if on_bad == "error":
        raise open_multi(part, opened)
    report.add(part, "open_multi", opened, None, OPEN_MULTI)
    yield from map(builder.discarded, waiting)


def build_index(parts: Sequence[Part], on_bad: OnBad, progress: Progress = None) -> Index:
    """Where reading can begin: reads everything once.

    Raises
    ------
    AofError
        At damage, if `on_bad` is ``error``.
    """
    survey = _Survey(parts, progress)
    # The kernel makes no rows. What `resync` has to know of those before damage, only rows tell.
    walk = survey.walk if _walk_cy.COMPILED and on_bad != "resync" else None
    for part in parts:
        with part.open() as file:
            survey.begin(part, file)
            for found in tables(part, file, 0, on_bad, survey.met, walk):
                survey.add(found)
            survey.end(on_bad)
    return survey.index()


class _Survey:
    """An index in the making. What keeps to the form that Redis writes goes through `walk`, where there are kernels;
    all else, or all, is read as tables, which `add` takes.
    """

    def __init__(self, parts: Sequence[Part], progress: Progress) -> None:
        from aofnb.forensics.columns import RowBuilder, Selection

        wanted = Selection.of(("offset", "db", "txn", "ts", "status"), cmd=("FLUSHALL", "FLUSHDB", "SWAPDB"))
        self._builder = RowBuilder([part.name for part in parts], wanted)
        self._marks: list[Mark] = []
        self._flushes: deque[Mark] = deque(maxlen=_FLUSHES)
        self._flushes_met = np.empty((_FLUSHES, 4), np.int64)
        self._tell = teller(progress)
        self._bytes = sum(part.size for part in parts)
        self._bytes_before = 0
        self._part_number = -1
        self.met = Report()

    def begin(self, part: Part, file: PartFile) -> None:
        """Go on with the next part, which is open as `file`."""
        self._part, self._file = part, file
        self._part_number += 1
        self._builder.start_part(self._part_number)
        self._marks.append(self._builder.mark(0))
        # Where the MULTI is that is open.
        self._opened: int | None = None

    def add(self, found: Records) -> None:
        """Take a table."""
        rows = self._builder.batch(found)
        self._flushes.extend(borders_before(rows.settled, self._part_number))
        if rows.open is None:
            self._opened = None
        elif self._opened is None or rows.settled is not None:
            self._opened = rows.opened_at
        # Inside a snapshot nothing can begin to read.
        self._come_to(found.file_end if len(found) and not found.from_snapshot else 0)

    def walk(self, data: bytes, pos: int, base: int) -> tuple[None, int]:
        """Take what is in `data` from `pos` on, as `scan_file` has it, as far as it keeps to the form Redis writes."""
        builder, flushes = self._builder, self._flushes_met
        before = builder.mark(0)
        state = np.array(
            [before.seq, before.db, before.txn, before.ts, builder.highest_db, builder.in_multi, -1], np.int64
        )
        behind, stop, flushed = _walk_cy.survey(data, pos, state, flushes.ravel())
        builder.pass_over(*state[:5].tolist(), in_multi=bool(state[5]))
        # The last ones, the oldest first.
        for place, seq, db, ts in np.roll(flushes, -flushed, axis=0)[-flushed:].tolist() if flushed else ():
            self._flushes.append(Mark(self._part_number, base + place, seq, db, 0, ts))
        if not builder.in_multi:
            self._opened = None
        elif state[6] >= 0:
            self._opened = base + int(state[6])
        self._come_to(base + behind if builder.seq > before.seq else 0)
        return None, stop

    def _come_to(self, offset: int) -> None:
        """The rows so far end at `offset`; 0 if nothing can begin to read behind them."""
        mark = self._builder.mark(offset)
        if offset and is_far(mark, self._marks[-1]) and not self._builder.in_multi:
            self._marks.append(mark)
        self._tell(self._bytes_before + self._file.stored_bytes_read, self._bytes)

    def end(self, on_bad: OnBad) -> None:
        """There is no more in this part."""
        if self._opened is not None:
            if on_bad == "error":
                raise open_multi(self._part, self._opened)
            self.met.add(self._part, "open_multi", self._opened, None, OPEN_MULTI)
        self._bytes_before += self._part.size
        self._tell(self._bytes_before, self._bytes)

    def index(self) -> Index:
        """What came of it."""
        last = self._part.size if self._marks else 0
        end = self._builder.mark(last)
        return Index(
            tuple(self._marks), end, self._builder.highest_db + 1, tuple(self._flushes), tuple(self.met.damage)
        )


def tables(
    part: Part,
    file: PartFile,
    offset: int,
    on_bad: OnBad,
    report: Report,
    walk: Walk | None = None,
    *,
    read_ahead: bool = False,
) -> Generator[Records]:
    """All commands of one file from `offset` on, those that rebuild its snapshot first; without those that `walk`
    takes, if it is given: see `scan_file`. With `read_ahead` a thread reads the bytes for it, where that pays.

    Raises
    ------
    AofError
        At damage, if `on_bad` is ``error``; otherwise `report` has it. With ``truncate`` what is legible of a cut
        command is a row, with ``resync`` so is what is behind the damage.
    """
    if part.format == "rdb" and not offset:
        snapshot = SnapshotRows(file, part)
        try:
            yield from snapshot.tables()
        except RdbError as problem:
            if on_bad == "error":
                raise
            place = problem.offset or 0
            if on_bad == "resync":
                yield from resync.behind_snapshot(part, file, place, str(problem), report)
            else:
                report.add(part, "snapshot", place, part.size - place, str(problem))
            return
        for place, reason in snapshot.notes:
            report.add(part, "skipped", place, None, reason)
        assert snapshot.end is not None
        offset = snapshot.end
    file.seek(offset)
    size = None if part.compression else max(part.size - offset, 0)
    if read_ahead and on_bad != "resync" and pays_ahead(part.size - offset):
        with ReadAhead(file, size, CHUNK_BYTES) as source:
            yield from _tables_to_damage(part, scan_file(source, base=offset, walk=walk), on_bad, report)
        return
    scanned = scan_file(file, base=offset, size=size, measure=on_bad != "resync", walk=walk)
    found: Iterator[Records | Damage] = scanned
    # What a walk learns, who asked for it may want to know before the next.
    if walk is None and pays_ahead(part.size - offset):
        found = ahead(scanned)
    if on_bad == "resync":
        yield from resync.tables(part, file, found, report)
    else:
        yield from _tables_to_damage(part, found, on_bad, report)


def _tables_to_damage(
    part: Part, scanned: Iterator[Records | Damage], on_bad: OnBad, report: Report
) -> Iterator[Records]:
    for found in scanned:
        if isinstance(found, Records):
            yield found
            continue
        if on_bad == "error":
            raise found.error(part.path)
        report.add(part, found.kind, found.offset, found.nbytes, found.reason)
        if found.kind != "annotation":
            yield found.as_records()


def open_multi(part: Part, offset: int) -> AofTruncatedError:
    """The error of a file that ends inside the transaction that began at `offset`."""
    return AofTruncatedError(f"{OPEN_MULTI}; on_bad='truncate' reads them", file=part.path, offset=offset)


def is_far(mark: Mark, before: Mark) -> bool:
    """Whether `mark` is worth having behind the mark `before` of the same file."""
    return mark.offset - before.offset >= _MARK_BYTES or mark.seq - before.seq >= _MARK_ROWS
