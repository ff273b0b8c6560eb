"""Payloads of FUNCTION DUMP that are damaged or odd; those of DUMP are in test_compact.py and conformance."""

from __future__ import annotations

import pytest

from aofnb.errors import RdbError
from aofnb.rdb import ChecksumError, dump_functions, dump_payload, load_functions
from aofnb.rdb.crc64 import crc64
from aofnb.rdb.primitives import string

LIBRARY = b"#!lua name=lib\nredis.register_function('f', function() return 7 end)"


def payload(body: bytes, version: int = 10) -> bytes:
    body += version.to_bytes(2, "little")
    return body + crc64(body).to_bytes(8, "little")


def test_libraries_come_back_in_their_order():
    assert load_functions(dump_functions([LIBRARY, b"x" * 5000, b""])) == [LIBRARY, b"x" * 5000, b""]
    assert load_functions(dump_functions([])) == []


def test_what_release_candidates_of_7_0_wrote_is_a_library_too():
    body = b"\xf6" + string(b"lib") + string(b"LUA") + b"\x01" + string(b"what it does") + string(b"code")
    assert load_functions(payload(body)) == [b"#!lua name=lib\ncode"]


@pytest.mark.parametrize(
    "data", [b"", b"123456789", payload(b"")[:-1] + b"x", payload(b"", 11), payload(b"\xf5\x01")[1:]]
)
def test_a_payload_that_is_not_whole_is_told_by_its_checksum(data):
    with pytest.raises(ChecksumError):
        load_functions(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (dump_payload(b"v"), "not a function"),
        (payload(b"\xf5" + string(LIBRARY) + b"\xfe\x00"), "not a function"),
        (payload(b"\xf5\x05abc"), "ends inside"),
        (payload(b"\xf5\x80\xff\xff\xff\xff"), "ends inside"),
    ],
)
def test_a_payload_of_anything_else_is_refused(data, message):
    with pytest.raises(RdbError, match=message):
        load_functions(data)
