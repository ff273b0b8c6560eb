"""The checksum of snapshots and DUMP payloads: CRC-64, "Jones" polynomial, reflected, from 0, nothing xored out.

Redis: crc64.c (7.0.15).
"""

from __future__ import annotations

import functools
from array import array
from struct import Struct

__all__ = ["crc64"]

_POLYNOMIAL = 0x95AC9329AC4BC9B5
# Below this many bytes the large tables are not worth making.
_LARGE = 64 << 10
# Eight bytes at a time; the words of a piece are made at once, so pieces bound the memory that takes.
_PIECE = 64 << 10


def crc64(data: bytes | bytearray | memoryview, crc: int = 0) -> int:
    """The checksum of `data`, going on from `crc`, that of all bytes before it.

    >>> hex(crc64(b"123456789")), crc64(b"6789", crc64(b"12345")) == crc64(b"123456789")
    ('0xe9c6d914c4b8d9ca', True)
    """
    size = len(data)
    start = 0
    if size >= _LARGE:
        first, second, third, fourth = _word_tables()
        whole = size & ~7
        with memoryview(data) as view:
            for start in range(0, whole, _PIECE):
                stop = min(start + _PIECE, whole)
                for word in Struct(f"<{(stop - start) // 8}Q").unpack_from(view, start):
                    crc ^= word
                    crc = (
                        fourth[crc & 0xFFFF] ^ third[crc >> 16 & 0xFFFF] ^ second[crc >> 32 & 0xFFFF] ^ first[crc >> 48]
                    )
        start = whole
    table = _byte_table()
    for byte in data[start:] if start else data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc


@functools.cache
def _byte_table() -> list[int]:
    """What one byte makes of the checksum."""
    table = []
    for crc in range(256):
        for _bit in range(8):
            crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
        table.append(crc)
    return table


@functools.cache
def _word_tables() -> tuple[array[int], ...]:
    """What two bytes make of the checksum, with 0, 2, 4 and 6 bytes of zero behind them."""
    table = _byte_table()
    first = array(
        "Q", [table[high ^ (crc := table[low]) & 0xFF] ^ crc >> 8 for high in range(256) for low in range(256)]
    )
    tables = [first]
    for _pair in range(3):
        last = tables[-1]
        tables.append(array("Q", [first[crc & 0xFFFF] ^ crc >> 16 for crc in last]))
    return tuple(tables)
