# cython: language_level=3, boundscheck=False, wraparound=False
"""Kernel: GET and SET in their plain shapes, one after the other, without the steps that only other commands need.

Each is what its handler does while nobody watches, and nothing but a key's own deadline is to be asked for. Whatever
differs is left to the engine: an option, another kind of value, a key with a deadline, a client inside MULTI. That both
give the same replies and the same log, a property test holds.

No exception of a user's can come up between the commands of a run: where Ctrl-C tears one all the same, the turn is
torn as a whole, see `Engine.mend`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from aofnb.commands.client import Client
from aofnb.commands.strings import get, set_
from aofnb.store._table_cy import Table
from aofnb.store.keyspace import Database

try:
    import cython
except ModuleNotFoundError:
    from aofnb import _cython as cython

if TYPE_CHECKING:
    from aofnb.engine.core import Engine

COMPILED = cython.compiled

# The commands for which it is worth to ask, by the bytes of the name as clients spell it.
QUICK = frozenset((b"GET", b"SET", b"get", b"set"))


# Names of commands, as text, in bytes; so many spellings at most.
_NAMES: dict[str, bytes] = {}
_NAMES_KEPT = 1024


@cython.locals(data=Table, expires=Table)
def take(
    engine: Engine, client: Client, argvs: list[list[bytes]], index: cython.Py_ssize_t, replies: list[Any]
) -> cython.Py_ssize_t:
    """Run commands from argvs[index] on inside the running turn, their replies appended to `replies`.

    Returns
    -------
    int
        The index of the first command that is left to the engine.
    """
    db: Database = client.db
    data = db._data
    expires = db._expires
    first: cython.Py_ssize_t = index
    count: cython.Py_ssize_t = len(argvs)
    argv: list[bytes]
    key: bytes
    found: Any
    getters: dict[Any, Any] = engine.shortcuts[2]
    setters: dict[Any, Any] = engine.shortcuts[3]
    written: list[list[bytes]] = []
    hits: cython.Py_ssize_t = 0
    misses: cython.Py_ssize_t = 0
    if client.multi is not None or client.limited or type(db) is not Database:
        return index
    if engine.long_way or engine.refusal is not None:
        return index
    may_set: cython.bint = engine.observe is None and db._pool is None and not engine.effects
    while index < count:
        argv = argvs[index]
        if len(argv) == 2:
            # A handler that measures itself is another one.
            found = getters.get(argv[0])
            if found is None or found.handler is not get:
                break
            key = argv[1]
            if expires and key in expires:
                break
            found = data.get(key)
            if found is not None and type(found) is not bytes:
                break
            if found is None:
                misses += 1
            else:
                hits += 1
            replies.append(found)
        elif len(argv) == 3 and may_set:
            found = setters.get(argv[0])
            if found is None or found.handler is not set_:
                break
            key = argv[1]
            if expires and key in expires:
                break
            data[key] = argv[2]
            written.append(argv)
            replies.append("OK")
        else:
            break
        index += 1
    if written:
        engine.keyspace.dirty += len(written)
        if engine.writer is not None:
            engine.writer.feed_each(db.index, written)
    engine.total_commands += index - first
    db.hits += hits
    db.misses += misses
    return index


def as_bytes(batch: Iterable[Sequence[Any]], other: Callable[[object], bytes]) -> list[list[bytes]]:
    """The arguments of each command as bytes: text as UTF-8, and what is neither by `other`.

    >>> as_bytes([("SET", b"k", 7)], lambda number: b"%d" % number)
    [[b'SET', b'k', b'7']]
    """
    argvs: list[list[bytes]] = []
    argv: list[Any]
    arg: Any
    text: str
    known: Any
    i: cython.Py_ssize_t
    names: dict[str, bytes] = _NAMES
    for given in batch:
        argv = list(given)
        for i in range(len(argv)):
            arg = argv[i]
            if type(arg) is bytes:
                continue
            if type(arg) is not str:
                argv[i] = other(arg)
            elif i:
                text = arg
                argv[i] = text.encode()
            else:
                # A name. The same object each time, whose hash is known.
                known = names.get(arg)
                if known is None:
                    known = arg.encode()
                    if len(names) < _NAMES_KEPT:
                        names[arg] = known
                argv[i] = known
        argvs.append(argv)
    return argvs
