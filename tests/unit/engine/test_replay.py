"""What the replayer makes of records that a server would never write, but that a log may hold."""

from __future__ import annotations

import io
import random

import pytest

from aofnb.clock import FakeClock
from aofnb.config import Config
from aofnb.engine import replay
from aofnb.engine.core import Engine
from aofnb.engine.replay import Replayer
from aofnb.errors import AofFormatError
from aofnb.rdb import rdb_pieces
from aofnb.resp.encode import encode_command
from aofnb.resp.reader import CommandReader
from aofnb.store.functions import parse_library
from aofnb.store.keyspace import Keyspace


def replayed(*commands: str) -> tuple[Engine, Replayer]:
    log = b"".join(encode_command(command.encode().split()) for command in commands)
    engine = Engine(Config(), FakeClock(), random.Random(1))
    replayer = Replayer(engine)
    with replayer.loading():
        for block in CommandReader(io.BytesIO(log), len(log)):
            replayer.replay("log", block)
    return engine, replayer


def test_a_write_before_a_transaction_is_not_taken_for_a_change_by_the_reads_in_it():
    engine, replayer = replayed("SET k v", "MULTI", "GET k", "PEXPIRE k 100000", "EXEC", "SET m v")
    assert not replayer.failed
    assert replayer.commands == 6
    assert engine.keyspace[0].lookup(b"m") == b"v"
    assert engine.effects == []


def test_errors_are_reported_with_their_place_and_the_rest_runs():
    engine, replayer = replayed("SET k v", "LPUSH k x", "MULTI", "INCR k", "SET a 1", "EXEC", "EXEC", "XGROUP HELP")
    assert [(failed.command, failed.offset) for failed in replayer.failed] == [
        ("LPUSH", 27),
        ("EXEC", 119),
        ("EXEC", 133),
    ]
    assert engine.keyspace[0].lookup(b"a") == b"1"


def test_deadlines_of_fields_are_kept_also_those_of_a_transaction_and_of_the_past():
    engine, replayer = replayed(
        "SELECT 3",
        "HSET h a 1 b 2",
        "HPEXPIREAT h 4102444800000 FIELDS 2 a b",
        "MULTI",
        "HSET h c 3",
        "HPEXPIREAT h 1 FIELDS 1 c",
        "hpersist h FIELDS 1 a",
        "EXEC",
        "SET k v",
    )
    assert not replayer.failed
    assert not replayer.skipped
    assert engine.keyspace[3].peek(b"h").deadlines == {b"b": 4102444800000, b"c": 1}


def test_such_a_command_with_too_few_words_is_damage():
    with pytest.raises(AofFormatError, match="wrong number of arguments"):
        replayed("HPEXPIREAT h 1")


def test_a_snapshot_is_loaded_overdue_keys_and_libraries_included():
    source = Keyspace(2, lambda: 0)
    source[1].put(b"k", b"v")
    source[1].set_deadline(b"k", 1)
    code = b"#!lua name=lib\nredis.register_function('f', function() return 7 end)"
    source.functions["lib"] = parse_library(code)
    aux = [(b"redis-ver", b"7.0.15"), (b"shoe-size", b"44"), (b"%note", b"x")]
    data = b"".join(piece for _, piece in rdb_pieces(source, aux=aux))
    engine = Engine(Config(), FakeClock(), random.Random(1))
    replayer = Replayer(engine)
    told: list[int] = []
    with replayer.loading():
        loaded = replayer.restore("base", io.BytesIO(data + b"*1"), len(data) + 2, told.append)
        assert engine.keyspace[1].deadline_ms(b"k") == 1
    assert (loaded.end, replayer.snapshot_keys, replayer.skipped, told) == (len(data), 1, [], [len(data)])
    assert engine.keyspace.functions["lib"].code == code
    assert engine.keyspace.dirty == 0
    assert [warning for warning in replayer.warnings if "base" in warning and "shoe-size" in warning]
    assert len(replayer.warnings) == 1


def test_key_load_delay_rests_behind_each_command_and_each_key_of_a_snapshot(monkeypatch):
    """A test aid that CONFIG GET * does not show."""
    rests = []
    monkeypatch.setattr(replay, "key_delay", lambda delay, _sleep: lambda: rests.append(delay))
    data = Keyspace(1, lambda: 0)
    data[0].put(b"a", b"1")
    data[0].put(b"b", b"2")
    blob = b"".join(piece for _, piece in rdb_pieces(data))
    engine = Engine(Config({"key_load_delay": 7}), FakeClock(), random.Random(1))
    replayer = Replayer(engine)
    with replayer.loading():
        replayer.restore("base", io.BytesIO(blob), len(blob))
        assert rests == [7, 7]
        log = encode_command([b"SET", b"k", b"v"]) * 3
        for block in CommandReader(io.BytesIO(log), len(log)):
            replayer.replay("log", block)
    assert rests == [7] * 5


def test_what_is_about_the_server_is_not_run_and_told():
    engine, replayer = replayed(
        "SET k v",
        "SHUTDOWN NOSAVE",
        "DEBUG SLEEP 100",
        "MULTI",
        "CONFIG SET hash-max-listpack-entries 1",
        "CLIENT PAUSE 100000",
        "SET a 1",
        "EXEC",
        "SET b 1",
    )
    assert [(failed.command, failed.offset) for failed in replayer.failed] == [
        ("SHUTDOWN", 27),
        ("DEBUG", 57),
        ("CONFIG SET", 107),
        ("CLIENT PAUSE", 171),
    ]
    assert sorted(engine.keyspace[0].keys()) == [b"a", b"b", b"k"]
    assert engine.config.hash_max_listpack_entries == 512
    assert replayer.commands == 9


def test_reads_are_not_run_but_for_one_that_writes():
    engine, replayer = replayed("SADD s a", "SRANDMEMBER s -2147483648", "LPUSH l x", "GET l", "PFADD h a", "PFCOUNT h")
    assert not replayer.failed
    # The topmost bit of the cached number says that it is out of date.
    assert engine.keyspace[0].lookup(b"h")[15] & 0x80 == 0
    with pytest.raises(AofFormatError, match="wrong number of arguments"):
        replayed("GET")


@pytest.mark.parametrize(
    "command", ["SETRANGE k 9223372036854775800 x", "SETBIT k 4294967296 1", "BITFIELD k SET u8 922337203685477580 1"]
)
@pytest.mark.parametrize("transaction", [False, True])
def test_a_string_that_nobody_can_hold_is_damage_with_its_place(command, transaction):
    commands = ["MULTI", command, "EXEC"] if transaction else [command]
    with pytest.raises(AofFormatError, match="proto_max_bulk_len") as caught:
        replayed("SET k v", *commands, "SET a 1")
    assert caught.value.offset >= 27
    assert caught.value.file == "log"


def test_running_out_of_memory_has_a_place_too(monkeypatch):
    def no_memory(*_args):
        raise MemoryError

    monkeypatch.setattr("aofnb.commands.strings._check_length", no_memory)
    for commands in (["APPEND k x"], ["MULTI", "APPEND k x", "EXEC"]):
        with pytest.raises(AofFormatError, match="more memory") as caught:
            replayed("SET k v", *commands)
        assert caught.value.offset is not None
