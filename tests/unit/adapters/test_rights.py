"""Clients of a socket are nobody in particular until they log in, and can be ended; who holds the store may do all."""

from __future__ import annotations

import pytest
from support.server import Connection

import aofnb
from aofnb.errors import ReplyError


@pytest.fixture
def served():
    with aofnb.open(None, background=False) as store, store.serve() as server:
        yield store, server


@pytest.fixture
def connect(served):
    connections = []

    def make():
        connections.append(Connection(served[1].port))
        return connections[-1]

    yield make
    for connection in connections:
        connection.close()


def test_a_password_is_asked_of_sockets_and_not_of_the_process(served, connect):
    store, _server = served
    store.execute("CONFIG", "SET", "requirepass", "secret")
    client = connect()
    reply = client.execute("GET", "k")
    assert isinstance(reply, ReplyError)
    assert str(reply) == "NOAUTH Authentication required."
    assert client.execute("AUTH", "secret") == "OK"
    assert client.execute("GET", "k") is None
    assert store.execute("SET", "k", "v") == "OK"
    assert store.redis().get("k") == b"v"


def test_an_address_that_others_reach_may_be_served_once_there_is_a_password(served):
    _store, server = served
    assert not server._has_password()
    server.store.execute("CONFIG", "SET", "requirepass", "secret")
    assert server._has_password()


def test_a_user_of_a_socket_may_only_do_what_its_rules_say(served, connect):
    store, _server = served
    store.execute("ACL", "SETUSER", "reader", "on", ">pw", "+get", "~cache:*")
    client = connect()
    assert client.execute("AUTH", "reader", "pw") == "OK"
    assert client.execute("GET", "cache:1") is None
    assert "no permissions to access one of the keys" in str(client.execute("GET", "other"))
    assert "no permissions to run the 'set' command" in str(client.execute("SET", "cache:1", 1))


def test_a_killed_connection_is_answered_and_closed(served, connect):
    first, second = connect(), connect()
    # So that the server has it.
    assert second.execute("PING") == "PONG"
    assert first.execute("CLIENT", "KILL", "ADDR", second.address) == 1
    with pytest.raises(OSError):  # whichever way it notices
        second.execute("PING")
    assert first.execute("CLIENT", "KILL", "ID", first.execute("CLIENT", "ID"), "SKIPME", "no") == 1
    with pytest.raises(OSError):  # as above
        first.execute("PING")
