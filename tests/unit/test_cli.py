"""The command line: exit codes, what is printed, and that nothing changes unless asked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import aofnb
from aofnb.cli import main
from aofnb.resp.encode import encode_command

A, B = encode_command([b"SET", b"a", b"1"]), encode_command([b"SET", b"b", b"2"])
MULTI = encode_command([b"MULTI"])
RDB = Path(__file__).parents[1] / "data" / "rdb" / "generated"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.aof"
    path.write_bytes(A + MULTI + B)
    return path


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (["--help"], ["check", "--help"], ["--version"]):
        with pytest.raises(SystemExit) as left:
            main(argv)
        assert left.value.code == 0
        out = capsys.readouterr().out
        assert (f"aofnb {aofnb.__version__}" if argv == ["--version"] else "aofnb check mydata") in out
    assert main([]) == 0
    assert "examples:" in capsys.readouterr().out


@pytest.mark.parametrize("argv", [["nosuch"], ["check"], ["check", "x", "--truncate-to-timestamp", "soon"]])
def test_a_command_line_that_cannot_be_understood_is_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(argv)
    assert left.value.code == 2


def test_what_a_command_does_not_take_is_told_with_its_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["salvage", "some.aof", "new place"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("usage: aofnb salvage ")
    assert said.endswith("unrecognized arguments: new place; a new directory is given as --to 'new place'\n")
    with pytest.raises(SystemExit):
        main(["check", "some.aof", "--fast"])
    said = capsys.readouterr().err
    assert said.startswith("usage: aofnb check ")
    assert said.endswith("unrecognized arguments: --fast\n")


def test_a_whole_log_is_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with aofnb.open(tmp_path / "data", aof_use_rdb_preamble=False) as store:
        store.execute("SET", "k", "v")
    assert main(["check", str(tmp_path / "data")]) == 0
    assert "The log is valid." in capsys.readouterr().out


def test_damage_is_1_with_the_place_and_the_remedy_and_no_change(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(log)]) == 1
    out = capsys.readouterr().out
    assert f"not valid: ok up to byte {len(A)}" in out
    assert f"`aofnb check --fix` copies the last file, then cuts it at byte {len(A)}" in out
    assert log.read_bytes() == A + MULTI + B


def test_damage_is_mapped_with_what_each_way_out_keeps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log.aof"
    log.write_bytes(A + bytes(30) + B + B)
    assert main(["check", str(log)]) == 1
    out = capsys.readouterr().out
    assert f"log.aof:{len(A)}, 30 B: zeros" in out
    assert "3 commands legible, at least 1 lost" in out
    assert "Cutting keeps 1. Salvage keeps 3:" in out
    assert f"aofnb salvage {log}" in out
    assert main(["check", "--json", str(log)]) == 1
    region = json.loads(capsys.readouterr().out)["map"]["regions"][0]
    assert (region["offset"], region["nbytes"], region["kind"], region["lost"]) == (len(A), 30, "zeros", 1)


def test_fix_says_what_it_did(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--fix", str(log)]) == 0
    out = capsys.readouterr().out
    assert f"cut at byte {len(A)}; {len(MULTI + B)} bytes went" in out
    assert f"{log}.before-fix-1" in out
    assert log.read_bytes() == A
    assert main(["check", "--fix", str(log)]) == 0
    assert "Fixed" not in capsys.readouterr().out


def test_fix_that_would_lose_what_loads_is_refused_by_doing_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """redis-check-aof --fix deletes everything from a lone EXEC on, which servers read past."""
    log = tmp_path / "log.aof"
    log.write_bytes(A + encode_command([b"EXEC"]) + B)
    assert main(["check", "--fix", str(log)]) == 1
    assert "do not let redis-check-aof --fix cut it" in capsys.readouterr().out
    assert log.stat().st_size > len(A)


def test_json_is_for_programs(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--json", str(log)]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["verdict"] == report["verdict_after"] == "damaged"
    assert (report["ok_up_to"], report["cut_at"], report["damage"]["kind"]) == (len(A), len(A), "open_multi")
    assert report["files"][0]["server"] == {"action": "cuts", "offset": len(A), "reason": "a transaction has no EXEC"}
    assert report["fixed"] is None
    assert main(["check", "--json", "--fix", str(log)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["verdict_after"] == "valid"
    assert report["fixed"]["cut_at"] == len(A)


def test_truncating_to_a_time_is_dry_without_fix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log.aof"
    log.write_bytes(b"#TS:10\r\n" + A + b"#TS:20\r\n" + B)
    size = log.stat().st_size
    assert main(["check", "--truncate-to-timestamp", "15", str(log)]) == 0
    assert "newer than 15 begins at byte" in capsys.readouterr().out
    assert log.stat().st_size == size
    assert main(["check", "--truncate-to-timestamp", "15", "--fix", str(log)]) == 0
    assert log.read_bytes() == b"#TS:10\r\n" + A
    assert main(["check", "--truncate-to-timestamp", "5", "--fix", str(log)]) == 1
    assert log.read_bytes() == b"#TS:10\r\n" + A
    assert main(["check", "--truncate-to-timestamp", "99", str(log)]) == 0
    assert "nothing to truncate" in capsys.readouterr().out


def test_a_snapshot_is_read_and_what_is_wrong_in_it_is_told_with_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, snapshot = tmp_path / "appendonly.aof", (RDB / "strings.rdb").read_bytes()
    log.write_bytes(snapshot + A)
    assert main(["check", str(tmp_path)]) == 0
    assert "begins with a snapshot" in capsys.readouterr().out
    broken = bytearray(snapshot + A)
    broken[len(snapshot) // 2] ^= 0x20
    log.write_bytes(broken)
    for options in ([], ["--fix"]):
        assert main(["check", *options, str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert "not valid: its snapshot, byte " in captured.out
    assert "Cutting does not mend this" in captured.out + captured.err
    assert log.read_bytes() == broken


def test_the_fields_of_the_json_are_those_of_the_help(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--json", "--fix", str(log)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report) == {
        "path", "directory", "manifest", "problem", "verdict", "verdict_after", "ok_up_to", "damage", "cut_at",
        "server", "aofnb", "files", "fixed", "map",
    }  # fmt: skip
    assert set(report["files"][0]) == {
        "path", "name", "size", "type", "last", "snapshot", "verdict", "ok_up_to", "ok_up_to_line", "damage", "server",
        "aofnb", "cut_at", "truncate_at", "line_ends_changed",
    }  # fmt: skip
    assert set(report["damage"]) == {"kind", "offset", "reason"}
    assert set(report["server"]) == set(report["aofnb"]) == {"action", "offset", "reason"}
    assert set(report["fixed"]) == {"path", "cut_at", "bytes_cut", "copy"}
    with pytest.raises(SystemExit):
        main(["check", "--help"])
    text = capsys.readouterr().out
    assert all(name in text for name in (*report, *report["files"][0], *report["damage"], *report["fixed"]))


def test_errors_are_one_line_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("aofnb: ")
    assert captured.err.count("\n") == 1


def test_file_names_that_are_no_text_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log\udcff.aof"
    try:
        log.write_bytes(A)
    except OSError:
        pytest.skip("this file system takes no such names")
    assert main(["check", str(log)]) == 0
    assert "log" in capsys.readouterr().out


def test_python_m_aofnb_is_the_same(log: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "aofnb", "check", str(log)], capture_output=True, timeout=60)
    assert done.returncode == 1
    assert b"The log is not valid." in done.stdout


@pytest.mark.parametrize("words", [["check", "{}"], ["compare", "{}", "{}"]])
@pytest.mark.parametrize("terminal", [True, False])
def test_long_work_shows_progress_on_a_terminal(
    words: list[str], terminal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.aof"
    path.write_bytes(A)
    told: list[tuple[int, int]] = []
    monkeypatch.setattr("aofnb.forensics.reading.Bar", lambda: lambda done, total: told.append((done, total)))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    assert main([word.format(path) for word in words]) == 0
    assert ((len(A) * (len(words) - 1),) * 2 in told) == terminal


@pytest.mark.parametrize("count", [b"*-1\r\n", b"*0\r\n"])
def test_what_no_server_loads_is_not_valid_whatever_the_tool_says(count, tmp_path, capsys):
    path = tmp_path / "log.aof"
    path.write_bytes(A + count + A)
    assert main(["check", str(path)]) == 1
    out = capsys.readouterr().out
    assert "redis-check-aof lets it pass, and no server loads it" in out
    assert "The log is valid." not in out
    assert "Salvage keeps 2" in out


def test_cat_of_what_is_no_log_is_2_however_few_rows_are_wanted(tmp_path, capsys):
    (tmp_path / "x.aof").write_bytes(b"\0garbage")
    assert main(["cat", str(tmp_path / "x.aof"), "-n", "3"]) == 2
    assert capsys.readouterr().out == ""
