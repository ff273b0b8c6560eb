"""A real redis-server follows a store, and takes over; a store's data is pushed to real servers and clusters."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from support.require import need, need_module
from support.server import available, redis_server

import aofnb
from aofnb import ReplyError

need_module("redis")
need("redis-server", available())


def until(condition: Callable[[], object]) -> None:
    """Wait for another process, which has no fake clock."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never came to pass"
        time.sleep(0.01)


def _filled(store: aofnb.Store) -> None:
    store.run([("SET", f"key:{i}", "v" * 50) for i in range(3000)])
    store.execute("HSET", "h", "a", 1, "b", 2)
    store.execute("ZADD", "z", 1, "a", 2.5, "b")
    store.execute("XADD", "x", "1-1", "f", "v")
    store.execute("SET", "volatile", "v", "EX", 1000)
    store.execute("SELECT", 3)
    store.execute("SADD", "s", "a", "b")


@pytest.mark.parametrize("timestamps", [False, True])
def test_a_server_follows_and_takes_over(tmp_path, timestamps):
    with (
        aofnb.open(tmp_path / "us", aof_timestamp_enabled=timestamps) as store,
        store.serve() as ours,
        redis_server(tmp_path / "redis") as replica,
    ):
        _filled(store)
        assert replica.execute("REPLICAOF", "127.0.0.1", ours.port) == "OK"
        until(lambda: b"master_link_status:up" in replica.execute("INFO", "replication"))
        # Behind the snapshot: another database, a transaction, a random choice, many effects of one command.
        store.execute("INCR", "here")
        store.execute("SELECT", 0)
        store.run([("MULTI",), ("SET", "t", 1), ("INCR", "t"), ("EXEC",)])
        store.execute("SPOP", "s")
        store.execute("LPUSH", "l", *range(100))
        client = ours.store.redis()
        client.set("by", "redis-py", ex=100)
        assert store.execute("WAIT", 1, 20_000) == 1
        assert replica.execute("DEBUG", "DIGEST") == store.execute("DEBUG", "DIGEST")
        [master, offset, [[host, port, acknowledged]]] = store.execute("ROLE")
        assert (master, host, port) == (b"master", b"127.0.0.1", b"%d" % replica.port)
        assert int(acknowledged) <= offset
        assert b"connected_slaves:1" in store.execute("INFO", "replication")
        assert replica.execute("REPLICAOF", "NO", "ONE") == "OK"
        assert replica.execute("INCR", "t") == 3


def test_a_connection_that_broke_goes_on_from_the_backlog(tmp_path):
    with (
        aofnb.open(tmp_path / "us") as store,
        store.serve() as ours,
        redis_server(tmp_path / "redis") as replica,
    ):
        replica.execute("REPLICAOF", "127.0.0.1", ours.port)
        until(lambda: b"master_link_status:up" in replica.execute("INFO", "replication"))
        store.execute("SET", "before", 1)
        assert store.execute("WAIT", 1, 20_000) == 1
        replica.execute("CLIENT", "KILL", "TYPE", "master")
        store.execute("SET", "meanwhile", 1)
        until(lambda: replica.execute("GET", "meanwhile") == b"1")
        assert (ours.replication.full_syncs, ours.replication.partial_syncs) == (1, 1)


def test_wait_counts_and_times_out(tmp_path):
    with aofnb.open(tmp_path / "us") as store:
        assert store.execute("WAIT", 0, 100) == 0
        assert store.execute("WAIT", 1, 20) == 0
        assert store.execute("ROLE") == [b"master", 0, []]
        with pytest.raises(ReplyError, match="only while it is served"):
            store.execute("PSYNC", "?", -1)
        with pytest.raises(ReplyError, match="is no replica of others"):
            store.execute("REPLICAOF", "127.0.0.1", 6379)
        assert store.execute("REPLICAOF", "NO", "ONE") == "OK"


@pytest.mark.parametrize("method", ["restore", "commands"])
def test_push_makes_the_server_hold_the_same_data(tmp_path, method):
    with aofnb.open(None) as store, redis_server(tmp_path / "redis") as server:
        _filled(store)
        url = f"redis://127.0.0.1:{server.port}"
        assert store.push(url, method=method, dry_run=True).keys == 3005
        assert server.execute("DBSIZE") == 0
        seen: list[tuple[int, int]] = []
        report = store.push(url, method=method, progress=lambda done, total: seen.append((done, total)))
        assert (report.keys, report.failed, report.method) == (3005, [], method)
        assert seen[-1] == (3005, 3005)
        assert server.execute("DEBUG", "DIGEST") == store.execute("DEBUG", "DIGEST")
        # A second time nothing is overwritten, nor added to, unless asked for.
        again = store.push(url, method=method)
        assert (again.keys, len(again.failed)) == (0, 3005)
        assert again.failed[0][2].startswith("BUSYKEY")
        assert store.push(url, method=method, replace=True).keys == 3005
        assert server.execute("DEBUG", "DIGEST") == store.execute("DEBUG", "DIGEST")


def test_push_leaves_out_what_is_overdue(tmp_path):
    with aofnb.open(None, background=False) as store, redis_server(tmp_path / "redis") as server:
        store.execute("DEBUG", "SET-ACTIVE-EXPIRE", 0)
        store.execute("SET", "k", "v", "PX", 1)
        until(lambda: store.engine.keyspace[0].overdue(b"k"))
        report = store.push(f"redis://127.0.0.1:{server.port}")
        assert (report.keys, report.expired) == (0, [(0, b"k")])


def test_the_same_calls_on_a_real_server(tmp_path):
    with redis_server(tmp_path / "redis") as server, aofnb.open(None) as store:
        with aofnb.connect(f"redis://127.0.0.1:{server.port}") as remote:
            for face in (store, remote):
                assert face.execute("SET", "k", 1) == "OK"
                assert face.execute("GET", "k") == b"1"
                assert face.run([("INCR", "k"), ("LPUSH", "k", 1)])[0] == 2
                assert isinstance(face.run([("LPUSH", "k", 1)])[0], ReplyError)
                with pytest.raises(ReplyError, match=r"^WRONGTYPE Operation against"):
                    face.execute("LPUSH", "k", 1)
                assert face.pipeline().add("MULTI").add("INCR", "k").add("EXEC").execute() == ["OK", "QUEUED", [3]]
                other = face.session()
                other.execute("SELECT", 1)
                assert other.execute("GET", "k") is None
                assert face.execute("HELLO", 3)[b"proto"] == 3
                assert face.execute("CONFIG", "GET", "hz") == {b"hz": b"10"}
        with pytest.raises(aofnb.RemoteError, match="is the server running"):
            aofnb.connect("redis://:secret@127.0.0.1:1")
        with pytest.raises(aofnb.ConfigError, match="give redis://"):
            aofnb.connect("http://localhost")


def test_a_cluster_gets_each_command_where_its_key_is(tmp_path):
    with redis_server(tmp_path / "redis", cluster_enabled="yes") as server, aofnb.open(None) as store:
        server.execute("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        until(lambda: b"cluster_state:ok" in server.execute("CLUSTER", "INFO"))
        url = f"redis+cluster://127.0.0.1:{server.port}"
        with aofnb.connect(url) as cluster:
            assert cluster.run([("SET", f"k{i}", i) for i in range(10)]) == ["OK"] * 10
            assert cluster.execute("DBSIZE") == 10
            assert sorted(cluster.execute("KEYS", "*")) == sorted(b"k%d" % i for i in range(10))
            with pytest.raises(ReplyError, match=r"^CROSSSLOT"):
                cluster.execute("MGET", "k1", "k2")
            with pytest.raises(ReplyError, match="MULTI works on one node"):
                cluster.execute("MULTI")
            assert cluster.execute("FLUSHALL") == "OK"
        store.execute("SET", "a", 1)
        assert store.push(url).keys == 1
        store.execute("SELECT", 2)
        store.execute("SET", "b", 1)
        with pytest.raises(ReplyError, match="only database 0, and there are keys in 2"):
            store.push(url)
