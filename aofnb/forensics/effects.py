"""What each command of a log did when it is replayed: the columns of ``read_aof(..., replay=True)``.

The commands run one by one, in order, in a store of their own. Those of a transaction run at their own rows, which
nothing comes between; one that has no EXEC does not run, as on a server. Where a server refuses to go on, the row says
why and the replay goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from aofnb.commands import messages, registry
from aofnb.commands.registry import Command
from aofnb.engine.replay import Replayer
from aofnb.errors import ReplyError
from aofnb.forensics.columns import Selection, was_run
from aofnb.forensics.reading import Report
from aofnb.forensics.rows import read_rows
from aofnb.forensics.travel import empty_store, refuse_history
from aofnb.store.values import type_name

if TYPE_CHECKING:
    from aofnb.forensics.log import Log
    from aofnb.forensics.reading import OnBad

__all__ = ["Effects"]

# Number, file, arguments, whether it is run, and first key of a command.
_Row = tuple[int, str, list[bytes], bool, bytes | None]
_TYPES = ("none", "string", "list", "set", "zset", "hash", "stream")


class Effects:
    """Replays a log as far as it is asked about. `on_bad` numbers the rows as the reading that asks does."""

    def __init__(self, log: Log, on_bad: OnBad) -> None:
        refuse_history(log)
        self._store = empty_store(log, None)
        self._replayer = Replayer(self._store.engine)
        self._part: str | None = None
        self._effects = self._store.engine.effects
        # By the bytes of the name, so that most commands need one lookup.
        self._known: dict[bytes, Command] = {}
        selection = Selection.of(("part", "args", "status", "key"), encoding=None)
        self._rows = _each(read_rows(log.parts, selection, on_bad, None, Report()))

    def of(self, frame: pd.DataFrame) -> pd.DataFrame:
        """`frame`, rows of the log behind those of the last call, with what each did.

        `dirty` : Int64, how many changes Redis counts, NA if the row was not run. `error` : str, what a server would
        reply, NA if it is no error. `keys_after` : Int64, keys in its database behind it. `type` : category, that of
        its first key behind it, ``none`` if there is none, NA for a command without keys.
        """
        found: list[tuple[int | None, str | None, int, str | None]] = []
        with self._replayer.loading():
            for seq in frame.index.tolist():
                row = next(self._rows)
                while row[0] != seq:
                    self._run(row)
                    row = next(self._rows)
                found.append(self._run(row))
        dirty, error, keys_after, type_ = zip(*found, strict=True) if found else ((), (), (), ())
        columns = {
            "dirty": pd.array(dirty, dtype="Int64"),
            "error": pd.Series(error, dtype="str").array,
            "keys_after": pd.array(keys_after, dtype="Int64"),
            "type": pd.Categorical(type_, categories=pd.Index(_TYPES, dtype="str")),
        }
        attrs = frame.attrs
        frame = frame.assign(**columns)
        frame.attrs = attrs
        return frame

    def _run(self, row: _Row) -> tuple[int | None, str | None, int, str | None]:
        """Run a row: what it changed, its error, the keys behind it, and the type of its first key."""
        _, part, argv, runs, key = row
        if part != self._part:
            self._part = part
            self._client = self._store.engine.new_client()
            self._client.loading = True
        client = self._client
        dirty: int | None = None
        error: str | None = None
        if runs:
            client.dirty = 0
            error = self._call(argv)
            dirty = client.dirty
            client.dirty = 0
            self._effects.clear()
        db = client.db
        if key is None:
            return dirty, error, len(db), None
        value = db.peek(key)
        return dirty, error, len(db), "none" if value is None else type_name(value)

    def _call(self, argv: Sequence[bytes]) -> str | None:
        """Run one command; the error it gives."""
        command = self._known.get(argv[0]) or self._look_up(argv)
        if command is None or (command.subcommands and len(argv) > 1):
            name = b" ".join(argv[: 1 if command is None else 2]).decode("utf-8", "backslashreplace")
            return f"ERR unknown command {name!r}"
        if not command.min_argc <= len(argv) <= command.max_argc:
            return str(messages.wrong_arity(command.wire_name))
        if command.name in ("MULTI", "EXEC"):
            # A transaction is its commands.
            return None
        if command.propagate is registry.NEVER and not command.flags.isdisjoint({"admin", "readonly"}):
            return "ERR not run: it is about the server, not about data" if "admin" in command.flags else None
        try:
            if len(argv) == 3 and command.words == 1:
                command.handler(self._client, argv[1], argv[2])
            else:
                command.handler(self._client, *argv[command.words :])
        except ReplyError as problem:
            return str(problem)
        except (MemoryError, OverflowError):
            return "ERR it needs more memory than there is"
        return None

    def _look_up(self, argv: Sequence[bytes]) -> Command | None:
        command = registry.find(argv)
        if command is not None and command.words == 1 and not command.subcommands:
            self._known[argv[0]] = command
        return command


def _each(batches: Iterator[pa.RecordBatch]) -> Iterator[_Row]:
    for batch in batches:
        seq, part, args, status, key = batch.columns
        names, places = part.dictionary.to_pylist(), part.indices.to_numpy().tolist()
        words, borders = _objects(args.flatten()), (args.offsets.to_numpy() - args.offsets[0].as_py()).tolist()
        argvs = [words[begin:end] for begin, end in pairwise(borders)]
        runs = was_run(status).tolist()
        yield from zip(_objects(seq), map(names.__getitem__, places), argvs, runs, _objects(key), strict=True)


def _objects(column: pa.Array) -> list[Any]:
    """As `to_pylist`, of which only the newest pyarrow makes bytes and numbers quickly."""
    found: list[Any] = column.to_numpy(zero_copy_only=False).tolist()
    return found
