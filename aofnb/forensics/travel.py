"""The data as it was: a log replayed up to a position into a store that nobody can write.

What a server would hold that had run every unit before the position: a transaction counts once its EXEC is before
it. The store's clock stands still at the last second that the log names, so a key whose deadline had passed by then
is gone; where the log has no times, nothing expires but what the log itself deletes.

Redis: aof.c loadSingleAppendOnlyFile (7.0.15).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from aofnb.engine.replay import Replayer
from aofnb.engine.store import Store, open_store
from aofnb.forensics.log import Report, tables
from aofnb.forensics.parts import PartFile
from aofnb.resp.reader import Block

if TYPE_CHECKING:
    from aofnb.forensics.log import Log
    from aofnb.forensics.position import Position

__all__ = ["StoppedClock", "replay_into", "store_at"]


class StoppedClock:
    """Time that stands still at a moment of the past; intervals are zero."""

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic(self) -> float:
        return 0.0

    def wait(self, condition: threading.Condition, timeout_s: float | None) -> None:
        condition.wait(timeout_s)


def store_at(log: Log, position: Position) -> Store:
    """A read-only store with the data before `position`."""
    clock = StoppedClock(0 if position.ts is None else position.ts * 1000)
    store = open_store(None, readonly=True, clock=clock, background=False, databases=max(16, log.index().databases))
    replay_into(store, log, position)
    return store


def replay_into(store: Store, log: Log, position: Position) -> None:
    """Run all commands of `log` before `position` on `store`, which is empty."""
    replayer = Replayer(store.engine)
    with replayer.loading():
        for name, block in blocks(log, position.seq):
            replayer.replay(name, block)


def blocks(log: Log, stop: int) -> Iterator[tuple[str, Block]]:
    """The commands of the first `stop` rows, each file's under its path."""
    left = stop
    for part in log.parts:
        with PartFile(part.path, part.compression) as file:
            for found in tables(part, file, 0, "truncate", Report()):
                if found.cut_argc is not None:
                    # What is legible of a cut command is a row, but was never run.
                    left -= len(found)
                    continue
                rows = min(left, len(found))
                if rows:
                    offsets = found.offset[:rows].tolist()
                    end = offsets[-1] + int(found.nbytes[rows - 1])
                    yield part.path, Block.of(found.argvs(rows), offsets, end)
                left -= rows
                if left <= 0:
                    return
