"""Where the bytes of a reply depend on which command it answers: kinds of nil, and texts for people.

In process a nil is None and a text is bytes, whatever the command; on a socket redis-server spells some of them in ways
of their own. Tables, so that handlers need not know.

Redis: networking.c addReplyNullArray, addReplyVerbatim and those who call them (7.0.15).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aofnb.resp.replies import NIL_ARRAY, LongDouble, Verbatim

__all__ = ["as_sent", "name_of"]

# Nil means that there is no array.
_NIL_ARRAYS = frozenset(
    b"BLMOVE BLMPOP BLPOP BRPOP BRPOPLPUSH BZMPOP BZPOPMAX BZPOPMIN EXEC LMPOP XRANGE XREAD XREADGROUP XREVRANGE "
    b"ZMPOP".split()
)
# So it does where a count is given.
_NIL_ARRAYS_IF_COUNTED = frozenset((b"LPOP", b"RPOP"))
# But not for these where they may not wait, as inside EXEC.
_MOVES = frozenset((b"BLMOVE", b"BRPOPLPUSH"))
_COORDINATES = frozenset(b"GEOPOS GEORADIUS GEORADIUS_RO GEORADIUSBYMEMBER GEORADIUSBYMEMBER_RO GEOSEARCH".split())
# Every nil among the items is one.
_NIL_ITEMS = frozenset((b"GEOPOS",))
_TEXTS = frozenset((b"INFO", b"CLIENT LIST", b"CLIENT INFO", b"LATENCY DOCTOR", b"LATENCY GRAPH", b"MEMORY DOCTOR"))
_CONTAINERS = frozenset((b"CLIENT", b"LATENCY", b"MEMORY"))
# No other command needs a look.
_CONCERNED = _COORDINATES | _NIL_ARRAYS | _NIL_ARRAYS_IF_COUNTED | _NIL_ITEMS | _TEXTS | _CONTAINERS | {b"XPENDING"}


def name_of(argv: Sequence[bytes]) -> bytes:
    """The name of a command in the spelling of this module's tables, with its subcommand where that matters."""
    name = argv[0].upper()
    if name in _CONTAINERS and len(argv) > 1:
        return b"%b %b" % (name, argv[1].upper())
    return name


def _with_coordinates(reply: Any) -> Any:
    if isinstance(reply, list):
        return [_with_coordinates(item) for item in reply]
    return LongDouble(reply) if type(reply) is float else reply


def as_sent(argv: Sequence[bytes], reply: Any, queued: Sequence[Sequence[bytes]] = ()) -> Any:
    """`reply` to the command `argv` with nils and texts marked; `queued` are the commands that an EXEC ran."""
    name = name_of(argv)
    if reply is None:
        counted = name in _NIL_ARRAYS_IF_COUNTED and len(argv) > 2
        return NIL_ARRAY if counted or name in _NIL_ARRAYS else None
    if name not in _CONCERNED and not queued:
        return reply
    if name == b"EXEC" and isinstance(reply, list):
        return [
            None if item is None and name_of(inner) in _MOVES else as_sent(inner, item)
            for inner, item in zip(queued, reply)
        ]
    if name in _COORDINATES:
        reply = _with_coordinates(reply)
    if name in _NIL_ITEMS and isinstance(reply, list):
        return [NIL_ARRAY if item is None else item for item in reply]
    if name == b"XREADGROUP" and isinstance(reply, list):
        return [
            [key, [[id_, NIL_ARRAY if fields is None else fields] for id_, fields in entries]] for key, entries in reply
        ]
    if name == b"XPENDING" and isinstance(reply, list) and len(reply) == 4 and reply[3] is None:
        return [*reply[:3], NIL_ARRAY]
    if name in _TEXTS and isinstance(reply, bytes):
        return Verbatim(reply)
    return reply
