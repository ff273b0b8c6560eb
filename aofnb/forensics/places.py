"""From what a person says to the place in a log: see `aofnb.forensics.position` for the forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from aofnb.forensics.columns import Selection
from aofnb.forensics.index import Mark
from aofnb.forensics.position import Estimated, Position, Row, Second, Where, parse_position
from aofnb.forensics.reading import Report

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
    if isinstance(wanted, Second):
        return _found(log, log.index().before_second(wanted.ts), lambda seq, offset, ts: ts > wanted.ts)
    number = next((n for n, part in enumerate(log.parts) if part.name == wanted.part), None)
    if number is None:
        names = ", ".join(part.name for part in log.parts)
        raise ValueError(f"{wanted.part!r} is no file of this log; it has {names}")
    if wanted.offset > log.parts[number].size:
        raise ValueError(f"{wanted.part} has {log.parts[number].size} bytes; offset {wanted.offset} is behind it")
    mark = log.index().before_place(number, wanted.offset)
    return _found(log, mark, lambda seq, offset, ts: offset >= wanted.offset, part=number)


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
    for batch in log.read_rows(selection, log.tolerant, None, Report(), mark):
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
            second = int(ts[row])
            return Position(
                int(seq[row]), log.parts[int(parts[row])].name, int(offset[row]), None if second < 0 else second
            )
    return _end(log)
