import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

from aofnb.forensics.assembly import Assembly, frame_of_batches
from aofnb.forensics.columns import RowBuilder, Selection
from aofnb.forensics.scan import Records

COLUMNS = ("part", "offset", "ts", "db", "txn", "cmd", "key", "nkeys", "status", "verb", "args")


def log_of(count):
    """Batches of commands of every kind that a column tells apart, the first without ``#TS``."""
    builder = RowBuilder(["a.aof", "b.aof"], Selection.of(COLUMNS))
    batches = []
    for number in range(count):
        argvs = [[b"set", b"key%d" % number, b"v"], [b"SELECT", b"%d" % (number % 3)], [b"NEW%d" % number, b"x"]]
        argvs += [[b"MULTI"], [b"DEL", b"a", b"b"], [b"EXEC"]]
        ts = [(2, 1_790_000_000 + number)]
        places = np.arange(len(argvs)) * 10
        rows = builder.batch(Records.of(argvs, places, np.full(len(argvs), 10), ts=ts))
        batches += [rows.settled.slice(0, 2), rows.settled.slice(2)]
    return builder.schema, batches


@pytest.mark.parametrize("expected", [0, 1, 7, 60, 10**6])
def test_what_was_expected_is_only_a_guess(expected):
    schema, batches = log_of(10)
    assembly = Assembly(schema, ["a.aof", "b.aof"])
    for batch in batches:
        assembly.add(batch, expected)
    assert_frame_equal(assembly.frame(), frame_of_batches(batches, schema, ["a.aof", "b.aof"]))


def test_every_row_is_as_it_was_in_its_batch():
    schema, batches = log_of(10)
    frame = frame_of_batches(batches, schema, ["a.aof", "b.aof"])
    rows = [row for batch in batches for row in batch.to_pylist()]
    assert frame.index.equals(pd.RangeIndex(60, name="seq"))
    for name in COLUMNS:
        got = [None if np.ndim(value) == 0 and pd.isna(value) else value for value in frame[name].astype(object)]
        got = [list(value) if np.ndim(value) else value for value in got]
        assert got == [row[name] for row in rows], name
    assert list(frame["cmd"].cat.categories) == sorted({row["cmd"] for row in rows})
    assert frame["cmd"].cat.codes.dtype == np.int8


def test_rows_that_were_left_out_leave_gaps_in_the_index():
    schema, batches = log_of(3)
    some = [batches[0], batches[1].take(pa.array([1, 3])), batches[2]]
    frame = frame_of_batches(some, schema, ["a.aof", "b.aof"])
    assert frame.index.to_list() == [0, 1, 3, 5, 6, 7]
    assert frame.index.name == "seq"


def test_no_rows_are_a_frame_with_the_same_dtypes():
    schema, batches = log_of(1)
    empty = frame_of_batches([], schema, ["a.aof", "b.aof"])
    full = frame_of_batches(batches, schema, ["a.aof", "b.aof"])
    assert len(empty) == 0
    for name in set(COLUMNS) - {"cmd", "verb"}:
        assert empty[name].dtype == full[name].dtype, name


def test_more_words_than_two_bytes_can_number():
    words = [f"W{number}" for number in range(40_000)]
    schema = pa.schema([("seq", pa.int64()), ("verb", pa.dictionary(pa.int32(), pa.string()))])
    few = pa.array(["B", "A", None]).dictionary_encode()
    many = pa.array(words).dictionary_encode()
    batches = [
        pa.RecordBatch.from_arrays([pa.array(np.arange(3)), few], schema=schema),
        pa.RecordBatch.from_arrays([pa.array(np.arange(3, 3 + len(words))), many], schema=schema),
    ]
    # As `RowBuilder` has them: what is missing has index -1.
    indices = pa.Array.from_buffers(pa.int32(), 3, [few.indices.buffers()[0], pa.py_buffer(np.array([0, 1, -1], "i4"))])
    missing = pa.DictionaryArray.from_arrays(indices, few.dictionary)
    batches[0] = pa.RecordBatch.from_arrays([batches[0].column(0), missing], schema=schema)
    frame = frame_of_batches(batches, schema, [])
    assert frame["verb"].astype(object).to_list()[:2] == ["B", "A"]
    assert frame["verb"].isna().to_list() == [False, False, True, *[False] * len(words)]
    assert frame["verb"].to_list()[3:] == words
