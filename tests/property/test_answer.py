"""The kernel that answers bytes with bytes gives the replies, the data and the log that the long way gives."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.kernels import FORMS, kernel
from support.nowhere import Nowhere

from aofnb.adapters._peer_cy import Peer, Traffic
from aofnb.aof.bio import Bio
from aofnb.aof.writer import AofWriter
from aofnb.clock import FakeClock
from aofnb.commands.client import Client
from aofnb.config import Config
from aofnb.engine.core import Engine
from aofnb.errors import ReplyError
from aofnb.resp.encode import encode_command
from aofnb.resp.replies import encode_reply
from aofnb.resp.requests import RequestReader

keys = st.sampled_from([b"a", b"b", b"", b"k" * 300])
words = st.sampled_from([b"1", b"0", b"x", b"", b"*2\r\n$3\r\nGET\r\n", b"longer" * 300])
commands = st.one_of(
    st.tuples(st.sampled_from([b"GET", b"get", b"Get", b"STRLEN", b"INCR", b"DEL", b"TTL"]), keys),
    st.tuples(st.sampled_from([b"SET", b"set", b"Set", b"APPEND", b"RPUSH", b"SETNX"]), keys, words),
    st.tuples(st.just(b"SET"), keys, words, st.just(b"PX"), st.sampled_from([b"1", b"100"])),
    st.tuples(st.just(b"SELECT"), st.sampled_from([b"0", b"1"])),
    st.tuples(st.just(b"HELLO"), st.sampled_from([b"2", b"3"])),
    st.tuples(st.just(b"CONFIG"), st.just(b"SET"), st.just(b"notify-keyspace-events"), st.sampled_from([b"", b"KEA"])),
    st.tuples(st.just(b"CONFIG"), st.just(b"SET"), st.just(b"latency-tracking"), st.sampled_from([b"yes", b"no"])),
    st.sampled_from([(b"MULTI",), (b"EXEC",), (b"GET",), (b"SET", b"k"), (b"NO",), (b"PING",)]),
)
# Most often what the kernel takes.
quick = st.one_of(st.tuples(st.just(b"GET"), keys), st.tuples(st.just(b"SET"), keys, words))
pieces = st.one_of(
    st.lists(st.one_of(quick, quick, commands), max_size=8).map(lambda argvs: b"".join(map(encode_command, argvs))),
    # Not as clients spell it, not whole, or no request at all.
    st.sampled_from(
        [b"GET a\r\n", b"*2\r\n$3\r\nGET\r\n$01\r\na\r\n", b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n", b"$1\r\nv\r\n"]
    ),
    st.binary(max_size=30),
)
# In each turn: of which client, and what it sends.
turns = st.lists(st.tuples(st.integers(0, 2), pieces), max_size=8)


class NoSocket:
    """Nothing is read or sent here."""

    def fileno(self) -> int:
        return -1


class Caller(Peer):
    """Gets what a connection would send."""

    def __init__(self, client: Client) -> None:
        super().__init__(Traffic(), NoSocket(), client, RequestReader(), share=3)  # type: ignore[arg-type]
        self.received = b""

    def run(self, engine: Engine, data: bytes) -> None:
        """The long way."""
        for argv in self.reader.feed(data):
            try:
                reply = engine.process(self.client, argv)
            except ReplyError as problem:
                reply = problem
            self.received += encode_reply(reply, self.client.resp)


def ran(module: Any, turns: list[tuple[int, bytes]]) -> Any:
    """What is told and kept of `turns`; without a module, the long way."""
    config, clock, file = Config(), FakeClock(), Nowhere()
    config.appendfsync = "no"
    engine = Engine(config, clock, random.Random(1))
    engine.writer = AofWriter(file, 0, config, clock, Bio())
    callers = [Caller(engine.new_client()) for _ in range(3)]
    plain = None if module is None else module.Plain(engine)
    for number, data in turns:
        clock.advance(0.01)
        engine.begin_turn(None)
        caller = callers[number]
        if plain is None or caller.reader.under_way:
            caller.run(engine, data)
        else:
            answers, left = plain.answer([(caller, data)], 20, clock.monotonic())
            for _, replies in answers:
                caller.received += replies
            for _, rest in left:
                caller.received += b"".join(caller.out)
                caller.out.clear()
                caller.run(engine, rest)
        engine.end_turn()
    data = {
        (db.index, key): (value if isinstance(value, bytes) else list(value), deadline)
        for db in engine.keyspace
        for key, value, deadline in db.walk()
    }
    counters = (engine.total_commands, engine.keyspace.dirty, [(db.hits, db.misses) for db in engine.keyspace])
    return [caller.received for caller in callers], data, file.data, engine.writer.fed_commands, counters


@pytest.mark.parametrize("form", FORMS)
@given(turns=turns)
def test_bytes_are_answered_as_requests_are(form: str, turns: list[tuple[int, bytes]]) -> None:
    assert ran(kernel("aofnb.adapters._answer_cy", form), turns) == ran(None, turns)


@pytest.mark.parametrize("form", FORMS)
def test_it_does_take_them(form: str) -> None:
    """Else the property above would compare the long way with itself."""
    config = Config()
    engine = Engine(config, FakeClock(), random.Random(1))
    caller = Caller(engine.new_client())
    get, set_ = encode_command([b"GET", b"k"]), encode_command([b"SET", b"k", b"v"])
    plain = kernel("aofnb.adapters._answer_cy", form).Plain(engine)
    # Each must have been looked up once.
    assert plain.answer([(caller, get + set_)], 9, 7.0) == ([], [(caller, get + set_)])
    caller.run(engine, get + set_)
    assert plain.answer([(caller, set_ + get)], 9, 7.0) == ([(caller, b"+OK\r\n$1\r\nv\r\n")], [])
    assert (caller.said, caller.last_heard_s) == ([b"GET"], 7.0)
    # No more than its share, than there is room for in the turn, or than has come.
    assert plain.answer([(caller, get * 5)], 9, 7.0) == ([], [(caller, get * 2)])
    assert plain.answer([(caller, get * 5)], 2, 7.0) == ([], [(caller, get * 3)])
    assert plain.answer([(caller, get + get[:-1])], 9, 7.0) == ([], [(caller, get[:-1])])
    assert caller.out == [b"$1\r\nv\r\n" * 3, b"$1\r\nv\r\n" * 2, b"$1\r\nv\r\n"]
    assert plain.answer([(caller, set_ + get[:-1])], 9, 7.0) == ([], [(caller, get[:-1])])
    assert (caller.said, caller.out.pop()) == ([b"SET"], b"+OK\r\n")
    # What is in `out` goes first.
    assert plain.answer([(caller, get)], 9, 7.0) == ([], [(caller, b"")])


@pytest.mark.parametrize("form", FORMS)
def test_a_key_is_read_until_its_deadline_is_over(form: str) -> None:
    config, clock = Config(), FakeClock()
    engine = Engine(config, clock, random.Random(1))
    caller = Caller(engine.new_client())
    get, set_ = encode_command([b"GET", b"k"]), encode_command([b"SET", b"k", b"v"])
    caller.run(engine, get + encode_command([b"SET", b"k", b"v", b"PX", b"100"]))
    plain = kernel("aofnb.adapters._answer_cy", form).Plain(engine)
    clock.advance(0.1)
    assert plain.answer([(caller, get)], 9, 7.0) == ([(caller, b"$1\r\nv\r\n")], [])
    # It would end the deadline.
    assert plain.answer([(caller, set_)], 9, 7.0) == ([], [(caller, set_)])
    clock.advance(0.001)
    assert plain.answer([(caller, get)], 9, 7.0) == ([], [(caller, get)])


@pytest.mark.parametrize("form", FORMS)
def test_each_client_has_its_own_database_and_protocol(form: str) -> None:
    config, file = Config(), Nowhere()
    engine = Engine(config, FakeClock(), random.Random(1))
    engine.writer = AofWriter(file, 0, config, FakeClock(), Bio())
    callers = [Caller(engine.new_client()) for _ in range(5)]
    get, none, set_ = (encode_command(words) for words in ([b"GET", b"k"], [b"GET", b"none"], [b"SET", b"k", b"v"]))
    callers[0].run(engine, get + set_)
    callers[1].run(engine, encode_command([b"SELECT", b"1"]) + encode_command([b"HELLO", b"3"]))
    callers[3].run(engine, encode_command([b"MULTI"]))
    # It is to be asked for its rights, say.
    callers[4].client.limited = True
    engine.end_turn()
    plain = kernel("aofnb.adapters._answer_cy", form).Plain(engine)
    answers, left = plain.answer([(caller, set_ + none) for caller in callers], 99, 7.0)
    assert answers == [
        (callers[0], b"+OK\r\n$-1\r\n"),
        (callers[1], b"+OK\r\n_\r\n"),
        (callers[2], b"+OK\r\n$-1\r\n"),
    ]
    assert left == [(callers[3], set_ + none), (callers[4], set_ + none)]
    engine.end_turn()
    zero, one = (encode_command([b"SELECT", number]) for number in (b"0", b"1"))
    assert file.data == zero + set_ * 2 + one + set_ + zero + set_
