"""Runs for other runs of the same kind and length."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aofnb.forensics import permutation
from aofnb.forensics.permutation import BEYOND, DIGITS, HEX, LETTERS, NIBBLES, Permutation

KEY = bytes(range(16))
HEXES = b"0123456789abcdef"


def becomes(words, kind, key=KEY):
    """What becomes of words, all at once."""
    data = np.frombuffer(b"".join(words), np.uint8)
    sizes = np.fromiter(map(len, words), np.int64, len(words))
    made = Permutation(key).of(data, np.full(len(words), kind, np.uint8), sizes).tobytes()
    ends = np.cumsum(sizes).tolist()
    return [made[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


def all_words(alphabet, size):
    return [*map(bytes, itertools.product(alphabet, repeat=size))]


DOMAINS = [
    (DIGITS, b"0123456789", 1),
    (DIGITS, b"0123456789", 4),
    (LETTERS, bytes(range(97, 123)), 3),
    (BEYOND, bytes(range(128, 256)), 2),
]


@pytest.mark.parametrize("small", [permutation._SMALL, 0])
@pytest.mark.parametrize(("kind", "alphabet", "size"), DOMAINS)
def test_a_domain_is_permuted(kind, alphabet, size, small, monkeypatch):
    """Where it is shuffled, and where it goes through the rounds."""
    monkeypatch.setattr(permutation, "_IS_SMALL", permutation._IS_SMALL & (small > 0))
    words = all_words(alphabet, size)
    made = becomes(words, kind)
    assert sorted(made) == words
    if kind == DIGITS:
        assert all((old[:1] == b"0") == (new[:1] == b"0") for old, new in zip(words, made, strict=True))
    if size > 1:
        assert sum(old == new for old, new in zip(words, made, strict=True)) < 12


def test_rounds_are_what_they_are_called():
    """What CPython, whose hash of bytes is SipHash-1-3 from 3.11 on, says with PYTHONHASHSEED=7."""
    key = np.frombuffer(bytes.fromhex("3d0e6f80a174c8124f78d2f9d2890a47"), "<u8").astype(np.uint64)
    first, last = np.frombuffer(bytes(range(15)) + b"\x0f", "<u8").astype(np.uint64)
    assert permutation._siphash(key, np.array([first]), np.array([last])).tolist() == [0x1517E7DC54A43F5B]


@given(st.lists(st.text("0123456789abcdef", min_size=8, max_size=70).map(str.encode), min_size=1, unique=True))
def test_hexadecimal_words_keep_digits_and_letters(words):
    words = [word for word in words if not word.isdigit() and not word.isalpha()] or [b"12345678a"]
    made = becomes(words, HEX)
    assert [*map(len, made)] == [*map(len, words)]
    assert len({*made}) == len(words)
    for word in made:
        assert {*word} <= {*HEXES}
        assert not word.isdigit()
        assert not word.isalpha()


def test_what_has_rarely_both_goes_on_until_it_does():
    """Of numbers with one letter, which many words of eight characters become that have none."""
    words = [b"%07da" % number for number in range(5000)] + [b"abcdef%dc" % digit for digit in range(10)]
    made = becomes(words, HEX)
    assert len({*made}) == len(words)
    assert not any(word.isdigit() or word.isalpha() for word in made)


@pytest.mark.parametrize(
    ("kind", "alphabet"), [(kind, alphabet) for kind, alphabet, _size in DOMAINS] + [(NIBBLES, HEXES)]
)
def test_every_character_becomes_every_other(kind, alphabet):
    """About as often as any: also where words differ little."""
    size = 20
    words = [
        (b"%c" % alphabet[-1]) * 14 + bytes(six)
        for six in itertools.islice(itertools.product(alphabet, repeat=6), 20_000)
    ]
    found = np.frombuffer(b"".join(becomes(words, kind)), np.uint8).reshape(-1, size)
    for place in range(10, size):
        counts = np.unique(found[:, place], return_counts=True)[1]
        assert len(counts) == len(alphabet)
        chi_square = ((counts - len(words) / len(alphabet)) ** 2).sum() / (len(words) / len(alphabet))
        assert chi_square < 4 * len(alphabet) + 20


def test_many_become_what_each_becomes(monkeypatch):
    words = [b"%d" % (7**number) for number in range(8, 60)]
    alone = [becomes([word], DIGITS)[0] for word in words]
    assert becomes(words, DIGITS) == alone
    monkeypatch.setattr(permutation, "_TOGETHER", 5)
    assert becomes(words, DIGITS) == alone
    assert not {*becomes(words, DIGITS, KEY[::-1])} & {*alone}


def test_numbers_become_what_runs_become():
    numbers = np.arange(0, 10**6, 997)
    made = Permutation(KEY).of_numbers(numbers, 6).tolist()
    assert [b"%06d" % number for number in made] == becomes([b"%06d" % number for number in numbers.tolist()], DIGITS)


def test_capitals_stay():
    assert [char < 97 for char in becomes([b"userName"], LETTERS)[0]] == [char < 97 for char in b"userName"]
    made = becomes([b"0123ABCD4567EF89" * 2], HEX)[0]
    assert made == made.upper()
