"""The damage map, and what salvage makes of it."""

import gzip
import json
import os
import shutil
import subprocess

import pytest
from support.require import need
from support.samples import public_samples, sample
from support.server import available
from support.snapshots import RDB

import aofnb
from aofnb.errors import AofError
from aofnb.resp.encode import encode_command

LOG = [[b"SELECT", b"0"], *([b"SET", b"key:%d" % n, b"value %d" % n] for n in range(50))]
RECORDS = list(map(encode_command, LOG))
DATA = b"".join(RECORDS)
BROKEN = b"".join(RECORDS[:20]) + bytes(len(RECORDS[20])) + b"".join(RECORDS[21:])


def write(path, data):
    path.write_bytes(data)
    return path


def check_aof(dest):
    need("redis-check-aof", available("redis-check-aof"))
    manifest = dest / "appendonlydir" / "appendonly.aof.manifest"
    return subprocess.run(["redis-check-aof", manifest], capture_output=True, check=False).returncode


def test_a_whole_log_is_fine(tmp_path):
    report = aofnb.scan(write(tmp_path / "log.aof", DATA)).check()
    assert (report.verdict, report.exit_code, report.ok) == ("fine", 0, True)
    assert (report.commands, report.lost, report.truncation_keeps) == (51, 0, 51)
    assert len(report.regions) == 0


def test_the_map_names_each_place_and_what_each_tool_would_do(tmp_path):
    report = aofnb.scan(write(tmp_path / "log.aof", BROKEN)).check()
    assert (report.verdict, report.exit_code) == ("damaged", 1)
    assert (report.commands, report.lost, report.truncation_keeps) == (50, 1, 20)
    (row,) = report.regions.to_dict("records")
    assert (row["offset"], row["nbytes"], row["kind"]) == (len(b"".join(RECORDS[:20])), len(RECORDS[20]), "zeros")
    assert report.tools.server.action == "refuses"
    assert "log.salvage(dest) keeps 50" in repr(report)
    assert "log.salvage(dest) keeps 50" in report._repr_html_()
    assert json.loads(json.dumps(report.to_dict()))["exit_code"] == 1


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_snapshot_with_a_wrong_checksum_is_brought_back_as_commands(tmp_path, pack):
    """No server loads it; what can be read of it is all there is."""
    (rdb,) = (sample("01-rdb-base-incr") / "data").rglob("*.base.rdb")
    content = rdb.read_bytes()
    at = content.index(b"base:str:plain") + 4
    log = aofnb.scan(write(tmp_path / "log.aof", pack(content[:at] + b"/" + content[at + 1 :])))
    report = log.check()
    assert (report.verdict, report.exit_code) == ("damaged", 1)
    assert (report.regions["kind"].tolist(), report.truncation_keeps) == (["checksum"], 0)
    assert not log.triage().valid
    assert "the checksum is wrong" in log.triage().verdict
    log.salvage(tmp_path / "new", dry_run=False)
    with aofnb.open(tmp_path / "new", readonly=True) as store:
        assert store.execute("EXISTS", "base/str:plain", "base:str:len63") == 2
    assert aofnb.scan(tmp_path / "new").check().ok


def snapshot(records):
    """A snapshot of these records, without a checksum."""
    return b"REDIS0010\xfe\x00" + records + b"\xff" + bytes(8)


def test_keys_without_elements_are_told_and_no_part_of_what_is_salvaged(tmp_path):
    """Servers leave them out, and redis-check-aof takes them for damage."""
    log = aofnb.scan(write(tmp_path / "log.aof", snapshot(b"\x00\x01k\x01v" + b"\x02\x01a\x00" + b"\x04\x01b\x00")))
    report = log.check()
    assert (report.verdict, report.commands, report.kept, report.truncation_keeps) == ("damaged", 2, 2, 2)
    (row,) = report.regions.to_dict("records")
    assert (row["kind"], row["offset"]) == ("empty", 11 + 5)
    assert row["reason"] == "2 keys without elements, which servers leave out"
    assert log.at("end").execute("KEYS", "*") == [b"k"]
    log.salvage(tmp_path / "new", dry_run=False)
    assert aofnb.scan(tmp_path / "new").check().ok


def test_a_library_stands_where_it_stands(tmp_path):
    code = b"#!lua name=l\nredis.register_function('f', print)"
    records = b"\x00\x01k\x01v" + b"\xf5" + b"%c" % len(code) + code
    log = aofnb.scan(write(tmp_path / "log.aof", snapshot(records)))
    assert log.to_pandas(columns=["offset", "nbytes", "cmd"]).values.tolist()[1:] == [
        [11, 5, "SET"],
        [11 + 5, 2 + len(code), "FUNCTION LOAD"],
    ]


def test_what_begins_as_a_snapshot_and_is_none_is_read_from_its_first_command_on(tmp_path):
    log = aofnb.scan(write(tmp_path / "log.aof", b"REDIS\n" + DATA), on_bad="resync")
    report = log.check()
    assert (report.verdict, report.regions["kind"].tolist()) == ("unreadable", ["snapshot"])


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
        (b'{"a": 1}\n', "JSON"),
        (b'1699999999.123456 [0 127.0.0.1:5000] "SET" "a" "1"\n', "MONITOR"),
        (b'OK\n1699999999.123456 [0 127.0.0.1:5000] "SET" "a" "1"\n', "MONITOR"),
        (b"SET a 1\r\nSET b 2\r\n", "redis-cli"),
        (b"2026-01-01T00:00:00 SET a 1\n", "time in front"),
        (b"PK\x03\x04aaaa", "zip"),
        (b"+OK\r\n:1\r\n", "reply"),
        (b"<!DOCTYPE html><html>", "HTML"),
    ],
)
def test_what_is_no_log_is_named_with_what_to_do(tmp_path, data, says):
    path = write(tmp_path / "log.aof", data)
    report = aofnb.scan(path).check()
    assert (report.verdict, report.exit_code) == ("unreadable", 2)
    assert says in report.regions.reason[0]
    with pytest.raises(AofError, match=says):
        aofnb.read_aof(path)


@pytest.mark.parametrize(
    ("argv", "dialect"),
    [
        ([b"JSON.SET", b"k", b"$", b"1"], "Redis Stack"),
        ([b"RREPLAY", b"id", b"payload", b"0", b"1"], "KeyDB"),
        ([b"FSET", b"fleet", b"truck", b"speed", b"9"], "Tile38"),
        ([b"SET", b"fleet", b"truck1", b"POINT", b"33.5", b"-112.2"], "Tile38: SET POINT;"),
        ([b"set", b"fleet", b"truck1", b"field", b"speed", b"9", b"OBJECT", b"{}"], "Tile38: SET FIELD;"),
        ([b"HSETEX", b"h", b"FIELDS", b"1", b"f", b"v"], "newer"),
    ],
)
def test_dialects_are_named(tmp_path, argv, dialect):
    log = aofnb.scan(write(tmp_path / "log.aof", DATA + encode_command(argv)))
    report = log.check()
    assert report.ok
    assert [line for line in report.dialects if line.startswith(dialect)]
    found = log.triage()
    assert found.dialects == list(report.dialects) == found.to_dict()["dialects"]
    assert dialect in repr(found)


def test_what_redis_has_too_is_no_dialect(tmp_path):
    argvs = [
        [b"SET", b"k", b"v", b"PXAT", b"9999999999999"],
        [b"SET", b"k", b"v", b"KEEPTTL", b"GET"],
        [b"SADD", b"words", b"POINT", b"POINT", b"HASH"],
        [b"RPUSH", b"words", b"FIELD", b"FIELD", b"FIELD"],
        [b"SET", b"k", b"POINT"],
    ]
    log = aofnb.scan(write(tmp_path / "log.aof", b"".join(map(encode_command, argvs))))
    assert (log.check().dialects, log.triage().dialects) == ((), [])


@pytest.mark.parametrize(
    ("name", "dialect"), [("tile38/appendonly.aof", "Tile38: SET BOUNDS"), ("redis-stack/appendonlydir", "Redis Stack")]
)
def test_the_logs_of_other_servers_that_people_committed_are_named(name, dialect):
    log = aofnb.scan(public_samples() / name)
    for dialects in (log.check().dialects, log.triage().dialects):
        assert [line for line in dialects if line.startswith(dialect)]


def test_salvage_writes_nothing_unless_told_to(tmp_path):
    path = write(tmp_path / "log.aof", BROKEN)
    report = aofnb.scan(path).salvage(tmp_path / "fixed")
    assert report.kept == 50
    assert report.written is None
    assert list(tmp_path.iterdir()) == [path]
    assert "nothing was written" in repr(report)


@pytest.mark.parametrize("lost", ["MULTI", "EXEC"])
def test_what_would_be_written_is_what_is_written(lost, tmp_path):
    """An EXEC whose MULTI is lost does not count; one that is put in where the end of a transaction is lost does."""
    records = {name: encode_command(name.encode().split()) for name in ("MULTI", "SET a 1", "EXEC", "SET b 1")}
    log = aofnb.scan(write(tmp_path / "log.aof", b"".join(records.values()).replace(lost.encode(), b"?" * 9)))
    kept = log.salvage(tmp_path / "fixed").kept
    report = log.salvage(tmp_path / "fixed", dry_run=False)
    assert kept == log.check().kept == report.kept == len(aofnb.scan(tmp_path / "fixed"))


@pytest.mark.parametrize("lines", [["EXEC", "SET a 1"], ["MULTI", "MULTI", "SET a 1", "EXEC"]])
def test_what_stands_around_no_transaction_is_left_out(lines, tmp_path):
    """Servers go on behind it; redis-check-aof does not."""
    records = [encode_command(line.encode().split()) for line in lines]
    log = aofnb.scan(write(tmp_path / "log.aof", b"".join(records)))
    report = log.check()
    assert (report.verdict, report.commands, report.kept) == ("damaged", len(lines), len(lines) - 1)
    log.salvage(tmp_path / "fixed", dry_run=False)
    assert aofnb.scan(tmp_path / "fixed").check().verdict == "fine"
    assert log.at("end").execute("GET", "a") == b"1"


def test_salvage_makes_a_log_of_all_that_is_legible(tmp_path):
    path = write(tmp_path / "log.aof", BROKEN)
    report = aofnb.scan(path).salvage(tmp_path / "fixed", dry_run=False)
    assert report.ok
    assert path.read_bytes() == BROKEN
    rows = aofnb.read_aof(tmp_path / "fixed", columns=["args", "status"])
    assert [list(argv) for argv in rows.args] == LOG[:20] + LOG[21:]
    assert set(rows.status) == {"ok"}
    told = json.loads((tmp_path / "fixed" / "aofnb-report.json").read_text())
    assert told["damage"]["lost"] == 1
    assert check_aof(tmp_path / "fixed") == 0
    need("redis-server", available())
    assert report.written.server_digest == report.written.digest


def test_salvage_keeps_annotations_and_whole_transactions(tmp_path):
    multi, exec_ = encode_command([b"MULTI"]), encode_command([b"EXEC"])
    ts = b"#TS:1700000000\r\n"
    lost = bytes(40)
    parts = [ts, RECORDS[0], multi, RECORDS[1], exec_, multi, RECORDS[2], lost, RECORDS[3], exec_, ts, RECORDS[4]]
    data = b"".join([*parts, multi, RECORDS[5]])
    report = aofnb.scan(write(tmp_path / "log.aof", data)).salvage(tmp_path / "fixed", dry_run=False)
    made = b"".join(path.read_bytes() for path in (tmp_path / "fixed" / "appendonlydir").glob("*.aof"))
    assert made == b"".join([*parts[:7], exec_, RECORDS[3], ts, RECORDS[4]])
    assert report.damage.to_dict()["discarded"] == 2
    assert check_aof(tmp_path / "fixed") == 0


def test_a_place_that_is_taken_or_inside_the_log_is_refused(tmp_path):
    with aofnb.open(tmp_path / "data") as store:
        store.execute("SET", "a", 1)
    log = aofnb.scan(tmp_path / "data")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    for dest in (tmp_path / "taken", tmp_path / "taken" / "file", tmp_path / "data" / "appendonlydir" / "new"):
        with pytest.raises(AofError):
            log.salvage(dest, dry_run=False)
    with pytest.raises(TypeError, match="path of a new directory"):
        log.salvage(dry_run=False)


def test_nothing_is_left_where_writing_fails(tmp_path, monkeypatch):
    log = aofnb.scan(write(tmp_path / "log.aof", BROKEN))
    monkeypatch.setattr("aofnb.forensics.newlog._sync", lambda file: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        log.salvage(tmp_path / "fixed", dry_run=False)
    assert not (tmp_path / "fixed").exists()


def test_files_of_a_directory_that_are_sound_are_copied(tmp_path):
    with aofnb.open(tmp_path / "data") as store:
        for n in range(20):
            store.execute("SET", n, n)
        store.bgrewriteaof()
    source = tmp_path / "data" / "appendonlydir"
    incr = max(source.glob("*.incr.aof"))
    incr.write_bytes(incr.read_bytes() + DATA[:-4])
    report = aofnb.scan(tmp_path / "data").salvage(tmp_path / "fixed", dry_run=False)
    made = tmp_path / "fixed" / "appendonlydir"
    assert next(made.glob("*.base.rdb")).read_bytes() == next(source.glob("*.base.rdb")).read_bytes()
    assert report.written.keys == 69
    assert report.ok


def test_every_public_log_that_lost_its_crs_is_valid_after_salvage(tmp_path):
    repaired = 0
    for number, path in enumerate(sorted(public_samples().rglob("*.aof"))):
        log = aofnb.scan(path)
        report = log.check()
        if not sum(part.lf for part in report.parts):
            continue
        dest = tmp_path / str(number)
        made = log.salvage(dest, dry_run=False, verify=False)
        assert made.kept == report.commands
        assert check_aof(dest) == 0
        repaired += 1
        shutil.rmtree(dest)
    assert repaired >= 9


def test_a_check_is_of_the_files_as_they_were_when_the_log_was_opened(tmp_path):
    with aofnb.open(tmp_path, background=False, auto_aof_rewrite_percentage=0) as store:
        store.execute("SET", "a", "1")
        log = aofnb.scan(tmp_path, cache_dir=False)
        names = [part.name for part in log.parts]
        store.execute("SET", "b", "2")
        grown = log.check()
        store.bgrewriteaof()
        while store.stats().rewrite.phase != "idle":
            store.execute("PING")
        assert not any(os.path.exists(part.path) for part in log.parts)
        rewritten = log.check()
    for report in (grown, rewritten):
        assert (report.verdict, report.commands) == ("fine", 2)
        assert [(file.name, file.size) for file in report.tools.files] == [
            (name, part.size) for name, part in zip(names, log.parts, strict=True)
        ]


@pytest.fixture
def with_module(tmp_path):
    """A log whose base has a value of a module, which no command makes, and other keys."""
    path = tmp_path / "data" / "appendonly.aof"
    path.parent.mkdir()
    snapshot = (RDB / "hostile" / "module_unknown.rdb").read_bytes()
    path.write_bytes(snapshot + encode_command([b"SET", b"later", b"1"]) + encode_command([b"DEL", b"later"]))
    return path.parent


def test_what_a_new_log_lacks_of_a_snapshot_is_told(with_module, tmp_path):
    log = aofnb.scan(with_module)
    (lost,) = log.check().regions.reason
    assert "module" in lost
    assert lost in str(log.triage())
    for number, plan in enumerate((log.recover(drop="DEL"), log.recover(keep="later"))):
        assert [each for each in plan.conflicts if lost in each]
        assert [each for each in plan.write(tmp_path / str(number)).problems if lost in each]
    # A file that is copied lacks nothing, and a stranger is told no names.
    plan = log.undo("DEL")
    assert not plan.conflicts
    assert not plan.write(tmp_path / "undone").problems
    (told,) = log.anonymize(tmp_path / "safe", secret=bytes(16)).problems
    assert "not in the new log" in told
    assert lost not in (tmp_path / "safe" / "aofnb-report.json").read_text()
    with (with_module / "appendonly.aof").open("ab") as file:
        file.write(b"*3\r\n$3\r\nSE")
    assert not aofnb.scan(with_module).salvage(tmp_path / "saved", dry_run=False).ok


def test_the_reason_of_damage_in_a_snapshot_says_its_place_once(tmp_path):
    path = tmp_path / "x.rdb"
    path.write_bytes((RDB / "hostile" / "huge_hash.rdb").read_bytes())
    log = aofnb.scan(path)
    (reason,) = log.check().regions.reason
    assert str(path) not in reason
    assert str(log.triage()).count("byte 92") == 1
    assert "lost" not in log.check().told_legible()


def test_progress_goes_on_while_a_new_log_is_written(tmp_path):
    path = tmp_path / "x.aof"
    path.write_bytes(encode_command([b"INCR", b"k"]) * 20 + b"*")
    told = []
    log = aofnb.scan(path, on_bad="truncate")
    log.recover(drop=3).write(tmp_path / "new", progress=lambda done, total: told.append((done, total)))
    written = (path.stat().st_size,) * 2
    assert written in told
    # Loading what was written takes as long again.
    assert told.index(written) < len(told) - 1
    assert told[-1][0] == told[-1][1] > 0
