"""Each command's declaration says what a real redis-server 7.0.15 reports of it (tests/data/commands-7.0.15.json)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import aofnb.commands.all  # noqa: F401  # fills the table
from aofnb.commands.registry import NEVER, Command, all_commands

FACTS = json.loads((Path(__file__).parents[2] / "data" / "commands-7.0.15.json").read_text())
# Ours alone: how the log frames what they cause. The server keeps it as a flag that COMMAND does not show.
INTERNAL_FLAGS = {"touches_arbitrary_keys"}
COMMANDS = list(all_commands())


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
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


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_what_writes_is_logged_and_what_is_declared_is_documented(command: Command) -> None:
    if command.writes and not command.subcommands:
        assert command.propagate is not NEVER, "a write that never reaches the log"
    assert command.summary, "the docstring is what help shows"
    assert len(command.summary) < 160
    assert command.summary.endswith(".")


def test_no_name_is_declared_twice_or_in_lower_case() -> None:
    names = [command.name for command in COMMANDS]
    assert len(names) == len(set(names))
    assert all(name == name.upper() for name in names)
