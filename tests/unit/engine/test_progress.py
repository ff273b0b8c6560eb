"""The line that a long load shows."""

from __future__ import annotations

import io
import sys

import aofnb
from aofnb.clock import FakeClock
from aofnb.engine.progress import LoadLine, watched

MIB = 1 << 20


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_short_load_shows_nothing():
    clock, out = FakeClock(), Terminal()
    line = LoadLine(clock, out)
    for done in range(10):
        clock.advance(0.09)
        line(done, 10)
    line.close()
    assert out.getvalue() == ""


def test_a_long_load_shows_how_far_it_is_now_and_then_and_cleans_up():
    clock, out = FakeClock(), Terminal()
    line = LoadLine(clock, out)
    clock.advance(1)
    line(25 * MIB, 100 * MIB)
    line(26 * MIB, 100 * MIB)
    clock.advance(1)
    line(50 * MIB, 100 * MIB)
    first, second = out.getvalue().split("\r")[1:]
    assert first == "loading [" + "#" * 7 + "." * 23 + "]  25 %, 25 of 100 MiB, 3 s left"
    assert second == "loading [" + "#" * 15 + "." * 15 + "]  50 %, 50 of 100 MiB, 2 s left"
    line.close()
    assert out.getvalue().endswith("\r" + " " * len(second) + "\r")


def test_it_shows_where_a_person_watches():
    kernel = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})()
    assert watched(Terminal())
    assert watched(kernel)
    assert not watched(io.StringIO())
    assert not watched(None)


class SlowClock(FakeClock):
    """Each look at it takes a second."""

    def monotonic(self) -> float:
        self.advance(1)
        return super().monotonic()


def test_opening_shows_it_by_itself_unless_told_otherwise(tmp_path, monkeypatch):
    with aofnb.open(tmp_path) as store:
        store.execute("SET", "k", "v")
    out = Terminal()
    monkeypatch.setattr(sys, "stderr", out)
    aofnb.open(tmp_path, readonly=True, clock=SlowClock(), progress=False).close()
    aofnb.open(tmp_path, readonly=True, clock=SlowClock(), progress=lambda done, total: None).close()
    assert out.getvalue() == ""
    aofnb.open(tmp_path, readonly=True, clock=SlowClock()).close()
    assert "loading [" in out.getvalue()
    assert out.getvalue().endswith(" \r")
