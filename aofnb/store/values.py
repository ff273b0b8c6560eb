"""The kinds of value: what a key can hold, and its name for TYPE.

A string is `bytes`, or a `bytearray` once a command edited it in place (what OBJECT ENCODING calls ``raw``).
Containers are classes of this package; each knows its ``type_name`` and its ``encoding``.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["Container", "Value", "type_name"]


class Container(Protocol):
    """Any value that is not a string."""

    type_name: str

    @property
    def encoding(self) -> str: ...

    def __len__(self) -> int: ...

    def copy(self) -> Container:
        """An independent copy, for COPY."""
        ...


Value = bytes | bytearray | Container


def type_name(value: Value) -> str:
    """What TYPE says: ``string``, ``list``, ``hash``, ``set``, ``zset``, ``stream``."""
    return "string" if isinstance(value, bytes | bytearray) else value.type_name
