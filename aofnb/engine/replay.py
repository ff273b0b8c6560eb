"""Replay: what the log holds, snapshots and commands, put into the keyspace by a client that nobody waits for.

Rules of this file: the same handlers as for anyone, but nothing expires, nothing is logged, nothing is refused; keys of
a snapshot that are overdue are loaded too, since the commands behind it may refer to them;
a command that fails is reported and the next one runs, as redis-server does; a command that cannot be (unknown,
or of the wrong arity, where the real server has crashed) ends the load with file and offset.

Only what can change data is run. redis-server runs all that a file holds: DEBUG SLEEP and CLIENT PAUSE keep it waiting,
CONFIG SET changes its settings, and a read may ask for more than fits into memory.

Redis: aof.c loadSingleAppendOnlyFile (7.0.15).
"""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from aofnb.aof.rewrite import key_delay
from aofnb.commands import messages
from aofnb.commands.registry import NEVER, Command, find
from aofnb.commands.strings import set_many
from aofnb.engine import _replay_cy, plain_replay
from aofnb.engine._replay_cy import OPERATIONS, transaction_end
from aofnb.engine.core import Engine
from aofnb.errors import AofFormatError, ReplyError
from aofnb.rdb import Loaded, load_rdb
from aofnb.resp.reader import Block

__all__ = ["FailedCommand", "Replayer", "SkippedPart", "collection_rests"]

apply = _replay_cy.apply if _replay_cy.COMPILED else plain_replay.apply
# Of the number of a database; a longer one may be too long for `int` to take.
_INDEX_DIGITS = 9
# Of a name that is unknown, so much is told.
_NAME_BYTES = 40


@dataclass(frozen=True, slots=True)
class FailedCommand:
    """A command of the log that gave an error when it was replayed: the real server logs it and goes on."""

    file: str
    offset: int
    command: str
    error: str


@dataclass(frozen=True, slots=True)
class SkippedPart:
    """Something that nothing here can hold, so it is not in the store: a value of a module, a deadline of a field.
    A server without the module refuses to start.

    ``db`` is -1 and ``key`` is None for what belongs to no key.
    """

    file: str
    offset: int
    reason: str
    db: int = -1
    key: bytes | None = None


@contextmanager
def collection_rests() -> Iterator[None]:
    """While this lasts no garbage is collected: loading makes no cycles, and to look for them takes as long as it."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


class Replayer:
    """Feeds blocks of commands to the engine's handlers, with a fresh client per file, and loads snapshots.

    Parameters
    ----------
    strict
        Whether a command that is unknown or has the wrong number of arguments ends the load, as on a server. Else it is
        left out: who looks into the log of another server wants to see the rest.

    Attributes
    ----------
    commands, snapshot_keys
        How many there were.
    failed, skipped, warnings
        What was odd: commands with errors, parts of snapshots that are not in the store, and what is no damage.
    left_out, first_left_out
        How many commands of each name were left out, and why and where the first was.
    """

    def __init__(self, engine: Engine, *, strict: bool = True) -> None:
        self.engine = engine
        self.commands = 0
        self.snapshot_keys = 0
        self.failed: list[FailedCommand] = []
        self.skipped: list[SkippedPart] = []
        self.warnings: list[str] = []
        self.left_out: Counter[str] = Counter()
        self.first_left_out: FailedCommand | None = None
        self._strict = strict
        self._file: str | None = None
        self._client = engine.new_client()
        config = engine.config
        self._limits = (
            config.hash_max_listpack_entries,
            config.hash_max_listpack_value,
            config.set_max_intset_entries,
            config.zset_max_listpack_entries,
            config.zset_max_listpack_value,
            config.stream_node_max_bytes,
            config.stream_node_max_entries,
        )
        # A test aid: to rest behind each key of a snapshot and each command.
        loading = engine.loading
        self._rest = key_delay(config.key_load_delay, time.sleep if loading is None else loading.rest)
        # By the bytes of the name, so that most commands need one lookup.
        self._known: dict[bytes, Command] = {}

    @contextmanager
    def loading(self) -> Iterator[None]:
        """While this lasts nothing expires, and garbage collection rests."""
        keyspace = self.engine.keyspace
        keyspace.expiring = False
        try:
            with collection_rests():
                yield
        finally:
            keyspace.expiring = True
            keyspace.dirty = 0
            self.engine.effects.clear()

    def restore(self, file: str, data: BinaryIO, size: int, progress: Callable[[int], None] | None = None) -> Loaded:
        """Load the snapshot at which `data` stands and which `file` begins with, beside what is there.

        Raises
        ------
        RdbError
            It is damaged, or has a key that is there already.
        """
        keyspace, config = self.engine.keyspace, self.engine.config
        loaded = load_rdb(
            data,
            keyspace,
            size,
            name=file,
            config=config,
            unsupported="skip",
            progress=progress,
            each_key=self._rest,
        )
        self.snapshot_keys += loaded.keys
        self.skipped += [SkippedPart(file, part.offset, part.reason, part.db, part.key) for part in loaded.skipped]
        self.warnings += [f"{file}: {warning}" for warning in loaded.warnings]
        return loaded

    @property
    def in_multi(self) -> bool:
        """Whether a transaction is open behind the last command."""
        return self._client.multi is not None

    def replay(self, file: str, block: Block) -> None:
        """Run all commands of `block`, which come from `file`.

        Raises
        ------
        AofFormatError
            For a command that is unknown or has the wrong number of arguments, if this is strict.
        """
        if file != self._file:
            self._file = file
            self._client = self.engine.new_client()
            self._client.loading = True
        client = self._client
        if self._rest is not None:
            for _command in range(len(block)):
                self._rest()
        if block.sets is not None and client.multi is None:
            set_many(client, block.sets)
            self.commands += len(block)
            return
        # Where they still stand in the log, `_run` makes objects of those that are left to it.
        commands = block.argvs if block.records is None else block.records
        # Whoever watches must hear of each change, which only the handlers tell.
        quick = self.engine.observe is None
        index = 0
        while index < len(commands):
            argv = commands[index]
            if quick and client.multi is None:
                stopped = index
                # Of these, what is left to its handler is met twice.
                if argv[0] in OPERATIONS:
                    stopped = apply(commands, index, len(commands), client.db, self._limits)
                elif argv[0] == b"MULTI" and (end := transaction_end(block.argvs, index)) > 0:
                    self._run_transaction(file, block, index + 1, end)
                    stopped = end + 1
                if stopped != index:
                    index = stopped
                    continue
            self._run(file, block, index, argv)
            index += 1
        # What the handlers ask to be logged is in the log already.
        client.dirty = 0
        self.engine.effects.clear()
        self.commands += len(block)

    def _run_transaction(self, file: str, block: Block, index: int, end: int) -> None:
        """The commands from `index` to before `end`, where their EXEC is: nobody sees a part of it."""
        argvs = block.argvs
        while index < end:
            index = apply(argvs, index, end, self._client.db, self._limits)
            if index < end:
                self._run(file, block, index, argvs[index], end)
                index += 1

    def _run(self, file: str, block: Block, index: int, argv: list[bytes], exec_at: int | None = None) -> None:
        """One command by its handler; an error is told of the EXEC at `exec_at`, if there is one."""
        client = self._client
        command = self._known.get(argv[0])
        if command is None or not command.min_argc <= len(argv) <= command.max_argc:
            try:
                command = self._look_up(file, block.offsets[index], argv)
            except AofFormatError as problem:
                if self._strict:
                    raise
                self._leave_out(file, block.offsets[index], argv, problem)
                return
            if not self._may_change_data(file, block.offsets[index], command):
                return
        if client.multi is not None:
            self._in_multi(file, block, index, argv, command)
            return
        try:
            # The common shapes are spelled out: half the time of the general one.
            if command.words == 2:
                command.handler(client, *argv[2:])
            elif len(argv) == 3:
                command.handler(client, argv[1], argv[2])
            elif len(argv) == 2:
                command.handler(client, argv[1])
            elif len(argv) == 4:
                command.handler(client, argv[1], argv[2], argv[3])
            else:
                command.handler(client, *argv[1:])
        except ReplyError as problem:
            where = index if exec_at is None else exec_at
            self._failed(file, block.offsets[where], block.argvs[where], problem)
        except (MemoryError, OverflowError) as problem:
            raise _too_large(file, block.offsets[index], argv) from problem

    def _in_multi(self, file: str, block: Block, index: int, argv: list[bytes], command: Command) -> None:
        """Queue a command of a transaction, or run what was queued."""
        client = self._client
        assert client.multi is not None
        if command.name == "MULTI":
            self._failed(file, block.offsets[index], argv, ReplyError("ERR MULTI calls can not be nested"))
        elif command.name != "EXEC":  # DISCARD is queued too, as the loader of the server does
            client.multi.append((command, argv))
        else:
            # EXEC asks of each command it runs whether it changed something.
            client.dirty = 0
            try:
                reply = command.handler(client)
            except ReplyError as problem:
                self._failed(file, block.offsets[index], argv, problem)
            except (MemoryError, OverflowError) as problem:
                raise _too_large(file, block.offsets[index], argv) from problem
            else:
                self._check_exec(file, block.offsets[index], reply)

    def _look_up(self, file: str, offset: int, argv: Sequence[bytes]) -> Command:
        command = find(argv)
        if command is None or (command.subcommands and len(argv) > 1):
            name = b" ".join(argv[: 1 if command is None else 2]).decode("utf-8", "backslashreplace")
            raise AofFormatError(
                f"unknown command {name!r}; nothing after it was read and no file was changed. "
                "If it belongs to a module or a newer server, load the log there; "
                "`aofnb.read_aof` shows it without running it",
                file=file,
                offset=offset,
            )
        if not command.min_argc <= len(argv) <= command.max_argc:
            raise AofFormatError(
                f"{messages.wrong_arity(command.wire_name)}; the record has {len(argv)} words, so it is damaged. "
                "No file was changed",
                file=file,
                offset=offset,
            )
        if command.words == 1 and not _only_looks(command):
            self._known[argv[0]] = command
        return command

    def _leave_out(self, file: str, offset: int, argv: Sequence[bytes], problem: AofFormatError) -> None:
        name = argv[0][:_NAME_BYTES].decode("utf-8", "backslashreplace").upper()
        self.left_out[name] += 1
        if self.first_left_out is None:
            self.first_left_out = FailedCommand(file, offset, name, problem.message)

    def _may_change_data(self, file: str, offset: int, command: Command) -> bool:
        """Whether there is anything for `command` to do here; one about the server, which no log has, is reported."""
        if not _only_looks(command):
            return True
        if "admin" in command.flags:
            why = "ERR not run: it is about the server, not about data"
            self.failed.append(FailedCommand(file, offset, command.name, why))
        return False

    def _check_exec(self, file: str, offset: int, reply: Any) -> None:
        for item in reply if isinstance(reply, list) else ():
            if isinstance(item, ReplyError):
                self._failed(file, offset, (b"EXEC",), item)

    def _failed(self, file: str, offset: int, argv: Sequence[bytes], problem: ReplyError) -> None:
        name = argv[0].decode("utf-8", "backslashreplace").upper()
        if name == "SELECT" and argv[1].isdigit():
            # redis-server goes on, and everything that follows lands in another database.
            if len(argv[1]) > _INDEX_DIGITS:
                remedy = "no server has so many, so the record is damaged; `aofnb.read_aof` shows what is behind it"
            else:
                remedy = f"open it with databases={int(argv[1]) + 1} or more"
            raise AofFormatError(
                f"database {argv[1][:20].decode()} is selected, of {len(self.engine.keyspace)}; {remedy}. "
                "No file was changed",
                file=file,
                offset=offset,
            )
        if str(problem) == messages.STRING_TOO_LONG:
            # redis-server knows no limit while it loads, and is out of memory for a few bytes of damage.
            raise AofFormatError(
                f"{name} makes a string longer than proto-max-bulk-len; if that is no damage, open it with "
                "proto_max_bulk_len=... as the server had that wrote it. No file was changed",
                file=file,
                offset=offset,
            )
        self.failed.append(FailedCommand(file, offset, name, str(problem)))


def _only_looks(command: Command) -> bool:
    """Whether `command` cannot change data. PFCOUNT is flagged as a read and can, so it has a way to be logged."""
    return command.propagate is NEVER and not command.flags.isdisjoint({"admin", "readonly"})


def _too_large(file: str, offset: int, argv: Sequence[bytes]) -> AofFormatError:
    name = argv[0].decode("utf-8", "backslashreplace").upper()
    return AofFormatError(
        f"{name} needs more memory than there is, or than anything can have: if it is not damaged, load the log on a "
        "larger machine. No file was changed",
        file=file,
        offset=offset,
    )
