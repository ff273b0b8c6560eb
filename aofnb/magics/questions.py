"""What ``%aof`` asks of a log on disk: `aofnb.scan` and `aofnb check` behind words that fit in a line.

The log is the one of a store here, or any other by its path; of a server it takes the path too, since only the path
says that its disk is this one. The files are read; nothing is written, and what a store appends meanwhile is not seen.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import aofnb
from aofnb.aof.check import CheckReport, FileCheck, check
from aofnb.magics import show
from aofnb.magics.cells import AnyStore, is_remote
from aofnb.magics.parse import MagicError
from aofnb.magics.replies import DISPLAY, Lines, wrap

__all__ = ["Checked", "at", "check_log", "history", "log_path", "top", "triage"]


def log_path(store: AnyStore) -> str:
    """Where the log of `store` is.

    Raises
    ------
    MagicError
        There is none that can be read from here.
    """
    if is_remote(store):
        raise MagicError(f"the log of {store.shown} is on its own disk; if that is here: %aof --path DIRECTORY ...")
    if store.path is None:
        raise MagicError("this store is in memory: there is no log; another one: %aof --path DIRECTORY ...")
    return str(store.path)


def _scanned(path: str) -> Any:
    try:
        return aofnb.scan(path, on_bad="truncate")
    except OSError as problem:
        raise MagicError(f"{path}: {problem.strerror}") from None


def at(path: str, words: Sequence[bytes]) -> Any:
    """What a command would have answered at a moment of the log; without one, how much there was."""
    where = words[0].decode("utf-8", "surrogateescape")
    log = _scanned(path)
    try:
        position = log.position(where)
        with log.at(where) as then:
            if len(words) > 1:
                # In a batch nothing may wait: time stands still there.
                with then.batch():
                    return wrap(then.execute(*words[1:]), words[1:])
            keys = then.engine.keyspace.key_count()
    except ValueError as problem:
        raise MagicError(f"%aof at: {problem}") from None
    when = f", {position.time:%Y-%m-%d %H:%M:%S} UTC" if position.time is not None else ""
    return Lines([f"before row {position.seq:,} ({position}{when}): {show.counted(keys, 'key')}"])


def history(path: str, words: Sequence[bytes]) -> Any:
    """What happened to a key, a command a row, with its value after each; KEY, and the database if it is not 0."""
    key, db = words[0], words[1] if len(words) > 1 else b"0"
    if not (db.isdigit() and len(db) < 6):
        raise MagicError(f"%aof history needs the number of a database behind the key, not {show.readable(db)!r}")
    return _scanned(path).history(key, db=int(db))


def triage(path: str) -> Any:
    """The first look at a log: is it whole, what is in it, what looks wrong, what to ask next."""
    return _scanned(path).triage()


def top(path: str, count: int) -> Any:
    """The keys that most bytes of the log are about, as a DataFrame."""
    return _scanned(path).to_pandas().aof.hot_keys(count)


class Checked:
    """A check of a log, a line or a row for each file. ``.report`` has all of it."""

    def __init__(self, report: CheckReport) -> None:
        self.report = report

    @property
    def good(self) -> bool:
        """Whether redis-check-aof would find nothing wrong."""
        return self.report.verdict == "valid"

    def _advice(self) -> list[str]:
        if self.report.problem is not None:
            return [self.report.problem]
        lines = [f"the log is {'valid' if self.good else 'not valid'}"]
        if not self.good:
            lines.append(f"in a shell, `aofnb check {_name(self.report.path)}` says what each tool would do and lose")
        return lines

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        files = self.report.files
        width = max((len(file.name) for file in files), default=0)
        lines = [f"{file.name:{width}}  {show.counted(file.size, 'byte')}, {_verdict(file)}" for file in files]
        printer.text("\n".join([*lines, *self._advice()]))

    def _repr_html_(self) -> str | None:
        if not DISPLAY.html or not self.report.files:
            return None
        rows = [[file.name, f"{file.size:,}", _verdict(file)] for file in self.report.files]
        table = show.html_table(
            ["file", "bytes", "verdict"], [[show.escaped_html(c) for c in row] for row in rows], len(rows)
        )
        return table + "".join(f"<p>{show.escaped_html(line)}</p>" for line in self._advice())


def _name(path: str) -> str:
    return os.path.basename(os.path.normpath(path))


def _verdict(file: FileCheck) -> str:
    if file.verdict != "damaged":
        return file.verdict
    reason = "" if file.damage is None else f": {file.damage.reason}"
    cut = (
        ""
        if file.cut_at is None
        else f"; {show.counted(file.size - file.cut_at, 'byte')} from byte {file.cut_at:,} on would be cut"
    )
    return f"good up to byte {file.ok_up_to:,}{reason}{cut}"


def check_log(path: str) -> Checked:
    """Look through all files of the log at `path`, as redis-check-aof does."""
    try:
        return Checked(check(path))
    except OSError as problem:
        raise MagicError(f"{_name(path)}: {problem.strerror}") from None
