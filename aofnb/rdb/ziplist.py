"""Ziplists and zipmaps: small containers of servers before 7.0. They are read, never written.

Redis: ziplist.c ziplistValidateIntegrity, zipmap.c zipmapValidateIntegrity (7.0.15).
"""

from __future__ import annotations

from struct import Struct

from aofnb.errors import RdbError
from aofnb.rdb.listpack import Item

__all__ = ["decode_ziplist", "decode_zipmap"]

_HEADER = Struct("<IIH")
_END = 0xFF
_LONG = 0xFE
_UNCOUNTED = 65535
_WIDTHS = {0xC0: 2, 0xD0: 4, 0xE0: 8, 0xF0: 3, 0xFE: 1}


def decode_ziplist(blob: bytes) -> list[Item]:
    """The entries of a ziplist, whole numbers as `int`.

    Raises
    ------
    RdbError
        If anything in it disagrees with anything else.
    """
    end = len(blob) - 1
    if end < 10:
        raise RdbError(f"a ziplist of {end + 1} bytes")
    total, tail, count = _HEADER.unpack_from(blob)
    if total != end + 1:
        raise RdbError(f"a ziplist of {end + 1} bytes says that it has {total}")
    if blob[end] != _END:
        raise RdbError("a ziplist without its end mark")
    items: list[Item] = []
    pos = last = 10
    before = 0
    while pos < end:
        last = pos
        if blob[pos] < _LONG:
            previous, at = blob[pos], pos + 1
        elif blob[pos] == _END:
            raise RdbError("a ziplist ends before its end")
        else:
            previous, at = int.from_bytes(blob[pos + 1 : pos + 5], "little"), pos + 5
        if previous != before:
            raise RdbError("an entry of a ziplist is wrong about the size of the one before it")
        item, pos = _entry(blob, at, end)
        items.append(item)
        before = pos - last
    if tail != last:
        raise RdbError(f"the last entry of a ziplist is at {last}, not at {tail}")
    if count not in (_UNCOUNTED, len(items)):
        raise RdbError(f"a ziplist of {len(items)} entries says that it has {count}")
    return items


def _entry(blob: bytes, at: int, end: int) -> tuple[Item, int]:
    """The value whose encoding is at `at`, and where it ends."""
    first = blob[at] if at < end else _END
    if first < 0xC0:
        if first < 0x40:
            start, size = at + 1, first
        elif first < 0x80:
            start, size = at + 2, (first & 63) << 8 | blob[at + 1]
        else:
            start, size = at + 5, int.from_bytes(blob[at + 1 : at + 5], "big")
        if size > end - start:
            raise RdbError("an entry of a ziplist goes past its end")
        return blob[start : start + size], start + size
    if 0xF1 <= first <= 0xFD:
        return (first & 15) - 1, at + 1
    width = _WIDTHS.get(first)
    if width is None or width > end - at - 1:
        raise RdbError(f"byte 0x{first:02x} begins no entry of a ziplist, or one past its end")
    return int.from_bytes(blob[at + 1 : at + 1 + width], "little", signed=True), at + 1 + width


def decode_zipmap(blob: bytes) -> list[bytes]:
    """The fields and values, in turn, of a zipmap.

    Raises
    ------
    RdbError
        If it is damaged.
    """
    end = len(blob) - 1
    if end < 1:
        raise RdbError(f"a zipmap of {end + 1} bytes")
    if blob[end] != _END:
        raise RdbError("a zipmap without its end mark")
    items: list[bytes] = []
    pos = 1
    while pos < end:
        field, pos = _sized(blob, pos, end, 0)
        value, pos = _sized(blob, pos, end, 1)
        items += field, value
    if blob[0] < _LONG and blob[0] != len(items) // 2:
        raise RdbError(f"a zipmap of {len(items) // 2} fields says that it has {blob[0]}")
    return items


def _sized(blob: bytes, at: int, end: int, extra: int) -> tuple[bytes, int]:
    """A string behind its length and, with `extra`, behind a count of unused bytes; and where all of it ends."""
    first = blob[at]
    if first < _LONG:
        size, start = first, at + 1
    elif first == _LONG:
        size, start = int.from_bytes(blob[at + 1 : at + 5], "little"), at + 5
    else:
        raise RdbError("a zipmap ends before its end")
    unused = blob[start] if extra and start < end else 0
    start += extra
    if size + unused > end - start:
        raise RdbError("a string of a zipmap goes past its end")
    return blob[start : start + size], start + size + unused
