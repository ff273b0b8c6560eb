"""Snapshots: SAVE in the caller, BGSAVE and save points by a child while commands go on.

Rules of this file: a snapshot is written to a temporary file, synced, and renamed: the old one is whole until the new
one is. A small keyspace is written by the caller, before anything else runs; a larger one by a forked child that walks
the data where it lies (`aof.snapshot`), where the kernel is compiled and can write this form. Elsewhere, with
``rdbcompression yes`` for one, the caller writes, and everyone waits. A snapshot and a rewrite never run at once.

Redis: rdb.c rdbSave, rdbSaveBackground, backgroundSaveDoneHandlerDisk, bgsaveCommand; server.c serverCron (7.0.15).
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from aofnb.aof import snapshot
from aofnb.aof.fs import Fs
from aofnb.aof.manifest import sync_dir
from aofnb.aof.rewrite import BaseForm, key_delay, write_keyspace
from aofnb.aof.snapshot import NotWalkableError, SnapshotChild, StoppedError
from aofnb.config import NOTICE
from aofnb.engine.core import Engine
from aofnb.engine.rewriter import IN_PLACE_KEYS, Rewriter, under_lock, used_bytes
from aofnb.errors import AofError, RdbError, ReplyError

__all__ = ["Saver"]

_log = logging.getLogger("aofnb")

# After a snapshot that nobody asked for just now has failed, the next try comes so much later, as in redis-server.
RETRY_S = 5.0
_REFUSAL = (
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. "
    "Commands that may modify the data set are disabled, because this instance is configured to report errors during "
    "writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details "
    "about the RDB error."
)
_IN_PROGRESS = "ERR Background save already in progress"
_REWRITING = (
    "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to schedule a "
    "BGSAVE whenever possible."
)


class Saver:
    """Writes snapshots of one store.

    Parameters
    ----------
    directory
        Where they go.
    rewriter
        Whom not to run beside; None for a store that is open read-only, which writes none.
    prepare
        Makes the directory, and makes sure that nobody else writes there; raises AofError.

    Attributes
    ----------
    saves
        How many were begun.
    last_ok, last_error
        How the last one ended; one that was stopped leaves `last_ok` as it was.
    """

    def __init__(
        self, engine: Engine, fs: Fs, directory: str, rewriter: Rewriter | None, prepare: Callable[[], None]
    ) -> None:
        self.engine = engine
        self.fs = fs
        self.directory = directory
        self.saves = 0
        self.saved_at_s = engine.clock.now_ms() // 1000
        self.last_ok = True
        self.last_error: str | None = None
        self._prepare = prepare
        self._rewriter = rewriter
        self._scheduled = False
        self._attempts = 0
        self._next_try_s = 0.0
        self._started_s = 0.0
        self._last_duration_s: float | None = None
        self._last_cow_bytes = 0
        # The running child, how many keys it writes, and the changes that are in what it writes. One that was stopped
        # is not it any more, though somebody still watches its end.
        self._child: SnapshotChild | None = None
        self._keys_total = 0
        self._dirty = 0
        self._watchers: list[threading.Thread] = []
        if rewriter is not None:
            rewriter.other_child = lambda: self.running

    @property
    def path(self) -> str:
        """Where the snapshot is."""
        return os.path.join(self.directory, self.engine.config.dbfilename)

    @property
    def running(self) -> bool:
        """Whether a child writes one."""
        return self._child is not None

    @property
    def refusal(self) -> str | None:
        """Why write commands are refused, or None: the save points promise snapshots that cannot be written."""
        config = self.engine.config
        if self.last_ok or not config.save or not config.stop_writes_on_bgsave_error:
            return None
        return _REFUSAL

    # --- start -------------------------------------------------------------------------------------------

    def save(self) -> None:
        """SAVE: write a snapshot of everything, now.

        Raises
        ------
        ReplyError
            It could not be written, or a child writes one; the old one, if there is one, is as it was.
        """
        if self.running:
            raise ReplyError(_IN_PROGRESS)
        self.saves += 1
        self._save_here()

    def bgsave(self, schedule: bool) -> str:
        """BGSAVE: write a snapshot, in the background if it takes long; the status text.

        With `schedule`, one that cannot begin because a rewrite runs begins behind it. INFO says what became of it.

        Raises
        ------
        ReplyError
            It cannot begin.
        """
        if self.running:
            raise ReplyError(_IN_PROGRESS)
        rewriting = self._rewriter is not None and self._rewriter.running
        if self.engine.in_exec or (rewriting and schedule):
            self._scheduled = True
            self.engine.on_write()
            return "Background saving scheduled"
        if rewriting:
            raise ReplyError(_REWRITING)
        self._begin()
        return "Background saving started"

    def tick(self) -> float | None:
        """Begin what was scheduled, or what a save point wants; in how many seconds there may be one, or None."""
        if self.running or (self._rewriter is not None and self._rewriter.running):
            # At its end there is a tick.
            return None
        wait_s = 0.0 if self._scheduled else self._save_point_s()
        if wait_s is None:
            return None
        if not self.last_ok:
            wait_s = max(wait_s, self._next_try_s - self.engine.clock.monotonic())
        if wait_s > 0:
            return wait_s
        with suppress(ReplyError):
            # Told in the log and by INFO; the next try follows.
            self._begin()
        return None if self.running or self.last_ok else RETRY_S

    def _save_point_s(self) -> float | None:
        """In how many seconds a save point wants a snapshot; None if none will with the changes there are."""
        dirty = self.engine.keyspace.dirty
        reached = [seconds for seconds, changes in self.engine.config.save if dirty >= changes and dirty]
        if not reached:
            return None
        return float(min(reached) - (self.engine.clock.now_ms() // 1000 - self.saved_at_s))

    def flushed(self) -> bool:
        """FLUSHALL emptied everything: what a child writes is of the past; with save points, so is the snapshot.

        Returns whether one of nothing was written.
        """
        self.stop()
        if not self.engine.config.save or self._rewriter is None:
            return False
        try:
            self._save_here()
        except ReplyError:
            return False
        return True

    # --- write -------------------------------------------------------------------------------------------

    def _form(self) -> BaseForm:
        config = self.engine.config
        form = BaseForm.of(config, self.engine.clock.now_ms(), used_bytes())
        return replace(form, suffix="rdb", incremental_fsync=config.rdb_save_incremental_fsync, of_log=False)

    def _temp(self) -> str:
        # A name of its own, since one that was stopped may still be there.
        self._attempts += 1
        return os.path.join(self.directory, f"temp-{os.getpid()}-{self._attempts}.rdb")

    def _begin(self) -> None:
        self._scheduled = False
        self.saves += 1
        keyspace = self.engine.keyspace
        form = self._form()
        small = keyspace.key_count() <= IN_PLACE_KEYS and not form.key_save_delay
        if small or self._rewriter is None or not self._rewriter.can_fork(form):
            _log.log(NOTICE, "Background saving started by pid %d", os.getpid())
            self._save_in_place_of_child()
            return
        self._started_s = self.engine.clock.monotonic()
        temp = self._temp()
        try:
            self._prepare()
            child = self._rewriter.forked(lambda: snapshot.fork_snapshot(keyspace, temp, form))
        except (OSError, AofError) as problem:
            raise self._failed(problem) from problem
        _log.log(NOTICE, "Background saving started by pid %d", child.pid)
        self._keys_total, self._dirty = keyspace.key_count(), keyspace.dirty
        self._child = child
        watcher = threading.Thread(target=self._watch, args=(child, temp), name="aofnb-save", daemon=True)
        try:
            watcher.start()
        except RuntimeError:
            # No more threads: nobody could watch a child.
            self._child = None
            child.kill()
            with suppress(AofError):
                child.wait()
            self._save_in_place_of_child()
        else:
            self._watchers = [*(thread for thread in self._watchers if thread.is_alive()), watcher]

    def _save_in_place_of_child(self) -> None:
        """Write it in the caller; that it failed is told as of a child, by the log and INFO."""
        with suppress(ReplyError):
            self._save_here(background=True)

    def _save_here(self, *, background: bool = False) -> None:
        """Write it in the caller, whatever it takes; raises ReplyError. `background`: it stands for a child's."""
        engine = self.engine
        self._started_s = engine.clock.monotonic()
        temp = self._temp()
        try:
            self._prepare()
            form = self._form()
            try:
                write_keyspace(
                    self.fs, temp, engine.keyspace, form, engine.config, each_key=key_delay(form.key_save_delay)
                )
                self._put_in_place(temp)
            except BaseException:
                self._discard(temp)
                raise
        except (OSError, AofError, RdbError) as problem:
            raise self._failed(problem, background=background) from problem
        finally:
            engine.timing.monitor.sample("rdb-save", engine.clock.monotonic() - self._started_s)
        self._succeeded(engine.keyspace.dirty)
        _log.log(NOTICE, "DB saved on disk")

    def _put_in_place(self, temp: str) -> None:
        self.fs.rename(temp, self.path)
        sync_dir(self.fs, self.directory)

    def _discard(self, temp: str) -> None:
        with suppress(OSError):
            self.fs.unlink(temp)

    # --- a child -----------------------------------------------------------------------------------------

    def _watch(self, child: SnapshotChild, temp: str) -> None:
        """Thread: wait for the child, then put what it wrote in its place."""

        def stop_if_unwanted() -> None:
            if self._child is not child:
                raise StoppedError("the snapshot was stopped; the old one is as it was")

        try:
            try:
                child.wait()
            except NotWalkableError as unknown:
                _log.warning("%s; the snapshot is written in place instead", unknown)
                under_lock(self.engine, lambda: self._without_child(child, temp), stop_if_unwanted)
            else:
                under_lock(self.engine, lambda: self._publish(child, temp), stop_if_unwanted)
        except Exception as problem:
            self._discard(temp)
            with suppress(StoppedError):
                failed = problem
                under_lock(self.engine, lambda: self._child_failed(child, failed), stop_if_unwanted)

    def _publish(self, child: SnapshotChild, temp: str) -> None:
        self._prepare()
        self._put_in_place(temp)
        self._child_over(child)
        _log.log(NOTICE, "Background saving terminated with success")
        self._succeeded(self._dirty)

    def _without_child(self, child: SnapshotChild, temp: str) -> None:
        self._discard(temp)
        self._child_over(child)
        self._save_in_place_of_child()

    def _child_failed(self, child: SnapshotChild, problem: Exception) -> None:
        self._child_over(child)
        if isinstance(problem, StoppedError):
            # By SIGUSR1, the way to end a child that is no failure.
            self._last_duration_s = self.engine.clock.monotonic() - self._started_s
            _log.warning("Background saving was stopped")
        else:
            _log.warning("Background saving error")
            self._failed(problem)

    def _child_over(self, child: SnapshotChild) -> None:
        self._last_cow_bytes = child.private.peak
        self._child = None
        # There may be something that waits for this.
        self.engine.on_write()

    def stop(self) -> None:
        """Have a child that writes a snapshot end without effect; under the lock."""
        child = self._child
        if child is None:
            return
        _log.log(NOTICE, "There is a child saving an .rdb. Killing it!")
        child.kill()
        self._child_over(child)
        self._last_duration_s = self.engine.clock.monotonic() - self._started_s

    def wait(self) -> None:
        """Return when no child is watched any more; not under the lock."""
        for watcher in self._watchers:
            watcher.join()

    # --- end ---------------------------------------------------------------------------------------------

    def _succeeded(self, dirty: int) -> None:
        """There is a new snapshot, with `dirty` changes that the one before lacked."""
        engine = self.engine
        self.last_ok, self.last_error = True, None
        self.saved_at_s = engine.clock.now_ms() // 1000
        self._last_duration_s = engine.clock.monotonic() - self._started_s
        engine.keyspace.dirty -= dirty
        engine.refresh_refusal()

    def _failed(self, problem: Exception, *, background: bool = True) -> ReplyError:
        """Note what went wrong; the error to raise. Of SAVE only its caller is told: it breaks no promise."""
        engine = self.engine
        why = str(problem.strerror if isinstance(problem, OSError) else problem)
        if background:
            self.last_ok, self.last_error = False, why
            self._last_duration_s = engine.clock.monotonic() - self._started_s
            self._next_try_s = engine.clock.monotonic() + RETRY_S
            engine.refresh_refusal()
            engine.on_write()
        _log.warning("Error saving %s: %s", self.path, why)
        return ReplyError(f"ERR Error saving the snapshot: {why}")

    def info(self) -> dict[str, object]:
        """The fields of INFO persistence that are about snapshots."""
        last_s, child = self._last_duration_s, self._child
        fields: dict[str, object] = {
            "rdb_bgsave_in_progress": int(child is not None),
            "rdb_last_save_time": self.saved_at_s,
            "rdb_last_bgsave_status": "ok" if self.last_ok else "err",
            "rdb_last_bgsave_time_sec": -1 if last_s is None else int(last_s),
            "rdb_saves": self.saves,
            "rdb_last_cow_size": self._last_cow_bytes,
        }
        if child is None:
            return fields
        keys, _written = child.progress()
        return fields | {
            "current_cow_peak": child.private.peak,
            "current_cow_size": child.private.now,
            "current_cow_size_age": int(child.private.age_s),
            "current_fork_perc": f"{100 * min(keys, self._keys_total) / (self._keys_total or 1):.2f}",
            "current_save_keys_processed": keys,
            "current_save_keys_total": self._keys_total,
            "rdb_current_bgsave_time_sec": int(self.engine.clock.monotonic() - self._started_s),
        }
