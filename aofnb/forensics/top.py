"""What makes a log large, counted in one pass: memory grows with the number of different answers, not with the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pyarrow as pa
import pyarrow.compute as pc

from aofnb.forensics.kinds import Kinds, Sums

if TYPE_CHECKING:
    import pandas as pd

    from aofnb.forensics.log import Log
    from aofnb.forensics.reading import Progress

__all__ = ["top"]

_NO_KEY = "(no key)"
_TOTALS = ["what", "commands", "bytes"]
# So many rows are cheap to hold until they are added up.
_MANY = 1 << 18


def top(log: Log, by: Literal["template", "key", "cmd"], n: int, progress: Progress = None) -> pd.DataFrame:
    """The `n` kinds of keys, keys or commands with the most bytes: commands (int64), bytes (int64), share (float64)."""
    import pandas as pd

    if by == "template":
        totals = _by_template(log, progress)
    else:
        totals = _by_name(log, "cmd" if by == "cmd" else "key", progress)
    bytes_in_all = pc.sum(totals["bytes"]).as_py() or 0
    totals = totals.sort_by([("bytes", "descending"), ("what", "ascending")]).slice(0, n)
    return pd.DataFrame(
        {
            "commands": totals["commands"].to_numpy(),
            "bytes": totals["bytes"].to_numpy(),
            "share": (totals["bytes"].to_numpy() / max(bytes_in_all, 1)).round(4),
        },
        index=pd.Index(totals["what"].to_pylist(), name=by, dtype="str"),
    )


def _by_template(log: Log, progress: Progress) -> pa.Table:
    """What (text), commands and bytes of each kind of keys."""
    kinds, sums = Kinds(), Sums()
    for batch in log.batches(columns=["key", "nbytes"], on_bad=log.tolerant, progress=progress):
        _, names, nbytes = batch.columns
        # In front of all kinds is what has no key.
        sums.add(kinds.codes(names) + 1, nbytes.to_numpy())
    rows = [*zip(*sums.of([_NO_KEY, *kinds.words]), strict=True)] or [(), (), ()]
    return pa.table([pa.array(rows[0], pa.string()), *(pa.array(each, pa.int64()) for each in rows[1:])], _TOTALS)


def _by_name(log: Log, column: str, progress: Progress) -> pa.Table:
    """What (text), commands and bytes of each different value of a column."""
    totals = pa.table([pa.array([], pa.string()), *(pa.array([], pa.int64()) for _ in range(2))], _TOTALS)
    more: list[pa.Table] = []
    waiting = 0
    for batch in log.batches(columns=[column, "nbytes"], on_bad=log.tolerant, progress=progress):
        _, names, nbytes = batch.columns
        names = pc.fill_null(names.cast(pa.string()), _NO_KEY)
        more.append(_added([pa.table([names, pa.repeat(pa.scalar(1, pa.int64()), len(names)), nbytes], _TOTALS)]))
        waiting += len(more[-1])
        if waiting > max(len(totals), _MANY):
            totals, more, waiting = _added([totals, *more]), [], 0
    return _added([totals, *more])


def _added(tables: list[pa.Table]) -> pa.Table:
    """One row for each `what`."""
    grouped = pa.concat_tables(tables).group_by("what").aggregate([("commands", "sum"), ("bytes", "sum")])
    return grouped.select(["what", "commands_sum", "bytes_sum"]).rename_columns(_TOTALS)
