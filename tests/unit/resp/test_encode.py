"""The kernel that encodes: in both forms the bytes of `encode_command` and `encode_reply`."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.kernels import FORMS, kernel

from aofnb.errors import ReplyError
from aofnb.resp.encode import encode_command
from aofnb.resp.replies import NIL_ARRAY, Verbatim, encode_reply

# Lengths on both sides of each number of digits that matters.
texts = st.one_of(st.binary(max_size=12), st.sampled_from([bytes(n) for n in (9, 10, 99, 100, 999, 1000, 70000)]))
argvs = st.lists(st.one_of(st.lists(texts, min_size=1, max_size=5), st.tuples(texts, texts)), max_size=5)
plain = st.one_of(
    texts, st.none(), st.just("OK"), st.integers(-(10**18), 10**18), st.sampled_from([0, -1, 9, 10, 99, 100, 2**63])
)
others = st.sampled_from(
    [True, 0.5, "QUEUED", [1, None], ReplyError("ERR x"), NIL_ARRAY, Verbatim(b"t"), bytearray(b"b")]
)


@pytest.fixture(params=FORMS, scope="module")
def encode(request):
    return kernel("aofnb.resp._encode_cy", request.param)


@given(st.binary(max_size=5), argvs)
def test_commands_stand_behind_each_other(encode, before, argvs):
    buf = bytearray(before)
    encode.append_commands(buf, argvs)
    assert buf == before + b"".join(map(encode_command, argvs))


def test_an_argument_may_be_a_bytearray(encode):
    buf = bytearray()
    argvs = [[b"GET", b"k"], [b"SET", b"k", bytearray(b"value")]]
    encode.append_commands(buf, argvs)
    assert buf == b"".join(map(encode_command, argvs))


def test_many_commands_are_one_run(encode):
    argvs = [(b"SET", b"key:%d" % i, b"v" * (i % 1200)) for i in range(3000)]
    buf = bytearray()
    encode.append_commands(buf, argvs)
    assert buf == b"".join(map(encode_command, argvs))


def test_what_somebody_looks_at_does_not_grow(encode):
    buf = bytearray(b"before")
    with memoryview(buf), pytest.raises(BufferError):
        encode.append_commands(buf, [(b"PING",)])
    assert buf == b"before"


@given(st.lists(plain, max_size=8), st.sampled_from([2, 3]))
def test_plain_replies(encode, replies, resp):
    assert encode.encode_replies(replies, resp) == b"".join(encode_reply(reply, resp) for reply in replies)


@given(st.lists(st.one_of(plain, others), max_size=8), st.sampled_from([2, 3]))
def test_replies_of_any_kind(encode, replies: list[Any], resp):
    assert encode.encode_replies(replies, resp) == b"".join(encode_reply(reply, resp) for reply in replies)
