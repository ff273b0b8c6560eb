"""What ipywidgets shows: `Dashboard` of a store, `Explorer` of a log, and single bars.

`model` turns counters into a picture's contents, `render` makes HTML and text of it, `dashboard` has the thread and
the widgets; `sources` and `mix` are for what is no store of this process. `timeline` is to `explorer` what `model` and
`render` are to `dashboard`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aofnb.widgets.dashboard import Dashboard
    from aofnb.widgets.explorer import Explorer
    from aofnb.widgets.progress import LoadProgress, RewriteProgress

__all__ = ["Dashboard", "Explorer", "LoadProgress", "RewriteProgress"]

_LAZY = {"Dashboard": "dashboard", "Explorer": "explorer", "LoadProgress": "progress", "RewriteProgress": "progress"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"aofnb.widgets.{_LAZY[name]}"), name)
