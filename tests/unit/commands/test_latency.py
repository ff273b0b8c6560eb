"""LATENCY, SLOWLOG and what counts commands: when something is kept, and how it is shown."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

import aofnb
from aofnb.aof import snapshot
from aofnb.clock import FakeClock
from aofnb.commands.registry import table
from aofnb.commands.timing import HISTORY, CommandStats


class SlowClock(FakeClock):
    """Time passes with every look at it, if it is told so."""

    step_s = 0.0

    def monotonic(self) -> float:
        self.advance(self.step_s)
        return super().monotonic()


@pytest.fixture
def clock() -> SlowClock:
    return SlowClock()


@pytest.fixture
def store(clock: SlowClock) -> Iterator[aofnb.Store]:
    with aofnb.open(None, background=False, clock=clock) as store:
        yield store


def test_nothing_is_kept_unless_asked_for(store, clock):
    clock.step_s = 0.009
    store.run([("SET", "k", 1), ("KEYS", "*"), ("GET", "k")])
    assert store.execute("LATENCY", "LATEST") == []
    assert store.execute("SLOWLOG", "LEN") == 0
    assert b"monitoring is disabled" in store.execute("LATENCY", "DOCTOR")


@pytest.mark.parametrize("together", [False, True], ids=["one by one", "pipeline"])
def test_slow_commands_are_kept_once_each_latest_first(store, clock, together):
    clock.step_s = 0.0155
    commands = [("KEYS", "*"), ("get", "k"), ("LRANGE", "l", 0, -1), ("KEYS", "*"), ("CONFIG", "GET", "hz")]
    if together:
        store.run(commands)
    else:
        for command in commands:
            store.execute(*command)
    clock.step_s = 0
    entries = store.execute("SLOWLOG", "GET")
    assert [entry[3][0] for entry in entries] == [b"CONFIG", b"KEYS", b"LRANGE", b"KEYS"], "GET never takes so long"
    assert [entry[0] for entry in entries] == [3, 2, 1, 0]
    assert 15_000 <= entries[0][2] < 16_000
    assert entries[2][3] == [b"LRANGE", b"l", b"0", b"-1"]
    assert store.execute("SLOWLOG", "GET", 1) == entries[:1]
    assert store.execute("SLOWLOG", "GET", -1) == entries
    store.execute("SLOWLOG", "RESET")
    assert store.execute("SLOWLOG", "LEN") == 0
    with pytest.raises(aofnb.ReplyError, match="greater than or equal to -1"):
        store.execute("SLOWLOG", "GET", "x")


def test_a_low_limit_times_every_command_and_a_negative_one_none(store, clock):
    store.execute("GET", "k")
    store.config_set("slowlog-log-slower-than", 0)
    store.run([("GET", "k"), ("MULTI",), ("SET", "k", 1), ("EXEC",)])
    store.execute("GET", "k")
    names = [entry[3][0] for entry in store.execute("SLOWLOG", "GET", -1)]
    # EXEC itself is not kept, as the server has it.
    assert names[:5] == [b"GET", b"SET", b"MULTI", b"GET", b"CONFIG"]
    store.config_set("slowlog-log-slower-than", -1)
    store.execute("SLOWLOG", "RESET")
    clock.step_s = 1
    store.execute("KEYS", "*")
    assert store.execute("SLOWLOG", "LEN") == 0


def test_long_commands_are_shortened_and_old_ones_dropped(store):
    store.config_set("slowlog-log-slower-than", 0)
    store.config_set("slowlog-max-len", 2)
    store.execute("RPUSH", "l", *range(40))
    store.execute("SET", "k", "x" * 200)
    assert store.execute("SLOWLOG", "LEN") == 2
    entries = store.execute("SLOWLOG", "GET")
    assert entries[0][3] == [b"SLOWLOG", b"LEN"]
    assert entries[1][3][2] == b"x" * 128 + b"... (72 more bytes)"
    store.execute("RPUSH", "l", *range(40))
    argv = store.execute("SLOWLOG", "GET")[0][3]
    assert (len(argv), argv[-1]) == (32, b"... (11 more arguments)")
    store.config_set("slowlog-max-len", 0)
    assert store.execute("SLOWLOG", "GET") == []


def test_events_above_the_threshold_are_kept_one_a_second_the_highest(store, clock):
    store.config_set("latency-monitor-threshold", 5)
    monitor = store.engine.timing.monitor
    for seconds in (0.004, 0.006, 0.009, 0.007):
        monitor.sample("aof-write", seconds)
    clock.advance(1)
    monitor.sample("aof-write", 0.005)
    now_s = clock.now_ms() // 1000
    assert store.execute("LATENCY", "HISTORY", "aof-write") == [[now_s - 1, 9], [now_s, 5]]
    assert store.execute("LATENCY", "LATEST") == [[b"aof-write", now_s, 5, 9]]
    assert b"2 latency spikes (average 7ms" in store.execute("LATENCY", "DOCTOR")
    for _ in range(HISTORY):
        clock.advance(1)
        monitor.sample("aof-write", 0.005)
    assert len(store.execute("LATENCY", "HISTORY", "aof-write")) == HISTORY
    assert store.execute("LATENCY", "RESET", "nosuch") == 0
    assert store.execute("LATENCY", "RESET") == 1
    assert store.execute("LATENCY", "HISTORY", "aof-write") == []
    with pytest.raises(aofnb.ReplyError, match="No samples available for event 'aof-write'"):
        store.execute("LATENCY", "GRAPH", "aof-write")
    assert b"no latency spike" in store.execute("LATENCY", "DOCTOR")


def test_commands_and_fast_commands_are_events(store, clock):
    store.config_set("latency-monitor-threshold", 5)
    clock.step_s = 0.006
    store.execute("GET", "k")
    store.execute("SET", "k", 1)
    clock.step_s = 0
    assert [event for event, *_ in store.execute("LATENCY", "LATEST")] == [b"fast-command", b"command"]


def test_expiry_rewrites_and_forks_are_events(tmp_path, clock):
    with aofnb.open(tmp_path, background=False, clock=clock, latency_monitor_threshold=5) as store:
        store.run([("SET", "a", 1, "PX", 10), ("SET", "b", 1, "PX", 10)])
        clock.advance(1)
        clock.step_s = 0.006
        assert store.execute("GET", "a") is None
        assert "expire-del" in {event.decode() for event, *_ in store.execute("LATENCY", "LATEST")}
        store.tick()
        store.bgrewriteaof()
        if snapshot.available():
            store._rewriter.in_place_keys = -1
            store.bgrewriteaof()
            store._rewriter.wait()
        clock.step_s = 0
        events = {event.decode() for event, *_ in store.execute("LATENCY", "LATEST")}
        assert {"expire-cycle", "aof-fstat", "aof-rename", "rewrite-in-place"} <= events
        assert ("fork" in events) == snapshot.available()


def test_writes_and_fsyncs_are_events(tmp_path, clock):
    with aofnb.open(tmp_path, background=False, clock=clock, appendfsync="always") as store:
        store.config_set("latency-monitor-threshold", 5)
        clock.step_s = 0.006
        store.execute("SET", "k", 1)
        clock.step_s = 0
        events = {event for event, *_ in store.execute("LATENCY", "LATEST")}
        assert events == {b"command", b"aof-write", b"aof-write-alone", b"aof-fsync-always"}
        assert b"pipeline, a cell" in store.execute("LATENCY", "DOCTOR")
        store.execute("LATENCY", "RESET")
        store.config_set("latency-monitor-threshold", 0)
        clock.step_s = 0.006
        store.execute("SET", "k", 1)
        assert store.execute("LATENCY", "LATEST") == []


def test_tracking_counts_every_command(store, clock):
    store.execute("GET", "k")
    assert b"cmdstat" not in store.execute("INFO", "everything")
    store.config_set("latency-tracking", True)
    clock.step_s = 0.000_005
    for _ in range(3):
        store.execute("GET", "k")
    with pytest.raises(aofnb.ReplyError):
        store.execute("INCR", "k", "too", "many")
    store.execute("SET", "k", "x")
    with pytest.raises(aofnb.ReplyError):
        store.execute("INCR", "k")
    clock.step_s = 0
    stats = store.engine.timing.commands
    assert stats["get"].calls == 3
    assert (stats["incr"].calls, stats["incr"].failed) == (1, 1)
    info = store.execute("INFO", "commandstats", "latencystats", "errorstats").decode()
    assert "cmdstat_get:calls=3,usec=" in info
    assert "latency_percentiles_usec_get:p50=" in info
    assert "errorstat_ERR:count=2" in info
    store.execute("CONFIG", "SET", "latency-tracking-info-percentiles", "12.5 100")
    assert re.search(
        r"latency_percentiles_usec_get:p12.5=[\d.]+,p100=[\d.]+\r\n", store.execute("INFO", "latencystats").decode()
    )
    histogram = store.execute("LATENCY", "HISTOGRAM", "get", "nosuch")
    assert histogram[0] == b"get"
    assert histogram[1][:3] == [b"calls", 3, b"histogram_usec"]
    store.execute("CONFIG", "RESETSTAT")
    assert "get" not in store.engine.timing.commands
    assert store.engine.timing.errors == {}


def test_a_histogram_is_cumulative():
    stats = CommandStats()
    for microseconds in (0, 1, 2, 3, 4, 5, 900):
        stats.add(microseconds, False)
    assert stats.cumulative() == {1: 2, 2: 3, 4: 5, 8: 6, 1024: 7}
    assert (stats.percentile(50), stats.percentile(99.9)) == (4, 1024)


def test_what_is_timed_by_default_is_what_may_take_long():
    assert table["GET"].bounded
    assert table["SET"].bounded
    assert not any(table[name].bounded for name in ("KEYS", "SORT", "LRANGE", "SUNION", "EVAL", "DEBUG"))
