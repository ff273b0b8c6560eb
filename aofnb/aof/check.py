"""Is this log whole? Three answers for each file, since they differ: redis-check-aof's, redis-server's, ours.

- redis-check-aof reads more strictly than a server (lines must end in CRLF, EXEC needs its MULTI), but takes ``*0`` and
  half an annotation. Its verdict is the verdict of the file, and its exit code ours.
- redis-server starts, or cuts the end of the last file and starts, or gives up. Where it cuts is not always right.
- We open, cut at the end of the last whole unit, or refuse; `fix` cuts there.

Rules of this file: `check` changes nothing; `fix` changes nothing but the last file, and only when a copy of it is on
disk. Snapshots are read to their end. Commands are not judged: an unknown one, or one with too few words, passes here
and is met by whoever loads the log.

Redis: redis-check-aof.c checkMultiPartAof, getInputFileType; aof.c loadSingleAppendOnlyFile (7.0.15).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import BinaryIO, Literal, Protocol

from aofnb.aof.check_snapshot import Finding, SnapshotCheck, check_snapshot
from aofnb.aof.check_tool import Checked, Damage, Frames, ToolReader, byte_at
from aofnb.aof.directory import AofDirectory
from aofnb.aof.fs import Fs, OsFs, write_all
from aofnb.aof.lock import DirectoryLock
from aofnb.aof.manifest import Manifest, sync_dir
from aofnb.config import Config
from aofnb.errors import AofError, AofManifestError, AofWriteError
from aofnb.rdb import is_rdb
from aofnb.resp.reader import LINE_MAX, CommandReader, End, not_cut_short

__all__ = ["CheckReport", "Damage", "FileCheck", "Fixed", "Outcome", "check", "fix"]

Verdict = Literal["valid", "empty", "damaged", "missing"]
Action = Literal["loads", "cuts", "refuses", "unknown"]

_MAGIC_BYTES = 5
# The tool looks for a snapshot in files that are no smaller.
_SNAPSHOT_MIN = 8
_PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_ENDINGS = {".gz": "gzip", ".zst": "zstd"}
_COPY_PIECE = 1 << 20


class Reader(Protocol):
    """Reads a file from `offset` to before `size` as `CommandReader` does."""

    end: End | None

    def __iter__(self) -> Iterator[Checked]: ...


class OpensReader(Protocol):
    def __call__(self, file: BinaryIO, size: int, *, offset: int) -> Reader: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What somebody would do with a file: ``loads`` it, ``cuts`` it at `offset` and goes on, or ``refuses`` it.

    ``unknown`` where that depends on what is wrong inside a value of a snapshot, or on zero bytes that a server does
    not look at. `reason` is empty if it just loads.
    """

    action: Action
    offset: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class FileCheck:
    """One file.

    Attributes
    ----------
    path, name, type, size
        ``type`` as in the manifest, or ``single`` for a file that was given by itself or comes from before 7.0.
    last
        Whether it is the last of the log, which alone may be cut.
    snapshot
        Whether it begins with a snapshot in RDB form.
    verdict
        redis-check-aof's: ``valid``, ``empty``, ``damaged`` or ``missing``.
    ok_up_to, ok_up_to_line
        The end of what redis-check-aof holds for good, in bytes and in lines counted over all files of the log.
    damage
        What it found wrong, or None.
    server, aofnb
        What redis-server 7.0.15 (with aof-load-truncated yes, its default) and this package do with the file.
    cut_at
        End of the last whole unit where something behind it must go before we load; else None.
    truncate_at
        Where to cut to go back to the time asked for, or None.
    line_ends_changed
        It looks as if LF stood where CRLF was, as git leaves it: nothing is missing, so nothing must be cut.
    """

    path: str
    name: str
    type: Literal["base", "incr", "history", "single"]
    size: int
    last: bool
    snapshot: bool
    verdict: Verdict
    ok_up_to: int
    ok_up_to_line: int
    damage: Damage | None
    server: Outcome
    aofnb: Outcome
    cut_at: int | None = None
    truncate_at: int | None = None
    line_ends_changed: bool = False

    @property
    def good(self) -> bool:
        """Whether redis-check-aof would go on to the next file."""
        return self.verdict in ("valid", "empty")


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What `check` found: the files in the order in which they are loaded, and what is wrong with their manifest."""

    path: str
    # The directory with the log in it; what redis-server calls dir.
    directory: str
    manifest: str | None
    files: tuple[FileCheck, ...]
    problem: str | None

    @property
    def verdict(self) -> Literal["valid", "damaged"]:
        """``valid`` if every file is good and the manifest can be."""
        return "valid" if self.problem is None and self.first_bad is None else "damaged"

    @property
    def first_bad(self) -> FileCheck | None:
        """The file at which redis-check-aof ends, or None."""
        return next((file for file in self.files if not file.good), None)

    @property
    def ok_up_to(self) -> int | None:
        """`FileCheck.ok_up_to` of the first bad file, of the last file if all are good, None without files."""
        chosen = self.first_bad or (self.files[-1] if self.files else None)
        return None if chosen is None else chosen.ok_up_to

    @property
    def damage(self) -> Damage | None:
        """`FileCheck.damage` of the first bad file."""
        return None if self.first_bad is None else self.first_bad.damage

    @property
    def cut_at(self) -> int | None:
        """Where `fix` would cut the last file, or None."""
        return self.files[-1].cut_at if self.files else None

    @property
    def server(self) -> Outcome:
        """What redis-server does with the whole."""
        return _overall(self, [file.server for file in self.files])

    @property
    def aofnb(self) -> Outcome:
        """What `aofnb.open` does with the whole."""
        return _overall(self, [file.aofnb for file in self.files])


@dataclass(frozen=True, slots=True)
class Fixed:
    """What `fix` did: the file, where it was cut, how many bytes went, and where its old content is."""

    path: str
    cut_at: int
    bytes_cut: int
    copy: str


def _overall(report: CheckReport, outcomes: Iterable[Outcome]) -> Outcome:
    """The outcome of a log: that of the first file that stops it, else of the one that is not just loaded."""
    if report.problem is not None:
        return Outcome("refuses", None, report.problem)
    odd = [outcome for outcome in outcomes if outcome.action != "loads" or outcome.reason]
    order = ("refuses", "unknown", "cuts", "loads")
    return min(odd, key=lambda outcome: order.index(outcome.action), default=Outcome("loads"))


# --- check -----------------------------------------------------------------------------------------------


def check(
    path: str | os.PathLike[str],
    *,
    fs: Fs | None = None,
    timestamp_s: int | None = None,
    progress: Callable[[int, int], object] | None = None,
    reader: OpensReader = CommandReader,
) -> CheckReport:
    """Read a log to its end, running nothing and changing nothing.

    Time is linear in the size of the files; memory is that of the largest record, and for a snapshot that of its
    largest value and 8 bytes for each key. Where a file is gone because a server put another manifest in force
    meanwhile, the files of that one are read.

    Parameters
    ----------
    path
        A data directory, the directory of the log in it, a manifest, or one file.
    fs
        File operations.
    timestamp_s
        Also find where to cut to go back to this time, in seconds since the epoch: `FileCheck.truncate_at`.
    progress
        Called with the bytes read and the bytes in all.
    reader
        What finds the commands of a file.

    Raises
    ------
    AofManifestError
        There is no log at `path`, or more than one.
    AofError
        A file cannot be read.
    """
    fs = fs or OsFs()
    if not os.fspath(path):
        raise AofError("the path is empty; give a directory ('.' is this one), a manifest or a file")
    given = os.path.abspath(os.fspath(path))
    examine = _Examiner(fs, timestamp_s, progress, reader)
    try:
        names = _listed(fs, given)
        if names is not None:
            dirname, prefix = _found_log(fs, given, names)
            if prefix is not None:
                return _check_parts(fs, given, dirname, prefix, examine)
            given_file = dirname
        elif given.endswith(".manifest"):
            return _check_parts(
                fs, given, os.path.dirname(given), os.path.basename(given)[: -len(".manifest")], examine
            )
        elif _is_manifest(fs, given):
            return _check_manifest(fs, given, examine)
        else:
            given_file = given
        directory, last = _home(fs, given_file)
        file = examine.file(given_file, os.path.basename(given_file), "single", last=last)
        return CheckReport(given, directory, None, (file,), None)
    except OSError as problem:
        raise AofError(
            f"it cannot be read: {problem.strerror}; give a data directory, its appendonlydir, a manifest or a file",
            file=problem.filename or given,
        ) from problem


def _listed(fs: Fs, path: str) -> list[str] | None:
    """The names in the directory `path`, or None where it is a file."""
    try:
        return fs.listdir(path)
    except NotADirectoryError:
        return None


def _manifests(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if name.endswith(".manifest") and not name.startswith("temp-"))


def _found_log(fs: Fs, path: str, names: list[str]) -> tuple[str, str | None]:
    """The log in the directory `path`: its directory and the name its files begin with, or a single file and None."""
    homes = [path] if _manifests(names) else []
    for name in sorted(names):
        inside = None if homes and homes[0] == path else _listed(fs, os.path.join(path, name))
        if inside is not None and _manifests(inside):
            homes.append(os.path.join(path, name))
    usual = os.path.join(path, "appendonlydir")
    if usual in homes:
        # What opening `path` would load; the others may be copies of it.
        homes = [usual]
    if len(homes) > 1:
        raise AofManifestError(
            f"there are several logs: {', '.join(map(os.path.basename, homes))}; check one of them", file=path
        )
    if homes:
        found = _manifests(fs.listdir(homes[0]))
        if len(found) > 1:
            raise AofManifestError(f"there are several manifests: {', '.join(found)}; check one of them", file=homes[0])
        return homes[0], found[0][: -len(".manifest")]
    # Data without a manifest: AofDirectory says what to do about it.
    for home in (path, os.path.join(path, "appendonlydir")):
        inside = _listed(fs, home) if home == path or "appendonlydir" in names else None
        prefixes = {
            match[1] for name in inside or () if (match := re.fullmatch(r"(.+)\.\d+\.(?:base|incr)\.\w+", name))
        }
        if len(prefixes) == 1:
            return home, prefixes.pop()
    if "appendonly.aof" in names:
        return os.path.join(path, "appendonly.aof"), None
    raise AofManifestError(
        "there is no log here: no manifest, no appendonlydir, no appendonly.aof; give the server's dir, or the file",
        file=path,
    )


def _refuse_packed(fs: Fs, path: str) -> None:
    """Refuse what was compressed: all of it is damage to redis-check-aof, and a fix would cut all of it."""
    with fs.open_read(path) as file:
        head = file.read(4)
    for magic, packer in _PACKED.items():
        if head.startswith(magic):
            raise _packed(path, packer)


def _packed(path: str, packer: str) -> AofError:
    return AofError(f"it is compressed with {packer}: unpack it, or see `aofnb triage`, which reads it so", file=path)


def _home(fs: Fs, path: str) -> tuple[str, bool]:
    """The data directory of a file that was given by itself, and whether it may be cut: no manifest says otherwise."""
    dirname, name = os.path.split(path)
    found = _manifests(fs.listdir(dirname))
    last = True
    for manifest in found:
        with suppress(AofManifestError):
            entries = Manifest.load(fs, dirname, manifest[: -len(".manifest")]).all_files
            last = last and (name not in {entry.name for entry in entries} or entries[-1].name == name)
    return os.path.dirname(dirname) if found else dirname, last


def _is_manifest(fs: Fs, path: str) -> bool:
    """Whether the first line that is no comment begins with ``file``.

    redis-check-aof 7.0.15 takes any line for it, and so takes a log for a manifest whose data has such a line.
    """
    with fs.open_read(path) as file:
        while line := file.readline(LINE_MAX + 1):
            if not line.startswith(b"#"):
                return line.startswith(b"file")
    return False


def _check_parts(fs: Fs, given: str, dirname: str, prefix: str, examine: _Examiner) -> CheckReport:
    """Check a log whose manifest has the usual name, or is missing."""
    config = Config({"appendfilename": prefix, "appenddirname": os.path.basename(dirname)})
    manifest = os.path.join(dirname, f"{prefix}.manifest")

    def check_now() -> CheckReport:
        directory = AofDirectory(fs, os.path.dirname(dirname), config)
        problem = None
        try:
            directory.open(readonly=True)
        except AofError as found:
            problem = found.message
        files = examine.files(
            [(directory.path_of(entry), entry.name, entry.type) for entry in directory.manifest.data_files]
        )
        return CheckReport(given, os.path.dirname(dirname), manifest, files, problem)

    return _of_one_manifest(fs, manifest, check_now)


def _check_manifest(fs: Fs, given: str, examine: _Examiner) -> CheckReport:
    """Check the log of a manifest with a name of its own."""
    dirname, name = os.path.split(given)

    def check_now() -> CheckReport:
        try:
            manifest = Manifest.parse(_content(fs, given) or b"", name, file=given)
        except AofManifestError as found:
            return CheckReport(given, os.path.dirname(dirname), given, (), found.message)
        entries = [(os.path.join(dirname, entry.name), entry.name, entry.type) for entry in manifest.data_files]
        return CheckReport(given, os.path.dirname(dirname), given, examine.files(entries), None)

    return _of_one_manifest(fs, given, check_now)


def _of_one_manifest(fs: Fs, manifest: str, check_now: Callable[[], CheckReport]) -> CheckReport:
    """What `check_now` says, asked anew as long as files are gone that a newer manifest does not list."""
    while True:
        listed = _content(fs, manifest)
        report = gone = None
        try:
            report = check_now()
            if report.problem is None and all(file.verdict != "missing" for file in report.files):
                return report
        except FileNotFoundError as problem:
            gone = problem
        if _content(fs, manifest) != listed:
            continue
        if report is not None:
            return report
        assert gone is not None
        raise gone


def _content(fs: Fs, path: str) -> bytes | None:
    """What is in a file; None where there is none."""
    try:
        with fs.open_read(path) as file:
            return file.read()
    except FileNotFoundError:
        return None


class _Examiner:
    """Checks files one after the other, counting lines over all of them."""

    def __init__(
        self,
        fs: Fs,
        timestamp_s: int | None,
        progress: Callable[[int, int], object] | None,
        reader: OpensReader,
    ) -> None:
        self._fs = fs
        self._reader = reader
        self._timestamp_s = timestamp_s
        self._line = 1
        self._tell = progress or (lambda done, total: None)
        # Bytes of the files before this one, and of all.
        self._done = self._total = 0

    def files(self, entries: list[tuple[str, str, Literal["base", "incr", "history"]]]) -> tuple[FileCheck, ...]:
        count = len(entries)
        self._line, self._done = 1, 0
        self._total = sum(self._fs.size(path) for path, _, _ in entries if self._fs.exists(path))
        return tuple(self.file(*entry, last=number == count) for number, entry in enumerate(entries, start=1))

    def file(
        self, path: str, name: str, type_: Literal["base", "incr", "history", "single"], *, last: bool
    ) -> FileCheck:
        nothing = FileCheck(
            path, name, type_, 0, last, False, "empty", 0, self._line, None, Outcome("loads"), Outcome("loads")
        )
        try:
            size = self._fs.size(path)
        except FileNotFoundError:
            for ending, packer in _ENDINGS.items():
                if self._fs.exists(path + ending):
                    raise _packed(path + ending, packer) from None
            gone = Outcome("refuses", None, "the file is missing")
            return replace(nothing, verdict="missing", server=gone, aofnb=gone)
        if size == 0:
            return nothing
        # A server may append to it while it is read.
        self._total = max(self._total, self._done + size)
        _refuse_packed(self._fs, path)
        with self._fs.open_read(path) as file:
            snapshot = is_rdb(file.read(_MAGIC_BYTES))
        found = replace(nothing, size=size, snapshot=snapshot)
        found = self._snapshot(found) if snapshot else self._commands(found, 0)
        self._done += size
        self._tell(self._done, self._total)
        return found

    def _snapshot(self, found: FileCheck) -> FileCheck:
        """Read the snapshot at the front, then what is behind it if that can be found."""
        with self._fs.open_read(found.path) as file:
            seen = check_snapshot(file, found.size, lambda offset: self._tell(self._done + offset, self._total))
        # The tool looks for a snapshot at the front of the first file only.
        damage = None
        if found.type == "incr" or found.size < _SNAPSHOT_MIN:
            damage = Damage("format", 0, "a snapshot in a file that is no base")
        elif seen.damage is not None:
            damage = Damage("snapshot", seen.damage.offset, seen.damage.reason)
        if seen.end is not None:
            found = self._commands(found, seen.end)
        if damage is not None:
            found = replace(found, verdict="damaged", ok_up_to=0, ok_up_to_line=self._line, damage=damage)
        if seen.aofnb is not None:
            # Cutting mends no snapshot.
            found = replace(found, cut_at=None, truncate_at=None, aofnb=_refuses(seen.aofnb))
        elif seen.left_out is not None and found.aofnb.action == "loads":
            reason = f"it leaves out what it cannot hold: {seen.left_out.reason} at byte {seen.left_out.offset}"
            found = replace(found, aofnb=Outcome("loads", None, reason))
        return found if seen.server is None else replace(found, server=_server_on_snapshot(seen, seen.server))

    def _commands(self, found: FileCheck, start: int) -> FileCheck:
        """Read the records from `start` on, once for all three answers."""
        with self._fs.open_read(found.path) as file, self._fs.open_read(found.path) as probe:
            tool = ToolReader(probe, found.size, start, line=self._line, last=found.last, timestamp_s=self._timestamp_s)
            loader = _Loader()
            file.seek(start)
            reader = self._reader(file, found.size, offset=start)
            for block in reader:
                frames = block.frames
                loader.take(block, frames)
                tool.take(block, frames)
                self._tell(self._done + block.end, self._total)
            tool.finish()
            end = reader.end
            assert end is not None
            half_annotation = end.kind == "truncated" and byte_at(probe, end.offset) == b"#"
            ours = not_cut_short(file, end, found.size)
        self._line = tool.line
        cut_at = None if end.kind == "clean" and loader.multi_at is None else loader.cut_at(end)
        return replace(
            found,
            verdict="valid" if tool.damage is None else "damaged",
            ok_up_to=tool.ok_up_to,
            ok_up_to_line=tool.line,
            damage=tool.damage,
            server=_server_outcome(loader, end, found, half_annotation=half_annotation),
            aofnb=_our_outcome(loader, ours, found),
            cut_at=cut_at,
            truncate_at=tool.truncate_at,
            line_ends_changed=end.line_ends_changed,
        )


# --- how loaders read ------------------------------------------------------------------------------------


class _Loader:
    """Where a loader, redis-server or ours, would cut the file: which units were whole, and what the server forgets."""

    def __init__(self) -> None:
        # The MULTI that is open, the first if there are several.
        self.multi_at: int | None = None
        # The last block with a command in it. Offsets are measured for whom asks: here that is the end of the file.
        self._last: Checked | None = None
        # `server_up_to` in front of the last MULTI.
        self.server_before_multi = 0

    def take(self, block: Checked, frames: Frames) -> None:
        # Indices of the MULTI that is left open, the first and the last; offsets are made only if there is one.
        first = last = None
        for index, name in frames:
            word = name.upper()
            if word == b"EXEC":
                self.multi_at = first = last = None
            elif word == b"MULTI":
                last = index
                if first is None:
                    first = index
        if first is not None and last is not None:
            self.server_before_multi = int(block.ends[last - 1]) if last else self.server_up_to
            if self.multi_at is None:
                self.multi_at = int(block.offsets[first])
        if len(block):
            self._last = block

    @property
    def server_up_to(self) -> int:
        """Where the server believes that the last whole command ended: annotations and the snapshot do not count."""
        return 0 if self._last is None else int(self._last.ends[-1])

    def cut_at(self, end: End) -> int:
        """End of the last whole unit."""
        return end.offset if self.multi_at is None else self.multi_at


def _refuses(finding: Finding) -> Outcome:
    return Outcome("refuses", finding.offset, finding.reason)


def _server_on_snapshot(seen: SnapshotCheck, finding: Finding) -> Outcome:
    if not seen.unnoticed:
        return _refuses(finding)
    reason = "no checksum tells that it was changed, so a server may load it, and crash when the key is read"
    return Outcome("unknown", finding.offset, f"{finding.reason}; {reason}")


def _server_outcome(loader: _Loader, end: End, found: FileCheck, *, half_annotation: bool) -> Outcome:
    if end.unseen:
        return Outcome("unknown", end.offset, f"{end.reason}; a server does not look at them, and takes zeros for data")
    if end.kind == "format":
        return Outcome("refuses", end.offset, end.reason)
    if end.kind == "truncated" and not half_annotation:
        cut_at, reason = loader.server_up_to, end.reason
        if loader.multi_at is not None:
            reason += f"; the MULTI at byte {loader.multi_at} stays open, and takes in and loses what is written next"
    elif loader.multi_at is not None:
        cut_at, reason = loader.server_before_multi, "a transaction has no EXEC"
    elif half_annotation:
        # With nothing behind it, it is harmless; the next record makes one line with it.
        return Outcome("loads", None, "half an annotation stays in place, and after the next write no server can start")
    else:
        return Outcome("loads")
    if found.snapshot and cut_at == 0:
        reason += "; it forgets that there is a snapshot in front, and deletes that too"
    if not found.last:
        return Outcome(
            "refuses", cut_at, f"{reason}, and it is not the last file; it is cut at byte {cut_at} all the same"
        )
    return Outcome("cuts", cut_at, reason)


def _our_outcome(loader: _Loader, end: End, found: FileCheck) -> Outcome:
    if end.kind == "format":
        return Outcome("refuses", end.offset, end.reason)
    if end.kind == "clean" and loader.multi_at is None:
        return Outcome("loads")
    reason = end.reason or "a transaction has no EXEC"
    if not found.last:
        return Outcome("refuses", end.offset, f"{reason}, and it is not the last file; it stays as it is")
    return Outcome("cuts", loader.cut_at(end), reason)


# --- fix -------------------------------------------------------------------------------------------------


def fix(report: CheckReport, *, fs: Fs | None = None, truncate: bool = False) -> Fixed | None:
    """Cut the last file of the log that `report` is about; None if there is nothing to cut.

    1. make sure that nobody of us writes there and that nothing was written since; 2. copy the file beside itself, as
    ``<file>.before-fix-<n>``, and sync the copy and its name; 3. cut and sync the file.

    Parameters
    ----------
    report
        From `check`, just now.
    fs
        File operations.
    truncate
        Cut at `FileCheck.truncate_at` instead of at `FileCheck.cut_at`.

    Raises
    ------
    AofError
        Something else than the end of the last file is wrong, or a step failed; the log is as it was.
    AofLockedError
        A store has the directory open.
    """
    fs = fs or OsFs()
    file = _fixable(report)
    cut_at = None if file is None else file.truncate_at if truncate else file.cut_at
    if file is None or cut_at is None:
        return None
    lock = DirectoryLock(fs, report.directory)
    lock.acquire()
    try:
        if fs.size(file.path) != file.size:
            raise AofError(
                "the file has changed since it was checked; stop the server that writes to it, then check again",
                file=file.path,
            )
        copy = _copied(fs, file)
        fs.truncate(file.path, cut_at)
    except OSError as problem:
        raise AofWriteError(
            f"it cannot be copied and cut: {problem.strerror}; make room, or make the directory writable",
            file=problem.filename or file.path,
        ) from problem
    finally:
        lock.release()
    return Fixed(file.path, cut_at, file.size - cut_at, copy)


def _fixable(report: CheckReport) -> FileCheck | None:
    """The last file, if all is well but for its end."""
    if report.problem is not None:
        raise AofManifestError(report.problem, file=report.manifest or report.path)
    for file in report.files:
        if not file.last and file.aofnb.action == "refuses":
            raise AofError(
                f"{file.aofnb.reason}. Nothing was changed: what is in later files was written behind it. "
                "Bring this file back from a backup, or from a replica",
                file=file.path,
                offset=file.aofnb.offset,
            )
    last = report.files[-1] if report.files else None
    if last is None or (last.cut_at is None and last.aofnb.action == "loads"):
        return last
    if last.cut_at is None:
        raise AofError(
            f"{last.aofnb.reason}. Nothing was changed: cutting does not mend this. Bring the file back from a backup",
            file=last.path,
            offset=last.aofnb.offset,
        )
    if last.line_ends_changed:
        raise AofError(
            f"{last.aofnb.reason}; the line ends were changed. Nothing was cut: that would lose what is only spelled "
            "wrongly. Bring the file back from where its line ends are whole, and put `*.aof -text` into "
            ".gitattributes",
            file=last.path,
            offset=last.aofnb.offset,
        )
    return last


def _copied(fs: Fs, file: FileCheck) -> str:
    """A durable copy of the file, beside it: its path."""
    number = 1
    while fs.exists(copy := f"{file.path}.before-fix-{number}"):
        number += 1
    target = fs.create(copy)
    try:
        try:
            with fs.open_read(file.path) as source:
                while piece := source.read(_COPY_PIECE):
                    write_all(target, piece)
            target.fdatasync()
        finally:
            target.close()
        sync_dir(fs, os.path.dirname(copy))
    except OSError:
        with suppress(OSError):
            fs.unlink(copy)
        raise
    return copy
