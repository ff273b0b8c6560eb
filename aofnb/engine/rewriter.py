"""A rewrite from the switch of files to the new base, while commands go on.

1. flush and sync the live incr, go on in a new one, publish a manifest that lists it (`AofDirectory.begin_rewrite`);
2. make the base, which holds the data as it was at the switch. Three ways, by what there is:
   a small keyspace is written at once, in the caller, before anything else runs;
   a larger one by a forked child that walks the data where it lies (`aof.snapshot`), where the kernel is compiled;
   else by a fresh process, which replays the files up to the switch and writes what they amount to;
3. publish the base and drop what it replaces (`AofDirectory.publish_base`).

Failure or cancellation anywhere before 3 leaves the old files in force, with one incr more. Form and name of the base
are decided before 1; whoever makes it, what follows is the same.

Where no files say what is in memory (the log is off, or was and is to be on again, or could not be written), the base
is made of memory, in the caller or by a forked child, and what is fed meanwhile is held in aof_buf (`AofWriter.hold`)
until base and incr take the place of everything.

Redis: aof.c rewriteAppendOnlyFileBackground, backgroundRewriteDoneHandler, bgrewriteaofCommand (7.0.15).
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from aofnb.aof import snapshot
from aofnb.aof.directory import AofDirectory
from aofnb.aof.fs import Fs, OsFs
from aofnb.aof.manifest import Suffix
from aofnb.aof.rewrite import Backoff, BaseForm, growth_triggers_rewrite, key_delay, temp_base_name, write_keyspace
from aofnb.aof.snapshot import NotWalkableError, PrivateMemory, SnapshotChild, StoppedError
from aofnb.aof.stats import Phase, RewriteProgress, Way
from aofnb.config import NOTICE
from aofnb.engine.core import Engine
from aofnb.engine.rewrite_process import RewriteProcess, job_of
from aofnb.errors import AofError, AofWriteError, ReplyError

__all__ = ["Rewriter", "under_lock", "used_bytes"]

_log = logging.getLogger("aofnb")

# Up to here the base is written in the caller: a few milliseconds, and far less than a process takes to start.
IN_PLACE_KEYS = 5_000
IN_PLACE_BYTES = 4 << 20

_CANNOT = "ERR Can't execute an AOF background rewriting. Please check the server logs for more information."


class Child(Protocol):
    """Who makes a base beside us."""

    private: PrivateMemory

    def progress(self) -> tuple[int, int]: ...

    def wait(self) -> None: ...

    def kill(self) -> None: ...


class Rewriter:
    """Starts, watches and ends rewrites of one store.

    Attributes
    ----------
    scheduled
        One is to start as soon as the running unit is over.
    rewrites
        How many were begun: the log went on in a new incr.
    last_ok, last_error, last_duration_s, last_cow_bytes
        How the last one ended. One that was cancelled leaves `last_ok` as it was, and says so in `last_error`.
    in_place_keys, may_fork
        Which way is taken; for tests.
    """

    def __init__(self, engine: Engine, directory: AofDirectory, fs: Fs) -> None:
        self.engine = engine
        self.directory = directory
        self.fs = fs
        self.scheduled = False
        self.rewrites = 0
        self.last_ok = True
        self.last_error: str | None = None
        self.last_duration_s: float | None = None
        self.last_cow_bytes = 0
        self.forks = 0
        self.last_fork_s = 0.0
        self.backoff = Backoff()
        self.in_place_keys = IN_PLACE_KEYS
        self.may_fork = True
        # Whether files may be made and replaced where they are: raises AofError. Set by the store.
        self.check_place: Callable[[], None] = lambda: None
        # For a base made from memory, when there are no files that say the same: what must hold before, and how it is
        # put in place. Set by `Appendonly`.
        self.prepare: Callable[[], None] = lambda: None
        self.replace: Callable[[str, Suffix], None] = self._replace_all
        # Around a child that writes such a base: what is fed is held, and no longer where the child came to nothing.
        self.hold: Callable[[], None] = lambda: None
        self.release: Callable[[], None] = lambda: None
        self._holding = False
        # Whether a child of somebody else runs: a rewrite waits for its end. Set by `Saver`.
        self.other_child: Callable[[], bool] = lambda: False
        # Progress: written by one thread, read by any.
        self._phase: Phase = "idle"
        self._way: Way = ""
        self._keys_total = 0
        self._started_s = 0.0
        self._child: Child | None = None
        self._watcher: threading.Thread | None = None
        self._cancelled = False
        # When new files are next tried after a failed fsync, and how long was waited for it.
        self._heal_at_s = 0.0
        self._heal_wait_s = 0.5

    @property
    def running(self) -> bool:
        return self._phase != "idle"

    def progress(self) -> RewriteProgress:
        """Where the running rewrite is."""
        phase, child = self._phase, self._child
        if phase == "idle":
            return RewriteProgress()
        keys_done = base_bytes = bytes_done = bytes_total = 0
        private = PrivateMemory()
        if child is not None:
            keys_done, base_bytes = child.progress()
            private = child.private
        if isinstance(child, RewriteProcess):
            bytes_done, bytes_total = child.loaded
            if phase == "loading" and child.writing:
                phase = "writing"
        return RewriteProgress(
            phase=phase,
            keys_done=min(keys_done, self._keys_total),
            keys_total=self._keys_total,
            bytes_done=bytes_done,
            bytes_total=bytes_total,
            elapsed_s=self.engine.clock.monotonic() - self._started_s,
            way=self._way,
            base_bytes=base_bytes,
            cow_bytes=private.now,
            cow_peak_bytes=private.peak,
            cow_age_s=private.age_s,
        )

    # --- start -------------------------------------------------------------------------------------------

    def start(self, later: bool, *, here: bool = False) -> str:
        """BGREWRITEAOF: start now, or once the running unit is over; the status text.

        With `here`, what is made of memory is made before this returns, however much it is.

        Raises
        ------
        ReplyError
            One is running already, or it cannot be started.
        """
        if self.running:
            raise ReplyError("ERR Background append only file rewriting already in progress")
        if later or (self.other_child() and not here):
            self.scheduled = True
            # Whoever asks does not want to wait for what failed before.
            self.backoff.succeeded()
            self.engine.on_write()
            return "Background append only file rewriting scheduled"
        try:
            self._begin(here=here)
        except (OSError, AofError) as problem:
            raise ReplyError(_CANNOT) from problem
        return "Background append only file rewriting started"

    def tick(self) -> None:
        """Start a rewrite if one was scheduled or the log has grown enough. Under the engine's lock."""
        config = self.engine.config
        writer = self.engine.writer
        if self.running or self.other_child():
            return
        if writer is None:
            # Who turned the log on says when the next try is due.
            if self.scheduled:
                self._begin_unasked()
            return
        if self.engine.refusal is not None:
            # A failed write is retried by every flush. A failed fsync is not: only new files can be trusted.
            if writer.poisoned is not None and config.appendfsync != "always":
                self._try_to_heal()
            return
        wanted = self.scheduled or growth_triggers_rewrite(
            self.directory.current_size,
            self.directory.base_size,
            config.auto_aof_rewrite_percentage,
            config.auto_aof_rewrite_min_size,
        )
        if wanted and self.backoff.allows(self.engine.clock.monotonic()):
            self._begin_unasked()

    def _begin_unasked(self) -> bool:
        try:
            self._begin()
        except (OSError, AofError):
            # Nobody waits for an answer; the log and the stats have it.
            return False
        return True

    def _try_to_heal(self) -> None:
        now_s = self.engine.clock.monotonic()
        if now_s < self._heal_at_s:
            return
        if self._begin_unasked():
            self._heal_wait_s = 0.5
        else:
            self._heal_wait_s = min(60.0, 2 * self._heal_wait_s)
            self._heal_at_s = now_s + self._heal_wait_s

    def _begin(self, *, here: bool = False) -> None:
        """Switch files and have the base made; what goes wrong is noted and raised."""
        self._cancelled = False
        self._keys_total = self.engine.keyspace.key_count()
        self._started_s = self.engine.clock.monotonic()
        self._child = None
        self._way = ""
        self._phase = "switching"
        begun = self.rewrites
        try:
            self._switch_and_make(here)
        except BaseException as problem:
            # Ctrl-C too: the old files are in force, or the new ones, but no rewrite is running.
            self._ended(problem, counts=self.rewrites != begun)
            raise

    def _switch_and_make(self, here: bool) -> None:
        engine, directory = self.engine, self.directory
        if engine.writer is not None:
            self.check_place()
        form = BaseForm.of(engine.config, engine.clock.now_ms(), used_bytes())
        temp = os.path.join(directory.path, temp_base_name(os.getpid()))
        if engine.writer is None or engine.writer.refusal is not None:
            self.rewrites += 1
            self.scheduled = False
            self._from_memory(temp, form, here)
            return
        # Whether it is small is asked first: a switch alone makes it no larger.
        small = self._keys_total <= self.in_place_keys and directory.current_size <= IN_PLACE_BYTES
        sources = directory.begin_rewrite(engine.writer)
        _log.log(NOTICE, "Creating AOF incr file %s on background rewrite", directory.manifest.incrs[-1].name)
        self.rewrites += 1
        self.scheduled = False
        # A delay wants a rewrite that can be watched.
        if (small and not form.key_save_delay) or not self._may_have_child(form):
            self._in_place(temp, form)
        else:
            self._in_background(sources, temp, form)

    def _may_use_processes(self) -> bool:
        # A simulated file system cannot be seen by another process.
        return isinstance(self.fs, OsFs) and sys.platform not in ("emscripten", "wasi")

    def _may_have_child(self, form: BaseForm) -> bool:
        # Where Python is part of another program it may not know its own.
        return self._may_use_processes() and (self._may_fork(form) or bool(sys.executable))

    def can_fork(self, form: BaseForm) -> bool:
        """Whether a forked child can write the keyspace in this form."""
        return self._may_use_processes() and self._may_fork(form)

    def _may_fork(self, form: BaseForm) -> bool:
        return self.may_fork and snapshot.can_write(self.engine.keyspace, form)

    # --- in place ----------------------------------------------------------------------------------------

    def _in_place(self, temp: str, form: BaseForm) -> None:
        self._write_base(temp, form)
        self._publish(temp, form)
        self._sample()

    def _sample(self) -> None:
        """For LATENCY: how long everyone waited for a rewrite in place."""
        self.engine.timing.monitor.sample("rewrite-in-place", self.engine.clock.monotonic() - self._started_s)

    def _write_base(self, temp: str, form: BaseForm) -> None:
        engine = self.engine
        _log.log(NOTICE, "Background append only file rewriting started by pid %d", os.getpid())
        self._way = "in place"
        self._phase = "writing"
        rest = key_delay(form.key_save_delay)
        try:
            write_keyspace(self.fs, temp, engine.keyspace, form, engine.config, each_key=rest)
        except BaseException:
            self._discard(temp)
            raise

    def _from_memory(self, temp: str, form: BaseForm, here: bool) -> None:
        """Make new files of what is in memory: the log is off, or its live incr cannot be trusted or written."""
        self.prepare()
        small = self._keys_total <= self.in_place_keys and not form.key_save_delay
        if here or small or not self.can_fork(form):
            self._from_memory_here(temp, form)
            return
        self._fork(temp, form)
        try:
            # What the child writes is what is in memory now: we are under the lock.
            self.hold()
            self._holding = True
            self._start_watching(self._watch_memory, temp, form)
        except BaseException as problem:
            self._stop_child()
            self._discard(temp)
            self._let_go()
            if not isinstance(problem, RuntimeError):
                raise
            # No more threads: nobody could watch a child.
            self._from_memory_here(temp, form)
        # Writes stay refused until the new files are there.
        self.engine.refresh_refusal()

    def _from_memory_here(self, temp: str, form: BaseForm) -> None:
        self._write_base(temp, form)
        self._replace_by(temp, form)
        self._sample()

    def _replace_by(self, temp: str, form: BaseForm) -> None:
        """Put a base of what was in memory in the place of everything, then write what was held. Under the lock."""
        self._phase = "publishing"
        self.check_place()
        self.replace(temp, form.suffix)
        self._holding = False
        self._ended(None)
        self.engine.refresh_refusal()
        with suppress(AofWriteError):
            # Who was told of it was told that it is not on disk yet; the periodic job tries again.
            self.engine.flush()
        self.engine.on_write()

    def _let_go(self) -> None:
        """What is held is not held any more, since there will be no base. Under the lock."""
        if self._holding:
            self._holding = False
            self.release()
            self.engine.refresh_refusal()

    def _replace_all(self, temp: str, suffix: Suffix) -> None:
        assert self.engine.writer is not None
        self.directory.replace_all(self.engine.writer, temp, suffix)

    # --- by a child --------------------------------------------------------------------------------------

    def _in_background(self, sources: list[str], temp: str, form: BaseForm) -> None:
        process = RewriteProcess(temp, job_of(sources, temp, form, self.engine.config), self.engine.on_child)
        if self._may_fork(form):
            self._fork(temp, form)
        else:
            self._use(process)
        try:
            self._start_watching(self._watch, process, temp, form)
        except RuntimeError:
            # No more threads: nobody could watch a child.
            if self._child is not process:
                self._stop_child()
            self._in_place(temp, form)

    def _start_watching(self, watch: Callable[..., None], *args: object) -> None:
        watcher = threading.Thread(target=watch, args=args, name="aofnb-rewrite", daemon=True)
        watcher.start()
        self._watcher = watcher

    def forked(self, fork: Callable[[], SnapshotChild]) -> SnapshotChild:
        """The child that `fork` makes; counted and timed, as INFO and LATENCY tell of all forks."""
        clock = self.engine.clock
        started_s = clock.monotonic()
        child = fork()
        self.last_fork_s = clock.monotonic() - started_s
        self.forks += 1
        self.engine.timing.monitor.sample("fork", self.last_fork_s)
        self.engine.on_child(child.pid)
        return child

    def _fork(self, temp: str, form: BaseForm) -> None:
        child = self._child = self.forked(lambda: snapshot.fork_snapshot(self.engine.keyspace, temp, form))
        _log.log(NOTICE, "Background append only file rewriting started by pid %d", child.pid)
        self._way = "fork"
        self._phase = "writing"

    def _use(self, process: RewriteProcess) -> None:
        self._way = "process"
        self._phase = "loading"
        self._child = process

    def _stop_child(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            try:
                child.wait()
            except AofError:
                return

    def _watch(self, process: RewriteProcess, temp: str, form: BaseForm) -> None:
        """Thread: wait for the child, then publish what it made; `process` is for what cannot be walked."""
        problem: Exception | None = None
        try:
            assert self._child is not None
            try:
                self._child.wait()
            except NotWalkableError as unknown:
                _log.warning("%s; a fresh process makes the base instead", unknown)
                self._use(process)
                # Whoever cancels either sees the process or is seen here.
                self._stop_if_cancelled()
                process.wait()
            under_lock(self.engine, lambda: self._publish(temp, form), self._stop_if_cancelled)
            return
        except Exception as caught:
            problem = caught
        self._discard(temp)
        self._ended(problem)

    def _watch_memory(self, temp: str, form: BaseForm) -> None:
        """Thread: wait for the child that writes what is in memory, then put new files in the place of everything."""
        assert self._child is not None
        try:
            try:
                self._child.wait()
            except NotWalkableError as unknown:
                _log.warning("%s; the base is made in place instead", unknown)
                under_lock(self.engine, lambda: self._without_child(temp, form), self._stop_if_cancelled)
            else:
                under_lock(self.engine, lambda: self._replace_by(temp, form), self._stop_if_cancelled)
            return
        except Exception as caught:
            problem = caught
        self._discard(temp)
        with suppress(StoppedError):
            # Whoever cancelled has seen to it.
            under_lock(self.engine, self._let_go, self._stop_if_cancelled)
        self._ended(problem)

    def _without_child(self, temp: str, form: BaseForm) -> None:
        # The base is of now: what was held is in it.
        self._let_go()
        self._from_memory_here(temp, form)

    def _stop_if_cancelled(self) -> None:
        if self._cancelled:
            raise StoppedError("the rewrite was cancelled; the old files are in force")

    # --- end ---------------------------------------------------------------------------------------------

    def _publish(self, temp: str, form: BaseForm) -> None:
        self._phase = "publishing"
        self.check_place()
        _log.log(NOTICE, "Background AOF rewrite terminated with success")
        self.directory.publish_base(temp, form.suffix)
        base = self.directory.manifest.base
        _log.log(
            NOTICE,
            "Successfully renamed the temporary AOF base file %s into %s",
            os.path.basename(temp),
            None if base is None else base.name,
        )
        self._ended(None)

    def _ended(self, problem: BaseException | None, *, counts: bool = True) -> None:
        """Note how it ended; `counts` is False where it had not begun."""
        now_s = self.engine.clock.monotonic()
        self.last_duration_s = now_s - self._started_s
        self.last_error = None if problem is None else str(problem) or type(problem).__name__
        if self._child is not None:
            self.last_cow_bytes = self._child.private.peak
        if problem is None:
            self.last_ok = True
            self.backoff.succeeded()
            _log.log(NOTICE, "Background AOF rewrite finished successfully")
        elif isinstance(problem, StoppedError):
            _log.info("%s", self.last_error)
        else:
            self.last_ok = False
            _log.warning("Background AOF rewrite terminated with error: %s", self.last_error)
            self._count_failure(now_s, counts)
        self._phase = "idle"

    def _count_failure(self, now_s: float, counts: bool) -> None:
        if not counts:
            self.backoff.not_begun(now_s)
        elif (minutes := self.backoff.failed(now_s)) is not None:
            failures = self.backoff.failures
            _log.warning("rewrites failed %d times in a row; the next is tried in %d minutes", failures, minutes)

    def _discard(self, temp: str) -> None:
        try:
            self.fs.unlink(temp)
        except OSError:
            # Gone, or the disk is: the next start removes temp files anyway.
            return

    def abandon(self) -> bool:
        """Have a running rewrite end without effect, soon, and forget a scheduled one; False where there is none."""
        found = self.scheduled or self.running
        self.scheduled = False
        self._cancelled = True
        child = self._child
        if child is not None and self.running:
            child.kill()
        if self._holding:
            with self.engine.lock:
                self._let_go()
        return found

    def cancel(self) -> bool:
        """`abandon`, and wait for the end; the old files stay in force.

        From any thread but the one that watches. A base that is being published is waited for.
        """
        found = self.abandon()
        self.wait()
        return found

    def wait_for_end(self) -> None:
        """`wait`, if what runs is being ended: it takes no time."""
        if self._cancelled:
            self.wait()

    def wait(self) -> None:
        """Return when no child is watched any more; not from the thread that watches, nor under the lock."""
        watcher = self._watcher
        if watcher is not None and watcher is not threading.current_thread():
            watcher.join()
            # Meanwhile the next rewrite may have begun.
            if self._watcher is watcher:
                self._watcher = None


def under_lock(engine: Engine, act: Callable[[], None], stop_if_unwanted: Callable[[], None]) -> None:
    """`act` under the engine's lock, unless `stop_if_unwanted` raises before."""
    # Whoever wants it no more may wait for this thread, and hold the lock.
    while not engine.lock.acquire(timeout=0.05):
        stop_if_unwanted()
    try:
        stop_if_unwanted()
        act()
    finally:
        engine.lock.release()


def used_bytes() -> int:
    """The memory of this process, which a base mentions; 0 where it is not known."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0
