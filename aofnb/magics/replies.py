"""What ``%redis`` returns: Python values that show themselves as redis-cli would.

Each class is a bytes, int, float, str or list and behaves as one; only IPython's display differs. ``repr`` stays
Python's, so that printing and debugging show what it is. nil is None.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aofnb.errors import ReplyError
from aofnb.magics import show
from aofnb.magics.parse import MagicError
from aofnb.resp.replies import LongDouble, SetReply, Verbatim

if TYPE_CHECKING:
    import pandas

__all__ = [
    "Array",
    "Bulk",
    "CellError",
    "Double",
    "Integer",
    "Lines",
    "Map",
    "Replies",
    "ShownError",
    "Status",
    "Text",
    "wrap",
]


@dataclass(slots=True)
class Display:
    """How replies are displayed; there is one, kept by the traits of the magics."""

    limits: show.Limits = show.LIMITS
    html: bool = True


DISPLAY = Display()


class _Shown:
    """Displayed by IPython as redis-cli prints it."""

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        printer.text(show.text(self, DISPLAY.limits))


class Bulk(_Shown, bytes):
    """A bulk reply."""


class Text(_Shown, Verbatim):
    """A bulk reply that is text to be read, such as that of INFO."""

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        printer.text(show.text(self, DISPLAY.limits, raw=True))


class Integer(_Shown, int):
    """An integer reply."""


class Double(_Shown, float):
    """A RESP3 double."""


class Coordinate(_Shown, LongDouble):
    """A RESP3 double of a place on the earth."""


class Status(_Shown, str):
    """A status reply: ``OK``, ``QUEUED``."""


class ShownError(_Shown, ReplyError):
    """An error in the place of a reply, with ``--keep-going`` and inside the reply of EXEC."""


class Array(_Shown, list[Any]):
    """An array reply; ``.df()`` gives it as a table."""

    # What it holds in turn, as `show.pair_names` tells.
    names: tuple[str, str] | None = None

    def html(self) -> str:
        """As a table."""
        return show.html(self, DISPLAY.limits, pairs=self.names)

    def _repr_html_(self) -> str | None:
        return self.html() if DISPLAY.html and self else None

    def df(self, encoding: str | None = "utf-8") -> pandas.DataFrame:
        """The reply as a DataFrame: one row per item, or per field and value, member and score.

        Parameters
        ----------
        encoding
            How to decode strings; what does not decode is escaped. None keeps bytes.
        """
        import pandas

        plain = _decoded(list(self), encoding)
        if self.names is not None and len(plain) % 2 == 0:
            first, second = self.names
            values = [float(score) for score in plain[1::2]] if second == "score" else plain[1::2]
            return pandas.DataFrame({first: plain[::2], second: values})
        return pandas.DataFrame({"value": plain})


class Pairs(Array):
    """An array of two things in turn, such as fields and values of HGETALL; `names` says which."""

    def __init__(self, items: Iterable[Any], names: tuple[str, str]) -> None:
        super().__init__(items)
        self.names = names


class Entries(Array):
    """A range of a stream: ``[id, [field, value, ...]]`` each."""

    def html(self) -> str:
        return show.entries_html(self, DISPLAY.limits)

    def df(self, encoding: str | None = "utf-8") -> pandas.DataFrame:
        """The entries as a DataFrame: a row for each, indexed by ``id``, and a column for each field.

        Parameters
        ----------
        encoding
            How to decode strings; what does not decode is escaped. None keeps bytes.
        """
        import pandas

        rows = [(ident, dict(zip(pairs[::2], pairs[1::2], strict=True))) for ident, pairs in _decoded(self, encoding)]
        index = pandas.Index([ident for ident, _ in rows], name="id")
        return pandas.DataFrame([values for _, values in rows], index=index)


class Members(_Shown, SetReply):
    """A RESP3 set, in the order the members were given."""


class Map(_Shown, dict[Any, Any]):
    """A RESP3 map."""

    def _repr_html_(self) -> str | None:
        return show.html(self, DISPLAY.limits) if DISPLAY.html and self else None

    def df(self, encoding: str | None = "utf-8") -> pandas.DataFrame:
        """The map as a DataFrame with one row per field."""
        import pandas

        return pandas.DataFrame(
            {"field": _decoded(list(self), encoding), "value": _decoded(list(self.values()), encoding)}
        )


class Lines:
    """A few lines for a person."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = list(lines)

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        printer.text("\n".join(self.lines))


def wrap(reply: Any, argv: Sequence[bytes] = (b"",)) -> Any:
    """`reply` as a value that shows itself; `argv` is the command it answers.

    >>> wrap([b"a", 1]) == [b"a", 1]
    True
    """
    if isinstance(reply, bytes):
        return (Text if show.is_raw(argv) or isinstance(reply, Verbatim) else Bulk)(reply)
    if isinstance(reply, list) and show.has_places(argv):
        return _wrap_item(_coordinates(reply))
    if isinstance(reply, list | tuple):
        names = show.pair_names(argv)
        # In RESP3 the scores stand beside their members.
        if names is not None and not any(isinstance(item, list | tuple) for item in reply):
            return Pairs(map(_wrap_item, reply), names)
        if show.is_entries(argv):
            return Entries(map(_wrap_item, reply))
    return _wrap_item(reply)


def _wrap_item(reply: Any) -> Any:
    if reply is None or isinstance(reply, bool | _Shown):
        return reply
    if isinstance(reply, bytes):
        return (Text if isinstance(reply, Verbatim) else Bulk)(reply)
    if isinstance(reply, int):
        return Integer(reply)
    if isinstance(reply, str):
        return Status(reply)
    if isinstance(reply, float):
        return (Coordinate if isinstance(reply, LongDouble) else Double)(reply)
    if isinstance(reply, dict):
        return Map({_key(key): _wrap_item(value) for key, value in reply.items()})
    if isinstance(reply, ReplyError):
        return ShownError(str(reply))
    if isinstance(reply, SetReply):
        return Members(map(_wrap_item, reply))
    if isinstance(reply, list | tuple):
        return Array(map(_wrap_item, reply))
    return reply


def _coordinates(reply: Any) -> Any:
    if isinstance(reply, list):
        return [_coordinates(item) for item in reply]
    return LongDouble(reply) if isinstance(reply, float) else reply


def _key(key: Any) -> Any:
    return _wrap_item(key) if isinstance(key, bytes | int | str) else key


def plain(reply: Any) -> Any:
    """`reply` as plain Python: bytes, int, str, float, list, dict, None.

    >>> plain(wrap([b"a", [1, "OK"]]))
    [b'a', [1, 'OK']]
    """
    if isinstance(reply, bool) or reply is None:
        return reply
    kind = next((kind for kind in (bytes, int, str, float) if isinstance(reply, kind)), None)
    if kind is not None:
        return kind(reply)
    if isinstance(reply, dict):
        return {plain(key): plain(value) for key, value in reply.items()}
    if isinstance(reply, list | tuple):
        return [plain(item) for item in reply]
    if isinstance(reply, ShownError):
        return ReplyError(str(reply))
    return reply


def _decoded(reply: Any, encoding: str | None) -> Any:
    """Plain Python with strings decoded, for a DataFrame."""
    if isinstance(reply, bytes):
        return bytes(reply) if encoding is None else reply.decode(encoding, "backslashreplace")
    if isinstance(reply, list | tuple):
        return [_decoded(item, encoding) for item in reply]
    if isinstance(reply, ReplyError):
        return f"(error) {reply}"
    return plain(reply)


class Replies(list[Any]):
    """The replies of a cell, in order; ``.commands`` and ``.lines`` say what each one answers.

    ``.last`` is the last reply, ``.df()`` a table of them all.
    """

    def __init__(
        self,
        replies: Iterable[Any] = (),
        commands: Iterable[Sequence[bytes]] = (),
        lines: Iterable[int] = (),
    ) -> None:
        super().__init__(replies)
        self.commands = list(commands)
        self.lines = list(lines)

    @property
    def last(self) -> Any:
        return self[-1] if self else None

    def df(self, encoding: str | None = "utf-8") -> pandas.DataFrame:
        """One row per command: ``line``, ``command``, ``reply``."""
        import pandas

        return pandas.DataFrame(
            {
                "line": self.lines,
                "command": [show.readable(b" ".join(argv)) for argv in self.commands],
                "reply": pandas.Series([_decoded(reply, encoding) for reply in self], dtype=object),
            }
        )

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        limits = DISPLAY.limits
        shown = self[: limits.rows] if limits.rows else self[:]
        lines = [show.text(reply, limits, raw=isinstance(reply, Text)) for reply in shown]
        if len(shown) < len(self):
            lines.append(f"... ({len(shown):,} of {len(self):,} replies shown)")
        printer.text("\n".join(lines))

    def _repr_html_(self) -> str | None:
        if not DISPLAY.html or not self:
            return None
        limits = DISPLAY.limits
        count = min(len(self), limits.rows or len(self))
        rows = [
            [str(line), f"<code>{html.escape(command_text(argv))}</code>", _row(reply)]
            for line, argv, reply in zip(self.lines[:count], self.commands, self, strict=False)
        ]
        return show.html_table(["line", "command", "reply"], rows, len(self))


def _row(reply: Any) -> str:
    if isinstance(reply, Array) and reply:
        return reply.html()
    return show.html(reply, DISPLAY.limits, raw=isinstance(reply, Text))


def command_text(argv: Sequence[bytes], most: int = 60) -> str:
    """`argv` in a line, cut after `most` characters.

    >>> command_text([b"SET", b"k", b"two words"])
    'SET k "two words"'
    """
    words: list[str] = []
    room = most
    for arg in argv:
        # No character has more than four bytes, so what is cut here is cut again below, saying so.
        word = arg[: 4 * (most + 1)]
        if len(word) < len(arg):
            word = show.whole_characters(word)
        words.append(show.bare_or_quoted(word))
        room -= len(words[-1]) + 1
        if room < 0:
            break
    shown = " ".join(words)
    return shown if len(shown) <= most and len(words) == len(argv) else shown[: most - 3] + "..."


class CellError(MagicError, ReplyError):
    """An error reply that stopped a cell.

    ``str()`` is the wire text; ``.line`` and ``.command`` say where; ``.replies`` are those that came before.
    """

    def __init__(self, problem: ReplyError, command: Sequence[bytes], line: int | None, replies: Replies) -> None:
        super().__init__(str(problem))
        self.command = list(command)
        self.line = line
        self.replies = replies
        # What to do about it; shown, but no part of the wire text.
        self.hints: list[str] = []

    def _render_traceback_(self) -> list[str]:
        place = "" if self.line is None else f"line {self.line}, {command_text(self.command, 40)}: "
        return ["; ".join([f"{place}(error) {self}", *self.hints])]
