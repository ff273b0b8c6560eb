"""Turning the log off and on while the store is open."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.faults import FaultFs
from support.records import records
from support.require import need

import aofnb
from aofnb.aof import snapshot
from aofnb.aof.fs import OsFs
from aofnb.aof.rewrite import BaseForm, write_keyspace
from aofnb.clock import FakeClock


def files(path: Path) -> list[str]:
    return sorted(p.name for p in (path / "appendonlydir").iterdir())


def opened(path: Path, **settings: object) -> aofnb.Store:
    return aofnb.open(path, clock=settings.pop("clock", None) or FakeClock(), background=False, **settings)


def test_off_leaves_the_files_as_they_are_and_logs_nothing_more(tmp_path):
    with opened(tmp_path) as store:
        store.execute("SET", "a", 1)
        before = files(tmp_path)
        store.config_set("appendonly", False)
        assert store.stats().aof_enabled is False
        store.execute("SET", "b", 1)
        assert files(tmp_path) == before
        assert b"aof_enabled:0" in store.execute("INFO", "persistence")
        assert b"aof_current_size" not in store.execute("INFO", "persistence")
    with opened(tmp_path) as store:
        assert store.execute("KEYS", "*") == [b"a"]


def test_off_syncs_what_was_written(tmp_path):
    fs = FaultFs(only={"fdatasync"})
    with opened(tmp_path, fs=fs, appendfsync="no") as store:
        store.execute("SET", "a", 1)
        done = fs.done
        store.config_set("appendonly", False)
        assert fs.log[done:] == [("fdatasync", "appendonly.aof.1.incr.aof")]


def test_on_makes_new_files_of_what_is_in_memory_before_the_reply(tmp_path):
    with opened(tmp_path) as store:
        store.execute("SET", "gone", 1)
        store.config_set("appendonly", False)
        store.run([("DEL", "gone"), ("SET", "b", 1), ("SELECT", 3), ("SET", "c", 1)])
        store.config_set("appendonly", True)
        assert files(tmp_path) == ["appendonly.aof.2.base.rdb", "appendonly.aof.2.incr.aof", "appendonly.aof.manifest"]
        store.execute("SET", "d", 1)
        incr = (tmp_path / "appendonlydir" / "appendonly.aof.2.incr.aof").read_bytes()
        assert records(incr) == [[b"SELECT", b"3"], [b"SET", b"d", b"1"]], "which database was selected is not known"
    with opened(tmp_path, readonly=True) as store:
        assert store.execute("KEYS", "*") == [b"b"]
        store.execute("SELECT", 3)
        assert sorted(store.execute("KEYS", "*")) == [b"c", b"d"]


def test_on_and_off_again_in_one_transaction_keeps_all_of_it(tmp_path):
    with opened(tmp_path) as store:
        replies = store.run(
            [
                ("MULTI",),
                ("SET", "before", 1),
                ("CONFIG", "SET", "appendonly", "no"),
                ("CONFIG", "SET", "appendonly", "yes"),
                ("SET", "after", 1),
                ("EXEC",),
            ]
        )
        assert replies[-1] == ["OK"] * 4
        assert store.stats().aof_enabled
        assert not store.stats().waiting, "whoever is told of EXEC finds it on disk"
    with opened(tmp_path, readonly=True) as store:
        assert sorted(store.execute("KEYS", "*")) == [b"after", b"before"]


def test_a_log_that_cannot_be_made_is_refused_and_stays_off(tmp_path):
    fs = FaultFs(only={"fdatasync", "write", "rename"})
    with opened(tmp_path, fs=fs) as store:
        store.execute("SET", "a", 1)
        store.config_set("appendonly", False)
        store.execute("SET", "b", 1)
        before = files(tmp_path)
        fs.fail_at, fs.lasting = fs.done, True
        with pytest.raises(aofnb.ReplyError, match=r"'appendonly'\) - Unable to turn on AOF. Check server logs."):
            store.config_set("appendonly", True)
        assert store.config_get("appendonly") == "no"
        assert store.stats().aof_enabled is False
        assert files(tmp_path) == before
        fs.mend()
        store.config_set("appendonly", True)
    with opened(tmp_path, readonly=True) as store:
        assert sorted(store.execute("KEYS", "*")) == [b"a", b"b"]


def test_a_log_that_was_turned_on_in_a_transaction_is_tried_again(tmp_path):
    clock = FakeClock()
    fs = FaultFs(only={"rename"})
    with opened(tmp_path, fs=fs, clock=clock) as store:
        store.config_set("appendonly", False)
        fs.fail_at, fs.lasting = fs.done, True
        store.run([("MULTI",), ("SET", "a", 1), ("CONFIG", "SET", "appendonly", "yes"), ("EXEC",)])
        stats = store.stats()
        assert stats.aof_enabled
        assert stats.waiting, "what is in memory is not on disk, and stats() says so"
        assert not stats.last_rewrite_ok
        with pytest.raises(aofnb.ReplyError, match="Errors trying to SHUTDOWN"):
            store.execute("SHUTDOWN")
        fs.mend()
        assert store.tick() is not None
        assert store.stats().waiting, "not ten times a second"
        clock.advance(1.1)
        store.tick()
        assert not store.stats().waiting
    with opened(tmp_path, readonly=True) as store:
        assert store.execute("KEYS", "*") == [b"a"]


def test_off_ends_the_wait(tmp_path):
    clock = FakeClock()
    fs = FaultFs(only={"rename"})
    with opened(tmp_path, fs=fs, clock=clock) as store:
        store.config_set("appendonly", False)
        fs.fail_at, fs.lasting = fs.done, True
        store.run([("MULTI",), ("CONFIG", "SET", "appendonly", "yes"), ("EXEC",)])
        fs.mend()
        store.config_set("appendonly", False)
        clock.advance(5)
        store.tick()
        assert store.stats().aof_enabled is False
        assert "appendonly.aof.2.incr.aof" not in files(tmp_path)


def test_off_on_a_full_disk_says_what_the_log_lacks(tmp_path, caplog):
    fs = FaultFs(only={"write"}, error=errno.ENOSPC)
    with opened(tmp_path, fs=fs) as store:
        fs.fail_at, fs.lasting = fs.done, True
        with pytest.raises(aofnb.AofWriteError):
            store.execute("SET", "a", 1)
        store.config_set("appendonly", False)
        assert "does not hold everything that was acknowledged" in caplog.text
        store.execute("SET", "b", 1)  # nothing refuses it any more
        fs.mend()
        store.config_set("appendonly", True)
    with opened(tmp_path, readonly=True) as store:
        assert sorted(store.execute("KEYS", "*")) == [b"a", b"b"]


def test_a_store_opened_without_its_log_loads_none_of_it_and_replaces_none_of_it(tmp_path, caplog):
    """redis-server would let CONFIG SET appendonly yes throw the unread log away."""
    with opened(tmp_path) as store:
        store.execute("SET", "a", 1)
    before = files(tmp_path)
    with opened(tmp_path, appendonly=False) as store:
        assert store.execute("DBSIZE") == 0
        store.execute("SET", "b", 1)
        for command in (("CONFIG", "SET", "appendonly", "yes"), ("BGREWRITEAOF",)):
            with pytest.raises(aofnb.ReplyError, match="server logs"):
                store.execute(*command)
    assert "was not loaded (appendonly.aof.1.incr.aof)" in caplog.text
    assert files(tmp_path) == before
    with opened(tmp_path) as store:
        assert store.execute("KEYS", "*") == [b"a"]


def test_a_store_without_a_log_drops_history_and_refuses_a_bad_manifest(tmp_path):
    with opened(tmp_path, aof_disable_auto_gc=True) as store:
        store.bgrewriteaof()
    assert "appendonly.aof.1.incr.aof" in files(tmp_path)
    opened(tmp_path, appendonly=False).close()
    assert files(tmp_path) == ["appendonly.aof.2.base.rdb", "appendonly.aof.2.incr.aof", "appendonly.aof.manifest"]
    (tmp_path / "appendonlydir" / "appendonly.aof.manifest").write_bytes(b"nonsense\n")
    with pytest.raises(aofnb.AofManifestError):
        opened(tmp_path, appendonly=False)


def test_history_is_dropped_as_soon_as_it_may_be(tmp_path):
    with opened(tmp_path, aof_disable_auto_gc=True) as store:
        store.bgrewriteaof()
        assert "appendonly.aof.1.incr.aof" in files(tmp_path)
        store.config_set("aof-disable-auto-gc", False)
        assert "appendonly.aof.1.incr.aof" not in files(tmp_path)


def test_a_rewrite_while_the_log_is_off_makes_a_base_alone(tmp_path):
    with opened(tmp_path) as store:
        store.execute("SET", "a", 1)
        store.config_set("appendonly", False)
        store.execute("SET", "b", 1)
        store.bgrewriteaof()
        assert store.stats().last_rewrite_ok
        assert files(tmp_path) == ["appendonly.aof.2.base.rdb", "appendonly.aof.manifest"]
        manifest = (tmp_path / "appendonlydir" / "appendonly.aof.manifest").read_text()
        assert manifest == "file appendonly.aof.2.base.rdb seq 2 type b\n"
        store.execute("SET", "c", 1)
        store.config_set("appendonly", True)
    with opened(tmp_path, readonly=True) as store:
        assert sorted(store.execute("KEYS", "*")) == [b"a", b"b", b"c"]


def test_a_store_that_began_without_a_directory_makes_one_with_its_log(tmp_path):
    with opened(tmp_path / "new", appendonly=False) as store:
        store.execute("SET", "a", 1)
        assert not (tmp_path / "new").exists()
        store.config_set("appendonly", True)
        with pytest.raises(aofnb.AofLockedError):
            aofnb.open(tmp_path / "new")
    with opened(tmp_path / "new") as store:
        assert store.execute("KEYS", "*") == [b"a"]


def test_a_store_that_began_without_a_directory_may_be_rewritten_as_often_as_one_likes(tmp_path):
    with opened(tmp_path / "new", appendonly=False) as store:
        for number in range(3):
            store.execute("SET", "a", number)
            assert store.execute("BGREWRITEAOF") == "Background append only file rewriting started"
        store.config_set("appendonly", True)
    with opened(tmp_path / "new") as store:
        assert store.execute("GET", "a") == b"2"


def test_without_a_directory_or_read_only_there_is_no_log_to_turn_on(tmp_path):
    with opened(None) as store:
        assert store.config_get("appendonly") == "no"
        with pytest.raises(aofnb.ReplyError, match="without a directory"):
            store.config_set("appendonly", True)
    opened(tmp_path).close()
    with opened(tmp_path, readonly=True) as store:
        with pytest.raises(aofnb.ReplyError, match="readonly=True"):
            store.config_set("appendonly", False)
        with pytest.raises(aofnb.ReplyError, match="READONLY"):
            store.execute("SET", "a", 1)


def test_turning_the_log_off_ends_a_rewrite_by_a_process(tmp_path):
    with aofnb.open(tmp_path, auto_aof_rewrite_percentage=0) as store:
        assert store._rewriter is not None
        store._rewriter.in_place_keys = 0
        store.execute("SET", "a", 1)
        store.bgrewriteaof()
        store.config_set("appendonly", False)
        store.execute("SET", "b", 1)
        store.config_set("appendonly", True)
        while store.stats().waiting:
            store.execute("PING")
        store.execute("SET", "c", 1)
    with aofnb.open(tmp_path, readonly=True) as store:
        assert sorted(store.execute("KEYS", "*")) == [b"a", b"b", b"c"]


# --- the policy ----------------------------------------------------------------------------------------------


def test_always_syncs_what_is_pending_before_it_is_answered(tmp_path):
    with opened(tmp_path, appendfsync="no") as store:
        store.execute("SET", "a", 1)
        assert store.stats().unsynced_bytes > 0
        store.config_set("appendfsync", "always")
        assert store.stats().unsynced_bytes == 0


def test_always_is_refused_if_what_is_pending_cannot_be_synced(tmp_path):
    fs = FaultFs(only={"fdatasync"})
    with opened(tmp_path, fs=fs, appendfsync="no") as store:
        store.execute("SET", "a", 1)
        fs.fail_at, fs.lasting = fs.done, True
        with pytest.raises(aofnb.ReplyError, match="'appendfsync'"):
            store.config_set("appendfsync", "always")
        assert store.config_get("appendfsync") == "no"
        with pytest.raises(aofnb.ReplyError, match="MISCONF"):
            store.execute("SET", "b", 1)
        with pytest.raises(aofnb.ReplyError, match="mend that first"):
            store.config_set("appendfsync", "always")
        fs.mend()
        store.tick()  # makes new files
        store.config_set("appendfsync", "always")
        store.execute("SET", "b", 1)


def test_everysec_syncs_what_no_left_behind(tmp_path):
    clock = FakeClock()
    with opened(tmp_path, appendfsync="no", clock=clock) as store:
        store.execute("SET", "a", 1)
        clock.advance(5)
        store.tick()
        assert store.stats().unsynced_bytes > 0
        store.config_set("appendfsync", "everysec")
        assert store.stats().unsynced_bytes == 0


def test_a_rewrite_may_hold_back_the_fsync_of_everysec_but_never_that_of_always(tmp_path):
    clock = FakeClock()
    with opened(tmp_path, no_appendfsync_on_rewrite=True, clock=clock) as store:
        assert store._writer is not None
        running = True
        store._writer.rewriting = lambda: running
        store.execute("SET", "a", 1)
        clock.advance(1.5)
        wait_s = store.tick()
        stats = store.stats()
        assert stats.unsynced_bytes > 0
        assert stats.fsync_held_back
        assert wait_s is not None
        assert wait_s >= 0.9, "it is looked at once a second, not all the time"
        store.config_set("appendfsync", "always")
        store.execute("SET", "b", 1)
        assert (store.stats().unsynced_bytes, store.stats().fsync_held_back) == (0, False)
        store.config_set("appendfsync", "everysec")
        store.execute("SET", "c", 1)
        running = False
        clock.advance(1.5)
        store.tick()
        assert store.stats().unsynced_bytes == 0


# --- after a failed fsync --------------------------------------------------------------------------------------


def test_after_a_failed_fsync_the_next_start_writes_everything_anew(tmp_path, caplog):
    """The kernel may show pages that no fsync will ever write: reading them back proves nothing."""
    fs = FaultFs(only={"fdatasync"})
    store = opened(tmp_path, fs=fs, appendfsync="always")
    store.execute("SET", "a", 1)
    fs.fail_at, fs.lasting = fs.done, True
    with pytest.raises(aofnb.AofWriteError):
        store.execute("SET", "b", 1)
    with pytest.raises(aofnb.AofWriteError):
        store.close()
    assert (tmp_path / "aofnb.unsynced").exists()
    # The disk is still broken: no writes, and the mark stays.
    with opened(tmp_path, fs=FaultFs(0, only={"rename"}, lasting=True)) as store:
        assert store.execute("GET", "a") == b"1"
        with pytest.raises(aofnb.ReplyError, match="MISCONF"):
            store.execute("SET", "c", 1)
    assert (tmp_path / "aofnb.unsynced").exists()
    with opened(tmp_path) as store:
        assert "the log is made anew" in caplog.text
        assert [kind for _, kind, _ in store.stats().files] == ["base", "incr"]
        assert store.stats().rewrites == 1
        store.execute("SET", "c", 1)
        assert store.execute("GET", "a") == b"1"
    assert not (tmp_path / "aofnb.unsynced").exists()
    with opened(tmp_path) as store:
        assert store.stats().rewrites == 0


# --- by a child ----------------------------------------------------------------------------------------------

# Microseconds behind each of three keys: long enough to act meanwhile, and to wait for.
SOON, NEVER = 50_000, 600_000_000


@contextmanager
def off_and_large(path: Path, delay: int, **settings: object) -> Iterator[aofnb.Store]:
    """A store of three keys, whose log was turned off after the first, and whose bases are made by a forked child."""
    need("the compiled snapshot kernel", snapshot.available())
    with aofnb.open(path, auto_aof_rewrite_percentage=0, rdb_key_save_delay=delay, **settings) as store:
        assert store._rewriter is not None
        store._rewriter.in_place_keys = -1
        store.execute("SET", "a", 1)
        store.config_set("appendonly", False)
        store.run([("SET", "b", 1), ("SELECT", 3), ("SET", "c", 1)])
        yield store
        store.config_set("rdb-key-save-delay", 0)


def keys_on_disk(path: Path) -> list[bytes]:
    """What a start after a crash now would find, database 0."""
    with aofnb.open(path, readonly=True) as store:
        return sorted(store.execute("KEYS", "*"))


def waited_for(store: aofnb.Store) -> aofnb.engine.store.AofStats:
    assert store._rewriter is not None
    store._rewriter.wait()
    return store.stats()


def test_a_large_keyspace_is_written_by_a_child_and_nothing_is_claimed_before(tmp_path):
    with off_and_large(tmp_path, SOON, appendfsync="always") as store:
        store.config_set("appendonly", True)
        store.execute("SET", "d", 1)
        stats = store.stats()
        assert stats.waiting
        assert stats.aof_enabled
        assert stats.rewrite.way == "fork"
        assert (stats.synced_commands, stats.unsynced_commands, stats.aof_buf_commands) == (0, 0, 1)
        assert keys_on_disk(tmp_path) == [b"a"], "a crash brings back the old log"
        with pytest.raises(aofnb.ReplyError, match="Errors trying to SHUTDOWN"):
            store.execute("SHUTDOWN")
        with pytest.raises(aofnb.ReplyError, match="being made of what is in memory"):
            store.execute("DEBUG", "LOADAOF")
        stats = waited_for(store)
        assert not stats.waiting
        assert stats.synced_commands == 1
        assert keys_on_disk(tmp_path) == [b"a", b"b"]
        assert files(tmp_path) == ["appendonly.aof.2.base.rdb", "appendonly.aof.2.incr.aof", "appendonly.aof.manifest"]
        incr = (tmp_path / "appendonlydir" / "appendonly.aof.2.incr.aof").read_bytes()
        assert records(incr) == [[b"SELECT", b"3"], [b"SET", b"d", b"1"]]


def test_closing_waits_for_the_base(tmp_path):
    with off_and_large(tmp_path, SOON) as store:
        store.config_set("appendonly", True)
        store.run([("SELECT", 0), ("SET", "d", 1)])
        assert store.stats().waiting
    assert keys_on_disk(tmp_path) == [b"a", b"b", b"d"]


class FixedNames(OsFs):
    """A real disk, which children can write to as well, on which nothing can be renamed once `fixed` is set."""

    fixed = False

    def rename(self, source: str, target: str) -> None:
        if self.fixed:
            raise OSError(errno.EIO, "no")
        super().rename(source, target)


def test_closing_makes_a_base_that_no_child_could_make_or_says_that_there_is_none(tmp_path):
    fs = FixedNames()
    with pytest.raises(aofnb.AofWriteError, match="is on no disk"), off_and_large(tmp_path, SOON, fs=fs) as store:
        store.config_set("appendonly", True)
        fs.fixed = True
    assert store.closed
    assert keys_on_disk(tmp_path) == [b"a"]
    with off_and_large(tmp_path, NEVER) as store:
        store.config_set("appendonly", True)
        store._rewriter._child.kill()
        store._rewriter.wait()
        assert store.stats().waiting
        store.config_set("rdb-key-save-delay", 0)
    assert b"b" in keys_on_disk(tmp_path)


def test_a_child_that_is_killed_is_followed_by_another_which_holds_everything(tmp_path):
    # Without the periodic job, which would begin the next one at once.
    with off_and_large(tmp_path, NEVER, background=False) as store:
        store.config_set("appendonly", True)
        store.run([("SELECT", 0), ("SET", "d", 1)])
        os.kill(store._rewriter._child._pid, signal.SIGKILL)
        stats = waited_for(store)
        assert stats.waiting
        assert stats.last_rewrite_error
        assert store.engine.writer is None
        assert files(tmp_path) == ["appendonly.aof.1.base.rdb", "appendonly.aof.1.incr.aof", "appendonly.aof.manifest"]
        store.config_set("rdb-key-save-delay", 0)
        store._appendonly._retry_at_s = 0
        store.tick()
        waited_for(store)
        assert not store.stats().waiting
        assert keys_on_disk(tmp_path) == [b"a", b"b", b"d"]


def test_a_base_that_was_begun_while_the_log_was_off_does_not_turn_it_on(tmp_path):
    """It does not hold what came since, and nobody kept that for the incr: all of it would be lost."""
    with off_and_large(tmp_path, NEVER) as store:
        assert store.bgrewriteaof() == "Background append only file rewriting started"
        first = store._rewriter._child
        store.run([("SELECT", 0), ("SET", "d", 1)])
        store.config_set("rdb-key-save-delay", 0)
        store.config_set("appendonly", True)
        assert store._rewriter._child is not first, "the old one is ended at once, as in redis-server"
        store.execute("SET", "e", 1)
        assert waited_for(store).waiting is False
        assert keys_on_disk(tmp_path) == [b"a", b"b", b"d", b"e"]


def test_a_base_that_comes_when_the_log_is_to_be_on_is_the_base_alone(tmp_path):
    """The same, where the child was done before it could be ended."""
    with off_and_large(tmp_path, NEVER) as store:
        store.bgrewriteaof()
        store.run([("SELECT", 0), ("SET", "d", 1)])
        rewriter = store._rewriter
        temp = tmp_path / "made"
        write_keyspace(OsFs(), str(temp), store.engine.keyspace, BaseForm("rdb"), store.config)
        store._appendonly.state = "waiting"
        rewriter.replace(str(temp), "rdb")
        assert store._appendonly.state == "waiting"
        assert store.engine.writer is None
        rewriter.cancel()


def test_the_log_may_be_turned_off_while_a_child_makes_its_base(tmp_path):
    with off_and_large(tmp_path, NEVER) as store:
        store.config_set("appendonly", True)
        store.config_set("appendonly", False)
        assert store.engine.writer is None
        store._rewriter.wait()
        assert store.stats().aof_enabled is False
        assert keys_on_disk(tmp_path) == [b"a"]
        assert files(tmp_path) == ["appendonly.aof.1.base.rdb", "appendonly.aof.1.incr.aof", "appendonly.aof.manifest"]


def test_a_turn_that_is_torn_while_a_child_makes_the_base_has_it_made_again(tmp_path):
    """The files do not say what is in memory, so nothing can be taken back."""
    with off_and_large(tmp_path, NEVER) as store:
        store.config_set("appendonly", True)
        store.run([("SELECT", 0), ("SET", "d", 1)])
        with store.engine.lock:
            store.engine.torn = True
            store.config_set("rdb-key-save-delay", 0)
            assert sorted(store.execute("KEYS", "*")) == [b"a", b"b", b"d"]
        store._rewriter.wait()
        store.tick()
        waited_for(store)
        assert not store.stats().waiting
        assert keys_on_disk(tmp_path) == [b"a", b"b", b"d"]


def test_a_log_that_cannot_be_trusted_is_replaced_by_a_child_which_keeps_what_comes_meanwhile(tmp_path):
    need("the compiled snapshot kernel", snapshot.available())
    with aofnb.open(tmp_path, appendfsync="always", background=False, rdb_key_save_delay=SOON) as store:
        store._rewriter.in_place_keys = -1
        store.engine.keyspace.expiring = False
        store.run([("SET", "a", 1), ("SET", "b", 1), ("SET", "t", 1, "PXAT", 1)])
        writer = store.engine.writer
        writer.poisoned = OSError(errno.EIO, "an fsync failed")
        store.engine.refresh_refusal()
        assert store.execute("BGREWRITEAOF").endswith("started")
        assert store.stats().rewrite.way == "fork"
        with pytest.raises(aofnb.ReplyError, match="MISCONF"):
            store.execute("SET", "refused", 1)
        store.engine.keyspace.expiring = True
        assert store.execute("GET", "t") is None
        assert writer.held
        waited_for(store)
        assert not writer.held
        assert store.execute("SET", "d", 1) == "OK"
        incr = (tmp_path / "appendonlydir" / "appendonly.aof.2.incr.aof").read_bytes()
        assert records(incr)[:2] == [[b"SELECT", b"0"], [b"DEL", b"t"]]
    assert keys_on_disk(tmp_path) == [b"a", b"b", b"d"]
