"""A base made in each way and each form: redis-server loads it and finds what we have, and so do we."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.keyspaces import content
from support.require import need
from support.server import available, redis_server

import aofnb
from aofnb.aof import snapshot

pytestmark = pytest.mark.server

LIBRARY = "#!lua name=lib\nredis.register_function('f', function(keys, args) return args[1] end)"
DATA: list[tuple[Any, ...]] = [
    ("SET", "s", "hello"), ("SET", "empty", ""), ("SET", "n", "-12"), ("INCR", "counter"), ("APPEND", "counter", "0"),
    ("SETRANGE", "raw", 5, "x"), ("PFADD", "hll", *range(2000)), ("SET", "ttl", "v", "PXAT", 4102444800000),
    ("SET", "long", "x" * 100_000),
    ("RPUSH", "l", "a", 1, -5, "12345678901234567890"), ("RPUSH", "big list", *range(3000)), ("RPUSH", "l2", "y" * 999),
    ("SADD", "ints", 3, 1, 2), ("SADD", "mixed", 1, "b"), ("SADD", "many", *range(600)),
    ("HSET", "h", "f", "v", 1, 2), ("HSET", "big hash", *(f"{i}" for i in range(1200))), ("HSET", "h2", "f", "x" * 100),
    ("ZADD", "z", 1, "a", 1.5, "b", "-inf", "c", "inf", "d", 0.1, "e", 1e300, "f", 3e-320, "g", "-0.0", "h"),
    ("ZADD", "big zset", "-0.0", "zero", *(part for i in range(200) for part in (i / 7, f"m{i}"))),
    ("GEOADD", "geo", 13.361389, 38.115556, "Palermo"),
    *(("XADD", "x", f"{i}-{i % 3}", "f", i, "g" if i % 5 else "other", "v" * (i % 200)) for i in range(1, 300)),
    ("XDEL", "x", "5-2", "100-1", "299-2"), ("XGROUP", "CREATE", "x", "g", 0), ("XGROUP", "CREATE", "x", "late", "$"),
    ("XREADGROUP", "GROUP", "g", "alice", "COUNT", 20, "STREAMS", "x", ">"),
    ("XREADGROUP", "GROUP", "g", "bob", "COUNT", 7, "STREAMS", "x", ">"), ("XACK", "x", "g", "1-1", "3-0"),
    ("XGROUP", "CREATECONSUMER", "x", "g", "idle"), ("XCLAIM", "x", "g", "bob", 0, "4-1"),
    ("XADD", "gone", "MAXLEN", 0, "9-9", "a", "b"), ("EXPIREAT", "x", 4102444800), ("EXPIREAT", "z", 4102444800),
    ("SELECT", 1), ("SET", "s", "other"), ("SELECT", 15), ("SADD", "a", "b"), ("SELECT", 0),
    ("FUNCTION", "LOAD", LIBRARY),
]  # fmt: skip


def numerous(seed: int) -> list[tuple[Any, ...]]:
    """Many small keys of all types, a third of them with a deadline, some given late and out of order."""
    rng = random.Random(seed)
    commands: list[tuple[Any, ...]] = []
    for i in range(600):
        member = rng.choice(
            [f"m{rng.randrange(99)}", rng.randrange(-(2**40), 2**40), "\r\n*1", "x" * rng.randrange(90)]
        )
        commands.append(
            rng.choice(
                [
                    ("SET", f"k{i}", member),
                    ("RPUSH", f"k{i}", member, i),
                    ("SADD", f"k{i}", member),
                    ("HSET", f"k{i}", member, i),
                    ("ZADD", f"k{i}", rng.uniform(-1e9, 1e9), member),
                    ("XADD", f"k{i}", f"{i + 1}-0", member, i),
                ]
            )
        )
    late = [("PEXPIREAT", f"k{rng.randrange(600)}", 4_102_444_800_000 + i) for i in range(200)]
    return [*commands, *late]


# A forked child writes snapshots only.
@pytest.mark.parametrize(
    ("way", "form"),
    [("in place", "rdb"), ("in place", "aof"), ("fork", "rdb"), ("process", "rdb"), ("process", "aof")],
)
def test_redis_server_finds_in_a_rewritten_base_what_we_have(way: str, form: str, tmp_path: Path) -> None:
    need("redis-server", available())
    if way == "fork":
        need("the compiled snapshot kernel", snapshot.available())
    settings = {"aof_use_rdb_preamble": form == "rdb", "auto_aof_rewrite_percentage": 0}
    with aofnb.open(tmp_path / "ours", **settings) as store:
        rewriter = store._rewriter
        assert rewriter is not None
        rewriter.in_place_keys, rewriter.may_fork = 10**9 if way == "in place" else -1, way == "fork"
        for argv in [*DATA, *numerous(1)]:
            store.execute(*argv)
        store.bgrewriteaof()
        watcher = rewriter._watcher
        if watcher is not None:
            watcher.join(60)
        stats = store.stats()
        assert stats.last_rewrite_ok, stats.last_rewrite_error
        assert rewriter._way == way
        sizes = {kind: (name, size) for name, kind, size in stats.files}
        assert sizes["base"][0] == f"appendonly.aof.2.base.{form}"
        assert sizes["incr"] == ("appendonly.aof.2.incr.aof", 0)
        digest, ours = store.execute("DEBUG", "DIGEST"), content(store)
    shutil.copytree(tmp_path / "ours", tmp_path / "theirs")
    with redis_server(tmp_path / "theirs") as server:
        assert server.execute("DEBUG", "DIGEST") == digest
        theirs = content(server)
        [library] = server.execute("FUNCTION", "LIST", "WITHCODE")
    assert LIBRARY.encode() in library
    assert {db: set(keys) for db, keys in theirs.items()} == {db: set(keys) for db, keys in ours.items()}
    with aofnb.open(tmp_path / "ours", readonly=True) as store:
        assert store.load_report is not None
        assert store.load_report.failed == ()
        assert store.execute("DEBUG", "DIGEST") == digest
        assert content(store) == theirs
