"""HyperLogLogs are the same bytes as on redis-server, whatever was done to them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from support.require import need
from support.server import available, redis_server
from support.transcripts import OK, Error, check_transcript, plain

import aofnb

pytestmark = pytest.mark.server

CORRUPTED = Error("INVALIDOBJ Corrupted HLL object detected")
INVALID = Error("WRONGTYPE Key is not a valid HyperLogLog string value.")

ROWS = [
    ("PFADD p a b c", 1),
    ("PFADD p a b", 0),
    ("PFADD empty", 1),
    ("PFADD empty", 0),
    ("PFCOUNT p", 3),
    ("PFCOUNT p empty nokey", 3),
    ("PFCOUNT nokey", 0),
    ("PFADD q c d", 1),
    ("PFMERGE m p q", OK),
    ("PFMERGE new", OK),
    ("SET s text", OK),
    ("PFADD s a", INVALID),
    ("PFCOUNT p s", INVALID),
    ("PFMERGE p s", INVALID),
    ("RPUSH l a", 1),
    ("PFADD l a", Error("WRONGTYPE Operation against a key")),
    ("PFDEBUG ENCODING p", b"sparse"),
    ("PFDEBUG DECODE empty", b"Z:16384"),
    ("PFDEBUG DECODE p", b"Z:8436 v:1,1 Z:4274 v:2,1 Z:3068 v:1,1 Z:603"),
    ("PFDEBUG FOO p", Error("Unknown PFDEBUG subcommand 'FOO'")),
    ("PFDEBUG ENCODING nokey", Error("The specified key does not exist")),
    ("PFDEBUG TODENSE p", 1),
    ("PFDEBUG TODENSE p", 0),
    ("PFDEBUG DECODE p", Error("HLL encoding is not sparse")),
    (("SET", "broken", b"HYLL\x01" + bytes(10) + b"\x80\x80\x01\x80"), OK),
    ("PFCOUNT broken", CORRUPTED),
    ("PFMERGE m broken", CORRUPTED),
    ("PFADD long a b", 1),
    # A run of values, and one of zeros, beyond the last register.
    (("APPEND", "long", b"\xc3"), 25),
    ("PFCOUNT long", CORRUPTED),
    ("PFCOUNT long nokey", CORRUPTED),
    ("PFCOUNT long l", CORRUPTED),
    ("PFCOUNT l long", Error("WRONGTYPE Operation against a key")),
    ("PFMERGE long", CORRUPTED),
    ("PFDEBUG GETREG long", CORRUPTED),
    ("PFDEBUG TODENSE long", CORRUPTED),
    (("SETRANGE", "long", 24, b"\x00"), 25),
    ("PFCOUNT long", CORRUPTED),
    ("PFDEBUG TODENSE long", CORRUPTED),
]
READS = [("STRLEN p", 12304), ("STRLEN m", 30), ("PFCOUNT m", 4), ("STRLEN new", 18)]


def test_replies(tmp_path: Path) -> None:
    need("redis-server", available())
    check_transcript(ROWS, tmp_path, reads=READS)


@pytest.mark.parametrize("sparse_max_bytes", ["3000", "100", "0"])
def test_bytes(tmp_path: Path, sparse_max_bytes: str) -> None:
    """After each of many random commands every key holds the bytes that the server's holds."""
    need("redis-server", available())
    chance = random.Random(sparse_max_bytes)
    keys = ["p", "q", "r"]
    settings = {"appendfsync": "no", "hll_sparse_max_bytes": sparse_max_bytes}
    with (
        redis_server(tmp_path / "redis", **settings) as server,
        aofnb.open(tmp_path / "us", background=False, **settings) as store,
    ):
        for _ in range(200):
            elements = [chance.randbytes(chance.randint(0, 20)) for _ in range(chance.choice([0, 1, 2, 10, 100, 300]))]
            argv = chance.choices(
                [
                    ["PFADD", chance.choice(keys), *elements],
                    ["PFCOUNT", *chance.sample(keys, chance.randint(1, 2))],
                    ["PFMERGE", *chance.sample(keys, chance.randint(1, 3))],
                    ["PFADD", "d", *elements],
                    ["DEL", chance.choice(keys)],
                ],
                [10, 4, 2, 2, 1],
            )[0]
            assert plain(store.execute(*argv)) == plain(server.execute(*argv)), argv[:3]
            for key in [*keys, "d"]:
                assert store.execute("GET", key) == server.execute("GET", key), argv[:3]
