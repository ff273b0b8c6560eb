"""Run notebooks and write their outputs back in one canonical form, so that a diff shows only what changed.

python notebooks/refresh.py [--all] notebooks/*.ipynb

Outputs that are not compared (of cells tagged `nbval-ignore-output`: times, draws of luck) stay as they were while their
cell does, so that a second run changes nothing; ``--all`` renews them, too.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def run(path: Path, renew_all: bool) -> None:
    """Execute the notebook at `path` from scratch and replace it."""
    before = nbformat.read(path, as_version=4)
    notebook = nbformat.read(path, as_version=4)
    client_for(notebook, path.parent).execute()
    after = settled(canonical(notebook), before)
    nbformat.write(after if renew_all else with_old_luck(after, before), path)


def client_for(notebook: nbformat.NotebookNode, folder: Path) -> NotebookClient:
    """A client that is ready to execute `notebook` in `folder`, in the Python that runs this."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=300,
        # Kernels warn on the terminal that their sockets are not encrypted; these live for seconds.
        extra_arguments=["--IPKernelApp.log_level=40"],
        record_timing=False,
        store_widget_state=False,
        # What is printed may come in one message or in several.
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )


# As the sanitize file of nbval hides them.
_TEMPORARY = re.compile(r"/(tmp|var/folders)/[\w./-]+")


def _without_folders(output: nbformat.NotebookNode) -> None:
    """Name no temporary folder: it is another one next time."""
    if "text" in output:
        output["text"] = _TEMPORARY.sub("TMP", output["text"])
    data = output.get("data", {})
    for kind in ("text/plain", "text/html"):
        if kind in data:
            data[kind] = _TEMPORARY.sub("TMP", data[kind])
    if "traceback" in output:
        output["traceback"] = [_TEMPORARY.sub("TMP", line) for line in output["traceback"]]


def canonical(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Take out what differs from machine to machine: versions, ids, times, widget state."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata["kernelspec"] = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    notebook.metadata["language_info"] = {"name": "python"}
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:03d}"
        for key in ("execution", "collapsed", "scrolled"):
            cell.metadata.pop(key, None)
        for output in cell.get("outputs", []):
            _without_folders(output)
            data = output.get("data", {})
            if WIDGET_VIEW in data and len(data) > 1:
                del data[WIDGET_VIEW]  # the readable fallback stays
    return notebook


def settled(notebook: nbformat.NotebookNode, before: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """`notebook` with the outputs of `before` where they differ only in what the sanitize file hides."""
    sanitized = sanitizer(HERE / "nbval-sanitize.cfg")
    for cell, old in zip(notebook.cells, before.cells, strict=False):
        if cell.cell_type == "code" and sanitized(cell.outputs) == sanitized(old.get("outputs")):
            cell.outputs = old.outputs
    return notebook


def with_old_luck(notebook: nbformat.NotebookNode, before: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """`notebook` with the outputs of `before` in cells that are the same and whose outputs are not compared."""
    for cell, old in zip(notebook.cells, before.cells, strict=False):
        ignored = "nbval-ignore-output" in cell.metadata.get("tags", [])
        if ignored and cell.source == old.source and old.get("outputs"):
            cell.outputs = old.outputs
    return notebook


def sanitizer(path: Path) -> Callable[[Any], Any]:
    """What nbval does to outputs before it compares them, for a tree of values."""
    pairs = re.findall(r"^regex: (.*)\nreplace: (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)

    def sanitized(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: sanitized(item) for key, item in value.items()}
        if isinstance(value, list):
            return [sanitized(item) for item in value]
        if isinstance(value, str):
            for pattern, replacement in pairs:
                value = re.sub(pattern, replacement, value)
        return value

    return sanitized


if __name__ == "__main__":
    names = [name for name in sys.argv[1:] if name != "--all"]
    for name in names:
        print(name)
        run(Path(name), renew_all="--all" in sys.argv)
