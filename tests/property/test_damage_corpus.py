"""Salvage of damaged logs of which the truth is known: what damage did not touch comes back, and nothing else does."""

from pathlib import Path

import pytest
from support.damaged_logs import KINDS, measured

# What is left of the count for 100 MB.
COUNTS = {"flipped bits": 40}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", KINDS)
def test_only_what_was_hit_is_lost_and_nothing_is_made_up(kind: str, seed: int, tmp_path: Path) -> None:
    """Beside each damaged place one more command may go: with its own line end gone, the one in front of it."""
    count = COUNTS.get(kind, 4)
    found = measured(kind, 300_000, seed, tmp_path, count)
    assert found.kept + found.changed >= found.total - found.hit - count
    assert found.phantoms == 0
    assert found.kept > found.cut / 2
