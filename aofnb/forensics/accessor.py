"""``df.aof``: from rows back to bytes, and pictures, for any frame with the columns of `read_aof`.

pandas makes the accessor anew at every use, and frames are filtered, joined and stored: so nothing is kept here, and
where the files are comes from ``df.attrs["aof"]`` or from the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aofnb.errors import AofError
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
        return "df.aof: raw(i), arg(n), plot.rate(), plot.offsets()"

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
        path, compression = self._files(source)(str(row["part"]))
        with PartFile(path, compression) as file:
            data = _bytes_at(file, path, int(row["offset"]), int(row["nbytes"]))
        _record_of(data, row.get("status"), row.get("cmd"), path, int(row["offset"]))
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
        if "args" in frame.columns:
            argvs: Iterator[Any] = iter(frame["args"])
            values = [argv[n] if len(argv) > n else None for argv in argvs]
        else:
            values = self._arguments(n, self._files(source))
        import pyarrow as pa

        return pd.Series(
            pd.arrays.ArrowExtensionArray(pa.array(values, pa.binary())),
            index=frame.index,
            name=name,
        )

    def _arguments(self, n: int, locate: Callable[[str], tuple[str, str | None]]) -> list[bytes | None]:
        parts = self._frame["part"].astype(str).to_numpy()
        offsets = self._frame["offset"].to_numpy()
        nbytes = self._frame["nbytes"].to_numpy()
        statuses, cmds = self._words("status"), self._words("cmd")
        values: list[bytes | None] = [None] * len(parts)
        for part in pd.unique(parts):
            places = np.flatnonzero(parts == part)
            path, compression = locate(part)
            with PartFile(path, compression) as file:
                for place in places[np.argsort(offsets[places], kind="stable")].tolist():
                    offset = int(offsets[place])
                    data = _bytes_at(file, path, offset, int(nbytes[place]))
                    found = _record_of(data, statuses[place], cmds[place], path, offset)
                    argv = found.argv if isinstance(found, (Record, Incomplete)) else []
                    values[place] = argv[n] if len(argv) > n else None
        return values

    def _words(self, name: str) -> Any:
        """The column `name` as objects; None for all rows if the frame has no such column."""
        if name not in self._frame.columns:
            return [None] * len(self._frame)
        return self._frame[name].to_numpy(dtype=object)

    def _files(self, source: Source) -> Callable[[str], tuple[str, str | None]]:
        """A function from the name of a part to its path and compression."""
        if source is not None:
            log = source if isinstance(source, Log) else Log(source)
            known = {part.name: (part.path, part.compression) for part in log.parts}
        else:
            about = self._frame.attrs.get("aof", {})
            known = {part["name"]: (part["path"], part["compression"]) for part in about.get("parts", ())}

        def locate(part: str) -> tuple[str, str | None]:
            if part not in known:
                raise ValueError(
                    f"where {part} is, is not known: grouping, and concatenating frames of different logs, lose "
                    "df.attrs['aof']; give source=, the path of the log"
                )
            return known[part]

        return locate


class AofPlots:
    """Pictures of a log with matplotlib; each takes ``ax=`` and returns the Axes."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame

    def __repr__(self) -> str:
        return "df.aof.plot: rate(), offsets()"

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
