"""`Dashboard`: a live picture of a store's log under a cell.

1. Showing it puts one HTML widget and a few buttons under the cell, with a table and a text beside them for whoever
   cannot show widgets.
2. A daemon thread reads ``store.stats()`` at most four times a second, renders, and sets the widget's value. Nothing
   is sent from the way of a command, and reading takes no lock.
3. While no view of it is left on any page, nothing is sent.
4. It ends when it is stopped, when its ``with`` block ends, when the store is closed or garbage, or when another
   dashboard of the same store starts. Then a static table replaces the widgets wherever they are shown.

Rules of this file: only the sampler thread writes to widgets while it runs; a button's callback may run in any thread,
at once or only after the running cell (that depends on ipykernel), so it calls the store and leaves a note.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import os
import threading
import weakref
from collections import deque
from dataclasses import replace
from typing import Any, Literal, Protocol, Self

import ipywidgets
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import DisplayHandle, display

from aofnb.aof.stats import AofStats
from aofnb.clock import Clock, SystemClock
from aofnb.errors import AofnbError, ConfigError
from aofnb.widgets import render
from aofnb.widgets.mix import LogTail, WriteMix
from aofnb.widgets.model import AutoRewrite, Recorder, State, View
from aofnb.widgets.sources import source_of

__all__ = ["Dashboard", "StatsSource"]

# The server drops messages of a kernel that floods it, and nobody reads faster.
SHORTEST_INTERVAL_S = 0.25
# An unchanged picture is sent this often, to show that the dashboard is alive. Must be below render.STALE_S.
HEARTBEAT_S = 1.0
POLICIES = ("always", "everysec", "no")
_WAITS = "A busy cell may have to end first."


class StatsSource(Protocol):
    """What a dashboard needs; a `Store` has it. ``path``, ``closed``, ``config``, ``config_set``, ``bgrewriteaof`` and
    ``cancel_rewrite`` are used where they exist.
    """

    def stats(self, *, reset_peak: bool = False) -> AofStats:
        """The counters now; with `reset_peak` the peak of aof_buf begins anew."""
        ...


# One dashboard to a store: two would take the peaks from each other.
_running: weakref.WeakKeyDictionary[Any, Dashboard] = weakref.WeakKeyDictionary()


class Dashboard:
    """What is at risk, live: aof_buf, fsync lag, the log's files and the progress of a rewrite.

    Show it by making it the last line of a cell, or with ``display``; or watch one block of code::

        with aofnb.Dashboard(store):
            ...

    Parameters
    ----------
    store
        What `aofnb.open` gave, or any object with a method ``stats(reset_peak=...)`` that gives an `AofStats`: it is
        not kept alive. Or what somebody else runs: a URL (``redis://...``), what `aofnb.connect` gave, or the path of a
        directory that holds a log. Of those is known what INFO says, or the sizes of the files.
    interval_s
        Seconds between two updates, at least 0.25.

    Raises
    ------
    ConfigError
        For a shorter `interval_s`, or one that is no number.
    RemoteError
        The server cannot be reached.
    AofManifestError
        The directory holds no log.
    TypeError
        For what is no store.
    """

    def __init__(
        self,
        store: StatsSource | str | os.PathLike[str] | Any,
        *,
        interval_s: float = SHORTEST_INTERVAL_S,
        clock: Clock | None = None,
    ) -> None:
        try:
            long_enough = interval_s >= SHORTEST_INTERVAL_S
        except TypeError:
            long_enough = False
        if not long_enough:
            raise ConfigError(
                f"interval_s: at least {SHORTEST_INTERVAL_S} seconds, or the notebook server drops updates"
                f" (given: {interval_s!r})"
            )
        self.interval_s = interval_s
        self.clock: Clock = clock or SystemClock()
        given, store = store, source_of(store)
        # Made here, so nobody else keeps it or ends it.
        self._own: Any = None if store is given else store
        self._store = weakref.ref(store)
        self._mix, self._tail = WriteMix(), LogTail()
        self._recorder = Recorder(os.path.basename(str(getattr(store, "path", None) or "in memory")))
        # What callbacks want to be shown; the sampler takes it up.
        self._notes: deque[str] = deque()
        self._handles: list[DisplayHandle] = []
        self._started = False
        self._thread: threading.Thread | None = None
        self._task: asyncio.Task[None] | None = None
        self._wake = threading.Condition()
        self._stopping = False
        # Held while the end is made of it, so that stop() and the sampler do not both do so.
        self._ending = threading.Lock()
        self._ended = False
        self._tick = 0
        self._sent_s = 0.0
        # Whether a front-end ever told of a view: those that do not count them must not look like nobody.
        self._was_seen = False
        self._policy_differed = False
        self._view = self._sample(store)
        self._build(store)
        if getattr(store, "closed", False):
            self._end("closed")

    def _build(self, store: StatsSource) -> None:
        """The widgets. Buttons are there for what the store can do."""
        self._html = ipywidgets.HTML(render.live(self._view, 0))
        buttons = []
        if hasattr(store, "config_set"):
            self._policy: Any = ipywidgets.ToggleButtons(
                options=POLICIES,
                value=self._view.stats.appendfsync,
                tooltips=[f"appendfsync {policy}. {_WAITS}" for policy in POLICIES],
                style={"button_width": "84px"},
                layout={"width": "auto"},
            )
            self._policy.observe(self._policy_chosen, names="value")
            buttons += [ipywidgets.Label("appendfsync"), self._policy]
        else:
            self._policy = None
        if hasattr(store, "bgrewriteaof"):
            self._rewrite: Any = ipywidgets.Button(
                description="BGREWRITEAOF", icon="refresh", tooltip=f"Rewrite the log in the background. {_WAITS}"
            )
            self._rewrite.on_click(self._rewrite_clicked)
            buttons.append(self._rewrite)
        else:
            self._rewrite = None
        if hasattr(store, "cancel_rewrite"):
            self._cancel: Any = ipywidgets.Button(
                description="Cancel",
                icon="times",
                disabled=True,
                tooltip=f"End the running rewrite; the old files stay. {_WAITS}",
            )
            self._cancel.on_click(lambda _button: self._ask("cancel_rewrite"))
            buttons.append(self._cancel)
        else:
            self._cancel = None
        stop = ipywidgets.Button(description="Stop", icon="stop", tooltip=f"Leave a table here. {_WAITS}")
        stop.on_click(lambda _button: self.stop())
        self._widgets = [*buttons, stop]
        row = ipywidgets.HBox(self._widgets, layout={"flex_flow": "row wrap", "align_items": "center"})
        # From 0 on the front-end counts the views there.
        self.box = ipywidgets.VBox([self._html, row], _view_count=0)

    # --- life --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to update; showing it does so. A running dashboard of the same store is stopped."""
        store = self._store()
        if self._started or self._stopping:
            return
        if store is None or getattr(store, "closed", False):
            self._end("closed")
            return
        self._started = True
        previous = _running.get(store)
        if previous is not None and previous is not self:
            previous.stop()
        _running[store] = self
        # ipykernel keeps the message that is being answered in a context variable: without a copy of the context
        # ipykernel 7.0 cannot send from another thread.
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(self._loop,), name="aofnb-dashboard", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # No threads here (WebAssembly): a task of the event loop updates between cells.
            self._task = asyncio.get_running_loop().create_task(self._loop_as_task())
        else:
            self._thread = thread

    def stop(self) -> None:
        """Stop updating and leave a static table in place of the widgets. A stopped dashboard stays stopped."""
        self._ask_to_stop()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            # It may be inside stats(); what it does after two seconds does no harm.
            thread.join(2)
        self._end("stopped")

    close = stop

    @property
    def running(self) -> bool:
        """Whether it is still updated."""
        return self._started and not self._stopping

    def __enter__(self) -> Self:
        self.show()
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _ask_to_stop(self) -> None:
        with self._wake:
            self._stopping = True
            self._wake.notify_all()

    def _end(self, state: State) -> None:
        """Take a last look, put the table where the widgets are, and close these."""
        with self._ending:
            if self._ended:
                return
            self._ended = True
        self._stopping = True
        view = self._view
        store = self._store()
        if store is not None:
            if _running.get(store) is self:
                del _running[store]
            if state != "failed":
                last = self._look(store)
                # A closed store may refuse to be looked at.
                refused = last.state == "failed" and getattr(store, "closed", False)
                view = view if refused else last
        self._view = view if view.state == "failed" else replace(view, state=state)
        if hasattr(self._own, "close"):
            self._own.close()
        table = {"text/html": render.static(self._view), "text/plain": render.text(self._view)}
        for handle in self._handles:
            handle.update(table, raw=True)  # type: ignore[no-untyped-call]  # IPython is typed in part
        # A view that goes when its model is gone has nobody left to count it.
        self.box._view_count = None
        for widget in (*self._widgets, *self.box.children, self.box):
            for part in (getattr(widget, "style", None), widget.layout, widget):
                if part is not None:
                    part.close()

    # --- sampling ----------------------------------------------------------------------------------------

    def _loop(self) -> None:
        while self._wait():
            if not self._update():
                return

    async def _loop_as_task(self) -> None:
        while not self._stopping and self._update():
            await asyncio.sleep(self.interval_s)

    def _wait(self) -> bool:
        """Sleep for one interval; False if it is time to stop."""
        with self._wake:
            if not self._stopping:
                self.clock.wait(self._wake, self.interval_s)
            return not self._stopping

    def _update(self) -> bool:
        """Show what is true now; False if there is nothing more to show."""
        store = self._store()
        if store is None or getattr(store, "closed", False):
            self._end("closed")
            return False
        view = self._look(store)
        if view.state == "failed":
            closed = getattr(store, "closed", False)
            self._view = self._view if closed else view
            self._end("closed" if closed else "failed")
            return False
        self._send(view)
        return True

    def _look(self, store: StatsSource) -> View:
        """What is true now; if the store cannot say, the last that is known and why."""
        try:
            return self._sample(store)
        except Exception as problem:
            # Whatever it is: a thread that died in silence would leave a picture that looks alive.
            return replace(self._view, state="failed", problem=f"{type(problem).__name__}: {problem}")

    def _sample(self, store: StatsSource) -> View:
        now_ms = self.clock.now_ms()
        while self._notes:
            self._recorder.note(now_ms, self._notes.popleft())
        stats, now_s = store.stats(reset_peak=True), self.clock.monotonic()
        config = getattr(store, "config", None)
        auto_rewrite = getattr(store, "auto_rewrite", None)
        if config is not None:
            auto_rewrite = AutoRewrite(config.auto_aof_rewrite_percentage, config.auto_aof_rewrite_min_size)
        view = self._recorder.add(stats, now_s, now_ms, auto_rewrite)
        if self._mix.due(now_s):
            self._sample_mix(store, stats, now_s)
        return replace(view, mix=self._mix.shares(), remark=getattr(store, "remark", None))

    def _sample_mix(self, store: StatsSource, stats: AofStats, now_s: float) -> None:
        """Which commands came since the last look: by the server's counters, or from the end of the log."""
        if hasattr(store, "write_calls"):
            self._mix.add_calls(now_s, store.write_calls())
        else:
            self._mix.add(now_s, self._tail.sample(_live_file(store, stats)))

    def _send(self, view: View) -> None:
        now_s = self.clock.monotonic()
        before = self._view
        quiet = (view.stats, view.events, view.mix) == (before.stats, before.events, before.mix)
        self._view = view
        if self._nobody_looks() or (quiet and now_s - self._sent_s < HEARTBEAT_S):
            return
        self._sent_s = now_s
        self._tick += 1
        self._html.value = render.live(view, self._tick)
        if self._rewrite is not None:
            self._rewrite.disabled = view.stats.rewrite.phase != "idle"
        if self._cancel is not None:
            self._cancel.disabled = view.stats.rewrite.phase == "idle" and not view.stats.rewrite_scheduled
        if self._policy is not None:
            # Between a click and its CONFIG SET the two differ for a moment; the second time it was set elsewhere.
            differs = self._policy.value != view.stats.appendfsync
            if differs and self._policy_differed:
                self._policy.value = view.stats.appendfsync
            self._policy_differed = differs

    def _nobody_looks(self) -> bool:
        """Whether all views are gone: outputs were cleared, or the notebook closed. A new one is updated again."""
        views = self.box._view_count or 0
        self._was_seen = self._was_seen or views > 0
        return self._was_seen and views == 0

    # --- buttons -----------------------------------------------------------------------------------------

    def _policy_chosen(self, change: dict[str, Any]) -> None:
        if threading.current_thread() is not self._thread:
            self._ask("config_set", "appendfsync", change["new"])

    def _rewrite_clicked(self, _button: object) -> None:
        self._ask("bgrewriteaof")

    def _ask(self, method: Literal["config_set", "bgrewriteaof", "cancel_rewrite"], *args: str) -> None:
        """Call the store; a refusal becomes an event of the picture."""
        store = self._store()
        if store is None:
            return
        try:
            getattr(store, method)(*args)
        except AofnbError as problem:
            self._notes.append(f"refused: {problem}")

    # --- showing -----------------------------------------------------------------------------------------

    def show(self) -> None:
        """Show it here, as often as wanted: all views move together."""
        if not InteractiveShell.initialized():
            print(render.text(self._view))
            return
        handle = display(self._repr_mimebundle_(), raw=True, display_id=True)  # type: ignore[no-untyped-call]  # as above
        if not self._ended:
            self._handles.append(handle)

    def _ipython_display_(self) -> None:
        self.show()
        self.start()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        """The widgets, and for who cannot show them a table and a text of what is true now."""
        bundle = {"text/plain": render.text(self._view), "text/html": render.static(self._view)}
        if not self._ended:
            widgets = self.box._repr_mimebundle_()
            bundle |= {kind: data for kind, data in widgets.items() if kind not in bundle}
        return bundle

    def __repr__(self) -> str:
        return render.text(self._view)


def _live_file(store: Any, stats: AofStats) -> str | None:
    """Path of the file that grows, if there is one on a disk that we can see."""
    if hasattr(store, "live_file"):
        path: str | None = store.live_file
        return path
    directory, config = getattr(store, "path", None), getattr(store, "config", None)
    if directory is None or config is None or not stats.files:
        return None
    return os.path.join(directory, config.appenddirname, stats.files[-1][0])


def _stop_all() -> None:
    """Let no sampler send while the interpreter goes down."""
    for dashboard in list(_running.values()):
        dashboard._ask_to_stop()


atexit.register(_stop_all)
