"""An IPython with the extension loaded, without a terminal, history or kernel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config


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


@pytest.fixture
def bare_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Notebook]:
    """IPython without the extension; the current directory is empty."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    config = Config()
    config.HistoryManager.enabled = False
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=config)
    yield Notebook(shell)
    InteractiveShell.clear_instance()


@pytest.fixture
def notebook(bare_notebook: Notebook) -> Iterator[Notebook]:
    """With ``%load_ext aofnb``, and no store open."""
    bare_notebook.run("%load_ext aofnb")
    yield bare_notebook
    bare_notebook.run("%unload_ext aofnb")


@pytest.fixture
def nb(notebook: Notebook) -> Notebook:
    """With a store open in ``mydata``."""
    notebook.run("%redis --open mydata")
    return notebook
