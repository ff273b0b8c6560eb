"""Sorted sets: members with scores, in the order of (score, member bytes).

The scores are a dict, or, while there are few, one string of bytes (`aofnb.store._packed_cy`). The order is made at
the first question that needs it and kept up to date from then on, so that loading a million ZADDs sorts once or never;
it makes a dict of what was packed, for good. Rules of this file: where the order exists it holds exactly the entries of
the dict; a rank is a place counted from the lowest entry, a range of ranks is (start, stop), stop
exclusive.

Redis: t_zset.c zsetAdd, zsetDel, zslParseRange, zslIsInLexRange, zsetConvertToListpackIfNeeded (7.0.15).
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping
from itertools import accumulate
from types import MappingProxyType
from typing import NamedTuple

from aofnb.store import _packed_cy as packed

__all__ = ["ABOVE_ALL", "BELOW_ALL", "Entry", "LexBound", "LexRange", "ScoreRange", "SortedSet"]

Entry = tuple[float, bytes]
# What is compared with entries: a score alone lies below all entries of that score.
_Probe = tuple[float] | Entry

# Where the kernel is not compiled nothing is packed: that would save memory at several times the time.
PACKS: bool = packed.PACKS

# One block while small: a plain list beats anything cleverer there (guides: 0.4 us an insertion at 100, 1.5 at 10k).
_SPLIT_AT = 4096
_MERGE_BELOW = 512


class ScoreRange(NamedTuple):
    """Scores from `low` to `high`; an open end leaves out its own score."""

    low: float
    high: float
    low_open: bool = False
    high_open: bool = False


# A place among member bytes: (0, bytes), or one of the two below, which are ``-`` and ``+`` in a command.
LexBound = tuple[int, bytes]
BELOW_ALL: LexBound = (-1, b"")
ABOVE_ALL: LexBound = (1, b"")


class LexRange(NamedTuple):
    """Members from `low` to `high` in the order of their bytes; an open end leaves out its own member."""

    low: LexBound
    high: LexBound
    low_open: bool = False
    high_open: bool = False

    def is_void(self) -> bool:
        """Whether nothing at all can be in the range."""
        return self.low > self.high or (self.low == self.high and (self.low_open or self.high_open))

    def starts_at_or_before(self, member: bytes) -> bool:
        """Whether `member` is not below the range."""
        place = (0, member)
        return place > self.low if self.low_open else place >= self.low

    def ends_at_or_after(self, member: bytes) -> bool:
        """Whether `member` is not above the range."""
        place = (0, member)
        return place < self.high if self.high_open else place <= self.high


class SortedSet:
    """Members, each with a score, and their order.

    The limits that `add` and `of` take are the settings zset-max-listpack-entries and -value. They decide nothing
    but what OBJECT ENCODING says; a set that outgrew them once stays a ``skiplist``.
    """

    type_name = "zset"

    __slots__ = ("_data", "_state")

    def __init__(self) -> None:
        # Packed, or the dict; a packed set is a listpack to Redis, and has no order yet.
        self._data: bytes | dict[bytes, float] = packed.EMPTY if PACKS else {}
        # Whether it is a listpack; or the order, which knows that too.
        self._state: bool | _Order = True

    @classmethod
    def of(cls, scores: dict[bytes, float], max_entries: int = 128, max_member_bytes: int = 64) -> SortedSet:
        """A set of all of `scores`, which it takes over."""
        made = cls()
        made._state = len(scores) <= max_entries and all(len(member) <= max_member_bytes for member in scores)
        if made._state:
            for member in [member for member, score in scores.items() if score == 0]:
                scores[member] = 0.0
        data = _packed(scores) if PACKS and made._state else None
        made._data = scores if data is None else data
        return made

    # --- what it is --------------------------------------------------------------------------------------

    @property
    def encoding(self) -> str:
        """What OBJECT ENCODING says."""
        return "listpack" if self._listpack else "skiplist"

    @property
    def _listpack(self) -> bool:
        state = self._state
        return state if isinstance(state, bool) else state.listpack

    @property
    def packed_bytes(self) -> int | None:
        """How many bytes the members and scores take in one piece; None where they are a dict."""
        return len(self._data) if isinstance(self._data, bytes) else None

    def __len__(self) -> int:
        data = self._data
        return data[0] if isinstance(data, bytes) else len(data)

    def __contains__(self, member: bytes) -> bool:
        return self.score(member) is not None

    def __iter__(self) -> Iterator[bytes]:
        """The members, in no promised order: see `entries`."""
        return iter(self.scores)

    @property
    def scores(self) -> Mapping[bytes, float]:
        """Score by member, in no promised order; not to be kept."""
        data = self._data
        return packed.scores(data) if isinstance(data, bytes) else MappingProxyType(data)

    def score(self, member: bytes) -> float | None:
        """The score of `member`, or None."""
        data = self._data
        if isinstance(data, bytes):
            return packed.score_of(data, member)
        return data.get(member)

    def copy(self) -> SortedSet:
        """An independent copy of the same encoding."""
        made = SortedSet()
        data = self._data
        made._data = data if isinstance(data, bytes) else data.copy()
        made._state = self._listpack
        return made

    # --- change ------------------------------------------------------------------------------------------

    def add(self, member: bytes, score: float, max_entries: int = 128, max_member_bytes: int = 64) -> float | None:
        """Give `member` this `score`, whether it is there or not; its old score, or None.

        `score` is a number, not NaN. One that equals the old score changes nothing: a minus zero stays what it was.
        """
        old = self.score(member)
        if old == score:
            return old
        data = self._data
        if isinstance(data, bytes) and (
            old is not None or (data[0] < max_entries and len(member) <= max_member_bytes)  # stays a listpack
        ):
            made = packed.with_score(data, member, score + 0.0)
            if made is not None:
                self._data = made
                return old
        scores = self._unpack()
        if self._listpack:
            if old is None and (len(scores) >= max_entries or len(member) > max_member_bytes):
                self.to_skiplist()
            else:
                # Redis keeps whole numbers of a listpack as integers, which have no minus zero.
                score += 0.0
        scores[member] = score
        order = self._state
        if not isinstance(order, bool):
            if old is not None:
                order.remove((old, member))
            order.insert((score, member))
        return old

    def to_skiplist(self) -> None:
        """Leave the compact encoding for good."""
        self._unpack()
        state = self._state
        if isinstance(state, bool):
            self._state = False
        else:
            state.listpack = False

    def remove(self, member: bytes) -> bool:
        """Take `member` out; False where it is not there."""
        data = self._data
        if isinstance(data, bytes):
            self._data = packed.without_member(data, member)
            return self._data is not data
        score = data.pop(member, None)
        if score is None:
            return False
        order = self._state
        if not isinstance(order, bool):
            order.remove((score, member))
        return True

    def remove_ranks(self, start: int, stop: int) -> list[Entry]:
        """Take out the entries of a range of ranks; returns them, lowest first."""
        removed = self._ordered().remove_slice(start, stop)
        scores = self._unpack()
        for _score, member in removed:
            del scores[member]
        return removed

    def _unpack(self) -> dict[bytes, float]:
        """The dict, made now if there is none, to be changed."""
        data = self._data
        if isinstance(data, bytes):
            data = self._data = packed.scores(data)
        return data

    # --- order -------------------------------------------------------------------------------------------

    def entries(self, start: int = 0, stop: int | None = None) -> list[Entry]:
        """The entries of a range of ranks, lowest first; to the end without `stop`."""
        data = self._data
        if isinstance(data, bytes):
            # A few are sorted sooner than kept.
            return sorted([(score, member) for member, score in packed.scores(data).items()])[start:stop]
        return self._ordered().slice(start, len(data) if stop is None else stop)

    def walk(self) -> list[Entry]:
        """All entries, lowest first, for a snapshot: an order that nobody has asked for is not kept.

        It would make each change of a large set slower from then on.
        """
        if isinstance(self._state, bool):
            return sorted([(score, member) for member, score in self.scores.items()])
        return self.entries()

    def rank(self, member: bytes) -> int | None:
        """How many entries are below that of `member`, or None where it is not there."""
        score = self.score(member)
        return None if score is None else self._ordered().below((score, member))

    def ranks_by_score(self, wanted: ScoreRange) -> tuple[int, int]:
        """The range of ranks whose scores are in `wanted`; start equals stop where there are none."""
        start = self._up_to(wanted.low) if wanted.low_open else self._below(wanted.low)
        stop = self._below(wanted.high) if wanted.high_open else self._up_to(wanted.high)
        return start, max(start, stop)

    def ranks_by_lex(self, wanted: LexRange, from_top: bool = False) -> tuple[int, int]:
        """The range of ranks whose members are in `wanted`; start equals stop where there are none.

        Members are in the order of their bytes only if all scores are equal. Where they are not, the result is
        what Redis finds in a listpack: the run that begins at the first member not below the range (or, with
        `from_top`, ends at the last one not above it).
        """
        if not len(self) or wanted.is_void():
            return 0, 0
        order = self._ordered()
        (lowest_score, lowest), (highest_score, highest) = order.first(), order.last()
        if not (wanted.starts_at_or_before(highest) and wanted.ends_at_or_after(lowest)):
            return 0, 0
        if lowest_score != highest_score:
            return self._run_from_top(wanted) if from_top else self._run_from_bottom(wanted)
        start = self._lex_place(lowest_score, wanted.low, after=wanted.low_open)
        stop = self._lex_place(lowest_score, wanted.high, after=not wanted.high_open)
        return start, max(start, stop)

    def _below(self, score: float) -> int:
        return self._ordered().below((score,))

    def _up_to(self, score: float) -> int:
        if score == math.inf:
            return len(self)
        return self._ordered().below((math.nextafter(score, math.inf),))

    def _lex_place(self, score: float, bound: LexBound, after: bool) -> int:
        if bound == BELOW_ALL:
            return 0
        if bound == ABOVE_ALL:
            return len(self)
        # No bytes lie between a member and the same with a zero byte behind it.
        return self._ordered().below((score, bound[1] + b"\0" if after else bound[1]))

    def _run_from_bottom(self, wanted: LexRange) -> tuple[int, int]:
        members = [member for _score, member in self.entries()]
        start = next((i for i, member in enumerate(members) if wanted.starts_at_or_before(member)), len(members))
        stop = start
        while stop < len(members) and wanted.ends_at_or_after(members[stop]):
            stop += 1
        return start, stop

    def _run_from_top(self, wanted: LexRange) -> tuple[int, int]:
        members = [member for _score, member in self.entries()]
        stop = len(members)
        while stop > 0 and not wanted.ends_at_or_after(members[stop - 1]):
            stop -= 1
        start = stop
        while start > 0 and wanted.starts_at_or_before(members[start - 1]):
            start -= 1
        return start, stop

    def _ordered(self) -> _Order:
        state = self._state
        if isinstance(state, bool):
            entries = sorted([(score, member) for member, score in self._unpack().items()])
            state = self._state = _Order(entries, state)
        return state

    # --- chance ------------------------------------------------------------------------------------------

    def random_member(self, rng: random.Random) -> bytes:
        """Any member with equal chance; the set is not empty."""
        rank = int(rng.random() * len(self))
        return self._ordered().slice(rank, rank + 1)[0][1]

    def random_members(self, count: int, rng: random.Random) -> list[bytes]:
        """`count` different members in random order; all of them where there are no more."""
        ranks = rng.sample(range(len(self)), min(count, len(self)))
        order = self._ordered()
        return [order.slice(rank, rank + 1)[0][1] for rank in ranks]

    # --- check -------------------------------------------------------------------------------------------

    def _check(self) -> None:
        """Assert that order and scores agree; for tests."""
        scores = self.scores
        assert len(scores) == len(self)
        assert not any(math.isnan(score) for score in scores.values())
        order = self._state
        if isinstance(self._data, bytes):
            assert order is True
        elif not isinstance(order, bool):
            order._check()
            entries = order.slice(0, len(scores) + 1)
            assert entries == sorted((score, member) for member, score in scores.items())


def _packed(scores: dict[bytes, float]) -> bytes | None:
    """`scores`, packed; None if they are too many, or too long."""
    made = packed.EMPTY
    for member, score in scores.items():
        more = packed.with_score(made, member, score)
        if more is None:
            return None
        made = more
    return made


class _Order:
    """Sorted entries in one list, or, past a few thousand, in a list of lists.

    `_lasts` holds the last entry of each block, so that two bisections find any place; `_ends` how many entries
    there are up to the end of each block, or None after a change, so that a rank finds its block. `listpack` is whether
    the set is one to Redis: it has no other place for it.
    """

    __slots__ = ("_blocks", "_ends", "_lasts", "listpack")

    def __init__(self, entries: list[Entry], listpack: bool) -> None:
        self.listpack = listpack
        half = _SPLIT_AT // 2
        self._blocks = (
            [entries[i : i + half] for i in range(0, len(entries), half)] if len(entries) > _SPLIT_AT else [entries]
        )
        self._lasts: list[Entry] = [block[-1] for block in self._blocks if block]
        self._ends: list[int] | None = None

    def first(self) -> Entry:
        return self._blocks[0][0]

    def last(self) -> Entry:
        return self._blocks[-1][-1]

    def insert(self, entry: Entry) -> None:
        """Put in `entry`, which is not there."""
        self._ends = None
        blocks = self._blocks
        i = bisect_left(self._lasts, entry)
        if i == len(self._lasts):
            # Above everything: it is the new last of the last block.
            i = len(blocks) - 1
            blocks[i].append(entry)
            self._lasts[i:] = [entry]
        else:
            insort(blocks[i], entry)
        block = blocks[i]
        if len(block) > _SPLIT_AT:
            half = len(block) // 2
            blocks[i : i + 1] = [block[:half], block[half:]]
            self._lasts.insert(i, block[half - 1])

    def remove(self, entry: Entry) -> None:
        """Take out `entry`, which is there."""
        i = bisect_left(self._lasts, entry)
        place = bisect_left(self._blocks[i], entry)
        del self._blocks[i][place]
        self._mend(i)

    def below(self, probe: _Probe) -> int:
        """How many entries are less than `probe`."""
        i = bisect_left(self._lasts, probe)
        if i == len(self._lasts):
            return self._block_ends()[-1]
        before = self._block_ends()[i - 1] if i else 0
        return before + bisect_left(self._blocks[i], probe)

    def slice(self, start: int, stop: int) -> list[Entry]:
        """The entries of a range of ranks."""
        if len(self._blocks) == 1:
            return self._blocks[0][start:stop]
        found: list[Entry] = []
        i, place = self._locate(start)
        while i < len(self._blocks) and len(found) < stop - start:
            found += self._blocks[i][place : place + stop - start - len(found)]
            i, place = i + 1, 0
        return found

    def remove_slice(self, start: int, stop: int) -> list[Entry]:
        """Take out the entries of a range of ranks; returns them."""
        removed = self.slice(start, stop)
        if not removed:
            return removed
        (first, i), (last, j) = self._locate(start), self._locate(start + len(removed) - 1)
        if first == last:
            del self._blocks[first][i : j + 1]
            self._mend(first)
            return removed
        del self._blocks[first][i:]
        del self._blocks[last][: j + 1]
        del self._blocks[first + 1 : last], self._lasts[first + 1 : last]
        # From the back, since mending a block may take it away.
        self._mend(first + 1)
        self._mend(first)
        return removed

    def _mend(self, i: int) -> None:
        """Put things right after entries went from block `i`.

        It goes if it is empty, and takes in its right neighbour if both are small.
        """
        self._ends = None
        blocks, lasts = self._blocks, self._lasts
        block = blocks[i]
        if not block:
            del lasts[i]
            if len(blocks) > 1:
                del blocks[i]
            return
        lasts[i] = block[-1]
        if len(block) < _MERGE_BELOW and i + 1 < len(blocks) and len(blocks[i + 1]) < _SPLIT_AT // 2:
            block += blocks[i + 1]
            del blocks[i + 1], lasts[i]

    def _locate(self, rank: int) -> tuple[int, int]:
        """The block and the place in it of `rank`."""
        ends = self._block_ends()
        i = bisect_left(ends, rank + 1)
        return i, rank - (ends[i - 1] if i else 0)

    def _block_ends(self) -> list[int]:
        if self._ends is None:
            self._ends = list(accumulate(map(len, self._blocks)))
        return self._ends

    def _check(self) -> None:
        assert self._blocks == [[]] or all(self._blocks)
        assert all(len(block) <= _SPLIT_AT for block in self._blocks)
        assert self._lasts == [block[-1] for block in self._blocks if block]
        assert self._ends is None or self._ends == list(accumulate(map(len, self._blocks)))
