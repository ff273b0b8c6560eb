"""aofnb: a Redis-style store in the process, with Redis's append-only file, at home in notebooks.

Three nouns: a `Store` (`open`), a `Log` (`scan`, `read_aof`), and what shows them (``%load_ext aofnb``,
`Dashboard`). Heavy parts are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from aofnb import _kernels, _version
from aofnb._kernels import kernels
from aofnb.errors import (
    AofError,
    AofFormatError,
    AofLockedError,
    AofManifestError,
    AofnbError,
    AofTruncatedError,
    AofWriteError,
    ConfigError,
    RdbError,
    RemoteError,
    ReplyError,
    StoreClosedError,
)

__version__ = _version.VERSION

# Before any module that may be compiled is imported.
_kernels.install_finder()

if TYPE_CHECKING:
    from aofnb.adapters.redis_py import Redis
    from aofnb.adapters.remote import connect
    from aofnb.engine import Store
    from aofnb.engine import open_store as open
    from aofnb.forensics.compare import compare
    from aofnb.forensics.export import to_dask_all as to_dask
    from aofnb.forensics.frame import read_aof
    from aofnb.forensics.log import Log, scan
    from aofnb.widgets import Dashboard, Explorer, LoadProgress, RewriteProgress

__all__ = [
    "AofError",
    "AofFormatError",
    "AofLockedError",
    "AofManifestError",
    "AofTruncatedError",
    "AofWriteError",
    "AofnbError",
    "ConfigError",
    "Dashboard",
    "Explorer",
    "LoadProgress",
    "Log",
    "RdbError",
    "Redis",
    "RemoteError",
    "ReplyError",
    "RewriteProgress",
    "Store",
    "StoreClosedError",
    "__version__",
    "compare",
    "connect",
    "kernels",
    "load_ipython_extension",
    "open",
    "read_aof",
    "scan",
    "to_dask",
    "unload_ipython_extension",
]

# Public name -> (module, name there).
_LAZY = {
    "open": ("aofnb.engine", "open_store"),
    "Store": ("aofnb.engine", "Store"),
    "compare": ("aofnb.forensics.compare", "compare"),
    "scan": ("aofnb.forensics", "scan"),
    "read_aof": ("aofnb.forensics", "read_aof"),
    "to_dask": ("aofnb.forensics.export", "to_dask_all"),
    "Log": ("aofnb.forensics", "Log"),
    "Dashboard": ("aofnb.widgets", "Dashboard"),
    "Explorer": ("aofnb.widgets", "Explorer"),
    "LoadProgress": ("aofnb.widgets", "LoadProgress"),
    "RewriteProgress": ("aofnb.widgets", "RewriteProgress"),
    "Redis": ("aofnb.adapters.redis_py", "Redis"),
    "connect": ("aofnb.adapters.remote", "connect"),
}


def __getattr__(name: str) -> Any:
    if name == "lab":
        # The one package that is used by its name: aofnb.lab.pull_the_plug().
        return importlib.import_module("aofnb.lab")
    if name not in _LAZY:
        raise AttributeError(f"module 'aofnb' has no attribute {name!r}")
    module, attribute = _LAZY[name]
    if module.startswith("aofnb.adapters."):
        value = getattr(importlib.import_module("aofnb.adapters").load(module), attribute)
    else:
        value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


def load_ipython_extension(ipython: Any) -> None:
    """``%load_ext aofnb``: the magics ``%redis``, ``%%redis`` and ``%aof``."""
    importlib.import_module("aofnb.magics").load_ipython_extension(ipython)


def unload_ipython_extension(ipython: Any) -> None:
    """``%unload_ext aofnb``: closes the stores that the magics opened and takes everything back."""
    importlib.import_module("aofnb.magics").unload_ipython_extension(ipython)
