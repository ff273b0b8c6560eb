"""What a test needs and a machine may lack."""

from __future__ import annotations

import importlib
import os
from typing import Any

import pytest

__all__ = ["need", "need_module"]


def need(name: str, available: object) -> None:
    """Skip the calling test, module or fixture unless `available` is true; say that `name` is missing.

    With ``AOFNB_REQUIRE_ALL=1`` in the environment it fails instead, so that a machine which is meant to run
    everything cannot pass by skipping.
    """
    if available:
        return
    if os.environ.get("AOFNB_REQUIRE_ALL") == "1":
        pytest.fail(f"{name} is missing, and AOFNB_REQUIRE_ALL=1 allows no skipping", pytrace=False)
    pytest.skip(f"{name} is missing", allow_module_level=True)


def need_module(name: str) -> Any:
    """The module `name`, or skip as `need` does."""
    try:
        return importlib.import_module(name)
    except ImportError:
        need(f"the module {name}", available=False)
