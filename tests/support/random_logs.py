"""Logs of random commands of every type, as a server might have written them, or as nobody would: plain, with a
snapshot as their base, packed, damaged.
"""

from __future__ import annotations

import gzip
import io
import itertools
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from hypothesis import strategies as st
from support.long_way import replayed

import aofnb
from aofnb.rdb.writer import write_rdb
from aofnb.resp.encode import encode_command

__all__ = [
    "PACKINGS",
    "RandomLog",
    "damaged",
    "damages",
    "harmed",
    "random_commands",
    "random_logs",
    "seeds",
    "snapshot_of",
    "write_log",
    "write_manifest",
]

Commands = list[list[bytes]]

seeds = st.integers(0, 1 << 32)

_SHAPES = """
SET {k} {v}|SET {k} {v} PXAT {d}|SET {k} {v} KEEPTTL|SET {k} {v} NX|SETNX {k} {v}|MSET {k} {v} {k} {v}
MSETNX {k} {v} {k} {v}|APPEND {k} {v}|INCR {k}|INCRBY {k} {i}|SETRANGE {k} {i} {v}|SETBIT {k} {i} 1|GETDEL {k}
DEL {k}|DEL {k} {k}|UNLINK {k}|RENAME {k} {k}|RENAMENX {k} {k}|COPY {k} {k}|COPY {k} {k} DB {db} REPLACE|MOVE {k} {db}
PEXPIREAT {k} {d}|PERSIST {k}|HSET {k} {f} {v}|HSET {k} {f} {v} {f} {v}|HDEL {k} {f}|HINCRBY {k} {f} {i}
RPUSH {k} {v} {v}|LPUSH {k} {v}|LPOP {k}|RPOP {k}|LTRIM {k} 0 {i}|LSET {k} 0 {v}|LREM {k} 1 {v}|LMOVE {k} {k} LEFT RIGHT
LINSERT {k} BEFORE {v} {f}|RPOPLPUSH {k} {k}|SADD {k} {f} {f}|SREM {k} {f}|SMOVE {k} {k} {f}|SUNIONSTORE {k} {k} {k}
SINTERSTORE {k} {k} {k}|ZADD {k} {i} {f}|ZADD {k} {i} {f} {i} {f}|ZINCRBY {k} {i} {f}|ZREM {k} {f}
ZUNIONSTORE {k} 2 {k} {k}|ZREMRANGEBYRANK {k} 0 0|ZRANGESTORE {k} {k} 0 2|PFADD {k} {f}|PFMERGE {k} {k}
BITOP AND {k} {k} {k}|SORT {k} ALPHA STORE {k}|XADD {k} {n}-1 {f} {v}|XDEL {k} {n}-1|XTRIM {k} MAXLEN 2
XGROUP CREATE {k} g 0 MKSTREAM|GEOADD {k} 1 1 {f}|FLUSHDB|FLUSHALL|SWAPDB 0 1|SWAPDB 1 {db}|SELECT {db}
"""


def random_commands(rng: random.Random, count: int, keys: int = 6) -> Commands:
    """`count` commands or more: transactions are whole. Some fail; none draws lots or tells the time."""
    shapes = [shape for line in _SHAPES.split("\n") for shape in line.split("|") if shape]
    commands: Commands = []
    in_multi = False
    while len(commands) < count or in_multi:
        if rng.random() < 0.05:
            commands.append([b"EXEC" if in_multi else b"MULTI"])
            in_multi = not in_multi
            continue
        shape = rng.choice(shapes)
        if shape.startswith(("FLUSH", "SWAP")) and rng.random() < 0.5:
            continue
        commands.append([_filled(word, rng, keys, len(commands)) for word in shape.split()])
    return commands


def _filled(word: str, rng: random.Random, keys: int, number: int) -> bytes:
    if not word.startswith("{") and "{" not in word:
        return word.encode()
    return word.format(
        k=f"k{rng.randrange(keys)}",
        v=f"v{rng.randrange(20)}",
        f=f"f{rng.randrange(4)}",
        i=rng.randrange(4),
        d=1_790_000_000_000 + rng.randrange(10**6),
        db=rng.randrange(3),
        n=number + 1,
    ).encode()


def write_log(path: Path, commands: Commands) -> None:
    """An append-only file of these commands."""
    path.write_bytes(b"".join(map(encode_command, commands)))


# --- files -----------------------------------------------------------------------------------------------


def _zstd(data: bytes) -> bytes:
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as packed:
        packed.write(data)
    return out.getvalue().to_pybytes()


PACKINGS: dict[str, Callable[[bytes], bytes]] = {"plain": bytes, "gzip": gzip.compress, "zstd": _zstd}


@dataclass(frozen=True, slots=True)
class RandomLog:
    """A log, and how it lies on disk.

    Attributes
    ----------
    first
        The commands that made the data of the snapshot with which it begins; None if it begins with none.
    files
        The commands behind it: one list behind the snapshot in its own file, or as many as there are incr files.
    in_parts
        Whether there is a manifest and a file for each of these; else all is one file.
    packing
        What each file was compressed with.
    """

    first: Commands | None
    files: list[Commands]
    in_parts: bool
    packing: str = "plain"

    def contents(self, directory: Path) -> dict[str, bytes]:
        """The bytes of each file, before they are packed; needs a file in `directory` meanwhile."""
        snapshot = [] if self.first is None else [snapshot_of(self.first, directory)]
        logs = [b"".join(map(encode_command, commands)) for commands in self.files]
        if not self.in_parts:
            return {"x.aof": b"".join([*snapshot, *logs])}
        names = [f"x.aof.{number}.incr.aof" for number in range(1, len(logs) + 1)]
        bases = ["x.aof.1.base.rdb" for _ in snapshot]
        return dict(zip([*bases, *names], [*snapshot, *logs], strict=True))

    def write(self, directory: Path, change: Callable[[bytes], bytes] = bytes) -> Path:
        """Write it into the new `directory`, each file after this `change`; returns what to scan."""
        directory.mkdir()
        contents = self.contents(directory)
        for name, content in contents.items():
            (directory / name).write_bytes(PACKINGS[self.packing](change(content)))
        if not self.in_parts:
            return directory / "x.aof"
        write_manifest(directory, [(name, name.split(".")[3][0]) for name in contents])
        return directory


def write_manifest(directory: Path, entries: Iterable[tuple[str, str]]) -> None:
    """The manifest of these files, each with its kind: b, i or h."""
    lines = [f"file {name} seq {name.split('.')[2]} type {kind}\n" for name, kind in entries]
    (directory / "x.aof.manifest").write_text("".join(lines))


def snapshot_of(commands: Commands, directory: Path) -> bytes:
    """The data that these commands make, as a snapshot; needs a file in `directory` meanwhile."""
    path = directory / "first.aof"
    write_log(path, commands)
    log = aofnb.scan(path, cache_dir=False)
    snapshot = io.BytesIO()
    write_rdb(snapshot, replayed(log, log.position("end")).engine.keyspace)
    path.unlink()
    return snapshot.getvalue()


@st.composite
def random_logs(draw: st.DrawFn, count: int = 120, with_base: bool | None = None) -> RandomLog:
    """Of about `count` commands, some of which run behind the snapshot; with one, without, or either."""
    commands = random_commands(random.Random(draw(seeds)), draw(st.integers(count // 2, count)))
    in_parts = draw(st.booleans())
    borders = st.sampled_from(_outside_of_transactions(commands))
    cuts = draw(st.lists(borders, min_size=1, max_size=3 if in_parts else 1).map(sorted))
    first, *files = [commands[a:b] for a, b in zip([0, *cuts], [*cuts, len(commands)], strict=True)]
    if not (draw(st.booleans()) if with_base is None else with_base):
        first, files = None, [first + files[0], *files[1:]]
    if in_parts:
        # As servers begin them; and who reads on from another file does it in database 0.
        files = [[[b"SELECT", b"%d" % draw(st.integers(0, 2))], *each] for each in files]
    return RandomLog(first, files, in_parts, draw(st.sampled_from(sorted(PACKINGS))))


def _outside_of_transactions(commands: Commands) -> list[int]:
    """Before which commands, or the end, no transaction is open."""
    borders, in_multi = [0], False
    for row, argv in enumerate(commands, 1):
        in_multi = argv[0] == b"MULTI" or (in_multi and argv[0] != b"EXEC")
        if not in_multi:
            borders.append(row)
    return borders


# --- damage ----------------------------------------------------------------------------------------------

Damage = tuple[str, int, int]

damages: st.SearchStrategy[Damage] = st.tuples(
    st.sampled_from(["flip", "zeros", "missing", "garbage", "cut"]), st.integers(0, 1 << 30), st.integers(1, 60)
)


def harmed(hits: Sequence[Damage], number: int) -> Callable[[bytes], bytes]:
    """What `RandomLog.write` takes: does these damages to file `number`, if there is one."""
    numbers = itertools.count()

    def harm(content: bytes) -> bytes:
        for hit in hits if next(numbers) == number else ():
            content = damaged(content, hit)[0] or b"x"
        return content

    return harm


def damaged(data: bytes, damage: Damage) -> tuple[bytes, int, int]:
    """The bytes with damage in them, where it begins, and how many bytes of the original it touched."""
    kind, place, length = damage
    at = place % len(data)
    if kind == "flip":
        bit = 1 << (length % 8)
        return data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :], at, 1
    if kind == "zeros":
        return data[:at] + bytes(min(length, len(data) - at)) + data[at + length :], at, length
    if kind == "cut":
        return data[:at], at, len(data) - at
    if kind == "missing":
        return data[:at] + data[at + length :], at, length
    return data[:at] + random.Random(place).randbytes(length) + data[at:], at, 0
