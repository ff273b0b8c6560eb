"""``%load_ext aofnb``: the magics ``%redis``, ``%%redis`` and ``%aof``, with completion and help.

Loading hooks into IPython in five places, and unloading undoes each: the magics, the completer, the kernel's
help, an input transformer, and a hook after each cell.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from aofnb.commands.registry import find
from aofnb.magics import complete
from aofnb.magics.help import install_inspect, uninstall_inspect
from aofnb.magics.magic import AofnbMagics

__all__ = ["AofnbMagics", "load_ipython_extension", "unload_ipython_extension"]


@dataclass(slots=True)
class _Loaded:
    magics: AofnbMagics
    completer: Any
    inspects: bool


# By shell: a process may have several in tests.
_loaded: dict[int, _Loaded] = {}


def load_ipython_extension(ipython: Any) -> None:
    """Register everything; loading twice is fine."""
    if id(ipython) in _loaded:
        return
    magics = AofnbMagics(ipython)
    ipython.register_magics(magics)
    ipython.events.register("post_run_cell", magics.after_cell)
    ipython.input_transformers_cleanup.append(question_marks)
    _loaded[id(ipython)] = _Loaded(magics, complete.install(ipython, magics), install_inspect(ipython))


def unload_ipython_extension(ipython: Any) -> None:
    """Take everything back, and close the stores that ``%redis --open`` opened."""
    loaded = _loaded.pop(id(ipython), None)
    if loaded is None:
        return
    complete.uninstall(ipython, loaded.completer)
    if loaded.inspects:
        uninstall_inspect(ipython)
    ipython.input_transformers_cleanup.remove(question_marks)
    ipython.events.unregister("post_run_cell", loaded.magics.after_cell)
    loaded.magics.forget()


_QUESTION = re.compile(r"^(?P<before>\s*(?:[\w.\[\]'\", ]+=\s*)?)%redis[ \t]+(?P<rest>\S.*\?)[ \t]*(?P<end>\n?)$")


def question_marks(lines: list[str]) -> list[str]:
    """Keep IPython from taking a ``?`` at the end of a ``%redis`` line as a question about a Python name.

    ``%redis SET?`` becomes ``HELP SET``; in ``%redis KEYS user?`` the mark is part of the pattern.
    """
    text = "".join(lines)
    # Inside a cell magic or a long string such a line is not ours to change.
    if "%redis" not in text or text.lstrip().startswith("%%") or '"""' in text or "'''" in text:
        return lines
    return [_QUESTION.sub(_explicit_call, line) for line in lines]


def _explicit_call(match: re.Match[str]) -> str:
    words = match["rest"].rstrip("?").split(" ")
    rest = match["rest"]
    if all(words) and (command := find([word.encode() for word in words])) and command.name == " ".join(words).upper():
        rest = f"HELP {command.name}"
    return f"{match['before']}get_ipython().run_line_magic('redis', {rest!r}){match['end']}"
