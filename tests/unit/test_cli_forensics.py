"""The shell's questions to a log: what they print, their exit codes, and that nothing is written unless asked."""

from __future__ import annotations

import io
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import aofnb
from aofnb.cli import main
from aofnb.resp.encode import encode_command

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    with aofnb.open(tmp_path / "data") as store:
        for n in range(5):
            store.execute("HSET", "cart:42", f"f{n}", "alice@example.com")
        store.execute("SET", "k", "a\r\n\x1b[31mb")
        store.execute("FLUSHALL")
        store.execute("SET", "later", 1)
    return tmp_path / "data"


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    path = tmp_path / "log.aof"
    good = encode_command([b"SET", b"a", b"1"])
    path.write_bytes(good + bytes(30) + good)
    return path


def run(capsys: Capture, *argv: object) -> tuple[int, str, str]:
    code = main([str(word) for word in argv])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_help_shows_every_command_by_example(capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    commands = (
        "triage",
        "history",
        "at",
        "find",
        "diff",
        "blame",
        "bisect",
        "waste",
        "compare",
        "follow",
        "cat",
        "top",
        "salvage",
        "recover",
        "undo",
        "export",
        "pii",
        "anonymize",
    )
    for command in commands:
        assert f"  aofnb {command} mydata" in out
        with pytest.raises(SystemExit) as left:
            main([command, "--help"])
        assert left.value.code == 0
        shown = capsys.readouterr().out
        assert f"aofnb {command} mydata" in shown
        assert "exit code" in shown


@pytest.mark.parametrize(
    "argv", [["triage"], ["cat"], ["top"], ["salvage"], ["pii"], ["history", "k"], ["at", "end"], ["undo", "FLUSHALL"]]
)
def test_what_cannot_be_read_is_2_and_one_line(argv: list[str], tmp_path: Path, capsys: Capture) -> None:
    code, out, err = run(capsys, argv[0], tmp_path / "nowhere", *argv[1:])
    assert (code, out) == (2, "")
    assert err.startswith("aofnb: ")
    assert err.count("\n") == 1
    assert "nowhere" in err


def test_salvage_says_first_and_writes_when_told_where(broken: Path, tmp_path: Path, capsys: Capture) -> None:
    code, out, _ = run(capsys, "salvage", broken)
    assert code == 1
    assert "zeros" in out
    assert f"aofnb salvage {broken} --to DIR" in out
    assert not (tmp_path / "fixed").exists()
    code, out, _ = run(capsys, "salvage", broken, "--to", tmp_path / "fixed", "--json")
    assert code == 0
    assert json.loads(out)["kept"] == 2
    assert len(aofnb.read_aof(tmp_path / "fixed")) == 2
    assert run(capsys, "salvage", broken, "--to", tmp_path / "fixed")[0] == 2


@pytest.mark.parametrize("ask", [["triage"], ["cat"], ["top"], ["check"], ["at", "end"], ["follow"], ["salvage"]])
def test_a_dash_is_standard_input(ask: list[str], data: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    (incr,) = (data / "appendonlydir").glob("*.incr.aof")
    with incr.open("rb") as file:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(file))
        code, out, err = run(capsys, ask[0], "-", *ask[1:])
    if ask[0] in ("check", "follow"):
        assert (code, out) == (2, "")
        assert "copy - here" in err or "only a file of this machine grows" in err
        assert len(err.splitlines()) == 1
    else:
        assert code == 0, err
        assert out


def test_check_is_for_files_of_this_machine(data: Path, capsys: Capture) -> None:
    code, out, err = run(capsys, "check", f"memory://{data}")
    assert (code, out) == (2, "")
    assert "copy" in err
    assert f"aofnb triage memory://{data}" in err


def test_nobody_is_told_to_cut_or_salvage_what_is_no_log(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "commands.txt"
    path.write_bytes(b'OK\n1699999999.123456 [0 127.0.0.1:5000] "SET" "a" "1"\n')
    code, out, _ = run(capsys, "check", path)
    assert code == 2
    assert "MONITOR" in out
    assert "--fix" not in out
    code, out, _ = run(capsys, "salvage", path)
    assert code == 2
    assert "--to" not in out


def test_salvage_of_a_whole_log_is_0_and_of_no_log_2(data: Path, tmp_path: Path, capsys: Capture) -> None:
    assert run(capsys, "salvage", data)[0] == 0
    (tmp_path / "json").write_text('{"a": 1}')
    assert run(capsys, "salvage", tmp_path / "json")[0] == 2


def test_undo_and_recover_plan_first(data: Path, tmp_path: Path, capsys: Capture) -> None:
    code, out, _ = run(capsys, "undo", data, "FLUSHALL")
    assert code == 0
    assert "comes back: 2 keys" in out
    code, out, _ = run(capsys, "undo", data, "FLUSHALL", "--mode", "rewind", "--to", tmp_path / "a", "--json")
    assert (code, json.loads(out)["changes"]["goes"]) == (0, 1)
    code, _, _ = run(capsys, "recover", data, "--drop", "FLUSHALL", "--keep", "cart:*", "--to", tmp_path / "b")
    assert code == 0
    with aofnb.open(tmp_path / "b", readonly=True) as store:
        assert store.execute("KEYS", "*") == [b"cart:42"]
    assert run(capsys, "recover", data)[0] == 2


def test_cat_escapes_what_could_drive_a_terminal(data: Path, capsys: Capture) -> None:
    code, out, _ = run(capsys, "cat", data, "--key", "k")
    assert code == 0
    assert r'SET k "a\r\n\x1b[31mb"' in out
    assert "\x1b" not in out
    _, out, _ = run(capsys, "cat", data, "--cmd", "HSET", "-n", 2, "--json")
    assert [json.loads(line)["args"][2] for line in out.splitlines()] == ["f0", "f1"]


def test_cat_of_a_damaged_log_is_1(broken: Path, capsys: Capture) -> None:
    code, out, _ = run(capsys, "cat", broken)
    assert (code, out.count("SET")) == (1, 1)
    code, out, _ = run(capsys, "cat", broken, "--resync")
    assert (code, out.count("SET")) == (1, 2)


def test_top_counts_kinds_keys_and_commands(data: Path, capsys: Capture) -> None:
    lines = run(capsys, "top", data)[1].splitlines()
    assert lines[0].split() == ["commands", "bytes", "share"]
    assert any(line.startswith("cart:{n} ") and line.endswith("%") for line in lines)
    assert "cart:42" in run(capsys, "top", data, "--by", "key")[1]
    rows = json.loads(run(capsys, "top", data, "--by", "cmd", "-n", 1, "--json")[1])
    assert [(row["cmd"], row["commands"]) for row in rows] == [("HSET", 5)]


def test_export_writes_a_new_file(data: Path, tmp_path: Path, capsys: Capture) -> None:
    for name in ("a.parquet", "a.csv", "a.jsonl"):
        assert run(capsys, "export", data, tmp_path / name, "--cmd", "HSET")[0] == 0
    assert len(pd.read_parquet(tmp_path / "a.parquet")) == 5
    assert len(pd.read_csv(tmp_path / "a.csv")) == 5
    assert len(pd.read_json(tmp_path / "a.jsonl", lines=True)) == 5
    assert run(capsys, "export", data, tmp_path / "a.csv")[0] == 2
    assert run(capsys, "export", data, tmp_path / "a.txt")[0] == 2


@pytest.mark.parametrize("name", ["x.csv", "x.jsonl", "x.parquet"])
def test_an_export_that_is_interrupted_leaves_nothing(
    name: str, data: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = aofnb.forensics.Log.read

    def interrupted(*args: object) -> Iterator[object]:
        yield from read(*args)
        raise KeyboardInterrupt

    before = set(tmp_path.iterdir())
    monkeypatch.setattr(aofnb.forensics.Log, "read", interrupted)
    code, out, err = run(capsys, "export", data, tmp_path / name)
    assert (code, out, err) == (130, "", "aofnb: interrupted\n")
    assert set(tmp_path.iterdir()) == before


def test_personal_data_is_masked_and_can_be_taken_out(data: Path, tmp_path: Path, capsys: Capture) -> None:
    code, out, _ = run(capsys, "pii", data)
    assert code == 0
    assert "email" in out
    assert "alice" not in out
    assert "alice@example.com" in run(capsys, "pii", data, "--kinds", "email", "--show")[1]
    (tmp_path / "secret").write_text("a secret that is long enough")
    assert run(capsys, "anonymize", data, tmp_path / "safe", "--secret-file", tmp_path / "secret")[0] == 0
    assert "nothing was found" not in run(capsys, "cat", tmp_path / "safe")[1]
    assert "alice" not in run(capsys, "cat", tmp_path / "safe")[1]


def test_triage_history_and_at(data: Path, capsys: Capture) -> None:
    code, out, _ = run(capsys, "triage", data)
    assert code == 0
    assert "FLUSHALL" in out
    assert json.loads(run(capsys, "triage", data, "--json")[1])["commands"] == 9
    out = run(capsys, "history", data, "cart:42")[1]
    assert (out.count("HSET"), out.count("FLUSHALL  (flush)")) == (5, 1)
    # What to ask next is what was in it.
    assert f"aofnb at {data} 7 HGETALL cart:42   # what was in it before this FLUSHALL" in out
    out = run(capsys, "history", data, "cart:42", "--values", "--json")[1]
    assert json.loads(out.splitlines()[0])["value"] == {"f0": "alice@example.com"}
    assert "no command" in run(capsys, "history", data, "nokey")[2]
    assert run(capsys, "at", data, "#3", "HKEYS", "cart:42")[1] == '1) "f0"\n2) "f1"\n'
    assert json.loads(run(capsys, "at", "--json", data, "#2", "HGETALL", "cart:42")[1])
    assert "db0: 1 key\n" in run(capsys, "at", data, "end")[1]
    assert run(capsys, "at", data, "end", "GETX")[0] == 1
    assert run(capsys, "at", data, "end", "SET", "a", "1")[0] == 1


def test_diff_tells_what_changed(data: Path, capsys: Capture) -> None:
    code, out, _ = run(capsys, "diff", data, "start", "end")
    assert code == 0
    assert out.startswith("[0] later  added (string)  (nothing) -> 1\n1 added\n")
    (row,) = [json.loads(line) for line in run(capsys, "diff", data, "start", "end", "--json")[1].splitlines()]
    assert (row["key"], row["change"], row["before"]) == ("later", "added", None)
    assert (row["detail"], row["deadline_before"], row["deadline_after"]) == ([], None, None)
    assert "nothing changed" in run(capsys, "diff", data, "end", "end")[2]


def test_follow_prints_what_is_written_meanwhile(data: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    with aofnb.open(data) as store:
        # The first look is when it waits for the first time: what is written then must be seen.
        original = aofnb.Log.follow

        def follow(log: aofnb.Log, **options: object) -> object:
            made = original(log, **options)  # type: ignore[arg-type]
            store.execute("SET", "fresh", "x y")
            store.execute("SET", "more", "z")
            return made

        monkeypatch.setattr(aofnb.Log, "follow", follow)
        code, out, _ = run(capsys, "follow", data, "-n", "2", "--poll", "0.01")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].endswith("SELECT 0")
    assert lines[1].endswith('SET fresh "x y"')


def test_blame_bisect_find_waste_and_compare(data: Path, tmp_path: Path, capsys: Capture) -> None:
    assert "f3 = alice@example.com  #4 " in run(capsys, "blame", data, "cart:42", "--at", 7)[1]
    assert "nokey" in run(capsys, "blame", data, "nokey")[2]
    code, out, _ = run(capsys, "bisect", "--hi", 7, data, ">= 3", "HLEN", "cart:42")
    assert code == 0
    assert out.startswith("#3 ")
    assert f"aofnb at {data} 3 HLEN cart:42" in out
    assert json.loads(run(capsys, "bisect", "--json", "--lo", 3, data, "= 0", "HLEN", "cart:42")[1])["seq"] == 7
    for test, says in (("~ 3", "is no test"), ("< x", "is no number"), ("not nil", "already; name a position")):
        code, _, err = run(capsys, "bisect", data, test, "HLEN", "cart:42")
        assert (code, says in err) == (2, True)
    assert run(capsys, "bisect", data, "> 9", "HLEN", "cart:42")[0] == 1
    assert run(capsys, "bisect", data, "> 9")[0] == 2
    assert run(capsys, "find", data, "alice", "-n", 2)[1].count("argument 3: alice@example.com") == 2
    out = run(capsys, "waste", data)[1]
    assert "no longer count" in out
    assert "a restart replays all of it in about" in out
    code, out, _ = run(capsys, "compare", data, data, "--level", "bytes")
    assert (code, out.startswith("equal in bytes")) == (0, True)
    run(capsys, "undo", data, "FLUSHALL", "--to", tmp_path / "other")
    code, out, _ = run(capsys, "compare", data, tmp_path / "other")
    assert code == 1
    assert "  a: its end\n" in out
    assert run(capsys, "recover", data)[2].startswith("aofnb: say what to leave out: --stop")
    assert "from end to end touches" in run(capsys, "history", data, "k", "--start", "end")[2]


def test_a_history_in_another_database(tmp_path, capsys):
    path = tmp_path / "x.aof"
    lines = ["SET k 1", "SWAPDB 0 3", "SELECT 3", "INCR k", "MOVE k 1"]
    path.write_bytes(b"".join(encode_command(line.encode().split()) for line in lines))
    assert main(["history", str(path), "k", "--db", "3"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.rsplit("  ", 1)[1] for line in out[:3]] == ["(swap)", "(client)", "(move)"]
    assert main(["history", str(path), "k", "--db", "1"]) == 0
    assert "(move)" in capsys.readouterr().out


ODD_KEYS = [b"\xff\xfe", b"\\xff\\xfe", "Óscar Hahn".encode(), b"line\nbreak", b"it's", b"-dash", "a\u2028b".encode()]


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    with aofnb.open(tmp_path / "odd") as store:
        for key in ODD_KEYS:
            store.execute("RPUSH", key, "value")
        store.execute("ZADD", "scores", "inf", "up", "-inf", "down")
        store.execute("FLUSHALL")
        store.execute("SET", b"\xff\xfe", "again")
    return tmp_path / "odd"


@pytest.mark.parametrize("key", ODD_KEYS, ids=str)
def test_any_key_can_be_asked_for(key: bytes, odd: Path, capsys: Capture) -> None:
    word = os.fsdecode(key)
    code, out, _ = run(capsys, "history", odd, "--", word)
    assert (code, out.count("RPUSH"), "(flush)" in out) == (0, 1, True)
    assert "[0] RPUSH" in run(capsys, "cat", odd, "--key=" + word.replace("\\", "\\\\"))[1]
    assert run(capsys, "at", odd, 8, "LLEN", word)[1] == "(integer) 1\n"
    assert "argument 1: " in run(capsys, "find", odd, "--", word)[1]
    assert "value  #" in run(capsys, "blame", odd, "--at", 8, "--", word)[1]
    assert run(capsys, "diff", odd, 0, 8, f"--key={word}", "--json")[1].count("\n") == 1


@pytest.mark.parametrize("ask", [["find", "again"], ["diff", 9, "end"], ["diff", 0, 3], ["diff", 0, 9]], ids=str)
def test_what_to_type_next_asks_for_the_same_key(ask: list[object], odd: Path, capsys: Capture) -> None:
    out = run(capsys, ask[0], odd, *ask[1:])[1]
    (line,) = [each for each in out.splitlines() if each.startswith("  aofnb history")]
    # A shell has the last word on what a line means.
    words = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True).stdout.split(
        b"\0"
    )
    code, out, err = run(capsys, *(os.fsdecode(word) for word in words[1 : words.index(b"#") if b"#" in words else -1]))
    assert (code, err, bool(out)) == (0, "", True)


@pytest.mark.parametrize(
    "ask",
    [
        ["history", "scores", "--values"], ["blame", "scores", "--at", 9], ["diff", 0, 9], ["find", "FLUSHALL"],
        ["waste"], ["top", "--by", "key"], ["triage"], ["cat"], ["undo", "FLUSHALL"],
    ],
    ids=str,
)  # fmt: skip
def test_json_is_json(ask: list[object], odd: Path, capsys: Capture) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    code, out, _ = run(capsys, ask[0], odd, *ask[1:], "--json")
    assert code == 0
    whole = out.startswith(("{\n", "[\n"))
    for text in [out] if whole else out.splitlines():
        json.loads(text, parse_constant=refuse)


def test_json_of_odd_things(odd: Path, capsys: Capture) -> None:
    held = json.loads(run(capsys, "history", odd, "scores", "--values", "--json")[1].splitlines()[0])
    assert held["value"] == {"down": "-inf", "up": "inf"}
    keys = [json.loads(line)["key"] for line in run(capsys, "diff", odd, 0, 8, "--json")[1].splitlines()]
    assert {"line\nbreak", "Óscar Hahn"} <= set(keys)
    assert json.loads(run(capsys, "find", odd, "FLUSHALL", "--json")[1])["key"] is None
    code, out, _ = run(capsys, "at", "--json", odd, 9, "GET", "scores")
    assert (code, json.loads(out)["error"].split(" ")[0]) == (1, "WRONGTYPE")


def test_names_are_told_on_one_line_each_and_in_columns(odd: Path, capsys: Capture) -> None:
    out = run(capsys, "top", odd, "--by", "key")[1].splitlines()
    lines = out[1 : out.index("next:")]
    assert len({len(line) for line in lines}) == 1
    assert len(lines) == len({*ODD_KEYS, b"scores", b"(no key)"}) - 1
    assert 'RPUSH "Óscar Hahn" value' in run(capsys, "cat", odd)[1]
    assert "'Óscar Hahn', b'\\xff\\xfe'" not in run(capsys, "undo", odd, "FLUSHALL", "--full")[1]


def test_positions_that_are_printed_can_be_given_again(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "long.aof"
    path.write_bytes(encode_command([b"INCR", b"k"]) * 2000)
    out = run(capsys, "at", path, "end")[1]
    row = out.removeprefix("before row ").split(" ")[0]
    assert run(capsys, "at", path, row)[1] == out


@pytest.mark.parametrize("number", ["-1", "0", "x", "²"])
def test_how_many_is_at_least_1(number: str, data: Path, capsys: Capture) -> None:
    for command in (["cat"], ["find", "a"], ["top"], ["waste"], ["follow"]):
        with pytest.raises(SystemExit) as left:
            run(capsys, command[0], data, *command[1:], "-n", number)
        assert left.value.code == 2
        assert f"'{number}' is no number from 1 on" in capsys.readouterr().err


def test_help_explains_positions_where_there_are_some(capsys: Capture) -> None:
    for command, has in (("at", True), ("export", True), ("waste", False), ("salvage", False)):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        assert ("A position is" in capsys.readouterr().out) is has


def test_what_was_mistyped_is_told_by_its_name(data: Path, tmp_path: Path, capsys: Capture) -> None:
    for ask, says in (
        (["undo", data, "FLUSHAL"], "'FLUSHAL' is no command of Redis's, and no position"),
        (["at", data, "25:00"], "'25:00' is no time of day"),
        (["at", data, "~14:03"], "an estimated time needs its day"),
        (["at", data, 3, "--db", "1", "GET", "k"], "--db stands behind POSITION"),
        (["export", data, tmp_path / "no" / "x.csv"], f"{tmp_path / 'no'} is no directory"),
    ):
        code, out, err = run(capsys, *ask)
        assert (code, out) == (2, "")
        assert says in err
        assert ".tmp" not in err


def test_lists_are_lists_in_jsonl_and_one_cell_in_csv(odd: Path, tmp_path: Path, capsys: Capture) -> None:
    for kind in ("jsonl", "csv"):
        assert run(capsys, "export", odd, tmp_path / f"x.{kind}", "--columns", "args", "-n", 4)[0] == 0
    assert json.loads((tmp_path / "x.jsonl").read_text().splitlines()[3])["args"] == ["RPUSH", "Óscar Hahn", "value"]
    assert '"Óscar Hahn"' in pd.read_csv(tmp_path / "x.csv")["args"][3]


def test_info_of_then_is_printed_as_it_is(data: Path, capsys: Capture) -> None:
    assert run(capsys, "at", data, 3, "INFO", "keyspace")[1].splitlines()[:1] == ["# Keyspace"]


def test_compare_names_every_key_that_differs(tmp_path: Path, capsys: Capture) -> None:
    for name, keys in (("a", 1), ("b", 40)):
        with aofnb.open(tmp_path / name) as store:
            for n in range(keys):
                store.execute("SET", b"k\xff%d" % n, 1)
    code, out, _ = run(capsys, "compare", tmp_path / "a", tmp_path / "b", "--level", "state")
    lines = out.splitlines()
    assert code == 1
    assert lines[1] == '[0] "k\\xff1"  added'
    assert len(lines) == 1 + 39 + 1
    assert lines[-1] == "39 added"
