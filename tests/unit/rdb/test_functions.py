"""FUNCTION DUMP payloads."""

import pytest

from aofnb.errors import RdbError
from aofnb.rdb import opcodes
from aofnb.rdb.crc64 import crc64
from aofnb.rdb.dump import ChecksumError
from aofnb.rdb.functions import NotAFunctionError, dump_functions, load_functions

CODES = [b"#!lua name=a\n" + b"x" * 300, b"#!lua name=b\ny"]


def payload(body: bytes) -> bytes:
    body += opcodes.RDB_VERSION.to_bytes(2, "little")
    return body + crc64(body).to_bytes(8, "little")


def test_what_is_dumped_is_loaded():
    assert load_functions(dump_functions(CODES)) == CODES
    assert load_functions(dump_functions([])) == []


@pytest.mark.parametrize("damaged", [b"", b"short", dump_functions(CODES)[:-1] + b"x", dump_functions(CODES)[1:]])
def test_a_wrong_checksum_is_told(damaged):
    with pytest.raises(ChecksumError):
        load_functions(damaged)


def test_another_kind_of_record_is_told():
    with pytest.raises(NotAFunctionError):
        load_functions(payload(b"\x00\x01a"))


@pytest.mark.parametrize("body", [b"\xf5", b"\xf5\x05abc", b"\xf5\x80\xff\xff\xff\xffabc"])
def test_a_cut_record_is_told(body):
    with pytest.raises(RdbError):
        load_functions(payload(body))
