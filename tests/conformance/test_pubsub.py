"""Publish and subscribe, and MONITOR: two connections to us and to a real server, every answer and message compared."""

from __future__ import annotations

import re
from typing import Any

import pytest
from support.require import need
from support.server import available, redis_server
from support.transcripts import plain, split

import aofnb

pytestmark = pytest.mark.server

# Who speaks, and what; "a" and "b" are connections, "a?" reads one more message.
SCRIPT = """
a SUBSCRIBE x y
a?
b PUBLISH x hello
a?
b PUBLISH z nobody
a PSUBSCRIBE x* h?llo
a?
b PUBLISH x both
a?
a?
b PUBLISH hallo one
a?
b PUBSUB CHANNELS
b PUBSUB CHANNELS x*
b PUBSUB CHANNELS nothing
b PUBSUB CHANNELS a b
b PUBSUB NUMSUB x y z
b PUBSUB NUMSUB
b PUBSUB NUMPAT
b PUBSUB SHARDNUMSUB x
b PUBSUB FOO
b PUBSUB
b PUBSUB HELP
a GET k
a CONFIG GET maxmemory
a NOSUCH
a GET
a PING
a PING text
a SSUBSCRIBE s
b SPUBLISH s shard
a?
b PUBLISH s shard
b PUBSUB SHARDCHANNELS
b PUBSUB SHARDNUMSUB s
a SUNSUBSCRIBE
a SUNSUBSCRIBE
a UNSUBSCRIBE x
a UNSUBSCRIBE never
a UNSUBSCRIBE
a PUNSUBSCRIBE
a?
a UNSUBSCRIBE
a GET k
b MULTI
b PUBLISH x queued
b SET k 1
b EXEC
a SUBSCRIBE x
b MULTI
b SET k 2
b PUBLISH x fromexec
b EXEC
a?
a RESET
a GET k
a MULTI
a SUBSCRIBE q
a EXEC
a RESET
a MULTI
a MONITOR
a EXEC
b SUBSCRIBE
b PUBLISH x
"""
MONITORED = [
    "SET k v", "get k", "SELECT 2", "SET k \"a b\\n\\x00\\\"\\\\\"", "SELECT 0", "NOSUCH 1", "GET", "CONFIG GET x",
    "PING",
    "MULTI", "SET a 1", "INCR a", "EXEC", "RPUSH k 1", "BLPOP li 0.001", "CLIENT GETNAME", "DBSIZE", "INFO server",
    "EVAL \"redis.call('SET', KEYS[1], ARGV[1]) return 1\" 1 k v",
]  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    need("redis-server", available())
    with redis_server(tmp_path_factory.mktemp("server"), appendfsync="no") as running:
        yield running


class Ours:
    """One connection to our store, its answers and messages in one line."""

    def __init__(self, store: aofnb.Store) -> None:
        self.engine = store.engine
        self.client = store.engine.new_client()
        self.received: list[Any] = []
        self.client.sink = self.received.append

    def execute(self, *argv: bytes) -> Any:
        self.engine.submit(self.client, argv, self.take)
        return self._reply()

    def take(self, reply: Any) -> None:
        if reply is not aofnb.resp.replies.NO_REPLY:
            self.received.append(reply)

    def _reply(self) -> Any:
        return self.received.pop(0)


def play(a: Any, b: Any) -> list[tuple[str, Any]]:
    outcome = []
    for line in SCRIPT.strip().splitlines():
        if line == "a?":
            outcome.append((line, plain(a._reply())))
        else:
            who, rest = line.split(" ", 1)
            reply = plain((a if who == "a" else b).execute(*split(rest)))
            # Channels come in the order of a hash table.
            outcome.append((line, sorted(reply) if "CHANNELS" in line and isinstance(reply, list) else reply))
    return outcome


def test_answers_and_messages_are_the_servers(server):
    server.execute("FLUSHALL")
    a, b = server.connect(), server.connect()
    theirs = play(a, b)
    a.close()
    b.close()
    with aofnb.open(None, background=False) as store:
        assert play(Ours(store), Ours(store)) == theirs


def feed(listener: Any, speaker: Any) -> list[str]:
    assert plain(listener.execute(b"MONITOR")) == b"OK"
    for line in MONITORED:
        speaker.execute(*split(line))
    speaker.execute(b"ECHO", b"end")
    lines: list[str] = []
    while not lines or "end" not in lines[-1]:
        lines.append(re.sub(r"^\d+\.\d{6} \[(\d+) (?:(lua)|[^]]*)\]", r"T [\1 \2]", plain(listener._reply()).decode()))
    return lines


def test_the_feed_of_monitor_is_the_servers(server):
    listener, speaker = server.connect(), server.connect()
    theirs = feed(listener, speaker)
    listener.close()
    speaker.close()
    with aofnb.open(None, background=False) as store:
        listener, speaker = Ours(store), Ours(store)
        store.engine.on_wait = lambda: store.engine.clock.wait  # nothing to wake: the test ends the wait itself
        speaker.execute = ending_waits(store, speaker)  # type: ignore[method-assign]
        assert feed(listener, speaker) == theirs


def ending_waits(store: aofnb.Store, connection: Ours) -> Any:
    def execute(*argv: bytes) -> Any:
        if not store.engine.submit(connection.client, argv, connection.take):
            store.engine.unblock(connection.client.id, error=False)
            store.engine.deliver()
        return connection._reply()

    return execute
