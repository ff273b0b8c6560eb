"""A disk in memory that knows what a crash may leave of it.

What is written is in the page cache until it is synced. A killed process leaves the page cache as it is, but for a
write that it was in the middle of. A power cut leaves, of what was not synced,

- of each file: the operations on it up to any one, the last append torn after any byte; or its full size with
  sectors of the un-synced part zeroed (all of them, the first ones, the last ones, or one), since a file system may
  note a size before the data has arrived;
- of names (create, rename, unlink, mkdir) in directories that were not synced: those up to any one (``ordered``, as
  journaling file systems do), or any of them (``any``, all that POSIX promises).

Stricter than most file systems on purpose: syncing a file syncs no name, not even its own, and after an fsync that
failed no later one helps, since the kernel may have marked the pages clean. Kinder: a rename is one step, between
two directories too, and a name in one directory is not lost by a crash that keeps a later one in another if the
metadata is ``ordered``.
"""

from __future__ import annotations

import errno
import io
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise, product
from math import prod
from typing import BinaryIO, Literal

from aofnb.aof.fs import Data, File

__all__ = ["Crash", "DiskImage", "Fault", "Metadata", "SimFs"]

Crash = Literal["kill", "power"]
Metadata = Literal["ordered", "any"]
Observer = Callable[[str, str], None]
# Small, as commands in a trial are: what matters is that sectors end anywhere in a record, and hold no value whole.
SECTOR = 64


@dataclass(frozen=True, slots=True)
class DiskImage:
    """What is on the disk after a crash: ``(path, content)`` in order, content None for a directory.

    ``zeroed``: some bytes were lost where the size was not, so a reader may meet zeros. That is told apart because
    redis-server, and we, refuse such a file instead of cutting it.
    """

    files: tuple[tuple[str, bytes | None], ...]
    zeroed: bool = field(default=False, compare=False)

    def mount(self, fs: SimFs | None = None) -> SimFs:
        """A disk with this content, all of it durable: `fs`, which must be empty, or a new one."""
        fs = fs or SimFs()
        for path, content in self.files:
            node = _Node(content)
            fs._names[path] = fs._durable[path] = node
        return fs


@dataclass(frozen=True, slots=True)
class Fault:
    """A failure to come: `error` is its errno; a write takes `taken` bytes and the next one fails instead."""

    error: int = errno.EIO
    taken: int | None = None


class _Node:
    """A file or a directory (`data` None), whatever its names."""

    __slots__ = ("data", "durable", "sync_failed", "unsynced")

    def __init__(self, content: bytes | None) -> None:
        self.data = None if content is None else bytearray(content)
        self.durable = content or b""
        # What happened since the last sync: bytes appended, or the size it was cut to.
        self.unsynced: list[bytes | int] = []
        self.sync_failed = False

    @property
    def content(self) -> bytes | None:
        return None if self.data is None else bytes(self.data)

    def append(self, data: bytes) -> None:
        assert self.data is not None
        self.data += data
        if data:
            self.unsynced.append(data)

    def cut(self, size: int) -> None:
        assert self.data is not None
        if size != len(self.data):
            if size <= len(self.durable):
                # What the failed sync was about is gone.
                self.sync_failed = False
            del self.data[size:]
            self.unsynced.append(size)

    def sync(self) -> None:
        if self.data is not None and not self.sync_failed:
            self.durable = bytes(self.data)
            self.unsynced.clear()

    def copy(self) -> _Node:
        twin = _Node(self.content)
        twin.durable = self.durable
        twin.unsynced = list(self.unsynced)
        twin.sync_failed = self.sync_failed
        return twin

    def survivors(self) -> list[tuple[bytes, bool]]:
        """Every content that a power cut may leave, and whether it has zeros that nobody wrote."""
        found: dict[bytes, bool] = {self.durable: False}
        content = self.durable
        for step in self.unsynced:
            if isinstance(step, int):
                content = content[:step]
                found.setdefault(content, False)
                continue
            for end in range(1, len(step) + 1):
                found.setdefault(content + step[:end], False)
            content += step
        safe = min([len(self.durable), *(step for step in self.unsynced if isinstance(step, int))])
        for zeroed in _with_zeros(content, safe):
            found.setdefault(zeroed, True)
        return list(found.items())


def _with_zeros(content: bytes, synced: int) -> Iterator[bytes]:
    """`content` with un-synced sectors zeroed, and cut at a sector's end; the first `synced` bytes are safe."""
    borders = [synced, *range((synced // SECTOR + 1) * SECTOR, len(content), SECTOR), len(content)]
    sectors = [pair for pair in pairwise(borders) if pair[0] < pair[1]]
    for end in borders[1:]:
        yield content[:synced] + bytes(end - synced)
    for start, end in sectors:
        yield content[:start] + bytes(end - start) + content[end:]
        yield content[:start] + bytes(len(content) - start)
        yield content[:synced] + bytes(end - synced) + content[end:]


@dataclass(slots=True)
class _Renaming:
    """One change of names that is not known to be durable; `covered` once one of its directories was synced."""

    changes: tuple[tuple[str, _Node | None], ...]
    covered: bool = False

    @property
    def directories(self) -> set[str]:
        return {os.path.dirname(path) for path, _ in self.changes}


Names = dict[str, _Node]


class SimFs:
    """An `Fs` in memory. The parent of everything exists; other directories are made.

    Attributes
    ----------
    observer
        Called with ``(operation, path)`` after each operation that changed something or made it durable.
    faults
        Operation number, counted from 0 in `done`, to what goes wrong with it.
    """

    def __init__(self) -> None:
        self.observer: Observer | None = None
        self.faults: dict[int, Fault] = {}
        self.done = 0
        self._names: Names = {}
        self._durable: Names = {}
        self._journal: list[_Renaming] = []
        # The write that is being observed: a kill may leave any part of it.
        self._writing: tuple[_Node, int] | None = None
        self._next_write_fails: Fault | None = None

    # --- Fs ----------------------------------------------------------------------------------------------

    def mkdir(self, path: str) -> None:
        if path in self._names or _is_root(path):
            if path in self._names and self._names[path].data is not None:
                raise _error(errno.EEXIST, path)
            return
        self.mkdir(os.path.dirname(path))
        self._step("mkdir", path)
        self._change((path, _Node(None)))
        self._observe("mkdir", path)

    def exists(self, path: str) -> bool:
        return path in self._names or _is_root(path)

    def size(self, path: str) -> int:
        return len(self._file(path))

    def synced_size(self, path: str) -> int:
        """How many bytes of a file a power cut cannot take."""
        self._file(path)
        return len(self._names[path].durable)

    def name_is_synced(self, path: str) -> bool:
        """Whether a power cut cannot take the name of a file."""
        self._file(path)
        return self._durable.get(path) is self._names[path]

    def write_back(self, path: str) -> None:
        """Make the content of a file durable, as the operating system does of its own accord."""
        self._file(path)
        self.sync_file(path, self._names[path])

    def listdir(self, path: str) -> list[str]:
        if not _is_root(path):
            if path not in self._names:
                raise _error(errno.ENOENT, path)
            if self._names[path].data is not None:
                raise _error(errno.ENOTDIR, path)
        return sorted(os.path.basename(name) for name in self._names if os.path.dirname(name) == path)

    def create(self, path: str) -> File:
        self._step("create", path)
        node = self._opened(path)
        node.cut(0)
        self._observe("create", path)
        return SimFile(self, path, node)

    def open_append(self, path: str) -> File:
        self._step("open_append", path)
        node = self._opened(path)
        self._observe("open_append", path)
        return SimFile(self, path, node)

    def open_read(self, path: str) -> BinaryIO:
        return io.BytesIO(self._file(path))

    def truncate(self, path: str, size: int) -> None:
        self._file(path)
        self._step("truncate", path)
        node = self._names[path]
        node.cut(size)
        self._observe("truncate", path)
        self.sync_file(path, node)

    def rename(self, source: str, target: str) -> None:
        self._file(source)
        self._step("rename", target)
        self.rename_now(source, target)

    def unlink(self, path: str) -> None:
        self._file(path)
        self._step("unlink", path)
        self._change((path, None))
        self._observe("unlink", path)

    def fsync_dir(self, path: str) -> None:
        self.listdir(path)
        self._step("fsync_dir", path)
        self.sync_names(path)

    # --- what an operation does once it is allowed ----------------------------------------------------------

    def write(self, path: str, node: _Node, data: Data) -> int:
        fault, self._next_write_fails = self._next_write_fails, None
        if fault is None:
            fault = self.faults.get(self.done)
            self.done += 1
        taken = len(data)
        if fault is not None:
            if fault.taken is None or self._next_write_fails is not None:
                raise _error(fault.error, path)
            taken = min(taken, fault.taken)
            self._next_write_fails = Fault(fault.error)
        assert node.data is not None
        self._writing = (node, len(node.data))
        node.append(bytes(data[:taken]))
        self._observe("write", path)
        self._writing = None
        return taken

    def fdatasync(self, path: str, node: _Node) -> None:
        try:
            self._step("fdatasync", path)
        except OSError:
            node.sync_failed = bool(node.unsynced)
            raise
        self.sync_file(path, node)

    def ftruncate(self, path: str, node: _Node, size: int) -> None:
        self._step("ftruncate", path)
        node.cut(size)
        self._observe("ftruncate", path)

    def sync_file(self, path: str, node: _Node) -> None:
        """Make the content of a file durable."""
        node.sync()
        self._observe("fdatasync", path)

    def sync_names(self, path: str) -> None:
        """Make the names in a directory durable."""
        for renaming in self._journal:
            renaming.covered = renaming.covered or path in renaming.directories
        while self._journal and self._journal[0].covered:
            _apply(self._durable, self._journal.pop(0))
        self._observe("fsync_dir", path)

    def rename_now(self, source: str, target: str) -> None:
        """Give the file `source` the name `target`."""
        self._change((source, None), (target, self._names[source]))
        self._observe("rename", target)

    # --- inside ------------------------------------------------------------------------------------------

    def _step(self, operation: str, path: str) -> None:
        """Count the operation that is about to begin, and fail it if that was asked for."""
        fault = self.faults.get(self.done)
        self.done += 1
        if fault is not None:
            raise _error(fault.error, path)

    def _observe(self, operation: str, path: str) -> None:
        if self.observer is not None:
            self.observer(operation, path)

    def _file(self, path: str) -> bytes:
        if path not in self._names:
            raise _error(errno.ENOENT, path)
        content = self._names[path].content
        if content is None:
            raise _error(errno.EISDIR, path)
        return content

    def _opened(self, path: str) -> _Node:
        if path not in self._names:
            parent = os.path.dirname(path)
            if not self.exists(parent):
                raise _error(errno.ENOENT, path)
            self._change((path, _Node(b"")))
        self._file(path)
        return self._names[path]

    def _change(self, *changes: tuple[str, _Node | None]) -> None:
        renaming = _Renaming(changes)
        _apply(self._names, renaming)
        self._journal.append(renaming)

    # --- crashes -----------------------------------------------------------------------------------------

    def killed(self) -> SimFs:
        """The disk as another process finds it after this one was killed: the page cache lives on."""
        twins: dict[_Node, _Node] = {}

        def twin(node: _Node) -> _Node:
            if node not in twins:
                twins[node] = node.copy()
            return twins[node]

        other = self.like()
        other._names = {path: twin(node) for path, node in self._names.items()}
        other._durable = {path: twin(node) for path, node in self._durable.items()}
        for renaming in self._journal:
            changes = tuple((path, node and twin(node)) for path, node in renaming.changes)
            other._journal.append(_Renaming(changes, renaming.covered))
        return other

    def like(self) -> SimFs:
        """An empty disk of the same kind."""
        return SimFs()

    def image(self) -> DiskImage:
        """What a process sees now."""
        return DiskImage(tuple(sorted((path, node.content) for path, node in _reachable(self._names).items())))

    def crash_states(
        self, kind: Crash, metadata: Metadata = "any", *, limit: int = 100, rng: random.Random
    ) -> Iterator[DiskImage]:
        """What a crash at this moment may leave: all of it if that is up to `limit` images, else `limit` drawn.

        Among those drawn, 4 at least, are always: nothing un-synced survived, and all of it did.
        """
        return self._after_kill(limit, rng) if kind == "kill" else self._after_power_cut(metadata, limit, rng)

    def _after_kill(self, limit: int, rng: random.Random) -> Iterator[DiskImage]:
        yield self.image()
        if self._writing is None:
            return
        node, before = self._writing
        whole = node.content
        assert whole is not None
        ends: list[int] = list(range(before, len(whole)))
        for end in ends if len(ends) < limit else sorted(rng.sample(ends, limit - 1)):
            files = {path: each.content for path, each in _reachable(self._names).items()}
            yield DiskImage(
                tuple(
                    sorted(
                        (path, whole[:end] if self._names[path] is node else content) for path, content in files.items()
                    )
                )
            )

    def _after_power_cut(self, metadata: Metadata, limit: int, rng: random.Random) -> Iterator[DiskImage]:
        namings = self._namings(metadata, limit, rng)
        survivors: dict[_Node, list[tuple[bytes, bool]]] = {}
        choices: list[tuple[Names, list[_Node]]] = []
        for names in namings:
            torn = [node for node in dict.fromkeys(names.values()) if node.unsynced]
            for node in torn:
                if node not in survivors:
                    survivors[node] = node.survivors()
            choices.append((names, torn))
        total = sum(prod(len(survivors[node]) for node in torn) for _, torn in choices)
        if total <= limit:
            for names, torn in choices:
                for picked in product(*(survivors[node] for node in torn)):
                    yield _image(names, dict(zip(torn, picked, strict=True)))
            return
        for names, torn in (choices[0], choices[-1]):
            yield _image(names, {})
            yield _image(names, {node: (node.content or b"", False) for node in torn})
        for _ in range(limit - 4):
            names, torn = rng.choice(choices)
            yield _image(names, {node: rng.choice(survivors[node]) for node in torn})

    def _namings(self, metadata: Metadata, limit: int, rng: random.Random) -> list[Names]:
        """The names that may survive: first the fewest changes, last all of them."""
        journal = self._journal
        open_ = [number for number, renaming in enumerate(journal) if not renaming.covered]
        if metadata == "ordered":
            floor = max((number + 1 for number, renaming in enumerate(journal) if renaming.covered), default=0)
            picks = [set(range(end)) for end in range(floor, len(journal) + 1)]
        else:
            covered = set(range(len(journal))) - set(open_)
            masks = range(1 << len(open_))
            chosen = masks if len(masks) <= limit else [0, *rng.sample(masks, limit - 2), masks[-1]]
            picks = [covered | {number for bit, number in enumerate(open_) if mask >> bit & 1} for mask in chosen]
        namings = []
        for pick in picks:
            names = dict(self._durable)
            for number, renaming in enumerate(journal):
                if number in pick:
                    _apply(names, renaming)
            namings.append(_reachable(names))
        return namings


class SimFile:
    """A file of a `SimFs`, open for writing at its end."""

    __slots__ = ("_fs", "_node", "path")

    def __init__(self, fs: SimFs, path: str, node: _Node) -> None:
        self._fs = fs
        self._node = node
        self.path = path

    def write(self, data: Data) -> int:
        return self._fs.write(self.path, self._node, data)

    def fdatasync(self) -> None:
        self._fs.fdatasync(self.path, self._node)

    def truncate(self, size: int) -> None:
        self._fs.ftruncate(self.path, self._node, size)

    def close(self) -> None:
        """Closing makes nothing durable."""


def _apply(names: Names, renaming: _Renaming) -> None:
    for path, node in renaming.changes:
        if node is None:
            names.pop(path, None)
        else:
            names[path] = node


def _reachable(names: Names) -> Names:
    """`names` without those whose directory is not there."""
    found: Names = {}
    for path in sorted(names):
        parent = os.path.dirname(path)
        if parent in found or _is_root(parent):
            found[path] = names[path]
    return found


def _image(names: Names, contents: dict[_Node, tuple[bytes, bool]]) -> DiskImage:
    files: list[tuple[str, bytes | None]] = []
    zeroed = False
    for path, node in names.items():
        if node.data is None:
            files.append((path, None))
        elif node in contents:
            content, zeros = contents[node]
            files.append((path, content))
            zeroed = zeroed or zeros
        else:
            files.append((path, node.durable))
    return DiskImage(tuple(files), zeroed)


def _is_root(path: str) -> bool:
    return os.path.dirname(path) == path


def _error(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)
