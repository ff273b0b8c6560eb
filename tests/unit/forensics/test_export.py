"""Leaving for other tools and coming back: the same rows everywhere."""

import builtins
import json
import os
import pickle
from functools import partial

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.require import need_module
from support.samples import sample

import aofnb
from aofnb.forensics import rows as rows_module
from aofnb.forensics.columns import DEFAULT_COLUMNS
from aofnb.forensics.export import _columns_of
from aofnb.resp.encode import encode_command

WITH_SNAPSHOT = sample("01-rdb-base-incr") / "data"
# No column is guessed: what pandas makes of a nullable integer differs between the ways out.
SAFE = [name for name in DEFAULT_COLUMNS if name != "txn"]


@pytest.fixture
def log():
    return aofnb.scan(WITH_SNAPSHOT)


def rows(frame, columns):
    """The cells as plain values, so that only the content counts and not the dtype."""
    cells = frame[columns].astype(object)
    return cells.where(frame[columns].notna(), None).map(str).to_numpy().tolist()


def test_parquet_is_read_back_by_pandas_alone(log, tmp_path):
    dest = tmp_path / "log.parquet"
    assert log.to_parquet(dest) == len(log)
    back = pd.read_parquet(dest).set_index("seq")
    assert back.index.tolist() == log.to_pandas().index.tolist()
    assert rows(back, [c for c in SAFE if c != "ts"]) == rows(log.to_pandas(), [c for c in SAFE if c != "ts"])
    assert os.listdir(tmp_path) == ["log.parquet"]


def test_parquet_keeps_every_argument_and_says_where_it_came_from(log, tmp_path):
    dest = tmp_path / "log.parquet"
    log.to_parquet(dest, columns=["cmd", "args"])
    read = pd.read_parquet(dest)
    assert [bytes(each[0]).upper().decode() for each in read.args][:3] == ["FUNCTION", "SELECT", "SET"]
    about = json.loads(pq.read_schema(dest).metadata[b"aofnb"])
    assert about["parts"] == [part.name for part in log.parts]
    assert b"pandas" not in pq.read_schema(dest).metadata


def test_row_groups_have_the_rows_that_were_asked_for(log, tmp_path):
    log.to_parquet(tmp_path / "x.parquet", row_group_rows=100)
    groups = pq.ParquetFile(tmp_path / "x.parquet").metadata
    assert [groups.row_group(n).num_rows for n in range(groups.num_row_groups)] == [100, 100, 100, 36]


def test_filters_reach_parquet(log, tmp_path):
    assert log.to_parquet(tmp_path / "x.parquet", cmd="SET", start=10, stop="end") == len(
        log.to_pandas(cmd="SET", start=10)
    )


def test_a_log_that_breaks_leaves_no_half_file_and_the_old_one(tmp_path):
    broken = tmp_path / "x.aof"
    broken.write_bytes(encode_command([b"SET", b"k", b"v"]) + b"*3\r\n$3\r\nSE")
    dest = tmp_path / "x.parquet"
    dest.write_bytes(b"what was there")
    with pytest.raises(aofnb.AofTruncatedError):
        aofnb.scan(broken).to_parquet(dest)
    assert dest.read_bytes() == b"what was there"
    assert sorted(os.listdir(tmp_path)) == ["x.aof", "x.parquet"]


def test_an_empty_log_is_an_empty_table(tmp_path):
    empty = aofnb.scan(sample("10-fresh-empty") / "data")
    assert empty.to_parquet(tmp_path / "x.parquet") == 0
    assert pd.read_parquet(tmp_path / "x.parquet").columns.tolist() == ["seq", *DEFAULT_COLUMNS]


@pytest.mark.parametrize(
    ("query", "columns"),
    [
        ("select cmd, count(*) from log group by 1", ("cmd",)),
        ("SELECT Key FROM log WHERE nbytes > 5", ("nbytes", "key")),
        ("select arg2, verb from log", ("arg2", "verb")),
        ("select * from log", DEFAULT_COLUMNS),
        ("select l.* from log l", DEFAULT_COLUMNS),
        ("select *, args from log", (*DEFAULT_COLUMNS, "args")),
        ("select count(*) from log", ()),
        ("select nbytes * 2 from log", ("nbytes",)),
    ],
)
def test_a_query_is_given_the_columns_it_names(query, columns):
    assert _columns_of(query) == columns


def test_sql_answers_as_pandas_does(log):
    need_module("duckdb")
    answer = log.sql("select cmd, count(*) n, sum(nbytes) bytes from log group by cmd order by cmd").set_index("cmd")
    frame = log.to_pandas()
    expected = frame.groupby(frame.cmd.astype(str)).nbytes.agg(["size", "sum"])
    assert answer.n.to_dict() == expected["size"].to_dict()
    assert answer.bytes.astype(int).to_dict() == expected["sum"].to_dict()


def test_a_query_may_name_the_log_twice(log):
    need_module("duckdb")
    answer = log.sql("select count(*) n from log a join log b on a.seq = b.seq + 1")
    assert answer.n[0] == len(log) - 1


def test_polars_has_the_same_rows_eager_and_lazy(log):
    polars = need_module("polars")
    eager = log.to_polars()
    assert eager["key"].to_list() == [None if pd.isna(key) else key for key in log.to_pandas().key]
    lazy = log.to_polars(lazy=True)
    assert lazy.collect().equals(eager)
    sets = lazy.filter(polars.col("cmd") == "SET").select("seq", "nbytes")
    assert sets.collect().equals(eager.filter(polars.col("cmd") == "SET").select("seq", "nbytes"))
    assert lazy.head(7).collect().height == 7
    assert lazy.select(polars.len()).collect().item() == len(log)


def test_a_lazy_polars_query_reads_the_columns_it_needs(log, monkeypatch):
    polars = need_module("polars")
    asked = []
    original = type(log).batches
    monkeypatch.setattr(
        type(log), "batches", lambda self, **options: asked.append(options) or original(self, **options)
    )
    log.to_polars(lazy=True).group_by("cmd").agg(polars.col("nbytes").sum()).collect()
    assert sorted(asked[0]["columns"]) == ["cmd", "nbytes"]


@pytest.fixture
def many_marks(tmp_path, monkeypatch):
    """A log with databases, transactions and seconds, and a mark every few rows."""
    monkeypatch.setattr(rows_module, "_MARK_BYTES", 1)
    monkeypatch.setattr(rows_module, "scan_file", partial(rows_module.scan_file, chunk_bytes=256))
    pieces = []
    for turn in range(300):
        pieces.append(b"#TS:%d\r\n" % (1000 + turn) if turn % 3 == 0 else b"")
        pieces.append(encode_command([b"SELECT", b"%d" % (turn % 5)]))
        unit = [[b"SET", b"k%d" % turn, b"v" * (turn % 50)], [b"DEL", b"k%d" % (turn // 2)]]
        pieces += map(encode_command, [[b"MULTI"], *unit, [b"EXEC"]] if turn % 4 else unit)
    file = tmp_path / "x.aof"
    file.write_bytes(b"".join(pieces))
    return aofnb.scan(file)


def test_pieces_for_dask_are_exact(many_marks):
    need_module("dask.dataframe")
    pieces = many_marks.to_dask(split_rows=100)
    assert pieces.npartitions > 5
    joined = pieces.compute(scheduler="synchronous")
    assert joined.index.tolist() == list(range(len(many_marks)))
    whole = many_marks.to_pandas()
    columns = ["offset", "nbytes", "db", "txn", "cmd", "key", "argc", "status"]
    assert rows(joined, columns) == rows(whole, columns)


@pytest.mark.slow
def test_two_processes_give_the_answer_of_one(many_marks):
    distributed = need_module("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster),
    ):
        frame = many_marks.to_dask(columns=["cmd", "nbytes"], split_rows=100)
        sizes = frame.groupby("cmd").nbytes.sum().compute()
    whole = many_marks.to_pandas()
    assert sizes.to_dict() == whole.groupby(whole.cmd.astype(str)).nbytes.sum().to_dict()


@pytest.fixture
def shards(many_marks, tmp_path):
    """A pattern for three logs of different lengths, one without commands."""
    data = (tmp_path / "x.aof").read_bytes()
    for number, nbytes in enumerate((len(data), data.index(b"#TS:1150"), 0)):
        (tmp_path / f"shard{number}").mkdir()
        (tmp_path / f"shard{number}" / "appendonly.aof").write_bytes(data[:nbytes])
    return str(tmp_path / "shard?" / "appendonly.aof")


def test_pieces_of_many_logs_are_exact_and_name_their_shard(shards):
    need_module("dask.dataframe")
    whole = aofnb.read_aof(shards)
    pieces = aofnb.to_dask(shards, split_rows=100)
    assert pieces.npartitions > 10
    joined = pieces.compute(scheduler="synchronous")
    assert list(joined.columns) == list(whole.columns) == list(pieces.columns)
    assert joined.index.tolist() == whole.index.tolist()
    columns = ["shard", "offset", "nbytes", "db", "txn", "cmd", "key", "argc", "status"]
    assert rows(joined, columns) == rows(whole, columns)
    some = aofnb.to_dask(shards, columns=["nbytes"], cmd="DEL", split_rows=100)
    assert some.groupby("shard").nbytes.sum().compute().to_dict() == {
        shard: group[group.cmd == "DEL"].nbytes.sum() for shard, group in whole.groupby("shard", observed=True)
    }


def test_one_log_for_dask_has_no_shard(many_marks):
    need_module("dask.dataframe")
    pieces = aofnb.to_dask(many_marks.place, columns=["cmd", "key"], encoding=None, split_rows=100)
    assert (list(pieces.columns), pieces.divisions[0]) == (["cmd", "key"], 0)
    joined = pieces.compute(scheduler="synchronous")
    assert str(pieces.dtypes["key"]) == str(joined.dtypes["key"]) == "binary[pyarrow]"
    assert len(joined) == len(many_marks)


@pytest.mark.slow
def test_two_processes_aggregate_many_logs(shards):
    distributed = need_module("distributed")
    whole = aofnb.read_aof(shards)
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster),
    ):
        frame = aofnb.to_dask(shards, columns=["db", "cmd", "nbytes"], split_rows=100)
        found = frame.groupby(["shard", "cmd"]).nbytes.agg(["sum", "count"]).compute()
        databases = frame.groupby("shard").db.nunique().compute()
    grouped = whole.astype({"cmd": str, "shard": str}).groupby(["shard", "cmd"]).nbytes.agg(["sum", "count"])
    assert found.sort_index().to_dict() == grouped.sort_index().to_dict()
    assert databases.to_dict() == whole.astype({"shard": str}).groupby("shard").db.nunique().to_dict()


def test_what_was_learnt_of_a_log_stays_here(many_marks):
    many_marks.postings()
    many_marks.times()
    sent = pickle.dumps(many_marks)
    assert len(sent) < 4000
    assert len(pickle.loads(sent).to_pandas()) == len(many_marks)


@pytest.mark.parametrize(
    ("way", "extra"),
    [
        (lambda log: log.sql("select 1"), "sql"),
        (lambda log: log.to_polars(), "polars"),
        (lambda log: log.to_dask(), "dask"),
    ],
)
def test_what_is_not_installed_is_named_with_its_extra(log, way, extra, monkeypatch):
    from aofnb.forensics import export

    def missing(name):
        raise ImportError(f"No module named {name}")

    monkeypatch.setattr(export.importlib, "import_module", missing)
    with pytest.raises(ImportError, match=rf"pip install 'aofnb\[{extra}\]'"):
        way(log)


def test_arrow_takes_a_log_as_it_is(log):
    assert pa.table(log).num_rows == len(log)
    assert builtins.len(pa.table(log).column_names) == len(DEFAULT_COLUMNS) + 1


def test_bytes_of_sql_can_be_grouped_in_pandas(log):
    need_module("duckdb")
    frame = log.sql("select arg1, args, arg1 from log where arg1 is not null limit 3")
    assert all(type(value) is bytes for value in frame.iloc[:, 0])
    assert all(type(arg) is bytes for args in frame["args"] for arg in args)
    assert frame.iloc[:, 0].value_counts().sum() == 3
