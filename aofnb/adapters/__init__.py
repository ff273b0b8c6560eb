"""Other ways in and out: redis-py in process, a socket for any client, a real server behind the same calls.

`redis_py` and `redis_asyncio` are redis-py's own classes on a store; `server` serves a store on a socket, `serve` does
so in the foreground; `remote` gives a real server a store's face; `push` moves data there; `replication` feeds real
replicas. redis-py is imported only where it is needed.
"""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = ["load"]


def load(name: str) -> ModuleType:
    """The module `name` of this package, or what to install to have it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as problem:
        if problem.name != "redis":
            raise
        raise ModuleNotFoundError("this needs redis-py: pip install 'aofnb[redis]'", name="redis") from problem
