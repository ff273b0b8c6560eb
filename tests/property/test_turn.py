"""The kernel of plain commands gives the replies, the data and the log that the handlers give."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.kernels import FORMS, kernel
from support.nowhere import Nowhere

import aofnb
from aofnb.aof.bio import Bio
from aofnb.aof.writer import AofWriter
from aofnb.clock import FakeClock
from aofnb.config import Config
from aofnb.engine import core
from aofnb.engine.core import Engine
from aofnb.engine.session import Session, as_argv, to_bytes
from aofnb.errors import ReplyError, StoreClosedError

keys = st.sampled_from(["a", "b", "c", ""])
words = st.sampled_from(["1", "0", "x", "", "longer" * 300])
commands = st.one_of(
    st.tuples(st.sampled_from(["GET", "get", "Get", "STRLEN", "INCR", "DEL", "PERSIST", "TTL"]), keys),
    st.tuples(st.sampled_from(["SET", "set", "SET", "APPEND", "RPUSH", "GETSET", "SETNX"]), keys, words),
    st.tuples(st.just("SET"), keys, words, st.just("PX"), st.sampled_from(["1", "100"])),
    st.tuples(st.just("PEXPIRE"), keys, st.sampled_from(["1", "100", "-1"])),
    st.tuples(st.just("SELECT"), st.sampled_from(["0", "1"])),
    st.tuples(st.just("CONFIG"), st.just("SET"), st.just("notify-keyspace-events"), st.sampled_from(["", "KEA"])),
    st.tuples(st.just("CONFIG"), st.just("SET"), st.just("latency-tracking"), st.sampled_from(["yes", "no"])),
    st.tuples(st.just("CONFIG"), st.just("SET"), st.just("maxmemory"), st.sampled_from(["0", "1gb"])),
    st.sampled_from(
        [
            ("MULTI",),
            ("EXEC",),
            ("DISCARD",),
            ("RANDOMKEY",),
            ("FLUSHDB",),
            ("DBSIZE",),
            ("GET",),
            ("SET", "k"),
            ("NO",),
        ]
    ),
    st.tuples(st.sampled_from(["WATCH", "GET"]), keys),
)
batches = st.lists(st.lists(commands, max_size=12), max_size=4)


def one_by_one(execute: Callable[..., Any], batch: list[tuple[str, ...]]) -> list[Any]:
    """The replies of `batch`, as `Session.run` gives them."""
    replies: list[Any] = []
    for argv in batch:
        try:
            replies.append(execute(*argv))
        except ReplyError as problem:
            replies.append(problem)
    return replies


def ran(
    batches: list[list[tuple[str, ...]]],
    stamped: bool,
    executor: Callable[[Engine, Any], Callable[..., Any]] | None = None,
) -> Any:
    """What is told and kept of `batches`; with an executor, of each command by itself."""
    config, clock, file = Config(), FakeClock(), Nowhere()
    config.appendfsync = "no"
    config.aof_timestamp_enabled = stamped
    engine = Engine(config, clock, random.Random(1))
    engine.writer = AofWriter(file, 0, config, clock, Bio())
    session, other = Session(engine), Session(engine)
    other.execute("WATCH", "a")
    told: list[Any] = []
    for batch in batches:
        # As text: an error is equal to no other, also inside the reply of EXEC.
        replies = session.run(batch) if executor is None else one_by_one(executor(engine, session.client), batch)
        told.append(repr(replies))
        told.append([(db.hits, db.misses) for db in engine.keyspace])
        told.append((engine.keyspace.dirty, engine.total_commands, engine.writer.fed_commands, session.client.dirty))
        clock.advance(0.05)
    data = [list(db.walk()) for db in engine.keyspace]
    for db in data:
        for place, (key, value, deadline) in enumerate(db):
            db[place] = (key, value if isinstance(value, bytes) else str(list(value)), deadline)  # type: ignore[call-overload]
    return told, data, file.data, other.client.watch_broken


@pytest.mark.parametrize("form", FORMS)
@given(batches, st.booleans())
def test_the_kernel_and_the_handlers_do_the_same(form, batches, stamped):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core, "take", kernel("aofnb.engine._turn_cy", form).take)
        quick = ran(batches, stamped)
        patch.setattr(core, "QUICK", frozenset())
        slow = ran(batches, stamped)
    assert quick == slow


@pytest.mark.parametrize("form", FORMS)
@given(batches, st.booleans())
def test_a_session_and_the_engine_do_the_same(form, batches, stamped):
    hot = kernel("aofnb.engine._turn_cy", form)

    def quick(engine: Engine, client: Any) -> Callable[..., Any]:
        return hot.executor(engine, client, as_argv, to_bytes)

    def slow(engine: Engine, client: Any) -> Callable[..., Any]:
        return lambda *argv: engine.execute(client, as_argv(argv))

    assert ran(batches, stamped, quick) == ran(batches, stamped, slow)


@pytest.mark.parametrize("form", FORMS)
def test_what_get_finds_at_once_is_counted(form, tmp_path):
    with aofnb.open(tmp_path, background=False) as store:
        store.run([("SET", "k", "v"), ("SET", "é", "v"), ("RPUSH", "list", "x"), ("GET", "k")])
        session = store.session()
        execute = kernel("aofnb.engine._turn_cy", form).executor(store.engine, session.client, as_argv, to_bytes)
        db, before = session.client.db, store.engine.total_commands
        told = db.hits, db.misses
        assert [execute("GET", "k"), execute(b"GET", b"k"), execute("GET", "é")] == [b"v"] * 3
        assert [execute("GET", "none"), execute("GET", 7), execute("GET", bytearray(b"none"))] == [None] * 3
        with pytest.raises(ReplyError, match="WRONGTYPE"):
            execute("GET", "list")
        with pytest.raises(TypeError, match="not a Redis argument"):
            execute("GET", None)
        assert (db.hits - told[0], db.misses - told[1], store.engine.total_commands - before) == (4, 3, 7)
    with pytest.raises(StoreClosedError):
        execute("GET", "k")


@pytest.mark.parametrize("form", FORMS)
def test_get_waits_for_the_turn_of_another_thread(form):
    with aofnb.open(None, background=False) as store:
        store.run([("SET", "k", "old"), ("GET", "k")])
        execute = kernel("aofnb.engine._turn_cy", form).executor(
            store.engine, store.engine.new_client(), as_argv, to_bytes
        )
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(execute("GET", "k")))
        with store.batch():
            store.execute("SET", "k", "half")
            thread.start()
            thread.join(0.05)
            assert found == []
            store.execute("SET", "k", "new")
        thread.join(20)
        assert found == [b"new"]


@pytest.mark.parametrize("form", FORMS)
def test_a_run_of_plain_commands_is_taken_to_its_end(form):
    hot = kernel("aofnb.engine._turn_cy", form)
    engine = Engine(Config(), FakeClock(), random.Random(1))
    client = engine.new_client()
    engine.run(client, [[b"SET", b"a", b"0"], [b"GET", b"a"]])
    argvs = [[b"SET", b"k", b"1"], [b"GET", b"k"], [b"GET", b"none"], [b"STRLEN", b"k"], [b"GET", b"k"]]
    replies: list[Any] = []
    assert hot.take(engine, client, argvs, 0, replies) == 3
    assert replies == ["OK", b"1", None]
    assert hot.take(engine, client, argvs, 4, replies) == 5
    assert engine.total_commands == 6


@pytest.mark.parametrize("form", FORMS)
def test_arguments_as_bytes(form):
    as_bytes: Callable[..., list[list[bytes]]] = kernel("aofnb.engine._turn_cy", form).as_bytes
    given = [("SET", "é", b"x"), ["SET", bytearray(b"k"), 7], (), iter(["GET", "k"]), (b"GET", "")]
    assert as_bytes(given, lambda arg: repr(arg).encode()) == [
        [b"SET", "é".encode(), b"x"],
        [b"SET", b"bytearray(b'k')", b"7"],
        [],
        [b"GET", b"k"],
        [b"GET", b""],
    ]
    with pytest.raises(ZeroDivisionError):
        as_bytes([("GET", None)], lambda _arg: 1 / 0)
    # Names of which there are many are not all kept.
    assert [[name] for [name] in as_bytes([(f"name{i}",) for i in range(3000)], repr)] == [
        [b"name%d" % i] for i in range(3000)
    ]
