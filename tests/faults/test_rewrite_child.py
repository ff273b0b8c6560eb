"""A rewrite whose child, or whose parent, is killed at any moment: nothing is lost, nothing is left behind."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from support.require import need

import aofnb
from aofnb.aof import snapshot
from aofnb.engine.rewrite_process import RewriteProcess

KEYS = 40
WAYS = ["fork", "process"]


def needs(way: str) -> None:
    need("the compiled snapshot kernel", way != "fork" or snapshot.available())


def left(directory: Path) -> set[str]:
    return {path.name for path in (directory / "appendonlydir").iterdir()}


@pytest.mark.parametrize("after", [0, 1, KEYS // 2, KEYS - 1])
@pytest.mark.parametrize("way", WAYS)
def test_a_child_killed_after_some_keys_leaves_the_old_files_in_force(way: str, after: int, tmp_path: Path) -> None:
    needs(way)
    with aofnb.open(tmp_path, auto_aof_rewrite_percentage=0, rdb_key_save_delay=3_000) as store:
        rewriter = store._rewriter
        assert rewriter is not None
        rewriter.in_place_keys, rewriter.may_fork = -1, way == "fork"
        for i in range(KEYS):
            store.execute("SET", f"key:{i}", i)
        base = next(name for name, kind, _ in store.stats().files if kind == "base")
        store.bgrewriteaof()
        child, watcher = rewriter._child, rewriter._watcher
        assert child is not None
        assert watcher is not None
        while child.progress()[0] < after or (isinstance(child, RewriteProcess) and child._process is None):
            assert watcher.is_alive()
        store.execute("SET", "during", 1)
        pid = child._process.pid if isinstance(child, RewriteProcess) else child._pid  # type: ignore[union-attr,attr-defined]
        # It may be done, and gone.
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        watcher.join(60)
        stats = store.stats()
        assert stats.rewrite.phase == "idle"
        # The last moments of a child are not ours to choose: it may have been done.
        assert stats.last_rewrite_ok or "killed by SIGKILL" in str(stats.last_rewrite_error)
        if not stats.last_rewrite_ok:
            assert base in left(tmp_path)
            assert stats.rewrite_failures == 1
        assert {name for name in left(tmp_path) if name.startswith("temp")} == set()
        store.execute("SET", "after", 1)
    with aofnb.open(tmp_path) as store:
        assert store.execute("DBSIZE") == KEYS + 2


PARENT = """
import os, sys, aofnb
store = aofnb.open(sys.argv[1], auto_aof_rewrite_percentage=0, rdb_key_save_delay=20_000, appendfsync="always")
rewriter = store._rewriter
rewriter.in_place_keys, rewriter.may_fork = -1, sys.argv[2] == "fork"
for i in range(1000):
    store.execute("SET", f"key:{i}", i)
store.bgrewriteaof()
child = rewriter._child
while not child.progress()[0]:
    pass
os.write(1, b"%d\\n" % (child._pid if sys.argv[2] == "fork" else child._process.pid))
sys.stdin.read()
"""


@pytest.mark.parametrize("way", WAYS)
def test_a_child_whose_parent_is_killed_ends_and_holds_nothing(way: str, tmp_path: Path) -> None:
    needs(way)
    need("pidfd_open", hasattr(os, "pidfd_open"))
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path), way],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
        parent.wait()
        # At once: the lock went with the parent, although its child is still there.
        with aofnb.open(tmp_path) as store:
            assert store.execute("DBSIZE") == 1000
            watch = select.poll()
            watch.register(child, select.POLLIN)
            assert watch.poll(30_000), "the child goes on although nobody wants its base"
            os.close(child)
    assert {name for name in left(tmp_path) if name.startswith("temp")} == set()


def test_ctrl_c_does_not_reach_the_child(tmp_path: Path) -> None:
    """A notebook interrupts its whole process group."""
    needs("fork")
    with aofnb.open(tmp_path, auto_aof_rewrite_percentage=0, rdb_key_save_delay=3_000) as store:
        assert store._rewriter is not None
        store._rewriter.in_place_keys = -1
        for i in range(KEYS):
            store.execute("SET", f"key:{i}", i)
        store.bgrewriteaof()
        child = store._rewriter._child
        assert isinstance(child, snapshot.SnapshotChild)
        while not child.progress()[0]:
            pass
        os.kill(child._pid, signal.SIGINT)
        watcher = store._rewriter._watcher
        assert watcher is not None
        watcher.join(60)
        assert store.stats().last_rewrite_ok
