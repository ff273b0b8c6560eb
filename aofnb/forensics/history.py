"""Everything that happened to a key, and everything that says some word.

A row of a history is a command that names the key, or one that takes whole databases (FLUSH*, SWAPDB) while the key
was there, as far as the log shows. Its `cause` is what the log is evidence of:

- ``expiry``: DEL or UNLINK at a time at which the deadline of the key had passed;
- ``expiry suspected``: the same, with a deadline set, in a log without times;
- ``eviction suspected``: DEL or UNLINK in capitals, alone, in no transaction, of a key whose deadline had not passed,
  where clients write small: it is a server's own hand then, since servers write capitals. Where clients write capitals,
  too, an eviction looks like any ``delete``;
- ``delete``, ``flush``, ``swap``, ``rename``, ``copy``, ``move``, ``restore``, ``script``, ``snapshot`` (a base had
  it), ``not run`` (cut, or of a transaction without EXEC);
- ``overwrite``: it was there and another value took its place; ``client``: any other change.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aofnb.commands import registry
from aofnb.forensics.analysis import deadline_of
from aofnb.forensics.columns import RowBuilder, Rows, Selection
from aofnb.forensics.postings import Event
from aofnb.forensics.reading import Progress, Report, teller
from aofnb.forensics.roles import BARRIERS, key_roles, sole_role
from aofnb.forensics.rows import tables
from aofnb.forensics.slicing import REACH_OTHERS, Runner, Unsound, python_value, slice_of, touched
from aofnb.forensics.travel import Traveller, empty_store
from aofnb.store.hash_value import HashValue
from aofnb.store.set_value import SetValue
from aofnb.store.values import Value, type_name
from aofnb.store.zset import SortedSet

if TYPE_CHECKING:
    from aofnb.forensics.log import Log
    from aofnb.forensics.position import Position
    from aofnb.forensics.scan import Records

__all__ = ["find", "frame_of", "history", "last_write"]

_FLUSHES = ("FLUSHALL", "FLUSHDB")
_NAMED = {"RENAME": "rename", "RENAMENX": "rename", "COPY": "copy", "MOVE": "move", "RESTORE": "restore"}
_REMOVES = ("DEL", "UNLINK")
_SCRIPTS = ("EVAL", "EVALSHA", "FCALL")
# What servers write in capitals whatever the client's spelling was, since it is not what the client said.
_REWRITTEN = frozenset(
    (
        "PEXPIREAT", "PERSIST", "DEL", "UNLINK", "SELECT", "MULTI", "EXEC", "HSET", "SREM", "LPOP", "RPOP", "LMOVE",
        "RPOPLPUSH", "ZPOPMIN", "ZPOPMAX", "XCLAIM", "XGROUP SETID", "XGROUP CREATECONSUMER",
    )
)  # fmt: skip
# How many rows before and behind a command tell how clients write.
_NEAR = 100
_FOUND = ("part", "offset", "nbytes", "ts", "db", "txn", "cmd", "key", "status")
# A row of `find` shows so much around what was found.
_SHOWN_BYTES = 40


def history(
    log: Log, key: bytes, db: int, start: Position, stop: Position, values: bool, progress: Progress = None
) -> pd.DataFrame:
    """What `Log.history` gives."""
    events = _events_of(log, key, stop.seq, progress)
    causes, roles = _explained(log, events, key, db)
    # Of what concerns whole databases only that counts which found the key there.
    shown = [number for number, event in enumerate(events) if causes[number] is not None and event.seq >= start.seq]
    chosen = [events[number] for number in shown]
    frame = frame_of(log, chosen)
    frame["role"] = pd.Categorical([roles[number] for number in shown], categories=["OW", "RW", "RO", "RM"])
    frame["cause"] = pd.Categorical([causes[number] for number in shown])
    if values:
        kinds, held = _values(log, key, db, chosen, stop)
        frame["type"] = pd.Series(kinds, index=frame.index, dtype=object)
        frame["value"] = pd.Series(held, index=frame.index, dtype=object)
    return frame


def frame_of(log: Log, events: Sequence[Event]) -> pd.DataFrame:
    """Events as rows: part, offset, ts, db, txn, cmd, args, status; the index is `seq`."""
    names = pd.Index([part.name for part in log.parts])
    stamps = np.array([event.ts for event in events], np.int64)
    seconds = np.where(stamps < 0, np.iinfo(np.int64).min, stamps).view("datetime64[s]")
    txn = np.array([event.txn for event in events], np.int64)
    return pd.DataFrame(
        {
            "part": pd.Categorical.from_codes(np.array([event.part for event in events], np.int64), names),
            "offset": np.array([event.offset for event in events], np.int64),
            "ts": pd.DatetimeIndex(seconds).tz_localize("UTC"),
            "db": np.array([event.db for event in events], np.int16),
            "txn": pd.arrays.IntegerArray(txn, txn == 0),
            "cmd": pd.Categorical([_name(event.argv) for event in events]),
            "args": pd.Series([event.argv for event in events], dtype=object).array,
            "status": pd.Categorical([event.status for event in events]),
        },
        index=pd.Index([event.seq for event in events], dtype="int64", name="seq"),
    )


def _name(argv: Sequence[bytes]) -> str | None:
    if not argv:
        return None
    command = registry.find(argv)
    return command.name if command is not None else argv[0].decode("utf-8", "backslashreplace").upper()


def _events_of(log: Log, key: bytes, stop: int, progress: Progress) -> list[Event]:
    """Rows before `stop` that name the key in any database, or concern whole databases; in order."""
    postings = log.postings(progress=progress)
    rows = postings.rows_of(key)
    barriers = [row for row, code in postings.barriers if BARRIERS[code] != "DEBUG"]
    rows = np.union1d(rows, np.array(barriers, np.int64))
    return [event for event in postings.events(rows[rows < stop]) if _may_touch(event, key)]


def _may_touch(event: Event, key: bytes) -> bool:
    return _name(event.argv) in BARRIERS or any(name == key for _, name in touched(event))


def _concerns(event: Event, key: bytes, db: int) -> bool:
    name = _name(event.argv)
    if name == "FLUSHALL":
        return True
    if name == "FLUSHDB":
        return event.db == db
    if name == "SWAPDB":
        return b"%d" % db in event.argv[1:]
    if name in _SCRIPTS:
        # It may have; nobody can tell.
        return True
    if event.db != db and name not in REACH_OTHERS:
        return False
    return bool(event.argv) and (db, key) in touched(event)


def _explained(log: Log, events: Sequence[Event], key: bytes, db: int) -> tuple[list[str | None], list[str | None]]:
    """The cause of each event, None for one that did not meet the key in `db`; and what it did to the key."""
    causes: list[str | None] = []
    roles: list[str | None] = []
    small = _writes_small(events)
    # Of the databases in which the key is: when it expires there, None for never.
    there: dict[int, int | None] = {}
    for event in events:
        name = _name(event.argv)
        was_there = db in there
        role, cause = None, None
        if _concerns(event, key, db):
            role = _role(event, key, db, name)
            cause = _cause(log, event, name, role, was_there, there.get(db), small)
        if event.status not in ("truncated", "discarded"):
            _follow(event, key, name, there)
        if cause == "swap":
            cause = "swap" if was_there or db in there else None
            role = "OW" if db in there else "RM"
        causes.append(cause)
        roles.append(role)
    return causes, roles


def _cause(
    log: Log, event: Event, name: str | None, role: str | None, there: bool, deadline: int | None, small: bool | None
) -> str | None:
    """Why a command met the key, which was there or not."""
    if event.status in ("truncated", "discarded"):
        return "not run"
    if name in _FLUSHES:
        return "flush" if there else None
    if name == "SWAPDB":
        return "swap"
    if name in _SCRIPTS:
        return "script"
    if event.from_snapshot:
        return "snapshot"
    if name in _REMOVES:
        return _why_removed(log, event, deadline, small)
    if name in _NAMED:
        return _NAMED[name]
    return "overwrite" if role == "OW" and there else "client"


def _follow(event: Event, key: bytes, name: str | None, there: dict[int, int | None]) -> None:
    """What a command that ran changes about where the key is."""
    if name == "FLUSHALL":
        there.clear()
    elif name == "FLUSHDB":
        there.pop(event.db, None)
    elif name == "SWAPDB":
        if len(event.argv) == 3 and event.argv[1].isdigit() and event.argv[2].isdigit():
            a, b = int(event.argv[1][:9]), int(event.argv[2][:9])
            swapped = {{a: b, b: a}.get(each, each): deadline for each, deadline in there.items()}
            there.clear()
            there.update(swapped)
    elif name not in _SCRIPTS:
        for db in {each for each, touched_key in touched(event) if touched_key == key}:
            role = _role(event, key, db, name)
            if role == "RM":
                there.pop(db, None)
            elif role != "RO":
                set_to = deadline_of(event.argv)
                kept = None if role == "OW" or name == "PERSIST" else there.get(db)
                there[db] = kept if set_to is None else set_to


def _role(event: Event, key: bytes, db: int, name: str | None) -> str | None:
    if name in _FLUSHES:
        return "RM"
    if name == "SWAPDB":
        return "OW"
    if name == "MOVE":
        return "RM" if event.db == db else "OW"
    if name == "COPY":
        # Within a database the keys differ; else the databases do.
        return "RO" if event.db == db and event.argv[1] == key else "OW"
    sole = None if name is None else sole_role(name)
    if sole is not None:
        return sole
    mine = [role for each, role in key_roles(event.argv) if each == key]
    for role in ("OW", "RW", "RM", "RO"):
        if role in mine:
            return role
    return "RW"


def _writes_small(events: Iterable[Event]) -> bool | None:
    """Whether clients spell their commands in a way that no server uses by itself; None if nothing tells."""
    small = None
    for event in events:
        if not event.argv or event.from_snapshot:
            continue
        verb = event.argv[0]
        if verb != verb.upper():
            small = True
        elif not _may_be_the_servers(event.argv):
            return False
    return small


def _may_be_the_servers(argv: Sequence[bytes]) -> bool:
    """Whether a command in capitals may be how a server put what a client said in other words."""
    name = _name(argv)
    # SET ... PXAT was SETEX or SET ... EX, SET ... KEEPTTL was INCRBYFLOAT.
    return name in _REWRITTEN or (name == "SET" and len(argv) > 3 and argv[3].upper() in (b"PXAT", b"KEEPTTL"))


def _why_removed(log: Log, event: Event, deadline: int | None, small: bool | None) -> str:
    verb = event.argv[0]
    if verb != verb.upper() or len(event.argv) != 2:
        return "delete"
    if deadline is not None and event.ts < 0:
        return "expiry suspected"
    # A second of the log is over when the next one is written.
    if deadline is not None and deadline <= (event.ts + 1) * 1000:
        return "expiry"
    if small is None:
        near = range(max(event.seq - _NEAR, 0), min(event.seq + _NEAR, log.index().rows))
        small = _writes_small(log.postings().events(near))
    return "eviction suspected" if small and not event.txn else "delete"


def _values(
    log: Log, key: bytes, db: int, events: Sequence[Event], stop: Position
) -> tuple[list[str | None], list[Any]]:
    """Type and value of the key behind each of `events`."""
    kinds: list[str | None] = []
    held: list[Any] = []

    def note(value: Value | None) -> None:
        kinds.append(None if value is None else type_name(value))
        held.append(python_value(value))

    try:
        swapped = {
            int(word)
            for event in log.postings().events([row for row, code in log.postings().barriers if code == 2])
            for word in event.argv[1:]
            if word.isdigit() and len(word) < 6
        }
        places = {(each, key) for each in {db, *swapped}}
        run = slice_of(log, places, stop.seq, whole=True)
    except Unsound:
        traveller = Traveller(log, log.position(0))
        for event in events:
            traveller.go_to(log.position(event.seq + 1))
            note(traveller.store.engine.keyspace[db].peek(key))
        return kinds, held
    store = empty_store(log, None, max((each for each, _ in places)) + 1)
    runner = Runner(log, store)
    wanted = {event.seq for event in events}
    kind_of: dict[int, tuple[str | None, Any]] = {}
    for event in run:
        runner.run(event)
        if event.seq in wanted:
            value = store.engine.keyspace[db].peek(key)
            kind_of[event.seq] = (None if value is None else type_name(value), python_value(value))
    last: tuple[str | None, Any] = (None, None)
    for event in events:
        # A command that a server threw away left what was there.
        last = kind_of.get(event.seq, last)
        kinds.append(last[0])
        held.append(last[1])
    return kinds, held


def last_write(
    log: Log, key: bytes, field: bytes | None, db: int, before: Position, progress: Progress = None
) -> pd.Series | None:
    """What `Log.last_write` gives."""
    log.postings(progress=progress)
    if field is None:
        frame = history(log, key, db, log.position(0), before, False)
        frame = frame[(frame["role"] != "RO") & (frame["cause"] != "not run")]
        return None if frame.empty else frame.iloc[-1]
    try:
        events = slice_of(log, {(db, key)}, before.seq, whole=True)
    except Unsound as reason:
        raise ValueError(f"{reason}, so the last write of a field cannot be told; use log.bisect instead") from None
    store = empty_store(log, None, db + 1)
    runner = Runner(log, store)
    found: Event | None = None
    was: object = None
    for event in events:
        runner.run(event)
        now = _element(store.engine.keyspace[db].peek(key), field)
        named = field in event.argv[2:] and (db, key) in touched(event) and now is not None
        if now != was or named:
            found, was = event, now
    return None if found is None else frame_of(log, [found]).iloc[0]


def _element(value: Value | None, field: bytes) -> object:
    """What a hash, sorted set or set has under `field`; None if nothing."""
    if isinstance(value, HashValue):
        return value.get(field)
    if isinstance(value, SortedSet):
        return value.score(field)
    if isinstance(value, SetValue):
        return True if field in value else None
    return None


# --- words --------------------------------------------------------------------------------------------------------


def find(
    log: Log,
    what: str | bytes | re.Pattern[Any],
    start: Position,
    stop: Position,
    limit: int,
    progress: Progress = None,
) -> pd.DataFrame:
    """What `Log.find` gives."""
    pattern, plain = _pattern_of(what)
    wanted = Selection.of(_FOUND)
    builder = RowBuilder([part.name for part in log.parts], wanted)
    begin = log.index().before_row(start.seq)
    builder.resume(begin)
    tell = teller(progress)
    total = sum(part.size for part in log.parts)
    rows: list[dict[str, Any]] = []
    for number, part in enumerate(log.parts):
        if number < begin.part:
            continue
        offset = begin.offset if number == begin.part else 0
        done = sum(each.size for each in log.parts[:number])
        with part.open() as file:
            if not offset:
                builder.start_part(number)
            for found in tables(part, file, offset, log.tolerant, Report()):
                first = builder.seq
                if len(rows) >= limit or first >= stop.seq:
                    break
                made = builder.batch(found)
                if plain is not None and plain not in found.data:
                    continue
                hits = [hit for hit in _hits(found, pattern, plain) if start.seq <= first + hit[0] < stop.seq]
                rows += _described(made, first, hits[: limit - len(rows)])
                tell(done + file.stored_bytes_read, total)
    tell(total, total)
    return _hit_frame(log, rows)


def _pattern_of(what: str | bytes | re.Pattern[Any]) -> tuple[re.Pattern[bytes], bytes | None]:
    """What to look for as a pattern of bytes, and as bytes if it is no pattern."""
    if isinstance(what, re.Pattern):
        if isinstance(what.pattern, str):
            return re.compile(what.pattern.encode(), what.flags & ~re.UNICODE), None
        return what, None
    if not isinstance(what, str | bytes):
        raise TypeError(f"what is looked for is text, bytes or a compiled pattern, not {what!r}")
    text = what.encode() if isinstance(what, str) else what
    if not text:
        raise ValueError("nothing to look for: the empty text is in every argument")
    return re.compile(re.escape(text)), text


def _hits(records: Records, pattern: re.Pattern[bytes], plain: bytes | None) -> Iterator[tuple[int, int, bytes]]:
    """Row, number of the argument, and what is around its first hit, for each argument that has one."""
    data = records.data
    for row, k in _candidates(records, plain):
        line = int(records.first[row]) + 2 + 2 * k
        start, end = int(records.ends[line - 1]) + 2, int(records.ends[line])
        match = pattern.search(data[start:end])
        if match is not None:
            yield (
                row,
                k,
                data[max(start, start + match.start() - _SHOWN_BYTES) : min(end, start + match.end() + _SHOWN_BYTES)],
            )


def _candidates(records: Records, plain: bytes | None) -> Iterator[tuple[int, int]]:
    """Row and number of every argument that may have a hit."""
    if plain is None or b"\r" in plain or b"\n" in plain:
        # What may match beyond an argument, or only at its border, has to be asked of each alone.
        for row, argc in enumerate(records.argc.tolist()):
            yield from ((row, k) for k in range(argc))
        return
    data, ends = records.data, records.ends
    at = data.find(plain, records.begin)
    while at >= 0:
        line = int(ends.searchsorted(at))
        row = int(records.first.searchsorted(line, side="right")) - 1
        behind = line - int(records.first[row]) - 2 if row >= 0 else -1
        # Every second line is an argument, the others are headers.
        if behind >= 0 and behind % 2 == 0 and behind // 2 < int(records.argc[row]):
            yield row, behind // 2
        if line >= len(ends):
            return
        # On behind this line: one hit of an argument is enough.
        at = data.find(plain, int(ends[line]))


def _described(rows: Rows, first: int, hits: Sequence[tuple[int, int, bytes]]) -> list[dict[str, Any]]:
    """The hits with what the columns say of their rows; no filter was set, so places are rows."""
    batches = [batch for batch in (rows.settled, rows.open) if batch is not None]
    made: list[dict[str, Any]] = []
    for row, k, around in hits:
        for batch in batches:
            at = first + row - (batch.column(0)[0].as_py() if batch.num_rows else 0)
            if 0 <= at < batch.num_rows:
                made.append({**batch.slice(at, 1).to_pylist()[0], "arg": k, "excerpt": around})
                break
    return made


def _hit_frame(log: Log, rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    parts = pd.Index([part.name for part in log.parts])
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in (*_FOUND, "arg", "excerpt")}
    columns["part"] = pd.Categorical(columns["part"], categories=parts)
    columns["ts"] = pd.DatetimeIndex(pd.to_datetime(columns["ts"], utc=True)).as_unit("s")
    columns["txn"] = pd.array(columns["txn"], dtype="Int64")
    for name, kind in (("offset", "int64"), ("nbytes", "int64"), ("db", "int16"), ("arg", "int64")):
        columns[name] = np.array(columns[name], kind)
    for name in ("cmd", "status"):
        columns[name] = pd.Categorical(columns[name])
    columns["key"] = pd.Series(columns["key"], dtype="str").array
    columns["excerpt"] = pd.Series(columns["excerpt"], dtype=object).array
    return pd.DataFrame(columns, index=pd.Index([row["seq"] for row in rows], dtype="int64", name="seq"))
