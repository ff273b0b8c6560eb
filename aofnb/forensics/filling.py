"""All of a log as one frame, without tables and batches on the way: a kernel writes the rows where they stay.

That is for a whole log and the default columns. Snapshots, and what does not keep to the form that Redis writes, come
as tables all the same, and go the way of all others: `RowBuilder` and `Assembly`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import numpy as np
import pandas as pd
import pyarrow as pa

from aofnb.forensics import _fill_cy
from aofnb.forensics.assembly import Assembly
from aofnb.forensics.columns import DEFAULT_COLUMNS, RowBuilder, Selection
from aofnb.forensics.parts import Part, PartFile
from aofnb.forensics.reading import OPEN_MULTI, OnBad, Progress, Report, teller
from aofnb.forensics.rows import open_multi, tables
from aofnb.forensics.scan import Record, Records, plain_walk, read_record

__all__ = ["filled_frame", "is_plain"]

# So many rows at once: their keys wait for each other.
_ROOM = 1 << 16
# With more of them, what stands for a command may be too wide for the kernel.
_COMMANDS = 1 << 14


def is_plain(selection: Selection) -> bool:
    """Whether the kernel can do what is wanted: all rows, and columns that it has."""
    filters = (selection.cmd, selection.keys, selection.db)
    return _fill_cy.COMPILED and filters == (None, None, None) and set(selection.columns) <= set(DEFAULT_COLUMNS)


def filled_frame(
    parts: Sequence[Part], selection: Selection, on_bad: OnBad, progress: Progress, report: Report
) -> pd.DataFrame:
    """The frame; `on_bad` is not ``resync``, which may look back at rows. Fills `report`, but for what times need.

    Raises
    ------
    AofError
        At damage, if `on_bad` is ``error``.
    """
    filling = _Filling(parts, selection, progress, report)
    for number, part in enumerate(parts):
        with part.open() as file:
            filling.begin(number, part, file)
            # Whoever is stopped leaves no thread in a file that is closed.
            with closing(tables(part, file, 0, on_bad, report, filling.walk, read_ahead=True)) as found:
                for each in found:
                    filling.add(each)
            filling.end(on_bad)
    return filling.frame()


class _Filling:
    def __init__(self, parts: Sequence[Part], selection: Selection, progress: Progress, report: Report) -> None:
        names = [part.name for part in parts]
        self._builder = RowBuilder(names, selection)
        self._assembly = Assembly(selection.schema(), names)
        self._report = report
        self._tell = teller(progress)
        self._bytes = sum(part.size for part in parts)
        self._bytes_before = 0
        self._key_offsets = np.zeros(_ROOM + 1, np.int64)
        self._key_there = np.empty(_ROOM if "key" in selection.columns else 0, np.uint8)
        self._key_bytes = np.empty(0, np.uint8)
        self._commands = np.empty((0, 6), np.int64)
        self._to_table = plain_walk()
        # How many a row takes; of the smallest there is, until there is better to say.
        self._row_bytes = 10.0

    def begin(self, number: int, part: Part, file: PartFile) -> None:
        """Go on with the next part, which is open as `file`."""
        self._number, self._part, self._file = number, part, file
        self._builder.start_part(number)
        # Place and row of the MULTI that is open.
        self._opened: tuple[int, int] | None = None

    def end(self, on_bad: OnBad) -> None:
        """There is no more in this part."""
        if self._opened is not None:
            offset, row = self._opened
            if on_bad == "error":
                raise open_multi(self._part, offset)
            self._report.add(self._part, "open_multi", offset, None, OPEN_MULTI)
            self._assembly.discard(row)
        self._bytes_before += self._part.size
        self._tell(self._bytes_before, self._bytes)

    def frame(self) -> pd.DataFrame:
        """What came of it."""
        self._report.rows, self._report.escaped_keys = self._builder.seq, self._builder.escaped_keys
        return self._assembly.frame()

    def add(self, found: Records) -> None:
        """Take a table."""
        rows = self._builder.batch(found)
        expected = self._expected(found.file_end if len(found) else 0)
        for batch in (rows.settled, rows.open):
            if batch is not None:
                self._assembly.add(batch, expected)
        if rows.open is None:
            self._opened = None
        elif self._opened is None or rows.settled is not None:
            self._opened = rows.opened_at, self._builder.seq - rows.open.num_rows
        self._tell(self._bytes_before + self._file.stored_bytes_read, self._bytes)

    def _expected(self, offset: int) -> int:
        """About how many rows there will be in all, as those up to `offset` let guess."""
        done = self._bytes_before + min(self._file.stored_before(offset), self._part.size)
        return int(self._builder.seq * self._bytes / max(done, 1) * 1.02)

    def walk(self, data: bytes, pos: int, base: int) -> tuple[Records | None, int]:
        """Take what is in `data` from `pos` on, as `scan_file` has it, as far as it keeps to the form Redis writes."""
        if len(self._builder.commands.entries) >= _COMMANDS:
            return self._to_table(data, pos, base)
        if len(self._key_bytes) < len(data) + 16:
            self._key_bytes = np.empty(len(data) + 16, np.uint8)
        while True:
            stop, full = self._fill(data, pos, base)
            pos = stop
            if not full:
                break
        self._tell(self._bytes_before + self._file.stored_bytes_read, self._bytes)
        return None, pos

    def _keys(self, rows: int) -> pa.Array | None:
        """The keys that the kernel found, as text where that is wanted; None if nobody wants them."""
        if not len(self._key_there):
            return None
        offsets, there = self._key_offsets[: rows + 1].copy(), self._key_there[:rows]
        return self._builder.text(self._key_bytes[: offsets[-1]].copy(), offsets, None if there.all() else there)

    def _fill(self, data: bytes, pos: int, base: int) -> tuple[int, bool]:
        """As many rows as there is room for: where that ends, and whether there was no more room."""
        builder, commands = self._builder, self._builder.commands
        before = builder.mark(0)
        state = np.array([before.db, before.txn, before.ts, builder.highest_db, builder.in_multi, -1, 0, 0, -1, -1, 0])
        # Not many more than there will be: what is asked for beyond the end of a column makes it grow.
        room = min(_ROOM, int((len(data) - pos) / self._row_bytes * 1.1) + 16)
        columns = self._assembly.room(room, max(self._expected(base + pos), builder.seq + room))
        begin, rows = pos, 0
        while True:
            if len(self._commands) != len(commands.entries):
                self._commands = commands.facts(self._assembly.word_number)
            arrays = [*commands.slots, self._commands, *columns, self._key_offsets, self._key_there, self._key_bytes]
            pos, rows = _fill_cy.fill(data, pos, base, rows, room, state, *arrays)
            if not state[_fill_cy.ASKS] or len(commands.entries) >= _COMMANDS:
                break
            record = read_record(data, pos, eof=False)
            if not isinstance(record, Record):
                break
            state[_fill_cy.CODE], state[_fill_cy.FIRST_KEY], state[_fill_cy.KEYS] = commands.asked(record.argv)
        self._row_bytes = max((pos - begin) / max(rows, 1), 10.0)
        db, txn, ts, highest_db, in_multi, opened, opened_row = state[:7].tolist()
        if opened >= 0:
            self._opened = opened, builder.seq + opened_row
        if not in_multi:
            self._opened = None
        self._assembly.take(builder.seq, rows, self._number, self._keys(rows))
        builder.pass_over(builder.seq + rows, db, txn, ts, highest_db, in_multi=bool(in_multi))
        return pos, rows == room
