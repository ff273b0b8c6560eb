# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Kernel: where the commands of a chunk are, and where its lines end.

It follows the headers, byte by byte, and stops at the first command that is not in the form Redis writes or not all
there; what that is, the caller finds out (`forensics.scan`).
"""

from __future__ import annotations

from typing import Any

try:
    import cython
except ModuleNotFoundError:
    from aofnb import _cython as cython

COMPILED = cython.compiled

# The longest annotation, its line end not counted.
_NOTE_BYTES = 1021


def walk(
    data: bytes,
    pos: cython.Py_ssize_t,
    ends: cython.longlong[::1],
    first: cython.longlong[::1],
    argc: cython.longlong[::1],
    offset: cython.longlong[::1],
    notes: list[tuple[int, int, int]],
) -> tuple[Any, ...]:
    """Follow the commands from data[pos] on: how many commands, how many lines, and where it stopped.

    The arrays are int64 and are filled from the front: `ends` with where each line ends; `first`, `argc` and `offset`
    with the first line of each command, its number of arguments and its place in `data`. Room for a line in 3 bytes
    and a command in 10 is enough. `notes` gets (row, start, end) of each annotation, which stands before that row.
    """
    p: cython.p_const_uchar = data
    size: cython.Py_ssize_t = len(data)
    rows: cython.Py_ssize_t = 0
    lines: cython.Py_ssize_t = 0
    line: cython.Py_ssize_t
    at: cython.Py_ssize_t
    end: cython.Py_ssize_t
    k: cython.longlong
    count: cython.longlong
    header: cython.longlong
    while pos < size:
        if p[pos] == 35:  # #
            end = pos
            while end < size and p[end] != 10 and end - pos <= _NOTE_BYTES + 1:
                end += 1
            if end >= size or p[end] != 10 or p[end - 1] != 13 or end - 1 - pos > _NOTE_BYTES:
                break
            notes.append((rows, pos, end - 1))
            ends[lines] = end - 1
            lines += 1
            pos = end + 1
            continue
        header = _header(p, pos, size, 42)  # *
        if header < 256:
            break
        count = header >> 8
        at = pos + (header & 255)
        # Six bytes an argument at least.
        if count > (size - at) // 6:
            break
        line = lines
        ends[line] = at - 2
        line += 1
        k = 0
        while k < count:
            header = _header(p, at, size, 36)  # $
            if header < 0:
                break
            at += header & 255
            end = at + (header >> 8)
            if end > size - 2 or p[end] != 13 or p[end + 1] != 10:
                break
            ends[line] = at - 2
            ends[line + 1] = end
            line += 2
            at = end + 2
            k += 1
        if k < count:
            break
        first[rows] = lines
        argc[rows] = count
        offset[rows] = pos
        rows += 1
        lines = line
        pos = at
    return rows, lines, pos


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _header(
    p: cython.p_const_uchar, at: cython.Py_ssize_t, size: cython.Py_ssize_t, kind: cython.uchar
) -> cython.longlong:
    """Header of that kind at p[at]: its number, shifted by 8, and how many bytes it has; negative if there is none."""
    i: cython.Py_ssize_t = at + 1
    number: cython.longlong = 0
    if at > size - 4 or p[at] != kind:
        return -1
    while i < size and 48 <= p[i] <= 57 and i - at <= 10:
        number = number * 10 + (p[i] - 48)
        i += 1
    if i == at + 1 or i > size - 2 or p[i] != 13 or p[i + 1] != 10:
        return -1
    return (number << 8) + (i + 2 - at)
