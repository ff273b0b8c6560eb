"""aofnb/aof/rewrite.py: writing a base, and when to."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.faults import FaultFs

from aofnb.aof.fs import OsFs
from aofnb.aof.rewrite import (
    Backoff,
    BaseForm,
    growth_triggers_rewrite,
    is_temp_base_name,
    temp_base_name,
    write_base,
    write_keyspace,
)
from aofnb.config import Config
from aofnb.rdb import crc64, load_rdb
from aofnb.resp.encode import encode_command
from aofnb.store.keyspace import Keyspace


def test_a_base_holds_the_records_with_a_select_where_the_database_changes(tmp_path):
    path = tmp_path / "base"
    records = [
        (-1, [b"FUNCTION", b"LOAD", b"x"]),
        (0, [b"SET", b"a", b"1"]),
        (0, [b"SET", b"b", b"2"]),
        (3, [b"SET", b"a", b"3"]),
    ]
    size = write_base(OsFs(), str(path), iter(records))
    expected = [
        [b"FUNCTION", b"LOAD", b"x"],
        [b"SELECT", b"0"],
        [b"SET", b"a", b"1"],
        [b"SET", b"b", b"2"],
        [b"SELECT", b"3"],
        [b"SET", b"a", b"3"],
    ]
    assert path.read_bytes() == b"".join(map(encode_command, expected))
    assert size == path.stat().st_size


def test_a_base_with_a_time_begins_with_it_and_an_empty_one_has_no_bytes(tmp_path):
    assert write_base(OsFs(), str(tmp_path / "a"), (), timestamp_s=1795185920) == 16
    assert (tmp_path / "a").read_bytes() == b"#TS:1795185920\r\n"
    assert write_base(OsFs(), str(tmp_path / "b"), ()) == 0


def big(n):
    return ((0, [b"SET", b"k%d" % i, b"x" * 100_000]) for i in range(n))


def test_a_large_base_is_synced_on_the_way_and_at_the_end(tmp_path):
    fs = FaultFs()
    seen: list[int] = []
    size = write_base(fs, str(tmp_path / "a"), big(100), progress=seen.append)
    synced = [i for i, (operation, _) in enumerate(fs.log) if operation == "fdatasync"]
    assert len(synced) == 3
    assert [operation for operation, _ in fs.log[-2:]] == ["fdatasync", "close"]
    assert seen == sorted(seen)
    assert seen[-1] == size
    assert len(seen) > 8
    fs = FaultFs()
    write_base(fs, str(tmp_path / "a"), big(100), incremental_fsync=False)
    assert [operation for operation, _ in fs.log].count("fdatasync") == 1


@pytest.mark.parametrize("fail_at", range(15))
def test_a_failure_is_raised_and_the_file_is_closed(tmp_path, fail_at):
    fs = FaultFs(fail_at)
    with pytest.raises(OSError, match="Input/output"):
        write_base(fs, str(tmp_path / "a"), big(100))
    assert fs.failed
    if fail_at:
        assert fs.log[-1][0] == "close"


def test_short_writes_are_continued(tmp_path):
    class OneByte(FaultFs):
        def write(self, file, data):
            return file.write(memoryview(data)[: max(1, len(data) // 2)])

    write_base(OneByte(), str(tmp_path / "a"), [(0, [b"SET", b"k", b"v" * 999])])
    assert (tmp_path / "a").read_bytes().endswith(b"v" * 999 + b"\r\n")


def test_progress_can_stop_it(tmp_path):
    def stop(_written: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_base(OsFs(), str(tmp_path / "a"), big(100), progress=stop)
    assert (tmp_path / "a").stat().st_size < 2_000_000


@pytest.mark.parametrize(
    ("current", "base", "percentage", "min_size", "wanted"),
    [
        (2081, 0, 100, 2000, True),
        (2000, 0, 100, 2000, False),
        (2515, 1258, 100, 2000, False),
        (2516, 1258, 100, 2000, True),
        (10**12, 1, 0, 0, False),
        (1999, 1000, 99, 100, True),
        (1989, 1000, 99, 100, False),
    ],
)
def test_growth_is_reckoned_in_whole_percents(current, base, percentage, min_size, wanted):
    assert growth_triggers_rewrite(current, base, percentage, min_size) is wanted


def test_three_failures_slow_automatic_rewrites_down():
    backoff = Backoff()
    now = 1000.0
    for _ in range(2):
        backoff.failed(now)
        assert backoff.allows(now)
    waits = []
    for _ in range(9):
        backoff.failed(now)
        start = now
        while not backoff.allows(now):
            now += 1
        waits.append(round((now - start) / 60))
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    backoff.succeeded()
    backoff.failed(now)
    assert backoff.allows(now)


def test_a_base_is_compressed_and_summed_as_the_settings_say(monkeypatch):
    assert (BaseForm.of(Config(), 0).compressed, BaseForm.of(Config({"rdbcompression": True}), 0).compressed) == (
        False,
        True,
    )
    for fast in (True, False):
        monkeypatch.setattr(crc64, "FAST", fast)
        assert BaseForm.of(Config(), 0).checksum is fast, "in plain Python the sum takes longer than all the rest"
        assert BaseForm.of(Config({"rdbchecksum": False}), 0).checksum is False


def test_temporary_names_are_told_from_others():
    assert temp_base_name(42) == "temp-rewriteaof-bg-42.aof"
    assert is_temp_base_name(temp_base_name(42))
    assert is_temp_base_name("temp-rewriteaof-42.aof")
    assert not is_temp_base_name("appendonly.aof.1.base.aof")


def test_a_keyspace_is_written_in_the_form_asked_for(tmp_path):
    keyspace = Keyspace(2, lambda: 0)
    keyspace[1].put(b"k", b"v")
    path = str(tmp_path / "a")
    size = write_keyspace(OsFs(), path, keyspace, BaseForm("rdb", now_s=5, used_bytes=7), Config())
    data = Path(path).read_bytes()
    assert size == len(data)
    loaded_to = Keyspace(2, lambda: 0)
    with open(path, "rb") as file:
        loaded = load_rdb(file, loaded_to)
    assert (loaded.keys, loaded_to[1].lookup(b"k")) == (1, b"v")
    assert loaded.aux[2:] == ((b"ctime", b"5"), (b"used-mem", b"7"), (b"aof-base", b"1"))
    form = BaseForm.of(Config({"aof_use_rdb_preamble": False, "aof_timestamp_enabled": True}), 5999)
    write_keyspace(OsFs(), path, keyspace, form, Config())
    assert Path(path).read_bytes() == b"#TS:5\r\n" + encode_command([b"SELECT", b"1"]) + encode_command(
        [b"SET", b"k", b"v"]
    )
