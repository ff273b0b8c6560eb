"""CONFIG, INFO, LATENCY, SLOWLOG, DEBUG, SAVE, SHUTDOWN, switching the log: words and shapes of a real server."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.require import need
from support.server import Connection, RedisServer, available, redis_server

import aofnb
from aofnb.errors import ReplyError

pytestmark = pytest.mark.server


@pytest.fixture(scope="module", autouse=True)
def _redis_server() -> None:
    need("redis-server", available=available("redis-server"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def store(tmp_path: Path) -> Iterator[aofnb.Store]:
    with aofnb.open(tmp_path / "us") as store:
        yield store


def ours(store: aofnb.Store, *argv: Any) -> Any:
    try:
        return store.execute(*argv)
    except ReplyError as problem:
        return problem


SAME = [
    "CONFIG",
    "CONFIG FOO",
    "CONFIG GET",
    "CONFIG GET databases hz nosuch",
    "CONFIG GET APPENDONLY",
    "CONFIG GET nosuch",
    "CONFIG GET key-load-delay",
    "CONFIG GET rdb-key-save-delay",
    "CONFIG GET *-save-delay",
    "CONFIG GET h[^a]",
    "CONFIG SET foo",
    "CONFIG SET foo bar",
    "CONFIG SET foo bar appendfsync",
    "CONFIG SET hz 20 hz 30",
    "CONFIG SET hz abc",
    "CONFIG SET hz -1",
    "CONFIG SET latency-tracking-info-percentiles 101",
    "CONFIG SET latency-tracking-info-percentiles '50 x'",
    "CONFIG SET hz 20 appendfsync bad",
    "CONFIG GET hz",
    "CONFIG SET appendonly maybe",
    "CONFIG SET appenddirname x",
    "CONFIG SET dir /nonexistent",
    "CONFIG SET dbfilename other.rdb",
    "CONFIG SET save abc",
    "CONFIG SET save 900",
    "CONFIG SET latency-monitor-threshold -1",
    "CONFIG SET slowlog-max-len -1",
    "CONFIG SET slowlog-log-slower-than -2",
    "CONFIG SET auto-aof-rewrite-min-size lots",
    "CONFIG SET auto-aof-rewrite-percentage -1",
    "CONFIG RESETSTAT x",
    "CONFIG REWRITE",
    "CONFIG HELP",
    "LATENCY",
    "LATENCY FOO",
    "LATENCY HELP",
    "LATENCY LATEST",
    "LATENCY HISTORY command",
    "LATENCY RESET",
    "LATENCY GRAPH foo",
    "SLOWLOG",
    "SLOWLOG HELP",
    "SLOWLOG RESET",
    "SLOWLOG LEN",
    "SLOWLOG GET -2",
    "SLOWLOG GET abc",
    "SLOWLOG GET 1 2",
    "DEBUG RELOAD FOO",
    "DEBUG RELOAD",
    "DEBUG LOADAOF",
    "DEBUG AOF-FLUSH-SLEEP",
    "DEBUG AOF-FLUSH-SLEEP 0",
    "DEBUG LOG hello",
    "DEBUG ERROR abc",
    "DEBUG OBJECT nokey",
    "SAVE",
    "SAVE x",
    "BGSAVE FOO",
    "SHUTDOWN FOO",
    "SHUTDOWN ABORT",
    "SHUTDOWN SAVE NOSAVE",
]


@pytest.mark.parametrize("line", SAME)
def test_words_are_the_servers(store: aofnb.Store, server: RedisServer, line: str) -> None:
    argv = line.split()
    theirs, mine = server.execute(*argv), ours(store, *argv)
    measured = argv[:2] in (["LATENCY", "RESET"], ["LATENCY", "HISTORY"], ["LATENCY", "LATEST"], ["SLOWLOG", "LEN"])
    if measured and not isinstance(theirs, ReplyError):
        # What was slow on a busy machine is no matter of words.
        assert type(mine) is type(theirs)
    elif isinstance(theirs, ReplyError):
        assert str(mine) == str(theirs)
    elif isinstance(theirs, list):
        texts = [[item.decode() if isinstance(item, bytes) else item for item in reply] for reply in (mine, theirs)]
        assert texts[0] == texts[1] if "HELP" in line else sorted(map(str, texts[0])) == sorted(map(str, texts[1]))
    else:
        assert mine == theirs


def test_a_transaction_refuses_what_the_server_refuses(store: aofnb.Store, server: RedisServer) -> None:
    for execute in (server.execute, lambda *argv: ours(store, *argv)):
        execute("MULTI")
        assert str(execute("SAVE")) == "ERR Command not allowed inside a transaction"
        assert str(execute("EXEC")).startswith("EXECABORT")


def test_numbers_out_of_bounds_are_taken_for_the_nearest_where_the_server_does(server, tmp_path):
    with aofnb.open(None, background=False) as store:
        for hz, percentiles in (("501", "99.25 50.5555555 0"), ("0", ""), ("10", "50 99 99.9")):
            told = []
            for execute in (server.execute, store.execute):
                execute("CONFIG", "SET", "hz", hz, "latency-tracking-info-percentiles", percentiles)
                told.append(sorted(execute("CONFIG", "GET", "hz", "latency-tracking-info-percentiles")))
            assert told[0] == told[1]


def sections(text: bytes) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    name = ""
    for line in text.decode().splitlines():
        if line.startswith("# "):
            name = line
            found[name] = []
        elif line:
            found[name].append(line.split(":", 1)[0])
    return found


@pytest.mark.parametrize(
    "which", [(), ("all",), ("everything",), ("server", "foo", "keyspace"), ("default", "commandstats")]
)
def test_info_has_the_sections_of_the_server(store: aofnb.Store, server: RedisServer, which: tuple[str, ...]) -> None:
    theirs, mine = sections(server.execute("INFO", *which)), sections(store.execute("INFO", *which))
    assert list(mine) == list(theirs)
    # The last is of 7.4, as deadlines of hash fields are.
    own = {"aofnb_version", "python_version", "number_of_libraries", "expired_subkeys"}
    for name in mine.keys() - {"# Commandstats", "# Latencystats", "# Errorstats", "# Keyspace"}:
        known = [field for field in mine[name] if not field.startswith("aofnb_") and field not in own]
        assert set(known) <= set(theirs[name]), "no name of our own making"
        assert known == [field for field in theirs[name] if field in known], "in the server's order"
    assert store.execute("INFO", "nosuch") == b"" == server.execute("INFO", "nosuch")


def test_info_persistence_has_every_field(store: aofnb.Store, server: RedisServer) -> None:
    for value in ("no", "yes"):
        fields = []
        for execute in (store.execute, server.execute):
            assert execute("CONFIG", "SET", "appendonly", value) == "OK"
            fields.append([f for f in sections(execute("INFO", "persistence"))["# Persistence"] if "aofnb" not in f])
        assert fields[0] == fields[1]


def test_slow_commands_look_as_the_servers(store: aofnb.Store, server: RedisServer) -> None:
    shapes = []
    for execute in (server.execute, store.execute):
        execute("SLOWLOG", "RESET")
        execute("CONFIG", "SET", "slowlog-log-slower-than", 0, "latency-monitor-threshold", 1)
        execute("MULTI")
        execute("rpush", "slow", *range(40))
        execute("SET", "k", "x" * 200)
        execute("EXEC")
        execute("DEBUG", "SLEEP", "0.005")
        execute("CONFIG", "SET", "slowlog-log-slower-than", -1)
        entries = execute("SLOWLOG", "GET", -1)
        latest = [entry for entry in execute("LATENCY", "LATEST") if entry[0] == b"command"]
        history = execute("LATENCY", "HISTORY", "command")
        graph = execute("LATENCY", "GRAPH", "command").decode()
        doctor = execute("LATENCY", "DOCTOR").decode()
        shapes.append(
            [
                [entry[3] for entry in entries],
                [type(item) for item in entries[0]],
                [[type(item) for item in entry] for entry in latest],
                [type(item) for item in history[0]],
                re.sub(r"\d+", "N", graph.splitlines()[0]),
                len(graph.splitlines()),
                doctor.splitlines()[0],
                re.findall(r"\d+\. command: \d+ latency spikes \(average \d+ms, mean", doctor) != [],
            ]
        )
        execute("CONFIG", "SET", "slowlog-log-slower-than", 10000, "latency-monitor-threshold", 0)
    assert shapes[0] == shapes[1]


def test_debug_object_says_what_the_server_says(store: aofnb.Store, server: RedisServer) -> None:
    fills = [
        ("SET", "s", "v"),
        ("SET", "n", 12345),
        ("SADD", "i", 1, 2),
        ("ZADD", "z", 1, "a"),
        ("HSET", "h", "f", "v"),
    ]
    for argv in fills:
        lines = []
        for execute in (server.execute, store.execute):
            execute(*argv)
            line = execute("DEBUG", "OBJECT", argv[1])
            lines.append(re.sub(r"lru:\d+", "lru:N", re.sub(r"at:0x[0-9a-f]+", "at:N", line)))
        assert lines[0] == lines[1]


COMMANDS: list[tuple[Any, ...]] = [
    ("SET", "a", "1", "EX", 1000),
    ("RPUSH", "l", *range(300)),
    ("XADD", "x", "1-1", "f", "v"),
    ("ZADD", "z", 1.5, "m"),
    ("SELECT", 3),
    ("HSET", "h", "f", "v"),
]


@pytest.mark.parametrize("in_multi", [False, True])
def test_the_server_loads_what_switching_off_and_on_leaves(tmp_path: Path, in_multi: bool) -> None:
    with aofnb.open(tmp_path) as store:
        store.execute("SET", "early", 1)
        store.config_set("appendonly", False)
        store.run([*COMMANDS, ("DEL", "early")])
        switch = [("CONFIG", "SET", "appendonly", "yes"), ("SELECT", 0), ("SET", "meanwhile", 1)]
        store.run([("MULTI",), *switch, ("EXEC",)] if in_multi else switch)
        store.run([("SELECT", 5), ("SET", "late", 1), ("SELECT", 0), ("INCR", "a")])
        digest = store.execute("DEBUG", "DIGEST")
    with redis_server(tmp_path) as server:
        assert server.execute("DEBUG", "DIGEST") == digest
    with aofnb.open(tmp_path, readonly=True) as store:
        assert store.execute("DEBUG", "DIGEST") == digest


def test_snapshots_go_both_ways(tmp_path: Path) -> None:
    with aofnb.open(tmp_path, appendonly=False) as store:
        store.run(COMMANDS)
        digest = store.execute("DEBUG", "DIGEST")
        store.execute("SAVE")
    with redis_server(tmp_path, appendonly="no") as server:
        assert server.execute("DEBUG", "DIGEST") == digest
        server.execute("SET", "theirs", 1)
        digest = server.execute("DEBUG", "DIGEST")
        server.execute("SAVE")
    with aofnb.open(tmp_path, appendonly=False) as store:
        assert store.execute("DEBUG", "DIGEST") == digest


def test_config_rewrite_gives_a_file_that_the_server_reads(tmp_path: Path) -> None:
    conf = tmp_path / "redis.conf"
    conf.write_text(f"# mine\ndir {tmp_path}\nappendfsync everysec\nsave 900 1\nsave 300 10\n")
    with aofnb.open(config_file=conf) as store:
        store.execute(
            "CONFIG", "SET", "appendfsync", "always", "save", "60 5 30 7", "hz", 33, "latency-tracking", "yes"
        )
        store.execute("CONFIG", "REWRITE")
        names = ["appendfsync", "save", "hz", "auto-aof-rewrite-min-size", "latency-tracking", "dir"]
        mine = [store.config_get(name) for name in names]
    with redis_server(tmp_path, **settings_of(conf)) as server:
        assert [server.execute("CONFIG", "GET", name)[1].decode() for name in names] == mine


def test_a_file_that_the_server_rewrote_is_read_and_ours_says_the_same(tmp_path: Path) -> None:
    """The server always writes its users there."""
    said = {}
    for who in ("server", "ours"):
        (tmp_path / who).mkdir()
        conf = tmp_path / f"{who}.conf"
        conf.write_text(f"# mine\ndir {tmp_path / who}\nappendonly yes\nsave 900 1\nsave 300 10\n# end\n")
    with redis_server(tmp_path / "server", config_file=str(tmp_path / "server.conf")) as server:
        change_and_rewrite(server.execute)
    with aofnb.open(config_file=tmp_path / "ours.conf") as store:
        change_and_rewrite(store.execute)
    for who in ("server", "ours"):
        lines = (tmp_path / f"{who}.conf").read_text().replace(str(tmp_path / who), "DIR").splitlines()
        end = lines.index("# end")
        asked = ("user ", "requirepass ", "appendfsync ", "# Generated")
        said[who] = [line for line in lines[:end] if line], sorted(line for line in lines if line.startswith(asked))
    assert said["ours"] == said["server"]
    assert len(said["ours"][1]) == 5
    with aofnb.open(config_file=tmp_path / "server.conf") as store:
        users = [line.replace(b" sanitize-payload", b"").decode() for line in store.execute("ACL", "LIST")]
        assert users == [line.replace(" sanitize-payload", "") for line in said["server"][1] if line.startswith("user")]
        store.execute("CONFIG", "REWRITE")
    assert (tmp_path / "server.conf").read_text().count("\nuser ") == 2


def change_and_rewrite(execute: Callable[..., Any]) -> None:
    execute("ACL", "SETUSER", "ann", "on", ">secret", "~cart:*", "+@read")
    assert execute("CONFIG", "SET", "appendfsync", "no", "save", "100 5", "requirepass", 'a b"c') == "OK"
    execute("AUTH", 'a b"c')
    assert execute("CONFIG", "REWRITE") == "OK"


def settings_of(conf: Path) -> dict[str, str]:
    """The lines of the file as the server's own command line takes them: it reads both with the same parser."""
    pairs = (
        line.split(" ", 1) for line in conf.read_text().splitlines() if line and not line.startswith(("#", "user "))
    )
    return {name.replace("-", "_"): value.strip('"') for name, value in pairs}


def test_debug_object_tells_the_same_of_every_kind(store: aofnb.Store, server: RedisServer) -> None:
    lines = [
        "SET o:string hello",
        "SET o:number 12345",
        f"SET o:long {'a' * 100}",
        "RPUSH o:list a b c 1 2",
        "RPUSH o:nodes " + " ".join(str(number) * 9 for number in range(2000)),
        "SADD o:intset 1 2 3",
        "SADD o:set a b",
        "HSET o:hash f v",
        "ZADD o:zset 1 a 2.5 b",
        "XADD o:stream 1-1 f v",
        "PFADD o:hll a b",
    ]
    for line in lines:
        server.execute(*line.split())
        store.execute(*line.split())
        key = line.split()[1]
        told = [side.execute("DEBUG", "OBJECT", key) for side in (server, store)]
        theirs, mine = (re.sub(r"0x[0-9a-f]+|(?<=lru:)\d+|(?<=idle:)\d+", "", text) for text in told)
        assert mine == theirs


PROTOCOL_TYPES = (
    "string integer double bignum null array set map attrib push verbatim true false STRING nosuch".split()  # noqa: SIM905
)


@pytest.mark.parametrize("resp", [2, 3])
def test_debug_protocol_gives_the_servers_bytes(store: aofnb.Store, server: RedisServer, resp: int) -> None:
    with store.serve() as service:
        service.debug_commands = "yes"
        answers = []
        for port in (server.port, service.port):
            lines = [f"DEBUG PROTOCOL {name}" for name in PROTOCOL_TYPES] + ["DEBUG PROTOCOL", "PING", "QUIT"]
            with socket.create_connection(("127.0.0.1", port), timeout=60) as sock:
                sock.sendall("\r\n".join([f"HELLO {resp}", *lines, ""]).encode())
                answers.append(b"".join(iter(lambda sock=sock: sock.recv(65536), b"")).partition(b"modules")[2])
    assert answers[0] == answers[1]
    assert answers[0].endswith(b"+PONG\r\n+OK\r\n")


def test_client_list_has_the_servers_fields_in_its_order(store: aofnb.Store, server: RedisServer) -> None:
    with store.serve() as service:
        lines = []
        for port in (server.port, service.port):
            connection = Connection(port)
            connection.execute("MULTI")
            connection.execute("SET", "k", "v" * 100)
            connection.execute("DISCARD")
            lines.append(connection.execute("CLIENT", "INFO").decode())
            connection.close()
        lines.append(store.execute("CLIENT", "INFO").decode())
    theirs, served, inside = (dict(field.split("=") for field in line.split()) for line in lines)
    assert list(theirs) == list(served) == list(inside)
    same = {"name", "flags", "db", "sub", "multi", "argv-mem", "multi-mem", "obl", "oll", "omem", "cmd", "user", "resp"}
    assert {name: served[name] for name in same} == {name: theirs[name] for name in same}


def test_debug_config_rewrite_force_all(store: aofnb.Store, server: RedisServer, tmp_path: Path) -> None:
    for execute in (server.execute, lambda *argv: ours(store, *argv)):
        assert str(execute("DEBUG", "CONFIG-REWRITE-FORCE-ALL")) == "ERR CONFIG-REWRITE-FORCE-ALL failed: Bad address"
    conf = tmp_path / "redis.conf"
    conf.write_text(f"dir {tmp_path}\n# end\n")
    with aofnb.open(config_file=conf, background=False) as mine:
        mine.execute("DEBUG", "CONFIG-REWRITE-FORCE-ALL")
    written = {line.split()[0] for line in conf.read_text().splitlines() if line and not line.startswith("#")}
    assert {"hz", "appendfsync", "cluster-node-timeout", "replica-priority", "databases"} <= written
    with redis_server(tmp_path, config_file=str(conf)) as reader:
        assert reader.execute("CONFIG", "GET", "cluster-node-timeout")[1] == b"15000"


def test_resetstat_sets_to_zero_what_it_does_on_the_server(tmp_path: Path) -> None:
    """Counters of keys, commands, connections, replicas, snapshots and forks; sizes of what is there stay."""
    fields = [
        "total_connections_received", "rejected_connections", "sync_full", "sync_partial_ok", "sync_partial_err",
        "expired_keys", "evicted_keys", "evicted_clients", "keyspace_hits", "keyspace_misses", "total_forks",
        "latest_fork_usec", "total_error_replies", "rdb_saves", "aof_rewrites",
    ]  # fmt: skip
    seen = []
    with (
        redis_server(tmp_path / "redis") as server,
        aofnb.open(tmp_path / "us") as mine,
        mine.serve() as service,
    ):
        for port in (server.port, service.port):
            connection, replica = Connection(port), Connection(port)
            replica.send("PSYNC", "?", "-1")
            for line in ("SET k v", "GET k", "GET none", "NOSUCH", "BGREWRITEAOF"):
                connection.execute(*line.split())

            def info(connection: Connection = connection) -> dict[str, str]:
                lines = connection.execute("INFO", "everything").decode().split("\r\n")
                return dict(line.split(":", 1) for line in lines if ":" in line)

            deadline = time.monotonic() + 30
            while (now := info())["sync_full"] != "1" or now["aof_rewrite_in_progress"] == "1":
                assert time.monotonic() < deadline
                time.sleep(0.01)  # another process, which has no fake clock
            received, used = int(now["total_net_input_bytes"]), int(now["mem_clients_normal"])
            connection.execute("CONFIG", "RESETSTAT")
            now = info()
            less = int(now["total_net_input_bytes"]) < received
            # redis-server looks at it now and then.
            assert used > 0 or port == server.port
            seen.append([less, {field: now[field] for field in fields}])
            replica.close()
            connection.close()
    assert seen[1] == seen[0]
