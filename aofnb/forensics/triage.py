"""The first look at a log: is it whole, what is in it, what looks wrong, what to ask next. One pass, memory bounded."""

from __future__ import annotations

import heapq
import html
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from aofnb.forensics.columns import Selection
from aofnb.forensics.dialects import dialect_of, sets_of_tile38
from aofnb.forensics.kinds import Kinds, Sums
from aofnb.forensics.reading import HARMLESS, Progress, Report
from aofnb.forensics.roles import BARRIERS
from aofnb.forensics.rows import tables
from aofnb.forensics.words import count, named, printable, shell_line, size

if TYPE_CHECKING:
    import pyarrow as pa

    from aofnb.forensics.log import Log

__all__ = ["Triage", "triage"]

_COLUMNS = ("part", "offset", "nbytes", "ts", "db", "txn", "cmd", "key", "nkeys", "status")
# What deserves a look wherever it stands.
_SUSPECTS = (*BARRIERS, "RENAME", "RENAMENX")
_BIG_DELETE_KEYS = 100
_GIANT_BYTES = 1 << 20
# So many of each kind of suspect are listed; all are counted.
_LISTED = 20
_TOP = 10
# Kinds of keys that are told apart: more are counted as one.
_TEMPLATES = 10_000


@dataclass(slots=True)
class Triage:
    """What `Log.triage` found; printed, it is a page of text.

    Attributes
    ----------
    source, parts
        The log, and its files with type, format and size in bytes.
    valid
        Whether every file could be read to its end, as a server would.
    damage
        Where not: part, kind, offset, nbytes, reason.
    commands, nbytes, transactions
        How many rows, bytes on disk (as stored), and MULTI.
    first_ts, last_ts
        The first and last ``#TS``, in seconds since the epoch, None if the log has none.
    databases
        Commands by database.
    by_command, by_template
        Name or kind of key: commands and bytes; most bytes first.
    statuses
        Rows by status.
    suspects
        What deserves a look: kind, seq, part, offset, ts, db, cmd, key, nkeys, nbytes; at most 20 of a kind.
    suspect_counts
        How many there are of each kind.
    dialects
        Whose commands these are beside Redis's.
    """

    source: str
    parts: list[dict[str, Any]]
    nbytes: int
    commands: int = 0
    transactions: int = 0
    first_ts: int | None = None
    last_ts: int | None = None
    damage: list[dict[str, Any]] = field(default_factory=list)
    databases: dict[int, int] = field(default_factory=dict)
    by_command: dict[str, tuple[int, int]] = field(default_factory=dict)
    by_template: dict[str, tuple[int, int]] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    suspects: list[dict[str, Any]] = field(default_factory=list)
    suspect_counts: dict[str, int] = field(default_factory=dict)
    dialects: list[str] = field(default_factory=list)

    @property
    def valid(self) -> bool:
        return not any(each["kind"] not in HARMLESS for each in self.damage) and not self._lf

    @property
    def _lf(self) -> int:
        """Commands without CRs."""
        return self.statuses.get("lf_repaired", 0)

    @property
    def seconds(self) -> int | None:
        """From the first ``#TS`` to the last."""
        return None if self.first_ts is None or self.last_ts is None else self.last_ts - self.first_ts

    @property
    def verdict(self) -> str:
        """One line."""
        if not self.commands and not self.damage and self.valid:
            return "whole, and empty"
        # What is legible of a cut command is a row, and no command.
        legible = self.commands - self.statuses.get("truncated", 0)
        what = f"{count(legible, 'command')} in {size(self.nbytes)}"
        if self.valid:
            return f"whole: {what}"
        first = next((each for each in self.damage if each["kind"] not in HARMLESS), None)
        if first is None:
            return (
                f"DAMAGED: {what} can be read, but no server loads it: git, or an editor, took the CRs of its line ends"
            )
        return f"DAMAGED: {what} can be read; {first['part']}, byte {first['offset']}: {first['reason']}"

    def next_questions(self, *, shell: str | None = None) -> list[str]:
        """What to type next, and why: in Python, or in a shell that knows the log by the path `shell`."""
        if shell is not None:
            return [f"{shell_line(command, shell, *words)}   # {why}" for _, (command, *words), why in self._asked()]
        return [f"{call}   # {why}" for call, _, why in self._asked()]

    def _asked(self) -> Iterator[tuple[str, tuple[str, *tuple[object, ...]], str]]:
        """Each question as a call of Python, as words for the shell, and why it is asked."""
        if not self.valid:
            yield "log.check()", ("check",), "where exactly, and what each tool would lose"
            yield "log.salvage()", ("salvage",), "what can be had of it all the same"
        flush = self._last("FLUSHALL") or self._last("FLUSHDB")
        if flush is not None:
            seq, kind = flush["seq"], flush["kind"]
            yield f"log.at({seq})", ("at", seq), f"the data just before the last {kind}"
            yield f"log.undo({seq})", ("undo", seq), "what putting it back would change"
        deleted = self._last("big delete")
        if deleted is not None:
            seq = deleted["seq"]
            yield f"log.diff({seq}, {seq + 1})", ("diff", seq, seq + 1), f"what {deleted['cmd']} took"
        renamed = self._last("RENAME")
        if renamed is not None and renamed["key"]:
            key, db = named(renamed["key"]), renamed["db"]
            yield (
                f"log.history({key!r}, db={db})",
                ("history", key, "--db", db),
                "what had this name before it was renamed",
            )
        giant = next((each for each in self.suspects if each["kind"] == "giant"), None)
        if giant is not None and giant["key"]:
            key, db = named(giant["key"]), giant["db"]
            yield (
                f"log.history({key!r}, db={db})",
                ("history", key, "--db", db),
                f"who writes {size(giant['nbytes'])} at once",
            )
        if self.commands:
            yield "log.waste()", ("waste",), "what a rewrite would save"
            if self.first_ts is None:
                yield (
                    "log.infer_time()",
                    ("export", "times.csv", "--columns", "cmd,key,time,time_src,time_err"),
                    "the log has no times: estimate them",
                )

    def _last(self, kind: str) -> dict[str, Any] | None:
        return next((each for each in reversed(self.suspects) if each["kind"] == kind), None)

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain JSON."""
        return {
            "source": self.source,
            "valid": self.valid,
            "verdict": self.verdict,
            "parts": self.parts,
            "damage": self.damage,
            "bytes": self.nbytes,
            "commands": self.commands,
            "transactions": self.transactions,
            "first_ts": self.first_ts,
            "last_ts": self.last_ts,
            "databases": {str(db): n for db, n in self.databases.items()},
            "by_command": {name: {"commands": n, "bytes": b} for name, (n, b) in self.by_command.items()},
            "by_template": {name: {"commands": n, "bytes": b} for name, (n, b) in self.by_template.items()},
            "statuses": self.statuses,
            "suspects": self.suspects,
            "suspect_counts": self.suspect_counts,
            "dialects": self.dialects,
            "next": self.next_questions(),
        }

    # --- as people read it -------------------------------------------------------------------------------

    def _span(self) -> str:
        seconds = self.seconds
        if seconds is None or self.first_ts is None or self.last_ts is None:
            return "no times (aof-timestamp-enabled was off)"
        rate = (
            f", {self.commands / seconds:,.0f} commands and {size(int(self.nbytes / seconds))} a second"
            if seconds
            else ""
        )
        return f"{_moment(self.first_ts)} to {_moment(self.last_ts)} UTC{rate}"

    def _tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """Title, head and rows of each table."""
        tables: list[tuple[str, list[str], list[list[str]]]] = []
        for title, found in (("commands", self.by_command), ("kinds of keys", self.by_template)):
            if found:
                rows = [[printable(name), f"{n:,}", size(b)] for name, (n, b) in list(found.items())[:_TOP]]
                tables.append((title, ["", "commands", "bytes"], rows))
        if self.suspects:
            rows = []
            for kind, number in self.suspect_counts.items():
                first = next(each for each in self.suspects if each["kind"] == kind)
                when = "" if first["ts"] is None else _moment(first["ts"])
                rows.append([kind, f"{number:,}", f"#{first['seq']}", when, _short(first["key"])])
            tables.append(("worth a look", ["", "how many", "first", "time", "key"], rows))
        return tables

    def _facts(self) -> list[tuple[str, str]]:
        facts = [("verdict", self.verdict), ("span", self._span())]
        dbs = ", ".join(f"db{db} {n:,}" for db, n in sorted(self.databases.items())[:16])
        facts.append(("databases", dbs or "none"))
        facts.append(("transactions", f"{self.transactions:,}"))
        odd = {name: n for name, n in self.statuses.items() if name != "ok"}
        if odd:
            facts.append(("not ok", ", ".join(f"{name} {n:,}" for name, n in odd.items())))
        facts += [("dialect", dialect) for dialect in self.dialects]
        skipped = [each for each in self.damage if each["kind"] == "skipped"]
        if skipped:
            first = skipped[0]
            more = f", and {len(skipped) - 1:,} more" if len(skipped) > 1 else ""
            facts.append(("no rows for", f"{first['reason']} ({first['part']}:{first['offset']}){more}"))
        return facts

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def lines(self, *, shell: str | None = None) -> list[str]:
        """All of it as text; what to ask next is for Python, or for a shell."""
        lines = [f"{self.source}: {count(len(self.parts), 'file')}"]
        lines += [f"  {name:<14}{value}" for name, value in self._facts()]
        for title, head, rows in self._tables():
            lines.append(f"{title}:")
            widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
            for row in [head, *rows]:
                cells = (
                    cell.ljust(width) if i in (0, 4) else cell.rjust(width)
                    for i, (cell, width) in enumerate(zip(row, widths, strict=True))
                )
                lines.append(("  " + "  ".join(cells)).rstrip())
        asked = self.next_questions(shell=shell)
        if asked:
            lines.append("next:")
            lines += [f"  {each}" for each in asked]
        return lines

    def _repr_html_(self) -> str:
        pieces = [f"<div><b>{html.escape(self.source)}</b><table>"]
        pieces += [
            f"<tr><th style='text-align:left'>{name}</th><td>{html.escape(value)}</td></tr>"
            for name, value in self._facts()
        ]
        pieces.append("</table>")
        for title, head, rows in self._tables():
            pieces.append(
                f"<p><b>{title}</b></p><table><thead><tr>{''.join(f'<th>{each}</th>' for each in head)}</tr></thead>"
                "<tbody>"
            )
            pieces += ["<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
            pieces.append("</tbody></table>")
        asked = self.next_questions()
        if asked:
            pieces.append(f"<p><b>next</b></p><pre>{html.escape(chr(10).join(asked))}</pre>")
        return "".join([*pieces, "</div>"])


def triage(log: Log, progress: Progress = None) -> Triage:
    """Read `log` once and say what is in it."""
    parts = [{"name": part.name, "type": part.type, "format": part.format, "bytes": part.size} for part in log.parts]
    found = Triage(log.source, parts, sum(part.size for part in log.parts))
    sums = _Sums(found)
    report = Report()
    for batch in log.read(Selection.of(_COLUMNS), log.tolerant, progress, report):
        sums.add(batch)
    found.damage = report.damage
    sums.finish()
    found.dialects = dialect_of(sums.unknown | _sets_at_first(log))
    return found


def _sets_at_first(log: Log) -> set[str]:
    """Forms of SET that only Tile38 has, in the first commands of each file: whoever wrote them wrote the rest."""
    forms: set[str] = set()
    for part in log.parts:
        with part.open() as file:
            for each in tables(part, file, 0, log.tolerant, Report()):
                forms |= sets_of_tile38(each)
                if not each.from_snapshot:
                    break
    return forms


class _Sums:
    """What adds up while the log is read."""

    def __init__(self, found: Triage) -> None:
        self._found = found
        self._commands: dict[str, tuple[int, int]] = {}
        self._kinds = Kinds(_TEMPLATES)
        self._templates = Sums()
        self._dbs: Counter[int] = Counter()
        self._statuses: Counter[str] = Counter()
        self._kept: Counter[str] = Counter()
        # The largest commands, smallest of them first.
        self._giants: list[tuple[int, int, dict[str, Any]]] = []
        self.unknown: set[str] = set()

    def add(self, batch: pa.RecordBatch) -> None:
        rows = batch.num_rows
        if not rows:
            return
        found = self._found
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        nbytes = columns["nbytes"].to_numpy()
        cmd = columns["cmd"]
        codes = cmd.indices.fill_null(-1).to_numpy()
        words = cmd.dictionary.to_pylist()
        found.commands += rows
        sums = Sums()
        sums.add(codes, nbytes)
        for word, n, b in sums.of(words):
            before = self._commands.get(word, (0, 0))
            self._commands[word] = before[0] + n, before[1] + b
        statuses, said = columns["status"].indices.to_numpy(), columns["status"].dictionary.to_pylist()
        self._statuses.update(_counted(statuses, said))
        if "unknown_command" in said:
            strange = np.unique(codes[statuses == said.index("unknown_command")])
            self.unknown.update(words[code] for code in strange.tolist() if code >= 0)
        dbs, times = np.unique(columns["db"].to_numpy(), return_counts=True)
        self._dbs.update(dict(zip(dbs.tolist(), times.tolist(), strict=True)))
        seconds = columns["ts"].cast("int64").drop_null()
        if len(seconds):
            found.first_ts = seconds[0].as_py() if found.first_ts is None else found.first_ts
            found.last_ts = seconds[-1].as_py()
        if "MULTI" in words:
            found.transactions += int((codes == words.index("MULTI")).sum())
        self._templates.add(self._kinds.codes(columns["key"]), nbytes)
        wanted = [code for code, word in enumerate(words) if word in _SUSPECTS]
        removing = [code for code, word in enumerate(words) if word in ("DEL", "UNLINK")]
        for row in np.flatnonzero(np.isin(codes, wanted)).tolist():
            self._suspect(words[codes[row]], batch, row)
        large = columns["nkeys"].to_numpy() >= _BIG_DELETE_KEYS
        for row in np.flatnonzero(np.isin(codes, removing) & large).tolist():
            self._suspect("big delete", batch, row)
        for row in np.flatnonzero(nbytes >= _GIANT_BYTES).tolist():
            self._giant(batch, row, int(nbytes[row]))

    def _suspect(self, kind: str, batch: pa.RecordBatch, row: int) -> None:
        self._kept[kind] += 1
        if self._kept[kind] <= _LISTED:
            self._found.suspects.append(_described(kind, batch, row))

    def _giant(self, batch: pa.RecordBatch, row: int, nbytes: int) -> None:
        self._kept["giant"] += 1
        if len(self._giants) < _LISTED or nbytes > self._giants[0][0]:
            about = _described("giant", batch, row)
            push = heapq.heappush if len(self._giants) < _LISTED else heapq.heapreplace
            push(self._giants, (nbytes, -about["seq"], about))

    def finish(self) -> None:
        found = self._found
        found.by_command = _largest((word, n, b) for word, (n, b) in self._commands.items())
        found.by_template = _largest(self._templates.of(self._kinds.words))
        found.databases = dict(sorted(self._dbs.items()))
        found.statuses = dict(self._statuses)
        found.suspects += [about for _, _, about in sorted(self._giants, reverse=True)]
        found.suspect_counts = dict(self._kept)


def _described(kind: str, batch: pa.RecordBatch, row: int) -> dict[str, Any]:
    about = batch.slice(row, 1).to_pylist()[0]
    ts = about["ts"]
    return {
        "kind": kind,
        **{name: about[name] for name in ("seq", "part", "offset", "db", "cmd", "key", "nkeys", "nbytes")},
        "ts": None if ts is None else int(ts.timestamp()),
    }


def _counted(codes: Any, words: Sequence[str]) -> dict[str, int]:
    return {word: n for word, n in zip(words, np.bincount(codes, minlength=len(words)).tolist(), strict=True) if n}


def _largest(sums: Iterable[tuple[str, int, int]]) -> dict[str, tuple[int, int]]:
    """Rows and bytes by word, most bytes first."""
    return {word: (rows, nbytes) for word, rows, nbytes in sorted(sums, key=lambda each: (-each[2], each[0]))}


def _moment(ts: int) -> str:
    return datetime.fromtimestamp(ts, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _short(key: str | None) -> str:
    text = "" if key is None else printable(key)
    return text if len(text) <= 40 else text[:37] + "..."
