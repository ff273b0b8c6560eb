"""FUNCTION DUMP payloads: libraries as records of a snapshot, with the version of the format and a checksum.

Redis: functions.c functionDumpCommand, functionRestoreCommand (7.0.15).
"""

from __future__ import annotations

from collections.abc import Iterable

from aofnb.errors import RdbError
from aofnb.rdb import opcodes
from aofnb.rdb.crc64 import crc64
from aofnb.rdb.dump import ChecksumError
from aofnb.rdb.primitives import string
from aofnb.rdb.source import Source

__all__ = ["NotAFunctionError", "dump_functions", "load_functions"]

_FOOTER_BYTES = 10


class NotAFunctionError(RdbError):
    """A record of another kind."""


def dump_functions(codes: Iterable[bytes]) -> bytes:
    """The source of each library as FUNCTION DUMP gives it.

    >>> dump_functions([]).hex(" ")
    '0a 00 5d 9b 5c 40 0f 7f a2 da'
    """
    body = b"".join([b"%c%b" % (opcodes.FUNCTION2, string(code)) for code in codes])
    body += opcodes.RDB_VERSION.to_bytes(2, "little")
    return body + crc64(body).to_bytes(8, "little")


def load_functions(payload: bytes) -> list[bytes]:
    """The source of each library in `payload`.

    Raises
    ------
    ChecksumError
        If the last ten bytes are not a known version and the right checksum.
    NotAFunctionError
        If it holds something else.
    RdbError
        If it is damaged.
    """
    if len(payload) < _FOOTER_BYTES:
        raise ChecksumError(f"a payload of {len(payload)} bytes: the version and the checksum take {_FOOTER_BYTES}")
    version = int.from_bytes(payload[-10:-8], "little")
    if version > opcodes.RDB_VERSION or crc64(payload[:-8]) != int.from_bytes(payload[-8:], "little"):
        raise ChecksumError("a payload of an unknown version, or with a wrong checksum; it was changed on its way")
    body = payload[:-_FOOTER_BYTES]
    source = Source.of(body)
    codes: list[bytes] = []
    while source.offset < len(body):
        kind = source.byte()
        if kind != opcodes.FUNCTION2:
            raise NotAFunctionError(f"a record of type {kind} among the libraries; nothing was loaded")
        codes.append(source.string())
    return codes
