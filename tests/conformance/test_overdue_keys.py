"""Commands of two keys, one of them overdue and the other of any kind: the same replies, and the same DELs in the log.

Which keys are looked at before a command is refused decides which overdue ones go with it.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from support.records import records
from support.require import need
from support.server import available, redis_server
from support.transcripts import plain

import aofnb

pytestmark = pytest.mark.server

MADE = {
    "string": "SET {} 10",
    "list": "RPUSH {} a b c",
    "set": "SADD {} a b c",
    "hash": "HSET {} a 1",
    "zset": "ZADD {} 1 a 2 b",
    "stream": "XADD {} 1-1 a 1",
    "geo": "GEOADD {} 13 38 a",
    "hll": "PFADD {} a b",
    "none": "PING",
}
COMMANDS = [
    "SMOVE {} {} a", "LMOVE {} {} LEFT RIGHT", "RPOPLPUSH {} {}", "LCS {} {}", "SINTER {} {}", "SUNION {} {}",
    "SDIFF {} {}", "SINTERSTORE d {} {}", "SUNIONSTORE d {} {}", "SDIFFSTORE d {} {}", "SINTERSTORE {} {}",
    "SUNIONSTORE {} {}", "SDIFFSTORE {} {}", "SINTERCARD 2 {} {}", "ZUNION 2 {} {}", "ZINTER 2 {} {}", "ZDIFF 2 {} {}",
    "ZINTERCARD 2 {} {}", "ZUNIONSTORE d 2 {} {}", "ZINTERSTORE d 2 {} {}", "ZDIFFSTORE d 2 {} {}",
    "ZUNIONSTORE {} 1 {}", "ZINTERSTORE {} 1 {}", "ZDIFFSTORE {} 1 {}", "ZRANGESTORE {} {} 0 -1", "PFCOUNT {} {}",
    "PFMERGE {} {}", "PFMERGE d {} {}", "BITOP AND d {} {}", "BITOP OR {} {}", "COPY {} {}", "COPY {} {} REPLACE",
    "RENAME {} {}", "RENAMENX {} {}", "MSETNX {} 1 {} 2", "MSET {} 1 {} 2", "MGET {} {}", "EXISTS {} {}", "TOUCH {} {}",
    "DEL {} {}", "UNLINK {} {}", "SORT {} STORE {}", "SORT {} BY nosort GET {} STORE d", "LMPOP 2 {} {} LEFT",
    "ZMPOP 2 {} {} MIN", "BLPOP {} {} 0.01", "BRPOP {} {} 0.01", "BZPOPMIN {} {} 0.01", "BLMOVE {} {} LEFT LEFT 0.01",
    "XREAD STREAMS {} {} 0 0", "XREADGROUP GROUP g c STREAMS {} {} > >",
    "GEOSEARCHSTORE {} {} FROMLONLAT 13 38 BYRADIUS 9 km",
    "GEORADIUS {} 13 38 9 km STORE {}", "GEORADIUSBYMEMBER {} a 9 km STORE {}", "LPUSHX {} {}", "WATCH {} {}",
]  # fmt: skip


def run(side: Any, commands: list[list[str]]) -> list[Any]:
    replies = []
    for argv in commands:
        try:
            replies.append(plain(side.execute(*argv)))
        except aofnb.ReplyError as problem:
            replies.append(plain(problem))
    return replies


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_overdue_goes_when_it_does_on_the_server(command: str, tmp_path: Path) -> None:
    need("redis-server", available())
    # Every pair of kinds, with the first of them overdue, the second, or both: keys of their own, made at one time.
    made, asked = [["DEBUG", "SET-ACTIVE-EXPIRE", "0"]], []
    for first, make_first in MADE.items():
        for second, make_second in MADE.items():
            for overdue in ("1", "2", "12"):
                keys = [f"{first}:{second}:{overdue}:{number}" for number in (1, 2)]
                made += [make_first.format(keys[0]).split(), make_second.format(keys[1]).split()]
                made += [["PEXPIRE", keys[int(number) - 1], "300"] for number in overdue]
                asked += [command.format(*keys).split(), ["DEL", "d"]]
    with (
        redis_server(tmp_path / "redis", appendfsync="no", auto_aof_rewrite_percentage="0") as server,
        aofnb.open(tmp_path / "us", appendfsync="no", auto_aof_rewrite_percentage=0, background=False) as store,
    ):
        for side in (server, store):
            run(side, made)
        time.sleep(0.6)  # another process, which has no fake clock
        replies, logs = [], []
        for side, directory in ((server, "redis"), (store, "us")):
            (incr,) = (tmp_path / directory / "appendonlydir").glob("*.incr.aof")
            before = incr.stat().st_size
            replies.append(run(side, asked))
            logs.append(records(incr.read_bytes()[before:]))
    unordered = command.startswith(("SUNION ", "SDIFF ", "SINTER "))
    for argv, theirs, ours in zip(asked, *replies, strict=True):
        if unordered and isinstance(ours, list):
            ours, theirs = sorted(ours), sorted(theirs)
        assert ours == theirs, argv
    assert logs[1] == logs[0]
