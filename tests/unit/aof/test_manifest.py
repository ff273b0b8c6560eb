"""aofnb/aof/manifest.py: the list of files, its grammar, and its replacement in one step."""

from __future__ import annotations

import os

import pytest
from support.faults import FaultFs

from aofnb.aof.fs import OsFs
from aofnb.aof.manifest import AofFile, Manifest, ManifestPublishedError
from aofnb.errors import AofManifestError, AofWriteError

BASE = b"file a.1.base.rdb seq 1 type b\n"
INCR = b"file a.1.incr.aof seq 1 type i\n"


def parse(data: bytes) -> Manifest:
    return Manifest.parse(data, "a", file="a.manifest")


def test_reads_what_redis_writes():
    manifest = parse(BASE + b"file a.0.base.rdb seq 7 type h\n" + INCR + b"file a.3.incr.aof seq 3 type i\n")
    assert manifest.base == AofFile("a.1.base.rdb", 1, "base")
    assert manifest.incrs == (AofFile("a.1.incr.aof", 1, "incr"), AofFile("a.3.incr.aof", 3, "incr"))
    assert manifest.history == (AofFile("a.0.base.rdb", 7, "history"),)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"# a comment\n" + BASE, "a.1.base.rdb"),
        (BASE + b"# a comment without line end", "a.1.base.rdb"),
        (BASE.replace(b"\n", b" \t\r\n"), "a.1.base.rdb"),
        (b"  " + BASE, "a.1.base.rdb"),
        (b"FILE x SEQ 1 Type base\n", "x"),
        (b"type b seq 1 file x\n", "x"),
        (b"file x seq 1 type b startoffset 10 endoffset 20\n", "x"),
        (b"file x seq 12abc type b\n", "x"),
        (b'file "my data.aof.1.base.rdb" seq 1 type b\n', "my data.aof.1.base.rdb"),
        (b"file 'it\\'s' seq 1 type b\n", "it's"),
        (b'file "a\\x20\\n\\"\\t\\q" seq 1 type b\n', 'a \n"\tq'),
        (b'file a"b c"  seq 1 type b\n', "ab c"),
        (INCR + BASE, "a.1.base.rdb"),
    ],
)
def test_spellings_that_redis_takes(data, expected):
    manifest = parse(data)
    assert manifest.base is not None
    assert manifest.base.name == expected


def test_only_comments_is_an_empty_manifest():
    assert parse(b"# nothing\n# here\n").all_files == ()


@pytest.mark.parametrize(
    ("data", "line", "why"),
    [
        (b"", 0, "empty"),
        (b"\n", 1, "pairs"),
        (BASE + b"\n" + INCR, 2, "pairs"),
        (b"file x seq 1 type b", 1, "no line end"),
        (b"file " + b"x" * 1100 + b" seq 1 type b\n", 1, "too long"),
        (b"#" + b"x" * 1100 + b"\n", 2, "pairs"),
        (b"file x seq 1 type b\0\n", 1, "zero byte"),
        (b"file x seq 1\n", 1, "pairs"),
        (b"file x seq 1 type b odd\n", 1, "pairs"),
        (b"name x seq 1 type b\n", 1, "file missing"),
        (b"file x seq 1 type ''\n", 1, "type missing"),
        (b"file '' seq 1 type b\n", 1, "file missing"),
        (b"file x seq 0 type b\n", 1, "seq must"),
        (b"file x seq one type b\n", 1, "seq must"),
        (b'file "x seq 1 type b\n', 1, "quote is not closed"),
        (b'file "x"y seq 1 type b\n', 1, "followed by a blank"),
        (b"file x seq 1 type x\n", 1, "type must"),
        (b"file d/x seq 1 type b\n", 1, "not a path"),
        (BASE + b"file y seq 2 type b\n", 2, "second base"),
        (INCR + b"file b seq 1 type i\n", 2, "greater"),
        (INCR + b"file b seq -4 type i\n", 2, "greater"),
    ],
)
def test_what_redis_refuses_is_refused_with_its_line(data, line, why):
    with pytest.raises(AofManifestError, match=why) as caught:
        parse(data)
    assert caught.value.file == "a.manifest"
    if line:
        assert f"line {line} " in str(caught.value)


def test_a_file_listed_twice_is_refused():
    """redis-server loads it twice, or deletes as history what it loads: here it is an error."""
    with pytest.raises(AofManifestError, match="listed twice"):
        parse(INCR + b"file a.1.incr.aof seq 2 type i\n")


@pytest.mark.parametrize(
    "name", ["plain", "with space", 'quo"te', "it's", "back\ttab", "umläut", "line\nend", "#hash", "\udcff"]
)
def test_names_survive_writing_and_reading(name):
    manifest = Manifest(name).with_new_base().with_new_incr()
    text = os.fsencode(manifest.format())
    assert text.isascii()
    assert Manifest.parse(text, name) == manifest


def test_format_is_what_redis_writes():
    entry = AofFile("my däta.aof\n", 3, "history")
    assert entry.format() == r'file "my d\xc3\xa4ta.aof\n" seq 3 type h'
    assert AofFile("a.1.incr.aof", 1, "incr").format() == "file a.1.incr.aof seq 1 type i"


def test_a_new_base_makes_history_of_all_but_the_live_incr():
    manifest = Manifest("my data.aof").with_new_base().with_new_incr().with_new_incr().with_new_base()
    manifest = manifest.with_new_incr().with_new_base().with_new_incr()
    assert manifest.format().splitlines() == [
        'file "my data.aof.3.base.aof" seq 3 type b',
        'file "my data.aof.2.incr.aof" seq 2 type h',
        'file "my data.aof.2.base.aof" seq 2 type h',
        'file "my data.aof.1.incr.aof" seq 1 type h',
        'file "my data.aof.1.base.aof" seq 1 type h',
        'file "my data.aof.3.incr.aof" seq 3 type i',
        'file "my data.aof.4.incr.aof" seq 4 type i',
    ]
    assert manifest.without_history().history == ()
    assert len(manifest.without_history({"my data.aof.1.base.aof"}).history) == 1


def test_a_new_incr_takes_no_name_that_is_taken():
    assert Manifest("a").with_new_incr({"a.1.incr.aof", "a.2.incr.aof"}).incrs[0].seq == 3


def test_persist_syncs_before_and_after_the_rename(tmp_path):
    fs = FaultFs()
    parse(BASE + INCR).persist(fs, str(tmp_path))
    assert fs.log == [
        ("create", "temp-a.manifest"),
        ("write", "temp-a.manifest"),
        ("fdatasync", "temp-a.manifest"),
        ("close", "temp-a.manifest"),
        ("rename", "a.manifest"),
        ("fsync_dir", tmp_path.name),
    ]
    assert (tmp_path / "a.manifest").read_bytes() == BASE + INCR
    assert Manifest.load(OsFs(), str(tmp_path), "a") == parse(BASE + INCR)


@pytest.mark.parametrize("fail_at", range(6))
@pytest.mark.parametrize("short_write", [None, 5])
def test_a_failure_leaves_one_whole_manifest(tmp_path, fail_at, short_write):
    old, new = parse(BASE), parse(BASE + INCR)
    old.persist(OsFs(), str(tmp_path))
    kind = ManifestPublishedError if fail_at == 5 else AofWriteError
    with pytest.raises(kind) as caught:
        new.persist(FaultFs(fail_at, short_write=short_write), str(tmp_path))
    assert type(caught.value) is kind
    assert Manifest.load(OsFs(), str(tmp_path), "a") == (new if fail_at == 5 else old)
    assert [path.name for path in tmp_path.iterdir()] == ["a.manifest"]
