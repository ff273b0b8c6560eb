"""From the counters of a log to what a picture of it shows. No widget, no HTML, no thread.

`Recorder` is given one `AofStats` after another and keeps what a single record cannot know: the last minute and
what happened. Each `View` it gives is complete in itself, so that one that never reaches the screen does no harm.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from aofnb.aof.stats import AofStats

__all__ = ["AutoRewrite", "Event", "Health", "Minute", "Recorder", "Series", "Stage", "View", "events_between"]

MINUTE_S = 60
EVENTS = 4
# An fsync that is due every second may take another one before anybody should worry (redis-server waits two).
LATE_S = 2.0

State = Literal["live", "stopped", "closed", "failed"]
Health = Literal["off", "error", "late", "risk", "safe"]
# (age in seconds, value), oldest first.
Series = tuple[tuple[int, float], ...]


class Minute:
    """The highest value in each of the last 60 seconds.

    Seconds without a sample are absent, not zero: the sampler may have been held up.
    """

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, float]] = deque()

    def add(self, now_s: float, value: float) -> None:
        second = int(now_s)
        if self._seconds and self._seconds[-1][0] == second:
            value = max(value, self._seconds.pop()[1])
        self._seconds.append((second, value))
        while self._seconds[0][0] <= second - MINUTE_S:
            self._seconds.popleft()

    def series(self) -> Series:
        """What is kept, as ages counted from the newest sample."""
        newest = self._seconds[-1][0] if self._seconds else 0
        return tuple((newest - second, value) for second, value in self._seconds)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, and when (milliseconds since the epoch)."""

    at_ms: int
    text: str


@dataclass(frozen=True, slots=True)
class Stage:
    """One of the three places where a command's bytes can be. `nbytes` and `commands` are what is there now."""

    title: str
    meaning: str
    nbytes: int
    commands: int


@dataclass(frozen=True, slots=True)
class AutoRewrite:
    """When the log is rewritten on its own: the settings auto-aof-rewrite-percentage and -min-size."""

    percentage: int
    min_size: int

    def due_size(self, base_size: int) -> int | None:
        """Size in bytes at which a log that had `base_size` after its last rewrite is rewritten; None for never.

        Redis: server.c serverCron.

        >>> AutoRewrite(100, 64 << 20).due_size(40 << 20) == 80 << 20
        True
        >>> AutoRewrite(0, 64 << 20).due_size(40 << 20) is None
        True
        """
        if self.percentage <= 0:
            return None
        base = base_size or 1
        grown = -(-base * (100 + self.percentage) // 100)
        return max(grown, self.min_size + 1)


@dataclass(frozen=True, slots=True)
class View:
    """Everything that one picture shows."""

    name: str
    stats: AofStats
    state: State = "live"
    problem: str | None = None
    """Why the dashboard ended, if `state` is ``failed``."""
    auto_rewrite: AutoRewrite | None = None
    events: tuple[Event, ...] = ()
    """The last few, newest first."""
    buffered: Series = ()
    """Peaks of aof_buf in the last minute, bytes."""
    at_risk: Series = ()
    """Bytes at risk in the last minute."""
    lag: Series = ()
    """fsync lag in the last minute, seconds."""
    rate: Series = ()
    """Commands logged a second in the last minute."""
    rate_now: float = 0.0
    """Commands logged a second since the view before."""
    mix: tuple[tuple[str, float], ...] = ()
    """The commonest commands of the last minute with their share, then ``others``."""
    remark: str | None = None
    """What is special about where the numbers come from."""

    @property
    def at_risk_commands(self) -> int:
        return self.stats.aof_buf_commands + self.stats.unsynced_commands

    @property
    def health(self) -> Health:
        """The one word that decides the colour; the texts say the same without colour."""
        stats = self.stats
        if not stats.aof_enabled:
            return "off"
        if stats.write_error is not None:
            return "error"
        if not stats.at_risk_bytes:
            return "safe"
        if stats.appendfsync != "no" and stats.fsync_lag_s > LATE_S:
            return "late"
        return "risk"

    @property
    def stages(self) -> tuple[Stage, Stage, Stage]:
        """aof_buf, then written, then synced, as bytes move."""
        stats = self.stats
        return (
            Stage("aof_buf", "lost with the kernel", stats.aof_buf_bytes, stats.aof_buf_commands),
            Stage("written, not synced", "lost with the power", stats.unsynced_bytes, stats.unsynced_commands),
            Stage("synced", "on the device", stats.synced_bytes, stats.synced_commands),
        )

    @property
    def rewrite_fraction(self) -> float:
        """How much of the running rewrite is done, 0 to 1."""
        return min(1.0, max(0.0, self.stats.rewrite.fraction))

    @property
    def rewrite_due_size(self) -> int | None:
        """Size at which the next rewrite begins by itself; None if it does not, or if that is not known."""
        return None if self.auto_rewrite is None else self.auto_rewrite.due_size(self.stats.base_size)


def events_between(before: AofStats, after: AofStats) -> list[str]:
    """What happened between two records, in words, oldest first."""
    events = []
    if before.appendfsync != after.appendfsync:
        events.append(f"appendfsync: {before.appendfsync} to {after.appendfsync}")
    if before.aof_enabled != after.aof_enabled:
        events.append("the log was turned on" if after.aof_enabled else "the log was turned off")
    if before.write_error != after.write_error:
        events.append(after.write_error or "writing works again")
    if after.delayed_fsync > before.delayed_fsync:
        events.append(f"a write waited behind a slow fsync ({after.delayed_fsync:,} so far)")
    was_running, runs = before.rewrite.phase != "idle", after.rewrite.phase != "idle"
    # A small one begins and ends between two samples.
    unseen = not was_running and before.last_rewrite_duration_s != after.last_rewrite_duration_s
    if not runs and (was_running or unseen):
        events.append(_rewrite_ended(after))
    if runs and not was_running:
        events.append("rewrite started")
    return events


def _rewrite_ended(after: AofStats) -> str:
    if not after.last_rewrite_ok:
        return "rewrite failed; the old files are still in use"
    if after.last_rewrite_error is not None:
        return "rewrite cancelled; the old files are still in use"
    took = "" if after.last_rewrite_duration_s is None else f" in {after.last_rewrite_duration_s:.2f} s"
    return f"rewrite done{took}"


@dataclass
class Recorder:
    """Makes a `View` of each `AofStats` it is given.

    Parameters
    ----------
    name
        What the picture is called.
    """

    name: str
    _last: AofStats | None = None
    _last_s: float = 0.0
    _events: deque[Event] = field(default_factory=lambda: deque(maxlen=EVENTS))
    _buffered: Minute = field(default_factory=Minute)
    _at_risk: Minute = field(default_factory=Minute)
    _lag: Minute = field(default_factory=Minute)
    _rate: Minute = field(default_factory=Minute)

    def note(self, now_ms: int, text: str) -> None:
        """Remember an event that the counters do not show."""
        self._events.appendleft(Event(now_ms, text))

    def add(self, stats: AofStats, now_s: float, now_ms: int, auto_rewrite: AutoRewrite | None = None) -> View:
        """Take up `stats`, read at `now_s` (monotonic) and `now_ms` (wall time)."""
        rate = 0.0
        if self._last is not None:
            for text in events_between(self._last, stats):
                self.note(now_ms, text)
            passed_s = now_s - self._last_s
            if passed_s > 0 and stats.synced_commands >= 0:
                # The counter starts again when a log is opened anew.
                rate = max(0, _logged(stats) - _logged(self._last)) / passed_s
                self._rate.add(now_s, rate)
        self._last, self._last_s = stats, now_s
        self._buffered.add(now_s, max(stats.aof_buf_bytes, stats.aof_buf_peak_bytes))
        self._at_risk.add(now_s, stats.at_risk_bytes)
        self._lag.add(now_s, stats.fsync_lag_s)
        return View(
            name=self.name,
            stats=stats,
            auto_rewrite=auto_rewrite,
            events=tuple(self._events),
            buffered=self._buffered.series(),
            at_risk=self._at_risk.series(),
            lag=self._lag.series(),
            rate=self._rate.series(),
            rate_now=rate,
        )


def _logged(stats: AofStats) -> int:
    return stats.aof_buf_commands + stats.unsynced_commands + stats.synced_commands
