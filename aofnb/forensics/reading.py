"""What all readings of a log share: what they found out beside the rows, how far they are, which rows they keep."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Semaphore, Thread
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from aofnb.clock import Clock, SystemClock
from aofnb.forensics import _walk_cy
from aofnb.forensics.index import Index
from aofnb.forensics.parts import Part, PartFile
from aofnb.forensics.words import size

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "HARMLESS",
    "OPEN_MULTI",
    "Bar",
    "OnBad",
    "Progress",
    "ReadAhead",
    "Report",
    "ahead",
    "pays_ahead",
    "rows_between",
    "teller",
]

T = TypeVar("T")
OnBad = Literal["error", "truncate", "resync"]
Progress = Callable[[int, int], object] | bool | None
# Less is read sooner than a thread has begun.
_ALONE_BYTES = 16 << 20
# Kinds of damage that take no command from anybody.
HARMLESS = ("skipped", "blank")
_KEEPS_ALL = (*HARMLESS, "checksum", "empty", "mended", "open_multi")
OPEN_MULTI = "the file ends inside a transaction: MULTI has no EXEC, so a server throws its commands away"


@dataclass(slots=True)
class Report:
    """What reading found out beside the rows.

    `damage` : part, offset, nbytes, kind and reason of each place that could not be read: truncated, format,
    open_multi, snapshot, and with ``resync`` what `aofnb.forensics.resync.Gap` tells apart, and ``mended``. Of a
    snapshot that was read: ``skipped``, a key that no command can make, ``empty``, keys that servers leave out,
    ``checksum``, some byte is wrong.
    `escaped_keys` : keys that the encoding could not hold as they are.
    `share` : how much of what is to be read the rows so far are, from 0 to 1, by bytes; `offset` : the end of the last
    of them in its file; `rows` : how many rows there were so far, those that nobody wanted too.
    `seconds` : row and second of each ``#TS``, which stands before that row; -1 where damage there may have taken one.
    `snapshots` : of each file that begins with one, in order, its first row and the one behind the last.
    `snapshot_end` : where the snapshot ends with which the file begins that is read; None if it has none, or none that
    is whole.
    `index` : once all of the log was read, from its beginning.
    """

    damage: list[dict[str, Any]] = field(default_factory=list)
    escaped_keys: int = 0
    share: float = 0.0
    offset: int = 0
    rows: int = 0
    seconds: list[tuple[int, int]] = field(default_factory=list)
    snapshots: list[tuple[int, int]] = field(default_factory=list)
    snapshot_end: int | None = None
    index: Index | None = None

    @property
    def lost(self) -> bool:
        """Whether damage took commands, or what stood between them."""
        return any(each["kind"] not in _KEEPS_ALL for each in self.damage)

    def add(self, part: Part, kind: str, offset: int, nbytes: int | None, reason: str, lost: int | None = None) -> None:
        """Note damage; `lost` is how many commands at least, where that was found out."""
        found = {"part": part.name, "kind": kind, "offset": offset, "nbytes": nbytes, "reason": reason}
        self.damage.append(found if lost is None else {**found, "lost": lost})


def ahead(items: Generator[T]) -> Generator[T]:
    """The same items in the same order, each made by a thread while what is done with the one before it is done.

    What goes wrong in the thread is raised where it would have been without. Once this iterator is closed, or gone, the
    thread has ended and `items` is closed.
    """
    made: SimpleQueue[tuple[bool, Any]] = SimpleQueue()
    wanted = Semaphore(1)
    closed = False

    def make() -> None:
        with closing(items):
            while True:
                wanted.acquire()
                if closed:
                    return
                try:
                    made.put((True, next(items)))
                except BaseException as problem:
                    made.put((False, problem))
                    return

    thread = Thread(target=make, name="aofnb-ahead", daemon=True)
    thread.start()
    try:
        while (found := made.get())[0]:
            wanted.release()
            yield found[1]
        if not isinstance(found[1], StopIteration):
            raise found[1]
    finally:
        closed = True
        wanted.release()
        thread.join()


class ReadAhead:
    """The next `nbytes` of a file, or all that is left of it, read by a thread while what came before is looked at.

    It is read in blocks of `block_bytes`, each with the end of the one before in front of it: so a command that is cut
    by a block need not be copied in front of the next one (`unread`).
    """

    # Longer ones are copied.
    REPEATED_BYTES = 1 << 15

    def __init__(self, file: PartFile, nbytes: int | None, block_bytes: int) -> None:
        self._repeated = 0 if file.compressed else min(self.REPEATED_BYTES, block_bytes // 2)
        self._blocks = ahead(_blocks(file, nbytes, block_bytes, self._repeated))
        # Of the next block these are left out.
        self._skip = 0
        # Whether there is a next block: the last one is not given again.
        self._more = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._blocks.close()

    def read(self, size: int, /) -> bytes:
        """At least `size` bytes, if there are so many."""
        pieces: list[bytes] = []
        while size > 0 and self._more:
            block, self._more = next(self._blocks)
            pieces.append(block[self._skip :])
            size -= len(pieces[-1])
            self._skip = self._repeated
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def unread(self, size: int) -> int:
        """Give the last bytes once more, at least `size`: how many it is, 0 if that is not cheap."""
        if size > self._repeated or not self._more:
            return 0
        self._skip = 0
        return self._repeated


def _blocks(file: PartFile, nbytes: int | None, block_bytes: int, repeated: int) -> Generator[tuple[bytes, bool]]:
    """Each block, and whether there is another."""
    left: float = float("inf") if nbytes is None else nbytes
    again = 0
    while True:
        block = file.read(int(min(block_bytes, left)) + again)
        is_full = len(block) == block_bytes + again
        yield block, is_full
        if not is_full:
            return
        left -= len(block) - again
        again = file.unread(repeated) if repeated else 0


def pays_ahead(nbytes: int) -> bool:
    """Whether it pays to read so many bytes of a log by `ahead`: the kernels run without the interpreter's lock."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return _walk_cy.COMPILED and cores > 1 and nbytes > _ALONE_BYTES


def rows_between(batch: pa.RecordBatch, first: int, last: int | None) -> pa.RecordBatch | None:
    """The rows of `batch` from `first` to before `last`; None if those and all that follow are at or behind `last`."""
    seq = batch.column(0).to_numpy()
    if last is not None and (last <= first or (len(seq) and seq[0] >= last)):
        return None
    begin = int(seq.searchsorted(first))
    end = len(seq) if last is None else int(seq.searchsorted(last))
    return batch.slice(begin, end - begin)


def teller(progress: Progress) -> Callable[[int, int], object]:
    """What to call with the bytes done and the bytes in all."""
    if progress is None or progress is False:
        return lambda done, total: None
    if progress is True:
        return Bar()
    if callable(progress):
        return progress
    raise TypeError(f"progress= is None, True or a function of (bytes done, bytes in all), not {progress!r}")


class Bar:
    """Progress as one line on stderr, gone at the end: first after a second, then at most five times a second."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = SystemClock() if clock is None else clock
        self._next_s = self._clock.monotonic() + 1.0
        self._shown = 0

    def __call__(self, done: int, total: int) -> None:
        now_s = self._clock.monotonic()
        if done >= total and self._shown:
            self._show("")
            # Back to where the next text begins.
            self._show("")
        elif done < total and now_s >= self._next_s:
            self._show(f"read {done * 100 // total} %, {size(done)} of {size(total)}"[: _columns() - 1])
            self._next_s = now_s + 0.2

    def _show(self, text: str) -> None:
        """`text` in place of what is shown."""
        sys.stderr.write("\r" + text.ljust(self._shown))
        sys.stderr.flush()
        self._shown = len(text)


def _columns() -> int:
    """How wide the terminal is; a longer line would go on in the next one, and stay."""
    with suppress(OSError, ValueError, AttributeError):
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    return 80
