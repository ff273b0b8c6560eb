"""For pytest: the fixture ``aof_world``, a machine on which a test can pull the plug.

Known to pytest where aofnb is installed; nothing is imported before a test asks for it::

    def test_an_order_survives_a_power_cut(aof_world):
        r = aof_world.redis(appendfsync="always")
        shop.place_order(r, "cart:42")
        r = aof_world.cut_power()
        assert r.exists("order:1")
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from aofnb.lab.world import World

__all__ = ["aof_world"]


@pytest.fixture
def aof_world() -> Iterator[World]:
    """A machine with a disk in memory: ``open()`` or ``redis()``, then ``kill()`` or ``cut_power()``, and look."""
    from aofnb.lab.world import World

    world = World()
    yield world
    world.close()
