"""The kind of a key is what `template` says, however many are looked at at once."""

from types import SimpleNamespace

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.kernels import FORMS, kernel

from aofnb.forensics import kinds
from aofnb.forensics.kinds import Kinds, Sums, text_of
from aofnb.forensics.roles import template

UUID = "550e8400-e29b-41d4-a716-446655440000"
PIECES = st.sampled_from(
    ["user", ":", "1", "42", "deadbeef1", "cafebabe", "9f86d081", "12345678", "-", "{n}", "é", UUID, UUID.upper(), "x"]
)
KEYS = st.lists(st.none() | st.lists(PIECES | st.text(max_size=2), max_size=6).map("".join), max_size=40)


@pytest.fixture(params=[*FORMS, "pattern"])
def form(request, monkeypatch):
    if request.param == "pattern":
        monkeypatch.setattr(kinds, "_kinds_cy", SimpleNamespace(COMPILED=False, slot_of=kinds._kinds_cy.slot_of))
    else:
        hot = kernel("aofnb.forensics._kinds_cy", request.param)
        names = {name: getattr(hot, name) for name in ("number", "spelled", "slot_of")}
        monkeypatch.setattr(kinds, "_kinds_cy", SimpleNamespace(COMPILED=True, **names))
    return request.param


@given(st.lists(KEYS, max_size=3))
@example([[UUID + UUID, "ab" + UUID + "9f86d0811", "12345678-1234-1234-1234-123456789012", "{n}", "7", "a1b2c3d4g"]])
def test_a_kind_is_a_template(form, chunks):
    found = Kinds()
    for keys in chunks:
        # A slice, since its offsets do not begin with 0.
        codes = found.codes(pa.array(["x1", *keys], pa.string())[1:])
        words = [None if code < 0 else found.words[code] for code in codes.tolist()]
        assert words == [None if key is None else template(key) for key in keys]
    assert len(set(found.words)) == len(found.words)


def test_many_kinds(form):
    keys = ["".join(chr(97 + number // 26**place % 26) for place in range(4)) for number in range(3000)]
    found = Kinds()
    assert [found.words[code] for code in found.codes(pa.array(keys)).tolist()] == keys
    assert found.codes(pa.array(keys[::-1])).tolist() == list(range(2999, -1, -1))


def test_so_many_kinds_and_all_others(form):
    found = Kinds(most=2)
    codes = found.codes(pa.array(["a1", "b1", "c1", "d1", "a2"])).tolist()
    assert [found.words[code] for code in codes] == ["a{n}", "b{n}", "(others)", "(others)", "a{n}"]


def test_keys_that_are_no_text_are_escaped():
    keys = pa.array([b"k1", None, b"\xff1"], pa.binary())
    assert text_of(keys).to_pylist() == ["k1", None, "\\xff1"]


def test_sums():
    sums = Sums()
    for codes, sizes in (([0, -1, 1, 0], [10, 5, 1, 2]), ([], []), ([3], [7])):
        sums.add(pa.array(codes, pa.int32()).to_numpy(), pa.array(sizes, pa.int64()).to_numpy())
    assert list(sums.of(["a", "b", "c", "d"])) == [("a", 2, 12), ("b", 1, 1), ("d", 1, 7)]
