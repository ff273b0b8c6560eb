"""How much of a log is dead: commands whose effect a later one overwrote or removed.

The bytes of a command are dead once the key that it wrote is overwritten (SET) or removed (DEL, FLUSH*). Those of a
command with several keys are shared among them. One pass; memory grows with the number of keys
that are alive, and not with the log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from aofnb.clock import SystemClock
from aofnb.engine.replay import Replayer
from aofnb.errors import AofnbError
from aofnb.forensics import _waste_cy
from aofnb.forensics.columns import Selection, was_run
from aofnb.forensics.kinds import Kinds, Sums, text_of
from aofnb.forensics.reading import Progress, Report
from aofnb.forensics.roles import roles_by_name
from aofnb.forensics.travel import blocks, empty_store

if TYPE_CHECKING:
    from aofnb.forensics.log import Log

__all__ = ["waste"]

Ints = npt.NDArray[Any]
# As `_waste_cy.follow` has them: bytes of keys, where each begins, database, group, bytes of the command, what it does.
Uses = tuple[bytes, Any, Any, Any, Any, Any]

_COLUMNS = ("nbytes", "db", "cmd", "keys", "arg1", "arg2", "status")
_NO_KEY = "(no key)"
_WIDE = ("FLUSHALL", "FLUSHDB", "SWAPDB")
_RENAMES = ("RENAME", "RENAMENX")
_BURIES, _LEAVES_NOTHING = ("OW", "RM"), ("RM", "RO")
# How many rows tell how fast this machine replays.
_SPEED_ROWS = 20_000


def waste(log: Log, by: Literal["template", "key", "cmd"], progress: Progress = None) -> pd.DataFrame:
    """What `Log.waste` gives."""
    if by not in ("template", "key", "cmd"):
        raise ValueError(f"by= is 'template', 'key' or 'cmd', not {by!r}")
    sums = _Sums(by)
    for batch in log.read(Selection.of(_COLUMNS, encoding=None), log.tolerant, progress, Report()):
        sums.add(batch)
    frame = sums.frame()
    total, dead = int(frame["bytes"].sum()), int(frame["dead_bytes"].sum())
    live = total - dead
    frame.attrs["waste"] = {
        "bytes": total,
        "dead_bytes": dead,
        "live_bytes": live,
        "amplification": total / live if live else float("inf") if total else 1.0,
        "replay_s": _replay_s(log),
    }
    return frame


def _replay_s(log: Log) -> float | None:
    """Seconds that a replay of all rows takes here; None if the beginning cannot be replayed."""
    clock = SystemClock()
    rows = min(log.index().rows, _SPEED_ROWS)
    store = empty_store(log, None)
    replayer = Replayer(store.engine)
    begun = clock.monotonic()
    try:
        with replayer.loading():
            for name, block in blocks(log, rows):
                replayer.replay(name, block)
    except AofnbError:
        return None
    return (clock.monotonic() - begun) / rows * log.index().rows if rows else 0.0


class _Sums:
    """What adds up on the way: commands, bytes and dead bytes by group, and the bytes of each key that is alive.

    A group is a kind of key, a key, or a command. Each has a number; 0 is for what has no key.
    """

    def __init__(self, by: str) -> None:
        self._by = by
        self._counted = Sums()
        self._dead = np.zeros(64, np.int64)
        # Database -> key -> bytes; or bytes by group, where that does not follow from the key.
        self._live: dict[int, dict[bytes, Any]] = {}
        self._kinds = Kinds()
        # Numbers of keys or commands.
        self._numbers: dict[Any, int] = {_NO_KEY: 0}
        self._roles: dict[str | None, tuple[int, int]] = {}

    def add(self, batch: pa.RecordBatch) -> None:
        """Take rows; the columns are `_COLUMNS`, behind `seq`.

        What moves keys, or removes them all, is done where it stands; what is between, by the kernel.
        """
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        words = [*columns["cmd"].dictionary.to_pylist(), None]
        codes = columns["cmd"].indices.fill_null(len(words) - 1).to_numpy()
        run = was_run(columns["status"])
        nkeys = np.where(run, columns["keys"].value_lengths().to_numpy(), 0)
        # From here on an element for each use of a key; those of row `i` begin at begins[i].
        begins = np.concatenate(([0], np.cumsum(nkeys)))
        rows = np.repeat(np.arange(len(nkeys)), nkeys)
        keys = columns["keys"].filter(pa.array(run)).flatten()
        is_first = np.zeros(len(rows), bool)
        is_first[begins[:-1][nkeys > 0]] = True
        nbytes = columns["nbytes"].to_numpy()
        sizes = nbytes[rows] // nkeys[rows] + np.where(is_first, nbytes[rows] % nkeys[rows], 0)
        groups = self._count(words, codes, nbytes, run, rows, keys, sizes)
        does = np.array([self._does(word) for word in words], np.uint8)[codes[rows], np.where(is_first, 0, 1)]

        dbs = _plain(columns["db"].to_numpy()[rows])
        uses: Uses = (*_pieces(keys), dbs, _plain(groups), _plain(sizes), _plain(does))
        done = 0
        wide = [code for code, word in enumerate(words) if word in (*_WIDE, *_RENAMES)]
        for row in np.flatnonzero(run & np.isin(codes, wide)).tolist():
            begin = int(begins[row])
            self._follow(uses, done, begin)
            done = begin
            cmd, db = words[codes[row]], columns["db"][row].as_py()
            if cmd in _WIDE:
                self._whole_databases(cmd, db, columns["arg1"][row].as_py(), columns["arg2"][row].as_py())
            elif nkeys[row] == 2:
                (old, was), (new, now) = ((keys[use].as_py(), int(groups[use])) for use in (begin, begin + 1))
                self._move(self._live.setdefault(db, {}), old, was, new, now)
        self._follow(uses, done, len(rows))

    def _follow(self, uses: Uses, start: int, stop: int) -> None:
        if start < stop:
            _waste_cy.follow(*uses, start, stop, self._by != "cmd", self._live, self._dead.data)

    def _count(
        self, words: list[Any], codes: Ints, nbytes: Ints, run: Ints, rows: Ints, keys: Any, sizes: Ints
    ) -> Ints:
        """Count commands and bytes, and as dead what was not run; the group of each use."""
        numbers = np.zeros(len(codes), np.int32)
        if self._by == "cmd":
            numbers = np.array([self._number(word) for word in words], np.int32)[codes]
            groups: Ints = numbers[rows]
            self._counted.add(numbers, nbytes)
        else:
            groups = self._groups_of(keys)
            keyless = np.ones(len(codes), bool)
            keyless[rows] = False
            self._counted.add(numbers[keyless], nbytes[keyless])
            self._counted.add(groups, sizes)
        count = max(len(self._numbers), len(self._kinds.words) + 1)
        if count > len(self._dead):
            self._dead = np.concatenate((self._dead, np.zeros(count, np.int64)))
        np.add.at(self._dead, numbers[~run], nbytes[~run])
        return groups

    def _groups_of(self, keys: pa.Array) -> Ints:
        """The group of each key, where it follows from it."""
        if self._by == "key":
            return np.fromiter(map(self._number, keys.to_pylist()), np.int32, len(keys))
        return self._kinds.codes(text_of(keys)) + np.int32(1)

    def _number(self, group: Any) -> int:
        return self._numbers.setdefault(group, len(self._numbers))

    def _does(self, word: str | None) -> tuple[int, int]:
        """What a command does to its first key, and to all others."""
        if word not in self._roles:
            # RENAME buries by moving.
            buries = () if word in _RENAMES else _BURIES
            first, rest = (
                _waste_cy.BURIES * (role in buries) | _waste_cy.LEAVES_NOTHING * (role in _LEAVES_NOTHING)
                for role in roles_by_name(word or "", 2)
            )
            self._roles[word] = first, rest
        return self._roles[word]

    def _move(self, keys: dict[bytes, Any], old: bytes, was: int, new: bytes, now: int) -> None:
        """RENAME from `old`, of group `was`, to `new`, of group `now`: what was said to the one is now of the other."""
        if old == new:
            return
        self._die(keys.pop(new, None), now)
        held = keys.pop(old, None)
        if held is None:
            return
        keys[new] = held
        if self._by != "cmd":
            self._counted.nbytes[was] -= held
            self._counted.nbytes[now] += held

    def _die(self, held: Any, group: int) -> None:
        """What was said to a key of `group` is dead; `held` is as in `_live`."""
        if isinstance(held, dict):
            for each, nbytes in held.items():
                self._dead[each] += nbytes
        elif held is not None:
            self._dead[group] += held

    def _whole_databases(self, cmd: str, db: int, one: bytes | None, other: bytes | None) -> None:
        if cmd == "SWAPDB":
            if one is not None and other is not None and one.isdigit() and other.isdigit():
                a, b = int(one[:9]), int(other[:9])
                mine, theirs = self._live.pop(a, {}), self._live.pop(b, {})
                self._live[a], self._live[b] = (theirs, mine) if a != b else (mine, mine)
            return
        for number in [db] if cmd == "FLUSHDB" else list(self._live):
            keys = self._live.pop(number, {})
            if self._by == "cmd":
                for held in keys.values():
                    self._die(held, 0)
            else:
                groups = self._groups_of(pa.array(keys, pa.binary()))
                np.add.at(self._dead, groups, np.fromiter(keys.values(), np.int64, len(keys)))

    def frame(self) -> pd.DataFrame:
        groups = [_NO_KEY, *self._kinds.words] if self._by == "template" else list(self._numbers)
        rows, nbytes, dead = self._counted.rows, self._counted.nbytes, self._dead
        order = sorted(np.flatnonzero(rows).tolist(), key=lambda n: (-dead[n], -nbytes[n], str(groups[n])))
        places = np.array(order, np.int64)
        made = pd.DataFrame(
            {"commands": rows[places], "bytes": nbytes[places], "dead_bytes": dead[places]},
            index=pd.Index([groups[number] for number in order], dtype=object, name=self._by),
        )
        made["dead"] = made["dead_bytes"] / made["bytes"].where(made["bytes"] > 0)
        return made


def _pieces(keys: pa.Array) -> tuple[bytes, Any]:
    """The bytes of all keys, and where each begins and the last ends."""
    if not len(keys):
        return b"", _plain(np.zeros(1, np.int32))
    offsets = np.frombuffer(keys.buffers()[1], np.int32)[keys.offset : keys.offset + len(keys) + 1]
    data = keys.buffers()[2]
    return b"" if data is None else data.to_pybytes(), _plain(offsets)


def _plain(column: Ints) -> Any:
    """A column for the kernel: where that is not compiled, a list is read several times as fast as an array."""
    return column if _waste_cy.COMPILED else column.tolist()
