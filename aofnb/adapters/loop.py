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
import select
import selectors
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from aofnb.adapters._peer_cy import read_plain
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
        self._poller = _Epoll() if hasattr(select, "epoll") else _Portable()
        self.capacity = self._poller.capacity
        # By descriptor: who watches it, and for which events.
        self._watchers: dict[int, Watcher] = {}
        self._wanted: dict[int, int] = {}
        self._alarm = _Alarm()
        self.watch(self._alarm.socket, self._alarm, reads=True)
        self.now_s = clock.monotonic()
        self._stopped = False

    def watch(self, sock: socket.socket, watcher: Watcher, *, reads: bool = False, writes: bool = False) -> None:
        """From now on tell `watcher` when `sock`, which is open, can be read, or written, or neither."""
        fd = sock.fileno()
        wanted = (self._poller.READ if reads else 0) | (self._poller.WRITE if writes else 0)
        known = fd in self._watchers
        if wanted:
            self._poller.watch(fd, wanted, known)
            self._watchers[fd], self._wanted[fd] = watcher, wanted
        elif known:
            del self._watchers[fd], self._wanted[fd]
            self._poller.forget(fd)

    def run(self) -> None:
        """Go round until `stop`."""
        next_tick_s = self.now_s + _TICK_S
        more = False
        while not self._stopped:
            wait_s = 0.0 if more else max(0.0, next_tick_s - self._clock.monotonic())
            ready = self._poller.poll(wait_s)
            self.now_s = self._clock.monotonic()
            for fd, events in read_plain(ready, self._watchers):
                self._tell(fd, events)
            try:
                if self.now_s >= next_tick_s:
                    next_tick_s = self.now_s + _TICK_S
                    self._tick()
                more = self._after_events()
            except Exception:
                self._log.exception("a round of the server failed")
                more = False

    def _tell(self, fd: int, events: int) -> None:
        """Tell whoever watches `fd`; of an error or a hang-up, which is no event of its own, what it asked for."""
        watcher = self._watchers.get(fd)
        if watcher is None:
            return
        read, write = self._poller.READ, self._poller.WRITE
        wanted = self._wanted[fd]
        try:
            if wanted & write and events & ~read:
                watcher.writable()
            if wanted & read and events & ~write:
                watcher.readable()
        except Exception:
            watcher.fault()

    def wake(self) -> None:
        """Have a round at once. In any thread."""
        self._alarm.ring()

    def stop(self) -> None:
        """End `run` after the round that is under way. In any thread."""
        self._stopped = True
        self.wake()

    def close(self) -> None:
        """Give back what it holds; the sockets that it watches stay open."""
        self._poller.close()
        self._alarm.close()


class _Epoll:
    """epoll as it is: what `selectors` does around it costs more than the call."""

    READ = getattr(select, "EPOLLIN", 0)
    WRITE = getattr(select, "EPOLLOUT", 0)
    capacity = None

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self.poll = self._epoll.poll
        self.close = self._epoll.close
        self.forget = self._epoll.unregister

    def watch(self, fd: int, wanted: int, known: bool) -> None:
        (self._epoll.modify if known else self._epoll.register)(fd, wanted)


class _Portable:
    """The best that another system has."""

    READ = selectors.EVENT_READ
    WRITE = selectors.EVENT_WRITE

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self.capacity = _SOCKETS_OF_SELECT if isinstance(self._selector, selectors.SelectSelector) else None
        self.close = self._selector.close
        self.forget = self._selector.unregister

    def watch(self, fd: int, wanted: int, known: bool) -> None:
        (self._selector.modify if known else self._selector.register)(fd, wanted)

    def poll(self, wait_s: float) -> list[tuple[int, int]]:
        return [(key.fd, events) for key, events in self._selector.select(wait_s)]


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
