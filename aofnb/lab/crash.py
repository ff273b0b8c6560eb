"""Crash a store at every file operation, open what is left, and hold it to its promises.

A `Trial` runs a real store on a `SimFs` with virtual time and no thread. After each operation, and inside each write,

1. the disk lists the images that a kill or a power cut may leave (`SimFs.crash_states`);
2. the `Judge` opens each image with a fresh store and the real loader, never a model; equal images are opened once.
   Most are opened read-only, which is half the work; the first with its names and its manifest, and a share of the
   others, are opened to write, written to, and opened again;
3. what was recovered must be a state that the running store had at the end of a unit (one command, or one whole
   transaction), no earlier than the promise of that moment allows (`Trial.promised`);
4. now and then (`Trial.recoveries`) the recovery is a trial of its own: crashed at each of its operations, then
   written to and crashed again. A power cut after a kill meets names and data that nobody has synced yet.

Of every image it is checked that it opens and that no command fails on replay; of those opened to write also that the
manifest lists only what exists, that no temporary file is left, that opening it again gives the same, and that what is
written next is there after one more start. The one refusal that may be is that of a file with zeros that nobody wrote
(the live incr, at the record where the zeros begin): then cutting it there, which is what the error says and
`aofnb salvage` does, must give all that was promised.

Redis: there is no such test; its loader is aof.c loadAppendOnlyFiles (7.0.15).
"""

from __future__ import annotations

import io
import logging
import os
import random
import sys
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from types import FrameType
from typing import Any, Literal

from aofnb.aof.manifest import Manifest
from aofnb.aof.rewrite import BaseForm, is_temp_base_name, temp_base_name, write_keyspace
from aofnb.aof.writer import AofWriter, Effect
from aofnb.clock import FakeClock
from aofnb.engine.store import Store, open_store
from aofnb.errors import AofError, AofFormatError, AofnbError, AofWriteError, RdbError, ReplyError
from aofnb.lab.disk import Crash, DiskImage, Metadata, SimFs
from aofnb.rdb import load_rdb, write_rdb
from aofnb.store.keyspace import Keyspace
from aofnb.store.snapshot import commands_of_key

__all__ = ["DIRECTORY", "LOG_DIRECTORY", "BuggyFs", "Judge", "Trial", "ViolationError", "content_of"]

DIRECTORY = os.path.abspath(os.path.join(os.sep, "sim", "data"))
LOG_DIRECTORY = os.path.join(DIRECTORY, "appendonlydir")
_MANIFEST = os.path.join(LOG_DIRECTORY, "appendonly.aof.manifest")
_KINDS: tuple[tuple[Crash, Metadata], ...] = (("kill", "any"), ("power", "ordered"), ("power", "any"))
# Under everysec a command is at risk for a second, and for a second more if the disk is busy.
EVERYSEC_S = 2.0

_log = logging.getLogger("aofnb")

# Everything in a store: per key its database, deadline, and the commands that rebuild it.
Content = tuple[tuple[Any, ...], ...]
Argv = Sequence[object]
Unit = Sequence[Argv]


class ViolationError(AofnbError):
    """A crash leaves something that the store promised it would not.

    Attributes
    ----------
    image
        The disk after the crash; ``image.mount()`` to look into it.
    """

    def __init__(self, message: str, image: DiskImage) -> None:
        super().__init__(message)
        self.image = image


def content_of(store: Store) -> Content:
    """All data of a store as a value; keys in order, overdue ones included."""
    return tuple(
        (db.index, key, deadline_ms, tuple(tuple(argv) for argv in commands_of_key(key, value)))
        for db in store.engine.keyspace
        for key, value, deadline_ms in sorted(db.walk(), key=lambda item: item[0])
    )


def _copy_of(keyspace: Keyspace) -> Keyspace:
    """The data as they are now, for the base that another process would write of them."""
    snapshot = io.BytesIO()
    write_rdb(snapshot, keyspace, checksum=False)
    snapshot.seek(0)
    copy = Keyspace(len(keyspace), keyspace.now_ms)
    copy.expiring = False
    load_rdb(snapshot, copy)
    return copy


# --- one image -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Refusal:
    """The live incr holds zeros that nobody wrote: what remains when it is cut where they begin."""

    rest: DiskImage


class Judge:
    """Opens images and remembers what was in them.

    Parameters
    ----------
    settings
        Of the stores that open the images.
    thorough
        Of how many images one is opened to write, whatever others were; 1 for each.

    Attributes
    ----------
    states
        How many pairs of a moment and an image were judged.
    """

    def __init__(self, *, thorough: int = 20, **settings: Any) -> None:
        self.settings = settings
        self.thorough = thorough
        self.states = 0
        self._found: dict[tuple[DiskImage, bool], Content | _Refusal] = {}
        # Names and manifests of images that were opened to write.
        self._shapes: set[tuple[tuple[str, bytes | None], ...]] = set()
        self.by_kind: Counter[str] = Counter()
        self._clock = FakeClock()

    @property
    def images(self) -> int:
        """How many different images there were."""
        return len(self._found)

    def recovered(self, image: DiskImage) -> Content:
        """What a start finds in `image`, after cutting zeros off if there are any.

        Raises
        ------
        ViolationError
            It cannot be opened, or not twice with the same result.
        """
        key = (image, image.zeroed)
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = self._open(image)
        return self.recovered(found.rest) if isinstance(found, _Refusal) else found

    def _open(self, image: DiskImage) -> Content | _Refusal:
        shape = tuple((path, content if path == _MANIFEST else None) for path, content in image.files)
        fresh = all(path != _MANIFEST for path, _ in shape)
        to_write = fresh or shape not in self._shapes or len(self._found) % self.thorough == 0
        self._shapes.add(shape)
        fs = image.mount()
        try:
            content = self._start(fs, image, readonly=not to_write)
        except AofFormatError as problem:
            if not image.zeroed:
                raise ViolationError(f"refused: {problem}", image) from problem
            return _Refusal(_without_zeros(image, problem))
        except (AofError, RdbError, OSError) as problem:
            raise ViolationError(f"refused: {problem}", image) from problem
        if to_write:
            self._start_again(fs, image, content)
        return content

    def _start(self, fs: SimFs, image: DiskImage, *, readonly: bool = False, write: bool = False) -> Content:
        """Open, check, close; the content, with one more key if asked to `write`."""
        with open_store(
            DIRECTORY, fs=fs, clock=self._clock, background=False, readonly=readonly, **self.settings
        ) as store:
            assert store.load_report is not None
            if store.load_report.failed:
                raise ViolationError(f"a command failed on replay: {store.load_report.failed[0]}", image)
            if not readonly:
                assert store._directory is not None
                _check_files(fs, store._directory.manifest, image)
            if write:
                store.execute("SET", "written after recovery", 1)
            return content_of(store)

    def _start_again(self, fs: SimFs, image: DiskImage, content: Content) -> None:
        try:
            again = self._start(fs, image, write=True)
            last = self._start(fs, image)
        except (AofError, RdbError, OSError) as problem:
            raise ViolationError(f"opened once, but not again: {problem}", image) from problem
        added = (0, b"written after recovery", None, ((b"SET", b"written after recovery", b"1"),))
        if again != last or tuple(key for key in last if key != added) != content or added not in last:
            raise ViolationError("two starts found different data", image)


def _check_files(fs: SimFs, manifest: Manifest, image: DiskImage) -> None:
    """The manifest of an open store lists what exists, in order, and nothing half made is left."""
    names = set(fs.listdir(LOG_DIRECTORY))
    missing = [entry.name for entry in manifest.data_files if entry.name not in names]
    seqs = [entry.seq for entry in manifest.incrs]
    left = [name for name in names if is_temp_base_name(name) or name.startswith("temp-")]
    if missing or left or not seqs or any(after != before + 1 for before, after in pairwise(seqs)):
        raise ViolationError(f"missing {missing}, left over {left}, incrs {seqs}", image)


def _without_zeros(image: DiskImage, problem: AofFormatError) -> DiskImage:
    """`image` with the live incr cut where the error says, if that is what the error is about."""
    fs = image.mount()
    assert problem.file is not None
    live = Manifest.load(fs, LOG_DIRECTORY, "appendonly.aof").data_files[-1].name
    if problem.file != os.path.join(LOG_DIRECTORY, live) or problem.offset is None:
        raise ViolationError(f"refused: {problem}", image) from problem
    fs.truncate(problem.file, problem.offset)
    return fs.image()


# --- one run ---------------------------------------------------------------------------------------------------


class Trial:
    """A store on a simulated disk, crashed at every operation.

    Use it as a context manager: entering opens the store, leaving closes it; both are crashed too.

    Parameters
    ----------
    fs
        The disk, with what is on it.
    judge
        Opens the images; may serve many trials with the same settings.
    limit
        Images per operation and kind of crash.
    recoveries
        How likely an operation is followed by a crash whose recovery is itself a trial.
    history
        The states that the data on `fs` went through; the last one is what opening it must find.
    kept
        How many units of `history` a power cut must leave before the store is open; by default all.

    Attributes
    ----------
    history
        What the store held after each unit; a number of units is an index of it.
    operations
        ``(operation, name of the file)`` in order.
    """

    def __init__(
        self,
        fs: SimFs,
        judge: Judge,
        *,
        clock: FakeClock | None = None,
        limit: int = 40,
        rng: random.Random,
        recoveries: float = 0.0,
        history: Sequence[Content] = ((),),
        kept: int | None = None,
        appendfsync: Literal["always", "everysec", "no"] = "everysec",
    ) -> None:
        self.fs = fs
        self.judge = judge
        self.clock = clock or FakeClock()
        self.limit = limit
        self.rng = rng
        self.recoveries = recoveries
        self.history = list(history)
        self.operations: list[tuple[str, str]] = []
        self.appendfsync = appendfsync
        self._units = {content: number for number, content in enumerate(self.history)}
        self._kept = len(self.history) - 1 if kept is None else kept
        self._killed_kept = len(self.history) - 1
        self._acknowledged = 0
        # (when, units) since the policy is what it is.
        self._acknowledgements: list[tuple[float, int]] = []
        self._failed = False
        self._opened = False
        # Units before this start, and commands fed after each unit since.
        self._first = 0
        self._fed = [0]
        self.store: Store  # from __enter__ on

    # --- life --------------------------------------------------------------------------------------------

    def __enter__(self) -> Trial:
        # Every torn tail is cut with a warning, which is what is asked for here.
        self._was_quiet, _log.disabled = _log.disabled, True
        self.fs.observer = self._crash_now
        try:
            self._open()
        except BaseException:
            self._let_go()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._close()
        finally:
            self._let_go()
            # After a violation the store is in the middle of something.
            with suppress(AofnbError, OSError):
                self.store.close()

    def _let_go(self) -> None:
        self.fs.observer = None
        _log.disabled = self._was_quiet

    def _open(self) -> None:
        self.store = open_store(
            DIRECTORY,
            fs=self.fs,
            clock=self.clock,
            background=False,
            **{**self.judge.settings, "appendfsync": self.appendfsync},
        )
        found = self._units.get(content_of(self.store), -1)
        if found < max(self._kept, self._killed_kept):
            raise ViolationError(f"{self._now()}: opening found unit {found}", self.fs.image())
        # What comes now follows on what was found.
        del self.history[found + 1 :]
        self._units = {content: number for number, content in enumerate(self.history)}
        writer = self.store.engine.writer
        assert writer is not None
        self._first, self._fed = found, [0]
        self._failed = False
        self._acknowledged = found
        self._acknowledgements.clear()
        self._listen(writer)
        # While somebody watches a key, no run of commands goes to the log at once: each unit is noted by itself.
        self._watcher = self.store.session()
        self._watcher.execute("WATCH", "a key that no script has")
        self._opened = True

    def _listen(self, writer: AofWriter) -> None:
        """Note the content at the end of each unit, before any of it is written."""
        feed, feed_one = writer.feed, writer.feed_one

        def feed_and_note(effects: Sequence[Effect], transaction: bool) -> None:
            assert transaction or len(effects) == 1, "several keys that expire at once are no unit: advance in steps"
            feed(effects, transaction)
            self._issued(writer)

        def feed_one_and_note(db: int, argv: Sequence[bytes]) -> None:
            feed_one(db, argv)
            self._issued(writer)

        writer.feed = feed_and_note  # type: ignore[method-assign]  # the one place that sees every unit
        writer.feed_one = feed_one_and_note  # type: ignore[method-assign]

    def _issued(self, writer: AofWriter) -> None:
        if writer.fed_commands == self._fed[-1]:
            return
        content = content_of(self.store)
        assert content not in self._units, "two units with the same outcome cannot be told apart"
        self._units[content] = len(self.history)
        self.history.append(content)
        self._fed.append(writer.fed_commands)

    def _close(self) -> None:
        try:
            self.store.close()
        except AofWriteError:
            self._failed = True
        else:
            self._kept = self._killed_kept = len(self.history) - 1
            self._crash_now("close", DIRECTORY)
        self._opened = False

    # --- what a script does --------------------------------------------------------------------------------

    def turn(self, *units: Unit) -> None:
        """Run units as one turn; each is one command, or several that become a transaction."""
        batch: list[Argv] = []
        for unit in units:
            batch += [("MULTI",), *unit, ("EXEC",)] if len(unit) > 1 else unit
        try:
            replies = self.store.run(batch)  # type: ignore[arg-type]  # a script's arguments are those of a command
        except AofWriteError:
            self._failed = True
            return
        engine = self.store.engine
        self._failed = self._failed or engine.refusal is not None
        if engine.refusal is None and not any(isinstance(reply, ReplyError) for reply in replies):
            self._acknowledged = len(self.history) - 1
            self._acknowledgements.append((self.clock.monotonic(), self._acknowledged))
            self._crash_now("acknowledged", DIRECTORY)

    def wait(self, seconds: float) -> None:
        """Let time pass, then do the periodic job. Crashed once in between."""
        self.clock.advance(seconds)
        self.store.tick()
        self._failed = self._failed or self.store.engine.refusal is not None
        self._crash_now("wait", DIRECTORY)

    def rewrite(self) -> None:
        """BGREWRITEAOF, which must change nothing; it may fail."""
        before = self.history[-1]
        try:
            self.store.bgrewriteaof()
        except ReplyError:
            self._failed = True
        assert content_of(self.store) == before

    def rewrite_while(self, meanwhile: Callable[[], None]) -> None:
        """A rewrite whose base is written by another process, which takes as long as `meanwhile` does."""
        store = self.store
        directory, writer = store._directory, store.engine.writer
        assert directory is not None
        assert writer is not None
        try:
            directory.begin_rewrite(writer)
        except AofError:
            self._failed = True
            return
        config = store.engine.config
        form = BaseForm.of(config, self.clock.now_ms())
        keyspace = _copy_of(store.engine.keyspace)
        meanwhile()
        temp = os.path.join(directory.path, temp_base_name(0))
        try:
            write_keyspace(self.fs, temp, keyspace, form, config)
            directory.publish_base(temp, form.suffix)
        except (AofError, OSError):
            self._failed = True
            with suppress(OSError):
                self.fs.unlink(temp)

    def set_base_form(self, suffix: Literal["rdb", "aof"]) -> None:
        """What the next base is: a snapshot, or commands."""
        self.store.config_set("aof-use-rdb-preamble", "yes" if suffix == "rdb" else "no")

    def switch_log(self, *meanwhile: Argv, rewrite: bool = False) -> None:
        """Turn the log off, run commands that it does not get, turn it on again: then all of them are to be there.

        With `rewrite` there is a BGREWRITEAOF before it is on, which makes a base alone. For a disk without faults.
        """
        self.store.config_set("appendonly", False)
        # Turning it off has written and synced everything.
        self._kept = self._killed_kept = len(self.history) - 1
        self.store.run(meanwhile)  # type: ignore[arg-type]  # a script's arguments are those of a command
        content = content_of(self.store)
        assert content not in self._units, "two units with the same outcome cannot be told apart"
        self._units[content] = len(self.history)
        self.history.append(content)
        self._crash_now("off", DIRECTORY)
        if rewrite:
            self.rewrite()
        self.store.config_set("appendonly", True)
        writer = self.store.engine.writer
        assert writer is not None
        self._first = self._kept = self._killed_kept = self._acknowledged = len(self.history) - 1
        self._fed = [0]
        self._acknowledgements.clear()
        self._listen(writer)
        self._crash_now("on", DIRECTORY)

    def hold_fsyncs(self) -> None:
        """From now on no background fsync ends, until `release_fsyncs`."""
        self.store._bio.held = True

    def release_fsyncs(self) -> None:
        """Let the fsyncs that were held end; the promise of everysec holds again for what is acknowledged from now."""
        self.store._bio.drain()
        self.store._bio.held = False
        self._acknowledgements.clear()

    def set_policy(self, appendfsync: Literal["always", "everysec", "no"]) -> None:
        self.store.config_set("appendfsync", appendfsync)
        self.appendfsync = appendfsync
        self._acknowledgements.clear()

    def reopen(self) -> None:
        """Close the store and open it again."""
        self._close()
        self._open()

    # --- what must survive -----------------------------------------------------------------------------------

    def promised(self, kind: Crash) -> int:
        """How many units must be there after a crash now."""
        writer = self.store.engine.writer if self._opened else None
        if writer is None:
            return self._killed_kept if kind == "kill" else self._kept
        # What the store itself says is written, or synced, in stats().
        claimed = writer.written_commands if kind == "kill" else writer.fsynced_commands
        units = self._first + bisect_right(self._fed, claimed) - 1
        if kind == "kill":
            # stats() shows a write that waits behind a slow fsync.
            return units if writer.postponed_since is not None else max(units, self._acknowledged)
        if self.appendfsync == "always":
            return max([units, *(number for _, number in self._acknowledgements)])
        failed = self._failed or writer.refusal is not None
        if self.appendfsync == "everysec" and not failed and not self.store._bio.held:
            limit_s = self.clock.monotonic() - EVERYSEC_S
            return max([units, *(number for when_s, number in self._acknowledgements if when_s <= limit_s)])
        return units

    # --- crashes -------------------------------------------------------------------------------------------

    def _crash_now(self, operation: str, path: str) -> None:
        self.operations.append((operation, os.path.basename(path)))
        try:
            self._crash()
        except ViolationError:
            # What the store does on its way out is of no interest.
            self.fs.observer = None
            raise

    def _crash(self) -> None:
        seen: set[tuple[DiskImage, bool]] = set()
        for kind, metadata in _KINDS:
            least = self.promised(kind)
            for image in self.fs.crash_states(kind, metadata, limit=self.limit, rng=self.rng):
                if (image, image.zeroed) not in seen:
                    seen.add((image, image.zeroed))
                    self.judge.states += 1
                    self.judge.by_kind[kind if kind == "kill" else f"power, {metadata}"] += 1
                    self._check(image, least, f"{kind}, names {metadata}")
        if self.recoveries and self.rng.random() < self.recoveries:
            self._crash_a_recovery()

    def _check(self, image: DiskImage, least: int, how: str) -> int:
        try:
            content = self.judge.recovered(image)
        except ViolationError as problem:
            raise ViolationError(f"{self._now()}, {how}: {problem}", image) from problem
        found = self._units.get(content)
        if found is None:
            raise ViolationError(f"{self._now()}, {how}: found what never was: {content}", image)
        if found < least:
            raise ViolationError(
                f"{self._now()}, {how}: {least} of {len(self.history) - 1} units were promised, {found} are there",
                image,
            )
        return found

    def _now(self) -> str:
        last = " ".join(self.operations[-1]) if self.operations else "nothing"
        return f"appendfsync={self.appendfsync}, after operation {len(self.operations)} ({last})"

    def _crash_a_recovery(self) -> None:
        """Kill or cut the power now, and make a trial of what follows."""
        kind: Crash = self.rng.choice(["kill", "power"])
        if kind == "kill":
            fs = self.fs.killed()
            image = fs.image()
        else:
            images = list(self.fs.crash_states("power", "any", limit=self.limit, rng=self.rng))
            image = self.rng.choice([each for each in images if not each.zeroed])
            fs = image.mount(self.fs.like())
        found = self._check(image, self.promised(kind), kind)
        after = Trial(
            fs,
            self.judge,
            clock=FakeClock(self.clock.now_ms()),
            limit=self.limit,
            rng=self.rng,
            history=self.history[: found + 1],
            kept=self.promised("power") if kind == "kill" else None,
            appendfsync=self.appendfsync,
        )
        try:
            with after:
                after.turn([("INCR", "again"), ("SET", "t", "x", "PX", 900)])
                after.wait(1)
                if self.rng.random() < 0.5:
                    after.rewrite()
                after.turn([("INCR", "again")])
        except ViolationError as problem:
            raise ViolationError(f"{self._now()}, {kind}, recovery: {problem}", problem.image) from problem


# --- seeded bugs -----------------------------------------------------------------------------------------------

# Frames that say nothing about who wanted an operation.
_PLUMBING = frozenset(
    {"sync_dir", "job", "_submit", "_do_waiting", "fsync", "run", "drain", "truncate", "sync", "finish"}
)
_AOF = os.sep + os.path.join("aofnb", "aof") + os.sep


def call_site(operation: str) -> str:
    """Who asks for a file operation: up to three functions of `aofnb.aof`, innermost first."""
    names: list[str] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and len(names) < 3:
        code = frame.f_code
        inside = _AOF in code.co_filename
        if names and not inside:
            # Who called into the log's code is no matter: it may be a trial that is crashed inside another.
            break
        if inside and code.co_name not in _PLUMBING:
            names.append(code.co_name)
        frame = frame.f_back
    return f"{operation}: {' < '.join(names)}"


class BuggyFs(SimFs):
    """A disk on which the operations of one call site are not done when they are asked for.

    So a store runs as it would if that line were missing, or came too late.

    Parameters
    ----------
    site
        As `call_site` spells it; None for a disk without bugs.
    until
        The site's operation is done after the next one of these: an operation (``unlink``), or one on a file
        (``rename appendonly.aof.manifest``); None: never.

    Attributes
    ----------
    sites
        Every call site of an fsync or rename, with how often it was met.
    """

    def __init__(self, site: str | None = None, until: str | None = None) -> None:
        super().__init__()
        self.site = site
        self.until = until
        self.sites: Counter[str] = Counter()
        self._late: list[Callable[[], None]] = []

    def like(self) -> SimFs:
        other = BuggyFs(self.site, self.until)
        other.sites = self.sites
        return other

    def _buggy(self, operation: str, do: Callable[[], None]) -> None:
        site = call_site(operation)
        self.sites[site] += 1
        if site != self.site:
            do()
        elif self.until is not None:
            self._late.append(do)

    def _observe(self, operation: str, path: str) -> None:
        super()._observe(operation, path)
        if self.until in (operation, f"{operation} {os.path.basename(path)}"):
            late, self._late = self._late, []
            for do in late:
                do()

    def sync_file(self, path: str, node: Any) -> None:
        self._buggy("fdatasync", lambda: SimFs.sync_file(self, path, node))

    def sync_names(self, path: str) -> None:
        self._buggy("fsync_dir", lambda: SimFs.sync_names(self, path))

    def rename_now(self, source: str, target: str) -> None:
        self._buggy("rename", lambda: SimFs.rename_now(self, source, target))
