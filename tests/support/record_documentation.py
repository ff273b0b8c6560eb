"""Write aofnb/commands/documentation.json: what a real server tells of each command besides its arguments.

    PYTHONPATH=tests python -m support.record_documentation

Complexity, history and what replaces a deprecated command are facts of the server. Summaries are not recorded: ours are
the first lines of docstrings.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.server import redis_server

import aofnb.commands

PLACE = Path(aofnb.commands.__file__).with_name("documentation.json")
RECORDED = ("complexity", "replaced_by", "history")


def entries(docs: list[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and facts of every command and subcommand in a reply of COMMAND DOCS under RESP2."""
    for name, told in zip(docs[::2], docs[1::2], strict=True):
        fields = dict(zip([key.decode() for key in told[::2]], told[1::2], strict=True))
        yield name.decode().upper().replace("|", " "), {key: text(fields[key]) for key in RECORDED if key in fields}
        yield from entries(fields.get("subcommands", []))


def text(value: Any) -> Any:
    """`value` with text for bytes."""
    return value.decode() if isinstance(value, bytes) else [text(item) for item in value]


def main() -> None:
    with tempfile.TemporaryDirectory() as directory, redis_server(Path(directory)) as server:
        found = dict(sorted(entries(server.execute("COMMAND", "DOCS"))))
    lines = [f'"{name}":{json.dumps(facts, separators=(",", ":"))}' for name, facts in found.items() if facts]
    PLACE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
