"""Runs for other runs of the same kind and length: a permutation that is keyed by a secret.

Many runs are mapped at once, as columns, with their characters as bytes of 64-bit words:

1. a run is cut into pieces of up to 16 characters, each of which goes by itself; a piece is two halves of up to eight;
2. a piece has a domain: all pieces of that kind, length and place in their run. It becomes another one of these;
3. a small domain is shuffled; in a large one pieces go through a Feistel network whose halves are added character by
   character (FFX of Bellare, Rogaway and Spies, 2010; alternating, radix by radix). Its eight rounds are SipHash-1-3
   (Aumasson and Bernstein, 2012) of a half, its domain and the number of the round.

What this promises: without the secret nobody can tell by trying which piece became which, even knowing what became
of others; that is as hard as to tell SipHash from chance, or to try 2 ** 128 keys. What it does not: how often a piece
is there is seen, since it always becomes the same one; and of a domain of few pieces the last are known by exclusion.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["BEYOND", "DIGITS", "HEX", "LETTERS", "NIBBLES", "NONE", "Bytes", "Ints", "Numbers", "Permutation"]

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.uint64]

# Of bytes, runs and pieces. A run of HEX has digits and letters; a piece of it may be one of the two behind it. In
# NIBBLES any mixture stands for any other. CHARACTERS are no pieces, but are shuffled too.
NONE, DIGITS, LETTERS, BEYOND, HEX, _HEX_DIGITS, _HEX_LETTERS, NIBBLES, _CHARACTERS = range(9)
# How many characters there are of a kind, and the smallest. A letter that may stand beside digits is 39 more.
_RADIX = np.array([1, 10, 26, 128, 16, 10, 6, 16], np.uint64)
_FIRST = np.array([0, ord("0"), ord("a"), 128, ord("0"), ord("0"), ord("a"), ord("0")], np.uint64)
_TO_LETTER = np.where(np.isin(np.arange(8), (HEX, NIBBLES)), ord("a") - ord("9") - 1, 0).astype(np.uint64)

_PIECE, _HALF = 16, 8
_ROUNDS = 8
# A domain of at most so many pieces is small.
_SMALL = 100_000
_IS_SMALL = _RADIX.astype(np.float64)[:, None] ** np.arange(_PIECE + 1) <= _SMALL
# So many pieces are mapped together: of more, columns do not stay in the processor's cache.
_TOGETHER = 12_000

_WORD = np.dtype("<u8")
_BYTE, _ONES, _EVEN, _ODD = (
    np.uint64(word) for word in (0xFF, 0x0101010101010101, 0x00FF00FF00FF00FF, 0xFF00FF00FF00FF00)
)
_5, _6, _7, _8, _13, _16, _17, _21, _32, _43, _47, _48, _51 = (
    np.uint64(bits) for bits in (5, 6, 7, 8, 13, 16, 17, 21, 32, 43, 47, 48, 51)
)
# What SipHash begins with.
_BEGIN = np.frombuffer(b"uespemosmodnarodarenegylsetybdet", "<u8").astype(np.uint64)
_ZERO, _CASE = np.uint8(ord("0")), np.uint8(ord("a") - ord("A"))


def _rows() -> Bools:
    """Where the characters of a piece stand in a row, by its size: both halves begin at their word."""
    halves = (np.arange(_PIECE + 1)[:, None] + (1, 0)) // 2
    made: Bools = np.arange(_HALF) < halves[:, :, None]
    return made.reshape(_PIECE + 1, _PIECE)


_WITHIN = _rows()
# The same with a 1 in each such byte, for the left half and the right one.
_PLACES = np.ascontiguousarray(_WITHIN.astype(np.uint8).view(_WORD).T.astype(np.uint64))


class Permutation:
    """The permutation for one key of 16 bytes."""

    def __init__(self, key: bytes) -> None:
        self._key = np.frombuffer(key, _WORD).astype(np.uint64)
        # Of small domains: what becomes of each piece, by the number of its kind and size.
        self._small: dict[int, Numbers] = {}

    def of(self, data: Bytes, kinds: Bytes, sizes: Ints) -> Bytes:
        """What becomes of runs of these kinds and sizes, which stand in `data` one behind the other."""
        # Pieces of a run are as long as one another, or one longer.
        counts = (sizes + (_PIECE - 1)) // _PIECE
        run = np.repeat(np.arange(len(sizes)), counts)
        place = np.arange(len(run)) - (np.cumsum(counts) - counts)[run]
        least, rest = np.divmod(sizes, counts)
        size = least[run] + (place < rest[run])
        rows = np.zeros((len(run), _PIECE), np.uint8)
        within = np.flatnonzero(_WITHIN.take(size, axis=0))
        rows.reshape(-1)[within] = data
        words = rows.view(_WORD)
        words[:] = self._pieces(words.T.astype(np.uint64, order="C"), kinds[run], size, place).T
        made = rows.reshape(-1).take(within)
        _shout(data, made, kinds, sizes)
        return made

    def of_numbers(self, numbers: Ints, size: int) -> Ints:
        """What becomes of numbers of so many digits, as `of` has it."""
        units = 10 ** np.arange(size)[::-1]
        digits = (numbers[:, None] // units % 10 + ord("0")).astype(np.uint8)
        kinds, sizes = np.full(len(numbers), DIGITS, np.uint8), np.full(len(numbers), size)
        made = self.of(digits.ravel(), kinds, sizes).reshape(digits.shape)
        return (made - _ZERO) @ units

    def shuffled(self, tweak: int, count: int) -> Ints:
        """The numbers below `count`, in an order that is told by `tweak`."""
        ranks = _siphash(self._key, np.arange(count, dtype=np.uint64), np.array([tweak], np.uint64))
        return np.argsort(ranks, kind="stable")

    def alphabet(self, begin: int, count: int) -> Ints:
        """So many characters, in an order of their own."""
        return self.shuffled(int(_tweak(_CHARACTERS, 0, 0, begin)), count)

    def _pieces(self, text: Numbers, kinds: Bytes, sizes: Ints, place: Ints) -> Numbers:
        """What becomes of pieces: left halves and right ones; `place` is the number of each in its run."""
        ones = _PLACES.take(sizes, axis=1)
        are_letters = text >> _6 & ones
        are_letters *= kinds != BEYOND
        are_capitals = are_letters & ~(text >> _5)
        hexes = np.flatnonzero(kinds == HEX)
        if len(hexes):
            # A piece need not have both, digits and letters, which the run has.
            has_none, has_only = _are_uniform(are_letters, ones, hexes)
            kinds[hexes[has_none]], kinds[hexes[has_only]] = _HEX_DIGITS, _HEX_LETTERS
            hexes = hexes[~(has_none | has_only)]
        radix, more = _RADIX.take(kinds), _TO_LETTER.take(kinds)
        first = _FIRST.take(kinds) * ones
        values = (text | are_capitals << _5) - first - are_letters * more

        are_small = _IS_SMALL.take(kinds * np.int64(_PIECE + 1) + sizes)
        # A large number that begins with 0 still does: that stays. Of others the first digit is one of nine.
        leads = (kinds == DIGITS) & (place == 0) & ~are_small
        has_zero = leads & (values[0] & _BYTE == 0)
        has_none = leads ^ has_zero
        values[0] -= has_none
        first[0] += has_none
        fixed = ones.copy()
        fixed[0] -= has_zero
        spans = fixed * radix
        spans[0] -= has_none
        network = _tweak(kinds, sizes, has_none + 2 * has_zero, place), radix, has_none * _BYTE, fixed * _BYTE, spans
        made = values if are_small.all() else self._feistel(values, network)
        # What must have digits and letters, and has not, goes on until it does: so it stays a permutation.
        while len(hexes):
            has_none, has_only = _are_uniform(_from(made, 10), ones, hexes)
            hexes = hexes[has_none | has_only]
            again = self._feistel(made.take(hexes, axis=1), [column.take(hexes, axis=-1) for column in network])
            made[0][hexes], made[1][hexes] = again
        small = np.flatnonzero(are_small)
        for kind, size in sorted({*zip(kinds[small].tolist(), sizes[small].tolist(), strict=True)}):
            some = np.flatnonzero((kinds == kind) & (sizes == size))
            made[0][some], made[1][some] = self._of_small(values.take(some, axis=1), kind, size)
        made = made + first + (_from(made, 10) & ones) * more
        return made - ((are_capitals & made >> _6) << _5)

    def _feistel(self, values: Numbers, network: Sequence[Numbers]) -> Numbers:
        """Other halves for these."""
        made = np.empty_like(values)
        for begin in range(0, values.shape[1], _TOGETHER):
            some = slice(begin, begin + _TOGETHER)
            made[:, some] = self._rounds(values[:, some], *(column[..., some] for column in network))
        return made

    def _rounds(
        self, values: Numbers, tweaks: Numbers, radix: Numbers, less: Numbers, fixed: Numbers, spans: Numbers
    ) -> Sequence[Numbers]:
        """Each character stays below its byte of `spans`, which is the radix, but at the first one of a left half,
        where there is a byte of `less`; those that are in no byte of `fixed` stay.
        """
        halves = list(values)
        rooms = _ONES * np.uint64(128) - spans
        for turn in range(_ROUNDS):
            side = turn % 2
            noise = _siphash(self._key, halves[1 - side], tweaks + np.uint64(turn))
            # Each byte of it is a number below the radix, near enough to evenly: what tells four sums of such from
            # chance takes more than 10 ** 14 known pieces.
            even = (noise & _EVEN) * radix
            if side == 0:
                even -= noise & less
            even = even >> _8 & _EVEN
            odd = (noise >> _8 & _EVEN) * radix & _ODD
            made = halves[side] + ((even | odd) & fixed[side])
            halves[side] = made - (((made + rooms[side]) >> _7 & _ONES) * _BYTE & spans[side])
        return halves

    def _of_small(self, values: Numbers, kind: int, size: int) -> Numbers:
        radix = int(_RADIX[kind])
        code = int(_tweak(kind, size, 0, 0))
        if code not in self._small:
            numbers = np.arange(radix**size)
            order = numbers.copy()
            # A number that begins with 0 still does, and any other does not.
            is_zero = (numbers % radix == 0) & (kind == DIGITS)
            for lead, group in enumerate((numbers[~is_zero], numbers[is_zero])):
                order[group] = group[self.shuffled(int(_tweak(kind, size, lead, 0)), len(group))]
            self._small[code] = _spelled(order.astype(np.uint64), radix, size)
        return self._small[code][:, _numbers(values, radix, size).astype(np.int64)]


def _shout(data: Bytes, made: Bytes, kinds: Bytes, sizes: Ints) -> None:
    """Where all letters of a hexadecimal run are capitals, make such of the letters, too, that became of digits."""
    are_hex = (kinds == HEX) | (kinds == NIBBLES)
    if not are_hex.any():
        return
    within = np.flatnonzero(np.repeat(are_hex, sizes))
    old, new, sizes = data[within], made[within], sizes[are_hex]
    are_small = old >= ord("a")
    are_capitals = (old >= ord("A")) & ~are_small
    if are_capitals.any():
        begins = np.cumsum(sizes) - sizes
        shouted = np.logical_or.reduceat(are_capitals, begins) & ~np.logical_or.reduceat(are_small, begins)
        made[within] = new - _CASE * (np.repeat(shouted, sizes) & (new >= ord("a")))


def _tweak(kind: Any, size: Any, lead: Any, place: Any) -> Numbers:
    """The second word of what is hashed: 15 is the length of both, and in the lowest byte there is room for a round."""
    high = np.uint64(15) << np.uint64(56)
    code = (np.int64(place) & 0xFFFFFFFF) << 24 | np.int64(size) << 16 | np.int64(lead) << 12 | np.int64(kind) << 8
    return np.asarray(code, np.uint64) | high


def _are_uniform(letters: Numbers, ones: Numbers, some: Ints) -> tuple[Bools, Bools]:
    """Which of some pieces, that have a 1 in each byte with a letter, have none, and which have only letters."""
    ones = ones.take(some, axis=1)
    letters = letters.take(some, axis=1) & ones
    has_none: Bools = (letters == 0).all(axis=0)
    has_only: Bools = (letters == ones).all(axis=0)
    return has_none, has_only


def _from(values: Numbers, least: int) -> Numbers:
    """A 1 in each byte that is at least so large, of such as are smaller than 128."""
    return (values + _ONES * np.uint64(128 - least)) >> _7 & _ONES


def _numbers(halves: Numbers, radix: int, size: int) -> Numbers:
    """Pieces as numbers, whose lowest digit is the first character."""
    made: Numbers = np.zeros_like(halves[0])
    for place in reversed(np.argwhere(_WITHIN[size]).ravel().tolist()):
        made = made * np.uint64(radix) + (halves[place // _HALF] >> np.uint64(place % _HALF * 8) & _BYTE)
    return made


def _spelled(numbers: Numbers, radix: int, size: int) -> Numbers:
    """What `_numbers` takes for these."""
    halves = np.zeros((2, len(numbers)), np.uint64)
    for place in np.argwhere(_WITHIN[size]).ravel().tolist():
        numbers, digits = np.divmod(numbers, np.uint64(radix))
        halves[place // _HALF] |= digits << np.uint64(place % _HALF * 8)
    return halves


def _siphash(key: Numbers, message: Numbers, last: Numbers) -> Numbers:
    """SipHash-1-3 of messages of 15 bytes: a word, and one of seven bytes with their number on top."""
    # Of one word each until the messages come in.
    v0, v1, v2, v3 = (np.tile(key, 2) ^ _BEGIN)[:, None]

    def mix() -> None:
        nonlocal v0, v1, v2, v3
        v0 = v0 + v1
        v1 = (v1 << _13 | v1 >> _51) ^ v0
        v0 = v0 << _32 | v0 >> _32
        v2 = v2 + v3
        v3 = (v3 << _16 | v3 >> _48) ^ v2
        v0 = v0 + v3
        v3 = (v3 << _21 | v3 >> _43) ^ v0
        v2 = v2 + v1
        v1 = (v1 << _17 | v1 >> _47) ^ v2
        v2 = v2 << _32 | v2 >> _32

    for block in (message, last):
        v3 = v3 ^ block
        mix()
        v0 = v0 ^ block
    v2 = v2 ^ _BYTE
    for _ in range(3):
        mix()
    return v0 ^ v1 ^ v2 ^ v3
