"""Commands given to us and to a real server in step, replies and logs compared."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

from support.records import records
from support.server import redis_server
from support.transcripts import plain

import aofnb
from aofnb.errors import ReplyError

__all__ = ["Run"]


class Run:
    """A store of ours and a real server, both empty and both logging, for the length of a ``with`` block."""

    def __init__(self, directory: Path) -> None:
        self._ours = directory / "us"
        self._server = redis_server(directory / "redis", appendfsync="no")
        self._past: list[tuple[Any, ...]] = []

    def __enter__(self) -> Run:
        self.redis = self._server.__enter__()
        self.store = aofnb.open(self._ours, appendfsync="no")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.store.close()
        self._server.__exit__(kind, problem, trace)

    def both(self, *argv: Any) -> Any:
        """Run one command on both; the reply, which must be the same."""
        theirs = plain(self.redis.execute(*argv))
        try:
            ours = plain(self.store.execute(*argv))
        except ReplyError as problem:
            ours = plain(problem)
        assert ours == theirs, f"{argv}; the commands before: {self._past[-5:]}"
        self._past.append(argv)
        return ours

    def check_logs(self) -> None:
        """The records that both have written since the start are the same."""
        self.store.close()
        [ours] = (self._ours / "appendonlydir").glob("*.incr.aof")
        assert records(ours.read_bytes()) == records(self.redis.incr)
