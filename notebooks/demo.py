"""`make demo`: run the demo notebook in a real kernel and show its cells and outputs here.

The executed notebook is kept, with its tables and pictures, as a page for the browser.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
import time
from pathlib import Path

import nbformat
from nbclient.exceptions import CellExecutionError
from refresh import client_for

HERE = Path(__file__).parent
ROOT = HERE.parent
NOTEBOOK = HERE / "00-demo.ipynb"
PAGE = ROOT / "test-artefacts" / "demo.html"

# Colours are for terminals: not for a pipe, not for a log of CI, not for who says no (no-color.org).
COLOURS = sys.stdout.isatty() and "NO_COLOR" not in os.environ
BOLD, DIM, BLUE, RESET = ("\033[1m", "\033[2m", "\033[34m", "\033[0m") if COLOURS else ("", "", "", "")
WIDTH = max(60, min(100, shutil.get_terminal_size().columns))
# Of a longer cell only the beginning is printed: the page shows it whole.
MOST_LINES, BEGINNING = 14, 6
AS_IT_IS = {"replace_whitespace": False, "drop_whitespace": False, "break_on_hyphens": False}


def main() -> int:
    """Run, print, save; the exit status."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    start = time.perf_counter()
    client = client_for(notebook, HERE)
    with client.setup_kernel():
        for index, cell in enumerate(notebook.cells):
            if cell.cell_type == "markdown":
                show_text(cell.source)
                continue
            show_code(cell.source)
            try:
                client.execute_cell(cell, index)
            except CellExecutionError as problem:
                print(problem)
                return 1
            show_outputs(cell)
    rule()
    print(f"{BOLD}Done in {time.perf_counter() - start:.0f} s.{RESET}")
    if save_page(notebook):
        print(f"The same with tables and pictures: {PAGE.relative_to(ROOT)}")
    print("To try it yourself:                make lab")
    return 0


def rule() -> None:
    print(f"\n{DIM}{'─' * WIDTH}{RESET}")


def show_text(markdown: str) -> None:
    """Markdown as plain paragraphs; emphasis where the terminal can."""
    for paragraph in markdown.split("\n\n"):
        title = re.match(r"#+ (.*)", paragraph)
        if title:
            rule()
            print(f"{BOLD}{title[1]}{RESET}")
            continue
        words = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", paragraph).replace("**", "").replace("`", "")
        print()
        print(textwrap.fill(words, WIDTH))


def show_code(source: str) -> None:
    """A cell as it is typed, behind a bar."""
    lines = source.splitlines()
    shown = lines if len(lines) <= MOST_LINES else lines[:BEGINNING]
    print()
    for line in shown:
        print(f"{BLUE}┃{RESET} {BOLD}{line}{RESET}")
    if len(shown) < len(lines):
        print(f"{BLUE}┃{RESET} {DIM}... and {len(lines) - len(shown)} more lines in {NOTEBOOK.name}{RESET}")


def show_outputs(cell: nbformat.NotebookNode) -> None:
    """The outputs of an executed cell, as far as a terminal can show them."""
    for output in cell.outputs:
        data = output.get("data", {})
        if output.output_type == "stream":
            show_lines(output.text)
        elif "image/png" in data:
            print(f"{DIM}  [a picture: it is in the page that is named at the end]{RESET}")
        elif "text/plain" in data:
            show_lines(data["text/plain"])


def show_lines(text: str) -> None:
    """`text` indented; a line that is too long goes on in the next one, indented further."""
    for line in text.rstrip("\n").splitlines():
        print("\n".join(textwrap.wrap(line, WIDTH, initial_indent="  ", subsequent_indent="      ", **AS_IT_IS)) or "")


def save_page(notebook: nbformat.NotebookNode) -> bool:
    """Write the notebook as one HTML file that loads nothing from elsewhere; False where nbconvert is missing."""
    try:
        from nbconvert import HTMLExporter
    except ImportError:
        return False
    exporter = HTMLExporter(template_name="lab", require_js_url="", mathjax_url="", jquery_url="", mermaid_js_url="")
    body, _resources = exporter.from_notebook_node(notebook)
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(body, encoding="utf-8")
    return True


if __name__ == "__main__":
    sys.exit(main())
