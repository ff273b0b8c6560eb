"""The grammar that help and completion show is that of the real server."""

from __future__ import annotations

from typing import Any

from support.grammar import grammar
from support.require import need
from support.server import available, redis_server

from aofnb.commands.registry import all_commands
from aofnb.magics.grammar import GRAMMARS

need("redis-server", available())


def as_dict(flat: list[Any]) -> dict[str, Any]:
    return {flat[i].decode(): flat[i + 1] for i in range(0, len(flat), 2)}


def argument(flat: list[Any]) -> dict[str, Any]:
    """One argument of COMMAND DOCS, as text and lists."""
    fields = as_dict(flat)
    if "arguments" in fields:
        fields["arguments"] = [argument(each) for each in fields["arguments"]]
    if "flags" in fields:
        fields["flags"] = [flag if isinstance(flag, str) else flag.decode() for flag in fields["flags"]]
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in fields.items()}


def test_every_command_has_the_arguments_of_the_server(tmp_path):
    with redis_server(tmp_path / "redis") as server:
        docs = as_dict(server.execute("COMMAND", "DOCS"))
    theirs = {}
    for name, flat in docs.items():
        fields = as_dict(flat)
        parts = as_dict(fields.get("subcommands", []))
        for each, its in [(name, fields), *((sub, as_dict(part)) for sub, part in parts.items())]:
            theirs[each.upper().replace("|", " ")] = grammar([argument(one) for one in its.get("arguments", [])])
    ours = {command.name: GRAMMARS.get(command.name, "") for command in all_commands()}
    later = {command.name for command in all_commands() if command.since[:3] in ("7.2", "7.4")}
    assert {name: ours[name] for name in ours.keys() - later} == {name: theirs[name] for name in ours.keys() - later}
    assert set(GRAMMARS) <= set(ours)
