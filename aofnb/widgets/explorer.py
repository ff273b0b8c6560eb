"""`Explorer`: a slider through the time of a log, with the keys and one value as they were.

Positions are those of `aofnb.Log`: before a command. The log is a duck here: ``index``, ``parts``, ``batches``,
``to_pandas``, ``position`` and ``at`` are asked of it. It is never written.
"""

from __future__ import annotations

import re
from html import escape
from typing import Any

import ipywidgets

from aofnb.errors import AofnbError
from aofnb.panel import NEUTRAL, Panel, button, image_of
from aofnb.widgets.render import count_text, size_text
from aofnb.widgets.timeline import Kind, Mark, timeline_of

__all__ = ["Explorer"]

_KEYS = 12
_VALUE = 600
_ITEMS = 20
_GLOB = re.compile(r"([\\*?\[\]^])")
_WIDTH, _HEIGHT = 600, 46
_SIGNS: dict[Kind, tuple[str, str]] = {
    "flush": ("var(--jp-error-color1, #d32f2f)", "FLUSH"),
    "rewrite": ("var(--jp-success-color1, #388e3c)", "rewrite"),
    "damage": ("var(--jp-warn-color1, #ef6c00)", "damage"),
}
# How a value of each type is read, up to so many items.
_READ: dict[str, tuple[str, ...]] = {
    "string": ("GETRANGE", "{}", "0", str(_VALUE)),
    "list": ("LRANGE", "{}", "0", str(_ITEMS - 1)),
    "set": ("SSCAN", "{}", "0", "COUNT", str(_ITEMS)),
    "zset": ("ZRANGE", "{}", "0", str(_ITEMS - 1), "WITHSCORES"),
    "hash": ("HSCAN", "{}", "0", "COUNT", str(_ITEMS)),
    "stream": ("XRANGE", "{}", "-", "+", "COUNT", str(_ITEMS)),
}


class Explorer(Panel):
    """A log, at a position. Made by ``log.explorer()``.

    Parameters
    ----------
    log
        What `aofnb.scan` gave.
    key
        The key to look at; by default that of the command before the position.
    where
        The position to begin at; by default the end.
    db
        The database to look at.
    pattern
        Which keys to list, as KEYS reads it.
    """

    label = "log explorer"

    def __init__(
        self, log: Any, *, key: str | bytes | None = None, where: Any = "end", db: int = 0, pattern: str = "*"
    ) -> None:
        self.log = log
        self.timeline = timeline_of(log)
        self.key = key.encode() if isinstance(key, str) else key
        self.pattern = pattern
        self.db = db
        self.problem: str | None = None
        self._writes: dict[tuple[int, bytes], list[int]] = {}
        self._store: Any = None
        self.position = log.position(where)
        self._look()
        if self.key is None:
            self.key = self._key_before()
        self._make_controls()
        self._key_box.options = self._listed_keys

    def _make_controls(self) -> None:
        self._slider = ipywidgets.IntSlider(
            value=self.position.seq,
            min=0,
            max=max(self.timeline.rows, 1),
            readout=False,
            continuous_update=False,
            description="position",
            layout={"flex": "1 1 320px"},
        )
        self._slider.observe(lambda change: self._go_quietly(change["new"]), names="value")
        self._where = ipywidgets.Text(
            placeholder="#57, file:offset, 2026-11-20 14:03", description="go to", continuous_update=False
        )
        self._where.observe(lambda change: self._go_quietly(change["new"]), names="value")
        # It offers the keys that are listed, and takes any.
        self._key_box = ipywidgets.Combobox(
            value=_shown(self.key) if self.key is not None else "", description="key", continuous_update=False
        )
        self._key_box.observe(lambda change: self.watch(change["new"]), names="value")
        self._pattern_box = ipywidgets.Text(value=self.pattern, description="keys", continuous_update=False)
        self._pattern_box.observe(lambda change: self.list_keys(change["new"]), names="value")
        self._database = ipywidgets.BoundedIntText(
            value=self.db,
            min=0,
            max=max(15, self.log.index().databases - 1),
            description="database",
            layout={"width": "160px"},
        )
        self._database.observe(lambda change: self.select(change["new"]), names="value")
        self.build(
            [
                [
                    button("", "step-backward", "One command back", lambda: self.go(max(self.position.seq - 1, 0))),
                    self._slider,
                    button("", "step-forward", "One command on", lambda: self.go(self._one_on())),
                    self._where,
                ],
                [
                    self._key_box,
                    button("Previous write", "backward", "Back to before the last write to this key", self.previous),
                    button("Next write", "forward", "On to behind the next write to this key", self.next),
                ],
                [self._pattern_box, self._database, button("Done", "stop", "Leave a table here", self.close)],
            ]
        )

    def refresh(self) -> None:
        """Show what is true now, and offer the keys that there are now."""
        super().refresh()
        self._key_box.options = self._listed_keys

    # --- where -----------------------------------------------------------------------------------------------

    def go(self, where: Any) -> Explorer:
        """Move to a position, in any form that `Log.position` takes.

        Raises
        ------
        ValueError
            There is no such place.
        """
        position = self.log.position(where)
        with self._lock:
            self.problem = None
            self.position = position
            self._look()
        self._slider.value = position.seq
        self.refresh()
        return self

    def _go_quietly(self, where: Any) -> None:
        """As `go`, from a control: what is wrong is said in the picture."""
        if where == "" or where == self.position.seq:
            return
        try:
            self.go(where)
        except (ValueError, AofnbError) as problem:
            self.problem = str(problem)
            self.refresh()

    def _one_on(self) -> int:
        return min(self.position.seq + 1, self.timeline.rows)

    def watch(self, key: str | bytes) -> Explorer:
        """Look at another key."""
        self.key = (key.encode() if isinstance(key, str) else key) or None
        self.refresh()
        return self

    def list_keys(self, pattern: str) -> Explorer:
        """List other keys."""
        self.pattern = pattern or "*"
        self.refresh()
        return self

    def select(self, db: int) -> Explorer:
        """Look at another database."""
        self.db = db
        self.refresh()
        return self

    def writes(self) -> list[int]:
        """Rows of the commands that name the key, and of FLUSH commands, in order."""
        if self.key is None:
            return []
        asked = (self.db, self.key)
        if asked not in self._writes:
            pattern = _GLOB.sub(r"\\\1", self.key.decode("utf-8", "surrogateescape"))
            pattern_bytes = pattern.encode("utf-8", "surrogateescape")
            frame = self.log.to_pandas(columns=["cmd"], key=[pattern_bytes], db=self.db, on_bad="truncate")
            rows = set(frame.index.tolist())
            rows |= {m.seq for m in self.timeline.marks if m.kind == "flush" and m.db in (None, self.db)}
            self._writes[asked] = sorted(rows)
        return self._writes[asked]

    def next(self) -> Explorer:
        """Move behind the next command that wrote to the key; stays where there is none."""
        behind = next((row for row in self.writes() if row >= self.position.seq), None)
        return self._moved(None if behind is None else behind + 1, "no later write to this key")

    def previous(self) -> Explorer:
        """Move before the last command that wrote to the key; stays where there is none."""
        before = next((row for row in reversed(self.writes()) if row < self.position.seq), None)
        return self._moved(before, "no earlier write to this key")

    def _moved(self, row: int | None, otherwise: str) -> Explorer:
        if row is not None:
            return self.go(row)
        self.problem = otherwise if self.key is not None else "name a key first"
        self.refresh()
        return self

    # --- what was there ----------------------------------------------------------------------------------------

    def _look(self) -> None:
        if self._store is not None:
            self._store.close()
        self._store = self.log.at(self.position)
        self._session = self._store.session()
        self._around = self._commands_around()

    def _commands_around(self) -> tuple[str, str]:
        """The command before the position, and the one behind it."""
        seq, rows = self.position.seq, self.timeline.rows
        frame = self.log.to_pandas(
            columns=["cmd", "args"], start=max(seq - 1, 0), stop=min(seq + 1, rows), on_bad="truncate"
        )
        words = {int(row): _command(args) for row, args in zip(frame.index, frame["args"], strict=True)}
        return words.get(seq - 1, "nothing: this is the beginning"), words.get(seq, "nothing: this is the end")

    def _key_before(self) -> bytes | None:
        """The key of the command before the position: what one is likeliest to look at."""
        seq = self.position.seq
        frame = self.log.to_pandas(
            columns=["key", "db"], start=max(seq - 1, 0), stop=seq, on_bad="truncate", encoding=None
        )
        if not len(frame) or frame["db"].iloc[0] != self.db:
            return None
        key = frame["key"].iloc[0]
        return key if isinstance(key, bytes) else None

    def _keys(self) -> tuple[int, list[str]]:
        """How many keys the database has, and the first of those that are asked for."""
        session = self._session
        session.execute("SELECT", self.db)
        found = sorted(session.execute("KEYS", self.pattern))
        return session.execute("DBSIZE"), [_shown(key) for key in found[: _KEYS + 1]]

    def _value(self) -> tuple[str, str]:
        """Type and value of the key, shortened."""
        if self.key is None:
            return "", "no key is chosen"
        session = self._session
        session.execute("SELECT", self.db)
        kind = str(session.execute("TYPE", self.key))
        if kind == "none":
            return "", "there is no such key"
        if kind not in _READ:
            return kind, ""
        reply = session.execute(*[self.key if word == "{}" else word for word in _READ[kind]])
        if kind in ("set", "hash"):
            reply = reply[1]
        if kind in ("hash", "zset"):
            reply = [f"{_shown(a)}: {_shown(b)}" for a, b in zip(reply[::2], reply[1::2], strict=True)][:_ITEMS]
            return kind, "\n".join(reply)
        if kind == "set":
            return kind, "\n".join(sorted(map(_shown, reply))[:_ITEMS])
        if kind == "stream":
            return kind, "\n".join(f"{_shown(ident)} {' '.join(map(_shown, pairs))}" for ident, pairs in reply)
        return kind, _shown(reply) if kind == "string" else "\n".join(map(_shown, reply))

    # --- pictures ------------------------------------------------------------------------------------------

    def body(self) -> str:
        total, keys = self._keys()
        self._listed_keys = keys
        kind, value = self._value()
        before, behind = self._around
        listed = "".join(f"<div><code>{escape(key)}</code></div>" for key in keys[:_KEYS])
        listed += '<div class="soft">and more</div>' if len(keys) > _KEYS else ""
        problem = f'<div class="note" role="alert">{escape(self.problem)}</div>' if self.problem else ""
        title = "value" if self.key is None else f"{_shown(self.key)} {f'({kind})' if kind else ''}"
        return (
            f'<div class="top"><b>row {self.position.seq:,} of {self.timeline.rows:,}</b>'
            f'<span class="soft">{escape(str(self.position))}</span>'
            f'<span class="soft end">{escape(self._time())}</span></div>'
            f"{self._strip()}{self._legend()}{problem}"
            f"<table><tr><th>before</th><td><code>{escape(before)}</code></td></tr>"
            f"<tr><th>next</th><td><code>{escape(behind)}</code></td></tr></table>"
            f'<table style="width: 100%; table-layout: fixed"><tr>'
            f"<th>{count_text(total, 'key')} in database {self.db}</th><th>{escape(title)}</th></tr>"
            f"<tr><td>{listed or 'none'}</td><td><code>{escape(value)}</code></td></tr></table>"
        )

    def _time(self) -> str:
        moment = self.position.time
        return "no times in the log up to here" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"

    def _strip(self) -> str:
        return self._drawing("var(--jp-brand-color1, #1976d2)", "currentColor", {k: c for k, (c, _) in _SIGNS.items()})

    def _drawing(self, fill: str, ink: str, colours: dict[Kind, str]) -> str:
        """The log from left to right, the position as a line, marks above the bars."""
        timeline = self.timeline
        rows = timeline.rows or 1
        heights = [
            (stretch.rate or 0.0) if timeline.has_times else float(stretch.nbytes) for stretch in timeline.stretches
        ]
        highest = max(heights, default=0.0) or 1.0
        scale = _WIDTH / rows
        shapes = []
        for stretch, height in zip(timeline.stretches, heights, strict=True):
            tall = height / highest * (_HEIGHT - 12)
            shapes.append(
                f'<rect x="{stretch.first * scale:.1f}" y="{_HEIGHT - tall:.1f}"'
                f' width="{max(stretch.rows * scale - 0.6, 0.6):.1f}" height="{tall:.1f}" fill="{fill}"/>'
            )
        for mark in timeline.marks:
            x = mark.seq * scale
            shapes.append(
                f'<path d="M{x - 4:.1f} 0h8l-4 8z" fill="{colours[mark.kind]}"><title>row {mark.seq}: '
                f"{escape(mark.text)}</title></path>"
            )
        x = min(self.position.seq * scale, _WIDTH - 1)
        shapes.append(f'<path d="M{x:.1f} 0V{_HEIGHT}" stroke="{ink}" stroke-width="2"/>')
        label = f"the log; position at {self.position.seq / rows:.0%}"
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="strip" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}"'
            f' height="{_HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{label}">{"".join(shapes)}</svg>'
        )

    def _legend(self) -> str:
        what = "commands a second" if self.timeline.has_times else "bytes"
        counts = [
            f"{count_text(number, word)}"
            for kind, (_, word) in _SIGNS.items()
            if (number := sum(mark.kind == kind for mark in self.timeline.marks))
        ]
        near = self._nearest()
        words = f"height: {what}; marks: {', '.join(counts) or 'none'}"
        if self.timeline.more_marks:
            words += f" and {self.timeline.more_marks:,} more"
        return f'<div class="soft">{escape(words)}{f"; nearest: {escape(near)}" if near else ""}</div>'

    def _nearest(self) -> str:
        marks: tuple[Mark, ...] = self.timeline.marks
        if not marks:
            return ""
        mark = min(marks, key=lambda each: abs(each.seq - self.position.seq))
        return f"row {mark.seq:,}, {mark.text}"

    def table(self) -> str:
        total, keys = self._keys()
        kind, value = self._value()
        before, behind = self._around
        picture = image_of(
            self._drawing(NEUTRAL, "#888888", {"flush": "#d32f2f", "rewrite": "#388e3c", "damage": "#ef6c00"}),
            f"the log; position at row {self.position.seq}",
            _WIDTH,
            _HEIGHT,
        )
        rows = [
            ("position", f"row {self.position.seq:,} of {self.timeline.rows:,}, {self.position}"),
            ("time", self._time()),
            ("before", before),
            ("next", behind),
            (
                "keys",
                self._listed(total, keys),
            ),
        ]
        if self.key is not None:
            rows.append((f"{_shown(self.key)} {f'({kind})' if kind else ''}", value))
        body = "".join(
            f'<tr><th style="text-align: left">{escape(title)}</th>'
            f'<td style="text-align: left; white-space: pre-wrap">{escape(words)}</td></tr>'
            for title, words in rows
        )
        return f"<div>{picture}</div><table>{body}</table>"

    def _listed(self, total: int, keys: list[str]) -> str:
        names = [*keys[:_KEYS], "..."] if len(keys) > _KEYS else keys
        return f"{total:,} in database {self.db}" + (f": {', '.join(names)}" if names else "")

    def text(self) -> str:
        total, keys = self._keys()
        before, behind = self._around
        lines = [
            f"row {self.position.seq:,} of {self.timeline.rows:,}, {self.position}",
            f"  before  {before}",
            f"  next    {behind}",
            f"  keys    {self._listed(total, keys)}",
        ]
        if self.key is not None:
            kind, value = self._value()
            lines.append(f"  {_shown(self.key)} {f'({kind})' if kind else ''}".rstrip())
            lines += [f"    {line}" for line in value.splitlines()]
        lines += [f"  row {mark.seq}: {mark.text}" for mark in self.timeline.marks[:10]]
        return "\n".join(lines)

    def close(self) -> None:
        """Leave a table in place of the widgets, and let go of the data."""
        super().close()
        self._store.close()


def _shown(value: Any) -> str:
    """Bytes for people, shortened; what is no text as escapes."""
    if not isinstance(value, bytes):
        return str(value)
    text = value[:_VALUE].decode("utf-8", "backslashreplace")
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return text if len(value) <= _VALUE else f"{text}... ({size_text(len(value))})"


def _command(args: Any) -> str:
    words = [_shown(bytes(arg)) for arg in list(args)[:12]] if args is not None else []
    line = " ".join(word if word and " " not in word else f'"{word}"' for word in words)
    return line if len(line) <= 160 else line[:157] + "..."
