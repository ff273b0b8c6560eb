"""Runs of records: the kernel takes what entry by entry gives, in both forms, and what is damaged fails alike."""

from __future__ import annotations

import io
import random

import pytest
from support.kernels import FORMS, kernel

from aofnb.errors import RdbError
from aofnb.rdb import listpack, reader, source, streams, write_rdb
from aofnb.rdb.reader import RdbReader, load_rdb
from aofnb.store.hash_value import HashValue
from aofnb.store.keyspace import Keyspace
from aofnb.store.list_value import ListValue
from aofnb.store.set_value import SetValue
from aofnb.store.stream import Stream
from aofnb.store.values import Value
from aofnb.store.zset import SortedSet

KERNEL = "aofnb.rdb._records_cy"


def text(rng: random.Random) -> bytes:
    kind = rng.randrange(5)
    if kind == 0:
        return b"%d" % rng.choice((0, 7, -1, 127, -128, 128, 40_000, -(2**31), 2**31 - 1, 2**31, rng.randrange(10**9)))
    if kind == 1:
        return rng.randbytes(rng.choice((0, 1, 5, 62, 63, 64, 65, 300)))
    return b"again %d " % rng.randrange(9) * rng.choice((1, 3, 8, 20, 300))


def other(rng: random.Random) -> Value:
    """A list, set or sorted set of any form, or a stream with entries that share their fields or do not."""
    kind = rng.randrange(5)
    count = rng.choice((1, 2, 30, 600))
    if kind == 0:
        return ListValue([text(rng) for _ in range(count)])
    if kind == 1:
        return SetValue.of({text(rng) for _ in range(count)})
    if kind == 2:
        return SetValue.of({b"%d" % rng.randrange(10**6) for _ in range(count)})
    if kind == 3:
        return SortedSet.of({text(rng): rng.choice((0.0, 1.5, -3.0, float(n), float("inf"))) for n in range(count)})
    stream = Stream()
    for n in range(count):
        names = rng.choice(((b"a", b"b"), (b"a", b"b"), (b"c",)))
        items = tuple(part for name in names for part in (name, text(rng)))
        stream.append((n // 3 + 1, n), items, 4096, 100)
    return stream


def snapshot(seed: int, keys: int) -> bytes:
    """Strings and hashes of every form among all others, with deadlines, in two databases."""
    rng = random.Random(seed)
    space = Keyspace(16, lambda: 0)
    for number in range(keys):
        key = b"%d:%b" % (number, text(rng)) if rng.random() < 0.8 else b"%d" % number
        db = space[rng.choice((0, 3))]
        kind = rng.random()
        if kind < 0.5:
            db.put(key, text(rng))
        elif kind < 0.9:
            # With no room for a listpack it is written field by field.
            fields = {text(rng): text(rng) for _ in range(rng.choice((1, 2, 5, 40)))}
            db.put(key, HashValue.of(fields, *rng.choice(((512, 64), (0, 0)))))
        else:
            db.put(key, other(rng))
        if rng.random() < 0.3:
            db.set_deadline(key, rng.choice((0, 5, 2**40, -2)))
    out = io.BytesIO()
    write_rdb(out, space, compressed=seed % 2 == 0)
    return out.getvalue()


def loaded(data: bytes, check: bool = True) -> tuple[object, ...]:
    space = Keyspace(16, lambda: 0)
    try:
        found = load_rdb(io.BytesIO(data), space, verify_checksum=check)
    except RdbError as problem:
        return ("refused", problem.message, problem.offset, problem.opcode)
    out = io.BytesIO()
    write_rdb(out, space)
    encodings = [
        (key, value.encoding) for db in space for key in list(db._data) if isinstance(value := db.peek(key), HashValue)
    ]
    return ("loaded", found, out.getvalue(), encodings)


def entry_by_entry(data: bytes, monkeypatch: pytest.MonkeyPatch, check: bool = True) -> tuple[object, ...]:
    with monkeypatch.context() as patch:
        patch.setattr(RdbReader, "hand_over", lambda self, take_many: None)
        return loaded(data, check)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("piece", [1, 100, 256 << 10])
def test_runs_are_what_entries_are(form: str, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    original = kernel(KERNEL, form).records
    taken = []

    def records(data, at, keys, *more):
        stop = original(data, at, keys, *more)
        taken.append(len(keys))
        return stop

    monkeypatch.setattr(reader._records_cy, "records", records)
    for name in ("strings", "scores"):
        monkeypatch.setattr(reader._records_cy, name, getattr(kernel(KERNEL, form), name))
    monkeypatch.setattr(listpack, "elements", kernel("aofnb.rdb._listpack_cy", form).elements)
    monkeypatch.setattr(streams, "entries", kernel("aofnb.rdb._listpack_cy", form).entries)
    monkeypatch.setattr(source, "PIECE", piece)
    for seed in range(4):
        data = snapshot(seed, 120)
        found = loaded(data)
        assert found == entry_by_entry(data, monkeypatch)
        assert found[0] == "loaded"
    # Of 480 keys nine in ten could come in runs, if the pieces are not too small.
    assert sum(taken) > 300 or piece < 256 << 10


@pytest.mark.parametrize("form", FORMS)
def test_damage_is_named_alike(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("records", "strings", "scores"):
        monkeypatch.setattr(reader._records_cy, name, getattr(kernel(KERNEL, form), name))
    for name in ("elements", "entries"):
        hot = getattr(kernel("aofnb.rdb._listpack_cy", form), name)
        monkeypatch.setattr(listpack if name == "elements" else streams, name, hot)
    rng = random.Random(5)
    refused = 0
    for seed in range(400):
        data = bytearray(snapshot(seed % 8, 12))
        if rng.random() < 0.3:
            del data[rng.randrange(9, len(data)) :]
        else:
            data[rng.randrange(9, len(data))] = rng.choice((rng.randrange(256), 0, 0xC3, 0xFC, 4))
        found = loaded(bytes(data), check=False)
        assert found == entry_by_entry(bytes(data), monkeypatch, check=False)
        refused += found[0] == "refused"
    assert 100 < refused < 400


@pytest.mark.parametrize("form", FORMS)
def test_what_stops_a_run(form: str) -> None:
    records = kernel(KERNEL, form).records
    good = b"\x00\x01k\x01v"
    for bad in (
        b"\x00\x01l\xc3\x02\x03\x20\x00",  # a copy from before the beginning
        b"\x04\x01h\x02\x01f\x01v\x01f\x01w",  # a field twice
        b"\x04\x01h\x00",
        b"\x00\x01l\x80\x00\x00\x00\x01v",
        b"\x02\x01s\x02\x01a\x80\x00\x00\x00\x01b",  # a set with a member whose length is of a rare form
        b"\x05\x01z\x01\x01a\x00\x00\x00\x00\x00\x00\xf8",  # a score that is cut
        b"\x12\x01q\x01\x80\x01a",
        b"\x10\x01h\x02\x01",
        b"\xfc\x00\x00\x00",
        b"\xff",
    ):
        for size in range(len(bad) + 1):
            keys: list[bytes] = []
            assert records(
                good + bad[:size], 0, keys, [], {}, lambda fields, longest: fields, lambda kind, data: data
            ) == len(good)
            assert keys == [b"k"]


def test_a_key_that_comes_twice_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"REDIS0009" + b"\x00\x01a\x011" + b"\x00\x01k\x011" + b"\x00\x01k\x012" + b"\xff" + bytes(8)
    found = loaded(data)
    assert found[:3] == ("refused", "the key b'k' comes twice in database 0", 19)
    assert found == entry_by_entry(data, monkeypatch)
