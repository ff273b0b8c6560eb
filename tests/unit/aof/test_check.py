"""check and fix, without a real server; what the real tools say of the same files is in tests/conformance."""

from __future__ import annotations

import gzip
import io
import shutil
import tracemalloc
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.faults import FaultFs
from support.snapshots import RDB

import aofnb
from aofnb.aof.check import CheckReport, check, fix
from aofnb.aof.check_snapshot import check_snapshot
from aofnb.aof.fs import OsFs
from aofnb.aof.load import read_units
from aofnb.errors import AofError, AofLockedError, AofManifestError, AofnbError, AofWriteError
from aofnb.rdb.crc64 import crc64
from aofnb.resp.encode import encode_command

BASE, INCR = "appendonly.aof.1.base.aof", "appendonly.aof.1.incr.aof"
MANIFEST = f"file {BASE} seq 1 type b\nfile {INCR} seq 1 type i\n"


def record(*argv: bytes) -> bytes:
    return encode_command(argv)


A, B = record(b"SET", b"a", b"1"), record(b"SET", b"b", b"2")
MULTI, EXEC = record(b"MULTI"), record(b"EXEC")


def make(root: Path, incr: bytes, base: bytes = b"", manifest: str = MANIFEST) -> Path:
    log = root / "appendonlydir"
    log.mkdir(parents=True)
    (log / BASE).write_bytes(base)
    (log / INCR).write_bytes(incr)
    (log / "appendonly.aof.manifest").write_text(manifest)
    return root


def contents(root: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in root.rglob("*") if p.is_file() and p.name != "aofnb.lock"}


def check_bytes(tmp_path: Path, data: bytes) -> CheckReport:
    path = tmp_path / "log.aof"
    path.write_bytes(data)
    return check(path)


# --- what is found ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "kind", "ok_up_to", "cut_at"),
    [
        (A + B[:-1], "cut", len(A), len(A)),
        (A + b"*3", "cut", len(A), len(A)),
        (A + b"zzz" + B, "format", len(A), len(A)),
        (A + MULTI + B, "open_multi", len(A), len(A)),
        (A + MULTI + B + B[:-1], "cut", len(A), len(A)),
        (A + MULTI + B + b"zzz", "format", len(A), len(A)),
        (A + EXEC + B, "exec", len(A), None),
        (A + MULTI + MULTI + EXEC, "multi", len(A), None),
        (A + b"*1\r\n$-1\r\n", "length", len(A), len(A)),
        (A + b"*1\n$4\r\nPING\r\n", "line_end", len(A), None),
    ],
)
def test_kind_and_places_of_damage(tmp_path: Path, data: bytes, kind: str, ok_up_to: int, cut_at: int | None) -> None:
    report = check_bytes(tmp_path, data)
    assert report.verdict == "damaged"
    assert report.damage is not None
    assert (report.damage.kind, report.ok_up_to, report.cut_at) == (kind, ok_up_to, cut_at)


def test_half_an_annotation_is_valid_to_the_tool_and_cut_by_us(tmp_path: Path) -> None:
    report = check_bytes(tmp_path, A + b"#TS:17")
    assert report.verdict == "valid"
    assert report.cut_at == len(A)
    assert "no server can start" in report.server.reason


def test_large_files_are_leapt_over_and_give_the_same_lines(tmp_path: Path) -> None:
    """Far more than one block, with transactions, odd values and annotations in all of them."""
    unit = A + b"#TS:1700000000\r\n" + MULTI + record(b"SET", b"k", b"a\r\n*1\r\nb") + B + EXEC
    count = 4000
    assert check_bytes(tmp_path, unit * count).files[0].ok_up_to_line == 1 + count * (7 + 3 + 7 + 7 + 3)
    report = check_bytes(tmp_path, unit * count + EXEC + unit)
    assert report.ok_up_to == len(unit) * count
    report = check_bytes(tmp_path, unit * count + A + MULTI + B + b"*")
    assert report.ok_up_to == report.cut_at == len(unit) * count + len(A)


@given(st.lists(st.sampled_from([A, B, MULTI, EXEC, b"#TS:1\r\n", b"*", b"*0\r\n", B[:9], b"\0", b"#x"]), max_size=9))
def test_we_cut_where_the_loader_does(tmp_path: Path, pieces: list[bytes]) -> None:
    report = check_bytes(tmp_path, b"".join(pieces))
    units = read_units(OsFs(), report.files[0].path)
    for _ in units:
        pass
    assert report.cut_at == (None if units.tail.kind == "clean" else units.tail.cut_at)


@given(st.binary(max_size=200))
@example(b"(\xb5/\xfd")
def test_any_bytes_get_a_verdict(tmp_path: Path, data: bytes) -> None:
    if data.startswith((b"\x1f\x8b", b"(\xb5/\xfd")):
        with pytest.raises(AofError, match="it is compressed"):
            check_bytes(tmp_path, data)
        return
    report = check_bytes(tmp_path, data)
    assert 0 <= (report.ok_up_to or 0) <= len(data)


# --- where the log is ------------------------------------------------------------------------------------


def test_a_log_is_found_by_its_directories_its_manifest_and_its_files(tmp_path: Path) -> None:
    root = make(tmp_path / "data", A + B[:-1])
    log = root / "appendonlydir"
    for path in (root, log, log / "appendonly.aof.manifest"):
        report = check(path)
        assert [file.name for file in report.files] == [BASE, INCR]
        assert report.cut_at == len(A)
        assert report.directory == str(root)
    assert [file.name for file in check(log / INCR).files] == [INCR]


def test_the_directory_of_the_log_and_its_files_may_have_any_name(tmp_path: Path) -> None:
    with aofnb.open(
        tmp_path / "data", appenddirname="log", appendfilename="my data.aof", aof_use_rdb_preamble=False
    ) as store:
        store.execute("SET", "k", "v")
    report = check(tmp_path / "data")
    assert report.verdict == "valid"
    assert report.files[-1].name == "my data.aof.1.incr.aof"


def test_a_single_old_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "appendonly.aof").write_bytes(A)
    report = check(tmp_path)
    assert (report.verdict, report.manifest, report.files[0].type) == ("valid", None, "single")


def test_a_manifest_may_have_any_name(tmp_path: Path) -> None:
    log = make(tmp_path, A) / "appendonlydir"
    (log / "appendonly.aof.manifest").rename(log / "manifest.copy")
    assert [file.name for file in check(log / "manifest.copy").files] == [BASE, INCR]


def test_data_with_a_line_that_begins_with_file_is_no_manifest(tmp_path: Path) -> None:
    """redis-check-aof 7.0.15 takes it for one; mended in 7.2.5."""
    assert check_bytes(tmp_path, record(b"SET", b"k", b"x\nfile a seq 1 type b")).verdict == "valid"


def test_no_log_or_several_is_an_error_that_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(AofManifestError, match="no log here"):
        check(tmp_path)
    with pytest.raises(AofError, match="cannot be read"):
        check(tmp_path / "none")
    make(tmp_path, A)
    (tmp_path / "appendonlydir").rename(tmp_path / "one")
    make(tmp_path, A)
    (tmp_path / "appendonlydir").rename(tmp_path / "two")
    with pytest.raises(AofManifestError, match="several logs: one, two"):
        check(tmp_path)
    with pytest.raises(AofError, match="the path is empty"):
        check("")


def test_a_copy_beside_the_log_is_not_what_is_checked(tmp_path: Path) -> None:
    make(tmp_path, A[:-3])
    shutil.copytree(tmp_path / "appendonlydir", tmp_path / "appendonlydir.bak")
    report = check(tmp_path)
    assert report.manifest == str(tmp_path / "appendonlydir" / "appendonly.aof.manifest")
    assert fix(report) is not None
    assert check(tmp_path).verdict == "valid"
    assert check(tmp_path / "appendonlydir.bak").verdict == "damaged"


def test_what_is_compressed_is_named(tmp_path: Path) -> None:
    path = tmp_path / "appendonly.aof.gz"
    path.write_bytes(gzip.compress(A))
    with pytest.raises(AofError, match=r"gzip.*triage"):
        check(path)


@pytest.mark.parametrize(
    "manifest", ["", "file", f"file {BASE} seq 1 type b\nfile none seq 1 type i\n", "# nothing is listed\n"]
)
def test_a_manifest_that_cannot_be_is_damage(tmp_path: Path, manifest: str) -> None:
    report = check(make(tmp_path, A, manifest=manifest))
    assert report.verdict == "damaged"
    assert report.problem
    assert report.aofnb.action == "refuses"


def test_data_without_a_manifest_is_damage(tmp_path: Path) -> None:
    root = make(tmp_path, A)
    (root / "appendonlydir" / "appendonly.aof.manifest").unlink()
    for path in (root, root / "appendonlydir"):
        assert "there is data" in (check(path).problem or "")


# --- snapshots -------------------------------------------------------------------------------------------


def frame(body: bytes, version: int = 10) -> bytes:
    """A snapshot of these records."""
    data = b"REDIS%04d" % version + body + b"\xff"
    return data + crc64(data).to_bytes(8, "little")


BEFORE = b"\x00\x01a\x011"
SNAPSHOT = frame(b"\xfe\x00" + BEFORE)


def test_a_snapshot_and_the_commands_behind_it_are_checked(tmp_path: Path) -> None:
    root = make(tmp_path, A + B[:-1], base=SNAPSHOT + A)
    report = check(root)
    assert [(file.verdict, file.snapshot) for file in report.files] == [("valid", True), ("damaged", False)]
    assert (report.files[0].ok_up_to, report.cut_at) == (len(SNAPSHOT + A), len(A))
    (tmp_path / "log.aof").write_bytes(SNAPSHOT + A + B[:-1])
    report = check(tmp_path / "log.aof")
    assert report.ok_up_to == report.cut_at == report.server.offset == len(SNAPSHOT + A)


@pytest.mark.parametrize("at", range(9, len(SNAPSHOT)))
def test_any_byte_of_a_snapshot_that_was_changed_is_found(tmp_path: Path, at: int) -> None:
    broken = bytearray(SNAPSHOT)
    broken[at] ^= 4
    report = check(make(tmp_path, A, base=bytes(broken)))
    assert report.damage is not None
    assert (report.damage.kind, report.verdict) == ("snapshot", "damaged")
    assert 0 < report.damage.offset <= len(SNAPSHOT)
    assert report.server.action in ("refuses", "unknown")
    assert report.aofnb.action == "refuses"
    with pytest.raises(AofError, match="Nothing was changed"):
        fix(report)


@pytest.mark.parametrize(
    ("snapshot", "verdict", "server", "ours", "reason"),
    [
        (frame(BEFORE * 2), "valid", "refuses", "refuses", "twice"),
        (frame(b"\xfe\x10" + BEFORE), "valid", "refuses", "refuses", "database 16"),
        (frame(BEFORE, 11), "valid", "refuses", "loads", "version 11"),
        (frame(b"\xf5\x03abc"), "valid", "refuses", "refuses", "library"),
        (frame(b"\x02\x01s\x00" + BEFORE), "damaged", "loads", "loads", "without elements"),
        (frame(b"\x10\x01h\x07\x08\0\0\0\0\0\xff"), "damaged", "unknown", "refuses", "listpack"),
        (SNAPSHOT[:-9], "damaged", "refuses", "refuses", "ends"),
        (b"REDIS0099" + BEFORE, "damaged", "refuses", "refuses", "version 99"),
        (b"VALKEY080" + b"\xff" + bytes(8), "valid", "refuses", "loads", "version 80"),
    ],
)
def test_what_each_makes_of_an_odd_snapshot(
    tmp_path: Path, snapshot: bytes, verdict: str, server: str, ours: str, reason: str
) -> None:
    [file] = check(make(tmp_path, b"", base=snapshot)).files[:1]
    assert (file.verdict, file.server.action, file.aofnb.action) == (verdict, server, ours)
    assert reason in f"{file.damage} {file.server.reason}"


@pytest.mark.parametrize("path", sorted((RDB / "hostile").glob("*.rdb")), ids=lambda path: path.stem)
def test_what_is_told_of_us_and_a_snapshot_is_what_we_do(tmp_path: Path, path: Path) -> None:
    root = make(tmp_path / "data", A, base=path.read_bytes())
    report = check(root)
    try:
        with aofnb.open(root, readonly=True) as store:
            assert store.load_report is not None
            assert bool(store.load_report.skipped) == ("leaves out" in report.aofnb.reason)
        assert report.aofnb.action == "loads"
    except AofnbError:
        assert report.aofnb.action == "refuses"


def test_a_snapshot_at_the_front_of_an_incr_is_damage_to_the_tool_alone(tmp_path: Path) -> None:
    report = check(make(tmp_path, SNAPSHOT + A))
    assert report.damage is not None
    assert (report.damage.kind, report.damage.offset, report.aofnb.action) == ("format", 0, "loads")


# --- fix -------------------------------------------------------------------------------------------------


def test_fix_copies_then_cuts_and_counts_its_copies(tmp_path: Path) -> None:
    root = make(tmp_path, A + MULTI + B + B[:5])
    incr = root / "appendonlydir" / INCR
    for number in (1, 2):
        broken = incr.read_bytes()
        fixed = fix(check(root))
        assert fixed is not None
        assert (fixed.cut_at, fixed.bytes_cut) == (len(A), len(broken) - len(A))
        assert fixed.copy == f"{incr}.before-fix-{number}"
        assert Path(fixed.copy).read_bytes() == broken
        assert incr.read_bytes() == A
        assert check(root).verdict == "valid"
        incr.write_bytes(A + B[:-2])


def test_check_alone_changes_nothing_and_fix_nothing_that_is_whole(tmp_path: Path) -> None:
    root = make(tmp_path, A, A)
    before = contents(root)
    assert fix(check(root)) is None
    assert contents(root) == before


REFUSED = {
    "another file is cut": ({"incr": A, "base": B[:-1]}, "not the last file"),
    "another file and the last": ({"incr": A + B[:-1], "base": A + b"zzz"}, "zzz"),
    "a snapshot": ({"incr": A + B[:-1], "base": SNAPSHOT[:-1]}, "ends inside"),
    "only line ends": ({"incr": A.replace(b"\r\n", b"\n")}, r"-text"),
    "the manifest": ({"incr": A + B[:-1], "manifest": "file\n"}, "pairs"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_fix_refuses_what_is_not_the_end_of_the_last_file_and_changes_nothing(tmp_path: Path, case: str) -> None:
    given_, message = REFUSED[case]
    root = make(tmp_path, **given_)  # type: ignore[arg-type]  # a table of keyword arguments
    before = contents(root)
    with pytest.raises(AofError, match=message):
        fix(check(root))
    assert contents(root) == before


def test_fix_cuts_the_last_file_behind_a_snapshot(tmp_path: Path) -> None:
    root = make(tmp_path, A + B[:-1], base=SNAPSHOT)
    assert fix(check(root)) is not None
    assert check(root).verdict == "valid"


def test_a_file_given_by_itself_is_cut_only_if_it_is_the_last_of_its_manifest(tmp_path: Path) -> None:
    root = make(tmp_path, A, base=B[:-1])
    with pytest.raises(AofError, match="not the last file"):
        fix(check(root / "appendonlydir" / BASE))
    (root / "appendonlydir" / "appendonly.aof.manifest").unlink()
    assert fix(check(root / "appendonlydir" / BASE)) is not None


def test_fix_refuses_while_a_store_is_open_or_after_a_write(tmp_path: Path) -> None:
    with aofnb.open(tmp_path / "data") as store:
        store.execute("SET", "k", "v")
        incr = tmp_path / "data" / "appendonlydir" / INCR
        with open(incr, "ab") as file:
            file.write(b"*")
        for report in (check(incr), check(tmp_path / "data")):
            with pytest.raises(AofLockedError):
                fix(report)
    incr.write_bytes(incr.read_bytes() + b"1")
    with pytest.raises(AofError, match="changed since"):
        fix(report)


@pytest.mark.parametrize("fail_at", range(5))
def test_whatever_fails_the_old_bytes_are_still_there(tmp_path: Path, fail_at: int) -> None:
    """create, write, fdatasync, close and fsync_dir of the copy, all before the cut."""
    root = make(tmp_path, A + B[:-1])
    report = check(root)
    fs = FaultFs(fail_at, only={"create", "write", "fdatasync", "close", "fsync_dir", "truncate"})
    before = contents(root)
    with pytest.raises(AofWriteError, match="make room"):
        fix(report, fs=fs)
    assert fs.failed
    assert contents(root) == before, "half a copy is removed"


def test_truncating_to_a_time_never_leaves_a_transaction_open(tmp_path: Path) -> None:
    path = tmp_path / "log.aof"
    old, new = b"#TS:10\r\n", b"#TS:20\r\n"
    path.write_bytes(old + A + MULTI + B + new + B + EXEC)
    report = check(path, timestamp_s=10)
    assert report.files[0].truncate_at == len(old + A)
    assert fix(report, truncate=True) is not None
    assert path.read_bytes() == old + A
    assert check(path, timestamp_s=99).files[0].truncate_at is None
    assert check(path, timestamp_s=9).verdict == "damaged", "there is nothing from before"


def test_a_key_that_comes_twice_is_found_where_it_does_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where other keys have the same hash, which is all that is kept of a key."""
    keys = [b"%03d" % number for number in (*range(200), 150, 7)]
    records = [b"\x00\x03%b\x01v" % key for key in keys]
    data = b"REDIS0010" + b"".join(records) + b"\xff" + bytes(8)
    for same in (False, True):
        if same:
            monkeypatch.setattr("aofnb.aof.check_snapshot._hash", lambda entry: len(entry.key))
        found = check_snapshot(io.BytesIO(data), len(data)).aofnb
        assert found is not None
        assert (found.offset, found.reason) == (9 + 200 * 7, "the key b'150' comes twice in database 0")
        assert check_snapshot(io.BytesIO(data[:-23] + data[-9:]), len(data) - 14).aofnb is None


def test_checking_a_snapshot_keeps_few_bytes_of_a_key() -> None:
    data = b"REDIS0010" + b"".join(b"\x00\x06%06d\x00" % number for number in range(50_000)) + b"\xff" + bytes(8)
    tracemalloc.start()
    assert check_snapshot(io.BytesIO(data), len(data)).damage is None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000, "a piece of the file, and 8 bytes for each key"


# --- a log that is in use --------------------------------------------------------------------------------


class RewritesMeanwhile(OsFs):
    """A server puts another manifest in force, and deletes files, behind read number `at` of the manifest."""

    def __init__(self, store: aofnb.Store, at: int) -> None:
        self.store, self.left = store, at

    def open_read(self, path: str) -> BinaryIO:
        if not path.endswith(".manifest"):
            return super().open_read(path)
        with super().open_read(path) as file:
            content = file.read()
        self.left -= 1
        if self.left == 0:
            self.store.bgrewriteaof()
            while self.store.stats().rewrite.phase != "idle":
                self.store.execute("PING")
        return io.BytesIO(content)


@pytest.mark.parametrize("given", ["", "appendonlydir", "appendonlydir/other.manifest"])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_part_that_a_rewrite_deleted_meanwhile_is_not_missing(given: str, at: int, tmp_path: Path) -> None:
    name = "other.aof" if "other" in given else "appendonly.aof"
    given = given.replace("other.manifest", "other.aof.manifest")
    with aofnb.open(tmp_path, background=False, auto_aof_rewrite_percentage=0, appendfilename=name) as store:
        store.execute("SET", "a", "1")
        report = check(tmp_path / given, fs=RewritesMeanwhile(store, at))
    assert (report.verdict, report.problem) == ("valid", None)
    if at < 3:
        assert [file.name for file in report.files] == [f"{name}.2.base.rdb", f"{name}.2.incr.aof"]


def test_a_part_that_is_missing_is_said_to_be_so(tmp_path: Path) -> None:
    make(tmp_path, A)
    (tmp_path / "appendonlydir" / BASE).unlink()
    report = check(tmp_path)
    assert [file.verdict for file in report.files] == ["missing", "valid"]
    assert "not there" in str(report.problem)


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_directory_with_packed_parts_is_refused_with_the_file_and_what_to_do(ending: str, tmp_path: Path) -> None:
    make(tmp_path, A)
    file = tmp_path / "appendonlydir" / INCR
    packed = gzip.compress(file.read_bytes())
    file.unlink()
    file.with_name(INCR + ending).write_bytes(packed)
    with pytest.raises(AofError, match=r"gzip: unpack it.*triage") as raised:
        check(tmp_path)
    assert raised.value.file == str(file) + ending


def test_progress_is_told_over_all_files(tmp_path: Path) -> None:
    make(tmp_path, A * 20_000, B * 20_000)
    told: list[tuple[int, int]] = []
    check(tmp_path, progress=lambda done, total: told.append((done, total)))
    total = len(A + B) * 20_000
    assert told == sorted(told)
    assert {each for _, each in told} == {total}
    assert told[-1] == (total, total)
    assert len(told) > 10


def test_progress_is_told_inside_a_snapshot(tmp_path: Path) -> None:
    with aofnb.open(tmp_path, background=False) as store:
        for number in range(4):
            store.execute("SET", f"k{number}", "x" * (1 << 20))
        store.execute("BGREWRITEAOF")
        while store.stats().rewrite.phase != "idle":
            store.execute("PING")
    told: list[int] = []
    check(tmp_path, progress=lambda done, total: told.append(done))
    assert len(set(told)) > 3
