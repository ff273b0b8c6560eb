"""The rows of a frame as they stand in the files: read again in stretches, and held against what the frame says.

A frame may have lost rows, be in any order, or be of a log that is not there any more. So each row is looked for by its
place, and must be there with the size and the name that the frame knows.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa

from aofnb.errors import AofError
from aofnb.forensics.columns import argument_of
from aofnb.forensics.log import Log
from aofnb.forensics.parts import PartFile
from aofnb.forensics.scan import Incomplete, Ints, Record, Records, read_record, scan_file
from aofnb.resp.encode import encode_command

__all__ = ["Found", "FrameRows", "Source", "list_elements"]

Source = str | PathLike[str] | Log | None

_T = TypeVar("_T")

# Rows that are a whole command, which the file can be compared with.
_WHOLE = ("ok", "lf_repaired", "discarded", "unknown_command")
# What is read at once, and what is read for nothing sooner than jumped over.
_STRETCH_BYTES = 4 << 20
_GAP_BYTES = 16 << 10
# Fewer rows are not worth a table.
_FEW = 8


class Found(NamedTuple):
    """Rows that were found together: those of the frame at `places` are the rows `rows` of `records`."""

    places: Ints
    records: Records
    rows: Ints

    def argvs(self) -> list[list[bytes]]:
        """The arguments of each."""
        rows = self.rows.tolist()
        if 4 * len(rows) < len(self.records):
            return [self.records.argv(row) for row in rows]
        argvs = self.records.argvs(rows[-1] + 1)
        return argvs if len(argvs) == len(rows) else [argvs[row] for row in rows]

    def encoded(self) -> list[bytes]:
        """Each as Redis writes it."""
        records, rows = self.records, self.rows
        starts = records.start[rows]
        if records.lines is None:
            ends = starts + records.nbytes[rows]
        else:
            ends = records.ends[records.first[rows] + 2 * records.argc[rows]] + 2
        return [records.data[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]


class Place(NamedTuple):
    """A file of the log. With `snapshot` it begins with one, so that not all its rows are commands in it."""

    path: str
    compression: str | None
    snapshot: bool


class FrameRows:
    """The rows of `frame`, whose files are those of `source`, or, without one, where ``df.attrs["aof"]`` says."""

    def __init__(self, frame: pd.DataFrame, source: Source = None) -> None:
        self._frame, self._source = frame, source

    # --- what they say -----------------------------------------------------------------------------------

    def raw(self, place: int) -> bytes:
        """The exact bytes of the row at `place`."""
        row = self._frame.iloc[place]
        part = self._files(row.get("shard"))(str(row["part"]))
        with PartFile(part.path, part.compression) as file:
            data = _bytes_at(file, part.path, int(row["offset"]), int(row["nbytes"]))
        if part.snapshot and not data.startswith(b"*"):
            # A key of a snapshot: its own form is not that of a command.
            return data
        _record_of(data, row.get("status"), row.get("cmd"), part.path, int(row["offset"]))
        return data

    def argvs(self) -> Iterator[list[bytes]]:
        """All arguments of every row, in the order of the frame: from the column `args` if there is one."""
        if "args" in self._frame.columns:
            return map(list, self._frame["args"])
        return self._in_order(Found.argvs)

    def encoded(self) -> Iterator[bytes]:
        """The bytes of every row as a command, in the order of the frame."""
        if "args" in self._frame.columns:
            return map(encode_command, self.argvs())
        return self._in_order(Found.encoded)

    def argument(self, n: int) -> pa.Array:
        """Argument `n` of every row as binary, null where there are not so many."""
        if "args" in self._frame.columns:
            return list_elements(pa.array(self._frame["args"]), n)
        pieces = [(found.places, argument_of(found.records, found.rows, n)) for found in self.found()]
        if not pieces:
            return pa.array([], pa.binary())
        places = np.concatenate([piece[0] for piece in pieces])
        values = pa.chunked_array([piece[1] for piece in pieces])
        if (places[1:] > places[:-1]).all():
            return values
        return values.take(pa.array(np.argsort(places, kind="stable")))

    def _in_order(self, of: Callable[[Found], list[_T]]) -> Iterator[_T]:
        """What `of` gives for each row, in the order of the frame, in which they nearly always are."""
        waiting: dict[int, _T] = {}
        place = 0
        for found in self.found():
            waiting.update(zip(found.places.tolist(), of(found), strict=True))
            while place in waiting:
                yield waiting.pop(place)
                place += 1

    # --- where they are ----------------------------------------------------------------------------------

    def found(self) -> Iterator[Found]:
        """All rows, each once, those of a file in the order of the file.

        Raises
        ------
        AofError
            A file is gone, is shorter now than a row says, or holds another command there.
        """
        about = self._about()
        if self._source is None and "shard" in self._frame.columns and "shards" in about:
            for name, of_shard in about["shards"].items():
                places = np.flatnonzero(self._frame["shard"] == name)
                rows = self._frame.iloc[places].drop(columns="shard")
                rows.attrs = {"aof": of_shard}
                for found in FrameRows(rows).found():
                    yield found._replace(places=places[found.places])
            return
        locate = self._files()
        names = self._frame["part"].astype(str)
        for name in names.unique():
            yield from self._found_in(np.flatnonzero(names == name), locate(name))

    def _found_in(self, places: Ints, part: Place) -> Iterator[Found]:
        """The rows at `places`, all of one file."""
        offsets, nbytes = (self._frame[name].to_numpy()[places] for name in ("offset", "nbytes"))
        if len(offsets) > 1 and (np.diff(offsets) < 0).any():
            order = np.argsort(offsets, kind="stable")
            places, offsets, nbytes = places[order], offsets[order], nbytes[order]
        statuses, names = self._words("status", places), self._words("cmd", places)
        in_snapshot: list[int] = []
        with PartFile(part.path, part.compression) as file:
            for begin, end in _stretches(offsets, nbytes):
                at, last = int(offsets[begin]), int(offsets[end - 1] + nbytes[end - 1])
                data = _bytes_at(file, part.path, at, last - at)
                missing = np.ones(end - begin, bool)
                if end - begin >= _FEW:
                    for found in _tables(data, at, offsets[begin:end], nbytes[begin:end]):
                        if _names_fit(found, names[begin:end]):
                            missing[found.places] = False
                            yield found._replace(places=places[begin:end][found.places])
                argvs, alone = [], []
                for row in (np.flatnonzero(missing) + begin).tolist():
                    offset = int(offsets[row])
                    record = data[offset - at : offset - at + int(nbytes[row])]
                    if part.snapshot and not record.startswith(b"*"):
                        in_snapshot.append(int(places[row]))
                        continue
                    one = _record_of(record, statuses[row], names[row], part.path, offset)
                    argvs.append(one.argv if isinstance(one, (Record, Incomplete)) else [])
                    alone.append(row)
                if alone:
                    yield _made(places[alone], argvs, offsets[alone], nbytes[alone])
        if in_snapshot:
            yield from self._found_in_snapshot(np.array(in_snapshot))

    def _found_in_snapshot(self, places: Ints) -> Iterator[Found]:
        """Rows that a snapshot was turned into: only reading it again has them."""
        if self._frame.index.name != "seq":
            raise ValueError(
                "rows of a snapshot are found by their number in the log: keep the index `seq`, or read the log with "
                "the column `args`"
            )
        log = self._source if isinstance(self._source, Log) else Log(self._source or self._about()["source"])
        seqs = self._frame.index.to_numpy()[places]
        order = np.argsort(seqs, kind="stable")
        places, seqs = places[order], seqs[order]
        for batch in log.batches(columns=["args"], start=int(seqs[0]), stop=int(seqs[-1]) + 1, on_bad="truncate"):
            there = batch.column(0).to_numpy()
            begin, end = np.searchsorted(seqs, [there[0], there[-1] + 1]) if len(there) else (0, 0)
            if begin < end:
                argvs = batch.column(1).take(pa.array(seqs[begin:end] - there[0]))
                none = np.zeros(end - begin, np.int64)
                yield _made(places[begin:end], argvs.to_pylist(), none, none)

    def _words(self, name: str, places: Ints) -> Any:
        """The column `name` as objects; None for all rows if the frame has no such column."""
        if name not in self._frame.columns:
            return np.full(len(places), None)
        return self._frame[name].to_numpy(dtype=object)[places]

    def _about(self) -> dict[str, Any]:
        """What `read_aof` noted about the log; empty if that was lost."""
        about: dict[str, Any] = self._frame.attrs.get("aof", {})
        return about

    def _files(self, shard: str | None = None) -> Callable[[str], Place]:
        """A function from the name of a part, in `shard` if there are several logs, to where it is."""
        if self._source is not None:
            log = self._source if isinstance(self._source, Log) else Log(self._source)
            known = {part.name: Place(part.path, part.compression, part.format == "rdb") for part in log.parts}
        else:
            about = self._about()
            about = about.get("shards", {}).get(shard, about)
            known = {
                part["name"]: Place(part["path"], part["compression"], part["format"] == "rdb")
                for part in about.get("parts", ())
            }

        def locate(part: str) -> Place:
            if part not in known:
                raise ValueError(
                    f"where {part} is, is not known: grouping, and concatenating frames of different logs, lose "
                    "df.attrs['aof']; give source=, the path of the log"
                )
            return known[part]

        return locate


def list_elements(lists: pa.Array | pa.ChunkedArray, n: int) -> pa.Array:
    """Element `n` of each list, null where it is shorter."""
    if isinstance(lists, pa.ChunkedArray):
        lists = lists.combine_chunks()
    begins = lists.offsets.to_numpy()[:-1]
    long_enough = lists.value_lengths().fill_null(0).to_numpy() > n
    return lists.values.take(pa.array(np.where(long_enough, begins + n, 0), mask=~long_enough))


def _stretches(offsets: Ints, nbytes: Ints) -> Iterator[tuple[int, int]]:
    """Rows [begin, end) that are read at once; `offsets` ascend."""
    between = offsets[1:] - (offsets[:-1] + nbytes[:-1])
    block = offsets // _STRETCH_BYTES
    # A row that is there twice begins anew, too.
    cuts = np.flatnonzero((between > _GAP_BYTES) | (between < 0) | (block[1:] != block[:-1])) + 1
    yield from zip([0, *cuts.tolist()], [*cuts.tolist(), len(offsets)], strict=True)


def _tables(data: bytes, at: int, offsets: Ints, nbytes: Ints) -> Iterator[Found]:
    """Which of the rows are commands of `data`, which stands at `at` in its file; places count from the first row."""
    for records in scan_file(io.BytesIO(data), base=at, measure=False):
        if not isinstance(records, Records) or not len(records):
            continue
        rows = np.minimum(np.searchsorted(records.offset, offsets), len(records) - 1)
        same = np.flatnonzero((records.offset[rows] == offsets) & (records.nbytes[rows] == nbytes))
        if len(same):
            yield Found(same, records, rows[same])


def _names_fit(found: Found, names: Any) -> bool:
    """Whether all commands have the names that the frame says."""
    verbs = argument_of(found.records, found.rows, 0).dictionary_encode()
    codes, commands = pd.factorize(names[found.places], use_na_sentinel=False)
    pairs = np.unique(codes * np.int64(len(verbs.dictionary)) + verbs.indices.to_numpy())
    spelled = verbs.dictionary.to_pylist()
    return all(_is_named(spelled[pair % len(spelled)], commands[pair // len(spelled)]) for pair in pairs.tolist())


def _is_named(verb: bytes, cmd: object) -> bool:
    """Whether a command spelled `verb` can be the row's `cmd`; what is no text says nothing."""
    name = verb.decode("utf-8", "backslashreplace").upper()
    return not isinstance(cmd, str) or f"{cmd.upper()} ".startswith(f"{name} ")


def _made(places: Ints, argvs: list[list[bytes]], offsets: Ints, nbytes: Ints) -> Found:
    return Found(places, Records.of(argvs, offsets, nbytes), np.arange(len(places)))


def _bytes_at(file: PartFile, path: str, offset: int, nbytes: int) -> bytes:
    size = Path(path).stat().st_size
    if offset + nbytes > size and not file.compressed:
        raise AofError(
            f"the file is {size} bytes long, shorter than when it was read; read the log again",
            file=path,
            offset=offset,
        )
    file.seek(offset)
    return file.read(nbytes)


def _record_of(data: bytes, status: object, cmd: object, path: str, offset: int) -> object:
    """What `data` is, as `read_record` says it.

    Raises
    ------
    AofError
        It is not what the row with this `status` and `cmd` says. Files of different logs have the same names.
    """
    found = read_record(data, 0, eof=True) if data else None
    if isinstance(found, Record):
        fits = found.end == len(data) and _is_named(found.argv[0], cmd)
    else:
        fits = status not in _WHOLE
    if not fits:
        raise AofError(
            "these are not the bytes of this row: the frame is of another log, or the file was replaced; read the log "
            "again",
            file=path,
            offset=offset,
        )
    return found
