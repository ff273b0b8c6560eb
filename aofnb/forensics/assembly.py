"""Arrow batches, one after the other, into the columns of one DataFrame, with one fixed dtype each, whatever the data.

Numbers are written where they stay: memory for all rows is taken once, as soon as somebody can say about how many there
will be, since memory that is touched for the first time costs more than what is written to it. Text and bytes stay in
the pieces that Arrow has them in.

Traps behind the dtypes: Arrow's own dictionary type cannot be read back from Parquet by pandas, so `cmd` and its like
are pandas categories; `.str` fails on binary columns, so keys are text unless asked otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from aofnb.forensics.columns import STATUSES

__all__ = ["Assembly", "frame_of_batches"]

_NAT = np.iinfo(np.int64).min
_INT8_MAX, _INT16_MAX = (1 << 7) - 1, (1 << 15) - 1
_BLOCK = 1 << 16
# What the kernel `_fill_cy` writes, in the order in which it takes the columns.
_FILLED = {
    **dict.fromkeys(("offset", "nbytes", "ts"), np.int64), "db": np.int16, "txn": np.int64, "cmd": np.int16,
    "nkeys": np.int16, "argc": np.int32, "status": np.int8,
}  # fmt: skip


def frame_of_batches(batches: Sequence[pa.RecordBatch], schema: pa.Schema, parts: Sequence[str]) -> pd.DataFrame:
    """Batches of rows as one frame; `parts` are the names of the files, in order."""
    assembly = Assembly(schema, parts)
    rows = sum(batch.num_rows for batch in batches)
    for batch in batches:
        assembly.add(batch, rows)
    return assembly.frame()


class Assembly:
    """A frame in the making: `add` batches of this `schema`, then take the `frame`.

    `parts` are the names of the files, in order.
    """

    def __init__(self, schema: pa.Schema, parts: Sequence[str]) -> None:
        self._seq: list[range | npt.NDArray[np.int64]] = []
        self._columns = {field.name: _column(field, parts) for field in schema if field.name != "seq"}

    def add(self, batch: pa.RecordBatch, expected: int) -> None:
        """Add the next rows; with them and those to come there will be about `expected`."""
        if not batch.num_rows:
            return
        seq = batch.column(0).to_numpy()
        self._add_seq(seq if int(seq[-1]) - int(seq[0]) >= len(seq) else range(int(seq[0]), int(seq[-1]) + 1))
        for column, values in zip(self._columns.values(), batch.columns[1:], strict=True):
            column.add(values, expected)

    def frame(self) -> pd.DataFrame:
        """All rows as a frame; nothing can be added to it."""
        columns = {name: column.finished() for name, column in self._columns.items()}
        return pd.DataFrame(columns, index=self._index(), copy=False)

    def room(self, count: int, expected: int) -> list[npt.NDArray[Any]]:
        """Where the kernel `_fill_cy` is to write the next rows, at most `count`, column by column; no places for those
        that nobody wants. `take` says how many they were.
        """
        self._expected = expected
        return [
            column.room(count, expected)
            if isinstance(column := self._columns.get(name), _Filled)
            else np.empty(0, dtype)
            for name, dtype in _FILLED.items()
        ]

    def take(self, first: int, count: int, part: int, keys: pa.Array | None) -> None:
        """So many rows were written, from row `first` on, of that part and with these keys."""
        if not count:
            return
        self._add_seq(range(first, first + count))
        for name, column in self._columns.items():
            if not isinstance(column, _Filled):
                column.add(keys, self._expected)
                continue
            if name == "part":
                column.room(count, self._expected)[:] = part
            column.take(count)

    def word_number(self, word: str) -> int:
        """What stands for the name of a command in what is written."""
        column = self._columns.get("cmd")
        return column.number(word) if isinstance(column, _Observed) else 0

    def discard(self, first: int) -> None:
        """A server throws the rows away from the place `first` on. A cut row stays `truncated`."""
        column = self._columns.get("status")
        if isinstance(column, _Named):
            codes = column.written()[first:]
            codes[codes != STATUSES.index("truncated")] = STATUSES.index("discarded")

    def _add_seq(self, seq: range | npt.NDArray[np.int64]) -> None:
        before = self._seq[-1] if self._seq else None
        if isinstance(before, range) and isinstance(seq, range) and before.stop == seq.start:
            self._seq[-1] = range(before.start, seq.stop)
        else:
            self._seq.append(seq)

    def _index(self) -> pd.Index:
        if not self._seq:
            return pd.RangeIndex(0, name="seq")
        if len(self._seq) == 1 and isinstance(self._seq[0], range):
            return pd.RangeIndex(self._seq[0], name="seq")
        runs = [np.arange(run.start, run.stop) if isinstance(run, range) else run for run in self._seq]
        return pd.Index(np.concatenate(runs), name="seq")


class _Column(Protocol):
    def add(self, values: pa.Array, expected: int) -> None: ...

    def finished(self) -> Any: ...


def _column(field: pa.Field, parts: Sequence[str]) -> _Column:
    # Files and statuses are all named, seen or not; of commands only those that are there.
    if field.name == "part":
        return _Named(parts)
    if field.name == "status":
        return _Named(STATUSES)
    if pa.types.is_dictionary(field.type):
        return _Observed()
    if field.name == "txn":
        return _NullableNumbers()
    if field.name == "ts":
        return _Seconds()
    if pa.types.is_integer(field.type):
        return _Numbers(field.type.to_pandas_dtype())
    if field.type == pa.string():
        return _Text()
    return _Pieces(field.type)


class _Filled:
    """An array that is filled from the front."""

    def __init__(self, dtype: npt.DTypeLike) -> None:
        self._array = np.empty(0, dtype)
        self._used = 0

    def next(self, count: int, expected: int) -> npt.NDArray[Any]:
        """The next `count` places, to be written to at once; `expected` is how many there may be in all."""
        places = self.room(count, expected)
        self._used += count
        return places

    def room(self, count: int, expected: int) -> npt.NDArray[Any]:
        """The same, for who says later how many of them were needed: see `take`."""
        begin, end = self._used, self._used + count
        if end > len(self._array):
            # A guess from little may be far too high, one that is too low must not be made for every batch.
            room = max(min(expected, 256 * end), end + begin // 2)
            grown = np.empty(room, self._array.dtype)
            grown[:begin] = self._array[:begin]
            self._array = grown
        return self._array[begin:end]

    def take(self, count: int) -> None:
        """So many were."""
        self._used += count

    def written(self) -> npt.NDArray[Any]:
        """What was written so far; to be changed, not to be kept."""
        return self._array[: self._used]

    def widen(self, dtype: npt.DTypeLike) -> None:
        self._array = self._array.astype(dtype)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._array.dtype

    def finished(self) -> Any:
        """All that was written, without the room that was too much."""
        # Nobody else has a view by now; memory that was never touched goes back without being copied.
        self._array.resize(self._used, refcheck=False)
        return self._array


class _Numbers(_Filled):
    """Whole numbers, none of them missing."""

    def add(self, values: pa.Array, expected: int) -> None:
        self.next(len(values), expected)[:] = values.to_numpy()


class _NullableNumbers(_Filled):
    """Whole numbers, 0 where there is none."""

    def __init__(self) -> None:
        super().__init__(np.int64)
        self._missing = _Filled(bool)

    def add(self, values: pa.Array, expected: int) -> None:
        self.room(len(values), expected)[:] = _stored(values, np.int64)
        self.take(len(values))

    def room(self, count: int, expected: int) -> npt.NDArray[Any]:
        self._missing.room(count, expected)
        return super().room(count, expected)

    def take(self, count: int) -> None:
        np.equal(super().room(count, 0), 0, out=self._missing.next(count, 0))
        super().take(count)

    def finished(self) -> pd.arrays.IntegerArray:
        return pd.arrays.IntegerArray(super().finished(), self._missing.finished())


class _Seconds(_Filled):
    """Times in seconds, negative where there is none."""

    def __init__(self) -> None:
        super().__init__(np.int64)

    def add(self, values: pa.Array, expected: int) -> None:
        seconds = self.next(len(values), expected)
        seconds[:] = _stored(values, np.int64)
        if values.null_count:
            seconds[seconds < 0] = _NAT

    def finished(self) -> Any:
        return pd.array(super().finished(), dtype=pd.DatetimeTZDtype("s", "UTC"), copy=False)


class _Named(_Filled):
    """Words of a list that is known: a category of all of it."""

    def __init__(self, words: Sequence[str]) -> None:
        super().__init__(_width(len(words)))
        self._words = words

    def add(self, values: pa.Array, expected: int) -> None:
        self.next(len(values), expected)[:] = _stored(values.indices, np.int32)

    def finished(self) -> Any:
        return pd.Categorical.from_codes(super().finished(), _categories(tuple(self._words)), validate=False)


class _Observed(_Filled):
    """Words that come as they come: a category of those that occur, in alphabetical order."""

    def __init__(self) -> None:
        super().__init__(np.int16)
        self._numbers: dict[str, int] = {}
        self._met: pa.Array | None = None

    def number(self, word: str) -> int:
        """What is written for this word."""
        return self._numbers.setdefault(word, len(self._numbers))

    def add(self, values: pa.Array, expected: int) -> None:
        if self._met is None or not self._met.equals(values.dictionary):
            self._meet(values.dictionary)
        codes, indices = self.next(len(values), expected), _stored(values.indices, np.int32)
        if self._by_index is None:
            codes[:] = indices
        else:
            np.take(self._by_index, indices, out=codes, mode="wrap")

    def _meet(self, words: pa.Array) -> None:
        """Number the words that are new. What is missing has index and number -1: the last place."""
        numbers = [self.number(word) for word in words.to_pylist()]
        if len(self._numbers) > _INT16_MAX and self.dtype == np.int16:
            self.widen(np.int32)
        self._met = words
        # All batches of a log have the same words, but for those that come new.
        alike = numbers == list(range(len(numbers)))
        self._by_index = None if alike else np.array([*numbers, -1], self.dtype)

    def finished(self) -> pd.Categorical:
        codes, words = super().finished(), list(self._numbers)
        # numpy makes places of eight bytes of all that it takes at once.
        blocks = [slice(at, at + _BLOCK) for at in range(0, len(codes), _BLOCK)]
        counts = sum((np.bincount(codes[block] + 1, minlength=len(words) + 1) for block in blocks), np.zeros(1, int))
        used = sorted(np.flatnonzero(counts[1:]).tolist(), key=words.__getitem__)
        places = np.full(len(words) + 1, -1, _width(len(used)))
        places[used] = np.arange(len(used))
        sorted_codes = np.empty(len(codes), places.dtype)
        for block in blocks:
            np.take(places, codes[block], out=sorted_codes[block], mode="wrap")
        names = tuple(words[number] for number in used)
        return pd.Categorical.from_codes(sorted_codes, _categories(names), validate=False)


class _Text:
    """Text, as pandas has it in Arrow."""

    def __init__(self) -> None:
        self._pieces: list[pa.Array] = []

    def add(self, values: pa.Array, expected: int) -> None:
        # With the offsets that pandas wants: so the memory of the others is free for the next batch.
        self._pieces.append(values.cast(pa.large_string()))

    def finished(self) -> Any:
        return pa.chunked_array(self._pieces, pa.large_string()).to_pandas().array


class _Pieces:
    """Bytes and lists of them, as Arrow has them."""

    def __init__(self, type_: pa.DataType) -> None:
        self._type = type_
        self._pieces: list[pa.Array] = []

    def add(self, values: pa.Array, expected: int) -> None:
        self._pieces.append(values)

    def finished(self) -> Any:
        return pd.arrays.ArrowExtensionArray(pa.chunked_array(self._pieces, self._type))


@lru_cache(maxsize=64)
def _categories(words: tuple[str, ...]) -> pd.Index:
    # One frame after the other has the same, and pandas looks at each word to know that it is text.
    return pd.Index(words, dtype="str")


def _stored(values: pa.Array, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """The numbers of an array without asking which are null: a column says itself what it has there."""
    numbers = np.frombuffer(values.buffers()[1], dtype)
    return numbers[values.offset : values.offset + len(values)]


def _width(words: int) -> npt.DTypeLike:
    """The dtype that pandas has for the codes of so many categories."""
    return np.int8 if words < _INT8_MAX else np.int16 if words < _INT16_MAX else np.int32
