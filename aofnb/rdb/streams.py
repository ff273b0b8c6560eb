"""Streams in snapshots, both ways: nodes of entries as listpacks, then the numbers, then the groups.

Rules of this file: what was deleted from a node has left its values behind in ours, so a node is written without
tombstones; a node without a live entry is not written.

Redis: rdb.c rdbSaveObject, rdbLoadObject, streamValidateListpackIntegrity (7.0.15).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import Struct

from aofnb.rdb import opcodes
from aofnb.rdb._listpack_cy import entries
from aofnb.rdb.listpack import Item, decode_listpack, encode_integer, encode_item, frame, texts
from aofnb.rdb.primitives import length, string
from aofnb.rdb.source import Source
from aofnb.store.stream import MIN_ID, UINT64_MAX, Consumer, Group, Node, Stream, StreamId

__all__ = ["decode_stream", "encode_stream"]

_DELETED, _SAME_FIELDS = 1, 2
_ID = Struct(">QQ")
_TIME = Struct("<q")
_SIGN = 1 << 63


# --- reading -------------------------------------------------------------------------------------------------


def decode_stream(source: Source, type_: int, warn: Callable[[str], None]) -> Stream:
    """A stream of any of the five forms.

    What only newer servers keep is dropped, with a warning where it matters: when a consumer was last active, and
    what makes a producer's second attempt count once.
    """
    stream = Stream()
    for _node in range(source.count(2)):
        _read_node(source, stream)
    stored_length = source.length()
    if stored_length != stream.length:
        if stored_length and not stream.nodes:
            raise source.error(f"a stream of {stored_length} entries has no nodes")
        warn(f"a stream says that it has {stored_length} entries, and has {stream.length}")
    stream.last_id = source.id_pair()
    if stream.top_id > stream.last_id:
        raise source.error("the last id of a stream is below that of its last entry")
    if type_ >= opcodes.STREAM_LISTPACKS_2:
        source.id_pair()  # the first id, which the entries tell
        stream.max_deleted_id = source.id_pair()
        stream.entries_added = source.length()
    else:
        stream.entries_added = stream.length
    for _group in range(source.count(4)):
        _read_group(source, stream, type_)
    if type_ >= opcodes.STREAM_LISTPACKS_4:
        _skip_producers(source, warn)
    return stream


def _read_node(source: Source, stream: Stream) -> None:
    key = source.string()
    if len(key) != 16:
        raise source.error(f"the key of a stream node has {len(key)} bytes, not 16")
    master_id: StreamId = _ID.unpack(key)
    if stream.nodes and master_id <= stream.nodes[-1].master_id:
        raise source.error("the nodes of a stream do not ascend")
    items = decode_listpack(source.string())
    node = _Items(source, items).node(master_id)
    if node.ids:
        if node.ids[0] < master_id or (stream.length and node.ids[0] <= stream.top_id):
            raise source.error("the entries of a stream do not ascend")
        stream.length += len(node.ids)
    stream.nodes.append(node)


class _Items:
    """The elements of one node, taken one after the other."""

    def __init__(self, source: Source, items: list[Item]) -> None:
        self._source = source
        self._items = items
        self._at = 0

    def node(self, master_id: StreamId) -> Node:
        live, deleted = self._count(), self._count()
        fields = tuple(texts(self._take(self._count())))
        self._expect(0, "the fields of a stream node do not end with 0")
        node = Node(master_id, fields)
        while len(node.ids) + node.deleted < live + deleted:
            # What is deleted, and what is wrong, is left for here.
            self._at = entries(self._items, self._at, live + deleted - len(node.ids) - node.deleted, node)
            if len(node.ids) + node.deleted == live + deleted:
                break
            entry_id, items, gone = self._entry(master_id, fields)
            if node.ids and entry_id <= node.ids[-1]:
                raise self._source.error("the entries of a stream do not ascend")
            node.append(entry_id, items)
            if gone:
                node.remove(len(node.ids) - 1)
        if self._at != len(self._items):
            raise self._source.error("a stream node has more in it than its entries")
        if node.deleted != deleted:
            raise self._source.error(f"a stream node has {node.deleted} deleted entries and says {deleted}")
        return node

    def _entry(self, master_id: StreamId, fields: tuple[bytes, ...]) -> tuple[StreamId, tuple[bytes, ...], bool]:
        flags, ms, seq = self._integer(), self._integer(), self._integer()
        if flags not in (0, _DELETED, _SAME_FIELDS, _DELETED | _SAME_FIELDS):
            raise self._source.error(f"an entry of a stream has the flags {flags}")
        if flags & _SAME_FIELDS:
            values = texts(self._take(len(fields)))
            items = tuple([part for pair in zip(fields, values, strict=True) for part in pair])
            size = 3 + len(fields)
        else:
            count = self._count()
            items = tuple(texts(self._take(2 * count)))
            size = 4 + 2 * count
        self._expect(size, "an entry of a stream is wrong about its size")
        entry_id = ((master_id[0] + ms) & UINT64_MAX, (master_id[1] + seq) & UINT64_MAX)
        return entry_id, items, bool(flags & _DELETED)

    def _take(self, count: int) -> list[Item]:
        end = self._at + count
        if end > len(self._items):
            raise self._source.error("a stream node ends inside an entry")
        taken = self._items[self._at : end]
        self._at = end
        return taken

    def _integer(self) -> int:
        item = self._take(1)[0]
        if not isinstance(item, int):
            raise self._source.error("a stream node has text where a number must be")
        return item

    def _count(self) -> int:
        number = self._integer()
        if not 0 <= number <= len(self._items):
            raise self._source.error(f"a stream node of {len(self._items)} elements counts {number} of something")
        return number

    def _expect(self, number: int, message: str) -> None:
        if self._integer() != number:
            raise self._source.error(message)


def _read_group(source: Source, stream: Stream, type_: int) -> None:
    name = source.string()
    if name in stream.groups:
        raise source.error("a stream has two groups of the same name")
    group = stream.groups[name] = Group(source.id_pair())
    if type_ >= opcodes.STREAM_LISTPACKS_2:
        read = source.length()
        group.entries_read = read - (1 << 64) if read >= _SIGN else read
    else:
        group.entries_read = stream.entries_up_to(group.last_id)
    pending: dict[StreamId, tuple[int, int]] = {}
    for _entry in range(source.count(25)):
        entry_id = source.raw_id()
        if entry_id in pending:
            raise source.error("an entry is pending twice in one group")
        pending[entry_id] = source.int64(), source.length()
    owners: dict[StreamId, Consumer] = {}
    for _consumer in range(source.count(10 if type_ < opcodes.STREAM_LISTPACKS_3 else 18)):
        consumer_name = source.string()
        consumer = group.create_consumer(consumer_name, source.int64())
        if consumer is None:
            raise source.error("a group has two consumers of the same name")
        if type_ >= opcodes.STREAM_LISTPACKS_3:
            source.int64()  # when it was last given something: nothing here or in Redis 7.0 asks
        for _entry in range(source.count(16)):
            entry_id = source.raw_id()
            if entry_id not in pending:
                raise source.error("a consumer has a pending entry that its group does not have")
            if entry_id in owners:
                raise source.error("an entry is pending for two consumers of one group")
            owners[entry_id] = consumer
    if type_ >= opcodes.STREAM_LISTPACKS_5 and source.count(16):
        raise source.error("pending entries without a consumer, which only servers from 8.8 on know")
    # In order, since everything else makes each a search.
    for entry_id in sorted(pending):
        if entry_id not in owners:
            raise source.error("a pending entry of a group belongs to no consumer")
        group.assign(entry_id, owners[entry_id], *pending[entry_id])


def _skip_producers(source: Source, warn: Callable[[str], None]) -> None:
    source.length()  # for how long
    source.length()  # how many entries
    producers = source.count(2)
    for _producer in range(producers):
        source.string()
        for _attempt in range(source.count(3)):
            source.string()
            source.id_pair()
    source.length()
    source.length()
    if producers:
        warn("a stream knows what its producers sent before; that is dropped")


# --- writing -------------------------------------------------------------------------------------------------


def encode_stream(stream: Stream, compressed: bool) -> Iterator[bytes]:
    """A stream in its second form, that of Redis 7.0, without the type byte."""
    nodes = [node for node in stream.nodes if node.ids]
    yield length(len(nodes))
    for node in nodes:
        yield b"\x10" + _ID.pack(*node.master_id)
        yield string(_node_listpack(node), compressed)
    yield length(stream.length)
    yield _id_pair(stream.last_id) + _id_pair(stream.first_id if stream.length else MIN_ID)
    yield _id_pair(stream.max_deleted_id) + length(stream.entries_added)
    yield length(len(stream.groups))
    for name in sorted(stream.groups):
        yield string(name, compressed)
        yield from _group(stream.groups[name], compressed)


def _node_listpack(node: Node) -> bytes:
    master_ms, master_seq = node.master_id
    elements = [encode_integer(len(node.ids)), encode_integer(0), encode_integer(len(node.fields))]
    elements += map(encode_item, node.fields)
    elements.append(encode_integer(0))
    # What stands before and behind each entry that has just these fields.
    same_head, same_end = encode_integer(_SAME_FIELDS), encode_integer(3 + len(node.fields))
    for (ms, seq), items in zip(node.ids, node.entries, strict=True):
        fields = items[::2]
        distance = encode_integer(_wrapped(ms - master_ms)), encode_integer(_wrapped(seq - master_seq))
        if fields == node.fields:
            elements += (same_head, *distance)
            elements += map(encode_item, items[1::2])
            elements.append(same_end)
        else:
            elements += (encode_integer(0), *distance, encode_integer(len(fields)))
            elements += map(encode_item, items)
            elements.append(encode_integer(4 + len(items)))
    return frame(elements)


def _group(group: Group, compressed: bool) -> Iterator[bytes]:
    # Unknown is -1, of which 64 bits make the highest number.
    yield _id_pair(group.last_id) + length(group.entries_read & UINT64_MAX)
    yield length(len(group.pel))
    for entry_id, pending in group.pel.items():
        yield _ID.pack(*entry_id) + _TIME.pack(pending.delivered_ms) + length(pending.deliveries)
    yield length(len(group.consumers))
    for consumer in group.sorted_consumers():
        ids = consumer.pel.ids()
        head = string(consumer.name, compressed) + _TIME.pack(consumer.seen_ms) + length(len(ids))
        yield b"".join([head, *(_ID.pack(*entry_id) for entry_id in ids)])


def _id_pair(entry_id: StreamId) -> bytes:
    return length(entry_id[0]) + length(entry_id[1])


def _wrapped(number: int) -> int:
    """`number` as a signed 64-bit one."""
    return ((number + _SIGN) & UINT64_MAX) - _SIGN
