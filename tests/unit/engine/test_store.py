"""Opening, closing, rewriting: the life of a store."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import BinaryIO

import pytest

import aofnb
from aofnb.aof.fs import OsFs
from aofnb.clock import FakeClock


def test_what_was_written_is_there_again(tmp_path):
    with aofnb.open(tmp_path / "data") as store:
        store.execute("SET", "greeting", "hello")
    with aofnb.open(tmp_path / "data") as store:
        assert store.execute("GET", "greeting") == b"hello"
        assert store.load_report.commands == 2  # SELECT, SET
    assert ": closed" in repr(store)


def test_a_closed_store_says_so_and_closes_again(tmp_path):
    store = aofnb.open(tmp_path / "data")
    session = store.session()
    store.execute("SET", "a", 1)
    store.close()
    store.close()
    for execute in (store.execute, session.execute):
        with pytest.raises(aofnb.StoreClosedError, match=r"aofnb\.open"):
            execute("GET", "a")
    with pytest.raises(aofnb.StoreClosedError):
        store.run([("GET", "a")])


def test_no_thread_is_left_after_close_or_a_failed_open(tmp_path):
    before = threading.active_count()
    store = aofnb.open(tmp_path / "data")
    store.execute("SET", "a", 1)
    store.close()
    (tmp_path / "data" / "appendonlydir" / "appendonly.aof.1.incr.aof").write_bytes(b"garbage")
    with pytest.raises(aofnb.AofFormatError):
        aofnb.open(tmp_path / "data")
    assert threading.active_count() == before


def test_a_store_without_a_log(tmp_path):
    with aofnb.open(None) as store:
        store.execute("SET", "a", 1)
        assert store.stats().aof_enabled is False
        with pytest.raises(aofnb.ReplyError, match="opened without one"):
            store.bgrewriteaof()
    with aofnb.open(tmp_path / "data", appendonly=False) as store:
        store.execute("SET", "a", 1)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("settings", [{"path": None}, {"appendonly": "no"}], ids=str)
def test_without_a_log_too_a_change_wakes_the_periodic_job(tmp_path, settings):
    """Deadlines and save points are looked after there as well."""
    with aofnb.open(**{"path": tmp_path, "background": False} | settings) as store:
        woken = []
        store.engine.on_write = lambda: woken.append(True)
        store.execute("SET", "k", "v", "PX", 100)
        assert woken


def test_readonly_changes_nothing_and_refuses_writes(tmp_path):
    with aofnb.open(tmp_path / "data") as store:
        store.execute("SET", "a", 1, "PX", 50)
    files = sorted(p for p in (tmp_path / "data").rglob("*") if p.name != "aofnb.lock")
    before = [p.read_bytes() for p in files if p.is_file()]
    with aofnb.open(tmp_path / "data", readonly=True) as reader:
        with pytest.raises(aofnb.ReplyError, match="READONLY"):
            reader.execute("SET", "a", 2)
        replies = reader.run([("MULTI",), ("SET", "a", 2), ("EXEC",)])
        assert [str(reply).split()[0] for reply in replies] == ["OK", "READONLY", "EXECABORT"]
    after = sorted(p for p in (tmp_path / "data").rglob("*") if p.name != "aofnb.lock")
    assert after == files
    assert [p.read_bytes() for p in after if p.is_file()] == before


def test_progress_is_told_while_loading(tmp_path):
    with aofnb.open(tmp_path / "data") as store, store.batch():
        for i in range(5000):
            store.execute("SET", f"key:{i}", "x" * 50)
    told: list[tuple[int, int]] = []
    aofnb.open(tmp_path / "data", readonly=True, progress=lambda done, total: told.append((done, total))).close()
    assert len(told) > 2
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]


@pytest.mark.parametrize("in_place_keys", [0, 10_000], ids=["by a process", "in place"])
def test_a_rewrite_keeps_everything_and_commands_go_on(tmp_path: Path, in_place_keys: int) -> None:
    with aofnb.open(tmp_path / "data", auto_aof_rewrite_percentage=0) as store:
        assert store._rewriter is not None
        store._rewriter.in_place_keys = in_place_keys
        for i in range(300):
            store.execute("SET", f"key:{i}", i)
            store.execute("INCR", "counter")
        store.run([("SELECT", 3), ("RPUSH", "list", *range(200)), ("SELECT", 0)])
        assert store.bgrewriteaof() == "Background append only file rewriting started"
        done = store.execute("INCR", "counter")
        while store.stats().rewrite.phase != "idle":
            done = store.execute("INCR", "counter")
        stats = store.stats()
        assert stats.last_rewrite_ok, store._rewriter.last_error
        assert [(name, kind) for name, kind, _ in stats.files] == [
            ("appendonly.aof.2.base.rdb", "base"),
            ("appendonly.aof.2.incr.aof", "incr"),
        ]
    with aofnb.open(tmp_path / "data") as store:
        assert store.execute("GET", "counter") == b"%d" % done
        assert store.execute("DBSIZE") == 301
        store.execute("SELECT", 3)
        assert store.execute("LRANGE", "list", 0, -1) == [b"%d" % i for i in range(200)]
    left = sorted(p.name for p in (tmp_path / "data" / "appendonlydir").iterdir())
    assert left == ["appendonly.aof.2.base.rdb", "appendonly.aof.2.incr.aof", "appendonly.aof.manifest"]


def test_a_killed_rewrite_leaves_the_old_files_in_force(tmp_path: Path) -> None:
    with aofnb.open(tmp_path / "data", auto_aof_rewrite_percentage=0, rdb_key_save_delay=600_000_000) as store:
        rewriter = store._rewriter
        assert rewriter is not None
        rewriter.in_place_keys = 0
        store.execute("SET", "before", 1)
        store.bgrewriteaof()
        store.execute("SET", "during", 1)
        rewriter.cancel()
        store.config_set("rdb-key-save-delay", 0)
        stats = store.stats()
        assert stats.rewrite.phase == "idle"
        assert stats.last_rewrite_error is not None
        store.execute("SET", "after", 1)
        assert store.bgrewriteaof().endswith("started")
        while store.stats().rewrite.phase != "idle":
            store.execute("PING")
        assert store.stats().last_rewrite_ok
    with aofnb.open(tmp_path / "data") as store:
        assert store.execute("MGET", "before", "during", "after") == [b"1", b"1", b"1"]


def test_the_log_rewrites_itself_when_it_has_grown(tmp_path):
    settings = {"auto_aof_rewrite_min_size": 2000, "auto_aof_rewrite_percentage": 100}
    with aofnb.open(tmp_path / "data", clock=FakeClock(), background=False, **settings) as store:
        for _ in range(100):
            store.execute("SET", "same", "x" * 20)
        assert store.stats().rewrites == 0
        store.tick()
        stats = store.stats()
        assert stats.rewrites == 1
        assert stats.current_size < 200
        store.tick()
        assert store.stats().rewrites == 1


def test_bgrewriteaof_inside_a_transaction_waits_for_its_end(tmp_path):
    with aofnb.open(tmp_path / "data", background=False) as store:
        replies = store.run([("MULTI",), ("SET", "a", 1), ("BGREWRITEAOF",), ("SET", "b", 1), ("EXEC",)])
        assert replies[-1] == ["OK", "Background append only file rewriting scheduled", "OK"]
        assert store.stats().rewrite_scheduled
        store.tick()
        assert store.stats().rewrites == 1
        assert not store.stats().rewrite_scheduled


def test_commands_that_fail_on_replay_are_told(tmp_path, caplog):
    with aofnb.open(tmp_path / "data") as store:
        store.execute("SET", "a", "x")
    incr = tmp_path / "data" / "appendonlydir" / "appendonly.aof.1.incr.aof"
    offset = incr.stat().st_size
    with open(incr, "ab") as file:
        file.write(b"*2\r\n$4\r\nINCR\r\n$1\r\na\r\n*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$1\r\n1\r\n*1\r\n$4\r\nEXEC\r\n")
    with aofnb.open(tmp_path / "data") as store:
        failed = store.load_report.failed
        assert [f.command for f in failed] == ["INCR", "EXEC"]
        assert failed[0].offset == offset
        assert store.execute("GET", "b") == b"1"
    assert "gave an error when replayed, and were left out: 2" in caplog.text


def test_a_cut_tail_is_told(tmp_path, caplog):
    with aofnb.open(tmp_path / "data") as store:
        store.execute("SET", "a", "x")
    incr = tmp_path / "data" / "appendonlydir" / "appendonly.aof.1.incr.aof"
    with open(incr, "ab") as file:
        file.write(b"*3\r\n$3\r\nSE")
    with aofnb.open(tmp_path / "data") as store:
        assert store.load_report.files.truncated.bytes_cut == 10
    assert "the last 10 bytes are cut off" in caplog.text


def test_many_threads_write_without_losing_any(tmp_path):
    with aofnb.open(tmp_path / "data", appendfsync="no") as store:

        def work(name):
            session = store.session()
            for _ in range(300):
                session.execute("INCR", "n")
                session.run([("MULTI",), ("RPUSH", name, 1), ("INCR", "m"), ("EXEC",)])

        threads = [threading.Thread(target=work, args=(f"list:{i}",)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    with aofnb.open(tmp_path / "data") as store:
        assert store.execute("MGET", "n", "m") == [b"1800", b"1800"]
        assert [store.execute("LLEN", f"list:{i}") for i in range(6)] == [300] * 6


def test_import_is_light():
    """Nothing of the notebook row is imported by the store."""
    heavy = "{'IPython', 'pandas', 'pyarrow', 'ipywidgets'}"
    code = f"import sys, aofnb; aofnb.open(None).close(); print(sorted({heavy} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_a_database_beyond_the_setting_ends_the_load(tmp_path):
    """redis-server goes on, in the wrong database; a rewrite would make that last."""
    with aofnb.open(tmp_path / "data", databases=32) as store:
        store.execute("SET", "k", "zero")
        store.run([("SELECT", 20), ("SET", "k", "twenty")])
    with pytest.raises(aofnb.AofFormatError, match="databases=21 or more"):
        aofnb.open(tmp_path / "data")
    with aofnb.open(tmp_path / "data", databases=21) as store:
        assert store.execute("GET", "k") == b"zero"


def test_closing_while_others_write_loses_nothing_and_doubles_nothing(tmp_path):
    for round_ in range(10):
        directory = tmp_path / str(round_)
        store = aofnb.open(directory, appendfsync="no")
        acknowledged: list[list[bytes]] = [[], [], []]

        def work(name, told, store=store):
            try:
                for i in range(100_000):
                    store.execute("RPUSH", name, i)
                    told.append(b"%d" % i)
            except aofnb.StoreClosedError:
                return

        threads = [threading.Thread(target=work, args=(f"l{i}", told)) for i, told in enumerate(acknowledged)]
        for thread in threads:
            thread.start()
        while not all(acknowledged):
            store.execute("PING")
        store.close()
        for thread in threads:
            thread.join()
        with aofnb.open(directory, readonly=True) as again:
            for i, told in enumerate(acknowledged):
                assert again.execute("LRANGE", f"l{i}", 0, -1) == told


def test_closing_inside_a_batch_is_refused_instead_of_waiting_for_ever(tmp_path):
    with aofnb.open(tmp_path / "data") as store:
        with store.batch():
            store.execute("SET", "a", 1)
            with pytest.raises(RuntimeError, match="leave the block"):
                store.close()
        assert store.execute("GET", "a") == b"1"


def test_a_forked_child_writes_nothing_of_its_parents_buffer(tmp_path):
    store = aofnb.open(tmp_path / "data")
    with store.batch():
        store.execute("INCR", "n")
        pid = os.fork()
        if pid == 0:
            try:
                store.execute("GET", "n")
            except aofnb.StoreClosedError:
                os._exit(0)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    store.close()
    with aofnb.open(tmp_path / "data") as store:
        assert store.execute("GET", "n") == b"1"


def test_names_of_commands_may_be_any_kind_of_bytes(tmp_path):
    with aofnb.open(tmp_path / "data") as store:
        for name in ("SET", b"SET", bytearray(b"SET"), memoryview(b"SET"), type("B", (bytes,), {})(b"SET")):
            assert store.execute(name, "k", "v") == "OK"
    with aofnb.open(tmp_path / "data") as store:
        assert store.load_report.commands == 6


def test_a_path_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(aofnb.AofError, match="cannot be made"):
        aofnb.open(tmp_path / "file")
    with pytest.raises(aofnb.ConfigError, match="empty"):
        aofnb.open("")


class RewrittenMeanwhile(OsFs):
    """A directory whose writer ends a rewrite just before the `at`-th reading operation, and once more each `again`."""

    def __init__(self, writer: aofnb.Store, at: int, again: bool = False) -> None:
        self.writer = writer
        self.at = at
        self.again = again
        self.done = 0

    def _rewritten(self) -> None:
        self.done += 1
        if self.done == self.at or (self.again and self.done >= self.at):
            self.writer.bgrewriteaof()

    def listdir(self, path: str) -> list[str]:
        self._rewritten()
        return super().listdir(path)

    def size(self, path: str) -> int:
        self._rewritten()
        return super().size(path)

    def open_read(self, path: str) -> BinaryIO:
        self._rewritten()
        return super().open_read(path)


@pytest.mark.parametrize("preamble", [True, False])
@pytest.mark.parametrize("at", range(1, 7))
def test_a_read_only_open_finds_the_files_anew_when_a_rewrite_replaces_them(tmp_path, at, preamble):
    with aofnb.open(tmp_path, aof_use_rdb_preamble=preamble, auto_aof_rewrite_percentage=0) as writer:
        writer.execute("FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', function() return 7 end)")
        writer.execute("RPUSH", "list", 1, 2, 3)
        writer.bgrewriteaof()
        writer.execute("RPUSH", "list", 4)
        fs = RewrittenMeanwhile(writer, at)
        with aofnb.open(tmp_path, readonly=True, fs=fs) as reader:
            assert reader.execute("LRANGE", "list", 0, -1) == [b"1", b"2", b"3", b"4"]
            assert len(reader.execute("FUNCTION", "LIST")) == 1
        assert fs.done >= at


def test_a_read_only_open_gives_up_where_the_files_never_stay(tmp_path):
    with aofnb.open(tmp_path, auto_aof_rewrite_percentage=0) as writer:
        fs = RewrittenMeanwhile(writer, 1, again=True)
        with pytest.raises(aofnb.AofError, match=r"not there|No such file"):
            aofnb.open(tmp_path, readonly=True, fs=fs)


def test_a_file_that_is_gone_is_not_looked_for_again_by_a_writer(tmp_path):
    with aofnb.open(tmp_path) as store:
        store.execute("SET", "k", "v")
    (tmp_path / "appendonlydir" / "appendonly.aof.1.base.rdb").unlink()
    for readonly in (False, True):
        with pytest.raises(aofnb.AofManifestError, match=r"1\.base\.rdb, which is not there"):
            aofnb.open(tmp_path, readonly=readonly)


def test_the_report_tells_what_snapshots_held(tmp_path, caplog):
    with aofnb.open(tmp_path) as store:
        store.run([("SET", "a", 1), ("SELECT", 3), ("SET", "b", 2)])
        store.bgrewriteaof()
        store.execute("SET", "c", 3)
    with aofnb.open(tmp_path, readonly=True) as store:
        report = store.load_report
    assert report is not None
    assert (report.snapshot_keys, report.commands, report.skipped, report.warnings) == (2, 2, (), ())
    base, incr = report.files.files
    assert base.snapshot is not None
    assert (base.name, base.commands, base.snapshot.keys) == ("appendonly.aof.2.base.rdb", 0, 2)
    assert base.snapshot.end == base.size
    assert (incr.snapshot, incr.commands) == (None, 2)
    assert not caplog.records


def test_memory_is_reloaded_from_a_snapshot_and_what_follows(tmp_path):
    """As after Ctrl-C inside a command."""
    with aofnb.open(tmp_path, auto_aof_rewrite_percentage=0) as store:
        store.execute("FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', function() return 7 end)")
        store.execute("RPUSH", "list", 1, 2)
        store.bgrewriteaof()
        store.execute("RPUSH", "list", 3)
        digest = store.execute("DEBUG", "DIGEST")
        store.engine.keyspace[0].delete(b"list")
        store._reload()
        assert store.execute("DEBUG", "DIGEST") == digest
        assert len(store.execute("FUNCTION", "LIST")) == 1


def test_each_incr_begins_with_its_time(tmp_path: Path) -> None:
    """So that a file can be dated by itself; Redis leaves that to the file before, if less than a second went by."""
    clock = FakeClock()
    with aofnb.open(tmp_path, clock=clock, background=False, aof_timestamp_enabled=True) as store:
        for _ in range(2):
            store.execute("SET", "k", 1)
            live = next(name for name, kind, _ in reversed(store.stats().files) if kind == "incr")
            assert (tmp_path / "appendonlydir" / live).read_bytes().startswith(b"#TS:1700000000\r\n*2\r\n$6\r\nSELECT")
            store.bgrewriteaof()


def test_what_a_session_watched_that_is_gone_is_forgotten() -> None:
    store = aofnb.open(None, background=False)
    session, other = store.session(), store.session()
    session.execute("WATCH", "k")
    other.execute("WATCH", "k", "other")
    del session
    gc.collect()
    store.tick()
    assert set(store.engine.watched) == {(0, b"k"), (0, b"other")}
    del other
    store.run([("PING",)])  # so that the last turn is not that of the session
    gc.collect()
    store.tick()
    assert store.engine.watched == {}
    assert store.engine.observe is None, "and costs nothing any more"


def test_the_end_of_the_process_waits_for_who_holds_the_store_but_not_for_ever(tmp_path: Path) -> None:
    code = """
import sys, threading, aofnb, aofnb.engine.store
aofnb.engine.store._PATIENCE_AT_EXIT_S = float(sys.argv[2])
store = aofnb.open(sys.argv[1])
inside, leave = threading.Event(), threading.Event()
def hold():
    with store.batch():
        store.execute("SET", "k", 1)
        inside.set()
        leave.wait(0.2 if sys.argv[2] == "30" else None)
threading.Thread(target=hold, daemon=True).start()
inside.wait()
"""
    for patience, said, kept in (("0.05", "not closed", None), ("30", "", b"1")):
        run = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path), patience],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert said in run.stderr
        assert bool(said) == bool(run.stderr)
        with aofnb.open(tmp_path) as store:
            assert store.execute("GET", "k") == kept
