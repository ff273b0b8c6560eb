"""The value of a hash key: fields in a dict, and the encoding that redis-server would give it.

A hash begins as a listpack and becomes a hashtable for good at the first field or value that is too long, or at
the first field too many. The limits belong to the caller, who has the settings.

A field may have a deadline of its own, as with Redis 7.4. Nothing here reads the clock: an overdue field stays until
whoever knows the time removes it (`aofnb.commands.hash_fields`).

Redis: t_hash.c hashTypeSet, hashTypeTryConversion (7.0.15), hashTypeSetEx (7.4).
"""

from __future__ import annotations

import random
from collections.abc import ItemsView, Iterator, Mapping, Sequence, ValuesView

from aofnb.store.pool import Pool

__all__ = ["HashValue"]


class HashValue:
    """Fields and their values, in the order the fields came.

    ``iter(value)`` gives the fields, ``value.items()`` the pairs. ``fields`` is the dict itself, for whoever
    walks it without changing it. ``deadlines`` is when fields expire, in ms since the epoch; None as long as none
    ever had a deadline, which costs the others nothing.
    """

    __slots__ = ("_listpack", "_pool", "deadlines", "fields")

    type_name = "hash"

    def __init__(self) -> None:
        self.fields: dict[bytes, bytes] = {}
        self._listpack = True
        self.deadlines: dict[bytes, int] | None = None
        # Made by the first random choice, and kept up to date from then on.
        self._pool: Pool | None = None

    @classmethod
    def of(cls, fields: Mapping[bytes, bytes], max_entries: int = 512, max_bytes: int = 64) -> HashValue:
        """A hash of `fields`, set one after the other."""
        made = cls()
        for field, value in fields.items():
            made.set(field, value, max_entries, max_bytes)
        return made

    @property
    def encoding(self) -> str:
        """``listpack``, ``listpackex`` once a field of it had a deadline, or ``hashtable``: as OBJECT ENCODING says."""
        if not self._listpack:
            return "hashtable"
        return "listpack" if self.deadlines is None else "listpackex"

    @property
    def is_compact(self) -> bool:
        """Whether it is still a listpack of either kind."""
        return self._listpack

    def __len__(self) -> int:
        return len(self.fields)

    def __contains__(self, field: bytes) -> bool:
        return field in self.fields

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.fields)

    def items(self) -> ItemsView[bytes, bytes]:
        return self.fields.items()

    def values(self) -> ValuesView[bytes]:
        return self.fields.values()

    def get(self, field: bytes) -> bytes | None:
        """The value of `field`, or None."""
        return self.fields.get(field)

    def set(self, field: bytes, value: bytes, max_entries: int = 512, max_bytes: int = 64) -> bool:
        """Give `field` a value; True where the field is new. The limits are those of `update`."""
        return self.update((field, value), max_entries, max_bytes) == 1

    def update(self, pairs: Sequence[bytes], max_entries: int = 512, max_bytes: int = 64) -> int:
        """Give fields values, `pairs` being field, value, field, value and so on; how many fields are new.

        A listpack of more than `max_entries` fields, or with a field or value of more than `max_bytes`, is none
        any more.
        """
        fields = self.fields
        before = len(fields)
        for i in range(0, len(pairs), 2):
            field, value = pairs[i], pairs[i + 1]
            if self._pool is not None and field not in fields:
                self._pool.added(field)
            fields[field] = value
            if self.deadlines:
                # What is set anew lives for good.
                self.deadlines.pop(field, None)
            if self._listpack and (len(fields) > max_entries or len(field) > max_bytes or len(value) > max_bytes):
                self._listpack = False
        return len(fields) - before

    def discard(self, field: bytes) -> bool:
        """Remove `field`; False where it was not there."""
        if self.fields.pop(field, None) is None:
            return False
        if self._pool is not None:
            self._pool.removed(field)
        if self.deadlines:
            self.deadlines.pop(field, None)
        return True

    def expire(self, deadlines: Mapping[bytes, int]) -> None:
        """Give fields, which are there, deadlines in ms since the epoch."""
        if self.deadlines is None:
            self.deadlines = {}
        self.deadlines.update(deadlines)

    def persist(self, field: bytes) -> bool:
        """Drop the deadline of `field`; False where it has none."""
        return self.deadlines is not None and self.deadlines.pop(field, None) is not None

    def overdue(self, field: bytes, now_ms: int) -> bool:
        """Whether `field` has a deadline that has passed."""
        return self.deadlines is not None and self.deadlines.get(field, now_ms) < now_ms

    def live(self, now_ms: int) -> dict[bytes, bytes]:
        """The fields that are not overdue, with their values; a copy."""
        deadlines = self.deadlines or {}
        return {field: value for field, value in self.fields.items() if deadlines.get(field, now_ms) >= now_ms}

    def random_field(self, rng: random.Random) -> bytes:
        """Any field, each with the same chance; there must be one."""
        return self._choices().choose(rng)

    def random_fields(self, count: int, rng: random.Random) -> list[bytes]:
        """`count` different fields, in random order; all of them where there are no more."""
        if count >= len(self.fields):
            return list(self.fields)
        return self._choices().sample(count, rng)

    def copy(self) -> HashValue:
        """An independent copy with the same encoding."""
        twin = HashValue()
        twin.fields = self.fields.copy()
        twin._listpack = self._listpack
        twin.deadlines = None if self.deadlines is None else self.deadlines.copy()
        return twin

    def _choices(self) -> Pool:
        if self._pool is None:
            self._pool = Pool(self.fields)
        return self._pool

    def _check(self) -> None:
        """The promises of this class, for tests."""
        if self._pool is not None:
            self._pool._check(self.fields)
        assert self.fields.keys() >= (self.deadlines or {}).keys()
