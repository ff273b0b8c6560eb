"""A piece of text that stands in someone else's memory: for kernels, which make no object of it (`_text.pxd`).

These are the same three functions for kernels that run as Python, where the text is an object of bytes.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Text", "bytes_of", "size_of", "text_of"]

# In C it is no object.
Text = Any
size_of = len
# As an object, which it is here.
bytes_of = bytes


def text_of(found: bytes) -> Text:
    """`found` as a text."""
    return found
