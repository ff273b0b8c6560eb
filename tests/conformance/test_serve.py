"""`aofnb serve` where a test rig would run redis-server: started, watched and ended in the same ways."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support.server import Connection, free_port

import aofnb

_LINE = re.compile(r"^\d+:M \d\d \w{3} \d{4} \d\d:\d\d:\d\d\.\d{3} [.*#-] ")


class Serving:
    """A running ``aofnb serve``, with the lines it logged so far."""

    def __init__(self, *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "aofnb", "serve", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []

    def read_until(self, text: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if text in line:
                return
        raise AssertionError(f"{text!r} was never logged:\n" + "\n".join(self.lines))

    def end(self) -> int:
        assert self.process.stdout is not None
        if not self.process.stdout.closed:
            self.lines += self.process.stdout.read().splitlines()
            self.process.stdout.close()
        return self.process.wait(30)


@contextmanager
def serving(*words: str) -> Iterator[Serving]:
    running = Serving(*words)
    try:
        running.read_until("eady to accept connections")
        yield running
    finally:
        running.process.kill()
        running.end()


def _talk(port: int, *commands: tuple[str, ...]) -> list[object]:
    connection = Connection(port)
    try:
        return [connection.execute(*command) for command in commands]
    finally:
        connection.close()


@pytest.mark.slow
def test_it_serves_until_sigterm_and_keeps_everything(tmp_path):
    port = free_port()
    with serving(str(tmp_path / "data"), "--port", str(port), "--appendfsync", "always") as running:
        assert _talk(port, ("SET", "k", "v"), ("CONFIG", "GET", "appendfsync")) == ["OK", [b"appendfsync", b"always"]]
        assert _talk(port, ("BGREWRITEAOF",)) == ["Background append only file rewriting started"]
        running.read_until("Background AOF rewrite finished successfully")
        running.process.send_signal(signal.SIGTERM)
        assert running.end() == 0
        assert all(map(_LINE.match, running.lines))
        log = "\n".join(running.lines)
        for said in ("Server initialized", "Received SIGTERM scheduling shutdown...", "bye bye..."):
            assert said in log
    with aofnb.open(tmp_path / "data", readonly=True) as store:
        assert store.execute("GET", "k") == b"v"


@pytest.mark.slow
def test_shutdown_ends_it(tmp_path):
    port = free_port()
    with serving(str(tmp_path / "data"), "--port", str(port)) as running:
        connection = Connection(port)
        connection.execute("SET", "k", "v")
        with pytest.raises((ConnectionError, OSError)):
            connection.execute("SHUTDOWN", "NOSAVE")
        connection.close()
        assert running.end() == 0
    with aofnb.open(tmp_path / "data", readonly=True) as store:
        assert store.execute("GET", "k") == b"v"


@pytest.mark.slow
def test_a_redis_conf_is_read(tmp_path):
    data = tmp_path / "my data"
    (tmp_path / "redis.conf").write_text(
        f'# a comment\nbind 127.0.0.1 -::1\nport 0\nunixsocket "{tmp_path}/s"\nunixsocketperm 700\n'
        f'dir "{data}"\nappendonly yes\nappendfilename "log \\x41.aof"\ntimeout 0\nloglevel notice\n'
        "replica-read-only yes\nclient-output-buffer-limit normal 0 0 0\nclient-output-buffer-limit pubsub 1mb 1mb 10\n"
    )
    with serving(str(tmp_path / "redis.conf"), "--appendfsync", "no") as running:
        done = subprocess.run(
            ["redis-cli", "-s", str(tmp_path / "s"), "SET", "k", "v"], capture_output=True, timeout=30
        )
        assert done.stdout == b"OK\n"
        limits = ["CONFIG", "GET", "client-output-buffer-limit"]
        done = subprocess.run(["redis-cli", "-s", str(tmp_path / "s"), *limits], capture_output=True, timeout=30)
        assert done.stdout.endswith(b"normal 0 0 0 slave 268435456 67108864 60 pubsub 1048576 1048576 10\n")
        assert any("no effect here: replica-read-only" in line for line in running.lines)
        running.process.send_signal(signal.SIGINT)
        assert running.end() == 0
    assert list((data / "appendonlydir").glob("log A.aof.*"))
    assert not (tmp_path / "s").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--no-such-setting", "1"), "no-such-setting"),
        (("--daemonize", "yes"), "stays in the foreground"),
        (("--appendfsync", "sometimes"), "must be one of the following"),
        (("--port", "x"), "port"),
        (("--tls-port", "6380"), "there is no TLS"),
    ],
)
def test_what_cannot_be_is_refused_by_name(tmp_path, words, said):
    done = subprocess.run(
        [sys.executable, "-m", "aofnb", "serve", str(tmp_path / "data"), *words],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_load_that_fails_ends_with_status_1(tmp_path):
    with aofnb.open(tmp_path / "data", aof_use_rdb_preamble=False) as store:
        store.execute("SET", "k", "v")
    [log] = (tmp_path / "data" / "appendonlydir").glob("*.incr.aof")
    log.write_bytes(log.read_bytes() + b"garbage\r\n" + log.read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "aofnb", "serve", str(tmp_path / "data"), "--port", "0"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Bad file format reading the append only file" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
