"""Two logs side by side: the same bytes, the same commands, or the same data in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from aofnb.forensics.columns import NOT_RUN, Selection
from aofnb.forensics.log import Log
from aofnb.forensics.reading import Progress, Report, teller
from aofnb.forensics.words import count, size
from aofnb.store.keyspace import Database
from aofnb.store.same import same_data
from aofnb.store.values import Value, type_name

if TYPE_CHECKING:
    from os import PathLike

    from aofnb.engine.store import Store

__all__ = ["Comparison", "Level", "change_of", "compare"]

Level = Literal["bytes", "commands", "state"]
_READ_BYTES = 1 << 20
# What has no database.
_FRAMING = pa.array(["MULTI", "EXEC"])
# Where a command stands, and what it says.
_COMMAND = ("seq", "db", "args")


@dataclass(frozen=True, slots=True)
class Comparison:
    """What `aofnb.compare` found.

    Attributes
    ----------
    level
        What was compared.
    equal
        Whether there is no difference.
    common
        How many bytes, commands or keys are the same: of bytes and commands those before the first difference.
    prefix
        ``a`` or ``b`` if that log is the beginning of the other; None otherwise, and where they are equal.
    differences
        For bytes and commands one row, the first: where each log stands. For state one row per key: `db`, `key`,
        `change` (added: only in b; removed: only in a; modified, type-changed, ttl-changed).
    """

    level: Level
    equal: bool
    common: int
    prefix: Literal["a", "b"] | None
    differences: pd.DataFrame

    def __bool__(self) -> bool:
        return self.equal

    def __repr__(self) -> str:
        what = size(self.common) if self.level == "bytes" else count(self.common, self.level.rstrip("s"))
        if self.level == "state":
            what = count(self.common, "key")
        if self.equal:
            return f"equal in {self.level}: {what}"
        if self.prefix is not None:
            return f"{self.prefix} is the beginning of the other: {what} are the same"
        return f"different in {self.level}: {what} are the same\n{self.differences.to_string(max_rows=10)}"


def compare(
    a: str | PathLike[str] | Log, b: str | PathLike[str] | Log, *, level: Level = "commands", progress: Progress = None
) -> Comparison:
    """Whether two logs are the same, and where they part.

    Parameters
    ----------
    a, b
        Logs, or their paths.
    level
        ``bytes``: file by file. ``commands``: what was run, in its database; SELECT, times, file borders, and how it is
        written do not count. ``state``: the data at the end, key by key, deadlines and groups of streams included;
        both are held in memory.
    progress
        As in `aofnb.read_aof`.
    """
    if level not in ("bytes", "commands", "state"):
        raise ValueError(f"level= is 'bytes', 'commands' or 'state', not {level!r}")
    one, other = (log if isinstance(log, Log) else Log(log) for log in (a, b))
    told = _Told(progress, sum(part.size for log in (one, other) for part in log.parts))
    if level == "bytes":
        found = _first_difference(level, _bytes_of(one, told.of(0)), _bytes_of(other, told.of(1)), ("part", "offset"))
    elif level == "commands":
        found = _first_other_command(_commands_of(one, told.of(0)), _commands_of(other, told.of(1)))
    else:
        found = _states(one.at("end", progress=told.of(0)), other.at("end", progress=told.of(1)))
    told.end()
    return found


class _Told:
    """Progress over two logs, `total` bytes together."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._tell, self._total = teller(progress), total
        self._done = [0, 0]

    def of(self, number: int) -> Callable[[int, int], object]:
        def tell(done: int, total: int) -> None:
            self._done[number] = done
            self._tell(sum(self._done), self._total)

        return tell

    def end(self) -> None:
        """All that is of interest was read."""
        self._tell(self._total, self._total)


# What is compared, how much it counts, and where it stands.
_Step = tuple[Any, int, tuple[Any, ...]]


def _bytes_of(log: Log, tell: Callable[[int, int], object]) -> Iterator[_Step]:
    """Pieces at the same places of both: a file begins a new one."""
    done, total = 0, sum(part.size for part in log.parts)
    for part in log.parts:
        with part.open() as file:
            offset = 0
            left = None if part.compression else part.size
            while data := file.read(_READ_BYTES if left is None else min(_READ_BYTES, left)):
                yield data, len(data), (part.name, offset)
                offset += len(data)
                tell(done + file.stored_bytes_read, total)
                left = None if left is None else left - len(data)
        done += part.size


def _commands_of(log: Log, tell: Callable[[int, int], object]) -> Iterator[pa.RecordBatch]:
    """What was run, as tables of seq, db and args, none of them empty."""
    wanted = Selection.of(("db", "args", "cmd", "status"), encoding=None)
    for batch in log.read(wanted, log.tolerant, tell, Report()):
        was_run = pc.invert(pc.is_in(batch["status"].cast(pa.string()), pa.array(NOT_RUN)))
        # One whose name cannot be read has none.
        names = pc.fill_null(batch["cmd"].cast(pa.string()), "")
        counts = pc.and_(was_run, pc.not_equal(names, "SELECT"))
        chosen = batch.select(["seq", "db", "args"])
        # Servers of before 7.0 say SELECT behind MULTI, others in front of it.
        chosen = chosen.set_column(1, "db", pc.if_else(pc.is_in(names, _FRAMING), None, chosen["db"]))
        if (counted := counts.true_count) < len(counts):
            chosen = chosen.filter(counts)
        if counted:
            yield chosen


def _first_other_command(one: Iterator[pa.RecordBatch], other: Iterator[pa.RecordBatch]) -> Comparison:
    """Where two runs of commands part: table by table, row by row only where tables differ."""
    common = 0
    left, right = next(one, None), next(other, None)
    while left is not None and right is not None:
        rows = min(left.num_rows, right.num_rows)
        mine, theirs = left.slice(0, rows), right.slice(0, rows)
        if not (mine["args"].equals(theirs["args"]) and mine["db"].equals(theirs["db"])):
            found = _first_difference("commands", _steps_of(mine), _steps_of(theirs), _COMMAND)
            if not found:
                return replace(found, common=common + found.common)
        common += rows
        left = left.slice(rows) if left.num_rows > rows else next(one, None)
        right = right.slice(rows) if right.num_rows > rows else next(other, None)
    return replace(_first_difference("commands", _steps_of(left), _steps_of(right), _COMMAND), common=common)


def _steps_of(commands: pa.RecordBatch | None) -> Iterator[_Step]:
    """Command by command; nothing of None."""
    if commands is not None:
        for row in range(commands.num_rows):
            seq, db, args = (column[row].as_py() for column in commands.columns)
            # Redis does not tell upper case from lower.
            yield (db, args[0].upper(), args[1:]), 1, (seq, db, args)


def _first_difference(level: Level, one: Iterator[_Step], other: Iterator[_Step], names: tuple[str, ...]) -> Comparison:
    common = 0
    prefix: Literal["a", "b"] | None = None
    for left, right in zip_longest(one, other):
        if left is not None and right is not None and left[0] == right[0]:
            common += left[1]
            continue
        places = [None if side is None else list(side[2]) for side in (left, right)]
        if level == "bytes":
            common, prefix = _inside(left, right, places, common)
            if prefix is not None and next(one if prefix == "a" else other, None) is not None:
                # Only a file of it has ended.
                prefix = None
        elif left is None or right is None:
            prefix = "a" if left is None else "b"
        else:
            prefix = None
        if left is None or right is None:
            prefix = "a" if left is None else "b"
        row = {
            f"{name}_{side}": None if place is None else place[number]
            for side, place in zip("ab", places, strict=True)
            for number, name in enumerate(names)
        }
        return Comparison(level, False, common, prefix, pd.DataFrame([row]))
    return Comparison(level, True, common, None, pd.DataFrame())


def _inside(
    left: _Step | None, right: _Step | None, places: list[list[Any] | None], common: int
) -> tuple[int, Literal["a", "b"] | None]:
    """How many bytes are the same with those at the beginning of two pieces, which `places` move behind."""
    if left is None or right is None:
        return common, None
    mine, theirs = left[0], right[0]
    most = min(len(mine), len(theirs))
    same = next((i for i in range(most) if mine[i] != theirs[i]), most)
    for place in places:
        if place is not None:
            place[1] += same
    # Where one piece ends first, its file does.
    prefix: Literal["a", "b"] | None = None
    if same == most:
        prefix = "a" if len(mine) < len(theirs) else "b"
    return common + same, prefix


def _states(one: Store, other: Store) -> Comparison:
    rows: list[dict[str, Any]] = []
    same = 0
    # A store may have more databases: they are empty then.
    for mine, theirs in zip_longest(one.engine.keyspace, other.engine.keyspace):
        for key, value, deadline in () if mine is None else mine.walk():
            change = change_of(value, deadline, theirs, key)
            if change is None:
                same += 1
            else:
                rows.append({"db": mine.index, "key": key, "change": change})
        for key, _, _ in () if theirs is None else theirs.walk():
            if mine is None or key not in mine:
                rows.append({"db": theirs.index, "key": key, "change": "added"})
    rows.sort(key=lambda row: (row["db"], row["key"]))
    frame = pd.DataFrame(rows, columns=["db", "key", "change"])
    return Comparison("state", not rows, same, None, frame)


def change_of(value: Value, deadline: int | None, theirs: Database | None, key: bytes) -> str | None:
    """What became of a key in the other database."""
    other = None if theirs is None else theirs.peek(key)
    if theirs is None or other is None:
        return "removed"
    if type_name(value) != type_name(other):
        return "type-changed"
    if not same_data(value, other):
        return "modified"
    return "ttl-changed" if deadline != theirs.deadline_ms(key) else None
