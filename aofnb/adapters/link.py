"""One connection inside the process: requests go in as argument vectors, replies come out in their order.

What stands in the place of a socket for redis-py. Rules of this file: one batch is one turn of the engine; what a
reader finds is in the order in which a server would have sent it, messages that nobody asked for included; a reader
may wait in one thread for what a command in another one causes.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from aofnb.engine.core import Engine
from aofnb.errors import AofWriteError, StoreClosedError

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
        self.inbox: deque[Any] = deque()
        self._arrived = threading.Condition()
        self._notify = notify
        self.closed = False

    def send(self, batch: Sequence[Argv]) -> None:
        """Run `batch` as one turn; its replies are in the inbox, or will be.

        Raises
        ------
        LinkClosedError
            The store is closed, or what the batch wrote is not on disk as the policy promises.
        """
        if self.closed:
            raise LinkClosedError("the connection is closed")
        try:
            replies = self._engine.run(self.client, batch)
        except (StoreClosedError, AofWriteError) as problem:
            self.close()
            raise LinkClosedError(str(problem)) from problem
        self._deliver(replies)

    def _deliver(self, replies: Sequence[Any]) -> None:
        with self._arrived:
            self.inbox.extend(replies)
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
        with self._arrived:
            self._arrived.wait_for(lambda: self.inbox or self.closed, timeout_s)
            if self.inbox:
                return True
            if self.closed:
                raise LinkClosedError("the connection was closed")
            return False

    def close(self) -> None:
        """Leave: what the client watched, queued and waited for is forgotten. Closing twice is fine."""
        with self._arrived:
            if self.closed:
                return
            self.closed = True
            self._arrived.notify_all()
        if self._notify is not None:
            self._notify()
