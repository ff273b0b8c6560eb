"""A real redis-server follows a store, and takes over; a store's data is pushed to real servers and clusters."""

from __future__ import annotations

import itertools
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from support.require import need, need_module
from support.server import Connection, available, free_port, redis_server

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


def test_a_replica_under_writes_loses_nothing_whatever_happens_meanwhile(tmp_path):
    """Many databases, deadlines, scripts and transactions; a rewrite, and a link that is cut from our side."""
    with (
        aofnb.open(tmp_path / "us") as store,
        store.serve() as ours,
        redis_server(tmp_path / "redis", appendonly="no") as replica,
    ):
        stop = threading.Event()

        def write() -> None:
            session = store.session()
            for i in itertools.takewhile(lambda _: not stop.is_set(), itertools.count()):
                key = f"k{i % 97}"
                session.execute("SELECT", i % 16)
                session.run([("MULTI",), ("INCR", "n"), ("RPUSH", f"l{key}", i), ("EXEC",)])
                session.execute("SET", key, i, "PX", 20 + i % 500)
                session.execute("EVAL", "redis.call('SADD', KEYS[1], ARGV[1]); redis.call('SPOP', KEYS[1])", 1, "s", i)
                time.sleep(0.0005)  # leaves the interpreter to the server

        writer = threading.Thread(target=write)
        writer.start()
        try:
            replica.execute("REPLICAOF", "127.0.0.1", ours.port)
            until(lambda: b"master_link_status:up" in replica.execute("INFO", "replication"))
            store.bgrewriteaof()
            assert b" flags=S " in store.execute("CLIENT", "LIST", "TYPE", "replica")
            admin = ours.store.redis()
            assert admin.execute_command("CLIENT", "KILL", "TYPE", "slave") == 1
            until(lambda: ours.replication.partial_syncs == 1)
            assert store.execute("WAIT", 1, 20_000) == 1
        finally:
            stop.set()
            writer.join()
        assert store.execute("WAIT", 1, 20_000) == 1
        until(lambda: replica.execute("DEBUG", "DIGEST") == store.execute("DEBUG", "DIGEST"))
        assert ours.replication.full_syncs == 1
        assert b"sync_partial_ok:1" in store.execute("INFO", "stats")


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


@pytest.mark.slow
def test_a_cluster_of_three_gets_all_keys_and_redirects(tmp_path):
    need("redis-cli", available("redis-cli"))
    with (
        redis_server(tmp_path / "a", cluster_enabled="yes") as a,
        redis_server(tmp_path / "b", cluster_enabled="yes") as b,
        redis_server(tmp_path / "c", cluster_enabled="yes") as c,
        aofnb.open(None) as store,
    ):
        nodes = [a, b, c]
        for number, node in enumerate(nodes):
            node.execute("CLUSTER", "ADDSLOTSRANGE", number * 5462, min(16383, number * 5462 + 5461))
            a.execute("CLUSTER", "MEET", "127.0.0.1", node.port)
        for node in nodes:
            until(lambda node=node: b"cluster_state:ok" in node.execute("CLUSTER", "INFO"))
        store.run([("SET", f"u:{i}", i) for i in range(2000)])
        store.execute("ZADD", "z", 1, "a")
        url = f"redis+cluster://127.0.0.1:{b.port}"
        assert store.push(url, dry_run=True).keys == 2001
        assert store.push(url).keys == 2001
        assert sum(node.execute("DBSIZE") for node in nodes) == 2001
        assert store.push(url, replace=True, method="commands").keys == 2001
        with aofnb.connect(url) as cluster:
            # A slot that moves: first each key says where to ask, then the slot has another owner.
            slot = int(a.execute("CLUSTER", "KEYSLOT", "u:1"))
            source = nodes[slot // 5462]
            target = nodes[slot // 5462 - 1]
            ids = {node: node.execute("CLUSTER", "MYID") for node in nodes}
            target.execute("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
            source.execute("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
            keys = source.execute("CLUSTER", "GETKEYSINSLOT", slot, 100)
            assert source.execute("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys) == "OK"
            assert cluster.execute("GET", "u:1") == b"1"
            for node in (target, source):
                node.execute("CLUSTER", "SETSLOT", slot, "NODE", ids[target])
            assert cluster.run([("SET", "u:1", "x"), ("GET", "u:1"), ("GET", "u:2")]) == ["OK", b"x", b"2"]


def test_a_server_that_speaks_tls(tmp_path):
    """rediss:// with the certificate of one's own authority; without it nobody is trusted."""
    need("openssl", available("openssl"))
    made = subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"),
        ],
        capture_output=True, timeout=60,
    )  # fmt: skip
    assert made.returncode == 0
    certificate = str(tmp_path / "cert.pem")
    port = str(free_port())
    with (
        redis_server(
            tmp_path / "redis", tls_port=port, tls_cert_file=certificate, tls_key_file=str(tmp_path / "key.pem"),
            tls_ca_cert_file=certificate, tls_auth_clients="no",
        ) as server,
        aofnb.open(None) as store,
    ):  # fmt: skip
        url = f"rediss://localhost:{port}/1"
        with aofnb.connect(url, ssl_ca_certs=certificate) as remote:
            assert remote.execute("SET", "k", "v") == "OK"
        with pytest.raises(aofnb.RemoteError, match="CERTIFICATE_VERIFY_FAILED"):
            aofnb.connect(url)
        store.run([("SELECT", 1), ("SET", "pushed", "v")])
        assert store.push(url, ssl_ca_certs=certificate).keys == 1
        server.execute("SELECT", 1)
        assert sorted(server.execute("KEYS", "*")) == [b"k", b"pushed"]


class FakeReplica:
    """Asks for the stream and reads it; what it says of that is left to the test."""

    def __init__(self, port: int) -> None:
        self.connection = Connection(port)
        for words in (("PING",), ("REPLCONF", "listening-port", "1"), ("REPLCONF", "capa", "eof", "capa", "psync2")):
            self.connection.execute(*words)
        self.connection.send("PSYNC", "?", "-1")
        self.ended_after_s: float | None = None
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        sock, before = self.connection._socket, time.monotonic()
        with suppress(OSError):
            while sock.recv(1 << 16):
                pass
        self.ended_after_s = time.monotonic() - before

    def say(self, data: bytes) -> None:
        with suppress(OSError):
            self.connection._socket.sendall(data)

    def close(self) -> None:
        with suppress(OSError):
            self.connection._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(30)
        self.connection.close()


@pytest.mark.slow
@pytest.mark.parametrize("says", [b"", b"\n", b"*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$1\r\n0\r\n"])
def test_a_replica_that_is_silent_for_repl_timeout_is_let_go(tmp_path, says):
    """Whether it once acknowledged or never did; a newline says that it lives, as one does that loads a snapshot."""
    with (
        redis_server(tmp_path / "redis", repl_diskless_sync_delay="0") as server,
        aofnb.open(tmp_path / "us") as store,
        store.serve() as service,
    ):
        for port in (server.port, service.port):
            admin = Connection(port)
            assert admin.execute("CONFIG", "SET", "repl-timeout", "2", "repl-ping-replica-period", "1") == "OK"
            replica = FakeReplica(port)
            until(lambda admin=admin: b"connected_slaves:1" in admin.execute("INFO", "replication"))
            began_s = time.monotonic()
            while says and time.monotonic() < began_s + 5:
                replica.say(says)
                time.sleep(0.2)
                assert replica.ended_after_s is None, port
            until(lambda replica=replica: replica.ended_after_s is not None)
            assert replica.ended_after_s > (6 if says else 1.5), port
            until(lambda admin=admin: b"connected_slaves:0" in admin.execute("INFO", "replication"))
            replica.close()
            admin.close()


@pytest.mark.slow
def test_a_replica_lets_a_silent_master_go_and_comes_back(tmp_path):
    """The other end: as long as nothing is written our pings hold the link; without them it breaks."""
    with (
        aofnb.open(tmp_path / "us", repl_ping_replica_period=1) as store,
        store.serve() as ours,
        redis_server(tmp_path / "redis", repl_timeout="3") as replica,
    ):
        replica.execute("REPLICAOF", "127.0.0.1", ours.port)
        until(lambda: b"master_link_status:up" in replica.execute("INFO", "replication"))
        time.sleep(5)  # of another process, which has no fake clock
        assert (ours.replication.full_syncs, ours.replication.partial_syncs) == (1, 0)
        # Nobody can answer while the engine's lock is held.
        with store.engine.lock:
            until(lambda: b"MASTER timeout: no data nor PING received" in (tmp_path / "redis/redis.log").read_bytes())
        store.execute("SET", "k", "v")
        until(lambda: replica.execute("GET", "k") == b"v")
        assert (ours.replication.full_syncs, ours.replication.partial_syncs) == (1, 1)


@pytest.mark.slow
def test_the_backlog_goes_some_time_after_the_last_replica(tmp_path):
    """Then the stream has another name, and whoever comes back gets a snapshot."""

    def replication(admin: Connection) -> dict[str, str]:
        return dict(line.split(":", 1) for line in admin.execute("INFO", "replication").decode().split("\r\n")[1:-1])

    seen = []
    with (
        redis_server(tmp_path / "redis", repl_diskless_sync_delay="0") as server,
        aofnb.open(tmp_path / "us") as store,
        store.serve() as service,
    ):
        for port in (server.port, service.port):
            admin = Connection(port)
            said = [admin.execute("CONFIG", "SET", "repl-backlog-ttl", ttl) for ttl in ("-1", "0")]
            replica = FakeReplica(port)
            until(lambda admin=admin: replication(admin)["connected_slaves"] == "1")
            admin.execute("SET", "k", "v")
            until(lambda admin=admin: replication(admin)["repl_backlog_active"] == "1")
            replica.close()
            until(lambda admin=admin: replication(admin)["connected_slaves"] == "0")
            time.sleep(2)  # of another process, which has no fake clock
            before = replication(admin)
            said += [before["repl_backlog_active"], admin.execute("CONFIG", "SET", "repl-backlog-ttl", "1")]
            until(lambda admin=admin: replication(admin)["repl_backlog_active"] == "0")
            said += [replication(admin)["master_replid"] != before["master_replid"]]
            admin.execute("SET", "k", "w")
            after = replication(admin)
            said += [after["repl_backlog_histlen"], after["repl_backlog_first_byte_offset"]]
            said += [int(after["master_repl_offset"]) - int(before["master_repl_offset"])]
            late = Connection(port)
            late.send("PSYNC", before["master_replid"], after["master_repl_offset"])
            said += [late.read().split()[0]]
            late.close()
            admin.close()
            seen.append([str(each) for each in said])
    assert seen[1] == seen[0]
