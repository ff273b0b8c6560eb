"""Behind damage: where the commands of a file begin again, and what of a broken command is still legible.

From the first byte that cannot be read on, nothing says for certain where a command begins: a value may hold a log of
its own. So, in this order:

1. `_mended`: if all arguments of the broken command have legible lengths and lead to where the next command begins,
   only its line ends or its count were wrong, and it is read in spite of them.
2. If the length of the argument in which it breaks leads into bytes that are gone (zeros), the search begins there, not
   inside the argument.
3. `_candidates`: a line that begins like a command, behind a line end or zeros, is one if it is whole, its name is
   known and its number of arguments can be.
4. What was read from there is believed to its end, unless that end is the line end of an argument: then all of it
   stood inside a value, and the search goes on behind it.

Whatever passes these tests inside a value whose header is gone is taken for a command: no test can tell. Rows say so by
their status, up to and with the first SELECT, which shows where the log stands.

Memory is bounded by a window and the largest record.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Protocol, cast

import aofnb.commands.all  # noqa: F401  fills the table
from aofnb.commands import registry
from aofnb.forensics.scan import CHUNK_BYTES, Damage, Incomplete, Record, Records, read_record, scan_file

if TYPE_CHECKING:
    from aofnb.forensics.parts import Part, PartFile
    from aofnb.forensics.reading import Report

__all__ = ["Gap", "GapKind", "Mended", "Run", "Source", "behind_snapshot", "can_be", "pieces_behind", "tables"]

GapKind = Literal["zeros", "garbage", "command", "nested", "blank", "annotation", "truncated", "snapshot"]

_WINDOW = 64 << 10
_MAX_WINDOW = 4 << 20
# Of commands behind damage so many bytes are kept, once it is known how far they go; of more, they are read again.
_KEPT_BYTES = 16 << 20
# Longest header that is looked for, with its line end.
_HEADER = 32
_ARGC_MAX = (1 << 31) - 1
# Broken commands larger than this are not mended.
_MENDED_ARGS = 1 << 20
_MENDED_BYTES = 512 << 20

_CANDIDATE = re.compile(rb"(?<=[\n\0])(?:\*[1-9][0-9]{0,8}\r?\n\$[0-9]{1,12}\r?\n|#TS:[0-9]{1,12}\r?\n(?=\*[1-9]))")
_BEHIND_SNAPSHOT = re.compile(rb"\*[1-9][0-9]{0,8}\r\n\$[0-9]{1,12}\r\n|#TS:[0-9]{1,12}\r\n(?=\*[1-9])")
_COUNT = re.compile(rb"\*([1-9][0-9]{0,8})\r\n")
_LENGTH = re.compile(rb"\$([0-9]{1,12})\r\n")
_BLANK = re.compile(rb"[ \t\r\n]+")


class Readable(Protocol):
    """What is read: a file that can be sought."""

    def read(self, size: int, /) -> bytes: ...
    def seek(self, offset: int, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class Gap:
    """Bytes from `offset` to `end` that hold nothing legible.

    `kind` : ``zeros`` (a block that was never written), ``garbage`` (no command begins there), ``command`` (one begins,
    and is broken), ``nested`` (commands, but inside a value whose own header is gone), ``blank`` (empty lines),
    ``annotation``, ``truncated`` (the file ends), ``snapshot``.
    `lost` : how many commands at least.
    """

    offset: int
    end: int
    kind: GapKind
    reason: str
    lost: int = 1
    argc: int = 0
    argv: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """Commands from `offset` to before `end`.

    `sure` : nothing was lost in front of them.
    `tables` : all of them, unless they are many.
    """

    offset: int
    end: int
    sure: bool = False
    tables: Sequence[Records] | None = None


@dataclass(frozen=True, slots=True)
class Mended:
    """A command with a broken line end or count that is legible all the same."""

    offset: int
    end: int
    argv: list[bytes]
    reason: str

    def as_records(self) -> Records:
        """One row."""
        return Records.of([self.argv], [self.offset], [self.end - self.offset], mended=True)


def can_be(argv: Sequence[bytes]) -> bool:
    """Whether there is such a command with so many arguments."""
    entry = registry.find(argv)
    if entry is None or not entry.min_argc <= len(argv) <= entry.max_argc:
        return False
    return not (entry.subcommands and len(argv) > 1)


class Source:
    """A file by offsets, its last window kept."""

    def __init__(self, file: Readable, size: int) -> None:
        self.size = size
        self._file = file
        self._data = b""
        self._base = 0

    def at(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset` on, fewer only at the end."""
        size = min(size, self.size - offset)
        if size <= 0:
            return b""
        begin = offset - self._base
        if begin < 0 or begin + size > len(self._data):
            self._file.seek(offset)
            self._data = self._file.read(max(size, _WINDOW))
            self._base, begin = offset, 0
        return self._data[begin : begin + size]

    def stream(self, offset: int) -> _Stream:
        """The bytes from `offset` on, in order."""
        return _Stream(self._file, offset, self.size)

    def match(self, pattern: re.Pattern[bytes], offset: int) -> re.Match[bytes] | None:
        """The header at `offset`."""
        return pattern.match(self.at(offset, _HEADER))

    def length(self, offset: int) -> tuple[int, int] | None:
        """The place and the end of the argument whose header is at `offset`, if the file has room for it."""
        header = self.match(_LENGTH, offset)
        if header is None:
            return None
        start = offset + header.end()
        end = start + int(header[1])
        return None if end > self.size else (start, end)


class _Stream:
    """One pass over a file that others seek in, too."""

    def __init__(self, file: Readable, offset: int, end: int) -> None:
        self._file, self._at, self._end = file, offset, end

    def read(self, size: int, /) -> bytes:
        self._file.seek(self._at)
        data = self._file.read(max(min(size, self._end - self._at), 0))
        self._at += len(data)
        return data


def pieces_behind(source: Source, damage: Damage, before: int | None = None) -> Iterator[Gap | Run | Mended]:
    """What is behind the first damage of a file, to its end and without holes.

    Parameters
    ----------
    source
        The whole file.
    damage
        As `scan_file` gave it.
    before
        Where the last command in front of it begins, if its count is wrong, which only what follows shows.
    """
    at, reason = damage.offset, damage.reason
    if before is not None:
        # The count of the command before was too small: it is broken, too, and has been taken back.
        at, reason = before, "the count of arguments is too small"
    blank_lines = False
    sure = False
    while at < source.size:
        followed: _Followed | None = None
        blank = _BLANK.match(source.at(at, _HEADER))
        if blank is not None and (at + blank.end() == source.size or _begins(source, at + blank.end())):
            yield Gap(at, at + blank.end(), "blank", "an empty line where a command must begin", 0)
            blank_lines, at = True, at + blank.end()
            sure = True
        elif (mended := _mended(source, at, reason)) is not None:
            yield mended
            at, sure = mended.end, True
        else:
            gap, followed = _gap(source, at, reason, damage, blank_lines)
            yield gap
            at, sure = gap.end, False
        if at >= source.size:
            return
        if not _begins(source, at):
            reason = "no command begins here"
            continue
        followed = followed or _follow(source, at)
        if followed.last is not None and _counts_too_few(source, followed.last, followed.end):
            # That shows only in what follows.
            followed = followed.without_last("the count of arguments is too small")
        if followed.end > at:
            yield Run(at, followed.end, sure, followed.tables)
        if followed.problem is None:
            return
        at, reason = followed.end, followed.problem


def _begins(source: Source, at: int) -> bool:
    return source.at(at, 1) in (b"*", b"#")


@dataclass(frozen=True, slots=True)
class _Followed:
    """Where reading on ended, why (None at the end of the file), and where the last command begins.

    `tables` : what was read, unless that is much.
    """

    end: int
    problem: str | None
    last: int | None
    tables: list[Records] | None

    def without_last(self, problem: str) -> _Followed:
        """As if that command were not legible."""
        assert self.last is not None
        tables = self.tables
        if tables is not None:
            # Annotations stand in tables of their own where nothing follows them.
            number = max(number for number, each in enumerate(tables) if len(each))
            tables = [*tables[:number], tables[number].first_rows(len(tables[number]) - 1)]
        return _Followed(self.last, problem, None, tables)


# --- a broken command ------------------------------------------------------------------------------------


def _mended(source: Source, at: int, reason: str) -> Mended | None:
    """The command at `at`, if its arguments are all legible and lead to the next command or the end of the file.

    One thing may be wrong, its count or one byte of one line end: what has more wrong with it may be two commands with
    a block missing between them.
    """
    line = source.at(at, _HEADER)
    first = line.find(b"\n") + 1
    if not first or line.startswith((b"$", b"\0")):
        return None
    counted = _COUNT.match(line)
    spans: list[tuple[int, int]] = []
    place = at + first
    broken = 0
    while (found := source.length(place)) is not None and len(spans) < _MENDED_ARGS:
        end = found[1]
        around = source.at(end, 2)
        if around != b"\r\n":
            broken += 1
            if len(around) < 2 or (around[0] != 13 and around[1] != 10):
                return None
        spans.append(found)
        place = end + 2
    right_count = counted is not None and int(counted[1]) == len(spans)
    if not spans or broken > right_count or spans[-1][1] - spans[0][0] > _MENDED_BYTES:
        return None
    if place < source.size and not _valid_at(source, place):
        return None
    argv = [source.at(start, end - start) for start, end in spans]
    if not can_be(argv):
        return None
    return Mended(at, place, argv, reason if right_count else "the count of arguments is wrong")


def _counts_too_few(source: Source, at: int, end: int) -> bool:
    """Whether the command at `at`, which ends at `end`, has more arguments behind that, and one bit of its count would
    say so. Other arguments there are those of a command whose beginning is missing.
    """
    if source.match(_LENGTH, end) is None:
        return False
    counted, whole = source.match(_COUNT, at), _mended(source, at, "")
    if counted is None or whole is None or whole.end <= end or can_be(whole.argv[int(counted[1]) :]):
        return False
    said, true = counted[1], b"%d" % len(whole.argv)
    if len(said) != len(true):
        return False
    return (int.from_bytes(said, "big") ^ int.from_bytes(true, "big")).bit_count() == 1


def _search_from(source: Source, at: int) -> int:
    """Where to look for the next command, when the one at `at` is broken."""
    counted = source.match(_COUNT, at)
    place = at + counted.end() if counted else at
    behind = at + 1
    while (found := source.length(place)) is not None:
        end = found[1]
        around = source.at(end, 2)
        if around == b"\r\n":
            behind = place = end + 2
        elif around.startswith(b"\0"):
            # The value ends inside a block that is gone, so what is in it is no command.
            return end
        else:
            break
    # One byte before, since a candidate needs its line end.
    return max(behind - 2, at + 1)


def _gap(source: Source, at: int, reason: str, damage: Damage, blank_lines: bool) -> tuple[Gap, _Followed | None]:
    """The bytes from `at` to where commands begin again, and how far those go."""
    begins = _begins(source, at)
    end, followed = source.size, None
    found = next((each for each in _candidates(source, _search_from(source, at)) if _valid_at(source, each)), None)
    if found is not None:
        end, followed = found, _follow(source, found)
        if followed.problem is not None and not blank_lines and _ends_a_value(source, followed.end):
            reason += f"; what looks like commands from byte {found} on is part of a value"
            return Gap(at, followed.end + 2, "nested", reason), None
    zeros = _zeros(source, at, end)
    kind: GapKind
    if end == source.size and begins and damage.kind == "truncated" and not zeros:
        kind, argc, argv = "truncated", damage.argc, tuple(damage.argv)
        reason = damage.reason
    else:
        kind, argc, argv = ("zeros" if zeros else "command" if begins else "garbage"), 0, ()
    if end == source.size and source.at(at, 1) == b"#":
        kind = "annotation"
    lost = 0 if kind == "annotation" or (zeros == end - at and end == source.size) else 1
    return Gap(at, end, kind, reason, lost, argc, argv), followed


def _ends_a_value(source: Source, at: int) -> bool:
    """Whether at `at` there is the line end of an argument: what is before it was part of that."""
    if source.at(at, 2) != b"\r\n":
        return False
    return source.length(at + 2) is not None or _valid_at(source, at + 2) or at + 2 == source.size


def _zeros(source: Source, start: int, end: int) -> int:
    """The longest run of zero bytes there, 0 if it is shorter than 16."""
    longest = current = 0
    while start < end:
        data = source.at(start, min(_WINDOW, end - start))
        if b"\0" * 16 not in data and not current:
            start += len(data)
            continue
        for piece in re.finditer(rb"\0+|[^\0]+", data):
            current = current + len(piece[0]) if piece[0][0] == 0 else 0
            longest = max(longest, current)
        start += len(data)
    return longest if longest >= 16 else 0


def _candidates(source: Source, start: int, pattern: re.Pattern[bytes] = _CANDIDATE) -> Iterator[int]:
    """Where a command may begin, from `start` on."""
    at = start
    while at < source.size:
        window = source.at(at, _WINDOW)
        for found in pattern.finditer(window):
            yield at + found.start()
        # A candidate that the border cuts is found from its line end on.
        step = len(window) - 2 * _HEADER
        at += step if step > 0 and at + len(window) < source.size else len(window)


def _valid_at(source: Source, at: int) -> bool:
    """Whether a whole, possible command (behind annotations) begins at `at`, and nothing denies it behind."""
    while source.at(at, 1) == b"#":
        line = source.at(at, 1023)
        end = line.find(b"\n") + 1
        if not end:
            return False
        at += end
    found = _skimmed(source, at)
    if found is None:
        return False
    argv, end = found
    return can_be(argv) and source.at(end, 2) != b"\r\n"


def _skimmed(source: Source, at: int) -> tuple[list[bytes], int] | None:
    """Name and first argument of the command at `at`, padded to its count, and where it ends; values are not read."""
    counted = source.match(_COUNT, at)
    if counted is None:
        return _read_lf(source, at)
    argc = int(counted[1])
    place = at + counted.end()
    if argc > _ARGC_MAX or argc * 6 > source.size - place:
        return None
    argv: list[bytes] = []
    for _ in range(argc):
        found = source.length(place)
        if found is None or source.at(found[1], 2) != b"\r\n":
            return None
        if len(argv) < 2:
            argv.append(source.at(found[0], min(found[1] - found[0], 64)))
        place = found[1] + 2
    return argv + [b""] * (argc - len(argv)), place


def _read_lf(source: Source, at: int) -> tuple[list[bytes], int] | None:
    """The same for a command whose CRs were lost."""
    size = _WINDOW
    while True:
        data = source.at(at, size)
        if not data.startswith(b"*"):
            return None
        found = read_record(data, 0, eof=at + len(data) >= source.size)
        if isinstance(found, Record):
            return (found.argv, at + found.end) if found.lf else None
        if not isinstance(found, Incomplete) or at + len(data) >= source.size or size >= _MAX_WINDOW:
            return None
        size *= 4


def _follow(source: Source, at: int) -> _Followed:
    """Read on from `at`."""
    last: int | None = None
    tables: list[Records] | None = []
    stream = source.stream(at)
    for found in scan_file(stream, base=at, chunk_bytes=_WINDOW, most_bytes=CHUNK_BYTES, measure=False):
        if isinstance(found, Damage):
            return _Followed(found.offset, found.reason, last, tables)
        if len(found):
            last = int(found.offset[-1])
            if tables is not None and last - at > _KEPT_BYTES:
                tables = None
        if tables is not None:
            tables.append(found)
    return _Followed(source.size, None, last, tables)


# --- tables ----------------------------------------------------------------------------------------------


def tables(part: Part, file: PartFile, scanned: Iterator[Records | Damage], report: Report) -> Iterator[Records]:
    """The tables of `scan_file` on `file`, and those of what is behind the damage it met; all damage is in `report`."""
    held: Records | None = None
    for found in scanned:
        if isinstance(found, Records):
            # One is kept back: only what follows says whether the count of its last command is right.
            if held is not None:
                yield held
            held = found
            continue
        with _source(part, file) as source:
            before = None if held is None or not len(held) else int(held.offset[-1])
            if before is not None and not _counts_too_few(source, before, found.offset):
                before = None
            if held is not None:
                yield held if before is None else held.first_rows(len(held) - 1)
            yield from _rows(part, source, pieces_behind(source, found, before), report)
        return
    if held is not None:
        yield held


def behind_snapshot(part: Part, file: PartFile, offset: int, reason: str, report: Report) -> Iterator[Records]:
    """The commands behind a snapshot that is damaged at `offset`: they begin where its end is legible.

    Only what stands behind the byte that ends a snapshot and its checksum is taken for commands.
    """
    with _source(part, file) as source:
        for at in _candidates(source, offset, _BEHIND_SNAPSHOT):
            if at >= 9 and source.at(at - 9, 1) == b"\xff" and _valid_at(source, at):
                damage = Damage("format", at, source.size - at, reason)
                report.add(part, "snapshot", offset, at - offset, reason)
                followed = _follow(source, at)
                end = followed.end
                yield from _rows(part, source, iter([Run(at, end, tables=followed.tables)]), report)
                if followed.problem is not None:
                    damage = replace(damage, offset=end, nbytes=source.size - end, reason=followed.problem)
                    yield from _rows(part, source, pieces_behind(source, damage), report)
                return
        report.add(part, "snapshot", offset, source.size - offset, reason)


def _rows(part: Part, source: Source, pieces: Iterator[Gap | Run | Mended], report: Report) -> Iterator[Records]:
    lost = False
    for piece in pieces:
        if isinstance(piece, Gap):
            report.add(part, piece.kind, piece.offset, piece.end - piece.offset, piece.reason, piece.lost)
            lost = lost or piece.kind != "blank"
            if piece.kind == "truncated":
                rest = Damage("truncated", piece.offset, piece.end - piece.offset, "", piece.argc, list(piece.argv))
                yield rest.as_records()
        elif isinstance(piece, Mended):
            report.add(part, "mended", piece.offset, piece.end - piece.offset, piece.reason, 0)
            yield replace(piece.as_records(), behind_damage=lost)
            lost = False
        else:
            run = source.stream(piece.offset)
            again = scan_file(run, base=piece.offset, size=piece.end - piece.offset)
            for found in again if piece.tables is None else piece.tables:
                # A run has been read to its end before.
                assert isinstance(found, Records)
                yield replace(found, behind_damage=lost)
                lost = False


@contextmanager
def _source(part: Part, file: PartFile) -> Iterator[Source]:
    """The whole file, which can be read anywhere: a compressed one is unpacked into a temporary file."""
    if not part.compression:
        with part.open_stored() as plain:
            yield Source(plain, part.size)
        return
    with tempfile.TemporaryFile() as unpacked:
        file.seek(0)
        while piece := file.read(1 << 20):
            unpacked.write(piece)
        yield Source(cast("BinaryIO", unpacked), unpacked.tell())
