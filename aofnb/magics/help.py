"""Help on a command, made from its declaration.

It is reached by ``%redis SET?``, by ``%redis HELP SET``, and by Shift-Tab and the contextual help of JupyterLab:
those ask the kernel, whose `do_inspect` is wrapped, since IPython by itself looks for a Python name.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Sequence
from typing import Any

from aofnb.commands.registry import NEVER, REWRITTEN, Command, Propagate, all_commands, find, table
from aofnb.magics.complete import redis_text
from aofnb.magics.grammar import signature
from aofnb.magics.parse import OPTIONS, MagicError, unfinished

__all__ = ["Help", "command_help", "help_at", "install_inspect", "overview", "uninstall_inspect", "usage"]

_LOGGED = {
    Propagate.VERBATIM: "as typed; times, ids and random choices are written out",
    REWRITTEN: "rewritten, so that replay gives the same data at any time",
    Propagate.ALWAYS: "as typed, even if nothing changed",
    NEVER: "not logged",
}


class Help:
    """A few lines of help."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        printer.text(self.text)


def command_help(words: Sequence[str]) -> Help:
    """Help on the command, subcommand or family that `words` name.

    Raises
    ------
    MagicError
        There is none.
    """
    name = " ".join(words).upper()
    command = find([word.encode() for word in words])
    if command is not None and command.name == name:
        return Help("\n".join(_lines(command)))
    family = [entry.name for entry in all_commands() if entry.group == name.lower()]
    if family:
        return Help(f"{name.lower()}: {', '.join(sorted(family))}")
    raise MagicError(f"no help on {name}; %redis HELP lists the commands")


def overview() -> Help:
    """All commands by family."""
    families: dict[str, list[str]] = {}
    for entry in table.values():
        families.setdefault(entry.group, []).append(entry.name)
    width = max(map(len, families), default=0)
    lines = [f"{group:{width}}  {' '.join(sorted(names))}" for group, names in sorted(families.items())]
    return Help(
        "\n".join([*lines, "", "%redis HELP SET, or %redis SET?, says more about one; %redis? is on the magic"])
    )


def _lines(command: Command) -> list[str]:
    # What follows the summary says where the server has it, which is for those who read the source.
    doc = inspect.cleandoc(command.handler.__doc__ or "").partition("\nRedis: ")[0].strip()
    lines = [*_wrapped(signature(command.name)), "", *([doc, ""] if doc else [])]
    if command.subcommands:
        lines.append(f"parts   {' '.join(sorted(sub.decode() for sub in command.subcommands))}")
    lines.append(f"log     {_LOGGED[command.propagate]}")
    lines.append(f"family  {command.group}, since Redis {command.since}")
    if command.flags:
        lines.append(f"flags   {' '.join(sorted(command.flags))}")
    return lines


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 100, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def help_at(code: str, cursor: int) -> str | None:
    """Help on the command of the Redis text at `cursor`, or None where there is none."""
    # The rest of the word belongs to it: the cursor may stand in the middle of the name.
    rest = re.match(r"\S*", code[cursor:])
    before = code[: cursor + (rest.end() if rest else 0)]
    line = before.count("\n")
    text = redis_text(before, line, len(before) - before.rfind("\n") - 1)
    if text is None:
        return None
    typed = unfinished(text)
    words = [word for word in (*typed.words, typed.prefix) if not word.startswith(b"-")]
    command = find(words) if words else None
    return "\n".join(_lines(command)) if command is not None else None


def install_inspect(shell: Any) -> bool:
    """Have the kernel of `shell` answer Shift-Tab in Redis text; False where there is no kernel."""
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return False
    original = kernel.do_inspect

    def do_inspect(code: str, cursor_pos: int, *args: Any, **options: Any) -> Any:
        text = help_at(code, cursor_pos)
        if text is None:
            return original(code, cursor_pos, *args, **options)
        return {"status": "ok", "found": True, "data": {"text/plain": text}, "metadata": {}}

    kernel.do_inspect = do_inspect
    return True


def uninstall_inspect(shell: Any) -> None:
    """Take back what `install_inspect` did: the method of the class shows again."""
    vars(shell.kernel).pop("do_inspect", None)


def usage() -> str:
    """How ``%redis`` is used; the docstring of the magic ends with it."""
    rows = []
    for option in OPTIONS:
        spelled = ", ".join(option.names) + (f" {option.metavar}" if option.metavar else "")
        rows.append((spelled, option.help))
    width = max(len(spelled) for spelled, _ in rows)
    return "\n".join(f"    {spelled:{width}}  {help_}" for spelled, help_ in rows)
