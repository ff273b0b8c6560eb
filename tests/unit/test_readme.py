"""README says what is there: every module is on the tour, every command on the list."""

from __future__ import annotations

import re
from pathlib import Path

import aofnb.commands.all  # noqa: F401  # fills the table
from aofnb.commands.registry import all_commands

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def section(name: str) -> str:
    match = re.search(rf"<!-- {name}: .*?-->(.*?)<!-- end of {name} -->", README, re.DOTALL)
    assert match, f"README has no section {name!r}"
    return match[1]


def test_every_module_is_on_the_tour() -> None:
    modules = {
        str(path.relative_to(ROOT / "aofnb"))
        for path in (ROOT / "aofnb").rglob("*.py")
        if path.name != "__init__.py" or path.parent.name == "aofnb"
    }
    told = re.findall(r"`([\w/]+\.py)`", section("tour"))
    assert modules == set(told)
    assert len(told) == len(set(told)), "a module is told of twice"


def test_every_command_is_on_the_list_and_nothing_else() -> None:
    told = re.findall(r"`([A-Z_ -]+)`", section("commands"))
    there = {command.name for command in all_commands() if not command.subcommands or command.name == "COMMAND"}
    assert set(told) == there
    assert len(told) == len(set(told))


def test_readme_names_no_file_that_is_not_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
