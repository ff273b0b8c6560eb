"""Function libraries: their text, and what can be told of it without running Lua.

Where Lua is there, running a library tells what it registers (`aofnb.commands.script_host`), and this is only for
snapshots that are read before. Names of functions are found where the source registers them with a literal name,
``redis.register_function('name', ...)`` or ``redis.register_function{function_name='name', ...}``; one that is
computed while the library loads is not found, and nothing here checks that the source compiles.

Redis: functions.c functionExtractLibMetaData, functionsCreateWithLibraryCtx (7.0.15).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = [
    "NAME_RULE",
    "Function",
    "Library",
    "LibraryError",
    "library_name",
    "name_is_valid",
    "parse_library",
    "split_line",
]

NAME_RULE = "Library names can only contain letters, numbers, or underscores(_) and must be at least one character long"


class LibraryError(ValueError):
    """A library that the server would refuse; str() is its text, without a code."""


@dataclass(frozen=True, slots=True)
class Function:
    """One function of a library; `description` and `flags` where they are literals."""

    name: bytes
    description: bytes | None = None
    flags: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Library:
    """A library as FUNCTION LOAD was given it."""

    name: str
    engine: str
    code: bytes
    functions: tuple[Function, ...]


def parse_library(code: bytes) -> Library:
    """Read the first line of `code`, ``#!lua name=...``, and find its functions.

    Raises
    ------
    LibraryError
        In the words of the server, for a first line that it would refuse, or a source that registers nothing.
    """
    name = library_name(code)
    functions = tuple(_functions(code.partition(b"\n")[2]))
    if not functions and b"register_function" not in code:
        raise LibraryError("No functions registered")
    return Library(name, "LUA", code, functions)


def library_name(code: bytes) -> str:
    """The name that the first line of `code` gives.

    Raises
    ------
    LibraryError
        In the words of the server, for a first line that it would refuse.
    """
    engine, name = _shebang(code)
    if not name_is_valid(name):
        raise LibraryError(NAME_RULE)
    if engine.lower() != b"lua":
        raise LibraryError(f"Engine '{engine.decode('utf-8', 'surrogateescape')}' not found")
    return name.decode()


def name_is_valid(name: bytes) -> bool:
    """Whether a library or a function may have this name."""
    return re.fullmatch(rb"[A-Za-z0-9_]+", name) is not None


def _shebang(code: bytes) -> tuple[bytes, bytes]:
    """Engine and name from the first line."""
    if not code.startswith(b"#!"):
        raise LibraryError("Missing library metadata")
    line, newline, _ = code.partition(b"\n")
    parts = split_line(line)
    if not newline or not parts:
        raise LibraryError("Invalid library metadata")
    engine = parts[0][2:]
    name: bytes | None = None
    for part in parts[1:]:
        if part[:5].lower() != b"name=":
            raise LibraryError(f"Invalid metadata value given: {part.decode('utf-8', 'surrogateescape')}")
        if name is not None:
            raise LibraryError("Invalid metadata value, name argument was given multiple times")
        name = part[5:]
    if name is None:
        raise LibraryError("Library name was not given")
    return engine, name


_WORD = re.compile(rb"""\s*((?:"(?:\\.|[^"\\])*"(?=\s|$)|'(?:\\'|[^'])*'(?=\s|$)|[^\s"'])+)""", re.DOTALL)
_QUOTED_PART = re.compile(rb"""(?P<double>"(?:\\.|[^"\\])*")|(?P<single>'(?:\\'|[^'])*')|[^"']+""", re.DOTALL)
_ESCAPE = re.compile(rb"\\(x[0-9A-Fa-f]{2}|.)", re.DOTALL)
_ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}


def split_line(line: bytes) -> list[bytes] | None:
    r"""Words of a line, quoted ones without their quotes; None where a quote is not closed.

    >>> split_line(b'#!lua "name=a b" \'c\''), split_line(b'"open')
    ([b'#!lua', b'name=a b', b'c'], None)
    """
    words: list[bytes] = []
    at, end = 0, len(line.rstrip())
    while at < end:
        found = _WORD.match(line, at)
        if found is None:
            return None
        words.append(b"".join([_unquoted(part) for part in _QUOTED_PART.finditer(found[1])]))
        at = found.end()
    return words


def _unquoted(part: re.Match[bytes]) -> bytes:
    if part["double"] is not None:
        return _ESCAPE.sub(lambda found: _escaped(found[1]), part[0][1:-1])
    if part["single"] is not None:
        return part[0][1:-1].replace(b"\\'", b"'")
    return part[0]


def _escaped(letters: bytes) -> bytes:
    return bytes.fromhex(letters[1:].decode()) if len(letters) == 3 else _ESCAPED.get(letters, letters)


# Every search below takes time linear in the source: it may come from a hostile file. So what is never closed goes on
# to the end, where Lua would refuse the whole.
# Comments and long strings of Lua, to be taken out; quoted strings, to be left alone.
_LUA_TOKENS = re.compile(
    rb"""(--\[(=*)\[.*?(?:\]\2\]|\Z)|--[^\n]*|\[(=*)\[.*?(?:\]\3\]|\Z))|("(?:\\.|[^"\\])*"?|'(?:\\.|[^'\\])*'?)""",
    re.DOTALL,
)
_BRACES = re.compile(rb"""[{}]|"(?:\\.|[^"\\])*"?|'(?:\\.|[^'\\])*'?""", re.DOTALL)
_REGISTER = re.compile(rb"""\bredis\s*\.\s*register_function\s*(?:\(\s*(['"])([A-Za-z0-9_]+)\1\s*,|\(?\s*\{)""")
_QUOTED = re.compile(rb"""(['"])((?:(?!\1)[^\\])*)\1""")


def _functions(source: bytes) -> Iterator[Function]:
    source = _LUA_TOKENS.sub(lambda token: token[4] or b" ", source)
    at = 0
    while call := _REGISTER.search(source, at):
        at = call.end()
        if call[2]:
            yield Function(call[2])
            continue
        table = _until_closed(source, at)
        at += len(table)
        name = _literal(table, b"function_name")
        if name:
            flags = re.search(rb"\bflags\s*=\s*\{([^{}]*)\}", table)
            words = tuple(quoted[2] for quoted in _QUOTED.finditer(flags[1])) if flags else ()
            yield Function(name, _literal(table, b"description"), words)


def _until_closed(source: bytes, start: int) -> bytes:
    """The text from `start` to the brace that closes the one before it."""
    depth = 1
    for brace in _BRACES.finditer(source, start):
        depth += {b"{": 1, b"}": -1}.get(brace[0], 0)
        if depth == 0:
            return source[start : brace.start()]
    return source[start:]


def _literal(table: bytes, key: bytes) -> bytes | None:
    found = re.search(rb"\b" + key + rb"\s*=\s*" + _QUOTED.pattern, table)
    return found[2] if found else None
