"""A `View` as live HTML, as a static table and as text.

Rules of this file: everything that is not ours is escaped; a picture never tells by colour alone; `static` uses no
style sheet, no script and no inline SVG, which front-ends remove from notebooks they do not trust; `text` is the
same for the same counters: no times, no ids.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from html import escape

from aofnb.aof.stats import AofStats
from aofnb.panel import NEUTRAL, image_of
from aofnb.widgets.model import MINUTE_S, Health, Series, View

__all__ = ["live", "rewrite_words", "seconds_text", "size_text", "static", "text"]

# After so long without an update the picture says so, without any script: each new picture starts the animation again.
STALE_S = 3
HEADLINES: dict[Health, str] = {
    "off": "this store writes no log",
    "error": "writing fails",
    "late": "fsync is late",
    "risk": "what a power cut would take",
    "safe": "everything is synced",
}
_STATES = {"live": "live", "stopped": "stopped", "closed": "store closed", "failed": "stopped by an error"}
_PHASES = {
    "switching": "switching to a new file",
    "loading": "loading the old files",
    "writing": "writing keys",
    "publishing": "publishing the new files",
}
_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def size_text(nbytes: float) -> str:
    """Bytes for people.

    >>> size_text(512), size_text(1536), size_text(1020 << 10), size_text(64 << 20)
    ('512 B', '1.5 KiB', '1.0 MiB', '64.0 MiB')
    """
    if nbytes < 1000:
        return f"{int(nbytes)} B"
    value, power = nbytes / 1024, 0
    # Never four digits before the point: they do not fit where the number stands.
    while value >= 999.95 and power < len(_UNITS) - 1:
        value, power = value / 1024, power + 1
    return f"{value:,.1f} {_UNITS[power]}"


def seconds_text(seconds: float) -> str:
    """A duration for people.

    >>> seconds_text(0), seconds_text(0.0042), seconds_text(2.5), seconds_text(83)
    ('0 s', '4.2 ms', '2.5 s', '1 min 23 s')
    """
    if seconds <= 0:
        return "0 s"
    if seconds < 0.0995:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"


def count_text(count: int, noun: str) -> str:
    """A number of things, with the plural of English.

    >>> count_text(1, "command"), count_text(1200, "command")
    ('1 command', '1,200 commands')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def fsync_text(view: View) -> str:
    """The state of fsync in words."""
    stats = view.stats
    if not stats.aof_enabled:
        return "no log, no fsync"
    if stats.fsync_lag_s > 0:
        words = f"oldest unsynced byte is {seconds_text(stats.fsync_lag_s)} old"
    else:
        words = "nothing waits"
    if stats.fsync_in_progress:
        words += ", fsync running"
    if stats.postponed_s > 0:
        words += f", write postponed for {seconds_text(stats.postponed_s)}"
    return words


def next_rewrite_text(view: View) -> str:
    """How far the log is from its next automatic rewrite."""
    due = view.rewrite_due_size
    if due is None:
        return "automatic rewrite is off" if view.auto_rewrite is not None else "automatic rewrite: not known"
    left = due - view.stats.current_size
    if left <= 0:
        return f"automatic rewrite is due (at {size_text(due)})"
    return f"automatic rewrite at {size_text(due)}, {size_text(left)} to go"


def rewrite_text(view: View) -> str:
    """The running rewrite, or how the last one ended, without durations."""
    stats = view.stats
    if stats.rewrite.phase != "idle":
        return rewrite_words(stats)
    if stats.rewrite_scheduled:
        return "scheduled"
    if not stats.last_rewrite_ok:
        return "last one failed"
    if stats.rewrites < 0:
        return "none running"
    return f"none running, {stats.rewrites:,} so far" if stats.rewrites else "none yet"


def rewrite_words(stats: AofStats, *, eta: bool = False) -> str:
    """How far a running rewrite is, with how long it may still take if asked for `eta`."""
    now = stats.rewrite
    words = _PHASES[now.phase]
    known = now.bytes_total if now.phase == "loading" else now.keys_total
    if now.phase == "loading" and known:
        words += f", {size_text(now.bytes_done)} of {size_text(now.bytes_total)}"
    elif known:
        words += f", {now.keys_done:,} of {count_text(now.keys_total, 'key')}"
    if known or now.phase == "publishing" or now.fraction:
        words += f", {min(1.0, max(0.0, now.fraction)):.0%}"
    if eta and now.eta_s is not None:
        words += f", about {seconds_text(now.eta_s)} left"
    return words


def keys_text(view: View) -> str:
    """How many keys there are, or nothing where that is not known."""
    return "" if view.stats.keys < 0 else count_text(view.stats.keys, "key")


def commands_text(count: int) -> str:
    """So many commands, or nothing where that is not known."""
    return "" if count < 0 else count_text(count, "command")


def _amount(nbytes: int, commands: int) -> str:
    return ", ".join(filter(None, [size_text(nbytes), commands_text(commands)]))


def mix_text(view: View) -> str:
    """Which commands were logged in the last minute."""
    return ", ".join(f"{name} {share:.0%}" for name, share in view.mix)


# --- text ------------------------------------------------------------------------------------------------------


def text(view: View) -> str:
    """The picture as plain text. Counters only: what depends on when one looks is left out."""
    stats = view.stats
    lines = [f"aofnb dashboard: {view.name} ({_STATES[view.state]})"]
    if view.problem is not None:
        lines.append(f"  problem              {view.problem}")
    if stats.write_error is not None:
        lines.append(f"  writing fails        {stats.write_error}")
    policy = f"appendfsync {stats.appendfsync}" if stats.aof_enabled else "no log"
    at_risk = _amount(stats.at_risk_bytes, view.at_risk_commands)
    lines.append(f"  {'at risk now':20} {at_risk} ({policy})")
    lines += [f"  {stage.title:20} {_amount(stage.nbytes, stage.commands)}" for stage in view.stages]
    lines.append(f"  {'rewrite':20} {rewrite_text(view)}; {next_rewrite_text(view)}")
    lines += [f"  {kind:20} {name}, {size_text(size)}" for name, kind, size in stats.files]
    if stats.keys >= 0:
        lines.append(f"  {'keys':20} {stats.keys:,}")
    if view.remark is not None:
        lines.append(f"  {'note':20} {view.remark}")
    return "\n".join(lines)


# --- sparklines ------------------------------------------------------------------------------------------------

_SPARK_W, _SPARK_H = 120, 24


def _points(series: Series) -> str:
    """The line of `series`: time runs to the right edge, zero is the lower edge, the peak is the upper edge."""
    peak = _peak(series) or 1.0
    step = _SPARK_W / (MINUTE_S - 1)
    height = _SPARK_H - 2
    return " ".join(f"{_SPARK_W - age * step:.1f},{_SPARK_H - 1 - value / peak * height:.1f}" for age, value in series)


def _svg(series: Series, stroke: str, attributes: str) -> str:
    points = _points(series)
    floor = _SPARK_H - 1
    shapes = (
        f'<path d="M0 {floor}H{_SPARK_W}" stroke="{stroke}" stroke-opacity=".4" vector-effect="non-scaling-stroke"/>'
    )
    if points:
        first, last = points.split(" ", 1)[0].split(",")[0], points.rsplit(" ", 1)[-1].split(",")[0]
        shapes += (
            f'<polygon points="{first},{floor} {points} {last},{floor}" fill="{stroke}" fill-opacity=".18"/>'
            f'<polyline points="{points}" fill="none" stroke="{stroke}" stroke-width="1.5"'
            ' vector-effect="non-scaling-stroke"/>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_SPARK_W} {_SPARK_H}" width="{_SPARK_W}"'
        f' height="{_SPARK_H}" preserveAspectRatio="none" {attributes}>{shapes}</svg>'
    )


def _spark_label(title: str, series: Series, now: str, peak: str) -> str:
    return f"{title}, last minute: now {now}, peak {peak}" if series else f"{title}: no samples yet"


def _peak(series: Series) -> float:
    return max((value for _, value in series), default=0.0)


def _labels(view: View) -> dict[str, tuple[Series, str]]:
    """Each sparkline with the words that say the same."""
    stats = view.stats

    def one(title: str, series: Series, now: float, unit: Callable[[float], str]) -> tuple[Series, str]:
        return series, _spark_label(title, series, unit(now), unit(_peak(series)))

    def per_second(value: float) -> str:
        return f"{value:,.0f} commands a second"

    return {
        "buffered": one("fill of aof_buf", view.buffered, stats.aof_buf_bytes, size_text),
        "at_risk": one("bytes at risk", view.at_risk, stats.at_risk_bytes, size_text),
        "rate": one("commands logged", view.rate, view.rate_now, per_second),
        "lag": one("fsync lag", view.lag, stats.fsync_lag_s, seconds_text),
    }


# --- live ------------------------------------------------------------------------------------------------------

_STYLE = f"""<style>
.aofnb {{ font-family: var(--jp-ui-font-family, system-ui, sans-serif); font-size: 13px; line-height: 1.4;
  color: var(--jp-ui-font-color1, currentColor); max-width: 900px; font-variant-numeric: tabular-nums;
  border: 1px solid var(--jp-border-color2, rgba(128,128,128,.4)); border-radius: 4px; padding: 10px 14px; }}
.aofnb * {{ box-sizing: border-box; }}
.aofnb .soft {{ font-size: 12px; opacity: .75; }}
.aofnb .top {{ display: flex; gap: 10px; align-items: baseline; }}
.aofnb .top b {{ font-size: 14px; }}
.aofnb .end {{ margin-left: auto; }}
.aofnb .row {{ display: flex; gap: 8px; margin-top: 10px; align-items: stretch; flex-wrap: wrap; }}
.aofnb .risk {{ flex: 1.2 1 180px; padding: 2px 12px; border-left: 5px solid var(--mark); }}
.aofnb .big {{ font-size: 30px; line-height: 1.15; font-weight: 600; overflow-wrap: anywhere; }}
.aofnb .stage {{ flex: 1 1 150px; padding: 6px 10px; border-radius: 4px; overflow-wrap: anywhere;
  background: var(--jp-layout-color2, rgba(128,128,128,.12)); }}
.aofnb .stage strong {{ font-size: 17px; font-weight: 600; }}
.aofnb .now {{ display: flex; flex-wrap: wrap; gap: 0 8px; align-items: baseline; }}
.aofnb .arrow {{ align-self: center; color: var(--jp-ui-font-color2, currentColor); }}
.aofnb svg {{ display: block; width: 100%; height: 24px; margin-top: 4px; }}
.aofnb .line {{ display: flex; gap: 10px; align-items: center; margin-top: 10px; }}
.aofnb .line > b {{ flex: 0 0 64px; font-weight: 600; }}
.aofnb .line > svg {{ flex: 0 1 150px; width: 150px; margin: 0; }}
.aofnb .bar {{ flex: 0 1 150px; height: 8px; border-radius: 4px; overflow: hidden;
  background: var(--jp-layout-color3, rgba(128,128,128,.3)); }}
.aofnb .bar i {{ display: block; height: 100%; background: var(--jp-brand-color1, #1976d2); }}
.aofnb .mix {{ display: flex; }}
.aofnb .mix i {{ flex: 0 0 auto; }}
.aofnb table {{ border-collapse: collapse; margin: 10px 0 0; font-size: 12px; color: inherit; }}
.aofnb th, .aofnb td {{ text-align: left; padding: 2px 16px 2px 0; font-weight: normal; border: 0;
  background: none; overflow-wrap: anywhere; }}
.aofnb th {{ opacity: .75; }}
.aofnb td.n, .aofnb th.n {{ text-align: right; white-space: nowrap; }}
.aofnb .alarm {{ margin-top: 8px; padding: 4px 10px; border-left: 5px solid var(--jp-error-color1, #d32f2f); }}
.aofnb .events {{ margin-top: 8px; }}
.aofnb .stale {{ visibility: hidden; animation: aofnb-stale 0s linear {STALE_S}s forwards;
  color: var(--jp-error-color1, #d32f2f); }}
@keyframes aofnb-stale {{ to {{ visibility: visible; }} }}
</style>"""

_MARKS: dict[Health, str] = {
    "off": "var(--jp-error-color1, #d32f2f)",
    "error": "var(--jp-error-color1, #d32f2f)",
    "late": "var(--jp-error-color1, #d32f2f)",
    "risk": "var(--jp-warn-color1, #ef6c00)",
    "safe": "var(--jp-success-color1, #388e3c)",
}


def live(view: View, tick: int) -> str:
    """The picture for the widget.

    `tick` makes every picture differ from the one before, since an unchanged one would not be sent and the screen
    would call it stale.
    """
    parts = [
        _STYLE,
        f'<div class="aofnb" role="group" aria-label="aofnb dashboard of {escape(view.name)}" data-tick="{tick}">',
        _top(view),
        _alarms(view),
        _flow(view),
        _fsync_line(view),
        _rewrite_line(view),
        _mix_line(view),
        _files(view),
        _remark(view),
        _events(view),
        "</div>",
    ]
    return "".join(parts)


def _top(view: View) -> str:
    name = escape(view.name)
    keys = keys_text(view)
    end = escape(_STATES[view.state])
    if view.state == "live":
        end = f'<span class="stale" role="status">no update for {STALE_S} s</span> {end}'
    return f'<div class="top"><b>{name}</b><span class="soft">{keys}</span><span class="soft end">{end}</span></div>'


def _alarms(view: View) -> str:
    problems = [words for words in (view.problem, view.stats.write_error) if words is not None]
    return "".join(f'<div class="alarm">{escape(words)}</div>' for words in problems)


def _flow(view: View) -> str:
    sparks = _labels(view)
    pictures = [_live_spark(*sparks[name]) for name in ("buffered", "at_risk", "rate")]
    captions = [
        f"peak {size_text(_peak(view.buffered))}",
        f"peak {size_text(_peak(view.at_risk))}",
        f"{view.rate_now:,.0f}/s" if view.stats.synced_commands >= 0 else "",
    ]
    health = view.health
    big = "no log" if health == "off" else size_text(view.stats.at_risk_bytes)
    arrow = '<span class="arrow" aria-hidden="true">&rarr;</span>'
    stages = [
        f'<div class="stage" title="{escape(stage.meaning)}"><span class="soft">{stage.title}</span>'
        f'<div class="now"><strong>{size_text(stage.nbytes)}</strong><span class="soft end">{caption}</span></div>'
        f'<span class="soft">{commands_text(stage.commands)}</span>{picture}</div>'
        for stage, caption, picture in zip(view.stages, captions, pictures, strict=True)
    ]
    return (
        f'<div class="row"><div class="risk {health}" style="--mark: {_MARKS[health]}">'
        f'<span class="soft">at risk now</span><div class="big">{big}</div>'
        f"<div>{commands_text(view.at_risk_commands)}</div>"
        f'<span class="soft">{HEADLINES[health]}</span></div>{arrow.join(stages)}</div>'
    )


def _live_spark(series: Series, label: str) -> str:
    attributes = f'role="img" aria-label="{escape(label)}"'
    return _svg(series, "var(--jp-brand-color1, #1976d2)", attributes).replace(
        "</svg>", f"<title>{escape(label)}</title></svg>"
    )


def _fsync_line(view: View) -> str:
    stats = view.stats
    last = ""
    if stats.fsyncs:
        last = f"; {count_text(stats.fsyncs, 'fsync')}, the last took {seconds_text(stats.last_fsync_duration_s)}"
    return (
        f'<div class="line"><b>fsync</b>{_live_spark(*_labels(view)["lag"])}'
        f"<span><b>{stats.appendfsync}</b>: {fsync_text(view)}"
        f'<span class="soft">{last}</span></span></div>'
    )


def _rewrite_line(view: View) -> str:
    stats = view.stats
    percent = round(view.rewrite_fraction * 100)
    words = rewrite_text(view)
    if stats.rewrite.phase != "idle":
        words = rewrite_words(stats, eta=True)
    elif stats.last_rewrite_duration_s is not None:
        words += f", the last took {seconds_text(stats.last_rewrite_duration_s)}"
    return (
        f'<div class="line"><b>rewrite</b><div class="bar" role="progressbar" aria-label="rewrite" aria-valuemin="0"'
        f' aria-valuemax="100" aria-valuenow="{percent}" aria-valuetext="{escape(words)}">'
        f'<i style="width: {percent}%"></i></div><span>{escape(words)}</span></div>'
    )


def _mix_line(view: View) -> str:
    if not view.mix:
        return ""
    parts = "".join(
        f'<i style="width: {share:.1%}; opacity: {max(0.25, 1 - 0.2 * place):.2f}"></i>'
        for place, (_, share) in enumerate(view.mix)
    )
    words = escape(mix_text(view))
    return (
        f'<div class="line"><b>writes</b><div class="bar mix" role="img"'
        f' aria-label="commands logged in the last minute: {words}">{parts}</div><span>{words}</span></div>'
    )


def _remark(view: View) -> str:
    return "" if view.remark is None else f'<div class="soft events">{escape(view.remark)}</div>'


def _files(view: View) -> str:
    rows = "".join(
        f'<tr><td>{escape(name)}</td><td>{escape(kind)}</td><td class="n">{size_text(size)}</td></tr>'
        for name, kind, size in view.stats.files
    )
    total = f'<tr><td class="soft" colspan="2">{escape(next_rewrite_text(view))}</td>'
    total += f'<td class="n">{size_text(view.stats.current_size)}</td></tr>'
    return f'<table><tr><th>file</th><th>type</th><th class="n">size</th></tr>{rows}{total}</table>'


def _events(view: View) -> str:
    if not view.events:
        return '<div class="events soft">no events yet</div>'
    lines = "".join(
        f"<div>{time.strftime('%H:%M:%S', time.localtime(event.at_ms / 1000))} {escape(event.text)}</div>"
        for event in view.events
    )
    return f'<div class="events soft">{lines}</div>'


# --- static ----------------------------------------------------------------------------------------------------


def static(view: View) -> str:
    """The picture as a table that needs nothing: for saved notebooks, other sites and untrusted documents."""
    stats, sparks = view.stats, _labels(view)
    first, second, third = view.stages
    policy = f"appendfsync {stats.appendfsync}" if stats.aof_enabled else "no log"
    at_risk = f"<b>{_amount(stats.at_risk_bytes, view.at_risk_commands)}</b>"
    rows = [("at risk now", at_risk, ""), ("fsync", policy, _image(*sparks["lag"]))]
    rows += [
        (stage.title, _amount(stage.nbytes, stage.commands), _image(*sparks[name]))
        for stage, name in ((first, "buffered"), (second, "at_risk"), (third, "rate"))
    ]
    rows.append(("rewrite", f"{escape(rewrite_text(view))}; {escape(next_rewrite_text(view))}", ""))
    rows += [(escape(kind), f"{escape(name)}, {size_text(size)}", "") for name, kind, size in stats.files]
    if stats.keys >= 0:
        rows.append(("keys", f"{stats.keys:,}", ""))
    if view.remark is not None:
        rows.append(("note", escape(view.remark), ""))
    for title, words in (("writing fails", stats.write_error), ("problem", view.problem)):
        if words is not None:
            rows.insert(0, (title, escape(words), ""))
    body = "".join(
        f'<tr><th style="text-align: left">{title}</th><td style="text-align: left">{value}</td><td>{image}</td></tr>'
        for title, value, image in rows
    )
    return (
        f'<table><caption style="text-align: left"><b>aofnb dashboard: {escape(view.name)}</b>'
        f" ({_STATES[view.state]})</caption>{body}</table>"
    )


def _image(series: Series, label: str) -> str:
    return image_of(_svg(series, NEUTRAL, ""), label, _SPARK_W, _SPARK_H) if series else ""
