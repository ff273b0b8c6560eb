"""The entries of a table under keys that are no objects: for kernels, which give the key's hash along (`_entries.pxd`).

These are the same functions for kernels that run as Python, where the table is asked as any dict.
"""

from __future__ import annotations

from typing import Any

from aofnb.resp._text import Text

__all__ = ["find", "is_there", "key_hash", "put", "put_text", "remove"]


def key_hash(key: Text) -> int:
    """The hash by which a table knows `key`; none, where it makes that itself."""
    return 0


def find(table: Any, key: Text, hashed: int) -> Any:
    """The value of `key`, or None."""
    return table.get(key)


def is_there(table: Any, key: Text, hashed: int) -> bool:
    """Whether `key` has a value."""
    return key in table


def put(table: Any, key: Text, hashed: int, value: object) -> None:
    """Let `key` have this value."""
    table[key] = value


put_text = put


def remove(table: Any, key: Text, hashed: int) -> bool:
    """Remove `key`; whether it was there."""
    return table.pop(key, None) is not None
