# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Kernel: the commonest commands of a log, applied to a database at once.

Each is what its handler does in the one case that a log is full of: plain arguments, a key of the right kind, while
nothing expires and nobody watches. Whatever differs, an option or an error above all, is left to the handler. That both
leave the same data, a property test holds.
"""

from __future__ import annotations

from typing import Any

from aofnb.store._stream_cy import append
from aofnb.store._table_cy import Table
from aofnb.store.hash_value import HashValue
from aofnb.store.keyspace import Database
from aofnb.store.list_value import CHUNK, ListValue
from aofnb.store.set_value import SetValue
from aofnb.store.stream import Node, Stream
from aofnb.store.zset import SortedSet

try:
    import cython
except ModuleNotFoundError:
    from aofnb import _cython as cython

if cython.compiled:
    from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize
else:
    from aofnb.store._packed_cy import add, with_fields, with_score
    from aofnb.store._slots import held, hold, slot_of

COMPILED = cython.compiled

_SET, _DEL, _INCR, _PEXPIREAT, _HSET, _RPUSH, _LPUSH, _SADD, _ZADD, _XADD, _MSET, _INCRBY, _LPOP, _RPOP, _LTRIM = range(
    15
)
# By the bytes of the name, as Redis and its clients spell it.
_OPERATIONS: dict[bytes, int] = {
    spelled: operation
    for name, operation in (
        (b"SET", _SET),
        (b"DEL", _DEL),
        (b"INCR", _INCR),
        (b"PEXPIREAT", _PEXPIREAT),
        (b"HSET", _HSET),
        (b"RPUSH", _RPUSH),
        (b"LPUSH", _LPUSH),
        (b"SADD", _SADD),
        (b"ZADD", _ZADD),
        (b"XADD", _XADD),
        (b"MSET", _MSET),
        (b"INCRBY", _INCRBY),
        (b"LPOP", _LPOP),
        (b"RPOP", _RPOP),
        (b"LTRIM", _LTRIM),
    )
    for spelled in (name, name.lower())
}
OPERATIONS = frozenset(_OPERATIONS)
_EXEC = [b"EXEC"]

# Where the values keep what they hold.
_HASH_DATA, _HASH_STATE = slot_of(HashValue, "_data"), slot_of(HashValue, "_state")
_LIST_DATA = slot_of(ListValue, "_data")
_SET_INTSET, _SET_POOL, _SET_MEMBERS = (
    slot_of(SetValue, "_intset"),
    slot_of(SetValue, "_pool"),
    slot_of(SetValue, "members"),
)
_ZSET_DATA, _ZSET_STATE = slot_of(SortedSet, "_data"), slot_of(SortedSet, "_state")
_STREAM_LAST_ID = slot_of(Stream, "last_id")


def transaction_end(argvs: list[list[bytes]], index: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """The index of the EXEC for the MULTI at argvs[index], if there are only commands for `apply` between; else -1."""
    argv: list[bytes]
    while index + 1 < len(argvs):
        index += 1
        argv = argvs[index]
        if argv[0] not in OPERATIONS:
            return index if argv == _EXEC else -1
    return -1


@cython.locals(data=Table, expires=Table)
def apply(
    argvs: list[list[bytes]],
    index: cython.Py_ssize_t,
    count: cython.Py_ssize_t,
    db: Database,
    limits: tuple[int, int, int, int, int, int, int],
) -> cython.Py_ssize_t:
    """Apply commands from argvs[index] to before argvs[count] to `db`; the index of the first one that is left to its
    handler, or `count`.

    `limits` are hash-max-listpack-entries and -value, set-max-intset-entries, zset-max-listpack-entries and -value,
    stream-node-max-bytes and -entries.
    """
    argc: cython.Py_ssize_t
    operation: cython.int
    hash_entries: cython.Py_ssize_t = limits[0]
    hash_bytes: cython.Py_ssize_t = limits[1]
    intset_entries: cython.Py_ssize_t = limits[2]
    zset_entries: cython.Py_ssize_t = limits[3]
    zset_bytes: cython.Py_ssize_t = limits[4]
    argv: list[bytes]
    key: bytes
    arg: bytes
    data = db._data
    expires = db._expires
    known: dict[bytes, Any]
    ends: list[Any]
    end: list[bytes]
    found: Any
    inner: Any
    made: Any
    entry_id: Any
    blob: bytes
    dash: cython.Py_ssize_t
    ms: cython.longlong
    seq: cython.longlong
    i: cython.Py_ssize_t
    score: cython.double
    if type(db) is not Database or db._pool is not None:
        return index
    while index < count:
        # Once for each 32 commands, however often one of them is left to its handler.
        if cython.compiled and index & 31 == 0:
            data.fetch(argvs, index, expires)
        argv = argvs[index]
        argc = len(argv)
        found = _OPERATIONS.get(argv[0])
        if found is None or argc < 2:
            return index
        operation = found
        key = argv[1]
        if operation == 0:
            if argc == 3:
                if expires:
                    expires.pop(key, None)
                data[key] = argv[2]
            elif argc != 5 or argv[3] != b"PXAT" or not _is_plain_number(argv[4]) or db._deadlines is not None:
                return index
            else:
                data[key] = argv[2]
                expires[key] = _number(argv[4], 0, len(argv[4]))
        elif operation == 1:
            if argc != 2:
                return index
            if expires:
                expires.pop(key, None)
            data.pop(key, None)
        elif operation == 2:
            if argc != 2:
                return index
            found = data.get(key)
            if found is None:
                data[key] = b"1"
            elif type(found) is bytes and _is_plain_number(found):
                data[key] = _one_more(found)
            else:
                return index
        elif operation == 3:
            # A heap of deadlines, made at the first question for the earliest, is kept by `Database.set_deadline`.
            if argc != 3 or not _is_plain_number(argv[2]) or db._deadlines is not None:
                return index
            if key in data:
                expires[key] = _number(argv[2], 0, len(argv[2]))
        elif operation == 4:
            if argc < 4 or argc % 2:
                return index
            found = data.get(key)
            if type(found) is not HashValue:
                if found is not None:
                    return index
                data[key] = found = HashValue()
            inner = held(found, _HASH_DATA)
            if type(inner) is bytes:
                made = with_fields(inner, argv[2:], hash_entries, hash_bytes)
                if made is None:
                    found.update(argv[2:], hash_entries, hash_bytes)
                else:
                    hold(found, _HASH_DATA, made)
            elif type(held(found, _HASH_STATE)) is not bool:
                return index
            else:
                known = inner
                for i in range(2, argc, 2):
                    arg = argv[i + 1]
                    known[argv[i]] = arg
                    if len(known) > hash_entries or len(argv[i]) > hash_bytes or len(arg) > hash_bytes:
                        hold(found, _HASH_STATE, False)
        elif operation == 5 or operation == 6:
            if argc < 3:
                return index
            found = data.get(key)
            if type(found) is not ListValue:
                if found is not None:
                    return index
                data[key] = found = ListValue()
            for i in range(2, argc):
                arg = argv[i]
                inner = held(found, _LIST_DATA)
                if type(inner) is bytes:
                    made = add(inner, arg, operation == 6)
                    if made is not None:
                        hold(found, _LIST_DATA, made)
                    elif operation == 5:
                        found.append(arg)
                    else:
                        found.prepend(arg)
                elif operation == 5:
                    ends = inner
                    end = ends[len(ends) - 1] if ends else []
                    if 0 < len(end) < CHUNK:
                        end.append(arg)
                    else:
                        ends.append([arg])
                else:
                    found.prepend(arg)
        elif operation == 7:
            if argc < 3:
                return index
            found = data.get(key)
            if type(found) is not SetValue:
                if found is not None:
                    return index
                data[key] = found = SetValue()
            for i in range(2, argc):
                if held(found, _SET_INTSET) or held(found, _SET_POOL) is not None:
                    found.add(argv[i], intset_entries)
                else:
                    known = held(found, _SET_MEMBERS)
                    known[argv[i]] = None
        elif operation == 8:
            if argc < 4 or argc % 2:
                return index
            for i in range(2, argc, 2):
                if not _is_plain_score(argv[i]):
                    return index
            found = data.get(key)
            if type(found) is not SortedSet:
                if found is not None:
                    return index
                data[key] = found = SortedSet()
            elif type(held(found, _ZSET_STATE)) is not bool:
                return index
            for i in range(2, argc, 2):
                arg = argv[i + 1]
                score = _score(argv[i])
                inner = held(found, _ZSET_DATA)
                if type(inner) is bytes:
                    made = None
                    blob = inner
                    if len(arg) <= zset_bytes and blob[0] < zset_entries:
                        made = with_score(blob, arg, score)
                    if made is None:
                        found.add(arg, score, zset_entries, zset_bytes)
                    else:
                        hold(found, _ZSET_DATA, made)
                    continue
                known = inner
                if score == 0 or (
                    held(found, _ZSET_STATE) is True and (len(known) >= zset_entries or len(arg) > zset_bytes)
                ):
                    found.add(arg, score, zset_entries, zset_bytes)
                else:
                    known[arg] = score
        elif operation == 10:
            if argc % 2 == 0:
                return index
            for i in range(1, argc, 2):
                key = argv[i]
                if expires:
                    expires.pop(key, None)
                data[key] = argv[i + 1]
        elif operation == 11:
            if argc != 3 or not _is_plain_number(argv[2]):
                return index
            found = data.get(key)
            if found is None:
                data[key] = argv[2]
            elif type(found) is bytes and _is_plain_number(found):
                data[key] = b"%d" % (_number(found, 0, len(found)) + _number(argv[2], 0, len(argv[2])))
            else:
                return index
        elif operation == 12 or operation == 13:
            if argc != 2:
                return index
            found = data.get(key)
            if type(found) is ListValue:
                if operation == 12:
                    found.pop_first()
                else:
                    found.pop_last()
                if not found:
                    if expires:
                        expires.pop(key, None)
                    data.pop(key, None)
            elif found is not None:
                return index
        elif operation == 14:
            # As lists are kept short. The handler takes other ranges.
            if argc != 4 or argv[2] != b"0" or not _is_plain_number(argv[3]):
                return index
            found = data.get(key)
            if type(found) is ListValue:
                ms = _number(argv[3], 0, len(argv[3])) + 1
                if ms < len(found):
                    found.trim(0, ms)
            elif found is not None:
                return index
        else:
            # The handler takes options, ids that are made here, and what is wrong.
            if argc < 5 or argc % 2 == 0:
                return index
            dash = _dash_in_id(argv[2])
            if dash == 0:
                return index
            ms = _number(argv[2], 0, dash)
            seq = _number(argv[2], dash + 1, len(argv[2]))
            found = data.get(key)
            if type(found) is not Stream:
                if found is not None or (ms == 0 and seq == 0):
                    return index
                data[key] = found = Stream()
            entry_id = (ms, seq)
            if entry_id <= held(found, _STREAM_LAST_ID):
                return index
            append(found, Node, entry_id, tuple(argv[3:]), limits[5], limits[6])
        index += 1
    return index


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _is_plain_number(text: bytes) -> cython.bint:
    """Whether `text` is a number above zero in its shortest spelling that is far from 64 bits."""
    i: cython.Py_ssize_t
    size: cython.Py_ssize_t = len(text)
    p: cython.p_const_uchar = text
    if size == 0 or size > 17 or p[0] == 48:
        return False
    for i in range(size):  # noqa: SIM110  # in C a loop, where any() would be a generator
        if p[i] < 48 or p[i] > 57:
            return False
    return True


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _is_plain_score(text: bytes) -> cython.bint:
    """Whether `text` has digits and at most one point, and reads the same everywhere."""
    i: cython.Py_ssize_t
    size: cython.Py_ssize_t = len(text)
    p: cython.p_const_uchar = text
    points: cython.int = 0
    if size == 0 or size > 19:
        return False
    for i in range(size):
        if p[i] == 46:
            points += 1
        elif p[i] < 48 or p[i] > 57:
            return False
    return points < 2 and size > points


@cython.cfunc
@cython.inline
@cython.exceptval(-1, check=True)
def _score(text: bytes) -> cython.double:
    """The number in `text`, which is a plain score."""
    i: cython.Py_ssize_t
    size: cython.Py_ssize_t = len(text)
    p: cython.p_const_uchar = text
    number: cython.longlong = 0
    power: cython.double = 1.0
    is_fraction: cython.bint = False
    if size > 15:
        return float(text)
    # So few digits are an exact double, and so is the power of ten: the one rounding is that of the division.
    for i in range(size):
        if p[i] == 46:
            is_fraction = True
        else:
            number = number * 10 + (p[i] - 48)
            if is_fraction:
                power *= 10
    return number / power


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _dash_in_id(text: bytes) -> cython.Py_ssize_t:
    """Where the dash is in two numbers of up to 18 digits with one between them; 0 if it is something else."""
    i: cython.Py_ssize_t
    dash: cython.Py_ssize_t = 0
    size: cython.Py_ssize_t = len(text)
    p: cython.p_const_uchar = text
    for i in range(size):
        if p[i] == 45 and dash == 0:
            dash = i
        elif p[i] < 48 or p[i] > 57:
            return 0
    return dash if dash <= 18 and 0 < size - dash - 1 <= 18 else 0


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _number(text: bytes, start: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.longlong:
    """The number whose digits are text[start:end]."""
    i: cython.Py_ssize_t
    number: cython.longlong = 0
    p: cython.p_const_uchar = text
    for i in range(start, end):
        number = number * 10 + (p[i] - 48)
    return number


@cython.cfunc
@cython.inline
def _one_more(text: bytes) -> bytes:
    """The number after the one in `text`, which is plain."""
    number: cython.longlong = _number(text, 0, len(text)) + 1
    if not cython.compiled:
        return b"%d" % number
    size: cython.Py_ssize_t = len(text)
    # Of nines alone it becomes longer.
    longer: cython.bint = _is_longer(number, size)
    made: bytes = PyBytes_FromStringAndSize(cython.NULL, size + longer)
    p: cython.p_char = PyBytes_AS_STRING(made)
    at: cython.Py_ssize_t
    for at in range(size + longer - 1, -1, -1):
        p[at] = 48 + number % 10
        number //= 10
    return made


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _is_longer(number: cython.longlong, digits: cython.Py_ssize_t) -> cython.bint:
    """Whether `number` has more digits than so many."""
    while digits > 0:
        number //= 10
        digits -= 1
    return number > 0
