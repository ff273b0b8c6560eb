"""Reading the log: replay against redis-server's own load, scanning against redis-check-aof.

Of a replay the processor time counts, of redis-server that of the whole process until it is ready: both work alone, and
neither waits for the disk, since the file was just written.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from support.server import redis_server

import aofnb
from aofnb.resp.encode import encode_command
from tests.bench.harness import Case, cpu_s

COMMANDS = 400_000
ROUNDS = 3


def run(directory: Path, quick: bool) -> list[Case]:
    """All cases; `quick` for a smoke test."""
    n = COMMANDS // 20 if quick else COMMANDS
    cases = []
    goals = _GOALS[aofnb.kernels()["engine.replay"]]
    for name, count, commands in (
        ("small SETs", n, small_sets(n)),
        ("mixed types", n, mixed(n)),
        ("1 KB values", n // 8, large_sets(n // 8)),
    ):
        where = directory / name.replace(" ", "-")
        size = write_directory(where, commands)
        cases += [_replay(name, where, count, size, goals[name]), _scan(name, where, count, size)]
    for name, shape in _TYPES.items():
        where = directory / name
        size = write_directory(where, (shape(i, i * 7919 % 100_003) for i in range(n // 2)))
        cases.append(_replay(f"{name} alone", where, n // 2, size, goals["one type"]))
    return cases


# How many times faster than redis-server a replay is to be, with and without compiled kernels.
_GOALS = {
    "compiled": {"small SETs": 3.5, "mixed types": 1.5, "1 KB values": 2.0, "one type": 1.0},
    "python": {"small SETs": 1.0, "mixed types": 0.5, "1 KB values": 0.5, "one type": 0.0},
}

# Commands of one type: the i-th, and a number below 100,003 that seems random.
_TYPES: dict[str, Callable[[int, int], list[bytes]]] = {
    "INCR": lambda _i, k: [b"INCR", b"counter:%d" % (k % 10_000)],
    "HSET": lambda i, k: [b"HSET", b"hash:%d" % (k % 10_000), b"field%d" % (i % 10), b"value%d" % i],
    "RPUSH": lambda i, k: [b"RPUSH", b"list:%d" % (k % 10_000), b"item:%d" % i],
    "LPUSH": lambda i, k: [b"LPUSH", b"list:%d" % (k % 10_000), b"item:%d" % i],
    "SADD": lambda i, k: [b"SADD", b"set:%d" % (k % 10_000), b"member:%d" % i],
    "ZADD": lambda i, k: [b"ZADD", b"zset:%d" % (k % 10_000), b"%d" % k, b"member:%d" % (i % 100)],
    "XADD": lambda i, k: [b"XADD", b"stream:%d" % (k % 1000), b"%d-1" % (i + 1), b"field", b"value%d" % i],
}


def small_sets(n: int) -> Iterator[list[bytes]]:
    """`n` SETs of different keys, about 50 bytes each."""
    for i in range(n):
        yield [b"SET", b"key:%08d" % i, b"value%05d" % (i % 100_000)]


def large_sets(n: int) -> Iterator[list[bytes]]:
    """`n` SETs of 1 KB."""
    for i in range(n):
        yield [b"SET", b"key:%08d" % i, b"%08d" % i * 128]


def mixed(n: int) -> Iterator[list[bytes]]:
    """`n` commands on all common types, with expiry, deletion and transactions."""
    rng = random.Random(7)
    shapes = [
        lambda k: [b"SET", b"s:%d" % k, b"value:%d" % k],
        lambda k: [b"HSET", b"h:%d" % (k % 5000), b"f%d" % (k % 17), b"v%d" % k],
        lambda k: [b"RPUSH", b"l:%d" % (k % 3000), b"item:%d" % k],
        lambda k: [b"ZADD", b"z:%d" % (k % 2000), b"%d.5" % (k % 1000), b"m%d" % (k % 50)],
        lambda k: [b"SADD", b"t:%d" % (k % 3000), b"m%d" % (k % 100)],
        lambda k: [b"INCR", b"c:%d" % (k % 1000)],
        lambda k: [b"PEXPIREAT", b"s:%d" % k, b"4102444800000"],
        lambda k: [b"DEL", b"s:%d" % k],
    ]
    for _ in range(n):
        yield rng.choice(shapes)(rng.randrange(100_000))


def write_directory(where: Path, commands: Iterator[list[bytes]]) -> int:
    """An appendonlydir whose incr file holds `commands`; the size of that file."""
    aof = where / "appendonlydir"
    aof.mkdir(parents=True)
    (aof / "appendonly.aof.1.base.aof").write_bytes(b"")
    (aof / "appendonly.aof.manifest").write_bytes(
        b"file appendonly.aof.1.base.aof seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n"
    )
    with open(aof / "appendonly.aof.1.incr.aof", "wb") as file:
        file.write(encode_command([b"SELECT", b"0"]))
        for argv in commands:
            file.write(encode_command(argv))
        return file.tell()


# Each load in a process of its own, which times only the open.
_OURS = """
import sys, time, aofnb
import aofnb.engine
start = time.process_time()
store = aofnb.open(sys.argv[1], readonly=True, aof_use_rdb_preamble=False)
seconds = time.process_time() - start
print(seconds, store.execute("DBSIZE"))
"""


def _replay(name: str, where: Path, n: int, size: int, goal: float) -> Case:
    best = {"aofnb": float("inf"), "redis-server": float("inf")}
    keys = set()
    for _ in range(ROUNDS):
        said = subprocess.run(
            [sys.executable, "-c", _OURS, str(where)], capture_output=True, text=True, check=True
        ).stdout.split()
        best["aofnb"] = min(best["aofnb"], float(said[0]))
        keys.add(int(said[1]))
        copy = where.parent / "copy"
        shutil.copytree(where, copy)
        with redis_server(copy, aof_use_rdb_preamble="no") as server:
            best["redis-server"] = min(best["redis-server"], cpu_s(server.process.pid))
            keys.add(server.execute("DBSIZE"))
        shutil.rmtree(copy)
    assert len(keys) == 1, f"not the same keyspace: {keys}"
    return Case(
        f"replay of {n:,} commands ({name}, {size / 1e6:.0f} MB)",
        "commands",
        {who: n / seconds for who, seconds in best.items()},
        ("redis-server", goal),
    )


_SCAN = """
import sys, time, aofnb
import aofnb.forensics, pandas, pyarrow
start = time.perf_counter()
frame = aofnb.read_aof(sys.argv[1])
print(time.perf_counter() - start, len(frame))
"""


def _scan(name: str, where: Path, n: int, size: int) -> Case:
    best = {"aofnb": float("inf"), "redis-check-aof": float("inf")}
    incr = where / "appendonlydir" / "appendonly.aof.1.incr.aof"
    for _ in range(ROUNDS):
        said = subprocess.run(
            [sys.executable, "-c", _SCAN, str(incr)], capture_output=True, text=True, check=True
        ).stdout.split()
        best["aofnb"] = min(best["aofnb"], float(said[0]))
        assert int(said[1]) == n + 1
        start = time.perf_counter()
        subprocess.run(["redis-check-aof", str(incr)], capture_output=True, check=True)
        best["redis-check-aof"] = min(best["redis-check-aof"], time.perf_counter() - start)
    return Case(
        f"scan to a DataFrame ({name}, {size / 1e6:.0f} MB); redis-check-aof only checks",
        "bytes",
        {who: size / seconds for who, seconds in best.items()},
    )
