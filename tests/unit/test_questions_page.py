"""docs/questions.md is what aofnb says: every command of the page is run again."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.slow
def test_the_page_of_questions_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("make_questions", DOCS / "make_questions.py")
    assert spec is not None
    assert spec.loader is not None
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    now, then = page.steady(page.made()), page.steady(page.PAGE.read_text(encoding="utf-8"))
    assert now == then, "run: python docs/make_questions.py"
    for number in range(1, 11):
        assert f"\n## {number}. " in then
