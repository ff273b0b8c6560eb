"""DEBUG."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

import aofnb
from aofnb import ReplyError
from aofnb.clock import FakeClock
from aofnb.engine import Store


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> Iterator[Store]:
    with aofnb.open(None, background=False, clock=clock) as store:
        yield store


def test_without_active_expiry_an_overdue_key_stays_until_it_is_met(store: Store, clock: FakeClock) -> None:
    store.execute("SET", "k", "v", "PX", 1)
    clock.advance(1)
    store.execute("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    store.tick()
    assert store.execute("DBSIZE") == 1
    assert store.execute("DEBUG", "DIGEST-VALUE", "k") != ["0" * 40], "digests count overdue keys"
    assert "encoding:embstr" in store.execute("DEBUG", "OBJECT", "k")
    assert store.execute("DBSIZE") == 1, "DEBUG itself does not meet a key"
    store.execute("DEBUG", "SET-ACTIVE-EXPIRE", 1)
    store.tick()
    assert store.execute("DBSIZE") == 0


def test_object_tells_encoding_and_references(store: Store) -> None:
    store.execute("SET", "k", 7)
    line = "Value at:0x[0-9a-f]+ refcount:2147483647 encoding:int serializedlength:2 lru:[0-9]+ lru_seconds_idle:0"
    assert re.fullmatch(line, store.execute("DEBUG", "OBJECT", "k"))
    with pytest.raises(ReplyError, match="ERR no such key"):
        store.execute("DEBUG", "OBJECT", "none")


def test_sleep_takes_its_time(store: Store) -> None:
    before = time.monotonic()
    assert store.execute("DEBUG", "SLEEP", "0.02") == "OK"
    assert time.monotonic() - before >= 0.02


def test_nothing_of_it_is_logged(tmp_path) -> None:
    with aofnb.open(tmp_path, background=False) as store:
        for line in ("DIGEST", "DIGEST-VALUE k", "SET-ACTIVE-EXPIRE 0", "SLEEP 0", "HELP"):
            store.execute("DEBUG", *line.split())
        assert store.stats().current_size == 0


def test_error_and_log_say_what_they_are_told(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ReplyError, match=r"^OOPS two lines$"):
        store.execute("DEBUG", "ERROR", "OOPS two\nlines")
    assert store.execute("DEBUG", "LOG", "hello") == "OK"
    assert "DEBUG LOG: hello" in caplog.text


def test_reload_knows_its_options(store: Store) -> None:
    with pytest.raises(ReplyError, match="only supports the MERGE, NOFLUSH and NOSAVE options"):
        store.execute("DEBUG", "RELOAD", "NOSUCH")


@pytest.mark.parametrize("number", ["inf", "nan", "1e300", "-1", "", "x", "9" * 5000])
def test_a_time_that_is_none_is_no_wait(store: Store, number: str) -> None:
    assert store.execute("DEBUG", "SLEEP", number) == "OK"


@pytest.mark.parametrize(
    ("number", "active"), [("0", False), ("00", False), ("x", False), ("-1", True), (" +7x", True), ("9" * 5000, True)]
)
def test_numbers_are_read_as_by_atoi(store: Store, number: str, active: bool) -> None:
    store.execute("DEBUG", "SET-ACTIVE-EXPIRE", number)
    assert store.engine.keyspace.active_expire is active


def test_a_paused_cron_expires_and_rewrites_nothing_and_keeps_the_log(tmp_path):
    clock = FakeClock()
    with aofnb.open(tmp_path, clock=clock, background=False) as store:
        store.execute("DEBUG", "PAUSE-CRON", "1")
        store.run([("SET", "k", "v", "PX", 10), ("MULTI",), ("BGREWRITEAOF",), ("EXEC",)])
        clock.advance(5)
        assert store.tick() is None
        assert (store.execute("DBSIZE"), store.stats().rewrites, store.stats().unsynced_bytes) == (1, 0, 0)
        store.execute("DEBUG", "PAUSE-CRON", "0")
        store.tick()
        assert (store.execute("DBSIZE"), store.stats().rewrites) == (0, 1)
