import random

import pandas as pd
import pytest

import aofnb
from aofnb.forensics import waste
from aofnb.resp.encode import encode_command


def log_of(path, *lines):
    path.write_bytes(b"".join(encode_command(line.encode().split()) for line in lines))
    return aofnb.scan(path)


def nbytes(*lines):
    return sum(len(encode_command(line.encode().split())) for line in lines)


@pytest.mark.parametrize(
    ("lines", "dead"),
    [
        (["SET k 1", "SET k 2"], ["SET k 1"]),
        (["SET k 1", "INCR k"], []),
        (["SET k 1", "INCR k", "DEL k"], ["SET k 1", "INCR k", "DEL k"]),
        (["SET k 1", "SELECT 1", "SET k 1", "FLUSHDB"], ["SET k 1"]),
        (["SET k 1", "SELECT 1", "SET k 1", "FLUSHALL"], ["SET k 1", "SET k 1"]),
        (["SET k 1", "SWAPDB 0 1", "SET k 2"], []),
        (["SET k 1", "SWAPDB 0 1", "SELECT 1", "SET k 2"], ["SET k 1"]),
        (["SET k 1", "SET j 1", "RENAME k j", "DEL j"], ["SET k 1", "SET j 1", "DEL j", "RENAME k j"]),
        (["SADD a 1", "SUNIONSTORE b a a"], []),
        (["MULTI", "SET k 1"], ["MULTI", "SET k 1"]),
    ],
)
@pytest.mark.parametrize("by", ["template", "key", "cmd"])
def test_what_a_later_command_undid_is_dead(lines, dead, by, tmp_path):
    frame = log_of(tmp_path / "x.aof", *lines).waste(by=by)
    sums = frame.attrs["waste"]
    assert sums["bytes"] == frame["bytes"].sum() == nbytes(*lines)
    # Of a command with several keys a share is dead with each.
    most = nbytes(*dead) + (max(map(nbytes, lines)) if "SUNIONSTORE" in lines[-1] else 0)
    least = nbytes(*dead) - ("RENAME" in " ".join(dead))
    assert least <= sums["dead_bytes"] <= most


def test_the_worst_kind_of_key_comes_first(tmp_path):
    log = log_of(tmp_path / "x.aof", "SET a:1 x", *["SET b:2 x"] * 10, "SET b:3 x")
    frame = log.waste()
    assert frame.index.tolist() == ["b:{n}", "a:{n}"]
    assert frame.loc["b:{n}", "dead_bytes"] == 9 * nbytes("SET b:2 x")
    assert log.waste(by="key").index.tolist() == [b"b:2", b"a:1", b"b:3"]
    assert log.waste(by="cmd").index.tolist() == ["SET"]
    assert log.amplification() == pytest.approx(12 / 3)
    assert frame.attrs["waste"]["replay_s"] > 0


def test_an_empty_log_wastes_nothing(tmp_path):
    log = log_of(tmp_path / "x.aof")
    assert (len(log.waste()), log.amplification()) == (0, 1.0)
    with pytest.raises(ValueError, match="by= is 'template', 'key' or 'cmd'"):
        log.waste(by="colour")


@pytest.mark.parametrize("by", ["template", "key", "cmd"])
@pytest.mark.parametrize("seed", range(8))
def test_rows_at_once_add_up_to_what_rows_one_by_one_do(by, seed, tmp_path, monkeypatch):
    rng = random.Random(seed)

    def key():
        return f"{rng.choice('ab')}:{rng.randrange(9)}"

    shapes = [
        *[lambda: f"SET {key()} {'x' * rng.randrange(30)}"] * 6,
        *[lambda: f"HSET {key()} f v"] * 3,
        *[lambda: f"DEL {' '.join(key() for _ in range(rng.randrange(1, 5)))}"] * 2,
        lambda: f"MSET {key()} 1 {key()} 2",
        lambda: f"SUNIONSTORE {key()} {key()} {key()}",
        lambda: f"COPY {key()} {key()}",
        lambda: f"SMOVE {key()} {key()} m",
        lambda: f"NOSUCHCOMMAND {key()}",
        lambda: f"SELECT {rng.randrange(3)}",
        lambda: "MULTI",
        lambda: "EXEC",
        lambda: rng.choice([f"RENAME {key()} {key()}", "FLUSHDB", "FLUSHALL", "SWAPDB 0 1", "PUBLISH c m"]),
    ]
    log = log_of(tmp_path / "x.aof", *(rng.choice(shapes)() for _ in range(400)), "MULTI", "SET a:1 cut")
    frames = []
    for few in (1, 5, 10_000):
        monkeypatch.setattr(waste, "_FEW_ROWS", few)
        frames.append(log.waste(by=by))
    pd.testing.assert_frame_equal(frames[0], frames[2])
    pd.testing.assert_frame_equal(frames[1], frames[2])
    assert frames[2].dead_bytes.sum() > 0
