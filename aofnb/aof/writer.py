"""aof_buf to the incr file: feed, write, fsync.

Rules of this file: bytes leave aof_buf only after write() took them; `fsynced_bytes` never passes
`written_bytes`; only the thread that holds the engine's lock calls anything here, but for `_fsync_done`, which
the background thread calls, and reading counters, which anyone may.

A failed write under everysec or no keeps aof_buf and is retried; under always it ends writing until the store is
opened again, since the caller was told of failure and must not find the record later. A failed fsync ends
writing under every policy: the kernel may have dropped the pages, and a second fsync that succeeds proves
nothing.

Redis: aof.c feedAppendOnlyFile, flushAppendOnlyFile; server.c propagatePendingCommands (7.0.15).
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NoReturn

from aofnb.aof.bio import Bio
from aofnb.aof.fs import File
from aofnb.clock import Clock
from aofnb.config import Config
from aofnb.errors import AofWriteError
from aofnb.resp._encode_cy import append_commands
from aofnb.resp.encode import encode_command

__all__ = ["AofWriter"]

Effect = tuple[int, Sequence[bytes]]

_MULTI = encode_command([b"MULTI"])
_EXEC = encode_command([b"EXEC"])
_log = logging.getLogger("aofnb")
# A disk that stays broken is not told of more often than this.
LOG_ERROR_S = 30.0
# A postponed write waits this long for the running fsync, then goes ahead.
POSTPONE_S = 2.0


class AofWriter:
    """The live incr file and the buffer before it.

    Parameters
    ----------
    file
        Open for appending.
    size
        Its size: everything before is taken as synced.
    """

    def __init__(self, file: File, size: int, config: Config, clock: Clock, bio: Bio) -> None:
        self.config = config
        self.clock = clock
        self.bio = bio
        self.aof_buf = bytearray()
        # Counters over the life of the writer, across files. Only *_bytes of the live file are offsets.
        self.fed_commands = 0
        self.written_commands = 0
        self.fsynced_commands = 0
        self.fsyncs = 0
        self.delayed_fsync = 0
        self.last_fsync_duration_s = 0.0
        self.peak_bytes = 0
        self.write_error: OSError | None = None
        # The last write or fsync that failed, however long ago, and whatever became of it.
        self.last_error: OSError | None = None
        # Set once and for good: what was acknowledged may not be on the device, or may be there twice.
        self.poisoned: OSError | None = None
        # Whether an fsync is why. Then the kernel may go on to show pages that never reach the device.
        self.fsync_failed = False
        self.postponed_since: float | None = None
        # Gets whatever was written, whole units, for those who follow the log: replicas.
        self.tap: Callable[[bytes], None] | None = None
        # Set by the store: whether a rewrite is running, and who is told how long a write or an fsync took.
        self.rewriting: Callable[[], bool] = lambda: False
        self.sample: Callable[[str, float], None] = lambda _event, _seconds: None
        # Whether somebody wants to know, or to be kept waiting: see `watch`.
        self.watched = False
        self._sleep_before_write_s = 0.0
        # Whether the fsync that was last due was left out, as no-appendfsync-on-rewrite allows.
        self.fsync_held_back = False
        self._log_error_at_s = 0.0
        # How much of aof_buf is whole units; and, during a write, the buffer and the size of the file before it.
        self._whole_bytes = 0
        self._in_flight: tuple[bytearray, int] | None = None
        # While writes are held: how much of aof_buf the new files will hold by themselves.
        self._held_from: int | None = None
        self._open(file, size)

    def _open(self, file: File, size: int) -> None:
        self.file = file
        self.written_bytes = size
        self.fsynced_bytes = size
        self._fsync_asked_bytes = size
        # Unknown after a start and after a switch: the first record of a file is a SELECT.
        self.selected_db = -1
        # So a file can be dated by itself; Redis leaves that to the file before.
        self._last_ts_s = 0
        self.last_fsync_s = self.clock.monotonic()
        # When the oldest byte that is not synced was written.
        self.unsynced_since: float | None = None

    # --- feed --------------------------------------------------------------------------------------------

    def feed(self, effects: Sequence[Effect], transaction: bool) -> None:
        """Append the records of one unit to aof_buf: SELECT where the database changes, MULTI/EXEC around several.

        `transaction` is False for units that are not to be framed, however many records they have
        (keys that expired on their own).
        """
        if len(effects) == 1:
            self.feed_one(*effects[0])
            return
        buf = self.aof_buf
        if self.config.aof_timestamp_enabled:
            self._annotate()
        if transaction:
            # 7.0 puts the SELECT of the first record before MULTI; later versions put it behind.
            if effects[0][0] != self.selected_db:
                self._select(effects[0][0])
            buf += _MULTI
        for db, argv in effects:
            if db != self.selected_db:
                self._select(db)
            append_commands(buf, (argv,))
        if transaction:
            buf += _EXEC
        self.fed_commands += len(effects)
        self._whole_bytes = len(buf)

    def feed_one(self, db: int, argv: Sequence[bytes]) -> None:
        """`feed` for the commonest unit: one record."""
        self.feed_each(db, (argv,))

    def feed_each(self, db: int, argvs: Sequence[Sequence[bytes]]) -> None:
        """`feed` for a run of the commonest units: one record each, all of one database."""
        if self.config.aof_timestamp_enabled:
            self._annotate()
        if db != self.selected_db:
            self._select(db)
        append_commands(self.aof_buf, argvs)
        self.fed_commands += len(argvs)
        self._whole_bytes = len(self.aof_buf)

    def feed_encoded(self, db: int, records: Sequence[bytes], commands: int) -> None:
        """`feed_each` for records of so many commands that are encoded already."""
        if self.config.aof_timestamp_enabled:
            self._annotate()
        if db != self.selected_db:
            self._select(db)
        self.aof_buf += b"".join(records)
        self.fed_commands += commands
        self._whole_bytes = len(self.aof_buf)

    def _select(self, db: int) -> None:
        self.aof_buf += encode_command([b"SELECT", b"%d" % db])
        self.selected_db = db

    def _annotate(self) -> None:
        now_s = self.clock.now_ms() // 1000
        if now_s > self._last_ts_s:
            self._last_ts_s = now_s
            self.aof_buf += b"#TS:%d\r\n" % now_s

    # --- write -------------------------------------------------------------------------------------------

    def flush(self, force: bool = False) -> None:
        """Write what is in aof_buf, then fsync if the policy says it is time.

        Raises
        ------
        AofWriteError
            The operating system did not take the data, or under ``always`` did not sync it. What was not
            written stays in aof_buf.
        """
        if self.aof_buf:
            if self.poisoned is not None:
                self._refuse()
            if self.bio.pending and not force and self._postponed():
                return
            self._write()
        if self.fsynced_bytes != self.written_bytes:
            self._fsync_if_due()

    def _postponed(self) -> bool:
        """Whether to leave aof_buf as it is, because a write would wait behind the running fsync."""
        if self.config.appendfsync != "everysec":
            return False
        now = self.clock.monotonic()
        if self.postponed_since is None:
            self.postponed_since = now
        if now - self.postponed_since < POSTPONE_S:
            return True
        self.delayed_fsync += 1
        _log.warning(
            "Asynchronous AOF fsync is taking too long (disk is busy?). "
            "Writing the AOF buffer without waiting for fsync to complete, this may slow down Redis."
        )
        return False

    def _write(self) -> None:
        buf = self.aof_buf
        size = len(buf)
        taken = 0
        started = self._begin_watched() if self.watched else 0.0
        self._in_flight = (buf, self.written_bytes)
        try:
            taken = self.file.write(buf)
            while taken < size:
                # A second attempt tells a signal from a full disk. It gets a copy: an error that is kept holds on to
                # its arguments, and a view among them would forbid aof_buf to grow.
                more = self.file.write(buf[taken:])
                if more == 0:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                taken += more
        except OSError as problem:
            self._write_failed(problem, taken)
        if self.watched:
            self._sample_write(self.clock.monotonic() - started)
        self.written_bytes += size
        self.written_commands = self.fed_commands
        if self.write_error is not None:
            _log.warning("AOF write error looks solved. The AOF file can be written again: %s", self.file.path)
            self._log_error_at_s = 0.0
        self.write_error = self.postponed_since = None
        if self.unsynced_since is None:
            self.unsynced_since = self.clock.monotonic()
        if size > self.peak_bytes:
            self.peak_bytes = size
        if self.tap is not None:
            self.tap(bytes(buf))
        # A new buffer, so that `mend` finds the old one as it was wherever Ctrl-C came.
        self.aof_buf = bytearray()
        self._whole_bytes = 0
        self._in_flight = None

    def watch(self, measured: bool, sleep_before_write_s: float) -> None:
        """Have each write measured and told to `sample`, or begin with a pause, for tests of a slow disk."""
        self.watched = measured or sleep_before_write_s > 0
        self._sleep_before_write_s = sleep_before_write_s

    def _begin_watched(self) -> float:
        time.sleep(self._sleep_before_write_s)
        return self.clock.monotonic()

    def _sample_write(self, took_s: float) -> None:
        self.sample("aof-write", took_s)
        if self.bio.pending:
            self.sample("aof-write-pending-fsync", took_s)
        elif self.rewriting():
            self.sample("aof-write-active-child", took_s)
        else:
            self.sample("aof-write-alone", took_s)

    def _log_error(self, what: str, problem: OSError) -> None:
        """Tell the log of a disk that fails, at most every half minute."""
        now_s = self.clock.monotonic()
        if now_s >= self._log_error_at_s:
            self._log_error_at_s = now_s + LOG_ERROR_S
            _log.warning("%s the AOF file %s: %s", what, self.file.path, problem.strerror)

    def _write_failed(self, problem: OSError, taken: int) -> NoReturn:
        """Leave the file ending at a whole unit, remember the error, raise."""
        self._in_flight = None
        if taken:
            try:
                self.file.truncate(self.written_bytes)
            except OSError:
                # What was taken stays taken: the next write goes on in the middle of the record.
                self.written_bytes += taken
                if self.tap is not None:
                    self.tap(bytes(self.aof_buf[:taken]))
                del self.aof_buf[:taken]
                self._whole_bytes = len(self.aof_buf)
        self.write_error = self.last_error = problem
        self._log_error("Error writing to", problem)
        if self.config.appendfsync == "always":
            self.poisoned = problem
            remedy = (
                "writing is off until BGREWRITEAOF makes new files or the store is opened again; "
                "what was acknowledged before is on disk"
            )
        else:
            remedy = (
                "the command is kept in memory and retried; free space or mend the disk, writes are refused until then"
            )
        raise AofWriteError(
            f"write failed: {problem.strerror}; {remedy}", file=self.file.path, offset=self.written_bytes
        ) from problem

    # --- fsync -------------------------------------------------------------------------------------------

    def _fsync_if_due(self) -> None:
        policy = self.config.appendfsync
        if policy == "everysec":
            due = self.clock.monotonic() - self.last_fsync_s >= 1
            if due and not self.bio.pending and self._fsync_asked_bytes != self.written_bytes:
                # Never under always: a reply that says durable must not depend on what else is going on.
                self.fsync_held_back = self.config.no_appendfsync_on_rewrite and self.rewriting()
                if self.fsync_held_back:
                    self.last_fsync_s = self.clock.monotonic()
                else:
                    self._fsync_in_background()
        elif policy == "always":
            self.fsync_now()

    def fsync_due_s(self) -> float | None:
        """Seconds until the policy wants an fsync of what is written, or None if it does not."""
        if self._fsync_asked_bytes == self.written_bytes or self.config.appendfsync == "no":
            return None
        return max(0.0, self.last_fsync_s + 1 - self.clock.monotonic())

    def fsync_now(self) -> None:
        """Sync the file before returning.

        Raises
        ------
        AofWriteError
            It failed; writing is off for good.
        """
        if self.poisoned is not None:
            self._refuse()
        started = self.clock.monotonic()
        self.last_fsync_s = started
        self._fsync_asked_bytes = self.written_bytes
        try:
            self.file.fdatasync()
        except OSError as problem:
            self._fsync_failed(problem)
            self._refuse()
        self.fsync_held_back = False
        self.fsynced_bytes = self.written_bytes
        self.fsynced_commands = self.written_commands
        self.unsynced_since = None
        self._fsync_counted(started)
        if self.config.appendfsync == "always":
            self.sample("aof-fsync-always", self.last_fsync_duration_s)

    def sync(self) -> None:
        """Write and sync everything, waiting for what the background thread has begun.

        Raises
        ------
        AofWriteError
            Something acknowledged could not be made durable.
        """
        # The error of an fsync is told once: it must be known before another one says that all is well.
        self.bio.drain()
        self.flush(force=True)
        if self.fsynced_bytes != self.written_bytes:
            self.fsync_now()

    def _fsync_failed(self, problem: OSError) -> None:
        self.fsync_failed = True
        self.poisoned = self.last_error = problem
        self._log_error("Failed to fsync", problem)

    def _fsync_in_background(self) -> None:
        started = self.clock.monotonic()
        self.last_fsync_s = started
        file, asked_bytes, asked_commands = self.file, self.written_bytes, self.written_commands
        self._fsync_asked_bytes = asked_bytes

        def done(problem: OSError | None) -> None:
            if problem is not None:
                self._fsync_failed(problem)
                return
            # A switch to another file syncs the old one by itself; a late answer must not touch the new counters.
            if self.file is file and asked_bytes > self.fsynced_bytes:
                self.fsynced_bytes = asked_bytes
                self.fsynced_commands = asked_commands
                self.unsynced_since = None if asked_bytes == self.written_bytes else started
            self._fsync_counted(started)

        self.bio.fsync(file, done)

    def _fsync_counted(self, started: float) -> None:
        self.fsyncs += 1
        self.last_fsync_duration_s = self.clock.monotonic() - started

    def _refuse(self) -> NoReturn:
        assert self.poisoned is not None
        raise AofWriteError(
            f"an earlier write or fsync failed: {self.poisoned.strerror}; nothing more is written to this file. "
            "Mend the disk, then BGREWRITEAOF (makes new files of what is in memory), "
            "or close the store and open it again (reads what the disk holds)",
            file=self.file.path,
            offset=self.fsynced_bytes,
        ) from self.poisoned

    # --- new files ---------------------------------------------------------------------------------------

    @property
    def held(self) -> bool:
        """Whether nothing is written for now: see `hold`."""
        return self._held_from is not None

    def hold(self) -> None:
        """Write nothing from now on: new files are being made of what is in memory now.

        What is fed stays in aof_buf until `replaced_by`, or, where the new files come to nothing, `release`.
        """
        self._held_from = len(self.aof_buf)
        # What comes now may begin a file.
        self.selected_db = -1
        self._last_ts_s = 0
        # Instead of a question in `flush`, which would cost everyone.
        self.flush = self._flush_nothing  # type: ignore[method-assign]

    def _flush_nothing(self, force: bool = False) -> None:
        return

    def release(self) -> None:
        """Write again, to the file there was."""
        self._held_from = None
        self.__dict__.pop("flush", None)

    def replaced_by(self, file: File) -> File:
        """Go on in `file`, before which there is a base of all that was in memory when `hold` was called, or, where
        it was not, of all that is; the old file is returned to be closed.
        """
        del self.aof_buf[: self._held_from]
        self._whole_bytes = len(self.aof_buf)
        self.release()
        return self.switch(file)

    # --- life --------------------------------------------------------------------------------------------

    @property
    def refusal(self) -> OSError | None:
        """Why write commands are refused now, or None."""
        return self.poisoned or self.write_error

    def mend(self) -> None:
        """Put right what an exception inside feed, write or fsync left: a unit fed in part, bytes not counted.

        Raises
        ------
        AofWriteError
            The file cannot be cut back to what was counted; it may not be written any more.
        """
        if self._in_flight is not None:
            # Whether or not the write was done: as if it were not.
            self.aof_buf, self.written_bytes = self._in_flight
            self._whole_bytes = len(self.aof_buf)
            try:
                self.file.truncate(self.written_bytes)
            except OSError as problem:
                self.poisoned = problem
                self._refuse()
            self._in_flight = None
        del self.aof_buf[self._whole_bytes :]
        self._whole_bytes = len(self.aof_buf)
        # What the last record's database was is not sure, nor whether an fsync was asked for.
        self.selected_db = -1
        self.bio.drain()
        self.bio.pending = 0
        self._fsync_asked_bytes = self.fsynced_bytes

    def switch(self, file: File, size: int = 0) -> File:
        """Go on in `file`; the old one, flushed and synced by the caller, is returned to be closed."""
        old = self.file
        self._open(file, size)
        self.poisoned = None
        self.fsync_failed = False
        self.write_error = self.postponed_since = None
        return old

    def close(self) -> None:
        """Write and sync everything, then close the file.

        Raises
        ------
        AofWriteError
            Something acknowledged could not be made durable; the file is closed all the same.
        """
        try:
            self.sync()
        finally:
            # What matters is on the device, or was reported: an error of close says nothing more.
            with suppress(OSError):
                self.file.close()
