"""Where a log may come from beside a path: an address that fsspec knows, an open file, a pipe, many shards.

What is not on this machine, or cannot be sought, is copied into a temporary directory first, as it is: offsets are
those of the files there. The copy is gone with the log that was made of it.
"""

from __future__ import annotations

import glob
import importlib
import os
import posixpath
import re
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeGuard

from aofnb.errors import AofError
from aofnb.forensics.parts import Part, find_parts
from aofnb.forensics.temporary import Temporary

__all__ = ["Compression", "Source", "found_parts", "is_address", "is_many", "shards_of"]

Compression = Literal["infer", "gzip", "zstd"] | None
Source = Any

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://|[a-z0-9]+::")
_COPY_BYTES = 1 << 20
_COMPRESSIONS = ("infer", "gzip", "zstd", None)
# Enough to be a directory of a log, not of something else.
_MAX_FILES = 10_000
# So many of several logs are named.
_NAMED = 8


def found_parts(
    path: Source,
    compression: Compression = "infer",
    storage_options: Mapping[str, Any] | None = None,
    history: bool = False,
) -> tuple[str, str, tuple[Part, ...], Temporary | None]:
    """What was given in words, its manifest or file here, its files, and what holds the copy of them, if one was made.

    Raises
    ------
    ValueError, TypeError
        An option that cannot be, or does not apply; or there are several logs.
    AofError
        fsspec is missing, or cannot read what the address names.
    """
    if compression not in _COMPRESSIONS:
        raise ValueError(f"compression= is 'infer', 'gzip', 'zstd' or None, not {compression!r}")
    if is_many(path):
        path = _only(path, storage_options)
    if not hasattr(path, "read") and not isinstance(path, str | PathLike):
        raise TypeError(f"a log is a path, an address, or a file open for reading bytes, not {path!r}")
    if not isinstance(storage_options, Mapping | None):
        raise TypeError(f"storage_options= is a dict of what fsspec wants to know, not {storage_options!r}")
    if not isinstance(history, bool):
        raise TypeError(f"history= is True or False, not {history!r}")
    options = dict(storage_options or {})
    if is_address(path):
        fs, place = _file_system(path, options)
        if not _is_here(fs):
            copied = Temporary()
            return _found(path, _copy_of_address(path, fs, place, copied.path), copied, compression, history)
        path = place
    elif options:
        raise ValueError("storage_options= is for addresses such as s3://bucket/dir, not for a path or an open file")
    if hasattr(path, "read"):
        return _found_in(path, str(getattr(path, "name", None) or "<file>"), compression, history)
    if _is_pipe(path):
        with open(path, "rb") as pipe:
            return _found_in(pipe, os.fspath(path), compression, history)
    source, parts = find_parts(path, compression=compression, history=history)
    return source, source, parts, None


def _found_in(
    file: Any, shown: str, compression: Compression, history: bool
) -> tuple[str, str, tuple[Part, ...], Temporary | None]:
    """What is in an open file, which is read once: from where it stands to its end."""
    copied = Temporary()
    return _found(shown, _copy_of_file(file, copied.path), copied, compression, history)


def _found(
    shown: str, place: str, copied: Temporary, compression: Compression, history: bool
) -> tuple[str, str, tuple[Part, ...], Temporary | None]:
    try:
        source, parts = find_parts(place, compression=compression, history=history)
    except AofError as problem:
        # The copy goes with this error.
        problem.file = shown
        raise
    return shown, source, parts, copied


def _is_pipe(path: str | PathLike[str]) -> bool:
    with suppress(OSError, ValueError):
        return stat.S_ISFIFO(os.stat(path).st_mode)
    return False


def _copy_of_file(file: Any, home: Path) -> str:
    name = os.path.basename(str(getattr(file, "name", "") or "")) or "log.aof"
    target = home / name
    with target.open("xb") as out:
        while data := file.read(_COPY_BYTES):
            if not isinstance(data, bytes | bytearray | memoryview):
                raise TypeError("the file gives text: open it for reading bytes, with mode 'rb'")
            out.write(data)
    return str(target)


# --- addresses -------------------------------------------------------------------------------------------


def is_address(path: Source) -> TypeGuard[str]:
    """Whether this is for fsspec, as ``s3://bucket/dir`` is."""
    return isinstance(path, str) and _URL.match(path) is not None


def _file_system(url: str, options: dict[str, Any]) -> tuple[Any, str]:
    """The file system of fsspec that has it, and its path there."""
    try:
        fsspec: Any = importlib.import_module("fsspec")
    except ImportError:
        raise AofError(f"{url} needs fsspec: pip install 'aofnb[remote]', and what its kind of address needs") from None
    try:
        fs, path = fsspec.core.url_to_fs(url, **options)
    except (ImportError, ValueError) as problem:
        raise AofError(f"{url} cannot be read: {problem}") from problem
    return fs, path


def _is_here(fs: Any) -> bool:
    local: Any = importlib.import_module("fsspec.implementations.local")
    return isinstance(fs, local.LocalFileSystem)


def _copy_of_address(url: str, fs: Any, path: str, home: Path) -> str:
    """Copy what the address names; returns where it is now."""
    try:
        if fs.isdir(path):
            return _copy_of_directory(url, fs, path, home)
        name = posixpath.basename(path) or "log.aof"
        if name.endswith(".manifest"):
            _copy_files(fs, _listed(url, fs, posixpath.dirname(path))[0], home)
        else:
            fs.get_file(path, str(home / name))
        return str(home / name)
    except OSError as problem:
        raise AofError(f"{url} cannot be read: {problem}; look at the address and storage_options=") from problem


def _copy_of_directory(url: str, fs: Any, path: str, home: Path) -> str:
    """Copy the files of the one log there, found as `find_parts` finds it: nothing else is downloaded."""
    files, directories = _listed(url, fs, path)
    if any(name.endswith(".manifest") for name in files):
        return _copy_files(fs, files, home)
    if "appendonlydir" in directories:
        return _copy_files(fs, _listed(url, fs, directories["appendonlydir"])[0], home)
    inside = {name: _listed(url, fs, each)[0] for name, each in directories.items()}
    logs = {name: each for name, each in inside.items() if any(file.endswith(".manifest") for file in each)}
    if len(logs) > 1:
        raise AofError(f"there is more than one log here, give the address of one: {', '.join(logs)}", file=url)
    found = next(iter(logs.values()), files)
    if not found:
        raise AofError("no append-only file and no manifest in this directory", file=url)
    return _copy_files(fs, found, home)


def _listed(url: str, fs: Any, path: str) -> tuple[dict[str, str], dict[str, str]]:
    """Where the files are that can be of a log, and the directories, by their names."""
    entries = fs.ls(path, detail=True)
    if len(entries) > _MAX_FILES:
        raise AofError(f"there are {len(entries):,} files there, so it is no directory of a log", file=url)
    files, directories = {}, {}
    for entry in sorted(entries, key=lambda each: str(each["name"])):
        name = posixpath.basename(entry["name"].rstrip("/"))
        if entry["type"] == "directory":
            directories[name] = entry["name"]
        # The names come from elsewhere.
        elif (".aof" in name or name.endswith(".manifest")) and name not in (".", ".."):
            files[name] = entry["name"]
    return files, directories


def _copy_files(fs: Any, files: Mapping[str, str], home: Path) -> str:
    for name, path in files.items():
        fs.get_file(path, str(home / name))
    return str(home)


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
    if not is_address(pattern):
        return sorted(glob.glob(os.path.expanduser(pattern)))
    fs, path = _file_system(pattern, options)
    try:
        return [fs.unstrip_protocol(each) for each in sorted(fs.glob(path))]
    except OSError as problem:
        raise AofError(f"{pattern} cannot be read: {problem}; look at the address and storage_options=") from problem


def _only(path: Source, storage_options: Mapping[str, Any] | None) -> Source:
    """The one log that a list or a pattern names."""
    shards = shards_of(path, storage_options)
    if len(shards) > 1:
        names = ", ".join(list(shards)[:_NAMED]) + ", ..." * (len(shards) > _NAMED)
        raise ValueError(
            f"these are {len(shards)} logs: {names}; questions are asked to one of them, read_aof() reads all"
        )
    return next(iter(shards.values()))


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
