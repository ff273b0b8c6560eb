"""docs/settings.md agrees with the tables of settings, and the tables with one another."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from aofnb.config import ALIASES, SETTINGS
from aofnb.config_server import ABSENT, FIXED, SERVER_ALIASES, SERVER_SETTINGS

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("make_settings", DOCS / "make_settings.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert made.PAGE.read_text(encoding="utf-8") == made.page(), "run: python docs/make_settings.py"


def test_the_tables_fit_together() -> None:
    assert not SETTINGS.keys() & SERVER_SETTINGS.keys()
    assert FIXED.keys() >= ABSENT.keys()
    assert SERVER_SETTINGS.keys() >= FIXED.keys()
    assert SERVER_SETTINGS.keys() >= set(SERVER_ALIASES.values())
    assert SETTINGS.keys() >= set(ALIASES.values())
    for setting in SERVER_SETTINGS.values():
        assert setting.parse(setting.format(setting.default)) == setting.default
