"""What every command asks of the engine. In slots, since kernels read and set these where they lie."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

__all__ = ["Hot"]


class Hot:
    """The part of an `Engine` that is asked for with every command.

    Attributes
    ----------
    gate
        Where commands come in: the engine's lock itself, but while a script runs something that answers BUSY.
    torn
        Set while a turn that may write is under way. Where it is set when a turn begins, Ctrl-C (or a fault) tore the
        one before, and memory may hold what the log does not: see `Engine.mend`.
    long_way
        Whether sessions must take the long way for every command, since more than usual has to be asked: the store is
        closed, or somebody tracks. See `Engine.look_around`.
    refusal
        Why write commands are refused, or None. A text, since it becomes an error reply.
    total_commands
        For INFO.
    """

    __slots__ = ("gate", "long_way", "refusal", "torn", "total_commands")

    def __init__(self, gate: AbstractContextManager[Any]) -> None:
        self.gate = gate
        self.torn = False
        self.long_way = False
        self.refusal: str | None = None
        self.total_commands = 0
