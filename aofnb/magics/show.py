"""Replies to text and HTML.

`text` is what redis-cli prints, to the letter, except that what is too large for a page is shortened, saying
so. `html` adds tables, with everything escaped. Both are functions of the reply and the limits alone: no times,
no addresses, so that a saved notebook compares equal.

Redis: redis-cli.c cliFormatReplyTTY, sds.c sdscatrepr (7.0.15).
"""

from __future__ import annotations

import codecs
import html as html_module
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from aofnb.errors import ReplyError
from aofnb.resp.replies import LongDouble, SetReply, Verbatim, format_double

__all__ = [
    "LIMITS",
    "NO_LIMITS",
    "Limits",
    "entries_html",
    "html",
    "html_table",
    "is_entries",
    "is_raw",
    "pair_names",
    "quoted",
    "text",
]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is shown; 0 means all. `items` counts per array, `rows` per cell; `leaves` over a whole reply."""

    bytes: int = 2000
    items: int = 50
    rows: int = 200
    leaves: int = 2000


LIMITS = Limits()
NO_LIMITS = Limits(0, 0, 0, 0)

_SPECIAL = re.compile(rb'[^\x20-\x7e]|["\\]')
_NAMED = {b"\\": b"\\\\", b'"': b'\\"', b"\n": b"\\n", b"\r": b"\\r", b"\t": b"\\t", b"\a": b"\\a", b"\b": b"\\b"}


def _escape(match: re.Match[bytes]) -> bytes:
    char = match.group()
    return _NAMED.get(char) or b"\\x%02x" % char[0]


def quoted(value: bytes) -> str:
    r"""`value` in double quotes, as redis-cli shows a bulk reply.

    >>> print(quoted(b'a\xff"'))
    "a\xff\""
    """
    return '"' + escaped(value) + '"'


def escaped(value: bytes) -> str:
    """`value` with everything escaped that is not printable ASCII."""
    return _SPECIAL.sub(_escape, value).decode("ascii")


def whole_characters(value: bytes) -> bytes:
    """`value`, the beginning of something longer, without the character that the cut left incomplete."""
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(value).encode()
    except UnicodeDecodeError:
        return value


def quoted_text(text: str) -> str:
    """`text` in double quotes, with printable letters outside ASCII as they are."""
    shown = (c if not c.isascii() and c.isprintable() else escaped(c.encode()) for c in text)
    return '"' + "".join(shown) + '"'


def bare_or_quoted(word: bytes) -> str:
    """`word` as it can be typed in a command, readable where it is text."""
    try:
        text = word.decode()
    except UnicodeDecodeError:
        return quoted(word)
    return text if text and text.isprintable() and not set(text) & set(" \"'") else quoted_text(text)


def counted(count: int, singular: str, plural: str | None = None) -> str:
    """A number and its noun.

    >>> counted(1, "reply", "replies"), counted(2000, "byte")
    ('1 reply', '2,000 bytes')
    """
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"


def readable(value: bytes) -> str:
    """`value` as text for a person: UTF-8 as it is, other bytes and control characters escaped."""
    decoded = value.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else _escape_char(c) for c in decoded)


def _escape_char(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


class _Budget:
    """How many more leaves may be shown."""

    def __init__(self, limits: Limits) -> None:
        self.left = limits.leaves or 1 << 62

    def items(self, count: int, limits: Limits) -> int:
        """How many of `count` items to show; at least one, so that nothing disappears without a trace."""
        shown = min(count, limits.items or count, max(self.left, 1))
        self.left -= shown
        return shown


# --- text ------------------------------------------------------------------------------------------------------


def text(reply: Any, limits: Limits = LIMITS, *, raw: bool = False) -> str:
    """`reply` as redis-cli prints it, without the last newline.

    Parameters
    ----------
    reply
        What a session returned; a `ReplyError` stands for itself.
    limits
        How much to show.
    raw
        Whether a string is text to be read, not data: the reply of INFO, CLIENT LIST. A `Verbatim` always is.

    Examples
    --------
    >>> print(text([b"a", 1, [None, "OK"]]))
    1) "a"
    2) (integer) 1
    3) 1) (nil)
       2) OK
    """
    if raw and isinstance(reply, bytes):
        return _raw(reply, limits)
    return "\n".join(_lines(reply, "", limits, _Budget(limits)))


def _raw(reply: bytes, limits: Limits) -> str:
    shown = reply.decode("utf-8", "backslashreplace").replace("\r\n", "\n").removesuffix("\n")
    # Text is for reading, so it may be longer than data; it is cut all the same.
    most = limits.bytes * 10
    if most and len(shown) > most:
        return f"{shown[:most]}\n... ({most:,} of {len(shown):,} characters shown)"
    return shown


def _lines(reply: Any, prefix: str, limits: Limits, budget: _Budget) -> list[str]:
    """The lines of one reply; all but the first begin with `prefix`, as the caller has the first one begun."""
    if isinstance(reply, dict | list | tuple):
        return _container_lines(reply, prefix, limits, budget)
    return [_scalar(reply, limits)]


def _scalar(reply: Any, limits: Limits) -> str:
    if reply is None:
        return "(nil)"
    if isinstance(reply, ReplyError):
        return f"(error) {reply}"
    if isinstance(reply, bool):
        return "(true)" if reply else "(false)"
    if isinstance(reply, int):
        return f"(integer) {int(reply)}"
    if isinstance(reply, LongDouble):
        return f"(double) {f'{reply:.17f}'.rstrip('0').rstrip('.')}"
    if isinstance(reply, float):
        return f"(double) {format_double(reply).decode()}"
    if isinstance(reply, Verbatim):
        return _raw(reply, limits)
    if isinstance(reply, bytes):
        return _string(reply, limits)
    return str(reply)


def _string(value: bytes, limits: Limits) -> str:
    if limits.bytes and len(value) > limits.bytes:
        return f"{quoted(value[: limits.bytes])}... ({limits.bytes:,} of {len(value):,} bytes shown)"
    return quoted(value)


def _container_lines(reply: dict[Any, Any] | Sequence[Any], prefix: str, limits: Limits, budget: _Budget) -> list[str]:
    is_map, is_set = isinstance(reply, dict), isinstance(reply, SetReply)
    count = len(reply)
    if not count:
        return ["(empty hash)" if is_map else "(empty set)" if is_set else "(empty array)"]
    width = len(str(count))
    separator = "#" if is_map else "~" if is_set else ")"
    inner = prefix + " " * (width + 2)
    shown = budget.items(count, limits)
    lines: list[str] = []
    entries: Iterable[Any] = reply.items() if isinstance(reply, dict) else reply
    for number, entry in enumerate(entries, 1):
        if number > shown:
            lines.append(f"{prefix}... ({shown:,} of {count:,} items shown)")
            break
        if is_map:
            key, value = (_lines(part, inner, limits, budget) for part in entry)
            if isinstance(entry[1], dict | list | tuple) and len(value) > 1:
                # Of a container that takes several lines, the first begins a line of its own.
                value = ["", inner + value[0], *value[1:]]
            rest = [*key[:-1], f"{key[-1]} => {value[0]}", *value[1:]]
        else:
            rest = _lines(entry, inner, limits, budget)
        lines.append(f"{prefix if lines else ''}{number:{width}}{separator} {rest[0]}")
        lines += rest[1:]
    return lines


# --- HTML ------------------------------------------------------------------------------------------------------

# JupyterLab leaves room below a table, also below one in a cell of another; aligns cells to the right, as numbers
# are; and gives <pre> a background of its own, which in the dark theme is a black box in a striped row.
_TABLE = 'style="margin:0"'
_LEFT = 'style="text-align:left"'
# Of a stream, as columns.
_MOST_FIELDS = 12
_PRE = 'style="margin:0;padding:0;background:none;color:inherit;text-align:left"'


def html(reply: Any, limits: Limits = LIMITS, *, pairs: tuple[str, str] | None = None, raw: bool = False) -> str:
    """`reply` as HTML: an array is a table, anything else its text.

    Parameters
    ----------
    reply, limits
        As for `text`.
    pairs
        What an array holds in turn, as the reply of HGETALL does: names for two columns.
    raw
        As for `text`.
    """
    return _html(reply, limits, _Budget(limits), pairs, raw)


def _html(reply: Any, limits: Limits, budget: _Budget, pairs: tuple[str, str] | None = None, raw: bool = False) -> str:
    if not isinstance(reply, dict | list | tuple) or not reply:
        return f"<pre {_PRE}>{html_module.escape(text(reply, limits, raw=raw))}</pre>"
    if isinstance(reply, dict):
        return _pairs_table(FIELDS, list(reply.items()), limits, budget)
    if pairs is not None and len(reply) % 2 == 0:
        return _pairs_table(pairs, list(zip(reply[::2], reply[1::2], strict=True)), limits, budget)
    count = len(reply)
    shown = budget.items(count, limits)
    rows = [[str(number), _cell(item, limits, budget)] for number, item in enumerate(reply[:shown], 1)]
    return html_table(["#", "value"], rows, count)


def entries_html(entries: Sequence[Any], limits: Limits) -> str:
    """A range of a stream as HTML: a row for each entry, a column for each field, where they have few and the same."""
    budget = _Budget(limits)
    shown = entries[: budget.items(len(entries), limits)]
    fields = list(dict.fromkeys(field for _, pairs in shown for field in pairs[::2]))
    if len(fields) > _MOST_FIELDS or any(2 * len(set(pairs[::2])) != len(pairs) for _, pairs in shown):
        # Many, or one of them twice in an entry.
        return html(entries, limits)
    rows = []
    for ident, pairs in shown:
        values = dict(zip(pairs[::2], pairs[1::2], strict=True))
        cells = [_cell(values[field], limits, budget) if field in values else "" for field in fields]
        rows.append([_cell(ident, limits, budget), *cells])
    return html_table(["id", *map(readable, fields)], rows, len(entries))


def _pairs_table(names: tuple[str, str], entries: list[tuple[Any, Any]], limits: Limits, budget: _Budget) -> str:
    shown = budget.items(len(entries), limits)
    rows = [[_cell(key, limits, budget), _cell(value, limits, budget)] for key, value in entries[:shown]]
    return html_table(names, rows, len(entries))


def _cell(reply: Any, limits: Limits, budget: _Budget) -> str:
    """A reply inside a table: readable text instead of quotes and escapes, since the cell is border enough."""
    if isinstance(reply, dict | list | tuple) and reply:
        return _html(reply, limits, budget)
    if isinstance(reply, int) and not isinstance(reply, bool):
        return str(int(reply))
    if not isinstance(reply, bytes):
        return html_module.escape(_scalar(reply, limits))
    cut = reply[: limits.bytes] if limits.bytes else reply
    shown = f"<code>{html_module.escape(readable(cut))}</code>"
    return shown if len(cut) == len(reply) else f"{shown}... ({len(cut):,} of {len(reply):,} bytes shown)"


def escaped_html(text: str) -> str:
    """`text` for a cell of `html_table`."""
    return html_module.escape(text)


def html_table(head: Sequence[str], rows: Iterable[Sequence[str]], total: int) -> str:
    """A plain table; `rows` hold HTML. JupyterLab removes style tags of untrusted notebooks, so there are none."""
    body = [f"<tr>{''.join(f'<td {_LEFT}>{cell}</td>' for cell in row)}</tr>" for row in rows]
    more = f"<p>{len(body):,} of {total:,} shown</p>" if len(body) < total else ""
    titles = "".join(f"<th {_LEFT}>{html_module.escape(title)}</th>" for title in head)
    return f"<table {_TABLE}><thead><tr>{titles}</tr></thead><tbody>{''.join(body)}</tbody></table>{more}"


# --- what a reply means ------------------------------------------------------------------------------------------

# redis-cli prints the strings of these without quotes.
_RAW = {b"INFO", b"LOLWUT"}
_RAW_SUB = {
    (b"CLIENT", b"LIST"),
    (b"CLIENT", b"INFO"),
    (b"CLUSTER", b"INFO"),
    (b"CLUSTER", b"NODES"),
    (b"DEBUG", b"HTSTATS"),
    (b"DEBUG", b"HTSTATS-KEY"),
    (b"LATENCY", b"DOCTOR"),
    (b"LATENCY", b"GRAPH"),
    (b"MEMORY", b"DOCTOR"),
    (b"MEMORY", b"MALLOC-STATS"),
    (b"PROXY", b"INFO"),
}
# Their doubles are places on the earth, which a server prints with all digits.
_PLACES = {b"GEOPOS", b"GEORADIUS", b"GEORADIUS_RO", b"GEORADIUSBYMEMBER", b"GEORADIUSBYMEMBER_RO", b"GEOSEARCH"}
FIELDS = ("field", "value")
_SCORES = ("member", "score")
_PAIRS = {b"HGETALL": FIELDS}
_PAIRS_SUB = {
    (b"CONFIG", b"GET"): ("setting", "value"),
    (b"XINFO", b"STREAM"): FIELDS,
    (b"MEMORY", b"STATS"): FIELDS,
    (b"PUBSUB", b"NUMSUB"): ("channel", "subscribers"),
}


def _verb(argv: Sequence[bytes]) -> tuple[bytes, bytes]:
    return argv[0].upper(), argv[1].upper() if len(argv) > 1 else b""


def is_raw(argv: Sequence[bytes]) -> bool:
    """Whether redis-cli prints the reply of `argv` as it is."""
    verb, sub = _verb(argv)
    return verb in _RAW or (verb, sub) in _RAW_SUB


def has_places(argv: Sequence[bytes]) -> bool:
    """Whether the doubles in the reply of `argv` are coordinates."""
    return argv[0].upper() in _PLACES


def pair_names(argv: Sequence[bytes]) -> tuple[str, str] | None:
    """What the reply of `argv` is a flat list of, in turn: fields and values, members and scores; else None."""
    verb, sub = _verb(argv)
    if verb.startswith(b"Z") and verb != b"ZSCAN":
        popped = verb in (b"ZPOPMIN", b"ZPOPMAX")
        return _SCORES if popped or any(arg.upper() == b"WITHSCORES" for arg in argv[2:]) else None
    if verb == b"HRANDFIELD" and argv[-1].upper() == b"WITHVALUES":
        return FIELDS
    return _PAIRS.get(verb) or _PAIRS_SUB.get((verb, sub))


def is_entries(argv: Sequence[bytes]) -> bool:
    """Whether the reply of `argv` is a range of a stream."""
    return argv[0].upper() in (b"XRANGE", b"XREVRANGE")
