"""Databases: containers that are made when asked for, the order of deadlines, scans and keys by chance."""

from __future__ import annotations

import itertools
import random
import tracemalloc
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.require import need

from aofnb.errors import ReplyError
from aofnb.store._table_cy import COMPILED
from aofnb.store.hash_value import HashValue
from aofnb.store.keyspace import Keyspace
from aofnb.store.set_value import SetValue


@pytest.fixture
def keyspace():
    return Keyspace(1, lambda: 1000)


def test_a_container_is_made_once_and_only_of_its_own_kind(keyspace):
    db = keyspace[0]
    made = db.lookup_or_add(b"k", HashValue)
    assert db.lookup_or_add(b"k", HashValue) is made
    with pytest.raises(ReplyError, match="WRONGTYPE"):
        db.lookup_or_add(b"k", SetValue)
    db.put(b"s", b"text")
    with pytest.raises(ReplyError, match="WRONGTYPE"):
        db.lookup_or_add(b"s", HashValue)


@pytest.mark.parametrize("asked_first", [False, True], ids=["order made late", "order kept from the start"])
def test_the_next_deadline_is_the_earliest_whatever_was_set_or_dropped_before(keyspace, asked_first):
    db, rng = keyspace[0], random.Random(1)
    if asked_first:
        assert db.next_deadline_ms() is None
    known: dict[bytes, int] = {}
    for step in range(2000):
        key = b"k%d" % rng.randrange(20)
        db.put(key, b"")
        if rng.random() < 0.8:
            known[key] = 2000 + rng.randrange(1000)
            db.set_deadline(key, known[key])
        else:
            assert db.persist(key) == (known.pop(key, None) is not None)
        if step % 400 == 399:
            assert db.next_deadline_ms() == min(known.values())


def test_overdue_keys_go_earliest_first_and_no_more_than_asked_for():
    gone = []
    keyspace = Keyspace(1, lambda: 1000, lambda _db, key: gone.append(key))
    db = keyspace[0]
    for key, when_ms in ((b"c", 30), (b"a", 10), (b"later", 5000), (b"b", 20)):
        db.put(key, b"")
        db.set_deadline(key, when_ms)
    assert db.expire_due(2) == 2
    assert db.expire_due(9) == 1
    assert gone == [b"a", b"b", b"c"]


KEYS = st.integers(0, 400).map(lambda number: b"k%d" % number)
CHANGES = st.one_of(
    st.tuples(st.just("put"), st.lists(KEYS, max_size=300)),
    st.tuples(st.just("delete"), st.lists(KEYS, max_size=300)),
    st.tuples(st.just("random"), st.just([])),
    st.tuples(st.just("clear"), st.just([])),
)


@given(st.lists(KEYS), st.lists(st.tuples(st.integers(1, 40), CHANGES)))
def test_a_scan_gives_what_is_there_all_the_time_and_ends(first, steps):
    """Whatever comes and goes between its steps, and however often the table grows, shrinks or closes its gaps."""
    db = Keyspace(1, lambda: 1000)[0]
    for key in first:
        db.put(key, b"")
    throughout, ever, seen = set(first), set(first), set()
    cursor = 0
    for count, (kind, keys) in itertools.chain(steps, [(7, ("put", []))] * 1000):
        cursor, found = db.scan(cursor, count)
        assert all(key in db for key in found)
        assert len(found) <= count
        seen.update(found)
        if cursor == 0:
            break
        if kind == "put":
            for key in keys:
                db.put(key, b"")
            ever.update(keys)
        elif kind == "random":
            assert db.random_key(random.Random(1)) in (db.keys() or [None])
        else:
            for key in keys if kind == "delete" else db.keys():
                db.delete(key)
        throughout &= set(db.keys())
    assert cursor == 0
    assert throughout <= seen <= ever


def test_a_scan_of_a_large_database_takes_nothing_along(keyspace):
    """Nor does RANDOMKEY: neither makes as many objects as there are keys."""
    need("the compiled table of keys", COMPILED)
    db = keyspace[0]
    for number in range(50_000):
        db.put(b"k%d" % number, b"")
    tracemalloc.start()
    try:
        cursor, found = db.scan(0, 10)
        chosen = {db.random_key(random.Random(seed)) for seed in range(20)}
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    assert (len(found), cursor != 0, len(chosen)) == (10, True, 20)


def test_every_key_has_the_same_chance_also_among_gaps(keyspace):
    db, rng = keyspace[0], random.Random(7)
    for number in range(1000):
        db.put(b"k%d" % number, b"")
    for number in range(1000):
        if number % 100 >= 4:
            db.delete(b"k%d" % number)
    chosen = Counter(db.random_key(rng) for _ in range(8000))
    assert set(chosen) == set(db.keys())
    assert all(120 < times < 280 for times in chosen.values())
    for key in db.keys()[1:]:
        db.delete(key)
    assert db.random_key(rng) == db.keys()[0]
    db.clear()
    assert db.random_key(rng) is None


def test_a_step_of_a_scan_goes_over_many_gaps_but_not_over_all(keyspace):
    """A step among millions of gaps would keep everybody waiting; one that gives nothing is followed by others."""
    db = keyspace[0]
    for number in range(200_000):
        db.put(b"k%d" % number, b"")
    for number in range(1, 200_000):
        db.delete(b"k%d" % number)
    cursor, found, steps = 0, [], 0
    while not steps or cursor:
        cursor, some = db.scan(cursor, 1)
        found += some
        steps += 1
    assert found == [b"k0"]
    assert steps < 10


def test_a_cursor_that_was_never_given_out_is_no_fault(keyspace):
    db = keyspace[0]
    db.put(b"k", b"")
    for cursor in (1, 7, 1 << 62, (1 << 64) - 1):
        following, found = db.scan(cursor, (1 << 63) - 1)
        assert (following, set(found) <= {b"k"}) == (0, True)
