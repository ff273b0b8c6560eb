"""Shortcuts through the log against the long way: replay of everything."""

import gzip
import random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.long_way import examples, often, replayed, state
from support.random_logs import damages, harmed, random_commands, random_logs, seeds, write_log

import aofnb
from aofnb.errors import AofFormatError
from aofnb.forensics import travel
from aofnb.forensics.slicing import python_value
from aofnb.resp.encode import encode_command
from aofnb.store.digest import keyspace_digest

# How rows of damaged logs are numbered.
ON_BAD = ("resync", "truncate")


@examples(60)
@given(seed=seeds, data=st.data())
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


@examples(30)
@given(seed=seeds, data=st.data())
def test_checkpoints_give_what_replay_gives(seed, data, tmp_path_factory, small_segments, monkeypatch):
    often(monkeypatch)
    directory = tmp_path_factory.mktemp("log")
    commands = random_commands(random.Random(seed), 150)
    write_log(directory / "x.aof", commands)
    for cached in (False, directory / "cache", directory / "cache"):
        log = aofnb.scan(directory / "x.aof", cache_dir=cached)
        for seq in data.draw(st.lists(st.integers(0, len(commands)), min_size=2, max_size=5)):
            position = log.position(seq)
            ours = log.at(position).engine.keyspace
            assert keyspace_digest(ours) == keyspace_digest(replayed(log, position).engine.keyspace)


@examples(40)
@given(log=random_logs(150, with_base=True), data=st.data())
def test_behind_a_snapshot_all_shortcuts_give_what_replay_gives(
    log, data, tmp_path_factory, small_segments, monkeypatch
):
    """Its keys come as rows, but nothing can begin to read among them."""
    often(monkeypatch)
    directory = tmp_path_factory.mktemp("log")
    path = log.write(directory / "log")
    rows = len(aofnb.scan(path, cache_dir=False))
    frame = aofnb.scan(path, cache_dir=False).to_pandas(encoding=None)
    for cached in (False, directory / "cache", directory / "cache"):
        log = aofnb.scan(path, cache_dir=cached)
        for seq in data.draw(st.lists(st.integers(0, rows), min_size=2, max_size=4)):
            position = log.position(seq)
            assert log.position(str(position)) == position
            whole = replayed(log, position)
            assert keyspace_digest(log.at(position).engine.keyspace) == keyspace_digest(whole.engine.keyspace)
            key = data.draw(st.sampled_from([b"k0", b"k1", b"k2"]))
            assert log.get(key, at=position) == python_value(whole.engine.keyspace[0].lookup(key))
            part = log.to_pandas(start=seq, stop=min(seq + 20, rows), encoding=None)
            expected = frame.iloc[seq : seq + 20]
            for column in ("offset", "nbytes", "key", "db", "txn"):
                assert part[column].dropna().to_dict() == expected[column].dropna().to_dict()


@examples(40)
@given(seed=seeds, data=st.data())
def test_a_plan_tells_what_the_long_way_tells(seed, data, tmp_path_factory, small_segments, monkeypatch):
    often(monkeypatch)
    directory = tmp_path_factory.mktemp("log")
    commands = random_commands(random.Random(seed), 150)
    write_log(directory / "x.aof", commands)
    now = state(directory / "x.aof")
    framing = (b"MULTI", b"EXEC", b"SELECT")
    for cached in (False, directory / "cache", directory / "cache"):
        log = aofnb.scan(directory / "x.aof", cache_dir=cached)
        seq = data.draw(st.integers(0, len(commands) - 1))
        if commands[seq][0] in framing or data.draw(st.booleans()):
            plan, rest = log.recover(stop=seq), commands[:seq]
        else:
            plan, rest = log.recover(drop=seq), [*commands[:seq], *commands[seq + 1 :]]
        write_log(directory / "y.aof", rest)
        then = state(directory / "y.aof")
        expected = {key: "goes" for key in now if key not in then} | {
            key: "comes back" for key in then if key not in now
        }
        expected |= {key: "changes" for key in now if key in then and now[key] != then[key]}
        assert {(db, key): change for db, key, change in plan.found} == expected, seq


def test_what_damage_left_of_a_transaction_counts_in_a_checkpoint_right_behind_it(
    tmp_path, small_segments, monkeypatch
):
    often(monkeypatch)
    before = [[b"SET", b"k%d" % n, b"v" * 40] for n in range(9)] + [[b"MULTI"], [b"DEL", b"k1"]]
    content = [encode_command(argv) for argv in [*before, [b"SET", b"lost", b"1"], [b"FLUSHDB"], [b"SET", b"a", b"1"]]]
    content[len(before)] = content[len(before)].replace(b"$3", b"$x")
    (tmp_path / "x.aof").write_bytes(b"".join(content))
    behind = len(before)
    for cached in (False, tmp_path / "cache", tmp_path / "cache"):
        log = aofnb.scan(tmp_path / "x.aof", on_bad="resync", cache_dir=cached)
        # The first to be asked for is kept as a checkpoint before FLUSHDB.
        for seq, keys in ((behind, 8), (len(log), 1), (behind, 8)):
            assert log.at(seq).execute("DBSIZE") == keys


@examples(40)
@given(source=random_logs(150), hits=st.lists(damages, max_size=3), on_bad=st.sampled_from(ON_BAD), data=st.data())
def test_of_a_damaged_log_shortcuts_give_what_replay_gives(
    source, hits, on_bad, data, tmp_path_factory, small_segments, monkeypatch
):
    often(monkeypatch)
    directory = tmp_path_factory.mktemp("log")
    path = source.write(directory / "log", harmed(hits, data.draw(st.integers(0, len(source.files)))))
    log = aofnb.scan(path, on_bad=on_bad, cache_dir=False)
    frame = log.to_pandas(columns=["offset", "nbytes", "db", "txn", "key", "args", "status"], encoding=None)
    there = frame[frame["status"] != "truncated"]
    for event, argv in zip(log.postings().events(there.index.to_numpy()), there["args"], strict=True):
        # Of a snapshot those of keys are known, and not what selects the database of those behind.
        assert event.argv == list(argv) or (event.from_snapshot and argv[0] == b"SELECT")
    for cached in (False, directory / "cache", directory / "cache"):
        log = aofnb.scan(path, on_bad=on_bad, cache_dir=cached)
        rows = len(log)
        assert rows == len(frame)
        for seq in data.draw(st.lists(st.integers(0, rows), min_size=2, max_size=4)):
            position = log.position(seq)
            assert log.position(str(position)) == position
            part = log.to_pandas(start=seq, stop=min(seq + 20, rows), encoding=None, columns=list(frame))
            for column in frame:
                assert part[column].dropna().astype(str).to_dict() == (
                    frame[column].iloc[seq : seq + 20].dropna().astype(str).to_dict()
                )
            try:
                whole = replayed(log, position)
            except AofFormatError:
                # What is no command any more is run by neither.
                with pytest.raises(AofFormatError):
                    log.at(position)
                continue
            assert keyspace_digest(log.at(position).engine.keyspace) == keyspace_digest(whole.engine.keyspace)
            key = data.draw(st.sampled_from([b"k0", b"k1", b"k2"]))
            assert log.get(key, at=position) == python_value(whole.engine.keyspace[0].lookup(key))


def test_a_compressed_log_has_checkpoints_as_its_content_would(tmp_path, small_segments, monkeypatch):
    often(monkeypatch)
    monkeypatch.setattr(travel, "_WORTH_BYTES", 10_000)
    content = b"".join(encode_command([b"SET", b"k%d" % n, b"v" * 100]) for n in range(300))
    (tmp_path / "x.aof").write_bytes(gzip.compress(content))
    for _ in range(2):
        log = aofnb.scan(tmp_path / "x.aof", cache_dir=tmp_path / "cache")
        assert log.parts[0].size < 5000
        assert log.at("end").execute("DBSIZE") == 300
    assert log.checkpoints.before(300).mark.seq == 300


def test_no_checkpoint_is_made_to_be_let_go_of_at_once(tmp_path, small_segments, monkeypatch):
    often(monkeypatch)
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
    aofnb.scan(tmp_path / "x.aof", cache_dir=tmp_path / "cache").history("k")
    monkeypatch.setattr("aofnb.forensics.log.build_index", None)
    monkeypatch.setattr("aofnb.forensics.postings._read", None)
    again = aofnb.scan(tmp_path / "x.aof", cache_dir=tmp_path / "cache")
    assert (len(again.history("k")), again.index().rows, len(again)) == (100, 100, 100)


READS = """
TYPE {k}|OBJECT ENCODING {k}|MEMORY USAGE {k}|MEMORY USAGE {k} SAMPLES 0|PTTL {k}|EXISTS {k}|DUMP {k}
GET {k}|STRLEN {k}|GETRANGE {k} 0 3|GETBIT {k} 1|BITCOUNT {k}|MGET {k} k0|LCS {k} k1|HGETALL {k}|HLEN {k}|HGET {k} f1
HSCAN {k} 0|HSTRLEN {k} f1|LRANGE {k} 0 -1|LLEN {k}|LINDEX {k} 0|LPOS {k} v1|SMEMBERS {k}|SCARD {k}|SISMEMBER {k} f1
SSCAN {k} 0|SUNION {k} k2|SINTERCARD 2 {k} k3|ZRANGE {k} 0 -1 WITHSCORES|ZCARD {k}|ZSCORE {k} f1|ZRANK {k} f1
ZCOUNT {k} 1 2|ZDIFF 2 {k} k2 WITHSCORES|ZSCAN {k} 0|XRANGE {k} - +|XLEN {k}|XINFO STREAM {k} FULL|XPENDING {k} g
XREAD COUNT 3 STREAMS {k} 0|PFCOUNT {k}|GEOPOS {k} f1|SORT_RO {k} ALPHA|SCAN 0 TYPE hash|SCAN 0 TYPE zset|KEYS *|DBSIZE
"""


@examples(20)
@given(seed=seeds, data=st.data())
def test_values_that_are_made_when_asked_for_answer_as_others(
    seed, data, tmp_path_factory, small_segments, monkeypatch
):
    """By every family of commands, whichever of them is the first to ask; and a snapshot of them is the same."""
    often(monkeypatch)
    directory = tmp_path_factory.mktemp("log")
    rng = random.Random(seed)
    commands = [each for each in random_commands(rng, 200) if not each[0].startswith(b"FLUSH")]
    write_log(directory / "x.aof", commands)
    log = aofnb.scan(directory / "x.aof", cache_dir=directory / "cache")
    log.at("end").close()
    position = log.position(data.draw(st.integers(100, len(commands))))
    assume(log.checkpoints.before(position.seq) is not None)
    with pytest.MonkeyPatch.context() as patch:
        # Both go on from the same one: a string takes other memory where a command changed it than where it was loaded.
        patch.setattr(travel.Checkpoints, "wanted", lambda *_rows: iter(()))
        quick = log.at(position)
        load = travel.load_rdb
        patch.setattr(travel, "load_rdb", lambda *what, later, **how: load(*what, **how))
        whole = log.at(position)
    assert written(quick, directory / "quick.rdb") == written(whole, directory / "whole.rdb")
    reads = [line.format(k=f"k{n}") for shape in READS.split("\n") for line in shape.split("|") for n in range(6)]
    rng.shuffle(reads)
    for read in filter(None, reads):
        db = ["SELECT", str(rng.randrange(3))]
        assert repr(quick.run([db, read.split()])) == repr(whole.run([db, read.split()])), read
    assert written(quick, directory / "quick.rdb") == written(whole, directory / "whole.rdb")
    assert quick.execute("DEBUG", "DIGEST") == whole.execute("DEBUG", "DIGEST")


def written(store, path):
    """The data as a snapshot: by the kernel that walks it where it is, where there is one."""
    travel._write(store.engine.keyspace, path)
    with travel.pa.CompressedInputStream(str(path), travel._COMPRESSION) as file:
        return file.read()


@pytest.mark.parametrize("change", ["byte", "cut", "gone"])
def test_a_checkpoint_that_was_changed_is_not_believed(change, tmp_path, small_segments, monkeypatch):
    often(monkeypatch)
    write_log(tmp_path / "x.aof", [[b"SET", b"k", b"%03d" % n] for n in range(200)])
    aofnb.scan(tmp_path / "x.aof", cache_dir=tmp_path / "cache").at("end").close()
    again = aofnb.scan(tmp_path / "x.aof", cache_dir=tmp_path / "cache")
    found = again.checkpoints.before(150)
    path = again.cache.path / found.file
    data = bytearray(path.read_bytes())
    if change == "gone":
        path.unlink()
    else:
        data[len(data) // 2] ^= 1
        path.write_bytes(data[:-1] if change == "cut" else data)
    assert again.at(150).execute("GET", "k") == b"149"
    assert again.checkpoints.before(150) is not found


def test_the_end_is_kept_and_gone_on_from(tmp_path, small_segments, monkeypatch):
    often(monkeypatch)
    path = tmp_path / "x.aof"
    commands = random_commands(random.Random(2), 300)
    half = next(row for row in range(150, 200) if [b"MULTI"] not in commands[row - 9 : row])
    write_log(path, commands[:half])
    aofnb.scan(path, cache_dir=tmp_path / "cache").at("end").close()
    again = aofnb.scan(path, cache_dir=tmp_path / "cache")
    assert again.checkpoints.before(half).mark.seq == half
    write_log(path, commands)
    grown = aofnb.scan(path, cache_dir=tmp_path / "cache")
    assert grown.checkpoints.before(len(commands)).mark.seq == half
    for row in (half, half + 1, half + 50, len(commands)):
        position = grown.position(row)
        ours = grown.at(position).engine.keyspace
        assert keyspace_digest(ours) == keyspace_digest(replayed(grown, position).engine.keyspace)


def test_inside_a_transaction_nobody_goes_on(tmp_path, small_segments, monkeypatch):
    often(monkeypatch)
    path = tmp_path / "x.aof"
    commands = [[b"SET", b"k", b"%d" % n] for n in range(100)] + [[b"MULTI"]] + [[b"INCR", b"k"]] * 40
    write_log(path, commands)
    cut = aofnb.scan(path, on_bad="truncate", cache_dir=tmp_path / "cache")
    assert cut.at("end").execute("GET", "k") == b"99"
    assert cut.checkpoints.before(len(commands)).mark.seq <= 100
    write_log(path, [*commands, [b"EXEC"]])
    grown = aofnb.scan(path, cache_dir=tmp_path / "cache")
    assert grown.at("end").execute("GET", "k") == b"139"
