"""Logs from elsewhere: addresses, open files, lists and patterns, compressed; and the options pandas users expect."""

import gc
import gzip
import io
import os
import shutil
import tempfile
import threading
import warnings

import pandas as pd
import pytest
from support.require import need_module
from support.samples import sample

import aofnb
from aofnb.errors import AofError, AofFormatError, AofManifestError

BASE_AOF = sample("02-aof-base-incr") / "data"
HISTORY = sample("08-manifest-history-two-incr-quoted") / "data"
INCR = BASE_AOF / "appendonlydir" / "appendonly.aof.2.incr.aof"


@pytest.fixture
def memory():
    fs = need_module("fsspec").filesystem("memory")
    for shard in ("one", "two"):
        fs.put(str(BASE_AOF / "appendonlydir"), f"/backup/{shard}/appendonlydir", recursive=True)
    yield "memory://backup"
    fs.rm("/backup", recursive=True)


def test_an_open_file_is_read_from_where_it_stands():
    with INCR.open("rb") as file:
        assert len(aofnb.read_aof(file)) == len(aofnb.read_aof(INCR))
    packed = io.BytesIO(gzip.compress(INCR.read_bytes()))
    assert len(aofnb.read_aof(packed, compression="gzip")) == len(aofnb.read_aof(INCR))
    with pytest.raises(TypeError, match="mode 'rb'"):
        aofnb.read_aof(io.StringIO("*1"))


def test_copies_go_with_the_log_without_a_word(tmp_path, monkeypatch):
    """Also where it is in a cycle of references, and the collection of garbage finds it in the middle of other work."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    log = aofnb.scan(io.BytesIO(b"*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n" * 3), cache_dir=False)
    assert log.history("n").shape[0] == 3
    assert list(tmp_path.iterdir())
    cycle = [log]
    cycle.append(cycle)
    del log, cycle
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        gc.collect()
    assert (list(tmp_path.iterdir()), warned) == ([], [])


def test_an_address_is_copied_and_read(memory):
    log = aofnb.scan(f"{memory}/one")
    assert log.source == f"{memory}/one"
    assert len(log) == len(aofnb.scan(BASE_AOF))
    assert len(aofnb.read_aof(f"{memory}/one/appendonlydir/appendonly.aof.manifest")) == len(log)
    assert len(aofnb.read_aof(f"{memory}/one/appendonlydir/{INCR.name}")) == len(aofnb.read_aof(INCR))
    assert log.check().ok


def test_a_pipe_is_read_to_its_end_once(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(INCR.read_bytes()), daemon=True)
    writer.start()
    log = aofnb.scan(pipe)
    writer.join()
    assert log.source == str(pipe)
    # A second pass over the log, and a third.
    assert len(log) == len(aofnb.scan(INCR))
    assert log.check().ok


def test_an_address_of_this_machine_is_read_where_it_is():
    need_module("fsspec")
    log = aofnb.scan(f"file://{INCR}")
    assert log.parts == aofnb.scan(INCR).parts
    assert len(aofnb.read_aof(f"file://{BASE_AOF}")) == len(aofnb.read_aof(BASE_AOF))


def test_a_directory_elsewhere_is_looked_through_as_one_here(memory):
    fs = need_module("fsspec").filesystem("memory")
    fs.put(str(INCR), "/backup/one/old.aof")
    # Deeper than a log can be.
    fs.put(str(INCR), "/backup/one/deep/deeper/other.aof")
    assert len(aofnb.scan(f"{memory}/one")) == len(aofnb.scan(BASE_AOF))
    fs.put(str(INCR), "/backup/three/one.aof")
    fs.put(str(INCR), "/backup/three/two.aof")
    fs.put(str(INCR), "/backup/four/deep/deeper/other.aof")
    fs.put(str(INCR), "/backup/five/appendonly.aof.1.incr.aof")
    for name in ("six", "seven/a", "seven/b"):
        fs.put(str(BASE_AOF / "appendonlydir" / "appendonly.aof.manifest"), f"/backup/{name}/appendonly.aof.manifest")
    # What is wrong there is said of there, not of the copy.
    for name, error, said in [
        ("three", AofError, "give the path of one file: one.aof, two.aof"),
        ("four", AofError, "no append-only file and no manifest"),
        ("five", AofManifestError, "the manifest is missing"),
        ("six", AofManifestError, "it lists .*, which is not there"),
        ("seven", AofError, "there is more than one log here, .*: a, b"),
    ]:
        with pytest.raises(error, match=f"{memory}/{name}: {said}"):
            aofnb.scan(f"{memory}/{name}")


def test_an_address_that_is_not_there_says_so(memory):
    with pytest.raises((AofError, FileNotFoundError)):
        aofnb.scan(f"{memory}/nowhere")
    for address in ("nosuchprotocol://x/y", "nosuchprotocol://x/*"):
        with pytest.raises(AofError, match="cannot be read"):
            aofnb.read_aof(address)
    with pytest.raises(ValueError, match="storage_options"):
        aofnb.scan(BASE_AOF, storage_options={"key": "x"})
    for asked in ({"storage_options": 5}, {"history": "all"}):
        (name,) = asked
        with pytest.raises(TypeError, match=f"{name}= is"):
            aofnb.scan(BASE_AOF, **asked)


@pytest.mark.parametrize("kind", ["list", "pattern", "address"])
def test_several_logs_have_a_column_that_tells_them_apart(kind, tmp_path, memory):
    for shard in ("one", "two"):
        shutil.copytree(BASE_AOF, tmp_path / shard)
    source = {
        "list": [tmp_path / "one", tmp_path / "two"],
        "pattern": str(tmp_path / "*" / "appendonlydir"),
        "address": f"{memory}/*/appendonlydir",
    }[kind]
    frame = aofnb.read_aof(source)
    one = aofnb.read_aof(BASE_AOF)
    assert list(frame.columns) == ["shard", *one.columns]
    assert frame["shard"].value_counts().to_dict() == {"one": len(one), "two": len(one)}
    assert frame.dtypes.drop("shard").equals(one.dtypes)
    assert frame[frame["shard"] == "two"].drop(columns="shard").key.equals(one.key)


def test_a_question_is_to_one_log(tmp_path):
    shutil.copytree(BASE_AOF, tmp_path / "one")
    pattern = str(tmp_path / "*")
    assert len(aofnb.scan(pattern)) == len(aofnb.scan([tmp_path / "one"])) == len(aofnb.scan(BASE_AOF))
    shutil.copytree(BASE_AOF, tmp_path / "two")
    with pytest.raises(ValueError, match=r"these are 2 logs: one, two; .*read_aof\(\) reads all"):
        aofnb.scan(pattern)
    with pytest.raises(ValueError, match=r"these are 2 logs"):
        aofnb.scan([tmp_path / "one", tmp_path / "two"])
    with pytest.raises(FileNotFoundError, match="nothing matches"):
        aofnb.scan(str(tmp_path / "x*"))


def test_what_names_no_logs(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing matches"):
        aofnb.read_aof(str(tmp_path / "*"))
    with pytest.raises(ValueError, match="empty list"):
        aofnb.read_aof([])
    with pytest.raises(ValueError, match="named twice"):
        aofnb.read_aof([INCR, INCR])
    with pytest.raises(ValueError, match="in chunks"):
        aofnb.read_aof([INCR, BASE_AOF], chunksize=3)
    with pytest.raises(TypeError, match="a log is"):
        aofnb.read_aof(7)


def test_replaced_files_come_first_if_asked_for():
    log = aofnb.scan(HISTORY, history=True)
    assert [part.type for part in log.parts] == ["history"] * 4 + ["base", "incr", "incr"]
    assert len(aofnb.read_aof(HISTORY, history=True)) > len(aofnb.read_aof(HISTORY))
    with pytest.raises(ValueError, match="not data to replay"):
        log.at("end")
    with pytest.raises(ValueError, match="needs a manifest"):
        aofnb.scan(INCR, history=True)


def test_compression_may_be_insisted_on(tmp_path):
    packed = tmp_path / "log.aof.gz"
    packed.write_bytes(gzip.compress(INCR.read_bytes()))
    assert len(aofnb.read_aof(packed, compression="gzip")) == len(aofnb.read_aof(INCR))
    with pytest.raises(AofFormatError, match="not compressed with zstd"):
        aofnb.read_aof(packed, compression="zstd")
    with pytest.raises(AofFormatError, match="where a command must begin"):
        aofnb.read_aof(packed, compression=None)
    with pytest.raises(ValueError, match="compression="):
        aofnb.read_aof(packed, compression="rar")


@pytest.mark.parametrize(("backend", "dtype"), [("pyarrow", "int64[pyarrow]"), ("numpy_nullable", "Int64")])
def test_dtypes_are_of_the_backend_that_was_asked_for(backend, dtype):
    frame = aofnb.read_aof(INCR, dtype_backend=backend)
    assert str(frame.offset.dtype) == dtype
    assert isinstance(frame.cmd.dtype, pd.CategoricalDtype)
    plain = aofnb.read_aof(INCR)
    assert frame.offset.tolist() == plain.offset.tolist()
    assert frame.attrs == plain.attrs
    with pytest.raises(ValueError, match="dtype_backend="):
        aofnb.read_aof(INCR, dtype_backend="polars")


def test_an_iterator_gives_as_many_rows_as_asked_for():
    whole = aofnb.read_aof(INCR)
    with aofnb.read_aof(INCR, iterator=True) as reader:
        pieces = [reader.get_chunk(5), reader.get_chunk(3), next(reader)]
        assert [len(piece) for piece in pieces] == [5, 3, len(whole) - 8]
        assert pd.concat(pieces).key.equals(whole.key)
        with pytest.raises(StopIteration):
            next(reader)
    with aofnb.read_aof(INCR, chunksize=4) as reader:
        next(reader)
    assert list(reader) == []
