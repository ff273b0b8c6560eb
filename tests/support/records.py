"""What a log holds, as lists of arguments, and how two logs of the same commands are compared."""

from __future__ import annotations

import re
import time

__all__ = ["masked", "records"]


def records(log: bytes) -> list[list[bytes]]:
    """Every record of `log`, which must be whole and strict RESP; annotations are left out.

    Independent of the package on purpose: this is what checks it.
    """
    found = []
    at = 0
    while at < len(log):
        end = log.index(b"\r\n", at)
        head, at = log[at:end], end + 2
        if head.startswith(b"#"):
            continue
        assert head.startswith(b"*"), f"not a record at {at}: {head[:40]!r}"
        argv = []
        for _ in range(int(head[1:])):
            end = log.index(b"\r\n", at)
            assert log[at : at + 1] == b"$", f"not a length at {at}"
            size = int(log[at + 1 : end])
            argv.append(log[end + 2 : end + 2 + size])
            assert log[end + 2 + size : end + 4 + size] == b"\r\n"
            at = end + 4 + size
        found.append(argv)
    return found


def masked(argv: list[bytes], within_s: float = 300) -> list[bytes]:
    """`argv` with instants near now replaced: ``T`` for ms, so that two runs compare."""
    now_ms = time.time() * 1000

    def near(match: re.Match[bytes]) -> bytes:
        return b"T" if abs(int(match[0]) - now_ms) < within_s * 1000 else match[0]

    return [re.sub(rb"\b\d{13}\b", near, arg) for arg in argv]
