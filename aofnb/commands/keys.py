"""Commands on keys of any kind, and on whole databases.

An overdue key is deleted, and that is logged, by whoever meets it, with one exception that is the server's: KEYS
only leaves it out.

Redis: db.c, object.c objectCommand, multi.c touchAllWatchedKeysInDb (7.0.15).
"""

from __future__ import annotations

import re
from types import NoneType
from typing import Any

from aofnb.commands import messages
from aofnb.commands.args import Options, integer, value, word
from aofnb.commands.blocking import NOT_YET, Wait, wait_for
from aofnb.commands.client import Client
from aofnb.commands.registry import ALWAYS, command
from aofnb.errors import ReplyError
from aofnb.store.glob import matcher
from aofnb.store.keyspace import Database
from aofnb.store.values import Value, type_name

__all__ = ["database", "database_index", "encoding_of", "refcount_of", "scan_cursor"]

_INT32_MIN, _INT32_MAX = -(1 << 31), (1 << 31) - 1
_SAME_OBJECT = "ERR source and destination objects are the same"


def database_index(arg: bytes) -> int:
    index = integer(arg)
    if not _INT32_MIN <= index <= _INT32_MAX:
        raise ReplyError(f"ERR value is out of range, value must between {_INT32_MIN} and {_INT32_MAX}")
    return index


def database(client: Client, index: int) -> Database:
    """The database with this number; ReplyError if there is none."""
    if not 0 <= index < len(client.server.keyspace):
        raise ReplyError("ERR DB index is out of range")
    return client.server.keyspace[index]


# --- delete and look -------------------------------------------------------------------------------------


@command("DEL", arity=-2, flags="write", keys=(1, -1, 1))
def del_(client: Client, *keys: bytes) -> int:
    """Delete keys; returns how many there were."""
    deleted = 0
    for key in keys:
        if client.db.delete(key):
            client.changed(key, "del")
            deleted += 1
    return deleted


@command("UNLINK", arity=-2, flags="fast write", keys=(1, -1, 1), since="4.0.0")
def unlink(client: Client, *keys: bytes) -> int:
    """Delete keys; returns how many there were. Where Redis frees the memory later, Python does as always."""
    return del_(client, *keys)


def _count(client: Client, keys: tuple[bytes, ...]) -> int:
    return sum(client.db.read(key) is not None for key in keys)


@command("EXISTS", arity=-2, flags="fast readonly", keys=(1, -1, 1))
def exists(client: Client, *keys: bytes) -> int:
    """Count the keys that exist; one given twice counts twice."""
    return _count(client, keys)


@command("TOUCH", arity=-2, flags="fast readonly", keys=(1, -1, 1), since="3.2.1")
def touch(client: Client, *keys: bytes) -> int:
    """Count the keys that exist, and use them, as far as use is watched."""
    return _count(client, keys)


@command("TYPE", arity=2, flags="fast readonly", keys=(1, 1, 1))
def type_(client: Client, key: bytes) -> str:
    """Name the kind of value at a key; none where there is no key."""
    found = client.db.read(key)
    return "none" if found is None else type_name(found)


@command("RANDOMKEY", arity=1, flags="readonly touches_arbitrary_keys")
def randomkey(client: Client) -> bytes | None:
    """Return any key, or nil where there is none."""
    db = client.db
    while (key := db.random_key(client.server.random)) is not None:
        if db.read(key) is not None:
            return key
    return None


@command("KEYS", arity=2, flags="readonly")
def keys_(client: Client, pattern: bytes) -> list[bytes]:
    """Return all keys that match a pattern."""
    db = client.db
    found = db.keys() if pattern == b"*" else list(filter(matcher(pattern), db.keys()))
    return [key for key in found if not db.overdue(key)] if db.volatile else found


@command("DBSIZE", arity=1, flags="fast readonly")
def dbsize(client: Client) -> int:
    """Count the keys of the selected database, overdue ones that nobody has met included."""
    return len(client.db)


# --- SCAN ------------------------------------------------------------------------------------------------

_CURSOR = re.compile(rb"[+-]?\d+|")


def scan_cursor(arg: bytes) -> int:
    """The cursor of SCAN and its kin.

    Raises
    ------
    ReplyError
        If it is no number, or has more than 64 bits.
    """
    # As C reads it: up to a zero byte.
    arg = arg.partition(b"\0")[0]
    if not _CURSOR.fullmatch(arg) or len(arg) > 30:
        raise ReplyError("ERR invalid cursor")
    cursor = int(arg or b"0")
    if abs(cursor) >= 1 << 64:
        raise ReplyError("ERR invalid cursor")
    return cursor % (1 << 64)


def _scan_count(arg: bytes) -> int:
    count = integer(arg)
    if count < 1:
        raise ReplyError(messages.SYNTAX_ERROR)
    return count


SCAN_OPTIONS = Options(value("MATCH"), value("COUNT", _scan_count), value("TYPE"))


@command("SCAN", arity=-2, flags="readonly touches_arbitrary_keys", options=SCAN_OPTIONS, since="2.8.0")
def scan(client: Client, cursor: bytes, *words: bytes) -> list[Any]:
    """Go through all keys step by step: the next cursor, 0 at the end, and some keys."""
    place = scan_cursor(cursor)
    options = SCAN_OPTIONS.parse(words)
    db = client.db
    following, found = db.scan(place, options.get("count", 10))
    if options.get("match", b"*") != b"*":
        found = list(filter(matcher(options["match"]), found))
    if "type" in options:
        wanted = options["type"].decode("latin-1").lower()
        found = [key for key in found if (held := db.read(key)) is not None and type_name(held) == wanted]
    elif db.volatile:
        found = [key for key in found if db.read(key) is not None]
    return [b"%d" % following, found]


# --- rename, move, copy ----------------------------------------------------------------------------------


def _rename(client: Client, key: bytes, new_key: bytes, *, overwrite: bool) -> bool:
    """Rename; False if `new_key` is in the way."""
    db = client.db
    found = db.lookup(key)
    if found is None:
        raise ReplyError(messages.NO_SUCH_KEY)
    if key == new_key:
        return overwrite
    when_ms = db.deadline_ms(key)
    if db.lookup(new_key) is not None and not overwrite:
        return False
    _put_fresh(db, new_key, found, when_ms)
    db.delete(key)
    client.changed(key, "rename_from")
    client.changed(new_key, "rename_to", dirty=0)
    return True


def _put_fresh(db: Database, key: bytes, value: Value, when_ms: int | None) -> None:
    # Not in its place: the key is a new one.
    db.discard(key)
    db.put(key, value)
    if when_ms is not None:
        db.set_deadline(key, when_ms)
    db.watch_fields(key, value)


@command("RENAME", arity=3, flags="write", keys=(1, 2, 1))
def rename(client: Client, key: bytes, new_key: bytes) -> str:
    """Give a key another name; what had that name is gone."""
    _rename(client, key, new_key, overwrite=True)
    return "OK"


@command("RENAMENX", arity=3, flags="fast write", keys=(1, 2, 1))
def renamenx(client: Client, key: bytes, new_key: bytes) -> int:
    """Give a key another name, if nothing has that name."""
    return int(_rename(client, key, new_key, overwrite=False))


@command("MOVE", arity=3, flags="fast write", keys=(1, 1, 1))
def move(client: Client, key: bytes, index: bytes) -> int:
    """Move a key to another database, if it is not there already."""
    source, target = client.db, database(client, database_index(index))
    if source is target:
        raise ReplyError(_SAME_OBJECT)
    found = source.lookup(key)
    if found is None:
        return 0
    when_ms = source.deadline_ms(key)
    if target.lookup(key) is not None:
        return 0
    _put_fresh(target, key, found, when_ms)
    source.delete(key)
    client.changed(key, "move_from")
    client.changed(key, "move_to", dirty=0, db=target)
    return 1


COPY_OPTIONS = Options(value("DB", database_index), word("REPLACE"))


@command("COPY", arity=-3, flags="denyoom write", keys=(1, 2, 1), options=COPY_OPTIONS, since="6.2.0")
def copy(client: Client, key: bytes, new_key: bytes, *words: bytes) -> int:
    """Copy a value with its deadline to another key, perhaps in another database."""
    target, overwrite = client.db, False
    rest = iter(words)
    for option in rest:
        # Not COPY_OPTIONS.parse: a database that is not there is reported before a word that is not known.
        if option.upper() == b"REPLACE":
            overwrite = True
        elif option.upper() == b"DB" and (index := next(rest, None)) is not None:
            target = database(client, database_index(index))
        else:
            raise ReplyError(messages.SYNTAX_ERROR)
    if target is client.db and key == new_key:
        raise ReplyError(_SAME_OBJECT)
    found = client.db.read(key)
    if found is None:
        return 0
    when_ms = client.db.deadline_ms(key)
    if target.lookup(new_key) is not None and not overwrite:
        return 0
    _put_fresh(target, new_key, found if isinstance(found, bytes) else found.copy(), when_ms)
    client.changed(new_key, "copy_to", db=target)
    return 1


# --- whole databases -------------------------------------------------------------------------------------


def _break_watches(client: Client, emptied: Database, replacement: Database | None = None) -> None:
    """Break every WATCH on a key that goes with `emptied`, or comes with `replacement`.

    A key that was overdue when it was watched counts as gone, and so does one that comes overdue.

    Redis: multi.c touchAllWatchedKeysInDb.
    """
    for place, watchers in client.server.watched.items():
        index, key = place
        if index != emptied.index:
            continue
        goes = emptied.peek(key) is not None
        comes = replacement is not None and replacement.peek(key) is not None
        comes_overdue = replacement is not None and replacement.overdue(key)
        if not (goes or comes):
            continue
        for watcher in watchers:
            if place in watcher.watching_overdue:
                if not comes:
                    watcher.watching_overdue.discard(place)
                elif not comes_overdue:
                    watcher.watch_broken = True
            elif comes_overdue and not goes:
                watcher.watching_overdue.add(place)
            else:
                watcher.watch_broken = True


def _flush(client: Client, databases: list[Database], mode: tuple[bytes, ...]) -> str:
    # ASYNC frees memory in the background on a server; here both words mean the same.
    if len(mode) > 1 or (mode and mode[0].upper() not in (b"ASYNC", b"SYNC")):
        raise ReplyError(messages.SYNTAX_ERROR)
    for db in databases:
        _break_watches(client, db)
        client.dirty += db.clear()
        client.server.replaced(db)
    client.server.flushed()
    return "OK"


@command("FLUSHDB", arity=-1, flags="write", propagate=ALWAYS)
def flushdb(client: Client, *mode: bytes) -> str:
    """Delete all keys of the selected database."""
    return _flush(client, [client.db], mode)


@command("FLUSHALL", arity=-1, flags="write", propagate=ALWAYS)
def flushall(client: Client, *mode: bytes) -> str:
    """Delete all keys of all databases."""
    done = _flush(client, list(client.server.keyspace), mode)
    if not client.loading and client.server.persistence.flushed():
        # The snapshot has it already.
        client.dirty = 0
    return done


def _swap_index(arg: bytes, which: str) -> int:
    message = f"ERR invalid {which} DB index"
    index = integer(arg, message)
    if not _INT32_MIN <= index <= _INT32_MAX:
        raise ReplyError(message)
    return index


@command("SWAPDB", arity=3, flags="fast write", since="4.0.0")
def swapdb(client: Client, first_arg: bytes, second_arg: bytes) -> str:
    """Exchange two databases: who has one selected sees what was in the other."""
    first, second = _swap_index(first_arg, "first"), _swap_index(second_arg, "second")
    keyspace = client.server.keyspace
    if not (0 <= first < len(keyspace) and 0 <= second < len(keyspace)):
        raise ReplyError("ERR DB index is out of range")
    if first != second:
        _break_watches(client, keyspace[first], keyspace[second])
        _break_watches(client, keyspace[second], keyspace[first])
        keyspace[first].swap_with(keyspace[second])
        client.server.replaced(keyspace[first])
        client.server.replaced(keyspace[second])
    client.dirty += 1
    return "OK"


# --- WAIT and OBJECT -------------------------------------------------------------------------------------


@command("WAIT", arity=3, flags="noscript", since="3.0.0")
def wait(client: Client, replicas: bytes, timeout: bytes) -> Any:
    """Wait until so many replicas have everything, or for the timeout; tell how many have it."""
    wanted = integer(replicas)
    timeout_ms = integer(timeout, "ERR timeout is not an integer or out of range")
    if timeout_ms < 0:
        raise ReplyError("ERR timeout is negative")
    replication = client.server.replication
    if replication is None:
        have = 0
    else:
        offset = replication.ask()
        have = replication.have(offset)
    if have >= wanted:
        return have
    waiting = Wait((), NoneType, timeout_ms, lambda _key: NOT_YET, timed_out=have)
    if replication is not None:
        replication.tell(waiting, offset, wanted)
    return wait_for(client, waiting)


@command("OBJECT", arity=-2, since="2.2.3")
def object_(client: Client, *args: bytes) -> Any:
    """A container for commands on how a value is stored."""
    raise messages.wrong_arity("object")


_EMBSTR_MAX = 44
# Redis keeps one object for each of the numbers below this and shares it.
_SHARED_INTEGERS = 10000


def _is_integer(text: bytes) -> bool:
    try:
        integer(text)
    except ReplyError:
        return False
    return True


def encoding_of(value: Value) -> bytes:
    """How Redis would store `value`."""
    if isinstance(value, bytes):
        return b"int" if _is_integer(value) else b"embstr" if len(value) <= _EMBSTR_MAX else b"raw"
    return b"raw" if isinstance(value, bytearray) else value.encoding.encode()


def refcount_of(value: Value) -> int:
    """How often Redis would count `value` as used."""
    shared = isinstance(value, bytes) and _is_integer(value) and 0 <= int(value) < _SHARED_INTEGERS
    return _INT32_MAX if shared else 1


@command("OBJECT ENCODING", arity=3, flags="readonly", keys=(2, 2, 1), since="2.2.3")
def object_encoding(client: Client, key: bytes) -> bytes | None:
    """Name how Redis would store the value at a key.

    A whole number that INCRBYFLOAT left is ``int``, as it is on a server after a restart, and not ``embstr``.
    """
    found = client.db.read_quietly(key)
    return None if found is None else encoding_of(found)


@command("OBJECT REFCOUNT", arity=3, flags="readonly", keys=(2, 2, 1), since="2.2.3")
def object_refcount(client: Client, key: bytes) -> int | None:
    """Return how often Redis would count the value as used: once, or without limit for a small number."""
    found = client.db.read_quietly(key)
    return None if found is None else refcount_of(found)


_SWITCHING = (
    "Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust."
)


@command("OBJECT IDLETIME", arity=3, flags="readonly", keys=(2, 2, 1), since="2.2.3")
def object_idletime(client: Client, key: bytes) -> int | None:
    """Return for how many seconds a key was not used; known only with an LRU policy, since that is watched."""
    if client.db.read_quietly(key) is None:
        return None
    usage = client.server.usage
    if usage is None:
        raise ReplyError(
            "ERR idle time is not tracked; CONFIG SET maxmemory-policy allkeys-lru has it tracked from then on"
        )
    if usage.lfu:
        raise ReplyError(f"ERR An LFU maxmemory policy is selected, idle time not tracked. {_SWITCHING}")
    return usage.idle_s((client.db.index, key))


@command("OBJECT FREQ", arity=3, flags="readonly", keys=(2, 2, 1), since="4.0.0")
def object_freq(client: Client, key: bytes) -> int | None:
    """Return how often a key is used, as a logarithm from 0 to 255; known only with an LFU policy."""
    if client.db.read_quietly(key) is None:
        return None
    usage = client.server.usage
    if usage is None or not usage.lfu:
        raise ReplyError(f"ERR An LFU maxmemory policy is not selected, access frequency not tracked. {_SWITCHING}")
    return usage.frequency((client.db.index, key))


@command("OBJECT HELP", arity=2, flags="loading stale", since="6.2.0")
def object_help(client: Client) -> list[str]:
    """List the subcommands."""
    return messages.help_lines(
        "OBJECT",
        "ENCODING <key>",
        "    Return the kind of internal representation used in order to store the value",
        "    associated with a <key>.",
        "FREQ <key>",
        "    Return the access frequency index of the <key>. The returned integer is",
        "    proportional to the logarithm of the recent access frequency of the key.",
        "IDLETIME <key>",
        "    Return the idle time of the <key>, that is the approximated number of",
        "    seconds elapsed since the last access to the key.",
        "REFCOUNT <key>",
        "    Return the number of references of the value associated with the specified",
        "    <key>.",
    )
