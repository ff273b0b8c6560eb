"""Odd and damaged files: we load what redis-server 7.0.15 loads, to the same data, and refuse what it refuses.

Where the outcomes differ on purpose, the test says what the real server does.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from support.keyspaces import content
from support.require import need
from support.server import available, redis_server, start_fails
from support.snapshots import RDB

import aofnb
from aofnb.aof.check import check
from aofnb.errors import AofnbError
from aofnb.rdb import base_aux, rdb_pieces
from aofnb.store.keyspace import Keyspace

pytestmark = pytest.mark.server

BASE, INCR = "appendonly.aof.1.base.aof", "appendonly.aof.1.incr.aof"
MANIFEST = f"file {BASE} seq 1 type b\nfile {INCR} seq 1 type i\n"


def record(*argv: bytes) -> bytes:
    return b"*%d\r\n" % len(argv) + b"".join(b"$%d\r\n%b\r\n" % (len(arg), arg) for arg in argv)


A, B, C = (record(b"SET", key, b"v") for key in (b"a", b"b", b"c"))
LIST = record(b"RPUSH", b"l", b"x")
MULTI, EXEC = record(b"MULTI"), record(b"EXEC")


@pytest.fixture(autouse=True)
def _server() -> None:
    need("redis-server", available())


def make(root: Path, incr: bytes, base: bytes = b"") -> Path:
    log = root / "appendonlydir"
    log.mkdir(parents=True)
    (log / BASE).write_bytes(base)
    (log / INCR).write_bytes(incr)
    (log / "appendonly.aof.manifest").write_text(MANIFEST)
    return root


def both(tmp_path: Path, incr: bytes, base: bytes = b"") -> tuple[Path, Path]:
    ours = make(tmp_path / "ours", incr, base)
    return ours, shutil.copytree(ours, tmp_path / "theirs")


def incr_of(root: Path) -> bytes:
    return (root / "appendonlydir" / INCR).read_bytes()


LOADED_BY_BOTH = {
    "empty": b"",
    "header ends in LF": b"*3\n$3\nSET\r\n$1\nk\r\n$1\nv\r\n",
    "letters behind the count": b"*3abc\r\n$3xyz\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n",
    "blanks and a sign": b"* +3\r\n$ 3\r\nSET\r\n$01\r\nk\r\n$1\r\nv\r\n",
    "a length without digits is 0": b"*3\r\n$3\r\nSET\r\n$abc\r\n\r\n$1\r\nv\r\n",
    "no CRLF behind arguments": b"*3\r\n$3\r\nSETxx$1\r\nkyy$1\r\nvzz",
    "CRLF in a value": record(b"SET", b"k", b"a\r\n*1\r\n$4\r\nPING\r\n"),
    "annotations": b"#\r\n#TS:1\n# anything at all\r\n" + A + b"#TS:2\r\n",
    "longest annotation": b"#" + b"x" * 1021 + b"\n" + A,
    "annotation inside MULTI": MULTI + A + b"#TS:1\r\n" + B + EXEC,
    "database per file": record(b"SELECT", b"3") + A,
    "names in any case": b"".join(record(*argv) for argv in ([b"mUlTi"], [b"sEt", b"k", b"v"], [b"eXeC"])),
    "a command that fails": LIST + record(b"INCR", b"l") + A,
    "EXEC alone": EXEC + A,
    "MULTI in MULTI": MULTI + A + MULTI + B + EXEC + C,
    "empty transaction": MULTI + EXEC + A,
    "reads": record(b"GET", b"a") + A,
    "blocking on nothing": record(b"BLPOP", b"nothing", b"0") + A,
    "relative deadline long ago": A + record(b"PEXPIREAT", b"a", b"4102444800000"),
    "cut in the last argument": A + B[:-3],
    "cut before the last LF": A + B[:-1],
    "cut in a header": A + B[:6],
    "a star alone": A + b"*",
    "a count without line end": A + b"*3",
    "a length of more than the file": A + b"*1\r\n$100000\r\nabc\r\n",
    "a count of more than the file": A + b"*100000\r\n$1\r\na\r\n",
    "MULTI without EXEC": A + MULTI + B + C,
}


@pytest.mark.parametrize("name", LOADED_BY_BOTH)
def test_both_load_it_to_the_same_data_and_leave_the_same_file(name: str, tmp_path: Path) -> None:
    ours, theirs = both(tmp_path, LOADED_BY_BOTH[name], base=record(b"SELECT", b"5") + C)
    with aofnb.open(ours) as store:
        mine = content(store)
    with redis_server(theirs) as server:
        expected = content(server)
    assert mine == expected
    assert incr_of(ours) == incr_of(theirs)


REFUSED_BY_BOTH = {
    "count 0": A + b"*0\r\n" + B,
    "negative count": A + b"*-1\r\n" + B,
    "count without digits": A + b"*abc\r\n" + B,
    "count beyond 31 bits": A + b"*2147483648\r\n" + B,
    "blank line": A + b"\r\n" + B,
    "zero bytes at the end": A + b"\0" * 16,
    "inline command": A + b"PING\r\n" + B,
    "garbage": A + b"garbage" + B,
    "no length": A + b"*1\r\n:4\r\nPING\r\n",
    "annotation inside a record": b"*3\r\n$3\r\nSET\r\n#TS:1\r\n$1\r\nk\r\n$1\r\nv\r\n",
    "header too long": A + b"*3" + b" " * 1100 + b"\r\n" + B,
    "annotation too long": A + b"#" + b"x" * 1022 + b"\n" + B,
    "CRs lost": A.replace(b"\r", b""),
    "unknown command": A + record(b"NOSUCH", b"k") + B,
    "unknown command in MULTI": A + MULTI + record(b"NOSUCH", b"k") + EXEC,
    "negative length (they crash)": A + b"*1\r\n$-5\r\nab\r\n" + B,
}


@pytest.mark.parametrize("name", REFUSED_BY_BOTH)
def test_both_refuse_it_and_leave_the_file_as_it_is(name: str, tmp_path: Path) -> None:
    data = REFUSED_BY_BOTH[name]
    ours, theirs = both(tmp_path, data)
    with pytest.raises(AofnbError, match=INCR.replace(".", r"\.")):
        aofnb.open(ours)
    assert incr_of(ours) == data
    status, _ = start_fails(theirs)
    assert status != 0


@pytest.mark.parametrize("tail", [B[:-1], MULTI + B, MULTI + B + C[:9]])
def test_both_refuse_a_cut_tail_where_cutting_is_forbidden(tail: bytes, tmp_path: Path) -> None:
    ours, theirs = both(tmp_path, A + tail)
    with pytest.raises(aofnb.AofTruncatedError):
        aofnb.open(ours, aof_load_truncated=False)
    assert incr_of(ours) == A + tail
    assert start_fails(theirs, aof_load_truncated="no")[0] == 1
    assert incr_of(theirs) == A + tail


# --- on purpose otherwise ------------------------------------------------------------------------------------


def after_a_write_and_a_restart(root: Path) -> dict[int, dict[bytes, dict[str, object]]]:
    with aofnb.open(root) as store:
        store.execute("SET", "later", "1")
    with aofnb.open(root) as store:
        return content(store)


def test_a_record_cut_inside_multi_takes_the_transaction_with_it(tmp_path: Path) -> None:
    """redis-server cuts inside MULTI, which stays open: later writes vanish at the next restart."""
    ours, theirs = both(tmp_path, A + MULTI + B + C[:9])
    assert set(after_a_write_and_a_restart(ours)[0]) == {b"a", b"later"}
    with redis_server(theirs) as server:
        server.execute("SET", "later", "1")
    with redis_server(theirs) as server:
        assert set(content(server)[0]) == {b"a"}


def test_half_an_annotation_is_cut(tmp_path: Path) -> None:
    """redis-server leaves it, appends the next record to it, and cannot start afterwards."""
    ours, theirs = both(tmp_path, A + b"#TS:17000")
    assert set(after_a_write_and_a_restart(ours)[0]) == {b"a", b"later"}
    with redis_server(theirs) as server:
        server.execute("SET", "later", "1")
    assert start_fails(theirs)[0] == 1


def test_a_cut_file_that_is_not_the_last_is_not_touched(tmp_path: Path) -> None:
    """redis-server cuts it, then refuses; its next start succeeds with data missing."""
    base = A + B[:-3]
    ours, theirs = both(tmp_path, C, base)
    with pytest.raises(aofnb.AofTruncatedError, match="not the last file"):
        aofnb.open(ours)
    assert (ours / "appendonlydir" / BASE).read_bytes() == base
    assert start_fails(theirs)[0] == 1
    assert (theirs / "appendonlydir" / BASE).read_bytes() == A


def test_a_count_that_wraps_is_refused(tmp_path: Path) -> None:
    """redis-server keeps the low 32 bits, and so reads 3."""
    data = A.replace(b"*3", b"*4294967299")
    ours, theirs = both(tmp_path, data)
    with pytest.raises(aofnb.AofFormatError, match="count of arguments"):
        aofnb.open(ours)
    with redis_server(theirs) as server:
        assert server.execute("GET", "a") == b"v"


def test_zeros_that_a_power_cut_left_are_no_value(tmp_path: Path) -> None:
    """redis-server skips the two bytes behind an argument unseen, and so loads zeros for the value that was lost."""
    data = A + B[:-3] + bytes(3)
    ours, theirs = both(tmp_path, data)
    with pytest.raises(aofnb.AofFormatError, match="zero bytes") as caught:
        aofnb.open(ours)
    assert caught.value.offset == len(A)
    assert incr_of(ours) == data
    assert (check(ours).aofnb.action, check(ours).server.action) == ("refuses", "unknown")
    with redis_server(theirs) as server:
        assert server.execute("GET", "b") == b"\0"


def test_zeros_behind_which_no_header_can_begin_are_refused_by_both(tmp_path: Path) -> None:
    ours, theirs = both(tmp_path, A + B[:-3] + bytes(20) + A)
    with pytest.raises(aofnb.AofFormatError, match="zero bytes"):
        aofnb.open(ours)
    assert (check(ours).aofnb.action, check(ours).server.action) == ("refuses", "refuses")
    assert start_fails(theirs)[0] == 1


def test_a_missing_manifest_beside_data_is_no_empty_store(tmp_path: Path) -> None:
    """redis-server starts empty and appends to the incr without reading it: the next start mixes old and new."""
    ours, theirs = both(tmp_path, A)
    for root in (ours, theirs):
        (root / "appendonlydir" / "appendonly.aof.manifest").unlink()
    with pytest.raises(aofnb.AofManifestError, match="there is data"):
        aofnb.open(ours)
    with redis_server(theirs) as server:
        assert server.execute("DBSIZE") == 0
    with redis_server(theirs) as server:
        assert server.execute("GET", "a") == b"v"


def test_too_few_words_are_refused(tmp_path: Path) -> None:
    """redis-server checks no arity while loading: this one kills it, or stores what lies behind the vector."""
    ours, _ = both(tmp_path, A + record(b"SET", b"k"))
    with pytest.raises(aofnb.AofFormatError, match="wrong number of arguments"):
        aofnb.open(ours)


def test_a_damaged_length_is_no_cut(tmp_path: Path) -> None:
    """redis-server takes it for one, and deletes the whole commands behind it."""
    ours, theirs = both(tmp_path, A + B.replace(b"$1\r\nv", b"$900\r\nv") + C * 3)
    data = incr_of(ours)
    report = check(ours)
    assert (report.aofnb.action, report.server.action, report.server.offset) == ("refuses", "cuts", len(A))
    with pytest.raises(aofnb.AofFormatError, match="the length is damaged") as caught:
        aofnb.open(ours)
    assert caught.value.offset == len(A)
    assert incr_of(ours) == data
    with redis_server(theirs) as server:
        assert set(content(server)[0]) == {b"a"}
    assert incr_of(theirs) == A


def test_what_is_about_the_server_is_not_run(tmp_path: Path) -> None:
    """redis-server runs it, and so a log changes settings, or keeps all clients waiting."""
    ours, theirs = both(tmp_path, A + record(b"CONFIG", b"SET", b"maxmemory", b"100mb") + B)
    with aofnb.open(ours) as store:
        assert set(content(store)[0]) == {b"a", b"b"}
        assert store.load_report is not None
        assert [(each.command, each.offset) for each in store.load_report.failed] == [("CONFIG SET", len(A))]
        assert store.config_get("maxmemory") == "0"
    with redis_server(theirs) as server:
        assert server.execute("CONFIG", "GET", "maxmemory") == [b"maxmemory", b"104857600"]


def test_a_database_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """redis-server goes on in the database before, and so mixes two."""
    data = A + record(b"SELECT", b"20") + B
    ours, theirs = both(tmp_path, data)
    with pytest.raises(aofnb.AofFormatError, match="databases=21") as caught:
        aofnb.open(ours)
    assert caught.value.offset == len(A)
    with aofnb.open(ours, databases=21) as store:
        assert set(content(store)[0]) == {b"a"}
        store.execute("SELECT", 20)
        assert store.execute("KEYS", "*") == [b"b"]
    with redis_server(theirs) as server:
        assert set(content(server)[0]) == {b"a", b"b"}


def test_a_string_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    """redis-server has no limit while it loads, so that 40 bytes of damage take all memory."""
    data = A + record(b"SETRANGE", b"a", b"2000", b"x")
    ours, theirs = both(tmp_path, data)
    settings = {"proto_max_bulk_len": "1mb"}
    with aofnb.open(ours, **settings) as store:
        assert len(store.execute("GET", "a")) == 2001
    data += record(b"SETRANGE", b"a", b"2000000", b"x")
    for root in (ours, theirs):
        (root / "appendonlydir" / INCR).write_bytes(data)
    with pytest.raises(aofnb.AofFormatError, match="proto_max_bulk_len"):
        aofnb.open(ours, **settings)
    with redis_server(theirs, **settings) as server:
        assert server.execute("STRLEN", "a") == 2_000_001


def test_a_file_that_is_listed_twice_is_refused(tmp_path: Path) -> None:
    """redis-server deletes what history lists, though it is the file in use, or applies a file twice."""
    ours, theirs = both(tmp_path, A)
    twice = MANIFEST + f"file {INCR} seq 1 type h\n"
    for root in (ours, theirs):
        (root / "appendonlydir" / "appendonly.aof.manifest").write_text(twice)
    with pytest.raises(aofnb.AofManifestError, match="listed twice"):
        aofnb.open(ours)
    assert incr_of(ours) == A
    with redis_server(theirs) as server:
        server.execute("PING")
    assert not (theirs / "appendonlydir" / INCR).exists()


@pytest.mark.parametrize("listed", [b'file "a\\x00b" seq 2 type i\n', b'file "a\\x00b" seq 2 type h\n'])
def test_a_name_with_a_zero_byte_is_refused(listed: bytes, tmp_path: Path) -> None:
    """redis-server reads the name up to there: it misses the incr, and has no use for the history."""
    ours, theirs = both(tmp_path, A)
    for root in (ours, theirs):
        with open(root / "appendonlydir" / "appendonly.aof.manifest", "ab") as file:
            file.write(listed)
    with pytest.raises(aofnb.AofManifestError, match="zero byte"):
        aofnb.open(ours)
    assert "zero byte" in (check(ours).problem or "")
    if b"type i" in listed:
        assert start_fails(theirs)[0] == 1


def test_a_link_to_a_file_of_an_older_version_is_not_moved_to_where_it_leads_nowhere(tmp_path: Path) -> None:
    """redis-server moves it, cannot start, and cannot find the file at the next start either."""
    for root in (tmp_path / "ours", tmp_path / "theirs"):
        root.mkdir()
        (root / "real.aof").write_bytes(A)
        (root / "appendonly.aof").symlink_to("real.aof")
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for _ in range(2):
        with pytest.raises(aofnb.AofWriteError, match="a link"):
            aofnb.open(ours)
    (ours / "appendonly.aof").unlink()
    (ours / "appendonly.aof").symlink_to(ours / "real.aof")
    for _ in range(2):
        with aofnb.open(ours) as store:
            assert store.execute("GET", "a") == b"v"
    for _ in range(2):
        assert start_fails(theirs)[0] == 1


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    """redis-server waits for somebody to write to it, without an end."""
    ours, _ = both(tmp_path, A)
    incr = ours / "appendonlydir" / INCR
    incr.unlink()
    os.mkfifo(incr)
    with pytest.raises(aofnb.AofError, match="a pipe"):
        aofnb.open(ours)
    for path in (ours, incr):
        with pytest.raises(aofnb.AofError, match="a pipe"):
            check(path)


# --- snapshots -----------------------------------------------------------------------------------------------


def snapshot(*keys: bytes) -> bytes:
    keyspace = Keyspace(16, lambda: 0)
    for key in keys:
        keyspace[0].put(key, b"v")
    return b"".join(piece for _, piece in rdb_pieces(keyspace, aux=base_aux(1_700_000_000, 0)))


X = snapshot(b"x")
# (base, incr)
SNAPSHOTS_LOADED_BY_BOTH = {
    "a base": (X, A),
    "a base with commands behind": (X + A, B),
    "an incr that begins with one": (A, X + B),
    "base and incr": (X, snapshot(b"y") + B),
    "cut behind the first record": (b"", X + A + B[:-1]),
    "MULTI without EXEC": (b"", X + A + MULTI + B),
    "version 9": (X.replace(b"REDIS0010", b"REDIS0009")[:-8] + bytes(8), A),
    "an aux field that nobody knows": (X[:9] + b"\xfa\x03who\x05knows" + X[9:-8] + bytes(8), A),
    "an overdue key that the log saves": (
        X[:-9].replace(b"\x00\x01x", b"\xfc" + (1000).to_bytes(8, "little") + b"\x00\x01x") + b"\xff" + bytes(8),
        record(b"PERSIST", b"x"),
    ),
}


@pytest.mark.parametrize("name", SNAPSHOTS_LOADED_BY_BOTH)
def test_both_load_the_snapshot_and_what_is_behind_it(name: str, tmp_path: Path) -> None:
    base, incr = SNAPSHOTS_LOADED_BY_BOTH[name]
    ours, theirs = both(tmp_path, incr, base)
    with aofnb.open(ours, readonly=True) as store:
        mine = content(store)
    with aofnb.open(ours) as store:
        assert content(store) == mine
    with redis_server(theirs) as server:
        expected = content(server)
    assert mine == expected
    assert incr_of(ours) == incr_of(theirs)


SNAPSHOTS_REFUSED_BY_BOTH = {
    "cut short": X[:-20],
    "cut in the checksum": X[:-3],
    "a wrong checksum": X[:-1] + bytes([X[-1] ^ 1]),
    "a version that will be": X.replace(b"REDIS0010", b"REDIS0099"),
    "a type that is none": X.replace(b"\x00\x01x", b"\x08\x01x"),
    "the same key twice": X[:-9] + b"\x00\x01x\x01v\xff" + bytes(8),
    "a database that is not there": X.replace(b"\xfe\x00", b"\xfe\x20")[:-8] + bytes(8),
    "garbage behind": X + b"garbage",
}


@pytest.mark.parametrize("name", SNAPSHOTS_REFUSED_BY_BOTH)
def test_both_refuse_the_snapshot_and_leave_the_files_as_they_are(name: str, tmp_path: Path) -> None:
    base = SNAPSHOTS_REFUSED_BY_BOTH[name]
    ours, theirs = both(tmp_path, A, base)
    with pytest.raises(AofnbError, match=BASE.replace(".", r"\.")):
        aofnb.open(ours)
    assert (ours / "appendonlydir" / BASE).read_bytes() == base
    assert start_fails(theirs)[0] != 0


def test_a_key_of_the_base_that_a_later_snapshot_has_too_is_refused(tmp_path: Path) -> None:
    """redis-server stops with a panic."""
    ours, theirs = both(tmp_path, X, X)
    with pytest.raises(aofnb.RdbError, match="comes twice"):
        aofnb.open(ours)
    assert start_fails(theirs)[0] != 0


@pytest.mark.parametrize("tail", [b"*3\r\n$3\r\nSE", b"*"])
def test_a_first_record_that_is_cut_short_does_not_take_the_snapshot_with_it(tail: bytes, tmp_path: Path) -> None:
    """redis-server cuts the file to 0 bytes: its next start is without the snapshot."""
    ours, theirs = both(tmp_path, X + tail)
    with aofnb.open(ours) as store:
        assert store.execute("GET", "x") == b"v"
    assert incr_of(ours) == X
    with redis_server(theirs) as server:
        server.stop()
    assert incr_of(theirs) == b""


def test_values_of_modules_are_left_out_with_a_report_and_their_file_stays(tmp_path: Path) -> None:
    """redis-server without the module refuses to start; a rewrite here would lose the value, so the file is kept."""
    data = (RDB / "hostile" / "module_unknown.rdb").read_bytes()
    ours, theirs = both(tmp_path, A, data)
    base = ours / "appendonlydir" / BASE
    assert start_fails(theirs)[0] != 0
    for _ in range(2):
        with aofnb.open(ours) as store:
            assert store.load_report is not None
            (part,) = store.load_report.skipped
            assert (Path(part.file), part.db) == (base, 0)
            assert part.key is not None
            assert store.execute("EXISTS", part.key) == 0
            assert store.execute("GET", "a") == b"v"
    with aofnb.open(ours) as store:
        store.bgrewriteaof()
        assert store.stats().last_rewrite_ok
    with aofnb.open(ours) as store:
        assert store.load_report is not None
        assert store.load_report.skipped == ()
        assert store.execute("GET", "a") == b"v"
    assert base.read_bytes() == data
    assert base.name not in (ours / "appendonlydir" / "appendonly.aof.manifest").read_text()


def test_what_redis_8_adds_to_a_manifest_is_read_past_and_gone_with_the_next_change(tmp_path: Path) -> None:
    ours, theirs = both(tmp_path, A, X)
    text = MANIFEST.replace("type i\n", "type i startoffset 10 endoffset 65\n") + "# by hand\n"
    for root in (ours, theirs):
        (root / "appendonlydir" / "appendonly.aof.manifest").write_text(text)
    with aofnb.open(ours) as store:
        mine = content(store)
    assert (ours / "appendonlydir" / "appendonly.aof.manifest").read_text() == text
    with redis_server(theirs) as server:
        assert content(server) == mine
    assert (theirs / "appendonlydir" / "appendonly.aof.manifest").read_text() == text
    with aofnb.open(ours) as store:
        store.bgrewriteaof()
    assert "offset" not in (ours / "appendonlydir" / "appendonly.aof.manifest").read_text()
