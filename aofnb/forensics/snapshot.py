"""A snapshot (RDB) in front of a log as the commands that would rebuild it, in the tables that `scan_file` gives.

Each row's place in the file is that of the key it came from; a key of many elements makes several rows with one
place. Memory is bounded by a table and the largest single key.

Redis: rdb.c rdbLoadRio; aof.c rewriteAppendOnlyFileRio for the form of the commands (7.0.15).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import BinaryIO, Protocol, cast

import numpy as np
import numpy.typing as npt

from aofnb.errors import RdbError
from aofnb.forensics import _walk_cy
from aofnb.forensics._keys_cy import COMPILED, KeyRows
from aofnb.forensics.checksum import crc64
from aofnb.forensics.keyruns import records_of_run
from aofnb.forensics.keys import command_at
from aofnb.forensics.parts import Part, PartFile
from aofnb.forensics.scan import Records
from aofnb.forensics.words import count
from aofnb.rdb import opcodes
from aofnb.rdb.reader import Entry, RdbReader
from aofnb.store.snapshot import commands_of_key

__all__ = ["SnapshotRows", "commands_of_entry"]

_TABLE_BYTES = 4 << 20
_TABLE_ROWS = 1 << 16
_COPY_BYTES = 1 << 20
# Without the kernel, so many rows one by one take as long as columns of them do.
_FEW = 40


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
        ``empty``: keys without elements, which no command makes; ``checksum``: some byte is not what was written, so
        no server loads it.
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
        reader = RdbReader(file, size, name=self._part.path, checksum="report", sum_up=crc64)
        rows = _Rows(reader)
        db = -1
        try:
            for entry in reader:
                rows.add_libraries()
                if entry.db != db:
                    db = entry.db
                    rows.add(entry.offset, [b"SELECT", b"%d" % db])
                yield from rows.add_key(entry)
                yield from rows.add_run()
            rows.add_libraries()
            if db > 0 and reader.end is not None and reader.end < size:
                # What stands behind is of a client that loaded nothing. Its place is where no key and no command is.
                rows.add(reader.end - 1, [b"SELECT", b"0"])
        except RdbError:
            # What stands before the damage counts.
            yield from rows.flush()
            raise
        yield from rows.flush()
        self.end = reader.end
        for skipped in reader.skipped:
            key = "" if skipped.key is None else f", at the key {skipped.key!r}"
            self.notes.append(("skipped", skipped.offset, skipped.reason + key))
        if reader.first_empty is not None:
            what = f"{count(reader.empty_keys, 'key')} without elements, which servers leave out"
            self.notes.append(("empty", reader.first_empty, what))
        if reader.checksum == "wrong":
            self.notes.append(("checksum", 0, "the checksum is wrong: some byte of the snapshot was changed"))


def commands_of_entry(entry: Entry) -> Iterator[list[bytes]]:
    """The commands that make one key of a snapshot, with its deadlines."""
    yield from commands_of_key(entry.key, entry.value)
    if entry.expire_ms is not None:
        yield [b"PEXPIREAT", entry.key, b"%d" % entry.expire_ms]


class _Rows:
    """Commands on their way into a table."""

    def __init__(self, reader: RdbReader) -> None:
        self._reader = reader
        self._table = _new_table(reader)
        self._libraries = 0

    def add_libraries(self) -> None:
        """The libraries that were read since this was called last."""
        functions = self._reader.functions
        for code, offset, end in functions[self._libraries :]:
            self._table.add(offset, end - offset, end, [b"FUNCTION", b"LOAD", code])
        self._libraries = len(functions)

    def add(self, offset: int, argv: list[bytes]) -> None:
        """A command of no key."""
        self._table.add(offset, 0, self._table.end, argv)

    def add_key(self, entry: Entry) -> Iterator[Records]:
        """The commands that make one key; yields a table whenever one is full."""
        table = self._table
        # The first has the bytes of the key, so that sums over rows are right.
        nbytes = entry.end - entry.offset
        for argv in commands_of_entry(entry):
            table.add(entry.offset, nbytes, entry.end, argv)
            nbytes = 0
            if table.is_full:
                yield table.take_records()

    def add_run(self) -> Iterator[Records]:
        """The keys behind the one that was read last, as many as the table takes by itself; as `add_key`."""
        table = self._table
        self._reader.run(table.take)
        while table.is_full:
            yield table.take_records()
            self._reader.run(table.take)

    def flush(self) -> Iterator[Records]:
        if len(self._table):
            yield self._table.take_records()


class _Table(Protocol):
    """A table in the making; of keys that are taken from a snapshot's bytes, some commands may follow in the next."""

    # Where the key ends that came last.
    end: int

    @property
    def is_full(self) -> bool: ...
    def __len__(self) -> int: ...
    def add(self, offset: int, nbytes: int, end: int, argv: Sequence[bytes], /) -> None: ...
    def take(self, data: bytes, at: int, base: int, /) -> tuple[int, bool]: ...
    def take_records(self) -> Records: ...


class _PlainTable:
    """Rows as lists of arguments, and as tables of many keys.

    `limits` are settings: sorted sets up to that size, with members up to that long, are in the order of their scores.
    """

    def __init__(self, limits: tuple[int, int]) -> None:
        self.end = 0
        self._limits = limits
        # In front of the rows that are lists.
        self._tables: list[Records] = []
        self._argvs: list[Sequence[bytes]] = []
        self._offsets: list[int] = []
        self._sizes: list[int] = []
        self._rows = self._bytes = 0
        # Whether there were, the last time.
        self._are_many = False

    @property
    def is_full(self) -> bool:
        return self._bytes >= _TABLE_BYTES or self._rows >= _TABLE_ROWS

    def __len__(self) -> int:
        return self._rows

    def add(self, offset: int, nbytes: int, end: int, argv: Sequence[bytes]) -> None:
        self._argvs.append(argv)
        self._offsets.append(offset)
        self._sizes.append(nbytes)
        self._rows += 1
        self._bytes += sum(map(len, argv))
        self.end = end

    def take(self, data: bytes, at: int, base: int) -> tuple[int, bool]:
        """Take what is no rare form: entry by entry, which gives the same, takes three times as long, or seven times
        where there are many in a row.
        """
        rows = self._rows
        if not self._are_many:
            at = self._take_few(data, at, base)
        if self._are_many or self._rows - rows >= _FEW:
            at = self._take_many(data, at, base)
        self._are_many = self._rows - rows >= _FEW
        return at, False

    def _take_few(self, data: bytes, at: int, base: int) -> int:
        """Take keys one by one, some more than there must be for columns."""
        stop = min(self._rows + _FEW, _TABLE_ROWS - 1)
        # A table may end in front of a deadline, too: that is left for the entry.
        while self._rows < stop and self._bytes < _TABLE_BYTES and at < len(data):
            offset, when_ms = at, -1
            if data[at] == opcodes.EXPIRETIME_MS:
                when_ms = int.from_bytes(data[at + 1 : at + 9], "little", signed=True)
                offset += 9
            argv: list[bytes] = []
            end = command_at(data, offset, argv, self._limits) if offset < len(data) else -1
            if end < 0 or self._bytes + sum(map(len, argv)) >= _TABLE_BYTES:
                break
            self.add(base + offset, end - offset, base + end, argv)
            if when_ms != -1:
                self.add(base + offset, 0, base + end, [b"PEXPIREAT", argv[1], b"%d" % when_ms])
            at = end
        return at

    def _take_many(self, data: bytes, at: int, base: int) -> int:
        """Take keys by columns."""
        while (most_rows := _TABLE_ROWS - 1 - self._rows) > 0 and (most_bytes := _TABLE_BYTES - self._bytes) > 0:
            run, nbytes, end = records_of_run(data, at, base, self._limits, most_rows, most_bytes)
            if run is None:
                break
            self._settle()
            self._tables.append(run)
            self._rows += len(run)
            self._bytes += nbytes
            at, self.end = end, base + end
        return at

    def take_records(self) -> Records:
        self._settle()
        made = _joined(self._tables, self.end)
        self._tables, self._rows, self._bytes = [], 0, 0
        return made

    def _settle(self) -> None:
        """Make a table of the rows that are lists."""
        if self._argvs:
            self._tables.append(Records.of(self._argvs, self._offsets, self._sizes, snapshot_end=self.end))
            self._argvs, self._offsets, self._sizes = [], [], []


class _KernelTable(KeyRows):
    """Rows as the kernel makes them."""

    def take_records(self) -> Records:
        rows = len(self)
        data, places = self.take_table()
        offset, nbytes = np.array(places, np.int64).reshape(rows, 2).T.copy()
        start, heads, argc, sizes = np.empty((4, rows), np.int64)
        _walk_cy.skip(data, 0, start, heads, sizes, argc, np.empty(2, np.int64))
        ends, first = np.empty(rows + 2 * int(argc.sum()), np.int64), np.empty(rows, np.int64)
        _walk_cy.lines(data, 0, start, argc, ends, first)
        return Records(
            data=data,
            begin=0,
            start=start,
            heads=heads,
            argc=argc,
            offset=offset,
            nbytes=nbytes,
            lf=np.zeros(rows, bool),
            ts=[],
            snapshot_end=self.end,
            lines=(ends, first),
        )


def _joined(tables: Sequence[Records], end: int) -> Records:
    """One table of all rows; the last key ends there in the file."""
    bytes_before, lines_before = (
        np.cumsum([0, *sizes[:-1]])
        for sizes in ([len(table.data) for table in tables], [len(table.ends) for table in tables])
    )

    def column(name: str, before: Iterable[int] = repeat(0)) -> npt.NDArray[np.int64]:
        return np.concatenate([getattr(table, name) + more for table, more in zip(tables, before, strict=False)])

    return Records(
        data=b"".join([table.data for table in tables]),
        begin=0,
        start=column("start", bytes_before),
        heads=column("heads", bytes_before),
        argc=column("argc"),
        offset=column("offset"),
        nbytes=column("nbytes"),
        lf=np.zeros(sum(map(len, tables)), bool),
        ts=[],
        snapshot_end=end,
        lines=(column("ends", bytes_before), column("first", lines_before)),
    )


def _new_table(reader: RdbReader) -> _Table:
    config = reader.config
    limits = config.zset_max_listpack_entries, config.zset_max_listpack_value
    if not COMPILED:
        return _PlainTable(limits)
    return _KernelTable(reader.version, _TABLE_ROWS, _TABLE_BYTES, config.set_max_intset_entries, *limits)
