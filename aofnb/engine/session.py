"""How a person or a program runs commands: arguments of Python in, values of Python out."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from aofnb.commands.client import Client
from aofnb.engine._turn_cy import as_bytes, executor
from aofnb.engine.core import Engine
from aofnb.errors import ReplyError

__all__ = ["Argument", "Pipeline", "Session", "to_bytes"]

_NAMELESS = "a command needs at least its name"

Argument = bytes | bytearray | memoryview | str | int | float


def to_bytes(arg: object) -> bytes:
    r"""One argument as the server sees it: text as UTF-8, numbers as decimal text, bytes as they are.

    >>> to_bytes("é"), to_bytes(7), to_bytes(0.5)
    (b'\xc3\xa9', b'7', b'0.5')

    Raises
    ------
    TypeError
        For None, bool and anything else that has no one obvious spelling.
    """
    if isinstance(arg, str):
        return arg.encode()
    if isinstance(arg, bytes):
        return bytes(arg)
    if isinstance(arg, bytearray | memoryview):
        return bytes(arg)
    if isinstance(arg, bool) or arg is None:
        raise TypeError(f"{arg!r} is not a Redis argument; say what you mean: 1, 0, '' or no argument at all")
    if isinstance(arg, numbers.Integral):
        return b"%d" % int(arg)
    if isinstance(arg, numbers.Real):
        return repr(float(arg)).encode()
    raise TypeError(f"{type(arg).__name__} is not a Redis argument; give bytes, str, int or float")


class Session:
    """Commands with their own selected database and MULTI state.

    A store has one of its own; `Store.session` gives more, one per thread that uses MULTI or SELECT.

    Attributes
    ----------
    execute : callable
        ``execute(name, *args)`` runs one command and gives its reply when the log holds it as the policy
        promises. Arguments are bytes, str (as UTF-8), int or float. Replies are bytes (bulk), int, list (array),
        None (nil) and str (a status such as ``OK``). Raises `ReplyError` for what a server answers with an error,
        and `AofWriteError` where the log could not be written or synced: then the command is not acknowledged.
    """

    __slots__ = ("__weakref__", "client", "engine", "execute")

    def __init__(self, engine: Engine, client: Client | None = None) -> None:
        self.engine = engine
        self.client = engine.new_client() if client is None else client
        self.execute = executor(engine, self.client, as_argv, to_bytes)

    @property
    def on_push(self) -> Callable[[Any], None] | None:
        """What takes messages of channels, lines of MONITOR and invalidations; set it before SUBSCRIBE.

        It is called by the thread whose command caused the message, at the end of its turn: it should put it aside
        (``queue.SimpleQueue().put``) and return.
        """
        return self.client.sink

    @on_push.setter
    def on_push(self, take: Callable[[Any], None] | None) -> None:
        if take is None:
            with self.engine.lock:
                self.engine.reset(self.client)
        self.client.sink = take

    def run(self, batch: Iterable[Sequence[Argument]]) -> list[Any]:
        """Run several commands as one turn: one write and one fsync for all.

        Returns
        -------
        list
            The replies, in order; an error reply is a `ReplyError` in its place.
        """
        argvs = as_bytes(batch, to_bytes)
        if not all(argvs):
            raise TypeError(_NAMELESS)
        return self.engine.run(self.client, argvs)

    def pipeline(self) -> Pipeline:
        """Collect commands, then run them as one turn."""
        return Pipeline(self)


def as_argv(argv: Sequence[Argument]) -> list[bytes]:
    """All arguments as bytes; at least one is needed."""
    if not argv:
        raise TypeError(_NAMELESS)
    return [arg if type(arg) is bytes else arg.encode() if type(arg) is str else to_bytes(arg) for arg in argv]


class Runs(Protocol):
    """What runs several commands as one turn: a session, be it here or on a real server."""

    def run(self, batch: Iterable[Sequence[Argument]]) -> list[Any]:
        """The replies, in order; error replies as values."""
        ...


class Pipeline:
    """Commands that go to the store together, with one write and one fsync for all of them.

    Not a transaction: other sessions see nothing in between, but an error in one does not undo the others.

    Examples
    --------
    >>> import aofnb
    >>> with aofnb.open(None) as store:
    ...     store.pipeline().add("SET", "n", 1).add("INCR", "n").execute()
    ['OK', 2]
    """

    __slots__ = ("_batch", "_session")

    def __init__(self, session: Runs) -> None:
        self._session = session
        self._batch: list[list[bytes]] = []

    def add(self, *argv: Argument) -> Pipeline:
        """Queue one command; returns the pipeline."""
        self._batch.append(as_argv(argv))
        return self

    def __len__(self) -> int:
        return len(self._batch)

    def execute(self, *, raise_on_error: bool = True) -> list[Any]:
        """Run what was queued and empty the pipeline.

        Raises
        ------
        ReplyError
            The first error reply, after all commands ran, unless `raise_on_error` is False.
        """
        batch, self._batch = self._batch, []
        replies = self._session.run(batch)
        if raise_on_error:
            for reply in replies:
                if isinstance(reply, ReplyError):
                    raise reply
        return replies
