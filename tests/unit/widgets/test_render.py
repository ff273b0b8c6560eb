"""What the dashboard says: live HTML, the static table, the text."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.stats import stats

from aofnb.aof.stats import RewriteProgress
from aofnb.widgets import render
from aofnb.widgets.model import AutoRewrite, Event, Recorder, View

VOID = {"img", "br"}


class Tree(HTMLParser):
    """Elements with their attributes; refuses tags that do not nest."""

    def __init__(self, html):
        super().__init__()
        self.open, self.elements, self.words = [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def tags(self):
        return {tag for tag, _ in self.elements}

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def with_role(self, role):
        return [attrs for _, attrs in self.elements if attrs.get("role") == role]


BUSY = View(
    name="mydata",
    stats=stats(
        aof_buf_bytes=100,
        aof_buf_commands=3,
        aof_buf_peak_bytes=26_214,
        unsynced_bytes=2048,
        unsynced_commands=1,
        synced_bytes=5 << 20,
        synced_commands=123_456,
        fsync_lag_s=0.43,
        fsyncs=7,
        last_fsync_duration_s=0.0042,
        current_size=6 << 20,
        base_size=5 << 20,
        files=(("appendonly.aof.1.base.aof", "base", 5 << 20), ("appendonly.aof.1.incr.aof", "incr", 1 << 20)),
        rewrite=RewriteProgress(phase="writing", keys_done=250, keys_total=1000, elapsed_s=3.0),
        keys=1000,
    ),
    auto_rewrite=AutoRewrite(100, 64 << 20),
    events=(Event(1_700_000_000_000, "rewrite started"),),
    buffered=((2, 0), (1, 26_214), (0, 100)),
    at_risk=((2, 0), (1, 10), (0, 2148)),
    lag=((1, 0.0), (0, 0.43)),
    rate=((1, 10.0), (0, 1000.0)),
    rate_now=500.0,
)
NEW = View(name="new", stats=stats())


class TestText:
    def test_a_busy_log(self):
        assert render.text(BUSY) == "\n".join(
            [
                "aofnb dashboard: mydata (live)",
                "  at risk now          2.1 KiB, 4 commands (appendfsync everysec)",
                "  aof_buf              100 B, 3 commands",
                "  written, not synced  2.0 KiB, 1 command",
                "  synced               5.0 MiB, 123,456 commands",
                "  rewrite              writing keys, 250 of 1,000 keys, 25%;"
                " automatic rewrite at 64.0 MiB, 58.0 MiB to go",
                "  base                 appendonly.aof.1.base.aof, 5.0 MiB",
                "  incr                 appendonly.aof.1.incr.aof, 1.0 MiB",
                "  keys                 1,000",
            ]
        )

    def test_does_not_depend_on_when_one_looks(self):
        first, second = Recorder("x"), Recorder("x")
        second.note(5, "something happened")
        for number in range(5):
            second.add(stats(unsynced_bytes=number), float(number), number)
        same = {"synced_bytes": 10, "synced_commands": 1}
        early = first.add(stats(**same), 1.0, 1)
        late = second.add(stats(**same, fsync_lag_s=0.0, fsyncs=3, last_fsync_duration_s=0.7), 99.0, 99)
        assert render.text(early) == render.text(late)

    def test_a_failing_disk_is_not_left_out(self):
        words = render.text(View(name="x", stats=stats(write_error="No space left on device")))
        assert "writing fails        No space left on device" in words

    def test_a_log_that_is_off_promises_nothing(self):
        assert "(no log)" in render.text(View(name="x", stats=stats(aof_enabled=False)))


class TestLive:
    def test_says_the_big_number_and_the_three_stages(self):
        words = Tree(render.live(BUSY, 1)).text
        assert "at risk now 2.1 KiB 4 commands what a power cut would take" in words
        assert "aof_buf 100 B peak 25.6 KiB 3 commands" in words
        assert "written, not synced 2.0 KiB peak 2.1 KiB 1 command" in words
        assert "synced 5.0 MiB 500/s 123,456 commands" in words

    def test_says_policy_lag_files_distance_and_events(self):
        words = Tree(render.live(BUSY, 1)).text
        assert "everysec : oldest unsynced byte is 0.4 s old" in words
        assert "7 fsyncs, the last took 4.2 ms" in words
        assert "appendonly.aof.1.incr.aof incr 1.0 MiB" in words
        assert "automatic rewrite at 64.0 MiB, 58.0 MiB to go 6.0 MiB" in words
        assert re.search(r"\d\d:\d\d:\d\d rewrite started", words)

    def test_roles_and_names_for_who_does_not_see_it(self):
        tree = Tree(render.live(BUSY, 1))
        assert [attrs["aria-label"] for attrs in tree.with_role("group")] == ["aofnb dashboard of mydata"]
        (bar,) = tree.with_role("progressbar")
        assert (bar["aria-valuenow"], bar["aria-label"]) == ("25", "rewrite")
        assert bar["aria-valuetext"] == "writing keys, 250 of 1,000 keys, 25%, about 9.0 s left"
        assert [attrs["aria-label"] for attrs in tree.with_role("img")] == [
            "fill of aof_buf, last minute: now 100 B, peak 25.6 KiB",
            "bytes at risk, last minute: now 2.1 KiB, peak 2.1 KiB",
            "commands logged, last minute: now 500 commands a second, peak 1,000 commands a second",
            "fsync lag, last minute: now 0.4 s, peak 0.4 s",
        ]
        assert len(tree.with_role("status")) == 1

    def test_every_tick_differs(self):
        assert render.live(NEW, 1) != render.live(NEW, 2)

    @pytest.mark.parametrize("html", [render.live(BUSY, 1), render.live(NEW, 1)])
    def test_names_no_other_place(self, html):
        assert not re.search(r"""(src|href)=|url\(|@import|<script""", html)

    @pytest.mark.parametrize(
        ("counters", "words"),
        [
            ({}, "everything is synced"),
            ({"unsynced_bytes": 1, "fsync_lag_s": 9.0}, "fsync is late"),
            ({"write_error": "No space left on device"}, "No space left on device"),
            ({"aof_enabled": False}, "no log"),
            ({"postponed_s": 1.5, "fsync_in_progress": True}, "fsync running, write postponed for 1.5 s"),
        ],
    )
    def test_no_state_is_told_by_colour_alone(self, counters, words):
        assert words in Tree(render.live(View(name="x", stats=stats(**counters)), 1)).text


@pytest.mark.parametrize(
    ("counters", "words"),
    [
        ({}, "none yet"),
        ({"rewrites": 2}, "none running, 2 so far"),
        ({"rewrites": 2, "last_rewrite_ok": False}, "last one failed"),
        ({"rewrite_scheduled": True}, "scheduled"),
        ({"rewrite": RewriteProgress("switching", keys_total=10)}, "switching to a new file, 0 of 10 keys, 0%"),
        ({"rewrite": RewriteProgress("loading", keys_total=10)}, "loading the old files"),
        (
            {"rewrite": RewriteProgress("loading", keys_total=10, bytes_done=512, bytes_total=1024)},
            "loading the old files, 512 B of 1.0 KiB, 25%",
        ),
        (
            {"rewrite": RewriteProgress("writing", keys_done=5, keys_total=10, bytes_done=8, bytes_total=8)},
            "writing keys, 5 of 10 keys, 75%",
        ),
        ({"rewrite": RewriteProgress("publishing")}, "publishing the new files, 100%"),
    ],
)
def test_a_rewrite_is_told_by_its_phase(counters, words):
    assert render.rewrite_text(View(name="x", stats=stats(**counters))) == words


class TestStatic:
    def test_uses_nothing_that_untrusted_notebooks_lose(self):
        html = render.static(BUSY)
        assert Tree(html).tags <= {"table", "caption", "tr", "th", "td", "b", "img"}
        assert "var(" not in html
        assert "class=" not in html

    def test_says_what_the_text_says(self):
        def words(shown):
            return set(re.findall(r"[\w.,%]+", shown))

        assert words(render.text(BUSY)) <= words(Tree(render.static(BUSY)).text)

    def test_pictures_have_words_and_are_well_formed(self):
        images = [attrs for tag, attrs in Tree(render.static(BUSY)).elements if tag == "img"]
        assert len(images) == 4
        for image in images:
            assert "last minute" in image["alt"]
            ElementTree.fromstring(base64.b64decode(image["src"].partition("base64,")[2]))

    def test_a_new_log_has_no_pictures(self):
        assert "img" not in Tree(render.static(NEW)).tags


NASTY = '<script>alert("x")</script>&\'"'


@pytest.mark.parametrize("make", [render.static, lambda view: render.live(view, 1)])
def test_nothing_from_outside_becomes_markup(make):
    shown = View(
        name=NASTY,
        stats=stats(files=((NASTY, NASTY, 1),), write_error=NASTY),
        state="failed",
        problem=NASTY,
        events=(Event(0, NASTY),),
    )
    tree = Tree(make(shown))
    assert "script" not in tree.tags
    assert '<script>alert("x")</script>' in tree.text


counts = st.integers(0, 2**63)
times = st.floats(0, 1e9, allow_nan=False)
any_stats = st.builds(
    stats,
    aof_enabled=st.booleans(),
    appendfsync=st.sampled_from(["always", "everysec", "no"]),
    aof_buf_bytes=counts,
    aof_buf_commands=counts,
    aof_buf_peak_bytes=counts,
    unsynced_bytes=counts,
    unsynced_commands=counts,
    synced_bytes=counts,
    synced_commands=counts,
    fsync_lag_s=times,
    fsyncs=counts,
    last_fsync_duration_s=times,
    fsync_in_progress=st.booleans(),
    postponed_s=times,
    write_error=st.none() | st.text(max_size=20),
    current_size=counts,
    base_size=counts,
    files=st.lists(st.tuples(st.text(max_size=9), st.sampled_from(["base", "incr"]), counts), max_size=3).map(tuple),
    rewrite=st.builds(
        RewriteProgress,
        phase=st.sampled_from(["idle", "switching", "loading", "writing", "publishing"]),
        keys_done=counts,
        keys_total=counts,
        bytes_done=counts,
        bytes_total=counts,
        elapsed_s=times,
    ),
    rewrites=counts,
    last_rewrite_ok=st.booleans(),
    last_rewrite_duration_s=st.none() | times,
    keys=counts,
)


@given(st.lists(any_stats, min_size=1, max_size=3), times)
def test_any_counters_give_a_picture_of_bounded_size_without_nan(samples, start_s):
    recorder = Recorder("x")
    for number, sample in enumerate(samples):
        shown = recorder.add(sample, start_s + number / 3, number, AutoRewrite(100, 64 << 20))
    for html in (render.live(shown, 1), render.static(shown)):
        Tree(html)
        assert len(html) < 20_000
        assert not re.search(r"\b(nan|inf)\b", re.sub(r"<t[dh][^>]*>.*?</t[dh]>|<div class=.alarm.*?</div>", "", html))
    assert render.text(shown).startswith("aofnb dashboard: x (live)\n")
    points = re.findall(r'points="([^"]*)"', render.live(shown, 1))
    assert points
    for x, y in (pair.split(",") for pair in " ".join(points).split()):
        assert 0 <= float(x) <= 120
        assert 0 <= float(y) <= 24


@given(st.integers(0, 2**80))
def test_sizes_are_short_and_never_1024_of_a_unit(nbytes):
    shown = render.size_text(nbytes)
    assert nbytes >= 2**70 or (len(shown) <= 10 and not shown.startswith(("1024 ", "1,024.0 ", "1024.0 ")))


@given(st.floats(0, 1e12, allow_nan=False))
def test_durations_never_show_sixty_of_what_has_a_larger_unit(seconds):
    shown = render.seconds_text(seconds)
    assert not re.search(r"\b60(\.0)? (s|min)|\b1000\.0 ms", shown)
