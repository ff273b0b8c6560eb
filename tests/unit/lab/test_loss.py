"""Recorded runs, and what crashes of them take: the promises of the policies, counted."""

from __future__ import annotations

import logging
import random
import threading

import pytest
from support.require import need_module

from aofnb.errors import ConfigError
from aofnb.lab import crash_test, record
from aofnb.lab.loss import POLICIES, quiet

SHORT = {"seconds": 12, "rate": 15.0}


class TestRecord:
    @pytest.mark.parametrize("policy", POLICIES)
    def test_every_byte_is_somewhere_at_every_moment(self, policy):
        run = record(policy, **SHORT)
        for moment in run.moments:
            assert moment.fed >= moment.written >= moment.synced
            assert moment.written >= moment.syncing >= moment.synced
            assert moment.issued - 1 <= moment.acknowledged <= moment.issued
        assert [moment.at_ms for moment in run.moments] == sorted(moment.at_ms for moment in run.moments)

    def test_the_policy_decides_about_the_disk_not_about_the_log(self):
        logs = {policy: record(policy, **SHORT).log for policy in POLICIES}
        assert logs["always"] == logs["everysec"] == logs["no"]
        assert logs["no"].count(b"RPUSH") == len(record("no", **SHORT).ends)

    def test_under_always_an_answer_comes_after_the_disk(self):
        run = record("always", **SHORT)
        assert all(run.commands(moment.synced) >= moment.acknowledged for moment in run.moments)

    def test_a_slow_disk_makes_always_slow(self):
        fast, slow = record("always", fsync_ms=1, **SHORT), record("always", fsync_ms=500, **SHORT)
        assert len(slow.ends) <= 12 * 2 + 1 < len(fast.ends)

    def test_a_slow_disk_keeps_everysec_waiting_in_memory(self):
        assert all(moment.fed == moment.written for moment in record("everysec", fsync_ms=1, **SHORT).moments[5:])
        assert any(moment.fed > moment.written for moment in record("everysec", fsync_ms=1500, **SHORT).moments)

    def test_under_no_the_operating_system_writes_back_after_half_a_minute(self):
        run = record("no", seconds=45, rate=5.0)
        assert run.at(29).synced == 0
        assert run.commands(run.at(44).synced) > 100

    @pytest.mark.parametrize(
        "wrong",
        [{"policy": "sometimes"}, {"seconds": 0}, {"rate": -1.0}, {"fsync_ms": 99_999}, {"seconds": 10**9}],
    )
    def test_what_cannot_be_run_is_refused(self, wrong):
        with pytest.raises(ConfigError):
            record(**{"policy": "no", **wrong})


class TestCrash:
    def test_a_kill_takes_what_is_in_aof_buf_and_nothing_else(self):
        run = record("everysec", fsync_ms=1500, **SHORT)
        waiting = next(moment for moment in run.moments if run.commands(moment.fed) > run.commands(moment.written) + 2)
        killed = run.crash(waiting.at_ms / 1000, "kill", random.Random(1))
        assert killed.survived == run.commands(waiting.written)
        assert killed.lost >= 2

    def test_a_power_cut_in_the_middle_of_an_fsync_tears_a_record(self):
        run = record("always", fsync_ms=500, **SHORT)
        torn = [run.crash(at / 10, "power", random.Random(at)) for at in range(20, 60)]
        assert any(outcome.torn for outcome in torn)
        assert all(outcome.lost == 0 for outcome in torn)
        assert all(run.log.find(outcome.torn) >= 0 for outcome in torn)

    def test_says_what_was_lost(self):
        outcome = record("no", **SHORT).crash(10.0, "power", random.Random(1))
        assert str(outcome).startswith(f"power cut at 10.0 s: {outcome.acknowledged} acknowledged, 0 survived, ")
        assert outcome.lost == outcome.acknowledged > 100
        assert 9 < outcome.lost_s <= 10


class TestCrashTest:
    def test_each_policy_keeps_its_promise(self):
        result = crash_test(trials=60, seed=3, seconds=20, rate=15.0)
        summary = result.summary()
        assert summary.loc["always", "most_lost"] == 0
        # A second, and what an fsync and a tick take.
        assert 0 < summary.loc["everysec", "most_lost_s"] <= 1.2
        assert summary.loc["no", "most_lost_s"] > 10

    def test_a_kill_loses_next_to_nothing_on_a_healthy_disk(self):
        summary = crash_test(trials=60, kind="kill", **SHORT).summary()
        # What waits behind an fsync of 20 ms at that very moment.
        assert summary["most_lost"].max() <= 2

    def test_the_same_seed_gives_the_same_numbers(self):
        one, same, other = (crash_test(trials=20, seed=seed, **SHORT) for seed in (1, 1, 2))
        assert one.df.equals(same.df)
        assert repr(one) == repr(same) != repr(other)

    def test_the_frame_has_a_row_for_each_crash(self):
        frame = crash_test(["no", "always"], trials=7, **SHORT).df
        assert frame.groupby("policy", observed=True).size().to_dict() == {"no": 7, "always": 7}
        assert (frame["lost"] == (frame["acknowledged"] - frame["survived"]).clip(lower=0)).all()

    def test_the_plot_has_a_line_for_each_policy(self):
        matplotlib = need_module("matplotlib")
        matplotlib.use("Agg")
        from matplotlib import pyplot

        result = crash_test(["always", "no"], trials=10, **SHORT)
        ax = result.plot_loss()
        assert [line.get_label() for line in ax.get_lines()] == ["always", "no"]
        shares = ax.get_lines()[1].get_ydata()
        assert (shares[0], shares[-1]) == (100.0, 0.0)
        pyplot.close(ax.figure)

    @pytest.mark.parametrize("wrong", [{"policies": []}, {"policies": "no"}, {"trials": 0}, {"kind": "flood"}])
    def test_what_makes_no_test_is_refused(self, wrong):
        with pytest.raises(ConfigError):
            crash_test(**{"trials": 5, **wrong})


def test_progress_is_told_after_each_crash():
    told = []
    crash_test(["always", "no"], trials=3, seconds=5, progress=lambda done, total: told.append((done, total)))
    assert told == [(number, 6) for number in range(1, 7)]


def test_only_the_thread_that_crashes_stores_is_silent(caplog):
    log = logging.getLogger("aofnb")

    def other():
        log.warning("from another thread")

    with quiet(), quiet():
        log.warning("from this one")
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    log.warning("afterwards")
    assert caplog.messages == ["from another thread", "afterwards"]
