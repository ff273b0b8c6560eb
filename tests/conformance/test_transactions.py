"""Transactions and commands on the connection answer as redis-server does."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.require import need
from support.server import available, redis_server
from support.transcripts import ANY, OK, Error, check_transcript, plain

import aofnb

pytestmark = pytest.mark.server

QUEUED = "QUEUED"
ABORTED = Error("EXECABORT Transaction discarded because of previous errors.")

TRANSACTIONS = [
    ("EXEC", Error("EXEC without MULTI")),
    ("DISCARD", Error("DISCARD without MULTI")),
    ("MULTI", OK),
    ("MULTI", Error("MULTI calls can not be nested")),
    ("WATCH a", Error("WATCH inside MULTI is not allowed")),
    ("SET a 1", QUEUED),
    ("LPUSH a x", QUEUED),
    ("INCR a", QUEUED),
    ("EXEC", [OK, ANY, 2]),
    ("GET a", b"2"),
    ("MULTI", OK),
    ("SET a 9", QUEUED),
    ("DISCARD", OK),
    ("GET a", b"2"),
    ("MULTI", OK),
    ("SET a 9", QUEUED),
    ("NOSUCH x", Error("unknown command 'NOSUCH', with args beginning with: 'x' ")),
    ("SET b 1", QUEUED),
    ("EXEC", ABORTED),
    ("MULTI", OK),
    ("GET", Error("wrong number of arguments for 'get' command")),
    ("EXEC", ABORTED),
    ("EXISTS b", 0),
    ("WATCH a b", OK),
    ("SET a 3", OK),
    ("MULTI", OK),
    ("SET b 1", QUEUED),
    ("EXEC", None),
    ("MULTI", OK),
    ("SET b 1", QUEUED),
    ("EXEC", [OK]),
    ("WATCH a", OK),
    ("SET a 4", OK),
    ("UNWATCH", OK),
    ("MULTI", OK),
    ("GET a", QUEUED),
    ("EXEC", [b"4"]),
    ("WATCH a", OK),
    ("FLUSHDB", OK),
    ("MULTI", OK),
    ("PING", QUEUED),
    ("EXEC", None),
    ("WATCH a", OK),
    ("FLUSHALL", OK),
    ("MULTI", OK),
    ("PING", QUEUED),
    ("EXEC", ["PONG"]),
    ("SELECT 1", OK),
    ("SET a other", OK),
    ("SELECT 0", OK),
    ("WATCH a", OK),
    ("SWAPDB 0 1", OK),
    ("MULTI", OK),
    ("PING", QUEUED),
    ("EXEC", None),
    ("WATCH nokey", OK),
    ("SWAPDB 0 1", OK),
    ("MULTI", OK),
    ("EXEC", []),
    ("SET k v PXAT 1", OK),
    ("WATCH k", OK),
    ("EXISTS k", 0),
    ("MULTI", OK),
    ("PING", QUEUED),
    ("EXEC", ["PONG"]),
    ("MULTI", OK),
    ("SELECT 2", QUEUED),
    ("SET a in-2", QUEUED),
    ("EXEC", [OK, OK]),
    ("GET a", b"in-2"),
    ("MULTI", OK),
    ("RESET", "RESET"),
    ("GET a", None),
]

CONNECTION = [
    ("PING", "PONG"),
    ("PING hello", b"hello"),
    ("PING a b", Error("wrong number of arguments for 'ping' command")),
    ("ECHO hello", b"hello"),
    ("CLIENT GETNAME", None),
    ("CLIENT SETNAME 'a b'", Error("Client names cannot contain spaces, newlines or special characters.")),
    ("CLIENT SETNAME me", OK),
    ("CLIENT GETNAME", b"me"),
    ("CLIENT SETNAME ''", OK),
    ("CLIENT GETNAME", None),
    ("CLIENT NOSUCH", Error("unknown subcommand 'NOSUCH'. Try CLIENT HELP.")),
    ("CLIENT", Error("wrong number of arguments for 'client' command")),
    ("HELLO x", Error("Protocol version is not an integer or out of range")),
    ("HELLO 4", Error("NOPROTO unsupported protocol version")),
    ("HELLO 2 FOO", Error("Syntax error in HELLO option 'FOO'")),
    ("HELLO 2 SETNAME", Error("Syntax error in HELLO option 'SETNAME'")),
    (
        "HELLO 2 SETNAME you",
        [
            *[b"server", b"redis", b"version", b"7.0.15", b"proto", 2, b"id", ANY],
            *[b"mode", b"standalone", b"role", b"master", b"modules", []],
        ],
    ),
    ("CLIENT GETNAME", b"you"),
    ("RESET", "RESET"),
    ("CLIENT GETNAME", None),
]


@pytest.mark.parametrize(
    ("rows", "reads"),
    [
        (TRANSACTIONS, [("SELECT 2", OK), ("GET a", b"in-2"), ("SELECT 0", OK)]),
        (CONNECTION, []),
    ],
    ids=["transactions", "connection"],
)
def test_transcript(rows: list[tuple[object, object]], reads: list[tuple[object, object]], tmp_path: Path) -> None:
    need("redis-server", available())
    check_transcript(rows, tmp_path, reads=reads)


def test_help_is_in_the_servers_words(tmp_path: Path) -> None:
    """Every line of a HELP is a line of the server's; OBJECT HELP has all of them."""
    need("redis-server", available())
    with redis_server(tmp_path / "redis", appendonly="no") as server, aofnb.open(None) as store:
        for name in ("CLIENT", "COMMAND", "CONFIG", "OBJECT"):
            ours, theirs = plain(store.execute(name, "HELP")), plain(server.execute(name, "HELP"))
            rest = iter(theirs)
            # Each is found behind the one before.
            assert [line for line in ours if line not in rest] == []
        assert ours == theirs
