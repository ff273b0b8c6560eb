"""A load that others may watch: how far it is, and when they get a turn.

Only where somebody is served before the data is there, as by ``aofnb serve``. The thread that loads holds the engine's
lock but for short rests, in which clients are answered: commands that are flagged ``loading`` run, all others get
-LOADING.

Redis: rdb.c startLoading, networking.c processEventsWhileBlocked, server.c genRedisInfoString (7.0.15).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from aofnb.errors import ReplyError, StoreClosedError

if TYPE_CHECKING:
    from aofnb.engine.core import Engine

__all__ = ["Loading"]

# Others get a turn so often, and so long at most if nobody needs more.
_EVERY_S = 0.05
_REST_S = 0.001


class Loading:
    """State of the load that is under way.

    Attributes
    ----------
    unwanted
        SHUTDOWN was said: the load is to end.
    """

    def __init__(self, engine: Engine) -> None:
        self.unwanted = False
        self._engine = engine
        self._started_s = engine.clock.now_ms() // 1000
        self._done_bytes = 0
        self._total_bytes = 0
        self._next_rest_s = 0.0

    def progress(self, done: int, total: int) -> None:
        """So many bytes of `total` are loaded: note it, and let others in if it is time."""
        self._done_bytes, self._total_bytes = done, total
        if time.monotonic() >= self._next_rest_s:
            self.rest(_REST_S)

    def rest(self, seconds: float) -> None:
        """Let others have the lock for so long.

        Raises
        ------
        StoreClosedError
            One of them wants an end.
        """
        lock = self._engine.lock
        lock.release()
        try:
            time.sleep(seconds)
        finally:
            lock.acquire()
        self._next_rest_s = time.monotonic() + _EVERY_S
        if self.unwanted:
            raise StoreClosedError("SHUTDOWN ended the load")

    def refusal(self) -> ReplyError:
        """What a command is told that needs the data."""
        return ReplyError("LOADING Redis is loading the dataset in memory")

    def info(self) -> dict[str, object]:
        """The fields of INFO persistence that tell of it."""
        done, total = self._done_bytes, self._total_bytes
        elapsed_s = self._engine.clock.now_ms() // 1000 - self._started_s
        return {
            "loading_start_time": self._started_s,
            "loading_total_bytes": total,
            "loading_rdb_used_mem": 0,
            "loading_loaded_bytes": done,
            "loading_loaded_perc": f"{100 * done / total if total else 0:.2f}",
            # Of the first second nothing can be said.
            "loading_eta_seconds": 1 if elapsed_s == 0 else elapsed_s * (total - done) // (done + 1),
        }
