"""Counters of a log made by hand, and a source of them, for whatever shows counters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aofnb.aof.stats import AofStats, RewriteProgress

__all__ = ["StatsStub", "stats"]

_NOTHING_YET = AofStats(
    aof_enabled=True,
    appendfsync="everysec",
    aof_buf_bytes=0,
    aof_buf_commands=0,
    aof_buf_peak_bytes=0,
    unsynced_bytes=0,
    unsynced_commands=0,
    synced_bytes=0,
    synced_commands=0,
    fsync_lag_s=0.0,
    fsyncs=0,
    last_fsync_duration_s=0.0,
    fsync_in_progress=False,
    delayed_fsync=0,
    postponed_s=0.0,
    write_error=None,
    current_size=0,
    base_size=0,
    files=(),
    rewrite=RewriteProgress(),
    rewrites=0,
    rewrite_scheduled=False,
    last_rewrite_ok=True,
    last_rewrite_duration_s=None,
    keys=0,
)


def stats(**counters: Any) -> AofStats:
    """The counters of a new log, but for `counters`."""
    return replace(_NOTHING_YET, **counters)


class StatsStub:
    """Gives the counters it was last told, and counts how often it was asked."""

    def __init__(self, **counters: Any) -> None:
        self.now = stats(**counters)
        self.asked = 0
        self.peaks_reset = 0

    def set(self, **counters: Any) -> None:
        self.now = replace(self.now, **counters)

    def stats(self, *, reset_peak: bool = False) -> AofStats:
        self.asked += 1
        self.peaks_reset += reset_peak
        return self.now
