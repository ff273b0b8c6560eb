"""README says what is there: every module is on the tour, every command on the list, every link leads somewhere."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

import aofnb.commands.all  # noqa: F401  # fills the table
from aofnb.commands.registry import all_commands

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def script(name: str) -> ModuleType:
    """A module of docs/, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tour_and_list_of_commands_are_up_to_date() -> None:
    parts = script("make_readme_parts")
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


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/online.md"])
def test_every_link_leads_somewhere(page: str) -> None:
    path = ROOT / page
    text = path.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#]+)\)", text) + re.findall(r'(?:src|srcset)="([^"]+)"', text)
    for target in targets:
        assert target.startswith("https://") or (path.parent / target).exists(), target


def test_every_picture_is_there_for_light_and_dark_and_is_described() -> None:
    pictures = re.findall(r"<picture>(.*?)</picture>", README, re.DOTALL)
    assert len(pictures) == 4
    for picture in pictures:
        dark, light = re.search(r'srcset="([^"]+)"', picture), re.search(r'src="([^"]+)"', picture)
        assert dark is not None
        assert light is not None
        assert dark[1] == light[1].replace(".png", "-dark.png")
        assert re.search(r'alt="[^"]{20,}"', picture)


def test_a_badge_is_made_for_an_address_and_made_anew_for_another() -> None:
    badge = script("make_badge")
    once = badge.updated(README, "ada/engine", "v1")
    assert "(https://mybinder.org/v2/gh/ada/engine/v1?urlpath=lab/tree/notebooks/index.ipynb)" in once
    again = badge.updated(once, "grace/compiler", "HEAD")
    assert "ada/engine" not in again
    assert again.count("mybinder.org/badge_logo.svg") == 1
    assert (ROOT / badge.FIRST).is_file()
    with pytest.raises(SystemExit, match="OWNER/REPOSITORY"):
        badge.badge("nothing", "HEAD")


def test_no_badge_leads_to_a_repository_that_is_none() -> None:
    assert not re.search("mybinder.org/v2/gh/(OWNER|<)", README)
