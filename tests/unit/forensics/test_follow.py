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


def test_poll_must_be_above_zero(tmp_path):
    appender(tmp_path / "x.aof", "SET a 1")()
    with pytest.raises(ValueError, match="poll= is a number"):
        aofnb.scan(tmp_path / "x.aof").follow(poll=0)
