"""HyperLogLogs: bytes as the server keeps them, and estimates that are close."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aofnb.store import hyperloglog
from aofnb.store.hyperloglog import DENSE, DENSE_BYTES, REGISTERS, SPARSE, CorruptedError, HyperLogLog

offers = st.lists(st.tuples(st.integers(0, REGISTERS - 1), st.integers(1, 51)), max_size=60)


def empty(sparse_max_bytes=3000):
    return HyperLogLog(hyperloglog.new(), sparse_max_bytes)


def test_a_new_one_is_one_run_of_zeros():
    assert bytes(hyperloglog.new()) == b"HYLL\x01" + bytes(11) + b"\x7f\xff"


def test_an_element_lands_where_the_server_puts_it():
    """PFADD k a, then GET k, on redis-server 7.0.15."""
    hll = empty()
    assert hyperloglog.add(hll, [b"a"]) == 1
    assert hyperloglog.add(hll, [b"a"]) == 0
    assert bytes(hll.raw[16:]) == b"q\xa6\x84NW"


@given(offers)
def test_sparse_dense_and_a_plain_list_agree(pairs):
    sparse, dense, model = empty(1 << 20), empty(), bytearray(REGISTERS)
    dense.to_dense()
    for index, count in pairs:
        raises = count > model[index]
        model[index] = max(model[index], count)
        assert sparse.offer(index, count) is raises
        assert dense.offer(index, count) is raises
    assert sparse.registers() == dense.registers() == model
    assert hyperloglog.cardinality(model) >= bool(pairs)
    assert hyperloglog.is_hyperloglog(sparse.raw)
    assert hyperloglog.is_hyperloglog(dense.raw)
    if any(count > 32 for _, count in pairs):
        assert sparse.encoding == DENSE


def test_neighbours_of_one_value_become_one_run():
    hll = empty()
    for index in (0, 1, 2, 3, 4):
        hll.offer(index, 7)
    assert [(value, run) for _, value, run in hll.opcodes()][:2] == [(7, 4), (7, 1)]


def test_a_sparse_one_turns_dense_when_it_would_outgrow_the_limit():
    hll = empty(24)
    added = 0
    while hll.encoding == SPARSE:
        assert len(hll.raw) <= 24
        hll.offer(added * 1000, 3)
        added += 1
    assert len(hll.raw) == DENSE_BYTES
    assert sum(map(bool, hll.registers())) == added


def test_the_cache_is_valid_until_something_changes():
    hll = empty()
    assert hll.cached == 0
    hll.offer(5, 1)
    assert hll.cached is None
    hll.cache(12345)
    assert hll.cached == 12345
    hll.to_dense()
    assert hll.cached == 12345
    assert not hll.to_dense()
    hll.invalidate()
    assert hll.cached is None


@pytest.mark.parametrize("count", [0, 1, 10, 1000, 100_000])
def test_the_estimate_is_close(count):
    chance = random.Random(count)
    hll = empty()
    hll.to_dense()
    hyperloglog.add(hll, [b"%d" % chance.getrandbits(64) for _ in range(count)])
    assert abs(hyperloglog.cardinality(hll.registers()) - count) <= 0.025 * count


def test_a_union_counts_shared_elements_once():
    ours, theirs = empty(), empty()
    hyperloglog.add(ours, [b"%d" % i for i in range(100)])
    hyperloglog.add(theirs, [b"%d" % i for i in range(50, 150)])
    assert abs(hyperloglog.cardinality(hyperloglog.merge([ours, theirs])) - 150) <= 4


@pytest.mark.parametrize("runs", [b"", b"\x00", b"\x7f\xff\x01", b"\x7f"])
def test_runs_that_do_not_cover_the_registers_are_an_error(runs):
    hll = HyperLogLog(bytearray(b"HYLL\x01" + bytes(11) + runs), 3000)
    with pytest.raises(CorruptedError):
        hll.registers()
    with pytest.raises(CorruptedError):
        hll.to_dense()


def test_a_register_that_no_run_covers_cannot_be_raised():
    hll = HyperLogLog(bytearray(b"HYLL\x01" + bytes(11) + b"\x00"), 3000)
    with pytest.raises(CorruptedError):
        hll.offer(1, 1)


@pytest.mark.parametrize(
    "value", [b"", b"HYLL", b"HYLX\x01" + bytes(11), b"HYLL\x02" + bytes(11), b"HYLL\x00" + bytes(11)]
)
def test_other_strings_are_told_apart(value):
    assert not hyperloglog.is_hyperloglog(value)
