"""The replay kernel leaves the data that the handlers leave, whatever the log holds."""

from __future__ import annotations

import io
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.kernels import FORMS, kernel

from aofnb.clock import FakeClock
from aofnb.config import Config
from aofnb.engine import plain_replay, replay
from aofnb.engine.core import Engine
from aofnb.resp.encode import encode_command
from aofnb.resp.reader import CommandReader
from aofnb.store.stream import Stream

WAYS = (*FORMS, "plain")


def apply_of(way: str) -> Any:
    """The kernel in one of its forms, or what takes its place where it is not compiled."""
    return plain_replay.apply if way == "plain" else kernel("aofnb.engine._replay_cy", way).apply


CONFIG = {
    "hash_max_listpack_entries": 3,
    "hash_max_listpack_value": 4,
    "set_max_intset_entries": 3,
    "zset_max_listpack_entries": 3,
    "zset_max_listpack_value": 4,
    "stream_node_max_entries": 3,
}

keys = st.sampled_from([b"a", b"b", b"c", b""])
words = st.sampled_from(
    [b"1", b"0", b"-0", b"07", b"2.5", b"", b".", b"1e3", b"nan", b"inf", b"longer", b"NX", b"9" * 18]
) | st.from_regex(rb"[0-9]{0,13}\.?[0-9]{0,5}", fullmatch=True)
ids = st.sampled_from(
    b"1-1 1-2 2-0 3-0 4-7 0-0 5 * 6-* -1 7- 1-1-1 999999999999999999-1 18446744073709551615-1 x 007-1".split()
)
commands = st.one_of(
    st.tuples(st.sampled_from([b"SET", b"RPUSH", b"LPUSH", b"SADD", b"PEXPIREAT", b"sadd", b"Set"]), keys, words),
    st.tuples(st.sampled_from([b"HSET", b"ZADD", b"SET", b"rpush", b"SADD"]), keys, words, words),
    st.tuples(st.sampled_from([b"HSET", b"ZADD", b"RPUSH", b"LPUSH", b"SADD"]), keys, words, words, words, words),
    st.tuples(st.just(b"XADD"), keys, ids, words, words),
    st.tuples(st.just(b"XADD"), keys, st.just(b"MAXLEN"), st.just(b"2"), ids, words, words),
    st.tuples(st.sampled_from([b"DEL", b"INCR", b"incr", b"GET", b"PERSIST", b"LPOP", b"RPOP", b"lpop"]), keys),
    st.tuples(st.sampled_from([b"MSET", b"INCRBY", b"incrby", b"LPOP"]), keys, words),
    st.tuples(st.just(b"MSET"), keys, words, keys, words),
    st.tuples(st.just(b"SET"), keys, words, st.sampled_from([b"PXAT", b"PX", b"pxat"]), words),
    st.tuples(st.just(b"LTRIM"), keys, st.sampled_from([b"0", b"1", b"-1"]), st.sampled_from([b"1", b"-1", b"2"])),
    st.tuples(st.just(b"ZRANGE"), keys, st.just(b"0"), st.just(b"-1")),
    st.tuples(st.just(b"SELECT"), st.sampled_from([b"0", b"1"])),
    st.sampled_from([(b"MULTI",), (b"MULTI",), (b"EXEC",), (b"EXEC",), (b"RANDOMKEY",), (b"FLUSHDB",)]),
)


def state(engine: Engine) -> list[Any]:
    """All that is kept, in the order it is kept."""
    found = []
    for db in engine.keyspace:
        for key, value, deadline in db.walk():
            content: Any = value
            if not isinstance(value, bytes | bytearray):
                content = [
                    list(getattr(value, name).items() if name != "chunks" else value)
                    for name in ("fields", "members", "scores", "chunks")
                    if hasattr(value, name)
                ]
            if isinstance(value, Stream):
                content = [(node._body_bytes, node.ids, node.entries, node.fields) for node in value.nodes]
                content += [value.length, value.entries_added, value.last_id]
            encoding = getattr(value, "encoding", type(value))
            found.append((db.index, key, repr(content), encoding, deadline))
    return found


def engine_of_small_limits() -> Engine:
    engine = Engine(Config(), FakeClock(), random.Random(1))
    for name, value in CONFIG.items():
        setattr(engine.config, name, value)
    return engine


def replayed(log: bytes, piece: int = 1 << 16) -> tuple[list[Any], list[Any], int]:
    engine = engine_of_small_limits()
    replayer = replay.Replayer(engine)
    with replayer.loading():
        for block in CommandReader(io.BytesIO(log), len(log), piece=piece):
            replayer.replay("log", block)
    return state(engine), replayer.failed, replayer.commands


@pytest.mark.parametrize("way", WAYS)
@given(st.lists(commands, max_size=30), st.sampled_from([64, 1 << 16]))
def test_the_kernel_and_the_handlers_leave_the_same(way, argvs, piece):
    log = b"".join(map(encode_command, argvs))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replay, "apply", apply_of(way))
        if way != "plain":
            patch.setattr(replay, "transaction_end", kernel("aofnb.engine._replay_cy", way).transaction_end)
        quick = replayed(log, piece)
        patch.setattr(replay, "OPERATIONS", frozenset())
        patch.setattr(replay, "transaction_end", lambda _argvs, _index: -1)
        slow = replayed(log, piece)
    assert quick == slow


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("noted", [b"", b"#TS:1\r\n"], ids=["plain", "with an annotation"])
def test_long_commands_and_values_are_no_exception(way, noted, monkeypatch):
    """More arguments than the kernel takes, and values that are no part of the table."""
    many = [b"%d" % number for number in range(70)]
    log = noted + b"".join(
        encode_command(argv)
        for argv in (
            [b"RPUSH", b"l", *many],
            [b"HSET", b"h", *many],
            [b"ZADD", b"z", *many],
            [b"SADD", b"s", *many],
            *([b"SET", b"v%d" % size, b"x" * size] for size in (0, 1023, 1024, 1025, 70_000)),
            *([b"RPUSH", b"l2", *many[:size]] for size in (1, 61, 62, 63)),
            [b"HSET", b"h2", *many[:62]],
            [b"XADD", b"x", b"1-1", *many[:62]],
            [b"INCR", b"v0"],
            [b"DEL", b"v1023"],
        )
    )
    monkeypatch.setattr(replay, "apply", apply_of(way))
    quick = replayed(log)
    monkeypatch.setattr(replay, "OPERATIONS", frozenset())
    assert quick == replayed(log)
    assert [failure.command for failure in quick[1]] == ["INCR"]
    assert log[quick[1][0].offset :].startswith(b"*2\r\n$4\r\nINCR")


@given(st.lists(st.tuples(keys, words), min_size=4, max_size=60), st.booleans())
def test_a_run_of_sets_is_what_each_set_is(pairs, with_deadline):
    head = [[b"SET", b"a", b"x"], [b"PEXPIREAT", b"a", b"4102444800000"]] if with_deadline else []
    log = b"".join(encode_command([*argv]) for argv in head)
    run = b"".join(encode_command([b"SET", *pair]) for pair in pairs)
    # Spelled otherwise it is no run.
    assert replayed(log + run) == replayed(log + run.replace(b"\r\nSET\r\n", b"\r\nSeT\r\n"))
    (first, *_) = CommandReader(io.BytesIO(run), len(run))
    assert first.sets is not None
    assert first.argvs == [[b"SET", *pair] for pair in pairs]
    assert first.ends[-1] == len(run)


@pytest.mark.parametrize("way", WAYS)
def test_new_keys_are_told_where_somebody_asked(way, monkeypatch):
    monkeypatch.setattr(replay, "apply", apply_of(way))
    engine = Engine(Config(), FakeClock(), random.Random(1))
    told: list[bytes] = []
    engine.keyspace.on_new = lambda _db, key: told.append(key)
    engine.keyspace.tell(True)
    names = [b"k%d" % i for i in range(20)]
    log = b"".join(encode_command([b"SET", name, b"v"]) for name in names) + encode_command([b"INCR", b"n"])
    replayer = replay.Replayer(engine)
    with replayer.loading():
        for block in CommandReader(io.BytesIO(log), len(log)):
            replayer.replay("log", block)
    assert told == [*names, b"n"]


@given(st.lists(st.tuples(words, words), max_size=40), st.integers(0, 40))
def test_scores_are_put_into_an_order_that_is_there(pairs, asked_at):
    """The kernel leaves them to the handler, the code for Python does not."""
    engine = engine_of_small_limits()
    db = engine.keyspace[0]
    replayer = replay.Replayer(engine)
    with pytest.MonkeyPatch.context() as patch, replayer.loading():
        patch.setattr(replay, "apply", plain_replay.apply)
        for number, pair in enumerate(pairs):
            log = encode_command([b"ZADD", b"z", *pair])
            for block in CommandReader(io.BytesIO(log), len(log)):
                replayer.replay("log", block)
            value = db.peek(b"z")
            if number >= asked_at and value is not None:
                value.entries()
                value._check()
    plain = state(engine)
    assert plain == replayed(b"".join(encode_command([b"ZADD", b"z", *pair]) for pair in pairs))[0]
