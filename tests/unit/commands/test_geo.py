"""The arithmetic of positions, by itself."""

from __future__ import annotations

import math
import random

import pytest

import aofnb
from aofnb.commands.geo import Cell, Shape, cell_at, cells_around, decode, distance, encode
from aofnb.commands.partial_sort import first_sorted


def test_a_position_comes_back_within_half_a_metre() -> None:
    rng = random.Random(1)
    for _ in range(500):
        point = rng.uniform(-180, 180), rng.uniform(-85, 85)
        assert distance(point, decode(encode(point))) < 0.5


def test_the_documented_example_has_the_documented_score_and_distance() -> None:
    palermo, catania = encode((13.361389, 38.115556)), encode((15.087269, 37.502669))
    assert (palermo, catania) == (3479099956230698, 3479447370796909)
    assert f"{distance(decode(palermo), decode(catania)):.4f}" == "166274.1516"


@pytest.mark.parametrize("score", [-1.0, 1e300, math.inf, -math.inf, 2.0**63, 2.0**64])
def test_scores_that_are_no_positions_give_some_position_on_the_map(score: float) -> None:
    longitude, latitude = decode(score)
    assert -180 <= longitude <= 180
    assert -85.06 < latitude < 85.06


def test_a_cell_holds_exactly_the_scores_of_its_positions() -> None:
    rng = random.Random(2)
    for _ in range(300):
        point, step = (rng.uniform(-180, 180), rng.uniform(-85, 85)), rng.randrange(1, 27)
        cell = cell_at(point, step)
        wanted = cell.score_range()
        assert wanted.low <= encode(point) < wanted.high
        other = cell.moved(1, 0).score_range()
        assert not other.low <= encode(point) < other.high


def test_past_the_last_column_comes_the_first() -> None:
    assert Cell(7, 3, 3).moved(1, 0) == Cell(0, 3, 3)
    assert Cell(0, 0, 3).moved(-1, -1) == Cell(7, 7, 3)


@pytest.mark.parametrize("seed", range(5))
def test_everything_near_is_in_one_of_the_cells(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(100):
        centre = rng.uniform(-170, 170), rng.uniform(-60, 60)
        radius = 10 ** rng.uniform(0, 5)
        cells = cells_around(Shape(centre, radius, None, 1.0))
        point = centre[0] + rng.uniform(-1, 1) * radius / 111_000, centre[1] + rng.uniform(-1, 1) * radius / 111_000
        if distance(centre, point) <= radius:
            ranges = [cell.score_range() for cell in cells]
            assert any(wanted.low <= encode(point) < wanted.high for wanted in ranges)


def test_a_radius_without_end_finds_what_the_coarsest_cells_hold() -> None:
    with aofnb.open(None) as store:
        store.execute("GEOADD", "g", 1, 1, "p")
        assert store.execute("GEOSEARCH", "g", "FROMLONLAT", 1, 1, "BYRADIUS", "inf", "m") == [b"p"]


@pytest.mark.parametrize("seed", range(5))
def test_first_sorted_gives_the_smallest_in_order(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(100):
        keys = [float(rng.randrange(rng.choice([3, 1000]))) for _ in range(rng.randrange(2, 200))]
        wanted = rng.randrange(1, len(keys))
        places = first_sorted(range(len(keys)), keys, wanted)
        assert [keys[place] for place in places] == sorted(keys)[:wanted]
        assert len(set(places)) == wanted
