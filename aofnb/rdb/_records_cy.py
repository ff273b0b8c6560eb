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
from aofnb.store._table_cy import Table, later_of

if not cython.compiled:
    from aofnb.rdb._strings import CUT, ODD, length_at, number_at, string_end, text_begin, width_of
    from aofnb.resp._text import Text, text_of
    from aofnb.store._entries import key_hash, put, put_text

COMPILED = cython.compiled

_NEVER = -1
_unpack_double = Struct("<d").unpack_from
_unpack_int64 = Struct("<q").unpack_from
# By type, what follows a key: 1, one string, which is the value; 2, one string; 3, strings, which are counted; 4, those
# with a double each; 5, those with a length in front of each; 6, pairs of strings; 7, a stream; 0, something else.
_SHAPES = bytes(
    {
        opcodes.STRING: 1,
        opcodes.HASH: 6,
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
        opcodes.STREAM_LISTPACKS_2: 7,
    }.get(kind, 0)
    for kind in range(32)
)
# 1 for what is written one by one, as the kernel does that writes snapshots.
_LATER = bytes(
    kind in (opcodes.LIST, opcodes.SET, opcodes.HASH, opcodes.ZSET_2, opcodes.STREAM_LISTPACKS_2) for kind in range(32)
)


@cython.locals(values=Table, deadlines=Table)
def records(
    data: bytes,
    at: cython.Py_ssize_t,
    values: Table[Any],
    deadlines: Table[int],
    hash_of: Callable[[dict[bytes, bytes], int], Any],
    value_of: Callable[[int, bytes], Any],
    later: cython.bint,
) -> tuple[cython.Py_ssize_t, bool]:
    r"""Put the keys of the records from data[at] on into the tables; where the first record is that was not taken, and
    whether the data ends there, or inside of it.

    A key that is there already ends it too, when its value is another one: a snapshot has each key once.

    `hash_of` makes a value of fields, and the size of the longest field or value; `value_of` one of a type, of those in
    `_SHAPES`, and the bytes behind the key, or None where they make none. With `later` it is called when someone wants
    the value, for all types that servers write one by one.

    >>> from aofnb.store._table_cy import Table
    >>> values = Table()
    >>> records(b"\x00\x01k\xc0\x07\x00\x01l\x05cut", 0, values, Table(), dict, dict, False), list(values.items())
    ((5, True), [(b'k', b'7')])
    """
    p: cython.p_const_uchar = data
    size: cython.Py_ssize_t = len(data)
    begin: cython.Py_ssize_t = at
    end: cython.Py_ssize_t
    kind: cython.int
    shape: cython.int
    taken: cython.Py_ssize_t = len(values)
    # What is up to here was asked for in the table.
    fetched: cython.Py_ssize_t = at
    key: Text
    hashed: uint64_t
    try:
        while at < size:
            begin = at
            if cython.compiled and at >= fetched:
                fetched = _fetch(p, at, size, values)
            when = None
            if p[at] == 0xFC:
                if at + 9 >= size:
                    return begin, True
                when = _unpack_int64(data, at + 1)[0]
                at += 9
            kind = p[at]
            shape = _SHAPES[kind] if kind < 32 else 0
            if shape == 0 or (shape == 7 and not later):
                return begin, False
            at += 1
            end = string_end(p, at, size)
            if end < 0:
                return begin, end == CUT
            if p[at] < 0xC0:
                key = _literal(data, at, end)
            else:
                made: bytes = _text(data, at, end)
                key = text_of(made)
            at = end
            end = _end_of_value(p, at, size, shape)
            if end < 0:
                return begin, end == CUT
            hashed = key_hash(key)
            if shape == 1:
                if p[at] < 0xC0:
                    put_text(values, key, hashed, _literal(data, at, end))
                elif p[at] < 0xC3:
                    _put_number(values, key, hashed, number_at(p, at, end))
                else:
                    put(values, key, hashed, _text(data, at, end))
            elif later and _LATER[kind]:
                # Of nothing there is no key.
                if p[at] == 0 and shape != 7:
                    return begin, False
                put(values, key, hashed, later_of(kind, data[at:end], value_of))
            elif shape == 6:
                found: dict[bytes, bytes] = {}
                end, longest = fields(data, at, found)
                if end < 0:
                    return begin, False
                put(values, key, hashed, hash_of(found, longest))
            else:
                value = value_of(kind, data[at:end])
                if value is None:
                    return begin, False
                put(values, key, hashed, value)
            taken += 1
            if len(values) != taken:
                return begin, False
            at = end
            if when is not None and when != _NEVER:
                put(deadlines, key, hashed, when)
    except RdbError:
        return begin, False
    return at, True


@cython.cfunc
@cython.exceptval(check=False)
def _fetch(p: cython.p_const_uchar, at: cython.Py_ssize_t, size: cython.Py_ssize_t, values: Table) -> cython.Py_ssize_t:
    """Ask for the memory in which the keys of the next records will be; how far that is."""
    hashes: uint64_t[BATCH]
    count: cython.int = 0
    end: cython.Py_ssize_t
    shape: cython.int
    begin: cython.Py_ssize_t
    while at < size and count < BATCH:
        if p[at] == 0xFC:
            at += 9
        if at >= size or p[at] >= 32:
            break
        shape = _SHAPES[p[at]]
        end = string_end(p, at + 1, size)
        if end < 0 or p[at + 1] >= 0xC0:
            break
        begin = text_begin(p, at + 1)
        hashes[count] = aofnb_hash(p + begin, end - begin)
        at = _end_of_value(p, end, size, shape)
        if at < 0:
            break
        count += 1
    values.fetch(hashes, count)
    # Where there are fewer, the data ends soon, or the run does.
    return at if count == BATCH else size


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
    count: cython.Py_ssize_t = length_at(p, at, size)
    if count <= 0:
        return -1, 0
    end = at + width_of(count)
    for _field in range(count):
        at = end
        end = string_end(p, at, size)
        if end < 0:
            return -1, 0
        field = _text(data, at, end)
        at = end
        end = string_end(p, at, size)
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
        # Short and there: most are.
        if at < size and p[at] < 0x40 and at + p[at] < size:
            end = at + 1 + p[at]
            found.append(data[at + 1 : end])
            at = end
            continue
        end = string_end(p, at, size)
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
        if at < size and p[at] < 0x40:
            end = at + 1 + p[at]
        else:
            end = string_end(p, at, size)
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


# --- where things end: CUT if that is behind the data, ODD for what is of a rare form ---------------------------


@cython.cfunc
@cython.exceptval(check=False)
def _end_of_value(
    p: cython.p_const_uchar, at: cython.Py_ssize_t, size: cython.Py_ssize_t, shape: cython.int
) -> cython.Py_ssize_t:
    """Where the value of that shape ends that begins at p[at]."""
    left: cython.Py_ssize_t
    if shape <= 2:
        return string_end(p, at, size)
    if shape == 7:
        return _end_of_stream(p, at, size)
    left = length_at(p, at, size)
    if left < 0:
        return left
    at += width_of(left)
    if shape == 6:
        left *= 2
    while left > 0:
        if shape == 5:
            # What kind of node it is.
            if at >= size:
                return CUT
            if p[at] >= 0x40:
                return ODD
            at += 1
        at = string_end(p, at, size)
        if at < 0:
            return at
        if shape == 4:
            at += 8
            if at > size:
                return CUT
        left -= 1
    return at


@cython.cfunc
@cython.exceptval(check=False)
def _end_of_stream(p: cython.p_const_uchar, at: cython.Py_ssize_t, size: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """Where the stream ends that begins at p[at]."""
    groups: cython.Py_ssize_t
    consumers: cython.Py_ssize_t
    # Nodes, each its first id and the entries.
    at = _end_of_value(p, at, size, 6)
    # How many entries; three ids; how many there ever were.
    at = _behind_lengths(p, at, size, 8)
    groups = length_at(p, at, size) if at >= 0 else at
    if groups < 0:
        return groups
    at += width_of(groups)
    while groups > 0:
        # Name, last id, entries read; what is pending, each an id, a time, a number.
        at = _behind_lengths(p, string_end(p, at, size), size, 3)
        at = _behind_items(p, at, size, 24, 1)
        consumers = length_at(p, at, size) if at >= 0 else at
        if consumers < 0:
            return consumers
        at += width_of(consumers)
        while consumers > 0:
            # Name, a time; what is pending, each an id.
            at = string_end(p, at, size)
            at = _behind_items(p, at + 8, size, 16, 0) if at >= 0 else at
            if at < 0:
                return at
            consumers -= 1
        groups -= 1
    return at


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _behind_lengths(
    p: cython.p_const_uchar, at: cython.Py_ssize_t, size: cython.Py_ssize_t, count: cython.Py_ssize_t
) -> cython.Py_ssize_t:
    """Where so many lengths end that begin at p[at], of any size; `at`, if that is no place."""
    while count > 0 and at >= 0:
        if at >= size:
            return CUT
        if p[at] > 0x81:
            return ODD
        at += 1 if p[at] < 0x40 else 2 if p[at] < 0x80 else 5 if p[at] == 0x80 else 9
        count -= 1
    return at if at <= size else CUT


@cython.cfunc
@cython.exceptval(check=False)
def _behind_items(
    p: cython.p_const_uchar,
    at: cython.Py_ssize_t,
    size: cython.Py_ssize_t,
    nbytes: cython.Py_ssize_t,
    lengths: cython.Py_ssize_t,
) -> cython.Py_ssize_t:
    """Where the items end that are counted at p[at], each of so many bytes and lengths; `at`, if that is no place."""
    count: cython.Py_ssize_t = length_at(p, at, size) if at >= 0 else at
    if count < 0:
        return count
    at += width_of(count)
    while count > 0 and at >= 0:
        at = _behind_lengths(p, at + nbytes, size, lengths)
        count -= 1
    return at


# --- strings ---------------------------------------------------------------------------------------------------


@cython.cfunc
@cython.inline
def _literal(data: bytes, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> Text:
    """The string in data[at:end], which stands there as it is."""
    begin: cython.Py_ssize_t = text_begin(data, at)
    if cython.compiled:
        return Text(cython.cast(cython.p_const_char, cython.cast(cython.p_const_uchar, data)) + begin, end - begin)
    return data[begin:end]


@cython.cfunc
def _text(data: bytes, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> bytes:
    """The string in data[at:end]."""
    p: cython.p_const_uchar = data
    first: cython.Py_ssize_t = p[at]
    unpacked: cython.Py_ssize_t
    if first < 0xC0:
        at = text_begin(p, at)
        text: bytes = p[at:end]
    elif first < 0xC3:
        text = b"%d" % number_at(p, at, end)
    else:
        at += 2 if p[at + 1] < 0x40 else 3
        unpacked = p[at] if p[at] < 0x40 else (p[at] & 63) << 8 | p[at + 1]
        at += 1 if p[at] < 0x40 else 2
        text = decompress(data[at:end], unpacked)
    return text


# --- keys ------------------------------------------------------------------------------------------------------


@cython.cfunc
@cython.exceptval(-1)
def _put_number(table: Table, key: Text, hashed: uint64_t, number: int64_t) -> cython.int:
    """As `_put_text` with the digits of the number."""
    digits: cython.char[DIGITS]
    at: cython.int
    left: int64_t
    if cython.compiled:
        at = DIGITS
        left = -number if number < 0 else number
        while left or at == DIGITS:
            at -= 1
            digits[at] = 48 + left % 10
            left //= 10
        if number < 0:
            at -= 1
            digits[at] = 45
        return table.put_text_hashed(key.at, key.size, hashed, digits + at, DIGITS - at)
    table[key] = b"%d" % number
    return 0
