"""What kernels find at a place of a snapshot: lengths, strings, numbers (`_strings.pxd`).

These are the same functions for kernels that run as Python; there the bytes are an object, and `size` is where to stop.
A place is `CUT` if it is behind that, and `ODD` for what is of a rare form, or damaged.

Redis: rdb.c rdbLoadLenByRef, rdbGenericLoadStringObject (7.0.15).
"""

from __future__ import annotations

from struct import Struct

__all__ = ["CUT", "ODD", "double_at", "length_at", "number_at", "string_end", "text_begin", "width_of"]

ODD, CUT = -1, -2
_DOUBLE = Struct("<d")


def length_at(p: bytes, at: int, size: int) -> int:
    """The length at p[at], in as few bytes as hold it, of which `width_of` tells the number."""
    if at >= size:
        return CUT
    first = p[at]
    if first < 0x40:
        return first
    if first > 0x80:
        return ODD
    if at + (1 if first < 0x80 else 4) >= size:
        return CUT
    if first < 0x80:
        number = (first & 63) << 8 | p[at + 1]
        return number if number >= 1 << 6 else ODD
    number = int.from_bytes(p[at + 1 : at + 5], "big")
    return number if number >= 1 << 14 else ODD


def width_of(number: int) -> int:
    """How many bytes a length takes."""
    return 1 if number < 1 << 6 else 2 if number < 1 << 14 else 5


def string_end(p: bytes, at: int, size: int) -> int:
    """Where the string ends that begins at p[at]."""
    if at >= size:
        return CUT
    first = p[at]
    if first <= 0x80:
        length = length_at(p, at, size)
        if length < 0:
            return length
        at += length + width_of(length)
    elif 0xC0 <= first <= 0xC2:
        at += 1 + (1 << (first - 0xC0))
    elif first == 0xC3:
        # Two lengths, of one or two bytes each.
        if at + 4 >= size:
            return CUT
        if p[at + 1] >= 0x80:
            return ODD
        packed = p[at + 1] if p[at + 1] < 0x40 else (p[at + 1] & 63) << 8 | p[at + 2]
        at += 2 if p[at + 1] < 0x40 else 3
        if p[at] >= 0x80:
            return ODD
        at += packed + (1 if p[at] < 0x40 else 2)
    else:
        return ODD
    return at if at <= size else CUT


def text_begin(p: bytes, at: int) -> int:
    """Where the bytes of the string begin whose length is at p[at]."""
    return at + (1 if p[at] < 0x40 else 2 if p[at] < 0x80 else 5)


def number_at(p: bytes, at: int, end: int) -> int:
    """The number that is a string of so many bytes behind p[at]."""
    return int.from_bytes(p[at + 1 : end], "little", signed=True)


def double_at(p: bytes, at: int) -> float:
    """The eight bytes at p[at] as a float."""
    number: float = _DOUBLE.unpack_from(p, at)[0]
    return number
