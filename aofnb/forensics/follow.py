"""New commands of a living log as they come, also while it is rewritten.

Rules of this file: only whole units are given, so a transaction comes once its EXEC is there; the base that a rewrite
makes is not read, since it says nothing new; the file that was read last is held open, so that what came into it before
a rewrite dropped it is not lost; a file that came and went between two looks is, and said so; where what was read is no
longer there, that is an error. Between two looks nothing runs: the clock waits.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Self

import pandas as pd

from aofnb.clock import Clock
from aofnb.errors import AofError
from aofnb.forensics.assembly import frame_of_batches
from aofnb.forensics.columns import RowBuilder, Selection
from aofnb.forensics.index import Mark
from aofnb.forensics.parts import Part, find_parts
from aofnb.forensics.scan import Damage, scan_file
from aofnb.forensics.words import count

if TYPE_CHECKING:
    import pyarrow as pa

    from aofnb.forensics.log import Log

__all__ = ["Follow"]

# So much of what was read tells whether it is still there.
_LAST_BYTES = 256

_log = logging.getLogger("aofnb")


class Follow(Iterator[pd.DataFrame]):
    """Frames of new commands, for ever; made by `Log.follow`. `stop` ends it, from any thread, or leaving
    ``with``.

    `part` and `offset` are where it stands.
    """

    def __init__(self, log: Log, columns: Iterable[str] | None, poll_s: float, clock: Clock) -> None:
        if poll_s <= 0:
            raise ValueError(f"poll= is a number of seconds above 0, not {poll_s}")
        if not log.parts:
            raise AofError("this log has no file to follow", file=log.source)
        if log.copied:
            raise AofError(
                "this was read once and copied: only a file of this machine grows; give its path", file=log.source
            )
        if log.parts[-1].compression is not None:
            raise AofError("a compressed file does not grow", file=log.parts[-1].path)
        self._source = log.source
        self._selection = Selection.of(columns)
        self._poll_s, self._clock = poll_s, clock
        self._wake = threading.Condition()
        self._stopped = False
        last = [mark for mark in log.index().marks if mark.part == len(log.parts) - 1][-1]
        part = log.parts[-1]
        end = log.index().end
        if part.format == "rdb" and not last.offset:
            # Where its snapshot ends is lost, and only behind that it is a log.
            last = Mark(last.part, part.size, end.seq, end.db, end.txn, end.ts)
        elif part.format == "rdb" and end.seq == last.seq and end.db:
            # Once something stands behind the snapshot, it also has the SELECT of database 0.
            last = replace(last, seq=last.seq + 1)
        self._open(part, last)
        # What is there already is not new.
        self._new_rows()

    def _open(self, part: Part, begin: Mark) -> None:
        self.part, self.offset = part, begin.offset
        self._file = part.open_stored()
        self._builder = RowBuilder([part.name], self._selection)
        self._builder.resume(Mark(0, begin.offset, begin.seq, begin.db, begin.txn, begin.ts))
        self._waiting: list[pa.RecordBatch] = []
        # What is noted behind the last row, and what stands before it.
        self._second_behind: int | None = None
        self._last_bytes = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
        self._file.close()

    def stop(self) -> None:
        """End the iteration, also one that waits."""
        with self._wake:
            self._stopped = True
            self._wake.notify_all()

    def __next__(self) -> pd.DataFrame:
        try:
            return self._next()
        except BaseException:
            self._file.close()
            raise

    def _next(self) -> pd.DataFrame:
        while not self._stopped:
            frame = self._new_rows()
            if frame is not None:
                return frame
            following = self._following()
            if following is not None:
                # It may have had a last word between the two looks.
                frame = self._new_rows()
                self._go_on(following)
                if frame is not None:
                    return frame
                continue
            with self._wake:
                if not self._stopped:
                    self._clock.wait(self._wake, self._poll_s)
        raise StopIteration

    def _new_rows(self) -> pd.DataFrame | None:
        """The whole units that came since the last look."""
        self._file.seek(0, 2)
        if self._file.tell() < self.offset:
            raise self._changed("the file became shorter while it was followed: it was cut or replaced")
        # It may have been cut, and have grown again since.
        self._file.seek(self.offset - len(self._last_bytes))
        if self._file.read(len(self._last_bytes)) != self._last_bytes:
            raise self._changed("the file was changed while it was followed, in what was read already")
        ready: list[pa.RecordBatch] = []
        behind: list[int] = []
        for found in scan_file(self._file, base=self.offset):
            if isinstance(found, Damage):
                if found.kind == "format":
                    raise found.error(self.part.path)
                # The rest of it has not come yet.
                break
            # A second that is noted behind the last row is read again: it goes if a server cuts what it was for.
            noted = [(0, second) for second in behind] + found.ts
            behind = [second for row, second in noted if row == len(found)][-1:]
            rows = self._builder.batch(replace(found, ts=[each for each in noted if each[0] < len(found)]))
            if len(found):
                self.offset = found.file_end
            if rows.settled is not None:
                ready += [*self._waiting, rows.settled]
                self._waiting = []
            if rows.open is not None:
                self._waiting.append(rows.open)
        self._second_behind = behind[0] if behind else None
        begin = max(self.offset - _LAST_BYTES, 0)
        self._file.seek(begin)
        self._last_bytes = self._file.read(self.offset - begin)
        if not any(batch.num_rows for batch in ready):
            return None
        return frame_of_batches(ready, self._builder.schema, [self.part.name])

    def _changed(self, what: str) -> AofError:
        return AofError(f"{what}; follow it again", file=self.part.path, offset=self.offset)

    def _following(self) -> Part | None:
        """The file that the writer went on to, if it did."""
        try:
            _, parts = find_parts(self._source)
        except (AofError, FileNotFoundError):
            # A rewrite may be about to put another manifest in place.
            return None
        names = [part.name for part in parts]
        if self.part.name in names:
            self._check_place()
            behind = parts[names.index(self.part.name) + 1 :]
        else:
            behind = tuple(part for part in parts if part.type == "incr" and (part.seq or 0) > (self.part.seq or 0))
        return behind[0] if behind else None

    def _check_place(self) -> None:
        """What is followed has its name still: servers of before 7.0 rewrite one file and rename the new one."""
        with suppress(FileNotFoundError):
            if not os.path.samestat(os.stat(self.part.path), os.fstat(self._file.fileno())):
                raise self._changed("another file took its place: the log was rewritten, or restored")

    def _go_on(self, part: Part) -> None:
        missed = (part.seq or 0) - (self.part.seq or 0) - 1
        if self.part.type == part.type == "incr" and missed > 0:
            _log.warning(
                "%s came and went between two looks, with the commands in it: rewrites follow each other faster than "
                "that; poll= may be less",
                count(missed, "file"),
            )
        mark = self._builder.mark(0)
        ts = mark.ts if self._second_behind is None else self._second_behind
        self._file.close()
        # A new file begins in database 0.
        self._open(part, Mark(0, 0, mark.seq, 0, mark.txn, ts))
