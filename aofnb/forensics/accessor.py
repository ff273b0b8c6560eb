"""``df.aof``: from rows back to bytes, and pictures, for any frame with the columns of `read_aof`.

pandas makes the accessor anew at every use, and frames are filtered, joined and stored: so nothing is kept here, and
where the files are comes from ``df.attrs["aof"]`` or from the caller.
"""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Literal

import pandas as pd

from aofnb.forensics import analysis
from aofnb.forensics.reread import FrameRows, Source

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["AofAccessor", "AofPlots", "register"]

_PLACE = ("part", "offset", "nbytes")


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
        """The exact bytes of row `i`, read from the file. Those of a key of a snapshot are in the first of its rows.

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
        place = self._frame.index.get_loc(i)
        if not isinstance(place, int):
            raise ValueError(f"several rows are labelled {i}: reset_index(drop=True) tells them apart")
        return FrameRows(self._frame, source).raw(place)

    def arg(self, n: int, *, source: Source = None) -> pd.Series:
        """Argument `n` of each row as binary, NA where the command is shorter; 0 is the name.

        Taken from the column ``arg<n>`` or ``args`` if there is one, else read from the files.
        """
        if n < 0:
            raise ValueError("arguments are counted from the name, which is 0")
        frame, name = self._frame, f"arg{n}"
        if name in frame.columns:
            return frame[name]
        values = FrameRows(frame, source).argument(n)
        return pd.Series(pd.arrays.ArrowExtensionArray(values), index=frame.index, name=name)

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

        return write_rows(self._frame, FrameRows(self._frame, source), dest)

    # --- parts -------------------------------------------------------------------------------------------

    def _argvs_of(self, source: Source) -> analysis.Argvs:
        """A function from a mask to the arguments of its rows."""
        return lambda mask: FrameRows(self._frame[mask], source).argvs()


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


def register() -> None:
    """Make ``df.aof`` known to pandas, once: a reloaded module leaves the accessor that is there."""
    present = getattr(pd.DataFrame, "aof", None)
    if getattr(present, "__module__", None) != __name__:
        pd.api.extensions.register_dataframe_accessor("aof")(AofAccessor)
