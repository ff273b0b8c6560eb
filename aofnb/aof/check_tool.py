"""How redis-check-aof 7.0.15 reads one file: what it takes for good, and what it finds wrong first.

It reads more strictly than a server in some ways (lines must end in CRLF, EXEC needs its MULTI), and less in others
(``*0``, half an annotation). Its ways are followed to the byte, since its verdict and offset are what people compare.

Redis: redis-check-aof.c checkSingleAof, processRESP, processAnnotations, readLong, readString (7.0.15).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Literal, Protocol, SupportsInt

from aofnb.resp.reader import LINE_MAX

__all__ = ["Checked", "Damage", "DamageKind", "Frames", "ToolReader", "byte_at"]

# Index and name of commands.
Frames = Sequence[tuple[int, bytes]]
DamageKind = Literal["cut", "line_end", "format", "length", "open_multi", "multi", "exec", "snapshot", "timestamp"]

# redis-check-aof reads a header line into 128 bytes.
_HEADER_MAX = 127
_LONG_MAX = (1 << 63) - 1
_STRTOL = re.compile(rb"[ \t\n\v\f\r]*([+-]?[0-9]+)")


@dataclass(frozen=True, slots=True)
class Damage:
    """What redis-check-aof finds wrong first: where it met it, and why in words.

    ``kind`` is ``cut`` (the file ends inside a record), ``line_end`` (no CRLF where one must be), ``format`` (no
    record), ``length`` (a negative or absurd one), ``open_multi`` (MULTI without EXEC), ``multi`` (MULTI in MULTI),
    ``exec`` (EXEC alone), ``snapshot`` (the snapshot at the front), or ``timestamp`` (an annotation, when truncating
    to a time).
    """

    kind: DamageKind
    offset: int
    reason: str


class _Found(Exception):  # noqa: N818  # a way out of nested calls, no error
    """The tool would stop here."""

    def __init__(self, kind: DamageKind, offset: int, reason: str) -> None:
        self.damage = Damage(kind, offset, reason)


class Checked(Protocol):
    """What is asked of consecutive records of a file, as `resp.reader.Block` has them: the names there tell."""

    def __len__(self) -> int: ...
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def lines(self) -> int: ...
    @property
    def frames(self) -> Frames: ...
    @property
    def offsets(self) -> Places: ...
    @property
    def ends(self) -> Places: ...
    @property
    def odd(self) -> Sequence[tuple[int, int]]: ...
    @property
    def annotations(self) -> Sequence[tuple[int, bytes]]: ...


class Places(Protocol):
    """Offsets by index of the record; numbers of numpy will do."""

    def __getitem__(self, index: int, /) -> SupportsInt: ...


class ToolReader:
    """redis-check-aof on one file: step by step as it goes, in leaps where a block of records is beyond doubt.

    Records that Redis spells its own way pass there and here alike, so a block of them needs a look at MULTI and EXEC
    only. Any other record of a block is read as the tool does; at the first doubt the leaps end for good, and `finish`
    goes on step by step from there.
    """

    def __init__(
        self, file: BinaryIO, size: int, start: int, *, line: int, last: bool, timestamp_s: int | None
    ) -> None:
        self.ok_up_to = start
        self.line = line
        self.damage: Damage | None = None
        self.truncate_at: int | None = None
        self._file = file
        self._size = size
        self._last = last
        self._timestamp_s = timestamp_s
        # Where to read next, and whether a MULTI is open; if so `ok_up_to` is in front of it.
        self._at = start
        self._multi = False
        self._leaping = True

    def take(self, block: Checked, frames: Frames) -> None:
        """Leap over `block` if nothing in it can be amiss; `frames` are its own."""
        if self._leaping:
            line = self.line
            self._leaping = self._leap(block, frames)
            if not self._leaping:
                self.line, self._at = line, block.start

    def _leap(self, block: Checked, frames: Frames) -> bool:
        if not all(self._passes(start, end) for start, end in block.odd):
            return False
        if self._timestamp_s is not None and any(self._stops_at(offset) for offset, _ in block.annotations):
            return False
        multi = self._multi
        # Index of the last MULTI; offsets are made for all of a block, so only where one is needed.
        opened: int | None = None
        for index, name in frames:
            word = _frame(name)
            if not word:
                continue
            if multi == (word == b"multi"):
                return False
            multi = not multi
            opened = index
        self.line += block.lines
        self._multi = multi
        self._at = block.end
        if not multi:
            self.ok_up_to = block.end
        elif opened is not None:
            self.ok_up_to = int(block.offsets[opened])
        return True

    def _passes(self, start: int, end: int) -> bool:
        """Whether the tool reads the record at `start` without complaint, to the same end."""
        line, self._at = self.line, start
        try:
            for _ in self._arguments():
                pass
        except _Found:
            return False
        self.line = line
        return self._at == end

    def _stops_at(self, offset: int) -> bool:
        self._file.seek(offset)
        try:
            return self._is_too_new(self._file.readline(LINE_MAX), offset)
        except _Found:
            return True

    def finish(self) -> None:
        """Read what was not leapt over, to the end or to the first thing amiss."""
        try:
            while self._at < self._size:
                if not self._multi:
                    self.ok_up_to = self._at
                if not self._step():
                    return
            if self._multi:
                raise _Found("open_multi", self.ok_up_to, "the file ends before the EXEC of this MULTI")
            self.ok_up_to = self._size
        except _Found as found:
            self.damage = found.damage

    def _step(self) -> bool:
        """Read one record or annotation; False where the log is to be truncated to the time asked for."""
        start = self._at
        first = byte_at(self._file, start)
        if first == b"*":
            self._record()
            return True
        if first != b"#":
            raise _Found("format", start, f"{_shown(first)} where a record should begin")
        self._file.seek(start)
        line = self._file.readline(LINE_MAX)
        if self._is_too_new(line, start):
            self._truncate_at(start)
            return False
        self._at += len(line)
        return True

    def _record(self) -> None:
        start = self._at
        arguments = self._arguments()
        word = _frame(next(arguments, b""))
        if word == b"multi" and self._multi:
            raise _Found("multi", start, "MULTI inside MULTI")
        if word == b"exec" and not self._multi:
            raise _Found("exec", start, "EXEC without MULTI")
        if word:
            self._multi = word == b"multi"
        for _ in arguments:
            pass

    def _arguments(self) -> Iterator[bytes]:
        """The first bytes of each argument of the record at hand, read as the tool reads it."""
        argc = self._number(b"*")
        for _ in range(argc):
            header_at = self._at
            length = self._number(b"$")
            if not 0 <= length <= _LONG_MAX - 2:
                raise _Found("length", header_at, f"an argument of {length} bytes")
            start, end = self._at, self._at + length + 2
            if end > self._size:
                got = self._size - start
                raise _Found("cut", start, f"the file ends {end - self._size} bytes too soon: {got} of {length + 2}")
            self._file.seek(start)
            head = self._file.read(min(length, _FRAME_BYTES))
            self._file.seek(end - 2)
            if (behind := self._file.read(2)) != b"\r\n":
                raise _Found("line_end", end - 2, f"{_shown(behind)} behind an argument, where CRLF should be")
            self._at = end
            self.line += 1
            yield head

    def _number(self, prefix: bytes) -> int:
        """The number in the header line at hand."""
        start = self._at
        self._file.seek(start)
        line = self._file.readline(_HEADER_MAX)
        if not line:
            raise _Found("cut", start, f"the file ends where a {prefix.decode()} line should be")
        if line[:1] != prefix:
            raise _Found("format", start, f"{_shown(line[:1])} where {prefix.decode()!r} should be")
        match = _STRTOL.match(line, 1)
        end = match.end() if match else 1
        if line[end : end + 2] != b"\r\n":
            cut = start + len(line) == self._size and not line.endswith(b"\n")
            reason = "the file ends inside a header line" if cut else "no CRLF behind the number of a header line"
            raise _Found("cut" if cut else "line_end", start, reason)
        self._at = start + len(line)
        self.line += 1
        return max(-_LONG_MAX - 1, min(int(match[1]), _LONG_MAX)) if match else 0

    def _is_too_new(self, line: bytes, offset: int) -> bool:
        """Whether the annotation `line` is of a later time than asked for."""
        if self._timestamp_s is None or not line.startswith(b"#TS:"):
            return False
        match = _STRTOL.match(line, 4)
        end = match.end() if match else 4
        if line[end : end + 1] != b"\r" or (match and abs(int(match[1])) > _LONG_MAX):
            raise _Found("timestamp", offset, f"{_shown(line)} is no time")
        return match is not None and int(match[1]) > self._timestamp_s

    def _truncate_at(self, offset: int) -> None:
        # Inside a transaction the tool would leave its MULTI open.
        cut_at = self.ok_up_to if self._multi else offset
        if cut_at == 0:
            raise _Found("timestamp", 0, "there is nothing from before that time")
        if not self._last:
            raise _Found(
                "timestamp",
                cut_at,
                "what is newer begins here, and this is not the last file; to go back so far, take the files behind it "
                "out of the manifest of a copy of the directory, then check the copy",
            )
        self.truncate_at = self.ok_up_to = cut_at


_FRAME_BYTES = len(b"multi") + 1


def _frame(name: bytes) -> bytes:
    """``multi`` or ``exec`` if the tool takes `name` for it: in any case, and up to a zero byte; else empty."""
    if name[:1] not in b"mMeE":
        return b""
    word = name.split(b"\0", 1)[0].lower()
    return word if word in (b"multi", b"exec") else b""


def byte_at(file: BinaryIO, offset: int) -> bytes:
    file.seek(offset)
    return file.read(1)


def _shown(text: bytes) -> str:
    return repr(text[:20])[1:]
