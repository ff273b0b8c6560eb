import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aofnb.store.set_value import SetValue

MEMBERS = [b"a", b"b", b"", b"0", b"1", b"-1", b"10", b"007", b"9223372036854775807", b"9223372036854775808"]


@pytest.mark.parametrize("member", [b"0", b"-1", b"42", b"9223372036854775807", b"-9223372036854775808"])
def test_a_whole_number_of_64_bits_stays_in_an_intset(member):
    assert SetValue.of([member]).encoding == "intset"


@pytest.mark.parametrize(
    "member",
    [b"", b"a", b"-0", b"+1", b"01", b" 1", b"1 ", b"1.0", b"1_0", b"9223372036854775808", b"-9223372036854775809"],
)
def test_anything_else_makes_it_a_hashtable_for_good(member):
    value = SetValue.of([b"1", member])
    assert value.encoding == "hashtable"
    value.discard(member)
    assert value.encoding == "hashtable"


def test_one_member_too_many_makes_it_a_hashtable():
    value = SetValue.of([b"1", b"2", b"3"], max_intset_entries=3)
    assert value.encoding == "intset"
    assert not value.add(b"3", 3)
    assert value.encoding == "intset"
    assert value.add(b"4", 3)
    assert value.encoding == "hashtable"


def test_an_intset_is_in_numerical_order():
    assert list(SetValue.of([b"10", b"-3", b"9", b"-20"])) == [b"-20", b"-3", b"9", b"10"]


@given(st.lists(st.tuples(st.booleans(), st.lists(st.sampled_from(MEMBERS), max_size=4))), st.booleans())
def test_any_run_of_changes_leaves_what_a_python_set_has(changes, drawn_from):
    value, model = SetValue(), set()
    if drawn_from:
        value.random_members(0, random.Random(0))
        value._choices()
    for add, members in changes:
        if add:
            assert value.update(members) == len(set(members) - model)
            model.update(members)
        else:
            assert [value.discard(member) for member in members].count(True) == len(set(members) & model)
            model.difference_update(members)
        value._check()
        assert set(value) == model
        assert len(value) == len(model)
        assert all((member in value) == (member in model) for member in MEMBERS)


def test_every_member_is_drawn_also_one_that_came_after_the_first_draw():
    value = SetValue.of(MEMBERS)
    rng = random.Random(3)
    value.random_member(rng)
    value.add(b"late")
    assert {value.random_member(rng) for _ in range(500)} == {*MEMBERS, b"late"}


def test_asking_for_more_random_members_than_there_are_gives_all():
    assert sorted(SetValue.of(MEMBERS).random_members(99, random.Random(0))) == sorted(MEMBERS)


def test_a_copy_keeps_the_encoding_and_does_not_follow():
    value = SetValue.of([b"1", b"x"])
    value.discard(b"x")
    twin = value.copy()
    value.add(b"2")
    assert list(twin) == [b"1"]
    assert twin.encoding == "hashtable"
