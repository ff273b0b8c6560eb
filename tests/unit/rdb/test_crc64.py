"""The checksum of snapshots: one sum, however it is reckoned and however the data is cut."""

from __future__ import annotations

import random

import pytest
from support.kernels import FORMS, kernel

from aofnb.rdb import crc64 as module
from aofnb.rdb.crc64 import crc64

KERNEL = "aofnb.rdb._crc64_cy"
DATA = random.Random(1).randbytes(200_001)


def bit_by_bit(data: bytes, crc: int = 0) -> int:
    """The definition: the polynomial from the low end."""
    for byte in data:
        crc ^= byte
        for _bit in range(8):
            crc = crc >> 1 ^ (0x95AC9329AC4BC9B5 if crc & 1 else 0)
    return crc


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 15, 16, 17, 1000])
def test_the_kernel_follows_the_definition(form: str, size: int) -> None:
    update = kernel(KERNEL, form).update
    assert update(DATA, 3, 3 + size, 12345) == bit_by_bit(DATA[3 : 3 + size], 12345)
    assert update(bytearray(DATA[:size]), 0, size, 2**64 - 1) == bit_by_bit(DATA[:size], 2**64 - 1)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("cut", [0, 1, 65_535, 65_536, 131_080, len(DATA)])
def test_data_may_come_in_pieces_of_any_kind(compiled: bool, cut: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the lanes of plain Python do it."""
    expected = kernel(KERNEL, "python").update(DATA, 0, len(DATA), 0)
    monkeypatch.setattr(module, "COMPILED", compiled)
    assert crc64(memoryview(DATA)[cut:], crc64(bytearray(DATA[:cut]))) == expected
