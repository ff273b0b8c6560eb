"""Counters of a log made by hand, and a source of them, for whatever shows counters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aofnb.aof.stats import AofStats

__all__ = ["StatsStub", "stats"]


def stats(**counters: Any) -> AofStats:
    """The counters of a new log, but for `counters`."""
    return AofStats(**{"aof_enabled": True, **counters})


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
