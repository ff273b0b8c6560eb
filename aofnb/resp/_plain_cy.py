# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Kernel: plain records of a log to argument vectors, byte by byte.

Plain is what Redis writes: ``*`` and ``$`` headers with numbers in their shortest spelling, CRLF behind each line and
each argument. No policy here: whatever is not plain, or not all there, is left to the caller (`resp.reader`).
"""

from __future__ import annotations

try:
    import cython
except ModuleNotFoundError:
    from aofnb import _cython as cython

if cython.compiled:
    from cython.cimports.cpython.bytes import PyBytes_AS_STRING

COMPILED = cython.compiled

# Longer lines are looked at by the caller.
LONGEST_LINE: cython.Py_ssize_t = 1000
# Names repeat: so many are kept, and given out again instead of new objects, whose hash each look-up would compute.
_NAMES = 64


def plain(
    data: bytes, pos: cython.Py_ssize_t, argvs: list[list[bytes]], most: cython.Py_ssize_t = -1
) -> cython.Py_ssize_t:
    r"""Append the records that begin at data[pos] to `argvs`, up to `most` if that is no negative number.

    Returns where the first one begins that was not taken.

    >>> argvs = []
    >>> plain(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*1\r\n$4\r\nPI", 0, argvs), argvs
    (20, [[b'GET', b'k']])
    """
    p: cython.p_const_uchar = data
    size: cython.Py_ssize_t = len(data)
    at: cython.Py_ssize_t
    end: cython.Py_ssize_t
    argc: cython.Py_ssize_t
    k: cython.Py_ssize_t
    header: cython.longlong
    argv: list[bytes]
    names: list[bytes] = [b""] * _NAMES
    while pos < size and most != 0:
        header = _header(p, pos, size, 42)  # *
        at = pos + (header & 255)
        argc = header >> 8
        # Nothing is allocated for arguments that the data cannot hold: each takes six bytes at least.
        if argc < 1 or argc > (size - at) // 6:
            return pos
        argv = [b""] * argc
        for k in range(argc):
            header = argument_at(p, at, size)
            if header < 0:
                return pos
            at += header & 255
            end = at + (header >> 8)
            argv[k] = p[at:end] if k else _name(p, at, end, names)
            at = end + 2
        argvs.append(argv)
        pos = at
        most -= 1
    return pos


def records(
    data: bytes, places: cython.int[::1], starts: cython.int[::1], annotations: list[tuple[int, bytes]]
) -> tuple[int, int]:
    r"""Find the plain records that the data begins with, up to a MULTI or EXEC; how many, and where the last one ends.

    Of each argument, two places: where it begins and ends. Of each record, where in `places` its first one is; behind
    the last record, where the next one would be. What has no room is left. Of the annotations among them, where each
    begins and its text. The data must be shorter than 2 GiB.

    >>> from array import array
    >>> places, starts, annotations = array("i", bytes(32)), array("i", bytes(32)), []
    >>> records(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n#TS:1\r\n*1\r\n$4\r\nPING\r\n", places, starts, annotations)
    (2, 41)
    >>> places[:6].tolist(), starts[:3].tolist(), annotations
    ([8, 11, 17, 18, 35, 39], [0, 4, 6], [(20, b'#TS:1')])
    """
    p: cython.p_const_uchar = data
    size: cython.Py_ssize_t = len(data)
    room: cython.Py_ssize_t = len(places)
    most: cython.Py_ssize_t = len(starts) - 1
    count: cython.Py_ssize_t = 0
    pos: cython.Py_ssize_t = 0
    first: cython.Py_ssize_t = 0
    at: cython.Py_ssize_t
    end: cython.Py_ssize_t
    argc: cython.Py_ssize_t
    k: cython.Py_ssize_t
    header: cython.longlong
    starts[0] = 0
    while pos < size and count < most:
        if p[pos] == 35:  # #
            end = _annotation_end(p, pos, size)
            if end < 0:
                break
            annotations.append((pos, p[pos:end]))
            pos = end + 2
            continue
        header = _header(p, pos, size, 42)  # *
        at = pos + (header & 255)
        argc = header >> 8
        if argc < 1 or argc > (room - first) // 2:
            break
        for k in range(argc):
            header = argument_at(p, at, size)
            if header < 0:
                break
            at += header & 255
            end = at + (header >> 8)
            places[first + 2 * k] = at
            places[first + 2 * k + 1] = end
            at = end + 2
        if header < 0 or _is_border(p, places[first], places[first + 1]):
            break
        first += 2 * argc
        count += 1
        starts[count] = first
        pos = at
    return count, pos


def argvs_of(data: bytes, places: bytes, starts: bytes) -> list[list[bytes]]:
    """The records that `records` found, if `places` and `starts` have just as many."""
    p: cython.p_const_uchar = data
    at: cython.p_int
    first: cython.p_int
    names: list[bytes] = [b""] * _NAMES
    argvs: list[list[bytes]] = []
    argv: list[bytes]
    argc: cython.Py_ssize_t
    i: cython.Py_ssize_t
    k: cython.Py_ssize_t
    j: cython.Py_ssize_t = 0
    if cython.compiled:
        at = cython.cast(cython.p_int, PyBytes_AS_STRING(places))
        first = cython.cast(cython.p_int, PyBytes_AS_STRING(starts))
    else:
        at, first = memoryview(places).cast("i"), memoryview(starts).cast("i")
    for i in range(len(starts) // 4 - 1):
        argc = (first[i + 1] - first[i]) // 2
        argv = [b""] * argc
        for k in range(argc):
            argv[k] = p[at[j] : at[j + 1]] if k else _name(p, at[j], at[j + 1], names)
            j += 2
        argvs.append(argv)
    return argvs


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _annotation_end(p: cython.p_const_uchar, at: cython.Py_ssize_t, size: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """Where the CRLF of the line at p[at] is; negative if it has none soon, and for a line that is not plain."""
    end: cython.Py_ssize_t = min(size - 1, at + LONGEST_LINE)
    i: cython.Py_ssize_t
    for i in range(at, end):
        if p[i] < 32:
            return i if p[i] == 13 and p[i + 1] == 10 else -1
    return -1


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _is_border(p: cython.p_const_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.bint:
    """Whether p[at:end] is the name of a command that begins or ends a transaction, in any spelling."""
    i: cython.Py_ssize_t
    name: cython.p_const_uchar = b"multi" if end - at == 5 else b"exec"
    if end - at != 5 and end - at != 4:
        return False
    for i in range(end - at):  # noqa: SIM110  # in C a loop, where any() would be a generator
        if p[at + i] | 32 != name[i]:
            return False
    return True


def sets(data: bytes, places: cython.int[::1]) -> cython.Py_ssize_t:
    r"""Find the plain ``SET key value`` that the data begins with; how many, but for what `places` has no room for.

    Of each, four places: where the key begins and ends, and the value. So the last of all is two bytes before where
    the last SET ends. The data must be shorter than 2 GiB.

    >>> from array import array
    >>> places = array("i", bytes(32))
    >>> sets(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n*1\r\n$4\r\nPING\r\n", places), places[:4].tolist()
    (1, [17, 18, 24, 25])
    """
    p: cython.p_const_uchar = data
    size: cython.Py_ssize_t = len(data)
    head: cython.p_const_uchar = b"*3\r\n$3\r\nSET\r\n"
    room: cython.Py_ssize_t = len(places) // 4
    count: cython.Py_ssize_t = 0
    pos: cython.Py_ssize_t = 0
    at: cython.Py_ssize_t
    key: cython.Py_ssize_t
    key_end: cython.Py_ssize_t
    end: cython.Py_ssize_t
    i: cython.Py_ssize_t
    header: cython.longlong
    while count < room and pos <= size - 13:
        for i in range(13):
            if p[pos + i] != head[i]:
                return count
        at = pos + 13
        header = argument_at(p, at, size)
        if header < 0:
            return count
        key = at + (header & 255)
        key_end = key + (header >> 8)
        at = key_end + 2
        header = argument_at(p, at, size)
        if header < 0:
            return count
        at += header & 255
        end = at + (header >> 8)
        places[4 * count] = key
        places[4 * count + 1] = key_end
        places[4 * count + 2] = at
        places[4 * count + 3] = end
        count += 1
        pos = end + 2
    return count


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _header(
    p: cython.p_const_uchar, at: cython.Py_ssize_t, size: cython.Py_ssize_t, kind: cython.uchar
) -> cython.longlong:
    """Header of that kind at p[at]: its number, shifted by 8, and how many bytes it has; negative if there is none."""
    i: cython.Py_ssize_t = at + 2
    number: cython.longlong
    if at > size - 4 or p[at] != kind or p[at + 1] < 48 or p[at + 1] > 57:
        return -1
    number = p[at + 1] - 48
    # No zeros in front. Ten digits are more than any buffer has bytes.
    while number and i < size and 48 <= p[i] <= 57 and i - at <= 10:
        number = number * 10 + (p[i] - 48)
        i += 1
    if i > size - 2 or p[i] != 13 or p[i + 1] != 10:
        return -1
    return (number << 8) + (i + 2 - at)


@cython.ccall
@cython.exceptval(check=False)
def argument_at(p: cython.p_const_uchar, at: cython.Py_ssize_t, size: cython.Py_ssize_t) -> cython.longlong:
    """As `_header`, of the argument at p[at]; negative if that is not all there."""
    header: cython.longlong = _header(p, at, size, 36)  # $
    end: cython.Py_ssize_t
    if header < 0:
        return -1
    end = at + (header & 255) + (header >> 8)
    return header if end <= size - 2 and p[end] == 13 and p[end + 1] == 10 else -1


@cython.cfunc
@cython.inline
def _name(p: cython.p_const_uchar, at: cython.Py_ssize_t, end: cython.Py_ssize_t, names: list[bytes]) -> bytes:
    """The bytes p[at:end], as the same object as last time if that is remembered."""
    place: cython.Py_ssize_t
    i: cython.Py_ssize_t
    known: bytes
    q: cython.p_const_uchar
    if at == end:
        return b""
    place = (p[at] + 5 * p[end - 1] + 11 * (end - at)) % _NAMES
    known = names[place]
    if len(known) == end - at:
        q = known
        for i in range(end - at):
            if q[i] != p[at + i]:
                break
        else:
            return known
    known = p[at:end]
    names[place] = known
    return known
