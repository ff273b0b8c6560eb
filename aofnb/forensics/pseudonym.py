"""Words for other words of the same shape: what a log says, without saying it.

Each run of letters, of digits or of bytes beyond ASCII becomes another of the same kind and length, and the same run
always becomes the same: keys stay equal, and different, their kinds stay told apart, numbers stay numbers. Punctuation
stays, so JSON stays JSON. Case stays. The map is a permutation keyed by a secret: without the secret it cannot be
computed, but short runs have few words to be mapped to, and what is frequent stays frequent.

Runs are mapped many at once, as columns:

1. a run is cut into pieces whose halves are two numbers of 64 bits;
2. a piece has a domain: all pieces of that kind, length and place in their run. It becomes another one of these;
3. a small domain is shuffled; in a large one pieces go through a Feistel network, as in NIST SP 800-38G, whose rounds
   are SipHash-2-4 with a key for each domain, which is made of the secret by BLAKE2b. Of few halves, what becomes of
   each in each round is remembered.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from aofnb.forensics import _runs_cy

__all__ = ["Pseudonyms"]

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.uint64]
Halves = tuple[Numbers, Numbers]
# Start, stop and kind of each run.
Runs = tuple[Ints, Ints, Bytes]

_ROUNDS = 8
# So many bytes are looked at together: each look has its cost, and makes all new words at once; what it takes of memory
# is many times as large.
_PIECE_BYTES = 4 << 20
# A byte in no run, and in no UUID.
_BORDER = re.compile(rb"[^0-9A-Za-z\x80-\xff-]")
# So many runs, and what becomes of them, are remembered; and about so many bytes.
_KNOWN, _KNOWN_BYTES = 1 << 18, 16 << 20
# Numbers of at most so many digits are short.
_SHORT = 6
# A domain of at most so many pieces is small.
_SMALL = 1000
# A run of more pieces has these domains again.
_PLACES = 64
# Where there are at most so many different halves, it is remembered what each round makes of each; of the pieces that
# most runs have.
_HALVES, _FIRST_PLACES = 1000, 2

# Of bytes, runs and pieces. A run of _HEX has digits and letters; a piece of it may be one of the two behind it. In
# _NIBBLES any mixture stands for any other.
_NONE, _DIGITS, _LETTERS, _BEYOND, _HEX, _HEX_DIGITS, _HEX_LETTERS, _NIBBLES = range(8)
_RADIX = np.array([0, 10, 26, 128, 16, 10, 6, 16], np.uint64)
# Characters of a piece at most: those of a half are a number below 2 ** _ROUND_BIT, above which is the round.
_PIECE = np.array([1, 34, 24, 16, 28, 28, 28, 28], np.int64)
_ROUND_BIT = 57

_KIND = np.zeros(256, np.uint8)
_KIND[ord("0") : ord("9") + 1] = _DIGITS
_KIND[ord("a") : ord("z") + 1] = _KIND[ord("A") : ord("Z") + 1] = _LETTERS
_KIND[128:] = _BEYOND
_IS_HEX = np.isin(np.arange(256), np.frombuffer(b"0123456789abcdefABCDEF", np.uint8))
# Of the smallest piece of each kind the characters, so that a character is its number more than the first of these;
# a hexadecimal letter is 39 more.
_FIRST = np.array([0, ord("0"), ord("a"), 128, ord("0"), ord("0"), ord("a"), ord("0")], np.uint8)
_TO_LETTER = np.uint8(ord("a") - ord("9") - 1)
_UPPER = np.uint8(32)
_ZERO, _TEN = np.uint8(ord("0")), np.uint32(10)

# What is behind a text.
_BEHIND = b"\r\n"
_HEX_BYTES = 8
_UUID = (8, 4, 4, 4, 12)
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
        self._permutation = _Permutation(hashlib.blake2b(secret, digest_size=32, person=b"aofnb").digest())
        self._plain = pa.array([word.encode() for word in plain], pa.large_binary())
        self._characters = _Characters(self._permutation)
        # Runs, and the place of what becomes of each.
        self._known: dict[bytes, int] = {}
        self._made = pa.array([], pa.large_binary())
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
        texts = _array(np.frombuffer(texts.dictionary.buffers()[1], np.int64), made)
        return _text(pa.concat_arrays([pieces, texts]).take(pa.array(chosen))).tobytes()

    def _replace_all(self, data: Bytes) -> None:
        """Replace every run, in place."""
        starts, stops, kinds = self._runs_by_kernel(data) if _runs_cy.COMPILED else _runs(data)
        are_groups = kinds == _NIBBLES
        are_short = (kinds == _DIGITS) & (stops - starts <= _SHORT)
        groups, short, others = map(np.flatnonzero, (are_groups, are_short, ~(are_groups | are_short)))
        if len(groups):
            sizes = stops[groups] - starts[groups]
            places = _places(starts[groups], sizes)
            data[places] = self._permutation.of(data[places], kinds[groups], sizes)
        self._replace_short(data, starts[short], stops[short])
        self._replace(data, starts[others], stops[others])

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
        """Note what becomes of short numbers, which ascend and have a 1 in front of each; and of all that are like
        one of them, where those are few.
        """
        for size in range(1, _SHORT + 1):
            begin = 10**size
            # Those that begin with 0 are first.
            edges = (begin, begin + begin // 10, 2 * begin)
            cuts = np.searchsorted(numbers, edges).tolist()
            for has_zero, (first, last) in ((True, cuts[:2]), (False, cuts[1:])):
                if first == last:
                    continue
                new = numbers[first:last]
                if size < _SHORT:
                    new = np.arange(*(edges[:2] if has_zero else edges[1:]))
                    new = new[self._short[new] == 0]
                self._short[new] = begin + self._permutation.of_numbers(new - begin, size, has_zero)

    def _replace(self, data: Bytes, starts: Ints, stops: Ints) -> None:
        """Replace any other runs. Each different one is looked up, or made."""
        if not len(starts):
            return
        bounds = _bounds(starts, stops, len(data))
        # What is between runs and they themselves, in turn; no copy.
        pieces = _array(bounds, data)
        chosen = np.arange(len(pieces))
        runs = pieces.take(pa.array(chosen[1::2])).dictionary_encode()
        made = self._of_words(runs.dictionary)
        if _runs_cy.COMPILED:
            _runs_cy.put(data, starts, stops, _text(made.take(runs.indices)))
        else:
            chosen[1::2] = len(pieces) + runs.indices.to_numpy()
            data[:] = _text(pa.concat_arrays([pieces, made]).take(pa.array(chosen)))

    def _of_words(self, words: pa.Array) -> pa.Array:
        """What becomes of runs, no two of which are the same."""
        spelled = words.to_pylist()
        numbers = np.fromiter(map(self._known.get, spelled, repeat(-1)), np.int64, len(spelled))
        new = np.flatnonzero(numbers < 0)
        if len(new) and (len(self._known) + len(new) > _KNOWN or self._made.nbytes > _KNOWN_BYTES):
            self._known.clear()
            self._made = self._made[:0]
            new = np.arange(len(spelled))
        if len(new):
            numbers[new] = len(self._known) + np.arange(len(new))
            self._known.update(zip(map(spelled.__getitem__, new.tolist()), numbers[new].tolist(), strict=True))
            self._made = pa.concat_arrays([self._made, self._mapped(words.take(pa.array(new)))])
        return self._made.take(pa.array(numbers))

    def _mapped(self, words: pa.Array) -> pa.Array:
        """What becomes of runs that are not known."""
        data, bounds = _text(words).copy(), np.frombuffer(words.buffers()[1], np.int64)
        sizes = np.diff(bounds)
        are_others = pc.invert(pc.is_in(words, value_set=self._plain)).to_numpy(zero_copy_only=False)
        beyond = np.flatnonzero(are_others & (data[bounds[:-1]] >= 128))
        if len(beyond):
            texts = [_as_text(word) for word in words.take(pa.array(beyond)).to_pylist()]
            are_texts = np.zeros(len(words), bool)
            are_texts[beyond] = [text is not None for text in texts]
            made = "".join(filter(None, texts)).translate(self._characters).encode()
            data[np.repeat(are_texts, sizes)] = np.frombuffer(made, np.uint8)
            are_others &= ~are_texts
        if are_others.any():
            in_others, sizes = np.repeat(are_others, sizes), sizes[are_others]
            runs = data[in_others]
            of_bytes, begins = _kinds(runs), np.cumsum(sizes) - sizes
            kinds = np.minimum.reduceat(of_bytes, begins)
            kinds[kinds != np.maximum.reduceat(of_bytes, begins)] = _HEX
            data[in_others] = self._permutation.of(runs, kinds, sizes)
        return _array(bounds, data)


def _kinds(data: Bytes) -> Bytes:
    """The kind of each byte."""
    return np.frombuffer(data.tobytes().translate(_KIND.tobytes()), np.uint8)


def _as_text(run: bytes) -> str | None:
    try:
        return run.decode()
    except UnicodeDecodeError:
        return None


def _bounds(starts: Ints, stops: Ints, size: int) -> Ints:
    """Pieces and what is between them, in turn: where they begin, first what is before them, and end."""
    bounds = np.zeros(2 * len(starts) + 2, np.int64)
    bounds[1:-1:2], bounds[2:-1:2], bounds[-1] = starts, stops, size
    return bounds


def _array(bounds: Ints, data: bytes | Bytes) -> pa.Array:
    """Pieces of `data` from one bound to the next, as Arrow has them; no copy."""
    return pa.Array.from_buffers(pa.large_binary(), len(bounds) - 1, [None, pa.py_buffer(bounds), pa.py_buffer(data)])


def _text(pieces: pa.Array) -> Bytes:
    """What stands in pieces that were just made."""
    return np.frombuffer(pieces.buffers()[2], np.uint8)


class _Characters(dict[int, int]):
    """Characters for others that are as long in UTF-8, as `str.translate` wants them."""

    def __init__(self, permutation: _Permutation) -> None:
        self._permutation = permutation

    def __missing__(self, code: int) -> int:
        size = len(chr(code).encode())
        alphabet = _ALPHABETS[size]
        if code not in alphabet:
            alphabet = range(code - code % _BLOCK, code - code % _BLOCK + _BLOCK)
        shuffled = self._permutation.shuffled(b"character|%d" % alphabet.start, len(alphabet))
        for old, new in zip(alphabet, shuffled.tolist(), strict=True):
            self[old] = alphabet[new]
        return self[code]


# --- where runs are --------------------------------------------------------------------------------------------------


def _runs(data: Bytes) -> Runs:
    """The runs in a text. What `template` takes for one thing is one."""
    kind_of = _kinds(data)
    bounds = np.concatenate(([0], np.flatnonzero(kind_of[1:] != kind_of[:-1]) + 1, [len(data)]))
    kinds = kind_of[bounds[:-1]]
    runs = np.flatnonzero(kinds != _NONE)
    starts, stops, kinds = bounds[runs], bounds[runs + 1], kinds[runs]
    if not len(starts):
        return starts, stops, kinds
    # A token is digits and letters with nothing between them.
    are_first = np.ones(len(starts), bool)
    are_first[1:] = (starts[1:] != stops[:-1]) | (kinds[1:] == _BEYOND) | (kinds[:-1] == _BEYOND)
    firsts = np.flatnonzero(are_first)
    lasts = np.append(firsts[1:], len(starts)) - 1
    begin, sizes = starts[firsts], stops[lasts] - starts[firsts]
    hexes = np.flatnonzero((lasts > firsts) & (sizes >= _HEX_BYTES))
    hexes = hexes[_is_hex(data, begin[hexes], sizes[hexes])]
    groups = _uuid_groups(data, begin, sizes)
    if not len(hexes) and not len(groups):
        return starts, stops, kinds
    kinds[firsts[hexes]], kinds[firsts[groups]] = _HEX, _NIBBLES
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


# --- what becomes of them --------------------------------------------------------------------------------------------

# How many characters are in the left half; what one counts; the first number that there is, of the left half or, where
# that is empty, of the other; how many there are of each half; the key; where the shuffled ones are, and where is what
# rounds make of halves, or -1.
_DOMAIN = np.dtype(
    [
        ("half", "i8"),
        ("radix", "u8"),
        ("base", "u8"),
        ("spans", "u8", 2),
        ("key", "u8", 2),
        ("shuffled", "i8"),
        ("rounds", "i8"),
    ]
)


class _Permutation:
    """A permutation of the runs of each kind and length."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._domains: dict[int, tuple[Any, ...]] = {}
        self._shuffled = np.zeros(0, np.uint64)
        # One behind the other for each domain that has them, for each round: what it makes of each half.
        self._rounds = np.zeros(0, np.uint64)

    def of(self, data: Bytes, kinds: Bytes, sizes: Ints) -> Bytes:
        """What becomes of runs of these kinds and sizes, which stand in `data` one behind the other."""
        is_upper = (data >= ord("A")) & (data <= ord("Z"))
        lower = data + _UPPER * is_upper
        most = _PIECE[kinds]
        counts = -(-sizes // most)
        run = np.repeat(np.arange(len(sizes)), counts)
        place = np.arange(len(run)) - np.repeat(np.cumsum(counts) - counts, counts)
        sizes_of = np.minimum(most[run], sizes[run] - place * most[run])
        made = self._pieces(lower, kinds[run], sizes_of, place)
        if is_upper.any():
            begins = np.cumsum(sizes) - sizes
            # Where all letters are capitals, digits may become such, too.
            shouted = np.maximum.reduceat(is_upper, begins) & (
                np.maximum.reduceat(data * (_KIND[data] == _LETTERS), begins) < 97
            )
            is_upper |= np.repeat(shouted, sizes)
            made -= _UPPER * (is_upper & (_KIND[made] == _LETTERS))
        return made

    def _pieces(self, data: Bytes, kinds: Bytes, sizes: Ints, place: Ints) -> Bytes:
        """What becomes of pieces, in small letters; `place` is the number of each in its run."""
        starts = np.cumsum(sizes) - sizes
        are_letters = _KIND[data] == _LETTERS
        letters = np.add.reduceat(are_letters, starts, dtype=np.int64)
        kinds = np.where((kinds == _HEX) & (letters == 0), _HEX_DIGITS, kinds)
        kinds = np.where((kinds == _HEX) & (letters == sizes), _HEX_LETTERS, kinds)
        # A number that begins with 0 still does.
        leads = np.where((kinds == _DIGITS) & (place == 0), 1 + (data[starts] == ord("0")), 0)
        codes, which = np.unique(_code(kinds, sizes, leads, place % _PLACES), return_inverse=True)
        domains = np.array([self._domain(code) for code in codes.tolist()], _DOMAIN)

        half, radix = domains["half"][which], domains["radix"][which]
        first, is_mixed = np.repeat(_FIRST[kinds], sizes), np.repeat((kinds == _HEX) | (kinds == _NIBBLES), sizes)
        values = data - first - _TO_LETTER * (is_mixed & are_letters)
        left, right = _numbers(values, starts, half, radix), _numbers(values, starts + half, sizes - half, radix)
        todo = np.arange(len(sizes))
        while len(todo):
            left[todo], right[todo] = self._permuted(left[todo], right[todo], domains, which[todo])
            _spell(values, left[todo], starts[todo], half[todo], radix[todo])
            _spell(values, right[todo], (starts + half)[todo], (sizes - half)[todo], radix[todo])
            # What must have digits and letters, and has not, goes on until it does: so it stays a permutation.
            todo = todo[kinds[todo] == _HEX]
            if len(todo):
                mixed = values[_places(starts[todo], sizes[todo])] > 9
                letters = np.add.reduceat(mixed, np.cumsum(sizes[todo]) - sizes[todo], dtype=np.int64)
                todo = todo[(letters == 0) | (letters == sizes[todo])]
        return values + first + _TO_LETTER * (is_mixed & (values > 9))

    def _permuted(self, left: Numbers, right: Numbers, domains: Any, which: Ints) -> Halves:
        begins, rounds, base = (domains[name][which] for name in ("shuffled", "rounds", "base"))
        small = np.flatnonzero(begins >= 0)
        right[small] = base[small] + self._shuffled[begins[small] + (right[small] - base[small]).astype(np.int64)]
        known, others = np.flatnonzero(rounds >= 0), np.flatnonzero((begins < 0) & (rounds < 0))
        rounds = rounds[known].astype(np.uint64)
        low, high = domains["key"].T[:, which[others]]

        def remembered(turn: int, half: Numbers) -> Numbers:
            return self._rounds[rounds + half + np.uint64(turn * _HALVES)]

        def made(turn: int, half: Numbers) -> Numbers:
            return _siphash(low, high, half | np.uint64(turn << _ROUND_BIT))

        for some, noise in ((known, remembered), (others, made)):
            if len(some):
                spans = domains["spans"].T[:, which[some]]
                left[some], right[some] = _feistel(left[some], right[some], base[some], spans, noise)
        return left, right

    def of_numbers(self, numbers: Any, size: int, has_zero: bool) -> Numbers:
        """What becomes of short numbers of `size` digits, all or none of which begin with 0."""
        domains = np.array([self._domain(int(_code(_DIGITS, size, 1 + has_zero, 0)))], _DOMAIN)
        unit = np.uint64(10 ** (size - int(domains["half"][0])))
        left, right = np.divmod(numbers.astype(np.uint64), unit)
        left, right = self._permuted(left, right, domains, np.zeros(len(numbers), np.int64))
        return left * unit + right

    def _domain(self, code: int) -> tuple[Any, ...]:
        if code not in self._domains:
            kind, size, lead, place = _of_code(code)
            radix = int(_RADIX[kind])
            left, right = size // 2, size - size // 2
            count, base = radix**size, 0
            if lead == 1:
                base = radix ** (size - 1)
                count -= base
            elif lead == 2:
                count = radix ** (size - 1)
            tweak = b"domain|%d" % code
            if count <= _SMALL:
                at = len(self._shuffled)
                self._shuffled = np.concatenate((self._shuffled, self.shuffled(tweak, count)))
                self._domains[code] = 0, radix, base, (0, 0), (0, 0), at, -1
            else:
                spans, at = (count // radix**right, radix**right), -1
                if max(spans) <= _HALVES and place < _FIRST_PLACES:
                    at = len(self._rounds)
                    self._rounds = np.concatenate((self._rounds, self._rounds_of(tweak)))
                self._domains[code] = left, radix, base // radix**right, spans, self._round_key(tweak), -1, at
        return self._domains[code]

    def _rounds_of(self, tweak: bytes) -> Numbers:
        """What each round makes of each of few halves."""
        turns = np.arange(_ROUNDS, dtype=np.uint64) << np.uint64(_ROUND_BIT)
        return self._ranks(tweak, (turns[:, None] | np.arange(_HALVES, dtype=np.uint64)).ravel())

    def shuffled(self, tweak: bytes, count: int) -> Numbers:
        """The numbers below `count`, in an order that is told by `tweak`."""
        ranks = self._ranks(tweak, np.arange(count, dtype=np.uint64))
        return np.argsort(ranks, kind="stable").astype(np.uint64)

    def _ranks(self, tweak: bytes, messages: Numbers) -> Numbers:
        low, high = (np.full(len(messages), key, np.uint64) for key in self._round_key(tweak))
        return _siphash(low, high, messages)

    def _round_key(self, tweak: bytes) -> tuple[int, int]:
        key = hashlib.blake2b(tweak, key=self._key, digest_size=16).digest()
        return int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")


def _code(kind: Any, size: Any, lead: Any, place: Any) -> Any:
    """The number of a domain."""
    return ((kind * np.int64(64) + size) * 3 + lead) * _PLACES + place


def _of_code(code: int) -> tuple[int, int, int, int]:
    code, place = divmod(code, _PLACES)
    code, lead = divmod(code, 3)
    return code // 64, code % 64, lead, place


def _numbers(values: Bytes, starts: Ints, sizes: Ints, radix: Numbers) -> Numbers:
    """The numbers whose digits begin at `starts`."""
    numbers = np.zeros(len(starts), np.uint64)
    for place in range(int(sizes.max(initial=0))):
        more = np.flatnonzero(sizes > place)
        numbers[more] = numbers[more] * radix[more] + values[starts[more] + place]
    return numbers


def _spell(values: Bytes, numbers: Numbers, starts: Ints, sizes: Ints, radix: Numbers) -> None:
    """Put the digits of numbers where `_numbers` finds them."""
    for place in range(int(sizes.max(initial=0))):
        more = np.flatnonzero(sizes > place)
        numbers[more], values[(starts + sizes)[more] - 1 - place] = np.divmod(numbers[more], radix[more])


def _feistel(left: Numbers, right: Numbers, base: Any, spans: Any, noise: Callable[[int, Numbers], Numbers]) -> Halves:
    """Halves for others; how many there are of each, `spans` says, and `base` is the first of the left ones."""
    left = left - base
    for turn in range(_ROUNDS):
        span = spans[turn % 2]
        left, right = right, (left + noise(turn, right) % span) % span
    return left + base, right


def _siphash(low: Numbers, high: Numbers, message: Numbers) -> Numbers:
    """SipHash-2-4 (Aumasson and Bernstein, 2012) of messages of eight bytes, each with its key."""
    v0, v1 = low ^ np.uint64(0x736F6D6570736575), high ^ np.uint64(0x646F72616E646F6D)
    v2, v3 = low ^ np.uint64(0x6C7967656E657261), high ^ np.uint64(0x7465646279746573)
    spare = np.empty_like(v0)

    def rotate(word: Numbers, bits: int) -> None:
        np.right_shift(word, np.uint64(64 - bits), out=spare)
        np.left_shift(word, np.uint64(bits), out=word)
        np.bitwise_or(word, spare, out=word)

    def mix(rounds: int) -> None:
        nonlocal v0, v1, v2, v3
        for _ in range(rounds):
            v0 += v1
            rotate(v1, 13)
            v1 ^= v0
            rotate(v0, 32)
            v2 += v3
            rotate(v3, 16)
            v3 ^= v2
            v0 += v3
            rotate(v3, 21)
            v3 ^= v0
            v2 += v1
            rotate(v1, 17)
            v1 ^= v2
            rotate(v2, 32)

    # The last block is what is left of the message, which is nothing, and its length.
    for block in (message, np.uint64(8 << 56)):
        v3 ^= block
        mix(2)
        v0 ^= block
    v2 ^= np.uint64(255)
    mix(4)
    return v0 ^ v1 ^ v2 ^ v3
