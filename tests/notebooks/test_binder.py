"""What Binder does with this repository, done here without Docker.

repo2docker itself says which steps its build has; they are carried out on a copy of the files that git knows, in a
fresh environment that begins with the versions of repo2docker's own. Not covered: apt, conda and the base image.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.require import need
from support.server import free_port

ROOT = Path(__file__).parents[2]
FIRST = "notebooks/index.ipynb"
TOKEN = "test-only"
# What repo2docker puts under the requirements, as far as a notebook meets it.
BASE = ["ipykernel", "ipython", "ipywidgets", "jupyter_server", "jupyterlab", "jupyterlab_widgets", "notebook"]
BASE += ["traitlets"]
MEMORY_LIMIT_MIB = 1024


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that git knows, or would take at the next commit, as they are now."""
    need("git", shutil.which("git") and (ROOT / ".git").exists())
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True, timeout=60).stdout.decode().split("\0")
    target = tmp_path_factory.mktemp("binder") / "repo"
    for name in names:
        if name and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def build_pack(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The build pack that repo2docker chooses for `folder`."""
    need("jupyter-repo2docker", importlib.util.find_spec("repo2docker"))
    from repo2docker.app import Repo2Docker

    monkeypatch.chdir(folder)  # where build packs look
    app = Repo2Docker()
    for kind in app.buildpacks:
        pack = kind(app.base_image)
        if pack.detect():
            pack.platform = "linux/amd64"
            return pack
    raise AssertionError("repo2docker finds no build pack for this repository")


def test_repo2docker_takes_python_3_11_our_requirements_and_our_scripts(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = build_pack(checkout, monkeypatch)
    assert type(pack).__name__ == "PythonBuildPack"
    assert pack.python_version == "3.11"
    assert [script for user, script in pack.get_assemble_scripts() if "pip install" in script] == [
        '${KERNEL_PYTHON_PREFIX}/bin/pip install --no-cache-dir -r "binder/requirements.txt"'
    ]
    assert pack.get_post_build_scripts() == ["binder/postBuild"]
    assert pack.get_start_script() == "${REPO_DIR}/binder/start"
    assert any("redis-server" in script for _user, script in pack.get_preassemble_scripts())


@pytest.mark.parametrize("name", ["postBuild", "start"])
def test_scripts_can_be_executed_and_stop_at_the_first_error(name: str) -> None:
    script = ROOT / "binder" / name
    assert os.access(script, os.X_OK)
    assert script.read_text().startswith("#!/bin/bash\n")
    assert "\nset -euo pipefail\n" in script.read_text()


def test_start_becomes_the_command_that_it_is_given() -> None:
    start = ROOT / "binder" / "start"
    assert start.read_text().endswith('\nexec "$@"\n')
    said = subprocess.run([start, "printf", "%s|", "two words", "$HOME"], capture_output=True, check=True, timeout=30)
    assert said.stdout == b"two words|$HOME|"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_image_builds_serves_the_tutorial_and_runs_it(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = build_pack(checkout, monkeypatch)
    environment = Environment(checkout, tmp_path, python_for(pack.python_version))
    need("pip's index", environment.index_answers())

    environment.pip("install", *frozen(pack))
    for _user, script in pack.get_assemble_scripts():
        # Whether pip keeps what it fetched changes nothing in what is installed.
        environment.run("bash", "-euc", script.replace("--no-cache-dir ", ""))
    versions = json.loads(environment.pip("list", "--format", "json"))
    installed = {package["name"].lower(): package["version"] for package in versions}
    assert "aofnb" in installed
    assert tuple(map(int, installed["ipykernel"].split(".")[:2])) >= (7, 1)

    for script in pack.get_post_build_scripts():
        environment.run(str(checkout / script))
    settings = environment.prefix / "etc" / "jupyter" / "labconfig" / "page_config.json"
    assert "announcements" in settings.read_text()
    assert serves(environment, pack.get_start_script().replace("${REPO_DIR}", str(checkout)))

    environment.pip("install", "nbval>=0.11", "pytest>=9", "pytest-timeout")
    peak_mib = environment.check_notebooks()
    assert peak_mib < MEMORY_LIMIT_MIB


def python_for(version: str) -> str:
    """An interpreter of that version: this one, or one that can be found."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    found = shutil.which(f"python{version}")
    need(f"Python {version}, which Binder is told to use,", found)
    assert found is not None
    return found


def frozen(pack: Any) -> list[str]:
    """Requirements of the notebook packages at the versions of repo2docker's frozen environment."""
    folder = Path(importlib.util.find_spec("repo2docker").origin).parent / "buildpacks"  # type: ignore[union-attr, arg-type]
    [name] = [name for name in pack.get_build_script_files() if name.endswith(".lock")]
    versions = dict(re.findall(r"/([a-z_]+)-(\d[\d.]*)-[^/]*$", (folder / name).read_text().replace("#", " #"), re.M))
    assert set(BASE) <= set(versions), f"{name} names its packages differently now"
    return [f"{package}=={versions[package]}" for package in BASE]


class Environment:
    """A fresh virtual environment and home, in which commands run as in the image."""

    def __init__(self, checkout: Path, place: Path, python: str) -> None:
        self.checkout = checkout
        self.prefix = place / "venv"
        self.home = place / "home"
        self.home.mkdir()
        subprocess.run([python, "-m", "venv", str(self.prefix)], check=True, timeout=120)
        outer = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "PYTEST", "COV"))}
        outer.pop("PYTHONPATH", None)
        self.environ = outer | {
            "HOME": str(self.home),
            "PATH": f"{self.prefix / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "VIRTUAL_ENV": str(self.prefix),
            "KERNEL_PYTHON_PREFIX": str(self.prefix),
            "NB_PYTHON_PREFIX": str(self.prefix),
            "REPO_DIR": str(checkout),
            "IPYTHONDIR": str(self.home / "ipython"),
            # The user's own settings of pip (an index behind a proxy, a cache) hold, wherever HOME is.
            "PIP_CONFIG_FILE": os.environ.get("PIP_CONFIG_FILE", str(Path.home() / ".config" / "pip" / "pip.conf")),
            "PIP_CACHE_DIR": os.environ.get("PIP_CACHE_DIR", str(Path.home() / ".cache" / "pip")),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }

    def run(self, *command: str) -> str:
        """Run in the root of the checkout; what it printed. Fails with all of it if the command does."""
        done = subprocess.run(command, cwd=self.checkout, env=self.environ, capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def pip(self, *words: str) -> str:
        return self.run(str(self.prefix / "bin" / "python"), "-m", "pip", *words)

    def index_answers(self) -> bool:
        fetch = ["pip", "download", "--quiet", "--no-deps", "--retries", "0", "--timeout", "15", "--no-cache-dir"]
        command = [str(self.prefix / "bin" / "python"), "-m", *fetch, "--dest", str(self.home / "probe"), "traitlets"]
        return subprocess.run(command, env=self.environ, capture_output=True, timeout=120).returncode == 0

    def check_notebooks(self) -> float:
        """Run nbval over the notebooks; the MiB that the largest process of it needed."""
        names = sorted(str(path.relative_to(self.checkout)) for path in (self.checkout / "notebooks").glob("*.ipynb"))
        measured = (
            "import resource, subprocess, sys\n"
            "status = subprocess.call(sys.argv[1:])\n"
            "print('peak', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
            "sys.exit(status)\n"
        )
        python = str(self.prefix / "bin" / "python")
        nbval = ["-m", "pytest", "-q", "-c", os.devnull, "--rootdir=.", "--nbval", "--nbval-current-env"]
        nbval += ["--nbval-cell-timeout=120", "--nbval-sanitize-with=notebooks/nbval-sanitize.cfg", *names]
        said = self.run(python, "-c", measured, python, *nbval)
        size = int(said.split("peak ")[-1])
        return size / (2**20 if sys.platform == "darwin" else 2**10)


def serves(environment: Environment, start: str) -> bool:
    """Whether a server that is started as Binder does answers with the tutorial."""
    # The frozen server does not tell which port it took if it may choose.
    port = free_port()
    command = [start, "jupyter", "lab", "--no-browser", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"]
    command += [f"--IdentityProvider.token={TOKEN}", "--allow-root"]
    log = environment.home / "server.log"
    with log.open("wb") as stream:
        server = subprocess.Popen(
            command, cwd=environment.checkout, env=environment.environ, stdout=stream, stderr=stream
        )
    try:
        address = f"http://127.0.0.1:{port}"
        assert comes_up(server, address), f"JupyterLab did not start:\n{log.read_text()[-3000:]}"
        return all(answers(address + path) for path in (f"/lab/tree/{FIRST}", f"/api/contents/{FIRST}"))
    finally:
        server.terminate()
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def comes_up(server: subprocess.Popen[bytes], address: str) -> bool:
    deadline = time.monotonic() + 90
    while server.poll() is None and time.monotonic() < deadline:
        with suppress(OSError):
            if answers(f"{address}/api/status"):
                return True
        time.sleep(0.2)  # waiting for another process, which has no fake clock
    return False


def answers(url: str) -> bool:
    request = urllib.request.Request(url, headers={"Authorization": f"token {TOKEN}"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return bool(answer.status == 200)
