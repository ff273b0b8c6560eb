"""DUMP and RESTORE: what is refused, what is logged, and what becomes of deadlines."""

from __future__ import annotations

import pytest

import aofnb
from aofnb import ReplyError
from aofnb.rdb.crc64 import crc64


def payload(body: bytes, version: int = 10) -> bytes:
    body += version.to_bytes(2, "little")
    return body + crc64(body).to_bytes(8, "little")


ABC = payload(b"\x00\x03abc")
WRONG = "ERR DUMP payload version or checksum are wrong"
BAD = "ERR Bad data format"


@pytest.fixture
def store():
    with aofnb.open(None, background=False) as store:
        yield store


def test_dump_gives_what_redis_gives(store):
    store.execute("SET", "q", "abc")
    assert store.execute("DUMP", "q").hex(" ") == "00 03 61 62 63 0a 00 d9 ac 30 3d 41 72 a2 e2"
    assert store.execute("DUMP", "no such key") is None


@pytest.mark.parametrize(
    ("args", "error"),
    [
        ((0, b""), WRONG),
        ((0, b"123456789"), WRONG),
        ((0, ABC[:-1] + b"x"), WRONG),
        ((0, payload(b"\x00\x03abc", 11)), WRONG),
        ((0, payload(b"\x00\x04abc")), BAD),
        ((0, payload(b"")), BAD),
        ((0, payload(b"\x01\x00")), BAD),
        ((0, payload(b"\x14\x0a\x0a\x00\x00\x00\x01\x00\x81a\x02\xff")), BAD),
        ((-1, ABC), "ERR Invalid TTL value, must be >= 0"),
        (("x", ABC), "ERR value is not an integer or out of range"),
        ((0, ABC, "IDLETIME", -1), "ERR Invalid IDLETIME value, must be >= 0"),
        ((0, ABC, "FREQ", 256), "ERR Invalid FREQ value, must be >= 0 and <= 255"),
        ((0, ABC, "FREQ", 1, "IDLETIME", 1), "ERR syntax error"),
        ((0, ABC, "FREQ"), "ERR syntax error"),
        ((0, ABC, "NX"), "ERR syntax error"),
    ],
)
def test_what_restore_refuses_changes_nothing(store, args, error):
    with pytest.raises(ReplyError) as caught:
        store.execute("RESTORE", "k", *args)
    assert str(caught.value) == error
    assert store.execute("DBSIZE") == 0


def test_a_key_in_the_way_stays_unless_it_is_to_be_replaced(store):
    store.execute("SET", "k", "old", "EX", 100)
    with pytest.raises(ReplyError, match=r"BUSYKEY Target key name already exists\."):
        store.execute("RESTORE", "k", 0, b"no payload at all")
    assert store.execute("RESTORE", "k", 0, ABC, "REPLACE") == "OK"
    assert (store.execute("GET", "k"), store.execute("TTL", "k")) == (b"abc", -1)


def test_what_follows_the_value_is_ignored_as_the_server_ignores_it(store):
    store.execute("RESTORE", "k", 0, payload(b"\x00\x03abcdef"))
    assert store.execute("GET", "k") == b"abc"


def test_a_life_too_long_for_64_bits_ends_before_it_begins(store):
    assert store.execute("RESTORE", "k", 2**63 - 1, ABC) == "OK"
    assert store.execute("EXISTS", "k") == 0
    store.execute("RESTORE", "k", 2**63 - 1, ABC, "ABSTTL")
    assert store.execute("PEXPIRETIME", "k") == 2**63 - 1


def test_a_payload_of_a_newer_server_loads_from_a_log_only(tmp_path):
    newer = payload(b"\x14\x0a\x0a\x00\x00\x00\x01\x00\x81a\x02\xff", 11)
    with aofnb.open(tmp_path, background=False) as store:
        with pytest.raises(ReplyError, match=WRONG):
            store.execute("RESTORE", "k", 0, newer)
        store.execute("SET", "a", 1)
    (log,) = tmp_path.glob("appendonlydir/*.incr.aof")
    with open(log, "ab") as file:
        file.write(b"*4\r\n$7\r\nRESTORE\r\n$1\r\nk\r\n$1\r\n0\r\n$%d\r\n%b\r\n" % (len(newer), newer))
    with aofnb.open(tmp_path, background=False) as store:
        assert store.execute("SMEMBERS", "k") == [b"a"]


def test_what_was_restored_is_there_after_a_reload(tmp_path):
    with aofnb.open(tmp_path, background=False) as store:
        store.execute("RESTORE", "k", 100_000, ABC)
        store.execute("MULTI")
        store.execute("RESTORE", "in exec", 100_000, ABC, "IDLETIME", 7)
        store.execute("RESTORE", "k2", 0, ABC)
        store.execute("EXEC")
        store.execute("RESTORE", "k2", 1, ABC, "ABSTTL", "REPLACE")
        deadline_ms = store.execute("PEXPIRETIME", "k")
    with aofnb.open(tmp_path, background=False) as store:
        assert store.load_report.failed == ()
        assert sorted(store.execute("KEYS", "*")) == [b"in exec", b"k"]
        assert store.execute("PEXPIRETIME", "k") == deadline_ms
        assert store.execute("PTTL", "in exec") > 0


def test_the_limits_of_compact_forms_hold_for_what_is_restored(store):
    store.execute("ZADD", "z", 1, "a", 2, "b")
    store.execute("HSET", "h", "a", 1, "b", 2)
    store.execute("SADD", "s", 1, 2)
    dumps = {key: store.execute("DUMP", key) for key in ("z", "h", "s")}
    for setting in ("zset-max-listpack-entries", "hash-max-listpack-entries", "set-max-intset-entries"):
        store.execute("CONFIG", "SET", setting, 1)
    for key, dump in dumps.items():
        store.execute("RESTORE", key, 0, dump, "REPLACE")
    encodings = [store.execute("OBJECT", "ENCODING", key) for key in dumps]
    assert encodings == [b"skiplist", b"hashtable", b"hashtable"]
