"""SortedSet against a plain dict that is sorted anew for each question."""

from __future__ import annotations

import math
import random

import pytest

from aofnb.store import zset as module
from aofnb.store.zset import ABOVE_ALL, BELOW_ALL, LexRange, ScoreRange, SortedSet

pytestmark = pytest.mark.usefixtures("packing")

SCORES = [-math.inf, -1.5, 0.0, 0.1, 1.0, 1.0, 2.0, 5e-324, math.inf]


def filled(**scores: float) -> SortedSet:
    made = SortedSet()
    for member, score in scores.items():
        made.add(member.encode(), score)
    return made


@pytest.fixture(params=[4, 4096], ids=["tiny blocks", "blocks"])
def block_size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks so small that a test of a hundred members splits and joins them all the time."""
    monkeypatch.setattr(module, "_SPLIT_AT", request.param)
    monkeypatch.setattr(module, "_MERGE_BELOW", request.param // 2)


@pytest.mark.usefixtures("block_size")
@pytest.mark.parametrize("seed", range(6))
def test_agrees_with_a_sorted_dict_after_any_changes(seed: int) -> None:
    rng = random.Random(seed)
    tested, model = SortedSet(), dict[bytes, float]()
    for step in range(1500):
        # Grow, then shrink, so that blocks are joined again.
        member, score = b"%d" % rng.randrange(150), rng.choice(SCORES)
        if rng.random() < (0.8 if step % 500 < 300 else 0.2):
            tested.add(member, score)
            model[member] = score
        elif rng.random() < 0.7:
            assert tested.remove(member) == (model.pop(member, None) is not None)
        elif rng.random() < 0.2:
            start = rng.randrange(len(model) + 1)
            stop = min(len(model), start + rng.choice([0, 1, 5, 40]))
            gone = sorted((score, member) for member, score in model.items())[start:stop]
            assert tested.remove_ranks(start, stop) == gone
            for _score, member in gone:
                del model[member]
        if rng.random() < 0.1:
            check_questions(tested, model, rng)
    tested._check()


def check_questions(tested: SortedSet, model: dict[bytes, float], rng: random.Random) -> None:
    tested._check()
    entries = sorted((score, member) for member, score in model.items())
    assert len(tested) == len(entries)
    assert tested.entries() == entries
    assert dict(tested.scores) == model
    start = rng.randrange(len(entries) + 1)
    stop = rng.randrange(start, len(entries) + 1)
    assert tested.entries(start, stop) == entries[start:stop]
    member = b"%d" % rng.randrange(150)
    assert tested.rank(member) == (entries.index((model[member], member)) if member in model else None)
    wanted = ScoreRange(rng.choice(SCORES), rng.choice(SCORES), rng.random() < 0.5, rng.random() < 0.5)
    start, stop = tested.ranks_by_score(wanted)
    assert entries[start:stop] == [entry for entry in entries if score_in(entry[0], wanted)]


def score_in(score: float, wanted: ScoreRange) -> bool:
    above = score > wanted.low if wanted.low_open else score >= wanted.low
    below = score < wanted.high if wanted.high_open else score <= wanted.high
    return above and below


@pytest.mark.usefixtures("block_size")
@pytest.mark.parametrize("seed", range(4))
def test_lex_range_of_equal_scores_is_a_range_of_member_bytes(seed: int) -> None:
    rng = random.Random(seed)
    members = sorted({bytes(rng.choice(b"ab\0\xff") for _ in range(rng.randrange(4))) for _ in range(40)})
    tested = SortedSet.of(dict.fromkeys(rng.sample(members, len(members)), 3.0))
    bounds = [BELOW_ALL, ABOVE_ALL, *((0, member) for member in [*members, b"aaaaaa", b"\xff\xff\xff\xff"])]
    for _ in range(300):
        wanted = LexRange(rng.choice(bounds), rng.choice(bounds), rng.random() < 0.5, rng.random() < 0.5)
        expected = [m for m in members if wanted.starts_at_or_before(m) and wanted.ends_at_or_after(m)]
        for from_top in (False, True):
            start, stop = tested.ranks_by_lex(wanted, from_top)
            assert [member for _score, member in tested.entries(start, stop)] == expected


def test_lex_range_of_unequal_scores_is_the_run_that_a_listpack_gives() -> None:
    tested = filled(c=1, a=2, b=3, d=4)
    wanted = LexRange((0, b"b"), (0, b"c"))
    assert tested.ranks_by_lex(wanted) == (0, 3)  # from c, which is not below, until d, which is above
    assert tested.ranks_by_lex(wanted, from_top=True) == (2, 3)  # from b, which is not above, until a, which is below


def test_score_range_of_a_missing_score_is_empty_and_never_inside_out() -> None:
    tested = filled(a=1, b=2, c=3)
    for wanted in (ScoreRange(3, 1), ScoreRange(2, 2, True, False), ScoreRange(2.5, 2.6), ScoreRange(4, 9)):
        start, stop = tested.ranks_by_score(wanted)
        assert start == stop
    assert tested.ranks_by_score(ScoreRange(-math.inf, math.inf, True, True)) == (0, 3)


def test_order_is_not_made_while_only_adding() -> None:
    tested = SortedSet()
    for i in range(1000):
        tested.add(b"%d" % i, float(-i))
    tested.remove(b"7")
    assert isinstance(tested._state, bool)
    assert tested.entries(0, 1) == [(-999.0, b"999")]
    tested._check()


def test_becomes_a_skiplist_with_one_member_too_many_and_stays_one() -> None:
    tested = SortedSet()
    for i in range(3):
        tested.add(b"%d" % i, 0.0, 3, 8)
    tested.add(b"2", 5.0, 3, 8)
    assert tested.encoding == "listpack"
    tested.add(b"3", 0.0, 3, 8)
    assert tested.encoding == "skiplist"
    tested.remove_ranks(0, 3)
    assert tested.encoding == "skiplist"
    assert tested.copy().encoding == "skiplist"


def test_becomes_a_skiplist_with_a_long_member() -> None:
    tested = SortedSet()
    tested.add(b"12345678", 0.0, 3, 8)
    assert tested.encoding == "listpack"
    tested.add(b"123456789", 0.0, 3, 8)
    assert tested.encoding == "skiplist"


@pytest.mark.parametrize(("size", "encoding"), [(3, "listpack"), (4, "skiplist")])
def test_made_at_once_it_has_the_encoding_of_its_size(size: int, encoding: str) -> None:
    assert SortedSet.of({b"%d" % i: 1.0 for i in range(size)}, 3, 8).encoding == encoding


def test_a_listpack_has_no_minus_zero_and_a_skiplist_has() -> None:
    small, large = filled(a=-0.0), SortedSet()
    large.add(b"a", -0.0, max_entries=0)
    assert math.copysign(1, small.scores[b"a"]) == 1
    assert math.copysign(1, large.scores[b"a"]) == -1
    assert math.copysign(1, SortedSet.of({b"a": -0.0}).scores[b"a"]) == 1


def test_a_copy_lives_its_own_life() -> None:
    tested = filled(a=1, b=2)
    copy = tested.copy()
    copy.add(b"c", 0.0)
    copy.remove(b"a")
    assert tested.entries() == [(1.0, b"a"), (2.0, b"b")]
    assert copy.entries() == [(0.0, b"c"), (2.0, b"b")]


def test_every_member_is_drawn_and_none_twice_in_one_draw_of_different_ones() -> None:
    tested, rng = filled(a=1, b=1, c=3, d=4), random.Random(1)
    drawn = {tested.random_member(rng) for _ in range(200)}
    assert drawn == set(tested)
    for count in range(6):
        members = tested.random_members(count, rng)
        assert len(members) == len(set(members)) == min(count, 4)


def test_add_tells_the_old_score_and_an_equal_one_changes_nothing() -> None:
    found = SortedSet()
    assert found.add(b"m", 0.0, max_entries=0) is None
    assert found.entries() == [(0.0, b"m")]
    assert found.add(b"m", -0.0, max_entries=0) == 0.0
    assert math.copysign(1, found.scores[b"m"]) == 1
    assert found.add(b"m", 2.0) == 0.0
    assert found.entries() == [(2.0, b"m")]
    found._check()
