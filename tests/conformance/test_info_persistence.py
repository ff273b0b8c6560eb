"""INFO persistence, field by field, of a real server and of a store that live through the same."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.require import need
from support.server import RedisServer, available, redis_server

import aofnb
from aofnb.aof import snapshot

pytestmark = pytest.mark.server

# Of the process and the moment, not of what happened.
MEASURED = {
    "current_cow_peak", "current_cow_size", "current_cow_size_age", "current_fork_perc", "current_save_keys_processed",
    "rdb_last_save_time", "rdb_last_bgsave_time_sec", "rdb_current_bgsave_time_sec", "rdb_last_cow_size",
    "aof_last_rewrite_time_sec", "aof_current_rewrite_time_sec", "aof_last_cow_size",
}  # fmt: skip
# While a new log is being made the server writes to a temporary file what we keep in aof_buf.
HELD = {"aof_buffer_length", "aof_current_size", "aof_base_size"}
KEYS = 60


class Both:
    """A server and a store, told the same."""

    def __init__(self, server: RedisServer, store: aofnb.Store) -> None:
        self.server, self.store = server, store

    def run(self, *argv: Any, says: str = "") -> None:
        theirs, mine = self.server.execute(*argv), _reply(self.store, argv)
        assert str(theirs) == str(mine), argv
        assert says in str(mine)

    def fields(self, whose: Any, section: str = "persistence") -> dict[str, str]:
        reply = whose.execute("INFO", section)
        text = reply.decode() if isinstance(reply, bytes) else reply
        return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)

    def same(self, *but: str, **expected: str) -> None:
        theirs, mine = self.fields(self.server), self.fields(self.store)
        assert list(theirs) == [name for name in mine if not name.startswith("aofnb_")]
        left_out = MEASURED | set(but)
        assert {k: v for k, v in mine.items() if k in theirs and k not in left_out} == {
            k: v for k, v in theirs.items() if k not in left_out
        }
        for fields in (theirs, mine):
            assert {name: fields[name] for name in expected} == expected
            assert all(fields[name].replace(".", "").replace("-", "").isdigit() for name in MEASURED)

    def wait(self, **expected: str) -> None:
        """Until both say so: what is waited for is another process, which has no fake clock."""
        deadline_s = time.monotonic() + 30
        for whose in (self.server, self.store):
            while any(self.fields(whose).get(name) != value for name, value in expected.items()):
                assert time.monotonic() < deadline_s, f"{whose} never came to {expected}"
                time.sleep(0.02)

    def kill_children(self, by: int = signal.SIGKILL) -> None:
        found = subprocess.run(["pgrep", "-P", str(self.server.process.pid)], capture_output=True, text=True)
        rewriter, files = self.store._rewriter, self.store._files
        assert rewriter is not None
        assert files is not None
        child = rewriter._child if rewriter.running else files.saver._child
        assert isinstance(child, snapshot.SnapshotChild)
        for pid in [*map(int, found.stdout.split()), child._pid]:
            os.kill(pid, by)


def _reply(store: aofnb.Store, argv: tuple[Any, ...]) -> Any:
    try:
        return store.execute(*argv)
    except aofnb.ReplyError as problem:
        return problem


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    need("redis-server", available("redis-server"))
    need("pgrep", available("pgrep"))
    need("the compiled snapshot kernel", snapshot.available())
    with (
        redis_server(tmp_path / "redis", appendfsync="always") as server,
        aofnb.open(tmp_path / "aofnb", appendfsync="always", auto_aof_rewrite_percentage=0) as store,
    ):
        assert store._rewriter is not None
        # A child, however little there is to write.
        store._rewriter.in_place_keys = -1
        yield Both(server, store)


def test_a_life_with_rewrites_failures_and_the_log_off_and_on(both: Both) -> None:
    both.same(aof_enabled="1", aof_base_size=both.fields(both.server)["aof_base_size"])
    for i in range(KEYS):
        both.run("SET", f"key:{i:03}", "value")
    both.same(rdb_changes_since_last_save=str(KEYS), aof_buffer_length="0")

    both.run("CONFIG", "SET", "rdb-key-save-delay", "1000000")
    both.run("BGREWRITEAOF")
    both.run("SET", "meanwhile", 1)
    both.same(aof_rewrite_in_progress="1", aof_rewrites="1", current_save_keys_total=str(KEYS))
    rewriter = both.store._rewriter
    assert rewriter is not None
    while not rewriter.progress().cow_bytes:
        assert rewriter.running
    both.kill_children()
    both.wait(aof_rewrite_in_progress="0")
    # It lived long enough to be measured.
    assert int(both.fields(both.store)["aof_last_cow_size"]) > 0
    both.same(aof_last_bgrewrite_status="err", aof_rewrites_consecutive_failures="1", aof_last_write_status="ok")

    both.run("CONFIG", "SET", "rdb-key-save-delay", "0")
    both.run("BGREWRITEAOF")
    both.wait(aof_rewrite_in_progress="0", aof_last_bgrewrite_status="ok")
    both.same(aof_rewrites="2", aof_rewrites_consecutive_failures="0")
    # The size includes what the snapshot says of the server that made it.
    assert both.fields(both.store)["aof_base_size"] == both.fields(both.server)["aof_base_size"]
    stats = both.fields(both.store, "stats")
    assert stats["total_forks"] == both.fields(both.server, "stats")["total_forks"]
    assert int(stats["latest_fork_usec"]) > 0

    both.run("CONFIG", "RESETSTAT")
    both.same(aof_rewrites="0")
    both.run("CONFIG", "SET", "appendonly", "no")
    both.same(aof_enabled="0")
    both.run("SET", "unlogged", 1)
    both.run("CONFIG", "SET", "rdb-key-save-delay", "1000000")
    both.run("CONFIG", "SET", "appendonly", "yes")
    both.run("SET", "while waiting", 1)
    both.same(*HELD, aof_enabled="1", aof_rewrite_in_progress="1")
    # Killing it has it made again.
    both.run("CONFIG", "SET", "rdb-key-save-delay", "0")
    both.kill_children()
    both.wait(aof_rewrite_in_progress="0", aof_last_bgrewrite_status="ok", aof_rewrite_scheduled="0")
    both.wait(aof_buffer_length="0")
    both.same("aof_base_size", aof_enabled="1")


def test_a_life_with_snapshots_in_the_background(both: Both) -> None:
    ours, theirs = (Path(str(side)) for side in (both.store.path, both.server.directory))
    both.run("CONFIG", "SET", "appendonly", "no")
    for i in range(KEYS):
        both.run("SET", f"key:{i:03}", "value")
    both.run("CONFIG", "SET", "rdb-key-save-delay", "1000000")
    both.run("BGSAVE", says="Background saving started")
    both.same(rdb_bgsave_in_progress="1", rdb_saves="1", current_save_keys_total=str(KEYS))
    both.run("SET", "meanwhile", 1)
    both.run("BGSAVE", says="ERR Background save already in progress")
    both.run("BGSAVE", "SCHEDULE", says="ERR Background save already in progress")
    both.run("SAVE", says="ERR Background save already in progress")
    both.run("BGREWRITEAOF", says="scheduled")
    both.same(aof_rewrite_scheduled="1", aof_rewrite_in_progress="0")

    both.run("CONFIG", "SET", "save", "3600 1")
    both.kill_children()
    # What was scheduled begins then.
    both.wait(rdb_bgsave_in_progress="0", aof_rewrite_in_progress="1")
    both.same(rdb_last_bgsave_status="err", rdb_changes_since_last_save=str(KEYS + 1))
    both.run("SET", "refused", 1, says="MISCONF Redis is configured to save RDB snapshots")
    both.run("PING", says="MISCONF")
    both.run("BGSAVE", says="ERR Another child process is active (AOF?)")
    both.run("CONFIG", "SET", "rdb-key-save-delay", "0")
    both.run("SAVE", says="OK")
    both.run("BGSAVE", "SCHEDULE", says="Background saving scheduled")
    both.kill_children(signal.SIGUSR1)
    both.wait(aof_rewrite_in_progress="0", rdb_bgsave_in_progress="0", rdb_saves="3")
    both.wait(rdb_changes_since_last_save="0")
    both.same(rdb_last_bgsave_status="ok")

    both.run("CONFIG", "SET", "rdb-key-save-delay", "1000000")
    both.run("SET", "k", 1)
    both.run("MULTI")
    both.run("BGSAVE")
    both.run("SET", "k", 2)
    both.run("EXEC")
    both.wait(rdb_bgsave_in_progress="1")
    both.same(rdb_changes_since_last_save="2")
    both.kill_children(signal.SIGUSR1)
    both.wait(rdb_bgsave_in_progress="0")
    both.same(rdb_last_bgsave_status="ok", rdb_changes_since_last_save="2")

    both.run("BGSAVE")
    both.run("CONFIG", "SET", "rdb-key-save-delay", "0")
    before = (ours / "dump.rdb").read_bytes()
    both.run("FLUSHALL")
    both.wait(rdb_bgsave_in_progress="0")
    both.same(rdb_changes_since_last_save="0", rdb_saves="5", rdb_last_bgsave_status="ok")
    # With save points it writes the snapshot of nothing at once.
    assert len((ours / "dump.rdb").read_bytes()) < len(before)
    assert both.store._files is not None
    both.store._files.saver.wait()
    for directory in (ours, theirs):
        assert [path.name for path in directory.glob("*.rdb")] == ["dump.rdb"], "no temporary file is left"
