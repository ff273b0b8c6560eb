"""The store: a directory opened, its data in memory, its log growing, until it is closed.

Rules of this file: one writer per directory; a failed open leaves no thread, no lock and no changed file; a
forked child inherits a store that refuses everything; close makes all acknowledged writes durable or raises.
"""

from __future__ import annotations

import atexit
import errno
import importlib
import io
import logging
import os
import random
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from aofnb.aof.bio import Bio
from aofnb.aof.directory import AofDirectory
from aofnb.aof.fs import Fs, OsFs
from aofnb.aof.load_report import LoadReport
from aofnb.aof.lock import DirectoryLock
from aofnb.aof.stats import AofStats
from aofnb.aof.writer import AofWriter
from aofnb.clock import Clock, SystemClock
from aofnb.config import Config
from aofnb.config_file import ConfigFile
from aofnb.engine.appendonly import Appendonly
from aofnb.engine.core import Engine
from aofnb.engine.cron import Cron
from aofnb.engine.loading import Loading
from aofnb.engine.no_files import NoFiles
from aofnb.engine.persistence import Files
from aofnb.engine.progress import LoadLine, watched
from aofnb.engine.replay import FailedCommand, Replayer, SkippedPart
from aofnb.engine.rewriter import Rewriter
from aofnb.engine.session import Pipeline, Session
from aofnb.errors import AofError, AofManifestError, AofnbError, AofWriteError, ConfigError, ReplyError
from aofnb.resp.reader import CommandReader

if TYPE_CHECKING:
    from aofnb.adapters.push import PushReport
    from aofnb.adapters.redis_py import Redis
    from aofnb.adapters.server import Server

__all__ = ["Loaded", "Store", "open_store"]

Progress = Callable[[int, int], None]

_log = logging.getLogger("aofnb")

_READ_ONLY = "READONLY this store was opened with readonly=True; open it without to write"
# As `Log.at` opens one.
_OF_THEN = "READONLY these are the data of then, which nothing changes; undo and recover make a new log"
_PATIENCE_AT_EXIT_S = 5.0
# While acknowledged data waits for a full disk, the write is retried once a second.
_RETRY_S = 1.0
# How often a read-only open finds the files anew where a writer replaced them under its hands.
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Loaded:
    """What opening a directory found: the files, how much they held, and what was odd.

    Attributes
    ----------
    files
        Each of them in order; ``files.truncated`` says what a cut tail lost.
    commands
        How many were replayed, MULTI and EXEC among them.
    failed
        Commands that gave an error when replayed, and so changed nothing.
    snapshot_keys
        How many keys came out of snapshots. Overdue ones are among them: they expire now that all is loaded.
    skipped
        Parts of snapshots that nothing here can hold, as values of modules. The file that has them stays on disk, also
        when a rewrite replaces it.
    warnings
        What is odd about snapshots but no damage, each with its file.
    """

    files: LoadReport
    commands: int
    failed: tuple[FailedCommand, ...]
    snapshot_keys: int = 0
    skipped: tuple[SkippedPart, ...] = ()
    warnings: tuple[str, ...] = ()


class Store:
    """Data in memory with its log on disk. Made by `aofnb.open`.

    `execute` runs one command; `pipeline` and `run` several as one turn; `session` gives another independent
    selected database and MULTI state. All of it may be called from any thread.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        settings: Mapping[str, object],
        *,
        readonly: bool,
        progress: Progress | Literal[False] | None,
        clock: Clock,
        fs: Fs,
        seed: int | None,
        background: bool,
        config_file: ConfigFile | None = None,
        before_load: Callable[[Store], None] | None = None,
    ) -> None:
        config = Config(settings)
        if path is None:
            # There is nowhere to log to.
            config.appendonly = False
        self.config = config
        if path is not None and not os.fspath(path):
            raise ConfigError(
                "the path is empty; give a directory ('.' is this one), or None for a store without a log"
            )
        self.path = None if path is None else os.path.abspath(os.path.expanduser(os.fsdecode(path)))
        self.readonly = readonly
        self._ended = False
        # What lives on the store and ends before it does: servers.
        self._guests: list[Callable[[], None]] = []
        self.clock = clock
        self.engine = Engine(config, clock, random.Random(seed))
        self.load_report: Loaded | None = None
        self._lock: DirectoryLock | None = None
        self._bio = Bio(inline=not background)
        self._directory: AofDirectory | None = None
        self._rewriter: Rewriter | None = None
        self._appendonly: Appendonly | None = None
        self._files: Files | None = None
        self._cron = Cron(clock, self._tick)
        self.engine.persistence = NoFiles(self._shut_down)
        self.engine.settings.file = config_file
        self.engine.settings.on_change["appendonly"] = self._no_log_to_switch
        if self.path is not None:
            config.dir = self.path
        self.engine.acl_file.load_first(config_file.users if config_file is not None else ())
        if self.path is not None:
            try:
                with self._watched_load(before_load):
                    if config.appendonly:
                        self._open(self.path, fs, progress)
                    else:
                        self._open_without_log(self.path, fs, progress)
            except BaseException:
                if self._writer is not None:
                    with suppress(OSError):
                        self._writer.file.close()
                self._let_go()
                raise
        if readonly:
            self.engine.refusal = self.engine.standing_refusal = _OF_THEN if path is None else _READ_ONLY
        # Not before: nobody is told of what a load does.
        self.engine.look_around()
        self._session = Session(self.engine)
        # The hot path: no method of ours stands between the caller and the session.
        self.execute = self._session.execute
        self.run = self._session.run
        if background:
            self.engine.on_wait = self._cron.start_and_wake
        if background and not readonly:
            self.engine.on_write = self._cron.wake
            self._cron.start()
            self._cron.wake()
        _open_stores.add(self)

    @contextmanager
    def _watched_load(self, before_load: Callable[[Store], None] | None) -> Iterator[None]:
        """While this lasts, whoever was called before is let in now and then, and the lock is held otherwise."""
        if before_load is None:
            yield
            return
        engine = self.engine
        engine.loading = Loading(engine)
        engine.look_around()
        # Nobody is answered before it is known how much there is to load.
        engine.lock.acquire()
        try:
            before_load(self)
            yield
        except BaseException:
            # Before anyone is let in again: what there is is a part.
            engine.close("its data could not be loaded")
            raise
        finally:
            engine.loading = None
            engine.look_around()
            # Not held where Ctrl-C came in a rest.
            with suppress(RuntimeError):
                engine.lock.release()

    def _open(self, path: str, fs: Fs, progress: Progress | Literal[False] | None) -> None:
        if not self.readonly:
            self._take_directory(path, fs)
        with _shown(progress, self.clock) as shown:
            directory, replayer, files = self._load(path, fs, self._told(shown))
        self.load_report = Loaded(
            files,
            replayer.commands,
            tuple(replayer.failed),
            replayer.snapshot_keys,
            tuple(replayer.skipped),
            tuple(replayer.warnings),
        )
        self._tell_what_was_odd(self.load_report)
        self._directory = directory
        self._wire(path, fs, directory)
        if self.readonly:
            return
        assert self._appendonly is not None
        self._appendonly.started(directory.start_writer(self.clock, self._bio))
        # It may be new.
        self._take_directory(path, fs)
        self._make_good()

    def _told(self, shown: Progress | None) -> Progress | None:
        """Whom to tell how far a load is: who is `shown` it, and who is served meanwhile."""
        loading = self.engine.loading
        if loading is None or shown is None:
            return shown if loading is None else loading.progress

        def tell(done: int, total: int) -> None:
            shown(done, total)
            loading.progress(done, total)

        return tell

    def _open_without_log(self, path: str, fs: Fs, progress: Progress | Literal[False] | None) -> None:
        """Open with ``appendonly no``: the last snapshot, if there is one, and nothing of the log."""
        directory = AofDirectory(fs, path, self.config, self.clock)
        if fs.exists(path):
            if not self.readonly:
                self._take_directory(path, fs)
            if directory.open_unused(self._bio, readonly=self.readonly):
                _log.warning("%s holds a log, which is not loaded since appendonly is no", directory.path)
        self._directory = directory
        self._wire(path, fs, directory)
        assert self._files is not None
        with _shown(progress, self.clock) as shown:
            self._files.load_snapshot(self._told(shown))

    def _take_directory(self, path: str, fs: Fs) -> None:
        """Make the directory if need be, and keep others from writing there; if it is ours, see that it still is."""
        log = os.path.join(path, self.config.appenddirname)
        if self._lock is not None:
            self._lock.check()
            self._lock.also(log)
            return
        try:
            fs.mkdir(path)
        except OSError as problem:
            raise AofError(
                f"the directory cannot be made: {problem.strerror}; give one that can be written", file=path
            ) from problem
        lock = DirectoryLock(fs, path)
        lock.acquire()
        self._lock = lock
        # By another name it may be another store's.
        lock.also(log)

    def _wire(self, path: str, fs: Fs, directory: AofDirectory) -> None:
        """Put together what writes, and give the engine what commands may ask of it."""
        if self.readonly:
            files = Files(self.engine, fs, path, None, self._refuse_to_write, self._shut_down)
        else:
            self._rewriter = Rewriter(self.engine, directory, fs)

            def prepare() -> None:
                self._take_directory(path, fs)

            self._rewriter.check_place = prepare
            self._appendonly = Appendonly(self.engine, directory, self._rewriter, self._bio, prepare)
            files = Files(self.engine, fs, path, self._appendonly, prepare, self._shut_down)
            self._appendonly.on_replaced = files.unmark
        self._files = self.engine.persistence = files
        self.engine.aof_stats = self.stats
        self.engine.reload = self._reload

    def _load(self, path: str, fs: Fs, progress: Progress | None) -> tuple[AofDirectory, Replayer, LoadReport]:
        """Find the files and load them. Beside a writer they may be replaced meanwhile: then find them anew."""
        for attempt in range(_ATTEMPTS):
            directory = AofDirectory(fs, path, self.config, self.clock)
            replayer = Replayer(self.engine)
            try:
                directory.open(readonly=self.readonly)
                with replayer.loading():
                    files = directory.load(replayer.replay, progress, restore=replayer.restore)
            except AofError as problem:
                gone = isinstance(problem.__cause__, FileNotFoundError) or isinstance(problem, AofManifestError)
                if not (gone and self.readonly) or attempt == _ATTEMPTS - 1:
                    raise
                self._forget()
            else:
                for part in replayer.skipped:
                    directory.keep(part.file)
                return directory, replayer, files
        raise AssertionError("the last attempt returns or raises")

    def _forget(self) -> None:
        """Empty the memory, functions included; not a word of it goes to the log."""
        for db in self.engine.keyspace:
            db.clear()
        self.engine.keyspace.functions.clear()

    def _refuse_to_write(self) -> None:
        raise AofError("this store was opened with readonly=True; open it without to write")

    def _shut_down(self) -> None:
        if self.engine.loading is not None:
            self.engine.loading.unwanted = True
            return
        self.engine.close("the store was closed by SHUTDOWN; open it again with aofnb.open")
        self.engine.afterwards.append(self.close)

    def _no_log_to_switch(self) -> None:
        why = "a store that was opened with readonly=True" if self.readonly else "a store without a directory"
        raise ConfigError(f"{why} has no log to turn on or off")

    def _make_good(self) -> None:
        """After a failed fsync: what was loaded may be in the kernel's memory only, so write all of it anew."""
        assert self._files is not None
        assert self._writer is not None
        assert self._rewriter is not None
        if not self._files.marked_unsynced():
            return
        _log.warning(
            "an fsync failed when %s was last open: the log is made anew, since what was read of it may not be on "
            "the device",
            self.path,
        )
        self._writer.poisoned = OSError(errno.EIO, "an fsync failed when the store was last open")
        try:
            self._rewriter.start(False, here=True)
        except ReplyError:
            _log.warning("it could not be: %s. Writes are refused until it is", self._rewriter.last_error)
            self.engine.refresh_refusal()

    @property
    def _writer(self) -> AofWriter | None:
        return self.engine.writer

    def _reload(self) -> None:
        """Make memory what the log says: its files, then the whole units that are still in aof_buf."""
        assert self._directory is not None
        assert self._appendonly is not None
        assert self._writer is not None
        if self._appendonly.state == "waiting":
            self._appendonly.start_over()
            return
        self._directory.settle(self._writer)
        keyspace = self.engine.keyspace
        replayer = Replayer(self.engine)
        dirty = keyspace.dirty
        with replayer.loading():
            self._forget()
            self._directory.replay_again(replayer.replay, restore=replayer.restore)
            held = bytes(self._writer.aof_buf)
            for block in CommandReader(io.BytesIO(held), len(held)):
                replayer.replay("aof_buf", block)
        keyspace.dirty = dirty
        # It may have been woken by half.
        self._cron.awake = False
        self.engine.on_write()

    def _tell_what_was_odd(self, loaded: Loaded) -> None:
        """Say what a server would write to its log: a cut tail and commands that failed. Nobody need look for it."""
        cut = loaded.files.truncated
        if cut is not None:
            done = "cut off" if cut.applied else "left out"
            _log.warning(
                "%s, byte %d: %s; the last %d bytes are %s", cut.file, cut.offset, cut.reason, cut.bytes_cut, done
            )
        if loaded.failed:
            first = loaded.failed[0]
            _log.warning(
                "commands of the log that gave an error when replayed, and were left out: %d; the first is %s "
                "at byte %d of %s: %s. All of them: store.load_report.failed",
                len(loaded.failed),
                first.command,
                first.offset,
                first.file,
                first.error,
            )
        if loaded.skipped:
            part = loaded.skipped[0]
            _log.warning(
                "what nothing here can hold of the snapshots, and was left out: %d; the first at byte %d of %s%s: %s. "
                "That file stays on disk whatever is rewritten. All of them: store.load_report.skipped",
                len(loaded.skipped),
                part.offset,
                part.file,
                "" if part.key is None else f", key {part.key!r}",
                part.reason,
            )

    # --- commands ----------------------------------------------------------------------------------------

    def session(self) -> Session:
        """Another selected database and MULTI state on the same data."""
        return Session(self.engine)

    def pipeline(self) -> Pipeline:
        """Collect commands, then run them as one turn, with one write."""
        return self._session.pipeline()

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Put off the write to the end of the block.

        Faster, and weaker by your word: a command inside is answered before its record is on disk, and a crash
        inside the block loses all of it. Other threads wait until the block ends.
        """
        with self.engine.batch():
            yield

    def config_set(self, name: str, value: object) -> None:
        """Change one setting that may change at run time, as CONFIG SET does."""
        text = self.config.setting(name).format(value) if isinstance(value, bool) else str(value)
        self.execute("CONFIG", "SET", name, text)

    def config_get(self, name: str) -> str:
        """The current value of one setting, as CONFIG GET shows it."""
        return self.config.text(name)

    def bgrewriteaof(self) -> str:
        """Start a rewrite; commands go on meanwhile. Returns the status text."""
        status: str = self.execute("BGREWRITEAOF")
        return status

    def cancel_rewrite(self) -> bool:
        """End a running rewrite, or forget a scheduled one; False where there is none. The old files stay in force."""
        return self._rewriter is not None and self._rewriter.cancel()

    # --- other ways in and out ---------------------------------------------------------------------------

    def redis(self, **options: Any) -> Redis:
        """A `redis.Redis` on this store: no socket, and all of redis-py. Needs redis-py.

        Parameters
        ----------
        **options
            As for `redis.Redis`: ``db``, ``decode_responses``, ``protocol``, ...
        """
        client: Redis = _adapter("redis_py").Redis(self, **options)
        return client

    def serve(
        self,
        host: str | None = "127.0.0.1",
        port: int = 0,
        *,
        unixsocket: str | os.PathLike[str] | None = None,
        unixsocketperm: int | None = None,
        protected_mode: bool = True,
    ) -> Server:
        """Let clients of Redis connect: redis-cli, redis-benchmark, any library.

        Runs in a thread of its own until the handle or the store is closed.

        Parameters
        ----------
        host, port
            Where to listen; port 0 takes a free one, host None none at all. Hosts that other machines reach need a
            password (``requirepass``), unless `protected_mode` is off.
        unixsocket, unixsocketperm
            A unix socket, besides or instead, and its file mode.
        protected_mode
            Whether only this machine may connect as long as there is no password.

        Returns
        -------
        Server
            With ``.address``, ``.url`` and ``.close()``; a context manager.

        Raises
        ------
        ConfigError
            It cannot be served there.
        """
        server: Server = _adapter("server").Server(
            self,
            host=host,
            port=port,
            unixsocket=unixsocket,
            unixsocketperm=unixsocketperm,
            protected_mode=protected_mode,
        )
        return server

    def push(self, url: str, **options: Any) -> PushReport:
        """Copy the data to a real server, or cluster. See `aofnb.adapters.push.push`."""
        report: PushReport = _adapter("push").push(self, url, **options)
        return report

    # --- what others may see -----------------------------------------------------------------------------

    def stats(self, *, reset_peak: bool = False) -> AofStats:
        """The log's numbers now. Takes no lock: may be called at any time from any thread.

        Parameters
        ----------
        reset_peak
            Begin a new measurement of ``aof_buf_peak_bytes``.
        """
        writer, directory, rewriter = self._writer, self._directory, self._rewriter
        keys = self.engine.keyspace.key_count()
        waiting = self._appendonly is not None and self._appendonly.state == "waiting"
        if directory is None or rewriter is None:
            return AofStats(appendfsync=self.config.appendfsync, keys=keys)
        rewrites = AofStats(
            aof_enabled=waiting,
            waiting=waiting,
            appendfsync=self.config.appendfsync,
            current_size=directory.current_size,
            base_size=directory.base_size,
            files=directory.files(),
            rewrite=rewriter.progress(),
            rewrites=rewriter.rewrites,
            rewrite_scheduled=rewriter.scheduled,
            last_rewrite_ok=rewriter.last_ok,
            last_rewrite_error=rewriter.last_error,
            rewrite_failures=rewriter.backoff.failures,
            last_rewrite_duration_s=rewriter.last_duration_s,
            last_rewrite_cow_bytes=rewriter.last_cow_bytes,
            forks=rewriter.forks,
            last_fork_s=rewriter.last_fork_s,
            keys=keys,
        )
        if writer is None:
            return rewrites
        now_s = self.clock.monotonic()
        unsynced_since, postponed_since = writer.unsynced_since, writer.postponed_since
        # Read synced first: both only grow, so the difference is never negative.
        synced_bytes, written_bytes = writer.fsynced_bytes, writer.written_bytes
        synced_commands, written_commands, fed = writer.fsynced_commands, writer.written_commands, writer.fed_commands
        peak = writer.peak_bytes
        if reset_peak:
            writer.peak_bytes = 0
        problem, last = writer.refusal, writer.last_error
        return replace(
            rewrites,
            aof_enabled=True,
            aof_buf_bytes=len(writer.aof_buf),
            aof_buf_commands=max(0, fed - written_commands),
            aof_buf_peak_bytes=max(peak, len(writer.aof_buf)),
            unsynced_bytes=max(0, written_bytes - synced_bytes),
            unsynced_commands=max(0, written_commands - synced_commands),
            synced_bytes=synced_bytes,
            synced_commands=synced_commands,
            fsync_lag_s=0.0 if unsynced_since is None else max(0.0, now_s - unsynced_since),
            fsyncs=writer.fsyncs,
            last_fsync_duration_s=writer.last_fsync_duration_s,
            fsync_in_progress=self._bio.pending > 0,
            delayed_fsync=writer.delayed_fsync,
            postponed_s=0.0 if postponed_since is None else max(0.0, now_s - postponed_since),
            fsync_held_back=writer.fsync_held_back,
            write_error=None if problem is None else problem.strerror,
            last_write_error=None if last is None else last.strerror,
        )

    @property
    def closed(self) -> bool:
        return self.engine.closed is not None

    def forget_own_client(self) -> None:
        """For a server, which has only clients on sockets: what `execute` runs commands with is none any more."""
        self.engine.disconnect(self._session.client)

    def __repr__(self) -> str:
        where = "in memory" if self.path is None else repr(self.path)
        state = "closed" if self.closed else f"{self.engine.keyspace.key_count()} keys"
        mode = ", read-only" if self.readonly else f", appendfsync={self.config.appendfsync}" if self._writer else ""
        return f"<aofnb.Store {where}: {state}{mode}>"

    # --- the periodic job --------------------------------------------------------------------------------

    def tick(self) -> float | None:
        """What the background thread does ten times a second while there is something to do; for tests.

        Returns in how many seconds there will be something to do again, None if only a write can bring it.
        """
        return self._tick()

    def _tick(self) -> float | None:
        engine = self.engine
        with engine.lock:
            if engine.closed is not None:
                return None
            if engine.torn:
                engine.mend()
            engine.expire_due()
            if engine.watched:
                engine.forget_gone_watchers()
            engine.waiting.time_out()
            wait_s = _sooner(self._next_expiry_s(), engine.waiting.next_s())
            problem = None
            try:
                engine.flush()
            except AofWriteError as failed:
                # Nobody waits for an answer here; `refusal` and stats() say it until it is over.
                wait_s = _sooner(wait_s, _RETRY_S)
                problem = failed
            if self._appendonly is not None and self._files is not None and self._rewriter is not None:
                if not engine.cron_paused:
                    wait_s = _sooner(wait_s, self._appendonly.tick())
                    wait_s = _sooner(wait_s, self._files.saver.tick())
                if self._rewriter.running or self._bio.pending:
                    wait_s = _sooner(wait_s, 0.1)
            writer = engine.writer
            if writer is not None:
                wait_s = _sooner(wait_s, 0.1 if writer.aof_buf else writer.fsync_due_s())
            if engine.tracking.clients:
                # Of keys that expired here.
                engine.tracking.tell_prefixes()
            engine.outbox.deliver(problem)
            return wait_s

    def _next_expiry_s(self) -> float | None:
        if not self.engine.expires_actively:
            return None
        deadline_ms = self.engine.keyspace.next_deadline_ms()
        return None if deadline_ms is None else max(0.001, (deadline_ms + 1 - self.clock.now_ms()) / 1000)

    # --- life --------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Write and sync everything, end the threads, give the directory free. Closing twice is fine.

        Raises
        ------
        AofWriteError
            Acknowledged writes could not be made durable. The store is closed all the same.
        """
        with self.engine.lock:
            if self.engine._batches:
                raise RuntimeError("close() inside `with store.batch()`: leave the block first")
            if self._ended:
                return
        # Without the lock, since they may wait for it.
        while self._guests:
            self._guests.pop()()
        with self.engine.lock:
            if self.engine.closed is None:
                if self.engine.torn:
                    self.engine.mend()
                self.engine.close("the store is closed; open it again with aofnb.open")
        # Each step may be repeated: Ctrl-C in one of them leaves the rest to the next close().
        problem: AofWriteError | None = None
        if self._appendonly is not None and self._appendonly.state == "waiting":
            try:
                self._appendonly.finish()
            except AofWriteError as failed:
                problem = failed
        if self._rewriter is not None:
            self._rewriter.cancel()
        if self._files is not None:
            with self.engine.lock:
                self._files.saver.stop()
            self._files.saver.wait()
        self._cron.stop()
        with self.engine.lock:
            try:
                if self._writer is not None:
                    self._writer.close()
                if problem is not None:
                    raise problem
            except Exception:
                # Told to the caller, and closed all the same; no finally, since after Ctrl-C there is more to close.
                self._finish_closing()
                raise
            self._finish_closing()

    def before_close(self, guest: Callable[[], None]) -> None:
        """Have `guest` called when the store is about to be closed, the last one first."""
        self._guests.append(guest)

    def _finish_closing(self) -> None:
        self._let_go()
        self._ended = True
        _open_stores.discard(self)

    def _let_go(self) -> None:
        """End the background thread, which does first what was left to it, and give the directory free."""
        self._bio.close()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _adapter(name: str) -> Any:
    """A module of the row above, which only its users load."""
    return importlib.import_module("aofnb.adapters").load(f"aofnb.adapters.{name}")


@contextmanager
def _shown(progress: Progress | Literal[False] | None, clock: Clock) -> Iterator[Progress | None]:
    """Whom to tell how far the load is: who asked for it, or else who watches."""
    if progress is not None or not watched(sys.stderr):
        yield progress or None
        return
    line = LoadLine(clock)
    try:
        yield line
    finally:
        line.close()


def _sooner(a: float | None, b: float | None) -> float | None:
    return b if a is None else a if b is None else min(a, b)


class _Given:
    """Stands for a path that the settings file gives."""

    def __repr__(self) -> str:
        return "<dir of the settings file>"


_FROM_FILE = _Given()


def open_store(
    path: str | os.PathLike[str] | _Given | None = _FROM_FILE,
    *,
    config_file: str | os.PathLike[str] | ConfigFile | None = None,
    readonly: bool = False,
    progress: Progress | Literal[False] | None = None,
    clock: Clock | None = None,
    fs: Fs | None = None,
    seed: int | None = None,
    background: bool = True,
    before_load: Callable[[Store], None] | None = None,
    **settings: object,
) -> Store:
    """Open the store in the directory `path`, making it where there is none, and load what is there.

    Parameters
    ----------
    path
        The directory that holds ``appendonlydir`` (what redis-server calls ``dir``). None: a store without a log.
        May be left out where `config_file` says ``dir``.
    config_file
        A redis.conf, or what `ConfigFile` made of one: settings to begin with, and where CONFIG REWRITE writes to.
        What it says of a server's process and network means nothing here. Settings that are given as well count more.
    readonly
        Load, but write nothing and take no lock; may be beside a writer. Writes are refused.
    progress
        Called with bytes done and bytes in all while loading. None: a line on standard error shows it where that is a
        terminal or a notebook and the load takes longer than a second; False: never.
    clock, fs, seed
        Where time, files and chance come from; for tests and simulation.
    background
        False: no thread: `Store.tick` does the periodic job, and a background fsync is done at once by the caller.
    before_load
        Called with the store when it has its settings and nothing else, to serve it from then on: until the data is
        there, commands that need it are answered with -LOADING.
    **settings
        Redis's settings with ``_`` for ``-``: ``appendfsync="always"``, ``auto_aof_rewrite_percentage=50``, ...

    Raises
    ------
    AofLockedError
        Another process or store writes there; says which.
    AofTruncatedError, AofFormatError, AofManifestError
        The files are damaged; they are as they were. Says where, and what to do.
    ConfigError
        A setting that cannot be.

    Examples
    --------
    >>> import aofnb, tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     with aofnb.open(directory, appendfsync="always") as store:
    ...         _ = store.execute("SET", "greeting", "hello")
    ...     with aofnb.open(directory) as store:
    ...         store.execute("GET", "greeting")
    b'hello'
    """
    if config_file is not None:
        if not isinstance(config_file, ConfigFile):
            config_file = ConfigFile(config_file)
        settings = {**config_file.settings, **{name.replace("_", "-"): value for name, value in settings.items()}}
    directory = settings.pop("dir", None)
    if isinstance(path, _Given):
        if directory is None:
            raise ConfigError("no path is given, and no settings file that says dir; give one of them")
        path = str(directory)
    return Store(
        path,
        settings,
        readonly=readonly,
        progress=progress,
        clock=clock or SystemClock(),
        fs=fs or OsFs(),
        seed=seed,
        background=background,
        config_file=config_file,
        before_load=before_load,
    )


_open_stores: weakref.WeakSet[Store] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """A courtesy at the end of the process, not durability: what was promised is on disk before."""
    for store in list(_open_stores):
        # A daemon thread that sits inside `with store.batch()` will never leave it.
        if not store.engine.lock.acquire(timeout=_PATIENCE_AT_EXIT_S):
            print(
                f"aofnb: {store.path}: not closed, since another thread is inside `with store.batch()` or a command; "
                "what it was told is not done is not on disk",
                file=sys.stderr,
            )
            continue
        store.engine.lock.release()
        try:
            store.close()
        except (AofnbError, OSError) as problem:
            print(f"aofnb: {store.path}: {problem}", file=sys.stderr)


def _after_fork_in_child() -> None:
    for store in list(_open_stores):
        # Its lock may be held by a thread that does not exist here, so it is not taken.
        store.engine.gate = store.engine.lock = threading.RLock()
        # Nor are those who wait.
        store.engine.waiting.forget_all()
        store.engine.writer = None
        store._rewriter = store._appendonly = store._files = None
        store._ended = True
        store.engine.close("this store belongs to the parent process; a forked child cannot write to it")
        _open_stores.discard(store)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
