"""The commonest commands of a log applied to a database at once, where the kernel `_replay_cy` is not compiled.

It leaves the data that the kernel and the handlers leave, as the same property test holds. The kernel itself would run
as Python too, at half the speed: there each step is a function on a piece of memory, here it is what a dict does.

What a function here does not take, an option or an error above all, it leaves to the command's handler: it is false,
and nothing was done.
"""

from __future__ import annotations

from collections.abc import Callable

from aofnb.resp.pairs import Records
from aofnb.store.hash_value import HashValue
from aofnb.store.keyspace import Database
from aofnb.store.list_value import CHUNK, ListValue
from aofnb.store.set_value import SetValue
from aofnb.store.stream import Stream
from aofnb.store.zset import SortedSet

__all__ = ["apply"]

# As `_replay_cy.apply` takes them.
Limits = tuple[int, int, int, int, int, int, int]


def apply(commands: Records | list[list[bytes]], index: int, count: int, db: Database, limits: Limits) -> int:
    """Apply commands from commands[index] to before commands[count] to `db`; the index of the first one that is left
    to its handler, or `count`. The limits are those of the kernel.
    """
    if type(db) is not Database or db._pool is not None:
        return index
    operation_of = _OPERATIONS.get
    for at in range(index, count):
        argv = commands[at]
        operation = operation_of(argv[0])
        if operation is None or not operation(db, argv, limits):
            return at
    return count


def _set(db: Database, argv: list[bytes], limits: Limits) -> bool:
    if len(argv) == 3:
        _, key, value = argv
        if key in db._expires:
            del db._expires[key]
        db._data[key] = value
        return True
    if len(argv) != 5 or argv[3] != b"PXAT" or not _is_plain_number(argv[4]):
        return False
    db._data[argv[1]] = argv[2]
    db.set_deadline(argv[1], int(argv[4]))
    return True


def _mset(db: Database, argv: list[bytes], limits: Limits) -> bool:
    if len(argv) % 2 == 0 or len(argv) == 1:
        return False
    data, expires = db._data, db._expires
    for i in range(1, len(argv), 2):
        if argv[i] in expires:
            del expires[argv[i]]
        data[argv[i]] = argv[i + 1]
    return True


def _del(db: Database, argv: list[bytes], limits: Limits) -> bool:
    if len(argv) != 2:
        return False
    _remove(db, argv[1])
    return True


def _incr(db: Database, argv: list[bytes], limits: Limits) -> bool:
    return len(argv) == 2 and _add(db, argv[1], b"1")


def _incrby(db: Database, argv: list[bytes], limits: Limits) -> bool:
    return len(argv) == 3 and _is_plain_number(argv[2]) and _add(db, argv[1], argv[2])


def _pexpireat(db: Database, argv: list[bytes], limits: Limits) -> bool:
    if len(argv) != 3 or not _is_plain_number(argv[2]):
        return False
    if argv[1] in db._data:
        db.set_deadline(argv[1], int(argv[2]))
    return True


def _hset(db: Database, argv: list[bytes], limits: Limits) -> bool:
    argc = len(argv)
    if argc < 4 or argc % 2:
        return False
    found = db._data.get(argv[1])
    if found is None:
        found = db._data[argv[1]] = HashValue()
    if type(found) is not HashValue:
        return False
    fields, state = found._data, found._state
    if type(fields) is not dict or type(state) is not bool:
        return False
    if argc == 4:
        _, _, field, value = argv
        fields[field] = value
        if state and (len(fields) > limits[0] or len(field) > limits[1] or len(value) > limits[1]):
            found._state = False
        return True
    for i in range(2, argc, 2):
        fields[argv[i]] = argv[i + 1]
    if state and (len(fields) > limits[0] or max(map(len, argv[2:])) > limits[1]):
        found._state = False
    return True


def _rpush(db: Database, argv: list[bytes], limits: Limits) -> bool:
    found = _list_to_push(db, argv)
    if found is None:
        return False
    chunks = found._data
    for item in argv[2:]:
        if chunks and type(chunks) is list and len(chunks[-1]) < CHUNK:
            chunks[-1].append(item)
        else:
            found.append(item)
    return True


def _lpush(db: Database, argv: list[bytes], limits: Limits) -> bool:
    found = _list_to_push(db, argv)
    if found is None:
        return False
    for item in argv[2:]:
        found.prepend(item)
    return True


def _lpop(db: Database, argv: list[bytes], limits: Limits) -> bool:
    return _pop(db, argv, ListValue.pop_first)


def _rpop(db: Database, argv: list[bytes], limits: Limits) -> bool:
    return _pop(db, argv, ListValue.pop_last)


def _ltrim(db: Database, argv: list[bytes], limits: Limits) -> bool:
    # As lists are kept short. The handler takes other ranges.
    if len(argv) != 4 or argv[2] != b"0" or not _is_plain_number(argv[3]):
        return False
    found = db._data.get(argv[1])
    if type(found) is not ListValue:
        return found is None
    kept = int(argv[3]) + 1
    if kept < len(found):
        found.trim(0, kept)
    return True


def _sadd(db: Database, argv: list[bytes], limits: Limits) -> bool:
    if len(argv) < 3:
        return False
    found = db._data.get(argv[1])
    if found is None:
        found = db._data[argv[1]] = SetValue()
    if type(found) is not SetValue:
        return False
    if len(argv) == 3 and not found._intset and found._pool is None:
        found.members[argv[2]] = None
    else:
        found.update(argv[2:], limits[2])
    return True


def _zadd(db: Database, argv: list[bytes], limits: Limits) -> bool:
    argc = len(argv)
    if argc < 4 or argc % 2 or not all(map(_is_plain_score, argv[2::2])):
        return False
    found = db._data.get(argv[1])
    if found is None:
        found = db._data[argv[1]] = SortedSet()
    if type(found) is not SortedSet:
        return False
    for i in range(2, argc, 2):
        score, member = float(argv[i]), argv[i + 1]
        scores = found._data
        # With an order, or while it is a listpack, more is to be done.
        if found._state is False and score and type(scores) is dict:
            scores[member] = score
        else:
            found.add(member, score, limits[3], limits[4])
    return True


def _xadd(db: Database, argv: list[bytes], limits: Limits) -> bool:
    # The handler takes options, ids that are made here, and what is wrong.
    if len(argv) < 5 or len(argv) % 2 == 0:
        return False
    ms, _, seq = argv[2].partition(b"-")
    if not (ms.isdigit() and seq.isdigit() and len(ms) <= 18 and len(seq) <= 18):
        return False
    entry_id = (int(ms), int(seq))
    found = db._data.get(argv[1])
    if found is None and entry_id > (0, 0):
        found = db._data[argv[1]] = Stream()
    if type(found) is not Stream or entry_id <= found.last_id:
        return False
    found.append(entry_id, argv[3:], limits[5], limits[6])
    return True


# By the bytes of the name, as Redis and its clients spell it: those of the kernel.
_OPERATIONS: dict[bytes, Callable[[Database, list[bytes], Limits], bool]] = {
    spelled: operation
    for name, operation in (
        (b"SET", _set),
        (b"DEL", _del),
        (b"INCR", _incr),
        (b"PEXPIREAT", _pexpireat),
        (b"HSET", _hset),
        (b"RPUSH", _rpush),
        (b"LPUSH", _lpush),
        (b"SADD", _sadd),
        (b"ZADD", _zadd),
        (b"XADD", _xadd),
        (b"MSET", _mset),
        (b"INCRBY", _incrby),
        (b"LPOP", _lpop),
        (b"RPOP", _rpop),
        (b"LTRIM", _ltrim),
    )
    for spelled in (name, name.lower())
}


# --- parts ---------------------------------------------------------------------------------------------------------


def _remove(db: Database, key: bytes) -> None:
    if key in db._expires:
        del db._expires[key]
    db._data.pop(key, None)


def _add(db: Database, key: bytes, number: bytes) -> bool:
    """Add `number` to the one at `key`, if that is one that is far from 64 bits, or there is none."""
    found = db._data.get(key)
    if found is None:
        db._data[key] = number
    elif type(found) is bytes and _is_plain_number(found):
        db._data[key] = b"%d" % (int(found) + int(number))
    else:
        return False
    return True


def _list_to_push(db: Database, argv: list[bytes]) -> ListValue | None:
    """The list that `argv` adds to, a new one if there is none; None where that is for the handler."""
    if len(argv) < 3:
        return None
    found = db._data.get(argv[1])
    if found is None:
        found = db._data[argv[1]] = ListValue()
    return found if type(found) is ListValue else None


def _pop(db: Database, argv: list[bytes], pop: Callable[[ListValue], bytes]) -> bool:
    if len(argv) != 2:
        return False
    found = db._data.get(argv[1])
    if type(found) is not ListValue:
        return found is None
    pop(found)
    if not found._data:
        _remove(db, argv[1])
    return True


def _is_plain_number(text: bytes) -> bool:
    """Whether `text` is a number above zero in its shortest spelling that is far from 64 bits."""
    return text.isdigit() and len(text) <= 17 and text[0] != 48


def _is_plain_score(text: bytes) -> bool:
    """Whether `text` has digits and at most one point, and reads the same everywhere."""
    return len(text) <= 19 and text.replace(b".", b"", 1).isdigit()
