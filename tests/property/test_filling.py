"""A frame that the kernel fills is the one that batches make, whatever the log is and however it is cut into chunks."""

from __future__ import annotations

import gzip
import random
import threading
from functools import partial
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.kernels import FORMS, kernel
from support.samples import sample

import aofnb
from aofnb.errors import AofError
from aofnb.forensics import columns, filling, frame, rows
from aofnb.resp.encode import encode_command

COMMANDS = """
SET k v|set k v|SeT kk v KEEPTTL|SELECT 3|select 0|SELECT 32768|SELECT -1|SELECT 1 2|MULTI|EXEC|multi|eXeC|DEL a b c|DEL
MSET a 1 b 2|MSET a 1 b|XGROUP CREATE s g 0|XGROUP|xgroup create s|XGROUP NONE x|CONFIG RESETSTAT|ZUNIONSTORE d 2 a b
ZUNIONSTORE d 9 a|EVAL script 2 a b|EVAL script x a|EVAL|SORT a STORE b|FLUSHALL|INCR|PING|NOSUCH a b|json.set doc . 1
GEORADIUSBYMEMBER_RO k m 1 km|RESTORE-ASKING a 0 x|INCR a-key-of-more-than-sixteen-bytes
""".replace("\n", "|").split("|")
plain = st.sampled_from([text.encode().split(b" ") for text in COMMANDS if text])
odd = st.sampled_from(
    [
        *([b""], [b"x" * 15], [b"x" * 16, b"k"], [b"SET", b"\xff\xfe", b"v"], [b"SET", "\u00fc".encode(), b"v"]),
        *(
            [b"SET", b"", b"v"],
            [b"SET", b"k", b"v" * 200],
            [b"SET\0", b"k"],
            [b"flu\xc5\xbfhall"],
            [b"DEL"] + [b"k"] * 40,
        ),
    ]
)
notes = st.sampled_from([b"#TS:7\r\n", b"#TS:1700000000\r\n", b"#TS:253402300800\r\n", b"#TS:1x\r\n", b"#a\nb\r\n"])
forms = st.sampled_from(
    [b"*01\r\n$06\r\nFLUSHALL\r\n", b"*02\r\n$0006\r\nSELECT\r\n$01\r\n5\r\n", b"*1\r\n$04\r\nexec\r\n"]
)
lost = st.sampled_from(
    [b"*1\n$5\nMULTI\n", b"*2\n$6\nSELECT\n$1\n4\n", b"*0\r\n", b"x", b"*1\r\n$2\r\n", b"*3\r\n$3\r\nSET\r\n"]
)
nested = st.lists(plain, max_size=3).map(
    lambda argvs: encode_command([b"SET", b"k", b"".join(map(encode_command, argvs))])
)
pieces = st.one_of(plain.map(encode_command), plain.map(encode_command), odd.map(encode_command), notes, forms, nested)
logs = st.lists(st.one_of(pieces, pieces, pieces, pieces, lost), max_size=14).map(b"".join)
wanted = st.one_of(
    st.none(),
    st.lists(st.sampled_from(columns.DEFAULT_COLUMNS), unique=True),
    st.just(["key"]),
    st.just(["nkeys", "cmd"]),
)


def read(path: Any, options: dict[str, Any]) -> pd.DataFrame | tuple[Any, ...]:
    try:
        return aofnb.read_aof(path, **options)
    except AofError as problem:
        return type(problem), problem.offset


def is_same(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, tuple):
        assert ours == theirs
        return
    pd.testing.assert_frame_equal(ours, theirs)
    for made in (ours, theirs):
        # It shows what follows, as far as that was read.
        made.attrs["aof"]["damage"] = [each | {"reason": None} for each in made.attrs["aof"]["damage"]]
    assert ours.attrs == theirs.attrs


@pytest.mark.parametrize("form", FORMS)
@given(
    logs,
    st.integers(0, 3),
    st.sampled_from([1, 7, 40, 300, 1 << 20]),
    st.sampled_from([1, 3, 1 << 16]),
    wanted,
    st.sampled_from([{}, {"encoding": None}, {"encoding": "latin-1"}, {"on_bad": "truncate"}, {"on_bad": "truncate"}]),
    st.sampled_from([None, 0, 1, 20, 1000]),
)
@example(b"".join(encode_command([b"%d" % n, b"k"]) for n in range(20)) * 2, 0, 1 << 20, 8, None, {}, None)
@example(encode_command([b"SET", b"k", b"v"]) * 200 + b"*", 0, 1000, 99, None, {"on_bad": "truncate"}, 30)
def test_both_ways_make_the_same_frame(form, tmp_path, log, cut, chunk_bytes, room, wanted, options, repeated):
    """With `repeated` bytes again in each block that a thread reads ahead."""
    path = tmp_path / "x.aof"
    path.write_bytes(log[: len(log) - cut])
    options = {"columns": wanted, **options}
    hot = kernel("aofnb.forensics._fill_cy", form)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "scan_file", partial(rows.scan_file, chunk_bytes=chunk_bytes))
        patch.setattr(filling, "_fill_cy", SimpleNamespace(**(vars(hot) | {"COMPILED": True})))
        patch.setattr(filling, "_ROOM", room)
        if repeated is not None:
            patch.setattr(rows, "pays_ahead", lambda nbytes: True)
            patch.setattr(rows, "CHUNK_BYTES", chunk_bytes)
            patch.setattr(rows.ReadAhead, "REPEATED_BYTES", repeated)
        ours = read(path, options)
        patch.setattr(frame, "is_plain", lambda selection: False)
        is_same(ours, read(path, options))


@pytest.mark.parametrize("compressed", [False, True])
def test_a_large_log_is_the_same_with_any_threads_and_chunks(compressed, tmp_path, monkeypatch):
    """Each way on a log of many chunks, with commands longer than what is read twice, and than a chunk."""
    rng = random.Random(5)
    log = b"".join(
        encode_command([rng.choice([b"SET", b"APPEND"]), b"k%d" % rng.randrange(99), b"x" * rng.choice(sizes)])
        for sizes in [[1, 5, 30]] * 3000 + [[10, 3000, 40_000, 300_000]] * 30 + [[1, 2]] * 3000
    )
    path = tmp_path / "x.aof"
    path.write_bytes(gzip.compress(log, 1) if compressed else log)
    whole = aofnb.read_aof(path)
    chunks = pd.concat(aofnb.read_aof(path, chunksize=1000, columns=["offset", "nbytes"]))
    pd.testing.assert_frame_equal(whole[["offset", "nbytes"]], chunks)
    scan_file = rows.scan_file
    for ahead in (False, True):
        for chunk_bytes in (20_000, 70_000, 1 << 20):
            monkeypatch.setattr(rows, "pays_ahead", lambda nbytes, ahead=ahead: ahead)
            monkeypatch.setattr(rows, "CHUNK_BYTES", chunk_bytes)
            monkeypatch.setattr(rows, "scan_file", partial(scan_file, chunk_bytes=chunk_bytes))
            monkeypatch.setattr(rows.ReadAhead, "REPEATED_BYTES", 2000)
            pd.testing.assert_frame_equal(aofnb.read_aof(path), whole)


def test_an_error_leaves_no_thread(tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "pays_ahead", lambda nbytes: True)
    monkeypatch.setattr(rows, "CHUNK_BYTES", 100)
    (tmp_path / "x.aof").write_bytes(encode_command([b"SET", b"k", b"v"]) * 50 + b"?" + bytes(900))
    before = threading.active_count()
    with pytest.raises(AofError):
        aofnb.read_aof(tmp_path / "x.aof")
    assert threading.active_count() == before
    with pytest.raises(ZeroDivisionError):
        aofnb.read_aof(tmp_path / "x.aof", progress=lambda done, total: 1 // 0)
    assert threading.active_count() == before


@pytest.mark.parametrize(
    "name", ["01-rdb-base-incr", "06-old-single-rdb-preamble", "08-manifest-history-two-incr-quoted"]
)
@pytest.mark.parametrize("form", FORMS)
def test_snapshots_and_several_files_are_read_alike(form, name, monkeypatch):
    hot = kernel("aofnb.forensics._fill_cy", form)
    monkeypatch.setattr(rows, "scan_file", partial(rows.scan_file, chunk_bytes=100))
    monkeypatch.setattr(filling, "_fill_cy", SimpleNamespace(**(vars(hot) | {"COMPILED": True})))
    ours = read(sample(name) / "data", {})
    monkeypatch.setattr(frame, "is_plain", lambda selection: False)
    is_same(ours, read(sample(name) / "data", {}))


@pytest.mark.parametrize("form", FORMS)
def test_more_commands_than_the_kernel_can_number_are_told_apart_all_the_same(form, tmp_path, monkeypatch):
    hot = kernel("aofnb.forensics._fill_cy", form)
    monkeypatch.setattr(filling, "_fill_cy", SimpleNamespace(**(vars(hot) | {"COMPILED": True})))
    monkeypatch.setattr(filling, "_COMMANDS", 30)
    monkeypatch.setattr(columns, "_SPELLINGS", 12)
    names = [f"CMD{number}" for number in range(100)]
    (tmp_path / "x.aof").write_bytes(b"".join(encode_command([name.encode()]) for name in names * 2))
    assert aofnb.read_aof(tmp_path / "x.aof").cmd.tolist() == names * 2
