"""Runs every command in docs/questions.md again and writes what it said.

    python docs/make_questions.py

The page is its own source: in a block ``console`` what stands behind ``$ `` is run, in a block ``python`` what stands
behind ``>>> ``, all in one temporary folder that begins with a copy of docs/shop; the lines below are replaced by what
came. A test runs it and compares, leaving aside what differs between machines: `steady`.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aofnb.cli import main as aofnb_main

DOCS = Path(__file__).resolve().parent
PAGE = DOCS / "questions.md"
_BLOCK = re.compile(r"(?<=^```)(console|python)\n(.*?)(?=^```$)", re.DOTALL | re.MULTILINE)
_HEAD = re.compile(r"(.*?) \| head -([0-9]+)")


def made() -> str:
    """The page with the output of every command as it is now."""
    text = PAGE.read_text(encoding="utf-8")
    with _folder() as home:
        shell, python = _Shell(home), _Python()
        runs = {"console": shell.run, "python": python.run}
        return _BLOCK.sub(lambda block: f"{block[1]}\n{runs[block[1]](block[2])}", text)


def steady(text: str) -> str:
    """`text` without what differs between machines: how fast they are, and whether they have a redis-server."""
    text = re.sub(r"in about [0-9]+ (ms|s|minutes) here", "in about TIME here", text)
    return re.sub(r"redis-server: .*?; report:", "redis-server: ANSWER; report:", text)


@contextlib.contextmanager
def _folder() -> Iterator[str]:
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="aofnb-") as made_:
        home = os.path.realpath(made_)
        shutil.copytree(DOCS / "shop", Path(home, "shop"))
        os.chdir(home)
        try:
            yield home
        finally:
            os.chdir(before)


class _Shell:
    """Runs the lines of a console; those of aofnb in this process."""

    def __init__(self, home: str) -> None:
        self._home = home
        self._code = 0

    def run(self, block: str) -> str:
        out = []
        for line in block.splitlines():
            if line.startswith("$ "):
                out.append(line)
                out += self._said(line[2:]).replace(f"{self._home}/", "").splitlines()
        return "\n".join(out) + "\n"

    def _said(self, line: str) -> str:
        if cut := _HEAD.fullmatch(line):
            return "\n".join(self._said(cut[1]).splitlines()[: int(cut[2])])
        if line == "echo $?":
            return str(self._code)
        words = shlex.split(line, comments=True)
        if words[0] != "aofnb":
            done = subprocess.run(line, shell=True, capture_output=True, text=True, check=True)
            return done.stdout
        told = io.StringIO()
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
            self._code = aofnb_main(words[1:])
        return told.getvalue()


class _Python:
    """Runs the examples of one session."""

    def __init__(self) -> None:
        self._names: dict[str, Any] = {}

    def run(self, block: str) -> str:
        out = []
        for example in doctest.DocTestParser().get_examples(block):
            first, *rest = example.source.splitlines()
            out += [f">>> {first}", *(f"... {line}" for line in rest)]
            told = io.StringIO()
            with contextlib.redirect_stdout(told):
                exec(compile(example.source, "questions.md", "single"), self._names)
            # An empty line would end the output of the example.
            out += [line or "<BLANKLINE>" for line in told.getvalue().splitlines()]
        return "\n".join(out) + "\n"


if __name__ == "__main__":
    PAGE.write_text(made(), encoding="utf-8")
