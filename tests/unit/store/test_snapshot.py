"""aofnb/store/snapshot.py: the data as commands that rebuild it."""

from __future__ import annotations

import math

import pytest

from aofnb.store.functions import Library
from aofnb.store.hash_value import HashValue
from aofnb.store.keyspace import Keyspace
from aofnb.store.list_value import ListValue
from aofnb.store.set_value import SetValue
from aofnb.store.snapshot import NO_DB, commands_of, commands_of_key
from aofnb.store.stream import Group, Stream
from aofnb.store.zset import SortedSet

ITEMS = [b"%03d" % i for i in range(150)]


def of(value) -> list[list[bytes]]:
    return list(commands_of_key(b"k", value))


def test_databases_in_order_and_each_deadline_right_behind_its_key():
    keyspace = Keyspace(4, lambda: 1000)
    keyspace[2].put(b"late", b"2")
    keyspace[0].put(b"a", b"1")
    keyspace[0].set_deadline(b"a", 5000)
    keyspace[0].put(b"b", bytearray(b"raw"))
    keyspace.functions["lib"] = Library("lib", "LUA", b"#!lua name=lib\n", ())
    assert list(commands_of(keyspace)) == [
        (NO_DB, [b"FUNCTION", b"LOAD", b"#!lua name=lib\n"]),
        (0, [b"SET", b"a", b"1"]),
        (0, [b"PEXPIREAT", b"a", b"5000"]),
        (0, [b"SET", b"b", b"raw"]),
        (2, [b"SET", b"late", b"2"]),
    ]


def test_an_overdue_key_is_written_with_its_deadline():
    keyspace = Keyspace(1, lambda: 1000)
    keyspace[0].put(b"a", ListValue([b"x"]))
    keyspace[0].set_deadline(b"a", 10)
    assert [argv[0] for _, argv in commands_of(keyspace)] == [b"RPUSH", b"PEXPIREAT"]
    assert len(keyspace[0]) == 1


@pytest.mark.parametrize(
    ("value", "name", "width"),
    [
        (ListValue(ITEMS), b"RPUSH", 1),
        (SetValue.of(ITEMS), b"SADD", 1),
        (HashValue.of(dict.fromkeys(ITEMS, b"v")), b"HMSET", 2),
        (SortedSet.of({item: float(item) for item in ITEMS}), b"ZADD", 2),
    ],
)
def test_containers_come_in_batches_of_64_items(value, name, width):
    commands = of(value)
    assert [argv[:2] for argv in commands] == [[name, b"k"]] * 3
    assert [(len(argv) - 2) // width for argv in commands] == [64, 64, 22]
    flat = [arg for argv in commands for arg in argv[2:]]
    assert sorted(flat[width - 1 :: width] if name == b"ZADD" else flat[::width]) == ITEMS


def test_a_list_keeps_its_order_and_a_full_last_batch_is_the_last():
    assert of(ListValue(ITEMS[:64])) == [[b"RPUSH", b"k", *ITEMS[:64]]]


def test_scores_are_spelled_as_7_0_spells_them():
    scores = {b"a": 0.1, b"b": -0.0, b"c": math.inf, b"d": -math.inf, b"e": 3.0, b"f": 1e300, b"g": 1e-7}
    (argv,) = of(SortedSet.of(scores))
    assert argv[2:] == [
        *(b"-inf", b"d"),
        *(b"0", b"b"),
        *(b"9.9999999999999995e-08", b"g"),
        *(b"0.10000000000000001", b"a"),
        *(b"3", b"e"),
        *(b"1.0000000000000001e+300", b"f"),
        *(b"inf", b"c"),
    ]


def test_minus_zero_of_a_large_set_is_zero_too():
    zset = SortedSet.of({b"%d" % i: -0.0 for i in range(200)})
    assert {arg for argv in of(zset) for arg in argv[2::2]} == {b"0"}


def test_a_stream_with_groups():
    stream = Stream()
    for n in (1, 2, 3):
        stream.append((n, 0), [b"f", b"%d" % n], 4096, 100)
    stream.delete((2, 0))
    late = stream.groups[b"z"] = Group((3, 0), 3)
    early = stream.groups[b"a"] = Group((1, 0))
    assert late.create_consumer(b"idle", 0) is not None
    busy = early.create_consumer(b"busy", 0)
    assert busy is not None
    early.assign((1, 0), busy, 1700000000000, 5)
    assert of(stream) == [
        [b"XADD", b"k", b"1-0", b"f", b"1"],
        [b"XADD", b"k", b"3-0", b"f", b"3"],
        [b"XSETID", b"k", b"3-0", b"ENTRIESADDED", b"3", b"MAXDELETEDID", b"2-0"],
        [b"XGROUP", b"CREATE", b"k", b"a", b"1-0", b"ENTRIESREAD", b"-1"],
        [
            b"XCLAIM",
            b"k",
            b"a",
            b"busy",
            b"0",
            b"1-0",
            b"TIME",
            b"1700000000000",
            b"RETRYCOUNT",
            b"5",
            b"JUSTID",
            b"FORCE",
        ],
        [b"XGROUP", b"CREATE", b"k", b"z", b"3-0", b"ENTRIESREAD", b"3"],
        [b"XGROUP", b"CREATECONSUMER", b"k", b"z", b"idle"],
    ]


def test_a_stream_without_entries_is_made_by_adding_and_trimming():
    assert of(Stream()) == [
        [b"XADD", b"k", b"MAXLEN", b"0", b"0-1", b"x", b"y"],
        [b"XSETID", b"k", b"0-0", b"ENTRIESADDED", b"0", b"MAXDELETEDID", b"0-0"],
    ]
