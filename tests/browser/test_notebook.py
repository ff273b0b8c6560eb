"""The magics on screen, in a real JupyterLab."""

from __future__ import annotations

LOAD = ["%load_ext aofnb", "%redis --open {0}"]


def load(name):
    return [cell.format(name) for cell in LOAD]


def test_replies_of_a_cell_are_on_screen(notebook):
    notebook.open(
        [
            *load("replies"),
            "%%redis\nSET greeting hello\nHSET user:1 name Ada city London\nHGETALL user:1\nGET nobody",
            "%redis GET greeting",
        ]
    )
    notebook.run_all()
    said = notebook.output(2).inner_text()
    for words in ("OK", "Ada", "London", "(nil)"):
        assert words in said
    assert '"hello"' in notebook.output(3).inner_text()
    notebook.screenshot("magics")
    assert notebook.errors == []


def test_an_error_reply_stops_the_cell_and_says_where(notebook):
    notebook.open([*load("mistakes"), "%%redis\nSET word hello\nINCR word\nSET never run", "%redis EXISTS never"])
    notebook.run_all()
    said = notebook.output(2).inner_text()
    assert "ERR value is not an integer or out of range" in said
    assert "Traceback" not in said
    assert "(integer) 0" in notebook.output(3).inner_text()


def test_a_key_survives_a_restarted_kernel(notebook):
    notebook.open([*load("survivor"), "%redis SET greeting hello", "%redis GET greeting"])
    notebook.run_all()
    notebook.restart_kernel()
    for number in (0, 1, 3):
        notebook.run(number)
    assert '"hello"' in notebook.output(3).inner_text()


def test_tab_offers_commands(notebook):
    notebook.open([*load("tab"), "%%redis\nLRAN"])
    notebook.run(0)
    notebook.run(1)
    notebook.cell(2).locator(".cm-content").click()
    notebook.page.keyboard.press("Control+End")
    notebook.page.keyboard.press("Tab")
    # A single candidate is inserted at once; several are a list.
    notebook.page.wait_for_function(
        """() => document.querySelector('.jp-Completer-item')?.textContent.includes('LRANGE')
              || document.querySelectorAll('.jp-Notebook .jp-Cell')[2].innerText.includes('LRANGE')"""
    )
    assert notebook.errors == []


def test_keys_and_options_are_offered(notebook):
    """Keys come last, and hold a colon or a space; option words come from the grammar."""
    notebook.open([*load("offers"), "%redis -q MSET user:1 a 'user two' b", "%%redis\nGET us", "%%redis\nSET k v K"])
    for number in (0, 1, 2):
        notebook.run(number)
    page = notebook.page
    notebook.cell(3).locator(".cm-content").click()
    page.keyboard.press("Control+End")
    page.keyboard.press("Tab")
    page.wait_for_selector(".jp-Completer-item")
    offered = page.locator(".jp-Completer-item").all_inner_texts()
    assert any("user:1" in one for one in offered)
    assert any('"user two"' in one for one in offered)
    notebook.screenshot("completion")
    page.keyboard.press("Escape")
    notebook.cell(4).locator(".cm-content").click()
    page.keyboard.press("Control+End")
    page.keyboard.press("Tab")
    page.wait_for_function(
        "() => document.querySelectorAll('.jp-Notebook .jp-Cell')[4].innerText.includes('KEEPTTL')"
        " || document.querySelector('.jp-Completer-item')?.textContent.includes('KEEPTTL')"
    )
    assert notebook.errors == []


def test_help_on_a_command_is_on_screen(notebook):
    """Shift-Tab beside a command, and the contextual help, which follows the cursor."""
    notebook.open([*load("help"), "%%redis\nSET greeting hello", "%redis GETEX?"])
    for number in (0, 1, 3):
        notebook.run(number)
    page = notebook.page
    assert "GETEX key [EX seconds" in notebook.output(3).inner_text()
    notebook.cell(2).locator(".cm-content").click()
    page.keyboard.press("Control+Home")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+Tab")
    page.wait_for_selector(".jp-Tooltip")
    assert "SET key value [NX | XX]" in page.locator(".jp-Tooltip").inner_text()
    notebook.screenshot("help")
    assert notebook.errors == []


def test_a_dashboard_beside_a_redis_cell(notebook):
    """A store that a magic opened can be watched, and a cell's commands are seen in it."""
    notebook.open(
        [
            "%load_ext aofnb",
            "import aofnb\nstore = aofnb.open('watched')\naofnb.Dashboard(store)",
            "%%redis --store store\nSET a 1\nSET b 2\nSET c 3",
        ]
    )
    notebook.run_all()
    notebook.page.wait_for_function("document.querySelector('.aofnb')?.innerText.includes('3 keys')", timeout=15_000)
    assert notebook.errors == []


def test_redis_cells_are_coloured(notebook):
    """By an extension of ours, which JupyterLab starts with; Python cells stay as they are."""
    notebook.open(["%%redis\n# first\nSET for 'a b' EX 10", "for word in []: pass", "reply = %redis GET {{key}}"])
    page = notebook.page
    page.wait_for_selector(".jp-Notebook .aofnb-command")
    notebook.screenshot("highlighting")

    def coloured(cell, kind):
        return notebook.cell(cell).locator(f".aofnb-{kind}").all_inner_texts()

    assert coloured(0, "command") == ["SET"]
    assert coloured(0, "comment") == ["# first"]
    assert coloured(0, "string") == ["'a b'"]
    assert coloured(0, "number") == ["10"]
    assert page.locator(".jp-Notebook .jp-Cell").nth(1).locator("[class*=aofnb-]").count() == 0
    assert coloured(2, "command") == ["GET"]
    assert "".join(coloured(2, "binding")) == "{{key}}"
    # A word of Python's is one of ours here.
    weight = "element => getComputedStyle(element.querySelector('*') || element).fontWeight"
    (bold,) = [one for one in notebook.cell(0).locator(".aofnb-word").all() if one.inner_text() == "for"]
    assert bold.evaluate(weight) == "400"
    assert notebook.errors == []
