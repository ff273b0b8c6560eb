"""A line that says how far a long load is, for whoever sits in front of it.

Rules of this file: nothing is shown where nobody watches (a pipe, a log file), nor for a load that is over within a
second; the line is gone when the load is; it needs no library of a notebook.
"""

from __future__ import annotations

import sys
from typing import TextIO

from aofnb.clock import Clock

__all__ = ["LoadLine", "watched"]

# Behind how many seconds it shows, and how many pass between two states of it.
_FIRST_S = 1.0
_EVERY_S = 0.25
_WIDTH = 30


def watched(stream: TextIO | None) -> bool:
    """Whether a person sees what is written to `stream` at once: a terminal, or the output of a notebook's cell."""
    if stream is None:
        return False
    # A kernel's stream is no terminal, but shows what a carriage return does.
    return type(stream).__module__.startswith("ipykernel") or stream.isatty()


class LoadLine:
    """Callable with bytes done and bytes in all; `close` it when the load is over.

    Parameters
    ----------
    stream
        Where to; as a rule standard error.
    """

    def __init__(self, clock: Clock, stream: TextIO | None = None) -> None:
        self._clock = clock
        self._stream = sys.stderr if stream is None else stream
        self._started_s = clock.monotonic()
        self._next_s = self._started_s + _FIRST_S
        self._shown = 0

    def __call__(self, done: int, total: int) -> None:
        now_s = self._clock.monotonic()
        if now_s < self._next_s or not total:
            return
        self._next_s = now_s + _EVERY_S
        filled = _WIDTH * done // total
        left_s = (now_s - self._started_s) * (total - done) / done if done else 0.0
        line = (
            f"loading [{'#' * filled}{'.' * (_WIDTH - filled)}] {100 * done // total:3d} %, "
            f"{done / 2**20:,.0f} of {total / 2**20:,.0f} MiB, {left_s:.0f} s left"
        )
        self._write("\r" + line.ljust(self._shown))
        self._shown = len(line)

    def close(self) -> None:
        """Take the line away."""
        if self._shown:
            self._write("\r" + " " * self._shown + "\r")
            self._shown = 0

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
