"""One value to its bytes, type byte first, as a server of version 7.0 writes it.

Rules of this file: the type follows the value's encoding; the order of members in a hash table is ours, since a
server's depends on a random seed; nodes of a list are cut as if it had been filled from its front.

Redis: rdb.c rdbSaveObjectType, rdbSaveObject; quicklist.c _quicklistNodeAllowInsert; t_zset.c zzlInsertAt (7.0.15).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import Struct

from aofnb.config import Config
from aofnb.rdb import opcodes
from aofnb.rdb.listpack import encode_integer, encode_intset, encode_item, encode_listpack, frame
from aofnb.rdb.primitives import length, string
from aofnb.rdb.streams import encode_stream
from aofnb.store.hash_value import HashValue
from aofnb.store.list_value import ListValue
from aofnb.store.set_value import SetValue
from aofnb.store.stream import Stream
from aofnb.store.values import Value
from aofnb.store.zset import Entry, SortedSet

__all__ = ["encode_value", "list_node_sizes"]

_DOUBLE = Struct("<d")
_INT64 = Struct("<q")
_NEVER = 1 << 63
# list-max-listpack-size: what -1 to -5 stand for, in bytes, and the limit that holds beside a number of elements.
_NODE_BYTES = (4096, 8192, 16384, 32768, 65536)
_NODE_SAFE_BYTES = 8192
_NODE_MAX_ENTRIES = (1 << 15) - 1
_ENTRY_OVERHEAD = 8
_EMPTY_LISTPACK_BYTES = 7
# From this size on an element is a node of its own.
_PLAIN_FROM = 1 << 30
# Whole scores up to here are written as integers.
_WHOLE_SCORE_MAX = 1 << 62


def encode_value(value: Value, config: Config, compressed: bool = True) -> tuple[int, Iterator[bytes]]:
    """The type byte of `value`, and what follows it (a key stands between them in a file), in pieces."""
    if isinstance(value, bytes | bytearray):
        return opcodes.STRING, iter((string(bytes(value), compressed),))
    if isinstance(value, ListValue):
        return opcodes.LIST_QUICKLIST_2, _list(value, config.list_max_listpack_size, compressed)
    if isinstance(value, HashValue):
        return _hash(value, compressed)
    if isinstance(value, SetValue):
        return _set(value, compressed)
    if isinstance(value, SortedSet):
        return _zset(value, compressed)
    if isinstance(value, Stream):
        return opcodes.STREAM_LISTPACKS_2, encode_stream(value, compressed)
    raise TypeError(f"there is no form for a {value.type_name}")


def _list(value: ListValue, fill: int, compressed: bool) -> Iterator[bytes]:
    nodes = list(_nodes(value, fill))
    yield length(len(nodes))
    for node in nodes:
        if isinstance(node, bytes):
            yield length(opcodes.NODE_PLAIN) + string(node, compressed)
        else:
            yield length(opcodes.NODE_PACKED) + string(frame(node), compressed)


def list_node_sizes(value: ListValue, fill: int) -> list[int]:
    """Bytes of each node that a list has where nothing but its ends was ever changed; `fill` as for `_nodes`."""
    return [
        len(node) if isinstance(node, bytes) else _EMPTY_LISTPACK_BYTES + sum(map(len, node))
        for node in _nodes(value, fill)
    ]


def _nodes(value: ListValue, fill: int) -> Iterator[bytes | list[bytes]]:
    """The nodes of a list: an element by itself, or encoded elements."""
    node: list[bytes] = []
    node_bytes = _EMPTY_LISTPACK_BYTES
    for item in value:
        if len(item) >= _PLAIN_FROM:
            if node:
                yield node
            yield item
            node, node_bytes = [], _EMPTY_LISTPACK_BYTES
            continue
        if node and not _fits(len(node), node_bytes + len(item) + _ENTRY_OVERHEAD, fill):
            yield node
            node, node_bytes = [], _EMPTY_LISTPACK_BYTES
        element = encode_item(item)
        node.append(element)
        node_bytes += len(element)
    if node:
        yield node


def _fits(entries: int, with_one_more: int, fill: int) -> bool:
    """Whether a node of so many entries takes one more, with which it would have about so many bytes."""
    if fill < 0:
        return with_one_more <= _NODE_BYTES[min(-fill, len(_NODE_BYTES)) - 1]
    return with_one_more <= _NODE_SAFE_BYTES and entries < min(fill, _NODE_MAX_ENTRIES)


def _set(value: SetValue, compressed: bool) -> tuple[int, Iterator[bytes]]:
    if value.encoding == "intset":
        numbers = [int(member) for member in value]
        return opcodes.SET_INTSET, iter((string(encode_intset(numbers), compressed),))
    return opcodes.SET, _strings(len(value), value.members, compressed)


def _hash(value: HashValue, compressed: bool) -> tuple[int, Iterator[bytes]]:
    if value.deadlines:
        return _expiring_hash(value, value.deadlines, compressed)
    parts = [part for pair in value.items() for part in pair]
    if value.is_compact:
        return opcodes.HASH_LISTPACK, iter((string(encode_listpack(parts), compressed),))
    return opcodes.HASH, _strings(len(value), parts, compressed)


def _expiring_hash(value: HashValue, deadlines: dict[bytes, int], compressed: bool) -> tuple[int, Iterator[bytes]]:
    """As 7.4 writes it: the earliest deadline, then fields, values and deadlines."""
    earliest_ms = min(deadlines.values())
    head = _INT64.pack(earliest_ms)
    if value.is_compact:
        # Ordered by deadline, those without one last.
        order = sorted(value, key=lambda field: deadlines.get(field, _NEVER))
        elements = [
            part
            for field in order
            for part in (encode_item(field), encode_item(value.fields[field]), encode_integer(deadlines.get(field, 0)))
        ]
        return opcodes.HASH_LISTPACK_EX, iter((head, string(frame(elements), compressed)))

    def pieces() -> Iterator[bytes]:
        yield head + length(len(value))
        for field, held in value.items():
            when_ms = deadlines.get(field)
            distance = 0 if when_ms is None else when_ms - earliest_ms + 1
            yield length(distance) + string(field, compressed) + string(held, compressed)

    return opcodes.HASH_METADATA, pieces()


def _strings(count: int, parts: Iterable[bytes], compressed: bool) -> Iterator[bytes]:
    yield length(count)
    for part in parts:
        yield string(part, compressed)


def _zset(value: SortedSet, compressed: bool) -> tuple[int, Iterator[bytes]]:
    entries = value.walk()
    if value.encoding == "listpack":
        elements = [part for score, member in entries for part in (encode_item(member), _score(score))]
        return opcodes.ZSET_LISTPACK, iter((string(frame(elements), compressed),))
    return opcodes.ZSET_2, _scored(entries, compressed)


def _scored(entries: list[Entry], compressed: bool) -> Iterator[bytes]:
    yield length(len(entries))
    # From the highest: a server that loads them puts each in front of all others, which is quick.
    for score, member in reversed(entries):
        yield string(member, compressed) + _DOUBLE.pack(score)


def _score(score: float) -> bytes:
    """A score as an element: a number where it is whole and not too large, else its text."""
    if -_WHOLE_SCORE_MAX <= score <= _WHOLE_SCORE_MAX and score.is_integer():
        return encode_integer(int(score))
    return encode_item(b"%.17g" % score)
