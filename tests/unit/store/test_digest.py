"""The digest depends on the data, all of them, and on nothing else. That it is the server's: tests/conformance."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import aofnb
from aofnb.engine import Store
from aofnb.store.digest import keyspace_digest, value_digest

MADE = [
    "SET s hello",
    "RPUSH l a b a",
    "SADD st a b 3",
    "HSET h f v g w",
    "ZADD z 1.5 a -inf b",
    "XADD x 1-1 f v f w",
]


@pytest.fixture
def store() -> Iterator[Store]:
    with aofnb.open(None, background=False) as store:
        yield store


def run(store: Store, *lines: str) -> str:
    for line in lines:
        store.execute(*line.split())
    return keyspace_digest(store.engine.keyspace)


def test_no_data_is_all_zeros(store: Store) -> None:
    assert run(store) == "0" * 40
    assert value_digest(None, None) == "0" * 40


def test_the_order_of_keys_does_not_matter(store: Store) -> None:
    first = run(store, *MADE)
    store.execute("FLUSHALL")
    assert run(store, *reversed(MADE)) == first


@pytest.mark.parametrize(
    "change",
    [
        "SET s hellp",
        "RENAME s t",
        "LSET l 0 b",
        "SADD st c",
        "HSET h f w",
        "ZADD z 1.25 a",
        "XADD x 1-2 f v",
        "XDEL x 1-1",
        "EXPIREAT s 4102444800",
        "MOVE s 1",
        "SWAPDB 0 1",
    ],
)
def test_every_change_of_the_data_changes_it(store: Store, change: str) -> None:
    assert run(store, *MADE) != run(store, change)


@pytest.mark.parametrize(
    "change",
    ["CONFIG SET hz 20", "EXPIREAT e 4102444801", "GETRANGE s 0 0", "XGROUP CREATE x g 0", "SETRANGE s 0 h"],
)
def test_what_is_no_data_does_not(store: Store, change: str) -> None:
    assert run(store, *MADE, "SET e 1", "EXPIREAT e 4102444800") == run(store, change)


def test_the_order_of_elements_matters_in_lists_only(store: Store) -> None:
    def digest_of(line: str) -> str:
        store.execute("FLUSHALL")
        return run(store, line)

    assert digest_of("RPUSH k a b") != digest_of("RPUSH k b a")
    assert digest_of("SADD k a b") == digest_of("SADD k b a")
    assert digest_of("HSET k a 1 b 2") == digest_of("HSET k b 2 a 1")
