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
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from aofnb.errors import RdbError
from aofnb.rdb import Entry, LibraryEntry, RdbReader, Skipped
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
_PARTS = 256
# So far apart progress is told.
_TELL_BYTES = 1 << 20


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


def check_snapshot(file: BinaryIO, size: int, progress: Callable[[int], object] = lambda offset: None) -> SnapshotCheck:
    """Read the snapshot that `file`, open at its beginning and of `size` bytes, begins with.

    `progress` is told now and then how far that is, in bytes.

    Time is linear in its size; memory is that of its largest value, and 8 bytes for each key.
    """
    try:
        reader = RdbReader(file, size, databases=_ANY_DATABASE)
    except RdbError as problem:
        found = _finding(problem)
        return SnapshotCheck(None, found, found, found)
    keys = _KeyHashes()
    try:
        told = 0
        for entry in reader:
            keys.add(entry)
            if entry.offset - told > _TELL_BYTES:
                told = entry.offset
                progress(told)
    except RdbError as problem:
        found = _finding(problem)
        return SnapshotCheck(None, found, found, found, unnoticed=_checksum_holds(file, size))
    assert reader.end is not None
    twice = _first_of(file, size, keys.more_than_once())
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
        server=version or database or twice or unsupported or library,
        aofnb=database or twice or library,
        left_out=unsupported,
    )


class _KeyHashes:
    """Hashes of all keys, in as few bytes as they take: large snapshots have a hundred million keys."""

    def __init__(self) -> None:
        # In parts, so that only one of them is looked through at a time.
        self._parts = [array("q") for _ in range(_PARTS)]

    def add(self, entry: Entry) -> None:
        number = _hash(entry)
        self._parts[number % _PARTS].append(number)

    def more_than_once(self) -> set[int]:
        """The hashes that came more than once."""
        found: set[int] = set()
        for part in self._parts:
            if len(set(part)) != len(part):
                found.update(number for number, times in Counter(part).items() if times > 1)
        return found


def _hash(entry: Entry) -> int:
    return hash((entry.db, entry.key))


def _first_of(file: BinaryIO, size: int, suspects: set[int]) -> Finding | None:
    """The first key that comes a second time, of those with a hash in `suspects`, which different keys may share."""
    if not suspects:
        return None
    file.seek(0)
    seen: set[tuple[int, bytes]] = set()
    for entry in RdbReader(file, size, databases=_ANY_DATABASE, checksum="skip"):
        if _hash(entry) in suspects:
            if (entry.db, entry.key) in seen:
                return Finding(entry.offset, f"the key {entry.key!r} comes twice in database {entry.db}")
            seen.add((entry.db, entry.key))
    return None


def _finding(problem: RdbError) -> Finding:
    return Finding(problem.offset or 0, problem.message)


def _unsupported(skipped: list[Skipped]) -> Finding | None:
    if not skipped:
        return None
    at = "" if skipped[0].key is None else f", at the key {skipped[0].key!r}"
    return Finding(skipped[0].offset, f"{skipped[0].reason}{at}")


def _bad_library(functions: list[LibraryEntry]) -> Finding | None:
    names: set[str] = set()
    for entry in functions:
        try:
            name = parse_library(entry.code).name
        except LibraryError as problem:
            return Finding(entry.offset, f"a function library that cannot be loaded: {problem}")
        if name in names:
            return Finding(entry.offset, f"the function library {name!r} comes twice")
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
