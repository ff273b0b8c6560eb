"""What an instance keeps in a place of `__slots__`: for kernels, which read and set it where it lies (`_slots.pxd`).

These are the same three functions for kernels that run as Python.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["held", "hold", "slot_of"]


def slot_of(owner: type, name: str) -> Any:
    """The slot of that name in instances of the class `owner`."""
    return name


# What `owner`, an instance of the class whose slot it is, has there; and to put something there.
held: Callable[[object, Any], Any] = getattr
hold: Callable[[object, Any, object], None] = setattr
