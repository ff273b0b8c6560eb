"""Shortcuts through the log against the long way: replay of everything."""

import random
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.random_logs import random_commands, write_log

import aofnb
from aofnb.forensics import travel
from aofnb.forensics.slicing import python_value
from aofnb.forensics.travel import empty_store, replay_into
from aofnb.store.digest import keyspace_digest


@pytest.fixture
def small_segments(monkeypatch):
    from aofnb.forensics import postings, rows

    monkeypatch.setattr(postings, "_SEGMENT_ROWS", 16)
    monkeypatch.setattr(rows, "_MARK_ROWS", 8)
    monkeypatch.setattr(rows, "scan_file", partial(rows.scan_file, chunk_bytes=256))


def replayed(log, position):
    store = empty_store(log, position.ts)
    replay_into(store, log, position)
    return store


@settings(max_examples=60)
@given(seed=st.integers(0, 1 << 32), data=st.data())
def test_a_slice_gives_what_replay_gives(seed, data, tmp_path_factory, small_segments):
    path = tmp_path_factory.mktemp("log") / "x.aof"
    commands = random_commands(random.Random(seed), 120)
    write_log(path, commands)
    log = aofnb.scan(path)
    for _ in range(4):
        position = log.position(data.draw(st.integers(0, len(commands))))
        whole = replayed(log, position)
        for db in range(3):
            for key in (b"k0", b"k1", b"k2"):
                expected = python_value(whole.engine.keyspace[db].lookup(key))
                assert log.get(key, db=db, at=position) == expected, (position.seq, db, key)


@settings(max_examples=30)
@given(seed=st.integers(0, 1 << 32), data=st.data())
def test_checkpoints_give_what_replay_gives(seed, data, tmp_path_factory, small_segments, monkeypatch):
    for name in ("_EVERY_BYTES", "_EVERY_ROWS", "_BEFORE_FLUSH_BYTES"):
        monkeypatch.setattr(travel, name, 100)
    directory = tmp_path_factory.mktemp("log")
    commands = random_commands(random.Random(seed), 150)
    write_log(directory / "x.aof", commands)
    for cached in (False, directory / "cache", directory / "cache"):
        log = aofnb.scan(directory / "x.aof", cache_dir=cached)
        for seq in data.draw(st.lists(st.integers(0, len(commands)), min_size=2, max_size=5)):
            position = log.position(seq)
            ours = log.at(position).engine.keyspace
            assert keyspace_digest(ours) == keyspace_digest(replayed(log, position).engine.keyspace)


def test_no_checkpoint_is_made_to_be_let_go_of_at_once(tmp_path, small_segments, monkeypatch):
    for name in ("_EVERY_BYTES", "_EVERY_ROWS", "_BEFORE_FLUSH_BYTES"):
        monkeypatch.setattr(travel, name, 100)
    # Of what never shrinks, and can hardly be compressed, few snapshots are as large as the log.
    rng = random.Random(1)
    write_log(tmp_path / "x.aof", [[b"SET", b"%d" % n, rng.randbytes(50) + b"v" * 50] for n in range(300)])
    log = aofnb.scan(tmp_path / "x.aof", cache_dir=tmp_path / "cache")
    log.at(300).close()
    made = []
    write = travel._write
    monkeypatch.setattr(travel, "_write", lambda *a: made.append(1) or write(*a))
    for _ in range(2):
        made.clear()
        for seq in (40, 120, 160, 220, 260, 290):
            store = log.at(seq)
            assert store.execute("DBSIZE") == seq
            store.close()
    assert made == []
    assert 1 < len(log.checkpoints._known) < 10


@pytest.mark.parametrize("first", [0, 1, 30, 149])
def test_a_log_that_grew_is_read_on(first, tmp_path, small_segments):
    """What is kept of its beginning is believed; postings and slices are those of a log read at once."""
    commands = random_commands(random.Random(first), 150)
    write_log(tmp_path / "x.aof", commands[:first])
    aofnb.scan(tmp_path / "x.aof", cache_dir=tmp_path / "cache").postings()
    with open(tmp_path / "x.aof", "ab") as file:
        write_log(tmp_path / "more", commands[first:])
        file.write((tmp_path / "more").read_bytes())
    grown = aofnb.scan(tmp_path / "x.aof", cache_dir=tmp_path / "cache")
    fresh = aofnb.scan(tmp_path / "x.aof", cache_dir=False)
    for key in (b"k0", b"k5", b"nothing"):
        assert grown.postings().rows_of(key).tolist() == fresh.postings().rows_of(key).tolist()
    assert grown.postings().barriers == fresh.postings().barriers
    rows = range(len(commands))
    assert grown.postings().events(rows) == fresh.postings().events(rows)
    assert [event.argv for event in grown.postings().events(rows)] == commands
    assert (grown.index().end, grown.index().databases) == (fresh.index().end, fresh.index().databases)


def test_a_log_that_was_changed_is_read_anew(tmp_path, small_segments):
    write_log(tmp_path / "x.aof", [[b"SET", b"k", b"%03d" % n] for n in range(100)])
    first = aofnb.scan(tmp_path / "x.aof", cache_dir=tmp_path / "cache")
    assert first.get("k") == b"099"
    write_log(tmp_path / "x.aof", [[b"SET", b"j", b"%03d" % n] for n in range(120)])
    again = aofnb.scan(tmp_path / "x.aof", cache_dir=tmp_path / "cache")
    assert (again.get("k"), again.get("j")) == (None, b"119")
    again.cache.clear()
    assert not [each for each in (tmp_path / "cache").rglob("*") if each.is_file()]


def test_what_is_kept_spares_reading(tmp_path, monkeypatch):
    write_log(tmp_path / "x.aof", [[b"SET", b"k", b"%d" % n] for n in range(100)])
    aofnb.scan(tmp_path / "x.aof", cache_dir=tmp_path / "cache").postings()
    monkeypatch.setattr("aofnb.forensics.log.build_index", None)
    again = aofnb.scan(tmp_path / "x.aof", cache_dir=tmp_path / "cache")
    assert (len(again.history("k")), again.index().rows, len(again)) == (100, 100, 100)
