"""HyperLogLogs: 16384 registers in a string, byte for byte as redis-server keeps them.

Layout: 16 bytes of header (``HYLL``, the encoding, three unused bytes, the cached cardinality), then the
registers. Dense: 6 bits each, packed from the low bit up. Sparse, while small: runs,

    00nnnnnn            ZERO    1..64 registers of 0
    01nnnnnn nnnnnnnn   XZERO   1..16384 registers of 0
    1vvvvvnn            VAL     1..4 registers of 1..32

The cached cardinality is 64 bits, low byte first; the highest bit says that it is out of date.

Redis: hyperloglog.c (7.0.15).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

__all__ = [
    "DENSE",
    "DENSE_BYTES",
    "REGISTERS",
    "SPARSE",
    "CorruptedError",
    "HyperLogLog",
    "add",
    "cardinality",
    "is_hyperloglog",
    "merge",
    "murmur64a",
    "new",
    "place_of",
]

REGISTER_BITS = 14
REGISTERS = 1 << REGISTER_BITS
HEADER_BYTES = 16
DENSE_BYTES = HEADER_BYTES + REGISTERS * 6 // 8
DENSE, SPARSE = 0, 1

_MAGIC = b"HYLL"
_SEED = 0xADC83B19
_HASH_BITS = 64 - REGISTER_BITS
_VAL_MAX_VALUE, _VAL_MAX_RUN = 32, 4
_ZERO_MAX_RUN = 64
_ALPHA_INF = 0.721347520444481703680
_UINT64 = (1 << 64) - 1


class CorruptedError(ValueError):
    """The registers do not add up."""


# --- which register, and how far it counts -------------------------------------------------------------------


def murmur64a(data: bytes, seed: int = _SEED) -> int:
    """MurmurHash2 for 64 bits, little-endian."""
    factor = 0xC6A4A7935BD1E995
    size = len(data)
    h = seed ^ (size * factor & _UINT64)
    whole = size & ~7
    for start in range(0, whole, 8):
        k = int.from_bytes(data[start : start + 8], "little") * factor & _UINT64
        k = (k ^ k >> 47) * factor & _UINT64
        h = (h ^ k) * factor & _UINT64
    if size & 7:
        h = (h ^ int.from_bytes(data[whole:], "little")) * factor & _UINT64
    h = (h ^ h >> 47) * factor & _UINT64
    return h ^ h >> 47


def place_of(element: bytes) -> tuple[int, int]:
    """The register an element falls into, and the count it offers: trailing zeros of the rest of its hash, plus 1."""
    hashed = murmur64a(element)
    rest = hashed >> REGISTER_BITS | 1 << _HASH_BITS
    return hashed & (REGISTERS - 1), (rest & -rest).bit_length()


# --- the string ----------------------------------------------------------------------------------------------


def is_hyperloglog(value: bytes | bytearray) -> bool:
    """Whether a string is one, as far as its header and size tell."""
    if len(value) < HEADER_BYTES or value[:4] != _MAGIC or value[4] not in (DENSE, SPARSE):
        return False
    return value[4] == SPARSE or len(value) == DENSE_BYTES


def new() -> bytearray:
    """An empty one: sparse, one run of zeros."""
    return bytearray(_MAGIC + bytes([SPARSE]) + bytes(HEADER_BYTES - 5)) + _zeros(REGISTERS)


class HyperLogLog:
    """A view of a string that `is_hyperloglog`; changes go into the bytearray it was given.

    ``sparse_max_bytes`` is the setting ``hll-sparse-max-bytes``: a sparse one that would outgrow it turns dense.
    """

    __slots__ = ("raw", "sparse_max_bytes")

    def __init__(self, raw: bytearray, sparse_max_bytes: int) -> None:
        self.raw = raw
        self.sparse_max_bytes = sparse_max_bytes

    @property
    def encoding(self) -> int:
        return self.raw[4]

    # --- cached cardinality

    @property
    def cached(self) -> int | None:
        """The cached cardinality, None where it is out of date."""
        number = int.from_bytes(self.raw[8:16], "little")
        return None if number >> 63 else number

    def cache(self, number: int) -> None:
        self.raw[8:16] = number.to_bytes(8, "little")

    def invalidate(self) -> None:
        self.raw[15] |= 0x80

    # --- registers

    def registers(self) -> bytearray:
        """All registers, one byte each.

        Raises
        ------
        CorruptedError
            Sparse runs that cover less than all registers, or more.
        """
        if self.encoding == DENSE:
            return _unpack(self.raw)
        registers = bytearray()
        for _, value, run in self.opcodes():
            if len(registers) + run > REGISTERS:
                raise CorruptedError
            registers += bytes([value]) * run
        if len(registers) != REGISTERS:
            raise CorruptedError
        return registers

    def opcodes(self) -> Iterator[tuple[int, int, int]]:
        """Size in bytes, value and length of each run of a sparse one."""
        for _, size, value, run in _opcodes(self.raw):
            yield size, value, run

    def offer(self, index: int, count: int) -> bool:
        """Raise register `index` to `count`; True if it was lower.

        Raises
        ------
        CorruptedError
            A sparse one without that register.
        """
        if self.encoding == DENSE:
            return self._offer_dense(index, count)
        return self._offer_sparse(index, count)

    def to_dense(self) -> bool:
        """Make it dense; False if it is already. The cached cardinality stays."""
        if self.encoding == DENSE:
            return False
        registers = self.registers()
        self.raw[HEADER_BYTES:] = _pack(registers)
        self.raw[4] = DENSE
        return True

    def _offer_dense(self, index: int, count: int) -> bool:
        at, shift = divmod(index * 6, 8)
        at += HEADER_BYTES
        pair = int.from_bytes(self.raw[at : at + 2], "little")
        if (pair >> shift) & 63 >= count:
            return False
        pair = pair & ~(63 << shift) | count << shift
        # The last register lies in the last byte alone.
        size = min(2, DENSE_BYTES - at)
        self.raw[at : at + size] = pair.to_bytes(2, "little")[:size]
        return True

    def _offer_sparse(self, index: int, count: int) -> bool:
        if count > _VAL_MAX_VALUE:
            return self._promote(index, count)
        raw = self.raw
        at, previous, first = _locate(raw, index)
        _, size, value, run = next(_opcodes(raw, at))
        if value >= count:
            return False
        # The run is cut in three: what is before the register, the register, what is after it.
        fill = _values if value else _run_of_zeros
        pieces = fill(value, index - first) + _values(count, 1) + fill(value, first + run - 1 - index)
        grown = len(pieces) - size
        if grown > 0 and len(raw) + grown > self.sparse_max_bytes:
            return self._promote(index, count)
        raw[at : at + size] = pieces
        _join_runs(raw, previous)
        self.invalidate()
        return True

    def _promote(self, index: int, count: int) -> bool:
        self.to_dense()
        return self._offer_dense(index, count)


def _locate(raw: bytearray, index: int) -> tuple[int, int, int]:
    """The opcode of register `index`: its offset, that of the one before (or its own), and its first register."""
    at = previous = HEADER_BYTES
    end, first = len(raw), 0
    # The loop that adding to a sparse one spends its time in, hence no generator.
    while at < end:
        byte = raw[at]
        size = 1
        if byte & 0x80:
            run = (byte & 3) + 1
        elif byte & 0x40:
            if at + 1 == end:
                break
            run = ((byte & 63) << 8 | raw[at + 1]) + 1
            size = 2
        else:
            run = byte + 1
        if index < first + run:
            return at, previous, first
        first += run
        previous = at
        at += size
    raise CorruptedError


def _opcodes(raw: bytearray, at: int = HEADER_BYTES) -> Iterator[tuple[int, int, int, int]]:
    """Offset, size in bytes, value and run length of each sparse opcode from offset `at` on."""
    end = len(raw)
    while at < end:
        byte = raw[at]
        if byte & 0x80:
            yield at, 1, (byte >> 2 & 31) + 1, (byte & 3) + 1
            at += 1
        elif byte & 0x40:
            # Cut short: the server reads the zero byte that ends every string of C.
            low = raw[at + 1] if at + 1 < end else 0
            yield at, 2, 0, ((byte & 63) << 8 | low) + 1
            at += 2
        else:
            yield at, 1, 0, (byte & 63) + 1
            at += 1


def _values(value: int, run: int) -> bytes:
    return bytes([0x80 | (value - 1) << 2 | (run - 1)]) if run else b""


def _run_of_zeros(_value: int, run: int) -> bytes:
    return _zeros(run) if run else b""


def _zeros(run: int) -> bytes:
    return bytes([run - 1]) if run <= _ZERO_MAX_RUN else bytes([0x40 | (run - 1) >> 8, (run - 1) & 0xFF])


def _join_runs(raw: bytearray, at: int) -> None:
    """Join neighbouring VAL runs of one value, as far as the server looks: five steps from `at`."""
    for _ in range(5):
        if at >= len(raw):
            return
        byte = raw[at]
        if not byte & 0x80:
            at += 2 if byte & 0x40 else 1
            continue
        if at + 1 < len(raw) and raw[at + 1] & 0x80 and raw[at + 1] >> 2 == byte >> 2:
            run = (byte & 3) + (raw[at + 1] & 3) + 2
            if run <= _VAL_MAX_RUN:
                raw[at : at + 2] = _values((byte >> 2 & 31) + 1, run)
                continue
        at += 1


def _unpack(raw: bytes | bytearray) -> bytearray:
    registers = bytearray(REGISTERS)
    place = 0
    for at in range(HEADER_BYTES, DENSE_BYTES, 3):
        four = raw[at] | raw[at + 1] << 8 | raw[at + 2] << 16
        if four:
            registers[place] = four & 63
            registers[place + 1] = four >> 6 & 63
            registers[place + 2] = four >> 12 & 63
            registers[place + 3] = four >> 18
        place += 4
    return registers


def _pack(registers: bytes | bytearray) -> bytearray:
    packed = bytearray()
    for place in range(0, REGISTERS, 4):
        a, b, c, d = registers[place : place + 4]
        packed += (a | b << 6 | c << 12 | d << 18).to_bytes(3, "little")
    return packed


# --- what commands do ----------------------------------------------------------------------------------------


def add(hll: HyperLogLog, elements: Iterable[bytes]) -> int:
    """Add elements; returns how many changed a register.

    Raises
    ------
    CorruptedError
        See `HyperLogLog.offer`.
    """
    return sum([hll.offer(*place_of(element)) for element in elements])


def merge(many: Iterable[HyperLogLog]) -> bytearray:
    """The registers of the union: in each place the highest."""
    merged = bytearray(REGISTERS)
    for hll in many:
        merged[:] = map(max, merged, hll.registers())
    return merged


def cardinality(registers: bytes | bytearray) -> int:
    """How many different elements were probably added.

    Otmar Ertl, "New cardinality estimation algorithms for HyperLogLog sketches", 2017.
    """
    histogram = [registers.count(value) for value in range(64)]
    z = REGISTERS * _tau((REGISTERS - histogram[_HASH_BITS + 1]) / REGISTERS)
    for value in range(_HASH_BITS, 0, -1):
        z = (z + histogram[value]) * 0.5
    z += REGISTERS * _sigma(histogram[0] / REGISTERS)
    # All registers 0 make z infinite and the estimate 0. The server rounds halves up.
    return math.floor(_ALPHA_INF * REGISTERS * REGISTERS / z + 0.5)


def _tau(x: float) -> float:
    if x in (0.0, 1.0):
        return 0.0
    y, z = 1.0, 1 - x
    while True:
        x = math.sqrt(x)
        before = z
        y *= 0.5
        z -= (1 - x) * (1 - x) * y
        if z == before:
            return z / 3


def _sigma(x: float) -> float:
    if x == 1.0:
        return math.inf
    y, z = 1.0, x
    while True:
        x *= x
        before = z
        z += x * y
        y += y
        if z == before:
            return z
