"""Small pictures in characters, as LATENCY GRAPH shows its samples.

Redis: sparkline.c sparklineRender (7.0.15).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

__all__ = ["sparkline"]

# Bottom, middle and top of a row; what is below a mark is filled.
_MARKS, _FILL = "_o#", "|"


def sparkline(values: Sequence[int], labels: Sequence[str], *, columns: int, rows: int) -> str:
    """`values` as columns of marks, `columns` at a time, each with its label written downwards below it.

    >>> for line in sparkline([5, 30, 12, 70], ["7s", "6s", "5s", "4s"], columns=80, rows=4).splitlines():
    ...     print(repr(line))
    '   #'
    '   |'
    ' o |'
    '_|o|'
    '    '
    '7654'
    'ssss'
    """
    low, high = min(values), max(values)
    steps = len(_MARKS) * rows
    heights = [min(steps - 1, (value - low) * steps // ((high - low) or 1)) for value in values]
    blocks = []
    for at in range(0, len(values), columns):
        shown = heights[at : at + columns]
        lines = ["".join(_mark(height, row) for height in shown) for row in reversed(range(rows))]
        lines.append(" " * len(shown))
        lines += ["".join(chars) for chars in zip_longest(*labels[at : at + columns], fillvalue=" ")]
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def _mark(height: int, row: int) -> str:
    """What stands in `row`, counted from the bottom, of a column of `height` steps."""
    above = height - row * len(_MARKS)
    return " " if above < 0 else _MARKS[above] if above < len(_MARKS) else _FILL
