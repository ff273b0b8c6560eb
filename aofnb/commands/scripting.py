"""Scripts and function libraries: EVAL, FCALL, SCRIPT and FUNCTION.

What runs them, and the checks around each, is in `script_host`; Lua itself in `aofnb.lua`, and needs lupa (the extra
``lua``). Without it libraries are still kept, listed and logged, by what their text tells (`aofnb.store.functions`),
and what needs Lua answers with an error that says how to get it.

Redis: functions.c, eval.c (7.0.15).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from aofnb.commands import messages
from aofnb.commands.args import integer
from aofnb.commands.client import Client
from aofnb.commands.registry import command, numbered_keys
from aofnb.errors import RdbError, ReplyError
from aofnb.rdb.dump import ChecksumError
from aofnb.rdb.functions import NotAFunctionError, dump_functions, load_functions
from aofnb.store.functions import Library, LibraryError, library_name
from aofnb.store.glob import matcher

__all__: list[str] = []


def _text(arg: bytes) -> str:
    return arg.decode("utf-8", "surrogateescape")


# --- FUNCTION ------------------------------------------------------------------------------------------------


@command("FUNCTION", arity=-2, since="7.0.0")
def function(client: Client, *args: bytes) -> NoReturn:
    """Function libraries: load, list, delete."""
    # A container is always called with a subcommand, since its arity asks for one.
    raise AssertionError("FUNCTION without a subcommand")


@command("FUNCTION LOAD", arity=-3, flags="denyoom noscript write", since="7.0.0")
def function_load(client: Client, *args: bytes) -> bytes:
    """Keep a library; returns its name. REPLACE takes the place of one of the same name."""
    *options, code = args
    replace = False
    for option in options:
        if option.upper() != b"REPLACE":
            raise messages.error(f"ERR Unknown option given: {messages.shown(option)}")
        replace = True
    scripts, libraries = client.server.scripts, client.server.keyspace.functions
    scripts.settle()
    try:
        name = library_name(code)
        if name in libraries and not replace:
            raise ReplyError(f"ERR Library '{name}' already exists")
        library = scripts.make_library(code)
    except LibraryError as problem:
        raise ReplyError(f"ERR {problem}") from None
    _check_names([other for other in libraries.values() if other.name != name], library)
    libraries[name] = library
    client.dirty += 1
    return name.encode()


def _check_names(others: Sequence[Library], library: Library) -> None:
    """No two functions have one name, whatever its case."""
    taken = {known.name.lower() for other in others for known in other.functions}
    for found in library.functions:
        if found.name.lower() in taken:
            raise ReplyError(f"ERR Function {_text(found.name)} already exists")


@command("FUNCTION DELETE", arity=3, flags="noscript write", since="7.0.0")
def function_delete(client: Client, name: bytes) -> str:
    """Delete a library."""
    if client.server.keyspace.functions.pop(_text(name), None) is None:
        raise ReplyError("ERR Library not found")
    client.dirty += 1
    return "OK"


@command("FUNCTION FLUSH", arity=-2, flags="noscript write", since="7.0.0")
def function_flush(client: Client, *mode: bytes) -> str:
    """Delete all libraries. ASYNC and SYNC are the same here: it is one assignment."""
    if len(mode) > 1:
        raise messages.MisusedSubcommandError("FLUSH", "FUNCTION")
    if mode and mode[0].upper() not in (b"ASYNC", b"SYNC"):
        raise ReplyError("ERR FUNCTION FLUSH only supports SYNC|ASYNC option")
    client.server.keyspace.functions.clear()
    client.dirty += 1
    return "OK"


@command("FUNCTION LIST", arity=-2, flags="noscript", since="7.0.0")
def function_list(client: Client, *args: bytes) -> list[Any]:
    """The libraries, their functions, and with WITHCODE their source; LIBRARYNAME takes a pattern."""
    pattern: bytes | None = None
    with_code = False
    rest = list(args)
    while rest:
        option = rest.pop(0)
        if not with_code and option.upper() == b"WITHCODE":
            with_code = True
        elif pattern is None and option.upper() == b"LIBRARYNAME":
            if not rest:
                raise ReplyError("ERR library name argument was not given")
            pattern = rest.pop(0)
        else:
            raise messages.error(f"ERR Unknown argument {messages.shown(option)}")
    matches = matcher(b"*" if pattern is None else pattern, True)
    client.server.scripts.settle()
    libraries = client.server.keyspace.functions.values()
    return [
        _described(client, library, with_code)
        for library in libraries
        if pattern is None or matches(library.name.encode())
    ]


def _described(client: Client, library: Library, with_code: bool) -> Any:
    about: dict[Any, Any] = {
        b"library_name": library.name.encode(),
        b"engine": library.engine.encode(),
        b"functions": [
            client.map_reply(
                {
                    b"name": found.name,
                    b"description": found.description,
                    b"flags": client.set_reply([_text(flag) for flag in found.flags]),
                }
            )
            for found in library.functions
        ],
    }
    if with_code:
        about[b"library_code"] = library.code
    return client.map_reply(about)


@command("FUNCTION DUMP", arity=2, flags="noscript", since="7.0.0")
def function_dump(client: Client) -> bytes:
    """All libraries as one string for FUNCTION RESTORE."""
    return dump_functions(library.code for library in client.server.keyspace.functions.values())


@command("FUNCTION RESTORE", arity=-3, flags="denyoom noscript write", since="7.0.0")
def function_restore(client: Client, dump: bytes, *policy: bytes) -> str:
    """Load libraries from what FUNCTION DUMP gave, all or none; FLUSH, APPEND or REPLACE what is there."""
    if len(policy) > 1:
        raise messages.MisusedSubcommandError("RESTORE", "FUNCTION")
    chosen = policy[0].upper() if policy else b"APPEND"
    if chosen not in (b"FLUSH", b"APPEND", b"REPLACE"):
        raise ReplyError("ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.")
    scripts, keyspace = client.server.scripts, client.server.keyspace
    scripts.settle()
    restored: dict[str, Library] = {}
    try:
        for code in load_functions(dump):
            library = scripts.make_library(code)
            if library.name in restored:
                raise ReplyError(f"ERR Library '{library.name}' already exists")
            _check_names(list(restored.values()), library)
            restored[library.name] = library
    except ChecksumError:
        raise ReplyError("ERR DUMP payload version or checksum are wrong") from None
    except NotAFunctionError:
        raise ReplyError("ERR given type is not a function") from None
    except (RdbError, LibraryError) as problem:
        text = str(problem) if isinstance(problem, LibraryError) else "failed loading functions"
        raise ReplyError(f"ERR {text}") from None
    kept = {} if chosen == b"FLUSH" else dict(keyspace.functions)
    for name in restored:
        if name in kept and chosen == b"APPEND":
            raise ReplyError(f"ERR Library {name} already exists")
        kept.pop(name, None)
    for library in restored.values():
        _check_names(list(kept.values()), library)
    keyspace.functions.clear()
    scripts.settle()
    keyspace.functions.update(kept | restored)
    client.dirty += 1
    return "OK"


@command("FUNCTION STATS", arity=2, flags="allow_busy noscript", since="7.0.0")
def function_stats(client: Client) -> Any:
    """What function runs now and since when, and how many there are."""
    server = client.server
    run = server.scripts.running
    running: Any = None
    if run is not None:
        if not run.is_function:
            raise ReplyError(run.busy)
        running = client.map_reply(
            {
                b"name": run.name.encode("utf-8", "surrogateescape"),
                b"command": list(run.argv),
                b"duration_ms": int((server.clock.monotonic() - run.started_s) * 1000),
            }
        )
    else:
        server.scripts.settle()
    libraries = list(server.keyspace.functions.values())
    counts = {b"libraries_count": len(libraries), b"functions_count": sum(len(each.functions) for each in libraries)}
    engines = client.map_reply({b"LUA": client.map_reply(counts)})
    return client.map_reply({b"running_script": running, b"engines": engines})


@command("FUNCTION KILL", arity=2, flags="allow_busy noscript", since="7.0.0")
def function_kill(client: Client) -> str:
    """End the function that runs, if it wrote nothing."""
    return client.server.scripts.kill(is_function=True)


@command("FUNCTION HELP", arity=2, flags="loading stale", since="7.0.0")
def function_help(_client: Client) -> list[str]:
    """The subcommands, in the words of the server."""
    return messages.help_lines("FUNCTION", *_FUNCTION_HELP)


# --- EVAL and FCALL ------------------------------------------------------------------------------------------

_EVAL_FLAGS = "movablekeys no_mandatory_keys noscript skip_monitor stale"


def _keys_and_args(
    args: Sequence[bytes], problem: str = messages.NOT_AN_INTEGER
) -> tuple[Sequence[bytes], Sequence[bytes]]:
    """Split behind the number of keys, which comes first; `problem` is what to say if it is no number."""
    count = integer(args[0], problem)
    if count > len(args) - 1:
        raise ReplyError("ERR Number of keys can't be greater than number of args")
    if count < 0:
        raise ReplyError("ERR Number of keys can't be negative")
    return args[1 : 1 + count], args[1 + count :]


def _eval(client: Client, name: bytes, script: bytes, args: Sequence[bytes], ro: bool) -> Any:
    keys, rest = _keys_and_args(args)
    scripts = client.server.scripts
    return scripts.run_script(client, scripts.load(script), (name, script, *args), keys, rest, ro)


def _evalsha(client: Client, name: bytes, sha: bytes, args: Sequence[bytes], ro: bool) -> Any:
    scripts = client.server.scripts
    if len(sha) == 40:
        keys, rest = _keys_and_args(args)
        if scripts.knows(sha):
            known = sha.lower().decode("latin-1")
            return scripts.run_script(client, known, (name, sha, *args), keys, rest, ro)
    raise ReplyError("NOSCRIPT No matching script. Please use EVAL.")


def _fcall(client: Client, name: bytes, function: bytes, args: Sequence[bytes], ro: bool) -> Any:
    scripts = client.server.scripts
    scripts.settle()
    scripts.find_function(function)
    keys, rest = _keys_and_args(args, "ERR Bad number of keys provided")
    return scripts.run_function(client, function, (name, function, *args), keys, rest, ro)


@command("EVAL", arity=-3, flags=_EVAL_FLAGS, keys=numbered_keys(2), since="2.6.0")
def eval_(client: Client, script: bytes, *args: bytes) -> Any:
    """Run a Lua script."""
    return _eval(client, b"EVAL", script, args, ro=False)


@command("EVAL_RO", arity=-3, flags=_EVAL_FLAGS + " readonly", keys=numbered_keys(2), since="7.0.0")
def eval_ro(client: Client, script: bytes, *args: bytes) -> Any:
    """Run a Lua script that only reads."""
    return _eval(client, b"EVAL_RO", script, args, ro=True)


@command("EVALSHA", arity=-3, flags=_EVAL_FLAGS, keys=numbered_keys(2), since="2.6.0")
def evalsha(client: Client, sha: bytes, *args: bytes) -> Any:
    """Run a cached Lua script, named by its SHA1."""
    return _evalsha(client, b"EVALSHA", sha, args, ro=False)


@command("EVALSHA_RO", arity=-3, flags=_EVAL_FLAGS + " readonly", keys=numbered_keys(2), since="7.0.0")
def evalsha_ro(client: Client, sha: bytes, *args: bytes) -> Any:
    """Run a cached Lua script that only reads."""
    return _evalsha(client, b"EVALSHA_RO", sha, args, ro=True)


@command("FCALL", arity=-3, flags=_EVAL_FLAGS, keys=numbered_keys(2), since="7.0.0")
def fcall(client: Client, name: bytes, *args: bytes) -> Any:
    """Call a function of a library."""
    return _fcall(client, b"FCALL", name, args, ro=False)


@command("FCALL_RO", arity=-3, flags=_EVAL_FLAGS + " readonly", keys=numbered_keys(2), since="7.0.0")
def fcall_ro(client: Client, name: bytes, *args: bytes) -> Any:
    """Call a function that only reads."""
    return _fcall(client, b"FCALL_RO", name, args, ro=True)


# --- SCRIPT --------------------------------------------------------------------------------------------------


@command("SCRIPT", arity=-2, since="2.6.0")
def script_(client: Client, *args: bytes) -> NoReturn:
    """The cache of Lua scripts."""
    raise AssertionError("SCRIPT without a subcommand")


@command("SCRIPT LOAD", arity=3, flags="noscript stale", since="2.6.0")
def script_load(client: Client, script: bytes) -> bytes:
    """Compile and cache a Lua script; returns its SHA1."""
    return client.server.scripts.load(script).encode()


@command("SCRIPT EXISTS", arity=-3, flags="noscript", since="2.6.0")
def script_exists(client: Client, *shas: bytes) -> list[int]:
    """Which scripts are cached."""
    return [int(client.server.scripts.knows(sha)) for sha in shas]


@command("SCRIPT FLUSH", arity=-2, flags="noscript", since="2.6.0")
def script_flush(client: Client, *mode: bytes) -> str:
    """Empty the cache of scripts. ASYNC and SYNC are the same here."""
    if len(mode) > 1 or (mode and mode[0].upper() not in (b"ASYNC", b"SYNC")):
        raise ReplyError("ERR SCRIPT FLUSH only support SYNC|ASYNC option")
    client.server.scripts.forget()
    return "OK"


@command("SCRIPT KILL", arity=2, flags="allow_busy noscript", since="2.6.0")
def script_kill(client: Client) -> str:
    """End the script that runs, if it wrote nothing."""
    return client.server.scripts.kill(is_function=False)


@command("SCRIPT DEBUG", arity=3, flags="noscript", since="3.2.0")
def script_debug(_client: Client, mode: bytes) -> str:
    """Debugging is off, and cannot be switched on: it needs a terminal on the server's side."""
    chosen = mode.upper()
    if chosen == b"NO":
        return "OK"
    if chosen in (b"YES", b"SYNC"):
        raise ReplyError("ERR the Lua debugger is not available here; print with redis.log, or debug on a server")
    raise ReplyError("ERR Use SCRIPT DEBUG YES/SYNC/NO")


@command("SCRIPT HELP", arity=2, flags="loading stale", since="5.0.0")
def script_help(_client: Client) -> list[str]:
    """The subcommands, in the words of the server."""
    return messages.help_lines("SCRIPT", *_SCRIPT_HELP)


_SCRIPT_HELP = (
    "DEBUG (YES|SYNC|NO)",
    "    Set the debug mode for subsequent scripts executed.",
    "EXISTS <sha1> [<sha1> ...]",
    "    Return information about the existence of the scripts in the script cache.",
    "FLUSH [ASYNC|SYNC]",
    "    Flush the Lua scripts cache. Very dangerous on replicas.",
    "    When called without the optional mode argument, the behavior is determined by the",
    "    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
    "    * ASYNC: Asynchronously flush the scripts cache.",
    "    * SYNC: Synchronously flush the scripts cache.",
    "KILL",
    "    Kill the currently executing Lua script.",
    "LOAD <script>",
    "    Load a script into the scripts cache without executing it.",
)

_FUNCTION_HELP = (
    "LOAD [REPLACE] <FUNCTION CODE>",
    "    Create a new library with the given library name and code.",
    "DELETE <LIBRARY NAME>",
    "    Delete the given library.",
    "LIST [LIBRARYNAME PATTERN] [WITHCODE]",
    "    Return general information on all the libraries:",
    "    * Library name",
    "    * The engine used to run the Library",
    "    * Library description",
    "    * Functions list",
    "    * Library code (if WITHCODE is given)",
    "    It also possible to get only function that matches a pattern using LIBRARYNAME argument.",
    "STATS",
    "    Return information about the current function running:",
    "    * Function name",
    "    * Command used to run the function",
    "    * Duration in MS that the function is running",
    "    If no function is running, return nil",
    "    In addition, returns a list of available engines.",
    "KILL",
    "    Kill the current running function.",
    "FLUSH [ASYNC|SYNC]",
    "    Delete all the libraries.",
    "    When called without the optional mode argument, the behavior is determined by the",
    "    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
    "    * ASYNC: Asynchronously flush the libraries.",
    "    * SYNC: Synchronously flush the libraries.",
    "DUMP",
    "    Return a serialized payload representing the current libraries, "
    "can be restored using FUNCTION RESTORE command",
    "RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]",
    "    Restore the libraries represented by the given payload, it is possible to give a restore policy to",
    "    control how to handle existing libraries (default APPEND):",
    "    * FLUSH: delete all existing libraries.",
    "    * APPEND: appends the restored libraries to the existing libraries. On collision, abort.",
    "    * REPLACE: appends the restored libraries to the existing libraries, On collision, replace the old",
    "      libraries with the new libraries (notice that even on this option there is a chance of failure",
    "      in case of functions name collision with another library).",
)
