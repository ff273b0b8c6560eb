"""Keys of a snapshot as the one command that makes them, where the kernel `_keys_cy` is not compiled.

Rules of this file: what is read here gives what `store.snapshot.commands_of_key` makes of the value; whatever is rare,
takes several commands, or is damaged is left to that.

Redis: rdb.c rdbLoadObject; aof.c rewriteAppendOnlyFileRio (7.0.15).
"""

from __future__ import annotations

from aofnb.errors import RdbError
from aofnb.rdb import opcodes
from aofnb.rdb._records_cy import scores, strings
from aofnb.rdb._strings import length_at, width_of
from aofnb.rdb.decode import score_of
from aofnb.rdb.listpack import decode_intset, decode_listpack, decode_texts, texts, whole_number
from aofnb.store.snapshot import BATCH, score_text

__all__ = ["ONE_NODE", "VERBS", "command_at"]

_COUNTED = {opcodes.LIST: b"RPUSH", opcodes.SET: b"SADD", opcodes.HASH: b"HMSET", opcodes.ZSET_2: b"ZADD"}
_PACKED = {
    opcodes.SET_INTSET: b"SADD",
    opcodes.HASH_LISTPACK: b"HMSET",
    opcodes.ZSET_LISTPACK: b"ZADD",
    opcodes.LIST_QUICKLIST_2: b"RPUSH",
}
VERBS = {opcodes.STRING: b"SET", **_COUNTED, **_PACKED}
# A list of one node, which is a listpack.
ONE_NODE = b"\x01%c" % opcodes.NODE_PACKED


def command_at(data: bytes, at: int, argv: list[bytes], limits: tuple[int, int]) -> int:
    """Fill `argv`, which is empty, with the command that makes the key at data[at]; where that ends, or -1 for what is
    left to others. `limits` are settings: sorted sets up to that size, with members up to that long, are in the order
    of their scores.
    """
    kind = data[at]
    verb = VERBS.get(kind)
    if verb is None:
        return -1
    argv.append(verb)
    if kind == opcodes.STRING:
        at = strings(data, at + 1, 2, argv)
        return at if len(argv) == 3 else -1
    at = strings(data, at + 1, 1, argv)
    if len(argv) < 2:
        return -1
    try:
        at = _counted(kind, data, at, argv, limits) if kind in _COUNTED else _packed(kind, data, at, argv, limits)
    except RdbError:
        return -1
    parts = len(argv) - 2
    if parts == 0 or at < 0:
        return -1
    if verb == b"RPUSH":
        return at if parts <= BATCH else -1
    if verb == b"SADD":
        # Members that are all numbers are in the order of these, as those of an intset are.
        number = kind != opcodes.SET_INTSET and whole_number(argv[2]) is not None
        return at if parts <= BATCH and not number and len(set(argv[2:])) == parts else -1
    return at if parts <= 2 * BATCH and len(set(argv[2 + (verb == b"ZADD") :: 2])) == parts / 2 else -1


def _counted(kind: int, data: bytes, at: int, argv: list[bytes], limits: tuple[int, int]) -> int:
    """Add the elements that are counted at data[at]; where they end, or -1."""
    count = length_at(data, at, len(data))
    if not 1 <= count <= BATCH:
        return -1
    at += width_of(count)
    if kind == opcodes.ZSET_2:
        found: dict[bytes, float] = {}
        at, taken = scores(data, at, count, found)
        if taken < count or len(found) < count:
            return -1
        _add_scored([(score, member) for member, score in found.items()], argv, limits)
        return at
    parts = 2 * count if kind == opcodes.HASH else count
    at = strings(data, at, parts, argv)
    return at if len(argv) == 2 + parts else -1


def _packed(kind: int, data: bytes, at: int, argv: list[bytes], limits: tuple[int, int]) -> int:
    """Add the elements of the blob at data[at]; where it ends, or -1."""
    if kind == opcodes.LIST_QUICKLIST_2:
        if data[at : at + 2] != ONE_NODE:
            return -1
        at += 2
    found: list[bytes] = []
    at = strings(data, at, 1, found)
    if not found:
        return -1
    [blob] = found
    # Listpacks and intsets say at the same place how many there are.
    if int.from_bytes(blob[4:6], "little") > 2 * BATCH:
        return -1
    if kind == opcodes.SET_INTSET:
        argv += texts(decode_intset(blob))
    elif kind == opcodes.ZSET_LISTPACK:
        items = decode_listpack(blob)
        entries: list[tuple[float, bytes]] = []
        for score, member in zip(map(score_of, items[1::2]), texts(items[::2]), strict=False):
            if score is None:
                return -1
            entries.append((score, member))
        if len(items) % 2 or len(entries) > BATCH:
            return -1
        # However long its members are, it stays packed.
        _add_scored(entries, argv, (limits[0], len(blob)))
    else:
        argv += decode_texts(blob)
        if kind == opcodes.HASH_LISTPACK and len(argv) % 2:
            return -1
    return at


def _add_scored(entries: list[tuple[float, bytes]], argv: list[bytes], limits: tuple[int, int]) -> None:
    """Add the members of a sorted set, each behind its score."""
    if len(entries) <= limits[0] and all(len(member) <= limits[1] for _score, member in entries):
        entries.sort()
    for score, member in entries:
        argv += (score_text(score), member)
