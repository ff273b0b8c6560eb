"""What a file is that is not quite Redis's log, by its first bytes or by its commands: a name and what to do.

A log of another server is read all the same; what is no log at all is refused, by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from aofnb.forensics.scan import Records

__all__ = ["dialect_of", "name_of", "sets_of_tile38"]

# What a file may begin with that is no log: pattern, what it is, what to do.
_FILES: tuple[tuple[re.Pattern[bytes], str], ...] = tuple(
    (re.compile(pattern, re.DOTALL | re.IGNORECASE), text)
    for pattern, text in (
        (
            rb"version https://git-lfs",
            "this is a pointer of git-lfs, not the file itself: fetch it with `git lfs pull`",
        ),
        (
            rb"\+?OK\r?\n[0-9]{10}\.[0-9]+ \[",
            "this is what MONITOR prints, not a log: its times and clients are no commands",
        ),
        (
            rb"[0-9]{10}\.[0-9]+ \[[0-9]+ ",
            "this is what MONITOR prints, not a log: its times and clients are no commands",
        ),
        (
            rb"file \S+ seq [0-9]+ type [bhi]",
            "this is a manifest: give it a name that ends in .manifest, beside its files",
        ),
        (rb"\{\s*[\"}]|\[\s*[\[{\"\]]", "this is JSON, not a log; pandas.read_json reads it"),
        (rb"PAR1", "this is Parquet, not a log; pandas.read_parquet reads it"),
        (rb"SQLite format 3\0", "this is an SQLite database, not a log"),
        (rb"PK\x03\x04", "this is a zip archive: unpack it, then read what is in it"),
        (rb".{257}ustar", "this is a tar archive: unpack it, then read what is in it"),
        (
            rb"BZh[1-9]|\xfd7zXZ",
            "this is compressed with bzip2 or xz: unpack it first (gzip and zstd are read as they are)",
        ),
        (rb"<(!doctype|html|\?xml)", "this is HTML or XML, a page that was saved in place of the file"),
        (rb"VALKEY", "a snapshot (RDB) of a newer Valkey where a command must begin: let that server load it"),
        (rb"REDIS", "a snapshot (RDB) where a command must begin"),
        (
            rb"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]+|[0-9]{10,19}[ ,\t:]",
            "lines with a time in front, as small servers write them, where a command must begin",
        ),
        (
            rb"(set|get|del|incr|decr|hset|lpush|rpush|sadd|zadd|expire|select|multi)[ \t]+[^\r\n]{0,400}\r?\n",
            "a command as plain text, as small servers and telnet write it; `redis-cli` with this file on its standard "
            "input runs it on a server, and that server's log can be read",
        ),
        (rb"[-+:][^\r\n]{0,400}\r\n", "a reply of a server, not a command: this is what a client received"),
    )
)

_STACK = re.compile(r"(JSON|FT|TS|BF|CF|CMS|TOPK|TDIGEST|GRAPH|AI)\..+")
_TILE38 = frozenset(
    ("FSET", "SETHOOK", "SETCHAN", "DELHOOK", "PDELHOOK", "DELCHAN", "PDELCHAN", "JSET", "PDEL", "JDEL")
)
_KEYDB = frozenset(("RREPLAY", "KEYDB.MVCCRESTORE", "KEYDB.CRON", "EXPIREMEMBER", "EXPIREMEMBERAT", "PEXPIREMEMBERAT"))
# Redis has SET, too; this is how Tile38's goes on behind key and id. No option of Redis's SET is one of these words.
_TILE38_SETS = frozenset((b"POINT", b"OBJECT", b"STRING", b"HASH", b"BOUNDS", b"FIELD"))
_TILE38_BEGINNINGS = [int.from_bytes(word[:2], "big") for word in _TILE38_SETS]
# Of servers newer than the table of commands here.
_NEWER = frozenset(("HGETDEL", "HGETEX", "HSETEX", "MSETEX"))


def name_of(data: bytes) -> str | None:
    """What begins like this, if it is known, and what to do about it.

    >>> name_of(b"version https://git-lfs.github.com/spec/v1")
    'this is a pointer of git-lfs, not the file itself: fetch it with `git lfs pull`'
    """
    return next((text for pattern, text in _FILES if pattern.match(data)), None)


def dialect_of(commands: Iterable[str]) -> list[str]:
    """Whose commands these are beside Redis's own, in words; each names what loads them.

    >>> dialect_of(["SET", "JSON.SET"])
    ['Redis Stack: JSON.SET; a server with these modules loads them']
    >>> dialect_of(["SET POINT"])
    ['Tile38: SET POINT; a Tile38 server loads them']
    """
    names = sorted(set(commands))
    found = (
        ("Redis Stack", "a server with these modules loads them", [n for n in names if _STACK.fullmatch(n)]),
        (
            "KeyDB",
            "a KeyDB server loads them; RREPLAY wraps what a replica was told",
            [n for n in names if n in _KEYDB],
        ),
        ("Tile38", "a Tile38 server loads them", [n for n in names if n in _TILE38 or n.startswith("SET ")]),
        ("newer Redis or Valkey", "a server from 7.4 on, or Valkey 9, loads them", [n for n in names if n in _NEWER]),
    )
    return [f"{whose}: {', '.join(words)}; {remedy}" for whose, remedy, words in found if words]


def sets_of_tile38(found: Records) -> set[str]:
    """The forms of SET in a table that are Tile38's and not Redis's, as `SET POINT`."""
    rows = np.flatnonzero(found.argc >= 5)
    if not len(rows) or found.cut_argc is not None:
        return set()
    lines, data = found.ends, np.frombuffer(found.data, np.uint8)
    line = found.first[rows] + 2
    begin = lines[line - 1] + 2
    # The name has three letters and begins with S; the word has four to six. Few others have to be looked at.
    near = (lines[line] - begin == 3) & (data[begin] & 0xDF == ord("S"))
    rows, line = rows[near], line[near] + 6
    begin = lines[line - 1] + 2
    nbytes = lines[line] - begin
    fits = (nbytes >= 4) & (nbytes <= 6)
    rows, begin = rows[fits], begin[fits]
    letters = (data[begin] & 0xDF).astype(np.uint16) << 8 | data[begin + 1] & 0xDF
    rows = rows[np.isin(letters, _TILE38_BEGINNINGS)]
    forms = set()
    for row in rows.tolist():
        if (word := found.arg(row, 3).upper()) in _TILE38_SETS and found.arg(row, 0).upper() == b"SET":
            forms.add(f"SET {word.decode()}")
    return forms
