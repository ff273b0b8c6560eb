"""``read_aof(..., replay=True)``: what each command did."""

from __future__ import annotations

import pandas as pd
import pytest

import aofnb
from aofnb.resp.encode import encode_command


@pytest.fixture
def write(tmp_path):
    def write(*commands: str, tail: bytes = b""):
        path = tmp_path / "x.aof"
        path.write_bytes(b"".join(encode_command(command.encode().split()) for command in commands) + tail)
        return path

    return write


def effects(path, **options):
    frame = aofnb.read_aof(path, replay=True, **options)
    return (
        frame[["dirty", "error", "keys_after", "type"]].astype(object).where(lambda f: f.notna(), None).values.tolist()
    )


def test_changes_errors_keys_and_types(write):
    path = write(
        "SELECT 1",
        "SET a 1",
        "LPUSH a x",
        "RPUSH l 1 2 3",
        "DEL a b",
        "DEL a",
        "NOSUCH a",
        "SET a",
        "FLUSHALL",
        "GET l",
    )
    wrong = "WRONGTYPE Operation against a key holding the wrong kind of value"
    assert effects(path) == [
        [0, None, 0, None],
        [1, None, 1, "string"],
        [0, wrong, 1, "string"],
        [3, None, 2, "list"],
        [1, None, 1, "none"],
        [0, None, 1, "none"],
        [0, "ERR unknown command 'NOSUCH'", 1, None],
        [0, "ERR wrong number of arguments for 'set' command", 1, "none"],
        [1, None, 0, None],
        [0, None, 0, "none"],
    ]


def test_a_transaction_runs_at_its_rows_and_not_at_all_without_exec(write):
    path = write("MULTI", "SET a 1", "INCR a", "EXEC", "MULTI", "DEL a", tail=b"*2\r\n$3\r\nDE")
    assert effects(path, on_bad="truncate") == [
        [0, None, 0, None],
        [1, None, 1, "string"],
        [1, None, 1, "string"],
        [0, None, 1, None],
        [None, None, 1, None],
        [None, None, 1, "string"],
        [None, None, 1, None],
    ]


@pytest.mark.parametrize(
    "options", [{"cmd": "INCR"}, {"key": "n"}, {"start": 2, "stop": 5}, {"nrows": 3}, {"chunksize": 2}]
)
def test_filters_choose_rows_and_change_no_effect(write, options):
    path = write("SET n 1", "INCR n", "SET m 1", "INCR n", "INCR m", "DEL n", "INCR n")
    whole = aofnb.read_aof(path, replay=True)
    some = aofnb.read_aof(path, replay=True, **options)
    some = some if isinstance(some, pd.DataFrame) else pd.concat(some)
    columns = ["dirty", "error", "keys_after", "type"]
    assert len(some) > 1
    pd.testing.assert_frame_equal(some[columns], whole.loc[some.index, columns], check_index_type=False)
    assert {name: str(some[name].dtype) for name in columns} == {
        "dirty": "Int64", "error": str(pd.Series([], dtype="str").dtype), "keys_after": "Int64", "type": "category"
    }  # fmt: skip


def test_the_columns_that_were_asked_for_come_first_and_attrs_stay(write):
    frame = aofnb.read_aof(write("SET a 1"), columns=["cmd"], replay=True)
    assert list(frame) == ["cmd", "dirty", "error", "keys_after", "type"]
    assert "aof" in frame.attrs
    assert aofnb.read_aof(write(), replay=True).empty


def test_columns_may_name_what_each_did(write):
    path = write("SET a 1", "GET a")
    frame = aofnb.read_aof(path, columns=["type", "time", "cmd"], replay=True)
    assert list(frame) == ["type", "time", "cmd"]
    assert frame.type.tolist() == ["string", "string"]
    with pytest.raises(ValueError, match=r"no column 'dirty': .* with replay=True dirty"):
        aofnb.read_aof(path, columns=["dirty"])
