"""Scripts as part of the store: one unit, time that stands still, and ways to end one that does not."""

import hashlib
import logging
import threading

import pytest
from support.require import need

import aofnb
from aofnb.lua.interpreter import available

need("lupa with Lua 5.1", available())


class Started(logging.Handler):
    """Set when a script logs: it runs then."""

    def __init__(self):
        super().__init__()
        self.event = threading.Event()

    def emit(self, record):
        self.event.set()


@pytest.fixture
def started():
    handler = Started()
    logger = logging.getLogger("aofnb.script")
    logger.addHandler(handler)
    yield handler.event
    logger.removeHandler(handler)


def in_thread(store, *argv):
    """Run a command in another thread; its outcome is the one item of the list, once the thread has ended."""
    outcome = []

    def run():
        try:
            outcome.append(store.session().execute(*argv))
        except aofnb.ReplyError as problem:
            outcome.append(str(problem))

    thread = threading.Thread(target=run)
    thread.start()
    return thread, outcome


ENDLESS = "redis.log(redis.LOG_WARNING, 'here') while true do pcall(function() while true do end end) end"
LIBRARY = f"#!lua name=lib\nredis.register_function('endless', function() {ENDLESS} end)"


@pytest.mark.parametrize(
    ("call", "kill", "other", "busy"),
    [
        (("EVAL", ENDLESS, 0), "SCRIPT", "FUNCTION", "SCRIPT KILL"),
        (("EVAL_RO", ENDLESS, 0), "SCRIPT", "FUNCTION", "SCRIPT KILL"),
        (("EVAL", f"coroutine.wrap(function() {ENDLESS} end)()", 0), "SCRIPT", "FUNCTION", "SCRIPT KILL"),
        (("FCALL", "endless", 0), "FUNCTION", "SCRIPT", "FUNCTION KILL"),
    ],
)
def test_others_get_busy_and_can_kill(started, call, kill, other, busy):
    with aofnb.open(None, background=False, busy_reply_threshold=1) as store:
        store.execute("FUNCTION", "LOAD", LIBRARY)
        thread, outcome = in_thread(store, *call)
        assert started.wait(20)
        for command in (["GET", "k"], ["SET", "k", "v"], ["PING"]):
            with pytest.raises(aofnb.ReplyError, match=rf"^BUSY Redis is busy running a script.*{busy}"):
                store.execute(*command)
        assert [str(reply)[:4] for reply in store.run([["GET", "k"], ["PING"]])] == ["BUSY", "BUSY"]
        with pytest.raises(aofnb.ReplyError, match=rf"^BUSY.*{busy}"):
            store.execute(other, "KILL")
        assert store.execute(kill, "KILL") == "OK"
        thread.join(20)
        assert "Script killed by user with SCRIPT KILL." in outcome[0]
        assert store.execute("SET", "k", "v") == "OK"
        with pytest.raises(aofnb.ReplyError, match=r"^NOTBUSY No scripts in execution right now\."):
            store.execute(kill, "KILL")


def test_statistics_of_what_runs(started):
    with aofnb.open(None, background=False, busy_reply_threshold=1) as store:
        store.execute("FUNCTION", "LOAD", LIBRARY)
        thread, _ = in_thread(store, "FCALL", "endless", "0", "x")
        assert started.wait(20)
        running = store.execute("FUNCTION", "STATS")[1]
        assert running[:5] == [b"name", b"endless", b"command", [b"FCALL", b"endless", b"0", b"x"], b"duration_ms"]
        store.execute("FUNCTION", "KILL")
        thread.join(20)
        assert store.execute("FUNCTION", "STATS")[1] is None


def test_what_wrote_cannot_be_killed(started):
    script = "redis.call('set', 'k', 1) redis.log(3, 'here') for i = 1, 3e7 do end return 'done'"
    with aofnb.open(None, background=False, busy_reply_threshold=1) as store:
        thread, outcome = in_thread(store, "EVAL", script, 0)
        assert started.wait(20)
        with pytest.raises(aofnb.ReplyError, match=r"^UNKILLABLE Sorry the script already executed write commands"):
            store.execute("SCRIPT", "KILL")
        thread.join(60)
        assert outcome == [b"done"]


def test_without_a_threshold_others_wait(started):
    with aofnb.open(None, background=False, busy_reply_threshold=0) as store:
        thread, _ = in_thread(store, "EVAL", "redis.log(3, 'here') for i = 1, 1e6 do end redis.call('set', 'k', 1)", 0)
        assert started.wait(20)
        assert store.execute("GET", "k") == b"1"
        thread.join(20)


def test_an_interrupt_ends_a_script_and_nothing_of_it_stays(tmp_path, monkeypatch):
    with aofnb.open(tmp_path, background=False) as store:
        store.execute("SET", "k", "before")
        scripts, calls = store.engine.scripts, []
        # Bound when the interpreter is made, so before that.
        store.execute("SCRIPT", "FLUSH")

        def interrupted(*_event):
            calls.append(1)
            raise KeyboardInterrupt

        monkeypatch.setattr(type(scripts), "tick", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.execute("EVAL", f"redis.call('set', 'k', 'half') {ENDLESS}", 0)
        assert calls
        monkeypatch.undo()
        store.execute("SCRIPT", "FLUSH")
        assert store.execute("GET", "k") == b"before"
        assert store.execute("EVAL", "return redis.call('get', 'k')", 0) == b"before"


def test_time_stands_still_and_nothing_expires_within_a_script():
    clock = aofnb.clock.FakeClock()
    with aofnb.open(None, background=False, clock=clock) as store:
        store.execute("SET", "k", "v", "PX", 10)

        class Hook(logging.Handler):
            def emit(self, record):
                clock.advance(1)

        hook = Hook()
        logging.getLogger("aofnb.script").addHandler(hook)
        try:
            script = "redis.log(3, 'x') return {redis.call('exists', 'k'), redis.call('pttl', 'k')}"
            assert store.execute("EVAL", script, 0) == [1, 10]
        finally:
            logging.getLogger("aofnb.script").removeHandler(hook)
        assert store.execute("EXISTS", "k") == 0


def test_scripts_of_old_logs_run_when_they_are_loaded(tmp_path):
    script = b"return redis.call('incr', KEYS[1])"
    records = [
        [b"SELECT", b"0"],
        [b"SCRIPT", b"LOAD", script],
        [b"EVAL", b"redis.call('set', KEYS[1], ARGV[1]) redis.call('set', 'b', 2)", b"1", b"a", b"1"],
        [b"EVALSHA", hashlib.sha1(script).hexdigest().encode(), b"1", b"a"],
        [b"MULTI"],
        [b"EVAL", b"return redis.call('incr', 'a')", b"0"],
        [b"EXEC"],
        [b"SCRIPT", b"FLUSH"],
    ]
    log = b"".join(b"*%d\r\n%b" % (len(r), b"".join(b"$%d\r\n%b\r\n" % (len(a), a) for a in r)) for r in records)
    (tmp_path / "appendonly.aof").write_bytes(log)
    with aofnb.open(tmp_path, background=False) as store:
        assert store.load_report.failed == ()
        assert store.execute("MGET", "a", "b") == [b"3", b"2"]


def test_a_refused_disk_refuses_scripts_that_write():
    with aofnb.open(None, background=False) as store:
        store.engine.refusal = "MISCONF Errors writing to the AOF file: No space left on device"
        with pytest.raises(aofnb.ReplyError, match=r"^MISCONF Errors writing to the AOF file: No space .* script: "):
            store.execute("EVAL", "return redis.call('set', 'k', 1)", 0)
        assert store.execute("EVAL", "return redis.call('get', 'k')", 0) is None
        with pytest.raises(
            aofnb.ReplyError, match=r"Writable scripts are blocked.* AOF error: No space left on device$"
        ):
            store.execute("EVAL", "#!lua\nreturn 1", 0)
        assert store.execute("EVAL", "#!lua flags=no-writes\nreturn 1", 0) == 1
