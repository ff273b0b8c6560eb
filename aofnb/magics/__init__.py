"""``%load_ext aofnb``: the magics ``%redis``, ``%%redis`` and ``%aof``, with completion and help.

Loading hooks into IPython in five places, and unloading undoes each: the magics, the completer, the kernel's
help, an input transformer, and a hook after each cell.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import Any

from traitlets import TraitError

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
    magics = _configured(ipython)
    ipython.register_magics(magics)
    ipython.events.register("post_run_cell", magics.after_cell)
    ipython.input_transformers_cleanup.append(question_marks)
    _loaded[id(ipython)] = _Loaded(magics, complete.install(ipython, magics), install_inspect(ipython))


def _configured(ipython: Any) -> AofnbMagics:
    """The magics as ``%config`` and the profile set them; with the defaults, saying so, where that cannot be."""
    try:
        return AofnbMagics(ipython)
    except TraitError as problem:
        for half_made in [one for one in ipython.configurables if isinstance(one, AofnbMagics)]:
            ipython.configurables.remove(half_made)
        ipython.config.pop(AofnbMagics.__name__, None)
        warnings.warn(f"%config AofnbMagics: {problem}; all its settings are at their defaults now", stacklevel=3)
        return AofnbMagics(ipython)


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
    if "%redis" not in text or text.lstrip().startswith("%%"):
        return lines
    changed: list[str] = []
    quote = ""
    for line in lines:
        changed.append(line if quote else _QUESTION.sub(_explicit_call, line))
        if quote or not _MAGIC.match(line):
            quote = _open_quote(line, quote)
    return changed


_MAGIC = re.compile(r"\s*(?:[\w.\[\]'\", ]+=\s*)?[%!]")
_TRIPLE = {quote: re.compile(r"(?s:\\.|(?!" + quote + r")[^\\])*(?P<end>" + quote + ")?") for quote in ('"""', "'''")}
_PYTHON = re.compile(r"\"{3}|'{3}|\"(?:\\.|[^\"\\\n])*\"?|'(?:\\.|[^'\\\n])*'?|#.*")


def _open_quote(line: str, quote: str) -> str:
    """The triple quote that is open at the end of `line`, where `quote` was open at its beginning."""
    pos = 0
    while True:
        if quote:
            inside = _TRIPLE[quote].match(line, pos)
            if inside is None or inside["end"] is None:
                return quote
            quote, pos = "", inside.end()
        found = _PYTHON.search(line, pos)
        if found is None:
            return ""
        pos = found.end()
        if found.group() in _TRIPLE:
            quote = found.group()


def _explicit_call(match: re.Match[str]) -> str:
    words = match["rest"].rstrip("?").split(" ")
    rest = match["rest"]
    if all(words) and (command := find([word.encode() for word in words])) and command.name == " ".join(words).upper():
        rest = f"HELP {command.name}"
    return f"{match['before']}get_ipython().run_line_magic('redis', {rest!r}){match['end']}"
