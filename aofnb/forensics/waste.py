"""How much of a log is dead: commands whose effect a later one overwrote or removed.

The bytes of a command are dead once the key that it wrote is overwritten (SET) or removed (DEL, FLUSH*). Those of a
command with several keys are shared among them. One pass; memory grows with the number of keys that are alive, and not
with the log.

Keys are numbered, and what was said to them adds up in arrays by that number, many rows at once: in a run of rows a key
is buried by the last use that overwrites or removes it, and of what was said to it the uses from there on count. Only
commands that move keys, or take them all, end such a run.

What a key is known by is a hash of 64 bits, keyed by chance: among a million keys two are taken for one once in 30
million times. So a key takes 40 bytes, and looking up many is a walk through sorted arrays.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from aofnb.clock import SystemClock
from aofnb.engine.replay import Replayer
from aofnb.engine.store import open_store
from aofnb.errors import AofnbError
from aofnb.forensics.columns import Selection, was_run
from aofnb.forensics.kinds import Kinds, text_of
from aofnb.forensics.reading import Progress, Report
from aofnb.forensics.roles import WIDE, roles_by_name
from aofnb.forensics.scan import Record, read_record
from aofnb.forensics.travel import StoppedClock, base_end, blocks

if TYPE_CHECKING:
    from aofnb.forensics.log import Log

__all__ = ["waste"]

Ints = npt.NDArray[Any]
Codes = npt.NDArray[np.uint64]

_COLUMNS = ("part", "offset", "nbytes", "db", "cmd", "keys", "status")
_NO_KEY = "(no key)"
_RENAMES = ("RENAME", "RENAMENX")
# What a use of a key does to what was said to it before, and to what the command itself says.
_BURIES, _LEAVES_NOTHING = 1, 2
_BURYING, _LEAVING_NOTHING = ("OW", "RM"), ("RM", "RO")
# So many uses of keys are taken at once: the more, the fewer keys are looked up twice.
_USES, _KEY_BYTES = 1 << 17, 1 << 27
# With fewer keys nobody looks for those that are dead.
_MANY_KEYS = 1 << 18
# Longer keys are looked at by themselves.
_LONG = 256
# The lower bytes of a word.
_OF_BYTES = np.array([(1 << 8 * size) - 1 for size in range(9)], np.uint64)
_HALF, _SHIFT = np.uint64((1 << 32) - 1), np.uint64(32)
# An index has so many codes in its small arrays at least.
_RECENT = 1 << 12
# How many rows, and bytes of a snapshot, tell how fast this machine loads.
_SPEED_ROWS = 20_000
_SPEED_BYTES = 4 << 20


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


class _EnoughError(Exception):
    """So much of a snapshot tells how fast the rest will be."""


def _replay_s(log: Log, rows: int, highest_db: int) -> float | None:
    """Seconds that a restart takes here, as the beginnings of the base and of what stands behind it let expect; None if
    those cannot be loaded.
    """
    store = open_store(None, readonly=True, clock=StoppedClock(0), background=False, databases=max(16, highest_db + 1))
    replayer, clock = Replayer(store.engine), SystemClock()
    end = base_end(log)
    first = 0 if end is None else end.seq
    some = min(rows - first, _SPEED_ROWS)
    try:
        with replayer.loading():
            begun = clock.monotonic()
            loaded = 0 if end is None else _loaded_bytes(log, replayer, end.offset)
            between = clock.monotonic()
            for name, block in blocks(log, first + some, first):
                replayer.replay(name, block)
    except AofnbError:
        return None
    base_s = (between - begun) / loaded * end.offset if end is not None and loaded else 0.0
    return base_s + ((clock.monotonic() - between) / some * (rows - first) if some else 0.0)


def _loaded_bytes(log: Log, replayer: Replayer, nbytes: int) -> int:
    """Load the base, of `nbytes`, or the beginning of it: how much that was."""
    done = 0

    def told(now: int) -> None:
        nonlocal done
        done = now
        if done >= _SPEED_BYTES:
            raise _EnoughError

    with suppress(_EnoughError), log.parts[0].open() as file:
        replayer.restore(log.parts[0].path, cast("BinaryIO", file), nbytes, told)
    return done


class _Index:
    """A number for each of many codes of 64 bits, in sorted arrays: those that came last apart, in small ones."""

    def __init__(self) -> None:
        self._old = self._new = np.zeros(0, np.uint64), np.zeros(0, np.int32)

    def of(self, codes: Codes) -> Ints:
        """The number of each code, -1 where there is none. They are sorted."""
        found = np.full(len(codes), -1, np.int64)
        for known, numbers in (self._old, self._new):
            if len(known):
                places = np.minimum(known.searchsorted(codes), len(known) - 1)
                is_known = known[places] == codes
                found[is_known] = numbers[places[is_known]]
        return found

    def put(self, codes: Codes, numbers: Ints) -> None:
        """From now on these are the numbers of `codes`, which are sorted; -1 if they have none any more."""
        self._new = _merged(self._new, (codes, numbers.astype(np.int32)))
        if len(self._new[0]) > max(_RECENT, len(self._old[0]) // 8):
            self._merge()

    def add(self, codes: Codes, free: int) -> tuple[Ints, Ints]:
        """The numbers of `codes`, and the places of those that are new, whose numbers begin with `free`."""
        numbers = self.of(codes)
        new = np.flatnonzero(numbers < 0)
        if len(new):
            numbers[new] = np.arange(free, free + len(new))
            self.put(codes[new], numbers[new])
        return numbers, new

    def renumber(self, now: Ints) -> None:
        """What was number `n` is now[n]; -1 if it is nothing any more."""
        self._merge()
        codes, numbers = self._old
        numbers = now[numbers].astype(np.int32)
        self._old = codes[numbers >= 0], numbers[numbers >= 0]

    def _merge(self) -> None:
        codes, numbers = _merged(self._old, self._new)
        self._old = codes[numbers >= 0], numbers[numbers >= 0]
        self._new = self._new[0][:0], self._new[1][:0]


def _merged(old: tuple[Codes, Ints], new: tuple[Codes, Ints]) -> tuple[Codes, Ints]:
    codes, numbers = (np.concatenate(both) for both in zip(old, new, strict=True))
    order = np.argsort(codes, kind="stable")
    codes, numbers = codes[order], numbers[order]
    # Of two numbers of a code the later one counts.
    last = np.ones(len(codes), bool)
    last[:-1] = codes[1:] != codes[:-1]
    return codes[last], numbers[last]


class _Hash:
    """Codes of keys."""

    def __init__(self) -> None:
        self._first, *multipliers = np.frombuffer(os.urandom(24), np.uint64)
        # An odd one loses nothing.
        self._by_word, self._by_size = (each | np.uint64(1) for each in multipliers)

    def of(self, keys: pa.Array) -> Codes:
        """The code of each of these keys, which are binary."""
        offsets = np.frombuffer(keys.buffers()[1], np.int32)[keys.offset : keys.offset + len(keys) + 1].astype(np.int64)
        sizes = np.diff(offsets)
        codes = self._first ^ sizes.astype(np.uint64) * self._by_size
        text = np.frombuffer(keys.buffers()[2] or b"", np.uint8)[: offsets[-1] if len(offsets) else 0]
        # The eight bytes from each on; they need not be in line.
        padded = np.append(text, np.zeros(8, np.uint8))
        words = np.ndarray(len(text) + 1, np.uint64, padded.data, strides=(1,))
        for place in range(0, min(int(sizes.max(initial=0)), _LONG), 8):
            more = np.flatnonzero((sizes > place) & (sizes <= _LONG))
            word = words[offsets[more] + place] & _OF_BYTES[np.minimum(sizes[more] - place, 8)]
            codes[more] = self.mixed(codes[more], word)
        for row in np.flatnonzero(sizes > _LONG).tolist():
            digest = hashlib.blake2b(keys[row].as_buffer(), key=self._first.tobytes(), digest_size=8).digest()
            codes[row] = int.from_bytes(digest, "little")
        return codes

    def mixed(self, codes: Codes, words: Codes) -> Codes:
        """Codes of codes and words: the halves of a product of 128 bits, one over the other, as wyhash has it.

        Of the low half alone the top bit of a word would change the top bit, whatever the key.
        """
        product = codes ^ words
        low, high = product & _HALF, product >> _SHIFT
        key_low, key_high = self._by_word & _HALF, self._by_word >> _SHIFT
        one, other = low * key_high, high * key_low
        carried = ((low * key_low) >> _SHIFT) + (one & _HALF) + (other & _HALF)
        top = high * key_high + (one >> _SHIFT) + (other >> _SHIFT) + (carried >> _SHIFT)
        return product * self._by_word ^ top


class _Turn(NamedTuple):
    """A command that moves keys, or takes them all, before the use `at` of a run."""

    at: int
    cmd: str
    db: int
    argv: list[bytes]


class _Run(NamedTuple):
    """Uses of keys, in order, as arrays of one length: the key, and its code if it is in no database, the database,
    bytes, the group if that does not follow from the key, and what it does.
    """

    keys: pa.Array
    codes: Codes
    dbs: Ints
    sizes: Ints
    groups: Ints
    does: Ints

    def slice(self, begin: int, end: int) -> _Run:
        return _Run(self.keys.slice(begin, end - begin), *(column[begin:end] for column in self[1:]))


class _Sums:
    """What adds up on the way: commands, bytes and dead bytes by group, and the bytes of each key that is alive.

    A group is a kind of key, a key, or a command. Each has a number; 0 is for what has no key.
    """

    def __init__(self, by: str) -> None:
        self.highest_db = 0
        self._by = by
        self._rows, self._nbytes = np.zeros(64, np.int64), np.zeros(64, np.int64)
        # Bytes by group that RENAME took there, or away.
        self._moved: Counter[int] = Counter()
        self._dead = np.zeros(64, np.int64)
        self._kinds = Kinds()
        # Numbers of commands, or of keys in whatever database, and these keys.
        self._words: dict[str | None, int] = {_NO_KEY: 0}
        self._key_groups, self._key_names, self._named = _Index(), [pa.array([_NO_KEY.encode()])], 1
        self._roles: dict[str | None, tuple[int, int]] = {}
        self._hash = _Hash()
        # What goes into the codes of the keys of a database: so SWAPDB swaps two, and FLUSHDB makes one anew.
        self._homes: dict[int, int] = {}
        self._made = 0
        # Numbers of keys and, by number, their home; how many there are, and with how many it is worth to look for dead
        # ones.
        self._numbers, self._home = _Index(), np.zeros(64, np.int32)
        self._known, self._many = 0, _MANY_KEYS
        # Keys with lower numbers have no home any more.
        self._flushed = 0
        self._slots, self._slots_known = _Index(), 0
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
            groups = np.array([self._words.setdefault(word, len(self._words)) for word in words])[codes]
            self._count(groups, 1, nbytes)
        else:
            self._count(groups[nkeys == 0], 1, nbytes[nkeys == 0])
        self._die(groups[~run], nbytes[~run])
        self.highest_db = max(self.highest_db, int(dbs.max(initial=0)))

        wide = [code for code, word in enumerate(words) if word in (*WIDE, *_RENAMES)]
        for row in np.flatnonzero(run & np.isin(codes, wide)).tolist():
            cmd, begin = words[codes[row]], int(begins[row])
            argv = _argv(log, batch, row) if cmd == "SWAPDB" else [b"", *keys[begin : begins[row + 1]].to_pylist()]
            self._turns.append(_Turn(self._uses + begin, cmd, int(dbs[row]), argv))
        self._runs.append(_Run(keys, self._hash.of(keys), dbs[rows], sizes, groups[rows], does))
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
        rows, nbytes, dead = self._rows, self._nbytes, _with_room(self._dead, len(self._rows))
        for group, more in self._moved.items():
            nbytes[group] += more
        names = self._group_names()
        there = np.flatnonzero(rows)
        table = pa.table({"dead": dead[there], "bytes": nbytes[there], "name": names.take(pa.array(there))})
        order = pc.sort_indices(table, [("dead", "descending"), ("bytes", "descending"), ("name", "ascending")])
        places = there[order.to_numpy()]
        index = names.take(pa.array(places)).to_pylist()
        if self._by == "key":
            index = [_NO_KEY if not place else name for place, name in zip(places.tolist(), index, strict=True)]
        made = pd.DataFrame(
            {"commands": rows[places], "bytes": nbytes[places], "dead_bytes": dead[places]},
            index=pd.Index(index, dtype=object, name=self._by),
        )
        made["dead"] = made["dead_bytes"] / made["bytes"].where(made["bytes"] > 0)
        return made

    def _group_names(self) -> pa.Array:
        if self._by == "key":
            return pa.concat_arrays(self._key_names)
        return pa.array([_NO_KEY, *self._kinds.words] if self._by == "template" else list(self._words), pa.string())

    # --- many uses at once -------------------------------------------------------------------------------

    def _take(self) -> None:
        """Add up what came."""
        if not self._runs:
            return
        keys, *columns = zip(*self._runs, strict=True)
        everything = _Run(pa.concat_arrays(keys), *map(np.concatenate, columns))
        turns, uses = self._turns, self._uses
        self._runs, self._turns, self._uses, self._key_bytes = [], [], 0, 0
        for turn, end in pairwise([None, *turns, None]):
            begin = 0 if turn is None else turn.at
            if turn is not None:
                self._turn(turn)
            self._follow(everything.slice(begin, uses if end is None else end.at))
        if self._known > self._many:
            self._forget()

    def _follow(self, run: _Run) -> None:
        """Take uses between which no key is moved."""
        if not len(run.keys):
            return
        codes = self._in_databases(run.codes, run.dbs)
        order = _in_order(codes)
        sizes, does, codes = run.sizes[order], run.does[order], codes[order]
        firsts = np.flatnonzero(np.append(True, codes[1:] != codes[:-1]))
        uses = np.diff(firsts, append=len(order))
        keys = self._numbers_of(codes[firsts], run, order[firsts])
        if self._by == "cmd":
            mine = run.groups[order]
        else:
            mine = np.repeat(self._group[keys], uses)
            self._count(self._group[keys], uses, np.add.reduceat(sizes, firsts))
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

    def _count(self, groups: Ints, rows: Ints | int, nbytes: Ints) -> None:
        """So many rows and bytes are of these groups."""
        if len(groups):
            size = int(groups.max()) + 1
            self._rows, self._nbytes = _with_room(self._rows, size), _with_room(self._nbytes, size)
            np.add.at(self._rows, groups, rows)
            np.add.at(self._nbytes, groups, nbytes)

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
                self._homes[a], self._homes[b] = self._home_of(b), self._home_of(a)
        elif turn.cmd in WIDE:
            homes = [self._homes.pop(db, -1) for db in ([turn.db] if turn.cmd == "FLUSHDB" else list(self._homes))]
            self._bury(self._flushed + np.flatnonzero(np.isin(self._home[self._flushed : self._known], homes)))
            if not self._homes:
                self._flushed = self._known
        elif len(turn.argv) == 3:
            self._rename(turn.db, turn.argv[1], turn.argv[2])

    def _rename(self, db: int, old: bytes, new: bytes) -> None:
        """What was said to the one is now of the other."""
        if old == new:
            return
        names = pa.array([old, new], pa.binary())
        codes = self._in_databases(self._hash.of(names), np.array([db, db]))
        moved, over = (int(self._numbers.of(codes[place : place + 1])[0]) for place in (0, 1))
        if over >= 0:
            self._bury(np.array([over]))
        self._numbers.put(np.sort(codes), np.array([-1, moved])[np.argsort(codes)])
        if moved >= 0 and self._by != "cmd":
            self._settle(np.array([moved]))
            was, now = int(self._group[moved]), int(self._groups_of(names[1:], self._hash.of(names[1:]))[0])
            self._moved[was] -= int(self._held[moved])
            self._moved[now] += int(self._held[moved])
            self._group[moved] = now

    # --- numbers -----------------------------------------------------------------------------------------

    def _home_of(self, db: int) -> int:
        if db not in self._homes:
            self._made += 1
            self._homes[db] = self._made
        return self._homes[db]

    def _in_databases(self, codes: Codes, dbs: Ints) -> Codes:
        """Codes of keys in their databases."""
        different, which = np.unique(dbs, return_inverse=True)
        homes = np.array([self._home_of(db) for db in different.tolist()], np.uint64)
        return self._hash.mixed(codes, homes[which])

    def _numbers_of(self, codes: Codes, run: _Run, uses: Ints) -> Ints:
        """The numbers of keys that are used there in `run`."""
        numbers, new = self._numbers.add(codes, self._known)
        if len(new):
            self._known += len(new)
            self._burials, self._home = _with_room(self._burials, self._known), _with_room(self._home, self._known)
            uses = uses[new]
            different, which = np.unique(run.dbs[uses], return_inverse=True)
            self._home[numbers[new]] = np.array([self._homes[db] for db in different.tolist()])[which]
            if self._by != "cmd":
                groups = self._groups_of(run.keys.take(pa.array(uses)), run.codes[uses])
                self._begin_slots(numbers[new], numbers[new], groups)
        return numbers

    def _groups_of(self, keys: pa.Array, codes: Codes) -> Ints:
        """The group of each key, where it follows from it."""
        if self._by != "key":
            return self._kinds.codes(text_of(keys)) + np.int32(1)
        codes, firsts, which = np.unique(codes, return_index=True, return_inverse=True)
        groups, new = self._key_groups.add(codes, self._named)
        self._key_names.append(keys.take(pa.array(firsts[new])))
        self._named += len(new)
        return groups[which]

    def _slots_of(self, said: Ints) -> Ints:
        """The slot of each key (in the upper half of a number) and command (in the lower)."""
        slots, new = self._slots.add(said.astype(np.uint64), self._slots_known)
        self._slots_known += len(new)
        self._begin_slots(slots[new], said[new] >> 32, said[new] & 0xFFFFFFFF)
        return slots

    def _begin_slots(self, slots: Ints, keys: Ints, groups: Ints) -> None:
        size = int(slots.max(initial=-1)) + 1
        self._owner, self._group = _with_room(self._owner, size), _with_room(self._group, size)
        self._held, self._since = _with_room(self._held, size), _with_room(self._since, size)
        self._owner[slots], self._group[slots], self._since[slots] = keys, groups, self._burials[keys]

    @property
    def _known_slots(self) -> int:
        return self._slots_known if self._by == "cmd" else self._known

    def _forget(self) -> None:
        """Give the numbers of keys of which nothing counts any more to others, if those are most."""
        self._settle(np.arange(self._known_slots))
        slots = np.flatnonzero(self._held[: self._known_slots])
        alive = np.zeros(self._known, bool)
        alive[self._owner[slots]] = True
        count, self._many = int(alive.sum()), 2 * self._known
        if 2 * count > self._known:
            return
        self._known, self._many, self._flushed = count, max(2 * count, _MANY_KEYS), 0
        now = np.where(alive, np.cumsum(alive) - 1, -1)
        self._numbers.renumber(now)
        self._owner = now[self._owner[slots]].astype(np.int32)
        self._group, self._held = self._group[slots], self._held[slots]
        self._home = self._home[: len(alive)][alive]
        self._since, self._burials = np.zeros(len(slots), np.int32), np.zeros(count, np.int32)
        if self._by == "cmd":
            said = self._owner.astype(np.uint64) << np.uint64(32) | self._group.astype(np.uint64)
            order = np.argsort(said)
            self._slots, self._slots_known = _Index(), len(slots)
            self._slots.put(said[order], order)


def _in_order(codes: Codes) -> Ints:
    """The places of the same codes behind each other, each ascending; codes ascend, too.

    As `np.argsort` with ``kind="stable"`` gives them, in half of the time: the other kind has instructions of the
    processor of its own.
    """
    order = np.argsort(codes)
    codes = codes[order]
    ranks = np.cumsum(np.append(False, codes[1:] != codes[:-1]))
    return np.sort(ranks << 32 | order) & 0xFFFFFFFF


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
