"""Random choices, which no other server makes alike, and what must or must not be in the keyspace."""

import pytest

import aofnb
from aofnb import ReplyError

PAIRS = {b"f%d" % i: b"v%d" % i for i in range(10)}


@pytest.fixture
def store():
    with aofnb.open(None, background=False, seed=5) as store:
        yield store


def fill(store):
    store.execute("HSET", "h", *(item for pair in PAIRS.items() for item in pair))


def test_hrandfield_repeats_only_with_a_negative_count(store):
    fill(store)
    drawn = store.execute("HRANDFIELD", "h", 6)
    assert len(set(drawn)) == 6
    assert set(drawn) <= set(PAIRS)
    assert len(store.execute("HRANDFIELD", "h", -50)) == 50
    assert {store.execute("HRANDFIELD", "h") for _ in range(300)} == set(PAIRS)


def test_hrandfield_gives_each_field_its_own_value(store):
    fill(store)
    drawn = store.execute("HRANDFIELD", "h", -20, "WITHVALUES")
    assert len(drawn) == 40
    assert all(PAIRS[field] == value for field, value in zip(drawn[::2], drawn[1::2], strict=True))


@pytest.mark.parametrize("command", ["HINCRBYFLOAT h f inf", "HINCRBYFLOAT h f x", "HINCRBY h f x", "HSET h f v g"])
def test_a_refused_command_makes_no_key(store, command):
    with pytest.raises(ReplyError):
        store.execute(*command.split())
    assert store.execute("EXISTS", "h") == 0


def test_a_hash_that_became_empty_is_no_key_any_more(store):
    fill(store)
    assert store.execute("HDEL", "h", *PAIRS, "nope") == 10
    assert store.execute("EXISTS", "h") == 0


def test_hgetall_is_not_the_hash_itself(store):
    fill(store)
    session = store.session()
    session.client.resp = 3
    reply = session.execute("HGETALL", "h")
    assert reply == PAIRS
    reply.clear()
    assert store.execute("HLEN", "h") == 10


def test_hscan_gives_every_field_once_in_steps(store):
    store.execute("HSET", "h", *(item for i in range(600) for item in (i, -i)))
    assert store.execute("OBJECT", "ENCODING", "h") == b"hashtable"
    cursor, found = b"0", []
    while True:
        cursor, some = store.execute("HSCAN", "h", cursor, "COUNT", 70, "MATCH", "*")
        assert len(some) <= 140
        found += zip(some[::2], some[1::2], strict=True)
        if cursor == b"0":
            break
    assert sorted(found) == sorted((b"%d" % i, b"%d" % -i) for i in range(600))
