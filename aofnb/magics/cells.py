"""Where the commands of cells run: a session of a store here, or a connection to a server.

Both have one face, `Cells`, so that every magic runs on either. What differs is who keeps the state. Here it is looked
up; of a server only what it answered tells which database is selected and whether MULTI is open, so a connection is
for cells alone, and all its commands go through `RemoteCells.execute`.

On a server each command is sent when the one before it was answered, as redis-cli does: an error stops a cell before
anything behind it has run, as it does here, at the price of a round trip for each command.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import aofnb
from aofnb.commands.blocking import timeout_of
from aofnb.engine import Store
from aofnb.errors import AofnbError, RemoteError, ReplyError
from aofnb.magics.parse import MagicError

__all__ = ["AnyStore", "Cells", "LocalCells", "RemoteCells", "is_remote", "is_store"]

# A `Store` or a `RemoteStore`: the adapter is imported only where somebody connects.
AnyStore = Any

# How many keys are looked at between two looks at the clock.
_SCAN_STEP = 1000
# Tab must not hang where a server does.
_TAB_TIMEOUT_S = 0.5

_LISTENING = frozenset({"SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "MONITOR", "SYNC", "PSYNC"})
# A server answers these with another number of replies than one, for which a connection would wait for ever.
_NOT_ONE_REPLY = frozenset({"UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE", "REPLCONF", "CLIENT REPLY"})
_INSTEAD_HERE = {
    "MONITOR": "session = store.session(); session.on_push = print; session.execute('MONITOR'), or %aof tail",
    "SYNC": "%aof tail",
    "PSYNC": "%aof tail",
}
_INSTEAD_THERE = {
    "MONITOR": "redis.Redis.from_url(URL).monitor()",
    "SYNC": "redis-cli --replica",
    "PSYNC": "redis-cli --replica",
}
_PUBSUB_HERE = "pubsub = store.redis().pubsub(); pubsub.subscribe('news'); pubsub.get_message(timeout=1)"
_PUBSUB_THERE = "pubsub = redis.Redis.from_url(URL).pubsub(); pubsub.subscribe('news'); pubsub.get_message(timeout=1)"


class Cells(Protocol):
    """What cells need of the place where they run."""

    @property
    def multi(self) -> Sequence[Any] | None:
        """The commands that are queued since MULTI, None outside of it; the same object until it ends."""

    def execute(self, argv: list[bytes]) -> Any:
        """Run one command; raises `ReplyError` for an error reply."""

    def turn(self) -> AbstractContextManager[Any]:
        """What runs inside is one turn, where there are turns."""

    def selected(self, db: int | None) -> AbstractContextManager[None]:
        """Run what is inside in database `db`, and go back."""

    def monotonic(self) -> float:
        """Seconds, for measuring."""

    def keys(self, prefix: bytes, most: int, deadline_s: float, clock: Callable[[], float]) -> list[bytes]:
        """Keys of the selected database that begin with `prefix`, as many as are found in time; never raises."""


def refuse_listening(argv: Sequence[bytes], instead: Mapping[str, str], pubsub: str) -> None:
    """Refuse what a cell cannot do: listen without end. `instead` and `pubsub` are the ways that Python has."""
    name = argv[0].decode("latin-1").upper()
    if name in _LISTENING:
        raise ReplyError(
            f"ERR {name} listens without end, and a cell has an end; in Python: {instead.get(name, pubsub)}"
        )


def refuse_waiting(argv: Sequence[bytes]) -> None:
    """Refuse to wait without end, which would freeze the kernel."""
    if timeout_of(argv) == 0:
        name = argv[0].decode("latin-1").upper()
        raise ReplyError(
            f"ERR {name} would wait without end, and the kernel with it; give it a timeout, which Ctrl-C or the stop "
            "button cuts short, or use the non-blocking form"
        )


class LocalCells:
    """A session of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.session = store.session()

    @property
    def multi(self) -> Sequence[Any] | None:
        return self.session.client.multi

    def execute(self, argv: list[bytes]) -> Any:
        refuse_listening(argv, _INSTEAD_HERE, _PUBSUB_HERE)
        return self.session.execute(*argv)

    def turn(self) -> AbstractContextManager[Any]:
        return self._store.batch()

    @contextmanager
    def selected(self, db: int | None) -> Iterator[None]:
        client = self.session.client
        before = client.db
        _select(self, db)
        try:
            yield
        finally:
            # With MULTI left open, going back would move the queued commands to another database.
            if db is not None and client.multi is None:
                client.db = before

    def monotonic(self) -> float:
        return self._store.clock.monotonic()

    def keys(self, prefix: bytes, most: int, deadline_s: float, clock: Callable[[], float]) -> list[bytes]:
        db, lock = self.session.client.db, self.session.engine.lock
        found: list[bytes] = []
        cursor = 0
        while len(found) < most and clock() < deadline_s:
            # A cell in another thread may be running: without the lock at once, there are no keys this time.
            if not lock.acquire(timeout=0.01):
                break
            try:
                cursor, keys = db.scan(cursor, _SCAN_STEP)
                found += [key for key in keys if key.startswith(prefix) and not db.overdue(key)]
            finally:
                lock.release()
            if cursor == 0:
                break
        return sorted(found)[:most]


class RemoteCells:
    """A connection to a server, and what its answers tell of its state."""

    def __init__(self, store: AnyStore) -> None:
        self._store = store
        self._session = store.session()
        self._begins_in = store.db
        self._for_tab: AnyStore | None = None
        self._forget()

    def _forget(self) -> None:
        """A new connection knows nothing of SELECT and MULTI."""
        self._db = self._begins_in
        self._multi: list[list[bytes]] | None = None

    @property
    def multi(self) -> Sequence[Any] | None:
        return self._multi

    def execute(self, argv: list[bytes]) -> Any:
        refuse_listening(argv, _INSTEAD_THERE, _PUBSUB_THERE)
        name = b" ".join(argv[:2] if argv[0].upper() == b"CLIENT" else argv[:1]).decode("latin-1").upper()
        if name in _NOT_ONE_REPLY:
            raise ReplyError(
                f"ERR {name} changes how a connection is answered, which cells rely on; use redis-py for it"
            )
        if self._multi is None:
            refuse_waiting(argv)
        try:
            reply = self._session.execute(*argv)
        except ReplyError as problem:
            if argv[0].upper() == b"EXEC" and problem.code in ("EXECABORT", "MOVED", "ASK"):
                self._multi = None
            raise
        except RemoteError as problem:
            self._forget()
            raise RemoteError(f"{self._store.shown}: {problem}") from problem
        except BaseException:
            # Ctrl-C: the connection is given up, since a reply may still come on it.
            self._forget()
            raise
        self._note(argv, reply)
        return reply

    def _note(self, argv: list[bytes], reply: Any) -> None:
        name = argv[0].upper()
        if name in (b"EXEC", b"DISCARD"):
            # What EXEC did not run, since a watched key had changed, selected nothing.
            for queued in (self._multi or ()) if name == b"EXEC" and reply is not None else ():
                self._note_database(queued)
            self._multi = None
        elif name == b"MULTI":
            self._multi = []
        elif name == b"RESET":
            self._multi, self._db = None, 0
        elif self._multi is not None and reply == "QUEUED":
            self._multi.append(argv)
        else:
            self._note_database(argv)

    def _note_database(self, argv: list[bytes]) -> None:
        if argv[0].upper() == b"SELECT" and len(argv) == 2 and argv[1].isdigit():
            self._db = int(argv[1])

    def turn(self) -> AbstractContextManager[Any]:
        return nullcontext()

    @contextmanager
    def selected(self, db: int | None) -> Iterator[None]:
        before = self._db
        _select(self, db)
        try:
            yield
        finally:
            if db is not None and self._multi is None and self._db != before:
                self.execute([b"SELECT", b"%d" % before])

    def monotonic(self) -> float:
        return time.monotonic()

    def keys(self, prefix: bytes, most: int, deadline_s: float, clock: Callable[[], float]) -> list[bytes]:
        # On a connection of its own, since a cell in another thread may be waiting on the other one.
        pattern = b"".join(b"\\%c" % byte if byte in b"\\*?[" else b"%c" % byte for byte in prefix) + b"*"
        found: list[bytes] = []
        cursor = b"0"
        try:
            if self._for_tab is None or self._for_tab.closed:
                self._for_tab = aofnb.connect(
                    self._store.url, socket_timeout=_TAB_TIMEOUT_S, socket_connect_timeout=_TAB_TIMEOUT_S
                )
            tab = self._for_tab
            if self._db:
                tab.execute("SELECT", self._db)
            while True:
                cursor, keys = tab.execute("SCAN", cursor, "MATCH", pattern, "COUNT", _SCAN_STEP)
                found += keys
                # Once in any case: connecting may have used up the time.
                if cursor == b"0" or len(found) >= most or clock() >= deadline_s:
                    break
        except AofnbError:
            self.close_tab()
        # SCAN may give a key twice.
        return sorted(set(found))[:most]

    def close_tab(self) -> None:
        """Close the connection that completion uses."""
        if self._for_tab is not None:
            self._for_tab.close()
            self._for_tab = None


def _select(cells: Cells, db: int | None) -> None:
    if db is None:
        return
    if cells.multi is not None:
        raise MagicError("--db cannot be used while MULTI is open; EXEC or DISCARD first")
    try:
        cells.execute([b"SELECT", b"%d" % db])
    except ReplyError as problem:
        raise MagicError(f"--db {db}: {problem}") from None


def is_remote(value: object) -> bool:
    """Whether `value` came from `aofnb.connect`; imports nothing."""
    adapter = sys.modules.get("aofnb.adapters.remote")
    return adapter is not None and isinstance(value, adapter.RemoteStore)


def is_store(value: object) -> bool:
    """Whether cells can run on `value`."""
    return isinstance(value, Store) or is_remote(value)
