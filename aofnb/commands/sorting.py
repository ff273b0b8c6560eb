"""SORT and SORT_RO: the members of a list, set or sorted set in another order.

Strings are compared byte by byte, as a server in the C locale does.

Redis: sort.c (7.0.15).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aofnb.commands import messages
from aofnb.commands.args import integer, strtod
from aofnb.commands.client import Client
from aofnb.commands.hashes import value_of_field
from aofnb.commands.registry import command, find
from aofnb.errors import ReplyError
from aofnb.store.hash_value import HashValue
from aofnb.store.keyspace import WRONG_TYPE
from aofnb.store.list_value import ListValue
from aofnb.store.set_value import SetValue
from aofnb.store.zset import SortedSet

__all__: list[str] = []


@dataclass(slots=True)
class _Request:
    """What a SORT asks for. `by` without a star means: leave the order as it is."""

    descending: bool = False
    alpha: bool = False
    first: int = 0
    count: int = -1
    by: bytes | None = None
    gets: list[bytes] = field(default_factory=list)
    store: bytes | None = None


def _parse(words: Sequence[bytes], *, read_only: bool) -> _Request:
    request = _Request()
    i = 0
    while i < len(words):
        word, left = words[i].upper(), len(words) - i - 1
        if word == b"ASC":
            request.descending = False
        elif word == b"DESC":
            request.descending = True
        elif word == b"ALPHA":
            request.alpha = True
        elif word == b"LIMIT" and left >= 2:
            request.first, request.count = integer(words[i + 1]), integer(words[i + 2])
            i += 2
        elif word == b"STORE" and left >= 1 and not read_only:
            request.store = words[i + 1]
            i += 1
        elif word == b"BY" and left >= 1:
            request.by = words[i + 1]
            i += 1
        elif word == b"GET" and left >= 1:
            request.gets.append(words[i + 1])
            i += 1
        else:
            raise ReplyError(messages.SYNTAX_ERROR)
        i += 1
    return request


def _sort_keys(argv: Sequence[bytes]) -> list[int]:
    """The key to sort, and the last STORE."""
    found = [1] if len(argv) > 1 else []
    store = 0
    i = 2
    while i < len(argv):
        word = argv[i].upper()
        if word == b"STORE" and i + 1 < len(argv):
            store = i + 1
            i += 1
        else:
            i += {b"LIMIT": 2, b"GET": 1, b"BY": 1}.get(word, 0)
        i += 1
    return [*found, store] if store else found


@command("SORT", arity=-2, flags="denyoom movablekeys write", keys=_sort_keys)
def sort(client: Client, key: bytes, *words: bytes) -> Any:
    """Return or store the members of a list, set or sorted set, sorted."""
    request = _parse(words, read_only=False)
    _check_patterns(client, request, (b"SORT", key, *words))
    rows = _sorted_rows(client, key, request)
    if request.store is None:
        return [item for row in rows for item in row]
    items = [b"" if item is None else item for row in rows for item in row]
    _store(client, request.store, items)
    return len(items)


@command("SORT_RO", arity=-2, flags="movablekeys readonly", keys=(1, 1, 1), since="7.0.0")
def sort_ro(client: Client, key: bytes, *words: bytes) -> list[bytes | None]:
    """Return the members of a list, set or sorted set, sorted."""
    request = _parse(words, read_only=True)
    _check_patterns(client, request, (b"SORT_RO", key, *words))
    return [item for row in _sorted_rows(client, key, request) for item in row]


def _check_patterns(client: Client, request: _Request, argv: Sequence[bytes]) -> None:
    """BY and GET read keys that nobody can name beforehand: only for those who may read all."""
    if not client.restricted:
        return
    user, entry = client.server.users.of(client), find(argv)
    if user is None or entry is None or user.reads_all_keys(entry, argv):
        return
    if request.by is not None and b"*" in request.by:
        raise ReplyError("ERR BY option of SORT denied due to insufficient ACL permissions.")
    if request.gets:
        raise ReplyError("ERR GET option of SORT denied due to insufficient ACL permissions.")


def _store(client: Client, key: bytes, items: list[bytes]) -> None:
    if items:
        client.db.replace(key, ListValue(items))
        client.changed(key, "sortstore", dirty=len(items))
    elif client.db.discard(key):
        client.changed(key, "del")


def _sorted_rows(client: Client, key: bytes, request: _Request) -> list[list[bytes | None]]:
    """For each member that LIMIT leaves, in order: the member, or what GET asks for."""
    found = client.db.read(key)
    if not (found is None or isinstance(found, ListValue | SetValue | SortedSet)):
        raise ReplyError(WRONG_TYPE)
    if isinstance(found, SortedSet):
        # As the server does, to have them in order; a skiplist stays one.
        found.to_skiplist()
        members = [member for _, member in found.entries()]
    else:
        members = [] if found is None else list(found)
    by, alpha = request.by, request.alpha
    keep_order = by is not None and b"*" not in by
    if keep_order and request.store is not None and isinstance(found, SetValue):
        # A set has no order; what is stored must not depend on chance, since the log holds the command.
        keep_order, alpha, by = False, True, None
    if not keep_order:
        members = _ordered(client, members, by, alpha=alpha, descending=request.descending)
    elif request.descending and not isinstance(found, SetValue):
        members.reverse()
    first = max(request.first, 0)
    members = members[first:] if request.count < 0 else members[first : first + request.count]
    if not request.gets:
        return [[member] for member in members]
    return [[_looked_up(client, pattern, member) for pattern in request.gets] for member in members]


def _ordered(client: Client, members: list[bytes], by: bytes | None, *, alpha: bool, descending: bool) -> list[bytes]:
    weights: list[bytes | None] = list(members) if by is None else [_looked_up(client, by, m) for m in members]
    if alpha:
        # A member without a weight comes before all others.
        ranks: list[Any] = [(weight is not None, weight or b"") for weight in weights]
    else:
        ranks = [(_number(weight), member) for weight, member in zip(weights, members, strict=True)]
    order = sorted(range(len(members)), key=ranks.__getitem__, reverse=descending)
    return [members[i] for i in order]


def _number(weight: bytes | None) -> float:
    """What strtod reads; nothing counts as 0."""
    if not weight:
        return 0.0
    # As C reads it: up to a zero byte.
    number = strtod(weight.partition(b"\0")[0] or b"0")
    if number is None or (number - number != 0.0 and b"n" not in weight.lower()):
        raise ReplyError("ERR One or more scores can't be converted into double")
    return number


def _looked_up(client: Client, pattern: bytes, member: bytes) -> bytes | None:
    """The string, or the field of a hash, that a pattern such as ``weight_*->field`` names for a member.

    Redis: sort.c lookupKeyByPattern.
    """
    if pattern == b"#":
        return member
    prefix, star, rest = pattern.partition(b"*")
    if not star:
        return None
    postfix, arrow, name = rest.partition(b"->")
    if not name:
        postfix, arrow = rest, b""
    found = client.db.read(prefix + member + postfix)
    if arrow:
        return value_of_field(client, prefix + member + postfix, found, name) if isinstance(found, HashValue) else None
    return bytes(found) if isinstance(found, bytes | bytearray) else None
