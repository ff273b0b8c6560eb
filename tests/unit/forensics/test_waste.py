import pytest

import aofnb
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
