# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Kernel: the commonest commands of a log, applied to a database at once.

Each is what its handler does in the one case that a log is full of: plain arguments, a key of the right kind, while
nothing expires and nobody watches. Whatever differs, an option or an error above all, is left to the handler. That both
leave the same data, a property test holds.

Where the commands still stand in the log, objects are made only of what is kept as one.

As Python this does the same, so that a test can hold one against the other and a debugger can walk through it; a
process without kernels takes `plain_replay`, which is quicker there.
"""

from __future__ import annotations

from typing import Any

from aofnb.resp.pairs import Records
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
    from cython.cimports.libc.string import memcmp
else:
    _SET, _DEL, _INCR, _PEXPIREAT, _HSET, _RPUSH, _LPUSH, _SADD, _ZADD, _XADD, _MSET, _INCRBY, _LPOP, _RPOP, _LTRIM = (
        range(15)
    )
    from aofnb.resp._text import Text, bytes_of, size_of, text_of
    from aofnb.store._entries import find, is_there, key_hash, put, put_text, remove
    from aofnb.store._packed_cy import add as add_text
    from aofnb.store._packed_cy import with_field as with_field_text
    from aofnb.store._packed_cy import with_score as with_score_text
    from aofnb.store._slots import held, hold, slot_of

COMPILED = cython.compiled

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
    commands: Records | list[list[bytes]],
    index: cython.Py_ssize_t,
    count: cython.Py_ssize_t,
    db: Database,
    limits: tuple[int, int, int, int, int, int, int],
) -> cython.Py_ssize_t:
    """Apply commands from commands[index] to before commands[count] to `db`; the index of the first one that is left
    to its handler, or `count`.

    `limits` are hash-max-listpack-entries and -value, set-max-intset-entries, zset-max-listpack-entries and -value,
    stream-node-max-bytes and -entries.
    """
    argc: cython.Py_ssize_t
    operation: cython.int
    done: cython.bint
    args: Text[MOST_ARGUMENTS]
    hashed: uint64_t = 0
    hashes: uint64_t[BATCH]
    data = db._data
    expires = db._expires
    i: cython.Py_ssize_t
    if type(db) is not Database or db._pool is not None:
        return index
    begin: cython.Py_ssize_t = index
    fetched: cython.Py_ssize_t = index
    if cython.compiled:
        run = _run_of(commands)
    while index < count:
        if cython.compiled:
            if index >= fetched:
                begin, fetched = index, min(index + BATCH, count)
                for i in range(begin, fetched):
                    hashes[i - begin] = key_hash(_key(run, i))
                data.fetch(hashes, fetched - begin)
                expires.fetch(hashes, fetched - begin)
            hashed = hashes[index - begin]
            argc = _arguments(run, index, args)
            operation = _operation(args[0]) if argc > 1 else -1
        else:
            args = commands[index]
            argc = len(args)
            operation = _OPERATIONS.get(args[0], -1) if argc > 1 else -1
        if operation == _SET:
            done = _set(db, data, expires, args, argc, hashed)
        elif operation == _DEL:
            done = _del(data, expires, args, argc, hashed)
        elif operation == _INCR:
            done = _incr(data, args, argc, hashed)
        elif operation == _PEXPIREAT:
            done = _pexpireat(db, data, expires, args, argc, hashed)
        elif operation == _HSET:
            done = _hset(data, args, argc, hashed, limits[0], limits[1])
        elif operation in (_RPUSH, _LPUSH):
            done = _push(data, args, argc, hashed, operation == _LPUSH)
        elif operation == _SADD:
            done = _sadd(data, args, argc, hashed, limits[2])
        elif operation == _ZADD:
            done = _zadd(data, args, argc, hashed, limits[3], limits[4])
        elif operation == _XADD:
            done = _xadd(data, args, argc, hashed, limits[5], limits[6])
        elif operation == _MSET:
            done = _mset(data, expires, args, argc)
        elif operation == _INCRBY:
            done = _incrby(data, args, argc, hashed)
        elif operation in (_LPOP, _RPOP):
            done = _pop(data, expires, args, argc, hashed, operation == _LPOP)
        elif operation == _LTRIM:
            done = _ltrim(data, args, argc, hashed)
        else:
            return index
        if not done:
            return index
        index += 1
    return index


# --- one command each; false, and nothing done, where its handler must do it -----------------------------------------


@cython.cfunc
@cython.inline
@cython.exceptval(-1)
def _set(
    db: Database, data: Table, expires: Table, args: Arguments, argc: cython.Py_ssize_t, hashed: uint64_t
) -> cython.int:
    if argc != 3 and (
        argc != 5 or not _says(args[3], b"PXAT") or not _is_plain_number(args[4]) or db._deadlines is not None
    ):
        return False
    if argc == 3 and expires:
        remove(expires, args[1], hashed)
    put_text(data, args[1], hashed, args[2])
    if argc == 5:
        put(expires, args[1], hashed, _number(args[4], 0, size_of(args[4])))
    return True


@cython.cfunc
@cython.inline
@cython.exceptval(-1)
def _del(data: Table, expires: Table, args: Arguments, argc: cython.Py_ssize_t, hashed: uint64_t) -> cython.int:
    if argc != 2:
        return False
    if expires:
        remove(expires, args[1], hashed)
    remove(data, args[1], hashed)
    return True


@cython.cfunc
@cython.inline
@cython.exceptval(-1)
def _incr(data: Table, args: Arguments, argc: cython.Py_ssize_t, hashed: uint64_t) -> cython.int:
    if argc != 2:
        return False
    found: Any = find(data, args[1], hashed)
    if found is None:
        put(data, args[1], hashed, b"1")
    elif type(found) is bytes and _is_plain_number(text_of(found)):
        put(data, args[1], hashed, _one_more(found))
    else:
        return False
    return True


@cython.cfunc
@cython.inline
@cython.exceptval(-1)
def _incrby(data: Table, args: Arguments, argc: cython.Py_ssize_t, hashed: uint64_t) -> cython.int:
    if argc != 3 or not _is_plain_number(args[2]):
        return False
    found: Any = find(data, args[1], hashed)
    number: cython.longlong
    if found is None:
        put_text(data, args[1], hashed, args[2])
    elif type(found) is bytes and _is_plain_number(text_of(found)):
        number = _number(text_of(found), 0, len(found)) + _number(args[2], 0, size_of(args[2]))
        put(data, args[1], hashed, b"%d" % number)
    else:
        return False
    return True


@cython.cfunc
@cython.inline
@cython.exceptval(-1)
def _pexpireat(
    db: Database, data: Table, expires: Table, args: Arguments, argc: cython.Py_ssize_t, hashed: uint64_t
) -> cython.int:
    # A heap of deadlines, made at the first question for the earliest, is kept by `Database.set_deadline`.
    if argc != 3 or not _is_plain_number(args[2]) or db._deadlines is not None:
        return False
    if is_there(data, args[1], hashed):
        put(expires, args[1], hashed, _number(args[2], 0, size_of(args[2])))
    return True


@cython.cfunc
@cython.inline
@cython.exceptval(-1)
def _mset(data: Table, expires: Table, args: Arguments, argc: cython.Py_ssize_t) -> cython.int:
    if argc % 2 == 0:
        return False
    hashed: uint64_t
    i: cython.Py_ssize_t
    for i in range(1, argc, 2):
        hashed = key_hash(args[i])
        if expires:
            remove(expires, args[i], hashed)
        put_text(data, args[i], hashed, args[i + 1])
    return True


@cython.cfunc
@cython.inline
@cython.exceptval(-1)
def _hset(
    data: Table,
    args: Arguments,
    argc: cython.Py_ssize_t,
    hashed: uint64_t,
    max_entries: cython.Py_ssize_t,
    max_bytes: cython.Py_ssize_t,
) -> cython.int:
    if argc < 4 or argc % 2:
        return False
    found: Any = _found_or_made(data, args[1], hashed, HashValue)
    if found is None:
        return False
    inner: Any = held(found, _HASH_DATA)
    made: Any
    known: dict[bytes, Any]
    i: cython.Py_ssize_t
    if type(inner) is bytes:
        made = inner
        for i in range(2, argc, 2):
            made = with_field_text(made, args[i], args[i + 1], max_entries, max_bytes)
            if made is None:
                found.update([bytes_of(args[i]) for i in range(2, argc)], max_entries, max_bytes)
                return True
        hold(found, _HASH_DATA, made)
        return True
    if type(held(found, _HASH_STATE)) is not bool:
        return False
    known = inner
    for i in range(2, argc, 2):
        known[bytes_of(args[i])] = bytes_of(args[i + 1])
        if len(known) > max_entries or size_of(args[i]) > max_bytes or size_of(args[i + 1]) > max_bytes:
            hold(found, _HASH_STATE, False)
    return True


@cython.cfunc
@cython.inline
@cython.exceptval(-1)
def _push(data: Table, args: Arguments, argc: cython.Py_ssize_t, hashed: uint64_t, first: cython.bint) -> cython.int:
    if argc < 3:
        return False
    found: Any = _found_or_made(data, args[1], hashed, ListValue)
    if found is None:
        return False
    inner: Any
    made: Any
    ends: list[Any]
    end: list[bytes]
    i: cython.Py_ssize_t
    for i in range(2, argc):
        inner = held(found, _LIST_DATA)
        if type(inner) is bytes:
            made = add_text(inner, args[i], first)
            if made is not None:
                hold(found, _LIST_DATA, made)
            elif first:
                found.prepend(bytes_of(args[i]))
            else:
                found.append(bytes_of(args[i]))
        elif first:
            found.prepend(bytes_of(args[i]))
        else:
            ends = inner
            end = ends[len(ends) - 1] if ends else []
            if 0 < len(end) < CHUNK:
                end.append(bytes_of(args[i]))
            else:
                ends.append([bytes_of(args[i])])
    return True


@cython.cfunc
@cython.inline
@cython.exceptval(-1)
def _pop(
    data: Table, expires: Table, args: Arguments, argc: cython.Py_ssize_t, hashed: uint64_t, first: cython.bint
) -> cython.int:
    if argc != 2:
        return False
    found: Any = find(data, args[1], hashed)
    if type(found) is not ListValue:
        return found is None
    if first:
        found.pop_first()
    else:
        found.pop_last()
    if not found:
        if expires:
            remove(expires, args[1], hashed)
        remove(data, args[1], hashed)
    return True


@cython.cfunc
@cython.inline
@cython.exceptval(-1)
def _ltrim(data: Table, args: Arguments, argc: cython.Py_ssize_t, hashed: uint64_t) -> cython.int:
    # As lists are kept short. The handler takes other ranges.
    if argc != 4 or not _says(args[2], b"0") or not _is_plain_number(args[3]):
        return False
    found: Any = find(data, args[1], hashed)
    if type(found) is not ListValue:
        return found is None
    kept: cython.longlong = _number(args[3], 0, size_of(args[3])) + 1
    if kept < len(found):
        found.trim(0, kept)
    return True


@cython.cfunc
@cython.inline
@cython.exceptval(-1)
def _sadd(
    data: Table, args: Arguments, argc: cython.Py_ssize_t, hashed: uint64_t, intset_entries: cython.Py_ssize_t
) -> cython.int:
    if argc < 3:
        return False
    found: Any = _found_or_made(data, args[1], hashed, SetValue)
    if found is None:
        return False
    known: dict[bytes, Any]
    text: bytes
    i: cython.Py_ssize_t
    for i in range(2, argc):
        text = bytes_of(args[i])
        if held(found, _SET_INTSET) or held(found, _SET_POOL) is not None:
            found.add(text, intset_entries)
        else:
            known = held(found, _SET_MEMBERS)
            known[text] = None
    return True


@cython.cfunc
@cython.inline
@cython.exceptval(-1)
def _zadd(
    data: Table,
    args: Arguments,
    argc: cython.Py_ssize_t,
    hashed: uint64_t,
    max_entries: cython.Py_ssize_t,
    max_bytes: cython.Py_ssize_t,
) -> cython.int:
    if argc < 4 or argc % 2:
        return False
    i: cython.Py_ssize_t
    for i in range(2, argc, 2):
        if not _is_plain_score(args[i]):
            return False
    found: Any = _found_or_made(data, args[1], hashed, SortedSet)
    if found is None or type(held(found, _ZSET_STATE)) is not bool:
        return False
    member: Text
    score: cython.double
    inner: Any
    made: Any
    blob: bytes
    known: dict[bytes, Any]
    for i in range(2, argc, 2):
        score = _score(args[i])
        member = args[i + 1]
        inner = held(found, _ZSET_DATA)
        if type(inner) is bytes:
            made = None
            blob = inner
            if size_of(member) <= max_bytes and blob[0] < max_entries:
                made = with_score_text(blob, member, score)
            if made is None:
                found.add(bytes_of(member), score, max_entries, max_bytes)
            else:
                hold(found, _ZSET_DATA, made)
            continue
        known = inner
        if score == 0 or (
            held(found, _ZSET_STATE) is True and (len(known) >= max_entries or size_of(member) > max_bytes)
        ):
            found.add(bytes_of(member), score, max_entries, max_bytes)
        else:
            known[bytes_of(member)] = score
    return True


@cython.cfunc
@cython.inline
@cython.exceptval(-1)
def _xadd(
    data: Table,
    args: Arguments,
    argc: cython.Py_ssize_t,
    hashed: uint64_t,
    node_bytes: cython.Py_ssize_t,
    node_entries: cython.Py_ssize_t,
) -> cython.int:
    # The handler takes options, ids that are made here, and what is wrong.
    if argc < 5 or argc % 2 == 0:
        return False
    dash: cython.Py_ssize_t = _dash_in_id(args[2])
    if dash == 0:
        return False
    id_ = (_number(args[2], 0, dash), _number(args[2], dash + 1, size_of(args[2])))
    found: Any = find(data, args[1], hashed)
    if type(found) is not Stream:
        if found is not None or id_ == (0, 0):
            return False
        found = Stream()
        put(data, args[1], hashed, found)
    if id_ <= held(found, _STREAM_LAST_ID):
        return False
    append(found, Node, id_, tuple([bytes_of(args[i]) for i in range(3, argc)]), node_bytes, node_entries)
    return True


# --- where the arguments are ---------------------------------------------------------------------------------------


if cython.compiled:

    @cython.cfunc
    def _run_of(commands: object) -> Run:
        """Where to look for the arguments of `commands`, which are there for as long as it is looked for."""
        run: Run
        run.argvs = cython.NULL
        if type(commands) is list:
            run.argvs = cython.cast(cython.pointer(PyObject), commands)
        else:
            run.data = PyBytes_AS_STRING(commands.data)
            run.places = cython.cast(cython.p_int, PyBytes_AS_STRING(commands.places))
            run.starts = cython.cast(cython.p_int, PyBytes_AS_STRING(commands.starts))
        return run

    @cython.cfunc
    @cython.inline
    def _key(run: Run, index: cython.Py_ssize_t) -> Text:
        """The second argument of a command; nothing, where it has no second one."""
        argv: list
        at: cython.p_int
        if run.argvs != cython.NULL:
            argv = cython.cast(list, run.argvs)[index]
            return text_of(argv[1]) if len(argv) > 1 else text_of(b"")
        if run.starts[index + 1] - run.starts[index] < 4:
            return text_of(b"")
        at = run.places + run.starts[index] + 2
        return Text(run.data + at[0], at[1] - at[0])

    @cython.cfunc
    @cython.inline
    def _arguments(run: Run, index: cython.Py_ssize_t, args: cython.pointer(Text)) -> cython.Py_ssize_t:
        """How many arguments a command has, which are put into `args`; -1 for too many."""
        argv: list
        argc: cython.Py_ssize_t
        i: cython.Py_ssize_t
        at: cython.p_int
        if run.argvs != cython.NULL:
            argv = cython.cast(list, run.argvs)[index]
            argc = len(argv)
            if argc > MOST_ARGUMENTS:
                return -1
            for i in range(argc):
                args[i] = text_of(argv[i])
            return argc
        argc = (run.starts[index + 1] - run.starts[index]) // 2
        if argc > MOST_ARGUMENTS:
            return -1
        at = run.places + run.starts[index]
        for i in range(argc):
            args[i].at = run.data + at[2 * i]
            args[i].size = at[2 * i + 1] - at[2 * i]
        return argc


# --- keys ----------------------------------------------------------------------------------------------------------


@cython.cfunc
@cython.inline
def _found_or_made(table: Table, key: Text, hashed: uint64_t, kind: type) -> object:
    """The value of `key`, a new one if there is none; None if it is of another kind."""
    found: Any = find(table, key, hashed)
    if found is None:
        found = kind()
        put(table, key, hashed, found)
    return found if type(found) is kind else None


# --- what a text says ------------------------------------------------------------------------------------------


if cython.compiled:

    @cython.cfunc
    @cython.inline
    @cython.exceptval(check=False)
    def _operation(name: Text) -> cython.int:
        """What to do for a command of that name; -1 if that is left to its handler."""
        slot: cython.int
        if name.size < 3 or name.size > 9:
            return -1
        slot = _slot(name)
        while _spellings[slot].name.size:
            if _spellings[slot].name.size == name.size and memcmp(_spellings[slot].name.at, name.at, name.size) == 0:
                return _spellings[slot].operation
            slot = (slot + 1) & 63
        return -1

    @cython.cfunc
    @cython.inline
    @cython.exceptval(check=False)
    def _slot(name: Text) -> cython.int:
        """Where to look for a name of three bytes or more; behind it, where another one is there."""
        # With these factors no two of them meet.
        return (name.at[0] + name.at[1] * 17 + name.at[2] + name.size) & 63

    for _spelled in _OPERATIONS:
        _place = _slot(text_of(_spelled))
        while _spellings[_place].name.size:
            _place = (_place + 1) & 63
        # The table holds what this points to.
        _spellings[_place].name = text_of(_spelled)
        _spellings[_place].operation = _OPERATIONS[_spelled]


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _says(text: Text, word: bytes) -> cython.bint:
    """Whether `text` is `word`."""
    if cython.compiled:
        return text.size == len(word) and memcmp(text.at, PyBytes_AS_STRING(word), text.size) == 0
    return text == word


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _is_plain_number(text: Text) -> cython.bint:
    """Whether `text` is a number above zero in its shortest spelling that is far from 64 bits."""
    if not cython.compiled:
        return text.isdigit() and len(text) <= 17 and text[0] != 48
    i: cython.Py_ssize_t
    size: cython.Py_ssize_t = size_of(text)
    p: cython.p_const_uchar = cython.cast(cython.p_const_uchar, text.at)
    if size == 0 or size > 17 or p[0] == 48:
        return False
    for i in range(size):  # noqa: SIM110  # in C a loop, where any() would be a generator
        if p[i] < 48 or p[i] > 57:
            return False
    return True


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _is_plain_score(text: Text) -> cython.bint:
    """Whether `text` has digits and at most one point, and reads the same everywhere."""
    if not cython.compiled:
        return len(text) <= 19 and text.replace(b".", b"", 1).isdigit()
    i: cython.Py_ssize_t
    size: cython.Py_ssize_t = size_of(text)
    p: cython.p_const_uchar = cython.cast(cython.p_const_uchar, text.at)
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
def _score(text: Text) -> cython.double:
    """The number in `text`, which is a plain score."""
    if not cython.compiled:
        return float(text)
    i: cython.Py_ssize_t
    size: cython.Py_ssize_t = size_of(text)
    p: cython.p_const_uchar = cython.cast(cython.p_const_uchar, text.at)
    number: cython.longlong = 0
    power: cython.double = 1.0
    is_fraction: cython.bint = False
    if size > 15:
        return float(bytes_of(text))
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
def _dash_in_id(text: Text) -> cython.Py_ssize_t:
    """Where the dash is in two numbers of up to 18 digits with one between them; 0 if it is something else."""
    if not cython.compiled:
        ms, _, seq = text.partition(b"-")
        return len(ms) if ms.isdigit() and seq.isdigit() and len(ms) <= 18 and len(seq) <= 18 else 0
    i: cython.Py_ssize_t
    dash: cython.Py_ssize_t = 0
    size: cython.Py_ssize_t = size_of(text)
    p: cython.p_const_uchar = cython.cast(cython.p_const_uchar, text.at)
    for i in range(size):
        if p[i] == 45 and dash == 0:
            dash = i
        elif p[i] < 48 or p[i] > 57:
            return 0
    return dash if dash <= 18 and 0 < size - dash - 1 <= 18 else 0


@cython.cfunc
@cython.inline
@cython.exceptval(check=False)
def _number(text: Text, start: cython.Py_ssize_t, end: cython.Py_ssize_t) -> cython.longlong:
    """The number whose digits are text[start:end]."""
    if not cython.compiled:
        return int(text[start:end])
    i: cython.Py_ssize_t
    number: cython.longlong = 0
    p: cython.p_const_uchar = cython.cast(cython.p_const_uchar, text.at)
    for i in range(start, end):
        number = number * 10 + (p[i] - 48)
    return number


@cython.cfunc
@cython.inline
def _one_more(text: bytes) -> bytes:
    """The number after the one in `text`, which is plain."""
    number: cython.longlong = _number(text_of(text), 0, len(text)) + 1
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
