"""What clients send, in whatever pieces it comes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aofnb.resp.encode import encode_command
from aofnb.resp.requests import INLINE_MAX, ProtocolError, RequestReader, split_inline

argvs = st.lists(st.lists(st.binary(max_size=40), min_size=1, max_size=5), max_size=6)


@given(argvs, st.lists(st.integers(1, 50), max_size=30))
def test_requests_are_the_same_in_whatever_pieces_they_come(argvs, sizes):
    data = b"".join(map(encode_command, argvs))
    reader, got, at = RequestReader(), [], 0
    for size in [*sizes, len(data)]:
        got += reader.feed(data[at : at + size])
        at += size
    assert got == argvs
    assert reader.error is None
    assert reader.held == 0


@given(st.binary(max_size=200), st.integers(1, 20))
def test_garbage_is_understood_or_refused_the_same_in_any_pieces(data, size):
    whole, cut, got = RequestReader(), RequestReader(), []
    expected = whole.feed(data)
    for at in range(0, len(data), size):
        got += cut.feed(data[at : at + size])
    assert got == expected
    assert str(cut.error) == str(whole.error)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"*x\r\n", "invalid multibulk length"),
        (b"*01\r\n", "invalid multibulk length"),
        (b"*2147483648\r\n", "invalid multibulk length"),
        (b"*1\r\n:1\r\n", "expected '$', got ':'"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$536870913\r\n", "invalid bulk length"),
        (b"*1\r\n$1x\r\n", "invalid bulk length"),
        (b"*" + b"1" * (INLINE_MAX + 1), "too big mbulk count string"),
        (b"*1\r\n$" + b"1" * (INLINE_MAX + 1), "too big bulk count string"),
        (b"G" * (INLINE_MAX + 1), "too big inline request"),
        (b'GET "k\r\n', "unbalanced quotes in request"),
        (b'GET "k"x\r\n', "unbalanced quotes in request"),
    ],
)
def test_what_cannot_be_a_request_is_refused_in_redis_words(data, error):
    reader = RequestReader()
    assert reader.feed(b"*1\r\n$4\r\nPING\r\n" + data) == [[b"PING"]]
    assert str(reader.error) == error
    assert reader.feed(b"*1\r\n$4\r\nPING\r\n") == []


def test_strangers_may_send_small_requests_only():
    assert str(_fed(b"*11\r\n", stranger=True).error) == "unauthenticated multibulk length"
    assert str(_fed(b"*1\r\n$16385\r\n", stranger=True).error) == "unauthenticated bulk length"
    reader = RequestReader(stranger=True)
    assert reader.feed(b"*2\r\n$4\r\nAUTH\r\n$1\r\nx\r\n") == [[b"AUTH", b"x"]]


def _fed(data, **options):
    reader = RequestReader(**options)
    reader.feed(data)
    return reader


def test_a_huge_request_is_held_as_it_arrives_and_counted():
    reader = RequestReader()
    assert reader.feed(b"*2147483647\r\n" + b"$0\r\n\r\n" * 1000) == []
    assert 0 < reader.held < 100_000
    reader = RequestReader()
    reader.feed(b"*2\r\n$3\r\nGET\r\n$500000000\r\n")
    assert reader.held < 1000


def test_a_long_value_in_many_pieces_is_not_scanned_again_and_again():
    value = bytes(range(256)) * (1 << 14)
    data = encode_command([b"SET", b"k", value])
    reader, got, joined = RequestReader(), [], 0
    for at in range(0, len(data), 1 << 16):
        got += reader.feed(data[at : at + (1 << 16)])
        joined += len(reader._chunks) == 1
    assert got == [[b"SET", b"k", value]]
    assert joined <= 2


def test_empty_requests_are_skipped():
    assert RequestReader().feed(b"\r\n*0\r\n*-1\r\n\n  \r\nPING\r\n") == [[b"PING"]]


@pytest.mark.parametrize(
    ("line", "argv"),
    [
        (b"SET k  v", [b"SET", b"k", b"v"]),
        (rb'SET k "a\x41\n\t\b\a\"\q"', [b"SET", b"k", b'aA\n\t\b\a"q']),
        (rb"SET k 'it\'s \n'", [b"SET", b"k", rb"it's \n"]),
        (b'SET k ""', [b"SET", b"k", b""]),
        (b'SET "a"\0 hidden', [b"SET", b"a"]),
        (b'pre"quoted"', [b"prequoted"]),
    ],
)
def test_inline_commands_are_quoted_as_in_redis_cli(line, argv):
    assert split_inline(line) == argv


def test_a_quote_that_does_not_end_is_an_error():
    with pytest.raises(ProtocolError):
        split_inline(b"SET 'k")


def test_lines_are_strings_of_c_to_the_server():
    """A NUL hides the end of a line; vertical tabs and form feeds stand in front of words only."""
    reader = RequestReader()
    assert reader.feed(b"PING\r\nECHO \0x\r\nPING\r\n") == [[b"PING"]]
    assert reader.error is None
    assert reader.feed(b"x" * INLINE_MAX) == []
    assert str(reader.error) == "too big inline request"
    assert RequestReader().feed(b"*1\0\r\n$4\r\nPING\r\n") == []
    assert split_inline(b"\vSET\f \va\vb\f c") == [b"SET\f", b"a\vb\f", b"c"]
    assert split_inline(b"\f'a b'\vc") == [b"a b", b"c"]


def test_a_strange_byte_is_told_as_it_came():
    reader = RequestReader()
    reader.feed(b"*1\r\n\xff1\r\n")
    assert str(reader.error).encode("utf-8", "surrogateescape") == b"expected '$', got '\xff'"


def test_a_pipeline_cut_anywhere_goes_the_fast_way_but_for_the_request_that_is_cut(monkeypatch):
    """Else one who sends much at once keeps all others waiting."""
    slowly = []
    parse = RequestReader._parse

    def counted(self, data, requests, most):
        before = len(requests)
        taken = parse(self, data, requests, most)
        slowly.append(len(requests) - before)
        return taken

    monkeypatch.setattr(RequestReader, "_parse", counted)
    argvs = [[b"SET", b"k%d" % i, b"v" * (i % 50)] for i in range(1000)]
    data = b"".join(map(encode_command, argvs))
    reader = RequestReader()
    found = []
    for start in range(0, len(data), 4097):
        found += reader.feed(data[start : start + 4097])
    assert found == argvs
    assert sum(slowly) <= len(data) // 4097 + 1


def test_between_two_requests_nothing_is_under_way():
    data = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"
    for cut in range(len(data) + 1):
        reader = RequestReader()
        reader.feed(data + data[:cut])
        assert reader.under_way == (0 < cut < len(data))
        assert reader.feed(data[cut:]) == ([[b"GET", b"k"]] if cut < len(data) else [])
        assert not reader.under_way
    reader.feed(b"*x\r\n")
    # What comes behind an error is not read.
    assert reader.under_way
