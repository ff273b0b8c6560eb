"""The state machine, for as long as continuous integration allows; for more see long_run.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.long_runs import SETTINGS, run, told
from support.require import need
from support.server import available

pytestmark = [pytest.mark.server, pytest.mark.slow]


@pytest.mark.parametrize("seed", range(len(SETTINGS)))
def test_replies_data_and_logs_are_the_servers(seed: int, tmp_path: Path) -> None:
    need("redis-server", available())
    report = run(tmp_path, seed, 3000)
    assert report.commands > 2700
    assert report.records > 200
    assert not report.differences, "\n".join(told(report))
