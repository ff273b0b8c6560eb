# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Kernel: GET and SET in their plain shapes, from the bytes that clients send to those of the replies.

What `engine._turn_cy` is for argument vectors, without making any. A SET is logged as it came: what a client sends and
what the log holds are the same bytes. Whatever differs is left to the caller: another command or spelling, an option, a
request that is not all there, another kind of value, a deadline that is over or that SET would end, a client inside
MULTI. That both give the same replies and the same log, a property test holds.
"""

from __future__ import annotations

from typing import Any

from aofnb.adapters._peer_cy import Peer
from aofnb.commands.client import Client
from aofnb.commands.strings import get, set_
from aofnb.store.keyspace import Database

try:
    import cython
except ModuleNotFoundError:
    from aofnb import _cython as cython

if cython.compiled:
    from cython.cimports.aofnb.resp._encode_cy import put_number
    from cython.cimports.aofnb.resp._plain_cy import argument_at
    from cython.cimports.aofnb.store._slots import held, slot_of
    from cython.cimports.aofnb.store._table_cy import (
        INLINE_MAX,
        NUMBER,
        Record,
        kind_of,
        record_of,
        value_number,
        value_of,
        value_text,
    )
    from cython.cimports.cpython.bytearray import PyByteArray_AS_STRING, PyByteArray_GET_SIZE, PyByteArray_Resize
    from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
    from cython.cimports.libc.string import memcmp, memcpy
else:
    from aofnb.resp._plain_cy import argument_at
    from aofnb.resp.replies import encode_reply
    from aofnb.store._slots import held, slot_of

COMPILED = cython.compiled

_LIMITED, _MULTI, _DB, _RESP = [slot_of(Client, name) for name in ("limited", "multi", "db", "resp")]
_SAID_GET, _SAID_SET = [b"GET"], [b"SET"]
# What a string takes besides its bytes, as a reply; and how many bytes of replies there is room for at first.
_MOST = 24
_OUT_BYTES = 1024
# A larger one is not kept for the next turn.
_OUT_BYTES_KEPT = 64 << 10


class Plain:
    """Answers the plain requests of a server's clients, turn by turn."""

    def __init__(self, engine):
        self.engine = engine
        # How many may still run in this turn, and how many did.
        self.room = self.total = 0
        # When the turn is, in ms since the epoch; -1 if nobody asked.
        self.now_ms = -1
        # Whether GET and SET are what they are while nobody watches or measures them: -1 if nobody asked in this turn.
        # No plain request changes that.
        self.may_get = self.may_set = -1
        # The database that they are about, its tables, and whether a new key need not be told to it.
        self.db = self.values = self.expires = None
        self.untold = False
        # What is to be told of it: how many keys were found, and not, and set, and the records of these.
        self.hits = self.misses = self.written = 0
        self.records = []
        # Replies to the client whose turn it is: so many bytes of it.
        self.out = bytearray(_OUT_BYTES)
        self.out_bytes = 0

    @cython.locals(peer=Peer)
    def answer(self, arrived, most, now_s):
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
        data: bytes
        pos: cython.Py_ssize_t
        sent: tuple
        heard_s: cython.double = now_s
        answers: list[Any] = []
        left: list[Any] = []
        engine = self.engine
        if engine.long_way or engine.refusal is not None or engine.outbox.items:
            return answers, arrived
        self.begin(most)
        for sent in arrived:
            peer = sent[0]
            data = sent[1]
            peer.last_heard_s = heard_s
            pos = self.run(peer, data)
            if pos == len(data) and not peer.out:
                answers.append((peer, self.replies()))
            else:
                if pos:
                    peer.out.append(self.replies())
                left.append((peer, data[pos:]))
        self.end()
        return answers, left

    def begin(self, most):
        """Begin a turn; what one that failed has left is forgotten, since it is not done either."""
        self.room = most
        self.total = 0
        self.may_get = self.may_set = self.now_ms = -1
        self.hits = self.misses = self.written = 0
        self.records.clear()
        self.out_bytes = 0
        self.db = None

    def end(self):
        """Tell what was done, and keep nothing that somebody else may want to let go."""
        self.tell()
        self.engine.total_commands += self.total
        self.db = self.values = self.expires = None
        if len(self.out) > _OUT_BYTES_KEPT:
            self.out = bytearray(_OUT_BYTES)

    def run(self, peer, data):
        """Run requests of one client; where in `data` those begin that are left."""
        client: Any = peer.client
        p: cython.p_const_char = data
        q: cython.p_const_uchar = data
        size: cython.Py_ssize_t = len(data)
        left: cython.Py_ssize_t = min(self.room, peer.share)
        pos: cython.Py_ssize_t = 0
        # Where the SETs begin that are not in `records` yet: most often one follows another.
        sets: cython.Py_ssize_t = -1
        start: cython.Py_ssize_t
        end: cython.Py_ssize_t
        text: cython.Py_ssize_t
        header: cython.longlong
        writes: cython.bint
        if held(client, _LIMITED) or held(client, _MULTI) is not None:
            return 0
        if held(client, _DB) is not self.db and not self.select(held(client, _DB)):
            return 0
        while left > 0 and size - pos > 13:
            if _begins(p, pos, b"*2\r\n$3\r\nGET\r\n") or _begins(p, pos, b"*2\r\n$3\r\nget\r\n"):
                writes = False
                if self.may_get < 0:
                    self.may_get = _is_known(self.engine, 2, b"GET", b"get", get)
                if not self.may_get:
                    break
            elif _begins(p, pos, b"*3\r\n$3\r\nSET\r\n") or _begins(p, pos, b"*3\r\n$3\r\nset\r\n"):
                writes = True
                if self.may_set < 0:
                    self.may_set = self.nobody_watches() and _is_known(self.engine, 3, b"SET", b"set", set_)
                if not (self.may_set and self.untold):
                    break
            else:
                break
            header = argument_at(q, pos + 13, size)
            if header < 0:
                break
            start = pos + 13 + (header & 255)
            end = start + (header >> 8)
            if self.is_heeded(p, start, end, writes):
                break
            if writes:
                header = argument_at(q, end + 2, size)
                if header < 0:
                    break
                text = end + 2 + (header & 255)
                self.set_key(p, start, end, text, text + (header >> 8))
                if sets < 0:
                    sets = pos
                pos = text + (header >> 8) + 2
                peer.said = _SAID_SET
            else:
                if not self.read_key(p, start, end, client):
                    break
                if sets >= 0:
                    self.records.append(data[sets:pos])
                    sets = -1
                pos = end + 2
                peer.said = _SAID_GET
            left -= 1
            self.room -= 1
            self.total += 1
        if sets >= 0:
            self.records.append(data if pos - sets == size else data[sets:pos])
        return pos

    def is_heeded(self, p, start, end, writes):
        """Whether the deadline of the key p[start:end], if any, has to be seen to: it is over, or a SET ends it."""
        when_ms: cython.longlong
        if not cython.compiled:
            if p[start:end] not in self.expires:
                return False
            when_ms = self.expires[p[start:end]]
        else:
            record: cython.pointer(Record) = record_of(cython.address(self.expires.keys), p + start, end - start)
            if record == cython.NULL:
                return False
            if kind_of(record) != NUMBER:
                return True
            when_ms = value_number(record)[0]
        if self.now_ms < 0:
            self.now_ms = self.engine.now_ms()
        return writes or when_ms < self.now_ms

    def read_key(self, p, start, end, client):
        """Reply with the value of the key p[start:end]; False, and nothing is done, if that is not kept as bytes."""
        found: Any = None
        if not cython.compiled:
            found = self.values.get(p[start:end])
            if found is not None and type(found) is not bytes:
                return False
            self.out[self.out_bytes :] = encode_reply(found, held(client, _RESP))
            self.out_bytes = len(self.out)
            self.hits, self.misses = self.hits + (found is not None), self.misses + (found is None)
            return True
        record: cython.pointer(Record) = record_of(cython.address(self.values.keys), p + start, end - start)
        if record == cython.NULL:
            self.misses += 1
            if held(client, _RESP) < 3:
                self.append(b"$-1\r\n", 5)
            else:
                self.append(b"_\r\n", 3)
            return True
        if kind_of(record) <= INLINE_MAX:
            self.append_bulk(value_text(record), kind_of(record))
        else:
            found = value_of(record)
            if type(found) is not bytes:
                return False
            self.append_bulk(PyBytes_AS_STRING(found), PyBytes_GET_SIZE(found))
        self.hits += 1
        return True

    def set_key(self, p, start, end, text, text_end):
        """Set the key p[start:end] to p[text:text_end]."""
        self.written += 1
        if not cython.compiled:
            self.values[p[start:end]] = p[text:text_end]
            self.out[self.out_bytes :] = b"+OK\r\n"
            self.out_bytes = len(self.out)
            return
        if text_end - text <= INLINE_MAX:
            self.values.put_text(p + start, end - start, p + text, text_end - text)
        else:
            self.values.put(p + start, end - start, PyBytes_FromStringAndSize(p + text, text_end - text))
        self.append(b"+OK\r\n", 5)

    def append_bulk(self, text, size):
        """Reply with a string."""
        p: cython.p_char = self.room_for(size + _MOST)
        end: cython.p_char = put_number(p, 36, size)
        memcpy(end, text, size)
        end[size] = 13
        end[size + 1] = 10
        self.out_bytes += end + size + 2 - p

    def append(self, text, size):
        """Reply with what is encoded already."""
        memcpy(self.room_for(size), text, size)
        self.out_bytes += size

    def room_for(self, size):
        """Where so many bytes can be put."""
        if self.out_bytes + size > PyByteArray_GET_SIZE(self.out):
            PyByteArray_Resize(self.out, 2 * (self.out_bytes + size))
        return PyByteArray_AS_STRING(self.out) + self.out_bytes

    def replies(self):
        """What is to be sent to the client whose turn it was."""
        size: cython.Py_ssize_t = self.out_bytes
        self.out_bytes = 0
        if not cython.compiled:
            return bytes(self.out[:size])
        return PyBytes_FromStringAndSize(PyByteArray_AS_STRING(self.out), size)

    def select(self, db):
        """Go on with another database; False if one has to know more of what is done with it."""
        if type(db) is not Database:
            return False
        self.tell()
        self.db = db
        self.values, self.expires = db._data, db._expires
        self.untold = db._pool is None
        return True

    def nobody_watches(self):
        """Whether nobody has to be told of a change, and nothing is to go to the log first."""
        return self.engine.observe is None and not self.engine.effects

    def tell(self):
        """Have the database count, and the log written, what is not yet."""
        db, engine = self.db, self.engine
        if self.hits or self.misses:
            db.hits += self.hits
            db.misses += self.misses
            self.hits = self.misses = 0
        if self.written:
            engine.keyspace.dirty += self.written
            if engine.writer is not None:
                engine.writer.feed_encoded(db.index, self.records, self.written)
            self.records.clear()
            self.written = 0


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _begins(p: cython.p_const_char, pos: cython.Py_ssize_t, head: cython.p_const_char) -> cython.bint:
    """Whether the 13 bytes of `head` are at p[pos]."""
    if not cython.compiled:
        return p.startswith(head, pos)
    return memcmp(p + pos, head, 13) == 0


@cython.cfunc
@cython.exceptval(-1)
def _is_known(engine: Any, argc: int, name: bytes, lower: bytes, handler: Any) -> cython.bint:
    """Whether the command of that name is run by `handler`, and not by another that measures it."""
    shortcuts = engine.shortcuts[argc]
    command = shortcuts.get(name) or shortcuts.get(lower)
    return command is not None and command.handler is handler
