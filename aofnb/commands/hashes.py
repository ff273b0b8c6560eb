"""Commands on hashes.

Where a field may have a deadline (`aofnb.commands.hash_fields`), an overdue one is deleted, and that is logged, by
whoever asks for it by name; who lists fields only leaves it out, and HLEN counts it, as with Redis 7.4.

Redis: t_hash.c (7.0.15, 7.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aofnb.commands import longdouble, messages
from aofnb.commands.args import INT64_MAX, INT64_MIN, integer
from aofnb.commands.client import Client
from aofnb.commands.keys import scan_cursor
from aofnb.commands.registry import REWRITTEN, command
from aofnb.commands.scanning import ELEMENT_SCAN_OPTIONS, scan_elements
from aofnb.errors import ReplyError
from aofnb.store.hash_value import HashValue

__all__ = ["value_of_field"]


# --- write ---------------------------------------------------------------------------------------------------


def _set(client: Client, found: HashValue, field: bytes, value: bytes) -> bool:
    config = client.server.config
    return found.set(field, value, config.hash_max_listpack_entries, config.hash_max_listpack_value)


def _hash(client: Client, key: bytes, fields: Sequence[bytes]) -> HashValue | None:
    """The hash at `key` for a reader, without those of `fields` that are overdue."""
    return _current(client, key, client.db.read_kind(key, HashValue), fields)


def _hash_to_change(client: Client, key: bytes, field: bytes) -> HashValue | None:
    """The hash at `key` for a writer, without `field` if that is overdue."""
    return _current(client, key, client.db.lookup_kind(key, HashValue), (field,))


def _current(client: Client, key: bytes, found: HashValue | None, fields: Sequence[bytes]) -> HashValue | None:
    if found is not None and found.deadlines:
        return client.db.drop_overdue_fields(key, found, fields)
    return found


def _fields(client: Client, found: HashValue) -> dict[bytes, bytes]:
    """The fields of a hash that are not overdue."""
    return found.live(client.server.now_ms()) if found.deadlines else found.fields


def _all(client: Client, key: bytes) -> HashValue | None:
    """The hash at `key` for a reader, without any field that is overdue."""
    found = client.db.read_kind(key, HashValue)
    return found if found is None or not found.deadlines else _current(client, key, found, list(found.deadlines))


def value_of_field(client: Client, key: bytes, found: HashValue, field: bytes) -> bytes | None:
    """The value of a field of the hash `found` at `key`; None if there is none, or no longer."""
    if found.deadlines:
        client.db.drop_overdue_fields(key, found, (field,))
    return found.get(field)


@command("HSET", arity=-4, flags="denyoom fast write", keys=(1, 1, 1), since="2.0.0")
def hset(client: Client, key: bytes, *pairs: bytes) -> int:
    """Set fields of a hash; how many are new."""
    if len(pairs) % 2:
        raise messages.wrong_arity("hset")
    found = client.db.lookup_or_add(key, HashValue)
    config = client.server.config
    created = found.update(pairs, config.hash_max_listpack_entries, config.hash_max_listpack_value)
    client.changed(key, "hset", len(pairs) // 2)
    return created


@command("HMSET", arity=-4, flags="denyoom fast write", keys=(1, 1, 1), since="2.0.0")
def hmset(client: Client, key: bytes, *pairs: bytes) -> str:
    """Set fields of a hash."""
    if len(pairs) % 2:
        raise messages.wrong_arity("hmset")
    hset(client, key, *pairs)
    return "OK"


@command("HSETNX", arity=4, flags="denyoom fast write", keys=(1, 1, 1), since="2.0.0")
def hsetnx(client: Client, key: bytes, field: bytes, value: bytes) -> int:
    """Set a field that is not there yet; 1 if it was set."""
    _hash_to_change(client, key, field)
    found = client.db.lookup_or_add(key, HashValue)
    if field in found:
        return 0
    _set(client, found, field, value)
    client.changed(key, "hset")
    return 1


@command("HDEL", arity=-3, flags="fast write", keys=(1, 1, 1), since="2.0.0")
def hdel(client: Client, key: bytes, *fields: bytes) -> int:
    """Remove fields; how many were there."""
    found = client.db.lookup_kind(key, HashValue)
    if found is None:
        return 0
    removed = sum(map(found.discard, fields))
    if removed:
        client.changed(key, "hdel", dirty=removed)
        if not found:
            client.db.delete(key)
            client.changed(key, "del", dirty=0)
    return removed


@command("HINCRBY", arity=4, flags="denyoom fast write", keys=(1, 1, 1), since="2.0.0")
def hincrby(client: Client, key: bytes, field: bytes, by: bytes) -> int:
    """Add to the whole number in a field; a missing one counts as 0; the sum."""
    amount = integer(by)
    found = _hash_to_change(client, key, field)
    known = None if found is None else found.get(field)
    number = 0 if known is None else integer(known, "ERR hash value is not an integer")
    total = number + amount
    if not INT64_MIN <= total <= INT64_MAX:
        raise ReplyError("ERR increment or decrement would overflow")
    _set_number(client, key, field, b"%d" % total)
    client.changed(key, "hincrby")
    return total


@command("HINCRBYFLOAT", arity=4, flags="denyoom fast write", keys=(1, 1, 1), propagate=REWRITTEN, since="2.6.0")
def hincrbyfloat(client: Client, key: bytes, field: bytes, by: bytes) -> bytes:
    """Add to the number with a fraction in a field; a missing one counts as 0; the sum as text."""
    amount = longdouble.parse(by)
    if amount is None:
        raise ReplyError(messages.NOT_A_FLOAT)
    if longdouble.is_infinite(amount):
        raise ReplyError("ERR value is NaN or Infinity")
    found = _hash_to_change(client, key, field)
    known = None if found is None else found.get(field)
    number = longdouble.parse(b"0" if known is None else known)
    if number is None:
        raise ReplyError("ERR hash value is not a float")
    total = longdouble.add(number, amount)
    if longdouble.is_infinite(total):
        raise ReplyError("ERR increment would produce NaN or Infinity")
    text = longdouble.text(total)
    when_ms = _set_number(client, key, field, text)
    client.changed(key, "hincrbyfloat")
    # The result, not the sum to do: the reader may compute with other numbers.
    client.propagate(b"HSET", key, field, text)
    if when_ms is not None:
        # HSET alone would let the field live for good.
        client.propagate(b"HPEXPIREAT", key, b"%d" % when_ms, b"FIELDS", b"1", field)
    return text


def _set_number(client: Client, key: bytes, field: bytes, text: bytes) -> int | None:
    """Set a field that keeps its deadline, which is returned."""
    found = client.db.lookup_or_add(key, HashValue)
    when_ms = found.deadlines.get(field) if found.deadlines else None
    _set(client, found, field, text)
    if when_ms is not None:
        found.expire({field: when_ms})
    return when_ms


# --- read ----------------------------------------------------------------------------------------------------


@command("HGET", arity=3, flags="fast readonly", keys=(1, 1, 1), since="2.0.0")
def hget(client: Client, key: bytes, field: bytes) -> bytes | None:
    """The value of a field."""
    found = client.db.read_kind(key, HashValue)
    if found is None:
        return None
    return found.get(field) if not found.deadlines else value_of_field(client, key, found, field)


@command("HMGET", arity=-3, flags="fast readonly", keys=(1, 1, 1), since="2.0.0")
def hmget(client: Client, key: bytes, *fields: bytes) -> list[bytes | None]:
    """The values of several fields, nil for the missing ones."""
    found = _hash(client, key, fields)
    return [None] * len(fields) if found is None else list(map(found.get, fields))


@command("HGETALL", arity=2, flags="readonly", keys=(1, 1, 1), since="2.0.0")
def hgetall(client: Client, key: bytes) -> Any:
    """All fields and values."""
    found = client.db.read_kind(key, HashValue)
    return client.map_reply({} if found is None else dict(_fields(client, found)))


@command("HKEYS", arity=2, flags="readonly", keys=(1, 1, 1), since="2.0.0")
def hkeys(client: Client, key: bytes) -> list[bytes]:
    """All fields."""
    found = client.db.read_kind(key, HashValue)
    return [] if found is None else list(_fields(client, found))


@command("HVALS", arity=2, flags="readonly", keys=(1, 1, 1), since="2.0.0")
def hvals(client: Client, key: bytes) -> list[bytes]:
    """All values."""
    found = client.db.read_kind(key, HashValue)
    return [] if found is None else list(_fields(client, found).values())


@command("HLEN", arity=2, flags="fast readonly", keys=(1, 1, 1), since="2.0.0")
def hlen(client: Client, key: bytes) -> int:
    """The number of fields; 0 for a missing key."""
    found = client.db.read_kind(key, HashValue)
    return 0 if found is None else len(found)


@command("HSTRLEN", arity=3, flags="fast readonly", keys=(1, 1, 1), since="3.2.0")
def hstrlen(client: Client, key: bytes, field: bytes) -> int:
    """The length of the value of a field in bytes; 0 for a missing one."""
    found = _hash(client, key, (field,))
    return 0 if found is None else len(found.get(field) or b"")


@command("HEXISTS", arity=3, flags="fast readonly", keys=(1, 1, 1), since="2.0.0")
def hexists(client: Client, key: bytes, field: bytes) -> int:
    """Whether a field is there, as 1 or 0."""
    found = _hash(client, key, (field,))
    return int(found is not None and field in found)


@command("HRANDFIELD", arity=-2, flags="readonly", keys=(1, 1, 1), since="6.2.0")
def hrandfield(client: Client, key: bytes, *args: bytes) -> Any:
    """A random field, or with a count several different ones, or -count with repeats; WITHVALUES adds values."""
    if not args:
        found = _all(client, key)
        return None if found is None else found.random_field(client.server.random)
    count = random_count(args[0])
    with_values = len(args) == 2 and args[1].upper() == b"WITHVALUES"
    if len(args) > 1 and not with_values:
        raise ReplyError(messages.SYNTAX_ERROR)
    if with_values and abs(count) > INT64_MAX // 2:
        raise ReplyError("ERR value is out of range")
    found = _all(client, key)
    if found is None:
        return []
    rng = client.server.random
    fields = found.random_fields(count, rng) if count >= 0 else [found.random_field(rng) for _ in range(-count)]
    if not with_values:
        return fields
    if client.resp >= 3:
        return [[field, found.get(field)] for field in fields]
    return [item for field in fields for item in (field, found.get(field))]


def random_count(arg: bytes) -> int:
    """How many random elements: at most that many different ones, or exactly -count with repeats."""
    count = integer(arg)
    if count == INT64_MIN:
        raise ReplyError(f"ERR value is out of range, value must between {-INT64_MAX} and {INT64_MAX}")
    return count


@command("HSCAN", arity=-3, flags="readonly", keys=(1, 1, 1), options=ELEMENT_SCAN_OPTIONS, since="2.8.0")
def hscan(client: Client, key: bytes, cursor: bytes, *words: bytes) -> list[Any]:
    """Go through a hash step by step: the next cursor, 0 at the end, and some fields with their values."""
    place = scan_cursor(cursor)
    found = client.db.read_kind(key, HashValue)
    if found is None:
        return [b"0", []]
    compact = found if found.is_compact else None
    following, fields = scan_elements(client, place, words, found.fields, compact)
    live = _fields(client, found)
    return [following, [item for field in fields if field in live for item in (field, live[field])]]
