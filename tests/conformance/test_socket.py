"""On a socket: the same bytes as redis-server's for the same requests, and its own programs as clients."""

from __future__ import annotations

import socket
import subprocess

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


def _everything(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.sendall(data)
        received = b""
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
