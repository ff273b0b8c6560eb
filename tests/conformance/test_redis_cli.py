"""What a cell reads and prints is what redis-cli reads and prints.

redis-cli is given a server of our own making, over a Unix socket: it records the argument vectors that redis-cli
sends, and answers with any reply we like, so that every shape of reply can be compared, not only those that some
command happens to give.
"""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from support.require import need
from support.server import redis_server

import aofnb
from aofnb.errors import ReplyError
from aofnb.magics.parse import ParseError, statements
from aofnb.magics.replies import Text, wrap
from aofnb.magics.show import NO_LIMITS, is_raw, text
from aofnb.resp.replies import SetReply, Verbatim

REDIS_CLI = shutil.which("redis-cli")
need("redis-cli", REDIS_CLI)

END = "--end of reply--"


def resp(reply: Any) -> bytes:
    """`reply` as the server sends it; RESP3 where Python has a type for it."""
    if reply is None:
        return b"$-1\r\n"
    if isinstance(reply, bool):
        return b"#t\r\n" if reply else b"#f\r\n"
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    if isinstance(reply, float):
        return b",%.17g\r\n" % reply
    if isinstance(reply, Verbatim):
        return b"=%d\r\ntxt:%b\r\n" % (len(reply) + 4, reply)
    if isinstance(reply, bytes):
        return b"$%d\r\n%b\r\n" % (len(reply), reply)
    if isinstance(reply, str):
        return b"+%b\r\n" % reply.encode()
    if isinstance(reply, ReplyError):
        return b"-%b\r\n" % str(reply).encode()
    if isinstance(reply, dict):
        return b"%%%d\r\n" % len(reply) + b"".join(resp(key) + resp(value) for key, value in reply.items())
    mark = b"~" if isinstance(reply, SetReply) else b"*"
    return b"%b%d\r\n" % (mark, len(reply)) + b"".join(map(resp, reply))


class ScriptedServer:
    """Answers command number n with reply number n, each followed by a status that marks its end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.argvs: list[list[bytes]] = []
        self.replies: list[Any] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb") as stream:
                while argv := read_argv(stream):
                    self._answer(stream, argv)
                    stream.flush()

    def _answer(self, stream: BinaryIO, argv: list[bytes]) -> None:
        if argv[0] == b"COMMAND":
            # redis-cli asks for help texts of its own accord.
            stream.write(b"-ERR unknown command\r\n")
        elif argv[0] == b"HELLO":
            stream.write(b"%1\r\n$5\r\nproto\r\n:3\r\n")
        elif argv == [b"END"]:
            stream.write(resp(END))
        else:
            self.argvs.append(argv)
            stream.write(resp(self.replies.pop(0) if self.replies else "OK"))

    def run(self, lines: list[bytes], *options: str) -> bytes:
        """What redis-cli prints for `lines`, given on standard input."""
        assert REDIS_CLI is not None
        command = [REDIS_CLI, "-s", str(self.path), "--no-raw", *options]
        done = subprocess.run(command, input=b"\n".join(lines) + b"\n", capture_output=True, timeout=60, check=True)
        return done.stdout

    def close(self) -> None:
        # shutdown wakes accept; close alone does not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


def read_argv(stream: BinaryIO) -> list[bytes]:
    head = stream.readline()
    if not head.startswith(b"*"):
        return []
    argv = []
    for _ in range(int(head[1:])):
        size = int(stream.readline()[1:])
        argv.append(stream.read(size + 2)[:-2])
    return argv


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ScriptedServer]:
    scripted = ScriptedServer(tmp_path / "s")
    yield scripted
    scripted.close()


def printed(server: ScriptedServer, replies: list[Any], *options: str) -> list[str]:
    """What redis-cli prints for each of `replies`."""
    server.replies = list(replies)
    out = server.run([b"ANY", b"END"] * len(replies) if replies else [], *options).decode()
    parts = out.split(f"{END}\n")
    assert len(parts) == len(replies) + 1
    return [part.removesuffix("\n") for part in parts[:-1]]


SCALARS: list[Any] = [
    b"",
    b"plain",
    b'quote " and \\ backslash',
    b"'single'",
    bytes(range(256)),
    "é€😀".encode(),
    b"\n\r\t\a\b\v\f\x1b\x7f",
    0,
    -1,
    2**63 - 1,
    -(2**63),
    None,
    "OK",
    "QUEUED",
    "two words",
    ReplyError("ERR value is not an integer or out of range"),
    ReplyError("WRONGTYPE Operation against a key holding the wrong kind of value"),
]
ARRAYS: list[Any] = [
    [],
    [b"a"],
    [[]],
    [[], []],
    [[[b"deep"]]],
    [None, 1, "OK", ReplyError("ERR inside")],
    [b"x"] * 9,
    [b"x"] * 10,
    [b"x"] * 101,
    [[b"x"] * 10, [[1, 2], []]] * 6,
    [[b"1-1", [b"f", b"v"]], [b"1-2", [b"f", b"v", b"g", b"w"]]],
    [b"0", [b"k1", b"k2"]],
]
RESP3: list[Any] = [
    {},
    {b"a": 1},
    {b"a": [1, 2], b"b": {}, b"c": [], b"d": SetReply()},
    {b"a": {b"x": [b"y", {b"z": None}]}},
    {f"field{i}".encode(): i for i in range(12)},
    SetReply(),
    SetReply([b"a", b"b"]),
    [SetReply([b"a"]), {b"k": SetReply([1])}],
    True,
    False,
    1.5,
    0.1,
    3.0,
    float("inf"),
    float("-inf"),
    1e300,
    [1.25, True],
    Verbatim(b'some "text"'),
    [Verbatim(b"two\nlines"), b"two\nlines"],
    {b"text": Verbatim(b"two\nlines"), "status": None},
    {1: {b"a": SetReply([{b"b": [1]}])}},
    {b"a": [1]},
    {b"a": {b"b": 1}},
    {b"a": {b"b": 1, b"c": 2}},
    {b"a": SetReply([1, 2])},
    {b"a": SetReply([[1, 2]])},
    {b"a": [[]]},
    {b"a": [Verbatim(b"two\nlines")]},
]


def random_reply(rng: random.Random, depth: int = 0) -> Any:
    if depth < 4 and rng.random() < 0.4:
        return [random_reply(rng, depth + 1) for _ in range(rng.choice([0, 1, 2, 3, 11]))]
    kind = rng.randrange(5)
    if kind == 0:
        return rng.randbytes(rng.randrange(12))
    if kind == 1:
        return rng.randrange(-(10**6), 10**6)
    return [None, "OK", b"text"][kind - 2]


def test_replies_are_printed_as_redis_cli_prints_them(server: ScriptedServer) -> None:
    replies = SCALARS + ARRAYS
    assert [text(reply, NO_LIMITS) for reply in replies] == printed(server, replies)


def test_resp3_replies_are_printed_as_redis_cli_prints_them(server: ScriptedServer) -> None:
    replies = ARRAYS + RESP3
    expected = printed(server, replies, "-3")
    assert [text(reply, NO_LIMITS) for reply in replies] == expected
    # What a cell gives is a value of ours, which must look the same.
    assert [text(wrap(reply), NO_LIMITS) for reply in replies] == expected


@pytest.mark.parametrize("seed", range(3))
def test_random_replies_are_printed_as_redis_cli_prints_them(server: ScriptedServer, seed: int) -> None:
    rng = random.Random(seed)
    replies = [random_reply(rng) for _ in range(200)]
    assert [text(reply, NO_LIMITS) for reply in replies] == printed(server, replies)


CELL = """\
SET k "a\\x00\\xff\\n"
GET k
GET nothing
APPEND k é
INCR k
MSET a 1 b 2
MGET a nothing b
HSET h f v g w
HGETALL h
HGETALL nothing
HRANDFIELD h 1 WITHVALUES extra
SADD s m
SMEMBERS s
ZADD z 1.5 one 2 two inf three
ZRANGE z 0 -1 WITHSCORES
ZSCORE z one
ZPOPMIN z 2
ZMSCORE z three nothing
XADD x 1-1 f v
XADD x 2-1 f v g w
XRANGE x - +
XREAD COUNT 5 STREAMS x 0
XREAD COUNT 5 STREAMS x $
XGROUP CREATE x grp 0
XINFO STREAM x
XINFO GROUPS x
XPENDING x grp
GEOADD geo 13.361389 38.115556 Palermo
GEOPOS geo Palermo nowhere
GEOSEARCH geo FROMMEMBER Palermo BYRADIUS 1 km ASC WITHCOORD WITHDIST
LPUSH l 1 2 3 4 5 6 7 8 9 10 11
LRANGE l 0 -1
LPOP nothing 2
SCAN 0 COUNT 0
CONFIG GET hash-max-listpack-entries
CONFIG GET nothing
OBJECT ENCODING k
TYPE h
EXISTS k nothing
MULTI
GET a
LRANGE l 0 2
INCR k
EXEC
EVAL "return {1, {false, 'x'}, redis.status_reply('FINE'), redis.error_reply('ERR no')}" 0
EVAL "redis.setresp(3); return {double = 1.5}" 0
EVAL "return {map = {a = true}}" 0
NOSUCH x
GET
"""


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_cell_prints_what_redis_cli_prints_on_a_real_server(tmp_path: Path, protocol: int) -> None:
    """The same commands, here by a store and there by redis-server: line for line the same."""
    assert REDIS_CLI is not None
    lines = CELL.splitlines()
    with redis_server(tmp_path / "redis") as server:
        command = [REDIS_CLI, "-p", str(server.port), "--no-raw", *(["-3"] if protocol == 3 else [])]
        fed = "".join(
            f"{line}\nPING '{END}'\n" if not _queues(lines, i) else f"{line}\n" for i, line in enumerate(lines)
        )
        done = subprocess.run(command, input=fed.encode(), capture_output=True, timeout=60, check=True)
    theirs = done.stdout.decode().replace(f'"{END}"\n', f"{END}\n").split(f"{END}\n")[:-1]
    ours: list[str] = []
    pending = ""
    with aofnb.open(None) as store:
        session = store.session()
        if protocol == 3:
            session.execute("HELLO", 3)
        for number, statement in enumerate(statements(CELL)):
            argv = [word.literal for word in statement.words]
            try:
                reply = session.execute(*argv)
            except ReplyError as problem:
                reply = problem
            shown = wrap(reply, argv)
            pending += text(shown, NO_LIMITS, raw=isinstance(shown, Text)) + "\n"
            if not _queues(lines, number):
                ours.append(pending)
                pending = ""
    # redis-cli sets an empty line behind an error.
    assert [one.rstrip("\n") for one in ours] == [one.rstrip("\n") for one in theirs]


def _queues(lines: list[str], number: int) -> bool:
    """Whether line `number` opens a transaction or is queued in it, so that nothing may come between."""
    return lines.index("MULTI") <= number < lines.index("EXEC")


RAW_AND_NOT = [
    b"INFO",
    b"info keyspace",
    b"CLIENT LIST",
    b"client info",
    b"CLIENT ID",
    b"CLUSTER INFO",
    b"CLUSTER NODES",
    b"CLUSTER SLOTS",
    b"DEBUG HTSTATS 0",
    b"DEBUG HTSTATS-KEY k",
    b"DEBUG OBJECT k",
    b"MEMORY DOCTOR",
    b"MEMORY MALLOC-STATS",
    b"MEMORY STATS",
    b"LATENCY GRAPH x",
    b"LATENCY DOCTOR",
    b"LATENCY LATEST",
    b"PROXY INFO",
    b"LOLWUT",
    b"GET k",
]


@pytest.mark.parametrize("line", RAW_AND_NOT)
def test_the_same_replies_are_printed_without_quotes(server: ScriptedServer, line: bytes) -> None:
    body = b"# Title\r\nname:value\r\n"
    server.replies = [body]
    out = server.run([line]).decode()
    ours = text(body, NO_LIMITS, raw=is_raw(line.split()))
    # Notebooks know no carriage return; redis-cli passes it through.
    assert ours == out.replace("\r\n", "\n").removesuffix("\n")


ALPHABET = [
    '"',
    "'",
    "\\",
    " ",
    "\t",
    "\r",
    "\v",
    "\f",
    "a",
    "n",
    "x",
    "0",
    "f",
    "{",
    "}",
    "#",
    "é",
    "\\x41",
    "\\n",
    "\\'",
]
LINES = [
    '"two words"',
    "'it\\'s'",
    '"\\x00\\xff\\n\\r\\t\\a\\b\\q\\\\"',
    'in"side"',
    '"a"b',
    "'a'b",
    '"open',
    "'open",
    '"\\x4"',
    "'\\n'",
    '""',
    "a\\nb",
    '"trailing \\',
]


def random_lines() -> list[str]:
    rng = random.Random(7)
    return ["".join(rng.choices(ALPHABET, k=rng.randrange(1, 12))) for _ in range(1500)]


def test_lines_are_split_as_redis_cli_splits_them(server: ScriptedServer) -> None:
    """Argument for argument, and the same lines are refused."""
    # A first word of our own keeps redis-cli from taking `exit`, a count or the like as its own command.
    lines = [f"X {line}" for line in LINES + random_lines()]
    for number in range(len(lines)):
        lines[number] = f"N{number} {lines[number]}"
    server.run([line.encode() for line in lines])
    theirs = {argv[0]: argv for argv in server.argvs}

    ours = {}
    for line in lines:
        try:
            (statement,) = statements(line, bindings=False)
        except ParseError:
            continue
        argv = [word.literal for word in statement.words]
        ours[argv[0]] = argv
    assert ours == theirs
    assert 300 < len(ours) < len(lines) - 300
