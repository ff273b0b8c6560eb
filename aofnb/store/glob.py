r"""Patterns as KEYS, SCAN MATCH and PSUBSCRIBE read them, on bytes.

A pattern is translated to a regular expression once. What Redis does that the shell does not: ``[^x]`` negates,
``\`` quotes everywhere, a class may be left open, a range may be written backwards, its ends are signed bytes,
and a pattern of stars alone does not match the empty string.

Redis: util.c stringmatchlen (7.0.15).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

__all__ = ["literal_prefix", "matcher", "matches"]


@lru_cache(maxsize=256)
def matcher(pattern: bytes, ignore_case: bool = False) -> Callable[[bytes], object]:
    """A function that says (as true or false) whether a whole string matches `pattern`.

    >>> bool(matcher(b"user:[0-9]*")(b"user:42")), bool(matcher(b"user:?")(b"user:42"))
    (True, False)
    """
    flags = re.DOTALL | (re.IGNORECASE if ignore_case else 0)
    return re.compile(_translate(pattern, ignore_case), flags).fullmatch


def matches(pattern: bytes, string: bytes, ignore_case: bool = False) -> bool:
    """Whether the whole of `string` matches `pattern`."""
    return matcher(pattern, ignore_case)(string) is not None


def literal_prefix(pattern: bytes) -> tuple[bytes, bool]:
    r"""How every string begins that matches `pattern`, and whether only that string does.

    >>> literal_prefix(b"user:*"), literal_prefix(rb"a\*b"), literal_prefix(b"[ab]")
    ((b'user:', False), (b'a*b', True), (b'', False))
    """
    literal = bytearray()
    i = 0
    while i < len(pattern):
        if pattern[i] in b"*?[":
            return bytes(literal), False
        if pattern[i] == 0x5C and i + 1 < len(pattern):
            i += 1
        literal.append(pattern[i])
        i += 1
    return bytes(literal), True


def _translate(pattern: bytes, ignore_case: bool) -> bytes:
    pieces = [b""]  # regular expressions of the parts between stars
    i = 0
    while i < len(pattern):
        char = pattern[i : i + 1]
        i += 1
        if char == b"*":
            # Neighbouring stars are one.
            if i == 1 or pieces[-1]:
                pieces.append(b"")
        elif char == b"?":
            pieces[-1] += b"."
        elif char == b"[":
            class_, i = _class(pattern, i, ignore_case)
            pieces[-1] += class_
        else:
            if char == b"\\" and i < len(pattern):
                char = pattern[i : i + 1]
                i += 1
            pieces[-1] += re.escape(char)
    if pieces == [b"", b""]:
        return b".+"
    if len(pieces) == 1:
        return pieces[0]
    first, *middle, last = pieces
    # The leftmost place is always right for a part between two stars: an atomic group keeps `a*a*a*b` from
    # being tried in every possible way.
    return first + b"".join(b"(?>.*?%b)" % piece for piece in middle) + b".*" + last


def _class(pattern: bytes, i: int, ignore_case: bool) -> tuple[bytes, int]:
    """The regular expression of the class whose ``[`` is before `i`, and the place after it."""
    negated = pattern[i : i + 1] == b"^"
    i += negated
    members: set[int] = set()
    while i < len(pattern):
        left = len(pattern) - i
        if left >= 2 and pattern[i] == 0x5C:
            members.add(pattern[i + 1])
            i += 2
        elif pattern[i] == 0x5D:
            i += 1
            break
        elif left >= 3 and pattern[i + 1] == 0x2D:
            ends = pattern[i : i + 3 : 2].lower() if ignore_case else pattern[i : i + 3 : 2]
            low, high = sorted(end - 256 if end > 127 else end for end in ends)
            members.update(char & 0xFF for char in range(low, high + 1))
            i += 3
        else:
            members.add(pattern[i])
            i += 1
    if not members:
        return (b"." if negated else b"(?!)"), i
    inside = b"".join(b"\\x%02x" % char for char in sorted(members))
    return (b"[^%b]" if negated else b"[%b]") % inside, i
