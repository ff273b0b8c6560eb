# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Kernel: small hashes, lists and sorted sets as one string of bytes, as Redis keeps them in listpacks.

A dict of five fields takes five times the memory of its text. Packed, a container is: how many elements there are, in
one byte; then the elements. A text is its length, in one byte, and itself. A hash is fields and values in turn; a
sorted set is members and scores in turn, where the two high bits of a member's length say how its score is stored: as a
whole number of 1, 3 or 6 bytes, or as a double. Nothing is sorted: elements stand in the order in which they came.

A change makes a new string, so whoever holds the old one sees no half of it. What does not fit gives None: the caller
goes over to a dict, or a list, for good.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

try:
    import cython
except ModuleNotFoundError:
    from aofnb import _cython as cython

if cython.compiled:
    from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize
    from cython.cimports.libc.string import memcmp, memcpy
else:
    from aofnb.resp._text import Text, size_of, text_of

COMPILED = cython.compiled
# As Python it would save memory at several times the price of a dict.
PACKS = COMPILED

EMPTY = b"\0"
# With the header of a bytes object 512, above which CPython's allocator for small objects does not go.
_MOST_BYTES = 479
_MOST_ELEMENTS = 255
_MOST_TEXT = 255
_MOST_MEMBER = 63
# How a score is stored, by the two high bits.
_SIZES = (1, 3, 6, 8)
_DOUBLE = 3


# --- texts -----------------------------------------------------------------------------------------------------


def texts(packed: bytes) -> list[bytes]:
    r"""The items of a list, or fields and values of a hash in turn.

    >>> texts(b"\2\1a\2bc")
    [b'a', b'bc']
    """
    p: cython.p_const_uchar = packed
    size: cython.Py_ssize_t = len(packed)
    at: cython.Py_ssize_t = 1
    end: cython.Py_ssize_t
    found: list[bytes] = []
    while at < size:
        end = at + 1 + p[at]
        found.append(p[at + 1 : end])
        at = end
    return found


def pack_texts(items: Sequence[bytes]) -> bytes | None:
    """A list of `items`, or None if it is too much."""
    packed = EMPTY
    for item in items:
        more = add(packed, item, False)
        if more is None:
            return None
        packed = more
    return packed


def add(packed: bytes, item: bytes, first: cython.bint) -> bytes | None:
    """The list with one more item, as the first or as the last; None if it is too much."""
    made: bytes | None = add_text(packed, text_of(item), first)
    return made


@cython.cfunc
def add_text(packed: bytes, item: Text, first: cython.bint) -> bytes | None:
    """`add` of a text."""
    p: cython.p_const_uchar = packed
    size: cython.Py_ssize_t = len(packed)
    length: cython.Py_ssize_t = size_of(item)
    most: cython.Py_ssize_t = _MOST_BYTES
    at: cython.Py_ssize_t = 1 if first else size
    if length > 255 or p[0] == 255 or size + 1 + length > most:
        return None
    made: bytes = _spliced(packed, at, at, p[0] + 1, length, item, -1, item)
    return made


# --- hashes ----------------------------------------------------------------------------------------------------


def field_value(packed: bytes, field: bytes) -> bytes | None:
    r"""The value of `field`, or None.

    >>> field_value(b"\1\1f\1v", b"f")
    b'v'
    """
    p: cython.p_const_uchar = packed
    at: cython.Py_ssize_t = _field(packed, text_of(field))
    if at < 0:
        return None
    at += 1 + p[at]
    found: bytes = p[at + 1 : at + 1 + p[at]]
    return found


def with_fields(
    packed: bytes, pairs: Sequence[bytes], max_entries: cython.Py_ssize_t, max_bytes: cython.Py_ssize_t
) -> bytes | None:
    """The hash with `pairs`, field, value and so on, set; None if it is too much, here or for a listpack.

    The limits are those of `HashValue.update`.
    """
    i: cython.Py_ssize_t
    for i in range(0, len(pairs), 2):
        more = with_field_text(packed, text_of(pairs[i]), text_of(pairs[i + 1]), max_entries, max_bytes)
        if more is None:
            return None
        packed = more
    return packed


def with_field(
    packed: bytes, field: bytes, value: bytes, max_entries: cython.Py_ssize_t, max_bytes: cython.Py_ssize_t
) -> bytes | None:
    """`with_fields` for one field."""
    made: bytes | None = with_field_text(packed, text_of(field), text_of(value), max_entries, max_bytes)
    return made


@cython.cfunc
def with_field_text(
    packed: bytes, field: Text, value: Text, max_entries: cython.Py_ssize_t, max_bytes: cython.Py_ssize_t
) -> bytes | None:
    """`with_field` of texts."""
    p: cython.p_const_uchar = packed
    size: cython.Py_ssize_t = len(packed)
    most: cython.Py_ssize_t = _MOST_BYTES
    named: cython.Py_ssize_t = size_of(field)
    length: cython.Py_ssize_t = size_of(value)
    at: cython.Py_ssize_t
    if named > 255 or length > 255 or named > max_bytes or length > max_bytes:
        return None
    at = _field(packed, field)
    if at < 0:
        if p[0] == 255 or p[0] >= max_entries or size + 2 + named + length > most:
            return None
        made: bytes = _spliced(packed, size, size, p[0] + 1, named, field, length, value)
    else:
        at += 1 + p[at]
        if p[0] > max_entries or size - p[at] + length > most:
            return None
        made = _spliced(packed, at, at + 1 + p[at], p[0], length, value, -1, value)
    return made


def without_field(packed: bytes, field: bytes) -> bytes:
    """The hash without `field`; the same object where it has none."""
    p: cython.p_const_uchar = packed
    text: Text = text_of(field)
    at: cython.Py_ssize_t = _field(packed, text)
    end: cython.Py_ssize_t
    if at < 0:
        return packed
    end = at + 1 + p[at]
    end += 1 + p[end]
    made: bytes = _spliced(packed, at, end, p[0] - 1, -1, text, -1, text)
    return made


def fields(packed: bytes) -> dict[bytes, bytes]:
    """The fields and their values, in order."""
    p: cython.p_const_uchar = packed
    size: cython.Py_ssize_t = len(packed)
    at: cython.Py_ssize_t = 1
    value: cython.Py_ssize_t
    end: cython.Py_ssize_t
    found: dict[bytes, bytes] = {}
    while at < size:
        value = at + 1 + p[at]
        end = value + 1 + p[value]
        found[p[at + 1 : value]] = p[value + 1 : end]
        at = end
    return found


# --- sorted sets -----------------------------------------------------------------------------------------------


def score_of(packed: bytes, member: bytes) -> float | None:
    """The score of `member`, or None."""
    p: cython.p_const_uchar = packed
    at: cython.Py_ssize_t = _member(packed, text_of(member))
    return None if at < 0 else _score(packed, at + 1 + (p[at] & 63), p[at] >> 6)


def with_score(packed: bytes, member: bytes, score: float) -> bytes | None:
    """The sorted set with `member` at `score`, which is no minus zero; None if it is too much."""
    made: bytes | None = with_score_text(packed, text_of(member), score)
    return made


@cython.cfunc
def with_score_text(packed: bytes, member: Text, score: cython.double) -> bytes | None:
    """`with_score` of a text."""
    p: cython.p_const_uchar = packed
    size: cython.Py_ssize_t = len(packed)
    most: cython.Py_ssize_t = _MOST_BYTES
    named: cython.Py_ssize_t = size_of(member)
    kind: cython.Py_ssize_t
    at: cython.Py_ssize_t
    end: cython.Py_ssize_t
    number: bytes
    if named > 63:
        return None
    kind = _kind(score)
    number = _stored(score, kind)
    at = _member(packed, member)
    end = at
    if at < 0:
        at = end = size
        if p[0] == 255:
            return None
    else:
        end += 1 + named + _bytes_of(p[at] >> 6)
    if size - (end - at) + 1 + named + len(number) > most:
        return None
    made: bytes = _spliced(packed, at, end, p[0] + (at == end), kind << 6 | named, member, -2, text_of(number))
    return made


def without_member(packed: bytes, member: bytes) -> bytes:
    """The sorted set without `member`; the same object where it has none."""
    p: cython.p_const_uchar = packed
    text: Text = text_of(member)
    at: cython.Py_ssize_t = _member(packed, text)
    if at < 0:
        return packed
    made: bytes = _spliced(packed, at, at + 1 + (p[at] & 63) + _bytes_of(p[at] >> 6), p[0] - 1, -1, text, -1, text)
    return made


def scores(packed: bytes) -> dict[bytes, float]:
    """The members and their scores, in the order in which they came."""
    p: cython.p_const_uchar = packed
    size: cython.Py_ssize_t = len(packed)
    at: cython.Py_ssize_t = 1
    end: cython.Py_ssize_t
    kind: cython.Py_ssize_t
    found: dict[bytes, float] = {}
    while at < size:
        end = at + 1 + (p[at] & 63)
        kind = p[at] >> 6
        found[p[at + 1 : end]] = _score(packed, end, kind)
        at = end + _bytes_of(kind)
    return found


# --- parts -----------------------------------------------------------------------------------------------------


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _field(packed: bytes, field: Text) -> cython.Py_ssize_t:
    """Where `field` begins, or -1."""
    p: cython.p_const_uchar = packed
    size: cython.Py_ssize_t = len(packed)
    named: cython.Py_ssize_t = size_of(field)
    at: cython.Py_ssize_t = 1
    while at < size:
        if p[at] == named and _same(packed, at + 1, field):
            return at
        at += 1 + p[at]
        at += 1 + p[at]
    return -1


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _member(packed: bytes, member: Text) -> cython.Py_ssize_t:
    """Where `member` begins, or -1."""
    p: cython.p_const_uchar = packed
    size: cython.Py_ssize_t = len(packed)
    named: cython.Py_ssize_t = size_of(member)
    at: cython.Py_ssize_t = 1
    while at < size:
        if (p[at] & 63) == named and _same(packed, at + 1, member):
            return at
        at += 1 + (p[at] & 63) + _bytes_of(p[at] >> 6)
    return -1


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _same(packed: bytes, at: cython.Py_ssize_t, text: Text) -> cython.bint:
    """Whether `text`, which is no longer than what is there, stands at packed[at]."""
    if cython.compiled:
        return memcmp(PyBytes_AS_STRING(packed) + at, text.at, text.size) == 0
    return packed[at : at + len(text)] == text


@cython.cfunc
@cython.inline
def _stored(score: cython.double, kind: cython.Py_ssize_t) -> bytes:
    """The score as it is stored by that kind."""
    if not cython.compiled:
        return struct.pack("<d", score) if kind == 3 else int(score).to_bytes(_SIZES[kind], "little", signed=True)
    bits: cython.ulonglong = cython.cast(cython.ulonglong, cython.cast(cython.longlong, score)) if kind != 3 else 0
    size: cython.Py_ssize_t = _bytes_of(kind)
    i: cython.Py_ssize_t
    if kind == 3:
        memcpy(cython.address(bits), cython.address(score), 8)
    made: bytes = PyBytes_FromStringAndSize(cython.NULL, size)
    for i in range(size):
        PyBytes_AS_STRING(made)[i] = cython.cast(cython.char, bits >> 8 * i & 255)
    return made


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _bytes_of(kind: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """How many bytes a score of that kind takes: `_SIZES`, without a tuple."""
    return 8 if kind == 3 else 6 if kind == 2 else 3 if kind == 1 else 1


@cython.cfunc
@cython.exceptval(check=False)
def _kind(score: cython.double) -> cython.Py_ssize_t:
    """How to store `score`: in the fewest bytes."""
    if not -140737488355328.0 <= score < 140737488355328.0 or score != int(score):
        return 3
    if -128 <= score < 128:
        return 0
    return 1 if -8388608 <= score < 8388608 else 2


@cython.cfunc
def _score(packed: bytes, at: cython.Py_ssize_t, kind: cython.Py_ssize_t) -> cython.double:
    """The score that is stored at packed[at]."""
    p: cython.p_const_uchar = packed
    i: cython.Py_ssize_t
    size: cython.Py_ssize_t = _bytes_of(kind)
    number: cython.longlong = 0
    one: cython.longlong = 1
    if kind == 3:
        return struct.unpack_from("<d", packed, at)[0]
    for i in range(size - 1, -1, -1):
        number = (number << 8) + p[at + i]
    if number >= one << (8 * size - 1):
        number -= one << (8 * size)
    return float(number)


@cython.cfunc
def _spliced(
    packed: bytes,
    start: cython.Py_ssize_t,
    end: cython.Py_ssize_t,
    count: cython.Py_ssize_t,
    head: cython.Py_ssize_t,
    text: Text,
    head2: cython.Py_ssize_t,
    text2: Text,
) -> bytes:
    """`packed` with other text in the place of packed[start:end]: each `head`, if there is one, and what it heads.

    -1 is no head and no text, whatever is given for it, -2 a text without a head. `count` is how many elements there
    are now.
    """
    if not cython.compiled:
        piece = b"" if head == -1 else bytes((head,)) + text
        piece += b"" if head2 == -1 else text2 if head2 == -2 else bytes((head2,)) + text2
        return bytes((count,)) + packed[1:start] + piece + packed[end:]
    size: cython.Py_ssize_t = len(packed)
    first: cython.Py_ssize_t = -1 if head == -1 else text.size
    second: cython.Py_ssize_t = 0 if head2 == -1 else text2.size
    old: cython.p_char = PyBytes_AS_STRING(packed)
    made: bytes = PyBytes_FromStringAndSize(cython.NULL, start + 1 + first + (head2 >= 0) + second + size - end)
    p: cython.p_char = PyBytes_AS_STRING(made)
    memcpy(p, old, start)
    p[0] = cython.cast(cython.char, count)
    p += start
    if first >= 0:
        p[0] = cython.cast(cython.char, head)
        memcpy(p + 1, text.at, first)
        p += 1 + first
    if head2 >= 0:
        p[0] = cython.cast(cython.char, head2)
        p += 1
    memcpy(p, text2.at, second)
    memcpy(p + second, old + end, size - end)
    return made
