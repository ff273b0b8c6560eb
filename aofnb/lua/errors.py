"""How an API function of scripts fails.

Two kinds, since Lua has two: a table that names a reply (``redis.call`` and its like raise these), and a text with
the place of the caller in front (what Lua's own libraries raise).
"""

from __future__ import annotations

__all__ = ["ArgumentError", "LuaTextError", "ScriptError", "ScriptKilledError"]


class ScriptError(Exception):
    """Becomes ``{err=text}``; the text has its code: ``ERR ...``.

    `counted` says that a command gave it: the table then has ``ignore_error_stats_update`` too, as scripts can see.
    """

    def __init__(self, text: str, counted: bool = False) -> None:
        super().__init__(text)
        self.counted = counted


class LuaTextError(Exception):
    """Becomes a text, behind the place of the caller unless `placed` says that it has one."""

    def __init__(self, text: str, placed: bool = False) -> None:
        super().__init__(text)
        self.placed = placed


class ArgumentError(LuaTextError):
    """A wrong argument: ``bad argument #1 to 'pack' (number expected, got string)``."""

    def __init__(self, position: int, problem: str) -> None:
        super().__init__(problem)
        self.position = position


class ScriptKilledError(Exception):
    """Ends the script; nothing in it can catch this. Becomes ``{err=text}``."""
