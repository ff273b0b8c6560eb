"""Databases, scans and random keys."""

import pytest

import aofnb
from aofnb import ReplyError


@pytest.fixture
def store():
    with aofnb.open(None, background=False, seed=1) as store:
        yield store


def test_scan_gives_every_key_that_stays_in_steps_of_about_count(store):
    names = {b"key:%d" % i for i in range(1000)}
    for name in names:
        store.execute("SET", name, "v")
    found = []
    cursor = b"0"
    while True:
        cursor, some = store.execute("SCAN", cursor, "COUNT", 50)
        assert len(some) <= 100
        found += some
        store.execute("SET", b"new:%d" % len(found), "v")
        store.execute("DEL", b"new:%d" % len(found))
        if cursor == b"0":
            break
    assert set(found) >= names


def test_randomkey_gives_every_key_now_and_then(store):
    store.execute("MSET", "a", 1, "b", 2, "c", 3)
    assert {store.execute("RANDOMKEY") for _ in range(200)} == {b"a", b"b", b"c"}


def test_who_has_a_database_selected_sees_what_was_swapped_in(store):
    other = store.session()
    other.execute("SELECT", 1)
    store.execute("SET", "k", "from 0")
    store.execute("SWAPDB", 0, 1)
    assert other.execute("GET", "k") == b"from 0"
    assert store.execute("GET", "k") is None


def test_an_idle_time_that_nobody_keeps_is_refused(store):
    store.execute("SET", "k", "v")
    with pytest.raises(ReplyError, match="idle time is not tracked"):
        store.execute("OBJECT", "IDLETIME", "k")


def test_a_refused_flush_is_not_logged(tmp_path):
    """FLUSHALL is logged even where there was nothing to delete, but not when it did nothing at all."""
    with aofnb.open(tmp_path, background=False) as store, pytest.raises(ReplyError):
        store.execute("FLUSHALL", "NOW")
    with aofnb.open(tmp_path, background=False) as store:
        assert store.load_report.commands == 0


def test_a_copy_of_a_container_is_independent(store):
    store.execute("SADD", "s", "a")
    store.execute("COPY", "s", "t")
    store.execute("SADD", "t", "b")
    assert store.execute("SCARD", "s") == 1
