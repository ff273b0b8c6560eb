"""Where reading can begin: a mark every few megabytes, with all that the rows behind it need of those before.

Built by one pass over the log, and kept in its cache. Everything that asks for a part of a log starts from here:
positions, slices, time travel, splits for many workers.

An index that is kept is believed only while all files are what they were. Of a log that has grown it is made anew: to
read it takes little longer than to see that it begins as it did.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

from aofnb.forensics.cache import identity, unchanged

if TYPE_CHECKING:
    from aofnb.forensics.log import Log

__all__ = ["Index", "Mark", "keep_index", "kept_index"]


@dataclass(frozen=True, slots=True)
class Mark:
    """A border between two units of the log; no transaction is open at it.

    Attributes
    ----------
    part, offset
        Number of the file, and the byte where the next command or annotation begins; 0 is also the beginning of a
        snapshot.
    seq, txn
        Rows and transactions before it.
    db
        The selected database.
    ts
        Seconds of the last ``#TS``, -1 if there was none.
    uncertain
        Commands were lost before it, and no SELECT has been since.
    """

    part: int
    offset: int
    seq: int
    db: int
    txn: int
    ts: int
    uncertain: bool = False


@dataclass(frozen=True, slots=True)
class Index:
    """The marks of a log, in order, the first at its beginning, and the end.

    Attributes
    ----------
    marks
        At least the beginning of each file, and where the snapshot ends with which it begins.
    end
        Behind the last row.
    databases
        How many there must be for every SELECT of the log.
    flushes
        The border before each of the last FLUSHALL, FLUSHDB and SWAPDB outside transactions: what people want back.
    damage
        What reading met, as in `aofnb.forensics.reading.Report`.
    """

    marks: tuple[Mark, ...]
    end: Mark
    databases: int
    flushes: tuple[Mark, ...] = ()
    damage: tuple[dict[str, Any], ...] = ()

    @property
    def rows(self) -> int:
        """How many rows the log has."""
        return self.end.seq

    def before_row(self, seq: int) -> Mark:
        """The last mark at or before row `seq`."""
        return self.marks[max(bisect_right(self.marks, seq, key=lambda mark: mark.seq) - 1, 0)]

    def before_place(self, part: int, offset: int) -> Mark:
        """The last mark at or before that byte."""
        return self.marks[
            max(bisect_right(self.marks, (part, offset), key=lambda mark: (mark.part, mark.offset)) - 1, 0)
        ]

    def before_second(self, ts: int) -> Mark:
        """The last mark before which no command is later than the second `ts`."""
        later = next((number for number, mark in enumerate(self.marks) if mark.ts > ts), len(self.marks))
        return self.marks[max(later - 1, 0)]

    def thinned(self, rows: int) -> Sequence[Mark]:
        """Marks about `rows` apart, the first among them: where to cut the log for many workers."""
        chosen = [self.marks[0]]
        chosen += [
            mark
            for before, mark in zip(self.marks, self.marks[1:], strict=False)
            if mark.seq // rows > before.seq // rows
        ]
        return chosen


def keep_index(log: Log, index: Index) -> None:
    """Keep the index of `log` in its cache, for `kept_index`."""
    # A full disk only makes the next question slower.
    with suppress(OSError):
        log.cache.save(
            "index",
            {
                "parts": [identity(part) for part in log.parts],
                "marks": [astuple(mark) for mark in index.marks],
                "end": astuple(index.end),
                "databases": index.databases,
                "flushes": [astuple(mark) for mark in index.flushes],
                "damage": index.damage,
            },
        )


def kept_index(log: Log) -> Index | None:
    """The index that is kept of `log`, if its files are what they were; nothing of them is read."""
    kept = log.cache.load("index")
    if kept is None:
        return None
    try:
        now, then = [identity(part) for part in log.parts], kept["parts"]
        if len(now) != len(then) or not all(map(unchanged, now, then)):
            return None
        return Index(
            tuple(Mark(*each) for each in kept["marks"]),
            Mark(*kept["end"]),
            kept["databases"],
            tuple(Mark(*each) for each in kept["flushes"]),
            tuple(kept["damage"]),
        )
    except (OSError, KeyError, TypeError):
        return None
