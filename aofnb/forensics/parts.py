"""Which files make up a log, and how to read them: a directory, its parent, a manifest, one file, plain or compressed.

Read-only: nothing here creates, repairs or locks anything.
"""

from __future__ import annotations

import gzip
import io
import os
import weakref
import zlib
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, Self, cast

from aofnb.aof.manifest import Manifest
from aofnb.errors import AofError, AofFormatError, AofManifestError
from aofnb.rdb.reader import is_rdb

__all__ = ["Part", "PartFile", "find_parts"]

_HEAD_BYTES = 16
# Of the files a process may have open, 256 on some systems, these are left alone.
_HELD_MAX = 100
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_UNPACK = {"gzip": "gzip -dc", "zstd": "zstd -dc"}


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
        ``base``, ``incr`` or ``history``, as the manifest says; ``single`` for a file without one.
    seq
        Its number in the manifest.
    size
        In bytes, as stored: later growth is not read.
    format
        What it begins with: commands (``resp``), or a snapshot (``rdb``), behind which commands may follow.
    compression
        ``gzip``, ``zstd`` or None.
    """

    name: str
    path: str
    type: Literal["base", "incr", "history", "single"]
    seq: int | None
    size: int
    format: Literal["resp", "rdb"]
    compression: str | None
    _held: HeldFile | None = field(default=None, compare=False, repr=False)

    def open(self) -> PartFile:
        """Its bytes, decompressed."""
        return PartFile(self.path, self.compression, self._held)

    def open_stored(self) -> BinaryIO:
        """Its bytes as they are stored."""
        return _opened(self.path, self._held)

    def stat(self) -> os.stat_result:
        """What the system says about the file, which may have grown since."""
        with self.open_stored() as file:
            return os.fstat(file.fileno())


class HeldFile:
    """A file held open: a rewrite may take its name away, and whoever began to read the log reads it to its end."""

    _count = 0

    def __init__(self, path: str) -> None:
        self.fileno = os.open(path, os.O_RDONLY)
        HeldFile._count += 1
        weakref.finalize(self, self._let_go, self.fileno)

    @classmethod
    def of(cls, path: str) -> HeldFile | None:
        """None where it would be in the way: of other files, or of deleting this one, as on Windows."""
        return cls(path) if hasattr(os, "pread") and cls._count < _HELD_MAX else None

    @classmethod
    def _let_go(cls, fileno: int) -> None:
        cls._count -= 1
        os.close(fileno)

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process finds the file by its name, or not.
        return _not_held, ()


def _not_held() -> None:
    return None


class _HeldReader(io.RawIOBase):
    """A place of its own in a file that is held."""

    def __init__(self, held: HeldFile) -> None:
        self._held, self._at = held, 0

    def fileno(self) -> int:
        return self._held.fileno

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: os.fstat(self._held.fileno).st_size}[whence]
        self._at = begin + offset
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        got = os.preadv(self._held.fileno, [buffer], self._at)
        self._at += got
        return got


def _opened(path: str, held: HeldFile | None) -> BinaryIO:
    try:
        file = Path(path).open("rb")  # noqa: SIM115  closed by the caller
    except FileNotFoundError:
        if held is None:
            raise AofError(
                "this file is gone: the log was rewritten or moved; read it again, or give source=", file=path
            ) from None
    else:
        if held is None or os.path.sameopenfile(file.fileno(), held.fileno):
            return file
        file.close()
    return cast("BinaryIO", io.BufferedReader(_HeldReader(held)))


class PartFile:
    """A part open for reading; offsets count the bytes after decompression."""

    def __init__(self, path: str, compression: str | None, held: HeldFile | None = None) -> None:
        self._path, self._compression, self._held = path, compression, held
        self._raw = _opened(path, held)
        self._stream: Any = self._raw if compression is None else _decompressed(self._raw, compression)
        self._at = self._stored_at = 0

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
    def bytes_read(self) -> int:
        """How far reading has come."""
        return self._at

    @property
    def stored_bytes_read(self) -> int:
        """How far in the file on the disk reading has come; may be asked while another thread reads."""
        return self._at if self._compression is None else self._stored_at

    def stored_before(self, offset: int) -> int:
        """How many bytes of the file on the disk are before `offset`; about, where it is compressed."""
        return offset if self._compression is None else offset * self._stored_at // max(self._at, 1)

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
        if self._compression is not None:
            self._stored_at = self._raw.tell()
        return data

    def unread(self, size: int) -> int:
        """Give the last `size` bytes once more, if that is cheap here; else 0, and nothing was done."""
        if self._compression is not None:
            return 0
        self._raw.seek(-size, os.SEEK_CUR)
        self._at -= size
        return size

    def seek(self, offset: int) -> None:
        """Go to `offset`; in a compressed file by reading what is before it."""
        if self._compression is None:
            self._raw.seek(offset)
            self._at = offset
            return
        if offset < self._at:
            # A stream of Arrow closes the file below it when it goes.
            self._raw.close()
            self._raw = _opened(self._path, self._held)
            self._stream, self._at, self._stored_at = _decompressed(self._raw, self._compression), 0, 0
        while self._at < offset and self.read(min(offset - self._at, 1 << 20)):
            pass

    def read_at(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset` on, fewer only at the end of the file; for places far from each other."""
        if self._compression is None and hasattr(os, "pread"):
            # What is read ahead for the next call would be thrown away by it.
            return os.pread(self._raw.fileno(), size, offset)
        self.seek(offset)
        return self.read(size)

    def _broken(self, problem: Exception) -> AofFormatError:
        return AofFormatError(
            f"the {self._compression} data is broken ({problem}); `{_UNPACK[str(self._compression)]}` gives what is "
            "before that: read its output",
            file=self._path,
        )


def _decompressed(raw: BinaryIO, compression: str) -> Any:
    if compression == "gzip":
        return gzip.GzipFile(fileobj=raw)
    import pyarrow as pa

    return pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")


def find_parts(
    path: str | PathLike[str], *, compression: str | None = "infer", history: bool = False
) -> tuple[str, tuple[Part, ...]]:
    """The manifest, or the one file, at `path`, and the files that a server would load from it, in order.

    `compression` is what the files are compressed with, ``infer`` to look at their first bytes. With `history` the
    files that were replaced come first, oldest first, as far as they are still there.

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
        return str(place), _listed(place, compression, history)
    if history:
        raise ValueError("history=True needs a manifest: only that says which files were replaced")
    return str(place), (_part(place, "single", None, compression),)


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


def _listed(manifest: Path, compression: str | None, history: bool) -> tuple[Part, ...]:
    while True:
        listed = manifest.read_bytes()
        try:
            return _parts_of(manifest, listed, compression, history)
        except AofManifestError:
            # A rewrite may have ended between the two: then another manifest is in force by now.
            if manifest.read_bytes() == listed:
                raise


def _parts_of(manifest: Path, listed: bytes, compression: str | None, history: bool) -> tuple[Part, ...]:
    content = Manifest.parse(listed, manifest.name.removesuffix(".manifest"), file=str(manifest))
    replaced = sorted(content.history, key=lambda each: (each.seq, ".incr." in each.name)) if history else []
    # A server deletes them when it likes.
    there = [entry for entry in replaced if (manifest.parent / entry.name).exists()]
    parts = [_part(manifest.parent / entry.name, "history", entry.seq, compression) for entry in there]
    for entry in content.data_files:
        try:
            type_: Literal["base", "incr"] = "base" if entry.type == "base" else "incr"
            parts.append(_part(manifest.parent / entry.name, type_, entry.seq, compression))
        except FileNotFoundError:
            raise AofManifestError(
                f"it lists {entry.name}, which is not there; restore that file, or read the others by their paths",
                file=manifest,
            ) from None
    return tuple(parts)


def _part(path: Path, type_: Literal["base", "incr", "history", "single"], seq: int | None, given: str | None) -> Part:
    # FileNotFoundError where there is none.
    path.stat()
    held = HeldFile.of(str(path))
    with _opened(str(path), held) as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(4)
    found = next((name for magic, name in _MAGIC.items() if start.startswith(magic)), None)
    compression = found if given == "infer" else given
    if compression != found and compression is not None and size:
        raise AofFormatError(f"it is not compressed with {compression}; compression='infer' looks itself", file=path)
    with PartFile(str(path), compression, held) as part:
        head = part.read(_HEAD_BYTES)
    format_: Literal["resp", "rdb"] = "rdb" if is_rdb(head) else "resp"
    return Part(path.name, os.path.abspath(path), type_, seq, size, format_, compression, held)
