"""SORT against Python's sort."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aofnb
from aofnb import ReplyError

numbers = st.lists(st.integers(-50, 50), min_size=1, max_size=30)


@given(numbers, st.integers(-3, 35), st.integers(-3, 35))
def test_limit_cuts_the_sorted_list(items, first, count):
    with aofnb.open(None, background=False) as store:
        store.execute("RPUSH", "l", *items)
        start = max(first, 0)
        expected = sorted(items)[start:] if count < 0 else sorted(items)[start : start + count]
        assert store.execute("SORT", "l", "LIMIT", first, count) == [b"%d" % item for item in expected]


@given(st.dictionaries(st.integers(0, 50), st.integers(-5, 5), min_size=1))
def test_by_sorts_by_other_keys_and_then_by_member(weights):
    with aofnb.open(None, background=False) as store:
        for member, weight in weights.items():
            store.execute("SADD", "s", member)
            store.execute("HSET", f"w:{member}:", "f", weight)
        expected = sorted((weight, b"%d" % member) for member, weight in weights.items())
        assert store.execute("SORT", "s", "BY", "w:*:->f") == [member for _, member in expected]
        assert store.execute("SORT", "s", "BY", "w:*:->f", "DESC") == [member for _, member in reversed(expected)]


def test_what_is_no_number_cannot_be_sorted_as_one():
    with aofnb.open(None, background=False) as store:
        store.execute("RPUSH", "l", 1, "x")
        with pytest.raises(ReplyError, match="One or more scores can't be converted into double"):
            store.execute("SORT", "l", "STORE", "d")
        assert store.execute("EXISTS", "d") == 0
        assert store.execute("SORT", "l", "ALPHA", "DESC") == [b"x", b"1"]
