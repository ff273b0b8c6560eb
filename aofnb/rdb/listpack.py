"""Listpacks and intsets: small containers as one string, both ways.

Rules of this file: decoding checks every header against the end before it touches what the header announces;
whole numbers come out as `int`, everything else as `bytes`; errors say what is wrong, the caller adds where.

Redis: listpack.c, intset.c (7.0.15).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from struct import Struct
from typing import Any

from aofnb.errors import RdbError
from aofnb.rdb._listpack_cy import SMALL, TEXTS, elements

__all__ = [
    "Item",
    "decode_intset",
    "decode_listpack",
    "decode_texts",
    "encode_integer",
    "encode_intset",
    "encode_item",
    "encode_listpack",
    "frame",
    "texts",
    "whole_number",
]

Item = bytes | int

_HEADER = Struct("<IH")
_END = 0xFF
# Count of elements that says nothing: there are this many or more.
_UNCOUNTED = 65535
# Bytes of the integers that have a first byte of their own.
_WIDTHS = {0xF1: 2, 0xF2: 3, 0xF3: 4, 0xF4: 8}
# The highest of all bytes that begin an element.
_LAST_FIRST = 0xF4
# Largest entry of which the length, read backwards, takes 1, 2, 3, 4 bytes.
_BACKLEN_LIMITS = (127, 16382, 2097150, 268435454)
_WHOLE_NUMBER = re.compile(rb"0|-?[1-9][0-9]{0,18}")
_INT64_MIN, _INT64_MAX = -(1 << 63), (1 << 63) - 1


def whole_number(text: bytes) -> int | None:
    """The number of which `text` is the one decimal spelling, if it fits 64 bits.

    >>> whole_number(b"-12"), whole_number(b"012"), whole_number(b"9223372036854775808")
    (-12, None, None)
    """
    if _WHOLE_NUMBER.fullmatch(text) is None:
        return None
    number = int(text)
    return number if _INT64_MIN <= number <= _INT64_MAX else None


def texts(items: Iterable[Item]) -> list[bytes]:
    """Numbers as their decimal text, the rest as it is."""
    return [
        item if isinstance(item, bytes) else TEXTS[item] if -SMALL <= item < SMALL else b"%d" % item for item in items
    ]


# --- listpack ------------------------------------------------------------------------------------------------


def decode_listpack(blob: bytes) -> list[Item]:
    """The elements of a listpack.

    Raises
    ------
    RdbError
        If it is not exactly what a server would write, but for integers that could have been shorter.
    """
    items: list[Item] = []
    _decode(blob, items, as_text=False)
    return items


def decode_texts(blob: bytes) -> list[bytes]:
    """The elements of a listpack, numbers as their decimal text; raises as `decode_listpack` does."""
    items: list[bytes] = []
    _decode(blob, items, as_text=True)
    return items


def _decode(blob: bytes, items: list[Any], *, as_text: bool) -> None:
    end = len(blob) - 1
    if end < 6:
        raise RdbError(f"a listpack of {end + 1} bytes")
    total, count = _HEADER.unpack_from(blob)
    if total != end + 1:
        raise RdbError(f"a listpack of {end + 1} bytes says that it has {total}")
    if blob[end] != _END:
        raise RdbError("a listpack without its end mark")
    stop = elements(blob, _HEADER.size, as_text, items)
    if stop < end:
        if blob[stop] > _LAST_FIRST:
            raise RdbError(f"byte 0x{blob[stop]:02x} begins no element of a listpack")
        raise RdbError("an element of a listpack is longer than it may be, or its length backwards is wrong")
    if count not in (_UNCOUNTED, len(items)):
        raise RdbError(f"a listpack of {len(items)} elements says that it has {count}")


def encode_listpack(items: Iterable[bytes]) -> bytes:
    """`items` as a listpack; what looks like a whole number becomes one."""
    return frame([encode_item(item) for item in items])


def frame(elements: Sequence[bytes]) -> bytes:
    """Encoded elements, made into a listpack."""
    body = b"".join(elements)
    return b"%b%b\xff" % (_HEADER.pack(len(body) + 7, min(len(elements), _UNCOUNTED)), body)


def encode_item(item: bytes) -> bytes:
    """One element, as a number if it looks like one."""
    size = len(item)
    if size <= 20 and item[:1] in _NUMBER_STARTS:
        number = whole_number(item)
        if number is not None:
            return encode_integer(number)
    if size < 64:
        return b"%c%b%c" % (0x80 | size, item, size + 1)
    if size < 4096:
        return b"%c%c%b%b" % (0xE0 | size >> 8, size & 0xFF, item, _backlen(size + 2))
    return b"\xf0%b%b%b" % (size.to_bytes(4, "little"), item, _backlen(size + 5))


_NUMBER_STARTS = frozenset(b"%c" % byte for byte in b"-0123456789")


def encode_integer(number: int) -> bytes:
    """A signed 64-bit number in the smallest form."""
    if 0 <= number <= 127:
        return b"%c\x01" % number
    if -4096 <= number <= 4095:
        number &= 0x1FFF
        return b"%c%c\x02" % (0xC0 | number >> 8, number & 0xFF)
    for first, width in _WIDTHS.items():
        if -(1 << 8 * width - 1) <= number < 1 << 8 * width - 1:
            return b"%c%b%c" % (first, number.to_bytes(width, "little", signed=True), width + 1)
    raise ValueError(f"{number} does not fit 64 bits")


def _backlen(size: int) -> bytes:
    """`size` in groups of 7 bits, the highest first; all but the first have their top bit set."""
    if size < 128:
        return b"%c" % size
    groups = next((n for n, limit in enumerate(_BACKLEN_LIMITS, 1) if size <= limit), 5)
    return bytes([size >> 7 * at & 0x7F | (0x80 if at < groups - 1 else 0) for at in range(groups - 1, -1, -1)])


# --- intset --------------------------------------------------------------------------------------------------

_INTSET_HEADER = Struct("<II")
_FORMATS = {2: "h", 4: "i", 8: "q"}


def decode_intset(blob: bytes) -> Sequence[int]:
    """The numbers of an intset, ascending.

    Raises
    ------
    RdbError
        If it has none, or they do not ascend, or its size is wrong.
    """
    if len(blob) < 8:
        raise RdbError(f"an intset of {len(blob)} bytes")
    width, count = _INTSET_HEADER.unpack_from(blob)
    if width not in _FORMATS:
        raise RdbError(f"an intset of numbers of {width} bytes")
    if len(blob) != 8 + width * count:
        raise RdbError(f"an intset of {len(blob)} bytes says that it has {count} numbers of {width}")
    if count == 0:
        raise RdbError("an intset without numbers")
    numbers: tuple[int, ...] = Struct(f"<{count}{_FORMATS[width]}").unpack_from(blob, 8)
    if any(map(int.__ge__, numbers, numbers[1:])):
        raise RdbError("the numbers of an intset do not ascend")
    return numbers


def encode_intset(numbers: Sequence[int]) -> bytes:
    """Ascending `numbers` as an intset of the smallest width that holds them all."""
    width = next(w for w in (2, 4, 8) if -(1 << 8 * w - 1) <= numbers[0] and numbers[-1] < 1 << 8 * w - 1)
    return _INTSET_HEADER.pack(width, len(numbers)) + Struct(f"<{len(numbers)}{_FORMATS[width]}").pack(*numbers)
