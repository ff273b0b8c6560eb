"""The kernel of packed containers: what fits, what does not, and that nothing else changes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.kernels import FORMS, kernel

from aofnb.store._packed_cy import EMPTY

texts = st.one_of(st.sampled_from([b"", b"a", b"ab", b"b"]), st.binary(max_size=70))
scores = st.one_of(
    st.integers(-(2**48), 2**48).map(float),
    st.sampled_from([s * (2.0**n + d) for n in (7, 23, 47, 60) for d in (-1, 0, 1) for s in (1, -1)]),
    st.floats(allow_nan=False).map(lambda score: score + 0.0),
)


@pytest.fixture(params=FORMS, scope="module")
def packed(request):
    return kernel("aofnb.store._packed_cy", request.param)


@given(st.lists(st.tuples(texts, texts)), texts)
def test_a_hash_is_what_a_dict_is(packed, pairs, gone):
    data, model = EMPTY, {}
    for field, value in pairs:
        more = packed.with_field(data, field, value, 100, 64)
        fits = len(field) <= 64 and len(value) <= 64
        new_size = 1 + sum(2 + len(f) + len(v) for f, v in {**model, field: value}.items())
        assert (more is not None) == (fits and new_size <= 479)
        if more is None:
            break
        data = more
        model[field] = value
    assert list(packed.fields(data).items()) == list(model.items())
    assert packed.field_value(data, gone) == model.get(gone)
    left = packed.without_field(data, gone)
    assert (left is data) == (gone not in model)
    model.pop(gone, None)
    assert (packed.fields(left), left[0]) == (model, len(model))
    assert packed.texts(left) == [part for pair in model.items() for part in pair]


@given(st.lists(st.tuples(texts, scores)), texts)
def test_a_sorted_set_is_what_a_dict_is(packed, entries, gone):
    data, model = EMPTY, {}
    for member, score in entries:
        more = packed.with_score(data, member, score)
        if more is None:
            assert len(member) > 63 or len(data) + 9 + len(member) > 479
            break
        data = more
        model[member] = score
    assert list(packed.scores(data).items()) == list(model.items())
    assert packed.score_of(data, gone) == model.get(gone)
    left = packed.without_member(data, gone)
    assert (left is data) == (gone not in model)
    model.pop(gone, None)
    assert (packed.scores(left), left[0]) == (model, len(model))


@given(st.lists(st.tuples(st.binary(max_size=300), st.booleans())))
def test_a_list_is_what_a_list_is(packed, items):
    data, model = EMPTY, []
    for item, first in items:
        more = packed.add(data, item, first)
        assert (more is not None) == (len(item) <= 255 and len(data) + 1 + len(item) <= 479)
        if more is not None:
            data = more
            model.insert(0 if first else len(model), item)
    assert packed.texts(data) == model
    assert data[0] == len(model)
    assert packed.pack_texts(model) == data


def test_so_many_and_no_more(packed):
    assert packed.pack_texts([b""] * 255)[0] == 255
    assert packed.pack_texts([b""] * 256) is None


@pytest.mark.parametrize(("max_entries", "max_bytes", "fits"), [(1, 1, False), (2, 0, False), (2, 1, True)])
def test_a_hash_that_is_no_listpack_is_not_packed(packed, max_entries, max_bytes, fits):
    data = packed.with_fields(EMPTY, [b"a", b"1"], 9, 9)
    assert (packed.with_fields(data, [b"b", b"2"], max_entries, max_bytes) is not None) == fits
    # What is there already counts, too.
    assert packed.with_fields(data, [b"a", b""], 0, 9) is None


@pytest.mark.parametrize("score", [math.inf, -math.inf, 5e-324, 1.7e308, 0.1, 2.0**63])
def test_any_score_comes_back(packed, score):
    assert packed.score_of(packed.with_score(EMPTY, b"m", score), b"m") == score
