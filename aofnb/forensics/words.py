"""Numbers as people read them, and command lines as they copy them."""

from __future__ import annotations

import re
import shlex

__all__ = ["count", "named", "printable", "shell_line", "size"]

# As backslashreplace spells bytes that are no UTF-8, whose first bit is set.
_ESCAPED = re.compile(rb"\\x([89a-f][0-9a-f])")


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


def named(key: str) -> str | bytes:
    r"""A key of a table as it can be asked for again: the bytes, where it stands there with some of them escaped.

    A key that really has ``\\xff`` in it, as four letters, is taken for one with that byte.

    >>> named("cart:42"), named("\\xff1")
    ('cart:42', b'\xff1')
    """
    key_bytes = _ESCAPED.sub(lambda match: bytes.fromhex(match[1].decode()), key.encode())
    return key if key_bytes == key.encode() else key_bytes


def printable(text: str) -> str:
    r"""`text` with what takes no column on a terminal, or drives it, spelled out.

    >>> printable("a\tb\x1b[1m")
    'a\\tb\\x1b[1m'
    """
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def shell_line(command: str, path: str, *words: object) -> str:
    """A line for a shell; words that need it are quoted.

    >>> shell_line("at", "my data", 57, "KEYS", "*")
    "aofnb at 'my data' 57 KEYS '*'"
    """
    return " ".join(["aofnb", command, *(_shell_word(word) for word in (path, *words))])


def _shell_word(word: object) -> str:
    r"""A word as a shell reads it; bytes that are no printable text in the quotes that bash, zsh and ksh have for them.

    >>> print(_shell_word(b"cart:42"), _shell_word(b"it's"), _shell_word(b"it's\xff\n"))
    cart:42 'it'"'"'s' $'it\'s\xff\n'
    """
    data = word if isinstance(word, bytes) else str(word).encode("utf-8", "surrogateescape")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = ""
    if text.isprintable() and (text or not data):
        return shlex.quote(text)
    # What Python writes of bytes is what these quotes read, but for the quote.
    return "$'" + repr(b'"' + data)[3:-1].replace("\\'", "'").replace("'", "\\'") + "'"
