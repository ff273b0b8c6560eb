"""The process that makes a base: replays the files named on standard input, writes what they amount to.

Run as ``python -m aofnb.engine.rewrite_worker``. Reads one JSON object from standard input, reports progress as
JSON lines on standard output, says what went wrong on standard error and exits with 1. It ends by itself when
its parent is gone.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Iterator
from functools import partial

from aofnb.aof.fs import OsFs
from aofnb.aof.load import read_units
from aofnb.aof.rewrite import BaseForm, write_base, write_keyspace
from aofnb.clock import SystemClock
from aofnb.commands.client import Effect
from aofnb.config import Config
from aofnb.engine.core import Engine
from aofnb.engine.replay import Replayer
from aofnb.errors import AofnbError, AofTruncatedError
from aofnb.store.snapshot import commands_of

__all__ = ["main"]

_REPORT_EVERY_S = 0.1


def main() -> int:
    """Do the job given on standard input; the exit status."""
    parent = os.getppid()
    job = json.load(sys.stdin)
    engine = Engine(Config({"databases": job["databases"]}), SystemClock(), random.Random(0))
    try:
        _load(engine, job["sources"], parent)
        form = BaseForm(**job["form"])
        if form.suffix == "rdb":
            write_keyspace(OsFs(), job["temp"], engine.keyspace, form, engine.config)
        else:
            timestamp_s = form.now_s if form.timestamp else None
            records = _counted(engine, parent)
            write_base(OsFs(), job["temp"], records, timestamp_s=timestamp_s, incremental_fsync=form.incremental_fsync)
    except (AofnbError, OSError) as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


def _load(engine: Engine, sources: list[str], parent: int) -> None:
    fs = OsFs()
    replayer = Replayer(engine)
    total = sum(fs.size(path) for path in sources)
    before = 0
    report = _Reporter(parent)
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


def _counted(engine: Engine, parent: int) -> Iterator[Effect]:
    """The records of the base; progress in keys is told as they go."""
    total = engine.keyspace.key_count()
    done = 0
    last_key: bytes | None = None
    report = _Reporter(parent)
    report.say(force=True, keys_done=0, keys_total=total)
    for effect in commands_of(engine.keyspace):
        argv = effect[1]
        if len(argv) > 1 and argv[1] != last_key:
            last_key = argv[1]
            done += 1
            if not done & 1023:
                report.say(keys_done=min(done, total), keys_total=total)
        yield effect
    report.say(force=True, keys_done=total, keys_total=total)


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
