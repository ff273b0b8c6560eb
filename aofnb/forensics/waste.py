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
from aofnb.forensics.log import Progress, Report
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
        """Take rows; the columns are `_COLUMNS`, behind `seq`."""
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
            if cmd in ("RENAME", "RENAMENX") and len(keys) == 2:
                self._move(db, keys[0], keys[1])
            for number, (key, role) in enumerate(zip(keys, roles, strict=True)):
                group = cmd if self._by == "cmd" else self._group_of(key)
                mine = share + (rest if number == 0 else 0)
                self._count(group, mine, 1 if number == 0 or self._by != "cmd" else 0)
                if role in ("OW", "RM") and cmd not in ("RENAME", "RENAMENX"):
                    self._bury(key, self._live.get(db, {}).pop(key, None))
                if role in ("RM", "RO"):
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
