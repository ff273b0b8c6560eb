"""The checksum of snapshots, many bytes at a time."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aofnb.forensics import checksum
from aofnb.rdb.crc64 import crc64

sums = st.integers(0, 2**64 - 1)


@given(st.binary(min_size=8, max_size=300), sums)
def test_blocks_give_what_bytes_give(data, crc):
    assert checksum._block(memoryview(data), crc) == crc64(data, crc)


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("size", [0, 1, 2047, 2048, 2049, 1 << 18, (1 << 18) + 1, 600_000])
def test_any_number_of_bytes(size, fast, monkeypatch):
    monkeypatch.setattr(checksum.plain, "FAST", fast)
    data = random.Random(size).randbytes(size)
    assert checksum.crc64(memoryview(data), size) == crc64(data, size)
