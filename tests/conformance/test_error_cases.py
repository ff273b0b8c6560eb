"""Every command that works on data, called as nobody should: replies and data stay those of redis-server.

Too few and too many arguments, keys of every kind, numbers that are none or too large, empty and binary strings,
option words where they do not belong. The cases of a command are drawn by a seed that is its name.
"""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from support.random_runs import in_any_order
from support.require import need
from support.server import available, redis_server
from support.transcripts import plain

import aofnb
import aofnb.commands.all  # fills the table
from aofnb.commands.registry import Command, all_commands

pytestmark = pytest.mark.server

CASES = 150
# Chance or the clock decide what they do, or they are about the connection or the machine and have tests of their own.
ELSEWHERE = {
    "RANDOMKEY", "DEBUG", "EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "FCALL", "FCALL_RO", "WAIT", "RESTORE-ASKING",
    "DUMP", "MULTI", "EXEC", "SELECT", "MEMORY USAGE",
}  # fmt: skip
FILL = [
    b"KEY", b"k1", b"s", b"l", b"t", b"h", b"z", b"x", b"p", b"none", b"0", b"1", b"-1", b"2", b"3", b"10", b"x", b"",
    b"\x00\xff\r\n", b"9223372036854775807", b"9223372036854775808", b"-9223372036854775808", b"1.5", b"1e400", b"inf",
    b"-inf", b"nan", b" 1", b"+1", b"01", b"0x10", b"(1", b"[a", b"-", b"+", b"$", b">", b"*", b"1-1", b"a", b"b",
    b"y" * 300, b"99999999999999999999999999",
]  # fmt: skip
WORDS = [
    b"COUNT", b"LIMIT", b"WITHSCORES", b"STREAMS", b"GROUP", b"STORE", b"BY", b"GET", b"MAXLEN", b"BYSCORE", b"BYLEX",
    b"WEIGHTS", b"AGGREGATE", b"SUM", b"LEFT", b"RIGHT", b"BEFORE", b"NX", b"XX", b"GT", b"LT", b"CH", b"INCR", b"m",
    b"km", b"FROMMEMBER", b"FROMLONLAT", b"BYRADIUS", b"BYBOX", b"ASC", b"WITHCOORD", b"REPLACE", b"EX", b"PXAT", b"u8",
    b"SET", b"g", b"c", b"MKSTREAM", b"IDLE", b"JUSTID", b"LEN", b"MIN", b"MAX", b"RANK", b"MATCH", b"TYPE",
]  # fmt: skip
# A cursor that is a number, and none that SCAN gave.
_NOT_GIVEN_OUT = re.compile(rb"[ +-]?0*[1-9]|0x|\+0")
START = """
SET s 10
RPUSH l a b c 1 2
SADD t a b 1
HSET h a 1 b x
ZADD z 1 a 2 b 3 c
XADD x 1-1 a 1
XADD x 2-1 b 2
XGROUP CREATE x g 1-1
XREADGROUP GROUP g c STREAMS x >
PFADD p a b c
"""


def asked() -> Iterator[Command]:
    for command in all_commands():
        on_data = not command.flags.isdisjoint({"write", "readonly"}) and "blocking" not in command.flags
        if on_data and not command.subcommands and command.name not in ELSEWHERE and not _since_7_2(command):
            yield command


def _since_7_2(command: Command) -> bool:
    """What redis-server 7.0 does not know."""
    return tuple(map(int, command.since.split("."))) >= (7, 2)


def cases(command: Command) -> Iterator[list[bytes]]:
    chance = random.Random(zlib.crc32(command.name.encode()))
    name = command.name.encode().split()
    keys = [b"s", b"l", b"t", b"h", b"z", b"x", b"p", b"none"]
    own = [option.name.encode() for option in command.options.options] if command.options else WORDS
    for number in range(CASES):
        argc = max(len(name), command.min_argc + chance.choice((-2, -1, 0, 0, 0, 0, 1, 1, 2, 2, 3, 4)))
        fitting = b"lthzxps"[number % 7 : number % 7 + 1]
        argv = [
            *name,
            *(chance.choice(FILL if chance.random() < 0.7 else own + WORDS) for _ in range(argc - len(name))),
        ]
        for place in command.key_positions(argv):
            if chance.random() < 0.9:
                argv[place] = chance.choice([fitting, chance.choice(keys)])
        yield argv


def reply_of(side: Any, argv: list[bytes]) -> Any:
    try:
        reply = plain(side.execute(*argv))
    except aofnb.ReplyError as problem:
        reply = plain(problem)
    return in_any_order([arg.decode("latin-1") for arg in argv], reply)


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any]]:
    need("redis-server", available())
    with (
        aofnb.open(None, background=False) as store,
        redis_server(tmp_path_factory.mktemp("redis"), appendonly="no") as server,
    ):
        yield store, server


def undetermined(argv: list[bytes]) -> bool:
    """The outcome is chance, or the clock's, or it takes much memory."""
    name = argv[0].upper()
    if name in (b"SPOP", b"SRANDMEMBER", b"HRANDFIELD", b"ZRANDMEMBER"):
        return True
    if name.endswith(b"SCAN") and any(_NOT_GIVEN_OUT.match(arg) for arg in argv[1:3]):
        return True
    if name == b"XREAD" and b"+" in argv:
        return True  # means something since 7.4
    if name == b"PEXPIRE" and len(argv) > 2 and argv[2].isdigit() and len(argv[2]) < 5:
        return True  # over before it is looked at
    if name == b"LOLWUT":
        return True  # art
    if name == b"XADD" and b"*" in argv:
        return True
    return name in (b"SETRANGE", b"SETBIT", b"BITFIELD") and any(arg.isdigit() and len(arg) > 6 for arg in argv)


@pytest.mark.parametrize("command", list(asked()), ids=lambda command: command.name)
def test_misuse_is_answered_as_the_server_does(command: Command, sides: tuple[Any, Any]) -> None:
    store, server = sides
    start = [line.encode().split() for line in START.strip().splitlines()]
    fresh = False
    for argv in cases(command):
        if undetermined(argv):
            continue
        if not fresh:
            for side in sides:
                for row in ([b"FLUSHALL"], *start):
                    reply_of(side, row)
        ours, theirs = reply_of(store, argv), reply_of(server, argv)
        if b"FREQ" in argv or b"IDLETIME" in argv or argv[0] in (b"TTL", b"PTTL"):
            continue
        assert ours == theirs, argv
        # After an error there is nothing to put back.
        fresh = isinstance(theirs, str) or "readonly" in command.flags
        if not fresh:
            assert reply_of(store, [b"DEBUG", b"DIGEST"]) == reply_of(server, [b"DEBUG", b"DIGEST"]), argv
