import pytest

import aofnb
from aofnb.resp.encode import encode_command


def log_of(path, *lines):
    pieces = [
        line.encode() + b"\r\n" if line.startswith("#") else encode_command(line.encode().split()) for line in lines
    ]
    path.write_bytes(b"".join(pieces))
    return aofnb.scan(path)


def test_diff_of_every_kind_of_change(tmp_path):
    log = log_of(
        tmp_path / "x.aof",
        *("SET gone 1", "SET same 1", "HSET h a 1 b 2", "SET t 1", "SET e 1", "RPUSH l 1 2 3", "SADD s a b"),
        *("DEL gone", "SET same 2", "SET same 1", "HSET h a 9 c 3", "HDEL h b", "DEL t", "SADD t 1", "PEXPIREAT e 99"),
        *("LSET l 1 x", "SREM s a", "SADD s c", "SELECT 1", "SET new 1"),
    )
    frame = log.diff(7, "end").set_index(["db", "key"])
    assert frame.change.astype(str).to_dict() == {
        (0, b"e"): "ttl-changed",
        (0, b"gone"): "removed",
        (0, b"h"): "modified",
        (0, b"l"): "modified",
        (0, b"s"): "modified",
        (0, b"t"): "type-changed",
        (1, b"new"): "added",
    }
    assert frame.detail[(0, b"h")] == [(b"a", b"1", b"9"), (b"b", b"2", None), (b"c", None, b"3")]
    assert frame.detail[(0, b"l")] == [(1, b"2", b"x")]
    assert frame.detail[(0, b"s")] == [(b"a", True, None), (b"c", None, True)]
    assert (frame.before[(0, b"gone")], frame.after[(1, b"new")]) == (b"1", b"1")
    assert list(log.diff(7, "end", db=1).key) == [b"new"]
    assert list(log.diff(7, "end", key="h").key) == [b"h"]
    assert len(log.diff(7, 7)) == 0
    with pytest.raises(ValueError, match="give the earlier position first"):
        log.diff(8, 7)


def test_diff_sees_what_a_value_holds_beside_its_elements(tmp_path):
    """Groups of a stream, what they were given, and deadlines of fields."""
    log = log_of(
        tmp_path / "x.aof",
        *("XADD s 1-1 a 1", "XADD s 2-1 a 2", "XGROUP CREATE s g 0-0", "XADD t 1-1 a 1", "HSET h f 1 g 2"),
        *(
            "XCLAIM s g ann 0 1-1 TIME 0 RETRYCOUNT 1 FORCE JUSTID LASTID 1-1",
            "XSETID t 5-1",
            "HPEXPIREAT h 9999999999999 FIELDS 1 f",
        ),
        "XADD s 3-1 a 3",
    )
    frame = log.diff(5, 8).set_index("key")
    assert frame.change.astype(str).to_dict() == dict.fromkeys((b"h", b"s", b"t"), "modified")
    before = {"last id": "0-0", "consumers": set(), "pending": {}}
    after = {"last id": "1-1", "consumers": {b"ann"}, "pending": {"1-1": b"ann"}}
    assert frame.detail[b"s"] == [("group g", before, after)]
    assert frame.detail[b"t"] == [("last id", "1-1", "5-1")]
    assert frame.detail[b"h"] == [("deadline of f", None, 9999999999999)]
    assert [element for element, _, _ in log.diff(8, 9).detail[0]] == [b"3-1"]


def test_diff_over_a_flush_looks_at_every_key(tmp_path):
    log = log_of(tmp_path / "x.aof", "SET a 1", "SELECT 1", "SET b 1", "FLUSHALL", "SET c 1")
    frame = log.diff(3, "end")
    assert list(zip(frame.db, frame.key, frame.change, strict=True)) == [
        (0, b"a", "removed"),
        (1, b"b", "removed"),
        (1, b"c", "added"),
    ]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["HSET k a 1", "HSET k b 1", "HSET k a 1"], {b"a": 2, b"b": 1}),
        (["HSET k a 1", "HINCRBY k a 2", "HDEL k b"], {b"a": 1}),
        (["SADD k a", "SADD k a b"], {b"a": 0, b"b": 1}),
        (["ZADD k 1 a", "ZADD k 2 b 1 a", "ZINCRBY k 1 a"], {b"a": 2, b"b": 1}),
        (["RPUSH k a b", "LPUSH k c", "LPOP k", "RPUSH k d"], {0: 0, 1: 0, 2: 3}),
        (["RPUSH k a b a c a", "RPUSH k a", "LREM k -2 a", "LSET k 0 z"], {0: 3, 1: 0, 2: 0, 3: 0}),
        (["RPUSH k a b", "LINSERT k BEFORE b x", "LTRIM k 1 -1"], {0: 1, 1: 0}),
        (["SET k hello", "APPEND k !", "SETRANGE k 1 a"], {"0:1": 0, "1:2": 2, "2:5": 0, "5:6": 1}),
        (["SET k 1", "INCR k", "INCR k"], {"0:1": 2}),
        (["SET k 1", "DEL k", "SET k 2"], {"0:1": 2}),
        (["HSET j a 1", "RENAME j k", "HSET k b 2"], {b"a": 0, b"b": 2}),
        (["SADD j a", "SADD k b", "SMOVE j k a"], {b"a": 2, b"b": 1}),
        (["SELECT 1", "HSET k a 1", "SWAPDB 0 1", "SELECT 0", "HSET k b 1"], {b"a": 1, b"b": 4}),
        (["XADD k 1-1 f v", "XADD k 2-1 f v", "XDEL k 1-1"], {b"2-1": 1}),
        (["SET k 1", "FLUSHALL"], {}),
        ([], {}),
    ],
)
def test_blame(lines, expected, tmp_path):
    frame = log_of(tmp_path / "x.aof", *lines).blame("k")
    assert dict(zip(frame.element, frame.seq, strict=True)) == expected


def test_blame_as_of_a_position(tmp_path):
    log = log_of(tmp_path / "x.aof", "HSET k a 1", "HSET k a 2")
    assert list(log.blame("k", at=1).value) == [b"1"]


def test_blame_refuses_where_a_script_may_have_written(tmp_path):
    log = log_of(tmp_path / "x.aof", "EVAL return 0", "SET k 1")
    with pytest.raises(ValueError, match="nobody can tell which command wrote what"):
        log.blame("k")


@pytest.mark.parametrize("mark_rows", [4, 1 << 16])
def test_bisect_finds_the_command(tmp_path, monkeypatch, mark_rows):
    monkeypatch.setattr("aofnb.forensics.rows._MARK_ROWS", mark_rows)
    log = log_of(tmp_path / "x.aof", *["SET x 1"] * 20, "SET stock 3", *["DECR stock", "SET x 2"] * 30)

    def negative(store):
        return int(store.execute("GET", "stock") or 0) < 0

    row = log.bisect(negative)
    assert (row.name, row.cmd) == (21 + 2 * 3, "DECR")
    assert log.bisect(negative, hi=27) is None
    assert log.bisect(negative, hi=28).name == 27
    with pytest.raises(ValueError, match="already; name a position at which it is not"):
        log.bisect(negative, lo=40)


def test_bisect_takes_a_transaction_as_one(tmp_path):
    log = log_of(tmp_path / "x.aof", "SET a 1", "MULTI", "SET a 5", "SET a 1", "SET b 1", "EXEC", "SET c 1")
    assert log.bisect(lambda store: store.execute("EXISTS", "b")).name == 5
    assert log.bisect(lambda store: store.execute("GET", "a") == b"5") is None
