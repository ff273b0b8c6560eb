"""A snapshot (RDB) in front of a log as the commands that would rebuild it, in the tables that `scan_file` gives.

Each row's place in the file is that of the key it came from; a key of many elements makes several rows with one
place. Memory is bounded by a table and the largest single key.

Redis: rdb.c rdbLoadRio; aof.c rewriteAppendOnlyFileRio for the form of the commands (7.0.15).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from aofnb.errors import RdbError
from aofnb.forensics.parts import Part, PartFile
from aofnb.forensics.scan import Records
from aofnb.rdb.reader import Entry, RdbReader
from aofnb.store.snapshot import commands_of_key

__all__ = ["SnapshotRows", "commands_of_entry"]

_TABLE_BYTES = 4 << 20
_TABLE_ROWS = 1 << 16
_COPY_BYTES = 1 << 20


class SnapshotRows:
    """The rows of one snapshot; afterwards `end` is where the log behind it begins.

    Parameters
    ----------
    file, part
        The part, open where it begins. A compressed one is unpacked into a temporary file first, since a snapshot
        is read with its size known.

    Attributes
    ----------
    end
        Offset behind the snapshot. None before the last row.
    notes
        What is wrong with what was read: (kind, offset, reason) each. ``skipped``: no row can hold it;
        ``checksum``: some byte is not what was written, so no server loads it.
    """

    def __init__(self, file: PartFile, part: Part) -> None:
        self._file, self._part = file, part
        self.end: int | None = None
        self.notes: list[tuple[str, int, str]] = []

    def tables(self) -> Iterator[Records]:
        """Tables of rows, in the order of the file.

        Raises
        ------
        RdbError
            Where the snapshot is damaged; what was before has been given.
        """
        if not self._part.compression:
            yield from self._read(cast("BinaryIO", self._file), self._part.size)
            return
        with tempfile.TemporaryFile() as unpacked:
            while piece := self._file.read(_COPY_BYTES):
                unpacked.write(piece)
            size = unpacked.tell()
            unpacked.seek(0)
            yield from self._read(unpacked, size)

    def _read(self, file: BinaryIO, size: int) -> Iterator[Records]:
        reader = RdbReader(file, size, name=self._part.path, checksum="report")
        rows = _Rows()
        db = -1
        libraries = 0
        try:
            for entry in reader:
                libraries = rows.add_libraries(reader, libraries)
                if entry.db != db:
                    db = entry.db
                    rows.add(entry.offset, 0, [b"SELECT", b"%d" % db])
                yield from rows.add_key(entry)
            rows.add_libraries(reader, libraries)
            if db > 0 and reader.end is not None and reader.end < size:
                # What stands behind is of a client that loaded nothing. Its place is where no key and no command is.
                rows.add(reader.end - 1, 0, [b"SELECT", b"0"])
        except RdbError:
            # What stands before the damage counts.
            yield from rows.flush()
            raise
        yield from rows.flush()
        self.end = reader.end
        self.notes += [("skipped", skipped.offset, skipped.reason) for skipped in reader.skipped]
        if reader.checksum == "wrong":
            self.notes.append(("checksum", 0, "the checksum is wrong: some byte of the snapshot was changed"))


def commands_of_entry(entry: Entry) -> Iterator[list[bytes]]:
    """The commands that make one key of a snapshot, with its deadlines."""
    yield from commands_of_key(entry.key, entry.value)
    if entry.expire_ms is not None:
        yield [b"PEXPIREAT", entry.key, b"%d" % entry.expire_ms]


class _Rows:
    """Commands on their way into a table."""

    def __init__(self) -> None:
        self._argvs: list[Any] = []
        self._offsets: list[int] = []
        self._sizes: list[int] = []
        self._bytes = 0
        self._end = 0

    def add(self, offset: int, nbytes: int, argv: list[bytes]) -> None:
        self._argvs.append(argv)
        self._offsets.append(offset)
        self._sizes.append(nbytes)
        self._bytes += sum(map(len, argv))

    def add_libraries(self, reader: RdbReader, known: int) -> int:
        """The libraries that were read since there were `known` of them; returns how many there are now."""
        for code in reader.functions[known:]:
            self.add(0, 0, [b"FUNCTION", b"LOAD", code])
        return len(reader.functions)

    def add_key(self, entry: Entry) -> Iterator[Records]:
        """The commands that make one key; yields a table whenever one is full."""
        self._end = entry.end
        # The first has the bytes of the key, so that sums over rows are right.
        nbytes = entry.end - entry.offset
        for argv in commands_of_entry(entry):
            self.add(entry.offset, nbytes, argv)
            nbytes = 0
            if self._bytes >= _TABLE_BYTES or len(self._argvs) >= _TABLE_ROWS:
                yield from self.flush()

    def flush(self) -> Iterator[Records]:
        if not self._argvs:
            return
        yield Records.of(self._argvs, self._offsets, self._sizes, snapshot_end=self._end)
        self._argvs, self._offsets, self._sizes, self._bytes = [], [], [], 0
