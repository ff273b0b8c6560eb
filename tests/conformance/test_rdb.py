"""Snapshots and payloads go to a real redis-server and come back from one, and mean the same on both sides."""

from __future__ import annotations

import io
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.keyspaces import content
from support.records import masked, records
from support.require import need
from support.server import RedisServer, available, redis_server
from support.snapshots import RDB
from support.transcripts import OK, Error, run_on_server, run_on_us

import aofnb
from aofnb.rdb import base_aux, dump_functions, load_functions, load_rdb, write_rdb
from aofnb.rdb.crc64 import crc64

pytestmark = pytest.mark.server
NUMBERS = [0, 1, -1, 127, 128, 4095, 4096, -4096, -4097, 32767, 32768, 2**23 - 1, 2**23, 2**31 - 1, 2**31, 2**63 - 1]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    need("redis-server", available())
    with redis_server(tmp_path_factory.mktemp("redis"), appendfsync="no") as server:
        server.execute("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        yield server


class Random:
    """Commands that make keys of all kinds and encodings."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def text(self, most: int = 9000) -> bytes:
        rng = self.rng
        kind = rng.randrange(8)
        if kind == 0:
            number = rng.choice([*NUMBERS, -(2**63), 2**63, rng.randint(-(2**40), 2**40)])
            return b"%d" % number
        if kind == 1:
            return rng.choice([b"", b"-0", b"01", b"+1", b"1.0"])
        if kind == 2:
            return rng.randbytes(min(most, rng.randint(1, 70)))
        if kind == 3:
            return (b"hello world, this is text %d. " % rng.randint(0, 99) * rng.randint(1, 60))[:most]
        if kind == 4:
            return b"x" * min(most, rng.randint(1, 6000))
        if kind == 5:
            return bytes(rng.choices(b"abcdefgh", k=min(most, rng.randint(1, 9000))))
        return bytes(rng.choices(b"abcd 01", k=min(most, rng.randint(1, 80))))

    def commands(self, keys: int) -> Iterator[list[Any]]:
        rng = self.rng
        for i in range(keys):
            yield ["SELECT", rng.choice([0, 0, 3, 15])]
            yield ["SET", b"string:%d" % i, self.text()]
            yield ["SET", b"expiring:%d" % i, self.text(), "PXAT", rng.randint(2 * 10**12, 2 * 10**13)]
            yield ["RPUSH", b"list:%d" % i, *(self.text() for _ in range(rng.choice([1, 3, 40])))]
            yield [
                "SADD",
                b"intset:%d" % i,
                *(rng.randint(-(2**63), 2**63 - 1) >> rng.randint(0, 63) for _ in range(40)),
            ]
            yield ["SADD", b"set:%d" % i, *(self.text(200) + b"x" for _ in range(rng.choice([1, 5, 600])))]
            yield ["HSET", b"hash:%d" % i, *(self.text(64) for _ in range(2 * rng.randint(1, 30)))]
            yield ["HSET", b"big hash:%d" % i, "f", b"x" * 65, *(self.text() for _ in range(20))]
            yield ["ZADD", b"zset:%d" % i, *self.scored(rng.randint(1, 60), 64)]
            yield ["ZADD", b"big zset:%d" % i, 1, b"x" * 65, *self.scored(rng.choice([1, 200]), 100)]
            yield from self.stream(b"stream:%d" % i)

    def scored(self, count: int, most: int) -> Iterator[Any]:
        rng = self.rng
        for _member in range(count):
            whole = rng.choice([rng.randint(-10, 10), rng.randint(-(2**63), 2**63), 2**62, -(2**62), 10**17])
            fraction = rng.choice([rng.random(), rng.uniform(-1e300, 1e300), 5e-324, -0.0, float("inf"), -float("inf")])
            yield rng.choice([whole, repr(fraction)])
            yield self.text(most)

    def stream(self, key: bytes) -> Iterator[list[Any]]:
        rng = self.rng
        for at in range(rng.choice([1, 5, 130])):
            # The sequence of a later millisecond may be lower, and the distance wraps around.
            seq = at + 1 if at % 7 else 2**64 - 10**6 + at
            yield ["XADD", key, f"{at + 1 + (2**63 if at > 100 else 0)}-{seq}", rng.choice(["f", "g"]), self.text(300)]
        yield ["XGROUP", "CREATE", key, "g", "0"]
        yield ["XGROUP", "CREATE", key, "1234", "$"]
        yield ["XGROUP", "CREATECONSUMER", key, "1234", "idle"]
        for consumer in ("c", "77"):
            yield ["XREADGROUP", "GROUP", "g", consumer, "COUNT", rng.randint(1, 9), "STREAMS", key, ">"]
        if rng.random() < 0.5:
            yield ["XDEL", key, "2-2", "1-" + str(2**64 - 10**6)]
        if rng.random() < 0.2:
            yield ["XTRIM", key, "MAXLEN", 0]


def run_both(server: Any, store: aofnb.Store, seed: int, keys: int) -> None:
    server.execute("FLUSHALL")
    for argv in Random(seed).commands(keys):
        theirs = server.execute(*argv)
        try:
            store.execute(*argv)
        except aofnb.ReplyError as problem:
            assert str(theirs) == str(problem)
    server.execute("SELECT", 0)
    store.execute("SELECT", 0)


def digest(server: Any, key: bytes) -> Any:
    return server.execute("DEBUG", "DIGEST-VALUE", key)


# --- DUMP and RESTORE ---------------------------------------------------------------------------------------------

SAME_BYTES = (b"string", b"expiring", b"list", b"intset", b"hash", b"zset", b"big zset")


@pytest.mark.parametrize("seed", range(4))
def test_payloads_are_the_servers_and_load_there(seed: int, server: RedisServer) -> None:
    with aofnb.open(None, background=False) as store:
        run_both(server, store, seed, 6)
        compared = 0
        for index in (0, 3, 15):
            for side in (server, store):
                side.execute("SELECT", index)
            for key in server.execute("KEYS", "*"):
                theirs, ours = server.execute("DUMP", key), store.execute("DUMP", key)
                kind = key.split(b":")[0]
                assert ours == theirs or kind not in SAME_BYTES, key
                assert server.execute("RESTORE", "copy", 0, ours, "REPLACE") == "OK"
                # The time at which it was made is in a stream, and whether there is a deadline in every digest.
                server.execute("PERSIST", key)
                assert digest(server, b"copy") == digest(server, key) or kind == b"stream"
                store.execute("RESTORE", "copy", 0, theirs, "REPLACE")
                assert server.execute("RESTORE", "copy", 0, store.execute("DUMP", "copy"), "REPLACE") == "OK"
                assert digest(server, b"copy") == digest(server, key), key
                for side in (server, store):
                    side.execute("DEL", "copy")
                compared += 1
        assert compared >= 6 * len(SAME_BYTES)
    server.execute("SELECT", 0)


def payload(body: bytes, version: int = 10) -> bytes:
    body += version.to_bytes(2, "little")
    return body + crc64(body).to_bytes(8, "little")


ABC = payload(b"\x00\x03abc")
TRANSCRIPT: list[tuple[Any, Any]] = [
    (("SET", "busy", "1"), OK),
    (("RESTORE", "busy", "0", ABC), Error("BUSYKEY Target key name already exists.")),
    (("RESTORE", "busy", "0", b"", "FREQ", "300"), Error("ERR Invalid FREQ value, must be >= 0 and <= 255")),
    (("RESTORE", "k", "0", b"short"), Error("ERR DUMP payload version or checksum are wrong")),
    (("RESTORE", "k", "0", payload(b"\x00\x03abc", 11)), Error("ERR DUMP payload version or checksum are wrong")),
    (("RESTORE", "k", "0", payload(b"\x00\x03abc", 1)), OK),
    (("RESTORE", "k", "0", payload(b"\x00\x20abc"), "REPLACE"), Error("ERR Bad data format")),
    (("RESTORE", "k", "0", payload(b"\x02\x02\x01a\x01a"), "REPLACE"), Error("ERR Bad data format")),
    (("RESTORE", "k", "0", payload(b"\x04\x00"), "REPLACE"), Error("ERR Bad data format")),
    (("RESTORE", "k", "0", payload(b"\x08\x00"), "REPLACE"), Error("ERR Bad data format")),
    (("RESTORE", "k", "-1", ABC, "REPLACE"), Error("ERR Invalid TTL value, must be >= 0")),
    (("RESTORE", "k", "1.5", ABC, "REPLACE"), Error("ERR value is not an integer or out of range")),
    (("RESTORE", "k", "0", ABC, "IDLETIME", "-1"), Error("ERR Invalid IDLETIME value, must be >= 0")),
    (("RESTORE", "k", "0", ABC, "IDLETIME", "x"), Error("ERR value is not an integer or out of range")),
    (("RESTORE", "k", "0", ABC, "IDLETIME", "0", "FREQ", "0"), Error("ERR syntax error")),
    (("RESTORE", "k", "0", ABC, "IDLETIME"), Error("ERR syntax error")),
    (("RESTORE", "k", "0", ABC, "what"), Error("ERR syntax error")),
    (("RESTORE", "k", "0"), Error("ERR wrong number of arguments for 'restore' command")),
    (("GET", "k"), b"abc"),
    (("RESTORE", "k", str(2**63 - 1), ABC, "REPLACE"), OK),
    (("EXISTS", "k"), 0),
    (("RESTORE", "k", "0", payload(b"\x00\x03abcmore")), OK),
    (("RESTORE-ASKING", "k2", "0", ABC, "idletime", "5", "idletime", "6"), OK),
    (("DUMP", "k"), ABC),
    (("DUMP", "none"), None),
]


def test_replies_are_the_servers(server: RedisServer) -> None:
    server.execute("FLUSHALL")
    with aofnb.open(None, background=False) as store:
        ours, theirs = run_on_us(store, TRANSCRIPT), run_on_server(server, TRANSCRIPT)
    for (command, expected), our_reply, their_reply in zip(TRANSCRIPT, ours, theirs, strict=True):
        assert str(our_reply) == str(their_reply), command
        assert expected == our_reply or expected == str(our_reply), command


PROPAGATION: list[tuple[list[Any], list[Any]]] = [
    ([], ["RESTORE", "r", "0", ABC]),
    ([], ["restore", "r", "100000", ABC]),
    ([], ["RESTORE", "r", "1795184616000000", ABC, "ABSTTL"]),
    (["SET", "r", "v"], ["RESTORE", "r", "100000", ABC, "replace"]),
    ([], ["RESTORE", "r", "1", ABC, "ABSTTL"]),
    (["SET", "r", "v"], ["RESTORE", "r", "1", ABC, "ABSTTL", "REPLACE"]),
    ([], ["RESTORE", "r", "1", ABC, "ABSTTL", "REPLACE"]),
    (["SET", "r", "v"], ["RESTORE", "r", "0", ABC]),
    ([], ["RESTORE", "r", "100000", ABC, "IDLETIME", "5"]),
    ([], ["RESTORE", "r", "100000", ABC, "FREQ", "5"]),
    ([], ["RESTORE-ASKING", "r", "100000", ABC]),
    (["SET", "r", "v", "PX", "1"], ["RESTORE", "r", "0", ABC]),
    (["SET", "r", "v", "PX", "1"], ["RESTORE", "r", "0", ABC, "REPLACE"]),
    (["SET", "r", "v", "PX", "1"], ["RESTORE", "r", "1", ABC, "REPLACE", "ABSTTL"]),
    (["SET", "r", "v", "PX", "1"], ["RESTORE", "r", "0", b"bad"]),
    (["SET", "r", "v", "PX", "1"], ["DUMP", "r"]),
]


@pytest.mark.parametrize("lazy", ["no", "yes"])
def test_the_log_has_the_servers_records(lazy: str, server: RedisServer, tmp_path: Path) -> None:
    with aofnb.open(tmp_path, appendfsync="no", background=False) as store:
        logs = []
        for side, directory in ((store, tmp_path), (server, server.directory)):
            log = directory / "appendonlydir" / "appendonly.aof.1.incr.aof"
            side.execute("CONFIG", "SET", "lazyfree-lazy-server-del", lazy)
            found = []
            for before, command in PROPAGATION:
                side.execute("FLUSHALL")
                if before:
                    side.execute(*before)
                    time.sleep(0.01)  # the real server has no fake clock
                start = log.stat().st_size
                with suppress(aofnb.ReplyError):
                    side.execute(*command)
                found.append([masked(argv) for argv in records(log.read_bytes()[start:])])
            logs.append(found)
            side.execute("CONFIG", "SET", "lazyfree-lazy-server-del", "no")
    for (before, command), ours, theirs in zip(PROPAGATION, *logs, strict=True):
        assert ours == theirs, (before, command)


# --- files --------------------------------------------------------------------------------------------------------


def snapshot(store: aofnb.Store, **options: Any) -> bytes:
    out = io.BytesIO()
    write_rdb(out, store.engine.keyspace, aux=base_aux(1_700_000_000, 1 << 20), **options)
    return out.getvalue()


@pytest.mark.parametrize(
    ("seed", "options"),
    [(10, {}), (11, {"compressed": True}), (12, {"checksum": False})],
    ids=["default", "compressed", "without checksum"],
)
def test_the_server_loads_our_snapshot_with_the_same_content(
    seed: int, options: dict[str, bool], server: RedisServer, tmp_path: Path
) -> None:
    with aofnb.open(None, background=False) as store:
        run_both(server, store, seed, 8)
        store.execute("FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', function() return 7 end)")
        (tmp_path / "dump.rdb").write_bytes(snapshot(store, **options))
        ours = content(store)
    check = subprocess.run(["redis-check-rdb", tmp_path / "dump.rdb"], capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stdout
    with redis_server(tmp_path, appendonly="no", sanitize_dump_payload="yes") as loaded:
        assert content(loaded) == ours
        assert loaded.execute("FCALL", "f", 0) == 7


@pytest.mark.parametrize("seed", [20, 21])
@pytest.mark.parametrize("settings", [{}, {"rdbcompression": "no"}, {"list-compress-depth": "1"}])
def test_we_load_the_servers_snapshot_with_the_same_content(
    seed: int, settings: dict[str, str], tmp_path: Path
) -> None:
    need("redis-server", available())
    with redis_server(tmp_path, appendonly="no", **settings) as server, aofnb.open(None, background=False) as store:
        for argv in Random(seed).commands(8):
            server.execute(*argv)
        server.execute("SELECT", 0)
        theirs = content(server)
        server.execute("SAVE")
        with open(tmp_path / "dump.rdb", "rb") as file:
            loaded = load_rdb(file, store.engine.keyspace)
        assert content(store) == theirs
        assert loaded.keys == sum(map(len, theirs.values()))
        assert loaded.end == (tmp_path / "dump.rdb").stat().st_size
        assert loaded.warnings == ()


def test_the_server_takes_our_snapshot_as_the_base_of_a_log(server: RedisServer, tmp_path: Path) -> None:
    with aofnb.open(None, background=False) as store:
        run_both(server, store, 30, 3)
        folder = tmp_path / "appendonlydir"
        folder.mkdir()
        (folder / "appendonly.aof.1.base.rdb").write_bytes(snapshot(store))
        (folder / "appendonly.aof.1.incr.aof").write_bytes(b"*3\r\n$3\r\nSET\r\n$5\r\nafter\r\n$1\r\n1\r\n")
        (folder / "appendonly.aof.manifest").write_bytes(
            b"file appendonly.aof.1.base.rdb seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i\n"
        )
        store.execute("SET", "after", 1)
        with redis_server(tmp_path) as loaded:
            assert content(loaded) == content(store)


SAMPLES = [
    "strings", "lists", "lists_compress", "lists_plain", "sets", "zsets", "hashes", "streams", "expires_multidb",
    "handmade_v10", "legacy_encodings_v9", "raw_encodings",
]  # fmt: skip


@pytest.mark.parametrize("name", SAMPLES)
def test_we_and_the_server_load_the_same_file_to_the_same_content(name: str, tmp_path: Path) -> None:
    need("redis-server", available())
    shutil.copy(RDB / "generated" / f"{name}.rdb", tmp_path / "dump.rdb")
    with redis_server(tmp_path, appendonly="no") as server, aofnb.open(None, background=False) as store:
        with open(tmp_path / "dump.rdb", "rb") as file:
            load_rdb(file, store.engine.keyspace)
        theirs = content(server)
        if name == "handmade_v10":
            # By hand and out of order, which the server leaves so.
            for key in (key for keys in theirs.values() for key in keys.values() if key["type"] == "zset"):
                key["value"].sort(key=lambda pair: (pair[1], pair[0]))
        assert content(store) == theirs


def test_a_stream_after_its_snapshot_goes_on_as_the_server_does(tmp_path: Path) -> None:
    """Which entries approximate trimming removes depends on how nodes were filled before and after."""
    need("redis-server", available())
    shutil.copy(RDB / "generated" / "streams.rdb", tmp_path / "dump.rdb")
    with redis_server(tmp_path, appendonly="no") as server, aofnb.open(None, background=False) as store:
        with open(tmp_path / "dump.rdb", "rb") as file:
            load_rdb(file, store.engine.keyspace)
        for key in sorted(server.execute("KEYS", "*")):
            for step in range(40):
                argv = ["XADD", key, f"18446744073709551615-{step + 10}", "f", "v" * (step * 7)]
                assert str(server.execute(*argv)) == str(run_on_us(store, [(argv, None)])[0])
            trim = ["XTRIM", key, "MAXLEN", "~", 20]
            assert server.execute(*trim) == store.execute(*trim)
        assert content(store) == content(server)


def all_kinds(side: Any, seed: int) -> None:
    """Keys of all kinds and encodings, some with deadlines, streams with groups and pending entries, and a library."""
    for argv in Random(seed).commands(4):
        side.execute(*argv)
    side.execute("SELECT", 0)
    side.execute("FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', function() return 7 end)")


def entries_pending(side: Any) -> int:
    """How many there are in all groups of all streams."""
    return sum(
        len(group["pel"])
        for keys in content(side).values()
        for entry in keys.values()
        for group in entry.get("groups", ())
    )


def library_codes(side: Any) -> list[bytes]:
    found = side.execute("FUNCTION", "LIST", "WITHCODE")
    return [dict(zip(entry[::2], entry[1::2], strict=True))[b"library_code"] for entry in found]


def test_the_server_loads_our_rewritten_directory_to_the_same_digest(tmp_path: Path) -> None:
    need("redis-server", available())
    with aofnb.open(tmp_path) as store:
        all_kinds(store, 40)
        store.bgrewriteaof()
        store.execute("SET", "after", 1)
        digest, codes = store.execute("DEBUG", "DIGEST"), library_codes(store)
        assert entries_pending(store) > 0
        assert next(name for name, _, _ in store.stats().files) == "appendonly.aof.2.base.rdb"
    with redis_server(tmp_path) as server:
        assert server.execute("DEBUG", "DIGEST") == digest
        assert library_codes(server) == codes
        assert server.execute("FCALL", "f", 0) == 7


def test_we_load_the_servers_rewritten_directory_to_the_same_digest(tmp_path: Path) -> None:
    need("redis-server", available())
    with redis_server(tmp_path) as server:
        all_kinds(server, 41)
        server.execute("BGREWRITEAOF")
        while b"aof_rewrite_in_progress:1" in server.execute("INFO", "persistence"):
            server.execute("DEBUG", "SLEEP", 0.01)
        server.execute("SET", "after", 1)
        digest, codes = server.execute("DEBUG", "DIGEST"), library_codes(server)
        assert entries_pending(server) > 0
    assert (tmp_path / "appendonlydir" / "appendonly.aof.2.base.rdb").exists()
    with aofnb.open(tmp_path, readonly=True) as store:
        assert store.execute("DEBUG", "DIGEST") == digest
        assert library_codes(store) == codes


LIBRARIES = [
    b"#!lua name=%b\nredis.register_function('f_%b', function() return '%b' end)" % (name, name, name * 40)
    for name in (b"a", b"b")
]


def test_libraries_are_dumped_and_restored_as_the_server_does(server: RedisServer) -> None:
    server.execute("FUNCTION", "FLUSH")
    assert server.execute("FUNCTION", "DUMP") == dump_functions([])
    for code in LIBRARIES:
        server.execute("FUNCTION", "LOAD", code)
    theirs = server.execute("FUNCTION", "DUMP")
    loaded = load_functions(theirs)
    assert sorted(loaded) == LIBRARIES
    assert dump_functions(loaded) == theirs
    assert server.execute("FUNCTION", "RESTORE", dump_functions(LIBRARIES), "FLUSH") == OK
    assert sorted(library_codes(server)) == LIBRARIES
    server.execute("FUNCTION", "FLUSH")
