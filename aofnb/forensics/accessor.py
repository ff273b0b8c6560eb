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
            The file is shorter now than the row says.
        """
        row: Any = self._frame.loc[i]
        if isinstance(row, pd.DataFrame):
            raise ValueError(f"{len(row)} rows are labelled {i}: reset_index(drop=True) tells them apart")
        path, compression = self._files(source)(str(row["part"]))
        with PartFile(path, compression) as file:
            return _bytes_at(file, path, int(row["offset"]), int(row["nbytes"]))

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
        values: list[bytes | None] = [None] * len(parts)
        for part in pd.unique(parts):
            places = np.flatnonzero(parts == part)
            path, compression = locate(part)
            with PartFile(path, compression) as file:
                for place in places[np.argsort(offsets[places], kind="stable")].tolist():
                    data = _bytes_at(file, path, int(offsets[place]), int(nbytes[place]))
                    found = read_record(data, 0, eof=True) if data else None
                    argv = found.argv if isinstance(found, (Record, Incomplete)) else []
                    values[place] = argv[n] if len(argv) > n else None
        return values

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


def register() -> None:
    """Make ``df.aof`` known to pandas, once: a reloaded module leaves the accessor that is there."""
    present = getattr(pd.DataFrame, "aof", None)
    if getattr(present, "__module__", None) != __name__:
        pd.api.extensions.register_dataframe_accessor("aof")(AofAccessor)
