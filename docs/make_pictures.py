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
    '%%redis --log\nSET greeting "hello, world"\nHSET user:1 name Ada city London\nSET session:1 open EX 3600\n'
    "MULTI\nINCRBY stock -2\nINCRBY sold 2\nEXEC\nHGETALL user:1",
    'import aofnb\n\naofnb.read_aof("shop")[["offset", "nbytes", "db", "txn", "cmd", "key"]]',
]

DASHBOARD = [
    "import time\nimport aofnb\n\nstore = aofnb.open('sessions', appendfsync='everysec')\naofnb.Dashboard(store)",
    """\
end = time.monotonic() + 45
n = 0
while time.monotonic() < end:
    with store.batch():
        for _ in range(40 + n % 400):
            n += 1
            store.execute("SET", f"session:{n % 20_000}", "x" * 120)
    time.sleep(0.02)""",
]


def notebook_picture(notebook: Notebook, target: Path) -> None:
    """A cell of commands, the bytes that they left in the log, the replies, and the log as a table."""
    notebook.open(CELLS, "first.ipynb")
    notebook.run_all()
    take(notebook, target, range(len(CELLS)))


def dashboard_picture(notebook: Notebook, target: Path) -> None:
    """The dashboard half a minute into a cell that writes."""
    notebook.open(DASHBOARD, "live.ipynb")
    notebook.run(0)
    notebook.page.wait_for_selector(".aofnb")
    notebook.run(1, wait=False)
    notebook.page.wait_for_timeout(32_000)
    notebook.page.get_by_role("button", name="BGREWRITEAOF").click()
    # A moment at which something waits for its fsync and the base file of the rewrite is there.
    notebook.page.wait_for_function(
        "document.querySelector('.aofnb')?.innerText.match(/what a power cut would take/)"
        " && document.querySelector('.aofnb')?.innerText.match(/rewrite done/)",
        timeout=30_000,
    )
    take(notebook, target, range(len(DASHBOARD)))


def take(notebook: Notebook, target: Path, cells: range) -> None:
    """A picture of these cells, without the browser and JupyterLab around them."""
    # No cell is the active one, so that all look alike.
    notebook.page.evaluate("document.activeElement?.blur()")
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
            page: Any = browser.new_page(viewport={"width": 920, "height": 1500}, device_scale_factor=1.5)
            PICTURES[name](Notebook(page, url, Path(folder)), HERE / f"{name}.png")
            page.close()
            end_sessions(url)


if __name__ == "__main__":
    main(sys.argv[1:])
