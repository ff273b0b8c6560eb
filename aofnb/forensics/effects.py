"""What each command of a log did when it is replayed: the columns of ``read_aof(..., replay=True)``.

The commands run one by one, in order, in a store of their own. Those of a transaction run at their own rows, which
nothing comes between; one that has no EXEC does not run, as on a server. Where a server refuses to go on, the row says
why and the replay goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from aofnb.commands import messages, registry
from aofnb.engine.replay import Replayer
from aofnb.errors import ReplyError
from aofnb.forensics.columns import NOT_RUN, Selection
from aofnb.forensics.reading import Report
from aofnb.forensics.rows import read_rows
from aofnb.forensics.travel import empty_store, refuse_history

if TYPE_CHECKING:
    from aofnb.forensics.log import Log
    from aofnb.forensics.reading import OnBad

__all__ = ["Effects"]

# Number, file, arguments, status and first key of a command.
_Row = tuple[int, str, list[bytes], str, bytes | None]
_TYPES = ("none", "string", "list", "set", "zset", "hash", "stream")


class Effects:
    """Replays a log as far as it is asked about. `on_bad` numbers the rows as the reading that asks does."""

    def __init__(self, log: Log, on_bad: OnBad) -> None:
        refuse_history(log)
        self._store = empty_store(log, None)
        self._replayer = Replayer(self._store.engine)
        self._part: str | None = None
        self._type = registry.table["TYPE"].handler
        selection = Selection.of(("part", "args", "status", "key"), encoding=None)
        self._rows = self._each(read_rows(log.parts, selection, on_bad, None, Report()))

    def of(self, frame: pd.DataFrame) -> pd.DataFrame:
        """`frame`, rows of the log behind those of the last call, with what each did.

        `dirty` : Int64, how many changes Redis counts, NA if the row was not run. `error` : str, what a server would
        reply, NA if it is no error. `keys_after` : Int64, keys in its database behind it. `type` : category, that of
        its first key behind it, ``none`` if there is none, NA for a command without keys.
        """
        found: list[tuple[int | None, str | None, int, str | None]] = []
        wanted = iter(frame.index.tolist())
        seq = next(wanted, None)
        with self._replayer.loading():
            while seq is not None:
                row = next(self._rows)
                if self._run(row, seq == row[0], found):
                    seq = next(wanted, None)
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

    def _each(self, batches: Iterator[Any]) -> Iterator[_Row]:
        for batch in batches:
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)

    def _run(self, row: _Row, is_wanted: bool, found: list[Any]) -> bool:
        """Run a row, and note what it did if that is wanted."""
        _, part, argv, status, key = row
        engine = self._store.engine
        if part != self._part:
            self._part = part
            self._client = engine.new_client()
            self._client.loading = True
        client = self._client
        dirty: int | None = None
        error: str | None = None
        if status not in NOT_RUN:
            client.dirty = 0
            error = self._call(argv)
            dirty = client.dirty
            client.dirty = 0
            engine.effects.clear()
        if is_wanted:
            type_ = None if key is None else self._type(client, key)
            found.append((dirty, error, len(client.db), type_))
        return is_wanted

    def _call(self, argv: Sequence[bytes]) -> str | None:
        """Run one command; the error it gives."""
        command = registry.find(argv)
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
            command.handler(self._client, *argv[command.words :])
        except ReplyError as problem:
            return str(problem)
        except (MemoryError, OverflowError):
            return "ERR it needs more memory than there is"
        return None
