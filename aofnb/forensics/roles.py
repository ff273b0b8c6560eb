"""What a command does to each of its keys, and what a key looks like: the vocabulary of every question about keys.

Facts: the key specifications that redis-server 7.0.15 reports (COMMAND DOCS, COMMAND INFO).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Literal

import aofnb.commands.all  # noqa: F401  fills the table
from aofnb.commands import registry
from aofnb.errors import ReplyError

__all__ = ["BARRIERS", "WIDE", "Role", "key_roles", "keys_of", "roles_by_name", "sole_role", "template"]

# Commands that change whole databases, and all that concern keys they do not name: the others may do anything.
WIDE = ("FLUSHALL", "FLUSHDB", "SWAPDB")
BARRIERS = (*WIDE, "EVAL", "EVALSHA", "FCALL", "DEBUG")
# OW: overwritten, whatever was there; RW: changed; RO: read; RM: removed.
Role = Literal["OW", "RW", "RO", "RM"]

# Where all keys of a command have one role, that is not RW.
_ONE: dict[str, Role] = {
    **dict.fromkeys(("DEL", "UNLINK", "GETDEL"), "RM"),
    **dict.fromkeys(("SET", "SETEX", "PSETEX", "SETNX", "GETSET", "MSET", "MSETNX", "RESTORE"), "OW"),
}
# Where the first key differs from those behind it.
_FIRST_AND_REST: dict[str, tuple[Role, Role]] = {
    **dict.fromkeys(
        ("SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE", "ZINTERSTORE", "ZUNIONSTORE", "ZDIFFSTORE"), ("OW", "RO")
    ),
    **dict.fromkeys(("BITOP", "ZRANGESTORE", "GEOSEARCHSTORE"), ("OW", "RO")),
    **dict.fromkeys(("COPY", "SORT", "GEORADIUS", "GEORADIUSBYMEMBER"), ("RO", "OW")),
    **dict.fromkeys(("RENAME", "RENAMENX"), ("RM", "OW")),
    "PFMERGE": ("RW", "RO"),
}
_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
# A run of hexadecimal digits that is no word and no number: it has both kinds.
_HEX = re.compile(r"(?<![0-9A-Za-z])(?=[0-9a-fA-F]*[0-9])(?=[0-9a-fA-F]*[a-fA-F])[0-9a-fA-F]{8,}(?![0-9A-Za-z])")
_DIGITS = re.compile(r"[0-9]+")


def key_roles(argv: Sequence[bytes]) -> list[tuple[bytes, Role]]:
    """Each key of a command with what becomes of it; empty for a command that is unknown or has no keys.

    >>> key_roles([b"RENAME", b"a", b"b"])
    [(b'a', 'RM'), (b'b', 'OW')]
    >>> key_roles([b"set", b"k", b"v", b"KEEPTTL"])
    [(b'k', 'RW')]
    """
    command = registry.find(argv)
    if command is None:
        return []
    keys = keys_of(command, argv)
    name = command.name
    if name == "SET" and any(word.upper() == b"KEEPTTL" for word in argv[3:]):
        # The old deadline stays: what was there before still matters.
        return [(key, "RW") for key in keys]
    if not command.writes:
        return [(key, "RO") for key in keys]
    return list(zip(keys, roles_by_name(name, len(keys)), strict=True))


def keys_of(command: registry.Command, argv: Sequence[bytes]) -> list[bytes]:
    """The keys of `argv`, which calls `command`; none where its options make no sense."""
    try:
        positions = command.key_positions(argv)
    except ReplyError:
        return []
    return [argv[position] for position in positions if position < len(argv)]


@cache
def sole_role(name: str) -> Role | None:
    """What a command called so does to each of its keys; None where that differs, or follows from its arguments.

    >>> sole_role("DEL"), sole_role("RENAME"), sole_role("SET")
    ('RM', None, None)
    """
    if name == "SET":
        return None
    # Enough arguments for every command with one key at a fixed place; the others have more keys or none.
    roles = {role for _, role in key_roles([*(word.encode() for word in name.split()), b"k", b"1", b"1", b"1"])}
    return roles.pop() if len(roles) == 1 else None


def roles_by_name(name: str, nkeys: int) -> list[Role]:
    """What a write command called so does to each of its keys; options such as KEEPTTL left aside.

    >>> roles_by_name("SUNIONSTORE", 3)
    ['OW', 'RO', 'RO']
    """
    if name in _FIRST_AND_REST:
        first, rest = _FIRST_AND_REST[name]
        return [rest if number else first for number in range(nkeys)]
    return [_ONE.get(name, "RW")] * nkeys


def template(key: str) -> str:
    """`key` with what numbers it taken out, so that keys of one kind are one.

    >>> template("user:1042:cart"), template("job:9f86d081884c7d65"), template("s:550e8400-e29b-41d4-a716-446655440000")
    ('user:{n}:cart', 'job:{hex}', 's:{uuid}')
    """
    return _DIGITS.sub("{n}", _HEX.sub("{hex}", _UUID.sub("{uuid}", key)))
