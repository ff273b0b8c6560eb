"""DUMP and RESTORE: a value as one string, and back.

Redis: cluster.c dumpCommand, restoreCommand (7.0.15).
"""

from __future__ import annotations

from aofnb.commands.args import INT64_MAX, Options, integer, value, word
from aofnb.commands.client import Client
from aofnb.commands.registry import command
from aofnb.errors import RdbError, ReplyError
from aofnb.rdb import ChecksumError, dump_payload, load_payload
from aofnb.rdb.opcodes import MAGIC_REDIS, NEWEST, RDB_VERSION
from aofnb.store.values import Value

__all__: list[str] = []

_FREQ_MAX = 255


def _idle_time(arg: bytes) -> int:
    seconds = integer(arg)
    if seconds < 0:
        raise ReplyError("ERR Invalid IDLETIME value, must be >= 0")
    return seconds


def _frequency(arg: bytes) -> int:
    frequency = integer(arg)
    if not 0 <= frequency <= _FREQ_MAX:
        raise ReplyError("ERR Invalid FREQ value, must be >= 0 and <= 255")
    return frequency


# IDLETIME and FREQ are checked and logged; they matter where the policy of eviction asks for them.
RESTORE_OPTIONS = Options(
    word("REPLACE"),
    word("ABSTTL"),
    value("IDLETIME", _idle_time, group="eviction"),
    value("FREQ", _frequency, group="eviction"),
)


@command("DUMP", arity=2, flags="readonly", keys=(1, 1, 1), since="2.6.0")
def dump(client: Client, key: bytes) -> bytes | None:
    """Return the value at a key as a string for RESTORE; nil where there is no key."""
    found = client.db.read(key)
    return None if found is None else dump_payload(found, client.server.config)


@command("RESTORE", arity=-4, flags="denyoom write", keys=(1, 1, 1), options=RESTORE_OPTIONS, since="2.6.0")
def restore(client: Client, key: bytes, ttl: bytes, payload: bytes, *words: bytes) -> str:
    """Make a key from what DUMP gave."""
    return _restore(client, key, ttl, payload, words)


@command(
    "RESTORE-ASKING",
    arity=-4,
    flags="asking denyoom write",
    keys=(1, 1, 1),
    options=RESTORE_OPTIONS,
    since="3.0.0",
)
def restore_asking(client: Client, key: bytes, ttl: bytes, payload: bytes, *words: bytes) -> str:
    """Do what RESTORE does: the two differ only in a cluster."""
    return _restore(client, key, ttl, payload, words)


def _restore(client: Client, key: bytes, ttl: bytes, payload: bytes, words: tuple[bytes, ...]) -> str:
    options = RESTORE_OPTIONS.parse(words)
    db = client.db
    replace = "replace" in options
    if not replace and db.lookup(key) is not None:
        raise ReplyError("BUSYKEY Target key name already exists.")
    when_ms = integer(ttl)
    if when_ms < 0:
        raise ReplyError("ERR Invalid TTL value, must be >= 0")
    restored = _load(client, payload)
    # An overdue key goes without a word here: what takes its place is logged, and nothing else.
    db.persist(key)
    deleted = db.delete(key)
    relative = when_ms > 0 and "absttl" not in options
    if relative:
        when_ms = _int64(when_ms + client.server.now_ms())
    if when_ms and when_ms <= client.server.now_ms() and not client.loading:
        if deleted:
            _log_deletion(client, key, len(words))
        return "OK"
    db.put(key, restored)
    db.watch_fields(key, restored)
    if when_ms:
        db.set_deadline(key, when_ms)
    usage = client.server.usage
    if usage is not None and usage.lfu and "freq" in options:
        usage.set_frequency((db.index, key), options["freq"])
    elif usage is not None and not usage.lfu and "idletime" in options:
        usage.set_idle((db.index, key), options["idletime"])
    if relative:
        client.rewrite_argument(2, b"%d" % when_ms)
        client.rewrite_argument(4 + len(words), b"ABSTTL")
    client.changed(key, "restore")
    return "OK"


def _load(client: Client, payload: bytes) -> Value:
    # A record of a newer server's log may say more than a client may: what a client says, Redis 7.0 must load.
    newest = NEWEST[MAGIC_REDIS] if client.loading else RDB_VERSION
    try:
        return load_payload(payload, client.server.config, newest)
    except ChecksumError:
        raise ReplyError("ERR DUMP payload version or checksum are wrong") from None
    except RdbError:
        raise ReplyError("ERR Bad data format") from None


def _log_deletion(client: Client, key: bytes, words: int) -> None:
    """Have the record be that of a deletion: the key was replaced by something already overdue.

    It is DEL and never UNLINK, whatever the settings say.
    """
    client.changed(key, "del")
    client.rewrite_argument(0, b"DEL")
    for position in range(2, 4 + words):
        client.rewrite_argument(position, None)


def _int64(number: int) -> int:
    """`number` as 64 bits hold it: a life of 292 million years ends before it begins, as it does in Redis."""
    return number if number <= INT64_MAX else number - (1 << 64)
