"""What commands ask of the files: SAVE, BGSAVE, DEBUG RELOAD and LOADAOF, SHUTDOWN.

Rules of this file: a snapshot is written to a temporary file, synced, and renamed: the old one is whole until the new
one is. It is written by the caller, before anything else runs, so whoever is told that it was started is told of a
snapshot that is there.

Redis: rdb.c rdbSave, saveCommand, bgsaveCommand; server.c prepareForShutdown; debug.c (7.0.15).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from aofnb.aof.fs import File, Fs, write_all
from aofnb.aof.manifest import sync_dir
from aofnb.config import NOTICE
from aofnb.errors import AofError, AofWriteError, RdbError, ReplyError
from aofnb.rdb import load_rdb, write_rdb
from aofnb.rdb.writer import REDIS_VERSION
from aofnb.store.keyspace import Keyspace

if TYPE_CHECKING:
    from aofnb.engine.appendonly import Appendonly
    from aofnb.engine.core import Engine

__all__ = ["Files", "NoFiles"]

_log = logging.getLogger("aofnb")

# After a snapshot that a save point wanted has failed, the next try comes so much later, as in redis-server.
RETRY_S = 5.0
_REFUSAL = (
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. "
    "Commands that may modify the data set are disabled, because this instance is configured to report errors during "
    "writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details "
    "about the RDB error."
)
# A file of this name: an fsync of the log failed, and no new files were made since.
MARK_NAME = "aofnb.unsynced"


class NoFiles:
    """Of a store without a directory: there is nothing to write to."""

    def __init__(self, shut_down: Callable[[], None]) -> None:
        self.refusal: str | None = None
        self._shut_down = shut_down

    def _refuse(self) -> ReplyError:
        return ReplyError("ERR this store has no directory to save to: it was opened with path None")

    def save(self) -> None:
        raise self._refuse()

    def bgsave(self) -> str:
        raise self._refuse()

    def last_save_s(self) -> int:
        return 0

    def reload(self, *, save: bool, flush: bool, merge: bool) -> None:
        raise self._refuse()

    def load_aof(self) -> None:
        raise self._refuse()

    def sleep_before_flush(self, seconds: float) -> None:
        raise self._refuse()

    def shutdown(self, save: bool | None, force: bool) -> None:
        if save:
            raise self._refuse()
        self._shut_down()

    def watch(self) -> None:
        return

    def mark_unsynced(self) -> None:
        return

    def info(self) -> dict[str, object]:
        return {}

    def reset_stats(self) -> None:
        return


class Files:
    """Snapshots of a store in its directory, and the end of the store.

    Parameters
    ----------
    appendonly
        Whether the store logs; None for one that is open read-only.
    prepare
        Makes the directory, and makes sure that nobody else writes there; raises AofError.
    shut_down
        Has the store closed when the running turn is over.
    """

    def __init__(
        self,
        engine: Engine,
        fs: Fs,
        directory: str,
        appendonly: Appendonly | None,
        prepare: Callable[[], None],
        shut_down: Callable[[], None],
    ) -> None:
        self.engine = engine
        self.fs = fs
        self.directory = directory
        self.appendonly = appendonly
        self._shut_down = shut_down
        self._prepare = prepare
        self._saved_at_s = engine.clock.now_ms() // 1000
        self._next_try_s = 0.0
        self._last_ok = True
        self.last_error: str | None = None
        self._last_duration_s: float | None = None
        self.saves = 0
        self._loaded = (0, 0)
        self._mark = os.path.join(directory, MARK_NAME)
        self._marked = False

    @property
    def path(self) -> str:
        """Where snapshots go."""
        return os.path.join(self.directory, self.engine.config.dbfilename)

    @property
    def refusal(self) -> str | None:
        """Why write commands are refused, or None: the save points promise snapshots that cannot be written."""
        config = self.engine.config
        if self._last_ok or not config.save or not config.stop_writes_on_bgsave_error:
            return None
        return _REFUSAL

    # --- save --------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write a snapshot of everything, now.

        Raises
        ------
        ReplyError
            It could not be written; the old one, if there is one, is as it was.
        """
        clock = self.engine.clock
        started_s = clock.monotonic()
        try:
            self._prepare()
            self._write()
        except (OSError, AofError, RdbError) as problem:
            why = problem.strerror if isinstance(problem, OSError) else str(problem)
            self._last_ok, self.last_error = False, why
            self._next_try_s = clock.monotonic() + RETRY_S
            self.engine.refresh_refusal()
            self.engine.on_write()
            _log.warning("Error saving %s: %s", self.path, why)
            raise ReplyError(f"ERR Error saving the snapshot: {why}") from problem
        finally:
            self._last_duration_s = clock.monotonic() - started_s
            self.engine.timing.monitor.sample("rdb-save", self._last_duration_s)
        self._last_ok, self.last_error = True, None
        self._saved_at_s = clock.now_ms() // 1000
        self.saves += 1
        self.engine.keyspace.dirty = 0
        self.engine.refresh_refusal()
        _log.log(NOTICE, "DB saved on disk")

    def _write(self) -> None:
        config = self.engine.config
        aux = [
            (b"redis-ver", REDIS_VERSION),
            (b"redis-bits", b"64"),
            (b"ctime", b"%d" % (self.engine.clock.now_ms() // 1000)),
            (b"used-mem", b"0"),
            (b"aof-base", b"0"),
        ]
        temp = os.path.join(self.directory, f"temp-{os.getpid()}.rdb")
        file = self.fs.create(temp)
        try:
            try:
                write_rdb(
                    _Whole(file),
                    self.engine.keyspace,
                    aux=aux,
                    config=config,
                    compressed=config.rdbcompression,
                    checksum=config.rdbchecksum,
                )
                file.fdatasync()
            finally:
                file.close()
            self.fs.rename(temp, self.path)
        except BaseException:
            with suppress(OSError):
                self.fs.unlink(temp)
            raise
        sync_dir(self.fs, self.directory)

    def bgsave(self) -> str:
        """BGSAVE: as `save`; what is answered is true when it is said."""
        _log.log(NOTICE, "Background saving started by pid %d", os.getpid())
        self.save()
        _log.log(NOTICE, "Background saving terminated with success")
        return "Background saving started"

    def last_save_s(self) -> int:
        return self._saved_at_s

    def tick(self) -> float | None:
        """Save if a save point says so; in how many seconds one may want it, or None. Under the engine's lock."""
        dirty = self.engine.keyspace.dirty
        reached = [seconds for seconds, changes in self.engine.config.save if dirty >= changes and dirty]
        if not reached:
            return None
        waited_s = self.engine.clock.now_ms() // 1000 - self._saved_at_s
        wait_s = max(min(reached) - waited_s, self._next_try_s - self.engine.clock.monotonic())
        if wait_s > 0:
            return wait_s
        with suppress(ReplyError):
            # Told in the log and by INFO; the next try follows.
            self.save()
            return None
        return RETRY_S

    # --- load --------------------------------------------------------------------------------------------

    def load_snapshot(self) -> bool:
        """Put the snapshot, if there is one, into the keyspace, which is empty; whether there was one.

        Raises
        ------
        RdbError
            It is damaged, or holds what nothing here can hold.
        """
        if not self.fs.exists(self.path):
            return False
        keyspace = self.engine.keyspace
        loaded = self._loaded_beside()
        for db, beside in zip(keyspace, loaded, strict=True):
            db.swap_with(beside)
        keyspace.functions.update(loaded.functions)
        return True

    def _loaded_beside(self) -> Keyspace:
        """What the snapshot holds, in a keyspace of its own, so that a bad one harms nothing."""
        engine = self.engine
        loaded = Keyspace(len(engine.keyspace), engine.now_ms)
        with self.fs.open_read(self.path) as file:
            report = load_rdb(
                file,
                loaded,
                self.fs.size(self.path),
                name=self.path,
                config=engine.config,
                verify_checksum=engine.config.rdbchecksum,
                drop_overdue_at_ms=engine.clock.now_ms(),
            )
        self._loaded = (report.keys, report.expired)
        return loaded

    def reload(self, *, save: bool, flush: bool, merge: bool) -> None:
        """DEBUG RELOAD: write a snapshot, forget everything, read it back.

        The log is made anew afterwards, so that it says what is in memory: a server leaves it as it was.

        Raises
        ------
        ReplyError
            The snapshot cannot be written or read. Where it could not be read, everything is as before.
        """
        if save:
            self.save()
        keyspace = self.engine.keyspace
        try:
            loaded = self._loaded_beside()
            if not flush and not merge:
                _refuse_twice(keyspace, loaded)
        except (OSError, RdbError) as problem:
            _log.warning("DEBUG RELOAD: %s", problem)
            raise ReplyError("ERR Error trying to load the RDB dump") from problem
        for db, beside in zip(keyspace, loaded, strict=True):
            if flush:
                db.swap_with(beside)
                continue
            for key, value, deadline_ms in beside.walk():
                db.delete(key)
                db.put(key, value)
                if deadline_ms is not None:
                    db.set_deadline(key, deadline_ms)
        if flush:
            keyspace.functions.clear()
        keyspace.functions.update(loaded.functions)
        for client in list(self.engine.clients):
            client.watch_broken = bool(client.watching)
        if self.appendonly is not None and not (save and flush):
            self.appendonly.log_is_stale()

    def load_aof(self) -> None:
        """DEBUG LOADAOF: write what is in aof_buf, forget everything, read the log.

        Raises
        ------
        ReplyError
            There is no log, or it cannot be written.
        """
        if self.engine.writer is None:
            raise ReplyError("ERR there is no log to load: appendonly is no")
        if self.engine.writer.held:
            raise ReplyError("ERR there is no log to load: it is being made of what is in memory")
        try:
            self.engine.writer.flush(force=True)
        except AofWriteError as problem:
            self.engine.refresh_refusal()
            raise ReplyError(f"ERR {problem}") from problem
        self.engine.reload()

    def sleep_before_flush(self, seconds: float) -> None:
        """DEBUG AOF-FLUSH-SLEEP: every flush takes so much longer, under the engine's lock, for tests."""
        if self.appendonly is not None:
            self.appendonly.flush_sleep_s = seconds
            self.appendonly.watch()

    # --- the end -----------------------------------------------------------------------------------------

    def shutdown(self, save: bool | None, force: bool) -> None:
        """SHUTDOWN: make everything durable; the store is closed when the running turn is over.

        Parameters
        ----------
        save
            Whether to write a snapshot; None: if there are save points.
        force
            Close even if something acknowledged cannot be made durable.

        Raises
        ------
        ReplyError
            Something acknowledged cannot be made durable. The store stays open.
        """
        engine = self.engine
        try:
            if self.appendonly is not None and self.appendonly.state == "waiting" and not force:
                # What is in memory is on no disk yet.
                raise ReplyError("ERR the log that was turned on is not made yet")
            if engine.writer is not None:
                _log.log(NOTICE, "Calling fsync() on the AOF file.")
                engine.writer.sync()
            if save or (save is None and engine.config.save):
                _log.log(NOTICE, "Saving the final RDB snapshot before exiting.")
                try:
                    self.save()
                except ReplyError:
                    _log.warning("Error trying to save the DB, can't exit.")
                    raise
        except (AofWriteError, ReplyError) as problem:
            engine.refresh_refusal()
            _log.warning("Errors trying to shut down the server: %s", problem)
            if not force:
                raise ReplyError("ERR Errors trying to SHUTDOWN. Check logs.") from problem
        self._shut_down()

    def watch(self) -> None:
        """Whether writes are to be measured has changed."""
        if self.appendonly is not None:
            self.appendonly.watch()

    # --- a failed fsync ------------------------------------------------------------------------------------

    def mark_unsynced(self) -> None:
        """Leave word for whoever opens the directory next that an fsync failed.

        Until the machine starts anew the kernel may show that process pages which never reached the device, and an
        fsync of them succeeds without writing any. The mark needs no fsync: it is needed as long as those pages are.
        """
        if not self._marked:
            with suppress(OSError):
                self.fs.create(self._mark).close()
                self._marked = True

    def marked_unsynced(self) -> bool:
        """Whether a store here ended after a failed fsync, with no new files made since."""
        self._marked = self.fs.exists(self._mark)
        return self._marked

    def unmark(self) -> None:
        """New files were made and synced."""
        if self._marked:
            with suppress(OSError):
                self.fs.unlink(self._mark)
                self._marked = False

    # --- what others may see -----------------------------------------------------------------------------

    def info(self) -> dict[str, object]:
        """The fields of INFO persistence that are about snapshots."""
        keys, expired = self._loaded
        last_s = self._last_duration_s
        return {
            "rdb_last_save_time": self._saved_at_s,
            "rdb_last_bgsave_status": "ok" if self._last_ok else "err",
            "rdb_last_bgsave_time_sec": -1 if last_s is None else int(last_s),
            "rdb_saves": self.saves,
            "rdb_last_load_keys_expired": expired,
            "rdb_last_load_keys_loaded": keys,
        }

    def reset_stats(self) -> None:
        if self.appendonly is not None:
            self.appendonly.reset_stats()


def _refuse_twice(keyspace: Keyspace, loaded: Keyspace) -> None:
    for db, beside in zip(keyspace, loaded, strict=True):
        for key in beside.keys():  # noqa: SIM118  # a Database is no mapping
            if db.peek(key) is not None:
                raise RdbError(f"the key {key!r} is there already, in database {db.index}; MERGE would replace it")


class _Whole:
    """A file that takes all of each piece, or raises."""

    def __init__(self, file: File) -> None:
        self._file = file

    def write(self, data: bytes, /) -> None:
        write_all(self._file, data)
