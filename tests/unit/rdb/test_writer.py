"""Snapshots as they are written: progress, pieces, and the bytes that a server writes."""

from __future__ import annotations

import io
import random

from aofnb.rdb import base_aux, rdb_pieces, write_rdb
from aofnb.store.keyspace import Keyspace
from aofnb.store.list_value import ListValue
from aofnb.store.zset import SortedSet


def test_an_empty_keyspace_has_the_bytes_that_the_server_writes() -> None:
    ((keys, found),) = rdb_pieces(Keyspace(16, lambda: 0), aux=base_aux(0x6B005786, 0x1DBFC0))
    expected = (
        b"REDIS0010"
        b"\xfa\x09redis-ver\x067.0.15"
        b"\xfa\x0aredis-bits\xc0\x40"
        b"\xfa\x05ctime\xc2\x86\x57\x00\x6b"
        b"\xfa\x08used-mem\xc2\xc0\xbf\x1d\x00"
        b"\xfa\x08aof-base\xc0\x01"
        b"\xff"
    )
    assert (keys, found[:-8]) == (0, expected)


def test_progress_counts_bytes_and_keys() -> None:
    space = Keyspace(16, lambda: 0)
    for i in range(3000):
        space[i % 2].put(b"%d" % i, random.Random(i).randbytes(1000))
    told: list[tuple[int, int]] = []
    size = write_rdb(io.BytesIO(), space, progress=lambda *numbers: told.append(numbers))
    assert len(told) > 2
    assert told == sorted(told)
    assert told[-1] == (size, 3000)


def test_without_checksum_and_compression_there_is_neither() -> None:
    space = Keyspace(16, lambda: 0)
    space[0].put(b"k", b"a" * 50)
    ((_, found),) = rdb_pieces(space, checksum=False)
    assert found == b"REDIS0010\xfe\x00\xfb\x01\x00\x00\x01k\x32" + b"a" * 50 + b"\xff" + bytes(8)


def test_long_strings_are_compressed_if_asked_and_very_long_ones_never() -> None:
    space = Keyspace(16, lambda: 0)
    space[0].put(b"k", b"a" * 50)
    space[0].put(b"long", b"a" * 300_000)
    ((_, found),) = rdb_pieces(space, compressed=True)
    assert b"\xc3\x09\x32\x01aa\xe0\x25\x00\x01aa" in found
    assert b"a" * 300_000 in found


def test_a_list_in_many_pieces_counts_as_one_key() -> None:
    space = Keyspace(16, lambda: 0)
    space[0].put(b"l", ListValue([random.Random(i).randbytes(3000) for i in range(1000)]))
    counts = [keys for keys, _ in rdb_pieces(space)]
    assert len(counts) > 2
    assert (counts[0], counts[-1]) == (0, 1)


def test_a_snapshot_leaves_no_order_in_sorted_sets() -> None:
    """Each change of a large one would cost more from then on."""
    space = Keyspace(16, lambda: 0)
    scores = {b"m%d" % i: float(i * 7 % 1000) for i in range(1000)}
    space[0].put(b"z", value := SortedSet.of(scores.copy()))
    ((_, found),) = rdb_pieces(space)
    assert isinstance(value._state, bool)
    assert value.walk() == value.entries()
    value.entries()
    assert [piece for _, piece in rdb_pieces(space)] == [found]
