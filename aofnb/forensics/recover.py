"""A log without what went wrong: `Log.recover` and `Log.undo`. First a plan that changes nothing, then a new directory.

- rewind: everything before a command, nothing after it;
- excise: everything but some commands, replayed without them;
- graft: everything, and behind it the keys that some commands took and that are absent now, as they were.
"""

from __future__ import annotations

import html
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from aofnb.commands import registry
from aofnb.forensics.changes import every_place, touched_between
from aofnb.forensics.compare import change_of
from aofnb.forensics.damage import PartSurvey, survey
from aofnb.forensics.log import Log
from aofnb.forensics.newlog import Written, checked_dest, is_copied, left_out, write_log
from aofnb.forensics.position import Position, Second, TimeOfDay, Where, is_place, parse_position
from aofnb.forensics.reading import HARMLESS, Progress, teller
from aofnb.forensics.roles import key_roles
from aofnb.forensics.scan import Records
from aofnb.forensics.slicing import Place, unit_start
from aofnb.forensics.travel import Table, Traveller, tables_from, what_is_lacking
from aofnb.forensics.words import count
from aofnb.resp.reader import Block
from aofnb.store import glob
from aofnb.store.digest import value_digest
from aofnb.store.keyspace import Keyspace
from aofnb.store.same import beside
from aofnb.store.snapshot import commands_of_key
from aofnb.store.values import Value

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

__all__ = ["Mode", "Plan", "commands_of", "recover", "undo"]

Mode = Literal["graft", "rewind", "excise"]

ADVICE = (
    "first: CONFIG SET auto-aof-rewrite-percentage 0 on the server, so that no rewrite throws the old commands away; "
    "then copy the directory, and work on the copy"
)
_FRAMING = ("MULTI", "EXEC", "DISCARD", "SELECT")
# Commands whose keys cannot be told from their arguments.
_OPAQUE = frozenset(("EVAL", "EVALSHA", "FCALL", "SWAPDB"))
_SHOWN = 8


@dataclass(slots=True, repr=False)
class Plan:
    """What would be written, what that changes, and what is in the way. Nothing is written before `write`.

    Attributes
    ----------
    title
        What is planned, in words.
    commands
        Rows that are left out, or that are undone.
    conflicts
        What was met that a person should decide on.
    """

    title: str
    log: Log
    parts: list[PartSurvey]
    choose: Callable[[Records, int], npt.NDArray[np.bool_]] | None
    touched: Callable[[PartSurvey], bool]
    extra: list[list[bytes]]
    commands: list[int]
    found: list[tuple[int, bytes, str]]
    conflicts: list[str] = field(default_factory=list)

    @property
    def changes(self) -> pd.DataFrame:
        """One row per key that would not be as it is now: db, key (binary), change.

        `change` is ``comes back``, ``goes``, ``changes``, or ``stays``: it exists now, so that graft leaves it alone.
        """
        import pandas as pd
        import pyarrow as pa

        keys = pd.arrays.ArrowExtensionArray(
            pa.chunked_array([pa.array([key for _, key, _ in self.found], pa.binary())])
        )
        return pd.DataFrame(
            {
                "db": np.array([db for db, _, _ in self.found], np.int16),
                "key": keys,
                "change": pd.Categorical(
                    [change for _, _, change in self.found], ["comes back", "goes", "changes", "stays"]
                ),
            }
        )

    def __post_init__(self) -> None:
        for seen in self.parts:
            if not is_copied(seen, self.choose, self.touched):
                self.conflicts += left_out(seen.damage)

    def counts(self) -> dict[str, int]:
        """How many keys of each change."""
        kinds = [change for _, _, change in self.found]
        return {kind: kinds.count(kind) for kind in ("comes back", "goes", "changes", "stays")}

    def write(self, dest: str | PathLike[str], *, verify: bool = True, progress: Progress = None) -> Written:
        """Write the new log into the new data directory `dest`, with a report, and load it.

        `progress` is as in `aofnb.read_aof`.

        Raises
        ------
        AofError
            There is something at `dest` already, or it is inside the log that is read.
        """
        return write_log(
            self.log,
            checked_dest(self.log, dest),
            self.parts,
            choose=self.choose,
            touched=self.touched,
            extra=self.extra,
            on_bad=self.log.tolerant,
            about={"made_by": "aofnb", **self.to_dict()},
            verify=verify,
            progress=progress,
        )

    def to_dict(self, *, keys: bool = False) -> dict[str, Any]:
        """The plan as plain JSON; the keys that change only if asked for, since there may be many."""
        listed = [
            {"db": db, "key": key.decode("utf-8", "backslashreplace"), "change": change}
            for db, key, change in self.found
        ]
        return {
            **({"keys": listed} if keys else {}),
            "plan": self.title,
            "source": self.log.source,
            "rows": self.commands[:1000],
            "changes": self.counts(),
            "extra_commands": len(self.extra),
            "conflicts": self.conflicts,
        }

    def lines(self, *, full: bool = False) -> list[str]:
        """The plan as text; of keys and notes the first ones, unless `full`."""
        shown = None if full else _SHOWN
        lines = [ADVICE, self.title]
        for kind, number in self.counts().items():
            if number:
                keys = [_repr(key) for _, key, change in self.found if change == kind]
                more = ", ..." if number > len(keys[:shown]) else ""
                lines.append(f"  {kind}: {count(number, 'key')}: {', '.join(keys[:shown])}{more}")
        if not self.found:
            lines.append("  no key would be other than it is now")
        lines += [f"  note: {conflict}" for conflict in self.conflicts[:shown]]
        if len(self.conflicts) > len(self.conflicts[:shown]):
            lines.append(f"  and {count(len(self.conflicts) - _SHOWN, 'note')} more: see .conflicts, or --full")
        lines.append("nothing was written; plan.write(dest) makes a new directory")
        return lines

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        return "<pre>" + html.escape(repr(self)) + "</pre>"


def _repr(key: bytes) -> str:
    """A key as Python writes it: text, or bytes where it is none."""
    try:
        return repr(key.decode())
    except UnicodeDecodeError:
        return repr(key)


# --- plans -----------------------------------------------------------------------------------------------


def recover(
    log: Log,
    drop: Any | None = None,
    stop: Where | None = None,
    keep: str | bytes | Iterable[str | bytes] | None = None,
    progress: Progress = None,
) -> Plan:
    """See `Log.recover`."""
    if drop is None and stop is None and keep is None:
        raise TypeError("recover() needs drop=, stop= or keep=")
    end = log.index().rows if stop is None else log.position(stop).seq
    # Of a transaction that it cuts nothing counts: damage behind it would seem to have cut it, and the rest to count.
    last = unit_start(log, end)
    rows = [] if drop is None else [seq for seq, _, _ in _commands(log, drop, progress)]
    dropped = np.array(sorted(rows), np.int64)
    patterns = None
    if keep is not None:
        words = [keep] if isinstance(keep, str | bytes) else list(keep)
        patterns = [glob.matcher(word.encode() if isinstance(word, str) else word) for word in words]

    def choose(found: Records, first: int) -> npt.NDArray[np.bool_]:
        seq = np.arange(first, first + len(found))
        chosen = (seq < last) & ~np.isin(seq, dropped)
        if patterns is not None:
            for row in np.flatnonzero(chosen).tolist():
                chosen[row] = _is_kept(found.argv(row), patterns)
        return chosen

    def touched(seen: PartSurvey) -> bool:
        end = seen.first + seen.rows + seen.cut
        inside = dropped[(dropped >= seen.first) & (dropped < end)]
        return patterns is not None or last < end or bool(len(inside))

    title = "a new log " + ", ".join(
        text
        for text, said in (
            (_said_stop(stop, end), stop is not None),
            (f"without {count(len(rows), 'command')}: {_shown_rows(rows)}", drop is not None),
            ("of the chosen keys alone", keep is not None),
        )
        if said
    )
    parts = survey(log, progress, on_bad=log.tolerant)
    # Up to the first command that one of them is without, they are the same.
    alike = 0 if patterns is not None else unit_start(log, min([last, *rows]))
    with _States(log, alike, progress=progress) as now, _States(log, alike, choose, progress) as then:
        now.advance(log.index().rows)
        then.advance(log.index().rows)
        places = touched_between(log, alike, log.index().rows, progress)
        found = sorted(_differences(now.store.engine.keyspace, then.store.engine.keyspace, places))
        fail_now = set(now.failed)
        failed = [each for each in then.failed if each not in fail_now]
        lacking = now.lacking
    conflicts = [f"{each}, once those commands are gone" for each in failed]
    return Plan(title, log, parts, choose, touched, [], rows, found, _damaged(log, parts) + lacking + conflicts)


def _said_stop(stop: Where | None, row: int) -> str:
    text = stop.strip() if isinstance(stop, str) else stop
    may_be_time = isinstance(text, str | datetime) and text != "end"
    if stop is not None and may_be_time and isinstance(parse_position(stop), Second | TimeOfDay):
        return f"of everything up to {text}, all of that second included: before row {row}"
    return f"of everything before row {row}"


def undo(log: Log, what: Any, mode: Mode = "graft", progress: Progress = None) -> Plan:
    """See `Log.undo`."""
    if mode not in ("graft", "rewind", "excise"):
        raise ValueError(f"mode= is 'graft', 'rewind' or 'excise', not {mode!r}")
    commands = _commands(log, what, progress)
    if not commands:
        raise ValueError("there is no such command in this log: nothing to undo")
    rows = [seq for seq, _, _ in commands]
    if mode == "excise":
        return recover(log, drop=rows, progress=progress)
    if mode == "rewind":
        return recover(log, stop=min(rows), progress=progress)
    return _graft(log, commands, progress)


def _graft(log: Log, commands: list[tuple[int, int, list[bytes]]], progress: Progress) -> Plan:
    """Put back what `commands` took and what is absent now."""
    saved: dict[Place, tuple[Any, list[list[bytes]]]] = {}
    parts = survey(log, progress, on_bad=log.tolerant)
    conflicts = _damaged(log, parts)
    # Else the commands of a transaction would wait for EXEC, and those among them not be seen to take anything.
    framing = np.array(_framing_of(log, [seq for seq, _, _ in commands]), np.int64)

    def unframed(found: Records, first: int) -> npt.NDArray[np.bool_]:
        return ~np.isin(np.arange(first, first + len(found)), framing)

    with _States(log, commands[0][0], unframed, progress) as states:
        databases = states.store.engine.keyspace
        for seq, db, argv in commands:
            states.advance(seq)
            name = argv[0].upper().decode("utf-8", "backslashreplace")
            if name in _OPAQUE:
                raise ValueError(
                    f"row {seq} is {name}, and which keys that touched cannot be told: use mode='excise' or 'rewind'"
                )
            for index in range(len(databases)) if name == "FLUSHALL" else (db,):
                chosen = databases[index]
                keys = chosen.keys() if name in ("FLUSHALL", "FLUSHDB") else [key for key, _ in key_roles(argv)]
                for key in keys:
                    value = chosen.peek(key)
                    if value is not None and (index, key) not in saved:
                        deadline = chosen.deadline_ms(key)
                        rebuilt = [list(each) for each in commands_of_key(key, value)]
                        if deadline is not None:
                            rebuilt.append([b"PEXPIREAT", key, b"%d" % deadline])
                        saved[index, key] = _fingerprint(value, deadline), rebuilt
        states.advance(log.index().rows)
        conflicts += states.lacking
        extra: list[list[bytes]] = []
        found: list[tuple[int, bytes, str]] = []
        selected = -1
        for (index, key), (fingerprint, rebuilt) in sorted(saved.items()):
            value = databases[index].peek(key)
            if value is not None:
                if _fingerprint(value, databases[index].deadline_ms(key)) != fingerprint:
                    found.append((index, key, "stays"))
                continue
            if index != selected:
                extra.append([b"SELECT", b"%d" % index])
                selected = index
            extra += rebuilt
            found.append((index, key, "comes back"))
    stay = sum(change == "stays" for _, _, change in found)
    if stay:
        again = "exists again with another value and stays as it is"
        if stay > 1:
            again = "exist again with another value and stay as they are"
        conflicts.append(f"{count(stay, 'key')} {again}: see .changes, or --full")
    rows = [seq for seq, _, _ in commands]
    title = f"everything, and behind it what {count(len(rows), 'command')} took: {_shown_rows(rows)}"
    return Plan(title, log, parts, None, lambda seen: False, extra, rows, found, conflicts)


def _fingerprint(value: Value, deadline: int | None) -> Any:
    """What tells this value from any other, for as long as it may change."""
    return value_digest(value, deadline), deadline, beside(value)


def _damaged(log: Log, parts: list[PartSurvey]) -> list[str]:
    harmed = [each for part in parts for each in part.damage if each["kind"] not in HARMLESS]
    if not harmed:
        return []
    remedy = "" if log.tolerant == "resync" else "; scan(path, on_bad='resync') also reads what is behind it"
    return [f"{harmed[0]['part']} is damaged at byte {harmed[0]['offset']}: {harmed[0]['reason']}{remedy}"]


def _shown_rows(rows: Sequence[int]) -> str:
    return ", ".join(f"#{row}" for row in rows[:_SHOWN]) + (", ..." if len(rows) > _SHOWN else "")


# --- which commands --------------------------------------------------------------------------------------


def commands_of(log: Log, what: Sequence[str], progress: Progress = None) -> list[int]:
    """Rows of the commands that the words name: positions, and names of commands."""
    return sorted({seq for word in what for seq, _, _ in _commands(log, word, progress)})


def _commands(log: Log, what: Any, progress: Progress = None) -> list[tuple[int, int, list[bytes]]]:
    """Row, database and arguments of the commands that `what` names, in order; of MULTI and EXEC, the transaction.

    Raises
    ------
    ValueError
        One of them is no command that can be left out.
    """
    rows = _rows(log, what, progress)
    if not rows:
        return []
    total = log.index().rows
    behind = [seq for seq in rows if seq >= total]
    if behind:
        raise ValueError(f"row {behind[0]}: the log has {total} rows, so there is no command to undo")
    wanted = np.array(rows, np.int64)
    chosen: dict[int, tuple[int, int, list[bytes]]] = {}
    for row in _read(log, min(rows), max(rows) + 1, wanted):
        seq = row["seq"]
        if row["status"] in ("truncated", "discarded"):
            raise ValueError(f"row {seq} is {row['status']}: no server runs it, so there is nothing to undo")
        if row["cmd"] in ("MULTI", "EXEC") and row["txn"] is not None:
            for each in _transaction(log, seq, row["txn"]):
                # What it selects is for the commands behind EXEC, too.
                if each["cmd"] != "SELECT":
                    chosen[each["seq"]] = (each["seq"], each["db"], each["args"])
        elif row["cmd"] in _FRAMING:
            raise ValueError(f"row {seq} is {row['cmd']}, which belongs to the commands behind it: name those")
        else:
            chosen[seq] = (seq, row["db"], row["args"])
    return [chosen[seq] for seq in sorted(chosen)]


def _rows(log: Log, what: Any, progress: Progress) -> list[int]:
    if hasattr(what, "index") and hasattr(what, "columns"):
        return [int(seq) for seq in what.index]
    if isinstance(what, str):
        if _is_command(what):
            batches = log.batches(columns=["status"], cmd=what, on_bad=log.tolerant, progress=progress)
            return [
                seq
                for batch in batches
                for seq, status in zip(batch["seq"].to_pylist(), batch["status"].to_pylist(), strict=True)
                if status not in ("truncated", "discarded")
            ]
        try:
            return [log.position(what).seq]
        except ValueError as problem:
            if what.replace(" ", "").isalpha():
                raise ValueError(f"{what!r} is no command of Redis's, and no position") from None
            raise problem
    if isinstance(what, Sequence) and not isinstance(what, bytes) and not is_place(what):
        return sorted({log.position(each).seq for each in what})
    return [log.position(what).seq]


def _is_command(word: str) -> bool:
    return word.replace(" ", "").isalpha() and registry.find([part.encode() for part in word.split()]) is not None


def _read(log: Log, start: int, stop: int | None, wanted: Any = None) -> Iterator[Any]:
    """Those of `wanted`, or all, among the rows from `start` to before `stop`."""
    columns = ["db", "txn", "cmd", "args", "status"]
    for batch in log.batches(columns=columns, start=start, stop=stop, on_bad=log.tolerant):
        if wanted is not None:
            batch = batch.filter(np.isin(batch.column(0).to_numpy(), wanted))
        yield from batch.to_pylist()


def _transaction(log: Log, seq: int, txn: int) -> Iterator[Any]:
    """All rows of the transaction that row `seq` belongs to."""
    # No mark of the index stands inside a transaction.
    for row in _read(log, log.index().before_row(seq).seq, None):
        if row["txn"] == txn:
            yield row
        elif row["seq"] > seq:
            return


def _framing_of(log: Log, rows: Sequence[int]) -> list[int]:
    """MULTI and EXEC of the whole transactions in which some of these rows are, which are in order.

    Where MULTI is one of them, the transaction is undone as one: then what was before it counts.
    """
    found: list[int] = []
    begun: tuple[int, int | None] = (-1, None)
    batches = log.batches(
        columns=["txn", "cmd"], cmd=("MULTI", "EXEC"), start=unit_start(log, rows[0]), on_bad=log.tolerant
    )
    for batch in batches:
        for seq, txn, name in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            if name == "EXEC" and txn is not None and txn == begun[1]:
                place = bisect_left(rows, begun[0])
                if place < len(rows) and begun[0] < rows[place] < seq:
                    found += [begun[0], seq]
            elif name == "MULTI" and txn != begun[1]:
                if seq > rows[-1]:
                    return found
                begun = seq, txn
    return found


def _is_kept(argv: list[bytes], patterns: Sequence[Callable[[bytes], object]]) -> bool:
    """Whether a log of keys that match needs the command: it has such a key, or none but matters to all."""
    keys = [key for key, _ in key_roles(argv)]
    if keys:
        return any(pattern(key) is not None for key in keys for pattern in patterns)
    command = registry.find(argv)
    return command is not None and (command.writes or command.name in _FRAMING)


# --- states ----------------------------------------------------------------------------------------------


class _States:
    """The data of a log as it comes about: a store that is replayed further with each `advance`.

    It begins near row `start`, from a checkpoint if there is one. Nothing expires but what the log deletes.
    """

    def __init__(
        self,
        log: Log,
        start: int,
        choose: Callable[[Records, int], npt.NDArray[np.bool_]] | None = None,
        progress: Progress = None,
    ) -> None:
        self._choose = choose
        begin = log.index().before_row(start)
        traveller = Traveller(log, Position(begin.seq, log.parts[begin.part].name, begin.offset), progress)
        self.store, self._replayer = traveller.store, traveller.replayer
        self._tables = tables_from(log, begin, teller(progress))
        # What is left of a table, and how many of its commands are done.
        self._rest: Table | None = None
        self._done = 0

    def __enter__(self) -> _States:
        return self

    def __exit__(self, *error: object) -> None:
        self.store.close()

    @property
    def lacking(self) -> list[str]:
        """What the data lack of what the log says."""
        lacking = what_is_lacking(self._replayer)
        return [] if lacking is None else [lacking]

    @property
    def failed(self) -> list[str]:
        """Commands that gave an error."""
        return [f"{each.command} at {each.file}:{each.offset} fails: {each.error}" for each in self._replayer.failed]

    def advance(self, stop: int) -> None:
        """Run everything before row `stop`."""
        with self._replayer.loading():
            while True:
                if self._rest is None:
                    self._rest, self._done = next(self._tables, None), 0
                if self._rest is None:
                    return
                first, rows = self._rest.seq, len(self._rest.found)
                if first + self._done >= stop and first + rows > stop:
                    return
                upto = min(rows, stop - first)
                if upto > self._done:
                    self._run(self._rest, self._done, upto)
                self._done = upto
                if upto < rows:
                    return
                self._rest = None

    def _run(self, table: Table, start: int, stop: int) -> None:
        found = table.found
        if found.cut_argc is not None:
            return
        argvs, offsets = found.argvs(stop)[start:], found.offset[start:stop].tolist()
        if self._choose is not None:
            keep = self._choose(found, table.seq)[start:stop].tolist()
            argvs = [argv for argv, wanted in zip(argvs, keep, strict=True) if wanted]
            offsets = [offset for offset, wanted in zip(offsets, keep, strict=True) if wanted]
        if argvs:
            self._replayer.replay(table.path, Block.of(argvs, offsets, offsets[-1] + 1))


def _differences(now: Keyspace, then: Keyspace, places: set[Place] | None) -> Iterator[tuple[int, bytes, str]]:
    """Database and key, of these `places` or of all, of what would not be as it is `now`, and what becomes of it
    `then`.
    """
    for index, key in every_place(now) | every_place(then) if places is None else places:
        if index >= len(now):
            continue
        value = now[index].peek(key)
        if value is None:
            if key in then[index]:
                yield index, key, "comes back"
        elif change := change_of(value, now[index].deadline_ms(key), then[index], key):
            yield index, key, "goes" if change == "removed" else "changes"
