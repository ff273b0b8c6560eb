"""Which rows a key is in: one pass over the log, then any key is found without reading it again.

The log is cut into segments of some 64 MB. Of each are kept, as plain arrays:

- `hashes`, `rows`: CRC-32 of every key of every command, in order of it, and the row. Two keys may share one, so who
  asks looks at the commands themselves; where that makes a difference it costs time, never truth.
- `offsets`: where each row is. `db`, `txn`, `ts`, `status`: (row, value from there on).
- `barriers`: rows that change keys without naming them (FLUSHALL, FLUSHDB, SWAPDB), or that may do anything (scripts).

The arrays are in files that are mapped, not read, so that memory does not grow with the log. A command that this
version does not know is filed under its first argument, as most commands have a key there.
"""

from __future__ import annotations

import io
import os
import weakref
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from aofnb.errors import RdbError
from aofnb.forensics import _columns_cy
from aofnb.forensics.cache import checksum_of, identity, unchanged
from aofnb.forensics.columns import STATUSES, RowBuilder, Selection
from aofnb.forensics.index import Mark
from aofnb.forensics.parts import PartFile
from aofnb.forensics.reading import Report, teller
from aofnb.forensics.roles import BARRIERS
from aofnb.forensics.rows import Survey, settled_rows
from aofnb.forensics.scan import Record, read_record
from aofnb.forensics.snapshot import commands_of_entry
from aofnb.rdb.reader import RdbReader
from aofnb.resp import _plain_cy

if TYPE_CHECKING:
    from aofnb.forensics.log import Log
    from aofnb.forensics.reading import Progress

__all__ = ["Event", "Postings", "postings_of"]

Ints = npt.NDArray[Any]

_COLUMNS = ("offset", "db", "txn", "ts", "cmd", "keys", "status")
_TURNS = ("db", "txn", "ts", "status")
_ARRAYS = ("hashes", "rows", "offsets", *_TURNS, "barriers")
_SEGMENT_BYTES = 64 << 20
_SEGMENT_ROWS = 1 << 20
_RDB_HEAD = 9


class Event(NamedTuple):
    """One row, with what it says.

    `txn` is 0 outside transactions, `ts` -1 where the log has no time; `status` is a word of the column.
    `from_snapshot` : the row stands for a key of a snapshot.
    """

    seq: int
    part: int
    offset: int
    db: int
    txn: int
    ts: int
    status: str
    argv: list[bytes]
    from_snapshot: bool


@dataclass(slots=True)
class Segment:
    """Some rows of one file. `begin` is what was known before them; reading can begin there if it is `resumable`."""

    part: int
    begin: Mark
    rows: int
    resumable: bool
    arrays: dict[str, Ints]
    end_offset: int = 0
    crc: int | None = None
    file: str | None = None

    @property
    def seq(self) -> int:
        return self.begin.seq

    def value(self, name: str, rows: Ints) -> Ints:
        """The column `name` (db, txn, ts, status) at these rows of the segment."""
        turns = self.arrays[name]
        return turns[np.searchsorted(turns[:, 0], rows, side="right") - 1, 1]


class _Entry(NamedTuple):
    """A key of a snapshot: the commands that make it, the first of which is row `first`."""

    first: int
    argvs: list[list[bytes]]


class Postings:
    """Finds the rows of a key. Made by `postings_of`."""

    def __init__(self, log: Log, segments: Sequence[Segment]) -> None:
        # Which has these: who lets go of it need not wait for the garbage collection.
        self._log_of = weakref.ref(log)
        self.segments = list(segments)
        self._starts = np.array([segment.seq for segment in segments], np.int64)
        pieces = [segment.arrays["barriers"] + [[segment.seq, 0]] for segment in segments]
        barriers = np.concatenate(pieces) if pieces else np.zeros((0, 2), np.int64)
        # (row, place in BARRIERS), in order.
        self.barriers: list[tuple[int, int]] = [(row, code) for row, code in barriers.tolist()]

    @property
    def _log(self) -> Log:
        log = self._log_of()
        assert log is not None
        return log

    def rows_of(self, key: bytes) -> Ints:
        """Rows that may have `key` in any database, in order."""
        wanted = zlib.crc32(key)
        found = []
        for segment in self.segments:
            hashes = segment.arrays["hashes"]
            low, high = np.searchsorted(hashes, wanted), np.searchsorted(hashes, wanted, side="right")
            if high > low:
                found.append(np.unique(segment.arrays["rows"][low:high]).astype(np.int64) + segment.seq)
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    def first_of_unit(self, seq: int) -> int:
        """`seq`, or the row of MULTI if it is inside a transaction: from there on nothing of it has happened."""
        segment, row = self._locate(seq)
        if segment is None:
            return seq
        txn = int(segment.value("txn", np.array([row]))[0])
        if not txn:
            return seq
        first = seq
        for each in reversed(self.segments[: self.segments.index(segment) + 1]):
            turns = each.arrays["txn"]
            mine = turns[turns[:, 1] == txn]
            if not len(mine):
                break
            first = min(first, each.seq + int(mine[0, 0]))
        return first

    def events(self, seqs: Sequence[int] | Ints) -> list[Event]:
        """These rows, which are in order, read from the files."""
        wanted = np.asarray(seqs, np.int64)
        found: list[Event] = []
        open_part, file = -1, None
        # Rows of one key of a snapshot come together.
        entry: _Entry | None = None
        try:
            for segment, rows in self._by_segment(wanted):
                if segment.part != open_part or file is None:
                    if file is not None:
                        file.close()
                    part = self._log.parts[segment.part]
                    open_part, file = segment.part, part.open()
                columns = (segment.value(name, rows).tolist() for name in _TURNS)
                offsets, ends = self._places(segment, rows)
                places = zip(rows.tolist(), offsets, ends, *columns, strict=True)
                for row, offset, end, db, txn, ts, status in places:
                    seq = segment.seq + row
                    argv, entry = self._argv(file, segment.part, seq, offset, end, entry)
                    status_name, from_snapshot = STATUSES[status], entry is not None
                    found.append(Event(seq, segment.part, offset, db, txn, ts, status_name, argv, from_snapshot))
        finally:
            if file is not None:
                file.close()
        return found

    # --- parts -------------------------------------------------------------------------------------------

    def _locate(self, seq: int) -> tuple[Segment | None, int]:
        number = int(np.searchsorted(self._starts, seq, side="right")) - 1
        if number < 0:
            return None, 0
        segment = self.segments[number]
        row = seq - segment.seq
        return (segment, row) if row < segment.rows else (None, 0)

    def _by_segment(self, seqs: Ints) -> Iterator[tuple[Segment, Ints]]:
        """Rows of the log, in order, as rows of each segment that has any of them."""
        numbers = np.searchsorted(self._starts, seqs, side="right") - 1
        for number in np.unique(numbers).tolist():
            segment = self.segments[number]
            rows = seqs[numbers == number] - segment.seq
            assert number >= 0
            assert rows[-1] < segment.rows
            yield segment, rows

    def _places(self, segment: Segment, rows: Ints) -> tuple[list[int], list[int]]:
        """Where these rows of a segment begin, and where the next one does that is elsewhere in the file."""
        offsets = segment.arrays["offsets"]
        behind = np.minimum(rows + 1, segment.rows - 1)
        begins, ends = offsets[rows].tolist(), offsets[behind].tolist()
        # Rows of a snapshot may share a place, and behind the last row of a segment is another.
        return begins, [
            end if end > begin else self._next_offset(segment.seq + row, begin)
            for begin, end, row in zip(begins, ends, rows.tolist(), strict=True)
        ]

    def _argv(
        self, file: PartFile, number: int, seq: int, begin: int, end: int, last: _Entry | None
    ) -> tuple[list[bytes], _Entry | None]:
        """The arguments of row `seq` of part `number`, which is from `begin` to before `end`; and the key of a snapshot
        that it stands for, if it does, which may be the `last` one.
        """
        if last is not None and last.first <= seq < last.first + len(last.argvs):
            return last.argvs[seq - last.first], last
        part = self._log.parts[number]
        if (part.name, begin) in self._mended:
            return self._mended_argv(seq), None
        data = b""
        if part.format == "resp" or begin >= _RDB_HEAD:
            data = file.read_at(begin, max(end - begin, 0))
        # In a file that begins with a snapshot, a row behind it begins as commands do; no key of a snapshot does.
        if part.format == "resp" or data.startswith(b"*"):
            argvs: list[list[bytes]] = []
            _plain_cy.plain(data, 0, argvs)
            if argvs:
                return argvs[0], None
            found = read_record(data, 0, eof=True) if data else None
            return (found.argv if isinstance(found, Record) else []), None
        entry = self._entry(file, begin, seq)
        return (entry.argvs[seq - entry.first] if seq >= entry.first else []), entry

    @cached_property
    def _mended(self) -> frozenset[tuple[str, int]]:
        """Where commands are read otherwise than they stand in the file."""
        if self._log.tolerant != "resync":
            return frozenset()
        damage = self._log.index().damage
        return frozenset((each["part"], each["offset"]) for each in damage if each["kind"] == "mended")

    def _mended_argv(self, seq: int) -> list[bytes]:
        """The arguments of a row as whoever reads on behind damage has them."""
        begin = self._log.index().before_row(seq)
        for batch in self._log.read_from(begin, seq + 1, Selection.of(["args"], encoding=None)):
            if batch.num_rows and batch.column(0)[-1].as_py() == seq:
                found: list[bytes] = batch.column(1)[-1].as_py()
                return found
        return []

    def _entry(self, file: PartFile, offset: int, seq: int) -> _Entry:
        """The key of a snapshot for which row `seq` stands: its entry alone, read as a snapshot of its own."""
        first = seq
        part = self._part_of(seq)
        while (before := self._offset_of(first - 1, part)) == offset:
            first -= 1
        # What stands before an entry belongs to it: its deadline. The entry before that is read again for it.
        begin = max(_RDB_HEAD, 0 if before is None or before > offset else before)
        file.seek(0)
        head = file.read(_RDB_HEAD)
        file.seek(begin)
        body = file.read(self._next_offset(seq, offset) - begin)
        alone = head + body + b"\xff" + bytes(8)
        argvs: list[list[bytes]] = []
        try:
            for entry in RdbReader(io.BytesIO(alone), len(alone), checksum="skip"):
                if entry.offset - _RDB_HEAD + begin == offset:
                    argvs = list(commands_of_entry(entry))
                    break
        except RdbError:
            argvs = []
        # A SELECT stands at the place of the key for which it was needed.
        end = seq
        while self._offset_of(end, part) == offset:
            end += 1
        return _Entry(end - len(argvs), argvs)

    def _part_of(self, seq: int) -> int:
        segment, _ = self._locate(seq)
        return -1 if segment is None else segment.part

    def _offset_of(self, seq: int, part: int) -> int | None:
        segment, row = self._locate(seq)
        return None if segment is None or segment.part != part else int(segment.arrays["offsets"][row])

    def _next_offset(self, seq: int, offset: int) -> int:
        """Where the next row begins that is elsewhere in the file, or the file ends."""
        number = int(np.searchsorted(self._starts, seq, side="right")) - 1
        segment = self.segments[number]
        row = seq - segment.seq + 1
        part = segment.part
        while True:
            offsets = segment.arrays["offsets"]
            while row < segment.rows and int(offsets[row]) == offset:
                row += 1
            if row < segment.rows:
                return int(offsets[row])
            number += 1
            if number >= len(self.segments) or self.segments[number].part != part:
                return segment.end_offset
            segment, row = self.segments[number], 0


# --- making them --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Growing:
    """A segment on its way."""

    begin: Mark
    resumable: bool
    rows: int = 0
    hashes: list[Ints] = field(default_factory=list)
    places: list[Ints] = field(default_factory=list)
    offsets: list[Ints] = field(default_factory=list)
    turns: dict[str, list[Ints]] = field(default_factory=lambda: {name: [] for name in _TURNS})
    barriers: list[Ints] = field(default_factory=list)

    def add(self, batch: pa.RecordBatch) -> None:
        """Take rows; the columns are `_COLUMNS`, behind `seq`."""
        count = batch.num_rows
        if not count:
            return
        offset, db, txn, ts, cmd, keys, status = batch.columns[1:]
        self.offsets.append(offset.to_numpy())
        codes = status.indices.to_numpy()
        columns = {
            "db": db.to_numpy(),
            "txn": txn.fill_null(0).to_numpy(),
            "ts": ts.cast(pa.int64()).fill_null(-1).to_numpy(),
            "status": codes,
        }
        for name, values in columns.items():
            starts = np.concatenate(([0], np.flatnonzero(values[1:] != values[:-1]) + 1))
            self.turns[name].append(np.stack((starts + self.rows, values[starts].astype(np.int64)), axis=1))
        words = cmd.dictionary.to_pylist()
        named = cmd.indices.fill_null(-1).to_numpy()
        for code, word in enumerate(BARRIERS):
            if word in words:
                hits = np.flatnonzero(named == words.index(word))
                self.barriers.append(np.stack((hits + self.rows, np.full(len(hits), code)), axis=1))
        if len(values := keys.flatten()):
            places = np.repeat(np.arange(self.rows, self.rows + count, dtype=np.uint32), np.diff(keys.offsets))
            self.hashes.append(_hashes(values))
            self.places.append(places)
        self.rows += count

    def finish(self, part: int, end_offset: int) -> Segment:
        hashes = np.concatenate([np.zeros(0, np.uint32), *self.hashes])
        places = np.concatenate([np.zeros(0, np.uint32), *self.places])
        # One number of both sorts several times as fast as one behind the other.
        both = np.sort(hashes.astype(np.uint64) << np.uint64(32) | places)
        arrays: dict[str, Ints] = {"hashes": (both >> np.uint64(32)).astype(np.uint32), "rows": both.astype(np.uint32)}
        arrays["offsets"] = np.concatenate([np.zeros(0, np.int64), *self.offsets])
        if not len(arrays["offsets"]) or int(arrays["offsets"].max()) < 1 << 32:
            arrays["offsets"] = arrays["offsets"].astype(np.uint32)
        for name, pieces in self.turns.items():
            turns = np.concatenate([np.zeros((0, 2), np.int64), *pieces])
            kept = np.ones(len(turns), bool)
            kept[1:] = turns[1:, 1] != turns[:-1, 1]
            arrays[name] = turns[kept]
        barriers = np.concatenate([np.zeros((0, 2), np.int64), *self.barriers])
        arrays["barriers"] = barriers[np.argsort(barriers[:, 0], kind="stable")]
        return Segment(part, self.begin, self.rows, self.resumable, arrays, end_offset)


def _hashes(keys: pa.Array) -> Ints:
    """CRC-32 of each of `keys`, which are binary and all there."""
    if not _columns_cy.COMPILED:
        encoded = keys.dictionary_encode()
        by_key = np.fromiter(map(zlib.crc32, encoded.dictionary.to_pylist()), np.uint32, len(encoded.dictionary))
        return by_key[encoded.indices.to_numpy()]
    offsets = np.frombuffer(keys.buffers()[1], np.int32)[keys.offset : keys.offset + len(keys) + 1].astype(np.int64)
    found = np.empty(len(keys), np.uint32)
    data = np.frombuffer(keys.buffers()[2] or b"", np.uint8)
    _columns_cy.hashes(data, offsets[:-1], np.diff(offsets), _CRC_TABLE, found)
    return found


def _crc_table() -> Ints:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, np.uint32(0xEDB88320) ^ (table >> 1), table >> 1)
    return table


_CRC_TABLE = _crc_table()


def _read(log: Log, begin: Mark | None, progress: Progress) -> Iterator[Segment]:
    """Read from `begin` on; gives each segment once it is whole."""
    wanted = Selection.of(_COLUMNS, encoding=None)
    builder = RowBuilder([part.name for part in log.parts], wanted, unknown_have_keys=True)
    report = Report()
    survey = Survey(builder, report)
    if begin is not None:
        survey.resume(begin)
    tell = teller(progress)
    total = sum(part.size for part in log.parts)
    done = 0
    for number, part in enumerate(log.parts):
        if begin is None or number >= begin.part:
            offset = begin.offset if begin is not None and number == begin.part else 0
            with part.open() as file:
                if not offset:
                    survey.begin(number, part)
                for segment in _read_part(log, number, file, offset, survey, report):
                    yield segment
                    tell(done + file.stored_bytes_read, total)
                survey.end(part, file)
        done += part.size
        tell(done, total)
    if begin is None:
        log.note_index(survey.index())


def _read_part(log: Log, number: int, file: PartFile, offset: int, survey: Survey, report: Report) -> Iterator[Segment]:
    builder = survey.builder
    growing = _Growing(builder.mark(offset), True)
    end = offset
    for found, batches in settled_rows(log.parts[number], file, offset, survey, log.tolerant, report):
        for batch in batches:
            growing.add(batch)
        if found is None:
            continue
        end = found.file_end if len(found) else end
        if builder.in_multi:
            continue
        if end - growing.begin.offset >= _SEGMENT_BYTES or growing.rows >= _SEGMENT_ROWS:
            yield growing.finish(number, end)
            growing = _Growing(builder.mark(end), not found.from_snapshot)
    if growing.rows:
        yield growing.finish(number, end)


def postings_of(log: Log, progress: Progress = None) -> Postings:
    """The postings of a log: those that are kept, as far as they are still true, and the rest read anew."""
    cache = log.cache
    segments: list[Segment] = []
    begin: Mark | None = None
    kept = cache.load("postings")
    if kept is not None:
        try:
            segments, begin, complete = _resumed(log, kept)
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            segments, begin, complete = [], None, False
        if complete:
            return Postings(log, segments)
    for segment in _read(log, begin, progress):
        segments.append(_stored(log, segment) if cache.lasting else segment)
    if cache.lasting:
        _save(log, segments)
    return Postings(log, segments)


def _stored(log: Log, segment: Segment) -> Segment:
    """The segment with its arrays in files, mapped."""
    part = log.parts[segment.part]
    if part.compression is None:
        segment.crc = checksum_of(part, segment.begin.offset, segment.end_offset)
    segment.file = f"postings-{os.urandom(8).hex()}"
    for name in _ARRAYS:
        out = io.BytesIO()
        np.save(out, segment.arrays[name], allow_pickle=False)
        log.cache.write(f"{segment.file}-{name}.npy", out.getvalue())
    segment.arrays = _mapped(log, segment.file)
    return segment


def _mapped(log: Log, file: str) -> dict[str, Ints]:
    # As plain arrays, since each piece that is taken of a memmap is made a memmap, too, at several times the cost.
    return {
        name: np.asarray(np.load(log.cache.path / f"{file}-{name}.npy", mmap_mode="r", allow_pickle=False))
        for name in _ARRAYS
    }


def _save(log: Log, segments: Sequence[Segment]) -> None:
    content = {
        "parts": [identity(part) for part in log.parts],
        "segments": [
            {
                "part": segment.part,
                "begin": astuple(segment.begin),
                "rows": segment.rows,
                "resumable": segment.resumable,
                "end_offset": segment.end_offset,
                "crc": segment.crc,
                "file": segment.file,
            }
            for segment in segments
        ],
    }
    log.cache.save("postings", content)
    names = {f"{segment.file}-{name}.npy" for segment in segments for name in _ARRAYS}
    log.cache.keep_only("postings-", names)


def _resumed(log: Log, kept: dict[str, Any]) -> tuple[list[Segment], Mark | None, bool]:
    """What is kept as far as the files are still those, where to go on, and whether that is all."""
    now = [identity(part) for part in log.parts]
    same = 0
    while same < min(len(now), len(kept["parts"])) and unchanged(now[same], kept["parts"][same]):
        same += 1
    segments = [
        Segment(
            each["part"], Mark(*each["begin"]), each["rows"], each["resumable"], _mapped(log, each["file"]),
            each["end_offset"], each["crc"], each["file"],
        )
        for each in kept["segments"]
    ]  # fmt: skip
    if same == len(now) == len(kept["parts"]):
        return segments, None, True
    good = [segment for segment in segments if segment.part < same]
    if same < len(now) and same < len(kept["parts"]) and _may_have_grown(now[same], kept["parts"][same]):
        part = log.parts[same]
        for segment in (each for each in segments if each.part == same):
            end = segment.end_offset
            if end > part.size or segment.crc != checksum_of(part, segment.begin.offset, end):
                break
            good.append(segment)
    # The last one is read again: it may have ended inside a transaction, or a command.
    while good:
        last = good.pop()
        if last.resumable:
            return good, last.begin, False
    return [], None, False


def _may_have_grown(now: dict[str, Any], then: dict[str, Any]) -> bool:
    same = all(now[name] == then[name] for name in ("name", "device", "inode", "compression"))
    return same and now["compression"] is None and now["size"] >= then["size"]
