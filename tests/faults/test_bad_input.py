"""Bad input gives a clear error with the place and the remedy, and the files are as they were."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

import aofnb

MANIFEST = "appendonly.aof.manifest"
INCR = "appendonly.aof.1.incr.aof"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A closed store with ten keys."""
    with aofnb.open(tmp_path / "data") as store:
        for i in range(10):
            store.execute("SET", f"key:{i}", f"value {i}")
    return tmp_path / "data"


def snapshot(directory: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(directory)): p.read_bytes()
        for p in directory.rglob("*")
        if p.is_file() and p.name != "aofnb.lock"
    }


def refused(directory: Path, error: type[aofnb.AofError], **settings: object) -> aofnb.AofError:
    """Open `directory`, which must fail with `error` and change nothing; the error."""
    before = snapshot(directory)
    with pytest.raises(error) as caught:
        aofnb.open(directory, **settings)
    assert snapshot(directory) == before
    with pytest.raises(error):  # and the lock was given back
        aofnb.open(directory, **settings)
    return caught.value


def edit(path: Path, old: bytes, new: bytes) -> int:
    """Replace the first `old` in `path`; its offset."""
    data = path.read_bytes()
    offset = data.index(old)
    path.write_bytes(data[:offset] + new + data[offset + len(old) :])
    return offset


def test_a_byte_flipped_in_a_header(directory: Path) -> None:
    incr = directory / "appendonlydir" / INCR
    record = b"*3\r\n$3\r\nSET\r\n$5\r\nkey:4\r\n"
    offset = edit(incr, record, b"\xaa" + record[1:])
    problem = refused(directory, aofnb.AofFormatError)
    assert problem.offset == offset
    assert problem.file == str(incr)
    assert "read_aof" in str(problem) or "check" in str(problem), "the remedy is missing"


def test_a_length_beyond_the_file_is_no_cut_tail(directory: Path) -> None:
    """The length swallows the rest of the file, and whole commands are in that: redis-server deletes them."""
    incr = directory / "appendonlydir" / INCR
    record = b"*3\r\n$3\r\nSET\r\n$5\r\nkey:4\r\n$7\r\n"
    offset = edit(incr, record, record[:-4] + b"$999999999999\r\n")
    problem = refused(directory, aofnb.AofFormatError)
    assert problem.offset == offset
    assert "the length is damaged" in str(problem)
    assert "salvage" in str(problem)


def test_a_length_beyond_the_file_in_the_last_record_is_a_cut_tail(directory: Path) -> None:
    """Nothing tells it from a cut, and nothing is allocated for it."""
    incr = directory / "appendonlydir" / INCR
    record = b"*3\r\n$3\r\nSET\r\n$5\r\nkey:9\r\n$7\r\n"
    offset = edit(incr, record, record[:-4] + b"$999999999999\r\n")
    problem = refused(directory, aofnb.AofTruncatedError, aof_load_truncated=False)
    assert problem.offset == offset


@pytest.mark.parametrize("length", [b"$-1", b"$-7", b"x7"])
def test_a_length_that_cannot_be(directory: Path, length: bytes) -> None:
    incr = directory / "appendonlydir" / INCR
    edit(incr, b"$7\r\nvalue 4", length + b"\r\nvalue 4")
    problem = refused(directory, aofnb.AofFormatError)
    assert problem.offset is not None


def test_a_record_with_too_few_arguments(directory: Path) -> None:
    """redis-server 7.0.15 crashes on it, or stores what lay behind the vector."""
    incr = directory / "appendonlydir" / INCR
    with open(incr, "ab") as file:
        offset = file.tell()
        file.write(b"*2\r\n$3\r\nSET\r\n$1\r\nk\r\n")
    problem = refused(directory, aofnb.AofFormatError)
    assert problem.offset == offset
    assert "wrong number of arguments" in str(problem)


def test_an_unknown_command(directory: Path) -> None:
    incr = directory / "appendonlydir" / INCR
    with open(incr, "ab") as file:
        offset = file.tell()
        file.write(b"*2\r\n$8\r\nJSON.GET\r\n$1\r\nk\r\n")
    problem = refused(directory, aofnb.AofFormatError)
    assert problem.offset == offset
    assert "JSON.GET" in str(problem)


def test_a_file_of_the_manifest_is_missing(directory: Path) -> None:
    (directory / "appendonlydir" / INCR).unlink()
    problem = refused(directory, aofnb.AofManifestError)
    assert INCR in str(problem)


def test_the_manifest_is_missing_beside_data(directory: Path) -> None:
    """redis-server starts empty and appends behind data it never read."""
    (directory / "appendonlydir" / MANIFEST).unlink()
    problem = refused(directory, aofnb.AofManifestError)
    assert "manifest" in str(problem)


@pytest.mark.parametrize(
    "text", [b"", b"file a seq 1\n", b"file a seq 0 type b\n", b"file a seq 1 type x\n", b"file a seq 1 type b"]
)
def test_a_manifest_that_cannot_be(directory: Path, text: bytes) -> None:
    manifest = directory / "appendonlydir" / MANIFEST
    manifest.write_bytes(text)
    problem = refused(directory, aofnb.AofManifestError)
    assert problem.file == str(manifest)


def test_a_second_store_in_the_same_process(directory: Path) -> None:
    with aofnb.open(directory) as store:
        with pytest.raises(aofnb.AofLockedError, match=str(os.getpid())) as caught:
            aofnb.open(directory)
        assert "readonly=True" in str(caught.value)
        store.execute("SET", "still", "writable")
        with aofnb.open(directory, readonly=True) as reader:
            assert reader.execute("GET", "still") == b"writable"
            with pytest.raises(aofnb.ReplyError, match="READONLY"):
                reader.execute("SET", "a", "b")


def test_a_second_kernel_on_the_directory(directory: Path) -> None:
    code = "import sys, aofnb\ntry:\n aofnb.open(sys.argv[1])\nexcept aofnb.AofLockedError as problem:\n print(problem)"
    with aofnb.open(directory):
        said = subprocess.run([sys.executable, "-c", code, str(directory)], capture_output=True, text=True, check=True)
    assert str(os.getpid()) in said.stdout
    assert "readonly=True" in said.stdout


def test_a_forked_child_cannot_write(directory: Path) -> None:
    with aofnb.open(directory) as store:
        pid = os.fork()
        if pid == 0:
            try:
                store.execute("SET", "from", "the child")
            except aofnb.StoreClosedError as problem:
                os._exit(0 if "parent" in str(problem) else 2)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        store.execute("SET", "from", "the parent")
        assert store.execute("GET", "from") == b"the parent"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_refuses_writes_but_not_reads_and_loses_nothing(directory: Path) -> None:
    with aofnb.open(directory, background=False) as store:
        live = store.engine.writer.file
        healthy = live.fd
        live.fd = os.open("/dev/full", os.O_WRONLY)
        try:
            with pytest.raises(aofnb.AofWriteError) as caught:
                store.execute("SET", "during", "full")
            assert caught.value.__cause__.errno == errno.ENOSPC
            assert "retried" in str(caught.value)
            assert store.stats().write_error
            with pytest.raises(aofnb.ReplyError, match="MISCONF"):
                store.execute("SET", "refused", "1")
            assert store.execute("GET", "key:3") == b"value 3"
        finally:
            os.close(live.fd)
            live.fd = healthy
        store.tick()
        assert store.stats().write_error is None
        store.execute("SET", "after", "space")
    with aofnb.open(directory) as store:
        assert store.execute("MGET", "during", "refused", "after") == [b"full", None, b"space"]


def test_a_setting_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(aofnb.ConfigError, match="everysec, always, no"):
        aofnb.open(tmp_path / "data", appendfsync="sometimes")
    with pytest.raises(aofnb.ConfigError, match="apendfsync"):
        aofnb.open(tmp_path / "data", apendfsync="always")
    assert not (tmp_path / "data").exists()
