"""What changed: between two positions, and when something became so.

`diff` reads the commands in between for the keys they touch, and compares those keys before and behind. `bisect` looks
at states half way, then at every command of the last stretch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from aofnb.engine.replay import collection_rests
from aofnb.forensics.columns import STATUSES, Selection, was_run
from aofnb.forensics.history import frame_of
from aofnb.forensics.reading import Progress, Report
from aofnb.forensics.slicing import Place, python_value, touched, unit_start
from aofnb.forensics.travel import Traveller
from aofnb.store.same import beside
from aofnb.store.values import type_name

if TYPE_CHECKING:
    from aofnb.engine.store import Store
    from aofnb.forensics.log import Log
    from aofnb.forensics.position import Position
    from aofnb.store.keyspace import Keyspace

__all__ = ["bisect", "common_ends", "diff", "every_place", "touched_between"]

_CHANGES = ("added", "removed", "modified", "type-changed", "ttl-changed")
# Value, type, deadline in ms, and what the value holds beside its elements.
_Held = tuple[Any, str | None, int | None, dict[str, Any]]
_NOTHING: _Held = (None, None, None, {})


# --- between two positions ----------------------------------------------------------------------------------------


def diff(
    log: Log, a: Position, b: Position, key: bytes | None, db: int | None, progress: Progress = None
) -> pd.DataFrame:
    """What `Log.diff` gives."""
    if a.seq > b.seq:
        raise ValueError(f"{a} is behind {b}; give the earlier position first")
    first, last = (unit_start(log, position.seq) for position in (a, b))
    if first >= last:
        return _diff_frame([])
    places = touched_between(log, first, last, progress)
    traveller = Traveller(log, log.position(first), progress)
    keyspace = traveller.store.engine.keyspace
    # Many values, and no cycles among them.
    with collection_rests():
        before = {place: _held(keyspace, place) for place in (every_place(keyspace) if places is None else places)}
        traveller.go_to(log.position(last))
        after = every_place(keyspace) if places is None else places
        rows = []
        for place in sorted({*before, *after}):
            if (key is None or place[1] == key) and (db is None or place[0] == db):
                row = _compared(place, before.get(place, _NOTHING), _held(keyspace, place))
                if row is not None:
                    rows.append(row)
        return _diff_frame(rows)


def touched_between(log: Log, first: int, last: int, progress: Progress = None) -> set[Place] | None:
    """The keys that the rows from `first` to before `last` touch; None if that may be any."""
    if any(first <= row < last for row, _ in log.postings(progress=progress).barriers):
        return None
    places: set[Place] = set()
    odd: list[int] = []
    wanted = Selection.of(("db", "cmd", "keys", "status"), encoding=None)
    begin, stop = log.position(first), log.position(last)
    for batch in log.read(wanted, log.tolerant, None, Report(), begin, stop):
        seqs, dbs, cmds, keys, statuses = batch.columns
        names = cmds.dictionary.to_pylist()
        moving = [code for code, name in enumerate(names) if name in ("MOVE", "COPY")]
        is_odd = np.isin(cmds.indices.fill_null(-1).to_numpy(), moving)
        is_odd |= statuses.indices.to_numpy() == STATUSES.index("unknown_command")
        odd += seqs.to_numpy()[is_odd].tolist()
        chosen = was_run(statuses) & ~is_odd
        keys = keys.filter(pa.array(chosen))
        dbs = np.repeat(dbs.to_numpy()[chosen], keys.value_lengths().to_numpy())
        for db in np.unique(dbs).tolist():
            places.update(
                zip(repeat(db), keys.flatten().filter(pa.array(dbs == db)).unique().to_pylist(), strict=False)
            )
    for event in log.postings().events(odd):
        places.update(touched(event))
    return places


def every_place(keyspace: Keyspace) -> set[Place]:
    """Database and name of every key."""
    return {(each.index, key) for each in keyspace for key, _, _ in each.walk()}


def _held(keyspace: Keyspace, place: Place) -> _Held:
    if place[0] >= len(keyspace):
        return _NOTHING
    data = keyspace[place[0]]
    value = data.peek(place[1])
    # What is overdue was no longer there for anyone; but to delete it here would be to change the past.
    if value is None or data.overdue(place[1]):
        return _NOTHING
    return python_value(value), type_name(value), data.deadline_ms(place[1]), beside(value)


def _compared(place: Place, before: _Held, after: _Held) -> dict[str, Any] | None:
    (was, old_type, old_deadline, had), (now, new_type, new_deadline, has) = before, after
    if old_type is None and new_type is None:
        return None
    if old_type is None:
        change = "added"
    elif new_type is None:
        change = "removed"
    elif old_type != new_type:
        change = "type-changed"
    elif was != now or had != has:
        change = "modified"
    elif old_deadline != new_deadline:
        change = "ttl-changed"
    else:
        return None
    return {
        "db": place[0],
        "key": place[1],
        "change": change,
        "type": new_type or old_type,
        "before": was,
        "after": now,
        "detail": [*_details(was, now), *_details_beside(had, has, was != now)] if change == "modified" else [],
        "deadline_before": old_deadline,
        "deadline_after": new_deadline,
    }


def _details(was: Any, now: Any) -> Iterator[tuple[Any, Any, Any]]:
    """(element, before, after) of each that differs; None where there is none."""
    if isinstance(was, dict):
        for element in (*was, *(each for each in now if each not in was)):
            if was.get(element) != now.get(element):
                yield element, was.get(element), now.get(element)
    elif isinstance(was, set):
        yield from ((member, True, None) for member in sorted(was - now))
        yield from ((member, None, True) for member in sorted(now - was))
    elif isinstance(was, list):
        head, tail = common_ends(was, now)
        for index in range(head, max(len(was), len(now)) - tail):
            old = was[index] if index < len(was) - tail else None
            yield index, old, (now[index] if index < len(now) - tail else None)


def _details_beside(had: dict[str, Any], has: dict[str, Any], others: bool) -> Iterator[tuple[Any, Any, Any]]:
    """As `_details`; with `others`, elements that differ, it goes without saying that the last id does."""
    for what, old, new in _details(had, has):
        if what != "last id" or not others:
            yield what, old, new


def _diff_frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    columns = ["db", "key", "change", "type", "before", "after", "detail", "deadline_before", "deadline_after"]
    frame = pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=object) for name in columns})
    frame["db"] = frame["db"].astype("int16")
    frame["change"] = pd.Categorical(frame["change"], categories=_CHANGES)
    frame["type"] = frame["type"].astype("category")
    for name in ("deadline_before", "deadline_after"):
        frame[name] = pd.to_datetime(frame[name].astype("Int64"), unit="ms", utc=True, errors="coerce")
    return frame


def common_ends(was: Sequence[Any], now: Sequence[Any]) -> tuple[int, int]:
    """How long the common beginning and the common end are, which do not overlap."""
    most = min(len(was), len(now))
    head = next((place for place in range(most) if was[place] != now[place]), most)
    most -= head
    return head, next((place for place in range(most) if was[-1 - place] != now[-1 - place]), most)


# --- when ---------------------------------------------------------------------------------------------------------


def bisect(
    log: Log, predicate: Callable[[Store], object], lo: Position, hi: Position, progress: Progress = None
) -> pd.Series | None:
    """What `Log.bisect` gives."""
    if lo.seq > hi.seq:
        raise ValueError(f"{lo} is behind {hi}; give the earlier position first")
    if predicate(Traveller(log, lo).store):
        raise ValueError(f"it is so at {lo} (row {lo.seq}) already; name a position at which it is not: lo=, or --lo")
    # The longest way; it leaves states behind for the others.
    end = Traveller(log, hi, progress)
    if not predicate(end.store):
        return None
    # Rows of units that are known not to be so yet, and to be so.
    low, high = unit_start(log, lo.seq), unit_start(log, hi.seq)
    marks = sorted({mark.seq for mark in log.index().marks if low < mark.seq < high})
    while marks:
        middle = marks[len(marks) // 2]
        if predicate(Traveller(log, log.position(middle)).store):
            high = middle
        else:
            low = middle
        marks = [seq for seq in marks if low < seq < high]
    traveller = Traveller(log, log.position(low))
    for seq in traveller.units(high):
        if predicate(traveller.store):
            return frame_of(log, log.postings().events([seq - 1])).iloc[0]
    # Only because time passed: something expired.
    return frame_of(log, log.postings().events([high - 1])).iloc[0]
