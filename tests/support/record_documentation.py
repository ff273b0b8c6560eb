"""Write aofnb/commands/documentation.json: what a real server tells of each command besides its arguments.

    PYTHONPATH=tests python -m support.record_documentation

What a command costs, as far as it is a formula, and what replaces a deprecated one are facts of the server. Its
sentences are not recorded: summaries of ours are the first lines of docstrings.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.server import redis_server

import aofnb.commands

PLACE = Path(aofnb.commands.__file__).with_name("documentation.json")
# O(...), or a sum of two of them, where the words begin with it.
_COST = re.compile(r"O\((?:[^()]|\([^()]*\))*\)(?: ?\+ ?O\((?:[^()]|\([^()]*\))*\))?")


def entries(docs: list[Any]) -> Iterator[tuple[str, dict[str, str]]]:
    """Name and facts of every command and subcommand in a reply of COMMAND DOCS under RESP2."""
    for name, told in zip(docs[::2], docs[1::2], strict=True):
        fields = dict(zip([key.decode() for key in told[::2]], told[1::2], strict=True))
        yield name.decode().upper().replace("|", " "), facts(fields)
        yield from entries(fields.get("subcommands", []))


def facts(fields: dict[str, Any]) -> dict[str, str]:
    """What is recorded of the fields of one command."""
    found: dict[str, str] = {}
    if cost := cost_of(fields.get("complexity", b"").decode()):
        found["complexity"] = cost
    if "replaced_by" in fields:
        found["replaced_by"] = fields["replaced_by"].decode()
    return found


def cost_of(words: str) -> str:
    """The formula that `words` begin with, or nothing."""
    match = _COST.match(words)
    return match[0] if match else ""


def main() -> None:
    with tempfile.TemporaryDirectory() as directory, redis_server(Path(directory)) as server:
        found = dict(sorted(entries(server.execute("COMMAND", "DOCS"))))
    lines = [f'"{name}":{json.dumps(facts, separators=(",", ":"))}' for name, facts in found.items() if facts]
    PLACE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
