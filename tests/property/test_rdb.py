"""What is written is read back; damaged bytes are refused, never misread and never an accident."""

from __future__ import annotations

import io
import math
import random
import struct
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st
from support.require import need
from support.values import int64s, keyspace, keyspaces, scores, texts_, values

from aofnb.aof import snapshot
from aofnb.aof.rewrite import BaseForm
from aofnb.aof.snapshot import fork_snapshot
from aofnb.config import Config
from aofnb.errors import RdbError
from aofnb.rdb import RdbReader, base_aux, dump_payload, load_payload, load_rdb, rdb_pieces, write_rdb
from aofnb.rdb.crc64 import crc64
from aofnb.rdb.listpack import decode_intset, decode_listpack, encode_intset, encode_listpack, texts
from aofnb.rdb.lzf import compress, decompress
from aofnb.rdb.primitives import length, string
from aofnb.rdb.source import Source
from aofnb.rdb.ziplist import decode_ziplist, decode_zipmap
from aofnb.store.hash_value import HashValue
from aofnb.store.keyspace import Keyspace
from aofnb.store.list_value import ListValue
from aofnb.store.set_value import SetValue
from aofnb.store.stream import Stream
from aofnb.store.values import Value
from aofnb.store.zset import SortedSet


def plain(value: Value) -> object:
    """Everything about `value` that must survive, in a form that compares."""
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    if isinstance(value, ListValue):
        return list(value)
    if isinstance(value, HashValue):
        return value.encoding, dict(value.items())
    if isinstance(value, SetValue):
        return value.encoding, set(value.members)
    if isinstance(value, SortedSet):
        return value.encoding, [(struct.pack("<d", score), member) for score, member in value.entries()]
    assert isinstance(value, Stream)
    groups = {
        name: (
            group.last_id,
            group.entries_read,
            [(i, p.consumer.name, p.delivered_ms, p.deliveries) for i, p in group.pel.items()],
            [(c.name, c.seen_ms) for c in group.sorted_consumers()],
        )
        for name, group in value.groups.items()
    }
    numbers = (value.length, value.last_id, value.max_deleted_id, value.entries_added)
    return list(value.range()), numbers, groups


# --- the parts ---------------------------------------------------------------------------------------------------


def bit_by_bit(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte
        for _bit in range(8):
            crc = crc >> 1 ^ (0x95AC9329AC4BC9B5 if crc & 1 else 0)
    return crc


@given(st.binary(max_size=200), st.data())
def test_the_checksum_is_that_of_its_definition_and_goes_on(data, draw):
    cut = draw.draw(st.integers(0, len(data)))
    assert crc64(data) == bit_by_bit(data) == crc64(memoryview(data)[cut:], crc64(data[:cut]))


def test_the_checksum_of_much_is_that_of_its_parts():
    data = random.Random(1).randbytes(200_003)
    crc = 0
    for at in range(0, len(data), 1000):
        crc = crc64(data[at : at + 1000], crc)
    assert crc64(data) == crc


@given(texts_, st.integers(0, 30))
def test_what_is_compressed_comes_back_and_is_as_short_as_promised(data, slack):
    limit = len(data) - 4 + slack
    packed = compress(data, limit)
    if packed is not None:
        assert len(packed) <= limit
        assert decompress(packed, len(data)) == data


@given(st.binary(max_size=60), st.integers(0, 6000))
def test_bytes_that_nobody_compressed_become_what_they_say_or_are_refused(data, size):
    with suppress(RdbError):
        assert len(decompress(data, size)) == size


@given(st.lists(texts_, max_size=20))
def test_listpacks_come_back(items):
    blob = encode_listpack(items)
    assert texts(decode_listpack(blob)) == items
    assert len(blob) == int.from_bytes(blob[:4], "little")


@given(st.sets(int64s, min_size=1))
def test_intsets_come_back(numbers):
    assert list(decode_intset(encode_intset(sorted(numbers)))) == sorted(numbers)


@given(st.integers(0, 2**64 - 1), texts_, st.booleans())
def test_lengths_and_strings_come_back(number, text, compressed):
    source = Source.of(length(number) + string(text, compressed) + b"x")
    assert (source.length(), source.string(), source.left) == (number, text, 1)


@given(st.binary(max_size=80), st.sampled_from([decode_listpack, decode_ziplist, decode_zipmap, decode_intset]))
def test_any_bytes_are_a_container_or_refused(body, decode):
    for blob in (body, struct.pack("<I", len(body) + 7) + struct.pack("<H", 65535) + body + b"\xff", body + b"\xff"):
        with suppress(RdbError):
            decode(blob)


# --- values, whole files -----------------------------------------------------------------------------------------


@given(values)
def test_a_value_comes_back_from_its_payload(value):
    payload = dump_payload(value)
    again = load_payload(payload)
    assert plain(again) == plain(value)
    if isinstance(again, Stream | SortedSet | SetValue | HashValue | ListValue):
        again._check()
    assert dump_payload(again) == payload


@given(values, st.data())
def test_a_damaged_payload_with_a_right_checksum_is_a_value_or_refused(value, data):
    body = bytearray(dump_payload(value)[:-10])
    for _change in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body)))
        body[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    body += b"\x0a\x00"
    payload = bytes(body) + crc64(body).to_bytes(8, "little")
    try:
        again = load_payload(payload)
    except RdbError:
        return
    assert plain(load_payload(dump_payload(again))) == plain(again)


@given(values, st.data())
def test_a_payload_with_a_changed_byte_is_refused(value, data):
    payload = bytearray(dump_payload(value))
    payload[data.draw(st.integers(0, len(payload) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        load_payload(bytes(payload))
    except RdbError:
        return
    raise AssertionError("it was accepted")


def dumped(space: Keyspace) -> list[tuple[int, bytes, object, int | None]]:
    return sorted(
        ((db.index, key, plain(value), deadline) for db in space for key, value, deadline in db.walk()),
        key=lambda row: row[:2],
    )


@given(keyspaces, st.booleans(), st.booleans(), st.binary(max_size=20))
def test_a_keyspace_comes_back_from_its_snapshot(content, compressed, checksum, behind):
    space = keyspace(content)
    out = io.BytesIO()
    size = write_rdb(out, space, compressed=compressed, checksum=checksum, aux=[(b"a", b"1")])
    assert size == len(out.getvalue())
    again = Keyspace(16, lambda: 0)
    again.expiring = False
    loaded = load_rdb(io.BytesIO(out.getvalue() + behind), again)
    assert dumped(again) == dumped(space)
    assert (loaded.end, loaded.keys, loaded.aux) == (size, space.key_count(), ((b"a", b"1"),))


@given(keyspaces, st.data())
def test_a_snapshot_cut_anywhere_is_refused(content, data):
    snapshot = b"".join(piece for _, piece in rdb_pieces(keyspace(content)))
    cut = data.draw(st.integers(0, len(snapshot) - 1))
    try:
        list(RdbReader(io.BytesIO(snapshot[:cut])))
    except RdbError as problem:
        assert problem.offset is not None
        assert problem.offset <= cut
        return
    raise AssertionError("it was read to the end")


@given(st.lists(texts_, min_size=1, max_size=40), st.integers(-5, 20))
def test_lists_come_back_however_they_are_cut_into_nodes(items, fill):
    config = Config({"list-max-listpack-size": fill})
    assert list(load_payload(dump_payload(ListValue(items), config))) == items  # type: ignore[arg-type]


@given(scores)
def test_scores_come_back_to_the_bit_but_for_the_sign_of_zero(score):
    for member in (b"m", b"m" * 65):
        again = load_payload(dump_payload(SortedSet.of({member: score})))
        assert isinstance(again, SortedSet)
        found = again.score(member)
        assert found == score
        if score or len(member) > 64:
            assert math.copysign(1, found) == math.copysign(1, score)


@given(keyspaces, st.booleans())
def test_the_snapshot_of_a_forked_child_holds_what_ours_does(tmp_path_factory, content, checksum):
    need("the compiled snapshot kernel", snapshot.available())
    space = keyspace(content)
    path = tmp_path_factory.mktemp("snapshot") / "base.rdb"
    child = fork_snapshot(space, str(path), BaseForm("rdb", 1, checksum=checksum))
    child.wait()
    assert child.progress() == (space.key_count(), path.stat().st_size)
    loaded, expected = io.BytesIO(), Keyspace(16, lambda: 0)
    write_rdb(loaded, space, aux=base_aux(1, 0))
    again = Keyspace(16, lambda: 0)
    again.expiring = expected.expiring = False
    with path.open("rb") as file:
        found = load_rdb(file, again)
    ours = load_rdb(io.BytesIO(loaded.getvalue()), expected)
    assert dumped(again) == dumped(expected) == dumped(space)
    assert (found.keys, found.aux) == (ours.keys, ours.aux)
