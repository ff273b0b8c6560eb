"""Single bars: how far a load is, how far a rewrite is.

A bar is one output that is replaced, at most four times a second. It shows up after a second, so that what is quick
leaves no trace in a notebook, and it leaves one line when it is over.
"""

from __future__ import annotations

import contextvars
import threading
from html import escape
from typing import Any, Self

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import DisplayHandle, display

from aofnb.aof.stats import AofStats
from aofnb.clock import Clock, SystemClock
from aofnb.widgets import render

__all__ = ["LoadProgress", "RewriteProgress"]

_FIRST_S = 1.0
_EVERY_S = 0.25


class _Bar:
    """The output of a bar."""

    def __init__(self, label: str, clock: Clock, first_s: float) -> None:
        self.label = label
        self.clock = clock
        self._handle: DisplayHandle | None = None
        self._next_s = clock.monotonic() + first_s

    def show(self, fraction: float, words: str, *, last: bool = False) -> None:
        """Show it, unless it is too early; the last state is shown only where the bar was."""
        now_s = self.clock.monotonic()
        if (not last and now_s < self._next_s) or (last and self._handle is None):
            return
        self._next_s = now_s + _EVERY_S
        text = f"{self.label}: {words}"
        bar = (
            ""
            if last
            else f'<progress max="100" value="{fraction * 100:.0f}" aria-label="{escape(self.label)}"></progress> '
        )
        data = {"text/plain": text, "text/html": f"<div>{bar}{escape(text)}</div>"}
        if not InteractiveShell.initialized():
            return
        if self._handle is None:
            self._handle = display(data, raw=True, display_id=True)  # type: ignore[no-untyped-call]  # typed in part
        else:
            self._handle.update(data, raw=True)  # type: ignore[no-untyped-call]  # as above


class LoadProgress:
    """A bar for ``aofnb.open(path, progress=LoadProgress())``, or whatever tells bytes done and bytes in all.

    Parameters
    ----------
    label
        What is loaded.
    """

    def __init__(self, label: str = "loading", *, clock: Clock | None = None) -> None:
        self._clock: Clock = clock or SystemClock()
        self._bar = _Bar(label, self._clock, _FIRST_S)
        self._started_s = self._clock.monotonic()

    def __call__(self, done: int, total: int) -> None:
        took_s = self._clock.monotonic() - self._started_s
        if done >= total:
            self._bar.show(1.0, f"{render.size_text(total)} in {render.seconds_text(took_s)}", last=True)
            return
        words = f"{render.size_text(done)} of {render.size_text(total)}, {done / total:.0%}"
        if done:
            words += f", about {render.seconds_text(took_s * (total - done) / done)} left"
        self._bar.show(done / total, words)


class RewriteProgress:
    """A bar for the running rewrite of a store; make it the last line of a cell, or wait for the end with ``wait``.

    Parameters
    ----------
    store
        Anything with ``stats()``.
    """

    def __init__(self, store: Any, *, clock: Clock | None = None) -> None:
        if not callable(getattr(store, "stats", None)):
            raise TypeError(f"RewriteProgress takes a store, as aofnb.open gives it, not {store!r}")
        self._store = store
        self._clock: Clock = clock or SystemClock()
        self._bar = _Bar("rewrite", self._clock, 0.0)
        self._tick = threading.Condition()
        self._thread: threading.Thread | None = None
        self._over = threading.Event()

    def _update(self) -> bool:
        """Show what is true; False once the rewrite is over."""
        stats: AofStats = self._store.stats()
        if stats.rewrite.phase != "idle" and not getattr(self._store, "closed", False):
            self._bar.show(stats.rewrite.fraction, render.rewrite_words(stats, eta=True))
            return True
        self._bar.show(1.0, _ended(stats), last=True)
        return False

    def _loop(self) -> None:
        try:
            while self._update() and not self._over.is_set():
                with self._tick:
                    self._clock.wait(self._tick, _EVERY_S)
        finally:
            self._over.set()

    def wait(self) -> Self:
        """Show the bar until the rewrite is over; Ctrl-C leaves the rewrite running."""
        if self._thread is not None:
            self._over.wait()
        else:
            self._loop()
        return self

    def close(self) -> None:
        """Stop watching."""
        self._over.set()
        with self._tick:
            self._tick.notify_all()
        if self._thread is not None:
            self._thread.join(2)

    def _ipython_display_(self) -> None:
        if self._thread is not None:
            return
        if not self._update():
            print(f"rewrite: {_ended(self._store.stats())}")
            return
        # As in the dashboard: without a copy of the context ipykernel 7.0 cannot send from another thread.
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._loop,), name="aofnb-rewrite-bar", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        stats: AofStats = self._store.stats()
        return f"rewrite: {_ended(stats) if stats.rewrite.phase == 'idle' else render.rewrite_words(stats)}"


def _ended(stats: AofStats) -> str:
    if not stats.last_rewrite_ok:
        return "failed; the old files are still in use"
    if stats.last_rewrite_error is not None:
        return "cancelled; the old files are still in use"
    return "done" if stats.rewrites else "none was begun"
