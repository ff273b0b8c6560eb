"""When each command ran, where the log does not say: estimates with a bound.

Known, and what is concluded from it, for a log in which time does not go back:

1. ``#TS``: the commands behind it ran in that second, up to where damage may have taken the next one.
2. XADD with an ID that the server made: it has the millisecond. IDs are taken for such if those of a stream lie
   within the time of the log and go up.
3. A deadline: nobody sets one that is over, so the command ran before it. And where all deadlines of a verb and a
   kind of key go up, they are taken for one TTL added to the time: then one command that is bounded from both sides
   bounds the TTL, and the TTL all the others.
4. The creation time of the base, which all that follows ran after; the last change of the file, which all ran before.

Each of these is an interval; intervals of earlier commands bound later ones from below, and the other way round. The
estimate lies inside: where a TTL has room, the roundest that fits is taken; between known commands time is shared out
evenly. `time_err` is how far away the truth can be at most, as long as 1 to 4 hold: deadlines that a client jitters are
recognised and left aside, since they go down at times; a TTL that was changed once, upwards, is not.
"""

from __future__ import annotations

import io
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from aofnb.errors import RdbError
from aofnb.forensics.analysis import deadline_of
from aofnb.forensics.columns import Selection, was_run
from aofnb.forensics.kinds import Kinds, text_of
from aofnb.forensics.reading import Progress, Report
from aofnb.rdb.reader import RdbReader

if TYPE_CHECKING:
    from aofnb.forensics.log import Log
    from aofnb.forensics.parts import Part

__all__ = ["SOURCES", "Times", "infer_time", "times_of"]

SOURCES = ("annotation", "xadd", "deadline", "interpolated", "snapshot", "none")
_ANNOTATION, _XADD, _DEADLINE, _INTERPOLATED, _SNAPSHOT, _NONE = range(len(SOURCES))

Ints = npt.NDArray[np.int64]
Moment = datetime | pd.Timestamp | float | None

_LOW, _HIGH = -(1 << 60), 1 << 60
_ID = re.compile(rb"([0-9]{1,15})-[0-9]{1,19}")
_ID_HEAD = "^(?P<ms>[0-9]{1,15})-[0-9]{1,19}$"
# Where the ID of XADD is, behind options of any usual form.
_WORDS = ("arg2", "arg3", "arg4", "arg5", "arg6")
_SAID = ("cmd", "key", "argc", *_WORDS, "status")
# Deadlines that no calendar has are no times; nor are those before 2001 in milliseconds.
_PLAUSIBLE = (10**12, 253_402_300_799_000)
# In place of a time: the words must be looked at one by one.
_ODD = -2
_FEWEST = 3
_ROUNDS = 4
_SETS = ("SET", "GETEX", "PEXPIREAT", "EXPIREAT", "RESTORE", "XADD")
# What people give as a TTL, in seconds.
_ROUND_S = sorted(
    {n * unit for unit in (1, 60, 3600, 86400) for n in (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 15, 20, 24, 25, 30, 36)}
    | {
        n * unit
        for unit in (1, 60, 3600, 86400)
        for n in (40, 45, 48, 50, 60, 72, 90, 100, 120, 180, 300, 365, 500, 600)
    }
)


@dataclass(frozen=True, slots=True)
class Times:
    """What is known of the time of every row, as steps: arrays over the rows at which something is known.

    Attributes
    ----------
    seq
        Rows, in order.
    low, high
        int64, ms since the epoch: the row ran not before and not behind; beyond +-2**59 nothing is known.
    guess
        Where in between, ms.
    source
        int8, place in `SOURCES`.
    """

    seq: Ints
    low: Ints
    high: Ints
    guess: Ints
    source: npt.NDArray[np.int8]
    snapshots: tuple[tuple[int, int, int | None], ...]

    def at(self, rows: Ints) -> tuple[Ints, Ints, npt.NDArray[np.int8]]:
        """Estimate and greatest error of these rows in ms, and their source; -1 where there is none."""
        estimate = np.full(len(rows), -1, np.int64)
        error = np.full(len(rows), -1, np.int64)
        source = np.full(len(rows), _NONE, np.int8)
        if len(self.seq):
            before = np.searchsorted(self.seq, rows, side="right") - 1
            exact = (before >= 0) & (self.seq[np.maximum(before, 0)] == rows)
            behind = np.minimum(np.searchsorted(self.seq, rows), len(self.seq) - 1)
            beyond = rows > self.seq[-1]
            low = np.where(before >= 0, self.low[np.maximum(before, 0)], self.low[0])
            high = np.where(beyond, self.high[-1], self.high[behind])
            # Before the first known row only what holds for all is known.
            good = (self.source != _NONE) & (np.abs(self.guess) < _HIGH >> 1)
            if good.any():
                guess = np.interp(rows, self.seq[good], self.guess[good]).round().astype(np.int64)
                estimate = np.clip(guess, low, high)
                bounded = (low > _LOW >> 1) & (high < _HIGH >> 1)
                error = np.where(bounded, np.maximum(high - estimate, estimate - low), -1)
                said = self.source[np.maximum(before, 0)]
                # What only bounds others is between them itself.
                source = np.where(exact & (said != _NONE), said, _INTERPOLATED).astype(np.int8)
        for first, last, ctime in self.snapshots:
            inside = (rows >= first) & (rows < last)
            estimate[inside] = -1 if ctime is None else ctime
            error[inside] = -1 if ctime is None else 1000
            source[inside] = _NONE if ctime is None else _SNAPSHOT
        return estimate, error, source

    def columns(self, rows: Ints) -> dict[str, Any]:
        """`time`, `time_src` and `time_err` of these rows, as columns of a frame."""
        estimate, error, source = self.at(rows)
        nat = np.iinfo(np.int64).min
        moments = np.where(estimate < 0, nat, estimate).view("datetime64[ms]")
        return {
            "time": pd.DatetimeIndex(moments).tz_localize("UTC"),
            "time_src": pd.Categorical.from_codes(source, pd.Index(SOURCES)),
            "time_err": pd.TimedeltaIndex(np.where(error < 0, nat, error).view("timedelta64[ms]")),
        }

    def row_of(self, ms: int) -> int:
        """The first row that is estimated to be later than `ms`; behind the last known one if none is."""
        good = self.source != _NONE
        seq, guess = self.seq[good], self.guess[good]
        if not len(seq):
            raise ValueError("nothing in the log tells a time, so no moment can be estimated")
        place = int(np.searchsorted(guess, ms, side="right"))
        if place == 0 or place == len(seq):
            return int(seq[0]) if place == 0 else int(seq[-1]) + 1
        before, behind = int(guess[place - 1]), int(guess[place])
        share = (ms - before) / max(behind - before, 1)
        return int(seq[place - 1]) + 1 + int(share * (int(seq[place]) - int(seq[place - 1]) - 1))


def infer_time(frame: pd.DataFrame, times: Times) -> pd.DataFrame:
    """`frame`, whose index is `seq`, with `time`, `time_src` and `time_err`."""
    if frame.index.name != "seq":
        raise ValueError("rows are found by their number in the log: keep the index `seq`")
    made = frame.copy()
    for name, values in times.columns(frame.index.to_numpy().astype(np.int64)).items():
        made[name] = values
    return made


def times_of(log: Log, mtime: Moment = None, ctime: Moment = None, progress: Progress = None) -> Times:
    """Everything that the log says about time. Memory: 40 bytes for each row that says something.

    Parameters
    ----------
    log
        Which.
    mtime
        When the log was last written; that of its last file by default. A copy's later one only makes bounds wider.
    ctime
        Before which nothing of it was written; by default what the base says.
    progress
        As in `aofnb.read_aof`.
    """
    met = Report()
    said = _said(log, met, progress)
    latest = _ms(mtime)
    if latest is None and log.parts:
        # Whoever wrote within this tick of the file system wrote before its end.
        latest = os.stat(log.parts[-1].path).st_mtime_ns // 1_000_000 + 1000
    snapshots = _snapshots(log, met)
    created = [each for _, _, each in snapshots if each is not None]
    earliest = _ms(ctime) if ctime is not None else max(created, default=None)
    first_live = max((last for _, last, _ in snapshots), default=0)
    kinds = [kind.behind(first_live) for kind in said]
    del said
    floor = _LOW if earliest is None else earliest
    ceiling = _HIGH if latest is None else latest
    turns, ends, seconds = _turns(met)
    # The ends of the log are known, too.
    borders = np.array([first_live, met.rows - 1] if met.rows > first_live else [], np.int64)
    bounds = _Bounds([turns, ends, borders, *(kind.rows for kind in kinds)], floor, ceiling)
    for rows in (turns, ends):
        bounds.annotated(rows, seconds)
    placed = []
    while kinds:
        # Rows and places of all at once would be as much again as the bounds themselves.
        placed.append(bounds.placed(kinds.pop()))
    placed.reverse()
    for kind in placed:
        # A deadline is not over when it is set.
        if not kind.is_xadd:
            bounds.high[kind.rows] = np.minimum(bounds.high[kind.rows], kind.ms)
    bounds.spread()
    used = [kind for kind in placed if len(kind.rows) >= _FEWEST]
    for kind in (each for each in used if each.is_xadd):
        bounds.exact(kind)
    spans: dict[int, tuple[int, int]] = {}
    monotone = [kind for kind in used if not kind.is_xadd and bool((np.diff(kind.ms) >= 0).all())]
    for _ in range(_ROUNDS):
        for number, kind in enumerate(monotone):
            span = bounds.ttl(kind)
            if span is not None:
                spans[number] = span
                bounds.narrow(kind, span)
    for number, span in spans.items():
        bounds.guess_by(monotone[number], span)
    return bounds.times(snapshots)


def _turns(met: Report) -> tuple[Ints, Ints, Ints]:
    """The rows at which the annotated second changes, the last of each that ran in it for sure, and the second."""
    noted = np.array(met.seconds, np.int64).reshape(-1, 2)
    noted = noted[noted[:, 0] < met.rows]
    # Of several before one row the last counts.
    rows, seconds = noted[np.diff(noted[:, 0], append=-1) != 0].T
    changed = np.diff(seconds, prepend=-1) != 0
    rows, seconds = rows[changed], seconds[changed]
    ends = np.append(rows[1:], met.rows) - 1 if len(rows) else rows
    known = seconds >= 0
    return rows[known], ends[known], seconds[known]


@dataclass(frozen=True, slots=True)
class _Kind:
    """Deadlines of one verb and kind of key, or the IDs of one stream: rows, or places of rows, and milliseconds."""

    is_xadd: bool
    rows: Ints
    ms: Ints

    def behind(self, row: int) -> _Kind:
        """Without what is before `row`; rows are in order."""
        begin = int(np.searchsorted(self.rows, row))
        return _Kind(self.is_xadd, self.rows[begin:], self.ms[begin:])


class _Bounds:
    """Intervals of all rows at which something is known; they only ever become narrower.

    Parameters
    ----------
    rows
        Which these are, in pieces; a row may be in several.
    floor, ceiling
        What bounds them all, ms since the epoch.
    """

    def __init__(self, rows: list[Ints], floor: int, ceiling: int) -> None:
        seq = np.concatenate(rows)
        # Pieces that are in order, of which this sort is quick.
        seq.sort(kind="stable")
        is_first = np.ones(len(seq), bool)
        np.not_equal(seq[1:], seq[:-1], out=is_first[1:])
        self.seq = seq[is_first]
        del seq, is_first
        self.low = np.full(len(self.seq), floor, np.int64)
        self.high = np.full(len(self.seq), ceiling, np.int64)
        self.source = np.full(len(self.seq), _NONE, np.int8)
        self.guess = np.full(len(self.seq), _HIGH, np.int64)

    def placed(self, kind: _Kind) -> _Kind:
        """`kind` with places in these arrays for rows of the log."""
        places = np.searchsorted(self.seq, kind.rows)
        return _Kind(kind.is_xadd, places.astype(np.int32) if len(self.seq) < 1 << 31 else places, kind.ms)

    def spread(self) -> None:
        """Time does not go back."""
        np.maximum.accumulate(self.low, out=self.low)
        np.minimum.accumulate(self.high[::-1], out=self.high[::-1])

    def annotated(self, rows: Ints, seconds: Ints) -> None:
        """These rows ran in these seconds."""
        places = np.searchsorted(self.seq, rows)
        self.low[places] = np.maximum(self.low[places], seconds * 1000)
        self.high[places] = np.minimum(self.high[places], seconds * 1000 + 999)
        self.source[places] = _ANNOTATION

    def exact(self, kind: _Kind) -> None:
        """The IDs of a stream as times, if they can be."""
        places, ms = kind.rows, kind.ms
        fits = (ms >= self.low[places]) & (ms <= self.high[places])
        if not fits.all() or (np.diff(ms) < 0).any():
            return
        self.low[places] = np.maximum(self.low[places], ms)
        self.high[places] = np.minimum(self.high[places], ms)
        self.source[places] = np.minimum(self.source[places], _XADD)
        self.spread()

    def ttl(self, kind: _Kind) -> tuple[int, int] | None:
        """The least and the greatest TTL that a kind of key can have; None if it cannot have one."""
        places, ms = kind.rows, kind.ms
        least = max(int((ms - self.high[places]).max()), 0)
        most = int((ms - self.low[places]).min())
        return (least, most) if least <= most else None

    def narrow(self, kind: _Kind, span: tuple[int, int]) -> None:
        """What a TTL within `span` says about the commands."""
        places, ms = kind.rows, kind.ms
        if span[1] < _HIGH >> 1:
            self.low[places] = np.maximum(self.low[places], ms - span[1])
        self.high[places] = np.minimum(self.high[places], ms - span[0])
        self.spread()

    def guess_by(self, kind: _Kind, span: tuple[int, int]) -> None:
        """The roundest TTL within `span`, or the middle of it."""
        least, most = span
        fitting = [second * 1000 for second in _ROUND_S if least <= second * 1000 <= most]
        if not fitting and most >= _HIGH >> 1:
            return
        ttl = fitting[0] if fitting else (least + most) // 2
        places = kind.rows
        better = self.source[places] > _DEADLINE
        self.guess[places[better]] = (kind.ms - ttl)[better]
        self.source[places[better]] = _DEADLINE

    def times(self, snapshots: tuple[tuple[int, int, int | None], ...]) -> Times:
        sure = self.source <= _XADD
        self.guess[sure] = (self.low[sure] + self.high[sure]) // 2
        ends = (self.source == _NONE) & (self.low > _LOW >> 1) & (self.high < _HIGH >> 1)
        only_ends = ends & ((np.arange(len(self.seq)) == 0) | (np.arange(len(self.seq)) == len(self.seq) - 1))
        # At its ends the log is near what bounds it.
        for place in np.flatnonzero(only_ends).tolist():
            self.guess[place] = self.low[place] if place == 0 else self.high[place]
            self.source[place] = _INTERPOLATED
        known = self.source != _NONE
        self.guess[known] = np.clip(self.guess[known], self.low[known], self.high[known])
        self.guess[known] = np.maximum.accumulate(self.guess[known])
        return Times(self.seq, self.low, self.high, self.guess, self.source, snapshots)


def _said(log: Log, met: Report, progress: Progress) -> list[_Kind]:
    """Deadlines and IDs by kind of key, and in `met` what else reading finds; reads the log once."""
    pieces: dict[str, list[tuple[Ints, Ints, Ints]]] = {}
    kinds = Kinds()
    streams: dict[bytes, int] = {}
    for batch in log.read(Selection.of(_SAID, cmd=_SETS, encoding=None), log.tolerant, progress, met):
        cmd = batch.column("cmd")
        run = was_run(batch.column("status"))
        codes = cmd.indices.fill_null(-1).to_numpy()
        for code, word in enumerate(cmd.dictionary.to_pylist()):
            chosen = np.flatnonzero(run & (codes == code)) if word in _SETS else ()
            if not len(chosen):
                continue
            rows = batch.take(pa.array(chosen))
            ms = _times_said(word, rows)
            there = (ms == _ODD) | ((ms >= _PLAUSIBLE[0]) & (ms <= _PLAUSIBLE[1]))
            names = rows.column("key").filter(pa.array(there))
            if word == "XADD":
                named = names.dictionary_encode()
                known = [streams.setdefault(name, len(streams)) for name in named.dictionary.to_pylist()]
                numbers = np.array([*known, -1], np.int32)[named.indices.fill_null(-1).to_numpy()]
            else:
                numbers = kinds.codes(text_of(names))
            pieces.setdefault(word, []).append((rows.column("seq").to_numpy()[there], ms[there], numbers))
    found: list[_Kind] = []
    for word in list(pieces):
        parts = pieces.pop(word)
        seq, ms, numbers = (np.concatenate(column) for column in zip(*parts, strict=True))
        del parts
        keep = _look_at_odd(log, word == "XADD", seq, ms)
        order = np.flatnonzero(keep)[np.argsort(numbers[keep], kind="stable")]
        borders = np.flatnonzero(np.diff(numbers[order], prepend=numbers[order[:1]]))
        found += [_Kind(word == "XADD", seq[mine], ms[mine]) for mine in np.split(order, borders) if len(mine)]
    return found


def _look_at_odd(log: Log, is_xadd: bool, seq: Ints, ms: Ints) -> npt.NDArray[np.bool_]:
    """Put into `ms` what the commands say that are spelled as nobody spells them; which rows say a time."""
    odd = np.flatnonzero(ms == _ODD)
    if len(odd):
        for place, event in zip(odd.tolist(), log.postings().events(seq[odd]), strict=True):
            said = _id_in(event.argv) if is_xadd else deadline_of(event.argv)
            ms[place] = -1 if said is None or not _PLAUSIBLE[0] <= said <= _PLAUSIBLE[1] else said
    return ms >= 0


def _times_said(cmd: str, rows: pa.RecordBatch) -> Ints:
    """The time in ms that each of these calls of `cmd` says, -1 where none, `_ODD` where that is to be looked at."""
    argc = rows.column("argc").to_numpy()
    if cmd == "XADD":
        ms, odd = _first_ids(rows)
    elif cmd == "PEXPIREAT" or cmd == "EXPIREAT":
        ms, odd = _numbers(rows.column("arg2"), argc > 2, 1 if cmd == "PEXPIREAT" else 1000)
    elif cmd == "SET":
        # Of five words the last two may be a deadline; of more, any two.
        odd, ms = argc > 5, np.full(len(argc), -1, np.int64)
        five = np.flatnonzero(argc == 5)
        options, values = (rows.column(name).take(pa.array(five)) for name in ("arg3", "arg4"))
        for option, unit in (("PXAT", 1), ("EXAT", 1000)):
            is_set = _matches(options, f"(?i)^{option}$")
            found, strange = _numbers(values, is_set, unit)
            ms[five[is_set]], odd[five[strange]] = found[is_set], True
    else:
        ms, odd = np.full(len(argc), -1, np.int64), argc > 3
    return np.where(odd, _ODD, ms)


def _first_ids(rows: pa.RecordBatch) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Milliseconds of the first word that is an ID, -1 where none is; and where it may be a later one."""
    ms = np.full(rows.num_rows, -1, np.int64)
    left = np.ones(rows.num_rows, bool)
    for name in _WORDS:
        found = pc.extract_regex(rows.column(name), _ID_HEAD)
        hit = left & found.is_valid().to_numpy(zero_copy_only=False)
        ms[hit] = found.field("ms").filter(pa.array(hit)).cast(pa.string()).cast(pa.int64()).to_numpy()
        left &= ~hit
    return ms, left & (rows.column("argc").to_numpy() > 2 + len(_WORDS))


def _id_in(argv: list[bytes]) -> int | None:
    match = next((found for word in argv[2:] if (found := _ID.fullmatch(word))), None)
    return None if match is None else int(match[1])


def _numbers(texts: pa.Array, chosen: npt.NDArray[np.bool_], unit: int) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """The whole numbers that the chosen texts are, times `unit`, -1 for all others; and which of the chosen are not
    spelled as such.
    """
    plain = chosen & _matches(texts, "^[0-9]{1,15}$")
    numbers = np.full(len(texts), -1, np.int64)
    numbers[plain] = texts.filter(pa.array(plain)).cast(pa.string()).cast(pa.int64()).to_numpy() * unit
    return numbers, chosen & ~plain


def _matches(texts: pa.Array, pattern: str) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = (
        pc.match_substring_regex(texts, pattern).fill_null(False).to_numpy(zero_copy_only=False)
    )
    return found


def _snapshots(log: Log, met: Report) -> tuple[tuple[int, int, int | None], ...]:
    """First row, row behind the last, and creation time in ms of each snapshot of the log."""
    parts = [part for part in log.parts if part.format == "rdb"]
    return tuple((*rows, _created(part)) for part, rows in zip(parts, met.snapshots, strict=True))


def _created(part: Part) -> int | None:
    """When a file that begins with a snapshot was made, in ms; None if it does not say so."""
    with part.open() as file:
        head = file.read(64 << 10)
    try:
        reader = RdbReader(io.BytesIO(head), len(head), checksum="skip")
        next(reader, None)
    except RdbError:
        return None
    return next((int(value) * 1000 for name, value in reader.aux if name == b"ctime" and value.isdigit()), None)


def _ms(moment: Moment) -> int | None:
    if moment is None:
        return None
    if isinstance(moment, datetime):
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return int(moment.timestamp() * 1000)
    return int(float(moment) * 1000)
