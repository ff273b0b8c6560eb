"""aofnb/aof/directory.py: which files there are, loading them, and putting a new base in their place."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
from support.faults import FaultFs

from aofnb.aof.bio import Bio
from aofnb.aof.directory import AofDirectory, Restore
from aofnb.aof.fs import Fs, OsFs
from aofnb.aof.load_report import LoadReport
from aofnb.aof.manifest import ManifestPublishedError
from aofnb.aof.rewrite import temp_base_name, write_base
from aofnb.aof.writer import AofWriter
from aofnb.clock import FakeClock
from aofnb.config import Config
from aofnb.errors import (
    AofError,
    AofFormatError,
    AofManifestError,
    AofTruncatedError,
    AofWriteError,
    RdbError,
)
from aofnb.rdb import Loaded, base_aux, load_rdb, rdb_pieces
from aofnb.resp.encode import encode_command
from aofnb.store.keyspace import Keyspace

Argv = list[bytes]


def set_(key: bytes, value: bytes = b"v") -> Argv:
    return [b"SET", key, value]


SELECT = encode_command([b"SELECT", b"0"])
A, B, C = (encode_command(set_(key)) for key in (b"a", b"b", b"c"))
MULTI, EXEC = encode_command([b"MULTI"]), encode_command([b"EXEC"])
BASE_LINE = "file appendonly.aof.1.base.aof seq 1 type b\n"
RDB_LINE = "file appendonly.aof.1.base.rdb seq 1 type b\n"
INCR_LINE = "file appendonly.aof.1.incr.aof seq 1 type i\n"


def restore_into(seen: list[tuple[str, list[Argv]]]) -> Restore:
    """Snapshots as the SET commands that would make their strings."""

    def restore(file: str, data: BinaryIO, size: int, progress: Callable[[int], None] | None = None, /) -> Loaded:
        keyspace = Keyspace(16, lambda: 0)
        loaded = load_rdb(data, keyspace, size, name=file, unsupported="skip", progress=progress)
        seen.append((os.path.basename(file), [set_(key) for db in keyspace for key, _, _ in db.walk()]))
        return loaded

    return restore


def snapshot(*keys: bytes, databases: int = 16) -> bytes:
    """A base in the form that is the default, with a string for each of `keys` in the last database."""
    keyspace = Keyspace(databases, lambda: 0)
    for key in keys:
        keyspace[databases - 1].put(key, b"v")
    return b"".join(piece for _, piece in rdb_pieces(keyspace, aux=base_aux(1_700_000_000, 0)))


class World:
    """A directory and what was done to it."""

    def __init__(self, root: Path, bio: Bio) -> None:
        self.root = root
        self.bio = bio
        self.log = root / "appendonlydir"
        self.clock = FakeClock()

    def put(self, **files: bytes | str) -> World:
        """Files of the log by short name: base1, incr2, rdb1, manifest, or `old` for the single file."""
        self.log.mkdir(exist_ok=True)
        for short, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            if short == "old":
                (self.root / "appendonly.aof").write_bytes(data)
            elif short == "manifest":
                (self.log / "appendonly.aof.manifest").write_bytes(data)
            elif short.startswith("rdb"):
                (self.log / f"appendonly.aof.{short[3:]}.base.rdb").write_bytes(data)
            else:
                (self.log / f"appendonly.aof.{short[4:]}.{short[:4]}.aof").write_bytes(data)
        return self

    def files(self) -> dict[str, bytes]:
        return {str(path.relative_to(self.root)): path.read_bytes() for path in self.root.rglob("*") if path.is_file()}

    def directory(self, fs: Fs | None = None, *, readonly: bool = False, **settings: object) -> AofDirectory:
        # Bases of commands, which are easier to look at, but where a test is about snapshots.
        config = Config({"aof_use_rdb_preamble": False, **settings})
        made = AofDirectory(fs or OsFs(), str(self.root), config, self.clock)
        made.open(readonly=readonly)
        return made

    def load(self, directory: AofDirectory) -> tuple[list[tuple[str, list[Argv]]], LoadReport]:
        seen: list[tuple[str, list[Argv]]] = []
        report = directory.load(
            lambda file, block: seen.append((os.path.basename(file), block.argvs)),
            restore=restore_into(seen),
        )
        return seen, report

    def keys(self, **settings: object) -> list[bytes]:
        """The keys that a fresh read-only load sees set, in order."""
        seen, _ = self.load(self.directory(readonly=True, **settings))
        return [argv[1] for _, argvs in seen for argv in argvs if argv[0] == b"SET"]

    def writer(self, directory: AofDirectory) -> AofWriter:
        return directory.start_writer(self.clock, self.bio)

    def start(self, fs: Fs | None = None, **settings: object) -> tuple[AofDirectory, AofWriter]:
        directory = self.directory(fs, **settings)
        directory.load(lambda _file, _block: None, restore=restore_into([]))
        return directory, self.writer(directory)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    bio = Bio()
    yield World(tmp_path, bio)
    bio.close()


def feed(writer: AofWriter, key: bytes) -> None:
    writer.feed([(0, set_(key))], False)
    writer.flush()


def manifest_of(world: World) -> list[str]:
    return (world.log / "appendonly.aof.manifest").read_text().splitlines()


# --- the cases of a start ------------------------------------------------------------------------------------


def test_a_fresh_directory_gets_base_incr_and_manifest_in_this_order(world):
    fs = FaultFs()
    _, writer = world.start(fs)
    temp = temp_base_name(os.getpid())
    assert [step for step in fs.log if step[0] in ("create", "rename", "fsync_dir", "mkdir", "open_append")] == [
        ("mkdir", "appendonlydir"),
        # The names on the way to it, all of them: the store may have made them.
        *[("fsync_dir", directory.name) for directory in (world.root, *world.root.parents)],
        ("create", temp),
        ("rename", "appendonly.aof.1.base.aof"),
        ("create", "appendonly.aof.1.incr.aof"),
        ("fsync_dir", "appendonlydir"),
        ("create", "temp-appendonly.aof.manifest"),
        ("rename", "appendonly.aof.manifest"),
        ("fsync_dir", "appendonlydir"),
        ("open_append", "appendonly.aof.1.incr.aof"),
        ("fsync_dir", "appendonlydir"),
    ]
    assert manifest_of(world) == [BASE_LINE.strip(), INCR_LINE.strip()]
    assert world.files()["appendonlydir/appendonly.aof.1.base.aof"] == b""
    feed(writer, b"a")
    writer.close()
    assert world.keys() == [b"a"]


def test_a_fresh_base_with_timestamps_begins_with_one_and_counts_nothing(world):
    directory, writer = world.start(aof_timestamp_enabled=True)
    assert world.files()["appendonlydir/appendonly.aof.1.base.aof"] == b"#TS:1700000000\r\n"
    assert (directory.current_size, directory.base_size) == (0, 0)
    writer.close()


def test_an_existing_log_is_loaded_and_goes_on_in_its_last_incr(world):
    world.put(base1=A, incr1=B, incr2=C, manifest=BASE_LINE + INCR_LINE + INCR_LINE.replace("1", "2"))
    directory = world.directory()
    seen, report = world.load(directory)
    assert seen == [
        ("appendonly.aof.1.base.aof", [set_(b"a")]),
        ("appendonly.aof.1.incr.aof", [set_(b"b")]),
        ("appendonly.aof.2.incr.aof", [set_(b"c")]),
    ]
    assert (report.commands, report.truncated, len(report.files)) == (3, None, 3)
    assert (directory.current_size, directory.base_size) == (len(A + B + C), len(A))
    before = world.files()["appendonlydir/appendonly.aof.manifest"]
    writer = world.writer(directory)
    feed(writer, b"d")
    assert directory.current_size == len(A + B + C + SELECT + A)
    assert directory.files() == (
        ("appendonly.aof.1.base.aof", "base", len(A)),
        ("appendonly.aof.1.incr.aof", "incr", len(B)),
        ("appendonly.aof.2.incr.aof", "incr", len(C + SELECT + A)),
    )
    writer.close()
    assert world.files()["appendonlydir/appendonly.aof.manifest"] == before
    assert world.keys() == [b"a", b"b", b"c", b"d"]


def test_progress_reaches_the_size_of_all_files(world):
    world.put(base1=A, incr1=B + C, manifest=BASE_LINE + INCR_LINE)
    told: list[tuple[int, int]] = []
    world.directory().load(lambda _file, _block: None, lambda done, total: told.append((done, total)))
    assert told == [(0, len(A + B + C)), (len(A), len(A + B + C)), (len(A + B + C), len(A + B + C))]


def test_only_a_base_gets_an_incr(world):
    world.put(base1=A, manifest=BASE_LINE)
    world.start()[1].close()
    assert manifest_of(world) == [BASE_LINE.strip(), INCR_LINE.strip()]


def test_only_incrs_get_no_base(world):
    world.put(incr1=A, manifest=INCR_LINE)
    world.start()[1].close()
    assert manifest_of(world) == [INCR_LINE.strip()]
    assert world.keys() == [b"a"]


@pytest.mark.parametrize("state", ["no directory", "empty directory", "empty manifest", "half done"])
def test_the_single_file_of_an_older_version_becomes_the_base(world, state):
    world.put(old=A)
    if state == "no directory":
        world.log.rmdir()
    elif state == "empty manifest":
        world.put(manifest="# nothing\n")
    elif state == "half done":
        world.put(manifest="file appendonly.aof seq 1 type b\n")
    before = world.files()
    assert world.keys() == [b"a"]
    assert world.files() == before
    _, writer = world.start()
    assert manifest_of(world) == ["file appendonly.aof seq 1 type b", INCR_LINE.strip()]
    assert set(world.files()) == {
        "appendonlydir/appendonly.aof",
        "appendonlydir/appendonly.aof.1.incr.aof",
        "appendonlydir/appendonly.aof.manifest",
    }
    feed(writer, b"b")
    writer.close()
    assert world.keys() == [b"a", b"b"]


def test_the_manifest_of_an_upgrade_comes_before_the_move(world):
    world.put(old=A)
    fs = FaultFs()
    world.start(fs)[1].close()
    renames = [name for operation, name in fs.log if operation == "rename"]
    assert renames == ["appendonly.aof.manifest", "appendonly.aof", "appendonly.aof.manifest"]


def test_an_old_single_file_is_not_moved_before_it_was_loaded(world):
    """redis-server moves it first, and only then finds that it cannot be read."""
    world.put(old=A + b"garbage")
    before = world.files()
    directory = world.directory()
    with pytest.raises(AofFormatError):
        world.load(directory)
    assert world.files() == before


def test_an_old_file_beside_a_real_manifest_is_left_alone(world):
    world.put(old=A, base1=B, incr1=b"", manifest=BASE_LINE + INCR_LINE)
    world.start()[1].close()
    assert world.keys() == [b"b"]
    assert world.files()["appendonly.aof"] == A


def test_a_missing_manifest_beside_data_is_an_error_with_an_offer(world):
    """redis-server starts empty, appends behind the unread incr, and resurrects it at the next start."""
    world.put(base1=A, incr1=B)
    before = world.files()
    with pytest.raises(AofManifestError, match="there is no manifest, but there is data") as caught:
        world.directory()
    offer = str(caught.value).split("make the manifest of these lines: ")[1]
    assert world.files() == before
    world.put(manifest=offer.replace(" | ", "\n") + "\n")
    assert world.keys() == [b"a", b"b"]


@pytest.mark.parametrize("manifest", ["# only a comment\n", "file appendonly.aof.1.incr.aof seq 1 type h\n"])
def test_a_manifest_that_lists_nothing_to_load_beside_data_is_an_error(world, manifest):
    """redis-server starts empty, and in the second case deletes the data."""
    world.put(incr1=B, manifest=manifest)
    with pytest.raises(AofManifestError, match="lists no file to load, but there is data"):
        world.directory()


def test_an_offer_that_would_be_a_guess_is_not_made(world):
    world.put(base1=A, base2=B, incr2=C)
    with pytest.raises(AofManifestError, match="backup"):
        world.directory()


def test_what_a_first_start_leaves_when_it_is_cut_short_is_no_data(world):
    world.put(base1=b"#TS:1700000000\r\n", incr1=b"")
    (world.log / "temp-appendonly.aof.manifest").write_bytes(b"file app")
    (world.log / "temp-rewriteaof-bg-7.aof").write_bytes(A)
    world.start()[1].close()
    assert sorted(path.name for path in world.log.iterdir()) == [
        "appendonly.aof.1.base.aof",
        "appendonly.aof.1.incr.aof",
        "appendonly.aof.manifest",
    ]


def test_a_listed_file_that_is_missing_is_named(world):
    world.put(base1=A, manifest=BASE_LINE + INCR_LINE)
    with pytest.raises(AofManifestError, match=r"appendonly\.aof\.1\.incr\.aof, which is not there"):
        world.directory()


def test_a_log_of_another_name_is_not_begun_anew(world):
    """redis-server makes a second, empty log beside it."""
    world.put(base1=A, incr1=B, manifest=BASE_LINE + INCR_LINE)
    with pytest.raises(AofManifestError, match=r"appendfilename='appendonly\.aof'"):
        world.directory(appendfilename="other.aof")


def test_a_file_with_the_directory_s_name_is_an_error(world):
    world.log.write_bytes(b"")
    with pytest.raises(AofManifestError, match="appenddirname"):
        world.directory()


def test_reading_where_there_is_nothing_is_an_error_and_makes_nothing(world):
    with pytest.raises(AofManifestError, match="no log here"):
        world.directory(readonly=True)
    assert world.files() == {}


# --- snapshots -----------------------------------------------------------------------------------------------


def test_a_first_base_is_a_snapshot_that_says_what_redis_server_says(world):
    directory, writer = world.start(aof_use_rdb_preamble=True, aof_timestamp_enabled=True)
    assert manifest_of(world) == [RDB_LINE.strip(), INCR_LINE.strip()]
    assert (directory.current_size, directory.base_size) == (0, 0)
    feed(writer, b"a")
    writer.close()
    base = world.files()["appendonlydir/appendonly.aof.1.base.rdb"]
    assert base.startswith(b"REDIS0010\xfa\x09redis-ver\x067.0.15\xfa\x0aredis-bits\xc0\x40\xfa\x05ctime\xc2")
    assert b"\xfa\x08aof-base\xc0\x01\xff" in base
    seen, report = world.load(world.directory(readonly=True))
    assert [file for file, _ in seen] == ["appendonly.aof.1.base.rdb", "appendonly.aof.1.incr.aof"]
    found = report.files[0].snapshot
    assert found is not None
    assert (found.keys, dict(found.aux)[b"ctime"]) == (0, b"1700000000")


@pytest.mark.parametrize("name", ["rdb1", "base1", "incr1", "old"])
def test_a_snapshot_is_known_by_its_first_bytes_whatever_the_file_is_called(world, name):
    line = {"rdb1": RDB_LINE, "base1": BASE_LINE, "incr1": INCR_LINE}.get(name)
    data = snapshot(b"x") + A + MULTI + B + EXEC
    world.put(**{name: data}, **({"manifest": line} if line else {}))
    before = world.files()
    assert world.keys() == [b"x", b"a", b"b"]
    assert world.files() == before
    world.start()[1].close()
    assert world.keys() == [b"x", b"a", b"b"]


def test_a_base_called_rdb_may_hold_commands(world):
    world.put(rdb1=A, incr1=B, manifest=RDB_LINE + INCR_LINE)
    assert world.keys() == [b"a", b"b"]


@pytest.mark.parametrize("tail", [b"*", SELECT[:9], MULTI + A, MULTI + A + B[:-1], b"#TS:17"])
def test_a_cut_behind_a_snapshot_keeps_the_snapshot(world, tail):
    """redis-server 7.0.15 cuts to 0 bytes where the first record is cut short, and starts with an empty keyspace."""
    data = snapshot(b"x")
    world.put(old=data + tail)
    _, report = world.load(directory := world.directory())
    assert report.truncated is not None
    assert (report.truncated.offset, report.truncated.bytes_cut) == (len(data), len(tail))
    world.writer(directory).close()
    assert world.files()["appendonlydir/appendonly.aof"] == data
    assert world.keys() == [b"x"]


@pytest.mark.parametrize("cut", [5, 30, -9, -1])
def test_a_snapshot_that_is_cut_short_is_refused_and_stays(world, cut):
    world.put(old=snapshot(b"x", b"y")[:cut])
    before = world.files()
    with pytest.raises(RdbError, match=r"appendonly\.aof"):
        world.load(world.directory())
    assert world.files() == before


def test_progress_goes_on_inside_a_snapshot(world):
    size = 5 << 20
    keyspace = Keyspace(16, lambda: 0)
    for i in range(5):
        keyspace[0].put(b"%d" % i, os.urandom(1 << 20))
    data = b"".join(piece for _, piece in rdb_pieces(keyspace))
    world.put(incr1=A, rdb1=data, manifest=RDB_LINE + INCR_LINE)
    told: list[tuple[int, int]] = []
    world.directory().load(
        lambda _file, _block: None, lambda done, total: told.append((done, total)), restore=restore_into([])
    )
    assert len(told) >= 6
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert {total for _, total in told} == {len(data + A)}
    assert told[-1] == (len(data + A), len(data + A))
    assert size < told[-2][0] == len(data)


def test_an_empty_snapshot_that_a_first_start_left_is_no_data(world):
    world.put(rdb1=snapshot(), incr1=b"")
    world.start(aof_use_rdb_preamble=True)[1].close()
    assert manifest_of(world) == [RDB_LINE.strip(), INCR_LINE.strip()]


@pytest.mark.parametrize("data", [snapshot(b"x"), snapshot() + A, snapshot()[:-1]])
def test_a_snapshot_without_a_manifest_is_data(world, data):
    world.put(rdb1=data)
    with pytest.raises(AofManifestError, match="there is data"):
        world.directory()


def test_a_snapshot_where_only_commands_are_expected_is_an_error(world):
    world.put(rdb1=snapshot(b"x"), manifest=RDB_LINE)
    with pytest.raises(RdbError, match="only commands are read"):
        world.directory().load(lambda _file, _block: None)


def test_the_report_tells_annotations(world):
    world.put(incr1=b"#TS:1700000001\r\n" + A + b"#who knows\r\n#TS:1700000009\r\n" + B, manifest=INCR_LINE)
    _, report = world.load(world.directory())
    assert (report.files[0].last_timestamp_s, report.files[0].unknown_annotations) == (1700000009, 1)


# --- history -------------------------------------------------------------------------------------------------


def test_history_is_deleted_after_the_load_unless_forbidden(world):
    lines = BASE_LINE.replace("1", "2") + INCR_LINE.replace("type i", "type h") + INCR_LINE.replace("1", "2")
    world.put(base2=A, incr1=B, incr2=C, manifest=lines)
    world.start(aof_disable_auto_gc=True)[1].close()
    assert "appendonlydir/appendonly.aof.1.incr.aof" in world.files()
    assert world.keys() == [b"a", b"c"]
    world.start()[1].close()
    assert "appendonlydir/appendonly.aof.1.incr.aof" not in world.files()
    assert manifest_of(world) == [BASE_LINE.strip().replace("1", "2"), INCR_LINE.strip().replace("1", "2")]


# --- tails ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tail", "kind"),
    [
        (C[:-1], "truncated"),
        (b"*", "truncated"),
        (b"#TS:17", "truncated"),
        (MULTI + C, "open_multi"),
        (MULTI + C + C[:9], "truncated"),
        (MULTI + C + b"#TS:17", "truncated"),
    ],
)
def test_the_end_of_the_last_file_is_cut_to_whole_units(world, tail, kind):
    world.put(base1=A, incr1=B + tail, manifest=BASE_LINE + INCR_LINE)
    assert world.keys() == [b"a", b"b"]
    assert world.files()["appendonlydir/appendonly.aof.1.incr.aof"] == B + tail
    directory = world.directory()
    _, report = world.load(directory)
    cut = report.truncated
    assert cut is not None
    assert (cut.kind, cut.offset, cut.bytes_cut, cut.applied) == (kind, len(B), len(tail), True)
    assert world.files()["appendonlydir/appendonly.aof.1.incr.aof"] == B
    assert directory.current_size == len(A + B)
    writer = world.writer(directory)
    feed(writer, b"d")
    writer.close()
    assert world.keys() == [b"a", b"b", b"d"]


def test_a_read_only_load_reports_the_cut_and_changes_nothing(world):
    world.put(base1=A, incr1=B + C[:5], manifest=BASE_LINE + INCR_LINE)
    before = world.files()
    _, report = world.load(world.directory(readonly=True))
    assert report.truncated is not None
    assert not report.truncated.applied
    assert world.files() == before


@pytest.mark.parametrize("tail", [bytes(64), b"garbage", MULTI + B + bytes(10)])
def test_a_corrupt_end_is_cut_up_to_the_size_that_is_allowed(world, tail):
    """With the setting of Redis 8.4; redis-server 7.0.15 starts no more after a power cut that left zeros."""
    log = {"base1": b"", "incr1": A + tail, "manifest": BASE_LINE + INCR_LINE}
    before = world.put(**log).files()
    for size in (0, len(tail) - 1):
        with pytest.raises(AofFormatError, match=f"aof_load_corrupt_tail_max_size={len(tail)}"):
            world.load(world.directory(aof_load_corrupt_tail_max_size=size))
    with pytest.raises(AofFormatError, match="in doubt"):
        world.load(world.directory(aof_load_corrupt_tail_max_size="1kb", aof_load_truncated=False))
    assert world.files() == before
    _, report = world.load(world.directory(aof_load_corrupt_tail_max_size=len(tail)))
    assert (report.truncated.kind, report.truncated.offset, report.truncated.bytes_cut) == ("format", len(A), len(tail))
    assert world.files()["appendonlydir/appendonly.aof.1.incr.aof"] == A


def test_a_corrupt_end_of_a_file_that_is_not_the_last_is_never_cut(world):
    world.put(base1=A + b"garbage", incr1=B, manifest=BASE_LINE + INCR_LINE)
    with pytest.raises(AofFormatError) as caught:
        world.load(world.directory(aof_load_corrupt_tail_max_size="1mb"))
    assert "max_size" not in str(caught.value)


def test_nothing_is_cut_where_that_is_forbidden(world):
    world.put(base1=A, incr1=B + C[:5], manifest=BASE_LINE + INCR_LINE)
    before = world.files()
    with pytest.raises(AofTruncatedError, match="aof_load_truncated=True") as caught:
        world.load(world.directory(aof_load_truncated=False))
    assert caught.value.offset == len(B)
    assert world.files() == before


@pytest.mark.parametrize("tail", [C[:5], MULTI + C, b"#TS:1"])
def test_a_file_that_is_not_the_last_is_never_cut(world, tail):
    """redis-server cuts it before it gives up, so that the next start succeeds with data missing."""
    world.put(base1=A + tail, incr1=b"", manifest=BASE_LINE + INCR_LINE)
    before = world.files()
    with pytest.raises(AofTruncatedError, match="not the last file") as caught:
        world.load(world.directory())
    assert caught.value.offset == len(A)
    assert str(world.log / "appendonly.aof.1.base.aof") in str(caught.value)
    assert world.files() == before


def test_a_malformed_record_is_refused_with_its_place(world):
    world.put(base1=A, incr1=B + b"\0\0\0" + C, manifest=BASE_LINE + INCR_LINE)
    before = world.files()
    with pytest.raises(AofFormatError, match="zero bytes") as caught:
        world.load(world.directory())
    assert caught.value.offset == len(B)
    assert world.files() == before


def test_an_error_of_the_replay_leaves_a_cut_tail_alone(world):
    world.put(base1=A, incr1=B + C[:5], manifest=BASE_LINE + INCR_LINE)
    before = world.files()

    def refuse(file: str, _block: object) -> None:
        raise AofFormatError("unknown command", file=file, offset=0)

    with pytest.raises(AofFormatError, match="unknown command"):
        world.directory().load(refuse)
    assert world.files() == before


@pytest.mark.parametrize("fail_at", range(8))
def test_a_read_error_says_which_file(world, fail_at):
    world.put(base1=A, incr1=B, manifest=BASE_LINE + INCR_LINE)
    # Whether there is an old file is asked without a way to fail, but for this simulation.
    fs = FaultFs(fail_at, reads=True, only={"size", "listdir", "open_read"})
    problem: AofError | None = None
    try:
        world.load(world.directory(fs))
    except AofError as caught:
        problem = caught
    assert (problem is not None) == bool(fs.failed)
    assert problem is None or "Input/output" in str(problem)
    assert problem is None or str(world.log) in str(problem)


# --- rewrite -------------------------------------------------------------------------------------------------


def new_base(directory: AofDirectory, *keys: bytes) -> str:
    temp = os.path.join(directory.path, temp_base_name(os.getpid()))
    write_base(OsFs(), temp, [(0, set_(key)) for key in keys])
    return temp


def test_a_rewrite_goes_in_the_strict_order(world):
    """redis-server syncs the old incr in the background, and no directory before the manifest is renamed."""
    fs = FaultFs()
    directory, writer = world.start(fs)
    feed(writer, b"a")
    fs.log.clear()
    sources = directory.begin_rewrite(writer)
    assert [os.path.basename(path) for path in sources] == ["appendonly.aof.1.base.aof", "appendonly.aof.1.incr.aof"]
    assert fs.log[:4] == [
        ("fdatasync", "appendonly.aof.1.incr.aof"),
        ("create", "appendonly.aof.2.incr.aof"),
        ("fsync_dir", "appendonlydir"),
        ("create", "temp-appendonly.aof.manifest"),
    ]
    assert manifest_of(world)[-1] == "file appendonly.aof.2.incr.aof seq 2 type i"
    feed(writer, b"b")
    assert world.files()["appendonlydir/appendonly.aof.2.incr.aof"] == SELECT + B
    assert directory.current_size == len(SELECT + A + SELECT + B)
    temp = new_base(directory, b"a")
    fs.log.clear()
    directory.publish_base(temp)
    assert [step for step in fs.log if step[0] in ("rename", "fsync_dir", "unlink")] == [
        ("rename", "appendonly.aof.2.base.aof"),
        ("fsync_dir", "appendonlydir"),
        ("rename", "appendonly.aof.manifest"),
        ("fsync_dir", "appendonlydir"),
        ("unlink", "appendonly.aof.1.incr.aof"),
        ("unlink", "appendonly.aof.1.base.aof"),
        ("rename", "appendonly.aof.manifest"),
        ("fsync_dir", "appendonlydir"),
    ]
    assert manifest_of(world) == [
        "file appendonly.aof.2.base.aof seq 2 type b",
        "file appendonly.aof.2.incr.aof seq 2 type i",
    ]
    size = len(SELECT + A + SELECT + B)
    assert (directory.current_size, directory.base_size) == (size, size)
    assert sum(file[2] for file in directory.files()) == size
    writer.close()
    assert world.keys() == [b"a", b"b"]


def test_files_of_failed_rewrites_are_taken_by_the_next(world):
    directory, writer = world.start()
    for key in (b"a", b"b", b"c"):
        feed(writer, key)
        directory.begin_rewrite(writer)
    assert len(manifest_of(world)) == 5
    directory.publish_base(new_base(directory, b"a", b"b", b"c"))
    assert len(manifest_of(world)) == 2
    writer.close()
    assert world.keys() == [b"a", b"b", b"c"]


@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("fail_at", range(40))
def test_any_failure_of_a_rewrite_keeps_every_write(world, fail_at, lasting):
    fs = FaultFs()
    directory, writer = world.start(fs)
    feed(writer, b"a")
    fs.done, fs.fail_at, fs.lasting = 0, fail_at, lasting
    acknowledged = [b"a"]
    temp: str | None = None
    try:
        directory.begin_rewrite(writer)
        feed(writer, b"b")
        acknowledged.append(b"b")
        temp = new_base(directory, b"a")
        directory.publish_base(temp)
    except AofWriteError as problem:
        assert fs.failed
        published = isinstance(problem, ManifestPublishedError)
        if temp is not None and not lasting:
            assert not Path(temp).exists()
            base = "appendonlydir/appendonly.aof.2.base.aof"
            assert (base in world.files()) == published
        if temp is None and published:
            with pytest.raises(AofWriteError):
                feed(writer, b"never")
    fs.mend()
    # As after kill -9.
    assert world.keys() == acknowledged
    writer.file.close()
    _, again = world.start()
    feed(again, b"z")
    again.close()
    assert world.keys() == [*acknowledged, b"z"]
    assert not [name for name in world.files() if "temp-" in name]


def test_a_manifest_that_may_not_be_durable_keeps_what_the_old_one_lists(world):
    fs = FaultFs()
    directory, writer = world.start(fs)
    feed(writer, b"a")
    directory.begin_rewrite(writer)
    temp = new_base(directory, b"a")
    fs.done, fs.fail_at, fs.only = 0, 1, {"fsync_dir"}
    with pytest.raises(ManifestPublishedError):
        directory.publish_base(temp)
    assert fs.failed == [("fsync_dir", "appendonlydir")]
    assert {"appendonlydir/appendonly.aof.1.base.aof", "appendonlydir/appendonly.aof.1.incr.aof"} <= set(world.files())
    writer.close()
    assert world.keys() == [b"a"]
    world.start()[1].close()
    assert len(manifest_of(world)) == 2


def test_a_new_incr_empties_no_file_that_holds_data(world):
    directory, writer = world.start()
    stray = world.log / "appendonly.aof.2.incr.aof"
    stray.write_bytes(C)
    directory.begin_rewrite(writer)
    assert stray.read_bytes() == C
    assert manifest_of(world)[-1] == "file appendonly.aof.3.incr.aof seq 3 type i"
    writer.close()


def test_a_poisoned_log_begins_no_rewrite_but_can_be_replaced_as_a_whole(world):
    fs = FaultFs()
    directory, writer = world.start(fs, appendfsync="always")
    feed(writer, b"a")
    fs.done, fs.fail_at, fs.only = 0, 0, {"fdatasync"}
    with pytest.raises(AofWriteError):
        feed(writer, b"b")
    fs.mend()
    with pytest.raises(AofWriteError, match="open it again"):
        directory.begin_rewrite(writer)
    directory.replace_all(writer, new_base(directory, b"a"))
    assert writer.refusal is None
    feed(writer, b"c")
    writer.close()
    assert world.keys() == [b"a", b"c"]
    assert len(manifest_of(world)) == 2
    assert directory.base_size == len(SELECT + A)


@pytest.mark.parametrize("fail_at", range(14))
def test_replacing_everything_happens_in_one_step(world, fail_at):
    fs = FaultFs()
    directory, writer = world.start(fs)
    feed(writer, b"a")
    temp = new_base(directory, b"b")
    fs.done, fs.fail_at = 0, fail_at
    try:
        directory.replace_all(writer, temp)
    except AofWriteError as problem:
        expected = [b"b"] if isinstance(problem, ManifestPublishedError) else [b"a"]
    else:
        expected = [b"b"]
    fs.mend()
    assert world.keys() == expected
    assert not Path(temp).exists()
    writer.file.close()


def test_history_that_cannot_be_deleted_stays_listed(world):
    fs = FaultFs()
    directory, writer = world.start(fs)
    directory.begin_rewrite(writer)
    fs.done, fs.fail_at, fs.only, fs.error = 0, 0, {"unlink"}, errno.EACCES
    directory.publish_base(new_base(directory))
    assert [line[-1] for line in manifest_of(world)] == ["b", "h", "i"]
    writer.close()
    world.start()[1].close()
    assert [line[-1] for line in manifest_of(world)] == ["b", "i"]


# --- failures of a start -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fail_at", range(25))
@pytest.mark.parametrize("rdb", [False, True])
@pytest.mark.parametrize("old", [False, True])
def test_a_start_that_fails_can_be_repeated(world, fail_at, old, rdb):
    if old:
        world.put(old=snapshot(b"a") if rdb else A)
    fs = FaultFs(fail_at)
    try:
        _, writer = world.start(fs, aof_use_rdb_preamble=rdb)
    except AofWriteError:
        assert fs.failed
    else:
        fs.mend()
        writer.close()
    _, writer = world.start(aof_use_rdb_preamble=rdb)
    feed(writer, b"b")
    writer.close()
    assert world.keys() == ([b"a", b"b"] if old else [b"b"])
    assert not [name for name in world.files() if "temp-" in name]
