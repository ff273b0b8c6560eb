"""Logs of random commands of every type, as a server might have written them, or as nobody would."""

from __future__ import annotations

import random
from pathlib import Path

from aofnb.resp.encode import encode_command

__all__ = ["random_commands", "write_log"]

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


def random_commands(rng: random.Random, count: int, keys: int = 6) -> list[list[bytes]]:
    """`count` commands or more: transactions are whole. Some fail; none draws lots or tells the time."""
    shapes = [shape for line in _SHAPES.split("\n") for shape in line.split("|") if shape]
    commands: list[list[bytes]] = []
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


def write_log(path: Path, commands: list[list[bytes]]) -> None:
    """An append-only file of these commands."""
    path.write_bytes(b"".join(map(encode_command, commands)))
