"""aofnb/aof/snapshot.py and its kernel: what a forked child writes, and what becomes of it."""

from __future__ import annotations

import errno
import io
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.require import need

from aofnb.aof import snapshot
from aofnb.aof.rewrite import BaseForm
from aofnb.aof.snapshot import (
    NotWalkableError,
    StoppedError,
    ended,
    fork_snapshot,
    layout,
    private_bytes,
    write_snapshot,
)
from aofnb.errors import AofError
from aofnb.rdb import RdbReader, base_aux, write_rdb
from aofnb.store.functions import parse_library
from aofnb.store.hash_value import HashValue
from aofnb.store.keyspace import Keyspace
from aofnb.store.list_value import ListValue
from aofnb.store.set_value import SetValue
from aofnb.store.stream import Group, Stream
from aofnb.store.values import Value
from aofnb.store.zset import SortedSet

FORM = BaseForm("rdb", 1_700_000_000)
FOREVER = 600_000_000


@pytest.fixture(autouse=True)
def _kernel() -> None:
    need("the compiled snapshot kernel", snapshot.available())


def keyspace_of(values: dict[bytes, Value]) -> Keyspace:
    keyspace = Keyspace(16, lambda: 0)
    keyspace.expiring = False
    for key, value in values.items():
        keyspace[0].put(key, value)
    return keyspace


def written(keyspace: Keyspace, path: Path, form: BaseForm = FORM) -> bytes:
    fork_snapshot(keyspace, str(path), form).wait()
    data = path.read_bytes()
    # Without a child it is the same.
    assert write_snapshot(keyspace, str(path), form) == (keyspace.key_count(), len(data))
    assert path.read_bytes() == data
    return data


@contextmanager
def running(path: Path, keys: int = 3) -> Iterator[snapshot.SnapshotChild]:
    """A child that rests behind its first key."""
    keyspace = keyspace_of({b"k%d" % i: b"v" for i in range(keys)})
    child = fork_snapshot(keyspace, str(path), BaseForm("rdb", key_save_delay=FOREVER))
    try:
        yield child
    finally:
        child.kill()
        with pytest.raises(AofError):
            child.wait()


def test_the_layout_is_that_of_the_classes():
    assert len(layout()) == sum(1 + len(names) for _, names in snapshot._SLOTS)
    with pytest.raises(TypeError, match="another number"):
        snapshot._snapshot_cy.start(0, 0, b"", [], (), True, True, 0, 0, True)
    with pytest.raises(TypeError, match="is no slot"):
        snapshot._snapshot_cy.start(0, 0, b"", [], tuple([property()] * len(layout())), True, True, 0, 0, True)


def test_what_is_not_kept_is_not_synced(tmp_path):
    """A pipe cannot be."""
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    keyspace = keyspace_of({b"k": b"v"})
    try:
        with pytest.raises(AofError, match="Invalid argument"):
            write_snapshot(keyspace, str(tmp_path / "pipe"), FORM)
        assert os.read(reader, 1 << 16) == written(keyspace, tmp_path / "file")
        keys, size = write_snapshot(keyspace, str(tmp_path / "pipe"), FORM, durable=False)
        assert (keys, size) == (1, len(os.read(reader, 1 << 16)))
    finally:
        os.close(reader)


STRINGS = [
    b"", b"0", b"-0", b"7", b"-128", b"127", b"128", b"-129", b"32767", b"-32768", b"32768", b"2147483647",
    b"-2147483648", b"2147483648", b"-2147483649", b"007", b"+1", b"-", b"1.0", b"12345678901", b"x" * 63, b"x" * 64,
    b"x" * 16383, b"x" * 16384, b"x" * (3 << 20),
]  # fmt: skip


def test_strings_take_the_bytes_that_our_writer_gives_them(tmp_path):
    keyspace = keyspace_of({b"key:" + value[:20]: value for value in STRINGS} | {b"raw": bytearray(b"edited in place")})
    for number, (key, _, _) in enumerate(list(keyspace[0].walk())):
        if number % 2:
            keyspace[0].set_deadline(key, 1_800_000_000_000 + number)
    for code in (
        b"#!lua name=one\nredis.register_function('f', f)",
        b"#!lua name=two\nredis.register_function('g', g)",
    ):
        library = parse_library(code)
        keyspace.functions[library.name] = library
    keyspace[9].put(b"other", b"database")
    ours = io.BytesIO()
    write_rdb(ours, keyspace, aux=base_aux(FORM.now_s, 0))
    assert written(keyspace, tmp_path / "a") == ours.getvalue()
    ours = io.BytesIO()
    write_rdb(ours, keyspace, aux=base_aux(FORM.now_s, 0), checksum=False)
    form = BaseForm("rdb", FORM.now_s, checksum=False)
    assert written(keyspace, tmp_path / "b", form) == ours.getvalue()


def test_an_empty_keyspace_is_an_empty_snapshot(tmp_path):
    ours = io.BytesIO()
    write_rdb(ours, Keyspace(16, lambda: 0), aux=base_aux(FORM.now_s, 0))
    assert written(Keyspace(16, lambda: 0), tmp_path / "a") == ours.getvalue()


@pytest.mark.parametrize("order", ["same", "other", "some"])
def test_every_key_has_its_own_deadline_whatever_their_order(tmp_path, order):
    keyspace = keyspace_of({b"k%d" % i: b"v" for i in range(500)})
    numbers = {"same": range(500), "other": range(499, -1, -1), "some": range(0, 500, 7)}[order]
    for i in numbers:
        # A key of its own, as a command brings it.
        keyspace[0].set_deadline(b"k" + b"%d" % i, 10**12 + i)
    data = written(keyspace, tmp_path / "a")
    found = {entry.key: entry.expire_ms for entry in RdbReader(io.BytesIO(data))}
    assert found == {b"k%d" % i: 10**12 + i if i in numbers else None for i in range(500)}


def large_stream() -> Stream:
    stream = Stream()
    for i in range(1, 1000):
        items = [b"f", b"v%d" % i, b"other", b"x" * (i % 5000)] if i % 3 else [b"f", b"v", b"h", b"1"]
        stream.append((i // 9 + 1, i), items, 100, 4096)
    stream.append((2**63 + 5, 1), [b"f", b"y" * 70_000], 100, 4096)
    stream.append((2**64 - 1, 2**64 - 2), [b"far", b"away"], 100, 4096)
    for i in range(1, 1000, 11):
        stream.delete((i // 9 + 1, i))
    group = stream.groups[b"g"] = Group((5, 1), -1)
    for name in (b"a", b"b"):
        group.create_consumer(name, 123)
    for i in range(200):
        group.assign((i // 9 + 1, i), group.consumers[b"a" if i % 2 else b"b"], 1_700_000_000_000 + i, i)
    stream.groups[b"empty"] = Group((0, 0), 7)
    return stream


# On both sides of each size that a packed score may have.
SCORES = [0.0, 1.0, -1.0, 127.0, 128.0, -128.0, -129.0, 8388607.0, -8388609.0, 2.0**47 - 1, -(2.0**47), 2.0**47, 0.1]


def test_containers_come_back(tmp_path):
    values: dict[bytes, Value] = {
        b"list": ListValue([b"%d" % i for i in range(1000)]),
        b"set": SetValue.of([b"m%d" % i for i in range(1000)]),
        b"ints": SetValue.of([b"%d" % i for i in range(100)]),
        b"hash": HashValue.of({b"f%d" % i: b"v" * i for i in range(700)}),
        b"zset": SortedSet.of({b"m%d" % i: i / 7 for i in range(300)} | {b"inf": float("inf"), b"low": -float("inf")}),
        b"few items": ListValue([b"one", b"", b"17", b"-5", b"x" * 255]),
        b"few fields": HashValue.of({b"f": b"v", b"": b"7", b"number": b"2147483647", b"e": b""}),
        b"few members": SortedSet.of({b"m%d" % i: score for i, score in enumerate(SCORES)} | {b"": 0.5}),
        b"stream": large_stream(),
        b"no entries": Stream(),
    }
    data = written(keyspace_of(values), tmp_path / "a")
    found: dict[bytes, Any] = {entry.key: entry.value for entry in RdbReader(io.BytesIO(data))}
    assert list(found[b"list"]) == list(values[b"list"])  # type: ignore[call-overload]
    assert list(found[b"few items"]) == list(values[b"few items"])  # type: ignore[call-overload]
    assert found[b"few fields"].fields == values[b"few fields"].fields  # type: ignore[union-attr]
    assert found[b"few members"].scores == values[b"few members"].scores  # type: ignore[union-attr]
    assert found[b"set"].members == values[b"set"].members  # type: ignore[union-attr]
    assert found[b"ints"].encoding == "intset"
    assert found[b"hash"].fields == values[b"hash"].fields  # type: ignore[union-attr]
    assert found[b"zset"].entries() == values[b"zset"].entries()  # type: ignore[union-attr]
    for key in (b"stream", b"no entries"):
        theirs, ours = found[key], values[key]
        assert isinstance(ours, Stream)
        theirs._check()
        assert list(theirs.range()) == list(ours.range())
        for name in ("length", "last_id", "max_deleted_id", "entries_added", "first_id"):
            assert getattr(theirs, name) == getattr(ours, name)
        assert theirs.groups.keys() == ours.groups.keys()
    theirs, ours = found[b"stream"].groups[b"g"], values[b"stream"].groups[b"g"]  # type: ignore[union-attr]
    pending = [
        [(i, p.consumer.name, p.delivered_ms, p.deliveries) for i, p in group.pel.items()] for group in (theirs, ours)
    ]
    assert pending[0] == pending[1]
    assert (theirs.last_id, theirs.entries_read, theirs.consumers[b"a"].seen_ms) == ((5, 1), -1, 123)


def test_the_child_sees_the_data_as_it_was(tmp_path):
    keyspace = keyspace_of({b"k%d" % i: b"before" for i in range(20_000)})
    child = fork_snapshot(keyspace, str(tmp_path / "a"), FORM)
    for i in range(20_000):
        keyspace[0].put(b"k%d" % i, b"after")
    keyspace[0].clear()
    child.wait()
    with open(tmp_path / "a", "rb") as file:
        assert {bytes(entry.value) for entry in RdbReader(file)} == {b"before"}  # type: ignore[arg-type]


@pytest.mark.parametrize("broken", ["value", "member", "score", "id"])
def test_a_value_that_the_kernel_does_not_know_is_said(tmp_path, broken):
    zset = SortedSet.of({b"m": 1.0})
    zset._unpack()[b"m"] = 1 if broken == "score" else 1.0
    stream = Stream()
    stream.append((1, 1), [b"f", b"v"], 100, 4096)
    if broken == "id":
        stream.nodes[0].ids[0] = (1.5, 1)  # type: ignore[assignment]
    fields: dict[Any, Any] = {b"f": "text" if broken == "member" else b"v"}
    hash_ = HashValue()
    hash_._data = fields
    values: dict[bytes, Any] = {b"z": zset, b"x": stream, b"h": hash_, b"v": object() if broken == "value" else b"v"}
    child = fork_snapshot(keyspace_of(values), str(tmp_path / "a"), FORM)
    with pytest.raises(NotWalkableError, match="does not know"):
        child.wait()
    with pytest.raises(NotWalkableError, match="does not know"):
        write_snapshot(keyspace_of(values), str(tmp_path / "b"), FORM)


@pytest.mark.parametrize("kind", [HashValue, ListValue, SortedSet])
@pytest.mark.parametrize("data", [b"\2\1a", b"\1\5a", b"\1\x81a", b"\0\1a\1b\0"])
def test_what_is_packed_wrongly_is_not_written(tmp_path, kind, data):
    value = kind()
    value._data = data
    child = fork_snapshot(keyspace_of({b"k": value}), str(tmp_path / "a"), FORM)
    with pytest.raises(NotWalkableError, match="does not know"):
        child.wait()


def test_a_full_disk_is_reported_with_its_reason(tmp_path):
    keyspace = keyspace_of({b"k%d" % i: b"x" * 1000 for i in range(5000)})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        child = fork_snapshot(keyspace, str(tmp_path / "a"), FORM)
        with pytest.raises(AofError, match="process could not write the base: File too large"):
            write_snapshot(keyspace, str(tmp_path / "b"), FORM)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    with pytest.raises(AofError, match="File too large") as caught:
        child.wait()
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.EFBIG


def test_a_child_keeps_no_file_of_its_parent(tmp_path):
    """Else the lock of a killed kernel's directory, and the port of its server, would live on in it."""
    need("/proc", os.path.isdir("/proc/self/fd"))
    reader, writer = os.pipe()
    with running(tmp_path / "a") as child:
        while not child.progress()[0]:
            pass
        held = {os.readlink(f"/proc/{child._pid}/fd/{fd}") for fd in os.listdir(f"/proc/{child._pid}/fd")}
        assert held == {str(tmp_path / "a")}
        os.close(writer)
        assert os.read(reader, 1) == b""
    os.close(reader)


def test_progress_and_the_end_of_a_killed_child(tmp_path):
    with running(tmp_path / "a") as child:
        while not child.progress()[0]:
            pass
        assert child.progress()[0] == 1
        os.kill(child._pid, signal.SIGSEGV)
    assert "status 3" in str(ended(3, "it", "x"))
    assert "nobody kept" in str(ended(None, "it", "x"))
    assert "killed by SIGKILL" in str(ended(-9, "it", "x"))
    assert "signal 250" in str(ended(-250, "it", "x"))
    assert isinstance(ended(-signal.SIGUSR1, "it", "x"), StoppedError)


def test_no_file_is_left_where_there_can_be_no_child(tmp_path, monkeypatch):
    def refuse(*_args: object) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(snapshot._snapshot_cy, "start", refuse)
    with pytest.raises(OSError, match="Resource"):
        fork_snapshot(keyspace_of({}), str(tmp_path / "a"), FORM)
    assert list(tmp_path.iterdir()) == []


def test_without_a_watch_on_processes_the_child_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    assert written(keyspace_of({b"k": b"v"}), tmp_path / "a").startswith(b"REDIS0010")


def test_memory_of_its_own_is_little(tmp_path):
    """The walk touches no count of references: a copy of a page for each would be most of the memory there is."""
    if not private_bytes(os.getpid()):
        pytest.skip("the system does not tell")
    keyspace = keyspace_of(
        {b"h%d" % i: HashValue.of({b"f%d" % j: b"v%d" % (i * j) for j in range(200)}) for i in range(500)}
    )
    child = fork_snapshot(keyspace, str(tmp_path / "a"), BaseForm("rdb", key_save_delay=1000))
    peak = 0
    while child.progress()[0] < 500:
        peak = max(peak, private_bytes(child._pid))
    child.wait()
    # About 25 MB are walked.
    assert 0 < peak < 4 << 20


@pytest.mark.parametrize(("incremental", "reason"), [(True, "Illegal seek"), (False, "Invalid argument")])
def test_pieces_are_written_back_on_the_way(tmp_path, incremental, reason):
    """A pipe can be written back in no way, so the error tells which was tried first."""
    if not sys.platform.startswith("linux"):
        pytest.skip("other systems sync the file as a whole")
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)
    keyspace = keyspace_of({b"k%d" % i: b"x" * 100_000 for i in range(50)})
    child = fork_snapshot(keyspace, str(path), BaseForm("rdb", incremental_fsync=incremental))
    size = 0
    while piece := os.read(reader, 1 << 20):
        size += len(piece)
    os.close(reader)
    with pytest.raises(AofError, match=reason):
        child.wait()
    assert size >= 4 << 20
