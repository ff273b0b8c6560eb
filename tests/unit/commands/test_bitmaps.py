"""Bits against arithmetic on whole numbers, and the one place where we differ from the server on purpose."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aofnb

strings = st.binary(max_size=12)
ends = st.integers(-120, 120)


def bits_of(value):
    return "".join(f"{byte:08b}" for byte in value)


def in_range(bits, first, last):
    """The bits of a range given as the user does, as (place of the first, the bits)."""
    first = max(0, first + len(bits)) if first < 0 else first
    last = max(0, last + len(bits)) if last < 0 else last
    return first, bits[first : last + 1]


@given(strings, ends, ends)
def test_bitcount_and_bitpos_count_in_the_range_given(value, first, last):
    with aofnb.open(None, background=False) as store:
        store.execute("SET", "k", value)
        place, window = in_range(bits_of(value), first, last)
        for bit in "01":
            expected = window.find(bit)
            assert store.execute("BITPOS", "k", bit, first, last, "BIT") == (expected + place if expected >= 0 else -1)
        # As on the server, BITCOUNT takes such a range as empty before it cuts it to what there is, BITPOS does not.
        backwards = last < first < 0
        assert store.execute("BITCOUNT", "k", first, last, "BIT") == (0 if backwards else window.count("1"))
        _, window = in_range(value, first, last)
        assert store.execute("BITCOUNT", "k", first, last) == (0 if backwards else bits_of(window).count("1"))


@given(st.lists(strings, min_size=1, max_size=4), st.sampled_from(["AND", "OR", "XOR"]))
def test_bitop_fills_shorter_strings_with_zeros(values, operation):
    with aofnb.open(None, background=False) as store:
        keys = [f"k{i}" for i in range(len(values))]
        for key, value in zip(keys, values, strict=True):
            store.execute("SET", key, value)
        length = max(map(len, values))
        assert store.execute("BITOP", operation, "d", *keys) == length
        result = bytearray(values[0].ljust(length, b"\0"))
        for value in values[1:]:
            for i, byte in enumerate(value.ljust(length, b"\0")):
                result[i] = {"AND": result[i] & byte, "OR": result[i] | byte, "XOR": result[i] ^ byte}[operation]
        assert store.execute("GET", "d") == (bytes(result) if length else None)


@given(st.booleans(), st.integers(1, 63), st.integers(0, 40), st.integers(-(1 << 63), (1 << 63) - 1))
def test_bitfield_reads_back_what_it_wrote_cut_to_its_width(signed, width, offset, number):
    kind = f"{'i' if signed else 'u'}{width}"
    with aofnb.open(None, background=False) as store:
        store.execute("SET", "k", b"\xa5" * 14)
        store.execute("BITFIELD", "k", "SET", kind, offset, number)
        expected = number % (1 << width)
        if signed and expected >> (width - 1):
            expected -= 1 << width
        assert store.execute("BITFIELD_RO", "k", "GET", kind, offset) == [expected]
        before, after = bits_of(b"\xa5" * 14), bits_of(store.execute("GET", "k"))
        assert after[:offset] == before[:offset]
        assert after[offset + width :] == before[offset + width :]


def test_where_overflow_fail_refuses_every_write_the_string_stays_as_it_is():
    """The server makes it longer, and even makes the key, but logs nothing: memory and log would differ."""
    with aofnb.open(None, background=False) as store:
        assert store.execute("BITFIELD", "k", "OVERFLOW", "FAIL", "INCRBY", "u8", 0, 300) == [None]
        assert store.execute("EXISTS", "k") == 0


@pytest.mark.parametrize(("bit", "dirty"), [(1, 0), (0, 1)])
def test_a_bit_that_does_not_change_is_no_change(bit, dirty):
    with aofnb.open(None, background=False) as store:
        store.execute("SETBIT", "k", 3, 1)
        before = store.engine.keyspace.dirty
        store.execute("SETBIT", "k", 3, bit)
        assert store.engine.keyspace.dirty - before == dirty
