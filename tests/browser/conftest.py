"""JupyterLab with folders of its own, and a headless Chromium that drives it.

A cell is run only when the kernel is attached (before, JupyterLab asks which kernel to take, and waits for ever);
nothing sleeps: Playwright handles events only inside its own calls.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import pytest
from support.require import need

TOKEN = "test-only"
ROOT = Path(__file__).parents[2]
ARTEFACTS = ROOT / "test-artefacts"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)
            # Starting the server, the browser and a kernel counts, on a machine that does other things as well.
            item.add_marker(pytest.mark.timeout(300))


def api(base, path, method="GET"):
    request = urllib.request.Request(base + path, method=method, headers={"Authorization": f"token {TOKEN}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read()


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """Address and root folder of a JupyterLab that knows nothing of its user's settings and kernels."""
    need("JupyterLab", importlib.util.find_spec("jupyterlab"))
    root = tmp_path_factory.mktemp("lab")
    private = root / ".jupyter-private"
    env = os.environ | {
        "JUPYTER_CONFIG_DIR": str(private / "config"),
        "JUPYTER_DATA_DIR": str(private / "data"),
        "JUPYTER_RUNTIME_DIR": str(private / "run"),
        "JUPYTERLAB_SETTINGS_DIR": str(private / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(private / "workspaces"),
        "IPYTHONDIR": str(private / "ipython"),
        # The kernels see this source tree and the hand-made counters of tests/support.
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
    }
    news = private / "settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    news.parent.mkdir(parents=True)
    news.write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}))
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--expose-app-in-browser"),
        *("--ServerApp.ip=127.0.0.1", "--ServerApp.port=0", f"--ServerApp.root_dir={root}"),
        f"--IdentityProvider.token={TOKEN}",
    ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    log = root / "lab.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(command, env=env, stdout=stream, stderr=stream, start_new_session=True)
    try:
        yield _address(process, private / "run", log), root
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _address(process, runtime, log):
    deadline = time.monotonic() + 90
    while process.poll() is None and time.monotonic() < deadline:
        for info in runtime.glob("jpserver-*.json"):
            try:
                url = f"http://127.0.0.1:{json.loads(info.read_text())['port']}"
                api(url, "/api/status")
            except (OSError, ValueError):
                continue
            return url
        time.sleep(0.2)
    return pytest.fail("JupyterLab did not start:\n" + log.read_text()[-2000:])


@pytest.fixture(scope="session")
def chromium():
    executable = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    need("Chromium", executable)
    need("playwright", importlib.util.find_spec("playwright"))
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser
        browser.close()


class Notebook:
    """One notebook in one page. Cells are counted from 0."""

    def __init__(self, page, url, root):
        self.page, self.url, self.root, self.errors = page, url, root, []
        page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def open(self, cells, name="test.ipynb"):
        """Write a notebook with these code cells (text, or whole cells) and open it."""
        made = [cell if isinstance(cell, dict) else nbformat.v4.new_code_cell(cell) for cell in cells]
        notebook = nbformat.v4.new_notebook(cells=made)
        notebook.metadata.kernelspec = {
            "name": "python3",
            "display_name": "Python 3 (ipykernel)",
            "language": "python",
        }
        notebook.metadata.language_info = {"name": "python"}
        nbformat.write(notebook, self.root / name)
        self.page.goto(f"{self.url}/doc/tree/{name}?token={TOKEN}&reset")
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
        self.wait_kernel()

    def wait_kernel(self):
        self.page.wait_for_function(
            "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'",
            timeout=60_000,
        )

    def cell(self, number):
        return self.page.locator(".jp-Notebook .jp-Cell").nth(number)

    def output(self, number):
        return self.cell(number).locator(".jp-OutputArea").first

    def prompt(self, number):
        return self.cell(number).locator(".jp-InputPrompt").inner_text()

    def run(self, number, wait=True):
        self.cell(number).locator(".cm-content").click()
        self.page.keyboard.press("Control+Enter")
        if wait:
            self.wait(number)

    def run_all(self):
        for number in range(self.page.locator(".jp-Notebook .jp-Cell").count()):
            self.run(number)

    def wait(self, number, timeout=60_000):
        self.page.wait_for_function(
            r"""number => /\[\d+\]/.test(document.querySelectorAll('.jp-Notebook .jp-Cell')[number]
                                             .querySelector('.jp-InputPrompt').textContent)""",
            arg=number,
            timeout=timeout,
        )

    def restart_kernel(self):
        # Not awaited: the command is done only when its dialog was answered.
        self.page.evaluate("void jupyterapp.commands.execute('kernelmenu:restart')")
        self.page.locator(".jp-Dialog .jp-mod-accept").click()
        self.wait_kernel()

    def command(self, name, args=None):
        """Run a command of JupyterLab and wait until it is done; not for those that ask something."""
        self.page.evaluate("([name, args]) => jupyterapp.commands.execute(name, args)", [name, args or {}])

    def saved(self, name="test.ipynb"):
        """Save, and give what is in the file."""
        self.command("docmanager:save")
        return nbformat.read(self.root / name, 4)

    def screenshot(self, name):
        """A picture in test-artefacts, to be looked at by people."""
        ARTEFACTS.mkdir(exist_ok=True)
        self.page.screenshot(path=ARTEFACTS / f"{name}.png")


@pytest.fixture
def notebook(lab, chromium, request):
    url, root = lab
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    made = Notebook(page, url, root)
    yield made
    if getattr(request.node, "failed", False):
        made.screenshot(f"failed-{request.node.name}")
    page.close()
    # One page is one kernel: they must not pile up.
    for session in json.loads(api(url, "/api/sessions")):
        try:
            api(url, f"/api/sessions/{session['id']}", "DELETE")
        except urllib.error.HTTPError as problem:
            if problem.code != 404:
                raise


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call":
        item.failed = report.failed
    return report
