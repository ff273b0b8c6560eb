"""What properties of logs share."""

from __future__ import annotations

from functools import partial

import pytest

from aofnb.forensics import postings, rows, snapshot


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs of a few rows are read in many pieces."""
    monkeypatch.setattr(postings, "_SEGMENT_ROWS", 16)
    monkeypatch.setattr(rows, "_MARK_ROWS", 8)
    monkeypatch.setattr(rows, "scan_file", partial(rows.scan_file, chunk_bytes=256))
    monkeypatch.setattr(snapshot, "_TABLE_ROWS", 5)
