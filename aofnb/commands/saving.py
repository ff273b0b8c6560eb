"""SAVE, BGSAVE, LASTSAVE and SHUTDOWN: snapshots, and the end of the store.

Redis: rdb.c saveCommand, bgsaveCommand; db.c lastsaveCommand, shutdownCommand (7.0.15).
"""

from __future__ import annotations

from aofnb.commands import messages
from aofnb.commands.client import Client
from aofnb.commands.registry import command
from aofnb.errors import ReplyError

__all__: list[str] = []


@command("SAVE", arity=1, flags="admin no_async_loading no_multi noscript")
def save(client: Client) -> str:
    """Write a snapshot of all data to dump.rdb."""
    client.server.persistence.save()
    return "OK"


@command("BGSAVE", arity=-1, flags="admin no_async_loading noscript")
def bgsave(client: Client, *words: bytes) -> str:
    """Write a snapshot of all data to dump.rdb while commands go on; SCHEDULE: or as soon as that can be."""
    if words and (len(words) > 1 or words[0].lower() != b"schedule"):
        raise ReplyError(messages.SYNTAX_ERROR)
    return client.server.persistence.bgsave(schedule=bool(words))


@command("LASTSAVE", arity=1, flags="fast loading stale")
def lastsave(client: Client) -> int:
    """Return when the last snapshot was written, in seconds since the epoch."""
    return client.server.persistence.last_save_s()


@command("SHUTDOWN", arity=-1, flags="admin allow_busy loading no_multi noscript stale")
def shutdown(client: Client, *words: bytes) -> str:
    """Make everything durable and close the store; later commands say that it is closed."""
    chosen = {word.lower() for word in words}
    if chosen - {b"save", b"nosave", b"now", b"force", b"abort"} or {b"save", b"nosave"} <= chosen:
        raise ReplyError(messages.SYNTAX_ERROR)
    if b"abort" in chosen:
        if len(words) > 1:
            raise ReplyError(messages.SYNTAX_ERROR)
        raise ReplyError("ERR No shutdown in progress.")
    if client.server.in_batch:
        raise ReplyError("ERR SHUTDOWN inside `with store.batch()`: leave the block first")
    save_first = True if b"save" in chosen else False if b"nosave" in chosen else None
    # NOW means not to wait for replicas, of which there are none.
    client.server.persistence.shutdown(save_first, b"force" in chosen)
    return "OK"
