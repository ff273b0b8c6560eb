"""Where a log may come from beside a path: an address that fsspec knows, an open file, many shards.

What is not on this machine, or cannot be sought, is copied into a temporary directory first, as it is: offsets are
those of the files there. The copy is gone with the log that was made of it.
"""

from __future__ import annotations

import glob
import importlib
import os
import posixpath
import re
import tempfile
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeGuard

from aofnb.errors import AofError
from aofnb.forensics.parts import Part, find_parts

__all__ = ["Compression", "Copied", "Source", "found_parts", "is_many", "shards_of"]

Compression = Literal["infer", "gzip", "zstd"] | None
Source = Any

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://|[a-z0-9]+::")
_COPY_BYTES = 1 << 20
_COMPRESSIONS = ("infer", "gzip", "zstd", None)
# Enough to be a directory of a log, not of something else.
_MAX_FILES = 10_000


class Copied:
    """A temporary directory that lives as long as somebody holds this."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="aofnb-", ignore_cleanup_errors=True)
        self.path = Path(self._directory.name)


def found_parts(
    path: Source,
    compression: Compression = "infer",
    storage_options: Mapping[str, Any] | None = None,
    history: bool = False,
) -> tuple[str, str, tuple[Part, ...], Copied | None]:
    """What was given in words, its manifest or file here, its files, and what holds the copy of them, if one was made.

    Raises
    ------
    ValueError
        An option that cannot be, or does not apply.
    AofError
        fsspec is missing, or cannot read what the address names.
    """
    if compression not in _COMPRESSIONS:
        raise ValueError(f"compression= is 'infer', 'gzip', 'zstd' or None, not {compression!r}")
    copied: Copied | None = None
    place: str | PathLike[str]
    if hasattr(path, "read"):
        if storage_options:
            raise ValueError("storage_options= is for addresses such as s3://bucket/dir, not for an open file")
        copied = Copied()
        place = _copy_of_file(path, copied.path)
        shown = str(getattr(path, "name", None) or "<file>")
    elif isinstance(path, str | PathLike):
        place = path
        if isinstance(path, str) and _URL.match(path):
            copied = Copied()
            place = _copy_of_url(path, dict(storage_options or {}), copied.path)
            shown = path
        elif storage_options:
            raise ValueError("storage_options= is for addresses such as s3://bucket/dir, not for a path")
        else:
            shown = ""
    else:
        raise TypeError(f"a log is a path, an address, or a file open for reading bytes, not {path!r}")
    source, parts = find_parts(place, compression=compression, history=history)
    return (source if copied is None else shown), source, parts, copied


def _copy_of_file(file: Any, home: Path) -> str:
    name = os.path.basename(str(getattr(file, "name", "") or "")) or "log.aof"
    target = home / name
    with target.open("xb") as out:
        while data := file.read(_COPY_BYTES):
            if not isinstance(data, bytes | bytearray | memoryview):
                raise TypeError("the file gives text: open it for reading bytes, with mode 'rb'")
            out.write(data)
    return str(target)


def _copy_of_url(url: str, options: dict[str, Any], home: Path) -> str:
    try:
        fsspec: Any = importlib.import_module("fsspec")
    except ImportError:
        raise AofError(f"{url} needs fsspec: pip install 'aofnb[remote]', and what its kind of address needs") from None
    try:
        fs, path = fsspec.core.url_to_fs(url, **options)
        if fs.isdir(path):
            return str(_copy_of_directory(fs, path, home))
        name = posixpath.basename(path) or "log.aof"
        if name.endswith(".manifest"):
            return str(_copy_of_directory(fs, posixpath.dirname(path), home) / name)
        fs.get_file(path, str(home / name))
        return str(home / name)
    except (ImportError, ValueError) as problem:
        raise AofError(f"{url} cannot be read: {problem}") from problem
    except OSError as problem:
        raise AofError(f"{url} cannot be read: {problem}; look at the address and storage_options=") from problem


def _copy_of_directory(fs: Any, path: str, home: Path) -> Path:
    """Copy the files of a log: those in `path`, and in its ``appendonlydir`` or whatever holds a manifest."""
    entries = fs.ls(path, detail=True)
    if len(entries) > _MAX_FILES:
        raise ValueError(f"there are {len(entries)} files there, so it is no directory of a log")
    names = {posixpath.basename(entry["name"].rstrip("/")): entry for entry in entries}
    if not any(".aof" in name for name in names):
        for name, entry in sorted(names.items()):
            if entry["type"] == "directory":
                inside = home / name
                inside.mkdir()
                _copy_of_directory(fs, entry["name"], inside)
        return home
    for name, entry in names.items():
        # The names come from elsewhere.
        if entry["type"] == "file" and (".aof" in name or name.endswith(".manifest")) and name not in (".", ".."):
            fs.get_file(entry["name"], str(home / name))
    return home


# --- many ------------------------------------------------------------------------------------------------


def is_many(path: Source) -> TypeGuard[Any]:
    """Whether `path` names several logs: a list, or a pattern that is no file itself."""
    if isinstance(path, str):
        return glob.has_magic(path) and not os.path.exists(path)
    return isinstance(path, Iterable) and not isinstance(path, bytes | PathLike) and not hasattr(path, "read")


def shards_of(path: Source, storage_options: Mapping[str, Any] | None = None) -> dict[str, Source]:
    """Each log by the name of its shard: what tells its path from the others.

    Raises
    ------
    FileNotFoundError
        Nothing matches the pattern.
    ValueError
        The list is empty, or names a log twice.
    """
    if isinstance(path, str):
        found = _globbed(path, dict(storage_options or {}))
        if not found:
            raise FileNotFoundError(f"{path}: nothing matches this pattern")
        path = found
    sources = list(path)
    if not sources:
        raise ValueError("an empty list: give the paths of one or more logs")
    names = _told_apart([_name_of(source) for source in sources])
    if len(set(names)) < len(names):
        raise ValueError(f"a log is named twice: {next(name for name in names if names.count(name) > 1)}")
    return dict(zip(names, sources, strict=True))


def _globbed(pattern: str, options: dict[str, Any]) -> list[str]:
    if not _URL.match(pattern):
        return sorted(glob.glob(os.path.expanduser(pattern)))
    try:
        fsspec: Any = importlib.import_module("fsspec")
    except ImportError:
        raise AofError(f"{pattern} needs fsspec: pip install 'aofnb[remote]'") from None
    fs, path = fsspec.core.url_to_fs(pattern, **options)
    return [fs.unstrip_protocol(each) for each in sorted(fs.glob(path))]


def _name_of(source: Source) -> str:
    name = getattr(source, "name", None) if hasattr(source, "read") else os.fspath(source)
    return str(name).rstrip("/").replace(os.sep, "/")


def _told_apart(names: list[str]) -> list[str]:
    """The names without what all of them begin and end with, cut at slashes."""
    if len(names) == 1:
        return [posixpath.basename(names[0])]
    split = [name.split("/") for name in names]
    while min(map(len, split)) > 1 and len({each[0] for each in split}) == 1:
        split = [each[1:] for each in split]
    while min(map(len, split)) > 1 and len({each[-1] for each in split}) == 1:
        split = [each[:-1] for each in split]
    return ["/".join(each) for each in split]
