"""What an instance keeps in a place of `__slots__`: for kernels, which read and set it where it lies (`_slots.pxd`).

These are the same three functions for kernels that run as Python.
"""

from __future__ import annotations

from typing import Any

__all__ = ["held", "hold", "slot_of"]


def slot_of(owner: type, name: str) -> Any:
    """The slot of that name in instances of the class `owner`."""
    return getattr(owner, name)


def held(owner: object, slot: Any) -> Any:
    """What `owner`, an instance of the class whose slot it is, has there."""
    return slot.__get__(owner)


def hold(owner: object, slot: Any, value: object) -> None:
    """Put `value` there."""
    slot.__set__(owner, value)
