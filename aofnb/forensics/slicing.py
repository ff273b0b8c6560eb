"""One key at one position, by running only the commands that had a part in it.

Backwards from the position, by the postings: a command that touches a demanded key is taken; the other keys that it
reads are demanded from there on; a command that leaves nothing of what was before (DEL, a plain SET, FLUSH*) ends the
demand for its keys; SWAPDB moves the demand to the other database. Then the commands taken are run forward in an
empty store.

Rules of this file: a command ends a demand only if it cannot have failed, so the slice is right whatever the log holds;
where it cannot be told which keys a command touches (a script, SORT with BY or GET), there is no slice, and the whole
log is replayed instead.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from aofnb.commands import registry
from aofnb.engine.replay import Replayer
from aofnb.forensics.columns import NOT_RUN
from aofnb.forensics.postings import Event
from aofnb.forensics.roles import BARRIERS, WIDE, keys_of
from aofnb.forensics.travel import empty_store
from aofnb.resp.reader import Block
from aofnb.store.hash_value import HashValue
from aofnb.store.list_value import ListValue
from aofnb.store.set_value import SetValue
from aofnb.store.stream import Stream, format_id
from aofnb.store.values import Value
from aofnb.store.zset import SortedSet

if TYPE_CHECKING:
    from aofnb.engine.store import Store
    from aofnb.forensics.log import Log
    from aofnb.forensics.position import Position

__all__ = [
    "REACH_OTHERS",
    "Unsound",
    "as_bytes",
    "get",
    "python_value",
    "run_events",
    "slice_of",
    "store_of",
    "touched",
    "unit_start",
]

_log = logging.getLogger("aofnb")

_FLUSHALL, _FLUSHDB, _SWAPDB = range(len(WIDE))
# Commands with keys in a database that is not selected.
REACH_OTHERS = ("MOVE", "COPY")
# Enough for a deadline that nobody refuses: far below what overflows.
_DEADLINE_MAX = 1 << 53
_DEADLINES = (b"EX", b"PX", b"EXAT", b"PXAT")

Place = tuple[int, bytes]


class Unsound(Exception):  # noqa: N818  no error: it says which way to take
    """A slice cannot be trusted; the text says why."""


def as_bytes(key: str | bytes) -> bytes:
    """A key as a person gives it."""
    if isinstance(key, bytes):
        return key
    if isinstance(key, str):
        # Bytes that are no text, as the shell and file names hand them over.
        return key.encode("utf-8", "surrogateescape")
    raise TypeError(f"a key is str or bytes, not {key!r}")


def get(log: Log, key: bytes, db: int, position: Position) -> Any:
    """The value of `key` before `position` as Python has it; None if there is none."""
    store = store_of(log, [(db, key)], position)
    return python_value(store.engine.keyspace[db].lookup(key))


def store_of(log: Log, places: Sequence[Place], position: Position) -> Store:
    """A store that holds at least these keys as they were before `position`; what else it holds means nothing."""
    try:
        events = slice_of(log, places, position.seq)
    except Unsound as reason:
        _log.warning("%s: the whole log is replayed for this answer, which takes longer", reason)
        return log.at(position)
    databases = max((db for db, _ in places), default=0) + 1
    store = empty_store(log, position.ts, databases)
    run_events(log, store, events)
    return store


def unit_start(log: Log, seq: int) -> int:
    """`seq`, or the row of MULTI if `seq` is inside a transaction, which then has not happened yet."""
    return log.postings().first_of_unit(seq)


def slice_of(log: Log, places: Iterable[Place], stop: int, *, whole: bool = False) -> list[Event]:
    """The commands before row `stop` that had a part in what these keys hold, in order.

    With `whole` also those that had a part in anything they ever held.

    Raises
    ------
    Unsound
        Something before `stop` may have changed them without saying so.
    """
    postings = log.postings()
    stop = unit_start(log, stop)
    barriers = [(row, code) for row, code in postings.barriers if row < stop]
    opaque = next((code for _, code in barriers if code > _SWAPDB), None)
    if opaque is not None:
        raise Unsound(f"the log has {BARRIERS[opaque]}, which may change any key")
    return _Slice(log, barriers, whole).of(set(places), stop)


class _Slice:
    """The way back through the log."""

    def __init__(self, log: Log, barriers: list[tuple[int, int]], whole: bool) -> None:
        self._postings = log.postings()
        self._whole = whole
        self._databases = max(16, log.index().databases)
        # Newest first: -row of the next one of each key and of the barriers.
        self._next: list[tuple[int, bytes | None]] = []
        self._rows: dict[bytes | None, list[int]] = {None: [row for row, _ in barriers]}
        self._ready: dict[int, Event] = {}
        self._codes = dict(barriers)
        self.demand: set[Place] = set()

    def of(self, places: set[Place], stop: int) -> list[Event]:
        self._advance(None)
        for place in places:
            self._want(place, stop)
        taken: list[Event] = []
        done = stop
        while self.demand and self._next:
            row, key = heapq.heappop(self._next)
            # Of several keys of one command the first speaks for all.
            event = None if -row == done else self._event(-row, key)
            self._advance(key)
            if event is None:
                continue
            done = event.seq
            if event.status in NOT_RUN or not event.argv:
                continue
            code = self._codes.get(done)
            if self._barrier(event, code) if code is not None else self._command(event):
                taken.append(event)
        return taken[::-1]

    def _want(self, place: Place, before: int) -> None:
        self.demand.add(place)
        key = place[1]
        if key not in self._rows:
            rows = self._postings.rows_of(key)
            self._rows[key] = rows[: int(rows.searchsorted(before))].tolist()
            self._advance(key)

    def _advance(self, key: bytes | None) -> None:
        rows = self._rows[key]
        if rows:
            heapq.heappush(self._next, (-rows.pop(), key))

    def _event(self, row: int, key: bytes | None) -> Event:
        found = self._ready.pop(row, None)
        if found is None:
            # Several at once: the files are opened once for them.
            more = self._rows[key][-64:]
            for event in self._postings.events([*more, row]):
                self._ready[event.seq] = event
            found = self._ready.pop(row)
        return found

    def _barrier(self, event: Event, code: int) -> bool:
        """Whether FLUSH* or SWAPDB has a part in what is demanded; the demand before it."""
        if code == _SWAPDB:
            try:
                one, other = int(event.argv[1]), int(event.argv[2])
            except (ValueError, IndexError):
                return False
            if one == other or not (0 <= one < self._databases and 0 <= other < self._databases):
                return False
            swap = {one: other, other: one}
            concerned = any(db in swap for db, _ in self.demand)
            self.demand = {(swap.get(db, db), key) for db, key in self.demand}
            return concerned
        if len(event.argv) > 2 or (len(event.argv) == 2 and event.argv[1].upper() not in (b"SYNC", b"ASYNC")):
            return False
        kept = {place for place in self.demand if code == _FLUSHDB and place[0] != event.db}
        concerned = kept != self.demand
        if not self._whole:
            self.demand = kept
        return concerned

    def _command(self, event: Event) -> bool:
        """Whether a command has a part in what is demanded; the demand before it."""
        keys = touched(event)
        mine = [place for place in keys if place in self.demand]
        if not mine:
            return False
        if _reads_others(event.argv):
            raise Unsound("SORT with BY or GET reads keys that it does not name")
        if _leaves_nothing(event.argv):
            if not self._whole:
                self.demand.difference_update(mine)
        else:
            for place in keys:
                self._want(place, event.seq)
        return True


def touched(event: Event) -> list[Place]:
    """Database and name of every key that a command names."""
    argv = event.argv
    command = registry.find(argv)
    if command is None:
        return [(event.db, argv[1])] if len(argv) > 1 else []
    places = [(event.db, key) for key in keys_of(command, argv)]
    if command.name in REACH_OTHERS and places:
        other = _other_db(command.name, argv)
        if other is not None:
            places[-1 if command.name == "COPY" else len(places) :] = [(other, places[-1][1])]
    return places


def _other_db(name: str, argv: Sequence[bytes]) -> int | None:
    """The database that MOVE or COPY ... DB writes to."""
    number = b""
    if name == "MOVE" and len(argv) == 3:
        number = argv[2]
    elif name == "COPY":
        number = next((argv[i + 1] for i in range(3, len(argv) - 1) if argv[i].upper() == b"DB"), b"")
    return int(number) if number.isdigit() and len(number) < 6 else None


def _reads_others(argv: Sequence[bytes]) -> bool:
    return argv[0].upper() in (b"SORT", b"SORT_RO") and any(word.upper() in (b"BY", b"GET") for word in argv[2:])


def _leaves_nothing(argv: Sequence[bytes]) -> bool:
    """Whether nothing of what its keys held matters behind it, and it cannot have failed."""
    name = argv[0].upper()
    if name in (b"DEL", b"UNLINK"):
        return len(argv) > 1
    if name == b"MSET":
        return len(argv) > 1 and len(argv) % 2 == 1
    if name != b"SET" or len(argv) not in (3, 5):
        return False
    if len(argv) == 3:
        return True
    option, deadline = argv[3].upper(), argv[4]
    return (
        option in _DEADLINES
        and deadline.isdigit()
        and len(deadline) < 17
        and 0 < int(deadline) < _DEADLINE_MAX // (1 if option in (b"PX", b"PXAT") else 1000)
    )


# --- running it ---------------------------------------------------------------------------------------------------


class Runner:
    """Runs chosen commands, each in its database, on a store."""

    def __init__(self, log: Log, store: Store) -> None:
        self._log = log
        self._replayer = Replayer(store.engine)
        self._selected: tuple[int, int] | None = None

    def run(self, event: Event) -> None:
        """Run one command, as if it stood alone."""
        path = self._log.parts[event.part].path
        argvs = [event.argv]
        if self._selected != (event.part, event.db):
            self._selected = (event.part, event.db)
            argvs.insert(0, [b"SELECT", b"%d" % event.db])
        with self._replayer.loading():
            self._replayer.replay(path, Block.of(argvs, [event.offset] * len(argvs), event.offset))


def run_events(log: Log, store: Store, events: Iterable[Event]) -> None:
    """Run these commands, which come from `log`, on `store`."""
    runner = Runner(log, store)
    for event in events:
        runner.run(event)


def python_value(value: Value | None) -> Any:
    """A value as plain Python: bytes, list, set, dict (hash; sorted set: member to score; stream: id to fields)."""
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, ListValue):
        return list(value)
    if isinstance(value, SetValue):
        return set(value)
    if isinstance(value, HashValue):
        return dict(value.items())
    if isinstance(value, SortedSet):
        return {member: score for score, member in value.walk()}
    assert isinstance(value, Stream)
    # A field may come more than once in an entry.
    return {format_id(entry_id): list(zip(items[::2], items[1::2], strict=True)) for entry_id, items in value.range()}
