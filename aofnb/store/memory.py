"""How much memory a key takes: an estimate, made from a few of its elements.

CPython does not say what belongs to which object, so: what the table of keys takes for a key, and for a short string
with it; what `sys.getsizeof` says of a long one and of a sample of elements, the latter times how many there are; and
`SLOT_BYTES` for each place in a dict. What the interpreter, this package and the log's buffers take is not in it.

Redis: object.c objectComputeSize (7.0.15), whose numbers are those of its own structures.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from sys import getsizeof
from typing import Any

from aofnb.store._table_cy import KEPT_BYTES, entry_bytes
from aofnb.store.values import Value

__all__ = ["SAMPLES", "key_bytes", "value_bytes"]

# A place in a dict: hash, key, value, and its share of the index and of what is kept free.
SLOT_BYTES = 56
# How many elements are looked at, unless told otherwise; as MEMORY USAGE.
SAMPLES = 5
_FLOAT_BYTES = getsizeof(0.5)
# A container and the dict, or the list, in it.
_CONTAINER_BYTES = 200
# A container whose elements are one string of bytes, and the header of that.
_PACKED_BYTES = 48 + getsizeof(b"")
# An element that is kept in order besides: the pair, and its place in a list.
_ORDERED_BYTES = 72
# An entry of a stream: its id, and the tuple of its fields.
_ENTRY_BYTES = 200


def key_bytes(key: bytes, value: Value, volatile: bool, samples: int = SAMPLES) -> int:
    """Bytes that `key` takes with `value`, and with its deadline if it is `volatile`."""
    # A deadline is the value of the key in a table of its own.
    taken = entry_bytes(key, value) + (entry_bytes(key, 0) if volatile else 0)
    if type(value) is bytes and len(value) <= KEPT_BYTES:
        return taken
    return taken + value_bytes(value, samples)


def value_bytes(value: Value, samples: int = SAMPLES) -> int:
    """Bytes that `value` takes, from up to `samples` of its elements; 0 looks at all."""
    if isinstance(value, bytes | bytearray):
        return getsizeof(value)
    packed: int | None = getattr(value, "packed_bytes", None)
    if packed is not None:
        return _PACKED_BYTES + packed
    count = len(value)
    sizes = [_element(value, element) for element in islice(_elements(value), samples or None)]
    return _CONTAINER_BYTES + (sum(sizes) * count // len(sizes) if sizes else 0)


def _elements(value: Any) -> Iterable[Any]:
    kind = value.type_name
    found: Iterable[Any] = value
    if kind == "hash":
        found = value.items()
    elif kind == "zset":
        found = value.scores
    elif kind == "stream":
        found = value.range()
    return found


def _element(value: Any, element: Any) -> int:
    kind = value.type_name
    if kind == "hash":
        return getsizeof(element[0]) + getsizeof(element[1]) + SLOT_BYTES
    if kind == "zset":
        return getsizeof(element) + SLOT_BYTES + _FLOAT_BYTES + _ORDERED_BYTES
    if kind == "stream":
        return _ENTRY_BYTES + sum(map(getsizeof, element[1]))
    return getsizeof(element) + (SLOT_BYTES if kind == "set" else 8)
