"""What repair writes loads to the data that the chosen commands make, whatever the files of the log are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.long_way import State, examples, often, replayed, state, state_of
from support.random_logs import Commands, damages, harmed, random_logs, write_log

import aofnb
from aofnb.errors import AofFormatError

SECRET = b"0123456789abcdef"


@pytest.fixture(autouse=True)
def shortcuts(small_segments, monkeypatch):
    often(monkeypatch)


def commands_of(log: aofnb.Log) -> Commands:
    return [list(argv) for argv in log.to_pandas(columns=["args"])["args"]]


def made_by(commands: Commands, directory: Path) -> State:
    """The data that these commands make."""
    write_log(directory / "truth.aof", commands)
    return state(directory / "truth.aof")


def unit_of(log: aofnb.Log, row: int) -> set[int]:
    """The rows that go with this one: of MULTI and EXEC, the transaction, but for what selects a database."""
    frame = log.to_pandas(columns=["txn", "cmd"])
    if frame["cmd"][row] not in ("MULTI", "EXEC"):
        return {row}
    return set(frame.index[(frame["txn"] == frame["txn"][row]) & (frame["cmd"] != "SELECT")])


def changes(now: State, then: State) -> list[tuple[int, bytes, str]]:
    """As `Plan.found` has them."""
    found = {place: "goes" for place in now if place not in then}
    found |= {place: "comes back" for place in then if place not in now}
    found |= {place: "changes" for place in now if place in then and now[place] != then[place]}
    return [(*place, change) for place, change in sorted(found.items())]


@examples(20)
@given(source=random_logs(), data=st.data())
def test_a_recovered_log_is_of_the_chosen_commands(source, data, tmp_path_factory):
    directory = tmp_path_factory.mktemp("log")
    log = aofnb.scan(source.write(directory / "log"), cache_dir=False)
    commands, keys = commands_of(log), log.to_pandas(columns=["keys"], encoding=None)["keys"]
    assume(commands)
    row = data.draw(st.integers(0, len(commands) - 1))
    kept = [not len(each) or not {b"k0", b"k3", b"k4"}.isdisjoint(each) for each in keys]
    chosen = {
        "stop": (log.recover(stop=row), set(range(row))),
        "keep": (log.recover(keep=["k0", "k[34]"]), {seq for seq, is_kept in enumerate(kept) if is_kept}),
    }
    if commands[row][0] != b"SELECT":
        chosen["drop"] = log.recover(drop=row), set(range(len(commands))) - unit_of(log, row)
    now = made_by(commands, directory)
    for name, (plan, rows) in chosen.items():
        plan.write(directory / name, verify=False)
        expected = made_by([commands[seq] for seq in sorted(rows)], directory)
        assert state(directory / name) == expected, name
        assert plan.found == changes(now, expected), name
        assert aofnb.scan(directory / name, cache_dir=False).check().verdict == "fine"


@examples(20)
@given(source=random_logs(), data=st.data())
def test_an_undone_command_gives_back_what_it_took(source, data, tmp_path_factory):
    directory = tmp_path_factory.mktemp("log")
    log = aofnb.scan(source.write(directory / "log"), cache_dir=False)
    commands, frame = commands_of(log), log.to_pandas(columns=["cmd", "db", "keys", "txn"], encoding=None)
    assume(commands)
    row = data.draw(st.integers(0, len(commands) - 1))
    cmd, db = frame["cmd"][row], frame["db"][row]
    assume(cmd not in ("SELECT", "MULTI", "EXEC", "SWAPDB"))
    earlier, now = made_by(commands[:row], directory), made_by(commands, directory)
    # What the command found: those of its own transaction had run.
    is_own = (frame["txn"] == frame["txn"][row]).fillna(False) & frame["cmd"].isin(["MULTI", "EXEC"])
    before = made_by([argv for seq, argv in enumerate(commands[:row]) if not is_own[seq]], directory)
    taken = {
        place: held
        for place, held in before.items()
        if cmd == "FLUSHALL" or (place[0] == db and (cmd == "FLUSHDB" or place[1] in frame["keys"][row]))
    }
    without = made_by([*commands[:row], *commands[row + 1 :]], directory)
    for mode, expected in (("graft", taken | now), ("rewind", earlier), ("excise", without)):
        plan = log.undo(row, mode)
        plan.write(directory / mode, verify=False)
        assert state(directory / mode) == expected, mode
        assert [each for each in plan.found if each[2] != "stays"] == changes(now, expected), mode
        stay = [place for place, held in sorted(taken.items()) if place in now and now[place] != held]
        assert [each[:2] for each in plan.found if each[2] == "stays"] == (stay if mode == "graft" else [])


@examples(20)
@given(source=random_logs(), hits=st.lists(damages, max_size=2), data=st.data())
def test_all_that_is_legible_is_salvaged(source, hits, data, tmp_path_factory):
    """Damage of the snapshot takes the rest of it."""
    directory = tmp_path_factory.mktemp("log")
    harm = harmed(hits, data.draw(st.integers(0, len(source.files))))
    path = source.write(directory / "log", harm)
    log = aofnb.scan(path, on_bad="resync", cache_dir=False)
    try:
        expected = state_of(replayed(log, log.position("end")))
    except AofFormatError:
        # What is no command any more is run by nobody.
        assume(False)
    report = log.salvage(directory / "salvaged", dry_run=False, verify=False)
    assert state(directory / "salvaged") == expected
    assert log.salvage(directory / "other").kept == report.kept
    again = aofnb.scan(directory / "salvaged", cache_dir=False)
    assert again.check().verdict == "fine"
    assert len(again) == report.kept
    log = aofnb.scan(path, on_bad=data.draw(st.sampled_from(["resync", "truncate"])), cache_dir=False)
    now, stop = state_of(replayed(log, log.position("end"))), data.draw(st.integers(0, len(log)))
    plan = log.recover(stop=stop)
    plan.write(directory / "recovered", verify=False)
    expected = state_of(replayed(log, log.position(stop)))
    assert state(directory / "recovered") == expected
    assert plan.found == changes(now, expected)


@examples(20)
@given(source=random_logs(), data=st.data())
def test_rows_of_a_frame_are_written_as_a_log(source, data, tmp_path_factory):
    directory = tmp_path_factory.mktemp("log")
    log = aofnb.scan(source.write(directory / "log"), cache_dir=False)
    frame = log.to_pandas()
    frame.aof.to_aof(directory / "whole.aof")
    assert state(directory / "whole.aof") == state(log.source)
    assert aofnb.compare(directory / "whole.aof", log)
    assume(len(log))
    rows = sorted(data.draw(st.sets(st.integers(0, len(log) - 1))))
    frame.iloc[rows].aof.to_aof(directory / "some.aof")
    commands = commands_of(log)
    alone = [
        argv
        for row in rows
        if commands[row][0] not in (b"SELECT", b"MULTI", b"EXEC")
        for argv in ([b"SELECT", b"%d" % frame["db"][row]], commands[row])
    ]
    assert state(directory / "some.aof") == made_by(alone, directory)


# What the order of words, or their bits, decides.
BY_ORDER = (b"SORT", b"ZREMRANGEBYRANK", b"ZRANGESTORE", b"BITOP", b"SETBIT", b"PFADD", b"PFMERGE")


def shape(value: Any) -> Any:
    """What stays of a value whose words are others."""
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, dict):
        return "dict", sorted((len(key), repr(shape(held))) for key, held in value.items())
    if isinstance(value, list | tuple | set):
        return type(value).__name__, sorted(repr(shape(each)) for each in value)
    return value


@examples(20)
@given(source=random_logs())
def test_an_anonymous_log_has_the_same_shape(source, tmp_path_factory):
    directory = tmp_path_factory.mktemp("log")
    for commands in (source.first or [], *source.files):
        commands[:] = [argv for argv in commands if argv[0] not in BY_ORDER]
    log = aofnb.scan(source.write(directory / "log"), cache_dir=False)
    log.anonymize(directory / "new", secret=SECRET, verify=False)
    new = aofnb.scan(directory / "new", cache_dir=False)
    columns = ["ts", "db", "txn", "cmd", "keys", "nkeys", "argc", "status"]
    ours, expected = (each.to_pandas(columns=columns, encoding=None) for each in (new, log))
    for column in set(columns) - {"keys"}:
        assert ours[column].astype(str).tolist() == expected[column].astype(str).tolist(), column
    pairs = set(zip(expected["keys"].explode().dropna(), ours["keys"].explode().dropna(), strict=True))
    other = dict(pairs)
    assert len(other) == len(pairs) == len(set(other.values()))
    assert all(len(key) == len(pseudonym) for key, pseudonym in pairs)
    now, then = state(log.source), state(directory / "new")
    assert {(db, other[key]): (shape(value), deadline) for (db, key), (value, deadline, _) in now.items()} == {
        place: (shape(value), deadline) for place, (value, deadline, _) in then.items()
    }
    for a, b in zip(commands_of(log), commands_of(new), strict=True):
        assert list(map(len, a)) == list(map(len, b))
