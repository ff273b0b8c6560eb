"""A log for other tools: Parquet, polars, DuckDB, Dask. All of it streams: no whole log is ever in memory.

Words (`part`, `cmd`, `verb`, `status`) leave as plain strings, not as dictionaries: a dictionary column that pandas
wrote cannot be read back by plain `pandas.read_parquet`, and cannot be shuffled by Dask.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from aofnb._version import VERSION
from aofnb.forensics.columns import DEFAULT_COLUMNS, Selection
from aofnb.forensics.log import Log
from aofnb.forensics.reading import OnBad, Progress
from aofnb.forensics.sources import Compression, Source, is_many, shards_of

if TYPE_CHECKING:
    from os import PathLike

    import pandas as pd

    from aofnb.forensics.index import Mark

__all__ = ["ROW_GROUP_ROWS", "plain", "plain_schema", "sql", "to_dask", "to_dask_all", "to_parquet", "to_polars"]

ROW_GROUP_ROWS = 128 << 10
# A word of a query that may be a column.
_WORD = re.compile(r"[a-z_][a-z0-9_]*", re.IGNORECASE)
# `*` that means all columns, not a count of rows, a product or part of a text.
_STAR = re.compile(r"(select|,|\.)\s*\*", re.IGNORECASE)
_ARG = re.compile(r"arg[1-9][0-9]{0,8}")


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """`schema` with strings for dictionaries."""
    return pa.schema(
        [pa.field(field.name, pa.string()) if pa.types.is_dictionary(field.type) else field for field in schema]
    )


def plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """`batch` with strings for dictionaries."""
    columns = [
        column.dictionary_decode() if isinstance(column, pa.DictionaryArray) else column for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, schema=plain_schema(batch.schema))


# --- Parquet ----------------------------------------------------------------------------------------------------------


def to_parquet(
    log: Log,
    dest: str | PathLike[str],
    *,
    columns: Iterable[str] | None = None,
    compression: str = "zstd",
    row_group_rows: int = ROW_GROUP_ROWS,
    progress: Progress = None,
    **filters: Any,
) -> int:
    """Write the commands as one Parquet file; returns how many. See `Log.to_parquet`."""
    import pyarrow.parquet as pq

    selection = Selection.of(columns)
    about = {"source": log.source, "reader": f"aofnb {VERSION}", "parts": [part.name for part in log.parts]}
    schema = selection.schema()
    # Words are written as the dictionaries they are; without Arrow's schema in the file they are read as plain strings.
    words = [field.name for field in schema if pa.types.is_dictionary(field.type)]
    rising = {field.name: "DELTA_BINARY_PACKED" for field in schema if field.name in ("seq", "offset")}
    dest = os.fspath(dest)
    unfinished = f"{dest}.{os.getpid()}.tmp"
    rows = 0
    try:
        with pq.ParquetWriter(
            unfinished,
            schema,
            compression=compression,
            use_dictionary=words,
            column_encoding=rising,
            store_schema=False,
        ) as writer:
            writer.add_key_value_metadata({"aofnb": json.dumps(about)})
            for table in _in_groups(log.batches(columns=columns, progress=progress, **filters), row_group_rows):
                writer.write_table(table, row_group_size=row_group_rows)
                rows += table.num_rows
        os.replace(unfinished, dest)
    except BaseException:
        # Half a file must not look like a whole one.
        with contextlib.suppress(OSError):
            os.unlink(unfinished)
        raise
    return rows


def _in_groups(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.Table]:
    """The batches as tables of `rows` rows, the last one shorter."""
    ready: list[pa.RecordBatch] = []
    have = 0
    for batch in batches:
        ready.append(batch)
        have += batch.num_rows
        while have >= rows:
            table = pa.Table.from_batches(ready)
            yield table.slice(0, rows).unify_dictionaries()
            ready = table.slice(rows).to_batches()
            have -= rows
    if have:
        yield pa.Table.from_batches(ready).unify_dictionaries()


# --- DuckDB -----------------------------------------------------------------------------------------------------------


class _Source:
    """What DuckDB reads as the table `log`: only the columns that the query may name, as often as it asks."""

    def __init__(self, log: Log, columns: tuple[str, ...], progress: Progress) -> None:
        self._log, self._columns, self._progress = log, columns, progress

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        schema = plain_schema(Selection.of(self._columns).schema())
        batches = map(plain, self._log.batches(columns=self._columns, progress=self._progress))
        return pa.RecordBatchReader.from_batches(schema, batches).__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self) -> object:
        return plain_schema(Selection.of(self._columns).schema()).__arrow_c_schema__()


def sql(log: Log, query: str, *, progress: Progress = None) -> pd.DataFrame:
    """The answer of DuckDB to `query`, in which the log is the table ``log``. See `Log.sql`."""
    duckdb = needed("duckdb", "sql")
    with duckdb.connect() as connection:
        connection.execute("SET enable_progress_bar = false")
        connection.register("log", _Source(log, _columns_of(query), progress))
        frame: pd.DataFrame = connection.sql(query).df()
    for number, (_, column) in enumerate(frame.items()):
        if column.dtype == object:
            frame.isetitem(number, [_with_bytes(each) for each in column])
    return frame


def _with_bytes(value: Any) -> Any:
    """A value of DuckDB's with bytes, which pandas can group and compare, for its bytearrays."""
    if isinstance(value, bytearray):
        return bytes(value)
    return [_with_bytes(each) for each in value] if isinstance(value, np.ndarray | list) else value


def _columns_of(query: str) -> tuple[str, ...]:
    """The columns that `query` may need: DuckDB would have all of a stream made for it, needed or not."""
    if _STAR.search(query):
        named = set(DEFAULT_COLUMNS)
    else:
        named = set()
    words = {word.lower() for word in _WORD.findall(query)}
    extra = sorted(word for word in words if word in ("verb", "args") or _ARG.fullmatch(word))
    return (*(name for name in DEFAULT_COLUMNS if name in named or name in words), *extra)


# --- polars -----------------------------------------------------------------------------------------------------------


def to_polars(log: Log, *, lazy: bool = False, **options: Any) -> Any:
    """The commands as a polars frame. See `Log.to_polars`."""
    polars = needed("polars", "polars")
    # All there is can be asked for later, but for values: those are read only on demand.
    columns = options.pop("columns", None)
    schema = plain_schema(Selection.of(columns).schema())
    if not lazy:
        batches = map(plain, log.batches(columns=columns, **options))
        return polars.from_arrow(pa.Table.from_batches(batches, schema=schema))
    plugins = importlib.import_module("polars.io.plugins")
    wanted = [name for name in schema.names if name != "seq"]

    def frames(with_columns: list[str] | None, predicate: Any, n_rows: int | None, batch_size: int | None) -> Any:
        """What polars calls with the columns, filter and number of rows that a query needs."""
        shown = wanted if with_columns is None else [name for name in with_columns if name != "seq"]
        left = n_rows
        for batch in log.batches(columns=shown, **options):
            if left is not None and left <= 0:
                return
            frame = polars.from_arrow(pa.Table.from_batches([plain(batch)]))
            if left is not None:
                frame = frame.head(left)
                left -= frame.height
            if predicate is not None:
                frame = frame.filter(predicate)
            yield frame if with_columns is None else frame.select(with_columns)

    empty = polars.from_arrow(schema.empty_table())
    return plugins.register_io_source(frames, schema=empty.schema)


# --- Dask -------------------------------------------------------------------------------------------------------------


def to_dask(log: Log, *, columns: Iterable[str] | None = None, split_rows: int = 1_000_000, **options: Any) -> Any:
    """The commands as a Dask frame, cut at marks of the index. See `Log.to_dask`."""
    pieces = _pieces(log, split_rows)
    last = max(pieces[-1][1] - 1, 0)
    return _frame([(log, None, *each) for each in pieces], [each.seq for each, _ in pieces] + [last], columns, options)


def to_dask_all(
    path: Source,
    *,
    columns: Iterable[str] | None = None,
    split_rows: int = 1_000_000,
    on_bad: OnBad = "error",
    compression: Compression = "infer",
    storage_options: Mapping[str, Any] | None = None,
    history: bool = False,
    **options: Any,
) -> Any:
    """One or many logs as a Dask DataFrame for many cores, or machines that see the same files.

    Needs ``aofnb[dask]``. Each log is cut where its index has marks, as by `Log.to_dask`, so each piece is exact. The
    workers make the indexes before this returns, one of a log each. Aggregate inside the pieces, and bring only sums
    together: to shuffle raw keys costs more than to read them.

    Parameters
    ----------
    path
        As in `aofnb.read_aof`. A list, or a pattern (``"shards/*/appendonlydir"``), gives a first column `shard` (str),
        with `seq` counted in each. Addresses and open files are copied to this machine, where the workers must be then.
    columns
        As in `aofnb.read_aof`. `cmd`, `part` and `status` are strings here.
    split_rows
        Rows of one piece, about.
    on_bad, compression, storage_options, history
        As in `aofnb.read_aof`.
    **options
        ``cmd``, ``key``, ``db``, ``encoding``, ``encoding_errors`` as in `aofnb.read_aof`.

    Examples
    --------
    ``aofnb.to_dask("shards/*/appendonlydir").groupby(["shard", "cmd"]).nbytes.sum().compute()``
    """
    about: dict[str, Any] = {"on_bad": on_bad, "compression": compression, "history": history}
    if not is_many(path):
        log = Log(path, storage_options=storage_options, **about)
        return to_dask(log, columns=columns, split_rows=split_rows, **options)
    shards = shards_of(path, storage_options)
    logs = {name: Log(each, storage_options=storage_options or None, **about) for name, each in shards.items()}
    dask = needed("dask", "dask")
    found = dask.compute(*(dask.delayed(_pieces, traverse=False)(log, split_rows) for log in logs.values()))
    pieces = [(log, name, *each) for (name, log), mine in zip(logs.items(), found, strict=True) for each in mine]
    # A row number is not one of all logs, so Dask cannot know by it where a row is.
    return _frame(pieces, None, columns, options)


def _pieces(log: Log, split_rows: int) -> list[tuple[Mark, int]]:
    """Where the pieces of a log begin, and before which row they end; at least one, which may be empty."""
    index = log.index()
    marks = index.thinned(split_rows)
    ends = [*(mark.seq for mark in marks[1:]), index.rows]
    pairs = [(mark, end) for mark, end in zip(marks, ends, strict=True) if end > mark.seq]
    return pairs or [(marks[0], index.rows)]


def _frame(
    pieces: list[tuple[Log, str | None, Mark, int]],
    divisions: list[int] | None,
    columns: Iterable[str] | None,
    options: dict[str, Any],
) -> Any:
    """The Dask frame of pieces of logs."""
    frames = needed("dask.dataframe", "dask")
    chosen = [*(["shard"] if pieces[0][1] is not None else []), *(DEFAULT_COLUMNS if columns is None else columns)]
    split = _Split(options)
    more = {} if divisions is None else {"divisions": divisions}
    return frames.from_map(
        split, *zip(*pieces, strict=True), meta=split.frame([], pieces[0][1], chosen), columns=chosen, **more
    )


class _Split:
    """Reads the rows from a mark to a row; what Dask sends to its workers, which see the same files."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options

    def __call__(
        self, log: Log, shard: str | None, mark: Mark, end: int, columns: list[str] | None = None
    ) -> pd.DataFrame:
        wanted = list(DEFAULT_COLUMNS if columns is None else columns)
        return self.frame(log.read_from(mark, end, self._selection(wanted, shard)), shard, wanted)

    def frame(self, batches: Iterable[pa.RecordBatch], shard: str | None, columns: list[str]) -> pd.DataFrame:
        """The rows, with the name of their log among the columns if that has one."""
        schema = plain_schema(self._selection(columns, shard).schema())
        table = pa.Table.from_batches(map(plain, batches), schema=schema)
        if shard is not None:
            table = table.append_column("shard", pa.repeat(pa.scalar(shard, pa.string()), table.num_rows))
        return _pandas(table)[columns]

    def _selection(self, columns: list[str], shard: str | None) -> Selection:
        return Selection.of([name for name in columns if shard is None or name != "shard"], **self._options)


def _pandas(table: pa.Table) -> pd.DataFrame:
    import pandas as pd

    frame: pd.DataFrame = table.drop_columns("seq").to_pandas(
        types_mapper={pa.binary(): pd.ArrowDtype(pa.binary()), pa.int64(): pd.Int64Dtype()}.get
    )
    frame.index = pd.Index(table.column("seq").to_numpy().astype(np.int64), name="seq")
    return frame


def needed(module: str, extra: str) -> Any:
    """`module`, or what to install to have it."""
    try:
        return importlib.import_module(module)
    except ImportError as problem:
        raise ImportError(
            f"this needs {module.partition('.')[0]}: pip install 'aofnb[{extra}]' ({problem})"
        ) from problem
