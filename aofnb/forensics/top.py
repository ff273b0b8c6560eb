"""What makes a log large, counted in one pass: memory grows with the number of different answers, not with the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pyarrow as pa

from aofnb.forensics.kinds import Kinds, Sums

if TYPE_CHECKING:
    import pandas as pd

    from aofnb.forensics.log import Log
    from aofnb.forensics.reading import Progress

__all__ = ["top"]

_NO_KEY = "(no key)"


def top(log: Log, by: Literal["template", "key", "cmd"], n: int, progress: Progress = None) -> pd.DataFrame:
    """The `n` kinds of keys, keys or commands with the most bytes: commands (int64), bytes (int64), share (float64)."""
    import pandas as pd

    found: dict[str, tuple[int, int]] = {}
    kinds, sums = Kinds(), Sums()

    def add(what: str, rows: int, nbytes: int) -> None:
        before = found.get(what, (0, 0))
        found[what] = before[0] + rows, before[1] + nbytes

    columns = ["cmd" if by == "cmd" else "key", "nbytes"]
    for batch in log.batches(columns=columns, on_bad=log.tolerant, progress=progress):
        _, names, nbytes = batch.columns
        if by == "template":
            # In front of all kinds is what has no key.
            sums.add(kinds.codes(names) + 1, nbytes.to_numpy())
            continue
        table = pa.table({"what": names.cast(pa.string()), "nbytes": nbytes})
        for each in table.group_by("what").aggregate([("nbytes", "count"), ("nbytes", "sum")]).to_pylist():
            add(_NO_KEY if each["what"] is None else each["what"], each["nbytes_count"], each["nbytes_sum"])
    for what, rows, size in sums.of([_NO_KEY, *kinds.words]):
        add(what, rows, size)
    total = sum(nbytes for _, nbytes in found.values())
    chosen = sorted(found, key=lambda what: (-found[what][1], what))[:n]
    return pd.DataFrame(
        {
            "commands": [found[what][0] for what in chosen],
            "bytes": [found[what][1] for what in chosen],
            "share": [round(found[what][1] / total, 4) for what in chosen],
        },
        index=pd.Index(chosen, name=by, dtype="str"),
    )
