"""WATCH between sessions."""

import pytest

import aofnb
from aofnb.clock import FakeClock


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def store(clock):
    with aofnb.open(None, background=False, clock=clock) as store:
        store.execute("SET", "k", "v")
        yield store


def exec_after(store, *others):
    """WATCH k, let another session run some commands, then EXEC."""
    session, other = store.session(), store.session()
    session.execute("WATCH", "k")
    for command in others:
        other.execute(*command.split())
    session.execute("MULTI")
    session.execute("PING")
    return session.execute("EXEC")


@pytest.mark.parametrize(
    "command",
    [
        *[
            "SET k v",
            "DEL k",
            "APPEND k x",
            "EXPIRE k 9",
            "RENAME k j",
            "MOVE k 1",
            "FLUSHALL",
            "FLUSHDB",
            "SWAPDB 0 1",
        ],
        *[
            "SETRANGE k 0 x",
            "SETBIT k 7 1",
            "GETEX k EX 9",
            "GETDEL k",
            "MSET j 1 k 2",
            "SORT l STORE k",
            "PEXPIREAT k 1",
        ],
    ],
)
def test_a_change_by_another_session_breaks_the_watch(store, command):
    store.execute("RPUSH", "l", 1)
    assert exec_after(store, command) is None
    assert store.engine.watched == {}


@pytest.mark.parametrize(
    "command", ["GET k", "SET j v", "SETBIT k 1 1", "SETNX k x", "PERSIST k", "SELECT 1", "COPY k j"]
)
def test_what_changes_nothing_does_not(store, command):
    assert exec_after(store, command) == ["PONG"]


def test_the_same_key_in_another_database_is_another_key(store):
    assert exec_after(store, "SELECT 1", "SET k v") == ["PONG"]


def test_a_watched_key_that_expires_breaks_the_watch_even_if_nobody_met_it(store, clock):
    store.execute("PEXPIRE", "k", 10)
    session = store.session()
    session.execute("WATCH", "k")
    clock.advance(1)
    session.execute("MULTI")
    session.execute("PING")
    assert session.execute("EXEC") is None


def test_an_error_in_one_command_does_not_undo_the_others(store):
    store.execute("MULTI")
    store.execute("INCR", "k")
    store.execute("SET", "j", "done")
    problem, ok = store.execute("EXEC")
    assert str(problem) == "ERR value is not an integer or out of range"
    assert ok == "OK"
    assert store.execute("GET", "j") == b"done"


def test_reset_leaves_nothing_watched(store):
    store.execute("WATCH", "k")
    assert store.execute("RESET") == "RESET"
    assert store.engine.watched == {}
