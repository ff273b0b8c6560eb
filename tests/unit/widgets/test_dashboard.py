"""The life of a dashboard, without a browser: widgets, sampler thread, ending."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from support.notebook import live_widgets
from support.stats import StatsStub
from traitlets.config import Config

from aofnb.aof.stats import RewriteProgress
from aofnb.clock import FakeClock
from aofnb.errors import ConfigError, ReplyError
from aofnb.widgets import Dashboard, render

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


class StoreStub(StatsStub):
    """A source of counters that can also be asked for what the buttons ask."""

    def __init__(self, **counters):
        super().__init__(**counters)
        self.path = "/somewhere/mydata"
        self.closed = False
        self.calls = []
        self.refuse = None

    def config_set(self, name, value):
        self._called("config_set", name, value)
        self.set(appendfsync=value)

    def bgrewriteaof(self):
        self._called("bgrewriteaof")

    def _called(self, *call):
        if self.refuse is not None:
            raise self.refuse
        self.calls.append(call)


@pytest.fixture
def screen():
    """An IPython without a front-end; gives what was published, oldest first."""
    config = Config()
    config.HistoryManager.enabled = False
    shell = InteractiveShell.instance(config=config)
    shell.display_pub = CapturingDisplayPublisher()
    yield shell.display_pub.outputs
    InteractiveShell.clear_instance()


@pytest.fixture
def store():
    return StoreStub(unsynced_bytes=2048, unsynced_commands=7)


@pytest.fixture
def dashboard(store):
    made = Dashboard(store, clock=FakeClock())
    yield made
    made.stop()


def button(dashboard, description):
    (found,) = (widget for widget in dashboard._widgets if widget.description == description)
    return found


def beat(dashboard, store):
    """Let the sampler thread, which waits on a clock that stands still, take one sample."""
    asked = store.asked
    for _ in range(2000):
        with dashboard._wake:
            dashboard._wake.notify_all()
        if store.asked > asked or not dashboard._thread.is_alive():
            return
        dashboard._thread.join(0.005)
    raise AssertionError("the sampler takes no samples")


class TestWidget:
    def test_shows_the_counters(self, dashboard):
        assert "2.0 KiB" in dashboard._html.value
        assert "mydata" in dashboard._html.value

    def test_each_sample_begins_a_new_peak(self, dashboard, store):
        asked = store.asked
        dashboard._update()
        assert (store.asked, store.peaks_reset) == (asked + 1, asked + 1)

    def test_a_new_picture_for_new_counters(self, dashboard, store):
        store.set(unsynced_bytes=3 << 20)
        dashboard._update()
        assert "3.0 MiB" in dashboard._html.value

    def test_an_unchanged_picture_is_sent_once_a_second_so_that_it_does_not_look_stale(self, dashboard):
        dashboard._update()
        sent = []
        dashboard._html.observe(lambda change: sent.append(change["new"]), names="value")
        for _ in range(8):
            dashboard.clock.advance(0.25)
            dashboard._update()
        assert len(sent) == 2
        assert render.STALE_S > 1

    def test_nothing_is_sent_while_no_view_of_it_is_left(self, dashboard, store):
        sent = []
        dashboard._html.observe(lambda change: sent.append(change["new"]), names="value")

        def grow():
            sent.clear()
            store.set(unsynced_bytes=store.stats().unsynced_bytes + 1024)
            dashboard.clock.advance(2)
            dashboard._update()
            return len(sent)

        # A front-end that does not count its views.
        assert grow() == 1
        for views, pictures in ((1, 1), (2, 1), (1, 1), (0, 0), (1, 1)):
            dashboard.box._view_count = views
            assert grow() == pictures

    @pytest.mark.parametrize("interval_s", [0.24, 0, -1, float("nan")])
    def test_too_fast_is_refused_with_the_reason(self, store, interval_s):
        with pytest.raises(ConfigError, match=r"at least 0\.25 seconds"):
            Dashboard(store, interval_s=interval_s)

    def test_any_source_of_counters_will_do_and_has_only_the_buttons_that_work(self):
        source = StatsStub()
        dashboard = Dashboard(source, clock=FakeClock())
        assert [widget.description for widget in dashboard._widgets] == ["Stop"]
        dashboard.stop()

    def test_a_store_that_cannot_say_fails_at_once(self, store):
        store.stats = None
        with pytest.raises(TypeError):
            Dashboard(store)


class TestButtons:
    def test_policy_is_set_on_the_store(self, dashboard, store):
        dashboard._policy.value = "always"
        assert store.calls == [("config_set", "appendfsync", "always")]
        dashboard._update()
        assert "appendfsync: everysec to always" in dashboard._html.value

    def test_policy_follows_the_store_without_setting_it_again(self, dashboard, store, screen):
        dashboard.show()
        dashboard.start()
        store.set(appendfsync="no")
        while dashboard._policy.value != "no":
            dashboard.clock.advance(1)
            beat(dashboard, store)
        assert store.calls == []

    def test_rewrite_is_asked_of_the_store(self, dashboard, store):
        button(dashboard, "BGREWRITEAOF").click()
        assert store.calls == [("bgrewriteaof",)]

    def test_rewrite_cannot_be_asked_for_while_one_runs(self, dashboard, store):
        store.set(rewrite=RewriteProgress(phase="writing", keys_done=1, keys_total=4))
        dashboard._update()
        assert button(dashboard, "BGREWRITEAOF").disabled
        store.set(rewrite=RewriteProgress())
        dashboard._update()
        assert not button(dashboard, "BGREWRITEAOF").disabled

    def test_a_refusal_is_shown_as_an_event(self, dashboard, store):
        store.refuse = ReplyError("ERR Background append only file rewriting already in progress")
        button(dashboard, "BGREWRITEAOF").click()
        dashboard._update()
        assert "refused: ERR Background append only file rewriting already in progress" in dashboard._html.value

    def test_a_refused_policy_goes_back_to_what_holds(self, dashboard, store, screen):
        dashboard._ipython_display_()
        store.refuse = ReplyError("ERR no")
        dashboard._policy.value = "always"
        while dashboard._policy.value != "everysec":
            dashboard.clock.advance(1)
            beat(dashboard, store)
        assert store.now.appendfsync == "everysec"

    def test_stop_is_a_button_too(self, dashboard):
        button(dashboard, "Stop").click()
        assert not dashboard.running


class TestShowing:
    def test_widgets_with_a_table_and_a_text_beside_them(self, dashboard, screen):
        dashboard._ipython_display_()
        (output,) = screen
        assert output["data"][WIDGET_VIEW]["model_id"] == dashboard.box.model_id
        assert output["data"]["text/plain"] == render.text(dashboard._view)
        assert output["data"]["text/html"] == render.static(dashboard._view)

    def test_text_is_the_same_for_the_same_counters(self, store):
        made = [Dashboard(store, clock=FakeClock(now_ms)) for now_ms in (1, 2_000_000_000_000)]
        assert repr(made[0]) == repr(made[1])
        for dashboard in made:
            dashboard.stop()

    def test_without_ipython_the_text_is_printed(self, dashboard, capsys):
        assert not InteractiveShell.initialized()
        dashboard.show()
        assert capsys.readouterr().out == render.text(dashboard._view) + "\n"

    def test_all_views_become_the_table_when_it_stops(self, dashboard, store, screen):
        dashboard.show()
        dashboard.show()
        dashboard.start()
        store.set(unsynced_bytes=0, unsynced_commands=0, synced_bytes=4096, synced_commands=9)
        dashboard.stop()
        shown, ended = screen[:2], screen[2:]
        assert [output["update"] for output in ended] == [True, True]
        assert [output["transient"] for output in ended] == [output["transient"] for output in shown]
        for output in ended:
            assert set(output["data"]) == {"text/html", "text/plain"}
            assert "synced               4.0 KiB, 9 commands" in output["data"]["text/plain"]
            assert "(stopped)" in output["data"]["text/html"]

    def test_a_stopped_one_is_shown_as_the_table(self, dashboard, screen):
        dashboard.stop()
        dashboard._ipython_display_()
        assert WIDGET_VIEW not in screen[0]["data"]
        assert not dashboard.running


class TestLife:
    def test_the_sampler_updates_until_stopped_and_leaves_no_thread(self, dashboard, store, screen):
        dashboard._ipython_display_()
        assert dashboard.running
        store.set(unsynced_bytes=5 << 20)
        beat(dashboard, store)
        dashboard.stop()
        assert "5.0 MiB" in render.text(dashboard._view)
        assert not dashboard._thread.is_alive()
        assert not dashboard.running

    def test_with_shows_it_and_stops_at_the_end_even_after_an_error(self, store, screen):
        dashboard = Dashboard(store, clock=FakeClock())
        with pytest.raises(ZeroDivisionError), dashboard:
            _ = 1 / (not dashboard.running)
        assert not dashboard.running
        assert [output.get("update", False) for output in screen] == [False, True]

    def test_a_second_one_of_the_same_store_stops_the_first(self, dashboard, store, screen):
        dashboard._ipython_display_()
        second = Dashboard(store, clock=FakeClock())
        second._ipython_display_()
        assert not dashboard.running
        assert second.running
        second.stop()

    def test_dashboards_of_two_stores_do_not_meet(self, dashboard, screen):
        other_store = StoreStub()
        other = Dashboard(other_store, clock=FakeClock())
        dashboard.start()
        other.start()
        assert dashboard.running
        assert other.running
        other.stop()

    def test_a_closed_store_ends_it_with_a_last_look(self, dashboard, store, screen):
        dashboard._ipython_display_()
        store.set(unsynced_bytes=0, unsynced_commands=0)
        store.closed = True
        while dashboard._thread.is_alive():
            beat(dashboard, store)
        assert not dashboard.running
        words = screen[-1]["data"]["text/plain"]
        assert "(store closed)" in words
        assert "at risk now          0 B" in words

    def test_a_closed_store_that_no_longer_answers_leaves_what_was_known(self, dashboard, store, screen):
        dashboard._ipython_display_()
        store.closed = True
        store.stats = None
        dashboard.stop()
        assert "2.0 KiB" in screen[-1]["data"]["text/plain"]
        assert "problem" not in screen[-1]["data"]["text/plain"]

    def test_a_store_that_is_gone_ends_it(self, screen):
        store = StoreStub()
        dashboard = Dashboard(store, clock=FakeClock())
        dashboard._ipython_display_()
        stub = StatsStub()
        del store
        gc.collect()
        while dashboard._thread.is_alive():
            beat(dashboard, stub) if dashboard.running else dashboard._thread.join(1)
        assert "(store closed)" in screen[-1]["data"]["text/plain"]

    def test_a_source_that_breaks_ends_it_and_says_why(self, dashboard, store, screen):
        dashboard._ipython_display_()

        def broken(**_):
            raise ValueError("<no numbers>")

        store.stats = broken
        while dashboard._thread.is_alive():
            with dashboard._wake:
                dashboard._wake.notify_all()
            dashboard._thread.join(0.005)
        data = screen[-1]["data"]
        assert "problem              ValueError: <no numbers>" in data["text/plain"]
        assert "ValueError: &lt;no numbers&gt;" in data["text/html"]

    def test_stopping_twice_and_from_two_threads_ends_it_once(self, dashboard, screen):
        dashboard._ipython_display_()
        threads = [threading.Thread(target=dashboard.stop) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(screen) == 2

    def test_no_widget_is_left_behind(self, store):
        before = live_widgets()
        Dashboard(store, clock=FakeClock()).stop()
        assert live_widgets() == before

    def test_without_threads_a_task_updates_between_cells(self, dashboard, store, monkeypatch):
        def no_threads(_thread):
            raise RuntimeError("can't start new thread")

        async def cell():
            monkeypatch.setattr(threading.Thread, "start", no_threads)
            dashboard.start()
            store.set(unsynced_bytes=7 << 20)
            await asyncio.sleep(0)
            assert dashboard.running
            dashboard._stopping = True
            monkeypatch.undo()
            dashboard._task.cancel()

        # In a thread, since the browser tests, where they run in the same process, leave a loop running in this one.
        thread = threading.Thread(target=asyncio.run, args=(cell(),))
        thread.start()
        thread.join()
        assert "7.0 MiB" in dashboard._html.value


class TestArguments:
    @pytest.mark.parametrize("store", [3, None, b"mydata"])
    def test_what_is_no_store_is_refused(self, store):
        with pytest.raises(TypeError, match="Dashboard takes a store, as"):
            Dashboard(store)

    @pytest.mark.parametrize("interval_s", ["1", None])
    def test_an_interval_that_is_no_number_is_refused(self, store, interval_s):
        with pytest.raises(ConfigError, match="interval_s"):
            Dashboard(store, interval_s=interval_s)


class TestClosedBefore:
    def test_a_dashboard_of_a_closed_store_says_so(self, screen, store):
        store.closed = True
        dashboard = Dashboard(store)
        dashboard._ipython_display_()
        assert "(store closed)" in repr(dashboard)
        assert not dashboard.running
        assert WIDGET_VIEW not in screen[0]["data"]

    def test_a_store_closed_before_the_start_ends_it(self, screen, dashboard, store):
        store.closed = True
        dashboard._ipython_display_()
        assert "(store closed)" in repr(dashboard)
        assert dashboard._thread is None

    def test_a_store_gone_before_the_start_ends_it(self):
        dashboard = Dashboard(StoreStub())
        gc.collect()
        dashboard.start()
        assert "(store closed)" in repr(dashboard)
