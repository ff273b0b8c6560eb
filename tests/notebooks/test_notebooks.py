"""The committed notebooks: in canonical form, of no particular machine, and running from the first cell to the last.

That each cell prints what is committed, nbval says (`make test`).
"""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import pytest
from support.require import need

from aofnb.lab import check

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# Folders of a person or of an installation; a temporary one is no better, unless the sanitize file hides it.
PATHS = re.compile(r"/(?:home|root|Users|usr/local|opt)/|/(?:tmp|var/folders)/\w|\b[A-Z]:\\\\?[A-Z]|site-packages")


def script(name: str) -> ModuleType:
    """A module of notebooks/, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "notebooks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def refresh() -> ModuleType:
    need("nbclient", importlib.util.find_spec("nbclient"))
    return script("refresh")


def load(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def texts(notebook: Any) -> list[str]:
    """Everything a person reads: sources, and outputs but for pictures."""
    found = []
    for cell in notebook.cells:
        found.append(cell.source)
        for output in cell.get("outputs", []):
            found.append(output.get("text", ""))
            found += [str(data) for kind, data in output.get("data", {}).items() if not kind.startswith("image/")]
            found += output.get("traceback", [])
    return found


def test_there_is_a_demo_and_a_first_tutorial() -> None:
    assert [path.name for path in NOTEBOOKS[:2]] == ["00-demo.ipynb", "01-first-durable-key.ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_in_the_form_that_refresh_writes(path: Path, refresh: ModuleType) -> None:
    nbformat.validate(load(path))
    assert nbformat.writes(refresh.canonical(load(path))) + "\n" == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_was_run_from_top_to_bottom_without_errors(path: Path) -> None:
    code = [cell for cell in load(path).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    for cell in code:
        if "raises-exception" not in cell.metadata.get("tags", []):
            assert all(output.output_type != "error" for output in cell.outputs), cell.source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_names_no_folder_of_a_machine(path: Path) -> None:
    for text in texts(load(path)):
        assert not PATHS.search(text), text


def test_folders_of_machines_are_recognised() -> None:
    for path in ("/home/ada/x", "/root/x", "/tmp/aofnb-x1/shop", "C:\\Users\\x", "lib/site-packages/aofnb"):
        assert PATHS.search(path), path
    assert not PATHS.search("data/shop, appendonlydir/appendonly.aof.1.incr.aof, notebooks/01-first-durable-key.ipynb")


# That all of them run and print what is committed, nbval says; what is left to see here is what refreshing does.
@pytest.mark.parametrize("path", [NOTEBOOKS[1], NOTEBOOKS[-1]], ids=lambda path: path.stem)
def test_a_notebook_runs_and_refreshing_it_changes_no_checked_cell(path: Path, refresh: ModuleType) -> None:
    committed, notebook = load(path), load(path)
    refresh.client_for(notebook, path.parent).execute()
    again = refresh.settled(refresh.canonical(notebook), committed)
    for before, after in zip(committed.cells, again.cells, strict=True):
        if before.cell_type == "code" and "nbval-ignore-output" not in before.metadata.get("tags", []):
            assert bare(after.outputs) == bare(before.outputs), before.source


def test_a_second_refresh_leaves_luck_alone_while_its_cell_is_the_same(refresh: ModuleType) -> None:
    def notebook(source: str, said: str) -> Any:
        output = nbformat.v4.new_output("stream", name="stdout", text=said)
        cell = nbformat.v4.new_code_cell(source, outputs=[output], metadata={"tags": ["nbval-ignore-output"]})
        return nbformat.v4.new_notebook(cells=[cell])

    old = notebook("measure()", "3 ms")
    assert refresh.with_old_luck(notebook("measure()", "5 ms"), old).cells[0].outputs[0].text == "3 ms"
    assert refresh.with_old_luck(notebook("measure(2)", "5 ms"), old).cells[0].outputs[0].text == "5 ms"


def bare(outputs: list[Any]) -> list[Any]:
    """Outputs without pictures, which another version of matplotlib draws with other pixels."""
    return [
        output | {"data": {kind: data for kind, data in output.data.items() if not kind.startswith("image/")}}
        if "data" in output
        else output
        for output in outputs
    ]


def lesson(path: Path) -> int:
    return int(path.stem.partition("-")[0])


TUTORIALS = [path for path in NOTEBOOKS if path.stem[0].isdigit() and lesson(path)]


def test_there_are_twelve_tutorials_and_a_page_that_leads_to_each() -> None:
    assert [lesson(path) for path in TUTORIALS] == list(range(1, 13))
    index = "\n".join(texts(load(ROOT / "notebooks" / "index.ipynb")))
    for path in [ROOT / "notebooks" / "00-demo.ipynb", *TUTORIALS]:
        assert f"({path.name})" in index, path


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_lead_to_files(path: Path) -> None:
    for cell in load(path).cells:
        if cell.cell_type == "markdown":
            for target in re.findall(r"\]\(([^)#]+)\)", cell.source):
                assert target.startswith("https://") or (path.parent / target).exists(), target


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_says_what_it_needs_and_how_long_it_takes(path: Path) -> None:
    begin = load(path).cells[0].source
    assert "**Ten minutes.**" in begin
    assert re.search(r"[Nn]eeds|is needed", begin)
    assert re.search("no network|nor network", begin)


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_an_exercise_refuses_the_first_attempt_and_accepts_the_solution(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number, cells = lesson(path), load(path).cells
    question = f"aofnb.lab.check({number}, "
    exercise = next(cell for cell in cells if cell.cell_type == "code" and question in cell.source)
    said = exercise.outputs[-1].data["text/plain"]
    assert said.startswith("Not yet: ")
    # A word that the learner can follow, and not one of Python's.
    assert "Error" not in said

    solution = next(cell.source for cell in cells if "<summary>A solution</summary>" in cell.source)
    code = re.search(r"<summary>A solution</summary>.*?```python\n(.*?)```", solution, re.DOTALL)
    assert code is not None
    answer = exercise.source.partition(question)[2].partition(")")[0]
    monkeypatch.chdir(path.parent)
    known = definitions([cell.source for cell in cells if cell.cell_type == "code"])
    exec(code[1], known)
    verdict = check(number, known[answer])
    assert verdict, verdict


def definitions(sources: list[str]) -> dict[str, Any]:
    """What cells import and define, without running anything else of them."""
    names: dict[str, Any] = {}
    for source in sources:
        lines = [line for line in source.splitlines() if not line.startswith("%")]
        if source.startswith("%%"):
            continue
        try:
            tree = ast.parse("\n".join(lines))
        except SyntaxError:  # a magic in the middle of a line
            continue
        tree.body = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef)]
        exec(compile(tree, "<cell>", "exec"), names)
    return names


def test_demo_prints_every_cell_without_colours_when_it_is_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    need("nbclient", importlib.util.find_spec("nbclient"))
    monkeypatch.syspath_prepend(ROOT / "notebooks")
    demo = script("demo")
    monkeypatch.setattr(demo, "PAGE", tmp_path / "demo.html")
    monkeypatch.setattr(demo, "ROOT", tmp_path)
    assert demo.main() == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    for words in ("%%redis --log", "*1\\r\\n$5\\r\\nMULTI", "shop: 178 keys", "page:home", "Done in"):
        assert words in printed
    assert "<table" in (tmp_path / "demo.html").read_text(encoding="utf-8")
    sys.modules.pop("refresh", None)
