import random
import re
from contextlib import suppress
from itertools import pairwise

import pytest
from support.require import need_module
from support.samples import sample

import aofnb
from aofnb.resp.encode import encode_command


def log_of(path, *lines):
    pieces = [
        line.encode() + b"\r\n" if line.startswith("#") else encode_command(line.encode().split()) for line in lines
    ]
    path.write_bytes(b"".join(pieces))
    return aofnb.scan(path)


def causes(log, key="k", **options):
    frame = log.history(key, **options)
    return list(zip(frame.index, frame.cause.astype(str), strict=True))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["SET k 1", "SET k 2", "INCR k"], ["client", "overwrite", "client"]),
        (["SET k 1", "DEL k"], ["client", "delete"]),
        (["set k 1", "del k"], ["client", "delete"]),
        (["set k 1", "DEL k"], ["client", "eviction suspected"]),
        (["set k 1", "UNLINK k j"], ["client", "delete"]),
        (["SET k 1 PXAT 1000500", "DEL k"], ["client", "expiry suspected"]),
        (["#TS:1000", "SET k 1 PXAT 1000500", "#TS:1001", "DEL k"], ["client", "expiry"]),
        (["#TS:900", "SET k 1 PXAT 1000500", "#TS:998", "DEL k"], ["client", "delete"]),
        (["SET k 1 PXAT 1000500", "PERSIST k", "DEL k"], ["client", "client", "delete"]),
        (["SET k 1", "FLUSHALL", "FLUSHALL", "SET k 2"], ["client", "flush", "client"]),
        (["SELECT 1", "SET k 1", "SELECT 0", "FLUSHDB"], []),
        (["SET k 1", "RENAME k j", "RENAME j k"], ["client", "rename", "rename"]),
        (["SET k 1", "COPY k j"], ["client", "copy"]),
        (["SET j 1", "COPY j k"], ["copy"]),
        (["SELECT 3", "SET k 1", "MOVE k 0"], ["move"]),
        (["SET k 1", "SWAPDB 0 1", "SWAPDB 2 1"], ["client", "swap"]),
        (["EVAL return\t0 0", "SET k 1"], ["script", "client"]),
        (["MULTI", "SET k 1"], ["not run"]),
    ],
)
def test_causes(lines, expected, tmp_path):
    assert [cause for _, cause in causes(log_of(tmp_path / "x.aof", *lines))] == expected


def test_history_with_values_says_what_was_in_it(tmp_path):
    log = log_of(tmp_path / "x.aof", "SET k 1", "SET j x", "INCR k", "DEL k", "RPUSH k a b", "RENAME k j", "RENAME j k")
    frame = log.history("k", values=True)
    assert frame.value.tolist() == [b"1", b"2", None, [b"a", b"b"], None, [b"a", b"b"]]
    assert frame.type.tolist() == ["string", "string", None, "list", None, "list"]
    assert log.history("k", start=3, stop=5, values=True).value.tolist() == [None, [b"a", b"b"]]


def test_values_in_spite_of_a_script(tmp_path):
    need_module("lupa")
    path = tmp_path / "x.aof"
    script = [b"EVAL", b"redis.call('SET', 'k', 'from script')", b"0"]
    path.write_bytes(encode_command([b"SET", b"k", b"1"]) + encode_command(script) + encode_command([b"DEL", b"k"]))
    frame = aofnb.scan(path).history("k", values=True)
    assert frame.value.tolist() == [b"1", b"from script", None]
    assert frame.cause.tolist() == ["client", "script", "delete"]
    assert aofnb.scan(path).get("k", at=2) == b"from script"


def test_values_follow_swapped_databases(tmp_path):
    log = log_of(tmp_path / "x.aof", "SET k 0", "SELECT 1", "SET k 1", "SWAPDB 0 1", "SET k 2")
    assert log.history("k", values=True).value.tolist() == [b"0", b"1"]
    assert log.history("k", db=1, values=True).value.tolist() == [b"1", b"0", b"2"]


def test_a_snapshot_is_where_keys_come_from():
    log = aofnb.scan(sample("01-rdb-base-incr") / "data")
    frame = log.to_pandas(columns=["key", "db", "part"], encoding=None)
    end = log.at("end")
    for key, db in frame[frame.part.astype(str).str.contains("base")][["key", "db"]].dropna().drop_duplicates().values:
        history = log.history(key, db=db, values=True)
        assert history.cause.iloc[0] == "snapshot"
        assert (history.value.iloc[-1] is not None) == bool(end.run([["SELECT", str(db)], ["EXISTS", key]])[1])


def test_a_large_key_of_a_snapshot_is_read_once(monkeypatch):
    """Each of its rows is a part of one entry: to read it again for each would take the square of its size."""
    from aofnb.forensics import postings

    read = []
    entry_of = postings.RdbReader

    def noted(*args, **options):
        read.append(args)
        return entry_of(*args, **options)

    monkeypatch.setattr(postings, "RdbReader", noted)
    log = aofnb.scan(sample("01-rdb-base-incr") / "data")
    frame = log.to_pandas(columns=["key"], encoding=None)
    key, count = next(iter(frame.key.value_counts().items()))
    history = log.history(key)
    assert (len(history), len(read)) == (count, 1)
    assert [argv[1] for argv in history["args"]] == [key] * count
    assert len({tuple(argv) for argv in history["args"]}) == count > 100


def test_last_write_of_a_key_and_of_a_field(tmp_path):
    log = log_of(tmp_path / "x.aof", "HSET k a 1", "HSET k b 1", "HINCRBY k a 5", "HSET k b 1", "DEL k", "SADD k a")
    assert log.last_write("k").name == 5
    assert log.last_write("k", before=5).name == 4
    assert log.last_write("k", "a", before=4).name == 2
    assert log.last_write("k", "b", before=4).name == 3
    assert log.last_write("k", "b").name == 4
    assert log.last_write("k", "a", before=0) is None
    assert log.last_write("nothing") is None


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("needle", [(1, 2, b"a needle here"), (2, 1, b"needle")]),
        (b"\r\nb", [(3, 2, b"a\r\nb")]),
        (re.compile("^needle$"), [(2, 1, b"needle")]),
        (re.compile(rb"NEEDLE", re.IGNORECASE), [(1, 2, b"a needle here"), (2, 1, b"needle")]),
        ("$1", [(4, 1, b"$1")]),
        ("nothing", []),
    ],
)
def test_find(what, expected, tmp_path):
    argvs = [["SET", "k", "v"], ["SET", "k", "a needle here"], ["DEL", "needle"], ["SET", "k", "a\r\nb"], ["DEL", "$1"]]
    path = tmp_path / "x.aof"
    path.write_bytes(b"".join(encode_command([word.encode() for word in argv]) for argv in argvs))
    log = aofnb.scan(path)
    frame = log.find(what)
    assert list(zip(frame.index, frame.arg, frame.excerpt, strict=True)) == expected
    assert frame.cmd.astype(str).tolist() == [argvs[row][0] for row, _, _ in expected]
    assert len(log.find(what, limit=1)) == min(len(expected), 1)
    assert list(log.find(what, start=2, stop=4).index) == [row for row, _, _ in expected if 2 <= row < 4]


def test_find_refuses_what_is_everywhere(tmp_path):
    log = log_of(tmp_path / "x.aof", "SET k 1")
    with pytest.raises(ValueError, match="nothing to look for"):
        log.find("")
    with pytest.raises(TypeError, match="text, bytes or a compiled pattern"):
        log.find(1)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        # What SWAPDB brought, and took away, of databases in which the key is not.
        (["SWAPDB 0 1", "FLUSHALL", "SET k 1"], ["client"]),
        (["SELECT 1", "SET k 1", "SWAPDB 0 1", "SWAPDB 0 2", "SELECT 0", "SET k 2"], ["swap", "swap", "client"]),
        (["SELECT 1", "SET k 1 PXAT 5", "SWAPDB 0 1", "SELECT 0", "DEL k"], ["swap", "expiry suspected"]),
        (["SET k 1", "MOVE k 1", "SET k 2", "FLUSHALL"], ["client", "move", "client", "flush"]),
        (["SELECT 1", "SET k 1", "FLUSHDB", "SWAPDB 0 1"], []),
    ],
)
def test_where_the_key_is_follows_from_all_databases(lines, expected, tmp_path):
    assert [cause for _, cause in causes(log_of(tmp_path / "x.aof", *lines))] == expected


@pytest.mark.parametrize("seed", range(6))
def test_a_history_is_what_a_replay_shows_in_every_database(seed, tmp_path):
    rng = random.Random(seed)

    def key():
        return rng.choice("ab")

    def db():
        return rng.randrange(3)

    shapes = [
        lambda: f"SET {key()} {db()}",
        lambda: f"INCR {key()}",
        lambda: f"DEL {key()}",
        lambda: f"MOVE {key()} {db()}",
        lambda: f"COPY {key()} {key()} DB {db()}",
        lambda: f"COPY {key()} {key()} DB {db()} REPLACE",
        lambda: f"RENAME {key()} {key()}",
        lambda: f"SWAPDB {db()} {db()}",
        *[lambda: f"SELECT {db()}"] * 2,
        lambda: rng.choice(["FLUSHDB", "FLUSHALL"]),
    ]
    with aofnb.open(tmp_path, background=False) as store:
        session = store.session()
        for _ in range(40):
            with suppress(aofnb.ReplyError):
                # What did nothing is not in the log.
                session.execute(*rng.choice(shapes)().split())
    log = aofnb.scan(tmp_path, cache_dir=False)
    held = []
    for row in range(log.index().rows + 1):
        keyspace = log.at(row).engine.keyspace
        held.append({(db, key): keyspace[db].peek(key) for db in range(3) for key in (b"a", b"b")})
    for place in held[0]:
        history = log.history(place[1], db=place[0], values=True)
        was = [None if row[place] is None else bytes(row[place]) for row in held]
        changed = {row for row, (before, behind) in enumerate(pairwise(was)) if before != behind}
        assert changed <= set(history.index)
        for row, entry in history.iterrows():
            assert entry.value == was[row + 1]
            assert (entry.role == "RM") <= (was[row + 1] is None)
            assert (entry.cause in ("flush", "swap")) <= (was[row] is not None or was[row + 1] is not None)
            assert (entry.cause == "overwrite") <= (was[row] is not None)
