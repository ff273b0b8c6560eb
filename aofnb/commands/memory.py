"""MEMORY, WAITAOF and CLIENT NO-TOUCH: what keys take, what is durable, what counts as use.

Sizes are the estimates of `aofnb.store.memory`: of Python objects, and other than those of a server.

Redis: object.c memoryCommand (7.0.15); replication.c waitaofCommand, networking.c (7.2).
"""

from __future__ import annotations

import gc
from typing import Any

import aofnb.commands.connection  # noqa: F401  # has the container of CLIENT NO-TOUCH
from aofnb.commands import messages
from aofnb.commands.args import integer
from aofnb.commands.client import Client
from aofnb.commands.registry import command
from aofnb.errors import ReplyError
from aofnb.store.memory import SAMPLES, key_bytes

__all__: list[str] = []


@command("MEMORY", arity=-2, since="4.0.0")
def memory(client: Client, *args: bytes) -> Any:
    """A container for commands on memory."""
    raise messages.wrong_arity("memory")


@command("MEMORY USAGE", arity=-3, flags="readonly", keys=(2, 2, 1), since="4.0.0")
def memory_usage(client: Client, key: bytes, *words: bytes) -> int | None:
    """Estimate the bytes that a key and its value take, from some of its elements; SAMPLES 0 looks at all."""
    samples = SAMPLES
    for at in range(0, len(words), 2):
        if words[at].upper() != b"SAMPLES" or at + 1 == len(words):
            raise ReplyError(messages.SYNTAX_ERROR)
        samples = integer(words[at + 1])
        if samples < 0:
            raise ReplyError(messages.SYNTAX_ERROR)
    found = client.db.read(key)
    return None if found is None else key_bytes(key, found, client.db.deadline_ms(key) is not None, samples)


@command("MEMORY STATS", arity=2, since="4.0.0")
def memory_stats(client: Client) -> Any:
    """Estimate what all keys take. The parts of a server that are not here are left out."""
    keyspace = client.server.keyspace
    dataset = sum(key_bytes(key, value, when is not None) for db in keyspace for key, value, when in db.walk())
    keys = keyspace.key_count()
    about: dict[bytes, Any] = {
        b"total.allocated": dataset,
        b"keys.count": keys,
        b"keys.bytes-per-key": dataset // keys if keys else 0,
        b"dataset.bytes": dataset,
    }
    return client.map_reply(about)


@command("MEMORY DOCTOR", arity=2, since="4.0.0")
def memory_doctor(client: Client) -> bytes:
    """Say that there is nothing to say: the memory is the interpreter's, which reports nothing of it."""
    return (
        b"Sorry, no report: memory is managed by Python here. MEMORY USAGE and MEMORY STATS estimate what keys take.\n"
    )


@command("MEMORY MALLOC-STATS", arity=2, since="4.0.0")
def memory_malloc_stats(client: Client) -> bytes:
    """Say that the allocator is not jemalloc, in the server's words."""
    return b"Stats not supported for the current allocator"


@command("MEMORY PURGE", arity=2, since="4.0.0")
def memory_purge(client: Client) -> str:
    """Have Python collect its garbage."""
    gc.collect()
    return "OK"


@command("MEMORY HELP", arity=2, flags="loading stale", since="4.0.0")
def memory_help(client: Client) -> list[str]:
    """List the subcommands."""
    return messages.help_lines(
        "MEMORY",
        "DOCTOR",
        "    Return memory problems reports.",
        "MALLOC-STATS",
        "    Return internal statistics report from the memory allocator.",
        "PURGE",
        "    Attempt to purge dirty pages for reclamation by the allocator.",
        "STATS",
        "    Return information about the memory usage of the server.",
        "USAGE <key> [SAMPLES <count>]",
        "    Return memory in bytes used by <key> and its value. Nested values are",
        "    sampled up to <count> times (default: 5, 0 means sample all).",
    )


@command("WAITAOF", arity=4, flags="blocking noscript", since="7.2.0")
def waitaof(client: Client, local: bytes, replicas: bytes, timeout: bytes) -> list[int]:
    """Sync the log, if `local` is 1: how many logs, here and on replicas, have all that was written before.

    It does not wait for others: the log is synced at once, and replicas are not asked what they have on disk, so that
    for them the answer is always 0.
    """
    wanted = integer(local, "ERR value is out of range, value must between 0 and 1")
    if wanted not in (0, 1):
        raise ReplyError("ERR value is out of range, value must between 0 and 1")
    if integer(replicas) < 0:
        raise ReplyError("ERR value is out of range, must be positive")
    if integer(timeout, "ERR timeout is not an integer or out of range") < 0:
        raise ReplyError("ERR timeout is negative")
    if wanted and not client.server.config.appendonly:
        raise ReplyError("ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.")
    return [int(client.server.sync_log(wanted == 1)), 0]


@command("CLIENT NO-TOUCH", arity=3, flags="loading noscript stale", since="7.2.0")
def client_no_touch(client: Client, mode: bytes) -> str:
    """ON: what this connection reads does not count as use, for eviction and OBJECT, but for TOUCH."""
    if mode.upper() not in (b"ON", b"OFF"):
        raise ReplyError(messages.SYNTAX_ERROR)
    client.no_touch = mode.upper() == b"ON"
    return "OK"
