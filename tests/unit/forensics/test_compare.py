import os
import shutil
from itertools import pairwise, permutations
from pathlib import Path

import pytest
from support.samples import public_samples, sample

import aofnb
from aofnb import cli_questions
from aofnb.cli import main
from aofnb.forensics.compare import compare
from aofnb.resp.encode import encode_command


def written(path, *lines):
    path.write_bytes(b"".join(encode_command(line.encode().split()) for line in lines))
    return path


def test_equal_logs_are_equal_in_every_way(tmp_path):
    a, b = (written(tmp_path / name, "SELECT 0", "SET k 1", "XADD s 1-1 f v") for name in ("a.aof", "b.aof"))
    for level in ("bytes", "commands", "state"):
        assert compare(a, b, level=level)


def test_where_bytes_part(tmp_path):
    a, b = written(tmp_path / "a.aof", "SET k 1", "SET k 2"), written(tmp_path / "b.aof", "SET k 1", "SET k 3")
    found = compare(a, b, level="bytes")
    place = a.read_bytes().index(b"2\r\n", 40)
    assert (found.equal, found.common, found.prefix) == (False, place, None)
    assert found.differences.offset_a[0] == found.differences.offset_b[0] == place


@pytest.mark.parametrize("level", ["bytes", "commands"])
def test_a_log_that_went_on(level, tmp_path):
    a, b = written(tmp_path / "a.aof", "SET k 1"), written(tmp_path / "b.aof", "SET k 1", "SET k 3")
    assert (compare(a, b, level=level).prefix, compare(b, a, level=level).prefix) == ("a", "b")
    assert compare(a, b, level=level).common == (a.stat().st_size if level == "bytes" else 1)


def test_a_file_that_ends_sooner_makes_no_log_the_beginning_of_another(tmp_path):
    """Where the log goes on in another file, the other one has to as well."""
    data = sample("02-aof-base-incr") / "data"
    log = aofnb.scan(data)
    with (tmp_path / "one.aof").open("wb") as file:
        for part in log.parts:
            file.write(Path(part.path).read_bytes())
    for a, b in permutations([str(data), str(tmp_path / "one.aof")]):
        found = compare(a, b, level="bytes")
        assert (found.equal, found.common, found.prefix) == (False, log.parts[0].size, None)
        assert compare(a, b, level="state")


def test_commands_are_what_was_run_where(tmp_path):
    a = written(tmp_path / "a.aof", "SELECT 1", "SET k 1", "SELECT 1", "set k 2")
    b = written(tmp_path / "b.aof", "SELECT 1", "SET k 1", "SET k 2")
    assert compare(a, b)
    # Servers of before 7.0 say SELECT behind MULTI, which itself has no database.
    before = written(tmp_path / "d.aof", "SELECT 1", "MULTI", "SET k 1", "EXEC")
    assert compare(before, written(tmp_path / "e.aof", "MULTI", "SELECT 1", "SET k 1", "EXEC"))
    found = compare(a, written(tmp_path / "c.aof", "SELECT 2", "SET k 1"))
    assert (found.common, found.differences.db_a[0], found.differences.db_b[0]) == (0, 1, 2)


def test_states_are_compared_key_by_key(tmp_path):
    a = written(tmp_path / "a.aof", "SADD s a b", "SET gone 1", "SET t 1", "SET e 1", "SET m 1", "SET same 1")
    b = written(
        tmp_path / "b.aof", "SADD s b", "SADD s a", "SADD t 1", "SET e 1 PXAT 9", "SET m 2", "SET same 1", "SET n 1"
    )
    found = compare(a, b, level="state")
    assert dict(zip(found.differences.key, found.differences.change, strict=True)) == {
        b"e": "ttl-changed",
        b"gone": "removed",
        b"m": "modified",
        b"n": "added",
        b"t": "type-changed",
    }
    assert found.common == 2


def test_a_level_that_there_is_not(tmp_path):
    path = written(tmp_path / "a.aof", "SET k 1")
    with pytest.raises(ValueError, match="level= is 'bytes'"):
        compare(path, path, level="looks")


def test_groups_of_streams_count(tmp_path):
    a = written(tmp_path / "a.aof", "XADD s 1-1 f v", "XGROUP CREATE s g 0")
    b = written(tmp_path / "b.aof", "XADD s 1-1 f v", "XGROUP CREATE s g 1-1")
    assert compare(a, b, level="state").differences.change.tolist() == ["modified"]


def test_the_public_log_that_grew():
    """Each later version begins with the one before, until a rewrite."""
    files = sorted((public_samples() / "growing").glob("*.aof"))
    found = [compare(a, b, level="bytes") for a, b in pairwise(files)]
    assert [each.prefix for each in found[:2]] == ["a", "a"]
    assert not any(each.equal for each in found)
    assert aofnb.scan(files[0]).source.endswith(".aof")


@pytest.mark.parametrize("level", ["bytes", "commands", "state"])
def test_progress_is_told_over_both_logs(level, tmp_path):
    a, b = (written(tmp_path / name, *["SET k 1"] * 30_000) for name in ("a.aof", "b.aof"))
    told = []
    compare(a, b, level=level, progress=lambda done, total: told.append((done, total)))
    total = 2 * a.stat().st_size
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert {each for _, each in told} == {total}
    assert told[-1] == (total, total)
    assert told[0][0] < total


def test_progress_ends_where_logs_part(tmp_path):
    a, b = written(tmp_path / "a.aof", "SET k 1"), written(tmp_path / "b.aof", *["SET k 2"] * 9)
    told = []
    compare(a, b, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (a.stat().st_size + b.stat().st_size,) * 2


@pytest.mark.skipif(not hasattr(os, "pread"), reason="files are not held here")
@pytest.mark.parametrize("level", ["bytes", "commands", "state"])
def test_a_rewrite_while_logs_are_compared_changes_nothing(level, tmp_path, monkeypatch, capsys):
    with aofnb.open(tmp_path / "live", background=False, auto_aof_rewrite_percentage=0) as store:
        for number in range(20):
            store.execute("SET", f"k{number % 7}", number)
        shutil.copytree(tmp_path / "live", tmp_path / "copy")

        def judged_and_rewritten(log, options, judged=cli_questions.judged):
            code = judged(log, options)
            if "live" in log.source:
                store.bgrewriteaof()
                while store.stats().rewrite.phase != "idle":
                    store.execute("PING")
                store.execute("SET", "later", "1")
            return code

        monkeypatch.setattr(cli_questions, "judged", judged_and_rewritten)
        code = main(["compare", str(tmp_path / "live"), str(tmp_path / "copy"), "--level", level])
        assert (code, capsys.readouterr().out.split(":")[0]) == (0, f"equal in {level}")
        assert not compare(tmp_path / "live", tmp_path / "copy", level="state")
