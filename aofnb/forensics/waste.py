"""How much of a log is dead: commands whose effect a later one overwrote or removed.

The bytes of a command are dead once the key that it wrote is overwritten (SET) or removed (DEL, FLUSH*). Those of a
command with several keys are shared among them. One pass; memory grows with the number of keys that are alive, and not
with the log.

Keys are numbered, and what was said to them adds up in arrays by that number, many rows at once: in a run of rows a key
is buried by the last use that overwrites or removes it, and of what was said to it the uses from there on count. Only
commands that move keys, or take them all, end such a run.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise, repeat
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from aofnb.clock import SystemClock
from aofnb.engine.replay import Replayer
from aofnb.engine.store import open_store
from aofnb.errors import AofnbError
from aofnb.forensics.columns import Selection, was_run
from aofnb.forensics.kinds import Kinds, Sums, text_of
from aofnb.forensics.reading import Progress, Report
from aofnb.forensics.roles import roles_by_name
from aofnb.forensics.scan import Record, read_record
from aofnb.forensics.travel import StoppedClock, blocks

if TYPE_CHECKING:
    from aofnb.forensics.log import Log

__all__ = ["waste"]

Ints = npt.NDArray[Any]

_COLUMNS = ("part", "offset", "nbytes", "db", "cmd", "keys", "status")
_NO_KEY = "(no key)"
_WIDE = ("FLUSHALL", "FLUSHDB", "SWAPDB")
_RENAMES = ("RENAME", "RENAMENX")
# What a use of a key does to what was said to it before, and to what the command itself says.
_BURIES, _LEAVES_NOTHING = 1, 2
_BURYING, _LEAVING_NOTHING = ("OW", "RM"), ("RM", "RO")
# So many uses of keys are taken at once: the more, the fewer keys are looked up twice.
_USES, _KEY_BYTES = 1 << 17, 1 << 27
# With fewer keys nobody looks for those that are dead.
_MANY_KEYS = 1 << 18
# How many rows tell how fast this machine replays.
_SPEED_ROWS = 20_000


def waste(log: Log, by: Literal["template", "key", "cmd"], progress: Progress = None) -> pd.DataFrame:
    """What `Log.waste` gives."""
    if by not in ("template", "key", "cmd"):
        raise ValueError(f"by= is 'template', 'key' or 'cmd', not {by!r}")
    sums, met = _Sums(by), Report()
    for batch in log.read(Selection.of(_COLUMNS, encoding=None), log.tolerant, progress, met):
        sums.add(log, batch)
    frame = sums.frame()
    total, dead = int(frame["bytes"].sum()), int(frame["dead_bytes"].sum())
    live = total - dead
    frame.attrs["waste"] = {
        "bytes": total,
        "dead_bytes": dead,
        "live_bytes": live,
        "amplification": total / live if live else float("inf") if total else 1.0,
        "replay_s": _replay_s(log, met.rows, sums.highest_db),
    }
    return frame


def _replay_s(log: Log, rows: int, highest_db: int) -> float | None:
    """Seconds that a replay of all rows takes here; None if the beginning cannot be replayed."""
    some = min(rows, _SPEED_ROWS)
    store = open_store(None, readonly=True, clock=StoppedClock(0), background=False, databases=max(16, highest_db + 1))
    replayer, clock = Replayer(store.engine), SystemClock()
    begun = clock.monotonic()
    try:
        with replayer.loading():
            for name, block in blocks(log, some):
                replayer.replay(name, block)
    except AofnbError:
        return None
    return (clock.monotonic() - begun) / some * rows if some else 0.0


class _Names(dict[Any, int]):
    """Numbers of names."""

    def of(self, names: list[Any], free: int) -> tuple[Ints, Ints]:
        """The numbers of `names`, and the places of those that are new, whose numbers begin with `free`."""
        numbers = np.fromiter(map(self.get, names, repeat(-1)), np.int64, len(names))
        new = np.flatnonzero(numbers < 0)
        numbers[new] = np.arange(free, free + len(new))
        self.update(zip(map(names.__getitem__, new.tolist()), range(free, free + len(new)), strict=True))
        return numbers, new


class _Turn(NamedTuple):
    """A command that moves keys, or takes them all, before the use `at` of a run."""

    at: int
    cmd: str
    db: int
    argv: list[bytes]


class _Run(NamedTuple):
    """Uses of keys, in order, as arrays of one length: the key and its database, bytes, the group if that does not
    follow from the key, and what it does.
    """

    keys: pa.Array
    dbs: Ints
    sizes: Ints
    groups: Ints
    does: Ints

    def slice(self, begin: int, end: int) -> _Run:
        keys, *columns = self
        return _Run(keys.slice(begin, end - begin), *(column[begin:end] for column in columns))


class _Sums:
    """What adds up on the way: commands, bytes and dead bytes by group, and the bytes of each key that is alive.

    A group is a kind of key, a key, or a command. Each has a number; 0 is for what has no key.
    """

    def __init__(self, by: str) -> None:
        self.highest_db = 0
        self._by = by
        self._counted = Sums()
        # Bytes by group that RENAME took there, or away.
        self._moved: Counter[int] = Counter()
        self._dead = np.zeros(64, np.int64)
        self._kinds = Kinds()
        # Numbers of keys or commands.
        self._groups = _Names({_NO_KEY: 0})
        self._roles: dict[str | None, tuple[int, int]] = {}
        # Keys by database; how many numbers were given to them, and with how many it is worth to look for dead ones.
        self._names: dict[int, _Names] = {}
        self._known, self._many = 0, _MANY_KEYS
        self._slots = _Names()
        # By key: how often it was buried. A key that is gone keeps its number until `_forget`.
        self._burials = np.zeros(64, np.int32)
        # By slot, which is a key, or, if the group is the command, one for each of them that spoke to the key: bytes,
        # and how often the key had been buried when they were said.
        self._owner, self._group = np.zeros(64, np.int32), np.zeros(64, np.int32)
        self._held, self._since = np.zeros(64, np.int64), np.zeros(64, np.int32)
        # What was not added up yet.
        self._runs: list[_Run] = []
        self._turns: list[_Turn] = []
        self._uses = self._key_bytes = 0

    def add(self, log: Log, batch: pa.RecordBatch) -> None:
        """Take rows; the columns are `_COLUMNS`, behind `seq`."""
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        words = [*columns["cmd"].dictionary.to_pylist(), None]
        codes = columns["cmd"].indices.fill_null(len(words) - 1).to_numpy()
        run = was_run(columns["status"])
        nkeys = np.where(run, columns["keys"].value_lengths().to_numpy(), 0)
        # From here on an element for each use of a key; those of row `i` begin at begins[i].
        begins = np.concatenate(([0], np.cumsum(nkeys)))
        rows = np.repeat(np.arange(len(nkeys)), nkeys)
        keys = columns["keys"].filter(pa.array(run)).flatten()
        if self._uses + len(rows) > _USES or self._key_bytes + keys.nbytes > _KEY_BYTES:
            self._take()
        is_first = np.zeros(len(rows), bool)
        is_first[begins[:-1][nkeys > 0]] = True
        nbytes, dbs = columns["nbytes"].to_numpy(), columns["db"].to_numpy()
        sizes = nbytes[rows] // nkeys[rows] + np.where(is_first, nbytes[rows] % nkeys[rows], 0)
        does = np.array([self._does(word) for word in words], np.uint8)[codes[rows], np.where(is_first, 0, 1)]
        groups = np.zeros(len(codes), np.int64)
        if self._by == "cmd":
            groups = self._groups.of(words, len(self._groups))[0][codes]
            self._counted.add(groups, nbytes)
        else:
            self._counted.add(groups[nkeys == 0], nbytes[nkeys == 0])
        self._die(groups[~run], nbytes[~run])
        self.highest_db = max(self.highest_db, int(dbs.max(initial=0)))

        wide = [code for code, word in enumerate(words) if word in (*_WIDE, *_RENAMES)]
        for row in np.flatnonzero(run & np.isin(codes, wide)).tolist():
            cmd, begin = words[codes[row]], int(begins[row])
            argv = _argv(log, batch, row) if cmd == "SWAPDB" else [b"", *keys[begin : begins[row + 1]].to_pylist()]
            self._turns.append(_Turn(self._uses + begin, cmd, int(dbs[row]), argv))
        self._runs.append(_Run(keys, dbs[rows], sizes, groups[rows], does))
        self._uses += len(rows)
        self._key_bytes += keys.nbytes

    def _does(self, word: str | None) -> tuple[int, int]:
        """What a command does to its first key, and to all others."""
        if word not in self._roles:
            # RENAME buries by moving.
            buries = () if word in _RENAMES else _BURYING
            first, rest = (
                _BURIES * (role in buries) | _LEAVES_NOTHING * (role in _LEAVING_NOTHING)
                for role in roles_by_name(word or "", 2)
            )
            self._roles[word] = first, rest
        return self._roles[word]

    def frame(self) -> pd.DataFrame:
        self._take()
        self._settle(np.arange(self._known_slots))
        groups = [_NO_KEY, *self._kinds.words] if self._by == "template" else list(self._groups)
        rows, nbytes, dead = self._counted.rows, self._counted.nbytes, self._dead
        for group, more in self._moved.items():
            nbytes[group] += more
        keys = zip((-dead).tolist(), (-nbytes).tolist(), map(str, groups), range(len(nbytes)), strict=False)
        order = [key[-1] for key in sorted(keys) if rows[key[-1]]]
        places = np.array(order, np.int64)
        made = pd.DataFrame(
            {"commands": rows[places], "bytes": nbytes[places], "dead_bytes": dead[places]},
            index=pd.Index([groups[number] for number in order], dtype=object, name=self._by),
        )
        made["dead"] = made["dead_bytes"] / made["bytes"].where(made["bytes"] > 0)
        return made

    # --- many uses at once -------------------------------------------------------------------------------

    def _take(self) -> None:
        """Add up what came."""
        if self._runs:
            keys, *columns = zip(*self._runs, strict=True)
            everything = _Run(pa.concat_arrays(keys), *map(np.concatenate, columns))
            turns, uses = self._turns, self._uses
            self._runs, self._turns, self._uses, self._key_bytes = [], [], 0, 0
            counted = []
            for turn, end in pairwise([None, *turns, None]):
                begin = 0 if turn is None else turn.at
                if turn is not None:
                    self._turn(turn)
                counted.append(self._follow(everything.slice(begin, uses if end is None else end.at)))
            if self._by != "cmd":
                self._counted.add(np.concatenate(counted), everything.sizes)
            if self._known > self._many:
                self._forget()

    def _follow(self, run: _Run) -> Ints:
        """Take uses between which no key is moved; the group of each."""
        if not len(run.keys):
            return run.groups
        numbers = self._numbers_of(run.keys, run.dbs)
        groups = run.groups if self._by == "cmd" else self._group[numbers]
        order = np.argsort(numbers, kind="stable")
        sizes, does, mine = run.sizes[order], run.does[order], groups[order]
        firsts = np.flatnonzero(np.diff(numbers[order], prepend=-1))
        keys, uses = numbers[order[firsts]], np.diff(firsts, append=len(order))
        buried = np.maximum.reduceat(np.where(does & _BURIES, np.arange(len(order)), -1), firsts)
        counts = (does & _LEAVES_NOTHING == 0) & (np.arange(len(order)) >= np.repeat(buried, uses))
        self._die(mine[~counts], sizes[~counts])
        self._bury(keys[buried >= 0])
        if self._by == "cmd":
            said, place = np.unique(np.repeat(keys, uses)[counts] << 32 | mine[counts], return_inverse=True)
            slots, held = self._slots_of(said), np.bincount(place, sizes[counts], len(said)).astype(np.int64)
        else:
            slots, held = keys, np.add.reduceat(np.where(counts, sizes, 0), firsts)
        self._settle(slots)
        self._held[slots] += held
        return groups

    def _die(self, groups: Ints, sizes: Ints) -> None:
        """So many bytes of these groups are dead."""
        if len(groups):
            self._dead = _with_room(self._dead, int(groups.max()) + 1)
            np.add.at(self._dead, groups, sizes)

    def _bury(self, keys: Ints) -> None:
        """What was said to these keys until now, each of which is there once, is dead."""
        self._burials[keys] += 1

    def _settle(self, slots: Ints) -> None:
        """Count as dead what these slots, each of which is there once, hold of keys that were buried since."""
        burials = self._burials[self._owner[slots]]
        stale = self._since[slots] != burials
        slots = slots[stale]
        self._die(self._group[slots], self._held[slots])
        self._held[slots], self._since[slots] = 0, burials[stale]

    # --- moving keys -------------------------------------------------------------------------------------

    def _turn(self, turn: _Turn) -> None:
        if turn.cmd == "SWAPDB":
            if len(turn.argv) == 3 and turn.argv[1].isdigit() and turn.argv[2].isdigit():
                a, b = int(turn.argv[1][:9]), int(turn.argv[2][:9])
                self._names[a], self._names[b] = self._names_in(b), self._names_in(a)
        elif turn.cmd in _WIDE:
            for number in [turn.db] if turn.cmd == "FLUSHDB" else list(self._names):
                self._bury(np.fromiter(self._names.pop(number, {}).values(), np.int64))
        elif len(turn.argv) == 3:
            self._rename(self._names_in(turn.db), turn.argv[1], turn.argv[2])

    def _rename(self, names: _Names, old: bytes, new: bytes) -> None:
        """What was said to the one is now of the other."""
        if old == new:
            return
        if (over := names.pop(new, None)) is not None:
            self._bury(np.array([over]))
        if (moved := names.pop(old, None)) is None:
            return
        names[new] = moved
        if self._by != "cmd":
            self._settle(np.array([moved]))
            was, now = int(self._group[moved]), int(self._groups_of(pa.array([new], pa.binary()))[0])
            self._moved[was] -= int(self._held[moved])
            self._moved[now] += int(self._held[moved])
            self._group[moved] = now

    # --- numbers -----------------------------------------------------------------------------------------

    def _names_in(self, db: int) -> _Names:
        return self._names.setdefault(db, _Names())

    def _numbers_of(self, keys: pa.Array, dbs: Ints) -> Ints:
        numbers = np.empty(len(keys), np.int64)
        for db in np.unique(dbs).tolist():
            mine = dbs == db
            named = keys.filter(pa.array(mine)).dictionary_encode()
            found, new = self._names_in(db).of(named.dictionary.to_pylist(), self._known)
            numbers[mine] = found[named.indices.to_numpy()]
            self._known += len(new)
            self._burials = _with_room(self._burials, self._known)
            if self._by != "cmd" and len(new):
                self._begin_slots(found[new], found[new], self._groups_of(named.dictionary.take(pa.array(new))))
        return numbers

    def _groups_of(self, keys: pa.Array) -> Ints:
        """The group of each key, where it follows from it."""
        if self._by == "key":
            return self._groups.of(keys.to_pylist(), len(self._groups))[0]
        return self._kinds.codes(text_of(keys)) + np.int32(1)

    def _slots_of(self, said: Ints) -> Ints:
        """The slot of each key (in the upper half of a number) and command (in the lower)."""
        slots, new = self._slots.of(said.tolist(), len(self._slots))
        self._begin_slots(slots[new], said[new] >> 32, said[new] & 0xFFFFFFFF)
        return slots

    def _begin_slots(self, slots: Ints, keys: Ints, groups: Ints) -> None:
        size = int(slots.max(initial=-1)) + 1
        self._owner, self._group = _with_room(self._owner, size), _with_room(self._group, size)
        self._held, self._since = _with_room(self._held, size), _with_room(self._since, size)
        self._owner[slots], self._group[slots], self._since[slots] = keys, groups, self._burials[keys]

    @property
    def _known_slots(self) -> int:
        return len(self._slots) if self._by == "cmd" else self._known

    def _forget(self) -> None:
        """Give the numbers of keys of which nothing counts any more to others, if those are most."""
        self._settle(np.arange(self._known_slots))
        slots = np.flatnonzero(self._held[: self._known_slots])
        alive = np.zeros(self._known, bool)
        alive[self._owner[slots]] = True
        count, self._many = int(alive.sum()), 2 * self._known
        if 2 * count > self._known:
            return
        self._known, self._many = count, max(2 * count, _MANY_KEYS)
        now = np.cumsum(alive) - 1
        for db, names in self._names.items():
            self._names[db] = _Names((name, int(now[number])) for name, number in names.items() if alive[number])
        self._owner = now[self._owner[slots]].astype(np.int32)
        self._group, self._held = self._group[slots], self._held[slots]
        self._since, self._burials = np.zeros(len(slots), np.int32), np.zeros(count, np.int32)
        if self._by == "cmd":
            self._slots = _Names(
                zip((self._owner.astype(np.int64) << 32 | self._group).tolist(), range(len(slots)), strict=True)
            )


def _with_room(column: Ints, size: int) -> Ints:
    """`column`, with zeros behind it if it is shorter than `size`."""
    if len(column) >= size:
        return column
    return np.concatenate((column, np.zeros(max(size, len(column) * 5 // 4) - len(column), column.dtype)))


def _argv(log: Log, batch: pa.RecordBatch, row: int) -> list[bytes]:
    """The arguments of a row, from its file."""
    offset, nbytes = batch.column("offset")[row].as_py(), batch.column("nbytes")[row].as_py()
    with log.parts[batch.column("part").indices[row].as_py()].open() as file:
        found = read_record(file.read_at(offset, nbytes), 0, eof=True)
    return found.argv if isinstance(found, Record) else []
