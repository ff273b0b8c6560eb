"""What changed: between two positions, in one key element by element, and when something became so.

`diff` reads the commands in between for the keys they touch, and compares those keys before and behind. `blame` runs
the commands that had a part in one key and watches its elements. `bisect` looks at states half way, then at every
command of the last stretch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from aofnb.engine.replay import collection_rests
from aofnb.forensics.columns import STATUSES, Selection, was_run
from aofnb.forensics.history import frame_of
from aofnb.forensics.postings import BARRIERS, Event
from aofnb.forensics.reading import Progress, Report
from aofnb.forensics.slicing import Place, Runner, Unsound, python_value, slice_of, touched, unit_start
from aofnb.forensics.travel import Traveller, empty_store
from aofnb.store.hash_value import HashValue
from aofnb.store.list_value import ListValue
from aofnb.store.same import beside
from aofnb.store.set_value import SetValue
from aofnb.store.stream import Stream, format_id
from aofnb.store.values import Value, type_name
from aofnb.store.zset import SortedSet

if TYPE_CHECKING:
    from aofnb.engine.store import Store
    from aofnb.forensics.log import Log
    from aofnb.forensics.position import Position
    from aofnb.store.keyspace import Keyspace

__all__ = ["bisect", "blame", "diff", "every_place", "touched_between"]

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
        head, tail = _common(was, now)
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


# --- who wrote what -----------------------------------------------------------------------------------------------


def blame(log: Log, key: bytes, db: int, position: Position, progress: Progress = None) -> pd.DataFrame:
    """What `Log.blame` gives."""
    log.postings(progress=progress)
    try:
        events = slice_of(log, {(db, key)}, position.seq)
    except Unsound as reason:
        raise ValueError(f"{reason}, so nobody can tell which command wrote what; log.bisect finds when") from None
    store = empty_store(log, position.ts, db + 1)
    runner = Runner(log, store)
    # Of every key in play, since elements come from other keys: RENAME takes all, SMOVE one.
    known: dict[Place, _Traced] = {}
    for event in events:
        places = _places(event, known)
        runner.run(event)
        for place in places:
            value = store.engine.keyspace[place[0]].peek(place[1])
            known.setdefault(place, _Traced()).update(value, event)
    traced = known.get((db, key))
    if traced is None or store.engine.keyspace[db].lookup(key) is None:
        return _blame_frame(log, [], [], [])
    elements, values, sources = traced.rows()
    return _blame_frame(log, elements, values, sources)


def _places(event: Event, known: dict[Place, _Traced]) -> list[Place]:
    """Keys that a command may change; whole databases for FLUSH* and SWAPDB."""
    name = event.argv[0].decode("latin-1").upper()
    if name in BARRIERS:
        if name == "SWAPDB" and len(event.argv) == 3:
            one, other = int(event.argv[1]), int(event.argv[2])
            swapped = {one: other, other: one}
            moved = {(swapped.get(place[0], place[0]), place[1]): traced for place, traced in known.items()}
            known.clear()
            known.update(moved)
        return list(known)
    if name == "RENAME" and len(event.argv) == 3:
        # Who wrote the elements is not who moved them.
        old, new = ((event.db, each) for each in event.argv[1:])
        if old in known and old != new:
            known[new] = known.pop(old)
    return touched(event)


class _Traced:
    """One value, and of each of its elements the command that it is of."""

    def __init__(self) -> None:
        self._kind: str | None = None
        self._value: Any = None
        # By element; for lists and strings by place.
        self._by: dict[Any, Event] = {}
        self._order: list[Event] = []

    def update(self, value: Value | None, event: Event) -> None:
        """The value behind `event`."""
        kind = None if value is None else type_name(value)
        if kind != self._kind:
            self._kind, self._value, self._by, self._order = kind, None, {}, []
        if isinstance(value, bytes | bytearray):
            self._string(bytes(value), event)
        elif isinstance(value, ListValue):
            self._list(list(value), event)
        elif value is not None:
            self._elements(value, event)

    def _string(self, now: bytes, event: Event) -> None:
        name, was = event.argv[0].upper(), self._value
        head, tail = 0, 0
        if was is not None and name in (b"APPEND", b"SETRANGE", b"SETBIT", b"BITFIELD"):
            # A value that is longer only ends later.
            head, tail = _common(was, now) if len(was) == len(now) else (_same_head(was, now), 0)
            if name == b"SETRANGE" and len(event.argv) == 4 and event.argv[2].isdigit():
                # What it wrote counts as written, also where it wrote what was there.
                start = min(int(event.argv[2]), len(now))
                head = min(head, start)
                tail = min(tail, max(len(now) - start - len(event.argv[3]), 0))
        middle = [event] * (len(now) - head - tail)
        self._order = self._order[:head] + middle + (self._order[len(self._order) - tail :] if tail else [])
        self._value = now

    def _list(self, now: list[bytes], event: Event) -> None:
        was: list[bytes] = self._value or []
        order, name = self._order, event.argv[0].upper()
        grown = len(now) - len(was)
        if name in (b"RPUSH", b"RPUSHX") and grown > 0:
            self._order = order + [event] * grown
        elif name in (b"LPUSH", b"LPUSHX") and grown > 0:
            self._order = [event] * grown + order
        elif name == b"LPOP" and grown < 0:
            self._order = order[-grown:]
        elif name == b"RPOP" and grown < 0:
            self._order = order[:grown]
        elif name == b"LREM" and grown < 0:
            self._order = _without(order, was, event.argv[3], int(event.argv[2]), -grown)
        elif name == b"LTRIM" and grown < 0:
            start = int(event.argv[2])
            start = max(start + len(was), 0) if start < 0 else start
            self._order = order[start : start + len(now)]
        elif name == b"LSET" and not grown and now:
            place = int(event.argv[2])
            self._order = order.copy()
            self._order[place] = event
        else:
            head, tail = _common(was, now)
            kept = order[len(order) - tail :] if tail else []
            self._order = order[:head] + [event] * (len(now) - head - tail) + kept
        self._value = now

    def _elements(self, value: Value, event: Event) -> None:
        now = _as_dict(value)
        was: dict[bytes, Any] = self._value or {}
        said = set(event.argv[2:])
        stores = event.argv[0].upper() in _WRITES_WHAT_IT_SAYS
        by = {}
        for element, held in now.items():
            same = element in was and was[element] == held
            by[element] = event if not same or (stores and element in said) else self._by[element]
        self._value, self._by = now, by

    def rows(self) -> tuple[list[Any], list[Any], list[Event]]:
        """Elements, their values, and the command that each is of."""
        if self._kind == "string":
            elements, values, sources = [], [], []
            begin = 0
            for place in range(1, len(self._order) + 1):
                if place == len(self._order) or self._order[place] is not self._order[begin]:
                    elements.append(f"{begin}:{place}")
                    values.append(self._value[begin:place])
                    sources.append(self._order[begin])
                    begin = place
            return elements, values, sources
        if self._kind == "list":
            return list(range(len(self._value))), list(self._value), self._order
        return list(self._value), list(self._value.values()), [self._by[element] for element in self._value]


# A field that is set to what it was is still written; a member that is added where it is, is not.
_WRITES_WHAT_IT_SAYS = (b"HSET", b"HMSET")


def _as_dict(value: Value) -> dict[bytes, Any]:
    if isinstance(value, HashValue):
        return dict(value.items())
    if isinstance(value, SortedSet):
        return dict(value.scores)
    if isinstance(value, SetValue):
        return dict.fromkeys(value, None)
    assert isinstance(value, Stream)
    return {format_id(entry_id): list(items) for entry_id, items in value.range()}


def _common(was: Any, now: Any) -> tuple[int, int]:
    """How long the common beginning and the common end are, which do not overlap."""
    head = _same_head(was, now)
    most = min(len(was), len(now)) - head
    tail = 0
    while tail < most and was[-1 - tail] == now[-1 - tail]:
        tail += 1
    return head, tail


def _same_head(was: Any, now: Any) -> int:
    most = min(len(was), len(now))
    return next((i for i in range(most) if was[i] != now[i]), most)


def _without(order: list[Event], was: list[bytes], element: bytes, count: int, removed: int) -> list[Event]:
    """`order` without the elements that LREM took: from the end if `count` is negative."""
    places = [i for i, each in enumerate(was) if each == element]
    gone = set(places[-removed:] if count < 0 else places[:removed])
    return [event for i, event in enumerate(order) if i not in gone]


def _blame_frame(log: Log, elements: list[Any], values: list[Any], sources: list[Event]) -> pd.DataFrame:
    about = frame_of(log, sources).reset_index()
    made = pd.DataFrame(
        {
            "element": pd.Series(elements, dtype=object).array,
            "value": pd.Series(values, dtype=object).array,
        }
    )
    return pd.concat([made, about[["seq", "part", "offset", "ts", "cmd", "args"]]], axis=1)


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
