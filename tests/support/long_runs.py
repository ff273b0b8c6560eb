"""The state machine run on us and on a real server in step: replies, data and logs compared."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from support.machine import ALL_KEYS, LEX_KEYS, Machine
from support.random_runs import UNORDERED, in_any_order
from support.records import records
from support.server import redis_server
from support.transcripts import plain

import aofnb

__all__ = ["SETTINGS", "Difference", "Report", "run", "told"]

# Small limits, so that every value meets both of its forms; by seed, in turn.
SETTINGS: tuple[dict[str, int], ...] = (
    {},
    {"hash_max_listpack_entries": 4, "set_max_intset_entries": 3, "zset_max_listpack_entries": 4,
     "list_max_listpack_size": 2, "stream_node_max_entries": 3, "hll_sparse_max_bytes": 30},
    {"hash_max_listpack_value": 8, "zset_max_listpack_value": 8, "stream_node_max_bytes": 64},
)  # fmt: skip
# Their replies hold times of the clock, or what went by since.
_TIMED = {"PTTL", "TTL", "EXPIRETIME", "PEXPIRETIME", "XPENDING", "XINFO", "EXEC", "XREADGROUP"}
_TIMED_MS = 120_000
_INSTANT = re.compile(rb"[1-9]\d{12}")
_KEYS = frozenset(key.encode() for key in (*ALL_KEYS, *LEX_KEYS))
_WHOLE = {b"MULTI", b"EXEC", b"DISCARD", b"SELECT", b"SWAPDB"}
_COMPARE_EVERY = 500
# What the server says to a SORT by numbers in order, if one in a command before was out of range: it does not set errno
# to 0 before strtod(). From there on both may hold other data.
_STALE = "(ERR One or more scores can't be converted into double)"
# A deadline of three milliseconds goes by on both.
_MOMENT_S = 0.006
_DIFFERENCES_KEPT = 3


@dataclass
class Difference:
    """One reply, or one digest, that was not the same; `before` are the commands that led to it."""

    argv: list[bytes]
    ours: Any
    theirs: Any
    before: list[list[bytes]]

    def __str__(self) -> str:
        told = "\n".join(f"      {argv}" for argv in self.before)
        return f"{self.argv}\n   aofnb        {self.ours!r}\n   redis-server {self.theirs!r}\n   after\n{told}"


@dataclass
class Report:
    """What a run found. Of differences of one kind the first few are kept, all are counted."""

    commands: int = 0
    records: int = 0
    seconds: float = 0.0
    kinds: Counter[str] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)

    def add(self, kind: str, difference: Difference) -> None:
        self.kinds[kind] += 1
        if self.kinds[kind] <= _DIFFERENCES_KEPT:
            self.differences.append(difference)


class _Sides:
    """Both stores, and what must be known to compare them."""

    def __init__(self, store: aofnb.Store, server: Any, machine: Machine, report: Report, directory: Path) -> None:
        self.store, self.server, self.machine, self.report = store, server, machine, report
        self.queued: list[list[bytes]] | None = None
        self.past: list[list[bytes]] = []
        self.logs = [_incr(directory / side) for side in ("us", "redis")]
        self.grown = [0, 0]

    def step(self, argv: list[bytes], deep: bool = False) -> None:
        """One command on both; if `deep`, and what it left at each of its keys."""
        self._step(argv)
        if deep and argv and self.queued is None:
            for key in _KEYS.intersection(argv):
                self._step([b"OBJECT", b"ENCODING", key])

    def _step(self, argv: list[bytes]) -> None:
        if not argv:
            time.sleep(_MOMENT_S)
            return
        theirs = _reply(self.server.execute, argv)
        ours = _reply(self.store.execute, argv)
        self.report.commands += 1
        name = argv[0].upper()
        if name == b"DUMP" and ours and theirs and self.queued is None and len(argv) == 2:
            # The order of members may differ, and what both make of either must not.
            self.machine.dumps = [*self.machine.dumps[-6:], ours, theirs]
            return
        if not self._same(argv, ours, theirs):
            if name == b"EXEC" and self.queued and isinstance(ours, list) and isinstance(theirs, list):
                wrong = [row for row in zip(self.queued, ours, theirs, strict=False) if not _same_reply(*row)]
                argv, ours, theirs = wrong[0] if wrong else (argv, ours, theirs)
                name = argv[0].upper()
            if name.startswith(b"SORT") and theirs == _STALE and not isinstance(ours, str):
                self.start_over()
                return
            self.report.add(
                f"{name.decode('latin-1')}: {_kind(ours)} for {_kind(theirs)}",
                Difference(argv, ours, theirs, self._about(argv)),
            )
            self.start_over()
            return
        grown = self._growth()
        if grown[0] != grown[1]:
            self.report.add(f"{name.decode('latin-1')}: bytes logged", Difference(argv, *grown, self._about(argv)))
            self.start_over()
            return
        self.past.append(argv)
        self._follow(name, argv, ours)
        if self.report.commands % _COMPARE_EVERY == 0 and self.queued is None:
            self.compare_data()

    def _about(self, argv: list[bytes]) -> list[list[bytes]]:
        """The last commands before that had to do with the same keys, or with more than keys."""
        keys = _KEYS.intersection(argv)
        return [past for past in self.past if keys.intersection(past) or past[0].upper() in _WHOLE][-15:]

    def _same(self, argv: list[bytes], ours: Any, theirs: Any) -> bool:
        if ours == theirs:
            return True
        if argv[0].upper() == b"EXEC" and self.queued is not None and isinstance(ours, list):
            return (
                isinstance(theirs, list)
                and len(ours) == len(theirs)
                and all(map(_same_reply, self.queued, ours, theirs))
            )
        return _same_reply(argv, ours, theirs)

    def _growth(self) -> list[int]:
        """By how many bytes each log grew since last asked."""
        sizes = [path.stat().st_size for path in self.logs]
        grown = [size - before for size, before in zip(sizes, self.grown, strict=True)]
        self.grown = sizes
        return grown

    def _follow(self, name: bytes, argv: list[bytes], reply: Any) -> None:
        if name == b"MULTI" and reply == b"OK":
            self.queued = []
        elif name in (b"EXEC", b"DISCARD") and self.queued is not None:
            if not (isinstance(reply, str) and reply.startswith("(ERR wrong number") and name == b"DISCARD"):
                if any(queued[0] == b"PEXPIRE" and queued[2:] == [b"3"] for queued in self.queued):
                    time.sleep(_MOMENT_S)
                self.queued = None
        elif self.queued is not None and reply == b"QUEUED":
            self.queued.append(argv)

    def compare_data(self) -> None:
        """The digests of all databases."""
        ours, theirs = (_reply(side.execute, [b"DEBUG", b"DIGEST"]) for side in (self.store, self.server))
        if ours != theirs:
            self.report.add("data", Difference([b"DEBUG", b"DIGEST"], ours, theirs, self.past[-_COMPARE_EVERY:]))
            self.start_over()

    def start_over(self) -> None:
        """Empty both: what differed once would differ for ever."""
        for side in (self.store, self.server):
            for argv in ([b"DISCARD"], [b"UNWATCH"], [b"SELECT", b"0"], [b"FUNCTION", b"FLUSH"], [b"FLUSHALL"]):
                _reply(side.execute, argv)
        self.past.clear()
        self.queued = None
        self._growth()


def run(
    directory: Path,
    seed: int,
    count: int,
    progress: Callable[[Report], None] = lambda _report: None,
    *,
    deep: bool = False,
) -> Report:
    """Run `count` commands of a seed, and compare everything that can be; if `deep`, encodings after each as well."""
    settings: dict[str, Any] = {"appendfsync": "no", "auto_aof_rewrite_percentage": 0, **SETTINGS[seed % len(SETTINGS)]}
    report, machine = Report(), Machine(seed)
    started = time.monotonic()
    with (
        redis_server(directory / "redis", **{name: str(value) for name, value in settings.items()}) as server,
        aofnb.open(directory / "us", background=False, seed=seed, **settings) as store,
    ):
        sides = _Sides(store, server, machine, report, directory)
        for side in (store, server):
            side.execute("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        for argv in machine.commands(count):
            sides.step(argv, deep)
            if report.commands % 10_000 == 0:
                progress(report)
        sides.store.execute("DISCARD") if sides.queued is not None else None
        _reply(server.execute, [b"DISCARD"])
        sides.compare_data()
        written = server.incr
    (incr,) = (directory / "us" / "appendonlydir").glob("*.incr.aof")
    _compare_logs(report, incr.read_bytes(), written)
    report.seconds = time.monotonic() - started
    return report


def _incr(directory: Path) -> Path:
    (path,) = (directory / "appendonlydir").glob("*.incr.aof")
    return path


def _compare_logs(report: Report, ours: bytes, theirs: bytes) -> None:
    """Record by record; instants of the clock may lie a little apart, and nothing else."""
    mine, real = _settled(records(ours)), _settled(records(theirs))
    report.records = len(real)
    if report.differences:
        # One side did more than the other.
        return
    for number, (a, b) in enumerate(zip(mine, real, strict=False)):
        if a != b and not (len(a) == len(b) and all(map(_same_argument, a, b))):
            before = [list(record) for record in real[max(0, number - 10) : number]]
            report.add("log", Difference([b"record %d" % number], a, b, before))
            return
    if len(mine) != len(real):
        report.add("log", Difference([b"number of records"], len(mine), len(real), []))


def _settled(log: list[list[bytes]]) -> list[list[bytes]]:
    """`log` with DELs that follow one another in one order: SCAN meets overdue keys in that of the hash table."""
    rows: list[list[bytes]] = []
    for is_del, group in groupby(log, key=lambda record: record[0] == b"DEL" and len(record) == 2):
        run_of = list(group)
        rows += sorted(run_of) if is_del else run_of
    return rows


def _same_argument(ours: bytes, theirs: bytes) -> bool:
    if ours == theirs:
        return True
    both = _INSTANT.fullmatch(ours) and _INSTANT.fullmatch(theirs)
    return bool(both) and abs(int(ours) - int(theirs)) < _TIMED_MS


def _reply(execute: Callable[..., Any], argv: list[bytes]) -> Any:
    try:
        return plain(execute(*argv))
    except aofnb.ReplyError as problem:
        return plain(problem)


def _same_reply(argv: list[bytes], ours: Any, theirs: Any) -> bool:
    name = argv[0].upper().decode("latin-1")
    if ours == theirs:
        return True
    if name in ("EVAL", "EVAL_RO") and isinstance(ours, list) and isinstance(theirs, list):
        return sorted(map(repr, ours)) == sorted(map(repr, theirs))
    if name == "OBJECT" and (ours, theirs) == (b"int", b"embstr"):
        return True  # a whole number that INCRBYFLOAT left, see `object_encoding`
    if name == "DUMP" and isinstance(ours, bytes) and isinstance(theirs, bytes):
        return True
    if name == "SCAN" or name in UNORDERED:
        words = [arg.decode("latin-1") for arg in argv]
        return bool(in_any_order(words, ours) == in_any_order(words, theirs))
    return name in _TIMED and _near(ours, theirs)


def _near(ours: Any, theirs: Any) -> bool:
    """The same but for numbers, which may be some time apart."""
    if isinstance(ours, int) and isinstance(theirs, int):
        return abs(ours - theirs) < _TIMED_MS
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(_near, ours, theirs))
    return bool(ours == theirs)


def _kind(reply: Any) -> str:
    return reply[:60] if isinstance(reply, str) else type(reply).__name__


def told(report: Report) -> Iterator[str]:
    """Lines for a person."""
    yield f"{report.commands} commands, {report.records} records in {report.seconds:.0f} s"
    for kind, count in report.kinds.most_common():
        yield f"  {count:6} x {kind}"
    yield from map(str, report.differences)
