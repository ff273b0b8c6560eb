"""The pictures of the README, taken from a real notebook in a headless Chromium, in the light and the dark theme.

python docs/make_pictures.py [notebook] [dashboard] [explorer] [plug]

Needs JupyterLab, Playwright and Chromium; writes docs/NAME.png and docs/NAME-dark.png. Look at them before you commit
them.
"""

from __future__ import annotations

import shutil
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

# The tea shop of the tutorials, at a moment in which a cart is about to be emptied.
EXPLORER = ["import aofnb\n\nlog = aofnb.scan('data/shop')\nlog.explorer('cart:1', 1573)"]

# A disk that is slow enough for all three places to hold something.
PLUG = ["import aofnb\n\nplug = aofnb.lab.pull_the_plug('everysec', fsync_ms=1500, seconds=20)\nplug"]

# The cell that was run last has a frame, a bar and buttons that the others have not.
PLAIN = """
.jp-Collapser, .jp-cell-toolbar, .jp-cell-menu { display: none !important }
.jp-Toolbar, #jp-top-bar, #jp-menu-panel
    { visibility: hidden !important; border: 0 !important; box-shadow: none !important }
.jp-Cell, .jp-Cell::before, .jp-Cell::after
    { border-color: transparent !important; outline: none !important; box-shadow: none !important }
"""


def notebook_picture(notebook: Notebook, target: Path) -> None:
    """A cell of commands, the bytes that they left in the log, and the replies."""
    notebook.run_all()
    take(notebook, target, range(len(CELLS)))


def dashboard_picture(notebook: Notebook, target: Path) -> None:
    """The dashboard in the middle of a cell that writes, a while after a rewrite."""
    notebook.run(0)
    notebook.page.wait_for_selector(".aofnb")
    notebook.run(1, wait=False)
    wait_for(notebook, ".aofnb", "rewrite done")
    # Until the pictures of the last minute are half full.
    notebook.page.wait_for_timeout(12_000)
    wait_for(notebook, ".aofnb", "what a power cut would take")
    take(notebook, target, range(len(DASHBOARD)))


def explorer_picture(notebook: Notebook, target: Path) -> None:
    """The slider through a log, with one key as it was."""
    notebook.run(0)
    wait_for(notebook, ".aofnb-panel", "row 1,573 of")
    take(notebook, target, range(len(EXPLORER)))


def plug_picture(notebook: Notebook, target: Path) -> None:
    """The three places of a byte, two crashes, and what a thousand take."""
    notebook.run(0)
    wait_for(notebook, ".aofnb-panel", "0.00 s of 20 s")
    handle = notebook.page.locator(".widget-slider .noUi-handle").first
    handle.focus()
    for _ in range(28):
        handle.press("ArrowRight")
    wait_for(notebook, ".aofnb-panel", "7.00 s of 20 s")
    for name, said in (
        ("kill process", "process killed at"),
        ("cut power", "power cut at"),
        ("1,000 crashes", "that lost something"),
    ):
        notebook.page.get_by_role("button", name=name).click()
        wait_for(notebook, ".aofnb-panel", said)
    # Without the ring of what was clicked last.
    notebook.page.evaluate("document.activeElement.blur()")
    take(notebook, target, range(len(PLUG)))


def wait_for(notebook: Notebook, where: str, words: str) -> None:
    said = "([where, words]) => document.querySelector(where)?.innerText.includes(words)"
    notebook.page.wait_for_function(said, arg=[where, words], timeout=90_000)


def take(notebook: Notebook, target: Path, cells: range) -> None:
    """A picture of these cells, without the browser and JupyterLab around them."""
    notebook.page.add_style_tag(content=PLAIN)
    notebook.cell(cells[0]).scroll_into_view_if_needed()
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


PICTURES: dict[str, tuple[list[str], Callable[[Notebook, Path], None]]] = {
    "notebook": (CELLS, notebook_picture),
    "dashboard": (DASHBOARD, dashboard_picture),
    "explorer": (EXPLORER, explorer_picture),
    "plug": (PLUG, plug_picture),
}
THEMES = {"": "JupyterLab Light", "-dark": "JupyterLab Dark"}


def main(names: list[str]) -> None:
    for name in names or PICTURES:
        cells, take_it = PICTURES[name]
        for suffix, theme in THEMES.items():
            # A folder for each, so that a store begins empty.
            with (
                tempfile.TemporaryDirectory() as place,
                jupyter_lab(Path(place)) as url,
                headless_chromium() as browser,
            ):
                shutil.copytree(HERE.parent / "notebooks/data", Path(place) / "data")
                page: Any = browser.new_page(viewport={"width": 1000, "height": 1500}, device_scale_factor=1.5)
                notebook = Notebook(page, url, Path(place))
                notebook.open(cells, f"{name}.ipynb")
                notebook.command("apputils:change-theme", {"theme": theme})
                take_it(notebook, HERE / f"{name}{suffix}.png")
                page.close()
                end_sessions(url)


if __name__ == "__main__":
    main(sys.argv[1:])
