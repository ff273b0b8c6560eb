"""The files of a log as rows, read from any mark on, and the index that has the marks.

Rules of this file: a row is given once it is known whether it counts, so those of a transaction wait for its EXEC;
what cannot be read is told to a `Report`, or is an error, as the caller wants it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from aofnb.errors import AofTruncatedError, RdbError
from aofnb.forensics import resync
from aofnb.forensics.index import Index, Mark
from aofnb.forensics.parts import Part, PartFile
from aofnb.forensics.reading import OPEN_MULTI, OnBad, Progress, Report, ahead, borders_before, pays_ahead, teller
from aofnb.forensics.scan import Damage, Records, scan_file
from aofnb.forensics.snapshot import SnapshotRows

if TYPE_CHECKING:
    import pyarrow as pa

    from aofnb.forensics.columns import RowBuilder, Selection

__all__ = ["build_index", "is_far", "read_rows", "tables"]

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
        raise AofTruncatedError(f"{OPEN_MULTI}; on_bad='truncate' reads them", file=part.path, offset=opened)
    report.add(part, "open_multi", opened, None, OPEN_MULTI)
    yield from map(builder.discarded, waiting)


def build_index(parts: Sequence[Part], on_bad: OnBad, progress: Progress = None) -> Index:
    """Where reading can begin: reads everything once."""
    from aofnb.forensics.columns import RowBuilder, Selection

    wanted = Selection.of(("offset", "db", "txn", "ts"), cmd=("FLUSHALL", "FLUSHDB", "SWAPDB"))
    builder = RowBuilder([part.name for part in parts], wanted)
    flushes: deque[Mark] = deque(maxlen=_FLUSHES)
    tell = teller(progress)
    total = sum(part.size for part in parts)
    done = 0
    marks: list[Mark] = []
    met = Report()
    for number, part in enumerate(parts):
        builder.start_part(number)
        marks.append(builder.mark(0))
        with part.open() as file:
            opened: int | None = None
            for found in tables(part, file, 0, on_bad, met):
                rows = builder.batch(found)
                flushes.extend(borders_before(rows.settled, number))
                if rows.open is None:
                    opened = None
                elif opened is None or rows.settled is not None:
                    opened = rows.opened_at
                end = found.file_end if len(found) else 0
                mark = builder.mark(end)
                # Inside a snapshot nothing can begin to read.
                if is_far(mark, marks[-1]) and not builder.in_multi and not found.from_snapshot:
                    marks.append(mark)
                tell(done + file.stored_bytes_read, total)
            if opened is not None:
                met.add(part, "open_multi", opened, None, OPEN_MULTI)
        done += part.size
        tell(done, total)
    last = parts[-1].size if parts else 0
    return Index(tuple(marks), builder.mark(last), builder.highest_db + 1, tuple(flushes), tuple(met.damage))


def tables(part: Part, file: PartFile, offset: int, on_bad: OnBad, report: Report) -> Iterator[Records]:
    """All commands of one file from `offset` on, those that rebuild its snapshot first.

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
    scanned = scan_file(file, base=offset, size=size, measure=on_bad != "resync")
    found: Iterator[Records | Damage] = scanned
    if pays_ahead(part.size - offset):
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


def is_far(mark: Mark, before: Mark) -> bool:
    """Whether `mark` is worth having behind the mark `before` of the same file."""
    return mark.offset - before.offset >= _MARK_BYTES or mark.seq - before.seq >= _MARK_ROWS
