"""Patterns mean what redis-server's stringmatchlen makes of them."""

import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aofnb.store.glob import literal_prefix, matches


@pytest.mark.parametrize(
    ("pattern", "string", "expected"),
    [
        (b"", b"", True),
        (b"*", b"", False),  # so does the server; KEYS * and SCAN MATCH * never ask
        (b"*", b"a\nb", True),
        (b"a*", b"a", True),
        (b"*a", b"ba", True),
        (b"a**b", b"ab", True),
        (b"?", b"\n", True),
        (b"?", b"", False),
        (b"h[ae]llo", b"hallo", True),
        (b"h[^e]llo", b"hello", False),
        (b"h[a-c]llo", b"hbllo", True),
        (b"h[c-a]llo", b"hbllo", True),
        (b"[ab", b"b", True),
        (b"[", b"x", False),
        (b"[^", b"x", True),
        (b"[]", b"]", False),
        (b"[a-", b"-", True),
        (b"[\\]]", b"]", True),
        (b"[a-]]", b"_", True),
        (b"\\*", b"*", True),
        (b"\\*", b"x", False),
        (b"a\\", b"a\\", True),
        (b".", b"x", False),
        (b"[\x80-\x01]", b"\xff", True),  # bytes are signed in ranges: -128 to 1
        (b"[\x80-\x01]", b"\x02", False),
        (b"A*", b"abc", False),
    ],
)
def test_matches(pattern, string, expected):
    assert matches(pattern, string) is expected


def test_case_can_be_ignored():
    assert matches(b"APPEND[A-Z]*", b"appendfsync", ignore_case=True)


def matches_by_definition(pattern, string):
    """Stars and question marks, tried in every way."""
    if not pattern:
        return not string
    if pattern[:1] == b"*":
        return any(matches_by_definition(pattern[1:], string[i:]) for i in range(len(string) + 1))
    return bool(string) and pattern[:1] in (b"?", string[:1]) and matches_by_definition(pattern[1:], string[1:])


@given(st.text("ab*?", max_size=8).map(str.encode), st.text("ab", min_size=1, max_size=8).map(str.encode))
def test_stars_match_whatever_way_there_is(pattern, string):
    assert matches(pattern, string) == matches_by_definition(pattern, string)


def test_many_stars_cost_no_exponential_time():
    begin = time.process_time()
    assert not matches(b"a*" * 30 + b"b", b"a" * 2000)
    assert time.process_time() - begin < 5


def test_what_matches_begins_with_the_literal_prefix() -> None:
    rng = random.Random(3)
    met = 0
    for _ in range(4000):
        pattern = bytes(rng.choices(b"aab\\*?[]^-", k=rng.randrange(6)))
        prefix, whole = literal_prefix(pattern)
        for string in (bytes(rng.choices(b"aab\\*?[", k=rng.randrange(5))), prefix, prefix + b"a"):
            if matches(pattern, string):
                met += 1
                assert string == prefix if whole else string.startswith(prefix)
            else:
                assert not (whole and string == prefix)
    assert met > 2000
