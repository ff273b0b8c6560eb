"""A log may end anywhere: each prefix loads to whole units, is cut there, and goes on from there."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.records import records

import aofnb
from aofnb.clock import FakeClock

MANIFEST = b"file appendonly.aof.1.incr.aof seq 1 type i\n"


def unit_borders(log: bytes) -> list[int]:
    """Where a log may end: after each record and annotation outside MULTI, and after each EXEC."""
    borders = [0]
    open_multi = False
    at = 0
    while at < len(log):
        end = at
        if log[at : at + 1] == b"#":
            at = log.index(b"\r\n", at) + 2
            if not open_multi:
                borders.append(at)
            continue
        while True:
            end = log.index(b"\r\n", end) + 2
            try:
                found = records(log[at:end])
            except (AssertionError, ValueError, IndexError):
                continue
            if len(found) == 1 and log[at:end].count(b"\r\n") >= 1 + 2 * len(found[0]):
                break
        open_multi = (open_multi or found[0] == [b"MULTI"]) and found[0] != [b"EXEC"]
        at = end
        if not open_multi:
            borders.append(at)
    return borders


@pytest.fixture
def log(tmp_path: Path) -> bytes:
    """A log with two databases, annotations, transactions, expiry, and values that look like records."""
    clock = FakeClock()
    with aofnb.open(tmp_path / "made", clock=clock, background=False, aof_timestamp_enabled=True) as store:
        store.execute("RPUSH", "log", 1)
        store.run([("MULTI",), ("RPUSH", "log", 2), ("SET", "x", "*1\r\n$4\r\nEXEC\r\n"), ("EXEC",)])
        clock.advance(2)
        store.execute("RPUSH", "log", 3)
        store.run([("SELECT", 3), ("SET", "other", b"\x00\xff\r\n"), ("SELECT", 0)])
        store.execute("SET", "t", "v", "EX", 100)
        clock.advance(2)
        store.run([("MULTI",), ("RPUSH", "log", 4), ("INCR", "n"), ("EXEC",)])
        store.execute("RPUSH", "log", 5)
    return (tmp_path / "made" / "appendonlydir" / "appendonly.aof.1.incr.aof").read_bytes()


@pytest.mark.slow
def test_every_prefix_loads_to_whole_units_and_goes_on(log: bytes, tmp_path: Path) -> None:
    borders = unit_borders(log)
    assert borders[-1] == len(log)
    aof = tmp_path / "data" / "appendonlydir"
    aof.mkdir(parents=True)
    incr = aof / "appendonly.aof.1.incr.aof"
    (aof / "appendonly.aof.manifest").write_bytes(MANIFEST)
    clock = FakeClock()
    for length in range(len(log) + 1):
        incr.write_bytes(log[:length])
        kept = max(border for border in borders if border <= length)
        with aofnb.open(tmp_path / "data", clock=clock, background=False) as store:
            items = store.execute("LRANGE", "log", 0, -1)
            assert items == [b"%d" % i for i in range(1, len(items) + 1)]
            assert (b"2" in items) == (store.execute("EXISTS", "x") == 1), "half a transaction"
            assert (b"4" in items) == (store.execute("EXISTS", "n") == 1), "half a transaction"
            whole = [argv for argv in records(log[:kept]) if argv[:2] == [b"RPUSH", b"log"]]
            assert len(items) == len(whole), f"prefix of {length} bytes, {kept} of them whole"
            store.execute("RPUSH", "log", len(items) + 1)
        after = incr.read_bytes()
        assert after.startswith(log[:kept])
        assert [argv for argv in records(after) if argv[0] == b"RPUSH"][-1][-1] == b"%d" % (len(items) + 1)


def test_every_prefix_is_refused_or_whole_when_it_may_not_be_cut(log: bytes, tmp_path: Path) -> None:
    borders = set(unit_borders(log))
    aof = tmp_path / "data" / "appendonlydir"
    aof.mkdir(parents=True)
    (aof / "appendonly.aof.manifest").write_bytes(MANIFEST)
    for length in range(0, len(log) + 1, 3):
        (aof / "appendonly.aof.1.incr.aof").write_bytes(log[:length])
        try:
            aofnb.open(tmp_path / "data", readonly=True, aof_load_truncated=False).close()
        except aofnb.AofTruncatedError as problem:
            assert problem.offset in borders
            assert problem.offset < length
            assert (aof / "appendonly.aof.1.incr.aof").read_bytes() == log[:length]
        else:
            kept = max(border for border in borders if border <= length)
            assert log[kept:length].count(b"#") == log[kept:length].count(b"\r\n"), f"{length} was taken as whole"
