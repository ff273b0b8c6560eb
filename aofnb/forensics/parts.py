"""Which files make up a log, and how to read them: a directory, its parent, a manifest, one file, plain or compressed.

Read-only: nothing here creates, repairs or locks anything.
"""

from __future__ import annotations

import gzip
import os
import zlib
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, Self

from aofnb.aof.manifest import Manifest
from aofnb.errors import AofError, AofFormatError, AofManifestError

__all__ = ["Part", "PartFile", "find_parts"]

_HEAD_BYTES = 4096
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_RDB_AUX, _RDB_EOF = 0xFA, 0xFF


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a log, as it was when the log was opened.

    Attributes
    ----------
    name
        Inside the directory.
    path
        Where it is, absolute: it is still found from another working directory.
    type
        ``base`` or ``incr``, as the manifest says; ``single`` for a file without one.
    seq
        Its number in the manifest.
    size
        In bytes, as stored: later growth is not read.
    snapshot_bytes
        Where commands begin behind a snapshot (RDB) without keys; 0 if there is no snapshot; None if it holds
        something, or cannot be told.
    compression
        ``gzip``, ``zstd`` or None.
    """

    name: str
    path: str
    type: Literal["base", "incr", "single"]
    seq: int | None
    size: int
    snapshot_bytes: int | None
    compression: str | None

    @property
    def format(self) -> Literal["resp", "rdb"]:
        """What it begins with: commands, or a snapshot."""
        return "resp" if self.snapshot_bytes == 0 else "rdb"


class PartFile:
    """A part open for reading; offsets count the bytes after decompression."""

    def __init__(self, path: str, compression: str | None) -> None:
        self._path, self._compression = path, compression
        try:
            self._raw = Path(path).open("rb")  # noqa: SIM115  closed by close()
        except FileNotFoundError:
            raise AofError(
                "this file is gone: the log was rewritten or moved; read it again, or give source=", file=path
            ) from None
        self._stream: Any = self._raw if compression is None else _decompressed(self._raw, compression)
        self._at = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._raw.close()

    @property
    def compressed(self) -> bool:
        return self._compression is not None

    @property
    def stored_bytes_read(self) -> int:
        """How far in the file on the disk reading has come."""
        return self._raw.tell()

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes, fewer only at the end."""
        try:
            data: bytes = self._stream.read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as problem:
            raise self._broken(problem) from problem
        except OSError as problem:
            if self._compression is None:
                raise
            raise self._broken(problem) from problem
        self._at += len(data)
        return data

    def seek(self, offset: int) -> None:
        """Go to `offset`; in a compressed file by reading what is before it."""
        if self._compression is None:
            self._raw.seek(offset)
            self._at = offset
            return
        if offset < self._at:
            self._raw.seek(0)
            self._stream, self._at = _decompressed(self._raw, self._compression), 0
        while self._at < offset and self.read(min(offset - self._at, 1 << 20)):
            pass

    def _broken(self, problem: Exception) -> AofFormatError:
        return AofFormatError(
            f"the {self._compression} data is broken ({problem}); decompress what can be had of it with other tools "
            "and read that",
            file=self._path,
            offset=self._at,
        )


def _decompressed(raw: BinaryIO, compression: str) -> Any:
    if compression == "gzip":
        return gzip.GzipFile(fileobj=raw)
    import pyarrow as pa

    return pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")


def find_parts(path: str | PathLike[str]) -> tuple[str, tuple[Part, ...]]:
    """The manifest, or the one file, at `path`, and the files that a server would load from it, in order.

    Raises
    ------
    FileNotFoundError
        There is no log.
    ValueError
        The path is empty.
    AofManifestError
        The manifest is malformed, missing beside its files, or lists a file that is not there.
    AofError
        There is more than one log.
    """
    name = os.fspath(path)
    if not name:
        raise ValueError("an empty path: give a directory or a file; '.' is this one")
    place = Path(os.path.expanduser(name))
    if place.is_dir():
        place = _in_directory(place)
    if place.name.endswith(".manifest"):
        return str(place), _listed(place)
    return str(place), (_part(place, "single", None),)


def _in_directory(directory: Path) -> Path:
    manifests = _manifests(directory)
    if not manifests and (directory / "appendonlydir").is_dir():
        return _in_directory(directory / "appendonlydir")
    if not manifests:
        manifests = [each for child in sorted(directory.iterdir()) if child.is_dir() for each in _manifests(child)]
    if len(manifests) > 1:
        names = ", ".join(str(each.relative_to(directory)) for each in manifests)
        raise AofError(f"there is more than one log here, give the path of one manifest: {names}", file=directory)
    if manifests:
        return manifests[0]
    files = sorted(each for each in directory.iterdir() if ".aof" in each.name and each.is_file())
    if any(".base." in each.name or ".incr." in each.name for each in files):
        raise AofManifestError(
            "the manifest is missing, so nobody knows which of these files count and in which order; restore it from "
            f"a backup, or read one file by its path: {', '.join(each.name for each in files)}",
            file=directory,
        )
    if len(files) > 1:
        raise AofError(f"give the path of one file: {', '.join(each.name for each in files)}", file=directory)
    if not files:
        raise FileNotFoundError(f"{directory}: no append-only file and no manifest in this directory")
    return files[0]


def _manifests(directory: Path) -> list[Path]:
    # A temporary one was never put in force.
    return sorted(each for each in directory.glob("*.manifest") if not each.name.startswith("temp-"))


def _listed(manifest: Path) -> tuple[Part, ...]:
    content = Manifest.parse(manifest.read_bytes(), manifest.name.removesuffix(".manifest"), file=str(manifest))
    parts = []
    for entry in content.data_files:
        try:
            parts.append(_part(manifest.parent / entry.name, "base" if entry.type == "base" else "incr", entry.seq))
        except FileNotFoundError:
            raise AofManifestError(
                f"it lists {entry.name}, which is not there; restore that file, or read the others by their paths",
                file=manifest,
            ) from None
    return tuple(parts)


def _part(path: Path, type_: Literal["base", "incr", "single"], seq: int | None) -> Part:
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(4)
    compression = next((name for magic, name in _MAGIC.items() if start.startswith(magic)), None)
    with PartFile(str(path), compression) as part:
        head = part.read(_HEAD_BYTES)
    return Part(path.name, os.path.abspath(path), type_, seq, size, _empty_snapshot_bytes(head), compression)


def _empty_snapshot_bytes(head: bytes) -> int | None:
    """Length of the snapshot that `head` begins with if it holds nothing, 0 if there is none, else None.

    Every new log begins with such a snapshot: magic, auxiliary fields, the end mark, a checksum.
    """
    if not head.startswith(b"REDIS"):
        return 0
    at: int | None = 9
    while at is not None and at < len(head):
        if head[at] == _RDB_EOF:
            end = at + (9 if head[5:9] >= b"0005" else 1)
            return end if end <= len(head) else None
        if head[at] != _RDB_AUX:
            return None
        at = _behind_string(head, at + 1)
        at = None if at is None else _behind_string(head, at)
    return None


def _behind_string(data: bytes, at: int) -> int | None:
    """Where the string at `at` ends, or None for a form that auxiliary fields do not have."""
    if at + 5 > len(data):
        return None
    kind = data[at]
    if kind < 0x40:
        return at + 1 + kind
    if kind < 0x80:
        return at + 2 + ((kind & 0x3F) << 8 | data[at + 1])
    if kind == 0x80:
        return at + 5 + int.from_bytes(data[at + 1 : at + 5], "big")
    return {0xC0: at + 2, 0xC1: at + 3, 0xC2: at + 5}.get(kind)
