"""Union, intersection and difference of sorted sets; a plain set counts as one whose scores are all 1.

Redis: t_zset.c zunionInterDiffGenericCommand (7.0.15).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from aofnb.commands import messages
from aofnb.commands.args import Option, Options, floating, integer, positive, value
from aofnb.commands.client import Client
from aofnb.commands.registry import command, numbered_keys
from aofnb.commands.zsets import WITHSCORES, entries_reply, limits, store_result
from aofnb.errors import ReplyError
from aofnb.store.keyspace import WRONG_TYPE
from aofnb.store.set_value import SetValue
from aofnb.store.zset import SortedSet

__all__: list[str] = []

Scores = dict[bytes, float]
Aggregate = Callable[[float, float], float]


def _sum(left: float, right: float) -> float:
    total = left + right
    return 0.0 if math.isnan(total) else total


# Spelled so that a NaN on the right, the product of infinity and a weight of 0, changes nothing.
AGGREGATES: dict[bytes, Aggregate] = {
    b"SUM": _sum,
    b"MIN": lambda left, right: right if right < left else left,
    b"MAX": lambda left, right: right if right > left else left,
}


class _Input(NamedTuple):
    scores: Mapping[bytes, float]
    weight: float


class _Sources(NamedTuple):
    """The arguments of the family: the inputs, and what is to be done with them."""

    inputs: list[_Input]
    aggregate: Aggregate
    with_scores: bool
    limit: int


Kind = Literal["union", "inter", "diff"]


def _sources(client: Client, name: str, kind: Kind, args: Sequence[bytes]) -> _Sources:
    """Read ``numkeys key ... [options]`` as command `name` takes them.

    Redis: t_zset.c zunionInterDiffGenericCommand.
    """
    numkeys = integer(args[0])
    if numkeys < 1:
        raise ReplyError(f"ERR at least 1 input key is needed for '{name}' command")
    if numkeys > len(args) - 1:
        raise ReplyError(messages.SYNTAX_ERROR)
    found = [_scores_at(client, key) for key in args[1 : 1 + numkeys]]
    storing, counting = name.endswith("store"), name == "zintercard"
    weighing = kind != "diff" and not counting
    weights, with_scores, limit = [1.0] * numkeys, False, 0
    aggregate: Aggregate = _sum
    options = list(args[1 + numkeys :])
    while options:
        match options.pop(0).upper():
            case b"WEIGHTS" if weighing and len(options) >= numkeys:
                weights = [floating(arg, "ERR weight value is not a float") for arg in options[:numkeys]]
                del options[:numkeys]
            case b"AGGREGATE" if weighing and options and options[0].upper() in AGGREGATES:
                aggregate = AGGREGATES[options.pop(0).upper()]
            case b"WITHSCORES" if not storing and not counting:
                with_scores = True
            case b"LIMIT" if counting and options:
                limit = positive(options.pop(0), "ERR LIMIT can't be negative")
            case _:
                raise ReplyError(messages.SYNTAX_ERROR)
    return _Sources(list(map(_Input, found, weights)), aggregate, with_scores, limit)


def _scores_at(client: Client, key: bytes) -> Mapping[bytes, float]:
    """The scores at `key`; each member of a set has 1."""
    found = client.db.read(key)
    if found is None:
        return {}
    if isinstance(found, SortedSet):
        return found.scores
    if isinstance(found, SetValue):
        return dict.fromkeys(found.members, 1.0)
    raise ReplyError(WRONG_TYPE)


def _by_size(inputs: Sequence[_Input]) -> list[_Input]:
    # Sums of floats depend on the order of the terms: the server begins with the smallest set.
    return sorted(inputs, key=lambda given: len(given.scores))


def _weighted(score: float, weight: float) -> float:
    product = score * weight
    return 0.0 if math.isnan(product) else product


def _union(sources: _Sources) -> Scores:
    result: Scores = {}
    for scores, weight in _by_size(sources.inputs):
        for member, score in scores.items():
            term = _weighted(score, weight)
            result[member] = sources.aggregate(result[member], term) if member in result else term
    return result


def _intersection(sources: _Sources) -> Scores:
    (smallest, weight), *others = _by_size(sources.inputs)
    result: Scores = {}
    for member, score in smallest.items():
        if all(member in scores for scores, _weight in others):
            total = _weighted(score, weight)
            for scores, other_weight in others:
                total = sources.aggregate(total, scores[member] * other_weight)
            result[member] = total
    return result


def _difference(sources: _Sources) -> Scores:
    (first, _weight), *others = sources.inputs
    return {member: score for member, score in first.items() if not any(member in scores for scores, _ in others)}


_COMBINE: dict[Kind, Callable[[_Sources], Scores]] = {
    "union": _union,
    "inter": _intersection,
    "diff": _difference,
}


def _combined(client: Client, kind: Kind, args: Sequence[bytes]) -> list[Any]:
    sources = _sources(client, "z" + kind, kind, args)
    entries = sorted((score, member) for member, score in _COMBINE[kind](sources).items())
    return entries_reply(client, entries, sources.with_scores)


def _combined_store(client: Client, kind: Kind, destination: bytes, args: Sequence[bytes]) -> int:
    event = f"z{kind}store"
    sources = _sources(client, event, kind, args)
    return store_result(client, destination, SortedSet.of(_COMBINE[kind](sources), *limits(client)), event)


WEIGHTS = Option("WEIGHTS", 1, floating, None)
AGGREGATE = value("AGGREGATE", bytes.upper)


@command(
    "ZUNION",
    arity=-3,
    flags="readonly movablekeys",
    keys=numbered_keys(1),
    options=Options(WEIGHTS, AGGREGATE, WITHSCORES),
    since="6.2.0",
)
def zunion(client: Client, *args: bytes) -> list[Any]:
    """The members of any of several sorted sets or sets, scores combined."""
    return _combined(client, "union", args)


@command(
    "ZINTER",
    arity=-3,
    flags="readonly movablekeys",
    keys=numbered_keys(1),
    options=Options(WEIGHTS, AGGREGATE, WITHSCORES),
    since="6.2.0",
)
def zinter(client: Client, *args: bytes) -> list[Any]:
    """The members that several sorted sets or sets have in common, scores combined."""
    return _combined(client, "inter", args)


@command(
    "ZDIFF",
    arity=-3,
    flags="readonly movablekeys",
    keys=numbered_keys(1),
    options=Options(WITHSCORES),
    since="6.2.0",
)
def zdiff(client: Client, *args: bytes) -> list[Any]:
    """The members of the first sorted set or set that none of the others has."""
    return _combined(client, "diff", args)


@command(
    "ZINTERCARD",
    arity=-3,
    flags="readonly movablekeys",
    keys=numbered_keys(1),
    options=Options(value("LIMIT", integer)),
    since="7.0.0",
)
def zintercard(client: Client, *args: bytes) -> int:
    """How many members several sorted sets or sets have in common."""
    sources = _sources(client, "zintercard", "inter", args)
    size = len(_intersection(sources))
    return min(size, sources.limit) if sources.limit else size


@command(
    "ZUNIONSTORE",
    arity=-4,
    flags="write denyoom movablekeys",
    keys=numbered_keys(2, 1),
    options=Options(WEIGHTS, AGGREGATE),
    since="2.0.0",
)
def zunionstore(client: Client, destination: bytes, *args: bytes) -> int:
    """Store what ZUNION gives."""
    return _combined_store(client, "union", destination, args)


@command(
    "ZINTERSTORE",
    arity=-4,
    flags="write denyoom movablekeys",
    keys=numbered_keys(2, 1),
    options=Options(WEIGHTS, AGGREGATE),
    since="2.0.0",
)
def zinterstore(client: Client, destination: bytes, *args: bytes) -> int:
    """Store what ZINTER gives."""
    return _combined_store(client, "inter", destination, args)


@command(
    "ZDIFFSTORE",
    arity=-4,
    flags="write denyoom movablekeys",
    keys=numbered_keys(2, 1),
    since="6.2.0",
)
def zdiffstore(client: Client, destination: bytes, *args: bytes) -> int:
    """Store what ZDIFF gives."""
    return _combined_store(client, "diff", destination, args)
