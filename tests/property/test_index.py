"""The index that the kernel makes is the one that rows make, whatever the log is and however it is cut into chunks."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.kernels import FORMS, kernel
from support.samples import sample

import aofnb
from aofnb.errors import AofError, AofTruncatedError
from aofnb.forensics import rows as module
from aofnb.forensics.index import Index
from aofnb.forensics.parts import find_parts
from aofnb.forensics.reading import OnBad
from aofnb.resp.encode import encode_command

COMMANDS = """
SET k v|MULTI|EXEC|mUlTi|eXeC|MULTI x|EXEC x|FLUSHALL|fLuShAlL|FLUSHALL ASYNC|FLUSHDB|flushdb|SWAPDB 0 1|swapdb
SWAPDX 0 1|FLUSHALX|SELECX 3|DISCARD|XGROUP CREATE s g 0|DEL a|NOSUCH FLUSHALL
""".replace("\n", "|").split("|")
SELECTS = ["3", "17", "-1", "32767", "32768", "99999", "123456", "00002", "000003", "1x", "", "1 2"]
plain = st.one_of(
    st.sampled_from([text.encode().split(b" ") for text in COMMANDS if text]),
    st.sampled_from([b"SELECT", b"select", b"SeLeCt"]).flatmap(
        lambda name: st.sampled_from([[name], *([name, *number.encode().split(b" ")] for number in SELECTS)])
    ),
)
odd = st.sampled_from(
    [
        [b"FLUSHALL NOW"],
        [b"flu\xc5\xbfhall"],
        [b"\0LUSHALL"],
        [b"6XEC"],
        [b""],
        [b"SET", b"k", b"v" * 200],
        [b"x" * 400],
    ]
)
notes = st.sampled_from(
    [
        *(b"#TS:7\r\n", b"#TS:1700000000\r\n", b"#TS:253402300799\r\n", b"#TS:253402300800\r\n", b"#TS:\r\n"),
        *(b"#TS:1x\r\n", b"#TS:0000000000001\r\n", b"#ts:1\r\n", b"#\r\n", b"#a\nb\r\n", b"#" + b"x" * 1021 + b"\r\n"),
    ]
)
forms = st.sampled_from(
    [b"*01\r\n$06\r\nFLUSHALL\r\n", b"*02\r\n$0006\r\nSELECT\r\n$01\r\n5\r\n", b"*1\r\n$08\r\nflushall\r\n"]
)
lost = st.sampled_from(
    [b"*1\n$5\nMULTI\n", b"*2\n$6\nSELECT\n$1\n4\n", b"*1\r\n$8\r\nFLUSHALL\n", b"*0\r\n", b"x", b"*1\r\n$2\r\n"]
)
text = st.lists(st.one_of(plain.map(encode_command), notes), max_size=6).map(b"".join)
# A value that is a log, whole or cut anywhere.
nested = st.builds(
    lambda text, begin, end: encode_command([b"SET", b"k", text[begin : len(text) - end]]),
    text,
    st.integers(0, 9),
    st.integers(0, 9),
)
pieces = st.one_of(plain.map(encode_command), plain.map(encode_command), odd.map(encode_command), notes, forms, nested)
logs = st.lists(st.one_of(pieces, pieces, pieces, pieces, lost), max_size=14).map(b"".join)


# A log that may be cut, in how large pieces it is read, how many bytes are between two marks, and what damage does.
ways_to_read = given(
    log=logs,
    cut=st.integers(0, 3),
    chunk_bytes=st.sampled_from([1, 7, 40, 300, 1 << 20]),
    mark_bytes=st.sampled_from([1, 60, 4 << 20]),
    on_bad=st.sampled_from(["truncate", "error", "resync"]),
)


def indexed(path: Path, on_bad: OnBad) -> Index | tuple[Any, ...]:
    try:
        return module.build_index(find_parts(path)[1], on_bad)
    except AofError as problem:
        return type(problem), str(problem)


@pytest.mark.parametrize("form", FORMS)
@ways_to_read
@example(
    log=b"#TS:9\r\n" + encode_command([b"MULTI"]) + encode_command([b"FLUSHALL"]) * 3,
    cut=0,
    chunk_bytes=40,
    mark_bytes=1,
    on_bad="error",
)
@example(
    log=encode_command([b"FLUSHALL"]) * 9 + encode_command([b"SET", b"k", b"x" * 500]),
    cut=0,
    chunk_bytes=1 << 20,
    mark_bytes=1,
    on_bad="truncate",
)
def test_both_ways_make_the_same_index(form, tmp_path, log, cut, chunk_bytes, mark_bytes, on_bad):
    path = tmp_path / "x.aof"
    path.write_bytes(log[: len(log) - cut])
    hot = kernel("aofnb.forensics._walk_cy", form)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MARK_BYTES", mark_bytes)
        patch.setattr(module, "_FLUSHES", 3)
        patch.setattr(module, "scan_file", partial(module.scan_file, chunk_bytes=chunk_bytes))
        patch.setattr(module, "_walk_cy", SimpleNamespace(COMPILED=True, survey=hot.survey))
        ours = indexed(path, on_bad)
        patch.setattr(module, "_walk_cy", SimpleNamespace(COMPILED=False))
        assert ours == indexed(path, on_bad)


@ways_to_read
def test_whoever_reads_everything_makes_the_index_on_the_way(tmp_path, log, cut, chunk_bytes, mark_bytes, on_bad):
    path = tmp_path / "x.aof"
    path.write_bytes(log[: len(log) - cut])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MARK_BYTES", mark_bytes)
        patch.setattr(module, "_FLUSHES", 3)
        patch.setattr(module, "scan_file", partial(module.scan_file, chunk_bytes=chunk_bytes))
        patch.setattr(module, "_walk_cy", SimpleNamespace(COMPILED=False))
        expected = indexed(path, "resync" if on_bad == "resync" else "truncate")
        patch.setattr("aofnb.forensics.log.build_index", None)
        for read in (
            lambda log: log.postings(),
            lambda log: log.times(),
            lambda log: list(log.batches(columns=["cmd"], cmd="DEL")),
        ):
            scanned = aofnb.scan(path, on_bad=on_bad, cache_dir=False)
            try:
                read(scanned)
            except AofError:
                assert on_bad == "error"
                continue
            assert scanned.index() == expected


def test_who_reads_a_part_makes_no_index(tmp_path, monkeypatch):
    (tmp_path / "x.aof").write_bytes(encode_command([b"SET", b"k", b"v"]) * 300)
    monkeypatch.setattr(module, "scan_file", partial(module.scan_file, chunk_bytes=100))
    log = aofnb.scan(tmp_path / "x.aof", cache_dir=tmp_path / "cache")
    assert len(log.to_pandas(nrows=5, columns=["key", "args"])) == 5
    assert len(log.to_pandas(start=5, columns=["key", "args"])) == 295
    assert log.index().rows == len(log) == 300


def test_what_was_learnt_on_the_way_is_kept(tmp_path, monkeypatch):
    (tmp_path / "x.aof").write_bytes(encode_command([b"SET", b"k", b"v"]) * 300)
    aofnb.scan(tmp_path / "x.aof", cache_dir=tmp_path / "cache").triage()
    monkeypatch.setattr("aofnb.forensics.log.build_index", None)
    assert aofnb.scan(tmp_path / "x.aof", cache_dir=tmp_path / "cache").index().rows == 300


def test_a_log_whose_commands_become_smaller_is_cut_at_the_same_places(tmp_path, monkeypatch):
    """Where more commands and annotations come than the size of those before lets expect."""
    log = encode_command([b"SET", b"k", b"x" * 1900]) * 40 + (encode_command([b"PING"]) + b"#TS:5\r\n") * 20_000
    (tmp_path / "x.aof").write_bytes(log)
    monkeypatch.setattr(module, "_MARK_BYTES", 1)
    monkeypatch.setattr(module, "scan_file", partial(module.scan_file, chunk_bytes=1 << 16))
    ours = indexed(tmp_path / "x.aof", "error")
    monkeypatch.setattr(module, "_walk_cy", SimpleNamespace(COMPILED=False))
    assert ours == indexed(tmp_path / "x.aof", "error")


@pytest.mark.parametrize(
    "name", ["01-rdb-base-incr", "06-old-single-rdb-preamble", "08-manifest-history-two-incr-quoted"]
)
def test_snapshots_and_several_files_are_indexed_alike(name, monkeypatch):
    monkeypatch.setattr(module, "_MARK_BYTES", 1)
    monkeypatch.setattr(module, "scan_file", partial(module.scan_file, chunk_bytes=100))
    ours = indexed(sample(name) / "data", "truncate")
    monkeypatch.setattr(module, "_walk_cy", SimpleNamespace(COMPILED=False))
    expected = indexed(sample(name) / "data", "truncate")
    assert ours == expected
    log = aofnb.scan(sample(name) / "data", cache_dir=False)
    log.postings()
    monkeypatch.setattr("aofnb.forensics.log.build_index", None)
    assert log.index() == expected


def test_counting_stops_where_reading_would(tmp_path):
    """A log that ends inside a transaction has no length, unless the caller takes what is there."""
    (tmp_path / "x.aof").write_bytes(encode_command([b"SET", b"k", b"v"]) + encode_command([b"MULTI"]))
    with pytest.raises(AofTruncatedError, match="MULTI has no EXEC"):
        len(aofnb.scan(tmp_path / "x.aof", cache_dir=False))
    assert len(aofnb.scan(tmp_path / "x.aof", on_bad="truncate", cache_dir=False)) == 2
