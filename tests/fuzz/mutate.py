"""Bytes made of other bytes: what a target is fed with where no coverage-guided fuzzer is installed, and beside one."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from tests.fuzz.targets import Target

__all__ = ["mutated"]


def mutated(rng: random.Random, seeds: list[bytes], target: Target, longest: int = 1 << 15) -> bytes:
    """One of `seeds`, changed in one to eight places."""
    data = bytearray(rng.choice(seeds))
    for _ in range(1 << rng.randrange(4)):
        if not data:
            data += rng.randbytes(rng.randrange(1, 20))
        at = rng.randrange(len(data))
        rng.choice(_MUTATIONS)(rng, data, at, seeds, target)
    return target.mend(bytes(data[:longest]))


_Mutation = Callable[[random.Random, bytearray, int, list[bytes], Target], None]


def _flip(rng: random.Random, data: bytearray, at: int, _seeds: list[bytes], _target: Target) -> None:
    data[at] ^= 1 << rng.randrange(8)


def _set(rng: random.Random, data: bytearray, at: int, _seeds: list[bytes], _target: Target) -> None:
    data[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, 0x2A, 0x24, rng.randrange(256)))


def _remove(rng: random.Random, data: bytearray, at: int, _seeds: list[bytes], _target: Target) -> None:
    del data[at : at + rng.choice((1, 1, 2, 8, rng.randrange(1, 200)))]


def _repeat(rng: random.Random, data: bytearray, at: int, _seeds: list[bytes], _target: Target) -> None:
    piece = data[at : at + rng.choice((1, 8, 60, 300))]
    data[at:at] = piece * rng.choice((1, 1, 2, 9))


def _word(rng: random.Random, data: bytearray, at: int, _seeds: list[bytes], target: Target) -> None:
    word = rng.choice(target.words)
    data[at : at + rng.choice((0, len(word)))] = word


def _splice(rng: random.Random, data: bytearray, at: int, seeds: list[bytes], _target: Target) -> None:
    other = rng.choice(seeds)
    start = rng.randrange(len(other)) if other else 0
    data[at:at] = other[start : start + rng.choice((4, 30, 200, 2000))]


def _cut(_rng: random.Random, data: bytearray, at: int, _seeds: list[bytes], _target: Target) -> None:
    del data[at:]


def _number(rng: random.Random, data: bytearray, _at: int, _seeds: list[bytes], _target: Target) -> None:
    """Another decimal number in the place of one that is there."""
    numbers = [match.span() for match in re.finditer(rb"[0-9]+", data[:4000])]
    if numbers:
        start, end = rng.choice(numbers)
        old = int(data[start : min(end, start + 20)])
        new = rng.choice((old + 1, max(0, old - 1), 0, old * 10, 2**31 - 1, 2**63 - 1, 2**64))
        data[start:end] = b"%d" % new


def _argument(rng: random.Random, data: bytearray, _at: int, _seeds: list[bytes], target: Target) -> None:
    """Another argument in a record, with the header that it needs."""
    headers = [match.span() for match in re.finditer(rb"\$([0-9]{1,4})\r\n", data)]
    if headers:
        start, end = rng.choice(headers)
        length = int(data[start + 1 : end - 2])
        number = b"%d" % rng.choice((-1, 0, 1, 2**63, -(2**63)))
        new = rng.choice((rng.choice(target.words), b"", number, rng.randbytes(9)))
        data[start : end + length] = b"$%d\r\n%b" % (len(new), new)


_MUTATIONS: tuple[_Mutation, ...] = (
    _flip, _flip, _set, _set, _remove, _repeat, _word, _word, _splice, _cut, _number, _argument,
)  # fmt: skip
