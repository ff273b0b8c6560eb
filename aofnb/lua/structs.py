"""The ``struct`` library of scripts: values to bytes and back by a format.

Redis: deps/lua/src/lua_struct.c (7.0.15).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aofnb.lua.cnumbers import as_int64, checked_number, checked_text
from aofnb.lua.errors import ArgumentError, LuaTextError

__all__ = ["FUNCTIONS"]

_INT_MAX = 2147483647
_MAX_INTEGER_BYTES = 32
_FIXED = {"B": 1, "b": 1, "H": 2, "h": 2, "L": 8, "l": 8, "T": 8, "f": 4, "d": 8, "x": 1}
_MASK = (1 << 64) - 1
# A result may not take more than this: "c2000000000" asks for it in eleven bytes.
_MAX_RESULT = 512 << 20


@dataclass(slots=True)
class _Format:
    """The text of a format and how far it is read, with what the options so far set."""

    text: str
    at: int = 0
    big: bool = False
    align: int = 1

    def number(self, default: int) -> int:
        start = self.at
        while self.at < len(self.text) and self.text[self.at] in "0123456789":
            self.at += 1
            if int(self.text[start : self.at]) > _INT_MAX:
                raise LuaTextError("integral size overflow")
        return int(self.text[start : self.at]) if self.at > start else default

    def option(self) -> str:
        """The next option, or "" at the end, which a zero byte is too."""
        if self.at >= len(self.text) or self.text[self.at] == "\0":
            return ""
        self.at += 1
        return self.text[self.at - 1]

    def size_of(self, option: str) -> int:
        if option in _FIXED:
            return _FIXED[option]
        if option == "c":
            return self.number(1)
        if option in "iI":
            size = self.number(4)
            if size > _MAX_INTEGER_BYTES:
                raise LuaTextError(f"integral size {size} is larger than limit of {_MAX_INTEGER_BYTES}")
            return size
        return 0

    def padding(self, length: int, option: str, size: int) -> int:
        if size == 0 or option == "c":
            return 0
        size = min(size, self.align)
        return (size - (length & (size - 1))) & (size - 1)

    def control(self, option: str) -> None:
        if option == " ":
            return
        if option in "<>":
            self.big = option == ">"
        elif option == "!":
            align = self.number(8)
            if align <= 0 or align & (align - 1):
                raise LuaTextError(f"alignment {align} is not a power of 2")
            self.align = align
        else:
            raise ArgumentError(1, f"invalid format option '{option}'")


def _read_format(args: tuple[Any, ...]) -> _Format:
    return _Format(checked_text(args, 1).decode("latin-1"))


def _integer(number: float, size: int, big: bool) -> bytes:
    if number >= 2.0**64:
        value = 0
    else:
        value = (int(number) if number >= 0 else as_int64(number)) & _MASK
    return (value & ((1 << 8 * size) - 1)).to_bytes(size, "big" if big else "little")


def _pack(*args: Any) -> bytes:
    form = _read_format(args)
    out = bytearray()
    position = 2
    # The marker that ends the arguments there is a nil to whoever asks for one too many.
    args = (*args, None)
    while option := form.option():
        size = form.size_of(option)
        out += bytes(form.padding(len(out), option, size))
        if option in "bBhHlLTiI":
            out += _integer(checked_number(args, position), size, form.big)
            position += 1
        elif option == "x":
            out.append(0)
        elif option in "fd":
            out += _float(checked_number(args, position), option, form.big)
            position += 1
        elif option in "cs":
            text = checked_text(args, position)
            position += 1
            size = size or len(text)
            if len(text) < size:
                raise ArgumentError(position, "string too short")
            out += text[:size]
            if option == "s":
                out.append(0)
        else:
            form.control(option)
        if len(out) > _MAX_RESULT:
            raise LuaTextError("result too large")
    return bytes(out)


def _float(number: float, option: str, big: bool) -> bytes:
    order = ">" if big else "<"
    try:
        return struct.pack(order + option, number)
    except OverflowError:  # beyond a float of four bytes
        return struct.pack(order + option, float("inf") if number > 0 else float("-inf"))


def _unpack(*args: Any) -> tuple[Any, ...]:
    form = _read_format(args)
    data = checked_text(args, 2)
    position = as_int64(checked_number(args, 3)) if len(args) >= 3 and args[2] is not None else 1
    # Unsigned there: what is negative is beyond the end.
    if position == 0:
        raise ArgumentError(3, "offset must be 1 or greater")
    at = (position - 1) & _MASK
    values: list[Any] = []
    while option := form.option():
        size = form.size_of(option)
        at += form.padding(at, option, size)
        _enough(data, at, size)
        if option in "bBhHlLTiI":
            values.append(_number(data[at : at + size], form.big, option.islower()))
        elif option in "fd":
            values.append(struct.unpack((">" if form.big else "<") + option, data[at : at + size])[0])
        elif option == "c":
            if size == 0:
                if not values or not isinstance(values[-1], int | float):
                    raise LuaTextError("format 'c0' needs a previous size")
                size = as_int64(values.pop()) & _MASK
                _enough(data, at, size)
            values.append(data[at : at + size])
        elif option == "s":
            end = data.find(b"\0", at)
            if end < 0:
                raise LuaTextError("unfinished string in data")
            values.append(data[at:end])
            size = end - at + 1
        elif option != "x":
            form.control(option)
        at += size
    # An offset from the end wraps around, as there.
    return (*values, at + 1 if at < 1 << 62 else at + 1 - (1 << 64))


def _enough(data: bytes, at: int, size: int) -> None:
    if at + size > len(data):
        raise ArgumentError(2, "data string too short")


def _number(data: bytes, big: bool, signed: bool) -> float:
    # Only the low 64 bits count, and the sign is where the size says.
    value = int.from_bytes(data, "big" if big else "little") & _MASK
    if not signed:
        return float(value)
    # The processor shifts by no more than 63.
    mask = (_MASK << ((8 * len(data) - 1) & 63)) & _MASK
    if value & mask:
        value |= mask
    return float(value - (1 << 64) if value >> 63 else value)


def _size(*args: Any) -> int:
    form = _read_format(args)
    total = 0
    while option := form.option():
        size = form.size_of(option)
        total += form.padding(total, option, size)
        if option == "s":
            raise ArgumentError(1, "option 's' has no fixed size")
        if option == "c" and size == 0:
            raise ArgumentError(1, "option 'c0' has no fixed size")
        if not option.isalnum():
            form.control(option)
        total += size
    return total


FUNCTIONS: dict[str, Callable[..., Any]] = {"pack": _pack, "unpack": _unpack, "size": _size}
