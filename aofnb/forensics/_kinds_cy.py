# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Kernel: of which kind each key is, without making an object of it.

What a kind is, `forensics.roles.template` says. Here it is spelled with one byte for each UUID, hexadecimal number and
number, of those that no UTF-8 has: so a kind is never longer than its key.
"""

from __future__ import annotations

try:
    import cython
except ModuleNotFoundError:
    from aofnb import _cython as cython

COMPILED = cython.compiled


def number(
    data: cython.const_uchar[::1],
    offsets: cython.int[::1],
    row: cython.Py_ssize_t,
    slots: cython.int[::1],
    kinds: cython.const_uchar[::1],
    begins: cython.int[::1],
    scratch: cython.uchar[::1],
    numbers: cython.int[::1],
) -> int:
    """The number of the kind of each key, from `row` on; the first whose kind has none, or how many keys there are.

    Key `i` is data[offsets[i]:offsets[i + 1]], in UTF-8; kind `n` is kinds[begins[n]:begins[n + 1]]. `slots` is a table
    of their numbers, a power of two in size, negative where it is empty. `scratch` has room for the longest key.
    """
    rows: cython.Py_ssize_t = len(offsets) - 1
    mask: cython.Py_ssize_t = len(slots) - 1
    size: cython.Py_ssize_t
    slot: cython.Py_ssize_t
    n: cython.int
    with cython.nogil:
        while row < rows:
            size = _spell(data, offsets[row], offsets[row + 1], scratch)
            slot = _hash(scratch, size) & mask
            n = slots[slot]
            while n >= 0 and not _same(kinds, begins[n], begins[n + 1], scratch, size):
                slot = (slot + 1) & mask
                n = slots[slot]
            if n < 0:
                break
            numbers[row] = n
            row += 1
    return row


def spelled(key: cython.const_uchar[::1], scratch: cython.uchar[::1]) -> int:
    """Spell the kind of a key at the beginning of `scratch`; how many bytes it has."""
    return _spell(key, 0, len(key), scratch)


def slot_of(kind: cython.const_uchar[::1], slots: cython.Py_ssize_t) -> int:
    """The first place for a kind in a table of so many slots."""
    return _hash(kind, len(kind)) & (slots - 1)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _hash(text: cython.const_uchar[::1], size: cython.Py_ssize_t) -> cython.Py_ssize_t:
    i: cython.Py_ssize_t
    mixed: cython.longlong = 5381
    for i in range(size):
        mixed = (mixed * 33 + text[i]) & 2147483647
    return mixed ^ (mixed >> 15)


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _same(
    kinds: cython.const_uchar[::1],
    start: cython.Py_ssize_t,
    end: cython.Py_ssize_t,
    text: cython.const_uchar[::1],
    size: cython.Py_ssize_t,
) -> cython.bint:
    i: cython.Py_ssize_t
    if end - start != size:
        return False
    for i in range(size):  # noqa: SIM110  # in C a loop, where all() would be a generator
        if kinds[start + i] != text[i]:
            return False
    return True


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _spell(
    data: cython.const_uchar[::1], start: cython.Py_ssize_t, end: cython.Py_ssize_t, out: cython.uchar[::1]
) -> cython.Py_ssize_t:
    """Put the kind of data[start:end] at the beginning of `out`; its size."""
    size: cython.Py_ssize_t = 0
    read: cython.Py_ssize_t = 0
    made: cython.Py_ssize_t = 0
    run: cython.Py_ssize_t
    met: cython.int
    # UUIDs first, wherever they begin: what is left of a word at one is a word of its own.
    while start < end:
        if end - start >= 36 and data[start + 8] == 45 and _is_uuid(data, start):
            out[size] = 255
            start += 36
        else:
            out[size] = data[start]
            start += 1
        size += 1
    while read < size:
        run = read
        met = 0
        while run < size and _class(out[run]):
            met |= _class(out[run])
            run += 1
        if run - read >= 8 and met == 3:
            # Hexadecimal digits of both kinds and nothing else.
            out[made] = 254
            made += 1
            read = run
            continue
        while read < run:
            if _class(out[read]) == 1:
                while read < run and _class(out[read]) == 1:
                    read += 1
                out[made] = 253
            else:
                out[made] = out[read]
                read += 1
            made += 1
        if run < size:
            # What ends a word.
            out[made] = out[run]
            made += 1
            read = run + 1
    return made


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _is_uuid(data: cython.const_uchar[::1], start: cython.Py_ssize_t) -> cython.bint:
    """Whether the 36 bytes from data[start] on are 8, 4, 4, 4 and 12 hexadecimal digits with hyphens between."""
    i: cython.Py_ssize_t
    for i in range(36):
        if i == 8 or i == 13 or i == 18 or i == 23:
            if data[start + i] != 45:
                return False
        elif _class(data[start + i]) not in (1, 2):
            return False
    return True


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _class(byte: cython.uchar) -> cython.int:
    """1 for a digit, 2 for a letter that is a hexadecimal digit, 4 for another letter, 0 for what is in no word."""
    if 48 <= byte <= 57:
        return 1
    if 97 <= byte <= 102 or 65 <= byte <= 70:
        return 2
    return 4 if 97 <= byte <= 122 or 65 <= byte <= 90 else 0
