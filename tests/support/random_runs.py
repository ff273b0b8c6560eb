"""Random commands on us and on a real server: the same replies, and the same bytes in the log.

For commands whose outcome is determined; where a server chooses an order, the order is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from support.server import redis_server
from support.transcripts import plain

import aofnb

__all__ = ["UNORDERED", "check_random_run", "in_any_order"]

# The order of these is the server's own choice once the value is a hashtable.
UNORDERED = {
    "HGETALL",
    "HKEYS",
    "HRANDFIELD",
    "HSCAN",
    "HVALS",
    "KEYS",
    "SDIFF",
    "SINTER",
    "SMEMBERS",
    "SPOP",
    "SRANDMEMBER",
    "SSCAN",
    "SUNION",
    "ZSCAN",
}


def check_random_run(tmp_path: Path, commands: Iterable[Sequence[str]], **settings: Any) -> None:
    """Run `commands`, none of which may wait, on both and compare reply for reply, then the incr files."""
    settings = {"appendfsync": "no", "auto_aof_rewrite_percentage": 0, **settings}
    theirs = {name: str(value) for name, value in settings.items()}
    with (
        redis_server(tmp_path / "redis", **theirs) as server,
        aofnb.open(tmp_path / "us", background=False, **settings) as store,
    ):
        for argv in commands:
            ours = in_any_order(argv, _reply(store.execute, argv))
            real = in_any_order(argv, _reply(server.execute, argv))
            assert ours == real, f"{argv}: we gave {ours!r}, redis-server {real!r}"
        written = server.incr
    (incr,) = (tmp_path / "us" / "appendonlydir").glob("*.incr.aof")
    assert incr.read_bytes() == written


def _reply(execute: Callable[..., Any], argv: Sequence[str]) -> Any:
    try:
        return plain(execute(*argv))
    except aofnb.ReplyError as problem:
        return plain(problem)


def in_any_order(argv: Sequence[str], reply: Any) -> Any:
    """`reply` without what is left to a server: the order of a hashtable; redis-py drops ERR inside of EXEC."""
    if isinstance(reply, str):
        return reply.replace("(ERR ", "(")
    if not isinstance(reply, list):
        return reply
    name = argv[0].upper()
    if name == "SCAN":
        return [reply[0], sorted(reply[1])]
    if name not in UNORDERED:
        return [in_any_order(argv, item) for item in reply]
    if name in ("HSCAN", "SSCAN", "ZSCAN"):
        return [reply[0], _sorted(reply[1], in_pairs=name != "SSCAN")]
    return _sorted(reply, in_pairs=name == "HGETALL" or (name == "HRANDFIELD" and len(argv) == 4))


def _sorted(items: list[Any], *, in_pairs: bool) -> list[Any]:
    return sorted(zip(items[::2], items[1::2], strict=True)) if in_pairs else sorted(items)
