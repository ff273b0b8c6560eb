r"""Text of a cell to argument vectors: words as redis-cli splits them, options, and Python values.

1. `statements` splits the text into commands, one a line, and each into words. Quoting is that of redis-cli:
   ``"a\x00\n"`` knows escapes, ``'a'`` knows only ``\'``, and a closing quote ends the word. In addition a
   line that begins with ``#`` is a comment, and an open quote may run over several lines.
2. `options` takes the leading ``-x`` and ``--xx`` words away: no Redis command begins with a dash.
3. `bind` evaluates ``{{expr}}``, ``{{*items}}`` and ``{{**mapping}}`` and gives bytes. This happens after
   splitting: a value is never split again, so blanks, quotes and any byte in it are safe. Only unquoted text is
   looked at; what is quoted is literal.

Redis: sds.c sdssplitargs (7.0.15).
"""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aofnb.config import SETTINGS, Config
from aofnb.engine.session import to_bytes
from aofnb.errors import AofnbError, ConfigError

__all__ = [
    "AOF_OPTIONS",
    "AOF_WORDS",
    "OPTIONS",
    "Binding",
    "Given",
    "MagicError",
    "ParseError",
    "Statement",
    "Unfinished",
    "Word",
    "bind",
    "options",
    "options_first",
    "statements",
    "unfinished",
]


class MagicError(AofnbError):
    """Something is wrong with what was typed after ``%redis`` or ``%aof``; shown in a line or two."""

    def _render_traceback_(self) -> list[str]:
        # IPython calls this instead of printing forty lines of its own and our frames.
        return str(self).split("\n")


class ParseError(MagicError):
    """Text that is not a command, with the place: ``.line`` counts from 1, ``.column`` from 0."""

    def __init__(self, message: str, text: str, offset: int, first_line: int = 1) -> None:
        start = text.rfind("\n", 0, offset) + 1
        shown = text[start:].split("\n", 1)[0]
        self.line = first_line + text.count("\n", 0, offset)
        self.column = offset - start
        # Tabs stay tabs, so that the caret stands below the character whatever the width of a tab is.
        caret = "".join("\t" if c == "\t" else " " for c in shown[: self.column]) + "^"
        super().__init__(f"line {self.line}: {message}\n{shown}\n{caret}")


@dataclass(frozen=True, slots=True)
class Binding:
    """``{{expr}}``: `stars` is 0 for one argument, 1 for ``*``, 2 for ``**``; `offset` is where it begins."""

    source: str
    stars: int
    offset: int


@dataclass(frozen=True, slots=True)
class Word:
    """One word: literal bytes and bindings in turn, and where it is in the text, end exclusive."""

    parts: tuple[bytes | Binding, ...]
    start: int
    end: int

    @property
    def literal(self) -> bytes | None:
        """The value, if nothing has to be evaluated for it."""
        if any(isinstance(part, Binding) for part in self.parts):
            return None
        return b"".join(part for part in self.parts if isinstance(part, bytes))


@dataclass(frozen=True, slots=True)
class Statement:
    """One command as typed: its words, and the text they are in, which begins at `first_line`."""

    words: tuple[Word, ...]
    text: str
    first_line: int = 1

    @property
    def line(self) -> int:
        """Number of the line it begins in."""
        return self.first_line + self.text.count("\n", 0, self.words[0].start)

    @property
    def source(self) -> str:
        """The command as typed."""
        return self.text[self.words[0].start : self.words[-1].end]

    def error(self, message: str, offset: int) -> ParseError:
        return ParseError(message, self.text, offset, self.first_line)


_ESCAPES = {"n": b"\n", "r": b"\r", "t": b"\t", "b": b"\b", "a": b"\a"}
# isspace() of C skips all of these before a word; only four of them end one that is not quoted.
_BLANKS = " \t\n\v\f\r"
_ENDS = " \t\n\r"
_PLAIN = re.compile(r"[^ \t\n\r\"'{]+")
_BETWEEN = re.compile(r"[ \t\v\f\r]+")
_DOUBLE_PLAIN = re.compile(r'[^"\\]+')
_SINGLE_PLAIN = re.compile(r"[^'\\]+")
_HEX = re.compile(r"\\x([0-9a-fA-F]{2})")
_MAX_CANDIDATES = 64


def statements(text: str, *, first_line: int = 1, bindings: bool = True) -> list[Statement]:
    r"""Split `text` into commands.

    Parameters
    ----------
    text
        Commands, one a line; blank lines and lines that begin with ``#`` are skipped.
    first_line
        Number of the first line, for error messages.
    bindings
        Whether ``{{...}}`` in unquoted text is an expression.

    Raises
    ------
    ParseError
        At a quote that is not closed, or that is followed by something else than a blank, and at braces that
        hold no expression.

    Examples
    --------
    >>> [[word.literal for word in s.words] for s in statements("# a comment\nSET k 'two words'\n\nGET k")]
    [[b'SET', b'k', b'two words'], [b'GET', b'k']]
    """
    found: list[Statement] = []
    words: list[Word] = []
    pos = 0
    try:
        while True:
            pos = _skip(text, pos, comments=not words)
            if pos == len(text) or text[pos] == "\n":
                if words:
                    found.append(Statement(tuple(words), text, first_line))
                    words = []
                if pos == len(text):
                    return found
                pos += 1
                continue
            word = _word(text, pos, bindings)
            words.append(word)
            pos = word.end
    except _NotAWordError as problem:
        raise ParseError(problem.message, text, problem.offset, first_line) from None


class _NotAWordError(Exception):
    """Something at `offset`; `statements` adds the line."""

    def __init__(self, message: str, offset: int) -> None:
        self.message = message
        self.offset = offset


def _skip(text: str, pos: int, comments: bool) -> int:
    """The next character that is not blank, at most the end of the line; a comment counts as blank."""
    blanks = _BETWEEN.match(text, pos)
    if blanks:
        pos = blanks.end()
    if comments and text.startswith("#", pos):
        end = text.find("\n", pos)
        pos = len(text) if end < 0 else end
    return pos


def _word(text: str, start: int, bindings: bool) -> Word:
    parts: list[bytes | Binding] = []
    pos = start
    while pos < len(text) and text[pos] not in _ENDS:
        char = text[pos]
        if char in "\"'":
            value, pos = (_double if char == '"' else _single)(text, pos)
            parts.append(value)
            if pos < len(text) and text[pos] not in _BLANKS:
                raise _NotAWordError("a blank must follow the closing quote", pos)
            break
        # Three braces are a hash tag around a binding: user:{{{uid}}}. An expression that begins with a brace of
        # its own needs a blank before it.
        if bindings and text.startswith("{{", pos) and not text.startswith("{{{", pos):
            binding, pos = _binding(text, pos)
            parts.append(binding)
            continue
        plain = _PLAIN.match(text, pos)
        end = plain.end() if plain else pos + 1
        parts.append(text[pos:end].encode("utf-8", "surrogatepass"))
        pos = end
    word = Word(tuple(parts), start, pos)
    for part in parts:
        if isinstance(part, Binding) and part.stars and len(parts) > 1:
            raise _NotAWordError(f"{{{{{'*' * part.stars}...}}}} must be a word of its own", part.offset)
    return word


def _double(text: str, start: int) -> tuple[bytes, int]:
    """The value of the double-quoted text at `start`, and where it ends."""
    value = bytearray()
    pos = start + 1
    while True:
        plain = _DOUBLE_PLAIN.match(text, pos)
        if plain:
            value += plain.group().encode("utf-8", "surrogatepass")
            pos = plain.end()
        if pos == len(text) or (text[pos] == "\\" and pos + 1 == len(text)):
            raise _NotAWordError("this quote is not closed", start)
        if text[pos] == '"':
            return bytes(value), pos + 1
        number = _HEX.match(text, pos)
        if number:
            value.append(int(number[1], 16))
            pos = number.end()
        else:
            escaped = text[pos + 1]
            value += _ESCAPES.get(escaped) or escaped.encode("utf-8", "surrogatepass")
            pos += 2


def _single(text: str, start: int) -> tuple[bytes, int]:
    """The value of the single-quoted text at `start`, and where it ends."""
    value = bytearray()
    pos = start + 1
    while True:
        plain = _SINGLE_PLAIN.match(text, pos)
        if plain:
            value += plain.group().encode("utf-8", "surrogatepass")
            pos = plain.end()
        if pos == len(text):
            raise _NotAWordError("this quote is not closed", start)
        if text[pos] == "'":
            return bytes(value), pos + 1
        escaped = text.startswith("\\'", pos)
        value += b"'" if escaped else b"\\"
        pos += 2 if escaped else 1


def _binding(text: str, start: int) -> tuple[Binding, int]:
    """The expression between ``{{`` and the first ``}}`` that makes it whole, and where it ends.

    The expression may hold braces of its own: Python's parser says where it is complete.
    """
    begin = start + 2
    stars = 0
    while stars < 2 and text.startswith("*", begin):
        stars, begin = stars + 1, begin + 1
    end = text.find("}}", begin)
    if end < 0:
        raise _NotAWordError("no }} follows; quote the text to take it literally, or give --no-vars", start)
    first = text[begin:end].strip()
    for _ in range(_MAX_CANDIDATES):
        source = text[begin:end].strip()
        try:
            ast.parse(source, mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            end = text.find("}}", end + 1)
            if end < 0:
                break
        else:
            return Binding(source, stars, start), end + 2
    raise _NotAWordError(f"{first!r} is not a Python expression; quote the text to take it literally", start)


# --- options -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Option:
    """One option of ``%redis``: its spellings, what its value is called (None: it has none), and help."""

    names: tuple[str, ...]
    attribute: str
    metavar: str | None
    help: str


OPTIONS = (
    Option(("-o", "--out"), "out", "NAME", "put the reply into this variable, show nothing"),
    Option(("-q", "--quiet"), "quiet", None, "show nothing"),
    Option(("--df",), "df", None, "give a pandas DataFrame"),
    Option(("--bytes",), "bytes", None, "give plain Python values: bytes, int, str, list"),
    Option(("-k", "--keep-going"), "keep_going", None, "show an error as a reply and go on"),
    Option(("--db",), "db", "N", "run in this database, and go back afterwards"),
    Option(("--store",), "store", "NAME", "the store: a variable, or the name or path it was opened with"),
    Option(("--time",), "time", None, "say how long it took"),
    Option(("--log",), "log", None, "show the bytes that were appended to the log"),
    Option(("--no-vars",), "no_vars", None, "take {{...}} literally"),
    Option(("--open",), "open", "PATH", "open a store and use it; settings follow: --appendfsync always"),
    Option(("--connect",), "connect", "URL", "use a server: redis://host:port/db, rediss://..., unix:///path"),
    Option(("--readonly",), "readonly", None, "with --open: write nothing, take no lock"),
    Option(("--close",), "close", None, "close the store"),
)
AOF_OPTIONS = (
    Option(("--store",), "store", "NAME", "the store: a variable, or the name or path it was opened with"),
    Option(("--path",), "path", "PATH", "a log on disk: a directory, a manifest or a file"),
)
# The words of %aof; what each does is in `aofnb.magics.magic`.
AOF_WORDS = ("status", "tail", "check", "at", "history", "triage", "top", "rewrite", "crash", "config")
_OPTION_OF = {name: option for option in OPTIONS for name in option.names}


@dataclass(slots=True)
class Given:
    """The options that were given. `settings` are those of the store that ``--open`` opens."""

    out: str | None = None
    quiet: bool = False
    df: bool = False
    bytes: bool = False
    keep_going: bool = False
    db: int | None = None
    store: str | None = None
    time: bool = False
    log: bool = False
    no_vars: bool = False
    open: str | None = None
    connect: str | None = None
    readonly: bool = False
    close: bool = False
    path: str | None = None
    settings: dict[str, str] = field(default_factory=dict)


def options(
    statement: Statement, namespace: Mapping[str, Any], known: Sequence[Option] = OPTIONS
) -> tuple[Given, Statement | None]:
    """Take the leading options of `statement` away; `known` are those there are, those of ``%redis`` by default.

    A value may be a binding: ``--open {{path}}``.

    Returns
    -------
    Given, Statement or None
        The options, and the command that follows them, if one does.

    Raises
    ------
    ParseError
        For an unknown option, a missing value, or options that exclude each other.
    """
    given = Given()
    words = statement.words
    first_setting: Word | None = None
    i = 0
    while i < len(words) and statement.text[words[i].start] == "-":
        word = words[i]
        name, equals, inline = _argument(statement, word, namespace).partition("=")
        option = next((option for option in known if name in option.names), None)
        setting = _setting(name) if option is None and known is OPTIONS else None
        if option is None and setting is None:
            magic = "%redis" if known is OPTIONS else "%aof"
            raise statement.error(f"no option {name}; {magic}? lists those there are", word.start)
        i += 1
        if option is not None and option.metavar is None:
            if equals:
                raise statement.error(f"{name} takes no value", word.start)
            setattr(given, option.attribute, True)
            continue
        if not equals:
            if i == len(words):
                raise statement.error(f"{name} needs a value", word.start)
            inline = _argument(statement, words[i], namespace)
            i += 1
        if option is not None:
            setattr(given, option.attribute, _option_value(option, inline, statement, word))
        elif setting is not None:
            first_setting = first_setting or word
            given.settings[setting] = inline
    if first_setting is not None and given.open is None:
        raise statement.error(
            "a setting needs --open PATH; use CONFIG SET on a store that is open", first_setting.start
        )
    if given.readonly and given.open is None:
        raise statement.error("--readonly needs --open PATH", words[0].start)
    if sum((given.open is not None, given.connect is not None, given.close)) > 1:
        raise statement.error("--open, --connect and --close exclude each other", words[0].start)
    if sum((given.df, given.bytes, given.quiet)) > 1:
        raise statement.error("--df, --bytes and --quiet exclude each other", words[0].start)
    rest = words[i:]
    return given, Statement(rest, statement.text, statement.first_line) if rest else None


def _option_value(option: Option, value: str, statement: Statement, word: Word) -> object:
    if option.attribute == "db":
        if not (value.isascii() and value.isdecimal()):
            raise statement.error("--db needs a number", word.start)
        return int(value)
    if option.attribute == "out" and (not value.isidentifier() or keyword.iskeyword(value)):
        raise statement.error(f"{value!r} is not a variable name", word.start)
    return value


def _setting(name: str) -> str | None:
    try:
        return Config.setting(name[2:]).name if name.startswith("--") else None
    except ConfigError:
        return None


def _argument(statement: Statement, word: Word, namespace: Mapping[str, Any]) -> str:
    return b"".join(_evaluate(statement, word, namespace)).decode("utf-8", "surrogateescape")


def options_first(argv: Sequence[bytes]) -> tuple[list[bytes], list[bytes]] | None:
    """The options that stand behind the command of `argv`, and the command without them; None if there are none.

    >>> options_first([b"GET", b"a", b"--db", b"3"])
    ([b'--db', b'3'], [b'GET', b'a'])
    """
    taken: list[bytes] = []
    command: list[bytes] = []
    words = iter(argv)
    for word in words:
        name, equals, _ = word.decode("utf-8", "surrogateescape").partition("=")
        option = _OPTION_OF.get(name) if command else None
        if option is None or (equals and option.metavar is None):
            command.append(word)
            continue
        taken.append(word)
        if option.metavar is not None and not equals:
            taken += [value for value in [next(words, None)] if value is not None]
    return (taken, command) if taken else None


def setting_names() -> list[str]:
    """The settings as options: ``--appendfsync``, ..."""
    return [f"--{name}" for name in SETTINGS]


# --- Python values -------------------------------------------------------------------------------------------


_NO_UTF8 = "text with lone surrogates has no UTF-8; give bytes, such as os.fsencode(name)"


def bind(statement: Statement, namespace: Mapping[str, Any]) -> list[bytes]:
    """The argument vector of `statement`, its expressions evaluated in `namespace`.

    Raises
    ------
    ParseError
        For an expression that fails, or whose value is not an argument; the cause is kept.
    """
    argv = [arg for word in statement.words for arg in _evaluate(statement, word, namespace)]
    if not argv:
        raise statement.error("there is no command: the list is empty", statement.words[0].start)
    return argv


def _evaluate(statement: Statement, word: Word, namespace: Mapping[str, Any]) -> Iterable[bytes]:
    literal = word.literal
    if literal is not None:
        return [literal]
    first = word.parts[0]
    if isinstance(first, Binding) and first.stars:
        return _spread(statement, first, namespace)
    values = (part if isinstance(part, bytes) else _one(statement, part, namespace) for part in word.parts)
    return [b"".join(values)]


def _value(statement: Statement, binding: Binding, namespace: Mapping[str, Any]) -> Any:
    try:
        # A plain dict, so that comprehensions inside the expression see the names too.
        return eval(compile(binding.source, "{{...}}", "eval"), dict(namespace))
    except Exception as problem:
        raise statement.error(f"{type(problem).__name__}: {problem}", binding.offset) from problem


def _one(statement: Statement, binding: Binding, namespace: Mapping[str, Any]) -> bytes:
    value = _value(statement, binding, namespace)
    try:
        return to_bytes(value)
    except TypeError as problem:
        raise statement.error(f"{problem}{_hint(binding, value)}", binding.offset) from None
    except UnicodeEncodeError:
        raise statement.error(_NO_UTF8, binding.offset) from None


def _hint(binding: Binding, value: object) -> str:
    if isinstance(value, Mapping):
        return f"; {{{{**{binding.source}}}}} gives fields and values in turn"
    if isinstance(value, Iterable):
        return f"; {{{{*{binding.source}}}}} gives one argument for each item"
    return ""


def _spread(statement: Statement, binding: Binding, namespace: Mapping[str, Any]) -> list[bytes]:
    value = _value(statement, binding, namespace)
    items: Iterable[object]
    if binding.stars == 2:
        if not isinstance(value, Mapping):
            raise statement.error(f"** needs a mapping, not {type(value).__name__}", binding.offset)
        items = (item for pair in value.items() for item in pair)
    elif isinstance(value, str | bytes | bytearray | memoryview) or not isinstance(value, Iterable):
        raise statement.error(f"* needs a list or the like, not {type(value).__name__}", binding.offset)
    else:
        items = value
    try:
        return [to_bytes(item) for item in items]
    except TypeError as problem:
        raise statement.error(str(problem), binding.offset) from None
    except UnicodeEncodeError:
        raise statement.error(_NO_UTF8, binding.offset) from None


# --- for completion --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The command under the cursor: whole words before it, and the text of the one being typed.

    `prefix` is the value of `fragment` as far as it goes; `quote` is the open quote, ``{{`` inside an
    expression, and empty otherwise.
    """

    words: tuple[bytes, ...]
    fragment: str
    prefix: bytes
    quote: str


def unfinished(text: str) -> Unfinished:
    """What is being typed at the end of `text`, which need not be well-formed."""
    words: list[bytes] = []
    pos = 0
    while True:
        pos = _skip(text, pos, comments=not words)
        if pos == len(text):
            return Unfinished(tuple(words), "", b"", "")
        if text[pos] == "\n":
            words, pos = [], pos + 1
            continue
        try:
            word = _word(text, pos, True)
        except _NotAWordError as problem:
            return _open_word(text, pos, problem.offset, words)
        if word.end == len(text):
            return Unfinished(tuple(words), text[pos:], word.literal or b"", "")
        words.append(word.literal or b"")
        pos = word.end


def _open_word(text: str, start: int, offset: int, words: Sequence[bytes]) -> Unfinished:
    fragment = text[start:]
    opened = text[offset : offset + 2] if text.startswith("{{", offset) else text[offset : offset + 1]
    if opened == "{{":
        return Unfinished(tuple(words), text[offset + 2 :], b"", opened)
    if opened in ('"', "'"):
        try:
            value = (_double if opened == '"' else _single)(text + opened, offset)[0]
        except _NotAWordError:
            value = b""
        before = text[start:offset].encode("utf-8", "surrogatepass")
        return Unfinished(tuple(words), fragment, before + value, opened)
    return Unfinished(tuple(words), fragment, b"", "")
