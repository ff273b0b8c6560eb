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

COMPILED = cython.compiled

# Names repeat: so many are kept, and given out again instead of new objects, whose hash each look-up would compute.
_NAMES = 64


def plain(data: bytes, pos: cython.Py_ssize_t, argvs: list[list[bytes]]) -> cython.Py_ssize_t:
    r"""Append the records that begin at data[pos] to `argvs`; where the first one begins that was not taken.

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
    while pos < size:
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
    return pos


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
