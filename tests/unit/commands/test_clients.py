"""What CLIENT does to others; replies and their order are compared with the server in tests/conformance."""

from __future__ import annotations

import threading

import pytest

import aofnb
from aofnb.clock import FakeClock
from aofnb.errors import ReplyError


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def store(clock):
    with aofnb.open(None, background=False, clock=clock, seed=1) as store:
        yield store


def submit(store, client, line):
    replies = []
    store.engine.submit(client, [word.encode() for word in line.split()], replies.append)
    return replies


def test_a_session_of_the_process_has_no_connection_that_could_be_ended(store):
    other = store.session()
    assert store.execute("CLIENT", "KILL", "ID", other.client.id) == 0
    with pytest.raises(ReplyError, match="No such client"):
        store.execute("CLIENT", "KILL", "?:0")
    assert other.execute("PING") == "PONG"


def test_kill_ends_the_connections_that_fit_and_spares_the_one_who_asks(store):
    ended = []
    clients = [store.engine.new_client() for _ in range(3)]
    for number, client in enumerate(clients):
        client.address, client.local_address = f"far:{number}", "here:1"
        client.end = lambda number=number: ended.append(number)
    assert store.execute("CLIENT", "KILL", "LADDR", "here:1", "ADDR", "far:1") == 1
    assert ended == [1]
    assert store.execute("CLIENT", "KILL", "LADDR", "here:1", "TYPE", "normal") == 3
    assert ended == [1, 0, 1, 2]


def test_age_and_idle_are_in_seconds_and_only_told_where_they_are_known(store, clock):
    client = store.engine.new_client()
    heard_s = clock.monotonic()
    client.heard = lambda: ([b"GET", b"k"], heard_s)
    clock.advance(7)
    mine, theirs = store.execute("CLIENT", "LIST").decode().splitlines()
    assert " age=7 idle=7 " in theirs
    assert " cmd=get " in theirs
    assert " idle=0 " in mine
    assert " cmd=client|list " in mine
    session = store.session()
    session.execute("PING")
    assert " idle=-1 " in store.execute("CLIENT", "LIST").decode().splitlines()[2]


def test_what_a_pause_puts_off_is_run_in_order_when_it_ends(store, clock):
    a, b = store.engine.new_client(), store.engine.new_client()
    store.execute("CLIENT", "PAUSE", 1000, "WRITE")
    first, second, third = submit(store, a, "RPUSH l a"), submit(store, b, "RPUSH l b"), submit(store, a, "LLEN l")
    assert (first, second, third) == ([], [], [0])
    store.execute("CLIENT", "PAUSE", 3000, "WRITE")
    clock.advance(2)
    assert store.engine.time_out() == 1.0
    assert first == []
    clock.advance(1)
    store.engine.time_out()
    assert (first, second) == ([1], [2])
    assert store.execute("LRANGE", "l", 0, -1) == [b"a", b"b"]
    assert not store.engine.long_way


def test_a_blocking_command_that_was_put_off_waits_for_its_data_then(store):
    client = store.engine.new_client()
    store.execute("CLIENT", "PAUSE", 1000, "WRITE")
    replies = submit(store, client, "BLPOP q 0")
    store.execute("CLIENT", "UNPAUSE")
    assert (replies, store.engine.flags_of(client)) == ([], "b")
    store.execute("RPUSH", "q", "x")
    assert replies == [[b"q", b"x"]]


def test_a_thread_waits_until_the_pause_is_over():
    with aofnb.open(None, seed=1) as store:
        store.execute("CLIENT", "PAUSE", 3_600_000, "WRITE")
        session, replies = store.session(), []
        thread = threading.Thread(target=lambda: replies.append(session.execute("SET", "k", "v")))
        thread.start()
        while not store.engine.waiting.waiters:  # nothing else says that it has begun to wait
            pass
        assert store.execute("GET", "k") is None
        store.execute("CLIENT", "UNPAUSE")
        thread.join(20)
        assert replies == ["OK"]


def test_nothing_is_expired_actively_during_a_pause(store, clock):
    store.execute("SET", "k", "v", "PX", 10)
    store.execute("CLIENT", "PAUSE", 1000, "WRITE")
    clock.advance(0.5)
    assert store.engine.expire_due() == 0
    clock.advance(1)
    store.engine.time_out()
    assert store.engine.expire_due() == 1


def test_a_silent_session_is_answered_with_nothing_and_its_commands_are_run(store):
    store.execute("CLIENT", "REPLY", "OFF")
    assert store.execute("SET", "k", "v") is aofnb.resp.replies.NO_REPLY
    assert store.execute("NOSUCH") is aofnb.resp.replies.NO_REPLY
    assert store.execute("CLIENT", "REPLY", "ON") == "OK"
    assert store.execute("GET", "k") == b"v"
    assert not store.engine.long_way
