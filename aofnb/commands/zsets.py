"""Sorted sets; what combines several of them is in `aofnb.commands.zset_algebra`.

Rules of this file: ranges are read before the key is looked up, as the server does, so that a wrong range is an
error on a missing key too; the order of scores and members is asked of `SortedSet` alone.

Redis: t_zset.c (7.0.15).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence, Set
from typing import Any, Literal, NamedTuple

from aofnb.commands import messages
from aofnb.commands.args import INT64_MAX, INT64_MIN, Option, Options, floating, integer, strtod, value, word
from aofnb.commands.blocking import Wait, timeout_ms, wait_for
from aofnb.commands.client import Client, format_double
from aofnb.commands.keys import scan_cursor
from aofnb.commands.registry import REWRITTEN, command, numbered_keys
from aofnb.commands.scanning import ELEMENT_SCAN_OPTIONS, scan_elements
from aofnb.errors import ReplyError
from aofnb.store.zset import ABOVE_ALL, BELOW_ALL, Entry, LexBound, LexRange, ScoreRange, SortedSet

__all__ = ["WITHSCORES", "entries_reply", "limits", "store_result"]

NOT_A_SCORE = "ERR resulting score is not a number (NaN)"
NOT_A_SCORE_RANGE = "ERR min or max is not a float"
NOT_A_LEX_RANGE = "ERR min or max not valid string range item"
MUST_BE_POSITIVE = "ERR value is out of range, must be positive"


def limits(client: Client) -> tuple[int, int]:
    """Up to how many entries, and how many bytes a member, a sorted set counts as a listpack."""
    config = client.server.config
    return config.zset_max_listpack_entries, config.zset_max_listpack_value


# --- one member ----------------------------------------------------------------------------------------------

ZADD_OPTIONS = Options(
    word("NX", group="exists"), word("XX", group="exists"), word("GT"), word("LT"), word("CH"), word("INCR")
)
# Up to here a listpack holds a whole score as a number, and not as its text.
_WHOLE_SCORE_MAX = 1 << 62
_NO_WORDS: frozenset[bytes] = frozenset()
_ZADD_WORDS = frozenset(option.name.encode() for option in ZADD_OPTIONS.options)


@command("ZADD", arity=-4, flags="write denyoom fast", keys=(1, 1, 1), options=ZADD_OPTIONS, since="1.2.0")
def zadd(client: Client, key: bytes, *args: bytes) -> Any:
    """Add members to a sorted set, or change their scores.

    Redis: t_zset.c zaddGenericCommand.
    """
    words: Set[bytes] = _NO_WORDS
    first = 0
    while first < len(args) and (spelled := args[first].upper()) in _ZADD_WORDS:
        words |= {spelled}
        first += 1
    if first == len(args) or (len(args) - first) % 2:
        raise ReplyError(messages.SYNTAX_ERROR)
    if words:
        _check_zadd_words(words, (len(args) - first) // 2)
    scores = [floating(arg) for arg in args[first::2]]
    if b"XX" in words and client.db.lookup_kind(key, SortedSet) is None:
        return None if b"INCR" in words else 0
    found = client.db.lookup_or_add(key, SortedSet)
    if b"INCR" in words:
        return _increment(client, key, found, args[first + 1], scores[0], words)
    max_entries, max_bytes = limits(client)
    added = updated = 0
    for at, score in enumerate(scores):
        member = args[first + 1 + 2 * at]
        if words and not _may(words, found.score(member), score):
            continue
        old = found.add(member, score, max_entries, max_bytes)
        if old is None:
            added += 1
        elif old != score:
            updated += 1
    if added or updated:
        client.changed(key, "zadd", added + updated)
    return added + updated if b"CH" in words else added


def _check_zadd_words(words: Set[bytes], pairs: int) -> None:
    if {b"NX", b"XX"} <= words:
        raise ReplyError("ERR XX and NX options at the same time are not compatible")
    if len(words & {b"NX", b"GT", b"LT"}) > 1:
        raise ReplyError("ERR GT, LT, and/or NX options at the same time are not compatible")
    if b"INCR" in words and pairs > 1:
        raise ReplyError("ERR INCR option supports a single increment-element pair")


def _may(words: Set[bytes], old: float | None, new: float) -> bool:
    """Whether the options of ZADD let a member go from score `old` (None: absent) to `new`."""
    if old is None:
        return b"XX" not in words
    if b"NX" in words:
        return False
    return not ((b"GT" in words and new <= old) or (b"LT" in words and new >= old))


def _increment(client: Client, key: bytes, found: SortedSet, member: bytes, by: float, words: Set[bytes]) -> Any:
    old = found.score(member)
    new = by if old is None else old + by
    if b"NX" in words and old is not None:
        return None
    if math.isnan(new):
        raise ReplyError(NOT_A_SCORE)
    if not _may(words, old, new):
        return None
    if old is None or new != old:
        found.add(member, new, *limits(client))
        client.changed(key, "zincr")
    return client.double_reply(new)


@command("ZINCRBY", arity=4, flags="write denyoom fast", keys=(1, 1, 1), since="1.2.0")
def zincrby(client: Client, key: bytes, increment: bytes, member: bytes) -> Any:
    """Add to the score of a member, which counts as 0 if absent."""
    return zadd(client, key, b"INCR", increment, member)


@command("ZREM", arity=-3, flags="write fast", keys=(1, 1, 1), since="1.2.0")
def zrem(client: Client, key: bytes, *members: bytes) -> int:
    """Remove members."""
    found = client.db.lookup_kind(key, SortedSet)
    if found is None:
        return 0
    removed = sum(map(found.remove, members))
    _removed(client, key, found, "zrem", removed)
    return removed


@command("ZCARD", arity=2, flags="readonly fast", keys=(1, 1, 1), since="1.2.0")
def zcard(client: Client, key: bytes) -> int:
    """Number of members."""
    found = client.db.read_kind(key, SortedSet)
    return 0 if found is None else len(found)


@command("ZSCORE", arity=3, flags="readonly fast", keys=(1, 1, 1), since="1.2.0")
def zscore(client: Client, key: bytes, member: bytes) -> Any:
    """The score of a member."""
    return zmscore(client, key, member)[0]


@command("ZMSCORE", arity=-3, flags="readonly fast", keys=(1, 1, 1), since="6.2.0")
def zmscore(client: Client, key: bytes, *members: bytes) -> list[Any]:
    """The scores of several members."""
    found = client.db.read_kind(key, SortedSet)
    scores = [None] * len(members) if found is None else list(map(found.score, members))
    return [None if score is None else client.double_reply(score) for score in scores]


@command("ZRANK", arity=3, flags="readonly fast", keys=(1, 1, 1), since="2.0.0")
def zrank(client: Client, key: bytes, member: bytes) -> int | None:
    """The place of a member, counted from the lowest score."""
    found = client.db.read_kind(key, SortedSet)
    return None if found is None else found.rank(member)


@command("ZREVRANK", arity=3, flags="readonly fast", keys=(1, 1, 1), since="2.0.0")
def zrevrank(client: Client, key: bytes, member: bytes) -> int | None:
    """The place of a member, counted from the highest score."""
    found = client.db.read_kind(key, SortedSet)
    rank = None if found is None else found.rank(member)
    return None if found is None or rank is None else len(found) - 1 - rank


# --- ranges --------------------------------------------------------------------------------------------------


def score_range(low: bytes, high: bytes) -> ScoreRange:
    """Two bounds such as ``5``, ``(5``, ``-inf``; ReplyError otherwise."""
    (low_score, low_open), (high_score, high_open) = _score_bound(low), _score_bound(high)
    return ScoreRange(low_score, high_score, low_open, high_open)


def _score_bound(arg: bytes) -> tuple[float, bool]:
    is_open = arg[:1] == b"("
    # The server reads bounds by plain strtod: a zero byte ends the text, and no text at all is 0.
    text = (arg[1:] if is_open else arg).split(b"\0", 1)[0]
    score = strtod(text) if text else 0.0
    if score is None:
        raise ReplyError(NOT_A_SCORE_RANGE)
    return score, is_open


def lex_range(low: bytes, high: bytes) -> LexRange:
    """Two bounds such as ``[a``, ``(a``, ``-``, ``+``; ReplyError otherwise."""
    (low_bound, low_open), (high_bound, high_open) = _lex_bound(low), _lex_bound(high)
    return LexRange(low_bound, high_bound, low_open, high_open)


def _lex_bound(arg: bytes) -> tuple[LexBound, bool]:
    if arg[:1] in (b"[", b"("):
        return (0, arg[1:]), arg[:1] == b"("
    if arg == b"-":
        return BELOW_ALL, False
    if arg == b"+":
        return ABOVE_ALL, False
    raise ReplyError(NOT_A_LEX_RANGE)


def _rank_range(start: int, stop: int, size: int) -> tuple[int, int]:
    """The ranks from `start` to `stop`, both included and negative ones counted from the end."""
    start = max(start + size, 0) if start < 0 else start
    stop = stop + size if stop < 0 else stop
    return (start, min(stop + 1, size)) if start <= stop and start < size else (0, 0)


class _Query(NamedTuple):
    """What a command of the ZRANGE family asks for."""

    by: Literal["rank", "score", "lex"]
    reverse: bool
    wanted: tuple[int, int] | ScoreRange | LexRange
    offset: int
    limit: int
    with_scores: bool

    def run(self, found: SortedSet) -> list[Entry]:
        """The entries, in the order asked for."""
        if isinstance(self.wanted, ScoreRange):
            start, stop = found.ranks_by_score(self.wanted)
        elif isinstance(self.wanted, LexRange):
            start, stop = found.ranks_by_lex(self.wanted, from_top=self.reverse)
        else:
            start, stop = _rank_range(*self.wanted, len(found))
            if self.reverse:
                start, stop = len(found) - stop, len(found) - start
        if self.by != "rank":
            start, stop = self._limited(start, stop)
        entries = found.entries(start, stop) if start < stop else []
        return entries[::-1] if self.reverse else entries

    def _limited(self, start: int, stop: int) -> tuple[int, int]:
        """LIMIT: leave out the first `offset`, then take `limit`, all the rest if negative."""
        if self.offset < 0:
            return 0, 0
        if self.reverse:
            stop = max(stop - self.offset, start)
            return (start if self.limit < 0 else max(stop - self.limit, start)), stop
        start = min(start + self.offset, stop)
        return start, (stop if self.limit < 0 else min(start + self.limit, stop))


By = Literal["rank", "score", "lex"]


def _query(args: Sequence[bytes], by: By | None = None, reverse: bool | None = None, storing: bool = False) -> _Query:
    """Read ``min max [options]``. What the command's name says already (`by`, `reverse`) is no option of it."""
    low, high, *options = args
    with_scores, offset, limit = False, 0, -1
    while options:
        match options.pop(0).upper():
            case b"WITHSCORES" if not storing:
                with_scores = True
            case b"LIMIT" if len(options) >= 2:
                offset, limit = integer(options.pop(0)), integer(options.pop(0))
            case b"REV" if reverse is None:
                reverse = True
            case b"BYLEX" if by is None:
                by = "lex"
            case b"BYSCORE" if by is None:
                by = "score"
            case _:
                raise ReplyError(messages.SYNTAX_ERROR)
    by, reverse = by or "rank", bool(reverse)
    if limit != -1 and by == "rank":
        raise ReplyError("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX")
    if with_scores and by == "lex":
        raise ReplyError("ERR syntax error, WITHSCORES not supported in combination with BYLEX")
    if by == "rank":
        return _Query(by, reverse, (integer(low), integer(high)), offset, limit, with_scores)
    if reverse:
        low, high = high, low
    wanted = score_range(low, high) if by == "score" else lex_range(low, high)
    return _Query(by, reverse, wanted, offset, limit, with_scores)


def _range(client: Client, key: bytes, query: _Query) -> list[Any]:
    found = client.db.read_kind(key, SortedSet)
    return [] if found is None else entries_reply(client, query.run(found), query.with_scores)


def entries_reply(client: Client, entries: Sequence[Entry], with_scores: bool) -> list[Any]:
    """Members, or members and scores: in turn under RESP2, in pairs under RESP3."""
    if not with_scores:
        return [member for _score, member in entries]
    if client.resp >= 3:
        return _pairs_reply(client, entries)
    return [item for score, member in entries for item in (member, client.double_reply(score))]


def _pairs_reply(client: Client, entries: Sequence[Entry]) -> list[Any]:
    return [[member, client.double_reply(score)] for score, member in entries]


WITHSCORES = word("WITHSCORES")
LIMIT = Option("LIMIT", 2, integer, None)
RANGE_OPTIONS = (word("BYSCORE", group="by"), word("BYLEX", group="by"), word("REV"), LIMIT)


@command(
    "ZRANGE", arity=-4, flags="readonly", keys=(1, 1, 1), options=Options(*RANGE_OPTIONS, WITHSCORES), since="1.2.0"
)
def zrange(client: Client, key: bytes, *args: bytes) -> list[Any]:
    """Members within a range of ranks, scores or member bytes."""
    return _range(client, key, _query(args))


@command("ZREVRANGE", arity=-4, flags="readonly", keys=(1, 1, 1), options=Options(WITHSCORES), since="1.2.0")
def zrevrange(client: Client, key: bytes, *args: bytes) -> list[Any]:
    """Members within a range of ranks, highest first."""
    return _range(client, key, _query(args, "rank", True))


@command("ZRANGEBYSCORE", arity=-4, flags="readonly", keys=(1, 1, 1), options=Options(WITHSCORES, LIMIT), since="1.0.5")
def zrangebyscore(client: Client, key: bytes, *args: bytes) -> list[Any]:
    """Members within a range of scores."""
    return _range(client, key, _query(args, "score", False))


@command(
    "ZREVRANGEBYSCORE", arity=-4, flags="readonly", keys=(1, 1, 1), options=Options(WITHSCORES, LIMIT), since="2.2.0"
)
def zrevrangebyscore(client: Client, key: bytes, *args: bytes) -> list[Any]:
    """Members within a range of scores, highest first."""
    return _range(client, key, _query(args, "score", True))


@command("ZRANGEBYLEX", arity=-4, flags="readonly", keys=(1, 1, 1), options=Options(LIMIT), since="2.8.9")
def zrangebylex(client: Client, key: bytes, *args: bytes) -> list[Any]:
    """Members within a range of member bytes, where all scores are equal."""
    return _range(client, key, _query(args, "lex", False))


@command("ZREVRANGEBYLEX", arity=-4, flags="readonly", keys=(1, 1, 1), options=Options(LIMIT), since="2.8.9")
def zrevrangebylex(client: Client, key: bytes, *args: bytes) -> list[Any]:
    """Members within a range of member bytes, highest first, where all scores are equal."""
    return _range(client, key, _query(args, "lex", True))


@command("ZRANGESTORE", arity=-5, flags="write denyoom", keys=(1, 2, 1), options=Options(*RANGE_OPTIONS), since="6.2.0")
def zrangestore(client: Client, destination: bytes, key: bytes, *args: bytes) -> int:
    """Store what ZRANGE gives in another sorted set."""
    query = _query(args, storing=True)
    found = client.db.read_kind(key, SortedSet)
    entries = query.run(found) if found is not None else []
    made = SortedSet()
    max_entries, max_bytes = limits(client)
    if query.by == "rank" and len(entries) > max_entries:
        # Only here the server knows the size beforehand, and begins with a skiplist.
        max_entries = 0
    for score, member in entries:
        made.add(member, score, max_entries, max_bytes)
    return store_result(client, destination, made, "zrangestore")


def store_result(client: Client, destination: bytes, made: SortedSet, event: str, dirty: int = 1) -> int:
    """Put `made` at `destination` in place of what is there, or only delete that if `made` is empty."""
    if made:
        client.db.replace(destination, made)
        client.changed(destination, event, dirty=dirty)
    elif client.db.discard(destination):
        client.changed(destination, "del")
    return len(made)


@command("ZCOUNT", arity=4, flags="readonly fast", keys=(1, 1, 1), since="2.0.0")
def zcount(client: Client, key: bytes, low: bytes, high: bytes) -> int:
    """Number of members within a range of scores."""
    wanted = score_range(low, high)
    found = client.db.read_kind(key, SortedSet)
    start, stop = (0, 0) if found is None else found.ranks_by_score(wanted)
    return stop - start


@command("ZLEXCOUNT", arity=4, flags="readonly fast", keys=(1, 1, 1), since="2.8.9")
def zlexcount(client: Client, key: bytes, low: bytes, high: bytes) -> int:
    """Number of members within a range of member bytes, where all scores are equal."""
    wanted = lex_range(low, high)
    found = client.db.read_kind(key, SortedSet)
    start, stop = (0, 0) if found is None else found.ranks_by_lex(wanted)
    return stop - start


@command("ZREMRANGEBYRANK", arity=4, flags="write", keys=(1, 1, 1), since="2.0.0")
def zremrangebyrank(client: Client, key: bytes, start: bytes, stop: bytes) -> int:
    """Remove the members within a range of ranks."""
    first, last = integer(start), integer(stop)
    return _remove_range(client, key, "zremrangebyrank", lambda found: _rank_range(first, last, len(found)))


@command("ZREMRANGEBYSCORE", arity=4, flags="write", keys=(1, 1, 1), since="1.2.0")
def zremrangebyscore(client: Client, key: bytes, low: bytes, high: bytes) -> int:
    """Remove the members within a range of scores."""
    wanted = score_range(low, high)
    return _remove_range(client, key, "zremrangebyscore", lambda found: found.ranks_by_score(wanted))


@command("ZREMRANGEBYLEX", arity=4, flags="write", keys=(1, 1, 1), since="2.8.9")
def zremrangebylex(client: Client, key: bytes, low: bytes, high: bytes) -> int:
    """Remove the members within a range of member bytes, where all scores are equal."""
    wanted = lex_range(low, high)
    return _remove_range(client, key, "zremrangebylex", lambda found: found.ranks_by_lex(wanted))


def _remove_range(client: Client, key: bytes, event: str, ranks: Callable[[SortedSet], tuple[int, int]]) -> int:
    found = client.db.lookup_kind(key, SortedSet)
    if found is None:
        return 0
    removed = len(found.remove_ranks(*ranks(found)))
    _removed(client, key, found, event, removed)
    return removed


def _removed(client: Client, key: bytes, found: SortedSet, event: str, dirty: int) -> None:
    """Report that `dirty` members went, and delete the key if they were the last."""
    if not dirty:
        return
    client.changed(key, event, dirty=dirty)
    if not found:
        client.db.delete(key)
        client.changed(key, "del", dirty=0)


# --- pop -----------------------------------------------------------------------------------------------------

End = Literal["min", "max"]
_ENDS: dict[bytes, End] = {b"MIN": "min", b"MAX": "max"}


@command("ZPOPMIN", arity=-2, flags="write fast", keys=(1, 1, 1), since="5.0.0")
def zpopmin(client: Client, key: bytes, *count: bytes) -> list[Any]:
    """Remove and return the members with the lowest scores."""
    return _zpop(client, key, "min", count)


@command("ZPOPMAX", arity=-2, flags="write fast", keys=(1, 1, 1), since="5.0.0")
def zpopmax(client: Client, key: bytes, *count: bytes) -> list[Any]:
    """Remove and return the members with the highest scores."""
    return _zpop(client, key, "max", count)


def _zpop(client: Client, key: bytes, end: End, args: Sequence[bytes]) -> list[Any]:
    if len(args) > 1:
        raise ReplyError(messages.SYNTAX_ERROR)
    count = _number(args[0], 0, MUST_BE_POSITIVE) if args else 1
    found = client.db.lookup_kind(key, SortedSet)
    if found is None:
        return []
    popped = _pop(client, key, found, end, count)
    if client.resp >= 3 and args:
        return _pairs_reply(client, popped)
    return [item for score, member in popped for item in (member, client.double_reply(score))]


def _pop(client: Client, key: bytes, found: SortedSet, end: End, count: int) -> list[Entry]:
    """Take up to `count` entries out of `found` at one end, outermost first."""
    size = len(found)
    if end == "min":
        popped = found.remove_ranks(0, min(count, size))
    else:
        popped = found.remove_ranks(max(size - count, 0), size)[::-1]
    _removed(client, key, found, "zpop" + end, len(popped))
    return popped


def _number(arg: bytes, lowest: int, message: str) -> int:
    number = integer(arg, message)
    if number < lowest:
        raise ReplyError(message)
    return number


COUNT = value("COUNT", integer)
MPOP_OPTIONS = Options(word("MIN", group="end"), word("MAX", group="end"), COUNT)


@command(
    "ZMPOP",
    arity=-4,
    flags="write movablekeys",
    keys=numbered_keys(1),
    propagate=REWRITTEN,
    options=MPOP_OPTIONS,
    since="7.0.0",
)
def zmpop(client: Client, numkeys: bytes, *args: bytes) -> list[Any] | None:
    """Pop from the first of several sorted sets that has members; logged as ZPOPMIN or ZPOPMAX."""
    return _mpop(client, _mpop_request(numkeys, args))


class _MpopRequest(NamedTuple):
    keys: Sequence[bytes]
    end: End
    limit: int


def _mpop_request(numkeys: bytes, args: Sequence[bytes]) -> _MpopRequest:
    """Read ``numkeys key ... MIN|MAX [COUNT count]``.

    Redis: t_zset.c zmpopGenericCommand.
    """
    keys_count = _number(numkeys, 1, "ERR numkeys should be greater than 0")
    if keys_count >= len(args):
        raise ReplyError(messages.SYNTAX_ERROR)
    keys, (where, *options) = args[:keys_count], args[keys_count:]
    end = _ENDS.get(where.upper())
    if end is None:
        raise ReplyError(messages.SYNTAX_ERROR)
    count = 0
    while options:
        if options.pop(0).upper() != b"COUNT" or not options or count:
            raise ReplyError(messages.SYNTAX_ERROR)
        count = _number(options.pop(0), 1, "ERR count should be greater than 0")
    return _MpopRequest(keys, end, count or 1)


def _mpop(client: Client, wanted: _MpopRequest) -> list[Any] | None:
    key, found = _first_with_members(client, wanted.keys)
    if found is None:
        return None
    popped = _pop(client, key, found, wanted.end, wanted.limit)
    client.propagate(_pop_verb(wanted.end), key, b"%d" % len(popped))
    return [key, _pairs_reply(client, popped)]


def _pop_verb(end: End) -> bytes:
    return b"ZPOPMIN" if end == "min" else b"ZPOPMAX"


def _first_with_members(client: Client, keys: Sequence[bytes]) -> tuple[bytes, SortedSet | None]:
    for key in keys:
        found = client.db.lookup_kind(key, SortedSet)
        if found is not None:
            return key, found
    return b"", None


@command(
    "BZPOPMIN", arity=-3, flags="write noscript fast blocking", keys=(1, -2, 1), propagate=REWRITTEN, since="5.0.0"
)
def bzpopmin(client: Client, *args: bytes) -> Any:
    """Pop the lowest member of the first sorted set that has one, or wait; logged as ZPOPMIN."""
    return _bzpop(client, "min", args)


@command(
    "BZPOPMAX", arity=-3, flags="write noscript fast blocking", keys=(1, -2, 1), propagate=REWRITTEN, since="5.0.0"
)
def bzpopmax(client: Client, *args: bytes) -> Any:
    """Pop the highest member of the first sorted set that has one, or wait; logged as ZPOPMAX."""
    return _bzpop(client, "max", args)


def _bzpop(client: Client, end: End, args: Sequence[bytes]) -> Any:
    *keys, timeout = args
    wait_ms = timeout_ms(timeout)

    def serve(key: bytes) -> list[Any]:
        found = client.db.lookup_kind(key, SortedSet)
        assert found is not None
        [(score, member)] = _pop(client, key, found, end, 1)
        client.propagate(_pop_verb(end), key)
        return [key, member, client.double_reply(score)]

    key, found = _first_with_members(client, keys)
    return wait_for(client, Wait(keys, SortedSet, wait_ms, serve)) if found is None else serve(key)


@command(
    "BZMPOP",
    arity=-5,
    flags="write blocking movablekeys",
    keys=numbered_keys(2),
    propagate=REWRITTEN,
    options=MPOP_OPTIONS,
    since="7.0.0",
)
def bzmpop(client: Client, timeout: bytes, numkeys: bytes, *args: bytes) -> Any:
    """Pop from the first of several sorted sets that has members, or wait; logged as ZPOPMIN or ZPOPMAX."""
    wanted = _mpop_request(numkeys, args)
    wait_ms = timeout_ms(timeout)

    def serve(key: bytes) -> list[Any] | None:
        return _mpop(client, wanted._replace(keys=[key]))

    popped = _mpop(client, wanted)
    return wait_for(client, Wait(wanted.keys, SortedSet, wait_ms, serve)) if popped is None else popped


# --- chance and scan -----------------------------------------------------------------------------------------


@command("ZRANDMEMBER", arity=-2, flags="readonly", keys=(1, 1, 1), options=Options(WITHSCORES), since="6.2.0")
def zrandmember(client: Client, key: bytes, *args: bytes) -> Any:
    """Random members: up to `count` different ones, or exactly -`count` with repetitions.

    Redis: t_zset.c zrandmemberWithCountCommand.
    """
    if not args:
        found = client.db.read_kind(key, SortedSet)
        return None if found is None else found.random_member(client.server.random)
    count = integer(args[0])
    if count == INT64_MIN:
        raise ReplyError(f"ERR value is out of range, value must between {-INT64_MAX} and {INT64_MAX}")
    if len(args) > 2 or (len(args) == 2 and args[1].upper() != b"WITHSCORES"):
        raise ReplyError(messages.SYNTAX_ERROR)
    # The server tries to answer any number of repetitions, and is gone for good when it takes a billion.
    if (len(args) == 2 and abs(count) > INT64_MAX // 2) or count < -MAX_REPETITIONS:
        raise ReplyError("ERR value is out of range")
    found = client.db.read_kind(key, SortedSet)
    if found is None:
        return []
    return entries_reply(client, _random_entries(found, count, client.server.random), len(args) == 2)


MAX_REPETITIONS = 1 << 28


def _random_entries(found: SortedSet, count: int, rng: random.Random) -> list[Entry]:
    if count >= len(found):
        # All of them: no chance is involved, and the server gives them from the highest.
        return found.entries()[::-1]
    members = found.random_members(count, rng) if count >= 0 else [found.random_member(rng) for _ in range(-count)]
    scores = found.scores
    return [(scores[member], member) for member in members]


@command(
    "ZSCAN",
    arity=-3,
    flags="readonly",
    keys=(1, 1, 1),
    options=ELEMENT_SCAN_OPTIONS,
    since="2.8.0",
)
def zscan(client: Client, key: bytes, cursor: bytes, *args: bytes) -> list[Any]:
    """Walk through members and scores in steps.

    A listpack is given as a whole, in order.
    """
    place = scan_cursor(cursor)
    found = client.db.read_kind(key, SortedSet)
    if found is None:
        return [b"0", []]
    compact = [member for _score, member in found.entries()] if found.encoding == "listpack" else None
    following, members = scan_elements(client, place, args, found.scores, compact)
    scores = found.scores
    text = format_double if compact is None else _stored_score
    return [following, [item for member in members for item in (member, text(scores[member]))]]


def _stored_score(score: float) -> bytes:
    """A score as a listpack holds it and ZSCAN gives it: a whole number that 62 bits hold is one, digit for digit."""
    whole = abs(score) <= _WHOLE_SCORE_MAX and score.is_integer()
    return b"%d" % int(score) if whole else format_double(score)
