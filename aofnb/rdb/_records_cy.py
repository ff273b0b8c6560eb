# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Kernel: the records that most snapshots are full of, several at once: strings and plain hashes, with deadlines.

It takes whole records that are as they should be, and stops in front of any other: `reader` goes on there, and has
the words for what is wrong.

Redis: rdb.c rdbLoadObject (7.0.15).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

try:
    import cython
except ModuleNotFoundError:
    from aofnb import _cython as cython

from aofnb.errors import RdbError
from aofnb.rdb.lzf import decompress

COMPILED = cython.compiled

_NEVER = -1


def records(
    data: bytes,
    at: cython.Py_ssize_t,
    keys: list[bytes],
    values: list[Any],
    deadlines: dict[bytes, int],
    hash_of: Callable[[list[bytes]], Any],
) -> cython.Py_ssize_t:
    r"""Add the keys and values of the records from data[at] on; where the first record is that was not taken.

    `hash_of` makes a value of fields and values in turn, or None where they make none.

    >>> keys, values = [], []
    >>> records(b"\x00\x01k\xc0\x07\x00\x01l\x05cut", 0, keys, values, {}, dict), keys, values
    (5, [b'k'], [b'7'])
    """
    p: cython.p_const_uchar = data
    size: cython.Py_ssize_t = len(data)
    begin: cython.Py_ssize_t
    left: cython.Py_ssize_t
    end: cython.Py_ssize_t
    while at < size:
        begin = at
        when = None
        if p[at] == 0xFC:
            if at + 9 >= size:
                return begin
            when = int.from_bytes(data[at + 1 : at + 9], "little", signed=True)
            at += 9
        if p[at] != 0 and p[at] != 4:
            return begin
        is_hash: cython.bint = p[at] == 4
        at += 1
        end = _end(p, at, size)
        if end < 0:
            return begin
        try:
            key = _text(data, at, end)
            at = end
            if not is_hash:
                end = _end(p, at, size)
                if end < 0:
                    return begin
                value = _text(data, at, end)
            else:
                if at + 1 >= size or p[at] >= 0x80:
                    return begin
                left = 2 * p[at] if p[at] < 0x40 else 2 * ((p[at] & 63) << 8 | p[at + 1])
                end = at + 1 if p[at] < 0x40 else at + 2
                parts: list[bytes] = []
                while left > 0:
                    at = end
                    end = _end(p, at, size)
                    if end < 0:
                        return begin
                    parts.append(_text(data, at, end))
                    left -= 1
                value = hash_of(parts)
                if value is None:
                    return begin
        except RdbError:
            return begin
        at = end
        keys.append(key)
        values.append(value)
        if when is not None and when != _NEVER:
            deadlines[key] = when
    return at


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _end(p: cython.p_const_uchar, at: cython.Py_ssize_t, size: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """Where the string ends that begins at p[at]; -1 if it is not whole, or of a rare form."""
    first: cython.Py_ssize_t
    if at >= size:
        return -1
    first = p[at]
    if first < 0x40:
        at += 1 + first
    elif first < 0x80:
        if at + 1 >= size:
            return -1
        at += 2 + ((first & 63) << 8 | p[at + 1])
    elif 0xC0 <= first <= 0xC2:
        at += 1 + (1 << (first - 0xC0))
    elif first == 0xC3:
        # Two lengths, of one or two bytes each.
        if at + 4 >= size or p[at + 1] >= 0x80:
            return -1
        first = p[at + 1] if p[at + 1] < 0x40 else (p[at + 1] & 63) << 8 | p[at + 2]
        at += 2 if p[at + 1] < 0x40 else 3
        if p[at] >= 0x80:
            return -1
        at += first + (1 if p[at] < 0x40 else 2)
    else:
        return -1
    return at if at <= size else -1


@cython.cfunc
def _text(data: bytes, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> bytes:
    """The string in data[at:end]."""
    p: cython.p_const_uchar = data
    first: cython.Py_ssize_t = p[at]
    unpacked: cython.Py_ssize_t
    if first < 0x40:
        text: bytes = data[at + 1 : end]
    elif first < 0x80:
        text = data[at + 2 : end]
    elif first < 0xC3:
        text = b"%d" % int.from_bytes(data[at + 1 : end], "little", signed=True)
    else:
        at += 2 if p[at + 1] < 0x40 else 3
        unpacked = p[at] if p[at] < 0x40 else (p[at] & 63) << 8 | p[at + 1]
        at += 1 if p[at] < 0x40 else 2
        text = decompress(data[at:end], unpacked)
    return text
