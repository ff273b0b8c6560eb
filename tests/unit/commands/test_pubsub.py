"""Messages reach whoever set a sink, and nobody else; what nobody listens to costs nothing."""

from __future__ import annotations

from typing import Any

import pytest

import aofnb
from aofnb.errors import ReplyError
from aofnb.resp.replies import NO_REPLY, Push


@pytest.fixture
def store():
    with aofnb.open(None, background=False) as store:
        yield store


def listener(store: aofnb.Store, *argv: str) -> tuple[Any, list[Any]]:
    session, messages = store.session(), []
    session.on_push = messages.append
    assert session.execute(*argv) in (NO_REPLY, "OK")
    return session, messages


def test_a_session_without_a_sink_cannot_listen(store):
    for argv in (("SUBSCRIBE", "x"), ("PSUBSCRIBE", "x"), ("SSUBSCRIBE", "x"), ("MONITOR",)):
        with pytest.raises(ReplyError, match="set `on_push` of the session"):
            store.execute(*argv)
    assert store.execute("UNSUBSCRIBE") == [b"unsubscribe", None, 0]
    assert store.execute("PUBLISH", "x", "m") == 0


def test_messages_are_pushes_and_come_after_the_answer_to_subscribe(store):
    _, messages = listener(store, "SUBSCRIBE", "x")
    assert store.execute("PUBLISH", "x", "m") == 1
    assert messages == [[b"subscribe", b"x", 1], [b"message", b"x", b"m"]]
    assert all(isinstance(message, Push) for message in messages)


def test_a_listener_may_do_anything_under_resp3(store):
    session, messages = listener(store, "SUBSCRIBE", "x")
    with pytest.raises(ReplyError, match="Can't execute 'get': only"):
        session.execute("GET", "k")
    session.execute("RESET")
    session.execute("HELLO", 3)
    session.execute("SUBSCRIBE", "x")
    assert session.execute("PING") == "PONG"
    assert session.execute("PUBLISH", "x", "to myself") == 1
    assert messages[-1] == [b"message", b"x", b"to myself"]


def test_who_takes_the_sink_away_listens_no_more(store):
    session, messages = listener(store, "SUBSCRIBE", "x")
    session.on_push = None
    assert store.execute("PUBLISH", "x", "m") == 0
    assert len(messages) == 1
    assert not store.engine.long_way


def test_a_client_that_ended_is_forgotten(store):
    session, messages = listener(store, "PSUBSCRIBE", "*")
    _, feed = listener(store, "MONITOR")
    store.engine.disconnect(session.client)
    assert store.execute("PUBLISH", "x", "m") == 0
    assert len(messages) == 1
    assert feed[-1].endswith('"PUBLISH" "x" "m"')


def test_events_are_sent_only_while_they_are_asked_for(store):
    _, messages = listener(store, "PSUBSCRIBE", "__key*")
    store.execute("SET", "k", 1)
    store.execute("CONFIG", "SET", "notify-keyspace-events", "$")  # neither K nor E
    store.execute("SET", "k", 1)
    store.execute("CONFIG", "SET", "notify-keyspace-events", "K$")
    store.execute("SET", "k", 1)
    store.execute("DEL", "k")
    assert messages[1:] == [[b"pmessage", b"__key*", b"__keyspace@0__:k", b"set"]]


def test_monitor_hides_passwords(store):
    _, feed = listener(store, "MONITOR")
    for argv in (("AUTH", "secret"), ("HELLO", 2, "AUTH", "me", "secret", "SETNAME", "x"), ("SET", "k", '\x01"\\')):
        store.run([argv])
    assert not any("secret" in line for line in feed)
    assert feed[-1].endswith('"SET" "k" "\\x01\\"\\\\"')


def test_what_nobody_listens_to_costs_nothing(store):
    assert (store.engine.observe, store.engine.long_way, "call" in vars(store.engine)) == (None, False, False)
    session, _ = listener(store, "MONITOR")
    assert store.engine.long_way
    session.execute("RESET")
    assert (store.engine.observe, store.engine.long_way, "call" in vars(store.engine)) == (None, False, False)


def test_a_listener_keeps_nobody_else_from_the_short_way(store):
    session, _ = listener(store, "SUBSCRIBE", "x")
    assert not store.engine.long_way
    assert [str(reply).split(":")[0] for reply in session.run([("GET", "k"), ("SET", "k", "v"), ("INCR", "n")])] == [
        "ERR Can't execute 'get'",
        "ERR Can't execute 'set'",
        "ERR Can't execute 'incr'",
    ]
    session.execute("UNSUBSCRIBE", "x")
    assert session.run([("SET", "k", "v"), ("GET", "k")]) == ["OK", b"v"]
