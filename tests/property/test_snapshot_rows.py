"""The rows of a snapshot are the same whoever makes them: the kernel in both forms, or entry by entry."""

from __future__ import annotations

import io
import math
import struct
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.kernels import FORMS, kernel
from support.snapshots import RDB
from support.values import int64s, keyspace, keyspaces, scores, texts_

from aofnb.errors import RdbError
from aofnb.forensics import snapshot
from aofnb.rdb import opcodes, source, write_rdb
from aofnb.rdb.listpack import encode_intset, encode_listpack
from aofnb.rdb.primitives import length, string

# Few, so that some come twice.
words = st.sampled_from(
    [b"", b"a", b"b", b"k", b"7", b"-7", b"07", b"70000", b"9" * 19, b"a" * 64, b"a" * 65, b"ab" * 40, b"12" * 20]
)
items = words | words | texts_
# As servers write them, and with a length that could be shorter.
strings = st.one_of(
    items.map(string),
    items.map(lambda text: string(text, False)),
    items.map(lambda text: length(len(text)) + text),
    items.map(lambda text: b"\x80%b%b" % (struct.pack(">I", len(text)), text)),
)
numerals = st.integers(0, 700).map(lambda count: [b"%d" % (n * 7919 % 701) for n in range(count)])
few_numerals = st.integers(1, 6).map(lambda count: [b"%d" % (n * 3 % 7) for n in range(count)])
many = st.one_of(
    st.lists(items, max_size=8), st.lists(words, max_size=4), st.lists(texts_, unique=True), few_numerals, numerals
)
doubles = st.one_of(scores, st.just(math.nan), st.integers(-3, 3).map(float)).map(struct.Struct("<d").pack)
scored = st.dictionaries(words | texts_, st.integers(-3, 3), max_size=140)


def of_pairs(found: dict[bytes, Any]) -> list[bytes]:
    return [part if isinstance(part, bytes) else b"%d" % part for pair in found.items() for part in pair]


def counted(each: st.SearchStrategy[bytes], strides: int = 1) -> st.SearchStrategy[bytes]:
    return st.lists(each, max_size=9).map(lambda found: length(len(found) // strides) + b"".join(found))


def plain(found: list[bytes], strides: int = 1) -> bytes:
    return length(len(found) // strides) + b"".join(map(string, found))


def packed(found: list[bytes]) -> bytes:
    return string(encode_listpack(found))


def even(found: list[bytes]) -> list[bytes]:
    return found[: len(found) // 2 * 2]


VALUES = {
    opcodes.STRING: strings,
    opcodes.LIST: counted(strings) | many.map(plain),
    opcodes.SET: counted(strings) | many.map(plain),
    opcodes.HASH: counted(strings, 2)
    | many.map(even).map(lambda found: plain(found, 2))
    | scored.map(of_pairs).map(lambda found: plain(found, 2)),
    opcodes.ZSET: counted(st.builds(lambda member: member + b"\x011", strings)),
    opcodes.ZSET_2: counted(st.builds(bytes.__add__, strings, doubles))
    | st.dictionaries(words | texts_, doubles, max_size=140).map(
        lambda found: length(len(found)) + b"".join(string(member) + score for member, score in found.items())
    ),
    opcodes.SET_INTSET: st.sets(int64s, min_size=1).map(sorted).map(encode_intset).map(string),
    opcodes.SET_LISTPACK: many.map(packed),
    opcodes.HASH_LISTPACK: many.map(packed) | many.map(even).map(packed) | scored.map(of_pairs).map(packed),
    opcodes.ZSET_LISTPACK: many.map(packed)
    | scored.map(of_pairs).map(packed)
    | st.dictionaries(words, scores.map(lambda score: b"%.17g" % score)).map(of_pairs).map(packed),
    opcodes.LIST_QUICKLIST_2: counted(
        st.one_of(strings.map(lambda text: b"\x01" + text), many.map(lambda found: b"\x02" + packed(found)))
    ),
}
keys = st.sampled_from(sorted(VALUES)).flatmap(
    lambda kind: st.builds(lambda key, value: b"%c%b%b" % (kind, key, value), strings, VALUES[kind])
)
others = st.one_of(
    (st.just(-1) | int64s).map(lambda when: b"\xfc" + struct.pack("<q", when)),
    st.integers(-(2**31), 2**31 - 1).map(lambda when: b"\xfd" + struct.pack("<i", when)),
    st.integers(0, 2**64 - 1).map(lambda idle: b"\xf8" + length(idle)),
    st.integers(0, 255).map(lambda freq: b"\xf9%c" % freq),
    st.sampled_from([b"\xfe\x00", b"\xfe\x02", b"\xfb\x05\x00", b"\xfa\x01a\x01b", b"\xf5\x04code"]),
)


def written(content: Any, compressed: bool) -> bytes:
    out = io.BytesIO()
    write_rdb(out, keyspace(content), compressed=compressed)
    return out.getvalue()


snapshots = st.builds(
    # What takes runs begins behind the first key.
    lambda head, body, checksum: head + b"\x00\x01s\x01v" + b"".join(body) + b"\xff" + checksum,
    st.sampled_from([b"REDIS0009", b"REDIS0010", b"REDIS0011", b"REDIS0012", b"VALKEY080"]),
    st.integers(1, 20).flatmap(lambda count: st.lists(keys | keys | others, min_size=count, max_size=count)),
    st.sampled_from([bytes(8), b"checksum"]),
) | st.builds(written, keyspaces, st.booleans())


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(snapshots))
    for _change in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    if draw(st.booleans()):
        data += b"*1\r\n$4\r\nPING\r\n"
    cut = draw(st.sampled_from([len(data), len(data), draw(st.integers(9, max(len(data), 9)))]))
    return bytes(data[:cut])


LIMITS = 128, 64


class EntryByEntry(snapshot._PlainTable):
    def take(self, data: bytes, at: int, base: int) -> tuple[int, bool]:
        return at, False


def in_kernel(form: str) -> Any:
    rows = kernel("aofnb.forensics._keys_cy", form).KeyRows
    made = type("Table", (rows,), {"take_records": snapshot._KernelTable.take_records})
    return lambda reader: made(reader.version, snapshot._TABLE_ROWS, snapshot._TABLE_BYTES, 512, *LIMITS)


def rows_of(data: bytes, table: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, ...]:
    """All that is found, as it compares."""
    found: list[Any] = []
    with monkeypatch.context() as patch:
        patch.setattr(snapshot, "_new_table", table)
        part = SimpleNamespace(compression=None, size=len(data), path="x.rdb")
        rows = snapshot.SnapshotRows(io.BytesIO(data), part)  # type: ignore[arg-type]
        try:
            for each in rows.tables():
                arrays = (each.start, each.heads, each.argc, each.offset, each.nbytes, each.lf, each.ends, each.first)
                found.append((each.data, each.begin, each.snapshot_end, each.ts, [array.tolist() for array in arrays]))
        except RdbError as problem:
            found.append((problem.message, problem.offset, problem.opcode))
    return (*found, rows.end, rows.notes)


@given(
    data=damaged(),
    piece=st.sampled_from([1, 2, 30, 1000, 256 << 10]),
    table_rows=st.integers(1, 90),
    table_bytes=st.sampled_from([1, 200, 4 << 20]),
    few=st.sampled_from([0, 0, 2, 40]),
)
def test_all_give_the_same_tables(data, piece, table_rows, table_bytes, few, monkeypatch):
    monkeypatch.setattr(source, "PIECE", piece)
    monkeypatch.setattr(snapshot, "_TABLE_ROWS", table_rows)
    monkeypatch.setattr(snapshot, "_TABLE_BYTES", table_bytes)
    monkeypatch.setattr(snapshot, "_FEW", few)
    expected = rows_of(data, lambda reader: EntryByEntry(LIMITS), monkeypatch)
    assert rows_of(data, lambda reader: snapshot._PlainTable(LIMITS), monkeypatch) == expected
    for form in FORMS:
        if form == "python" or snapshot.COMPILED:
            assert rows_of(data, in_kernel(form), monkeypatch) == expected


@pytest.mark.parametrize("form", FORMS)
def test_the_samples_give_the_same_tables(form, monkeypatch):
    table = in_kernel(form)
    for path in sorted(RDB.rglob("*.rdb")):
        data = path.read_bytes()
        try:
            expected = rows_of(data, lambda reader: EntryByEntry(LIMITS), monkeypatch)
        except RdbError:
            # It is no snapshot from its beginning on.
            continue
        assert rows_of(data, table, monkeypatch) == expected, path.name
        assert rows_of(data, lambda reader: snapshot._PlainTable(LIMITS), monkeypatch) == expected, path.name


def key(kind: int, value: bytes) -> bytes:
    return b"%c\x01k%b" % (kind, value)


RARE = {
    "numbers out of order": key(opcodes.SET, plain([b"3", b"1", b"2"])),
    "packed numbers out of order": key(opcodes.SET_LISTPACK, packed([b"3", b"1", b"2"])),
    "too long for the order of scores": key(
        opcodes.ZSET_2, b"\x02" + b"".join(string(each * 65) + struct.pack("<d", 1) for each in (b"b", b"a"))
    ),
    "long, and in the order of scores": key(
        opcodes.ZSET_2, b"\x02" + b"".join(string(each * 64) + struct.pack("<d", 1) for each in (b"b", b"a"))
    ),
    "a member twice": key(opcodes.ZSET_LISTPACK, packed([b"a", b"1", b"a", b"2"])),
    "a packed field twice": key(opcodes.HASH_LISTPACK, packed([b"a", b"1", b"a", b"2"])),
    "a packed hash whose key is compressed": b"%c%b%b"
    % (
        opcodes.HASH_LISTPACK,
        string(b"k" * 60),
        packed([b"a", b"-4000", b"b", b"40000", b"c", b"-9000000", b"d", b"7"]),
    ),
    "a wrong size backwards": key(opcodes.HASH_LISTPACK, packed([b"a", b"b"]).replace(b"\x81a\x02", b"\x81a\x03")),
    "a field twice": key(opcodes.HASH, plain([b"a", b"1", b"a", b"2"], 2)),
}


@pytest.mark.parametrize("rare", RARE)
def test_what_is_rare_gives_the_same_tables(rare, monkeypatch):
    monkeypatch.setattr(snapshot, "_FEW", 0)
    data = b"REDIS0011\x00\x01s\x01v\x00\x01t\x01v" + RARE[rare] + b"\xff" + bytes(8)
    expected = rows_of(data, lambda reader: EntryByEntry(LIMITS), monkeypatch)
    assert rows_of(data, lambda reader: snapshot._PlainTable(LIMITS), monkeypatch) == expected
    for form in FORMS:
        if form == "python" or snapshot.COMPILED:
            assert rows_of(data, in_kernel(form), monkeypatch) == expected
