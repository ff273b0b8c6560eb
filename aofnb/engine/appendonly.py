"""Turning the log off and on while the store is open, and changing its policy.

1. off: write and sync what there is, stop; the files stay as they are, and grow old;
2. on: a base of what is in memory and a new incr take the place of whatever was there, in one step. Until that step
   the log counts as *waiting*: nothing is written, and nothing said to be. Where it cannot be begun at once (inside
   EXEC, behind a rewrite that is being ended), or fails afterwards, the periodic job begins it anew.

A small base is written by the caller, who is answered when all data is on disk. A large one is written by a forked
child, where there can be one: then the answer comes when it has begun, as from redis-server. What is changed meanwhile
stays in aof_buf until the base is durable; a crash before brings back the old log, and `Store.close` waits for it.

Redis: aof.c startAppendOnly, stopAppendOnly; config.c updateAppendonly, updateAofAutoGCEnabled (7.0.15).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal

from aofnb.aof.bio import Bio
from aofnb.aof.directory import AofDirectory
from aofnb.aof.manifest import Suffix
from aofnb.aof.writer import AofWriter
from aofnb.engine.core import Engine
from aofnb.engine.rewriter import Rewriter
from aofnb.errors import AofWriteError, ConfigError, ReplyError

__all__ = ["Appendonly"]

_log = logging.getLogger("aofnb")

# While the log waits for its first base, another try comes so much later.
RETRY_S = 1.0


class Appendonly:
    """Whether a store with a directory logs, and what must happen when that changes.

    Parameters
    ----------
    prepare
        Makes the directory, and makes sure that nobody else writes there; raises AofError.
    """

    def __init__(
        self, engine: Engine, directory: AofDirectory, rewriter: Rewriter, bio: Bio, prepare: Callable[[], None]
    ) -> None:
        self.engine = engine
        self.directory = directory
        self.rewriter = rewriter
        self.bio = bio
        self.state: Literal["off", "waiting", "on"] = "off"
        self.flush_sleep_s = 0.0
        self._prepare = prepare
        self._retry_at_s = 0.0
        # The engine's writer while the log is waiting and a child writes its base.
        self._held: AofWriter | None = None
        # Whether the base that is being made was begun to turn the log on.
        self._turning_on = False
        # Called when new files hold everything and are on the device.
        self.on_replaced: Callable[[], None] = lambda: None
        directory.sample = engine.timing.monitor.sample
        rewriter.prepare = self._prepare_anew
        rewriter.replace = self._replace
        rewriter.hold, rewriter.release = self._hold, self._release
        engine.start_rewrite = rewriter.start
        changes = engine.settings.on_change
        changes["appendonly"] = self._switched
        changes["appendfsync"] = self._policy_changed
        changes["aof-disable-auto-gc"] = self._gc_changed

    def started(self, writer: AofWriter) -> None:
        """The log is on, with `writer`."""
        writer.rewriting = lambda: self.rewriter.running
        writer.sample = self.engine.timing.monitor.sample
        self.engine.writer = writer
        self.state = "on"
        self.watch()

    def watch(self) -> None:
        """Have writes measured, and slowed down, as the settings say."""
        writer = self.engine.writer
        if writer is not None:
            writer.watch(self.engine.config.latency_monitor_threshold > 0, self.flush_sleep_s)

    # --- off and on --------------------------------------------------------------------------------------

    def _switched(self) -> None:
        if self.engine.config.appendonly:
            self._turn_on()
        else:
            self._turn_off()

    def _turn_on(self) -> None:
        if self.state != "off":
            return
        engine = self.engine
        self.state = "waiting"
        # A base that was begun while the log was off lacks what came since, and nobody keeps that for the incr.
        ending = self.rewriter.running and self.rewriter.abandon()
        # What runs now in EXEC has begun before: the base must hold all of it.
        if engine.in_exec or ending:
            self.rewriter.scheduled = True
            engine.afterwards.append(self._begin)
            engine.on_write()
            return
        try:
            self.rewriter.start(False)
        except BaseException as problem:
            if self.state == "waiting":
                self.state = "off"
            if not isinstance(problem, ReplyError):
                raise
            _log.warning("the log cannot be turned on: %s", self.rewriter.last_error)
            raise ConfigError("Unable to turn on AOF. Check server logs.") from problem

    def _turn_off(self) -> None:
        self.state = "off"
        self.rewriter.abandon()
        writer = self.engine.writer
        if writer is None:
            return
        try:
            writer.close()
        except AofWriteError as problem:
            _log.warning(
                "the log was turned off, and does not hold everything that was acknowledged: %s "
                "(%d bytes not written, %d not synced)",
                problem,
                len(writer.aof_buf),
                writer.written_bytes - writer.fsynced_bytes,
            )
        self.engine.writer = None
        self.directory.stop_writer()
        self.engine.refresh_refusal()

    def _prepare_anew(self) -> None:
        self._turning_on = self.state == "waiting"
        if self.engine.writer is None:
            self._prepare()
            self.directory.prepare_anew()

    def _replace(self, temp: str, suffix: Suffix) -> None:
        """Put a base that was made from memory in its place."""
        writer = self.engine.writer
        if self.state == "waiting" and self._turning_on:
            self.started(self.directory.start_anew(temp, suffix, self.engine.clock, self.bio, self._held))
            self._held = None
        elif writer is not None:
            self.directory.replace_all(writer, temp, suffix)
        else:
            self.directory.publish_alone(temp, suffix, self.bio)
        self.on_replaced()

    def _hold(self) -> None:
        """A child is about to write the base: from here on changes are for the incr behind it."""
        writer = self.engine.writer
        if writer is not None:
            writer.hold()
        elif self.state == "waiting":
            self._held = self.engine.writer = self.directory.hold_anew(self.engine.clock, self.bio)

    def _release(self) -> None:
        """The child came to nothing. Where the log is waiting still, the next base will hold everything."""
        held, self._held = self._held, None
        writer = self.engine.writer
        if held is not None:
            self.engine.writer = None
            self.directory.drop_held(held)
        elif writer is not None:
            writer.release()

    def start_over(self) -> None:
        """A turn was torn while the base was made: memory is what counts, and a new base must hold it."""
        self.rewriter.abandon()
        self._retry_at_s = 0.0
        self.engine.on_write()

    def finish(self) -> None:
        """Before the store is closed: a log that was turned on is made, and what is in memory is in it.

        Raises
        ------
        AofWriteError
            It cannot be made.
        """
        self.rewriter.wait()
        with self.engine.lock:
            if self.state == "waiting":
                try:
                    self.rewriter.start(False, here=True)
                except ReplyError as problem:
                    raise AofWriteError(
                        f"the log that was turned on could not be made ({self.rewriter.last_error}), so what was "
                        "changed since it was off is on no disk",
                        file=self.directory.path,
                    ) from problem

    def log_is_stale(self) -> None:
        """Memory was replaced by something that the log does not say: make the log anew."""
        if self.engine.writer is None:
            return
        self._turn_off()
        try:
            self._turn_on()
        except ConfigError:
            # What follows is in memory only, as INFO shows by a rewrite that failed, until the periodic job succeeds.
            self.state = "waiting"
            self.engine.on_write()

    def _begin(self) -> None:
        """The turn that turned the log on is over: what it changed is to be on disk before its caller goes on."""
        self.rewriter.wait_for_end()
        with self.engine.lock:
            if self.engine.closed is None:
                self.tick()

    def tick(self) -> float | None:
        """What is due, under the engine's lock; in how many seconds there may be more, or None."""
        if self.state == "waiting" and not self.rewriter.running:
            wait_s = self._retry_at_s - self.engine.clock.monotonic()
            if wait_s > 0:
                return wait_s
            self._retry_at_s = self.engine.clock.monotonic() + RETRY_S
            self.rewriter.scheduled = True
        self.rewriter.tick()
        if self.state == "waiting":
            if not self.rewriter.running and not self.rewriter.last_ok:
                _log.warning("the log that was turned on could not be made: %s", self.rewriter.last_error)
            return RETRY_S
        self._retry_at_s = 0.0
        return None

    # --- other settings ----------------------------------------------------------------------------------

    def _policy_changed(self) -> None:
        """Have what is not synced synced as the new policy says, before anyone is told of it."""
        writer = self.engine.writer
        if writer is None:
            return
        always = self.engine.config.appendfsync == "always"
        if writer.refusal is not None:
            if always:
                raise ConfigError(f"the log cannot be written now ({writer.refusal.strerror}); mend that first")
            return
        try:
            if always:
                writer.sync()
            else:
                writer.flush()
        except AofWriteError as problem:
            self.engine.refresh_refusal()
            raise ConfigError(str(problem)) from problem
        self.engine.on_write()

    def _gc_changed(self) -> None:
        if not self.engine.config.aof_disable_auto_gc and self.state == "on":
            self.directory.collect_history()

    def reset_stats(self) -> None:
        """What CONFIG RESETSTAT sets to zero."""
        self.rewriter.rewrites = self.rewriter.forks = 0
        self.rewriter.last_fork_s = 0.0
        self.rewriter.backoff.succeeded()
