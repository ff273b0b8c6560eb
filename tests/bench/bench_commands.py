"""Commands per call and pipelined: the store against redis-py on a redis-server, and fakeredis."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fakeredis
import redis
from support.server import redis_server

import aofnb
from tests.bench.harness import Case, rates

CALLS = 20_000
SYNCED_CALLS = 300
BATCH = 100


def run(directory: Path, quick: bool) -> list[Case]:
    """All cases; `quick` for a smoke test."""
    calls = CALLS // 20 if quick else CALLS
    cases = []
    for policy in ("everysec", "always"):
        where = directory / policy
        with (
            redis_server(where / "redis", appendfsync=policy, unixsocket=str(where / "s")) as _,
            redis.Redis(unix_socket_path=str(where / "s")) as client,
            aofnb.open(where / "aofnb", appendfsync=policy) as store,
        ):
            if policy == "everysec":
                cases += _everysec(store, client, calls, where)
                cases.append(_first_command(where))
            else:
                cases += _always(store, client, SYNCED_CALLS // 10 if quick else SYNCED_CALLS)
            assert store.execute("GET", "key:7") == client.get("key:7")
            assert store.execute("DBSIZE") == client.dbsize()
    return cases


def _everysec(store: aofnb.Store, client: Any, calls: int, directory: Path) -> list[Case]:
    fake = fakeredis.FakeRedis()
    names = [f"key:{i}" for i in range(1000)]
    keys = (names * (calls // 1000 + 1))[:calls]

    def ours_set() -> None:
        execute = store.execute
        for key in keys:
            execute("SET", key, "value")

    def ours_get() -> None:
        execute = store.execute
        for key in keys:
            execute("GET", key)

    def ours_pipeline() -> None:
        for start in range(0, calls, BATCH):
            store.run([("SET", key, "value") for key in keys[start : start + BATCH]])

    def theirs_set(r: Any) -> Callable[[], None]:
        def action() -> None:
            for key in keys:
                r.set(key, "value")

        return action

    def theirs_get(r: Any) -> Callable[[], None]:
        def action() -> None:
            for key in keys:
                r.get(key)

        return action

    def theirs_pipeline(r: Any) -> Callable[[], None]:
        def action() -> None:
            for start in range(0, calls, BATCH):
                pipe = r.pipeline(transaction=False)
                for key in keys[start : start + BATCH]:
                    pipe.set(key, "value")
                pipe.execute()

        return action

    goals = _GOALS[aofnb.kernels()["engine.turn"]]
    return [
        _case("SET, one call each, appendfsync everysec", calls, goals["set"], ours_set, theirs_set, client, fake),
        _case("GET, one call each", calls, goals["get"], ours_get, theirs_get, client, fake),
        _case(
            f"SET, pipelines of {BATCH}, appendfsync everysec",
            calls,
            goals["pipeline"],
            ours_pipeline,
            theirs_pipeline,
            client,
            fake,
        ),
        _beside_a_busy_thread(store, directory, calls),
    ]


# How many times faster than redis-py on a unix socket, with and without compiled kernels.
_GOALS = {
    "compiled": {"set": 20, "get": 100, "pipeline": 20},
    "python": {"set": 10, "get": 40, "pipeline": 6},
}


def _case(
    name: str,
    calls: int,
    goal: float,
    ours: Callable[[], None],
    theirs: Callable[[Any], Callable[[], None]],
    client: Any,
    fake: Any,
) -> Case:
    """By the clock; in notes also by the processor time of this process, which a busy machine disturbs less.

    That spares redis-py whatever its server does.
    """
    server, fakes = "redis-py, unix socket", "fakeredis (keeps nothing)"
    contenders = {"aofnb": ours, server: theirs(client), fakes: theirs(fake)}
    unit = "commands" if "pipelines" in name else "calls"
    case = Case(name, unit, rates(contenders, calls), (server, goal))
    by_cpu = rates(contenders, calls, rounds=3, clock=time.process_time)
    for who, rate in by_cpu.items():
        case.notes.append(f"{who}: {1e6 / rate:.2f} us of CPU here, {by_cpu['aofnb'] / rate:.1f} times ours")
    return case


def _beside_a_busy_thread(store: aofnb.Store, directory: Path, calls: int) -> Case:
    """What a command waits while a thread of the same process computes, beside a plain write of as many bytes."""
    waits: list[float] = []
    clock = time.perf_counter

    def ours() -> None:
        waits.clear()
        for i in range(calls):
            start = clock()
            store.execute("SET", f"key:{i % 1000}", "value")
            waits.append(clock() - start)

    def plain_writes() -> None:
        with open(directory / "plain", "wb", buffering=0) as file:
            for _ in range(calls // 100):
                file.write(bytes(37))

    def beside(action: Callable[[], None]) -> Callable[[], None]:
        def run_beside() -> None:
            stop = False

            def busy() -> None:
                while not stop:
                    pass

            thread = threading.Thread(target=busy)
            thread.start()
            try:
                action()
            finally:
                stop = True
                thread.join()

        return run_beside

    name = "os.write, one call each"
    found = rates({"aofnb": beside(ours), name: beside(plain_writes)}, {"aofnb": calls, name: calls // 100}, rounds=2)
    waits.sort()
    p50, p99 = (waits[len(waits) * part // 100] * 1e6 for part in (50, 99))
    return Case(
        "SET, one call each, appendfsync everysec, beside a thread that computes",
        "calls",
        found,
        notes=[f"SET: p50 {p50:.1f} us, p99 {p99:.1f} us (goal: 20)", "goal: 100 k calls/s"],
    )


# What a program pays that starts, sets one key and ends, the interpreter included.
_FIRST = {
    "aofnb": "import aofnb, sys; s = aofnb.open(sys.argv[1]); s.execute('SET', 'key:7', 'value'); s.close()",
    "redis-py, unix socket": "import redis, sys; redis.Redis(unix_socket_path=sys.argv[1]).set('key:7', 'value')",
}


def _first_command(where: Path) -> Case:
    best = dict.fromkeys(_FIRST, float("inf"))
    for _ in range(5):
        for who, code in _FIRST.items():
            target = where / "s" if who != "aofnb" else where / "first"
            said = subprocess.run(
                [sys.executable, "-c", f"{code}; import time; print(time.process_time())", str(target)],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            best[who] = min(best[who], float(said))
    case = Case("a program that sets one key: processor time", "programs", {who: 1 / s for who, s in best.items()})
    case.notes = [f"{who}: {seconds * 1e3:.0f} ms" for who, seconds in best.items()]
    return case


def _always(store: aofnb.Store, client: Any, calls: int) -> list[Case]:
    def ours() -> None:
        for i in range(calls):
            store.execute("SET", f"key:{i % 1000}", "value")

    def theirs() -> None:
        for i in range(calls):
            client.set(f"key:{i % 1000}", "value")

    result = rates({"aofnb": ours, "redis-py, unix socket": theirs}, calls)
    return [Case("SET, one call each, appendfsync always", "calls", result, ("redis-py, unix socket", 1.2))]
