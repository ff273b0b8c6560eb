"""Commands per call and pipelined: the store against redis-py on a redis-server, and fakeredis."""

from __future__ import annotations

import threading
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
                cases += _everysec(store, client, calls)
            else:
                cases += _always(store, client, SYNCED_CALLS // 10 if quick else SYNCED_CALLS)
            assert store.execute("GET", "key:7") == client.get("key:7")
            assert store.execute("DBSIZE") == client.dbsize()
    return cases


def _everysec(store: aofnb.Store, client: Any, calls: int) -> list[Case]:
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

    def ours_set_beside_a_busy_thread() -> None:
        stop = False

        def busy() -> None:
            while not stop:
                pass

        thread = threading.Thread(target=busy)
        thread.start()
        try:
            for key in keys[: calls // 10]:
                store.execute("SET", key, "value")
        finally:
            stop = True
            thread.join()

    server, fakes = "redis-py, unix socket", "fakeredis (keeps nothing)"
    return [
        Case(
            "SET, one call each, appendfsync everysec",
            "calls",
            rates({"aofnb": ours_set, server: theirs_set(client), fakes: theirs_set(fake)}, calls),
            (server, 10),
        ),
        Case(
            "GET, one call each",
            "calls",
            rates({"aofnb": ours_get, server: theirs_get(client), fakes: theirs_get(fake)}, calls),
            (server, 40),
        ),
        Case(
            f"SET, pipelines of {BATCH}, appendfsync everysec",
            "commands",
            rates({"aofnb": ours_pipeline, server: theirs_pipeline(client), fakes: theirs_pipeline(fake)}, calls),
        ),
        Case(
            "SET, one call each, appendfsync everysec, beside a thread that computes",
            "calls",
            rates({"aofnb": ours_set_beside_a_busy_thread}, calls // 10, rounds=2),
        ),
    ]


def _always(store: aofnb.Store, client: Any, calls: int) -> list[Case]:
    def ours() -> None:
        for i in range(calls):
            store.execute("SET", f"key:{i % 1000}", "value")

    def theirs() -> None:
        for i in range(calls):
            client.set(f"key:{i % 1000}", "value")

    result = rates({"aofnb": ours, "redis-py, unix socket": theirs}, calls)
    return [Case("SET, one call each, appendfsync always", "calls", result)]
