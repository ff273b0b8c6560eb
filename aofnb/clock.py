"""The only reader of time.

Everything that asks what time it is takes a `Clock`, so that tests and the crash lab decide.
"""

from __future__ import annotations

import threading
import time
from typing import Protocol

__all__ = ["Clock", "FakeClock", "SystemClock"]


class Clock(Protocol):
    """Wall time for what is logged, monotonic time for what is measured."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch, as the log stores deadlines."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back, for intervals."""
        ...

    def wait(self, condition: threading.Condition, timeout_s: float | None) -> None:
        """Wait on `condition`, whose lock is held, for at most `timeout_s` seconds."""
        ...


class SystemClock:
    """The clock of the operating system."""

    monotonic = staticmethod(time.monotonic)

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def wait(self, condition: threading.Condition, timeout_s: float | None) -> None:
        condition.wait(timeout_s)


class FakeClock:
    """Time that stands still until `advance` is called."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._now_ms = now_ms
        self._monotonic_s = 1000.0

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic(self) -> float:
        return self._monotonic_s

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self._now_ms += round(seconds * 1000)
        self._monotonic_s += seconds

    def wait(self, condition: threading.Condition, timeout_s: float | None) -> None:
        # Tests drive the periodic job themselves; a thread that waits on a fake clock waits for a notify.
        condition.wait()
