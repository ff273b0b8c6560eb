"""Ctrl-C may come between any two lines: nothing acknowledged goes, nothing is half there, memory is what the log says.

A person stops a cell most often inside a command, since that is where its time goes. The interrupt is raised here at
every line (or every few) of the package that a scripted session runs, by way of a trace function.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from support.faults import FaultFs

import aofnb
from aofnb.clock import FakeClock

PACKAGE = str(Path(aofnb.__file__).parent)
COMMANDS = 8


class Interrupter:
    """Raises KeyboardInterrupt at the `at`-th line of the package that runs while it is on."""

    def __init__(self, at: int | None) -> None:
        self.at = at
        self.lines = 0

    def __enter__(self) -> Interrupter:
        self._before = sys.gettrace()
        sys.settrace(self._call)
        return self

    def __exit__(self, *_exc: object) -> None:
        sys.settrace(self._before)

    def _call(self, frame: FrameType, _event: str, _arg: Any) -> Any:
        return self._line if frame.f_code.co_filename.startswith(PACKAGE) else None

    def _line(self, _frame: FrameType, event: str, _arg: Any) -> Any:
        if event == "line":
            self.lines += 1
            if self.lines == self.at:
                raise KeyboardInterrupt
        return self._line


def session(directory: Path, policy: str, at: int | None) -> tuple[list[int], int]:
    """Write transactions, single commands, expiring keys and a rewrite, interrupted at line `at`.

    Returns the numbers acknowledged and how many lines ran.
    """
    clock = FakeClock()
    store = aofnb.open(directory, clock=clock, appendfsync=policy, background=False, auto_aof_rewrite_percentage=0)
    acknowledged = []
    interrupter = Interrupter(at)
    for i in range(1, COMMANDS + 1):
        try:
            with interrupter:
                store.run([("MULTI",), ("RPUSH", "a", i), ("RPUSH", "b", i), ("EXEC",)])
                store.execute("RPUSH", "single", i)
                store.execute("SET", "soon", i, "PX", 500)
                if i == COMMANDS // 2:
                    store.bgrewriteaof()
        except KeyboardInterrupt:
            continue
        acknowledged.append(i)
        clock.advance(0.6)
        store.tick()
    for name in ("a", "b", "single"):
        store.execute("RPUSH", name, "last")
    digest = store.execute("DEBUG", "DIGEST")
    store.close()
    with aofnb.open(directory, clock=clock, background=False) as again:
        assert again.load_report is not None
        assert again.load_report.failed == ()
        assert again.load_report.files.truncated is None
        assert again.execute("DEBUG", "DIGEST") == digest, "memory was not what the log says"
        a, b, single = (again.execute("LRANGE", name, 0, -1) for name in ("a", "b", "single"))
        assert a == b, "half a transaction"
        for items in (a, single):
            assert items[-1] == b"last"
            numbers = [int(item) for item in items[:-1]]
            assert numbers == sorted(set(numbers)), "twice"
            assert set(acknowledged) <= set(numbers), "an acknowledged write is gone"
    return acknowledged, interrupter.lines


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("policy", ["everysec", "always"])
def test_an_interrupt_at_any_line_loses_nothing_and_leaves_nothing_by_half(policy: str, tmp_path: Path) -> None:
    acknowledged, lines = session(tmp_path / "whole", policy, None)
    assert acknowledged == list(range(1, COMMANDS + 1))
    assert lines > 1000
    step = 13 if policy == "everysec" else 37
    for at in range(1, lines, step):
        session(tmp_path / str(at), policy, at)


def test_an_interrupted_store_is_mended_by_the_next_turn_or_by_closing(tmp_path: Path) -> None:
    store = aofnb.open(tmp_path / "data", background=False)
    store.execute("SET", "x", 1)
    client = store.engine.clients
    assert len(client) >= 1

    def interrupted(*_args: object) -> None:
        raise KeyboardInterrupt

    store.engine.writer.feed_one = interrupted
    with pytest.raises(KeyboardInterrupt):
        store.execute("SET", "x", 2)
    del store.engine.writer.feed_one
    assert store.engine.torn
    assert store.execute("INCR", "x") == 2, "the interrupted SET is not there, as after a crash"
    assert not store.engine.torn
    store.close()
    with aofnb.open(tmp_path / "data") as store:
        assert store.execute("GET", "x") == b"2"


def test_an_interrupted_store_is_mended_on_a_full_disk_too(tmp_path: Path) -> None:
    """Nothing has to be written for it, so that what was acknowledged can be read on."""
    fs = FaultFs()
    store = aofnb.open(tmp_path / "data", fs=fs, background=False)
    store.execute("SET", "x", 1)

    def interrupted(*_args: object) -> None:
        raise KeyboardInterrupt

    writer = store.engine.writer
    assert writer is not None
    writer.feed_one = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        store.execute("SET", "x", 2)
    del writer.feed_one
    fs.fail_at, fs.lasting = fs.done, True
    assert store.execute("GET", "x") == b"1"
    assert not store.engine.torn
    store.execute("DEBUG", "LOADAOF")
    assert store.execute("GET", "x") == b"1"
    assert fs.failed == []
    fs.mend()
    store.close()


def test_a_transaction_interrupted_half_way_is_not_there_for_a_reader_either(tmp_path: Path) -> None:
    store = aofnb.open(tmp_path / "data", background=False)
    store.run([("SET", "from", 100), ("SET", "to", 0), ("GET", "to")])
    store.execute("GET", "from")
    batch = [("MULTI",), *[("DECR", "from"), ("INCR", "to")] * 50, ("EXEC",)]
    with pytest.raises(KeyboardInterrupt), Interrupter(2500):
        store.run(batch)
    assert store.execute("GET", "from") == b"100"
    assert store.execute("GET", "to") == b"0"
    store.close()
    with aofnb.open(tmp_path / "data") as store:
        assert store.execute("MGET", "from", "to") == [b"100", b"0"]
