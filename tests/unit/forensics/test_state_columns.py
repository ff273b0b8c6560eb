"""A keyspace in columns is the same when it comes back: what it holds, in which order, and how it is encoded."""

import io

import pyarrow as pa
import pytest

import aofnb
from aofnb.config import Config
from aofnb.forensics import state_columns
from aofnb.forensics.state_columns import load_columns, write_columns
from aofnb.rdb import write_rdb
from aofnb.store.hash_value import HashValue
from aofnb.store.keyspace import Keyspace

COMMANDS = [
    "SET s v", "PEXPIREAT s 9999999999999", "SET empty {}", "HSET h a 1 b 2 {} {}", "RPUSH l 1 2 3", "SADD i 3 1 2",
    f"HSET long f {'x' * 100}", "SADD t a b", "APPEND s w", "ZADD z 1.5 a -inf b", "SET last v PXAT 9999999999998",
    "XADD x 1-1 f v", "XGROUP CREATE x g 0", "XREADGROUP GROUP g c STREAMS x >", "SELECT 3", "HSET late f v g w",
    "HPEXPIRE late 9999999 FIELDS 1 f", "SET other w", f"HSET shrunk f {'x' * 100} g v", "HDEL shrunk f", "SELECT 5",
    "HSET only f v", "PEXPIRE only 9999999",
]  # fmt: skip
LIBRARY = "#!lua name=lib\nredis.register_function('f', function() return 1 end)"


@pytest.fixture
def keyspace():
    with aofnb.open(None) as store:
        for command in COMMANDS:
            store.execute(*["" if word == "{}" else word for word in command.split()])
        store.execute("FUNCTION", "LOAD", LIBRARY)
        yield store.engine.keyspace


def columns_of(keyspace):
    file = io.BytesIO()
    write_columns(pa.PythonFile(file), keyspace)
    return file.getvalue()


def loaded(columns):
    keyspace = Keyspace(16, lambda: 0)
    load_columns(pa.BufferReader(columns), keyspace, Config())
    return keyspace


def snapshot(keyspace):
    file = io.BytesIO()
    write_rdb(file, keyspace)
    return file.getvalue()


@pytest.mark.parametrize("batch", [1, 2, 5, 1 << 16])
def test_what_comes_back_is_the_same(batch, keyspace, monkeypatch):
    monkeypatch.setattr(state_columns, "_BATCH", batch)
    again = loaded(columns_of(keyspace))
    assert snapshot(again) == snapshot(keyspace)
    assert [db.keys() for db in again] == [db.keys() for db in keyspace]
    assert again.next_deadline_ms() == keyspace.next_deadline_ms()
    assert again[3].next_field_deadline_ms() == keyspace[3].next_field_deadline_ms() is not None
    assert again.functions["lib"].code == keyspace.functions["lib"].code


def test_an_encoding_stays_that_a_snapshot_would_change(keyspace):
    shrunk = keyspace[3].peek(b"shrunk")
    assert (len(shrunk), shrunk.encoding) == (1, "hashtable")
    again = loaded(columns_of(keyspace))[3].peek(b"shrunk")
    assert (again.fields, again.encoding) == (shrunk.fields, "hashtable")


def test_a_listpack_stays_one_whatever_the_limits_are():
    fields = {b"%d" % n: b"x" * 100 for n in range(1000)}
    value = HashValue.restored(fields.copy(), True)
    value._check()
    assert (value.fields, value.encoding) == (fields, "listpack")


def test_an_empty_keyspace_comes_back():
    assert loaded(columns_of(Keyspace(16, lambda: 0))).key_count() == 0
