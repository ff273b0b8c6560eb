"""Commands on sets.

SPOP is logged as what it took: one SREM per member, or DEL where nothing stays.

Redis: t_set.c (7.0.15).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import filterfalse, islice
from typing import Any

from aofnb.commands import messages
from aofnb.commands.args import Options, integer, positive, value
from aofnb.commands.client import Client
from aofnb.commands.hashes import random_count
from aofnb.commands.keys import scan_cursor
from aofnb.commands.registry import REWRITTEN, command, numbered_keys
from aofnb.commands.scanning import ELEMENT_SCAN_OPTIONS, scan_elements
from aofnb.errors import ReplyError
from aofnb.store.set_value import SetValue

__all__: list[str] = []


# --- members -------------------------------------------------------------------------------------------------


@command("SADD", arity=-3, flags="denyoom fast write", keys=(1, 1, 1))
def sadd(client: Client, key: bytes, *members: bytes) -> int:
    """Add members; how many are new."""
    found = client.db.lookup_or_add(key, SetValue)
    added = found.update(members, client.server.config.set_max_intset_entries)
    if added:
        client.changed(key, "sadd", added)
    return added


@command("SREM", arity=-3, flags="fast write", keys=(1, 1, 1))
def srem(client: Client, key: bytes, *members: bytes) -> int:
    """Remove members; how many were there."""
    found = client.db.lookup_kind(key, SetValue)
    if found is None:
        return 0
    removed = sum(map(found.discard, members))
    if removed:
        client.changed(key, "srem", dirty=removed)
        _delete_if_empty(client, key, found)
    return removed


def _delete_if_empty(client: Client, key: bytes, found: SetValue) -> None:
    if not found:
        client.db.delete(key)
        client.changed(key, "del", dirty=0)


@command("SMOVE", arity=4, flags="fast write", keys=(1, 2, 1))
def smove(client: Client, source: bytes, destination: bytes, member: bytes) -> int:
    """Move a member from one set to another; 1 if it was there."""
    db = client.db
    # What is overdue goes from both, whatever becomes of the command.
    db.lookup(source)
    db.lookup(destination)
    found = db.lookup_kind(source, SetValue)
    # A missing source is the end of it, whatever the destination holds.
    if found is None:
        return 0
    target = db.lookup_kind(destination, SetValue)
    if found is target:
        return int(member in found)
    if not found.discard(member):
        return 0
    client.changed(source, "srem")
    _delete_if_empty(client, source, found)
    if target is None:
        target = SetValue()
        db.put(destination, target)
    if target.add(member, client.server.config.set_max_intset_entries):
        client.changed(destination, "sadd")
    return 1


@command("SMEMBERS", arity=2, flags="readonly", keys=(1, 1, 1))
def smembers(client: Client, key: bytes) -> Any:
    """All members; whole numbers in order while the set is an intset."""
    found = client.db.read_kind(key, SetValue)
    return client.set_reply([] if found is None else list(found))


@command("SISMEMBER", arity=3, flags="fast readonly", keys=(1, 1, 1))
def sismember(client: Client, key: bytes, member: bytes) -> int:
    """Whether a member is there, as 1 or 0."""
    found = client.db.read_kind(key, SetValue)
    return int(found is not None and member in found)


@command("SMISMEMBER", arity=-3, flags="fast readonly", keys=(1, 1, 1), since="6.2.0")
def smismember(client: Client, key: bytes, *members: bytes) -> list[int]:
    """Whether each of several members is there, as 1 or 0."""
    found = client.db.read_kind(key, SetValue)
    return [0] * len(members) if found is None else [int(member in found) for member in members]


@command("SCARD", arity=2, flags="fast readonly", keys=(1, 1, 1))
def scard(client: Client, key: bytes) -> int:
    """The number of members; 0 for a missing key."""
    found = client.db.read_kind(key, SetValue)
    return 0 if found is None else len(found)


@command("SSCAN", arity=-3, flags="readonly", keys=(1, 1, 1), options=ELEMENT_SCAN_OPTIONS, since="2.8.0")
def sscan(client: Client, key: bytes, cursor: bytes, *words: bytes) -> list[Any]:
    """Go through a set step by step: the next cursor, 0 at the end, and some members."""
    place = scan_cursor(cursor)
    found = client.db.read_kind(key, SetValue)
    if found is None:
        return [b"0", []]
    compact = found if found.encoding == "intset" else None
    return list(scan_elements(client, place, words, found.members, compact))


# --- random members ------------------------------------------------------------------------------------------


@command("SRANDMEMBER", arity=-2, flags="readonly", keys=(1, 1, 1))
def srandmember(client: Client, key: bytes, *args: bytes) -> bytes | list[bytes] | None:
    """A random member, or with a count several different ones, or -count with repeats."""
    if len(args) > 1:
        raise ReplyError(messages.SYNTAX_ERROR)
    count = random_count(args[0]) if args else None
    found = client.db.read_kind(key, SetValue)
    rng = client.server.random
    if count is None:
        return None if found is None else found.random_member(rng)
    if found is None:
        return []
    if count < 0:
        return [found.random_member(rng) for _ in range(-count)]
    return found.random_members(count, rng)


@command("SPOP", arity=-2, flags="fast write", keys=(1, 1, 1), propagate=REWRITTEN)
def spop(client: Client, key: bytes, *args: bytes) -> Any:
    """Remove and return a random member, or up to `count` different ones; logged as SREM or DEL."""
    if len(args) > 1:
        raise ReplyError(messages.SYNTAX_ERROR)
    count = positive(args[0]) if args else None
    found = client.db.lookup_kind(key, SetValue)
    if count is not None:
        return client.set_reply(_pop_several(client, key, found, count) if found is not None and count else [])
    if found is None:
        return None
    member = found.random_member(client.server.random)
    found.discard(member)
    client.propagate(b"SREM", key, member)
    client.changed(key, "spop")
    _delete_if_empty(client, key, found)
    return member


# Where at least this many times as many members go as stay, a new set is made of those that stay.
_MOVE_FACTOR = 5


def _pop_several(client: Client, key: bytes, found: SetValue, count: int) -> list[bytes]:
    rng = client.server.random
    size = len(found)
    if count >= size:
        client.db.delete(key)
        client.propagate(b"DEL", key)
        client.changed(key, "spop", dirty=size)
        client.changed(key, "del", dirty=0)
        return list(found)
    if (size - count) * _MOVE_FACTOR > count:
        popped = found.random_members(count, rng)
        for member in popped:
            found.discard(member)
    else:
        kept = found.random_members(size - count, rng)
        for member in kept:
            found.discard(member)
        popped = list(found)
        client.db.put(key, SetValue.of(kept, client.server.config.set_max_intset_entries))
    for member in popped:
        client.propagate(b"SREM", key, member)
    client.changed(key, "spop", dirty=count)
    return popped


# --- intersection, union, difference -------------------------------------------------------------------------


def _lookup_all(client: Client, keys: Sequence[bytes]) -> list[SetValue | None]:
    return [client.db.read_kind(key, SetValue) for key in keys]


def _inter(client: Client, keys: Sequence[bytes]) -> Iterator[bytes]:
    sets = [found for found in _lookup_all(client, keys) if found is not None]
    if len(sets) < len(keys):
        return iter(())
    smallest, *others = sorted(sets, key=len)
    common = iter(smallest)
    for other in others:
        common = filter(other.members.__contains__, common)
    return common


def _union(client: Client, keys: Sequence[bytes]) -> SetValue:
    result = SetValue()
    for found in _lookup_all(client, keys):
        if found is not None:
            result.update(found, client.server.config.set_max_intset_entries)
    return result


def _diff(client: Client, keys: Sequence[bytes]) -> SetValue:
    """Members of the first set that are in none of the others.

    In two ways, as the server does: the encoding of the result depends on which.
    """
    limit = client.server.config.set_max_intset_entries
    first, *others = _lookup_all(client, keys)
    if first is None or any(other is first for other in others):
        return SetValue()
    rivals = [other for other in others if other is not None]
    if len(first) * (len(rivals) + 1) // 2 <= len(first) + sum(map(len, rivals)):
        left = iter(first)
        for rival in rivals:
            left = filterfalse(rival.members.__contains__, left)
        return SetValue.of(left, limit)
    result = SetValue.of(first, limit)
    for rival in rivals:
        for member in rival:
            result.discard(member)
    return result


def _store(client: Client, destination: bytes, result: SetValue, event: str) -> int:
    """Put a result where it belongs; an empty one deletes what is there."""
    if result:
        client.db.replace(destination, result)
        client.changed(destination, event)
    elif client.db.discard(destination):
        client.changed(destination, "del")
    return len(result)


@command("SINTER", arity=-2, flags="readonly", keys=(1, -1, 1))
def sinter(client: Client, *keys: bytes) -> Any:
    """Members that all of the sets have."""
    return client.set_reply(list(_inter(client, keys)))


@command("SINTERSTORE", arity=-3, flags="denyoom write", keys=(1, -1, 1))
def sinterstore(client: Client, destination: bytes, *keys: bytes) -> int:
    """Store the members that all of the sets have; how many."""
    common = SetValue.of(_inter(client, keys), client.server.config.set_max_intset_entries)
    return _store(client, destination, common, "sinterstore")


SINTERCARD_OPTIONS = Options(value("LIMIT", lambda arg: positive(arg, "ERR LIMIT can't be negative")))


@command(
    "SINTERCARD",
    arity=-3,
    flags="movablekeys readonly",
    keys=numbered_keys(1),
    options=SINTERCARD_OPTIONS,
    since="7.0.0",
)
def sintercard(client: Client, numkeys: bytes, *args: bytes) -> int:
    """Count the members that all of the sets have, up to LIMIT, 0 for no limit."""
    message = "ERR numkeys should be greater than 0"
    key_count = integer(numkeys, message)
    if key_count < 1:
        raise ReplyError(message)
    if key_count > len(args):
        raise ReplyError("ERR Number of keys can't be greater than number of args")
    limit = SINTERCARD_OPTIONS.parse(args[key_count:]).get("limit", 0)
    return sum(1 for _ in islice(_inter(client, args[:key_count]), limit or None))


@command("SUNION", arity=-2, flags="readonly", keys=(1, -1, 1))
def sunion(client: Client, *keys: bytes) -> Any:
    """Members that any of the sets has."""
    return client.set_reply(list(_union(client, keys)))


@command("SUNIONSTORE", arity=-3, flags="denyoom write", keys=(1, -1, 1))
def sunionstore(client: Client, destination: bytes, *keys: bytes) -> int:
    """Store the members that any of the sets has; how many."""
    return _store(client, destination, _union(client, keys), "sunionstore")


@command("SDIFF", arity=-2, flags="readonly", keys=(1, -1, 1))
def sdiff(client: Client, *keys: bytes) -> Any:
    """Members of the first set that none of the others has."""
    return client.set_reply(list(_diff(client, keys)))


@command("SDIFFSTORE", arity=-3, flags="denyoom write", keys=(1, -1, 1))
def sdiffstore(client: Client, destination: bytes, *keys: bytes) -> int:
    """Store the members of the first set that none of the others has; how many."""
    return _store(client, destination, _diff(client, keys), "sdiffstore")
