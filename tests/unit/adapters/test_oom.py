"""oom-score-adj: what is written for whom, and what becomes of a system that does not let us."""

from __future__ import annotations

import logging

import pytest

from aofnb.adapters.oom import OomScore
from aofnb.config import Config
from aofnb.engine.settings import Settings
from aofnb.errors import ReplyError

LOG = logging.getLogger("aofnb.server")


@pytest.fixture
def settings():
    return Settings(Config())


def test_the_score_is_put_back_as_it_was(settings, tmp_path):
    mine, child = tmp_path / "self", tmp_path / "7"
    mine.write_text("17\n")
    oom = OomScore(settings, LOG, str(tmp_path / "{}"))
    oom.child(7)
    assert not child.exists(), "nothing is touched unless it is asked for"
    settings.set([("oom-score-adj", "yes"), ("oom-score-adj-values", "100 200 990")])
    oom.child(7)
    assert (mine.read_text(), child.read_text()) == ("117\n", "1000\n")
    settings.set([("oom-score-adj", "absolute")])
    oom.child(7)
    assert (mine.read_text(), child.read_text()) == ("100\n", "990\n")
    settings.set([("oom-score-adj", "no")])
    assert mine.read_text() == "17\n"


def test_where_it_cannot_be_told_the_setting_is_refused(settings, tmp_path, caplog):
    OomScore(settings, LOG, str(tmp_path / "nowhere" / "{}"))
    with pytest.raises(ReplyError, match="Failed to set current oom_score_adj"):
        settings.set([("oom-score-adj", "yes")])
    assert settings.server["oom-score-adj"] == "no"
    assert "Unable to read oom_score_adj: No such file or directory" in caplog.text


def test_a_server_starts_all_the_same(settings, tmp_path, caplog):
    settings.server["oom-score-adj"] = "yes"
    oom = OomScore(settings, LOG, str(tmp_path / "nowhere" / "{}"))
    oom.child(7)
    assert "Unable to write oom_score_adj" in caplog.text
