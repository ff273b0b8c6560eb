"""An IPython to run cells in, without a terminal, history or kernel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from ipywidgets import Widget
from ipywidgets.widgets import widget as ipywidgets_widget
from traitlets.config import Config

__all__ = ["Notebook", "live_widgets", "notebook_shell"]


class Notebook:
    """Cells in, outputs out."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.result: Any = None

    def run(self, cell: str) -> Any:
        """Run one cell; its value. What it displays is in `outputs`; an error is raised."""
        with capture_output() as captured:
            self.result = self.shell.run_cell(cell, store_history=False)
        self.outputs = [output.data for output in captured.outputs]
        value = self.result.result
        if value is not None:
            # The display hook of a plain IPython prints; a kernel's sends this.
            self.outputs.append(self.shell.display_formatter.format(value)[0])
        self.result.raise_error()
        return value

    def shown(self, cell: str) -> list[str]:
        """Run one cell; the text of each output."""
        self.run(cell)
        return [data["text/plain"] for data in self.outputs]

    def error(self, cell: str) -> list[str]:
        """Run one cell that must fail; the lines a user sees."""
        with pytest.raises(Exception) as caught:  # any: the caller looks at the lines
            self.run(cell)
        render = getattr(caught.value, "_render_traceback_", None)
        assert render is not None, f"shown with its whole traceback: {caught.value!r}"
        lines: list[str] = render()
        return lines

    def __getitem__(self, name: str) -> Any:
        return self.shell.user_ns[name]

    def __setitem__(self, name: str, value: object) -> None:
        self.shell.user_ns[name] = value


@contextmanager
def notebook_shell(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Notebook]:
    """IPython without the extension; the current directory is an empty one in `directory`."""
    monkeypatch.setenv("IPYTHONDIR", str(directory / "ipython"))
    work = directory / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    config = Config()
    config.HistoryManager.enabled = False
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=config)
    try:
        yield Notebook(shell)
    finally:
        InteractiveShell.clear_instance()


def live_widgets() -> dict[str, Widget]:
    """The widgets that were not closed, by their ids."""
    # ipywidgets 8.0.3 moved it.
    known = ipywidgets_widget._instances if hasattr(ipywidgets_widget, "_instances") else Widget._active_widgets
    return dict(known)
