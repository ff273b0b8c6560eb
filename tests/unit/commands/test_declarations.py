"""Each command's declaration says what a real redis-server 7.0.15 reports of it (tests/data/commands-7.0.15.json)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import aofnb.commands.all  # noqa: F401  # fills the table
from aofnb.commands.documentation import _read, arguments
from aofnb.commands.key_uses import KeyUse, key_uses
from aofnb.commands.registry import NEVER, Command, all_commands
from aofnb.commands.server import group_of

FACTS = json.loads((Path(__file__).parents[2] / "data" / "commands-7.0.15.json").read_text())
# Ours alone: how the log frames what they cause. The server keeps it as a flag that COMMAND does not show.
INTERNAL_FLAGS = {"touches_arbitrary_keys"}
COMMANDS = list(all_commands())
# What later servers added, with what they (7.4.1) report of it: arity, flags, keys, since.
_SET = (-6, {"denyoom", "fast", "write"}, [1, 1, 1], "7.4.0")
_GET = (-5, {"fast", "readonly"}, [1, 1, 1], "7.4.0")
ADDED: dict[str, tuple[int, set[str], list[int], str]] = {
    "HEXPIRE": _SET, "HPEXPIRE": _SET, "HEXPIREAT": _SET, "HPEXPIREAT": _SET,
    "HTTL": _GET, "HPTTL": _GET, "HEXPIRETIME": _GET, "HPEXPIRETIME": _GET,
    "WAITAOF": (4, {"blocking", "noscript"}, [0, 0, 0], "7.2.0"),
    "CLIENT NO-TOUCH": (3, {"loading", "noscript", "stale"}, [0, 0, 0], "7.2.0"),
    "HPERSIST": (-5, {"fast", "write"}, [1, 1, 1], "7.4.0"),
}  # fmt: skip


# A command of the facts file that is not there: it moves keys to another server, see `Store.push`.
LEFT_OUT = {"migrate"}


def test_every_command_of_the_server_is_declared() -> None:
    assert len(FACTS) == 366
    assert FACTS.keys() - {command.name.lower() for command in COMMANDS} == LEFT_OUT


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_what_the_server_does_not_have_is_listed_apart(command: Command) -> None:
    assert (command.name in ADDED) == (command.name.lower() not in FACTS)


@pytest.mark.parametrize("name", sorted(ADDED))
def test_additions_are_as_later_servers_have_them(name: str) -> None:
    (command,) = [command for command in COMMANDS if command.name == name]
    assert (command.arity, set(command.flags), command.keys, command.since) == (
        ADDED[name][0],
        ADDED[name][1],
        tuple(ADDED[name][2]),
        ADDED[name][3],
    )


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.name not in ADDED], ids=lambda command: command.name)
def test_arity_flags_and_keys_are_the_servers(command: Command) -> None:
    facts = FACTS[command.name.lower()]
    assert command.arity == facts["arity"]
    flags = set(facts["flags"])
    if callable(command.keys):
        # Where the keys are depends on the arguments: the server gives a triple only as a hint.
        assert "movablekeys" in flags or command.name in {"EVAL", "EVALSHA", "FCALL", "SORT"}
    else:
        assert list(command.keys) == facts["keys"]
    assert command.flags - INTERNAL_FLAGS == flags
    assert command.since == facts["since"]


def spec_in_facts(use: KeyUse) -> dict[str, Any]:
    begin, find = ({"type": kind, "spec": numbers} for kind, numbers in (use.begin, use.find))
    return {"begin_search": begin, "find_keys": find, "flags": set(use.flags)}


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.name not in ADDED], ids=lambda command: command.name)
def test_uses_of_keys_and_group_are_the_servers(command: Command) -> None:
    facts = FACTS[command.name.lower()]
    specs = [{**spec, "flags": set(spec["flags"])} for spec in facts.get("key_specs", [])]
    for spec in specs:
        for step in ("begin_search", "find_keys"):
            spec[step] = {"type": spec[step]["type"], "spec": spec[step].get("spec", {})}
    assert list(map(spec_in_facts, key_uses(command))) == specs
    assert group_of(command) == facts["group"]


def test_keys_of_what_later_servers_added_are_used_as_there() -> None:
    """What 7.4.1 reports: the deadlines of fields are a change of the key that shows nothing of it."""
    for command in COMMANDS:
        if command.name in ADDED and command.keys != (0, 0, 0):
            (use,) = key_uses(command)
            assert use.flags == (("RW", "update") if command.writes else ("RO", "access"))


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_what_writes_is_logged_and_what_is_declared_is_documented(command: Command) -> None:
    if command.writes and not command.subcommands:
        assert command.propagate is not NEVER, "a write that never reaches the log"
    assert command.summary, "the docstring is what help shows"
    assert len(command.summary) < 160
    assert command.summary.endswith(".")


def test_every_command_that_takes_arguments_tells_which() -> None:
    """And nothing else does: one that takes what its declaration does not know, or is not there any more."""
    told = {name for name in _read("arguments.json") if name not in {command.name for command in COMMANDS}}
    assert not told
    for command in COMMANDS:
        takes_any = not command.subcommands and (command.arity < 0 or command.min_argc > command.words)
        without = {"COMMAND GETKEYS", "COMMAND GETKEYSANDFLAGS", "DEBUG", "QUIT", "REPLCONF"}
        assert bool(arguments(command)) == takes_any or command.name in without, command.name


def test_no_name_is_declared_twice_or_in_lower_case() -> None:
    names = [command.name for command in COMMANDS]
    assert len(names) == len(set(names))
    assert all(name == name.upper() for name in names)
