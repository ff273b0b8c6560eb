"""A base made by a fresh process: it replays the files up to the switch and writes what they amount to.

For where no child can be forked, or the base is to hold commands. Nothing of the live data is read while it changes,
and no process with threads is forked; it costs the time of a load and the memory of a second copy.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from aofnb.aof.rewrite import BaseForm
from aofnb.aof.snapshot import PrivateMemory, StoppedError, ended
from aofnb.config import NOTICE, SETTINGS, Config

__all__ = ["RewriteProcess", "job_of"]

_log = logging.getLogger("aofnb")
_MEASURE_S = 1.0


def job_of(sources: Sequence[str], temp: str, form: BaseForm, config: Config) -> str:
    """What the process reads on its standard input, see `rewrite_worker`."""
    settings = {name: config.text(name) for name in SETTINGS}
    job = {"sources": list(sources), "temp": temp, "form": asdict(form), "config": settings, "parent": os.getpid()}
    return json.dumps(job)


class RewriteProcess:
    """One such process: begun by `wait`, in a thread, since starting one takes a while.

    Parameters
    ----------
    path
        The file that it writes.
    job
        What it is told, see `job_of`.
    began
        Called with its number once it runs.

    Attributes
    ----------
    private
        How much memory is its own.
    loaded
        Bytes replayed, and bytes of all files.
    writing
        Whether it has come to writing the base.
    """

    def __init__(self, path: str, job: str, began: Callable[[int], None] = lambda _pid: None) -> None:
        self.path = path
        self._began = began
        self.private = PrivateMemory()
        self.loaded = (0, 0)
        self.writing = False
        self._job = job
        self._progress = (0, 0)
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False
        self._lock = threading.Lock()
        self._measure_at_s = 0.0

    def progress(self) -> tuple[int, int]:
        """Keys and bytes written so far."""
        return self._progress

    def kill(self) -> None:
        """End it now, or before it begins; `wait` raises."""
        with self._lock:
            self._killed = True
            if self._process is not None:
                self._process.kill()

    def wait(self) -> None:
        """Start the process, and return when the base is whole and synced.

        Raises
        ------
        StoppedError
            It was killed by `kill`, or by SIGUSR1.
        AofError
            It failed, or was killed otherwise.
        OSError
            It cannot be started.
        """
        with self._lock:
            if self._killed:
                raise StoppedError("the rewrite was stopped; the old files are in force", file=self.path)
            process = self._process = self._start()
        _log.log(NOTICE, "Background append only file rewriting started by pid %d", process.pid)
        self._began(process.pid)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        with process:
            try:
                process.stdin.write(self._job.encode())
                process.stdin.close()
            except BrokenPipeError:
                # It ended before it was told what to do: what it said of that comes below.
                pass
            for line in process.stdout:
                self._said(json.loads(line))
            words = process.stderr.read().decode(errors="replace").strip()
        if self._killed:
            raise StoppedError("the rewrite was stopped; the old files are in force", file=self.path)
        if process.returncode != 0:
            said = f", which said {words.splitlines()[-1]!r}," if words else ""
            raise ended(process.returncode, f"the rewriting process{said}", self.path)

    def _start(self) -> subprocess.Popen[bytes]:
        package_root = str(Path(__file__).resolve().parents[2])
        paths = [package_root, *filter(None, [os.environ.get("PYTHONPATH")])]
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "aofnb.engine.rewrite_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            # Ctrl-C is for the one who typed it.
            start_new_session=True,
        )

    def _said(self, report: dict[str, int]) -> None:
        if "bytes_total" in report:
            self.loaded = (report["bytes_done"], report["bytes_total"])
        if "keys_done" in report:
            self.writing = True
            self._progress = (report["keys_done"], report["base_bytes"])
        now_s = time.monotonic()
        if self._process is not None and now_s >= self._measure_at_s:
            self._measure_at_s = now_s + _MEASURE_S
            self.private.measure(self._process.pid)
