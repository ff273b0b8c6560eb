"""Random choices, which no other server makes alike, and what must be gone from the keyspace."""

import pytest

import aofnb

MEMBERS = [b"%d" % i for i in range(10)]


@pytest.fixture
def store():
    with aofnb.open(None, background=False, seed=5) as store:
        yield store


@pytest.mark.parametrize("count", [1, 2, 5, 8, 9, 10, 11])
@pytest.mark.parametrize("extra", [[], [b"x"]], ids=["intset", "hashtable"])
def test_spop_removes_exactly_what_it_returns(store, count, extra):
    members = MEMBERS + extra
    store.execute("SADD", "s", *members)
    popped = store.execute("SPOP", "s", count)
    assert len(set(popped)) == len(popped) == min(count, len(members))
    assert sorted(popped + store.execute("SMEMBERS", "s")) == sorted(members)
    assert store.execute("EXISTS", "s") == int(count < len(members))


def test_spop_of_nearly_all_keeps_the_deadline(store):
    store.execute("SADD", "s", *MEMBERS)
    store.execute("EXPIRE", "s", 100)
    store.execute("SPOP", "s", 9)
    assert store.execute("TTL", "s") == 100


def test_srandmember_repeats_only_with_a_negative_count(store):
    store.execute("SADD", "s", *MEMBERS)
    drawn = store.execute("SRANDMEMBER", "s", 6)
    assert len(set(drawn)) == 6
    assert set(drawn) <= set(MEMBERS)
    assert len(store.execute("SRANDMEMBER", "s", -50)) == 50
    assert {store.execute("SRANDMEMBER", "s") for _ in range(300)} == set(MEMBERS)


def test_the_same_seed_draws_the_same_members():
    def draw() -> list[bytes]:
        with aofnb.open(None, background=False, seed=7) as store:
            store.execute("SADD", "s", *MEMBERS, "x")
            return [*store.execute("SRANDMEMBER", "s", -20), *store.execute("SPOP", "s", 3)]

    assert draw() == draw()


@pytest.mark.parametrize("command", ["SREM s a", "SMOVE s d a", "SPOP s", "SPOP s 1", "SDIFFSTORE s s s"])
def test_a_set_that_became_empty_is_no_key_any_more(store, command):
    store.execute("SADD", "s", "a")
    store.execute(*command.split())
    assert store.execute("EXISTS", "s") == 0


def test_sscan_gives_every_member_once_in_steps(store):
    members = [b"m%d" % i for i in range(100)]
    store.execute("SADD", "s", *members)
    cursor, found, steps = b"0", [], 0
    while True:
        cursor, some = store.execute("SSCAN", "s", cursor, "COUNT", 7)
        found += some
        steps += 1
        if cursor == b"0":
            break
    assert sorted(found) == sorted(members)
    assert steps == 15


def test_an_intset_comes_in_one_step_and_in_order(store):
    store.execute("SADD", "s", *range(100, 0, -1))
    assert store.execute("SSCAN", "s", 0, "COUNT", 7) == [b"0", [b"%d" % i for i in range(1, 101)]]
