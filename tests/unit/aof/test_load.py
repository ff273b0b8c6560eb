"""aofnb/aof/load.py: one file to whole units."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import BinaryIO

import pytest

from aofnb.aof.fs import OsFs
from aofnb.aof.load import read_units
from aofnb.errors import RdbError
from aofnb.rdb import Loaded
from aofnb.resp.encode import encode_command

SAMPLES = Path(__file__).parents[2] / "data" / "samples" / "redis-7.0.15"

SET = encode_command([b"SET", b"k", b"v"])
MULTI = encode_command([b"MULTI"])
EXEC = encode_command([b"EXEC"])


def units(path: Path, data: bytes):
    path.write_bytes(data)
    reader = read_units(OsFs(), str(path))
    return [[argv[0] for argv in block.argvs] for block in reader], reader.tail


@pytest.mark.parametrize(
    ("data", "names", "kind", "cut_at"),
    [
        (b"", [], "clean", 0),
        (SET, [b"SET"], "clean", len(SET)),
        (MULTI + SET + EXEC, [b"MULTI", b"SET", b"EXEC"], "clean", len(MULTI + SET + EXEC)),
        (SET + MULTI + SET, [b"SET"], "open_multi", len(SET)),
        (SET + MULTI + SET + SET[:5], [b"SET"], "truncated", len(SET)),
        (SET + MULTI + SET + b"#TS:1", [b"SET"], "truncated", len(SET)),
        (SET + b"#TS:1", [b"SET"], "truncated", len(SET)),
        (SET + b"#TS:1\r\n" + MULTI, [b"SET"], "open_multi", len(SET) + 7),
        (SET + MULTI.lower() + MULTI + SET, [b"SET"], "open_multi", len(SET)),
        (MULTI + EXEC.lower() + SET[:3], [b"MULTI", b"exec"], "truncated", len(MULTI + EXEC)),
        (EXEC + SET, [b"EXEC", b"SET"], "clean", len(EXEC + SET)),
        (SET + MULTI + SET + b"\0\0", [b"SET"], "format", len(SET)),
    ],
)
def test_a_file_is_cut_at_the_last_whole_unit(tmp_path, data, names, kind, cut_at):
    """redis-server cuts behind the last whole record, even inside MULTI, and leaves half an annotation in place."""
    blocks, tail = units(tmp_path / "f", data)
    assert [name.upper() for block in blocks for name in block] == [name.upper() for name in names]
    assert (tail.kind, tail.cut_at, tail.size) == (kind, cut_at, len(data))


def test_a_transaction_over_many_blocks_is_given_whole_or_not_at_all(tmp_path):
    long = encode_command([b"SET", b"k", b"x" * 1000])
    whole = MULTI + long * 1000 + EXEC
    blocks, tail = units(tmp_path / "f", SET + whole + MULTI + long * 1000)
    assert sum(map(len, blocks)) == 1003
    assert len(blocks) > 3
    assert tail.kind == "open_multi"
    assert tail.cut_at == len(SET + whole)


def test_a_snapshot_is_refused_by_who_cannot_restore_it(tmp_path):
    (tmp_path / "f").write_bytes(b"REDIS0010\xfa")
    with pytest.raises(RdbError, match="open the log to load it") as caught:
        list(read_units(OsFs(), str(tmp_path / "f")))
    assert (caught.value.file, caught.value.offset) == (str(tmp_path / "f"), 0)


@pytest.mark.parametrize("magic", [b"REDIS", b"VALKEY"])
def test_a_snapshot_is_restored_before_the_first_block_and_offsets_are_those_of_the_file(tmp_path, magic):
    front = magic + b"front"
    (tmp_path / "f").write_bytes(front + SET + MULTI + SET)
    asked: list[tuple[bytes, int]] = []

    def restore(file: BinaryIO, size: int) -> Loaded:
        asked.append((file.read(len(front)), size))
        # As the reader of snapshots does, which takes large pieces.
        file.read()
        return Loaded(len(front), 10, 0, 0, 0, (), (), ())

    reader = read_units(OsFs(), str(tmp_path / "f"), restore=restore)
    blocks = list(reader)
    assert asked == [(front, len(front + SET + MULTI + SET))]
    assert [(block.argvs, block.offsets) for block in blocks] == [([[b"SET", b"k", b"v"]], [len(front)])]
    assert reader.snapshot is not None
    assert (reader.tail.kind, reader.tail.cut_at) == ("open_multi", len(front + SET))


def test_only_the_expected_size_is_read(tmp_path):
    (tmp_path / "f").write_bytes(SET + SET[:3])
    reader = read_units(OsFs(), str(tmp_path / "f"), expected_size=len(SET))
    assert sum(len(block.argvs) for block in reader) == 1
    assert reader.tail.kind == "clean"


def test_the_tail_is_known_only_at_the_end(tmp_path):
    (tmp_path / "f").write_bytes(SET)
    reader = read_units(OsFs(), str(tmp_path / "f"))
    with pytest.raises(RuntimeError):
        _ = reader.tail


@pytest.mark.parametrize(
    "name",
    [
        "02-aof-base-incr",
        "03-timestamps",
        "04-truncated-mid-command",
        "04b-truncated-inside-multi",
        "04c-multi-without-exec",
        "05-garbage-middle",
        "05b-zero-padded-tail",
        "07-old-single-plain",
    ],
)
def test_records_of_real_files_are_those_of_an_independent_parser(name):
    truths = json.loads((SAMPLES / name / "commands.json").read_text())
    for file, truth in truths.items():
        expected = [
            (record["offset"], record["end"], [base64.b64decode(arg) for arg in record["argv"]])
            for record in truth["records"]
            if "argv" in record
        ]
        annotations = [(r["offset"], r["annotation"].encode()) for r in truth["records"] if "annotation" in r]
        reader = read_units(OsFs(), str(SAMPLES / name / "data" / file))
        blocks = list(reader)
        found = [item for block in blocks for item in zip(block.offsets, block.ends, block.argvs, strict=True)]
        # Of an unfinished transaction nothing is given.
        assert found == [item for item in expected if item[0] < reader.tail.cut_at]
        assert [item for block in blocks for item in block.annotations] == annotations
        if truth["error"] is None:
            assert reader.tail.kind in ("clean", "open_multi")
        else:
            assert reader.tail.kind in ("truncated", "format")
            assert reader.tail.offset <= truth["error"]["offset"]


@pytest.mark.parametrize(
    ("name", "kind", "cut_at"),
    [
        ("04b-truncated-inside-multi", "truncated", 55),
        ("04c-multi-without-exec", "open_multi", 55),
    ],
)
def test_where_the_real_server_loses_data_we_cut_before_multi(name, kind, cut_at):
    """redis-server 7.0.15 cuts the first at 99, inside MULTI: what is written later is thrown away."""
    reader = read_units(OsFs(), str(SAMPLES / name / "data/appendonlydir/appendonly.aof.1.incr.aof"))
    list(reader)
    assert (reader.tail.kind, reader.tail.cut_at) == (kind, cut_at)
