"""`make demo`: run the demo notebook in a real kernel and show its cells and outputs here.

The executed notebook is kept, with its pictures, as a page for the browser.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
PAGE = HERE.parent / "test-artefacts" / "demo.html"

BOLD, DIM, RESET = ("\033[1m", "\033[2m", "\033[0m") if sys.stdout.isatty() else ("", "", "")


def main() -> int:
    """Run, print, save; the exit status."""
    path = HERE / "00-demo.ipynb"
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    start = time.perf_counter()
    client = NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(HERE)}})
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    with client.setup_kernel():
        for index, cell in enumerate(notebook.cells):
            show_source(cell)
            if cell.cell_type == "code":
                client.execute_cell(cell, index)
                show_outputs(cell)
    print(f"{BOLD}Done in {time.perf_counter() - start:.0f} s.{RESET}")
    if save_page(notebook):
        print(f"The same with tables and pictures: {PAGE.relative_to(HERE.parent)}")
    print("To try it yourself: make lab")
    return 0


def show_source(cell: nbformat.NotebookNode) -> None:
    if cell.cell_type == "markdown":
        text = cell.source.replace("# ", "", 1) if cell.source.startswith("#") else cell.source
        print(f"\n{BOLD}{text}{RESET}\n")
        return
    for line in cell.source.splitlines():
        print(f"{DIM}  | {RESET}{line}")


def show_outputs(cell: nbformat.NotebookNode) -> None:
    for output in cell.outputs:
        data = output.get("data", {})
        if output.output_type == "stream":
            print(output.text.rstrip("\n"))
        elif "image/png" in data:
            print(f"{DIM}[a picture: see the page below]{RESET}")
        elif "text/plain" in data:
            print(data["text/plain"].rstrip("\n"))


def save_page(notebook: nbformat.NotebookNode) -> bool:
    """Write the notebook as HTML; False where nbconvert is missing."""
    try:
        from nbconvert import HTMLExporter
    except ImportError:
        return False
    body, _resources = HTMLExporter(template_name="lab").from_notebook_node(notebook)
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(body, encoding="utf-8")
    return True


if __name__ == "__main__":
    sys.exit(main())
