"""Where a dashboard's numbers come from, if not from a store of this process.

`RemoteSource` asks a server for INFO; `DirectorySource` looks at files that somebody else writes. Neither can see what
is synced, so both count what came in lately as at risk, and say so in their `remark`.
"""

from __future__ import annotations

import importlib
import os
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal, cast

from aofnb.aof.fs import Fs, OsFs
from aofnb.aof.manifest import Manifest
from aofnb.aof.stats import AofStats, RewriteProgress
from aofnb.clock import Clock, SystemClock
from aofnb.commands.registry import find
from aofnb.errors import AofManifestError, ReplyError
from aofnb.widgets.model import AutoRewrite

__all__ = ["UNKNOWN", "DirectorySource", "RemoteSource", "source_of"]

# A count that nobody can tell.
UNKNOWN = -1
# How long what came in counts as not synced, by policy: fsync of everysec, write-back of the operating system.
_AT_RISK_S = {"always": 0.0, "everysec": 1.0, "no": 30.0}
_SUFFIX = ".manifest"
# A manifest is replaced with its files between two looks.
_ATTEMPTS = 3


def source_of(source: Any) -> Any:
    """What a dashboard can sample: `source` itself if it has ``stats``, else what reads a server or a directory.

    Raises
    ------
    RemoteError, ConfigError
        The server cannot be reached, or the URL cannot be.
    AofManifestError
        The directory holds no log.
    TypeError
        For anything else.
    """
    if callable(getattr(source, "stats", None)):
        return source
    if isinstance(source, str) and "://" in source:
        # Who connects is in a package beside this one.
        return RemoteSource(importlib.import_module("aofnb").connect(source), own=True)
    if isinstance(source, (str, os.PathLike)):
        return DirectorySource(os.fspath(source))
    if hasattr(source, "url") and callable(getattr(source, "execute", None)):
        return RemoteSource(source)
    raise TypeError(
        "Dashboard takes a store, as aofnb.open gives it, a URL (redis://...), or the path of a directory that holds a"
        f" log, not {source!r}"
    )


class _Recent:
    """How much a growing number has grown in the last so many seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def grown(self, now_s: float, value: int, within_s: float) -> int:
        seen = self._seen
        if seen and value < seen[-1][1]:
            # Files were replaced: nothing of before counts.
            seen.clear()
        seen.append((now_s, value))
        while len(seen) > 1 and seen[1][0] <= now_s - within_s:
            seen.popleft()
        return value - seen[0][1] if within_s else 0


class RemoteSource:
    """A real server: its INFO as the numbers of a log.

    Parameters
    ----------
    server
        What `aofnb.connect` gave; a connection of its own is opened on it.
    own
        Whether to close `server` in the end.
    """

    remark = "a server does not say what is synced: what came in since the last fsync was due counts as at risk"

    def __init__(self, server: Any, *, own: bool = False, clock: Clock | None = None) -> None:
        self._server = server
        self._own = own
        self._clock: Clock = clock or SystemClock()
        self._session = server.session()
        self._bytes, self._commands = _Recent(), _Recent()
        self.path = str(server.shown)
        self.auto_rewrite: AutoRewrite | None = None
        self._calls: dict[str, int] = {}

    @property
    def closed(self) -> bool:
        return bool(self._server.closed)

    def close(self) -> None:
        """Close the connection."""
        self._session.close()
        if self._own:
            self._server.close()

    def stats(self, *, reset_peak: bool = False) -> AofStats:
        """The server's counters now.

        Raises
        ------
        RemoteError
            It does not answer.
        """
        info = _fields(self._session.execute("INFO", "everything"))
        settings = self._settings()
        policy = cast("Literal['always', 'everysec', 'no']", settings.get("appendfsync", "everysec"))
        self._calls = _write_calls(info)
        size = _int(info, "aof_current_size")
        commands = sum(self._calls.values())
        now_s, at_risk_s = self._clock.monotonic(), _AT_RISK_S.get(policy, 1.0)
        fresh = min(self._bytes.grown(now_s, size, at_risk_s), size)
        fresh_commands = min(self._commands.grown(now_s, commands, at_risk_s), commands)
        running = info.get("aof_rewrite_in_progress") == "1"
        took_s = _int(info, "aof_last_rewrite_time_sec", -1)
        buffered = _int(info, "aof_buffer_length")
        return AofStats(
            aof_enabled=info.get("aof_enabled") == "1",
            appendfsync=policy,
            aof_buf_bytes=buffered,
            aof_buf_peak_bytes=buffered,
            unsynced_bytes=fresh,
            unsynced_commands=fresh_commands,
            synced_bytes=size - fresh,
            synced_commands=commands - fresh_commands,
            fsync_in_progress=_int(info, "aof_pending_bio_fsync") > 0,
            delayed_fsync=_int(info, "aof_delayed_fsync"),
            write_error=None if info.get("aof_last_write_status", "ok") == "ok" else "the server cannot write its log",
            current_size=size,
            base_size=_int(info, "aof_base_size"),
            rewrite=RewriteProgress(
                "writing" if running else "idle",
                keys_done=_int(info, "current_save_keys_processed"),
                keys_total=_int(info, "current_save_keys_total"),
                elapsed_s=max(0, _int(info, "aof_current_rewrite_time_sec", 0)),
            ),
            rewrites=_int(info, "aof_rewrites"),
            rewrite_scheduled=info.get("aof_rewrite_scheduled") == "1",
            last_rewrite_ok=info.get("aof_last_bgrewrite_status", "ok") == "ok",
            last_rewrite_duration_s=None if took_s < 0 else float(took_s),
            keys=sum(_keys(words) for name, words in info.items() if name[:2] == "db" and name[2:].isdigit()),
        )

    def _settings(self) -> dict[str, str]:
        try:
            reply = self._session.execute("CONFIG", "GET", "a*")
        except ReplyError:
            # Managed servers forbid CONFIG.
            return {}
        settings = {
            bytes(name).decode(): bytes(value).decode() for name, value in zip(reply[::2], reply[1::2], strict=True)
        }
        with suppress(KeyError, ValueError):
            self.auto_rewrite = AutoRewrite(
                int(settings["auto-aof-rewrite-percentage"]), int(settings["auto-aof-rewrite-min-size"])
            )
        return settings

    def write_calls(self) -> Mapping[str, int]:
        """How often each write command ran, at the last look."""
        return self._calls

    def config_set(self, name: str, value: str) -> None:
        """CONFIG SET on the server."""
        self._session.execute("CONFIG", "SET", name, value)

    def bgrewriteaof(self) -> None:
        """BGREWRITEAOF on the server."""
        self._session.execute("BGREWRITEAOF")


def _fields(info: bytes) -> dict[str, str]:
    lines = info.decode("utf-8", "replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))


def _int(info: Mapping[str, str], name: str, default: int = 0) -> int:
    try:
        return int(info[name])
    except (KeyError, ValueError):
        return default


def _keys(words: str) -> int:
    pairs = dict(pair.split("=", 1) for pair in words.split(",") if "=" in pair)
    return _int(pairs, "keys")


def _write_calls(info: Mapping[str, str]) -> dict[str, int]:
    found = {}
    for name, words in info.items():
        if name.startswith("cmdstat_"):
            command = name.removeprefix("cmdstat_").upper().replace("|", " ")
            entry = find([word.encode() for word in command.split(" ")])
            if entry is not None and "write" in entry.flags:
                found[command] = _int(dict(pair.split("=", 1) for pair in words.split(",")), "calls")
    return found


class DirectorySource:
    """A log that another process writes, seen from outside: the manifest and the sizes of its files.

    Parameters
    ----------
    path
        A directory such as ``appendonlydir``, or the one it is in.

    Raises
    ------
    AofManifestError
        There is no manifest.
    """

    remark = "seen from outside: what came in within the last second counts as at risk, as under everysec"
    closed = False

    def __init__(self, path: str, *, fs: Fs | None = None, clock: Clock | None = None) -> None:
        self._fs: Fs = fs or OsFs()
        self._clock: Clock = clock or SystemClock()
        self.path = os.path.abspath(os.path.expanduser(path))
        self.directory, self._prefix = self._find()
        self._recent = _Recent()
        self._live = ""
        self.stats()

    def _find(self) -> tuple[str, str]:
        """The directory of the manifest, and the name of the log."""
        for directory in (self.path, os.path.join(self.path, "appendonlydir")):
            with suppress(OSError):
                manifests = [name for name in self._fs.listdir(directory) if name.endswith(_SUFFIX)]
                manifests = [name for name in manifests if not name.startswith("temp-")]
                if manifests:
                    return directory, manifests[0].removesuffix(_SUFFIX)
        raise AofManifestError(
            "there is no manifest here: give the directory that a server or a store writes to", file=self.path
        )

    def stats(self, *, reset_peak: bool = False) -> AofStats:
        """What the files say now.

        Raises
        ------
        AofManifestError
            The manifest is damaged, or lists what is not there.
        """
        files = self._sizes()
        live = files[-1][0] if files else ""
        size = sum(size for _, kind, size in files if kind != "history")
        base = sum(size for _, kind, size in files if kind == "base")
        grown = self._recent.grown(self._clock.monotonic(), size, _AT_RISK_S["everysec"])
        self._live = live
        names = self._fs.listdir(self.directory)
        writing = any(name.startswith("temp-rewriteaof") for name in [*names, *self._names_beside()])
        return AofStats(
            aof_enabled=True,
            aof_buf_commands=UNKNOWN,
            unsynced_bytes=grown,
            unsynced_commands=UNKNOWN,
            synced_bytes=size - grown,
            synced_commands=UNKNOWN,
            current_size=size,
            base_size=base,
            files=files,
            rewrite=RewriteProgress("writing" if writing else "idle"),
            rewrites=UNKNOWN,
            keys=UNKNOWN,
        )

    def _names_beside(self) -> list[str]:
        """Where redis-server writes the base of a rewrite until it is whole."""
        try:
            return self._fs.listdir(os.path.dirname(self.directory))
        except OSError:
            return []

    def _sizes(self) -> tuple[tuple[str, str, int], ...]:
        for attempt in range(_ATTEMPTS):
            try:
                manifest = Manifest.load(self._fs, self.directory, self._prefix)
                return tuple(
                    (file.name, file.type, self._fs.size(os.path.join(self.directory, file.name)))
                    for file in (*manifest.history, *manifest.data_files)
                    if file.type != "history" or self._fs.exists(os.path.join(self.directory, file.name))
                )
            except OSError as problem:
                if attempt == _ATTEMPTS - 1:
                    raise AofManifestError(
                        f"{problem.strerror}: {problem.filename}; is it still the directory of a log?",
                        file=self.directory,
                    ) from problem
        raise AssertionError("the last attempt returns or raises")

    @property
    def live_file(self) -> str | None:
        """The file that grows."""
        return os.path.join(self.directory, self._live) if self._live else None
