# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Kernel: an entry added to a stream, and how many bytes its listpack would take.

Redis: t_stream.c streamAppendItem; listpack.c lpEncodeGetType, lpEncodeBacklen (7.0.15).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

try:
    import cython
except ModuleNotFoundError:
    from aofnb import _cython as cython

if not cython.compiled:
    from aofnb.store._slots import held, hold, slot_of

if TYPE_CHECKING:
    from aofnb.store.stream import Node, Stream

COMPILED = cython.compiled

# What a listpack may hold whatever the settings say.
LISTPACK_MAX_BYTES = 1 << 30
_INT64_SPAN = 1 << 63
_UINT64_MAX = (1 << 64) - 1


# Where streams and nodes keep what they hold: see `know`.
_NODES = _LENGTH = _ENTRIES_ADDED = _STREAM_LAST_ID = 0
_IDS = _ENTRIES = _FIELDS = _MASTER_ID = _LAST_ID = _DELETED = _BODY_BYTES = 0


def know(stream_class: type[Stream], node_class: type[Node]) -> None:
    """Learn where instances of the two classes keep what they hold; called once they are there."""
    global _NODES, _LENGTH, _ENTRIES_ADDED, _STREAM_LAST_ID
    global _IDS, _ENTRIES, _FIELDS, _MASTER_ID, _LAST_ID, _DELETED, _BODY_BYTES
    _NODES = slot_of(stream_class, "nodes")
    _LENGTH = slot_of(stream_class, "length")
    _ENTRIES_ADDED = slot_of(stream_class, "entries_added")
    _STREAM_LAST_ID = slot_of(stream_class, "last_id")
    _IDS = slot_of(node_class, "ids")
    _ENTRIES = slot_of(node_class, "entries")
    _FIELDS = slot_of(node_class, "fields")
    _MASTER_ID = slot_of(node_class, "master_id")
    _LAST_ID = slot_of(node_class, "last_id")
    _DELETED = slot_of(node_class, "deleted")
    _BODY_BYTES = slot_of(node_class, "_body_bytes")


def append(
    stream: Stream,
    make_node: type[Node],
    entry_id: tuple[int, int],
    items: tuple[bytes, ...],
    node_max_bytes: cython.Py_ssize_t,
    node_max_entries: cython.Py_ssize_t,
) -> None:
    """Add an entry, whose id must be above `last_id`, in the last node or a new one; see `Stream.append`."""
    nodes: list[Any] = held(stream, _NODES)
    node: Any = None
    limit: cython.Py_ssize_t = LISTPACK_MAX_BYTES
    size: cython.Py_ssize_t = 0
    i: cython.Py_ssize_t
    count: cython.Py_ssize_t = len(items)
    deleted: cython.Py_ssize_t
    ids: list[Any]
    if 0 < node_max_bytes < limit:
        limit = node_max_bytes
    if nodes:
        node = nodes[len(nodes) - 1]
        ids = held(node, _IDS)
        deleted = held(node, _DELETED)
        size = held(node, _BODY_BYTES)
        size += integer_bytes(len(ids)) + integer_bytes(deleted)
        for i in range(count):
            size += len(items[i])
        if size >= limit or (node_max_entries and len(ids) + deleted >= node_max_entries):
            node = None
    if node is None:
        node = make_node(entry_id, items[::2])
        nodes.append(node)
    append_to(node, entry_id, items)
    hold(stream, _LENGTH, held(stream, _LENGTH) + 1)
    hold(stream, _ENTRIES_ADDED, held(stream, _ENTRIES_ADDED) + 1)
    hold(stream, _STREAM_LAST_ID, entry_id)


@cython.ccall
def append_to(node: Node, entry_id: tuple[int, int], items: tuple[bytes, ...]) -> None:
    """Add an entry to a node."""
    size: cython.Py_ssize_t
    i: cython.Py_ssize_t
    count: cython.Py_ssize_t = len(items)
    same: cython.bint
    fields: tuple[bytes, ...]
    first_id: tuple[int, int]
    ids: list[Any]
    entries: list[Any]
    first_id = held(node, _MASTER_ID)
    fields = held(node, _FIELDS)
    ids = held(node, _IDS)
    entries = held(node, _ENTRIES)
    # Flags, then the distance from the first id.
    size = 2 + integer_bytes(_distance(entry_id[0], first_id[0])) + integer_bytes(_distance(entry_id[1], first_id[1]))
    same = 2 * len(fields) == count
    if same:
        for i in range(len(fields)):
            if fields[i] != items[2 * i]:
                same = False
                break
    if same:
        size += integer_bytes(count // 2 + 3)
    else:
        size += integer_bytes(count // 2) + integer_bytes(count + 4)
    for i in range(0, count, 2):
        if not same:
            size += string_bytes(items[i])
        size += string_bytes(items[i + 1])
    size += held(node, _BODY_BYTES)
    hold(node, _BODY_BYTES, size)
    ids.append(entry_id)
    entries.append(items)
    hold(node, _LAST_ID, entry_id)


@cython.ccall
def integer_bytes(number: cython.longlong) -> cython.Py_ssize_t:
    """Bytes of an integer of 64 bits in a listpack, with its back length of one byte.

    >>> [integer_bytes(number) for number in (127, -1, 4095, 4096, 1 << 40)]
    [2, 3, 3, 4, 10]
    """
    if 0 <= number <= 127:
        return 2
    if -4096 <= number <= 4095:
        return 3
    if -32768 <= number <= 32767:
        return 4
    if -8388608 <= number <= 8388607:
        return 5
    if -2147483647 - 1 <= number <= 2147483647:
        return 6
    return 10


@cython.ccall
def string_bytes(text: bytes) -> cython.Py_ssize_t:
    """Bytes of a string in a listpack, which keeps what looks like a 64-bit integer as one.

    >>> [string_bytes(text) for text in (b"", b"7", b"07", b"-5000", b"x" * 64, b"x" * 4096)]
    [2, 2, 4, 4, 67, 4103]
    """
    p: cython.p_const_uchar = text
    size: cython.Py_ssize_t = len(text)
    i: cython.Py_ssize_t = 0
    number: cython.longlong = 0
    if 0 < size <= 20 and p[0] < 58:
        if p[0] == 45:
            i = 1
        # One spelling of each number: no zero in front, no minus zero.
        if i < size and (49 <= p[i] <= 57 or (p[i] == 48 and size == 1)):
            # Up to 18 digits fit for sure; with 19 it has to be seen.
            if size - i > 18:
                if _is_int64(text):
                    return 10
            else:
                while i < size and 48 <= p[i] <= 57:
                    number = number * 10 + (p[i] - 48)
                    i += 1
                if i == size:
                    return integer_bytes(-number if p[0] == 45 else number)
    if size < 64:
        return size + 2
    size += 2 if size < 4096 else 5
    if size <= 127:
        return size + 1
    if size <= 16382:
        return size + 2
    if size <= 2097150:
        return size + 3
    return size + 4 if size <= 268435454 else size + 5


@cython.cfunc
def _is_int64(text: bytes) -> cython.bint:
    """Whether `text`, which begins like a number and has 19 digits or more, is the one spelling of one of 64 bits."""
    if not text[1:].isdigit():
        return False
    number = int(text)
    return -_INT64_SPAN <= number < _INT64_SPAN


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _distance(number: cython.ulonglong, first: cython.ulonglong) -> cython.longlong:
    """How far `number` is from `first`; it wraps around at 64 bits."""
    if cython.compiled:
        return cython.cast(cython.longlong, number - first)
    return ((number - first + _INT64_SPAN) & _UINT64_MAX) - _INT64_SPAN
