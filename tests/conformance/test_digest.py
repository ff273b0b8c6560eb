"""DEBUG DIGEST and DIGEST-VALUE are those of redis-server 7.0.15, for data of every kind."""

from __future__ import annotations

import json
import random
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from support.differential import Run
from support.require import need
from support.server import available, redis_server
from support.transcripts import OK, Error, check_transcript

import aofnb
from aofnb.errors import ReplyError

pytestmark = pytest.mark.server

SAMPLES = Path(__file__).parents[1] / "data" / "samples"
ROWS = [
    ("DEBUG", Error("ERR wrong number of arguments for 'debug' command")),
    ("DEBUG nosuch", Error("ERR unknown subcommand or wrong number of arguments for 'nosuch'. Try DEBUG HELP.")),
    ("DEBUG digest x", Error("ERR unknown subcommand or wrong number of arguments for 'digest'. Try DEBUG HELP.")),
    ('DEBUG "no\\r\\nsuch"', Error("for 'no  such'. Try DEBUG HELP.")),
    ("DEBUG OBJECT", Error("ERR unknown subcommand or wrong number of arguments for 'OBJECT'")),
    ("DEBUG OBJECT nokey", Error("ERR no such key")),
    ("DEBUG OBJECT a fast", Error("ERR unknown subcommand or wrong number of arguments for 'OBJECT'")),
    ("DEBUG SLEEP", Error("ERR unknown subcommand or wrong number of arguments for 'SLEEP'")),
    ("DEBUG SLEEP abc", OK),
    ("DEBUG SLEEP -1", OK),
    ("DEBUG SET-ACTIVE-EXPIRE", Error("ERR unknown subcommand or wrong number of arguments")),
    ("DEBUG SET-ACTIVE-EXPIRE abc", OK),
    ("DEBUG SET-ACTIVE-EXPIRE 1", OK),
    ("DEBUG DIGEST-VALUE", []),
    ("DEBUG DIGEST-VALUE none", ["0" * 40]),
    ("DEBUG DIGEST", "0" * 40),
]

DATA = [
    "SET s hello", "SET empty |", "SET n 0", "SET n2 -12", "APPEND s2 tail", "SETBIT bits 100 1", "SETRANGE r 5 x",
    "INCRBYFLOAT f 0.1", "PFADD hll a b c", "SET ttl v PXAT 4102444800000",
    "RPUSH l a 1 -5 12345678901234567890", "LPUSH l front", "RPUSH big " + " ".join(map(str, range(600))),
    "SADD ints 3 1 2", "SADD mixed 1 b", "SADD many " + " ".join(map(str, range(600))),
    "HSET h f v 1 2", "HSET hbig " + " ".join(f"f{i} v{i}" for i in range(600)), "HSET hlong f " + "x" * 100,
    "ZADD z 1 a 1.5 b -inf c inf d 0.1 e 1e300 f 3e-320 g -0.0 h", "ZADD zint 5 1 6 2",
    "ZADD zbig -0.0 zero " + " ".join(f"{i}.25 m{i}" for i in range(200)), "GEOADD geo 13.361389 38.115556 Palermo",
    "XADD x 1-1 f v f v", "XADD x 5-7 g w", "XADD x 6-0 a b", "XDEL x 5-7", "XGROUP CREATE x g 0",
    "XADD gone MAXLEN 0 9-9 a b", "EXPIREAT x 4102444800", "SELECT 1", "SET s hello", "SELECT 15", "SADD a b",
]  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _server() -> None:
    need("redis-server", available())


def test_subcommands_and_errors(tmp_path: Path) -> None:
    check_transcript(ROWS, tmp_path)


def test_every_type_has_the_same_digest_and_so_has_the_whole(tmp_path: Path) -> None:
    with Run(tmp_path) as run:
        for line in DATA:
            run.both(*["" if word == "|" else word for word in line.split()])
            run.both("DEBUG", "DIGEST")
        for db in (0, 1, 15):
            run.both("SELECT", db)
            keys = sorted(run.store.execute("KEYS", "*"))
            assert "0" * 40 not in run.both("DEBUG", "DIGEST-VALUE", *keys)
        run.both("SWAPDB", 0, 7)
        assert run.both("DEBUG", "DIGEST") != b"0" * 40


def test_overdue_keys_count(tmp_path: Path) -> None:
    with Run(tmp_path) as run:
        run.both("DEBUG", "SET-ACTIVE-EXPIRE", 0)
        run.both("SET", "k", "v", "PX", 1)
        run.both("DEBUG", "SLEEP", 0.01)
        [digest] = run.both("DEBUG", "DIGEST-VALUE", "k")
        assert digest != b"0" * 40
        assert run.both("DEBUG", "DIGEST") != b"0" * 40


def test_random_bytes_have_the_same_digest(tmp_path: Path) -> None:
    rng = random.Random(7)
    with Run(tmp_path) as run:
        for n in range(60):
            items = [rng.randbytes(rng.choice((1, 3, 20, 70))) for _ in range(rng.randrange(1, 9) * 2)]
            run.both("RPUSH", f"l{n % 7}", *items)
            run.both("SADD", f"s{n % 7}", *items)
            run.both("HSET", f"h{n % 7}", *items)
            run.both("ZADD", f"z{n % 7}", *[part for item in items for part in (repr(rng.gauss(0, 1e3)), item)])
            run.both("XADD", f"x{n % 7}", f"{n + 1}-{rng.getrandbits(60)}", *items)
        run.both("DEBUG", "DIGEST")


# Of servers whose snapshots 7.0.15 refuses.
NEWER = ("redis-7.4", "valkey-8")


class Writes:
    """Random commands that write values of every type, in a few databases."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.ms = 0

    def text(self) -> bytes:
        rng = self.rng
        number = b"%d" % rng.choice((0, -1, 7, 2**63 - 1, rng.getrandbits(40)))
        return rng.choice((b"", b"x" * 70, rng.randbytes(rng.randrange(1, 9)), number, b"v%d" % rng.randrange(30)))

    def texts(self, most: int = 8) -> list[bytes]:
        return [self.text() for _ in range(self.rng.randrange(1, most))]

    def score(self) -> str:
        rng = self.rng
        return repr(rng.choice((rng.gauss(0, 10), rng.randrange(-9, 9), float("inf"), -0.0, 1e-300, 2.0**60)))

    def next(self) -> list[object]:
        rng = self.rng
        key, other = (rng.choice("abcdefghijklmnop") for _ in range(2))
        self.ms += rng.randrange(1, 50)
        later = 4102444800000 + rng.randrange(10**9)
        return rng.choice(
            [
                ["SET", key, self.text()], ["SET", key, self.text(), "PXAT", later], ["APPEND", key, self.text()],
                ["SETBIT", key, rng.randrange(900), 1], ["INCRBYFLOAT", key, "0.25"], ["INCR", key],
                ["SETRANGE", key, rng.randrange(50), self.text()], ["PFADD", key, *self.texts()],
                ["RPUSH", key, *self.texts()], ["LPUSH", key, *self.texts(200)], ["LINSERT", key, "BEFORE", b"x", b"y"],
                ["LTRIM", key, 1, -2], ["SADD", key, *self.texts()], ["SADD", key, *range(rng.randrange(1, 600))],
                ["SREM", key, *self.texts()], ["SUNIONSTORE", key, key, other], ["HSET", key, *self.texts() * 2],
                ["HSET", key, *(b"f%d" % n for n in range(2 * rng.randrange(1, 300)))], ["HDEL", key, *self.texts()],
                ["HINCRBYFLOAT", key, "f", "1.5"], ["ZADD", key, self.score(), self.text(), self.score(), self.text()],
                ["ZADD", key, *(part for n in range(rng.randrange(1, 150)) for part in (self.score(), b"m%d" % n))],
                ["ZINCRBY", key, "0.1", self.text()], ["ZUNIONSTORE", key, 2, key, other, "AGGREGATE", "MAX"],
                ["ZREMRANGEBYRANK", key, 0, 1],
                ["GEOADD", key, rng.uniform(-180, 180), rng.uniform(-80, 80), self.text()],
                ["XADD", key, f"{self.ms}-{rng.getrandbits(63)}", *self.texts() * 2], ["XTRIM", key, "MAXLEN", 3],
                ["XDEL", key, f"{self.ms}-0"], ["XGROUP", "CREATE", key, "g", 0, "MKSTREAM"],
                ["XSETID", key, "9999999-0"],
                ["XREADGROUP", "GROUP", "g", "c", "STREAMS", key, ">"], ["PEXPIREAT", key, later], ["PERSIST", key],
                ["DEL", key], ["RENAME", key, other], ["COPY", key, other, "REPLACE"], ["MOVE", key, 1],
                ["SORT", key, "ALPHA", "STORE", other], ["SELECT", rng.choice((0, 0, 1, 9))], ["SWAPDB", 0, 9],
            ]
        )  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_random_keyspaces_have_the_same_digest_and_so_has_each_key(seed: int, tmp_path: Path) -> None:
    """Types by turns under the same few names, so that each is made, changed, replaced and deleted."""
    writes, digests, kinds = Writes(seed), set(), set()
    with Run(tmp_path) as run:
        for number in range(400):
            argv = writes.next()
            for side in (run.store, run.redis):
                with suppress(ReplyError):
                    side.execute(*argv)
            if number % 10 == 0:
                digests.add(run.both("DEBUG", "DIGEST"))
        for db in (0, 1, 9):
            run.both("SELECT", db)
            for key in sorted(run.store.execute("KEYS", "*")):
                kinds.add(run.both("TYPE", key))
                run.both("DEBUG", "DIGEST-VALUE", key)
    assert len(digests) > 30
    assert len(kinds) >= 5


def samples() -> list[str]:
    """Those that a server loads, by the path of their folder."""
    found = sorted(path.parent for path in SAMPLES.glob("*/*/expected.json"))
    return [str(folder.relative_to(SAMPLES)) for folder in found if expected(folder)["result"]["loads"]]


def expected(folder: Path) -> dict:
    return json.loads((folder / "expected.json").read_text())


def opened(directory: Path, settings: dict[str, str]) -> str:
    with aofnb.open(directory, readonly=True, **settings) as store:
        return store.execute("DEBUG", "DIGEST")


@pytest.mark.parametrize("name", samples())
def test_every_sample_loads_to_the_digest_that_its_server_gave(name: str, tmp_path: Path) -> None:
    """As it is, if it holds no script; and after a real server rewrote it, if it can."""
    facts = expected(SAMPLES / name)
    directory = shutil.copytree(SAMPLES / name / "data", tmp_path / "data")
    given = dict(zip(facts["server_args"][::2], facts["server_args"][1::2], strict=False))
    settings = {word[2:]: text for word, text in given.items() if word.startswith("--append")}
    files = [path.read_bytes() for path in directory.rglob("*") if path.is_file()]
    strange = any(b"\r\nEVAL\r\n" in data for data in files)
    if not strange and "expired_when_loaded" not in facts:
        assert opened(directory, settings) == facts["result"]["debug_digest"]
    if name.startswith(NEWER):
        return
    with redis_server(directory, **settings, aof_use_rdb_preamble="no") as server:
        server.execute("DEBUG", "SET-ACTIVE-EXPIRE", 0)
        digest = server.execute("DEBUG", "DIGEST")
        if "expired_when_loaded" not in facts:
            assert digest == facts["result"]["debug_digest"]
        server.execute("BGREWRITEAOF")
        while b"aof_rewrite_in_progress:1" in server.execute("INFO", "persistence"):
            server.execute("DEBUG", "SLEEP", 0.01)
    assert opened(directory, settings) == digest
