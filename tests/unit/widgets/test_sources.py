"""A dashboard of what somebody else runs: a server by its INFO, a directory by its files."""

from __future__ import annotations

import pytest

import aofnb
from aofnb.clock import FakeClock
from aofnb.errors import AofManifestError, ConfigError, ReplyError
from aofnb.widgets import Dashboard, render
from aofnb.widgets.sources import UNKNOWN, DirectorySource, RemoteSource

INFO = (
    b"# Persistence\r\naof_enabled:1\r\naof_rewrite_in_progress:1\r\naof_current_rewrite_time_sec:4\r\n"
    b"current_save_keys_processed:250\r\ncurrent_save_keys_total:1000\r\naof_last_rewrite_time_sec:-1\r\n"
    b"aof_current_size:%d\r\naof_base_size:400\r\naof_buffer_length:7\r\naof_pending_bio_fsync:1\r\n"
    b"aof_delayed_fsync:2\r\naof_last_write_status:ok\r\naof_last_bgrewrite_status:ok\r\n"
    b"# Commandstats\r\ncmdstat_set:calls=%d,usec=1\r\ncmdstat_get:calls=99,usec=1\r\n"
    b"cmdstat_xgroup|create:calls=1,usec=1\r\n# Keyspace\r\ndb0:keys=5,expires=0\r\ndb3:keys=2,expires=1\r\n"
)


class ServerStub:
    """What `aofnb.connect` gives, with an INFO made by hand."""

    url, shown, closed = "redis://x", "x:6379", False

    def __init__(self):
        self.size, self.sets, self.calls = 1000, 10, []
        self.policy, self.forbidden = b"everysec", False

    def session(self):
        return self

    def execute(self, *argv):
        self.calls.append(argv)
        if argv[0] == "INFO":
            return INFO % (self.size, self.sets)
        if argv[:2] == ("CONFIG", "GET"):
            if self.forbidden:
                raise ReplyError("ERR unknown command 'CONFIG'")
            percentage = [b"auto-aof-rewrite-percentage", b"100"]
            return [b"appendfsync", self.policy, *percentage, b"auto-aof-rewrite-min-size", b"2000"]
        return "OK"

    def close(self):
        self.closed = True


@pytest.fixture
def server():
    return ServerStub()


class TestServer:
    def test_info_becomes_counters(self, server):
        stats = RemoteSource(server, clock=FakeClock()).stats()
        assert (stats.current_size, stats.base_size, stats.keys, stats.delayed_fsync) == (1000, 400, 7, 2)
        assert (stats.rewrite.fraction, stats.rewrite.eta_s) == (0.25, 12.0)
        assert (stats.aof_buf_bytes, stats.fsync_in_progress) == (7, True)

    def test_what_came_in_the_last_second_is_at_risk(self, server):
        clock = FakeClock()
        source = RemoteSource(server, clock=clock)
        source.stats()
        server.size, server.sets = 1300, 14
        clock.advance(0.5)
        stats = source.stats()
        assert (stats.unsynced_bytes, stats.unsynced_commands) == (300, 4)
        clock.advance(1.1)
        assert source.stats().unsynced_bytes == 0

    def test_under_always_nothing_is(self, server):
        clock, server.policy = FakeClock(), b"always"
        source = RemoteSource(server, clock=clock)
        source.stats()
        server.size = 5000
        assert source.stats().unsynced_bytes == 0

    def test_a_rewritten_log_is_smaller_and_nothing_is_at_risk(self, server):
        source = RemoteSource(server, clock=FakeClock())
        source.stats()
        server.size = 50
        assert source.stats().unsynced_bytes == 0

    def test_write_commands_alone_are_in_the_mix(self, server):
        source = RemoteSource(server, clock=FakeClock())
        source.stats()
        assert source.write_calls() == {"SET": 10, "XGROUP CREATE": 1}

    def test_a_server_that_forbids_config_can_be_watched(self, server):
        server.forbidden = True
        assert RemoteSource(server).stats().appendfsync == "everysec"

    def test_the_dashboard_has_its_buttons(self, server):
        with_clock = Dashboard(server, clock=FakeClock())
        with_clock._policy.value = "always"
        with_clock._rewrite.disabled = False
        with_clock._rewrite.click()
        assert ("CONFIG", "SET", "appendfsync", "always") in server.calls
        assert ("BGREWRITEAOF",) in server.calls
        assert with_clock._cancel is None
        assert "automatic rewrite at" in repr(with_clock)
        assert "a server does not say what is synced" in repr(with_clock)
        with_clock.stop()

    def test_a_url_that_cannot_be_is_refused(self):
        with pytest.raises(ConfigError, match="redis://"):
            Dashboard("http://example.org")


class TestDirectory:
    @pytest.fixture
    def store(self, tmp_path):
        with aofnb.open(tmp_path / "data", background=False) as store:
            yield store

    def test_sees_the_files_grow(self, store):
        clock = FakeClock()
        source = DirectorySource(store.path, clock=clock)
        before = source.stats()
        store.execute("SET", "k", "x" * 100)
        clock.advance(0.5)
        after = source.stats()
        assert after.current_size > before.current_size + 100
        assert after.unsynced_bytes == after.current_size - before.current_size
        assert after.files == store.stats().files

    def test_the_inner_directory_will_do(self, store):
        assert DirectorySource(f"{store.path}/appendonlydir").stats().files == store.stats().files

    def test_follows_a_rewrite(self, store):
        source = DirectorySource(store.path)
        store.execute("SET", "k", 1)
        store.bgrewriteaof()
        assert [name for name, _, _ in source.stats().files] == [name for name, _, _ in store.stats().files]

    def test_what_is_not_known_is_not_said(self, store):
        dashboard = Dashboard(store.path, clock=FakeClock())
        for words in (repr(dashboard), dashboard._html.value, render.static(dashboard._view)):
            assert "-1" not in words.replace("font-color-1", "")
            assert " keys" not in words
        assert dashboard._policy is dashboard._rewrite is dashboard._cancel is None
        dashboard.stop()
        assert UNKNOWN < 0

    def test_the_mix_is_read_from_the_end_of_the_file(self, store):
        clock = FakeClock()
        dashboard = Dashboard(store.path, clock=clock)
        for number in range(3):
            store.execute("SET", number, 1)
        store.execute("MULTI")
        store.execute("INCR", "n")
        store.execute("INCR", "n")
        store.execute("EXEC")
        clock.advance(1)
        dashboard._update()
        assert dashboard._view.mix == (("SET", 0.6), ("INCR", 0.4))
        assert "SET 60%, INCR 40%" in dashboard._html.value
        dashboard.stop()

    def test_a_directory_that_vanishes_ends_it(self, store):
        dashboard = Dashboard(store.path, clock=FakeClock())
        source = dashboard._own
        source.directory += "-gone"
        assert not dashboard._update()
        assert "AofManifestError" in repr(dashboard)

    def test_a_directory_without_a_log_is_refused(self, tmp_path):
        with pytest.raises(AofManifestError, match="no manifest"):
            Dashboard(tmp_path)
