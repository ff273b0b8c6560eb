"""Commands to Arrow columns: what the scanner found, seen through the table of commands.

Carries what one command leaves for the next: the selected database and an open MULTI within a file, the last ``#TS``
and the transaction number over all files.

What is in the bytes of a table is found by the kernel `_columns_cy`, or, where that is not compiled, by Arrow from the
lines that the scanner cut: `_ByKernel` and `_ByLines` answer the same questions.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

import aofnb.commands.all  # noqa: F401  fills the table
from aofnb.commands import registry
from aofnb.errors import ReplyError
from aofnb.forensics import _columns_cy
from aofnb.forensics.index import Mark
from aofnb.forensics.roles import WIDE
from aofnb.forensics.scan import Bytes, Ints, Records
from aofnb.store import glob

__all__ = ["DEFAULT_COLUMNS", "NOT_RUN", "STATUSES", "RowBuilder", "Selection", "argument_of", "was_run"]

STATUSES = ("ok", "lf_repaired", "resynced", "truncated", "discarded", "unknown_command")
_OK, _LF_REPAIRED, _RESYNCED, _TRUNCATED, _DISCARDED, _UNKNOWN = range(len(STATUSES))
# Rows that a server never runs.
NOT_RUN = ("truncated", "discarded")

DEFAULT_COLUMNS = ("part", "offset", "nbytes", "ts", "db", "txn", "cmd", "key", "nkeys", "argc", "status")
_MORE_COLUMNS = ("verb", "keys", "args")
# What only a DataFrame has: what `times` estimates, and what `effects` finds out by a replay.
TIME_COLUMNS = ("time", "time_src", "time_err")
EFFECT_COLUMNS = ("dirty", "error", "keys_after", "type")
_ARG = re.compile(r"arg([1-9][0-9]{0,8})")

# As `_columns_cy.follow` has them.
_NO_COMMAND, _SELECT, _MULTI, _EXEC = range(4)
# So many are told apart without asking Python: far more than there are commands.
_SPELLINGS = 1 << 12
Column = npt.NDArray[Any]

_INT16_MAX = (1 << 15) - 1
_INT32_MAX = (1 << 31) - 1


def _words(value: object, name: str, types: tuple[type, ...]) -> list[Any]:
    """One value or an iterable of them, as a list."""
    values = [value] if isinstance(value, types) else value
    if isinstance(values, Iterable):
        values = list(values)
        if all(isinstance(each, types) and not isinstance(each, bool) for each in values):
            return values
    raise TypeError(f"{name}= takes {' or '.join(t.__name__ for t in types)}, or a list of them, not {value!r}")


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows and columns are wanted, checked."""

    columns: tuple[str, ...]
    cmd: frozenset[str] | None
    keys: tuple[bytes, ...] | None
    db: frozenset[int] | None
    encoding: str | None
    encoding_errors: str

    @classmethod
    def of(
        cls,
        columns: Iterable[str] | None = None,
        cmd: str | Iterable[str] | None = None,
        key: str | bytes | Iterable[str | bytes] | None = None,
        db: int | Iterable[int] | None = None,
        encoding: str | None = "utf-8",
        encoding_errors: str = "backslashreplace",
    ) -> Selection:
        """Check what a caller asks for.

        Raises
        ------
        ValueError
            For a column that there is not, or named twice; for `encoding_errors` whose text Arrow cannot hold.
        LookupError
            For an unknown `encoding` or `encoding_errors`.
        """
        if isinstance(columns, str):
            raise TypeError(f"columns= takes a list of names, not {columns!r}")
        wanted = DEFAULT_COLUMNS if columns is None else tuple(_words(columns, "columns", (str,)))
        unknown = [
            name for name in wanted if name not in (*DEFAULT_COLUMNS, *_MORE_COLUMNS) and not _ARG.fullmatch(name)
        ]
        if unknown:
            raise ValueError(
                f"no column {unknown[0]!r}: there are {', '.join((*DEFAULT_COLUMNS, *_MORE_COLUMNS))}, arg1, arg2, "
                f"...; in a DataFrame also {', '.join(TIME_COLUMNS)}, and with replay=True {', '.join(EFFECT_COLUMNS)}"
            )
        if len(set(wanted)) < len(wanted):
            raise ValueError("a column is named twice")
        patterns = None
        if key is not None:
            words = _words(key, "key", (str, bytes))
            patterns = tuple(each.encode() if isinstance(each, str) else each for each in words)
        if encoding is not None:
            # What is unknown is told now, not at the first odd key.
            "".encode(encoding)
            codecs.lookup_error(encoding_errors)
            if encoding_errors in ("surrogateescape", "surrogatepass"):
                raise ValueError(
                    f"what encoding_errors={encoding_errors!r} makes cannot be kept in Arrow text; use "
                    "backslashreplace or encoding=None"
                )
        return cls(
            columns=wanted,
            cmd=None if cmd is None else frozenset(each.upper() for each in _words(cmd, "cmd", (str,))),
            keys=patterns,
            db=None if db is None else frozenset(_words(db, "db", (int, np.integer))),
            encoding=encoding,
            encoding_errors=encoding_errors,
        )

    def schema(self) -> pa.Schema:
        """The Arrow schema of the rows, `seq` first."""
        names = pa.dictionary(pa.int32(), pa.string())
        types = {
            "part": names,
            "offset": pa.int64(),
            "nbytes": pa.int64(),
            "ts": pa.timestamp("s", "UTC"),
            "db": pa.int16(),
            "txn": pa.int64(),
            "cmd": names,
            "key": pa.binary() if self.encoding is None else pa.string(),
            "nkeys": pa.int16(),
            "argc": pa.int32(),
            "status": names,
            "verb": names,
            "args": pa.list_(pa.binary()),
            "keys": pa.list_(pa.binary()),
        }
        fields = [pa.field(name, types.get(name, pa.binary())) for name in self.columns]
        return pa.schema([pa.field("seq", pa.int64()), *fields])


class _CommandTable:
    """The commands that were met, numbered, with what the columns need of each as arrays by that number.

    Number 0 is for rows whose name could not be read.
    """

    def __init__(self, wanted: frozenset[str] | None, unknown_have_keys: bool) -> None:
        self._wanted = wanted
        self._of_unknown = (1, 1, 1) if unknown_have_keys else (0, 0, 1)
        self._by_words: dict[tuple[bytes, ...], int] = {}
        self._by_name: dict[tuple[str, bool], int] = {}
        self.entries: list[registry.Command | None] = []
        self.odd: dict[int, registry.Command] = {}  # those whose keys only a function can tell
        self.flushes: list[int] = []  # those of `WIDE` that were met
        # An unknown command may spell the name of a known one with its subcommand as one word.
        self._names: dict[str, int] = {}
        self._name_of: list[int] = []
        # For the kernel: spellings that were met, see `_columns_cy.names`.
        self._spellings: dict[bytes, int] = {}
        self._resize(512)
        self._add("", None)
        for name in ("SELECT", "MULTI", "EXEC"):
            self._add(name, registry.table[name])

    def code(self, *words: bytes) -> int:
        """The number of the command that this name, and for a container the next word, stand for."""
        code = self._by_words.get(words)
        if code is None:
            entry = registry.find(words)
            if entry is not None and len(words) > entry.words:
                entry = None  # there is no such subcommand
            name = entry.name if entry else b" ".join(words).decode("utf-8", "backslashreplace").upper()
            code = self._by_name.get((name, entry is not None))
            if code is None:
                code = self._add(name, entry)
            self._by_words[words] = code
        return code

    def _add(self, name: str, entry: registry.Command | None) -> int:
        code = self._by_name[name, entry is not None] = len(self.entries)
        self.entries.append(entry)
        self._name_of.append(self._names.setdefault(name, len(self._names)))
        if entry and callable(entry.keys):
            self.odd[code] = entry
        if entry and name in WIDE:
            self.flushes.append(code)
        self._arrays: tuple[Any, ...] | None = None
        return code

    def met(self, spelling: bytes) -> int:
        """The number of the command that is spelled so; the kernel will know the next one itself."""
        code = self.code(spelling)
        if len(spelling) <= _columns_cy.NAME_BYTES and len(self._spellings) < _SPELLINGS:
            self._spellings[spelling] = code
            if 2 * len(self._spellings) > len(self.slots[2]):
                self._resize(2 * len(self.slots[2]))
            else:
                self._put(spelling, code)
        return code

    def _resize(self, count: int) -> None:
        self.slots = (np.zeros(count, np.uint64), np.zeros(count, np.uint64), np.full(count, -1, np.int32))
        for spelling, code in self._spellings.items():
            self._put(spelling, code)

    def _put(self, spelling: bytes, code: int) -> None:
        lows, highs, numbers = self.slots
        low, high, slot = _columns_cy.packed(spelling, len(numbers))
        while numbers[slot] >= 0:
            slot = (slot + 1) % len(numbers)
        lows[slot], highs[slot], numbers[slot] = low, high, code

    def asked(self, argv: list[bytes]) -> tuple[int, int, int]:
        """For the kernel that fills: the number of this command, and, where no rule tells its keys, which argument is
        the first, 0 for none, and how many they are; else -1.
        """
        code = self._spellings[argv[0]] if argv[0] in self._spellings else self.met(argv[0])
        entry = self.entries[code]
        if entry is not None and entry.subcommands and len(argv) > 1:
            code = self.code(argv[0], argv[1].upper())
        if code not in self.odd:
            return code, -1, 0
        positions = _positions(self.odd[code], argv)
        return code, positions[0] if positions else 0, len(positions)

    def facts(self, word_number: Callable[[str], int]) -> Ints:
        """For the kernel that fills: what it has to know of each command."""
        first, last, step, known, containers, _ = self.arrays()
        asks = containers.copy()
        asks[list(self.odd)] = True
        status = np.where(known, _OK, _UNKNOWN)
        names = list(self._names)
        words = np.array([-1] + [word_number(names[number]) for number in self._name_of[1:]])
        return np.ascontiguousarray(np.array([first, last, step, asks, status, words], np.int64).T)

    def names(self, codes: Column) -> pa.Array:
        """The names of these commands, null for number 0."""
        self.arrays()
        if not self._numbered_alike or codes.min(initial=1) == _NO_COMMAND:
            codes = np.where(codes == _NO_COMMAND, np.int32(-1), np.array(self._name_of, np.int32)[codes])
        return _dictionary(codes, self._name_array)

    def arrays(self) -> tuple[Ints, Ints, Ints, npt.NDArray[np.bool_], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """First key, last key, step; known, container, wanted: each by command number."""
        if self._arrays is None:
            specs = [
                self._of_unknown if entry is None else (0, 0, 1) if callable(entry.keys) else entry.keys
                for entry in self.entries
            ]
            specs[_NO_COMMAND] = (0, 0, 1)
            first, last, step = np.ascontiguousarray(np.array(specs, np.int64).T)
            self._arrays = (
                first,
                last,
                np.maximum(step, 1),
                np.array([entry is not None for entry in self.entries]),
                np.array([bool(entry and entry.subcommands) for entry in self.entries]),
                np.array([self._is_wanted(name) for name in self._names])[self._name_of],
            )
            self._numbered_alike = len(self._names) == len(self.entries)
            self._name_array = pa.array(list(self._names))
        return self._arrays

    def _is_wanted(self, name: str) -> bool:
        return self._wanted is None or name in self._wanted or name.split(" ", 1)[0] in self._wanted


@dataclass(frozen=True, slots=True)
class Rows:
    """What `RowBuilder.batch` made of one table.

    `settled` : rows whose fate is known. None if all belong to the transaction that was open before.
    `open` : rows of a transaction that has no EXEC yet; None if there is no such. `opened_at` is its offset, if it
    begins in this table. `flushes` : the border before each FLUSHALL, FLUSHDB and SWAPDB of the table that is in no
    transaction, whether such rows are wanted or not.
    """

    settled: pa.RecordBatch | None
    open: pa.RecordBatch | None
    opened_at: int
    flushes: list[Mark]


class RowBuilder:
    """Makes Arrow batches of the tables that `scan_file` gives, file after file.

    `escaped_keys` counts the keys so far that `encoding` could not hold as they are; `highest_db` is the highest
    database selected so far. With `unknown_have_keys` the first argument of a command that is not known is its key, as
    most commands have one there.
    """

    def __init__(self, parts: Sequence[str], selection: Selection, *, unknown_have_keys: bool = False) -> None:
        self.selection = selection
        self.schema = selection.schema()
        self.seq = 0
        self.escaped_keys = 0
        self.highest_db = 0
        self._commands = _CommandTable(selection.cmd, unknown_have_keys)
        self._parts = pa.array(parts, pa.string())
        self._statuses = pa.array(STATUSES, pa.string())
        self._needs_keys = selection.keys is not None or not {"key", "keys", "nkeys"}.isdisjoint(selection.columns)
        self._txn = 0
        self._ts = -1
        self.start_part(0)

    def start_part(self, part: int) -> None:
        """Begin with file number `part`: each is loaded by a client of its own, in database 0 and outside MULTI."""
        self._part = part
        self._db = 0
        self._in_multi = False
        self._uncertain = False

    @property
    def commands(self) -> _CommandTable:
        """The commands that were met so far."""
        return self._commands

    @property
    def in_multi(self) -> bool:
        """Whether a transaction is open behind the last row."""
        return self._in_multi

    def mark(self, offset: int) -> Mark:
        """The border behind the last row, at `offset` of the current file."""
        return Mark(self._part, offset, self.seq, self._db, self._txn, self._ts, self._uncertain)

    def resume(self, mark: Mark) -> None:
        """Go on from `mark`, as if all before it had been read."""
        self._part, self.seq, self._db, self._txn, self._ts = mark.part, mark.seq, mark.db, mark.txn, mark.ts
        self._in_multi = False
        self._uncertain = mark.uncertain

    def pass_over(self, seq: int, db: int, txn: int, ts: int, highest_db: int, *, in_multi: bool) -> None:
        """Go on behind commands of which no rows were made; all is what it is there."""
        self.seq, self._db, self._txn, self._ts, self.highest_db = seq, db, txn, ts, highest_db
        self._in_multi = in_multi

    def discarded(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows of a transaction that has no EXEC: a server throws them away. A cut row stays `truncated`."""
        place = batch.schema.get_field_index("status")
        if place < 0:
            return batch
        codes = batch.column(place).indices.to_numpy()
        status = self._status(np.where(codes == _TRUNCATED, codes, np.int32(_DISCARDED)))
        return batch.set_column(place, batch.schema.field(place), status)

    def batch(self, records: Records) -> Rows:
        """The rows of the next table."""
        total = len(records)
        if records.behind_damage:
            self._in_multi, self._uncertain = False, True
        arguments = _ByKernel(records) if _columns_cy.COMPILED else _ByLines(records)
        codes = self._codes(records, arguments)
        uncertain = self._uncertain_rows(codes)
        db, txn, open_at = self._state(records, arguments, codes)
        wanted = self._commands.arrays()[5]

        # None is for all of them, as it is where nothing was filtered.
        rows: Ints | None = None
        if self.selection.cmd is not None:
            rows = np.flatnonzero(wanted[codes])
        if self.selection.db is not None:
            rows = np.arange(total) if rows is None else rows
            rows = rows[np.isin(db[rows], list(self.selection.db))]
        keys: _Keys | None = None
        if self._needs_keys:
            keys = _Keys(records, arguments, rows, codes, self._commands)
            if self.selection.keys is not None:
                rows = keys.keep_matching(self.selection.keys)
        count = total if rows is None else len(rows)

        def of(column: Column) -> Column:
            return _of_rows(column, rows)

        columns = [pa.array(np.arange(self.seq, self.seq + total) if rows is None else self.seq + rows)]
        for name in self.selection.columns:
            if name == "part":
                column = _words_of(np.full(count, self._part, np.int32), self._parts)
            elif name == "offset":
                column = pa.array(of(records.offset))
            elif name == "nbytes":
                column = pa.array(of(records.nbytes))
            elif name == "ts":
                column = _nullable(of(self._seconds(records)), pa.timestamp("s", "UTC"), lambda ts: ts >= 0)
            elif name == "db":
                column = pa.array(of(db))
            elif name == "txn":
                column = _nullable(of(txn), pa.int64(), lambda txn: txn > 0)
            elif name == "cmd":
                column = self._commands.names(of(codes))
            elif name == "key" and keys is not None:
                column = self._text(keys.first())
            elif name == "nkeys" and keys is not None:
                column = pa.array(np.minimum(keys.count, _INT16_MAX).astype(np.int16))
            elif name == "argc":
                # Only a header that is cut can claim more arguments than there are bytes.
                argc = (
                    of(records.argc) if records.cut_argc is None else np.full(count, min(records.cut_argc, _INT32_MAX))
                )
                column = pa.array(argc.astype(np.int32))
            elif name == "status":
                column = self._status(of(self._statuses_of(records, codes, uncertain)))
            elif name == "verb":
                column = _verbs(arguments.one(rows, 0))
            elif name == "keys" and keys is not None:
                column = keys.all()
            elif name == "args":
                column = _argument_lists(records, arguments, rows)
            else:
                column = arguments.one(rows, int(name[3:]))
            columns.append(column)
        flushes = self._flushes(records, codes, db, txn)
        if records.ts:
            self._ts = records.ts[-1][1]
        batch = pa.RecordBatch.from_arrays(columns, schema=self.schema)
        self.seq += total
        if open_at is None:
            return Rows(batch, None, 0, flushes)
        split = open_at if rows is None else int(np.searchsorted(rows, open_at))
        opened_at = int(records.offset[open_at]) if total else 0
        return Rows(batch.slice(0, split) if open_at else None, batch.slice(split), opened_at, flushes)

    def _codes(self, records: Records, arguments: _ByKernel | _ByLines) -> Column:
        """The command number of each row."""
        codes = arguments.codes(self._commands)
        containers = self._commands.arrays()[4]
        if containers.any():
            for row in np.flatnonzero(containers[codes] & (records.argc > 1)).tolist():
                codes[row] = self._commands.code(records.arg(row, 0), records.arg(row, 1).upper())
        return codes

    def _seconds(self, records: Records) -> Ints:
        return _spread([(0, self._ts), *records.ts], len(records))

    def _flushes(self, records: Records, codes: Column, db: Column, txn: Column) -> list[Mark]:
        if not self._commands.flushes:
            return []
        rows = np.flatnonzero(np.isin(codes, self._commands.flushes) & (txn == 0))
        if not len(rows):
            return []
        columns = [column[rows].tolist() for column in (records.offset, db, self._seconds(records))]
        return [
            Mark(self._part, offset, self.seq + row, number, 0, second)
            for row, offset, number, second in zip(rows.tolist(), *columns, strict=True)
        ]

    def _statuses_of(self, records: Records, codes: Column, uncertain: int) -> npt.NDArray[np.int32]:
        status = np.full(len(records), _TRUNCATED if records.cut_argc is not None else _OK, np.int32)
        if records.cut_argc is None:
            if records.lf.any():
                status[records.lf] = _LF_REPAIRED
            known = self._commands.arrays()[3]
            if not known[_NO_COMMAND + 1 :].all() or codes.min(initial=1) == _NO_COMMAND:
                status[~known[codes]] = _UNKNOWN
            status[: len(status) if records.mended else uncertain] = _RESYNCED
        return status

    def _uncertain_rows(self, codes: Ints) -> int:
        """How many rows of the table are behind damage with no SELECT before them, which may be part of a value."""
        if not self._uncertain:
            return 0
        selects = np.flatnonzero(codes == _SELECT)
        self._uncertain = not len(selects)
        return int(selects[0]) + 1 if len(selects) else len(codes)

    def _state(
        self, records: Records, arguments: _ByKernel | _ByLines, codes: Column
    ) -> tuple[Column, Column, int | None]:
        """Database and transaction (0 outside) of each row; the row of a MULTI still open."""
        if isinstance(arguments, _ByKernel):
            return self._state_by_kernel(arguments, codes)
        open_at = 0 if self._in_multi else None
        db_turns, txn_turns = [(0, self._db)], [(0, self._txn if self._in_multi else 0)]
        for row in np.flatnonzero((codes >= _SELECT) & (codes <= _EXEC)).tolist():
            code = codes[row]
            if code == _SELECT:
                # A SELECT between MULTI and EXEC is queued, and so is all that follows it: the order holds.
                number = records.arg(row, 1) if records.argc[row] == 2 else b""
                if number.isdigit() and len(number) <= 5 and int(number) <= _INT16_MAX:
                    self._db = int(number)
                    self.highest_db = max(self.highest_db, self._db)
                    db_turns.append((row, self._db))
            elif code == _MULTI and not self._in_multi:
                self._in_multi = True
                self._txn += 1
                txn_turns.append((row, self._txn))
                open_at = row
            elif code == _EXEC and self._in_multi:
                self._in_multi = False
                txn_turns.append((row + 1, 0))
                open_at = None
        return _spread(db_turns, len(records)).astype(np.int16), _spread(txn_turns, len(records)), open_at

    def _state_by_kernel(self, arguments: _ByKernel, codes: Column) -> tuple[Column, Column, int | None]:
        state = np.array([self._db, self._in_multi, self._txn, self.highest_db], np.int64)
        db, txn = np.empty(len(codes), np.int16), np.empty(len(codes), np.int64)
        records = arguments.records
        open_at = _columns_cy.follow(records.data, records.heads, records.argc, codes, state, db, txn)
        self._db, in_multi, self._txn, self.highest_db = state.tolist()
        self._in_multi = bool(in_multi)
        return db, txn, None if open_at < 0 else open_at

    def _status(self, codes: npt.NDArray[Any]) -> pa.Array:
        return _words_of(codes, self._statuses)

    def text(self, data: Bytes, offsets: Ints, present: npt.NDArray[Any] | None) -> pa.Array:
        """Keys as an Arrow array, in the encoding that was asked for; null where they are not `present`."""
        buffers = [_bitmap(present), pa.py_buffer(offsets), pa.py_buffer(data)]
        keys = pa.Array.from_buffers(pa.large_binary(), len(offsets) - 1, buffers)
        if self._is_utf8() and _is_ascii(keys):
            return keys.view(pa.large_string())
        return self._text(keys.cast(pa.binary()))

    def _text(self, keys: pa.Array) -> pa.Array:
        """`keys` in the encoding that was asked for."""
        encoding, errors = self.selection.encoding, self.selection.encoding_errors
        if encoding is None:
            return keys
        if self._is_utf8():
            if _is_ascii(keys):
                return keys.view(pa.string())
            try:
                return keys.cast(pa.string())
            except pa.ArrowInvalid:
                pass  # at least one is not UTF-8
        decoded: list[str | None] = []
        for key in keys.to_pylist():
            try:
                decoded.append(None if key is None else key.decode(encoding))
            except UnicodeDecodeError:
                decoded.append(key.decode(encoding, errors))
                self.escaped_keys += 1
        return pa.array(decoded, pa.string())

    def _is_utf8(self) -> bool:
        encoding = self.selection.encoding
        return encoding is not None and encoding.replace("_", "-").lower() in ("utf-8", "utf8")


class _ByLines:
    """Arguments of a table as Arrow arrays, from the lines that the scanner cut."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self._lines = _lines(records)

    def codes(self, commands: _CommandTable) -> Column:
        """The number of the command that each name stands for."""
        verbs = self.one(None, 0).dictionary_encode()
        by_verb = np.array([commands.code(verb) for verb in verbs.dictionary.to_pylist()], np.int32)
        if not len(by_verb):
            return np.full(len(self.records), _NO_COMMAND, np.int32)
        indices = verbs.indices.fill_null(-1).to_numpy()
        return np.where(indices < 0, np.int32(_NO_COMMAND), by_verb[indices])

    def one(self, rows: Ints | None, k: int | Ints, present: npt.NDArray[np.bool_] | None = None) -> pa.Array:
        """Argument `k` of each of `rows`, null where not `present`, which is where the command is shorter."""
        first, argc = _of_rows(self.records.first, rows), _of_rows(self.records.argc, rows)
        present = argc > k if present is None else present
        places = np.where(present, 2 * (first + 2 + 2 * k), 0)
        return self._lines.take(pa.array(places, mask=~present)).cast(pa.binary())

    def some(self, rows: Ints | None, start: Ints, count: Ints, step: Ints) -> pa.Array:
        """`count` arguments of each of `rows`, from `start` on, every `step`: all in one array."""
        begins = np.cumsum(count) - count
        nth = np.arange(int(count.sum())) - np.repeat(begins, count)
        at = np.repeat(start, count) + nth * np.repeat(step, count)
        first = np.repeat(_of_rows(self.records.first, rows), count)
        return self._lines.take(pa.array(2 * (first + 2 + 2 * at))).cast(pa.binary())


class _ByKernel:
    """What `_ByLines` gives, by the kernel."""

    def __init__(self, records: Records) -> None:
        self.records = records

    def codes(self, commands: _CommandTable) -> Column:
        records = self.records
        codes = np.empty(len(records), np.int32)
        row = 0
        while True:
            row = _columns_cy.names(records.data, records.heads, records.argc, row, *commands.slots, codes)
            if row == len(records):
                return codes
            codes[row] = commands.met(records.arg(row, 0))
            row += 1

    def one(self, rows: Ints | None, k: int | Ints, present: npt.NDArray[np.bool_] | None = None) -> pa.Array:
        argc = _of_rows(self.records.argc, rows)
        present = argc > k if present is None else present
        ks = np.full(len(argc), k) if isinstance(k, int) else k
        at, nbytes = np.empty(len(argc), np.int64), np.empty(len(argc), np.int64)
        _columns_cy.find_one(self.records.data, _of_rows(self.records.heads, rows), ks, present, at, nbytes)
        return self._gathered(at, nbytes, None if present.all() else present)

    def some(self, rows: Ints | None, start: Ints, count: Ints, step: Ints) -> pa.Array:
        at, nbytes = np.empty(int(count.sum()), np.int64), np.empty(int(count.sum()), np.int64)
        _columns_cy.find(self.records.data, _of_rows(self.records.heads, rows), start, count, step, at, nbytes)
        return self._gathered(at, nbytes, None)

    def _gathered(self, at: Ints, nbytes: Ints, present: npt.NDArray[np.bool_] | None) -> pa.Array:
        offsets, out = np.empty(len(at) + 1, np.int32), np.empty(int(nbytes.sum()), np.uint8)
        if len(out) > _INT32_MAX:
            raise pa.ArrowInvalid(f"{len(out)} bytes in one column of one piece of a file")
        _columns_cy.gather(self.records.data, at, nbytes, offsets, out)
        buffers = [_bitmap(present), pa.py_buffer(offsets), pa.py_buffer(out)]
        return pa.Array.from_buffers(pa.binary(), len(at), buffers)


def argument_of(records: Records, rows: Ints, k: int) -> pa.Array:
    """Argument `k` of each of `rows`, null where the command is shorter; 0 is the name."""
    arguments = _ByKernel(records) if _columns_cy.COMPILED else _ByLines(records)
    return arguments.one(rows, k)


class _Keys:
    """Where the keys of some rows are: `count` of them from argument `start`, every `step` arguments.

    Commands whose keys follow no such rule have all their positions in `odd`, by place among the rows.
    """

    def __init__(
        self,
        records: Records,
        arguments: _ByLines | _ByKernel,
        rows: Ints | None,
        codes: Ints,
        commands: _CommandTable,
    ) -> None:
        self.records, self.arguments, self.rows = records, arguments, rows
        codes, argc = _of_rows(codes, rows), _of_rows(records.argc, rows)
        first, last, step = commands.arrays()[:3]
        self._step_of = step, codes
        if _columns_cy.COMPILED:
            self.start, self.count = np.empty(len(codes), np.int64), np.empty(len(codes), np.int64)
            _columns_cy.keys(codes, argc, first, last, step, self.start, self.count)
        else:
            self.start = first[codes]
            end = np.minimum(np.where(last[codes] < 0, last[codes] + argc, last[codes]), argc - 1)
            has_key = (self.start > 0) & (self.start <= end)
            self.count = np.where(has_key, (end - self.start) // self.step + 1, 0)
        self.odd: dict[int, list[int]] = {}
        if commands.odd:
            self._find_odd(commands.odd, codes)

    @cached_property
    def step(self) -> Ints:
        """So many arguments from one key to the next; most callers want the first key alone."""
        step, codes = self._step_of
        return step[codes]

    def _find_odd(self, commands: Mapping[int, registry.Command], codes: Ints) -> None:
        """Ask each of `commands`, by number, for its keys where `codes` has it."""
        for place in np.flatnonzero(np.isin(codes, list(commands))).tolist():
            row = place if self.rows is None else int(self.rows[place])
            positions = _positions(commands[int(codes[place])], self.records.argv(row))
            if positions:
                self.odd[place] = positions
                self.start[place], self.count[place] = positions[0], len(positions)

    def first(self) -> pa.Array:
        """The first key of each row, null where there is none."""
        return self.arguments.one(self.rows, self.start, self.count > 0)

    def all(self) -> pa.Array:
        """All keys of each row, as lists of binary."""
        offsets = np.concatenate(([0], np.cumsum(self.count)))
        values = self.arguments.some(*self.each())
        return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), values)

    def each(self) -> tuple[Ints | None, Ints, Ints, Ints]:
        """Rows, start, count and step of runs of keys: those of a row with odd places are runs of one."""
        if not self.odd:
            return self.rows, self.start, self.count, self.step
        runs = np.ones(len(self.count), np.int64)
        for place, positions in self.odd.items():
            runs[place] = len(positions)
        rows = np.repeat(np.arange(len(self.count)) if self.rows is None else self.rows, runs)
        start, count, step = (np.repeat(column, runs) for column in (self.start, self.count, self.step))
        begins = np.cumsum(runs) - runs
        for place, positions in self.odd.items():
            begin = int(begins[place])
            start[begin : begin + len(positions)], count[begin : begin + len(positions)] = positions, 1
        return rows, start, count, step

    def keep_matching(self, patterns: Iterable[bytes]) -> Ints:
        """Forget all rows but those that have a key which one of the globs `patterns` matches; which these are."""
        matchers = [glob.matcher(pattern) for pattern in patterns]

        def matches(key: bytes) -> bool:
            return any(matcher(key) is not None for matcher in matchers)

        firsts = self.first()
        chosen = _may_match(firsts, patterns)
        near = firsts.filter(pa.array(chosen)).dictionary_encode()
        by_key = np.array([matches(key) for key in near.dictionary.to_pylist()], bool)
        chosen[chosen] = by_key[near.indices.to_numpy()]
        for place in np.flatnonzero(~chosen & (self.count > 1)).tolist():
            row = place if self.rows is None else int(self.rows[place])
            start, step, count = int(self.start[place]), int(self.step[place]), int(self.count[place])
            positions = self.odd.get(place) or range(start, start + step * count, step)
            chosen[place] = any(matches(self.records.arg(row, k)) for k in positions)
        places = np.flatnonzero(chosen)
        self.rows = places if self.rows is None else self.rows[places]
        self.start, self.step, self.count = self.start[places], self.step[places], self.count[places]
        self.odd = (
            {int(place): self.odd[int(old)] for place, old in enumerate(places) if int(old) in self.odd}
            if self.odd
            else {}
        )
        return self.rows


def _may_match(keys: pa.Array, patterns: Iterable[bytes]) -> npt.NDArray[np.bool_]:
    """Which of `keys` begin as one of the globs `patterns` does: few are left for Python to look at."""
    chosen = np.zeros(len(keys), bool)
    for pattern in patterns:
        prefix, whole = glob.literal_prefix(pattern)
        near = pc.equal(keys, pa.scalar(prefix, keys.type)) if whole else pc.starts_with(keys, prefix)
        chosen |= near.fill_null(False).to_numpy(zero_copy_only=False)
    return chosen


def _positions(entry: registry.Command, argv: list[bytes]) -> list[int]:
    """Where the keys are in `argv`, which may be anything: it comes from a file."""
    try:
        return [place for place in entry.key_positions(argv) if 0 < place < len(argv)]
    except (IndexError, ValueError, ReplyError):
        return []


def _spread(turns: list[tuple[int, int]], total: int) -> Ints:
    """A column of `total` values from (row, value from there on)."""
    starts = np.array([row for row, _ in turns] + [total], np.int64)
    return np.repeat(np.array([value for _, value in turns], np.int64), np.diff(starts))


def _of_rows(column: Column, rows: Ints | None) -> Column:
    return column if rows is None else column[rows]


def was_run(status: pa.Array) -> npt.NDArray[np.bool_]:
    """Which rows a server runs, by the column `status`."""
    return np.isin(status.indices.to_numpy(), (_TRUNCATED, _DISCARDED), invert=True)


def _is_ascii(texts: pa.Array) -> bool:
    """Whether all bytes of an array of binary, which is no slice of another, are ASCII: then all is UTF-8."""
    data = texts.buffers()[2]
    return data is None or np.frombuffer(data, np.uint8).max(initial=0) < 128


def _bitmap(present: npt.NDArray[np.bool_] | None) -> pa.Buffer | None:
    """Arrow's bits for what is there; None if all is."""
    return None if present is None else pa.py_buffer(np.packbits(present, bitorder="little"))


def _nullable(values: Column, type_: pa.DataType, is_there: Callable[[Column], npt.NDArray[np.bool_]]) -> pa.Array:
    """Whole numbers as an Arrow array of that type, null where they are not there."""
    present = is_there(values)
    buffers = [_bitmap(None if present.all() else present), pa.py_buffer(values)]
    return pa.Array.from_buffers(type_, len(values), buffers)


def _dictionary(codes: Column, names: pa.Array) -> pa.Array:
    """Arrow's dictionary array; a negative code is null."""
    indices = _nullable(codes, pa.int32(), lambda codes: codes >= 0)
    return pa.DictionaryArray.from_arrays(indices, names, safe=False)


def _words_of(codes: Column, names: pa.Array) -> pa.Array:
    """As `_dictionary`, where none is null."""
    return pa.DictionaryArray.from_arrays(pa.array(codes), names, safe=False)


def _lines(records: Records) -> pa.Array:
    """Every line of the table at an even place, without its CRLF, which is at the odd place behind it; no copy."""
    offsets = np.empty(2 * len(records.ends) + 1, np.int64)
    offsets[0] = records.begin
    offsets[1::2] = records.ends
    offsets[2::2] = records.ends + 2
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(records.data)]
    return pa.Array.from_buffers(pa.large_binary(), len(offsets) - 1, buffers)


def _argument_lists(records: Records, arguments: _ByLines | _ByKernel, rows: Ints | None) -> pa.Array:
    argc = _of_rows(records.argc, rows)
    offsets = np.concatenate(([0], np.cumsum(argc))).astype(np.int32)
    values = arguments.some(rows, np.zeros(len(argc), np.int64), argc, np.ones(len(argc), np.int64))
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def _verbs(verbs: pa.Array) -> pa.Array:
    encoded = verbs.dictionary_encode()
    names = [verb.decode("utf-8", "backslashreplace") for verb in encoded.dictionary.to_pylist()]
    # Two spellings may look alike once escaped: Arrow wants the words of a dictionary to differ.
    words = {name: code for code, name in enumerate(dict.fromkeys(names))}
    by_spelling = np.array([words[name] for name in names] + [-1], np.int32)
    return _dictionary(by_spelling[encoded.indices.fill_null(-1).to_numpy()], pa.array(list(words), pa.string()))
