"""Whether two values are the same data: what a client could tell apart counts, how they are kept does not."""

from __future__ import annotations

from typing import Any

from aofnb.store.hash_value import HashValue
from aofnb.store.list_value import ListValue
from aofnb.store.set_value import SetValue
from aofnb.store.stream import Group, Stream, format_id
from aofnb.store.values import Value
from aofnb.store.zset import SortedSet

__all__ = ["beside", "same_data"]


def same_data(one: Value, other: Value) -> bool:
    """Whether the values are of one type and hold the same, what is `beside` their elements included."""
    if isinstance(one, bytes | bytearray) or isinstance(other, bytes | bytearray):
        return one == other
    if type(one) is not type(other) or len(one) != len(other):
        return False
    elements: Any = _ELEMENTS[type(one)]
    return bool(elements(one) == elements(other)) and beside(one) == beside(other)


def beside(value: Value | None) -> dict[str, Any]:
    """What a value holds beside its elements, by what it is: deadlines of fields in ms, groups of a stream.

    Counters, and times that replies show on the way, as when a consumer was last seen, are no data.
    """
    if isinstance(value, HashValue):
        return {f"deadline of {field.decode(errors='backslashreplace')}": ms for field, ms in _deadlines(value)}
    if isinstance(value, Stream):
        groups = {
            f"group {name.decode(errors='backslashreplace')}": _group(each) for name, each in value.groups.items()
        }
        return {"last id": format_id(value.last_id).decode(), **groups}
    return {}


def _deadlines(value: HashValue) -> Any:
    return (value.deadlines or {}).items()


def _group(group: Group) -> dict[str, Any]:
    pending = {format_id(entry_id).decode(): entry.consumer.name for entry_id, entry in group.pel.items()}
    return {"last id": format_id(group.last_id).decode(), "consumers": set(group.consumers), "pending": pending}


_ELEMENTS: dict[type, Any] = {
    HashValue: lambda value: value.fields,
    ListValue: list,
    SetValue: lambda value: value.members,
    SortedSet: lambda value: value.scores,
    Stream: lambda value: list(value.range()),
}
