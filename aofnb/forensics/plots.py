"""Pictures of a frame of commands. Rows are counted before anything is drawn: a million points is no picture."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from aofnb.forensics import analysis
from aofnb.forensics.frame import at_least
from aofnb.forensics.words import count, printable, size

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["heatmap", "offsets", "rate", "timeline", "treemap", "ttl"]

_GREY = (0.6, 0.6, 0.6, 1.0)


def rate(frame: pd.DataFrame, ax: Axes | None, buckets: int) -> Axes:
    """Commands per second, or per stretch of the log where no row has a time."""
    buckets = at_least(buckets, 1, "buckets")
    ax = _axes(ax)
    drawn = len(frame)
    if "ts" in frame.columns and frame["ts"].notna().any():
        drawn = int(frame["ts"].notna().sum())
        seconds = frame["ts"].dropna().astype("int64").to_numpy()
        edges = _spans(seconds, buckets)
        counts, _ = np.histogram(seconds, edges)
        ax.stairs(counts / np.diff(edges), edges.astype("datetime64[s]"), fill=True)
        _over_time(ax, "time", edges)
        ax.set_ylabel("commands per second")
    else:
        edges, places, label, scale = _stretches(frame, buckets)
        counts, _ = np.histogram(places, edges)
        ax.stairs(counts, edges / scale, fill=True)
        ax.set_xlabel(f"place in the log ({label})")
        ax.set_ylabel(f"commands per {size(int(edges[1] - edges[0]))}")
        _counted(ax)
    ax.set_ylim(bottom=0)
    without = f", and {len(frame) - drawn:,} without a time" if drawn < len(frame) else ""
    ax.set_title(count(drawn, "command") + without)
    return ax


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
        ax.stairs(below + counts, edges / scale, baseline=below, fill=True, label=_cut(str(name), 40))
        below = below + counts
    ax.set_xlabel(f"place in the log ({label})")
    ax.set_ylabel(f"bytes per {size(int(edges[1] - edges[0]))}")
    ax.set_ylim(bottom=0)
    ax.set_title("bytes of the log by command")
    if shown:
        # From the top as they are stacked, beside what they name.
        ax.legend(reverse=True, loc="upper left", bbox_to_anchor=(1, 1))
    return ax


def timeline(frame: pd.DataFrame, key: str | bytes, ax: Axes | None) -> Axes:
    """Each command about `key` at its time, or its row number where there are no times."""
    analysis.needs(frame, "key", "cmd")
    rows = frame[frame["key"] == key]
    if rows.empty:
        raise ValueError(f"no row has the key {key!r}; as a first key, that is: df.aof.events() has the others")
    ax = _axes(ax)
    names = rows["cmd"].astype(str)
    order = list(dict.fromkeys(names))
    timed = "ts" in rows.columns and rows["ts"].notna().all()
    x = rows["ts"].dt.tz_localize(None).to_numpy() if timed else rows.index.to_numpy()
    y = names.map({name: place for place, name in enumerate(order)}).to_numpy()
    ax.scatter(x, y, marker="|", s=200)
    ax.set_yticks(range(len(order)), [_cut(name, 40) for name in order])
    ax.set_ylim(len(order) - 0.5, -0.5)
    if timed:
        _over_time(ax, "time", x.astype("datetime64[s]").astype(np.int64))
    else:
        ax.set_xlabel("row of the log (seq)")
    ax.set_title(f"{count(len(rows), 'command')} about {_cut(repr(key), 50)}")
    return ax


def treemap(frame: pd.DataFrame, ax: Axes | None, top: int) -> Axes:
    """Rectangles whose areas are the bytes of each kind of key."""
    kinds = analysis.templates(frame)["bytes"]
    shown = kinds.head(at_least(top, 1, "top"))
    labels, sizes = shown.index.tolist(), shown.tolist()
    if len(kinds) > len(shown):
        labels.append("others")
        sizes.append(int(kinds.iloc[len(shown) :].sum()))
    if not sizes:
        raise ValueError("no row has a key")
    ax = _axes(ax)
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    colors = colormaps["viridis"](np.linspace(0.25, 0.95, len(sizes)))
    if len(kinds) > len(shown):
        colors[-1] = _GREY
    for (x, y, width, height), label, nbytes, color in zip(_squares(sizes), labels, sizes, colors, strict=True):
        ax.add_patch(Rectangle((x, y), width, height, facecolor=color, edgecolor="white"))
        # What would not fit is not written: a letter takes about a seventieth of the width.
        letters = int(width * 70)
        if letters >= min(len(label), 8) and height > 0.07:
            ink = "white" if color[:3].mean() < 0.45 else "black"
            place = (x + width / 2, y + height / 2)
            text = f"{_cut(label, letters)}\n{size(nbytes)}"
            ax.annotate(text, place, ha="center", va="center", fontsize=8, color=ink)
    ax.set(xlim=(0, 1), ylim=(0, 1))
    ax.set_axis_off()
    ax.set_title("bytes of the log by kind of key")
    return ax


def _squares(sizes: list[int]) -> list[tuple[float, float, float, float]]:
    """Rectangles (x, y, width, height) that fill the unit square with the areas of `sizes`, largest first.

    Each step takes a strip along the shorter side of what is left, with as many areas as make it squarest.
    """
    total = sum(sizes)
    areas = [size / total for size in sizes]
    made: list[tuple[float, float, float, float]] = []
    x, y, width, height = 0.0, 0.0, 1.0, 1.0
    while areas:
        side = min(width, height)
        count = 1
        while count < len(areas) and _worst(areas[: count + 1], side) <= _worst(areas[:count], side):
            count += 1
        strip, areas = areas[:count], areas[count:]
        thick = sum(strip) / side if side else 0.0
        along = 0.0
        for area in strip:
            length = area / thick if thick else 0.0
            made.append((x, y + along, thick, length) if width >= height else (x + along, y, length, thick))
            along += length
        if width >= height:
            x, width = x + thick, width - thick
        else:
            y, height = y + thick, height - thick
    return made


def _worst(areas: list[float], side: float) -> float:
    """The least square of the rectangles that a strip of `areas` along `side` has, as long side by short side."""
    thick = sum(areas) / side if side else 0.0
    if not thick:
        return float("inf")
    return max(max(area / thick / thick, thick * thick / area) if area else 1.0 for area in areas)


def ttl(deadlines: pd.DataFrame, ax: Axes | None, buckets: int) -> Axes:
    """Deadlines over time, as `analysis.ttl` gives them."""
    if deadlines.empty:
        raise ValueError("no command of these rows sets a deadline")
    buckets = at_least(buckets, 1, "buckets")
    ax = _axes(ax)
    seconds = deadlines["deadline"].dt.tz_localize(None).to_numpy().astype("datetime64[s]").astype(np.int64)
    edges = _spans(seconds, buckets)
    counts, _ = np.histogram(seconds, edges)
    ax.stairs(counts, edges.astype("datetime64[s]"), fill=True)
    _over_time(ax, "deadline", edges)
    ax.set_ylabel(f"keys per {_duration(edges[1] - edges[0])}")
    ax.set_ylim(bottom=0)
    _counted(ax)
    ax.set_title(count(len(deadlines), "deadline"))
    return ax


def heatmap(frame: pd.DataFrame, ax: Axes | None, top: int, buckets: int) -> Axes:
    """Commands of the `top` kinds of keys in each stretch of the log, or of its time."""
    kinds = analysis.templates(frame).head(at_least(top, 1, "top")).index.tolist()
    buckets = at_least(buckets, 1, "buckets")
    if not kinds:
        raise ValueError("no row has a key")
    ax = _axes(ax)
    known = frame[frame["key"].notna()]
    codes, names = analysis.kinds_of(known["key"])
    place_of = {kind: row for row, kind in enumerate(kinds)}
    rows = np.array([place_of.get(name, -1) for name in names])[codes]
    timed = "ts" in known.columns and known["ts"].notna().all()
    x = known["ts"].astype("int64").to_numpy() if timed else known.index.to_numpy()
    edges = _spans(x, buckets)
    wanted = rows >= 0
    counts, _, _ = np.histogram2d(rows[wanted], x[wanted], bins=[np.arange(len(kinds) + 1), edges])
    across = edges.astype("datetime64[s]") if timed else edges
    mesh = ax.pcolormesh(across, np.arange(len(kinds) + 1), counts, shading="flat", vmin=0)
    ax.set_yticks(np.arange(len(kinds)) + 0.5, [_cut(kind, 40) for kind in kinds])
    ax.invert_yaxis()
    width = int(edges[1] - edges[0])
    if timed:
        _over_time(ax, "time", edges)
    else:
        ax.set_xlabel("row of the log (seq)")
    bar = ax.figure.colorbar(mesh, ax=ax, label=f"commands per {_duration(width) if timed else count(width, 'row')}")
    _counted(bar.ax)
    ax.set_title("commands by kind of key")
    return ax


def _spans(values: np.ndarray, buckets: int) -> np.ndarray:
    """Edges of at most so many spans of whole numbers, from the least of `values` to behind the largest; the last span
    may be shorter. Seconds and rows are whole: finer spans would draw gaps that were not there.
    """
    first, end = int(values.min()), int(values.max()) + 1
    return np.append(np.arange(first, end, -(-(end - first) // buckets)), end)


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
    return np.linspace(0, max(total, 1), min(buckets, max(total, 1)) + 1), places, unit, scale


def _over_time(ax: Axes, name: str, seconds: np.ndarray) -> None:
    """Ticks at whole seconds, or longer, with what they have in common written once."""
    # It has no types.
    dates: Any = importlib.import_module("matplotlib.dates")
    span_s = int(seconds.max() - seconds.min())
    locator = dates.AutoDateLocator(minticks=min(max(span_s, 1), 3), maxticks=7)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))
    # On the right is what the ticks have in common.
    ax.set_xlabel(f"{name} (UTC)", loc="left")


def _counted(ax: Axes) -> None:
    """Ticks at whole numbers: there is no half of a command."""
    from matplotlib.ticker import MaxNLocator

    ax.yaxis.set_major_locator(MaxNLocator(integer=True))


def _duration(seconds: int) -> str:
    """A stretch of time as the denominator of a rate.

    >>> _duration(1), _duration(90), _duration(912), _duration(86_400)
    ('second', '90 s', '15.2 min', '24 h')
    """
    if seconds == 1:
        return "second"
    unit, scale_s = next(each for each in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)) if seconds >= 2 * each[1])
    return f"{seconds / scale_s:.3g} {unit}"


def _cut(text: str, letters: int) -> str:
    """`text` on one line, of at most so many letters, and no formula."""
    text = printable(text)
    return (text if len(text) <= letters else text[: letters - 1] + "…").replace("$", r"\$")


def _axes(ax: Axes | None) -> Any:
    """`ax`, or new ones, in which every text finds its room."""
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise ImportError(
            "plots need matplotlib: install the extra `plot` (pip install 'aofnb[plot]')", name="matplotlib"
        ) from None
    return plt.subplots(layout="constrained")[1]
