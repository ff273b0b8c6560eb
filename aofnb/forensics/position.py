"""Places in a log: between two commands, named so that a person can copy, paste and say them.

A position stands *before* the command it names: the state at it is what that command found. It may be given as

- a row: ``57``, ``"#57"`` (``df.index`` of `aofnb.read_aof`); negative counts from the end;
- a place in a file: ``"appendonly.aof.1.incr.aof:4096"``, as positions print themselves, or as the tuple
  ``("appendonly.aof.1.incr.aof", 4096)``; several rows that rebuild one key of a snapshot share its place:
  ``"appendonly.aof.1.base.rdb:4096+2"`` is the third of them;
- a moment: a datetime, or text such as ``"2026-11-20 14:03:05"`` (UTC unless it says otherwise), ``"#TS:1795183385"``:
  before the first command later than that second; only what the log says by ``#TS`` counts;
- a time of day, ``"14:03"`` or ``"14:03:05"``, where the log has that moment on one day only;
- an estimated moment: ``"~2026-11-20 14:03"``, before the first command that `Log.infer_time` takes to be later;
- ``"start"`` and ``"end"``.
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any, SupportsIndex, TypeGuard

__all__ = ["Estimated", "Place", "Position", "Row", "Second", "TimeOfDay", "Where", "is_place", "parse_position"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ROW = re.compile(r"#?(-?[0-9]+)")
_PLACE = re.compile(r"(.+):([0-9]+)(?:\+([0-9]+))?")
_ANNOTATION = re.compile(r"#TS:([0-9]{1,11})")
_TIME_OF_DAY = re.compile(r"(~?)([0-9]{1,2}:[0-9]{2}(:[0-9]{2})?)")


@dataclass(frozen=True, slots=True)
class Position:
    """A place between two commands of one log.

    Attributes
    ----------
    seq
        Row of the command behind it; at the end of the log, how many rows there are.
    part, offset
        File, by its name in the directory, and byte where that command begins.
    ts
        Seconds since the epoch of the last ``#TS`` before it, None if there was none.
    nth
        How many rows before it are at the same byte: a key of a snapshot may take several commands to rebuild.
    """

    seq: int
    part: str
    offset: int
    ts: int | None = None
    nth: int = 0

    def __str__(self) -> str:
        return f"{self.part}:{self.offset}" + (f"+{self.nth}" if self.nth else "")

    @property
    def time(self) -> datetime | None:
        """The last annotated second before it, in UTC."""
        return None if self.ts is None else datetime.fromtimestamp(self.ts, UTC)


Where = SupportsIndex | str | datetime | Position | tuple[str, SupportsIndex]


@dataclass(frozen=True, slots=True)
class Row:
    """A row number as given; negative counts from the end."""

    seq: int


@dataclass(frozen=True, slots=True)
class Place:
    """A file of the log, an offset in it, and how many rows at that offset are left aside."""

    part: str
    offset: int
    nth: int = 0


@dataclass(frozen=True, slots=True)
class Second:
    """The end of a second, in seconds since the epoch."""

    ts: int


@dataclass(frozen=True, slots=True)
class TimeOfDay:
    """The end of a second of some day that the log knows; UTC."""

    time: time


@dataclass(frozen=True, slots=True)
class Estimated:
    """A moment as `Log.infer_time` estimates it, in milliseconds since the epoch."""

    ms: int


def parse_position(where: Where) -> Row | Place | Second | TimeOfDay | Estimated:
    """What kind of place `where` names; only the log knows whether there is one.

    >>> parse_position("#57"), parse_position("appendonly.aof.1.incr.aof:4096")
    (Row(seq=57), Place(part='appendonly.aof.1.incr.aof', offset=4096, nth=0))
    >>> parse_position("2026-11-20 14:03:05"), parse_position("start")
    (Second(ts=1795183385), Row(seq=0))

    Raises
    ------
    ValueError
        For a text that is none of the forms.
    TypeError
        For anything else.
    """
    if isinstance(where, Position):
        return Row(where.seq)
    if isinstance(where, datetime):
        if where != where:
            raise ValueError(f"{where} is no time: the log may have none, see Log.infer_time")
        return _second(where)
    if is_place(where):
        return Place(where[0], operator.index(where[1]))
    if not isinstance(where, str):
        try:
            if isinstance(where, bool | tuple):
                raise TypeError
            return Row(operator.index(where))
        except TypeError:
            raise TypeError(f"a position is a row number, a time, 'file:offset' or a Position, not {where!r}") from None
    text = where.strip()
    if text == "start":
        return Row(0)
    if match := _ROW.fullmatch(text):
        return Row(int(match[1]))
    if match := _ANNOTATION.fullmatch(text):
        return Second(int(match[1]))
    # As texts of this package say it.
    text = text.removesuffix(" UTC")
    if match := _TIME_OF_DAY.fullmatch(text):
        return _time_of_day(where, *match.group(1, 2))
    try:
        if text.startswith("~"):
            return Estimated(_milliseconds(datetime.fromisoformat(text[1:].strip())))
        return _second(datetime.fromisoformat(text))
    except ValueError:
        pass
    if match := _PLACE.fullmatch(text):
        return Place(match[1], int(match[2]), int(match[3] or 0))
    raise ValueError(
        f"{where!r} names no position: give a row ('#57'), 'file:offset', a time ('2026-11-20 14:03:05', '14:03'; "
        "estimated with ~ in front), "
        "'start' or 'end'"
    )


def is_place(where: Any) -> TypeGuard[tuple[str, SupportsIndex]]:
    """Whether that is a file and an offset."""
    return isinstance(where, tuple) and [hasattr(each, "__index__") for each in where] == [False, True]


def _time_of_day(where: str, estimated: str, text: str) -> TimeOfDay:
    if estimated:
        raise ValueError(f"{where!r}: an estimated time needs its day: '~2026-11-20 {text}'")
    try:
        return TimeOfDay(time.fromisoformat(text.zfill(5 if text.count(":") == 1 else 8)))
    except ValueError as problem:
        raise ValueError(f"{where!r} is no time of day: {problem}") from None


def _second(moment: datetime) -> Second:
    return Second(_milliseconds(moment) // 1000)


def _milliseconds(moment: datetime) -> int:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(milliseconds=1)
