"""The value of a hash key: its fields, and the encoding that redis-server would give it.

While it is small the fields are one string of bytes (`aofnb.store._packed_cy`), from which a change makes the next;
then they are a dict for good. Whether one or the other is nobody's business: it is not the encoding.

A hash begins as a listpack and becomes a hashtable for good at the first field or value that is too long, or at
the first field too many. The limits belong to the caller, who has the settings.

A field may have a deadline of its own, as with Redis 7.4. Nothing here reads the clock: an overdue field stays until
whoever knows the time removes it (`aofnb.commands.hash_fields`).

Redis: t_hash.c hashTypeSet, hashTypeTryConversion (7.0.15), hashTypeSetEx (7.4).
"""

from __future__ import annotations

import random
from collections.abc import ItemsView, Iterator, Mapping, Sequence, ValuesView
from sys import maxsize

from aofnb.store import _packed_cy as packed
from aofnb.store.pool import Pool

__all__ = ["HashValue"]


# Where the kernel is not compiled nothing is packed: that would save memory at several times the time.
PACKS: bool = packed.PACKS


class _Loose:
    """What a hash knows besides its fields once it is more than a listpack of them."""

    __slots__ = ("deadlines", "listpack", "pool")

    def __init__(self, listpack: bool) -> None:
        self.listpack = listpack
        self.deadlines: dict[bytes, int] | None = None
        # Made by the first random choice, and kept up to date from then on.
        self.pool: Pool | None = None


class HashValue:
    """Fields and their values, in the order the fields came.

    ``iter(value)`` gives the fields, ``value.items()`` the pairs.
    """

    __slots__ = ("_data", "_state")

    type_name = "hash"

    def __init__(self) -> None:
        # Packed, or the dict; a packed hash is a listpack to Redis, and has nothing else to know.
        self._data: bytes | dict[bytes, bytes] = packed.EMPTY if PACKS else {}
        # Whether it is a listpack; or that and more.
        self._state: bool | _Loose = True

    @classmethod
    def of(cls, fields: Mapping[bytes, bytes], max_entries: int = 512, max_bytes: int = 64) -> HashValue:
        """A hash of `fields`, set one after the other."""
        made = cls()
        made.update([part for pair in fields.items() for part in pair], max_entries, max_bytes)
        return made

    @classmethod
    def large(cls, fields: dict[bytes, bytes]) -> HashValue:
        """A hash of `fields`, which it takes over and which are too many or too long for a listpack."""
        made = cls()
        made._data, made._state = fields, False
        return made

    @classmethod
    def restored(cls, fields: dict[bytes, bytes], is_compact: bool) -> HashValue:
        """A hash of `fields`, which it takes over, that was a listpack or not, whatever the limits are."""
        made = cls()
        if PACKS and is_compact:
            made.update([part for pair in fields.items() for part in pair], len(fields), maxsize)
        else:
            made._data, made._state = fields, is_compact
        return made

    @property
    def fields(self) -> dict[bytes, bytes]:
        """The fields with their values, for whoever walks them without changing them."""
        data = self._data
        return packed.fields(data) if isinstance(data, bytes) else data

    @property
    def deadlines(self) -> dict[bytes, int] | None:
        """When fields expire, in ms since the epoch; None as long as none ever had a deadline."""
        state = self._state
        return None if isinstance(state, bool) else state.deadlines

    @property
    def packed_bytes(self) -> int | None:
        """How many bytes the fields take in one piece; None where they are a dict."""
        return len(self._data) if isinstance(self._data, bytes) else None

    @property
    def encoding(self) -> str:
        """``listpack``, ``listpackex`` once a field of it had a deadline, or ``hashtable``: as OBJECT ENCODING says."""
        if not self.is_compact:
            return "hashtable"
        return "listpack" if self.deadlines is None else "listpackex"

    @property
    def is_compact(self) -> bool:
        """Whether it is still a listpack of either kind."""
        state = self._state
        return state if isinstance(state, bool) else state.listpack

    def __len__(self) -> int:
        data = self._data
        return data[0] if isinstance(data, bytes) else len(data)

    def __contains__(self, field: bytes) -> bool:
        return self.get(field) is not None

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.fields)

    def items(self) -> ItemsView[bytes, bytes]:
        return self.fields.items()

    def values(self) -> ValuesView[bytes]:
        return self.fields.values()

    def get(self, field: bytes) -> bytes | None:
        """The value of `field`, or None."""
        data = self._data
        if isinstance(data, bytes):
            return packed.field_value(data, field)
        return data.get(field)

    def set(self, field: bytes, value: bytes, max_entries: int = 512, max_bytes: int = 64) -> bool:
        """Give `field` a value; True where the field is new. The limits are those of `update`."""
        return self.update((field, value), max_entries, max_bytes) == 1

    def update(self, pairs: Sequence[bytes], max_entries: int = 512, max_bytes: int = 64) -> int:
        """Give fields values, `pairs` being field, value, field, value and so on; how many fields are new.

        A listpack of more than `max_entries` fields, or with a field or value of more than `max_bytes`, is none
        any more.
        """
        data = self._data
        if isinstance(data, bytes):
            made = packed.with_fields(data, pairs, max_entries, max_bytes)
            if made is not None:
                self._data = made
                return made[0] - data[0]
        fields = self._unpack()
        before = len(fields)
        state = self._state
        pool, deadlines = (None, None) if isinstance(state, bool) else (state.pool, state.deadlines)
        for i in range(0, len(pairs), 2):
            field, value = pairs[i], pairs[i + 1]
            if pool is not None and field not in fields:
                pool.added(field)
            fields[field] = value
            if deadlines:
                # What is set anew lives for good.
                deadlines.pop(field, None)
            if len(fields) > max_entries or len(field) > max_bytes or len(value) > max_bytes:
                if isinstance(state, bool):
                    self._state = False
                else:
                    state.listpack = False
        return len(fields) - before

    def discard(self, field: bytes) -> bool:
        """Remove `field`; False where it was not there."""
        data = self._data
        if isinstance(data, bytes):
            self._data = packed.without_field(data, field)
            return self._data is not data
        if data.pop(field, None) is None:
            return False
        state = self._state
        if not isinstance(state, bool):
            if state.pool is not None:
                state.pool.removed(field)
            if state.deadlines:
                state.deadlines.pop(field, None)
        return True

    def expire(self, deadlines: Mapping[bytes, int]) -> None:
        """Give fields, which are there, deadlines in ms since the epoch."""
        state = self._loosened()
        if state.deadlines is None:
            state.deadlines = {}
        state.deadlines.update(deadlines)

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
        if count >= len(self):
            return list(self)
        return self._choices().sample(count, rng)

    def copy(self) -> HashValue:
        """An independent copy with the same encoding."""
        twin = HashValue()
        data = self._data
        twin._data = data if isinstance(data, bytes) else data.copy()
        twin._state = self.is_compact
        if self.deadlines is not None:
            twin._loosened().deadlines = self.deadlines.copy()
        return twin

    def _unpack(self) -> dict[bytes, bytes]:
        """The dict, made now if there is none, to be changed."""
        data = self._data
        if isinstance(data, bytes):
            data = self._data = packed.fields(data)
        return data

    def _loosened(self) -> _Loose:
        """The state, as one that can hold more."""
        self._unpack()
        state = self._state
        if isinstance(state, bool):
            state = self._state = _Loose(state)
        return state

    def _choices(self) -> Pool:
        if isinstance(self._data, bytes):
            return Pool(self.fields)
        state = self._loosened()
        if state.pool is None:
            state.pool = Pool(self.fields)
        return state.pool

    def _check(self) -> None:
        """The promises of this class, for tests."""
        if isinstance(self._data, bytes):
            assert self._state is True
            assert len(self) == len(self.fields)
        elif not isinstance(self._state, bool) and self._state.pool is not None:
            self._state.pool._check(self.fields)
        assert self.fields.keys() >= (self.deadlines or {}).keys()
