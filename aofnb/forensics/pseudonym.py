"""Words for other words of the same shape: what a log says, without saying it.

Each run of letters, of digits or of bytes beyond ASCII becomes another of the same kind and length, and the same run
always becomes the same: keys stay equal, and different, their kinds stay told apart, numbers stay numbers. Punctuation
stays, so JSON stays JSON. Case stays. The map is a permutation keyed by a secret: without the secret it cannot be
computed, but short runs have few words to be mapped to, and what is frequent stays frequent. `forensics.permutation`
has that map, and what it promises.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aofnb.forensics import _runs_cy
from aofnb.forensics.permutation import BEYOND, DIGITS, HEX, LETTERS, NIBBLES, NONE, Bools, Bytes, Ints, Permutation

__all__ = ["Pseudonyms"]

# Start, stop and kind of each run.
Runs = tuple[Ints, Ints, Bytes]

# So many bytes are looked at together: each look has its cost, and makes all new words at once; what it takes of memory
# is many times as large.
_PIECE_BYTES = 4 << 20
# A byte in no run, and in no UUID.
_BORDER = re.compile(rb"[^0-9A-Za-z\x80-\xff-]")
# So many runs, and what becomes of them, are remembered, if there are no more; and so many bytes.
_KNOWN, _KNOWN_BYTES = 10_000, 1 << 20
# Numbers of at most so many digits are short.
_SHORT = 6
_KIND = np.zeros(256, np.uint8)
_KIND[ord("0") : ord("9") + 1] = DIGITS
_KIND[ord("a") : ord("z") + 1] = _KIND[ord("A") : ord("Z") + 1] = LETTERS
_KIND[128:] = BEYOND
_IS_HEX = np.isin(np.arange(256), np.frombuffer(b"0123456789abcdefABCDEF", np.uint8))
_ZERO, _TEN = np.uint8(ord("0")), np.uint32(10)

# What stands between runs, and for a byte of one that is no UTF-8.
_BETWEEN, _NO_TEXT = b"\n", 0
# What is behind a text.
_BEHIND = b"\r\n"
_HEX_BYTES = 8
_UUID = (8, 4, 4, 4, 12)
_UUID_BYTES = sum(_UUID) + len(_UUID) - 1
# Of characters of so many bytes in UTF-8: those that become one another, Latin letters, ideographs and pictures.
_ALPHABETS = {2: range(0xC0, 0x240), 3: range(0x4E00, 0x9E00), 4: range(0x1F300, 0x1F600)}
# Others stay among so many neighbours, whose bytes differ in the last one.
_BLOCK = 64


class Pseudonyms:
    """The map for one secret.

    Parameters
    ----------
    secret
        Any bytes, at least 16 of them.
    plain
        Words that stay as they are.
    """

    def __init__(self, secret: bytes, plain: tuple[str, ...] = ()) -> None:
        if len(secret) < 16:
            raise ValueError("a secret of fewer than 16 bytes can be guessed: give more, such as os.urandom(32)")
        self._permutation = Permutation(hashlib.blake2b(secret, digest_size=16, person=b"aofnb").digest())
        self._plain = pa.array([word.encode() for word in plain], pa.large_binary())
        self._characters = _Characters(self._permutation)
        # Runs, no two of which are the same, and what becomes of each.
        self._known = self._made = pa.array([], pa.large_binary())
        # What becomes of short numbers, both with a 1 in front; 0 where that is not known.
        self._short = np.zeros(2 * 10**_SHORT, np.uint32)
        self._room: Runs = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.uint8)
        for word in self._plain.to_pylist():
            if word.isdigit() and len(word) <= _SHORT:
                self._short[int(b"1" + word)] = int(b"1" + word)

    def of(self, text: bytes) -> bytes:
        """`text` with every run in it replaced. To do it for one text takes as long as for a thousand.

        >>> of = Pseudonyms(b"0123456789abcdef").of
        >>> len(of(b"user:1042:cart")), of(b"user:1042:cart") == of(b"user:1042:cart"), of(b"user:7") == of(b"user:8")
        (14, True, False)
        """
        return self.hidden(text + _BEHIND, np.zeros(1, np.int64), np.full(1, len(text)))[: len(text)]

    def hidden(self, data: bytes, begins: Ints, ends: Ints) -> bytes:
        """`data` with every run in these texts replaced. They begin and end there, in order; behind each is a CRLF."""
        if not len(begins):
            return data
        # Each different text once, with a byte behind it that is in no run.
        bounds = _bounds(begins, ends + 1, len(data))
        pieces, chosen = _array(bounds, data), np.arange(len(bounds) - 1)
        texts = pieces.take(pa.array(chosen[1:-1:2])).dictionary_encode()
        made = _text(texts.dictionary).copy()
        begin = 0
        while begin < len(made):
            border = _BORDER.search(made.data, begin + _PIECE_BYTES)
            end = len(made) if border is None else border.start()
            self._replace_all(made[begin:end])
            begin = end
        chosen[1:-1:2] = len(pieces) + texts.indices.to_numpy()
        texts = _array(_bounds_of(texts.dictionary), made)
        return _text(pa.concat_arrays([pieces, texts]).take(pa.array(chosen))).tobytes()

    def _replace_all(self, data: Bytes) -> None:
        """Replace every run, in place."""
        starts, stops, kinds = self._runs_by_kernel(data) if _runs_cy.COMPILED else _runs(data)
        are_groups = kinds == NIBBLES
        are_short = (kinds == DIGITS) & (stops - starts <= _SHORT)
        groups, short, others = map(np.flatnonzero, (are_groups, are_short, ~(are_groups | are_short)))
        if len(groups):
            self._replace_uuids(data, starts[groups[:: len(_UUID)]])
        self._replace_short(data, starts[short], stops[short])
        self._replace(data, starts[others], stops[others], kinds[others])

    def _replace_uuids(self, data: Bytes, starts: Ints) -> None:
        """Replace UUIDs, each by another: it is one run of its digits."""
        places = np.lib.stride_tricks.sliding_window_view(data, _UUID_BYTES, writeable=True)
        found = places[starts]
        of_digit = np.flatnonzero(found[0] != ord("-"))
        kinds, sizes = np.full(len(starts), NIBBLES, np.uint8), np.full(len(starts), len(of_digit))
        digits = found.take(of_digit, axis=1)
        found[:, of_digit] = self._permutation.of(digits.ravel(), kinds, sizes).reshape(digits.shape)
        places[starts] = found

    def _runs_by_kernel(self, data: Bytes) -> Runs:
        # No run is empty. Room that is there already costs nothing.
        if len(self._room[0]) < len(data):
            self._room = np.empty(len(data), np.int64), np.empty(len(data), np.int64), np.empty(len(data), np.uint8)
        count = _runs_cy.runs(data, _KIND | _IS_HEX * np.uint8(8), *self._room)
        starts, stops, kinds = self._room
        return starts[:count], stops[:count], kinds[:count]

    def _replace_short(self, data: Bytes, starts: Ints, stops: Ints) -> None:
        """Replace short numbers. They are so many that they are looked up as what they are, with a 1 in front."""
        numbers = np.empty(len(starts), np.uint32)
        if _runs_cy.COMPILED:
            _runs_cy.read(data.data, starts, stops, numbers)
            _runs_cy.write(data.data, stops, self._of_short(numbers))
            return
        # The longer, the further behind, so that what has one digit more is a slice.
        order = np.argsort((stops - starts).astype(np.uint8), kind="stable")
        starts, stops = starts[order], stops[order]
        longer = np.searchsorted(stops - starts, range(_SHORT), "right").tolist()
        numbers[:] = 1
        for place, more in enumerate(longer):
            numbers[more:] *= _TEN
            numbers[more:] += data[starts[more:] + place] - _ZERO
        numbers = self._of_short(numbers)
        for place, more in enumerate(longer):
            tens = numbers[more:] // _TEN
            data[stops[more:] - 1 - place] = numbers[more:] - tens * _TEN + _ZERO
            numbers[more:] = tens

    def _of_short(self, numbers: Any) -> Any:
        made = self._short[numbers]
        if not made.all():
            self._make_short(np.unique(numbers[made == 0]))
            made = self._short[numbers]
        return made

    def _make_short(self, numbers: Any) -> None:
        """Note what becomes of short numbers, with a 1 in front of each; and of all that are as long as one of them,
        where those are few.
        """
        for size in range(1, _SHORT + 1):
            begin = 10**size
            new = numbers[(numbers >= begin) & (numbers < 2 * begin)]
            if len(new) and size < _SHORT:
                new = np.arange(begin, 2 * begin)
                new = new[self._short[new] == 0]
            if len(new):
                self._short[new] = begin + self._permutation.of_numbers(new - begin, size)

    def _replace(self, data: Bytes, starts: Ints, stops: Ints, kinds: Bytes) -> None:
        """Replace any other runs. Each different one is looked up, or made."""
        if not len(starts):
            return
        bounds = _bounds(starts, stops, len(data))
        # What is between runs and they themselves, in turn; no copy.
        pieces = _array(bounds, data)
        chosen = np.arange(len(pieces))
        runs = pieces.take(pa.array(chosen[1::2]))
        # Those that are known come first.
        words = pa.concat_arrays([self._known, runs]).dictionary_encode()
        indices, known = words.indices[len(self._known) :], len(self._known)
        of_kind = np.empty(len(words.dictionary), np.uint8)
        of_kind[indices.to_numpy()] = kinds
        made = self._made
        if len(of_kind) > known:
            new = words.dictionary.take(pa.array(np.arange(known, len(of_kind))))
            made = pa.concat_arrays([made, self._mapped(new, of_kind[known:])])
            if len(made) <= _KNOWN and made.nbytes <= _KNOWN_BYTES:
                self._known, self._made = words.dictionary, made
            else:
                self._known = self._made = pa.array([], pa.large_binary())
        if _runs_cy.COMPILED:
            _runs_cy.put(data, starts, stops, _text(made.take(indices)))
        else:
            chosen[1::2] = len(pieces) + indices.to_numpy()
            data[:] = _text(pa.concat_arrays([pieces, made]).take(pa.array(chosen)))

    def _mapped(self, words: pa.Array, kinds: Bytes) -> pa.Array:
        """What becomes of runs, no two of which are the same."""
        data, bounds = _text(words).copy(), _bounds_of(words)
        sizes, are_others = np.diff(bounds), np.ones(len(words), bool)
        if len(self._plain):
            are_others = pc.invert(pc.is_in(words, value_set=self._plain)).to_numpy(zero_copy_only=False)
        beyond = np.flatnonzero(are_others & (kinds == BEYOND))
        if len(beyond):
            are_others[beyond] = self._replace_texts(data, bounds[beyond], sizes[beyond])
        if are_others.all():
            data = self._permutation.of(data, kinds, sizes)
        elif are_others.any():
            within = np.repeat(are_others, sizes)
            data[within] = self._permutation.of(data[within], kinds[are_others], sizes[are_others])
        return _array(bounds, data)

    def _replace_texts(self, data: Bytes, starts: Ints, sizes: Ints) -> Bools:
        """Replace runs by others of the same characters' alphabets; which of them are no UTF-8, so stay."""
        places = _places(starts, sizes)
        old, begins = data[places], np.cumsum(sizes) - sizes
        runs = _array(np.append(begins, len(old)), old).to_pylist()
        text = _BETWEEN.join(runs).decode("utf-8", "surrogateescape").translate(self._characters)
        made = np.frombuffer(text.encode(), np.uint8)
        made = made[made != ord(_BETWEEN)]
        are_bytes: Bools = np.logical_or.reduceat(made == _NO_TEXT, begins)
        data[places] = np.where(np.repeat(are_bytes, sizes), old, made)
        return are_bytes


def _kinds(data: Bytes) -> Bytes:
    """The kind of each byte."""
    return np.frombuffer(data.tobytes().translate(_KIND.tobytes()), np.uint8)


def _bounds(starts: Ints, stops: Ints, size: int) -> Ints:
    """Pieces and what is between them, in turn: where they begin, first what is before them, and end."""
    bounds = np.zeros(2 * len(starts) + 2, np.int64)
    bounds[1:-1:2], bounds[2:-1:2], bounds[-1] = starts, stops, size
    return bounds


def _array(bounds: Ints, data: bytes | Bytes) -> pa.Array:
    """Pieces of `data` from one bound to the next, as Arrow has them; no copy."""
    return pa.Array.from_buffers(pa.large_binary(), len(bounds) - 1, [None, pa.py_buffer(bounds), pa.py_buffer(data)])


def _bounds_of(pieces: pa.Array) -> Ints:
    """Where pieces that were just made begin in their text; and where the last one ends."""
    return np.frombuffer(pieces.buffers()[1], np.int64)


def _text(pieces: pa.Array) -> Bytes:
    """What stands in pieces that were just made."""
    return np.frombuffer(pieces.buffers()[2], np.uint8)


class _Characters(dict[int, int]):
    """Characters for others that are as long in UTF-8, as `str.translate` wants them."""

    def __init__(self, permutation: Permutation) -> None:
        super().__init__({ord(_BETWEEN): ord(_BETWEEN)})
        self.update(dict.fromkeys(map(ord, bytes(range(128, 256)).decode("utf-8", "surrogateescape")), _NO_TEXT))
        self._permutation = permutation

    def __missing__(self, code: int) -> int:
        size = len(chr(code).encode())
        alphabet = _ALPHABETS[size]
        if code not in alphabet:
            alphabet = range(code - code % _BLOCK, code - code % _BLOCK + _BLOCK)
        shuffled = self._permutation.alphabet(alphabet.start, len(alphabet))
        for old, new in zip(alphabet, shuffled.tolist(), strict=True):
            self[old] = alphabet[new]
        return self[code]


# --- where runs are --------------------------------------------------------------------------------------------------


def _runs(data: Bytes) -> Runs:
    """The runs in a text. What `template` takes for one thing is one."""
    kind_of = _kinds(data)
    bounds = np.concatenate(([0], np.flatnonzero(kind_of[1:] != kind_of[:-1]) + 1, [len(data)]))
    kinds = kind_of[bounds[:-1]]
    runs = np.flatnonzero(kinds != NONE)
    starts, stops, kinds = bounds[runs], bounds[runs + 1], kinds[runs]
    if not len(starts):
        return starts, stops, kinds
    # A token is digits and letters with nothing between them.
    are_first = np.ones(len(starts), bool)
    are_first[1:] = (starts[1:] != stops[:-1]) | (kinds[1:] == BEYOND) | (kinds[:-1] == BEYOND)
    firsts = np.flatnonzero(are_first)
    lasts = np.append(firsts[1:], len(starts)) - 1
    begin, sizes = starts[firsts], stops[lasts] - starts[firsts]
    hexes = np.flatnonzero((lasts > firsts) & (sizes >= _HEX_BYTES))
    hexes = hexes[_is_hex(data, begin[hexes], sizes[hexes])]
    groups = _uuid_groups(data, begin, sizes)
    if not len(hexes) and not len(groups):
        return starts, stops, kinds
    kinds[firsts[hexes]], kinds[firsts[groups]] = HEX, NIBBLES
    is_whole = np.zeros(len(firsts), bool)
    is_whole[hexes] = is_whole[groups] = True
    whole = np.flatnonzero(is_whole)
    stops[firsts[whole]] = stops[lasts[whole]]
    kept = are_first | ~is_whole[np.cumsum(are_first) - 1]
    return starts[kept], stops[kept], kinds[kept]


def _uuid_groups(data: Bytes, begin: Ints, sizes: Ints) -> Ints:
    """Which tokens are the groups of UUIDs."""
    count = len(begin) - len(_UUID) + 1
    if count <= 0:
        return np.zeros(0, np.int64)
    found = np.flatnonzero(sizes[:count] == _UUID[0])
    for nth in range(1, len(_UUID)):
        found = found[sizes[found + nth] == _UUID[nth]]
        before = begin[found + nth] - 1
        found = found[(data[before] == ord("-")) & (before == begin[found + nth - 1] + _UUID[nth - 1])]
    groups = found[:, None] + np.arange(len(_UUID))
    are_hex = _is_hex(data, begin[groups.ravel()], sizes[groups.ravel()]).reshape(groups.shape)
    return groups[are_hex.all(axis=1)].ravel()


def _is_hex(data: Bytes, starts: Ints, sizes: Ints) -> Bools:
    """Which tokens have only hexadecimal digits."""
    if not len(starts):
        return np.zeros(0, bool)
    return np.logical_and.reduceat(_IS_HEX[data[_places(starts, sizes)]], np.cumsum(sizes) - sizes)


def _places(starts: Ints, sizes: Ints) -> Ints:
    """All places in pieces that begin there and are so large."""
    return np.arange(int(sizes.sum())) + np.repeat(starts - np.cumsum(sizes) + sizes, sizes)
