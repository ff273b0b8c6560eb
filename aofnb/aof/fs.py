"""File operations as a protocol, so that tests can fail any of them and the crash lab can simulate a disk.

Paths are `str`. All errors are `OSError`, as the operating system gives them.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from typing import BinaryIO, Protocol

from aofnb.aof._write_cy import COMPILED, write_small

__all__ = ["File", "Fs", "OsFs", "write_all"]

Data = bytes | bytearray | memoryview
# So much is written in a few microseconds, for which a switch of threads does not pay.
_SMALL = 16 << 10


class File(Protocol):
    """A file open for writing."""

    path: str

    def write(self, data: Data) -> int:
        """Hand `data` over in one system call: how many bytes were taken, possibly fewer than given."""
        ...

    def fdatasync(self) -> None:
        """Return when the data, and the size needed to read it back, are on the device."""
        ...

    def truncate(self, size: int) -> None: ...

    def close(self) -> None: ...


class Fs(Protocol):
    """What the log needs of a file system."""

    def mkdir(self, path: str) -> None:
        """Make the directory `path` and its parents; no error where it exists."""
        ...

    def exists(self, path: str) -> bool: ...

    def size(self, path: str) -> int:
        """Size in bytes; FileNotFoundError where there is no such file."""
        ...

    def listdir(self, path: str) -> list[str]: ...

    def create(self, path: str) -> File:
        """Open `path` for writing, empty, made if absent; every write goes to its end."""
        ...

    def open_append(self, path: str) -> File:
        """Open `path` for writing at its end, made if absent."""
        ...

    def open_read(self, path: str) -> BinaryIO: ...

    def truncate(self, path: str, size: int) -> None:
        """Cut `path` to `size` bytes and make that durable."""
        ...

    def rename(self, source: str, target: str) -> None:
        """Put `source` in the place of `target` in one step."""
        ...

    def unlink(self, path: str) -> None: ...

    def fsync_dir(self, path: str) -> None:
        """Make names added, renamed and removed in the directory `path` durable."""
        ...


if sys.platform == "darwin":
    import fcntl

    def _fdatasync(fd: int) -> None:
        # fsync on macOS leaves data in the drive's cache.
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
else:
    _fdatasync = getattr(os, "fdatasync", os.fsync)


class OsFile:
    """A file of the operating system, unbuffered."""

    __slots__ = ("_linked", "_syncing", "fd", "path")

    def __init__(self, path: str, flags: int) -> None:
        self.path = path
        # A write may wait for the fsync that runs: then all threads must go on.
        self._syncing = False
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | flags, 0o644)
        # Some file systems do not count names.
        self._linked = os.fstat(self.fd).st_nlink > 0

    def write(self, data: Data) -> int:
        if COMPILED and type(data) is bytearray and len(data) <= _SMALL and not self._syncing:
            taken: int = write_small(self.fd, data)
            return taken
        return os.write(self.fd, data)

    def fdatasync(self) -> None:
        self._syncing = True
        try:
            _fdatasync(self.fd)
        finally:
            self._syncing = False
        # What is written to a file that was deleted is synced without an error, and gone.
        if self._linked and os.fstat(self.fd).st_nlink == 0:
            raise OSError(errno.ENOENT, "the file was deleted", self.path)

    def truncate(self, size: int) -> None:
        os.ftruncate(self.fd, size)

    def close(self) -> None:
        # The number may soon be another file's: a late write must fail, not land there.
        fd, self.fd = self.fd, -1
        os.close(fd)


def write_all(file: File, data: Data) -> None:
    """Write all of `data`, in as many writes as it takes."""
    with memoryview(data) as rest:
        taken = file.write(rest)
        while taken < len(rest):
            more = file.write(rest[taken:])
            if more == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            taken += more


def _with_a_size(path: str) -> os.stat_result:
    """What stat says of `path`; an error for a pipe, a socket or a device: opening may wait, and there is no size."""
    found = os.stat(path)
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise OSError(errno.ESPIPE, "it is a pipe, a socket or a device, not a file", path)
    return found


class OsFs:
    """The file system of the operating system."""

    def mkdir(self, path: str) -> None:
        os.makedirs(path, 0o755, exist_ok=True)

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def size(self, path: str) -> int:
        return _with_a_size(path).st_size

    def listdir(self, path: str) -> list[str]:
        return sorted(os.listdir(path))

    def create(self, path: str) -> File:
        return OsFile(path, os.O_TRUNC)

    def open_append(self, path: str) -> File:
        return OsFile(path, 0)

    def open_read(self, path: str) -> BinaryIO:
        _with_a_size(path)
        return open(path, "rb")

    def truncate(self, path: str, size: int) -> None:
        fd = os.open(path, os.O_WRONLY)
        try:
            os.ftruncate(fd, size)
            os.fsync(fd)
        finally:
            os.close(fd)

    def rename(self, source: str, target: str) -> None:
        os.replace(source, target)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def fsync_dir(self, path: str) -> None:
        if os.name == "nt":  # directories cannot be opened there, and renames are durable with the file
            return
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
