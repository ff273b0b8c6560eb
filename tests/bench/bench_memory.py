"""Memory for each key, beside redis-server's: small strings, and containers of five elements.

Both load the same log. Ours is what the process has in memory more than before it opened the log (so the interpreter
and its libraries are not in it, but all waste of its allocator is); redis-server's is what its allocator gave out for
data.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from support.server import redis_server

from tests.bench.bench_log import write_directory
from tests.bench.harness import Case

KEYS = 200_000
ELEMENTS = 5


def strings(n: int) -> Iterator[list[bytes]]:
    """`n` keys of 12 bytes with values of 10."""
    for i in range(n):
        yield [b"SET", b"key:%08d" % i, b"value%05d" % (i % 100_000)]


def hashes(n: int) -> Iterator[list[bytes]]:
    """`n` hashes of the same five fields."""
    for i in range(n):
        yield [
            b"HSET",
            b"key:%08d" % i,
            *(part for j in range(ELEMENTS) for part in (b"field%d" % j, b"v%07d" % (i + j))),
        ]


def lists(n: int) -> Iterator[list[bytes]]:
    """`n` lists of five items."""
    for i in range(n):
        yield [b"RPUSH", b"key:%08d" % i, *(b"item:%07d" % (i + j) for j in range(ELEMENTS))]


def sets(n: int) -> Iterator[list[bytes]]:
    """`n` sets of five words."""
    for i in range(n):
        yield [b"SADD", b"key:%08d" % i, *(b"member:%07d" % (i + j) for j in range(ELEMENTS))]


def zsets(n: int) -> Iterator[list[bytes]]:
    """`n` sorted sets of five members."""
    for i in range(n):
        yield [
            b"ZADD",
            b"key:%08d" % i,
            *(part for j in range(ELEMENTS) for part in (b"%d" % (i + j), b"m%07d" % (i + j))),
        ]


SUBJECTS: dict[str, Callable[[int], Iterator[list[bytes]]]] = {
    "small strings": strings,
    "hashes of 5 fields": hashes,
    "lists of 5 items": lists,
    "sets of 5 words": sets,
    "sorted sets of 5 members": zsets,
}


def run(directory: Path, quick: bool) -> list[Case]:
    """All cases; `quick` for a smoke test."""
    n = KEYS // 20 if quick else KEYS
    cases = []
    for name, commands in SUBJECTS.items():
        where = directory / name.replace(" ", "-")
        write_directory(where, commands(n))
        # Bytes per key; as a rate, more keys in a gigabyte are better.
        sizes = {"aofnb": _ours(where, n), "redis-server": _theirs(where, n)}
        case = Case(
            f"memory of {n:,} {name}",
            "keys per GB",
            {who: 1e9 / size for who, size in sizes.items()},
            ("redis-server", 1 / 1.5),
        )
        case.notes = [f"{who}: {size:.0f} bytes for each key" for who, size in sizes.items()]
        cases.append(case)
    return cases


_OPEN = """
import gc, os, sys, aofnb, aofnb.engine
def rss():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
aofnb.open(None).close()
gc.collect()
before = rss()
store = aofnb.open(sys.argv[1], readonly=True, aof_use_rdb_preamble=False)
gc.collect()
print(rss() - before, store.execute("DBSIZE"))
"""


def _ours(where: Path, n: int) -> float:
    said = subprocess.run([sys.executable, "-c", _OPEN, str(where)], capture_output=True, text=True, check=True).stdout
    size, keys = map(int, said.split())
    assert keys == n
    return size / n


def _theirs(where: Path, n: int) -> float:
    with redis_server(where, aof_use_rdb_preamble="no") as server:
        assert server.execute("DBSIZE") == n
        said = dict(line.split(b":", 1) for line in server.execute("INFO", "memory").split(b"\r\n") if b":" in line)
        return (int(said[b"used_memory"]) - int(said[b"used_memory_startup"])) / n
