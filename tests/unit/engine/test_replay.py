"""What the replayer makes of records that a server would never write, but that a log may hold."""

from __future__ import annotations

import io
import random

from aofnb.clock import FakeClock
from aofnb.config import Config
from aofnb.engine.core import Engine
from aofnb.engine.replay import Replayer
from aofnb.resp.encode import encode_command
from aofnb.resp.reader import CommandReader


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
