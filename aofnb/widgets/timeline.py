"""What a log looks like from far away: how much came when, and where something special is. No widget, no HTML.

The log is a duck here: anything with ``index()``, ``parts`` and ``batches(columns=..., on_bad=...)`` as an `aofnb.Log`
has. It is read once, in chunks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Mark", "Stretch", "Timeline", "timeline_of"]

STRETCHES = 120
# What a person can tell apart; the rest is counted.
_MARKS = 200

Kind = Literal["flush", "rewrite", "damage"]


@dataclass(frozen=True, slots=True)
class Stretch:
    """A piece of the log. `rate` is commands a second, None where the log has no times."""

    first: int
    rows: int
    nbytes: int
    rate: float | None


@dataclass(frozen=True, slots=True)
class Mark:
    """Something special at a row; `db` is where a flush happened, None for all databases."""

    kind: Kind
    seq: int
    text: str
    db: int | None = None


@dataclass(frozen=True, slots=True)
class Timeline:
    """A log in so many stretches of equally many rows.

    Attributes
    ----------
    marks
        In order; at most 200.
    more_marks
        How many there are beyond.
    """

    rows: int
    stretches: tuple[Stretch, ...]
    marks: tuple[Mark, ...]
    more_marks: int = 0

    @property
    def has_times(self) -> bool:
        """Whether rates are known anywhere."""
        return any(stretch.rate is not None for stretch in self.stretches)


def timeline_of(log: Any) -> Timeline:
    """Read `log` once from the beginning to its end; damage becomes a mark."""
    import numpy as np

    rows: int = log.index().rows
    width = max(1, -(-rows // STRETCHES))
    number = -(-rows // width)
    nbytes = np.zeros(number, np.int64)
    first_ts, last_ts = np.full(number, -1, np.int64), np.full(number, -1, np.int64)
    marks: list[Mark] = []
    part_before = -1
    for batch in log.batches(columns=["part", "nbytes", "cmd", "status", "ts", "db"], on_bad="truncate"):
        if not batch.num_rows:
            continue
        seq = batch.column("seq").to_numpy()
        where = seq // width
        np.add.at(nbytes, where, batch.column("nbytes").to_numpy())
        ts = batch.column("ts").cast("int64").fill_null(-1).to_numpy()
        known = ts >= 0
        # Rows are in order, so the first of a stretch stays and the last one wins.
        at, times = where[known], ts[known]
        unset = first_ts[at] < 0
        starts, index = np.unique(at[unset], return_index=True)
        first_ts[starts] = times[unset][index]
        last_ts[at] = times
        marks += _parts(batch, seq, log.parts, part_before)
        part_before = int(batch.column("part").indices.to_numpy()[-1])
        marks += _special(batch, seq)
    stretches = tuple(
        Stretch(
            n * width,
            min(width, rows - n * width),
            int(nbytes[n]),
            None if first_ts[n] < 0 else min(width, rows - n * width) / (int(last_ts[n]) - int(first_ts[n]) + 1),
        )
        for n in range(number)
    )
    marks.sort(key=lambda mark: mark.seq)
    return Timeline(rows, stretches, tuple(marks[:_MARKS]), max(0, len(marks) - _MARKS))


def _parts(batch: Any, seq: Any, parts: Any, before: int) -> list[Mark]:
    """Where a file begins that a rewrite made: the first incr has no rewrite before it that we could see."""
    numbers = batch.column("part").indices.to_numpy()
    found = []
    for row in range(len(numbers)):
        number = int(numbers[row])
        if number != before:
            if before >= 0 and parts[number].type == "incr" and parts[before].type == "incr":
                found.append(Mark("rewrite", int(seq[row]), f"a rewrite began: {parts[number].name}"))
            elif before >= 0 and parts[before].type == "base":
                found.append(Mark("rewrite", int(seq[row]), f"end of the base; {parts[number].name} begins"))
            before = number
        if numbers[-1] == number:
            break
    return found


def _special(batch: Any, seq: Any) -> list[Mark]:
    """FLUSHALL, FLUSHDB and what could not be read."""
    found = []
    names = batch.column("cmd").dictionary.to_pylist()
    codes = batch.column("cmd").indices
    databases = batch.column("db")
    wanted = [code for code, name in enumerate(names) if name in ("FLUSHALL", "FLUSHDB")]
    numbers = codes.fill_null(-1).to_numpy()
    for code in wanted:
        for row in (numbers == code).nonzero()[0].tolist():
            db = None if names[code] == "FLUSHALL" else databases[row].as_py()
            words = "all databases" if db is None else f"database {db}"
            found.append(Mark("flush", int(seq[row]), f"{names[code]}: {words}", db))
    states = batch.column("status").dictionary.to_pylist()
    bad = [code for code, name in enumerate(states) if name in ("truncated", "resynced", "discarded")]
    state = batch.column("status").indices.to_numpy()
    for code in bad:
        found += [Mark("damage", int(seq[row]), states[code]) for row in (state == code).nonzero()[0].tolist()]
    return found
