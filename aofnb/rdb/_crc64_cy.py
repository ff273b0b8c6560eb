# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Kernel: CRC-64 "Jones", reflected, eight bytes a step.

Redis: crc64.c, crcspeed.c (7.0.15).
"""

from __future__ import annotations

try:
    import cython
except ModuleNotFoundError:
    from aofnb import _cython as cython

COMPILED = cython.compiled


def update(
    data: bytes | bytearray, start: cython.Py_ssize_t, end: cython.Py_ssize_t, crc: cython.ulonglong
) -> cython.ulonglong:
    """The checksum of data[start:end], going on from `crc`.

    >>> hex(update(b"123456789", 0, 9, 0))
    '0xe9c6d914c4b8d9ca'
    """
    p: cython.p_const_uchar = data
    i: cython.Py_ssize_t = start
    k: cython.int
    word: cython.ulonglong
    while end - i >= 8:
        # A compiler makes one load of it.
        word = 0
        for k in range(8):
            word |= _wide(p[i + k]) << (8 * k)
        word ^= crc
        crc = (
            TABLE[7][word & 0xFF]
            ^ TABLE[6][word >> 8 & 0xFF]
            ^ TABLE[5][word >> 16 & 0xFF]
            ^ TABLE[4][word >> 24 & 0xFF]
            ^ TABLE[3][word >> 32 & 0xFF]
            ^ TABLE[2][word >> 40 & 0xFF]
            ^ TABLE[1][word >> 48 & 0xFF]
            ^ TABLE[0][word >> 56]
        )
        i += 8
    while i < end:
        crc = TABLE[0][(crc ^ p[i]) & 0xFF] ^ crc >> 8
        i += 1
    return crc


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _wide(byte: cython.uchar) -> cython.ulonglong:
    return byte


@cython.cfunc
def _fill() -> cython.void:
    """TABLE[k][byte]: what `byte` makes of the checksum when `k` more bytes follow."""
    # In halves: a literal of 64 bits is a Python object.
    high: cython.ulonglong = 0x95AC9329
    low: cython.ulonglong = 0xAC4BC9B5
    crc: cython.ulonglong
    i: cython.int
    k: cython.int
    _bit: cython.int
    for i in range(256):
        crc = i
        for _bit in range(8):
            crc = crc >> 1 ^ ((high << 32 | low) if crc & 1 else 0)
        TABLE[0][i] = crc
    for i in range(256):
        for k in range(1, 8):
            TABLE[k][i] = TABLE[0][TABLE[k - 1][i] & 0xFF] ^ TABLE[k - 1][i] >> 8


if not cython.compiled:
    TABLE = [[0] * 256 for _ in range(8)]
_fill()
