"""Every command of the server's facts with the wrong number of arguments; those not on data also with odd ones.

What is on data is asked in `test_error_cases` and `test_calls`; here are the commands about connections, users,
settings, the machine, and what there is only in clusters. A test sees that none is left out.
"""

from __future__ import annotations

import importlib
import random
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from support.calls import COMMANDS as CALLED
from support.calls import FACTS, Calls
from support.require import need
from support.server import Connection, available, redis_server

import aofnb
from aofnb.errors import ReplyError

pytestmark = pytest.mark.server

CASES = 40
# What they do to a server when they are called in earnest, this test does not survive; or they wait, as BGSAVE does
# for the one before. For MIGRATE there is no other server to go to, PFSELFTEST and DEBUG ask the server about its
# inside, and there is no debugger of scripts.
NOT_IN_EARNEST = {
    "bgrewriteaof", "bgsave", "client kill", "client pause", "client reply", "debug", "failover", "migrate", "monitor",
    "pfselftest", "psync", "replicaof", "script debug", "shutdown", "slaveof", "sync",
}  # fmt: skip
_ODD = [
    b"", b"\x00\xff\r\n", b"0", b"1", b"-1", b"9223372036854775807", b"9223372036854775808", b"99999999999999999999999",
    b"1.5", b"nan", b" 1", b"+1", b"01", b"x" * 5000, b"k", b"*", b"ON", b"no", b"ID", b"COUNT", b"default", b"HELP",
]  # fmt: skip
_CONTAINERS = {name.split()[0] for name in FACTS if " " in name}


def _asked_elsewhere() -> set[str]:
    cases = importlib.import_module("conformance.test_error_cases")
    return {command.name.lower() for command in cases.asked()} | set(CALLED)


ELSEWHERE = _asked_elsewhere()
ODD = sorted(FACTS.keys() - ELSEWHERE - NOT_IN_EARNEST - _CONTAINERS)


def test_no_command_is_left_out() -> None:
    from aofnb.commands.registry import all_commands

    ours = {command.name.lower() for command in all_commands()}
    assert FACTS.keys() - ours == {"migrate"}
    assert FACTS.keys() - ELSEWHERE - set(ODD) == NOT_IN_EARNEST | (_CONTAINERS - ELSEWHERE)


class Sides:
    """A connection to each of both; others in their place when they are ended."""

    def __init__(self, ports: tuple[int, int]) -> None:
        self._ports = ports
        self._connections = [Connection(port) for port in ports]

    def ask(self, *argv: bytes) -> list[Any]:
        return [self._one(connection, argv) for connection in self._connections]

    @staticmethod
    def _one(connection: Connection, argv: tuple[bytes, ...]) -> Any:
        try:
            reply = connection.execute(*argv)
        except ConnectionError:
            return "the end"
        return f"({reply})" if isinstance(reply, ReplyError) else reply

    def renew(self) -> None:
        self.close()
        self._connections = [Connection(port) for port in self._ports]

    def close(self) -> None:
        for connection in self._connections:
            connection.close()


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides]:
    need("redis-server", available())
    directory = tmp_path_factory.mktemp("odd")
    with (
        redis_server(directory / "redis", appendonly="no") as server,
        aofnb.open(directory / "us", appendonly=False) as store,
        store.serve() as service,
    ):
        service.debug_commands = "yes"
        both = Sides((server.port, service.port))
        try:
            yield both
        finally:
            both.close()


def wrong_numbers(name: str) -> Iterator[list[bytes]]:
    """Too few arguments, and too many where that is known: the name alone, one too few, one and a thousand too many."""
    words, arity = name.upper().encode().split(), FACTS[name]["arity"]
    least = abs(arity)
    for argc in sorted({len(words), least - 1}):
        if len(words) <= argc < least:
            yield [*words, *[b"x"] * (argc - len(words))]
    if arity > 0:
        yield [*words, *[b"x"] * (least + 1 - len(words))]
        yield [*words, *[b"x"] * (least + 1000 - len(words))]


# But for MIGRATE: there is no other server to go to.
@pytest.mark.parametrize("name", sorted(FACTS.keys() - {"migrate"}))
def test_a_wrong_number_of_arguments_is_told_as_by_the_server(name: str, sides: Sides) -> None:
    """Also by a transaction, which is then refused; and of a container the name alone, and a part it does not have."""
    calls = list(wrong_numbers(name))
    if name in _CONTAINERS:
        calls += [[name.encode(), b"nosuch"], [name.encode(), b""], [name.encode(), b"\xff\x00", b"x"]]
    for argv in calls:
        theirs, ours = sides.ask(*argv)
        assert ours == theirs, argv
        for words in ([b"MULTI"], argv, [b"EXEC"]):
            theirs, ours = sides.ask(*words)
            assert ours == theirs, (argv, words)
        sides.ask(b"DISCARD")


def odd_calls(name: str) -> Iterator[list[bytes]]:
    chance = random.Random(zlib.crc32(name.encode()))
    words, least = name.upper().encode().split(), abs(FACTS[name]["arity"])
    by_grammar = list(Calls(name, 1).some(CASES // 2))
    for number in range(CASES // 2):
        count = max(0, least - len(words) + chance.choice((0, 0, 0, 1, 1, 2, 3)))
        yield [*words, *(chance.choice(_ODD) for _ in range(count))]
        yield by_grammar[number]


@pytest.mark.parametrize("name", ODD)
def test_odd_arguments_are_answered_as_by_the_server(name: str, sides: Sides) -> None:
    """Errors are the same; what is no error on one side is none on the other, and of the same kind."""
    wrong = []
    for argv in odd_calls(name):
        sides.renew()
        theirs, ours = sides.ask(*argv)
        errors = any(isinstance(said, str) and said.startswith("(") for said in (theirs, ours))
        if (ours != theirs) if errors else (type(ours) is not type(theirs)):
            wrong.append(f"{argv}: {ours!r}, the server {theirs!r}"[:400])
    assert not wrong, "\n".join(wrong)
