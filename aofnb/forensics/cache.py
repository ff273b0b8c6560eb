"""What was learnt about a log, kept outside of its directory: index, postings, checkpoints, to be had again at once.

Rules of this file: what is kept can be thrown away at any time; it is believed only as long as the files are those it
was learnt from; a log that was only appended to is believed as far as its bytes are still the same, which is checked
by their checksum; nothing is ever written into the directory of the log.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import tempfile
import zlib
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from aofnb.forensics.temporary import Temporary

if TYPE_CHECKING:
    from aofnb.forensics.parts import Part

__all__ = ["Cache", "CacheDir", "checksum_of", "default_directory", "identity", "unchanged"]

# Where a cache is: a directory of the caller's, None for the usual place, False for none that outlives the log.
CacheDir = str | PathLike[str] | Literal[False] | None

# Smaller logs are read anew sooner than looked up.
_WORTH_BYTES = 8 << 20
# All logs together; what was not used for longest goes first.
_LIMIT_BYTES = 4 << 30
_VERSION = 4
_READ_BYTES = 1 << 20
# The largest prime below 2 ** 64.
_PRIME = (1 << 64) - 59


def default_directory() -> Path:
    """Where caches are kept: ``$XDG_CACHE_HOME/aofnb``, or ``~/.cache/aofnb``."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if os.path.isabs(home) else Path.home() / ".cache") / "aofnb"


class Cache:
    """The directory of one log; temporary, and gone with this object, where nothing is to be kept.

    Parameters
    ----------
    source
        Path of the log.
    nbytes
        How large it is: small ones are not worth keeping.
    directory
        As `CacheDir` says.
    """

    def __init__(self, source: str, nbytes: int, directory: CacheDir) -> None:
        self._temporary: Temporary | None = None
        self._path: Path | None = None
        if directory is not False and (directory is not None or nbytes >= _WORTH_BYTES):
            root = default_directory() if directory is None else Path(os.path.expanduser(os.fspath(directory)))
            name = hashlib.blake2b(os.fsencode(os.path.realpath(source)), digest_size=16).hexdigest()
            try:
                (root / name).mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError:
                # A home that cannot be written to is no reason to refuse an answer; a place that was named is.
                if directory is not None:
                    raise
            else:
                self._path = root / name
                _forget_oldest(root, self._path)

    @property
    def lasting(self) -> bool:
        """Whether another process will find what is kept."""
        return self._path is not None

    @property
    def path(self) -> Path:
        """The directory; made when it is first asked for."""
        if self._path is not None:
            return self._path
        if self._temporary is None:
            self._temporary = Temporary()
        return self._temporary.path

    def load(self, name: str) -> dict[str, Any] | None:
        """What was saved under `name`; None if nothing, not as it was saved, or not by this version."""
        if self._path is None:
            return None
        try:
            seal, data = (self._path / name).read_bytes().split(b"\n", 1)
            content = json.loads(data) if seal == _seal(data) else None
            os.utime(self._path)
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) else None

    def save(self, name: str, content: dict[str, Any]) -> None:
        """Keep `content`, plain JSON, under `name`."""
        if self._path is not None:
            data = json.dumps(content).encode()
            self.write(name, _seal(data) + b"\n" + data)

    def write(self, name: str, data: bytes) -> None:
        """A file that is there as a whole or not at all."""
        handle, made = tempfile.mkstemp(dir=self.path, prefix=".tmp-")
        try:
            with open(handle, "wb") as file:
                file.write(data)
            os.replace(made, self.path / name)
        except BaseException:
            with suppress(OSError):
                os.unlink(made)
            raise

    def keep_only(self, prefix: str, names: set[str]) -> None:
        """Remove the files that begin with `prefix` but those in `names`."""
        with suppress(OSError):
            for each in self.path.iterdir():
                if each.name.startswith(prefix) and each.name not in names:
                    each.unlink(missing_ok=True)

    def clear(self) -> None:
        """Forget everything about this log."""
        if self._temporary is not None:
            self._temporary.remove()
            self._temporary = None
        if self._path is not None:
            with suppress(OSError):
                for each in self._path.iterdir():
                    each.unlink(missing_ok=True)


def identity(part: Part) -> dict[str, Any]:
    """What tells this file from any other, and from itself before a change."""
    about = part.stat()
    # Where it has grown since it was opened, the time of the last change is not that of what was read.
    mtime = about.st_mtime_ns if about.st_size == part.size else None
    return {
        "name": part.name,
        "device": about.st_dev,
        "inode": about.st_ino,
        "size": part.size,
        "mtime_ns": mtime,
        "compression": part.compression,
    }


def unchanged(now: dict[str, Any], then: dict[str, Any]) -> bool:
    """Whether a file with the identity `now` has every byte that it had with the identity `then`."""
    return now == then and now["mtime_ns"] is not None


def checksum_of(part: Part, begin: int, end: int) -> int | None:
    """A checksum of these bytes of a file; None if it has not so many.

    Every eight bytes count with an odd weight of their own, so a change of any of them shows; several times as fast as
    CRC-32.
    """
    found = 0
    with part.open_stored() as file:
        file.seek(begin)
        left = end - begin
        while left > 0:
            data = file.read(min(left, _READ_BYTES))
            if not data:
                return None
            left -= len(data)
            words = np.frombuffer(data + bytes(-len(data) % 8), np.uint64)
            found = (found * _PRIME + int((words * _weights()[: len(words)]).sum()) + len(data)) % (1 << 64)
    return found


@functools.cache
def _weights() -> npt.NDArray[np.uint64]:
    return np.random.default_rng(1).integers(0, 1 << 63, _READ_BYTES // 8, np.uint64) * np.uint64(2) + np.uint64(1)


def _seal(data: bytes) -> bytes:
    """What stands in front of `data`, so that a change of it shows."""
    return b"%d %08x" % (_VERSION, zlib.crc32(data))


def _forget_oldest(root: Path, keep: Path) -> None:
    """Remove whole logs, the one not used for longest first, until all together are small enough."""
    with suppress(OSError):
        logs = [
            (each.stat().st_mtime, each, sum(file.stat().st_size for file in each.iterdir()))
            for each in root.iterdir()
            if each.is_dir() and len(each.name) == 32
        ]
        total = sum(size for _, _, size in logs)
        for _, each, size in sorted(logs, key=lambda log: log[0]):
            if total <= _LIMIT_BYTES:
                return
            if each != keep:
                shutil.rmtree(each, ignore_errors=True)
                total -= size
