"""The bytes of a snapshot, read once from front to back: lengths, strings, numbers, and the checksum of all read.

Rules of this file: nothing is allocated that the input cannot fill; `offset` is that of the next byte; every error
names the record that was being read, which the reader marks with `begin`.

Redis: rdb.c rdbLoadLenByRef, rdbGenericLoadStringObject; rio.c (7.0.15).
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import BinaryIO

from aofnb.errors import RdbError
from aofnb.rdb import _records_cy
from aofnb.rdb.lzf import MAX_RATIO, decompress

__all__ = ["Source", "SumUp"]

SumUp = Callable[[memoryview, int], int]

PIECE = 256 << 10
# Larger records are read bit by bit.
_WHOLE_BYTES = 64 << 20

_INT8, _INT16, _INT32, _LZF = 0xC0, 0xC1, 0xC2, 0xC3
_WIDTHS = {_INT8: 1, _INT16: 2, _INT32: 4}
_INT64 = Struct("<q")
_DOUBLE = Struct("<d")
_ID = Struct(">QQ")


class Source:
    """Input that is read in pieces, or that is in memory as a whole.

    Parameters
    ----------
    file, size
        What to read, from where it stands, and how many bytes there are. Fewer is a truncated file.
    name
        What errors call the file.
    sum_up
        What makes the checksum of bytes, going on from that of all before; None if `crc` is not asked for.
    """

    __slots__ = (
        "_base",
        "_crc",
        "_file",
        "_loaded",
        "_record",
        "_sum_up",
        "_summed",
        "buf",
        "name",
        "opcode",
        "pos",
        "size",
    )

    def __init__(
        self, file: BinaryIO | None, size: int, name: str | None = None, *, sum_up: SumUp | None = None
    ) -> None:
        self._file = file
        self.size = size
        self.name = name
        self.buf = b""
        # The next byte is buf[pos]; buf[0] is at `_base` of the input, and `_loaded` bytes were read from the file.
        self.pos = 0
        self._base = 0
        self._loaded = 0
        self._record = 0
        self.opcode: int | None = None
        self._sum_up = sum_up
        self._crc = 0
        # buf[:_summed] is in `_crc`.
        self._summed = 0

    @classmethod
    def of(cls, data: bytes) -> Source:
        """All of `data`."""
        made = cls(None, len(data))
        made.buf = data
        made._loaded = len(data)
        return made

    @property
    def offset(self) -> int:
        return self._base + self.pos

    @property
    def left(self) -> int:
        """How many bytes there still are."""
        return self.size - self._base - self.pos

    @property
    def crc(self) -> int:
        """The checksum of everything read so far."""
        assert self._sum_up is not None
        self._add_up(self.pos)
        return self._crc

    def begin(self) -> int:
        """Note that a record begins with the next byte, for errors to name; returns its offset."""
        self._record = offset = self._base + self.pos
        self.opcode = None
        return offset

    def error(self, message: str) -> RdbError:
        """An error about the record that is being read."""
        return RdbError(message, file=self.name, offset=self._record, opcode=self.opcode)

    # --- bytes -------------------------------------------------------------------------------------------

    def byte(self) -> int:
        pos = self.pos
        if pos == len(self.buf):
            self._fill(1)
            pos = 0
        self.pos = pos + 1
        return self.buf[pos]

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        end = self.pos + count
        if end > len(self.buf):
            self._fill(count)
            end = count
        data = self.buf[self.pos : end]
        self.pos = end
        return data

    def more(self) -> bool:
        """Have more bytes of the record that begins here in `buf`, for whoever needs it in one piece; False if there
        are none, or the record is very large.
        """
        there = len(self.buf) - self.pos
        if there >= _WHOLE_BYTES or self._loaded == self.size:
            return False
        # At least as much again, so that a long record is looked at a logarithmic number of times.
        self._fill(min(max(2 * there, PIECE), self.left))
        return True

    def _fill(self, count: int) -> None:
        """Have `count` bytes or more in `buf`, from its beginning."""
        left = self.left
        if count > left:
            raise self.error(
                f"the file ends inside this record: it goes on for {count} bytes, and {left} are left. "
                "Use another copy of the file, or an older snapshot"
            )
        assert self._file is not None
        # All that is left in `buf` will be read with what follows, so whole pieces are summed, which is quicker.
        self._add_up(len(self.buf))
        pieces = [self.buf[self.pos :]]
        self._summed = len(pieces[0])
        self._base += self.pos
        self.pos = 0
        wanted = min(max(count - len(pieces[0]), PIECE), self.size - self._loaded)
        while wanted:
            piece = self._file.read(wanted)
            if not piece:
                raise self.error(f"the file ends at byte {self._loaded}, {wanted} bytes before its end a moment ago")
            self._loaded += len(piece)
            wanted -= len(piece)
            pieces.append(piece)
        self.buf = b"".join(pieces)

    def _add_up(self, end: int) -> None:
        """Have buf[:end] in the checksum."""
        if self._sum_up is not None and self._summed < end:
            with memoryview(self.buf) as view, view[self._summed : end] as unsummed:
                self._crc = self._sum_up(unsummed, self._crc)
            self._summed = end

    # --- numbers -----------------------------------------------------------------------------------------

    def length(self) -> int:
        """A length, which any number from 0 to 2**64-1 may be."""
        first = self.byte()
        if first < 0x40:
            return first
        if first < 0x80:
            return (first & 63) << 8 | self.byte()
        if first == 0x80:
            return int.from_bytes(self.take(4), "big")
        if first == 0x81:
            return int.from_bytes(self.take(8), "big")
        raise self.error(f"byte 0x{first:02x} begins no length")

    def count(self, smallest: int) -> int:
        """A length that counts things of at least `smallest` bytes each: no more than there is room for."""
        count = self.length()
        if count * smallest > self.left:
            raise self.error(f"{count} items cannot be in the {self.left} bytes that are left")
        return count

    def int64(self) -> int:
        number: int = _INT64.unpack(self.take(8))[0]
        return number

    def int32(self) -> int:
        return int.from_bytes(self.take(4), "little", signed=True)

    def double(self) -> float:
        number: float = _DOUBLE.unpack(self.take(8))[0]
        return number

    def id_pair(self) -> tuple[int, int]:
        """A stream id as two lengths."""
        return self.length(), self.length()

    def raw_id(self) -> tuple[int, int]:
        """A stream id as 16 bytes."""
        ms, seq = _ID.unpack(self.take(16))
        return ms, seq

    # --- strings -----------------------------------------------------------------------------------------

    def string(self) -> bytes:
        """A string in any of its forms, as the bytes it stands for."""
        pos = self.pos
        buf = self.buf
        if pos < len(buf):
            first = buf[pos]
            end = pos + 1 + first
            # Short and there: most are.
            if first < 0x40 and end <= len(buf):
                self.pos = end
                return buf[pos + 1 : end]
        else:
            self._fill(1)
            first = self.buf[0]
        if first < 0xC0:
            return self.take(self.length())
        self.pos += 1
        if first != _LZF:
            width = _WIDTHS.get(first)
            if width is None:
                raise self.error(f"byte 0x{first:02x} begins no string")
            return b"%d" % int.from_bytes(self.take(width), "little", signed=True)
        packed, size = self.length(), self.length()
        if size > MAX_RATIO * packed:
            raise self.error(f"{packed} compressed bytes cannot become {size}")
        try:
            return decompress(self.take(packed), size)
        except RdbError as problem:
            if problem.offset is not None:
                raise
            raise self.error(problem.message) from None

    def strings(self, count: int) -> list[bytes]:
        """So many strings."""
        found: list[bytes] = []
        while True:
            self.pos = _records_cy.strings(self.buf, self.pos, count - len(found), found)
            if len(found) == count:
                return found
            # It goes on behind what is in memory, or is odd.
            found.append(self.string())

    def scores(self, count: int) -> dict[bytes, float]:
        """So many members, each with a score as a double; fewer where one comes twice."""
        found: dict[bytes, float] = {}
        while True:
            self.pos, taken = _records_cy.scores(self.buf, self.pos, count, found)
            count -= taken
            if not count:
                return found
            member = self.string()
            score = self.double()
            if score != score:
                raise self.error("a score that is not a number")
            found[member] = score
            count -= 1
