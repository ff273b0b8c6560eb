"""What is kept of a log, and when it is believed."""

import random

import pytest
from support.random_logs import random_commands, write_log

import aofnb
from aofnb.forensics import parts

COMMANDS = random_commands(random.Random(1), 300)
ROWS = len(COMMANDS)


@pytest.fixture
def reads(monkeypatch):
    """How often bytes of a log were asked for."""
    made = []
    read = parts.PartFile.read
    monkeypatch.setattr(parts.PartFile, "read", lambda file, size: made.append(size) or read(file, size))
    return made


@pytest.fixture
def path(tmp_path):
    write_log(tmp_path / "x.aof", COMMANDS)
    return tmp_path / "x.aof"


def opened(path, **how):
    return aofnb.scan(path, cache_dir=path.parent / "cache", **how)


def test_the_index_is_had_without_reading(path, reads):
    first = opened(path).index()
    again = opened(path)
    reads.clear()
    assert (again.index(), len(again), again.position("end").seq) == (first, ROWS, ROWS)
    assert reads == []


def test_counting_keeps_the_index(path, reads):
    assert len(opened(path)) == ROWS
    again = opened(path)
    reads.clear()
    again.index()
    assert reads == []


def test_without_a_cache_nothing_is_kept(path, reads):
    aofnb.scan(path, cache_dir=False).index()
    again = aofnb.scan(path, cache_dir=False)
    reads.clear()
    again.index()
    assert reads


@pytest.mark.parametrize("change", ["grown", "cut", "other", "replaced"])
def test_the_index_of_other_bytes_is_not_believed(change, path):
    opened(path).index()
    data = path.read_bytes()
    if change == "grown":
        write_log(path.with_name("more"), random_commands(random.Random(2), 50))
        path.write_bytes(data + path.with_name("more").read_bytes())
    elif change == "cut":
        path.write_bytes(data[: data.index(b"\r\n*", len(data) // 2) + 2])
    elif change == "other":
        path.write_bytes(data.replace(b"SELECT\r\n$1\r\n1", b"SELECT\r\n$1\r\n9"))
    else:
        path.unlink()
        path.write_bytes(data + b"*2\r\n$3\r\nDEL\r\n$1\r\nk\r\n")
    assert opened(path).index() == aofnb.scan(path, cache_dir=False).index()


@pytest.mark.parametrize("change", ["byte", "cut", "empty", "of another log", "older"])
def test_what_is_kept_and_damaged_is_not_believed(change, path, reads):
    expected = opened(path).index()
    [file] = (path.parent / "cache").rglob("index")
    data = bytearray(file.read_bytes())
    if change == "byte":
        # Of the number of rows.
        data[data.index(b'"end"') + 15] ^= 1
    elif change == "of another log":
        write_log(path.with_name("y.aof"), [[b"SET", b"k", b"v"]])
        opened(path.with_name("y.aof")).index()
        [other] = [each for each in (path.parent / "cache").rglob("index") if each != file]
        data = other.read_bytes()
    elif change == "older":
        data = data[data.index(b"\n") + 1 :]
    else:
        data = data[: len(data) // 2 if change == "cut" else 0]
    file.write_bytes(data)
    again = opened(path)
    reads.clear()
    assert again.index() == expected
    assert reads


def test_rows_behind_damage_have_an_index_of_their_own(path):
    data = path.read_bytes()
    middle = data.index(b"\r\n*", len(data) // 2) + 2
    path.write_bytes(data[:middle] + bytes(100) + data[middle:])
    rows = {how: opened(path, on_bad=how).index().rows for how in ("truncate", "error", "resync", "truncate")}
    assert rows["truncate"] == rows["error"] < rows["resync"] == ROWS
    fresh = aofnb.scan(path, on_bad="resync", cache_dir=False).index()
    assert opened(path, on_bad="resync").index() == fresh
    assert fresh.damage


def test_damage_is_an_error_of_who_counts_whatever_is_kept(path):
    path.write_bytes(path.read_bytes()[:-3])
    log = opened(path)
    assert log.index().rows == ROWS
    for each in (log, opened(path)):
        with pytest.raises(aofnb.AofTruncatedError):
            len(each)
    assert len(opened(path, on_bad="truncate")) == ROWS
