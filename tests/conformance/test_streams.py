"""Streams answer, log and cut their nodes as redis-server does, and hold the same after a reload."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from support.records import masked, records
from support.require import need
from support.server import available, redis_server
from support.transcripts import OK, Error, approx, check_transcript, plain

import aofnb

pytestmark = pytest.mark.server

WRONG_TYPE = Error("WRONGTYPE Operation against a key holding the wrong kind of value")
BAD_ID = Error("Invalid stream ID specified as stream command argument")
SYNTAX = Error("syntax error")

ENTRIES = [
    ("SET s v", OK),
    ("XADD s 1-1 f v", WRONG_TYPE),
    ("XADD x NOMKSTREAM 1-1 f v", None),
    ("XADD x 0-0 f v", Error("must be greater than 0-0")),
    ("XADD x 1-1 f v", b"1-1"),
    ("XADD x 1-1 f v", Error("equal or smaller than the target stream top item")),
    ("XADD x 1-* f v", b"1-2"),
    ("XADD x 2 f v g w", b"2-0"),
    ("XADD x 3-1 f", Error("wrong number of arguments for 'xadd' command")),
    ("XADD x - f v", BAD_ID),
    ("XADD x MAXLEN 1 LIMIT 2 3-1 f v", Error("LIMIT cannot be used without the special ~ option")),
    ("XADD x MAXLEN 1 MINID 2 3-1 f v", Error("MAXLEN and MINID options at the same time are not compatible")),
    ("XADD x MAXLEN -1 3-1 f v", Error("The MAXLEN argument must be >= 0.")),
    ("XADD x MAXLEN 3 3-1 f v", b"3-1"),
    ("XLEN x", 3),
    ("XRANGE x - +", [[b"1-2", [b"f", b"v"]], [b"2-0", [b"f", b"v", b"g", b"w"]], [b"3-1", [b"f", b"v"]]]),
    ("XRANGE x (1-2 (3-1", [[b"2-0", [b"f", b"v", b"g", b"w"]]]),
    ("XREVRANGE x + - COUNT 1", [[b"3-1", [b"f", b"v"]]]),
    ("XRANGE x - + COUNT 0", None),
    ("XRANGE nokey - + COUNT 0", []),
    ("XRANGE x (18446744073709551615-18446744073709551615 +", Error("invalid start ID for the interval")),
    ("XRANGE x - (0-0", Error("invalid end ID for the interval")),
    ("XREAD COUNT 1 STREAMS x nokey 1 0", [[b"x", [[b"1-2", [b"f", b"v"]]]]]),
    ("XREAD STREAMS x $", None),
    ("XREAD STREAMS x >", Error("The > ID can be specified only when calling XREADGROUP")),
    ("XREAD COUNT 1 STREAMS x y 0", Error("Unbalanced XREAD list of streams")),
    ("XDEL x 2-0 9-9", 1),
    ("XDEL x a", BAD_ID),
    ("XTRIM x MINID 2", 1),
    ("XTRIM x LIMIT 0", Error("XTRIM must be called with a trimming strategy")),
    ("XSETID x 2-0", Error("smaller than the target stream top item")),
    ("XSETID x 9-9 ENTRIESADDED 0", Error("smaller than the target stream length")),
    ("XSETID x 9-9 MAXDELETEDID 10", Error("smaller than the provided max_deleted_entry_id")),
    ("XSETID x 9-9 ENTRIESADDED 20 MAXDELETEDID 5-5", OK),
    ("XSETID x 9-9 FOO", SYNTAX),
    ("XSETID nokey 9-9", Error("no such key")),
    ("XADD full 18446744073709551615-18446744073709551615 f v", b"18446744073709551615-18446744073709551615"),
    ("XADD full * f v", Error("The stream has exhausted the last possible ID")),
    ("XADD back 1-1 f v", b"1-1"),
    ("XSETID back 9-9 MAXDELETEDID 8-8", OK),
    ("XSETID back 2-2", OK),
    ("XADD back 2-3 f v", b"2-3"),
    ("XADD empty 1-1 f v", b"1-1"),
    ("XDEL empty 1-1", 1),
    ("EXISTS empty", 1),
]
ENTRIES_READS = [
    ("XRANGE x - +", [[b"3-1", [b"f", b"v"]]]),
    (
        "XINFO STREAM x",
        [
            b"length", 1,
            b"radix-tree-keys", 1,
            b"radix-tree-nodes", 2,
            b"last-generated-id", b"9-9",
            b"max-deleted-entry-id", b"5-5",
            b"entries-added", 20,
            b"recorded-first-entry-id", b"3-1",
            b"groups", 0,
            b"first-entry", [b"3-1", [b"f", b"v"]],
            b"last-entry", [b"3-1", [b"f", b"v"]],
        ],
    ),
    ("XINFO STREAM x FOO", Error("unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP.")),
    ("XLEN empty", 0),
    ("TYPE empty", b"stream"),
    ("OBJECT ENCODING empty", b"stream"),
]  # fmt: skip

GROUPS = [
    ("XGROUP CREATE x g $", Error("The XGROUP subcommand requires the key to exist")),
    ("XGROUP CREATE x g $ MKSTREAM", OK),
    ("XGROUP CREATE x g 0", Error("BUSYGROUP Consumer Group name already exists")),
    ("XGROUP CREATE x h 0 ENTRIESREAD -2", Error("value for ENTRIESREAD must be positive or -1")),
    ("XADD x 1-1 f a", b"1-1"),
    ("XADD x 2-1 f b", b"2-1"),
    ("XADD x 3-1 f c", b"3-1"),
    ("XREADGROUP GROUP nog c STREAMS x >", Error("NOGROUP No such key 'x' or consumer group 'nog' in XREADGROUP")),
    ("XREADGROUP GROUP g c STREAMS x $", Error("The $ ID is meaningless in the context of XREADGROUP")),
    ("XREADGROUP GROUP g c COUNT 2 STREAMS x >", [[b"x", [[b"1-1", [b"f", b"a"]], [b"2-1", [b"f", b"b"]]]]]),
    ("XREADGROUP GROUP g d NOACK STREAMS x >", [[b"x", [[b"3-1", [b"f", b"c"]]]]]),
    ("XREADGROUP GROUP g d STREAMS x >", None),
    ("XREADGROUP GROUP g d STREAMS x 0", [[b"x", []]]),
    ("XPENDING x g", [2, b"1-1", b"2-1", [[b"c", b"2"]]]),
    ("XPENDING x g - + 10", [[b"1-1", b"c", approx(0, 2000), 1], [b"2-1", b"c", approx(0, 2000), 1]]),
    ("XPENDING x g IDLE 60000 - + 10", []),
    ("XPENDING x g - +", SYNTAX),
    ("XCLAIM x g d 0 1-1 TIME 1700000000000 RETRYCOUNT 7", [[b"1-1", [b"f", b"a"]]]),
    ("XCLAIM x g d 999999 2-1", []),
    ("XCLAIM x g d 0 3-1 FORCE JUSTID", [b"3-1"]),
    ("XCLAIM x g d 0 1-1 FOO", Error("Unrecognized XCLAIM option 'FOO'")),
    ("XCLAIM x g d a 1-1", Error("Invalid min-idle-time argument for XCLAIM")),
    ("XDEL x 2-1", 1),
    ("XREADGROUP GROUP g c STREAMS x 0", [[b"x", [[b"2-1", None]]]]),
    ("XAUTOCLAIM x g e 0 0 COUNT 2 JUSTID", [b"3-1", [b"1-1"], [b"2-1"]]),
    ("XAUTOCLAIM x g e 0 0 COUNT 0", Error("COUNT must be > 0")),
    ("XACK x g 3-1 9-9", 1),
    ("XACK x nog 1", 0),
    ("XGROUP CREATECONSUMER x g f", 1),
    ("XGROUP CREATECONSUMER x g f", 0),
    ("XGROUP DELCONSUMER x g f", 0),
    ("XGROUP DELCONSUMER x nog f", Error("NOGROUP No such consumer group 'nog' for key name 'x'")),
    ("XGROUP CREATE x h 0", OK),
    ("XGROUP SETID x h 3-1 ENTRIESREAD 3", OK),
    ("XGROUP CREATE x gone 0", OK),
    ("XGROUP DESTROY x gone", 1),
    ("XGROUP DESTROY x gone", 0),
]
GROUPS_READS = [
    ("XPENDING x g", [1, b"1-1", b"1-1", [[b"e", b"1"]]]),
    ("XPENDING x nog", Error("NOGROUP No such key 'x' or consumer group 'nog'")),
    ("XINFO GROUPS nokey", Error("no such key")),
]


def test_entries(tmp_path: Path) -> None:
    need("redis-server", available())
    check_transcript(ENTRIES, tmp_path, reads=ENTRIES_READS)


def test_groups(tmp_path: Path) -> None:
    need("redis-server", available())
    check_transcript(GROUPS, tmp_path, reads=GROUPS_READS)


# --- random commands on both sides ---------------------------------------------------------------------------


class Chance:
    """Draws commands that are often valid and sometimes odd."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.top = 0

    def id(self) -> str:
        if self.draw.random() < 0.85:
            return f"{self.draw.randint(0, 12)}-{self.draw.randint(0, 3)}"
        return self.draw.choice(["0", "7", "99-1", "007-1", " 3", "+4-1", "a", "-", "+", "", "5-", "-5", "5-1-1"])

    def new_id(self) -> str:
        self.top += self.draw.randint(0, 1)
        return self.draw.choice([f"{self.top}-*", f"{self.top}-*", f"{self.top}-3", str(self.top), self.id()])

    def border(self) -> str:
        return self.draw.choice(["-", "+", self.id(), self.id(), "(" + self.id()])

    def maybe(self, *words: str) -> list[str]:
        return list(words) if self.draw.random() < 0.3 else []

    def number(self, low: int, high: int) -> str:
        return str(self.draw.randint(low, high))

    def trim(self) -> list[str]:
        how, *rest = self.draw.choice([["~", *self.maybe("LIMIT", self.number(-1, 10))], ["="], [""]])
        strategy = self.draw.choice(["MAXLEN", "MINID"])
        threshold = self.id() if strategy == "MINID" else self.number(-1, 20)
        return [strategy, *filter(None, [how]), threshold, *rest]

    def fields(self) -> list[str]:
        names = ["a", "b", "n" * self.draw.randint(1, 300)]
        values = ["1", "-5", "12345", "99999999999", "0012", "70000", "9000000", "v" * self.draw.choice([63, 64, 200])]
        pairs = [(self.draw.choice(names), self.draw.choice(values)) for _ in range(self.draw.randint(1, 3))]
        return [word for pair in pairs for word in pair]

    def command(self) -> list[str]:
        choose = self.draw.choice
        key, group, consumer = choose("xy"), choose("gh"), choose("cde")
        ids = [self.id() for _ in range(self.draw.randint(1, 3))]
        add = ["XADD", key, *(self.trim() if self.draw.random() < 0.25 else []), self.new_id(), *self.fields()]
        claim = [*self.maybe("FORCE"), *self.maybe("JUSTID"), *self.maybe("RETRYCOUNT", self.number(-1, 5))]
        claim += [*self.maybe("IDLE", "50000"), *self.maybe("LASTID", self.id())]
        commands = [
            *[add] * 6,
            ["XTRIM", key, *self.trim()],
            ["XDEL", key, *ids],
            ["XRANGE", key, self.border(), self.border(), *self.maybe("COUNT", self.number(-1, 4))],
            ["XREVRANGE", key, self.border(), self.border(), *self.maybe("COUNT", self.number(-1, 4))],
            # `+` is an id of 7.4, which we have and the server here has not.
            ["XREAD", *self.maybe("COUNT", self.number(0, 4)), "STREAMS", "x", "y",
             self.id().replace("+", "0"), choose(["$", "0"])],
            *[["XREADGROUP", "GROUP", group, consumer, *self.maybe("COUNT", "2"), *self.maybe("NOACK"),
               "STREAMS", key, choose([">", ">", ">", self.id()])]] * 2,
            ["XREADGROUP", "GROUP", group, consumer, *self.maybe("NOACK"),
             "STREAMS", "x", "y", choose([">", "0"]), ">"],
            ["XACK", key, group, *ids],
            ["XPENDING", key, group],
            ["XCLAIM", key, group, consumer, choose(["0", "0", "100000"]), *ids, *claim],
            ["XAUTOCLAIM", key, group, consumer, choose(["0", "0", "20000"]), self.border(),
             *self.maybe("COUNT", self.number(0, 3)), *self.maybe("JUSTID")],
            ["XGROUP", "CREATE", key, group, choose(["$", "0"]), *self.maybe("MKSTREAM"),
             *self.maybe("ENTRIESREAD", self.number(-2, 9))],
            ["XGROUP", "SETID", key, group, choose(["$", "0", self.id()]), *self.maybe("ENTRIESREAD", "3")],
            ["XGROUP", choose(["CREATECONSUMER", "DELCONSUMER"]), key, group, consumer],
            ["XSETID", key, self.id(), *self.maybe("ENTRIESADDED", "40"), *self.maybe("MAXDELETEDID", self.id())],
            ["XINFO", "STREAM", key],
            ["XINFO", "GROUPS", key],
            ["XLEN", key],
        ]  # fmt: skip
        if self.draw.random() < 0.02:
            return choose([["DEL", key], ["XGROUP", "DESTROY", key, group]])
        return choose(commands)


def pel_of(reply: Any) -> list[list[Any]]:
    """Entries of XPENDING without the idle time."""
    return [[entry, owner, count] for entry, owner, _idle, count in reply]


@pytest.mark.parametrize("seed", range(4))
def test_random_commands(tmp_path: Path, seed: int) -> None:
    """Any sequence of commands gives the same replies, the same records and the same pending entries."""
    need("redis-server", available())
    chance = Chance(seed)
    settings = {
        "stream_node_max_entries": ["3", "5", "100", "0"][seed],
        "stream_node_max_bytes": ["300", "4096", "0", "700"][seed],
    }
    with (
        redis_server(tmp_path / "redis", appendfsync="no", **settings) as server,
        aofnb.open(tmp_path / "us", appendfsync="no", background=False, **settings) as store,
    ):
        for step in range(600):
            argv = chance.command()
            try:
                ours = store.execute(*argv)
            except aofnb.ReplyError as problem:
                ours = problem
            theirs = server.execute(*argv)
            if isinstance(theirs, Exception):
                assert str(ours).removeprefix("ERR ") == str(theirs).removeprefix("ERR "), f"step {step}: {argv}"
            else:
                assert plain(ours) == plain(theirs), f"step {step}: {argv}"
        for key in "xy":
            for group in "gh":
                argv = ["XPENDING", key, group, "-", "+", "1000"]
                theirs = server.execute(*argv)
                if not isinstance(theirs, Exception):
                    assert pel_of(store.execute(*argv)) == pel_of(theirs)
        theirs_log = server.incr
    ours_log = next((tmp_path / "us" / "appendonlydir").glob("*.incr.aof")).read_bytes()
    assert [*map(masked, records(ours_log))] == [*map(masked, records(theirs_log))]
