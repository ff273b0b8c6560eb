"""A keyspace as a snapshot of version 10, which redis-server from 7.0 on loads.

Where a field of a hash has a deadline it is one of version 12, which takes a server from 7.4 on: an older one knows
neither that form nor the HPEXPIREAT in the log behind it.

Rules of this file: keys that are overdue are written like any other, with their deadline, since the log behind a
base may refer to them; the keyspace must not change while it is walked; a collection without elements is
written only where it is a stream.

Redis: rdb.c rdbSaveRio (7.0.15).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from struct import Struct
from typing import Protocol

from aofnb.config import Config
from aofnb.rdb import opcodes
from aofnb.rdb.crc64 import crc64
from aofnb.rdb.encode import encode_value
from aofnb.rdb.primitives import length, string
from aofnb.store.keyspace import Database, Keyspace

__all__ = ["REDIS_VERSION", "base_aux", "database_head", "file_head", "rdb_pieces", "write_rdb"]

# The server that writes the same bytes.
REDIS_VERSION = b"7.0.15"
_PIECE = 1 << 20
_DEADLINE = Struct("<Bq")
_STRING = b"%c" % opcodes.STRING


class Writable(Protocol):
    """A file to write to: all of `data`, or an OSError."""

    def write(self, data: bytes, /) -> object: ...


def write_rdb(
    file: Writable,
    keyspace: Keyspace,
    *,
    aux: Iterable[tuple[bytes, bytes]] = (),
    config: Config | None = None,
    compressed: bool = False,
    checksum: bool = True,
    progress: Callable[[int, int], None] | None = None,
    each_key: Callable[[], None] | None = None,
) -> int:
    """Write a snapshot of `keyspace` to `file`, about one MiB at a time; to sync it is up to the caller.

    Parameters
    ----------
    file, keyspace
        Where to, and what.
    aux, config, compressed, checksum, each_key
        As for `rdb_pieces`.
    progress
        Called after each write with the bytes written and the keys among them. What it raises ends the writing.

    Returns
    -------
    int
        Size of the snapshot in bytes.
    """
    written = 0
    pieces = rdb_pieces(keyspace, aux=aux, config=config, compressed=compressed, checksum=checksum, each_key=each_key)
    for keys, piece in pieces:
        file.write(piece)
        written += len(piece)
        if progress is not None:
            progress(written, keys)
    return written


def rdb_pieces(
    keyspace: Keyspace,
    *,
    aux: Iterable[tuple[bytes, bytes]] = (),
    config: Config | None = None,
    compressed: bool = False,
    checksum: bool = True,
    each_key: Callable[[], None] | None = None,
) -> Iterator[tuple[int, bytes]]:
    """The bytes of a snapshot of `keyspace`, in pieces of about one MiB, each with how many keys there were so far.

    Parameters
    ----------
    keyspace
        What to write. It must not change before the last piece was taken.
    aux
        What the file says about itself, as names and values; `base_aux` makes what a server writes.
    config
        Settings that decide on the form of lists; the defaults if not given.
    compressed
        Whether strings from 21 bytes to 256 KiB are compressed where that helps (``rdbcompression``, which servers
        have on). It is slow: about a second per MiB.
    checksum
        Whether to end with a checksum (``rdbchecksum``) and not with zeros.
    each_key
        Called behind each key. What it raises ends the writing.
    """
    config = Config() if config is None else config
    buf = bytearray(file_head(keyspace, aux, compressed))
    crc = keys = 0
    for db in keyspace:
        if len(db):
            buf += database_head(db)
        for key, value, deadline_ms in db.walk():
            if deadline_ms is not None:
                buf += _DEADLINE.pack(opcodes.EXPIRETIME_MS, deadline_ms)
            if type(value) is bytes:
                # Most keys are strings, and this loop is what a rewrite waits for.
                buf += _STRING + (string(key, compressed) + string(value, compressed))
            else:
                type_, pieces = encode_value(value, config, compressed)
                buf += b"%c%b" % (type_, string(key, compressed))
                for piece in pieces:
                    buf += piece
                    if len(buf) >= _PIECE:
                        crc = crc64(buf, crc) if checksum else 0
                        yield keys, bytes(buf)
                        buf.clear()
            keys += 1
            if each_key is not None:
                each_key()
            if len(buf) >= _PIECE:
                crc = crc64(buf, crc) if checksum else 0
                yield keys, bytes(buf)
                buf.clear()
    buf.append(opcodes.EOF)
    crc = crc64(buf, crc) if checksum else 0
    yield keys, bytes(buf) + crc.to_bytes(8, "little")


def base_aux(now_s: int, used_bytes: int, *, of_log: bool = True) -> list[tuple[bytes, bytes]]:
    """What redis-server says in a snapshot: its version, the time in seconds, memory, whether a log is behind it."""
    return [
        (b"redis-ver", REDIS_VERSION),
        (b"redis-bits", b"64"),
        (b"ctime", b"%d" % now_s),
        (b"used-mem", b"%d" % used_bytes),
        (b"aof-base", b"%d" % of_log),
    ]


def file_head(keyspace: Keyspace, aux: Iterable[tuple[bytes, bytes]], compressed: bool = False) -> bytes:
    """What stands before the first database: version, `aux`, functions."""
    version = opcodes.RDB_VERSION_FIELDS if keyspace.has_field_deadlines() else opcodes.RDB_VERSION
    parts = [b"%b%04d" % (opcodes.MAGIC_REDIS, version)]
    parts += [b"%c%b%b" % (opcodes.AUX, string(name, compressed), string(value, compressed)) for name, value in aux]
    parts += [b"%c%b" % (opcodes.FUNCTION2, string(lib.code, compressed)) for lib in keyspace.functions.values()]
    return b"".join(parts)


def database_head(db: Database) -> bytes:
    """What stands before the keys of a database: its number and its size."""
    numbers = length(db.index), opcodes.RESIZEDB, length(len(db)), length(db.volatile)
    return b"%c%b%c%b%b" % (opcodes.SELECTDB, *numbers)
