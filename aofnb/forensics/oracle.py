"""A real redis-server as a second opinion on a log that was made: it loads a copy, in a directory of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aofnb.clock import SystemClock
from aofnb.errors import ReplyError
from aofnb.resp.encode import encode_command

__all__ = ["loading_server"]

_START_S = 60.0
# The longest path of a socket of Unix.
_SOCKET_PATH = 100


@contextmanager
def loading_server(directory: str, databases: int) -> Iterator[Callable[[], str]]:
    """A redis-server that loads the log in the data directory `directory` while the caller does other things.

    What this gives is called once, for what DEBUG DIGEST says of the data; or in words why it was not asked.

    It runs as a replica of nobody, since a master deletes overdue keys as soon as it runs, and a replica never does.
    """
    program = shutil.which("redis-server")
    if program is None:
        yield lambda: "not asked: there is no redis-server"
        return
    if not hasattr(socket, "AF_UNIX"):
        yield lambda: "not asked: there are no sockets of Unix"
        return
    with tempfile.TemporaryDirectory(prefix="aofnb-") as home:
        path = os.path.join(home, "s")
        if len(path) > _SOCKET_PATH:
            yield lambda: "not asked: the path of the temporary directory is too long"
            return
        shutil.copytree(os.path.join(directory, "appendonlydir"), os.path.join(home, "appendonlydir"))
        settings = {
            "port": "0", "unixsocket": path, "dir": home, "save": "", "appendonly": "yes", "daemonize": "no",
            "databases": str(databases), "enable-debug-command": "local", "auto-aof-rewrite-percentage": "0",
        }  # fmt: skip
        command = [program, *(word for name, value in settings.items() for word in (f"--{name}", value))]
        command += ["--replicaof", "127.0.0.1", "1"]
        log = Path(home, "server.log")
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        # DEBUG DIGEST takes as long as to load.
        with ThreadPoolExecutor(1) as asking:
            try:
                answer = asking.submit(_asked, process, path)
                yield lambda: answer.result() or _refused(log)
            finally:
                # Whoever waits for its answer then waits no more.
                process.kill()
                process.wait()


def _refused(log: Path) -> str:
    """Its last warning, which is why it gave up; what it says when it does follows that."""
    told = log.read_text(errors="replace").strip().splitlines()
    warned = [line.split(" # ", 1)[1] for line in told if " # " in line]
    return f"refused: {warned[-1] if warned else told[-1] if told else 'without a word'}"


def _asked(process: subprocess.Popen[bytes], path: str) -> str | None:
    """The digest, once the server has loaded; None if it gives up."""
    clock = SystemClock()
    pause = threading.Condition()
    until_s = clock.monotonic() + _START_S
    while process.poll() is None and clock.monotonic() < until_s:
        try:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(_START_S)
                sock.connect(path)
                with sock.makefile("rwb") as wire:
                    # DEBUG is answered while the server loads, too: of what is there by then.
                    if _has_loaded(_told(wire, b"INFO", b"persistence")):
                        return _told(wire, b"DEBUG", b"DIGEST").decode()
        except ReplyError as problem:
            return f"refused: {problem}"
        except OSError:
            pass
        with pause:
            clock.wait(pause, 0.05)
    return None


def _has_loaded(info: bytes) -> bool:
    """Whether INFO says so: one of its lines does, not only the end of one.

    >>> _has_loaded(b"loading:0 async_loading:0".replace(b" ", bytes([13, 10])))
    True
    >>> _has_loaded(b"loading:1 async_loading:0".replace(b" ", bytes([13, 10])))
    False
    """
    return b"loading:0" in info.splitlines()


def _told(wire: Any, *argv: bytes) -> bytes:
    """One reply, a status or a bulk string."""
    wire.write(encode_command(argv))
    wire.flush()
    line: bytes = wire.readline()
    if line.startswith(b"$"):
        data: bytes = wire.read(int(line[1:]) + 2)
        return data
    if not line.startswith(b"+"):
        raise ReplyError(line.strip().decode("utf-8", "backslashreplace"))
    return line[1:].strip()
