"""Real directories, written by real servers, load to what those servers say is in them."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import pytest
from support.keyspaces import content, expected_content, narrowed

import aofnb

SAMPLES = Path(__file__).parents[1] / "data" / "samples"
LOADED = [
    "redis-7.0.15/02-aof-base-incr",
    "redis-7.0.15/03-timestamps",
    "redis-7.0.15/04-truncated-mid-command",
    "redis-7.0.15/04b-truncated-inside-multi",
    "redis-7.0.15/04c-multi-without-exec",
    "redis-7.0.15/07-old-single-plain",
    "redis-6.2.16/single-plain",
    "redis-7.0.15/01-rdb-base-incr",
    "redis-7.0.15/06-old-single-rdb-preamble",
    "redis-7.0.15/08-manifest-history-two-incr-quoted",
    "redis-7.0.15/09-rdb-base-lfu",
    "redis-7.0.15/09b-rdb-base-lru",
    "redis-7.0.15/10-fresh-empty",
    "redis-6.2.16/single-rdb-preamble",
    "valkey-8.0.1/rdb-base-incr",
]
EXPIRING_FIELDS = ["redis-7.4.1/rdb-base-incr-hfe", "redis-7.4.1/aof-base-incr-hfe"]
REFUSED = ["redis-7.0.15/05-garbage-middle", "redis-7.0.15/05b-zero-padded-tail"]


def copy_of(sample: str, tmp_path: Path) -> Path:
    return shutil.copytree(SAMPLES / sample / "data", tmp_path / "data")


def settings_of(sample: str) -> dict[str, object]:
    """The settings that the sample's server was started with, as far as they name files."""
    args = json.loads((SAMPLES / sample / "expected.json").read_text())["server_args"]
    given = dict(zip(args[::2], args[1::2], strict=False))
    return {name[2:]: value for name, value in given.items() if name in ("--appendfilename", "--appenddirname")}


def files_in(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and path.name != "aofnb.lock"
    }


@pytest.mark.parametrize("sample", LOADED)
def test_a_log_loads_to_its_expected_keyspace(sample: str, tmp_path: Path) -> None:
    expected, functions = expected_content(SAMPLES / sample)
    with aofnb.open(copy_of(sample, tmp_path), **settings_of(sample)) as store:
        assert store.load_report is not None
        assert store.load_report.failed == ()
        assert narrowed(content(store), expected) == expected
        listed = store.execute("FUNCTION", "LIST", "WITHCODE")
        assert {dict(zip(f[::2], f[1::2], strict=True))[b"library_name"].decode() for f in listed} == set(functions)


def test_a_log_of_3_2_loads_but_for_what_its_scripts_wrote_where_none_can_be_run(tmp_path: Path) -> None:
    """It has scripts as they were sent, not what they did."""
    expected, _ = expected_content(SAMPLES / "redis-3.2.13/single-plain")
    with aofnb.open(copy_of("redis-3.2.13/single-plain", tmp_path)) as store:
        assert store.load_report is not None
        failed = store.load_report.failed
        assert {command.command for command in failed} <= {"EVAL"}
        if failed:
            del expected[0][b"lua"]
        assert narrowed(content(store), expected) == expected


@pytest.mark.parametrize("sample", EXPIRING_FIELDS)
def test_fields_that_expire_keep_their_deadlines(sample: str, tmp_path: Path) -> None:
    """redis-server 7.0.15, which knows no such fields, refuses to start; 7.4 wrote these."""
    expected, _ = expected_content(SAMPLES / sample)
    directory = copy_of(sample, tmp_path)
    found = json.loads((SAMPLES / sample / "expected.json").read_text())["result"]["dbs"]["0"]
    deadlines = {
        base64.b64decode(key): {base64.b64decode(field): when for field, when in facts["field_pexpireat"]}
        for key, facts in found.items()
        if facts.get("field_pexpireat")
    }
    assert deadlines
    for rewrite in (True, False):
        with aofnb.open(directory) as store:
            assert store.load_report is not None
            assert store.load_report.failed == ()
            assert store.load_report.skipped == ()
            assert narrowed(content(store), expected) == expected
            for key, fields in deadlines.items():
                names = list(fields)
                said = store.execute("HPEXPIRETIME", key, "FIELDS", len(names), *names)
                assert dict(zip(names, said, strict=True)) == fields
            if rewrite:
                store.bgrewriteaof()


@pytest.mark.parametrize("sample", LOADED)
def test_it_loads_the_same_again_after_we_opened_it(sample: str, tmp_path: Path) -> None:
    directory = copy_of(sample, tmp_path)
    expected, _ = expected_content(SAMPLES / sample)
    with aofnb.open(directory, **settings_of(sample)):
        pass
    with aofnb.open(directory, **settings_of(sample)) as store:
        assert narrowed(content(store), expected) == expected


@pytest.mark.parametrize("sample", REFUSED)
def test_damage_in_the_middle_is_refused_with_its_place_and_no_file_changes(sample: str, tmp_path: Path) -> None:
    directory = copy_of(sample, tmp_path)
    before = files_in(directory)
    with pytest.raises(aofnb.AofFormatError) as caught:
        aofnb.open(directory)
    check = json.loads((SAMPLES / sample / "expected.json").read_text())["redis_check_aof"]["stdout"]
    assert f"ok_up_to={caught.value.offset}," in check
    assert caught.value.file is not None
    assert caught.value.file.endswith("appendonly.aof.1.incr.aof")
    assert files_in(directory) == before


def test_the_transaction_cut_in_two_is_cut_off_whole(tmp_path: Path) -> None:
    """redis-server 7.0.15 cuts at byte 99 and leaves a MULTI open, which eats later writes."""
    directory = copy_of("redis-7.0.15/04b-truncated-inside-multi", tmp_path)
    with aofnb.open(directory, appendfsync="always") as store:
        store.execute("SET", "after", "1")
    log = (directory / "appendonlydir" / "appendonly.aof.1.incr.aof").read_bytes()
    assert b"MULTI" not in log
    assert log[55:].startswith(b"*2\r\n$6\r\nSELECT")
    with aofnb.open(directory) as store:
        assert store.execute("GET", "after") == b"1"


@pytest.mark.parametrize("sample", ["04-truncated-mid-command", "04b-truncated-inside-multi", "04c-multi-without-exec"])
def test_a_cut_tail_is_refused_and_kept_with_aof_load_truncated_no(sample: str, tmp_path: Path) -> None:
    directory = copy_of(f"redis-7.0.15/{sample}", tmp_path)
    before = files_in(directory)
    with pytest.raises(aofnb.AofTruncatedError):
        aofnb.open(directory, aof_load_truncated=False)
    assert files_in(directory) == before
