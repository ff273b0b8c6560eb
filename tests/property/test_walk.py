"""The kernels of forensics find in a chunk what the ways without them find."""

from __future__ import annotations

import importlib
import io
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.kernels import FORMS, kernel

from aofnb.forensics import columns
from aofnb.forensics.columns import RowBuilder, Selection
from aofnb.resp.encode import encode_command

scan = importlib.import_module("aofnb.forensics.scan")

words = st.one_of(st.binary(max_size=6), st.sampled_from([b"\r\n", b"*1\r\n$1\r\nx\r\n", b"#", b"SET", b"x" * 1100]))
pieces = st.one_of(
    st.lists(words, min_size=1, max_size=5).map(encode_command),
    st.sampled_from(
        [
            *(b"#TS:1700000000\r\n", b"#a\nb\r\n", b"#" + b"x" * 1100 + b"\r\n", b"#" + b"x" * 1020 + b"\r\n", b"#"),
            *(b"*1\n$1\nx\n", b"*01\r\n$1\r\nx\r\n", b"*0\r\n", b"*-1\r\n", b"*1\r\n$9\r\nx\r\n", b"*99999999999\r\n"),
            *(b"*2\r\n$1\r\n", b"$1\r\n", b"\r\n", b"\0", b"*", b"*1\r\n$1\r\nxyz"),
        ]
    ),
)


def scanned(data: bytes, chunk_bytes: int) -> tuple[list[Any], list[tuple[int, int]], list[Any]]:
    """Rows, times with the row they stand before, damage: however they were cut into tables."""
    rows: list[Any] = []
    times: list[tuple[int, int]] = []
    damage: list[Any] = []
    for each in scan.scan_file(io.BytesIO(data), chunk_bytes=chunk_bytes):
        if isinstance(each, scan.Damage):
            damage.append(each)
            continue
        times += [(len(rows) + at, second) for at, second in each.ts]
        spans = zip(each.offset.tolist(), each.nbytes.tolist(), each.lf.tolist(), strict=True)
        assert each.argvs(len(each)) == [each.argv(i) for i in range(len(each))]
        rows += [(each.argv(i), by_lines(each, i), *span) for i, span in enumerate(spans)]
    return rows, times, damage


def by_lines(table: Any, row: int) -> list[bytes]:
    """The arguments of a row as its lines give them."""
    ends, line = table.ends.tolist(), int(table.first[row])
    return [table.data[ends[at - 1] + 2 : ends[at]] for at in range(line + 2, line + 2 + 2 * int(table.argc[row]), 2)]


@pytest.mark.parametrize("form", FORMS)
@given(st.lists(pieces, max_size=10).map(b"".join), st.data(), st.sampled_from([1, 16, 1 << 20]))
def test_both_ways_find_the_same(form, data, draw, chunk_bytes):
    hot = kernel("aofnb.forensics._walk_cy", form)
    data = data[: draw.draw(st.integers(0, len(data)))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "_walk_cy", SimpleNamespace(COMPILED=True, skip=hot.skip, lines=hot.lines))
        ours = scanned(data, chunk_bytes)
        patch.setattr(scan, "_walk_cy", SimpleNamespace(COMPILED=False))
        assert ours == scanned(data, chunk_bytes)


@pytest.mark.parametrize("form", FORMS)
def test_the_smallest_records_fit_in_the_arrays(form):
    hot = kernel("aofnb.forensics._walk_cy", form)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "_walk_cy", SimpleNamespace(COMPILED=True, skip=hot.skip, lines=hot.lines))
        for data, rows in ((b"*1\r\n$0\r\n\r\n" * 50, 50), (b"#\r\n" * 50, 0), (encode_command([b""] * 400), 1)):
            [records] = scan.scan_file(io.BytesIO(data))
            assert (len(records), len(records.first)) == (rows, rows)


def test_more_annotations_than_are_taken_at_once_are_all_taken():
    count = 3 * scan._NOTES
    log = b"".join(b"#TS:%d\r\n*1\r\n$1\r\nx\r\n" % number for number in range(count))
    found = list(scan.scan_file(io.BytesIO(log)))
    assert [second for each in found for _, second in each.ts] == list(range(count))


COMMANDS = """
SET k v|set k v|SeT k v KEEPTTL|SELECT 3|SELECT 0|SELECT 40000|SELECT -1|SELECT x|SELECT 1 2|select 2|MULTI|EXEC|multi
DEL a b c|MSET a 1 b 2|MSET a 1 b|XGROUP CREATE s g 0|XGROUP|xgroup create s|XGROUP NONE x|CONFIG RESETSTAT
ZUNIONSTORE d 2 a b|ZUNIONSTORE d 9 a|EVAL script 2 a b|EVAL script x a|SORT a STORE b|FLUSHALL|INCR|PING|NOSUCH a b
json.set doc . 1|SORT_RO a|RESTORE-ASKING a 0 x|GEORADIUSBYMEMBER_RO k m 1 km|
""".replace("\n", "|").split("|")
rows = st.one_of(
    st.sampled_from([command.encode().split(b" ") for command in COMMANDS]),
    st.lists(words, min_size=1, max_size=5),
    st.sampled_from([[b"SET\0", b"k"], [b"\0SET", b"k"], [b"x" * 15], [b"x" * 16, b"k"], [b"SET", b"\xff\xfe", b"v"]]),
    st.just(b"#TS:1700000000\r\n"),
)
filters = st.sampled_from(
    [{}, {"cmd": ["SET", "XGROUP", "ZUNIONSTORE"]}, {"db": [0, 3]}, {"key": ["a*", "k"]}, {"key": "b", "db": 0}]
)
ALL_COLUMNS = [*columns.DEFAULT_COLUMNS, "verb", "keys", "args", "arg1", "arg3"]


def table(data: bytes, chunk_bytes: int, **selection: Any) -> tuple[list[dict[str, Any]], RowBuilder]:
    """Settled and open rows of what `data` holds, and who made them."""
    builder = RowBuilder(["x.aof"], Selection.of(ALL_COLUMNS, **selection), unknown_have_keys=selection == {})
    made = [
        builder.batch(each if isinstance(each, scan.Records) else each.as_records())
        for each in scan.scan_file(io.BytesIO(data), chunk_bytes=chunk_bytes)
    ]
    batches = [(batch, name) for each in made for name in ("settled", "open") if (batch := getattr(each, name))]
    found = [row | {"is": name} for batch, name in batches for row in batch.to_pylist()]
    assert all(batch.validate(full=True) is None for batch, _ in batches)
    assert pa.Table.from_batches([batch for batch, _ in batches], schema=builder.schema).num_rows == len(found)
    return found, builder


@pytest.mark.parametrize("form", FORMS)
@given(st.lists(rows, max_size=12), st.data(), st.sampled_from([40, 1 << 20]), filters)
def test_the_columns_of_the_kernel_are_those_without_it(form, log, draw, chunk_bytes, selection):
    hot = kernel("aofnb.forensics._columns_cy", form)
    data = b"".join(each if isinstance(each, bytes) else encode_command(each) for each in log)
    data = data[: draw.draw(st.sampled_from([len(data), max(len(data) - 3, 0)]))]
    with pytest.MonkeyPatch.context() as patch:
        names = ("packed", "names", "follow", "keys", "find", "find_one", "gather")
        kept = {name: getattr(hot, name) for name in names}
        patch.setattr(columns, "_columns_cy", SimpleNamespace(COMPILED=True, NAME_BYTES=hot.NAME_BYTES, **kept))
        ours, builder = table(data, chunk_bytes, **selection)
        patch.setattr(columns, "_columns_cy", SimpleNamespace(COMPILED=False, NAME_BYTES=hot.NAME_BYTES, **kept))
        theirs, other = table(data, chunk_bytes, **selection)
    assert ours == theirs
    assert builder.mark(0) == other.mark(0)
    assert (builder.in_multi, builder.highest_db, builder.escaped_keys) == (
        *(other.in_multi, other.highest_db, other.escaped_keys),
    )


@pytest.mark.parametrize("form", FORMS)
def test_more_spellings_than_are_kept_are_told_apart_all_the_same(form, monkeypatch):
    hot = kernel("aofnb.forensics._columns_cy", form)
    kept = {name: getattr(hot, name) for name in ("packed", "names", "follow", "keys", "find", "find_one", "gather")}
    monkeypatch.setattr(columns, "_columns_cy", SimpleNamespace(COMPILED=True, NAME_BYTES=hot.NAME_BYTES, **kept))
    monkeypatch.setattr(columns, "_SPELLINGS", 600)
    names = [f"CMD{number}" for number in range(700)]
    found, _ = table(b"".join(encode_command([name.encode()]) for name in names * 2), 1 << 20)
    assert [row["cmd"] for row in found] == names * 2
