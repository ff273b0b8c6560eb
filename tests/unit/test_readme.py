"""README says what is there: every module is on the tour, every command on the list, every link leads somewhere."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import aofnb.commands.all  # noqa: F401  # fills the table
from aofnb.commands.registry import all_commands

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_tour_and_list_of_commands_are_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("make_readme_parts", ROOT / "docs" / "make_readme_parts.py")
    assert spec is not None
    assert spec.loader is not None
    parts = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(parts)
    assert parts.updated(README) == README, "run: python docs/make_readme_parts.py"


def test_every_command_is_on_the_list_once() -> None:
    listed = README.split("<!-- commands: ")[1].split("<!-- end of commands -->")[0]
    told = re.findall(r"`([A-Z][A-Z0-9_ -]*)`", listed)
    declared = [c.name for c in all_commands() if not c.subcommands or c.name == "COMMAND"]
    assert len(declared) > 350
    assert sorted(told) == sorted(declared)


def test_every_module_is_on_the_tour() -> None:
    modules = {
        str(path.relative_to(ROOT / "aofnb"))
        for path in (ROOT / "aofnb").rglob("*.py")
        if path.name != "__init__.py" or path.parent.name == "aofnb"
    }
    told = re.findall(r"^- `([\w/]+\.py)`", README, re.MULTILINE)
    assert modules == set(told)
    assert len(told) == len(set(told)), "a module is told of twice"


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
