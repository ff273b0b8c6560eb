"""Asking a large log: index, columns, questions, salvage and export, against redis-check-aof, hiredis and plain Python.

Every case runs in a process of its own that times itself by CPU time, since machines are shared, and says the most
anonymous memory it held; contenders take turns. Results are compared with what was written.
"""

from __future__ import annotations

import importlib.util
import random
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import aofnb
from aofnb.rdb.writer import write_rdb
from tests.bench.big_logs import write_big_log
from tests.bench.harness import Case

MEGABYTES = 500
ROUNDS = 3
_MB = 1e6

# Begin of every process: what is imported and touched before the clock runs.
_BEGIN = """
import os, sys, threading, time
import numpy as np
import aofnb, aofnb.forensics, aofnb.forensics.frame, aofnb.forensics.export
path, scratch = sys.argv[1:3]
np.ones(1 << 27)  # memory that was never touched costs seconds a gigabyte

def anonymous():
    with open("/proc/self/status") as file:
        return next((int(line.split()[1]) * 1024 for line in file if line.startswith("RssAnon")), 0)

peak, done = [anonymous()], threading.Event()
def watch():
    while not done.wait(0.02):
        peak[0] = max(peak[0], anonymous())
threading.Thread(target=watch, daemon=True).start()

def measured(action):
    start = time.process_time()
    answer = action()
    seconds = time.process_time() - start
    done.set()
    print(seconds, max(peak[0], anonymous()), answer)
"""
_SCAN = "log = aofnb.scan(path, cache_dir=False)\n"
_KEPT = "log = aofnb.scan(path, cache_dir=scratch)\nlog.postings()\n"
_NEW = "import shutil\ndest = scratch + '/new'\nshutil.rmtree(dest, ignore_errors=True)\n"
_CORE = "columns=['offset', 'nbytes', 'ts', 'db', 'cmd', 'key', 'argc']"

# The reader that people write themselves: lengths believed, no column but the name and the first argument.
_PLAIN_PYTHON = """
def read():
    names, keys, rows = [], [], 0
    with open(path, "rb") as file:
        readline, read = file.readline, file.read
        while line := readline():
            if line[0] == 35:
                continue
            argv = []
            for _ in range(int(line[1:])):
                size = int(readline()[1:])
                argv.append(read(size + 2)[:-2])
            names.append(argv[0])
            keys.append(argv[1] if len(argv) > 1 else None)
            rows += 1
    return rows
measured(read)
"""
_HIREDIS = """
import hiredis
def read():
    # It cannot read annotations, so they are taken out for it.
    reader, rows = hiredis.Reader(), 0
    with open(path, "rb") as file:
        tail = b""
        while data := file.read(1 << 20):
            data = tail + data
            cut = data.rfind(b"\\n") + 1
            data, tail = data[:cut], data[cut:]
            at = 0
            while (note := data.find(b"#TS:", at)) >= 0:
                reader.feed(data[at:note])
                at = data.index(b"\\n", note) + 1
            reader.feed(data[at:])
            while reader.gets() is not False:
                rows += 1
    return rows
measured(read)
"""


def run(directory: Path, quick: bool, megabytes: int = MEGABYTES) -> list[Case]:
    """All cases on a log of that size; `quick` for a smoke test with a fiftieth of it."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "big.aof"
    rows = write_big_log(path, megabytes * 1_000_000 // (50 if quick else 1))
    bench = _Bench(path, directory, rows, 1 if quick else ROUNDS)
    compiled = aofnb.kernels()["forensics.columns"] == "compiled"
    return [
        bench.against_check_aof("index", _SCAN + "measured(lambda: log.index().rows)", 15 if compiled else 1),
        bench.columns(3 if compiled else 0.5),
        bench.against_check_aof("triage", _SCAN + "measured(lambda: log.triage().commands)", 2 if compiled else 0.5),
        bench.against_check_aof("check", _SCAN + "measured(lambda: log.check().commands)", 1.5 if compiled else 0.4),
        bench.against_check_aof(
            "waste", _SCAN + "measured(lambda: (log.waste(), len(log))[1])", 0.5 if compiled else 0.2
        ),
        bench.against_check_aof(
            "times", _SCAN + "measured(lambda: (log.times(), len(log))[1])", 0.6 if compiled else 0.2
        ),
        bench.alone(
            "read_aof, all default columns",
            "measured(lambda: (lambda f: f'{len(f)} {f.memory_usage().sum() / len(f):.0f}')(aofnb.read_aof(path)))",
            "bytes of frame a command (goal 64)",
        ),
        bench.alone(
            "chunks of 100,000 rows",
            "measured(lambda: sum(len(f) for f in aofnb.read_aof(path, chunksize=100_000)))",
        ),
        bench.alone(
            "DuckDB over the stream",
            _SCAN
            + "measured(lambda: log.sql('select cmd, count(*) n, sum(nbytes) b from log group by 1').n.sum().item())",
        ),
        bench.alone("Parquet", _SCAN + "measured(lambda: log.to_parquet(scratch + '/log.parquet'))"),
        bench.alone(
            "history of a key, nothing known yet",
            _SCAN + "measured(lambda: (log.history('user:1234'), len(log))[1])",
        ),
        bench.quick_answer("history of a key, indexed", "len(log.history('{key}'))", 0.050),
        bench.quick_answer("get of a key at a position, indexed", "log.get('{key}', at=len(log) // 2)", 0.100),
        bench.alone("triage", _SCAN + "measured(lambda: log.triage().commands)"),
        bench.alone("times of all rows, estimated", _SCAN + "measured(lambda: (log.times(), log.index().rows)[1])"),
        bench.alone(
            "the state at the end, nothing known yet",
            _SCAN + "measured(lambda: (log.at('end').execute('DBSIZE') > 0) * log.index().rows)",
        ),
        bench.quick_answer(
            "the state at a position, after a first pass",
            "log.at(len(log) * 6 // 10).execute('DBSIZE')",
            2.0,
            warm="log.at('end').execute('DBSIZE')",
        ),
        bench.alone(
            "anonymize, not loaded again",
            _NEW + _SCAN + "measured(lambda: log.anonymize(dest, secret=b'0123456789abcdef', verify=False).commands)",
        ),
        bench.salvage(),
        bench.base(0.5 if compiled else 0.1),
    ]


class _Bench:
    def __init__(self, path: Path, scratch: Path, rows: int, rounds: int) -> None:
        self._path, self._scratch, self._rows, self._rounds = path, scratch, rows, rounds
        self._nbytes = path.stat().st_size

    def against_check_aof(self, name: str, code: str, goal: float) -> Case:
        ours, theirs, memory = float("inf"), float("inf"), 0
        for _ in range(self._rounds):
            seconds, memory, answer = self._python(code)
            assert int(answer) == self._rows
            ours, theirs = min(ours, seconds), min(theirs, self._check("redis-check-aof", self._path))
        return self._case(name, {"aofnb": ours, "redis-check-aof": theirs}, memory, ("redis-check-aof", goal))

    def columns(self, goal: float) -> Case:
        """The core columns against what people write themselves; all count the same commands."""
        rivals = {
            "aofnb": f"measured(lambda: len(aofnb.read_aof(path, {_CORE})))",
            "plain Python, no frame": _PLAIN_PYTHON,
        }
        if importlib.util.find_spec("hiredis") is not None:
            rivals["hiredis to lists, no frame"] = _HIREDIS
        best, memory = dict.fromkeys(rivals, float("inf")), 0
        for _ in range(self._rounds):
            for name, code in rivals.items():
                seconds, used, answer = self._python(code)
                assert int(answer) == self._rows, f"{name} read {answer} commands of {self._rows}"
                best[name] = min(best[name], seconds)
                memory = used if name == "aofnb" else memory
        return self._case("read_aof, core columns", best, memory, ("plain Python, no frame", goal))

    def alone(self, name: str, code: str, said: str = "") -> Case:
        best, memory, answer = float("inf"), 0, ""
        for _ in range(self._rounds):
            seconds, memory, answer = self._python(code)
            assert int(answer.split()[0]) == self._rows
            best = min(best, seconds)
        case = self._case(name, {"aofnb": best}, memory, None)
        if said:
            case.notes.append(f"{answer.split()[1]} {said}")
        return case

    def base(self, goal: float) -> Case:
        """The rows of a snapshot of what the log leaves, as it stands in front of the log of any newer server."""
        base = self._scratch / "base.rdb"
        with base.open("wb") as file:
            write_rdb(file, aofnb.scan(self._path, cache_dir=False).at("end").engine.keyspace)
        code = (
            "log = aofnb.scan(scratch + '/base.rdb', cache_dir=False)\n"
            "measured(lambda: len(log.to_pandas(columns=['offset', 'nbytes', 'cmd', 'key'])))"
        )
        ours, theirs, memory, rows = float("inf"), float("inf"), 0, 0
        for _ in range(self._rounds):
            seconds, memory, answer = self._python(code)
            ours, rows = min(ours, seconds), int(answer)
            theirs = min(theirs, self._check("redis-check-rdb", base))
        nbytes = base.stat().st_size
        title = f"rows of a base ({nbytes / _MB:.0f} MB, {rows:,} rows), by CPU time"
        rates = {"aofnb": nbytes / ours, "redis-check-rdb": nbytes / theirs}
        notes = [f"{memory / _MB:.0f} MB anonymous memory at most"]
        return Case(title, "bytes", rates, ("redis-check-rdb", goal), notes)

    def quick_answer(self, name: str, code: str, goal_s: float, warm: str = "") -> Case:
        best = float("inf")
        # The first answer of a process also waits for what has to be imported.
        warm, asked = warm or code.format(key="profile:1"), code.format(key="profile:77")
        for _ in range(self._rounds):
            best = min(best, self._python(f"{_KEPT}{warm}\nmeasured(lambda: {asked})")[0])
        verdict = "reached" if best <= goal_s else "MISSED"
        return Case(name, "answers", {"aofnb": 1 / best}, notes=[f"goal {verdict}: {goal_s * 1000:g} ms"])

    def salvage(self) -> Case:
        """A new log of what is left where ten blocks of 4 KiB in each 100 MB are zeros."""
        rng = random.Random(1)
        blocks = self._nbytes // 4096
        damaged = self._scratch / "damaged.aof"
        shutil.copyfile(self._path, damaged)
        with damaged.open("r+b") as file:
            for block in rng.sample(range(1, blocks), max(blocks * 4096 // 10_000_000, 1)):
                file.seek(block * 4096)
                file.write(bytes(4096))
        code = (
            _NEW + "log = aofnb.scan(scratch + '/damaged.aof', cache_dir=False)\n"
            "measured(lambda: log.salvage(dest, dry_run=False, verify=False).kept)"
        )
        best, memory, kept = float("inf"), 0, 0
        for _ in range(self._rounds):
            seconds, memory, answer = self._python(code)
            best, kept = min(best, seconds), int(answer)
        share = kept / self._rows
        assert 0.99 < share < 1.0
        case = self._case("salvage, zeroed blocks", {"aofnb": best}, memory, None)
        case.notes.append(
            f"goal {'reached' if share >= 0.999 else 'MISSED'}: 99.9 % of the commands kept, {share:.3%} is"
        )
        return case

    def _case(self, name: str, seconds: dict[str, float], memory: int, goal: tuple[str, float] | None) -> Case:
        rates = {who: self._nbytes / each for who, each in seconds.items()}
        title = f"{name} ({self._nbytes / _MB:.0f} MB, {self._rows:,} commands), by CPU time"
        return Case(title, "bytes", rates, goal, [f"{memory / _MB:.0f} MB anonymous memory at most"])

    def _python(self, code: str) -> tuple[float, int, str]:
        command = [sys.executable, "-c", _BEGIN + code, str(self._path), str(self._scratch)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        seconds, memory, answer = said.split(" ", 2)
        return float(seconds), int(memory), answer

    def _check(self, tool: str, path: Path) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([tool, str(path)], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
