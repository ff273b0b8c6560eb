"""Words for other words of the same shape: what a log says, without saying it.

Each run of letters, of digits or of bytes beyond ASCII becomes another of the same kind and length, and the same run
always becomes the same: keys stay equal, and different, their kinds stay told apart, numbers stay numbers. Punctuation
stays, so JSON stays JSON. Case stays. The map is a permutation keyed by a secret (a Feistel network over the run, as in
NIST SP 800-38G, with BLAKE2b): without the secret it cannot be computed, but short runs have few words to be mapped to,
and what is frequent stays frequent.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import lru_cache
from itertools import count as counting

__all__ = ["Pseudonyms"]

_ROUNDS = 8
# A longer run is taken in pieces, so that time grows with the length alone.
_PIECE = 32
_RUNS = re.compile(
    # What `template` takes for one thing must stay one.
    rb"((?<![0-9A-Za-z])(?=[0-9a-fA-F]*[0-9])(?=[0-9a-fA-F]*[a-fA-F])[0-9a-fA-F]{8,}(?![0-9A-Za-z])"
    rb"|[A-Za-z]+|[0-9]+|[\x80-\xff]+)"
)
_HEX = b"0123456789abcdef"
# Of each kind of run how many digits there are, and how they are spelled, in small letters.
_SPELLED = {"hex": _HEX, "letters": b"abcdefghijklmnopqrstuvwxyz", "digits": _HEX[:10]}
_DIGITS_OF = {
    kind: bytes.maketrans(spelled + spelled.upper(), bytes(range(len(spelled))) * 2)
    for kind, spelled in _SPELLED.items()
}
# So many runs, and what is between them, are remembered.
_KNOWN = 1 << 18


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
        self._key = hashlib.blake2b(secret, digest_size=32, person=b"aofnb").digest()
        self._plain = frozenset(word.encode() for word in plain)
        self._known = _Known(self._mapped)

    def of(self, text: bytes) -> bytes:
        """`text` with every run in it replaced.

        >>> of = Pseudonyms(b"0123456789abcdef").of
        >>> len(of(b"user:1042:cart")), of(b"user:1042:cart") == of(b"user:1042:cart"), of(b"user:7") == of(b"user:8")
        (14, True, False)
        """
        # Runs and what is between them, all of it looked up in C.
        return b"".join(map(self._known.__getitem__, _RUNS.split(text)))

    def _mapped(self, run: bytes) -> bytes:
        kind = _kind_of(run)
        if kind is None:
            return run
        if run in self._plain:
            return run
        if kind == "beyond":
            return self._beyond(run)
        pieces = [run[at : at + _PIECE] for at in range(0, len(run), _PIECE)]
        return b"".join(self._piece(kind, piece, number) for number, piece in enumerate(pieces))

    def _piece(self, kind: str, run: bytes, number: int) -> bytes:
        spelled, tweak = _SPELLED[kind], b"%s%d" % (kind.encode(), number)
        digits = list(run.translate(_DIGITS_OF[kind]))
        for _ in counting():
            digits = self._permuted(digits, len(spelled), tweak)
            new = bytes(map(spelled.__getitem__, digits))
            # Walking on until it fits keeps it a permutation.
            if kind == "digits" and (new[0] == 48) == (run[0] == 48):
                break
            if kind == "hex" and _is_mixed(new) == _is_mixed(run):
                break
            if kind == "letters":
                break
        if run.islower() or run.isdigit():
            return new
        return bytes(char - 32 if 65 <= old <= 90 and char >= 97 else char for char, old in zip(new, run, strict=True))

    def _beyond(self, run: bytes) -> bytes:
        """Characters of UTF-8 become characters of the same size, other bytes other bytes."""
        try:
            text = run.decode()
        except UnicodeDecodeError:
            pieces = [run[at : at + _PIECE] for at in range(0, len(run), _PIECE)]
            return b"".join(
                bytes(each + 128 for each in self._permuted([byte - 128 for byte in piece], 128, b"b%d" % number))
                for number, piece in enumerate(pieces)
            )
        out = []
        for char in text:
            # Letters of Latin, and ideographs: one range for each size, so that what comes out is printable.
            first, size = {2: (0xC0, 0x180), 3: (0x4E00, 0x5000), 4: (0x1F300, 0x300)}[len(char.encode())]
            code = ord(char)
            place = code - first if first <= code < first + size else code % size
            out.append(chr(first + self._permuted([place], size, b"u")[0]))
        return "".join(out).encode()

    def _permuted(self, digits: list[int], radix: int, tweak: bytes) -> list[int]:
        """A permutation of the lists of this length."""
        if len(digits) == 1:
            return [self._table(radix, tweak)[digits[0]]]
        half, rest = len(digits) // 2, len(digits) - len(digits) // 2
        left, right = _number(digits[:half], radix), _number(digits[half:], radix)
        spans = radix**half, radix**rest
        for turn in range(_ROUNDS):
            told = b"%b|%d|%d|%d|%d" % (tweak, radix, len(digits), turn, right)
            noise = int.from_bytes(hashlib.blake2b(told, key=self._key, digest_size=32).digest(), "big")
            left, right = right, (left + noise) % spans[turn % 2]
        return _digits(left, radix, half) + _digits(right, radix, rest)

    def _table(self, radix: int, tweak: bytes) -> list[int]:
        return _table(self._key, radix, tweak)


class _Known(dict[bytes, bytes]):
    """What `make` makes of each key, remembered."""

    def __init__(self, make: Callable[[bytes], bytes]) -> None:
        self._make = make

    def __missing__(self, key: bytes) -> bytes:
        if len(self) >= _KNOWN:
            self.clear()
        made = self[key] = self._make(key)
        return made


def _kind_of(run: bytes) -> str | None:
    """Which kind of run this is; None for what is between them."""
    if run[:1] >= b"\x80":
        return "beyond"
    if not run.isalnum():
        return None
    return "digits" if run.isdigit() else "letters" if run.isalpha() else "hex"


def _number(digits: list[int], radix: int) -> int:
    number = 0
    for digit in digits:
        number = number * radix + digit
    return number


def _digits(number: int, radix: int, size: int) -> list[int]:
    digits = [0] * size
    for place in range(size - 1, -1, -1):
        number, digits[place] = divmod(number, radix)
    return digits


def _is_mixed(text: bytes) -> bool:
    return not text.isdigit() and not text.isalpha()


@lru_cache(256)
def _table(key: bytes, radix: int, tweak: bytes) -> list[int]:
    """A permutation of the numbers below `radix`."""
    return sorted(
        range(radix), key=lambda number: hashlib.blake2b(tweak + b"|%d" % number, key=key, digest_size=16).digest()
    )
