"""How much a crash takes: a store on a disk with a latency, recorded as time passes, and crashed at chosen moments.

1. `record` runs a real store on a simulated disk with virtual time: commands come at random moments, an fsync takes
   as long as the disk is said to take, and the operating system writes back by itself what has waited long enough.
   What is where at each moment is kept: in aof_buf, in the page cache, on the disk.
2. `Run.crash` makes the disk that a kill or a power cut at a moment leaves, opens it with the real loader, and counts.
3. `crash_test` does so many times for each policy.

The device gets bytes from an fsync or from write-back alone, so a power cut leaves what was synced, and a piece of what
was on its way. That is what happens as a rule; `aofnb.lab.Trial` tries everything that may happen. All is the same for
the same seed.

Linux: write-back as vm.dirty_writeback_centisecs and vm.dirty_expire_centisecs are by default.
"""

from __future__ import annotations

import logging
import random
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from html import escape
from typing import TYPE_CHECKING, Any, Literal, get_args

from aofnb.clock import FakeClock
from aofnb.engine.store import Store, open_store
from aofnb.errors import ConfigError
from aofnb.lab.crash import DIRECTORY, ViolationError
from aofnb.lab.disk import Crash, DiskImage, SimFs

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["CrashTest", "Moment", "Outcome", "Policy", "Run", "crash_test", "quiet", "record"]

Policy = Literal["always", "everysec", "no"]
POLICIES: tuple[Policy, ...] = get_args(Policy)

_KEY = "orders"
_TICK_MS = 100
_WRITE_BACK_EVERY_MS = 5_000
_WRITE_BACK_AFTER_MS = 30_000
# A recording is a list in memory, and every crash of it is opened.
_MOST_COMMANDS = 50_000
_log = logging.getLogger("aofnb")


@dataclass(frozen=True, slots=True)
class Moment:
    """Where every byte was from `at_ms` on. Commands are counted from the first of the run.

    Attributes
    ----------
    issued, acknowledged
        Commands that were begun, and that were answered.
    fed, written, synced
        Bytes that had reached aof_buf, the page cache and the disk; each includes the next.
    syncing
        Up to which byte an fsync was on its way; `synced` if none was.
    """

    at_ms: int
    issued: int
    acknowledged: int
    fed: int
    written: int
    synced: int
    syncing: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one crash left.

    Attributes
    ----------
    kind
        ``kill`` or ``power``.
    at_s
        When, in seconds since the run began.
    acknowledged, survived
        Commands that had been answered, and that a start found. A command may survive that was never answered.
    lost_s
        How long before the crash the oldest of those that are lost was answered; 0.0 if none is.
    torn
        The half record that the start cut off.
    """

    kind: Crash
    at_s: float
    acknowledged: int
    survived: int
    lost_s: float
    torn: bytes

    @property
    def lost(self) -> int:
        """Commands that were answered and are not there."""
        return max(0, self.acknowledged - self.survived)

    def __str__(self) -> str:
        how = "process killed" if self.kind == "kill" else "power cut"
        words = f"{how} at {self.at_s:.1f} s: {self.acknowledged:,} acknowledged, {self.survived:,} survived, "
        words += f"{self.lost:,} lost"
        if self.lost:
            words += f", the oldest {self.lost_s:.1f} s old"
        return words + (f"; {len(self.torn)} bytes of a torn record were cut off" if self.torn else "")


@dataclass(frozen=True)
class Run:
    """A recorded run of a store.

    Attributes
    ----------
    log
        The live file as it was at the end; ``log[:n]`` is what it was when it had `n` bytes.
    ends
        Where the record of each command ends in it.
    answered_ms
        When each command was answered.
    moments
        In order of time, at least one.
    """

    policy: Policy
    fsync_ms: int
    seconds: int
    log: bytes
    ends: tuple[int, ...]
    answered_ms: tuple[int, ...]
    moments: tuple[Moment, ...]
    path: str
    others: tuple[tuple[str, bytes | None], ...]
    # What starts found, by size of the log.
    _found: dict[int, int] = field(default_factory=dict, repr=False, compare=False)

    def at(self, seconds: float) -> Moment:
        """What was true so many seconds after the beginning."""
        number = bisect_right(self.moments, seconds * 1000, key=lambda moment: moment.at_ms)
        return self.moments[max(number - 1, 0)]

    def commands(self, nbytes: int) -> int:
        """How many whole commands are in the first `nbytes` bytes of the log."""
        return bisect_right(self.ends, nbytes)

    def image(self, size: int) -> DiskImage:
        """The disk when the log on it has `size` bytes."""
        return DiskImage(tuple(sorted([*self.others, (self.path, self.log[:size])])))

    def crash(self, seconds: float, kind: Crash, rng: random.Random) -> Outcome:
        """Kill the process or cut the power so many seconds after the beginning, and start again.

        Raises
        ------
        ViolationError
            The start found what was never there.
        """
        moment = self.at(seconds)
        size = moment.written if kind == "kill" else moment.synced
        if kind == "power" and moment.syncing > size:
            size = rng.randint(size, moment.syncing)
        survived = self._open(size)
        lost_s = 0.0
        if survived < moment.acknowledged:
            lost_s = max(0.0, seconds - self.answered_ms[survived] / 1000)
        # A SELECT comes before the first record, and is no command of the run.
        first = self.log.find(b"*3")
        whole = self.ends[survived - 1] if survived else (first if size >= first >= 0 else 0)
        return Outcome(kind, round(seconds, 3), moment.acknowledged, survived, lost_s, self.log[whole:size])

    def _open(self, size: int) -> int:
        """How many commands a start finds when the log has `size` bytes."""
        if size in self._found:
            return self._found[size]
        image = self.image(size)
        with quiet(), _opened(image.mount(), FakeClock(), readonly=True) as store:
            found = store.execute("LRANGE", _KEY, 0, -1)
        if found != [b"%06d" % number for number in range(len(found))]:
            raise ViolationError(f"a start found other orders than were written: {found[:3]}...", image)
        self._found[size] = len(found)
        return len(found)


class _Silence(threading.local):
    """How many `quiet` blocks this thread is in: others may have something to say meanwhile."""

    depth = 0


_silence = _Silence()
_log.addFilter(lambda _record: not _silence.depth)


@contextmanager
def quiet() -> Iterator[None]:
    """Torn tails are what is looked for here: no word of each."""
    _silence.depth += 1
    try:
        yield
    finally:
        _silence.depth -= 1


def _opened(fs: SimFs, clock: FakeClock, **settings: Any) -> Store:
    return open_store(DIRECTORY, fs=fs, clock=clock, background=False, seed=0, **settings)


# --- recording -------------------------------------------------------------------------------------------------


class _Disk(SimFs):
    """A disk whose fsync takes as long as `wait` does."""

    def __init__(self) -> None:
        super().__init__()
        self.recorder: _Recorder | None = None

    def fdatasync(self, path: str, node: Any) -> None:
        if self.recorder is not None:
            self.recorder.wait_for_disk()
        super().fdatasync(path, node)


class _Recorder:
    """Runs the store, lets time pass, and notes what is where.

    Time is counted in whole milliseconds since the beginning.
    """

    def __init__(self, policy: Policy, fsync_ms: int) -> None:
        self.now_ms = 0
        self.fsync_ms = fsync_ms
        self.clock = FakeClock()
        self.disk = _Disk()
        self.store = _opened(self.disk, self.clock, appendfsync=policy)
        self.writer = self.store.engine.writer
        assert self.writer is not None
        self.path = self.writer.file.path
        # The fsync of everysec ends when we say so.
        self.store._bio.held = True
        self.disk.recorder = self
        self.disk.observer = lambda _operation, _path: self.note()
        self.issued = self.acknowledged = 0
        self.syncing = 0
        self.dirty_since_ms: int | None = None
        self.fsync_ends_ms: int | None = None
        self.next_tick_ms = _TICK_MS
        self.next_write_back_ms = _WRITE_BACK_EVERY_MS
        self.ends: list[int] = []
        self.answered_ms: list[int] = []
        self.moments: list[Moment] = []
        self.note()

    def note(self) -> None:
        """Remember what is where, if that is not what it was."""
        assert self.writer is not None
        written, synced = self.disk.size(self.path), self.disk.synced_size(self.path)
        if written == synced:
            self.dirty_since_ms = None
        elif self.dirty_since_ms is None:
            self.dirty_since_ms = self.now_ms
        fed = self.writer.written_bytes + len(self.writer.aof_buf)
        moment = Moment(
            self.now_ms, self.issued, self.acknowledged, max(fed, written), written, synced, max(self.syncing, synced)
        )
        if not self.moments or moment != self.moments[-1]:
            self.moments.append(moment)

    def command(self) -> None:
        """One more order, and its answer."""
        assert self.writer is not None
        self.issued += 1
        self.store.execute("RPUSH", _KEY, b"%06d" % (self.issued - 1))
        self.ends.append(self.writer.written_bytes + len(self.writer.aof_buf))
        self.acknowledged = self.issued
        self.answered_ms.append(self.now_ms)
        self._begin_fsync()
        self.note()

    def pass_until(self, at_ms: int) -> None:
        """Let time pass, with all that happens meanwhile."""
        while (due := self._next_ms()) <= at_ms:
            self._advance(due)
            if due == self.fsync_ends_ms:
                self.fsync_ends_ms, self.disk.recorder = None, None
                self.store._bio.drain()
                self.disk.recorder, self.syncing = self, 0
            elif due == self.next_write_back_ms:
                self._write_back()
            else:
                self.next_tick_ms += _TICK_MS
                self.store.tick()
                self._begin_fsync()
            self.note()
        self._advance(at_ms)

    def wait_for_disk(self) -> None:
        """An fsync in the foreground: nobody does anything else meanwhile, but for the operating system."""
        self.syncing = self.disk.size(self.path)
        self.note()
        end_ms = self.now_ms + self.fsync_ms
        while self.next_write_back_ms <= end_ms:
            self._advance(self.next_write_back_ms)
            self._write_back()
        self._advance(end_ms)
        # Ticks that were due meanwhile are one.
        self.next_tick_ms = max(self.next_tick_ms, self.now_ms + 1)
        self.syncing = 0

    def _next_ms(self) -> int:
        times = [self.next_tick_ms, self.next_write_back_ms]
        return min(times if self.fsync_ends_ms is None else [*times, self.fsync_ends_ms])

    def _advance(self, at_ms: int) -> None:
        if at_ms > self.now_ms:
            self.clock.advance((at_ms - self.now_ms) / 1000)
            self.now_ms = at_ms

    def _begin_fsync(self) -> None:
        if self.store._bio.pending and self.fsync_ends_ms is None:
            self.fsync_ends_ms = self.now_ms + self.fsync_ms
            self.syncing = self.disk.size(self.path)

    def _write_back(self) -> None:
        self.next_write_back_ms += _WRITE_BACK_EVERY_MS
        if self.dirty_since_ms is not None and self.now_ms - self.dirty_since_ms >= _WRITE_BACK_AFTER_MS:
            self.disk.write_back(self.path)

    def finish(self, policy: Policy, seconds: int) -> Run:
        """Close the store; what it still had in memory is part of the log, and of no moment."""
        self.disk.recorder = self.disk.observer = None
        others = tuple((path, content) for path, content in self.disk.image().files if path != self.path)
        self.store.close()
        return Run(
            policy=policy,
            fsync_ms=self.fsync_ms,
            seconds=seconds,
            log=self.disk.open_read(self.path).read(),
            ends=tuple(self.ends),
            answered_ms=tuple(self.answered_ms),
            moments=tuple(self.moments),
            path=self.path,
            others=others,
        )


@lru_cache(maxsize=16)
def _record(policy: Policy, seed: int, seconds: int, rate: float, fsync_ms: int) -> Run:
    rng = random.Random(seed)
    # A slow disk is what is asked for here: no word of each fsync that takes long.
    with quiet():
        return _run(_Recorder(policy, fsync_ms), policy, rng, seconds, rate)


def _run(recorder: _Recorder, policy: Policy, rng: random.Random, seconds: int, rate: float) -> Run:
    arrives_s = rng.expovariate(rate)
    while max(arrives_s * 1000, recorder.now_ms) < seconds * 1000:
        # Whoever waits for an answer asks no more meanwhile.
        recorder.pass_until(max(round(arrives_s * 1000), recorder.now_ms))
        recorder.command()
        arrives_s += rng.expovariate(rate)
    recorder.pass_until(max(seconds * 1000, recorder.now_ms))
    return recorder.finish(policy, seconds)


def record(policy: Policy, *, seed: int = 1, seconds: int = 60, rate: float = 20.0, fsync_ms: int = 20) -> Run:
    """Run a store for so many seconds of virtual time, and remember what was where.

    Parameters
    ----------
    policy
        ``appendfsync``.
    seed
        Of the moments at which commands come.
    seconds, rate
        How long, and how many commands a second on average.
    fsync_ms
        How long the disk takes for an fsync, in milliseconds.

    Raises
    ------
    ConfigError
        For what cannot be run.
    """
    if policy not in POLICIES:
        raise ConfigError(f"appendfsync is one of {', '.join(POLICIES)} (given: {policy!r})")
    for name, number in {"seconds": seconds, "rate": rate}.items():
        if not number > 0:
            raise ConfigError(f"{name}: more than 0 (given: {number!r})")
    if seconds * rate > _MOST_COMMANDS:
        raise ConfigError(f"seconds * rate: at most {_MOST_COMMANDS:,} commands (given: {seconds * rate:,.0f})")
    if not 0 <= fsync_ms <= 10_000:
        raise ConfigError(f"fsync_ms: 0 to 10,000 milliseconds (given: {fsync_ms!r})")
    return _record(policy, seed, int(seconds), float(rate), int(fsync_ms))


# --- many crashes ----------------------------------------------------------------------------------------------


class CrashTest:
    """What many crashes of several policies left. Made by `crash_test`.

    Attributes
    ----------
    outcomes
        ``policy -> outcomes``, in order of the trials.
    """

    def __init__(self, outcomes: dict[Policy, tuple[Outcome, ...]], seed: int) -> None:
        self.outcomes = outcomes
        self.seed = seed

    @property
    def df(self) -> pd.DataFrame:
        """One row per crash: policy, trial, kind, at_s, acknowledged, survived, lost, lost_s, torn (bytes)."""
        import pandas as pd

        names = ("kind", "at_s", "acknowledged", "survived", "lost", "lost_s")
        rows = [
            {"policy": policy, "trial": trial}
            | {name: getattr(outcome, name) for name in names}
            | {"torn": len(outcome.torn)}
            for policy, outcomes in self.outcomes.items()
            for trial, outcome in enumerate(outcomes)
        ]
        frame = pd.DataFrame(rows)
        return frame.astype({"policy": pd.CategoricalDtype(list(self.outcomes)), "kind": "category"})

    def summary(self) -> pd.DataFrame:
        """One row per policy: how many crashes, how many lost something, commands lost (median, worst), seconds
        lost (worst).
        """
        import pandas as pd

        return pd.DataFrame(self._rows(), columns=list(_COLUMNS)).set_index("policy")

    def _rows(self) -> list[tuple[Any, ...]]:
        rows = []
        for policy, outcomes in self.outcomes.items():
            lost = sorted(outcome.lost for outcome in outcomes)
            with_loss = sum(number > 0 for number in lost)
            longest = round(max(outcome.lost_s for outcome in outcomes), 1)
            rows.append((policy, len(lost), with_loss, lost[len(lost) // 2], lost[-1], longest))
        return rows

    def plot_loss(self, ax: Axes | None = None) -> Axes:
        """How likely a crash takes more than so many seconds of work, a line for each policy. Needs matplotlib."""
        if ax is None:
            import matplotlib.pyplot as plt

            _, ax = plt.subplots(figsize=(7, 3.2))
        for policy, outcomes in self.outcomes.items():
            lost = sorted(outcome.lost_s for outcome in outcomes)
            share = [100 * (len(lost) - number) / len(lost) for number in range(len(lost) + 1)]
            ax.step([0.0, *lost], share, where="post", label=policy)
        ax.set_xlabel("answered so many seconds before the crash, and lost")
        ax.set_ylabel("crashes that lose more (%)")
        # Most of what there is to see is within two seconds, and the rest within forty.
        ax.set_xscale("symlog", linthresh=1)
        ax.set_xticks([0, 0.5, 1, 2, 5, 10, 30], ["0", "0.5", "1", "2", "5", "10", "30"])
        ax.set_ylim(0, 103)
        ax.legend(title="appendfsync")
        return ax

    def __repr__(self) -> str:
        rows = [tuple(str(cell) for cell in row) for row in [tuple(_COLUMNS.values()), *self._rows()]]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(
                cell.rjust(width) if number else cell.ljust(width)
                for number, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        )

    def _repr_html_(self) -> str:
        kinds = ['style="text-align: left"', *['class="n" style="text-align: right"'] * (len(_COLUMNS) - 1)]
        head = "".join(f"<th {kind}>{escape(title)}</th>" for kind, title in zip(kinds, _COLUMNS.values(), strict=True))
        body = "".join(
            "<tr>" + "".join(f"<td {kind}>{cell}</td>" for kind, cell in zip(kinds, row, strict=True)) + "</tr>"
            for row in self._rows()
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


_COLUMNS = {
    "policy": "appendfsync",
    "crashes": "crashes",
    "with_loss": "that lost something",
    "median_lost": "commands lost, median",
    "most_lost": "commands lost, worst",
    "most_lost_s": "seconds lost, worst",
}


def crash_test(
    policies: Sequence[Policy] = POLICIES,
    trials: int = 500,
    seed: int = 1,
    *,
    kind: Crash = "power",
    seconds: int = 60,
    rate: float = 20.0,
    fsync_ms: int = 20,
    progress: Callable[[int, int], object] | None = None,
) -> CrashTest:
    """Crash a store `trials` times under each policy, open what is left, and count what is gone.

    The same seed gives the same moments and the same numbers.

    Parameters
    ----------
    policies
        Values of ``appendfsync``.
    trials
        Crashes of each.
    seed
        Of the moments at which commands come and crashes happen.
    kind
        ``power`` for power cuts, ``kill`` for killed processes.
    seconds, rate, fsync_ms
        As in `record`.
    progress
        Called after each crash with how many there were, and how many there will be.

    Examples
    --------
    >>> crash_test(["always", "everysec"], trials=20, seconds=10).summary()["with_loss"].tolist()
    [0, 20]

    Raises
    ------
    ConfigError
        For what cannot be run.
    ViolationError
        A start found what was never there.
    """
    if isinstance(policies, str):
        raise ConfigError(f"policies: a list, as [{policies!r}]")
    if not policies:
        raise ConfigError("policies: name at least one")
    if not 1 <= trials <= 100_000:
        raise ConfigError(f"trials: 1 to 100,000 (given: {trials!r})")
    if kind not in ("power", "kill"):
        raise ConfigError(f"kind is power or kill (given: {kind!r})")
    outcomes: dict[Policy, tuple[Outcome, ...]] = {}
    for policy in policies:
        run = record(policy, seed=seed, seconds=seconds, rate=rate, fsync_ms=fsync_ms)
        # The same moments under each policy.
        rng = random.Random(seed)
        moments = [rng.uniform(0, run.seconds) for _ in range(trials)]
        found = []
        for at_s in moments:
            found.append(run.crash(at_s, kind, rng))
            if progress is not None:
                progress(len(outcomes) * trials + len(found), len(policies) * trials)
        outcomes[policy] = tuple(found)
    return CrashTest(outcomes, seed)
