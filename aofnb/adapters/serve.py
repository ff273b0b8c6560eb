"""``aofnb serve``: a store on a socket in the foreground, where a test rig would run redis-server.

1. read: a directory or a redis.conf, then ``--setting value ...`` as redis-server takes them; unknown ones are refused
   by name, and those that have no meaning here are told. What a redis.conf does not say is as redis-server has it,
   so without ``appendonly yes`` in it there are snapshots and no log; a directory has a log unless told otherwise;
2. listen, then load, and on a failure log why and end with status 1; meanwhile clients get -LOADING, and INFO;
3. serve until SIGTERM, SIGINT or SHUTDOWN; then make everything durable and end with status 0. What cannot be made
   durable keeps it from ending.

Log lines are those of redis-server, since rigs wait for them.

Redis: server.c main, daemonize, createPidFile, redisLog, prepareForShutdown (7.0.15).
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from aofnb._version import VERSION
from aofnb.adapters.oom import OomScore
from aofnb.adapters.server import Server
from aofnb.config import NOTICE, Config, Setting
from aofnb.config_file import ConfigFile, server_words, today
from aofnb.config_server import ABSENT, SERVER_SETTINGS
from aofnb.engine import Store, open_store
from aofnb.engine.info import REDIS_VERSION
from aofnb.errors import (
    AofManifestError,
    AofnbError,
    AofTruncatedError,
    ConfigError,
    ReplyError,
    StoreClosedError,
)

__all__ = ["Arguments", "main", "read_arguments"]

_DEFAULT_PORT = 6379
# What redis-server calls a level, and what stands for it in a line.
_LEVELS = {"debug": logging.DEBUG, "verbose": logging.INFO, "notice": NOTICE, "warning": logging.WARNING}
_MARKS = ((logging.WARNING, "#"), (NOTICE, "*"), (logging.INFO, "-"), (logging.NOTSET, "."))
# The server says itself what is so of these.
_OF_LISTENER = {"bind", "enable-debug-command", "port", "protected-mode", "unixsocket", "unixsocketperm"}
# Files that are no client: the log, what is listened on, and those of Python (CONFIG_MIN_RESERVED_FDS).
_OWN_FILES = 32
# How often it is looked whether a signal came, or SHUTDOWN.
_LOOK_S = 0.05
# What redis-server does where its file says nothing of it.
_DEFAULTS_OF_FILES = {"appendonly": "no", "save": "3600 1 300 100 60 10000"}

# Read here. What redis.conf may say besides has no effect on a store.
_USED = {
    *("always-show-logo", "bind", "daemonize", "enable-debug-command", "logfile", "loglevel", "pidfile", "port"),
    *(
        "oom-score-adj",
        "oom-score-adj-values",
        "protected-mode",
        "shutdown-on-sigint",
        "shutdown-on-sigterm",
        "unixsocket",
        "unixsocketperm",
    ),
}


@dataclass
class Arguments:
    """What to serve and how: `settings` are the store's, `server` what only a server process has."""

    directory: str = "."
    settings: dict[str, str] = field(default_factory=dict)
    server: dict[str, tuple[str, ...]] = field(default_factory=dict)
    file: ConfigFile | None = None
    # A redis.conf was given: the defaults are redis-server's.
    from_file: bool = False

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

    def socket_mode(self) -> int:
        permissions = self.one("unixsocketperm", "0")
        try:
            return int(permissions, 8)
        except ValueError:
            raise ConfigError(f"unixsocketperm {permissions}: give the mode in octal, such as 700") from None

    def check(self) -> None:
        """Raise ConfigError for values of server settings that cannot be."""
        self.number("port", _DEFAULT_PORT)
        self.socket_mode()
        self.yes("protected-mode", "yes")
        self.yes("always-show-logo", "no")
        level = self.one("loglevel", "notice").lower()
        if level not in _LEVELS:
            raise ConfigError(f"loglevel {level}: must be one of {', '.join(_LEVELS)}")
        self.one("logfile")
        self.one("pidfile")
        self.one("unixsocket")

    @property
    def without_effect(self) -> list[str]:
        """Server settings that mean nothing here."""
        return sorted(set(self.server) - _USED - set(ABSENT))


def read_arguments(argv: Sequence[str]) -> Arguments:
    """The command line behind ``serve``: ``[DIR | redis.conf | -] [--setting value ...] ...``.

    ``-``, here or at the end, is a redis.conf on standard input.

    Raises
    ------
    ConfigError
        A setting is not known, or its value cannot be; names it.
    """
    arguments = Arguments()
    words = list(argv)
    stdin = "-" in words[:1] + words[-1:]
    if stdin:
        words.pop(0 if words[0] == "-" else -1)
    given = ConfigFile(None)
    if words and not words[0].startswith("-"):
        place = words.pop(0)
        if os.path.isfile(place):
            given = arguments.file = ConfigFile(place)
        elif place.endswith(".conf") and not os.path.isdir(place):
            raise ConfigError(f"{place} is not there; give a redis.conf, or a directory of data")
        else:
            arguments.directory = place
    if stdin:
        given.add(sys.stdin.read(), "standard input")
        if given.users and arguments.file is None:
            raise ConfigError("user: CONFIG REWRITE could not write what comes on standard input; list users in a file")
    arguments.from_file = stdin or arguments.file is not None
    arguments.server.update(given.server)
    arguments.settings.update(given.settings)
    _read_options(words, arguments)
    if arguments.from_file:
        arguments.settings = _DEFAULTS_OF_FILES | arguments.settings
    directory = arguments.settings.pop("dir", "")
    if directory and not os.path.isdir(directory) and arguments.from_file:
        raise ConfigError(f"dir {directory}: there is no such directory")
    arguments.directory = directory or arguments.directory
    return arguments


def _read_options(words: list[str], arguments: Arguments) -> None:
    """``--setting value ...``, as often as it comes; the last of a name counts."""
    while words:
        option = words.pop(0)
        if not option.startswith("--"):
            raise ConfigError(f"{option!r}: settings are given as --name value")
        name = today(option[2:].lower())
        values: list[str] = []
        while words and not words[0].startswith("--"):
            values.append(words.pop(0))
        if name in SERVER_SETTINGS:
            arguments.server[name] = server_words(name, values)
        else:
            arguments.settings[Config.setting(name).name] = " ".join(values)


def main(argv: Sequence[str]) -> int:
    """Serve until told to stop; the exit status."""
    if list(argv) in (["--version"], ["-v"]):
        # As redis-server says it: test rigs look for the number.
        print(f"Redis server v={REDIS_VERSION} sha=00000000:0 malloc=libc bits=64 build=aofnb-{VERSION}")
        return 0
    try:
        arguments = read_arguments(argv)
        daemon = arguments.yes("daemonize", "no")
        arguments.check()
    except ConfigError as problem:
        print(f"\n*** FATAL CONFIG FILE ERROR (Redis {REDIS_VERSION}) ***\naofnb: {problem}", file=sys.stderr)
        return 1
    if daemon:
        _leave_the_terminal()
    try:
        log = _logger(arguments)
    except OSError as problem:
        print(f"aofnb: Can't open the log file: {problem}", file=sys.stderr)
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


def aofnb_server() -> int:
    """The program ``aofnb-server``: ``aofnb serve`` for rigs that want the path of one executable."""
    return main(sys.argv[1:])


def _leave_the_terminal() -> None:
    """``daemonize yes``: go on in a child of nobody; whoever started us sees us end at once."""
    sys.stdout.flush()
    if os.fork():
        os._exit(0)
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(null, stream)
    if null > 2:
        os.close(null)


class _Stop(BaseException):
    """A signal came before there was anything to shut down."""


def _serve(arguments: Arguments, log: logging.Logger) -> int:
    log.warning("oO0OoO0OoO0Oo aofnb is starting oO0OoO0OoO0Oo")
    log.warning(
        "aofnb version=%s, Redis version=%s, bits=64, pid=%d, just started", VERSION, REDIS_VERSION, os.getpid()
    )
    log.warning("Configuration loaded")
    signals = _Signals()
    before = {number: signal.signal(number, signals.heard) for number in (signal.SIGTERM, signal.SIGINT)}
    store: Store | None = None
    try:
        with _pid_file(arguments.one("pidfile"), log):
            store, server = _load(arguments, signals, log)
            _say_ready(arguments, server, log)
            _serve_on(store, server, signals, log)
        log.warning("Redis is now ready to exit, bye bye...")
        return 0
    except _Stop:
        log.warning("Received %s, exiting now", signals.name)
        return 0
    except StoreClosedError:
        # SHUTDOWN while it loaded.
        log.warning("Redis is now ready to exit, bye bye...")
        return 0
    finally:
        if store is not None:
            store.close()
        for number, handler in before.items():
            signal.signal(number, handler)


class _Signals:
    """What SIGTERM and SIGINT do: end a load at once, a server in good order, and at the second SIGINT at once too.

    Nothing here locks or clears: a handler may run between any two steps of the thread that waits.
    """

    def __init__(self) -> None:
        # Set as soon as clients are let in, who are told -LOADING for as long as it loads.
        self.store: Store | None = None
        self.name = ""
        self._heard = 0
        self._told = 0

    def heard(self, number: int, _frame: FrameType | None) -> None:
        again = number == signal.SIGINT and self.name == "SIGINT"
        self.name = signal.Signals(number).name
        # From the moment a load is over, writes are acknowledged, wherever the thread that loaded is by then.
        if again or self.store is None or self.store.engine.loading is not None:
            raise _Stop
        self._heard += 1

    def wait(self, timeout_s: float) -> bool:
        """Whether one came that was not told yet, by now or within that time."""
        if self._heard == self._told:
            time.sleep(timeout_s)
        came = self._heard > self._told
        self._told += came
        return came


def _load(arguments: Arguments, signals: _Signals, log: logging.Logger) -> tuple[Store, Server]:
    """Listen, and load: meanwhile clients are told -LOADING."""
    directory = os.path.abspath(os.path.expanduser(arguments.directory))
    port = arguments.number("port", _DEFAULT_PORT)
    for handler in log.handlers:
        if isinstance(handler.formatter, _Format):
            handler.formatter.role = "M"
    if arguments.yes("always-show-logo", "no"):
        _show_logo(port, log)
    else:
        log.log(NOTICE, "Running mode=standalone, port=%d.", port)
    log.warning("Server initialized")
    if arguments.without_effect:
        log.warning("These settings have no effect here: %s", ", ".join(arguments.without_effect))
    started = time.monotonic()
    servers: list[Server] = []

    def listen(store: Store) -> None:
        signals.store = store
        servers.append(_listen(arguments, store, log))

    try:
        settings: dict[str, Any] = dict(arguments.settings)
        store = open_store(
            directory,
            config_file=arguments.file,
            before_load=listen,
            **settings,
        )
    except BaseException as problem:
        for server in servers:
            server.close()
        if isinstance(problem, AofnbError) and not isinstance(problem, StoreClosedError):
            _say_what_failed(problem, directory, log)
        raise
    _say_what_was_loaded(store, time.monotonic() - started, log)
    store.forget_own_client()
    return store, servers[0]


def _show_logo(port: int, log: logging.Logger) -> None:
    """Where there is always a picture, rigs look for the process's number in it."""
    picture = f"""
        aofnb {VERSION}, as Redis {REDIS_VERSION}, 64 bit
   []=[]=[]=>
        Running in standalone mode
        Port: {port}
        PID: {os.getpid()}
"""
    for handler in log.handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.stream.write(picture + "\n")
            handler.flush()


def _say_what_failed(problem: AofnbError, directory: str, log: logging.Logger) -> None:
    """Why the data cannot be loaded, in the server's words; ours follow."""
    name = os.path.basename(getattr(problem, "file", None) or "") or directory
    if isinstance(problem, AofTruncatedError):
        log.warning(
            "Unexpected end of file reading the append only file %s. You can: 1) Make a backup of your AOF file, then "
            "use aofnb check --fix <dir>. 2) Alternatively you can set the 'aof-load-truncated' configuration option "
            "to yes and restart the server.",
            name,
        )
    elif isinstance(problem, AofManifestError):
        log.warning("*** FATAL AOF MANIFEST FILE ERROR *** in %s", name)
    elif name.endswith(".rdb"):
        log.warning("Short read or OOM loading DB. Unrecoverable error, aborting now.")
        log.warning("Bad file format reading the append only file %s", name)
    elif not isinstance(problem, ConfigError):
        log.warning(
            "Bad file format reading the append only file %s: make a backup of your AOF file, then use "
            "aofnb check --fix <dir>",
            name,
        )


def _say_what_was_loaded(store: Store, seconds: float, log: logging.Logger) -> None:
    loaded = store.load_report
    if loaded is None:
        if os.path.exists(os.path.join(str(store.path), store.config.dbfilename)):
            log.log(NOTICE, "Done loading RDB, keys loaded: %d, keys expired: 0.", store.engine.keyspace.key_count())
            log.log(NOTICE, "DB loaded from disk: %.3f seconds", seconds)
        return
    if loaded.snapshot_keys:
        log.log(NOTICE, "Done loading RDB, keys loaded: %d, keys expired: 0.", loaded.snapshot_keys)
    cut = loaded.files.truncated
    for file in loaded.files.files:
        if cut is not None and os.path.basename(cut.file) == file.name:
            log.warning("!!! Warning: short read while loading the AOF file %s!!!", file.name)
            log.warning("!!! Truncating the AOF %s at offset %d !!!", file.name, cut.offset)
            log.warning("AOF %s loaded anyway because aof-load-truncated is enabled", file.name)
        kind = "base" if ".base." in file.name else "incr"
        log.log(NOTICE, "DB loaded from %s file %s: %.3f seconds", kind, file.name, file.seconds)
    if loaded.files.files:
        log.log(NOTICE, "DB loaded from append only file: %.3f seconds", seconds)
    loaded_names = {file.name for file in loaded.files.files}
    for name, kind, _size in store.stats().files:
        done = "Opening" if name in loaded_names else "Creating"
        if done == "Creating" or kind == "incr":
            log.log(NOTICE, "%s AOF %s file %s on server start", done, kind, name)


def _make_room_for_clients(config: Config, log: logging.Logger) -> None:
    """See that ``maxclients`` may come: the process may open so many files, or the setting becomes less.

    Raises
    ------
    ConfigError
        Not even one may come.

    Redis: server.c adjustOpenFilesLimit (7.0.15).
    """
    if sys.platform == "win32":
        return
    import resource

    wanted = config.maxclients + _OWN_FILES
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before == resource.RLIM_INFINITY or before >= wanted:
        return
    refusal: OSError | ValueError | None = None
    try:
        # Root may have more than the most.
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, most)))
    except (OSError, ValueError) as problem:
        refusal = problem
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    allowed, _most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if refusal is None:
        log.log(NOTICE, "Increased maximum number of open files to %d (it was originally set to %d).", allowed, before)
        return
    if allowed <= _OWN_FILES:
        raise ConfigError(
            f"Your current 'ulimit -n' of {allowed} is not enough for the server to start. Please increase your open "
            f"file limit to at least {wanted}. Exiting."
        )
    log.warning("You requested maxclients of %d requiring at least %d max file descriptors.", config.maxclients, wanted)
    why = os.strerror(refusal.errno) if isinstance(refusal, OSError) and refusal.errno else "Operation not permitted"
    log.warning("Server can't set maximum open files to %d because of OS error: %s.", wanted, why)
    config.maxclients = allowed - _OWN_FILES
    log.warning(
        "Current maximum open files is %d. maxclients has been reduced to %d to compensate for low ulimit. If you need "
        "higher maxclients increase 'ulimit -n'.",
        allowed,
        config.maxclients,
    )


def _listen(arguments: Arguments, store: Store, log: logging.Logger) -> Server:
    _make_room_for_clients(store.config, log)
    port = arguments.number("port", _DEFAULT_PORT)
    path = arguments.one("unixsocket")
    try:
        server = Server(
            store,
            # As in redis-server, port 0 is no port; but a free one where nothing else is served.
            host=list(arguments.server.get("bind", ("127.0.0.1", "-::1"))) if port or not path else None,
            port=port,
            unixsocket=path or None,
            unixsocketperm=arguments.socket_mode(),
            protected_mode=arguments.yes("protected-mode", "yes"),
            open_to_strangers=True,
            debug_commands=arguments.one("enable-debug-command", "no").lower(),
            log=log,
        )
    except ConfigError as problem:
        log.warning("Warning: Could not create server TCP listening socket: %s", problem)
        log.warning("Failed listening on port %d (TCP), aborting.", port)
        raise
    settings = store.engine.settings
    said = {name: SERVER_SETTINGS[name].parse(" ".join(words)) for name, words in arguments.server.items()}
    settings.server |= {name: value for name, value in said.items() if name not in _OF_LISTENER}
    for name in ("shutdown-on-sigint", "shutdown-on-sigterm"):
        # Asked for when the signal comes.
        settings.on_change[name] = lambda: None
    store.engine.on_child = OomScore(settings, log).child
    settings.on_change["loglevel"] = lambda: log.setLevel(_LEVELS[settings.server["loglevel"]])
    return server


def _say_ready(arguments: Arguments, server: Server, log: logging.Logger) -> None:
    if server.hosts:
        log.log(NOTICE, "Ready to accept connections")
        if arguments.number("port", _DEFAULT_PORT) == 0:
            log.log(NOTICE, "The server listens on port %d", server.port)
    if server.unixsocket is not None:
        log.log(NOTICE, "The server is now ready to accept connections at %s", server.unixsocket)


def _serve_on(store: Store, server: Server, signals: _Signals, log: logging.Logger) -> None:
    """Until SHUTDOWN, or a signal after which everything could be made durable."""
    while server.running and not store.closed:
        if not signals.wait(_LOOK_S):
            continue
        log.warning("Received %s scheduling shutdown...", signals.name)
        log.warning("User requested shutdown...")
        try:
            chosen = store.engine.settings.server[f"shutdown-on-{signals.name.lower()}"]
            store.execute("SHUTDOWN", *(word for word in chosen.split() if word != "default"))
        except ReplyError:
            # As redis-server: what was acknowledged is not given up because somebody asks for an end.
            log.warning("Errors trying to shut down the server. Check the logs for more information.")
    server.close()
    store.close()
    if server.unixsocket is not None:
        log.log(NOTICE, "Removing the unix socket file.")


class _pid_file:  # noqa: N801  # reads like a function of contextlib
    """The file with the process's number, for as long as the block lasts; none if `path` is empty."""

    def __init__(self, path: str, log: logging.Logger) -> None:
        self._path = path
        self._log = log

    def __enter__(self) -> None:
        if self._path:
            try:
                with open(self._path, "w") as file:
                    file.write(f"{os.getpid()}\n")
            except OSError as problem:
                # As redis-server, which goes on without.
                self._log.warning("Failed to write PID file: %s", problem)

    def __exit__(self, *_ignored: object) -> None:
        if self._path:
            self._log.log(NOTICE, "Removing the pid file.")
            with suppress(OSError):
                os.unlink(self._path)


# --- the log ---------------------------------------------------------------------------------------------


def _logger(arguments: Arguments) -> logging.Logger:
    path = arguments.one("logfile")
    # One that was moved away is made anew, as redis-server does.
    handler: logging.Handler = logging.handlers.WatchedFileHandler(path) if path else logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Format())
    log = logging.getLogger("aofnb")
    log.setLevel(_LEVELS[arguments.one("loglevel", "notice").lower()])
    log.addHandler(handler)
    log.propagate = False
    return log


class _Format(logging.Formatter):
    """``pid:M 20 Nov 2026 19:30:39.176 * text``, as redis-server writes it."""

    # C until there is a server, then M.
    role = "C"

    def format(self, record: logging.LogRecord) -> str:
        mark = next(mark for level, mark in _MARKS if record.levelno >= level)
        moment = time.localtime(record.created)
        shown = f"{time.strftime('%d %b %Y %H:%M:%S', moment)}.{int(record.msecs):03d}"
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return f"{record.process}:{self.role} {shown} {mark} {text}"
