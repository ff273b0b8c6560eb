"""The ``bit`` library of scripts: operations on 32 bits.

Redis: deps/lua/src/lua_bit.c (BitOp 1.0.2, in 7.0.15).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import reduce
from typing import Any

from aofnb.lua.cnumbers import checked_number

__all__ = ["FUNCTIONS"]

# Added to a double, this leaves the number modulo 2**32, rounded to even, in the low bits.
_MAGIC = 6755399441055744.0
_MASK = 0xFFFFFFFF


def _bits(args: tuple[Any, ...], position: int = 1) -> int:
    number = float(checked_number(args, position))
    return int.from_bytes(struct.pack("<d", number + _MAGIC)[:4], "little")


def _signed(bits: int) -> int:
    bits &= _MASK
    return bits - (1 << 32) if bits >> 31 else bits


def _folded(operation: Callable[[int, int], int]) -> Callable[..., int]:
    def fold(*args: Any) -> int:
        return _signed(reduce(operation, [_bits(args, i) for i in range(1, max(len(args), 1) + 1)]))

    return fold


def _shifted(operation: Callable[[int, int], int]) -> Callable[..., int]:
    def shift(*args: Any) -> int:
        value = _bits(args)
        return _signed(operation(value, _bits(args, 2) & 31))

    return shift


def _tobit(*args: Any) -> int:
    return _signed(_bits(args))


def _bnot(*args: Any) -> int:
    return _signed(~_bits(args))


def _bswap(*args: Any) -> int:
    return _signed(int.from_bytes(_bits(args).to_bytes(4, "little"), "big"))


def _tohex(*args: Any) -> bytes:
    value = _bits(args)
    digits = 8 if len(args) < 2 else _signed(_bits(args, 2))
    text = b"%08x" % value
    if digits < 0:
        digits, text = -digits, text.upper()
    return text[8 - min(digits, 8) :]


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "tobit": _tobit,
    "bnot": _bnot,
    "band": _folded(lambda a, b: a & b),
    "bor": _folded(lambda a, b: a | b),
    "bxor": _folded(lambda a, b: a ^ b),
    "lshift": _shifted(lambda value, by: value << by),
    "rshift": _shifted(lambda value, by: value >> by),
    "arshift": _shifted(lambda value, by: _signed(value) >> by),
    "rol": _shifted(lambda value, by: value << by | value >> (32 - by)),
    "ror": _shifted(lambda value, by: value >> by | value << (32 - by)),
    "bswap": _bswap,
    "tohex": _tohex,
}
