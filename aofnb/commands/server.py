"""Commands on the store as a whole: INFO, CONFIG, COMMAND, BGREWRITEAOF, TIME.

What they ask goes through the `Server` protocol, so that nothing here knows the log's files.

Redis: server.c commandCommand and its kin, infoCommand, timeCommand; config.c; aof.c bgrewriteaofCommand (7.0.15).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from aofnb.commands import messages
from aofnb.commands.client import Client, SetReply
from aofnb.commands.documentation import DEPRECATED, SYSTEM, arguments, facts
from aofnb.commands.key_uses import NOTES, KeyUse, counts_fit, key_uses, used_keys
from aofnb.commands.registry import Command, all_commands, command, find, table
from aofnb.errors import ReplyError
from aofnb.store.glob import matches

__all__ = ["CATEGORIES", "categories", "group_of", "members"]


def _text(arg: bytes) -> str:
    return arg.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


@command("INFO", arity=-1, flags="loading stale")
def info(client: Client, *sections: bytes) -> bytes:
    """Return numbers about the store, section by section."""
    return _bytes(client.server.info([_text(section).lower() for section in sections]))


@command("TIME", arity=1, flags="fast loading stale", since="2.6.0")
def time(client: Client) -> list[bytes]:
    """Return the time: seconds since the epoch, and microseconds, known here to the millisecond."""
    seconds, milliseconds = divmod(client.server.clock.now_ms(), 1000)
    return [b"%d" % seconds, b"%d" % (milliseconds * 1000)]


@command("BGREWRITEAOF", arity=1, flags="admin no_async_loading noscript")
def bgrewriteaof(client: Client) -> str:
    """Start to rewrite the log as short as it can be; commands go on meanwhile."""
    return client.server.rewrite_aof()


# --- CONFIG ----------------------------------------------------------------------------------------------


@command("CONFIG", arity=-2, since="2.0.0")
def config(client: Client, *args: bytes) -> Any:
    """A container for commands on settings."""
    raise messages.wrong_arity("config")


@command("CONFIG GET", arity=-3, flags="admin loading noscript stale", since="2.0.0")
def config_get(client: Client, *patterns: bytes) -> Any:
    """Return the settings that match one of the patterns, with their values."""
    found: dict[bytes, bytes] = {}
    for pattern in patterns:
        for name, text in client.server.settings.matching(_text(pattern)).items():
            found[_bytes(name)] = _bytes(text)
    return client.map_reply(found)


@command("CONFIG SET", arity=-4, flags="admin loading noscript stale", since="2.0.0")
def config_set(client: Client, *names_and_values: bytes) -> str:
    """Change settings, all of them or, if one is refused, none."""
    if len(names_and_values) % 2:
        raise ReplyError(messages.SYNTAX_ERROR)
    words = [_text(word) for word in names_and_values]
    client.server.config_set(list(zip(words[::2], words[1::2], strict=True)))
    return "OK"


@command("CONFIG RESETSTAT", arity=2, flags="admin loading noscript stale", since="2.0.0")
def config_resetstat(client: Client) -> str:
    """Set the counters of INFO to zero."""
    client.server.reset_stats()
    return "OK"


@command("CONFIG REWRITE", arity=2, flags="admin loading noscript stale", since="2.8.0")
def config_rewrite(client: Client) -> str:
    """Write the settings to the file they were read from."""
    client.server.settings.rewrite()
    return "OK"


@command("CONFIG HELP", arity=2, flags="loading stale", since="5.0.0")
def config_help(client: Client) -> list[str]:
    """List the subcommands."""
    return messages.help_lines(
        "CONFIG",
        "GET <pattern>",
        "    Return parameters matching the glob-like <pattern> and their values.",
        "SET <directive> <value>",
        "    Set the configuration <directive> to <value>.",
        "RESETSTAT",
        "    Reset statistics reported by the INFO command.",
        "REWRITE",
        "    Rewrite the configuration file.",
    )


# --- COMMAND: the table as replies -----------------------------------------------------------------------

# In the order in which the server lists them.
_FLAGS = (
    "write", "readonly", "denyoom", "module", "admin", "pubsub", "noscript", "blocking", "loading", "stale",
    "skip_monitor", "skip_slowlog", "asking", "fast", "no_auth", "may_replicate", "no_mandatory_keys",
    "no_async_loading", "no_multi", "movablekeys", "allow_busy",
)  # fmt: skip
CATEGORIES = (
    "keyspace", "read", "write", "set", "sortedset", "list", "hash", "string", "bitmap", "hyperloglog", "geo",
    "stream", "pubsub", "admin", "fast", "slow", "blocking", "dangerous", "connection", "transaction", "scripting",
)  # fmt: skip

# Family file -> the category that its commands are in, and the group that COMMAND DOCS names.
_FAMILY_CATEGORY = {
    "strings": "string", "bitmaps": "bitmap", "keys": "keyspace", "sorting": "", "expiry": "keyspace", "lists": "list",
    "sets": "set", "hashes": "hash", "zsets": "sortedset", "streams": "stream", "geo": "geo",
    "hyperloglogs": "hyperloglog", "transactions": "transaction", "connection": "connection",
    "scripting": "scripting", "pubsub": "pubsub", "dump": "keyspace", "acl": "",
}  # fmt: skip
_FAMILY_GROUP = {
    "strings": "string", "bitmaps": "bitmap", "keys": "generic", "sorting": "generic", "expiry": "generic",
    "lists": "list", "sets": "set", "hashes": "hash", "zsets": "sorted-set", "streams": "stream",
    "hyperloglogs": "hyperloglog", "dump": "generic", "debug": "server", "acl": "server", "replication": "server",
}  # fmt: skip
# Where the server counts a command otherwise than its neighbours.
_GROUP_OF = {
    "AUTH": "connection", "MONITOR": "server",
    "DBSIZE": "server", "FLUSHALL": "server", "FLUSHDB": "server", "SWAPDB": "server", "RESTORE-ASKING": "server",
    "READONLY": "cluster", "READWRITE": "cluster", "ASKING": "cluster", "CLUSTER": "cluster", "WAITAOF": "generic",
}  # fmt: skip
_CATEGORIES_OF = {
    "AUTH": ("connection",), "MONITOR": (), "PUBSUB HELP": (), "ROLE": ("admin", "dangerous"),
    "KEYS": ("keyspace", "dangerous"), "FLUSHDB": ("keyspace", "dangerous"), "FLUSHALL": ("keyspace", "dangerous"),
    "SWAPDB": ("keyspace", "dangerous"), "WAIT": ("connection",), "INFO": ("dangerous",), "COMMAND": ("connection",),
    "RESTORE": ("keyspace", "dangerous"), "RESTORE-ASKING": ("keyspace", "dangerous"),
    "LASTSAVE": ("admin", "dangerous"),
    "READONLY": ("connection",), "READWRITE": ("connection",), "ASKING": ("connection",), "WAITAOF": ("connection",),
    "SORT": ("set", "sortedset", "list", "dangerous"), "SORT_RO": ("set", "sortedset", "list", "dangerous"),
}  # fmt: skip
# What proxies in front of a cluster want to know of a command.
_NODES, _SHARDS, _MULTI_SHARD = "request_policy:all_nodes", "request_policy:all_shards", "request_policy:multi_shard"
_DONE, _SPECIAL, _SUM = "response_policy:all_succeeded", "response_policy:special", "response_policy:agg_sum"
_CHANCE, _NO_ORDER = "nondeterministic_output", "nondeterministic_output_order"
_TIPS = {
    (_CHANCE,): (
        "DUMP HRANDFIELD HSCAN LASTSAVE PTTL SPOP SRANDMEMBER SSCAN TIME TTL XADD XAUTOCLAIM XCLAIM XPENDING XTRIM "
        "ZRANDMEMBER ZSCAN CLIENT|INFO CLIENT|LIST CLUSTER|BUMPEPOCH CLUSTER|COUNT-FAILURE-REPORTS "
        "CLUSTER|GETKEYSINSLOT CLUSTER|INFO CLUSTER|LINKS CLUSTER|NODES CLUSTER|REPLICAS CLUSTER|SHARDS CLUSTER|SLAVES "
        "CLUSTER|SLOTS OBJECT|ENCODING OBJECT|FREQ OBJECT|IDLETIME OBJECT|REFCOUNT XINFO|CONSUMERS"
    ),
    (_CHANCE, _NODES, _SPECIAL): "LATENCY|DOCTOR LATENCY|GRAPH LATENCY|HISTOGRAM LATENCY|HISTORY LATENCY|LATEST",
    (_CHANCE, _SHARDS, _SPECIAL): "INFO FUNCTION|STATS MEMORY|DOCTOR MEMORY|MALLOC-STATS MEMORY|STATS",
    (_CHANCE, "request_policy:special"): "SCAN",
    (_NO_ORDER,): (
        "COMMAND HGETALL HKEYS HVALS SDIFF SINTER SMEMBERS SUNION COMMAND|DOCS COMMAND|INFO COMMAND|LIST FUNCTION|LIST "
        "MODULE|LIST"
    ),
    (_NODES, _CHANCE): "SLOWLOG|GET",
    (_NODES, _SUM, _CHANCE): "SLOWLOG|LEN",
    (_NODES, _DONE): "CONFIG|SET LATENCY|RESET SCRIPT|FLUSH SCRIPT|LOAD SLOWLOG|RESET",
    (_SHARDS, _CHANCE): "RANDOMKEY",
    (_SHARDS, _NO_ORDER): "KEYS",
    (_SHARDS, "response_policy:agg_logical_and"): "SCRIPT|EXISTS",
    (_SHARDS, "response_policy:agg_min"): "WAIT WAITAOF",
    (_SHARDS, _SUM): "DBSIZE",
    (_SHARDS, _DONE): (
        "FLUSHALL FLUSHDB PING FUNCTION|DELETE FUNCTION|FLUSH FUNCTION|LOAD FUNCTION|RESTORE MEMORY|PURGE"
    ),
    (_SHARDS, "response_policy:one_succeeded"): "FUNCTION|KILL SCRIPT|KILL",
    (_MULTI_SHARD,): "MGET",
    (_MULTI_SHARD, "response_policy:agg_min"): "MSETNX",
    (_MULTI_SHARD, _SUM): "DEL EXISTS TOUCH UNLINK",
    (_MULTI_SHARD, _DONE): "MSET",
}
_TIPS_OF = {name.replace("|", " "): tips for tips, names in _TIPS.items() for name in names.split()}
_FIXED_KEYS = {
    "SORT": (1, 1, 1), "SORT_RO": (1, 1, 1), "GEORADIUS": (1, 1, 1), "GEORADIUSBYMEMBER": (1, 1, 1),
    "ZDIFFSTORE": (1, 1, 1), "ZINTERSTORE": (1, 1, 1), "ZUNIONSTORE": (1, 1, 1),
}  # fmt: skip


def categories(entry: Command) -> list[str]:
    """The ACL categories of a command, in the server's order, without their ``@``."""
    flags = entry.flags
    found = set(_explicit_categories(entry))
    found.add("fast" if "fast" in flags else "slow")
    found.update(flag for flag in ("write", "admin", "pubsub", "blocking") if flag in flags)
    if "readonly" in flags and "scripting" not in found:
        found.add("read")
    if "admin" in flags:
        found.add("dangerous")
    return [name for name in CATEGORIES if name in found]


@cache
def members(category: str) -> tuple[Command, ...]:
    """The commands of an ACL category, containers before their parts."""
    return tuple(entry for entry in all_commands() if category in categories(entry))


def _explicit_categories(entry: Command) -> Sequence[str]:
    """The categories that do not follow from the flags: that of the family, none for a container."""
    container = entry.name.partition(" ")[0]
    if entry.name in _CATEGORIES_OF or container == "COMMAND":
        return _CATEGORIES_OF[entry.name if entry.name in _CATEGORIES_OF else container]
    return () if entry.subcommands else (_FAMILY_CATEGORY.get(entry.group, ""),)


def _words(client: Client, words: Iterable[str]) -> list[Any]:
    return SetReply(words) if client.resp >= 3 else list(words)


def _info(client: Client, entry: Command) -> list[Any]:
    """What COMMAND INFO says of one command."""
    first, last, step = _FIXED_KEYS.get(entry.name, (0, 0, 0)) if callable(entry.keys) else entry.keys
    return [
        _bytes(entry.wire_name),
        entry.arity,
        _words(client, [flag for flag in _FLAGS if flag in entry.flags]),
        first,
        last,
        step,
        _words(client, [f"@{name}" for name in categories(entry)]),
        client.set_reply([_bytes(tip) for tip in _TIPS_OF.get(entry.name, ())]),
        client.set_reply([_key_use(client, use, note) for use, note in _noted_uses(entry)]),
        # The server calls it a set only where it is empty.
        [_info(client, sub) for sub in entry.subcommands.values()] or client.set_reply(()),
    ]


def _noted_uses(entry: Command) -> Iterable[tuple[KeyUse, str]]:
    uses = key_uses(entry)
    return zip(uses, NOTES.get(entry.name, ("",) * len(uses)), strict=True)


def _key_use(client: Client, use: KeyUse, note: str) -> Any:
    told: dict[bytes, Any] = {b"notes": _bytes(note)} if note else {}
    told[b"flags"] = _words(client, use.flags)
    for name, (kind, numbers) in ((b"begin_search", use.begin), (b"find_keys", use.find)):
        spec = {_bytes(of): _bytes(number) if isinstance(number, str) else number for of, number in numbers.items()}
        told[name] = client.map_reply({b"type": _bytes(kind), b"spec": client.map_reply(spec)})
    return client.map_reply(told)


def _infos(client: Client) -> list[Any]:
    return [_info(client, entry) for entry in table.values()]


def group_of(entry: Command) -> str:
    """The group that COMMAND DOCS names; subcommands are in that of their container."""
    container = entry.name.partition(" ")[0]
    own = _GROUP_OF.get(entry.name) or _GROUP_OF.get(container)
    return own or _FAMILY_GROUP.get(entry.group, entry.group)


def _argument(client: Client, argument: dict[str, Any]) -> Any:
    told: dict[bytes, Any] = {}
    for name, value in argument.items():
        if name == "flags":
            told[_bytes(name)] = _words(client, value)
        elif name == "arguments":
            told[_bytes(name)] = [_argument(client, inner) for inner in value]
        else:
            told[_bytes(name)] = _bytes(value) if isinstance(value, str) else value
    return client.map_reply(told)


def _docs(client: Client, entry: Command) -> Any:
    docs: dict[bytes, Any] = {
        b"summary": _bytes(entry.summary),
        b"since": _bytes(entry.since),
        b"group": _bytes(group_of(entry)),
    }
    known = facts(entry)
    if "complexity" in known:
        docs[b"complexity"] = _bytes(known["complexity"])
    flags = ["deprecated"] * (entry.name in DEPRECATED) + ["syscmd"] * (entry.name in SYSTEM)
    if flags:
        docs[b"doc_flags"] = _words(client, flags)
    if entry.name in DEPRECATED:
        docs[b"deprecated_since"] = _bytes(DEPRECATED[entry.name])
    if "replaced_by" in known:
        docs[b"replaced_by"] = _bytes(known["replaced_by"])
    told = arguments(entry)
    if told:
        docs[b"arguments"] = [_argument(client, argument) for argument in told]
    if entry.subcommands:
        docs[b"subcommands"] = client.map_reply(
            {_bytes(sub.wire_name): _docs(client, sub) for sub in entry.subcommands.values()}
        )
    return client.map_reply(docs)


def _named(name: bytes) -> Command | None:
    """The command called `name`, or the subcommand, spelled ``config|get``."""
    words = name.split(b"|")
    entry = find(words)
    return entry if entry is not None and len(words) == entry.words else None


@command("COMMAND", arity=-1, flags="loading stale", since="2.8.13")
def command_(client: Client) -> list[Any]:
    """Describe every command."""
    return _infos(client)


@command("COMMAND COUNT", arity=2, flags="loading stale", since="2.8.13")
def command_count(client: Client) -> int:
    """Count the commands."""
    return len(table)


@command("COMMAND INFO", arity=-2, flags="loading stale", since="2.8.13")
def command_info(client: Client, *names: bytes) -> list[Any]:
    """Describe some commands, or all; nil for one that is not known."""
    if not names:
        return _infos(client)
    return [None if (entry := _named(name)) is None else _info(client, entry) for name in names]


@command("COMMAND DOCS", arity=-2, flags="loading stale", since="7.0.0")
def command_docs(client: Client, *names: bytes) -> Any:
    """Tell what some commands, or all, are for; one that is not known is left out."""
    entries = [entry for name in names if (entry := _named(name)) is not None] if names else list(table.values())
    return client.map_reply({_bytes(entry.wire_name): _docs(client, entry) for entry in entries})


@command("COMMAND LIST", arity=-2, flags="loading stale", since="7.0.0")
def command_list(client: Client, *filter_: bytes) -> list[bytes]:
    """Name all commands, or those of an ACL category, or those that match a pattern."""
    if not filter_:
        return [_bytes(entry.wire_name) for entry in table.values()]
    if len(filter_) != 3 or filter_[0].lower() != b"filterby":
        raise ReplyError(messages.SYNTAX_ERROR)
    kind, wanted = filter_[1].lower(), filter_[2]
    entries: Iterable[Command]
    if kind == b"pattern":
        entries = (entry for entry in all_commands() if matches(wanted, _bytes(entry.wire_name), ignore_case=True))
    elif kind == b"aclcat":
        category = _text(wanted).lower()
        entries = (entry for entry in all_commands() if category in categories(entry))
    elif kind == b"module":
        entries = ()  # There are no modules.
    else:
        raise ReplyError(messages.SYNTAX_ERROR)
    return [_bytes(entry.wire_name) for entry in entries]


@command("COMMAND GETKEYS", arity=-4, flags="loading stale", since="2.8.13")
def command_getkeys(client: Client, *argv: bytes) -> list[bytes]:
    """Return the arguments of a command that are keys."""
    return [argv[position] for position, _flags in _used(argv)]


@command("COMMAND GETKEYSANDFLAGS", arity=-4, flags="loading stale", since="7.0.0")
def command_getkeysandflags(client: Client, *argv: bytes) -> list[Any]:
    """Return the arguments of a command that are keys, each with how it is used."""
    return [[argv[position], _words(client, flags)] for position, flags in _used(argv)]


def _used(argv: Sequence[bytes]) -> list[tuple[int, tuple[str, ...]]]:
    """Where the keys of a command are, and how they are used."""
    entry = find(argv)
    if entry is None or (entry.subcommands and len(argv) > 1):
        raise ReplyError("ERR Invalid command specified")
    if all("not_key" in use.flags for use in key_uses(entry)):
        raise ReplyError("ERR The command has no key arguments")
    if not entry.min_argc <= len(argv) <= entry.max_argc:
        raise ReplyError("ERR Invalid number of arguments specified for command")
    used = list(used_keys(entry, argv)) if counts_fit(entry, argv) else []
    if not used and "no_mandatory_keys" not in entry.flags:
        raise ReplyError("ERR Invalid arguments specified for command")
    return used


@command("COMMAND HELP", arity=2, flags="loading stale", since="5.0.0")
def command_help(client: Client) -> list[str]:
    """List the subcommands."""
    return messages.help_lines(
        "COMMAND",
        "(no subcommand)",
        "    Return details about all Redis commands.",
        "COUNT",
        "    Return the total number of commands in this Redis server.",
        "LIST",
        "    Return a list of all commands in this Redis server.",
        "INFO [<command-name> ...]",
        "    Return details about multiple Redis commands.",
        "    If no command names are given, documentation details for all",
        "    commands are returned.",
        "DOCS [<command-name> ...]",
        "    Return documentation details about multiple Redis commands.",
        "    If no command names are given, documentation details for all",
        "    commands are returned.",
        "GETKEYS <full-command>",
        "    Return the keys from a full Redis command.",
        "GETKEYSANDFLAGS <full-command>",
        "    Return the keys and the access flags from a full Redis command.",
    )
