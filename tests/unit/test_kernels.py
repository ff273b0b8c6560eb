"""Which hot loops run compiled, and that a stale extension is never used."""

from __future__ import annotations

import importlib.machinery
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support.kernels import kernel, source_of

import aofnb
from aofnb import _cython, _kernels

ROOT = Path(__file__).parents[2]


def run(code: str, where: Path = ROOT, **environ: str) -> str:
    """What a new interpreter prints that imports from `where`."""
    said = subprocess.run(
        [sys.executable, "-c", code],
        cwd=where,
        env={**os.environ, "PYTHONPATH": str(where), "AOFNB_PURE": "0", **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return (said.stdout + said.stderr).strip()


def test_what_is_declared_to_the_build_is_what_is_looked_for():
    with open(ROOT / "pyproject.toml", "rb") as file:
        declared = tomllib.load(file)["tool"]["setuptools"]["ext-modules"]
    assert [each["name"] for each in declared] == list(_kernels.KERNELS)
    for each in declared:
        assert each["optional"] is True
        assert each["sources"] == [each["name"].replace(".", "/") + ".py"]
    found = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in ROOT.glob("aofnb/**/_*_cy.py")}
    assert found <= set(_kernels.KERNELS)


@pytest.mark.parametrize("name", _kernels.KERNELS)
def test_a_compiled_kernel_says_what_it_was_compiled_from(name):
    compiled = kernel(name, "compiled")
    assert compiled.__file__.endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES))
    assert _kernels.digest(source_of(name)) == compiled.SOURCE_DIGEST
    assert not hasattr(kernel(name, "python"), "SOURCE_DIGEST")


def test_the_environment_can_ask_for_plain_python():
    pure = run("import aofnb; print(set(aofnb.kernels().values()))", AOFNB_PURE="1")
    assert pure == "{'python'}"
    assert "AOFNB_PURE is set" in run("from aofnb import _kernels; print(_kernels.describe())", AOFNB_PURE="1")


def test_both_states_are_told():
    assert set(aofnb.kernels().values()) <= {"compiled", "python"}
    assert {f"aofnb.{name}" for name in aofnb.kernels()} == {
        name.replace("._", ".").removesuffix("_cy") for name in _kernels.KERNELS
    }
    words = _kernels.describe()
    assert all(name in words for name in aofnb.kernels())


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package `aofnb` of the finder alone, with one module `hot` and a file that passes for its extension."""
    folder = tmp_path / "aofnb"
    folder.mkdir()
    (folder / "__init__.py").write_text("from aofnb import _kernels\n_kernels.install_finder()\n")
    (folder / "_kernels.py").write_bytes((ROOT / "aofnb" / "_kernels.py").read_bytes())
    (folder / "hot.py").write_text("text = 'source'\n")
    return folder


def test_an_extension_that_cannot_be_loaded_gives_way_to_the_source(package):
    (package / f"hot{importlib.machinery.EXTENSION_SUFFIXES[0]}").write_bytes(b"not a library")
    said = run("import aofnb.hot; print(aofnb.hot.text)", package.parent)
    assert said.startswith("source")
    assert "cannot be loaded" in said
    assert "make build" in said


def test_an_extension_of_another_source_is_not_used_and_that_is_said(package):
    name = next(name for name in _kernels.KERNELS if not Path(source_of(name)).with_suffix(".pxd").exists())
    extension = Path(kernel(name, "compiled").__file__)
    module = name.rpartition(".")[2]
    (package / extension.name).write_bytes(extension.read_bytes())
    source = Path(source_of(name)).read_text()
    code = f"import aofnb.{module} as hot; print(hasattr(hot, 'SOURCE_DIGEST'))"

    (package / f"{module}.py").write_text(source)
    assert run(code, package.parent) == "True"
    (package / f"{module}.py").write_text(source + "\n# edited\n")
    said = run(code, package.parent)
    assert said.startswith("False")
    assert "another version of its source" in said
    (package / f"{module}.pxd").write_text("# types\n")
    (package / f"{module}.py").write_text(source)
    assert run(code, package.parent).startswith("False")


@pytest.mark.parametrize("name", _kernels.KERNELS)
def test_kernels_run_without_cython(name):
    """The stand-in has all that is looked up when the source is run."""
    code = f"import sys; sys.modules['cython'] = None; import {name} as hot; print(hot.cython.__name__, hot.COMPILED)"
    assert run(code, AOFNB_PURE="1") == f"{_cython.__name__} False"
