"""The data as it was: a log replayed up to a position into a store that nobody can write.

What a server would hold that had run every unit before the position: a transaction counts once its EXEC is before
it. The store's clock stands still at the last second that the log names, so a key whose deadline had passed by then
is gone; where the log has no times, nothing expires but what the log itself deletes.

Of a long log, snapshots are kept on the way (`Checkpoints`), so that the next question begins near its answer: before
FLUSHALL, FLUSHDB and SWAPDB, at the end, and as often as keeps the answer from taking much longer than `_GOAL_S`. Their
values are made when someone asks for them: a state has many keys, and few are looked at.

Redis: aof.c loadSingleAppendOnlyFile (7.0.15).
"""

from __future__ import annotations

import functools
import gc
import logging
import os
import shutil
import threading
import weakref
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

import pyarrow as pa

from aofnb.aof import snapshot
from aofnb.aof.rewrite import BaseForm
from aofnb.engine.replay import Replayer, collection_rests
from aofnb.engine.store import Store, open_store
from aofnb.errors import AofError, RdbError, ReplyError
from aofnb.forensics.cache import identity, unchanged
from aofnb.forensics.index import Mark
from aofnb.forensics.reading import Progress, Report, teller
from aofnb.forensics.rows import tables
from aofnb.forensics.scan import Records
from aofnb.forensics.state_columns import load_columns, write_columns
from aofnb.forensics.words import count
from aofnb.rdb import load_rdb
from aofnb.resp.reader import Block
from aofnb.store.keyspace import Keyspace

if TYPE_CHECKING:
    from aofnb.forensics.log import Log
    from aofnb.forensics.position import Position

__all__ = [
    "Checkpoints",
    "StoppedClock",
    "Table",
    "Traveller",
    "base_end",
    "blocks",
    "empty_store",
    "refuse_history",
    "replay_into",
    "store_at",
    "tables_from",
    "what_is_lacking",
]

# Smaller logs have no checkpoints.
_WORTH_BYTES = 32 << 20
# A state is to be there in this time: what loading the checkpoint leaves of it is for the commands behind it.
_GOAL_S = 1.35
# About what a row of the log takes behind a checkpoint, a byte of it, and a byte of a checkpoint. With kernels a row is
# the first to ask for a value of the snapshot, which is made then; without them all values are there.
_ROW_S, _LOG_BYTE_S, _KEPT_BYTE_S = (2.7e-6, 2e-9, 3e-9) if snapshot.available() else (1.2e-6, 3e-9, 6e-9)
_BEFORE_FLUSH_BYTES = 1 << 20
_LIMIT = 64
# A fifth of the bytes are left of what logs are made of, and to unpack it takes a tenth of the time of loading it.
_COMPRESSION = "zstd"
_COPY_BYTES = 1 << 20
# Of a checkpoint, beside its mark.
_KEPT = ("file", "in_columns", "size", "nbytes", "crc", "file_crc")
# With fewer keys it is not worth to look for what nobody holds any more.
_MANY_KEYS = 100_000
# Of the commands that cannot be run so many are named.
_NAMES = 5
_log = logging.getLogger("aofnb")
# Those that were made, until they are collected.
_stores: weakref.WeakSet[Store] = weakref.WeakSet()


class StoppedClock:
    """Time that stands still at a moment of the past. Nothing comes there any more, so a wait is over at once."""

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms
        self._waited_s = 0.0

    def now_ms(self) -> int:
        return self._now_ms

    def set(self, now_ms: int) -> None:
        """Go to another moment."""
        self._now_ms = now_ms

    def monotonic(self) -> float:
        return self._waited_s

    def wait(self, condition: threading.Condition, timeout_s: float | None) -> None:
        if timeout_s is None:
            raise ReplyError("ERR nothing comes any more where time stands still: this would wait for ever")
        self._waited_s += timeout_s


def empty_store(log: Log, ts: int | None, databases: int = 16) -> Store:
    """A read-only store without data, at the second `ts`, with all databases that the log selects."""
    if sum(store.engine.keyspace.key_count() for store in _stores) > _MANY_KEYS:
        # The parts of a store refer to each other. One that nobody holds any more may be as large as this will be.
        gc.collect()
    clock = StoppedClock(0 if ts is None or ts < 0 else ts * 1000)
    store = open_store(
        None, readonly=True, clock=clock, background=False, databases=max(16, databases, log.index().databases)
    )
    _stores.add(store)
    return store


def store_at(log: Log, position: Position, progress: Progress = None) -> Store:
    """A read-only store with the data before `position`."""
    return Traveller(log, position, progress).store


def replay_into(store: Store, log: Log, position: Position) -> None:
    """Run all commands of `log` before `position` on `store`, which is empty."""
    replayer = Replayer(store.engine)
    with replayer.loading():
        for name, block in blocks(log, position.seq):
            replayer.replay(name, block)


class Traveller:
    """A store that goes forward in the log.

    Attributes
    ----------
    store
        Read-only, with the data before row `seq`.
    replayer
        What runs commands on it.
    """

    def __init__(self, log: Log, position: Position, progress: Progress = None) -> None:
        self._log = log
        self._progress = progress
        # Else it is made up for between the snapshot and the commands behind it.
        with collection_rests():
            self._load(position)

    def _load(self, position: Position) -> None:
        """Everything before `position`, from the nearest checkpoint on."""
        log = self._log
        self._begin_anew(position)
        checkpoints = log.checkpoints
        found = checkpoints.before(position.seq)
        if found is not None:
            try:
                self._restore(found)
            except (OSError, RdbError):
                # It was removed, or is damaged: the log itself is what counts.
                checkpoints.forget(found)
                self._begin_anew(position)
        if not self.seq:
            self._load_base(position)
        for mark in checkpoints.wanted(self.seq, position.seq):
            self._replay_to(mark.seq)
            # What a store lacks is told of by who replays.
            if not self.replayer.left_out:
                checkpoints.add(mark, self.store)
        self._replay_to(position.seq)

    def _begin_anew(self, position: Position) -> None:
        self.store = empty_store(self._log, position.ts)
        # What only another server knows is no reason to show nothing of the rest.
        self.replayer = Replayer(self.store.engine, strict=False)
        self.seq = 0

    def _restore(self, found: Checkpoint) -> None:
        path = str(self._log.cache.path / found.file)
        if _crc_of(path) != found.file_crc:
            raise RdbError("a checkpoint is not what was written", file=path)
        engine, mark = self.store.engine, found.mark
        with self.replayer.loading(), pa.CompressedInputStream(path, _COMPRESSION) as file:
            if found.in_columns:
                load_columns(file, engine.keyspace, engine.config)
            else:
                load_rdb(
                    file,
                    engine.keyspace,
                    found.size,
                    name=path,
                    config=engine.config,
                    verify_checksum=False,
                    later=True,
                )
            select = Block.of([[b"SELECT", b"%d" % mark.db]], [mark.offset], mark.offset)
            self.replayer.replay(self._log.parts[mark.part].path, select)
        self.seq = mark.seq

    def _load_base(self, position: Position) -> None:
        """The snapshot with which the log begins, if its rows are before `position`: at once, as servers load it."""
        log, engine = self._log, self.store.engine
        end = base_end(log)
        if end is None or end.seq > position.seq:
            return
        path, total = log.parts[0].path, sum(part.size for part in log.parts)
        tell = teller(self._progress)

        def told(done: int) -> None:
            tell(done, total)

        try:
            # That its checksum is right, the index knows.
            with self.replayer.loading(), log.parts[0].open() as file:
                load_rdb(
                    cast("BinaryIO", file), engine.keyspace, end.offset, name=path, config=engine.config,
                    unsupported="skip", verify_checksum=False, progress=told, later=True,
                )  # fmt: skip
            self.seq = end.seq
        except RdbError:
            # No server loads it. What it says can be replayed all the same.
            self._begin_anew(position)

    def go_to(self, position: Position) -> None:
        """Go on to `position`, which is not before where it stands."""
        clock = self.store.clock
        assert isinstance(clock, StoppedClock)
        clock.set(0 if position.ts is None else position.ts * 1000)
        if not self.seq:
            self._load_base(position)
        self._replay_to(position.seq)

    def units(self, stop: int) -> Iterator[int]:
        """Run command by command up to row `stop`; gives the row behind each command outside of transactions, and
        behind each EXEC.
        """
        for name, block in blocks(self._log, stop, self.seq):
            if block.start == block.end and block.argvs == [[b"EXEC"]]:
                # It stands for one that damage took, so it is no row.
                with self.replayer.loading():
                    self.replayer.replay(name, block)
                continue
            for number, argv in enumerate(block.argvs):
                with self.replayer.loading():
                    self.replayer.replay(name, Block.of([argv], [block.offsets[number]], block.ends[number]))
                self.seq += 1
                if not self.replayer.in_multi:
                    yield self.seq

    def _replay_to(self, stop: int) -> None:
        with self.replayer.loading():
            for name, block in blocks(self._log, stop, self.seq, self._progress):
                self.replayer.replay(name, block)
        self.seq = max(stop, self.seq)
        if (lacking := what_is_lacking(self.replayer)) is not None:
            _warn_once(self._log.source, lacking)


def what_is_lacking(replayer: Replayer) -> str | None:
    """Which commands were left out, where the first is, and what follows from that; None if there are none."""
    first = replayer.first_left_out
    if first is None:
        return None
    names = ", ".join(f"{name} {number:,}" for name, number in replayer.left_out.most_common(_NAMES))
    more = ", ..." if len(replayer.left_out) > _NAMES else ""
    return (
        f"{count(replayer.left_out.total(), 'command')} that nothing here can run, so what they changed is not in the "
        f"data: {names}{more}; the first at byte {first.offset} of {first.file}"
    )


@functools.cache
def _warn_once(source: str, text: str) -> None:
    _log.warning("%s: %s", source, text)


def base_end(log: Log) -> Mark | None:
    """Where the snapshot ends with which the log begins, if it has one, which is whole."""
    refuse_history(log)
    part, index = log.parts[0] if log.parts else None, log.index()
    if part is None or part.format != "rdb":
        return None
    broken = any(each["part"] == part.name and each["kind"] in ("snapshot", "checksum") for each in index.damage)
    return None if broken else index.marks[1]


def refuse_history(log: Log) -> None:
    """Say that replaced files are no part of the data: what replaced them holds all of it again."""
    if any(part.type == "history" for part in log.parts):
        raise ValueError("a log with history=True has rows to read, not data to replay: open it without")


class Table(NamedTuple):
    """Some of a log's commands.

    `path` is the file that has them, `seq` the number of the first row, -1 of an EXEC that stands for one which damage
    took: that is no row. `in_multi` says whether a transaction is open behind them.
    """

    path: str
    found: Records
    seq: int
    in_multi: bool


def tables_from(log: Log, begin: Mark, tell: Callable[[int, int], object]) -> Generator[Table]:
    """Every table from a mark on.

    Where damage took the end of a transaction, an EXEC stands for it; what is there of the transaction counts.
    """
    seq = begin.seq
    done, total = 0, sum(part.size for part in log.parts)
    for number, part in enumerate(log.parts):
        if number >= begin.part:
            in_multi = False
            with part.open() as file:
                offset = begin.offset if number == begin.part else 0
                for found in tables(part, file, offset, log.tolerant, Report()):
                    if found.behind_damage and in_multi:
                        in_multi = False
                        yield Table(part.path, Records.of([[b"EXEC"]], found.offset[:1], [0]), -1, in_multi)
                    in_multi = _leaves_open(found, in_multi)
                    yield Table(part.path, found, seq, in_multi)
                    seq += len(found)
                    tell(done + file.stored_bytes_read, total)
        done += part.size
        tell(done, total)


def _leaves_open(found: Records, in_multi: bool) -> bool:
    """Whether a transaction is open behind these commands, if one was (`in_multi`) in front of them."""
    _, are_multi = found.framing()
    return bool(are_multi[-1]) if len(are_multi) else in_multi


def blocks(log: Log, stop: int, start: int = 0, progress: Progress = None) -> Iterator[tuple[str, Block]]:
    """The commands from row `start` to before row `stop`, each file's under its path."""
    refuse_history(log)
    begin = log.index().before_row(start) if start else Mark(0, 0, 0, 0, 0, -1)
    tell = teller(progress)
    # Whoever stops early leaves no file open.
    with closing(tables_from(log, begin, tell)) as found_tables:
        for path, found, seq, in_multi in found_tables if start < stop else ():
            if seq < 0:
                at = int(found.offset[0])
                yield path, Block.of(found.argvs(1), [at], at)
                continue
            if seq >= stop:
                break
            first, last = max(start - seq, 0), min(stop - seq, len(found))
            # What is legible of a cut command is a row, but was never run.
            if found.cut_argc is None and first < last:
                offsets = found.offset[first:last].tolist()
                end = offsets[-1] + int(found.nbytes[last - 1])
                yield path, Block.of(found.argvs(last)[first:], offsets, end)
            # Damage may stand right behind, and be the end of a transaction.
            if seq + len(found) > stop or (seq + len(found) == stop and not in_multi):
                break
    total = sum(part.size for part in log.parts)
    tell(total, total)


# --- checkpoints --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A snapshot of the data before `mark`, in the file `file` of the cache, `in_columns` or as RDB.

    It has `size` bytes, of which compression left `nbytes`, whose CRC-32 is `file_crc`. `crc` is that of the bytes of
    the part before the mark.
    """

    mark: Mark
    file: str
    in_columns: bool
    size: int
    nbytes: int
    crc: int | None
    file_crc: int


class Checkpoints:
    """The checkpoints of one log: at most `_LIMIT`, together not larger than the log."""

    def __init__(self, log: Log) -> None:
        # Which has these: who lets go of it need not wait for the garbage collection.
        self._log_of = weakref.ref(log)
        self._known: list[Checkpoint] = []
        # Part, offset, and CRC of the bytes before it.
        self._crc = (-1, 0, 0)
        kept = log.cache.load("checkpoints")
        if kept is not None:
            try:
                self._known = self._still_true(kept)
            except (OSError, ValueError, KeyError, TypeError):
                self._known = []

    @property
    def _log(self) -> Log:
        log = self._log_of()
        assert log is not None
        return log

    def before(self, seq: int) -> Checkpoint | None:
        """The last one at or before row `seq`."""
        return max((each for each in self._known if each.mark.seq <= seq), key=_seq, default=None)

    def wanted(self, start: int, stop: int) -> Iterator[Mark]:
        """Where to make checkpoints on the way from row `start` to row `stop`."""
        if self._log_bytes() < _WORTH_BYTES:
            return
        index = self._log.index()
        # Behind damage, or inside of a transaction, nobody can go on.
        ends = set() if index.damage else {index.end}
        flushes = set(index.flushes)
        marks = sorted({*index.marks, *flushes, *ends}, key=lambda mark: (mark.seq, mark.part, mark.offset))
        last = index.before_row(start)
        for mark in marks:
            if not start < mark.seq <= stop:
                continue
            between = mark.offset - last.offset if mark.part == last.part else _BEFORE_FLUSH_BYTES
            replay_s = (mark.seq - last.seq) * _ROW_S + between * _LOG_BYTE_S
            # What is asked for most often is how it ended.
            apart_s = self._apart_s(mark.seq) / (2 if mark in ends else 1)
            far = mark.part != last.part or replay_s >= apart_s
            if (far or (mark in flushes and between >= _BEFORE_FLUSH_BYTES)) and self._would_stay(mark):
                yield mark
                last = mark

    def _apart_s(self, seq: int) -> float:
        """How long the commands between two checkpoints may take, the first of which is before row `seq`."""
        before = self.before(seq)
        load_s = 0 if before is None else before.size * _KEPT_BYTE_S
        # To write one takes the kernel less time than to load it, others more: not much more of that than of replay.
        return max(_GOAL_S - load_s, load_s * (0.5 if snapshot.available() else 2))

    def add(self, mark: Mark, store: Store) -> None:
        """Keep the data of `store` as those before `mark`."""
        # What EVALSHA may refer to is in no snapshot.
        if store.engine.scripts.cached or mark.part >= len(self._log.parts):
            return
        name = f"checkpoint-{os.urandom(8).hex()}.{_COMPRESSION}"
        path = self._log.cache.path / name
        try:
            in_columns, size = _write(store.engine.keyspace, path)
            nbytes, crc, file_crc = path.stat().st_size, self._crc_before(mark), _crc_of(path)
            self._known.append(Checkpoint(mark, name, in_columns, size, nbytes, crc, file_crc))
            self._drop()
            self._save()
        except (OSError, AofError):
            # A full disk only makes the next question slower.
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def forget(self, checkpoint: Checkpoint) -> None:
        """It cannot be used."""
        self._known = [each for each in self._known if each is not checkpoint]

    # --- parts -------------------------------------------------------------------------------------------

    def _would_stay(self, mark: Mark) -> bool:
        """Whether one at `mark` is worth writing.

        Behind all others it is: those before make room. Among them, where there is no room, it would be let go of at
        once, and be made again for the next question.
        """
        behind = min((each for each in self._known if each.mark.seq >= mark.seq), key=_seq, default=None)
        if behind is None:
            return True
        before = self.before(mark.seq)
        about = behind.nbytes if before is None else max(before.nbytes, behind.nbytes)
        return len(self._known) < _LIMIT and self._total() + about <= self._most_bytes()

    def _total(self) -> int:
        return sum(each.nbytes for each in self._known)

    def _most_bytes(self) -> int:
        return max(self._log_bytes(), _WORTH_BYTES)

    def _log_bytes(self) -> int:
        """How large the files are; compressed ones as far as the index tells."""
        index = self._log.index()
        ends = {mark.part: mark.offset for mark in (*index.marks, index.end)}
        return sum(max(part.size, ends.get(number, 0)) for number, part in enumerate(self._log.parts))

    def _drop(self) -> None:
        """Let go of those whose neighbours are nearest, until there are few enough."""
        self._known.sort(key=_seq)
        while len(self._known) > _LIMIT or (len(self._known) > 1 and self._total() > self._most_bytes()):
            gaps = [
                (self._known[i + 1].mark.seq if i + 1 < len(self._known) else 1 << 62)
                - (self._known[i - 1].mark.seq if i else 0)
                for i in range(len(self._known))
            ]
            self._known.pop(gaps.index(min(gaps)))

    def _save(self) -> None:
        content = {
            "parts": [identity(part) for part in self._log.parts],
            "checkpoints": [
                {"mark": astuple(each.mark), **{name: getattr(each, name) for name in _KEPT}} for each in self._known
            ],
        }
        self._log.cache.save("checkpoints", content)
        self._log.cache.keep_only("checkpoint-", {each.file for each in self._known})

    def _crc_before(self, mark: Mark) -> int | None:
        """CRC-32 of the bytes of its file before the mark; None for a compressed file."""
        part = self._log.parts[mark.part]
        if part.compression is not None:
            return None
        number, offset, crc = self._crc
        if number != mark.part or offset > mark.offset:
            offset, crc = 0, 0
        with part.open_stored() as file:
            file.seek(offset)
            while offset < mark.offset and (data := file.read(min(1 << 20, mark.offset - offset))):
                crc = zlib.crc32(data, crc)
                offset += len(data)
        self._crc = (mark.part, offset, crc)
        return crc

    def _still_true(self, kept: dict[str, Any]) -> list[Checkpoint]:
        """Those of a log that is what it was, or has grown."""
        known = sorted(
            (Checkpoint(Mark(*each["mark"]), *(each[name] for name in _KEPT)) for each in kept["checkpoints"]),
            key=_seq,
        )
        good: list[Checkpoint] = []
        then = kept["parts"]
        for number, part in enumerate(self._log.parts):
            now = identity(part)
            if number >= len(then):
                break
            same = unchanged(now, then[number])
            mine = [each for each in known if each.mark.part == number]
            if not same:
                for each in mine:
                    if each.crc is None or each.mark.offset > part.size or each.crc != self._crc_before(each.mark):
                        break
                    good.append(each)
                break
            good += mine
        return [each for each in good if (self._log.cache.path / each.file).exists()]


def _write(keyspace: Keyspace, path: Path) -> tuple[bool, int]:
    """Write `keyspace` to the compressed file `path`; whether in columns, and how large before compression."""
    form = BaseForm("rdb", incremental_fsync=False, checksum=False)
    if not snapshot.can_write(keyspace, form):
        with pa.CompressedOutputStream(str(path), _COMPRESSION) as file:
            return True, write_columns(file, keyspace)
    # The kernel writes to a file alone.
    plain = path.with_suffix("")
    try:
        _keys, size = snapshot.write_snapshot(keyspace, str(plain), form, durable=False)
        with plain.open("rb") as source, pa.CompressedOutputStream(str(path), _COMPRESSION) as file:
            shutil.copyfileobj(source, file, _COPY_BYTES)
        return False, size
    finally:
        plain.unlink(missing_ok=True)


def _crc_of(path: str | Path) -> int:
    with open(path, "rb") as file:
        return functools.reduce(lambda crc, data: zlib.crc32(data, crc), iter(lambda: file.read(_COPY_BYTES), b""), 0)


def _seq(checkpoint: Checkpoint) -> int:
    return checkpoint.mark.seq
