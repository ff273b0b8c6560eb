"""Settings for every test: hypothesis profiles, and no thread of ours left behind."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
settings.register_profile(
    "long", deadline=None, max_examples=5000, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile(os.environ.get("AOFNB_HYPOTHESIS", "default"))


@pytest.fixture(autouse=True)
def _no_thread_left_behind() -> Iterator[None]:
    before = {thread.name for thread in threading.enumerate() if thread.name.startswith("aofnb")}
    yield
    left = {thread.name for thread in threading.enumerate() if thread.name.startswith("aofnb")} - before
    assert not left, f"threads left behind: {left}"
