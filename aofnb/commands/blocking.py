"""What the commands that can wait for data share: their timeout, and what they wait for.

A handler that finds nothing ends in ``return wait_for(client, Wait(...))``. Where nothing may wait (inside EXEC and
scripts, and while loading) that gives the reply of a timeout at once; elsewhere it raises `MustWait`, which whoever
runs commands takes up: see `aofnb.engine.waiting`.

Redis: timeout.c getTimeoutFromObjectOrReply, blocked.c blockForKeys (7.0.15).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aofnb.commands import longdouble
from aofnb.commands.args import INT64_MAX, integer
from aofnb.commands.client import Client
from aofnb.commands.registry import find
from aofnb.errors import ReplyError
from aofnb.store.values import Container

__all__ = ["NOT_YET", "MustWait", "Wait", "timeout_ms", "timeout_of", "wait_for"]


class _NotYet:
    def __repr__(self) -> str:
        return "NOT_YET"


NOT_YET: Final = _NotYet()
"""What `Wait.serve` gives where the key holds nothing for this client."""


@dataclass(frozen=True, slots=True, eq=False)
class Wait:
    """What a command waits for.

    Attributes
    ----------
    keys, kind
        Wait until one of `keys` (none: only for the time to pass) holds a `kind` again.
    timeout_ms
        0 stands for ever.
    serve
        Called with the key that became ready, in a unit of its own and with the client's database selected: changes
        the data, asks for log records and returns the reply, or returns `NOT_YET`.
    gone
        The reply where a key is ready but holds no `kind`; None: wait on.
    timed_out
        The reply after the timeout.
    """

    keys: Sequence[bytes]
    kind: type[Container] | type[None]
    timeout_ms: int
    serve: Callable[[bytes], Any]
    gone: ReplyError | None = None
    timed_out: Any = None


class MustWait(ReplyError):  # noqa: N818  # it is no error
    """A handler has nothing to answer yet; to those who know no waiting, an error reply that says so."""

    def __init__(self, wait: Wait) -> None:
        super().__init__("ERR the command would wait for data, which is not possible here; use the non-blocking form")
        self.wait = wait


def timeout_ms(arg: bytes) -> int:
    """A timeout, given in seconds with a fraction, in whole milliseconds, rounded up; 0 stands for ever.

    Raises
    ------
    ReplyError
        If it is no number, or negative, or so large that the server's 64 bits turn it negative.
    """
    seconds = longdouble.parse(arg)
    if seconds is None:
        raise ReplyError("ERR timeout is not a float or out of range")
    if longdouble.is_infinite(seconds):
        raise ReplyError("ERR timeout is negative")
    mantissa, exponent = seconds
    # Shifting right rounds down, whatever the sign: so the other way round it rounds up.
    milliseconds = mantissa * 1000 << exponent if exponent >= 0 else -(-mantissa * 1000 >> -exponent)
    if not 0 <= milliseconds <= INT64_MAX:
        raise ReplyError("ERR timeout is negative")
    return milliseconds


def wait_for(client: Client, wait: Wait) -> Any:
    """The reply of a timeout, where nothing may wait: inside EXEC and scripts, and while loading.

    Raises
    ------
    MustWait
        Elsewhere.
    """
    if client.in_exec or client.loading:
        return wait.timed_out
    raise MustWait(wait)


def timeout_of(argv: Sequence[bytes]) -> int | None:
    """The timeout in ms (0 for ever) of a command that may wait; None for any other, and for what is no valid command.

    >>> timeout_of([b"BLPOP", b"q", b"0.5"]), timeout_of([b"BLPOP", b"q", b"0"]), timeout_of([b"GET", b"k"])
    (500, 0, None)
    """
    command = find(argv)
    if command is None or not command.min_argc <= len(argv) <= command.max_argc:
        return None
    try:
        if command.name in _TIMEOUT_AT:
            return timeout_ms(argv[_TIMEOUT_AT[command.name]])
        if command.name == "WAIT":
            return integer(argv[2])
        if command.name in ("XREAD", "XREADGROUP"):
            words = [arg.upper() for arg in argv]
            options = words[: words.index(b"STREAMS")] if b"STREAMS" in words else []
            return integer(options[options.index(b"BLOCK") + 1]) if b"BLOCK" in options[:-1] else None
    except ReplyError:
        return None
    return None


# Command -> which argument is its timeout.
_TIMEOUT_AT = {
    "BLPOP": -1, "BRPOP": -1, "BLMOVE": -1, "BRPOPLPUSH": -1, "BZPOPMIN": -1, "BZPOPMAX": -1, "BLMPOP": 1, "BZMPOP": 1,
}  # fmt: skip
