"""A log as a thing to ask: opened lazily, never written, read again for every question.

What it reads is what was there when it was opened: a file that has grown since is read up to its old size.
"""

from __future__ import annotations

import html
import importlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

from aofnb.clock import Clock, SystemClock
from aofnb.forensics.cache import Cache, CacheDir
from aofnb.forensics.index import Index, Mark, keep_index, kept_index
from aofnb.forensics.position import Position, Where
from aofnb.forensics.reading import OnBad, Progress, Report, rows_between
from aofnb.forensics.rows import build_index, read_rows
from aofnb.forensics.sources import Compression, Source, found_parts
from aofnb.forensics.words import count, size

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from aofnb.engine.store import Store
    from aofnb.forensics.columns import Selection
    from aofnb.forensics.damage import DamageReport
    from aofnb.forensics.effects import Effects
    from aofnb.forensics.follow import Follow
    from aofnb.forensics.frame import DtypeBackend, FrameReader
    from aofnb.forensics.newlog import Written
    from aofnb.forensics.postings import Postings
    from aofnb.forensics.recover import Mode, Plan
    from aofnb.forensics.salvage import SalvageReport
    from aofnb.forensics.times import Moment, Times
    from aofnb.forensics.travel import Checkpoints
    from aofnb.forensics.triage import Triage

__all__ = ["Log", "scan"]


class Log:
    """An append-only file, or a directory of them: ours, Redis's or Valkey's.

    Made by `scan`. Counting and exporting read the files from the beginning, in chunks. Whatever speaks
    Arrow takes it as it is: ``pyarrow.table(log)``, ``duckdb.sql("select cmd, count(*) from log group by 1")``.

    Attributes
    ----------
    source
        Path of the manifest, or of the one file; the address, where it was copied from one.
    place
        Where the manifest or the file is on this machine.
    parts
        The files that a server would load, in order.
    cache
        What was learnt about it, outside of its directory; ``log.cache.clear()`` forgets it.
    """

    def __init__(
        self,
        path: Source,
        *,
        on_bad: OnBad = "error",
        cache_dir: CacheDir = None,
        compression: Compression = "infer",
        storage_options: Mapping[str, Any] | None = None,
        history: bool = False,
    ) -> None:
        # A copy of what is not here lives as long as this.
        self.source, self.place, self.parts, self._copied = found_parts(path, compression, storage_options, history)
        self._on_bad = _checked(on_bad)
        # Rows have other numbers where those behind damage count.
        self.cache = Cache(
            self.source + ("#resync" if on_bad == "resync" else "") + "#history" * history, self._bytes, cache_dir
        )
        self._len: int | None = None
        self._index: Index | None = None
        self._postings: Postings | None = None
        self._times: Times | None = None
        self._checkpoints: Checkpoints | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Another process is told what to read, and not what was learnt, which may be as large as the log.
        return self.__dict__ | dict.fromkeys(("_index", "_postings", "_times", "_checkpoints"))

    def to_pandas(
        self,
        *,
        columns: Iterable[str] | None = None,
        nrows: int | None = None,
        chunksize: int | None = None,
        encoding: str | None = "utf-8",
        encoding_errors: str = "backslashreplace",
        cmd: str | Iterable[str] | None = None,
        key: str | bytes | Iterable[str | bytes] | None = None,
        db: int | Iterable[int] | None = None,
        start: Where | None = None,
        stop: Where | None = None,
        on_bad: OnBad | None = None,
        progress: Progress = None,
        iterator: bool = False,
        dtype_backend: DtypeBackend | None = None,
        replay: bool = False,
    ) -> pd.DataFrame | FrameReader:
        """The commands as a DataFrame, or as an iterator of them: see `aofnb.read_aof`."""
        from aofnb.forensics.columns import EFFECT_COLUMNS, TIME_COLUMNS, Selection
        from aofnb.forensics.frame import of_backend, read_frame, read_frames

        # What is no list of names is told so by Selection.
        wanted = list(columns) if isinstance(columns, Iterable) and not isinstance(columns, str) else None
        made = (*TIME_COLUMNS, *EFFECT_COLUMNS) if replay else TIME_COLUMNS
        stored = columns if wanted is None else [name for name in wanted if name not in made]
        timed = wanted is not None and any(name in TIME_COLUMNS for name in wanted)
        if replay and wanted is not None and not any(name in EFFECT_COLUMNS for name in wanted):
            wanted += EFFECT_COLUMNS
        selection = Selection.of(stored, cmd, key, db, encoding, encoding_errors)
        on_bad = self._on_bad if on_bad is None else _checked(on_bad)
        effects: Effects | None = None
        if replay:
            from aofnb.forensics.effects import Effects

            effects = Effects(self, on_bad)

        def finished(frame: pd.DataFrame) -> pd.DataFrame:
            if timed:
                frame = self.infer_time(frame)
            if effects is not None:
                frame = effects.of(frame)
            if timed or effects is not None:
                frame = of_backend(frame, dtype_backend)
            return frame if wanted is None else frame[wanted]

        if chunksize is None and not iterator:
            return finished(read_frame(self, selection, nrows, on_bad, progress, start, stop, dtype_backend))
        reader = read_frames(self, selection, nrows, chunksize, on_bad, progress, start, stop, dtype_backend)
        reader.finish_with(finished)
        return reader

    def infer_time(
        self,
        frame: pd.DataFrame | None = None,
        *,
        mtime: Moment = None,
        ctime: Moment = None,
        progress: Progress = None,
    ) -> pd.DataFrame:
        """When each command ran: as the log says, or as can be concluded from stream IDs, deadlines and the files.

        Parameters
        ----------
        frame
            Rows of this log, with their index `seq`; by default all of them, with the default columns.
        mtime
            When the log was last written, as datetime or seconds since the epoch; by default when its last file was.
            A copy, or a checkout by git, has another: then say what you know.
        ctime
            When it was begun; by default what the base says.
        progress
            As in `aofnb.read_aof`.

        Returns
        -------
        pandas.DataFrame
            The frame with `time` (datetime64[ms, UTC], NaT where nothing is known), `time_src` (category: annotation,
            xadd, deadline, interpolated, snapshot, none) and `time_err` (timedelta: how far away the truth can be at
            most, NaT where nothing bounds it). On what the bound rests is said in `aofnb.forensics.times`.
        """
        from aofnb.forensics.times import infer_time

        rows: Any = self.to_pandas(on_bad=self.tolerant) if frame is None else frame
        return infer_time(rows, self.times(mtime, ctime, progress))

    def times(self, mtime: Moment = None, ctime: Moment = None, progress: Progress = None) -> Times:
        """What `infer_time` knows, for any row; kept if nothing is given."""
        from aofnb.forensics.times import times_of

        if mtime is not None or ctime is not None:
            return times_of(self, mtime, ctime, progress)
        if self._times is None:
            self._times = times_of(self, progress=progress)
        return self._times

    def batches(
        self,
        *,
        columns: Iterable[str] | None = None,
        encoding: str | None = "utf-8",
        encoding_errors: str = "backslashreplace",
        cmd: str | Iterable[str] | None = None,
        key: str | bytes | Iterable[str | bytes] | None = None,
        db: int | Iterable[int] | None = None,
        start: Where | None = None,
        stop: Where | None = None,
        on_bad: OnBad | None = None,
        progress: Progress = None,
    ) -> Iterator[pa.RecordBatch]:
        """The commands as Arrow record batches, a few megabytes of log each; `seq` is the first column."""
        from aofnb.forensics.columns import Selection

        selection = Selection.of(columns, cmd, key, db, encoding, encoding_errors)
        on_bad = self._on_bad if on_bad is None else _checked(on_bad)
        return self.read(selection, on_bad, progress, Report(), start, stop)

    def read(
        self,
        selection: Selection,
        on_bad: OnBad,
        progress: Progress,
        report: Report,
        start: Where | None = None,
        stop: Where | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """What `batches` and `to_pandas` share; fills `report` on the way."""
        if on_bad == "resync" and self.tolerant != "resync" and (start, stop) != (None, None):
            raise ValueError("rows behind damage have no number here: open it with scan(path, on_bad='resync')")
        first = 0 if start is None else self.position(start).seq
        last = None if stop is None else self.position(stop).seq
        begin = self.index().before_row(first) if first else None
        for batch in read_rows(self.parts, selection, on_bad, progress, report, begin):
            if first or last is not None:
                batch = rows_between(batch, first, last)
            # What a filter left empty still says that reading goes on.
            if batch is None:
                return
            yield batch
        if begin is None:
            self.note_rows(report, on_bad)

    def note_rows(self, report: Report, on_bad: OnBad) -> None:
        """All of the log was read, and `report` says how many rows there are, and where reading can begin."""
        if on_bad in ("error", self.tolerant):
            self._len = report.rows
            if report.index is not None:
                self.note_index(report.index)

    def note_index(self, index: Index) -> None:
        """All of the log was read for something else, and this came of it, too."""
        if self._index is None:
            self._index = kept_index(self)
        if self._index is None:
            self._index = index
            keep_index(self, index)

    @property
    def copied(self) -> bool:
        """Whether what is read is a copy, because what was given is elsewhere, or can be read only once."""
        return self._copied is not None

    @property
    def tolerant(self) -> OnBad:
        """How rows are numbered, whatever is wrong with the files: those behind damage count only with ``resync``."""
        return "resync" if self._on_bad == "resync" else "truncate"

    # --- places ------------------------------------------------------------------------------------------

    def index(self, *, progress: Progress = None) -> Index:
        """Where reading can begin. The first call reads the log once, if what it found is not in the cache."""
        if self._index is None:
            self._index = kept_index(self)
            if self._index is None:
                self._index = build_index(self.parts, self.tolerant, progress)
                keep_index(self, self._index)
            if self._on_bad == self.tolerant or not self._index.damage:
                self._len = self._index.rows
        return self._index

    def postings(self, *, progress: Progress = None) -> Postings:
        """Which rows each key is in. The first call reads the log once, or as much of it as is not in the cache."""
        if self._postings is None:
            from aofnb.forensics.postings import postings_of

            self._postings = postings_of(self, progress)
        return self._postings

    @property
    def checkpoints(self) -> Checkpoints:
        """States on the way through the log, from which time travel begins."""
        if self._checkpoints is None:
            from aofnb.forensics.travel import Checkpoints

            self._checkpoints = Checkpoints(self)
        return self._checkpoints

    def position(self, where: Where) -> Position:
        """The place that `where` names, see `aofnb.forensics.position`; reads the log once if it was not yet.

        Raises
        ------
        ValueError
            There is no such place, or `where` has none of the forms.
        """
        from aofnb.forensics.places import find_position

        return find_position(self, where)

    def at(self, where: Where, *, progress: Progress = None) -> Store:
        """The data as the command at `where` found it, in a read-only store on which every command works.

        Parameters
        ----------
        where
            A position: see `aofnb.forensics.position`.
        progress
            As in `aofnb.read_aof`.

        Examples
        --------
        ``log.at(57)`` is what was there before row 57 ran; ``log.at("end")`` what a server would load now.
        """
        from aofnb.forensics.travel import store_at

        return store_at(self, self.position(where), progress)

    def explorer(self, key: str | bytes | None = None, where: Where = "end", *, db: int = 0) -> Any:
        """A slider through the time of this log: the keys and one value as they were. Needs a notebook.

        Parameters
        ----------
        key
            The key to look at, with buttons to its next and previous write.
        where
            The position to begin at.
        db
            The database to look at.

        Returns
        -------
        aofnb.Explorer
        """
        # What shows things is in a package beside this one.
        return importlib.import_module("aofnb").Explorer(self, key=key, where=where, db=db)

    # --- questions ---------------------------------------------------------------------------------------

    def triage(self, *, progress: Progress = None) -> Triage:
        """The first look: is it whole, what is in it, what looks wrong, what to ask next. Reads the log once."""
        from aofnb.forensics.triage import triage

        return triage(self, progress)

    def find(
        self,
        what: str | bytes | re.Pattern[Any],
        *,
        start: Where = "start",
        stop: Where = "end",
        limit: int = 1000,
        progress: Progress = None,
    ) -> pd.DataFrame:
        """Commands with an argument in which `what` occurs, names and keys included.

        Parameters
        ----------
        what
            Text, bytes, or a compiled pattern, which is matched against the bytes of each argument.
        start, stop
            Only between these positions.
        limit
            No more rows than this.
        progress
            As in `aofnb.read_aof`.

        Returns
        -------
        pandas.DataFrame
            One row per argument with a hit: the columns of `aofnb.read_aof`, `arg` (its number, 0 is the name) and
            `excerpt` (bytes around the first hit).
        """
        from aofnb.forensics.history import find

        return find(self, what, self.position(start), self.position(stop), limit, progress)

    def history(
        self,
        key: str | bytes,
        *,
        db: int = 0,
        start: Where = "start",
        stop: Where = "end",
        values: bool = False,
        progress: Progress = None,
    ) -> pd.DataFrame:
        """Everything that happened to `key`: who wrote, who deleted, and why as far as the log is evidence of it.

        Parameters
        ----------
        key, db
            Which.
        start, stop
            Only between these positions.
        values
            Also `type` and `value`: what the key held behind each command. Every value is kept as a whole, so ask
            only of keys whose values are small, or between near positions.
        progress
            As in `aofnb.read_aof`.

        Returns
        -------
        pandas.DataFrame
            Indexed by `seq`: `part`, `offset`, `ts`, `db`, `txn`, `cmd`, `args` (list of bytes), `status`, `role` (OW
            overwritten, RW changed, RO read, RM removed) and `cause`: client, overwrite, delete, expiry, expiry
            suspected, eviction suspected, flush, swap, rename, copy, move, restore, snapshot, script, not run.
        """
        from aofnb.forensics.history import history
        from aofnb.forensics.slicing import as_bytes

        self.postings(progress=progress)
        return history(self, as_bytes(key), db, self.position(start), self.position(stop), values, progress)

    def last_write(
        self,
        key: str | bytes,
        field: str | bytes | None = None,
        *,
        db: int = 0,
        before: Where = "end",
        progress: Progress = None,
    ) -> pd.Series | None:
        """The last command before a position that wrote `key`, or one field of it; None if there was none.

        Parameters
        ----------
        key, db
            Which.
        field
            Field of a hash, or member of a set or sorted set.
        before
            A position.
        progress
            As in `aofnb.read_aof`.
        """
        from aofnb.forensics.history import last_write
        from aofnb.forensics.slicing import as_bytes

        part = None if field is None else as_bytes(field)
        self.postings(progress=progress)
        return last_write(self, as_bytes(key), part, db, self.position(before), progress)

    def get(self, key: str | bytes, *, db: int = 0, at: Where = "end") -> Any:
        """What `key` held at a position, by running only the commands that had a part in it.

        Where scripts stand in the log (EVAL, FCALL), nobody can say which commands those are: then the whole log is
        replayed, and a warning logged.

        Parameters
        ----------
        key, db
            Which.
        at
            A position; the command there has not run yet.

        Returns
        -------
        bytes, list, set, dict or None
            A hash is a dict, a sorted set a dict of scores, a stream a dict from ids to pairs of field and value;
            None if there was none.
        """
        from aofnb.forensics.slicing import as_bytes, get

        self.postings()
        return get(self, as_bytes(key), db, self.position(at))

    def diff(
        self,
        a: Where,
        b: Where,
        *,
        key: str | bytes | None = None,
        db: int | None = None,
        progress: Progress = None,
    ) -> pd.DataFrame:
        """What changed between two positions, key by key.

        Only keys that a command in between names are compared; after FLUSH*, SWAPDB or a script in between, all are.
        Both values of every changed key are held in memory.

        Parameters
        ----------
        a, b
            The earlier position, and the later one.
        key, db
            Only this key, only this database.
        progress
            As in `aofnb.read_aof`.

        Returns
        -------
        pandas.DataFrame
            `db`, `key` (bytes), `change` (added, removed, modified, type-changed, ttl-changed), `type`, `before` and
            `after` (as `get` gives them), `detail` (list of (element, before, after); empty unless a collection was
            modified), `deadline_before`, `deadline_after`.
        """
        from aofnb.forensics.changes import diff
        from aofnb.forensics.slicing import as_bytes

        name = None if key is None else as_bytes(key)
        self.postings(progress=progress)
        return diff(self, self.position(a), self.position(b), name, db, progress)

    def blame(self, key: str | bytes, *, db: int = 0, at: Where = "end", progress: Progress = None) -> pd.DataFrame:
        """Which command each element of `key` is of, as it was at a position.

        Returns
        -------
        pandas.DataFrame
            `element` (field, member, stream ID, index in a list, ``"begin:end"`` of bytes in a string), `value`, and of
            the command: `seq`, `part`, `offset`, `ts`, `cmd`, `args`. A counter is of its last increment; what a RENAME
            moved is still of who wrote it. Empty if there was no such key.

        Raises
        ------
        ValueError
            A script stands in the log: nobody can tell what it wrote.
        """
        from aofnb.forensics.blame import blame
        from aofnb.forensics.slicing import as_bytes

        self.postings(progress=progress)
        return blame(self, as_bytes(key), db, self.position(at), progress)

    def bisect(
        self,
        predicate: Callable[[Store], object],
        *,
        lo: Where = "start",
        hi: Where = "end",
        progress: Progress = None,
    ) -> pd.Series | None:
        """The first command after which something is so: the one that made `predicate` true.

        As with git bisect there should be one such moment; if there are several, one of them is found.

        Parameters
        ----------
        predicate
            Takes a read-only store, as `at` gives it: ``lambda s: int(s.execute("GET", "stock") or 0) < 0``.
        lo, hi
            A position at which it is not so, and one at which it is.
        progress
            As in `aofnb.read_aof`.

        Returns
        -------
        pandas.Series
            The row: its name is `seq`. Of a transaction, that of EXEC. None if it is not so at `hi`.

        Raises
        ------
        ValueError
            It is so at `lo`.
        """
        from aofnb.forensics.changes import bisect

        self.postings(progress=progress)
        return bisect(self, predicate, self.position(lo), self.position(hi), progress)

    def waste(self, *, by: Literal["template", "key", "cmd"] = "template", progress: Progress = None) -> pd.DataFrame:
        """Which bytes of the log no longer count, because a later command overwrote or removed what they made.

        Commands that change a value in place (INCR, HSET) count as live until their key is overwritten, so a rewrite
        saves at least `dead_bytes`. ``attrs["waste"]`` has the sums: `bytes`, `dead_bytes`, `live_bytes`,
        `amplification` (bytes per live byte) and `replay_s`, how many seconds a restart takes, at the speed at which
        this machine replays the beginning of the log.

        Parameters
        ----------
        by
            Row per kind of key, per key (memory grows with their number), or per command.
        progress
            As in `aofnb.read_aof`.

        Returns
        -------
        pandas.DataFrame
            Indexed by it: `commands`, `bytes`, `dead_bytes`, `dead` (share); most dead bytes first. What has no key
            (SELECT, MULTI, ...) is in a row ``(no key)``.
        """
        from aofnb.forensics.waste import waste

        return waste(self, by, progress)

    def amplification(self, *, progress: Progress = None) -> float:
        """How many bytes the log has for each that still counts; infinite if none does. See `waste`."""
        sums = self.waste(progress=progress).attrs["waste"]
        return float(sums["amplification"])

    def follow(self, *, columns: Iterable[str] | None = None, poll: float = 0.2, clock: Clock | None = None) -> Follow:
        """New commands as they come, in frames, from where the log ends now; it goes on over rewrites. What several
        rewrites within one `poll` took away is lost, which a warning says.

        Every frame has whole units only. Iterate over it; ``stop()``, from another thread or by leaving ``with``, ends
        it. Where what was read is no longer there, since the file was cut, restored, or replaced as servers of before
        7.0 do in a rewrite, AofError is raised.

        Parameters
        ----------
        columns
            As in `aofnb.read_aof`.
        poll
            Seconds between two looks at the files.
        clock
            What waits; for tests.
        """
        from aofnb.forensics.follow import Follow

        return Follow(self, columns, poll, SystemClock() if clock is None else clock)

    def read_from(self, mark: Mark, stop: int, selection: Selection) -> Iterator[pa.RecordBatch]:
        """The rows from a mark of the index to before row `stop`: a piece of the log for one of many workers."""
        for batch in read_rows(self.parts, selection, self._on_bad, None, Report(), mark):
            rows = rows_between(batch, mark.seq, stop)
            if rows is None:
                return
            yield rows

    # --- damage and repair -------------------------------------------------------------------------------

    def check(self, *, progress: Progress = None) -> DamageReport:
        """Where the log is damaged, what is legible all the same, and what each tool would do with it.

        Reads everything, over all damage, and changes nothing. `.regions` is a DataFrame of the damaged places, `.ok`
        and `.exit_code` (0 fine, 1 damaged but salvageable, 2 unreadable) are for programs.
        """
        from aofnb.forensics.damage import check_log

        return check_log(self, progress)

    def salvage(
        self,
        dest: str | PathLike[str] | None = None,
        *,
        dry_run: bool = True,
        verify: bool = True,
        progress: Progress = None,
    ) -> SalvageReport:
        """Write all that is legible of a damaged log into the new data directory `dest`; only told, if `dry_run`.

        Nothing is cut: reading goes on behind damage, lost CRs are put back, a transaction without EXEC is left out as
        a server would. What was read is never written. A report in JSON stands beside the new log.

        Parameters
        ----------
        dest
            A directory that does not exist, or is empty: what `aofnb.open` takes and redis-server calls dir.
        dry_run
            Say what would be done, and do nothing.
        verify
            Load the new log, and have redis-server load a copy of it where there is one.
        progress
            As in `aofnb.read_aof`.

        Raises
        ------
        AofError
            There is something at `dest`, or it is inside the log.
        """
        from aofnb.forensics.salvage import salvage

        return salvage(self, dest, dry_run=dry_run, verify=verify, progress=progress)

    def recover(
        self,
        *,
        drop: Any = None,
        stop: Where | None = None,
        keep: str | bytes | Iterable[str | bytes] | None = None,
        progress: Progress = None,
    ) -> Plan:
        """A plan for a log without what went wrong; `plan.write(dest)` makes it, in a new directory.

        The plan prints which keys would be other than now, and which commands then fail.

        Parameters
        ----------
        drop
            Commands to leave out: a position, a list of them, rows of a DataFrame of this log, or the name of a command
            (``"FLUSHALL"``: all of them). MULTI or EXEC stand for their transaction.
        stop
            Leave out everything from this position on.
        keep
            Only commands with a key that matches this pattern, or one of these; FLUSHALL and its like stay, too.
        progress
            As in `aofnb.read_aof`; the log is read several times.

        Examples
        --------
        ``log.recover(drop="FLUSHALL").write("fixed")``
        """
        from aofnb.forensics.recover import recover

        return recover(self, drop, stop, keep, progress)

    def undo(
        self,
        what: Any,
        mode: Mode = "graft",
        dest: str | PathLike[str] | None = None,
        *,
        progress: Progress = None,
    ) -> Plan:
        """A plan for a log in which some commands are undone; written at once if `dest` is given.

        Parameters
        ----------
        what
            The commands, as `recover` takes them.
        mode
            ``graft`` keeps everything and puts back, behind it, the keys that these commands took and that are absent
            now; ``rewind`` ends the log before the first of them; ``excise`` leaves them out and runs all others.
        dest
            A new data directory.
        progress
            As in `aofnb.read_aof`; the log is read several times.

        Raises
        ------
        ValueError
            There is no such command, or graft cannot tell which keys it touched (EVAL, FCALL, SWAPDB).
        """
        from aofnb.forensics.recover import undo

        plan = undo(self, what, mode, progress)
        if dest is not None:
            plan.write(dest, progress=progress)
        return plan

    def find_pii(
        self,
        kinds: Iterable[str] = ("email", "jwt", "card", "phone", "ip"),
        *,
        show: bool = False,
        progress: Progress = None,
    ) -> pd.DataFrame:
        """Count what looks like personal data, by kind of key and command.

        Columns: kind, template (of the first key), cmd, count, commands (int64), first (row), example. Examples are
        masked unless `show`. Names and free text are not looked for: an empty answer is no proof.
        """
        from aofnb.forensics.privacy import find_pii

        return find_pii(self, kinds, show, progress)

    def anonymize(
        self,
        dest: str | PathLike[str],
        *,
        secret: bytes,
        plain: Sequence[str] = (),
        verify: bool = True,
        progress: Progress = None,
    ) -> Written:
        """Write the log without what it says into the new data directory `dest`: for a bug report, or a stranger.

        Every word and number in keys and values becomes another of the same length, the same always the same, so sizes,
        equal keys, kinds of keys, types, times, transactions and the order of commands stay. What commands compute with
        stays, too: scores, increments, indices, deadlines and IDs of streams; and scripts do, which `problems` tells.

        Parameters
        ----------
        dest
            A directory that does not exist, or is empty.
        secret
            At least 16 bytes, not to be given away; the same one makes the same log.
        plain
            Words that stay as they are, such as parts of keys: ``["user", "cart"]``.
        verify
            Load the new log, and have redis-server load a copy of it where there is one.
        progress
            As in `aofnb.read_aof`.
        """
        from aofnb.forensics.privacy import anonymize

        return anonymize(self, dest, secret=secret, plain=plain, verify=verify, progress=progress)

    # --- for other tools ---------------------------------------------------------------------------------

    def to_parquet(
        self,
        dest: str | PathLike[str],
        *,
        columns: Iterable[str] | None = None,
        compression: str = "zstd",
        row_group_rows: int = 128 << 10,
        progress: Progress = None,
        **filters: Any,
    ) -> int:
        """Write the commands to the Parquet file `dest`, replacing it once it is whole; returns how many.

        Readable by pandas, DuckDB, polars and Spark as it is. Memory is bounded by a row group.

        Parameters
        ----------
        dest
            Where to write; on the same disk there must be room for the old and the new file.
        columns
            As in `aofnb.read_aof`; add ``args`` for everything that was said.
        compression
            What Parquet offers: zstd, snappy, gzip, lz4, none.
        row_group_rows
            Rows of one row group.
        progress
            As in `aofnb.read_aof`.
        **filters
            ``cmd``, ``key``, ``db``, ``start``, ``stop``, ``on_bad`` as in `aofnb.read_aof`.
        """
        from aofnb.forensics.export import to_parquet

        return to_parquet(
            self,
            dest,
            columns=columns,
            compression=compression,
            row_group_rows=row_group_rows,
            progress=progress,
            **filters,
        )

    def sql(self, query: str, *, progress: Progress = None) -> pd.DataFrame:
        """Ask DuckDB; the log is the table ``log``, with the columns of `aofnb.read_aof`. Needs ``aofnb[sql]``.

        Only columns that the query names are read; ``select *`` has the default ones. The log is streamed: memory
        does not grow with its size.

        Examples
        --------
        ``log.sql("select cmd, count(*) n, sum(nbytes) bytes from log group by cmd order by bytes desc")``
        """
        from aofnb.forensics.export import sql

        return sql(self, query, progress=progress)

    def to_polars(self, *, lazy: bool = False, **options: Any) -> Any:
        """The commands as a polars DataFrame. Needs ``aofnb[polars]``.

        Parameters
        ----------
        lazy
            A LazyFrame instead, which reads when collected, and then only the columns and rows it needs.
        **options
            ``columns``, ``cmd``, ``key``, ``db``, ``start``, ``stop``, ``encoding``, ``on_bad`` as in
            `aofnb.read_aof`.
        """
        from aofnb.forensics.export import to_polars

        return to_polars(self, lazy=lazy, **options)

    def to_dask(self, *, columns: Iterable[str] | None = None, split_rows: int = 1_000_000, **options: Any) -> Any:
        """The commands as a Dask DataFrame for many cores or machines that see the same files.

        Needs ``aofnb[dask]``. The pieces are cut where the index has marks, so each is exact: databases,
        transactions and seconds are those of one pass. Aggregate inside a piece, and shuffle no raw keys. Of many logs
        `aofnb.to_dask` makes one frame.

        Parameters
        ----------
        columns
            As in `aofnb.read_aof`. `cmd`, `part` and `status` are strings here.
        split_rows
            Rows of one piece, about.
        **options
            ``cmd``, ``key``, ``db``, ``encoding``, ``encoding_errors`` as in `aofnb.read_aof`.
        """
        from aofnb.forensics.export import to_dask

        return to_dask(self, columns=columns, split_rows=split_rows, **options)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        import pyarrow as pa

        from aofnb.forensics.columns import Selection

        schema = Selection.of().schema()
        return pa.RecordBatchReader.from_batches(schema, self.batches()).__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self) -> object:
        from aofnb.forensics.columns import Selection

        return Selection.of().schema().__arrow_c_schema__()

    def __len__(self) -> int:
        """How many commands there are: reads everything once, if it is not known."""
        if self._len is None:
            self.index()
        if self._len is None:
            # What is wrong with it is an error of whoever counts.
            self._len = build_index(self.parts, self._on_bad).rows
        return self._len

    def __bool__(self) -> bool:
        # Without this, `if log:` would read the whole log.
        return True

    def __repr__(self) -> str:
        lines = [f"<aofnb.Log {self.source!r}: {count(len(self.parts), 'file')}, {size(self._bytes)}{self._known()}>"]
        lines += [f"  {part.type:6}  {part.format:4}  {size(part.size):>9}  {part.name}" for part in self.parts]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(part.name)}</td><td>{part.type}</td><td>{part.format}</td>"
            f"<td style='text-align:right'>{size(part.size)}</td></tr>"
            for part in self.parts
        )
        return (
            f"<div><b>Log</b> <code>{html.escape(self.source)}</code>: {count(len(self.parts), 'file')}, "
            f"{size(self._bytes)}{self._known()}"
            f"<table><thead><tr><th>file</th><th>type</th><th>format</th><th>size</th></tr></thead>"
            f"<tbody>{rows}</tbody></table></div>"
        )

    @property
    def _bytes(self) -> int:
        return sum(part.size for part in self.parts)

    def _known(self) -> str:
        return "" if self._len is None else f", {count(self._len, 'command')}"


def scan(
    path: Source,
    *,
    on_bad: OnBad = "error",
    cache_dir: CacheDir = None,
    compression: Compression = "infer",
    storage_options: Mapping[str, Any] | None = None,
    history: bool = False,
) -> Log:
    """Open a log for questions, without reading it yet and without ever writing to it.

    Parameters
    ----------
    path
        A directory such as ``appendonlydir`` or the one it is in, a manifest, or a single append-only file; files
        may be compressed with gzip or zstd. Also a file open for reading bytes, a pipe, and an address that fsspec
        knows (``s3://bucket/dir``; needs ``aofnb[remote]``): these are copied into a temporary directory first. A
        pattern or a list must name one log.
    on_bad
        What counting and exporting do where the log is cut or damaged; see `aofnb.read_aof`.
    cache_dir
        Where to keep what questions about keys and states learn of the log (where each key is, states on the way), so
        that the next one is quick: a directory; None for ``~/.cache/aofnb`` (``$XDG_CACHE_HOME/aofnb``) once the
        log is larger than 8 MB; False for nothing that outlives this object. It is never in the log's directory.
    compression
        ``infer`` looks at the first bytes of each file; ``gzip`` and ``zstd`` insist, None reads them as they are.
    storage_options
        What fsspec needs to know about an address: keys, endpoints.
    history
        Also the files that the manifest lists as replaced, before all others: rows to read, not data to replay.
    """
    return Log(
        path,
        on_bad=on_bad,
        cache_dir=cache_dir,
        compression=compression,
        storage_options=storage_options,
        history=history,
    )


def _checked(on_bad: OnBad) -> OnBad:
    if on_bad not in ("error", "truncate", "resync"):
        raise ValueError(f"on_bad= is 'error', 'truncate' or 'resync', not {on_bad!r}")
    return on_bad
