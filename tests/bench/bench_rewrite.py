"""A rewrite in the background against redis-server's BGREWRITEAOF: how long, how much memory, and what a SET waits."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from support.server import redis_server

from aofnb.aof import snapshot
from tests.bench.bench_log import small_sets, write_directory
from tests.bench.harness import Case

KEYS = (1_000_000, 5_000_000)
QUICK = (100_000,)
ROUNDS = 3


def run(directory: Path, quick: bool) -> list[Case]:
    """All cases; `quick` for a smoke test."""
    cases = []
    for keys in QUICK if quick else KEYS:
        where = directory / f"{keys}"
        write_directory(where, small_sets(keys))
        theirs = _redis(where, keys, 1 if quick else ROUNDS)
        ways = ["fork", "process"] if snapshot.available() else ["process"]
        cases += [_case(where, keys, way, theirs, 1 if quick else ROUNDS) for way in ways]
        shutil.rmtree(where)
    return cases


# In a process of its own, so that each begins with the same memory: the data is loaded, then rewritten `rounds` times
# while nothing else happens, then once while one client writes as fast as it can.
_OURS = """
import gc, json, os, sys, time, aofnb
from aofnb.aof.snapshot import private_bytes
directory, way, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
gc.disable()
store = aofnb.open(directory, auto_aof_rewrite_percentage=0, appendfsync="everysec")
rewriter = store._rewriter
rewriter.may_fork = way == "fork"
keys = store.execute("DBSIZE")
rss = int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
SET, clock = store.execute, time.perf_counter

def sets(until):
    waits = []
    while not until():
        i = len(waits) * 7919 % keys
        start = clock()
        SET("SET", b"key:%08d" % i, b"again")
        waits.append(clock() - start)
    waits.sort()
    return {"p50": waits[len(waits) // 2], "p99": waits[len(waits) * 99 // 100], "max": waits[-1], "count": len(waits)}

def own_memory():
    child, most = rewriter._child, 0
    while rewriter._phase != "idle":
        if pid := getattr(child, "_pid", None) or child._process and child._process.pid:
            most = max(most, private_bytes(pid))
        time.sleep(0.005)
    return most

seconds, forks = [], []
for _ in range(rounds):
    start = clock()
    store.bgrewriteaof()
    rewriter._watcher.join()
    seconds.append(clock() - start)
    stats = store.stats()
    assert stats.last_rewrite_ok, stats.last_rewrite_error
    forks.append(stats.last_fork_s)
store.bgrewriteaof()
own = own_memory()
deadline = clock() + max(1, seconds[0])
idle = sets(lambda: clock() > deadline)
store.bgrewriteaof()
busy = sets(lambda: rewriter._phase == "idle")
assert store.stats().last_rewrite_ok
print(json.dumps({"seconds": min(seconds), "fork": min(forks), "own": own, "rss": rss, "keys": keys,
                  "idle": idle, "busy": busy}))
"""


def _case(where: Path, keys: int, way: str, theirs: dict[str, float], rounds: int) -> Case:
    copy = where.parent / "copy"
    shutil.copytree(where, copy)
    said = subprocess.run(
        [sys.executable, "-c", _OURS, str(copy), way, str(rounds)], capture_output=True, text=True, check=True
    ).stdout
    ours: dict[str, Any] = json.loads(said)
    assert ours["keys"] == keys
    _check(copy, keys)
    shutil.rmtree(copy)
    own, rss = ours["own"], ours["rss"]
    notes = [
        f"the child's own memory: {own / 1e6:.1f} MB, {own / rss:.1%} of our {rss / 1e6:.0f} MB",
        *(_waits(name, ours[key]) for name, key in (("before", "idle"), ("meanwhile", "busy"))),
    ]
    if way == "fork":
        pause_ms, limit_ms = ours["fork"] * 1e3, 15 * keys / 1e6
        notes.insert(0, f"the fork: {pause_ms:.1f} ms (goal: {limit_ms:g}), redis-server {theirs['fork'] * 1e3:.1f} ms")
    return Case(
        f"rewrite of {keys:,} small keys by a {way}",
        "keys",
        {"aofnb": keys / ours["seconds"], "redis-server": keys / theirs["seconds"]},
        ("redis-server", 6 if way == "fork" else 1 / 1.2),
        notes,
    )


def _waits(when: str, waits: dict[str, float]) -> str:
    p50, p99, most = (waits[name] * 1e6 for name in ("p50", "p99", "max"))
    return f"SET {when}: p50 {p50:.1f} us, p99 {p99:.1f} us, max {most:.0f} us, {waits['count']:,} of them"


def _redis(where: Path, keys: int, rounds: int) -> dict[str, float]:
    copy = where.parent / "redis"
    shutil.copytree(where, copy)
    best = {"seconds": float("inf"), "fork": float("inf")}
    # It looks after its child as often as `hz` says.
    with redis_server(copy, appendfsync="everysec", auto_aof_rewrite_percentage="0", hz="500") as server:
        assert server.execute("DBSIZE") == keys
        for _ in range(rounds):
            start = time.perf_counter()
            assert "started" in server.execute("BGREWRITEAOF")
            while b"aof_rewrite_in_progress:1" in server.execute("INFO", "persistence"):
                time.sleep(0.002)
            best["seconds"] = min(best["seconds"], time.perf_counter() - start)
            assert b"aof_last_bgrewrite_status:ok" in server.execute("INFO", "persistence")
            fork = re.search(rb"latest_fork_usec:(\d+)", server.execute("INFO", "stats"))
            assert fork is not None
            best["fork"] = min(best["fork"], int(fork[1]) / 1e6)
    shutil.rmtree(copy)
    return best


def _check(directory: Path, keys: int) -> None:
    """That redis-server finds all keys in what was measured."""
    with redis_server(directory, auto_aof_rewrite_percentage="0") as server:
        assert server.execute("DBSIZE") == keys
