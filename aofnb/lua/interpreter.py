"""One Lua interpreter, sandboxed, with the libraries that Redis gives to scripts.

Rules of this file: lupa is imported here alone, and only when an interpreter is made; strings cross as bytes; no Lua
code ever sees a Python object but as an error, which `sandbox.lua` turns into what the server gives. Lua runs without
the GIL, so other threads go on; every `HOOK_EVERY` instructions it comes back to `Host.tick`, which is where Ctrl-C
and SCRIPT KILL get in.

Lua 5.1 and no other: it is what Redis runs, and scripts see the difference (integers, goto, ``unpack``, the texts
of errors, the order of tables).

Redis: script_lua.c (7.0.15).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Any, Protocol

from aofnb.errors import ReplyError
from aofnb.lua import bitops, structs
from aofnb.lua.chance import Lrand48
from aofnb.lua.cnumbers import as_int32, as_int64, as_text, checked_number, pack_number, read_number, strtod
from aofnb.lua.errors import ArgumentError, LuaTextError, ScriptError, ScriptKilledError
from aofnb.resp.replies import BigNumber, SetReply, Verbatim

__all__ = ["NO_LUPA", "CompileError", "Host", "Interpreter", "RunError", "available"]

NO_LUPA = (
    "ERR scripting needs Lua 5.1, which comes with lupa: pip install 'aofnb[lua]'; without it libraries are kept as "
    "text and everything but scripts works"
)
HOOK_EVERY = 100_000
# Of one interpreter; what asks for more gets "not enough memory". Lua raises that where it stands, which must not be
# while Python is between: so a call from Lua to Python begins with half of it free, and takes no more than a quarter.
MAX_MEMORY_BYTES = 1 << 30
# Arrays in arrays: beyond this the reply is an error, as it is on a server where its stack ends.
MAX_DEPTH = 256
# Items of an array that cross at a time: Lua's stack bounds it.
_CHUNK = 4000
_NO_MEMORY = "not enough memory"
# A string of so many bytes is not worth weighing; every value counts for some.
_LIGHT = 1 << 16
_VALUE_BYTES = 64

REPL_AOF = 1
_LOG_LEVELS = {"LOG_DEBUG": 0, "LOG_VERBOSE": 1, "LOG_NOTICE": 2, "LOG_WARNING": 3}
_REPL = {"REPL_NONE": 0, "REPL_AOF": 1, "REPL_SLAVE": 2, "REPL_REPLICA": 2, "REPL_ALL": 3}
_VERSION, _VERSION_NUM = b"7.0.15", 0x0007000F
_CMSGPACK_ABOUT = {
    "_NAME": b"cmsgpack",
    "_VERSION": b"lua-cmsgpack 0.4.0",
    "_COPYRIGHT": b"Copyright (C) 2012, Salvatore Sanfilippo",
    "_DESCRIPTION": b"MessagePack C implementation for Lua",
}


class Host(Protocol):
    """What a running script may ask of the store."""

    def call(self, argv: list[bytes]) -> Any:
        """Run one command; the reply, as a Python value; raises ReplyError, its text with its code."""
        ...

    def set_resp(self, version: int) -> None:
        """Have replies come as RESP `version` from now on."""
        ...

    def set_repl(self, flags: int) -> None:
        """Choose which effects are logged from now on: `REPL_AOF` is the bit that matters."""
        ...

    def allowed(self, argv: list[bytes]) -> bool:
        """Whether the user may run this; raises ReplyError for no command at all."""
        ...

    def log(self, level: int, message: bytes) -> None:
        """Take up a line for the log."""
        ...

    def tick(self) -> None:
        """Called now and then; raises `ScriptKilledError` to end the script."""
        ...


class Reader(Protocol):
    """Who gets the reply: how maps, sets and doubles look depends on its protocol."""

    resp: int

    def map_reply(self, pairs: dict[Any, Any]) -> Any: ...

    def set_reply(self, members: Sequence[Any]) -> Any: ...

    def double_reply(self, number: float) -> Any: ...


class CompileError(Exception):
    """The text is no Lua; str() says where."""


class RunError(Exception):
    """A script ended with an error.

    Attributes
    ----------
    text : str
        With its code, where the error was a table (as nearly all are); else what Lua says.
    source, line
        Where, if known.
    bare : bool
        Whether it was no table: out of memory, or an error within the handling of an error.
    """

    def __init__(self, text: str, source: str | None = None, line: int | None = None, bare: bool = False) -> None:
        super().__init__(text)
        self.text, self.source, self.line, self.bare = text, source, line, bare


def available() -> bool:
    """Whether lupa with Lua 5.1 can be imported."""
    try:
        import lupa.lua51  # noqa: F401
    except ImportError:
        return False
    return True


def _source(name: str) -> bytes:
    return resources.files("aofnb.lua").joinpath(name).read_bytes()


def _text(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


class Interpreter:
    """A world of its own for scripts, or for function libraries.

    Parameters
    ----------
    host
        What scripts may ask for.
    chance
        Where ``math.random`` draws from.
    for_functions
        Whether it runs libraries: these register functions instead of having KEYS and ARGV.

    Raises
    ------
    ReplyError
        Where lupa is missing, saying how to get it.
    """

    def __init__(self, host: Host, chance: Lrand48, for_functions: bool = False) -> None:
        try:
            from lupa import lua51
        except ImportError:
            raise ReplyError(NO_LUPA) from None
        self._lua51 = lua51
        self._host = host
        self._chance = chance
        self._registered: Callable[..., None] | None = None
        # What the running script chose with redis.setresp.
        self._resp = 2
        lua = self._lua = lua51.LuaRuntime(
            encoding=None,
            register_eval=False,
            register_builtins=False,
            unpack_returned_tuples=True,
            attribute_filter=_no_attributes,
            max_memory=MAX_MEMORY_BYTES,
        )
        load = lua.execute(b"return loadstring")
        sandbox = load(_source("sandbox.lua"), b"=sandbox")(self._explain, host.tick, HOOK_EVERY, for_functions)
        self._compile = sandbox[b"compile"]
        self._run = sandbox[b"run"]
        self._site = sandbox[b"site"]
        self._classify = sandbox[b"classify"]
        self._items = sandbox[b"items"]
        self._entries = sandbox[b"entries"]
        self._as_set = sandbox[b"as_set"]
        self._set_global = sandbox[b"set_global"]
        self._while_loading = sandbox[b"while_loading"]
        self._guarded = sandbox[b"guarded"]
        install = sandbox[b"install"]
        for library, functions in self._libraries(for_functions).items():
            for name, value in functions.items():
                install(library.encode(), name.encode(), self._with_room(value) if callable(value) else value)
        null, unwrap = sandbox[b"null"], sandbox[b"unwrap"]
        make_cjson = load(_source("cjson.lua"), b"=sandbox")(null, strtod, unwrap)
        cmsgpack = load(_source("cmsgpack.lua"), b"=sandbox")(pack_number, read_number, unwrap)
        self._new_cjson, self._null, self._with_functions = make_cjson, null, sandbox[b"with_functions"]
        for library_name, functions_of in ((b"cjson", self._cjson()), (b"cmsgpack", self._codec(cmsgpack))):
            for word, item in functions_of.items():
                install(library_name, word, item)
        sandbox[b"finish"]()

    def begin(self) -> None:
        """Before each script: replies come as RESP2."""
        self._resp = 2

    # --- scripts ---------------------------------------------------------------------------------------------------

    def compile(self, source: bytes, name: bytes) -> Any:
        """A function of Lua from its text; `name` is how errors call it (``@user_script``).

        Raises
        ------
        CompileError
        """
        result = self._compile(source, name)
        if isinstance(result, tuple):
            raise CompileError(_text(result[1]))
        return result

    def run_script(self, script: Any, keys: Sequence[bytes], args: Sequence[bytes], reader: Reader) -> Any:
        """Run what `compile` gave with KEYS and ARGV; its result as a reply.

        Raises
        ------
        RunError
        """
        self._check_given(keys, args)
        self._set_global(b"KEYS", self._lua.table_from(list(keys)))
        self._set_global(b"ARGV", self._lua.table_from(list(args)))
        return self._finished(self._run(script), reader)

    def run_function(self, function: Any, keys: Sequence[bytes], args: Sequence[bytes], reader: Reader) -> Any:
        """Call a registered function with its two tables; its result as a reply.

        Raises
        ------
        RunError
        """
        self._check_given(keys, args)
        tables = self._lua.table_from(list(keys)), self._lua.table_from(list(args))
        return self._finished(self._run(function, *tables), reader)

    def _check_given(self, keys: Sequence[bytes], args: Sequence[bytes]) -> None:
        if _weight(keys) + _weight(args) > MAX_MEMORY_BYTES // 4:
            raise RunError(_NO_MEMORY, bare=True)

    def load_library(self, library: Any, register: Callable[..., None]) -> None:
        """Run the body of a library; `register` is given the arguments of each ``redis.register_function``.

        Raises
        ------
        RunError
        """
        self._registered = register
        self._while_loading(True)
        try:
            result = self._run(library)
            if not _succeeded(result):
                self._raise(result)
        finally:
            self._while_loading(False)
            self._registered = None

    def table_entries(self, table: Any) -> list[tuple[Any, Any]]:
        """Keys and values of a table of Lua, in its own order."""
        flat, count = self._entries(table)
        return [(flat[i], flat[i + 1]) for i in range(1, count, 2)]

    def is_table(self, value: Any) -> bool:
        return bool(self._lua51.lua_type(value) == "table")

    def is_function(self, value: Any) -> bool:
        # A function of ours comes back as it was given.
        return callable(value) and not self.is_table(value)

    def _finished(self, result: Any, reader: Reader) -> Any:
        try:
            if not _succeeded(result):
                self._raise(result)
            value = result[1] if isinstance(result, tuple) and len(result) > 1 else None
            return self._reply(value, reader, 0)
        finally:
            if self._lua.get_memory_used() > MAX_MEMORY_BYTES // 4:
                del result
                self._lua.gccollect()

    def _raise(self, result: Any) -> None:
        problem = result[1]
        if isinstance(problem, BaseException):
            # What is not to be caught by a script: Ctrl-C, a closed store, a defect of ours.
            raise problem
        if not self.is_table(problem):
            text = _text(problem) if isinstance(problem, bytes) else "execution failure"
            raise RunError(text[:100], bare=True)
        kind, *fields = _many(self._classify(problem))
        if kind != b"err":
            raise RunError("ERR unknown error")
        text, source, line = (*fields, None, None)[:3]
        raise RunError(
            _text(text),
            _text(source) if isinstance(source, bytes) else None,
            int(line) if isinstance(line, int | float) else None,
        )

    # --- values ----------------------------------------------------------------------------------------------------

    def _reply(self, value: Any, reader: Reader, depth: int) -> Any:
        """A value of Lua as a reply."""
        if value is None or type(value) is bytes:
            return value
        if isinstance(value, bool):
            if self._resp < 3:
                return 1 if value else None
            return value if reader.resp >= 3 else int(value)
        if isinstance(value, int | float):
            return as_int64(value)
        if not self.is_table(value):
            return None
        if depth > MAX_DEPTH:
            return ReplyError("ERR reached lua stack limit")
        kind, *fields = _many(self._classify(value))
        if kind == b"array":
            return self._array(value, fields[0], reader, depth + 1)
        if kind == b"map":
            return self._map(fields[0], reader, depth + 1)
        if kind == b"set":
            members = [self._reply(member, reader, depth + 1) for member, _ in self.table_entries(fields[0])]
            return reader.set_reply(members)
        return _SCALARS[kind](fields, reader)

    def _array(self, table: Any, count: int, reader: Reader, depth: int) -> list[Any]:
        found: list[Any] = []
        for start in range(1, count + 1, _CHUNK):
            found += _many(self._items(table, start, min(start + _CHUNK - 1, count)))
        return [item if type(item) is bytes else self._reply(item, reader, depth) for item in found]

    def _map(self, table: Any, reader: Reader, depth: int) -> Any:
        pairs = [
            (self._reply(key, reader, depth), self._reply(item, reader, depth))
            for key, item in self.table_entries(table)
        ]
        if reader.resp < 3:
            return [part for pair in pairs for part in pair]
        return reader.map_reply({_hashable(key): item for key, item in pairs})

    def to_lua(self, reply: Any, resp: int) -> Any:
        """A reply as a script sees it under RESP `resp`."""
        if type(reply) is bytes or isinstance(reply, bool):
            return reply
        if isinstance(reply, int):
            # A number of Lua is a double; an int that it cannot hold exactly is rounded.
            return reply
        if reply is None:
            return None if resp >= 3 else False
        lua = self._lua
        if isinstance(reply, bytes):
            if resp < 3 or not isinstance(reply, Verbatim | BigNumber):
                return bytes(reply)
            if isinstance(reply, BigNumber):
                return lua.table_from({b"big_number": bytes(reply)})
            table = lua.table_from({b"string": bytes(reply), b"format": reply.format})
            return lua.table_from({b"verbatim_string": table})
        if isinstance(reply, str):
            return lua.table_from({b"ok": reply.encode("utf-8", "surrogateescape")})
        if isinstance(reply, float):
            return lua.table_from({b"double": reply})
        if isinstance(reply, dict):
            table = lua.table()
            for key, value in reply.items():
                table[self.to_lua(key, resp)] = self.to_lua(value, resp)
            return lua.table_from({b"map": table})
        if isinstance(reply, ReplyError):
            return self._error_table(str(reply))
        items = [item if type(item) is bytes else self.to_lua(item, resp) for item in reply]
        table = lua.table_from(items)
        return self._as_set(table) if isinstance(reply, SetReply) else table

    # --- errors ----------------------------------------------------------------------------------------------------

    def _explain(self, problem: Any) -> tuple[bytes, bytes] | bytes:
        """What an exception of ours is to Lua: ``reply``, ``counted``, ``text``, ``killed``, or ``fatal``."""
        if isinstance(problem, ScriptError):
            return b"counted" if problem.counted else b"reply", str(problem).encode("utf-8", "surrogateescape")
        if isinstance(problem, LuaTextError):
            return b"text", str(problem).encode("utf-8", "surrogateescape")
        if isinstance(problem, ScriptKilledError):
            return b"killed", str(problem).encode("utf-8", "surrogateescape")
        return b"fatal", b""

    def _placing(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, with the place of its caller put before the texts it raises."""

        def placing(*args: Any) -> Any:
            try:
                return function(*args)
            except LuaTextError as problem:
                if problem.placed:
                    raise
                place, name = self._site()
                text = str(problem)
                if isinstance(problem, ArgumentError):
                    text = f"bad argument #{problem.position} to '{_text(name)}' ({problem})"
                raise LuaTextError(_text(place) + text, placed=True) from None

        return placing

    # --- memory ----------------------------------------------------------------------------------------------------

    def _with_room(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, called only with room for what it gives."""
        used, limit = self._lua.get_memory_used, MAX_MEMORY_BYTES // 2

        def with_room(*args: Any) -> Any:
            if used() > limit:
                self._lua.gccollect()
                if used() > limit:
                    raise LuaTextError(_NO_MEMORY)
            return function(*args)

        return with_room

    def _check_weight(self, values: Sequence[Any]) -> None:
        """Refuse what is too large to be taken into Lua; raises ScriptError."""
        if _weight(values) > MAX_MEMORY_BYTES // 4:
            raise ScriptError(f"ERR {_NO_MEMORY}")

    # --- libraries -------------------------------------------------------------------------------------------------

    def _libraries(self, for_functions: bool) -> dict[str, dict[str, Any]]:
        common: dict[str, Any] = {
            "log": self._log,
            **_LOG_LEVELS,
            "REDIS_VERSION": _VERSION,
            "REDIS_VERSION_NUM": _VERSION_NUM,
        }
        redis: dict[str, Any] = {
            "call": self._call,
            "pcall": self._pcall,
            "error_reply": self._error_reply,
            "status_reply": self._status_reply,
            "sha1hex": self._sha1hex,
            "setresp": self._setresp,
            "set_repl": self._set_repl,
            "acl_check_cmd": self._acl_check_cmd,
            **common,
            **_REPL,
        }
        if not for_functions:
            redis |= {"replicate_commands": lambda *_: True, "breakpoint": lambda *_: False, "debug": lambda *_: None}
        return {
            "redis": redis,
            "load": {"register_function": self._register_function, **common},
            "math": {
                "random": self._placing(self._random),
                "randomseed": self._placing(self._randomseed),
            },
            "bit": {name: self._placing(function) for name, function in bitops.FUNCTIONS.items()},
            "struct": {name: self._placing(function) for name, function in structs.FUNCTIONS.items()},
            "cmsgpack": dict(_CMSGPACK_ABOUT),
        }

    def _codec(self, functions: Any) -> dict[bytes, Any]:
        """Functions written in Lua, by name, each behind one of ours that places its errors."""
        return {
            name: self._with_room(self._placing(self._relay(self._guarded(function))))
            for name, function in functions.items()
        }

    def _relay(self, guarded: Any) -> Callable[..., Any]:
        def relay(*args: Any) -> Any:
            ok, *results = _many(guarded(*args))
            if ok:
                return tuple(results) if len(results) != 1 else results[0]
            problem = results[0]
            if isinstance(problem, BaseException):
                raise problem
            if isinstance(problem, bytes):
                raise LuaTextError(_text(problem))
            position, text = int(problem[1]), _text(problem[2])
            raise ArgumentError(position, text) if position >= 0 else LuaTextError(text, placed=True)

        return relay

    def _cjson(self) -> dict[bytes, Any]:
        """The library cjson, with settings of its own."""
        return self._codec(self._new_cjson()) | {
            b"_NAME": b"cjson",
            b"_VERSION": b"2.1.0",
            b"null": self._null,
            b"new": lambda *_: self._with_functions(self._lua.table_from(self._cjson())),
        }

    def _called(self, args: tuple[Any, ...]) -> Any:
        reply = self._host.call(self._argv(args))
        if type(reply) is bytes and len(reply) < _LIGHT:
            return reply
        self._check_weight((reply,))
        return self.to_lua(reply, self._resp)

    def _call(self, *args: Any) -> Any:
        try:
            return self._called(args)
        except ReplyError as problem:
            raise ScriptError(str(problem), counted=True) from None

    def _pcall(self, *args: Any) -> Any:
        try:
            return self._called(args)
        except ReplyError as problem:
            return self._error_table(str(problem), counted=True)
        except ScriptError as problem:
            return self._error_table(str(problem))

    def _error_table(self, text: str, counted: bool = False) -> Any:
        about: dict[bytes, Any] = {b"err": text.encode("utf-8", "surrogateescape")}
        if counted:
            about[b"ignore_error_stats_update"] = True
        return self._lua.table_from(about)

    def _argv(self, args: tuple[Any, ...]) -> list[bytes]:
        if not args:
            raise ScriptError("ERR Please specify at least one argument for this redis lib call")
        argv: list[bytes] = []
        for arg in args:
            if type(arg) is bytes:
                argv.append(arg)
            elif isinstance(arg, int | float) and not isinstance(arg, bool):
                argv.append(as_text(arg, 17))
            else:
                raise ScriptError("ERR Lua redis lib command arguments must be strings or integers")
        return argv

    def _error_reply(self, *args: Any) -> Any:
        if len(args) != 1 or not isinstance(args[0], bytes):
            return self._error_table("ERR wrong number or type of arguments")
        text: bytes = args[0].split(b"\0", 1)[0]
        code, blank, rest = text.removeprefix(b"-").partition(b" ")
        if not blank:
            code, rest = b"ERR", code
        return self._lua.table_from({b"err": code + b" " + rest.strip(b"\r\n")})

    def _status_reply(self, *args: Any) -> Any:
        if len(args) != 1 or not isinstance(args[0], bytes):
            return self._error_table("ERR wrong number or type of arguments")
        return self._lua.table_from({b"ok": args[0]})

    def _sha1hex(self, *args: Any) -> bytes:
        if len(args) != 1:
            raise ScriptError("ERR wrong number of arguments")
        return hashlib.sha1(_loose_text(args[0]) or b"", usedforsecurity=False).hexdigest().encode()

    def _log(self, *args: Any) -> None:
        if len(args) < 2:
            raise ScriptError("ERR redis.log() requires two arguments or more.")
        if not isinstance(args[0], int | float) or isinstance(args[0], bool):
            raise ScriptError("ERR First argument must be a number (log level).")
        level = as_int32(args[0])
        if not 0 <= level <= 3:
            raise ScriptError("ERR Invalid debug level.")
        self._host.log(level, b" ".join([text for arg in args[1:] if (text := _loose_text(arg)) is not None]))

    def _setresp(self, *args: Any) -> None:
        if len(args) != 1:
            raise ScriptError("ERR redis.setresp() requires one argument.")
        version = as_int32(args[0]) if isinstance(args[0], int | float) and not isinstance(args[0], bool) else 0
        if isinstance(args[0], bytes):
            version = as_int32(strtod(args[0])[0])
        if version not in (2, 3):
            raise ScriptError("ERR RESP version must be 2 or 3.")
        self._resp = version
        self._host.set_resp(version)

    def _set_repl(self, *args: Any) -> None:
        if len(args) != 1:
            raise ScriptError("ERR redis.set_repl() requires two arguments.")
        flags = as_int32(args[0]) if isinstance(args[0], int | float) and not isinstance(args[0], bool) else 0
        if flags & ~3:
            raise ScriptError("ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.")
        self._host.set_repl(flags)

    def _acl_check_cmd(self, *args: Any) -> bool:
        if not args:
            raise ScriptError("ERR Please specify at least one argument for this redis lib call")
        try:
            return self._host.allowed(self._argv(args))
        except ReplyError as problem:
            raise ScriptError(str(problem)) from None

    def _random(self, *args: Any) -> float:
        fraction = self._chance.fraction()
        if not args:
            return fraction
        if len(args) > 2:
            raise LuaTextError("wrong number of arguments")
        bounds = [as_int32(checked_number(args, i)) for i in range(1, len(args) + 1)]
        low, high = bounds if len(bounds) == 2 else (1, bounds[0])
        if low > high:
            raise ArgumentError(len(bounds), "interval is empty")
        return math.floor(fraction * (high - low + 1)) + low

    def _randomseed(self, *args: Any) -> None:
        self._chance.seed(as_int32(checked_number(args, 1)))

    def _register_function(self, *args: Any) -> None:
        assert self._registered is not None
        self._registered(self, *args)


# The rest of what a table can stand for; the fields are what `classify` found.
_SCALARS: dict[bytes, Callable[[list[Any], Reader], Any]] = {
    b"err": lambda fields, _: ReplyError(_one_line(fields[0])),
    b"ok": lambda fields, _: _one_line(fields[0]),
    b"double": lambda fields, reader: _double(float(fields[0]), reader),
    b"big_number": lambda fields, _: BigNumber(fields[0].replace(b"\r", b" ").replace(b"\n", b" ")),
    b"verbatim_string": lambda fields, _: _verbatim(fields[0], fields[1]),
}


def _weight(values: Any) -> int:
    """About how many bytes values take in Lua."""
    total = 0
    for value in values.items() if isinstance(values, dict) else values:
        total += _VALUE_BYTES
        if isinstance(value, bytes):
            total += len(value)
        elif isinstance(value, list | tuple | dict):
            total += _weight(value)
    return total


def _double(number: float, reader: Reader) -> Any:
    return reader.double_reply(number) if reader.resp >= 3 or number == number else as_text(number)


def _verbatim(text: bytes, form: bytes) -> Verbatim:
    # The protocol has room for three letters.
    made = Verbatim(text)
    made.format = (form + b"   ")[:3]
    return made


def _one_line(text: bytes) -> str:
    """A text as it may stand in a line of the protocol."""
    return _text(text).replace("\r", " ").replace("\n", " ")


def _many(result: Any) -> tuple[Any, ...]:
    """What a function of Lua gave, however many."""
    return result if isinstance(result, tuple) else (result,)


def _succeeded(result: Any) -> bool:
    return _many(result)[0] is True


def _hashable(key: Any) -> Any:
    return key if getattr(type(key), "__hash__", None) else repr(key).encode()


def _loose_text(value: Any) -> bytes | None:
    """What ``lua_tolstring`` gives: a string or a number as text, nothing for others."""
    if isinstance(value, bytes):
        return value
    return as_text(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _no_attributes(_object: object, name: object, _setting: bool) -> str:
    raise AttributeError(f"no attribute of a Python object is open to Lua: {name!r}")
