"""What a crash now would leave of a store: `what_if`. The store goes on, and its files are only read.

1. Under the engine's lock: which files the log has, and how far the live one is written and synced.
2. What would survive is put on a simulated disk: the other files whole, since they were synced before the live one
   began; of the live one what was written, for a killed process, or what was synced, for a power cut at its worst.
3. That disk is opened by the real loader, and what came behind it in the log is what would be lost.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from typing import Any, get_args

from aofnb.engine.store import Store, open_store
from aofnb.errors import AofnbError
from aofnb.lab.crash import DIRECTORY, LOG_DIRECTORY
from aofnb.lab.disk import Crash, DiskImage
from aofnb.lab.loss import quiet
from aofnb.resp.reader import CommandReader

__all__ = ["Aftermath", "what_if"]

# Commands shown, and characters of each.
_SHOWN = 5
_LINE = 60
# A rewrite may delete a file that was about to be copied; then there are new ones.
_TRIES = 5
_FRAME = frozenset({b"MULTI", b"EXEC", b"SELECT"})


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What one crash would leave.

    Attributes
    ----------
    kind
        ``kill`` or ``power``.
    appendfsync
        The policy that holds.
    keys_before, keys_after
        Keys that there are, and that a start after the crash would find.
    lost
        The commands that would be lost, as they are logged, oldest first, without MULTI, EXEC and SELECT.
    lost_bytes
        What they take in the log.
    """

    kind: Crash
    appendfsync: str
    keys_before: int
    keys_after: int
    lost: tuple[tuple[bytes, ...], ...]
    lost_bytes: int

    def _lines(self) -> list[str]:
        how = "kill -9" if self.kind == "kill" else "a power cut"
        if not self.lost:
            kept = "what was written" if self.kind == "kill" else "all of it is synced"
            why = f"the operating system has {kept}" if self.kind == "kill" else kept
            return [f"{how} now would take nothing: {why} ({self.keys_after:,} keys)"]
        many = len(self.lost) != 1
        worst = "" if self.kind == "kill" else " at worst"
        return [
            f"{how} now would take {len(self.lost):,} command{'s' * many}{worst}, {self.lost_bytes:,} bytes, under "
            f"appendfsync {self.appendfsync}",
            f"keys: {self.keys_before:,} now, {self.keys_after:,} after a start",
        ]

    def _commands(self) -> list[str]:
        shown = [_one_line(argv) for argv in self.lost[:_SHOWN]]
        left = len(self.lost) - len(shown)
        return shown + ([f"and {left:,} more"] if left else [])

    def __repr__(self) -> str:
        return "\n".join([*self._lines(), *(f"  {line}" for line in self._commands())])

    def _repr_html_(self) -> str:
        head = "".join(f"<p>{escape(line)}</p>" for line in self._lines())
        return head + "".join(f"<code>{escape(line)}</code><br>" for line in self._commands())


def what_if(store: Store, kind: Crash = "power") -> Aftermath:
    """What would be left of `store` if the process were killed, or the power cut, at this moment.

    The log is copied into memory and loaded there, so it takes as long as opening the store, and more memory.
    Commands go on meanwhile.

    Raises
    ------
    AofnbError
        The store has no log of its own: it is in memory, read-only or closed.
    ValueError
        `kind` is neither ``kill`` nor ``power``.
    """
    if kind not in get_args(Crash):
        raise ValueError(f"there is kill and power, not {kind!r}")
    for attempt in range(_TRIES):
        try:
            return _crashed(store, kind)
        except FileNotFoundError:
            if attempt == _TRIES - 1:
                raise
    raise AssertionError("not reached")


def _crashed(store: Store, kind: Crash) -> Aftermath:
    engine = store.engine
    with engine.lock:
        writer, directory = engine.writer, store._directory
        if writer is None or directory is None or store.closed:
            raise AofnbError("this store keeps no log, so a crash takes all there is; open one in a directory")
        live = writer.file.path
        survives = writer.written_bytes if kind == "kill" else writer.fsynced_bytes
        written, buffered = writer.written_bytes, bytes(writer.aof_buf)
        manifest, keys = directory.manifest, engine.keyspace.key_count()
    if live not in {os.path.join(directory.path, entry.name) for entry in manifest.data_files}:
        raise AofnbError("this log was just turned on and has no base yet: until then a crash takes all there is")
    files: list[tuple[str, bytes | None]] = [(DIRECTORY, None), (LOG_DIRECTORY, None)]
    behind = b""
    for entry in manifest.data_files:
        path = os.path.join(directory.path, entry.name)
        with directory.fs.open_read(path) as file:
            if path == live:
                content = file.read(survives)
                behind = file.read(written - survives) + buffered
            else:
                content = file.read()
        files.append((os.path.join(LOG_DIRECTORY, entry.name), content))
    files.append((os.path.join(LOG_DIRECTORY, manifest.filename), manifest.format().encode()))
    names: dict[str, Any] = {"appendfilename": manifest.prefix, "databases": store.config.databases}
    with (
        quiet(),
        open_store(
            DIRECTORY, fs=DiskImage(tuple(files)).mount(), background=False, readonly=True, progress=False, **names
        ) as left,
    ):
        keys_left = left.engine.keyspace.key_count()
    lost = [
        tuple(argv)
        for block in CommandReader(BytesIO(behind), len(behind))
        for argv in block.argvs
        if argv[0].upper() not in _FRAME
    ]
    return Aftermath(kind, store.config.appendfsync, keys, keys_left, tuple(lost), len(behind))


def _one_line(argv: Sequence[bytes]) -> str:
    text = " ".join(word.decode("utf-8", "backslashreplace") for word in argv)
    return text if len(text) <= _LINE else f"{text[: _LINE - 3]}..."
