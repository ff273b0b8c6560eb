"""Argument vectors to RESP bytes, exactly as Redis writes them to the log.

Redis: aof.c catAppendOnlyGenericCommand (7.0.15).
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["encode_command"]


def encode_command(argv: Sequence[bytes]) -> bytes:
    r"""Encode one command as a RESP array of bulk strings.

    >>> encode_command([b"GET", b"k"])
    b'*2\r\n$3\r\nGET\r\n$1\r\nk\r\n'
    """
    # The two commonest shapes are spelled out: one formatting call is half the time of a join.
    n = len(argv)
    if n == 3:
        a, b, c = argv
        return b"*3\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(a), a, len(b), b, len(c), c)
    if n == 2:
        a, b = argv
        return b"*2\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(a), a, len(b), b)
    return b"*%d\r\n%b" % (n, b"".join([b"$%d\r\n%b\r\n" % (len(arg), arg) for arg in argv]))
