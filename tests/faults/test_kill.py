"""kill -9 of a writing process: everything it was told is written is there after reopening.

A kill takes the process, not the page cache, so this holds under every policy. 300 kills: each is of a fork of one
process that has everything imported and nothing open, so that a kill costs some tens of milliseconds.
"""

from __future__ import annotations

import os
import random
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import aofnb

KILLS_PER_POLICY = 100
ROUNDS = 4  # of KILLS_PER_POLICY / ROUNDS kills each, so that workers can share them

TEMPLATE = """
import os, sys, aofnb, aofnb.engine.store

def write(directory, policy, way):
    store = aofnb.open(directory, appendfsync=policy, auto_aof_rewrite_percentage=0)
    rewriter = store.engine.start_rewrite.__self__
    rewriter.in_place_keys, rewriter.may_fork = 10_000 * (way == "in-place"), way == "fork"
    start = int(store.execute("GET", "written") or 0)
    for i in range(start + 1, start + 1_000_000):
        written = ("SET", "written", i), ("SET", f"key:{i}", f"value {i}\\r\\n"), ("RPUSH", "order", i)
        store.run([("MULTI",), *written, ("EXEC",)])
        if i % 97 == 0:
            try:
                store.bgrewriteaof()
            except aofnb.ReplyError:
                pass  # the one before is still running
        os.write(1, b"%d\\n" % i)

for line in sys.stdin:
    directory, policy, way = line.split()
    pid = os.fork()
    if pid == 0:
        try:
            write(directory, policy, way)
        finally:
            os._exit(3)
    os.write(1, b"pid %d\\n" % pid)
    os.write(1, b"dead %d\\n" % os.waitpid(pid, 0)[1])
"""


class Writers:
    """Makes writing processes, one after the other, and kills them."""

    def __init__(self) -> None:
        self._template = subprocess.Popen(
            [sys.executable, "-c", TEMPLATE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        assert self._template.stdout is not None
        self._fd = self._template.stdout.fileno()
        self.kills = 0

    def close(self) -> None:
        self._template.communicate()

    def write_until_killed(self, directory: Path, policy: str, rng: random.Random, way: str) -> int:
        """Let one write, kill it at a random moment after its first acknowledgement; the last number it gave."""
        assert self._template.stdin is not None
        self._template.stdin.write(f"{directory} {policy} {way}\n".encode())
        self._template.stdin.flush()
        said = b""
        while not (started := re.search(rb"pid (\d+)\n", said)) or not re.search(rb"^\d+\n", said, re.MULTILINE):
            said += self._heard(said)
        select.select([], [], [], rng.uniform(0, 0.06))
        os.kill(int(started[1]), signal.SIGKILL)
        while not (dead := re.search(rb"dead (\d+)\n", said)):
            said += self._heard(said)
        assert int(dead[1]) == signal.SIGKILL, f"the writer ended by itself: {said!r}"
        self.kills += 1
        return max(map(int, re.findall(rb"^(\d+)\n", said, re.MULTILINE)))

    def _heard(self, said: bytes) -> bytes:
        assert select.select([self._fd], [], [], 60)[0], f"the writer gives no sign of life after {said[-200:]!r}"
        piece = os.read(self._fd, 1 << 16)
        assert piece, f"the writer is gone and said {said!r}"
        return piece


@pytest.fixture(scope="module")
def writers() -> Iterator[Writers]:
    made = Writers()
    yield made
    made.close()
    print(f"{made.kills} kills")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("round_", range(ROUNDS))
@pytest.mark.parametrize("policy", ["always", "everysec", "no"])
def test_nothing_acknowledged_is_lost_by_a_kill(policy: str, round_: int, tmp_path: Path, writers: Writers) -> None:
    rng = random.Random(f"{policy} {round_}")
    for kill in range(KILLS_PER_POLICY // ROUNDS):
        # Kills may hit a rewrite of any kind.
        way = ("fork", "in-place", "process")[kill % 3]
        acknowledged = writers.write_until_killed(tmp_path / "data", policy, rng, way)
        with aofnb.open(tmp_path / "data") as store:
            written = int(store.execute("GET", "written"))
            assert written >= acknowledged, f"kill {kill}: {acknowledged} was acknowledged, {written} is there"
            assert store.execute("LLEN", "order") == written, "half a transaction was loaded"
            assert store.execute("GET", f"key:{written}") == b"value %d\r\n" % written
            assert store.execute("EXISTS", f"key:{written + 1}") == 0
            assert store.execute("DBSIZE") == written + 2
            assert store.load_report is not None
            assert store.load_report.failed == ()


def test_there_are_three_hundred_kills() -> None:
    assert 3 * ROUNDS * (KILLS_PER_POLICY // ROUNDS) >= 300
