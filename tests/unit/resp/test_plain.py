"""The kernel that takes plain records: in both forms, and against the way without it."""

from __future__ import annotations

from array import array
from itertools import takewhile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.kernels import FORMS, kernel

from aofnb.resp.encode import encode_command
from aofnb.resp.pairs import Pairs
from aofnb.resp.reader import _Parts

RECORD = encode_command([b"SET", b"k", b"v"])


@pytest.fixture(params=FORMS, scope="module")
def plain(request):
    return kernel("aofnb.resp._plain_cy", request.param)


def pairs_of(plain: Any, data: bytes, room: int = 100) -> list[tuple[bytes, bytes]]:
    """The SETs that `data` begins with, up to so many."""
    places = array("i", bytes(16 * room))
    count = plain.sets(data, places)
    assert not any(places[4 * count :])
    return list(Pairs(data, places[: 4 * count].tobytes()))


@pytest.mark.parametrize(
    "bad",
    [
        b"*03\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n",
        b"*3\r\n$3\r\nSET\r\n$01\r\nk\r\n$1\r\nv\r\n",
        b"*0\r\n",
        b"*-1\r\n",
        b"*3\n$3\nSET\n$1\nk\n$1\nv\n",
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nvxx",
        b"*3\r\n$3\r\nSET\r\n$2\r\nk\r\n$1\r\nv\r\n",
        b"*99999999999999999999\r\n$3\r\nSET\r\n",
        b"*1000000000\r\n$3\r\nSET\r\n",
        b"*1\r\n$99999999999\r\nSET\r\n",
        b"#TS:1\r\n",
        b"*",
        b"*1",
        b"*1\r",
        b"*1\r\n",
        b"*1\r\n$",
        b"",
    ],
)
def test_what_is_not_plain_is_left_where_it_is(plain, bad):
    argvs: list[list[bytes]] = []
    assert plain.plain(RECORD + bad, 0, argvs) == len(RECORD)
    assert argvs == [[b"SET", b"k", b"v"]]
    assert pairs_of(plain, RECORD + bad) == [(b"k", b"v")]


@pytest.mark.parametrize("cut", range(len(RECORD)))
def test_a_record_that_is_not_all_there_is_left(plain, cut):
    data = RECORD + RECORD[:cut]
    assert plain.plain(data, 0, []) == len(RECORD)
    assert pairs_of(plain, data) == [(b"k", b"v")]


def test_names_are_given_out_as_one_object(plain):
    argvs: list[list[bytes]] = []
    plain.plain(RECORD * 3, 0, argvs)
    assert argvs[0][0] is argvs[1][0] is argvs[2][0]
    argvs.clear()
    data = b"".join(encode_command([name]) for name in (b"", b"A" * 70, b"AB", b"AC", b"AB"))
    assert plain.plain(data, 0, argvs) == len(data)
    assert argvs == [[b""], [b"A" * 70], [b"AB"], [b"AC"], [b"AB"]]


words = st.one_of(
    st.binary(max_size=6), st.sampled_from([b"SET", b"set", b"\r\n", b"*3\r\n$3\r\nSET\r\n", b"x" * 5000])
)
records = st.one_of(
    st.tuples(st.just(b"SET"), words, words).map(encode_command),
    st.lists(words, min_size=1, max_size=5).map(encode_command),
    st.sampled_from([b"#TS:1\r\n", b"*1\n$1\nx\n", b"*3\r\n$3\r\nSET\r\n", b"$3", b"*2\r\n"]),
)


@given(st.lists(records, max_size=12).map(b"".join), st.data())
def test_the_way_without_it_finds_the_same(plain, data, draw):
    data = data[: draw.draw(st.integers(0, len(data)))]
    argvs: list[list[bytes]] = []
    end = plain.plain(data, 0, argvs)
    others: list[list[bytes]] = []
    other_end = _Parts(data).plain(0, others)
    # Splitting stops at a CRLF inside an argument, and at more arguments than it has headers for; never behind.
    assert argvs[: len(others)] == others
    assert other_end == end or any(b"\r\n" in arg for arg in argvs[len(others)])
    pairs = pairs_of(plain, data)
    run = list(takewhile(lambda argv: len(argv) == 3 and argv[0] == b"SET", argvs))
    assert pairs == [(key, value) for _, key, value in run]
    assert pairs_of(plain, data, 2) == pairs[:2]
    other_pairs, other_end = _Parts(data).sets()
    if other_pairs is not None:
        assert other_pairs == pairs
        assert data[:other_end] == b"".join(map(encode_command, argvs[: len(pairs)]))
