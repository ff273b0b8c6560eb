"""Commands between a server and its replicas: PSYNC, SYNC, REPLCONF, ROLE, REPLICAOF.

A store can have replicas while it is served on a socket, and is never one itself. What these commands ask goes
through ``client.server.replication``, which whoever serves the store sets.

Redis: replication.c (7.0.15).
"""

from __future__ import annotations

from typing import Any

from aofnb.commands import messages
from aofnb.commands.args import integer
from aofnb.commands.client import Client
from aofnb.commands.registry import command
from aofnb.errors import ReplyError
from aofnb.resp.replies import NO_REPLY

__all__ = ["NOT_SERVED"]

NOT_SERVED = "ERR a store has replicas only while it is served on a socket: store.serve(), or aofnb serve"


@command("PSYNC", arity=-3, flags="admin no_async_loading no_multi noscript", since="2.8.0")
def psync(client: Client, replication_id: bytes, offset: bytes, *_failover: bytes) -> Any:
    """Make the connection a replica, from where it is if that is known here, or with all data."""
    if client.server.replication is None:
        raise ReplyError(NOT_SERVED)
    client.server.replication.sync(client, replication_id, integer(offset))
    return NO_REPLY


@command("SYNC", arity=1, flags="admin no_async_loading no_multi noscript")
def sync(client: Client) -> Any:
    """Make the connection a replica, with all data."""
    if client.server.replication is None:
        raise ReplyError(NOT_SERVED)
    client.server.replication.sync(client, None, -1)
    return NO_REPLY


@command("REPLCONF", arity=-1, flags="admin allow_busy loading noscript stale", since="3.0.0")
def replconf(client: Client, *options: bytes) -> Any:
    """Tell what a replica is and what it has."""
    replication = client.server.replication
    if replication is None:
        raise ReplyError(NOT_SERVED)
    if len(options) % 2:
        raise ReplyError(messages.SYNTAX_ERROR)
    for name, value in zip(options[::2], options[1::2], strict=True):
        match name.lower():
            case b"listening-port":
                replication.describe(client, port=integer(value))
            case b"ip-address":
                replication.describe(client, ip=value)
            case b"ack":
                replication.acknowledged(client, integer(value))
                return NO_REPLY
            case b"capa" | b"rdb-only" | b"rdb-filter-only" | b"getack":
                # What it could do besides: full data and the stream is all that is sent.
                pass
            case _:
                raise messages.error(f"ERR Unrecognized REPLCONF option: {messages.shown(name)}")
    return "OK"


@command("ROLE", arity=1, flags="fast loading noscript stale", since="2.8.12")
def role(client: Client) -> list[Any]:
    """Tell that this is a master, how far its stream is, and which replicas it has."""
    replication = client.server.replication
    return [b"master", 0, []] if replication is None else replication.role()


@command("REPLICAOF", arity=3, flags="admin no_async_loading noscript stale", since="5.0.0")
def replicaof(client: Client, host: bytes, port: bytes) -> str:
    """Refuse to be a replica; REPLICAOF NO ONE changes nothing."""
    if host.upper() == b"NO" and port.upper() == b"ONE":
        return "OK"
    raise ReplyError("ERR a store is no replica of others; load a copy of the other's files, or push to this one")


@command("SLAVEOF", arity=3, flags="admin no_async_loading noscript stale")
def slaveof(client: Client, host: bytes, port: bytes) -> str:
    """Do what REPLICAOF does."""
    return replicaof(client, host, port)
