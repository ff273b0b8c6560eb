"""Pictures of a frame of commands. Rows are counted before anything is drawn: a million points is no picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aofnb.forensics.frame import at_least

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["offsets", "rate"]


def rate(frame: pd.DataFrame, ax: Axes | None, buckets: int) -> Axes:
    """Commands per second, or per stretch of the log where no row has a time."""
    buckets = at_least(buckets, 1, "buckets")
    ax = _axes(ax)
    if "ts" in frame.columns and frame["ts"].notna().any():
        _rate_over_time(frame["ts"].dropna(), ax, buckets)
    else:
        edges, places, label, scale = _stretches(frame, buckets)
        counts, _ = np.histogram(places, edges)
        ax.stairs(counts, edges / scale, fill=True)
        ax.set_xlabel(f"place in the log ({label})")
        ax.set_ylabel(f"commands per {_short((edges[1] - edges[0]) / scale)} {label}")
    ax.set_ylim(bottom=0)
    return ax


def _rate_over_time(ts: pd.Series, ax: Axes, buckets: int) -> None:
    seconds = ts.astype("int64").to_numpy()
    first, last = int(seconds.min()), int(seconds.max())
    # Annotations count whole seconds: a finer bucket would draw gaps that were not there.
    width = max(1, -(-(last - first + 1) // buckets))
    counts = np.bincount((seconds - first) // width)
    edges = first + width * np.arange(len(counts) + 1)
    ax.stairs(counts / width, edges.astype("datetime64[s]"), fill=True)
    ax.set_xlabel("time (UTC)")
    ax.set_ylabel("commands per second")
    ax.tick_params(axis="x", rotation=30)


def offsets(frame: pd.DataFrame, ax: Axes | None, buckets: int, top: int) -> Axes:
    """Bytes of each command over the length of the log, stacked."""
    buckets, top = at_least(buckets, 1, "buckets"), at_least(top, 0, "top")
    if "cmd" not in frame.columns:
        raise AttributeError("df.aof.plot.offsets() needs the column 'cmd': read it with aofnb.read_aof")
    ax = _axes(ax)
    edges, places, label, scale = _stretches(frame, buckets)
    names = frame["cmd"].astype(object).where(frame["cmd"].notna(), "(unreadable)").to_numpy()
    nbytes = frame["nbytes"].to_numpy()
    totals = pd.Series(nbytes).groupby(names).sum().sort_values(ascending=False)
    shown = list(totals.index[:top])
    below = np.zeros(len(edges) - 1)
    for name in shown + (["others"] if len(totals) > top else []):
        mine = ~np.isin(names, shown) if name == "others" and name not in shown else names == name
        counts, _ = np.histogram(places[mine], edges, weights=nbytes[mine])
        ax.stairs(below + counts, edges / scale, baseline=below, fill=True, label=str(name))
        below = below + counts
    ax.set_xlabel(f"place in the log ({label})")
    ax.set_ylabel(f"bytes per {_short((edges[1] - edges[0]) / scale)} {label}")
    ax.set_ylim(bottom=0)
    if shown:
        ax.legend()
    return ax


def _stretches(frame: pd.DataFrame, buckets: int) -> tuple[np.ndarray, np.ndarray, str, float]:
    """Equal stretches of the log as edges, the place of each row, and the unit to show them in with its size.

    The files count as one behind the other, each as long as the rows say.
    """
    parts = frame["part"].astype("category").cat
    ends = (frame["offset"] + frame["nbytes"]).groupby(parts.codes.to_numpy()).max()
    lengths = np.zeros(len(parts.categories) + 1, np.int64)
    lengths[ends.index + 1] = ends.to_numpy()
    places = frame["offset"].to_numpy() + np.cumsum(lengths)[parts.codes.to_numpy()]
    total = int(lengths.sum())
    unit, scale = next(
        ((unit, scale) for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)) if total >= scale), ("B", 1.0)
    )
    return np.linspace(0, max(total, 1), buckets + 1), places, unit, scale


def _short(number: float) -> str:
    return f"{number:.3g}"


def _axes(ax: Axes | None) -> Any:
    """`ax`, or new ones."""
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise ImportError(
            "plots need matplotlib: install the extra `plot` (pip install 'aofnb[plot]')", name="matplotlib"
        ) from None
    return plt.subplots()[1]
