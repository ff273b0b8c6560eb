"""``df.aof``: from rows back to bytes, and pictures, for any frame with the columns of `read_aof`.

pandas makes the accessor anew at every use, and frames are filtered, joined and stored: so nothing is kept here, and
where the files are comes from ``df.attrs["aof"]`` or from the caller.
"""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from aofnb.errors import AofError
from aofnb.forensics import analysis
from aofnb.forensics.log import Log
from aofnb.forensics.parts import PartFile
from aofnb.forensics.scan import Incomplete, Record, read_record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["AofAccessor", "AofPlots", "register"]

_PLACE = ("part", "offset", "nbytes")
# Rows that are a whole command, which the file can be compared with.
_WHOLE = ("ok", "lf_repaired", "discarded", "unknown_command")

Source = str | PathLike[str] | Log | None


class AofAccessor:
    """What a frame of commands can be asked, as ``df.aof``."""

    def __init__(self, frame: pd.DataFrame) -> None:
        missing = [name for name in _PLACE if name not in frame.columns]
        if missing:
            raise AttributeError(
                f"df.aof works on the rows of aofnb.read_aof: this frame has no {' and no '.join(missing)}; "
                f"read it with the default columns, or with {', '.join(map(repr, _PLACE))} among them"
            )
        self._frame = frame

    def __repr__(self) -> str:
        return (
            "df.aof: raw(i), arg(n), events(), templates(), hot_keys(), big_values(), rate(), ttl(), transactions(), "
            "to_aof(dest), plot"
        )

    @property
    def plot(self) -> AofPlots:
        """Pictures of these rows."""
        return AofPlots(self._frame)

    def raw(self, i: int, *, source: Source = None) -> bytes:
        """The exact bytes of row `i`, read from the file.

        Parameters
        ----------
        i
            Label in the index: `seq`.
        source
            The log, or its path, if the frame does not know any more where it came from.

        Raises
        ------
        KeyError
            No such row.
        ValueError
            More than one, as frames of several logs have once they are concatenated; or it is unknown where the
            files are.
        AofError
            The file is gone, is shorter now than the row says, or holds another command there.
        """
        row: Any = self._frame.loc[i]
        if isinstance(row, pd.DataFrame):
            raise ValueError(f"{len(row)} rows are labelled {i}: reset_index(drop=True) tells them apart")
        part = self._files(source, row.get("shard"))(str(row["part"]))
        with PartFile(part.path, part.compression) as file:
            data = _bytes_at(file, part.path, int(row["offset"]), int(row["nbytes"]))
        if part.snapshot and not data.startswith(b"*"):
            # A key of a snapshot: its own form is not that of a command.
            return data
        _record_of(data, row.get("status"), row.get("cmd"), part.path, int(row["offset"]))
        return data

    def arg(self, n: int, *, source: Source = None) -> pd.Series:
        """Argument `n` of each row as binary, NA where the command is shorter; 0 is the name.

        Taken from the column ``arg<n>`` or ``args`` if there is one, else read from the files: for many rows
        ``read_aof(..., columns=[..., "arg2"])`` is faster.
        """
        if n < 0:
            raise ValueError("arguments are counted from the name, which is 0")
        frame, name = self._frame, f"arg{n}"
        if name in frame.columns:
            return frame[name]
        values = [argv[n] if len(argv) > n else None for argv in self._argvs(source)]
        import pyarrow as pa

        return pd.Series(
            pd.arrays.ArrowExtensionArray(pa.array(values, pa.binary())),
            index=frame.index,
            name=name,
        )

    # --- answers -----------------------------------------------------------------------------------------

    def events(self, *, source: Source = None) -> pd.DataFrame:
        """One row per command and key, for commands with several keys (MSET, RENAME, ...) more than one.

        Returns
        -------
        pandas.DataFrame
            `seq` (label of the row it came from), `db`, `cmd`, `key`, `role` (category: OW overwritten, RW changed,
            RO read, RM removed), and `ts`, `nbytes` if the frame has them; with several logs `shard` first.
        """
        return analysis.events(self._frame, self._argvs_of(source))

    def templates(self) -> pd.DataFrame:
        """What kinds of keys there are (``user:{n}:cart``), with commands, bytes, number of keys, most frequent command
        and share of all bytes; most bytes first.
        """
        return analysis.templates(self._frame)

    def hot_keys(self, n: int = 20, *, by: Literal["bytes", "commands"] = "bytes") -> pd.DataFrame:
        """The `n` keys that most `bytes` or `commands` of the log are about: db, key, commands, bytes; with several
        logs `shard` first.
        """
        return analysis.hot_keys(self._frame, n, by)

    def big_values(self, n: int = 20) -> pd.DataFrame:
        """The `n` largest commands, largest first."""
        return analysis.big_values(self._frame, n)

    def rate(self, freq: str = "1min", *, by: str | None = None) -> pd.DataFrame:
        """Commands and bytes per stretch of time (`freq` as pandas spells it), empty stretches included.

        With `by`, the name of a column such as ``"cmd"``: commands per value of it, a column each.
        """
        return analysis.rate(self._frame, freq, by)

    def ttl(self, *, source: Source = None) -> pd.DataFrame:
        """Every deadline that a command set: db, key, cmd, deadline, template, and ttl where the row has a time."""
        return analysis.ttl(self._frame, self._argvs_of(source))

    def transactions(self) -> pd.DataFrame:
        """One row per transaction: first and last row, bytes, commands, keys, dbs, complete (its EXEC is there).

        Indexed by `txn`, with several logs by `shard` and `txn`.
        """
        return analysis.transactions(self._frame)

    def to_aof(self, dest: str | PathLike[str], *, source: Source = None) -> int:
        """Write these rows as an append-only file that a server loads; returns how many bytes.

        The bytes are those of the log; a SELECT is put in where the database changes, and MULTI and EXEC are left out
        of transactions that are not whole in the frame. Rows that were cut or thrown away are refused.

        Raises
        ------
        ValueError
            A row is no whole command.
        FileExistsError
            There is a file at `dest`.
        """
        from aofnb.forensics.write import write_rows

        return write_rows(self._frame, self._argvs(source), dest)

    # --- parts -------------------------------------------------------------------------------------------

    def _argvs_of(self, source: Source) -> Callable[[Any], list[list[bytes]]]:
        """A function from a mask to the arguments of its rows."""
        return lambda mask: AofAccessor(self._frame[mask])._argvs(source)

    def _argvs(self, source: Source) -> list[list[bytes]]:
        """All arguments of every row: from the column `args` if there is one, else from the files."""
        if "args" in self._frame.columns:
            return [list(argv) for argv in self._frame["args"]]
        if source is None and "shard" in self._frame.columns and "shards" in self._about():
            return self._argvs_of_shards()
        locate = self._files(source)
        parts = self._frame["part"].astype(str).to_numpy()
        offsets = self._frame["offset"].to_numpy()
        nbytes = self._frame["nbytes"].to_numpy()
        statuses, cmds = self._words("status"), self._words("cmd")
        argvs: list[list[bytes]] = [[] for _ in parts]
        for name in pd.unique(parts):
            places = np.flatnonzero(parts == name)
            part = locate(name)
            in_snapshot: list[int] = []
            with PartFile(part.path, part.compression) as file:
                for place in places[np.argsort(offsets[places], kind="stable")].tolist():
                    offset = int(offsets[place])
                    data = _bytes_at(file, part.path, offset, int(nbytes[place]))
                    if part.snapshot and not data.startswith(b"*"):
                        in_snapshot.append(place)
                        continue
                    found = _record_of(data, statuses[place], cmds[place], part.path, offset)
                    argvs[place] = found.argv if isinstance(found, (Record, Incomplete)) else []
            if in_snapshot:
                self._fill_from_snapshot(argvs, in_snapshot, source)
        return argvs

    def _argvs_of_shards(self) -> list[list[bytes]]:
        argvs: list[list[bytes]] = [[] for _ in range(len(self._frame))]
        for name, about in self._about()["shards"].items():
            places = np.flatnonzero(self._frame["shard"] == name)
            rows = self._frame.iloc[places].drop(columns="shard")
            rows.attrs = {"aof": about}
            for place, argv in zip(places.tolist(), AofAccessor(rows)._argvs(None), strict=True):
                argvs[place] = argv
        return argvs

    def _about(self) -> dict[str, Any]:
        """What `read_aof` noted about the log; empty if that was lost."""
        about: dict[str, Any] = self._frame.attrs.get("aof", {})
        return about

    def _fill_from_snapshot(self, argvs: list[list[bytes]], places: list[int], source: Source) -> None:
        """The arguments of rows that a snapshot was turned into: only reading it again has them."""
        if self._frame.index.name != "seq":
            raise ValueError(
                "rows of a snapshot are found by their number in the log: keep the index `seq`, or read the log with "
                "the column `args`"
            )
        log = source if isinstance(source, Log) else Log(source or self._about()["source"])
        wanted = {int(self._frame.index[place]): place for place in places}
        for batch in log.batches(columns=["args"], start=min(wanted), stop=max(wanted) + 1, on_bad="truncate"):
            for seq, argv in zip(batch.column(0).to_pylist(), batch.column(1), strict=True):
                if seq in wanted:
                    argvs[wanted[seq]] = argv.as_py()

    def _words(self, name: str) -> Any:
        """The column `name` as objects; None for all rows if the frame has no such column."""
        if name not in self._frame.columns:
            return [None] * len(self._frame)
        return self._frame[name].to_numpy(dtype=object)

    def _files(self, source: Source, shard: str | None = None) -> Callable[[str], _Place]:
        """A function from the name of a part, in `shard` if there are several logs, to where it is."""
        if source is not None:
            log = source if isinstance(source, Log) else Log(source)
            known = {part.name: _Place(part.path, part.compression, part.format == "rdb") for part in log.parts}
        else:
            about = self._about()
            about = about.get("shards", {}).get(shard, about)
            known = {
                part["name"]: _Place(part["path"], part["compression"], part["format"] == "rdb")
                for part in about.get("parts", ())
            }

        def locate(part: str) -> _Place:
            if part not in known:
                raise ValueError(
                    f"where {part} is, is not known: grouping, and concatenating frames of different logs, lose "
                    "df.attrs['aof']; give source=, the path of the log"
                )
            return known[part]

        return locate


class _Place(NamedTuple):
    """A file of the log. With `snapshot` it begins with one, so that not all its rows are commands in it."""

    path: str
    compression: str | None
    snapshot: bool


class AofPlots:
    """Pictures of a log with matplotlib; each takes ``ax=`` and returns the Axes."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame

    def __repr__(self) -> str:
        return "df.aof.plot: rate(), offsets(), timeline(key), treemap(), ttl(), heatmap()"

    def rate(self, *, ax: Axes | None = None, buckets: int = 200) -> Axes:
        """Commands per second; without timestamps, commands per stretch of the log.

        `buckets` is how finely the log, or the time it took if that is more seconds, is divided.
        """
        from aofnb.forensics import plots

        return plots.rate(self._frame, ax, buckets)

    def offsets(self, *, ax: Axes | None = None, buckets: int = 100, top: int = 8) -> Axes:
        """Where in the log the bytes of which command are: the `top` largest, and the others as one."""
        from aofnb.forensics import plots

        return plots.offsets(self._frame, ax, buckets, top)

    def timeline(self, key: str | bytes, *, ax: Axes | None = None) -> Axes:
        """Every command about `key`, as its first key, in the order of the log: one line per command."""
        from aofnb.forensics import plots

        return plots.timeline(self._frame, key, ax)

    def treemap(self, *, ax: Axes | None = None, top: int = 30) -> Axes:
        """Bytes of the log by kind of key: an area each, the `top` largest and the others as one."""
        from aofnb.forensics import plots

        return plots.treemap(self._frame, ax, top)

    def ttl(self, *, ax: Axes | None = None, source: Source = None, buckets: int = 100) -> Axes:
        """How many keys were to expire when: bursts are peaks."""
        from aofnb.forensics import plots

        return plots.ttl(AofAccessor(self._frame).ttl(source=source), ax, buckets)

    def heatmap(self, *, ax: Axes | None = None, top: int = 20, buckets: int = 100) -> Axes:
        """Commands by kind of key and place in the log, or time: who is busy when."""
        from aofnb.forensics import plots

        return plots.heatmap(self._frame, ax, top, buckets)


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
        fits = found.end == len(data)
        if isinstance(cmd, str):
            name = found.argv[0].decode("utf-8", "backslashreplace").upper()
            fits = fits and f"{cmd.upper()} ".startswith(f"{name} ")
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


def register() -> None:
    """Make ``df.aof`` known to pandas, once: a reloaded module leaves the accessor that is there."""
    present = getattr(pd.DataFrame, "aof", None)
    if getattr(present, "__module__", None) != __name__:
        pd.api.extensions.register_dataframe_accessor("aof")(AofAccessor)
