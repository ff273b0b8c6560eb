"""Numbers as C and Lua see them: conversions that the libraries of scripts share."""

from __future__ import annotations

import math
import re
import struct
from typing import Any

from aofnb.lua.errors import ArgumentError

__all__ = ["as_int32", "as_int64", "as_text", "checked_number", "checked_text", "strtod", "type_name"]

_DECIMAL = re.compile(
    rb"[ \t\n\v\f\r]*([+-]?)(?:(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)|(infinity|inf)|(nan))", re.I
)
_HEX = re.compile(rb"[ \t\n\v\f\r]*([+-]?)0x(?:[0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)(?:p[+-]?\d+)?", re.I)
_INT64_MIN = -(1 << 63)


def strtod(text: bytes) -> tuple[float, int]:
    """The number at the beginning of `text` and how many bytes it takes: 0 where there is none.

    >>> strtod(b"1.5e3,"), strtod(b"0x10"), strtod(b"x")
    ((1500.0, 5), (16.0, 4), (0.0, 0))
    """
    found = _HEX.match(text)
    if found is not None:
        try:
            return float.fromhex(found[0].strip().decode()), found.end()
        except OverflowError:
            return (-math.inf if found[1] == b"-" else math.inf), found.end()
    found = _DECIMAL.match(text)
    if found is None:
        return 0.0, 0
    return float(found[0]), found.end()


def as_int64(number: float) -> int:
    """A C cast to ``long long`` as x86-64 does it: towards zero, and the least one where it does not fit.

    >>> as_int64(-3.99), as_int64(1e30)
    (-3, -9223372036854775808)
    """
    if isinstance(number, int):
        return number if -(1 << 63) <= number < 1 << 63 else _INT64_MIN
    if math.isfinite(number) and -(2.0**63) <= number < 2.0**63:
        return int(number)
    return _INT64_MIN


def as_int32(number: float) -> int:
    """What ``luaL_checkint`` gives: the low 32 bits of the integer part, signed."""
    low = as_int64(number) & 0xFFFFFFFF
    return low - (1 << 32) if low >> 31 else low


def as_text(number: float, digits: int = 14) -> bytes:
    """A number as C prints it; with 14 digits, as Lua turns it into a string.

    >>> as_text(3), as_text(0.1), as_text(1e15), as_text(0.1, 17)
    (b'3', b'0.1', b'1e+15', b'0.10000000000000001')
    """
    if number != number and math.copysign(1, number) < 0:
        return b"-nan"
    return b"%.*g" % (digits, number)


def type_name(args: tuple[Any, ...], position: int) -> str:
    """The type of argument `position` (from 1) in Lua's words."""
    if position > len(args):
        return "no value"
    value = args[position - 1]
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, bytes):
        return "string"
    kind = str(value)
    return next((word for word in ("table", "function", "thread") if word in kind.lower()), "userdata")


def checked_number(args: tuple[Any, ...], position: int) -> float:
    """Argument `position` as a number, as ``luaL_checknumber`` reads it: texts of numbers count.

    Raises
    ------
    ArgumentError
        For anything else.
    """
    value = args[position - 1] if position <= len(args) else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if isinstance(value, bytes):
        number, end = strtod(value)
        if end and not value[end:].strip(b" \t\n\v\f\r"):
            return number
    raise ArgumentError(position, f"number expected, got {type_name(args, position)}")


def checked_text(args: tuple[Any, ...], position: int) -> bytes:
    """Argument `position` as a string, as ``luaL_checklstring`` reads it: numbers count.

    Raises
    ------
    ArgumentError
        For anything else.
    """
    value = args[position - 1] if position <= len(args) else None
    if isinstance(value, bytes):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return as_text(value)
    raise ArgumentError(position, f"string expected, got {type_name(args, position)}")


def pack_number(number: float) -> bytes:
    """A number in MessagePack: an integer where it is one, else a float of four bytes if that is exact, or eight."""
    if isinstance(number, int) or (math.isfinite(number) and number == int(number) and -(2.0**63) <= number < 2.0**63):
        n = int(number)
        for low, high, form in _PACKED:
            if low <= n <= high:
                return struct.pack(form[0], *form[1:], n) if len(form) > 1 else struct.pack(form[0], n)
    if math.isnan(number):
        return struct.pack(">Bd", 0xCB, number)
    try:
        short = struct.pack(">Bf", 0xCA, number)
    except OverflowError:
        return struct.pack(">Bd", 0xCB, number)
    return short if struct.unpack(">xf", short)[0] == number else struct.pack(">Bd", 0xCB, number)


_PACKED: list[tuple[int, int, tuple[Any, ...]]] = [
    (0, 0x7F, (">B",)),
    (0, 0xFF, (">BB", 0xCC)),
    (0, 0xFFFF, (">BH", 0xCD)),
    (0, 0xFFFFFFFF, (">BI", 0xCE)),
    (0, (1 << 64) - 1, (">BQ", 0xCF)),
    (-32, -1, (">b",)),
    (-128, -1, (">Bb", 0xD0)),
    (-(1 << 15), -1, (">Bh", 0xD1)),
    (-(1 << 31), -1, (">Bi", 0xD2)),
    (_INT64_MIN, -1, (">Bq", 0xD3)),
]
_READ = {
    0xCA: ">f",
    0xCB: ">d",
    0xCC: ">B",
    0xCD: ">H",
    0xCE: ">I",
    0xCF: ">q",
    0xD0: ">b",
    0xD1: ">h",
    0xD2: ">i",
    0xD3: ">q",
}


def read_number(kind: int, data: bytes) -> float:
    """The number that MessagePack type `kind` holds in `data`."""
    number = struct.unpack(_READ[kind], data)[0]
    return float(number)
