"""The table of commands: each is declared once, beside the function that does it.

The declaration drives lookup, the arity check, COMMAND INFO and DOCS, help and completion in notebooks,
the key columns of forensics, and the tests.

Redis: server.c populateCommandTable, lookupCommand (7.0.15).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeVar

from aofnb.commands.args import Options

__all__ = [
    "ALWAYS",
    "NEVER",
    "REWRITTEN",
    "VERBATIM",
    "Command",
    "KeySpec",
    "Propagate",
    "command",
    "find",
    "numbered_keys",
    "table",
]

Handler = Callable[..., Any]
H = TypeVar("H", bound=Handler)
# (first, last, step) as COMMAND INFO gives them, or a function argv -> positions of the keys.
KeySpec = tuple[int, int, int] | Callable[[Sequence[bytes]], list[int]]


class Propagate(Enum):
    """How a command that changed something reaches the log."""

    VERBATIM = "as typed"
    REWRITTEN = "as the handler asks with client.propagate"
    ALWAYS = "as typed, even if nothing changed"
    NEVER = "not at all"


VERBATIM, REWRITTEN, ALWAYS, NEVER = Propagate.VERBATIM, Propagate.REWRITTEN, Propagate.ALWAYS, Propagate.NEVER

_NO_LIMIT = 1 << 62
# Not flagged "fast", and yet done in a moment.
_BOUNDED = {"SET", "SETEX", "PSETEX", "MSET", "MSETNX", "SETRANGE", "GETRANGE", "SUBSTR", "LMOVE", "RPOPLPUSH"}
# A family is a file, but for those that fill two.
_FAMILY = {
    "stream_groups": "streams", "zset_algebra": "zsets", "latency": "server", "saving": "server",
    "hash_fields": "hashes", "memory": "server", "standalone": "server", "lolwut": "server",
    "clients": "connection", "tracking": "connection",
}  # fmt: skip


@dataclass(slots=True, eq=False)
class Command:
    """One command, or one subcommand, as it is declared.

    ``arity`` counts the name (both words of a subcommand) and is negative for "at least".
    ``subcommands`` is set on containers such as CONFIG, whose handler is only reached without a subcommand.
    """

    name: str
    handler: Handler
    arity: int
    flags: frozenset[str]
    keys: KeySpec
    propagate: Propagate
    options: Options | None
    group: str
    summary: str
    since: str
    subcommands: dict[bytes, Command] = field(default_factory=dict)
    # Derived, since every call asks.
    min_argc: int = 0
    max_argc: int = 0
    words: int = 1
    writes: bool = False
    fast: bool = False
    # What it takes depends on nothing but its own arguments.
    bounded: bool = False
    # The handler measures itself.
    timed: bool = False
    shortcut: bool = False

    def __post_init__(self) -> None:
        self.min_argc = abs(self.arity)
        self.max_argc = self.arity if self.arity > 0 else _NO_LIMIT
        self.words = 1 + self.name.count(" ")
        self.writes = "write" in self.flags
        self.fast = "fast" in self.flags
        self.bounded = self.fast or self.name in _BOUNDED
        # Whether nothing but the handler is needed to run it outside MULTI: one word, data in, reply out, at once.
        self.shortcut = (
            self.words == 1
            and self.propagate is not ALWAYS
            and "blocking" not in self.flags
            and not self.flags.isdisjoint({"write", "readonly"})
        )

    @property
    def wire_name(self) -> str:
        """The name as Redis spells it in error texts and COMMAND replies: ``config|get``."""
        return self.name.lower().replace(" ", "|")

    def key_positions(self, argv: Sequence[bytes]) -> list[int]:
        """Positions in `argv` that are keys; empty where `argv` is too short to tell."""
        if callable(self.keys):
            return self.keys(argv)
        first, last, step = self.keys
        if first == 0:
            return []
        if last < 0:
            last += len(argv)
        return [i for i in range(first, last + 1, step) if i < len(argv)]


def numbered_keys(count_at: int, *fixed: int) -> KeySpec:
    """Keys that follow their number, which is the argument at `count_at`, besides those at `fixed`."""

    def positions(argv: Sequence[bytes]) -> list[int]:
        counted = argv[count_at] if count_at < len(argv) else b""
        # Of an absurd number the first digits say enough; Python refuses to read thousands of them.
        count = int(counted[:20]) if counted.isdigit() else 0
        listed = range(count_at + 1, min(count_at + 1 + count, len(argv)))
        return [*(i for i in fixed if i < len(argv)), *listed]

    return positions


table: dict[str, Command] = {}
"""Every top-level command by its upper-case name. Filled by importing `aofnb.commands`."""


def command(
    name: str,
    *,
    arity: int,
    flags: str = "",
    keys: KeySpec = (0, 0, 0),
    propagate: Propagate | None = None,
    options: Options | None = None,
    since: str = "1.0.0",
) -> Callable[[H], H]:
    """Declare the decorated function as the handler of `name` (``"GET"``, ``"CONFIG GET"``).

    The handler is called with the client and the arguments after the name, as bytes; it changes
    ``client.db``, reports changes with ``client.changed`` and returns the reply as a Python value.
    `flags` are the words of COMMAND INFO. `propagate` defaults to VERBATIM for commands flagged
    ``write`` and to NEVER for all others.
    """
    words = frozenset(flags.split())
    rule = propagate if propagate is not None else (VERBATIM if "write" in words else NEVER)

    def register(handler: H) -> H:
        summary = (handler.__doc__ or "").strip().split("\n", 1)[0]
        module = handler.__module__.rsplit(".", 1)[-1]
        group = _FAMILY.get(module, module)
        entry = Command(name, handler, arity, words, keys, rule, options, group, summary, since)
        container, _, sub = name.partition(" ")
        if sub:
            table[container].subcommands[sub.encode()] = entry
        else:
            table[name] = entry
        return handler

    return register


def find(argv: Sequence[bytes]) -> Command | None:
    """The command or subcommand that `argv` names, in any spelling; the container if the second word is unknown."""
    entry = table.get(argv[0].decode("latin-1").upper())
    if entry is not None and entry.subcommands and len(argv) > 1:
        return entry.subcommands.get(argv[1].upper(), entry)
    return entry


def all_commands() -> Iterator[Command]:
    """Every command and subcommand, containers before their parts."""
    for entry in table.values():
        yield entry
        yield from entry.subcommands.values()
