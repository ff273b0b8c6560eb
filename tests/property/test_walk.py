"""The kernel that follows the headers of a chunk finds what the way without it finds."""

from __future__ import annotations

import importlib
import io
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.kernels import FORMS, kernel

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
        rows += [(each.argv(i), *span) for i, span in enumerate(spans)]
    return rows, times, damage


@pytest.mark.parametrize("form", FORMS)
@given(st.lists(pieces, max_size=10).map(b"".join), st.data(), st.sampled_from([1, 16, 1 << 20]))
def test_both_ways_find_the_same(form, data, draw, chunk_bytes):
    hot = kernel("aofnb.forensics._walk_cy", form)
    data = data[: draw.draw(st.integers(0, len(data)))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "_walk_cy", SimpleNamespace(COMPILED=True, walk=hot.walk))
        ours = scanned(data, chunk_bytes)
        patch.setattr(scan, "_walk_cy", SimpleNamespace(COMPILED=False))
        assert ours == scanned(data, chunk_bytes)


@pytest.mark.parametrize("form", FORMS)
def test_the_smallest_records_fit_in_the_arrays(form):
    hot = kernel("aofnb.forensics._walk_cy", form)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "_walk_cy", SimpleNamespace(COMPILED=True, walk=hot.walk))
        for data, rows in ((b"*1\r\n$0\r\n\r\n" * 50, 50), (b"#\r\n" * 50, 0), (encode_command([b""] * 400), 1)):
            [records] = scan.scan_file(io.BytesIO(data))
            assert len(records) == rows
