"""The socket server: limits, hostile and slow clients, its beginning and its end."""

from __future__ import annotations

import errno
import os
import signal
import socket
import struct
import threading
import time

import pytest

import aofnb
from aofnb.adapters.connection import Connection
from aofnb.adapters.serve import _Signals
from aofnb.resp.encode import encode_command

PING = encode_command([b"PING"])


@pytest.fixture
def store(tmp_path):
    with aofnb.open(tmp_path / "us", appendfsync="no") as store:
        yield store


@pytest.fixture
def server(store):
    with store.serve() as server:
        yield server


def connect(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def ask(sock, data, size=None):
    """Send `data`; what comes back: `size` bytes, or one piece."""
    if data:
        sock.sendall(data)
    received = sock.recv(65536)
    while size is not None and len(received) < size:
        received += sock.recv(65536)
    return received


def ended(sock):
    """Whether the other side closed the connection."""
    try:
        while sock.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


def test_a_handle_tells_where_and_ends_with_the_store(tmp_path):
    with aofnb.open(tmp_path / "us") as store:
        server = store.serve(unixsocket=tmp_path / "s")
        assert server.address == ("127.0.0.1", server.port)
        assert server.url == f"redis://127.0.0.1:{server.port}"
        assert repr(server) == f"<aofnb.Server {server.url}: 0 clients>"
        sock = connect(server)
        assert ask(sock, PING) == b"+PONG\r\n"
        thread = server._thread
    assert not thread.is_alive()
    assert ended(sock)
    sock.close()
    assert not os.path.exists(tmp_path / "s")
    assert "closed" in repr(server)
    server.close()


def test_a_closed_handle_leaves_the_store_open(store):
    with store.serve() as server:
        port = server.port
    assert store.execute("SET", "k", "v") == "OK"
    with store.serve(port=port) as again:
        assert again.port == port


def test_a_unix_socket_by_itself(store, tmp_path):
    path = tmp_path / "s"
    with store.serve(host=None, unixsocket=path, unixsocketperm=0o700) as server:
        assert server.url == f"unix://{path}"
        assert server.address == str(path)
        assert os.stat(path).st_mode & 0o777 == 0o700
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(path))
            assert ask(sock, PING) == b"+PONG\r\n"
    path.write_text("not a socket")
    with pytest.raises(aofnb.ConfigError, match="is no socket"):
        store.serve(host=None, unixsocket=path)


def test_where_it_cannot_be_served(store, server):
    with pytest.raises(aofnb.ConfigError, match="Address already in use; port 0 takes a free one"):
        store.serve(port=server.port)
    with pytest.raises(aofnb.ConfigError, match="nothing to serve on"):
        store.serve(host=None)
    with pytest.raises(aofnb.ConfigError, match="can be reached from other machines, and there is no password"):
        store.serve(host="0.0.0.0")
    with store.serve(host="0.0.0.0", protected_mode=False) as open_server:
        assert open_server.url.startswith("redis://127.0.0.1:")


def test_pipelines_of_many_clients_are_answered_in_order(server):
    socks = [connect(server) for _ in range(50)]
    for number, sock in enumerate(socks):
        sock.sendall(b"".join(encode_command([b"INCR", b"n%d" % number]) for _ in range(300)) + PING)
    expected = b"".join(b":%d\r\n" % (i + 1) for i in range(300)) + b"+PONG\r\n"
    for sock in socks:
        assert ask(sock, b"", len(expected)) == expected
        sock.close()


def test_thousands_of_clients(server):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(3000, (hard - 100) // 2)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * count + 100), hard))
    socks = [connect(server) for _ in range(count)]
    try:
        for sock in socks:
            sock.sendall(PING)
        assert all(sock.recv(100) == b"+PONG\r\n" for sock in socks)
    finally:
        for sock in socks:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_no_more_clients_than_the_loop_can_watch(server):
    server.loop.capacity = 1
    with connect(server) as first, connect(server) as second:
        assert ask(first, PING) == b"+PONG\r\n"
        assert second.recv(100) == b"-ERR max number of clients reached\r\n"


def test_without_descriptors_it_waits_until_somebody_leaves(server, monkeypatch, caplog):
    calls = []

    def accept(_sock):
        calls.append(1)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with connect(server) as first:
        assert ask(first, PING) == b"+PONG\r\n"
        with monkeypatch.context() as patch:
            patch.setattr(socket.socket, "accept", accept)
            second = connect(server)
            for _ in range(100):
                assert ask(first, PING) == b"+PONG\r\n"
        # Not once with each round.
        assert 1 <= len(calls) <= 3
        assert "Accepting client connection: Too many open files" in caplog.text
    with second:
        assert ask(second, PING) == b"+PONG\r\n"


def test_what_was_sent_before_the_end_is_run(server):
    with connect(server) as sock:
        sock.sendall(b"SET k v\r\nGET k\r\n")
        sock.shutdown(socket.SHUT_WR)
        assert ask(sock, b"", 12) == b"+OK\r\n$1\r\nv\r\n"
        assert ended(sock)
    with connect(server) as sock:
        # More than one turn takes.
        sock.sendall(encode_command([b"INCR", b"n"]) * 3000)
        sock.shutdown(socket.SHUT_WR)
        expected = b"".join(b":%d\r\n" % (i + 1) for i in range(3000))
        assert ask(sock, b"", len(expected)) == expected
        assert ended(sock)


def test_one_who_reads_slowly_gets_all_in_order(store, server):
    values = [bytes([65 + number]) * 300_000 for number in range(20)]
    for number, value in enumerate(values):
        store.execute("SET", f"k{number}", value)
    with connect(server) as slow, connect(server) as good:
        slow.sendall(b"".join(encode_command([b"GET", b"k%d" % number]) for number in range(20)) * 10)
        expected = b"".join(b"$300000\r\n%b\r\n" % value for value in values) * 10
        while sum(connection.buffered for connection in list(server.connections)) < 1 << 20:
            assert ask(good, PING) == b"+PONG\r\n"
        received = bytearray()
        while len(received) < len(expected):
            received += slow.recv(1 << 20)
        assert received == expected
        assert ask(slow, PING) == b"+PONG\r\n"


def test_one_who_is_gone_is_forgotten(store, server):
    store.execute("SET", "big", b"x" * 1_000_000)
    for sent in (PING, b"BLPOP none 0\r\n", encode_command([b"GET", b"big"]) * 100, b"*3\r\n$3\r\nSE"):
        sock = connect(server)
        sock.sendall(sent)
        sock.recv(1) if sent.startswith(PING) else time.sleep(0)
        # A reset, not an end.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
    with connect(server) as other:
        while len(store.engine.connected()) > 2:
            assert ask(other, PING) == b"+PONG\r\n"


def test_the_end_is_seen_although_a_child_holds_the_socket(store, server):
    with connect(server) as sock:
        assert ask(sock, PING) == b"+PONG\r\n"
        [connection] = server.connections
        # As a forked child has it.
        copy = os.dup(connection.client.buffers()["fd"])
        try:
            store.execute("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            assert sock.recv(1) == b""
        finally:
            os.close(copy)


def test_a_reply_that_cannot_be_sent_ends_only_its_client(server, monkeypatch, caplog):
    with connect(server) as good, connect(server) as bad:
        assert ask(bad, PING) == b"+PONG\r\n"
        address = "{}:{}".format(*bad.getsockname())
        flush = Connection.flush_carefully
        monkeypatch.setattr(
            Connection, "flush_carefully", lambda self, data: 1 / 0 if self.address == address else flush(self, data)
        )
        bad.sendall(encode_command([b"PING", b"x" * 20_000]))
        assert ended(bad)
        assert ask(good, PING) == b"+PONG\r\n"
    assert f"client {address} dropped" in caplog.text


def test_a_fault_of_ours_ends_only_those_of_its_turn(store, server, monkeypatch, caplog):
    with connect(server) as other:
        assert ask(other, PING) == b"+PONG\r\n"
        with connect(server) as sock, monkeypatch.context() as patch:
            patch.setattr(store.engine, "end_turn", lambda: 1 / 0)
            sock.sendall(PING)
            assert ended(sock)
        assert "a turn failed; 1 clients dropped" in caplog.text
        assert ask(other, PING) == b"+PONG\r\n"


def test_hostile_clients_harm_no_other(server):
    good = connect(server)
    bad = [connect(server) for _ in range(6)]
    bad[0].sendall(os.urandom(100_000))
    bad[1].sendall(b"*2147483647\r\n$3\r\nSET\r\n")
    bad[2].sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nstart")
    bad[3].sendall(b"*1\r\n$4\r\nPI")
    bad[4].sendall(b"A" * 70_000)
    bad[5].sendall(b"BLPOP nothing 0\r\n" + PING * 10_000)
    for _ in range(100):
        assert ask(good, PING) == b"+PONG\r\n"
    assert b"Protocol error: too big inline request" in ask(bad[4], b"")
    for sock in [*bad, good]:
        sock.close()


def test_one_who_does_not_read_is_dropped_at_the_limit(store, server):
    store.execute("CONFIG", "SET", "client-output-buffer-limit", "normal 1mb 0 0")
    store.execute("SET", "big", b"x" * 100_000)
    with connect(server) as slow, connect(server) as good:
        slow.sendall(encode_command([b"GET", b"big"]) * 500)
        # The rest of them is dropped with the connection.
        assert len(b"".join(iter(lambda: _some(slow), b""))) < 500 * 100_000
        assert ask(good, PING) == b"+PONG\r\n"


def test_a_reply_beyond_the_hard_limit_is_not_sent(store, server):
    """However fast the client would read it; and the limit of those who listen is another one."""
    store.execute("CONFIG", "SET", "client-output-buffer-limit", "normal 100kb 0 0")
    store.execute("SET", "big", b"x" * 200_000)
    with connect(server) as sock, connect(server) as listener:
        ask(listener, encode_command([b"SUBSCRIBE", b"c"]))
        sock.sendall(encode_command([b"GET", b"big"]))
        assert sock.recv(1) == b""
        store.execute("PUBLISH", "c", b"x" * 200_000)
        assert len(ask(listener, b"", 200_000)) > 200_000


def _some(sock):
    try:
        return sock.recv(1 << 16)
    except ConnectionError:
        return b""


def test_one_who_sends_without_end_is_dropped_at_the_limit(store, server):
    store.execute("CONFIG", "SET", "client-query-buffer-limit", "1mb")
    with connect(server) as sock, pytest.raises(OSError):
        sock.sendall(b"*2\r\n$3\r\nGET\r\n$500000000\r\n")
        for _ in range(1000):
            sock.sendall(b"x" * 65536)
    with connect(server) as good:
        assert ask(good, PING) == b"+PONG\r\n"


def test_no_more_clients_than_allowed(store, server):
    store.execute("CONFIG", "SET", "maxclients", 1)
    with connect(server) as first:
        assert ask(first, PING) == b"+PONG\r\n"
        with connect(server) as second:
            assert second.recv(100) == b"-ERR max number of clients reached\r\n"
            assert ended(second)
        assert ask(first, PING) == b"+PONG\r\n"
    assert server.rejected_connections == 1


def test_the_silent_are_dropped(store, server):
    store.execute("CONFIG", "SET", "timeout", 1)
    with connect(server) as sock:
        assert ask(sock, PING) == b"+PONG\r\n"
        assert ended(sock)


def test_debug_is_for_those_who_were_let(store, server):
    with connect(server) as sock:
        assert ask(sock, b"DEBUG DIGEST\r\n").startswith(b"-ERR DEBUG command not allowed.")


def test_a_command_that_waits_keeps_only_its_client(store, server):
    with connect(server) as waiting, connect(server) as other:
        waiting.sendall(b"BLPOP q 0\r\nPING\r\n")
        assert ask(other, b"RPUSH q x\r\n") == b":1\r\n"
        expected = b"*2\r\n$1\r\nq\r\n$1\r\nx\r\n+PONG\r\n"
        assert ask(waiting, b"", len(expected)) == expected
        waiting.sendall(b"BLPOP q 0\r\n")
        threading.Timer(0, store.execute, ("RPUSH", "q", "from the notebook")).start()
        assert ask(waiting, b"", 20).endswith(b"from the notebook\r\n")


def test_one_who_left_takes_nothing(store, server):
    with connect(server) as sock:
        sock.sendall(b"PING\r\n")
        sock.recv(100)
        sock.sendall(b"BLPOP q 0\r\n")
        while not store.engine.waiting.waiters:
            assert ask_other(server) == b"+PONG\r\n"
    while store.engine.waiting.waiters:
        assert ask_other(server) == b"+PONG\r\n"
    store.execute("RPUSH", "q", "kept")
    assert store.execute("LLEN", "q") == 1


def ask_other(server):
    with connect(server) as sock:
        return ask(sock, PING)


def test_messages_and_replies_keep_their_order(server):
    with connect(server) as sock:
        expected = (
            b">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n>3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n:1\r\n+PONG\r\n"
        )
        ask(sock, b"HELLO 3\r\n")
        assert ask(sock, b"SUBSCRIBE c\r\nPUBLISH c m\r\nPING\r\n", len(expected)) == expected


def test_who_has_not_logged_in_may_send_small_requests_only(store, server):
    store.execute("CONFIG", "SET", "requirepass", "secret")
    for data, why in (
        (b"*11\r\n", b"unauthenticated multibulk length"),
        (b"*2\r\n$3\r\nGET\r\n$16385\r\n", b"unauthenticated bulk length"),
    ):
        with connect(server) as sock:
            assert ask(sock, data) == b"-ERR Protocol error: " + why + b"\r\n"
            assert ended(sock)
    # What stands behind the request that logs in is read as from anybody, in the same piece too.
    words = [b"SET", b"k", b"v" * 20000]
    with connect(server) as sock:
        sent = encode_command([b"AUTH", b"secret"]) + encode_command(words) + PING
        assert ask(sock, sent, 15) == b"+OK\r\n+OK\r\n+PONG\r\n"
        assert ask(sock, encode_command([b"DEL", *[b"k"] * 20]), 4) == b":1\r\n"


def test_clients_and_counters_are_told(store, server):
    with connect(server) as sock, connect(server) as waiting:
        ask(sock, PING)
        waiting.sendall(encode_command([b"BLPOP", b"none", b"0"]))
        line = ask(sock, encode_command([b"CLIENT", b"INFO"])).decode()
        names = [word.partition("=")[0] for word in line.split("\r\n")[1].split()]
        assert names == [
            "id",
            "addr",
            "laddr",
            "fd",
            "name",
            "age",
            "idle",
            "flags",
            "db",
            "sub",
            "psub",
            "ssub",
            "multi",
            "qbuf",
            "qbuf-free",
            "argv-mem",
            "multi-mem",
            "rbs",
            "rbp",
            "obl",
            "oll",
            "omem",
            "tot-mem",
            "events",
            "cmd",
            "user",
            "redir",
            "resp",
        ]
        deadline = time.monotonic() + 20
        while b"blocked_clients:1" not in store.execute("INFO", "clients") and time.monotonic() < deadline:
            # What it sent may not have come yet.
            ask(sock, PING)
        info = store.execute("INFO", "clients", "stats", "server").decode()
        assert f"tcp_port:{server.port}\r\n" in info
        assert "total_connections_received:2\r\n" in info
        assert "blocked_clients:1\r\n" in info
        assert f"total_net_output_bytes:{server.traffic.output_bytes}\r\n" in info
        assert store.execute("CONFIG", "GET", "port") in (
            {b"port": b"%d" % server.port},
            [b"port", b"%d" % server.port],
        )
    server.close()
    assert b"tcp_port:0\r\n" in store.execute("INFO", "server")


def test_no_signal_is_lost_between_two_waits(store):
    """A handler may run between any two steps of whoever waits."""
    signals = _Signals()
    signals.store = store
    told = 0
    for _ in range(3):
        # As if each came right behind the look.
        told += signals.wait(0)
        signals.heard(signal.SIGTERM, None)
    assert told == 2
    assert signals.wait(0)
    assert not signals.wait(0)
    signals.heard(signal.SIGINT, None)
    with pytest.raises(BaseException, match=r"^$"):
        signals.heard(signal.SIGINT, None)


def test_large_replies_are_made_a_few_at_a_time(store, server, monkeypatch):
    """So that nobody waits for all that one client asked for at once."""
    sizes = []
    flush = Connection.flush_carefully
    monkeypatch.setattr(Connection, "flush_carefully", lambda self, data: (sizes.append(len(data)), flush(self, data)))
    store.execute("SET", "big", b"x" * 100_000)
    count, size = 300, len(b"$100000\r\n") + 100_002
    with connect(server) as sock:
        sock.sendall(encode_command([b"GET", b"big"]) * count)
        received = 0
        while received < count * size:
            received += len(sock.recv(1 << 20))
    assert sum(sizes) == count * size
    assert max(sizes) <= 32 * size
    assert max(sizes[2:]) <= 8 * size


def test_who_said_nothing_yet_is_idle_since_it_came(server):
    with connect(server) as silent, connect(server) as sock:
        address = b" addr=%b:%d " % (silent.getsockname()[0].encode(), silent.getsockname()[1])
        lines = ask(sock, encode_command([b"CLIENT", b"LIST"])).splitlines()
        [line] = [line for line in lines if address in line]
        assert b" idle=0 " in line
        assert b" cmd=NULL " in line


def test_a_transaction_that_a_pause_put_off_gives_all_its_replies(store, server):
    with connect(server) as sock:
        for words in ([b"MULTI"], [b"SET", b"k", b"v"], [b"GET", b"k"]):
            ask(sock, encode_command(words))
        store.execute("CLIENT", "PAUSE", 100_000, "WRITE")
        sock.sendall(encode_command([b"EXEC"]))
        deadline = time.monotonic() + 20
        while b"blocked_clients:1" not in store.execute("INFO", "clients") and time.monotonic() < deadline:
            pass
        store.execute("CLIENT", "UNPAUSE")
        assert ask(sock, b"", 16) == b"*2\r\n+OK\r\n$1\r\nv\r\n"


def test_who_tracks_prefixes_is_told_of_what_expires(store, server):
    with connect(server) as sock:
        ask(sock, encode_command([b"HELLO", b"3"]))
        assert ask(sock, encode_command([b"CLIENT", b"TRACKING", b"on", b"BCAST", b"NOLOOP"])) == b"+OK\r\n"
        ask(sock, encode_command([b"SET", b"k", b"v", b"PX", b"20"]))
        assert ask(sock, b"") == b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n"
