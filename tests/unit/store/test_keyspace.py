"""Databases: containers that are made when asked for, and the order of deadlines."""

from __future__ import annotations

import random

import pytest

from aofnb.errors import ReplyError
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
