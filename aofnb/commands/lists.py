"""Commands on lists.

The blocking ones serve what is there at once, and are logged as the plain command that does the same. Otherwise they
wait for the first of their keys that becomes a list, see `aofnb.commands.blocking`.

Redis: t_list.c (7.0.15).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from aofnb.commands import messages
from aofnb.commands.args import INT64_MIN, Options, integer, positive, value
from aofnb.commands.blocking import Wait, timeout_ms, wait_for
from aofnb.commands.client import Client
from aofnb.commands.registry import REWRITTEN, command, numbered_keys
from aofnb.errors import ReplyError
from aofnb.store.list_value import ListValue

__all__: list[str] = []

# What LMPOP and its kin answer: the key and the elements; nil if no list had any.
Popped = list[bytes | list[bytes]] | None


# --- push ----------------------------------------------------------------------------------------------------


def _add(items: ListValue, item: bytes, left: bool) -> None:
    if left:
        items.prepend(item)
    else:
        items.append(item)


@command("LPUSH", arity=-3, flags="denyoom fast write", keys=(1, 1, 1))
def lpush(client: Client, key: bytes, *items: bytes) -> int:
    """Add elements in front of a list, one after the other; the new length."""
    found = client.db.lookup_or_add(key, ListValue)
    for item in items:
        found.prepend(item)
    client.changed(key, "lpush", len(items))
    return len(found)


@command("RPUSH", arity=-3, flags="denyoom fast write", keys=(1, 1, 1))
def rpush(client: Client, key: bytes, *items: bytes) -> int:
    """Add elements at the end of a list; the new length."""
    found = client.db.lookup_or_add(key, ListValue)
    for item in items:
        found.append(item)
    client.changed(key, "rpush", len(items))
    return len(found)


@command("LPUSHX", arity=-3, flags="denyoom fast write", keys=(1, 1, 1), since="2.2.0")
def lpushx(client: Client, key: bytes, *items: bytes) -> int:
    """LPUSH, but only onto a list that is there."""
    return 0 if client.db.lookup_kind(key, ListValue) is None else lpush(client, key, *items)


@command("RPUSHX", arity=-3, flags="denyoom fast write", keys=(1, 1, 1), since="2.2.0")
def rpushx(client: Client, key: bytes, *items: bytes) -> int:
    """RPUSH, but only onto a list that is there."""
    return 0 if client.db.lookup_kind(key, ListValue) is None else rpush(client, key, *items)


@command("LINSERT", arity=5, flags="denyoom write", keys=(1, 1, 1), since="2.2.0")
def linsert(client: Client, key: bytes, where: bytes, pivot: bytes, item: bytes) -> int:
    """Put an element BEFORE or AFTER the first one equal to `pivot`; the new length, or -1 without such."""
    word = where.upper()
    if word not in (b"BEFORE", b"AFTER"):
        raise ReplyError(messages.SYNTAX_ERROR)
    items = client.db.lookup_kind(key, ListValue)
    if items is None:
        return 0
    index = next((i for i, known in enumerate(items) if known == pivot), None)
    if index is None:
        return -1
    items.insert(index + (word == b"AFTER"), item)
    client.changed(key, "linsert")
    return len(items)


@command("LSET", arity=4, flags="denyoom write", keys=(1, 1, 1))
def lset(client: Client, key: bytes, index: bytes, item: bytes) -> str:
    """Replace the element at an index."""
    items = client.db.lookup_kind(key, ListValue)
    if items is None:
        raise ReplyError(messages.NO_SUCH_KEY)
    place = _place(items, integer(index))
    if place is None:
        raise ReplyError(messages.OUT_OF_RANGE)
    items[place] = item
    client.changed(key, "lset")
    return "OK"


# --- pop -----------------------------------------------------------------------------------------------------


def _pop_one(client: Client, key: bytes, items: ListValue, left: bool) -> bytes:
    item = items.pop_first() if left else items.pop_last()
    _removed(client, key, items, "lpop" if left else "rpop", 1)
    return item


def _pop_several(client: Client, key: bytes, items: ListValue, left: bool, count: int) -> list[bytes]:
    """Up to `count` elements, in the order in which single pops would give them."""
    size = len(items)
    count = min(count, size)
    if left:
        popped = items.slice(0, count)
        items.trim(count, size)
    else:
        popped = items.slice(size - count, size)[::-1]
        items.trim(0, size - count)
    _removed(client, key, items, "lpop" if left else "rpop", count)
    return popped


def _removed(client: Client, key: bytes, items: ListValue, event: str, count: int) -> None:
    """Report that `count` elements were removed; an empty list goes."""
    client.changed(key, event, dirty=count)
    if not items:
        client.db.delete(key)
        client.changed(key, "del", dirty=0)


def _pop(client: Client, name: str, key: bytes, args: Sequence[bytes]) -> bytes | list[bytes] | None:
    if len(args) > 1:
        raise messages.wrong_arity(name)
    count = positive(args[0]) if args else None
    items = client.db.lookup_kind(key, ListValue)
    if items is None:
        return None
    if count is None:
        return _pop_one(client, key, items, name == "lpop")
    return _pop_several(client, key, items, name == "lpop", count) if count else []


@command("LPOP", arity=-2, flags="fast write", keys=(1, 1, 1))
def lpop(client: Client, key: bytes, *args: bytes) -> bytes | list[bytes] | None:
    """Remove and return the first element, or up to `count` of them as an array."""
    return _pop(client, "lpop", key, args)


@command("RPOP", arity=-2, flags="fast write", keys=(1, 1, 1))
def rpop(client: Client, key: bytes, *args: bytes) -> bytes | list[bytes] | None:
    """Remove and return the last element, or up to `count` of them, last first."""
    return _pop(client, "rpop", key, args)


def _at_least_one(arg: bytes, message: str) -> int:
    number = integer(arg, message)
    if number < 1:
        raise ReplyError(message)
    return number


MPOP_OPTIONS = Options(value("COUNT", lambda arg: _at_least_one(arg, "ERR count should be greater than 0")))


class _MpopRequest(NamedTuple):
    keys: Sequence[bytes]
    left: bool
    limit: int


def _mpop_request(numkeys: bytes, args: Sequence[bytes]) -> _MpopRequest:
    """Read ``numkeys key ... LEFT|RIGHT [COUNT count]``."""
    key_count = _at_least_one(numkeys, "ERR numkeys should be greater than 0")
    if key_count >= len(args):
        raise ReplyError(messages.SYNTAX_ERROR)
    left = _is_left(args[key_count])
    words = args[key_count + 1 :]
    options = MPOP_OPTIONS.parse(words[:2])
    if len(words) > 2:  # COUNT twice is an error here
        raise ReplyError(messages.SYNTAX_ERROR)
    return _MpopRequest(args[:key_count], left, options.get("count", 1))


def _first_list(client: Client, keys: Sequence[bytes]) -> bytes | None:
    """The first of `keys` with a list; ReplyError WRONGTYPE if another kind comes before it."""
    return next((key for key in keys if client.db.lookup_kind(key, ListValue) is not None), None)


def _pop_from(client: Client, key: bytes, wanted: _MpopRequest) -> Popped:
    """Take from the list at `key`; logged as LPOP or RPOP of what was there."""
    items = client.db.lookup_kind(key, ListValue)
    assert items is not None
    popped = _pop_several(client, key, items, wanted.left, wanted.limit)
    client.propagate(b"LPOP" if wanted.left else b"RPOP", key, b"%d" % len(popped))
    return [key, popped]


def _is_left(arg: bytes) -> bool:
    word = arg.upper()
    if word not in (b"LEFT", b"RIGHT"):
        raise ReplyError(messages.SYNTAX_ERROR)
    return word == b"LEFT"


@command(
    "LMPOP",
    arity=-4,
    flags="movablekeys write",
    keys=numbered_keys(1),
    propagate=REWRITTEN,
    options=MPOP_OPTIONS,
    since="7.0.0",
)
def lmpop(client: Client, numkeys: bytes, *args: bytes) -> Popped:
    """Remove and return elements of the first of several lists that has any."""
    wanted = _mpop_request(numkeys, args)
    key = _first_list(client, wanted.keys)
    return None if key is None else _pop_from(client, key, wanted)


@command(
    "BLMPOP",
    arity=-5,
    flags="blocking movablekeys write",
    keys=numbered_keys(2),
    propagate=REWRITTEN,
    options=MPOP_OPTIONS,
    since="7.0.0",
)
def blmpop(client: Client, timeout: bytes, numkeys: bytes, *args: bytes) -> Any:
    """LMPOP that waits; logged as LPOP or RPOP."""
    wanted = _mpop_request(numkeys, args)
    wait_ms = timeout_ms(timeout)

    def serve(key: bytes) -> Popped:
        return _pop_from(client, key, wanted)

    key = _first_list(client, wanted.keys)
    return wait_for(client, Wait(wanted.keys, ListValue, wait_ms, serve)) if key is None else serve(key)


def _blocking_pop(client: Client, args: Sequence[bytes], left: bool) -> Any:
    *keys, timeout = args
    wait_ms = timeout_ms(timeout)

    def serve(key: bytes) -> list[bytes]:
        items = client.db.lookup_kind(key, ListValue)
        assert items is not None
        client.propagate(b"LPOP" if left else b"RPOP", key)
        return [key, _pop_one(client, key, items, left)]

    key = _first_list(client, keys)
    return wait_for(client, Wait(keys, ListValue, wait_ms, serve)) if key is None else serve(key)


@command("BLPOP", arity=-3, flags="blocking noscript write", keys=(1, -2, 1), propagate=REWRITTEN, since="2.0.0")
def blpop(client: Client, *args: bytes) -> Any:
    """LPOP from the first of several lists that has elements, or wait; the key and the element."""
    return _blocking_pop(client, args, left=True)


@command("BRPOP", arity=-3, flags="blocking noscript write", keys=(1, -2, 1), propagate=REWRITTEN, since="2.0.0")
def brpop(client: Client, *args: bytes) -> Any:
    """RPOP from the first of several lists that has elements, or wait; the key and the element."""
    return _blocking_pop(client, args, left=False)


# --- move ----------------------------------------------------------------------------------------------------


def _move(client: Client, source: bytes, destination: bytes, from_left: bool, to_left: bool) -> bytes | None:
    """Take an element from one end of a list and add it to an end of another, or of the same."""
    db = client.db
    items = db.lookup_kind(source, ListValue)
    if items is None:
        return None
    target = db.lookup_kind(destination, ListValue)
    item = items.pop_first() if from_left else items.pop_last()
    if target is None:
        target = ListValue()
        db.put(destination, target)
    _add(target, item, to_left)
    client.changed(destination, "lpush" if to_left else "rpush", dirty=0)
    _removed(client, source, items, "lpop" if from_left else "rpop", 1)
    return item


@command("LMOVE", arity=5, flags="denyoom write", keys=(1, 2, 1), since="6.2.0")
def lmove(client: Client, source: bytes, destination: bytes, where_from: bytes, where_to: bytes) -> bytes | None:
    """Move an element from one end of a list to an end of another; return it."""
    return _move(client, source, destination, _is_left(where_from), _is_left(where_to))


@command("RPOPLPUSH", arity=3, flags="denyoom write", keys=(1, 2, 1), since="1.2.0")
def rpoplpush(client: Client, source: bytes, destination: bytes) -> bytes | None:
    """Move the last element of a list to the front of another; return it."""
    return _move(client, source, destination, from_left=False, to_left=True)


@command("BLMOVE", arity=6, flags="blocking denyoom noscript write", keys=(1, 2, 1), propagate=REWRITTEN, since="6.2.0")
def blmove(
    client: Client, source: bytes, destination: bytes, where_from: bytes, where_to: bytes, timeout: bytes
) -> Any:
    """LMOVE that waits; logged as LMOVE with the ends as typed."""
    from_left, to_left = _is_left(where_from), _is_left(where_to)
    wait_ms = timeout_ms(timeout)
    item = _move(client, source, destination, from_left, to_left)
    if item is not None:
        client.propagate(b"LMOVE", source, destination, where_from, where_to)
        return item

    def serve(key: bytes) -> bytes | None:
        moved = _move(client, source, destination, from_left, to_left)
        # 7.0 spells the ends of a move that had to wait in lower case.
        ends = [b"left" if left else b"right" for left in (from_left, to_left)]
        client.propagate(b"LMOVE", source, destination, *ends)
        return moved

    return wait_for(client, Wait([source], ListValue, wait_ms, serve))


@command(
    "BRPOPLPUSH", arity=4, flags="blocking denyoom noscript write", keys=(1, 2, 1), propagate=REWRITTEN, since="2.2.0"
)
def brpoplpush(client: Client, source: bytes, destination: bytes, timeout: bytes) -> Any:
    """RPOPLPUSH that waits; logged as RPOPLPUSH."""
    wait_ms = timeout_ms(timeout)

    def serve(key: bytes) -> bytes | None:
        item = _move(client, source, destination, from_left=False, to_left=True)
        if item is not None:
            client.propagate(b"RPOPLPUSH", source, destination)
        return item

    item = serve(source)
    return wait_for(client, Wait([source], ListValue, wait_ms, serve)) if item is None else item


# --- remove --------------------------------------------------------------------------------------------------


@command("LREM", arity=4, flags="write", keys=(1, 1, 1))
def lrem(client: Client, key: bytes, count: bytes, item: bytes) -> int:
    """Remove elements equal to `item`: the first `count`, the last -`count`, or, with 0, all."""
    limit = integer(count)
    items = client.db.lookup_kind(key, ListValue)
    if items is None:
        return 0
    most = min(abs(limit), len(items)) or len(items)
    removed = items.remove_last(item, most) if limit < 0 else items.remove(item, most)
    if removed:
        _removed(client, key, items, "lrem", removed)
    return removed


@command("LTRIM", arity=4, flags="write", keys=(1, 1, 1))
def ltrim(client: Client, key: bytes, start: bytes, end: bytes) -> str:
    """Keep only a range of elements, both ends included."""
    first, last = integer(start), integer(end)
    items = client.db.lookup_kind(key, ListValue)
    if items is None:
        return "OK"
    before = len(items)
    items.trim(*_range(before, first, last))
    _removed(client, key, items, "ltrim", before - len(items))
    return "OK"


# --- read ----------------------------------------------------------------------------------------------------


def _place(items: ListValue, index: int) -> int | None:
    """The index from the front that `index`, negative from the end, stands for; None outside of the list."""
    if index < 0:
        index += len(items)
    return index if 0 <= index < len(items) else None


def _range(size: int, first: int, last: int) -> tuple[int, int]:
    """Start and stop, exclusive, of the range from `first` to `last`, inclusive, negative from the end."""
    start = max(first + size if first < 0 else first, 0)
    stop = min(last + size if last < 0 else last, size - 1) + 1
    return (start, stop) if start < stop else (0, 0)


@command("LLEN", arity=2, flags="fast readonly", keys=(1, 1, 1))
def llen(client: Client, key: bytes) -> int:
    """The number of elements; 0 for a missing key."""
    items = client.db.read_kind(key, ListValue)
    return 0 if items is None else len(items)


@command("LINDEX", arity=3, flags="readonly", keys=(1, 1, 1))
def lindex(client: Client, key: bytes, index: bytes) -> bytes | None:
    """The element at an index, negative from the end."""
    items = client.db.read_kind(key, ListValue)
    if items is None:
        return None
    place = _place(items, integer(index))
    return None if place is None else items[place]


@command("LRANGE", arity=4, flags="readonly", keys=(1, 1, 1))
def lrange(client: Client, key: bytes, start: bytes, end: bytes) -> list[bytes]:
    """The elements of a range, both ends included, negative from the end."""
    first, last = integer(start), integer(end)
    items = client.db.read_kind(key, ListValue)
    return [] if items is None else items.slice(*_range(len(items), first, last))


def _rank(arg: bytes) -> int:
    rank = integer(arg)
    if rank == 0:
        raise ReplyError(
            "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to "
            "start from the end of the list"
        )
    return rank


LPOS_OPTIONS = Options(
    value("RANK", _rank),
    value("COUNT", lambda arg: positive(arg, "ERR COUNT can't be negative")),
    value("MAXLEN", lambda arg: positive(arg, "ERR MAXLEN can't be negative")),
)


@command("LPOS", arity=-3, flags="readonly", keys=(1, 1, 1), options=LPOS_OPTIONS, since="6.0.6")
def lpos(client: Client, key: bytes, item: bytes, *words: bytes) -> int | list[int] | None:
    """The index of an element, or with COUNT an array of indexes; RANK and MAXLEN say where to look."""
    options = LPOS_OPTIONS.parse(words)
    items = client.db.read_kind(key, ListValue)
    found = iter(()) if items is None else _positions(items, item, options.get("rank", 1), options.get("maxlen", 0))
    if "count" not in options:
        return next(found, None)
    return list(islice(found, options["count"] or None))


def _positions(items: ListValue, item: bytes, rank: int, max_length: int) -> Iterator[int]:
    """Where `item` is, beginning with match number `rank`, looking at `max_length` elements, 0 for all."""
    size = len(items)
    looked_at = islice(items if rank > 0 else reversed(items), max_length or size)
    found = (i if rank > 0 else size - 1 - i for i, known in enumerate(looked_at) if known == item)
    # The smallest integer has no positive twin: on the server it stays negative, and so skips nothing.
    return found if rank == INT64_MIN else islice(found, abs(rank) - 1, None)
