"""Any one file operation may fail, for a moment or for good: what was acknowledged is there after reopening."""

from __future__ import annotations

import errno
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.faults import FaultFs

import aofnb
from aofnb.clock import FakeClock

COMMANDS = 12


def write_until_failure(fs: FaultFs, directory: Path, policy: str, clock: FakeClock | None = None) -> tuple[int, int]:
    """Open, write transactions with a rewrite in between, close; how many were acknowledged, how many were tried.

    After a failure the rest is tried all the same: what is acknowledged then counts like everything else.
    """
    acknowledged = tried = 0
    try:
        store = aofnb.open(
            directory, fs=fs, clock=clock, background=False, appendfsync=policy, auto_aof_rewrite_percentage=0
        )
    except (aofnb.AofnbError, OSError):
        return 0, 0
    try:
        for i in range(1, COMMANDS + 1):
            try:
                replies = store.run([("MULTI",), ("SET", "n", i), ("RPUSH", "list", i), ("EXEC",)])
            except aofnb.AofWriteError:
                tried = i  # not acknowledged, but kept in memory: what comes later stands on it
                continue
            if isinstance(replies[-1], aofnb.ReplyError):
                break
            tried = acknowledged = i
            if i == COMMANDS // 2:
                with suppress(aofnb.ReplyError):
                    store.bgrewriteaof()
            store.tick()
    finally:
        with suppress(aofnb.AofnbError):
            store.close()
    return acknowledged, tried


def reload(directory: Path) -> tuple[int, list[int]]:
    with aofnb.open(directory) as store:
        assert store.load_report is not None
        assert store.load_report.failed == ()
        return int(store.execute("GET", "n") or 0), [int(item) for item in store.execute("LRANGE", "list", 0, -1)]


def operations_of_a_healthy_run(tmp_path: Path, policy: str) -> int:
    fs = FaultFs()
    assert write_until_failure(fs, tmp_path / "healthy", policy) == (COMMANDS, COMMANDS)
    assert reload(tmp_path / "healthy") == (COMMANDS, list(range(1, COMMANDS + 1)))
    return fs.done


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "for good"])
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EINTR], ids=errno.errorcode.get)
@pytest.mark.parametrize("policy", ["always", "everysec", "no"])
def test_reload_gives_at_least_what_was_acknowledged(policy: str, error: int, lasting: bool, tmp_path: Path) -> None:
    operations = operations_of_a_healthy_run(tmp_path, policy)
    assert operations > 40
    for fail_at in range(operations):
        fs = FaultFs(fail_at, error=error, lasting=lasting)
        directory = tmp_path / f"{fail_at}"
        acknowledged, tried = write_until_failure(fs, directory, policy)
        where = f"operation {fail_at} {fs.failed[:1]}"
        n, items = reload(directory)
        assert items == list(range(1, n + 1)), f"{where}: {items} is not what was written"
        assert acknowledged <= n <= max(tried, acknowledged), f"{where}: {acknowledged} acknowledged, {n} there"


@pytest.mark.parametrize("taken", [0, 1, 7, 40])
@pytest.mark.parametrize("policy", ["always", "everysec", "no"])
def test_a_short_write_leaves_whole_transactions(policy: str, taken: int, tmp_path: Path) -> None:
    fs = FaultFs(only={"write"})
    write_until_failure(fs, tmp_path / "healthy", policy)
    for fail_at in range(fs.done):
        broken = FaultFs(fail_at, error=errno.ENOSPC, short_write=taken, only={"write"})
        directory = tmp_path / f"{fail_at}"
        acknowledged, tried = write_until_failure(broken, directory, policy)
        n, items = reload(directory)
        assert items == list(range(1, n + 1))
        assert acknowledged <= n <= max(tried, acknowledged)


@pytest.mark.parametrize("taken", [1, 7, 40])
@pytest.mark.parametrize("policy", ["always", "everysec", "no"])
def test_a_write_that_takes_a_part_and_then_the_rest_is_no_failure(policy: str, taken: int, tmp_path: Path) -> None:
    fs = FaultFs(only={"write"})
    write_until_failure(fs, tmp_path / "healthy", policy)
    for fail_at in range(fs.done):
        short = FaultFs(fail_at, error=0, short_write=taken, only={"write"})
        directory = tmp_path / f"{fail_at}"
        assert write_until_failure(short, directory, policy) == (COMMANDS, COMMANDS)
        assert short.failed
        assert reload(directory) == (COMMANDS, list(range(1, COMMANDS + 1)))


@pytest.mark.parametrize("policy", ["always", "everysec", "no"])
def test_an_operation_that_takes_seconds_is_no_failure(policy: str, tmp_path: Path) -> None:
    """Each one in turn, then all of them: nothing is given up on, postponed for good or acknowledged too early."""
    operations = operations_of_a_healthy_run(tmp_path, policy)
    for fail_at, lasting in [*((number, False) for number in range(operations)), (0, True)]:
        clock = FakeClock()
        slow = FaultFs(fail_at, slow=lambda clock=clock: clock.advance(3), lasting=lasting)
        directory = tmp_path / f"{fail_at} {lasting}"
        assert write_until_failure(slow, directory, policy, clock) == (COMMANDS, COMMANDS)
        assert slow.failed
        assert reload(directory) == (COMMANDS, list(range(1, COMMANDS + 1)))


def test_after_a_failed_fsync_nothing_is_acknowledged_any_more(tmp_path: Path) -> None:
    """A second fsync that succeeds proves nothing about the pages of the first."""
    with aofnb.open(tmp_path / "data", appendfsync="always") as store:
        store.execute("SET", "before", 1)
    fs = FaultFs(1, only={"fdatasync"})  # 0 is the one of opening
    store = aofnb.open(tmp_path / "data", fs=fs, appendfsync="always", background=False)
    with pytest.raises(aofnb.AofWriteError, match="open it again"):
        store.execute("SET", "during", 1)
    attempts: list[Any] = []
    for _ in range(3):
        try:
            attempts.append(store.execute("SET", "after", 1))
        except aofnb.ReplyError as problem:
            attempts.append(str(problem))
    assert all("MISCONF" in str(attempt) for attempt in attempts)
    assert store.execute("GET", "before") == b"1"
    with pytest.raises(aofnb.AofWriteError):
        store.close()
    with aofnb.open(tmp_path / "data") as again:
        assert again.execute("GET", "before") == b"1"
        assert again.execute("GET", "after") is None


def test_a_rewrite_heals_a_log_that_can_no_longer_be_trusted(tmp_path: Path) -> None:
    """redis-server leaves the process; we refuse writes until someone says to go on."""
    fs = FaultFs(only={"fdatasync"})
    with aofnb.open(tmp_path / "data", fs=fs, appendfsync="always", background=False) as store:
        fs.fail_at = fs.done  # the next one
        with pytest.raises(aofnb.AofWriteError):
            store.execute("SET", "during", 1)
        store.tick()
        with pytest.raises(aofnb.ReplyError, match="MISCONF"):
            store.execute("SET", "refused", 1)
        assert "started" in store.bgrewriteaof()
        store.execute("SET", "after", 1)
        assert store.stats().write_error is None
        assert store.stats().last_write_error == "Input/output error"
    with aofnb.open(tmp_path / "data") as again:
        assert again.execute("MGET", "during", "refused", "after") == [b"1", None, b"1"]


def test_everysec_heals_by_itself_once_the_disk_is_well(tmp_path: Path) -> None:
    """redis-server 7.0.15 answers MISCONF for ever after one failed fsync."""
    fs = FaultFs(only={"fdatasync"})
    clock = aofnb.clock.FakeClock()
    with aofnb.open(tmp_path / "data", fs=fs, clock=clock, appendfsync="everysec", background=False) as store:
        fs.fail_at, fs.lasting = fs.done, True
        store.execute("SET", "during", 1)
        for _ in range(4):
            clock.advance(1.5)
            store.tick()
            store._bio.drain()
        with pytest.raises(aofnb.ReplyError, match="MISCONF"):
            store.execute("SET", "refused", 1)
        fs.mend()
        clock.advance(61)
        store.tick()
        store.execute("SET", "after", 1)
        assert store.stats().write_error is None
    with aofnb.open(tmp_path / "data") as again:
        assert again.execute("MGET", "during", "refused", "after") == [b"1", None, b"1"]
