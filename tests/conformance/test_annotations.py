"""``aof-timestamp-enabled``: annotations stand where the server puts them, but for one more at the start of a file."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.require import need
from support.server import available, redis_server

import aofnb

pytestmark = pytest.mark.server


def early_in_a_second() -> None:
    """Come to the next second, so that what follows is done in it: the real server's clock is no fake."""
    time.sleep(1.02 - time.time() % 1)


def live(execute: Callable[..., Any]) -> None:
    early_in_a_second()
    for line in ("SET a 1", "SELECT 3", "SET b 1", "SET c 1", "SELECT 0"):
        execute(*line.split())
    early_in_a_second()
    for line in ("MULTI", "SET d 1", "INCR e", "EXEC", "SET f 1", "SET g 1 PX 100000"):
        execute(*line.split())
    execute("CONFIG", "SET", "aof-timestamp-enabled", "no")
    early_in_a_second()
    execute("SET", "off", 1)
    execute("CONFIG", "SET", "aof-timestamp-enabled", "yes")
    execute("SET", "on", 1)
    execute("SET", "on too", 1)


def files(directory: Path) -> dict[str, bytes]:
    """The log's files, times left out."""
    return {
        path.name: re.sub(rb"\d{10,13}", b"T", path.read_bytes()) for path in (directory / "appendonlydir").iterdir()
    }


def test_annotations_are_where_the_server_puts_them(tmp_path: Path) -> None:
    need("redis-server", available("redis-server"))
    settings = {"aof_timestamp_enabled": "yes", "aof_use_rdb_preamble": "no", "appendfsync": "no"}
    with redis_server(tmp_path / "redis", **settings) as server:
        live(server.execute)
    with aofnb.open(tmp_path / "aofnb", background=False, **settings) as store:
        live(store.execute)
    theirs, ours = files(tmp_path / "redis"), files(tmp_path / "aofnb")
    incr = "appendonly.aof.1.incr.aof"
    # If the base was made in the same second the server leaves the incr undated. Ours can be dated by itself.
    theirs[incr] = b"#TS:T\r\n" + theirs[incr].removeprefix(b"#TS:T\r\n")
    assert ours == theirs
    assert ours[incr].count(b"#TS:T\r\n") == 3
