"""The pictures of the README, taken from a real notebook in a headless Chromium.

python docs/make_pictures.py [notebook] [dashboard]

Needs JupyterLab, Playwright and Chromium; writes docs/NAME.png. Look at them before you commit them.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))

from support.jupyter import Notebook, end_sessions, headless_chromium, jupyter_lab  # noqa: E402  # needs the path above

MARGIN = 12
COLOURS = 128

CELLS = [
    "%load_ext aofnb\n%redis --open shop --appendfsync always",
    '%%redis --log\nSET greeting "hello, world"\nHSET user:1 name Ada city London\nINCRBYFLOAT rating 4.75\n'
    "SET session:1 open EX 3600\nHGETALL user:1",
    'import aofnb\n\naofnb.read_aof("shop")[["part", "offset", "nbytes", "db", "cmd", "key"]]',
]

# A rewrite in the middle, so that there is something to be seen of it.
DASHBOARD = [
    "import aofnb\n\nstore = aofnb.open('sessions', appendfsync='everysec')\naofnb.Dashboard(store)",
    """\
import time

for n in range(250_000):
    store.execute("SET", f"session:{n % 9_999}", "x" * 40)
    if n == 60_000:
        store.bgrewriteaof()
    if n % 500 == 0:
        time.sleep(0.07)""",
]

# The cell that was run last has a frame, a bar and buttons that the others have not.
PLAIN = """
.jp-Collapser, .jp-cell-toolbar, .jp-cell-menu { display: none !important }
.jp-Cell, .jp-Cell::before, .jp-Cell::after
    { border-color: transparent !important; outline: none !important; box-shadow: none !important }
"""


def notebook_picture(notebook: Notebook, target: Path) -> None:
    """A cell of commands, the bytes that they left in the log, the replies, and the log as a table."""
    notebook.open(CELLS, "first.ipynb")
    notebook.run_all()
    take(notebook, target, range(len(CELLS)))


def dashboard_picture(notebook: Notebook, target: Path) -> None:
    """The dashboard in the middle of a cell that writes, a while after a rewrite."""
    notebook.open(DASHBOARD, "live.ipynb")
    notebook.run(0)
    notebook.page.wait_for_selector(".aofnb")
    notebook.run(1, wait=False)
    wait_for(notebook, "rewrite done")
    # Until the pictures of the last minute are half full.
    notebook.page.wait_for_timeout(12_000)
    wait_for(notebook, "what a power cut would take")
    take(notebook, target, range(len(DASHBOARD)))


def wait_for(notebook: Notebook, words: str) -> None:
    said = "words => document.querySelector('.aofnb')?.innerText.includes(words)"
    notebook.page.wait_for_function(said, arg=words, timeout=90_000)


def take(notebook: Notebook, target: Path, cells: range) -> None:
    """A picture of these cells, without the browser and JupyterLab around them."""
    notebook.page.add_style_tag(content=PLAIN)
    boxes = [notebook.cell(number).bounding_box() for number in cells]
    top, bottom = min(box["y"] for box in boxes), max(box["y"] + box["height"] for box in boxes)
    left, right = min(box["x"] for box in boxes), max(box["x"] + box["width"] for box in boxes)
    clip = {"x": left, "y": top - MARGIN, "width": right - left, "height": bottom - top + 2 * MARGIN}
    notebook.page.screenshot(path=target, clip=clip)
    shrink(target)
    print(f"{target.name}: {target.stat().st_size:,} bytes")


def shrink(path: Path) -> None:
    """Few colours are enough for text."""
    from PIL import Image

    with Image.open(path) as picture:
        few = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


PICTURES: dict[str, Callable[[Notebook, Path], None]] = {"notebook": notebook_picture, "dashboard": dashboard_picture}


def main(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder, jupyter_lab(Path(folder)) as url, headless_chromium() as browser:
        for name in names or PICTURES:
            page: Any = browser.new_page(viewport={"width": 1000, "height": 1500}, device_scale_factor=1.5)
            PICTURES[name](Notebook(page, url, Path(folder)), HERE / f"{name}.png")
            page.close()
            end_sessions(url)


if __name__ == "__main__":
    main(sys.argv[1:])
