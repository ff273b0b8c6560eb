"""Commands on the time a key has to live.

What is logged is always an instant, PEXPIREAT, so that replay at any later time gives the same deadline.

Redis: expire.c (7.0.15).
"""

from __future__ import annotations

from collections.abc import Sequence

from aofnb.commands import messages
from aofnb.commands.args import INT64_MAX, INT64_MIN, Options, integer, word
from aofnb.commands.client import Client
from aofnb.commands.registry import REWRITTEN, command
from aofnb.commands.strings import invalid_expire_time
from aofnb.errors import ReplyError

__all__: list[str] = []

EXPIRE_OPTIONS = Options(word("NX"), word("XX"), word("GT"), word("LT"))
_WORDS = frozenset({b"NX", b"XX", b"GT", b"LT"})


_NO_CONDITIONS: frozenset[bytes] = frozenset()


def _conditions(words: Sequence[bytes]) -> frozenset[bytes]:
    if not words:
        return _NO_CONDITIONS
    for typed in words:
        if typed.upper() not in _WORDS:
            raise messages.error(f"ERR Unsupported option {messages.shown(typed)}")
    found = frozenset(typed.upper() for typed in words)
    if b"NX" in found and len(found) > 1:
        raise ReplyError("ERR NX and XX, GT or LT options at the same time are not compatible")
    if found >= {b"GT", b"LT"}:
        raise ReplyError("ERR GT and LT options at the same time are not compatible")
    return found


def _allowed(conditions: frozenset[bytes], current_ms: int | None, when_ms: int) -> bool:
    """Whether NX, XX, GT and LT let the deadline change; no deadline counts as never."""
    if b"NX" in conditions and current_ms is not None:
        return False
    if b"XX" in conditions and current_ms is None:
        return False
    if b"GT" in conditions and (current_ms is None or when_ms <= current_ms):
        return False
    return not (b"LT" in conditions and current_ms is not None and when_ms >= current_ms)


def _instant(client: Client, arg: bytes, command_name: str, *, seconds: bool, relative: bool) -> int:
    """The deadline in ms since the epoch; it may lie in the past."""
    when_ms = integer(arg)
    if seconds:
        when_ms *= 1000
    if not INT64_MIN <= when_ms <= INT64_MAX:
        raise invalid_expire_time(command_name)
    if relative:
        when_ms += client.server.now_ms()
        if when_ms > INT64_MAX:
            raise invalid_expire_time(command_name)
    return when_ms


def _set_deadline(client: Client, key: bytes, when_ms: int, conditions: frozenset[bytes]) -> bytes | None:
    """Do what EXPIRE does; the verb that did it, PEXPIREAT, DEL or UNLINK, or None if nothing changed."""
    db = client.db
    if db.lookup(key) is None or (conditions and not _allowed(conditions, db.deadline_ms(key), when_ms)):
        return None
    if not client.loading and when_ms <= client.server.now_ms():
        db.delete(key)
        client.changed(key, "del")
        return b"UNLINK" if client.server.config.lazyfree_lazy_expire else b"DEL"
    db.set_deadline(key, when_ms)
    client.changed(key, "expire")
    return b"PEXPIREAT"


def _expire(client: Client, key: bytes, when_ms: int, conditions: frozenset[bytes], words: Sequence[bytes]) -> int:
    verb = _set_deadline(client, key, when_ms, conditions)
    if verb is None:
        return 0
    if verb == b"PEXPIREAT":
        client.propagate(verb, key, b"%d" % when_ms, *words)
    else:
        client.propagate(verb, key)
    return 1


@command(
    "EXPIRE",
    arity=-3,
    flags="fast write",
    keys=(1, 1, 1),
    propagate=REWRITTEN,
    options=EXPIRE_OPTIONS,
)
def expire(client: Client, key: bytes, seconds: bytes, *words: bytes) -> int:
    """Let a key live for some seconds more."""
    conditions = _conditions(words)
    when_ms = _instant(client, seconds, "expire", seconds=True, relative=True)
    return _expire(client, key, when_ms, conditions, words)


@command(
    "PEXPIRE",
    arity=-3,
    flags="fast write",
    keys=(1, 1, 1),
    propagate=REWRITTEN,
    options=EXPIRE_OPTIONS,
    since="2.6.0",
)
def pexpire(client: Client, key: bytes, milliseconds: bytes, *words: bytes) -> int:
    """Let a key live for some milliseconds more."""
    conditions = _conditions(words)
    when_ms = _instant(client, milliseconds, "pexpire", seconds=False, relative=True)
    return _expire(client, key, when_ms, conditions, words)


@command(
    "EXPIREAT",
    arity=-3,
    flags="fast write",
    keys=(1, 1, 1),
    propagate=REWRITTEN,
    options=EXPIRE_OPTIONS,
    since="1.2.0",
)
def expireat(client: Client, key: bytes, unix_seconds: bytes, *words: bytes) -> int:
    """Let a key live until an instant, in seconds since the epoch."""
    conditions = _conditions(words)
    when_ms = _instant(client, unix_seconds, "expireat", seconds=True, relative=False)
    return _expire(client, key, when_ms, conditions, words)


@command("PEXPIREAT", arity=-3, flags="fast write", keys=(1, 1, 1), options=EXPIRE_OPTIONS, since="2.6.0")
def pexpireat(client: Client, key: bytes, unix_milliseconds: bytes, *words: bytes) -> int:
    """Let a key live until an instant, in milliseconds since the epoch."""
    conditions = _conditions(words)
    when_ms = _instant(client, unix_milliseconds, "pexpireat", seconds=False, relative=False)
    verb = _set_deadline(client, key, when_ms, conditions)
    if verb is None:
        return 0
    # The others become this command; it stays as typed.
    if verb != b"PEXPIREAT":
        client.rewrite_argument(0, verb)
        for position in range(2, 3 + len(words)):
            client.rewrite_argument(position, None)
    return 1


@command("PERSIST", arity=2, flags="fast write", keys=(1, 1, 1), since="2.2.0")
def persist(client: Client, key: bytes) -> int:
    """Let a key live for good."""
    if client.db.lookup(key) is None or not client.db.persist(key):
        return 0
    client.changed(key, "persist")
    return 1


def _deadline(client: Client, key: bytes) -> int:
    """The deadline of a key in ms; -1 if it has none, -2 if there is no key."""
    if client.db.read(key) is None:
        return -2
    when_ms = client.db.deadline_ms(key)
    return -1 if when_ms is None else when_ms


def _in_seconds(milliseconds: int) -> int:
    """Rounded to the nearest second; what is no time stays."""
    return (milliseconds + 500) // 1000 if milliseconds >= 0 else milliseconds


def _left(client: Client, key: bytes) -> int:
    when_ms = _deadline(client, key)
    return when_ms if when_ms < 0 else max(0, when_ms - client.server.now_ms())


@command("TTL", arity=2, flags="fast readonly", keys=(1, 1, 1))
def ttl(client: Client, key: bytes) -> int:
    """Return how many seconds a key has to live; -1 for ever, -2 if there is none."""
    return _in_seconds(_left(client, key))


@command("PTTL", arity=2, flags="fast readonly", keys=(1, 1, 1), since="2.6.0")
def pttl(client: Client, key: bytes) -> int:
    """Return how many milliseconds a key has to live; -1 for ever, -2 if there is none."""
    return _left(client, key)


@command("EXPIRETIME", arity=2, flags="fast readonly", keys=(1, 1, 1), since="7.0.0")
def expiretime(client: Client, key: bytes) -> int:
    """Return when a key expires, in seconds since the epoch; -1 never, -2 if there is none."""
    return _in_seconds(_deadline(client, key))


@command("PEXPIRETIME", arity=2, flags="fast readonly", keys=(1, 1, 1), since="7.0.0")
def pexpiretime(client: Client, key: bytes) -> int:
    """Return when a key expires, in milliseconds since the epoch; -1 never, -2 if there is none."""
    return _deadline(client, key)
