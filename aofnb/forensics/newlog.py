"""A log made of another: chosen rows into a new directory, which every server loads; the source is never written.

1. files that are sound and wanted whole are copied byte by byte; of others each row is written as Redis writes it, with
   its annotations; a snapshot that is not taken whole becomes the commands that rebuild it;
2. transactions stay whole: one without EXEC is left out as a server would, one that damage cut open is closed there;
3. the manifest comes last, so a directory that is not finished is no log;
4. what is there is loaded, by us and if there is one by redis-server, and compared.
"""

from __future__ import annotations

import html
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from aofnb.aof.fs import OsFs
from aofnb.aof.manifest import AofFile, Manifest
from aofnb.engine.store import open_store
from aofnb.errors import AofError, AofnbError
from aofnb.forensics.damage import Framing, PartSurvey
from aofnb.forensics.log import Log
from aofnb.forensics.oracle import loading_server
from aofnb.forensics.reading import OnBad, Progress, Report, teller
from aofnb.forensics.rows import tables
from aofnb.forensics.scan import Records
from aofnb.forensics.travel import refuse_history
from aofnb.forensics.words import count
from aofnb.resp.encode import encode_command
from aofnb.store.digest import keyspace_digest

__all__ = ["REPORT_NAME", "Written", "checked_dest", "is_copied", "left_out", "write_log"]

REPORT_NAME = "aofnb-report.json"
_PREFIX, _DIRNAME = "appendonly.aof", "appendonlydir"
_COPY_BYTES = 1 << 20
_SHOWN = 10

Keep = npt.NDArray[np.bool_]
# Of a table and the number of its first row: which rows are wanted.
Chooser = Callable[[Records, int], Keep]
# A table, for one of as many rows that takes its place.
Change = Callable[[Records], Records]


@dataclass(slots=True, repr=False)
class Written:
    """A new log.

    Attributes
    ----------
    path, directory
        The data directory, for `aofnb.open` and for redis-server's dir; and the one with the files.
    files
        Name, bytes and commands of each.
    commands, keys
        How many were written, and how many keys they make in the end.
    digest
        Of the data, as DEBUG DIGEST gives it; `server_digest` is what a redis-server that loaded it said, or why that
        was not asked.
    problems
        What it lacks of a snapshot, since nothing here can hold it, and what loading it met: commands that failed.
    """

    path: str
    directory: str
    files: list[dict[str, Any]] = field(default_factory=list)
    commands: int = 0
    keys: int = 0
    digest: str = ""
    server_digest: str = ""
    problems: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """What was made, as text."""
        made = f"{self.path}: {count(self.commands, 'command')}, {count(self.keys, 'key')}"
        same = bool(self.digest) and self.server_digest == self.digest
        server = "loads the same data from it" if same else self.server_digest or "not asked"
        lines = [made, f"  redis-server: {server}; report: {REPORT_NAME}"]
        lines += [f"  {problem}" for problem in self.problems[:_SHOWN]]
        if len(self.problems) > _SHOWN:
            lines.append(f"  and {count(len(self.problems) - _SHOWN, 'problem')} more: see .problems")
        return lines

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        return "<pre>" + html.escape(repr(self)) + "</pre>"

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


def checked_dest(log: Log, dest: str | PathLike[str]) -> Path:
    """`dest`, absolute.

    Raises
    ------
    AofError
        There is something already, or it is in the directory that is read.
    """
    path = Path(os.path.abspath(os.path.expanduser(os.fspath(dest))))
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise AofError("there is something there already; give the path of a new directory", file=path)
    for part in log.parts:
        home = Path(os.path.realpath(os.path.dirname(part.path)))
        if Path(os.path.realpath(path)).is_relative_to(home) and (len(log.parts) > 1 or part.type != "single"):
            raise AofError(
                "this is inside the log that is read, which is never written; choose another place", file=path
            )
    return path


def write_log(
    log: Log,
    dest: Path,
    parts: Sequence[PartSurvey],
    *,
    choose: Chooser | None = None,
    change: Change | None = None,
    touched: Callable[[PartSurvey], bool] = lambda part: False,
    extra: Sequence[Sequence[bytes]] = (),
    on_bad: OnBad = "resync",
    about: dict[str, Any],
    verify: bool = True,
    progress: Progress = None,
) -> Written:
    """Write the chosen rows of `log` to the new data directory `dest`.

    `parts` is what `survey` said of its files. `choose` and `change` say which rows, and what becomes of them; where
    neither is given, or `touched` denies it, a sound file is copied. `extra` are commands behind everything, in
    database 0 until a SELECT. `on_bad` is how damage is read: the rows must be those that `choose` knows. `about` goes
    into the report beside the log. `verify` has it loaded.
    """
    refuse_history(log)
    fresh = not dest.exists()
    directory = dest / _DIRNAME
    try:
        directory.mkdir(parents=True)
        written = Written(str(dest), str(directory))
        manifest = Manifest(_PREFIX)
        seq = 0
        tell, done = teller(progress), 0
        total = sum(seen.part.size for seen in parts)
        for number, seen in enumerate(parts):
            as_base = number == 0 and seen.part.type != "incr"
            whole = change is None and is_copied(seen, choose, touched)
            suffix = "rdb" if whole and seen.part.format == "rdb" else "aof"
            if as_base:
                entry = AofFile(f"{_PREFIX}.1.base.{suffix}", 1, "base")
                manifest = Manifest(_PREFIX, entry, manifest.incrs)
            else:
                seq += 1
                entry = AofFile(f"{_PREFIX}.{seq}.incr.aof", seq, "incr")
                manifest = Manifest(_PREFIX, manifest.base, (*manifest.incrs, entry))
            with (directory / entry.name).open("xb") as file:
                if whole:
                    _copy(seen, file)
                    commands = seen.rows
                else:
                    report = Report()
                    rows = _rows_of(log, seen, choose, on_bad, partial(_tell_more, tell, done, total), report)
                    commands = _Writer(file, change).write(rows)
                    # What is changed is for strangers: they are told no names.
                    written.problems += left_out(report.damage, named=change is None)
                _sync(file)
                size = file.tell()
            done += seen.part.size
            tell(done, total)
            written.files.append({"name": entry.name, "bytes": size, "commands": commands, "copied": whole})
            written.commands += commands
        entry = AofFile(f"{_PREFIX}.{seq + 1}.incr.aof", seq + 1, "incr")
        with (directory / entry.name).open("xb") as file:
            for argv in extra:
                file.write(encode_command(argv))
            _sync(file)
            written.files.append({"name": entry.name, "bytes": file.tell(), "commands": len(extra), "copied": False})
        written.commands += len(extra)
        manifest = Manifest(_PREFIX, manifest.base, (*manifest.incrs, entry))
        manifest.persist(OsFs(), str(directory))
        if verify:
            _verify(written, progress)
        _report(dest, {**about, "written": written.to_dict()})
    except BaseException:
        # Half a log is worse than none.
        shutil.rmtree(dest if fresh else directory, ignore_errors=True)
        raise
    return written


def is_copied(seen: PartSurvey, choose: Chooser | None, touched: Callable[[PartSurvey], bool]) -> bool:
    """Whether a file is taken byte by byte, with all that nothing here can hold."""
    return seen.sound and (choose is None or not touched(seen))


def left_out(damage: Sequence[dict[str, Any]], *, named: bool = True) -> list[str]:
    """What commands cannot make of a snapshot, by what reading met: values of modules, and the like."""
    lacking = [each for each in damage if each["kind"] == "skipped"]
    return [
        f"{each['part']}:{each['offset']}: not in the new log: {each['reason'] if named else 'what no command makes'}"
        for each in lacking
    ]


def _tell_more(tell: Callable[[int, int], object], done: int, total: int, more: int) -> None:
    tell(done + more, total)


def _rows_of(
    log: Log, seen: PartSurvey, choose: Chooser | None, on_bad: OnBad, tell: Callable[[int], object], report: Report
) -> Iterator[tuple[Records, Keep]]:
    first = seen.first
    with seen.part.open() as file:
        for found in tables(seen.part, file, 0, on_bad, report):
            keep = np.ones(len(found), bool) if choose is None else choose(found, first)
            first += len(found)
            yield found, keep
            tell(file.stored_bytes_read)


def _copy(seen: PartSurvey, file: BinaryIO) -> None:
    with seen.part.open() as source:
        left = float("inf") if seen.part.compression else seen.part.size
        while left > 0 and (piece := source.read(int(min(_COPY_BYTES, left)))):
            file.write(piece)
            left -= len(piece)


class _Writer:
    """Rows into one file, transactions whole."""

    def __init__(self, file: BinaryIO, change: Change | None) -> None:
        self._file, self._change = file, change
        self._framing = Framing()
        # Where the MULTI that is open is in the new file.
        self._multi = 0
        # Annotations that are not written yet: the row behind each.
        self._times: list[tuple[int, int]] = []

    def write(self, rows: Iterator[tuple[Records, Keep]]) -> int:
        """Write all; how many commands that were."""
        for found, keep in rows:
            ends, keep, opened = self._framing.take(found, keep)
            if ends:
                # What there is of the transaction is what the log still knows.
                self._file.write(encode_command([b"EXEC"]))
            self._times = [(0, second) for _, second in self._times[-1:]] + found.ts
            # Of a command that was cut there is nothing to change.
            if self._change is not None and keep.any():
                found = self._change(found)
            if opened is not None:
                self._rows(found, keep, 0, opened)
                self._multi = self._file.tell()
            self._rows(found, keep, opened or 0, len(found))
        if self._framing.is_open:
            self._file.seek(self._multi)
            self._file.truncate()
        return self._framing.rows

    def _rows(self, found: Records, keep: Keep, start: int, stop: int) -> None:
        """The kept rows of `found` from `start` to before `stop`."""
        rows = np.flatnonzero(keep[start:stop]) + start
        if not len(rows):
            return
        begins = np.flatnonzero(np.diff(rows) != 1) + 1
        if self._times:
            begins = np.union1d(begins, np.searchsorted(rows, [row for row, _ in self._times]))
        if self._change is not None:
            # A comment between rows was not changed, so it is not taken over.
            ends = found.ends[found.first[rows] + 2 * found.argc[rows]] + 2
            begins = np.union1d(begins, np.flatnonzero(found.start[rows[1:]] != ends[:-1]) + 1)
        for run in np.split(rows, begins[(begins > 0) & (begins < len(rows))]):
            self._annotate(int(run[0]))
            end = int(found.ends[int(found.first[run[-1]]) + 2 * int(found.argc[run[-1]])]) + 2
            self._file.write(memoryview(found.data)[int(found.start[run[0]]) : end])

    def _annotate(self, row: int) -> None:
        """Write the last annotation before `row`, unless that was done."""
        due = [second for before, second in self._times if before <= row]
        if due:
            self._file.write(b"#TS:%d\r\n" % due[-1])
            del self._times[: len(due)]


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _report(dest: Path, content: dict[str, Any]) -> None:
    with (dest / REPORT_NAME).open("x") as file:
        json.dump(content, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())


def _verify(written: Written, progress: Progress) -> None:
    """Load it here and, where there is one, in a redis-server, both at once."""
    from aofnb.forensics.log import scan

    try:
        databases = max(16, scan(written.path).index().databases)
        with loading_server(written.path, databases) as server_digest:
            _load(written, databases, progress)
            written.server_digest = server_digest()
    except AofnbError as problem:
        written.problems.append(f"aofnb.open refuses it: {problem}")
        return
    if len(written.server_digest) == 40 and written.server_digest != written.digest:
        written.problems.append("redis-server loaded other data from it than aofnb")


def _load(written: Written, databases: int, progress: Progress) -> None:
    tell = teller(progress)

    def told(done: int, total: int) -> None:
        tell(done, total)

    with open_store(written.path, readonly=True, background=False, progress=told, databases=databases) as store:
        keyspace, loaded = store.engine.keyspace, store.load_report
        written.keys = keyspace.key_count()
        written.digest = keyspace_digest(keyspace)
        failed = loaded.failed if loaded is not None else ()
        written.problems += [f"{each.file}:{each.offset}: {each.command}: {each.error}" for each in failed]
