"""A log file in blocks for `aofnb.aof.check`, most of which are tables: no command becomes an object.

Where commands keep to the form Redis writes, a table (`forensics.scan`) says all that a check asks of them. Wherever
that ends, `CommandReader` goes on, which says what is accepted and how a file ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from aofnb.aof.check_tool import Checked
from aofnb.forensics.scan import CHUNK_BYTES, Records, plain_walk
from aofnb.resp.reader import CommandReader, End, may_frame

__all__ = ["TableReader"]

Ints = npt.NDArray[np.int64]

_CR = ord("\r")
# Second letters of MULTI and EXEC, and how long they are, by their first.
_SECOND, _LENGTH = np.zeros(256, np.uint8), np.zeros(256, np.int64)
_SECOND[list(b"mMeE")] = list(b"uuxx")
_LENGTH[list(b"mMeE")] = [5, 5, 4, 4]
_LOWER = np.uint8(32)


class TableReader:
    """Reads the records of one file as `CommandReader` does, with the same `end`.

    For who asks for no arguments, and for no annotations either, as a search for a time does.
    """

    def __init__(self, file: BinaryIO, size: int, *, offset: int = 0) -> None:
        self._file = file
        self._size = size
        self._offset = offset
        self.end: End | None = None

    def __iter__(self) -> Iterator[Checked]:
        walk = plain_walk()
        at = self._offset
        patience = 1
        while self.end is None:
            self._file.seek(at)
            data = self._file.read(min(CHUNK_BYTES, self._size - at))
            records, end = walk(data, 0, at)
            # Two ways of reading in turn would cost the square of the chunk where neither gets far.
            patience = 1 if end > len(data) // 16 else 2 * patience
            if records is not None and (rows := _rows_before_zeros(records)):
                block = _Table(records.first_rows(rows))
                yield block
                at = block.end
                continue
            # What damage looks like depends on what is in front of it.
            before = max(self._offset, at - 2)
            self._file.seek(before)
            preceding = self._file.read(at - before)
            reader = CommandReader(self._file, self._size, offset=at, preceding=preceding)
            for count, each in enumerate(reader, start=1):
                yield each
                at = each.end
                if count == patience:
                    break
            self.end = reader.end


def _rows_before_zeros(records: Records) -> int:
    """How many of the first commands are in front of an annotation with zero bytes in it, which no loader reads."""
    behind = np.concatenate(([records.begin], (records.start + records.nbytes)[:-1]))
    for row in np.flatnonzero(records.start != behind).tolist():
        if records.data.find(b"\0", int(behind[row]), int(records.start[row])) >= 0:
            return int(row)
    return len(records)


class _Table:
    """A table of commands, none of which Redis would have spelled otherwise."""

    odd = ()
    annotations = ()

    def __init__(self, records: Records) -> None:
        self._records = records
        self.start = int(records.offset[0] - records.start[0]) + records.begin
        self.end = records.file_end

    def __len__(self) -> int:
        return len(self._records)

    @property
    def lines(self) -> int:
        return len(self) + 2 * int(self._records.argc.sum())

    @property
    def offsets(self) -> Ints:
        return self._records.offset

    @property
    def ends(self) -> Ints:
        return self._records.offset + self._records.nbytes

    @property
    def frames(self) -> list[tuple[int, bytes]]:
        records, heads = self._records, self._records.heads
        data = np.frombuffer(records.data, np.uint8)
        # The number in front of a name has one digit or two, or the name is looked at.
        has_one, has_two = data[heads + 2] == _CR, data[heads + 3] == _CR
        name = heads + np.where(has_one, 4, 5)
        first = data[name]
        near = _SECOND[first] == data[name + 1] | _LOWER
        rows = np.flatnonzero(near | ~(has_one | has_two))
        # Names end there, or seem to do so for tools of Redis.
        behind = data[np.minimum(name[rows] + _LENGTH[first[rows]], len(data) - 1)]
        rows = rows[(behind == _CR) | (behind == 0) | ~near[rows]]
        names = ((row, records.arg(row, 0)) for row in rows.tolist())
        return [(row, name) for row, name in names if may_frame(name)]
