"""Pull the plug: a simulated disk, and every state that a crash may leave on it, opened again and judged.

`SimFs` is the disk, `Trial` a store that runs on it and is crashed at every operation. For teaching: `pull_the_plug`
and `stepper` are pictures to click, `crash_test` counts what crashes take, `what_if` says what one would take of a
store now, `check` judges exercises. What shows
something is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from aofnb.lab.crash import BuggyFs, Judge, Trial, ViolationError
from aofnb.lab.disk import DiskImage, Fault, SimFs
from aofnb.lab.loss import crash_test, record
from aofnb.lab.scripts import everyday
from aofnb.lab.tutorials import check
from aofnb.lab.whatif import Aftermath, what_if

if TYPE_CHECKING:
    from aofnb.lab.plug import pull_the_plug
    from aofnb.lab.stepper import stepper

__all__ = [
    "Aftermath",
    "BuggyFs",
    "DiskImage",
    "Fault",
    "Judge",
    "SimFs",
    "Trial",
    "ViolationError",
    "check",
    "crash_test",
    "everyday",
    "pull_the_plug",
    "record",
    "stepper",
    "what_if",
]


def __getattr__(name: str) -> Any:
    if name == "pull_the_plug":
        return importlib.import_module("aofnb.lab.plug").pull_the_plug
    if name == "stepper":
        # Beside the module of that name, which importing it would put in its place.
        value = globals()["stepper"] = importlib.import_module("aofnb.lab.stepper").stepper
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
