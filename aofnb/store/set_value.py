"""The value of a set key: members in a dict, and the encoding that redis-server would give it.

A set begins as an intset, if its first member is a whole number, and becomes a hashtable for good at the first
member that is none, or at the first one too many. The limit belongs to the caller, who has the settings.

Redis: t_set.c setTypeAdd, intset.c (7.0.15).
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator

from aofnb.store.pool import Pool

__all__ = ["SetValue"]

_WHOLE_NUMBER = re.compile(rb"0|-?[1-9][0-9]{0,18}")


class SetValue:
    """A set of byte strings.

    ``iter(value)`` gives the members: in numerical order while it is an intset, as the server does, and else in
    no promised order. ``members`` is the dict itself, for whoever walks it without changing it.
    """

    __slots__ = ("_intset", "_pool", "members")

    type_name = "set"

    def __init__(self) -> None:
        self.members: dict[bytes, None] = {}
        self._intset = True
        # Made by the first random choice, and kept up to date from then on.
        self._pool: Pool | None = None

    @classmethod
    def of(cls, members: Iterable[bytes], max_intset_entries: int = 512) -> SetValue:
        """A set of `members`, added one after the other."""
        made = cls()
        made.update(members, max_intset_entries)
        return made

    @property
    def encoding(self) -> str:
        """``intset`` or ``hashtable``, as OBJECT ENCODING says."""
        return "intset" if self._intset else "hashtable"

    def __len__(self) -> int:
        return len(self.members)

    def __contains__(self, member: bytes) -> bool:
        return member in self.members

    def __iter__(self) -> Iterator[bytes]:
        return iter(sorted(self.members, key=int)) if self._intset else iter(self.members)

    def add(self, member: bytes, max_intset_entries: int = 512) -> bool:
        """Add `member`; False where it was there. An intset of more than `max_intset_entries` is none any more."""
        if member in self.members:
            return False
        self.members[member] = None
        if self._intset and not (len(self.members) <= max_intset_entries and _is_int64(member)):
            self._intset = False
        if self._pool is not None:
            self._pool.added(member)
        return True

    def update(self, members: Iterable[bytes], max_intset_entries: int = 512) -> int:
        """Add all of `members`; returns how many were not there."""
        known = self.members
        before = len(known)
        rest = iter(members)
        if self._intset or self._pool is not None:
            for member in rest:
                self.add(member, max_intset_entries)
                if not self._intset and self._pool is None:
                    break
        # The others cannot make anything else of it.
        for member in rest:
            known[member] = None
        return len(known) - before

    def discard(self, member: bytes) -> bool:
        """Remove `member`; False where it was not there."""
        if member not in self.members:
            return False
        del self.members[member]
        if self._pool is not None:
            self._pool.removed(member)
        return True

    def random_member(self, rng: random.Random) -> bytes:
        """Any member, each with the same chance; there must be one."""
        return self._choices().choose(rng)

    def random_members(self, count: int, rng: random.Random) -> list[bytes]:
        """`count` different members, in random order; all of them where there are no more."""
        if count >= len(self.members):
            return list(self)
        return self._choices().sample(count, rng)

    def copy(self) -> SetValue:
        """An independent copy with the same encoding."""
        twin = SetValue()
        twin.members = self.members.copy()
        twin._intset = self._intset
        return twin

    def _choices(self) -> Pool:
        if self._pool is None:
            self._pool = Pool(self.members)
        return self._pool

    def _check(self) -> None:
        """The promises of this class, for tests."""
        if self._intset:
            assert all(map(_is_int64, self.members))
        if self._pool is not None:
            self._pool._check(self.members)


def _is_int64(member: bytes) -> bool:
    """Whether `member` is the one spelling of a signed 64-bit integer."""
    return _WHOLE_NUMBER.fullmatch(member) is not None and -(1 << 63) <= int(member) < 1 << 63
