import builtins
import sys

import pytest
from support.require import need
from support.samples import public_samples, sample

import aofnb

try:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
except ImportError:
    need("matplotlib", None)

TIMED = sample("03-timestamps") / "data"
UNTIMED = sample("02-aof-base-incr") / "data"


@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


def areas(ax):
    return [patch.get_data() for patch in ax.patches]


def test_rate_counts_commands_per_second_where_there_are_times(ax):
    df = aofnb.read_aof(TIMED)
    assert df.aof.plot.rate(ax=ax) is ax
    ((counts, _, _),) = areas(ax)
    by_second = df.groupby("ts").size()
    assert counts.sum() == len(df)
    assert counts.max() == by_second.max()
    assert "second" in ax.get_ylabel()


def test_rate_over_more_seconds_than_buckets_is_a_mean(ax):
    df = aofnb.read_aof(TIMED)
    df.aof.plot.rate(ax=ax, buckets=2)
    ((counts, edges, _),) = areas(ax)
    assert len(counts) <= 2
    seconds = (edges[1:] - edges[:-1]) * 86_400  # matplotlib counts days
    assert (counts * seconds).sum() == pytest.approx(len(df))


def test_rate_counts_along_the_log_where_there_are_no_times(ax):
    df = aofnb.read_aof(UNTIMED)
    df.aof.plot.rate(ax=ax, buckets=10)
    ((counts, edges, _),) = areas(ax)
    assert (counts.sum(), len(counts)) == (len(df), 10)
    # Both files, one behind the other.
    assert edges[-1] * 1e3 == pytest.approx(df["nbytes"].sum(), rel=0.01)


def test_offsets_stacks_the_bytes_of_the_largest_commands(ax):
    df = aofnb.read_aof(UNTIMED)
    assert df.aof.plot.offsets(ax=ax, top=3) is ax
    stacked = areas(ax)
    assert sum((counts - below).sum() for counts, _, below in stacked) == pytest.approx(df["nbytes"].sum())
    largest = df.groupby("cmd", observed=True)["nbytes"].sum().nlargest(3).index.tolist()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [*largest, "others"]


@pytest.mark.parametrize("path", [sample("10-fresh-empty") / "data", TIMED])
@pytest.mark.parametrize("kind", ["rate", "offsets"])
def test_a_picture_of_no_rows_or_one_is_still_a_picture(path, kind, ax):
    df = aofnb.read_aof(path, nrows=1)
    assert getattr(df.aof.plot, kind)(ax=ax) is ax
    ax.figure.canvas.draw()


def test_without_ax_a_new_one_is_made():
    made = aofnb.read_aof(TIMED).aof.plot.rate()
    made.figure.canvas.draw()
    plt.close(made.figure)


def test_damaged_rows_are_drawn_too(ax):
    df = aofnb.read_aof(sample("05-garbage-middle") / "data", on_bad="truncate")
    df.aof.plot.offsets(ax=ax)
    assert "(unreadable)" in [text.get_text() for text in ax.get_legend().get_texts()]


def test_offsets_needs_the_commands(ax):
    df = aofnb.read_aof(UNTIMED, columns=["part", "offset", "nbytes"])
    with pytest.raises(AttributeError, match="'cmd'"):
        df.aof.plot.offsets(ax=ax)


def test_without_matplotlib_the_error_names_the_extra(monkeypatch):
    df = aofnb.read_aof(TIMED)
    real = builtins.__import__

    def without_matplotlib(name, *rest):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_matplotlib)
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot")
    with pytest.raises(ImportError, match=r"aofnb\[plot\]"):
        df.aof.plot.rate()


def test_public_logs_can_be_drawn(ax):
    df = aofnb.read_aof(public_samples() / "aof-selector/appendonly.aof")
    df.aof.plot.offsets(ax=ax)
    df.aof.plot.rate(ax=ax)
    ax.figure.canvas.draw()


@pytest.mark.parametrize(("buckets", "error"), [(0, ValueError), (-1, ValueError), (2.5, TypeError)])
def test_buckets_that_cannot_be_are_refused_by_name(buckets, error):
    df = aofnb.read_aof(sample("02-aof-base-incr") / "data")
    for plot in (df.aof.plot.rate, df.aof.plot.offsets):
        with pytest.raises(error, match="buckets="):
            plot(buckets=buckets)
