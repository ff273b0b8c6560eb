import gc
import gzip
import itertools
import os
import pickle

import pyarrow as pa
import pytest
from support.samples import known_records, public_samples, sample

import aofnb
from aofnb.aof.manifest import Manifest
from aofnb.errors import AofError, AofFormatError, AofManifestError, AofTruncatedError, RdbError
from aofnb.forensics import parts
from aofnb.forensics.parts import HeldFile, find_parts
from aofnb.resp.encode import encode_command

BASE_AOF = sample("02-aof-base-incr") / "data"
RDB_WITH_KEYS = sample("01-rdb-base-incr") / "data"


def commands(log, **options):
    return pa.Table.from_batches(list(log.batches(columns=["part", "offset", "status"], **options))).to_pylist()


def write(path, *argvs, tail=b""):
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_bytes(b"".join(map(encode_command, argvs)) + tail)
    return path


def test_a_directory_its_parent_and_its_manifest_are_the_same_log():
    directory = BASE_AOF / "appendonlydir"
    logs = [aofnb.scan(path) for path in (BASE_AOF, directory, directory / "appendonly.aof.manifest", str(directory))]
    assert len({log.parts for log in logs}) == 1
    assert [(part.type, part.format, part.seq) for part in logs[0].parts] == [("base", "resp", 2), ("incr", "resp", 2)]


def test_parts_are_those_a_server_would_load_in_order():
    log = aofnb.scan(sample("08-manifest-history-two-incr-quoted") / "data")
    assert [part.name for part in log.parts] == [
        "my data.aof.3.base.rdb",
        "my data.aof.3.incr.aof",
        "my data.aof.4.incr.aof",
    ]


def test_a_single_file_may_be_given_or_found_in_its_directory():
    file = sample("07-old-single-plain") / "data" / "appendonly.aof"
    assert aofnb.scan(file).parts == aofnb.scan(file.parent).parts
    (known,) = known_records(sample("07-old-single-plain")).values()
    assert len(aofnb.scan(file)) == len(known.commands)


def test_a_directory_with_another_name_is_found_by_its_manifest(tmp_path):
    write(tmp_path / "mine" / "x.aof.1.incr.aof", [b"PING"])
    (tmp_path / "mine" / "x.aof.manifest").write_bytes(b"file x.aof.1.incr.aof seq 1 type i\n")
    (tmp_path / "mine" / "temp-x.aof.manifest").write_bytes(b"never in force")
    assert len(aofnb.scan(tmp_path)) == 1


@pytest.mark.parametrize(
    ("files", "error", "says"),
    [
        ([], FileNotFoundError, "no append-only file"),
        (["appendonly.aof.1.incr.aof"], AofManifestError, "manifest is missing"),
        (["a.aof", "b.aof"], AofError, "a.aof, b.aof"),
        (["a.aof.manifest", "b.aof.manifest"], AofError, "a.aof.manifest, b.aof.manifest"),
    ],
)
def test_a_directory_that_is_not_one_log_is_refused_with_a_remedy(tmp_path, files, error, says):
    for name in files:
        (tmp_path / name).write_bytes(b"file x seq 1 type i\n" if name.endswith("manifest") else b"")
    with pytest.raises(error, match=says):
        aofnb.scan(tmp_path)


def test_a_path_that_is_not_there_is_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        aofnb.scan(tmp_path / "no.aof")


def test_a_listed_file_that_is_missing_is_an_error_that_names_it(tmp_path):
    (tmp_path / "x.aof.manifest").write_bytes(b"file x.aof.1.incr.aof seq 1 type i\n")
    with pytest.raises(AofManifestError, match=r"x\.aof\.1\.incr\.aof"):
        aofnb.scan(tmp_path)


def test_opening_reads_no_command(tmp_path):
    file = write(tmp_path / "x.aof", tail=b"garbage")
    log = aofnb.scan(file)
    assert "garbage" not in repr(log)
    with pytest.raises(AofFormatError):
        len(log)


def test_a_log_is_what_it_was_when_it_was_opened(tmp_path):
    file = write(tmp_path / "x.aof", [b"PING"])
    log = aofnb.scan(file)
    write(file, [b"PING"], [b"PING"])
    assert (len(log), len(commands(log)), len(aofnb.scan(file))) == (1, 1, 2)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_compressed_files_are_read_as_what_is_in_them(tmp_path, compression):
    plain = sample("07-old-single-plain") / "data" / "appendonly.aof"
    packed = tmp_path / "appendonly.aof.packed"
    with pa.CompressedOutputStream(str(packed), compression) as stream:
        stream.write(plain.read_bytes())
    log = aofnb.scan(packed)
    assert log.parts[0].compression == compression
    assert [row["offset"] for row in commands(log)] == [row["offset"] for row in commands(aofnb.scan(plain))]


def test_broken_compression_is_an_error_of_the_file(tmp_path):
    packed = tmp_path / "x.aof.gz"
    content = gzip.compress(encode_command([b"SET", b"k", bytes(range(256)) * 100]))
    packed.write_bytes(content[: len(content) - 20])
    with pytest.raises(AofFormatError, match=r"the gzip data is broken .*`gzip -dc` gives what is before"):
        len(aofnb.scan(packed))


def test_the_keys_of_a_snapshot_come_as_the_commands_that_rebuild_them():
    log = aofnb.scan(RDB_WITH_KEYS)
    rows = commands(log)
    assert {row["part"] for row in rows} == {"appendonly.aof.2.base.rdb", "appendonly.aof.2.incr.aof"}
    assert {row["status"] for row in rows} == {"ok"}
    assert [row["offset"] for row in rows if row["part"].endswith("rdb")] == sorted(
        row["offset"] for row in rows if row["part"].endswith("rdb")
    )


def test_sums_over_the_rows_of_a_snapshot_are_right():
    """A key of many elements is several rows, and one with a deadline two; its bytes are in the file once."""
    log = aofnb.scan(RDB_WITH_KEYS)
    frame = log.to_pandas(columns=["part", "offset", "nbytes"])
    rows = frame[frame["part"] == log.parts[0].name].to_dict("records")
    sizes = {}
    for row in rows:
        sizes.setdefault(row["offset"], []).append(row["nbytes"])
    assert max(map(len, sizes.values())) > 100
    assert all(each.count(0) >= len(each) - 1 for each in sizes.values())
    places = sorted(place for place in sizes if place)
    assert all(a + max(sizes[a]) <= b for a, b in itertools.pairwise(places))
    assert sum(row["nbytes"] for row in rows) > 0.9 * log.parts[0].size


def test_a_snapshot_without_keys_has_no_rows():
    log = aofnb.scan(sample("10-fresh-empty") / "data")
    assert len(log) == 0
    assert log.parts[0].format == "rdb"


def test_commands_behind_a_snapshot_are_read_where_it_ends(tmp_path):
    empty = (sample("10-fresh-empty") / "data/appendonlydir/appendonly.aof.1.base.rdb").read_bytes()
    file = tmp_path / "appendonly.aof"
    file.write_bytes(empty + encode_command([b"SET", b"k", b"v"]))
    assert [row["offset"] for row in commands(aofnb.scan(file))] == [len(empty)]


def test_a_single_file_with_a_preamble_gives_both():
    rows = commands(aofnb.scan(sample("06-old-single-rdb-preamble") / "data"))
    (known,) = known_records(sample("06-old-single-rdb-preamble")).values()
    assert [row["offset"] for row in rows][-len(known.commands) :] == [start for start, _, _ in known.commands]


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_compressed_snapshot_gives_the_same_rows(tmp_path, compression):
    plain = sample("06-old-single-rdb-preamble") / "data" / "appendonly.aof"
    packed = tmp_path / "x.aof.packed"
    with pa.CompressedOutputStream(str(packed), compression) as stream:
        stream.write(plain.read_bytes())
    packed, whole = (
        pa.Table.from_batches(list(aofnb.scan(path).batches(columns=["offset", "args"]))) for path in (packed, plain)
    )
    assert packed.equals(whole)


def test_a_damaged_snapshot_gives_what_is_before_the_damage(tmp_path):
    (rdb,) = RDB_WITH_KEYS.rglob("*.base.rdb")
    cut = tmp_path / "x.rdb"
    cut.write_bytes(rdb.read_bytes()[:5000])
    with pytest.raises(RdbError):
        len(aofnb.scan(cut))
    frame = aofnb.read_aof(cut, on_bad="truncate")
    assert 0 < len(frame) < len(commands(aofnb.scan(rdb)))
    (damage,) = frame.attrs["aof"]["damage"]
    assert damage["kind"] == "snapshot"
    assert damage["offset"] <= 5000


def test_a_snapshot_whose_checksum_is_wrong_says_so(tmp_path):
    (rdb,) = RDB_WITH_KEYS.rglob("*.base.rdb")
    content = bytearray(rdb.read_bytes())
    content[-1] ^= 1
    changed = tmp_path / "x.rdb"
    changed.write_bytes(content)
    (damage,) = aofnb.read_aof(changed).attrs["aof"]["damage"]
    assert damage["kind"] == "checksum"
    assert "checksum" in damage["reason"]


def test_a_cut_log_is_an_error_or_a_row():
    log = aofnb.scan(sample("04-truncated-mid-command") / "data")
    (known,) = [each for each in known_records(sample("04-truncated-mid-command")).values() if each.size]
    with pytest.raises(AofTruncatedError) as caught:
        commands(log)
    assert caught.value.offset == known.error_at
    rows = commands(log, on_bad="truncate")
    assert [row["offset"] for row in rows] == [offset for offset, *_ in known.commands] + [known.error_at]
    assert [row["status"] for row in rows] == ["ok"] * len(known.commands) + ["truncated"]


def test_a_transaction_without_exec_is_discarded_as_a_server_discards_it():
    log = aofnb.scan(sample("04c-multi-without-exec") / "data", on_bad="truncate")
    assert [row["status"] for row in commands(log)] == ["ok", "ok", "discarded", "discarded", "discarded"]
    with pytest.raises(AofTruncatedError, match="inside a transaction") as caught:
        commands(log, on_bad="error")
    assert caught.value.offset == 55


def test_a_cut_command_in_an_open_transaction_stays_truncated():
    log = aofnb.scan(sample("04b-truncated-inside-multi") / "data", on_bad="truncate")
    assert [row["status"] for row in commands(log)] == ["ok", "ok", "discarded", "discarded", "truncated"]


def test_a_damaged_file_does_not_hide_the_next(tmp_path):
    write(tmp_path / "x.aof.1.incr.aof", [b"MULTI"], [b"SET", b"a", b"1"], tail=b"\0\0")
    write(tmp_path / "x.aof.2.incr.aof", [b"SET", b"b", b"1"])
    (tmp_path / "x.aof.manifest").write_bytes(
        b"file x.aof.1.incr.aof seq 1 type i\nfile x.aof.2.incr.aof seq 2 type i\n"
    )
    rows = commands(aofnb.scan(tmp_path), on_bad="truncate")
    assert [row["status"] for row in rows] == ["discarded", "discarded", "truncated", "ok"]


def test_a_wrong_on_bad_is_refused():
    with pytest.raises(ValueError, match="on_bad"):
        aofnb.scan(BASE_AOF, on_bad="skip")


def test_arrow_takes_a_log_as_it_is():
    log = aofnb.scan(BASE_AOF)
    table = pa.table(log)
    assert table.num_rows == len(log) == sum(len(known.commands) for known in known_records(BASE_AOF.parent).values())
    assert table.column_names[:3] == ["seq", "part", "offset"]
    assert table.column("seq").to_pylist() == list(range(len(log)))
    assert pa.schema(log) == table.schema


def test_progress_is_told_in_bytes_up_to_the_end():
    told = []
    log = aofnb.scan(BASE_AOF)
    list(log.batches(progress=lambda done, total: told.append((done, total))))
    total = sum(part.size for part in log.parts)
    assert told[-1] == (total, total)
    assert told == sorted(told)


def test_progress_must_be_callable():
    with pytest.raises(TypeError, match="progress"):
        list(aofnb.scan(BASE_AOF).batches(progress=3))


def test_repr_names_the_files_and_their_sizes_and_escapes_them(tmp_path):
    file = write(tmp_path / "<b>.aof", [b"PING"])
    log = aofnb.scan(file)
    assert "14 B" in repr(log)
    assert "command" not in repr(log)
    assert len(log) == 1
    assert "1 command>" in repr(log)
    assert "&lt;b&gt;.aof" in log._repr_html_()
    assert "<b>.aof" not in log._repr_html_()


def test_a_log_is_true_without_being_read(tmp_path):
    assert aofnb.scan(write(tmp_path / "x.aof", tail=b"garbage"))


def test_every_public_log_can_be_read_as_far_as_it_goes():
    root = public_samples()
    known_bad = {"clones/git-lfs-pointer.aof", "clones/timestamped-text.aof", "clones/godis-blank-lines.aof"}
    for file in sorted(root.rglob("*.aof")):
        name = str(file.relative_to(root))
        log = aofnb.scan(file)
        damaged = [row for row in commands(log, on_bad="truncate") if row["status"] == "truncated"]
        assert bool(damaged) == (name in known_bad), name


@pytest.mark.parametrize("manifest", ["chrono-matchmaking", "apscheduler", "after-rewrite", "ru301/primary"])
def test_public_directories_are_found(manifest):
    source, parts = find_parts(public_samples() / manifest)
    assert source.endswith(".manifest")
    assert [part.type for part in parts] == ["base", "incr"]


def test_an_empty_path_is_not_the_working_directory(tmp_path, monkeypatch):
    write(tmp_path / "x.aof", [b"PING"])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="give a directory or a file"):
        aofnb.scan("")
    assert len(aofnb.scan(".")) == 1


def test_a_tilde_is_the_home_directory(tmp_path, monkeypatch):
    write(tmp_path / "x.aof", [b"PING"])
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(aofnb.scan("~/x.aof")) == 1


# --- a log that is rewritten while it is read ----------------------------------------------------------------


def _rewritten(store):
    store.bgrewriteaof()
    while store.stats().rewrite.phase != "idle":
        store.execute("PING")


@pytest.mark.skipif(not hasattr(os, "pread"), reason="files are not held here")
def test_a_log_is_read_to_its_end_whatever_a_rewrite_deletes(tmp_path):
    with aofnb.open(tmp_path, background=False, auto_aof_rewrite_percentage=0) as store:
        for number in range(50):
            store.execute("SET", f"k{number}", number)
        log = aofnb.scan(tmp_path, cache_dir=False)
        _rewritten(store)
        store.execute("SET", "later", "1")
        assert not any(os.path.exists(part.path) for part in log.parts)
        assert log.index().rows == len(log.to_pandas()) == 51
        with log.at(21) as then:
            assert then.execute("DBSIZE") == 20
        assert log.history("k7").cmd.tolist() == ["SET"]
        assert aofnb.scan(tmp_path, cache_dir=False).get("later") == b"1"


def test_a_compressed_file_that_is_gone_is_read_back_and_forth(tmp_path):
    file = tmp_path / "x.aof.gz"
    file.write_bytes(gzip.compress(b"".join(encode_command([b"SET", b"k%d" % n, b"v"]) for n in range(9000))))
    log = aofnb.scan(file, cache_dir=False)
    file.unlink()
    file.write_bytes(b"another one")
    assert log.get("k8999") == b"v"
    assert log.get("k3") == b"v"
    assert len(log.to_pandas()) == 9000


def test_a_manifest_that_changes_while_its_files_are_looked_for_is_read_again(tmp_path, monkeypatch):
    with aofnb.open(tmp_path, background=False, auto_aof_rewrite_percentage=0) as store:
        store.execute("SET", "a", "1")
        real = Manifest.parse
        rewrites = []

        def parse_and_rewrite(content, name, **options):
            found = real(content, name, **options)
            if not rewrites:
                rewrites.append(1)
                _rewritten(store)
            return found

        monkeypatch.setattr("aofnb.forensics.parts.Manifest.parse", parse_and_rewrite)
        log = aofnb.scan(tmp_path, cache_dir=False)
    assert rewrites
    assert [part.seq for part in log.parts] == [2, 2]


def test_held_files_are_let_go_with_their_log(tmp_path):
    file = write(tmp_path / "x.aof", [b"PING"])
    before = set(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else set()
    logs = [aofnb.scan(file, cache_dir=False) for _ in range(150)]
    assert sum(map(len, logs)) == 150
    del logs
    gc.collect()
    assert not before or len(os.listdir("/proc/self/fd")) <= len(before) + 1


def test_parts_are_sent_to_another_process_by_name(tmp_path):
    file = write(tmp_path / "x.aof", [b"PING"])
    (part,) = aofnb.scan(file).parts
    there = pickle.loads(pickle.dumps(part))
    assert there == part
    with there.open() as read:
        assert read.read(100) == encode_command([b"PING"])


@pytest.mark.parametrize(
    "ask",
    [
        lambda log: log.at("end"),
        lambda log: log.history("k"),
        lambda log: log.recover(stop=1),
        lambda log: log.to_pandas(replay=True),
    ],
)
def test_who_lets_go_of_a_log_lets_go_of_its_files(tmp_path, monkeypatch, ask):
    """At once: not when the garbage is collected, since only so many files are held."""
    path = tmp_path / "x.aof"
    path.write_bytes(encode_command([b"INCR", b"k"]) * 3)
    monkeypatch.setattr(parts, "_HELD_MAX", HeldFile._count + 1)
    held = HeldFile._count
    gc.disable()
    try:
        log = aofnb.scan(path)
        assert HeldFile._count == held + 1
        ask(log)
        del log
        assert HeldFile._count == held
    finally:
        gc.enable()
