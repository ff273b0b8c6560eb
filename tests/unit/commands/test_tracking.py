"""The tracking table: bounded, and not there while nobody tracks; messages are compared in tests/conformance."""

from __future__ import annotations

import pytest

import aofnb


@pytest.fixture
def store():
    with aofnb.open(None, background=False, seed=1) as store:
        yield store


def tracking(store, *options):
    session, received = store.session(), []
    session.on_push = received.append
    session.execute("HELLO", 3)
    session.execute("CLIENT", "TRACKING", "ON", *options)
    return session, received


def test_nothing_is_kept_or_asked_once_nobody_tracks(store):
    session, received = tracking(store)
    session.execute("GET", "k")
    assert list(store.engine.tracking.table) == [b"k"]
    store.engine.disconnect(session.client)
    assert not store.engine.tracking.table
    assert not store.engine.long_way
    assert store.engine.observe is None
    assert {"call", "process"}.isdisjoint(vars(store.engine))
    store.execute("SET", "k", 1)
    assert received == []


def test_a_full_table_forgets_keys_and_says_so(store):
    store.execute("CONFIG", "SET", "tracking-table-max-keys", 2)
    session, received = tracking(store)
    session.execute("MGET", "a", "b", "c", "d")
    assert len(store.engine.tracking.table) == 2
    forgotten = {key for kind, [key] in received if kind == b"invalidate"}
    assert forgotten | set(store.engine.tracking.table) == {b"a", b"b", b"c", b"d"}
    assert len(forgotten) == 2


def test_keys_that_expire_are_told(store):
    clock_ms = store.engine.clock.now_ms()
    _session, received = tracking(store, "BCAST")
    store.execute("SET", "k", "v", "PXAT", clock_ms + 60_000)
    received.clear()
    store.execute("PEXPIREAT", "k", 1)
    assert received == [[b"invalidate", [b"k"]]]


def test_a_pipeline_is_told_its_own_changes_behind_each_reply(store):
    client, order = store.engine.new_client(), []
    client.sink, client.resp = order.append, 3
    store.engine.submit(client, [b"CLIENT", b"TRACKING", b"ON"], order.append)
    with store.engine.turn():
        for line in (b"GET a", b"SET a 1", b"GET b", b"SET b 1"):
            store.engine.submit(client, line.split(), order.append)
    assert order == ["OK", None, "OK", [b"invalidate", [b"a"]], None, "OK", [b"invalidate", [b"b"]]]
