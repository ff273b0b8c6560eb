"""Pull the plug and the steps of a rewrite, on screen."""

from __future__ import annotations

import pytest
from support.layout import misplaced

THEMES = [("JupyterLab Light", "light"), ("JupyterLab Dark", "dark")]

SHOW = """\
import aofnb
plug = aofnb.lab.pull_the_plug(seconds=20)
plug"""
STEPS = """\
steps = aofnb.lab.stepper("rewrite")
steps"""


def wait_for(notebook, words, timeout=30_000):
    notebook.page.wait_for_function(
        "words => [...document.querySelectorAll('.aofnb-panel')].some(p => p.innerText.includes(words))",
        arg=words,
        timeout=timeout,
    )


def press(notebook, name):
    notebook.page.get_by_role("button", name=name).first.click()


def by_keyboard(notebook):
    """Another moment, another policy and a crash, without a mouse."""
    page = notebook.page
    handle = page.locator(".widget-slider .noUi-handle").first
    handle.focus()
    for key in ("End", "ArrowLeft", "ArrowLeft"):
        page.keyboard.press(key)
    wait_for(notebook, "19.50 s of 20 s")
    page.get_by_role("button", name="always").focus()
    page.keyboard.press("Enter")
    wait_for(notebook, "appendfsync always")
    page.get_by_role("button", name="cut power").focus()
    page.keyboard.press("Enter")
    wait_for(notebook, "power cut at 19.50 s")


@pytest.mark.parametrize(("theme", "name"), THEMES)
def test_the_plug_plays_and_is_pulled(notebook, theme, name):
    notebook.open([SHOW, "[(o.kind, o.lost > 0) for _, _, o in plug.results]", "plug.close()"])
    notebook.command("apputils:change-theme", {"theme": theme})
    notebook.run(0)
    wait_for(notebook, "0.00 s of 20 s")
    notebook.page.locator(".jupyter-widgets.widget-play button").first.click()
    # It moves by itself.
    notebook.page.wait_for_function(
        "() => parseFloat(document.querySelector('.aofnb-panel .end').innerText) >= 1.5", timeout=30_000
    )
    notebook.page.locator(".jupyter-widgets.widget-play button").first.click()
    press(notebook, "cut power")
    wait_for(notebook, "power cut at")
    press(notebook, "kill process")
    wait_for(notebook, "process killed at")
    press(notebook, "1,000 crashes")
    # Counted beside the kernel: it answers meanwhile.
    wait_for(notebook, "of 3,000 crashes")
    notebook.run(1)
    said = notebook.output(1).inner_text()
    assert "('kill', False)" in said
    wait_for(notebook, "that lost something", timeout=60_000)
    notebook.screenshot(f"plug-{name}")
    assert misplaced(notebook.page, ".aofnb-panel") == []
    by_keyboard(notebook)
    notebook.run(2)
    notebook.page.wait_for_function("document.querySelectorAll('.aofnb-panel').length === 0")
    assert "power cut at" in notebook.output(0).inner_text()
    notebook.screenshot(f"plug-{name}-closed")
    assert notebook.errors == []


@pytest.mark.parametrize(("theme", "name"), THEMES)
def test_a_rewrite_is_stepped_through(notebook, theme, name):
    notebook.open(["import aofnb", STEPS])
    notebook.command("apputils:change-theme", {"theme": theme})
    notebook.run_all()
    wait_for(notebook, "step 1 of")
    for step in range(2, 9):
        press(notebook, "Next")
        wait_for(notebook, f"step {step} of")
    press(notebook, "cut power")
    wait_for(notebook, "power cut after step 8\t56\t3 to 4\t3 of 4\tthe promise holds")
    notebook.screenshot(f"stepper-{name}")
    assert misplaced(notebook.page, ".aofnb-panel") == []
    assert notebook.errors == []
