"""The table of keys is to `Database` what a dict is, in less memory."""

from __future__ import annotations

import sys
import tracemalloc
import weakref
from array import array
from itertools import chain
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from support.require import need

from aofnb.resp.pairs import Pairs
from aofnb.store import _table_cy
from aofnb.store._table_cy import KEPT_BYTES, Table, entry_bytes


@pytest.fixture(autouse=True)
def _kernel() -> None:
    need("the compiled table of keys", _table_cy.COMPILED)


class Thing:
    """Something that can be referred to weakly."""


def colliding(count: int, bits: int) -> list[bytes]:
    """Keys that want the same slot in every index of up to so many bits. The table hashes as Python does."""
    wanted = hash(b"0") & ((1 << bits) - 1)
    found = []
    number = 0
    while len(found) < count:
        key = b"%d" % number
        if hash(key) & ((1 << bits) - 1) == wanted:
            found.append(key)
        number += 1
    return found


def run_of(pairs: list[tuple[bytes, bytes]]) -> Pairs:
    """Keys and values in their places in one string."""
    data = bytearray(b"?")
    places = array("i")
    for text in chain.from_iterable(pairs):
        places += array("i", (len(data), len(data) + len(text)))
        data += text + b"?"
    return Pairs(bytes(data), places.tobytes())


KEYS = [b"", b"\0", b"k" * 300, b"\xff\r\n", *(b"%d" % i for i in range(40)), *colliding(30, 8)]
# Lengths around those where a record grows by a piece, and where a string is kept no more.
STRINGS = [b"v" * size for size in (0, 1, 5, 6, 7, 8, 20, 24, 600, KEPT_BYTES, KEPT_BYTES + 1, 5000)]
NUMBERS = [0, -1, 1 << 40, (1 << 63) - 1, -(1 << 63), 1 << 63, -(1 << 63) - 1]
OTHERS: list[Any] = [bytearray(b"edited"), [1], None, True, 0.5, "text", Thing(), type("B", (bytes,), {})(b"short")]
keys = st.sampled_from(KEYS)
values = st.sampled_from([*STRINGS, *NUMBERS, *OTHERS]) | st.binary(max_size=40)


class AsADict(RuleBasedStateMachine):
    """Whatever is done to a table and to a dict, both hold the same in the same order."""

    @initialize()
    def empty(self):
        self.table: Table[Any] = Table()
        self.twin: dict[bytes, Any] = {}

    @rule(key=keys, value=values)
    def put(self, key, value):
        self.table[key] = self.twin[key] = value

    @rule(pairs=st.lists(st.tuples(keys, values), max_size=60))
    def update(self, pairs):
        self.table.update(pairs)
        self.twin.update(pairs)

    @rule(pairs=st.lists(st.tuples(keys, st.sampled_from(STRINGS)), max_size=60))
    def update_from_a_log(self, pairs):
        run = run_of(pairs)
        assert list(run) == pairs
        assert len(run) == len(pairs)
        self.table.update(run)
        self.twin.update(pairs)

    @rule(key=keys)
    def pop(self, key):
        assert self.table.pop(key, "none") == self.twin.pop(key, "none")

    @rule(key=keys)
    def delete(self, key):
        if key in self.twin:
            del self.table[key], self.twin[key]
        with pytest.raises(KeyError):
            del self.table[key]

    @rule(left=st.integers(0, 3))
    def remove_most(self, left):
        for key in list(self.twin)[left:]:
            del self.table[key], self.twin[key]

    @rule(key=keys)
    def look_up(self, key):
        assert (key in self.table) == (key in self.twin)
        assert self.table.get(key) == self.twin.get(key)
        if key in self.twin:
            assert self.table[key] == self.twin[key]
            assert type(self.table[key]) is type(self.twin[key])
        else:
            with pytest.raises(KeyError):
                self.table[key]

    @invariant()
    def is_the_same(self):
        if hasattr(self, "twin"):
            assert len(self.table) == len(self.twin)
            assert bool(self.table) == bool(self.twin)
            assert list(self.table) == list(self.twin)
            assert list(self.table.items()) == list(self.twin.items())


def test_a_table_does_as_a_dict_does():
    run_state_machine_as_test(AsADict)


def test_keys_whose_hashes_agree_where_the_index_looks_are_two():
    """In the smallest index that is the low 3 and the high 29 bits."""
    seen: dict[tuple[int, int], bytes] = {}
    pairs = []
    for number in range(300_000):
        key = b"%d" % number
        hashed = hash(key) & ((1 << 64) - 1)
        other = seen.setdefault((hashed & 7, hashed >> 35), key)
        if other is not key:
            pairs.append((other, key))
    assert pairs
    for one, two in pairs:
        table: Table[Any] = Table()
        table[one] = b"1"
        assert two not in table
        table[two] = b"2"
        assert (table[one], table[two], len(table)) == (b"1", b"2", 2)
        del table[one]
        assert (table.get(one), table.get(two)) == (None, b"2")


def test_a_large_table_holds_what_was_put_in():
    count = 200_000
    table: Table[Any] = Table()
    table.update(run_of([(b"key:%d" % i, b"%d" % i) for i in range(count)]))
    for i in range(0, count, 2):
        del table[b"key:%d" % i]
    table.update((b"key:%d" % i, i) for i in range(count, count + count // 2))
    assert len(table) == count
    assert all(table[b"key:%d" % i] == b"%d" % i for i in range(1, count, 2))
    assert list(table) == [b"key:%d" % i for i in (*range(1, count, 2), *range(count, count + count // 2))]


def test_keys_are_bytes():
    table: Table[Any] = Table()
    for key in ("text", bytearray(b"k"), None, 7):
        with pytest.raises(TypeError):
            table[key] = b"v"
        with pytest.raises(TypeError):
            table.get(key)
    assert len(table) == 0


def test_references_are_held_as_long_as_they_are_there():
    table: Table[Any] = Table()
    thing = Thing()
    before = sys.getrefcount(thing)
    table[b"k"] = table[b"l"] = thing
    assert table[b"k"] is thing
    assert sys.getrefcount(thing) == before + 2
    table[b"k"] = [1]
    table[b"l"] = b"short"
    assert sys.getrefcount(thing) == before
    table[b"k"] = table[b"l"] = thing
    table[b"k"] = 7
    assert table.pop(b"l", None) is thing
    assert sys.getrefcount(thing) == before
    table.update((b"%d" % i, thing) for i in range(100))
    list(table.items())
    for i in range(0, 100, 2):
        del table[b"%d" % i]
    assert sys.getrefcount(thing) == before + 50
    del table
    assert sys.getrefcount(thing) == before


def test_strings_and_keys_are_copied_and_long_strings_are_not():
    table: Table[Any] = Table()
    key, short, long = b"key of its own", b"s" * KEPT_BYTES, b"l" * (KEPT_BYTES + 1)
    counts = list(map(sys.getrefcount, (key, short)))
    table[key] = short
    assert list(map(sys.getrefcount, (key, short))) == counts
    table[key] = long
    assert table[key] is long


def test_who_goes_may_use_the_table():
    """What a dying value does finds a table that is whole."""
    table: Table[Any] = Table()
    seen = []

    def look(_gone: object) -> None:
        seen.append(list(table.items()))
        table[b"other"] = b"put"
        table.update((b"%d" % i, b"") for i in range(100))

    for change in (
        lambda: table.__setitem__(b"k", b"new"),
        lambda: table.__setitem__(b"k", 7),
        lambda: table.__setitem__(b"k", [1]),
        lambda: table.__delitem__(b"k"),
    ):
        thing = Thing()
        table[b"k"] = thing
        _watched = weakref.ref(thing, look)
        del thing
        change()
    assert [dict(items).get(b"k") for items in seen] == [b"new", 7, [1], None]
    assert len(table) == 101


def test_going_through_a_table_that_changes_is_an_error():
    table: Table[Any] = Table()
    table.update((b"%d" % i, b"") for i in range(10))
    for walk in (iter(table), table.items()):
        next(walk)
        table[b"new"] = b""
        with pytest.raises(RuntimeError, match="changed"):
            next(walk)
        del table[b"new"]
    for key in table:
        table[key] = b"another value"
    assert set(dict(table.items()).values()) == {b"another value"}


def test_memory_is_given_back_and_is_what_is_estimated():
    # As many as there is room for with an index of that size.
    pairs = [(b"key:%08d" % i, b"value%05d" % i) for i in range(98_000)]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        table: Table[Any] = Table()
        for _ in range(3):
            table.update(pairs)
            taken = tracemalloc.get_traced_memory()[0] - before
            assert taken / len(pairs) == pytest.approx(entry_bytes(*pairs[0]), rel=0.1)
            for key, _value in pairs:
                del table[key]
            # When there is no room behind them, the gaps are closed.
            for i in range(1000):
                table[b"%d" % i] = b"v"
                del table[b"%d" % i]
            left = tracemalloc.get_traced_memory()[0] - before
            assert left < taken / 50
        del table
        assert tracemalloc.get_traced_memory()[0] - before < taken / 50
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("value", [b"short", 7, [1], b"l" * 5000])
@pytest.mark.parametrize("size", [0, 5, 6, 12, 24, 100])
def test_without_memory_nothing_changes(size, value):
    memory = pytest.importorskip("_testcapi", reason="only this can have the allocator fail")
    for key in (b"new", b"0"):
        for allowed in range(4):
            table: Table[Any] = Table()
            table.update((b"%d" % i, b"v" * 50) for i in range(size))
            before = list(table.items())
            memory.set_nomemory(allowed, 0)
            try:
                table[key] = value
            except MemoryError:
                failed = True
            else:
                failed = False
            finally:
                memory.remove_mem_hooks()
            after = dict(before)
            if not failed:
                after[key] = value
            assert list(table.items()) == list(after.items())
            assert key not in after or table[key] == after[key]
            table.update((b"more%d" % i, value) for i in range(50))
            assert len(table) == len(after) + 50
