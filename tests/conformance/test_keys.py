"""Commands on keys, deadlines and databases, and SORT, answer as redis-server does; so does the command table."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from support.record_documentation import cost_of
from support.require import need
from support.server import available, redis_server
from support.transcripts import ANY, OK, Error, approx, check_transcript, unordered

import aofnb
from aofnb.commands.registry import all_commands
from aofnb.resp.encode import encode_command

pytestmark = pytest.mark.server

NOT_INTEGER = Error("value is not an integer or out of range")
OUT_OF_RANGE = Error("DB index is out of range")
SYNTAX = Error("syntax error")

KEYS = [
    ("MSET a 1 b 2 abc 3", OK),
    ("EXISTS a a nokey", 2),
    ("TOUCH a nokey", 1),
    ("TYPE a", "string"),
    ("TYPE nokey", "none"),
    ("KEYS a*", unordered(b"a", b"abc")),
    ("KEYS [^a]", [b"b"]),
    ("KEYS [a-", [b"a"]),
    ("SCAN 0 MATCH a? COUNT 100", [b"0", []]),
    ("SCAN 0 TYPE STRING MATCH b COUNT 100", [b"0", [b"b"]]),
    ("SCAN 0 TYPE list COUNT 100", [b"0", []]),
    ("SCAN x", Error("invalid cursor")),
    ("SCAN 0 COUNT 0", SYNTAX),
    ("SCAN 0 COUNT x", NOT_INTEGER),
    ("SCAN 0 FOO", SYNTAX),
    ("RENAME a c", OK),
    ("RENAME a c", Error("no such key")),
    ("RENAME c c", OK),
    ("RENAMENX c c", 0),
    ("RENAMENX c b", 0),
    ("RENAMENX c a", 1),
    ("EXPIRE a 100", 1),
    ("RENAME a b", OK),
    ("TTL b", 100),
    ("COPY b a", 1),
    ("TTL a", 100),
    ("COPY abc a", 0),
    ("COPY abc a REPLACE", 1),
    ("TTL a", -1),
    ("COPY a a", Error("source and destination objects are the same")),
    ("COPY a a DB 3", 1),
    ("COPY a b DB 99", OUT_OF_RANGE),
    ("COPY a b DB x", NOT_INTEGER),
    ("COPY a b FOO", SYNTAX),
    ("COPY nokey b", 0),
    ("MOVE a 1", 1),
    ("MOVE a 1", 0),
    ("MOVE b 0", Error("source and destination objects are the same")),
    ("MOVE b 99", OUT_OF_RANGE),
    ("MOVE b 99999999999", Error("value is out of range, value must between -2147483648 and 2147483647")),
    ("SELECT 1", OK),
    ("GET a", b"3"),
    ("SELECT 16", OUT_OF_RANGE),
    ("SELECT x", NOT_INTEGER),
    ("SELECT 0", OK),
    ("SWAPDB 0 1", OK),
    ("KEYS *", [b"a"]),
    ("SWAPDB x 1", Error("invalid first DB index")),
    ("SWAPDB 0 x", Error("invalid second DB index")),
    ("SWAPDB 0 99", OUT_OF_RANGE),
    ("DBSIZE", 1),
    ("RANDOMKEY", b"a"),
    ("FLUSHDB FOO", SYNTAX),
    ("FLUSHDB ASYNC", OK),
    ("RANDOMKEY", None),
    ("MSET a 1 b 2 c 3", OK),
    ("DEL a nokey", 1),
    ("UNLINK b nokey", 1),
    ("WAIT 0 0", 0),
    ("WAIT 0 -1", Error("timeout is negative")),
    ("OBJECT ENCODING c", b"int"),
    ("OBJECT REFCOUNT c", 2147483647),
    ("SET e eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee", OK),
    ("OBJECT ENCODING e", b"embstr"),
    ("OBJECT REFCOUNT e", 1),
    ("SET r eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee", OK),
    ("OBJECT ENCODING r", b"raw"),
    ("OBJECT ENCODING nokey", None),
    ("OBJECT IDLETIME nokey", None),
    ("OBJECT FREQ nokey", None),
    ("OBJECT FREQ c", Error("An LFU maxmemory policy is not selected")),
    ("OBJECT FOO c", Error("unknown subcommand 'FOO'. Try OBJECT HELP.")),
    ("OBJECT", Error("wrong number of arguments for 'object' command")),
    ("SELECT 1", OK),
    ("KEYS *", unordered(b"b", b"abc")),
]

EXPIRY = [
    ("SET k v", OK),
    ("TTL k", -1),
    ("PTTL nokey", -2),
    ("EXPIRETIME nokey", -2),
    ("PEXPIRETIME k", -1),
    ("EXPIRE k 100", 1),
    ("TTL k", 100),
    ("PTTL k", approx(100000, 5000)),
    ("EXPIRE k 200 NX", 0),
    ("EXPIRE k 200 LT", 0),
    ("EXPIRE k 200 GT XX", 1),
    ("EXPIRE k 50 GT", 0),
    ("TTL k", 200),
    ("PEXPIREAT k 1900000000500", 1),
    ("PEXPIRETIME k", 1900000000500),
    ("EXPIRETIME k", 1900000001),
    ("EXPIREAT k 1900000000 LT", 1),
    ("PEXPIRETIME k", 1900000000000),
    ("PERSIST k", 1),
    ("PERSIST k", 0),
    ("PERSIST nokey", 0),
    ("EXPIRE k 100 XX", 0),
    ("EXPIRE k 100 GT", 0),
    ("EXPIRE k 100 NX XX", Error("NX and XX, GT or LT options at the same time are not compatible")),
    ("EXPIRE k 100 GT LT", Error("GT and LT options at the same time are not compatible")),
    ("EXPIRE k 100 FOO", Error("Unsupported option FOO")),
    ("EXPIRE k x", NOT_INTEGER),
    ("EXPIRE k 9223372036854775807", Error("invalid expire time in 'expire' command")),
    ("PEXPIRE k 9223372036854775807", Error("invalid expire time in 'pexpire' command")),
    ("EXPIRE nokey 100", 0),
    ("EXPIRE k -1", 1),
    ("EXISTS k", 0),
    ("SET k v", OK),
    ("PEXPIREAT k 1", 1),
    ("EXISTS k", 0),
    ("SET k v PXAT 1", OK),
    ("KEYS *", []),
    ("TTL k", -2),
    ("SET k v PXAT 1", OK),
    ("RENAME k j", Error("no such key")),
    ("SET k v PXAT 1900000000000", OK),
]

SORT = [
    ("RPUSH l 3 1 2 10 1", 5),
    ("SORT l", [b"1", b"1", b"2", b"3", b"10"]),
    ("SORT l DESC LIMIT 1 2", [b"3", b"2"]),
    ("SORT l ALPHA", [b"1", b"1", b"10", b"2", b"3"]),
    ("SORT l LIMIT -5 2", [b"1", b"1"]),
    ("SORT l LIMIT 9 2", []),
    ("SORT l BY nosort", [b"3", b"1", b"2", b"10", b"1"]),
    ("SORT l BY nosort DESC LIMIT 0 2", [b"1", b"10"]),
    ("MSET w_1 30 w_2 20 w_3 10 w_10 5 n_1 one", OK),
    ("SORT l BY w_*", [b"10", b"3", b"2", b"1", b"1"]),
    ("SORT l BY w_* GET # GET n_* LIMIT 3 1", [b"1", b"one"]),
    ("SORT l GET n_*x GET fixed LIMIT 0 1", [None, None]),
    ("HSET h_2 f 99 g x", 2),
    ("SORT l BY h_*->f ALPHA DESC GET h_*->g LIMIT 0 2", [b"x", None]),
    ("SORT l STORE d", 5),
    ("LRANGE d 0 -1", [b"1", b"1", b"2", b"3", b"10"]),
    ("SORT nokey STORE d", 0),
    ("EXISTS d", 0),
    ("SADD s b a c", 3),
    ("SORT s", Error("One or more scores can't be converted into double")),
    ("SORT s ALPHA DESC", [b"c", b"b", b"a"]),
    ("SORT s BY nosort STORE d", 3),
    ("LRANGE d 0 -1", [b"a", b"b", b"c"]),
    ("ZADD z 2 x 1 y", 2),
    ("SORT z BY nosort", [b"y", b"x"]),
    ("SORT z BY nosort DESC", [b"x", b"y"]),
    ("SORT_RO z ALPHA", [b"x", b"y"]),
    ("SORT_RO z STORE d", SYNTAX),
    ("SORT l BY", SYNTAX),
    ("SORT l LIMIT 0 x", NOT_INTEGER),
    ("SORT w_1", Error("WRONGTYPE")),
    ("COMMAND GETKEYS SORT a GET store STORE b", [b"a", b"b"]),
    ("COMMAND GETKEYSANDFLAGS SORT a GET store STORE b", [[b"a", ["RO", "access"]], [b"b", ["OW", "update"]]]),
    ("COMMAND GETKEYSANDFLAGS SET k v", [[b"k", ["OW", "update"]]]),
    ("COMMAND GETKEYSANDFLAGS SET k v GET", [[b"k", ["RW", "access", "update"]]]),
    ("COMMAND GETKEYSANDFLAGS BITFIELD k GET u8 0", [[b"k", ["RO", "access"]]]),
    ("COMMAND GETKEYSANDFLAGS BITFIELD k SET u8 0 1", [[b"k", ["RW", "access", "update"]]]),
    ("COMMAND GETKEYSANDFLAGS COPY a b", [[b"a", ["RO", "access"]], [b"b", ["OW", "update"]]]),
    ("COMMAND GETKEYSANDFLAGS TYPE k", [[b"k", ["RO"]]]),
    (
        "COMMAND GETKEYSANDFLAGS ZUNIONSTORE d 2 a b",
        [[b"d", ["OW", "update"]], [b"a", ["RO", "access"]], [b"b", ["RO", "access"]]],
    ),
    ("COMMAND GETKEYS ZUNIONSTORE d 3 a b", Error("Invalid arguments specified for command")),
    ("COMMAND GETKEYS EVAL script 0", []),
    ("COMMAND GETKEYS XREADGROUP GROUP STREAMS c STREAMS a b 1 2", [b"a", b"b"]),
    ("COMMAND GETKEYSANDFLAGS SPUBLISH channel x", Error("The command has no key arguments")),
]

SERVER = [
    ("CONFIG GET appendfs*", [b"appendfsync", b"no"]),
    ("CONFIG SET appendfsync always hz 20", OK),
    ("CONFIG GET appendfsync", [b"appendfsync", b"always"]),
    ("CONFIG SET appendfsync no hz 20", OK),
    ("CONFIG SET appendfsync", Error("wrong number of arguments for 'config|set' command")),
    ("CONFIG SET appendfsync no hz", SYNTAX),
    ("CONFIG SET hz 10 HZ 20", Error("(possibly related to argument 'HZ') - duplicate parameter")),
    ("CONFIG SET nosuch 1", Error("Unknown option or number of arguments for CONFIG SET - 'nosuch'")),
    ("CONFIG SET hz 10 appendfsync sometimes", Error("argument(s) must be one of the following: everysec, always, no")),
    ("CONFIG GET hz", [b"hz", b"20"]),
    ("CONFIG RESETSTAT", OK),
    ("CONFIG FOO", Error("unknown subcommand 'FOO'. Try CONFIG HELP.")),
    ("CONFIG", Error("wrong number of arguments for 'config' command")),
    ("TIME", ANY),
    ("COMMAND GETKEYS MSET a 1 b 2", [b"a", b"b"]),
    ("COMMAND GETKEYS OBJECT ENCODING k", [b"k"]),
    ("COMMAND GETKEYS NOSUCH k", Error("Invalid command specified")),
    ("COMMAND GETKEYS PING x", Error("The command has no key arguments")),
    ("COMMAND GETKEYS SET k", Error("Invalid number of arguments specified for command")),
    ("COMMAND LIST FILTERBY ACLCAT transaction", unordered(b"multi", b"exec", b"discard", b"watch", b"unwatch")),
    ("COMMAND LIST FILTERBY PATTERN *GET|*", []),
    ("COMMAND LIST FILTERBY MODULE x", []),
    ("COMMAND LIST FOO", SYNTAX),
    ("COMMAND INFO nosuch", [None]),
]


# What DUMP gives of the string "value".
VALUE = b"\x00\x05value\n\x00\x81\xf6\xc18\xc1\xaa\x9bn"
PAYLOADS: list[tuple[Any, Any]] = [
    ("SET k value", OK),
    ("DUMP k", VALUE),
    ("DUMP nokey", None),
    (("RESTORE", "r", 0, VALUE), OK),
    (("RESTORE", "r", 0, VALUE), Error("BUSYKEY Target key name already exists.")),
    (("RESTORE", "r", 100000, VALUE, "REPLACE"), OK),
    ("PTTL r", approx(100000, 5000)),
    (("RESTORE", "at", 1900000000000, VALUE, "ABSTTL", "IDLETIME", 5), OK),
    ("PEXPIRETIME at", 1900000000000),
    (("RESTORE", "past", 1, VALUE, "ABSTTL"), OK),
    ("EXISTS past", 0),
    (("RESTORE", "x", -1, VALUE), Error("Invalid TTL value, must be >= 0")),
    (("RESTORE", "x", 0, VALUE[:-1]), Error("DUMP payload version or checksum are wrong")),
    (("RESTORE", "x", 0, b"\x63" + VALUE[1:]), Error("DUMP payload version or checksum are wrong")),
    (("RESTORE", "x", 0, VALUE, "FREQ", 256), Error("Invalid FREQ value, must be >= 0 and <= 255")),
    (("RESTORE", "x", 0, VALUE, "IDLETIME", -1), Error("Invalid IDLETIME value, must be >= 0")),
    (("RESTORE", "x", 0, VALUE, "IDLETIME", 1, "FREQ", 1), SYNTAX),
    (("RESTORE-ASKING", "asked", 0, VALUE), OK),
]


@pytest.mark.parametrize(
    ("rows", "reads"),
    [
        (KEYS, [("SELECT 0", OK), ("MGET c nokey", [b"3", None]), ("SELECT 1", OK), ("TTL b", approx(100, 5))]),
        (EXPIRY, [("PEXPIRETIME k", 1900000000000), ("DBSIZE", 1)]),
        (SORT, [("LRANGE d 0 -1", [b"a", b"b", b"c"])]),
        (SERVER, []),
        (PAYLOADS, [("MGET r at asked past", [b"value", b"value", b"value", None]), ("TTL r", approx(100, 20))]),
    ],
    ids=["keys", "expiry", "sort", "server", "payloads"],
)
def test_transcript(rows: list[tuple[object, object]], reads: list[tuple[object, object]], tmp_path: Path) -> None:
    need("redis-server", available())
    check_transcript(rows, tmp_path, reads=reads)


def words(reply: Any) -> set[str]:
    """A set of statuses, also where they came as bytes."""
    return {word.decode() if isinstance(word, bytes) else word for word in reply}


def test_the_command_table_is_the_servers(tmp_path: Path) -> None:
    """All that is told of every command is what redis-server tells, but for summaries."""
    need("redis-server", available())
    different, later = [], []
    with redis_server(tmp_path / "redis", appendonly="no") as server, aofnb.open(None) as store:
        names = [
            name
            for pattern in ("*", "*|*")
            for name in store.execute("COMMAND", "LIST", "FILTERBY", "PATTERN", pattern)
        ]
        for name in dict.fromkeys(names):
            ours, theirs = (side.execute("COMMAND", "INFO", name)[0] for side in (store, server))
            if theirs is None:
                later.append(name.decode().upper().replace("|", " "))
                continue
            for field, what in ((1, "arity"), (3, "first key"), (4, "last key"), (5, "key step")):
                if ours[field] != theirs[field]:
                    different.append(f"{name!r} {what}: {ours[field]}, server {theirs[field]}")
            if ours[8] != theirs[8]:
                different.append(f"{name!r} uses of keys: {ours[8]}, server {theirs[8]}")
            for field, what in ((2, "flags"), (6, "categories"), (7, "tips")):
                if words(ours[field]) != words(theirs[field]):
                    different.append(f"{name!r} {what}: {words(ours[field]) ^ words(theirs[field])}")
            our_docs, their_docs = (side.execute("COMMAND", "DOCS", name)[1] for side in (store, server))
            mine, real = (dict(zip(docs[::2], docs[1::2], strict=True)) for docs in (our_docs, their_docs))
            # Of what it costs the formula is told, of what changed when nothing: the sentences are the server's own.
            real.pop(b"history", None)
            cost = cost_of(real.pop(b"complexity", b"").decode()).encode()
            if mine.pop(b"complexity", b"") != cost:
                different.append(f"{name!r} complexity: server {cost!r}")
            if list(mine) != list(real):
                different.append(f"{name!r} fields: {list(mine)}, server {list(real)}")
            # The words of the summary are our own, and subcommands are asked for by themselves.
            different += [
                f"{name!r} {field!r}: {mine[field]!r}, server {real[field]!r}"
                for field in mine.keys() & real.keys() - {b"summary", b"subcommands"}
                if mine[field] != real[field]
            ]
    assert not different, "\n".join(different)
    assert {command.since[:3] for command in all_commands() if command.name in later} <= {"7.2", "7.4"}, (
        "only what later servers have"
    )


def test_a_number_out_of_range_does_not_make_the_next_sort_fail(tmp_path: Path) -> None:
    """redis-server takes an errno that a command before has left for one of its own; found by the long run."""
    need("redis-server", available())
    commands = [("ZADD", "z", "1", "3", "2", "1"), ("ZADD", "y", "1e-400", "m"), ("SORT", "z")]
    with redis_server(tmp_path / "redis") as server:
        sent = b"".join(encode_command([word.encode() for word in argv]) for argv in commands)
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            # At once, since between two requests the server's errno may change.
            connection.sendall(sent)
            theirs = b""
            while theirs.count(b"\n") < 3:
                theirs += connection.recv(4096)
    assert theirs.splitlines()[2] == b"-ERR One or more scores can't be converted into double"
    with aofnb.open(tmp_path / "us") as store:
        assert store.run(commands)[2] == [b"1", b"3"]
