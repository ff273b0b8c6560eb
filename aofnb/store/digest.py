"""A fingerprint of the data: equal to redis-server's DEBUG DIGEST when, and only when, the data are equal.

A digest is an exclusive or of SHA-1 hashes where order does not matter (databases, keys, members of sets), a chain of
hashes where it does (elements of a list). What is no data leaves no trace: encodings, consumer groups, and the
instant at which a key expires (that it expires at all does leave one).

Redis: debug.c xorDigest, mixDigest, xorObjectDigest, computeDatasetDigest (7.0.15).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha1
from typing import Any

from aofnb.store.hash_value import HashValue
from aofnb.store.keyspace import Keyspace
from aofnb.store.list_value import ListValue
from aofnb.store.set_value import SetValue
from aofnb.store.stream import Stream
from aofnb.store.values import Value, type_name
from aofnb.store.zset import SortedSet

__all__ = ["NOTHING", "keyspace_digest", "value_digest"]

# A digest is 20 bytes, kept as a number so that one `^` combines two. NOTHING is that of no data at all.
NOTHING = 0
_BYTES = 20
_TYPE_NUMBERS = {"string": 0, "list": 1, "set": 2, "zset": 3, "hash": 4, "stream": 6}


def keyspace_digest(keyspace: Keyspace) -> str:
    """The digest of all databases in 40 hexadecimal digits; overdue keys count, as on the server.

    Time is linear in the size of the data: about a second for a million small strings.
    """
    digest = NOTHING
    for db in keyspace:
        if len(db):
            digest = _mixed(digest, _uint32(db.index))
        for key, value, deadline_ms in db.walk():
            digest ^= _hash(_bytes(_with_value(_first_mixed(key), value, deadline_ms)))
    return _hex(digest)


def value_digest(value: Value | None, deadline_ms: int | None) -> str:
    """The digest of one value, whatever its key; all zeros for None."""
    return _hex(NOTHING if value is None else _with_value(NOTHING, value, deadline_ms))


def _with_value(digest: int, value: Value, deadline_ms: int | None) -> int:
    kind = type_name(value)
    digest = _MIXERS[kind](_hash(_bytes(digest ^ _OF_TYPE[kind])), value)
    return digest if deadline_ms is None else digest ^ _OF_DEADLINE


def _list(digest: int, value: ListValue) -> int:
    return _all_mixed(digest, value)


def _set(digest: int, value: SetValue) -> int:
    for member in value.members:
        digest ^= _hash(member)
    return digest


def _zset(digest: int, value: SortedSet) -> int:
    for member, score in value.scores.items():
        digest ^= _hash(_bytes(_mixed(_first_mixed(member), b"%.17g" % score)))
    return digest


def _hash_value(digest: int, value: HashValue) -> int:
    deadlines = value.deadlines or {}
    for field, text in value.items():
        mixed = _mixed(_first_mixed(field), text)
        digest ^= _hash(_bytes(mixed ^ _OF_FIELD_DEADLINE if field in deadlines else mixed))
    return digest


def _stream(digest: int, value: Stream) -> int:
    for entry_id, items in value.range():
        digest = _all_mixed(_mixed(digest, b"%d.%d" % entry_id), items)
    return digest


_MIXERS: dict[str, Callable[[int, Any], int]] = {
    "string": lambda digest, value: _mixed(digest, value),
    "list": _list,
    "set": _set,
    "zset": _zset,
    "hash": _hash_value,
    "stream": _stream,
}


# --- the two ways to combine -----------------------------------------------------------------------------


# Most that is hashed is short, and to copy one that is ready takes less than to make another.
_new = sha1(usedforsecurity=False).copy


def _hash(data: bytes | bytearray) -> int:
    made = _new()
    made.update(data)
    return int.from_bytes(made.digest(), "big")


def _first_mixed(data: bytes | bytearray) -> int:
    """`data` mixed with nothing."""
    inner, outer = _new(), _new()
    inner.update(data)
    outer.update(inner.digest())
    return int.from_bytes(outer.digest(), "big")


def _mixed(digest: int, data: bytes | bytearray) -> int:
    """`digest` with `data` behind what it holds already: order matters."""
    inner, outer = _new(), _new()
    inner.update(data)
    outer.update((digest ^ int.from_bytes(inner.digest(), "big")).to_bytes(_BYTES, "big"))
    return int.from_bytes(outer.digest(), "big")


def _all_mixed(digest: int, parts: Iterable[bytes]) -> int:
    for part in parts:
        digest = _mixed(digest, part)
    return digest


def _bytes(digest: int) -> bytes:
    return digest.to_bytes(_BYTES, "big")


def _uint32(number: int) -> bytes:
    return number.to_bytes(4, "big")


def _hex(digest: int) -> str:
    return _bytes(digest).hex()


# What is hashed for every key.
_OF_TYPE = {kind: _hash(_uint32(number)) for kind, number in _TYPE_NUMBERS.items()}
_OF_DEADLINE, _OF_FIELD_DEADLINE = _hash(b"!!expire!!"), _hash(b"!!hexpire!!")
