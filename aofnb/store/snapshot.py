"""The data of a keyspace as commands that rebuild it: what a base in RESP form holds.

Rules of this file: the records, their order and their batches are those of redis-server, so that either side loads
the other's base; overdue keys are written like any other, with their deadline; the keyspace must not change
while it is walked.

Redis: aof.c rewriteAppendOnlyFileRio, rewriteListObject ... rewriteStreamObject (7.0.15).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from aofnb.store.hash_value import HashValue
from aofnb.store.keyspace import Keyspace
from aofnb.store.list_value import ListValue
from aofnb.store.set_value import SetValue
from aofnb.store.stream import Stream, format_id
from aofnb.store.values import Value
from aofnb.store.zset import SortedSet

__all__ = ["NO_DB", "Record", "commands_of", "commands_of_key", "score_text"]

Argv = list[bytes]
# The database and the command.
Record = tuple[int, Argv]

# Database of records that belong to none.
NO_DB = -1
# Items of one command.
BATCH = 64


def commands_of(keyspace: Keyspace, each_key: Callable[[], None] | None = None) -> Iterator[Record]:
    """Every record that rebuilds `keyspace` from nothing, but for SELECT: the database stands beside each.

    Functions come first, with `NO_DB`; then the databases in order. `each_key` is called behind each key.
    """
    for library in keyspace.functions.values():
        yield NO_DB, [b"FUNCTION", b"LOAD", library.code]
    for db in keyspace:
        index = db.index
        for key, value, deadline_ms in db.walk():
            # Most keys are strings, and this loop is what a rewrite waits for.
            if type(value) is bytes:
                yield index, [b"SET", key, value]
            else:
                for argv in commands_of_key(key, value):
                    yield index, argv
            if deadline_ms is not None:
                yield index, [b"PEXPIREAT", key, b"%d" % deadline_ms]
            if each_key is not None:
                each_key()


def commands_of_key(key: bytes, value: Value) -> Iterator[Argv]:
    """The commands that make `key` hold `value`, its deadline not among them."""
    if isinstance(value, bytes | bytearray):
        yield [b"SET", key, bytes(value)]
        return
    yield from _WRITERS[value.type_name](key, value)


def _batches(head: Argv, items: Iterable[bytes], size: int = BATCH) -> Iterator[Argv]:
    """`head` with up to `size` of `items`, as often as it takes."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield head + batch


def _list(key: bytes, value: ListValue) -> Iterator[Argv]:
    return _batches([b"RPUSH", key], value)


def _set(key: bytes, value: SetValue) -> Iterator[Argv]:
    return _batches([b"SADD", key], value)


def _hash(key: bytes, value: HashValue) -> Iterator[Argv]:
    yield from _batches([b"HMSET", key], (part for pair in value.items() for part in pair), 2 * BATCH)
    for field, when_ms in (value.deadlines or {}).items():
        yield [b"HPEXPIREAT", key, b"%d" % when_ms, b"FIELDS", b"1", field]


def _zset(key: bytes, value: SortedSet) -> Iterator[Argv]:
    # Large sets in the order of the dict, as redis-server writes them in that of its hash table: no sort is needed.
    if value.encoding == "listpack":
        pairs: Iterable[tuple[float, bytes]] = value.entries()
    else:
        pairs = ((score, member) for member, score in value.scores.items())
    return _batches(
        [b"ZADD", key], (part for score, member in pairs for part in (score_text(score), member)), 2 * BATCH
    )


def score_text(score: float) -> bytes:
    """What a score is written as."""
    # Adding 0 makes 0 of -0.
    return b"%.17g" % (score + 0.0)


def _stream(key: bytes, value: Stream) -> Iterator[Argv]:
    if len(value) == 0:
        # Adds an entry and trims it away: the only way to make a stream that has none.
        yield [b"XADD", key, b"MAXLEN", b"0", b"0-1", b"x", b"y"]
    for entry_id, items in value.range():
        yield [b"XADD", key, format_id(entry_id), *items]
    added, deleted = b"%d" % value.entries_added, format_id(value.max_deleted_id)
    yield [b"XSETID", key, format_id(value.last_id), b"ENTRIESADDED", added, b"MAXDELETEDID", deleted]
    for name in sorted(value.groups):
        group = value.groups[name]
        read = b"%d" % group.entries_read
        yield [b"XGROUP", b"CREATE", key, name, format_id(group.last_id), b"ENTRIESREAD", read]
        for consumer in group.sorted_consumers():
            if len(consumer.pel) == 0:
                yield [b"XGROUP", b"CREATECONSUMER", key, name, consumer.name]
            for entry_id, pending in consumer.pel.items():
                time, count = b"%d" % pending.delivered_ms, b"%d" % pending.deliveries
                claim = [b"XCLAIM", key, name, consumer.name, b"0", format_id(entry_id)]
                yield [*claim, b"TIME", time, b"RETRYCOUNT", count, b"JUSTID", b"FORCE"]


_WRITERS: dict[str, Callable[[bytes, Any], Iterator[Argv]]] = {
    "list": _list,
    "set": _set,
    "hash": _hash,
    "zset": _zset,
    "stream": _stream,
}
