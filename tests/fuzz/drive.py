"""Running a target on bytes, and what is found: kept once per place in the code, as a file that a test replays."""

from __future__ import annotations

import hashlib
import resource
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from tests.fuzz.targets import Target

__all__ = ["FINDS", "Finds", "HangError", "limited"]

# Committed: each file here once broke something.
FINDS = Path(__file__).parents[1] / "data" / "fuzz"
# Of processor time, for inputs of some KiB that take milliseconds.
HANG_S = 4.0
# What one input of some KiB may add to the memory of the process at its peak.
GROWTH_BYTES = 192 << 20
_MEMORY_BYTES = 3 << 30


class HangError(Exception):
    """An input took longer than `HANG_S`."""


class GrowthError(Exception):
    """An input took more memory than `GROWTH_BYTES`."""


@contextmanager
def limited() -> Iterator[None]:
    """Within it processor time per input and memory of the process are bounded: what passes the bounds is raised."""

    def hang(_number: int, _frame: FrameType | None) -> None:
        raise HangError(f"more than {HANG_S} s")

    before = signal.signal(signal.SIGVTALRM, hang)
    old = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_virtual_bytes() + _MEMORY_BYTES, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, old)
        signal.signal(signal.SIGVTALRM, before)


def _virtual_bytes() -> int:
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


class Finds:
    """Runs a target and keeps what is found."""

    def __init__(self, target: Target, folder: Path = FINDS) -> None:
        self.target = target
        self.folder = folder / target.name
        self.executions = 0
        self.places: dict[str, Path] = {}

    def run(self, data: bytes) -> None:
        """One execution; a find goes to a file, the first of its place in the code only."""
        self.executions += 1
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        signal.setitimer(signal.ITIMER_VIRTUAL, HANG_S)
        try:
            self.target.run(data)
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            if (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) * 1024 > GROWTH_BYTES:
                raise GrowthError(f"{len(data)} bytes took more than {GROWTH_BYTES}")
        except KeyboardInterrupt:
            raise
        except BaseException as problem:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            self._keep(data, problem)
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)

    def _keep(self, data: bytes, problem: BaseException) -> None:
        frames = traceback.extract_tb(problem.__traceback__)
        last = [frame for frame in frames if "aofnb" in frame.filename or "fuzz" in frame.filename][-1]
        place = f"{type(problem).__name__} at {Path(last.filename).name}:{last.lineno}"
        if place in self.places:
            # The shortest of its kind says most.
            if len(data) < self.places[place].stat().st_size:
                self.places[place].write_bytes(data)
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / hashlib.sha1(data).hexdigest()[:12]
        path.write_bytes(data)
        self.places[place] = path
        print(f"{self.target.name}: {place}: {str(problem)[:200]} ({path.name}, {len(data)} bytes)", file=sys.stderr)
