"""Who waits gets the server's reply, and the log holds the server's records.

Each case: commands before, commands that wait (each on a connection of its own, in order), commands that wake them.
"""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
from support.records import masked, records
from support.require import need
from support.server import Connection, available, redis_server
from support.transcripts import plain, split

import aofnb

pytestmark = pytest.mark.server

GROUP = "XADD x 1-1 a b ; XGROUP CREATE x g $"
READERS = "XREADGROUP GROUP g c BLOCK 0 STREAMS x > ; XREAD BLOCK 0 STREAMS x $"
CASES = [
    ("", "BLPOP l 0", "RPUSH l a b"),
    ("", "BRPOP l 0", "RPUSH l a b"),
    ("", "BLPOP x l 0", "LPUSH l a"),
    ("", "BRPOPLPUSH l m 0", "RPUSH l a"),
    ("", "BLMOVE l m LEFT RIGHT 0", "RPUSH l a"),
    ("", "BLMPOP 0 1 l LEFT COUNT 5", "RPUSH l a b c"),
    ("", "BLMPOP 0 2 k l RIGHT COUNT 2", "RPUSH l a b c"),
    ("", "BLPOP l 0 ; BLPOP l 0", "RPUSH l a b"),
    ("", "BLPOP l 0 ; BRPOP l 0 ; BLPOP l 0", "RPUSH l a ; RPUSH l b c d"),
    ("", "BLMOVE l m LEFT LEFT 0 ; BLPOP m 0", "RPUSH l a"),
    ("", "BLMOVE l l LEFT LEFT 0 ; BLPOP l 0", "RPUSH l 1"),
    ("", "BLPOP l 0", "MULTI ; RPUSH l a b ; SET x 1 ; EXEC"),
    ("", "BLPOP a b 0", "MULTI ; RPUSH b 1 ; RPUSH a 2 ; EXEC"),
    ("", "BLPOP l 0", "MULTI ; RPUSH l 1 ; DEL l ; EXEC"),
    ("", "BLPOP k k 0 ; BLPOP k 0", "RPUSH k a b c"),
    ("SET d 1", "BLMOVE l d LEFT LEFT 0 ; BLPOP l 0", "RPUSH l 1 2"),
    ("RPUSH s 1 2", "BLPOP l 0", "RENAME s l"),
    ("RPUSH s 1 2", "BLPOP l 0", "COPY s l"),
    ("RPUSH s 2 1", "BLPOP l 0", "SORT s STORE l"),
    ("SELECT 1 ; RPUSH k v ; SELECT 0", "BLPOP k 0", "SWAPDB 0 1"),
    ("SELECT 1 ; RPUSH k v", "BLPOP k 0", "MOVE k 0"),
    ("", "BLPOP l 0", "SET l a ; DEL l ; ZADD l 1 a ; DEL l ; RPUSH l z"),
    ("", "BZPOPMIN z 0", "ZADD z 1 a 2 b"),
    ("", "BZPOPMAX z 0 ; BZPOPMIN z 0", "ZADD z 1 a 2 b 3 c"),
    ("", "BZMPOP 0 1 z MIN", "ZADD z 1 a 2 b"),
    ("", "BZMPOP 0 1 z MAX COUNT 5", "ZADD z 1 a 2 b"),
    ("ZADD s 1 a", "BZPOPMIN z 0", "ZUNIONSTORE z 1 s"),
    ("GEOADD s 13 38 a", "BZPOPMIN z 0", "GEOSEARCHSTORE z s FROMMEMBER a BYRADIUS 1 km"),
    ("", "BZPOPMIN k 0 ; BLPOP k 0 ; BLMPOP 0 1 k LEFT COUNT 2", "RPUSH k a b c ; DEL k ; ZADD k 1 a 2 b"),
    (GROUP, READERS, "XADD x 9-1 f v"),
    (GROUP, READERS, "MULTI ; XADD x 9-1 f v ; XADD x 9-2 f v ; EXEC"),
    (GROUP, "XREADGROUP GROUP g c NOACK BLOCK 0 STREAMS x > ; " + READERS, "XADD x 9-1 f v"),
    (GROUP, "XREADGROUP GROUP g c COUNT 1 BLOCK 0 STREAMS x >", "MULTI ; XADD x 9-1 f v ; XADD x 9-2 f v ; EXEC"),
    (GROUP, READERS, "DEL x ; XADD x 1-2 a b"),
    (GROUP, READERS, "SET x 1"),
    (GROUP, READERS, "XGROUP DESTROY x g"),
    (GROUP, READERS, "FLUSHALL"),
    (GROUP, READERS, "FLUSHDB"),
    (GROUP, READERS, "RENAME x y"),
    (GROUP, READERS, "SWAPDB 0 5"),
    (GROUP, READERS, "MOVE x 5"),
    (GROUP, READERS, "XGROUP SETID x g 0"),
    (GROUP, READERS, "XTRIM x MAXLEN 0 ; XSETID x 5-5"),
    (GROUP, READERS, "XSETID x 5-5 ; XDEL x 1-1 ; XADD x 6-1 f v"),
    (GROUP, READERS, "PEXPIREAT x 1"),
    ("", "XREAD COUNT 1 BLOCK 0 STREAMS x y $ $", "MULTI ; XADD y 1-1 a b ; XADD x 1-1 a b ; XADD x 1-2 a b ; EXEC"),
    ("", "XREAD BLOCK 0 STREAMS x x 5 0", "XADD x 3-1 a b ; XADD x 6-1 a b"),
    (
        "",
        "BLPOP l 0.01 ; BLMOVE l m LEFT LEFT 0.01 ; BZPOPMIN z 0.01 ; XREAD BLOCK 10 STREAMS x $ ; WAIT 1 10",
        "(time)",
    ),
]
STILL = "still waiting"


def nothing_more(connection: Connection, patience_s: float = 0.1) -> Any:
    """The reply, if there is one within a moment."""
    connection._socket.settimeout(patience_s)
    try:
        return connection._reply()
    except TimeoutError:
        return STILL


def on_the_server(server: Any, before: str, waiting: str, waking: str) -> tuple[list[Any], list[list[bytes]]]:
    admin = server.connect()
    for line in ("FLUSHALL", "SELECT 0", *filter(None, before.split(" ; ")), "SELECT 0"):
        admin.execute(*split(line))
    if "MOVE k 0" in waking:
        admin.execute("SELECT", "1")
    size = len(server.incr)
    connections = []
    for line in waiting.split(" ; "):
        connection = server.connect()
        connections.append(connection)
        argv = split(line)
        connection._socket.sendall(b"*%d\r\n" % len(argv) + b"".join(b"$%d\r\n%b\r\n" % (len(a), a) for a in argv))
        ident = admin.execute("CLIENT", "LIST").splitlines()[-1]
        if waking != "(time)":
            while b"flags=b" not in ident:  # the server has no fake clock
                time.sleep(0.001)
                ident = admin.execute("CLIENT", "LIST").splitlines()[-1]
    replies = [] if waking == "(time)" else [admin.execute(*split(line)) for line in waking.split(" ; ")]
    admin.execute("SELECT", "0")
    admin.execute("SET", "end", "1")
    # The server looks ten times a second whose time is over; a busy machine is later still.
    patience_s = 10.0 if waking == "(time)" else 0.1
    outcomes = [nothing_more(connection, patience_s) for connection in connections]
    for connection in connections:
        connection.close()
    log = records(server.incr[size:])
    admin.close()
    return [plain(reply) for reply in outcomes + replies], [masked(argv) for argv in log]


def on_us(store: aofnb.Store, before: str, waiting: str, waking: str) -> tuple[list[Any], list[list[bytes]]]:
    engine = store.engine
    for line in ("FLUSHALL", "SELECT 0", *filter(None, before.split(" ; ")), "SELECT 0"):
        store.execute(*split(line))
    if "MOVE k 0" in waking:
        store.execute("SELECT", "1")
    [incr] = (aofnb_directory(store)).glob("*.incr.aof")
    size = incr.stat().st_size
    outcomes: list[list[Any]] = []
    for line in waiting.split(" ; "):
        outcome: list[Any] = []
        outcomes.append(outcome)
        engine.submit(engine.new_client(), split(line), outcome.append)
    replies = []
    if waking == "(time)":
        engine.clock.advance(1)
        engine.time_out()
    else:
        replies = [answer(store, line) for line in waking.split(" ; ")]
    store.execute("SELECT", "0")
    store.execute("SET", "end", "1")
    for waiter in list(engine.waiting.waiters):
        engine.disconnect(waiter.client)
    log = records(incr.read_bytes()[size:])
    found = [outcome[0] if outcome else STILL for outcome in outcomes]
    return [plain(reply) for reply in found + replies], [masked(argv) for argv in log]


def answer(store: aofnb.Store, line: str) -> Any:
    try:
        return store.execute(*split(line))
    except aofnb.ReplyError as problem:
        return problem


def aofnb_directory(store: aofnb.Store) -> Any:
    from pathlib import Path

    assert store.path is not None
    return Path(store.path) / "appendonlydir"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    need("redis-server", available())
    with redis_server(tmp_path_factory.mktemp("server"), appendfsync="no") as running:
        yield running


@pytest.mark.parametrize("case", CASES, ids=lambda case: " <- ".join(case[1:]))
def test_replies_and_records_are_the_servers(case, server, tmp_path):
    clock = aofnb.clock.FakeClock(int(time.time() * 1000))
    with aofnb.open(tmp_path / "us", appendfsync="no", background=False, clock=clock) as store:
        ours = on_us(store, *case)
    assert ours == on_the_server(server, *case)


WAITING = """
BLPOP {k} {k} 0
BRPOP {k} 0
BLMOVE {k} {k} {side} {side} 0
BRPOPLPUSH {k} {k} 0
BLMPOP 0 2 {k} {k} {side} COUNT {n}
BZPOPMIN {k} {k} 0
BZPOPMAX {k} 0
BZMPOP 0 2 {k} {k} MIN COUNT {n}
XREAD BLOCK 0 STREAMS x $
XREAD COUNT 1 BLOCK 0 STREAMS {k} x $ $
XREADGROUP GROUP g c BLOCK 0 STREAMS x >
XREADGROUP GROUP g d NOACK COUNT 1 BLOCK 0 STREAMS x >
""".strip().splitlines()
# What overwrites a key has its place empty: in that, which alone makes nobody look at it there, we differ on purpose.
WAKING = """
RPUSH {k} {n} {n} {n}
LPUSH {k} {n}
ZADD {k} 1 m{n} 2 n
XADD x * f v
DEL {k}
DEL x
RENAME {k} {k}
COPY {k} {k} REPLACE
SWAPDB 0 1
SET {k} v
SET x v
XGROUP DESTROY x g
XGROUP CREATE x g $ MKSTREAM
DEL {k} ; RPUSH o 3 1 2 ; SORT o STORE {k}
RPUSH o 1 2 ; LMOVE o {k} LEFT LEFT
DEL c ; ZADD oz 1 a 2 b ; ZUNIONSTORE c 1 oz
PEXPIREAT {k} 1
FLUSHDB
EVAL "redis.call('rpush', KEYS[1], 1, 2) redis.call('rpush', KEYS[2], 3)" 2 {k} {k}
EVAL "redis.call('rpush', KEYS[1], 1) redis.call('del', KEYS[1])" 1 {k}
MOVE {k} 1
MULTI ; RPUSH {k} 1 2 ; ZADD {k} 1 a ; DEL {k} ; EXEC
MULTI ; RPUSH {k} 1 ; RPUSH {k} 2 3 ; XADD x * f v ; EXEC
LPOP {k}
XDEL x 9-9
XTRIM x MAXLEN 0
""".strip().splitlines()


def some(chance: random.Random, lines: list[str], count: int) -> str:
    """So many of `lines`, filled."""
    filled = [chance.choice(lines) for _ in range(count)]
    for word, choices in (("{k}", "abc"), ("{n}", "123"), ("{side}", ("LEFT", "RIGHT"))):
        for at, line in enumerate(filled):
            while word in line:
                line = line.replace(word, chance.choice(choices), 1)
            filled[at] = line
    return " ; ".join(filled)


@pytest.mark.parametrize("seed", range(12))
def test_crowds_are_served_as_by_the_server(seed, server, tmp_path):
    """Several clients of every kind at the same keys, and whatever may wake them."""
    chance = random.Random(seed)
    waking = some(chance, WAKING, 7)
    # Of the clock's milliseconds each has its own.
    for number in range(waking.count("XADD x *")):
        waking = waking.replace("XADD x *", f"XADD x {number + 9}-1", 1)
    case = (GROUP, some(chance, WAITING, 5), waking)
    test_replies_and_records_are_the_servers(case, server, tmp_path)
