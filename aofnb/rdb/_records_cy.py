# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Kernel: the records that snapshots are full of, several at once: strings, hashes, and what is made of strings alone.

It takes whole records that are as they should be, and stops in front of any other: `reader` goes on there, and has
the words for what is wrong.

Redis: rdb.c rdbLoadObject (7.0.15).
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any

try:
    import cython
except ModuleNotFoundError:
    from aofnb import _cython as cython

from aofnb.errors import RdbError
from aofnb.rdb import opcodes
from aofnb.rdb.lzf import decompress
from aofnb.store._table_cy import Later, Table

COMPILED = cython.compiled

_NEVER = -1
_unpack_double = Struct("<d").unpack_from
_unpack_int64 = Struct("<q").unpack_from
# By type, what follows a key: 1, seen to here; 2, one string; 3, strings, which are counted; 4, those with a double
# each; 5, those with a length in front of each; 0, something else. And 6, pairs of strings.
_SHAPES = bytes(
    {
        opcodes.STRING: 1,
        opcodes.HASH: 1,
        opcodes.SET: 3,
        opcodes.LIST: 3,
        opcodes.ZSET_2: 4,
        opcodes.SET_INTSET: 2,
        opcodes.HASH_LISTPACK: 2,
        opcodes.ZSET_LISTPACK: 2,
        opcodes.SET_LISTPACK: 2,
        opcodes.HASH_ZIPLIST: 2,
        opcodes.ZSET_ZIPLIST: 2,
        opcodes.LIST_ZIPLIST: 2,
        opcodes.LIST_QUICKLIST: 3,
        opcodes.LIST_QUICKLIST_2: 5,
    }.get(kind, 0)
    for kind in range(32)
)
# What is written one by one, as the kernel does that writes snapshots.
_LATER = frozenset((opcodes.LIST, opcodes.SET, opcodes.HASH, opcodes.ZSET_2, opcodes.STREAM_LISTPACKS_2))
_STREAM = opcodes.STREAM_LISTPACKS_2


@cython.locals(values=Table, deadlines=Table)
def records(
    data: bytes,
    at: cython.Py_ssize_t,
    values: Table[Any],
    deadlines: Table[int],
    hash_of: Callable[[dict[bytes, bytes], int], Any],
    value_of: Callable[[int, bytes], Any],
    later: cython.bint,
) -> cython.Py_ssize_t:
    r"""Put the keys of the records from data[at] on into the tables; where the first record is that was not taken.

    A key that is there already ends it too, when its value is another one: a snapshot has each key once.

    `hash_of` makes a value of fields, and the size of the longest field or value; `value_of` one of a type, of those in
    `_SHAPES`, and the bytes behind the key, or None where they make none. With `later` it is called when someone wants
    the value, for all types that servers write one by one.

    >>> from aofnb.store._table_cy import Table
    >>> values = Table()
    >>> records(b"\x00\x01k\xc0\x07\x00\x01l\x05cut", 0, values, Table(), dict, dict, False), list(values.items())
    (5, [(b'k', b'7')])
    """
    p: cython.p_const_uchar = data
    size: cython.Py_ssize_t = len(data)
    begin: cython.Py_ssize_t
    end: cython.Py_ssize_t
    kind: cython.int
    taken: cython.Py_ssize_t = len(values)
    while at < size:
        begin = at
        when = None
        if p[at] == 0xFC:
            if at + 9 >= size:
                return begin
            when = _unpack_int64(data, at + 1)[0]
            at += 9
        kind = p[at]
        if kind >= 32 or (_SHAPES[kind] == 0 and not (later and kind == _STREAM)):
            return begin
        at += 1
        end = _end(p, at, size)
        if end < 0:
            return begin
        try:
            key = _text(data, at, end)
            at = end
            if kind == 0:
                end = _end(p, at, size)
                if end < 0:
                    return begin
                value = _text(data, at, end)
            elif later and kind in _LATER:
                if kind == _STREAM:
                    end = _end_of_stream(p, at, size)
                else:
                    # Of nothing there is no key.
                    end = (
                        -1
                        if at < size and p[at] == 0
                        else _end_of_value(p, at, size, 6 if kind == 4 else _SHAPES[kind])
                    )
                if end < 0:
                    return begin
                left: bytes = p[at:end]
                value = Later(kind, left, value_of)
            elif kind == 4:
                found: dict[bytes, bytes] = {}
                end, longest = fields(data, at, found)
                if end < 0:
                    return begin
                value = hash_of(found, longest)
            else:
                end = _end_of_value(p, at, size, _SHAPES[kind])
                if end < 0:
                    return begin
                value = value_of(kind, data[at:end])
                if value is None:
                    return begin
        except RdbError:
            return begin
        at = end
        values[key] = value
        taken += 1
        if len(values) != taken:
            return begin
        if when is not None and when != _NEVER:
            deadlines[key] = when
    return at


def fields(
    data: bytes, at: cython.Py_ssize_t, found: dict[bytes, bytes]
) -> tuple[cython.Py_ssize_t, cython.Py_ssize_t]:
    """Put the fields of the hash at data[at] and their values into `found`, which is empty; where it ends, and the size
    of the longest field or value. -1 if it is not whole, of a rare form, empty, or has a field twice.
    """
    p: cython.p_const_uchar = data
    size: cython.Py_ssize_t = len(data)
    end: cython.Py_ssize_t
    longest: cython.Py_ssize_t = 0
    field: bytes
    text: bytes
    count: cython.Py_ssize_t = _length(p, at, size)
    if count <= 0:
        return -1, 0
    end = at + (1 if count < 64 else 2)
    for _field in range(count):
        at = end
        end = _end(p, at, size)
        if end < 0:
            return -1, 0
        field = _text(data, at, end)
        at = end
        end = _end(p, at, size)
        if end < 0:
            return -1, 0
        text = _text(data, at, end)
        found[field] = text
        longest = max(longest, len(field), len(text))
    if len(found) != count:
        return -1, 0
    return end, longest


def strings(data: bytes, at: cython.Py_ssize_t, count: cython.Py_ssize_t, found: list[bytes]) -> cython.Py_ssize_t:
    """Append strings from data[at] on to `found`, at most `count`; where the first one is that was not taken."""
    p: cython.p_const_uchar = data
    size: cython.Py_ssize_t = len(data)
    end: cython.Py_ssize_t
    for _string in range(count):
        end = _end(p, at, size)
        if end < 0:
            return at
        try:
            found.append(_text(data, at, end))
        except RdbError:
            return at
        at = end
    return at


def scores(
    data: bytes, at: cython.Py_ssize_t, count: cython.Py_ssize_t, found: dict[bytes, float]
) -> tuple[cython.Py_ssize_t, cython.Py_ssize_t]:
    """Put members with their scores, as doubles, from data[at] on into `found`, at most `count`; where the first one is
    that was not taken, and how many were.
    """
    p: cython.p_const_uchar = data
    size: cython.Py_ssize_t = len(data)
    end: cython.Py_ssize_t
    taken: cython.Py_ssize_t
    for taken in range(count):
        end = _end(p, at, size)
        if end < 0 or end + 8 > size:
            return at, taken
        score = _unpack_double(data, end)[0]
        if score != score:
            return at, taken
        try:
            found[_text(data, at, end)] = score
        except RdbError:
            return at, taken
        at = end + 8
    return at, count


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _length(p: cython.p_const_uchar, at: cython.Py_ssize_t, size: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """The length at p[at] in one or two bytes, of which the number tells how many; -1 if it is something else."""
    number: cython.Py_ssize_t
    if at + 1 >= size or p[at] >= 0x80:
        return -1
    if p[at] < 0x40:
        return p[at]
    number = (p[at] & 63) << 8 | p[at + 1]
    return number if number >= 64 else -1


@cython.cfunc
@cython.exceptval(check=False)
def _end_of_value(
    p: cython.p_const_uchar, at: cython.Py_ssize_t, size: cython.Py_ssize_t, shape: cython.int
) -> cython.Py_ssize_t:
    """Where the value of that shape ends that begins at p[at]; -1 if it is not whole, or of a rare form."""
    left: cython.Py_ssize_t
    if shape == 2:
        return _end(p, at, size)
    left = _length(p, at, size)
    if left < 0:
        return -1
    at += 1 if left < 64 else 2
    if shape == 6:
        left *= 2
    while left > 0:
        if shape == 5:
            # What kind of node it is.
            if at >= size or p[at] >= 0x40:
                return -1
            at += 1
        at = _end(p, at, size)
        if at < 0:
            return -1
        if shape == 4:
            at += 8
            if at > size:
                return -1
        left -= 1
    return at


@cython.cfunc
@cython.exceptval(check=False)
def _end_of_stream(p: cython.p_const_uchar, at: cython.Py_ssize_t, size: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """Where the stream ends that begins at p[at]; -1 if it is not whole, or of a rare form."""
    groups: cython.Py_ssize_t
    consumers: cython.Py_ssize_t
    # Nodes, each its first id and the entries.
    at = _end_of_value(p, at, size, 6)
    # How many entries; three ids; how many there ever were.
    at = _behind_lengths(p, at, size, 8)
    groups = _length(p, at, size) if at >= 0 else -1
    at = _behind_lengths(p, at, size, 1)
    while groups > 0 and at >= 0:
        # Name, last id, entries read; what is pending, each an id, a time, a number.
        at = _behind_lengths(p, _end(p, at, size), size, 3)
        at = _behind_items(p, at, size, 24, 1)
        consumers = _length(p, at, size) if at >= 0 else -1
        at = _behind_lengths(p, at, size, 1)
        while consumers > 0 and at >= 0:
            # Name, a time; what is pending, each an id.
            at = _end(p, at, size)
            at = _behind_items(p, at + 8, size, 16, 0) if at >= 0 else -1
            consumers -= 1
        groups = groups - 1 if consumers == 0 else -1
    return at if groups == 0 else -1


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _behind_lengths(
    p: cython.p_const_uchar, at: cython.Py_ssize_t, size: cython.Py_ssize_t, count: cython.Py_ssize_t
) -> cython.Py_ssize_t:
    """Where so many lengths end that begin at p[at], of any size; -1 if they are not whole, or `at` is."""
    while count > 0 and at >= 0:
        if at >= size or p[at] > 0x81:
            return -1
        at += 1 if p[at] < 0x40 else 2 if p[at] < 0x80 else 5 if p[at] == 0x80 else 9
        count -= 1
    return at if at <= size else -1


@cython.cfunc
@cython.exceptval(check=False)
def _behind_items(
    p: cython.p_const_uchar,
    at: cython.Py_ssize_t,
    size: cython.Py_ssize_t,
    nbytes: cython.Py_ssize_t,
    lengths: cython.Py_ssize_t,
) -> cython.Py_ssize_t:
    """Where the items end that are counted at p[at], each of so many bytes and lengths; -1 as above."""
    count: cython.Py_ssize_t = _length(p, at, size) if at >= 0 else -1
    at = _behind_lengths(p, at, size, 1)
    while count > 0 and at >= 0:
        at = _behind_lengths(p, at + nbytes, size, lengths)
        count -= 1
    return at if count == 0 else -1


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
        text: bytes = p[at + 1 : end]
    elif first < 0x80:
        text = p[at + 2 : end]
    elif first < 0xC3:
        text = b"%d" % int.from_bytes(data[at + 1 : end], "little", signed=True)
    else:
        at += 2 if p[at + 1] < 0x40 else 3
        unpacked = p[at] if p[at] < 0x40 else (p[at] & 63) << 8 | p[at + 1]
        at += 1 if p[at] < 0x40 else 2
        text = decompress(data[at:end], unpacked)
    return text
