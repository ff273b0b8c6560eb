"""A log that begins with a snapshot answers as the same commands written out; packed and in several files, too."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.long_way import examples, often, state
from support.random_logs import RandomLog, random_logs, write_log
from support.require import need_module

import aofnb

KEYS = st.sampled_from([b"k0", b"k1", b"k2", b"k3"])
FIELDS = st.sampled_from([b"f0", b"f1", b"f2"])


@pytest.fixture
def both(tmp_path_factory, small_segments, monkeypatch):
    """Writes a log twice, with its snapshot and as plain commands: row for row the same."""
    often(monkeypatch)

    def write(log: RandomLog) -> tuple[aofnb.Log, aofnb.Log]:
        directory = tmp_path_factory.mktemp("log")
        path = log.write(directory / "based")
        args = aofnb.scan(path, cache_dir=False).to_pandas(columns=["args"])["args"]
        write_log(directory / "plain.aof", list(map(list, args)))
        return aofnb.scan(path, cache_dir=False), aofnb.scan(directory / "plain.aof", cache_dir=False)

    return write


def rows_of(frame: pd.DataFrame, *columns: str) -> list[Any]:
    """What these columns say, and of which row, as it compares; NA is None."""
    return [frame.index.tolist(), *([None if each is pd.NA else each for each in frame[name]] for name in columns)]


@examples(25)
@given(log=random_logs(with_base=True), data=st.data())
def test_questions_about_a_key(log, data, both):
    based, plain = both(log)
    frame = based.to_pandas(columns=["part", "offset"])
    for _ in range(3):
        key, db = data.draw(KEYS), data.draw(st.integers(0, 2))
        at = data.draw(st.integers(0, len(plain)))
        ours, expected = (each.history(key, db=db, stop=at, values=True) for each in (based, plain))
        columns = ("db", "txn", "cmd", "args", "status", "role", "type", "value")
        assert repr(rows_of(ours, *columns)) == repr(rows_of(expected, *columns))
        assert rows_of(ours, "part", "offset") == rows_of(frame.loc[ours.index], "part", "offset")
        for field in (None, data.draw(FIELDS)):
            one, other = (each.last_write(key, field, db=db, before=at) for each in (based, plain))
            assert (None if one is None else one.name) == (None if other is None else other.name)
        ours, expected = (each.blame(key, db=db, at=at) for each in (based, plain))
        columns = ("element", "value", "seq", "cmd", "args")
        assert repr(rows_of(ours, *columns)) == repr(rows_of(expected, *columns))


@examples(25)
@given(log=random_logs(with_base=True), data=st.data())
def test_what_changed_and_when(log, data, both):
    based, plain = both(log)
    for _ in range(3):
        a, b = sorted((data.draw(st.integers(0, len(plain))), data.draw(st.integers(0, len(plain)))))
        assert repr(based.diff(a, b).values.tolist()) == repr(plain.diff(a, b).values.tolist())
    key = data.draw(KEYS)
    there = lambda store: store.execute("EXISTS", key)  # noqa: E731
    one, other = (each.bisect(there) for each in (based, plain))
    assert (one is None) == (other is None)
    if one is not None:
        # There may be several such moments, and which is found depends on where reading can begin.
        assert there(based.at(int(one.name) + 1))


@examples(25)
@given(log=random_logs(with_base=True), data=st.data())
def test_plans(log, data, both):
    based, plain = both(log)
    commands = plain.to_pandas(columns=["cmd"])["cmd"]
    assume(len(plain))
    row = data.draw(st.integers(0, len(plain) - 1))
    plans: list[Any] = [lambda log: log.recover(stop=row), lambda log: log.recover(keep=["k0", "k[34]"])]
    if commands[row] != "SELECT":
        plans += [lambda log: log.recover(drop=row), lambda log: log.undo(row, "excise")]
        if commands[row] != "SWAPDB" and commands[row] not in ("MULTI", "EXEC"):
            plans.append(lambda log: log.undo(row, "graft"))
    for plan in plans:
        one, other = plan(based), plan(plain)
        assert one.found == other.found
        assert one.extra == other.extra
        assert one.commands == other.commands
        assert len(one.conflicts) == len(other.conflicts)


@examples(12)
@given(log=random_logs(with_base=True))
def test_columns_and_sums(log, both):
    based, plain = both(log)
    one, other = (each.to_pandas(replay=True, encoding=None) for each in (based, plain))
    columns = ("ts", "db", "txn", "cmd", "key", "nkeys", "argc", "status", "dirty", "error", "keys_after", "type")
    assert repr(rows_of(one, *columns)) == repr(rows_of(other, *columns))
    frames = based.to_pandas(), plain.to_pandas()
    assert [*map(str, frames[0].aof.arg(2))] == [*map(str, frames[1].aof.arg(2))]
    for what in ("events", "transactions", "ttl"):
        ours, expected = (getattr(each.aof, what)() for each in frames)
        kept = [name for name in expected if name not in ("part", "offset", "nbytes", "bytes")]
        assert repr(ours[kept].values.tolist()) == repr(expected[kept].values.tolist())
    for by in ("key", "cmd", "template"):
        ours, expected = (each.waste(by=by)["commands"].to_dict() for each in (based, plain))
        assert ours == expected
    ours, expected = (each.sql("select cmd, count(*) n from log group by 1 order by 1") for each in (based, plain))
    assert ours.values.tolist() == expected.values.tolist()
    for word in ("k1", "v7", b"f2", "HSET"):
        ours, expected = (each.find(word) for each in (based, plain))
        assert rows_of(ours, "arg", "excerpt") == rows_of(expected, "arg", "excerpt")


@examples(25)
@given(log=random_logs(with_base=True), data=st.data())
def test_the_log_as_a_whole(log, data, both, tmp_path_factory):
    based, plain = both(log)
    assert based.check().verdict == plain.check().verdict == "fine"
    one, other = based.triage(), plain.triage()
    for name in ("valid", "damage", "commands", "transactions", "databases", "statuses", "suspect_counts", "dialects"):
        assert getattr(one, name) == getattr(other, name), name
    assert {name: count for name, (count, _) in one.by_command.items()} == {
        name: count for name, (count, _) in other.by_command.items()
    }
    assert [(each["kind"], each["seq"]) for each in one.suspects] == [
        (each["kind"], each["seq"]) for each in other.suspects
    ]
    assert aofnb.compare(based, plain)
    assert aofnb.compare(based, plain, level="state")
    assert state(based.source) == state(plain.source)
    assert aofnb.compare(based, aofnb.scan(log.write(tmp_path_factory.mktemp("again") / "log")), level="bytes")


@examples(25)
@given(log=random_logs(with_base=True), data=st.data())
def test_one_command_makes_the_difference(log, data, both, tmp_path_factory):
    based, plain = both(log)
    assume(len(plain))
    row = data.draw(st.integers(0, len(plain) - 1))
    commands = list(map(list, plain.to_pandas(columns=["args"])["args"]))
    assume(commands[row][0] != b"SELECT")
    fewer, dbs = tmp_path_factory.mktemp("log") / "fewer.aof", plain.to_pandas(columns=["db"])["db"]
    write_log(fewer, [*commands[:row], *commands[row + 1 :]])
    found = aofnb.compare(based, fewer)
    counted = [(db, argv) for db, argv in zip(dbs, commands, strict=True) if argv[0] != b"SELECT"]
    place = sum(argv[0] != b"SELECT" for argv in commands[:row])
    # Of a run of equal commands any may be the one that is gone.
    while place + 1 < len(counted) and counted[place + 1] == counted[place]:
        place += 1
    assert (found.equal, found.common) == (False, place)


@examples(4)
@given(log=random_logs(), split_rows=st.integers(1, 40))
def test_pieces_for_many_workers(log, split_rows, both):
    need_module("dask.dataframe")
    based, _ = both(log)
    columns = ["part", "offset", "nbytes", "ts", "db", "txn", "cmd", "key", "status"]
    assume(len(based))
    frame = based.to_dask(columns=columns, split_rows=split_rows).compute(scheduler="sync")
    expected = based.to_pandas(columns=columns)
    assert frame.index.tolist() == expected.index.tolist()
    for column in columns:
        assert frame[column].astype(str).tolist() == expected[column].astype(str).tolist(), column
