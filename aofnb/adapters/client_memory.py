"""``maxmemory-clients``: what clients make us hold, and who is let go when that is too much.

Rules of this file: while the setting is 0 nothing is counted. Else each client whose state changed in a round is
weighed before what it sent is run, and after it was answered. The largest go first: there are classes of size, each
twice as large as the one before, and in a class the one goes first that has been in it for the longest time. Who asked
to stay (CLIENT NO-EVICT) does, and counts all the same; replicas stay, and do not count.

Redis: networking.c evictClients, getClientEvictionLimit, updateClientMemUsage (7.0.15).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from aofnb.commands.clients import memory_of, queue_bytes
from aofnb.config import Config

if TYPE_CHECKING:
    from aofnb.adapters.connection import Connection

__all__ = ["ClientMemory", "limit_bytes"]

# With less a server could not talk to anybody.
_LEAST_BYTES = 128 << 10
# Classes of size: less than 32 KiB, than 64 KiB, and so on; the last from 4 GiB on.
_FIRST_CLASS_BITS = 15
_CLASSES = 19


def limit_bytes(config: Config) -> int:
    """How many bytes all clients together may take; 0: as many as they want.

    >>> limit_bytes(Config({"maxmemory-clients": "1gb"})), limit_bytes(Config({"maxmemory-clients": "5%"}))
    (1073741824, 0)
    """
    text = config.maxmemory_clients
    number = int(text.removesuffix("%"))
    if text.endswith("%"):
        if not config.maxmemory:
            return 0
        number = max(1, config.maxmemory * number // 100)
    return max(number, _LEAST_BYTES) if number else 0


class ClientMemory:
    """What each client takes, and which of them are the largest. Everything here runs under the engine's lock.

    Attributes
    ----------
    total : int
        Bytes of all that count.
    """

    def __init__(self) -> None:
        self.total = 0
        self._sizes: dict[Connection, int] = {}
        # Those that may be let go, in the order in which they came to be so large.
        self._classes: list[dict[Connection, None]] = [{} for _ in range(_CLASSES)]
        self._class_of: dict[Connection, int] = {}
        # Of clients inside MULTI: their queue, how long it was, and the bytes in it. They are counted as they come.
        self._queues: dict[Connection, tuple[Sequence[Any], int, int]] = {}

    def weigh(self, connection: Connection, more: int = 0) -> None:
        """Count what `connection` takes now, and `more` bytes that came just now."""
        if connection.sock is None or connection.kind == "replica":
            self.forget(connection)
            return
        client = connection.client
        size = memory_of(client, queued_bytes=self._queued_bytes(connection)) + more
        self.total += size - self._sizes.get(connection, 0)
        self._sizes[connection] = size
        number = -1 if client.no_evict else min(max(size.bit_length() - _FIRST_CLASS_BITS, 0), _CLASSES - 1)
        if number != self._class_of.get(connection, -1):
            self._leave_class(connection)
            if number >= 0:
                self._class_of[connection] = number
                self._classes[number][connection] = None

    def _queued_bytes(self, connection: Connection) -> int:
        queue = connection.client.multi
        if queue is None:
            self._queues.pop(connection, None)
            return 0
        known, count, size = self._queues.get(connection, (queue, 0, 0))
        if known is not queue:
            count, size = 0, 0
        size += queue_bytes(queue[count:])
        self._queues[connection] = queue, len(queue), size
        return size

    def _leave_class(self, connection: Connection) -> None:
        number = self._class_of.pop(connection, None)
        if number is not None:
            del self._classes[number][connection]

    def forget(self, connection: Connection) -> None:
        """It has gone, or counts no more."""
        self.total -= self._sizes.pop(connection, 0)
        self._queues.pop(connection, None)
        self._leave_class(connection)

    def largest_first(self) -> Iterator[Connection]:
        """Those that may be let go, in the order in which they go; each may be forgotten meanwhile."""
        for members in reversed(self._classes):
            yield from list(members)
