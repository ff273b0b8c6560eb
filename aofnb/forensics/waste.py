"""How much of a log is dead: commands whose effect a later one overwrote or removed.

The bytes of a command are dead once the key that it wrote is overwritten (SET) or removed (DEL, FLUSH*). Those of a
command with several keys are shared among them. One pass; memory grows with the number of keys
that are alive, and not with the log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from aofnb.clock import SystemClock
from aofnb.engine.replay import Replayer
from aofnb.errors import AofnbError
from aofnb.forensics.columns import Selection
from aofnb.forensics.reading import Progress, Report
from aofnb.forensics.roles import roles_by_name, template
from aofnb.forensics.travel import blocks, empty_store

if TYPE_CHECKING:
    import pyarrow as pa

    from aofnb.forensics.log import Log

__all__ = ["waste"]

_COLUMNS = ("nbytes", "db", "cmd", "keys", "arg1", "arg2", "status")
_NO_KEY = "(no key)"
_NOT_RUN = ("truncated", "discarded")
_WIDE = ("FLUSHALL", "FLUSHDB", "SWAPDB")
_RENAMES = ("RENAME", "RENAMENX")
_BURIES, _LEAVES_NOTHING = ("OW", "RM"), ("RM", "RO")
# Fewer rows are quicker one by one.
_FEW_ROWS = 64
# Keys whose kind is remembered.
_MEMO = 200_000
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

    A group is a kind of key, a key, or a command.
    """

    def __init__(self, by: str) -> None:
        self._by = by
        self._commands: dict[Any, int] = {}
        self._bytes: dict[Any, int] = {}
        self._dead: dict[Any, int] = {}
        # Database -> key -> group -> bytes; without groups where the key tells its group.
        self._live: dict[int, dict[bytes, Any]] = {}
        self._kinds: dict[bytes, str] = {}

    def add(self, batch: pa.RecordBatch) -> None:
        """Take rows; the columns are `_COLUMNS`, behind `seq`.

        What moves keys, or removes them all, is done where it stands; what is between, at once.
        """
        cmd = batch.column(3)
        wide = [code for code, word in enumerate(cmd.dictionary.to_pylist()) if word in (*_WIDE, *_RENAMES)]
        rows = np.flatnonzero(np.isin(cmd.indices.fill_null(-1).to_numpy(), wide)).tolist()
        # Those that stand near each other make one run, with what is between them.
        runs = [[row, row + 1] for row in rows[:1]]
        for row in rows[1:]:
            if row - runs[-1][1] < _FEW_ROWS:
                runs[-1][1] = row + 1
            else:
                runs.append([row, row + 1])
        done = 0
        for start, stop in runs:
            if start - done >= _FEW_ROWS:
                self._add_at_once(batch.slice(done, start - done))
                done = start
            self._add_one_by_one(batch.slice(done, stop - done))
            done = stop
        if batch.num_rows - done >= _FEW_ROWS:
            self._add_at_once(batch.slice(done))
        else:
            self._add_one_by_one(batch.slice(done))

    def _add_at_once(self, batch: pa.RecordBatch) -> None:
        """Take rows that neither move keys nor remove all of a database.

        A use of a key is dead if it leaves nothing, or if a later one of the rows buries the key; the last that does
        buries what was there before as well.
        """
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        nbytes, dbs = columns["nbytes"].to_numpy(), columns["db"].to_numpy()
        words = [*columns["cmd"].dictionary.to_pylist(), None]
        codes = columns["cmd"].indices.fill_null(len(words) - 1).to_numpy()
        run = ~np.isin(columns["status"].to_numpy(zero_copy_only=False), _NOT_RUN)
        lists = columns["keys"]
        nkeys = lists.value_lengths().fill_null(0).to_numpy()
        used = run & (nkeys > 0)
        self._add_keyless(words, codes[~used], nbytes[~used], run[~used])
        rows = np.repeat(np.arange(len(nkeys)), nkeys * used)
        if not len(rows):
            return
        keys = lists.filter(used).flatten().dictionary_encode()
        names, key_codes = keys.dictionary.to_pylist(), keys.indices.to_numpy()
        place = np.arange(len(rows)) - np.repeat((np.cumsum(nkeys * used) - nkeys * used)[used], nkeys[used])
        mine = nbytes[rows] // nkeys[rows] + np.where(place == 0, nbytes[rows] % nkeys[rows], 0)
        buries, leaves_nothing = self._by_role(words, codes[rows], place)
        # Each key of each database has a number, `at`.
        keyed, at = np.unique(dbs[rows].astype(np.int64) * len(names) + key_codes, return_inverse=True)
        uses = np.arange(len(rows))
        last = np.full(len(keyed), -1)
        np.maximum.at(last, at[buries], uses[buries])
        dead = leaves_nothing | (uses < last[at])
        if self._by == "cmd":
            groups, group = words, codes[rows]
            commands = (place == 0).astype(np.int64)
        else:
            kinds: dict[Any, int] = {}
            numbers = np.array([kinds.setdefault(self._group_of(name), len(kinds)) for name in names])
            groups, group = list(kinds), numbers[key_codes]
            commands = np.ones(len(rows), np.int64)
        sums = (np.bincount(group, weights, len(groups)).astype(np.int64) for weights in (commands, mine, mine * dead))
        there = np.bincount(group, minlength=len(groups)) > 0
        for each, total, size, lost, some in zip(groups, *(each.tolist() for each in (*sums, there)), strict=True):
            if some:
                self._count(each, size, total)
                self._die(each, lost)
        for number in keyed[last >= 0].tolist():
            db, key = divmod(number, len(names))
            self._bury(names[key], self._live.get(db, {}).pop(names[key], None))
        units, unit = np.unique(at[~dead] * len(groups) + group[~dead], return_inverse=True)
        left = np.bincount(unit, mine[~dead], len(units)).astype(np.int64)
        place_of, group_of = np.divmod(units, len(groups))
        for number, which, size in zip(keyed[place_of].tolist(), group_of.tolist(), left.tolist(), strict=True):
            db, key = divmod(number, len(names))
            self._keep(db, names[key], groups[which], size)

    def _add_keyless(self, words: list[Any], codes: Any, nbytes: Any, run: Any) -> None:
        """Take rows that have no keys, or were not run."""
        for code in np.unique(codes).tolist():
            same = codes == code
            group = words[code] if self._by == "cmd" else _NO_KEY
            self._count(group, int(nbytes[same].sum()), int(same.sum()))
            self._die(group, int(nbytes[same & ~run].sum()))

    @staticmethod
    def _by_role(words: list[Any], codes: Any, place: Any) -> tuple[Any, Any]:
        """Which uses of keys bury what was there, and which leave nothing of their own."""
        buries, leaves_nothing = np.zeros(len(codes), bool), np.zeros(len(codes), bool)
        for code in np.unique(codes).tolist():
            same = codes == code
            # The first key has a role, and all others have one.
            for uses, role in zip(
                (same & (place == 0), same & (place > 0)), roles_by_name(words[code], 2), strict=True
            ):
                buries[uses] = role in _BURIES
                leaves_nothing[uses] = role in _LEAVES_NOTHING
        return buries, leaves_nothing

    def _add_one_by_one(self, batch: pa.RecordBatch) -> None:
        for row in zip(*(column.to_pylist() for column in batch.columns[1:]), strict=True):
            nbytes, db, cmd, keys, one, other, status = row
            if status in _NOT_RUN or not keys:
                self._count(cmd if self._by == "cmd" else _NO_KEY, nbytes)
                if status in _NOT_RUN:
                    self._die(cmd if self._by == "cmd" else _NO_KEY, nbytes)
                elif cmd in _WIDE:
                    self._whole_databases(cmd, db, one, other)
                continue
            share, rest = divmod(nbytes, len(keys))
            roles = roles_by_name(cmd, len(keys))
            if cmd in _RENAMES and len(keys) == 2:
                self._move(db, keys[0], keys[1])
            for number, (key, role) in enumerate(zip(keys, roles, strict=True)):
                group = cmd if self._by == "cmd" else self._group_of(key)
                mine = share + (rest if number == 0 else 0)
                self._count(group, mine, 1 if number == 0 or self._by != "cmd" else 0)
                if role in _BURIES and cmd not in _RENAMES:
                    self._bury(key, self._live.get(db, {}).pop(key, None))
                if role in _LEAVES_NOTHING:
                    # Nothing of it is left in what the key holds; what it made is of the other key.
                    self._die(group, mine)
                else:
                    self._keep(db, key, group, mine)

    def _count(self, group: Any, nbytes: int, commands: int = 1) -> None:
        self._commands[group] = self._commands.get(group, 0) + commands
        self._bytes[group] = self._bytes.get(group, 0) + nbytes

    def _die(self, group: Any, nbytes: int) -> None:
        self._dead[group] = self._dead.get(group, 0) + nbytes

    def _keep(self, db: int, key: bytes, group: Any, nbytes: int) -> None:
        keys = self._live.setdefault(db, {})
        if self._by == "cmd":
            held = keys.setdefault(key, {})
            held[group] = held.get(group, 0) + nbytes
        else:
            keys[key] = keys.get(key, 0) + nbytes

    def _bury(self, key: bytes, held: Any) -> None:
        if held is None:
            return
        if self._by == "cmd":
            for group, nbytes in held.items():
                self._die(group, nbytes)
        else:
            self._die(self._group_of(key), held)

    def _move(self, db: int, old: bytes, new: bytes) -> None:
        """RENAME: what was said to the old key is now of the new one; in the sums it stays where it was said."""
        keys = self._live.setdefault(db, {})
        if old == new:
            return
        self._bury(new, keys.pop(new, None))
        held = keys.pop(old, None)
        if held is not None and self._by == "cmd":
            keys[new] = held
        elif held is not None:
            self._bytes[self._group_of(old)] -= held
            self._count(self._group_of(new), held, 0)
            keys[new] = held

    def _whole_databases(self, cmd: str, db: int, one: bytes | None, other: bytes | None) -> None:
        if cmd == "SWAPDB":
            if one is not None and other is not None and one.isdigit() and other.isdigit():
                a, b = int(one[:9]), int(other[:9])
                mine, theirs = self._live.pop(a, {}), self._live.pop(b, {})
                self._live[a], self._live[b] = (theirs, mine) if a != b else (mine, mine)
            return
        for number in [db] if cmd == "FLUSHDB" else list(self._live):
            for key, held in self._live.pop(number, {}).items():
                self._bury(key, held)

    def _group_of(self, key: bytes) -> Any:
        if self._by == "key":
            return key
        kind = self._kinds.get(key)
        if kind is None:
            if len(self._kinds) >= _MEMO:
                self._kinds.clear()
            kind = template(key.decode("utf-8", "backslashreplace"))
            self._kinds[key] = kind
        return kind

    def frame(self) -> pd.DataFrame:
        groups = sorted(self._bytes, key=lambda group: (-self._dead.get(group, 0), -self._bytes[group], str(group)))
        made = pd.DataFrame(
            {
                "commands": np.array([self._commands[group] for group in groups], np.int64),
                "bytes": np.array([self._bytes[group] for group in groups], np.int64),
                "dead_bytes": np.array([self._dead.get(group, 0) for group in groups], np.int64),
            },
            index=pd.Index(groups, dtype=object, name=self._by),
        )
        made["dead"] = made["dead_bytes"] / made["bytes"].where(made["bytes"] > 0)
        return made
