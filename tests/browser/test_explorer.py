"""The slider through a log, on screen."""

from __future__ import annotations

import pytest
from support.layout import misplaced

MAKE = """\
import aofnb
with aofnb.open("shop-{0}", aof_timestamp_enabled=True) as store:
    for n in range(400):
        store.execute("SET", f"user:{{n % 40}}", "x" * (n % 50))
        if n % 20 == 0:
            store.execute("HSET", "cart:42", f"item:{{n}}", n)
    store.execute("FLUSHALL")
    store.execute("HSET", "cart:42", "last", "one")
log = aofnb.scan("shop-{0}")"""
SHOW = """\
explorer = log.explorer("cart:42")
explorer"""


def wait_for(notebook, words):
    notebook.page.wait_for_function(
        "words => document.querySelector('.aofnb-panel')?.innerText.includes(words)", arg=words, timeout=30_000
    )


@pytest.mark.parametrize(("theme", "name"), [("JupyterLab Light", "light"), ("JupyterLab Dark", "dark")])
def test_the_slider_goes_through_time(notebook, theme, name):
    notebook.open([MAKE.format(name), SHOW, "explorer.position.seq", "explorer.close()"])
    notebook.command("apputils:change-theme", {"theme": theme})
    notebook.run(0)
    notebook.run(1)
    wait_for(notebook, "last: one")
    page = notebook.page
    for row in (422, 421, 401):
        page.get_by_role("button", name="Previous write").click()
        wait_for(notebook, f"row {row} of")
    assert "item:360: 360" in page.locator(".aofnb-panel").inner_text()
    notebook.screenshot(f"explorer-{name}")
    assert misplaced(page, ".aofnb-panel") == []
    # With the keyboard, as well.
    handle = page.locator(".jupyter-widgets.widget-slider .noUi-handle").first
    before = page.locator(".aofnb-panel .top b").inner_text()
    handle.focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("t => document.querySelector('.aofnb-panel .top b').innerText !== t", arg=before)
    box = page.get_by_label("go to")
    box.fill("#10")
    box.press("Enter")
    wait_for(notebook, "row 10 of")
    notebook.run(2)
    assert "10" in notebook.output(2).inner_text()
    box.fill("nowhere at all")
    box.press("Enter")
    wait_for(notebook, "names no position")
    notebook.run(3)
    page.wait_for_function("document.querySelectorAll('.aofnb-panel').length === 0")
    assert "row 10 of" in notebook.output(1).inner_text()
    notebook.screenshot(f"explorer-{name}-closed")
    assert notebook.errors == []
