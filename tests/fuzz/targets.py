"""What is fuzzed: readers of bytes that somebody else wrote, each with what must hold of any bytes at all.

A target takes bytes and returns, or raises: a `AofnbError` of the kind that its reader documents is taken as an answer,
anything else is a find. So is a contradiction (`assert`): two readers that disagree about the same bytes, a value that
was read and cannot be written, a log that is called valid and does not load.
"""

from __future__ import annotations

import io
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from aofnb import scan
from aofnb.aof.check import check
from aofnb.aof.fs import Fs
from aofnb.aof.load import Tail, read_units
from aofnb.aof.manifest import Manifest
from aofnb.clock import FakeClock
from aofnb.engine.store import open_store
from aofnb.errors import AofError, AofManifestError, RdbError
from aofnb.forensics.columns import DEFAULT_COLUMNS
from aofnb.forensics.reading import OnBad
from aofnb.lab.crash import content_of
from aofnb.lab.disk import DiskImage
from aofnb.rdb import RdbReader, dump_payload, load_payload, load_rdb, write_rdb
from aofnb.rdb.crc64 import crc64
from aofnb.resp.reader import CommandReader, End
from aofnb.store.digest import keyspace_digest, value_digest
from aofnb.store.keyspace import Keyspace
from aofnb.store.snapshot import commands_of_key

__all__ = ["TARGETS", "Target"]

_DATA = Path(__file__).parents[1] / "data"
_SIM = os.path.abspath(os.path.join(os.sep, "sim"))
_DIRECTORY = os.path.join(_SIM, "data")
_LOG = os.path.join(_DIRECTORY, "appendonlydir")
_INCR = "appendonly.aof.1.incr.aof"
_PATH = os.path.join(_LOG, _INCR)
_MANIFEST = b"file appendonly.aof.1.incr.aof seq 1 type i\n"
_EMPTY: tuple[tuple[str, bytes | None], ...] = ((_SIM, None), (_DIRECTORY, None), (_LOG, None))
# Seeds are small, so that many are tried; what only shows in large files is the samples' tests' matter.
_SEED_MAX = 6000


@dataclass(frozen=True, slots=True)
class Target:
    """One thing to fuzz.

    Attributes
    ----------
    run
        Takes the bytes; whatever it raises is a find.
    seeds
        Files to begin with.
    words
        Pieces of the format, to be put in anywhere.
    mend
        Makes a checksum right again that a mutation made wrong, else nothing behind it would ever be reached.
    """

    name: str
    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    words: tuple[bytes, ...] = ()
    mend: Callable[[bytes], bytes] = bytes


# --- logs ----------------------------------------------------------------------------------------------------


def _disk(data: bytes, manifest: bytes = _MANIFEST) -> Fs:
    """A disk with one incr."""
    files = ((_PATH, data), (os.path.join(_LOG, "appendonly.aof.manifest"), manifest))
    return DiskImage(_EMPTY + files).mount()


def _read(data: bytes, piece: int) -> tuple[list[tuple[int, int, list[bytes]]], list[tuple[int, bytes]], End]:
    reader = CommandReader(io.BytesIO(data), len(data), piece=piece)
    found, annotations = [], []
    for block in reader:
        found += zip(block.offsets, block.ends, block.argvs, strict=True)
        annotations += block.annotations
    # The reason quotes what it can see of the bytes.
    assert reader.end is not None
    return found, annotations, replace(reader.end, reason="")


def _units(fs: Fs) -> Tail:
    units = read_units(fs, _PATH)
    for _ in units:
        pass
    return units.tail


def _aof(data: bytes) -> None:
    """Reading in small pieces and in large ones gives the same; `check`, and what loads, agree on where it ends."""
    fs = _disk(data)
    report = check(_DIRECTORY, fs=fs)
    assert report.problem is None
    assert 0 <= report.files[0].ok_up_to <= len(data)
    if data.startswith(b"REDIS"):
        return
    commands, annotations, end = whole = _read(data, 1 << 14)
    assert whole == _read(data, 1 + len(data) % 61)
    assert all(0 <= start < stop <= len(data) for start, stop, _ in commands)
    assert sum(map(len, (arg for _, _, argv in commands for arg in argv))) <= len(data)
    tail = _units(fs)
    assert end.line_ends_changed == tail.line_ends_changed == report.files[0].line_ends_changed
    assert report.cut_at == (None if tail.kind == "clean" else tail.cut_at)
    if tail.kind != "clean":
        fs.truncate(_PATH, tail.cut_at)
        assert _units(fs).kind == "clean", "what was cut at the end of a unit is whole"
    assert len(annotations) <= data.count(b"#")


# What is asked for by name in the log, and is as slow or as large as it was asked to be.
_COSTLY = re.compile(rb"SLEEP|SELFTEST|SETRANGE|SETBIT|BITFIELD|RANDMEMBER|LCS|EVAL|FCALL", re.IGNORECASE)


def _load(data: bytes) -> None:
    """Whatever a log holds, it opens or is refused; what was opened twice is the same twice, and can be rewritten."""
    if _COSTLY.search(data):
        return
    with _quiet():
        opened = _opened_twice(_disk(data))
    told = check(_DIRECTORY, fs=_disk(data)).aofnb
    assert not opened or told.action != "refuses"


@contextmanager
def _quiet() -> Iterator[None]:
    """Without warnings of torn tails and failed commands, by the thousand."""
    log = logging.getLogger("aofnb")
    was, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = was


def _opened_twice(fs: Fs) -> bool:
    """False if it is refused."""
    try:
        first = _opened(fs, readonly=True)
    except (AofError, RdbError):
        return False
    # A deadline that is relative counts from the time of loading, which stands still here.
    assert first == _opened(fs, readonly=False, rewrite=True)
    # Pending entries that were deleted from their stream have no place in a base of commands, as on the server.
    assert first[1] == _opened(fs, readonly=True)[1]
    return True


def _opened(fs: Fs, *, readonly: bool, rewrite: bool = False) -> tuple[object, str]:
    with open_store(
        _DIRECTORY, fs=fs, clock=FakeClock(), background=False, readonly=readonly, seed=1, databases=16
    ) as store:
        content, digest = content_of(store), keyspace_digest(store.engine.keyspace)
        if rewrite:
            store.bgrewriteaof()
        return content, digest


def _manifest(data: bytes) -> None:
    with suppress(AofManifestError):
        manifest = Manifest.parse(data, "appendonly.aof", file="m")
        again = Manifest.parse(manifest.format().encode("utf-8", "surrogateescape"), "appendonly.aof", file="m")
        if manifest.all_files:
            assert again.all_files == manifest.all_files


# --- logs as tables -------------------------------------------------------------------------------------------

_COLUMNS = (*DEFAULT_COLUMNS, "verb", "keys", "args")


def _scan(data: bytes) -> None:
    """Whatever a log holds, it is a table, by each way of reading over damage; what can be had back of it is whole."""
    with TemporaryDirectory(prefix="aofnb-fuzz-") as home, _quiet():
        path = Path(home) / "x.aof"
        path.write_bytes(data)
        with suppress(AofError, RdbError):
            _same_rows(path, "error")
        _same_rows(path, "truncate")
        rows = _same_rows(path, "resync")
        log = scan(path, on_bad="resync", cache_dir=False)
        report = log.check()
        assert report.commands <= rows
        if not _COSTLY.search(data):
            with suppress(AofError, RdbError):
                log.at("end").close()
        assert path.read_bytes() == data
        try:
            kept = log.salvage(Path(home) / "fixed", dry_run=False, verify=False).kept
        except AofError:
            return
        assert kept == report.kept
        fixed = scan(Path(home) / "fixed", cache_dir=False)
        assert fixed.check().verdict == "fine"
        assert len(fixed) == kept


def _same_rows(path: Path, on_bad: OnBad) -> int:
    """How many rows there are, which the index also says; they lie in the file one behind the other."""
    log = scan(path, on_bad=on_bad, cache_dir=False)
    frame = log.to_pandas(columns=_COLUMNS, encoding=None)
    offsets, nbytes = frame["offset"].to_numpy(), frame["nbytes"].to_numpy()
    assert (np.diff(offsets) >= 0).all()
    assert nbytes.sum() <= path.stat().st_size
    assert len(frame) == len(scan(path, on_bad=on_bad, cache_dir=False))
    log.triage()
    return len(frame)


# --- snapshots -----------------------------------------------------------------------------------------------


def _mended_rdb(data: bytes) -> bytes:
    """With the checksum that it must have, wherever an end mark stands nine bytes before its end."""
    at = data.rfind(b"\xff", 0, max(0, len(data) - 8))
    if not data.startswith(b"REDIS") or at != len(data) - 9:
        return data
    return data[: at + 1] + crc64(data[: at + 1]).to_bytes(8, "little")


def _keyspace() -> Keyspace:
    made = Keyspace(16, lambda: 0)
    made.expiring = False
    return made


def _rdb(data: bytes) -> None:
    """Entries are read or refused; what was read can be hashed, and written in either form of a base."""
    try:
        reader = RdbReader(io.BytesIO(data), checksum="report", name="x.rdb")
        entries = list(reader)
    except RdbError as problem:
        assert problem.offset is not None
        assert 0 <= problem.offset <= len(data)
        return
    assert reader.end is not None
    assert reader.end <= len(data)
    ends = [entry.end for entry in entries]
    assert ends == sorted(ends)
    for entry in entries:
        digest = value_digest(entry.value, entry.expire_ms)
        for argv in commands_of_key(entry.key, entry.value):
            assert all(type(arg) is bytes for arg in argv)
        assert value_digest(load_payload(dump_payload(entry.value)), entry.expire_ms) == digest
    with suppress(RdbError):
        keyspace = _keyspace()
        load_rdb(io.BytesIO(data), keyspace, unsupported="skip")
        out = io.BytesIO()
        write_rdb(out, keyspace)
        again = _keyspace()
        load_rdb(io.BytesIO(out.getvalue()), again)
        assert keyspace_digest(keyspace) == keyspace_digest(again)


def _mended_payload(data: bytes) -> bytes:
    body = data[:-8] if len(data) >= 10 else data + b"\x0a\x00"
    body = body[:-2] + (10).to_bytes(2, "little") if len(body) % 5 else body
    return body + crc64(body).to_bytes(8, "little")


def _dump(data: bytes) -> None:
    """A payload is refused, or its value is written again and read as the same."""
    try:
        value = load_payload(data)
    except RdbError:
        return
    assert value_digest(load_payload(dump_payload(value)), None) == value_digest(value, None)
    for argv in commands_of_key(b"k", value):
        assert all(type(arg) is bytes for arg in argv)


# --- seeds ---------------------------------------------------------------------------------------------------


def _files(*patterns: str) -> Iterable[Path]:
    return sorted(path for pattern in patterns for path in _DATA.glob(pattern) if path.is_file())


def _found(target: str) -> list[bytes]:
    return [path.read_bytes() for path in _files(f"fuzz/{target}/*")]


def _record(*argv: bytes) -> bytes:
    return b"*%d\r\n" % len(argv) + b"".join(b"$%d\r\n%b\r\n" % (len(arg), arg) for arg in argv)


def _aof_seeds() -> list[bytes]:
    seeds = _found("aof") + _found("load")
    for path in _files("samples/*/*/data/**/*.aof", "rdb/generated/**/*.aof"):
        data = path.read_bytes()
        if not data.startswith(b"REDIS"):
            seeds += [data[:_SEED_MAX], data[-_SEED_MAX:]]
    # Each line of the table of commands and what they leave in the log, as a log of its own.
    lines = (_DATA / "propagation.tsv").read_bytes().splitlines()
    cases = [line.split(b"\t", 1)[1].replace(b"\t", b" ; ") for line in lines if b"\t" in line]
    for case in cases:
        seeds.append(b"".join(_record(*words) for command in case.split(b" ; ") if (words := command.split())))
    return [seed for seed in seeds if seed]


def _load_seeds() -> list[bytes]:
    logs = _aof_seeds()
    return logs + [data + logs[number % len(logs)] for number, data in enumerate(_rdb_seeds())]


def _rdb_seeds() -> list[bytes]:
    seeds = _found("rdb")
    for path in _files("rdb/generated/**/*", "rdb/hostile/*.rdb", "samples/*/*/data/**/*.rdb"):
        data = path.read_bytes()
        if data.startswith((b"REDIS", b"VALKEY")) and len(data) <= 4 * _SEED_MAX:
            seeds.append(data)
    return seeds


def _dump_seeds() -> list[bytes]:
    seeds = _found("dump")
    for data in _rdb_seeds():
        with suppress(RdbError):
            for entry in RdbReader(io.BytesIO(data), checksum="skip"):
                payload = data[entry.offset : entry.end]
                if len(payload) <= _SEED_MAX and payload[0] < 0xF0:
                    # The bytes as they stand, key and all left out: the key is behind the type byte.
                    key_bytes = payload.find(entry.key, 1) + len(entry.key)
                    seeds.append(_mended_payload(payload[:1] + payload[key_bytes:] + b"\x0a\x00" + bytes(8)))
                if len(seeds) % 3 == 0:
                    seeds.append(dump_payload(entry.value))
    return [seed for seed in dict.fromkeys(seeds) if len(seed) <= _SEED_MAX]


def _manifest_seeds() -> list[bytes]:
    return _found("manifest") + [path.read_bytes() for path in _files("samples/*/*/data/**/*.manifest")]


_AOF_WORDS = (
    b"*1\r\n", b"*0\r\n", b"*-1\r\n", b"*2147483647\r\n", b"*99999999999999999999\r\n", b"$-1\r\n", b"$0\r\n",
    b"$9223372036854775807\r\n", b"$1000000000\r\n", b"\r\n", b"\n", b"\r", b"#", b"#TS:1700000000\r\n", b"#TS:",
    _record(b"MULTI"), _record(b"EXEC"), _record(b"DISCARD"), _record(b"SELECT", b"1"), _record(b"SELECT", b"9" * 5000),
    b"\0" * 64, b"REDIS0010", b"\xff", b"-9223372036854775808", b"18446744073709551616", b"nan", b"inf", b"1e400",
    b"0-0", b"18446744073709551615-18446744073709551615",
)  # fmt: skip
_RDB_WORDS = (
    b"REDIS0011", b"VALKEY080", bytes(8), b"\xff" * 8, b"\x00\x00\xc0\x7f", b"\x7f\xff\xff\xff\xff\xff\xff\xff",
    b"\xfe\x00", b"\xfb\x01\x01", b"\xfc" + bytes(8), b"\xfd" + bytes(4), b"\xf8\x05",
    b"\xf9\x05", b"\xfa\x01a\x01b", b"\xf5\x05#!lua", b"\xf7", b"\xf4\x01\x01\x01", b"\xf3\x01",
    b"\xf2\x01\x02\x01a\x01b", b"\x00\x00\x00\x00\x00\x00\xf8\x7f",
    b"\xff" + bytes(8), b"\x80\xff\xff\xff\xff", b"\x81" + b"\xff" * 8, b"\xc0\x05", b"\xc1\x05\x05",
    b"\xc2" + b"\x80" * 4,
    b"\xc3\x04\x40\x58\xe0\xff\x00\x00", *(b"%c" % type_ for type_ in range(34)), b"\x07\x00\x00\x00\x00\x00\xff",
)  # fmt: skip

_MANIFEST_WORDS = (b"file ", b" seq ", b" type ", b"\\x", b'"', b"'", b"0", b"\n")

TARGETS = {
    target.name: target
    for target in (
        Target("aof", _aof, _aof_seeds, _AOF_WORDS),
        Target("load", _load, _load_seeds, _AOF_WORDS),
        Target("scan", _scan, _load_seeds, _AOF_WORDS),
        Target("rdb", _rdb, _rdb_seeds, _RDB_WORDS, _mended_rdb),
        Target("dump", _dump, _dump_seeds, _RDB_WORDS, _mended_payload),
        Target("manifest", _manifest, _manifest_seeds, _MANIFEST_WORDS),
    )
}
