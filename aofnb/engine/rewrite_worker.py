"""The process that makes a base: replays the files named on standard input, writes what they amount to.

Run as ``python -m aofnb.engine.rewrite_worker``. Reads one JSON object from standard input (`rewrite_process.job_of`),
reports progress as JSON lines on standard output, says what went wrong on standard error and exits with 1. It ends by
itself when its parent is gone.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from aofnb.aof import snapshot
from aofnb.aof.fs import OsFs
from aofnb.aof.load import read_units
from aofnb.aof.rewrite import BaseForm, key_delay, write_keyspace
from aofnb.clock import SystemClock
from aofnb.config import Config
from aofnb.engine.core import Engine
from aofnb.engine.replay import Replayer
from aofnb.errors import AofnbError, AofTruncatedError

__all__ = ["main"]

_REPORT_EVERY_S = 0.1
# So many keys are written between two looks at the clock, unless there is a rest behind each.
_LOOK_EVERY_KEYS = 1024


def main() -> int:
    """Do the job given on standard input; the exit status."""
    job = json.load(sys.stdin)
    report = _Reporter(job["parent"])
    config, form = Config(job["config"]), BaseForm(**job["form"])
    # For a start of the store, which this is not.
    config.key_load_delay = 0
    engine = Engine(config, SystemClock(), random.Random(0))
    try:
        _load(engine, job["sources"], report)
        count = _KeyCount(form.key_save_delay, report)
        count.say()
        _write(engine, job["temp"], form, config, count)
        count.say()
    except (AofnbError, OSError) as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


def _load(engine: Engine, sources: list[str], report: _Reporter) -> None:
    fs = OsFs()
    replayer = Replayer(engine)
    total = sum(fs.size(path) for path in sources)
    before = 0
    with replayer.loading():
        for path in sources:
            units = read_units(fs, path, restore=partial(replayer.restore, path))
            for block in units:
                replayer.replay(path, block)
                report.say(bytes_done=before + block.end, bytes_total=total)
            if units.tail.kind != "clean":
                # The files up to the switch were whole when they were synced.
                raise AofTruncatedError("changed under the rewrite", file=path, offset=units.tail.cut_at)
            before += fs.size(path)


def _write(engine: Engine, temp: str, form: BaseForm, config: Config, count: _KeyCount) -> None:
    # A rest behind each key is there to be watched, and the kernel says nothing until it is done.
    if not form.key_save_delay and snapshot.can_write(engine.keyspace, form):
        with suppress(snapshot.NotWalkableError):
            count.keys, count.bytes = snapshot.write_snapshot(engine.keyspace, temp, form)
            return
    write_keyspace(OsFs(), temp, engine.keyspace, form, config, each_key=count.key, progress=count.wrote)


class _KeyCount:
    """Counts what is written, and tells of it now and then."""

    def __init__(self, delay: int, report: _Reporter) -> None:
        self.keys = 0
        self.bytes = 0
        self._report = report
        self._rest: Callable[[], None] | None = key_delay(delay)

    def key(self) -> None:
        self.keys += 1
        if self._rest is not None:
            self._rest()
            self._report.say(keys_done=self.keys, base_bytes=self.bytes)
        elif self.keys % _LOOK_EVERY_KEYS == 0:
            self._report.say(keys_done=self.keys, base_bytes=self.bytes)

    def wrote(self, size: int) -> None:
        self.bytes = size

    def say(self) -> None:
        self._report.say(force=True, keys_done=self.keys, base_bytes=self.bytes)


class _Reporter:
    """Says where the job is, ten times a second; leaves when nobody listens."""

    def __init__(self, parent: int) -> None:
        self._parent = parent
        self._next_s = 0.0

    def say(self, *, force: bool = False, **numbers: int) -> None:
        now_s = time.monotonic()
        if force or now_s >= self._next_s:
            self._next_s = now_s + _REPORT_EVERY_S
            if os.getppid() != self._parent:
                sys.exit(1)
            print(json.dumps(numbers), flush=True)


if __name__ == "__main__":
    sys.exit(main())
