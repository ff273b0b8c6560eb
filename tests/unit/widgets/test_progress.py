"""Single bars: what they say, when they appear, and what they leave."""

from __future__ import annotations

import pytest
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from support.stats import StatsStub
from traitlets.config import Config

import aofnb
from aofnb.aof.stats import RewriteProgress as Progress
from aofnb.clock import FakeClock
from aofnb.widgets import LoadProgress, RewriteProgress


@pytest.fixture
def screen():
    config = Config()
    config.HistoryManager.enabled = False
    shell = InteractiveShell.instance(config=config)
    shell.display_pub = CapturingDisplayPublisher()
    yield shell.display_pub.outputs
    InteractiveShell.clear_instance()


def texts(screen):
    return [output["data"]["text/plain"] for output in screen]


def test_a_quick_load_leaves_no_trace(screen):
    progress = LoadProgress(clock=FakeClock())
    progress(5, 10)
    progress(10, 10)
    assert not screen


def test_a_long_load_is_told_and_summed_up(screen):
    clock = FakeClock()
    progress = LoadProgress(clock=clock)
    clock.advance(2)
    progress(1 << 20, 4 << 20)
    progress(2 << 20, 4 << 20)
    clock.advance(2)
    progress(4 << 20, 4 << 20)
    assert texts(screen) == ["loading: 1.0 MiB of 4.0 MiB, 25%, about 6.0 s left", "loading: 4.0 MiB in 4.0 s"]
    assert "<progress" in screen[0]["data"]["text/html"]
    assert "<progress" not in screen[1]["data"]["text/html"]


def test_open_takes_it(tmp_path, screen):
    with aofnb.open(tmp_path / "data") as store:
        store.execute("SET", "k", 1)
    told = []

    class Watched(LoadProgress):
        def __call__(self, done, total):
            told.append((done, total))
            super().__call__(done, total)

    aofnb.open(tmp_path / "data", progress=Watched()).close()
    assert told
    assert told[-1][0] == told[-1][1]


class Ending(StatsStub):
    """A rewrite that is over after so many looks."""

    closed = False

    def __init__(self, looks, **counters):
        super().__init__(rewrite=Progress("writing", keys_done=1, keys_total=4, elapsed_s=1.0), **counters)
        self.looks = looks

    def stats(self, *, reset_peak=False):
        if self.asked >= self.looks:
            self.set(rewrite=Progress(), rewrites=1)
        return super().stats()


class NoWait(FakeClock):
    """Time passes whenever somebody waits."""

    def wait(self, condition, timeout_s):
        self.advance(timeout_s)


def test_a_rewrite_is_followed_to_its_end(screen):
    RewriteProgress(Ending(3), clock=NoWait()).wait()
    assert texts(screen)[0] == "rewrite: writing keys, 1 of 4 keys, 25%, about 3.0 s left"
    assert texts(screen)[-1] == "rewrite: done"


@pytest.mark.parametrize(
    ("counters", "words"),
    [
        ({"last_rewrite_ok": False}, "failed; the old files are still in use"),
        ({"last_rewrite_error": "cancelled"}, "cancelled; the old files are still in use"),
    ],
)
def test_a_rewrite_that_does_not_succeed_says_so(screen, counters, words):
    RewriteProgress(Ending(1, **counters), clock=NoWait()).wait()
    assert texts(screen)[-1] == f"rewrite: {words}"


def test_shown_in_a_cell_it_moves_by_itself_and_ends_its_thread(screen):
    bar = RewriteProgress(Ending(4), clock=NoWait())
    bar._ipython_display_()
    bar.wait()
    bar.close()
    assert not bar._thread.is_alive()
    assert texts(screen)[-1] == "rewrite: done"


def test_without_a_rewrite_it_is_a_line(screen, capsys):
    RewriteProgress(StatsStub())._ipython_display_()
    assert capsys.readouterr().out == "rewrite: none was begun\n"


def test_what_is_no_store_is_refused():
    with pytest.raises(TypeError, match="takes a store"):
        RewriteProgress(3)
