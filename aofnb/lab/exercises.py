"""A judge for exercises about durability: a function, crashed in every way. `aofnb.lab.check` asks it.

The learner writes a function that changes a store; the exercise says what must be true of the data at all times. The
function runs once on a simulated disk, and every disk that a kill or a power cut may leave on the way is opened and
looked at.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aofnb.clock import FakeClock
from aofnb.engine.store import Store, open_store
from aofnb.errors import AofError, ConfigError
from aofnb.lab.crash import DIRECTORY
from aofnb.lab.disk import Crash, DiskImage, SimFs
from aofnb.lab.loss import POLICIES, Policy, quiet

__all__ = ["Verdict", "check"]

# Of the disks that one operation may leave; beyond, they are drawn.
_IMAGES = 500
# More is not what a function of an exercise writes.
_MOST = 50_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge says; true if the answer is right.

    Attributes
    ----------
    right
        Whether it is.
    text
        Why, in a sentence.
    crashes
        How many different disks were opened for it, where crashes were tried.
    """

    right: bool
    text: str
    crashes: int = 0

    def __bool__(self) -> bool:
        return self.right

    def __repr__(self) -> str:
        return f"{'Right!' if self.right else 'Not yet:'} {self.text}"


def check(
    function: Callable[[Store], object],
    holds: Callable[[Store], object],
    *,
    prepare: Sequence[Sequence[object]] = (),
    done: Callable[[Store], object] | None = None,
    policy: Policy = "always",
    seed: int = 1,
) -> Verdict:
    """Run `function` on a store, crash it in every way, and say whether `holds` is true after each crash.

    Parameters
    ----------
    function
        The learner's: called with the store.
    holds
        Called with the store that a start after the crash gives, on which nothing can be written. A text that it
        returns is what is wrong; so are False and a failed ``assert``. None and True are fine.
    prepare
        Commands that are run, and durable, before `function` is.
    done
        As `holds`, but asked of the end without any crash: whether the work was done at all.
    policy, seed
        ``appendfsync``; and what chooses among very many disks.

    Examples
    --------
    >>> def both(store):
    ...     store.execute("MSET", "a", 1, "b", 1)
    >>> def one_by_one(store):
    ...     store.execute("SET", "a", 1)
    ...     store.execute("SET", "b", 1)
    >>> def holds(store):
    ...     return store.execute("EXISTS", "a", "b") != 1
    >>> check(both, holds)
    Right! 66 crashes, and it holds after each of them.
    >>> bool(check(one_by_one, holds))
    False

    Raises
    ------
    ConfigError
        For what cannot be judged.
    """
    if policy not in POLICIES:
        raise ConfigError(f"appendfsync is one of {', '.join(POLICIES)} (given: {policy!r})")
    if not callable(function) or not callable(holds):
        raise ConfigError("check(function, holds): both are functions that take a store")
    fs, clock = SimFs(), FakeClock()
    moments: list[tuple[Crash, DiskImage]] = []
    rng = random.Random(seed)

    def crash(operation: str, path: str) -> None:
        for kind in _KINDS:
            # Zeros that nobody wrote are refused by every start, which is another lesson.
            states = fs.crash_states(kind, "any", limit=_IMAGES, rng=rng)
            moments.extend((kind, image) for image in states if not image.zeroed)
        if len(moments) > _MOST:
            raise ConfigError("the function writes too much to be crashed in every way; a few commands are enough")

    with quiet(), open_store(DIRECTORY, fs=fs, clock=clock, background=False, appendfsync="always", seed=0) as store:
        for argv in prepare:
            store.execute(*argv)
        store.config_set("appendfsync", policy)
        fs.observer = crash
        try:
            crash("begin", DIRECTORY)
            function(store)
        finally:
            fs.observer = None
        problem = _problem(done, store) if done is not None else None
    if problem is not None:
        return Verdict(False, f"even without a crash, {problem}.")
    seen: set[DiskImage] = set()
    for kind, image in moments:
        if image in seen:
            continue
        seen.add(image)
        problem = _after(image, clock, holds)
        if problem is not None:
            how = "the process was killed" if kind == "kill" else "a power cut"
            return Verdict(False, f"after crash {len(seen)} ({how}), {problem}.", len(seen))
    return Verdict(True, f"{len(seen)} crashes, and it holds after each of them.", len(seen))


_KINDS: tuple[Crash, ...] = ("kill", "power")


def _after(image: DiskImage, clock: FakeClock, holds: Callable[[Store], object]) -> str | None:
    """What is wrong with the disk that a crash left, or None."""
    try:
        with (
            quiet(),
            open_store(DIRECTORY, fs=image.mount(), clock=clock, background=False, readonly=True) as store,
        ):
            return _problem(holds, store)
    except AofError as refusal:
        return f"the store does not open: {refusal}"


def _problem(question: Callable[[Store], Any], store: Store) -> str | None:
    try:
        answer = question(store)
    except AssertionError as failed:
        return str(failed) or "what must hold does not"
    if isinstance(answer, str):
        return answer
    return None if answer is None or answer else "what must hold does not"
