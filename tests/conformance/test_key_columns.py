"""The columns `key` and `nkeys` against COMMAND GETKEYS of the real server, for logs that real servers wrote."""

import pandas as pd
import pytest
from support.require import need
from support.samples import sample
from support.server import available, redis_server

import aofnb
from aofnb.errors import ReplyError

pytestmark = pytest.mark.server

LOGS = [
    sample("01-rdb-base-incr"),
    sample("02-aof-base-incr"),
    sample("07-old-single-plain"),
    sample("single-plain", "redis-6.2.16"),
    sample("single-plain", "redis-3.2.13"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    need("redis-server", available())
    with redis_server(tmp_path_factory.mktemp("server"), appendonly="no") as running:
        yield running


@pytest.mark.parametrize("folder", LOGS, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_first_key_and_number_of_keys_are_the_servers(server, folder):
    df = aofnb.read_aof(folder / "data", columns=["status", "key", "nkeys", "args"], encoding=None)
    compared = 0
    for row in df[df["status"] == "ok"].itertuples():
        reply = server.execute("COMMAND", "GETKEYS", *row.args)
        # The server says "has no key arguments" as an error.
        keys = [] if isinstance(reply, ReplyError) else reply
        assert (row.key, row.nkeys) == (keys[0] if keys else pd.NA, len(keys)), row.args
        compared += bool(keys)
    assert compared > len(df) // 2
