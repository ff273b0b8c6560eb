"""Blame looks at what a command names; here everything is looked at behind every command."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from support.long_way import examples
from support.random_logs import random_commands, seeds, write_log

import aofnb
from aofnb.forensics.slicing import Runner, python_value
from aofnb.forensics.travel import empty_store
from aofnb.store.stream import Stream, format_id
from aofnb.store.values import Value, type_name

# Parts of strings, ends of lists, options, and numbers that are none.
MORE = """
SETRANGE k 2 ab|SETRANGE k 9 x|SETRANGE k 0 a|SETBIT k 3 1|SETBIT k 3 0|SETBIT k 40 1|APPEND k xy|SET k abcdef
INCR k|BITFIELD k SET u8 8 65|BITFIELD k INCRBY u8 0 1|SET k 7|GETSET k abc|RPUSH k a b|LPUSH k a b|LPUSHX k c
RPUSHX k d|LPOP k|LPOP k 2|RPOP k 2|LSET k 0 z|LSET k -1 y|LSET k 99 z|LSET k x z|LTRIM k 1 -2|LTRIM k -3 -1
LREM k -1 a|LREM k 0 b|LREM k 2 a|LINSERT k AFTER a q|LMOVE k k RIGHT LEFT|LMOVE k j LEFT RIGHT
LMOVE j k RIGHT LEFT|HSET k a b b c|HSET k b a|HSET k a 1|HINCRBY k a 1|HINCRBYFLOAT k b 0.5|HSETNX k a 9
HDEL k a b|HSETNX k n 1|HSET j a 1|RENAME j k|COPY j k REPLACE|SADD k a b|SADD k 1 2|SREM k a 1|SMOVE j k a
SMOVE k j b|SADD j a b|ZADD k 1 a 2 b|ZADD k NX 5 a|ZADD k GT CH 0 b|ZADD k INCR 1 a|ZINCRBY k 2 b|ZREM k a
ZPOPMIN k|ZREMRANGEBYSCORE k 0 1|ZADD k 1 NX|XADD k {n}-1 f v|XADD k MAXLEN 2 {n}-1 f v
XADD k MAXLEN ~ 1 {n}-1 f v|XADD k MINID {n}-0 {n}-1 f v|XADD k 1-1 f v|XTRIM k MAXLEN 1|XTRIM k MAXLEN 0
XDEL k {n}-1|XADD k NOMKSTREAM {n}-1 f v|XGROUP CREATE k g 0|XSETID k 99999-1|DEL k|DEL j
SET k 1 PXAT 1790000000000|PERSIST k|SUNIONSTORE k k j|SORT k ALPHA STORE k
""".replace("\n", "|").split("|")


def elements_of(value: Value) -> Any:
    """Elements and what they hold; items of lists and bytes of strings by their places alone."""
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    if isinstance(value, Stream):
        return {format_id(entry_id): list(items) for entry_id, items in value.range()}
    held = python_value(value)
    return dict.fromkeys(held, None) if isinstance(held, set) else held


class Everything:
    """Who wrote the elements, or the bytes, of all but lists, by the long way."""

    def __init__(self) -> None:
        self.kind: str | None = None
        self.was: Any = {}
        self.by: dict[Any, int] = {}

    def update(self, value: Value | None, seq: int, argv: list[bytes]) -> None:
        kind = None if value is None else type_name(value)
        if kind != self.kind:
            self.kind, self.was, self.by = kind, {}, {}
        if kind in (None, "list"):
            return
        now = elements_of(value)
        if isinstance(now, bytes):
            wrote = self.wrote(now, argv)
            self.by = {place: seq if place in wrote else self.by[place] for place in range(len(now))}
            self.was = now
            return
        said = argv[2::2] if argv[0].upper() in (b"HSET", b"HMSET") else []
        self.by = {
            each: seq if each in said or each not in self.was or self.was[each] != held else self.by[each]
            for each, held in now.items()
        }
        self.was = now

    def wrote(self, now: bytes, argv: list[bytes]) -> range:
        """The places that a command wrote."""
        name, was, all_of_it = argv[0].upper(), self.was or b"", range(len(now))
        if not was or name not in (b"APPEND", b"SETRANGE", b"SETBIT", b"BITFIELD"):
            return all_of_it
        if name == b"SETRANGE":
            start = int(argv[2])
            return (
                all_of_it[start : start + len(argv[3])] if len(now) == len(was) else all_of_it[min(start, len(was)) :]
            )
        places = [place for place in all_of_it if place >= len(was) or was[place] != now[place]]
        return range(places[0], places[-1] + 1) if places else range(0)


def long_way(log: aofnb.Log, key: bytes) -> dict[Any, int] | None:
    store = empty_store(log, None)
    runner, traced = Runner(log, store), {}
    for event in log.postings().events(range(len(log))):
        if event.argv[0] == b"RENAME" and event.argv[1] in traced and event.argv[1] != event.argv[2]:
            traced[event.argv[2]] = traced.pop(event.argv[1])
        runner.run(event)
        for name in (b"k", b"j"):
            if name in event.argv:
                traced.setdefault(name, Everything()).update(store.engine.keyspace[0].peek(name), event.seq, event.argv)
    mine = traced.get(key)
    return None if mine is None or mine.kind == "list" else mine.by


commands = st.lists(st.sampled_from([each for each in MORE if each]), min_size=1, max_size=25)


@given(commands)
@example(["HSET k b a", "HSET k a b b c", "HSET k b a"])
@example(["XADD k {n}-1 f v", "XADD k {n}-1 f v", "XADD k MAXLEN 2 {n}-1 f v", "XDEL k 2-1"])
def test_elements_are_of_whom_the_long_way_says(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("log") / "x.aof"
    write_log(path, [line.replace("{n}", str(n)).encode().split() for n, line in enumerate(lines, 1)])
    log = aofnb.scan(path, cache_dir=False)
    expected = long_way(log, b"k")
    frame = log.blame("k")
    end = log.at("end").engine.keyspace[0].peek(b"k")
    if end is None:
        assert frame.empty
        return
    now = elements_of(end)
    if isinstance(now, bytes):
        assert b"".join(frame["value"]) == now
        runs = [range(*map(int, each.split(":"))) for each in frame["element"]]
        assert {place: seq for run, seq in zip(runs, frame["seq"], strict=True) for place in run} == expected
    elif isinstance(now, list):
        assert (frame["element"].tolist(), frame["value"].tolist()) == (list(range(len(now))), now)
    else:
        assert dict(zip(frame["element"], frame["value"], strict=True)) == now
        assert dict(zip(frame["element"], frame["seq"], strict=True)) == expected


@examples(40)
@given(seed=seeds)
def test_blame_of_anything_has_what_is_there(seed, tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "x.aof"
    write_log(path, random_commands(random.Random(seed), 150))
    log = aofnb.scan(path, cache_dir=False)
    keyspace = log.at("end").engine.keyspace
    for db in range(3):
        for key, value, _ in list(keyspace[db].walk()):
            frame = log.blame(key, db=db)
            assert len(frame) >= (1 if len(value) else 0)
            held = elements_of(value)
            assert (b"".join(frame["value"]) if isinstance(held, bytes) else len(frame)) == (
                held if isinstance(held, bytes) else len(held)
            )
            assert (frame["seq"] < len(log)).all()
