"""What makes a log large, counted in one pass: memory grows with the number of different answers, not with the log."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

import pyarrow as pa

from aofnb.forensics.roles import template

if TYPE_CHECKING:
    import pandas as pd

    from aofnb.forensics.log import Log
    from aofnb.forensics.reading import Progress

__all__ = ["top"]


def top(log: Log, by: Literal["template", "key", "cmd"], n: int, progress: Progress = None) -> pd.DataFrame:
    """The `n` kinds of keys, keys or commands with the most bytes: commands (int64), bytes (int64), share (float64)."""
    import pandas as pd

    column = "cmd" if by == "cmd" else "key"
    commands: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    total = 0
    for batch in log.batches(columns=[column, "nbytes"], on_bad=log.tolerant, progress=progress):
        table = pa.table({"what": batch.column(1).cast(pa.string()), "nbytes": batch.column(2)})
        counted = table.group_by("what").aggregate([("nbytes", "sum"), ("nbytes", "count")]).to_pylist()
        for each in counted:
            what = each["what"]
            name = "(no key)" if what is None else template(what) if by == "template" else what
            commands[name] += each["nbytes_count"]
            sizes[name] += each["nbytes_sum"]
            total += each["nbytes_sum"]
    chosen = sorted(sizes, key=lambda name: (-sizes[name], name))[:n]
    return pd.DataFrame(
        {
            "commands": [commands[name] for name in chosen],
            "bytes": [sizes[name] for name in chosen],
            "share": [round(sizes[name] / total, 4) for name in chosen],
        },
        index=pd.Index(chosen, name=by, dtype="str"),
    )
