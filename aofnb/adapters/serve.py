"""``aofnb serve``: a store on a socket in the foreground, where a test rig would run redis-server.

1. read: a directory or a redis.conf, then ``--setting value ...`` as redis-server takes them; unknown ones are refused
   by name, and those that have no meaning here are told;
2. load, and on a failure log why and end with status 1;
3. serve until SIGTERM, SIGINT or SHUTDOWN; then make everything durable and end with status 0.

Log lines are those of redis-server, since rigs wait for them.

Redis: server.c main, redisLog, prepareForShutdown (7.0.15).
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from aofnb._version import VERSION
from aofnb.adapters.server import Server
from aofnb.config import Config, Setting
from aofnb.config_file import SERVER_ONLY, ConfigFile
from aofnb.engine import Store, open_store
from aofnb.engine.info import REDIS_VERSION
from aofnb.errors import AofnbError, AofTruncatedError, ConfigError

__all__ = ["Arguments", "main", "read_arguments"]

_DEFAULT_PORT = 6379
_NOTICE = 25
# What redis-server calls a level, and what stands for it in a line.
_LEVELS = {"debug": logging.DEBUG, "verbose": logging.INFO, "notice": _NOTICE, "warning": logging.WARNING}
_MARKS = ((logging.WARNING, "#"), (_NOTICE, "*"), (logging.INFO, "-"), (logging.NOTSET, "."))
# How often the numbers of a rewrite are looked at.
_LOOK_S = 0.1

# Read here. What redis.conf may say besides has no effect on a store, but for these, which are refused unless they say
# what is so anyway.
_USED = {
    *("bind", "enable-debug-command", "logfile", "loglevel", "pidfile", "port", "protected-mode"),
    *("unixsocket", "unixsocketperm"),
}
_ONLY = {
    "daemonize": ("no", "aofnb serve stays in the foreground; start it with & or by a supervisor"),
    "syslog-enabled": ("no", "there is no log to syslog; logfile names a file"),
    "tls-port": ("0", "there is no TLS; put a proxy in front, or serve a unix socket"),
    "enable-module-command": ("no", "there are no modules"),
}


@dataclass
class Arguments:
    """What to serve and how: `settings` are the store's, `server` what only a server process has."""

    directory: str = "."
    settings: dict[str, str] = field(default_factory=dict)
    server: dict[str, tuple[str, ...]] = field(default_factory=dict)
    file: ConfigFile | None = None

    def one(self, name: str, default: str = "") -> str:
        """The value of a server setting that takes one."""
        words = self.server.get(name, (default,))
        if len(words) != 1:
            raise ConfigError(f"{name}: takes one value, not {len(words)}")
        return words[0]

    def number(self, name: str, default: int, high: int = 65535) -> int:
        return int(self._parsed(Setting(name, "int", default, high=high), str(default)))

    def yes(self, name: str, default: str) -> bool:
        return bool(self._parsed(Setting(name, "bool", True), default))

    def _parsed(self, setting: Setting, default: str) -> Any:
        text = self.one(setting.name, default)
        try:
            return setting.parse(text)
        except ConfigError as problem:
            raise ConfigError(f"{setting.name}: {problem} (given: {text!r})") from None

    @property
    def without_effect(self) -> list[str]:
        """Server settings that mean nothing here."""
        return sorted(set(self.server) - _USED - set(_ONLY))


def read_arguments(argv: Sequence[str]) -> Arguments:
    """The command line behind ``serve``: ``[DIR | redis.conf] [--setting value ...] ...``.

    Raises
    ------
    ConfigError
        A setting is not known, or its value cannot be; names it.
    """
    arguments = Arguments()
    words = list(argv)
    if words and not words[0].startswith("--"):
        place = words.pop(0)
        if os.path.isfile(place):
            arguments.file = ConfigFile(place)
            arguments.server.update(arguments.file.server)
        else:
            arguments.directory = place
    while words:
        option = words.pop(0)
        if not option.startswith("--"):
            raise ConfigError(f"{option!r}: settings are given as --name value")
        name = option[2:].lower()
        values: list[str] = []
        while words and not words[0].startswith("--"):
            values.append(words.pop(0))
        if name in SERVER_ONLY:
            arguments.server[name] = tuple(values)
        else:
            arguments.settings[Config.setting(name).name] = " ".join(values)
    for name, (only, why) in _ONLY.items():
        if arguments.one(name, only).lower() != only:
            raise ConfigError(f"{name} {arguments.one(name)}: {why}")
    in_file = "" if arguments.file is None else arguments.file.settings.get("dir", "")
    arguments.directory = arguments.settings.pop("dir", "") or in_file or arguments.directory
    return arguments


def main(argv: Sequence[str]) -> int:
    """Serve until told to stop; the exit status."""
    try:
        arguments = read_arguments(argv)
        log = _logger(arguments)
    except (ConfigError, OSError) as problem:
        print(f"aofnb: {problem}", file=sys.stderr)
        return 1
    try:
        return _serve(arguments, log)
    except (AofnbError, OSError) as problem:
        log.warning("%s", problem)
        return 1
    finally:
        for handler in list(log.handlers):
            log.removeHandler(handler)
            handler.close()


class _Stop(BaseException):
    """A signal came before there was anything to shut down."""


def _serve(arguments: Arguments, log: logging.Logger) -> int:
    log.warning("oO0OoO0OoO0Oo aofnb is starting oO0OoO0OoO0Oo")
    log.warning(
        "aofnb version=%s, Redis version=%s, bits=64, pid=%d, just started", VERSION, REDIS_VERSION, os.getpid()
    )
    log.warning("Configuration loaded")
    stopping = threading.Event()
    heard: list[str] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        heard.append(signal.Signals(number).name)
        if not serving:
            raise _Stop
        stopping.set()

    serving = False
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    store: Store | None = None
    try:
        store = _load(arguments, log)
        server = _listen(arguments, store, log)
        serving = True
        _say_ready(arguments, server, log)
        with _pid_file(arguments.one("pidfile")):
            _wait(server, store, stopping, log)
        return _shut_down(server, store, heard, log)
    except _Stop:
        log.warning("Received %s, exiting now", heard[-1])
        return 0
    finally:
        if store is not None:
            store.close()
        for number, handler in before.items():
            signal.signal(number, handler)


def _load(arguments: Arguments, log: logging.Logger) -> Store:
    directory = os.path.abspath(os.path.expanduser(arguments.directory))
    log.log(_NOTICE, "Running mode=standalone, port=%d.", arguments.number("port", _DEFAULT_PORT))
    log.warning("Server initialized")
    if arguments.without_effect:
        log.warning("These settings have no effect here: %s", ", ".join(arguments.without_effect))
    started = time.monotonic()
    try:
        settings: dict[str, Any] = dict(arguments.settings)
        store = open_store(directory, config_file=arguments.file, **settings)
    except AofnbError as problem:
        name = os.path.basename(getattr(problem, "file", None) or "") or directory
        if isinstance(problem, AofTruncatedError):
            log.warning("Unexpected end of file reading the append only file %s.", name)
        elif not isinstance(problem, ConfigError):
            log.warning("Bad file format reading the append only file %s", name)
        raise
    loaded = store.load_report
    if loaded is not None and loaded.files.files:
        for file in loaded.files.files:
            kind = "base" if ".base." in file.name else "incr"
            log.log(_NOTICE, "DB loaded from %s file %s: %.3f seconds", kind, file.name, file.seconds)
        log.log(_NOTICE, "DB loaded from append only file: %.3f seconds", time.monotonic() - started)
    return store


def _listen(arguments: Arguments, store: Store, log: logging.Logger) -> Server:
    port = arguments.number("port", _DEFAULT_PORT)
    path = arguments.one("unixsocket")
    permissions = arguments.one("unixsocketperm", "0")
    try:
        mode = int(permissions, 8)
    except ValueError:
        raise ConfigError(f"unixsocketperm {permissions}: give the mode in octal, such as 700") from None
    return Server(
        store,
        # As in redis-server, port 0 is no port; but a free one where nothing else is served.
        host=list(arguments.server.get("bind", ("127.0.0.1", "-::1"))) if port or not path else None,
        port=port,
        unixsocket=path or None,
        unixsocketperm=mode,
        protected_mode=arguments.yes("protected-mode", "yes"),
        open_to_strangers=True,
        debug_commands=arguments.one("enable-debug-command", "no").lower(),
        log=log,
    )


def _say_ready(arguments: Arguments, server: Server, log: logging.Logger) -> None:
    if server.hosts:
        log.log(_NOTICE, "Ready to accept connections")
        if arguments.number("port", _DEFAULT_PORT) == 0:
            log.log(_NOTICE, "The server listens on port %d", server.port)
    if server.unixsocket is not None:
        log.log(_NOTICE, "The server is now ready to accept connections at %s", server.unixsocket)


def _wait(server: Server, store: Store, stopping: threading.Event, log: logging.Logger) -> None:
    """Until a signal or SHUTDOWN; meanwhile log what becomes of rewrites."""
    tell = _rewrite_teller(store, log)
    while server.running and not store.closed:
        # Not without end: a signal is noticed between waits only.
        if stopping.wait(_LOOK_S):
            return
        tell()


def _rewrite_teller(store: Store, log: logging.Logger) -> Callable[[], None]:
    """A function that logs what became of rewrites since it was last called."""
    seen_rewrites, seen_ok, seen_running = store.stats().rewrites, True, False

    def tell() -> None:
        nonlocal seen_rewrites, seen_ok, seen_running
        stats = store.stats()
        running = stats.rewrite.phase != "idle"
        ended = stats.rewrites - seen_rewrites
        if (running and not seen_running) or (ended and not seen_running):
            log.log(_NOTICE, "Background append only file rewriting started")
        if ended:
            log.log(_NOTICE, "Background AOF rewrite finished successfully")
        elif seen_ok and not stats.last_rewrite_ok:
            log.warning("Background AOF rewrite terminated with error")
        seen_rewrites, seen_ok, seen_running = stats.rewrites, stats.last_rewrite_ok, running

    return tell


def _shut_down(server: Server, store: Store, heard: list[str], log: logging.Logger) -> int:
    if heard:
        log.warning("Received %s scheduling shutdown...", heard[0])
    log.warning("User requested shutdown...")
    server.close()
    if not store.closed:
        if store.stats().aof_enabled:
            log.log(_NOTICE, "Calling fsync() on the AOF file.")
        store.close()
    if server.unixsocket is not None:
        log.log(_NOTICE, "Removing the unix socket file.")
    log.warning("Redis is now ready to exit, bye bye...")
    return 0


class _pid_file:  # noqa: N801  # reads like a function of contextlib
    """The file with the process's number, for as long as the block lasts; none if `path` is empty."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        if self._path:
            with open(self._path, "w") as file:
                file.write(f"{os.getpid()}\n")

    def __exit__(self, *_ignored: object) -> None:
        if self._path:
            with suppress(OSError):
                os.unlink(self._path)


# --- the log ---------------------------------------------------------------------------------------------


def _logger(arguments: Arguments) -> logging.Logger:
    level = arguments.one("loglevel", "notice").lower()
    if level not in _LEVELS:
        raise ConfigError(f"loglevel {level}: must be one of {', '.join(_LEVELS)}")
    path = arguments.one("logfile")
    handler: logging.Handler = logging.FileHandler(path) if path else logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Format())
    log = logging.getLogger("aofnb")
    log.setLevel(_LEVELS[level])
    log.addHandler(handler)
    log.propagate = False
    return log


class _Format(logging.Formatter):
    """``pid:M 20 Nov 2026 19:30:39.176 * text``, as redis-server writes it."""

    def format(self, record: logging.LogRecord) -> str:
        mark = next(mark for level, mark in _MARKS if record.levelno >= level)
        moment = time.localtime(record.created)
        shown = f"{time.strftime('%d %b %Y %H:%M:%S', moment)}.{int(record.msecs):03d}"
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return f"{record.process}:M {shown} {mark} {text}"
