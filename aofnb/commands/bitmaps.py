"""Commands that see a string as bits: SETBIT, GETBIT, BITCOUNT, BITPOS, BITOP, BITFIELD.

Bit 0 is the highest bit of the first byte. A string that is changed in place becomes a `bytearray` (OBJECT
ENCODING ``raw``), so that setting a bit does not copy it.

Redis: bitops.c (7.0.15).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from aofnb.commands import messages
from aofnb.commands.args import integer
from aofnb.commands.client import Client
from aofnb.commands.registry import command
from aofnb.errors import ReplyError

__all__: list[str] = []

_BAD_OFFSET = "ERR bit offset is not an integer or out of range"
_BAD_BIT = "ERR bit is not an integer or out of range"
_BAD_TYPE = "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is."


def _bit_offset(client: Client, arg: bytes) -> int:
    offset = integer(arg, _BAD_OFFSET)
    if offset < 0 or offset >> 3 >= client.server.config.proto_max_bulk_len:
        raise ReplyError(messages.STRING_TOO_LONG if client.loading and offset >= 0 else _BAD_OFFSET)
    return offset


def _field_offset(client: Client, arg: bytes, width: int) -> int:
    """A bit offset, or ``#n`` for the n-th field of this width."""
    if arg[:1] != b"#":
        return _bit_offset(client, arg)
    return _bit_offset(client, b"%d" % (integer(arg[1:], _BAD_OFFSET) * width))


def _editable(value: bytes | bytearray | None, length: int) -> bytearray:
    """`value` as a bytearray of at least `length` bytes, the same object where it is one already."""
    bits = value if isinstance(value, bytearray) else bytearray(value or b"")
    if len(bits) < length:
        bits.extend(bytes(length - len(bits)))
    return bits


# --- single bits -----------------------------------------------------------------------------------------


@command("SETBIT", arity=4, flags="denyoom write", keys=(1, 1, 1), since="2.2.0")
def setbit(client: Client, key: bytes, offset_arg: bytes, bit_arg: bytes) -> int:
    """Set or clear one bit and return what it was. The string grows as needed."""
    offset = _bit_offset(client, offset_arg)
    bit = integer(bit_arg, _BAD_BIT)
    if bit not in (0, 1):
        raise ReplyError(_BAD_BIT)
    value = client.db.lookup_buffer(key)
    index, shift = offset >> 3, 7 - (offset & 7)
    grows = value is None or index >= len(value)
    before = 0 if value is None or grows else value[index] >> shift & 1
    if grows or before != bit:
        bits = _editable(value, index + 1)
        bits[index] = bits[index] & ~(1 << shift) | bit << shift
        client.db.put(key, bits)
        client.changed(key, "setbit")
    elif type(value) is bytes:
        # Made ready to be changed, and then it was so already.
        client.db.put(key, bytearray(value))
    return before


@command("GETBIT", arity=3, flags="fast readonly", keys=(1, 1, 1), since="2.2.0")
def getbit(client: Client, key: bytes, offset_arg: bytes) -> int:
    """Return one bit; 0 beyond the end."""
    offset = _bit_offset(client, offset_arg)
    value = client.db.read_buffer(key)
    index = offset >> 3
    if value is None or index >= len(value):
        return 0
    return value[index] >> (7 - (offset & 7)) & 1


# --- ranges of bits --------------------------------------------------------------------------------------


def _in_bits(unit: bytes) -> bool:
    lowered = unit.lower()
    if lowered not in (b"bit", b"byte"):
        raise ReplyError(messages.SYNTAX_ERROR)
    return lowered == b"bit"


def _clamp(start: int, end: int, total: int) -> tuple[int, int]:
    """First and last place of a range given as the user does, negative from the end; empty if start > end."""
    start = max(0, total + start) if start < 0 else start
    end = max(0, total + end) if end < 0 else end
    return start, min(end, total - 1)


def _bits(value: bytes | bytearray, first: int, last: int) -> int:
    """The bits from `first` to `last`, both included, as one number."""
    chunk = int.from_bytes(value[first >> 3 : (last >> 3) + 1], "big")
    return (chunk >> (7 - (last & 7))) & ((1 << (last - first + 1)) - 1)


@command("BITCOUNT", arity=-2, flags="readonly", keys=(1, 1, 1), since="2.6.0")
def bitcount(client: Client, key: bytes, *range_: bytes) -> int:
    """Count the bits that are set, in the whole string or in a range of bytes or bits."""
    value = client.db.read_buffer(key)
    if value is None:
        return 0
    if not range_:
        return int.from_bytes(value, "big").bit_count()
    if len(range_) not in (2, 3):
        raise ReplyError(messages.SYNTAX_ERROR)
    start, end = integer(range_[0]), integer(range_[1])
    if start < 0 and end < 0 and start > end:
        return 0
    bits = len(range_) == 3 and _in_bits(range_[2])
    first, last = _clamp(start, end, len(value) * 8 if bits else len(value))
    if first > last:
        return 0
    if bits:
        return _bits(value, first, last).bit_count()
    return int.from_bytes(value[first : last + 1], "big").bit_count()


@command("BITPOS", arity=-3, flags="readonly", keys=(1, 1, 1), since="2.8.7")
def bitpos(client: Client, key: bytes, bit_arg: bytes, *range_: bytes) -> int:
    """Return the place of the first bit that is 0 or 1, or -1.

    A string is followed by endless zeros, unless the end of the range is given.
    """
    bit = integer(bit_arg)
    if bit not in (0, 1):
        raise ReplyError("ERR The bit argument must be 1 or 0.")
    value = client.db.read_buffer(key)
    if value is None:
        return -1 if bit else 0
    if len(range_) > 3:
        raise ReplyError(messages.SYNTAX_ERROR)
    start = integer(range_[0]) if range_ else 0
    bits = len(range_) == 3 and _in_bits(range_[2])
    end = integer(range_[1]) if len(range_) > 1 else -1
    first, last = _clamp(start, end, len(value) * 8 if bits else len(value))
    if first > last:
        return -1
    if not bits:
        first, last = first * 8, last * 8 + 7
    width = last - first + 1
    # Looking for 0 is looking for 1 in the complement.
    window = _bits(value, first, last) ^ (0 if bit else (1 << width) - 1)
    if window:
        return first + width - window.bit_length()
    return last + 1 if bit == 0 and len(range_) < 2 else -1


@command("BITOP", arity=-4, flags="denyoom write", keys=(2, -1, 1), since="2.6.0")
def bitop(client: Client, operation: bytes, destination: bytes, *sources: bytes) -> int:
    """Store AND, OR, XOR or NOT of strings and return its length. Shorter ones are filled with zeros."""
    name = operation.lower()
    if name not in (b"and", b"or", b"xor", b"not"):
        raise ReplyError(messages.SYNTAX_ERROR)
    if name == b"not" and len(sources) != 1:
        raise ReplyError("ERR BITOP NOT must be called with a single source key.")
    values = [client.db.read_buffer(source) or b"" for source in sources]
    length = max(map(len, values))
    if length == 0:
        if client.db.discard(destination):
            client.changed(destination, "del")
        return 0
    # Zeros are filled in at the right end: the numbers are shifted to one length.
    numbers = [int.from_bytes(value, "big") << (8 * (length - len(value))) for value in values]
    result = numbers[0]
    for number in numbers[1:]:
        if name == b"and":
            result &= number
        elif name == b"or":
            result |= number
        else:
            result ^= number
    if name == b"not":
        result ^= (1 << 8 * length) - 1
    client.db.replace(destination, bytearray(result.to_bytes(length, "big")))
    client.changed(destination, "set")
    return length


# --- BITFIELD --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Field:
    """One GET, SET or INCRBY of BITFIELD: where, how wide, and what to do on overflow."""

    operation: Literal["get", "set", "incrby"]
    signed: bool
    width: int
    offset: int
    operand: int
    overflow: bytes

    @property
    def end_byte(self) -> int:
        return ((self.offset + self.width - 1) >> 3) + 1

    def read(self, value: bytes | bytearray | None) -> int:
        """The number in the field; what lies beyond the end is zeros."""
        first = self.offset >> 3
        chunk = bytes((value or b"")[first : self.end_byte]).ljust(self.end_byte - first, b"\0")
        number = int.from_bytes(chunk, "big") >> (8 * self.end_byte - self.offset - self.width)
        return self.wrapped(number)

    def write(self, bits: bytearray, number: int) -> None:
        first = self.offset >> 3
        shift = 8 * self.end_byte - self.offset - self.width
        mask = (1 << self.width) - 1
        chunk = int.from_bytes(bits[first : self.end_byte], "big")
        chunk = chunk & ~(mask << shift) | (number & mask) << shift
        bits[first : self.end_byte] = chunk.to_bytes(self.end_byte - first, "big")

    def wrapped(self, number: int) -> int:
        """`number` cut to the width of the field."""
        number &= (1 << self.width) - 1
        return number - (1 << self.width) if self.signed and number >> (self.width - 1) else number

    def fitted(self, number: int) -> int | None:
        """`number` as the field can hold it: wrapped, saturated, or None for OVERFLOW FAIL."""
        low, high = (
            (-(1 << (self.width - 1)), (1 << (self.width - 1)) - 1) if self.signed else (0, (1 << self.width) - 1)
        )
        if low <= number <= high:
            return number
        if self.overflow == b"wrap":
            return self.wrapped(number)
        if self.overflow == b"fail":
            return None
        return low if number < low else high


def _field_type(arg: bytes) -> tuple[bool, int]:
    signed = arg[:1] == b"i"
    if arg[:1] not in (b"i", b"u"):
        raise ReplyError(_BAD_TYPE)
    width = integer(arg[1:], _BAD_TYPE)
    if not 1 <= width <= (64 if signed else 63):
        raise ReplyError(_BAD_TYPE)
    return signed, width


def _fields(client: Client, args: Sequence[bytes]) -> list[_Field]:
    """The operations of a BITFIELD, all read before any is done."""
    fields: list[_Field] = []
    overflow = b"wrap"
    i = 0
    while i < len(args):
        left = len(args) - i - 1
        word = args[i].lower()
        if word == b"overflow" and left >= 1:
            overflow = args[i + 1].lower()
            if overflow not in (b"wrap", b"sat", b"fail"):
                raise ReplyError("ERR Invalid OVERFLOW type specified")
            i += 2
            continue
        operation: Literal["get", "set", "incrby"]
        if word == b"get" and left >= 2:
            operation = "get"
        elif word == b"set" and left >= 3:
            operation = "set"
        elif word == b"incrby" and left >= 3:
            operation = "incrby"
        else:
            raise ReplyError(messages.SYNTAX_ERROR)
        signed, width = _field_type(args[i + 1])
        offset = _field_offset(client, args[i + 2], width)
        operand = 0 if operation == "get" else integer(args[i + 3])
        fields.append(_Field(operation, signed, width, offset, operand, overflow))
        i += 3 if operation == "get" else 4
    return fields


@command("BITFIELD", arity=-2, flags="denyoom write", keys=(1, 1, 1), since="3.2.0")
def bitfield(client: Client, key: bytes, *args: bytes) -> list[int | None]:
    """Read, set and increment whole numbers of any width inside a string.

    Redis lets the string grow, unlogged, even where OVERFLOW FAIL refused every write; here it then stays as
    it is, so that memory and log agree.
    """
    fields = _fields(client, args)
    reads_only = all(field.operation == "get" for field in fields)
    value = client.db.read_buffer(key) if reads_only else client.db.lookup_buffer(key)
    needed = max((field.end_byte for field in fields if field.operation != "get"), default=0)
    grows = needed > 0 and (value is None or needed > len(value))
    replies: list[int | None] = []
    changes = 0
    for field in fields:
        before = field.read(value)
        if field.operation == "get":
            replies.append(before)
            continue
        after = field.fitted(before + field.operand if field.operation == "incrby" else _raw(field))
        if after is None:
            replies.append(None)
            continue
        replies.append(after if field.operation == "incrby" else before)
        if grows or before != after:
            value = bits = _editable(value, needed)
            field.write(bits, after)
            changes += 1
    if value is not None and changes:
        client.db.put(key, value)
        client.changed(key, "setbit", changes)
    elif type(value) is bytes and needed and not grows:
        client.db.put(key, bytearray(value))
    return replies


def _raw(field: _Field) -> int:
    """The operand of SET; a negative one is huge to an unsigned field, as in C."""
    return field.operand if field.signed else field.operand & ((1 << 64) - 1)


@command("BITFIELD_RO", arity=-2, flags="fast readonly", keys=(1, 1, 1), since="6.0.0")
def bitfield_ro(client: Client, key: bytes, *args: bytes) -> list[int]:
    """BITFIELD with nothing but GET."""
    fields = _fields(client, args)
    if any(field.operation != "get" for field in fields):
        raise ReplyError("ERR BITFIELD_RO only supports the GET subcommand")
    value = client.db.read_buffer(key)
    return [field.read(value) for field in fields]
