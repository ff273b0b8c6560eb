"""The event loop of the server: which sockets can be read or written, and whether another thread asks.

A round:

1. wait until a socket is ready, another thread calls `wake`, or the second since the last `tick` is over;
2. tell everyone whose socket is ready. Nothing is read or written here, so what was left is told again next time;
3. `after_events`, where the server runs what the round brought in, as one turn, and answers. It says whether there is
   more to do, and then the next round does not wait.

A fault in what is called is told to the log, and ends the one that it was told to, never the loop.

Redis: ae.c aeProcessEvents, server.c beforeSleep (7.0.15).
"""

from __future__ import annotations

import logging
import selectors
import socket
from collections.abc import Callable
from contextlib import suppress
from selectors import EVENT_READ, EVENT_WRITE
from typing import Protocol

from aofnb.clock import Clock

__all__ = ["Loop", "Watcher"]

_TICK_S = 1.0
# Where there is only select() it takes 512 sockets, some of which are ours.
_SOCKETS_OF_SELECT = 500


class Watcher(Protocol):
    """Whoever has a socket that the loop watches."""

    def readable(self) -> None:
        """There is something to read, or the end."""
        ...

    def writable(self) -> None:
        """There is room to write."""
        ...

    def fault(self) -> None:
        """An exception came out of it, and is being handled: log it, and give up."""
        ...


class Loop:
    """Watches sockets until `stop`. Only `wake` and `stop` may be called by other threads than the one that runs it.

    Attributes
    ----------
    capacity
        How many sockets it can watch; None: as many as the system lets us open.
    now_s
        When the round began, by the clock's monotonic time.
    """

    def __init__(
        self, clock: Clock, tick: Callable[[], None], after_events: Callable[[], bool], log: logging.Logger
    ) -> None:
        self._clock = clock
        self._log = log
        self._tick = tick
        self._after_events = after_events
        self._selector = selectors.DefaultSelector()
        only_select = isinstance(self._selector, selectors.SelectSelector)
        self.capacity = _SOCKETS_OF_SELECT if only_select else None
        self._alarm = _Alarm()
        self.watch(self._alarm.socket, self._alarm, reads=True)
        self.now_s = clock.monotonic()
        self._stopped = False

    def watch(self, sock: socket.socket, watcher: Watcher, *, reads: bool = False, writes: bool = False) -> None:
        """From now on tell `watcher` when `sock` can be read, or written, or neither."""
        events = (EVENT_READ if reads else 0) | (EVENT_WRITE if writes else 0)
        if sock not in self._selector.get_map():
            if events:
                self._selector.register(sock, events, watcher)
        elif events:
            self._selector.modify(sock, events, watcher)
        else:
            self._selector.unregister(sock)

    def run(self) -> None:
        """Go round until `stop`."""
        next_tick_s = self.now_s + _TICK_S
        more = False
        while not self._stopped:
            wait_s = 0.0 if more else max(0.0, next_tick_s - self._clock.monotonic())
            events_of = self._selector.select(wait_s)
            self.now_s = self._clock.monotonic()
            for key, events in events_of:
                watcher: Watcher = key.data
                try:
                    if events & EVENT_WRITE:
                        watcher.writable()
                    if events & EVENT_READ:
                        watcher.readable()
                except Exception:
                    watcher.fault()
            try:
                if self.now_s >= next_tick_s:
                    next_tick_s = self.now_s + _TICK_S
                    self._tick()
                more = self._after_events()
            except Exception:
                self._log.exception("a round of the server failed")
                more = False

    def wake(self) -> None:
        """Have a round at once. In any thread."""
        self._alarm.ring()

    def stop(self) -> None:
        """End `run` after the round that is under way. In any thread."""
        self._stopped = True
        self.wake()

    def close(self) -> None:
        """Give back what it holds; the sockets that it watches stay open."""
        self._selector.close()
        self._alarm.close()


class _Alarm:
    """A pair of sockets: other threads write into one, and so wake the thread that waits for the other."""

    def __init__(self) -> None:
        self.socket, self._button = socket.socketpair()
        self.socket.setblocking(False)
        self._button.setblocking(False)

    def ring(self) -> None:
        # Full: it has been rung often enough. Closed: nobody waits any more.
        with suppress(OSError):
            self._button.send(b"\0")

    def readable(self) -> None:
        with suppress(OSError):
            self.socket.recv(4096)

    def writable(self) -> None:
        """Never asked for."""

    def fault(self) -> None:
        """There is none to be had."""

    def close(self) -> None:
        self.socket.close()
        self._button.close()
