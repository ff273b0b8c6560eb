"""Each session has its own database, name and protocol."""

import pytest

import aofnb
from aofnb import ReplyError


@pytest.fixture
def store():
    with aofnb.open(None, background=False) as store:
        yield store


def test_sessions_have_their_own_database_name_and_number(store):
    a, b = store.session(), store.session()
    a.execute("SELECT", 1)
    a.execute("CLIENT", "SETNAME", "a")
    a.execute("SET", "k", "v")
    assert b.execute("GET", "k") is None
    assert b.execute("CLIENT", "GETNAME") is None
    assert a.execute("CLIENT", "ID") != b.execute("CLIENT", "ID")


def test_client_info_says_who_is_asking(store):
    store.execute("SELECT", 2)
    store.execute("CLIENT", "SETNAME", "me")
    fields = dict(pair.split(b"=", 1) for pair in store.execute("CLIENT", "INFO").split())
    assert fields[b"name"] == b"me"
    assert fields[b"db"] == b"2"
    assert fields[b"multi"] == b"-1"


def test_hello_3_makes_maps_of_maps(store):
    reply = store.execute("HELLO", 3)
    assert reply[b"proto"] == 3
    assert isinstance(store.execute("CONFIG", "GET", "hz"), dict)
    assert store.execute("RESET") == "RESET"
    assert isinstance(store.execute("CONFIG", "GET", "hz"), list)


def test_a_refused_hello_changes_nothing(store):
    with pytest.raises(ReplyError, match="WRONGPASS"):
        store.execute("HELLO", 3, "SETNAME", "me", "AUTH", "user", "secret")
    assert store.execute("CLIENT", "GETNAME") is None
    assert isinstance(store.execute("CONFIG", "GET", "hz"), list)


def test_client_list_tells_who_is_there_and_in_what_state():
    with aofnb.open(None, background=False) as store:
        listens, waits, queues = store.session(), store.engine.new_client(), store.session()
        listens.on_push = [].append
        listens.execute("SUBSCRIBE", "x", "y")
        store.engine.submit(waits, [b"BLPOP", b"q", b"0"], lambda reply: None)
        queues.execute("CLIENT", "SETNAME", "me")
        queues.run([("SELECT", 3), ("MULTI",), ("PING",)])

        def listed(*args):
            lines = store.execute("CLIENT", "LIST", *args).decode().splitlines()
            return {int(line.split()[0][3:]): dict(part.split("=", 1) for part in line.split()) for line in lines}

        everyone = listed()
        assert list(everyone) == sorted(everyone)
        assert (everyone[listens.client.id]["flags"], everyone[listens.client.id]["sub"]) == ("P", "2")
        assert everyone[waits.id]["flags"] == "b"
        me = everyone[queues.client.id]
        assert (me["flags"], me["name"], me["db"], me["multi"], me["addr"]) == ("x", "me", "3", "1", "?:0")
        assert (me["fd"], me["qbuf"], me["idle"], me["cmd"], me["events"]) == ("-1", "0", "-1", "NULL", "")
        assert everyone[1]["cmd"] == "client|list"
        assert list(listed("TYPE", "PubSub")) == [listens.client.id]
        assert listens.client.id not in listed("TYPE", "normal")
        assert listed("TYPE", "replica") == {}
        assert list(listed("ID", waits.id, 999, queues.client.id)) == [waits.id, queues.client.id]


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (["TYPE", "odd"], "ERR Unknown client type 'odd'"),
        (["ID", "x"], "ERR Invalid client ID"),
        (["TYPE"], "ERR syntax error"),
        (["ODD", "x"], "ERR syntax error"),
    ],
)
def test_client_list_refuses_with_the_servers_words(args, error):
    with aofnb.open(None, background=False) as store, pytest.raises(aofnb.ReplyError) as problem:
        store.execute("CLIENT", "LIST", *args)
    assert str(problem.value) == error
