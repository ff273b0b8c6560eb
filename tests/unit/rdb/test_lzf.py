"""Compressed strings: the kernel, compiled or not, and the form for plain Python do the same, to data and to damage."""

from __future__ import annotations

import random

import pytest
from support.kernels import FORMS, kernel

from aofnb.errors import RdbError
from aofnb.rdb import lzf

KERNEL = "aofnb.rdb._lzf_cy"


def texts() -> list[bytes]:
    rng = random.Random(1)
    made = []
    for size in (0, 1, 2, 3, 4, 21, 22, 40, 300, 3000, 20_000):
        made += [
            rng.randbytes(size),
            bytes(rng.choices(b"ab", k=size)),
            (b"again and again %d " % size * size)[:size],
            bytes(rng.choices(range(32), k=size)),
            b"x" * size,
        ]
    return made


def compressed_by(module, data: bytes, limit: int) -> bytes | None:
    room = bytearray(max(0, limit))
    size = module.compress(data, room)
    return None if size < 0 else bytes(room[:size])


@pytest.mark.parametrize("form", FORMS)
def test_the_kernel_compresses_to_the_same_bytes(form: str) -> None:
    module = kernel(KERNEL, form)
    for data in texts():
        for limit in (len(data) - 4, len(data), len(data) // 2, len(data) + 10):
            packed = lzf._compress(data, limit)
            assert compressed_by(module, data, limit) == packed
            if packed is not None:
                assert len(packed) <= limit
                room = bytearray(len(data))
                assert module.decompress(packed, room) == len(data)
                assert room == data
                assert lzf._decompress(packed, len(data)) == (room, len(data))


def test_what_earlier_strings_were_is_forgotten() -> None:
    data = b"abcdefgh" * 20
    expected = lzf._compress(data, 100)
    for other in (data, data[1:], b"", data[::-1]):
        lzf.compress(other, 100)
        assert lzf.compress(data, 100) == expected


@pytest.mark.parametrize("form", FORMS)
def test_both_find_the_same_damage(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lzf, "kernel", kernel(KERNEL, form))
    rng = random.Random(2)
    whole = [(packed, len(data)) for data in texts() if (packed := lzf._compress(data, len(data) - 4))]
    refused = 0
    for _ in range(2000):
        packed, size = rng.choice(whole)
        damaged = bytearray(packed[: rng.randrange(len(packed)) + 1])
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        outcomes = []
        for decompress in (lzf._decompress_in_c, lzf._decompress):
            try:
                out, done = decompress(bytes(damaged), size)
                outcomes.append((bytes(out[:done]), done))
            except RdbError as problem:
                outcomes.append(str(problem))
        assert outcomes[0] == outcomes[1]
        refused += isinstance(outcomes[0], str)
    assert refused > 500
