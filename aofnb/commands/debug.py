"""DEBUG: looks behind the data, for tests and comparison with a real server.

Subcommands that crash a server, or turn knobs that are not here, are unknown ones.

Redis: debug.c debugCommand (7.0.15).
"""

from __future__ import annotations

import logging
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
from aofnb.rdb import dump_payload, list_node_sizes
from aofnb.resp.replies import Attributed, BigNumber, Push, Verbatim
from aofnb.store.digest import keyspace_digest, value_digest
from aofnb.store.list_value import ListValue

__all__: list[str] = []

_log = logging.getLogger("aofnb")

_NUMBER = re.compile(rb"\s*([+-]?)0*([0-9]+)")
_MICROSECONDS_MAX = 1 << 63


def _atoi(text: bytes) -> int:
    """The number that `text` begins with, as C reads it into 32 bits; 0 where it begins with none."""
    match = _NUMBER.match(text)
    if match is None:
        return 0
    # strtol stops at 64 bits, and atoi takes the lower half of that.
    number = min(int(match[2][:20]), _MICROSECONDS_MAX - 1)
    number = -number if match[1] == b"-" else number
    return (number + (1 << 31)) % (1 << 32) - (1 << 31)


@command("DEBUG", arity=-2, flags="admin loading noscript stale")
def debug(client: Client, subcommand: bytes, *args: bytes) -> Any:
    """Compare data by digests, reload it, look at one value, pause: DEBUG HELP lists what there is."""
    found = _SUBCOMMANDS.get(subcommand.upper())
    if found is None or not found[1] <= len(args) <= found[2]:
        shown = messages.shown(subcommand[:128])
        raise messages.error(f"ERR unknown subcommand or wrong number of arguments for '{shown}'. Try DEBUG HELP.")
    return found[0](client, args)


def _digest(client: Client, _args: Sequence[bytes]) -> str:
    return keyspace_digest(client.server.keyspace)


def _digest_value(client: Client, keys: Sequence[bytes]) -> list[str]:
    # Overdue keys count, and stay.
    return [value_digest(client.db.peek(key), client.db.deadline_ms(key)) for key in keys]


def _object(client: Client, args: Sequence[bytes]) -> str:
    """The line of the server; what a value was last used is not known here, so it is always now."""
    value = client.db.peek(args[0])
    if value is None:
        raise ReplyError(messages.NO_SUCH_KEY)
    encoding, refcount = encoding_of(value), refcount_of(value)
    # A payload is the type, what is saved, the version and the checksum.
    saved = len(dump_payload(value, client.server.config)) - 11
    lru = client.server.clock.now_ms() // 1000 & 0xFFFFFF
    return (
        f"Value at:{id(value):#x} refcount:{refcount} encoding:{encoding.decode()} "
        f"serializedlength:{saved} lru:{lru} lru_seconds_idle:0{_nodes(client, value)}"
    )


def _nodes(client: Client, value: Any) -> str:
    """What a list adds: its nodes, as many as there are where it grew and shrank at its ends only."""
    if not isinstance(value, ListValue):
        return ""
    fill = client.server.config.list_max_listpack_size
    sizes = list_node_sizes(value, fill)
    return (
        f" ql_nodes:{len(sizes)} ql_avg_node:{len(value) / len(sizes):.2f} ql_listpack_max:{fill} ql_compressed:0 "
        f"ql_uncompressed_size:{sum(sizes)}"
    )


def _reload(client: Client, words: Sequence[bytes]) -> str:
    chosen = {word.upper() for word in words}
    if chosen - {b"MERGE", b"NOFLUSH", b"NOSAVE"}:
        raise ReplyError("ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.")
    client.server.persistence.reload(
        save=b"NOSAVE" not in chosen, flush=b"NOFLUSH" not in chosen, merge=b"MERGE" in chosen
    )
    return "OK"


def _loadaof(client: Client, _args: Sequence[bytes]) -> str:
    client.server.persistence.load_aof()
    return "OK"


def _aof_flush_sleep(client: Client, args: Sequence[bytes]) -> str:
    client.server.persistence.sleep_before_flush(max(0, _atoi(args[0])) / 1_000_000)
    return "OK"


def _error(_client: Client, args: Sequence[bytes]) -> str:
    raise ReplyError(args[0].decode("utf-8", "surrogateescape").replace("\r", " ").replace("\n", " "))


def _write_to_log(_client: Client, args: Sequence[bytes]) -> str:
    _log.warning("DEBUG LOG: %s", args[0].decode("utf-8", "backslashreplace"))
    return "OK"


def _sleep(_client: Client, args: Sequence[bytes]) -> str:
    seconds = strtod(args[0]) or 0.0
    # Under the engine's lock: for everyone else the store stands still, which is what this is for. A time that is no
    # number of microseconds is none, as on the server.
    if 0 < seconds < _MICROSECONDS_MAX / 1_000_000:
        time.sleep(seconds)
    return "OK"


def _set_active_expire(client: Client, args: Sequence[bytes]) -> str:
    client.server.keyspace.active_expire = _atoi(args[0]) != 0
    return "OK"


def _attributed_text() -> Attributed:
    text = Attributed(b"Some real reply following the attribute")
    text.attributes = {b"key-popularity": [b"key:123", 90]}
    return text


def _push_and_reply(client: Client) -> bytes:
    if client.resp < 3:
        raise ReplyError("ERR RESP2 is not supported by this command")
    client.server.push(client, Push([b"server-cpu-usage", 42]))
    return b"Some real reply following the push reply"


# DEBUG PROTOCOL: a reply of each type, which clients test their parsers with.
_REPLIES: dict[bytes, Callable[[Client], Any]] = {
    b"STRING": lambda _: b"Hello World",
    b"INTEGER": lambda _: 12345,
    b"DOUBLE": lambda client: client.double_reply(3.141),
    b"BIGNUM": lambda _: BigNumber(b"1234567999999999999999999999999999999"),
    b"NULL": lambda _: None,
    b"ARRAY": lambda _: [0, 1, 2],
    b"SET": lambda client: client.set_reply([0, 1, 2]),
    b"MAP": lambda client: client.map_reply({0: _truth(client, 0), 1: _truth(client, 1), 2: _truth(client, 0)}),
    b"ATTRIB": lambda _: _attributed_text(),
    b"PUSH": _push_and_reply,
    b"VERBATIM": lambda _: Verbatim(b"This is a verbatim\nstring"),
    b"TRUE": lambda client: _truth(client, 1),
    b"FALSE": lambda client: _truth(client, 0),
}


def _truth(client: Client, value: int) -> int:
    return bool(value) if client.resp >= 3 else value


def _protocol(client: Client, args: Sequence[bytes]) -> Any:
    made = _REPLIES.get(args[0].upper())
    if made is None:
        raise ReplyError(
            "ERR Wrong protocol type name. Please use one of the following: "
            "string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false"
        )
    return made(client)


def _pause_cron(client: Client, args: Sequence[bytes]) -> str:
    client.server.cron_paused = _atoi(args[0]) != 0
    return "OK"


def _rewrite_all_settings(client: Client, _args: Sequence[bytes]) -> str:
    client.server.settings.rewrite_everything()
    return "OK"


def _help(_client: Client, _args: Sequence[bytes]) -> list[str]:
    return messages.help_lines(
        "DEBUG",
        "AOF-FLUSH-SLEEP <microsec>",
        "    Server will sleep before flushing the AOF, this is used for testing.",
        "CONFIG-REWRITE-FORCE-ALL",
        "    Like CONFIG REWRITE but writes all configuration options, including",
        "    keywords not listed in original configuration file or default values.",
        "DIGEST",
        "    Output a hex signature representing the current DB content.",
        "DIGEST-VALUE <key> [<key> ...]",
        "    Output a hex signature of the values of all the specified keys.",
        "ERROR <string>",
        "    Return a Redis protocol error with <string> as message. Useful for clients",
        "    unit tests to simulate Redis errors.",
        "LOG <message>",
        "    Write <message> to the server log.",
        "LOADAOF",
        "    Flush the AOF buffers on disk and reload the AOF in memory.",
        "OBJECT <key>",
        "    Show low level info about `key` and associated value.",
        "PROTOCOL <type>",
        "    Reply with a test value of the specified type. <type> can be: string,",
        "    integer, double, bignum, null, array, set, map, attrib, push, verbatim,",
        "    true, false.",
        "RELOAD [option ...]",
        "    Save the RDB on disk and reload it back to memory. Valid <option> values:",
        "    * MERGE: conflicting keys will be loaded from RDB.",
        "    * NOFLUSH: the existing database will not be removed before load, but",
        "      conflicting keys are an error, and nothing is loaded.",
        "    * NOSAVE: the database will be loaded from an existing RDB file.",
        "    Examples:",
        "    * DEBUG RELOAD: verify that the server is able to persist, flush and reload",
        "      the database.",
        "    * DEBUG RELOAD NOSAVE: replace the current database with the contents of an",
        "      existing RDB file.",
        "    * DEBUG RELOAD NOSAVE NOFLUSH MERGE: add the contents of an existing RDB",
        "      file to the database.",
        "SET-ACTIVE-EXPIRE <0|1>",
        "    Setting it to 0 disables expiring keys in background when they are not",
        "    accessed (otherwise the Redis behavior). Setting it to 1 reenables back the",
        "    default.",
        "SLEEP <seconds>",
        "    Stop the server for <seconds>. Decimals allowed.",
        "PAUSE-CRON <0|1>",
        "    Stop periodic cron job processing. What was acknowledged is made durable all",
        "    the same.",
    )


# Subcommand -> its handler, and how many arguments it takes at least and at most.
_SUBCOMMANDS: dict[bytes, tuple[Callable[[Client, Sequence[bytes]], Any], int, int]] = {
    b"AOF-FLUSH-SLEEP": (_aof_flush_sleep, 1, 1),
    b"CONFIG-REWRITE-FORCE-ALL": (_rewrite_all_settings, 0, 0),
    b"DIGEST": (_digest, 0, 0),
    b"DIGEST-VALUE": (_digest_value, 0, sys.maxsize),
    b"ERROR": (_error, 1, 1),
    b"LOADAOF": (_loadaof, 0, 0),
    b"LOG": (_write_to_log, 1, 1),
    b"OBJECT": (_object, 1, 1),
    b"PAUSE-CRON": (_pause_cron, 1, 1),
    b"PROTOCOL": (_protocol, 1, 1),
    b"RELOAD": (_reload, 0, sys.maxsize),
    b"SLEEP": (_sleep, 1, 1),
    b"SET-ACTIVE-EXPIRE": (_set_active_expire, 1, 1),
    b"HELP": (_help, 0, 0),
}
