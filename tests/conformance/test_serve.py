"""`aofnb serve` where a test rig would run redis-server: started, watched and ended in the same ways."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from support.require import need
from support.server import Connection, available, free_port

import aofnb

_LINE = re.compile(r"^\d+:[CM] \d\d \w{3} \d{4} \d\d:\d\d:\d\d\.\d{3} [.*#-] ")


class Serving:
    """A running ``aofnb serve``, with the lines it logged so far."""

    def __init__(self, *words: str, program: Sequence[str] = (sys.executable, "-m", "aofnb", "serve")) -> None:
        self.process = subprocess.Popen(
            [*program, *words],
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
@pytest.mark.parametrize("limits", ["-Sn 500", "-n 500", "-n 20"])
def test_it_sees_that_its_clients_may_come(tmp_path, limits):
    """Lines and `maxclients` are redis-server's, also where there is no right to more than the hard limit."""
    need("redis-server", available())
    # Root has that right unless it is taken away.
    drop = "setpriv --bounding-set -sys_resource" if os.getuid() == 0 else ""
    before = ["sh", "-c", f'ulimit {limits}; exec {drop} "$@"', "sh"]
    told, most = [], []
    for program in ([sys.executable, "-m", "aofnb", "serve"], ["redis-server"]):
        folder, port = tmp_path / program[-1], free_port()
        folder.mkdir()
        running = Serving("--dir", str(folder), "--port", str(port), "--save", "", program=[*before, *program])
        with suppress(AssertionError):
            running.read_until("eady to accept connections")
            most.append(_talk(port, ("CONFIG", "GET", "maxclients")))
        running.process.kill()
        running.end()
        told.append([line.split(" ", 5)[5] for line in running.lines if re.search("open file|maxclients", line)])
    assert told[0] == told[1]
    assert told[0], "something is told in each case"
    assert [each == most[0] for each in most] == ([] if limits == "-n 20" else [True, True])


@pytest.mark.slow
def test_a_redis_conf_is_read(tmp_path):
    need("redis-cli", available("redis-cli"))
    data = tmp_path / "my data"
    data.mkdir()
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
        (("--daemonize", "perhaps"), "must be 'yes' or 'no'"),
        (("--loglevel", "loud"), "loglevel"),
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


@pytest.mark.slow
def test_settings_on_standard_input_count_as_a_file(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "aofnb", "serve", "-", "--port", "x"],
        input="hz 20\nuser ann on nopass +@all\n", capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "list users in a file" in done.stderr
    done = subprocess.run(
        [sys.executable, "-m", "aofnb", "serve", str(tmp_path / "data"), "-"],
        input="hz 20\nnosuch 1\n", capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert "standard input, line 2: nosuch is not known here" in done.stderr
    assert not (tmp_path / "data").exists()


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "aofnb", "serve", *words], capture_output=True, text=True, timeout=60
    )  # fmt: skip


def test_it_says_which_redis_it_stands_for():
    done = _run("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("Redis server v=7.0.15 ")


def test_a_settings_file_that_is_not_there_is_no_directory(tmp_path):
    done = _run(str(tmp_path / "redis.conf"))
    assert done.returncode == 1
    assert "redis.conf is not there" in done.stderr
    assert not (tmp_path / "redis.conf").exists()


@pytest.mark.slow
def test_a_port_that_is_taken_is_told_as_redis_tells_it(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = _run(str(tmp_path / "data"), "--port", str(port), "--bind", "127.0.0.1")
    assert done.returncode == 1
    assert f"Failed listening on port {port} (TCP), aborting." in done.stdout


@pytest.mark.slow
def test_a_redis_conf_as_debian_has_it_makes_a_daemon_with_snapshots(tmp_path):
    """Without ``appendonly yes`` in the file the snapshot of the end is what keeps the data, as in redis-server."""
    port = free_port()
    (tmp_path / "data").mkdir()
    (tmp_path / "more.conf").write_text(f"port {port}\nslave-read-only yes\n")
    (tmp_path / "redis.conf").write_text(
        f"dir {tmp_path}/data\ndaemonize yes\npidfile {tmp_path}/pid\nlogfile {tmp_path}/log\nalways-show-logo yes\n"
        f"include {tmp_path}/mo*.conf\n"
    )
    for starts, value in enumerate((None, b"v"), 1):
        assert _run(str(tmp_path / "redis.conf")).returncode == 0
        number = _within(20, lambda: int((tmp_path / "pid").read_text()))
        connection = _within(20, lambda: Connection(port))
        try:
            assert connection.execute("GET", "k") == value
            assert connection.execute("SET", "k", "v") == "OK"
            assert connection.execute("CONFIG", "GET", "port") == [b"port", str(port).encode()]
            assert f"tcp_port:{port}".encode() in connection.execute("INFO", "server")
        finally:
            connection.close()
            os.kill(number, signal.SIGTERM)
        _within(20, lambda ends=starts: 1 / ((tmp_path / "log").read_text().count("bye bye") // ends))
    log = (tmp_path / "log").read_text()
    for said in (f" PID: {number}", "Saving the final RDB snapshot before exiting.", "DB loaded from disk"):
        assert said in log
    assert not (tmp_path / "pid").exists()


# `aofnb serve` that gets SIGTERM when its load is over and a client has written, before it says that it is ready.
_TOLD_TO_END_EARLY = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from support.server import Connection
from aofnb.adapters import serve

def told(*given, said=serve._say_what_was_loaded):
    connection = Connection(int(sys.argv[-1]))
    assert connection.execute("SET", "k", "v") == "OK"
    connection.close()
    os.kill(os.getpid(), signal.SIGTERM)
    said(*given)

serve._say_what_was_loaded = told
sys.exit(serve.main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_signal_between_the_load_and_being_ready_loses_nothing(tmp_path):
    """Clients are served from the moment the data is there; an end from then on is one in good order."""
    code = _TOLD_TO_END_EARLY.format(tests=str(Path(__file__).parents[1]))
    settings = ("--appendonly", "no", "--save", "3600 1", "--port", str(free_port()))
    running = Serving(str(tmp_path / "data"), *settings, program=(sys.executable, "-c", code))
    assert running.end() == 0
    assert running.lines[-1].endswith("Redis is now ready to exit, bye bye...")
    with aofnb.open(tmp_path / "data", appendonly=False) as store:
        assert store.execute("GET", "k") == b"v"


def _within(seconds: float, attempt: Callable[[], Any]) -> Any:
    """What `attempt` gives as soon as it raises nothing; for what another process does."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return attempt()
        except (OSError, ValueError, ArithmeticError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


@pytest.mark.slow
def test_what_a_load_found_is_logged_in_the_words_of_redis(tmp_path):
    with aofnb.open(tmp_path / "data", aof_use_rdb_preamble=False) as store:
        store.execute("SET", "k", "v")
        store.execute("SET", "k", "w")
    [log] = (tmp_path / "data" / "appendonlydir").glob("*.incr.aof")
    log.write_bytes(log.read_bytes()[:-3])
    refused = _run(str(tmp_path / "data"), "--port", "0", "--aof-load-truncated", "no")
    assert refused.returncode == 1
    assert f"Unexpected end of file reading the append only file {log.name}. You can: 1)" in refused.stdout
    with serving(str(tmp_path / "data"), "--port", "0") as running:
        said = "\n".join(running.lines)
    assert f"!!! Warning: short read while loading the AOF file {log.name}!!!" in said
    assert f"AOF {log.name} loaded anyway because aof-load-truncated is enabled" in said
    assert f"DB loaded from incr file {log.name}:" in said
    assert f"Opening AOF incr file {log.name} on server start" in said


# Asked while data is loaded, in order, on one connection.
WHILE_LOADING = [
    "PING", "GET k1", "SET k1 x", "DBSIZE x", "NOSUCH", "EXISTS k1", "MULTI", "GET k1", "EXEC", "MULTI", "WATCH k1",
    "CONFIG GET hz", "EXEC", "UNWATCH", "CONFIG GET hz", "ECHO hello", "SELECT 1", "CLIENT GETNAME",
    "SUBSCRIBE c", "UNSUBSCRIBE c", "PUBLISH c m", "TIME x", "LASTSAVE x", "BGSAVE", "BGREWRITEAOF", "SAVE",
    "EVAL 'return_1' 0", "COMMAND COUNT x", "OBJECT HELP x", "SLOWLOG LEN", "LATENCY RESET", "ROLE x", "WAIT 0 0",
    "FLUSHALL", "DEBUG SLEEP 0", "ACL WHOAMI", "HELLO 9", "SCRIPT EXISTS x", "RESET", "ASKING",
]  # fmt: skip
LOADING_FIELDS = (
    "loading_start_time", "loading_total_bytes", "loading_rdb_used_mem", "loading_loaded_bytes", "loading_loaded_perc",
    "loading_eta_seconds",
)  # fmt: skip


def persistence_of(port: int) -> dict[str, str]:
    text = _talk(port, ("INFO", "persistence"))[0]
    assert isinstance(text, bytes)
    return dict(line.split(":", 1) for line in text.decode().split("\r\n") if ":" in line)


@pytest.mark.slow
def test_while_it_loads_clients_are_told_what_the_server_tells(tmp_path: Path) -> None:
    need("redis-server", available())
    for name in ("us", "redis"):
        with aofnb.open(tmp_path / name, appendfsync="no") as store:
            store.run([("SET", f"k{number}", "v" * 100_000) for number in range(100)])
            store.execute("BGREWRITEAOF")
            while store.stats().rewrite.phase != "idle":
                time.sleep(0.01)  # another process
    slow = ("--appendonly", "yes", "--enable-debug-command", "yes")
    told, fields = [], []
    for name in ("redis", "us"):
        port = free_port()
        words = ["--port", str(port), *slow, "--key-load-delay", "30000"]
        if name == "redis":
            # It gives others a turn each so many bytes.
            words += ["--loading-process-events-interval-bytes", "1024"]
            command = ["redis-server", "--dir", str(tmp_path / name), *words]
        else:
            command = [sys.executable, "-m", "aofnb", "serve", str(tmp_path / name), *words]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            while process.poll() is None:
                with suppress(ConnectionRefusedError):
                    connection = Connection(port)
                    break
                time.sleep(0.01)  # another process, which has no fake clock
            for line in WHILE_LOADING:
                connection.send(*line.split())
            told.append([str(connection.read()) for _ in WHILE_LOADING])
            fields.append(persistence_of(port))
            assert fields[-1]["loading"] == "1", f"{name}: it took too long to ask"
            moving = [int(fields[-1]["loading_loaded_bytes"])]
            while (now := persistence_of(port))["loading"] == "1":
                moving.append(int(now["loading_loaded_bytes"]))
                time.sleep(0.05)
            assert moving == sorted(moving)
            assert len(set(moving)) > 3, f"{name}: it moves while the data comes in"
            # The connection has lived through it.
            assert connection.execute("GET", "k99") == b"v" * 100_000
            connection.close()
        finally:
            process.terminate()
            assert process.wait(30) == 0
    assert told[1] == told[0]
    theirs, ours = (list(each) for each in fields)
    assert [field for field in ours if not field.startswith("aofnb_")] == theirs
    assert theirs[-len(LOADING_FIELDS) :] == list(LOADING_FIELDS)
    for each in fields:
        assert 0 <= int(each["loading_loaded_bytes"]) < int(each["loading_total_bytes"])
        assert float(each["loading_loaded_perc"]) < 100


@pytest.mark.slow
@pytest.mark.parametrize("end", ["SHUTDOWN", "SIGTERM"])
def test_a_load_can_be_ended(tmp_path: Path, end: str) -> None:
    with aofnb.open(tmp_path, appendfsync="no") as store:
        store.run([("SET", f"k{number}", "v") for number in range(100)])
        digest = store.execute("DEBUG", "DIGEST")
    port = free_port()
    running = Serving(str(tmp_path), "--port", str(port), "--key-load-delay", "1000000")
    try:
        running.read_until("Server initialized")
        while True:
            with suppress(ConnectionRefusedError):
                connection = Connection(port)
                break
            time.sleep(0.01)
        assert str(connection.execute("GET", "k1")).startswith("LOADING")
        if end == "SHUTDOWN":
            connection.send("SHUTDOWN")
        else:
            running.process.send_signal(signal.SIGTERM)
        assert running.end() == 0
        connection.close()
    finally:
        running.process.kill()
        running.end()
    with aofnb.open(tmp_path, readonly=True) as store:
        assert store.execute("DEBUG", "DIGEST") == digest
