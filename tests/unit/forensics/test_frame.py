import json
from functools import partial

import numpy as np
import pandas as pd
import pytest
from support.samples import known_records, public_samples, sample

import aofnb
from aofnb.errors import AofFormatError, AofTruncatedError
from aofnb.forensics.scan import scan_file
from aofnb.resp.encode import encode_command

# What pandas calls text: object before 3.
TEXT = str(pd.Series([], dtype="str").dtype)
SAMPLE = sample("02-aof-base-incr")
TIMED = sample("03-timestamps")
DTYPES = {
    "part": "category",
    "offset": "int64",
    "nbytes": "int64",
    "ts": "datetime64[s, UTC]",
    "db": "int16",
    "txn": "Int64",
    "cmd": "category",
    "key": TEXT,
    "nkeys": "int16",
    "argc": "int32",
    "status": "category",
}


@pytest.fixture
def log_of(tmp_path):
    """A function that writes commands to one file and gives its path; a bytes is written as it is."""

    def write(*argvs):
        file = tmp_path / "appendonly.aof"
        file.write_bytes(b"".join(each if isinstance(each, bytes) else encode_command(each) for each in argvs))
        return file

    return write


def words(*lines):
    return [line.encode().split() for line in lines]


def test_rows_are_the_commands_of_the_sample_and_lie_where_it_says():
    df = aofnb.read_aof(SAMPLE / "data", columns=["part", "offset", "nbytes", "argc", "args"])
    truth = [
        (path.rsplit("/", 1)[1], offset, end - offset, len(argv), argv)
        for path, known in known_records(SAMPLE).items()
        for offset, end, argv in known.commands
    ]
    rows = zip(df["part"], df["offset"], df["nbytes"], df["argc"], df["args"])
    assert [(part, offset, nbytes, argc, list(args)) for part, offset, nbytes, argc, args in rows] == truth


@pytest.mark.parametrize("path", [SAMPLE / "data", TIMED / "data", sample("10-fresh-empty") / "data"])
def test_dtypes_do_not_depend_on_the_data(path):
    df = aofnb.read_aof(path)
    assert {name: str(dtype) for name, dtype in df.dtypes.items()} == DTYPES
    assert list(df.columns) == list(DTYPES)
    assert (df.index.name, type(df.index)) == ("seq", pd.RangeIndex)


def test_optional_columns_are_binary_and_na_where_a_command_is_shorter(log_of):
    df = aofnb.read_aof(log_of([b"set", b"k", b"\xff"], [b"SET", b"k"]), columns=["verb", "arg2", "arg1", "args"])
    assert [str(dtype) for dtype in df.dtypes] == [
        "category",
        "binary[pyarrow]",
        "binary[pyarrow]",
        "list<item: binary>[pyarrow]",
    ]
    assert df["verb"].tolist() == ["set", "SET"]
    assert df["arg2"].tolist() == [b"\xff", pd.NA]
    assert list(df["args"][1]) == [b"SET", b"k"]


def test_the_database_follows_select_in_each_file_on_its_own(log_of):
    df = aofnb.read_aof(
        log_of(*words("SET a 1", "SELECT 3", "SET a 1", "MULTI", "SELECT 5", "SET b 1", "EXEC", "SET b 2", "SELECT x"))
    )
    assert df["db"].tolist() == [0, 3, 3, 3, 5, 5, 5, 5, 5]


def test_each_file_begins_in_database_0_outside_multi_and_with_the_last_time(tmp_path):
    first = b"#TS:100\r\n" + b"".join(map(encode_command, words("SELECT 3", "SET a 1")))
    second = b"".join(map(encode_command, words("SET a 1"))) + b"#TS:101\r\n" + encode_command([b"PING"])
    (tmp_path / "x.aof.1.incr.aof").write_bytes(first)
    (tmp_path / "x.aof.2.incr.aof").write_bytes(second)
    (tmp_path / "x.aof.manifest").write_bytes(
        b"file x.aof.1.incr.aof seq 1 type i\nfile x.aof.2.incr.aof seq 2 type i\n"
    )
    df = aofnb.read_aof(tmp_path)
    assert df["db"].tolist() == [3, 3, 0, 0]
    assert [ts.timestamp() for ts in df["ts"]] == [100, 100, 100, 101]
    assert list(df["part"].cat.categories) == ["x.aof.1.incr.aof", "x.aof.2.incr.aof"]


def test_transactions_are_numbered_over_the_log(log_of):
    df = aofnb.read_aof(log_of(*words("PING", "MULTI", "SET a 1", "EXEC", "EXEC", "multi", "Exec", "SET b 1")))
    assert df["txn"].tolist() == [pd.NA, 1, 1, 1, pd.NA, 2, 2, pd.NA]


def test_ts_is_the_last_annotation():
    df = aofnb.read_aof(TIMED / "data")
    truth = [
        max(int(text[4:]) for at, text in known.annotations if at <= offset)
        for known in known_records(TIMED).values()
        for offset, *_ in known.commands
    ]
    assert [int(ts.timestamp()) for ts in df["ts"]] == truth


def test_ts_is_nat_before_any_annotation_and_where_it_is_no_time(log_of):
    df = aofnb.read_aof(log_of([b"PING"], b"#TS:99999999999999\r\n", [b"PING"]))
    assert df["ts"].isna().all()


@pytest.mark.parametrize(
    ("command", "cmd", "key", "nkeys"),
    [
        ("set k v", "SET", "k", 1),
        ("MSET a 1 b 2 c 3", "MSET", "a", 3),
        ("DEL a b", "DEL", "a", 2),
        ("BITOP AND dest a b", "BITOP", "dest", 3),
        ("XGROUP CREATE stream group 0", "XGROUP CREATE", "stream", 1),
        ("EVAL script 2 a b arg", "EVAL", "a", 2),
        ("ZUNIONSTORE dest 2 a b", "ZUNIONSTORE", "dest", 3),
        ("FLUSHALL", "FLUSHALL", None, 0),
        ("SELECT 1", "SELECT", None, 0),
    ],
)
def test_the_key_is_found_by_position_not_as_the_first_argument(log_of, command, cmd, key, nkeys):
    row = aofnb.read_aof(log_of(*words(command))).iloc[0]
    assert (row["cmd"], None if pd.isna(row["key"]) else row["key"], row["nkeys"]) == (cmd, key, nkeys)
    assert row["status"] == "ok"


@pytest.mark.parametrize(
    "command", ["SET", "EVAL script", "EVAL script x a", "EVAL script 99 a", "XGROUP", "BITOP AND"]
)
def test_commands_that_cannot_be_do_not_stop_reading(log_of, command):
    df = aofnb.read_aof(log_of(*words(command, "SET k v")))
    assert df["key"].tolist()[-1] == "k"


def test_an_unknown_command_has_a_status_and_no_key(log_of):
    df = aofnb.read_aof(
        log_of(
            *words("JSON.SET doc $ 1", "SET k v", "XGROUP nosuch k g", "XGROUP create k g 0"), [b"XGROUP CREATE", b"k"]
        )
    )
    assert df["status"].tolist() == ["unknown_command", "ok", "unknown_command", "ok", "unknown_command"]
    assert df["cmd"].tolist() == ["JSON.SET", "SET", "XGROUP NOSUCH", "XGROUP CREATE", "XGROUP CREATE"]
    assert df["key"].isna().tolist() == [True, False, True, False, True]


def test_every_status_is_a_category_of_every_frame(log_of):
    df = aofnb.read_aof(log_of([b"PING"]))
    assert list(df["status"].cat.categories) == [
        "ok",
        "lf_repaired",
        "resynced",
        "truncated",
        "discarded",
        "unknown_command",
    ]


def test_commands_are_categories_in_order_without_unused_ones(log_of):
    df = aofnb.read_aof(log_of(*words("SET a 1", "DEL a", "set b 1")), cmd="set")
    assert (df["cmd"].tolist(), list(df["cmd"].cat.categories)) == (["SET", "SET"], ["SET"])


def test_keys_that_are_no_utf8_are_escaped_and_counted(log_of):
    path = log_of([b"SET", b"caf\xc3\xa9", b"1"], [b"SET", b"\xff\x00", b"1"])
    df = aofnb.read_aof(path)
    assert df["key"].tolist() == ["café", "\\xff\x00"]
    assert df.attrs["aof"]["escaped_keys"] == 1
    assert aofnb.read_aof(path, encoding="latin-1")["key"].tolist() == ["cafÃ©", "ÿ\x00"]
    with pytest.raises(UnicodeDecodeError):
        aofnb.read_aof(path, encoding_errors="strict")


def test_without_an_encoding_keys_are_binary(log_of):
    df = aofnb.read_aof(log_of([b"SET", b"\xff", b"1"], [b"PING"]), encoding=None)
    assert str(df["key"].dtype) == "binary[pyarrow]"
    assert df["key"].tolist() == [b"\xff", pd.NA]


def test_an_unknown_encoding_or_column_is_refused_before_reading(log_of):
    with pytest.raises(LookupError):
        aofnb.read_aof(log_of([b"PING"]), encoding="nonsense")
    with pytest.raises(ValueError, match="'values'"):
        aofnb.read_aof(log_of([b"PING"]), columns=["cmd", "values"])
    with pytest.raises(TypeError, match="list of names"):
        aofnb.read_aof(log_of([b"PING"]), columns="cmd")


@pytest.mark.parametrize("rows", [0, 1, 5, 10_000])
def test_nrows_are_the_first_rows(rows):
    whole = aofnb.read_aof(SAMPLE / "data")
    pd.testing.assert_frame_equal(
        aofnb.read_aof(SAMPLE / "data", nrows=rows)[["offset", "nbytes", "key"]],
        whole[:rows][["offset", "nbytes", "key"]],
    )


@pytest.mark.parametrize("chunksize", [1, 7, 10_000])
def test_chunks_go_on_where_the_last_one_ended(chunksize):
    whole = aofnb.read_aof(SAMPLE / "data", columns=["offset", "key", "part"])
    chunks = list(aofnb.read_aof(SAMPLE / "data", columns=["offset", "key", "part"], chunksize=chunksize))
    assert all(len(chunk) == chunksize for chunk in chunks[:-1])
    together = pd.concat(chunks)
    pd.testing.assert_frame_equal(together, whole, check_index_type=False)
    assert isinstance(chunks[-1].index, pd.RangeIndex)
    assert "source" in together.attrs["aof"]


def test_chunks_of_an_empty_log_are_one_empty_frame():
    (only,) = aofnb.read_aof(sample("10-fresh-empty") / "data", chunksize=10)
    assert (len(only), list(only.columns)) == (0, list(DTYPES))


def test_a_chunksize_of_nothing_is_refused():
    with pytest.raises(ValueError, match="chunksize"):
        aofnb.read_aof(SAMPLE / "data", chunksize=0)


def test_filters_keep_the_number_of_a_row(log_of):
    path = log_of(
        *words(
            "SET cart:1 a", "SELECT 2", "MSET x 1 cart:2 b", "DEL x", "XGROUP CREATE cart:3 g 0", "JSON.SET cart:4 x"
        )
    )
    assert aofnb.read_aof(path, key="cart:*").index.tolist() == [0, 2, 4]
    assert aofnb.read_aof(path, key=["x", b"cart:[13]"]).index.tolist() == [0, 2, 3, 4]
    assert aofnb.read_aof(path, cmd=["set", "Xgroup"]).index.tolist() == [0, 4]
    assert aofnb.read_aof(path, cmd="xgroup create", db=2).index.tolist() == [4]
    assert aofnb.read_aof(path, db=[0]).index.tolist() == [0]
    assert aofnb.read_aof(path, db=7).index.tolist() == []
    assert aofnb.read_aof(path, key="cart:*").index.name == "seq"


def test_filters_see_every_key_of_commands_with_odd_positions(log_of):
    path = log_of(*words("EVAL s 2 a b", "ZUNIONSTORE d 2 a b", "EVAL s 1 a b"))
    assert aofnb.read_aof(path, key="b").index.tolist() == [0, 1]


@pytest.mark.parametrize("bad", [{"cmd": 3}, {"key": 3}, {"db": "0"}])
def test_a_filter_of_the_wrong_type_is_refused(log_of, bad):
    with pytest.raises(TypeError, match=next(iter(bad))):
        aofnb.read_aof(log_of([b"PING"]), **bad)


def test_an_open_transaction_may_be_longer_than_a_chunk_of_the_file(log_of, monkeypatch):
    monkeypatch.setattr("aofnb.forensics.rows.scan_file", partial(scan_file, chunk_bytes=64))
    inside = [[b"SET", b"k%d" % i, b"v" * 30] for i in range(20)]
    closed = log_of([b"MULTI"], *inside, [b"EXEC"], [b"MULTI"], *inside)
    df = aofnb.read_aof(closed, on_bad="truncate")
    assert df["status"].tolist() == ["ok"] * 22 + ["discarded"] * 21
    assert df["txn"].tolist() == [1] * 22 + [2] * 21
    assert df["offset"].is_monotonic_increasing
    (damage,) = df.attrs["aof"]["damage"]
    assert (damage["kind"], damage["offset"]) == ("open_multi", int(df["offset"][22]))


def test_bad_bytes_are_an_error_or_one_row():
    path = sample("05-garbage-middle") / "data"
    with pytest.raises(AofFormatError) as caught:
        aofnb.read_aof(path)
    df = aofnb.read_aof(path, on_bad="truncate")
    last = df.iloc[-1]
    assert (last["status"], last["offset"]) == ("truncated", caught.value.offset)
    assert last["offset"] + last["nbytes"] == df.attrs["aof"]["parts"][-1]["size"]
    assert pd.isna(last["cmd"])
    assert df.attrs["aof"]["damage"][0]["kind"] == "format"


def test_a_cut_command_shows_what_can_be_read_of_it(log_of):
    path = log_of(encode_command([b"MSET", b"a", b"1", b"b", b"2"])[:-12])
    row = aofnb.read_aof(path, on_bad="truncate", columns=["cmd", "key", "argc", "args"]).iloc[0]
    assert (row["cmd"], row["key"], row["argc"], list(row["args"])) == ("MSET", "a", 5, [b"MSET", b"a", b"1"])


def test_a_cut_annotation_is_damage_but_no_row(log_of):
    path = log_of([b"PING"], b"#TS:17")
    with pytest.raises(AofTruncatedError):
        aofnb.read_aof(path)
    df = aofnb.read_aof(path, on_bad="truncate")
    assert (len(df), [each["kind"] for each in df.attrs["aof"]["damage"]]) == (1, ["annotation"])


def test_a_log_that_git_damaged_is_read_as_it_was(log_of):
    path = log_of(b"".join(map(encode_command, [[b"SET", b"k", b"a\r\nb"], [b"X", b"k"]])).replace(b"\r\n", b"\n"))
    df = aofnb.read_aof(path, columns=["status", "arg2", "nbytes"])
    assert df["status"].tolist() == ["lf_repaired", "unknown_command"]
    assert df["arg2"][0] == b"a\r\nb"
    assert df["nbytes"].sum() == path.stat().st_size


def test_attrs_are_json_and_say_what_was_read():
    df = aofnb.read_aof(sample("01-rdb-base-incr") / "data")
    about = df.attrs["aof"]
    assert json.loads(json.dumps(about)) == about
    assert [part["name"] for part in about["parts"]] == ["appendonly.aof.2.base.rdb", "appendonly.aof.2.incr.aof"]
    assert about["damage"] == []


def test_numbers_of_transactions_public_logs_have():
    df = aofnb.read_aof(public_samples() / "bullmq-auction/appendonly.aof.1.incr.aof")
    assert df["txn"].max() == 215
    assert (df["status"] == "lf_repaired").all()
    assert df["key"].notna().mean() > 0.5


def test_a_key_count_beyond_int16_says_the_most_it_can(log_of):
    df = aofnb.read_aof(log_of([b"DEL", *[b"k"] * 40_000]))
    assert (df["nkeys"][0], df["argc"][0]) == (np.iinfo(np.int16).max, 40_001)


@pytest.mark.parametrize("name", ["part", "cmd", "status", "verb"])
def test_categories_are_text_for_pandas(log_of, name):
    for file in (log_of([b"PING"]), log_of()):
        assert str(aofnb.read_aof(file, columns=[name])[name].cat.categories.dtype) == TEXT


@pytest.mark.parametrize("errors", ["surrogateescape", "surrogatepass"])
def test_text_that_arrow_cannot_hold_is_refused(log_of, errors):
    with pytest.raises(ValueError, match="cannot be kept in Arrow text; use backslashreplace or encoding=None"):
        aofnb.read_aof(log_of([b"PING"]), encoding_errors=errors)


def test_unknown_encoding_errors_are_told_before_the_first_odd_key(log_of):
    with pytest.raises(LookupError, match="nonsense"):
        aofnb.read_aof(log_of([b"PING"]), encoding_errors="nonsense")


@pytest.mark.parametrize(
    "option",
    [
        *({"nrows": wrong} for wrong in ("2", 2.5, True)),
        *({"chunksize": wrong} for wrong in ("2", 2.5, True)),
        *({"columns": wrong} for wrong in (1, [1], [["key"]])),
        *({"db": wrong} for wrong in ("0", True)),
    ],
)
def test_an_option_of_the_wrong_type_is_named(log_of, option):
    (name,) = option
    with pytest.raises(TypeError, match=f"{name}= takes"):
        aofnb.read_aof(log_of([b"PING"]), **option)


def test_numpy_numbers_are_numbers(log_of):
    file = log_of(*words("PING", "PING", "PING"))
    assert len(aofnb.read_aof(file, nrows=np.int64(2))) == 2
    assert [len(frame) for frame in aofnb.read_aof(file, chunksize=np.int32(2))] == [2, 1]


@pytest.mark.parametrize(
    ("backend", "integer", "text"),
    [("pyarrow", "int64[pyarrow]", "string[pyarrow]"), ("numpy_nullable", "Int64", "string")],
)
@pytest.mark.parametrize("chunksize", [None, 3])
def test_what_is_worked_out_has_dtypes_of_the_backend_too(tmp_path, backend, integer, text, chunksize):
    path = tmp_path / "x.aof"
    path.write_bytes(b"#TS:1000\r\n" + encode_command([b"SET", b"k", b"x"]) * 3 + encode_command([b"INCR", b"k"]))
    read = aofnb.read_aof(
        path,
        columns=["dirty", "error", "keys_after", "time", "time_err"],
        replay=True,
        dtype_backend=backend,
        chunksize=chunksize,
    )
    for frame in [read] if chunksize is None else read:
        assert [str(frame[name].dtype) for name in ("dirty", "keys_after", "error")] == [integer, integer, text]
        assert all(("pyarrow" in str(frame[name].dtype)) is (backend == "pyarrow") for name in ("time", "time_err"))
