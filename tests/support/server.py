"""A real redis-server for the tests: started on a free loopback port, with its own directory."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from aofnb.errors import ReplyError
from aofnb.resp.replies import Push

__all__ = ["Connection", "RedisServer", "available", "redis_server", "start_fails"]


def available(program: str = "redis-server") -> bool:
    return shutil.which(program) is not None


def free_port() -> int:
    """A port that nobody has, 10,000 or more below the last: a node of a cluster takes the one so far above, too."""
    while True:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = int(sock.getsockname()[1])
        if port <= 55_535:
            return port


class Connection:
    """A connection that gives every reply as it came: error texts whole, statuses as str, pushes as `Push`."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._file = self._socket.makefile("rb")

    def execute(self, *argv: Any) -> Any:
        self.send(*argv)
        return self._reply()

    def send(self, *argv: Any) -> None:
        """Send a command without reading its reply."""
        encoded = [arg if isinstance(arg, bytes) else str(arg).encode() for arg in argv]
        self._socket.sendall(b"*%d\r\n%b" % (len(encoded), b"".join(b"$%d\r\n%b\r\n" % (len(a), a) for a in encoded)))

    def _reply(self) -> Any:
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            return ReplyError(rest.decode(errors="surrogateescape"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self._file.read(int(rest) + 2)[:-2]
        if kind == b"_":
            return None
        if kind == b"=":
            return self._file.read(int(rest) + 2)[4:-2]
        if kind == b"%":
            return {self._reply(): self._reply() for _ in range(int(rest))}
        assert kind in (b"*", b"~", b">"), line
        items = None if rest == b"-1" else [self._reply() for _ in range(int(rest))]
        return Push(items) if kind == b">" else items

    read = _reply

    @property
    def address(self) -> str:
        """Where it calls from, as CLIENT LIST shows it."""
        host, port = self._socket.getsockname()
        return f"{host}:{port}"

    def close(self) -> None:
        self._file.close()
        self._socket.close()


class RedisServer:
    """A running server; `execute` gives replies as they came, errors as `ReplyError` values."""

    def __init__(self, directory: Path, process: subprocess.Popen[bytes], port: int) -> None:
        self.directory = directory
        self.process = process
        self.port = port
        self._connection = Connection(port)
        self.execute = self._connection.execute

    def connect(self) -> Connection:
        """Another connection; the caller closes it."""
        return Connection(self.port)

    @property
    def incr(self) -> bytes:
        """The bytes of the live incr file."""
        files = sorted((self.directory / "appendonlydir").glob("*.incr.aof"), key=lambda p: int(p.name.split(".")[-3]))
        return files[-1].read_bytes()

    def stop(self) -> None:
        """Shut down cleanly, so that all is flushed."""
        with suppress(OSError):
            self._connection.execute("SHUTDOWN", "NOSAVE")
        self._connection.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _command(directory: Path, port: int, settings: dict[str, str]) -> list[str]:
    given = {"appendonly": "yes", "appendfsync": "always", "save": "", "enable-debug-command": "yes", **settings}
    conf = given.pop("config-file", None)
    if conf is not None:
        # It says all that it has to say.
        given = {name: value for name, value in settings.items() if name != "config-file"}
    args = [
        "redis-server",
        *([] if conf is None else [conf]),
        "--port", str(port),
        "--bind", "127.0.0.1",
        "--dir", str(directory),
        "--daemonize", "no",
    ]  # fmt: skip
    for name, value in given.items():
        args += [f"--{name}", value]
    return args


def _popen(directory: Path, port: int, settings: dict[str, str]) -> subprocess.Popen[bytes]:
    with open(directory / "redis.log", "ab") as log:
        return subprocess.Popen(_command(directory, port, settings), stdout=log, stderr=log, stdin=subprocess.DEVNULL)


@contextmanager
def redis_server(directory: Path, **settings: str) -> Iterator[RedisServer]:
    """Start a server in `directory` (appendonly yes unless told otherwise) and stop it at the end.

    `settings` take ``_`` for ``-``; ``config_file`` is the path of one. Fails if the server does not come up, with the
    end of its log.
    """
    directory.mkdir(parents=True, exist_ok=True)
    chosen = {name.replace("_", "-"): value for name, value in settings.items()}
    for _attempt in range(3):  # the free port may be taken between asking and binding
        port = free_port()
        process = _popen(directory, port, chosen)
        if _answers(process, port):
            break
    else:
        raise AssertionError("redis-server did not start:\n" + (directory / "redis.log").read_text()[-2000:])
    server = RedisServer(directory, process, port)
    try:
        yield server
    finally:
        server.stop()


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError):
            connection = Connection(port)
            try:
                if connection.execute("PING") == "PONG":
                    return True
            finally:
                connection.close()
        time.sleep(0.01)  # waiting for another process, which has no fake clock
    process.kill()
    process.wait()
    return False


def start_fails(directory: Path, **settings: str) -> tuple[int, str]:
    """Start a server that is expected to give up; its exit status and what it logged."""
    chosen = {name.replace("_", "-"): value for name, value in settings.items()}
    process = _popen(directory, free_port(), chosen)
    try:
        status = process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise AssertionError("redis-server started although it was expected to refuse") from None
    return status, (directory / "redis.log").read_text(errors="replace")
