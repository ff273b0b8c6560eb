"""Which command each element of a key is of: the commands that had a part in it are run, and its elements watched.

A value may be large and its commands many, so behind a command that names what it changes only that is looked at.
Behind any other all of the value is.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict, deque
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aofnb.forensics.changes import common_ends
from aofnb.forensics.history import frame_of
from aofnb.forensics.postings import Event
from aofnb.forensics.reading import Progress
from aofnb.forensics.roles import BARRIERS
from aofnb.forensics.slicing import Place, Runner, Unsound, slice_of, touched
from aofnb.forensics.travel import empty_store
from aofnb.store.hash_value import HashValue
from aofnb.store.list_value import ListValue
from aofnb.store.set_value import SetValue
from aofnb.store.stream import Stream, format_id
from aofnb.store.values import Value, type_name
from aofnb.store.zset import SortedSet

if TYPE_CHECKING:
    from aofnb.forensics.log import Log
    from aofnb.forensics.position import Position

__all__ = ["blame"]

# Where a command names the elements that it may change; some of these words may name none.
_NAMED = {
    b"HSET": slice(2, None, 2),
    b"HMSET": slice(2, None, 2),
    b"HSETNX": slice(2, 3),
    b"HINCRBY": slice(2, 3),
    b"HINCRBYFLOAT": slice(2, 3),
    b"HDEL": slice(2, None),
    b"SADD": slice(2, None),
    b"SREM": slice(2, None),
    b"SMOVE": slice(3, 4),
    b"ZADD": slice(2, None),
    b"ZREM": slice(2, None),
    b"ZINCRBY": slice(3, 4),
}
# A field that is set to what it was is still written; a member that is added where it is, is not.
_WRITES_WHAT_IT_SAYS = (b"HSET", b"HMSET")
# Of a stream they add the last entry, or remove the first ones; or change no entry.
_MOVES_ENDS = (b"XADD", b"XTRIM")
_KEEPS_ENTRIES = (b"XGROUP", b"XCLAIM", b"XAUTOCLAIM", b"XACK", b"XSETID", b"XREADGROUP")
# They write a part of a string.
_WRITES_A_PART = (b"APPEND", b"SETRANGE", b"SETBIT", b"BITFIELD")
_ABSENT: Any = object()


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
    traced, value = known.get((db, key)), store.engine.keyspace[db].lookup(key)
    if traced is None or value is None:
        return _blame_frame(log, [], [], [])
    return _blame_frame(log, *traced.rows(value))


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
        self._begin(None)

    def _begin(self, kind: str | None) -> None:
        self._kind = kind
        # Of a string: what it is, of each byte the number of its command, and these.
        self._text = bytearray()
        self._owners = array("i")
        self._events: list[Event] = []
        # Of a list: items, and their commands.
        self._items: deque[bytes] = deque()
        self._sources: deque[Event] = deque()
        # Of all others: elements, what they hold, and their commands.
        self._held: OrderedDict[bytes, Any] = OrderedDict()
        self._by: dict[bytes, Event] = {}

    def update(self, value: Value | None, event: Event) -> None:
        """The value behind `event`."""
        kind = None if value is None else type_name(value)
        is_new = kind != self._kind
        if is_new:
            self._begin(kind)
        if value is None:
            return
        name = event.argv[0].upper()
        if isinstance(value, bytes | bytearray):
            self._string(name, value, event)
        elif isinstance(value, ListValue):
            self._list(name, value, event)
        elif isinstance(value, Stream):
            self._stream(name, value, event)
        elif is_new or name not in _NAMED or (isinstance(value, HashValue) and value.deadlines is not None):
            self._compare(_as_dict(value), name, event)
        else:
            for element in event.argv[_NAMED[name]]:
                self._note(element, _held_by(value, element), name, event)

    # --- hashes, sets, sorted sets, streams --------------------------------------------------------------

    def _note(self, element: bytes, held: Any, name: bytes, event: Event) -> None:
        """What a command that names `element` left of it."""
        if held is _ABSENT:
            self._held.pop(element, None)
            self._by.pop(element, None)
        elif name in _WRITES_WHAT_IT_SAYS or self._held.get(element, _ABSENT) != held:
            self._held[element], self._by[element] = held, event

    def _compare(self, now: dict[bytes, Any], name: bytes, event: Event) -> None:
        """Look at all elements, what was and what is."""
        said = set(event.argv[_NAMED[name]]) if name in _WRITES_WHAT_IT_SAYS else ()
        was, by = self._held, self._by
        self._by = {
            element: event if element in said or was.get(element, _ABSENT) != held else by[element]
            for element, held in now.items()
        }
        self._held = OrderedDict(now)

    def _stream(self, name: bytes, value: Stream, event: Event) -> None:
        if name in _KEEPS_ENTRIES:
            return
        if name not in _MOVES_ENDS:
            # An entry never changes, so what it holds says nothing.
            self._compare({format_id(entry_id): None for entry_id, _ in value.range()}, name, event)
            return
        first = format_id(value.first_id) if len(value) else None
        while self._held and next(iter(self._held)) != first:
            self._by.pop(self._held.popitem(last=False)[0])
        if len(self._held) < len(value):
            self._note(format_id(value.last_id), None, name, event)

    # --- lists -------------------------------------------------------------------------------------------

    def _list(self, name: bytes, value: ListValue, event: Event) -> None:
        items, sources, argv = self._items, self._sources, event.argv
        grown = len(value) - len(items)
        if name in (b"RPUSH", b"RPUSHX") and grown == len(argv) - 2:
            items.extend(argv[2:])
            sources.extend([event] * grown)
        elif name in (b"LPUSH", b"LPUSHX") and grown == len(argv) - 2:
            items.extendleft(argv[2:])
            sources.extendleft([event] * grown)
        elif name in (b"LPOP", b"RPOP") and grown < 0:
            for ends in (items, sources):
                for _ in range(-grown):
                    ends.popleft() if name == b"LPOP" else ends.pop()
        elif name == b"LTRIM" and grown < 0:
            start = int(argv[2])
            start = max(start + len(items), 0) if start < 0 else start
            self._keep(start, start + len(value))
        elif name == b"LSET" and not grown and -len(items) <= (place := _whole(argv[2])) < len(items):
            items[place], sources[place] = argv[3], event
        elif name == b"LREM" and grown < 0:
            self._without(argv[3], int(argv[2]), -grown)
        else:
            self._ends(list(value), event)

    def _keep(self, start: int, stop: int) -> None:
        for ends in (self._items, self._sources):
            while len(ends) > stop:
                ends.pop()
            for _ in range(start):
                ends.popleft()

    def _without(self, element: bytes, count: int, removed: int) -> None:
        """What LREM takes: from the end if `count` is negative."""
        places = [place for place, item in enumerate(self._items) if item == element]
        gone = set(places[-removed:] if count < 0 else places[:removed])
        self._items = deque(item for place, item in enumerate(self._items) if place not in gone)
        self._sources = deque(source for place, source in enumerate(self._sources) if place not in gone)

    def _ends(self, now: list[bytes], event: Event) -> None:
        """What the list was and is have a beginning and an end in common; what is between them is new."""
        was, sources = list(self._items), list(self._sources)
        head, tail = common_ends(was, now)
        kept = sources[len(sources) - tail :]
        self._items = deque(now)
        self._sources = deque(sources[:head] + [event] * (len(now) - head - tail) + kept)

    # --- strings -----------------------------------------------------------------------------------------

    def _string(self, name: bytes, now: bytes | bytearray, event: Event) -> None:
        begin, end = 0, len(now)
        if self._text and name in _WRITES_A_PART:
            begin, end = self._part(name, now, event.argv)
        else:
            self._events.clear()
        behind = len(self._text) - (len(now) - end)
        self._text[begin:behind] = now[begin:end]
        self._owners[begin:behind] = array("i", [len(self._events)]) * (end - begin)
        self._events.append(event)

    def _part(self, name: bytes, now: bytes | bytearray, argv: list[bytes]) -> tuple[int, int]:
        """The bytes that a command wrote, from the first to before another; behind the end as far as it grew."""
        was = self._text
        grown = len(now) > len(was)
        if name == b"APPEND":
            return len(was), len(now)
        place = _whole(argv[2])
        if name == b"SETRANGE" and len(argv) == 4 and place >= 0:
            # What it wrote counts as written, also where it wrote what was there.
            start = min(place, len(was))
            return start, len(now) if grown else max(min(place + len(argv[3]), len(now)), start)
        if name == b"SETBIT" and not grown and 0 <= place < 8 * len(was):
            place //= 8
            return place, place + (was[place] != now[place])
        most = min(len(was), len(now))
        differ = np.flatnonzero(np.frombuffer(was, np.uint8)[:most] != np.frombuffer(now, np.uint8)[:most])
        begin = int(differ[0]) if len(differ) else most
        return begin, len(now) if grown or not len(differ) else int(differ[-1]) + 1

    # --- what came of it ---------------------------------------------------------------------------------

    def rows(self, value: Value) -> tuple[list[Any], list[Any], list[Event]]:
        """The elements of the value as it is now, what they hold, and the command that each is of."""
        if isinstance(value, bytes | bytearray):
            owners = np.frombuffer(self._owners, np.intc) if len(value) else np.zeros(0, np.intc)
            turns = [0, *(np.flatnonzero(np.diff(owners)) + 1).tolist(), len(owners)]
            runs = [(begin, end) for begin, end in pairwise(turns) if begin < end]
            elements = [f"{begin}:{end}" for begin, end in runs]
            values = [bytes(value[begin:end]) for begin, end in runs]
            return elements, values, [self._events[owners[begin]] for begin, _ in runs]
        if isinstance(value, ListValue):
            return list(range(len(value))), list(value), list(self._sources)
        held = _as_dict(value)
        return list(held), list(held.values()), [self._by[element] for element in held]


def _whole(text: bytes) -> int:
    """The number that `text` is; one that is no place, if it is none."""
    try:
        return int(text)
    except ValueError:
        return -(1 << 64)


def _held_by(value: Value, element: bytes) -> Any:
    """What a hash, a set or a sorted set holds under `element`."""
    if isinstance(value, SetValue):
        return None if element in value else _ABSENT
    assert isinstance(value, HashValue | SortedSet)
    found = value.get(element) if isinstance(value, HashValue) else value.score(element)
    return _ABSENT if found is None else found


def _as_dict(value: Value) -> dict[bytes, Any]:
    if isinstance(value, HashValue):
        return dict(value.items())
    if isinstance(value, SortedSet):
        return dict(value.scores)
    if isinstance(value, SetValue):
        return dict.fromkeys(value, None)
    assert isinstance(value, Stream)
    return {format_id(entry_id): list(items) for entry_id, items in value.range()}


def _blame_frame(log: Log, elements: list[Any], values: list[Any], sources: list[Event]) -> pd.DataFrame:
    about = frame_of(log, sources).reset_index()
    made = pd.DataFrame(
        {
            "element": pd.Series(elements, dtype=object).array,
            "value": pd.Series(values, dtype=object).array,
        }
    )
    return pd.concat([made, about[["seq", "part", "offset", "ts", "cmd", "args"]]], axis=1)
