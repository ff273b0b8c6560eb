"""The 80-bit floating point numbers of INCRBYFLOAT and HINCRBYFLOAT, bit for bit, with whole numbers.

Redis computes these commands in the C type ``long double``: on x86 a mantissa of 64 bits and an exponent of 15.
Python has no such type, and a double or a decimal gives other digits: 3.0e3 + 0.1 must be
3000.10000000000000009.

A number here is ``(mantissa, exponent)``, worth ``mantissa * 2**exponent``.

Redis: util.c string2ld, ld2string (7.0.15), compiled for x86-64.
"""

from __future__ import annotations

import re

__all__ = ["LongDouble", "add", "is_infinite", "parse", "text"]

LongDouble = tuple[int, int]

_MANTISSA_BITS = 64
_MAX_EXPONENT = 16384
_MIN_EXPONENT = -16445  # of the last bit of the smallest number
_INFINITE = 1 << 20  # as exponent: infinity with the sign of the mantissa
_MAX_CHARS = 5 * 1024
_POWER_LIMIT = 50_000
# int() and str() refuse to convert more than 4300 decimal digits at once.
_DIGITS_AT_ONCE = 4000

_DECIMAL = re.compile(rb"([+-]?)(\d*)\.?(\d*)(?:[eE]([+-]?\d+))?")
_HEX = re.compile(rb"([+-]?)0[xX]([0-9a-fA-F]*)\.?([0-9a-fA-F]*)(?:[pP]([+-]?\d+))?")
_INFINITY = re.compile(rb"([+-]?)inf(?:inity)?", re.IGNORECASE)


def parse(number: bytes) -> LongDouble | None:
    """The number that strtold reads in `number`, or None where Redis refuses it.

    >>> parse(b"1.5"), parse(b"ten"), parse(b"1e5000")
    ((13835058055282163712, -63), None, None)
    """
    if not 0 < len(number) < _MAX_CHARS:
        return None
    if found := _DECIMAL.fullmatch(number):
        base, power_of = 10, 10
    elif found := _HEX.fullmatch(number):
        base, power_of = 16, 2
    elif found := _INFINITY.fullmatch(number):
        return (-1 if found[1] == b"-" else 1), _INFINITE
    else:
        return None
    sign, whole, fraction, power_text = found.groups()
    if not whole and not fraction:
        return None
    mantissa = int(whole + fraction, 16) if base == 16 else _whole(whole + fraction)
    if mantissa == 0:
        return 0, 0
    # An exponent out of all proportion is not worth computing with: it is an overflow or an underflow.
    power = max(-_POWER_LIMIT, min(_POWER_LIMIT, _whole(power_text))) if power_text else 0
    power -= len(fraction) * (1 if base == 10 else 4)
    if power_of == 10:
        rounded = _round(mantissa * 10**power, 1, 0) if power >= 0 else _round(mantissa, 10**-power, 0)
    else:
        rounded = _round(mantissa, 1, power)
    if rounded[0] == 0 or is_infinite(rounded):
        return None
    return (-rounded[0] if sign == b"-" else rounded[0]), rounded[1]


def add(a: LongDouble, b: LongDouble) -> LongDouble:
    """The sum, rounded to the nearest long double; check it with `is_infinite`."""
    for addend in (a, b):
        if is_infinite(addend):
            return addend
    (mantissa_a, exponent_a), (mantissa_b, exponent_b) = a, b
    exponent = min(exponent_a, exponent_b)
    total = (mantissa_a << (exponent_a - exponent)) + (mantissa_b << (exponent_b - exponent))
    mantissa, exponent = _round(abs(total), 1, exponent)
    return (-mantissa if total < 0 else mantissa), exponent


def is_infinite(number: LongDouble) -> bool:
    return number[1] == _INFINITE


def text(number: LongDouble) -> bytes:
    """A finite number as Redis prints it for people: ``%.17Lf`` without the zeros at the end.

    >>> text(add(parse(b"3.0e3"), parse(b"0.1")))
    b'3000.10000000000000009'
    """
    mantissa, exponent = number
    digits = abs(mantissa) * 10**17
    units = digits << exponent if exponent >= 0 else _shift_right(digits, -exponent)
    whole, fraction = divmod(units, 10**17)
    decimals = (b"%017d" % fraction).rstrip(b"0")
    sign = b"-" if mantissa < 0 and units else b""
    return sign + _decimal(whole) + (b"." + decimals if decimals else b"")


def _decimal(whole: int) -> bytes:
    if whole < 10**_DIGITS_AT_ONCE:
        return b"%d" % whole
    high, low = divmod(whole, 10**_DIGITS_AT_ONCE)
    return b"%d%0*d" % (high, _DIGITS_AT_ONCE, low)


def _whole(digits: bytes) -> int:
    """The number in at most 5120 characters: decimal digits, perhaps after a sign."""
    if len(digits) <= _DIGITS_AT_ONCE:
        return int(digits)
    if digits[:1] in b"+-":
        return -_whole(digits[1:]) if digits[:1] == b"-" else _whole(digits[1:])
    scale: int = 10**_DIGITS_AT_ONCE
    return int(digits[:-_DIGITS_AT_ONCE]) * scale + int(digits[-_DIGITS_AT_ONCE:])


def _round(numerator: int, denominator: int, exponent: int) -> LongDouble:
    """``numerator / denominator * 2**exponent``, none of them negative, to nearest, ties to even."""
    if numerator == 0:
        return 0, 0
    # So that the quotient has 64 bits, or 65, which the second turn mends.
    shift = numerator.bit_length() - denominator.bit_length() - _MANTISSA_BITS
    while True:
        shift = max(shift, _MIN_EXPONENT - exponent)
        scaled = denominator << max(shift, 0)
        quotient, rest = divmod(numerator << max(-shift, 0), scaled)
        if quotient.bit_length() <= _MANTISSA_BITS:
            break
        shift += 1
    if 2 * rest > scaled or (2 * rest == scaled and quotient & 1):
        quotient += 1
        if quotient >> _MANTISSA_BITS:
            quotient, shift = quotient >> 1, shift + 1
    if quotient.bit_length() + shift + exponent > _MAX_EXPONENT:
        return 1, _INFINITE
    return quotient, shift + exponent


def _shift_right(number: int, bits: int) -> int:
    """``number / 2**bits`` to nearest, ties to even."""
    whole = number >> bits
    rest = number - (whole << bits)
    half = 1 << (bits - 1)
    return whole + (rest > half or (rest == half and whole & 1))
