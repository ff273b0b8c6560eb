"""One command from its arguments to its reply: units, turns, refusals."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.faults import FaultFs
from support.records import records

import aofnb
from aofnb.clock import FakeClock
from aofnb.commands.registry import NEVER, REWRITTEN, Command


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(tmp_path: Path, clock: FakeClock):
    with aofnb.open(tmp_path / "data", clock=clock, background=False, seed=1) as store:
        yield store


def log(store: aofnb.Store) -> list[list[bytes]]:
    assert store.path is not None
    path = Path(store.path) / "appendonlydir" / "appendonly.aof.1.incr.aof"
    return [argv for argv in records(path.read_bytes()) if argv[0] != b"SELECT"]


def test_a_reply_comes_after_its_record_is_in_the_file(store):
    store.execute("SET", "k", "v")
    assert log(store) == [[b"SET", b"k", b"v"]]
    assert store.stats().aof_buf_bytes == 0


def test_a_pipeline_is_one_write(tmp_path):
    fs = FaultFs(only={"write"})
    with aofnb.open(tmp_path / "data", fs=fs, background=False) as store:
        before = fs.done
        assert store.run([("SET", "a", 1), ("INCR", "a"), ("GET", "a")]) == ["OK", 2, b"2"]
        assert fs.done == before + 1


def test_an_error_in_a_pipeline_is_a_value_and_the_rest_runs(store):
    replies = store.run([("SET", "a", "x"), ("INCR", "a"), ("SET", "b", 1)])
    assert [str(reply) for reply in replies] == ["OK", "ERR value is not an integer or out of range", "OK"]
    with pytest.raises(aofnb.ReplyError, match="not an integer"):
        store.pipeline().add("INCR", "a").add("SET", "c", 1).execute()
    assert store.execute("GET", "c") == b"1"


def test_what_changes_nothing_leaves_nothing_in_the_log(store):
    store.run([("DEL", "nokey"), ("GET", "nokey"), ("SET", "a", 1, "XX"), ("SADD",), ("NOSUCH", "x")])
    assert log(store) == []


def test_an_expired_key_and_the_command_that_met_it_are_one_transaction(store, clock):
    store.execute("SET", "k", "v", "PX", 10)
    clock.advance(1)
    store.execute("APPEND", "k", "w")
    assert log(store)[1:] == [[b"MULTI"], [b"DEL", b"k"], [b"APPEND", b"k", b"w"], [b"EXEC"]]


def test_active_expiry_logs_plain_deletions_in_order_of_deadline(store, clock):
    store.run([("SET", "b", 1, "PX", 20), ("SET", "a", 1, "PX", 10), ("SET", "c", 1, "PX", 9000)])
    clock.advance(1)
    store.tick()
    assert log(store)[3:] == [[b"DEL", b"a"], [b"DEL", b"b"]]
    assert store.execute("DBSIZE") == 1


def test_time_stands_still_inside_exec(store, clock):
    """A key that is alive when EXEC begins is alive to its end, as in Redis."""
    store.execute("SET", "k", "v", "PX", 5)
    start = clock.now_ms()
    ticking = iter(range(start, start + 100, 3))
    clock.now_ms = lambda: next(ticking)
    assert store.run([("MULTI",), *[("GET", "k")] * 10, ("EXEC",)])[-1] == [b"v"] * 10
    clock.now_ms = lambda: start + 100
    assert store.execute("GET", "k") is None


def test_the_time_to_tick_again_is_the_next_deadline(store, clock):
    clock.advance(5)
    assert store.tick() is None
    store.execute("SET", "k", "v", "PX", 2500)
    store.tick()  # syncs what was written
    store._bio.drain()
    assert store.tick() == pytest.approx(2.5, abs=0.01)


def test_everysec_syncs_an_idle_store_about_a_second_later(store, clock):
    store.execute("SET", "k", "v")
    assert store.stats().unsynced_bytes > 0
    clock.advance(0.5)
    store.tick()
    assert store.stats().fsync_lag_s == pytest.approx(0.5)
    clock.advance(0.6)
    store.tick()
    store._bio.drain()
    stats = store.stats()
    assert (stats.unsynced_bytes, stats.unsynced_commands, stats.fsync_lag_s) == (0, 0, 0.0)


def test_always_syncs_before_the_reply(tmp_path):
    with aofnb.open(tmp_path / "data", appendfsync="always") as store:
        store.execute("SET", "k", "v")
        assert store.stats().unsynced_bytes == 0
        assert store.stats().fsyncs == 1


def test_a_batch_writes_at_its_end(store):
    with store.batch():
        store.execute("SET", "a", 1)
        assert log(store) == []
    assert log(store) == [[b"SET", b"a", b"1"]]


def test_a_handler_that_breaks_its_declaration_is_noticed(store):
    client = store.engine.new_client()

    def changes(client):
        client.changed(b"k", "set")
        return "OK"

    for rule in (NEVER, REWRITTEN):
        command = Command("BAD", changes, 1, frozenset(), (0, 0, 0), rule, None, "bad", "Bad.", "1.0.0")
        with pytest.raises(AssertionError, match="BAD changed data but asked for no record"):
            store.engine.call(client, command, [b"BAD"])


def test_sessions_have_their_own_database_and_transaction(store):
    other = store.session()
    store.execute("SELECT", 2)
    store.execute("MULTI")
    store.execute("SET", "k", "in 2")
    assert other.execute("GET", "k") is None
    other.execute("SET", "k", "in 0")
    store.execute("EXEC")
    assert (other.execute("GET", "k"), store.execute("GET", "k")) == (b"in 0", b"in 2")


def test_arguments_that_have_no_one_spelling_are_refused(store):
    for argument in (None, True, object(), [1]):
        with pytest.raises(TypeError):
            store.execute("SET", "k", argument)
        with pytest.raises(TypeError):
            store.run([("SET", "k", argument)])
    with pytest.raises(TypeError):
        store.execute()
    store.execute("SET", memoryview(b"k"), bytearray(b"v"))
    assert store.execute("get", b"k") == b"v"
    assert store.execute("APPEND", "k", 1.5) == 4


def test_config_set_is_all_or_nothing(store):
    with pytest.raises(aofnb.ReplyError, match="everysec, always, no"):
        store.execute("CONFIG", "SET", "hz", 20, "appendfsync", "sometimes")
    assert store.config_get("hz") == "10"
    store.config_set("appendfsync", "no")
    assert store.stats().appendfsync == "no"
    with pytest.raises(aofnb.ReplyError, match="immutable"):
        store.config_set("databases", 3)


def test_info_says_what_stats_says(store):
    store.execute("SET", "k", "v")
    info = dict(line.split(":", 1) for line in store.execute("INFO").decode().splitlines() if ":" in line)
    stats = store.stats()
    assert info["aof_current_size"] == str(stats.current_size)
    assert info["aofnb_unsynced_bytes"] == str(stats.unsynced_bytes)
    assert info["redis_version"] == "7.0.15"
    assert info["db0"].startswith("keys=1,")
    assert b"# Keyspace" in store.execute("INFO", "keyspace")
    assert b"# Server" not in store.execute("INFO", "keyspace")


@pytest.mark.parametrize("many", [False, True])
def test_what_readers_find_and_miss_is_counted_alike_one_by_one_and_in_a_run(many: bool) -> None:
    commands = [("SET", "a", 1), ("GET", "a"), ("get", "a"), ("GET", "none"), ("SET", "a", 2), ("STRLEN", "none")]
    with aofnb.open(None, background=False) as store:
        if many:
            store.run(commands)
        else:
            for argv in commands:
                store.execute(*argv)
        counted = "keyspace_hits:2\r\nkeyspace_misses:2\r\n"
        assert counted in store.execute("INFO", "stats").decode()
        store.execute("CONFIG", "RESETSTAT")
        assert "keyspace_hits:0\r\nkeyspace_misses:0\r\n" in store.execute("INFO", "stats").decode()
