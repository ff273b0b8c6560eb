"""aofnb/engine/rewriter.py: when a rewrite starts, who makes the base, and how it ends."""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support.faults import FaultFs
from support.require import need

import aofnb
from aofnb.aof import snapshot
from aofnb.aof.snapshot import NotWalkableError
from aofnb.clock import FakeClock
from aofnb.engine.rewriter import Rewriter

STARTED = "Background append only file rewriting started"
SCHEDULED = "Background append only file rewriting scheduled"
# Microseconds behind each key: long enough for anything to happen meanwhile.
FOREVER = 600_000_000


def rewriter_of(store: aofnb.Store) -> Rewriter:
    assert store._rewriter is not None
    return store._rewriter


def ended(store: aofnb.Store) -> aofnb.engine.store.AofStats:
    """The numbers once the running rewrite is over."""
    watcher = rewriter_of(store)._watcher
    if watcher is not None:
        watcher.join(60)
    stats = store.stats()
    assert stats.rewrite.phase == "idle"
    return stats


def log_files(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / "appendonlydir").iterdir())


WAYS = [pytest.param(True, id="fork"), pytest.param(False, id="process")]


@contextmanager
def with_child(directory: Path, fork: bool, **settings: Any) -> Iterator[aofnb.Store]:
    """A store of three keys whose rewrites are by a child of the wanted kind."""
    if fork:
        need("the compiled snapshot kernel", snapshot.available())
    settings = {"auto_aof_rewrite_percentage": 0, "aof_use_rdb_preamble": fork, **settings}
    with aofnb.open(directory, **settings) as store:
        rewriter_of(store).in_place_keys = -1
        store.run([("SET", "a", 1), ("RPUSH", "b", 1, 2), ("SET", "c", "x", "PX", 10**9)])
        yield store


# --- when ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fork", WAYS)
def test_a_second_one_is_refused_and_one_in_a_transaction_as_well(tmp_path: Path, fork: bool) -> None:
    with with_child(tmp_path, fork, rdb_key_save_delay=FOREVER) as store:
        assert store.execute("BGREWRITEAOF") == STARTED
        with pytest.raises(aofnb.ReplyError, match=r"^ERR Background append only file rewriting already in progress$"):
            store.execute("BGREWRITEAOF")
        replies = store.run([("MULTI",), ("BGREWRITEAOF",), ("EXEC",)])
        assert "already in progress" in str(replies[-1][0])
        assert not store.stats().rewrite_scheduled


def test_one_in_a_transaction_is_scheduled_and_resets_the_count_of_failures(tmp_path: Path) -> None:
    with aofnb.open(tmp_path, clock=FakeClock(), background=False) as store:
        backoff = rewriter_of(store).backoff
        for _ in range(3):
            backoff.failed(store.clock.monotonic())
        assert store.stats().rewrite_failures == 3
        assert store.run([("MULTI",), ("BGREWRITEAOF",), ("EXEC",)])[-1] == [SCHEDULED]
        assert store.stats().rewrite_failures == 0
        assert (store.stats().rewrite_scheduled, store.stats().rewrites) == (True, 0)
        store.tick()
        assert (store.stats().rewrite_scheduled, store.stats().rewrites) == (False, 1)


def test_files_that_cannot_be_switched_are_no_rewrite_and_are_tried_once_a_minute(tmp_path: Path) -> None:
    """redis-server tries ten times a second."""
    fs, clock = FaultFs(only={"create"}), FakeClock()
    with aofnb.open(tmp_path, fs=fs, clock=clock, background=False) as store:
        store.execute("SET", "a", 1)
        fs.fail_at, fs.lasting, fs.error = fs.done, True, errno.ENOSPC
        with pytest.raises(aofnb.ReplyError, match=r"^ERR Can't execute an AOF background rewriting"):
            store.execute("BGREWRITEAOF")
        stats = store.stats()
        assert (stats.rewrites, stats.last_rewrite_ok, stats.rewrite_failures) == (0, False, 0)
        assert "No space left" in str(stats.last_rewrite_error)
        store.run([("MULTI",), ("BGREWRITEAOF",), ("EXEC",)])
        tries = []
        for _ in range(1300):
            before = fs.done
            store.tick()
            if fs.done != before:
                tries.append(clock.monotonic())
            clock.advance(0.1)
        assert [round(b - a) for a, b in pairwise(tries)] == [60, 60]
        assert store.stats().rewrite_scheduled
        fs.mend()
        clock.advance(60)
        store.tick()
        stats = store.stats()
        assert (stats.rewrites, stats.last_rewrite_ok, stats.last_rewrite_error) == (1, True, None)


def test_bases_that_fail_slow_automatic_rewrites_down_but_not_those_asked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fs, clock = FaultFs(only={"rename"}), FakeClock()
    settings = {"auto_aof_rewrite_min_size": 1, "auto_aof_rewrite_percentage": 1}
    with aofnb.open(tmp_path, fs=fs, clock=clock, background=False, **settings) as store:
        store.execute("SET", "a", "x" * 1000)
        # Each second rename is that of the base: the first one publishes the new incr.
        fault = fs.fault
        fs.fault = lambda operation, path: (
            fault(operation, path)
            or (  # type: ignore[method-assign]
                operation == "rename" and ".base." in path and broken
            )
        )
        broken = True
        caplog.set_level(logging.WARNING, "aofnb")
        for _ in range(3):
            store.tick()
        stats = store.stats()
        assert (stats.rewrites, stats.rewrite_failures, stats.last_rewrite_ok) == (3, 3, False)
        assert "rewrite terminated with error: " in caplog.text
        assert "failed 3 times in a row; the next is tried in 1 minutes" in caplog.text
        for _ in range(10):
            store.tick()
        assert store.stats().rewrites == 3
        with pytest.raises(aofnb.ReplyError, match="Can't execute"):
            store.bgrewriteaof()
        assert store.stats().rewrites == 4
        clock.advance(60)
        store.tick()
        assert store.stats().rewrites == 5
        broken = False
        assert store.bgrewriteaof() == STARTED
        stats = store.stats()
        assert (stats.rewrite_failures, stats.last_rewrite_ok) == (0, True)
        assert [kind for _, kind, _ in stats.files] == ["base", "incr"]


# --- who -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("keys", "way"), [(3, "in place"), (-1, "child")])
def test_the_way_is_by_size(tmp_path: Path, keys: int, way: str) -> None:
    with aofnb.open(tmp_path) as store:
        rewriter = rewriter_of(store)
        rewriter.in_place_keys = keys
        store.run([("SET", "a", 1), ("SET", "b", 1), ("SET", "c", 1)])
        store.bgrewriteaof()
        assert ended(store).last_rewrite_ok
        wanted = {"child": "fork" if snapshot.available() and store.config.aof_use_rdb_preamble else "process"}
        assert rewriter._way == wanted.get(way, way)


def test_without_a_python_to_start_the_base_is_written_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where Python is part of another program: a rewrite that fails every time would let the log grow for ever."""
    with aofnb.open(tmp_path, aof_use_rdb_preamble=False) as store:
        rewriter_of(store).in_place_keys = -1
        store.execute("SET", "a", 1)
        monkeypatch.setattr(sys, "executable", "")
        store.bgrewriteaof()
        stats = ended(store)
        assert stats.last_rewrite_ok
        assert rewriter_of(store)._way == "in place"


@pytest.mark.parametrize("form", ["rdb", "aof"])
@pytest.mark.parametrize("fork", WAYS)
def test_form_and_name_are_those_of_the_start(tmp_path: Path, fork: bool, form: str) -> None:
    """redis-server 7.0.15 decides on the name when the base is done."""
    preamble = form == "rdb"
    with with_child(tmp_path, fork, aof_use_rdb_preamble=preamble, rdb_key_save_delay=20_000) as store:
        rewriter_of(store).may_fork = fork
        store.bgrewriteaof()
        assert store.stats().rewrite.phase != "idle"
        store.config_set("aof-use-rdb-preamble", not preamble)
        assert ended(store).last_rewrite_ok
        name = next(name for name, kind, _ in store.stats().files if kind == "base")
    assert name == f"appendonly.aof.2.base.{form}"
    assert (tmp_path / "appendonlydir" / name).read_bytes().startswith(b"REDIS0010" if preamble else b"*")


def test_what_cannot_be_walked_is_made_by_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need("the compiled snapshot kernel", snapshot.available())

    def not_walkable(_self: snapshot.SnapshotChild) -> None:
        raise NotWalkableError("there is a value of a kind")

    monkeypatch.setattr(snapshot.SnapshotChild, "_judge", not_walkable)
    with with_child(tmp_path, True) as store:
        store.bgrewriteaof()
        assert ended(store).last_rewrite_ok
        assert rewriter_of(store)._way == "process"
    assert [name for name in log_files(tmp_path) if name.startswith("temp")] == []


@pytest.mark.parametrize("fork", WAYS)
def test_without_threads_the_base_is_written_in_place(
    tmp_path: Path, fork: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with with_child(tmp_path, fork) as store:
        store._bio.drain()

        def no_thread(_self: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", no_thread)
        assert store.bgrewriteaof() == STARTED
        monkeypatch.undo()
        assert store.stats().last_rewrite_ok
        assert rewriter_of(store)._way == "in place"


# --- how it ends ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fork", WAYS)
def test_a_rewrite_can_be_watched_and_cancelled(tmp_path: Path, fork: bool) -> None:
    with with_child(tmp_path, fork, rdb_key_save_delay=FOREVER) as store:
        before = {name for name, _, _ in store.stats().files}
        assert not store.cancel_rewrite()
        store.bgrewriteaof()
        while not store.stats().rewrite.keys_done and fork:
            pass
        running = store.stats().rewrite
        assert (running.way, running.keys_total) == ("fork" if fork else "process", 3)
        assert running.keys_done == (1 if fork else 0)
        store.execute("SET", "during", 1)
        with store.batch():
            store.execute("SET", "in a batch", 1)
            # The watching thread may want the lock that we hold.
            assert store.cancel_rewrite()
        stats = store.stats()
        assert (stats.rewrite.phase, stats.last_rewrite_ok, stats.rewrite_failures) == ("idle", True, 0)
        assert "stopped" in str(stats.last_rewrite_error)
        assert before <= {name for name, _, _ in stats.files}
        assert not any(name.startswith("temp") for name in log_files(tmp_path))
        store.config_set("rdb-key-save-delay", 0)
        store.bgrewriteaof()
        stats = ended(store)
        assert (stats.last_rewrite_ok, stats.last_rewrite_error) == (True, None)


def test_a_scheduled_rewrite_can_be_cancelled(tmp_path: Path) -> None:
    with aofnb.open(tmp_path, background=False) as store:
        store.run([("MULTI",), ("BGREWRITEAOF",), ("EXEC",)])
        assert store.cancel_rewrite()
        store.tick()
        assert (store.stats().rewrites, store.stats().rewrite_scheduled) == (0, False)
    with aofnb.open(None) as store:
        assert not store.cancel_rewrite()


@pytest.mark.parametrize("fork", WAYS)
def test_closing_ends_a_rewrite(tmp_path: Path, fork: bool) -> None:
    with with_child(tmp_path, fork, rdb_key_save_delay=FOREVER) as store:
        store.bgrewriteaof()
        child = rewriter_of(store)._child
        assert child is not None
    assert not any(name.startswith("temp") for name in log_files(tmp_path))
    assert not rewriter_of(store).running


@pytest.mark.parametrize(("number", "counts"), [(signal.SIGKILL, True), (signal.SIGUSR1, False)])
def test_a_forked_child_that_is_killed(tmp_path: Path, number: signal.Signals, counts: bool) -> None:
    with with_child(tmp_path, True, rdb_key_save_delay=FOREVER) as store:
        store.bgrewriteaof()
        child = rewriter_of(store)._child
        assert isinstance(child, snapshot.SnapshotChild)
        os.kill(child._pid, number)
        stats = ended(store)
        assert stats.rewrite_failures == counts
        assert stats.last_rewrite_ok is not counts
        assert number.name in str(stats.last_rewrite_error)
        assert not any(name.startswith("temp") for name in log_files(tmp_path))


def test_a_child_that_someone_else_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reaps all children of the process takes the status; the shared page says how it went."""

    def taken(pid: int, _options: int) -> tuple[int, int]:
        waitpid(pid, 0)
        raise ChildProcessError(errno.ECHILD, "No child processes")

    waitpid = os.waitpid
    with with_child(tmp_path, True) as store:
        monkeypatch.setattr(os, "waitpid", taken)
        store.bgrewriteaof()
        assert ended(store).last_rewrite_ok
        monkeypatch.undo()


def test_the_delay_is_hidden_and_may_be_negative(tmp_path: Path) -> None:
    with with_child(tmp_path, False) as store:
        assert b"rdb-key-save-delay" not in store.execute("CONFIG", "GET", "*")
        assert store.execute("CONFIG", "GET", "rdb-key-save-delay") == [b"rdb-key-save-delay", b"0"]
        store.config_set("rdb-key-save-delay", -2)
        store.bgrewriteaof()
        assert ended(store).last_rewrite_ok
