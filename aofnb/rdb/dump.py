"""DUMP payloads: a value by itself, with the version of the format and a checksum.

Redis: cluster.c createDumpPayload, verifyDumpPayload (7.0.15).
"""

from __future__ import annotations

from aofnb.config import Config
from aofnb.errors import RdbError
from aofnb.rdb import opcodes
from aofnb.rdb.crc64 import crc64
from aofnb.rdb.decode import Context, Unsupported, decode_value
from aofnb.rdb.encode import encode_value
from aofnb.rdb.source import Source
from aofnb.store.values import Value

__all__ = ["ChecksumError", "dump_payload", "load_payload"]

_DEFAULTS = Config()
# Version and checksum.
_FOOTER_BYTES = 10


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
    body = b"%c%b%b" % (type_, b"".join(pieces), opcodes.RDB_VERSION.to_bytes(2, "little"))
    return body + crc64(body).to_bytes(8, "little")


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

    Raises
    ------
    ChecksumError
        If the last ten bytes are not a known version and the right checksum.
    RdbError
        If the rest is damaged, empty, or of a kind that cannot be held here.
    """
    if len(payload) < _FOOTER_BYTES:
        raise ChecksumError(
            f"a payload of {len(payload)} bytes: the version and the checksum alone take {_FOOTER_BYTES}"
        )
    version = int.from_bytes(payload[-10:-8], "little")
    if version > newest:
        raise ChecksumError(f"a payload of version {version}: only versions up to {newest} are accepted")
    with memoryview(payload) as view, view[:-8] as summed:
        if crc64(summed) != int.from_bytes(payload[-8:], "little"):
            raise ChecksumError("a payload whose checksum is wrong; it was changed on its way")
    source = Source.of(payload[:-_FOOTER_BYTES])
    type_ = source.byte()
    source.opcode = type_
    context = Context(config, version)
    try:
        value = decode_value(source, type_, context)
    except Unsupported as problem:
        raise source.error(f"{problem}; nothing here can hold it") from None
    if context.field_expires:
        raise source.error("a hash with fields that expire; nothing here can hold it")
    if value is None:
        raise source.error("a collection without elements")
    return value
