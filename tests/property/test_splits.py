"""A log cut into pieces for many workers, and a damaged one read on, also where values are logs."""

from functools import partial
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aofnb
from aofnb.forensics import rows as module
from aofnb.forensics.columns import Selection
from aofnb.forensics.reading import Report
from aofnb.resp.encode import encode_command

COLUMNS = ("part", "offset", "nbytes", "ts", "db", "txn", "cmd", "args", "status")

words = st.sampled_from([b"", b"k", b"12", b"\r\n", b"*1\r\n$4\r\nEXEC\r\n", b"\n*", b"$3\r\nSET\r\n", b"\0\xff"])
plain = st.tuples(st.just(b"SET"), words, words).map(list)
framing = st.sampled_from([[b"MULTI"], [b"EXEC"], [b"SELECT", b"3"], [b"SELECT", b"0"], [b"FLUSHALL"]])
texts = st.lists(st.one_of(plain, framing), min_size=1, max_size=6).map(
    lambda log: b"#TS:7\r\n" + b"".join(map(encode_command, log))
)
# A value that is a log, whole or cut anywhere, and one whose value is a log again.
inner = st.builds(lambda text, begin, end: text[begin : len(text) - end], texts, st.integers(0, 9), st.integers(0, 9))
nested = st.builds(lambda key, text: [b"SET", key, text], words, inner)
twice = nested.map(lambda argv: [b"RPUSH", b"k", encode_command(argv), encode_command(argv)])
logs = st.lists(st.one_of(plain, framing, nested, twice, st.integers(1, 99)), min_size=1, max_size=14)


def bytes_of(log: list) -> list[bytes]:
    return [b"#TS:%d\r\n" % each if isinstance(each, int) else encode_command(each) for each in log]


@pytest.fixture
def many_marks(monkeypatch):
    """A mark behind each few bytes, and chunks that end anywhere."""
    monkeypatch.setattr(module, "_MARK_BYTES", 1)
    monkeypatch.setattr(module, "scan_file", partial(module.scan_file, chunk_bytes=40))


def rows_of(batches):
    return [row for batch in batches for row in batch.to_pylist()]


@given(logs, st.integers(1, 5))
def test_pieces_together_are_the_whole(tmp_path, many_marks, log, rows):
    """Each piece knows the database, the transaction and the second it begins in."""
    path = tmp_path / "log.aof"
    path.write_bytes(b"".join(bytes_of(log)))
    scanned = aofnb.scan(path, on_bad="truncate", cache_dir=False)
    selection = Selection.of(COLUMNS, encoding=None)
    whole = rows_of(scanned.read(selection, "truncate", None, Report()))
    assert [list(row["args"]) for row in whole] == [each for each in log if not isinstance(each, int)]
    marks = [*scanned.index().thinned(rows), scanned.index().end]
    pieces = [rows_of(scanned.read_from(begin, end.seq, selection)) for begin, end in pairwise(marks)]
    assert [row for piece in pieces for row in piece] == whole


@settings(derandomize=True)
@given(logs, st.data())
def test_no_row_is_made_up_but_such_as_say_so(tmp_path, log, data):
    """Wherever one block is missing or zeroed: what is no row of the log and behind noticed damage has a status that
    says what it may be, up to the first SELECT behind it.
    """
    records = bytes_of(log)
    content = b"".join(records)
    at = data.draw(st.integers(0, len(content) - 1))
    length = data.draw(st.integers(1, 60))
    zeros = data.draw(st.booleans())
    path = tmp_path / "log.aof"
    path.write_bytes(content[:at] + (bytes(min(length, len(content) - at)) if zeros else b"") + content[at + length :])
    scanned = aofnb.scan(path, on_bad="resync", cache_dir=False)
    report = Report()
    rows = rows_of(scanned.read(Selection.of(("args", "status", "offset"), encoding=None), "resync", None, report))
    # Where a header is gone and nothing else, the value is a log like any other: nobody can notice.
    lost = ("zeros", "garbage", "command", "nested")
    noticed = min((each["offset"] for each in report.damage if each["kind"] in lost), default=len(content))
    true = [each for each in log if not isinstance(each, int)]
    before = sum(len(b"".join(records[: number + 1])) <= at for number in range(len(records)))
    sure = [each for each in log[:before] if not isinstance(each, int)]
    got = [(list(row["args"]), row["status"], row["offset"]) for row in rows]
    assert [argv for argv, _, _ in got[: len(sure)]] == sure
    left = true[len(sure) :]
    for argv, status, offset in got[len(sure) :]:
        if offset >= noticed and argv[:1] == [b"SELECT"]:
            # It may be one of a value, too: what is behind it is taken for certain.
            return
        if argv in left:
            left = left[left.index(argv) + 1 :]
        elif offset >= noticed:
            assert status != "ok", argv


def test_arrow_batches_have_one_schema(tmp_path):
    path = tmp_path / "log.aof"
    path.write_bytes(encode_command([b"SET", b"a", b"1"]))
    batches = list(aofnb.scan(path).batches(columns=["args", "status"]))
    assert pa.Table.from_batches(batches).num_rows == 1
