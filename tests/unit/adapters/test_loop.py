"""The event loop: told what is ready, woken by others, harmed by nobody."""

from __future__ import annotations

import logging
import select
import selectors
import socket
import threading

import pytest

from aofnb.adapters.loop import Loop
from aofnb.clock import FakeClock, SystemClock


@pytest.fixture(params=["as here", "without epoll"], autouse=True)
def system(request, monkeypatch):
    """What the system has to watch sockets with."""
    if request.param == "without epoll":
        monkeypatch.delattr(select, "epoll", raising=False)


class Watcher:
    """Notes what it is told, and does what a test wants done then."""

    def __init__(self, on_readable=lambda: None):
        self.told = []
        self._on_readable = on_readable

    def readable(self):
        self.told.append("readable")
        self._on_readable()

    def writable(self):
        self.told.append("writable")

    def fault(self):
        self.told.append("fault")


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def loop_of(after_events, clock=None, tick=lambda: None):
    return Loop(clock or SystemClock(), tick, after_events, logging.getLogger("aofnb.server"))


def rounds(count, loop):
    """After so many rounds the loop ends."""
    left = iter(range(count))

    def after_events():
        if next(left, None) == count - 1:
            loop[0].stop()
        return True

    return after_events


def test_what_was_not_read_is_told_again(pair):
    ours, theirs = pair
    holder = []
    holder.append(loop_of(rounds(3, holder)))
    loop, watcher = holder[0], Watcher()
    loop.watch(ours, watcher, reads=True)
    theirs.send(b"x")
    loop.run()
    assert watcher.told == ["readable"] * 3
    loop.watch(ours, watcher, reads=True, writes=True)
    loop.close()


def test_only_what_is_asked_for_is_told(pair):
    ours, theirs = pair
    theirs.send(b"x")
    for wanted, told in (
        ({"writes": True}, ["writable"]),
        ({"reads": True, "writes": True}, ["writable", "readable"]),
        ({}, []),
    ):
        holder = []
        holder.append(loop_of(rounds(1, holder)))
        loop, watcher = holder[0], Watcher()
        # Asked for otherwise before: what is said last counts.
        loop.watch(ours, watcher, reads=True)
        loop.watch(ours, watcher, **wanted)
        loop.wake()
        loop.run()
        assert watcher.told == told
        loop.close()


def test_who_hung_up_is_told_to_whoever_asked_for_anything():
    for wanted, told in (
        ({"writes": True}, ["writable"]),
        ({"reads": True}, ["readable"]),
        ({"reads": True, "writes": True}, ["writable", "readable"]),
    ):
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        holder = []
        holder.append(loop_of(rounds(1, holder)))
        loop, watcher = holder[0], Watcher()
        with ours:
            loop.watch(ours, watcher, **wanted)
            theirs.close()
            loop.run()
            loop.watch(ours, watcher)
        assert watcher.told == told
        loop.close()


def test_who_is_watched_no_more_in_the_same_round_is_not_told(pair):
    ours, theirs = pair
    holder = []
    holder.append(loop_of(rounds(1, holder)))
    loop = holder[0]
    first = Watcher(lambda: (loop.watch(ours, first), loop.watch(theirs, first)))
    loop.watch(ours, first, reads=True)
    loop.watch(theirs, first, reads=True)
    ours.send(b"x")
    theirs.send(b"x")
    loop.run()
    assert first.told == ["readable"]
    loop.close()


def test_another_thread_wakes_and_stops_it():
    woken = threading.Event()
    loop = loop_of(lambda: woken.set() or False, FakeClock())
    thread = threading.Thread(target=loop.run)
    thread.start()
    for _ in range(3):
        woken.clear()
        loop.wake()
        assert woken.wait(20)
    # However often it is woken, nobody waits for it to notice.
    for _ in range(100_000):
        loop.wake()
    loop.stop()
    thread.join(20)
    assert not thread.is_alive()
    loop.close()
    loop.wake()


def test_a_stop_that_comes_first_is_not_lost():
    loop = loop_of(lambda: False)
    loop.stop()
    loop.run()
    loop.close()


def test_a_fault_ends_only_whose_it_is(pair):
    ours, theirs = pair
    holder = []
    holder.append(loop_of(rounds(2, holder)))
    loop = holder[0]

    def fail():
        raise RuntimeError("a fault of ours")

    bad, good = Watcher(fail), Watcher()
    loop.watch(ours, bad, reads=True)
    loop.watch(theirs, good, writes=True)
    theirs.send(b"x")
    loop.run()
    assert bad.told == ["readable", "fault"] * 2
    assert good.told == ["writable"] * 2
    loop.close()


def test_a_tick_comes_with_each_second():
    clock, ticks, left = FakeClock(), [], iter(range(10))

    def after_events():
        if next(left, None) is None:
            loop.stop()
        clock.advance(0.25)
        return True

    loop = loop_of(after_events, clock, lambda: ticks.append(clock.monotonic()))
    began_s = clock.monotonic()
    loop.wake()
    loop.run()
    assert ticks == [began_s + 1, began_s + 2]
    loop.close()


def test_where_there_is_only_select_it_says_how_many_it_can_watch(monkeypatch):
    loop = loop_of(lambda: False)
    assert (loop.capacity is None) == (selectors.DefaultSelector is not selectors.SelectSelector)
    loop.close()
    monkeypatch.delattr(select, "epoll", raising=False)
    monkeypatch.setattr(selectors, "DefaultSelector", selectors.SelectSelector)
    loop = loop_of(lambda: False)
    assert loop.capacity == 500
    loop.close()


def test_a_round_that_fails_is_told_and_followed_by_others(caplog):
    rounds = []

    def after_events():
        rounds.append(1)
        loop.wake()
        if len(rounds) == 3:
            loop.stop()
        raise RuntimeError("a fault of ours")

    loop = loop_of(after_events)
    loop.wake()
    loop.run()
    loop.close()
    assert len(rounds) == 3
    assert caplog.text.count("a round of the server failed") == 3
