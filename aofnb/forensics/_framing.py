"""What kernels find at a place of a log: headers, annotations and names (`_framing.pxd`).

These are the same functions for kernels that run as Python; there the bytes are an object, and `size` is where to stop.
"""

from __future__ import annotations

import re

__all__ = ["annotation_end", "database_at", "header_at", "seconds_at", "slot_of", "word_at"]

_HEADER = re.compile(rb"[*$]([0-9]{1,10})\r\n")
_NOTE = re.compile(rb"[^\n]{0,1020}\r\n")
_SECONDS = re.compile(rb"#TS:([0-9]{1,12})")
_LATEST_S = 253_402_300_799


def header_at(p: bytes, at: int, size: int, kind: int) -> int:
    """Header of that kind at p[at]: its number, shifted by 8, and how many bytes it has; negative if there is none."""
    found = _HEADER.match(p, at, size)
    if found is None or p[at] != kind:
        return -1
    return (int(found[1]) << 8) + found.end() - at


def annotation_end(p: bytes, pos: int, size: int) -> int:
    """The end of the annotation that begins at p[pos], its line end not counted; negative if it is not in order."""
    found = _NOTE.match(p, pos + 1, size)
    return -1 if found is None else found.end() - 2


def seconds_at(p: bytes, pos: int, end: int) -> int:
    """The time that the annotation from p[pos] to p[end] tells, as `scan` has it; negative if it tells none."""
    found = _SECONDS.fullmatch(p, pos, end)
    return int(found[1]) if found is not None and int(found[1]) <= _LATEST_S else -1


def database_at(p: bytes, at: int, end: int) -> int:
    """What a SELECT selects whose arguments begin at p[at] and end before p[end]; negative if that cannot be."""
    header = header_at(p, at, end, ord("$"))
    at += header & 255
    number = p[at : end - 2]
    if header < 0 or not 1 <= header >> 8 <= 5 or header >> 8 != len(number) or not number.isdigit():
        return -1
    return int(number) if int(number) <= 32767 else -1


def word_at(p: bytes, at: int, count: int, whole: int) -> int:
    """`count` bytes as one number, at most eight, the first the lowest; 0 for none. In C `whole` is the last place
    where there are eight.
    """
    return int.from_bytes(p[at : at + max(count, 0)], "little")


def slot_of(low: int, high: int, slots: int) -> int:
    """The place of a name, as two words, in a table of so many slots, a power of two."""
    return (low ^ (low >> 11) ^ (low >> 23) ^ (low >> 37) ^ (low >> 49) ^ high ^ (high >> 13)) & (slots - 1)
