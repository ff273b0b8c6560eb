"""Bytes of a log to argument vectors, a block at a time.

Two paths. Almost all records are plain: headers as Redis writes them. The kernel `_plain_cy` takes them; where it is
not compiled, the piece of the file is split at CRLF and the parts are taken as they are, once every length header
agrees with what is behind it. Whatever is not plain (a header that ends in LF alone, an annotation, the end of the
piece) is read byte by byte, then the first path goes on.

What is accepted is what redis-server's loader accepts, with four departures. That one crashes, or allocates what a
damaged header asks for: a negative length is a format error; a length beyond the end of the file is a record cut short,
found before anything is allocated (`not_cut_short` looks closer); a number of arguments that does not fit 31 bits is a
format error. And it takes zeros that a power cut left for a value that someone wrote: zero bytes in a line, or where an
argument's CRLF should be, are a format error.

Redis: aof.c loadSingleAppendOnlyFile (7.0.15).
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import BinaryIO, Literal

from aofnb.resp import _plain_cy
from aofnb.resp.pairs import Pairs, Records

__all__ = ["LINE_MAX", "Block", "CommandReader", "End", "may_frame", "not_cut_short"]

# Small, so that what one block splits into stays in the processor's cache, and replay finds it there: measured
# 1.4 times faster to read and 1.2 times faster to replay than 64 KiB.
PIECE = (64 if _plain_cy.COMPILED else 16) << 10
# A header or an annotation with its line end; the loader's buffer is one larger.
LINE_MAX = 1023
_INT_MAX = (1 << 31) - 1

_CRLF = b"\r\n"
_SET = b"SET"
# How a run of plain SETs begins, and from what length on it is a block of its own.
_SETS = b"*3\r\n$3\r\nSET\r\n"
_RUN = 4
# So many plain records in a row behind one that is not are taken with it.
_ENOUGH = 256
# What is longer than so many pieces holds long values, of which objects are made anyway.
_LONG_PIECES = 4
_STAR, _DOLLAR, _HASH, _LF = b"*$#\n"
# Length header by length, for all but long arguments.
_LENGTHS = [b"$%d" % length for length in range(4096)]
# Count header to the number of pieces its record splits into.
_PIECES = {b"*%d" % argc: 2 * argc + 1 for argc in range(1, 1025)}
# Digits of the largest length.
_LONGEST_NUMBER = 19
# What atoi and strtol see.
_NUMBER = re.compile(rb"[ \t\n\v\f\r]*([+-]?[0-9]+)")

_POWER_CUT = ", as a power cut leaves them"

EndKind = Literal["clean", "truncated", "format"]


@dataclass(frozen=True, slots=True)
class End:
    """How the reading ended.

    ``offset`` is the end of the last whole record or annotation: the size of the file if it is ``clean``, else where
    the record begins that is cut short or malformed. ``reason`` says what is wrong with it. ``line_ends_changed``: it
    looks as if LF stood where CRLF was, the commonest cause, of git or an editor: such a file must not be cut.
    ``unseen``: zero bytes that redis-server does not look at, so that it would read on.
    """

    kind: EndKind
    offset: int
    reason: str = ""
    line_ends_changed: bool = False
    unseen: bool = False


class Block:
    """Consecutive records of one file.

    Attributes
    ----------
    argvs
        The commands, name included.
    sets
        Where all of them are ``SET key value`` and nothing else: pairs of key and value. Most of a large log is, and
        whoever takes these spares a list per command. Else None.
    records
        Where none of them is MULTI or EXEC, and all are spelled as Redis spells them: the commands where they stand.
        Else None, and always without the kernel.
    annotations
        ``(offset, text)`` of each ``#`` line among them, without its line end.
    start, end
        The bytes of the file that the block covers, annotations included; end exclusive.
    """

    __slots__ = ("_argvs", "_ends", "_marks", "_odd_ends", "_offsets", "annotations", "end", "records", "sets", "start")

    def __init__(self, start: int) -> None:
        self.start = start
        self.end = start
        self.sets: Pairs | list[tuple[bytes, bytes]] | None = None
        self.records: Records | None = None
        self._argvs: list[list[bytes]] | None = None
        self.annotations: list[tuple[int, bytes]] = []
        # Offsets follow from the arguments, but for records behind an annotation or a record of odd spelling (marks:
        # index to offset), and for the ends of those of odd spelling. So nobody pays for offsets but who asks.
        self._marks: dict[int, int] = {}
        self._odd_ends: dict[int, int] = {}
        self._offsets: list[int] | None = None
        self._ends: list[int] | None = None

    @classmethod
    def of(cls, argvs: list[list[bytes]], offsets: list[int], end: int) -> Block:
        """Commands that were found otherwise, each with where it begins; they end at `end`."""
        block = cls(offsets[0] if offsets else end)
        block.end = end
        block._argvs = argvs
        block._offsets = offsets
        block._ends = [*offsets[1:], end] if offsets else []
        return block

    @property
    def argvs(self) -> list[list[bytes]]:
        if self._argvs is None:
            if self.records is not None:
                self._argvs = self.records.argvs()
            else:
                self._argvs = [] if self.sets is None else [[_SET, *pair] for pair in self.sets]
        return self._argvs

    def __len__(self) -> int:
        """Number of commands."""
        return len(self.sets or self.records or self.argvs)

    @property
    def lines(self) -> int:
        """How many headers and arguments there are."""
        return len(self) + 2 * sum(map(len, self.argvs))

    @property
    def frames(self) -> list[tuple[int, bytes]]:
        """Index and name of each command that somebody may take for MULTI or EXEC."""
        if self.sets is not None:
            return []
        names = {name for name in set(map(itemgetter(0), self.argvs)) if may_frame(name)}
        return [(index, argv[0]) for index, argv in enumerate(self.argvs) if argv[0] in names] if names else []

    @property
    def offsets(self) -> list[int]:
        """Where each command begins in the file."""
        if self._offsets is None:
            self._measure()
        assert self._offsets is not None
        return self._offsets

    @property
    def ends(self) -> list[int]:
        """Where each command ends in the file, exclusive."""
        if self._ends is None:
            self._measure()
        assert self._ends is not None
        return self._ends

    @property
    def odd(self) -> list[tuple[int, int]]:
        """Start and end in the file of the commands that are not known to be spelled as Redis spells them."""
        return [(self._marks[index], end) for index, end in self._odd_ends.items()]

    def _measure(self) -> None:
        offsets: list[int] = []
        ends: list[int] = []
        offset = self.start
        # Where each one ends that stands among plain records, of which there are no marks.
        behind = {} if self.records is None else {at: at + len(text) + len(_CRLF) for at, text in self.annotations}
        for index, argv in enumerate(self.argvs):
            offset = self._marks.get(index, offset)
            while offset in behind:
                offset = behind[offset]
            offsets.append(offset)
            offset = self._odd_ends.get(index) or offset + _canonical_size(argv)
            ends.append(offset)
        self._offsets, self._ends = offsets, ends

    def split(self, index: int) -> tuple[Block, Block]:
        """The commands before `index` and those from it on, as two blocks."""
        offsets, ends = self.offsets, self.ends
        border = offsets[index]
        before, after = Block(self.start), Block(border)
        for part, chosen in ((before, slice(None, index)), (after, slice(index, None))):
            part._argvs = self.argvs[chosen]
            part._offsets = offsets[chosen]
            part._ends = ends[chosen]
        before.end, after.end = border, self.end
        before.annotations = [item for item in self.annotations if item[0] < border]
        after.annotations = [item for item in self.annotations if item[0] >= border]
        return before, after


def may_frame(name: bytes) -> bool:
    r"""Whether somebody may take the command of that name for MULTI or EXEC: what follows them is not looked at.

    >>> [name for name in (b"multi", b"Exec\0", b"EXPIRE", b"SET") if may_frame(name)]
    [b'multi', b'Exec\x00']
    """
    return name[:5].upper() == b"MULTI" or name[:4].upper() == b"EXEC"


class CommandReader:
    """Reads the records of one file, front to back, in bounded memory.

    Iterate over it to get `Block` after `Block`; then `end` says how it ended. Memory is that of one piece, or of the
    largest single record; a record that the file cannot hold is never allocated.

    Parameters
    ----------
    file
        Open for reading, at `offset`.
    size
        Where reading stops: what a file gets while it is read is not seen.
    preceding
        The last two bytes in front of `offset`, if records are there.
    """

    def __init__(
        self, file: BinaryIO, size: int, *, offset: int = 0, piece: int = PIECE, preceding: bytes = b""
    ) -> None:
        self._file = file
        self._size = size
        self._offset = offset
        self._piece = piece
        self._preceding = preceding
        # Where the kernel notes what it found.
        self._notes = _Notes()
        self.end: End | None = None

    def __iter__(self) -> Iterator[Block]:
        data, preceding = b"", self._preceding
        wanted = self._piece
        while True:
            base = self._offset
            read_to = base + len(data)
            if wanted:
                more = self._file.read(min(wanted, self._size - read_to))
                if not more:
                    # Nothing left, or the file became shorter since its size was taken.
                    self._size = read_to
                data = data + more if data else more
            block = Block(base)
            stop = _parse(data, block, self._size - base, preceding, self._notes)
            if block.end != base:
                yield block
            if not isinstance(stop, int):
                self.end = stop
                return
            if block.end == self._size:
                self.end = End("clean", self._size)
                return
            self._offset = block.end
            taken = block.end - base
            preceding = (preceding + data[max(0, taken - 2) : taken])[-2:]
            data = data[taken:]
            # If much is left, that is looked at first. Else at least as much again is read, so that a long record is
            # parsed a logarithmic number of times.
            wanted = 0 if taken and not stop and len(data) > self._piece // 2 else max(self._piece, stop, len(data))


# Where a record of Redis begins, behind the end of another. Never empty, so a match is not the end of the file.
_BEGINNING = re.compile(rb"\r\n(?=\*[1-9][0-9]{0,9}\r\n\$[0-9]{1,19}\r\n)")
_LONGEST_BEGINNING = 64
# So many whole records up to the end of the file are there on purpose.
_NO_CHANCE = 3


def not_cut_short(file: BinaryIO, end: End, size: int) -> End:
    """`end`, or a format error where the record that seems cut short is one whose length is damaged.

    A length that was too large takes the rest of the file for its argument. Then whole records follow somewhere behind
    it, up to the end: nothing is missing, and to cut there would lose them all. One or two may be inside of a value
    that is cut short indeed, right behind them, so they do not count.

    Time is linear in what is behind ``end.offset``, memory that of one piece.
    """
    if end.kind != "truncated":
        return end
    budget = 2 * (size - end.offset)
    for start in _beginnings(file, end.offset, size):
        file.seek(start)
        reader = CommandReader(file, size, offset=start)
        commands = sum(map(len, reader))
        assert reader.end is not None
        if reader.end.kind == "clean" and commands >= _NO_CHANCE:
            reason = f"{end.reason}, but whole commands follow from byte {start} to its end: the length is damaged"
            return replace(end, kind="format", reason=reason)
        budget -= reader.end.offset - start + PIECE
        if budget < 0:
            break
    return end


def _beginnings(file: BinaryIO, offset: int, size: int) -> Iterator[int]:
    """Offsets behind `offset` where a record may begin. The file may be moved between them."""
    while offset < size:
        file.seek(offset)
        data = file.read(min(PIECE, size - offset))
        for found in _BEGINNING.finditer(data):
            yield offset + found.end()
        if len(data) < PIECE:
            return
        offset += len(data) - _LONGEST_BEGINNING


class _Stop(Exception):  # noqa: N818  # a way out of nested functions, no error
    """Parsing cannot go on: the data ends (`missing` bytes at least), or the record is bad (`end`)."""

    def __init__(
        self, missing: int = 0, kind: EndKind = "clean", reason: str = "", at: int = -1, *, unseen: bool = False
    ) -> None:
        self.missing = missing
        self.unseen = unseen
        self.kind = kind
        self.reason = reason
        # Where in the data the byte is that can be no beginning of what must begin there.
        self.at = at


class _Notes:
    """Room for what the kernel finds in a piece: where arguments are, and where records begin among them."""

    def __init__(self) -> None:
        # Of a piece and what was left before it. An argument takes six bytes at least, a record ten.
        self.places = array("i", bytes(2 * PIECE // 6 * 8))
        self.starts = array("i", bytes(2 * PIECE // 10 * 4))


def _parse(data: bytes, block: Block, limit: int, preceding: bytes, notes: _Notes) -> int | End:
    """Put the records of `data` into `block`, whose start is that of `data`.

    `limit` is how many bytes the file holds from there on, `preceding` the last two in front of it. Returns the `End`
    if this is it, or how many bytes are missing at least; 0 if none is known to be, since `data` ends with a record, or
    what is behind the block was not looked at.
    """
    base = block.start
    final = len(data) == limit
    parts = None if _plain_cy.COMPILED else _Parts(data)
    if data.startswith(_SETS):
        block.sets, pos = _sets(data, notes) if parts is None else parts.sets()
        if block.sets is not None:
            block.end = base + pos
            return 0
    if parts is None:
        block.records, pos = _records(data, block, notes)
        if block.records is not None:
            block.end = base + pos
            return 0
    argvs = block.argvs
    pos = 0
    try:
        while True:
            if parts is None:
                before = len(argvs)
                pos = _plain_cy.plain(data, pos, argvs, _ENOUGH)
                # So many in a row: what follows is likely to be plain, and is better left where it stands.
                rested = len(argvs) - before == _ENOUGH
            else:
                pos = parts.plain(pos, argvs)
                rested = False
            if rested or pos == len(data):
                block.end = base + pos
                return 0
            first = data[pos]
            if first == _STAR:
                argv, end = _record(data, pos, final, limit, base)
                block._marks[len(argvs)] = base + pos
                block._odd_ends[len(argvs)] = base + end
                argvs.append(argv)
            elif first == _HASH:
                end = _line_end(data, pos, final, base)
                if data[end - 1] != 10:
                    raise _Stop(kind="truncated", reason="an annotation is cut short")
                block.annotations.append((base + pos, data[pos:end].rstrip(_CRLF)))
            else:
                raise _Stop(kind="format", reason=_not_a_record(data, pos), at=pos)
            pos = end
            block._marks[len(argvs)] = base + pos
    except _Stop as stop:
        block.end = base + pos
        if stop.missing:
            return stop.missing
        changed = _line_ends_changed(data, stop.at, preceding)
        return End(stop.kind, base + pos, stop.reason, changed, stop.unseen)


def _sets(data: bytes, notes: _Notes) -> tuple[Pairs | None, int]:
    """The SETs that the data begins with, as many as there is room for, and where they end; None for a few."""
    if len(data) > _INT_MAX:
        return None, 0
    places = notes.places
    count = _plain_cy.sets(data, places)
    if count < _RUN:
        return None, 0
    return Pairs(data, places[: 4 * count].tobytes()), places[4 * count - 1] + len(_CRLF)


def _records(data: bytes, block: Block, notes: _Notes) -> tuple[Records | None, int]:
    """The plain records that the data begins with, and where they end, annotations among them to the block; None for
    a few, or where one is very long.
    """
    if len(data) > _LONG_PIECES * PIECE:
        return None, 0
    places, starts = notes.places, notes.starts
    annotations: list[tuple[int, bytes]] = []
    count, end = _plain_cy.records(data, places, starts, annotations)
    if count < _RUN:
        return None, 0
    block.annotations = [(block.start + at, text) for at, text in annotations]
    return Records(data, places[: starts[count]].tobytes(), starts[: count + 1].tobytes()), end


class _Parts:
    """`data` split at CRLF, and how much of it was taken: what the kernel does, where it is not compiled."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._parts = data.split(_CRLF)
        # The place in data of parts[index], which lags behind in odd records.
        self._index = self._aligned = 0

    def sets(self) -> tuple[list[tuple[bytes, bytes]] | None, int]:
        """The keys and values of the SETs, if there is nothing else, and where they end; None for a few."""
        parts = self._parts
        n, rest = divmod(len(parts) - 1, 7)
        end = 7 * n
        # Slices, so that a command costs a few steps in C. All or nothing: it is as quick to find that it is not so.
        if n < _RUN or not (
            parts[0:end:7].count(b"*3") == parts[1:end:7].count(b"$3") == parts[2:end:7].count(_SET) == n
            and (rest == 0 or parts[end] == b"*3")
        ):
            return None, 0
        keys, values = parts[4:end:7], parts[6:end:7]
        try:
            lengths = _LENGTHS
            if [lengths[len(key)] for key in keys] != parts[3:end:7]:
                return None, 0
            if [lengths[len(value)] for value in values] != parts[5:end:7]:
                return None, 0
        except IndexError:
            return None, 0
        return list(zip(keys, values, strict=True)), len(self._data) - sum(map(len, parts[end:])) - 2 * rest

    def plain(self, pos: int, argvs: list[list[bytes]]) -> int:
        """Append the plain records from data[pos] on to `argvs`; where the first one begins that was not taken."""
        data, parts = self._data, self._parts
        last = len(parts) - 1
        if pos != self._aligned:
            if data[pos - 2 : pos] != _CRLF:
                return pos
            self._index += data.count(_CRLF, self._aligned, pos)
        before = self._index
        index = self._index = _plain(parts, before, last, argvs.append)
        if last - index < index - before:
            pos = len(data) - sum(map(len, parts[index:])) - 2 * (last - index)
        else:
            pos += sum(map(len, parts[before:index])) + 2 * (index - before)
        self._aligned = pos
        return pos


def _plain(parts: Sequence[bytes], i: int, last: int, append: Callable[[list[bytes]], None]) -> int:
    """Take plain records from parts[i] on; the index of the first piece that was not taken.

    parts[last] has no CRLF behind it, so it ends no record.
    """
    while True:
        i = _plain_short(parts, i, last, append)
        # What stopped there may still be plain, with an argument that is long or holds CRLF.
        found = _joined(parts, i, last)
        if found is None:
            return i
        argv, i = found
        append(argv)


def _joined(parts: Sequence[bytes], i: int, last: int) -> tuple[list[bytes], int] | None:
    """The plain record at parts[i] with its CRLFs put back where they are in arguments, and the index behind it."""
    j = i + 1
    argv: list[bytes] = []
    # Two pieces for each argument, and the header's.
    for _ in range(_PIECES.get(parts[i], 0) // 2):
        if j >= last:
            return None
        header = parts[j]
        digits = header[1:]
        if len(digits) > _LONGEST_NUMBER or not digits.isdigit() or header != b"$%d" % int(digits):
            return None
        length, first, j = int(digits), j + 1, j + 2
        got = len(parts[first])
        while got < length and j < last:
            got += len(_CRLF) + len(parts[j])
            j += 1
        if got != length or j > last:
            return None
        argv.append(parts[first] if j == first + 1 else _CRLF.join(parts[first:j]))
    return (argv, j) if argv else None


def _plain_short(parts: Sequence[bytes], i: int, last: int, append: Callable[[list[bytes]], None]) -> int:
    """`_plain` for records whose arguments are all shorter than `_LENGTHS` is long."""
    lengths = _LENGTHS
    pieces = _PIECES
    # The common shapes are spelled out: half the time of the general one.
    try:
        while i < last:
            head = parts[i]
            if head == b"*3":
                j = i + 7
                if j > last:
                    return i
                _, a_len, a, b_len, b, c_len, c = parts[i:j]
                if lengths[len(a)] != a_len or lengths[len(b)] != b_len or lengths[len(c)] != c_len:
                    return i
                append([a, b, c])
            elif head == b"*2":
                j = i + 5
                if j > last:
                    return i
                _, a_len, a, b_len, b = parts[i:j]
                if lengths[len(a)] != a_len or lengths[len(b)] != b_len:
                    return i
                append([a, b])
            elif head == b"*4":
                j = i + 9
                if j > last:
                    return i
                _, a_len, a, b_len, b, c_len, c, d_len, d = parts[i:j]
                if (
                    lengths[len(a)] != a_len
                    or lengths[len(b)] != b_len
                    or lengths[len(c)] != c_len
                    or lengths[len(d)] != d_len
                ):
                    return i
                append([a, b, c, d])
            else:
                j = i + pieces.get(head, last + 1)
                if j > last:
                    return i
                argv = list(parts[i + 2 : j : 2])
                if parts[i + 1 : j : 2] != [lengths[len(arg)] for arg in argv]:
                    return i
                append(argv)
            i = j
    except IndexError:
        # A long argument.
        return i
    return i


def _record(data: bytes, pos: int, final: bool, limit: int, base: int) -> tuple[list[bytes], int]:
    """The record that begins at data[pos], and its end, with all that the loader lets pass."""
    at = _line_end(data, pos, final, base)
    if at == pos + 1:
        raise _Stop(kind="truncated", reason="the count of arguments is missing")
    argc = _number(data, pos + 1, at)
    if not 1 <= argc <= _INT_MAX:
        raise _Stop(kind="format", reason=f"{_shown(data[pos:at])} is not a count of arguments")
    argv: list[bytes] = []
    while len(argv) < argc:
        if at >= len(data):
            raise _short(1, final, "a command is cut short")
        if data[at] != _DOLLAR:
            raise _Stop(kind="format", reason=_not_a_length(data, at, base), at=at)
        start = _line_end(data, at, final, base)
        length = _number(data, at + 1, start)
        if length < 0:
            raise _Stop(kind="format", reason=f"{_shown(data[at:start])} at byte {base + at} is a negative length")
        end = start + length
        if end + 2 > len(data):
            reason = f"the argument at byte {base + at} has {length} bytes, more than the file holds"
            if data[start - 1] != _LF:
                reason = f"the file ends inside the header line at byte {base + at}"
            raise _short(end + 2 - len(data), end + 2 > limit, reason)
        argv.append(data[start:end])
        # Any two bytes will do, as for the loader, but for zeros: then the end of the argument is zeros too.
        if b"\0" in data[end : end + 2]:
            reason = f"zero bytes behind the argument at byte {base + at}{_POWER_CUT}"
            # The loader would go on, if what comes next can begin a header.
            following = data[end + 2 : end + 3]
            unseen = not following or following in (b"$" if len(argv) < argc else b"*#")
            raise _Stop(kind="format", reason=reason, unseen=unseen)
        at = end + 2
    return argv, at


def _line_end(data: bytes, pos: int, final: bool, base: int) -> int:
    """End of the line at data[pos], its LF included; the end of the file ends a line too."""
    found = data.find(b"\n", pos, pos + LINE_MAX)
    if found >= 0:
        if data.find(b"\0", pos, found) >= 0:
            raise _Stop(kind="format", reason=f"zero bytes in the line at byte {base + pos}{_POWER_CUT}", unseen=True)
        return found + 1
    if len(data) - pos >= LINE_MAX:
        raise _Stop(kind="format", reason=f"the line at byte {base + pos} is longer than {LINE_MAX} bytes")
    if not final:
        raise _Stop(missing=1)
    return len(data)


def _short(missing: int, beyond: bool, reason: str) -> _Stop:
    """Ask for more data, or say that the file ends here if what is missing lies `beyond` it."""
    return _Stop(kind="truncated", reason=reason) if beyond else _Stop(missing=missing)


def _number(data: bytes, pos: int, end: int) -> int:
    """What atoi makes of data[pos:end]: leading digits, 0 if there are none."""
    digits = data[pos:end].rstrip()
    if digits.isdigit():
        return int(digits)
    match = _NUMBER.match(data, pos, end)
    return int(match[1]) if match else 0


def _not_a_record(data: bytes, pos: int) -> str:
    rest = data[pos : pos + 64]
    if rest.startswith(b"\0"):
        return f"zero bytes where a command should begin{_POWER_CUT}"
    return f"{_shown(rest)} where a command should begin"


def _not_a_length(data: bytes, at: int, base: int) -> str:
    return f"{_shown(data[at : at + 64])} at byte {base + at} where a length should begin"


def _line_ends_changed(data: bytes, at: int, preceding: bytes) -> bool:
    """A guess: skipping two bytes behind an argument took one too many, since LF alone follows it."""
    return at >= 0 and (preceding + data[max(0, at - 2) : at])[-2:-1] == b"\n"


def _shown(text: bytes) -> str:
    """Up to 20 bytes of `text`, printable."""
    return repr(text[:20])[1:] + ("..." if len(text) > 20 else "")


def _canonical_size(argv: Sequence[bytes]) -> int:
    """How many bytes `argv` takes when the headers are written as Redis writes them."""
    size = 3 + len(str(len(argv)))
    for arg in argv:
        length = len(arg)
        size += length + 5 + len(str(length))
    return size
