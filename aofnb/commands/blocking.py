"""What the commands that can wait for data share: their timeout, and what they do instead of waiting.

Redis: timeout.c getTimeoutFromObjectOrReply, blocked.c (7.0.15).
"""

from __future__ import annotations

from aofnb.commands import longdouble
from aofnb.commands.args import INT64_MAX
from aofnb.commands.client import Client
from aofnb.errors import ReplyError

__all__ = ["timeout_ms", "would_block"]


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


def would_block(client: Client, name: str) -> None:
    """Nil, as after a timeout, where nothing may wait: inside EXEC and while loading.

    Raises
    ------
    ReplyError
        Elsewhere, since command `name` would have to wait.
    """
    if not (client.in_exec or client.loading):
        raise ReplyError(f"ERR {name} would block: waiting for data is not supported yet; use the non-blocking form")
