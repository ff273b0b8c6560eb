"""The store on a socket: processor time per request beside redis-server's, and redis-py in process beside a socket.

Processor time, not rate: redis-benchmark shares the machine with what it measures. It is read from /proc for both,
while both log with appendfsync everysec and take turns.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from support.server import redis_server

import aofnb
from tests.bench.harness import Case, cpu_s, rates

REQUESTS = 100_000
CALLS = 20_000
_SERVE = (
    "import aofnb, sys\n"
    "store = aofnb.open(sys.argv[1], appendfsync='everysec')\n"
    "server = store.serve()\n"
    "print(server.port, flush=True)\n"
    "sys.stdin.read()\n"
    "store.close()\n"
)


def run(directory: Path, quick: bool) -> list[Case]:
    """All cases; `quick` for a smoke test."""
    requests = REQUESTS // 20 if quick else REQUESTS
    goal = 1 / 1.25 if aofnb.kernels()["engine.turn"] == "compiled" else 1 / 2
    cases = []
    with (
        _ours(directory / "aofnb") as (our_pid, our_port),
        redis_server(directory / "redis", appendfsync="everysec") as server,
    ):
        for pipeline in (1, 16):
            for test in ("set", "get"):
                best = {"aofnb": float("inf"), "redis-server": float("inf")}
                for _round in range(1 if quick else 3):
                    for name, pid, port in (
                        ("aofnb", our_pid, our_port),
                        ("redis-server", server.process.pid, server.port),
                    ):
                        before = cpu_s(pid)
                        _benchmark(port, test, requests, pipeline)
                        best[name] = min(best[name], cpu_s(pid) - before)
                per_second = {name: requests / seconds for name, seconds in best.items()}
                case = Case(
                    f"{test.upper()} over a socket, 50 clients, pipelines of {pipeline}: requests per second of CPU",
                    "requests",
                    per_second,
                    ("redis-server", goal),
                )
                case.notes = [f"{name}: {seconds / requests * 1e6:.2f} us of CPU" for name, seconds in best.items()]
                cases.append(case)
    return [*cases, *_in_process(directory / "in-process", CALLS // 20 if quick else CALLS)]


def _benchmark(port: int, test: str, requests: int, pipeline: int) -> None:
    subprocess.run(
        ["redis-benchmark", "-p", str(port), "-t", test, "-n", str(requests), "-c", "50", "-P", str(pipeline), "-q"],
        check=True,
        stdout=subprocess.DEVNULL,
    )


@contextmanager
def _ours(directory: Path) -> Iterator[tuple[int, int]]:
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVE, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.pid, int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(30)


def _in_process(directory: Path, calls: int) -> list[Case]:
    with (
        redis_server(directory / "redis", appendfsync="everysec", unixsocket=str(directory / "s")) as _,
        redis.Redis(unix_socket_path=str(directory / "s")) as theirs,
        aofnb.Redis(directory / "aofnb", appendfsync="everysec") as ours,
    ):
        cases = []
        for name in ("set", "get"):

            def action(client: redis.Redis, name: str = name) -> None:
                for i in range(calls):
                    if name == "set":
                        client.set("key", i)
                    else:
                        client.get("key")

            unix = "redis-py, unix socket"
            measured = rates({"aofnb": lambda a=action: a(ours), unix: lambda a=action: a(theirs)}, calls)
            cases.append(Case(f"redis.Redis.{name} in process", "calls", measured, (unix, 2)))
        assert ours.get("key") == theirs.get("key")
        return cases
