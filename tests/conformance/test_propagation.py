"""Our incr file holds the same records as redis-server's for the same commands.

Each row of data/propagation.tsv runs on both: the commands before, then the commands whose records and replies
are compared. Instants near now are masked, and the members that SPOP happens to draw.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.records import masked, records
from support.require import need
from support.server import RedisServer, available, redis_server
from support.transcripts import split

import aofnb

ROWS = [
    line.rstrip("\n").split("\t")
    for line in (Path(__file__).parents[1] / "data" / "propagation.tsv").read_text().splitlines()
    if line and not line.startswith("#")
]
FAMILIES = sorted({family for family, _, _ in ROWS})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    need("redis-server", available())
    with redis_server(tmp_path_factory.mktemp("redis"), appendfsync="no") as server:
        server.execute("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        yield server


class Theirs:
    def __init__(self, server: RedisServer) -> None:
        self.execute = server.execute
        self._log = server.directory / "appendonlydir" / "appendonly.aof.1.incr.aof"

    def size(self) -> int:
        return self._log.stat().st_size

    def since(self, offset: int) -> bytes:
        return self._log.read_bytes()[offset:]


class Ours:
    def __init__(self, store: aofnb.Store) -> None:
        self._store = store
        assert store.path is not None
        self._log = Path(store.path) / "appendonlydir" / "appendonly.aof.1.incr.aof"

    def execute(self, *argv: Any) -> Any:
        try:
            return self._store.execute(*argv)
        except aofnb.ReplyError as problem:
            return problem

    size = Theirs.size
    since = Theirs.since


def run(side: Theirs | Ours, before: str, commands: str) -> tuple[list[Any], list[list[bytes]]]:
    side.execute("FLUSHALL")
    for name in (
        "lazyfree-lazy-expire",
        "lazyfree-lazy-user-del",
        "lazyfree-lazy-server-del",
        "lazyfree-lazy-user-flush",
    ):
        side.execute("CONFIG", "SET", name, "no")
    side.execute("SELECT", "0")
    # So that the log is in database 0 on both sides.
    side.execute("SET", "settle", "db0")
    side.execute("DEL", "settle")
    for command in filter(None, before.split(" ; ")):
        if command == "(wait)":
            time.sleep(0.06)  # the real server has no fake clock
        else:
            reply = side.execute(*split(command))
            assert not isinstance(reply, Exception), f"{command}: {reply}"
    offset = side.size()
    replies = [side.execute(*split(command)) for command in commands.split(" ; ")]
    side.execute("SELECT", "0")
    return replies, [masked(argv) for argv in records(side.since(offset))]


def comparable(reply: Any, commands: str) -> Any:
    if isinstance(reply, Exception):
        return f"({reply})"
    if isinstance(reply, list):
        items = [comparable(item, commands) for item in reply]
        return sorted(items, key=repr) if any(w in commands for w in ("SMEMBERS", "KEYS", "HGETALL")) else items
    if isinstance(reply, str):
        return reply.encode()
    return masked([reply])[0] if isinstance(reply, bytes) else reply


@pytest.mark.server
@pytest.mark.parametrize("family", FAMILIES)
def test_records_and_replies_are_the_servers(family: str, server: RedisServer, tmp_path: Path) -> None:
    different = []
    with aofnb.open(tmp_path / "us", appendfsync="no", background=False) as store:
        for _, before, commands in (row for row in ROWS if row[0] == family):
            our_replies, our_records = run(Ours(store), before, commands)
            their_replies, their_records = run(Theirs(server), before, commands)
            random_members = any(word in commands for word in ("SPOP", "RANDFIELD", "RANDMEMBER", "RANDOMKEY"))
            if random_members:
                our_records = [[argv[0], *argv[1:2]] for argv in our_records]
                their_records = [[argv[0], *argv[1:2]] for argv in their_records]
            if our_records != their_records:
                different.append(f"{before!r} then {commands!r}:\n  ours   {our_records}\n  theirs {their_records}")
            ours = [comparable(reply, commands) for reply in our_replies]
            theirs = [comparable(reply, commands) for reply in their_replies]
            if not random_members and ours != theirs:
                different.append(f"{before!r} then {commands!r}:\n  replies {ours}\n  theirs  {theirs}")
    assert not different, f"{len(different)} differences:\n" + "\n".join(different)
