"""What a tutorial asks of its reader and cannot do itself: kill the kernel that runs it."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat

FIRST = Path(__file__).parents[2] / "notebooks" / "01-first-durable-key.ipynb"


def test_the_kernel_is_killed_and_its_key_is_there(notebook):
    told = next(cell.source for cell in nbformat.read(FIRST, 4).cells if "Now kill this very kernel" in cell.source)
    kill, ask = re.findall(r"```python\n(.*?)```", told, re.DOTALL)
    # `--close` is for the store that the tutorial has open at that point.
    notebook.open(["%load_ext aofnb\n%redis --open a-store-of-before", kill, ask])
    notebook.run(0)
    notebook.run(1, wait=False)
    dialog = notebook.page.locator(".jp-Dialog")
    dialog.get_by_text("restart automatically").wait_for(timeout=60_000)
    dialog.locator(".jp-mod-accept").click()
    notebook.wait_kernel()
    notebook.run(2)
    assert '"written by a kernel that is dead now"' in notebook.output(2).inner_text()
