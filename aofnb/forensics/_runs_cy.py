# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Kernel: where the runs of a text are that have pseudonyms, and its short numbers as numbers.

What a run is, `forensics.pseudonym` says, and what is done with it. All of it runs without the interpreter's lock.
"""

from __future__ import annotations

try:
    import cython
except ModuleNotFoundError:
    from aofnb import _cython as cython

COMPILED = cython.compiled


def runs(
    data: cython.const_uchar[::1],
    table: cython.const_uchar[::1],
    starts: cython.longlong[::1],
    stops: cython.longlong[::1],
    kinds: cython.uchar[::1],
) -> int:
    """Where the runs of `data` start and stop, and their kinds; how many there are.

    `table` is the kind of each byte: 0 for those in no run, 1 for digits, 2 for letters, 3 for those beyond ASCII, and
    8 more for those that are hexadecimal. A number with hexadecimal letters, of 8 bytes or more, is one run of kind 4;
    a group of a UUID is one of kind 7.
    """
    at: cython.longlong = 0
    end: cython.longlong = len(data)
    start: cython.longlong
    count: cython.Py_ssize_t = 0
    kind: cython.int
    met: cython.int
    # Of a UUID: how many groups there were just before, and the number of the first run in them.
    group: cython.int = 0
    first: cython.Py_ssize_t = 0
    before: cython.longlong = -2
    is_hex: cython.bint
    with cython.nogil:
        while at < end:
            kind = table[data[at]] & 7
            if kind == 0:
                at += 1
                continue
            start = at
            if kind == 3:
                while at < end and table[data[at]] & 7 == 3:
                    at += 1
                count = _put(starts, stops, kinds, count, start, at, 3)
                group = 0
                continue
            met = 0
            is_hex = True
            while at < end:
                kind = table[data[at]]
                if kind & 7 == 0 or kind & 7 == 3:
                    break
                met |= kind & 7
                is_hex = is_hex and kind & 8 != 0
                at += 1
            if not is_hex or start != before + 1 or data[before] != 45 or at - start != _group_size(group):
                group = 0
            if group == 0:
                first = count
            if is_hex and at - start == _group_size(group):
                group += 1
            before = at
            if met != 3:
                count = _put(starts, stops, kinds, count, start, at, met)
            elif is_hex and at - start >= 8:
                count = _put(starts, stops, kinds, count, start, at, 4)
            else:
                count = _split(data, table, starts, stops, kinds, count, start, at)
            if group == 5:
                # It ends here, and there are four dashes in it.
                count = first
                start = at - 36
                while start < at:
                    group -= 1
                    before = start + _group_size(4 - group)
                    count = _put(starts, stops, kinds, count, start, before, 7)
                    start = before + 1
                group = 0
    return count


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _group_size(group: cython.int) -> cython.longlong:
    return 8 if group == 0 else 12 if group == 4 else 4


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _put(
    starts: cython.longlong[::1],
    stops: cython.longlong[::1],
    kinds: cython.uchar[::1],
    count: cython.Py_ssize_t,
    start: cython.longlong,
    stop: cython.longlong,
    kind: cython.int,
) -> cython.Py_ssize_t:
    starts[count] = start
    stops[count] = stop
    kinds[count] = kind
    return count + 1


@cython.cfunc
@cython.nogil
@cython.exceptval(check=False)
def _split(
    data: cython.const_uchar[::1],
    table: cython.const_uchar[::1],
    starts: cython.longlong[::1],
    stops: cython.longlong[::1],
    kinds: cython.uchar[::1],
    count: cython.Py_ssize_t,
    at: cython.longlong,
    end: cython.longlong,
) -> cython.Py_ssize_t:
    """The runs of digits and of letters in one token."""
    start: cython.longlong
    kind: cython.int
    while at < end:
        start = at
        kind = table[data[at]] & 7
        while at < end and table[data[at]] & 7 == kind:
            at += 1
        count = _put(starts, stops, kinds, count, start, at, kind)
    return count


def read(
    data: cython.const_uchar[::1],
    starts: cython.longlong[::1],
    stops: cython.longlong[::1],
    numbers: cython.uint[::1],
) -> None:
    """The numbers that stand there, each with a 1 in front, in at most nine digits."""
    row: cython.Py_ssize_t
    at: cython.longlong
    number: cython.uint
    with cython.nogil:
        for row in range(len(starts)):
            number = 1
            for at in range(starts[row], stops[row]):
                number = number * 10 + (data[at] - 48)
            numbers[row] = number


def write(data: cython.uchar[::1], stops: cython.longlong[::1], numbers: cython.uint[::1]) -> None:
    """Put numbers where `read` finds them."""
    row: cython.Py_ssize_t
    at: cython.longlong
    number: cython.uint
    with cython.nogil:
        for row in range(len(stops)):
            number = numbers[row]
            at = stops[row]
            while number >= 10:
                at -= 1
                data[at] = 48 + number % 10
                number //= 10


def put(
    data: cython.uchar[::1],
    starts: cython.longlong[::1],
    stops: cython.longlong[::1],
    text: cython.const_uchar[::1],
) -> None:
    """Put what stands in `text`, one behind the other, to where runs start and stop."""
    row: cython.Py_ssize_t
    at: cython.longlong
    place: cython.Py_ssize_t = 0
    with cython.nogil:
        for row in range(len(starts)):
            for at in range(starts[row], stops[row]):
                data[at] = text[place]
                place += 1
