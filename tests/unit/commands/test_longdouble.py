"""Sums are the exact sum, rounded once to 64 bits of mantissa; what is printed is the exact value, to 17 decimals."""

from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aofnb.commands.longdouble import add, is_infinite, parse, text

decimals = st.builds(
    lambda sign, whole, fraction, power: f"{sign}{whole}.{fraction}e{power}".encode(),
    st.sampled_from(["", "-", "+"]),
    st.integers(0, 10**25),
    st.integers(0, 10**20),
    st.integers(-40, 40),
)


def exact(number):
    return Fraction(number[0]) * Fraction(2) ** number[1]


@given(decimals)
def test_parse_gives_the_nearest_number_of_64_bits(given_text):
    number = parse(given_text)
    assert number is not None
    assert abs(number[0]).bit_length() <= 64
    error = abs(exact(number) - Fraction(given_text.decode()))
    assert error <= abs(exact(number)) / 2**64


@given(decimals, decimals)
def test_add_is_exact_but_for_one_rounding(a_text, b_text):
    a, b = parse(a_text), parse(b_text)
    total = add(a, b)
    assert abs(total[0]).bit_length() <= 64
    assert abs(exact(total) - exact(a) - exact(b)) <= abs(exact(total)) / 2**64


@given(decimals)
def test_text_is_within_half_a_unit_of_the_17th_decimal(given_text):
    number = parse(given_text)
    shown = text(number)
    assert abs(Fraction(shown.decode()) - exact(number)) <= Fraction(1, 2 * 10**17)
    assert b"." not in shown or not shown.endswith((b"0", b"."))


@given(decimals)
def test_a_number_and_its_opposite_sum_to_zero(given_text):
    assume(not given_text.startswith((b"-", b"+")))
    assert text(add(parse(given_text), parse(b"-" + given_text))) == b"0"


@pytest.mark.parametrize(
    ("given_text", "shown"),
    [
        (b"3.0e3", b"3000"),
        (b".5", b"0.5"),
        (b"5.", b"5"),
        (b"0x1p-3", b"0.125"),
        (b"0X.8", b"0.5"),
        (b"18446744073709551615.7", b"18446744073709551616"),  # rounding carries into a 65th bit
        (b"-0", b"0"),
        (b"-1e-30", b"0"),
        (b"0e999999999", b"0"),
        (b"1e0000000000000005", b"100000"),
        (b"0." + b"0" * 4500 + b"1e4501", b"1"),
    ],
)
def test_spellings(given_text, shown):
    assert text(parse(given_text)) == shown


@pytest.mark.parametrize(
    "given_text",
    [
        b"",
        b".",
        b"-",
        b"e5",
        b"1e",
        b"0x",
        b"0x1p",
        b"nan",
        b" 1",
        b"1 ",
        b"1_0",
        b"1,5",
        b"1e5000",
        b"1e-5000",
        b"1" * 5120,
    ],
)
def test_refused(given_text):
    assert parse(given_text) is None


def test_infinity_is_read_and_stays():
    for spelling in (b"inf", b"-INFINITY"):
        assert is_infinite(add(parse(b"1"), parse(spelling)))
    largest = parse(b"1.18973149535723176502e4932")
    assert is_infinite(add(largest, largest))
    assert len(text(largest)) == 4933
