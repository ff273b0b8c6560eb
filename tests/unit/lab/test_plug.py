"""Pull the plug, without a browser: what the controls do, and what a saved notebook holds."""

from __future__ import annotations

import threading

import pytest
from support.notebook import live_widgets

from aofnb.errors import ConfigError
from aofnb.lab import pull_the_plug


@pytest.fixture
def plug():
    made = pull_the_plug(seconds=12, rate=15.0)
    yield made
    made.close()


def clicked(panel, description):
    (found,) = (each for each in panel._controls if getattr(each, "description", None) == description)
    found.click()


def test_a_power_cut_takes_what_the_picture_says(plug):
    plug.seek(5.9)
    said = plug.text()
    clicked(plug, "cut power")
    ((policy, fsync_ms, outcome),) = plug.results
    assert (policy, fsync_ms, outcome.at_s) == ("everysec", 20, 5.9)
    assert f"{outcome.lost} commands" in said
    assert f"<b>{outcome.lost}</b>" in plug._html.value


def test_a_kill_takes_nothing_from_the_page_cache(plug):
    plug.seek(5.9)
    clicked(plug, "kill process")
    assert plug.results[0][2].lost == 0


def test_playing_moves_the_bars(plug):
    before = plug._html.value
    plug._slider.value = 20
    assert plug.at_s == 5.0
    assert plug._html.value != before
    assert "5.00 s of 12 s" in plug._html.value


def test_another_policy_runs_the_same_commands(plug):
    plug.seek(6.0)
    plug._policy.value = "always"
    assert plug.run.policy == "always"
    assert "a power cut now takes nothing" in plug._html.value
    plug._latency.value = 500
    assert plug.run.fsync_ms == 500


def test_the_same_clicks_give_the_same_text():
    texts = set()
    for _ in range(2):
        plug = pull_the_plug(seconds=12, rate=15.0, seed=7)
        plug.seek(3.3).cut_power()
        plug.choose("always", 500).seek(7.7).cut_power()
        plug.distribution(20)
        texts.add(plug.text())
        plug.close()
    (text,) = texts
    assert text.count("power cut at") == 2
    assert "always" in text.splitlines()[-3]


def test_the_distribution_is_in_words_and_in_a_picture(plug):
    plug.distribution(30)
    for html in (plug._html.value, plug.table()):
        assert 'alt="seconds lost by power cuts. always: 0 of 30 lost something' in html


def test_many_crashes_are_counted_beside_the_kernel(plug):
    seen, clicked_twice = [], threading.Event()

    def drawn(change):
        seen.append(change["new"])
        if threading.current_thread() is plug._worker:
            clicked_twice.wait(60)

    plug._html.observe(drawn, names="value")
    clicked(plug, "1,000 crashes")
    worker = plug._worker
    clicked(plug, "1,000 crashes")
    assert plug._worker is worker
    clicked_twice.set()
    worker.join(60)
    assert {len(outcomes) for outcomes in plug.test.outcomes.values()} == {1000}
    assert any("of 3,000 crashes" in html for html in seen)
    assert "of 3,000 crashes" not in plug._html.value
    assert "1,000 power cuts under each policy, an fsync takes 20 ms:" in plug.text()


def test_closing_ends_the_count():
    plug = pull_the_plug(seconds=11, rate=15.0)
    clicked(plug, "1,000 crashes")
    plug.close()
    assert not plug._worker.is_alive()


def test_the_strip_shows_what_a_crash_takes_over_time(plug):
    assert plug._course.most == max(plug._course.power)
    # A write waits for the fsync that is running, so a few may be in aof_buf.
    few = max(plug._course.kill)
    assert few < plug._course.most / 3
    plug.seek(5.9).cut_power()
    assert plug._strip().count('stroke-width="4"') == 1
    plug.choose("everysec", 1500)
    assert max(plug._course.kill) > 3 * few
    # The crash was on another disk.
    assert 'stroke-width="4"' not in plug._strip()
    plug.choose("always")
    assert plug._course.most == 0


def test_what_is_saved_needs_no_style_and_no_script(plug):
    plug.seek(4.0).cut_power()
    bundle = plug._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    for tag in ("<style", "<script", "<svg"):
        assert tag not in bundle["text/html"]
    assert bundle["text/plain"].startswith("pull the plug: appendfsync everysec, an fsync takes 20 ms, at 4.00 s")


def test_closing_leaves_no_widget_behind():
    before = live_widgets()
    plug = pull_the_plug(seconds=12, rate=15.0)
    plug.close()
    assert live_widgets() == before
    assert "application/vnd.jupyter.widget-view+json" not in plug._repr_mimebundle_()


@pytest.mark.parametrize("seconds", [-1, 13])
def test_there_is_nothing_beyond_the_recording(plug, seconds):
    with pytest.raises(ConfigError, match="12 seconds"):
        plug.seek(seconds)
