"""Background I/O: one thread that syncs and closes files, so that the caller never waits for a device.

The thread starts with the first job and ends with `close`. Where no thread can be started (Pyodide), and where none
is wanted (`inline`), jobs run at once in the caller.

Redis: bio.c (7.0.15).
"""

from __future__ import annotations

import errno
import logging
import queue
import threading
from collections.abc import Callable

from aofnb.aof.fs import File

__all__ = ["Bio"]

Job = Callable[[], None]

_log = logging.getLogger("aofnb")


class Bio:
    """A queue of jobs and the thread that does them, in order.

    Parameters
    ----------
    inline
        No thread: the caller does each job at once. While `held` is True, for simulating a slow device, jobs wait for
        `drain` or `close` instead.
    """

    def __init__(self, *, inline: bool = False) -> None:
        self.inline = inline
        self.held = False
        self._waiting: list[Job] = []
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        # fsyncs queued or running: what a write would wait behind. Written by both sides under the lock, read without.
        self.pending = 0
        self._lock = threading.Lock()

    def fsync(self, file: File, done: Callable[[OSError | None], None]) -> None:
        """Sync `file`, then call `done` in the background thread with the error, if one."""

        def job() -> None:
            try:
                file.fdatasync()
            except OSError as problem:
                done(problem)
            except Exception as problem:
                # Nobody knows what is on the device: as bad as an error of the disk.
                _log.exception("the fsync of %s failed", file.path)
                done(OSError(errno.EIO, f"{type(problem).__name__}: {problem}"))
            else:
                done(None)
            finally:
                with self._lock:
                    self.pending -= 1

        with self._lock:
            self.pending += 1
        self._submit(job)

    def run(self, job: Job) -> None:
        """Do `job` in the background: closing or unlinking a large file takes a while. It must not raise."""
        self._submit(job)

    def _submit(self, job: Job) -> None:
        if self.inline:
            self._waiting.append(job)
            if not self.held:
                self._do_waiting()
            return
        if self._thread is None:
            thread = threading.Thread(target=self._loop, name="aofnb-bio", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                job()
                return
            self._thread = thread
        self._jobs.put(job)

    def _loop(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception:
                # The next ones are waited for.
                _log.exception("a job in the background failed")

    def _do_waiting(self) -> None:
        while self._waiting:
            self._waiting.pop(0)()

    def drain(self) -> None:
        """Wait until all jobs queued so far are done."""
        self._do_waiting()
        if self._thread is not None:
            done = threading.Event()
            self._jobs.put(done.set)
            done.wait()

    def close(self) -> None:
        """Finish all jobs and end the thread."""
        self._do_waiting()
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None
