"""maxmemory-clients: who is let go, and in which order, as redis-server does it."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.require import need
from support.server import Connection, available, redis_server

import aofnb
from aofnb.resp.encode import encode_command

pytestmark = pytest.mark.server

MB = 1_000_000


class Stage:
    """Clients of a server, each with a name, and one who looks at them and is never let go."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._clients: list[socket.socket] = []
        self.admin = Connection(port)
        self.admin.execute("CLIENT", "SETNAME", "admin")
        self.admin.execute("CLIENT", "NO-EVICT", "on")

    def client(self, name: str, sent: int = 0, *, stays: bool = False) -> socket.socket:
        """One of whom `sent` bytes of a command have come, the last of which never does."""
        sock = socket.create_connection(("127.0.0.1", self._port), timeout=60)
        self._clients.append(sock)
        self.ask(sock, "CLIENT", "SETNAME", name)
        if stays:
            self.ask(sock, "CLIENT", "NO-EVICT", "on")
        if sent:
            self.send(sock, b"*2\r\n$4\r\nECHO\r\n$%d\r\n" % sent + b"x" * (sent - 1))
            self.settle(name, sent)
        return sock

    def ask(self, sock: socket.socket, *words: Any) -> bytes:
        """The beginning of a reply; nothing from a connection that was ended."""
        with suppress(ConnectionError):
            sock.sendall(encode_command([word if isinstance(word, bytes) else str(word).encode() for word in words]))
            return sock.recv(1 << 16)
        return b""

    def send(self, sock: socket.socket, data: bytes) -> None:
        with suppress(ConnectionError):
            sock.sendall(data)

    def names(self) -> list[str]:
        return re.findall(r" name=(\w+)", self.admin.execute("CLIENT", "LIST").decode())

    def settle(self, name: str, size: int) -> None:
        """Until so many bytes have come from that client, or it is no more."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = re.search(rf" name={name} .* qbuf=(\d+)", self.admin.execute("CLIENT", "LIST").decode())
            # redis-server moves the head of a large argument elsewhere.
            if found is None or int(found[1]) > size - 64_000:
                return
            time.sleep(0.01)

    def becomes(self, *names: str) -> list[str]:
        """Those that are there, once they are `names`, or after a while."""
        deadline = time.monotonic() + 10
        while self.names() != ["admin", *names] and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.names()

    def limit(self, text: str, maxmemory: str = "0") -> Any:
        return self.admin.execute("CONFIG", "SET", "maxmemory", maxmemory, "maxmemory-clients", text)

    def evicted(self) -> int:
        found = re.search(rb"evicted_clients:(\d+)", self.admin.execute("INFO", "stats"))
        assert found
        return int(found[1])

    def close(self) -> None:
        self.admin.close()
        for sock in self._clients:
            sock.close()


def largest_first(stage: Stage) -> Iterator[Any]:
    for name, size in (("a", MB), ("b", 9 * MB // 2), ("c", 5 * MB // 2), ("d", 9 * MB)):
        stage.client(name, size)
    yield stage.limit("6mb")
    yield stage.becomes("a", "c")
    yield stage.evicted()
    yield stage.limit("3mb")
    yield stage.becomes("a")
    yield stage.evicted()


def the_first_of_those_about_as_large(stage: Stage) -> Iterator[Any]:
    for name, size in (("a", 45), ("b", 50), ("c", 47), ("d", 49)):
        stage.client(name, size * MB // 10)
    stage.limit("12mb")
    yield stage.becomes("c", "d")
    stage.client("e", 4_400_000)
    yield stage.becomes("d", "e")


def a_part_of_the_memory(stage: Stage) -> Iterator[Any]:
    yield stage.limit("5%", "100mb")
    stage.client("a", MB)
    yield stage.becomes("a")
    stage.client("b", 7 * MB)
    yield stage.becomes("a")
    yield stage.limit("5%")
    stage.client("c", 9 * MB)
    yield stage.becomes("a", "c")
    for text in ("0%", "00", "1", "101%", "x", ""):
        yield stage.limit(text), stage.admin.execute("CONFIG", "GET", "maxmemory-clients")
    stage.limit("0")


def the_least_is_128_kilobytes(stage: Stage) -> Iterator[Any]:
    stage.limit("1")
    client = stage.client("a")
    yield stage.ask(client, "PING")
    yield stage.becomes("a")


def who_asked_to_stay_counts(stage: Stage) -> Iterator[Any]:
    large = stage.client("large", 20 * MB, stays=True)
    stage.client("small")
    yield stage.becomes("large", "small")
    stage.limit("10mb")
    yield stage.becomes("large")
    large.close()
    yield stage.becomes()
    stage.client("next")
    yield stage.becomes("next")


def commands_that_wait_for_exec(stage: Stage) -> Iterator[Any]:
    stage.limit("5mb")
    client = stage.client("a")
    yield stage.ask(client, "MULTI")
    yield sum(stage.ask(client, "SET", "k", b"v" * MB) == b"+QUEUED\r\n" for _ in range(7)) in (4, 5)
    yield stage.becomes()


def replies_that_nobody_reads(stage: Stage) -> Iterator[Any]:
    stage.limit("20mb")
    stage.admin.execute("SET", "large", b"v" * (2 * MB))
    client = stage.client("a")
    stage.send(client, b"GET large\r\n" * 30)
    yield stage.becomes()
    listener = stage.client("b")
    stage.ask(listener, "SUBSCRIBE", "channel")
    # Its own limit is 32 MB.
    for _ in range(20):
        stage.admin.execute("PUBLISH", "channel", b"v" * (3 * MB // 2))
    yield stage.becomes()
    yield stage.evicted()


def a_large_argument_is_not_run(stage: Stage) -> Iterator[Any]:
    stage.limit("3mb")
    client = stage.client("a")
    yield stage.ask(client, "SET", "never", b"v" * (6 * MB))
    yield stage.becomes()
    yield stage.admin.execute("EXISTS", "never")


def who_sets_it_is_answered(stage: Stage) -> Iterator[Any]:
    client = stage.client("a")
    stage.ask(client, "WATCH", *(f"watched{i}" for i in range(3000)))
    yield stage.ask(client, "CONFIG", "SET", "maxmemory-clients", "1")
    yield stage.becomes()
    yield client.recv(10)


def requests_behind_one_that_waits(stage: Stage) -> Iterator[Any]:
    stage.limit("3mb")
    client = stage.client("a")
    stage.send(client, b"BLPOP none 0\r\n")
    stage.send(client, (b"SET k " + b"v" * 10_000 + b"\r\n") * 400)
    yield stage.becomes()


@pytest.mark.parametrize(
    "play",
    [
        largest_first,
        the_first_of_those_about_as_large,
        a_part_of_the_memory,
        the_least_is_128_kilobytes,
        who_asked_to_stay_counts,
        commands_that_wait_for_exec,
        replies_that_nobody_reads,
        a_large_argument_is_not_run,
        who_sets_it_is_answered,
        requests_behind_one_that_waits,
    ],
)
def test_clients_are_let_go_as_by_the_server(play: Callable[[Stage], Iterator[Any]], tmp_path: Path) -> None:
    need("redis-server", available())
    told = []
    with redis_server(tmp_path, appendonly="no") as server, aofnb.open(None) as store, store.serve() as service:
        # It is asked to end in the end.
        server.execute("CLIENT", "NO-EVICT", "on")
        for port in (server.port, service.port):
            stage = Stage(port)
            try:
                told.append([str(said) for said in play(stage)])
            finally:
                stage.close()
    assert told[1] == told[0]
