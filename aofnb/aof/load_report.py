"""What a load found, and what becomes of an end that is no whole command.

Rules of this file: only the end of the last file may be cut, only as the settings allow, and whoever may not cut learns
what to do instead.

Redis: aof.c loadSingleAppendOnlyFile, its readerr, uxeof and fmterr (7.0.15).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from aofnb.aof.load import Tail
from aofnb.aof.manifest import AofType
from aofnb.config import Config
from aofnb.errors import AofFormatError, AofTruncatedError
from aofnb.rdb import Loaded

__all__ = ["Cut", "LoadReport", "LoadedFile", "judged"]


@dataclass(frozen=True, slots=True)
class LoadedFile:
    """One file that was loaded.

    Attributes
    ----------
    name, type, size
        As found.
    commands
        How many; MULTI and EXEC are counted.
    seconds
        What it took.
    snapshot
        What the snapshot held that the file began with, if it did: a base by default, and old files from 4.0 on.
    last_timestamp_s
        The last ``#TS:`` annotation: up to when, at least, the file was written.
    unknown_annotations
        How many lines there are that begin with ``#`` and mean nothing to us. They stay until the next rewrite.
    """

    name: str
    type: AofType
    size: int
    commands: int
    seconds: float
    snapshot: Loaded | None = None
    last_timestamp_s: int | None = None
    unknown_annotations: int = 0


@dataclass(frozen=True, slots=True)
class Cut:
    """The end of the last file was no whole unit and is left out.

    Attributes
    ----------
    file
        Path of the file.
    offset
        Where it was cut: the end of the last whole unit.
    bytes_cut
        How many bytes were behind.
    kind
        ``truncated`` (inside a record or an annotation), ``open_multi`` (a transaction without EXEC), or ``format``
        (what is no record), of at most ``aof-load-corrupt-tail-max-size`` bytes.
    reason
        In words.
    applied
        False for a read-only open, which leaves the file as it is.
    """

    file: str
    offset: int
    bytes_cut: int
    kind: Literal["truncated", "open_multi", "format"]
    reason: str
    applied: bool


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What was loaded: the files in order, MULTI and EXEC among the commands counted, and what was cut, if anything."""

    files: tuple[LoadedFile, ...]
    commands: int
    seconds: float
    truncated: Cut | None


def judged(path: str, tail: Tail, config: Config, *, last: bool, readonly: bool) -> Cut:
    """What to cut, or the error that says why nothing can be."""
    behind = tail.size - tail.cut_at
    if tail.line_ends_changed:
        raise AofFormatError(
            f"{tail.reason}; the line ends were changed (LF for CRLF), as git does with text; every byte else is "
            "there. `aofnb.read_aof` reads the file as it is; bring it back from where its line ends are whole, "
            "and put `*.aof -text` into .gitattributes",
            file=path,
            offset=tail.offset,
        )
    assert tail.kind != "clean"
    may_cut = last and config.aof_load_truncated
    if tail.kind == "format" and not (may_cut and behind <= config.aof_load_corrupt_tail_max_size):
        cutting = (
            "`aofnb check --fix` keeps a copy and cuts there, "
            f"so does opening with aof_load_corrupt_tail_max_size={behind}, without the copy"
        )
        raise AofFormatError(
            f"{tail.reason}; {behind} bytes from byte {tail.cut_at} on are in doubt, no file was changed. "
            "`aofnb check` shows the place, `aofnb salvage` writes all that can be had to a new directory"
            + (f"; {cutting}" if last else ""),
            file=path,
            offset=tail.offset,
        )
    if not last:
        raise AofTruncatedError(
            f"{tail.reason}, and this is not the last file: {behind} bytes are no whole command, "
            "and what follows them was written later. No file was changed. `aofnb check` shows the place, "
            "`aofnb.read_aof(..., on_bad='truncate')` all that can be read",
            file=path,
            offset=tail.cut_at,
        )
    if not config.aof_load_truncated:
        raise AofTruncatedError(
            f"{tail.reason}: the last {behind} bytes are no whole command. No file was changed. "
            "Open with aof_load_truncated=True to cut them off, or see them first: `aofnb check`",
            file=path,
            offset=tail.cut_at,
        )
    return Cut(path, tail.cut_at, behind, tail.kind, tail.reason, applied=not readonly)
