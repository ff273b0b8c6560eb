"""LZF: the compression of long strings in snapshots.

A stream of items: runs of up to 32 literal bytes, and copies of 3 to 264 bytes from up to 8192 bytes back.
A compiled kernel goes byte by byte; in Python slices and a dictionary are several times faster than that, so there is
a second form, which tests hold to the first.

Redis: lzf_d.c, lzf_c.c (7.0.15).
"""

from __future__ import annotations

from aofnb.errors import RdbError
from aofnb.rdb import _lzf_cy as kernel

__all__ = ["MAX_RATIO", "compress", "decompress"]

# Three bytes become 264 at best.
MAX_RATIO = 88
_MAX_LITERALS = 32
_MAX_DISTANCE = 8192
_MAX_COPY = 264
_CUT_LITERALS = "compressed data ends inside a run of literal bytes"
_CUT_COPY = "compressed data ends inside a reference"
_BEFORE_BEGINNING = "compressed data refers to bytes before its beginning"
_TOO_MUCH = "compressed data becomes more than the %d bytes it declares"
_PROBLEMS = {
    kernel.CUT_LITERALS: _CUT_LITERALS,
    kernel.CUT_COPY: _CUT_COPY,
    kernel.BEFORE_BEGINNING: _BEFORE_BEGINNING,
}


def decompress(data: bytes, size: int) -> bytes:
    """The `size` bytes that `data` was made of. Memory is bounded by `size`, and `size` by the length of `data`.

    Raises
    ------
    RdbError
        If `data` is damaged or becomes more or fewer bytes than `size`.
    """
    end = len(data)
    if size > MAX_RATIO * end:
        raise RdbError(f"{end} compressed bytes cannot become {size}")
    out, done = _decompress_in_c(data, size) if kernel.COMPILED else _decompress(data, size)
    if done != size:
        raise RdbError(f"compressed data becomes {done} bytes, not the {size} it declares")
    return bytes(out)


def _decompress_in_c(data: bytes, size: int) -> tuple[bytearray, int]:
    out = bytearray(size)
    done = kernel.decompress(data, out)
    if done < 0:
        raise RdbError(_PROBLEMS.get(done, _TOO_MUCH % size))
    return out, done


def _decompress(data: bytes, size: int) -> tuple[bytearray, int]:
    end = len(data)
    out = bytearray()
    pos = 0
    try:
        while pos < end:
            control = data[pos]
            if control < _MAX_LITERALS:
                stop = pos + control + 2
                if stop > end:
                    raise RdbError(_CUT_LITERALS)
                out += data[pos + 1 : stop]
                pos = stop
            else:
                length = (control >> 5) + 2
                if length == 9:
                    pos += 1
                    length += data[pos]
                distance = ((control & 31) << 8) + data[pos + 1] + 1
                pos += 2
                start = len(out) - distance
                if start < 0:
                    raise RdbError(_BEFORE_BEGINNING)
                if length <= distance:
                    out += out[start : start + length]
                else:
                    # The copy reads what it writes: the last bytes, over and over.
                    out += (out[start:] * (length // distance + 1))[:length]
            if len(out) > size:
                raise RdbError(_TOO_MUCH % size)
    except IndexError:
        raise RdbError(_CUT_COPY) from None
    return out, len(out)


def compress(data: bytes, limit: int) -> bytes | None:
    """`data` in at most `limit` bytes, or None where that cannot be.

    Chooses as redis-server does: the newest place with the same hash of three bytes, or none; after a copy only
    the last two places inside it are remembered. So the same string becomes the same bytes here and there, but
    for what a server may find in a table that it does not clear between strings.
    """
    if not kernel.COMPILED:
        return _compress(data, limit)
    room = bytearray(max(0, limit))
    size = kernel.compress(data, room)
    return None if size < 0 else bytes(room[:size])


def _compress(data: bytes, limit: int) -> bytes | None:
    size = len(data)
    last = size - 2
    newest: dict[int, int] = {}
    out = bytearray()
    # Literals from here to `pos` are not in `out` yet.
    start = pos = 0
    while pos < last:
        # The hash of three bytes: what collides in its 16 bits decides which copies are found.
        slot = ((data[pos] << 8) - 1279 * data[pos + 1] - 5 * data[pos + 2]) & 0xFFFF
        earlier = newest.get(slot)
        newest[slot] = pos
        # The very first place counts as none.
        if not earlier or pos - earlier > _MAX_DISTANCE or data[earlier : earlier + 3] != data[pos : pos + 3]:
            pos += 1
            continue
        if _room_for_literals(pos - start) + len(out) + 4 >= limit:
            return None
        _add_literals(out, data, start, pos)
        length = _same(data, earlier, pos)
        high = pos - earlier - 1 >> 8
        if length < 9:
            out.append(high + (length - 2 << 5))
        else:
            out.append(high + (7 << 5))
            out.append(length - 9)
        out.append(pos - earlier - 1 & 0xFF)
        start = pos = pos + length
        if pos < last:
            for at in (pos - 2, pos - 1):
                newest[((data[at] << 8) - 1279 * data[at + 1] - 5 * data[at + 2]) & 0xFFFF] = at
    # Counted with a run begun, as on the server.
    literals = pos - start
    if len(out) + literals + literals // _MAX_LITERALS + 1 + 3 > limit:
        return None
    _add_literals(out, data, start, size)
    return bytes(out)


def _room_for_literals(count: int) -> int:
    return count + -(-count // _MAX_LITERALS)


def _add_literals(out: bytearray, data: bytes, start: int, end: int) -> None:
    for at in range(start, end, _MAX_LITERALS):
        run = data[at : min(at + _MAX_LITERALS, end)]
        out.append(len(run) - 1)
        out += run


def _same(data: bytes, earlier: int, pos: int) -> int:
    """How many bytes at both places are the same, as far as redis-server looks: often not to the very end."""
    most = min(len(data) - pos - 2, _MAX_COPY)
    most = max(most, 19 if most > 16 else 3)
    if data[earlier : earlier + most] == data[pos : pos + most]:
        return most
    length = 3
    while data[earlier + length] == data[pos + length]:
        length += 1
    return length
