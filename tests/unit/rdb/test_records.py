"""Runs of records: the kernel takes what entry by entry gives, in both forms, and what is damaged fails alike."""

from __future__ import annotations

import gc
import io
import random
from typing import Any

import pytest
from support.kernels import FORMS, kernel

from aofnb.errors import RdbError
from aofnb.rdb import listpack, reader, source, streams, write_rdb
from aofnb.rdb.reader import RdbReader, load_rdb
from aofnb.store import _table_cy
from aofnb.store._table_cy import Table
from aofnb.store.digest import keyspace_digest
from aofnb.store.hash_value import HashValue
from aofnb.store.keyspace import Keyspace
from aofnb.store.list_value import ListValue
from aofnb.store.set_value import SetValue
from aofnb.store.stream import ENTRIES_READ_UNKNOWN, Group, Stream
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


def loaded(data: bytes, check: bool = True, later: bool = False) -> tuple[object, ...]:
    space = Keyspace(16, lambda: 0)
    try:
        found = load_rdb(io.BytesIO(data), space, verify_checksum=check, later=later)
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
        patch.setattr(RdbReader, "hand_over", lambda self, *_how: None)
        return loaded(data, check)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("piece", [1, 100, 256 << 10])
def test_runs_are_what_entries_are(form: str, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    original = kernel(KERNEL, form).records
    taken = []

    def records(data, at, values, *more):
        before = len(values)
        stop = original(data, at, values, *more)
        taken.append(len(values) - before)
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
        assert found == loaded(data, later=True)
        assert found == entry_by_entry(data, monkeypatch)
        assert found[0] == "loaded"
    # However small the pieces are, a record is had as a whole where there is a kernel for it.
    assert sum(taken) > 300


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
            for later in (False, _table_cy.COMPILED):
                values: Table[Any] = Table()
                makers = (lambda fields, longest: fields, lambda kind, data: data)
                data = good + bad[:size]
                # What comes twice is met when the value is made.
                end = len(data) if later and data.endswith(b"\x01f\x01w") else len(good)
                stop, cut = records(data, 0, values, Table(), *makers, later)
                assert stop == end
                assert size < len(bad) or cut == (stop == len(data) or bad[0] in b"\x05\x10\xfc")
                assert [*values][:2] == ([b"k"] if end == len(good) else [b"k", b"h"])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "record",
    [
        b"\xfc" + bytes(8) + b"\x04\x01h\x01\x01f\xc0\x07",
        b"\x00\xc1\x00\x01" + b"\x40\x50" + b"v" * 80,
        b"\x00\x01l" + b"\x80\x00\x00\x50\x00" + b"v" * 0x5000,
        b"\x01\x01l" + b"\x80\x00\x00\x50\x00" + b"\x01v" * 0x5000,
        b"\x05\x01z\x01\x01m" + bytes(8),
        b"\x12\x01q\x01\x02" + b"\x0b\x0b\x00\x00\x00\x01\x00\x81a\x02\xff\x00",
    ],
)
@pytest.mark.parametrize("later", [False, True])
def test_a_record_that_is_cut_is_known_as_such(record: bytes, form: str, later: bool) -> None:
    records = kernel(KERNEL, form).records
    good = b"\x00\x01k\x01v"
    makers = (lambda fields, longest: fields, lambda kind, data: data)
    later = later and _table_cy.COMPILED
    ends = [*range(1, min(len(record), 200)), *range(200, len(record), 997)]
    for end in ends:
        assert records(good + record[:end], 0, Table(), Table(), *makers, later) == (len(good), True)
    values: Table[Any] = Table()
    assert records(good + record, 0, values, Table(), *makers, later) == (len(good + record), True)
    assert len(values) == 2


def busy_stream() -> Stream:
    """With groups, consumers, and what they have not acknowledged."""
    stream = Stream()
    for n in range(300):
        stream.append((n // 3 + 1, n), (b"f", b"%d" % n), 4096, 100)
    for name, many in ((b"g", 100), (b"h", 0)):
        group = stream.groups[name] = Group((3, 4), ENTRIES_READ_UNKNOWN if many else 2)
        for number in range(3 if many else 0):
            consumer = group.create_consumer(b"c%d" % number, 1_790_000_000_000)
            assert consumer is not None
            for n in range(many):
                group.assign((n // 3 + 1, 3 * n + number), consumer, 1_790_000_000_000 + n, n + 1)
    return stream


@pytest.mark.parametrize("form", FORMS)
def test_a_stream_is_taken_where_it_is_whole(form: str) -> None:
    records = kernel(KERNEL, form).records
    space = Keyspace(1, lambda: 0)
    space[0].put(b"x", busy_stream())
    out = io.BytesIO()
    write_rdb(out, space)
    data = out.getvalue()
    begin = data.index(b"\x13\x01x")
    makers = (lambda fields, longest: fields, lambda kind, data: data)
    for size in range(begin, len(data) + 1):
        values: Table[Any] = Table()
        end, cut = records(data[:size], begin, values, Table(), *makers, True)
        # Behind it are the end mark and a checksum.
        assert (end, len(values)) in ((begin, 0), (len(data) - 9, 1))
        assert (end == begin) == (size < len(data) - 9)
        assert cut == (size <= len(data) - 9)


@pytest.mark.skipif(not _table_cy.COMPILED, reason="a dict gives out what was put in")
@pytest.mark.parametrize("form", FORMS)
def test_a_value_is_made_when_it_is_asked_for(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader._records_cy, "records", kernel(KERNEL, form).records)
    made = []
    make = reader._value_of
    monkeypatch.setattr(reader, "_value_of", lambda *how: made.append(1) or make(*how))
    kept = {
        b"h": HashValue.of({b"f": b"v" * 80}),
        b"l": ListValue([b"a", b"7"]),
        b"s": SetValue.of([b"a", b"b"]),
        b"z": SortedSet.of({b"m" * 65: 1.5}),
        # More than fits into a piece of the file, or into a length of two bytes.
        b"many": SetValue.of({b"member %011d" % number for number in range(20_000)}),
    }
    space, copy = Keyspace(1, lambda: 0), Keyspace(1, lambda: 0)
    for key, value in kept.items():
        space[0].put(key, value)
    space[0].put(b"x", busy_stream())
    out = io.BytesIO()
    write_rdb(out, space)
    out.seek(0)
    load_rdb(out, copy, later=True)
    # In a list of nodes, a value of another form is made at once.
    assert len(made) == 1
    assert not [each for each in gc.get_objects() if type(each) is _table_cy.Later]
    assert list(copy[0].keys()) == list(space[0].keys())
    for key in (b"h", b"s", b"z"):
        first = copy[0].lookup(key)
        assert type(first) is type(kept[key])
        assert list(first) == list(kept[key])
        assert copy[0].lookup(key) is first
    assert len(made) == 4
    assert copy[0].lookup(b"x").groups.keys() == {b"g", b"h"}
    assert len(made) == 5
    assert len(copy[0].lookup(b"many")) == 20_000
    assert len(made) == 6
    assert keyspace_digest(copy) == keyspace_digest(space)
    assert copy[0].delete(b"h")
    assert len(copy[0]) == 5


@pytest.mark.skipif(not _table_cy.COMPILED, reason="a dict gives out what was put in")
def test_a_value_that_cannot_be_made_is_an_error_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"REDIS0010" + b"\x02\x01s\x02\x01a\x01a" + b"\xff" + bytes(8)
    space = Keyspace(1, lambda: 0)
    load_rdb(io.BytesIO(data), space, later=True)
    for _ in range(2):
        with pytest.raises(RdbError, match="member twice"):
            space[0].lookup(b"s")
    assert len(space[0]) == 1


def test_a_hint_of_more_keys_than_there_can_be_takes_no_memory() -> None:
    huge = b"\x81" + b"\x7f" * 8
    data = b"REDIS0010\xfe\x00\xfb" + huge + huge + b"\x00\x01a\x011" + b"\xff" + bytes(8)
    space = Keyspace(1, lambda: 0)
    load_rdb(io.BytesIO(data), space)
    assert space[0].lookup(b"a") == b"1"


def test_a_key_that_comes_twice_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"REDIS0009" + b"\x00\x01a\x011" + b"\x00\x01k\x011" + b"\x00\x01k\x012" + b"\xff" + bytes(8)
    found = loaded(data)
    assert found[:3] == ("refused", "the key b'k' comes twice in database 0", 19)
    assert found == entry_by_entry(data, monkeypatch)
