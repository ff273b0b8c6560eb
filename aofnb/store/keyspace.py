"""Keys, values and deadlines of all databases.

Rules of this file: a value is reached only through `Database`, whose `Table` may be a dict or not: bytes and numbers
that come out are equal to those that went in, maybe not the same objects; a key whose deadline has passed is deleted
before anyone sees it, except while loading, when nothing expires; `on_expired` is told of every such deletion, so that
it reaches the log without this file knowing one.

Redis: db.c lookupKey, expireIfNeeded; expire.c activeExpireCycle (7.0.15).
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable, Iterator
from sys import maxsize
from typing import TypeVar

from aofnb.errors import ReplyError
from aofnb.store._table_cy import COMPILED, Table
from aofnb.store.functions import Library
from aofnb.store.hash_value import HashValue
from aofnb.store.pool import Pool
from aofnb.store.scanning import ScanCursors
from aofnb.store.values import Container, Value

__all__ = ["WRONG_TYPE", "Database", "Keyspace"]

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"

V = TypeVar("V", bound=Container)
# With fewer deadlines of fields it is not worth to look for those of the past.
_FIELDS_BEFORE_LOOK = 4096
_ATTEMPTS = 16


class Database:
    """One numbered database: get, put, delete, deadlines, random key, scan, walk.

    Parameters
    ----------
    index
        Its number, as SELECT knows it. SWAPDB exchanges contents, not numbers.
    keyspace
        The whole it belongs to, which knows the time and whom to tell of an expired key.
    """

    __slots__ = ("_data", "_deadlines", "_expires", "_field_deadlines", "_pool", "hits", "index", "keyspace", "misses")

    def __init__(self, index: int, keyspace: Keyspace) -> None:
        self.index = index
        self.keyspace = keyspace
        self._data: Table[Value] = Table()
        self._expires: Table[int] = Table()
        # Heap of (deadline in ms, key); entries that no longer agree with _expires are skipped when met.
        # Made when the earliest is first asked for, so that a load does not sort what nobody asks about.
        self._deadlines: list[tuple[int, bytes]] | None = None
        # Heap of (deadline in ms, key, field of the hash there); as above, entries may be of the past.
        self._field_deadlines: list[tuple[int, bytes, bytes]] = []
        # For RANDOMKEY where the table is a dict; made when it is first asked for, and kept up to date from then on.
        self._pool: Pool | None = None
        # Keys that readers found, and did not.
        self.hits = 0
        self.misses = 0

    # --- look up -----------------------------------------------------------------------------------------

    def lookup(self, key: bytes) -> Value | None:
        """The value at `key`, or None; an overdue key is deleted first."""
        if key in self._expires:
            self._expire_if_due(key)
        return self._data.get(key)

    def lookup_string(self, key: bytes) -> bytes | None:
        """The string at `key` or None; ReplyError WRONGTYPE for another kind."""
        if key in self._expires:
            self._expire_if_due(key)
        value = self._data.get(key)
        if type(value) is bytes or value is None:
            return value
        if type(value) is bytearray:
            return bytes(value)
        raise ReplyError(WRONG_TYPE)

    def lookup_buffer(self, key: bytes) -> bytes | bytearray | None:
        """As `lookup_string`, but the stored object itself: a bytearray may be edited in place."""
        value = self.lookup(key)
        if value is None or isinstance(value, bytes | bytearray):
            return value
        raise ReplyError(WRONG_TYPE)

    def lookup_kind(self, key: bytes, kind: type[V]) -> V | None:
        """The container of class `kind` at `key` or None; ReplyError WRONGTYPE for another kind."""
        if key in self._expires:
            self._expire_if_due(key)
        value = self._data.get(key)
        if value is None or type(value) is kind:
            return value
        raise ReplyError(WRONG_TYPE)

    # Four that do the same for one who only reads: the key is counted as found or missed, and TellingDatabase tells
    # of a missed one. Written out, since they are what reading costs.

    def read(self, key: bytes) -> Value | None:
        """As `lookup`, for a reader."""
        value = self.lookup(key)
        if value is None:
            self.missed(key)
        else:
            self.hits += 1
        return value

    def read_string(self, key: bytes) -> bytes | None:
        """As `lookup_string`, for a reader."""
        if key in self._expires:
            self._expire_if_due(key)
        value = self._data.get(key)
        if type(value) is bytes:
            self.hits += 1
            return value
        if value is None:
            self.missed(key)
            return None
        self.hits += 1
        if type(value) is bytearray:
            return bytes(value)
        raise ReplyError(WRONG_TYPE)

    def read_buffer(self, key: bytes) -> bytes | bytearray | None:
        """As `lookup_buffer`, for a reader."""
        value = self.read(key)
        if value is None or isinstance(value, bytes | bytearray):
            return value
        raise ReplyError(WRONG_TYPE)

    def read_kind(self, key: bytes, kind: type[V]) -> V | None:
        """As `lookup_kind`, for a reader."""
        if key in self._expires:
            self._expire_if_due(key)
        value = self._data.get(key)
        if value is None:
            self.missed(key)
            return None
        self.hits += 1
        if type(value) is kind:
            return value
        raise ReplyError(WRONG_TYPE)

    def read_quietly(self, key: bytes) -> Value | None:
        """As `read`, but nobody is told of a missed key."""
        value = self.lookup(key)
        if value is None:
            self.misses += 1
        else:
            self.hits += 1
        return value

    def missed(self, key: bytes) -> None:
        """A reader did not find `key`."""
        self.misses += 1

    def peek(self, key: bytes) -> Value | None:
        """The value at `key`, or None; an overdue key counts and stays."""
        return self._data.get(key)

    def lookup_or_add(self, key: bytes, kind: type[V]) -> V:
        """The container of class `kind` at `key`, an empty one put there if there is none.

        Whoever asks puts something in. ReplyError WRONGTYPE for another kind.
        """
        if key in self._expires:
            self._expire_if_due(key)
        value = self._data.get(key)
        if type(value) is kind:
            return value
        if value is not None:
            raise ReplyError(WRONG_TYPE)
        made = kind()
        self.put(key, made)
        return made

    def __contains__(self, key: bytes) -> bool:
        return self.lookup(key) is not None

    def __len__(self) -> int:
        """Number of keys, overdue ones that nobody has met yet included, as DBSIZE counts."""
        return len(self._data)

    # --- change ------------------------------------------------------------------------------------------

    def put(self, key: bytes, value: Value) -> None:
        """Store `value` at `key`; a deadline stays."""
        if self._pool is not None and key not in self._data:
            self._pool.added(key)
        self._data[key] = value

    def replace(self, key: bytes, value: Value) -> None:
        """Store `value` at `key`; a deadline goes, as with SET. An overdue key is deleted first, and that is told."""
        if key in self._expires and not self._expire_if_due(key):
            del self._expires[key]
        if self._pool is not None and key not in self._data:
            self._pool.added(key)
        self._data[key] = value

    def replace_many(self, pairs: Iterable[tuple[bytes, Value]]) -> None:
        """`replace` for each key and value in turn, in a fraction of the time while loading, if nobody is told."""
        if (self._expires and self.keyspace.expiring) or self._pool is not None or type(self) is not Database:
            for key, value in pairs:
                self.replace(key, value)
            return
        if self._expires:
            for key, _value in pairs:
                self._expires.pop(key, None)
        self._data.update(pairs)

    def delete(self, key: bytes) -> bool:
        """Remove `key`; False where there is none (an overdue key is expired, not deleted)."""
        if key in self._expires:
            if self._expire_if_due(key):
                return False
            del self._expires[key]
        if self._data.pop(key, None) is None:
            return False
        if self._pool is not None:
            self._pool.removed(key)
        return True

    def discard(self, key: bytes) -> bool:
        """Remove `key`, overdue or not, as a command does whose result takes its place; False where there is none."""
        self._expires.pop(key, None)
        return self.delete(key)

    def clear(self) -> int:
        """Remove everything; returns how many keys there were."""
        removed = len(self._data)
        # New containers: whoever walks the old ones keeps what it had.
        self._data = Table()
        self._expires = Table()
        self._deadlines = None
        self._field_deadlines = []
        self._pool = None
        return removed

    # --- deadlines ---------------------------------------------------------------------------------------

    def deadline_ms(self, key: bytes) -> int | None:
        """When `key` expires, in ms since the epoch; None if never or absent."""
        return self._expires.get(key)

    def set_deadline(self, key: bytes, when_ms: int) -> None:
        """Let `key`, which exists, expire at `when_ms`."""
        self._expires[key] = when_ms
        heap = self._deadlines
        if heap is not None:
            heapq.heappush(heap, (when_ms, key))
            if len(heap) > 64 and len(heap) > 4 * len(self._expires):
                # Mostly entries to skip: the next question makes a new one.
                self._deadlines = None

    def persist(self, key: bytes) -> bool:
        """Drop the deadline of `key`; False where there is none."""
        return self._expires.pop(key, None) is not None

    def next_deadline_ms(self) -> int | None:
        """The earliest deadline of any key, or None."""
        heap = self._heap()
        while heap and self._expires.get(heap[0][1]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def earliest_volatile_key(self) -> bytes | None:
        """The key that expires first, or None."""
        return None if self.next_deadline_ms() is None else self._heap()[0][1]

    def random_volatile_key(self, rng: random.Random) -> bytes | None:
        """Any key with a deadline, or None."""
        heap = self._heap()
        # Most entries are of the present; after so many of the past, the first that is.
        for _attempt in range(_ATTEMPTS):
            if not heap or not self._expires:
                break
            when_ms, key = heap[rng.randrange(len(heap))]
            if self._expires.get(key) == when_ms:
                return key
        return next(iter(self._expires), None)

    def expire_due(self, limit: int) -> int:
        """Delete up to `limit` overdue keys, earliest first, telling `on_expired`; returns how many."""
        expired = 0
        now_ms = self.keyspace.now_ms()
        while expired < limit:
            when_ms = self.next_deadline_ms()
            if when_ms is None or when_ms >= now_ms:
                break
            key = heapq.heappop(self._heap())[1]
            if self._expire_if_due(key):
                expired += 1
        return expired

    def _heap(self) -> list[tuple[int, bytes]]:
        if self._deadlines is None:
            self._deadlines = [(when_ms, key) for key, when_ms in self._expires.items()]
            heapq.heapify(self._deadlines)
        return self._deadlines

    def _expire_if_due(self, key: bytes) -> bool:
        keyspace = self.keyspace
        if not keyspace.expiring or keyspace.now_ms() <= self._expires[key]:
            return False
        if keyspace.expiry_begins is not None:
            keyspace.expiry_begins()
        del self._expires[key]
        del self._data[key]
        if self._pool is not None:
            self._pool.removed(key)
        keyspace.expired_keys += 1
        keyspace.on_expired(self, key)
        return True

    # --- deadlines of fields -----------------------------------------------------------------------------

    def watch_fields(self, key: bytes, value: Value, fields: Iterable[bytes] | None = None) -> None:
        """Have the deadlines of `fields` (all, if not given) of the hash `value` at `key` seen to in time.

        Whoever gives fields deadlines, or puts a hash that has them at a key, says so.
        """
        if type(value) is not HashValue or not value.deadlines:
            return
        heap = self._field_deadlines
        for field in value.deadlines if fields is None else fields:
            heapq.heappush(heap, (value.deadlines[field], key, field))
        if len(heap) > _FIELDS_BEFORE_LOOK and len(heap) > 4 * self._volatile_fields():
            # Mostly of the past.
            self._field_deadlines = [entry for entry in set(heap) if self._is_deadline(*entry)]
            heapq.heapify(self._field_deadlines)

    def _volatile_fields(self) -> int:
        hashes = [self._data.get(key) for key in {key for _when_ms, key, _field in self._field_deadlines}]
        return sum(len(value.deadlines) for value in hashes if type(value) is HashValue and value.deadlines)

    def _is_deadline(self, when_ms: int, key: bytes, field: bytes) -> bool:
        value = self._data.get(key)
        return type(value) is HashValue and (value.deadlines or {}).get(field) == when_ms

    def next_field_deadline_ms(self) -> int | None:
        """The earliest deadline of any field of a hash, or None."""
        heap = self._field_deadlines
        while heap and not self._is_deadline(*heap[0]):
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def expire_due_fields(self, limit: int) -> int:
        """Delete up to `limit` overdue fields of hashes, earliest first, telling `on_field_expired`; returns how many.

        A key that has expired itself counts as it stands, until it is deleted.
        """
        expired = 0
        now_ms = self.keyspace.now_ms()
        while expired < limit:
            when_ms = self.next_field_deadline_ms()
            if when_ms is None or when_ms >= now_ms:
                break
            _when_ms, key, field = heapq.heappop(self._field_deadlines)
            value = self._data[key]
            assert type(value) is HashValue
            self._expire_fields(key, value, [field])
            expired += 1
        return expired

    def drop_overdue_fields(self, key: bytes, value: HashValue, fields: Iterable[bytes]) -> HashValue | None:
        """Delete those of `fields` that are overdue from the hash `value` at `key`; None if nothing is left of it."""
        if not self.keyspace.expiring:
            return value
        now_ms = self.keyspace.now_ms()
        due = [field for field in dict.fromkeys(fields) if value.overdue(field, now_ms)]
        if due:
            self._expire_fields(key, value, due)
        return value if value else None

    def _expire_fields(self, key: bytes, value: HashValue, fields: list[bytes]) -> None:
        for field in fields:
            value.discard(field)
            self.keyspace.expired_fields += 1
            self.keyspace.on_field_expired(self, key, field)
        if not value:
            self.delete(key)

    @property
    def volatile(self) -> int:
        """Number of keys with a deadline."""
        return len(self._expires)

    # --- go through --------------------------------------------------------------------------------------

    def random_key(self, rng: random.Random) -> bytes | None:
        """Any key with equal chance, overdue ones included, or None."""
        if not self._data:
            return None
        if COMPILED:
            return self._data.random_key(rng.random)
        if self._pool is None:
            self._pool = Pool(self._data)
        return self._pool.choose(rng)

    def keys(self) -> list[bytes]:
        """All keys, overdue ones included, in no promised order; a copy."""
        return list(self._data)

    def overdue(self, key: bytes) -> bool:
        """Whether `key` is past its deadline; it is not deleted."""
        when_ms = self._expires.get(key)
        return when_ms is not None and self.keyspace.expiring and self.keyspace.now_ms() > when_ms

    def scan(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """One step of SCAN: the next cursor (0 at the end) and about `count` keys.

        Every key that is there from the first call to the last is given at least once.
        """
        if COMPILED:
            return self._data.scan(min(cursor, maxsize), min(count, maxsize))
        return self.keyspace.cursors.step(self._data, cursor, count)

    def walk(self) -> Iterator[tuple[bytes, Value, int | None]]:
        """Every key with its value and deadline, for a snapshot; the database must not change meanwhile."""
        expires = self._expires
        for key, value in self._data.items():
            yield key, value, expires.get(key)

    def tables(self) -> tuple[Table[Value], Table[int]]:
        """The values and the deadlines themselves, for a kernel that walks them in C; nobody else looks at them."""
        return self._data, self._expires

    def tables_to_fill(self) -> tuple[Table[Value], Table[int]] | None:
        """`tables`, for a loader that puts keys in; None where that must be told, key by key."""
        if self._pool is not None or self._deadlines is not None or type(self) is not Database:
            return None
        return self._data, self._expires

    def swap_with(self, other: Database) -> None:
        """Exchange contents with `other`, as SWAPDB does."""
        for name in ("_data", "_expires", "_deadlines", "_field_deadlines", "_pool"):
            mine, theirs = getattr(self, name), getattr(other, name)
            setattr(self, name, theirs)
            setattr(other, name, mine)


class TellingDatabase(Database):
    """A `Database` that tells the keyspace of keys that readers look for in vain, and of new ones.

    What nobody asked for costs nothing: `Keyspace.tell` makes databases of this class, and back.
    """

    __slots__ = ()

    def missed(self, key: bytes) -> None:
        super().missed(key)
        self.keyspace.on_miss(self, key)

    def put(self, key: bytes, value: Value) -> None:
        new = key not in self._data
        super().put(key, value)
        if new:
            self.keyspace.on_new(self, key)

    def replace(self, key: bytes, value: Value) -> None:
        new = key not in self._data or self.overdue(key)
        super().replace(key, value)
        if new:
            self.keyspace.on_new(self, key)


class Keyspace:
    """All databases.

    Parameters
    ----------
    databases
        How many.
    now_ms
        The time that deadlines are judged by; inside a transaction or a script it stands still.
    on_expired
        Called with the database and the key after an overdue key was deleted.
    """

    __slots__ = (
        "_databases",
        "active_expire",
        "cursors",
        "dirty",
        "evicted_keys",
        "expired_fields",
        "expired_keys",
        "expiring",
        "expiry_begins",
        "functions",
        "now_ms",
        "on_expired",
        "on_field_expired",
        "on_miss",
        "on_new",
    )

    def __init__(
        self,
        databases: int,
        now_ms: Callable[[], int],
        on_expired: Callable[[Database, bytes], None] = lambda _db, _key: None,
    ) -> None:
        self.now_ms = now_ms
        self.on_expired = on_expired
        # Called, after `tell`, with a key that a reader does not find, and with one that is new.
        self.on_miss: Callable[[Database, bytes], None] = lambda _db, _key: None
        self.on_new: Callable[[Database, bytes], None] = lambda _db, _key: None
        # Called with the database, the key and the field after an overdue field of a hash was deleted.
        self.on_field_expired: Callable[[Database, bytes, bytes], None] = lambda _db, _key, _field: None
        # Called before an overdue key is deleted, for those who measure it.
        self.expiry_begins: Callable[[], None] | None = None
        # Off while loading: what the log says decides, not the clock.
        self.expiring = True
        # Off: keys expire only when they are met. For tests, by DEBUG SET-ACTIVE-EXPIRE.
        self.active_expire = True
        # Changes since the start, as rdb_changes_since_last_save counts them.
        self.dirty = 0
        self.expired_keys = 0
        self.expired_fields = 0
        self.evicted_keys = 0
        self.cursors = ScanCursors()
        # Function libraries by name; they belong to no database, and FLUSHALL leaves them.
        self.functions: dict[str, Library] = {}
        self._databases = [Database(index, self) for index in range(databases)]

    def __getitem__(self, index: int) -> Database:
        return self._databases[index]

    def __len__(self) -> int:
        """Number of databases."""
        return len(self._databases)

    def __iter__(self) -> Iterator[Database]:
        return iter(self._databases)

    def tell(self, on: bool) -> None:
        """Call `on_miss` and `on_new` from now on, or no more."""
        for db in self._databases:
            db.__class__ = TellingDatabase if on else Database

    def reset_stats(self) -> None:
        """Set what is counted for INFO to zero."""
        self.expired_keys = self.expired_fields = self.evicted_keys = 0
        for db in self._databases:
            db.hits = db.misses = 0

    def key_count(self) -> int:
        """Keys in all databases."""
        return sum(map(len, self._databases))

    def next_deadline_ms(self) -> int | None:
        """The earliest deadline of a key or a field in any database, or None."""
        asked = [ask() for db in self._databases for ask in (db.next_deadline_ms, db.next_field_deadline_ms)]
        return min([when_ms for when_ms in asked if when_ms is not None], default=None)

    def has_field_deadlines(self) -> bool:
        """Whether any field of a hash has a deadline: then a snapshot of version 10 cannot hold the data."""
        return any(db.next_field_deadline_ms() is not None for db in self._databases)
