"""maxmemory: what goes, what is refused, what is logged; by a clock and a chance of the test's own."""

from __future__ import annotations

import pytest
from support.records import records
from support.require import need_module

import aofnb
from aofnb import ReplyError
from aofnb.clock import FakeClock

OOM = "OOM command not allowed when used memory > 'maxmemory'."
LFU_OFF = "ERR An LFU maxmemory policy is not selected, access frequency not tracked."


@pytest.fixture
def clock():
    return FakeClock()


def opened(clock, path=None, **settings):
    return aofnb.open(path, background=False, clock=clock, seed=1, **settings)


def fill(store, count=20, **options):
    for number in range(count):
        store.execute("SET", f"k{number}", "x" * 100, *(word for pair in options.items() for word in pair))


def half(store):
    """Let there be room for half of what is there."""
    used = store.engine.usage.used_memory()
    store.execute("CONFIG", "SET", "maxmemory", used // 2)


def keys(store):
    return {key.decode() for key in store.execute("KEYS", "*")}


def test_nothing_is_weighed_or_watched_while_no_setting_asks(clock):
    with opened(clock) as store:
        fill(store)
        assert store.engine.usage is None
        assert store.engine.observe is None
        assert not store.engine.long_way
        store.execute("CONFIG", "SET", "maxmemory", "100mb")
        assert store.engine.usage is not None
        store.execute("CONFIG", "SET", "maxmemory", 0)
        assert store.engine.usage is None
        assert not store.engine.long_way


def test_noeviction_refuses_what_needs_memory_and_nothing_else(clock):
    with opened(clock, maxmemory="1gb") as store:
        fill(store)
        half(store)
        for argv in (["SET", "new", "v"], ["LPUSH", "l", "v"], ["COPY", "k1", "k2"]):
            with pytest.raises(ReplyError) as caught:
                store.execute(*argv)
            assert str(caught.value) == OOM
        assert store.execute("GET", "k1") == b"x" * 100
        assert store.execute("DEL", "k1") == 1
        assert len(keys(store)) == 19
        store.execute("CONFIG", "SET", "maxmemory", "1gb")
        assert store.execute("SET", "new", "v") == "OK"


def test_a_transaction_that_needs_memory_is_refused_as_a_whole(clock):
    with opened(clock, maxmemory="1gb") as store:
        fill(store)
        store.execute("MULTI")
        store.execute("SET", "new", "v")
        used = store.engine.usage.used_memory()
        store.session().execute("CONFIG", "SET", "maxmemory", used // 2)
        with pytest.raises(ReplyError, match="OOM"):
            store.execute("GET", "k1")
        with pytest.raises(ReplyError) as caught:
            store.execute("EXEC")
        assert str(caught.value) == f"EXECABORT Transaction discarded because of: {OOM}"
        assert store.execute("EXISTS", "new") == 0


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random"])
def test_victims_make_room_and_are_logged_before_what_needed_it(policy, clock, tmp_path):
    with opened(clock, tmp_path, maxmemory="1gb", maxmemory_policy=policy, appendfsync="no") as store:
        fill(store)
        half(store)
        evicted = store.engine.keyspace.evicted_keys
        assert 8 <= evicted <= 14
        incr = tmp_path / "appendonlydir" / "appendonly.aof.1.incr.aof"
        # It takes more than there is room for: that is seen to when the next command comes.
        store.execute("SET", "k0", "x" * 400)
        known = len(records(incr.read_bytes()))
        store.execute("SET", "new", "v")
        gone = records(incr.read_bytes())[known:]
        assert len(gone) > 1
        assert [record[0] for record in gone] == [b"DEL"] * (len(gone) - 1) + [b"SET"]
        assert store.engine.keyspace.evicted_keys == evicted + len(gone) - 1
        store.execute("CONFIG", "SET", "maxmemory", "1gb")
        assert b"evicted_keys:%d\r\n" % store.engine.keyspace.evicted_keys in store.execute("INFO", "stats")
        left = keys(store)
        assert left.isdisjoint(record[1].decode() for record in gone[:-1])
    with opened(clock, tmp_path) as again:
        assert keys(again) == left


def test_lazyfree_lazy_eviction_logs_unlink(clock, tmp_path):
    settings = {"maxmemory": "1gb", "maxmemory_policy": "allkeys-random", "lazyfree_lazy_eviction": "yes"}
    with opened(clock, tmp_path, appendfsync="no", **settings) as store:
        fill(store)
        half(store)
        store.execute("PING")
        incr = tmp_path / "appendonlydir" / "appendonly.aof.1.incr.aof"
        assert records(incr.read_bytes())[-1][0] == b"UNLINK"


def test_lru_keeps_what_was_used_last(clock):
    with opened(clock, maxmemory="1gb", maxmemory_policy="allkeys-lru", maxmemory_samples=64) as store:
        fill(store)
        clock.advance(100)
        for number in range(5):
            store.execute("GET", f"k{number}")
        clock.advance(1)
        assert store.execute("OBJECT", "IDLETIME", "k1") == 1
        assert store.execute("OBJECT", "IDLETIME", "k9") == 101
        half(store)
        store.execute("PING")
        assert keys(store) >= {f"k{number}" for number in range(5)}


def test_lfu_keeps_what_is_used_often_and_forgets_with_time(clock):
    with opened(clock, maxmemory="1gb", maxmemory_policy="allkeys-lfu", maxmemory_samples=64) as store:
        fill(store)
        for _ in range(200):
            for number in range(5):
                store.execute("GET", f"k{number}")
        often = store.execute("OBJECT", "FREQ", "k1")
        assert often > store.execute("OBJECT", "FREQ", "k9") == 5
        half(store)
        store.execute("PING")
        assert keys(store) >= {f"k{number}" for number in range(5)}
        clock.advance(120)
        assert store.execute("OBJECT", "FREQ", "k1") == often - 2


@pytest.mark.parametrize("policy", ["volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"])
def test_volatile_policies_take_only_keys_with_a_deadline(policy, clock):
    with opened(clock, maxmemory="1gb", maxmemory_policy=policy) as store:
        fill(store, 10)
        for number in range(10):
            store.execute("SET", f"v{number}", "x" * 100, "EX", 1000 - number)
        if policy == "volatile-ttl":
            store.execute("CONFIG", "SET", "maxmemory", store.engine.usage.used_memory() - 1)
            store.execute("PING")
            assert "v9" not in keys(store)
            assert "v8" in keys(store)
        half(store)
        store.execute("PING")
        assert keys(store) >= {f"k{number}" for number in range(10)}
        store.execute("CONFIG", "SET", "maxmemory", 1)
        with pytest.raises(ReplyError, match="OOM"):
            store.execute("SET", "new", "v")


def test_restore_brings_idle_time_and_frequency(clock):
    with opened(clock, maxmemory_policy="allkeys-lru") as store:
        store.execute("SET", "k", "v")
        payload = store.execute("DUMP", "k")
        with pytest.raises(ReplyError, match=LFU_OFF):
            store.execute("OBJECT", "FREQ", "k")
        session = store.session()
        session.execute("CLIENT", "NO-TOUCH", "ON")
        session.execute("RESTORE", "r", 0, payload, "IDLETIME", 1000)
        session.execute("GET", "r")
        assert store.execute("OBJECT", "IDLETIME", "r") == 1000
        store.execute("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
        session.execute("RESTORE", "f", 0, payload, "FREQ", 77)
        assert store.execute("OBJECT", "FREQ", "f") == 77
        with pytest.raises(ReplyError, match="ERR An LFU maxmemory policy is selected, idle time not tracked"):
            store.execute("OBJECT", "IDLETIME", "f")


def test_weights_follow_every_change(clock):
    with opened(clock, maxmemory="1gb") as store:
        usage = store.engine.usage
        empty = usage.used_memory()
        for row in ("RPUSH l a b c", "HSET h f v", "SADD s a b", "ZADD z 1 a", "XADD x 1-1 f v", "SETBIT b 80000 1"):
            before = usage.used_memory()
            store.execute(*row.split())
            assert usage.used_memory() > before, row
        assert usage.used_memory() > 10_000
        store.execute("RENAME", "h", "g")
        store.execute("SWAPDB", 0, 1)
        store.execute("SELECT", 1)
        store.execute("PEXPIRE", "l", 10)
        clock.advance(1)
        store.execute("DEL", "l", "g", "s", "z", "x", "b")
        assert usage.used_memory() == empty == 0
        store.execute("SET", "k", "v")
        store.execute("FLUSHALL")
        assert usage.used_memory() == 0


def test_scripts_are_refused_unless_they_may_use_memory_that_there_is_not(clock):
    need_module("lupa")
    with opened(clock, maxmemory="1gb") as store:
        fill(store)
        half(store)
        with pytest.raises(ReplyError, match=r"^OOM command not allowed when used memory > 'maxmemory'"):
            store.execute("EVAL", "return redis.call('set', KEYS[1], 'v')", 1, "new")
        with pytest.raises(ReplyError, match=r"^OOM allow-oom flag is not set on the script"):
            store.execute("EVAL", "#!lua\nreturn redis.call('get', KEYS[1])", 1, "k1")
        script = "#!lua flags=allow-oom\nreturn redis.call('set', KEYS[1], 'v')"
        assert store.execute("EVAL", script, 1, "new") == "OK"
        assert store.execute("EVAL", "return redis.call('get', KEYS[1])", 1, "k1") == b"x" * 100


def test_a_lower_limit_evicts_before_the_change_is_answered(clock, tmp_path):
    """As the server's timer does between the command and the sending of its reply, also behind EXEC."""
    with opened(clock, tmp_path, maxmemory="1gb", maxmemory_policy="allkeys-random", appendfsync="no") as store:
        for in_exec in (False, True):
            store.run([("SET", f"k{number}", "x" * 1000) for number in range(40)])
            evicted = store.engine.keyspace.evicted_keys
            change = ("CONFIG", "SET", "maxmemory", store.engine.usage.used_memory() // 2)
            store.run([("MULTI",), change, ("SET", "k0", 1), ("SET", "k1", 1), ("EXEC",)] if in_exec else [change])
            gone = store.engine.keyspace.evicted_keys - evicted
            assert gone >= 18
            assert store.engine.keyspace.key_count() == 40 - gone
            store.execute("CONFIG", "SET", "maxmemory", "1gb")
        digest = store.execute("DEBUG", "DIGEST")
        logged = records((tmp_path / "appendonlydir" / "appendonly.aof.1.incr.aof").read_bytes())
        assert logged.index([b"EXEC"]) < len(logged) - 18, "the victims' records come behind the transaction"
    with opened(clock, tmp_path, readonly=True) as store:
        assert store.execute("DEBUG", "DIGEST") == digest
