"""A kernel in both of its forms: tests take the same file compiled and as plain Python."""

from __future__ import annotations

import importlib
import importlib.util
import os
from functools import cache
from types import ModuleType
from typing import Any

import pytest
from support.require import need

import aofnb
from aofnb import _kernels

__all__ = ["FORMS", "kernel", "source_of"]

FORMS = ("compiled", "python")


def kernel(name: str, form: str) -> Any:
    """Module `name` in that form; skips where there is no compiled one."""
    module = importlib.import_module(name)
    if form == "python":
        return _from_source(name)
    if os.environ.get("AOFNB_PURE", "0") not in ("", "0"):
        pytest.skip("AOFNB_PURE is set")
    aofnb.kernels()
    need(f"a compiled {name}", _kernels._states.get(name) == "compiled")
    return module


def source_of(name: str) -> str:
    """Path of the kernel's source."""
    package, _, module = name.rpartition(".")
    [folder] = importlib.import_module(package).__path__
    return os.path.join(folder, module + ".py")


@cache
def _from_source(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name + "_python", source_of(name))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
