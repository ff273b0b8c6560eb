"""What happens to the directory, its files and its names while a store is open: nothing is acknowledged into nowhere,
and nothing of another store is overwritten.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from support.require import need

import aofnb
from aofnb.aof.fs import OsFs
from aofnb.aof.lock import LOCK_NAME, DirectoryLock

pytestmark = pytest.mark.skipif(os.name == "nt", reason="directories cannot be locked, nor open files deleted, there")


def keys(directory: Path) -> list[bytes]:
    with aofnb.open(directory) as store:
        return sorted(store.execute("KEYS", "*"))


def test_the_same_log_by_another_name_is_refused(tmp_path: Path) -> None:
    """The lock's file is beside the log, so that a link to the log alone leads to a lock of its own."""
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "appendonlydir").symlink_to(tmp_path / "a" / "appendonlydir")
    (tmp_path / "c").symlink_to(tmp_path / "a")
    with aofnb.open(tmp_path / "a") as store:
        store.execute("SET", "k", 1)
        with pytest.raises(aofnb.AofLockedError, match="another name"):
            aofnb.open(tmp_path / "b")
        with pytest.raises(aofnb.AofLockedError, match="which is this process"):
            aofnb.open(tmp_path / "c")
    assert keys(tmp_path / "b") == [b"k"]


def test_a_log_that_is_turned_on_is_locked_by_its_own_name_too(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "appendonlydir").symlink_to(tmp_path / "a" / "appendonlydir")
    with aofnb.open(tmp_path / "a", appendonly=False) as store:
        store.config_set("appendonly", True)
        store.execute("SET", "k", 1)
        # It is new: locked as soon as something is made again.
        store.bgrewriteaof()
        with pytest.raises(aofnb.AofLockedError):
            aofnb.open(tmp_path / "b")


def test_the_lock_outlives_its_file(tmp_path: Path) -> None:
    with aofnb.open(tmp_path):
        (tmp_path / LOCK_NAME).unlink()
        with pytest.raises(aofnb.AofLockedError):
            aofnb.open(tmp_path)
    assert keys(tmp_path) == []


def test_where_directories_cannot_be_locked_the_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some network mounts are so."""
    monkeypatch.delattr(os, "O_DIRECTORY")
    with aofnb.open(tmp_path) as store:
        store.bgrewriteaof()
        lock = DirectoryLock(OsFs(), str(tmp_path))
        with pytest.raises(aofnb.AofLockedError):
            lock.acquire()


def test_under_always_nothing_is_acknowledged_into_a_deleted_file(tmp_path: Path) -> None:
    """Neither write nor fsync of a deleted file fails: redis-server answers OK."""
    with aofnb.open(tmp_path, appendfsync="always") as store:
        store.execute("SET", "before", 1)
        live = store.stats().files[-1][0]
        (tmp_path / "appendonlydir" / live).unlink()
        with pytest.raises(aofnb.AofWriteError, match="deleted"):
            store.execute("SET", "during", 1)
        with pytest.raises(aofnb.ReplyError, match="MISCONF"):
            store.execute("SET", "refused", 1)
        store.bgrewriteaof()
        store.execute("SET", "after", 1)
    assert keys(tmp_path) == [b"after", b"before", b"during"]


def test_under_everysec_a_deleted_file_is_noticed_and_replaced(tmp_path: Path) -> None:
    clock = aofnb.clock.FakeClock()
    with aofnb.open(tmp_path, clock=clock, background=False) as store:
        store.execute("SET", "before", 1)
        (tmp_path / "appendonlydir" / store.stats().files[-1][0]).unlink()
        clock.advance(1.5)
        store.tick()
        assert "deleted" in str(store.stats().write_error) or store.stats().rewrites == 1
        store.tick()
        store.execute("SET", "after", 1)
    assert keys(tmp_path) == [b"after", b"before"]


@pytest.mark.parametrize("policy", ["always", "everysec"])
def test_a_directory_that_was_deleted_is_told_and_not_made_anew(policy: str, tmp_path: Path) -> None:
    clock = aofnb.clock.FakeClock()
    store = aofnb.open(tmp_path / "data", clock=clock, background=False, appendfsync=policy)
    shutil.rmtree(tmp_path / "data")
    if policy == "always":
        with pytest.raises(aofnb.AofWriteError):
            store.execute("SET", "k", 1)
    else:
        store.execute("SET", "k", 1)
        clock.advance(1.5)
        store.tick()
    with pytest.raises(aofnb.ReplyError, match="MISCONF"):
        store.execute("SET", "k", 2)
    with pytest.raises(aofnb.ReplyError):
        store.bgrewriteaof()
    assert "removed, moved or replaced" in str(store.stats().last_rewrite_error)
    with pytest.raises(aofnb.ReplyError, match="removed, moved or replaced"):
        store.execute("SAVE")
    with pytest.raises(aofnb.AofWriteError):
        store.close()
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("way", ["in place", "child"])
def test_what_another_store_made_where_the_directory_was_is_left_alone(way: str, tmp_path: Path) -> None:
    need("fork", way != "child" or hasattr(os, "fork"))
    place, moved = tmp_path / "data", tmp_path / "moved"
    first = aofnb.open(place, auto_aof_rewrite_percentage=0, rdb_key_save_delay=20_000 if way == "child" else 0)
    assert first._rewriter is not None
    for i in range(20):
        first.execute("SET", f"first:{i}", i)
    if way == "child":
        first._rewriter.in_place_keys = -1
        first.bgrewriteaof()
    place.rename(moved)
    with aofnb.open(place) as second:
        second.execute("SET", "second", 1)
        if way == "in place":
            with pytest.raises(aofnb.ReplyError):
                first.bgrewriteaof()
        first._rewriter.wait()
        assert not first.stats().last_rewrite_ok
        # The files went along: the store goes on in them.
        first.execute("SET", "last", 1)
        first.close()
        second.execute("SET", "second", 2)
    assert keys(place) == [b"second"]
    assert len(keys(moved)) == 21


def test_a_process_forked_while_a_store_is_opened_does_not_keep_its_lock(tmp_path: Path) -> None:
    need("fork", hasattr(os, "fork"))
    read, write = os.pipe()
    pids: list[int] = []

    def fork(_done: int, _total: int) -> None:
        if pids:
            return
        pid = os.fork()
        if pid == 0:
            os.close(write)
            os.read(read, 1)
            os._exit(0)
        pids.append(pid)

    with aofnb.open(tmp_path) as store:
        store.execute("SET", "k", 1)
    aofnb.open(tmp_path, progress=fork).close()
    try:
        assert pids
        assert keys(tmp_path) == [b"k"]
    finally:
        os.close(read)
        os.close(write)
        os.waitpid(pids[0], 0)


def test_a_rewrite_takes_nothing_that_another_program_wrote(tmp_path: Path) -> None:
    """redis-server knows nothing of our lock."""
    with aofnb.open(tmp_path, background=False) as store:
        store.execute("SET", "ours", 1)
        live = tmp_path / "appendonlydir" / store.stats().files[-1][0]
        with open(live, "ab") as other:
            other.write(b"*3\r\n$3\r\nSET\r\n$6\r\ntheirs\r\n$1\r\n1\r\n")
        with pytest.raises(aofnb.ReplyError):
            store.bgrewriteaof()
        assert "something else writes to it" in str(store.stats().last_rewrite_error)
        store.execute("SET", "ours too", 1)
    assert keys(tmp_path) == [b"ours", b"ours too", b"theirs"]
