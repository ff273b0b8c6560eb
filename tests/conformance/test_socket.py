"""On a socket: the same bytes as redis-server's for the same requests, and its own programs as clients."""

from __future__ import annotations

import random
import re
import socket
import subprocess
from contextlib import suppress

import pytest
from support.require import need
from support.server import available, redis_server

import aofnb
from aofnb.resp.encode import encode_command

need("redis-server", available())

# In order, on one connection: replies of every kind, and every way to say nil.
COMMANDS = """
SET k v
GET k
GET none
SET k w NX
INCR n
INCRBYFLOAT f 0.1
APPEND k x
MGET k none n
LPOP none
LPOP none 2
RPOP none
RPOP none 2
LMPOP 1 none LEFT
ZMPOP 1 none MIN
RPUSH l a b c
LPOP l
LPOP l 5
LPOS none x
LRANGE l 0 -1
BLPOP none 0.01
BRPOP none 0.01
BZPOPMIN none 0.01
BLMPOP 0.01 1 none LEFT
BLMOVE none none2 LEFT LEFT 0.01
BRPOPLPUSH none none2 0.01
SADD s a
SMEMBERS s
SPOP none
SPOP none 2
SRANDMEMBER none
SRANDMEMBER none 2
SISMEMBER s a
SMISMEMBER s a b
HSET h f v
HGET h none
HGETALL h
HGETALL none
HMGET h f none
HRANDFIELD h 1 WITHVALUES
HRANDFIELD none
HSCAN h 0
ZADD z 1 a 2.5 b
ZADD z INCR 1 a
ZADD z XX INCR 1 none
ZSCORE z b
ZSCORE z none
ZMSCORE z a none
ZRANK z none
ZRANGE z 0 -1
ZRANGE z 0 -1 WITHSCORES
ZPOPMIN none
ZPOPMIN z
ZRANDMEMBER none
ZRANDMEMBER z 1 WITHSCORES
ZSCAN z 0
GEOADD g 13.36 38.11 p
GEOPOS g p none
GEODIST g p none
GEOHASH g p none
GEOSEARCH g FROMMEMBER p BYRADIUS 1 km WITHDIST WITHCOORD
XADD x 1-1 a b
XRANGE x - +
XREAD COUNT 1 STREAMS x 0
XREAD COUNT 1 STREAMS x x 0 0
XRANGE x - + COUNT -1
XREVRANGE x + - COUNT -1
XREAD COUNT 1 STREAMS x $
XREAD BLOCK 10 STREAMS x $
XGROUP CREATE x grp $
XPENDING x grp
XREADGROUP GROUP grp c STREAMS x >
XINFO STREAM x
XINFO GROUPS x
XAUTOCLAIM x grp c 0 0
XADD x 2-1 a b
XREADGROUP GROUP grp c STREAMS x >
XDEL x 2-1
XREADGROUP GROUP grp c STREAMS x 0
xgroup create x grp 0 nonsense
xinfo stream x nonsense
COMMAND INFO get sort xread eval object|freq
COMMAND GETKEYSANDFLAGS COPY a b
TYPE k
TTL k
OBJECT ENCODING k
OBJECT ENCODING none
DUMP none
RANDOMKEY
SCAN 0 COUNT 100
MULTI
GET none
LPOP none 2
SET k v
GEOPOS g none
INCR k
BLPOP none 0
BLMOVE none none LEFT LEFT 0
BRPOPLPUSH none none 0
BZPOPMIN none 0
EXEC
MULTI
NOSUCH
EXEC
WATCH k
SET k changed
MULTI
GET k
EXEC
DISCARD
CONFIG GET hz
COMMAND COUNT x
COMMAND INFO nosuch
COMMAND GETKEYS GET k
NOSUCH a b
GET
CONFIG NOSUCH
CLIENT GETNAME
CLIENT SETNAME me
CLIENT GETNAME
ECHO hello
PING
PING x
SORT l
LCS k k IDX
BITFIELD b SET u8 0 255 GET u8 0
BITFIELD b OVERFLOW FAIL INCRBY u2 0 5
SELECT 1
SWAPDB 0 1
WAIT 0 10
DEBUG OBJECT k
QUIT
"""
UNORDERED = {"RANDOMKEY", "SCAN", "COMMAND COUNT x", "XINFO STREAM x"}


class Raw:
    """A connection that gives the bytes of replies."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._file = self._socket.makefile("rb")

    def ask(self, *argv: bytes) -> bytes:
        self._socket.sendall(encode_command(argv))
        return self.read()

    def read(self) -> bytes:
        line = self._file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind in (b"$", b"=") and rest != b"-1":
            return line + self._file.read(int(rest) + 2)
        if kind in (b"*", b"~", b">") and rest != b"-1":
            return line + b"".join(self.read() for _ in range(int(rest)))
        if kind == b"%":
            return line + b"".join(self.read() for _ in range(2 * int(rest)))
        return line

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@pytest.mark.parametrize("resp", [2, 3])
def test_replies_are_the_same_bytes(tmp_path, resp):
    with (
        redis_server(tmp_path / "redis", appendfsync="no", enable_debug_command="no") as theirs,
        aofnb.open(tmp_path / "us", appendfsync="no") as store,
        store.serve() as ours,
    ):
        connections = [Raw(theirs.port), Raw(ours.port)]
        try:
            for connection in connections:
                assert connection.ask(b"HELLO", b"%d" % resp).startswith((b"*14", b"%7"))
            for line in COMMANDS.strip().splitlines():
                expected, got = (connection.ask(*line.encode().split()) for connection in connections)
                if line.split(" COUNT")[0].split(" 0")[0] in UNORDERED or line in UNORDERED:
                    assert got[:1] == expected[:1], line
                else:
                    assert got == expected, line
            assert [connection.read() for connection in connections] == [b"", b""]
        finally:
            for connection in connections:
                connection.close()


def test_protocol_errors_are_answered_as_redis_answers_them(tmp_path):
    broken = [
        b"*x\r\n",
        b"*1\r\n:1\r\n",
        b"*1\r\n$-1\r\n",
        b'GET "k\r\n',
        b"*1\r\n$4\r\nPING\r\n*1\r\n$x\r\n",
        b"\r\n\r\nPING\r\nQUIT\r\n",
    ]
    with (
        redis_server(tmp_path / "redis", appendfsync="no") as theirs,
        aofnb.open(None) as store,
        store.serve() as ours,
    ):
        for data in broken:
            expected, got = (_everything(server.port, data) for server in (theirs, ours))
            assert got == expected, data


_WORDS = [
    b"PING", b"SET k v", b"GET k", b"GET", b"NOSUCH a", b"HELLO 3", b"HELLO 9", b"MULTI", b"EXEC", b"DISCARD", b"RESET",
    b"SUBSCRIBE c", b"QUIT", b"AUTH x", b"SELECT 99", b"HGETALL none", b"PING a b", b"INCR k",
    b"CONFIG GET hz", b"CLIENT TRACKING on", b"CLIENT NOSUCH", b"LPUSH l 1",
]  # fmt: skip
_PIECES = [
    b"*", b"$", b"\r\n", b"\n", b"\r", b"0", b"1", b"-1", b"+OK\r\n", b":1\r\n", b'"', b"'", b"\\x41", b" ", b"*1\r\n",
    b"$4\r\nPING\r\n", b"*0\r\n", b"$-1\r\n", b"*2147483648\r\n", b"*1048577\r\n", b"$999999999999\r\n",
    b"$536870913\r\n", b"GET / HTTP/1.1\r\n", b"\0", b"\xff", b"*3\r\n$3\r\nSET\r\n", b"%2\r\n", b"_\r\n", b"*01\r\n",
    b"*+1\r\n", b"* 1\r\n", b"$04\r\nPING\r\n", b"\t", b"\v", b"A" * 100,
]  # fmt: skip


def _hostile(rng: random.Random) -> bytes:
    """A few requests, whole, inline, torn, or of no sense."""
    parts: list[bytes] = []
    for _ in range(rng.randrange(1, 8)):
        words = rng.choice(_WORDS)
        kind = rng.random()
        if kind < 0.4:
            parts.append(encode_command(words.split()))
        elif kind < 0.5:
            parts.append(words + rng.choice([b"\r\n", b"\n", b" \r\n"]))
        elif kind < 0.85:
            parts += rng.choices(_PIECES, k=rng.randrange(1, 6))
        else:
            torn = bytearray(encode_command(words.split()))
            torn[rng.randrange(len(torn))] = rng.choice(b"*$\r\n019-x\0\xff ")
            parts.append(bytes(torn))
    return b"".join(parts)


def test_hostile_bytes_are_answered_as_redis_answers_them(tmp_path):
    rng = random.Random(7)
    with (
        redis_server(tmp_path / "redis", appendonly="no") as theirs,
        aofnb.open(None) as store,
        store.serve() as ours,
    ):
        for _ in range(400):
            data = _hostile(rng)
            expected, got = (_everything(server.port, b"FLUSHALL\r\n" + data) for server in (theirs, ours))
            # Each counts its clients by itself.
            expected, got = (re.sub(rb"(id\r\n:)\d+", rb"\1", text) for text in (expected, got))
            assert got == expected, data


@pytest.mark.parametrize("word", [b"POST", b"host:"])
def test_browsers_are_turned_away(word):
    """What HTTP says ends the connection without a word: a page may have been made to send commands."""
    with aofnb.open(None) as store, store.serve() as ours:
        assert _everything(ours.port, word + b" / HTTP/1.1\r\nSET k v\r\n") == b""
        assert store.execute("GET", "k") is None


def _everything(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.sendall(data)
        received = b""
        with suppress(ConnectionResetError):  # by a server that leaves before it has read everything
            sock.shutdown(socket.SHUT_WR)
            while piece := sock.recv(65536):
                received += piece
        return received


@pytest.fixture
def served(tmp_path):
    with aofnb.open(tmp_path / "us", appendfsync="no") as store, store.serve(unixsocket=tmp_path / "s") as server:
        yield server


def _cli(server, *words: str, **options: object) -> str:
    done = subprocess.run(
        ["redis-cli", "-p", str(server.port), *words], capture_output=True, text=True, timeout=60, check=True, **options
    )
    return done.stdout


def test_redis_cli_connects(served):
    assert _cli(served, "SET", "k", "v") == "OK\n"
    assert _cli(served, "-3", "HSET", "h", "f", "v") == "1\n"
    assert _cli(served, "--no-raw", "-3", "HGETALL", "h") == '1# "f" => "v"\n'
    assert "redis_version:7.0.15" in _cli(served, "INFO")
    assert "aofnb_version:" in _cli(served, "INFO", "server")
    unix = subprocess.run(["redis-cli", "-s", served.unixsocket, "GET", "k"], capture_output=True, timeout=60)
    assert unix.stdout == b"v\n"


def test_redis_cli_pipe_loads_a_stream_of_commands(served):
    stream = b"".join(encode_command([b"SET", b"k%d" % i, b"v" * 100]) for i in range(5000))
    done = subprocess.run(
        ["redis-cli", "-p", str(served.port), "--pipe"], input=stream, capture_output=True, timeout=60
    )
    assert b"errors: 0, replies: 5000" in done.stdout
    assert served.store.execute("DBSIZE") == 5000


def test_redis_benchmark_runs(served):
    done = subprocess.run(
        [
            "redis-benchmark",
            "-p",
            str(served.port),
            "-n",
            "2000",
            "-P",
            "4",
            "-q",
            "-t",
            "ping,set,get,lpush,lrange,zadd,mset",
        ],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0
    assert "Error" not in done.stdout + done.stderr
    assert "MSET (10 keys):" in done.stdout
