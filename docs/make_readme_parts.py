"""Writes the parts of README that follow from the source: the tour and the list of commands.

    python docs/make_readme_parts.py

The sentence about a module is the first of its docstring. A test checks that README is up to date.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import aofnb.commands.all  # noqa: F401  # fills the table
from aofnb.commands.registry import all_commands

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"

# Folder and the order to read it in; modules not named follow in alphabetical order.
TOUR = [
    ("", "For all", ["__init__", "errors", "clock", "config", "_version"]),
    ("resp", "Bytes and argument vectors", ["encode", "reader"]),
    (
        "store",
        "Data, without commands or files",
        ["values", "keyspace", "list_value", "set_value", "hash_value", "zset"],
    ),
    ("rdb", "The snapshot format", ["opcodes", "primitives", "source", "decode", "encode", "dump"]),
    ("lua", "Scripts", ["interpreter"]),
    (
        "commands",
        "What a command does and how it is logged",
        ["registry", "client", "args", "messages", "strings", "keys"],
    ),
    ("aof", "The log's files", ["fs", "writer", "bio", "manifest", "load", "directory", "rewrite", "lock", "stats"]),
    ("engine", "Commands and log joined", ["core", "session", "store", "replay", "cron", "rewriter", "rewrite_worker"]),
    ("forensics", "Logs as tables", ["parts", "scan", "columns", "rows", "frame", "log", "accessor", "plots"]),
    ("magics", "Cells", ["parse", "magic", "replies", "show", "stores"]),
    ("widgets", "The dashboard", ["model", "render", "dashboard"]),
    ("adapters", "redis-py, sockets, real servers", ["redis_py", "server", "connection"]),
    ("lab", "Crashes on a simulated disk", []),
]

FAMILIES = {
    "strings": "strings",
    "bitmaps": "bitmaps",
    "keys": "keys",
    "sorting": "sorting",
    "dump": "DUMP payloads",
    "expiry": "expiry",
    "lists": "lists",
    "sets": "sets",
    "hashes": "hashes",
    "hash_fields": "deadlines of hash fields",
    "zsets": "sorted sets",
    "zset_algebra": "sorted sets together",
    "geo": "geo",
    "streams": "streams",
    "stream_groups": "consumer groups",
    "hyperloglogs": "HyperLogLog",
    "transactions": "transactions",
    "scripting": "functions and scripts",
    "connection": "connection",
    "acl": "users and passwords",
    "server": "server",
    "latency": "slow commands",
    "saving": "snapshots",
    "replication": "replication",
    "memory": "memory",
    "standalone": "what there is only in clusters, or with modules",
    "debug": "debugging",
    "lolwut": "art",
}


def tour() -> str:
    """One line per module, in reading order."""
    lines = []
    for folder, what, first in TOUR:
        there = {path.stem: path for path in (ROOT / "aofnb" / folder).glob("*.py")}
        if folder:
            there.pop("__init__", None)
        if not there:
            continue
        lines.append(f"**{what}**" + (f" (`aofnb/{folder}/`)" if folder else " (`aofnb/`)") + "\n")
        order = [name for name in first if name in there] + sorted(there.keys() - set(first))
        prefix = f"{folder}/" if folder else ""
        lines += [f"- `{prefix}{name}.py`: {_summary(there[name])}" for name in order]
        lines.append("")
    return "\n".join(lines)


def _summary(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    first = text.split("\n\n", 1)[0].replace("\n", " ").replace("``", "`")
    return first.rstrip(".")


def commands() -> str:
    """One line per family."""
    families: dict[str, list[str]] = {name: [] for name in FAMILIES}
    for command in all_commands():
        if not command.subcommands or command.name == "COMMAND":
            families.setdefault(command.handler.__module__.rsplit(".", 1)[-1], []).append(command.name)
    total = sum(map(len, families.values()))
    lines = [f"{total} commands and subcommands, by family:\n"]
    for family, names in families.items():
        if names:
            lines.append(f"- {FAMILIES.get(family, family)}: " + ", ".join(f"`{name}`" for name in names))
    return "\n".join(lines)


def updated(readme: str) -> str:
    """`readme` with both parts as they should be."""
    for name, text in (("tour", tour()), ("commands", commands())):
        pattern = rf"(<!-- {name}: .*?-->\n).*?(<!-- end of {name} -->)"
        readme = re.sub(pattern, lambda match, text=text: f"{match[1]}{text}\n{match[2]}", readme, flags=re.DOTALL)
    return readme


if __name__ == "__main__":
    README.write_text(updated(README.read_text(encoding="utf-8")), encoding="utf-8")
