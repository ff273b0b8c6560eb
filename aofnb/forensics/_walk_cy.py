# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Kernel: where the commands of a chunk are, and, where that is asked, where its lines end.

`skip` follows the headers, byte by byte, jumps over the arguments, and stops at the first command that is not in the
form Redis writes or not all there; what that is, the caller finds out (`forensics.scan`). `survey` does the same for
who only wants to know where reading can begin, and writes nothing down of each command. All of it runs without the
interpreter's lock.
"""

from __future__ import annotations

try:
    import cython
except ModuleNotFoundError:
    from aofnb import _cython as cython

if not cython.compiled:
    from aofnb.forensics._framing import annotation_end, database_at, header_at, seconds_at

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
    with cython.nogil:
        while pos < size:
            if p[pos] == 35:  # #
                end = annotation_end(p, pos, size)
                if end < 0 or noted >= note_room:
                    break
                notes[noted] = rows
                notes[noted + 1] = pos
                notes[noted + 2] = end
                noted += 3
                pos = end + 2
                continue
            header = header_at(p, pos, size, 42)  # *
            if header < 256:
                break
            count = header >> 8
            head = at = pos + (header & 255)
            # Six bytes an argument at least.
            if count > (size - at) // 6 or rows >= room:
                break
            k = 0
            while k < count:
                header = header_at(p, at, size, 36)  # $
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
            header = header_at(p, at, size, 42)
            at += header & 255
            ends[line] = at - 2
            line += 1
            for _k in range(argc[row]):
                header = header_at(p, at, size, 36)
                at += header & 255
                ends[line] = at - 2
                at += header >> 8
                ends[line + 1] = at
                line += 2
                at += 2
    return line


def survey(
    data: bytes,
    pos: cython.Py_ssize_t,
    state: cython.longlong[::1],
    flushes: cython.longlong[::1],
) -> tuple[int, int, int]:
    """Follow the commands as `skip` does and only keep count: where the last one ends, where it stopped, and how many
    FLUSHALL, FLUSHDB and SWAPDB were outside transactions.

    `state` is what was before and becomes what is behind: commands, database, transactions so far, seconds of the last
    ``#TS``, highest database selected, 1 inside MULTI, and the place of the MULTI, if it is another one that is open.
    Of each command that is counted four numbers go into `flushes`, in place of the oldest where there are too many:
    its place, and commands, database and seconds before it.
    """
    p: cython.p_const_uchar = data
    size: cython.Py_ssize_t = len(data)
    room: cython.Py_ssize_t = len(flushes) // 4
    flushed: cython.Py_ssize_t = 0
    slot: cython.Py_ssize_t
    behind: cython.Py_ssize_t = pos
    rows: cython.longlong = state[0]
    db: cython.longlong = state[1]
    inside: cython.bint = state[5] != 0
    at: cython.Py_ssize_t
    name: cython.Py_ssize_t
    end: cython.Py_ssize_t
    letters: cython.longlong
    count: cython.longlong
    header: cython.longlong
    number: cython.longlong
    kind: cython.int
    # How names that count begin, a byte for each length modulo 8: f of flushall, nothing for 1 to 3, then e of exec,
    # m of multi, s of select and swapdb, f of flushdb. In two halves, as no literal may have more than 31 bits.
    initials: cython.ulonglong = 1718840677
    initials = initials << 32 | 102
    with cython.nogil:
        while pos < size:
            if p[pos] == 35:  # #
                end = annotation_end(p, pos, size)
                if end < 0:
                    break
                number = seconds_at(p, pos, end)
                if number >= 0:
                    state[3] = number
                pos = end + 2
                continue
            header = header_at(p, pos, size, 42)  # *
            if header < 256:
                break
            count = header >> 8
            at = pos + (header & 255)
            # Six bytes an argument at least.
            if count > (size - at) // 6:
                break
            header = header_at(p, at, size, 36)  # $
            name = at + (header & 255)
            letters = header >> 8
            while header >= 0:
                end = at + (header & 255) + (header >> 8)
                if end > size - 2 or p[end] != 13 or p[end + 1] != 10:
                    break
                at = end + 2
                count -= 1
                if count == 0:
                    break
                header = header_at(p, at, size, 36)
            if count > 0:
                break
            # No processor can guess how long the next name is, so nothing is asked of it that depends on that alone.
            kind = 0
            if p[name] | 32 == (initials >> ((letters & 7) << 3)) & 255:
                kind = _kind(p, name, letters)
            if kind == 0:
                pass
            elif kind == 1:
                number = database_at(p, name + letters + 2, at)
                if number >= 0:
                    db = number
                    state[4] = max(state[4], number)
            elif kind == 2:
                if not inside:
                    inside = True
                    state[2] += 1
                    state[6] = pos
            elif kind == 3:
                inside = False
            elif not inside:
                slot = flushed % room * 4
                flushes[slot] = pos
                flushes[slot + 1] = rows
                flushes[slot + 2] = db
                flushes[slot + 3] = state[3]
                flushed += 1
            rows += 1
            behind = pos = at
    state[0] = rows
    state[1] = db
    state[5] = 1 if inside else 0
    return behind, pos, flushed


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _kind(p: cython.p_const_uchar, at: cython.Py_ssize_t, size: cython.longlong) -> cython.int:
    """What the command of that name is: 1 SELECT, 2 MULTI, 3 EXEC, 4 one that empties or swaps databases, else 0."""
    if size == 4:
        return 3 if _spells(p, at, b"exec", size) else 0
    if size == 5:
        return 2 if _spells(p, at, b"multi", size) else 0
    if size == 6:
        return 1 if _spells(p, at, b"select", size) else 4 if _spells(p, at, b"swapdb", size) else 0
    if size == 7:
        return 4 if _spells(p, at, b"flushdb", size) else 0
    if size == 8:
        return 4 if _spells(p, at, b"flushall", size) else 0
    return 0


@cython.cfunc
@cython.inline
@cython.nogil
@cython.exceptval(check=False)
def _spells(
    p: cython.p_const_uchar, at: cython.Py_ssize_t, word: cython.p_const_uchar, size: cython.longlong
) -> cython.bint:
    """Whether these letters are at p[at], capital or not."""
    i: cython.longlong = 0
    while i < size and p[at + i] | 32 == word[i]:
        i += 1
    return i == size
