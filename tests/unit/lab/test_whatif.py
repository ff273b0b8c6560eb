"""What a crash now would take of a store that goes on."""

from __future__ import annotations

import pytest

import aofnb
from aofnb.clock import FakeClock
from aofnb.errors import AofnbError
from aofnb.lab import SimFs, what_if


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def store(tmp_path, clock):
    with aofnb.open(tmp_path / "s", clock=clock, background=False) as store:
        store.execute("SET", "old", "1")
        clock.advance(2)
        store.tick()
        yield store


def test_what_is_synced_is_not_at_risk(store):
    assert store.stats().at_risk_bytes == 0
    for kind in ("power", "kill"):
        after = what_if(store, kind)
        assert (after.lost, after.keys_before, after.keys_after) == ((), 1, 1)
        assert "would take nothing" in repr(after)


def test_a_power_cut_takes_what_is_not_synced_and_a_kill_does_not(store):
    store.execute("SET", "new", "2")
    store.pipeline().add("MULTI").add("INCR", "n").add("DEL", "old").add("EXEC").execute()
    store.execute("SET", "in the other database", "3")
    risk = store.stats()
    power = what_if(store, "power")
    assert [argv[0] for argv in power.lost] == [b"SET", b"INCR", b"DEL", b"SET"]
    assert (power.keys_before, power.keys_after, power.lost_bytes) == (3, 1, risk.at_risk_bytes)
    assert "would take 4 commands at worst" in repr(power)
    assert "appendfsync everysec" in repr(power)
    assert "INCR n" in power._repr_html_()
    assert what_if(store, "kill").lost == ()
    # Nothing happened to it.
    assert store.stats() == risk
    assert store.execute("DBSIZE") == 3


def test_under_always_there_is_nothing_to_lose(tmp_path):
    with aofnb.open(tmp_path, appendfsync="always", background=False) as store:
        store.execute("SET", "a", "1")
        assert what_if(store).lost == ()


def test_a_write_that_waits_behind_a_slow_fsync_dies_with_the_process(store):
    store.execute("SET", "new", "2")
    store.engine.writer.aof_buf += b"*3\r\n$3\r\nSET\r\n$4\r\nheld\r\n$1\r\n3\r\n"
    assert [argv[1] for argv in what_if(store, "kill").lost] == [b"held"]
    assert [argv[1] for argv in what_if(store, "power").lost] == [b"new", b"held"]
    store.engine.writer.aof_buf.clear()


def test_it_looks_through_a_rewritten_log(store, clock):
    for number in range(50):
        store.execute("SET", f"k{number}", number)
    store.bgrewriteaof()
    while store.stats().rewrite.phase != "idle":
        store.tick()
    store.execute("DEL", "k0")
    after = what_if(store)
    assert (after.keys_before, after.keys_after) == (50, 51)
    assert after.lost == ((b"DEL", b"k0"),)


def test_a_store_on_a_simulated_disk(clock):
    with aofnb.open("/d", fs=SimFs(), clock=clock, background=False) as store:
        store.execute("SET", "a", "1")
        assert what_if(store).lost == ((b"SET", b"a", b"1"),)


def test_long_lists_are_shortened(store):
    for number in range(20):
        store.execute("SET", f"k{number}", "x" * 200)
    words = repr(what_if(store))
    assert "and 15 more" in words
    assert max(map(len, words.splitlines())) < 120


def test_without_a_log_it_says_so(tmp_path):
    with aofnb.open(None) as store, pytest.raises(AofnbError, match="keeps no log"):
        what_if(store)
    with aofnb.open(tmp_path) as store:
        store.execute("SET", "a", 1)
        with aofnb.open(tmp_path, readonly=True) as reader, pytest.raises(AofnbError, match="keeps no log"):
            what_if(reader)
    with pytest.raises(ValueError, match="kill and power, not 'fire'"):
        what_if(store, "fire")
