"""CONFIG: every setting of the server under its name, with its values and its words."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.require import need
from support.server import Connection, RedisServer, available, free_port, redis_server

import aofnb
from aofnb.config_server import FIXED, SERVER_ALIASES

pytestmark = pytest.mark.server

# Here they are not as on a server: the log keeps the data; counting every command has its price; nothing is served.
OWN_DEFAULTS = {
    "appendfsync", "appendonly", "bind", "dir", "enable-debug-command", "latency-tracking", "port", "rdbcompression",
}  # fmt: skip
# To set these does something to the server that asks.
LEFT_ALONE = {"appendonly", "bind", "dbfilename", "dir", "maxclients", "port", "protected-mode", "requirepass"}
VALUES = [
    "", "x", "-1", "0", "1", "yes", "no", "YES", "01", "+1", " 1", "1 ", "1.5", "5%", "1k", "1KB", "1gbx", "-1mb",
    "2147483648", "4294967296", "9223372036854775807", "9223372036854775808", "99999999999999999999",
    "save nosave", "nosave now", "1 2 3", "1 2 3000", "{port}", "{x}", "a.b", "a_b",
]  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    need("redis-server", available())
    with redis_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def store() -> Iterator[aofnb.Store]:
    with aofnb.open(None, background=False) as store:
        yield store


def ask(execute: Callable[..., Any], *argv: Any) -> str:
    try:
        return str(execute(*argv))
    except aofnb.ReplyError as problem:
        return str(problem)


def all_of(execute: Callable[..., Any]) -> dict[str, str]:
    listed = [text.decode() for text in execute("CONFIG", "GET", "*")]
    return dict(zip(listed[::2], listed[1::2], strict=True))


def test_config_get_shows_every_setting_with_the_servers_default(store: aofnb.Store, server: RedisServer) -> None:
    theirs, mine = all_of(server.execute), all_of(store.execute)
    assert mine.keys() == theirs.keys()
    assert {name for name in mine if mine[name] != theirs[name]} <= OWN_DEFAULTS


@pytest.mark.parametrize("initial", "abcdehijlmnoprstuz")
def test_config_set_takes_and_refuses_what_the_server_does(
    store: aofnb.Store, server: RedisServer, initial: str
) -> None:
    """But for what has no effect here and would have one there."""
    sides = (server.execute, store.execute)
    different, asked = [], 0
    for name, before in all_of(store.execute).items():
        if not name.startswith(initial) or name in LEFT_ALONE:
            continue
        for value in (before, *VALUES):
            theirs, mine = ([ask(side, "CONFIG", "SET", name, value), side("CONFIG", "GET", name)] for side in sides)
            asked += 1
            if theirs[0] != "OK":
                theirs[1] = mine[1]
            reason = FIXED.get(SERVER_ALIASES.get(name, name), "-")
            if name == "maxmemory-clients" and value in ("9223372036854775808", "99999999999999999999"):
                # The server takes them for negative numbers, and so for percentages.
                continue
            if mine != theirs and not (theirs[0] == "OK" and mine[0].endswith(f" - {reason}")):
                different.append(f"{name} {value!r}: {mine}, the server {theirs}")
            for side in sides:
                ask(side, "CONFIG", "SET", name, before)
    assert asked
    assert not different, "\n".join(different)


def test_names_are_looked_at_before_any_value_as_on_the_server(store: aofnb.Store, server: RedisServer) -> None:
    lines = [
        "HZ 10 hz 20", "hz 10 HZ 20 nosuch 1", "NoSuch 1 hz x", "hz x nosuch 1", "hz x DAEMONIZE yes",
        "dir /x nosuch 1", "HZ x", "Slave-Priority x", "slave-priority 1 replica-priority 2", "nosuch 1 nosuch 2",
    ]  # fmt: skip
    theirs, mine = (
        [ask(side, "CONFIG", "SET", *line.split()) for line in lines] for side in (server.execute, store.execute)
    )
    assert mine == theirs
    for side in (server.execute, store.execute):
        ask(side, "CONFIG", "SET", "replica-priority", "100")


def test_what_is_rewritten_the_server_reads(tmp_path: Path) -> None:
    settings = {
        "replica-priority": "7", "cluster-node-timeout": "123", "masterauth": 'a "b', "tls-protocols": "TLSv1.3",
        "oom-score-adj-values": "1 2 3", "active-defrag-ignore-bytes": "1048576", "activerehashing": "no",
    }  # fmt: skip
    conf = tmp_path / "redis.conf"
    conf.write_text(f"dir {tmp_path}\nappendonly yes\nslave-priority 3\n# end\n")
    with aofnb.open(config_file=conf, background=False) as store:
        store.execute("CONFIG", "SET", *(word for pair in settings.items() for word in pair))
        assert store.execute("CONFIG", "REWRITE") == "OK"
    lines = conf.read_text().splitlines()
    assert lines[2] == "replica-priority 7", "where the file said it"
    with redis_server(tmp_path, config_file=str(conf)) as server:
        assert {name: server.execute("CONFIG", "GET", name)[1].decode() for name in settings} == settings


def test_too_few_replicas_refuse_writes_as_on_the_server(store: aofnb.Store, server: RedisServer) -> None:
    lines = [
        "CONFIG SET min-slaves-to-write 1", "SET k v", "GET k", "PING", "MULTI", "SET k v", "EXEC", "MULTI", "GET k",
        "EXEC", "CONFIG SET min-replicas-to-write 0", "SET k v",
    ]  # fmt: skip
    theirs, mine = ([ask(side, *line.split()) for line in lines] for side in (server.execute, store.execute))
    assert mine == theirs
    assert mine[1].startswith("NOREPLICAS")


def connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=10).close()
    except ConnectionRefusedError:
        return False
    return True


def test_port_bind_and_protected_mode_of_what_is_served(store: aofnb.Store, tmp_path: Path) -> None:
    """Clients that are connected stay; what cannot be leaves everything as it was."""
    told = []
    with (
        redis_server(tmp_path) as server,
        store.serve() as service,
        socket.create_server(("127.0.0.1", 0)) as taken,
    ):
        taken_port = taken.getsockname()[1]
        for first_port in (server.port, service.port):
            client, port = Connection(first_port), free_port()
            said = [client.execute("CONFIG", "SET", "port", port)]
            # The listener changes when the command is over.
            while connects(first_port):
                time.sleep(0.01)
            assert connects(port)
            said += [str(client.execute("CONFIG", "SET", "port", taken_port)).replace(str(taken_port), "TAKEN")]
            said += [str(client.execute("CONFIG", "SET", "bind", "127.0.0.1 198.51.100.1"))]
            assert connects(port)
            said += [client.execute("CONFIG", "SET", "bind", "127.0.0.1 -::1"), client.execute("CONFIG", "GET", "bind")]
            assert connects(port)
            assert client.execute("CONFIG", "GET", "port")[1] == b"%d" % port
            assert b"tcp_port:%d\r\n" % port in client.execute("INFO", "server")
            said += [client.execute("CONFIG", "SET", "protected-mode", "no"), client.execute("PING")]
            told.append(said)
            client.close()
        assert not service.protected_mode
        assert service.url.endswith(f":{port}")
    assert told[0] == told[1]
    with pytest.raises(aofnb.ReplyError, match="the store is not served"):
        store.execute("CONFIG", "SET", "port", 1)
