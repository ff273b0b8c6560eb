"""Random commands on strings, bits, keys and deadlines give redis-server's replies, records and data."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest
from support.records import records
from support.require import need
from support.server import available, redis_server
from support.transcripts import plain

import aofnb

pytestmark = pytest.mark.server

# Each {name} becomes a random one of its words; words in [brackets] are there or not.
COMMANDS = """
SET {k} {v} [{exists}] [GET] [{ttl}] [{exists}]
set {k} {v} [get] [keepttl]
GET {k}
GETSET {k} {v}
GETDEL {k}
GETEX {k} [{ttl}] [PERSIST]
GETRANGE {k} {n} {n}
SETRANGE {k} {n} {v}
APPEND {k} {v}
STRLEN {k}
MGET {k} {k} {k}
MSET {k} {v} {k} {v} [{k}]
MSETNX {k} {v} {k} {v}
SETNX {k} {v}
INCR {k}
DECRBY {k} {n}
INCRBYFLOAT {k} {v}
LCS {k} {k} [LEN] [IDX] [WITHMATCHLEN]
SETBIT {k} {n} {bit}
GETBIT {k} {n}
BITCOUNT {k} [{n}] [{n}] [{unit}]
BITPOS {k} {bit} [{n}] [{n}] [{unit}]
BITOP {operation} {k} {k} [{k}]
BITFIELD {k} SET {width} {n} {n} [GET] [{width}] [{n}]
BITFIELD {k} OVERFLOW {overflow} INCRBY {width} #1 {n}
DEL {k} {k}
UNLINK {k}
EXISTS {k} {k}
RENAME {k} {k}
RENAMENX {k} {k}
COPY {k} {k} [REPLACE] [DB] [{db}]
MOVE {k} {db}
SELECT {db}
SWAPDB {db} {db}
EXPIREAT {k} {seconds} [{condition}] [{condition}]
PEXPIREAT {k} {seconds}123 [{condition}]
pexpireat {k} -1
PEXPIRETIME {k}
PERSIST {k}
SORT {l} [DESC] [ALPHA] [{sort}] [LIMIT] [{n}] [{n}] [STORE] [{k}]
RPUSH {l} {n} {n}
WATCH {k}
MULTI
EXEC
EXEC
DISCARD
""".strip().splitlines()

WORDS = {
    "k": "a b c d l",
    "l": "l l a",
    "v": "0 1 -1 10 9223372036854775807 007 1.5 3.0e3 abc hello xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx ''",
    "n": "0 1 2 3 7 13 64 -1 -3 -100 x",
    "exists": "NX XX",
    "ttl": "PXAT|1900000000001 EXAT|1900000001 PXAT EX|0 KEEPTTL",
    "bit": "0 1 1 2",
    "unit": "BIT BYTE byte",
    "operation": "AND OR XOR NOT",
    "width": "u8 i8 u1 i64 u63 i5 u64",
    "overflow": "WRAP SAT wrap",
    "db": "0 0 1 2 99",
    "seconds": "1900000000 1900000001 1 x",
    "condition": "NX XX GT LT",
    "sort": "BY|w_* BY|nosort GET|# GET|w_*",
}


def random_command(rng: random.Random) -> list[bytes]:
    argv: list[bytes] = []
    for part in rng.choice(COMMANDS).split():
        if part.startswith("["):
            if rng.random() < 0.6:
                continue
            part = part[1:-1]
        filled = re.sub(r"\{(\w+)\}", lambda found: rng.choice(WORDS[found[1]].split()), part)
        argv += [b"" if word == "''" else word.encode() for word in filled.split("|")]
    return argv


def reply_of(side: Any, argv: list[bytes]) -> Any:
    try:
        return plain(side.execute(*argv))
    except aofnb.ReplyError as problem:
        return plain(problem)


@pytest.mark.parametrize("seed", range(3))
def test_replies_records_and_data_are_the_servers(seed: int, tmp_path: Path) -> None:
    need("redis-server", available())
    rng = random.Random(seed)
    commands = [[b"MSET", b"w_1", b"3", b"w_2", b"2", b"w_0", b"1"], *(random_command(rng) for _ in range(1500))]
    ours, theirs = tmp_path / "us", tmp_path / "redis"
    with (
        aofnb.open(ours, appendfsync="no", background=False) as store,
        redis_server(theirs, appendfsync="no") as server,
    ):
        for i, argv in enumerate(commands):
            assert reply_of(store, argv) == reply_of(server, argv), commands[: i + 1][-20:]
        reply_of(server, [b"DISCARD"])
        digest = server.execute("DEBUG", "DIGEST")
        their_records = records(server.incr)
    assert records((ours / "appendonlydir" / "appendonly.aof.1.incr.aof").read_bytes()) == their_records
    assert len(their_records) > 300
    with redis_server(ours, appendfsync="no") as server:
        assert server.execute("DEBUG", "DIGEST") == digest
