from datetime import UTC, datetime, time, timedelta, timezone
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from support.samples import sample

import aofnb
from aofnb.forensics.position import Place, Row, Second, TimeOfDay, parse_position
from aofnb.resp.encode import encode_command

TIMED = sample("03-timestamps") / "data"
WITH_SNAPSHOT = sample("01-rdb-base-incr") / "data"


@pytest.mark.parametrize(
    ("given", "means"),
    [
        (57, Row(57)),
        (np.int64(57), Row(57)),
        ("#57", Row(57)),
        (" -1 ", Row(-1)),
        ("start", Row(0)),
        ("my data.aof.1.incr.aof:12", Place("my data.aof.1.incr.aof", 12)),
        ("a.rdb:12+3", Place("a.rdb", 12, 3)),
        ("#TS:1795183385", Second(1795183385)),
        ("2026-11-20 14:03:05 UTC", Second(1795183385)),
        (str(pd.Timestamp("2026-11-20 14:03:05", tz="UTC")), Second(1795183385)),
        ("14:03", TimeOfDay(time(14, 3))),
        ("4:03:05", TimeOfDay(time(4, 3, 5))),
        ("2026-11-20T14:03:05Z", Second(1795183385)),
        ("2026-11-20 14:03:05.900", Second(1795183385)),
        (datetime(2026, 11, 20, 14, 3, 5), Second(1795183385)),
        (datetime(2026, 11, 20, 15, 3, 5, tzinfo=timezone(timedelta(hours=1))), Second(1795183385)),
        (pd.Timestamp("2026-11-20 14:03:05", tz="UTC"), Second(1795183385)),
    ],
)
def test_what_a_person_may_give(given, means):
    assert parse_position(given) == means


@pytest.mark.parametrize("text", ["", "yesterday", "file:", "#x", ":", "file:1+"])
def test_what_names_no_position_is_refused_with_the_forms(text):
    with pytest.raises(ValueError, match="names no position: give a row"):
        parse_position(text)


@pytest.mark.parametrize("what", [[1], 1.5, True])
def test_what_is_no_number_text_or_time_is_no_position(what):
    with pytest.raises(TypeError, match="row number, a time"):
        parse_position(what)


def test_no_time_is_no_position():
    """As ``df.ts.min()`` of a log without times is."""
    with pytest.raises(ValueError, match="NaT is no time"):
        parse_position(pd.NaT)


@pytest.mark.parametrize("directory", [TIMED, WITH_SNAPSHOT])
def test_every_row_is_found_again_by_number_and_by_itself(directory):
    log = aofnb.scan(directory)
    frame = log.to_pandas()
    for seq in range(len(frame)):
        position = log.position(seq)
        assert (position.seq, position.part, position.offset) == (seq, frame.part[seq], frame.offset[seq])
        assert log.position(str(position)) == position
        # All that give the number go the same way from there, which takes long where there is no kernel.
        assert parse_position(position) == parse_position(f"#{seq}") == parse_position(seq) == Row(seq)
        if seq % 50 == 0:
            assert log.position(position) == log.position(f"#{seq}") == position
    assert log.position("end").seq == len(frame)
    assert log.position(-1).seq == len(frame) - 1


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_places_in_a_compressed_file_are_those_of_its_content(tmp_path, compression):
    content = b"".join(encode_command([b"SET", b"key:%d" % n, b"x" * 500]) for n in range(40))
    (tmp_path / "plain.aof").write_bytes(content)
    with pa.CompressedOutputStream(str(tmp_path / "x.aof"), compression) as file:
        file.write(content)
    log, plain = aofnb.scan(tmp_path / "x.aof"), aofnb.scan(tmp_path / "plain.aof")
    assert log.parts[0].size < 1000
    for where in (0, 20, 39, 40, "end"):
        position = log.position(where)
        assert position.offset == plain.position(where).offset
        assert log.position(str(position)) == position
    with pytest.raises(ValueError, match=f"x.aof has {len(content)} bytes; offset {len(content) + 1} is behind it"):
        log.position(f"x.aof:{len(content) + 1}")
    for read in (lambda log: log.postings(), lambda log: log.triage()):
        other = aofnb.scan(tmp_path / "x.aof")
        read(other)
        assert other.index() == log.index()


def test_a_moment_stands_behind_all_commands_of_its_second():
    log = aofnb.scan(TIMED)
    frame = log.to_pandas()
    for moment in frame.ts.dropna().unique():
        assert log.position(moment.to_pydatetime()).seq == (frame.ts <= moment).to_numpy().nonzero()[0][-1] + 1
    assert log.position(datetime(1999, 1, 1, tzinfo=UTC)).seq == int(frame.ts.notna().to_numpy().argmax())
    assert log.position("2100-01-01") == log.position("end")


def timed_log(path, *seconds):
    path.write_bytes(b"".join(b"#TS:%d\r\n*2\r\n$4\r\nINCR\r\n$1\r\nk\r\n" % second for second in seconds))
    return aofnb.scan(path)


def test_a_time_of_day_is_of_the_day_on_which_the_log_has_it(tmp_path):
    begin = 1795132800  # midnight
    log = timed_log(tmp_path / "a.aof", begin + 60, begin + 3600, begin + 7200)
    assert [log.position(text).seq for text in ("0:00", "00:01", "01:00:00", "01:59:59", "23:00")] == [0, 1, 2, 2, 3]
    log = timed_log(tmp_path / "b.aof", begin + 60, begin + 86400)
    assert log.position("12:00").seq == 1
    log = timed_log(tmp_path / "c.aof", begin + 60, begin + 2 * 86400)
    with pytest.raises(ValueError, match="on 2 days: 2026-11-20, 2026-11-21; say which"):
        log.position("12:00")
    with pytest.raises(ValueError, match="has no times"):
        aofnb.scan(WITH_SNAPSHOT).position("12:00")


def test_places_that_are_not_there_are_said():
    log = aofnb.scan(TIMED)
    with pytest.raises(ValueError, match="the log has 21 rows, 0 to 20"):
        log.position(22)
    with pytest.raises(ValueError, match="no file of this log"):
        log.position("other.aof:0")
    with pytest.raises(ValueError, match="is behind it"):
        log.position("appendonly.aof.2.incr.aof:99999")
    with pytest.raises(ValueError, match="has no 3 rows at byte 0"):
        log.position("appendonly.aof.2.incr.aof:0+2")


def test_rows_between_two_positions_are_those_of_the_whole_frame():
    log = aofnb.scan(WITH_SNAPSHOT)
    whole = log.to_pandas()
    for start, stop in [(0, 5), (3, 200), (334, None), (None, 10), (300, 300), (300, 200), (-5, "end")]:
        part = log.to_pandas(start=start, stop=stop)
        expected = whole.iloc[slice(start, None if stop == "end" else stop)]
        pd.testing.assert_frame_equal(part, expected, check_index_type=False, check_categorical=False)
    assert sum(map(len, log.to_pandas(start=10, stop=100, chunksize=7))) == 90


@pytest.fixture
def small_pieces(monkeypatch):
    """The snapshot in front of a log is many tables, each of which would be worth a mark, if it could have one."""
    monkeypatch.setattr("aofnb.forensics.snapshot._TABLE_ROWS", 40)
    monkeypatch.setattr("aofnb.forensics.rows._MARK_ROWS", 20)


def test_nothing_begins_to_read_inside_a_snapshot(small_pieces):
    log = aofnb.scan(WITH_SNAPSHOT, cache_dir=False)
    whole = log.to_pandas()
    in_snapshot = int((whole["part"] == log.parts[0].name).sum())
    assert in_snapshot > 150
    assert [mark.seq for mark in log.index().marks if mark.seq <= in_snapshot] == [0, in_snapshot, in_snapshot]
    for start in range(0, len(whole), 30):
        part = log.to_pandas(start=start)
        pd.testing.assert_frame_equal(part, whole.iloc[start:], check_index_type=False, check_categorical=False)
        assert log.position(log.position(start)).seq == start


def test_reading_from_a_mark_gives_the_same_rows(monkeypatch, tmp_path):
    """Databases, transactions and seconds go on across the marks of the index."""
    from aofnb.forensics import rows as module

    monkeypatch.setattr(module, "_MARK_BYTES", 1)
    file = tmp_path / "x.aof"
    records = []
    for turn in range(40):
        records.append(f"#TS:{1000 + turn}\r\n" if turn % 3 == 0 else "")
        records += [f"*2\r\n$6\r\nSELECT\r\n$1\r\n{turn % 5}\r\n", "*1\r\n$5\r\nMULTI\r\n"]
        records += ["*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n", "*1\r\n$4\r\nEXEC\r\n"]
    file.write_text("".join(records), newline="")
    monkeypatch.setattr(module, "scan_file", partial(module.scan_file, chunk_bytes=64))
    log = aofnb.scan(file)
    whole = log.to_pandas()
    assert len(log.index().marks) > 10
    for start in range(0, len(whole), 7):
        pd.testing.assert_frame_equal(
            log.to_pandas(start=start), whole.iloc[start:], check_index_type=False, check_categorical=False
        )


def test_a_file_and_an_offset_are_a_position(tmp_path):
    path = tmp_path / "x.aof"
    path.write_bytes(encode_command([b"INCR", b"k"]) * 3 + encode_command([b"DEL", b"k"]))
    log = aofnb.scan(path)
    position = log.position(3)
    assert log.position((position.part, np.int64(position.offset))) == position
    assert log.at((position.part, position.offset)).execute("GET", "k") == b"3"
    assert log.undo((position.part, position.offset)).commands == [3]
    for wrong in ((position.part,), (3, position.part), (position.part, 1.5), (1, 2, 3)):
        with pytest.raises(TypeError, match="a position is"):
            log.position(wrong)
