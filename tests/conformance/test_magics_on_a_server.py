"""``%redis --connect``: the same cells on a real server."""

from __future__ import annotations

import signal
from threading import Timer, main_thread

import pytest
from support.notebook import notebook_shell
from support.require import need, need_module
from support.server import available, redis_server

import aofnb
from aofnb.magics.cells import RemoteCells
from aofnb.magics.complete import candidates

need("redis-server", available())
need_module("redis")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def nb(server, tmp_path, monkeypatch):
    server.execute("FLUSHALL")
    with notebook_shell(tmp_path, monkeypatch) as notebook:
        notebook.run("%load_ext aofnb")
        (said,) = notebook.shown(f"%redis --connect redis://127.0.0.1:{server.port}/2")
        assert said == f"redis://127.0.0.1:{server.port}/2: connected; commands run on that server from now on"
        yield notebook
        notebook.run("%unload_ext aofnb")


def test_replies_are_those_of_a_store(nb, server):
    assert nb.shown("%redis SET k v") == ["OK"]
    assert nb.run("%redis GET k") == b"v"
    nb.run("%redis -q HSET h f 1")
    assert nb.shown("%redis HGETALL h") == ['1) "f"\n2) "1"']
    assert nb.shown("%redis INFO replication")[0].startswith("# Replication\nrole:master")
    nb.run("%redis HELLO 3")
    assert nb.shown("%redis HGETALL h") == ['1# "f" => "1"']
    assert server.execute("SELECT", 2) == "OK"
    assert server.execute("GET", "k") == b"v"
    server.execute("SELECT", 0)


def test_an_error_stops_the_cell_and_names_the_server(nb, server):
    lines = nb.error("%%redis\nSET word hello\nINCR word\nSET never run")
    place = f"redis://127.0.0.1:{server.port}/2"
    assert lines == [f"line 3, INCR word: (error) ERR value is not an integer or out of range; on {place}"]
    assert nb.run("%redis EXISTS never") == 0
    nb.run("replies = %redis -k INCR word")
    assert str(nb["replies"]) == "ERR value is not an integer or out of range"


def test_db_is_for_this_cell_only(nb):
    nb.run("%redis --db 5 SET k five")
    assert nb.run("%redis GET k") is None
    nb.run("%redis SELECT 5")
    assert nb.run("%redis GET k") == b"five"
    nb.run("%redis --db 2 PING")
    assert nb.run("%redis GET k") == b"five"


def test_multi_stays_from_cell_to_cell(nb):
    nb.run("%redis MULTI")
    assert nb.run("%redis SELECT 7") == "QUEUED"
    assert nb.error("%redis --db 2 GET k")[0].startswith("--db cannot be used while MULTI is open")
    nb.run("%redis EXEC")
    # The queued SELECT counts from then on.
    nb.run("%redis --db 2 SET k v")
    nb.run("%redis SET seven 7")
    assert nb.run("%redis --db 7 GET seven") == b"7"
    nb.run("%redis MULTI")
    assert nb.error("%%redis\nGET")[0].endswith("MULTI is open: EXEC or DISCARD")
    nb.run("%redis DISCARD")
    assert nb.error("%%redis\nMULTI\nGET")[0].endswith("the transaction was discarded")
    assert nb.run("%redis PING") == "PONG"


def test_waiting_has_an_end(nb):
    assert "would wait without end" in nb.error("%redis BLPOP q 0")[0]
    assert nb.run("x = %redis BLPOP q 0.01\nx is None") is True
    timer = Timer(0.3, signal.pthread_kill, (main_thread().ident, signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        nb.run("%redis BLPOP q 60")
    timer.join()
    # The connection was given up: what comes on it answers nothing else.
    assert nb.run("%redis ECHO here") == b"here"


@pytest.mark.parametrize("line", ["SUBSCRIBE a", "MONITOR", "UNSUBSCRIBE", "CLIENT REPLY OFF", "PSYNC ? -1"])
def test_what_would_break_the_connection_is_refused(nb, line):
    assert nb.error(f"%redis {line}")[0].startswith(f"(error) ERR {line.split()[0]}")
    assert nb.run("%redis PING") == "PONG"


def test_a_connection_that_breaks_begins_anew(nb, server):
    nb.run("%redis SELECT 4")
    server.execute("CLIENT", "KILL", "TYPE", "normal")
    (said,) = nb.error("%redis GET k")
    assert said.startswith("RemoteError: redis://127.0.0.1:")
    # In the database of the address, which is where the new connection is.
    nb.run("%redis SET two 2")
    assert nb.run("%redis --db 2 GET two") == b"2"


def test_aof_asks_the_server(nb, server):
    text = nb.shown("%aof status")[0]
    assert text.startswith("server ")
    assert "last write" in text
    assert nb.run("%aof config appendfsync") == [b"appendfsync", b"always"]
    assert nb.run("%aof rewrite").startswith("Background append only file rewriting")
    for words in ("check", "tail", "at end", "top"):
        assert "is on its own disk" in nb.error(f"%aof {words}")[0]
    assert "is on its own disk" in nb.error("%redis --log SET a 1")[0]
    # Its disk is this one, which only a path says.
    nb.run("%redis SET asked 1")
    assert nb.run(f"%aof --path {server.directory} at end DBSIZE") == 0
    assert nb.run(f"%aof --path {server.directory} check").good


def test_keys_are_completed(nb, server):
    nb.run("%redis -q MSET user:1 a user:2 b [odd c")
    store = aofnb.connect(f"redis://127.0.0.1:{server.port}/2")
    cells = RemoteCells(store)
    assert [word for word, _ in candidates("GET user:", lambda name: cells, {})[1]] == ["user:1", "user:2"]
    assert [word for word, _ in candidates("GET [o", lambda name: cells, {})[1]] == ["[odd"]
    cells.execute([b"SELECT", b"9"])
    assert candidates("GET us", lambda name: cells, {})[1] == []
    cells.execute([b"SELECT", b"2"])
    assert [word for word, _ in candidates("GET user:1", lambda name: cells, {})[1]] == ["user:1"]
    cells.close_tab()
    store.close()


def test_a_connection_of_the_user_is_a_store_by_its_name(nb, server):
    nb["mine"] = aofnb.connect(f"redis://127.0.0.1:{server.port}/0")
    nb.run("%redis --store mine SET zero 0")
    assert server.execute("GET", "zero") == b"0"
    nb["mine"].close()


def test_what_cannot_be_connected_to_is_one_line(nb, server):
    assert nb.error("%redis --connect redis://127.0.0.1:1/0")[0].startswith("RemoteError: redis://127.0.0.1:1/0: ")
    assert nb.error("%redis --connect nonsense")[0].startswith("ConfigError: ")
    assert nb.error("%redis --open redis://u:secret@h/0") == [
        "a server is not opened but connected to: %redis --connect URL"
    ]
    assert nb.run(f"%redis --connect redis://127.0.0.1:{server.port}/0 --store zero PING") == "PONG"
    assert nb.run("%redis --store zero PING") == "PONG"
    nb.run("%redis --store zero --close")
    assert nb.error("%redis --store zero PING")[0].startswith("no store is called 'zero'")
