"""Streams: entries in order of their ids, and consumer groups that remember who was given what.

Entries live in nodes, which are cut where redis-server would cut its listpacks, because approximate trimming
(``MAXLEN ~``) removes whole nodes and nothing else: what is left, and so what is logged, depends on the cuts.
For that a node counts the bytes its listpack would have. Deleted entries leave their bytes behind until the
node goes, as they do there.

Rules of this file: ids only grow; `Stream.length` counts live entries; a pending entry is one object, held by
its group and by its consumer under the same id; an empty stream is a value like any other and stays.

Redis: t_stream.c streamAppendItem, streamTrim, streamEstimateDistanceFromFirstEverEntry; listpack.c (7.0.15).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter

from aofnb.store._stream_cy import append, append_to, integer_bytes, know, string_bytes

__all__ = [
    "ENTRIES_READ_UNKNOWN",
    "MAX_ID",
    "MIN_ID",
    "Consumer",
    "Group",
    "Node",
    "Pending",
    "PendingList",
    "Stream",
    "StreamId",
    "format_id",
    "radix_tree_nodes",
]

# Milliseconds and sequence number; tuples compare as ids do.
StreamId = tuple[int, int]
# Field, value, field, value, ...
Items = tuple[bytes, ...]

UINT64_MAX = (1 << 64) - 1
MIN_ID: StreamId = (0, 0)
MAX_ID: StreamId = (UINT64_MAX, UINT64_MAX)
ENTRIES_READ_UNKNOWN = -1
_LISTPACK_FRAME_BYTES = 7
_INT64_SPAN = 1 << 63


def format_id(entry_id: StreamId) -> bytes:
    """An id as it is shown and logged.

    >>> format_id((1526919030474, 55))
    b'1526919030474-55'
    """
    return b"%d-%d" % entry_id


class Node:
    """Neighbouring entries that live and are trimmed together.

    ``ids`` and ``entries`` hold the live ones in order; ``deleted`` counts the others; ``last_id`` is that of
    the newest, deleted or not; ``fields`` are the field names that later entries may share with the first.
    """

    __slots__ = ("_body_bytes", "deleted", "entries", "fields", "ids", "last_id", "master_id")

    def __init__(self, master_id: StreamId, fields: Items) -> None:
        self.master_id = master_id
        self.fields = fields
        self.ids: list[StreamId] = []
        self.entries: list[Items] = []
        self.deleted = 0
        self.last_id = master_id
        # All but the two counters at the head, whose width changes.
        self._body_bytes = (
            _LISTPACK_FRAME_BYTES + integer_bytes(len(fields)) + sum(map(string_bytes, fields)) + integer_bytes(0)
        )

    @property
    def listpack_bytes(self) -> int:
        """How large the listpack of the real server would be."""
        size: int = self._body_bytes + integer_bytes(len(self.ids)) + integer_bytes(self.deleted)
        return size

    def append(self, entry_id: StreamId, items: Items) -> None:
        append_to(self, entry_id, items)

    def remove(self, index: int) -> None:
        del self.ids[index], self.entries[index]
        self.deleted += 1

    def remove_first(self, count: int) -> None:
        del self.ids[:count], self.entries[:count]
        self.deleted += count

    def copy(self) -> Node:
        twin = Node(self.master_id, ())
        twin.fields = self.fields
        twin.ids = self.ids.copy()
        twin.entries = self.entries.copy()
        twin.deleted = self.deleted
        twin.last_id = self.last_id
        twin._body_bytes = self._body_bytes
        return twin


_master_id = attrgetter("master_id")


class Pending:
    """One entry that was delivered and not acknowledged: to whom, when last, how often."""

    __slots__ = ("consumer", "delivered_ms", "deliveries")

    def __init__(self, consumer: Consumer, delivered_ms: int, deliveries: int = 1) -> None:
        self.consumer = consumer
        self.delivered_ms = delivered_ms
        self.deliveries = deliveries


class PendingList:
    """Pending entries by id, in order of the ids."""

    __slots__ = ("_by_id", "_ids")

    def __init__(self) -> None:
        self._by_id: dict[StreamId, Pending] = {}
        self._ids: list[StreamId] = []

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, entry_id: StreamId) -> bool:
        return entry_id in self._by_id

    def get(self, entry_id: StreamId) -> Pending | None:
        return self._by_id.get(entry_id)

    def set(self, entry_id: StreamId, pending: Pending) -> None:
        if entry_id not in self._by_id:
            if self._ids and entry_id < self._ids[-1]:
                insort(self._ids, entry_id)
            else:
                self._ids.append(entry_id)
        self._by_id[entry_id] = pending

    def pop(self, entry_id: StreamId) -> Pending | None:
        pending = self._by_id.pop(entry_id, None)
        if pending is not None:
            del self._ids[bisect_left(self._ids, entry_id)]
        return pending

    def ids(self, start: StreamId = MIN_ID, end: StreamId = MAX_ID, limit: int | None = None) -> list[StreamId]:
        """The ids from `start` to `end`, both included, at most `limit` of them; a copy."""
        first = bisect_left(self._ids, start)
        last = bisect_right(self._ids, end)
        return self._ids[first : last if limit is None else min(last, first + limit)]

    def items(self, start: StreamId = MIN_ID, end: StreamId = MAX_ID) -> Iterator[tuple[StreamId, Pending]]:
        """Id and entry from `start` to `end`, both included; the list may change meanwhile."""
        return ((entry_id, self._by_id[entry_id]) for entry_id in self.ids(start, end) if entry_id in self._by_id)


class Consumer:
    """A reader of a group: its name, when it last asked for something, what it has not acknowledged."""

    __slots__ = ("name", "pel", "seen_ms")

    def __init__(self, name: bytes, seen_ms: int) -> None:
        self.name = name
        self.seen_ms = seen_ms
        self.pel = PendingList()


class Group:
    """A consumer group: how far it has read, its consumers, and what they have not acknowledged.

    ``entries_read`` is the number of entries ever added up to ``last_id``, or ENTRIES_READ_UNKNOWN.
    """

    __slots__ = ("consumers", "entries_read", "last_id", "pel")

    def __init__(self, last_id: StreamId, entries_read: int = ENTRIES_READ_UNKNOWN) -> None:
        self.last_id = last_id
        self.entries_read = entries_read
        self.pel = PendingList()
        self.consumers: dict[bytes, Consumer] = {}

    def sorted_consumers(self) -> list[Consumer]:
        """The consumers in the order in which the server lists them: by name."""
        return [self.consumers[name] for name in sorted(self.consumers)]

    def create_consumer(self, name: bytes, seen_ms: int) -> Consumer | None:
        """A new consumer, or None where `name` is taken."""
        if name in self.consumers:
            return None
        consumer = self.consumers[name] = Consumer(name, seen_ms)
        return consumer

    def delete_consumer(self, name: bytes) -> int | None:
        """Remove a consumer with its pending entries; how many those were, None where there is no consumer."""
        consumer = self.consumers.pop(name, None)
        if consumer is None:
            return None
        for entry_id in consumer.pel.ids():
            self.pel.pop(entry_id)
        return len(consumer.pel)

    def assign(self, entry_id: StreamId, consumer: Consumer, delivered_ms: int, deliveries: int) -> Pending:
        """Make `entry_id` pending for `consumer`, whoever had it before."""
        pending = self.pel.get(entry_id)
        if pending is None:
            pending = Pending(consumer, delivered_ms, deliveries)
            self.pel.set(entry_id, pending)
        elif pending.consumer is not consumer:
            pending.consumer.pel.pop(entry_id)
            pending.consumer = consumer
        consumer.pel.set(entry_id, pending)
        pending.delivered_ms = delivered_ms
        pending.deliveries = deliveries
        return pending

    def forget(self, entry_id: StreamId) -> bool:
        """Drop a pending entry, as XACK does; False where there is none."""
        pending = self.pel.pop(entry_id)
        if pending is None:
            return False
        pending.consumer.pel.pop(entry_id)
        return True

    def copy(self) -> Group:
        twin = Group(self.last_id, self.entries_read)
        for name, consumer in self.consumers.items():
            twin.consumers[name] = Consumer(name, consumer.seen_ms)
        for entry_id, pending in self.pel.items():
            owner = twin.consumers[pending.consumer.name]
            twin.assign(entry_id, owner, pending.delivered_ms, pending.deliveries)
        return twin


class Stream:
    """The value of a stream key.

    ``last_id`` is the newest id ever given, ``max_deleted_id`` the highest that XDEL removed, ``entries_added``
    counts all that were ever added; ``groups`` are the consumer groups by name.
    """

    type_name = "stream"
    __slots__ = ("entries_added", "groups", "last_id", "length", "max_deleted_id", "nodes")

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.length = 0
        self.last_id = MIN_ID
        self.max_deleted_id = MIN_ID
        self.entries_added = 0
        self.groups: dict[bytes, Group] = {}

    @property
    def encoding(self) -> str:
        return "stream"

    def __len__(self) -> int:
        return self.length

    def copy(self) -> Stream:
        twin = Stream()
        twin.nodes = [node.copy() for node in self.nodes]
        twin.length = self.length
        twin.last_id = self.last_id
        twin.max_deleted_id = self.max_deleted_id
        twin.entries_added = self.entries_added
        twin.groups = {name: group.copy() for name, group in self.groups.items()}
        return twin

    # --- look up -----------------------------------------------------------------------------------------

    @property
    def first_id(self) -> StreamId:
        """Id of the oldest live entry, 0-0 where there is none."""
        # A node can be left without a live entry by an exact MINID trim, so the first is not always it.
        return next((node.ids[0] for node in self.nodes if node.ids), MIN_ID)

    @property
    def top_id(self) -> StreamId:
        """Id of the newest live entry, 0-0 where there is none; `last_id` may be higher."""
        return next((node.ids[-1] for node in reversed(self.nodes) if node.ids), MIN_ID)

    @property
    def first_slot_id(self) -> StreamId:
        """Id of the oldest entry that still takes room, deleted or not; the highest id where there is none."""
        return self.nodes[0].master_id if self.nodes else MAX_ID

    def get(self, entry_id: StreamId) -> Items | None:
        """Fields and values of one live entry, or None."""
        place = self._find(entry_id)
        return None if place is None else self.nodes[place[0]].entries[place[1]]

    def __contains__(self, entry_id: StreamId) -> bool:
        return self._find(entry_id) is not None

    def range(self, start: StreamId = MIN_ID, end: StreamId = MAX_ID) -> Iterator[tuple[StreamId, Items]]:
        """Live entries from `start` to `end`, both included, oldest first."""
        first_node = max(0, bisect_right(self.nodes, start, key=_master_id) - 1)
        for at in range(first_node, len(self.nodes)):
            node = self.nodes[at]
            if node.master_id > end:
                return
            first, last = bisect_left(node.ids, start), bisect_right(node.ids, end)
            yield from zip(node.ids[first:last], node.entries[first:last], strict=True)

    def reverse_range(self, start: StreamId = MIN_ID, end: StreamId = MAX_ID) -> Iterator[tuple[StreamId, Items]]:
        """Live entries from `end` down to `start`, both included, newest first."""
        for at in range(bisect_right(self.nodes, end, key=_master_id) - 1, -1, -1):
            node = self.nodes[at]
            if node.last_id < start:
                return
            first, last = bisect_left(node.ids, start), bisect_right(node.ids, end)
            yield from zip(reversed(node.ids[first:last]), reversed(node.entries[first:last]), strict=True)

    def _find(self, entry_id: StreamId) -> tuple[int, int] | None:
        """Index of the node and index in the node of a live entry."""
        at = bisect_right(self.nodes, entry_id, key=_master_id) - 1
        if at < 0:
            return None
        ids = self.nodes[at].ids
        index = bisect_left(ids, entry_id)
        return (at, index) if index < len(ids) and ids[index] == entry_id else None

    # --- change ------------------------------------------------------------------------------------------

    def append(self, entry_id: StreamId, items: Iterable[bytes], node_max_bytes: int, node_max_entries: int) -> None:
        """Add an entry, whose id must be above `last_id`, in the last node or a new one.

        The limits are those of the settings ``stream-node-max-bytes`` and ``stream-node-max-entries``; 0 is none.
        """
        assert entry_id > self.last_id
        append(self, Node, entry_id, tuple(items), node_max_bytes, node_max_entries)

    def delete(self, entry_id: StreamId) -> bool:
        """Remove one entry, as XDEL does; False where there is none."""
        place = self._find(entry_id)
        if place is None:
            return False
        at, index = place
        node = self.nodes[at]
        node.remove(index)
        if not node.ids:
            del self.nodes[at]
        self.length -= 1
        self.max_deleted_id = max(self.max_deleted_id, entry_id)
        return True

    def trim_to_length(self, maxlen: int, *, approximate: bool = False, limit: int = 0) -> int:
        """Remove the oldest entries beyond `maxlen`; returns how many.

        `approximate` removes whole nodes only, so as many or fewer; a `limit` other than 0 bounds the work.
        """
        whole = removed = 0
        for node in self.nodes:
            live, length = len(node.ids), self.length - removed
            if length <= maxlen or (limit and removed + live > limit):
                break
            if length - live >= maxlen:
                whole += 1
                removed += live
                continue
            if not approximate:
                node.remove_first(length - maxlen)
                removed += length - maxlen
            break
        del self.nodes[:whole]
        self.length -= removed
        return removed

    def trim_below(self, min_id: StreamId, *, approximate: bool = False, limit: int = 0) -> int:
        """Remove the entries with ids below `min_id`; returns how many. See `trim_to_length`."""
        whole = removed = 0
        for node in self.nodes:
            live = len(node.ids)
            if limit and removed + live > limit:
                break
            if node.last_id < min_id:
                whole += 1
                removed += live
                continue
            if not approximate:
                surplus = bisect_left(node.ids, min_id)
                node.remove_first(surplus)
                removed += surplus
            break
        del self.nodes[:whole]
        self.length -= removed
        return removed

    # --- how far a group has read ------------------------------------------------------------------------

    def has_tombstone_from(self, start: StreamId) -> bool:
        """Whether XDEL may have removed an entry at or after `start` while older ones live."""
        if not self.length or self.max_deleted_id == MIN_ID or self.first_id > self.max_deleted_id:
            return False
        return start <= self.max_deleted_id

    def entries_up_to(self, entry_id: StreamId) -> int:
        """How many entries were ever added up to `entry_id`, or ENTRIES_READ_UNKNOWN where it cannot be told."""
        if not self.entries_added:
            return 0
        if not self.length and entry_id <= self.last_id:
            return self.entries_added
        if entry_id == self.last_id:
            return self.entries_added
        if entry_id > self.last_id:
            return ENTRIES_READ_UNKNOWN
        first_id = self.first_id
        if self.max_deleted_id == MIN_ID or self.max_deleted_id < first_id:
            if entry_id < first_id:
                return self.entries_added - self.length
            if entry_id == first_id:
                return self.entries_added - self.length + 1
        return ENTRIES_READ_UNKNOWN

    def lag(self, group: Group) -> int | None:
        """How many entries `group` has not read yet, or None where it cannot be told."""
        if not self.entries_added:
            return 0
        read = group.entries_read
        if read == ENTRIES_READ_UNKNOWN or self.has_tombstone_from(group.last_id):
            read = self.entries_up_to(group.last_id)
        return None if read == ENTRIES_READ_UNKNOWN else self.entries_added - read

    def advance(self, group: Group, entry_id: StreamId) -> bool:
        """Note that `group` was given `entry_id`; True if that is further than it was."""
        if entry_id <= group.last_id:
            return False
        if group.entries_read != ENTRIES_READ_UNKNOWN and not self.has_tombstone_from(entry_id):
            group.entries_read += 1
        elif self.entries_added:
            group.entries_read = self.entries_up_to(entry_id)
        group.last_id = entry_id
        return True

    def _check(self) -> None:
        """Assert that the parts agree; for tests."""
        ids = [entry_id for node in self.nodes for entry_id in node.ids]
        assert ids == sorted(set(ids))
        assert len(ids) == self.length
        assert not ids or ids[-1] <= self.last_id
        for node in self.nodes:
            assert len(node.ids) == len(node.entries)
            assert not node.ids or node.master_id <= node.ids[0] <= node.ids[-1] <= node.last_id
        for group in self.groups.values():
            held = {i: p for consumer in group.consumers.values() for i, p in consumer.pel.items()}
            assert held == dict(group.pel.items())
            for name, consumer in group.consumers.items():
                assert consumer.name == name
                assert all(pending.consumer is consumer for _, pending in consumer.pel.items())


# --- sizes the server would have -----------------------------------------------------------------------------


know(Stream, Node)


def radix_tree_nodes(ids: Sequence[StreamId]) -> int:
    """Nodes of the radix tree that holds `ids`, in order, as 16-byte keys: what XINFO STREAM shows.

    A chain of bytes without a branch is one node, a branch is one, a key's end is one.
    """
    keys = [ms.to_bytes(8, "big") + seq.to_bytes(8, "big") for ms, seq in ids]
    if not keys:
        return 1
    nodes = 0
    parts = [(0, len(keys), 0)]
    while parts:
        first, last, depth = parts.pop()
        low, high = keys[first], keys[last - 1]
        common = depth
        while common < 16 and low[common] == high[common]:
            common += 1
        nodes += 1 + (common > depth)
        while common < 16 and first < last:
            branch = first + 1
            while branch < last and keys[branch][common] == keys[first][common]:
                branch += 1
            parts.append((first, branch, common + 1))
            first = branch
    return nodes
