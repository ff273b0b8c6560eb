# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Kernel: what the table of commands needs of each command that the walk found, without making an object of it.

No policy here: which command a name stands for, where its keys are and what is to be a column, the caller says
(`forensics.columns`). Places are those in `data`; what is there was checked by the walk. All of it runs without the
interpreter's lock.
"""

from __future__ import annotations

try:
    import cython
except ModuleNotFoundError:
    from aofnb import _cython as cython

if cython.compiled:
    from cython.cimports.libc.string import memcpy
else:
    from aofnb.forensics._framing import slot_of, word_at

COMPILED = cython.compiled

# Longer names are left to the caller.
NAME_BYTES = 15


def packed(name: bytes, slots: int) -> tuple[int, int, int]:
    """A name of at most `NAME_BYTES` as two numbers, and its place in a table of so many slots, a power of two."""
    low = int.from_bytes(name[:8], "little")
    high = int.from_bytes(name[8:], "little") << 8 | len(name)
    return low, high, slot_of(low, high, slots)


def names(
    data: bytes,
    heads: cython.longlong[::1],
    argc: cython.longlong[::1],
    row: cython.Py_ssize_t,
    lows: cython.ulonglong[::1],
    highs: cython.ulonglong[::1],
    numbers: cython.int[::1],
    codes: cython.int[::1],
) -> int:
    """Which command each row is, from `row` on; the first row whose name is not in the table, or how many there are.

    The table is `lows`, `highs` (as `packed` gives them) and `numbers`, negative in an empty slot. Fills `codes` with
    the number of each, 0 for a row without arguments. `heads` are the places of the headers of the names.
    """
    p: cython.p_const_uchar = data
    rows: cython.Py_ssize_t = len(heads)
    slots: cython.longlong = len(numbers)
    # Up to here eight bytes can be taken, whatever they are.
    whole: cython.Py_ssize_t = len(data) - 8
    at: cython.Py_ssize_t
    header: cython.longlong
    size: cython.longlong
    low: cython.ulonglong
    high: cython.ulonglong
    slot: cython.longlong
    with cython.nogil:
        while row < rows:
            if argc[row] == 0:
                codes[row] = 0
                row += 1
                continue
            header = _header(p, heads[row])
            at = heads[row] + (header & 255)
            size = header >> 8
            if size > 15:
                break
            low = word_at(p, at, min(size, 8), whole)
            high = size
            if size > 8:
                high |= word_at(p, at + 8, size - 8, whole) << 8
            slot = slot_of(low, high, slots)
            while numbers[slot] >= 0 and (lows[slot] != low or highs[slot] != high):
                slot = (slot + 1) & (slots - 1)
            if numbers[slot] < 0:
                break
            codes[row] = numbers[slot]
            row += 1
    return row


def follow(
    data: bytes,
    heads: cython.longlong[::1],
    argc: cython.longlong[::1],
    codes: cython.int[::1],
    state: cython.longlong[::1],
    db: cython.short[::1],
    txn: cython.longlong[::1],
) -> int:
    """Database and transaction of each row, and the row of a MULTI that is still open behind the last, or -1.

    `codes` are 1 for SELECT, 2 for MULTI, 3 for EXEC. `state` is what was before and becomes what is behind: database,
    1 inside MULTI, transactions so far, the highest database selected. Outside transactions `txn` is 0. A transaction
    that was open before began in row 0.
    """
    p: cython.p_const_uchar = data
    row: cython.Py_ssize_t
    at: cython.Py_ssize_t
    i: cython.longlong
    header: cython.longlong
    size: cython.longlong
    number: cython.longlong
    current: cython.short = state[0]
    inside: cython.bint = state[1] != 0
    count: cython.longlong = state[2]
    highest: cython.longlong = state[3]
    shown: cython.longlong = count if inside else 0
    open_at: cython.Py_ssize_t = 0 if inside else -1
    code: cython.int
    with cython.nogil:
        for row in range(len(codes)):
            code = codes[row]
            if 1 <= code <= 3:
                if code == 1 and argc[row] == 2:
                    at = _behind(p, heads[row])
                    header = _header(p, at)
                    at += header & 255
                    size = header >> 8
                    number = 0 if 0 < size <= 5 else -1
                    if number == 0:
                        for i in range(size):
                            if not 48 <= p[at + i] <= 57:
                                number = -1
                                break
                            number = number * 10 + (p[at + i] - 48)
                    if 0 <= number <= 32767:
                        current = number
                        highest = max(highest, number)
                elif code == 2 and not inside:
                    inside = True
                    count += 1
                    shown = count
                    open_at = row
                elif code == 3 and inside:
                    inside = False
                    open_at = -1
            db[row] = current
            txn[row] = shown
            if not inside:
                shown = 0
    state[0] = current
    state[1] = 1 if inside else 0
    state[2] = count
    state[3] = highest
    return open_at


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _behind(p: cython.p_const_uchar, at: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """The place behind the argument whose header is at p[at]."""
    header: cython.longlong = _header(p, at)
    return at + (header & 255) + (header >> 8) + 2


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _header(p: cython.p_const_uchar, at: cython.Py_ssize_t) -> cython.longlong:
    """The number in the header at p[at], shifted by 8, and how many bytes it has."""
    number: cython.longlong = p[at + 1] - 48
    digits: cython.longlong = 1
    while p[at + 1 + digits] != 13:
        number = number * 10 + (p[at + 1 + digits] - 48)
        digits += 1
    return (number << 8) + digits + 3


def keys(
    codes: cython.int[::1],
    argc: cython.longlong[::1],
    first: cython.longlong[::1],
    last: cython.longlong[::1],
    step: cython.longlong[::1],
    start: cython.longlong[::1],
    count: cython.longlong[::1],
) -> None:
    """The first argument that is a key and how many keys there are, by row, of what the table says by command."""
    row: cython.Py_ssize_t
    code: cython.int
    begin: cython.longlong
    end: cython.longlong
    with cython.nogil:
        for row in range(len(codes)):
            code = codes[row]
            begin = first[code]
            end = last[code]
            if end < 0:
                end += argc[row]
            if end > argc[row] - 1:
                end = argc[row] - 1
            start[row] = begin
            count[row] = (end - begin) // step[code] + 1 if 0 < begin <= end else 0


def find(
    data: bytes,
    heads: cython.longlong[::1],
    first: cython.longlong[::1],
    count: cython.longlong[::1],
    step: cython.longlong[::1],
    at: cython.longlong[::1],
    nbytes: cython.longlong[::1],
) -> None:
    """Place and size of `count` arguments of each row, from argument `first` on, every `step`.

    They fill `at` and `nbytes`, one behind the other. Argument 0 is the name. The arguments must be there.
    """
    p: cython.p_const_uchar = data
    row: cython.Py_ssize_t
    pos: cython.Py_ssize_t
    found: cython.Py_ssize_t = 0
    _k: cython.longlong
    n: cython.longlong
    header: cython.longlong
    with cython.nogil:
        for row in range(len(heads)):
            if count[row] <= 0:
                continue
            pos = heads[row]
            for _k in range(first[row]):
                pos = _behind(p, pos)
            for n in range(count[row]):
                if n:
                    for _k in range(step[row] - 1):
                        pos = _behind(p, pos)
                header = _header(p, pos)
                at[found] = pos + (header & 255)
                nbytes[found] = header >> 8
                pos = at[found] + nbytes[found] + 2
                found += 1


def find_one(
    data: bytes,
    heads: cython.longlong[::1],
    nth: cython.longlong[::1],
    there: cython.const_uchar[::1],
    at: cython.longlong[::1],
    nbytes: cython.longlong[::1],
) -> None:
    """Place and size of argument `nth` of each row; nothing, and of no size, in a row where it is not `there`."""
    p: cython.p_const_uchar = data
    row: cython.Py_ssize_t
    pos: cython.Py_ssize_t
    _k: cython.longlong
    header: cython.longlong
    with cython.nogil:
        for row in range(len(heads)):
            at[row] = 0
            nbytes[row] = 0
            if there[row]:
                pos = heads[row]
                for _k in range(nth[row]):
                    pos = _behind(p, pos)
                header = _header(p, pos)
                at[row] = pos + (header & 255)
                nbytes[row] = header >> 8


def gather(
    data: bytes,
    at: cython.longlong[::1],
    nbytes: cython.longlong[::1],
    offsets: cython.int[::1],
    out: cython.uchar[::1],
) -> None:
    """Put pieces of `data` one behind the other into `out`, and where each begins, and the last ends, in `offsets`."""
    p: cython.p_const_uchar = data
    row: cython.Py_ssize_t
    i: cython.longlong
    pos: cython.longlong = 0
    place: cython.longlong
    size: cython.longlong
    # Up to here 16 bytes can be taken, and put.
    last: cython.longlong = len(data) - 16
    last_out: cython.longlong = len(out) - 16
    with cython.nogil:
        for row in range(len(at)):
            offsets[row] = pos
            place = at[row]
            size = nbytes[row]
            if not cython.compiled:
                for i in range(size):
                    out[pos + i] = p[place + i]
            elif size <= 16 and place <= last and pos <= last_out:
                # A copy of a fixed size is one instruction; what is too much of it the next one is written over.
                memcpy(cython.address(out[pos]), p + place, 16)
            else:
                memcpy(cython.address(out[pos]), p + place, size)
            pos += size
        offsets[len(at)] = pos


def hashes(
    data: cython.const_uchar[::1],
    at: cython.longlong[::1],
    nbytes: cython.longlong[::1],
    table: cython.uint[::1],
    out: cython.uint[::1],
) -> None:
    """CRC-32 of each piece of `data`; `table` is that of the polynomial, by byte."""
    row: cython.Py_ssize_t
    i: cython.longlong
    place: cython.longlong
    crc: cython.uint
    # A literal of more than 31 bits would be a Python object.
    ones: cython.uint = 65535
    ones = ones << 16 | 65535
    with cython.nogil:
        for row in range(len(at)):
            crc = ones
            place = at[row]
            for i in range(nbytes[row]):
                crc = table[(crc ^ data[place + i]) & 255] ^ (crc >> 8)
            out[row] = crc ^ ones
