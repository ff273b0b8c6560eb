"""The kernel that takes plain records: in both forms, and against the way without it."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import takewhile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.kernels import FORMS, kernel

from aofnb.resp.encode import encode_command
from aofnb.resp.pairs import Pairs, Records
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


def spelled(places: array[int], starts: array[int], count: int, found: Records) -> Iterator[tuple[int, bytes]]:
    """Where the first argument of each record is, and the record without its last two bytes."""
    for index in range(count):
        yield places[starts[index]], encode_command(found[index])[:-2]


def records_of(plain: Any, data: bytes, room: int = 100) -> list[list[bytes]]:
    """The records that `data` begins with, up to so many, where they stand."""
    places, starts = array("i", bytes(8 * 5 * room)), array("i", bytes(4 * room + 4))
    annotations: list[tuple[int, bytes]] = []
    count, end = plain.records(data, places, starts, annotations)
    standing = places[: starts[count]].tobytes(), starts[: count + 1].tobytes()
    found = Records(data, *standing)
    assert len(found) == count
    assert plain.argvs_of(data, *standing) == [found[index] for index in range(count)]
    lines = dict(annotations)
    # Nothing but they is between the records.
    assert data[:end] == b"".join(
        text + b"\r\n" for _, text in sorted([*lines.items(), *spelled(places, starts, count, found)])
    )
    return [found[index] for index in range(count)]


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
    assert records_of(plain, RECORD + bad) == [[b"SET", b"k", b"v"]]


@pytest.mark.parametrize("border", [[b"MULTI"], [b"exec"], [b"mUlTi", b"too", b"many"], [b"Exec"]])
def test_records_end_where_a_transaction_does(plain, border):
    data = encode_command([b"EXECUTE"]) + encode_command([b"MULT"]) + encode_command(border) + RECORD
    assert records_of(plain, data) == [[b"EXECUTE"], [b"MULT"]]


@pytest.mark.parametrize(
    ("line", "plainly"),
    [
        (b"#TS:1\r\n", True),
        (b"#\r\n", True),
        (b"# a b \xff\r\n", True),
        (b"#" * 900 + b"\r\n", True),
        (b"#TS:1\n", False),
        (b"#a\0b\r\n", False),
        (b"#a\rb\r\n", False),
        (b"#" * 1100 + b"\r\n", False),
        (b"#TS:1\r", False),
        (b"#TS:1", False),
        (b"#", False),
    ],
)
def test_annotations_stand_among_records(plain, line, plainly):
    places, starts = array("i", bytes(64)), array("i", bytes(64))
    found: list[tuple[int, bytes]] = []
    data = RECORD + line + RECORD * line.endswith(b"\n")
    assert plain.records(data, places, starts, found) == ((2, len(data)) if plainly else (1, len(RECORD)))
    assert found == ([(len(RECORD), line[:-2])] if plainly else [])


def test_records_that_have_no_room_are_left(plain):
    for arguments, records in ((5, 9), (6, 0), (6, 1)):
        places, starts = array("i", bytes(8 * arguments)), array("i", bytes(4 * records + 4))
        count = min(arguments // 3, records)
        assert plain.records(RECORD * 2, places, starts, []) == (count, count * len(RECORD))


@pytest.mark.parametrize("cut", range(len(RECORD)))
def test_a_record_that_is_not_all_there_is_left(plain, cut):
    data = RECORD + RECORD[:cut]
    assert plain.plain(data, 0, []) == len(RECORD)
    assert pairs_of(plain, data) == [(b"k", b"v")]
    assert records_of(plain, data) == [[b"SET", b"k", b"v"]]


def test_names_are_given_out_as_one_object(plain):
    argvs: list[list[bytes]] = []
    plain.plain(RECORD * 3, 0, argvs)
    assert argvs[0][0] is argvs[1][0] is argvs[2][0]
    argvs.clear()
    data = b"".join(encode_command([name]) for name in (b"", b"A" * 70, b"AB", b"AC", b"AB"))
    assert plain.plain(data, 0, argvs) == len(data)
    assert argvs == [[b""], [b"A" * 70], [b"AB"], [b"AC"], [b"AB"]]


words = st.one_of(
    st.binary(max_size=6),
    st.sampled_from([b"SET", b"set", b"multi", b"EXEC", b"\r\n", b"*3\r\n$3\r\nSET\r\n", b"x" * 5000]),
    st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b"$1", b"*1", b"x"]), max_size=6).map(b"".join),
)
records = st.one_of(
    st.tuples(st.just(b"SET"), words, words).map(encode_command),
    st.lists(words, min_size=1, max_size=5).map(encode_command),
    st.sampled_from([b"#TS:1\r\n", b"*1\n$1\nx\n", b"*3\r\n$3\r\nSET\r\n", b"$3", b"*2\r\n"]),
    st.sampled_from([b"*1\r\n$01\r\nx\r\n", b"*1\r\n$" + b"9" * 4301 + b"\r\nx\r\n", b"*1\r\n$3\r\na\r\nb\r\n"]),
)


@given(st.lists(records, max_size=12).map(b"".join), st.data())
def test_the_way_without_it_finds_the_same(plain, data, draw):
    data = data[: draw.draw(st.integers(0, len(data)))]
    argvs: list[list[bytes]] = []
    end = plain.plain(data, 0, argvs)
    others: list[list[bytes]] = []
    other_end = _Parts(data).plain(0, others)
    assert (others, other_end) == (argvs, end)
    pairs = pairs_of(plain, data)
    run = list(takewhile(lambda argv: len(argv) == 3 and argv[0] == b"SET", argvs))
    assert pairs == [(key, value) for _, key, value in run]
    assert pairs_of(plain, data, 2) == pairs[:2]
    standing = list(takewhile(lambda argv: argv[0].upper() not in (b"MULTI", b"EXEC"), argvs))
    found = records_of(plain, data)
    # It goes on behind an annotation.
    assert found[: len(standing)] == standing
    assert records_of(plain, data, 2) == found[:2]
    other_pairs, other_end = _Parts(data).sets()
    if other_pairs is not None:
        assert other_pairs == pairs
        assert data[:other_end] == b"".join(map(encode_command, argvs[: len(pairs)]))
