"""kill -9 of a writing process: everything it was told is written is there after reopening.

A kill takes the process, not the page cache, so this holds under every policy.
"""

from __future__ import annotations

import os
import random
import re
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import aofnb

KILLS_PER_POLICY = 50
ROUNDS = 5  # of KILLS_PER_POLICY / ROUNDS kills each, so that workers can share them

WRITER = """
import os, sys, aofnb
store = aofnb.open(sys.argv[1], appendfsync=sys.argv[2], auto_aof_rewrite_percentage=0)
store.engine.start_rewrite.__self__.in_place_keys = int(sys.argv[4])
start = int(store.execute("GET", "written") or 0)
for i in range(start + 1, start + 1_000_000):
    store.run([
        ("MULTI",), ("SET", "written", i), ("SET", f"key:{i}", f"value {i}\\r\\n"), ("RPUSH", "order", i), ("EXEC",),
    ])
    if i % 97 == 0:
        try:
            store.bgrewriteaof()
        except aofnb.ReplyError:
            pass  # the one before is still running
    os.write(1, b"%d\\n" % i)
"""


def write_until_killed(directory: Path, policy: str, rng: random.Random, in_place_keys: int) -> int:
    """Run the writer, kill it at a random moment after its first acknowledgement; the last number it gave."""
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(directory), policy, "-", str(in_place_keys)],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert child.stdout is not None
    fd = child.stdout.fileno()
    assert select.select([fd], [], [], 60)[0], "the writer gave no sign of life"
    select.select([], [], [], rng.uniform(0, 0.06))
    os.kill(child.pid, signal.SIGKILL)
    said = b""
    while piece := os.read(fd, 1 << 16):
        said += piece
    child.stdout.close()
    child.wait()
    acknowledged = re.findall(rb"(\d+)\n", said)
    assert acknowledged, f"the writer ended with {child.returncode} and said {said!r}"
    return int(acknowledged[-1])


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("round_", range(ROUNDS))
@pytest.mark.parametrize("policy", ["always", "everysec", "no"])
def test_nothing_acknowledged_is_lost_by_a_kill(policy: str, round_: int, tmp_path: Path) -> None:
    rng = random.Random(f"{policy} {round_}")
    for kill in range(KILLS_PER_POLICY // ROUNDS):
        # Every other kill may hit a rewrite that runs in a process of its own.
        acknowledged = write_until_killed(tmp_path / "data", policy, rng, in_place_keys=10_000 * (kill % 2))
        with aofnb.open(tmp_path / "data") as store:
            written = int(store.execute("GET", "written"))
            assert written >= acknowledged, f"kill {kill}: {acknowledged} was acknowledged, {written} is there"
            assert store.execute("LLEN", "order") == written, "half a transaction was loaded"
            assert store.execute("GET", f"key:{written}") == b"value %d\r\n" % written
            assert store.execute("EXISTS", f"key:{written + 1}") == 0
            assert store.execute("DBSIZE") == written + 2
            assert store.load_report is not None
            assert store.load_report.failed == ()
