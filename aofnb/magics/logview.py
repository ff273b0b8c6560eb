"""The log for a person: what a cell appended, and the last records of the live file.

Reads the files that the store writes, with handles of its own; changes nothing.
"""

from __future__ import annotations

import html
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from aofnb.aof.stats import AofStats
from aofnb.engine import Store
from aofnb.magics import show
from aofnb.magics.cells import AnyStore, is_remote
from aofnb.magics.parse import MagicError
from aofnb.magics.replies import DISPLAY, Lines, command_text

__all__ = ["Appended", "LogMark", "Record", "Status", "Tail", "records", "remote_status", "tail"]


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a log file: where it is, its bytes, and its arguments (empty for an annotation)."""

    offset: int
    raw: bytes
    argv: tuple[bytes, ...]


def records(file: BinaryIO, offset: int = 0, end: int | None = None) -> Iterator[Record]:
    """Records of `file`, which stands at `offset`, a record's beginning, up to `end`.

    Stops at the first bytes that are no whole record: the file is being written.
    """
    while end is None or offset < end:
        head = file.readline()
        if not head.endswith(b"\r\n"):
            return
        if head[:1] == b"#":
            yield Record(offset, head, ())
            offset += len(head)
            continue
        raw, argv = [head], []
        if head[:1] != b"*" or not head[1:-2].isdigit():
            return
        for _ in range(int(head[1:-2])):
            size = file.readline()
            if size[:1] != b"$" or not size[1:-2].isdigit():
                return
            body = file.read(int(size[1:-2]) + 2)
            if len(body) != int(size[1:-2]) + 2:
                return
            raw += size, body
            argv.append(body[:-2])
        whole = b"".join(raw)
        yield Record(offset, whole, tuple(argv))
        offset += len(whole)


class LogMark:
    """The end of the log at one moment, so that what comes after it can be shown.

    The file is held open, since a rewrite in between may switch to another one and delete this one.
    """

    def __init__(self, store: AnyStore, stack: ExitStack) -> None:
        if is_remote(store):
            raise MagicError(f"--log: the log of {store.shown} is on its own disk; %aof --path reads it from there")
        writer = store.engine.writer
        if writer is None:
            raise MagicError("--log: this store has no log; it is read-only or in memory")
        self._writer = writer
        with store.engine.lock:
            self._path = writer.file.path
            self._offset = writer.written_bytes
            self._file = Path(self._path).open("rb")  # noqa: SIM115  # the stack closes it
            stack.callback(self._file.close)

    def appended(self) -> Appended:
        """What was appended since; bytes still in aof_buf are counted, not shown."""
        writer = self._writer
        self._file.seek(self._offset)
        pieces = [(self._path, list(records(self._file, self._offset)))]
        if writer.file.path != self._path:
            with Path(writer.file.path).open("rb") as file:
                pieces.append((writer.file.path, list(records(file))))
        return Appended(pieces, len(writer.aof_buf))


class Appended:
    """The bytes that a cell appended to the log, a record a line."""

    def __init__(self, pieces: list[tuple[str, list[Record]]], waiting: int) -> None:
        self.pieces = [(path, found) for path, found in pieces if found]
        self.waiting = waiting

    @property
    def raw(self) -> bytes:
        """The bytes themselves."""
        return b"".join(record.raw for _, found in self.pieces for record in found)

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        printer.text("\n".join(self._lines()))

    def _lines(self) -> list[str]:
        if not self.pieces and not self.waiting:
            return ["nothing was appended to the log"]
        rows, limit = DISPLAY.limits.rows, DISPLAY.limits.bytes
        lines = []
        for path, found in self.pieces:
            size = sum(len(record.raw) for record in found)
            lines.append(f"{_name(path)}, {size:,} bytes from byte {found[0].offset:,}:")
            shown = found[:rows] if rows else found
            for record in shown:
                cut = record.raw[:limit] if limit else record.raw
                more = f"... ({limit:,} of {len(record.raw):,} bytes shown)" if len(cut) < len(record.raw) else ""
                lines.append(show.escaped(cut) + more)
            if len(shown) < len(found):
                lines.append(f"... ({len(shown):,} of {len(found):,} records shown)")
        if self.waiting:
            lines.append(f"{self.waiting:,} bytes are still in aof_buf")
        return lines


def _name(path: str) -> str:
    # Only the name: a path differs from machine to machine, and so would the saved notebook.
    return path.replace("\\", "/").rpartition("/")[2]


class Tail:
    """The last records of the live incr file."""

    def __init__(self, name: str, last: list[Record], total: int) -> None:
        self.name = name
        self.records = last
        self.total = total

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        lines = [f"{self.name}: {len(self.records):,} of {show.counted(self.total, 'record')}"]
        width = max((len(f"{record.offset:,}") for record in self.records), default=0)
        lines += [f"{record.offset:>{width},}  {_one_line(record)}" for record in self.records]
        printer.text("\n".join(lines))

    def _repr_html_(self) -> str | None:
        if not DISPLAY.html or not self.records:
            return None
        rows = [
            [f"{record.offset:,}", str(len(record.raw)), f"<code>{html.escape(_one_line(record))}</code>"]
            for record in self.records
        ]
        return show.html_table(["byte", "size", self.name], rows, self.total)


def _one_line(record: Record) -> str:
    return command_text(record.argv, 200) if record.argv else record.raw.decode("latin-1").rstrip()


def tail(store: Store, count: int) -> Tail:
    """The last `count` records of the live incr file.

    The file is read from its beginning, since only there a record is known to begin; time is linear in its size.

    Raises
    ------
    MagicError
        The store has no log.
    """
    writer = store.engine.writer
    if writer is None:
        raise MagicError("this store has no log; it is read-only or in memory")
    with store.engine.lock:
        path, end = writer.file.path, writer.written_bytes
        # Under the lock, so that a rewrite cannot delete it first.
        file = Path(path).open("rb")  # noqa: SIM115  # closed below
    last: deque[Record] = deque(maxlen=count)
    total = 0
    with file:
        for record in records(file, 0, end):
            last.append(record)
            total += 1
    return Tail(_name(path), list(last), total)


class Status:
    """`AofStats` in a few lines, or a table."""

    def __init__(self, name: str, stats: AofStats) -> None:
        self.name = name
        self.stats = stats

    def rows(self) -> list[tuple[str, str]]:
        """What is shown: names and texts."""
        stats = self.stats
        if not stats.aof_enabled:
            return [("store", self.name), ("keys", f"{stats.keys:,}"), ("log", "none")]
        rows = [
            ("store", self.name),
            ("keys", f"{stats.keys:,}"),
            ("appendfsync", stats.appendfsync),
            ("in aof_buf", _amount(stats.aof_buf_bytes, stats.aof_buf_commands)),
            ("written, not synced", _amount(stats.unsynced_bytes, stats.unsynced_commands)),
            ("synced", f"{stats.synced_bytes:,} bytes of the live file"),
            ("rewrite", self._rewrite()),
        ]
        if stats.fsync_lag_s:
            rows.append(("fsync lag", f"{stats.fsync_lag_s:.1f} s"))
        if stats.delayed_fsync:
            rows.append(("delayed fsyncs", f"{stats.delayed_fsync:,}"))
        if stats.write_error:
            rows.append(("write error", stats.write_error))
        rows += [(kind, f"{name}, {size:,} bytes") for name, kind, size in stats.files]
        return rows

    def _rewrite(self) -> str:
        rewrite = self.stats.rewrite
        if rewrite.phase != "idle":
            return f"{rewrite.phase}, {rewrite.fraction:.0%}"
        if self.stats.rewrite_scheduled:
            return "scheduled"
        if not self.stats.last_rewrite_ok:
            return "the last one failed; the old files are in use"
        return f"idle, {self.stats.rewrites:,} so far"

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        rows = self.rows()
        width = max(len(name) for name, _ in rows)
        printer.text("\n".join(f"{name:{width}}  {value}" for name, value in rows))

    def _repr_html_(self) -> str | None:
        if not DISPLAY.html:
            return None
        (_, store), *others = self.rows()
        rows = [[html.escape(name), html.escape(value)] for name, value in others]
        return show.html_table(["store", store], rows, len(rows))


def _amount(size: int, commands: int) -> str:
    return f"{show.counted(size, 'byte')}, {show.counted(commands, 'command')}"


# Field of INFO -> what is shown; those that a server has not are left out.
_REMOTE = {
    "aof_enabled": "log",
    "aof_current_size": "bytes of log",
    "aof_base_size": "bytes of base",
    "aof_buffer_length": "bytes in aof_buf",
    "aof_pending_bio_fsync": "fsyncs pending",
    "aof_delayed_fsync": "delayed fsyncs",
    "aof_rewrite_in_progress": "rewrite runs",
    "aof_last_bgrewrite_status": "last rewrite",
    "aof_last_write_status": "last write",
    "loading": "loading",
}


def remote_status(name: str, info: bytes) -> Lines:
    """What INFO of a server tells of its log."""
    fields = dict(line.split(":", 1) for line in info.decode("utf-8", "replace").splitlines() if ":" in line)
    rows = [("server", name)] + [(title, fields[field]) for field, title in _REMOTE.items() if field in fields]
    width = max(len(title) for title, _ in rows)
    return Lines([f"{title:{width}}  {value}" for title, value in rows])
