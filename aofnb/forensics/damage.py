"""Where a log is damaged, what that cost, and what each tool would do with it: `Log.check`.

The map is that of a reading that goes on behind damage (`aofnb.forensics.resync`); what redis-check-aof, redis-server
and aofnb.open make of the files is asked of `aofnb.aof.check`, which follows them byte by byte.
"""

from __future__ import annotations

import html
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np

from aofnb.aof.check import CheckReport, check
from aofnb.aof.fs import OsFs
from aofnb.aof.manifest import AofFile, Manifest
from aofnb.forensics.blocks import TableReader
from aofnb.forensics.columns import RowBuilder, Selection
from aofnb.forensics.dialects import dialect_of, sets_of_tile38
from aofnb.forensics.log import Log
from aofnb.forensics.parts import Part
from aofnb.forensics.reading import HARMLESS, OnBad, Progress, Report, teller
from aofnb.forensics.rows import tables
from aofnb.forensics.scan import Records
from aofnb.forensics.words import count, size

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

__all__ = ["DamageReport", "Framing", "PartSurvey", "check_log", "survey"]

Verdict = Literal["fine", "damaged", "unreadable"]


class Framing:
    """The rows of one file on their way into a new log, in which transactions are whole.

    MULTI inside of a transaction and EXEC outside of one are left out; where damage took the end of a transaction an
    EXEC stands for it; one that has none in the end is left out.
    """

    def __init__(self) -> None:
        self._rows = 0
        # How many rows there were before the MULTI that is open.
        self._before: int | None = None

    @property
    def rows(self) -> int:
        """How many rows the new log has, if this is all."""
        return self._rows if self._before is None else self._before

    @property
    def is_open(self) -> bool:
        """Whether there is a MULTI without EXEC."""
        return self._before is not None

    def take(self, found: Records, keep: npt.NDArray[np.bool_]) -> tuple[bool, npt.NDArray[np.bool_], int | None]:
        """Whether an EXEC comes in front of this table; which of its rows are left of those to `keep`; and the MULTI
        among them that is still open at its end.
        """
        ends = found.behind_damage and self.is_open
        if ends:
            self._rows += 1
            self._before = None
        keep = keep & (found.cut_argc is None)
        rows, are_multi = found.framing()
        is_open, opened = self.is_open, None
        for row, begins in zip(rows[keep[rows]].tolist(), are_multi[keep[rows]].tolist(), strict=True):
            if begins == is_open:
                keep[row] = False
            else:
                is_open, opened = begins, row if begins else None
        if not is_open:
            self._before = None
        elif opened is not None:
            self._before = self._rows + int(np.count_nonzero(keep[:opened]))
        self._rows += int(np.count_nonzero(keep))
        return ends, keep, opened


@dataclass(slots=True)
class PartSurvey:
    """One file, read to its end over all damage.

    Attributes
    ----------
    first, rows
        Number of its first row, and how many commands are legible; `snapshot_rows` of them rebuild its snapshot.
    before_damage
        How many of them are before the first damage: all that is left if the file is cut there.
    lf, discarded
        How many have lost their CRs; how many are in a transaction without EXEC.
    kept
        How many commands are in the log that salvage makes of it: see `Framing`.
    damage
        As in `aofnb.forensics.log.Report`.
    unknown
        Names of commands that Redis does not have, and forms of SET that only Tile38 has.
    """

    part: Part
    first: int = 0
    rows: int = 0
    snapshot_rows: int = 0
    before_damage: int = 0
    lf: int = 0
    discarded: int = 0
    kept: int = 0
    cut: int = 0
    damage: list[dict[str, Any]] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)

    @property
    def sound(self) -> bool:
        """Whether the file can be taken over as it is, byte by byte."""
        framed = self.kept == self.rows
        return framed and not self.lf and not [each for each in self.damage if each["kind"] != "skipped"]

    @property
    def lost(self) -> int:
        """Commands that are lost, at least."""
        return sum(each.get("lost") or 0 for each in self.damage)

    @property
    def lost_about(self) -> int:
        """How many commands are lost, by the size of the gaps and of the commands that are legible."""
        gaps = [each["nbytes"] for each in self.damage if each.get("lost") and each["nbytes"]]
        legible = self.part.size - sum(gaps)
        if self.snapshot_rows or self.part.compression or legible <= 0:
            return self.lost
        return max(self.lost, round(sum(gaps) * self.rows / legible))


def survey(log: Log, progress: Progress = None, on_bad: OnBad = "resync") -> list[PartSurvey]:
    """Read every file to its end, over all damage. Memory is bounded by a table and the longest transaction."""
    builder = RowBuilder([part.name for part in log.parts], Selection.of(("cmd", "status")))
    found = []
    tell = teller(progress)
    done, total = 0, sum(part.size for part in log.parts)
    for number, part in enumerate(log.parts):
        builder.start_part(number)
        report = Report()
        seen = PartSurvey(part, builder.seq)
        broken = False
        waiting = opened = 0
        framing = Framing()
        with part.open() as file:
            for each in tables(part, file, 0, on_bad, report):
                if each.behind_damage:
                    waiting = 0
                framing.take(each, np.ones(len(each), bool))
                seen.unknown |= sets_of_tile38(each)
                rows = builder.batch(each)
                for batch in (rows.settled, rows.open):
                    if batch is not None:
                        seen.unknown |= _unknown(batch)
                if rows.settled is not None:
                    waiting = 0
                if rows.open is not None:
                    opened = opened if waiting else rows.opened_at
                    waiting += rows.open.num_rows
                if each.cut_argc is not None:
                    seen.cut += 1
                    waiting -= bool(waiting)
                else:
                    broken = broken or each.behind_damage or each.mended
                    seen.rows += len(each)
                    seen.snapshot_rows += len(each) * each.from_snapshot
                    seen.before_damage += 0 if broken else len(each)
                    seen.lf += int(np.count_nonzero(each.lf))
                tell(done + file.stored_bytes_read, total)
        if builder.in_multi:
            seen.discarded = waiting
            reason = "a transaction has no EXEC, so a server throws its commands away"
            report.add(part, "open_multi", opened, None, reason, 0)
        if any(each["kind"] == "checksum" for each in report.damage):
            # Which byte is wrong nobody knows.
            seen.before_damage = 0
        seen.damage = sorted(report.damage, key=lambda each: int(each["offset"]))
        seen.kept = framing.rows
        found.append(seen)
        done += part.size
        tell(done, total)
    return found


def _unknown(batch: Any) -> set[str]:
    status = batch.column(2).indices.to_numpy()
    rows = np.flatnonzero(status == 5)
    if not len(rows):
        return set()
    return {name for name in batch.column(1).take(rows).unique().to_pylist() if name}


@dataclass(frozen=True, slots=True)
class DamageReport:
    """What `Log.check` found. Prints as text, shows as a table in a notebook.

    Attributes
    ----------
    source
        What was read.
    verdict
        ``fine``; ``damaged``: `Log.salvage` brings back what is legible; ``unreadable``: nothing is.
    parts
        Each file.
    tools
        What redis-check-aof, redis-server and aofnb.open make of it; None where they cannot be told: compressed files.
    dialects
        Whose commands these are beside Redis's.
    """

    source: str
    verdict: Verdict
    parts: tuple[PartSurvey, ...]
    tools: CheckReport | None
    dialects: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether everything is fine."""
        return self.verdict == "fine"

    @property
    def exit_code(self) -> int:
        """0 fine, 1 damaged but salvageable, 2 unreadable."""
        return ("fine", "damaged", "unreadable").index(self.verdict)

    @property
    def commands(self) -> int:
        """How many commands are legible."""
        return sum(part.rows for part in self.parts)

    @property
    def lost(self) -> int:
        """How many are lost, at least."""
        return sum(part.lost for part in self.parts)

    @property
    def lost_about(self) -> int:
        """How many are lost, by the size of the gaps."""
        return sum(part.lost_about for part in self.parts)

    @property
    def truncation_keeps(self) -> int:
        """How many are left if the first damaged file is cut at its first damage and later files are not read."""
        kept = 0
        for part in self.parts:
            if part.lf:
                return kept
            if any(each["kind"] not in HARMLESS for each in part.damage):
                return kept + part.before_damage - part.discarded
            kept += part.rows
        return kept

    @property
    def regions(self) -> pd.DataFrame:
        """One row per damaged place: part, offset, nbytes (Int64), kind, lost (Int64, at least), reason."""
        import pandas as pd

        rows = [each for part in self.parts for each in part.damage]
        frame = pd.DataFrame(
            [[each.get(name) for name in _COLUMNS] for each in rows], columns=pd.Index(_COLUMNS, dtype="str")
        )
        return frame.astype({"offset": "int64", "nbytes": "Int64", "lost": "Int64"})

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain JSON."""
        return {
            "source": self.source,
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "commands": self.commands,
            "lost": self.lost,
            "lost_about": self.lost_about,
            "truncation_keeps": self.truncation_keeps,
            "lf_repaired": sum(part.lf for part in self.parts),
            "discarded": sum(part.discarded for part in self.parts),
            "dialects": list(self.dialects),
            "regions": [each for part in self.parts for each in part.damage],
            "redis_check_aof": None if self.tools is None else self.tools.verdict,
            "redis_server": None if self.tools is None else self.tools.server.action,
            "aofnb_open": None if self.tools is None else self.tools.aofnb.action,
        }

    def lines(self) -> list[str]:
        """The report as text."""
        lines = [f"{self.source}: {self.verdict}", f"  {self.told_legible()}"]
        if lf := sum(part.lf for part in self.parts):
            lines.append(f"  {count(lf, 'command')} had their CRs lost, as git does with text: salvage puts them back")
        if discarded := sum(part.discarded for part in self.parts):
            lines.append(f"  {count(discarded, 'command')} in a transaction without EXEC, which no server would run")
        lines += [f"  {place}" for place in self.places()]
        if self.tools is not None:
            lines.append(f"  redis-check-aof   {self.tools.verdict}")
            for who, outcome in (("redis-server 7.0", self.tools.server), ("aofnb.open", self.tools.aofnb)):
                but = "; but" if outcome.action == "loads" and outcome.reason else ""
                lines.append(f"  {who:<16}  {outcome.action}{but} {outcome.reason}".rstrip())
        if self.verdict == "damaged":
            lines.append(
                f"  cutting at the damage keeps {self.truncation_keeps:,}; log.salvage(dest) keeps {self.kept:,}"
            )
        lines += [f"  {dialect}" for dialect in self.dialects]
        return lines

    def told_legible(self) -> str:
        """How many are legible, and how many lost, in words."""
        lost = f", at least {self.lost:,} lost" if self.lost else ""
        about = f", about {self.lost_about:,} by the size of the gaps" if self.lost_about > self.lost else ""
        return f"{count(self.commands, 'command')} legible{lost}{about}"

    def places(self) -> Iterator[str]:
        """The first damaged places of each file, a line each."""
        for part in self.parts:
            for each in part.damage[:_SHOWN]:
                length = "" if each["nbytes"] is None else f", {size(each['nbytes'])}"
                yield f"{each['part']}:{each['offset']}{length}: {each['kind']}: {each['reason']}"
            if len(part.damage) > _SHOWN:
                more = count(len(part.damage) - _SHOWN, "place")
                yield f"and {more} more in {part.part.name}: see .regions, or --json"

    @property
    def kept(self) -> int:
        """How many commands `Log.salvage` would write."""
        return sum(part.kept for part in self.parts)

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        first, *rest = self.lines()
        body = "".join(f"<li>{html.escape(line.strip())}</li>" for line in rest)
        return f"<div><b>{html.escape(first)}</b><ul>{body}</ul></div>"


_COLUMNS = ["part", "offset", "nbytes", "kind", "lost", "reason"]
_SHOWN = 10


class _AsOpened(OsFs):
    """The files of a log, and its manifest, as they were when it was opened, whatever a server did since."""

    def __init__(self, log: Log) -> None:
        self._parts = {part.path: part for part in log.parts if part.type != "history"}
        self._manifest = os.path.abspath(log.place)
        listed = [each for each in self._parts.values() if each.seq is not None]
        types: dict[str, Literal["base", "incr"]] = {"base": "base", "incr": "incr"}
        files = [AofFile(each.name, each.seq or 0, types[each.type]) for each in listed]
        base = next((file for file in files if file.type == "base"), None)
        incrs = tuple(file for file in files if file.type == "incr")
        self._listed = Manifest("", base, incrs).format().encode() if files else None

    def exists(self, path: str) -> bool:
        return path in self._parts or super().exists(path)

    def size(self, path: str) -> int:
        return self._parts[path].size if path in self._parts else super().size(path)

    def listdir(self, path: str) -> list[str]:
        there = {part.name for place, part in self._parts.items() if os.path.dirname(place) == path}
        return sorted({*super().listdir(path), *there})

    def open_read(self, path: str) -> BinaryIO:
        if path == self._manifest and self._listed is not None:
            return io.BytesIO(self._listed)
        return self._parts[path].open_stored() if path in self._parts else super().open_read(path)


def check_log(log: Log, progress: Progress = None) -> DamageReport:
    """The damage map of `log`: see `Log.check`."""
    parts = survey(log, progress)
    tools = None
    if not any(part.compression for part in log.parts):
        tools = check(log.place, fs=_AsOpened(log), progress=teller(progress), reader=TableReader)
    harmed = any(part.lf or any(each["kind"] not in HARMLESS for each in part.damage) for part in parts)
    bad = harmed or (tools is not None and tools.verdict != "valid")
    verdict: Verdict = "fine"
    if bad:
        verdict = (
            "damaged" if any(part.rows for part in parts) or not any(part.part.size for part in parts) else "unreadable"
        )
    return DamageReport(
        log.source, verdict, tuple(parts), tools, tuple(dialect_of(set().union(*(p.unknown for p in parts))))
    )
