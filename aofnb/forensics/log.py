"""A log as a thing to ask: opened lazily, never written, read again for every question.

What it reads is what was there when it was opened: a file that has grown since is read up to its old size.
"""

from __future__ import annotations

import html
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

from aofnb.clock import SystemClock
from aofnb.errors import AofTruncatedError
from aofnb.forensics.parts import Part, PartFile, find_parts
from aofnb.forensics.scan import Damage, scan_file

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from aofnb.forensics.columns import RowBuilder, Selection

__all__ = ["Log", "OnBad", "Progress", "RdbBaseSkipped", "Report", "scan"]

OnBad = Literal["error", "truncate"]
Progress = Callable[[int, int], object] | bool | None


class RdbBaseSkipped(UserWarning):
    """A part begins with a snapshot (RDB): what it holds is not among the rows."""


@dataclass(slots=True)
class Report:
    """What reading found out beside the rows.

    `damage` : part, offset, nbytes, kind (truncated, format, open_multi) and reason of each file that could not be
    read to its end. `escaped_keys` : keys that the encoding could not hold as they are.
    """

    damage: list[dict[str, Any]] = field(default_factory=list)
    escaped_keys: int = 0


class Log:
    """An append-only file, or a directory of them: ours, Redis's or Valkey's.

    Made by `scan`. Counting and exporting read the files from the beginning, in chunks. Whatever speaks
    Arrow takes it as it is: ``pyarrow.table(log)``, ``duckdb.sql("select cmd, count(*) from log group by 1")``.

    Attributes
    ----------
    source
        Path of the manifest, or of the one file.
    parts
        The files that a server would load, in order.
    """

    def __init__(self, path: str | PathLike[str], *, on_bad: OnBad = "error") -> None:
        self.source, self.parts = find_parts(path)
        self._on_bad = _checked(on_bad)
        self._len: int | None = None

    def to_pandas(
        self,
        *,
        columns: Iterable[str] | None = None,
        nrows: int | None = None,
        chunksize: int | None = None,
        encoding: str | None = "utf-8",
        encoding_errors: str = "backslashreplace",
        cmd: str | Iterable[str] | None = None,
        key: str | bytes | Iterable[str | bytes] | None = None,
        db: int | Iterable[int] | None = None,
        on_bad: OnBad | None = None,
        progress: Progress = None,
    ) -> pd.DataFrame | Iterator[pd.DataFrame]:
        """The commands as a DataFrame, or as an iterator of them: see `aofnb.read_aof`."""
        from aofnb.forensics.columns import Selection
        from aofnb.forensics.frame import read_frame, read_frames

        selection = Selection.of(columns, cmd, key, db, encoding, encoding_errors)
        on_bad = self._on_bad if on_bad is None else _checked(on_bad)
        self._warn_of_snapshots()
        if chunksize is None:
            return read_frame(self, selection, nrows, on_bad, progress)
        return read_frames(self, selection, nrows, chunksize, on_bad, progress)

    def batches(
        self,
        *,
        columns: Iterable[str] | None = None,
        encoding: str | None = "utf-8",
        encoding_errors: str = "backslashreplace",
        cmd: str | Iterable[str] | None = None,
        key: str | bytes | Iterable[str | bytes] | None = None,
        db: int | Iterable[int] | None = None,
        on_bad: OnBad | None = None,
        progress: Progress = None,
    ) -> Iterator[pa.RecordBatch]:
        """The commands as Arrow record batches, a few megabytes of log each; `seq` is the first column."""
        from aofnb.forensics.columns import Selection

        selection = Selection.of(columns, cmd, key, db, encoding, encoding_errors)
        on_bad = self._on_bad if on_bad is None else _checked(on_bad)
        self._warn_of_snapshots()
        return self.read(selection, on_bad, progress, Report())

    def read(self, selection: Selection, on_bad: OnBad, progress: Progress, report: Report) -> Iterator[pa.RecordBatch]:
        """What `batches` and `to_pandas` share; fills `report` on the way."""
        from aofnb.forensics.columns import RowBuilder

        builder = RowBuilder([part.name for part in self.parts], selection)
        tell = _teller(progress)
        total = sum(part.size for part in self.parts)
        done = 0
        for number, part in enumerate(self.parts):
            if part.snapshot_bytes is not None:
                with PartFile(part.path, part.compression) as file:
                    file.seek(part.snapshot_bytes)
                    builder.start_part(number)
                    for batch in self._read_part(part, file, builder, on_bad, report):
                        yield batch
                        report.escaped_keys = builder.escaped_keys
                        tell(done + file.stored_bytes_read, total)
            done += part.size
            tell(done, total)

    def _read_part(
        self, part: Part, file: PartFile, builder: RowBuilder, on_bad: OnBad, report: Report
    ) -> Iterator[pa.RecordBatch]:
        """The rows of one file. Those of a transaction wait for its EXEC: only that says that they count."""
        skipped = part.snapshot_bytes or 0
        size = None if part.compression else part.size - skipped
        waiting: list[pa.RecordBatch] = []
        opened = 0
        for found in scan_file(file, base=skipped, size=size):
            if isinstance(found, Damage):
                if on_bad == "error":
                    raise found.error(part.path)
                report.damage.append(
                    {"part": part.name, "kind": found.kind, "offset": found.offset, "nbytes": found.nbytes}
                    | {"reason": found.reason}
                )
                if found.kind == "annotation":
                    continue
                found = found.as_records()
            rows = builder.batch(found)
            if rows.settled is not None:
                yield from waiting
                waiting.clear()
                yield rows.settled
            if rows.open is not None:
                if not waiting:
                    opened = rows.opened_at
                waiting.append(rows.open)
        if not waiting:
            return
        reason = "the file ends inside a transaction: MULTI has no EXEC, so a server throws its commands away"
        if on_bad == "error":
            raise AofTruncatedError(f"{reason}; on_bad='truncate' reads them", file=part.path, offset=opened)
        report.damage.append(
            {"part": part.name, "kind": "open_multi", "offset": opened, "nbytes": None, "reason": reason}
        )
        yield from map(builder.discarded, waiting)

    @property
    def skipped(self) -> list[dict[str, Any]]:
        """The parts whose rows cannot be given, and why; `nbytes` is the size of the file."""
        return [
            {
                "part": part.name,
                "nbytes": part.size,
                "warning": RdbBaseSkipped.__name__,
                "message": f"{part.name} begins with a snapshot (RDB{_of_size(part)}): its keys are not among the rows"
                + ("" if part.type == "base" else ", nor are commands behind it"),
            }
            for part in self.parts
            if part.snapshot_bytes is None
        ]

    def _warn_of_snapshots(self) -> None:
        for skipped in self.skipped:
            warnings.warn(skipped["message"], RdbBaseSkipped, stacklevel=_outside())

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        import pyarrow as pa

        from aofnb.forensics.columns import Selection

        schema = Selection.of().schema()
        return pa.RecordBatchReader.from_batches(schema, self.batches()).__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self) -> object:
        from aofnb.forensics.columns import Selection

        return Selection.of().schema().__arrow_c_schema__()

    def __len__(self) -> int:
        """How many commands there are: reads everything once."""
        if self._len is None:
            self._len = sum(batch.num_rows for batch in self.batches(columns=()))
        return self._len

    def __bool__(self) -> bool:
        # Without this, `if log:` would read the whole log.
        return True

    def __repr__(self) -> str:
        lines = [f"<aofnb.Log {self.source!r}: {_count(len(self.parts), 'file')}, {_size(self._bytes)}{self._known()}>"]
        lines += [f"  {part.type:6}  {part.format:4}  {_size(part.size):>9}  {part.name}" for part in self.parts]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(part.name)}</td><td>{part.type}</td><td>{part.format}</td>"
            f"<td style='text-align:right'>{_size(part.size)}</td></tr>"
            for part in self.parts
        )
        return (
            f"<div><b>Log</b> <code>{html.escape(self.source)}</code>: {_count(len(self.parts), 'file')}, "
            f"{_size(self._bytes)}{self._known()}"
            f"<table><thead><tr><th>file</th><th>type</th><th>format</th><th>size</th></tr></thead>"
            f"<tbody>{rows}</tbody></table></div>"
        )

    @property
    def _bytes(self) -> int:
        return sum(part.size for part in self.parts)

    def _known(self) -> str:
        return "" if self._len is None else f", {_count(self._len, 'command')}"


def scan(path: str | PathLike[str], *, on_bad: OnBad = "error") -> Log:
    """Open a log for questions, without reading it yet and without ever writing to it.

    Parameters
    ----------
    path
        A directory such as ``appendonlydir`` or the one it is in, a manifest, or a single append-only file; files
        may be compressed with gzip or zstd.
    on_bad
        What counting and exporting do where the log is cut or damaged; see `aofnb.read_aof`.
    """
    return Log(path, on_bad=on_bad)


def _checked(on_bad: OnBad) -> OnBad:
    if on_bad not in ("error", "truncate"):
        raise ValueError(f"on_bad= is 'error' or 'truncate', not {on_bad!r}")
    return on_bad


def _outside() -> int:
    """The stacklevel of the nearest caller that is not this package."""
    level = 1
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("aofnb."):
        frame = frame.f_back
        level += 1
    return level


def _teller(progress: Progress) -> Callable[[int, int], object]:
    if progress is None or progress is False:
        return lambda done, total: None
    if progress is True:
        return _Bar()
    if callable(progress):
        return progress
    raise TypeError(f"progress= is None, True or a function of (bytes done, bytes in all), not {progress!r}")


class _Bar:
    """Progress as one line on stderr: first after a second, then at most five times a second."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self._next_s = self._clock.monotonic() + 1.0
        self._shown = False

    def __call__(self, done: int, total: int) -> None:
        now_s = self._clock.monotonic()
        if done >= total and self._shown:
            sys.stderr.write(f"\rread {_size(total)}        \n")
            self._shown = False
        elif done < total and now_s >= self._next_s:
            sys.stderr.write(f"\rread {_size(done)} of {_size(total)} ({done * 100 // total} %)  ")
            sys.stderr.flush()
            self._next_s, self._shown = now_s + 0.2, True


def _of_size(part: Part) -> str:
    """The size of a snapshot, where it is the whole file."""
    return f", {_size(part.size)}" if part.type == "base" else ""


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _size(nbytes: int) -> str:
    size = float(nbytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{nbytes} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
