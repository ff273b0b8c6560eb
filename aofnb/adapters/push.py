"""The way out: copy a store's data to a real server or a cluster.

1. look: what is where, which keys are overdue (they are not sent), what the target cannot take;
2. send: key by key as RESTORE with its deadline, or as the commands that rebuild it, encoded here and sent in batches;
3. count: every reply is read, and an error belongs to a key.

Nothing is locked in between batches: a key that changes while this runs may arrive as it was before or after. To move
without a stop, serve the store and make the target its replica.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from aofnb.adapters.remote import ClusterSession, RemoteSession, RemoteStore, connect
from aofnb.engine import Store
from aofnb.errors import ReplyError, StoreClosedError
from aofnb.rdb.dump import dump_payload
from aofnb.resp.encode import encode_command
from aofnb.store.snapshot import commands_of_key
from aofnb.store.values import Value

__all__ = ["PushReport", "push"]

Progress = Callable[[int, int], None]

# Keys of one batch, and how many bytes end one early.
_BATCH_KEYS = 500
_BATCH_BYTES = 4 << 20
# The first server that reads payloads of our version.
_RESTORE_SINCE = (7, 0)


@dataclass
class PushReport:
    """What was, or would be, sent.

    Attributes
    ----------
    keys, bytes_sent : int
        Keys the target holds now, and what that took.
    expired : list of (int, bytes)
        Database and key of those that were overdue, and so not sent.
    failed : list of (int, bytes, str)
        Database, key and the error reply; the target holds them as before.
    method : str
        ``restore`` or ``commands``.
    """

    keys: int = 0
    bytes_sent: int = 0
    expired: list[tuple[int, bytes]] = field(default_factory=list)
    failed: list[tuple[int, bytes, str]] = field(default_factory=list)
    functions: int = 0
    method: str = "restore"
    seconds: float = 0.0
    dry_run: bool = False

    def __str__(self) -> str:
        verb = "would be sent" if self.dry_run else "sent"
        lines = [f"{self.keys} keys {verb} as {self.method}, {self.bytes_sent} bytes in {self.seconds:.1f} s"]
        if self.expired:
            lines.append(f"{len(self.expired)} keys were overdue and were left out")
        if self.failed:
            db, key, error = self.failed[0]
            lines.append(f"{len(self.failed)} keys were refused; the first is {key!r} of database {db}: {error}")
        return "\n".join(lines)


def push(
    store: Store,
    url: str,
    *,
    replace: bool = False,
    method: Literal["auto", "restore", "commands"] = "auto",
    cluster: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
    **options: object,
) -> PushReport:
    """Copy the data of `store` to the server at `url`.

    Parameters
    ----------
    store
        Where the data is; it stays as it is.
    url, cluster, **options
        As for `aofnb.connect`. The databases go to those of the same number; a cluster has only database 0.
    replace
        Whether keys that the target has are replaced; else they are refused, and reported.
    method
        ``restore`` (payloads of DUMP: exact, for servers from 7.0 on), ``commands`` (any server), or what fits.
    dry_run
        Say what would be done, and do nothing.
    progress
        Called after each batch with keys done and keys in all.

    Returns
    -------
    PushReport
        Errors of single keys are in it, and end nothing.

    Raises
    ------
    RemoteError
        The server cannot be reached, or the connection broke: the report of what arrived is lost with it.
    ReplyError
        The target cannot take the data at all: a cluster, and keys in other databases than 0.
    """
    if store.closed:
        raise StoreClosedError("the store is closed; open it again with aofnb.open")
    started = time.monotonic()
    with connect(url, cluster=cluster, **options) as target:
        in_cluster = isinstance(target._session, ClusterSession)
        report = PushReport(dry_run=dry_run)
        report.method = _method(target, method)
        todo = _look(store, report, in_cluster)
        if dry_run:
            report.keys = len(todo)
        else:
            _send_functions(store, target, report, in_cluster, replace)
            session = target.session()
            selected = 0
            for done, db, batch in _batches(store, todo, report, replace):
                if db != selected:
                    session.execute("SELECT", db)
                    selected = db
                if report.method == "commands" and not replace:
                    batch = _absent(session, db, batch, report)
                _send(session, db, batch, report)
                if progress is not None:
                    progress(done, len(todo))
        report.seconds = time.monotonic() - started
    return report


def _method(target: RemoteStore, wanted: str) -> str:
    if wanted != "auto":
        return wanted
    text = target.execute("INFO", "server")
    if not isinstance(text, bytes):
        return "commands"
    version = next((line[14:] for line in text.splitlines() if line.startswith(b"redis_version:")), b"0.0")
    numbers = tuple(int(part) for part in version.split(b".")[:2] if part.isdigit())
    return "restore" if numbers >= _RESTORE_SINCE else "commands"


def _look(store: Store, report: PushReport, in_cluster: bool) -> list[tuple[int, bytes]]:
    """The keys to send; what cannot be is told before anything is."""
    todo: list[tuple[int, bytes]] = []
    with store.engine.lock:
        now_ms = store.engine.now_ms()
        for db in store.engine.keyspace:
            for key, _value, deadline_ms in db.walk():
                if deadline_ms is not None and deadline_ms <= now_ms:
                    report.expired.append((db.index, key))
                else:
                    todo.append((db.index, key))
    elsewhere = sorted({db for db, _ in todo if db})
    if in_cluster and elsewhere:
        shown = ", ".join(map(str, elsewhere))
        raise ReplyError(f"ERR a cluster has only database 0, and there are keys in {shown}; MOVE them first")
    return todo


_Item = tuple[bytes, list[list[bytes]]]
"""A key and the commands that make it."""


def _batches(
    store: Store, todo: list[tuple[int, bytes]], report: PushReport, replace: bool
) -> Iterator[tuple[int, int, list[_Item]]]:
    """Keys done, database, and what to send, a batch at a time."""
    start = 0
    while start < len(todo):
        db_index = todo[start][0]
        batch: list[_Item] = []
        size = 0
        with store.engine.lock:
            db = store.engine.keyspace[db_index]
            now_ms = store.engine.now_ms()
            while start < len(todo) and todo[start][0] == db_index and len(batch) < _BATCH_KEYS and size < _BATCH_BYTES:
                key = todo[start][1]
                start += 1
                value, deadline_ms = db.peek(key), db.deadline_ms(key)
                if value is None:
                    continue
                if deadline_ms is not None and deadline_ms <= now_ms:
                    report.expired.append((db_index, key))
                    continue
                commands = _commands(store, key, value, deadline_ms, report.method, replace)
                size += sum(len(arg) for argv in commands for arg in argv)
                batch.append((key, commands))
        yield start, db_index, batch


def _commands(
    store: Store, key: bytes, value: Value, deadline_ms: int | None, method: str, replace: bool
) -> list[list[bytes]]:
    if method == "restore":
        restore = [b"RESTORE", key, b"%d" % (deadline_ms or 0), dump_payload(value, store.config)]
        if replace:
            restore.append(b"REPLACE")
        if deadline_ms is not None:
            restore.append(b"ABSTTL")
        return [restore]
    commands = list(commands_of_key(key, value))
    if replace:
        commands.insert(0, [b"DEL", key])
    if deadline_ms is not None:
        commands.append([b"PEXPIREAT", key, b"%d" % deadline_ms])
    return commands


def _absent(session: RemoteSession | ClusterSession, db: int, batch: list[_Item], report: PushReport) -> list[_Item]:
    """Those of `batch` that the target does not have: commands would add to what is there."""
    absent = []
    for item, there in zip(batch, session.run([(b"EXISTS", key) for key, _ in batch]), strict=True):
        if there == 0:
            absent.append(item)
        else:
            error = str(there) if isinstance(there, ReplyError) else "BUSYKEY Target key name already exists."
            report.failed.append((db, item[0], error))
    return absent


def _send(session: RemoteSession | ClusterSession, db: int, batch: list[_Item], report: PushReport) -> None:
    """Send a batch; each reply belongs to a key."""
    replies = iter(session.run([argv for _, commands in batch for argv in commands]))
    for key, commands in batch:
        errors = [reply for reply in [next(replies) for _ in commands] if isinstance(reply, ReplyError)]
        report.bytes_sent += sum(len(encode_command(argv)) for argv in commands)
        if errors:
            report.failed.append((db, key, str(errors[0])))
        else:
            report.keys += 1


def _send_functions(store: Store, target: RemoteStore, report: PushReport, in_cluster: bool, replace: bool) -> None:
    libraries = [library.code for library in store.engine.keyspace.functions.values()]
    report.functions = len(libraries)
    if libraries and in_cluster:
        raise ReplyError("ERR functions go to every node of a cluster by itself: load them with FUNCTION LOAD there")
    for code in libraries:
        target.execute("FUNCTION", "LOAD", *(["REPLACE"] if replace else []), code)
