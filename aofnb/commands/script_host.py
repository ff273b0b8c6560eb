"""What runs scripts and functions: their cache, the checks around each, and what they may ask of the store.

A script is part of the unit of the command that called it: its effects are logged with that unit, and stay if it
fails half way. It runs as a client of its own, which has the selected database of the caller and may not wait.
While it runs, time stands still, and other threads wait at `BusyGate`; when their patience ends (``busy-reply-
threshold``) they get BUSY, and only SCRIPT KILL, FUNCTION KILL and FUNCTION STATS get through.

Redis: script.c, eval.c, functions.c (7.0.15).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aofnb.clock import Clock
from aofnb.commands import messages
from aofnb.commands.blocking import timeout_of
from aofnb.commands.client import Client, Server
from aofnb.commands.registry import Command, find
from aofnb.errors import ReplyError
from aofnb.lua.chance import Lrand48
from aofnb.lua.errors import ScriptError, ScriptKilledError
from aofnb.lua.interpreter import NO_LUPA, REPL_AOF, CompileError, Interpreter, RunError, available
from aofnb.store.functions import (
    NAME_RULE,
    Function,
    Library,
    LibraryError,
    library_name,
    name_is_valid,
    parse_library,
    split_line,
)

__all__ = ["FLAGS", "BusyError", "BusyGate", "ScriptRun", "Scripts"]

_log = logging.getLogger("aofnb.script")
_LEVELS = (logging.DEBUG, logging.INFO, logging.INFO, logging.WARNING)

# In the order FUNCTION LIST shows them.
FLAGS = (b"no-writes", b"allow-oom", b"allow-stale", b"no-cluster", b"allow-cross-slot-keys")
BUSY_SCRIPT = "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE."
BUSY_FUNCTION = "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE."
_WHILE_BUSY = frozenset({"SCRIPT KILL", "FUNCTION KILL", "FUNCTION STATS"})
# A library may take so long to register what it has.
LOAD_TIMEOUT_S = 0.5


class BusyError(ReplyError):
    """The patience of a command ended while a script ran; it was not looked at."""


@dataclass(slots=True, eq=False)
class ScriptRun:
    """A script or function that runs now."""

    name: str
    # Who called it, and with which command.
    client: Client
    argv: Sequence[bytes]
    is_function: bool
    read_only: bool
    started_s: float
    busy_after_s: float
    # The first write command was let through: from then on it cannot be killed.
    wrote: bool = False
    killed: bool = False
    # It may use memory that there is not.
    allow_oom: bool = False
    # Which effects are logged: redis.set_repl.
    repl: int = 3

    @property
    def busy(self) -> str:
        """What others are told."""
        return BUSY_FUNCTION if self.is_function else BUSY_SCRIPT


class BusyGate:
    """Stands in for the engine's lock while a script runs: who waits at it waits no longer than the script may.

    The thread that runs the script passes at once, as it does at the lock.
    """

    def __init__(self, lock: Any, run: ScriptRun, clock: Clock) -> None:
        self._lock, self._run, self._clock = lock, run, clock

    def __enter__(self) -> None:
        run = self._run
        patience_s = run.started_s + run.busy_after_s - self._clock.monotonic()
        if not self._lock.acquire(timeout=max(patience_s, 0) if run.busy_after_s else -1):
            raise BusyError(run.busy)

    def __exit__(self, *_problem: object) -> None:
        self._lock.release()


@dataclass(frozen=True, slots=True, eq=False)
class _Script:
    """A script of EVAL, compiled."""

    function: Any
    flags: frozenset[bytes]
    # No first line ``#!lua``: the rules of before 7.0 hold.
    old: bool


@dataclass(slots=True, eq=False)
class _Registration:
    """What a library registers while its body runs."""

    functions: dict[bytes, Function] = field(default_factory=dict)
    callbacks: dict[bytes, Any] = field(default_factory=dict)

    def add(self, lua: Interpreter, *args: Any) -> None:
        """One ``redis.register_function``; raises ScriptError in the server's words."""
        if not 1 <= len(args) <= 2:
            raise ScriptError("ERR wrong number of arguments to redis.register_function")
        given = _named(lua, args[0]) if len(args) == 1 else _positional(lua, *args)
        name, callback = given.get("function_name"), given.get("callback")
        if name is None:
            raise ScriptError("ERR redis.register_function must get a function name argument")
        if callback is None:
            raise ScriptError("ERR redis.register_function must get a callback argument")
        if not name_is_valid(name):
            raise ScriptError(f"ERR {NAME_RULE}")
        if name in self.functions:
            raise ScriptError("ERR Function already exists in the library")
        self.functions[name] = Function(name, given.get("description"), given.get("flags", ()))
        self.callbacks[name] = callback


def _positional(lua: Interpreter, name: Any, callback: Any) -> dict[str, Any]:
    text = _string(name)
    if text is None:
        raise ScriptError("ERR first argument to redis.register_function must be a string")
    if not lua.is_function(callback):
        raise ScriptError("ERR second argument to redis.register_function must be a function")
    return {"function_name": text, "callback": callback}


def _named(lua: Interpreter, table: Any) -> dict[str, Any]:
    if not lua.is_table(table):
        raise ScriptError(
            "ERR calling redis.register_function with a single argument is only applicable to Lua table "
            "(representing named arguments)."
        )
    given: dict[str, Any] = {}
    for key, value in lua.table_entries(table):
        word = _string(key)
        if word is None:
            raise ScriptError("ERR named argument key given to redis.register_function is not a string")
        name = word.lower().decode("latin-1")
        if name in ("function_name", "description"):
            given[name] = _string(value)
            if given[name] is None:
                raise ScriptError(f"ERR {name} argument given to redis.register_function must be a string")
        elif name == "callback":
            if not lua.is_function(value):
                raise ScriptError("ERR callback argument given to redis.register_function must be a function")
            given[name] = value
        elif name == "flags":
            if not lua.is_table(value):
                raise ScriptError(
                    "ERR flags argument to redis.register_function must be a table representing function flags"
                )
            given[name] = _known_flags([item for _, item in lua.table_entries(value)])
        else:
            raise ScriptError("ERR unknown argument given to redis.register_function")
    return given


def _known_flags(words: list[Any]) -> tuple[bytes, ...]:
    if any(word not in FLAGS for word in words):
        raise ScriptError("ERR unknown flag given")
    return tuple(flag for flag in FLAGS if flag in words)


def _string(value: Any) -> bytes | None:
    if isinstance(value, bytes):
        return value
    return b"%.14g" % value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _utf8(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


class Scripts:
    """The scripts and libraries of one store. It is also the `Host` of its interpreters."""

    def __init__(self, server: Server) -> None:
        self._server = server
        # One sequence for all, as there.
        self._chance = Lrand48()
        self._for_eval: Interpreter | None = None
        self._for_functions: Interpreter | None = None
        self._cache: dict[str, _Script] = {}
        # Library -> its source and callbacks, as far as they were run.
        self._compiled: dict[str, tuple[bytes, dict[bytes, Any]]] = {}
        self._client: Client | None = None
        self.running: ScriptRun | None = None
        self._load_until_s: float | None = None

    @property
    def cached(self) -> int:
        """How many scripts EVALSHA finds."""
        return len(self._cache)

    # --- EVAL ------------------------------------------------------------------------------------------------------

    def load(self, source: bytes) -> str:
        """Compile `source` unless it is known, and keep it; its SHA1."""
        sha = hashlib.sha1(source, usedforsecurity=False).hexdigest()
        if sha not in self._cache:
            flags, old, body = _shebang(source)
            if self._for_eval is None:
                self._for_eval = Interpreter(self, self._chance)
            try:
                function = self._for_eval.compile(body, b"@user_script")
            except CompileError as problem:
                raise ReplyError(f"ERR Error compiling script (new function): {problem}") from None
            self._cache[sha] = _Script(function, flags, old)
        return sha

    def knows(self, sha: bytes) -> bool:
        """Whether a script with this SHA1, in any spelling, is kept."""
        return sha.lower().decode("latin-1") in self._cache

    def forget(self) -> None:
        """Drop all scripts, and with them the settings that they made."""
        self._cache.clear()
        self._for_eval = None

    def run_script(
        self, client: Client, sha: str, argv: Sequence[bytes], keys: Sequence[bytes], args: Sequence[bytes], ro: bool
    ) -> Any:
        """Run a script that is kept; raises ReplyError."""
        script, lua = self._cache[sha], self._for_eval
        assert lua is not None
        read_only = self._checked(client, script.flags, ro) if not script.old else ro
        run = self._new_run(client, sha, argv, False, read_only)
        run.allow_oom = b"allow-oom" in script.flags
        return self._run(client, run, lua, lambda: lua.run_script(script.function, keys, args, client))

    # --- FCALL -----------------------------------------------------------------------------------------------------

    def run_function(
        self, client: Client, name: bytes, argv: Sequence[bytes], keys: Sequence[bytes], args: Sequence[bytes], ro: bool
    ) -> Any:
        """Call a function of a library; raises ReplyError."""
        self.settle()
        library, function = self.find_function(name)
        if not available():
            raise ReplyError(NO_LUPA)
        lua, callback = self._for_functions, self._compiled[library.name][1][function.name]
        assert lua is not None
        read_only = self._checked(client, frozenset(function.flags), ro)
        run = self._new_run(client, _utf8(function.name), argv, True, read_only)
        run.allow_oom = b"allow-oom" in function.flags
        return self._run(client, run, lua, lambda: lua.run_function(callback, keys, args, client))

    def find_function(self, name: bytes) -> tuple[Library, Function]:
        """A function by its name, whatever its case; raises ReplyError."""
        wanted = name.lower()
        for library in self._server.keyspace.functions.values():
            for function in library.functions:
                if function.name.lower() == wanted:
                    return library, function
        raise ReplyError("ERR Function not found")

    def make_library(self, code: bytes) -> Library:
        """A library from its source, its body run where Lua is there.

        Raises
        ------
        LibraryError
            In the words of the server.
        """
        return self._run_library(code)[0] if available() else parse_library(code)

    def settle(self) -> None:
        """Run the libraries that were not run yet, or came from a snapshot: then it is known what they register."""
        libraries = self._server.keyspace.functions
        if not libraries:
            # Nothing of theirs is to survive them.
            self._compiled.clear()
            self._for_functions = None
        if not libraries or not available():
            return
        for name, library in list(libraries.items()):
            known = self._compiled.get(name)
            if known is not None and known[0] is library.code:
                continue
            try:
                libraries[name], self._compiled[name] = self._run_library(library.code)
            except LibraryError as problem:
                _log.warning("the function library %s cannot be run, FCALL will not find it: %s", name, problem)
                self._compiled[name] = (library.code, {})
                libraries[name] = Library(name, library.engine, library.code, ())

    def _run_library(self, code: bytes) -> tuple[Library, tuple[bytes, dict[bytes, Any]]]:
        name = library_name(code)
        if self._for_functions is None:
            self._for_functions = Interpreter(self, self._chance, for_functions=True)
        lua, registration = self._for_functions, _Registration()
        try:
            # The first line is not Lua; its end stays, so that lines are counted right.
            body = lua.compile(code[code.index(b"\n") :], b"@user_function")
        except CompileError as problem:
            raise LibraryError(f"Error compiling function: {problem}") from None
        self._load_until_s = self._server.clock.monotonic() + LOAD_TIMEOUT_S
        try:
            lua.load_library(body, registration.add)
        except RunError as problem:
            raise LibraryError(f"Error registering functions: {problem.text}") from None
        finally:
            self._load_until_s = None
        if not registration.functions:
            raise LibraryError("No functions registered")
        library = Library(name, "LUA", code, tuple(registration.functions.values()))
        return library, (code, registration.callbacks)

    # --- one run ---------------------------------------------------------------------------------------------------

    def _checked(self, client: Client, flags: frozenset[bytes], ro: bool) -> bool:
        """What is refused before it begins; whether it may only read."""
        if b"no-writes" in flags:
            return True
        refusal = self._server.refusal
        if refusal is not None and not client.loading:
            if not refusal.startswith("MISCONF"):
                raise ReplyError(refusal)
            raise ReplyError(
                "MISCONF Redis is configured to persist data to AOF, but it's currently unable to persist to disk. "
                "Writable scripts are blocked. Use the 'no-writes' flag for read only scripts. "
                f"AOF error: {refusal.rpartition(': ')[2]}"
            )
        if ro:
            raise ReplyError("ERR Can not execute a script with write flag using *_ro command.")
        if self._out_of_memory() and b"allow-oom" not in flags:
            raise ReplyError(
                "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'"
            )
        return False

    def _out_of_memory(self) -> bool:
        usage = self._server.usage
        return usage is not None and usage.out_of_memory

    def _new_run(
        self, client: Client, name: str, argv: Sequence[bytes], is_function: bool, read_only: bool
    ) -> ScriptRun:
        server = self._server
        patience_s = server.config.busy_reply_threshold / 1000
        return ScriptRun(name, client, argv, is_function, read_only, server.clock.monotonic(), patience_s)

    def _run(self, client: Client, run: ScriptRun, lua: Interpreter, body: Any) -> Any:
        server = self._server
        if self._client is None:
            self._client = server.new_client()
        own = self._client
        own.db, own.resp, own.loading, own.in_exec = client.db, 2, client.loading, True
        own.username, own.restricted = client.username, client.restricted
        # What MONITOR shows as the caller.
        own.address = "lua"
        lua.begin()
        with server.script(run):
            self.running = run
            try:
                return body()
            except RunError as problem:
                raise ReplyError(_told(problem, run.name)) from None
            finally:
                self.running = None

    # --- Host: what a script may ask ---------------------------------------------------------------------------------

    def call(self, argv: list[bytes]) -> Any:
        """One command of a script; raises ReplyError."""
        run, own, server = self.running, self._client, self._server
        assert run is not None
        assert own is not None
        command = find(argv)
        if command is None or (command.subcommands and len(argv) > 1):
            raise ReplyError("ERR Unknown Redis command called from script")
        if not command.min_argc <= len(argv) <= command.max_argc:
            raise ReplyError("ERR Wrong number of args calling Redis command from script")
        if "noscript" in command.flags:
            raise ReplyError("ERR This Redis command is not allowed from script")
        if own.restricted:
            denied = server.users.denies(own, command, argv)
            if denied is not None:
                server.users.note(run.client, "lua", denied.reason, denied.object)
                raise ReplyError(denied.in_script)
        if run.read_only and (command.writes or "may_replicate" in command.flags):
            raise ReplyError("ERR Write commands are not allowed from read-only scripts.")
        if not (run.wrote or run.allow_oom or own.loading) and "denyoom" in command.flags and self._out_of_memory():
            raise ReplyError(messages.OUT_OF_MEMORY)
        if command.name in ("XREAD", "XREADGROUP") and timeout_of(argv) is not None:
            raise messages.error(f"ERR {messages.shown(argv[0])} command is not allowed with BLOCK option from scripts")
        if command.writes and not run.wrote:
            # Once it wrote, refusing would leave it half done.
            if server.refusal is not None and not own.loading:
                raise ReplyError(server.refusal)
            run.wrote = True
        if run.repl & REPL_AOF:
            return server.call(own, command, argv)
        effects = len(server.effects)
        try:
            return server.call(own, command, argv)
        finally:
            del server.effects[effects:]

    def set_resp(self, version: int) -> None:
        """redis.setresp."""
        assert self._client is not None
        self._client.resp = version

    def set_repl(self, flags: int) -> None:
        """redis.set_repl."""
        assert self.running is not None
        self.running.repl = flags

    def allowed(self, argv: list[bytes]) -> bool:
        """redis.acl_check_cmd: whether the caller may run a command."""
        command = find(argv)
        if command is None or (command.subcommands and len(argv) > 1):
            raise ReplyError("ERR Invalid command passed to redis.acl_check_cmd()")
        own = self._client
        return own is None or not own.restricted or self._server.users.denies(own, command, argv) is None

    def log(self, level: int, message: bytes) -> None:
        """redis.log: to the logger ``aofnb.script``."""
        _log.log(_LEVELS[level], "%s", message.decode("utf-8", "backslashreplace"))

    def tick(self, *_event: Any) -> None:
        """Every so many instructions of Lua."""
        if self.running is not None and self.running.killed:
            raise ScriptKilledError("ERR Script killed by user with SCRIPT KILL.")
        if self._load_until_s is not None and self._server.clock.monotonic() > self._load_until_s:
            raise ScriptKilledError("ERR FUNCTION LOAD timeout")

    # --- from other threads ------------------------------------------------------------------------------------------

    def answers_while_busy(self, argv: Sequence[bytes]) -> Command | None:
        """The command that `argv` names, if it is one that need not wait for the script that runs."""
        command = find(argv)
        if self.running is None or command is None or command.name not in _WHILE_BUSY or len(argv) != 2:
            return None
        return command

    def kill(self, is_function: bool) -> str:
        """End what runs, if it wrote nothing; raises ReplyError."""
        run = self.running
        if run is None:
            raise ReplyError("NOTBUSY No scripts in execution right now.")
        if run.wrote:
            raise ReplyError(
                "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait "
                "the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command."
            )
        if run.is_function != is_function:
            raise ReplyError(run.busy)
        run.killed = True
        return "OK"


def _told(problem: RunError, name: str) -> str:
    if problem.bare:
        return f"ERR Error running script {name}, {problem.text}"
    text = problem.text.replace("\r", " ").replace("\n", " ")
    if problem.source is None or problem.line is None:
        return text
    return f"{text} script: {name}, on {problem.source}:{problem.line}."


def _shebang(source: bytes) -> tuple[frozenset[bytes], bool, bytes]:
    """Flags of a script, whether it has no first line ``#!lua``, and what is to be compiled; raises ReplyError."""
    if not source.startswith(b"#!"):
        return frozenset(), True, source
    line, newline, _ = source.partition(b"\n")
    if not newline:
        raise ReplyError("ERR Invalid script shebang")
    parts = split_line(line)
    if not parts:
        raise ReplyError("ERR Invalid engine in script shebang")
    if parts[0] != b"#!lua":
        raise ReplyError(f"ERR Unexpected engine in script shebang: {_utf8(parts[0])}")
    flags: set[bytes] = set()
    for part in parts[1:]:
        if not part.startswith(b"flags="):
            raise ReplyError(f"ERR Unknown lua shebang option: {_utf8(part)}")
        words = part.removeprefix(b"flags=").split(b",") if part != b"flags=" else []
        for word in words:
            if word not in FLAGS:
                raise ReplyError(f"ERR Unexpected flag in script shebang: {_utf8(word)}")
            flags.add(word)
    return frozenset(flags), False, source[len(line) :]
