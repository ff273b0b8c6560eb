"""Transcripts: rows of a command and its reply, run on us, on a real server, and on us again after a reload.

A row is ``("SET k v EX 10", OK)``. The command is split as redis-cli splits it, or given as a tuple of
arguments. The reply is a value, or a matcher: ``Error("not an integer")``, ``approx(10, 1)``, ``ANY``,
``unordered(...)``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.server import redis_server

import aofnb
from aofnb.errors import ReplyError

__all__ = ["ANY", "OK", "Error", "approx", "check_transcript", "run_on_server", "run_on_us", "split", "unordered"]

OK = "OK"
Row = tuple[str | Sequence[Any], Any]


class _Any:
    def __eq__(self, _other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "ANY"


ANY = _Any()


@dataclass(frozen=True)
class Error:
    """An error reply whose text contains `part`; its first word is the code."""

    part: str

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Error):
            return self.part == other.part
        return isinstance(other, Exception) and self.part in str(other)

    def __hash__(self) -> int:
        return hash(self.part)


@dataclass(frozen=True)
class approx:  # noqa: N801  # reads like pytest.approx
    """A number within `within` of `value`."""

    value: float
    within: float

    def __eq__(self, other: object) -> bool:
        return isinstance(other, int | float | bytes) and abs(float(other) - self.value) <= self.within

    def __hash__(self) -> int:
        return hash(self.value)


@dataclass(frozen=True)
class unordered:  # noqa: N801  # reads like a constructor of values
    """An array with these items in any order."""

    items: tuple[Any, ...]

    def __init__(self, *items: Any) -> None:
        object.__setattr__(self, "items", items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, list) and sorted(map(repr, other)) == sorted(map(repr, self.items))

    def __hash__(self) -> int:
        return hash(self.items)


def split(line: str) -> list[bytes]:
    """A line of redis-cli to arguments: blanks separate, double and single quotes hold together."""
    args: list[bytes] = []
    for quoted, single, bare in re.findall(r'("(?:[^"\\]|\\.)*")|(\'[^\']*\')|(\S+)', line):
        if quoted:
            args.append(ast.literal_eval("b" + quoted))
        elif single:
            args.append(single[1:-1].encode())
        else:
            args.append(bare.encode())
    return args


def argv_of(command: str | Sequence[Any]) -> list[Any]:
    return split(command) if isinstance(command, str) else list(command)


def plain(reply: Any) -> Any:
    """A reply with statuses as str and everything else as it came, so that both sides compare."""
    if isinstance(reply, list | tuple):
        return [plain(item) for item in reply]
    if isinstance(reply, Exception):
        return f"({reply})"
    return reply.encode() if isinstance(reply, str) else reply


def run_on_us(session: Any, rows: Sequence[Row]) -> list[Any]:
    """The replies of a store or session; errors as values."""
    replies = []
    for command, _expected in rows:
        try:
            replies.append(session.execute(*argv_of(command)))
        except ReplyError as problem:
            replies.append(problem)
    return replies


def run_on_server(server: Any, rows: Sequence[Row]) -> list[Any]:
    return [server.execute(*argv_of(command)) for command, _expected in rows]


def check(rows: Sequence[Row], replies: Sequence[Any], where: str) -> None:
    for (command, expected), reply in zip(rows, replies, strict=True):
        if isinstance(expected, Error):
            assert expected == reply, f"{where}: {command!r} gave {reply!r}, not an error with {expected.part!r}"
        elif isinstance(expected, _Any | approx | unordered):
            assert expected == (reply.encode() if isinstance(reply, str) else reply), (
                f"{where}: {command!r} -> {reply!r}"
            )
        else:
            assert plain(reply) == plain(expected), f"{where}: {command!r} gave {reply!r}, expected {expected!r}"


def check_transcript(
    rows: Sequence[Row], tmp_path: Path, *, reads: Sequence[Row] = (), open_store: Callable[..., Any] = aofnb.open
) -> None:
    """Run `rows` on us and on a real server and compare each reply with what is expected; then reopen our
    directory here, and open it with the real server, and run `reads` on both.
    """
    with open_store(tmp_path / "us", appendfsync="no") as store:
        check(rows, run_on_us(store, rows), "aofnb")
        check(reads, run_on_us(store, reads), "aofnb before the reload")
    with redis_server(tmp_path / "redis", appendfsync="no") as server:
        check(rows, run_on_server(server, rows), "redis-server")
        check(reads, run_on_server(server, reads), "redis-server")
    with open_store(tmp_path / "us", readonly=True) as store:
        check(reads, run_on_us(store, reads), "aofnb after the reload")
    with redis_server(tmp_path / "us", appendfsync="no") as server:
        check(reads, run_on_server(server, reads), "redis-server on our directory")
