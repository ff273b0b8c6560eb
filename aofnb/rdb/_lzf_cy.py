# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Kernel: LZF, byte by byte. What is compressed and refused is decided in `lzf`, whose words errors have.

Redis: lzf_d.c, lzf_c.c (7.0.15).
"""

from __future__ import annotations

try:
    import cython
except ModuleNotFoundError:
    from aofnb import _cython as cython

COMPILED = cython.compiled

# What `decompress` says instead of a size.
CUT_LITERALS, CUT_COPY, BEFORE_BEGINNING, TOO_MUCH = -1, -2, -3, -4


def decompress(data: bytes, out: bytearray) -> cython.Py_ssize_t:
    r"""Decompress `data` to the front of `out`; how many bytes came out, or what is wrong: one of the above.

    >>> out = bytearray(21)
    >>> decompress(b"\x01aa\xe0\n\x00", out), bytes(out) == b"a" * 21
    (21, True)
    """
    p: cython.p_const_uchar = data
    q: cython.p_uchar = out
    size: cython.Py_ssize_t = len(data)
    room: cython.Py_ssize_t = len(out)
    at: cython.Py_ssize_t = 0
    done: cython.Py_ssize_t = 0
    length: cython.Py_ssize_t
    earlier: cython.Py_ssize_t
    i: cython.Py_ssize_t
    control: cython.int
    while at < size:
        control = p[at]
        at += 1
        if control < 32:
            length = control + 1
            if at + length > size:
                return CUT_LITERALS
            if done + length > room:
                return TOO_MUCH
            for i in range(length):
                q[done + i] = p[at + i]
            at += length
        else:
            length = (control >> 5) + 2
            if length == 9:
                if at == size:
                    return CUT_COPY
                length += p[at]
                at += 1
            if at == size:
                return CUT_COPY
            earlier = done - (((control & 31) << 8) + p[at] + 1)
            at += 1
            if earlier < 0:
                return BEFORE_BEGINNING
            if done + length > room:
                return TOO_MUCH
            # One by one: the copy may read what it writes.
            for i in range(length):
                q[done + i] = q[earlier + i]
        done += length
    return done


def compress(data: bytes, out: bytearray) -> cython.Py_ssize_t:
    r"""Compress `data` to the front of `out`; how many bytes it took, -1 if there was not enough room.

    >>> out = bytearray(17)
    >>> size = compress(b"a" * 21, out)
    >>> bytes(out[:size])
    b'\x01aa\xe0\n\x00'
    """
    p: cython.p_const_uchar = data
    q: cython.p_uchar = out
    size: cython.Py_ssize_t = len(data)
    room: cython.Py_ssize_t = len(out)
    last: cython.Py_ssize_t = size - 2
    # Places in earlier strings lie before `base`, so that nothing need be cleared.
    base: cython.longlong = NEWEST[SLOTS]
    # Literals from `start` on are not in `out` yet.
    start: cython.Py_ssize_t = 0
    pos: cython.Py_ssize_t = 0
    done: cython.Py_ssize_t = 0
    earlier: cython.Py_ssize_t
    length: cython.Py_ssize_t
    most: cython.Py_ssize_t
    literals: cython.Py_ssize_t
    slot: cython.int
    at: cython.Py_ssize_t
    NEWEST[SLOTS] = base + size
    while pos < last:
        slot = _slot(p[pos], p[pos + 1], p[pos + 2])
        earlier = NEWEST[slot] - base
        NEWEST[slot] = base + pos
        # The very first place counts as none.
        if (
            earlier <= 0
            or pos - earlier > 8192
            or p[earlier] != p[pos]
            or p[earlier + 1] != p[pos + 1]
            or p[earlier + 2] != p[pos + 2]
        ):
            pos += 1
            continue
        literals = pos - start
        if literals + (literals + 31) // 32 + done + 4 >= room:
            return -1
        done = _literals(p, start, pos, q, done)
        # How many bytes are the same, as far as redis-server looks: often not to the very end.
        most = min(size - pos - 2, 264)
        most = max(most, 19 if most > 16 else 3)
        length = 3
        while length < most and p[earlier + length] == p[pos + length]:
            length += 1
        if length < 9:
            q[done] = ((pos - earlier - 1) >> 8) + ((length - 2) << 5)
        else:
            q[done] = ((pos - earlier - 1) >> 8) + (7 << 5)
            done += 1
            q[done] = length - 9
        q[done + 1] = (pos - earlier - 1) & 0xFF
        done += 2
        start = pos = pos + length
        if pos < last:
            for at in range(pos - 2, pos):
                NEWEST[_slot(p[at], p[at + 1], p[at + 2])] = base + at
    # Counted with a run begun, as on the server.
    literals = pos - start
    if done + literals + literals // 32 + 1 + 3 > room:
        return -1
    return _literals(p, start, size, q, done)


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _slot(a: cython.int, b: cython.int, c: cython.int) -> cython.int:
    """The hash of three bytes: what collides in its 16 bits decides which copies are found."""
    return ((a << 8) - 1279 * b - 5 * c) & 0xFFFF


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _literals(
    p: cython.p_const_uchar,
    start: cython.Py_ssize_t,
    end: cython.Py_ssize_t,
    q: cython.p_uchar,
    done: cython.Py_ssize_t,
) -> cython.Py_ssize_t:
    """Put p[start:end] to q[done], in runs; where they end."""
    length: cython.Py_ssize_t
    i: cython.Py_ssize_t
    while start < end:
        length = min(end - start, 32)
        q[done] = length - 1
        for i in range(length):
            q[done + 1 + i] = p[start + i]
        start += length
        done += 1 + length
    return done


if not cython.compiled:
    SLOTS = 65536
    NEWEST = [0] * (SLOTS + 1)
# So that nothing was anywhere before the first string.
NEWEST[SLOTS] = 1
