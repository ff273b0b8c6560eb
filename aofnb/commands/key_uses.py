"""How commands use their keys, and where they say they are: what COMMAND tells, and what the rights to keys go by.

A notation, one line for all commands that are alike: the words of the server (``RO`` read only, ``RW`` read and
written, ``OW`` overwritten, ``RM`` removed; ``access``: what is there reaches the caller; ``insert``, ``update``,
``delete``), then the place:

- ``1``: argument 1; ``1:-1`` from there to the last one, ``1:-1/2`` every second of them;
- ``1#``: argument 1 says how many, and they follow;
- ``STREAMS@1:-1/1/2``: behind that word, looked for from argument 1 on; the first half of what is there;
- ``?``: wherever the command looks for them.

Redis: the key specifications of each command, db.c getKeysFromCommandWithSpecs (7.0.15).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from aofnb.commands.registry import Command

__all__ = ["NOTES", "KeyUse", "counts_fit", "key_uses", "used_keys"]

_USES = {
    "RO 1": "HEXISTS HLEN HSTRLEN LLEN SCARD SISMEMBER STRLEN TYPE XLEN ZCARD",
    "RO 1:-1": "EXISTS TOUCH WATCH",
    "RO 2": "MEMORY|USAGE OBJECT|ENCODING OBJECT|FREQ OBJECT|IDLETIME OBJECT|REFCOUNT",
    "RO access 1": (
        "BITCOUNT BITFIELD_RO BITPOS DUMP EXPIRETIME GEODIST GEOHASH GEOPOS GEORADIUSBYMEMBER_RO GEORADIUS_RO "
        "GEOSEARCH GET GETBIT GETRANGE HEXPIRETIME HGET HGETALL HKEYS HMGET HPEXPIRETIME HPTTL HRANDFIELD HSCAN HTTL "
        "HVALS LINDEX LPOS LRANGE PEXPIRETIME PTTL SMEMBERS SMISMEMBER SRANDMEMBER SSCAN SUBSTR TTL XPENDING XRANGE "
        "XREVRANGE ZCOUNT ZLEXCOUNT ZMSCORE ZRANDMEMBER ZRANGE ZRANGEBYLEX ZRANGEBYSCORE ZRANK ZREVRANGE "
        "ZREVRANGEBYLEX ZREVRANGEBYSCORE ZREVRANK ZSCAN ZSCORE"
    ),
    "RO access 1#": "SINTERCARD ZDIFF ZINTER ZINTERCARD ZUNION",
    "RO access 1:-1": "MGET SDIFF SINTER SUNION",
    "RO access 1:1": "LCS",
    "RO access 2": "XINFO|CONSUMERS XINFO|GROUPS XINFO|STREAM",
    "RO access 2#": "EVALSHA_RO EVAL_RO FCALL_RO",
    "RO access STREAMS@1:-1/1/2": "XREAD",
    "RO access STREAMS@4:-1/1/2": "XREADGROUP",
    "OW insert 1": "SETNX",
    "OW insert 1:-1/2": "MSETNX",
    "OW update 1": "PSETEX RESTORE RESTORE-ASKING SETEX",
    "OW update 1:-1/2": "MSET",
    "RM delete 1:-1": "DEL UNLINK",
    "RW access 1:-1": "PFCOUNT",
    "RW access 2": "PFDEBUG",
    "RW access delete 1": "GETDEL LPOP RPOP SPOP ZPOPMAX ZPOPMIN",
    "RW access delete 1#": "LMPOP ZMPOP",
    "RW access delete 1:-2": "BLPOP BRPOP BZPOPMAX BZPOPMIN",
    "RW access delete 2#": "BLMPOP BZMPOP",
    "RW access update 1": "DECR DECRBY GETEX GETSET HINCRBY HINCRBYFLOAT INCR INCRBY INCRBYFLOAT MOVE SETBIT ZINCRBY",
    "RW access update 2#": "EVAL EVALSHA FCALL",
    "RW access update variable_flags 1": "BITFIELD SET",
    "RW delete 1": "HDEL LREM LTRIM SREM XAUTOCLAIM XDEL XTRIM ZREM ZREMRANGEBYLEX ZREMRANGEBYRANK ZREMRANGEBYSCORE",
    "RW delete 2": "XGROUP|DELCONSUMER XGROUP|DESTROY",
    "RW insert 1": "APPEND HSETNX LINSERT LPUSH LPUSHX PFADD RPUSH RPUSHX SADD",
    "RW insert 2": "XGROUP|CREATE XGROUP|CREATECONSUMER",
    "RW update 1": (
        "EXPIRE EXPIREAT GEOADD HEXPIRE HEXPIREAT HMSET HPERSIST HPEXPIRE HPEXPIREAT HSET LSET PERSIST PEXPIRE "
        "PEXPIREAT SETRANGE XACK XADD XCLAIM XSETID ZADD"
    ),
    "RW update 2": "XGROUP|SETID",
    "not_key 1": "SPUBLISH",
    "not_key 1:-1": "SSUBSCRIBE SUNSUBSCRIBE",
    "RO access 1, OW update 2": "COPY",
    "RO access 1, RO access ?": "SORT_RO",
    "OW update 1, RO access 2": "GEOSEARCHSTORE ZRANGESTORE",
    "OW update 1, RO access 2#": "ZDIFFSTORE ZINTERSTORE ZUNIONSTORE",
    "OW update 1, RO access 2:-1": "SDIFFSTORE SUNIONSTORE",
    "OW update 2, RO access 3:-1": "BITOP",
    "RW access delete 1, OW insert 2": "RENAMENX",
    "RW access delete 1, OW update 2": "RENAME",
    "RW access delete 1, RW insert 2": "BLMOVE BRPOPLPUSH LMOVE RPOPLPUSH SMOVE",
    "RW access insert 1, RO access 2:-1": "PFMERGE",
    "RW update 1, RO access 2:-1": "SINTERSTORE",
    "RO access 1, OW update STORE@5, OW update STOREDIST@5": "GEORADIUSBYMEMBER",
    "RO access 1, OW update STORE@6, OW update STOREDIST@6": "GEORADIUS",
    "RO access 1, RO access ?, OW update ?": "SORT",
}
_PLACE = re.compile(r"(?:(\d+)|([A-Z]+)@(\d+))(?:(#)|:(-?\d+)(?:/(\d+)(?:/(\d+))?)?)?")
# What the server adds for people, by command, in the order of its specifications.
NOTES: dict[str, tuple[str, ...]] = {
    "BITFIELD": ("This command allows both access and modification of the key",),
    "EVAL": ("We cannot tell how the keys will be used so we assume the worst, RW and UPDATE",),
    "EVAL_RO": ("We cannot tell how the keys will be used so we assume the worst, RO and ACCESS",),
    "FCALL": ("We cannot tell how the keys will be used so we assume the worst, RW and UPDATE",),
    "FCALL_RO": ("We cannot tell how the keys will be used so we assume the worst, RO and ACCESS",),
    "GETEX": ("RW and UPDATE because it changes the TTL",),
    "PFCOUNT": ("RW because it may change the internal representation of the key, and propagate to replicas",),
    "SET": ("RW and ACCESS due to the optional `GET` argument",),
    "SORT": (
        "",
        "For the optional BY/GET keyword. It is marked 'unknown' because the key names derive from the content of the "
        "key we sort",
        "For the optional STORE keyword. It is marked 'unknown' because the keyword can appear anywhere in the "
        "argument array",
    ),
    "SORT_RO": (
        "",
        "For the optional BY/GET keyword. It is marked 'unknown' because the key names derive from the content of the "
        "key we sort",
    ),
    "XADD": ("UPDATE instead of INSERT because of the optional trimming feature",),
}
# SET and BITFIELD, by what else is said.
_WRITTEN = ("OW", "update")
_READ = ("RO", "access")
_READ_AND_WRITTEN = ("RW", "access", "update")


@dataclass(frozen=True, slots=True)
class KeyUse:
    """One key specification: how the keys are used, how the first is found (`begin`), and the others from there.

    `begin` and `find` are a kind and its numbers by name, as COMMAND INFO gives them.
    """

    flags: tuple[str, ...]
    begin: tuple[str, dict[str, int | str]]
    find: tuple[str, dict[str, int | str]]


def _use(notation: str) -> KeyUse:
    *flags, place = notation.split()
    if place == "?":
        return KeyUse(tuple(flags), ("unknown", {}), ("unknown", {}))
    match = _PLACE.fullmatch(place)
    assert match is not None, place
    index, keyword, start, counted, last, step, limit = match.groups()
    begin: tuple[str, dict[str, int | str]]
    if keyword:
        begin = ("keyword", {"keyword": keyword, "startfrom": int(start)})
    else:
        begin = ("index", {"index": int(index)})
    if counted:
        return KeyUse(tuple(flags), begin, ("keynum", {"keynumidx": 0, "firstkey": 1, "keystep": 1}))
    spread: dict[str, int | str] = {"lastkey": int(last or 0), "keystep": int(step or 1), "limit": int(limit or 0)}
    return KeyUse(tuple(flags), begin, ("range", spread))


_OF = {
    name.replace("|", " "): tuple(map(_use, notation.split(", ")))
    for notation, names in _USES.items()
    for name in names.split()
}


def key_uses(command: Command) -> tuple[KeyUse, ...]:
    """The key specifications of a command; none for one that has no keys."""
    return _OF.get(command.name, ())


def used_keys(command: Command, argv: Sequence[bytes]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Where in `argv` the keys are, and how each is used; what only looks like a key (a channel) is left out."""
    uses = _OF.get(command.name, ())
    if not uses or "not_key" in uses[0].flags:
        return
    first = _varying(command.name, argv) or uses[0].flags
    # Whatever is said of more than the first key is said last.
    others = uses[-1].flags if len(uses) > 1 else first
    for number, position in enumerate(command.key_positions(argv)):
        yield position, others if number else first


def counts_fit(command: Command, argv: Sequence[bytes]) -> bool:
    """Whether as many keys follow as `argv` says, where it says how many; at least one."""
    for use in _OF.get(command.name, ()):
        if use.find[0] == "keynum":
            at = int(use.begin[1]["index"])
            count = argv[at][:20]
            if not (count.isdigit() and 0 < int(count) < len(argv) - at):
                return False
    return True


def _varying(name: str, argv: Sequence[bytes]) -> tuple[str, ...] | None:
    if name == "SET":
        return _READ_AND_WRITTEN if any(arg.upper() == b"GET" for arg in argv[3:]) else _WRITTEN
    if name == "BITFIELD":
        return _READ if _only_gets(argv) else _READ_AND_WRITTEN
    return None


def _only_gets(argv: Sequence[bytes]) -> bool:
    """Whether a BITFIELD has no subcommand but GET."""
    rest = list(argv[2:])
    while len(rest) >= 3 and rest[0].upper() == b"GET":
        del rest[:3]
    return not rest
