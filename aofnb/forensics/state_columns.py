"""A keyspace in the columns of Arrow: a checkpoint of a process without the kernel that writes snapshots.

As Python, writing a snapshot takes as long as replaying half of the log, and reading it as much again. Arrow makes
bytes of objects, and objects of bytes, many at a time: strings and hashes, which most keys are, take half and a quarter
of that. All other values, and function libraries, are a snapshot behind the columns.

Rules of this file: keys keep their order; nobody changes the keyspace while it is written; what is read is known to be
what was written (`travel` keeps a checksum).
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any, BinaryIO

import pyarrow as pa

from aofnb.config import Config
from aofnb.rdb import load_rdb
from aofnb.rdb.writer import write_rdb
from aofnb.store.hash_value import HashValue
from aofnb.store.keyspace import Database, Keyspace

__all__ = ["load_columns", "write_columns"]

# So many keys are on their way at once: what is made of them should fit into the processor's cache.
_BATCH = 1 << 13
# Instead of how many fields there are, where the value is in the snapshot.
_ELSEWHERE = -1
_TEXTS = pa.large_list(pa.large_binary())
# A row is a run of keys of a database. `value` is null where it is no string. For each value that is none: `count`, the
# fields of a hash. For each hash: `compact`, whether it is a listpack; then `field` and `held`, those of one hash after
# the other. In the first row of a database are all its deadlines.
_SCHEMA = pa.schema(
    {
        "db": pa.int64(),
        "key": _TEXTS,
        "value": _TEXTS,
        "count": pa.large_list(pa.int64()),
        "compact": pa.large_list(pa.bool_()),
        "field": _TEXTS,
        "held": _TEXTS,
        "volatile": _TEXTS,
        "expire_ms": pa.large_list(pa.int64()),
    }
)


def write_columns(file: pa.NativeFile, keyspace: Keyspace) -> int:
    """Write `keyspace` to `file`; how many bytes that is."""
    others = Keyspace(len(keyspace), keyspace.now_ms)
    others.functions = keyspace.functions
    nbytes = 0
    with pa.ipc.new_stream(file, _SCHEMA) as stream:
        for db in keyspace:
            for batch in _batches(db, others[db.index]):
                stream.write_batch(batch)
                nbytes += batch.nbytes
    return nbytes + write_rdb(file, others, checksum=False)


def load_columns(file: BinaryIO, keyspace: Keyspace, config: Config) -> None:
    """Put what `write_columns` wrote into `keyspace`, which is empty."""
    others = Keyspace(len(keyspace), keyspace.now_ms)
    deadlines: list[tuple[Database, list[bytes], list[int]]] = []
    with pa.ipc.open_stream(file) as stream:
        for batch in stream:
            db = keyspace[batch.column(0)[0].as_py()]
            keys, values, *hashes, volatile, when_ms = (column.flatten().to_pylist() for column in batch.columns[1:])
            made = _hashes(*hashes)
            db.replace_many([(key, next(made) if value is None else value) for key, value in zip(keys, values)])
            deadlines.append((db, volatile, when_ms))
    snapshot = file.read()
    load_rdb(io.BytesIO(snapshot), others, len(snapshot), config=config, verify_checksum=False)
    keyspace.functions.update(others.functions)
    for other in others:
        db = keyspace[other.index]
        for key, value, _deadline in other.walk():
            # It has its place among the others already.
            db.put(key, value)
            db.watch_fields(key, value)
    for db, volatile, when_ms in deadlines:
        for key, when in zip(volatile, when_ms):
            db.set_deadline(key, when)


def _batches(db: Database, others: Database) -> Iterator[pa.RecordBatch]:
    """All keys of `db`; those whose values have no place in the columns go to `others`, too."""
    data, expires = db.tables()
    rest, deadlines = iter(data.items()), list(expires.items())
    while run := list(islice(rest, _BATCH)):
        hashes: list[HashValue] = []
        counts: list[int] = []
        for key, value in run:
            if type(value) is bytes:
                continue
            if type(value) is HashValue and value.deadlines is None:
                hashes.append(value)
                counts.append(len(value))
            else:
                others.put(key, value)
                others.watch_fields(key, value)
                counts.append(_ELSEWHERE)
        fields = [value.fields for value in hashes]
        columns: tuple[Sequence[Any], ...] = (
            [key for key, _value in run],
            [value if type(value) is bytes else None for _key, value in run],
            counts,
            [value.is_compact for value in hashes],
            list(chain.from_iterable(fields)),
            list(chain.from_iterable([each.values() for each in fields])),
            [key for key, _when_ms in deadlines],
            [when_ms for _key, when_ms in deadlines],
        )
        lists = [
            pa.LargeListArray.from_arrays([0, len(column)], pa.array(column, field.type.value_type))
            for column, field in zip(columns, list(_SCHEMA)[1:], strict=True)
        ]
        # All are in the first row of a database.
        deadlines = []
        yield pa.record_batch([pa.array([db.index], pa.int64()), *lists], _SCHEMA)


def _hashes(counts: list[int], compact: list[bool], fields: list[bytes], held: list[bytes]) -> Iterator[Any]:
    """The hashes of a batch; None for each value that is elsewhere."""
    pairs, are_compact = zip(fields, held, strict=True), iter(compact)
    for count in counts:
        yield None if count == _ELSEWHERE else HashValue.restored(dict(islice(pairs, count)), next(are_compact))
