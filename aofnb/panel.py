"""A picture under a cell with controls: what `aofnb.widgets` and `aofnb.lab` show.

Rules of this file: core ipywidgets only; the picture is one HTML widget that Python renders anew; a callback may run in
any thread, so a change of the picture happens under the panel's lock; whoever cannot show widgets (a saved notebook,
another site) gets a table without style sheet, script or inline SVG, and a text that is the same for the same state.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import ipywidgets
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import DisplayHandle, display

__all__ = ["STYLE", "Panel", "button", "image_of"]

# Seen on white and on black alike, for pictures that cannot ask the theme.
NEUTRAL = "#3f87d0"

STYLE = """<style>
.aofnb-panel { font-family: var(--jp-ui-font-family, system-ui, sans-serif); font-size: 13px; line-height: 1.45;
  color: var(--jp-ui-font-color1, currentColor); max-width: 900px; font-variant-numeric: tabular-nums;
  border: 1px solid var(--jp-border-color2, rgba(128,128,128,.4)); border-radius: 4px; padding: 10px 14px; }
.aofnb-panel * { box-sizing: border-box; }
.aofnb-panel .soft { font-size: 12px; opacity: .78; }
.aofnb-panel .top { display: flex; flex-wrap: wrap; gap: 0 12px; align-items: baseline; }
.aofnb-panel .top b { font-size: 14px; }
.aofnb-panel .end { margin-left: auto; }
.aofnb-panel .bars { display: grid; grid-template-columns: max-content minmax(80px, 1fr) max-content; gap: 4px 12px;
  align-items: center; margin-top: 8px; }
.aofnb-panel .bar { height: 12px; border-radius: 4px; overflow: hidden;
  background: var(--jp-layout-color3, rgba(128,128,128,.3)); }
.aofnb-panel .bar i { display: block; height: 100%; background: var(--jp-brand-color1, #1976d2); }
.aofnb-panel .n { text-align: right; white-space: nowrap; }
.aofnb-panel .note { margin-top: 8px; padding: 2px 12px;
  border-left: 5px solid var(--mark, var(--jp-brand-color1, #1976d2)); overflow-wrap: anywhere; }
.aofnb-panel table { border-collapse: collapse; margin: 8px 0 0; font-size: 12px; color: inherit; }
.aofnb-panel th, .aofnb-panel td { text-align: left; padding: 2px 14px 2px 0; font-weight: normal; border: 0;
  background: none; vertical-align: top; overflow-wrap: anywhere; }
.aofnb-panel th { opacity: .78; }
.aofnb-panel td.n, .aofnb-panel th.n { text-align: right; }
.aofnb-panel img { display: block; max-width: 100%; }
.aofnb-panel .strip { display: block; width: 100%; height: 46px; margin-top: 8px; }
.aofnb-panel code { font-family: var(--jp-code-font-family, monospace); font-size: 12px; color: inherit;
  background: none; white-space: pre-wrap; overflow-wrap: anywhere; }
</style>"""


def button(description: str, icon: str, tooltip: str, clicked: Callable[[], object], style: str = "") -> Any:
    """A button that calls `clicked` without arguments."""
    made = ipywidgets.Button(
        description=description, icon=icon, tooltip=tooltip, button_style=style, layout={"width": "auto"}
    )
    made.on_click(lambda _button: clicked())
    return made


def image_of(svg: str, label: str, width: int, height: int) -> str:
    """A drawing as an ``<img>``, which front-ends keep in notebooks they do not trust."""
    data = base64.b64encode(svg.encode()).decode()
    return f'<img alt="{escape(label)}" width="{width}" height="{height}" src="data:image/svg+xml;base64,{data}">'


class Panel:
    """One HTML widget over rows of controls.

    A subclass gives `body`, `table` and `text`, calls `build` when it has its state, and `refresh` when that changed.
    Leaving a ``with`` block, or `close`, puts the table where the widgets were.
    """

    label = "aofnb"

    def body(self) -> str:
        """The picture's HTML, inside the frame."""
        raise AssertionError("a panel has a body")

    def table(self) -> str:
        """The same as HTML that needs nothing."""
        raise AssertionError("a panel has a table")

    def text(self) -> str:
        """The same as text."""
        raise AssertionError("a panel has a text")

    def build(self, rows: Sequence[Sequence[Any]], unseen: Sequence[Any] = ()) -> None:
        """Make the widgets: the picture, and under it `rows` of controls; `unseen` are links between them."""
        self._lock = threading.RLock()
        self._handles: list[DisplayHandle] = []
        self._closed = False
        self._controls = [control for row in rows for control in row]
        self._unseen = list(unseen)
        self._html = ipywidgets.HTML(self._framed())
        boxes = [ipywidgets.HBox(list(row), layout={"flex_flow": "row wrap", "align_items": "center"}) for row in rows]
        self.box = ipywidgets.VBox([self._html, *boxes])

    def _framed(self) -> str:
        return f'{STYLE}<div class="aofnb-panel" role="group" aria-label="{escape(self.label)}">{self.body()}</div>'

    def refresh(self) -> None:
        """Show what is true now."""
        with self._lock:
            if not self._closed:
                self._html.value = self._framed()

    def close(self) -> None:
        """Leave a table in place of the widgets. What was closed stays closed."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        shown = {"text/html": self.table(), "text/plain": self.text()}
        for handle in self._handles:
            handle.update(shown, raw=True)  # type: ignore[no-untyped-call]  # IPython is typed in part
        for widget in (*self._controls, *self.box.children, self.box):
            for part in (getattr(widget, "style", None), widget.layout, widget):
                if part is not None:
                    part.close()
        for link in self._unseen:
            link.close()

    def __enter__(self) -> Any:
        self.show()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def show(self) -> None:
        """Show it here, as often as wanted: all views move together."""
        if not InteractiveShell.initialized():
            print(self.text())
            return
        handle = display(self._repr_mimebundle_(), raw=True, display_id=True)  # type: ignore[no-untyped-call]  # as above
        if not self._closed:
            self._handles.append(handle)

    def _ipython_display_(self) -> None:
        self.show()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        bundle = {"text/plain": self.text(), "text/html": self.table()}
        if not self._closed:
            widgets = self.box._repr_mimebundle_()
            bundle |= {kind: data for kind, data in widgets.items() if kind not in bundle}
        return bundle

    def __repr__(self) -> str:
        return self.text()
