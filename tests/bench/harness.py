"""How everything is measured here: contenders in turns, best round of each, ratios.

Machines are shared and noisy, so a lone number says little: contenders of one case take turns in one process,
the best round of each counts, and what is reported is how many times faster ours is.
"""

from __future__ import annotations

import gc
import os
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Case", "cpu_s", "machine", "print_table", "rates", "timed"]


@dataclass
class Case:
    """One line of the table: rates (per second) of ours and the rivals, and the goal if there is one."""

    name: str
    unit: str
    rates: dict[str, float]
    goal: tuple[str, float] | None = None
    """(rival, how many times faster ours is to be)."""
    notes: list[str] = field(default_factory=list)

    def ratio(self, rival: str) -> float:
        return self.rates["aofnb"] / self.rates[rival]

    def verdict(self) -> str:
        if self.goal is None or self.goal[0] not in self.rates:
            return ""
        rival, wanted = self.goal
        reached = self.ratio(rival) >= wanted
        return f"{'reached' if reached else 'MISSED'}: {wanted:g}x {rival}"


def timed(action: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds that `action` takes, with the cyclic collector out of the way."""
    gc.collect()
    gc.disable()
    try:
        start = clock()
        action()
        return clock() - start
    finally:
        gc.enable()


def rates(
    contenders: dict[str, Callable[[], object]],
    operations: dict[str, int] | int,
    rounds: int = 5,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Operations per second of each contender: best of `rounds`, taking turns; the first round only warms up.

    By `clock`, which may be that of the processor time of this process.
    """
    best = dict.fromkeys(contenders, float("inf"))
    for round_ in range(rounds + 1):
        for name, action in contenders.items():
            seconds = timed(action, clock)
            if round_:
                best[name] = min(best[name], seconds)
    return {
        name: (operations if isinstance(operations, int) else operations[name]) / seconds
        for name, seconds in best.items()
    }


def cpu_s(pid: int) -> float:
    """Processor time of all threads of a process. By the scheduler's count: that of /proc/PID/stat is in hundredths."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def machine() -> str:
    """What this was measured on."""
    import fakeredis
    import redis

    import aofnb
    from aofnb import _kernels

    def version(*command: str) -> str:
        try:
            return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout.strip().split("\n")[0]
        except OSError:
            return f"{command[0]}: not found"

    model = next(
        (line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), platform.processor()
    )
    return "\n".join(
        [
            f"{os.cpu_count()} cores, {model}; {platform.system()} {platform.release()}; load {os.getloadavg()[0]:.1f}",
            f"Python {platform.python_version()}, aofnb {aofnb.__version__}, "
            f"redis-py {redis.__version__}, fakeredis {getattr(fakeredis, '__version__', '')}".rstrip(),
            _kernels.describe(),
            version("redis-server", "--version"),
        ]
    )


def _cpuinfo() -> list[str]:
    try:
        with open("/proc/cpuinfo") as file:
            return file.read().splitlines()
    except OSError:
        return []


def print_table(cases: list[Case]) -> None:
    """Rates and ratios of all cases."""
    for case in cases:
        print(f"\n{case.name}")
        ours = case.rates["aofnb"]
        unit = case.unit if " per " in case.unit else f"{case.unit}/s"
        for name, rate in case.rates.items():
            ratio = "" if name == "aofnb" else f"   aofnb is {ours / rate:6.2f}x"
            print(f"    {name:34} {_human(rate):>9} {unit}{ratio}")
        for note in case.notes:
            print(f"    {note}")
        if verdict := case.verdict():
            print(f"    goal {verdict}")


def _human(rate: float) -> str:
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if rate >= limit:
            return f"{rate / limit:.2f} {suffix}"
    return f"{rate:.1f} "
