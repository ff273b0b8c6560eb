"""Numbers as people read them, and command lines as they copy them."""

from __future__ import annotations

import shlex

__all__ = ["count", "shell_line", "size"]


def count(number: int, noun: str) -> str:
    """How many of what.

    >>> count(1, "key"), count(1200, "key")
    ('1 key', '1,200 keys')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def size(nbytes: int) -> str:
    """Bytes in a unit that keeps them short.

    >>> size(999), size(12_345_678)
    ('999 B', '12.3 MB')
    """
    number = float(nbytes)
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{nbytes} B" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def shell_line(command: str, path: str, *words: object) -> str:
    """A line for a shell; words that need it are quoted.

    >>> shell_line("at", "my data", 57, "KEYS", "*")
    "aofnb at 'my data' 57 KEYS '*'"
    """
    return " ".join(["aofnb", command, *(shlex.quote(str(word)) for word in (path, *words))])
