"""Commands on the time that fields of a hash have to live, which came with Redis 7.4.

What is logged is always an instant, HPEXPIREAT, with the fields that really got it; fields whose time is past are
deleted, an HDEL for each. A server before 7.4 reads neither: a log stays readable to it as long as none of these
commands is used.

Redis: t_hash.c hexpireGenericCommand, httlGenericCommand, hpersistCommand (7.4).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aofnb.commands.args import integer
from aofnb.commands.client import Client
from aofnb.commands.registry import REWRITTEN, command
from aofnb.commands.strings import invalid_expire_time
from aofnb.errors import ReplyError
from aofnb.store.hash_value import HashValue

__all__: list[str] = []

# Replies, one for each field.
NO_FIELD, NO_DEADLINE, NOT_MET, DONE, DELETED = -2, -1, 0, 1, 2
# No deadline is later: 46 bits of milliseconds.
LATEST_MS = ((1 << 48) - 1) >> 2
_CONDITIONS = frozenset({b"NX", b"XX", b"GT", b"LT"})


def _named_fields(args: Sequence[bytes], not_positive: str) -> Sequence[bytes]:
    """The fields in ``FIELDS numfields field ...``."""
    if args[0].upper() != b"FIELDS":
        raise ReplyError("ERR Mandatory argument FIELDS is missing or not at the right position")
    count = integer(args[1], not_positive) if len(args) > 1 else 0
    if count < 1:
        raise ReplyError(not_positive)
    if count != len(args) - 2:
        raise ReplyError("ERR The `numfields` parameter must match the number of arguments")
    return args[2:]


# --- set -------------------------------------------------------------------------------------------------------


def _instant(client: Client, arg: bytes, name: str, *, seconds: bool, relative: bool) -> int:
    """The deadline in ms since the epoch; it may lie in the past."""
    given = integer(arg)
    if given < 0:
        raise ReplyError("ERR invalid expire time, must be >= 0")
    when_ms = given * 1000 if seconds else given
    if relative:
        when_ms += client.server.now_ms()
    if when_ms > LATEST_MS:
        raise invalid_expire_time(name)
    return when_ms


def _allowed(condition: bytes | None, current_ms: int | None, when_ms: int) -> bool:
    """Whether NX, XX, GT or LT lets the deadline change; no deadline counts as never."""
    if condition == b"NX":
        return current_ms is None
    if condition == b"XX":
        return current_ms is not None
    if condition == b"GT":
        return current_ms is not None and when_ms > current_ms
    return condition != b"LT" or current_ms is None or when_ms < current_ms


def _expire(
    client: Client, key: bytes, arg: bytes, words: Sequence[bytes], name: str, *, seconds: bool, relative: bool
) -> list[int]:
    found = client.db.lookup_kind(key, HashValue)
    when_ms = _instant(client, arg, name, seconds=seconds, relative=relative)
    condition = words[0].upper() if words[0].upper() in _CONDITIONS else None
    fields = _named_fields(words[1:] if condition else words, "ERR Parameter `numFields` should be greater than 0")
    if found is not None and found.deadlines:
        found = client.db.drop_overdue_fields(key, found, fields)
    if found is None:
        return [NO_FIELD] * len(fields)
    past = not client.loading and when_ms <= client.server.now_ms()
    replies: list[int] = []
    done: list[bytes] = []
    for field in fields:
        if field not in found:
            replies.append(NO_FIELD)
        elif not _allowed(condition, (found.deadlines or {}).get(field), when_ms):
            replies.append(NOT_MET)
        else:
            replies.append(DELETED if past else DONE)
            done.append(field)
            if past:
                found.discard(field)
            else:
                found.expire({field: when_ms})
    if not done:
        return replies
    if past:
        _log_deletions(client, key, found, done)
    else:
        client.db.watch_fields(key, found, dict.fromkeys(done))
        client.changed(key, "hexpire", dirty=len(done))
        head = [b"HPEXPIREAT", key, b"%d" % when_ms, *words[: 1 if condition else 0]]
        client.propagate(*head, b"FIELDS", b"%d" % len(done), *done)
    return replies


def _log_deletions(client: Client, key: bytes, found: HashValue, fields: Sequence[bytes]) -> None:
    client.changed(key, "hdel", dirty=len(fields))
    for field in fields:
        client.propagate(b"HDEL", key, field)
    if not found:
        client.db.delete(key)
        client.changed(key, "del", dirty=0)


@command("HEXPIRE", arity=-6, flags="denyoom fast write", keys=(1, 1, 1), propagate=REWRITTEN, since="7.4.0")
def hexpire(client: Client, key: bytes, seconds: bytes, *words: bytes) -> list[int]:
    """Let fields of a hash live for some seconds more."""
    return _expire(client, key, seconds, words, "hexpire", seconds=True, relative=True)


@command("HPEXPIRE", arity=-6, flags="denyoom fast write", keys=(1, 1, 1), propagate=REWRITTEN, since="7.4.0")
def hpexpire(client: Client, key: bytes, milliseconds: bytes, *words: bytes) -> list[int]:
    """Let fields of a hash live for some milliseconds more."""
    return _expire(client, key, milliseconds, words, "hpexpire", seconds=False, relative=True)


@command("HEXPIREAT", arity=-6, flags="denyoom fast write", keys=(1, 1, 1), propagate=REWRITTEN, since="7.4.0")
def hexpireat(client: Client, key: bytes, unix_seconds: bytes, *words: bytes) -> list[int]:
    """Let fields of a hash live until an instant, in seconds since the epoch."""
    return _expire(client, key, unix_seconds, words, "hexpireat", seconds=True, relative=False)


@command("HPEXPIREAT", arity=-6, flags="denyoom fast write", keys=(1, 1, 1), propagate=REWRITTEN, since="7.4.0")
def hpexpireat(client: Client, key: bytes, unix_milliseconds: bytes, *words: bytes) -> list[int]:
    """Let fields of a hash live until an instant, in milliseconds since the epoch."""
    return _expire(client, key, unix_milliseconds, words, "hpexpireat", seconds=False, relative=False)


# --- drop, look --------------------------------------------------------------------------------------------------


def _of_each(client: Client, key: bytes, args: Sequence[bytes], ask: Callable[[HashValue, bytes], int]) -> list[int]:
    """The answer of `ask` for each field that is there and not overdue."""
    found = client.db.lookup_kind(key, HashValue)
    fields = _named_fields(args, "ERR Number of fields must be a positive integer")
    if found is None:
        return [NO_FIELD] * len(fields)
    now_ms = client.server.now_ms()
    return [NO_FIELD if f not in found or found.overdue(f, now_ms) else ask(found, f) for f in fields]


@command("HPERSIST", arity=-5, flags="fast write", keys=(1, 1, 1), since="7.4.0")
def hpersist(client: Client, key: bytes, *args: bytes) -> list[int]:
    """Let fields of a hash live for good."""
    replies = _of_each(client, key, args, lambda found, field: DONE if found.persist(field) else NO_DEADLINE)
    if DONE in replies:
        client.changed(key, "hpersist", dirty=replies.count(DONE))
    return replies


def _deadlines(client: Client, key: bytes, args: Sequence[bytes], shown: Callable[[int], int]) -> list[int]:
    def ask(found: HashValue, field: bytes) -> int:
        when_ms = (found.deadlines or {}).get(field)
        return NO_DEADLINE if when_ms is None else shown(when_ms)

    return _of_each(client, key, args, ask)


def _up_to_seconds(milliseconds: int) -> int:
    return (milliseconds + 999) // 1000


@command("HTTL", arity=-5, flags="fast readonly", keys=(1, 1, 1), since="7.4.0")
def httl(client: Client, key: bytes, *args: bytes) -> list[int]:
    """Return how many seconds fields have to live; -1 for ever, -2 if there is none."""
    now_ms = client.server.now_ms()
    return _deadlines(client, key, args, lambda when_ms: _up_to_seconds(when_ms - now_ms))


@command("HPTTL", arity=-5, flags="fast readonly", keys=(1, 1, 1), since="7.4.0")
def hpttl(client: Client, key: bytes, *args: bytes) -> list[int]:
    """Return how many milliseconds fields have to live; -1 for ever, -2 if there is none."""
    now_ms = client.server.now_ms()
    return _deadlines(client, key, args, lambda when_ms: when_ms - now_ms)


@command("HEXPIRETIME", arity=-5, flags="fast readonly", keys=(1, 1, 1), since="7.4.0")
def hexpiretime(client: Client, key: bytes, *args: bytes) -> list[int]:
    """Return when fields expire, in seconds since the epoch; -1 never, -2 if there is none."""
    return _deadlines(client, key, args, _up_to_seconds)


@command("HPEXPIRETIME", arity=-5, flags="fast readonly", keys=(1, 1, 1), since="7.4.0")
def hpexpiretime(client: Client, key: bytes, *args: bytes) -> list[int]:
    """Return when fields expire, in milliseconds since the epoch; -1 never, -2 if there is none."""
    return _deadlines(client, key, args, lambda when_ms: when_ms)
