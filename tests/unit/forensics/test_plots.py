import builtins
import sys
from itertools import pairwise, product

import pytest
from support.require import need
from support.samples import public_samples, sample

import aofnb
from aofnb.resp.encode import encode_command

try:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.text import Text
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
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["others", *largest[::-1]]


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


# --- what a person sees ----------------------------------------------------------------------------------


@pytest.fixture
def shop(tmp_path):
    """Six commands in each of some seconds, spread over `seconds`, with deadlines and kinds of keys with long names."""

    def shop(seconds):
        log = [b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n"]
        for at in sorted({round(place * (seconds - 1) / 40) for place in range(41)}):
            log.append(b"#TS:%d\r\n" % (1_795_183_200 + at))
            for kind in (b"cart", b"a very long name of a kind of key, as some people have it", b"x"):
                key = b"%s:%d" % (kind, at)
                log.append(encode_command([b"HSET", key, b"field", b"x" * 30]))
                log.append(encode_command([b"PEXPIREAT", key, b"%d" % ((1_795_183_200 + at + seconds) * 1000)]))
        path = tmp_path / "shop.aof"
        path.write_bytes(b"".join(log))
        return aofnb.read_aof(path)

    return shop


def boxes(labels):
    return [label.get_window_extent() for label in labels if label.get_text() and label.get_visible()]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("kind", "seconds"),
    [
        *product(("rate", "timeline", "ttl", "heatmap"), (1, 200, 250_000, 40_000_000)),
        ("offsets", 50),
        ("treemap", 50),
    ],
)
def test_texts_are_whole_and_lie_beside_each_other(shop, kind, seconds):
    ax = getattr(shop(seconds).aof.plot, kind)(*["cart:0"] * (kind == "timeline"))
    figure = ax.figure
    figure.canvas.draw()
    paper = figure.bbox
    seen = figure.get_tightbbox().transformed(figure.dpi_scale_trans)
    assert min(seen.x0, seen.y0) >= 0
    assert seen.x1 <= paper.x1
    assert seen.y1 <= paper.y1
    left, right = sorted(ax.get_xlim())
    ticks = [tick.label1 for tick in ax.xaxis.get_major_ticks() if left <= tick.get_loc() <= right]
    assert all(one.x1 < other.x0 for one, other in pairwise(boxes(ticks)))
    assert all(one.y0 >= other.y1 or one.y1 <= other.y0 for one, other in pairwise(boxes(ax.get_yticklabels())))
    assert ax.xaxis.label.get_window_extent().x1 < ax.xaxis.get_offset_text().get_window_extent().x0 or not timed(ax)
    plt.close(figure)


def timed(ax):
    return ax.get_xlabel().endswith("(UTC)")


def test_the_legend_hides_no_data(shop):
    ax = shop(100).aof.plot.offsets()
    ax.figure.canvas.draw()
    assert ax.get_legend().get_window_extent().x0 >= ax.get_window_extent().x1
    plt.close(ax.figure)


def test_the_rate_of_a_steady_log_does_not_drop_at_its_end(ax, tmp_path):
    path = tmp_path / "log.aof"
    path.write_bytes(b"".join(b"#TS:%d\r\n*1\r\n$4\r\nPING\r\n" % (1_795_183_200 + second) for second in range(101)))
    aofnb.read_aof(path).aof.plot.rate(ax=ax, buckets=10)
    ((counts, _, _),) = areas(ax)
    assert set(counts) == {1.0}


@pytest.mark.parametrize(("buckets", "says"), [(1, "40 s"), (10, "4 s"), (1000, "second")])
def test_deadlines_are_counted_in_whole_seconds_and_keys(shop, ax, buckets, says):
    df = shop(40)
    df.aof.plot.ttl(ax=ax, buckets=buckets)
    ((counts, _, _),) = areas(ax)
    assert counts.sum() == len(df.aof.ttl())
    assert ax.get_ylabel() == f"keys per {says}"
    assert all(tick == int(tick) for tick in ax.get_yticks())


@pytest.mark.parametrize("kind", ["treemap", "heatmap", "timeline", "offsets"])
def test_names_are_no_formulas_and_stand_on_one_line(kind, tmp_path):
    key, name = "a$b_{c$\n\x1b", "$x_{$"
    data = encode_command([b"SET", key.encode(), b"v" * 99]) + encode_command([name.encode(), b"k"])
    (tmp_path / "x.aof").write_bytes(data)
    plot = getattr(aofnb.read_aof(tmp_path / "x.aof").aof.plot, kind)
    drawn = plot(key) if kind == "timeline" else plot()
    drawn.figure.canvas.draw()
    plt.close(drawn.figure)
    texts = [text.get_text() for text in drawn.figure.findobj(Text)]
    assert r"a\$b_{c\$\n\x1b" in " ".join(texts).replace("\\\\", "\\") or kind == "offsets"
    assert all("\x1b" not in text for text in texts)


def test_the_title_of_a_rate_counts_what_is_drawn(ax, tmp_path):
    data = encode_command([b"INCR", b"k"]) * 3 + b"#TS:1000\r\n" + encode_command([b"INCR", b"k"]) * 2
    (tmp_path / "x.aof").write_bytes(data)
    aofnb.read_aof(tmp_path / "x.aof").aof.plot.rate(ax=ax)
    assert ax.get_title() == "2 commands, and 3 without a time"


def test_colours_of_a_heatmap_begin_at_none(ax, tmp_path):
    (tmp_path / "x.aof").write_bytes(encode_command([b"INCR", b"k"]))
    aofnb.read_aof(tmp_path / "x.aof").aof.plot.heatmap(ax=ax)
    assert ax.collections[0].get_clim()[0] == 0
