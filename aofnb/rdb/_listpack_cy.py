# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Kernel: the elements of listpacks, and the entries of stream nodes, which are made of them.

Each function takes what is as it should be, and stops in front of anything else: the callers (`listpack`, `streams`)
have the words for what is wrong.

Redis: listpack.c lpGetWithSize, lpEncodeBacklen; t_stream.c (7.0.15).
"""

from __future__ import annotations

from typing import Any

try:
    import cython
except ModuleNotFoundError:
    from aofnb import _cython as cython

from aofnb.store._stream_cy import append_to

COMPILED = cython.compiled

# Texts of numbers that take up to two bytes of a listpack, made once: an object for each would take twenty times that,
# and a compressed listpack may hold a great many. Negative ones are found from the end.
SMALL = 4096
TEXTS = [b"%d" % number for number in (*range(SMALL), *range(-SMALL, 0))]

_SAME_FIELDS = 2
_UINT64_MAX = (1 << 64) - 1


def elements(blob: bytes, at: cython.Py_ssize_t, as_text: cython.bint, items: list[Any]) -> cython.Py_ssize_t:
    r"""Append the elements from blob[at] on to `items`, numbers as `int` or `as_text`; where the first is that was not
    taken, or the end mark, the last byte.

    >>> items = []
    >>> elements(b"\x02\x01\x81a\x02\xff", 0, False, items), items
    (5, [2, b'a'])
    """
    p: cython.p_const_uchar = blob
    end: cython.Py_ssize_t = len(blob) - 1
    first: cython.Py_ssize_t
    start: cython.Py_ssize_t
    after: cython.Py_ssize_t
    back: cython.Py_ssize_t
    size: cython.Py_ssize_t
    number: cython.longlong
    texts: list[bytes] = TEXTS
    while at < end:
        first = p[at]
        if 0x80 <= first < 0xC0:
            # Short text, whose size backwards is one byte: most are.
            after = at + 1 + (first & 63)
            if after < end and p[after] == after - at:
                items.append(blob[at + 1 : after])
                at = after + 1
                continue
        number = 0
        start = -1
        if first < 0x80:
            number = first
            after = at + 1
        elif first < 0xC0:
            start = at + 1
            after = start + (first & 63)
        elif first < 0xE0:
            after = at + 2
            if after > end:
                return at
            number = (first & 31) << 8 | p[at + 1]
            if number >= 4096:
                number -= 8192
        elif 0xF1 <= first <= 0xF4:
            after = at + 1 + (first - 0xEF if first < 0xF4 else 8)
            if after > end:
                return at
            number = _number(blob, at + 1, after)
        elif first < 0xF0:
            if at + 2 > end:
                return at
            start = at + 2
            after = start + ((first & 15) << 8 | p[at + 1])
        elif first == 0xF0:
            if at + 5 > end:
                return at
            start = at + 5
            # In an int of C it would come out negative, and what is read then lies in front of the blob.
            size = p[at + 4]
            after = start + p[at + 1] + (p[at + 2] << 8) + (p[at + 3] << 16) + (size << 24)
        else:
            return at
        back = _behind_backlen(p, at, after, end)
        if back < 0:
            return at
        if start >= 0:
            items.append(blob[start:after])
        elif not as_text:
            items.append(number)
        elif -4096 <= number < 4096:
            items.append(texts[number if number >= 0 else number + 8192])
        else:
            items.append(b"%d" % number)
        at = back
    return at


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _behind_backlen(
    p: cython.p_const_uchar, at: cython.Py_ssize_t, after: cython.Py_ssize_t, end: cython.Py_ssize_t
) -> cython.Py_ssize_t:
    """The place behind the size, as it is read backwards, of the element that is from p[at] to before p[after]; -1 if
    that is not what stands there.
    """
    used: cython.Py_ssize_t = after - at
    groups: cython.Py_ssize_t = 1
    k: cython.Py_ssize_t
    if used > 127:
        groups = 2 if used <= 16382 else 3 if used <= 2097150 else 4 if used <= 268435454 else 5
    if after + groups > end:
        return -1
    for k in range(groups):
        # The highest seven bits come first; all but those have the top bit set.
        if p[after + k] != ((used >> 7 * (groups - 1 - k)) & 127) + (128 if k else 0):
            return -1
    return after + groups


@cython.cfunc
@cython.inline
def _number(blob: bytes, start: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.longlong:
    """The signed number, lowest byte first, in blob[start:end]."""
    if not cython.compiled:
        return int.from_bytes(blob[start:end], "little", signed=True)
    p: cython.p_const_uchar = blob
    k: cython.Py_ssize_t
    number: cython.ulonglong = 255 if p[end - 1] & 128 else 0
    if number:
        # All bits above those that are there.
        number = ~cython.cast(cython.ulonglong, 0)
    for k in range(end - 1, start - 1, -1):
        number = number << 8 | p[k]
    return cython.cast(cython.longlong, number)


def entries(items: list[Any], at: cython.Py_ssize_t, count: cython.Py_ssize_t, node: Any) -> cython.Py_ssize_t:
    """Append live entries of a stream node, at most `count`, whose elements are items[at:], to `node`; the place of the
    first element that was not taken.
    """
    size: cython.Py_ssize_t = len(items)
    fields: tuple[bytes, ...] = node.fields
    width: cython.Py_ssize_t = len(fields)
    parts: cython.Py_ssize_t
    k: cython.Py_ssize_t
    begin: cython.Py_ssize_t
    same: cython.bint
    texts: list[bytes] = TEXTS
    master: tuple[Any, Any] = node.master_id
    last = node.ids[len(node.ids) - 1] if node.ids else None
    for _entry in range(count):
        if at + 3 > size:
            return at
        flags, ms, seq = items[at], items[at + 1], items[at + 2]
        if type(flags) is not int or type(ms) is not int or type(seq) is not int or (flags != 0 and flags != 2):
            return at
        same = flags == 2
        begin = at + 3
        parts = width
        if not same:
            if begin >= size or type(items[begin]) is not int or not 0 <= items[begin] <= size:
                return at
            parts = 2 * items[begin]
            begin += 1
        if begin + parts >= size or items[begin + parts] != begin - at + parts:
            return at
        made: list[bytes] = []
        for k in range(parts):
            item = items[begin + k]
            if type(item) is not bytes:
                item = texts[item] if -SMALL <= item < SMALL else b"%d" % item
            if same:
                made.append(fields[k])
            made.append(item)
        entry_id = (master[0] + ms) & _UINT64_MAX, (master[1] + seq) & _UINT64_MAX
        if last is not None and entry_id <= last:
            return at
        append_to(node, entry_id, tuple(made))
        last = entry_id
        at = begin + parts + 1
    return at
