"""Keyspace events are the server's, in the server's order: for every row of data/propagation.tsv."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.calls import COMMANDS, FACTS, START, Calls, left_to_chance, not_compared
from support.require import need
from support.server import Connection, available, redis_server
from support.transcripts import split

import aofnb
from aofnb.errors import ReplyError

pytestmark = pytest.mark.server

TABLE = Path(__file__).parents[1] / "data" / "propagation.tsv"
ROWS = [line.split("\t") for line in TABLE.read_text().splitlines() if line and not line.startswith("#")]
FAMILIES = sorted({row[0] for row in ROWS})
END = "the end of a row"
# The order in which the fields of these are reported follows a hash table, or chance.
UNORDERED = ("SPOP", "RANDOMKEY")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    need("redis-server", available())
    with redis_server(tmp_path_factory.mktemp("server"), appendfsync="no") as running:
        running.execute("CONFIG", "SET", "notify-keyspace-events", "KEA")
        running.execute("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        yield running


def messages_of(execute: Callable[..., Any], next_message: Callable[[], Any], before: str, commands: str) -> list[Any]:
    execute("FLUSHALL")
    execute("SELECT", "0")
    for command in filter(None, before.split(" ; ")):
        if command == "(wait)":
            time.sleep(0.06)  # the real server has no fake clock
        else:
            execute(*split(command))
    until_now(execute, next_message)
    for command in commands.split(" ; "):
        execute(*split(command))
    execute("SELECT", "0")
    return [b" ".join(message).decode() for message in until_now(execute, next_message)]


def until_now(execute: Callable[..., Any], next_message: Callable[[], Any]) -> list[list[bytes]]:
    execute("PUBLISH", "__key", END)
    found = []
    while (message := next_message())[-1] != END.encode():
        found.append(message[2:])
    return found


class Ours:
    def __init__(self, store: aofnb.Store) -> None:
        self._session = store.session()
        self.messages: list[Any] = []
        listener = store.session()
        listener.on_push = self.messages.append
        listener.execute("PSUBSCRIBE", "__key*")
        self.messages.clear()

    def execute(self, *argv: Any) -> Any:
        try:
            return self._session.execute(*argv)
        except ReplyError as problem:
            return problem

    def next_message(self) -> Any:
        return self.messages.pop(0)


@pytest.mark.parametrize("family", FAMILIES)
def test_events_are_the_servers(family, server, tmp_path):
    listener: Connection = server.connect()
    listener.execute("PSUBSCRIBE", "__key*")
    different = []
    with aofnb.open(None, background=False, notify_keyspace_events="KEA") as store:
        us = Ours(store)
        for _, before, commands in (row for row in ROWS if row[0] == family):
            ours = messages_of(us.execute, us.next_message, before, commands)
            theirs = messages_of(server.execute, listener._reply, before, commands)
            if any(word in commands for word in UNORDERED):
                ours, theirs = sorted(ours), sorted(theirs)
            if ours != theirs:
                different.append(f"{before!r} then {commands!r}:\n  ours   {ours}\n  theirs {theirs}")
    listener.close()
    assert not different, f"{len(different)} differences:\n" + "\n".join(different)


def lookups(execute: Callable[..., Any]) -> list[int]:
    """The keys that readers found, and did not, so far."""
    return [int(count) for count in re.findall(rb"keyspace_(?:hits|misses):(\d+)", execute("INFO", "stats"))]


MISSES = (
    "GET a ; SET a 1 ; GET a ; EXISTS b ; TTL b ; TYPE b ; OBJECT ENCODING b ; LRANGE l 0 -1 ; RPUSH l 1 ; RPUSH l 2 ; "
    "SETEX a 9 1 ; HGET h f ; HSET h f 1 ; MGET a x ; RENAME a b ; COPY b c ; INCR n ; DEL zz ; SET s 1 XX ; SET s 1 NX"
)


def test_misses_and_new_keys_are_told_as_by_the_server(server):
    listener: Connection = server.connect()
    listener.execute("PSUBSCRIBE", "__key*")
    server.execute("CONFIG", "SET", "notify-keyspace-events", "KEAmn")
    theirs = messages_of(server.execute, listener._reply, "", MISSES)
    server.execute("CONFIG", "SET", "notify-keyspace-events", "KEA")
    listener.close()
    with aofnb.open(None, background=False) as store:
        store.config_set("notify-keyspace-events", "KEAmn")
        us = Ours(store)
        assert messages_of(us.execute, us.next_message, "", MISSES) == theirs
        store.config_set("notify-keyspace-events", "")
        us.execute("GET", "nothing")
        assert us.messages == []


@pytest.mark.parametrize("group", ["generic", "string bitmap", "list set hash", "sorted-set geo", "stream hyperloglog"])
def test_calls_of_every_kind_cause_the_events_and_the_counts_of_the_server(group, server):
    """All that a command may do by its grammar, with misses and new keys told too; and what INFO counts as found."""
    listener: Connection = server.connect()
    listener.execute("PSUBSCRIBE", "__key*")
    server.execute("CONFIG", "SET", "notify-keyspace-events", "KEAmn")
    different, called = [], 0
    with aofnb.open(None, background=False, notify_keyspace_events="KEAmn") as store:
        us = Ours(store)
        sides = ((us.execute, us.next_message), (server.execute, listener._reply))
        for name in (name for name in COMMANDS if FACTS[name]["group"] in group.split()):
            for execute, next_message in sides:
                execute("FLUSHALL")
                for argv in START:
                    execute(*argv)
                until_now(execute, next_message)
            for argv in Calls(name, 0).some(6):
                if not_compared(argv) or left_to_chance(argv):
                    continue
                counted = []
                for execute, _ in sides:
                    before = lookups(execute)
                    execute(*argv)
                    counted.append([now - then for now, then in zip(lookups(execute), before, strict=True)])
                if counted[0] != counted[1]:
                    different.append(f"{argv}: hits and misses {counted[0]}, the server's {counted[1]}")
                ours, theirs = (until_now(*side) for side in sides)
                called += 1
                if ours != theirs:
                    different.append(f"{argv}:\n  ours   {ours}\n  theirs {theirs}")
    server.execute("CONFIG", "SET", "notify-keyspace-events", "KEA")
    listener.close()
    assert called > 40
    assert not different, "\n".join(different)


def test_setting_is_spelled_as_the_server_spells_it(server):
    with aofnb.open(None, background=False) as store:
        for value in ("KEA", "KEAmn", "", "g$lshzxetdKEmn", "xz", "AmnKE", "q", "EA", "ng", "dn"):
            replies = []
            for execute in (Ours(store).execute, server.execute):
                error = execute("CONFIG", "SET", "notify-keyspace-events", value)
                replies.append([str(error), execute("CONFIG", "GET", "notify-keyspace-events")])
            assert replies[0] == replies[1], value
    server.execute("CONFIG", "SET", "notify-keyspace-events", "KEA")
