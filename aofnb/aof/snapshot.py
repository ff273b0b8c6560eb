"""A base from a forked child: what its kernel needs of the keyspace, and what became of the child.

The child is of the calling process, and sees the data as it was at the call. It holds on to nothing of its parent: all
files but its own are closed, so the lock of the directory ends with the parent. When the parent is gone it stops.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from contextlib import suppress

from aofnb.aof import _snapshot_cy
from aofnb.aof.rewrite import SYNC_BYTES, BaseForm
from aofnb.errors import AofError
from aofnb.rdb.writer import database_head, file_head
from aofnb.store.hash_value import HashValue
from aofnb.store.keyspace import Keyspace
from aofnb.store.list_value import ListValue
from aofnb.store.set_value import SetValue
from aofnb.store.stream import Consumer, Group, Node, Pending, PendingList, Stream
from aofnb.store.zset import SortedSet

__all__ = [
    "NotWalkableError",
    "PrivateMemory",
    "SnapshotChild",
    "StoppedError",
    "available",
    "can_write",
    "ended",
    "fork_snapshot",
    "layout",
    "private_bytes",
    "write_snapshot",
]

_DONE = 2
_NOT_WALKABLE = -1
# Where no descriptor tells of the end of a child, it is asked for so often.
_ASK_S = 0.02

# Classes, and behind each the slots that the kernel follows, in the order of its `Layout`.
_SLOTS: tuple[tuple[type, tuple[str, ...]], ...] = (
    (ListValue, ("_data",)),
    (SetValue, ("members",)),
    (HashValue, ("_data",)),
    (SortedSet, ("_data",)),
    (Stream, ("nodes", "length", "last_id", "max_deleted_id", "entries_added", "groups")),
    (Node, ("master_id", "fields", "ids", "entries")),
    (Group, ("last_id", "entries_read", "pel", "consumers")),
    (Consumer, ("name", "seen_ms", "pel")),
    (PendingList, ("_by_id",)),
    (Pending, ("delivered_ms", "deliveries")),
)


class NotWalkableError(AofError):
    """There is a value that the kernel does not know; another way must be taken."""


class StoppedError(AofError):
    """Someone ended the rewrite, which is no failure; the old files are in force."""


def layout() -> tuple[object, ...]:
    """The classes and the descriptors of their slots, for the kernel."""
    return tuple(part for kind, names in _SLOTS for part in (kind, *(vars(kind)[name] for name in names)))


def available() -> bool:
    """Whether there can be such a child: the kernel is compiled and the platform can fork."""
    return _snapshot_cy.COMPILED and hasattr(os, "fork") and sys.platform not in ("emscripten", "wasi")


class SnapshotChild:
    """The running child.

    Attributes
    ----------
    pid
        Its number.
    private
        How much memory is its own: what it made, and the pages its parent changed.
    """

    def __init__(self, path: str, snapshot: _snapshot_cy.Snapshot) -> None:
        self.path = path
        self.private = PrivateMemory()
        self._snapshot = snapshot
        self._pid = snapshot.pid
        # The number may be another's once the child was waited for.
        self._reaped = False
        self._killed = False
        self._code: int | None = None
        self._lock = threading.Lock()

    @property
    def pid(self) -> int:
        return self._pid

    def progress(self) -> tuple[int, int]:
        """Keys and bytes written so far."""
        _state, _problem, keys, written = self._snapshot.read()
        return keys, written

    def kill(self) -> None:
        """End it now; `wait` raises."""
        with self._lock:
            self._killed = True
            if not self._reaped:
                os.kill(self._pid, signal.SIGKILL)

    def wait(self) -> None:
        """Return when the base is whole and synced. Lets other threads run.

        Raises
        ------
        NotWalkableError
            There was something that the kernel does not know.
        StoppedError
            It was killed by `kill`, or by SIGUSR1.
        AofError
            It was killed otherwise, or could not write.
        """
        self._code = self._reap()
        self._judge()

    def _judge(self) -> None:
        """Raise unless the base is whole. The page tells, whoever has taken the exit status."""
        state, problem, _keys, _written = self._snapshot.read()
        if state == _DONE:
            return
        if self._killed:
            raise StoppedError("the rewrite was stopped; the old files are in force", file=self.path)
        _raise_problem(problem, "the forked child", self.path)
        raise ended(self._code, "the forked child", self.path)

    def _reap(self) -> int | None:
        """Wait for the end; its exit code (negative: the signal), or None if someone else has taken it."""
        with _EndOf(self._pid) as end:
            while True:
                with self._lock:
                    try:
                        pid, status = os.waitpid(self._pid, os.WNOHANG)
                    except ChildProcessError:
                        self._reaped = True
                        return None
                    self._reaped = pid != 0
                if pid:
                    return os.waitstatus_to_exitcode(status)
                self.private.measure(self._pid)
                end.wait()


class _EndOf:
    """To wait for the end of the process `pid` for a second; where the platform cannot tell, a short while."""

    def __init__(self, pid: int) -> None:
        self._fd: int | None = None
        if hasattr(os, "pidfd_open"):
            with suppress(OSError):
                self._fd = os.pidfd_open(pid)

    def __enter__(self) -> _EndOf:
        return self

    def wait(self) -> None:
        if self._fd is None:
            time.sleep(_ASK_S)
            return
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        poll.poll(1000)

    def __exit__(self, *_problem: object) -> None:
        if self._fd is not None:
            os.close(self._fd)


def can_write(keyspace: Keyspace, form: BaseForm) -> bool:
    """Whether the kernel is there, and can write `keyspace` in this form."""
    # It does not know deadlines of fields.
    return form.suffix == "rdb" and not form.compressed and available() and not keyspace.has_field_deadlines()


def fork_snapshot(keyspace: Keyspace, path: str, form: BaseForm) -> SnapshotChild:
    """Fork a child that writes `keyspace`, as it is now, to the new file `path`. Needs `can_write`.

    Raises
    ------
    OSError
        There can be no file, or no child.
    """
    return SnapshotChild(path, _start(keyspace, path, form, in_child=True))


def write_snapshot(keyspace: Keyspace, path: str, form: BaseForm, *, durable: bool = True) -> tuple[int, int]:
    """Write `keyspace` to the new file `path` in this process; nothing else runs meanwhile. Needs `can_write`.

    What is not `durable` may be gone after a power cut: for who reads it at once.

    Returns
    -------
    tuple
        How many keys, and how many bytes.

    Raises
    ------
    OSError
        There can be no file.
    NotWalkableError, AofError
        As `SnapshotChild.wait`.
    """
    state, problem, keys, written = _start(keyspace, path, form, in_child=False, durable=durable).read()
    if state != _DONE:
        _raise_problem(problem, "the rewriting process", path)
        raise StoppedError("the process that wanted the base is gone", file=path)
    return keys, written


def _raise_problem(problem: int, who: str, path: str) -> None:
    """Raise for what the kernel says went wrong, if it says so."""
    if problem == _NOT_WALKABLE:
        raise NotWalkableError("there is a value of a kind that the snapshot kernel does not know", file=path)
    if problem > 0:
        raise AofError(
            f"{who} could not write the base: {os.strerror(problem)}; free space or mend the disk, "
            "the old files are in force",
            file=path,
        ) from OSError(problem, os.strerror(problem))


def _start(
    keyspace: Keyspace, path: str, form: BaseForm, *, in_child: bool, durable: bool = True
) -> _snapshot_cy.Snapshot:
    prefix = file_head(keyspace, form.aux)
    databases = [(database_head(db), *db.tables()) for db in keyspace if len(db)]
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        return _snapshot_cy.start(
            fd,
            _last_fd(),
            prefix,
            databases,
            layout(),
            form.checksum,
            durable,
            SYNC_BYTES if form.incremental_fsync else 0,
            form.key_save_delay,
            in_child,
        )
    except BaseException:
        os.unlink(path)
        raise
    finally:
        os.close(fd)


def _last_fd() -> int:
    """The highest number of an open file, or more: another thread may be opening one."""
    try:
        return max(map(int, os.listdir("/dev/fd"))) + 64
    except (OSError, ValueError):
        return 1024


class PrivateMemory:
    """How much memory a child has of its own, in bytes: when it was last measured (`at_s`, 0.0 for never), and at most.

    The times are of `time.monotonic`.
    """

    def __init__(self) -> None:
        self.now = 0
        self.peak = 0
        self.at_s = 0.0

    def measure(self, pid: int) -> None:
        """Look at the process `pid`."""
        size = private_bytes(pid)
        # A child that has just ended has none.
        if size:
            self.now, self.at_s = size, time.monotonic()
            self.peak = max(self.peak, size)

    @property
    def age_s(self) -> float:
        """How long ago it was measured."""
        return time.monotonic() - self.at_s if self.at_s else 0.0


def private_bytes(pid: int) -> int:
    """Memory that is the process's own and no longer its parent's; 0 where the system does not tell."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            lines = file.readlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith(b"Private_Dirty:"))


def ended(code: int | None, who: str, path: str) -> AofError:
    """The error for a child that ended before its time, by its exit code as `subprocess` gives it."""
    rest = "; the old files are in force"
    if code is None or code >= 0:
        status = "for a reason that nobody kept" if code is None else f"with status {code}"
        return AofError(f"{who} ended {status}{rest}", file=path)
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    # The way to end a rewrite that is no failure, with us as with Redis.
    kind = StoppedError if name == "SIGUSR1" else AofError
    return kind(f"{who} was killed by {name}{rest}", file=path)
