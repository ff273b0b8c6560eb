"""A file system whose operations fail on request: `FaultFs` for tests/faults and wherever a disk must break."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import BinaryIO

from aofnb.aof.fs import Data, File, Fs, OsFs

__all__ = ["FaultFs", "SimulatedFaultError"]


class SimulatedFaultError(OSError):
    """The failure that was asked for, so that a test can tell it from a real one."""


class FaultFs:
    """An `Fs` that counts its operations and fails the `fail_at`-th, counted from 0.

    Counted are operations that change something: mkdir, create, open_append, write, fdatasync, ftruncate, close,
    truncate, rename, unlink, fsync_dir; with `reads` also exists, size, listdir and open_read.

    Parameters
    ----------
    fail_at
        Which one; None for none.
    error
        The errno of the failure.
    short_write
        If it is a write, take this many bytes; the next write fails with `error` and takes nothing. With `error` 0 the
        next write is as good as any.
    slow
        It takes time instead of failing: called when it begins, for a clock that is moved by hand.
    lasting
        Every later operation fails too: the disk is gone. Otherwise just the one.
    only
        Count (and fail) operations of these names only.
    """

    def __init__(
        self,
        fail_at: int | None = None,
        *,
        error: int = errno.EIO,
        short_write: int | None = None,
        slow: Callable[[], None] | None = None,
        lasting: bool = False,
        reads: bool = False,
        only: frozenset[str] | set[str] | None = None,
        inner: Fs | None = None,
    ) -> None:
        self.inner = inner or OsFs()
        self.fail_at = fail_at
        self.error = error
        self.short_write = short_write
        self.slow = slow
        self.lasting = lasting
        self.reads = reads
        self.only = only
        self.done = 0
        # What was asked, in order: (operation, name of the file).
        self.log: list[tuple[str, str]] = []
        self.failed: list[tuple[str, str]] = []
        self._write_fails_next = False

    def mend(self) -> None:
        """Nothing fails from now on."""
        self.fail_at = None
        self.lasting = False
        self._write_fails_next = False

    def fault(self, operation: str, path: str) -> bool:
        """Whether the operation that is about to begin must fail; counts it."""
        if self.only is not None and operation not in self.only:
            return False
        number = self.done
        self.done += 1
        self.log.append((operation, os.path.basename(path)))
        if self.fail_at is None or number < self.fail_at or (number > self.fail_at and not self.lasting):
            return False
        self.failed.append((operation, os.path.basename(path)))
        if self.slow is not None:
            self.slow()
            return False
        return True

    def step(self, operation: str, path: str) -> None:
        """Count one operation and raise if it is to fail."""
        if self.fault(operation, path):
            raise self.problem(path)

    def problem(self, path: str) -> SimulatedFaultError:
        return SimulatedFaultError(self.error, os.strerror(self.error), path)

    def read_step(self, operation: str, path: str) -> None:
        if self.reads:
            self.step(operation, path)

    def write(self, file: File, data: Data) -> int:
        if self._write_fails_next:
            self._write_fails_next = False
            raise self.problem(file.path)
        if not self.fault("write", file.path):
            return file.write(data)
        if self.short_write is None:
            raise self.problem(file.path)
        self._write_fails_next = self.error != 0
        return file.write(memoryview(data)[: self.short_write]) if self.short_write else 0

    # --- Fs ----------------------------------------------------------------------------------------------

    def mkdir(self, path: str) -> None:
        self.step("mkdir", path)
        self.inner.mkdir(path)

    def exists(self, path: str) -> bool:
        self.read_step("exists", path)
        return self.inner.exists(path)

    def size(self, path: str) -> int:
        self.read_step("size", path)
        return self.inner.size(path)

    def listdir(self, path: str) -> list[str]:
        self.read_step("listdir", path)
        return self.inner.listdir(path)

    def create(self, path: str) -> File:
        self.step("create", path)
        return _FaultFile(self, self.inner.create(path))

    def open_append(self, path: str) -> File:
        self.step("open_append", path)
        return _FaultFile(self, self.inner.open_append(path))

    def open_read(self, path: str) -> BinaryIO:
        self.read_step("open_read", path)
        return self.inner.open_read(path)

    def truncate(self, path: str, size: int) -> None:
        self.step("truncate", path)
        self.inner.truncate(path, size)

    def rename(self, source: str, target: str) -> None:
        self.step("rename", target)
        self.inner.rename(source, target)

    def unlink(self, path: str) -> None:
        self.step("unlink", path)
        self.inner.unlink(path)

    def fsync_dir(self, path: str) -> None:
        self.step("fsync_dir", path)
        self.inner.fsync_dir(path)


class _FaultFile:
    """A file of a `FaultFs`."""

    def __init__(self, fs: FaultFs, inner: File) -> None:
        self._fs = fs
        self._inner = inner
        self.path = inner.path

    def write(self, data: Data) -> int:
        return self._fs.write(self._inner, data)

    def fdatasync(self) -> None:
        self._fs.step("fdatasync", self.path)
        self._inner.fdatasync()

    def truncate(self, size: int) -> None:
        self._fs.step("ftruncate", self.path)
        self._inner.truncate(size)

    def close(self) -> None:
        # A failing close closes all the same, as the operating system does.
        self._inner.close()
        self._fs.step("close", self.path)
