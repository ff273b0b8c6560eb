"""What ipywidgets shows of a store: `Dashboard`.

`model` turns counters into a picture's contents, `render` makes HTML and text of it, `dashboard` has the thread and
the widgets. Only `dashboard` imports ipywidgets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aofnb.widgets.dashboard import Dashboard

__all__ = ["Dashboard"]


def __getattr__(name: str) -> Any:
    if name == "Dashboard":
        from aofnb.widgets.dashboard import Dashboard

        return Dashboard
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
