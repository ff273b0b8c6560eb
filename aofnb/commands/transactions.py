"""MULTI, EXEC, DISCARD and WATCH.

Queueing is the engine's work; here is what opens, runs and drops the queue. A transaction is one unit: its
records reach the log together, or not at all.

Redis: multi.c (7.0.15).
"""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

from aofnb.commands.client import Client
from aofnb.commands.registry import command
from aofnb.errors import ReplyError

__all__ = ["discard_transaction", "unwatch_all"]


@command("MULTI", arity=1, flags="allow_busy fast loading noscript stale", since="1.2.0")
def multi(client: Client) -> str:
    """Begin a transaction: commands are queued until EXEC."""
    if client.multi is not None:
        raise ReplyError("ERR MULTI calls can not be nested")
    client.multi = []
    client.multi_aborted = False
    return "OK"


@command("EXEC", arity=1, flags="loading noscript skip_slowlog stale", since="1.2.0")
def exec_(client: Client) -> list[Any] | None:
    """Run the queued commands; nil if a watched key changed. Errors of single commands are among the replies."""
    queue = client.multi
    if queue is None:
        raise ReplyError("ERR EXEC without MULTI")
    spoiled, broken = client.multi_aborted, client.watch_broken or _watched_expired(client)
    discard_transaction(client)
    if spoiled:
        raise ReplyError("EXECABORT Transaction discarded because of previous errors.")
    if broken:
        return None
    replies: list[Any] = []
    for queued, argv in queue:
        try:
            if client.restricted:
                client.server.check_again(client, queued, argv)
            replies.append(client.server.call(client, queued, argv))
        except ReplyError as problem:
            replies.append(problem)
    return replies


@command("DISCARD", arity=1, flags="allow_busy fast loading noscript stale", since="2.0.0")
def discard(client: Client) -> str:
    """Drop the queued commands and end the transaction."""
    if client.multi is None:
        raise ReplyError("ERR DISCARD without MULTI")
    discard_transaction(client)
    return "OK"


@command("WATCH", arity=-2, flags="allow_busy fast loading noscript stale", keys=(1, -1, 1), since="2.2.0")
def watch(client: Client, *keys: bytes) -> str:
    """Let the next EXEC run only if these keys stay as they are."""
    if client.multi is not None:
        raise ReplyError("ERR WATCH inside MULTI is not allowed")
    for key in keys:
        place = (client.db.index, key)
        if place not in client.watching and client.db.overdue(key):
            # It is gone already, though it stays until someone meets it: its deletion will be no change.
            client.watching_overdue.add(place)
        client.watching.add(place)
        client.server.watched.setdefault(place, WeakSet()).add(client)
    client.server.look_around()
    return "OK"


@command("UNWATCH", arity=1, flags="allow_busy fast loading noscript stale", since="2.2.0")
def unwatch(client: Client) -> str:
    """Forget all watched keys."""
    unwatch_all(client)
    return "OK"


def discard_transaction(client: Client) -> None:
    """Leave MULTI, if in it, and forget all watched keys."""
    client.multi = None
    client.multi_aborted = False
    unwatch_all(client)


def unwatch_all(client: Client) -> None:
    watched = client.server.watched
    for place in client.watching:
        watchers = watched[place]
        watchers.discard(client)
        if not watchers:
            del watched[place]
    client.watching.clear()
    client.watching_overdue.clear()
    client.watch_broken = False
    if not watched:
        client.server.look_around()


def _watched_expired(client: Client) -> bool:
    keyspace = client.server.keyspace
    places = client.watching - client.watching_overdue
    return any(keyspace[index].overdue(key) for index, key in places)
