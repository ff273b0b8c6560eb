"""The files of one log: finding them, loading them, making them, and putting a new base in their place.

Rules of this file:

- nothing is written before everything was loaded; a read-only open writes nothing at all;
- data is never left unread: files without a manifest are an error, not an empty store;
- names are durable before the manifest lists them, and the incr before the last is synced before a manifest says
  that it is not the last;
- failure before the manifest is renamed leaves the old files in force; after it nothing is rolled back, and what was
  replaced is deleted only when the new manifest is durable.

Redis: aof.c aofLoadManifestFromDisk, loadAppendOnlyFiles, aofUpgradePrepare, aofOpenIfNeededOnServerStart,
openNewIncrAofForAppend, backgroundRewriteDoneHandler, aofDelHistoryFiles (7.0.15).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, Literal, Protocol

from aofnb.aof.bio import Bio
from aofnb.aof.fs import File, Fs
from aofnb.aof.load import RestoreSnapshot, read_units
from aofnb.aof.load_report import Cut, LoadedFile, LoadReport, judged
from aofnb.aof.manifest import AofFile, AofType, Manifest, ManifestPublishedError, Suffix, sync_dir
from aofnb.aof.rewrite import BaseForm, is_temp_base_name, temp_base_name, write_keyspace
from aofnb.aof.writer import AofWriter
from aofnb.clock import Clock, SystemClock
from aofnb.config import Config
from aofnb.errors import (
    AofError,
    AofManifestError,
    AofTruncatedError,
    AofWriteError,
    RdbError,
)
from aofnb.rdb import Loaded, load_rdb
from aofnb.resp.reader import Block
from aofnb.store.keyspace import Keyspace

__all__ = ["AofDirectory"]

Replay = Callable[[str, Block], None]
Progress = Callable[[int, int], None]


class Restore(Protocol):
    """Puts a snapshot of `size` bytes or less, at which `data` stands, where the commands go.

    `file` is its path; `progress` is called with the bytes read so far.
    """

    def __call__(
        self, file: str, data: BinaryIO, size: int, progress: Callable[[int], None] | None = None, /
    ) -> Loaded: ...


# A file up to this size is looked into before it is said to hold data: a first start leaves at most an annotation.
_LOOK_INTO_BYTES = 4096
_TIMESTAMP = re.compile(rb"#TS:([0-9]{1,18})")


class AofDirectory:
    """The log's files in one directory.

    Call `open`, then `load`, then (to write) `start_writer`; afterwards the rewrite methods. All but `files`,
    `current_size` and `base_size` under the engine's lock.

    Parameters
    ----------
    fs
        File operations.
    directory
        What redis-server calls ``dir``: the files are in its subdirectory `config.appenddirname`, `path`.
    """

    def __init__(self, fs: Fs, directory: str, config: Config, clock: Clock | None = None) -> None:
        self.fs = fs
        self.directory = directory
        self.config = config
        self.clock = clock or SystemClock()
        self.prefix = config.appendfilename
        self.path = os.path.join(directory, config.appenddirname)
        self.manifest = Manifest(self.prefix)
        self.readonly = False
        self.base_size = 0
        self._state: Literal["closed", "fresh", "upgrade", "existing"] = "closed"
        self._loaded = False
        self._writer: AofWriter | None = None
        self._bio: Bio | None = None
        # Bytes of every file that counts towards current_size, but for the live one.
        self._closed_bytes = 0
        self._sizes: dict[str, int] = {}
        # Who is told how long a step took, for LATENCY. Set by the store.
        self.sample: Callable[[str, float], None] = lambda _event, _seconds: None
        # Names of files with something that was not loaded.
        self._unread: set[str] = set()

    # --- open --------------------------------------------------------------------------------------------

    @property
    def old_path(self) -> str:
        """Where versions before 7.0 keep the whole log, in one file."""
        return os.path.join(self.directory, self.prefix)

    def open(self, *, readonly: bool = False) -> None:
        """Find out which files there are. Changes nothing.

        Raises
        ------
        AofManifestError
            The manifest is malformed, a file that it lists is missing, or there is data and no manifest.
        AofError
            The directory or the manifest cannot be read.
        """
        self.readonly = readonly
        names = self._names()
        try:
            self.manifest = Manifest.load(self.fs, self.path, self.prefix)
        except FileNotFoundError:
            self.manifest = Manifest(self.prefix)
        except OSError as problem:
            raise _unreadable(os.path.join(self.path, self.manifest.filename), problem) from problem
        has_old = self.fs.exists(self.old_path)
        if not self.manifest.data_files:
            self._refuse_unlisted(names)
            self._state = "upgrade" if has_old else "fresh"
            if self._state == "fresh" and readonly and self.manifest.source is None:
                raise AofManifestError(
                    "there is no log here to read; open it without readonly to make one", file=self.path
                )
        elif self._half_upgraded(names) and has_old:
            # A crash between the manifest and the move.
            self._state = "upgrade"
        else:
            self._refuse_missing(names)
            self._state = "existing"
        if self._state == "upgrade":
            self.manifest = Manifest(self.prefix, base=AofFile(self.prefix, 1, "base"))

    def _names(self) -> set[str]:
        try:
            return set(self.fs.listdir(self.path))
        except FileNotFoundError:
            return set()
        except NotADirectoryError as problem:
            raise AofManifestError(
                "this is a file, but the log's directory has this name; move it away or set appenddirname",
                file=self.path,
            ) from problem
        except OSError as problem:
            raise _unreadable(self.path, problem) from problem

    def _half_upgraded(self, names: set[str]) -> bool:
        manifest = self.manifest
        only_base = manifest.base is not None and not manifest.incrs and not manifest.history
        return only_base and manifest.data_files[0].name == self.prefix and self.prefix not in names

    def _refuse_unlisted(self, names: set[str]) -> None:
        """Refuse to begin an empty log beside data: redis-server does, appends behind it, and mixes both later."""
        manifest_path = os.path.join(self.path, self.manifest.filename)
        others = sorted(name for name in names if name.endswith(".manifest") and not name.startswith("temp-"))
        if self.manifest.filename in others:
            others.remove(self.manifest.filename)
        unlisted = sorted(name for name in names if self._numbered(name) and self._holds_data(name))
        waiting = [
            entry.name for entry in self.manifest.history if entry.name in names and self._holds_data(entry.name)
        ]
        if unlisted or waiting:
            found = ", ".join(sorted({*unlisted, *waiting}))
            raise AofManifestError(
                f"{'there is no manifest' if self.manifest.source is None else 'the manifest lists no file to load'}, "
                f"but there is data: {found}. Nothing was read or changed. " + self._offer(),
                file=manifest_path,
            )
        if others and self.manifest.source is None:
            raise AofManifestError(
                f"there is no such manifest, but {', '.join(others)}: the log has another name. "
                f"Open it with appendfilename={others[0].removesuffix('.manifest')!r}, or use another directory",
                file=manifest_path,
            )

    def _refuse_missing(self, names: set[str]) -> None:
        missing = [entry.name for entry in self.manifest.data_files if entry.name not in names]
        if missing:
            raise AofManifestError(
                f"the manifest lists {', '.join(missing)}, which is not there. Bring it back from a backup; "
                "or, to do without what it held, keep a copy of the directory and take its line out of the manifest",
                file=os.path.join(self.path, self.manifest.filename),
            )

    def _numbered(self, name: str) -> re.Match[str] | None:
        return re.fullmatch(rf"{re.escape(self.prefix)}\.([0-9]+)\.(?:(base)\.(?:aof|rdb)|incr\.aof)", name)

    def _holds_data(self, name: str) -> bool:
        """Whether the file holds anything but annotations; what cannot be read counts as data."""
        path = os.path.join(self.path, name)
        keyspace = Keyspace(self.config.databases, self.clock.now_ms)

        def restore(file: BinaryIO, size: int) -> Loaded:
            return load_rdb(file, keyspace, size, name=path, config=self.config)

        try:
            if self.fs.size(path) > _LOOK_INTO_BYTES:
                return True
            units = read_units(self.fs, path, restore=restore)
            commands = any(len(block) for block in units)
            return commands or units.tail.kind != "clean" or bool(keyspace.key_count() or keyspace.functions)
        except (OSError, RdbError):
            return True

    def proposed_manifest(self) -> Manifest | None:
        """The manifest that the names in the directory suggest; None if they leave a choice.

        A name says which numbers came first, not which files a base replaced: so with two bases, or an incr and a base
        where the incr's content may be in the base already, a person must decide.
        """
        bases: list[AofFile] = []
        incrs: list[AofFile] = []
        for name in self._names():
            match = self._numbered(name)
            if match and int(match[1]):
                kind: AofType = "base" if match[2] else "incr"
                (bases if match[2] else incrs).append(AofFile(name, int(match[1]), kind))
        if len(bases) > 1 or not bases + incrs:
            return None
        incrs.sort(key=lambda entry: entry.seq)
        return Manifest(self.prefix, bases[0] if bases else None, tuple(incrs))

    def _offer(self) -> str:
        proposed = self.proposed_manifest()
        if proposed is None:
            return "Restore the manifest from a backup; `aofnb.read_aof` shows what each file holds"
        lines = proposed.format().rstrip("\n").replace("\n", " | ")
        return f"If these are all files of the log, make the manifest of these lines: {lines}"

    # --- load --------------------------------------------------------------------------------------------

    def path_of(self, entry: AofFile) -> str:
        """Where the file of `entry` is now."""
        if self._state == "upgrade" and entry.name == self.prefix:
            return self.old_path
        return os.path.join(self.path, entry.name)

    def load(self, replay: Replay, progress: Progress | None = None, *, restore: Restore | None = None) -> LoadReport:
        """Give every unit of every file to `replay`, base first, and cut the end of the last file if need be.

        A file is changed only when all else was loaded and `config.aof_load_truncated` allows it.

        Parameters
        ----------
        replay
            Called with the path of the file and a block; another path means a new client, in database 0.
        progress
            Called with bytes done and bytes in all after each block, and about once a MiB in a snapshot.
        restore
            Called with a snapshot that a file begins with, before the blocks of that file. None: that is an error.

        Raises
        ------
        AofTruncatedError
            A file ends inside a unit and may not be cut; the files are as they were.
        AofFormatError
            Bytes that are no command.
        RdbError
            A snapshot is damaged, or holds what can be nowhere here.
        AofError
            A file cannot be read.
        """
        assert self._state != "closed", "open it first"
        started_s = self.clock.monotonic()
        entries = [(entry, self.path_of(entry)) for entry in self.manifest.data_files]
        sizes = [self._size_of(path) for _, path in entries]
        total = sum(sizes)
        if progress is not None:
            progress(0, total)
        before = 0
        loaded: list[LoadedFile] = []
        cut: Cut | None = None
        for number, (entry, path) in enumerate(entries):
            file_started_s = self.clock.monotonic()
            commands = unknown = 0
            last_timestamp_s: int | None = None
            snapshot_done = None if progress is None else _shifted(progress, before, total)
            units = read_units(self.fs, path, expected_size=sizes[number], restore=_bound(restore, path, snapshot_done))
            while (block := _next(units, path)) is not None:
                replay(path, block)
                commands += len(block)
                for _offset, text in block.annotations:
                    if match := _TIMESTAMP.fullmatch(text):
                        last_timestamp_s = int(match[1])
                    else:
                        unknown += 1
                if progress is not None:
                    progress(before + block.end, total)
            if units.tail.kind != "clean":
                last = number == len(entries) - 1
                cut = judged(path, units.tail, self.config, last=last, readonly=self.readonly)
            before += sizes[number]
            seconds = self.clock.monotonic() - file_started_s
            if units.snapshot is not None and units.snapshot.skipped:
                self.keep(path)
            loaded.append(
                LoadedFile(
                    entry.name, entry.type, sizes[number], commands, seconds, units.snapshot, last_timestamp_s, unknown
                )
            )
        if cut is not None:
            if cut.applied:
                self._apply(cut)
            sizes[-1] = cut.offset
        self._sizes = {entry.name: size for (entry, _), size in zip(entries, sizes, strict=True)}
        self._closed_bytes = sum(sizes)
        self.base_size = sizes[0] if self.manifest.base is not None else 0
        self._loaded = True
        seconds = self.clock.monotonic() - started_s
        return LoadReport(tuple(loaded), sum(file.commands for file in loaded), seconds, cut)

    def keep(self, path: str) -> None:
        """Never delete the file `path`: something in it was not loaded, so that no rewrite can stand for it."""
        self._unread.add(os.path.basename(path))

    def replay_again(self, replay: Replay, *, restore: Restore | None = None) -> None:
        """Give every unit of the files in force to `replay` once more, snapshots to `restore`; changes nothing."""
        for entry in self.manifest.data_files:
            path = self.path_of(entry)
            units = read_units(self.fs, path, restore=_bound(restore, path))
            while (block := _next(units, path)) is not None:
                replay(path, block)

    def _size_of(self, path: str) -> int:
        try:
            return self.fs.size(path)
        except OSError as problem:
            raise _unreadable(path, problem) from problem

    def _apply(self, cut: Cut) -> None:
        try:
            self.fs.truncate(cut.file, cut.offset)
        except OSError as problem:
            raise AofTruncatedError(
                f"{cut.reason}, and the last {cut.bytes_cut} bytes cannot be cut off: {problem.strerror}. "
                "Make the file writable, or open with readonly=True",
                file=cut.file,
                offset=cut.offset,
            ) from problem

    # --- write -------------------------------------------------------------------------------------------

    def start_writer(self, clock: Clock, bio: Bio) -> AofWriter:
        """Open the last incr for appending; make what is missing; drop what was replaced.

        Raises
        ------
        AofWriteError
            The files cannot be made or written.
        """
        assert self._loaded, "what was not loaded must not be written behind"
        assert not self.readonly
        self._bio = bio
        self._remove_leftovers()
        if self._state == "fresh":
            self._create(clock)
        elif self._state == "upgrade":
            self._upgrade()
        if not self.manifest.incrs:
            file, problem = self._publish_incr()
            with _writing(file.path):
                file.close()
            if problem is not None:
                raise problem
        live = self.manifest.incrs[-1]
        path = self.path_of(live)
        with _writing(path):
            file = self.fs.open_append(path)
            # A process that was killed may have left bytes that we loaded, and names that we found, and that are on
            # no device yet.
            file.fdatasync()
            sync_dir(self.fs, self.path)
            size = self.fs.size(path)
        self._closed_bytes -= self._sizes.pop(live.name, 0)
        self._state = "existing"
        self._writer = AofWriter(file, size, self.config, clock, bio)
        self._drop_history()
        return self._writer

    def _remove_leftovers(self) -> None:
        temps = {f"temp-{self.manifest.filename}", f"temp-{self.prefix}.incr"}
        for name in self._names():
            if name in temps or is_temp_base_name(name):
                with suppress(OSError):
                    self.fs.unlink(os.path.join(self.path, name))

    def _create(self, clock: Clock) -> None:
        """A first log: an empty base, then `start_writer` adds the incr, so that one manifest lists both."""
        form = BaseForm.of(self.config, clock.now_ms())
        manifest = Manifest(self.prefix).with_new_base(form.suffix)
        assert manifest.base is not None
        temp = os.path.join(self.path, temp_base_name(os.getpid()))
        with _writing(self.path):
            self._mkdir()
            size = write_keyspace(self.fs, temp, Keyspace(1, clock.now_ms), form, self.config)
            self.fs.rename(temp, os.path.join(self.path, manifest.base.name))
        # As redis-server counts it, a log that was just made has size 0, whatever its base holds.
        self._sizes[manifest.base.name] = size
        self.manifest = manifest

    def _mkdir(self) -> None:
        """Make the log's directory, and the names of all directories on the way to it durable.

        Whoever made them, the store just now or one that was killed before it came to this: with any of them a power
        cut would take the log.
        """
        self.fs.mkdir(self.path)
        below = os.path.abspath(self.path)
        while (directory := os.path.dirname(below)) != below:
            # What we may not read we did not make.
            with suppress(PermissionError):
                sync_dir(self.fs, directory)
            below = directory

    def _upgrade(self) -> None:
        """Move the single file of an older version into the directory, as its base.

        The manifest comes first: where it lists the file and the file is not there yet, the next start goes on here.
        """
        with _writing(self.old_path):
            self._mkdir()
            self.manifest.persist(self.fs, self.path)
            moved = os.path.join(self.path, self.prefix)
            self.fs.rename(self.old_path, moved)
            if not self.fs.exists(moved):
                # A link that is relative to where it was. redis-server has moved it, and cannot find the log any more.
                self.fs.rename(moved, self.old_path)
                raise AofWriteError(
                    f"it is a link that cannot be moved to {self.path}, where newer versions keep the log. "
                    "Put the file itself in its place, or make the link absolute",
                    file=self.old_path,
                )
            sync_dir(self.fs, self.path)
            sync_dir(self.fs, self.directory)
        self._state = "existing"

    def _publish_incr(self) -> tuple[File, ManifestPublishedError | None]:
        """Make the next incr and a manifest that lists it; also the error, if that manifest may not be durable."""
        manifest = self.manifest.with_new_incr(self._taken())
        path = os.path.join(self.path, manifest.incrs[-1].name)
        with _writing(path):
            file = self.fs.create(path)
        try:
            with _writing(path):
                sync_dir(self.fs, self.path)
            manifest.persist(self.fs, self.path)
        except ManifestPublishedError as problem:
            self.manifest = manifest
            return file, problem
        except AofError:
            # Not for Ctrl-C, which may come when the manifest is published already: see `settle`.
            self._discard(file)
            raise
        self.manifest = manifest
        return file, None

    def _taken(self) -> set[str]:
        """Names of files that hold something: a new incr never empties one, whoever left it there."""
        return {name for name in self._names() if self._numbered(name) and self._size_of(os.path.join(self.path, name))}

    def _discard(self, file: File) -> None:
        with suppress(OSError):
            file.close()
        with suppress(OSError):
            self.fs.unlink(file.path)

    # --- rewrite -----------------------------------------------------------------------------------------

    def begin_rewrite(self, writer: AofWriter) -> list[str]:
        """Let the log go on in a new incr; returns the files that a new base will stand for, oldest first.

        1. write and sync what there is; 2. make the new incr, sync the directory; 3. publish a manifest that lists
        it last; 4. switch. Where redis-server syncs the old incr in the background, a power cut can leave a manifest
        that says the log goes on behind a file whose end is missing.

        Raises
        ------
        AofWriteError
            Before 3 was done: the log goes on in the old incr. If only the last sync failed: the new incr is
            in force, and `writer` refuses to write. Or the live incr is not as `writer` left it.
        """
        # The error of an fsync is told once: it must be known before another one says that all is well.
        assert self._bio is not None
        self._bio.drain()
        if writer.poisoned is not None:
            raise AofWriteError(
                f"an earlier write or fsync failed: {writer.poisoned.strerror}; it may lack what was acknowledged, "
                "so no base can be made from it. Close the store and open it again",
                file=writer.file.path,
            ) from writer.poisoned
        writer.flush(force=True)
        if writer.fsynced_bytes != writer.written_bytes:
            writer.fsync_now()
        sources = [self.path_of(entry) for entry in self.manifest.data_files]
        live = self.manifest.incrs[-1].name
        self._refuse_second_writer(self.path_of(self.manifest.incrs[-1]), writer.written_bytes)
        file, problem = self._publish_incr()
        self._sizes[live] = writer.written_bytes
        self._closed_bytes += writer.written_bytes
        self._close_later(writer.switch(file))
        if problem is not None:
            # Data in a file that no durable manifest lists would be lost with the power.
            writer.poisoned = _cause(problem)
            raise problem
        return sources

    def _refuse_second_writer(self, path: str, size: int) -> None:
        """Replace nothing that somebody else wrote to, or cut: a server, say, which knows nothing of our lock."""
        with _writing(path):
            found = self.fs.size(path)
        if found != size:
            raise AofWriteError(
                f"it has {found} bytes where this store wrote {size}: something else writes to it, or cut it. End "
                "that, then close the store and open it again; a rewrite now would take what the other wrote",
                file=path,
                offset=min(found, size),
            )

    def publish_base(self, temp: str, suffix: Suffix = "aof") -> None:
        """Put the finished base `temp`, which is in `path`, in the place of all files but the live incr.

        `suffix` says which form it has.

        1. rename it, sync the directory; 2. publish the manifest; 3. delete what it replaces.

        Raises
        ------
        AofWriteError
            Before 2 was done: the old files are in force and `temp` is gone. If only the last sync failed: the new
            files are in force and the old ones stay, listed as history.
        """
        manifest = self.manifest.with_new_base(suffix)
        self._publish(temp, manifest)

    def replace_all(self, writer: AofWriter, temp: str, suffix: Suffix = "aof") -> None:
        """Put the base `temp`, which holds all data as it is now, and a new incr in the place of everything.

        For when the live incr can no longer be trusted: what was in aof_buf when `temp` was begun is dropped, since
        `temp` holds it, and the writer is good again.

        Raises
        ------
        AofWriteError
            As `publish_base`.
        """
        file, problem = self._new_generation(temp, suffix)
        self._close_later(writer.replaced_by(file))
        self.base_size = self.current_size
        if problem is not None:
            writer.poisoned = _cause(problem)
            raise problem

    def _new_generation(self, temp: str, suffix: Suffix) -> tuple[File, ManifestPublishedError | None]:
        """Publish `temp` and a new incr in the place of everything; the error, if that may not be durable."""
        manifest = self.manifest.with_new_incr(self._taken()).with_new_base(suffix)
        path = os.path.join(self.path, manifest.incrs[-1].name)
        with self._or_no_temp(temp), _writing(path):
            file = self.fs.create(path)
        try:
            self._publish(temp, manifest)
        except ManifestPublishedError as problem:
            return file, problem
        except AofError:
            # Not for Ctrl-C, which may come when the manifest is published already: see `settle`.
            self._discard(file)
            raise
        return file, None

    def _publish(self, temp: str, manifest: Manifest) -> None:
        # What was not loaded is not in the new base. No server deletes a file that no manifest lists.
        manifest = manifest.without_history({entry.name for entry in manifest.history} - self._unread)
        assert manifest.base is not None
        target = os.path.join(self.path, manifest.base.name)
        with self._or_no_temp(temp), _writing(temp):
            with self._sampled("aof-fstat"):
                size = self.fs.size(temp)
            with self._sampled("aof-rename"):
                self.fs.rename(temp, target)
        problem: ManifestPublishedError | None = None
        try:
            with _writing(target):
                sync_dir(self.fs, self.path)
            manifest.persist(self.fs, self.path)
        except ManifestPublishedError as caught:
            problem = caught
        except AofError:
            with suppress(OSError):
                self.fs.unlink(target)
            raise
        self.manifest = manifest
        self._sizes = {**self._sizes, manifest.base.name: size}
        self._closed_bytes = size
        self.base_size = self.current_size
        if problem is not None:
            # The old manifest may come back, so what it lists must stay.
            raise problem
        self._drop_history()

    # --- off and on ----------------------------------------------------------------------------------------

    def open_unused(self, bio: Bio, *, readonly: bool) -> bool:
        """For a store whose log is off: read the manifest and drop what was replaced; whether there is a log.

        Raises
        ------
        AofManifestError
            The manifest is malformed.
        """
        self.readonly = readonly
        self._bio = bio
        names = self._names()
        try:
            self.manifest = Manifest.load(self.fs, self.path, self.prefix)
        except FileNotFoundError:
            return any(self._numbered(name) for name in names)
        if not readonly:
            self._drop_history()
        return bool(self.manifest.data_files)

    def prepare_anew(self) -> None:
        """Make sure that a log can be made here whose base is what is in memory.

        Raises
        ------
        AofManifestError
            There is a log that this object neither loaded nor made: it would be replaced, unread.
        AofWriteError
            The directory cannot be made.
        """
        if not self._loaded:
            unread = [
                entry.name
                for entry in self.manifest.data_files
                if self.fs.exists(os.path.join(self.path, entry.name)) and self._holds_data(entry.name)
            ]
            if unread:
                raise AofManifestError(
                    f"there is a log here that was not loaded ({', '.join(unread)}) and would be replaced by what is "
                    "in memory. Open the store with appendonly=True to go on with it, or move it away",
                    file=self.path,
                )
            self._refuse_unlisted(self._names())
            self._state = "existing"
        with _writing(self.path):
            self._mkdir()

    def hold_anew(self, clock: Clock, bio: Bio) -> AofWriter:
        """A writer that keeps what it is fed while the first base is made; `start_anew` or `drop_held` comes next.

        Its file is the new incr, empty and in no manifest, as a crash may leave one.

        Raises
        ------
        AofWriteError
            It cannot be made.
        """
        self._bio = bio
        path = os.path.join(self.path, self.manifest.with_new_incr(self._taken()).incrs[-1].name)
        with _writing(path):
            writer = AofWriter(self.fs.create(path), 0, self.config, clock, bio)
        writer.hold()
        return writer

    def drop_held(self, writer: AofWriter) -> None:
        """There will be no base for `writer`, of `hold_anew`."""
        self._discard(writer.file)

    def start_anew(self, temp: str, suffix: Suffix, clock: Clock, bio: Bio, held: AofWriter | None = None) -> AofWriter:
        """Begin a log: the base `temp` of all data and a new incr; what was there is replaced.

        `temp` holds the data as they are now, or as they were when `held` was made, which then goes on as the writer.

        Raises
        ------
        AofWriteError
            As `publish_base`. If only the last sync failed the writer is there, and refuses to write.
        """
        self._bio = bio
        file, problem = self._new_generation(temp, suffix)
        if held is None:
            held = AofWriter(file, 0, self.config, clock, bio)
        else:
            self._close_later(held.replaced_by(file))
        writer = self._writer = held
        self._loaded = True
        self.base_size = self.current_size
        if problem is not None:
            writer.poisoned = _cause(problem)
        return writer

    def publish_alone(self, temp: str, suffix: Suffix, bio: Bio) -> None:
        """Put the base `temp` in the place of everything, while the log is off: no incr.

        Raises
        ------
        AofWriteError
            As `publish_base`.
        """
        self._bio = bio
        self._loaded = True
        self._publish(temp, self.manifest.with_new_base(suffix, keep_incrs=0))

    def stop_writer(self) -> None:
        """The log was turned off: nothing is written behind its files any more, and they stay as they are."""
        assert self._writer is not None
        self._sizes[self.manifest.incrs[-1].name] = self._writer.written_bytes
        self._closed_bytes += self._writer.written_bytes
        self._writer = None

    def settle(self, writer: AofWriter) -> None:
        """After a step that Ctrl-C tore: let the manifest on disk, the live file and the sizes agree again.

        What this object holds is in force: each manifest becomes current only when all its files are there, and files
        are deleted only when a later one is.
        """
        live = self.path_of(self.manifest.incrs[-1])
        if writer.file.path != live:
            with _writing(live):
                self._close_later(writer.switch(self.fs.open_append(live), self.fs.size(live)))
        # Only where the step had come to it: what Ctrl-C tore in memory needs no disk that can be written to.
        if self._manifest_on_disk() != self.manifest:
            self.manifest.persist(self.fs, self.path)
        closed = self.manifest.data_files[:-1]
        self._sizes = {entry.name: self._size_of(self.path_of(entry)) for entry in closed}
        self._closed_bytes = sum(self._sizes.values())

    def _manifest_on_disk(self) -> Manifest | None:
        try:
            return Manifest.load(self.fs, self.path, self.prefix)
        except (OSError, AofError):
            return None

    @contextmanager
    def _sampled(self, event: str) -> Iterator[None]:
        started_s = self.clock.monotonic()
        yield
        self.sample(event, self.clock.monotonic() - started_s)

    @contextmanager
    def _or_no_temp(self, temp: str) -> Iterator[None]:
        try:
            yield
        except BaseException:
            with suppress(OSError):
                self.fs.unlink(temp)
            raise

    def collect_history(self) -> None:
        """Delete replaced files that were kept, if ``aof-disable-auto-gc`` allows it now."""
        self._drop_history()

    def _drop_history(self) -> None:
        """Delete replaced files. Whatever fails here is tried again at the next start or rewrite."""
        if not self.manifest.history or self.config.aof_disable_auto_gc:
            return
        kept = {entry.name for entry in self.manifest.history if not self._unlink(entry)}
        manifest = self.manifest.without_history(kept)
        try:
            manifest.persist(self.fs, self.path)
        except ManifestPublishedError:
            # Either manifest is right: history is not loaded, and may be missing.
            self.manifest = manifest
        except AofWriteError:
            return
        self.manifest = manifest
        listed = {entry.name for entry in manifest.all_files}
        self._sizes = {name: size for name, size in self._sizes.items() if name in listed}

    def _unlink(self, entry: AofFile) -> bool:
        """Remove a replaced file; freeing its blocks is left to the background."""
        path = os.path.join(self.path, entry.name)
        try:
            file = self.fs.open_read(path)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        try:
            self.fs.unlink(path)
        except OSError:
            return False
        finally:
            self._in_background(file.close)
        return True

    def _close_later(self, file: File) -> None:
        # In line behind an fsync of the same file that may still run.
        self._in_background(file.close)

    def _in_background(self, close: Callable[[], None]) -> None:
        def job() -> None:
            # Everything in it is synced or no longer wanted.
            with suppress(OSError):
                close()

        assert self._bio is not None
        self._bio.run(job)

    # --- what others may see -----------------------------------------------------------------------------

    @property
    def current_size(self) -> int:
        """Bytes of base and incrs as written, which aof_buf is not; what INFO calls aof_current_size."""
        writer = self._writer
        return self._closed_bytes + (0 if writer is None else writer.written_bytes)

    def files(self) -> tuple[tuple[str, AofType, int], ...]:
        """``(name, type, size)`` of each file of the manifest. Touches no file, takes no lock."""
        manifest, sizes, writer = self.manifest, self._sizes, self._writer
        live = manifest.incrs[-1].name if manifest.incrs and writer is not None else None
        return tuple(
            (
                entry.name,
                entry.type,
                writer.written_bytes if writer and entry.name == live else sizes.get(entry.name, 0),
            )
            for entry in manifest.all_files
        )


def _bound(restore: Restore | None, path: str, progress: Callable[[int], None] | None = None) -> RestoreSnapshot | None:
    """`restore` for the one file `path`."""
    if restore is None:
        return None
    return lambda data, size: restore(path, data, size, progress)


def _shifted(progress: Progress, before: int, total: int) -> Callable[[int], None]:
    """`progress` for one file, which has `before` bytes of `total` before it."""
    return lambda done: progress(before + done, total)


def _next(units: Iterator[Block], path: str) -> Block | None:
    """The next block, or None; an error of the operating system says which file it is about."""
    try:
        return next(units, None)
    except OSError as problem:
        raise _unreadable(path, problem) from problem


def _unreadable(path: str, problem: OSError) -> AofError:
    return AofError(f"cannot be read: {problem.strerror}; mend that and open it again, no file was changed", file=path)


@contextmanager
def _writing(path: str) -> Iterator[None]:
    """Turn an error of the operating system into one that says which file could not be written."""
    try:
        yield
    except OSError as problem:
        raise AofWriteError(
            f"cannot be written: {problem.strerror}; free space or mend the disk", file=path
        ) from problem


def _cause(problem: AofWriteError) -> OSError:
    assert isinstance(problem.__cause__, OSError)
    return problem.__cause__
