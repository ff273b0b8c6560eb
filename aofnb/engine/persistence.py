"""What commands ask of the files: SAVE, BGSAVE, DEBUG RELOAD and LOADAOF, SHUTDOWN.

How a snapshot is written is the matter of `aofnb.engine.saver`; here is what reads one, and what ends a store.

Redis: server.c prepareForShutdown; debug.c (7.0.15).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from aofnb.aof.fs import Fs
from aofnb.aof.rewrite import key_delay
from aofnb.config import NOTICE
from aofnb.engine.saver import Saver
from aofnb.errors import AofWriteError, RdbError, ReplyError
from aofnb.rdb import load_rdb
from aofnb.store.keyspace import Keyspace

if TYPE_CHECKING:
    from aofnb.engine.appendonly import Appendonly
    from aofnb.engine.core import Engine

__all__ = ["Files"]

_log = logging.getLogger("aofnb")

# A file of this name: an fsync of the log failed, and no new files were made since.
MARK_NAME = "aofnb.unsynced"


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
        rewriter = None if appendonly is None else appendonly.rewriter
        self.saver = Saver(engine, fs, directory, rewriter, prepare)
        self._loaded = (0, 0)
        self._mark = os.path.join(directory, MARK_NAME)
        self._marked = False

    @property
    def path(self) -> str:
        """Where the snapshot is."""
        return self.saver.path

    @property
    def refusal(self) -> str | None:
        return self.saver.refusal

    def save(self) -> None:
        self.saver.save()

    def bgsave(self, schedule: bool) -> str:
        return self.saver.bgsave(schedule)

    def last_save_s(self) -> int:
        return self.saver.saved_at_s

    def flushed(self) -> bool:
        return self.saver.flushed()

    # --- load --------------------------------------------------------------------------------------------

    def load_snapshot(self, progress: Callable[[int, int], None] | None = None) -> bool:
        """Put the snapshot, if there is one, into the keyspace, which is empty; whether there was one.

        Raises
        ------
        RdbError
            It is damaged, or holds what nothing here can hold.
        """
        if not self.fs.exists(self.path):
            return False
        keyspace = self.engine.keyspace
        loaded = self._loaded_beside(progress)
        for db, beside in zip(keyspace, loaded, strict=True):
            db.swap_with(beside)
        keyspace.functions.update(loaded.functions)
        return True

    def _loaded_beside(self, progress: Callable[[int, int], None] | None = None) -> Keyspace:
        """What the snapshot holds, in a keyspace of its own, so that a bad one harms nothing."""
        engine = self.engine
        loaded = Keyspace(len(engine.keyspace), engine.now_ms)
        size = self.fs.size(self.path)
        loading = engine.loading
        if progress is not None:
            progress(0, size)
        with self.fs.open_read(self.path) as file:
            report = load_rdb(
                file,
                loaded,
                size,
                name=self.path,
                config=engine.config,
                verify_checksum=engine.config.rdbchecksum,
                drop_overdue_at_ms=engine.clock.now_ms(),
                progress=None if progress is None else lambda done: progress(done, size),
                each_key=None if loading is None else key_delay(engine.config.key_load_delay, loading.rest),
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
            self.saver.stop()
            if save or (save is None and engine.config.save):
                _log.log(NOTICE, "Saving the final RDB snapshot before exiting.")
                try:
                    self.save()
                except ReplyError:
                    _log.warning("Error trying to save the DB%s", ". Exit anyway." if force else ", can't exit.")
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
        loaded = {"rdb_last_load_keys_expired": expired, "rdb_last_load_keys_loaded": keys}
        return self.saver.info() | loaded

    def reset_stats(self) -> None:
        self.saver.saves = 0
        if self.appendonly is not None:
            self.appendonly.reset_stats()


def _refuse_twice(keyspace: Keyspace, loaded: Keyspace) -> None:
    for db, beside in zip(keyspace, loaded, strict=True):
        for key in beside.keys():  # noqa: SIM118  # a Database is no mapping
            if db.peek(key) is not None:
                raise RdbError(f"the key {key!r} is there already, in database {db.index}; MERGE would replace it")
