"""Commands, rewrites of every kind, the log off and on, other policies, reloads, killed children and a disk that fails
now and then, in an order drawn by a seed: whenever the log is on and no write is refused, the files say what is in
memory.

What is compared is a copy of the files, taken as a kill at that moment would leave them. Threads and children run as
they like, so a seed does not fix the outcome; what is found is worth a test of its own.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import aofnb
from aofnb.aof.fs import Data, File, OsFs
from aofnb.aof.snapshot import SnapshotChild
from aofnb.lab.crash import Content, content_of

STEPS = 300
FUNCTION = "#!lua name=l{0}\nredis.register_function('f{0}', function() return 1 end)"


class ShakyFs(OsFs):
    """A real disk, which children see too, whose operations fail with a probability."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.probability = 0.0
        self.failed = 0
        self._next_write_fails = False

    def step(self, path: str) -> None:
        if self.rng.random() < self.probability:
            self.failed += 1
            raise OSError(self.rng.choice([errno.EIO, errno.ENOSPC]), "it shook", path)

    def write(self, file: File, data: Data) -> int:
        """All of it, nothing, or a part, after which nothing more goes in."""
        if self._next_write_fails:
            self._next_write_fails = False
            raise OSError(errno.ENOSPC, "it shook", file.path)
        try:
            self.step(file.path)
        except OSError:
            if len(data) < 2 or self.rng.random() < 0.5:
                raise
            self._next_write_fails = True
            return file.write(memoryview(data)[: len(data) // 2])
        return file.write(data)

    def mend(self) -> None:
        self.probability = 0.0
        self._next_write_fails = False

    def mkdir(self, path: str) -> None:
        self.step(path)
        super().mkdir(path)

    def create(self, path: str) -> File:
        self.step(path)
        return ShakyFile(self, super().create(path))

    def open_append(self, path: str) -> File:
        self.step(path)
        return ShakyFile(self, super().open_append(path))

    def rename(self, source: str, target: str) -> None:
        self.step(target)
        super().rename(source, target)

    def unlink(self, path: str) -> None:
        self.step(path)
        super().unlink(path)

    def fsync_dir(self, path: str) -> None:
        self.step(path)
        super().fsync_dir(path)


class ShakyFile:
    """A file of a `ShakyFs`."""

    def __init__(self, fs: ShakyFs, inner: File) -> None:
        self._fs, self._inner, self.path = fs, inner, inner.path
        self.close = inner.close

    def write(self, data: Data) -> int:
        return self._fs.write(self._inner, data)

    def fdatasync(self) -> None:
        self._fs.step(self.path)
        self._inner.fdatasync()

    def truncate(self, size: int) -> None:
        self._fs.step(self.path)
        self._inner.truncate(size)


class Life:
    """A store, and what may happen to it."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.directory = directory
        self.fs = ShakyFs(random.Random(f"disk {seed}"))
        self.done: list[Any] = []
        self.compared = 0
        self.store = aofnb.open(
            directory / "data",
            fs=self.fs,
            databases=3,
            appendfsync=self.rng.choice(["always", "everysec", "no"]),
            auto_aof_rewrite_percentage=self.rng.choice([0, 20]),
            auto_aof_rewrite_min_size=2000,
            rdb_key_save_delay=self.rng.choice([0, 0, 300]),
        )
        self.actions: list[tuple[int, Callable[[], Any]]] = [
            (60, self.write),
            (8, self.transaction),
            (8, self.rewrite),
            (3, lambda: self.store.cancel_rewrite()),
            (4, self.kill_child),
            (4, lambda: self.setting("appendonly", "no")),
            (6, lambda: self.setting("appendonly", "yes")),
            (2, lambda: self.setting("appendfsync", "always", "everysec", "no")),
            (2, lambda: self.setting("aof-use-rdb-preamble", "yes", "no")),
            (1, lambda: self.setting("aof-timestamp-enabled", "yes", "no")),
            (1, lambda: self.setting("aof-disable-auto-gc", "yes", "no")),
            (3, lambda: self.execute("DEBUG", "RELOAD", *self.rng.choice([(), ("NOSAVE",), ("NOFLUSH", "MERGE")]))),
            (1, lambda: self.execute("DEBUG", "LOADAOF")),
            (1, lambda: self.execute("SAVE")),
            (4, self.shake),
            (15, self.compare),
        ]

    def step(self) -> None:
        weights = [weight for weight, _ in self.actions]
        self.rng.choices(self.actions, weights)[0][1]()

    def execute(self, *argv: Any) -> Any:
        try:
            reply = self.store.execute(*argv)
        except aofnb.AofnbError as problem:
            reply = problem
        self.done.append((argv, reply))
        return reply

    def setting(self, name: str, *values: str) -> None:
        self.execute("CONFIG", "SET", name, self.rng.choice(values))

    def write(self) -> None:
        key, number = f"k{self.rng.randrange(30)}", self.rng.randrange(1000)
        self.execute(
            *self.rng.choice(
                [
                    ("SET", key, number),
                    ("SET", key, number, "PX", 3_600_000),
                    ("DEL", key),
                    ("INCR", "n"),
                    ("RPUSH", f"l{key}", number, number + 1),
                    ("LPOP", f"l{key}"),
                    ("HSET", f"h{key}", number, number),
                    ("ZADD", "z", number, key),
                    ("XADD", "stream", "*", "f", number),
                    ("SWAPDB", 0, 1),
                    ("FUNCTION", "LOAD", "REPLACE", FUNCTION.format(number % 3)),
                ]
            )
        )
        if self.rng.random() < 0.01:
            self.execute("FLUSHALL")

    def transaction(self) -> None:
        batch: list[tuple[object, ...]] = [("INCR", "n"), ("SELECT", 2), ("INCR", "n"), ("SELECT", 0)]
        if self.rng.random() < 0.3:
            batch.insert(2, ("BGREWRITEAOF",))
        if self.rng.random() < 0.2:
            batch.insert(2, ("CONFIG", "SET", "appendonly", self.rng.choice(["yes", "no"])))
        self.done.append(batch)
        with suppress(aofnb.AofWriteError):
            self.store.run([("MULTI",), *batch, ("EXEC",)])  # type: ignore[arg-type]  # words and numbers

    def rewrite(self) -> None:
        rewriter = self.store._rewriter
        assert rewriter is not None
        rewriter.in_place_keys = self.rng.choice([-1, -1, 10_000])
        rewriter.may_fork = self.rng.random() < 0.9
        self.execute("BGREWRITEAOF")

    def kill_child(self) -> None:
        rewriter = self.store._rewriter
        assert rewriter is not None
        child = rewriter._child
        if rewriter.running and isinstance(child, SnapshotChild) and not child._reaped:
            self.done.append("kill")
            with suppress(ProcessLookupError):
                os.kill(child._pid, self.rng.choice([signal.SIGKILL, signal.SIGSEGV, signal.SIGUSR1]))

    def shake(self) -> None:
        self.fs.probability = self.rng.choice([0, 0, 0, 0.03, 0.3])
        self.done.append(f"failing: {self.fs.probability}")

    def compare(self) -> None:
        store = self.store
        with store.engine.lock:
            with suppress(aofnb.AofWriteError), store.batch():
                pass
            writer, appendonly = store.engine.writer, store._appendonly
            assert appendonly is not None
            if appendonly.state != "on" or writer is None or writer.held or writer.aof_buf or writer.refusal:
                return
            memory = data_of(store)
            copy = self.directory / "copy"
            shutil.copytree(self.directory / "data", copy, ignore=shutil.ignore_patterns("temp*"))
        assert found_in(copy) == memory, self.done[-30:]
        shutil.rmtree(copy)
        self.compared += 1

    def close(self) -> None:
        """The disk is well again: what cannot be written after all is told, what is not told is there."""
        self.fs.mend()
        memory, logs = data_of(self.store), self.store.stats().aof_enabled
        try:
            self.store.close()
        except aofnb.AofWriteError:
            return
        if logs:
            assert found_in(self.directory / "data") == memory, self.done[-30:]


def data_of(store: aofnb.Store) -> tuple[Content, list[bytes]]:
    return content_of(store), sorted(store.engine.keyspace.functions)


def found_in(directory: Path) -> tuple[Content, list[bytes]]:
    with aofnb.open(directory, readonly=True, databases=3) as store:
        assert store.load_report is not None
        assert store.load_report.failed == ()
        return data_of(store)


@pytest.mark.parametrize("seed", range(4))
def test_the_files_say_what_is_in_memory(seed: int, tmp_path: Path) -> None:
    life = Life(tmp_path, seed)
    try:
        for _ in range(STEPS):
            life.step()
        life.fs.mend()
        life.compare()
    finally:
        life.close()
    print(f"{len(life.done)} steps, {life.fs.failed} faults, compared {life.compared} times")
