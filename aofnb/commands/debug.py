"""DEBUG: looks behind the data, for tests and comparison with a real server.

Subcommands that crash a server, or turn knobs that are not here, are unknown ones.

Redis: debug.c debugCommand (7.0.15).
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from aofnb.commands import messages
from aofnb.commands.args import strtod
from aofnb.commands.client import Client
from aofnb.commands.keys import encoding_of, refcount_of
from aofnb.commands.registry import command
from aofnb.errors import ReplyError
from aofnb.store.digest import keyspace_digest, value_digest

__all__: list[str] = []

# As atoi reads it.
_NUMBER = re.compile(rb"\s*[+-]?[0-9]+")


@command("DEBUG", arity=-2, flags="admin loading noscript stale")
def debug(client: Client, subcommand: bytes, *args: bytes) -> Any:
    """Compare data by digests, look at one value, pause, or stop active expiry: DEBUG HELP lists what there is."""
    found = _SUBCOMMANDS.get(subcommand.upper())
    if found is None or not found[1] <= len(args) <= found[2]:
        shown = subcommand[:128].decode("utf-8", "surrogateescape").replace("\r", " ").replace("\n", " ")
        raise ReplyError(f"ERR unknown subcommand or wrong number of arguments for '{shown}'. Try DEBUG HELP.")
    return found[0](client, args)


def _digest(client: Client, _args: Sequence[bytes]) -> str:
    return keyspace_digest(client.server.keyspace)


def _digest_value(client: Client, keys: Sequence[bytes]) -> list[str]:
    # Overdue keys count, and stay.
    return [value_digest(client.db.peek(key), client.db.deadline_ms(key)) for key in keys]


def _object(client: Client, args: Sequence[bytes]) -> str:
    """The line of the server without what has no meaning here: length when saved, time of last use."""
    value = client.db.peek(args[0])
    if value is None:
        raise ReplyError(messages.NO_SUCH_KEY)
    encoding, refcount = encoding_of(value), refcount_of(value)
    return f"Value at:{id(value):#x} refcount:{refcount} encoding:{encoding.decode()}"


def _sleep(_client: Client, args: Sequence[bytes]) -> str:
    seconds = strtod(args[0]) or 0.0
    # Under the engine's lock: for everyone else the store stands still, which is what this is for.
    time.sleep(max(0.0, seconds))
    return "OK"


def _set_active_expire(client: Client, args: Sequence[bytes]) -> str:
    number = _NUMBER.match(args[0])
    client.server.keyspace.active_expire = number is not None and int(number[0]) != 0
    return "OK"


def _help(_client: Client, _args: Sequence[bytes]) -> list[str]:
    return messages.help_lines(
        "DEBUG",
        "DIGEST",
        "    Output a hex signature representing the current DB content.",
        "DIGEST-VALUE <key> [<key> ...]",
        "    Output a hex signature of the values of all the specified keys.",
        "OBJECT <key>",
        "    Show low level info about `key` and associated value.",
        "SET-ACTIVE-EXPIRE <0|1>",
        "    Setting it to 0 disables expiring keys in background when they are not",
        "    accessed (otherwise the Redis behavior). Setting it to 1 reenables back the",
        "    default.",
        "SLEEP <seconds>",
        "    Stop the server for <seconds>. Decimals allowed.",
    )


# Subcommand -> its handler, and how many arguments it takes at least and at most.
_SUBCOMMANDS: dict[bytes, tuple[Callable[[Client, Sequence[bytes]], Any], int, int]] = {
    b"DIGEST": (_digest, 0, 0),
    b"DIGEST-VALUE": (_digest_value, 0, sys.maxsize),
    b"OBJECT": (_object, 1, 1),
    b"SLEEP": (_sleep, 1, 1),
    b"SET-ACTIVE-EXPIRE": (_set_active_expire, 1, 1),
    b"HELP": (_help, 0, 0),
}
