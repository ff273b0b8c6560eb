"""Containers in one string: the bytes of each form, and what is wrong with damaged ones."""

from __future__ import annotations

import pytest

from aofnb.errors import RdbError
from aofnb.rdb.listpack import (
    decode_intset,
    decode_listpack,
    encode_integer,
    encode_intset,
    encode_item,
    encode_listpack,
    texts,
)
from aofnb.rdb.lzf import compress, decompress
from aofnb.rdb.ziplist import decode_ziplist, decode_zipmap


@pytest.mark.parametrize(
    ("number", "encoded"),
    [
        (0, "00 01"), (127, "7f 01"), (128, "c0 80 02"), (-1, "df ff 02"), (4095, "cf ff 02"), (-4096, "d0 00 02"),
        (4096, "f1 00 10 03"), (-32768, "f1 00 80 03"), (32768, "f2 00 80 00 04"), (-(2**23), "f2 00 00 80 04"),
        (2**23, "f3 00 00 80 00 05"), (2**31, "f4 00 00 00 80 00 00 00 00 09"),
        (-(2**63), "f4 00 00 00 00 00 00 00 80 09"),
    ],
)  # fmt: skip
def test_a_number_takes_the_smallest_form(number: int, encoded: str) -> None:
    assert encode_integer(number).hex(" ") == encoded
    assert encode_item(b"%d" % number).hex(" ") == encoded


@pytest.mark.parametrize(
    ("size", "head", "tail"),
    [
        (0, "80", "01"), (63, "bf", "40"), (64, "e0 40", "42"), (125, "e0 7d", "7f"), (126, "e0 7e", "01 80"),
        (4095, "ef ff", "20 81"), (4096, "f0 00 10 00 00", "20 85"), (16377, "f0 f9 3f 00 00", "7f fe"),
        (16378, "f0 fa 3f 00 00", "00 ff ff"), (2097145, "f0 f9 ff 1f 00", "7f ff fe"),
        (2097146, "f0 fa ff 1f 00", "00 ff ff ff"),
    ],
)  # fmt: skip
def test_a_string_has_its_length_before_it_and_backwards_behind_it(size: int, head: str, tail: str) -> None:
    text = b"x" * size
    encoded = encode_item(text)
    assert encoded.hex(" ", 1).startswith(head)
    assert encoded.endswith(bytes.fromhex(tail))
    assert len(encoded) == size + len(bytes.fromhex(head + tail))
    assert decode_listpack(encode_listpack([text, b"7"])) == [text, 7]


def test_the_text_of_a_small_number_is_one_object() -> None:
    for number in (-4097, -4096, -4095, -1, 0, 1, 127, 4095, 4096, 2**62):
        assert texts([number, b"x"]) == [b"%d" % number, b"x"]
    assert texts([4095])[0] is texts([4095])[0]


def test_more_elements_than_the_header_counts_are_walked() -> None:
    items = [b"%d" % (i % 100) for i in range(70_000)]
    blob = encode_listpack(items)
    assert blob[4:6] == b"\xff\xff"
    assert len(decode_listpack(blob)) == 70_000


@pytest.mark.parametrize(
    ("blob", "why"),
    [
        ("", "of 0 bytes"),
        ("08 00 00 00 00 00 ff", "says that it has 8"),
        ("07 00 00 00 00 00 fe", "end mark"),
        ("07 00 00 00 01 00 ff", "says that it has 1"),
        ("09 00 00 00 01 00 05 02 ff", "backwards"),
        ("09 00 00 00 01 00 85 61 ff", "longer than it may be"),
        ("09 00 00 00 01 00 f5 01 ff", "begins no element"),
        ("08 00 00 00 01 00 f4 ff", "longer than it may be"),
        ("0c 00 00 00 01 00 f0 ff ff ff ff ff", "longer than it may be"),
        ("0d 00 00 00 01 00 f0 00 00 00 80 05 ff", "longer than it may be"),
    ],
)
def test_a_damaged_listpack_is_refused(blob: str, why: str) -> None:
    with pytest.raises(RdbError, match=why):
        decode_listpack(bytes.fromhex(blob))


def test_an_intset_is_as_wide_as_its_largest_number_needs() -> None:
    assert encode_intset([1, 2]).hex(" ") == "02 00 00 00 02 00 00 00 01 00 02 00"
    assert encode_intset([-(2**31), 5])[0] == 4
    assert encode_intset([-(2**31) - 1, 5])[0] == 8


@pytest.mark.parametrize(
    ("blob", "why"),
    [
        ("02 00 00", "of 3 bytes"),
        ("03 00 00 00 01 00 00 00 01 00 00", "of 3 bytes"),
        ("02 00 00 00 02 00 00 00 01 00", "says that it has 2"),
        ("02 00 00 00 00 00 00 00", "without numbers"),
        ("02 00 00 00 02 00 00 00 01 00 01 00", "ascend"),
        ("08 00 00 00 01 00 00 20", "says that it has 536870913"),
    ],
)
def test_a_damaged_intset_is_refused(blob: str, why: str) -> None:
    with pytest.raises(RdbError, match=why):
        decode_intset(bytes.fromhex(blob))


def test_a_ziplist_has_small_numbers_in_one_byte() -> None:
    assert decode_ziplist(bytes.fromhex("0f 00 00 00 0c 00 00 00 02 00 00 f3 02 f6 ff")) == [2, 5]


def test_a_zipmap_may_have_unused_bytes() -> None:
    blob = b"\x02\x03foo\x03\x02bar--\x05hello\x05\x00world\xff"
    assert decode_zipmap(blob) == [b"foo", b"bar", b"hello", b"world"]


def test_a_copy_may_read_what_it_writes() -> None:
    assert decompress(bytes.fromhex("01 61 61 e0 0a 00"), 21) == b"a" * 21
    assert compress(b"a" * 21, 17) == bytes.fromhex("01 61 61 e0 0a 00")


@pytest.mark.parametrize(
    ("data", "size", "why"),
    [
        ("00 61 20 05", 4, "before its beginning"),
        ("05 61", 6, "run of literal"),
        ("00 61 20", 4, "inside a reference"),
        ("00 61", 2, "becomes 1 bytes"),
        ("02 61 61 61", 2, "more than the 2"),
        ("00 61", 1 << 40, "cannot become"),
    ],
)
def test_damaged_compression_is_refused(data: str, size: int, why: str) -> None:
    with pytest.raises(RdbError, match=why):
        decompress(bytes.fromhex(data), size)
