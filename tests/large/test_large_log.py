"""A log that is larger than the memory it may take: whoever asks it reads it in pieces."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.big_logs import write_big_log

from aofnb.forensics import _walk_cy
from aofnb.resp.encode import encode_command

# 5 GB; where no kernel reads it, a tenth of that takes as long.
_PIECE_BYTES, _COPIES = 50_000_000, 100 if _walk_cy.COMPILED else 10
_MOST_BYTES = 1 << 30

_CHILD = """
import json, resource, sys
import aofnb
path, dest, what = sys.argv[1:]
log = aofnb.scan(path, cache_dir=False)
answers = {
    "len": lambda: len(log),
    "chunks": lambda: sum(len(chunk) for chunk in log.to_pandas(chunksize=500_000)),
    "filtered": lambda: len(log.to_pandas(cmd="DEL", key="user:7*")),
    "sql": lambda: int(log.sql("select count(*) n from log").n[0]),
    "parquet": lambda: log.to_parquet(dest) and None,
    "triage": lambda: log.triage().commands,
    "find": lambda: len(log.find("no such word")),
    "history": lambda: len(log.history("user:77")),
    "times": lambda: len(log.times().seq) > 0,
}

def peak_bytes():
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

answer = answers[what]()
# Where there is such a file: what getrusage says may be of the process that started this one.
print(json.dumps([answer, peak_bytes()]))
"""


@pytest.fixture
def log(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """The log and how many rows it has."""
    if shutil.disk_usage(tmp_path).free < 3 * _PIECE_BYTES * _COPIES:
        pytest.skip("a log of 5 GB needs a disk with 15 GB free")
    piece, whole = tmp_path / "piece", tmp_path / "x.aof"
    # Each copy begins in the database in which the first one does.
    rows = (write_big_log(piece, _PIECE_BYTES) + 1) * _COPIES
    with whole.open("wb") as out:
        for _ in range(_COPIES):
            out.write(encode_command([b"SELECT", b"0"]))
            with piece.open("rb") as file:
                shutil.copyfileobj(file, out, 1 << 22)
    yield whole, rows
    for each in tmp_path.iterdir():
        each.unlink()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_five_gigabytes_take_less_than_one(log: tuple[Path, int]) -> None:
    path, rows = log
    expected = {"len": rows, "chunks": rows, "sql": rows, "triage": rows, "find": 0, "times": True}
    for what in ("len", "chunks", "filtered", "sql", "parquet", "triage", "find", "history", "times"):
        argv = [sys.executable, "-c", _CHILD, str(path), str(path.parent / "x.parquet"), what]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=600)
        assert not done.returncode, f"{what}: {done.stderr}"
        answer, peak = json.loads(done.stdout)
        assert peak < _MOST_BYTES, f"{what} took {peak >> 20} MiB"
        if what in expected:
            assert answer == expected[what], what
        elif answer is not None:
            # What one copy has, each has.
            assert answer > 0, what
            assert answer % _COPIES == 0, what
