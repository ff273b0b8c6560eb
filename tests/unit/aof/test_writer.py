"""aofnb/aof/writer.py: feed, write, fsync, and what is left when they fail."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from support.faults import FaultFs

from aofnb.aof.bio import Bio
from aofnb.aof.writer import AofWriter
from aofnb.clock import FakeClock
from aofnb.config import Config
from aofnb.errors import AofWriteError
from aofnb.resp.encode import encode_command


def record(*argv: bytes) -> bytes:
    return encode_command(argv)


SELECT0 = record(b"SELECT", b"0")
A, B, C = (record(b"SET", key, b"v") for key in (b"a", b"b", b"c"))


class World:
    def __init__(self, path: Path) -> None:
        self.path = path / "incr"
        self.bio = Bio()
        self.clock = FakeClock()
        self.fs = FaultFs()
        self.config = Config()
        self.writer: AofWriter

    def open(self, **settings: object) -> AofWriter:
        self.config = Config(settings)
        self.writer = AofWriter(self.fs.create(str(self.path)), 0, self.config, self.clock, self.bio)
        self.fs.log.clear()
        return self.writer

    def feed(self, *keys: bytes, db: int = 0) -> None:
        for key in keys:
            self.writer.feed([(db, [b"SET", key, b"v"])], False)

    def fail(self, fail_at: int, **how: object) -> None:
        self.fs.done, self.fs.fail_at = 0, fail_at
        for name, value in how.items():
            setattr(self.fs, name, value)

    @property
    def content(self) -> bytes:
        return self.path.read_bytes()

    @property
    def steps(self) -> list[str]:
        return [operation for operation, _ in self.fs.log]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.bio.close()
    with suppress(OSError):  # closed by the test
        world.writer.file.close()


# --- feed ----------------------------------------------------------------------------------------------------


def test_select_comes_first_and_where_the_database_changes(world):
    writer = world.open()
    world.feed(b"a", b"b")
    world.feed(b"c", db=3)
    assert writer.aof_buf == SELECT0 + A + B + record(b"SELECT", b"3") + C
    assert writer.fed_commands == 3


def test_several_records_are_framed_with_select_before_multi(world):
    writer = world.open()
    effects = [(1, [b"SET", b"a", b"v"]), (0, [b"SET", b"b", b"v"])]
    writer.feed(effects, True)
    select1, multi, exec_ = record(b"SELECT", b"1"), record(b"MULTI"), record(b"EXEC")
    assert writer.aof_buf == select1 + multi + A + SELECT0 + B + exec_
    writer.aof_buf.clear()
    writer.feed([(0, [b"DEL", b"a"]), (0, [b"DEL", b"b"])], False)
    assert writer.aof_buf == record(b"DEL", b"a") + record(b"DEL", b"b")


def test_one_annotation_a_second_before_select_and_multi(world):
    writer = world.open(aof_timestamp_enabled=True)
    world.feed(b"a", b"b")
    world.clock.advance(1)
    writer.feed([(0, [b"SET", b"a", b"v"]), (0, [b"SET", b"b", b"v"])], True)
    expected = (
        b"#TS:1700000000\r\n" + SELECT0 + A + B + b"#TS:1700000001\r\n" + record(b"MULTI") + A + B + record(b"EXEC")
    )
    assert writer.aof_buf == expected


# --- write and fsync ---------------------------------------------------------------------------------------------


def test_always_syncs_before_it_returns(world):
    writer = world.open(appendfsync="always")
    world.feed(b"a", b"b")
    writer.flush()
    assert world.steps == ["write", "fdatasync"]
    assert world.content == SELECT0 + A + B
    assert writer.fsynced_bytes == writer.written_bytes == len(world.content)
    assert (writer.fsynced_commands, writer.fsyncs, writer.unsynced_since) == (2, 1, None)


def test_no_never_syncs_but_at_the_end(world):
    writer = world.open(appendfsync="no")
    world.feed(b"a")
    writer.flush()
    world.clock.advance(100)
    writer.flush()
    assert world.steps == ["write"]
    assert writer.fsync_due_s() is None
    writer.close()
    assert world.steps == ["write", "fdatasync", "close"]


def test_everysec_syncs_in_the_background_at_most_once_a_second_and_when_idle(world):
    writer = world.open()
    world.feed(b"a")
    writer.flush()
    assert world.steps == ["write"]
    assert writer.fsync_due_s() == 1.0
    assert writer.unsynced_since is not None
    world.clock.advance(1)
    writer.flush()
    world.bio.drain()
    assert world.steps == ["write", "fdatasync"]
    assert (writer.fsynced_bytes, writer.unsynced_since) == (len(world.content), None)
    world.clock.advance(5)
    writer.flush()
    world.bio.drain()
    assert world.steps == ["write", "fdatasync"]
    assert writer.fsync_due_s() is None


class SlowDisk:
    """Holds the background thread in an fsync until told."""

    def __init__(self, world: World) -> None:
        self.started, self.go_on = threading.Event(), threading.Event()
        file = world.writer.file

        class Slow:
            path = file.path

            def fdatasync(_self) -> None:  # noqa: N805
                self.started.set()
                assert self.go_on.wait(10)

        world.bio.fsync(Slow(), lambda _problem: None)
        assert self.started.wait(10)

    def release(self, world: World) -> None:
        self.go_on.set()
        world.bio.drain()


def test_a_write_waits_at_most_two_seconds_for_a_running_fsync(world):
    writer = world.open()
    disk = SlowDisk(world)
    world.feed(b"a")
    writer.flush()
    assert world.content == b""
    assert writer.postponed_since is not None
    world.clock.advance(1.9)
    writer.flush()
    assert (world.content, writer.delayed_fsync) == (b"", 0)
    world.clock.advance(0.2)
    writer.flush()
    assert (world.content, writer.delayed_fsync) == (SELECT0 + A, 1)
    assert writer.postponed_since is None
    disk.release(world)


def test_a_forced_flush_and_always_do_not_wait_for_a_running_fsync(world):
    writer = world.open()
    disk = SlowDisk(world)
    world.feed(b"a")
    writer.flush(force=True)
    assert world.content == SELECT0 + A
    world.config.appendfsync = "always"
    world.feed(b"b")
    writer.flush()
    assert writer.fsynced_bytes == len(SELECT0 + A + B)
    disk.release(world)


def test_closing_files_in_the_background_postpones_no_write(world):
    writer = world.open()
    started, go_on = threading.Event(), threading.Event()

    def close() -> None:
        started.set()
        assert go_on.wait(10)

    world.bio.run(close)
    assert started.wait(10)
    world.feed(b"a")
    writer.flush()
    go_on.set()
    assert world.content == SELECT0 + A


def test_a_late_answer_of_an_fsync_does_not_touch_the_counters_of_another_file(world, tmp_path):
    writer = world.open()
    disk = SlowDisk(world)
    world.feed(b"a")
    writer.flush(force=True)
    writer._fsync_in_background()
    old = writer.switch(world.fs.create(str(tmp_path / "next")))
    world.feed(b"b")
    writer.flush(force=True)
    disk.release(world)
    assert writer.fsynced_bytes == 0
    assert (tmp_path / "next").read_bytes() == SELECT0 + B
    old.close()


# --- failures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("short_write", [None, 0, 1, 30, 53])
def test_a_failed_write_keeps_the_buffer_and_the_file_whole_until_a_retry_succeeds(world, short_write):
    writer = world.open()
    world.feed(b"a")
    writer.flush()
    world.feed(b"b", b"c")
    world.fail(0, only={"write"}, short_write=short_write)
    with pytest.raises(AofWriteError, match="Input/output error") as caught:
        writer.flush()
    assert caught.value.offset == len(SELECT0 + A)
    assert world.content == SELECT0 + A
    assert (writer.refusal, writer.poisoned) == (writer.write_error, None)
    assert writer.refusal is not None
    world.fs.mend()
    # The error is still held, by us and in the writer: nothing of aof_buf may hang on it.
    world.feed(b"d")
    writer.flush()
    assert writer.refusal is None
    assert world.content == SELECT0 + A + B + C + record(b"SET", b"d", b"v")
    assert writer.written_bytes == len(world.content)


def test_a_disk_that_stays_full_is_told_of_every_half_minute_and_so_is_its_recovery(world, caplog):
    writer = world.open(appendfsync="no")
    world.fail(0, only={"write"}, lasting=True)

    def told_after(seconds: float) -> int:
        world.clock.advance(seconds)
        caplog.clear()
        world.feed(b"a")
        with pytest.raises(AofWriteError):
            writer.flush()
        return len([record for record in caplog.records if "Error writing to the AOF file" in record.getMessage()])

    assert [told_after(seconds) for seconds in (0, 1, 28.9, 0.2, 29, 1)] == [1, 0, 0, 1, 0, 1]
    world.fs.mend()
    caplog.clear()
    writer.flush()
    assert "AOF write error looks solved" in caplog.text
    world.fail(0, only={"write"}, lasting=True)
    assert told_after(0) == 1, "a new trouble is news"


@pytest.mark.parametrize("short_write", [1, 30, 53])
def test_what_cannot_be_cut_back_is_continued(world, short_write):
    writer = world.open()
    world.feed(b"a")
    writer.flush()
    world.feed(b"b", b"c")
    world.fail(0, only={"write", "ftruncate"}, short_write=short_write, lasting=False)
    world.fs.lasting = True
    with pytest.raises(AofWriteError):
        writer.flush()
    assert world.content == (SELECT0 + A + B + C)[: len(SELECT0 + A) + short_write]
    assert writer.written_bytes == len(world.content)
    world.fs.mend()
    world.feed(b"d")
    writer.flush()
    assert world.content == SELECT0 + A + B + C + record(b"SET", b"d", b"v")


def test_a_failed_write_under_always_ends_writing(world):
    writer = world.open(appendfsync="always")
    world.feed(b"a")
    writer.flush()
    world.feed(b"b")
    world.fail(0, only={"write"}, short_write=3)
    with pytest.raises(AofWriteError):
        writer.flush()
    world.fs.mend()
    with pytest.raises(AofWriteError, match="earlier"):
        writer.flush()
    assert world.content == SELECT0 + A
    assert writer.refusal is not None


@pytest.mark.parametrize("policy", ["always", "everysec"])
def test_a_failed_fsync_is_never_retried_into_success(world, policy):
    writer = world.open(appendfsync=policy)
    world.fail(0, only={"fdatasync"})
    world.feed(b"a")
    world.clock.advance(1)
    if policy == "always":
        with pytest.raises(AofWriteError, match="Input/output"):
            writer.flush()
    else:
        writer.flush()
        world.bio.drain()
    world.fs.mend()
    assert writer.fsynced_bytes == 0
    assert writer.refusal is not None
    world.feed(b"b")
    world.clock.advance(5)
    with pytest.raises(AofWriteError, match="earlier write or fsync failed"):
        writer.flush()
    with pytest.raises(AofWriteError):
        writer.fsync_now()
    assert world.content == SELECT0 + A


def test_a_poisoned_writer_refuses_even_while_a_write_could_be_postponed(world):
    writer = world.open()
    disk = SlowDisk(world)
    writer.poisoned = OSError(5, "Input/output error")
    world.feed(b"a")
    with pytest.raises(AofWriteError):
        writer.flush()
    disk.release(world)


def test_close_raises_what_could_not_be_made_durable(world):
    writer = world.open()
    world.feed(b"a")
    world.fail(0, only={"fdatasync"})
    with pytest.raises(AofWriteError):
        writer.close()
    assert world.steps[-1] == "fdatasync"
    with pytest.raises(OSError, match="Bad file descriptor"):
        writer.file.write(b"x")
    writer.file = world.fs.create(str(world.path))


def test_a_switch_begins_with_select_and_is_good_again(world, tmp_path):
    writer = world.open()
    world.feed(b"a")
    writer.flush()
    writer.poisoned = OSError(5, "Input/output error")
    writer.switch(world.fs.create(str(tmp_path / "next"))).close()
    world.feed(b"b")
    writer.flush()
    assert (tmp_path / "next").read_bytes() == SELECT0 + B
    assert writer.refusal is None
