"""SAVE, BGSAVE, save points, DEBUG RELOAD and LOADAOF, SHUTDOWN."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest
from support.faults import FaultFs
from support.require import need

import aofnb
from aofnb.aof import snapshot
from aofnb.clock import FakeClock


def opened(path: Path | None, **settings: object) -> aofnb.Store:
    return aofnb.open(path, clock=settings.pop("clock", None) or FakeClock(), background=False, **settings)


def info(store: aofnb.Store) -> dict[str, str]:
    return dict(line.split(":", 1) for line in store.execute("INFO").decode().splitlines() if ":" in line)


def test_a_snapshot_is_loaded_by_a_store_without_a_log(tmp_path):
    clock = FakeClock()
    with opened(tmp_path, appendonly=False, clock=clock) as store:
        store.run([("SET", "a", 1), ("SELECT", 2), ("RPUSH", "l", 1, 2), ("SET", "short", 1, "PX", 50)])
        clock.advance(3)
        assert store.execute("SAVE") == "OK"
        assert store.execute("LASTSAVE") == clock.now_ms() // 1000
        assert info(store)["rdb_changes_since_last_save"] == "0"
        store.execute("SET", "lost", 1)
    assert [p.name for p in tmp_path.glob("*.rdb")] == ["dump.rdb"]
    with opened(tmp_path, appendonly=False, clock=clock) as store:
        assert store.execute("KEYS", "*") == [b"a"]
        store.execute("SELECT", 2)
        assert store.execute("KEYS", "*") == [b"l"], "overdue keys are left out"
        assert (info(store)["rdb_last_load_keys_loaded"], info(store)["rdb_last_load_keys_expired"]) == ("2", "1")


def test_with_a_log_the_snapshot_is_not_read(tmp_path):
    with opened(tmp_path, appendonly=False) as store:
        store.execute("SET", "a", 1)
        store.execute("SAVE")
    with opened(tmp_path) as store:
        assert store.execute("DBSIZE") == 0


def test_a_damaged_snapshot_is_an_error_and_no_empty_store(tmp_path):
    (tmp_path / "dump.rdb").write_bytes(b"REDIS0010garbage")
    with pytest.raises(aofnb.RdbError):
        opened(tmp_path, appendonly=False)
    opened(tmp_path).close()  # nothing is left behind: the lock is free


def test_a_snapshot_that_fails_leaves_the_old_one_and_says_so(tmp_path):
    fs = FaultFs(only={"fdatasync"})
    with opened(tmp_path, fs=fs, appendonly=False) as store:
        store.execute("SET", "a", 1)
        store.execute("SAVE")
        before = (tmp_path / "dump.rdb").read_bytes()
        fs.fail_at = fs.done
        store.execute("SET", "b", 1)
        fs.fail_at = fs.done
        with pytest.raises(aofnb.ReplyError, match="ERR Error saving the snapshot: Input/output error"):
            store.execute("SAVE")
        assert info(store)["rdb_last_bgsave_status"] == "ok", "it is no business of the save points"
        fs.fail_at = fs.done
        assert store.execute("BGSAVE") == "Background saving started"
        assert info(store)["rdb_last_bgsave_status"] == "err"
        assert (tmp_path / "dump.rdb").read_bytes() == before
        assert [p.name for p in tmp_path.glob("*.rdb")] == ["dump.rdb"]
        assert store.execute("BGSAVE", "SCHEDULE") == "Background saving started"
        assert info(store)["rdb_last_bgsave_status"] == "ok"


def test_save_points(tmp_path):
    clock = FakeClock()
    with opened(tmp_path, appendonly=False, save="60 2", clock=clock) as store:
        store.execute("SET", "a", 1)
        clock.advance(100)
        store.tick()
        assert not (tmp_path / "dump.rdb").exists(), "one change is not two"
        store.execute("SAVE")
        store.run([("SET", "a", 1), ("SET", "b", 1)])
        assert store.tick() == pytest.approx(60)
        assert info(store)["rdb_saves"] == "1"
        clock.advance(60)
        store.tick()
        assert info(store)["rdb_saves"] == "2"
        assert store.tick() is None


def test_writes_stop_while_the_promised_snapshots_cannot_be_written(tmp_path):
    clock = FakeClock()
    fs = FaultFs(only={"rename"})
    with opened(tmp_path, appendonly=False, save="1 1", clock=clock, fs=fs) as store:
        store.execute("SET", "a", 1)
        clock.advance(2)
        fs.fail_at, fs.lasting = fs.done, True
        assert store.tick() == pytest.approx(5)
        with pytest.raises(aofnb.ReplyError, match="MISCONF Redis is configured to save RDB snapshots"):
            store.execute("SET", "b", 1)
        store.config_set("stop-writes-on-bgsave-error", False)
        store.execute("SET", "b", 1)
        store.config_set("stop-writes-on-bgsave-error", True)
        clock.advance(6)
        fs.mend()
        store.tick()
        store.execute("SET", "c", 1)


def test_without_a_directory_nothing_can_be_saved():
    with opened(None) as store:
        for command in (("SAVE",), ("BGSAVE",), ("DEBUG", "RELOAD"), ("DEBUG", "LOADAOF"), ("SHUTDOWN", "SAVE")):
            with pytest.raises(aofnb.ReplyError, match="no directory"):
                store.execute(*command)
        with pytest.raises(aofnb.ReplyError, match="protected config"):
            store.config_set("dbfilename", "elsewhere.rdb")


# --- DEBUG RELOAD, LOADAOF ---------------------------------------------------------------------------------------


def test_reload_and_loadaof_change_nothing(tmp_path):
    with opened(tmp_path) as store:
        store.run([("SET", "a", 1, "EX", 100), ("ZADD", "z", 1, "m"), ("XADD", "x", "*", "f", "v"), ("SELECT", 1)])
        store.run([("HSET", "h", "f", "v"), ("SELECT", 0)])
        before = store.execute("DEBUG", "DIGEST")
        files = store.stats().files
        for what in ("RELOAD", "LOADAOF"):
            assert store.execute("DEBUG", what) == "OK"
            assert store.execute("DEBUG", "DIGEST") == before
        assert store.stats().files == files


def test_reload_breaks_watches(tmp_path):
    with opened(tmp_path) as store:
        store.execute("SET", "a", 1)
        assert store.run([("WATCH", "a"), ("DEBUG", "RELOAD"), ("MULTI",), ("GET", "a"), ("EXEC",)])[-1] is None


def test_what_an_older_snapshot_brings_back_is_in_the_log_too(tmp_path):
    """redis-server leaves its log as it was: a restart undoes DEBUG RELOAD NOSAVE."""
    with opened(tmp_path) as store:
        store.execute("SET", "a", 1)
        store.execute("SAVE")
        store.run([("SET", "a", 2), ("SET", "b", 2)])
        with pytest.raises(aofnb.ReplyError, match="ERR Error trying to load the RDB dump"):
            store.execute("DEBUG", "RELOAD", "NOSAVE", "NOFLUSH")
        assert store.execute("MGET", "a", "b") == [b"2", b"2"], "nothing was loaded by half"
        store.execute("DEBUG", "RELOAD", "NOSAVE", "NOFLUSH", "MERGE")
        assert store.execute("MGET", "a", "b") == [b"1", b"2"]
        with opened(tmp_path, readonly=True) as reader:
            assert reader.execute("MGET", "a", "b") == [b"1", b"2"]
        store.execute("DEBUG", "RELOAD", "NOSAVE")
        store.execute("SET", "c", 3)
    with opened(tmp_path) as store:
        assert store.execute("MGET", "a", "b", "c") == [b"1", None, b"3"]


# --- SHUTDOWN ----------------------------------------------------------------------------------------------------


def test_shutdown_makes_everything_durable_and_closes(tmp_path):
    with aofnb.open(tmp_path, appendfsync="no") as store:
        session = store.session()
        store.execute("SET", "a", 1)
        assert store.execute("SHUTDOWN") == "OK"
        assert store.closed
        for execute in (store.execute, session.execute):
            with pytest.raises(aofnb.StoreClosedError, match="closed by SHUTDOWN"):
                execute("GET", "a")
    assert not (tmp_path / "dump.rdb").exists()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("aofnb")]
    with aofnb.open(tmp_path) as store:
        assert store.execute("GET", "a") == b"1"
        assert store.run([("SET", "b", 1), ("SHUTDOWN", "SAVE")])[-1] == "OK"
    assert (tmp_path / "dump.rdb").exists()
    with aofnb.open(tmp_path, readonly=True) as store:
        assert store.execute("GET", "b") == b"1"


def test_shutdown_with_something_that_cannot_be_made_durable_is_refused(tmp_path):
    """redis-server answers nothing and exits with status 0; what it acknowledged is lost."""
    fs = FaultFs(only={"write"})
    store = opened(tmp_path, fs=fs)
    fs.fail_at, fs.lasting = fs.done, True
    with pytest.raises(aofnb.AofWriteError):
        store.execute("SET", "a", 1)
    with pytest.raises(aofnb.ReplyError, match="ERR Errors trying to SHUTDOWN"):
        store.execute("SHUTDOWN")
    assert not store.closed
    fs.mend()
    assert store.execute("SHUTDOWN", "NOW", "FORCE") == "OK"
    with opened(tmp_path, readonly=True) as store:
        assert store.execute("GET", "a") == b"1"


def test_shutdown_where_it_cannot_be(tmp_path):
    with opened(tmp_path) as store:
        for words in (("FOO",), ("SAVE", "NOSAVE"), ("ABORT", "NOW")):
            with pytest.raises(aofnb.ReplyError, match="syntax error"):
                store.execute("SHUTDOWN", *words)
        with pytest.raises(aofnb.ReplyError, match="No shutdown in progress"):
            store.execute("SHUTDOWN", "ABORT")
        with store.batch(), pytest.raises(aofnb.ReplyError, match="leave the block"):
            store.execute("SHUTDOWN")
        for name in ("SHUTDOWN", "SAVE"):
            replies = store.run([("MULTI",), (name,), ("EXEC",)])
            assert str(replies[1]) == "ERR Command not allowed inside a transaction"
            assert str(replies[2]).startswith("EXECABORT")
        assert store.execute("PING") == "PONG"


# --- BGSAVE ------------------------------------------------------------------------------------------------------


@pytest.fixture
def saving(tmp_path):
    """A store with a child that writes a snapshot, slowly."""
    need("the compiled snapshot kernel", snapshot.available())
    with aofnb.open(tmp_path, appendonly=False, save="3600 100", rdb_key_save_delay=1_000_000) as store:
        store.run([("SET", f"k{number}", number) for number in range(20)])
        assert store.execute("BGSAVE") == "Background saving started"
        assert info(store)["rdb_bgsave_in_progress"] == "1"
        yield store


def saver(store):
    assert store._files is not None
    return store._files.saver


def test_commands_go_on_and_the_snapshot_is_of_its_beginning(tmp_path):
    need("the compiled snapshot kernel", snapshot.available())
    with aofnb.open(tmp_path, appendonly=False, rdb_key_save_delay=20_000) as store:
        store.run([("SET", f"k{number}", number) for number in range(20)])
        store.execute("BGSAVE")
        store.execute("SET", "late", 1)
        assert info(store)["rdb_bgsave_in_progress"] == "1"
        saver(store).wait()
        fields = info(store)
        assert (fields["rdb_bgsave_in_progress"], fields["rdb_changes_since_last_save"]) == ("0", "1")
        assert (fields["rdb_last_bgsave_status"], fields["total_forks"]) == ("ok", "1")
    with opened(tmp_path, appendonly=False, readonly=True) as store:
        assert (store.execute("DBSIZE"), store.execute("EXISTS", "late")) == (20, 0)


def test_a_killed_child_is_a_failed_snapshot_and_leaves_the_old_one(saving, tmp_path):
    os.kill(saver(saving)._child.pid, signal.SIGKILL)
    saver(saving).wait()
    assert info(saving)["rdb_last_bgsave_status"] == "err"
    with pytest.raises(aofnb.ReplyError, match="MISCONF"):
        saving.execute("SET", "refused", 1)
    assert not list(tmp_path.glob("*.rdb"))
    saving.config_set("rdb-key-save-delay", 0)
    assert saving.execute("BGSAVE") == "Background saving started"
    saving.execute("SET", "taken", 1)


@pytest.mark.parametrize("end", ["close", "SHUTDOWN", "FLUSHALL"])
def test_what_makes_a_snapshot_useless_ends_its_child(saving, tmp_path, end):
    pid = saver(saving)._child.pid
    saving.config_set("rdb-key-save-delay", 0)
    if end == "close":
        saving.close()
        assert not list(tmp_path.glob("*.rdb"))
    else:
        saving.execute(end)
        # With save points there is a new one at once.
        with opened(tmp_path, appendonly=False, readonly=True) as store:
            assert store.execute("DBSIZE") == (20 if end == "SHUTDOWN" else 0)
    saver_of = saving._files.saver
    saver_of.wait()
    assert not saver_of.running
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_rewrite_and_a_snapshot_wait_for_one_another(tmp_path):
    need("the compiled snapshot kernel", snapshot.available())
    with aofnb.open(tmp_path, rdb_key_save_delay=100_000) as store:
        store.run([("SET", f"k{number}", number) for number in range(20)])
        assert store.execute("BGSAVE") == "Background saving started"
        assert store.execute("BGREWRITEAOF") == "Background append only file rewriting scheduled"
        assert store.stats().rewrite.phase == "idle"
        store.config_set("rdb-key-save-delay", 0)
        os.kill(saver(store)._child.pid, signal.SIGUSR1)
        saver(store).wait()
        store.tick()
        assert store._rewriter is not None
        store._rewriter.wait()
        assert store.stats().rewrites == 1
        assert info(store)["rdb_last_bgsave_status"] == "ok", "SIGUSR1 is the way to end one that is no failure"
