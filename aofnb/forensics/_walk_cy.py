# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Kernel: where the commands of a chunk are, and, where that is asked, where its lines end.

`skip` follows the headers, byte by byte, jumps over the arguments, and stops at the first command that is not in the
form Redis writes or not all there; what that is, the caller finds out (`forensics.scan`). It runs without the
interpreter's lock.
"""

from __future__ import annotations

try:
    import cython
except ModuleNotFoundError:
    from aofnb import _cython as cython

COMPILED = cython.compiled


def skip(
    data: bytes,
    pos: cython.Py_ssize_t,
    start: cython.longlong[::1],
    heads: cython.longlong[::1],
    nbytes: cython.longlong[::1],
    argc: cython.longlong[::1],
    notes: cython.longlong[::1],
) -> tuple[int, int, int]:
    """Follow the commands from data[pos] on: how many commands, how many annotations, and where it stopped.

    The arrays are int64 and are filled from the front: `start`, `nbytes` and `argc` with place, size and number of
    arguments of each command, `heads` with the place of the header of its name, `notes` with (row, start, end) of each
    annotation, which stands before that row; it ends at ``end``, its line end not counted. It stops where an array is
    full, too.
    """
    p: cython.p_const_uchar = data
    size: cython.Py_ssize_t = len(data)
    room: cython.Py_ssize_t = len(start)
    note_room: cython.Py_ssize_t = len(notes) - 2
    rows: cython.Py_ssize_t = 0
    noted: cython.Py_ssize_t = 0
    at: cython.Py_ssize_t
    head: cython.Py_ssize_t
    end: cython.Py_ssize_t
    k: cython.longlong
    count: cython.longlong
    header: cython.longlong
    # The longest annotation, its line end not counted.
    longest: cython.Py_ssize_t = 1021
    with cython.nogil:
        while pos < size:
            if p[pos] == 35:  # #
                end = pos
                while end < size and p[end] != 10 and end - pos <= longest + 1:
                    end += 1
                if end >= size or p[end] != 10 or p[end - 1] != 13 or end - 1 - pos > longest:
                    break
                if noted >= note_room:
                    break
                notes[noted] = rows
                notes[noted + 1] = pos
                notes[noted + 2] = end - 1
                noted += 3
                pos = end + 1
                continue
            header = _header(p, pos, size, 42)  # *
            if header < 256:
                break
            count = header >> 8
            head = at = pos + (header & 255)
            # Six bytes an argument at least.
            if count > (size - at) // 6 or rows >= room:
                break
            k = 0
            while k < count:
                header = _header(p, at, size, 36)  # $
                if header < 0:
                    break
                end = at + (header & 255) + (header >> 8)
                if end > size - 2 or p[end] != 13 or p[end + 1] != 10:
                    break
                at = end + 2
                k += 1
            if k < count:
                break
            start[rows] = pos
            heads[rows] = head
            nbytes[rows] = at - pos
            argc[rows] = count
            rows += 1
            pos = at
    return rows, noted // 3, pos


def lines(
    data: bytes,
    begin: cython.Py_ssize_t,
    start: cython.longlong[::1],
    argc: cython.longlong[::1],
    ends: cython.longlong[::1],
    first: cython.longlong[::1],
) -> int:
    """Where the lines end of commands that `skip` found in `data` from `begin` on; how many lines there are.

    Fills `ends` with where each line ends, annotations included, and `first` with the first line of each command.
    """
    p: cython.p_const_uchar = data
    size: cython.Py_ssize_t = len(data)
    at: cython.Py_ssize_t = begin
    row: cython.Py_ssize_t
    line: cython.Py_ssize_t = 0
    _k: cython.longlong
    header: cython.longlong
    with cython.nogil:
        for row in range(len(start)):
            while at < start[row]:
                while p[at] != 10:
                    at += 1
                ends[line] = at - 1
                line += 1
                at += 1
            first[row] = line
            header = _header(p, at, size, 42)
            at += header & 255
            ends[line] = at - 2
            line += 1
            for _k in range(argc[row]):
                header = _header(p, at, size, 36)
                at += header & 255
                ends[line] = at - 2
                at += header >> 8
                ends[line + 1] = at
                line += 2
                at += 2
    return line


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _header(
    p: cython.p_const_uchar, at: cython.Py_ssize_t, size: cython.Py_ssize_t, kind: cython.uchar
) -> cython.longlong:
    """Header of that kind at p[at]: its number, shifted by 8, and how many bytes it has; negative if there is none."""
    i: cython.Py_ssize_t = at + 1
    number: cython.longlong = 0
    tens: cython.longlong
    ones: cython.longlong
    if at > size - 4 or p[at] != kind:
        return -1
    # Nearly all have one digit or two.
    if at < size - 4 and 48 <= p[i] <= 57:
        ones = p[i] - 48
        if p[at + 2] == 13 and p[at + 3] == 10:
            return (ones << 8) + 4
        tens = ones
        ones = p[at + 2] - 48
        if 0 <= ones <= 9 and p[at + 3] == 13 and p[at + 4] == 10:
            return ((tens * 10 + ones) << 8) + 5
    while i < size and 48 <= p[i] <= 57 and i - at <= 10:
        number = number * 10 + (p[i] - 48)
        i += 1
    if i == at + 1 or i > size - 2 or p[i] != 13 or p[i + 1] != 10:
        return -1
    return (number << 8) + (i + 2 - at)
