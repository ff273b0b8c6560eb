"""An IPython with the extension loaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.notebook import Notebook, notebook_shell


@pytest.fixture
def bare_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Notebook]:
    """IPython without the extension; the current directory is empty."""
    with notebook_shell(tmp_path, monkeypatch) as notebook:
        yield notebook


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
