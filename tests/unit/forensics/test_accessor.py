import importlib
import re
import warnings

import pandas as pd
import pytest
from support.samples import known_records, sample

import aofnb
from aofnb.errors import AofError
from aofnb.forensics import accessor
from aofnb.resp.encode import encode_command

SAMPLE = sample("02-aof-base-incr")


@pytest.fixture
def df():
    return aofnb.read_aof(SAMPLE / "data")


@pytest.fixture
def truth():
    """(bytes, argv) of each command of the sample."""
    return [
        ((SAMPLE / "data" / path).read_bytes()[offset:end], argv)
        for path, known in known_records(SAMPLE).items()
        for offset, end, argv in known.commands
    ]


def test_raw_is_the_exact_bytes(df, truth):
    assert [df.aof.raw(i) for i in range(0, len(df), 10)] == [data for data, _ in truth[::10]]


def test_raw_takes_the_number_of_the_row_also_after_filtering_and_concatenating(df, truth):
    some = pd.concat([df[df["cmd"] == "SET"], df[df["cmd"] == "HSET"]])
    for i in some.index:
        assert some.aof.raw(i) == truth[i][0]


def test_raw_of_a_row_that_is_not_there_is_a_key_error(df):
    with pytest.raises(KeyError):
        df.aof.raw(len(df))


def test_raw_of_a_number_that_two_rows_have_is_refused(df):
    with pytest.raises(ValueError, match="reset_index"):
        pd.concat([df, df]).aof.raw(0)


def test_without_attrs_the_source_must_be_given(df, truth):
    df.attrs.clear()
    with pytest.raises(ValueError, match="source="):
        df.aof.raw(0)
    assert df.aof.raw(0, source=SAMPLE / "data") == df.aof.raw(0, source=aofnb.scan(SAMPLE / "data")) == truth[0][0]


def test_raw_of_a_file_that_has_shrunk_is_an_error_of_the_file(tmp_path):
    file = tmp_path / "x.aof"
    file.write_bytes(encode_command([b"PING"]) * 2)
    df = aofnb.read_aof(file)
    file.write_bytes(encode_command([b"PING"]))
    with pytest.raises(AofError, match="shorter"):
        df.aof.raw(1)


def test_raw_of_a_damaged_row_is_all_that_could_not_be_read(tmp_path):
    file = tmp_path / "x.aof"
    file.write_bytes(encode_command([b"PING"]) + b"\0garbage")
    assert aofnb.read_aof(file, on_bad="truncate").aof.raw(1) == b"\0garbage"


def test_raw_and_arg_read_compressed_files(tmp_path):
    import gzip

    file = tmp_path / "x.aof.gz"
    argvs = [[b"SET", b"k%d" % i, b"v%d" % i] for i in range(50)]
    file.write_bytes(gzip.compress(b"".join(map(encode_command, argvs))))
    df = aofnb.read_aof(file)
    assert [df.aof.raw(i) for i in (40, 3)] == [encode_command(argvs[i]) for i in (40, 3)]
    assert df[::-1].aof.arg(2).tolist() == [argv[2] for argv in argvs[::-1]]


@pytest.mark.parametrize("n", [0, 1, 2, 5])
@pytest.mark.parametrize("columns", [[], ["args"], ["arg1", "arg2"]])
def test_arg_is_the_same_from_columns_and_from_the_files(truth, n, columns):
    df = aofnb.read_aof(SAMPLE / "data", columns=["part", "offset", "nbytes", *columns])
    values = df.aof.arg(n)
    assert values.tolist() == [argv[n] if len(argv) > n else pd.NA for _, argv in truth]
    assert (str(values.dtype), values.name) == ("binary[pyarrow]", f"arg{n}")
    assert values.index.equals(df.index)


def test_arg_of_rows_that_lost_their_crs_has_them_back(tmp_path):
    file = tmp_path / "x.aof"
    file.write_bytes(encode_command([b"SET", b"k", b"a\r\nb"]).replace(b"\r\n", b"\n"))
    df = aofnb.read_aof(file)
    assert df.aof.arg(2).tolist() == [b"a\r\nb"]
    assert df.aof.raw(0) == file.read_bytes()


def test_a_negative_argument_is_refused(df):
    with pytest.raises(ValueError, match="counted from the name"):
        df.aof.arg(-1)


def test_other_frames_have_no_aof_and_are_told_why():
    with pytest.raises(AttributeError, match="read_aof"):
        _ = pd.DataFrame({"offset": [1]}).aof
    assert not hasattr(pd.DataFrame(), "aof")


def test_registering_again_changes_nothing_and_warns_nobody():
    before = pd.DataFrame.aof
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        importlib.reload(accessor).register()
    assert pd.DataFrame.aof is before


def two_logs(tmp_path, first, second):
    """Frames of two logs whose files have the same name."""
    frames = []
    for name, argvs in (("a", first), ("b", second)):
        (tmp_path / name).mkdir()
        file = tmp_path / name / "appendonly.aof.1.incr.aof"
        file.write_bytes(b"".join(map(encode_command, argvs)))
        frames.append(aofnb.read_aof(file))
    return pd.concat(frames, ignore_index=True)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([b"SET", b"k", b"v"], [b"DEL", b"k1"]),  # of another length
        ([b"SET", b"k", b"v"], [b"GET", b"k", b"v"]),  # another command of the same length
    ],
)
def test_bytes_of_another_log_are_refused(tmp_path, first, second):
    df = two_logs(tmp_path, [[b"PING"] * 9, first], [[b"PING"] * 9, second])
    source = tmp_path / "a" / "appendonly.aof.1.incr.aof"
    assert df.aof.raw(1, source=source) == encode_command(first)
    with pytest.raises(AofError, match="not the bytes of this row") as caught:
        df.aof.raw(3, source=source)
    assert caught.value.file == str(source)
    with pytest.raises(AofError, match="not the bytes of this row"):
        df.aof.arg(1, source=source)


def test_raw_knows_every_row_of_its_own_log_by_name_and_length(tmp_path):
    argvs = [[b"set", b"k", b"a\r\nb\r\n"], [b"xgroup", b"create", b"s", b"g", b"$"], [b"n\xff o", b"x"], [b"EXEC"]]
    for lost, name in ((False, "crlf"), (True, "lf")):
        data = b"".join(map(encode_command, argvs)) + encode_command([b"MULTI"]) + encode_command([b"INCR", b"k"])
        file = tmp_path / name
        file.write_bytes(data.replace(b"\r\n", b"\n") if lost else data)
        df = aofnb.read_aof(file, on_bad="truncate")
        assert set(df["status"]) == {"lf_repaired" if lost else "ok", "unknown_command", "discarded"}
        assert b"".join(df.aof.raw(i) for i in df.index) == file.read_bytes()
        assert len(df.aof.arg(1)) == len(df)


def test_raw_works_after_the_working_directory_changed(tmp_path, monkeypatch):
    (tmp_path / "x.aof").write_bytes(encode_command([b"PING"]))
    monkeypatch.chdir(tmp_path)
    df = aofnb.read_aof("x.aof")
    monkeypatch.chdir("/")
    assert df.aof.raw(0) == encode_command([b"PING"])


def test_a_file_that_is_gone_is_an_error_of_the_file(tmp_path):
    file = tmp_path / "x.aof"
    file.write_bytes(encode_command([b"PING"]))
    df = aofnb.read_aof(file)
    file.unlink()
    for read in (lambda: df.aof.raw(0), lambda: df.aof.arg(0)):
        with pytest.raises(AofError, match="this file is gone") as caught:
            read()
        assert caught.value.file == str(file)


def test_the_accessor_says_what_it_can_be_asked(df):
    """Every public method is named."""
    for thing in (df.aof, df.aof.plot):
        said = set(re.findall(r"\w+(?=\()|\bplot$", repr(thing)))
        assert said == {name for name in dir(thing) if not name.startswith("_")}
