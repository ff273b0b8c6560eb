"""Estimated times against logs whose times are known: never worse than the bound, and good where deadlines are many."""

import io
import random
from collections import defaultdict
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.long_way import examples
from support.random_logs import PACKINGS, write_manifest

import aofnb
from aofnb.clock import FakeClock
from aofnb.forensics import times
from aofnb.forensics.analysis import deadline_of
from aofnb.forensics.parts import Part
from aofnb.forensics.reading import Report
from aofnb.forensics.roles import template
from aofnb.rdb.writer import write_rdb
from aofnb.resp.encode import encode_command
from aofnb.store.keyspace import Keyspace

START_MS = 1_790_000_000_000


def records_of(rng, rows=400, annotated=0.0, xadd=0.0, deadlines=0.1, kinds=2, jitter=False, ttls=()):
    """Records of commands, each another, annotations in front, with bursts and pauses; the time of each in ms."""
    ttls = ttls or [
        rng.choice([1000, 30_000, 60_000, 3_600_000, 86_400_000, rng.randrange(500, 10**7)]) for _ in range(kinds)
    ]
    now, second, last_id, times, records = START_MS, -1, 0, [], []
    for row in range(rows):
        now += rng.choice([0, 0, 1, 5, 20, 2000 if rng.random() < 0.05 else 0])
        note = b""
        # A server that annotates does so whenever the second changes.
        if now // 1000 != second and (second >= 0 or rng.random() < annotated):
            second = now // 1000
            note = b"#TS:%d\r\n" % second
        chance = rng.random()
        if chance < deadlines:
            kind = rng.randrange(kinds)
            ttl = ttls[kind] + (rng.randrange(5000) if jitter and kind == 0 else 0)
            argv = [b"SET", b"kind%s:%d" % (b"abc"[kind : kind + 1], row), b"v", b"PXAT", b"%d" % (now + ttl)]
        elif chance < deadlines + xadd and now > last_id:
            last_id = now
            argv = [b"XADD", b"events", b"%d-0" % now, b"f", b"v"]
        else:
            argv = [b"INCRBY", b"n", b"%d" % row]
        records.append(note + encode_command(argv))
        times.append(now)
    return records, np.array(times)


def simulated(path, *args, **kwargs):
    """Write such a log; the time of each row in ms."""
    records, times = records_of(*args, **kwargs)
    path.write_bytes(b"".join(records))
    return times


simulations = st.fixed_dictionaries(
    {
        "rng": st.integers(0, 1 << 32).map(random.Random),
        "annotated": st.sampled_from([0.0, 0.0, 0.02, 1.0]),
        "xadd": st.sampled_from([0.0, 0.05]),
        "deadlines": st.sampled_from([0.0, 0.01, 0.1, 0.5]),
    }
)


@examples(60)
@given(how=simulations, late_ms=st.sampled_from([0, 100, 60_000]), early_ms=st.sampled_from([0, 3000]))
def test_an_estimate_is_never_worse_than_its_bound(how, late_ms, early_ms, tmp_path_factory):
    path = tmp_path_factory.mktemp("log") / "x.aof"
    truth = simulated(path, **how)
    mtime, ctime = (int(truth[-1]) + late_ms) / 1000, (int(truth[0]) - early_ms) / 1000
    frame = aofnb.scan(path).infer_time(mtime=mtime, ctime=ctime)
    assert frame.time_err.notna().all()
    assert (errors(frame, truth) <= bounds(frame) + 1).all()


def errors(frame, truth):
    return np.abs(frame.time.astype("int64").to_numpy() - truth)


def bounds(frame):
    return frame.time_err.astype("int64").to_numpy()


@examples(40)
@given(
    how=simulations,
    cuts=st.lists(st.integers(0, 100), max_size=3).map(sorted),
    base=st.sampled_from([None, 0, 3000]),
    packing=st.sampled_from(sorted(PACKINGS)),
    hits=st.lists(st.tuples(st.integers(0, 99), st.integers(1, 3)), max_size=3),
    on_bad=st.sampled_from(["resync", "truncate"]),
    late_ms=st.sampled_from([None, 0, 60_000]),
    asked_before=st.sampled_from(["nothing", "index", "all"]),
)
def test_no_bound_is_broken_by_files_a_base_or_damage(
    how, cuts, base, packing, hits, on_bad, late_ms, asked_before, tmp_path_factory
):
    """What stands in front of damage is known, and not that no other second began in it."""
    home = tmp_path_factory.mktemp("log")
    records, truth = records_of(rows=100, **how)
    when = {record.partition(b"*")[2]: int(ms) for record, ms in zip(records, truth, strict=True)}
    for row, count in hits:
        records[row : row + count] = [bytes(len(record)) for record in records[row : row + count]]
    entries = []
    if base is not None:
        entries.append(("x.aof.1.base.rdb", "b"))
        (home / "x.aof.1.base.rdb").write_bytes(PACKINGS[packing](snapshot_made_at(int(truth[0]) - base)))
    for number, (begin, end) in enumerate(pairwise([0, *cuts, len(records)]), 1):
        entries.append((f"x.aof.{number}.incr.aof", "i"))
        (home / entries[-1][0]).write_bytes(PACKINGS[packing](b"".join(records[begin:end])))
    write_manifest(home, entries)
    log = aofnb.scan(home, on_bad=on_bad, cache_dir=home / "cache")
    if asked_before == "index":
        log.index()
    elif asked_before == "all":
        log.to_pandas()
        log = aofnb.scan(home, on_bad=on_bad, cache_dir=home / "cache")
    frame = log.to_pandas(columns=["part", "args", "status"], encoding=None)
    frame = log.infer_time(frame, mtime=None if late_ms is None else (int(truth[-1]) + late_ms) / 1000)
    of_base = frame.part.astype(str).str.endswith("rdb")
    assert set(frame.time_src[of_base]) <= {"snapshot"}
    live = frame[~of_base & (frame.status != "truncated")]
    known = [when.get(encode_command(list(argv)).partition(b"*")[2]) for argv in live["args"]]
    live = live[np.array([ms is not None for ms in known], bool)]
    bounded = live.time_err.notna().to_numpy()
    assert bounded.all() or base is None
    live, known = live[bounded], np.array([ms for ms in known if ms is not None], np.int64)[bounded]
    assert (errors(live, known) <= bounds(live) + 1).all()


def snapshot_made_at(ms):
    """Of keys whose deadlines go up, as if each was set later than the one before."""
    snapshot, keyspace = io.BytesIO(), Keyspace(16, lambda: 0)
    for number in range(9):
        keyspace[0].put(b"kinda:%d" % number, b"v")
        keyspace[0].set_deadline(b"kinda:%d" % number, ms + 10**7 + 5000 * number)
    write_rdb(snapshot, keyspace, aux=[(b"ctime", b"%d" % (ms // 1000))])
    return snapshot.getvalue()


@pytest.mark.parametrize("share", [0.01, 0.08])
def test_with_round_ttls_the_median_error_is_below_a_second(share, tmp_path):
    truth = simulated(tmp_path / "x.aof", random.Random(5), rows=20_000, deadlines=share, ttls=[60_000, 3_600_000])
    frame = aofnb.scan(tmp_path / "x.aof").infer_time(mtime=int(truth[-1]) / 1000 + 1, ctime=int(truth[0]) / 1000 - 1)
    assert np.median(np.abs(frame.time.astype("int64").to_numpy() - truth)) < 1000
    assert {"deadline", "interpolated"} <= set(frame.time_src)


def test_annotations_bound_everything_to_a_second(tmp_path):
    truth = simulated(tmp_path / "x.aof", random.Random(1), annotated=1.0, deadlines=0.0)
    frame = aofnb.scan(tmp_path / "x.aof").infer_time()
    assert (frame.time_err <= pd.Timedelta("1s")).all()
    assert (np.abs(frame.time.astype("int64").to_numpy() - truth) <= 1000).all()


@pytest.mark.parametrize("on_bad", ["resync", "truncate"])
def test_damage_may_have_taken_an_annotation(on_bad, tmp_path):
    """In the same file, or at the end of the one before."""
    argvs = [[b"SET", b"k", b"%d" % number] for number in range(4)]
    seconds = range(1_790_000_000, 1_790_000_400, 100)
    records = [b"#TS:%d\r\n" % second + encode_command(argv) for second, argv in zip(seconds, argvs, strict=True)]
    records[1] = bytes(len(records[1]))
    records[2] = encode_command(argvs[2])
    for number, content in enumerate((records[:2] + records[2:3], records[2:3], records[3:]), 1):
        (tmp_path / f"x.aof.{number}.incr.aof").write_bytes(b"".join(content))
    write_manifest(tmp_path, [(f"x.aof.{number}.incr.aof", "i") for number in (1, 2, 3)])
    log = aofnb.scan(tmp_path, on_bad=on_bad, cache_dir=False)
    frame = log.infer_time(log.to_pandas(columns=["args", "status"]))
    for row in frame[frame.status != "truncated"].itertuples():
        off = abs(row.time - pd.Timestamp(seconds[int(row.args[2])], unit="s", tz="UTC"))
        assert off <= row.time_err <= pd.Timedelta("201s")


def test_jittered_deadlines_are_left_aside(tmp_path):
    truth = simulated(tmp_path / "x.aof", random.Random(2), rows=2000, deadlines=0.2, kinds=1, jitter=True)
    frame = aofnb.scan(tmp_path / "x.aof").infer_time(mtime=int(truth[-1]) / 1000, ctime=int(truth[0]) / 1000)
    assert "deadline" not in set(frame.time_src)


def test_a_log_that_says_nothing_has_no_times(tmp_path):
    (tmp_path / "x.aof").write_bytes(encode_command([b"INCR", b"n"]) * 3)
    log = aofnb.scan(tmp_path / "x.aof")
    frame = log.infer_time()
    assert frame.time.isna().all()
    assert frame.time_err.isna().all()
    assert set(frame.time_src) == {"none"}
    with pytest.raises(ValueError, match="nothing in the log tells a time"):
        log.position("~2026-11-20 14:03")


def test_positions_by_time_are_estimated_only_where_asked_for(tmp_path):
    truth = simulated(tmp_path / "x.aof", random.Random(3), rows=2000, xadd=0.3, deadlines=0.0)
    log = aofnb.scan(tmp_path / "x.aof")
    for row in (100, 900, 1900):
        moment = datetime.fromtimestamp(int(truth[row]) / 1000, UTC)
        assert abs(log.position(f"~{moment.isoformat()}").seq - row) < 50
        assert log.position(moment) == log.position("end")


def test_times_are_columns_of_read_aof(tmp_path):
    simulated(tmp_path / "x.aof", random.Random(4), rows=50, xadd=0.5)
    frame = aofnb.read_aof(tmp_path / "x.aof", columns=["time", "cmd", "time_src", "time_err"])
    assert list(frame.columns) == ["time", "cmd", "time_src", "time_err"]
    assert str(frame.time.dtype) == "datetime64[ms, UTC]"
    chunks = aofnb.read_aof(tmp_path / "x.aof", columns=["time"], chunksize=20)
    assert pd.concat(chunks).time.equals(frame.time)


MS = st.integers(1_790_000_000_000, 1_790_000_100_000)
ODD_NUMBERS = st.sampled_from(["0", "-5", "+1790000000000", "x", "1" * 30])
NUMBERS = MS.map(str) | MS.map(lambda ms: str(ms // 1000)) | ODD_NUMBERS
IDS = MS.map(lambda ms: f"{ms}-0") | st.sampled_from(["1-1", "*", "x-1", "1790000000000-x"])
KEY = st.sampled_from(["a:1", "a:2", "b", "\xff1"])
OPTIONS = st.sampled_from(["PXAT", "pxat", "EXAT", "EX", "NX", "KEEPTTL", "ABSTTL", "MAXLEN", "~", "10", "LIMIT"])
TIMED = st.one_of(
    st.tuples(st.sampled_from(["PEXPIREAT", "EXPIREAT", "pexpireat"]), KEY, NUMBERS),
    st.tuples(st.just("PEXPIREAT"), KEY),
    st.tuples(st.just("SET"), KEY, st.sampled_from(["v", "PXAT"]), OPTIONS, NUMBERS),
    st.tuples(st.just("SET"), KEY, st.just("v"), OPTIONS, OPTIONS, NUMBERS),
    st.tuples(st.just("GETEX"), KEY, OPTIONS, NUMBERS),
    st.tuples(st.just("RESTORE"), KEY, NUMBERS, st.just("dump"), OPTIONS),
    st.builds(lambda key, words, id_: ("XADD", key, *words, id_, "f", "v"), KEY, st.lists(OPTIONS, max_size=7), IDS),
    st.tuples(st.just("XADD"), KEY),
)


@given(st.lists(TIMED, max_size=30))
def test_what_commands_say_of_time_is_found_at_once_as_one_by_one(tmp_path_factory, commands):
    path = tmp_path_factory.mktemp("said") / "x.aof"
    argvs = [[word.encode("latin-1") for word in words] for words in commands]
    path.write_bytes(b"".join(map(encode_command, argvs)))
    expected = defaultdict(list)
    for seq, argv in enumerate(argvs):
        name = argv[0].upper().decode()
        if name == "XADD":
            match = next((found for word in argv[2:] if (found := times._ID.fullmatch(word))), None)
            ms, kind = None if match is None else int(match[1]), argv[1]
        else:
            ms, kind = deadline_of(argv), template(argv[1].decode("utf-8", "backslashreplace"))
        if ms is not None and times._PLAUSIBLE[0] <= ms <= times._PLAUSIBLE[1]:
            expected[name, kind].append((seq, ms))
    found = times._said(aofnb.scan(path, cache_dir=False), Report(), None)
    assert sorted(list(zip(kind.rows.tolist(), kind.ms.tolist(), strict=True)) for kind in found) == sorted(
        expected.values()
    )


def test_a_base_without_keys_says_when_the_log_began(tmp_path):
    with aofnb.open(tmp_path, clock=FakeClock(now_ms=START_MS)) as store:
        store.execute("SET", "k", "v")
    frame = aofnb.scan(tmp_path).infer_time(mtime=START_MS / 1000 + 60)
    assert frame.time_err.max() <= pd.Timedelta("61s")
    assert (frame.time >= pd.Timestamp(START_MS, unit="ms", tz="UTC")).all()


def test_times_are_found_in_one_pass(tmp_path, monkeypatch):
    simulated(tmp_path / "x.aof", random.Random(6), annotated=0.1, xadd=0.1)
    opened = []
    monkeypatch.setattr(Part, "open", lambda part, open_=Part.open: opened.append(part.name) or open_(part))
    aofnb.scan(tmp_path / "x.aof", cache_dir=False).times()
    assert opened == ["x.aof"]


def test_a_row_with_an_estimate_has_a_source(tmp_path):
    simulated(tmp_path / "x.aof", random.Random(1), annotated=0.02, jitter=True)
    frame = aofnb.scan(tmp_path / "x.aof").infer_time()
    assert not (frame["time"].notna() & (frame["time_src"] == "none")).any()
