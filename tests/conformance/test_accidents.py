"""What a log of a real server answers, against what that server itself said at the time: states, causes, repairs."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.random_logs import random_commands
from support.require import need
from support.server import Connection, RedisServer, available, redis_server

import aofnb
from aofnb.clock import FakeClock
from aofnb.store.digest import keyspace_digest

pytestmark = pytest.mark.server

FLUSH_AT, REWRITE_AT, COMMANDS = 430, 200, 700


@pytest.fixture(scope="module", autouse=True)
def _server() -> None:
    need("redis-server", available())


# --- states ----------------------------------------------------------------------------------------------


@dataclass
class Told:
    """A log, and what its server said: DEBUG DIGEST at places of it; `flush` is the place of a FLUSHALL."""

    directory: Path
    digests: dict[str, str]
    flush: str
    before_flush: str


def _place(server: RedisServer) -> str:
    files = sorted((server.directory / "appendonlydir").glob("*.incr.aof"), key=lambda p: int(p.name.split(".")[-3]))
    return f"{files[-1].name}:{files[-1].stat().st_size}"


def _state(server: RedisServer) -> tuple[str, str]:
    """A place, and the digest of the data there: in between the server may have deleted an overdue key."""
    while True:
        place, digest = _place(server), server.execute("DEBUG", "DIGEST")
        if _place(server) == place:
            return place, digest


@pytest.fixture(scope="module", params=[1, 2])
def told(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Commands of every type on a real server, a rewrite and a FLUSHALL in the middle."""
    home = tmp_path_factory.mktemp("told")
    commands = random_commands(random.Random(request.param), COMMANDS, keys=12)
    digests: dict[str, str] = {}
    flush = before_flush = ""
    in_multi = rewritten = False
    with redis_server(home, aof_timestamp_enabled="yes") as server:
        for number, argv in enumerate(commands):
            if not in_multi and number >= REWRITE_AT and not rewritten:
                rewritten = True
                server.execute("BGREWRITEAOF")
                while b"aof_rewrite_in_progress:0" not in server.execute("INFO", "persistence"):
                    time.sleep(0.01)  # another process works
            if not in_multi and number >= FLUSH_AT and not flush:
                flush, before_flush = _state(server)
                server.execute("FLUSHALL")
            server.execute(*argv)
            name = argv[0].upper()
            in_multi = name == b"MULTI" or (in_multi and name != b"EXEC")
            if not in_multi and number % 10 == 0:
                place, digest = _state(server)
                digests[place] = digest
    return Told(home, digests, flush, before_flush)


def test_the_state_at_every_place_is_what_the_server_said_there(told: Told) -> None:
    log = aofnb.scan(told.directory)
    live = {part.name for part in log.parts}
    places = {place: digest for place, digest in told.digests.items() if place.split(":")[0] in live}
    assert len(places) > 15
    for place, digest in places.items():
        with log.at(place) as store:
            assert keyspace_digest(store.engine.keyspace) == digest, place


def test_undo_in_every_mode_gives_what_was_there(told: Told, tmp_path: Path) -> None:
    log = aofnb.scan(told.directory)
    flush = log.position(told.flush)
    while log.to_pandas(columns=["cmd"], start=flush.seq, nrows=1)["cmd"].iloc[0] != "FLUSHALL":
        flush = log.position(flush.seq + 1)
    for mode in ("rewind", "excise", "graft"):
        written = log.undo(flush, mode=mode).write(tmp_path / mode)  # type: ignore[arg-type]
        assert written.server_digest == written.digest or "deadline" in written.server_digest
        if mode == "rewind":
            assert written.digest == told.before_flush
    with (
        log.at(flush) as before,
        log.at("end") as now,
        aofnb.open(tmp_path / "graft", readonly=True, progress=False) as made,
    ):
        for db in range(3):
            old, new, grafted = (values(store, db) for store in (before, now, made))
            # What has come again with a deadline that is over by now stays as it is, too: gone.
            assert {key: old.get(key) for key in {**old, **new}.keys() - grafted.keys() - overdue(now, db)} == {}
            assert {**old, **new}.items() >= grafted.items()


def test_the_states_before_and_behind_any_stop(told: Told, tmp_path: Path) -> None:
    log = aofnb.scan(told.directory)
    live = {part.name for part in log.parts}
    places = [place for place in told.digests if place.split(":")[0] in live]
    for number, place in enumerate(places[:: len(places) // 4]):
        written = log.recover(stop=place).write(tmp_path / str(number))
        assert written.digest == told.digests[place]
        assert written.server_digest == written.digest or "deadline" in written.server_digest


def values(store: aofnb.Store, db: int) -> dict[bytes, bytes]:
    """What each key without a deadline holds: deadlines pass while this runs."""
    session = store.session()
    session.execute("SELECT", db)
    return {
        key: session.execute("DEBUG", "DIGEST-VALUE", key)[0]
        for key in session.execute("KEYS", "*")
        if session.execute("PEXPIRETIME", key) == -1
    }


def overdue(store: aofnb.Store, db: int) -> set[bytes]:
    return {key for key, _, deadline in store.engine.keyspace[db].walk() if deadline is not None}


# --- causes ----------------------------------------------------------------------------------------------


def _events(connection: Connection) -> Iterator[tuple[str, bytes]]:
    """What keyspace notifications said, up to a key named ``over``."""
    while True:
        _, _, channel, key = connection.read()
        if key == b"over":
            return
        yield channel.decode().split(":")[-1], key


def test_why_each_key_went_is_what_the_server_notified(tmp_path: Path) -> None:
    """Clients write small, so that what the server did by itself can be told from what they did."""
    settings = {"aof_timestamp_enabled": "yes", "notify_keyspace_events": "Exeg", "hz": "100"}
    with redis_server(tmp_path, **settings) as server:
        listener = server.connect()
        listener.execute("PSUBSCRIBE", "__keyevent@*")
        for n in range(20):
            server.execute("hset", f"page:{n}", "html", "x" * 300)
            server.execute("expire", f"page:{n}", 600)
            server.execute("set", f"session:{n}", "x" * 200, "EX", 600)
            server.execute("append", f"plain:{n}", "x" * 100)
            server.execute("set", f"short:{n}", "x", "PX", 1100)
        for key in ("page:1", "session:1", "plain:1"):
            server.execute("del", key)
        while server.execute("dbsize") > 57:
            time.sleep(0.02)  # the server's own clock
        # The second in which they expired must be over for the log.
        server.execute("config", "set", "maxmemory-policy", "allkeys-random")
        used = int(server.execute("info", "memory").split(b"used_memory:")[1].split(b"\r")[0])
        server.execute("config", "set", "maxmemory", used - 4000)
        server.execute("append", "plain:0", "x" * 4000)
        server.execute("config", "set", "maxmemory", 0)
        server.execute("hset", "over", "f", "v")
        server.execute("del", "over")
        truth = {key.decode(): event for event, key in _events(listener) if event in ("del", "expired", "evicted")}
        listener.close()
    assert sorted(set(truth.values())) == ["del", "evicted", "expired"]
    assert list(truth.values()).count("expired") == 20
    log = aofnb.scan(tmp_path)
    meant = {"del": "delete", "expired": "expiry", "evicted": "eviction suspected"}
    assert {key: str(log.history(key).cause.iloc[-1]) for key in truth} == {
        key: meant[event] for key, event in truth.items()
    }


def test_a_deletion_in_capitals_is_a_clients_where_clients_write_capitals(tmp_path: Path) -> None:
    with redis_server(tmp_path, aof_timestamp_enabled="yes") as server:
        for n in range(5):
            server.execute("SET", f"k:{n}", "v", "EX", 600)
            server.execute("RPUSH", "list", n)
        server.execute("DEL", "k:1")
        server.execute("SPOP", "nothing")
    assert str(aofnb.scan(tmp_path).history("k:1").cause.iloc[-1]) == "delete"


# --- a log that grows ------------------------------------------------------------------------------------


class Steps(FakeClock):
    """A clock whose waiting is when things happen on the server: the next step each time, then the end."""

    def __init__(self, steps: list[Callable[[], object]]) -> None:
        super().__init__()
        self.steps = steps
        self.follow: Any = None

    def wait(self, condition: object, timeout_s: float | None) -> None:
        if self.steps:
            self.steps.pop(0)()
        else:
            self.follow.stop()


def test_follow_misses_nothing_and_tells_nothing_twice_over_rewrites(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:

        def write(*keys: str) -> None:
            for key in keys:
                server.execute("SET", key, "v")

        def rewrite() -> None:
            server.execute("BGREWRITEAOF")
            write("while it is rewritten")
            while b"aof_rewrite_in_progress:1" in server.execute("INFO", "persistence"):
                time.sleep(0.01)  # another process works
            write("just behind")

        def transaction() -> None:
            for argv in (["MULTI"], ["SET", "m", "1"], ["SET", "n", "1"], ["EXEC"]):
                server.execute(*argv)

        write("before")
        clock = Steps([lambda: write("a", "b"), rewrite, transaction, rewrite, lambda: write("z")])
        clock.follow = aofnb.scan(tmp_path).follow(columns=["part", "key", "cmd"], clock=clock)
        frames = list(clock.follow)
    keys = [key for frame in frames for key in frame[frame.cmd == "SET"].key]
    over = ["while it is rewritten", "just behind"]
    assert keys == ["a", "b", *over, "m", "n", *over, "z"]
    assert len({str(part) for frame in frames for part in frame.part}) == 3
