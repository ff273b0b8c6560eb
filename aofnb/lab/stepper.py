"""`stepper`: go through what a store does to its files, one operation at a time, and crash it after any of them.

A real store does it on a simulated disk, and the disk is kept as it was after each operation. A crash lists every disk
that may be left then, opens each with the real loader, and counts what is there (`aofnb.lab.Judge`): no draw of luck.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from html import escape

from aofnb.errors import ConfigError
from aofnb.lab.crash import LOG_DIRECTORY, Judge, Trial, ViolationError
from aofnb.lab.disk import Crash, SimFs
from aofnb.lab.loss import POLICIES, Policy, quiet
from aofnb.panel import Panel, button

__all__ = ["Crashed", "Step", "Stepper", "stepper"]

# More than any step leaves; beyond, images are drawn.
_IMAGES = 2000
_MANIFEST = "appendonly.aof.manifest"
# What a start does with a file, by its letter in the manifest.
_ROLES = {"b": "reads it", "i": "reads it", "h": "deletes it", "": "ignores it"}
# Crashes shown.
KEPT = 6
_LEFT_SIDE = 'style="text-align: left"'
_NOW = "background: var(--jp-brand-color1, #1976d2); color: #fff"
_THEN = "background: var(--jp-layout-color2, rgba(128,128,128,.15))"


@dataclass(frozen=True, slots=True)
class File:
    """A file of the log after a step. A power cut cannot take `synced` bytes of it, nor its name if `name_synced`.

    `listed` is how the manifest that is there has it: ``b`` for the base, ``i`` for an increment, ``h`` for history,
    and nothing if it is not in it.
    """

    name: str
    size: int
    synced: int
    name_synced: bool
    listed: str


@dataclass(frozen=True, slots=True)
class Step:
    """What was just done, and the files then.

    Attributes
    ----------
    phase, title, why
        In words.
    issued
        Commands so far.
    promised
        How many of them a crash of each kind must leave.
    disk
        As it was then.
    """

    phase: str
    title: str
    why: str
    files: tuple[File, ...]
    issued: int
    promised: dict[Crash, int]
    disk: SimFs


@dataclass(frozen=True, slots=True)
class Crashed:
    """What every crash of one kind after one step leaves.

    Attributes
    ----------
    step
        Number of the step, from 1.
    disks
        How many different disks there may be.
    fewest, most
        Commands that a start finds, over all of them.
    problem
        What is wrong with one of them, or None.
    """

    kind: Crash
    step: int
    disks: int
    fewest: int
    most: int
    promised: int
    issued: int
    problem: str | None = None

    @property
    def found(self) -> str:
        """How many commands a start finds, in words."""
        return f"{self.fewest}" if self.fewest == self.most else f"{self.fewest} to {self.most}"

    def __str__(self) -> str:
        how = "kill" if self.kind == "kill" else "power cut"
        disks = "1 disk is possible" if self.disks == 1 else f"{self.disks} disks are possible"
        words = f"{how} after step {self.step}: {disks}; "
        if self.problem is not None:
            return words + self.problem
        each = "it opens" if self.disks == 1 else "each opens"
        return words + f"{each}, with {self.found} of {self.issued} commands ({self.promised} promised)"


class _Recording(Trial):
    """A trial that is not crashed, but remembered."""

    def begin(self, phase: str) -> None:
        """Forget what was, and remember from here on."""
        self.steps: list[Step] = []
        self.phase = phase

    def _crash_now(self, operation: str, path: str) -> None:
        self.operations.append((operation, os.path.basename(path)))
        if not hasattr(self, "steps"):
            return
        name = os.path.basename(path)
        self.phase = _phase(operation, name, self.phase)
        title, why = _words(operation, name)
        with self.fs.open_read(os.path.join(LOG_DIRECTORY, _MANIFEST)) as manifest:
            lines = [line.split() for line in manifest.read().decode().splitlines()]
        # file NAME seq NUMBER type LETTER
        listed = {words[1]: words[5] for words in lines}
        files = tuple(
            File(
                each, self.fs.size(full), self.fs.synced_size(full), self.fs.name_is_synced(full), listed.get(each, "")
            )
            for each in self.fs.listdir(LOG_DIRECTORY)
            for full in [os.path.join(LOG_DIRECTORY, each)]
        )
        promised: dict[Crash, int] = {"kill": self.promised("kill"), "power": self.promised("power")}
        # Of the history, the first is the empty store.
        self.steps.append(Step(self.phase, title, why, files, len(self.history) - 1, promised, self.fs.killed()))

    def found(self, number: int, kind: Crash) -> Crashed:
        """Crash after step `number` (from 0) in every possible way."""
        step = self.steps[number]
        images = set(step.disk.crash_states(kind, "any", limit=_IMAGES, rng=random.Random(0)))
        units: set[int] = set()
        problem = None
        for image in sorted(images, key=lambda image: image.files):
            try:
                with quiet():
                    units.add(self._units[self.judge.recovered(image)])
            except KeyError:
                problem = "a start finds what never was"
            except ViolationError as violation:
                problem = str(violation)
        if units and min(units) < step.promised[kind]:
            problem = f"{step.promised[kind]} commands were promised, {min(units)} are there"
        return Crashed(
            kind,
            number + 1,
            len(images),
            min(units, default=0),
            max(units, default=0),
            step.promised[kind],
            step.issued,
            problem,
        )


# --- what is told ------------------------------------------------------------------------------------------------

_SWITCH, _MEANWHILE, _BASE, _PUBLISH, _CLEAN, _AFTER = (
    "1 switch to a new incr file",
    "2 a command comes meanwhile",
    "3 write the new base",
    "4 publish it",
    "5 delete the old files",
    "6 afterwards",
)


def _phase(operation: str, name: str, phase: str) -> str:
    """The phase that an operation belongs to, when the one before belonged to `phase`."""
    if not phase[0].isdigit():
        return phase
    if operation == "write" and ".incr." in name:
        return _MEANWHILE
    if name.startswith("temp-rewriteaof"):
        return _BASE
    if operation == "rename" and ".base." in name:
        return _PUBLISH
    if operation == "unlink":
        return _CLEAN
    if operation in ("fdatasync", "wait") and not name.startswith("temp-"):
        return _AFTER
    return phase


def _words(operation: str, name: str) -> tuple[str, str]:
    """What an operation is called, and what it is for."""
    if operation == "acknowledged":
        return "the command is answered", "From now on the policy's promise holds for it."
    if operation == "wait":
        return "time passes", "The periodic job has looked around."
    if operation == "fsync_dir":
        return (
            "fsync of the directory",
            "Names are data of their directory: until now a power cut could take them back.",
        )
    if name == f"temp-{_MANIFEST}":
        return {
            "create": (
                f"create {name}",
                "The manifest lists the files that count. It is never changed, only replaced.",
            ),
            "write": (f"write {name}", "The list as it is to be."),
            "fdatasync": (f"fsync of {name}", "Its bytes must be safe before its name says that they count."),
        }[operation]
    if operation == "rename" and name == _MANIFEST:
        return f"rename temp-{_MANIFEST} to {name}", "One step: whoever starts now finds the old list or the new one."
    if name.startswith("temp-rewriteaof"):
        return {
            "create": (f"create {name}", "The new base has a name of its own until it is whole; no start reads it."),
            "write": (f"write {name}", "All data, as they were at the switch."),
            "fdatasync": (f"fsync of {name}", "A base that counts must be whole, whatever happens."),
        }[operation]
    if operation == "rename":
        return f"rename the new base to {name}", "Its final name. It does not count yet: no manifest lists it."
    if operation == "unlink":
        return f"delete {name}", "No manifest in force needs it."
    if operation == "create":
        return f"create {name}", "Commands will go on here, so that the old files stand still for the rewrite."
    if operation == "write":
        return f"write to {name}", "The record is in the page cache: a kill cannot take it any more."
    return f"{_OPERATIONS.get(operation, operation)} {name}", "What was written is on the device."


_OPERATIONS = {"fdatasync": "fsync of", "open_append": "open"}


def _rewrite(trial: _Recording) -> None:
    for number in range(3):
        trial.turn([("SET", f"key:{number}", number)])
    trial.wait(1.5)
    trial.begin(_SWITCH)
    trial.rewrite_while(lambda: trial.turn([("SET", "key:3", 3)]))
    trial.wait(1.5)


def _write(trial: _Recording) -> None:
    trial.turn([("SET", "key:0", 0)])
    trial.wait(1.5)
    trial.begin("one command")
    trial.turn([("SET", "key:1", 1)])
    trial.wait(1.5)


_SCRIPTS: dict[str, Callable[[_Recording], None]] = {"rewrite": _rewrite, "write": _write}


def stepper(what: str = "rewrite", *, policy: Policy = "everysec") -> Stepper:
    """Click through a process of the store, with a crash after any of its steps.

    Parameters
    ----------
    what
        ``rewrite``, with a command that comes meanwhile; or ``write``, one command and its way to the disk.
    policy
        ``appendfsync``.

    Examples
    --------
    >>> steps = stepper("write", policy="always")
    >>> print(steps.go(3).cut_power())
    power cut after step 3: 1 disk is possible; it opens, with 2 of 2 commands (2 promised)

    Raises
    ------
    ConfigError
        There is no such process, or no such policy.
    """
    if what not in _SCRIPTS:
        raise ConfigError(f"there are steps of {' and of '.join(_SCRIPTS)} (given: {what!r})")
    if policy not in POLICIES:
        raise ConfigError(f"appendfsync is one of {', '.join(POLICIES)} (given: {policy!r})")
    trial = _Recording(SimFs(), Judge(), rng=random.Random(0), appendfsync=policy)
    with trial:
        _SCRIPTS[what](trial)
        steps = trial.steps
        # What closing does is not told.
        del trial.steps
    trial.steps = steps
    return Stepper(what, policy, trial)


class Stepper(Panel):
    """The steps of a process. Made by `stepper`.

    Attributes
    ----------
    steps
        All of them, in order.
    number
        The step that was done last, from 1.
    crashes
        What crashes left so far, newest last.
    """

    label = "steps of the store"

    def __init__(self, what: str, policy: Policy, recording: _Recording) -> None:
        self.what, self.policy = what, policy
        self._recording = recording
        self.steps = tuple(recording.steps)
        self.number = 1
        self.crashes: list[Crashed] = []
        self._back = button("Back", "step-backward", "The step before", lambda: self.go(self.number - 1))
        self._next = button("Next", "step-forward", "The next step", lambda: self.go(self.number + 1))
        self.build(
            [
                [
                    self._back,
                    self._next,
                    button("kill process", "times-circle", "In every way that is possible here", self.kill, "danger"),
                    button("cut power", "bolt", "In every way that is possible here", self.cut_power, "danger"),
                    button("Done", "stop", "Leave a table here", self.close),
                ]
            ]
        )
        self.go(1)

    def go(self, number: int) -> Stepper:
        """Show step `number`, counted from 1; beyond the ends, the first or the last."""
        self.number = min(max(number, 1), len(self.steps))
        self._back.disabled = self.number == 1
        self._next.disabled = self.number == len(self.steps)
        self.refresh()
        return self

    def kill(self) -> Crashed:
        """Kill the process after this step, and open every disk that may be left."""
        return self._crash("kill")

    def cut_power(self) -> Crashed:
        """Cut the power after this step, and open every disk that may be left."""
        return self._crash("power")

    def _crash(self, kind: Crash) -> Crashed:
        with self._lock:
            crashed = self._recording.found(self.number - 1, kind)
            self.crashes.append(crashed)
        self.refresh()
        return crashed

    @property
    def step(self) -> Step:
        """What was done last."""
        return self.steps[self.number - 1]

    # --- pictures ------------------------------------------------------------------------------------------

    def body(self) -> str:
        step = self.step
        top = (
            f'<div class="top"><b>steps of a {self.what}</b><span class="soft">appendfsync {self.policy}</span>'
            f'<span class="soft end">step {self.number} of {len(self.steps)}</span></div>'
        )
        note = f'<div class="note"><b>{escape(step.title)}</b><br><span class="soft">{escape(step.why)}</span></div>'
        return f"{top}{self._phases()}{note}{self._files()}{self._crashes()}"

    def _phases(self) -> str:
        """The phases in a row, with the one that is now."""
        phases = dict.fromkeys(step.phase for step in self.steps)
        chips = "".join(
            f'<span style="padding: 1px 9px; border-radius: 9px; {_NOW if phase == self.step.phase else _THEN}">'
            f"{escape(phase)}</span>"
            for phase in phases
        )
        return f'<div style="display: flex; flex-wrap: wrap; gap: 4px; font-size: 12px; margin-top: 6px">{chips}</div>'

    def _files(self) -> str:
        rows = "".join(
            f'<tr><td {_LEFT_SIDE}>{escape(file.name)}</td><td class="n">{file.size}</td>'
            f'<td class="n">{file.synced}</td><td {_LEFT_SIDE}>{"yes" if file.name_synced else "<b>not yet</b>"}</td>'
            f"<td {_LEFT_SIDE}>{self._role(file)}</td></tr>"
            for file in self.step.files
        )
        return (
            f'<table><thead><tr><th {_LEFT_SIDE}>file</th><th class="n">bytes</th><th class="n">synced</th>'
            f"<th {_LEFT_SIDE}>name synced</th><th {_LEFT_SIDE}>a start</th></tr></thead><tbody>{rows}</tbody></table>"
        )

    @staticmethod
    def _role(file: File) -> str:
        if file.name == _MANIFEST:
            return "begins here"
        return _ROLES[file.listed]

    def _crashes(self) -> str:
        if not self.crashes:
            return (
                '<div class="soft" style="margin-top: 8px">No crash yet: go to any step, and press a red button.</div>'
            )
        rows = "".join(
            f"<tr><td {_LEFT_SIDE}>{'kill' if crashed.kind == 'kill' else 'power cut'} after step {crashed.step}</td>"
            f'<td class="n">{crashed.disks}</td><td class="n">{crashed.found}</td>'
            f'<td class="n">{crashed.promised} of {crashed.issued}</td>'
            f"<td {_LEFT_SIDE}>{escape(crashed.problem or 'the promise holds')}</td></tr>"
            for crashed in self.crashes[: -KEPT - 1 : -1]
        )
        return (
            f'<table><thead><tr><th {_LEFT_SIDE}>crash</th><th class="n">possible disks</th>'
            f'<th class="n">commands found</th><th class="n">promised</th><th {_LEFT_SIDE}>on each of them</th></tr>'
            f"</thead><tbody>{rows}</tbody></table>"
        )

    def table(self) -> str:
        rows = "".join(
            f'<tr><td>{number}</td><td style="text-align: left">{escape(step.phase)}</td>'
            f'<td style="text-align: left">{_now(escape(step.title), number == self.number)}</td></tr>'
            for number, step in enumerate(self.steps, 1)
        )
        caption = f"<b>steps of a {self.what}</b>, appendfsync {self.policy}; at step {self.number}"
        return (
            f'<table><caption style="text-align: left">{caption}</caption>{rows}</table>'
            f"{self._files()}{self._crashes()}"
        )

    def text(self) -> str:
        lines = [f"steps of a {self.what}, appendfsync {self.policy}"]
        lines += [
            f"{'>' if number == self.number else ' '} {number:2}  {step.phase}: {step.title}"
            for number, step in enumerate(self.steps, 1)
        ]
        return "\n".join([*lines, *map(str, self.crashes)])


def _now(words: str, now: bool) -> str:
    return f"<b>{words}</b>" if now else words
