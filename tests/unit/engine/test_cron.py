"""aofnb/engine/cron.py: the periodic job goes on, whatever it meets, and ends when it is told to."""

from __future__ import annotations

import threading

from aofnb.clock import SystemClock
from aofnb.engine import cron as cron_module
from aofnb.engine.cron import Cron


def test_a_tick_that_fails_is_told_and_followed_by_others(monkeypatch, caplog):
    """Otherwise one failure would end the fsyncs of everysec."""
    monkeypatch.setattr(cron_module, "RETRY_S", 0.001)
    ticks = []
    third = threading.Event()

    def tick():
        ticks.append(1)
        if len(ticks) == 3:
            third.set()
            return
        raise RuntimeError("out of luck")

    cron = Cron(SystemClock(), tick)
    cron.start()
    assert third.wait(20)
    assert caplog.text.count("out of luck") >= 2
    cron.stop()
    assert not any(thread.name == "aofnb-cron" for thread in threading.enumerate())


def test_a_sleeping_job_is_woken_once_and_ended_at_once():
    ticked = threading.Event()
    cron = Cron(SystemClock(), ticked.set)
    cron.start()
    assert ticked.wait(20)
    ticked.clear()
    cron.wake()
    assert ticked.wait(20)
    cron.stop()
    cron.start_and_wake()
    assert cron._thread is None, "what was stopped stays so"
