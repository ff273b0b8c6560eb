import pytest

import aofnb
from aofnb.clock import FakeClock
from aofnb.errors import AofError
from aofnb.resp.encode import encode_command


class Script(FakeClock):
    """A clock whose waiting is when things happen: the next step each time, then the end."""

    def __init__(self, steps):
        super().__init__()
        self.steps = list(steps)
        self.follow = None

    def wait(self, condition, timeout_s):
        if self.steps:
            self.steps.pop(0)()
        else:
            self.follow.stop()


def followed(path, *steps):
    clock = Script(steps)
    clock.follow = aofnb.scan(path).follow(columns=["part", "db", "cmd", "key", "txn"], clock=clock)
    return list(clock.follow)


def appender(path, *lines):
    def step():
        with open(path, "ab") as file:
            file.write(
                b"".join(line if isinstance(line, bytes) else encode_command(line.encode().split()) for line in lines)
            )

    return step


def test_only_what_is_new_and_whole_is_given(tmp_path):
    path = tmp_path / "x.aof"
    appender(path, "SELECT 2", "SET old 1", "MULTI", "SET half 1")()
    record = encode_command([b"SET", b"c", b"1"])
    frames = followed(
        path,
        appender(path, "EXEC", "SET a 1"),
        appender(path, "MULTI", "SET b 1", record[:9]),
        appender(path, record[9:]),
        appender(path, "EXEC"),
    )
    assert [frame.key.dropna().tolist() for frame in frames] == [["half", "a"], ["b", "c"]]
    assert [seq for frame in frames for seq in frame.index] == list(range(2, 10))
    assert {db for frame in frames for db in frame.db} == {2}


def test_a_rewrite_is_followed(tmp_path):
    with aofnb.open(tmp_path, background=False, auto_aof_rewrite_percentage=0) as store:
        store.execute("SET", "old", "1")
        frames = followed(
            tmp_path,
            lambda: store.execute("SET", "a", "1"),
            lambda: (store.execute("SET", "b", "1"), rewritten(store), store.execute("SET", "c", "1")),
            lambda: store.execute("SET", "d", "1"),
        )
    assert [key for frame in frames for key in frame.key.dropna()] == ["a", "b", "c", "d"]
    assert len({part for frame in frames for part in frame.part.astype(str)}) == 2
    assert [seq for frame in frames for seq in frame.index] == list(range(frames[0].index[0], frames[-1].index[-1] + 1))


def test_what_two_rewrites_took_between_two_looks_is_said(tmp_path, caplog):
    """The file that came and went held commands that nobody can read any more."""
    with aofnb.open(tmp_path, background=False, auto_aof_rewrite_percentage=0) as store:
        store.execute("SET", "old", "1")
        frames = followed(
            tmp_path,
            lambda: (store.execute("SET", "a", "1"), rewritten(store), store.execute("SET", "lost", "1")),
            lambda: None,
            lambda: (rewritten(store), store.execute("SET", "missed", "1"), rewritten(store)),
            lambda: store.execute("SET", "b", "1"),
        )
    assert [key for frame in frames for key in frame.key.dropna()] == ["a", "lost", "b"]
    (record,) = caplog.records
    assert record.getMessage().startswith("1 file came and went between two looks")


def rewritten(store):
    store.bgrewriteaof()
    while store.stats().rewrite.phase != "idle":
        store.execute("PING")


def test_a_file_that_shrinks_is_said(tmp_path):
    path = tmp_path / "x.aof"
    appender(path, "SET a 1", "SET b 1")()
    with pytest.raises(AofError, match="became shorter while it was followed"):
        followed(path, lambda: path.write_bytes(b""))


def test_a_file_that_was_cut_and_grew_again_is_said(tmp_path):
    """As a server does that loads it: a transaction that was read up to its middle is cut, and others come there."""
    path = tmp_path / "x.aof"
    appender(path, "SET a 1")()
    whole = path.read_bytes()
    with pytest.raises(AofError, match="was changed while it was followed"):
        followed(
            path,
            appender(path, "MULTI", "SET b 1"),
            lambda: (path.write_bytes(whole), appender(path, "SET c 1", "SET d 1", "SET e 1", "SET f 1")()),
        )


def test_the_second_of_a_command_that_was_cut_is_not_that_of_the_next(tmp_path):
    path = tmp_path / "x.aof"
    appender(path, b"#TS:1790000000\r\n", "SET a 1")()
    whole = path.read_bytes()
    torn = [appender(path, b"#TS:1790000050\r\n*3\r\n"), lambda: path.write_bytes(whole)]
    clock = Script([*torn, appender(path, "SET b 1")])
    clock.follow = aofnb.scan(path).follow(columns=["key", "ts"], clock=clock)
    (frame,) = clock.follow
    assert [int(each.timestamp()) for each in frame.ts] == [1790000000]


def test_rows_behind_a_snapshot_of_several_databases_have_their_numbers(tmp_path):
    """The SELECT that stands for the end of the snapshot is a row once there is something behind it."""
    with aofnb.open(tmp_path / "data", background=False) as store:
        store.execute("SET", "a", "1")
        session = store.session()
        session.execute("SELECT", 2)
        session.execute("SET", "b", "1")
        store.execute("SAVE")
    path = tmp_path / "x.aof"
    (snapshot,) = (tmp_path / "data").rglob("dump.rdb")
    path.write_bytes(snapshot.read_bytes())
    (frame,) = followed(path, appender(path, "SET c 1"))
    expected = aofnb.scan(path).to_pandas()
    assert (frame.index.tolist(), frame.db.tolist()) == ([len(expected) - 1], [0])


def test_another_file_in_its_place_is_said(tmp_path):
    """Servers of before 7.0 rewrite their one file beside it, and rename the new one."""
    path, new = tmp_path / "x.aof", tmp_path / "new.aof"
    appender(path, "SET a 1")()
    appender(new, "SET a 1", "SET b 1", "SET c 1")()
    clock = Script([appender(path, "SET b 1"), lambda: (appender(path, "SET c 1")(), new.rename(path))])
    clock.follow = aofnb.scan(path).follow(clock=clock)
    assert next(clock.follow).key.tolist() == ["b"]
    assert next(clock.follow).key.tolist() == ["c"]
    with pytest.raises(AofError, match="another file took its place"):
        next(clock.follow)


def test_poll_must_be_above_zero(tmp_path):
    appender(tmp_path / "x.aof", "SET a 1")()
    with pytest.raises(ValueError, match="poll= is a number"):
        aofnb.scan(tmp_path / "x.aof").follow(poll=0)
