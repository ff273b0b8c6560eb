"""What COMMAND DOCS tells of commands beside their declarations: arguments, cost, and what is out of date.

The arguments are data, `arguments.json`, one command a line, as servers tell them: 7.0.15, and of what came later
7.4.1; redis-cli shows hints by them. What each command costs is `documentation.json`, recorded from 7.0.15
(`tests/support/record_documentation.py`). Both are read when somebody asks for the first time.

Redis: server.c addReplyCommandArgList (7.0.15).
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from aofnb.commands.registry import Command

__all__ = ["DEPRECATED", "SYSTEM", "arguments", "facts"]

# Since when another command does it as well.
DEPRECATED = {
    "BRPOPLPUSH": "6.2.0", "CLUSTER SLAVES": "5.0.0", "CLUSTER SLOTS": "7.0.0", "GEORADIUS": "6.2.0",
    "GEORADIUSBYMEMBER": "6.2.0", "GEORADIUSBYMEMBER_RO": "6.2.0", "GEORADIUS_RO": "6.2.0", "GETSET": "6.2.0",
    "HMSET": "4.0.0", "RPOPLPUSH": "6.2.0", "SLAVEOF": "5.0.0", "SUBSTR": "2.0.0", "ZRANGEBYLEX": "6.2.0",
    "ZRANGEBYSCORE": "6.2.0", "ZREVRANGE": "6.2.0", "ZREVRANGEBYLEX": "6.2.0", "ZREVRANGEBYSCORE": "6.2.0",
}  # fmt: skip
# Of no use but to servers and those who work on them.
SYSTEM = frozenset({"DEBUG", "PFDEBUG", "PFSELFTEST", "REPLCONF", "RESTORE-ASKING"})


@cache
def _read(name: str) -> dict[str, Any]:
    text = resources.files("aofnb.commands").joinpath(name).read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def arguments(command: Command) -> list[dict[str, Any]]:
    """What may follow the name: each with ``name``, ``type`` and what else there is to tell; some hold others."""
    told: list[dict[str, Any]] = _read("arguments.json").get(command.name, [])
    return told


def facts(command: Command) -> dict[str, str]:
    """``complexity`` and ``replaced_by``, as far as they are known."""
    told: dict[str, str] = _read("documentation.json").get(command.name, {})
    return told
