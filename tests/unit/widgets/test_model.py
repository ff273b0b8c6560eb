"""The model of the dashboard: what a picture shows, from hand-made counters."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.stats import stats

from aofnb.aof.stats import RewriteProgress
from aofnb.widgets.model import EVENTS, MINUTE_S, AutoRewrite, Minute, Recorder, View, events_between


def view(**counters):
    return View(name="x", stats=stats(**counters))


@pytest.mark.parametrize(
    ("counters", "health"),
    [
        ({}, "safe"),
        ({"unsynced_bytes": 1}, "risk"),
        ({"aof_buf_bytes": 1}, "risk"),
        ({"unsynced_bytes": 1, "fsync_lag_s": 2.5}, "late"),
        ({"unsynced_bytes": 1, "fsync_lag_s": 2.5, "appendfsync": "no"}, "risk"),
        ({"write_error": "No space left on device"}, "error"),
        ({"aof_enabled": False, "write_error": "x"}, "off"),
    ],
)
def test_health_is_one_word_for_the_worst_that_is_so(counters, health):
    assert view(**counters).health == health


def test_stages_hold_each_byte_and_command_once():
    shown = view(
        aof_buf_bytes=1, aof_buf_commands=10, unsynced_bytes=2, unsynced_commands=20, synced_bytes=4, synced_commands=40
    )
    assert [(stage.nbytes, stage.commands) for stage in shown.stages] == [(1, 10), (2, 20), (4, 40)]
    assert shown.stats.at_risk_bytes == 3
    assert shown.at_risk_commands == 30


@given(base=st.integers(0, 2**62), percentage=st.integers(0, 2**31 - 1), min_size=st.integers(0, 2**62))
def test_due_size_is_the_first_size_at_which_the_server_rewrites(base, percentage, min_size):
    """Redis, serverCron: current > min_size and (current * 100 / base) - 100 >= percentage."""

    def server_rewrites(current):
        return current > min_size and current * 100 // (base or 1) - 100 >= percentage

    due = AutoRewrite(percentage, min_size).due_size(base)
    if percentage == 0:
        assert due is None
    else:
        assert server_rewrites(due)
        assert not server_rewrites(due - 1)


def test_no_due_size_without_the_settings():
    assert view().rewrite_due_size is None


@pytest.mark.parametrize(("done", "total", "fraction"), [(0, 0, 0.0), (5, 10, 0.5), (20, 10, 1.0), (1, 0, 0.0)])
def test_rewrite_fraction_stays_between_none_and_all(done, total, fraction):
    running = RewriteProgress(phase="writing", keys_done=done, keys_total=total)
    assert view(rewrite=running).rewrite_fraction == fraction


class TestMinute:
    def test_keeps_the_peak_of_each_second(self):
        minute = Minute()
        for now_s, value in [(10.0, 1), (10.25, 7), (10.5, 2), (11.0, 3)]:
            minute.add(now_s, value)
        assert minute.series() == ((1, 7), (0, 3))

    def test_seconds_without_a_sample_are_absent(self):
        minute = Minute()
        minute.add(10, 1)
        minute.add(30, 2)
        assert minute.series() == ((20, 1), (0, 2))

    def test_is_empty_at_first(self):
        assert Minute().series() == ()

    @given(st.lists(st.floats(0, 10), max_size=300))
    def test_never_holds_more_than_a_minute(self, steps):
        minute, now_s = Minute(), 0.0
        for step in steps:
            now_s += step
            minute.add(now_s, step)
        ages = [age for age, _ in minute.series()]
        assert ages == sorted(ages, reverse=True)
        assert len(set(ages)) == len(ages)
        assert all(0 <= age < MINUTE_S for age in ages)


WRITING = RewriteProgress(phase="writing", keys_done=1, keys_total=2)


@pytest.mark.parametrize(
    ("before", "after", "events"),
    [
        ({}, {}, []),
        ({}, {"unsynced_bytes": 5, "fsyncs": 9}, []),
        ({}, {"appendfsync": "always"}, ["appendfsync: everysec to always"]),
        ({}, {"aof_enabled": False}, ["the log was turned off"]),
        ({}, {"write_error": "No space left on device"}, ["No space left on device"]),
        ({"write_error": "No space left on device"}, {}, ["writing works again"]),
        ({}, {"delayed_fsync": 2}, ["a write waited behind a slow fsync (2 so far)"]),
        ({}, {"rewrite": WRITING}, ["rewrite started"]),
        ({"rewrite": WRITING}, {"last_rewrite_duration_s": 0.5}, ["rewrite done in 0.50 s"]),
        ({"rewrite": WRITING}, {"last_rewrite_ok": False}, ["rewrite failed; the old files are still in use"]),
        (
            {"rewrite": WRITING},
            {"last_rewrite_error": "stopped"},
            ["rewrite cancelled; the old files are still in use"],
        ),
        # It is counted when it begins, and has its duration a moment before it is over.
        ({}, {"rewrites": 1}, []),
        ({"rewrite": WRITING}, {"last_rewrite_duration_s": 0.5, "rewrite": WRITING}, []),
        # One that began and ended between two samples.
        ({}, {"rewrites": 1, "last_rewrite_duration_s": 0.5}, ["rewrite done in 0.50 s"]),
    ],
)
def test_events_between(before, after, events):
    assert events_between(stats(**before), stats(**after)) == events


class TestRecorder:
    def test_events_are_newest_first_and_few(self):
        recorder = Recorder("x")
        for number in range(10):
            recorder.note(number, f"event {number}")
        shown = recorder.add(stats(), 0.0, 0)
        assert [event.text for event in shown.events] == [f"event {9 - number}" for number in range(EVENTS)]

    def test_rate_counts_commands_wherever_they_are(self):
        recorder = Recorder("x")
        recorder.add(stats(synced_commands=100), 10.0, 0)
        shown = recorder.add(stats(synced_commands=120, unsynced_commands=20, aof_buf_commands=10), 12.0, 0)
        assert shown.rate == ((0, 25.0),)
        assert shown.rate_now == 25.0
        quiet = recorder.add(shown.stats, 12.25, 0)
        assert (quiet.rate, quiet.rate_now) == (((0, 25.0),), 0.0)

    def test_rate_is_not_negative_when_the_log_was_opened_anew(self):
        recorder = Recorder("x")
        recorder.add(stats(synced_commands=100), 10.0, 0)
        assert recorder.add(stats(), 11.0, 0).rate == ((0, 0.0),)

    def test_two_samples_at_one_instant_give_no_rate(self):
        recorder = Recorder("x")
        recorder.add(stats(), 10.0, 0)
        assert recorder.add(stats(synced_commands=5), 10.0, 0).rate == ()

    def test_the_peak_of_aof_buf_is_drawn_though_it_is_empty_now(self):
        shown = Recorder("x").add(stats(aof_buf_peak_bytes=25_000), 1.0, 0)
        assert shown.buffered == ((0, 25_000),)

    def test_a_view_does_not_change_with_later_samples(self):
        recorder = Recorder("x")
        first = recorder.add(stats(), 1.0, 0)
        kept = dataclasses.replace(first)
        recorder.note(1, "later")
        recorder.add(stats(unsynced_bytes=9), 2.0, 1000)
        assert first == kept
