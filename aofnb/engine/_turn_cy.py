# cython: language_level=3, boundscheck=False, wraparound=False
"""Kernel: how a session runs a command, and runs of plain GET and SET, without the steps that only others need.

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
from aofnb.commands.registry import Command
from aofnb.commands.strings import get, set_
from aofnb.engine.hot import Hot
from aofnb.errors import ReplyError
from aofnb.store._table_cy import Table
from aofnb.store.keyspace import Database

try:
    import cython
except ModuleNotFoundError:
    from aofnb import _cython as cython

if cython.compiled:
    from cython.cimports.aofnb.store._slots import held, hold, slot_of
else:
    from aofnb.store._slots import held, hold, slot_of

if TYPE_CHECKING:
    from aofnb.engine.core import Engine

COMPILED = cython.compiled

_GATE, _TORN, _LONG_WAY, _REFUSAL, _TOTAL = [
    slot_of(Hot, name) for name in ("gate", "torn", "long_way", "refusal", "total_commands")
]
_DB, _MULTI, _LIMITED, _DIRTY, _REWRITTEN = [
    slot_of(Client, name) for name in ("db", "multi", "limited", "dirty", "rewritten_args")
]
_DATA, _EXPIRES, _HITS, _MISSES = [slot_of(Database, name) for name in ("_data", "_expires", "hits", "misses")]
_HANDLER, _WRITES = slot_of(Command, "handler"), slot_of(Command, "writes")

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


def executor(
    engine: Engine, client: Client, whole: Callable[[Any], list[bytes]], other: Callable[[object], bytes]
) -> Any:
    """The hot path of a session: `Engine.execute` in fewer steps, outside MULTI and while nothing is refused.

    `whole` makes an argument vector of what was given, or says what is wrong with it; `other` makes bytes of an
    argument that is neither bytes nor text.
    """
    shortcuts: list[Any] = engine.shortcuts
    effects: list[Any] = engine.effects
    longest: cython.Py_ssize_t = len(shortcuts)
    lock = engine.lock
    finish, acquire, release = engine.finish, lock.acquire, lock.release

    # A closure: on this path a look-up of `self` for every part costs as much as the command itself.
    def execute(*argv: Any) -> Any:
        """Run one command, name first; the reply when the log holds it as the policy promises. See `Session`."""
        n: cython.Py_ssize_t = len(argv)
        command: Any = None
        arg: Any
        if 0 < n < longest:
            try:
                command = shortcuts[n].get(argv[0])
            except TypeError:  # a bytearray cannot be looked up
                command = None
        if command is None or held(client, _MULTI) is not None or held(client, _LIMITED):
            return engine.execute(client, whole(argv))
        if n == 2:  # a command and its key, the shape of GET
            arg = argv[1]
            if type(arg) is str:
                arg = arg.encode()
            elif type(arg) is not bytes:
                arg = other(arg)
            if cython.compiled and held(command, _HANDLER) is get and held(engine, _GATE) is lock:
                # By the calls: a with block takes twice as long, and in C no Ctrl-C can come between them and the try.
                acquire()
                try:
                    reply = _found(engine, client, arg)
                finally:
                    release()
                if reply is not _UNKNOWN:
                    return reply
            args: tuple[Any, ...] = (arg,)
        else:
            args = tuple(
                [arg if type(arg) is bytes else arg.encode() if type(arg) is str else other(arg) for arg in argv[1:]]
            )
        # A with block, since Ctrl-C may come right behind a call to acquire().
        with held(engine, _GATE):
            if held(engine, _TORN) or held(engine, _LONG_WAY) or held(engine, _REFUSAL) is not None:
                return engine.execute(client, whole(argv))
            hold(engine, _TOTAL, held(engine, _TOTAL) + 1)
            if held(command, _WRITES):
                engine.begin_turn(client)
            try:
                reply = held(command, _HANDLER)(client, *args)
            except ReplyError as problem:
                engine.timing.failed(problem)
                finish(client, command, argv[0], args)
                raise
            if held(client, _DIRTY) or effects or held(client, _REWRITTEN):
                finish(client, command, argv[0], args)
            elif held(command, _WRITES):
                hold(engine, _TORN, False)
            return reply

    return execute


# That a value is not known without asking for more.
_UNKNOWN = object()


@cython.cfunc
@cython.locals(data=Table, expires=Table)
def _found(engine: Any, client: Any, key: bytes) -> Any:
    """What GET replies, and it is counted; `_UNKNOWN`, and nothing is, unless it is a string without a deadline, or not
    there.
    """
    db: Any = held(client, _DB)
    found: Any
    if held(engine, _TORN) or held(engine, _LONG_WAY) or held(engine, _REFUSAL) is not None or type(db) is not Database:
        return _UNKNOWN
    data, expires = held(db, _DATA), held(db, _EXPIRES)
    if expires and key in expires:
        return _UNKNOWN
    found = data.get(key)
    if found is None:
        hold(db, _MISSES, held(db, _MISSES) + 1)
    elif type(found) is bytes:
        hold(db, _HITS, held(db, _HITS) + 1)
    else:
        return _UNKNOWN
    hold(engine, _TOTAL, held(engine, _TOTAL) + 1)
    return found
