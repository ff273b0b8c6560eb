"""Arguments to values, as the server reads them, and option grammars as data.

Redis: util.c string2ll, object.c getLongLongFromObject, getDoubleFromObject; t_string.c parseExtendedStringArguments.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aofnb.commands import messages
from aofnb.errors import ReplyError

__all__ = [
    "INT64_MAX",
    "INT64_MIN",
    "Option",
    "Options",
    "floating",
    "integer",
    "non_negative",
    "positive",
    "strtod",
    "value",
    "word",
]

INT64_MIN = -(1 << 63)
INT64_MAX = (1 << 63) - 1

_BLANKS = b" \t\n\v\f\r"
_ZERO, _UNDERSCORE = b"0_"
_INFINITE = re.compile(rb"[+-]?inf(?:inity)?", re.IGNORECASE)
_NONZERO_MANTISSA = re.compile(rb"[+-]?(?:0[xX][0.]*[1-9a-fA-F]|[0.]*[1-9])")


def integer(arg: bytes, message: str = messages.NOT_AN_INTEGER) -> int:
    """A signed 64-bit decimal integer in its one canonical spelling (no blanks, no plus, no leading zeros).

    Raises
    ------
    ReplyError
        With `message` otherwise.
    """
    # The common case, in half the time.
    if arg.isdigit() and len(arg) < 19 and arg[0] != _ZERO:
        return int(arg)
    try:
        number = int(arg) if len(arg) <= 20 else None
    except ValueError:
        number = None
    # int() is more lenient than the server; only the canonical spelling survives the round trip.
    if number is None or b"%d" % number != arg or not INT64_MIN <= number <= INT64_MAX:
        raise ReplyError(message)
    return number


def positive(arg: bytes, message: str = "ERR value is out of range, must be positive") -> int:
    """An `integer` of at least 0 (the server's "positive" includes 0); `message` for anything else."""
    number = integer(arg, message)
    if number < 0:
        raise ReplyError(message)
    return number


non_negative = positive


def floating(arg: bytes, message: str = messages.NOT_A_FLOAT) -> float:
    """A double as strtod reads it, decimal or hexadecimal or ``inf``; no blanks, no ``nan``.

    Refused as well, since strtod reports them: numbers beyond the largest double, and numbers so small that
    nothing is left of them.

    Raises
    ------
    ReplyError
        With `message` otherwise.

    >>> floating(b"1e3"), floating(b"0x10"), floating(b"-inf"), floating(b"1e-310")
    (1000.0, 16.0, -inf, 1e-310)
    """
    # The common case, in a third of the time.
    if len(arg) < 20 and arg.replace(b".", b"", 1).isdigit():
        return float(arg)
    number = strtod(arg)
    if number is None or arg[0] in _BLANKS or (number - number != 0.0 and not _INFINITE.fullmatch(arg)):
        raise ReplyError(message)
    if number == 0.0 and _NONZERO_MANTISSA.match(arg):
        raise ReplyError(message)
    return number


def strtod(arg: bytes) -> float | None:
    """What C's strtod makes of all of `arg`, or None where it would stop before the end; never NaN."""
    try:
        number = float(arg)
    except ValueError:
        return _hexadecimal(arg)
    # Python is more lenient: it takes underscores between digits and blanks at the end.
    # Its number, since `b"_" in arg` makes and drops an exception inside.
    if _UNDERSCORE in arg or arg[-1] in _BLANKS or number != number:
        return None
    return number


def _hexadecimal(arg: bytes) -> float | None:
    text = arg.decode("latin-1")
    if text[-1:].isspace() or "x" not in text.lower():
        return None
    try:
        return float.fromhex(text)
    except OverflowError:
        return -math.inf if text.lstrip().startswith("-") else math.inf
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Option:
    """One option word of a command: `args` is how many values follow, each read by `convert`."""

    name: str
    args: int
    convert: Callable[[bytes], Any]
    group: str | None


def word(name: str, group: str | None = None) -> Option:
    """An option that is only a word, such as NX."""
    return Option(name, 0, bytes, group)


def value(name: str, convert: Callable[[bytes], Any] = bytes, group: str | None = None) -> Option:
    """An option followed by one value, such as ``EX seconds``."""
    return Option(name, 1, convert, group)


class Options:
    """The option grammar of a command, as data.

    Words of one `group` exclude each other. Parsing gives a dict of the options that were present,
    by lower-case name: True for a word, the converted value otherwise.

    >>> options = Options(word("NX", group="exists"), word("XX", group="exists"), value("EX", integer))
    >>> options.parse([b"nx", b"EX", b"10"])
    {'nx': True, 'ex': 10}
    """

    def __init__(self, *options: Option) -> None:
        self._by_word = {option.name.encode(): option for option in options}
        self.options = options

    def parse(self, args: Sequence[bytes], error: str | ReplyError = messages.SYNTAX_ERROR) -> dict[str, Any]:
        """Read all of `args` as options.

        Raises
        ------
        ReplyError
            With `error` for an unknown word, a missing value or two words of one group.
        """
        found: dict[str, Any] = {}
        groups: dict[str, str] = {}
        i = 0
        while i < len(args):
            option = self._by_word.get(args[i].upper())
            if option is None or i + option.args >= len(args):
                raise _error(error)
            if option.group is not None and groups.setdefault(option.group, option.name) != option.name:
                raise _error(error)
            found[option.name.lower()] = option.convert(args[i + 1]) if option.args else True
            i += 1 + option.args
        return found


def _error(problem: str | ReplyError) -> ReplyError:
    return problem if isinstance(problem, ReplyError) else ReplyError(problem)
