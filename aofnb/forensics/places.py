"""From what a person says to the place in a log: see `aofnb.forensics.position` for the forms."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from aofnb.forensics.columns import Selection
from aofnb.forensics.index import Mark
from aofnb.forensics.position import Estimated, Position, Row, Second, TimeOfDay, Where, parse_position
from aofnb.forensics.reading import Report
from aofnb.forensics.rows import read_rows

if TYPE_CHECKING:
    from aofnb.forensics.log import Log

__all__ = ["find_position"]


def find_position(log: Log, where: Where) -> Position:
    """What `Log.position` gives."""
    if isinstance(where, str) and where.strip() == "end":
        return _end(log)
    wanted = parse_position(where)
    if isinstance(wanted, Row):
        return _row_position(log, wanted.seq)
    if isinstance(wanted, Estimated):
        return _row_position(log, min(log.times().row_of(wanted.ms), log.index().rows))
    if isinstance(wanted, TimeOfDay):
        wanted = _on_its_day(log, wanted)
    if isinstance(wanted, Second):
        return _found(log, log.index().before_second(wanted.ts), lambda seq, offset, ts: ts > wanted.ts)
    number = next((n for n, part in enumerate(log.parts) if part.name == wanted.part), None)
    if number is None:
        names = ", ".join(part.name for part in log.parts)
        raise ValueError(f"{wanted.part!r} is no file of this log; it has {names}")
    size = _size_of(log, number)
    if size is not None and wanted.offset > size:
        raise ValueError(f"{wanted.part} has {size} bytes; offset {wanted.offset} is behind it")
    mark = log.index().before_place(number, wanted.offset)
    found = _found(log, mark, lambda seq, offset, ts: offset >= wanted.offset, part=number)
    if not wanted.nth:
        return found
    exact = _row_position(log, min(found.seq + wanted.nth, log.index().rows))
    if (exact.part, exact.offset, exact.nth) != (wanted.part, wanted.offset, wanted.nth):
        raise ValueError(f"{wanted.part} has no {wanted.nth + 1} rows at byte {wanted.offset}")
    return exact


def _size_of(log: Log, number: int) -> int | None:
    """The bytes of a file, after decompression; None where that would have to be read anew."""
    part = log.parts[number]
    if part.compression is None:
        return part.size
    end = log.index().end
    return end.offset if number == end.part else None


def _on_its_day(log: Log, wanted: TimeOfDay) -> Second:
    """The second of that time on the one day on which the log has it."""
    index = log.index()
    if index.end.ts < 0:
        raise ValueError(
            f"{wanted.time} is no position here: the log has no times (aof-timestamp-enabled was off); "
            "'~2026-11-20 14:03' estimates"
        )
    first = _found(log, [mark for mark in index.marks if mark.ts < 0][-1], lambda seq, offset, ts: ts >= 0).time
    last = datetime.fromtimestamp(index.end.ts, UTC)
    assert first is not None
    days = [first.date() + timedelta(days=number) for number in range((last.date() - first.date()).days + 1)]
    moments = [datetime.combine(day, wanted.time, UTC) for day in days]
    inside = [moment for moment in moments if first <= moment <= last] or moments
    if len(inside) > 1:
        shown = ", ".join(f"{moment:%Y-%m-%d}" for moment in inside[:4]) + (", ..." if len(inside) > 4 else "")
        raise ValueError(f"the log has {wanted.time} on {len(inside)} days: {shown}; say which")
    return Second(int(inside[0].timestamp()))


def _row_position(log: Log, seq: int) -> Position:
    rows = log.index().rows
    if not -rows <= seq <= rows:
        raise ValueError(f"row {seq}: the log has {rows} rows, 0 to {rows - 1}")
    seq = seq + rows if seq < 0 else seq
    return _found(log, log.index().before_row(seq), lambda each, offset, ts: each >= seq)


def _end(log: Log) -> Position:
    end = log.index().end
    name = log.parts[end.part].name if log.parts else ""
    return Position(end.seq, name, end.offset, None if end.ts < 0 else end.ts)


def _found(log: Log, mark: Mark, holds: Callable[[Any, Any, Any], Any], part: int | None = None) -> Position:
    """The first row from `mark` on for whose seq, offset and ts (arrays) `holds` says so; in `part` or behind it.

    The file's own numbers serve: ts is -1 before the first annotation.
    """
    selection = Selection.of(("part", "offset", "ts"))
    # Where the rows before are, and since which row they are there: those of one key of a snapshot share a place.
    place: tuple[int, int] | None = None
    since = 0
    for batch in read_rows(log.parts, selection, log.tolerant, None, Report(), mark):
        seq = batch.column(0).to_numpy()
        parts = batch.column(1).indices.to_numpy()
        offset = batch.column(2).to_numpy()
        ts = batch.column(3).cast("int64").fill_null(-1).to_numpy()
        chosen = holds(seq, offset, ts)
        if part is not None:
            chosen = (chosen & (parts == part)) | (parts > part)
        hits = np.flatnonzero(chosen)
        if len(hits):
            row = int(hits[0])
            second = None if ts[row] < 0 else int(ts[row])
            here = (int(parts[row]), int(offset[row]))
            begin = _run_begin(parts, offset, row)
            first = since if begin == 0 and here == place else int(seq[begin])
            return Position(int(seq[row]), log.parts[here[0]].name, here[1], second, int(seq[row]) - first)
        if len(seq):
            here = (int(parts[-1]), int(offset[-1]))
            begin = _run_begin(parts, offset, len(seq) - 1)
            if begin or here != place:
                place, since = here, int(seq[begin])
    return _end(log)


def _run_begin(parts: Any, offset: Any, row: int) -> int:
    """The first of the rows in front of `row`, itself among them, that are at its place."""
    other = np.flatnonzero((offset[:row] != offset[row]) | (parts[:row] != parts[row]))
    return int(other[-1]) + 1 if len(other) else 0
