"""Either side opens the other's directory: after a random life with all types, databases, deadlines, transactions and
a rewrite, redis-server finds in our files what we had, and we find in its files what it had.
"""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.keyspaces import content
from support.require import need
from support.server import RedisServer, available, redis_server

import aofnb

pytestmark = pytest.mark.server

COMMANDS = 1200
YEAR_2040_MS = 2_208_988_800_000
FAR_S = 500_000_000  # a deadline given as a duration, beyond any test

VALUES = [b"", b"0", b"-7", b"3.5", b"text", b"\r\n*1\r\n", bytes(range(256)), b"x" * 70, b"9223372036854775806"]
FIELDS = [b"f%d" % number for number in range(150)]

Argv = tuple[Any, ...]


class Life:
    """Draws the commands of a life; most hit keys of their own type, some the wrong one."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.last_id = 0

    def commands(self, count: int) -> Iterator[Argv]:
        """Commands, transactions among them, in several databases."""
        kinds = [self.string, self.list, self.set, self.hash, self.zset, self.stream, self.other, self.deadline]
        for _ in range(count):
            chance = self.rng.random()
            if chance < 0.04:
                yield "SELECT", self.rng.choice([0, 0, 0, 1, 9, 15])
            elif chance < 0.1:
                yield ("MULTI",)
                for _ in range(self.rng.randrange(5)):
                    yield self.rng.choice(kinds)()
                yield self.rng.choice([("EXEC",), ("EXEC",), ("EXEC",), ("DISCARD",)])
            else:
                yield self.rng.choice(kinds)()

    def key(self, kind: str) -> str:
        if self.rng.random() < 0.02:
            kind = self.rng.choice("slthzx")
        return f"{kind}:{self.rng.randrange(6)}"

    def value(self) -> bytes:
        return self.rng.choice(VALUES)

    def fields(self) -> list[bytes]:
        """A few, or at times enough to make a large value of it."""
        return self.rng.sample(FIELDS, 140 if self.rng.random() < 0.03 else self.rng.randrange(1, 4))

    def string(self) -> Argv:
        key, number = self.key("s"), self.rng.randrange(-5, 99)
        return self.rng.choice(
            [
                ("SET", key, self.value()),
                ("SET", key, self.value(), "EX", FAR_S),
                ("SET", key, number, self.rng.choice(["NX", "XX", "KEEPTTL", "GET"])),
                ("APPEND", key, self.value()),
                ("SETRANGE", key, abs(number), self.value()),
                ("SETBIT", key, abs(number), 1),
                ("INCRBY", key, number),
                ("INCRBYFLOAT", key, "0.1"),
                ("GETEX", key, "PX", FAR_S * 1000),
                ("MSET", key, self.value(), self.key("s"), number),
                ("BITOP", "XOR", key, self.key("s"), self.key("s")),
            ]
        )

    def list(self) -> Argv:
        key = self.key("l")
        return self.rng.choice(
            [
                (self.rng.choice(["RPUSH", "LPUSH"]), key, *self.fields()),
                ("LINSERT", key, "BEFORE", b"f1", self.value()),
                ("LSET", key, 0, self.value()),
                ("LREM", key, 1, self.rng.choice(FIELDS)),
                ("LMOVE", key, self.key("l"), "LEFT", "RIGHT"),
                ("LPOP", key, 2),
                ("LTRIM", key, 0, 199),
            ]
        )

    def set(self) -> Argv:
        key = self.key("t")
        return self.rng.choice(
            [
                ("SADD", key, *self.fields()),
                ("SADD", key, *self.rng.sample(range(1000), 3)),
                ("SREM", key, *self.fields()),
                ("SPOP", key),
                ("SPOP", key, 2),
                ("SMOVE", key, self.key("t"), self.rng.choice(FIELDS)),
                ("SUNIONSTORE", key, self.key("t"), self.key("t")),
            ]
        )

    def hash(self) -> Argv:
        key = self.key("h")
        return self.rng.choice(
            [
                ("HSET", key, *(word for field in self.fields() for word in (field, self.value()))),
                ("HDEL", key, *self.fields()),
                ("HINCRBY", key, "n", self.rng.randrange(-5, 99)),
                ("HINCRBYFLOAT", key, "x", "0.25"),
            ]
        )

    def zset(self) -> Argv:
        key = self.key("z")
        scores = ["-inf", "inf", "0", "-1.5", "1e300", "0.1", "3"]
        return self.rng.choice(
            [
                ("ZADD", key, *(word for field in self.fields() for word in (self.rng.choice(scores), field))),
                ("ZADD", key, "GT", "CH", 5, self.rng.choice(FIELDS)),
                ("ZINCRBY", key, "0.3", self.rng.choice(FIELDS)),
                ("ZREM", key, *self.fields()),
                ("ZPOPMIN", key),
                ("ZUNIONSTORE", key, 2, self.key("z"), self.key("z"), "AGGREGATE", "MIN"),
                ("ZREMRANGEBYRANK", key, 100, -1),
                ("GEOADD", f"geo:{key}", "13.36", "38.11", "Palermo", "15.08", "37.5", "Catania"),
            ]
        )

    def stream(self) -> Argv:
        key = self.key("x")
        self.last_id += self.rng.randrange(1, 3)
        return self.rng.choice(
            [
                ("XADD", key, "*", "f", self.value()),
                ("XADD", key, f"{YEAR_2040_MS + self.last_id}-1", "f", self.value(), "g", "2"),
                ("XADD", key, "MAXLEN", "~", 50, "*", "f", "v"),
                ("XGROUP", "CREATE", key, self.rng.choice("ab"), "0", "MKSTREAM"),
                ("XREADGROUP", "GROUP", "a", self.rng.choice(["ada", "bob"]), "COUNT", 2, "STREAMS", key, ">"),
                ("XREADGROUP", "GROUP", "b", "cy", "NOACK", "STREAMS", key, ">"),
                ("XAUTOCLAIM", key, "a", "bob", 0, "0", "COUNT", 1),
                ("XGROUP", "DELCONSUMER", key, "a", "ada"),
                ("XTRIM", key, "MAXLEN", 20),
                ("XSETID", key, f"{YEAR_2040_MS * 2}-0"),
            ]
        )

    def other(self) -> Argv:
        kind = self.rng.choice("slthzx")
        return self.rng.choice(
            [
                ("PFADD", f"pf:{self.rng.randrange(3)}", *self.fields()),
                ("PFMERGE", "pf:0", "pf:1", "pf:2"),
                ("RENAME", self.key(kind), self.key(kind)),
                ("COPY", self.key(kind), self.key(kind), "DB", self.rng.choice([0, 1, 9]), "REPLACE"),
                ("MOVE", self.key(kind), 1),
                ("DEL", self.key(kind)),
                ("UNLINK", self.key(kind), self.key(kind)),
                ("SORT", self.key("t"), "ALPHA", "STORE", self.key("l")),
                ("SWAPDB", 0, 9),
            ]
        )

    def deadline(self) -> Argv:
        key = self.key(self.rng.choice("slthzx"))
        return self.rng.choice(
            [
                ("EXPIRE", key, FAR_S),
                ("PEXPIREAT", key, YEAR_2040_MS + self.rng.randrange(1000)),
                ("EXPIREAT", key, YEAR_2040_MS // 1000, self.rng.choice(["NX", "XX", "GT", "LT"])),
                ("PERSIST", key),
                ("PEXPIREAT", key, 1),
            ]
        )


def live(execute: Callable[..., Any], commands: Iterator[Argv]) -> int:
    """Run `commands`, whose errors are part of life; how many were not errors."""
    fine = 0
    for argv in commands:
        try:
            reply = execute(*argv)
        except aofnb.ReplyError as problem:
            reply = problem
        fine += not isinstance(reply, aofnb.ReplyError)
    return fine


def values(found: Any) -> Any:
    """`found` without what a reload may change, of a server's as of ours: a value that has shrunk is packed again,
    and how many entries a group has read is not always in the log.
    """
    if isinstance(found, dict):
        return {name: values(fact) for name, fact in found.items() if name not in ("encoding", "entries-read")}
    if isinstance(found, list):
        return [values(item) for item in found]
    return found


def check_aof(directory: Path) -> None:
    """redis-check-aof accepts the manifest and each file, and says so for each."""
    folder = directory / "appendonlydir"
    manifest = folder / "appendonly.aof.manifest"
    done = subprocess.run(["redis-check-aof", str(manifest)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All AOF files and manifest are valid" in done.stdout
    files = [line.split()[1] for line in manifest.read_text().splitlines()]
    assert sorted(files) == sorted(path.name for path in folder.iterdir() if path.suffix in (".aof", ".rdb"))
    for name in files:
        if name.endswith(".rdb"):
            assert "RDB preamble is OK" in done.stdout
        elif (folder / name).stat().st_size:
            assert f"filename={name}" in done.stdout


def all_types(found: dict[int, dict[bytes, dict[str, Any]]]) -> set[str]:
    return {entry["type"] for keys in found.values() for entry in keys.values()}


def wait_for(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline, "the rewrite does not end"
        time.sleep(0.01)  # waiting for another process, which has no fake clock


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("in_place_keys", [0, 1_000_000], ids=["rewritten by a child", "rewritten in place"])
@pytest.mark.parametrize("rdb", [True, False], ids=["snapshot", "commands"])
def test_redis_server_loads_what_we_wrote(rdb: bool, in_place_keys: int, seed: int, tmp_path: Path) -> None:
    need("redis-server", available())
    need("redis-check-aof", available("redis-check-aof"))
    life = Life(seed)
    settings = {"appendfsync": "no", "auto_aof_rewrite_percentage": 0, "aof_use_rdb_preamble": rdb}
    with aofnb.open(tmp_path, **settings) as store:
        assert store._rewriter is not None
        store._rewriter.in_place_keys = in_place_keys
        live(store.execute, life.commands(COMMANDS))
        store.bgrewriteaof()
        # While a child writes the base, these go to the new incr file.
        live(store.execute, life.commands(COMMANDS // 3))
        wait_for(lambda: store.stats().rewrite.phase == "idle")
        assert store.stats().rewrites == 1
        assert store.stats().last_rewrite_ok
        live(store.execute, life.commands(COMMANDS // 3))
        ours = content(store)
    assert all_types(ours) == {"string", "list", "set", "hash", "zset", "stream"}
    assert len(ours) > 2
    check_aof(tmp_path)
    with aofnb.open(tmp_path, readonly=True) as store:
        reloaded = content(store)
    with redis_server(tmp_path, appendfsync="no") as server:
        theirs = content(server)
    assert values(theirs) == values(ours)
    assert theirs == reloaded


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("form", ["rdb", "aof"])
def test_we_load_what_redis_server_wrote(form: str, seed: int, tmp_path: Path) -> None:
    need("redis-server", available())
    preamble = "yes" if form == "rdb" else "no"
    settings = {"appendfsync": "no", "aof_use_rdb_preamble": preamble, "auto_aof_rewrite_percentage": "0"}
    life = Life(seed + 100)
    with redis_server(tmp_path, **settings) as server:
        live(server.execute, life.commands(COMMANDS))
        assert not isinstance(server.execute("BGREWRITEAOF"), aofnb.ReplyError)
        live(server.execute, life.commands(COMMANDS // 3))
        wait_for(lambda: not rewriting(server))
        live(server.execute, life.commands(COMMANDS // 3))
        theirs = content(server)
    assert (tmp_path / "appendonlydir" / f"appendonly.aof.2.base.{form}").stat().st_size > 0
    assert all_types(theirs) == {"string", "list", "set", "hash", "zset", "stream"}
    with redis_server(tmp_path, **settings) as server:
        reloaded = content(server)
    with aofnb.open(tmp_path) as store:
        assert store.load_report is not None
        assert store.load_report.failed == ()
        ours = content(store)
    assert values(ours) == values(theirs)
    assert ours == reloaded


def rewriting(server: RedisServer) -> bool:
    info = server.execute("INFO", "persistence")
    return b"aof_rewrite_in_progress:1" in info or b"aof_rewrite_scheduled:1" in info
