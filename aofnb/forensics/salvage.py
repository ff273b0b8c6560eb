"""All that can be had of a damaged log, in a new directory: `Log.salvage`."""

from __future__ import annotations

import html
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

from aofnb.forensics.damage import DamageReport, check_log
from aofnb.forensics.newlog import Written, checked_dest, write_log
from aofnb.forensics.words import count

if TYPE_CHECKING:
    import pandas as pd

    from aofnb.forensics.log import Log
    from aofnb.forensics.reading import Progress

__all__ = ["SalvageReport", "salvage"]


@dataclass(frozen=True, slots=True)
class SalvageReport:
    """What salvage brings back. Prints as text, shows as a list in a notebook.

    Attributes
    ----------
    damage
        The map of the damage, see `Log.check`.
    kept
        Commands that are, or would be, in the new log.
    written
        The new log; None if it was a dry run.
    """

    damage: DamageReport
    kept: int
    dest: str | None
    written: Written | None

    @property
    def regions(self) -> pd.DataFrame:
        """The damaged places, as in `DamageReport.regions`."""
        return self.damage.regions

    @property
    def ok(self) -> bool:
        """Whether the new log loads without a complaint."""
        return self.written is not None and not self.written.problems

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain JSON."""
        return {
            "kept": self.kept,
            "dest": self.dest,
            "damage": self.damage.to_dict(),
            "written": None if self.written is None else self.written.to_dict(),
        }

    def lines(self) -> list[str]:
        """The report as text."""
        lines = self.damage.lines()
        if self.written is None:
            where = f"log.salvage({self.dest!r}, dry_run=False)" if self.dest else "log.salvage(dest, dry_run=False)"
            return [*lines, f"nothing was written; {where} writes {count(self.kept, 'command')} into a new directory"]
        return lines + self.written.lines()

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        return "<pre>" + html.escape(repr(self)) + "</pre>"


def salvage(
    log: Log, dest: str | PathLike[str] | None, *, dry_run: bool, verify: bool, progress: Progress
) -> SalvageReport:
    """See `Log.salvage`."""
    if dest is None and not dry_run:
        raise TypeError("salvage(dest, dry_run=False) needs the path of a new directory")
    path = None if dest is None else checked_dest(log, dest)
    damage = check_log(log, progress)
    shown = None if path is None else str(path)
    if dry_run or path is None:
        return SalvageReport(damage, damage.kept, shown, None)
    about = {"made_by": "aofnb salvage", "source": log.source, "damage": damage.to_dict()}
    written = write_log(log, path, damage.parts, about=about, verify=verify, progress=progress)
    return SalvageReport(damage, written.commands, shown, written)
