"""Sorted set commands: what the conformance transcripts cannot show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import aofnb
from aofnb.commands.args import floating
from aofnb.commands.registry import find
from aofnb.errors import ReplyError


@pytest.fixture
def store() -> Iterator[Any]:
    with aofnb.open(None) as store:
        store.execute("ZADD", "z", 1, "a", 2, "b", 3, "c")
        yield store


def resp3(store: Any, *argv: str) -> Any:
    """The reply of a client that has chosen RESP3."""
    session = store.session()
    session.client.resp = 3
    return session.execute(*argv)


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("ZSCORE z a", 1.0),
        ("ZINCRBY z 0.5 a", 1.5),
        ("ZRANGE z 0 1 WITHSCORES", [[b"a", 1.0], [b"b", 2.0]]),
        ("ZRANDMEMBER z 9 WITHSCORES", [[b"c", 3.0], [b"b", 2.0], [b"a", 1.0]]),
        ("ZUNION 1 z WITHSCORES", [[b"a", 1.0], [b"b", 2.0], [b"c", 3.0]]),
        ("ZPOPMIN z", [b"a", 1.0]),
        ("ZPOPMIN z 1", [[b"a", 1.0]]),
        ("ZMPOP 1 z MAX", [b"z", [[b"c", 3.0]]]),
        ("BZPOPMIN z 0", [b"z", b"a", 1.0]),
    ],
)
def test_resp3_gives_doubles_and_pairs(store: Any, line: str, reply: Any) -> None:
    assert resp3(store, *line.split()) == reply


@pytest.mark.parametrize("line", ["BZPOPMIN q 0", "BZPOPMAX q p 0.5", "BZMPOP 0 2 q p MIN"])
def test_inside_exec_it_gives_nil_instead(store: Any, line: str) -> None:
    store.execute("MULTI")
    store.execute(*line.split())
    assert store.execute("EXEC") == [None]


def test_sums_begin_with_the_smallest_set(store: Any) -> None:
    """0.1 + 0.2 + 0.3 depends on the order; the largest set, named first, is added last."""
    store.execute("ZADD", "large", 0.3, "m", 1, "x", 1, "y")
    store.execute("ZADD", "middle", 0.2, "m", 1, "x")
    store.execute("ZADD", "small", 0.1, "m")
    assert store.execute("ZINTER", 3, "large", "middle", "small", "WITHSCORES") == [b"m", b"0.60000000000000009"]
    assert store.execute("ZUNION", 3, "large", "middle", "small", "WITHSCORES")[:2] == [b"m", b"0.60000000000000009"]
    assert 0.3 + 0.2 + 0.1 == 0.6


def test_as_many_repetitions_as_would_stop_the_kernel_are_refused(store: Any) -> None:
    with pytest.raises(ReplyError, match="out of range"):
        store.execute("ZRANDMEMBER", "z", -(1 << 40))
    assert len(store.execute("ZRANDMEMBER", "z", -1000)) == 1000


def test_scan_gives_every_member_of_a_large_set_once(store: Any) -> None:
    for i in range(1000):
        store.execute("ZADD", "big", i, f"m{i}")
    seen, cursor = [], b"0"
    while True:
        cursor, items = store.execute("ZSCAN", "big", cursor, "COUNT", 50)
        seen += zip(items[::2], items[1::2], strict=True)
        if cursor == b"0":
            break
    assert sorted(seen) == sorted((b"m%d" % i, b"%d" % i) for i in range(1000))


@pytest.mark.parametrize(
    ("line", "positions"),
    [
        ("ZUNION 2 a b WITHSCORES", [2, 3]),
        ("ZUNIONSTORE d 2 a b", [1, 3, 4]),
        ("ZUNIONSTORE d x a b", [1]),
        ("BZMPOP 0 1 a MIN", [3]),
        ("ZMPOP 9 a b", [2, 3]),
        ("BZPOPMIN a b 0", [1, 2]),
        ("GEORADIUS g 1 2 3 m STORE d", [1, 7]),
        ("GEORADIUS g 1 2 3 m STORE d STOREDIST e", [1, 9]),
        ("GEORADIUSBYMEMBER g m 3 m", [1]),
    ],
)
def test_keys_are_found_wherever_they_stand(line: str, positions: list[int]) -> None:
    argv = line.encode().split()
    found = find(argv)
    assert found is not None
    assert found.key_positions(argv) == positions


@pytest.mark.parametrize("text", ["", " 1", "1 ", "1_0", "nan", "1e400", "1e-400", "0x1p5000", "0x", "1\0", "1e"])
def test_scores_that_strtod_would_not_take_whole_are_refused(text: str) -> None:
    with pytest.raises(ReplyError, match="not a valid float"):
        floating(text.encode())


@pytest.mark.parametrize(
    ("text", "score"), [("0x10", 16.0), ("+.5e1", 5.0), ("5.", 5.0), ("-Infinity", float("-inf")), ("1e-310", 1e-310)]
)
def test_scores_may_be_hexadecimal_or_infinite(text: str, score: float) -> None:
    assert floating(text.encode()) == score
