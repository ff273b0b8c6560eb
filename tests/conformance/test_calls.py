"""Every command on data, called as its grammar allows and a little besides: replies, their types, and records.

Over the socket, with RESP2 and RESP3. `AOFNB_CALLS=200 pytest tests/conformance/test_calls.py` runs more of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.calls import COMMANDS, LIBRARY, START, Calls, left_to_chance, not_compared
from support.records import masked, records
from support.require import need
from support.server import Connection, available, redis_server

import aofnb

pytestmark = pytest.mark.server

CALLS = int(os.environ.get("AOFNB_CALLS", "5"))
# In the order of a hash table, once they are one.
UNORDERED = {
    "HGETALL",
    "HKEYS",
    "HVALS",
    "KEYS",
    "SMEMBERS",
    "SDIFF",
    "SINTER",
    "SUNION",
    "FUNCTION",
    "EVAL",
    "EVAL_RO",
}
# Numbers in their replies are of the clock.
TIMED = {"TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME", "XPENDING", "XINFO"}
# Calls that change something build on one another for so long.
_FRESH_EVERY = 6
_MOMENTS_MS = 5000
# Deadlines reach so far ahead.
_FAR_S = 400_000

Typed = tuple[bytes, Any]


class TypedConnection(Connection):
    """Gives a reply as its kind and what it holds: nils, maps and sets of all kinds differ."""

    def _reply(self) -> Typed:
        line = self._file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind in b"$=":
            return kind, None if rest == b"-1" else self._file.read(int(rest) + 2)
        if kind in b"*~>" and rest != b"-1":
            return kind, [self._reply() for _ in range(int(rest))]
        if kind == b"%":
            return kind, [(self._reply(), self._reply()) for _ in range(int(rest))]
        return kind, rest

    def execute(self, *argv: bytes) -> Typed:
        self.send(*argv)
        return self._reply()


class Side:
    """A server of either kind, and how its log grows; `admin` is another way in."""

    def __init__(self, port: int, directory: Path, admin: Callable[..., Any]) -> None:
        self.connection = TypedConnection(port)
        self.admin = admin
        (incr,) = (directory / "appendonlydir").glob("*.incr.aof")
        self._log = incr.open("rb")

    def written(self) -> list[list[bytes]]:
        return [masked(argv, within_s=_FAR_S) for argv in records(self._log.read())]

    def start(self) -> None:
        commands = [
            [b"SELECT", b"0"], [b"FLUSHALL"], [b"FUNCTION", b"FLUSH"], [b"SCRIPT", b"FLUSH"],
            [b"FUNCTION", b"LOAD", LIBRARY], *START,
        ]  # fmt: skip
        for argv in commands:
            self.connection.send(*argv)
        for _ in commands:
            self.connection.read()
        self._log.seek(0, os.SEEK_END)

    def payloads(self, command: str) -> list[bytes]:
        if command == "function restore":
            asked = [[b"FUNCTION", b"DUMP"]]
        elif command.startswith("restore"):
            asked = [[b"DUMP", key] for key in (b"s", b"l", b"t", b"h", b"z", b"x", b"p")]
        else:
            asked = []
        return [self.connection.execute(*argv)[1][:-2] for argv in asked]

    def close(self) -> None:
        self.connection.close()
        self._log.close()


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Side]]:
    need("redis-server", available())
    directory = tmp_path_factory.mktemp("calls")
    ours, theirs = directory / "us", directory / "redis"
    with (
        redis_server(theirs, appendfsync="no", auto_aof_rewrite_percentage="0") as server,
        aofnb.open(ours, appendfsync="no", auto_aof_rewrite_percentage=0) as store,
        store.serve() as service,
    ):
        both = [Side(service.port, ours, store.execute), Side(server.port, theirs, server.execute)]
        try:
            yield both
        finally:
            for side in both:
                side.close()


def settled(reply: Typed) -> Any:
    """`reply` in one order, whatever the one it came in."""
    kind, value = reply
    if not isinstance(value, list):
        return reply
    return kind, sorted((tuple(map(settled, item)) if kind == b"%" else settled(item) for item in value), key=repr)


def near(ours: Any, theirs: Any) -> bool:
    """Whether two replies are the same but for numbers, which may be some seconds apart."""
    if isinstance(ours, list | tuple) and isinstance(theirs, list | tuple) and len(ours) == len(theirs):
        if ours[:1] == theirs[:1] == (b":",):
            return abs(int(ours[1]) - int(theirs[1])) < _MOMENTS_MS
        return all(map(near, ours, theirs))
    return bool(ours == theirs)


@pytest.mark.parametrize("command", COMMANDS)
def test_calls_are_answered_and_logged_as_by_the_server(command: str, sides: list[Side]) -> None:
    name, changes = command.split()[0].upper(), 0
    for side in sides:
        side.start()
    payloads = [payload for side in sides for payload in side.payloads(command)]
    for resp in (2, 3):
        for side in sides:
            side.connection.execute(b"HELLO", b"%d" % resp)
        for argv in Calls(command, resp, payloads).some(CALLS):
            if not_compared(argv):
                continue
            ours, theirs = (side.connection.execute(*argv) for side in sides)
            logged = [side.written() for side in sides]
            by_chance = left_to_chance(argv) and theirs[0] != b"-"
            if by_chance:
                assert ours[0] == theirs[0], argv
            elif ours != theirs:
                ours, theirs = (settled(reply) if name in UNORDERED else reply for reply in (ours, theirs))
                assert near(ours, theirs) if name in TIMED else ours == theirs, argv
            if logged[0] or logged[1]:
                if not by_chance:
                    assert logged[0] == logged[1], argv
                    assert sides[0].admin("DEBUG", "DIGEST") == sides[1].admin("DEBUG", "DIGEST"), argv
                changes += 1
                if by_chance or changes % _FRESH_EVERY == 0:
                    for side in sides:
                        side.start()
