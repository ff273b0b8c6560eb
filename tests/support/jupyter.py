"""A JupyterLab with folders of its own, and a headless Chromium that drives it: for tests, and for pictures.

A cell is run only when the kernel is attached (before, JupyterLab asks which kernel to take, and waits for ever);
nothing sleeps: Playwright handles events only inside its own calls.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat

__all__ = ["Notebook", "chromium_path", "end_sessions", "headless_chromium", "jupyter_lab"]

TOKEN = "test-only"
ROOT = Path(__file__).resolve().parents[2]
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


def api(base: str, path: str, method: str = "GET") -> bytes:
    request = urllib.request.Request(base + path, method=method, headers={"Authorization": f"token {TOKEN}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return bytes(answer.read())


@contextmanager
def jupyter_lab(root: Path) -> Iterator[str]:
    """The address of a JupyterLab that serves `root` and knows nothing of its user's settings and kernels."""
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
    # Copied, as an installation does: JupyterLab 4.4 follows no links out of its folders.
    shutil.copytree(ROOT / "aofnb/magics/labextension", private / "data/labextensions/aofnb")
    log = root / "lab.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(command, env=env, stdout=stream, stderr=stream, start_new_session=True)
    try:
        yield _address(process, private / "run", log)
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _address(process: subprocess.Popen[bytes], runtime: Path, log: Path) -> str:
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
    raise AssertionError("JupyterLab did not start:\n" + log.read_text()[-2000:])


def chromium_path() -> str | None:
    """Where Chromium is, if it is."""
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def headless_chromium() -> Iterator[Any]:
    """A browser of Playwright."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=FLAGS)
        yield browser
        browser.close()


def end_sessions(url: str) -> None:
    """End every kernel of the server: one page is one kernel, and they must not pile up."""
    for session in json.loads(api(url, "/api/sessions")):
        try:
            api(url, f"/api/sessions/{session['id']}", "DELETE")
        except urllib.error.HTTPError as problem:
            if problem.code != 404:
                raise


class Notebook:
    """One notebook in one page. Cells are counted from 0."""

    def __init__(self, page: Any, url: str, root: Path) -> None:
        self.page, self.url, self.root = page, url, root
        self.errors: list[str] = []
        page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def open(self, cells: list[Any], name: str = "test.ipynb") -> None:
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

    def wait_kernel(self) -> None:
        self.page.wait_for_function(
            "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'",
            timeout=60_000,
        )

    def cell(self, number: int) -> Any:
        return self.page.locator(".jp-Notebook .jp-Cell").nth(number)

    def output(self, number: int) -> Any:
        return self.cell(number).locator(".jp-OutputArea").first

    def prompt(self, number: int) -> str:
        return str(self.cell(number).locator(".jp-InputPrompt").inner_text())

    def run(self, number: int, wait: bool = True) -> None:
        self.cell(number).locator(".cm-content").click()
        self.page.keyboard.press("Control+Enter")
        if wait:
            self.wait(number)

    def run_all(self) -> None:
        for number in range(self.page.locator(".jp-Notebook .jp-Cell").count()):
            self.run(number)

    def wait(self, number: int, timeout: int = 60_000) -> None:
        self.page.wait_for_function(
            r"""number => /\[\d+\]/.test(document.querySelectorAll('.jp-Notebook .jp-Cell')[number]
                                             .querySelector('.jp-InputPrompt').textContent)""",
            arg=number,
            timeout=timeout,
        )

    def restart_kernel(self) -> None:
        # Not awaited: the command is done only when its dialog was answered.
        self.page.evaluate("void jupyterapp.commands.execute('kernelmenu:restart')")
        self.page.locator(".jp-Dialog .jp-mod-accept").click()
        self.wait_kernel()

    def command(self, name: str, args: dict[str, Any] | None = None) -> None:
        """Run a command of JupyterLab and wait until it is done; not for those that ask something."""
        self.page.evaluate("([name, args]) => jupyterapp.commands.execute(name, args)", [name, args or {}])

    def saved(self, name: str = "test.ipynb") -> Any:
        """Save, and give what is in the file."""
        self.command("docmanager:save")
        return nbformat.read(self.root / name, 4)

    def screenshot(self, name: str) -> None:
        """A picture in test-artefacts, to be looked at by people."""
        ARTEFACTS.mkdir(exist_ok=True)
        self.page.screenshot(path=ARTEFACTS / f"{name}.png")
