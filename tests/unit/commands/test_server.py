"""CONFIG, INFO and the command table."""

import pytest

import aofnb
from aofnb import ReplyError
from aofnb.clock import FakeClock


@pytest.fixture
def store():
    with aofnb.open(None, background=False, clock=FakeClock(1_700_000_000_123)) as store:
        yield store


def test_time_is_the_clocks(store):
    assert store.execute("TIME") == [b"1700000000", b"123000"]


def test_config_set_changes_all_or_nothing(store):
    with pytest.raises(ReplyError, match="appendfsync"):
        store.execute("CONFIG", "SET", "hz", 50, "appendfsync", "sometimes")
    assert store.execute("CONFIG", "GET", "hz") == [b"hz", b"10"]


def test_config_get_takes_several_patterns(store):
    found = store.execute("CONFIG", "GET", "hz", "append*", "nosuch")
    assert found[::2].count(b"hz") == 1
    assert b"appendfsync" in found


def test_info_gives_the_sections_asked_for(store):
    assert b"# Keyspace" in store.execute("INFO", "KEYSPACE")
    assert b"# Persistence" not in store.execute("INFO", "keyspace")


def test_resetstat_sets_the_counters_to_zero(store):
    store.execute("SET", "k", "v", "PX", 1)
    store.clock.advance(1)
    store.execute("GET", "k")
    assert store.engine.keyspace.expired_keys == 1
    store.execute("CONFIG", "RESETSTAT")
    assert b"expired_keys:0\r\n" in store.execute("INFO", "stats")


def test_every_command_has_documentation(store):
    docs = store.execute("COMMAND", "DOCS")
    assert len(docs) == 2 * store.execute("COMMAND", "COUNT")
    for name, about in zip(docs[::2], docs[1::2], strict=True):
        assert about[about.index(b"summary") + 1], name


def test_command_info_names_subcommands_with_a_bar(store):
    (entry,) = store.execute("COMMAND", "INFO", "config|get")
    assert entry[0] == b"config|get"
    (container,) = store.execute("COMMAND", "INFO", "CONFIG")
    assert b"config|set" in [sub[0] for sub in container[9]]


def test_a_rewrite_without_a_log_is_refused(store):
    with pytest.raises(ReplyError, match="no append-only file"):
        store.execute("BGREWRITEAOF")
