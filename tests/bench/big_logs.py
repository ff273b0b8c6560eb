"""A large log as servers write them in a day: what forensics is measured on.

Mixed types on four databases, `#TS` each second, 4 % of the commands in transactions, deadlines, deletions, and some
values that are logs themselves: everything that a reader which guesses would get wrong.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from pathlib import Path

from aofnb.resp.encode import encode_command

__all__ = ["BEGIN_S", "write_big_log"]

BEGIN_S = 1_790_000_000
_PIECE = 4 << 20


def write_big_log(path: Path, nbytes: int, seed: int = 1) -> int:
    """Write at least `nbytes` to `path`; how many commands that is."""
    rng = random.Random(seed)
    chance, pick = rng.random, rng.randrange
    shapes = _shapes(rng)
    written = commands = db = 0
    second = BEGIN_S
    key_of = [b"%d" % number for number in range(100_000)]
    pieces: list[bytes] = []
    size = 0
    with path.open("wb") as file:
        while written + size < nbytes:
            pieces.append(b"#TS:%d\r\n" % second)
            now_ms = second * 1000
            second += 1
            left = pick(600, 1400)
            while left > 0:
                if chance() < 0.01:
                    db = pick(4)
                    pieces.append(b"*2\r\n$6\r\nSELECT\r\n$1\r\n%d\r\n" % db)
                    left, commands = left - 1, commands + 1
                in_transaction = chance() < 0.3
                count = pick(3, 9) if in_transaction else pick(40, 120)
                if in_transaction:
                    pieces.append(b"*1\r\n$5\r\nMULTI\r\n")
                for _ in range(count):
                    make = shapes[int(chance() * len(shapes))]
                    pieces.append(make(key_of[int(chance() * chance() * len(key_of))], now_ms))
                if in_transaction:
                    pieces.append(b"*1\r\n$4\r\nEXEC\r\n")
                commands += count + 2 * in_transaction
                left -= count
            size = sum(map(len, pieces))
            if size >= _PIECE:
                written += file.write(b"".join(pieces))
                pieces, size = [], 0
        file.write(b"".join(pieces))
    return commands


def _shapes(rng: random.Random) -> list[Callable[[bytes, int], bytes]]:
    """Makers of one encoded command from a number and the time in ms; the frequent ones stand there more often."""
    words = [b"value:%d:%s" % (number, b"x" * rng.randrange(20, 110)) for number in range(4000)]
    inner = [encode_command([b"SET", b"inner:%d" % n, b"v" * (n % 7)]) for n in range(50)]
    logs = [b"".join(rng.sample(inner, 5)) for _ in range(100)]
    field = [b"field%d" % number for number in range(40)]
    chance, one_of = rng.random, lambda pool: pool[int(rng.random() * len(pool))]
    entries = itertools.count(1)

    def shape(*argv: bytes | Callable[[bytes, int], bytes]) -> Callable[[bytes, int], bytes]:
        def make(number: bytes, now_ms: int) -> bytes:
            out = [b"*%d\r\n" % len(argv)]
            for each in argv:
                arg = each if isinstance(each, bytes) else each(number, now_ms)
                out.append(b"$%d\r\n%s\r\n" % (len(arg), arg))
            return b"".join(out)

        return make

    def key(prefix: bytes) -> Callable[[bytes, int], bytes]:
        return lambda number, now_ms: prefix + number

    def word(number: bytes, now_ms: int) -> bytes:
        return one_of(words)

    def some_field(number: bytes, now_ms: int) -> bytes:
        return one_of(field)

    def deadline(number: bytes, now_ms: int) -> bytes:
        return b"%d" % (now_ms + 3_600_000)

    def number_(number: bytes, now_ms: int) -> bytes:
        return b"%d" % (chance() * 1000)

    return [
        *[shape(b"SET", key(b"user:"), word)] * 5,
        *[shape(b"SET", key(b"session:"), word, b"PXAT", deadline)] * 3,
        shape(b"SET", key(b"blob:"), lambda number, now_ms: one_of(logs)),
        *[shape(b"HSET", key(b"profile:"), some_field, word)] * 4,
        shape(b"HSET", key(b"profile:"), some_field, word, some_field, word),
        *[shape(b"INCR", key(b"counter:"))] * 3,
        shape(b"INCRBY", key(b"counter:"), number_),
        *[shape(b"RPUSH", lambda number, now_ms: b"queue:" + number[-2:], word)] * 2,
        *[shape(b"LPOP", lambda number, now_ms: b"queue:" + number[-2:])] * 2,
        *[shape(b"SADD", lambda number, now_ms: b"tags:" + number[:3], some_field)] * 2,
        *[shape(b"ZADD", lambda number, now_ms: b"board:" + number[-1:], number_, key(b"u:"))] * 2,
        shape(
            b"XADD",
            lambda number, now_ms: b"events:" + number[-1:],
            lambda n, t: b"%d-%d" % (t, next(entries)),
            b"n",
            number_,
        ),
        *[shape(b"PEXPIREAT", key(b"user:"), deadline)] * 2,
        *[shape(b"DEL", key(b"user:"))] * 2,
        shape(b"MSET", key(b"user:"), word, key(b"flag:"), b"1"),
        shape(b"LTRIM", lambda number, now_ms: b"queue:" + number[-2:], b"0", b"99"),
    ]
