"""Payloads of DUMP and FUNCTION DUMP: a value, or libraries, with the version of the format and a checksum.

Redis: cluster.c createDumpPayload, verifyDumpPayload; functions.c functionDumpCommand, functionRestoreCommand (7.0.15).
"""

from __future__ import annotations

from collections.abc import Iterable

from aofnb.config import Config
from aofnb.errors import RdbError
from aofnb.rdb import opcodes
from aofnb.rdb.crc64 import crc64
from aofnb.rdb.decode import Context, Unsupported, check_type, decode_value, function_pre_ga
from aofnb.rdb.encode import encode_value
from aofnb.rdb.primitives import string
from aofnb.rdb.source import Source
from aofnb.store.values import Value

__all__ = ["ChecksumError", "dump_functions", "dump_payload", "load_functions", "load_payload"]

_DEFAULTS = Config()
# Version and checksum.
_FOOTER_BYTES = 10
# They came with their version, and what holds fields that expire must be known by whoever loads it.
_EXPIRING_HASHES = (opcodes.HASH_METADATA, opcodes.HASH_LISTPACK_EX)


class ChecksumError(RdbError):
    """Too short, of a version that is not known, or with a wrong checksum."""


def dump_payload(value: Value, config: Config = _DEFAULTS) -> bytes:
    """`value` as DUMP gives it on redis-server 7.0.

    Byte for byte the same, but: members of large sets and hashes come in another order, lists that grew or shrank
    at their front may be cut into nodes elsewhere, deleted entries of streams leave no gaps, and strings of more
    than 256 KiB are not compressed.

    >>> dump_payload(b"abc").hex(" ")
    '00 03 61 62 63 0a 00 d9 ac 30 3d 41 72 a2 e2'
    """
    type_, pieces = encode_value(value, config)
    version = opcodes.RDB_VERSION_FIELDS if type_ in _EXPIRING_HASHES else opcodes.RDB_VERSION
    return _with_footer(b"%c%b" % (type_, b"".join(pieces)), version)


def load_payload(payload: bytes, config: Config = _DEFAULTS, newest: int = opcodes.RDB_VERSION) -> Value:
    """The value in `payload`, in the encoding that the settings make of it. What follows the value is ignored.

    Parameters
    ----------
    payload
        What DUMP gave.
    config
        The settings.
    newest
        The highest version to accept; a payload of a later one may hold what a server of this version refuses.
        A hash with fields that expire is accepted all the same.

    Raises
    ------
    ChecksumError
        If the last ten bytes are not a known version and the right checksum.
    RdbError
        If the rest is damaged, empty, or of a kind that cannot be held here.
    """
    body, version = _without_footer(payload, newest)
    source = Source.of(body)
    type_ = source.byte()
    source.opcode = type_
    context = Context(config, version)
    check_type(source, type_, context)
    try:
        value = decode_value(source, type_, context)
    except Unsupported as problem:
        raise source.error(f"{problem}; nothing here can hold it") from None
    if value is None:
        raise source.error("a collection without elements")
    return value


def dump_functions(libraries: Iterable[bytes]) -> bytes:
    """The sources of function libraries as FUNCTION DUMP gives them on redis-server 7.0."""
    return _with_footer(b"".join(b"%c%b" % (opcodes.FUNCTION2, string(code, True)) for code in libraries))


def load_functions(payload: bytes, newest: int = opcodes.RDB_VERSION) -> list[bytes]:
    """The sources of the libraries in `payload`, which FUNCTION DUMP gave; they are not looked into.

    Raises
    ------
    ChecksumError
        If the last ten bytes are not a version up to `newest` and the right checksum.
    RdbError
        If the rest is damaged, or anything but libraries.
    """
    body, _version = _without_footer(payload, newest)
    source = Source.of(body)
    libraries: list[bytes] = []
    while source.left:
        source.begin()
        source.opcode = source.byte()
        if source.opcode == opcodes.FUNCTION2:
            libraries.append(source.string())
        elif source.opcode == opcodes.FUNCTION_PRE_GA:
            libraries.append(function_pre_ga(source))
        else:
            raise source.error("given type is not a function")
    return libraries


def _with_footer(body: bytes, version: int = opcodes.RDB_VERSION) -> bytes:
    body += version.to_bytes(2, "little")
    return body + crc64(body).to_bytes(8, "little")


def _without_footer(payload: bytes, newest: int) -> tuple[bytes, int]:
    """What stands before the version and the checksum, once both are found good, and the version."""
    if len(payload) < _FOOTER_BYTES:
        raise ChecksumError(
            f"a payload of {len(payload)} bytes: the version and the checksum alone take {_FOOTER_BYTES}"
        )
    version = int.from_bytes(payload[-10:-8], "little")
    if version > newest and not (version == opcodes.RDB_VERSION_FIELDS and payload[0] in _EXPIRING_HASHES):
        raise ChecksumError(f"a payload of version {version}: only versions up to {newest} are accepted")
    with memoryview(payload) as view, view[:-8] as summed:
        if crc64(summed) != int.from_bytes(payload[-8:], "little"):
            raise ChecksumError("a payload whose checksum is wrong; it was changed on its way")
    return payload[:-_FOOTER_BYTES], version
