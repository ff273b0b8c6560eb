"""Bytes of one log file to tables of commands: where each is and what it holds, none of it run.

A file is read in chunks. In each:

1. The kernel `_walk_cy` follows the headers and jumps over the arguments. Where it is not compiled, `_walk_lines` cuts
   the chunk at every CRLF at once and follows the headers over the lines: that an argument is as long as its header
   says is checked for all lines together, so a command costs a few list look-ups.
2. Where that does not fit (line ends lost, damage, the end of the chunk), `_walk_carefully` reads record by record:
   `read_record` is the one place that says what a record is, and what is wrong where there is none.
3. What is left goes before the next chunk. A file ends with a `Damage` if anything in it could not be read.

Nothing is guessed: a byte belongs to a command because the headers before it say so. Memory is bounded by the chunk
and the largest record; no length is believed that the file does not hold.

Redis: aof.c loadSingleAppendOnlyFile; redis-check-aof.c (7.0.15).
"""

from __future__ import annotations

import os
import re
from bisect import bisect_left
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from aofnb.errors import AofError, AofFormatError, AofTruncatedError
from aofnb.forensics import _walk_cy
from aofnb.forensics.dialects import name_of
from aofnb.resp import _plain_cy

__all__ = [
    "CHUNK_BYTES",
    "Annotation",
    "Damage",
    "Incomplete",
    "Record",
    "Records",
    "encode_records",
    "plain_walk",
    "read_record",
    "scan_file",
]

# Larger ones are not read faster, and several are on their way at once. Without kernels many arrays are made on the way
# from one to its table, which should fit into the processor's cache.
CHUNK_BYTES = (2 if _walk_cy.COMPILED else 1) << 20
# The longest header or annotation that Redis reads, with its line end.
MAX_LINE_BYTES = 1023
# The last second of the year 9999: a later annotation is not a time.
MAX_TS = 253_402_300_799
# Of damage no more is looked at to tell what it is.
_TELLING_BYTES = 64 << 10

# A chunk seldom has more annotations.
_NOTES = 1 << 14
# Of the smallest command.
_LEAST_BYTES = len(b"*1\r\n$0\r\n\r\n")

# Of short arguments.
_HEADERS = [b"$%d" % size for size in range(1024)]
_STAR, _DOLLAR, _HASH, _CR, _LF, _ZERO = b"*$#\r\n0"

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
# From ``data[pos]`` on, whose first byte is at `base` in the file: a table, and where that ends.
Walk = Callable[[bytes, int, int], tuple["Records | None", int]]


class Readable(Protocol):
    """What `scan_file` needs of a file; one with `unread`, as `parts.PartFile` has it, saves copying each chunk.

    ``unread(size)`` says how many of the last bytes come once more, at least `size`, on top of what the next `read`
    asks for; or 0, and nothing was done.
    """

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Record:
    """One command. `lf` says that its CRs were lost, and are back in `argv`."""

    end: int
    argv: list[bytes]
    lf: bool


@dataclass(frozen=True, slots=True)
class Annotation:
    """One line that starts with ``#``. `ts` is set for ``#TS:``, in seconds."""

    end: int
    ts: int | None


@dataclass(frozen=True, slots=True)
class Incomplete:
    """The bytes end inside a record that is well formed so far.

    `argc` is what its header says (0 if that is cut too), `argv` the arguments that are whole; at least `missing`
    bytes are needed to go on.
    """

    argc: int
    argv: list[bytes]
    missing: int


@dataclass(frozen=True, slots=True)
class Damage:
    """From `offset` to the end of the file (`nbytes`) nothing could be read, and why.

    ``truncated`` and ``annotation``: the file ends inside a command, or inside a line that starts with ``#``.
    ``format``: what is there is neither. `argc` and `argv` are as much of the broken command as is legible.
    """

    kind: Literal["truncated", "annotation", "format"]
    offset: int
    nbytes: int
    reason: str
    argc: int = 0
    argv: list[bytes] = field(default_factory=list)

    def error(self, file: str | os.PathLike[str]) -> AofError:
        """The exception that tells of it."""
        cls = AofFormatError if self.kind == "format" else AofTruncatedError
        return cls(f"{self.reason}; on_bad='truncate' gives what is before it", file=file, offset=self.offset)

    def as_records(self) -> Records:
        """One row of everything that could not be read."""
        return Records.of([self.argv], [self.offset], [self.nbytes], cut_argc=self.argc)


# Their headers and names; and what makes capitals of the letters of a name behind its header.
_MULTI, _EXEC = (np.frombuffer(text, np.uint8) for text in (b"5\r\nMULTI", b"4\r\nEXEC"))
_CAPITALS = np.array([0xFF] * 3 + [0xDF] * 5, np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """A run of commands of one file as arrays of shape (n,), and the bytes they were read from.

    `start` : int64, where each command begins in `data`; the first, or an annotation before it, at `begin`.
    `heads` : int64, where the header of its name is there.
    `offset`, `nbytes` : int64, place and size in the file, in bytes.
    `argc` : int64, arguments in `data`, the name included.
    `lf` : bool, the CRs were lost in the file and are put back in `data`.
    `ts` : (row, seconds) for each ``#TS:``, which stands before that row.
    `cut_argc` : None; for the single row of a `Damage`, the argument count that its header claims.
    `snapshot_end` : None; where the file has keys, not these commands, the place behind the last of them. A key may be
    several rows, of which the first has its size and the others none.
    `behind_damage` : commands were lost in front of the first row, so that database and transaction are unknown.
    `mended` : what Redis calls a format error is in the file there; `data` is right.

    `lines` : `ends` and `first`, see there; None as long as nobody asked.
    """

    data: bytes
    begin: int
    start: Ints
    heads: Ints
    argc: Ints
    offset: Ints
    nbytes: Ints
    lf: npt.NDArray[np.bool_]
    ts: list[tuple[int, int]]
    cut_argc: int | None = None
    snapshot_end: int | None = None
    behind_damage: bool = False
    mended: bool = False
    lines: tuple[Ints, Ints] | None = None

    @classmethod
    def of(
        cls,
        argvs: Sequence[Sequence[bytes]],
        offsets: Sequence[int] | Ints,
        nbytes: Sequence[int] | Ints,
        *,
        lf: Sequence[bool] | None = None,
        ts: Sequence[tuple[int, int]] = (),
        cut_argc: int | None = None,
        snapshot_end: int | None = None,
        mended: bool = False,
    ) -> Records:
        """Commands that do not stand in the file as Redis writes them, each with its place and size there."""
        data, ends = encode_records(argvs)
        argc = np.fromiter(map(len, argvs), np.int64, len(argvs))
        lines = 1 + 2 * argc
        first = np.cumsum(lines) - lines
        return cls(
            data=data,
            begin=0,
            start=np.concatenate(([0], ends + 2))[first],
            heads=ends[first] + 2,
            argc=argc,
            offset=np.array(offsets, np.int64),
            nbytes=np.array(nbytes, np.int64),
            lf=np.zeros(len(argc), bool) if lf is None else np.array(lf, bool),
            ts=list(ts),
            cut_argc=cut_argc,
            snapshot_end=snapshot_end,
            mended=mended,
            lines=(ends, first),
        )

    def __len__(self) -> int:
        return len(self.start)

    @property
    def file_end(self) -> int:
        """Where the last command ends in the file; there must be one."""
        if self.snapshot_end is not None:
            return self.snapshot_end
        return int(self.offset[-1] + self.nbytes[-1])

    @property
    def from_snapshot(self) -> bool:
        """Whether the rows stand for keys of a snapshot."""
        return self.snapshot_end is not None

    @property
    def ends(self) -> Ints:
        """`data` cut into lines at CRLFs: where each ends, without its CRLF; the first begins at `begin`.

        A CRLF inside an argument ends no line.
        """
        return self._lines()[0]

    @property
    def first(self) -> Ints:
        """The first line of each command: its argument `k` is line ``first + 2 + 2 * k``."""
        return self._lines()[1]

    def _lines(self) -> tuple[Ints, Ints]:
        if self.lines is None:
            last = int(self.start[-1] + self.nbytes[-1]) if len(self) else self.begin
            ends, first = np.empty((last - self.begin) // 3 + 1, np.int64), np.empty(len(self), np.int64)
            count = _walk_cy.lines(self.data, self.begin, self.start, self.argc, ends, first)
            # The one thing that changes, and only from unknown to known.
            object.__setattr__(self, "lines", (ends[:count].copy(), first))
        assert self.lines is not None
        return self.lines

    def first_rows(self, keep: int) -> Records:
        """The table without the rows from `keep` on; annotations right before that one stay."""
        return replace(
            self,
            start=self.start[:keep],
            heads=self.heads[:keep],
            argc=self.argc[:keep],
            offset=self.offset[:keep],
            nbytes=self.nbytes[:keep],
            lf=self.lf[:keep],
            ts=[(row, second) for row, second in self.ts if row <= keep],
            lines=None if self.lines is None else (self.ends, self.first[:keep]),
        )

    def framing(self) -> tuple[Ints, npt.NDArray[np.bool_]]:
        """The rows that are MULTI or EXEC, and of each whether it is MULTI."""
        octets = np.frombuffer(self.data, np.uint8)
        rows = np.flatnonzero(self.argc == 1)
        sizes = octets[self.heads[rows] + 1]
        rows = rows[(sizes == _EXEC[0]) | (sizes == _MULTI[0])]
        names = octets[self.heads[rows][:, None] + np.arange(1, 1 + len(_MULTI))] & _CAPITALS
        are_multi: npt.NDArray[np.bool_] = (names == _MULTI).all(axis=1)
        chosen = are_multi | (names[:, : len(_EXEC)] == _EXEC).all(axis=1)
        return rows[chosen], are_multi[chosen]

    def arg(self, row: int, k: int) -> bytes:
        """Argument `k` of command `row`; 0 is the name."""
        data = self.data
        at = data.index(b"\n", int(self.start[row])) + 1
        for _ in range(k + 1):
            header, at = at, data.index(b"\r", at) + 2
            size = int(data[header + 1 : at - 2])
            at += size + 2
        return data[at - size - 2 : at - 2]

    def argv(self, row: int) -> list[bytes]:
        """All arguments of command `row`, the name first."""
        data = self.data
        at = data.index(b"\n", int(self.start[row])) + 1
        argv = []
        for _ in range(int(self.argc[row])):
            value = data.index(b"\r", at) + 2
            end = value + int(data[at + 1 : value - 2])
            argv.append(data[value:end])
            at = end + 2
        return argv

    def argvs(self, rows: int) -> list[list[bytes]]:
        """All arguments of each of the first `rows` commands."""
        if not _plain_cy.COMPILED:
            return self._argvs_by_arrow(rows)
        found: list[list[bytes]] = []
        while (row := len(found)) < rows:
            # As far as no annotation stands between them.
            _plain_cy.plain(self.data, int(self.start[row]), found)
            if len(found) == row:
                found.append(self.argv(row))
        return found[:rows]

    def _argvs_by_arrow(self, rows: int) -> list[list[bytes]]:
        """Arrow makes objects of many arguments at once, in a third of the time that slices take."""
        import pyarrow as pa

        argc = self.argc[:rows]
        behind = np.cumsum(argc)
        begins = behind - argc
        # The line of each argument. For Arrow lines, and what is between them, come in turn.
        lines = np.repeat(self.first[:rows] + 2 - 2 * begins, argc) + 2 * np.arange(int(argc.sum()))
        bounds = np.empty(2 * len(self.ends) + 1, np.int64)
        bounds[0], bounds[1::2], bounds[2::2] = self.begin, self.ends, self.ends + 2
        buffers = [None, pa.py_buffer(bounds), pa.py_buffer(self.data)]
        texts = pa.Array.from_buffers(pa.large_binary(), len(bounds) - 1, buffers)
        args = texts.take(pa.array(2 * lines)).to_pylist()
        return [args[begin:end] for begin, end in zip(begins.tolist(), behind.tolist(), strict=True)]


# --- One record at a time ---------------------------------------------------------------------------------------------


def read_record(data: bytes, pos: int, *, eof: bool) -> Record | Annotation | Incomplete | str:
    """Read what begins at `pos`; a str says why nothing can.

    `eof` says that the file ends where `data` does; without it, what could be a record is `Incomplete`.
    """
    kind = data[pos]
    if kind not in (_STAR, _HASH):
        return _what_is_this(data, pos)
    found = _line(data, pos)
    if not isinstance(found, tuple):
        return found
    text, at, lf = found
    if kind == _HASH:
        return Annotation(at, _ts(text))
    argc = _number(text)
    if argc is None or argc == 0:
        return f"{_show(text)} is no argument count"
    read_argument = _lf_argument if lf else _argument
    argv: list[bytes] = []
    while len(argv) < argc:
        argument = read_argument(data, at, eof, len(argv) + 1 == argc)
        if isinstance(argument, str):
            return argument
        if isinstance(argument, int):
            return Incomplete(argc, argv, argument)
        value, at = argument
        argv.append(value)
    return Record(at, argv, lf)


def _line(data: bytes, pos: int) -> tuple[bytes, int, bool] | Incomplete | str:
    """The header line at `pos` without its end, the place behind it, and whether it ended in LF alone."""
    end = data.find(b"\n", pos, pos + MAX_LINE_BYTES)
    if end < 0:
        if len(data) - pos >= MAX_LINE_BYTES:
            return f"a line of more than {MAX_LINE_BYTES} bytes where a header must be"
        return Incomplete(0, [], 1)
    if data[end - 1] == _CR:
        return data[pos : end - 1], end + 1, False
    return data[pos:end], end + 1, True


def _argument(data: bytes, pos: int, eof: bool, last: bool) -> tuple[bytes, int] | int | str:
    """The argument whose header is at `pos` and the place behind it; or how many bytes are missing at least."""
    header = _argument_header(data, pos, lf=False)
    if not isinstance(header, tuple):
        return header
    size, start = header
    end = start + size
    if end + 2 > len(data):
        # What is there of the line end must be one, else the length is wrong and the file is not just short.
        if end < len(data) and data[end] != _CR:
            return "an argument is longer than its header says"
        return end + 2 - len(data)
    if data[end : end + 2] != b"\r\n":
        return "an argument does not end where its header says"
    return data[start:end], end + 2


def _lf_argument(data: bytes, pos: int, eof: bool, last: bool) -> tuple[bytes, int] | int | str:
    """As `_argument`, for a file whose CRLFs became LFs, also those inside arguments.

    An argument then is as many bytes shorter than its header says as it had CRs. They are put back where there is
    one LF for each byte that is missing; anything else could only be guessed.
    """
    header = _argument_header(data, pos, lf=True)
    if not isinstance(header, tuple):
        return header
    size, start = header
    end = start + size
    if end + 2 > len(data) and not eof:
        return end + 2 - len(data)
    inner = data.count(b"\n", start, min(end, len(data)))
    as_it_is = data[end : end + 1] == b"\n" and (not inner or _may_follow(data, end + 1, last))
    if as_it_is and not inner:
        return data[start:end], end + 1
    lost = 0
    lf = data.find(b"\n", start, end + 1)
    while lf >= 0 and (lost == 0 or lf != end - lost or not _may_follow(data, lf + 1, last)):
        lost += 1
        lf = data.find(b"\n", lf + 1, end + 1)
    if as_it_is and lf >= 0:
        return "CRs were lost, and an argument can end in two places"
    if lf >= 0:
        return data[start:lf].replace(b"\n", b"\r\n"), lf + 1
    if as_it_is:
        return data[start:end], end + 1
    if end >= len(data):
        return end + 1 - len(data)
    return "an argument does not end where its header says, even counting lost CRs"


def _argument_header(data: bytes, pos: int, lf: bool) -> tuple[int, int] | int | str:
    if pos >= len(data):
        return 1
    if data[pos] != _DOLLAR:
        return f"{_show(data[pos : pos + 20])} where the length of an argument must be"
    line = _line(data, pos)
    if isinstance(line, str):
        return line
    if isinstance(line, Incomplete):
        return 1
    text, start, line_lf = line
    size = _number(text)
    if size is None or line_lf != lf:
        return f"{_show(data[pos:start])} is no length of an argument"
    return size, start


_NEXT_COMMAND = re.compile(rb"#|\*([0-9]+(\n|\Z)|\Z)|\Z")
_NEXT_ARGUMENT = re.compile(rb"\$([0-9]+(\n|\Z)|\Z)|\Z")


def _may_follow(data: bytes, pos: int, last: bool) -> bool:
    """Whether the next header can begin at `pos`, as far as it is there."""
    return (_NEXT_COMMAND if last else _NEXT_ARGUMENT).match(data, pos) is not None


def _number(header: bytes) -> int | None:
    digits = header[1:]
    return int(digits) if digits.isdigit() and len(digits) <= 18 else None


def _ts(line: bytes) -> int | None:
    seconds = line[4:]
    if not line.startswith(b"#TS:") or not seconds.isdigit() or len(seconds) > 12:
        return None
    return int(seconds) if int(seconds) <= MAX_TS else None


def _show(data: bytes) -> str:
    return repr(data if len(data) <= 20 else data[:20] + b"...")[1:]


def _what_is_this(data: bytes, pos: int) -> str:
    """Why no record can begin at `pos`, naming what is often found there."""
    if data.startswith(b"\0", pos):
        seen = data[pos : pos + _TELLING_BYTES]
        zeros = len(seen) - len(seen.lstrip(b"\0"))
        return f"{zeros} or more zero bytes where a command must begin, as a power cut leaves them"
    known = name_of(data[pos : pos + 512])
    return known or f"{_show(data[pos : pos + 20])} where a command must begin (`*` or `#`)"


def encode_records(argvs: Sequence[Sequence[bytes]]) -> tuple[bytes, Ints]:
    """The commands as Redis writes them, and where their lines end."""
    args = list(chain.from_iterable(argvs))
    # The header of each, and it.
    pairs = [b""] * (2 * len(args))
    pairs[::2] = [_HEADERS[size] if size < len(_HEADERS) else b"$%d" % size for size in map(len, args)]
    pairs[1::2] = args
    lines: list[bytes] = []
    end = 0
    for argv in argvs:
        begin, end = end, end + 2 * len(argv)
        lines.append(b"*%d" % len(argv))
        lines += pairs[begin:end]
    ends = np.cumsum(np.fromiter(map(len, lines), np.int64, len(lines)) + 2) - 2
    lines.append(b"")
    return b"\r\n".join(lines), ends


# --- A whole chunk ----------------------------------------------------------------------------------------------------


def _header_numbers(buf: Bytes, kinds: Bytes, ends: Ints, lengths: Ints) -> Ints:
    """The number in each line that looks like a header of at most 10 digits, -1 for all others."""
    good = ((kinds == _STAR) | (kinds == _DOLLAR)) & (lengths >= 2) & (lengths <= 11)
    # Nearly all have up to three digits. Those that a line does not have are zeros.
    ones, tens, hundreds = (buf[ends - place] - np.uint8(_ZERO) for place in (1, 2, 3))  # wraps around below "0"
    tens *= lengths > 2
    hundreds *= lengths > 3
    good &= (ones <= 9) & (tens <= 9) & (hundreds <= 9)
    numbers = (hundreds.astype(np.int16) * 100 + (tens * 10 + ones)).astype(np.int64)
    place = 4
    more = np.flatnonzero(good & (lengths > place))
    while len(more):
        digit = buf[ends[more] - place] - np.uint8(_ZERO)
        good[more] &= digit <= 9
        numbers[more] += digit * np.int64(10 ** (place - 1))
        place += 1
        more = more[lengths[more] > place]
    # In place: new memory for so much takes longer.
    np.putmask(numbers, ~good, -1)
    return numbers


def _walk_lines(data: bytes, pos: int, base: int) -> tuple[Records | None, int]:
    """Read the commands from `pos` on that keep to the form Redis writes; and where that ends.

    `base` is the offset of ``data[0]`` in the file.
    """
    buf = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(buf[pos:-1] == _CR) + pos
    are_ends = buf[1:][ends] == _LF
    if not are_ends.all():
        ends = ends[are_ends]
    if len(ends) < 3:  # *1, $n, name
        return None, pos
    starts = np.empty_like(ends)
    starts[0] = pos
    np.add(ends[:-1], 2, out=starts[1:])
    kinds, lengths = buf[starts], ends - starts
    numbers = _header_numbers(buf, kinds, ends, lengths)

    heads, stop_line, inner = _follow(kinds, numbers, lengths, starts, ends)
    first, ts, bad_note = _without_annotations(data, kinds, starts, ends, heads)
    if bad_note is not None:
        stop_line = bad_note
        inner = [run for run in inner if run[0] < bad_note]
    if not stop_line:
        return None, pos
    stop = int(starts[stop_line]) if stop_line < len(ends) else int(ends[-1]) + 2

    argc = numbers[first]
    start = starts[first]
    if inner:
        # One up at the beginning of each run, one down behind it.
        step = np.zeros(len(ends) + 1, np.int8)
        begins, behind = np.array(inner).T
        step[begins] = 1
        step[behind] = -1
        are_inner = step[:-1].cumsum(dtype=np.int8).astype(bool)
        first -= are_inner.cumsum(dtype=np.int32)[first]
        ends = ends.compress(~are_inner)
    records = Records(
        data=data,
        begin=pos,
        start=start,
        heads=ends[first] + 2,
        argc=argc,
        offset=start + base,
        nbytes=ends[first + 2 * argc] + 2 - start,
        lf=np.zeros(len(first), bool),
        ts=ts,
        lines=(ends, first),
    )
    return records, stop


def plain_walk() -> Walk:
    """What finds the commands of a chunk that keep to the form Redis writes; for one file."""
    return _Walk() if _walk_cy.COMPILED else _walk_lines


class _Walk:
    """What `_walk_lines` does, by the kernel, which also takes CRLFs inside arguments as it goes."""

    def __init__(self) -> None:
        # Bytes a command takes: of the smallest there is, until there is better to say.
        self._least = _LEAST_BYTES

    def __call__(self, data: bytes, pos: int, base: int) -> tuple[Records | None, int]:
        notes_room = _NOTES
        while True:
            room = (len(data) - pos) // self._least + 1
            start, heads, nbytes, argc = columns = tuple(np.empty(room, np.int64) for _ in range(4))
            notes = np.empty(3 * notes_room, np.int64)
            rows, noted, stop = _walk_cy.skip(data, pos, start, heads, nbytes, argc, notes)
            if rows < room and noted < notes_room:
                break
            # Once more, so that it ends where any way of reading does.
            self._least = _LEAST_BYTES
            notes_room = (len(data) - pos) // 3 + 1
        if not rows and not noted:
            return None, stop
        self._least = max((stop - pos) // (2 * (rows + 1)), _LEAST_BYTES)
        for column in columns:
            # Memory that was not touched goes back, and nothing is copied.
            column.resize(rows, refcheck=False)
        seconds = ((row, _ts(data[begin:end])) for row, begin, end in notes[: 3 * noted].reshape(-1, 3).tolist())
        records = Records(
            data=data,
            begin=pos,
            start=start,
            heads=heads,
            argc=argc,
            offset=start + base,
            nbytes=nbytes,
            lf=np.zeros(rows, bool),
            ts=[(row, second) for row, second in seconds if second is not None],
        )
        return records, stop


def _follow(
    kinds: Bytes, numbers: Ints, lengths: Ints, starts: Ints, ends: Ints
) -> tuple[Ints, int, list[tuple[int, int]]]:
    """The lines that begin a command or an annotation; the line where that could not go on; the runs of lines that end
    inside an argument, each the first and the one behind the last.
    """
    total = len(ends)
    # Lines that are not the header of an argument of just the next line's length.
    are_headers = (kinds == _DOLLAR) & (numbers >= 0)
    unfit = ~are_headers
    unfit[:-1] |= numbers[:-1] != lengths[1:]
    unfit[-1] = True
    # sums[i + 2] counts those among i, i - 2, i - 4, ...: equal counts before and behind a command mean that all of its
    # arguments fit.
    sums = np.zeros(total + 2, np.int32)
    np.cumsum(unfit[0::2], dtype=np.int32, out=sums[2::2])
    np.cumsum(unfit[1::2], dtype=np.int32, out=sums[3::2])

    wide = _wide_arguments(np.flatnonzero(are_headers[:-1] & unfit[:-1]), numbers, starts, ends)
    unfits = unfit.tobytes()

    # Every line that may begin a command or an annotation, and the line behind that.
    heads = np.flatnonzero(((kinds == _STAR) & (numbers > 0)) | (kinds == _HASH))
    is_command = kinds[heads] == _STAR
    after = np.where(is_command, heads + 2 * numbers[heads] + 1, heads + 1)
    whole = after <= total
    whole &= ~is_command | (sums[np.minimum(after, total)] == sums[heads + 1])
    # Mostly the next head is where the command ends: only where it is not, a decision is needed.
    leads_on = np.zeros(len(heads), bool)
    np.equal(after[:-1], heads[1:], out=leads_on[:-1])
    turns = np.flatnonzero(~(leads_on & whole)).tolist()
    head_at = np.full(total + 1, -1, np.int32)
    head_at[heads] = np.arange(len(heads))

    runs = [np.zeros(0, np.int64)]
    inner: list[tuple[int, int]] = []
    # One number at a time they are read faster so.
    head_of, ends_of, argc_of, is_whole = head_at.data, after.data, numbers.data, whole.data
    line = 0
    while line < total and (head := head_of[line]) >= 0:
        turn = turns[bisect_left(turns, head)]
        if is_whole[turn]:
            line = ends_of[turn]
        else:
            line = int(heads[turn])
            behind = _behind_wide(line, argc_of[line], unfits, wide, inner)
            if behind is None:
                runs.append(heads[head:turn])
                break
            line = behind
        runs.append(heads[head : turn + 1])
    return np.concatenate(runs), line, inner


def _without_annotations(
    data: bytes, kinds: Bytes, starts: Ints, ends: Ints, heads: Ints
) -> tuple[Ints, list[tuple[int, int]], int | None]:
    """Those of `heads` that are commands; (row, seconds) of each ``#TS``; the line of one that is not in order."""
    ts: list[tuple[int, int]] = []
    notes = np.flatnonzero(kinds[heads] == _HASH)
    for nth, note in enumerate(notes.tolist()):
        line = int(heads[note])
        text = data[int(starts[line]) : int(ends[line])]
        if b"\n" in text or len(text) > MAX_LINE_BYTES - 2:
            return np.delete(heads[:note], notes[:nth]), ts, line
        second = _ts(text)
        if second is not None:
            ts.append((note - nth, second))
    return np.delete(heads, notes), ts, None


def _wide_arguments(headers: Ints, numbers: Ints, starts: Ints, ends: Ints) -> dict[int, int]:
    """Those of `headers` whose argument has CRLFs inside, and the line behind that argument."""
    end = starts[headers + 1] + numbers[headers]
    last = np.minimum(ends.searchsorted(end), len(ends) - 1)
    found = ends[last] == end
    return dict(zip(headers[found].tolist(), (last[found] + 1).tolist(), strict=True))


def _behind_wide(
    line: int, argc: int, unfits: bytes, wide: Mapping[int, int], inner: list[tuple[int, int]]
) -> int | None:
    """The line behind the command of `argc` arguments that begins at `line`; its runs of lines that end inside an
    argument go to `inner`. None if it is none.
    """
    at = line + 1
    met: list[tuple[int, int]] = []
    for _ in range(argc):
        if at >= len(unfits):
            return None
        if not unfits[at]:
            at += 2
        elif (behind := wide.get(at)) is not None:
            met.append((at + 1, behind - 1))
            at = behind
        else:
            return None
    inner += met
    return at


def _walk_carefully(
    data: bytes, pos: int, base: int, eof: bool, patience: int
) -> tuple[Records | None, int, Incomplete | str | None]:
    """Read at most `patience` records one by one from `pos`: the records, where that ends, and what stopped it."""
    argvs: list[list[bytes]] = []
    spans: list[tuple[int, int]] = []
    lf: list[bool] = []
    ts: list[tuple[int, int]] = []
    stopped: Incomplete | str | None = None
    while pos < len(data) and patience:
        patience -= 1
        found = read_record(data, pos, eof=eof)
        if isinstance(found, (Incomplete, str)):
            stopped = found
            break
        if isinstance(found, Record):
            argvs.append(found.argv)
            spans.append((base + pos, found.end - pos))
            lf.append(found.lf)
        elif found.ts is not None:
            ts.append((len(argvs), found.ts))
        pos = found.end
    if not argvs and not ts:
        return None, pos, stopped
    places = np.array(spans, np.int64).reshape(-1, 2)
    records = Records.of(argvs, places[:, 0], places[:, 1], lf=lf, ts=ts)
    return records, pos, stopped


def scan_file(
    file: Readable,
    *,
    base: int = 0,
    size: int | None = None,
    chunk_bytes: int = CHUNK_BYTES,
    most_bytes: int = 0,
    measure: bool = True,
    walk: Walk | None = None,
) -> Generator[Records | Damage]:
    """Find every command in one log file without running any.

    Time is linear in the size of the file, memory in `chunk_bytes` and the largest command.

    Parameters
    ----------
    file
        Open for reading where the first command begins.
    base
        The offset of that place.
    size
        Read no further than this many bytes, as if the file ended there.
    chunk_bytes, most_bytes
        How much to read at once; twice as much each time, up to that, for who may not get far.
    measure
        Whether `Damage.nbytes` counts all that is behind damage, for which that is read; else only what was read.
    walk
        What to do with commands that keep to the form Redis writes, if no table is to be made of them: it must end
        where the other ways do.

    Yields
    ------
    Records
        In order; together they are all commands of the file.
    Damage
        At most one, last: the rest of the file, if it cannot be read.
    """
    data = b""
    left: Any = float("inf") if size is None else size
    want = chunk_bytes
    if walk is None:
        walk = plain_walk()
    unread = getattr(file, "unread", lambda size: 0)
    # So much of what comes next was read already.
    done = 0
    while True:
        fresh = file.read(int(min(want, left)))
        left -= len(fresh)
        eof = not fresh
        data += fresh
        pos, done = done, 0
        patience = 64
        stopped: Incomplete | str | None = None
        while pos < len(data) and stopped is None:
            records, fast_end = walk(data, pos, base)
            # Two ways of reading in turn would cost the square of the chunk where neither gets far.
            patience = 64 if fast_end - pos > len(data) // 16 else patience * 2
            if records is not None:
                yield records
            records, pos, stopped = _walk_carefully(data, fast_end, base, eof, patience)
            if records is not None:
                yield records
        # What is told of damage must not depend on where the chunk ends.
        if isinstance(stopped, str) and (eof or len(data) - pos >= _TELLING_BYTES):
            rest = _rest(file, left if measure else 0, len(data) - pos)
            yield Damage("format", base + pos, rest, stopped)
            return
        if eof:
            if isinstance(stopped, Incomplete):
                yield _cut(stopped, base + pos, data[pos:])
            return
        rest = len(data) - pos
        base += pos
        # Only while whole chunks come and most of each is done: else the end would be read again for ever.
        whole = len(fresh) >= chunk_bytes and not isinstance(stopped, str)
        chunk_bytes = max(chunk_bytes, min(2 * chunk_bytes, most_bytes))
        if 0 < rest < chunk_bytes // 16 and whole and (again := unread(rest)):
            left += again
            done = again - rest
            base -= done
            data = b""
            continue
        data = data[pos:]
        # Growing geometrically keeps a command of many chunks from being read again with each of them.
        missing = stopped.missing if isinstance(stopped, Incomplete) else 0
        want = max(chunk_bytes, len(data), min(missing, 64 * chunk_bytes))


def _cut(stopped: Incomplete, offset: int, rest: bytes) -> Damage:
    if rest.startswith(b"#"):
        return Damage("annotation", offset, len(rest), "the last line, an annotation, is cut short")
    if stopped.argv:
        name = stopped.argv[0][:20].decode("utf-8", "backslashreplace")
        reason = f"the last command ({name}) is cut short"
    else:
        reason = "the last command is cut short"
    return Damage("truncated", offset, len(rest), reason, stopped.argc, stopped.argv)


def _rest(file: Readable, left: float, have: int) -> int:
    """Bytes from the damage to the end of the file: `have` and what was not read yet."""
    while left > 0 and (piece := file.read(int(min(CHUNK_BYTES, left)))):
        left -= len(piece)
        have += len(piece)
    return have
