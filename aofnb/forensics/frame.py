"""A log as one DataFrame, or as an iterator of them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, overload

import numpy as np
import pandas as pd

from aofnb._version import VERSION
from aofnb.forensics.assembly import Assembly, frame_of_batches
from aofnb.forensics.filling import filled_frame, is_plain
from aofnb.forensics.log import Log
from aofnb.forensics.position import Where
from aofnb.forensics.reading import OnBad, Progress, Report, ahead, pays_ahead
from aofnb.forensics.sources import Compression, is_many, shards_of

if TYPE_CHECKING:
    import pyarrow as pa

    from aofnb.forensics.columns import Selection

__all__ = ["FrameReader", "at_least", "of_backend", "read_aof", "read_frame", "read_frames"]

Path = Any
T = TypeVar("T")
DtypeBackend = Literal["pyarrow", "numpy_nullable"]


@overload
def read_aof(
    path: Path,
    *,
    columns: Iterable[str] | None = ...,
    nrows: int | None = ...,
    chunksize: None = ...,
    encoding: str | None = ...,
    encoding_errors: str = ...,
    cmd: str | Iterable[str] | None = ...,
    key: str | bytes | Iterable[str | bytes] | None = ...,
    db: int | Iterable[int] | None = ...,
    start: Where | None = ...,
    stop: Where | None = ...,
    on_bad: OnBad = ...,
    progress: Progress = ...,
    iterator: Literal[False] = ...,
    dtype_backend: DtypeBackend | None = ...,
    compression: Compression = ...,
    storage_options: Mapping[str, Any] | None = ...,
    history: bool = ...,
    replay: bool = ...,
) -> pd.DataFrame: ...


@overload
def read_aof(
    path: Path,
    *,
    columns: Iterable[str] | None = ...,
    nrows: int | None = ...,
    chunksize: int,
    encoding: str | None = ...,
    encoding_errors: str = ...,
    cmd: str | Iterable[str] | None = ...,
    key: str | bytes | Iterable[str | bytes] | None = ...,
    db: int | Iterable[int] | None = ...,
    start: Where | None = ...,
    stop: Where | None = ...,
    on_bad: OnBad = ...,
    progress: Progress = ...,
    iterator: bool = ...,
    dtype_backend: DtypeBackend | None = ...,
    compression: Compression = ...,
    storage_options: Mapping[str, Any] | None = ...,
    history: bool = ...,
    replay: bool = ...,
) -> FrameReader: ...


@overload
def read_aof(
    path: Path,
    *,
    columns: Iterable[str] | None = ...,
    nrows: int | None = ...,
    chunksize: int | None = ...,
    encoding: str | None = ...,
    encoding_errors: str = ...,
    cmd: str | Iterable[str] | None = ...,
    key: str | bytes | Iterable[str | bytes] | None = ...,
    db: int | Iterable[int] | None = ...,
    start: Where | None = ...,
    stop: Where | None = ...,
    on_bad: OnBad = ...,
    progress: Progress = ...,
    iterator: Literal[True],
    dtype_backend: DtypeBackend | None = ...,
    compression: Compression = ...,
    storage_options: Mapping[str, Any] | None = ...,
    history: bool = ...,
    replay: bool = ...,
) -> FrameReader: ...


def read_aof(
    path: Path,
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
    on_bad: OnBad = "error",
    progress: Progress = None,
    iterator: bool = False,
    dtype_backend: DtypeBackend | None = None,
    compression: Compression = "infer",
    storage_options: Mapping[str, Any] | None = None,
    history: bool = False,
    replay: bool = False,
) -> pd.DataFrame | FrameReader:
    """Read an append-only file, or a directory of them, as a table with one row per command.

    No command is run and no file is changed. Time is linear in the size of the log; memory in the number of rows,
    with `chunksize` in that of one chunk and of the longest transaction. Where there are two cores and compiled
    kernels, a thread reads on in a large file while its rows are made.

    Parameters
    ----------
    path
        A directory such as ``appendonlydir`` or the one it is in, a manifest, or a single append-only file; files
        may be compressed with gzip or zstd; ``~`` is the home directory. Files whose CRLFs git turned into LFs are
        read as they were. A list of such, or a pattern (``"shards/*/appendonlydir"``), gives a first column `shard`
        (category), with `seq` counted in each. Also a file open for reading bytes, a pipe, and an address that fsspec
        knows (``s3://bucket/dir``; needs ``aofnb[remote]``), which are copied into a temporary directory first.
    columns
        Which, in this order. Beside the default ones there are ``verb`` (category: the name as it was spelled),
        ``arg1``, ``arg2``, ... (binary, NA where the command is shorter), ``keys`` (list of binary: all its keys) and
        ``args`` (list of binary: all arguments, the name first). Lists cannot be read back by
        pandas from Parquet: write pyarrow, or take arg1, arg2. ``time``, ``time_src`` and ``time_err`` are estimates:
        see `Log.infer_time`. Those of `replay` may be named, too.
    nrows
        Read only so many rows.
    chunksize
        Return an iterator of frames of so many rows instead of one frame; `seq` goes on from one to the next. `cmd`
        and `verb` have the categories of their chunk: pandas.api.types.union_categoricals joins them.
    encoding, encoding_errors
        How keys become text. ``encoding=None`` leaves them binary. The surrogates of ``surrogateescape`` and
        ``surrogatepass`` are no text for Arrow, so these two are refused.
    cmd
        Only these commands, in any spelling; ``"XGROUP"`` means all its subcommands.
    key
        Only commands with a key, not necessarily the first, that matches this pattern, or one of these, as KEYS
        reads it: ``"user:*"``.
    db
        Only commands in this database, or one of these.
    start, stop
        Only the rows from one position on and before another: a row number, a time (``"2026-11-20 14:03:05"``, UTC),
        ``"file:offset"``, or what `Log.position` gives.
    on_bad
        Where a file is cut or damaged: ``"error"`` raises; ``"truncate"`` makes one row with status ``truncated``
        of the rest of that file and goes on with the next; ``"resync"`` goes on behind the damage, in the same file:
        the rows up to the next SELECT get the status ``resynced``, since their `db` may be wrong. The commands of a
        transaction without EXEC at the end of a file get the status ``discarded``.
    progress
        True for a line on stderr, or a function that is called with (bytes done, bytes in all).
    iterator
        Return the same iterator as `chunksize` does; its ``get_chunk(n)`` gives the next `n` rows.
    dtype_backend
        ``"pyarrow"`` or ``"numpy_nullable"``: pandas dtypes of that kind, categories apart.
    compression
        ``"infer"`` looks at the first bytes of each file; ``"gzip"`` and ``"zstd"`` insist, None reads it as it is.
    storage_options
        What fsspec needs to know about an address: keys, endpoints.
    history
        Also the files that the manifest lists as replaced, in front of all others.
    replay
        Run each command, too, in a store of its own that is thrown away, and say what it did: adds `dirty` (Int64, how
        many changes Redis counts; NA if a server would not run it), `error` (str, NA if there was none), `keys_after`
        (Int64, keys in its database behind it) and `type` (category: of its first key behind it; ``none`` if that is
        gone). Takes the memory of the data, and the time of a replay.

    Returns
    -------
    pandas.DataFrame, or FrameReader with `chunksize` or `iterator`
        Indexed by `seq`, the number of the command in the log (a RangeIndex unless rows were left out), with:

        `part` : category, the file. The keys of a snapshot (RDB) come as the commands that would rebuild them.
        `offset`, `nbytes` : int64, where the command is in that file (after decompression); in a snapshot, its key,
        whose bytes the first of its rows has, and the others none.
        `ts` : datetime64[s, UTC], the last ``#TS`` before it, NaT if there was none.
        `db` : int16, the database it ran in; for SELECT, the one it selects.
        `txn` : Int64, number of its transaction from 1, NA outside MULTI and EXEC.
        `cmd` : category, upper case, with the subcommand where there is one: ``XGROUP CREATE``.
        `key`, `nkeys` : str, int16: its first key and how many it has (at most 32767 is said).
        `argc` : int32, arguments with the name.
        `status` : category: ok, lf_repaired, resynced, truncated, discarded, unknown_command (which has no `key`).

        ``attrs["aof"]`` says what was read and what was not: `source`, `parts`, `options`, `skipped`, and without
        `chunksize` also `damage` and `escaped_keys`. All of it is plain JSON.

    Raises
    ------
    AofTruncatedError
        A file ends inside a command or a transaction.
    AofFormatError
        A file holds what is no command.
    AofManifestError
        The manifest is malformed, missing, or lists a file that is not there.
    RdbError
        A snapshot is damaged.
    """
    options: dict[str, Any] = {
        "columns": columns,
        "nrows": nrows,
        "encoding": encoding,
        "encoding_errors": encoding_errors,
        "cmd": cmd,
        "key": key,
        "db": db,
        "start": start,
        "stop": stop,
        "progress": progress,
        "dtype_backend": dtype_backend,
        "replay": replay,
    }
    about_files: dict[str, Any] = {"on_bad": on_bad, "compression": compression, "history": history}
    if is_many(path):
        if chunksize is not None or iterator:
            raise ValueError("several logs are not read in chunks: read one after the other with chunksize=")
        shards = shards_of(path, storage_options)
        remote = storage_options or None
        frames = {
            name: Log(each, storage_options=remote, **about_files).to_pandas(**options) for name, each in shards.items()
        }
        return _joined(frames)
    log = Log(path, storage_options=storage_options, **about_files)
    return log.to_pandas(chunksize=chunksize, iterator=iterator, **options)


def _joined(frames: dict[str, Any]) -> pd.DataFrame:
    """One frame of those of several logs, the shard first; categories are joined, so that they stay categories."""
    names = list(frames)
    sizes = [len(frames[name]) for name in names]
    columns: dict[str, Any] = {
        "shard": pd.Categorical.from_codes(np.repeat(np.arange(len(names)), sizes), pd.Index(names, dtype="str"))
    }
    parts = [frames[name] for name in names]
    for column in parts[0].columns:
        pieces = [part[column] for part in parts]
        if isinstance(pieces[0].dtype, pd.CategoricalDtype):
            columns[column] = pd.api.types.union_categoricals(pieces, sort_categories=column in ("cmd", "verb"))
        else:
            columns[column] = pd.concat(pieces, ignore_index=True).array
    index = pd.Index(np.concatenate([part.index.to_numpy() for part in parts]), name="seq")
    frame = pd.DataFrame(columns, index=index)
    frame.attrs["aof"] = {"shards": {name: frames[name].attrs["aof"] for name in names}}
    return frame


def read_frame(
    log: Log,
    selection: Selection,
    nrows: int | None,
    on_bad: OnBad,
    progress: Progress,
    start: Where | None,
    stop: Where | None,
    dtype_backend: DtypeBackend | None,
) -> pd.DataFrame:
    """All rows, or the first `nrows`, as one frame."""
    report = Report()
    nrows = None if nrows is None else at_least(nrows, 0, "nrows")
    if (nrows, start, stop) == (None, None, None) and on_bad != "resync" and is_plain(selection):
        frame = filled_frame(log.parts, selection, on_bad, progress, report)
        log.note_rows(report, on_bad)
    else:
        assembly = Assembly(selection.schema(), [part.name for part in log.parts])
        sized = _sized(log.read(selection, on_bad, progress, report, start, stop), report, nrows)
        for batch, expected in _ahead(sized, log, nrows, progress):
            assembly.add(batch, expected)
        frame = assembly.frame()
    frame = of_backend(frame, dtype_backend)
    frame.attrs["aof"] = _about(log, selection, on_bad) | {
        "damage": report.damage,
        "escaped_keys": report.escaped_keys,
    }
    return frame


def _sized(
    batches: Iterator[pa.RecordBatch], report: Report, nrows: int | None
) -> Generator[tuple[pa.RecordBatch, int]]:
    """The batches of a log up to row `nrows`, and with each about how many rows it will be in all."""
    rows = 0
    for batch in _first(batches, nrows):
        rows += batch.num_rows
        yield batch, int(rows / report.share * 1.02) if report.share else rows


def _ahead(items: Generator[T], log: Log, nrows: int | None, progress: Progress) -> Iterator[T]:
    """What is made of all of a log, by a thread of its own where that pays."""
    # No more is read than was asked for, and what a caller's function is told comes from the caller's thread.
    alone = nrows is not None or callable(progress)
    return items if alone or not pays_ahead(sum(part.size for part in log.parts)) else ahead(items)


class FrameReader(Iterator[pd.DataFrame]):
    """Frames of `chunksize` rows, one after the other, the last one shorter; without rows, one empty frame.

    ``get_chunk(n)`` gives the next `n` rows instead; `close`, or the end of a ``with``, lets go of the files.
    """

    def __init__(
        self,
        log: Log,
        selection: Selection,
        chunksize: int | None,
        on_bad: OnBad,
        batches: Iterator[pa.RecordBatch],
        dtype_backend: DtypeBackend | None,
    ) -> None:
        self._log, self._schema, self._dtype_backend = log, selection.schema(), dtype_backend
        self._chunksize = chunksize
        self._batches = batches
        # The same for all frames, since pandas.concat keeps only attrs that are equal.
        self._about = _about(log, selection, on_bad)
        self._ready: list[pa.RecordBatch] = []
        self._have = 0
        self._given = self._ended = False
        self._finish: Callable[[pd.DataFrame], pd.DataFrame] | None = None

    def finish_with(self, finish: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
        """Give what `finish` makes of each frame."""
        self._finish = finish

    def __next__(self) -> pd.DataFrame:
        return self.get_chunk(self._chunksize)

    def get_chunk(self, size: int | None = None) -> pd.DataFrame:
        """The next `size` rows, or all that are left.

        Raises
        ------
        StopIteration
            There are no more.
        """
        size = None if size is None else at_least(size, 1, "size")
        while not self._ended and (size is None or self._have < size):
            batch = next(self._batches, None)
            if batch is None:
                self._ended = True
            else:
                self._ready.append(batch)
                self._have += batch.num_rows
        if not self._have and self._given:
            raise StopIteration
        size = max(self._have, 1) if size is None else size
        chunk = list(_first(iter(self._ready), size))
        self._ready = _behind(self._ready, size)
        self._have -= sum(each.num_rows for each in chunk)
        self._given = True
        frame = frame_of_batches(chunk, self._schema, [part.name for part in self._log.parts])
        frame = of_backend(frame, self._dtype_backend)
        frame.attrs["aof"] = self._about
        return frame if self._finish is None else self._finish(frame)

    def close(self) -> None:
        """Read no further."""
        close = getattr(self._batches, "close", None)
        if close is not None:
            close()
        self._ended, self._given, self._ready, self._have = True, True, [], 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def read_frames(
    log: Log,
    selection: Selection,
    nrows: int | None,
    chunksize: int | None,
    on_bad: OnBad,
    progress: Progress,
    start: Where | None,
    stop: Where | None,
    dtype_backend: DtypeBackend | None,
) -> FrameReader:
    """The same rows in frames of `chunksize`."""
    chunksize = None if chunksize is None else at_least(chunksize, 1, "chunksize")
    nrows = None if nrows is None else at_least(nrows, 0, "nrows")
    batches = _first(log.read(selection, on_bad, progress, Report(), start, stop), nrows)
    ready = _ahead(batches, log, nrows, progress)
    return FrameReader(log, selection, chunksize, on_bad, ready, dtype_backend)


def of_backend(frame: pd.DataFrame, dtype_backend: DtypeBackend | None) -> pd.DataFrame:
    """`frame` with nullable dtypes of that kind; categories and what is Arrow already stay."""
    if dtype_backend is None:
        return frame
    if dtype_backend not in ("pyarrow", "numpy_nullable"):
        raise ValueError(f"dtype_backend= is 'pyarrow' or 'numpy_nullable', not {dtype_backend!r}")
    plain = [name for name in frame.columns if not isinstance(frame[name].dtype, pd.CategoricalDtype | pd.ArrowDtype)]
    if plain:
        frame = frame.copy(deep=False)
        # Before pandas 3 texts are objects, and what they are cannot be told where all of them are missing.
        missing = [name for name in plain if frame[name].dtype == object and frame[name].isna().all()]
        frame[plain] = frame[plain].astype(dict.fromkeys(missing, "string")).convert_dtypes(dtype_backend=dtype_backend)
    return frame


def _first(batches: Iterator[pa.RecordBatch], rows: int | None) -> Generator[pa.RecordBatch]:
    """The first `rows` rows, without asking for more."""
    if rows is None:
        yield from batches
        return
    while rows > 0 and (batch := next(batches, None)) is not None:
        yield batch.slice(0, rows)
        rows -= batch.num_rows


def _behind(batches: Sequence[pa.RecordBatch], rows: int) -> list[pa.RecordBatch]:
    """All but the first `rows` rows."""
    rest = []
    for batch in batches:
        if batch.num_rows > rows:
            rest.append(batch.slice(rows))
        rows = max(rows - batch.num_rows, 0)
    return rest


def at_least(number: int, least: int, name: str) -> int:
    """`number`, the option `name`, if it is a whole number and not below `least`."""
    if isinstance(number, bool):
        raise TypeError(f"{name}= takes a whole number, not {number!r}")
    try:
        number = operator.index(number)
    except TypeError:
        raise TypeError(f"{name}= takes a whole number, not {number!r}") from None
    if number < least:
        raise ValueError(f"{name}= must be at least {least}, not {number}")
    return number


def _about(log: Log, selection: Selection, on_bad: str) -> dict[str, Any]:
    return {
        "source": log.source,
        "parts": [
            {
                "name": part.name,
                "path": part.path,
                "type": part.type,
                "seq": part.seq,
                "size": part.size,
                "format": part.format,
                "compression": part.compression,
            }
            for part in log.parts
        ],
        "options": {
            "columns": list(selection.columns),
            "encoding": selection.encoding,
            "encoding_errors": selection.encoding_errors,
            "on_bad": on_bad,
        },
        "reader": f"aofnb {VERSION}",
    }
