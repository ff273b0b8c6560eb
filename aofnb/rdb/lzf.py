"""LZF: the compression of long strings in snapshots.

A stream of items: runs of up to 32 literal bytes, and copies of 3 to 264 bytes from up to 8192 bytes back.

Redis: lzf_d.c, lzf_c.c (7.0.15).
"""

from __future__ import annotations

from aofnb.errors import RdbError

__all__ = ["MAX_RATIO", "compress", "decompress"]

# Three bytes become 264 at best.
MAX_RATIO = 88
_MAX_LITERALS = 32
_MAX_DISTANCE = 8192
_MAX_COPY = 264


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
    out = bytearray()
    pos = 0
    try:
        while pos < end:
            control = data[pos]
            if control < _MAX_LITERALS:
                stop = pos + control + 2
                if stop > end:
                    raise RdbError("compressed data ends inside a run of literal bytes")
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
                    raise RdbError("compressed data refers to bytes before its beginning")
                if length <= distance:
                    out += out[start : start + length]
                else:
                    # The copy reads what it writes: the last bytes, over and over.
                    out += (out[start:] * (length // distance + 1))[:length]
            if len(out) > size:
                raise RdbError(f"compressed data becomes more than the {size} bytes it declares")
    except IndexError:
        raise RdbError("compressed data ends inside a reference") from None
    if len(out) != size:
        raise RdbError(f"compressed data becomes {len(out)} bytes, not the {size} it declares")
    return bytes(out)


def compress(data: bytes, limit: int) -> bytes | None:
    """`data` in at most `limit` bytes, or None where that cannot be.

    Chooses as redis-server does: the newest place with the same hash of three bytes, or none; after a copy only
    the last two places inside it are remembered. So the same string becomes the same bytes here and there, but
    for what a server may find in a table that it does not clear between strings.
    """
    size = len(data)
    if size == 0 or limit <= 0:
        return None
    newest: dict[int, int] = {}
    # Where the length of the open run of literals goes.
    out = bytearray(1)
    run = pos = 0
    last = size - 2
    while pos < last:
        slot = _slot(data, pos)
        earlier = newest.get(slot, 0)
        newest[slot] = pos
        distance = pos - earlier
        if not (earlier > 0 and distance <= _MAX_DISTANCE and data[earlier : earlier + 3] == data[pos : pos + 3]):
            if len(out) >= limit:
                return None
            out.append(data[pos])
            pos += 1
            run += 1
            if run == _MAX_LITERALS:
                out[-run - 1] = run - 1
                out.append(0)
                run = 0
            continue
        if len(out) - (run == 0) + 4 >= limit:
            return None
        if run:
            out[-run - 1] = run - 1
        else:
            out.pop()
        length = _same(data, earlier, pos)
        high = distance - 1 >> 8
        if length < 9:
            out.append(high + (length - 2 << 5))
        else:
            out.append(high + (7 << 5))
            out.append(length - 9)
        out.append(distance - 1 & 0xFF)
        out.append(0)
        run = 0
        pos += length
        if pos < last:
            newest[_slot(data, pos - 2)] = pos - 2
            newest[_slot(data, pos - 1)] = pos - 1
    if len(out) + 3 > limit:
        return None
    for byte in data[pos:]:
        out.append(byte)
        run += 1
        if run == _MAX_LITERALS:
            out[-run - 1] = run - 1
            out.append(0)
            run = 0
    if run:
        out[-run - 1] = run - 1
    else:
        out.pop()
    return bytes(out)


def _slot(data: bytes, pos: int) -> int:
    """The hash of three bytes, 16 bits wide: what collides in it decides which copies are found."""
    head = data[pos] << 8 | data[pos + 1]
    return head - 5 * (head << 8 | data[pos + 2]) & 0xFFFF


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
