"""Settings of a server process that are changed while it runs: what its log, its end and the system say then.

`aofnb serve` and redis-server in the same place, side by side.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from support.require import need
from support.server import Connection, available, free_port

pytestmark = [pytest.mark.server, pytest.mark.slow]

SIDES = ("redis", "us")
# That a signal came redis-server says in a form of its own.
_STAMP = re.compile(r"^\d+:(?:[CM] .{24} [.*#-]|signal-handler \(\d+\)) ", re.MULTILINE)


class Process:
    """A server in a directory of its own that logs to a file."""

    def __init__(self, side: str, directory: Path, *words: str) -> None:
        self.directory = directory / side
        self.directory.mkdir()
        self.log_file = directory / f"{side}.log"
        self.port = free_port()
        given = ["--port", str(self.port), "--logfile", str(self.log_file), "--save", "", *words]
        if side == "redis":
            command = ["redis-server", "--dir", str(self.directory), *given]
        else:
            command = [sys.executable, "-m", "aofnb", "serve", str(self.directory), *given]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        self.until(lambda: "eady to accept connections" in self.log())
        self.connection = Connection(self.port)
        self.execute = self.connection.execute

    def log(self) -> str:
        """What it logged so far, without times."""
        try:
            return _STAMP.sub("", self.log_file.read_text(errors="replace"))
        except FileNotFoundError:
            return ""

    def until(self, condition: Callable[[], object], seconds: float = 30) -> None:
        """Wait for another process, which has no fake clock."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it never came to pass:\n" + self.log()
            time.sleep(0.01)

    def info(self, section: str) -> dict[str, str]:
        lines = self.execute("INFO", section).decode().split("\r\n")
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        with suppress(AttributeError):
            self.connection.close()


@contextmanager
def running(side: str, directory: Path, *words: str) -> Iterator[Process]:
    process = Process(side, directory, *words)
    try:
        yield process
    finally:
        process.end()


def on_both(tmp_path: Path, observe: Callable[[Process], Any], *words: str) -> list[Any]:
    """What `observe` sees of redis-server, and of us."""
    need("redis-server", available())
    seen = []
    for side in SIDES:
        with running(side, tmp_path, *words) as process:
            seen.append(observe(process))
    return seen


# --- signals ---------------------------------------------------------------------------------------------

OF_AN_END = (
    "Received SIGTERM scheduling shutdown...",
    "Received SIGINT scheduling shutdown...",
    "User requested shutdown...",
    "Saving the final RDB snapshot before exiting.",
    "DB saved on disk",
    "Error trying to save the DB, can't exit.",
    "Error trying to save the DB. Exit anyway.",
    "Errors trying to shut down the server. Check the logs for more information.",
    "Redis is now ready to exit, bye bye...",
)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    ("options", "save", "fails"),
    [
        ("default", "", False),
        ("default", "1000 1", False),
        ("nosave", "1000 1", False),
        ("save", "", False),
        ("now", "1000 1", False),
        ("nosave now force", "1000 1", True),
        ("default", "1000 1", True),
        ("save", "", True),
        ("save force", "", True),
    ],
)
def test_a_signal_ends_it_as_the_setting_of_this_moment_says(tmp_path, number, options, save, fails):
    def end(process: Process) -> Any:
        process.execute("SET", "k", "v")
        name = f"shutdown-on-{signal.Signals(number).name.lower()}"
        said = [process.execute("CONFIG", "SET", name, options, "save", save), process.execute("CONFIG", "GET", name)]
        dump = process.directory / "dump.rdb"
        if fails:
            dump.mkdir()
        before = len(process.log())
        process.process.send_signal(number)
        process.until(lambda: re.search("bye bye|Errors trying", process.log()[before:]))
        time.sleep(0.1)
        if "bye bye" in process.log()[before:]:
            said.append(process.process.wait(30))
        else:
            said += [process.process.poll(), process.execute("PING")]
        logged = process.log()[before:]
        return [*said, dump.is_file(), [line for line in logged.splitlines() if line in OF_AN_END]]

    theirs, ours = on_both(tmp_path, end, "--appendonly", "no")
    assert ours == theirs


# --- the log ---------------------------------------------------------------------------------------------


def test_loglevel_says_from_now_on_what_is_logged(tmp_path):
    """A protocol error is told from verbose on, a snapshot from notice on, an attack always."""

    def look(process: Process) -> Any:
        seen = []
        for level in ("warning", "debug", "notice", "VERBOSE", "warning", "nothing"):
            said = str(process.execute("CONFIG", "SET", "loglevel", level))
            before = len(process.log())
            for sent in (b"*x\r\n", b"POST / HTTP/1.1\r\nHost: x\r\n\r\n"):
                with socket.create_connection(("127.0.0.1", process.port), timeout=30) as sock:
                    sock.sendall(sent)
                    while sock.recv(1000):
                        pass
            process.execute("BGSAVE")
            process.until(lambda: process.info("persistence")["rdb_bgsave_in_progress"] == "0")
            logged = process.log()[before:]
            seen.append([said, "Protocol error (" in logged, "Background saving started by pid" in logged])
        return [*seen, process.execute("CONFIG", "GET", "loglevel")]

    theirs, ours = on_both(tmp_path, look, "--appendonly", "no")
    assert ours == theirs


# --- snapshots -------------------------------------------------------------------------------------------


def test_a_snapshot_that_fails_in_the_background_is_told_by_info_and_by_the_next_write(tmp_path):
    def fail(process: Process) -> Any:
        process.execute("CONFIG", "SET", "save", "1000 1000")
        process.execute("SET", "k", "v")
        dump = process.directory / "dump.rdb"
        dump.mkdir()
        said = [process.execute("BGSAVE")]
        process.until(lambda: process.info("persistence")["rdb_bgsave_in_progress"] == "0")
        info = process.info("persistence")
        said += [info["rdb_last_bgsave_status"], info["rdb_changes_since_last_save"], info["rdb_saves"]]
        # Why, redis-server says in its log only.
        said += [str(process.execute("SET", "k", "w")), str(process.execute("SAVE"))[:4].strip()]
        said += [process.execute("GET", "k"), process.execute("PING").args]
        dump.rmdir()
        said += [process.execute("BGSAVE")]
        process.until(lambda: process.info("persistence")["rdb_last_bgsave_status"] == "ok")
        said += [process.execute("SET", "k", "w"), dump.is_file()]
        left = [name for name in os.listdir(process.directory) if name.startswith("temp-")]
        return [*said, left]

    theirs, ours = on_both(tmp_path, fail, "--appendonly", "no")
    assert ours == theirs


# --- the system ------------------------------------------------------------------------------------------


def test_oom_score_adj_is_told_to_the_system_of_the_process_and_of_its_children(tmp_path):
    if not os.access("/proc/self/oom_score_adj", os.W_OK):
        pytest.skip("there is no /proc/self/oom_score_adj")
    mine = int(Path("/proc/self/oom_score_adj").read_text())

    def adjust(process: Process) -> Any:
        def score(pid: int) -> int:
            return int(Path(f"/proc/{pid}/oom_score_adj").read_text()) - mine

        def settings() -> list[Any]:
            return [process.execute("CONFIG", "GET", name)[1] for name in ("oom-score-adj", "oom-score-adj-values")]

        pid = process.process.pid
        seen = [score(pid), settings()]
        changes = (
            ("oom-score-adj", "relative"),
            ("oom-score-adj-values", "30 100 300"),
            ("oom-score-adj", "absolute"),
            # Not everybody may do that.
            ("oom-score-adj-values", "-1000 100 300"),
            ("oom-score-adj-values", "1500 100 300"),
            ("oom-score-adj", "no", "oom-score-adj-values", "20 100 200"),
            ("oom-score-adj", "perhaps"),
            ("oom-score-adj-values", "1 2"),
            ("oom-score-adj", "yes", "oom-score-adj-values", "40 100 300"),
        )
        seen += [[str(process.execute("CONFIG", "SET", *words)), settings(), score(pid)] for words in changes]
        process.execute("CONFIG", "SET", "rdb-key-save-delay", "10000")
        process.execute("MSET", *(word for number in range(3000) for word in (f"k{number}", "v")))
        process.execute("BGSAVE")
        process.until(lambda: "Background saving started by pid" in process.log())
        child = int(re.findall(r"Background saving started by pid (\d+)", process.log())[0])
        process.until(lambda: score(child) != score(pid))
        seen.append(score(child))
        process.execute("CONFIG", "SET", "oom-score-adj", "no")
        return [*seen, score(pid)]

    words = ("--appendonly", "no", "--oom-score-adj", "yes")
    theirs, ours = on_both(tmp_path, adjust, *words, "--oom-score-adj-values", "10", "100", "200")
    assert ours == theirs
