"""Plans that leave commands out or put keys back, against the true earlier state."""

import pytest
from support.require import need
from support.server import available

import aofnb
from aofnb.forensics import travel
from aofnb.resp.encode import encode_command
from aofnb.store.digest import keyspace_digest


@pytest.fixture
def flushed(tmp_path):
    """A log with a FLUSHALL in it; the digests before it and at the end."""
    with aofnb.open(tmp_path / "data") as store:
        for n in range(20):
            store.execute("SET", f"k{n}", n)
            store.execute("RPUSH", "list", n)
        store.execute("HSET", "h", "a", "1")
        store.execute("PEXPIREAT", "h", 4_000_000_000_000)
        session = store.session()
        session.execute("SELECT", 3)
        session.execute("ZADD", "z", 1.5, "m")
        before = keyspace_digest(store.engine.keyspace)
        store.execute("FLUSHALL")
        store.execute("SET", "k1", "new")
        store.execute("MULTI")
        store.execute("SET", "later", "1")
        store.execute("DEL", "k1")
        store.execute("EXEC")
    return aofnb.scan(tmp_path / "data"), before


def values(dest, *keys, db=0):
    with aofnb.open(dest, readonly=True) as store:
        session = store.session()
        session.execute("SELECT", db)
        return [session.execute("GET", key) for key in keys]


def digest(dest):
    with aofnb.open(dest, readonly=True) as store:
        return keyspace_digest(store.engine.keyspace)


def test_rewind_gives_the_state_before_the_command(flushed, tmp_path):
    log, before = flushed
    written = log.undo("FLUSHALL", mode="rewind").write(tmp_path / "new")
    assert digest(tmp_path / "new") == before == written.digest
    assert not written.problems
    need("redis-server", available())
    assert written.server_digest == before


def test_graft_puts_back_what_is_absent_and_keeps_what_came_after(flushed, tmp_path):
    log, _ = flushed
    plan = log.undo("FLUSHALL")
    assert plan.counts() == {"comes back": 23, "goes": 0, "changes": 0, "stays": 0}
    written = plan.write(tmp_path / "new")
    assert values(tmp_path / "new", "k0", "k1", "later") == [b"0", b"1", b"1"]
    with aofnb.open(tmp_path / "new", readonly=True) as store:
        assert store.execute("LRANGE", "list", 0, -1) == [b"%d" % n for n in range(20)]
        assert store.execute("PEXPIRETIME", "h") == 4_000_000_000_000
    assert not written.problems
    need("redis-server", available())
    assert written.server_digest == written.digest


def test_graft_puts_back_what_a_command_inside_of_a_transaction_found(tmp_path):
    log = log_of(tmp_path / "x.aof", "SET a 1", "MULTI", "SET a 2", "SET b 1", "DEL a b", "EXEC")
    for name, row, expected in (("one", 4, [b"2", b"1"]), ("all", 1, [b"1", None]), ("end", 5, [b"1", None])):
        log.undo(row).write(tmp_path / name)
        assert values(tmp_path / name, "a", "b") == expected


def test_graft_leaves_a_key_alone_that_exists_again(tmp_path):
    with aofnb.open(tmp_path / "data") as store:
        for argv in (["SET", "a", 1], ["SET", "b", 1], ["DEL", "a", "b"], ["SET", "a", 2]):
            store.execute(*argv)
    plan = aofnb.scan(tmp_path / "data").undo("DEL")
    assert dict(zip(plan.changes.key, plan.changes.change, strict=True)) == {b"a": "stays", b"b": "comes back"}
    assert "1 key exists again" in plan.conflicts[0]
    plan.write(tmp_path / "new")
    assert values(tmp_path / "new", "a", "b") == [b"2", b"1"]


def log_of(path, *lines):
    path.write_bytes(b"".join(encode_command(line.encode().split()) for line in lines))
    return aofnb.scan(path)


@pytest.mark.parametrize(
    "lines",
    [
        ("SET k 1 PXAT 4000000000000", "PEXPIREAT k 4100000000000"),
        ("XADD k 1-1 a 1", "XGROUP CREATE k g 0-0"),
        ("HSET k f 1", "HPEXPIREAT k 4000000000000 FIELDS 1 f"),
    ],
)
def test_a_plan_knows_of_deadlines_and_groups(tmp_path, lines):
    plan = log_of(tmp_path / "x.aof", *lines).undo(1, mode="excise")
    assert plan.found == [(0, b"k", "changes")]


@pytest.mark.parametrize("mode", ["excise", "graft", "rewind"])
def test_without_a_transaction_all_others_run_in_their_database(mode, tmp_path):
    """Some servers say SELECT behind MULTI, and it is for what is behind EXEC, too."""
    log = log_of(tmp_path / "x.aof", "SELECT 0", "MULTI", "SELECT 2", "SET a 1", "EXEC", "SET b 1")
    plan = log.undo(1, mode)
    assert plan.commands == ([1, 3, 4] if mode != "rewind" else [])
    plan.write(tmp_path / "new")
    there = mode != "rewind"
    assert values(tmp_path / "new", "a", "b", db=2) == [b"1" if mode == "graft" else None, b"1" if there else None]
    assert values(tmp_path / "new", "b") == [None]


def test_a_transaction_that_the_end_cuts_does_not_count_whatever_damage_is_behind(tmp_path):
    lines = ("SET k 1", "MULTI", "DEL k", "SET a 1", "SET lost 1", "SET b 1")
    log_of(tmp_path / "x.aof", *lines)
    content = (tmp_path / "x.aof").read_bytes()
    (tmp_path / "x.aof").write_bytes(content.replace(b"$4\r\nlost", b"$%\r\nlost"))
    log = aofnb.scan(tmp_path / "x.aof", on_bad="resync")
    for stop, expected in ((3, [b"1", None]), (4, [None, b"1"])):
        assert [log.at(stop).execute("GET", key) for key in ("k", "a")] == expected
        plan = log.recover(stop=stop)
        plan.write(tmp_path / str(stop))
        assert values(tmp_path / str(stop), "k", "a") == expected
        assert ((0, b"k", "comes back") in plan.found) == (stop == 3)


def test_graft_tells_of_a_key_that_exists_again_with_another_deadline(tmp_path):
    lines = ("SET k 1 PXAT 4000000000000", "DEL k", "SET k 1 PXAT 4100000000000")
    plan = log_of(tmp_path / "x.aof", *lines).undo(1)
    assert plan.found == [(0, b"k", "stays")]
    assert log_of(tmp_path / "y.aof", *lines[:2], lines[0]).undo(1).found == []


def test_excise_runs_all_other_commands(flushed, tmp_path):
    log, _ = flushed
    plan = log.recover(drop="FLUSHALL")
    assert plan.counts()["comes back"] == 22  # the later DEL took k1
    plan.write(tmp_path / "new")
    assert values(tmp_path / "new", "k0", "k1", "later") == [b"0", None, b"1"]


def test_excise_tells_which_commands_then_fail(tmp_path):
    with aofnb.open(tmp_path / "data") as store:
        for argv in (["SET", "a", 1], ["DEL", "a"], ["RPUSH", "a", "x"]):
            store.execute(*argv)
    plan = aofnb.scan(tmp_path / "data").undo("DEL", mode="excise")
    assert "RPUSH" in plan.conflicts[0]
    assert "WRONGTYPE" in plan.conflicts[0]
    written = plan.write(tmp_path / "new")
    assert len(written.problems) == 1


def test_what_fails_in_any_case_is_no_conflict(tmp_path):
    plan = log_of(tmp_path / "x.aof", "SET k 1", "LPUSH k a", "SET j 1").undo(2, mode="excise")
    assert (plan.conflicts, plan.found) == ([], [(0, b"j", "goes")])


def test_a_transaction_goes_as_a_whole(flushed, tmp_path):
    log, _ = flushed
    rows = log.to_pandas(columns=["cmd"])
    multi = rows.index[rows.cmd == "MULTI"][0]
    plan = log.recover(drop=int(multi))
    assert len(plan.commands) == 4
    plan.write(tmp_path / "new")
    assert values(tmp_path / "new", "k1", "later") == [b"new", None]


def test_rows_of_a_frame_are_left_out(flushed, tmp_path):
    log, _ = flushed
    frame = log.to_pandas()
    log.recover(drop=frame[(frame.cmd == "SET") & (frame.key == "later")]).write(tmp_path / "new")
    assert values(tmp_path / "new", "later") == [None]


def test_only_some_keys_are_kept(flushed, tmp_path):
    log, _ = flushed
    log.recover(keep=["k1*", "z"], stop="#40").write(tmp_path / "new")
    with aofnb.open(tmp_path / "new", readonly=True) as store:
        assert all(key.startswith(b"k1") for key in store.execute("KEYS", "*"))
        assert store.execute("DBSIZE") > 3


def test_a_stop_inside_a_snapshot_keeps_the_commands_before_it(tmp_path):
    with aofnb.open(tmp_path / "data") as store:
        for n in range(10):
            store.execute("SET", f"k{n}", n)
        store.bgrewriteaof()
        store.execute("SET", "later", 1)
    log = aofnb.scan(tmp_path / "data")
    with log.at(5) as then:
        wanted = keyspace_digest(then.engine.keyspace)
    log.recover(stop=5).write(tmp_path / "new")
    assert digest(tmp_path / "new") == wanted


def test_every_row_is_a_place_to_stop_at(flushed, tmp_path):
    """The new log holds what `log.at` says was there."""
    log, _ = flushed
    for row in range(0, log.index().rows + 1, 7):
        with log.at(row) as then:
            wanted = keyspace_digest(then.engine.keyspace)
        written = log.recover(stop=row).write(tmp_path / f"new{row}")
        assert written.digest == wanted


def test_a_plan_begins_with_advice_and_writes_nothing(flushed, tmp_path):
    log, _ = flushed
    plan = log.undo("FLUSHALL")
    assert repr(plan).startswith("first: CONFIG SET auto-aof-rewrite-percentage 0")
    assert "nothing was written" in repr(plan)
    assert "FLUSHALL" not in plan._repr_html_()
    assert [each.name for each in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda log: log.recover(), TypeError, "drop=, stop= or keep="),
        (lambda log: log.undo("FLUSHALL", mode="magic"), ValueError, "'graft', 'rewind' or 'excise'"),
        (lambda log: log.undo("SPOP"), ValueError, "no such command"),
        (lambda log: log.undo("#0"), ValueError, "SELECT"),
        (lambda log: log.undo("end"), ValueError, "no command to undo"),
        (lambda log: log.recover(drop="nothing at all"), ValueError, "no command of Redis's, and no position"),
    ],
)
def test_what_cannot_be_planned(flushed, call, error, says):
    with pytest.raises(error, match=says):
        call(flushed[0])


def test_graft_does_not_guess_what_a_script_touched(tmp_path):
    with aofnb.open(tmp_path / "data") as store:
        store.execute("SET", "a", 1)
        store.execute("SWAPDB", 0, 1)
    with pytest.raises(ValueError, match="excise"):
        aofnb.scan(tmp_path / "data").undo("SWAPDB")


def test_a_damaged_log_says_so_in_its_plan(flushed, tmp_path):
    before = flushed[1]
    incr = tmp_path / "data" / "appendonlydir" / "appendonly.aof.1.incr.aof"
    incr.write_bytes(incr.read_bytes().replace(b"$5\r\nlater", b"%5\r\nlater"))
    plan = aofnb.scan(tmp_path / "data").undo("FLUSHALL", mode="rewind")
    assert "on_bad='resync'" in plan.conflicts[0]
    assert plan.write(tmp_path / "new").digest == before


@pytest.mark.parametrize(
    "plan", [lambda log, **more: log.undo("DEL", **more), lambda log, **more: log.recover(drop="DEL", **more)]
)
def test_every_reading_of_a_plan_tells_how_far_it_is(plan, tmp_path):
    log = log_of(tmp_path / "x.aof", "SET a 1", "DEL a")
    told = []
    plan(log, progress=lambda done, total: told.append((done, total)))
    total = (tmp_path / "x.aof").stat().st_size
    # Which commands those are, how sound the files are, and what the data were.
    assert told.count((total, total)) >= 3


def test_a_plan_up_to_a_time_says_that_it_takes_all_of_the_second(tmp_path):
    path = tmp_path / "x.aof"
    seconds = [b"#TS:%d\r\n" % (1_790_000_000 + n) + encode_command([b"INCR", b"k"]) * 2 for n in range(3)]
    path.write_bytes(b"".join(seconds))
    log = aofnb.scan(path)
    plan = log.recover(stop="2026-09-21 14:13:21")
    assert plan.title == "a new log of everything up to 2026-09-21 14:13:21, all of that second included: before row 4"
    assert log.recover(stop=" 14:13:21").title == plan.title.replace("2026-09-21 ", "")
    assert log.recover(stop="end").title == "a new log of everything before row 6"


def test_commands_of_another_server_do_not_stop_a_plan_and_are_told(tmp_path):
    """Of a module, for example: they stay in the new log, and nothing here knows what they changed."""
    log = log_of(tmp_path / "x.aof", "SET a 1", "JSON.SET d . 1", "JSON.SET d . 2", "GET", "FLUSHALL", "SET b 1")
    store = log.at("end")
    assert store.execute("KEYS", "*") == [b"b"]
    plan = log.undo("FLUSHALL")
    assert plan.found == [(0, b"a", "comes back")]
    (note,) = plan.conflicts
    what = "3 commands that nothing here can run, so what they changed is not in the data"
    assert note == f"{what}: JSON.SET 2, GET 1; the first at byte 27 of {tmp_path / 'x.aof'}"
    written = plan.write(tmp_path / "new")
    assert "unknown command 'JSON.SET'" in repr(written)
    assert aofnb.scan(tmp_path / "new").to_pandas()["cmd"].tolist().count("JSON.SET") == 2


def test_a_state_that_lacks_commands_is_not_kept_for_the_next_question(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(travel, "_WORTH_BYTES", 1)
    monkeypatch.setattr(travel, "_GOAL_S", 0)
    for lines, kept in (("SET a 1", "SET b 1"), 1), (("SET a 1", "JSON.SET d . 1"), 0):
        log = log_of(tmp_path / f"{kept}.aof", *lines)
        assert log.at("end").execute("GET", "a") == b"1"
        assert (log.checkpoints.before(2) is not None) == bool(kept)
    assert "JSON.SET 1; the first at byte 27" in caplog.text
