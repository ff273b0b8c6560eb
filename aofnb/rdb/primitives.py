"""Lengths and strings as a server writes them: the shortest form of each.

Redis: rdb.c rdbSaveLen, rdbSaveRawString (7.0.15).
"""

from __future__ import annotations

from struct import Struct

from aofnb.rdb.lzf import compress

__all__ = ["length", "string"]

_SHORT = [b"%c" % n for n in range(64)]
_MEDIUM, _LONG, _VERY_LONG = Struct(">H"), Struct(">BI"), Struct(">BQ")
# By the bytes of the number: first byte and form.
_INTEGERS = ((0xC0, 1), (0xC1, 2), (0xC2, 4))
_DIGITS = frozenset(b"%c" % byte for byte in b"-0123456789")
_INTEGER_MAX_BYTES = 11
# Shorter strings are not worth a try, and one must save four bytes.
_COMPRESS_FROM, _MUST_SAVE = 21, 4
# Nor longer ones: in Python a MiB takes a second. Any reader takes either form.
_COMPRESS_UP_TO = 256 << 10


def length(number: int) -> bytes:
    r"""A length, or any other number from 0 to 2**64-1.

    >>> length(5), length(300), length(70000)
    (b'\x05', b'A,', b'\x80\x00\x01\x11p')
    """
    if number < 64:
        return _SHORT[number]
    if number < 1 << 14:
        return _MEDIUM.pack(0x4000 | number)
    if number < 1 << 32:
        return _LONG.pack(0x80, number)
    return _VERY_LONG.pack(0x81, number)


def string(text: bytes, compressed: bool = True) -> bytes:
    r"""A string: as a number where it is the spelling of one, compressed where that helps and does not take long.

    >>> string(b"v"), string(b"-12"), string(b"a" * 21)
    (b'\x01v', b'\xc0\xf4', b'\xc3\x06\x15\x01aa\xe0\n\x00')
    """
    size = len(text)
    if size <= _INTEGER_MAX_BYTES and text[:1] in _DIGITS:
        number = _integer(text)
        if number is not None:
            return number
    elif compressed and _COMPRESS_FROM <= size <= _COMPRESS_UP_TO:
        packed = compress(text, size - _MUST_SAVE)
        if packed is not None:
            return b"\xc3%b%b%b" % (length(len(packed)), length(size), packed)
    return (_SHORT[size] if size < 64 else length(size)) + text


def _integer(text: bytes) -> bytes | None:
    """`text` as a number of 8, 16 or 32 bits, if it is the one spelling of such a number."""
    try:
        number = int(text)
    except ValueError:
        return None
    if b"%d" % number != text:
        return None
    for first, width in _INTEGERS:
        if -(1 << 8 * width - 1) <= number < 1 << 8 * width - 1:
            return b"%c%b" % (first, number.to_bytes(width, "little", signed=True))
    return None
