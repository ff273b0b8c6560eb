"""Settings for every test: hypothesis profiles, no thread of ours left behind, no kernel that is not its source."""

from __future__ import annotations

import os
import signal
import threading
import warnings
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from aofnb import _kernels

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
settings.register_profile(
    "long", deadline=None, max_examples=10_000, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile(os.environ.get("AOFNB_HYPOTHESIS", "default"))


def pytest_configure() -> None:
    # A shell without job control has its background jobs ignore it: what Ctrl-C does could not be tested there.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", _kernels.KernelWarning)
        stale = _kernels.stale()
    if stale:
        pytest.exit("\n".join([*stale.values(), "run `make build`, then the tests"]), returncode=4)


@pytest.fixture(autouse=True)
def _no_thread_left_behind() -> Iterator[None]:
    before = {thread.name for thread in threading.enumerate() if thread.name.startswith("aofnb")}
    yield
    left = {thread.name for thread in threading.enumerate() if thread.name.startswith("aofnb")} - before
    assert not left, f"threads left behind: {left}"
