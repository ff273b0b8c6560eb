"""The notebook in a browser, as fixtures; `support.jupyter` starts and drives both."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from support.jupyter import Notebook, chromium_path, end_sessions, headless_chromium, jupyter_lab
from support.require import need


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)
            # Starting the server, the browser and a kernel counts, on a machine that does other things as well.
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """Address and root folder of a JupyterLab that knows nothing of its user's settings and kernels."""
    need("JupyterLab", importlib.util.find_spec("jupyterlab"))
    root = tmp_path_factory.mktemp("lab")
    with jupyter_lab(root) as url:
        yield url, root


@pytest.fixture(scope="session")
def chromium():
    need("Chromium", chromium_path())
    need("playwright", importlib.util.find_spec("playwright"))
    with headless_chromium() as browser:
        yield browser


@pytest.fixture
def notebook(lab, chromium, request):
    url, root = lab
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    made = Notebook(page, url, root)
    yield made
    if getattr(request.node, "failed", False):
        made.screenshot(f"failed-{request.node.name}")
    page.close()
    end_sessions(url)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call":
        item.failed = report.failed
    return report
