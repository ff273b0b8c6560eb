"""The dashboard on screen: live, no faster than it should be, readable, and a table when it is over."""

from __future__ import annotations

import re

import nbformat
import pytest
from support.layout import misplaced
from support.stats import stats

from aofnb.widgets import render
from aofnb.widgets.model import View

SHOW = """\
import aofnb
store = aofnb.open("{0}")
dashboard = aofnb.Dashboard(store)
dashboard"""

WRITE = """\
import time
end = time.monotonic() + {0}
n = 0
while time.monotonic() < end:
    n += 1
    store.execute("SET", f"key:{{n}}", "x" * 100)"""

# The same counters in every run, for pictures.
SHOW_STUB = """\
import aofnb
from support.stats import StatsStub
from aofnb.aof.stats import RewriteProgress
from aofnb.config import Config

class Store(StatsStub):
    path, closed, config = "/data/mydata", False, Config()
    def config_set(self, name, value):
        self.set(appendfsync=value)
    def cancel_rewrite(self):
        self.set(rewrite=RewriteProgress(), last_rewrite_error="cancelled", rewrites=1)
    def bgrewriteaof(self):
        self.set(rewrite=RewriteProgress("writing", keys_done=12_000, keys_total=50_000, elapsed_s=3.0))

store = Store(
    synced_bytes=6 << 20, synced_commands=60_000, unsynced_bytes=12_700, unsynced_commands=310,
    aof_buf_peak_bytes=26_214, fsync_lag_s=0.43, fsyncs=17, last_fsync_duration_s=0.0042,
    current_size=11 << 20, base_size=5 << 20, keys=50_000,
    files=(("appendonly.aof.1.base.rdb", "base", 5 << 20), ("appendonly.aof.1.incr.aof", "incr", 6 << 20)),
)
dashboard = aofnb.Dashboard(store)
dashboard"""

# From here on: every picture that reaches the screen, and the words of the progress bar in it.
WATCH = """() => {
    window.pictures = []
    new MutationObserver(() => {
        const shown = document.querySelector('.aofnb')
        const tick = shown?.dataset.tick
        if (tick !== undefined && tick !== window.pictures.at(-1)?.tick)
            window.pictures.push({
                tick, at: performance.now(),
                synced: shown.querySelectorAll('.stage strong')[2].textContent,
                rewrite: shown.querySelector('[role=progressbar]').getAttribute('aria-valuetext'),
            })
    }).observe(document.body, {subtree: true, childList: true})
}"""

# Contrast of text to background as WCAG 2 counts it, with opacity and translucent colours laid over what is behind.
# One call for all places: the picture is replaced four times a second.
CONTRAST = """selector => [...document.querySelectorAll(selector)].map(node => {
    const parse = text => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return [r, g, b, a] }
    const over = (top, under) => [0, 1, 2].map(i => top[i] * top[3] + under[i] * (1 - top[3])).concat(1)
    let layers = [], opacity = 1
    for (let at = node; at; at = at.parentElement) {
        layers.push(parse(getComputedStyle(at).backgroundColor)); opacity *= Number(getComputedStyle(at).opacity)
    }
    const background = layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255, 1])
    const ink = parse(getComputedStyle(node).color); ink[3] *= opacity
    const light = colour => colour.slice(0, 3)
        .map(c => c / 255).map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0)
    const [a, b] = [light(over(ink, background)), light(background)].sort((x, y) => y - x)
    return (a + 0.05) / (b + 0.05)
})"""


def pictures(notebook):
    return notebook.page.evaluate("window.pictures")


def wait_for_words(notebook, words, timeout=15_000):
    notebook.page.wait_for_function(
        "words => document.querySelector('.aofnb')?.innerText.includes(words)", arg=words, timeout=timeout
    )


def test_numbers_move_while_a_cell_writes_and_are_right_at_the_end(notebook):
    notebook.open([SHOW.format("live"), WRITE.format(5), 'f"{store.stats().synced_commands:,} commands"'])
    notebook.run(0)
    notebook.page.wait_for_selector(".aofnb")
    notebook.page.evaluate(WATCH)
    notebook.run(1, wait=False)
    notebook.page.wait_for_function("new Set(window.pictures.map(p => p.synced)).size >= 3", timeout=20_000)
    assert "[*]" in notebook.prompt(1), "the cell that writes is over, so this shows nothing"
    notebook.wait(1)
    wait_for_words(notebook, "everything is synced")
    notebook.run(2)
    said = notebook.output(2).inner_text()
    logged = re.search(r"[\d,]+ commands", said).group()
    assert len(logged) > len("999 commands")
    assert logged in notebook.page.locator(".aofnb .stage").nth(2).inner_text()
    assert "SET 100%" in notebook.page.locator(".aofnb").inner_text()
    notebook.screenshot("dashboard-after-writing")
    assert notebook.errors == []


def test_at_most_four_pictures_a_second(notebook):
    notebook.open([SHOW.format("rate"), WRITE.format(6)])
    notebook.run(0)
    notebook.page.wait_for_selector(".aofnb")
    notebook.page.evaluate(WATCH)
    notebook.run(1, wait=False)
    notebook.page.wait_for_timeout(4000)
    assert "[*]" in notebook.prompt(1)
    shown = pictures(notebook)
    seconds = (shown[-1]["at"] - shown[0]["at"]) / 1000
    # Four a second, and one more for the fence posts. A busy machine shows fewer, but never none.
    assert 3 <= len(shown) <= 4 * seconds + 2


def test_progress_of_a_rewrite_is_seen(notebook):
    # A child that takes its time: otherwise it may be done between two pictures.
    fill = (
        'store.config_set("rdb-key-save-delay", 100)\n'
        'with store.batch():\n    for n in range(30_000):\n        store.execute("SET", f"key:{n}", "x" * 50)'
    )
    notebook.open([SHOW.format("rewrite"), fill])
    notebook.run_all()
    notebook.page.evaluate(WATCH)
    notebook.page.get_by_role("button", name="BGREWRITEAOF").click()
    wait_for_words(notebook, "rewrite done", timeout=60_000)
    words = [picture["rewrite"] for picture in pictures(notebook)]
    seen = r"loading the old files, [\d.]+ \w+ of [\d.]+ MiB, \d+%|writing keys, [\d,]+ of 30,000 keys, \d+%"
    assert any(re.search(seen, said) for said in words), words
    assert notebook.errors == []


def test_policy_is_switched_on_the_screen(notebook):
    notebook.open([SHOW.format("policy"), "store.config_get('appendfsync')"])
    notebook.run(0)
    notebook.page.get_by_role("button", name="always").click()
    wait_for_words(notebook, "appendfsync: everysec to always")
    notebook.run(1)
    assert "always" in notebook.output(1).inner_text()
    assert notebook.errors == []


def test_a_stopped_dashboard_is_a_table_on_screen_and_in_the_file(notebook):
    notebook.open([SHOW.format("stopped"), "dashboard", "dashboard.stop()"])
    notebook.run(0)
    notebook.run(1)
    assert notebook.page.locator(".aofnb").count() == 2
    notebook.run(2)
    notebook.page.wait_for_function("document.querySelectorAll('.aofnb').length === 0")
    for number in (0, 1):
        assert "aofnb dashboard: stopped (stopped)" in notebook.output(number).inner_text()
        (output,) = notebook.saved().cells[number].outputs
        assert set(output.data) == {"text/html", "text/plain"}
    assert notebook.errors == []


def test_closing_the_store_ends_it(notebook):
    notebook.open([SHOW.format("closed"), "store.close()"])
    notebook.run_all()
    notebook.page.wait_for_function("document.querySelectorAll('.aofnb').length === 0")
    assert "(store closed)" in notebook.output(0).inner_text()
    assert notebook.errors == []


def test_nothing_is_sent_while_nobody_looks(notebook):
    """Two views; then none, since the outputs are cleared; then one again."""
    notebook.open(
        [
            SHOW.format("hidden"),
            "dashboard",
            "import time\ntick = dashboard._tick\nstore.execute('INCR', 'n')\ntime.sleep(2.5)\ndashboard._tick - tick",
        ]
    )

    def sent_meanwhile():
        notebook.run(2)
        return int(notebook.output(2).inner_text().split()[-1])

    notebook.run(0)
    notebook.run(1)
    notebook.page.wait_for_function("document.querySelectorAll('.aofnb').length === 2")
    assert sent_meanwhile() >= 1
    for cell in (0, 1):
        notebook.cell(cell).locator(".cm-content").click()
        notebook.command("notebook:clear-cell-output")
    notebook.page.wait_for_function("document.querySelectorAll('.aofnb').length === 0")
    assert sent_meanwhile() == 0
    notebook.run(1)
    notebook.page.wait_for_selector(".aofnb")
    wait_for_words(notebook, "1 key")
    assert sent_meanwhile() >= 1
    assert notebook.errors == []


def test_a_picture_whose_kernel_is_gone_says_so(notebook):
    notebook.open([SHOW_STUB])
    notebook.run(0)
    mark = notebook.page.locator(".aofnb .stale")
    mark.wait_for(state="attached")
    assert not mark.is_visible()
    notebook.restart_kernel()
    mark.wait_for(state="visible", timeout=15_000)
    assert mark.inner_text() == "no update for 3 s"


@pytest.mark.parametrize(("theme", "name"), [("JupyterLab Light", "light"), ("JupyterLab Dark", "dark")])
def test_it_can_be_read_in_both_themes(notebook, theme, name):
    notebook.open([SHOW_STUB, "dashboard.stop()"])
    notebook.command("apputils:change-theme", {"theme": theme})
    notebook.run(0)
    notebook.page.get_by_role("button", name="BGREWRITEAOF").click()
    wait_for_words(notebook, "rewrite started")
    notebook.screenshot(f"dashboard-{name}")
    assert misplaced(notebook.page, ".aofnb") == []
    for selector in (".big", ".soft", ".stage strong", ".stage .soft", "td", "th", ".events div"):
        contrasts = notebook.page.evaluate(CONTRAST, f".aofnb {selector}")
        assert contrasts, selector
        assert min(contrasts) > 4.5, selector
    notebook.page.get_by_role("button", name="Cancel").click()
    wait_for_words(notebook, "rewrite cancelled")
    notebook.run(1)
    notebook.page.wait_for_function("document.querySelectorAll('.aofnb').length === 0")
    notebook.screenshot(f"dashboard-{name}-stopped")
    assert notebook.errors == []


def test_it_can_be_heard(notebook):
    """The tree that a screen reader is given has names for all pictures, and the words of every number."""
    notebook.open([SHOW_STUB])
    notebook.run(0)
    notebook.page.wait_for_selector(".aofnb")
    tree = notebook.page.locator(".aofnb").aria_snapshot()
    for said in (
        'group "aofnb dashboard of mydata"',
        "at risk now 12.4 KiB 310 commands what a power cut would take",
        'img "fill of aof_buf, last minute: now 0 B, peak 25.6 KiB"',
        'img "bytes at risk, last minute: now 12.4 KiB, peak 12.4 KiB"',
        'img "fsync lag, last minute: now 0.4 s, peak 0.4 s"',
        'progressbar "rewrite"',
        "automatic rewrite at 64.0 MiB, 53.0 MiB to go",
    ):
        assert said in tree
    pressed = notebook.page.get_by_role("button", name="everysec")
    assert "mod-active" in pressed.get_attribute("class")


def test_the_table_survives_a_notebook_that_is_not_trusted(notebook):
    """JupyterLab strips what a cloned notebook may not show; the table and its pictures must stay."""
    shown = View(
        name="mydata",
        stats=stats(unsynced_bytes=2048, unsynced_commands=3),
        at_risk=((2, 1024.0), (1, 0.0), (0, 2048.0)),
        state="stopped",
    )
    cell = nbformat.v4.new_code_cell("dashboard", execution_count=1)
    data = {"text/html": render.static(shown), "text/plain": render.text(shown)}
    cell.outputs = [nbformat.v4.new_output("display_data", data)]
    notebook.open([cell])
    table = notebook.output(0).locator("table")
    assert "2.0 KiB, 3 commands" in table.inner_text()
    picture = table.get_by_role("img", name="bytes at risk, last minute: now 2.0 KiB, peak 2.0 KiB")
    assert picture.evaluate("image => image.complete && image.naturalWidth > 0")
    assert notebook.errors == []
