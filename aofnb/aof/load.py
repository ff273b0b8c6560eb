"""One file of the log to whole units: a snapshot at its front, if one, then blocks in which every MULTI has its EXEC.

Rules of this file: what a file holds is decided by its first bytes, not by its name; commands of a transaction are
given only once its EXEC was read; where a file ends inside a command, inside a transaction or inside an annotation,
`Tail.cut_at` is the end of the last whole unit, or of the snapshot. That departs from redis-server, which cuts behind
the last whole record and so leaves a MULTI open, which leaves half an annotation in place for the next record to be
appended to, and which cuts the file to 0 bytes where the first record behind a snapshot is cut short. And where one
damaged length takes all that follows for an argument: that is no cut, and the server deletes it.

Redis: aof.c loadSingleAppendOnlyFile (7.0.15).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import BinaryIO, Literal

from aofnb.aof.fs import Fs
from aofnb.errors import RdbError
from aofnb.rdb import MAGIC_BYTES, Loaded, is_rdb
from aofnb.resp.reader import Block, CommandReader, not_cut_short

__all__ = ["RestoreSnapshot", "Tail", "UnitReader", "read_units"]

# Takes a file that stands at a snapshot, and how many bytes it has from there; `load_rdb` with the rest bound to it.
RestoreSnapshot = Callable[[BinaryIO, int], Loaded]

_name = itemgetter(0)


@dataclass(frozen=True, slots=True)
class Tail:
    """How a file ended.

    Attributes
    ----------
    kind
        ``clean``; ``truncated``: inside a record or an annotation; ``open_multi``: behind a whole record of a
        transaction without EXEC; ``format``: at bytes that can be no record.
    offset
        Where the unfinished or malformed record begins; for ``open_multi`` where MULTI does.
    cut_at
        End of the last whole unit: cut here and the file is clean.
    size
        Of the file.
    reason
        What is wrong, for people; empty if ``clean``.
    line_ends_changed
        It looks as if LF stood where CRLF was: every byte else is there, so cutting would lose data.
    """

    kind: Literal["clean", "truncated", "open_multi", "format"]
    offset: int
    cut_at: int
    size: int
    reason: str = ""
    line_ends_changed: bool = False


class UnitReader(Iterator[Block]):
    """Blocks of one file, transactions whole; afterwards `tail` says how it ended.

    `snapshot` is what stood at its front, and was restored before the first block was given.
    """

    def __init__(self, fs: Fs, path: str, expected_size: int | None, restore: RestoreSnapshot | None) -> None:
        self.snapshot: Loaded | None = None
        self._fs = fs
        self._path = path
        self._restore = restore
        self._size = fs.size(path) if expected_size is None else expected_size
        self._tail: Tail | None = None
        self._units = self._read()

    def __next__(self) -> Block:
        return next(self._units)

    @property
    def tail(self) -> Tail:
        """How the file ended. Only once all blocks were taken."""
        if self._tail is None:
            raise RuntimeError("the file was not read to its end")
        return self._tail

    def _read(self) -> Iterator[Block]:
        with self._fs.open_read(self._path) as file:
            start = 0
            if is_rdb(file.read(min(MAGIC_BYTES, self._size))):
                file.seek(0)
                self.snapshot = self._restored(file)
                start = self.snapshot.end
            file.seek(start)
            reader = CommandReader(file, self._size, offset=start)
            # Blocks from the one with an open MULTI on, and where that MULTI is.
            held: list[Block] = []
            multi_at: int | None = None
            for block in reader:
                closed, opened = _borders(block, multi_at is not None)
                if multi_at is not None:
                    held.append(block)
                    if not closed:
                        continue
                    # Everything up to the last EXEC is whole.
                    block = held.pop()
                    yield from held
                    held.clear()
                    multi_at = None
                if opened is None:
                    yield block
                    continue
                whole, rest = block.split(opened)
                if whole.end != whole.start:
                    yield whole
                held.append(rest)
                multi_at = rest.start
            assert reader.end is not None
            end = not_cut_short(file, reader.end, self._size)
        cut_at = end.offset if multi_at is None else multi_at
        if end.kind == "clean" and multi_at is not None:
            self._tail = Tail("open_multi", multi_at, cut_at, self._size, "a transaction has no EXEC")
        else:
            self._tail = Tail(end.kind, end.offset, cut_at, self._size, end.reason, end.line_ends_changed)

    def _restored(self, file: BinaryIO) -> Loaded:
        if self._restore is None:
            raise RdbError(
                "a snapshot, where only commands are read; open the log to load it", file=self._path, offset=0
            )
        return self._restore(file, self._size)


def _borders(block: Block, in_multi: bool) -> tuple[bool, int | None]:
    """Whether a transaction that was open before ends in `block`, and the index of a MULTI left open by it."""
    if block.sets is not None or block.records is not None:
        return False, None
    # A block has few different names, so most blocks are done with here.
    spelled = {name: word for name in set(map(_name, block.argvs)) if (word := name.upper()) in (b"MULTI", b"EXEC")}
    closed = False
    opened: int | None = None
    if spelled:
        for index, argv in enumerate(block.argvs):
            word = spelled.get(argv[0])
            if word == b"EXEC":
                closed = closed or in_multi
                in_multi = False
                opened = None
            elif word is not None and not in_multi:
                in_multi = True
                opened = index
    return closed, opened


def read_units(
    fs: Fs, path: str, *, expected_size: int | None = None, restore: RestoreSnapshot | None = None
) -> UnitReader:
    """Read one file of the log, or the first `expected_size` bytes of it; a snapshot at its front goes to `restore`.

    Returns
    -------
    UnitReader
        Iterate over it for the blocks; then its `tail` says how the file ended. Damage is no exception here.

    Raises
    ------
    RdbError
        At the first block, for a snapshot that is damaged, or any without `restore`.
    OSError
        As the operating system gives it.
    """
    return UnitReader(fs, path, expected_size, restore)
