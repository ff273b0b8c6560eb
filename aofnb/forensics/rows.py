"""The files of a log as rows, read from any mark on, and the index that has the marks.

Rules of this file: a row is given once it is known whether it counts, so those of a transaction wait for its EXEC;
what cannot be read is told to a `Report`, or is an error, as the caller wants it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
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
    pays_ahead,
    teller,
)
from aofnb.forensics.scan import CHUNK_BYTES, Damage, Records, Walk, scan_file
from aofnb.forensics.snapshot import SnapshotRows

if TYPE_CHECKING:
    import pyarrow as pa

    from aofnb.forensics.columns import RowBuilder, Rows, Selection

__all__ = ["Survey", "build_index", "is_far", "open_multi", "read_rows", "settled_rows", "tables"]

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
    survey = Survey(builder, report)
    if begin is not None:
        survey.resume(begin)
    tell = teller(progress)
    total = sum(part.size for part in parts)
    done = 0
    skipped: int | None = None
    for number, part in enumerate(parts):
        if begin is None or number >= begin.part:
            offset = begin.offset if begin is not None and number == begin.part else 0
            with part.open() as file:
                if not offset:
                    survey.begin(number, part)
                if skipped is None:
                    skipped = done + file.stored_before(offset)
                # Whoever stops early leaves no thread in a file that is closed.
                with closing(settled_rows(part, file, offset, survey, on_bad, report)) as pieces:
                    for _, batches in pieces:
                        now = done + min(file.stored_before(report.offset), part.size)
                        report.share = (now - skipped) / max(total - skipped, 1)
                        yield from batches
                        report.escaped_keys = builder.escaped_keys
                        tell(now, total)
                survey.end(part, file)
        done += part.size
        tell(done, total)
    if begin is None:
        report.index = survey.index()


def settled_rows(
    part: Part, file: PartFile, offset: int, survey: Survey, on_bad: OnBad, report: Report
) -> Generator[tuple[Records | None, list[pa.RecordBatch]]]:
    """The tables of one file from `offset` on, each with the rows that are settled with it; last, without a table,
    those that nothing settled. Rows of a transaction wait for its EXEC: only that says that they count.
    """
    builder = survey.builder
    waiting: list[pa.RecordBatch] = []
    opened = 0
    if report.lost:
        # Of an earlier file the rest may be missing.
        report.seconds.append((builder.seq, -1))
    for found in tables(part, file, offset, on_bad, report):
        settled: list[pa.RecordBatch] = []
        if found.behind_damage:
            # Whether the transaction ever ended is gone; what is there of it is given.
            settled += waiting
            waiting.clear()
            report.seconds.append((builder.seq, -1))
        report.seconds += [(builder.seq + row, second) for row, second in found.ts]
        rows = builder.batch(found)
        report.rows = builder.seq
        if len(found):
            report.offset = found.file_end
        if rows.settled is not None:
            settled += [*waiting, rows.settled]
            waiting.clear()
        if rows.open is not None:
            if not waiting:
                opened = rows.opened_at
            waiting.append(rows.open)
        survey.take(found, rows)
        yield found, settled
    if not waiting:
        return
    if on_bad == "error":
        raise open_multi(part, opened)
    report.add(part, "open_multi", opened, None, OPEN_MULTI)
    yield None, [builder.discarded(each) for each in waiting]


def build_index(parts: Sequence[Part], on_bad: OnBad, progress: Progress = None) -> Index:
    """Where reading can begin: reads everything once.

    Raises
    ------
    AofError
        At damage, if `on_bad` is ``error``.
    """
    from aofnb.forensics.columns import RowBuilder, Selection

    nothing = Selection.of((), cmd=())
    report = Report()
    # The kernel makes no rows. What `resync` has to know of those before damage, only rows tell.
    if not _walk_cy.COMPILED or on_bad == "resync":
        for _ in read_rows(parts, nothing, on_bad, progress, report):
            pass
        assert report.index is not None
        return report.index
    survey = Survey(RowBuilder([part.name for part in parts], nothing), report)
    walk = _Walk(survey, parts, progress)
    for number, part in enumerate(parts):
        with part.open() as file:
            walk.begin(number, file)
            for found in tables(part, file, 0, on_bad, report, walk.walk):
                walk.add(found)
            opened = walk.end()
        if opened is not None:
            if on_bad == "error":
                raise open_multi(part, opened)
            report.add(part, "open_multi", opened, None, OPEN_MULTI)
    return survey.index()


class Survey:
    """An index in the making: whoever reads a log from its beginning shows each table here on the way.

    `builder` is what makes its rows, `report` what is told of the reading.
    """

    def __init__(self, builder: RowBuilder, report: Report) -> None:
        self.builder = builder
        self._report = report
        self._marks: list[Mark] = []
        self._flushes: deque[Mark] = deque(maxlen=_FLUSHES)
        self._size = 0
        self._first = 0

    def begin(self, number: int, part: Part) -> None:
        """Go on with the next part, and its number."""
        builder, report = self.builder, self._report
        builder.start_part(number)
        self._first = len(self._marks)
        self._marks.append(builder.mark(0))
        report.snapshot_end = None
        if part.format == "rdb":
            report.snapshots.append((builder.seq, builder.seq))

    def resume(self, mark: Mark) -> None:
        """Go on from a mark; no index comes of that."""
        self.builder.resume(mark)
        self._marks.append(mark)

    def take(self, found: Records, rows: Rows) -> None:
        """The next table, of which the builder made `rows`."""
        if found.from_snapshot:
            self._report.snapshots[-1] = self._report.snapshots[-1][0], self.builder.seq
        # Inside a snapshot nothing can begin to read.
        self.come_to(found.file_end if len(found) and not found.from_snapshot else 0, rows.flushes)

    def come_to(self, offset: int, flushes: Iterable[Mark]) -> None:
        """The rows so far end at `offset`, 0 if nothing can begin to read behind them; `flushes` were among them."""
        self._flushes.extend(flushes)
        mark = self.builder.mark(offset)
        if offset and is_far(mark, self._marks[-1]) and not self.builder.in_multi:
            self._marks.append(mark)

    def end(self, part: Part, file: PartFile) -> None:
        """There is no more in this part, which is open as `file`."""
        # Of a compressed one only its end tells the size, and damage is the end of what is read.
        self._size = file.bytes_read if part.compression else part.size
        if self._report.snapshot_end is not None:
            begin, rows = self._marks[self._first], self._report.snapshots[-1]
            behind = replace(begin, offset=self._report.snapshot_end, seq=rows[1])
            self._marks.insert(self._first + 1, behind)

    def index(self) -> Index:
        """What came of it, once everything was read."""
        builder = self.builder
        end = builder.mark(self._size)
        damage = tuple(self._report.damage)
        return Index(tuple(self._marks), end, builder.highest_db + 1, tuple(self._flushes), damage)


class _Walk:
    """A survey without rows: what keeps to the form that Redis writes goes through `walk`, the kernel; all else is
    read as tables, which `add` takes.
    """

    def __init__(self, survey: Survey, parts: Sequence[Part], progress: Progress) -> None:
        self._survey = survey
        self._builder = survey.builder
        self._flushes_met = np.empty((_FLUSHES, 4), np.int64)
        self._parts = parts
        self._tell = teller(progress)
        self._bytes = sum(part.size for part in parts)
        self._bytes_before = 0

    def begin(self, number: int, file: PartFile) -> None:
        """Go on with part `number`, which is open as `file`."""
        self._number, self._file = number, file
        self._survey.begin(number, self._parts[number])
        # Where the MULTI is that is open.
        self._opened: int | None = None

    def add(self, found: Records) -> None:
        """Take a table."""
        rows = self._builder.batch(found)
        if rows.open is None:
            self._opened = None
        elif self._opened is None or rows.settled is not None:
            self._opened = rows.opened_at
        self._survey.take(found, rows)
        self._show()

    def walk(self, data: bytes, pos: int, base: int) -> tuple[None, int]:
        """Take what is in `data` from `pos` on, as `scan_file` has it, as far as it keeps to the form Redis writes."""
        builder, met = self._builder, self._flushes_met
        before = builder.mark(0)
        state = np.array(
            [before.seq, before.db, before.txn, before.ts, builder.highest_db, builder.in_multi, -1], np.int64
        )
        behind, stop, flushed = _walk_cy.survey(data, pos, state, met.ravel())
        builder.pass_over(*state[:5].tolist(), in_multi=bool(state[5]))
        # The last ones, the oldest first.
        flushes = np.roll(met, -flushed, axis=0)[-flushed:].tolist() if flushed else ()
        if not builder.in_multi:
            self._opened = None
        elif state[6] >= 0:
            self._opened = base + int(state[6])
        self._survey.come_to(
            base + behind if builder.seq > before.seq else 0,
            [Mark(self._number, base + place, seq, db, 0, ts) for place, seq, db, ts in flushes],
        )
        self._show()
        return None, stop

    def end(self) -> int | None:
        """There is no more in this part: where the MULTI is that is still open."""
        self._survey.end(self._parts[self._number], self._file)
        self._bytes_before += self._parts[self._number].size
        self._tell(self._bytes_before, self._bytes)
        return self._opened

    def _show(self) -> None:
        self._tell(self._bytes_before + self._file.stored_bytes_read, self._bytes)


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
                yield from resync.behind_snapshot(part, file, place, problem.message, report)
            else:
                nbytes = None if part.compression else part.size - place
                report.add(part, "snapshot", place, nbytes, problem.message)
            return
        for kind, place, reason in snapshot.notes:
            report.add(part, kind, place, None, reason)
        assert snapshot.end is not None
        report.snapshot_end = offset = snapshot.end
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
