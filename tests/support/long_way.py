"""The long way to what a log held: replay of everything. And what has logs of a few rows take the short ones, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

import aofnb
from aofnb.engine.store import Store
from aofnb.forensics import travel
from aofnb.forensics.log import Log
from aofnb.forensics.position import Position
from aofnb.forensics.slicing import python_value
from aofnb.forensics.travel import empty_store, replay_into
from aofnb.store.same import beside

__all__ = ["State", "examples", "often", "replayed", "state", "state_of"]

# Database and key; value, deadline, and what the value holds beside its elements.
State = dict[tuple[int, bytes], tuple[Any, int | None, dict[str, Any]]]


def examples(count: int) -> settings:
    """So many cases of a slow property; where a profile asks for more than usual, as many as that."""
    asked = settings.default.max_examples
    return settings(max_examples=count if asked == settings.get_profile("default").max_examples else asked)


def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints of a log of a few rows, each few hundred bytes."""
    for name, value in (("_WORTH_BYTES", 100), ("_GOAL_S", 1e-5), ("_BEFORE_FLUSH_BYTES", 100)):
        monkeypatch.setattr(travel, name, value)


def replayed(log: Log, position: Position) -> Store:
    """What `Log.at` gives."""
    store = empty_store(log, position.ts)
    replay_into(store, log, position)
    return store


def state(path: Path) -> State:
    """Everything at the end of a log, whatever the time."""
    log = aofnb.scan(path, cache_dir=False, on_bad="truncate")
    store = empty_store(log, None)
    replay_into(store, log, log.position(len(log)))
    return state_of(store)


def state_of(store: Store) -> State:
    """Everything in a store."""
    return {
        (db.index, key): (python_value(value), deadline, beside(value))
        for db in store.engine.keyspace
        for key, value, deadline in db.walk()
    }
