"""Commands on strings.

A string is stored as `bytes`; APPEND and SETRANGE turn it into a `bytearray`, which they edit in place.

Redis: t_string.c (7.0.15).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from aofnb.commands import longdouble, messages
from aofnb.commands.args import INT64_MAX, INT64_MIN, Options, integer, value, word
from aofnb.commands.client import Client
from aofnb.commands.registry import REWRITTEN, command
from aofnb.errors import ReplyError

__all__ = ["deadline_ms", "invalid_expire_time"]

# --- GET and SET -----------------------------------------------------------------------------------------


@command("GET", arity=2, flags="fast readonly", keys=(1, 1, 1))
def get(client: Client, key: bytes) -> bytes | None:
    """Return the string at a key."""
    return client.db.read_string(key)


# The times are read after all words are known to be right, as the server does.
SET_OPTIONS = Options(
    word("NX", group="exists"),
    word("XX", group="exists"),
    word("GET"),
    value("EX", group="ttl"),
    value("PX", group="ttl"),
    value("EXAT", group="ttl"),
    value("PXAT", group="ttl"),
    word("KEEPTTL", group="ttl"),
)


@command("SET", arity=-3, flags="denyoom write", keys=(1, 1, 1), options=SET_OPTIONS)
def set_(client: Client, key: bytes, value: bytes, *options: bytes) -> Any:
    """Store a string at a key, whatever was there, with or without a time to live."""
    if options:
        return _set_with_options(client, key, value, options)
    client.db.replace(key, value)
    client.changed(key, "set")
    return "OK"


def set_many(client: Client, pairs: Iterable[tuple[bytes, bytes]]) -> None:
    """What ``SET key value`` does, for each pair of them in turn; replay calls it for a run."""
    client.db.replace_many(pairs)
    if client.server.observe is not None:
        for key, _value in pairs:
            client.changed(key, "set")


def _set_with_options(client: Client, key: bytes, value: bytes, words: Sequence[bytes]) -> Any:
    options = SET_OPTIONS.parse(words)
    when_ms = _deadline_option(client, options, "set")
    db = client.db
    wants_old = "get" in options
    old = db.read_string(key) if wants_old else None
    exists = db.lookup(key) is not None
    if ("nx" in options and exists) or ("xx" in options and not exists):
        return old
    if "keepttl" in options:
        db.put(key, value)
    else:
        db.replace(key, value)
    client.changed(key, "set")
    if when_ms is not None:
        db.set_deadline(key, when_ms)
        client.changed(key, "expire", dirty=0)
        # NX, XX and GET have done their work and go: SET key value PXAT when.
        client.rewrite_argument(0, b"SET")
        client.rewrite_argument(3, b"PXAT")
        client.rewrite_argument(4, b"%d" % when_ms)
        for position in range(5, 3 + len(words)):
            client.rewrite_argument(position, None)
    elif wants_old:
        for position, option in enumerate(words, 3):
            if option.upper() == b"GET":
                client.rewrite_argument(position, None)
    return old if wants_old else "OK"


# --- times to live ---------------------------------------------------------------------------------------


def invalid_expire_time(command_name: str) -> ReplyError:
    return ReplyError(f"ERR invalid expire time in '{command_name}' command")


def deadline_ms(client: Client, arg: bytes, command_name: str, *, seconds: bool, relative: bool) -> int:
    """The instant that a positive time to live stands for.

    Redis: t_string.c getExpireMillisecondsOrReply.

    Raises
    ------
    ReplyError
        If it is not a number, not positive, or beyond 64 bits.
    """
    when_ms = integer(arg)
    if when_ms <= 0:
        raise invalid_expire_time(command_name)
    if seconds:
        when_ms *= 1000
    if relative:
        when_ms += client.server.now_ms()
    if when_ms > INT64_MAX:
        raise invalid_expire_time(command_name)
    return when_ms


def _deadline_option(client: Client, options: dict[str, Any], command_name: str) -> int | None:
    """The instant that EX, PX, EXAT or PXAT give; None without any of them."""
    for name, seconds, relative in (
        ("ex", True, True),
        ("px", False, True),
        ("exat", True, False),
        ("pxat", False, False),
    ):
        if name in options:
            return deadline_ms(client, options[name], command_name, seconds=seconds, relative=relative)
    return None


def _set_until(client: Client, key: bytes, value: bytes, when_ms: int) -> str:
    client.db.replace(key, value)
    client.db.set_deadline(key, when_ms)
    client.changed(key, "set")
    client.changed(key, "expire", dirty=0)
    client.propagate(b"SET", key, value, b"PXAT", b"%d" % when_ms)
    return "OK"


@command("SETEX", arity=4, flags="denyoom write", keys=(1, 1, 1), propagate=REWRITTEN, since="2.0.0")
def setex(client: Client, key: bytes, seconds: bytes, value: bytes) -> str:
    """Store a string with a time to live in seconds."""
    return _set_until(client, key, value, deadline_ms(client, seconds, "setex", seconds=True, relative=True))


@command("PSETEX", arity=4, flags="denyoom write", keys=(1, 1, 1), propagate=REWRITTEN, since="2.6.0")
def psetex(client: Client, key: bytes, milliseconds: bytes, value: bytes) -> str:
    """Store a string with a time to live in milliseconds."""
    return _set_until(client, key, value, deadline_ms(client, milliseconds, "psetex", seconds=False, relative=True))


@command("SETNX", arity=3, flags="denyoom fast write", keys=(1, 1, 1))
def setnx(client: Client, key: bytes, value: bytes) -> int:
    """Store a string only where there is no key."""
    if client.db.lookup(key) is not None:
        return 0
    client.db.put(key, value)
    client.changed(key, "set")
    return 1


# --- get and change --------------------------------------------------------------------------------------


@command("GETSET", arity=3, flags="denyoom fast write", keys=(1, 1, 1), propagate=REWRITTEN)
def getset(client: Client, key: bytes, value: bytes) -> bytes | None:
    """Store a string and return the old one."""
    old = client.db.read_string(key)
    client.db.replace(key, value)
    client.changed(key, "set")
    client.propagate(b"SET", key, value)
    return old


@command("GETDEL", arity=2, flags="fast write", keys=(1, 1, 1), propagate=REWRITTEN, since="6.2.0")
def getdel(client: Client, key: bytes) -> bytes | None:
    """Return the string at a key and delete the key."""
    old = client.db.read_string(key)
    if old is not None:
        client.db.delete(key)
        client.changed(key, "del")
        client.propagate(b"UNLINK" if client.server.config.lazyfree_lazy_user_del else b"DEL", key)
    return old


GETEX_OPTIONS = Options(
    value("EX", group="ttl"),
    value("PX", group="ttl"),
    value("EXAT", group="ttl"),
    value("PXAT", group="ttl"),
    word("PERSIST", group="ttl"),
)


@command(
    "GETEX",
    arity=-2,
    flags="fast write",
    keys=(1, 1, 1),
    propagate=REWRITTEN,
    options=GETEX_OPTIONS,
    since="6.2.0",
)
def getex(client: Client, key: bytes, *words: bytes) -> bytes | None:
    """Return the string at a key and set or drop its time to live."""
    options = GETEX_OPTIONS.parse(words)
    db = client.db
    found = db.read_string(key)
    if found is None:
        return None
    when_ms = _deadline_option(client, options, "getex")
    if when_ms is not None:
        absolute = "exat" in options or "pxat" in options
        if absolute and when_ms <= client.server.now_ms() and not client.loading:
            db.delete(key)
            client.changed(key, "del")
            client.propagate(b"UNLINK" if client.server.config.lazyfree_lazy_expire else b"DEL", key)
        else:
            db.set_deadline(key, when_ms)
            client.changed(key, "expire")
            client.propagate(b"PEXPIREAT", key, b"%d" % when_ms)
    elif "persist" in options and db.persist(key):
        client.changed(key, "persist")
        client.propagate(b"PERSIST", key)
    return found


# --- parts of a string -----------------------------------------------------------------------------------


@command("STRLEN", arity=2, flags="fast readonly", keys=(1, 1, 1), since="2.2.0")
def strlen(client: Client, key: bytes) -> int:
    """Return the length of a string in bytes; 0 where there is none."""
    return len(client.db.read_buffer(key) or b"")


@command("GETRANGE", arity=4, flags="readonly", keys=(1, 1, 1), since="2.4.0")
@command("SUBSTR", arity=4, flags="readonly", keys=(1, 1, 1))
def getrange(client: Client, key: bytes, first: bytes, last: bytes) -> bytes:
    """Return the bytes from one place to another, both included; negative places count from the end."""
    start, end = integer(first), integer(last)
    found = client.db.read_buffer(key) or b""
    if start < 0 and end < 0 and start > end:
        return b""
    start = max(0, start + len(found)) if start < 0 else start
    end = max(0, end + len(found)) if end < 0 else end
    return bytes(found[start : end + 1])


def _check_length(client: Client, length: int) -> None:
    if length > client.server.config.proto_max_bulk_len:
        raise ReplyError(messages.STRING_TOO_LONG)


@command("SETRANGE", arity=4, flags="denyoom write", keys=(1, 1, 1), since="2.2.0")
def setrange(client: Client, key: bytes, offset_arg: bytes, part: bytes) -> int:
    """Overwrite a string from an offset on; zeros fill what lies before. Returns the length."""
    offset = integer(offset_arg)
    if offset < 0:
        raise ReplyError("ERR offset is out of range")
    found = client.db.lookup_buffer(key)
    if not part:
        return len(found or b"")
    end = offset + len(part)
    _check_length(client, end)
    edited = found if isinstance(found, bytearray) else bytearray(found or b"")
    if len(edited) < offset:
        edited.extend(bytes(offset - len(edited)))
    edited[offset:end] = part
    client.db.put(key, edited)
    client.changed(key, "setrange")
    return len(edited)


@command("APPEND", arity=3, flags="denyoom fast write", keys=(1, 1, 1), since="2.0.0")
def append(client: Client, key: bytes, part: bytes) -> int:
    """Add to the end of a string, or make it; returns the length."""
    found = client.db.lookup_buffer(key)
    if found is None:
        client.db.put(key, part)
        client.changed(key, "append")
        return len(part)
    _check_length(client, len(found) + len(part))
    if not isinstance(found, bytearray):
        found = bytearray(found)
        client.db.put(key, found)
    found += part
    client.changed(key, "append")
    return len(found)


# --- numbers ---------------------------------------------------------------------------------------------


_ZERO = ord("0")


def _increment(client: Client, key: bytes, by: int) -> int:
    db = client.db
    found = db.lookup_string(key)
    if found is None:
        number = by
    elif found.isdigit() and len(found) < 19 and found[0] != _ZERO:
        number = int(found) + by  # the common case, in half the time
    else:
        number = integer(found) + by
    if not INT64_MIN <= number <= INT64_MAX:
        raise ReplyError("ERR increment or decrement would overflow")
    db.put(key, b"%d" % number)
    client.changed(key, "incrby")
    return number


@command("INCR", arity=2, flags="denyoom fast write", keys=(1, 1, 1))
def incr(client: Client, key: bytes) -> int:
    """Add one to a number; a missing key counts as 0."""
    return _increment(client, key, 1)


@command("DECR", arity=2, flags="denyoom fast write", keys=(1, 1, 1))
def decr(client: Client, key: bytes) -> int:
    """Subtract one from a number; a missing key counts as 0."""
    return _increment(client, key, -1)


@command("INCRBY", arity=3, flags="denyoom fast write", keys=(1, 1, 1))
def incrby(client: Client, key: bytes, by: bytes) -> int:
    """Add to a number; a missing key counts as 0."""
    return _increment(client, key, integer(by))


@command("DECRBY", arity=3, flags="denyoom fast write", keys=(1, 1, 1))
def decrby(client: Client, key: bytes, by: bytes) -> int:
    """Subtract from a number; a missing key counts as 0."""
    amount = integer(by)
    if amount == INT64_MIN:
        raise ReplyError("ERR decrement would overflow")
    return _increment(client, key, -amount)


@command("INCRBYFLOAT", arity=3, flags="denyoom fast write", keys=(1, 1, 1), propagate=REWRITTEN, since="2.6.0")
def incrbyfloat(client: Client, key: bytes, by: bytes) -> bytes:
    """Add to a number with a fraction and return the sum as text."""
    found = client.db.lookup_string(key)
    number, amount = longdouble.parse(b"0" if found is None else found), longdouble.parse(by)
    if number is None or amount is None:
        raise ReplyError(messages.NOT_A_FLOAT)
    total = longdouble.add(number, amount)
    if longdouble.is_infinite(total):
        raise ReplyError("ERR increment would produce NaN or Infinity")
    text = longdouble.text(total)
    client.db.put(key, text)
    client.changed(key, "incrbyfloat")
    # The result, not the sum to do: the reader may compute with other numbers. KEEPTTL, since a deadline stays.
    client.propagate(b"SET", key, text, b"KEEPTTL")
    return text


# --- many keys -------------------------------------------------------------------------------------------


@command("MGET", arity=-2, flags="fast readonly", keys=(1, -1, 1))
def mget(client: Client, *keys: bytes) -> list[bytes | None]:
    """Return the strings at several keys; nil for a missing key and for other kinds of value."""
    found = map(client.db.read, keys)
    return [bytes(value) if isinstance(value, bytes | bytearray) else None for value in found]


def _pairs(args: Sequence[bytes], command_name: str) -> list[tuple[bytes, bytes]]:
    if len(args) % 2:
        raise messages.wrong_arity(command_name)
    return list(zip(args[::2], args[1::2], strict=True))


def _store_all(client: Client, pairs: Sequence[tuple[bytes, bytes]]) -> None:
    for key, text in pairs:
        client.db.replace(key, text)
        client.changed(key, "set")


@command("MSET", arity=-3, flags="denyoom write", keys=(1, -1, 2), since="1.0.1")
def mset(client: Client, *keys_and_values: bytes) -> str:
    """Store strings at several keys."""
    _store_all(client, _pairs(keys_and_values, "mset"))
    return "OK"


@command("MSETNX", arity=-3, flags="denyoom write", keys=(1, -1, 2), since="1.0.1")
def msetnx(client: Client, *keys_and_values: bytes) -> int:
    """Store strings at several keys, all or, if one of the keys exists, none."""
    pairs = _pairs(keys_and_values, "msetnx")
    if any(client.db.lookup(key) is not None for key, _ in pairs):
        return 0
    _store_all(client, pairs)
    return 1


# --- LCS -------------------------------------------------------------------------------------------------


@command("LCS", arity=-3, flags="readonly", keys=(1, 2, 1), since="7.0.0")
def lcs(client: Client, key_a: bytes, key_b: bytes, *words: bytes) -> Any:
    """Find the longest common subsequence of two strings: itself, its length, or where its parts are."""
    values = [client.db.read(key) for key in (key_a, key_b)]
    if not all(value is None or isinstance(value, bytes | bytearray) for value in values):
        raise ReplyError("ERR The specified keys must contain string values")
    a, b = (bytes(value) if isinstance(value, bytes | bytearray) else b"" for value in values)
    options = LCS_OPTIONS.parse(words)
    if "idx" in options and "len" in options:
        raise ReplyError("ERR If you want both the length and indexes, please just use IDX.")
    if (len(a) + 1) * (len(b) + 1) * 4 > client.server.config.proto_max_bulk_len:
        raise ReplyError("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")
    rows = _lcs_rows(a, b)
    if "len" in options:
        return len(b) - rows[-1].bit_count()
    subsequence, matches = _lcs_walk(a, b, rows)
    if "idx" not in options:
        return subsequence
    shortest = max(0, options.get("minmatchlen", 0))
    with_length = "withmatchlen" in options
    shown = [
        [[at_a, at_a + length - 1], [at_b, at_b + length - 1], *([length] if with_length else [])]
        for at_a, at_b, length in matches
        if length >= shortest
    ]
    return client.map_reply({b"matches": shown, b"len": len(subsequence)})


LCS_OPTIONS = Options(word("IDX"), word("LEN"), word("WITHMATCHLEN"), value("MINMATCHLEN", integer))


def _lcs_rows(a: bytes, b: bytes) -> list[int]:
    """The table of LCS lengths, one number per prefix of `a`: bit j is clear where b[j] makes the length grow.

    Whole rows are computed at once, as Hyyrö describes ("Bit-parallel LCS-length computation revisited", 2004).
    """
    all_set = (1 << len(b)) - 1
    places: dict[int, int] = {}
    for j, char in enumerate(b):
        places[char] = places.get(char, 0) | 1 << j
    rows = [all_set]
    row = all_set
    for char in a:
        hits = row & places.get(char, 0)
        row = ((row + hits) | (row - hits)) & all_set
        rows.append(row)
    return rows


def _lcs_walk(a: bytes, b: bytes, rows: Sequence[int]) -> tuple[bytes, list[tuple[int, int, int]]]:
    """The subsequence, and its unbroken parts as (place in a, place in b, length), last first."""
    found = bytearray()
    matches: list[tuple[int, int, int]] = []
    i, j = len(a), len(b)
    length = 0
    while i and j:
        if a[i - 1] == b[j - 1]:
            found.append(a[i - 1])
            i, j, length = i - 1, j - 1, length + 1
            continue
        if length:
            matches.append((i, j, length))
            length = 0
        # Go where the length is greater; where both ways are equal the server goes back in b.
        if rows[i] >> (j - 1) & 1:
            j -= 1
        else:
            i -= 1
    if length:
        matches.append((i, j, length))
    found.reverse()
    return bytes(found), matches
