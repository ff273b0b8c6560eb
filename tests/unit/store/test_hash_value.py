import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aofnb.store.hash_value import HashValue

pytestmark = pytest.mark.usefixtures("packing")

FIELDS = [b"", b"a", b"b", b"c", b"x" * 65]


@pytest.mark.parametrize(("field", "value"), [(b"f", b"v" * 65), (b"f" * 65, b"v")])
def test_a_long_field_or_value_makes_it_a_hashtable_for_good(field, value):
    hash_ = HashValue.of({field[:64]: value[:64]})
    assert hash_.encoding == "listpack"
    hash_.set(field, value)
    assert hash_.encoding == "hashtable"
    hash_.discard(field)
    assert hash_.encoding == "hashtable"


def test_one_field_too_many_makes_it_a_hashtable():
    hash_ = HashValue.of({b"a": b"1", b"b": b"2"}, max_entries=2)
    assert not hash_.set(b"a", b"3", max_entries=2)
    assert hash_.encoding == "listpack"
    assert hash_.set(b"c", b"3", max_entries=2)
    assert hash_.encoding == "hashtable"


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(FIELDS), st.binary(max_size=3))), st.booleans())
def test_any_run_of_changes_leaves_what_a_python_dict_has(changes, drawn_from):
    value, model = HashValue(), {}
    if drawn_from:
        value._choices()
    for set_, field, text in changes:
        if set_:
            assert value.set(field, text) == (field not in model)
            model[field] = text
        else:
            assert value.discard(field) == (model.pop(field, None) is not None)
        value._check()
        assert list(value.items()) == list(model.items())
        assert (list(value), list(value.values()), len(value)) == (list(model), list(model.values()), len(model))
        assert value.get(field) == model.get(field)


def test_every_field_is_drawn_also_one_that_came_after_the_first_draw():
    value = HashValue.of(dict.fromkeys(FIELDS, b"1"))
    rng = random.Random(3)
    value.random_field(rng)
    value.set(b"late", b"1")
    assert {value.random_field(rng) for _ in range(500)} == {*FIELDS, b"late"}
    assert sorted(value.random_fields(99, rng)) == sorted([*FIELDS, b"late"])


def test_a_copy_keeps_the_encoding_and_does_not_follow():
    value = HashValue.of({b"a": b"1"}, max_bytes=0)
    twin = value.copy()
    value.set(b"a", b"2")
    assert dict(twin.items()) == {b"a": b"1"}
    assert twin.encoding == "hashtable"


def test_of_several_pairs_the_last_of_a_field_counts_and_a_long_one_among_them_decides():
    hash_ = HashValue()
    hash_._choices()
    assert hash_.update([b"a", b"1", b"b", b"2", b"a", b"3"]) == 2
    assert dict(hash_.items()) == {b"a": b"3", b"b": b"2"}
    assert hash_.encoding == "listpack"
    hash_._check()
    assert hash_.update([b"a", b"v" * 65, b"c", b"4"]) == 1
    assert hash_.encoding == "hashtable"
