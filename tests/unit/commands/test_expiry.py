"""Deadlines by a clock that the test moves."""

import pytest

import aofnb
from aofnb.clock import FakeClock


@pytest.fixture
def clock():
    return FakeClock(1_700_000_000_000)


@pytest.fixture
def store(clock):
    with aofnb.open(None, background=False, clock=clock) as store:
        store.execute("SET", "k", "v")
        yield store


def test_a_key_lives_to_the_end_of_its_last_millisecond(store, clock):
    store.execute("PEXPIRE", "k", 1000)
    clock.advance(1)
    assert store.execute("GET", "k") == b"v"
    assert store.execute("PTTL", "k") == 0
    clock.advance(0.001)
    assert store.execute("GET", "k") is None
    assert store.execute("TTL", "k") == -2


def test_ttl_is_rounded_to_the_nearest_second(store):
    store.execute("PEXPIRE", "k", 1499)
    assert store.execute("TTL", "k") == 1
    store.execute("PEXPIRE", "k", 1500)
    assert store.execute("TTL", "k") == 2


def test_time_stands_still_inside_exec(store, clock, monkeypatch):
    """All of a transaction sees one instant, however long it takes."""
    now_ms = clock.now_ms
    monkeypatch.setattr(clock, "now_ms", lambda: clock.advance(1) or now_ms())
    store.execute("MULTI")
    for key in ("a", "b"):
        store.execute("SET", key, "v", "PX", 5000)
        store.execute("PEXPIRETIME", key)
    _, a, _, b = store.execute("EXEC")
    assert a == b


def test_keys_leaves_an_overdue_key_out_and_does_not_delete_it(store, clock):
    store.execute("PEXPIRE", "k", 1)
    clock.advance(1)
    assert store.execute("KEYS", "*") == []
    assert store.execute("DBSIZE") == 1
    assert store.execute("SCAN", 0)[1] == []
    assert store.execute("DBSIZE") == 0


def test_randomkey_gives_no_overdue_key(store, clock):
    store.execute("PEXPIRE", "k", 1)
    clock.advance(1)
    assert store.execute("RANDOMKEY") is None
    assert store.execute("DBSIZE") == 0
