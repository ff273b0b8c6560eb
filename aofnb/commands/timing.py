"""What was slow: samples of events, the slow log, and how long commands take.

Rules of this file: nothing here is asked on the way of a quick command unless a setting wants it: what the sessions
keep at hand is timed by a wrapper, or not at all. The monitor keeps milliseconds and the slow log microseconds, as
their replies give them.

Redis: latency.c, slowlog.c (7.0.15).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from aofnb.clock import Clock
from aofnb.commands.client import Client
from aofnb.commands.registry import Command
from aofnb.commands.sparkline import sparkline
from aofnb.config import Config
from aofnb.errors import ReplyError

__all__ = ["CommandStats", "LatencyMonitor", "SlowLog", "SlowLogEntry", "Timing"]

# Samples kept of each event, as many as the server keeps.
HISTORY = 160
_GRAPH_COLUMNS, _GRAPH_ROWS = 80, 4
# What the slow log keeps of a long command.
_MAX_ARGS, _MAX_ARG_BYTES = 32, 128


class LatencyMonitor:
    """The last 160 samples of each event that took at least ``latency-monitor-threshold`` milliseconds."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self.config = config
        self.clock = clock
        # Event -> (second, milliseconds), oldest first; and the highest ever.
        self._samples: dict[str, deque[tuple[int, int]]] = {}
        self._max_ms: dict[str, int] = {}

    def sample(self, event: str, seconds: float) -> None:
        """Note that `event` took `seconds`, if that is worth a note."""
        threshold_ms = self.config.latency_monitor_threshold
        took_ms = int(seconds * 1000)
        if not threshold_ms or took_ms < threshold_ms:
            return
        now_s = self.clock.now_ms() // 1000
        samples = self._samples.setdefault(event, deque(maxlen=HISTORY))
        self._max_ms[event] = max(took_ms, self._max_ms.get(event, 0))
        if samples and samples[-1][0] == now_s:
            # One a second: the highest.
            took_ms = max(took_ms, samples.pop()[1])
        samples.append((now_s, took_ms))

    def latest(self) -> list[tuple[str, int, int, int]]:
        """Per event: its name, the second and the milliseconds of the latest sample, and the highest ever."""
        return [(event, *samples[-1], self._max_ms[event]) for event, samples in self._samples.items()]

    def history(self, event: str) -> list[tuple[int, int]]:
        """The samples of `event`, oldest first."""
        return list(self._samples.get(event, ()))

    def reset(self, events: Iterable[str] = ()) -> int:
        """Forget `events`, or all; how many there were."""
        wanted = list(events) or list(self._samples)
        known = [event for event in wanted if self._samples.pop(event, None) is not None]
        for event in known:
            del self._max_ms[event]
        return len(known)

    def graph(self, event: str) -> str | None:
        """The samples of `event` drawn in characters; None if there are none."""
        samples = self.history(event)
        if not samples:
            return None
        times = [took_ms for _, took_ms in samples]
        now_s = self.clock.now_ms() // 1000
        head = f"{event} - high {max(times)} ms, low {min(times)} ms (all time high {self._max_ms[event]} ms)"
        labels = [_age(now_s - second) for second, _ in samples]
        picture = sparkline(times, labels, columns=_GRAPH_COLUMNS, rows=_GRAPH_ROWS)
        return f"{head}\n{'-' * _GRAPH_COLUMNS}\n{picture}"

    def doctor(self) -> str:
        """A report in words on what was slow, and what may help here."""
        if not self.config.latency_monitor_threshold:
            return (
                "I'm sorry, Dave, I can't do that. Latency monitoring is disabled in this Redis instance. "
                'You may use "CONFIG SET latency-monitor-threshold <milliseconds>." in order to enable it. '
                "If we weren't in a deep space mission I'd suggest to take a look at "
                "https://redis.io/topics/latency-monitor.\n"
            )
        if not self._samples:
            return (
                "Dave, no latency spike was observed during the lifetime of this Redis instance, "
                "not in the slightest bit. I honestly think you ought to sit down calmly, take a stress pill, "
                "and think things over.\n"
            )
        lines = [
            "Dave, I have observed latency spikes in this Redis instance. "
            "You don't mind talking about it, do you Dave?\n"
        ]
        for number, event in enumerate(self._samples, 1):
            lines.append(f"{number}. {event}: {self._about(event)}")
        advices = [advice for events, advice in _ADVICE if not events.isdisjoint(self._samples)]
        if advices:
            lines.append("\nI have a few advices for you:\n")
            lines += [f"- {advice}" for advice in advices]
        return "\n".join(lines) + "\n"

    def _about(self, event: str) -> str:
        samples = self.history(event)
        times = [took_ms for _, took_ms in samples]
        average = sum(times) // len(times)
        deviation = sum(abs(took_ms - average) for took_ms in times) // len(times)
        period_s = max(1, self.clock.now_ms() // 1000 - samples[0][0]) / len(samples)
        return (
            f"{len(samples)} latency spikes (average {average}ms, mean deviation {deviation}ms, "
            f"period {period_s:.2f} sec). Worst all time event {self._max_ms[event]}ms."
        )


_AOF = {"aof-write", "aof-write-pending-fsync", "aof-write-active-child", "aof-write-alone", "aof-fsync-always"}
# Which events call for which advice.
_ADVICE: tuple[tuple[set[str], str], ...] = (
    (
        {"command"},
        "Check your Slow Log to understand what are the commands you are running which are too slow to execute: "
        "SLOWLOG GET; 'CONFIG SET slowlog-log-slower-than 1000' has it keep more of them.",
    ),
    (
        {"aof-fsync-always"},
        "With appendfsync always every turn waits for the device. Send commands together (a pipeline, a cell, "
        "`with store.batch():`), or use everysec if a second may be lost with the power.",
    ),
    (
        _AOF,
        "The disk is slow, or busy with something else. "
        "Put the store on a local disk of its own; a network mount waits at every fsync.",
    ),
    (
        {"aof-write-active-child", "rewrite-in-place", "rdb-save"},
        "A rewrite or a snapshot was being written at the time; "
        "a higher auto-aof-rewrite-percentage makes rewrites fewer.",
    ),
    (
        {"expire-cycle", "expire-del"},
        "Deleting large objects, or many at once, is a blocking operation: spread their deadlines.",
    ),
)


def _age(seconds: int) -> str:
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m"
    if seconds < 86400:
        return f"{seconds // 3600}h"
    return f"{seconds // 86400}d"


@dataclass(frozen=True, slots=True)
class SlowLogEntry:
    """One slow command: when it was run, what it took, and its arguments, shortened."""

    id: int
    time_s: int
    microseconds: int
    argv: tuple[bytes, ...]


class SlowLog:
    """The last ``slowlog-max-len`` commands that took at least ``slowlog-log-slower-than`` microseconds."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self.config = config
        self.clock = clock
        self._entries: deque[SlowLogEntry] = deque()
        self._next_id = 0

    def add(self, argv: Sequence[bytes], microseconds: int) -> None:
        """Keep a command that was found slow."""
        entry = SlowLogEntry(self._next_id, self.clock.now_ms() // 1000, microseconds, tuple(_shortened(argv)))
        self._next_id += 1
        self._entries.appendleft(entry)
        self.trim()

    def trim(self) -> None:
        """Drop the oldest entries beyond ``slowlog-max-len``."""
        while len(self._entries) > self.config.slowlog_max_len:
            self._entries.pop()

    def get(self, count: int) -> list[SlowLogEntry]:
        """The latest `count` entries, latest first; all for -1."""
        return list(self._entries)[: None if count < 0 else count]

    def __len__(self) -> int:
        return len(self._entries)

    def reset(self) -> None:
        """Forget all entries; their numbers are not used again."""
        self._entries.clear()


def _shortened(argv: Sequence[bytes]) -> list[bytes]:
    kept = argv if len(argv) <= _MAX_ARGS else argv[: _MAX_ARGS - 1]
    shown = [
        bytes(arg)
        if len(arg) <= _MAX_ARG_BYTES
        else bytes(arg[:_MAX_ARG_BYTES]) + b"... (%d more bytes)" % (len(arg) - _MAX_ARG_BYTES)
        for arg in kept
    ]
    if len(kept) < len(argv):
        shown.append(b"... (%d more arguments)" % (len(argv) - len(kept)))
    return shown


@dataclass(slots=True)
class CommandStats:
    """How often one command ran, and what it took: what INFO commandstats and LATENCY HISTOGRAM tell."""

    calls: int = 0
    microseconds: int = 0
    failed: int = 0
    # Power of two that the time in microseconds does not exceed -> number of calls.
    buckets: dict[int, int] = field(default_factory=dict)

    def add(self, microseconds: int, failed: bool) -> None:
        """Count one call."""
        self.calls += 1
        self.microseconds += microseconds
        self.failed += failed
        bucket = 1 << (microseconds - 1).bit_length() if microseconds > 1 else 1
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1

    def cumulative(self) -> dict[int, int]:
        """How many calls took at most so many microseconds."""
        total = 0
        found = {}
        for bucket in sorted(self.buckets):
            total += self.buckets[bucket]
            found[bucket] = total
        return found

    def percentile(self, percent: float) -> int:
        """Microseconds that `percent` of the calls did not exceed, rounded up to a power of two."""
        wanted = self.calls * percent / 100
        return next((bucket for bucket, calls in self.cumulative().items() if calls >= wanted), 0)


class Timing:
    """Decides which commands are timed, and where what they took is noted.

    With ``latency-monitor-threshold 0``, ``latency-tracking no`` and a ``slowlog-log-slower-than`` of a millisecond and
    more, which is the default, commands whose cost is bounded are not timed: none of them takes so long.
    """

    def __init__(self, config: Config, clock: Clock) -> None:
        self.config = config
        self.clock = clock
        self.monitor = LatencyMonitor(config, clock)
        self.slow_log = SlowLog(config, clock)
        self.commands: dict[str, CommandStats] = {}
        # Error code -> how many replies had it.
        self.errors: dict[str, int] = {}
        self.times_all = self.times_slow = False
        # What takes less is nobody's concern.
        self.least_s = 0.0
        self.refresh()

    def refresh(self) -> None:
        """Take up settings that changed."""
        config = self.config
        limits_us = []
        if config.latency_tracking:
            limits_us.append(0)
        if config.latency_monitor_threshold:
            limits_us.append(config.latency_monitor_threshold * 1000)
        self.times_all = bool(limits_us) or 0 <= config.slowlog_log_slower_than < 1000
        if config.slowlog_log_slower_than >= 0:
            limits_us.append(config.slowlog_log_slower_than)
        self.times_slow = bool(limits_us)
        self.least_s = min(limits_us, default=0) / 1_000_000
        self.slow_log.trim()

    def took(self, command: Command, argv: Sequence[bytes], seconds: float, failed: bool = False) -> None:
        """Note that `command`, typed as `argv`, took `seconds`, at least `least_s`."""
        config = self.config
        microseconds = int(seconds * 1_000_000)
        if config.latency_tracking:
            self.commands.setdefault(command.wire_name, CommandStats()).add(microseconds, failed)
        self.monitor.sample("fast-command" if command.fast else "command", seconds)
        if 0 <= config.slowlog_log_slower_than <= microseconds and "skip_slowlog" not in command.flags:
            self.slow_log.add(argv, microseconds)

    def timed(self, command: Command, name: bytes) -> Command:
        """`command`, spelled `name`, whose handler is timed if it is to be: for those who keep it at hand."""
        if not (self.times_all if command.bounded else self.times_slow):
            return command
        handler, monotonic, least_s = command.handler, self.clock.monotonic, self.least_s

        def timed(client: Client, *args: bytes) -> Any:
            started_s = monotonic()
            try:
                reply = handler(client, *args)
            except ReplyError:
                took_s = monotonic() - started_s
                if took_s >= least_s:
                    self.took(command, (name, *args), took_s, failed=True)
                raise
            took_s = monotonic() - started_s
            if took_s >= least_s:
                self.took(command, (name, *args), took_s)
            return reply

        return replace(command, handler=timed, timed=True)

    def failed(self, problem: ReplyError) -> None:
        """Count an error reply by its code."""
        self.errors[problem.code] = self.errors.get(problem.code, 0) + 1

    def reset(self) -> None:
        """What CONFIG RESETSTAT forgets."""
        self.commands.clear()
        self.errors.clear()
