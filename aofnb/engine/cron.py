"""The periodic job: active expiry, retried and postponed writes, the fsync an idle store still owes, rewrites.

One daemon thread per store, asleep until a write or a deadline gives it something to do: an idle store costs
nothing. `tick` is the whole job, so that tests run it by hand.

Redis: server.c serverCron, databasesCron (7.0.15).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from aofnb.clock import Clock

__all__ = ["Cron"]

_log = logging.getLogger("aofnb")

# How long a store that was just written to is looked after, ten times a second.
INTERVAL_S = 0.1
# A tick that failed is followed by another so much later.
RETRY_S = 1.0


class Cron:
    """Calls `tick` while there is something to look after.

    Parameters
    ----------
    tick
        Does what is due; returns in how many seconds it wants to be called again, or None to wait for `wake`.
    """

    def __init__(self, clock: Clock, tick: Callable[[], float | None]) -> None:
        self._clock = clock
        self._tick = tick
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        # True while a tick is sure to come soon: writers look only at this.
        self.awake = False

    def start(self) -> None:
        """Start the thread; where none can be started the job runs with writes only."""
        thread = threading.Thread(target=self._loop, name="aofnb-cron", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            self.awake = True
        else:
            self._thread = thread

    def wake(self) -> None:
        """Have a tick within the interval. Called after every write, so the common case is one comparison."""
        if not self.awake:
            with self._condition:
                self.awake = True
                self._condition.notify()

    def start_and_wake(self) -> None:
        """As `wake`, where the thread may not have been needed so far."""
        if self._thread is None and not self._stop.is_set():
            self.start()
        self.wake()

    def stop(self) -> None:
        """End the thread and wait for it."""
        with self._condition:
            self._stop.set()
            self._condition.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._thread = None

    def _loop(self) -> None:
        stopping = self._stop.is_set
        while not stopping():
            # Before the tick looks: a write that comes later sees False and wakes us.
            self.awake = False
            wait_s = self._tick_or_tell()
            with self._condition:
                if stopping():
                    return
                if wait_s is not None and wait_s <= INTERVAL_S:
                    self.awake = True
                if not self._awake_now():
                    self._clock.wait(self._condition, wait_s)
                # Awake, or just woken by a write: let more writes gather before looking.
                if self._awake_now() and not stopping():
                    self._clock.wait(self._condition, INTERVAL_S)

    def _tick_or_tell(self) -> float | None:
        """One tick. Whatever goes wrong in it, there will be others: the fsync of everysec is their matter."""
        try:
            return self._tick()
        except Exception:
            _log.exception("the periodic job failed; it is tried again")
            return RETRY_S

    def _awake_now(self) -> bool:
        """`awake` as another thread may have set it meanwhile."""
        return self.awake
