"""Function libraries, kept as text; running Lua is not supported yet.

FUNCTION LOAD, DELETE, FLUSH and LIST do what the server does, so that libraries survive in a log; what a
library holds is told from its text, see `aofnb.store.functions`. EVAL, FCALL and all that needs Lua is known, so
that a log with it can be read, and answers with an error.

Redis: functions.c, eval.c (7.0.15).
"""

from __future__ import annotations

from typing import Any, NoReturn

from aofnb.commands.client import Client
from aofnb.commands.registry import command, numbered_keys
from aofnb.errors import ReplyError
from aofnb.store.functions import Library, LibraryError, parse_library
from aofnb.store.glob import matcher

__all__: list[str] = []

NO_LUA = (
    "ERR scripting needs Lua, which this version does not run yet; "
    "send the commands of the script one by one, between MULTI and EXEC if they belong together"
)

NO_DUMPS = "ERR dumps of libraries are not supported yet; use FUNCTION LIST WITHCODE, and FUNCTION LOAD for each"


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
    """Keep a library; returns its name. REPLACE takes the place of one of the same name.

    The source is not compiled: what only Lua can find wrong in it is not found.
    """
    *options, code = args
    replace = False
    for option in options:
        if option.upper() != b"REPLACE":
            raise ReplyError(f"ERR Unknown option given: {_text(option)}")
        replace = True
    try:
        library = parse_library(code)
    except LibraryError as problem:
        raise ReplyError(f"ERR {problem}") from None
    libraries = client.server.keyspace.functions
    if library.name in libraries and not replace:
        raise ReplyError(f"ERR Library '{library.name}' already exists")
    taken = {known.name for other in libraries.values() if other.name != library.name for known in other.functions}
    for found in library.functions:
        if found.name in taken:
            raise ReplyError(f"ERR Function {_text(found.name)} already exists")
    libraries[library.name] = library
    client.dirty += 1
    return library.name.encode()


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
        raise ReplyError("ERR unknown subcommand or wrong number of arguments for 'FLUSH'. Try FUNCTION HELP.")
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
            raise ReplyError(f"ERR Unknown argument {_text(option)}")
    matches = matcher(b"*" if pattern is None else pattern, True)
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
                    b"flags": client.set_reply(found.flags),
                }
            )
            for found in library.functions
        ],
    }
    if with_code:
        about[b"library_code"] = library.code
    return client.map_reply(about)


@command("FUNCTION DUMP", arity=2, flags="noscript", since="7.0.0")
def function_dump(client: Client) -> NoReturn:
    """All libraries as one string for FUNCTION RESTORE. Not supported yet."""
    raise ReplyError(NO_DUMPS)


@command("FUNCTION RESTORE", arity=-3, flags="denyoom noscript write", since="7.0.0")
def function_restore(client: Client, dump: bytes, *policy: bytes) -> NoReturn:
    """Load libraries from what FUNCTION DUMP gave. Not supported yet."""
    raise ReplyError(NO_DUMPS)


# --- what needs Lua ------------------------------------------------------------------------------------------

_EVAL_FLAGS = "movablekeys no_mandatory_keys noscript skip_monitor stale"


@command("EVAL", arity=-3, flags=_EVAL_FLAGS, keys=numbered_keys(2), since="2.6.0")
def eval_(client: Client, script: bytes, *args: bytes) -> NoReturn:
    """Run a Lua script. Not supported yet."""
    raise ReplyError(NO_LUA)


@command("EVAL_RO", arity=-3, flags=_EVAL_FLAGS + " readonly", keys=numbered_keys(2), since="7.0.0")
def eval_ro(client: Client, script: bytes, *args: bytes) -> NoReturn:
    """Run a Lua script that only reads. Not supported yet."""
    raise ReplyError(NO_LUA)


@command("EVALSHA", arity=-3, flags=_EVAL_FLAGS, keys=numbered_keys(2), since="2.6.0")
def evalsha(client: Client, sha: bytes, *args: bytes) -> NoReturn:
    """Run a cached Lua script. Not supported yet."""
    raise ReplyError(NO_LUA)


@command("EVALSHA_RO", arity=-3, flags=_EVAL_FLAGS + " readonly", keys=numbered_keys(2), since="7.0.0")
def evalsha_ro(client: Client, sha: bytes, *args: bytes) -> NoReturn:
    """Run a cached Lua script that only reads. Not supported yet."""
    raise ReplyError(NO_LUA)


@command("FCALL", arity=-3, flags=_EVAL_FLAGS, keys=numbered_keys(2), since="7.0.0")
def fcall(client: Client, name: bytes, *args: bytes) -> NoReturn:
    """Call a function of a library. Not supported yet."""
    raise ReplyError(NO_LUA)


@command("FCALL_RO", arity=-3, flags=_EVAL_FLAGS + " readonly", keys=numbered_keys(2), since="7.0.0")
def fcall_ro(client: Client, name: bytes, *args: bytes) -> NoReturn:
    """Call a function that only reads. Not supported yet."""
    raise ReplyError(NO_LUA)


@command("SCRIPT", arity=-2, since="2.6.0")
def script_(client: Client, *args: bytes) -> NoReturn:
    """The cache of Lua scripts."""
    raise AssertionError("SCRIPT without a subcommand")


@command("SCRIPT LOAD", arity=3, flags="noscript stale", since="2.6.0")
def script_load(client: Client, script: bytes) -> NoReturn:
    """Cache a Lua script. Not supported yet."""
    raise ReplyError(NO_LUA)


@command("SCRIPT EXISTS", arity=-3, flags="noscript", since="2.6.0")
def script_exists(client: Client, *shas: bytes) -> list[int]:
    """Which scripts are cached: none, since none can be loaded."""
    return [0] * len(shas)


@command("SCRIPT FLUSH", arity=-2, flags="noscript", since="2.6.0")
def script_flush(client: Client, *mode: bytes) -> str:
    """Empty the cache of scripts, which is always empty."""
    if len(mode) > 1 or (mode and mode[0].upper() not in (b"ASYNC", b"SYNC")):
        raise ReplyError("ERR SCRIPT FLUSH only support SYNC|ASYNC option")
    return "OK"
