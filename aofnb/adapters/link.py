"""One connection inside the process: requests go in as argument vectors, replies come out in their order.

What stands in the place of a socket for redis-py. Rules of this file: one batch is one turn of the engine; what a
reader finds is in the order in which a server would have sent it, messages that nobody asked for included; a reader
may wait in one thread for what a command in another one causes.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from aofnb.engine.core import Engine
from aofnb.errors import AofWriteError, StoreClosedError
from aofnb.resp.replies import NO_REPLY

__all__ = ["Link", "LinkClosedError"]

Argv = Sequence[bytes]


class LinkClosedError(OSError):
    """The connection is gone: the store was closed, or a write did not reach the disk and nobody may be told OK."""


class Link:
    """A client of the engine with the replies that it has still to read.

    Parameters
    ----------
    engine
        Where commands run.
    notify
        Called, from whatever thread, after something arrived.
    """

    def __init__(self, engine: Engine, notify: Callable[[], None] | None = None) -> None:
        self._engine = engine
        self.client = engine.new_client()
        self.client.sink = self._arrive
        self.client.end = self.close
        self.inbox: deque[Any] = deque()
        self.closed = False
        self._arrived = threading.Condition()
        self._notify = notify
        # Commands that stand behind one that waits, and whether one does. With the engine's lock.
        self._queue: deque[Argv] = deque()
        self._waiting = False

    def send(self, batch: Iterable[Argv]) -> None:
        """Run `batch` as one turn; its replies are in the inbox, or will be.

        Raises
        ------
        LinkClosedError
            The connection is closed.
        """
        if self.closed:
            raise LinkClosedError("the connection is closed")
        with self._engine.lock:
            self._queue.extend(batch)
            if not self._waiting:
                with self._engine.turn():
                    self._submit()

    def _submit(self) -> None:
        while self._queue and not self._waiting:
            # A command that waits may be served by what comes next in the same turn: then it has answered already.
            self._waiting = True
            if self._engine.submit(self.client, self._queue.popleft(), self._reply):
                self._waiting = False

    def _reply(self, reply: Any) -> None:
        """The reply of a command: at the end of the turn, or later if it waited. With the engine's lock."""
        if reply is not NO_REPLY:
            self._arrive(reply)
        if self._waiting and not self._engine.waiting.waits(self.client):
            self._waiting = False
            self._submit()

    def _arrive(self, item: Any) -> None:
        with self._arrived:
            self.inbox.append(item)
            self._arrived.notify_all()
        if self._notify is not None:
            self._notify()

    def wait(self, timeout_s: float | None) -> bool:
        """Wait until there is something to read; False if `timeout_s` went by.

        Raises
        ------
        LinkClosedError
            Nothing will ever come.
        """
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while not self.inbox:
            if self.closed:
                raise LinkClosedError("the connection was closed")
            left_s = None if deadline_s is None else deadline_s - time.monotonic()
            if left_s is not None and left_s <= 0:
                return False
            # A store without a thread of its own has nobody else who ends waits in time. Not with our lock: those who
            # bring a reply hold the engine's when they ask for ours.
            due_s = self._engine.time_out() if self._waiting else None
            wait_s = min((s for s in (left_s, due_s) if s is not None), default=None)
            with self._arrived:
                if not self.inbox and not self.closed:
                    self._arrived.wait(wait_s)
        return True

    def read(self) -> Any:
        """The next reply or message; there is one.

        Raises
        ------
        LinkClosedError
            The store was closed, or what a command wrote is not on disk as the policy promises.
        """
        item = self.inbox.popleft()
        if isinstance(item, StoreClosedError | AofWriteError):
            self.close()
            raise LinkClosedError(str(item)) from item
        return item

    def close(self) -> None:
        """Leave: what the client watched, queued and waited for is forgotten. Closing twice is fine."""
        with self._arrived:
            if self.closed:
                return
            self.closed = True
            self._arrived.notify_all()
        self._queue.clear()
        self._engine.disconnect(self.client)
        if self._notify is not None:
            self._notify()
