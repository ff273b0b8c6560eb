"""Each command of the shell on logs of each state: the exit code, one line for what is wrong, and no traceback ever."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import aofnb
from aofnb import cli
from aofnb.resp.encode import encode_command
from aofnb.store.digest import keyspace_digest

Capture = pytest.CaptureFixture[str]

RECORDS = [encode_command(argv) for argv in ([b"SELECT", b"0"], *([b"SET", b"key:%d" % n, b"v" * n] for n in range(9)))]
WHOLE = b"".join(RECORDS)
STATES: dict[str, tuple[int, bytes]] = {
    "whole": (0, WHOLE),
    "empty": (0, b""),
    "no text": (0, WHOLE + encode_command([b"SET", b"\xff\x00\x1b[31m", b"\x80\n"])),
    "zeros": (1, b"".join(RECORDS[:4]) + bytes(20) + b"".join(RECORDS[5:])),
    "cut": (1, WHOLE[:-5]),
    "open multi": (1, WHOLE + encode_command([b"MULTI"]) + encode_command([b"SET", b"a", b"b"])),
    "lfs": (2, b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"),
    "garbage": (2, bytes(range(128, 256)) * 9),
}
# NEW is a path where nothing is.
ASKS = [
    "triage PATH",
    "check PATH",
    "salvage PATH",
    "history PATH key:1",
    "find PATH key:1",
    "at PATH end DBSIZE",
    "at PATH end",
    "diff PATH start end",
    "blame PATH key:1",
    "bisect PATH >=1 EXISTS key:1",
    "waste PATH",
    "top PATH",
    "compare PATH PATH",
    "cat PATH",
    "cat PATH --resync",
    "recover PATH --stop end",
    "recover PATH --stop end --to NEW --no-verify",
    "undo PATH DEL",
    "export PATH NEW.csv",
    "export PATH NEW.parquet",
    "pii PATH",
    "anonymize PATH NEW --no-verify",
]


def run(capsys: Capture, line: str, **paths: object) -> tuple[int, str, str]:
    words = line.split()
    for name, path in paths.items():
        words = [word.replace(name, str(path)) for word in words]
    words = [word.replace(">=", ">= ") for word in words]
    code = cli.main(words)
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("ask", ASKS)
def test_the_exit_code_says_how_whole_the_log_is(ask: str, state: str, tmp_path: Path, capsys: Capture) -> None:
    expected, data = STATES[state]
    path = tmp_path / "log.aof"
    path.write_bytes(data)
    code, out, err = run(capsys, ask, PATH=path, NEW=tmp_path / "new")
    name = ask.split()[0]
    if name == "undo":
        # There is no DEL in any of them.
        assert (code, "no such command" in err) == (2, expected != 2)
    elif name == "bisect" and state == "empty":
        assert code == 1
        assert "not so at end" in err
    else:
        assert code == expected, err
    assert path.read_bytes() == data
    if expected and name not in ("check", "salvage"):
        assert str(path.name) in err
    if expected == 2 and name not in ("check", "salvage"):
        assert out == ""
        assert sorted(each.name for each in tmp_path.iterdir()) == ["log.aof"]
    assert "\x1b" not in out + err


def test_what_is_behind_damage_is_read_on_request(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "log.aof"
    path.write_bytes(STATES["zeros"][1])
    assert run(capsys, "at PATH end DBSIZE", PATH=path)[:2] == (1, "(integer) 3\n")
    code, out, err = run(capsys, "at --resync PATH end DBSIZE", PATH=path)
    assert (code, out) == (1, "(integer) 8\n")
    assert "zero bytes" in err


def test_lost_line_ends_lose_no_answer(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "log.aof"
    path.write_bytes(WHOLE.replace(b"\r\n", b"\n"))
    assert run(capsys, "at PATH end DBSIZE", PATH=path)[:2] == (0, "(integer) 9\n")
    for ask in ("triage PATH", "check PATH", "salvage PATH"):
        assert run(capsys, ask, PATH=path)[0] == 1
    assert "took the CRs" in run(capsys, "triage PATH", PATH=path)[1]


@pytest.mark.parametrize("ask", [ask for ask in ASKS if "--to" not in ask])
def test_what_is_no_log_is_2_and_one_line(ask: str, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("nowhere", "empty"):
        code, out, err = run(capsys, ask, PATH=tmp_path / name, NEW=tmp_path / "new")
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert err.startswith("aofnb: ")
        assert name in err


def test_a_missing_file_of_a_manifest_is_named(tmp_path: Path, capsys: Capture) -> None:
    with aofnb.open(tmp_path / "data") as store:
        store.execute("SET", "a", 1)
        store.bgrewriteaof()
    gone = next((tmp_path / "data" / "appendonlydir").glob("*.base.*"))
    gone.unlink()
    for ask in ("triage PATH", "history PATH a", "at PATH end", "salvage PATH", "cat PATH"):
        code, out, err = run(capsys, ask, PATH=tmp_path / "data")
        assert (code, out) == (2, "")
        assert gone.name in err


@pytest.mark.parametrize(
    "ask", ["triage", "check", "history", "find", "blame", "waste", "top", "pii", "compare", "diff"]
)
def test_json_is_json(ask: str, tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "log.aof"
    path.write_bytes(STATES["no text"][1])
    line = next(each for each in ASKS if each.startswith(f"{ask} "))
    out = run(capsys, f"{line} --json", PATH=path)[1]
    if ask in ("history", "find", "blame", "diff"):
        for each in out.splitlines():
            row = json.loads(each)
            assert all(isinstance(row.get(name, 0), int) for name in ("seq", "offset", "db"))
    else:
        json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


SAMPLES = Path(__file__).parents[1] / "data" / "samples"


@pytest.mark.parametrize("name", sorted(str(each.parent.relative_to(SAMPLES)) for each in SAMPLES.glob("*/*/data")))
def test_every_sample_answers(name: str, tmp_path: Path, capsys: Capture) -> None:
    """What check says of the whole holds for every answer: nothing raises, and what is damaged is said each time."""
    path = SAMPLES / name / "data"
    checked = run(capsys, "check PATH --json", PATH=path)
    whole = json.loads(checked[1])["map"] is None
    for ask in ("triage", "at PATH end", "diff PATH start end", "waste", "pii", "top", "salvage"):
        line = ask if " " in ask else f"{ask} PATH"
        code, out, err = run(capsys, line, PATH=path)
        assert code in ((0,) if whole else (0, 1)), (line, err)
        assert out or "nothing changed" in err
    code, _, err = run(capsys, "recover PATH --stop end --to NEW --no-verify", PATH=path, NEW=tmp_path / "a")
    assert code in ((0,) if whole else (0, 1)), err
    code, out, err = run(capsys, "anonymize PATH NEW --no-verify", PATH=path, NEW=tmp_path / "b")
    assert code in ((0,) if whole and "scripts stand in it" not in out else (0, 1)), err
    with aofnb.open(tmp_path / "a", readonly=True, progress=False) as made, aofnb.scan(path).at("end") as now:
        assert keyspace_digest(made.engine.keyspace) == keyspace_digest(now.engine.keyspace)


# --- from outside --------------------------------------------------------------------------------------------


def shell(*argv: object, **more: object) -> subprocess.Popen[bytes]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
    return subprocess.Popen([sys.executable, "-m", "aofnb", *map(str, argv)], **pipes)  # type: ignore[call-overload, no-any-return]


@pytest.mark.slow
def test_who_reads_may_leave_and_who_asked_may_stop(tmp_path: Path) -> None:
    path = tmp_path / "log.aof"
    path.write_bytes(WHOLE * 2000)
    cat = shell("cat", path)
    assert cat.stdout is not None
    assert cat.stdout.readline().startswith(b"#0 ")
    cat.stdout.close()
    assert cat.stderr is not None
    with cat.stderr:
        assert cat.stderr.read() == b""
    assert cat.wait(60) == 128 + signal.SIGPIPE

    follow = shell("follow", path)
    with open(path, "ab") as file:
        # Until it is there it cannot be interrupted; what it prints says that it is.
        while not _has_said_something(follow, file):
            pass
    follow.send_signal(signal.SIGINT)
    _, said = follow.communicate(timeout=60)
    assert (follow.returncode, said) == (0, b"")


def _has_said_something(follow: subprocess.Popen[bytes], file: object) -> bool:
    import select

    file.write(RECORDS[1])  # type: ignore[attr-defined]
    file.flush()  # type: ignore[attr-defined]
    assert follow.poll() is None
    return bool(select.select([follow.stdout], [], [], 0.2)[0])


def test_an_interrupted_question_ends_with_a_line(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.aof"
    path.write_bytes(WHOLE)

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(aofnb.Log, "triage", interrupted)
    assert run(capsys, "triage PATH", PATH=path) == (130, "", "aofnb: interrupted\n")


@pytest.mark.parametrize("ask", ["triage", "check", "cat"])
def test_a_file_that_may_not_be_read_is_said(
    ask: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.aof"
    path.write_bytes(WHOLE)
    path.chmod(0)
    if os.access(path, os.R_OK):
        # Nothing is forbidden to root: say what the system would.
        original = open

        def refused(name: object, *args: object, **more: object) -> object:
            if str(name) == str(path):
                raise PermissionError(13, "Permission denied", str(path))
            return original(name, *args, **more)  # type: ignore[call-overload]

        monkeypatch.setattr("builtins.open", refused)
        monkeypatch.setattr("io.open", refused)
    code, out, err = run(capsys, f"{ask} PATH", PATH=path)
    assert (code, out) == (2, "")
    assert "Permission denied" in err
    assert str(path) in err
    assert err.count("\n") == 1


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.aof"
    path.write_bytes(WHOLE)

    def full(file: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("aofnb.forensics.newlog._sync", full)
    code, out, err = run(capsys, "recover PATH --stop end --to NEW", PATH=path, NEW=tmp_path / "new")
    assert (code, out) == (2, "")
    assert "No space left" in err
    assert not (tmp_path / "new").exists()
    shutil.rmtree(tmp_path)
