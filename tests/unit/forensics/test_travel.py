import gc
import gzip
import json
import weakref

import pytest
from support.samples import sample

import aofnb
from aofnb.errors import ReplyError
from aofnb.forensics import travel
from aofnb.rdb.writer import write_rdb
from aofnb.resp.encode import encode_command
from aofnb.store.digest import keyspace_digest


def log_of(path, *commands, notes=()):
    lines = [encode_command(command.encode().split()) for command in commands]
    for number, note in notes:
        lines[number] = note + lines[number]
    path.write_bytes(b"".join(lines))
    return aofnb.scan(path)


def test_the_state_at_a_row_is_what_that_command_found(tmp_path):
    log = log_of(tmp_path / "x.aof", "SET cart 1", "SET cart 2", "FLUSHALL", "SET other 3")
    assert [log.at(row).execute("GET", "cart") for row in range(5)] == [None, b"1", b"2", None, None]
    assert log.at("end").execute("GET", "other") == b"3"


def test_a_transaction_counts_with_its_exec(tmp_path):
    log = log_of(tmp_path / "x.aof", "MULTI", "SET a 1", "SET b 2", "EXEC")
    assert [log.at(row).execute("DBSIZE") for row in range(5)] == [0, 0, 0, 0, 2]


def test_nobody_can_write_into_the_past(tmp_path):
    store = log_of(tmp_path / "x.aof", "SET a 1").at("end")
    with pytest.raises(ReplyError, match="READONLY"):
        store.execute("SET", "a", "2")


def test_who_waits_in_the_past_waits_for_nothing(tmp_path):
    store = log_of(tmp_path / "x.aof", "XADD s 1-1 f v").at("end")
    assert store.execute("XREAD", "BLOCK", 3_600_000, "STREAMS", "s", "$") is None
    assert store.execute("XREAD", "BLOCK", 0, "STREAMS", "s", "0") == [[b"s", [[b"1-1", [b"f", b"v"]]]]]
    with pytest.raises(ReplyError, match="time stands still"):
        store.execute("XREAD", "BLOCK", 0, "STREAMS", "s", "$")
    assert store.execute("XLEN", "s") == 1


def test_a_deadline_is_judged_by_the_time_of_the_log(tmp_path):
    log = log_of(
        tmp_path / "x.aof",
        "SET a 1 PXAT 1000500",
        "SET b 1",
        "SET c 1",
        notes=[(0, b"#TS:1000\r\n"), (2, b"#TS:1001\r\n")],
    )
    assert [log.at(row).execute("EXISTS", "a") for row in range(4)] == [0, 1, 0, 0]
    assert log.at(1).execute("PTTL", "a") == 500


def test_without_times_nothing_expires_but_what_the_log_deletes(tmp_path):
    log = log_of(tmp_path / "x.aof", "SET a 1 PXAT 1", "DEL a")
    assert log.at(1).execute("GET", "a") == b"1"
    assert log.at("end").execute("GET", "a") is None


def test_any_database_of_the_log_can_be_looked_at(tmp_path):
    store = log_of(tmp_path / "x.aof", "SELECT 40", "SET a 1").at("end")
    assert store.run([["SELECT", "40"], ["GET", "a"]]) == ["OK", b"1"]


def test_a_cut_command_was_never_run(tmp_path):
    path = tmp_path / "x.aof"
    path.write_bytes(encode_command([b"SET", b"a", b"1"]) + encode_command([b"SET", b"a", b"2"])[:-3])
    assert aofnb.scan(path, on_bad="truncate").at("end").execute("GET", "a") == b"1"


@pytest.mark.parametrize("name", ["02-aof-base-incr", "06-old-single-rdb-preamble", "09-rdb-base-lfu"])
def test_the_end_of_a_log_is_what_opening_it_gives(name, tmp_path):
    expected = json.loads((sample(name) / "expected.json").read_text())
    store = aofnb.scan(sample(name) / "data").at("end")
    assert store.execute("DEBUG", "DIGEST") == expected["result"]["debug_digest"]


def test_a_checkpoint_is_never_inside_a_snapshot(tmp_path, monkeypatch):
    """A base of many keys is one step: what stands behind it counts, however often the way is gone."""
    for name, value in (("_WORTH_BYTES", 100), ("_GOAL_S", 1e-6), ("_BEFORE_FLUSH_BYTES", 100)):
        monkeypatch.setattr(travel, name, value)
    monkeypatch.setattr("aofnb.forensics.snapshot._TABLE_ROWS", 40)
    monkeypatch.setattr("aofnb.forensics.rows._MARK_ROWS", 20)
    path = sample("01-rdb-base-incr") / "data"
    plain = aofnb.open(path, readonly=True)
    log = aofnb.scan(path, cache_dir=tmp_path)
    for _ in range(3):
        store = log.at("end")
        assert store.execute("DEBUG", "DIGEST") == plain.execute("DEBUG", "DIGEST")
    plain.close()


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_base_is_loaded_as_servers_load_it(tmp_path, monkeypatch, pack):
    """Not as the commands that would make its keys, which takes several times as long."""
    data = sample("09-rdb-base-lfu") / "data" / "appendonlydir"
    for path in data.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes() if "manifest" in path.name else pack(path.read_bytes()))
    log = aofnb.scan(tmp_path, cache_dir=False)
    log.index()
    monkeypatch.setattr("aofnb.forensics.rows.SnapshotRows", None)
    store = log.at("end")
    expected = json.loads((sample("09-rdb-base-lfu") / "expected.json").read_text())
    assert store.execute("DEBUG", "DIGEST") == expected["result"]["debug_digest"]


def test_a_base_that_no_server_loads_is_replayed_as_rows(tmp_path, monkeypatch):
    keyspace = log_of(tmp_path / "first.aof", "SET a 0", "SET b 1").at("end").engine.keyspace
    with (tmp_path / "x.aof").open("wb") as file:
        write_rdb(file, keyspace)
        file.write(encode_command([b"SET", b"c", b"0"]))
    log = aofnb.scan(tmp_path / "x.aof")
    content = (tmp_path / "x.aof").read_bytes()
    log.index()
    # Changed since, under what is known of it.
    (tmp_path / "x.aof").write_bytes(content.replace(b"\x01b", b"\x01a"))
    assert log.at("end").execute("KEYS", "*") == [b"a", b"c"]


def test_behind_a_snapshot_a_file_goes_on_in_database_0(tmp_path):
    """Whatever database the last key of the snapshot is in: the client that replays is not the one that loads it."""
    keyspace = log_of(tmp_path / "first.aof", "SET a 0", "SELECT 2", "SET b 2").at("end").engine.keyspace
    path = tmp_path / "data" / "appendonly.aof"
    path.parent.mkdir()
    with path.open("wb") as file:
        write_rdb(file, keyspace)
        file.write(encode_command([b"SET", b"c", b"0"]))
    log = aofnb.scan(path)
    ours = log.at("end").engine.keyspace
    assert [sorted(key for key, _, _ in ours[db].walk()) for db in (0, 2)] == [[b"a", b"c"], [b"b"]]
    assert log.to_pandas().set_index("key")["db"].dropna().to_dict()["c"] == 0
    assert log.get("c") == b"0"
    assert log.history("c")["args"].tolist() == [[b"SET", b"c", b"0"]]
    assert [log.position(str(log.position(seq))).seq for seq in range(len(log) + 1)] == list(range(len(log) + 1))
    with aofnb.open(path.parent, readonly=True) as store:
        assert keyspace_digest(ours) == keyspace_digest(store.engine.keyspace)


def test_an_answer_that_nobody_holds_makes_room_for_the_next(tmp_path, monkeypatch):
    """The collection of garbage may be long in coming: a store is large, but has few parts that it counts."""
    monkeypatch.setattr(travel, "_MANY_KEYS", 0)
    log = log_of(tmp_path / "x.aof", *[f"SET k {n}" for n in range(9)])
    gc.disable()
    try:
        first = weakref.ref(log.at(3))
        held = log.at(5)
        assert first() is None
        assert log.at(7).execute("GET", "k") == b"6"
        assert held.execute("GET", "k") == b"4"
    finally:
        gc.enable()


def test_who_would_change_the_past_is_told_what_can_be_done(tmp_path):
    with aofnb.open(tmp_path / "data") as store:
        store.execute("SET", "k", 1)
    with aofnb.scan(tmp_path / "data").at("end") as then, pytest.raises(aofnb.ReplyError, match="undo and recover"):
        then.execute("SET", "k", 2)
