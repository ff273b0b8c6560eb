"""A snapshot at the front of a file, read to its end: what redis-check-aof, redis-server and we make of it.

They differ. redis-check-aof runs redis-check-rdb, which looks into every value, but not at what is twice, what is of a
module, and how many databases there are. redis-server looks at those, takes most values unseen, and leaves it to the
checksum to notice what was changed. We look at all of it.

Rules of this file: nothing is kept of the values; a snapshot of a version that 7.0.15 does not know is judged as the
tool of a newer server judges it.

Redis: redis-check-rdb.c redis_check_rdb; rdb.c rdbLoadRioWithLoadingCtx (7.0.15).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import BinaryIO

from aofnb.errors import RdbError
from aofnb.rdb import Entry, RdbReader, Skipped
from aofnb.rdb.crc64 import crc64
from aofnb.store.functions import LibraryError, parse_library

__all__ = ["Finding", "SnapshotCheck", "check_snapshot"]

# What redis-server 7.0.15 reads, and how many databases it has if nobody tells it another number.
_SERVER_VERSION = 10
_DATABASES = 16
# The tool takes any number.
_ANY_DATABASE = 1 << 64
_CHECKSUM_BYTES = 8
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a snapshot that somebody minds, and where: an offset in the file."""

    offset: int
    reason: str


@dataclass(frozen=True, slots=True)
class SnapshotCheck:
    """What was found.

    Attributes
    ----------
    end
        Where commands begin behind it; None if that cannot be known.
    damage
        What redis-check-aof objects to.
    server, aofnb
        Why redis-server 7.0.15 and this package refuse to load it.
    left_out
        What this package loads without, since nothing in it can hold that.
    unnoticed
        The checksum is right, or there is none, so it depends on the kind of damage whether the server sees it at
        once, or when somebody reads the key.
    """

    end: int | None
    damage: Finding | None
    server: Finding | None
    aofnb: Finding | None
    left_out: Finding | None = None
    unnoticed: bool = False


def check_snapshot(file: BinaryIO, size: int) -> SnapshotCheck:
    """Read the snapshot that `file`, open at its beginning and of `size` bytes, begins with.

    Time is linear in its size; memory is that of its largest value, and about 100 bytes for each key.
    """
    try:
        reader = RdbReader(file, size, databases=_ANY_DATABASE)
    except RdbError as problem:
        found = _finding(problem)
        return SnapshotCheck(None, found, found, found)
    minded = _Minded()
    try:
        for entry in reader:
            minded.key(entry)
    except RdbError as problem:
        found = _finding(problem)
        return SnapshotCheck(None, found, found, found, unnoticed=_checksum_holds(file, size))
    assert reader.end is not None
    unsupported = _unsupported(reader.skipped)
    database = version = None
    highest, offset = reader.highest_db
    if highest >= _DATABASES:
        database = Finding(offset, f"database {highest}; with {_DATABASES} of them, as usual, there is none")
    if reader.version > _SERVER_VERSION:
        version = Finding(0, f"a snapshot of version {reader.version}: 7.0.15 reads up to {_SERVER_VERSION}")
    library = _bad_library(reader.functions)
    damage = None
    if reader.first_empty is not None:
        damage = Finding(reader.first_empty, "a collection without elements, which servers leave out")
    return SnapshotCheck(
        reader.end,
        damage,
        server=version or database or minded.twice or unsupported or library,
        aofnb=database or minded.twice or library,
        left_out=unsupported,
    )


class _Minded:
    """What loading minds about keys, the first of each kind."""

    def __init__(self) -> None:
        self.twice: Finding | None = None
        # Hashes of keys: 64 bits, of which two are the same by chance in none of a million large snapshots.
        self._keys: set[int] = set()

    def key(self, entry: Entry) -> None:
        known = len(self._keys)
        self._keys.add(hash((entry.db, entry.key)))
        if len(self._keys) == known and self.twice is None:
            self.twice = Finding(entry.offset, f"the key {entry.key!r} comes twice in database {entry.db}")


def _finding(problem: RdbError) -> Finding:
    return Finding(problem.offset or 0, problem.message)


def _unsupported(skipped: list[Skipped]) -> Finding | None:
    if not skipped:
        return None
    at = "" if skipped[0].key is None else f", at the key {skipped[0].key!r}"
    return Finding(skipped[0].offset, f"{skipped[0].reason}{at}")


def _bad_library(functions: list[bytes]) -> Finding | None:
    names: set[str] = set()
    for code in functions:
        try:
            name = parse_library(code).name
        except LibraryError as problem:
            return Finding(0, f"a function library that cannot be loaded: {problem}")
        if name in names:
            return Finding(0, f"the function library {name!r} comes twice")
        names.add(name)
    return None


def _checksum_holds(file: BinaryIO, size: int) -> bool:
    """Whether the last eight bytes are the checksum of all in front of them, or say that there is none."""
    if size < _CHECKSUM_BYTES:
        return False
    file.seek(size - _CHECKSUM_BYTES, os.SEEK_SET)
    stored = int.from_bytes(file.read(_CHECKSUM_BYTES), "little")
    file.seek(0)
    crc, left = 0, size - _CHECKSUM_BYTES
    while stored and left and (piece := file.read(min(_PIECE, left))):
        crc = crc64(piece, crc)
        left -= len(piece)
    return stored in (0, crc)
