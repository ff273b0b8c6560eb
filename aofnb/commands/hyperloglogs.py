"""HyperLogLogs: how many different elements were added, in 12 kB at most.

All are logged as typed. PFCOUNT of one key is a read that may log itself: it refreshes the cardinality that is
cached in the value.

Redis: hyperloglog.c pfaddCommand and following (7.0.15).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from aofnb.commands import messages
from aofnb.commands.client import Client
from aofnb.commands.registry import VERBATIM, command
from aofnb.errors import ReplyError
from aofnb.store import hyperloglog
from aofnb.store.hyperloglog import DENSE, REGISTERS, SPARSE, CorruptedError, HyperLogLog
from aofnb.store.keyspace import WRONG_TYPE

__all__: list[str] = []

NOT_A_HYPERLOGLOG = "WRONGTYPE Key is not a valid HyperLogLog string value."
CORRUPTED = "INVALIDOBJ Corrupted HLL object detected"


def _lookup(client: Client, key: bytes, *, editable: bool = False) -> HyperLogLog | None:
    """The HyperLogLog at `key` or None, for a reader; with `editable`, for a writer: changes to it are changes to
    the stored value.
    """
    value = client.db.lookup(key) if editable else client.db.read(key)
    if value is None:
        return None
    if not isinstance(value, bytes | bytearray):
        raise ReplyError(WRONG_TYPE)
    if not hyperloglog.is_hyperloglog(value):
        raise ReplyError(NOT_A_HYPERLOGLOG)
    raw = value if isinstance(value, bytearray) else bytearray(value)
    if editable and raw is not value:
        client.db.put(key, raw)
    return HyperLogLog(raw, client.server.config.hll_sparse_max_bytes)


def _create(client: Client, key: bytes) -> HyperLogLog:
    raw = hyperloglog.new()
    client.db.put(key, raw)
    return HyperLogLog(raw, client.server.config.hll_sparse_max_bytes)


@command("PFADD", arity=-2, flags="denyoom fast write", keys=(1, 1, 1), since="2.8.9")
def pfadd(client: Client, key: bytes, *elements: bytes) -> int:
    """Add elements to the HyperLogLog at `key`; 1 if its registers changed or it is new."""
    hll = _lookup(client, key, editable=True)
    updated = 0
    if hll is None:
        hll = _create(client, key)
        updated = 1
    try:
        updated += hyperloglog.add(hll, elements)
    except CorruptedError:
        raise ReplyError(CORRUPTED) from None
    if not updated:
        return 0
    hll.invalidate()
    client.changed(key, "pfadd", updated)
    return 1


# Declared readonly, as the server does, although it may write the cache and then logs itself.
@command("PFCOUNT", arity=-2, flags="readonly", keys=(1, -1, 1), propagate=VERBATIM, since="2.8.9")
def pfcount(client: Client, *keys: bytes) -> int:
    """Estimated number of different elements in the union of the HyperLogLogs at `keys`."""
    try:
        if len(keys) > 1:
            # One after the other: what is wrong with the first of them is told first.
            found = (hll for key in keys if (hll := _lookup(client, key)) is not None)
            return hyperloglog.cardinality(hyperloglog.merge(found))
        hll = _lookup(client, keys[0])
        if hll is None:
            return 0
        if hll.cached is not None:
            return hll.cached
        number = hyperloglog.cardinality(hll.registers())
    except CorruptedError:
        raise ReplyError(CORRUPTED) from None
    stored = _lookup(client, keys[0], editable=True)
    assert stored is not None
    stored.cache(number)
    client.changed(keys[0], "pfcount")
    return number


@command("PFMERGE", arity=-2, flags="denyoom write", keys=(1, -1, 1), since="2.8.9")
def pfmerge(client: Client, destination: bytes, *sources: bytes) -> str:
    """Make the HyperLogLog at `destination` the union of itself and those at `sources`."""
    found: list[HyperLogLog] = []

    def each() -> Iterator[HyperLogLog]:
        # One after the other: what is wrong with the first of them is told first.
        for key in (destination, *sources):
            if (hll := _lookup(client, key)) is not None:
                found.append(hll)
                yield hll

    try:
        merged = hyperloglog.merge(each())
        target = _lookup(client, destination, editable=True) or _create(client, destination)
        if any(hll.encoding == DENSE for hll in found):
            target.to_dense()
        for index, count in enumerate(merged):
            if count:
                target.offer(index, count)
    except CorruptedError:
        raise ReplyError(CORRUPTED) from None
    target.invalidate()
    # The server names the event of an addition.
    client.changed(destination, "pfadd")
    return "OK"


@command("PFDEBUG", arity=3, flags="admin denyoom write", keys=(2, 2, 1), since="2.8.9")
def pfdebug(client: Client, what: bytes, key: bytes) -> Any:
    """Look into a HyperLogLog: GETREG, DECODE, ENCODING; or convert it: TODENSE."""
    hll = _lookup(client, key, editable=True)
    if hll is None:
        raise ReplyError("ERR The specified key does not exist")
    word = what.upper()
    try:
        if word == b"GETREG":
            # Reading the registers of a sparse one leaves it dense, and that is logged.
            client.dirty += hll.to_dense()
            return list(hll.registers())
        if word == b"TODENSE":
            converted = hll.to_dense()
            client.dirty += converted
            return int(converted)
    except CorruptedError:
        raise ReplyError(CORRUPTED) from None
    if word == b"ENCODING":
        return "dense" if hll.encoding == DENSE else "sparse"
    if word == b"DECODE":
        if hll.encoding != SPARSE:
            raise ReplyError("ERR HLL encoding is not sparse")
        return " ".join(_decoded(hll)).encode()
    raise messages.error(f"ERR Unknown PFDEBUG subcommand '{messages.shown(what)}'")


def _decoded(hll: HyperLogLog) -> list[str]:
    """Each run in words: ``z:n`` and ``Z:n`` zeros in one and two bytes, ``v:value,n`` values."""
    return [f"v:{value},{run}" if value else f"{'z' if size == 1 else 'Z'}:{run}" for size, value, run in hll.opcodes()]


@command("PFSELFTEST", arity=1, flags="admin", since="2.8.9")
def pfselftest(client: Client) -> str:
    """Check the HyperLogLog code: registers keep what they are given, estimates are close, encodings agree.

    The server tries ten million elements; this tries two thousand, since each takes longer here.
    """
    chance = random.Random(0)
    dense = HyperLogLog(hyperloglog.new(), 0)
    dense.to_dense()
    wanted = [chance.randrange(1, 64) for _ in range(REGISTERS)]
    for index, count in enumerate(wanted):
        dense.offer(index, count)
    if list(dense.registers()) != wanted:
        raise ReplyError("ERR TESTFAILED a register did not keep its value")
    dense = HyperLogLog(hyperloglog.new(), 0)
    dense.to_dense()
    sparse = HyperLogLog(hyperloglog.new(), 1 << 20)
    checkpoints = {1, 10, 100, 1000, 2000}
    for added in range(1, 2001):
        element = b"%d" % chance.getrandbits(64)
        hyperloglog.add(dense, [element])
        hyperloglog.add(sparse, [element])
        if added not in checkpoints:
            continue
        if dense.registers() != sparse.registers():
            raise ReplyError("ERR TESTFAILED dense and sparse disagree")
        # 1.04 / sqrt(16384) is the standard error; six of them are not met by chance.
        error = abs(hyperloglog.cardinality(dense.registers()) - added)
        if error > 6 * 0.008125 * added + 1:
            raise ReplyError(f"ERR TESTFAILED Too big error. card:{added} abserr:{error}")
    return "OK"
