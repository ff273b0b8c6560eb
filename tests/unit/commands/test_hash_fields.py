"""Deadlines of fields: replies and records of redis-server 7.4.1, by a clock that the test moves."""

from __future__ import annotations

import pytest
from support.records import records

import aofnb
from aofnb import ReplyError
from aofnb.clock import FakeClock

NOW = 1_700_000_000_000
H = "HSET h a 1 b 2 c 3"
A_50 = "HEXPIRE h 50 FIELDS 1 a"
# Command; what went before; its reply; its records, as 7.4.1 wrote them but where the row says why not.
ROWS = [
    ("HEXPIRE h 100 FIELDS 1 a", [H], [1], ["HPEXPIREAT h 1700000100000 FIELDS 1 a"]),
    ("HPEXPIRE h 100000 FIELDS 2 a b", [H], [1, 1], ["HPEXPIREAT h 1700000100000 FIELDS 2 a b"]),
    ("HEXPIREAT h 1800000000 FIELDS 1 a", [H], [1], ["HPEXPIREAT h 1800000000000 FIELDS 1 a"]),
    ("hpexpireat h 1800000000000 fields 1 a", [H], [1], ["HPEXPIREAT h 1800000000000 FIELDS 1 a"]),
    ("HEXPIRE h 100 NX FIELDS 2 a b", [H, A_50], [0, 1], ["HPEXPIREAT h 1700000100000 NX FIELDS 1 b"]),
    ("HEXPIRE h 100 GT FIELDS 2 a b", [H, A_50], [1, 0], ["HPEXPIREAT h 1700000100000 GT FIELDS 1 a"]),
    ("HEXPIRE h 100 LT FIELDS 2 a b", [H, A_50], [0, 1], ["HPEXPIREAT h 1700000100000 LT FIELDS 1 b"]),
    ("HEXPIRE h 100 XX FIELDS 2 a b", [H], [0, 0], []),
    ("HEXPIRE h 100 FIELDS 2 a nofield", [H], [1, -2], ["HPEXPIREAT h 1700000100000 FIELDS 1 a"]),
    ("HEXPIRE h 100 FIELDS 1 nofield", [H], [-2], []),
    ("HEXPIRE nokey 100 FIELDS 1 a", [], [-2], []),
    ("HEXPIRE h 0 FIELDS 1 a", [H], [2], ["HDEL h a"]),
    ("HPEXPIREAT h 1 FIELDS 2 a b", [H], [2, 2], ["MULTI", "HDEL h a", "HDEL h b", "EXEC"]),
    ("HPEXPIREAT h 1 FIELDS 2 a nofield", [H], [2, -2], ["HDEL h a"]),
    ("HPERSIST h FIELDS 1 a", [H, A_50], [1], ["HPERSIST h FIELDS 1 a"]),
    ("HPERSIST h FIELDS 2 b x", [H], [-1, -2], []),
    ("HTTL h FIELDS 3 a b x", [H, A_50], [50, -1, -2], []),
    ("HPTTL h FIELDS 1 a", [H, A_50], [50000], []),
    ("HEXPIRETIME h FIELDS 1 a", [H, A_50], [1700000050], []),
    ("HPEXPIRETIME h FIELDS 1 a", [H, A_50], [1700000050000], []),
    ("HTTL nokey FIELDS 1 a", [], [-2], []),
    ("HSET h a 9", [H, A_50], 0, ["HSET h a 9"]),
    ("HINCRBY h a 9", [H, A_50], 10, ["HINCRBY h a 9"]),
    # 7.4.1 logs HSET alone, and after a restart the field lives for good; servers after it log this.
    ("HINCRBYFLOAT h a 1", [H, A_50], b"2",
     ["MULTI", "HSET h a 2", "HPEXPIREAT h 1700000050000 FIELDS 1 a", "EXEC"]),
    ("COPY h h2", [H, A_50], 1, ["COPY h h2"]),
    ("RENAME h h2", [H, A_50], "OK", ["RENAME h h2"]),
]  # fmt: skip
LATE = "HPEXPIRE h 30 FIELDS 1 a"
# The same 60 ms later.
LATER = [
    ("HGET h a", [H, LATE], None, ["HDEL h a"]),
    ("HMGET h a b", [H, LATE], [None, b"2"], ["HDEL h a"]),
    ("HEXISTS h a", [H, LATE], 0, ["HDEL h a"]),
    ("HGETALL h", [H, LATE], [b"b", b"2", b"c", b"3"], []),
    ("HKEYS h", [H, LATE], [b"b", b"c"], []),
    ("HVALS h", [H, LATE], [b"2", b"3"], []),
    ("HSCAN h 0", [H, LATE], [b"0", [b"b", b"2", b"c", b"3"]], []),
    ("HLEN h", [H, LATE], 3, []),
    ("HSET h a 5", [H, LATE], 0, ["HSET h a 5"]),
    ("HDEL h a", [H, LATE], 1, ["HDEL h a"]),
    ("HINCRBY h a 5", [H, LATE], 5, ["MULTI", "HDEL h a", "HINCRBY h a 5", "EXEC"]),
    ("HSETNX h a 5", [H, LATE], 1, ["MULTI", "HDEL h a", "HSETNX h a 5", "EXEC"]),
    ("HRANDFIELD h", ["HSET h a 1", LATE], None, ["HDEL h a"]),
    ("HGET h a", ["HSET h a 1", LATE], None, ["HDEL h a"]),
    ("HTTL h FIELDS 1 a", [H, LATE], [-2], []),
    ("SORT l ALPHA GET *->a", [H, "RPUSH l h", LATE], [None], ["HDEL h a"]),
]


@pytest.fixture
def clock():
    return FakeClock(NOW)


def run(store, row):
    return store.execute(*row.split())


@pytest.mark.parametrize(("command", "before", "reply", "logged"), ROWS, ids=lambda part: str(part)[:40])
def test_replies_and_records(command, before, reply, logged, clock, tmp_path):
    check(command, before, reply, logged, clock, tmp_path, 0)


@pytest.mark.parametrize(("command", "before", "reply", "logged"), LATER, ids=lambda part: str(part)[:40])
def test_replies_and_records_when_a_field_is_overdue(command, before, reply, logged, clock, tmp_path):
    check(command, before, reply, logged, clock, tmp_path, 60)


def check(command, before, reply, logged, clock, tmp_path, later_ms):
    with aofnb.open(tmp_path, appendfsync="no", background=False, clock=clock) as store:
        for row in before:
            run(store, row)
        incr = tmp_path / "appendonlydir" / "appendonly.aof.1.incr.aof"
        known = len(records(incr.read_bytes()))
        clock.advance(later_ms / 1000)
        assert run(store, command) == reply
        written = records(incr.read_bytes())[known:]
        digest = store.execute("DEBUG", "DIGEST")
    assert [b" ".join(record).decode() for record in written if record != [b"SELECT", b"0"]] == logged
    with aofnb.open(tmp_path, background=False, clock=clock) as again:
        assert again.execute("DEBUG", "DIGEST") == digest


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("HEXPIRE h x FIELDS 1 a", "ERR value is not an integer or out of range"),
        ("HEXPIRE h -1 FIELDS 1 a", "ERR invalid expire time, must be >= 0"),
        ("HPEXPIREAT h 70368744177664 FIELDS 1 a", "ERR invalid expire time in 'hpexpireat' command"),
        ("HEXPIRE h 1 NY FIELDS 1 a", "ERR Mandatory argument FIELDS is missing or not at the right position"),
        ("HEXPIRE h 1 FIELDS 0 a", "ERR Parameter `numFields` should be greater than 0"),
        ("HTTL h FIELDS 0 a", "ERR Number of fields must be a positive integer"),
        ("HTTL h FIELDS 2 a", "ERR The `numfields` parameter must match the number of arguments"),
        ("HTTL h FIELD 1 a", "ERR Mandatory argument FIELDS is missing or not at the right position"),
        ("HPERSIST s FIELDS 1 a", "WRONGTYPE Operation against a key holding the wrong kind of value"),
    ],
)
def test_errors(command, message):
    with aofnb.open(None, background=False) as store:
        run(store, H)
        run(store, "SET s 1")
        with pytest.raises(ReplyError) as caught:
            run(store, command)
        assert str(caught.value) == message


def test_the_periodic_job_deletes_overdue_fields_and_a_hash_without_any(clock, tmp_path):
    with aofnb.open(tmp_path, appendfsync="no", background=False, clock=clock) as store:
        run(store, H)
        run(store, "HPEXPIRE h 40 FIELDS 1 b")
        run(store, "HPEXPIRE h 30 FIELDS 1 a")
        run(store, "HSET gone f 1")
        run(store, "HPEXPIRE gone 35 FIELDS 1 f")
        assert store.tick() == pytest.approx(0.031)
        clock.advance(0.06)
        store.tick()
        assert run(store, "HLEN h") == 1
        assert run(store, "EXISTS gone") == 0
        incr = tmp_path / "appendonlydir" / "appendonly.aof.1.incr.aof"
        assert records(incr.read_bytes())[-3:] == [
            [b"HDEL", b"h", b"a"],
            [b"HDEL", b"gone", b"f"],
            [b"HDEL", b"h", b"b"],
        ]
        assert store.engine.keyspace.expired_fields == 3


def test_a_deadline_goes_where_its_hash_goes(clock):
    with aofnb.open(None, background=False, clock=clock) as store:
        for row in (H, LATE, "COPY h copied", "RENAME h renamed", "COPY renamed moved", "MOVE moved 2"):
            run(store, row)
        payload = store.execute("DUMP", "copied")
        store.execute("RESTORE", "restored", 0, payload)
        run(store, "SWAPDB 0 3")
        clock.advance(0.06)
        store.tick()
        assert run(store, "SELECT 3") == "OK"
        assert [run(store, f"HKEYS {key}") for key in ("copied", "renamed", "restored")] == [[b"b", b"c"]] * 3
        assert run(store, "HLEN renamed") == 2
        run(store, "SELECT 2")
        assert run(store, "HLEN moved") == 2


@pytest.mark.parametrize("preamble", ["yes", "no"])
@pytest.mark.parametrize("entries", [512, 1])
def test_a_base_keeps_the_deadlines(preamble, entries, clock, tmp_path):
    settings = {"aof_use_rdb_preamble": preamble, "hash_max_listpack_entries": entries}
    with aofnb.open(tmp_path, background=False, clock=clock, **settings) as store:
        run(store, H)
        run(store, "HPEXPIREAT h 1700000050000 FIELDS 2 a c")
        run(store, "BGREWRITEAOF")
        assert run(store, "OBJECT ENCODING h") == (b"listpackex" if entries > 1 else b"hashtable")
    (base,) = (tmp_path / "appendonlydir").glob("*.base.*")
    assert base.read_bytes().startswith(b"REDIS0012" if preamble == "yes" else b"*2\r\n")
    with aofnb.open(tmp_path, background=False, clock=clock, **settings) as again:
        assert run(again, "HPEXPIRETIME h FIELDS 3 a b c") == [1700000050000, -1, 1700000050000]
        clock.advance(60)
        again.tick()
        assert run(again, "HGETALL h") == [b"b", b"2"]


def test_without_deadlines_a_base_is_one_that_7_0_reads(clock, tmp_path):
    with aofnb.open(tmp_path, background=False, clock=clock) as store:
        for row in (H, A_50, "HPERSIST h FIELDS 1 a", "BGREWRITEAOF"):
            run(store, row)
    (base,) = (tmp_path / "appendonlydir").glob("*.base.*")
    assert base.read_bytes().startswith(b"REDIS0010")


def test_many_changes_of_one_deadline_do_not_fill_memory(clock):
    with aofnb.open(None, background=False, clock=clock) as store:
        run(store, H)
        for number in range(10_000):
            store.execute("HPEXPIREAT", "h", NOW + 1000 + number, "FIELDS", 1, "a")
        assert len(store.engine.keyspace[0]._field_deadlines) < 8000
