"""One writer per directory: an advisory lock that ends with the process that holds it.

Rules of this file: the lock is on the open file, not on its name, so the file stays behind and means nothing by itself;
its text says who holds the lock, for the error message of the next one. Where the system can, the directories are
locked too: the file may be deleted by whoever tidies up, and a directory may be reached by several names. redis-server
knows nothing of it.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
import time
import warnings
import weakref
from contextlib import suppress

from aofnb.aof.fs import Fs, OsFs
from aofnb.errors import AofLockedError, AofWriteError

__all__ = ["LOCK_NAME", "DirectoryLock"]

LOCK_NAME = "aofnb.lock"
# Tries, a fiftieth of a second apart.
_PATIENCE = 100
_PATIENCE_FOR_DIRECTORY = 5
# No file locks here, or not on this file system (some network mounts).
_UNSUPPORTED = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOLCK}
_HELD = {errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK}

if sys.platform == "win32":
    import msvcrt

    # Far behind the text: a locked byte cannot be read there by others.
    _LOCKED_BYTE = 1 << 30

    def _lock(fd: int) -> None:
        os.lseek(fd, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)

else:
    try:
        import fcntl
    except ModuleNotFoundError:  # Pyodide

        def _lock(fd: int) -> None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    else:

        def _lock(fd: int) -> None:
            # Of the open file, so that a second store of this process is refused too.
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

        def _unlock(fd: int) -> None:
            # close() alone does not: a subprocess between fork and exec holds the same open file.
            fcntl.flock(fd, fcntl.LOCK_UN)


class DirectoryLock:
    """The right to write to a directory.

    A file system that is not the operating system's has no other users and needs no lock.

    Attributes
    ----------
    enforced
        Whether a second writer is kept out. False where the platform has no file locks, which a warning says.
    """

    def __init__(self, fs: Fs, directory: str) -> None:
        self.directory = directory
        self.path = os.path.join(directory, LOCK_NAME)
        self.enforced = False
        self._real = isinstance(fs, OsFs)
        self._fd: int | None = None
        # Directories that are ours, open.
        self._directories: dict[str, int] = {}
        _locks.add(self)

    def acquire(self) -> None:
        """Take the lock.

        Raises
        ------
        AofLockedError
            Someone has it, says who; or the lock's file cannot be made.
        """
        if not self._real or self._fd is not None:
            return
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        except OSError as problem:
            raise AofLockedError(
                f"the lock cannot be made: {problem.strerror}; make the directory writable, or open with readonly=True",
                file=self.path,
            ) from problem
        try:
            _lock_or_wait_for_the_dead(fd)
        except OSError as problem:
            if problem.errno in _UNSUPPORTED:
                self._fd = fd
                warnings.warn(
                    f"{self.path}: no file locks here ({problem.strerror}), so nothing keeps a second writer out; "
                    "see to it that only one store writes to this directory",
                    RuntimeWarning,
                    stacklevel=2,
                )
                return
            holder = _holder(fd)
            os.close(fd)
            if problem.errno in _HELD:
                raise AofLockedError(
                    f"{holder} writes to this directory; close that store (or restart its kernel), "
                    "or open with readonly=True to look beside it",
                    file=self.path,
                ) from None
            raise AofLockedError(
                f"the lock cannot be taken: {problem.strerror}; open with readonly=True to look", file=self.path
            ) from problem
        self._fd = fd
        self.enforced = True
        try:
            self.also(self.directory)
        except BaseException:
            self.release()
            raise
        # The lock holds even where its text cannot be written (a full disk).
        with suppress(OSError):
            os.ftruncate(fd, 0)
            os.lseek(fd, 0, os.SEEK_SET)
            os.write(fd, _self_description())

    def also(self, directory: str) -> None:
        """Lock `directory` itself as well, if it is there and the system can.

        Raises
        ------
        AofLockedError
            Someone has it, perhaps by another name.
        """
        if not self.enforced or directory in self._directories or not hasattr(os, "O_DIRECTORY"):
            return
        try:
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return
        try:
            _lock_patiently(fd)
        except OSError as problem:
            os.close(fd)
            if problem.errno in _HELD:
                raise AofLockedError(
                    "another store or process writes to this directory, perhaps by another name of it; close that one, "
                    "or open with readonly=True to look beside it",
                    file=directory,
                ) from None
            # Some network mounts lock no directories.
            return
        self._directories[directory] = fd

    def check(self) -> None:
        """Make sure that the names still lead to the directories that are locked.

        Raises
        ------
        AofWriteError
            One of them was removed, moved, or replaced: what is there now is somebody else's.
        """
        for path, fd in self._directories.items():
            try:
                same = os.path.samestat(os.stat(path), os.fstat(fd))
            except FileNotFoundError:
                same = False
            if not same:
                raise AofWriteError(
                    "the directory was removed, moved or replaced since it was opened, so nothing is written there; "
                    "close the store, and open it where its files are now",
                    file=path,
                )

    def forget(self) -> None:
        """In a forked child: drop the inherited descriptors, so that the lock ends with the parent."""
        self._close_directories()
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def _close_directories(self) -> None:
        while self._directories:
            os.close(self._directories.popitem()[1])

    def release(self) -> None:
        """Give the lock back; no error if it was never taken."""
        for directory in self._directories.values():
            with suppress(OSError):
                _unlock(directory)
        self._close_directories()
        fd, self._fd = self._fd, None
        self.enforced = False
        if fd is not None:
            with suppress(OSError):
                os.ftruncate(fd, 0)
            with suppress(OSError):
                _unlock(fd)
            os.close(fd)


_locks: weakref.WeakSet[DirectoryLock] = weakref.WeakSet()


def _forget_all() -> None:
    for lock in list(_locks):
        lock.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


def _lock_patiently(fd: int) -> None:
    """Lock a directory; a process that just gives up the lock's file may hold on to it for a moment."""
    for _ in range(_PATIENCE_FOR_DIRECTORY):
        try:
            return _lock(fd)
        except OSError as problem:
            if problem.errno not in _HELD:
                raise
        time.sleep(0.02)
    return _lock(fd)


def _lock_or_wait_for_the_dead(fd: int) -> None:
    """Take the lock; where its holder was killed, wait a moment for what it was just starting.

    A process between fork and exec has a copy of every open file, the lock among them, and may outlive its parent by
    a few milliseconds.
    """
    for _ in range(_PATIENCE):
        try:
            return _lock(fd)
        except OSError as problem:
            if problem.errno not in _HELD or not _holder_is_dead(fd):
                raise
        time.sleep(0.02)
    return _lock(fd)


def _holder_is_dead(fd: int) -> bool:
    """Whether the lock's text names a process of this host that is no more."""
    try:
        os.lseek(fd, 0, os.SEEK_SET)
        text = json.loads(os.read(fd, 4096))
        if text["host"] != socket.gethostname():
            return False
        os.kill(int(text["pid"]), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return False


def _self_description() -> bytes:
    who = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "who": os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] else "python",
    }
    return json.dumps(who).encode() + b"\n"


def _holder(fd: int) -> str:
    """Who holds the lock, as its text says: for people only, it may be missing or half written."""
    try:
        os.lseek(fd, 0, os.SEEK_SET)
        text = json.loads(os.read(fd, 4096))
        here = "" if text["host"] == socket.gethostname() else f" on {text['host']}"
        mine = ", which is this process," if text["pid"] == os.getpid() and not here else ""
        return f"process {text['pid']}{mine} ({text['who']}){here}, since {text['since']},"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
