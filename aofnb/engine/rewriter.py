"""A rewrite from the switch of files to the new base, while commands go on.

1. flush and sync the live incr, go on in a new one, publish a manifest that lists it (`AofDirectory.begin_rewrite`);
2. make the base, which holds the data as it was at the switch:
   a small keyspace is written at once, in the caller, before anything else runs;
   a larger one by a fresh process, which replays the files up to the switch and writes what they amount to.
   So nothing of the live data is read while it changes, and no process with threads is forked;
3. publish the base and drop what it replaces (`AofDirectory.publish_base`).

Failure or cancellation anywhere before 3 leaves the old files in force, with one incr more.

Redis: aof.c rewriteAppendOnlyFileBackground, backgroundRewriteDoneHandler (7.0.15), which forks instead.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path

from aofnb.aof.directory import AofDirectory
from aofnb.aof.fs import Fs, OsFs
from aofnb.aof.rewrite import Backoff, BaseForm, growth_triggers_rewrite, temp_base_name, write_keyspace
from aofnb.aof.stats import Phase, RewriteProgress
from aofnb.engine.core import Engine
from aofnb.errors import AofError, ReplyError

__all__ = ["Rewriter"]

# Up to here the base is written in the caller: a few milliseconds, and far less than a process takes to start.
IN_PLACE_KEYS = 5_000
IN_PLACE_BYTES = 4 << 20

_CANNOT = "ERR Can't execute an AOF background rewriting. Please check the server logs for more information."


class Rewriter:
    """Starts, watches and ends rewrites of one store."""

    def __init__(self, engine: Engine, directory: AofDirectory, fs: Fs) -> None:
        self.engine = engine
        self.directory = directory
        self.fs = fs
        self.scheduled = False
        self.rewrites = 0
        self.last_ok = True
        self.last_error: str | None = None
        self.last_duration_s: float | None = None
        self.backoff = Backoff()
        self.in_place_keys = IN_PLACE_KEYS
        # Progress: written by one thread, read by any; each is replaced as a whole.
        self._phase: Phase = "idle"
        self._keys = (0, 0)
        self._bytes = (0, 0)
        self._started_s = 0.0
        # What the base is to be: as the settings were when the rewrite began.
        self._form = BaseForm("aof")
        self._child: subprocess.Popen[bytes] | None = None
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
        phase = self._phase
        if phase == "idle":
            return RewriteProgress()
        (keys_done, keys_total), (bytes_done, bytes_total) = self._keys, self._bytes
        elapsed_s = self.engine.clock.monotonic() - self._started_s
        return RewriteProgress(phase, keys_done, keys_total, bytes_done, bytes_total, elapsed_s)

    # --- start -------------------------------------------------------------------------------------------

    def start(self, later: bool) -> str:
        """BGREWRITEAOF: start now, or once the running unit is over; the status text.

        Raises
        ------
        ReplyError
            One is running already, or it cannot be started.
        """
        if self.running:
            raise ReplyError("ERR Background append only file rewriting already in progress")
        if later:
            self.scheduled = True
            self.engine.on_write()
            return "Background append only file rewriting scheduled"
        try:
            self._begin()
        except (OSError, AofError) as problem:
            self._ended(problem)
            raise ReplyError(_CANNOT) from problem
        except BaseException as problem:
            # Ctrl-C: the old files are in force, or the new ones, but no rewrite is running.
            self._ended(problem)
            raise
        return "Background append only file rewriting started"

    def tick(self) -> None:
        """Start a rewrite if one was scheduled or the log has grown enough. Under the engine's lock."""
        config = self.engine.config
        writer = self.engine.writer
        if self.running or writer is None:
            return
        if self.engine.refusal is not None:
            # A failed write is retried by every flush. A failed fsync is not: only new files can be trusted.
            if writer.poisoned is not None and config.appendfsync != "always":
                self._try_to_heal()
            return
        grown = growth_triggers_rewrite(
            self.directory.current_size,
            self.directory.base_size,
            config.auto_aof_rewrite_percentage,
            config.auto_aof_rewrite_min_size,
        )
        if self.scheduled or (grown and self.backoff.allows(self.engine.clock.monotonic())):
            try:
                self._begin()
            except (OSError, AofError) as problem:
                self._ended(problem)

    def _try_to_heal(self) -> None:
        now_s = self.engine.clock.monotonic()
        if now_s < self._heal_at_s:
            return
        try:
            self._begin()
        except (OSError, AofError) as problem:
            self._ended(problem)
            self._heal_wait_s = min(60.0, 2 * self._heal_wait_s)
            self._heal_at_s = now_s + self._heal_wait_s
        else:
            self._heal_wait_s = 0.5

    def _begin(self) -> None:
        engine = self.engine
        assert engine.writer is not None
        self.scheduled = False
        self._cancelled = False
        self.rewrites += 1
        self._keys = (0, engine.keyspace.key_count())
        self._bytes = (0, 0)
        self._started_s = engine.clock.monotonic()
        self._phase = "switching"
        temp = os.path.join(self.directory.path, temp_base_name(os.getpid()))
        self._form = BaseForm.of(engine.config, engine.clock.now_ms())
        if engine.writer.refusal is not None:
            self._heal(temp)
            return
        sources = self.directory.begin_rewrite(engine.writer)
        # A simulated file system cannot be seen by another process.
        small = engine.keyspace.key_count() <= self.in_place_keys and self.directory.current_size <= IN_PLACE_BYTES
        if small or not isinstance(self.fs, OsFs):
            self._in_place(temp)
        else:
            self._watcher = threading.Thread(
                target=self._in_child, args=(sources, temp), name="aofnb-rewrite", daemon=True
            )
            self._watcher.start()

    # --- make the base -----------------------------------------------------------------------------------

    def _in_place(self, temp: str) -> None:
        self._write_base(temp)
        self._publish(temp)

    def _write_base(self, temp: str) -> None:
        engine = self.engine
        self._phase = "writing"
        try:
            write_keyspace(self.fs, temp, engine.keyspace, self._form, engine.config)
        except BaseException:
            self._discard(temp)
            raise

    def _heal(self, temp: str) -> None:
        """Make new files of what is in memory: the live incr can no longer be trusted, or cannot be written."""
        self._write_base(temp)
        assert self.engine.writer is not None
        self._phase = "publishing"
        self.directory.replace_all(self.engine.writer, temp, self._form.suffix)
        self._ended(None)
        self.engine.refresh_refusal()

    def _in_child(self, sources: list[str], temp: str) -> None:
        """Thread: have another process write `temp` from `sources`, then publish it."""
        problem: Exception | None = None
        try:
            self._phase = "loading"
            self._run_child(sources, temp)
            with self.engine.lock:
                if self._cancelled:
                    raise AofError("the rewrite was cancelled; the old files are in force")
                self._publish(temp)
            return
        except Exception as caught:
            problem = caught
        self._discard(temp)
        self._ended(problem)

    def _run_child(self, sources: list[str], temp: str) -> None:
        job = {
            "sources": sources,
            "temp": temp,
            "form": asdict(self._form),
            "databases": len(self.engine.keyspace),
        }
        package_root = str(Path(__file__).resolve().parents[2])
        paths = [package_root, *filter(None, [os.environ.get("PYTHONPATH")])]
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "aofnb.engine.rewrite_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,
        )
        self._child = child
        if self._cancelled:
            child.kill()
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        with child:
            child.stdin.write(json.dumps(job).encode())
            child.stdin.close()
            for line in child.stdout:
                self._child_says(json.loads(line))
            errors = child.stderr.read().decode(errors="replace").strip()
        self._child = None
        if child.returncode != 0:
            last = errors.splitlines()[-1] if errors else f"exit status {child.returncode}"
            raise AofError(f"the rewriting process failed ({last}); the old files are in force", file=temp)

    def _child_says(self, report: dict[str, int]) -> None:
        if "bytes_total" in report:
            self._bytes = (report["bytes_done"], report["bytes_total"])
        if "keys_total" in report:
            self._phase = "writing"
            self._keys = (report["keys_done"], report["keys_total"])

    # --- end ---------------------------------------------------------------------------------------------

    def _publish(self, temp: str) -> None:
        self._phase = "publishing"
        self.directory.publish_base(temp, self._form.suffix)
        self._ended(None)

    def _ended(self, problem: BaseException | None) -> None:
        now_s = self.engine.clock.monotonic()
        self.last_ok = problem is None
        self.last_error = None if problem is None else str(problem)
        self.last_duration_s = now_s - self._started_s
        if problem is None:
            self.backoff.succeeded()
        elif not self._cancelled:
            self.backoff.failed(now_s)
        self._phase = "idle"

    def _discard(self, temp: str) -> None:
        try:
            self.fs.unlink(temp)
        except OSError:
            # Gone, or the disk is: the next start removes temp files anyway.
            return

    def cancel(self) -> None:
        """End a running rewrite; the old files stay in force. Not under the engine's lock."""
        self._cancelled = True
        child, watcher = self._child, self._watcher
        if child is not None:
            child.kill()
        if watcher is not None and watcher is not threading.current_thread():
            watcher.join()
            self._watcher = None
