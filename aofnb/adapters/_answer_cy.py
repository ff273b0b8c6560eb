# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Kernel: GET and SET in their plain shapes, from the bytes that clients send to those of the replies.

What `engine._turn_cy` is for argument vectors, without making any. A SET is logged as it came: what a client sends and
what the log holds are the same bytes. Whatever differs is left to the caller: another command or spelling, an option, a
request that is not all there, another kind of value, a key with a deadline, a client inside MULTI. That both give the
same replies and the same log, a property test holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aofnb.adapters._peer_cy import Peer
from aofnb.commands.client import Client
from aofnb.commands.strings import get, set_
from aofnb.resp._encode_cy import encode_replies
from aofnb.store._table_cy import Table
from aofnb.store.keyspace import Database

try:
    import cython
except ModuleNotFoundError:
    from aofnb import _cython as cython

if cython.compiled:
    from cython.cimports.aofnb.resp._plain_cy import argument_at
else:
    from aofnb.resp._plain_cy import argument_at

if TYPE_CHECKING:
    from aofnb.engine.core import Engine

    Arrived = list[tuple[Any, bytes]]

COMPILED = cython.compiled


@cython.locals(peer=Peer)
def answer(engine: Engine, arrived: Arrived, most: cython.Py_ssize_t, now_s: float) -> tuple[Arrived, Arrived]:
    """Run requests inside the running turn: `most` at most, and of each client as many as its share is.

    `arrived` are clients that wait for nothing and have nothing else to be run, and what they sent.

    Returns
    -------
    answers
        Clients all of whose requests were run, and the replies.
    left
        The others, and what they sent from the first request on that was not run. Replies to those before are in
        their `out`.
    """
    client: Client
    data: bytes
    out: list[bytes]
    replies: list[Any]
    pos: cython.Py_ssize_t
    done: cython.Py_ssize_t
    answers: list[Any] = []
    left: list[Any] = []
    # Records that are not in the log yet, and the database that they are of.
    records: list[bytes] = []
    db: Database | None = None
    selected: Any
    total: cython.Py_ssize_t = 0
    said_get, said_set = ([b"GET"], now_s), ([b"SET"], now_s)
    if engine.long_way or engine.refusal is not None or engine.outbox.items:
        return answers, arrived
    # What GET and SET are while nobody watches or measures them. No plain request changes that.
    may_get: cython.bint = _is_known(engine, 2, b"GET", b"get", get)
    may_set: cython.bint = _is_known(engine, 3, b"SET", b"set", set_) and engine.observe is None and not engine.effects
    for peer, data in arrived:
        peer.last_heard_s = now_s
        client = peer.client
        out = peer.out
        replies = []
        pos = 0
        selected = client.db
        if client.multi is None and not client.listening and total < most and type(selected) is Database:
            if selected is not db:
                _log(engine, db, records)
                db = selected
            pos = _run(selected, data, min(most - total, peer.share), may_get, may_set, replies, records)
        done = len(replies)
        if done:
            total += done
            client.heard = said_set if type(replies[done - 1]) is str else said_get
        if pos == len(data) and not out:
            answers.append((peer, encode_replies(replies, client.resp)))
        else:
            if done:
                out.append(encode_replies(replies, client.resp))
            left.append((peer, data[pos:]))
    _log(engine, db, records)
    engine.total_commands += total
    return answers, left


@cython.cfunc
@cython.locals(values=Table, expires=Table)
def _run(
    db: Database,
    data: bytes,
    most: cython.Py_ssize_t,
    may_get: cython.bint,
    may_set: cython.bint,
    replies: list[Any],
    records: list[bytes],
) -> cython.Py_ssize_t:
    """Run up to `most` requests of one client; where in `data` those begin that are left."""
    p: cython.p_const_uchar = data
    size: cython.Py_ssize_t = len(data)
    pos: cython.Py_ssize_t = 0
    start: cython.Py_ssize_t
    end: cython.Py_ssize_t
    header: cython.longlong
    writes: cython.bint
    key: bytes
    found: Any
    hits: cython.Py_ssize_t = 0
    misses: cython.Py_ssize_t = 0
    values = db._data
    expires = db._expires
    may_set = may_set and db._pool is None
    while most > 0 and size - pos > 13:
        writes = may_set and (_begins(p, pos, b"*3\r\n$3\r\nSET\r\n") or _begins(p, pos, b"*3\r\n$3\r\nset\r\n"))
        if not (
            writes or (may_get and (_begins(p, pos, b"*2\r\n$3\r\nGET\r\n") or _begins(p, pos, b"*2\r\n$3\r\nget\r\n")))
        ):
            break
        header = argument_at(p, pos + 13, size)
        if header < 0:
            break
        start = pos + 13 + (header & 255)
        end = start + (header >> 8)
        key = p[start:end]
        if expires and key in expires:
            break
        if writes:
            header = argument_at(p, end + 2, size)
            if header < 0:
                break
            start = end + 2 + (header & 255)
            end = start + (header >> 8)
            values[key] = p[start:end]
            replies.append("OK")
            records.append(data[pos : end + 2])
        else:
            found = values.get(key)
            if found is None:
                misses += 1
            elif type(found) is bytes:
                hits += 1
            else:
                break
            replies.append(found)
        pos = end + 2
        most -= 1
    if hits:
        db.hits += hits
    if misses:
        db.misses += misses
    return pos


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _begins(p: cython.p_const_uchar, pos: cython.Py_ssize_t, head: cython.p_const_uchar) -> cython.bint:
    """Whether the 13 bytes of `head` are at p[pos]."""
    i: cython.Py_ssize_t
    for i in range(13):  # noqa: SIM110  # a generator would not be C
        if p[pos + i] != head[i]:
            return False
    return True


def _log(engine: Engine, db: Database | None, records: list[bytes]) -> None:
    """Feed the log with `records`, and forget them."""
    if db is not None and records:
        engine.keyspace.dirty += len(records)
        if engine.writer is not None:
            engine.writer.feed_encoded(db.index, records)
        records.clear()


def _is_known(engine: Engine, argc: int, name: bytes, lower: bytes, handler: Any) -> bool:
    """Whether the command of that name is run by `handler`, and not by another that measures it."""
    shortcuts = engine.shortcuts[argc]
    command = shortcuts.get(name) or shortcuts.get(lower)
    return command is not None and command.handler is handler
