"""What only we decide: waiting, ids that come from the clock, and what a log's client may do."""

import pytest

import aofnb
from aofnb.clock import FakeClock
from aofnb.commands.streams import parse_id

NOW_MS = 1_700_000_000_000


@pytest.fixture
def store():
    with aofnb.open(None, background=False, clock=FakeClock(NOW_MS)) as store:
        yield store


def test_ids_come_from_the_clock_and_never_go_back(store):
    assert store.execute("XADD", "x", "*", "f", "v") == b"%d-0" % NOW_MS
    assert store.execute("XADD", "x", "*", "f", "v") == b"%d-1" % NOW_MS
    store.execute("XADD", "x", NOW_MS + 5, "f", "v")
    assert store.execute("XADD", "x", "*", "f", "v") == b"%d-1" % (NOW_MS + 5)


@pytest.mark.parametrize("command", ["XREAD", "XREADGROUP GROUP g c"])
def test_block_serves_what_is_there_and_makes_no_consumer_before_it_does(store, command):
    store.execute("XGROUP", "CREATE", "x", "g", "0", "MKSTREAM")
    words = [*command.split(), "BLOCK", "0", "STREAMS", "x", ">" if "GROUP" in command else "0"]
    with pytest.raises(aofnb.ReplyError, match=r"ERR XREAD(GROUP)? would wait"), store.batch():
        store.execute(*words)
    assert store.execute("XINFO", "CONSUMERS", "x", "g") == []
    store.execute("MULTI")
    store.execute(*words)
    assert store.execute("EXEC") == [None]
    store.execute("XADD", "x", "1-1", "f", "v")
    assert store.execute(*words) == [[b"x", [[b"1-1", [b"f", b"v"]]]]]


def test_a_reply_under_resp3_is_a_map(store):
    store._session.client.resp = 3
    store.execute("XADD", "x", "1-1", "f", "v")
    assert store.execute("XREAD", "STREAMS", "x", "0") == {b"x": [[b"1-1", [b"f", b"v"]]]}
    assert store.execute("XINFO", "STREAM", "x")[b"length"] == 1


@pytest.mark.parametrize(
    ("text", "entry_id"),
    [(b"5", (5, 7)), (b"5-1", (5, 1)), (b"007-1", (7, 1)), (b" 3", (3, 7)), (b"+4-1", (4, 1)), (b"5\0-9", (5, 7))],
)
def test_ids_are_read_as_leniently_as_the_server_reads_them(text, entry_id):
    assert parse_id(text, 7) == entry_id


@pytest.mark.parametrize("text", [b"", b"-", b"+", b"a", b"5-", b"-5", b"5--1", b"5-1-1", b"18446744073709551616"])
def test_what_is_no_id_is_refused(text):
    with pytest.raises(aofnb.ReplyError, match="Invalid stream ID"):
        parse_id(text)


def test_a_log_may_hold_what_a_client_may_not_say(store, tmp_path):
    """`XADD x MAXLEN = 2 LIMIT 5` is what the server writes for `MAXLEN ~ .. LIMIT 5`."""
    record = ["XADD", "x", "MAXLEN", "=", "2", "LIMIT", "5", "9-1", "f", "v"]
    with pytest.raises(aofnb.ReplyError, match="LIMIT cannot be used without the special ~ option"):
        store.execute(*record)
    client = store._session.client
    client.loading = True
    for n in range(1, 4):
        store.execute("XADD", "x", f"{n}-1", "f", "v")
    store.execute(*record)
    assert [entry[0] for entry in store.execute("XRANGE", "x", "-", "+")] == [b"3-1", b"9-1"]


def test_the_record_of_an_approximate_trim_keeps_the_case_as_typed(tmp_path):
    with aofnb.open(tmp_path, background=False, clock=FakeClock(NOW_MS), stream_node_max_entries=2) as store:
        for n in range(1, 6):
            store.execute("XADD", "x", f"{n}-1", "f", "v")
        store.execute("xadd", "x", "maxlen", "~", "3", "*", "f", "v")
        store.execute("XTRIM", "x", "MINID", "~", "9")
    log = next((tmp_path / "appendonlydir").glob("*.incr.aof")).read_bytes()
    added, trimmed = log.split(b"xadd\r\n")[1], log.split(b"XTRIM\r\n")[1]
    assert b"maxlen\r\n$1\r\n=\r\n$1\r\n4\r\n" in added
    assert b"%d-0\r\n" % NOW_MS in added
    assert b"MINID\r\n$1\r\n=\r\n$3\r\n5-1\r\n" in trimmed
