"""Sorted sets reply and log as redis-server's do."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from support.differential import Run
from support.require import need
from support.server import available
from support.transcripts import Error, check_transcript

Row = tuple[str, object]
need("redis-server", available())

ZADD: list[Row] = [
    ("ZADD z 1 a 2 b 3 c", 3),
    ("ZADD z 1 a 4 d", 1),
    ("ZADD z CH 5 a 4 d", 1),
    ("ZADD z NX 9 a 9 e", 1),
    ("ZADD z XX CH 8 a 8 f", 1),
    ("ZADD z gt ch 7 a 10 b", 1),
    ("ZADD z LT CH 7 a 11 b", 1),
    ("ZADD z GT 1 new", 1),
    ("ZADD z INCR 2.5 a", b"9.5"),
    ("ZADD z NX INCR 1 a", None),
    ("ZADD z XX INCR 1 nobody", None),
    ("ZADD nokey XX INCR 1 nobody", None),
    ("ZADD nokey XX 1 nobody", 0),
    ("ZADD z GT INCR -1 a", None),
    ("ZADD z NX XX 1 a", Error("ERR XX and NX options at the same time are not compatible")),
    ("ZADD z NX GT 1 a", Error("ERR GT, LT, and/or NX options at the same time are not compatible")),
    ("ZADD z INCR 1 a 2 b", Error("ERR INCR option supports a single increment-element pair")),
    ("ZADD z 1 a 2", Error("ERR syntax error")),
    ("ZADD z nan a", Error("ERR value is not a valid float")),
    ("ZADD z 1 a x b", Error("ERR value is not a valid float")),
    ("ZADD z +inf i -inf j 0x10 h 1e3 k", 4),
    ("ZINCRBY z -inf i", Error("ERR resulting score is not a number (NaN)")),
    ("ZINCRBY z 0.1 x", b"0.10000000000000001"),
    ("ZMSCORE z a i nobody", [b"9.5", b"inf", None]),
    ("SET s x", b"OK"),
    ("ZADD s 1 a", Error("WRONGTYPE")),
    ("ZADD s x a", Error("ERR value is not a valid float")),
]

RANGES: list[Row] = [
    ("ZADD z 1 a 2 b 2 bb 3 c 4 d", 5),
    ("ZRANGE z 0 1 WITHSCORES", [b"a", b"1", b"b", b"2"]),
    ("ZRANGE z 0 -1 REV", [b"d", b"c", b"bb", b"b", b"a"]),
    ("ZRANGE z (1 3 BYSCORE LIMIT 1 2", [b"bb", b"c"]),
    ("ZRANGE z 3 (1 BYSCORE REV LIMIT 0 -1", [b"c", b"bb", b"b"]),
    ("ZRANGE z 0 1 LIMIT 0 1", Error("ERR syntax error, LIMIT is only supported in combination with either BYSCORE")),
    ("ZRANGE z 0 1 LIMIT 0 -1", [b"a", b"b"]),
    ("ZRANGE z - + BYLEX WITHSCORES", Error("ERR syntax error, WITHSCORES not supported in combination with BYLEX")),
    ("ZRANGE z 0 1 REV REV", Error("ERR syntax error")),
    ("ZRANGE z 0 1 BYSCORE BYLEX", Error("ERR syntax error")),
    ("ZRANGEBYSCORE z 1 2 REV", Error("ERR syntax error")),
    ("ZRANGEBYSCORE z nan 2", Error("ERR min or max is not a float")),
    (("ZCOUNT", "z", "", " 2"), 3),
    (("ZCOUNT", "z", "2\0x", "(1e999"), 4),
    ("ZCOUNT z (2 +inf", 2),
    ("ZREVRANGEBYSCORE z +inf -inf WITHSCORES LIMIT 1 1", [b"c", b"3"]),
    ("ZREVRANGE z 1 2", [b"c", b"bb"]),
    ("ZRANK z c", 3),
    ("ZREVRANK z c", 1),
    ("ZRANK z nobody", None),
    ("ZADD l 0 a 0 b 0 c 0 aa", 4),
    ("ZRANGEBYLEX l [aa (c", [b"aa", b"b"]),
    ("ZREVRANGEBYLEX l + (aa LIMIT 1 5", [b"b"]),
    ("ZLEXCOUNT l - +", 4),
    ("ZLEXCOUNT l + -", 0),
    ("ZLEXCOUNT l a b", Error("ERR min or max not valid string range item")),
    ("ZADD mixed 1 c 2 a 3 b 4 d", 4),
    ("ZRANGEBYLEX mixed [b [c", [b"c", b"a", b"b"]),
    ("ZREVRANGEBYLEX mixed [c [b", [b"b"]),
    ("ZRANGESTORE out z 1 2", 2),
    ("ZRANGESTORE out z 9 12", 0),
    ("EXISTS out", 0),
    ("ZREMRANGEBYLEX l [aa [b", 2),
    ("ZREMRANGEBYSCORE z 2 2", 2),
    ("ZREMRANGEBYRANK z -1 -1", 1),
    ("ZREMRANGEBYRANK z 0 x", Error("ERR value is not an integer or out of range")),
]

COMBINED: list[Row] = [
    ("ZADD a 1 x 2 y inf i", 3),
    ("ZADD b 10 y 20 z -inf i", 3),
    ("SADD s x z", 2),
    ("ZUNION 2 a b WITHSCORES", [b"i", b"0", b"x", b"1", b"y", b"12", b"z", b"20"]),
    ("ZUNION 2 a s AGGREGATE MAX WITHSCORES", [b"x", b"1", b"z", b"1", b"y", b"2", b"i", b"inf"]),
    ("ZUNION 1 a WEIGHTS 0 WITHSCORES", [b"i", b"0", b"x", b"0", b"y", b"0"]),
    ("ZINTER 2 a b WEIGHTS 2 0.5 WITHSCORES", [b"i", b"0", b"y", b"9"]),
    ("ZINTERSTORE d 3 a b s", 0),
    ("ZUNIONSTORE d 2 a s WEIGHTS 1 3", 4),
    ("ZRANGE d 0 -1 WITHSCORES", [b"y", b"2", b"z", b"3", b"x", b"4", b"i", b"inf"]),
    ("ZDIFF 2 a s WITHSCORES", [b"y", b"2", b"i", b"inf"]),
    ("ZDIFFSTORE d 2 a a", 0),
    ("EXISTS d", 0),
    ("ZINTERCARD 2 a b LIMIT 1", 1),
    ("ZINTERCARD 2 a b LIMIT -1", Error("ERR LIMIT can't be negative")),
    ("ZINTERCARD 0 a", Error("ERR at least 1 input key is needed for 'zintercard' command")),
    ("ZUNIONSTORE d 0 a", Error("ERR at least 1 input key is needed for 'zunionstore' command")),
    ("ZUNION 3 a b", Error("ERR syntax error")),
    ("ZUNION 2 a b WEIGHTS 1", Error("ERR syntax error")),
    ("ZUNION 2 a b WEIGHTS 1 x", Error("ERR weight value is not a float")),
    ("ZUNIONSTORE d 1 a WITHSCORES", Error("ERR syntax error")),
    ("ZDIFF 2 a b WEIGHTS 1 1", Error("ERR syntax error")),
]

POPS: list[Row] = [
    ("ZADD z 1 a 2 b 3 c 4 d 5 e 6 f", 6),
    ("ZPOPMIN z", [b"a", b"1"]),
    ("ZPOPMAX z 2", [b"f", b"6", b"e", b"5"]),
    ("ZPOPMIN z 0", []),
    ("ZPOPMIN z -1", Error("ERR value is out of range, must be positive")),
    ("ZPOPMIN z 1 1", Error("ERR syntax error")),
    ("ZPOPMIN nokey", []),
    ("ZMPOP 2 nokey z MIN", [b"z", [[b"b", b"2"]]]),
    ("ZMPOP 1 nokey MIN", None),
    ("ZMPOP 0 z MIN", Error("ERR numkeys should be greater than 0")),
    ("ZMPOP 1 z MIN COUNT 0", Error("ERR count should be greater than 0")),
    ("BZPOPMIN z x", Error("ERR timeout is not a float or out of range")),
    ("BZPOPMIN z -1", Error("ERR timeout is negative")),
    ("BZPOPMAX nokey z 0", [b"z", b"d", b"4"]),
    ("BZMPOP 0 1 z MIN COUNT 9", [b"z", [[b"c", b"3"]]]),
    ("EXISTS z", 0),
    ("ZADD z 1 a 2 b", 2),
    ("ZRANDMEMBER z 10 WITHSCORES", [b"b", b"2", b"a", b"1"]),
    ("ZRANDMEMBER z 1 FOO", Error("ERR syntax error")),
    ("ZRANDMEMBER nokey", None),
    ("ZRANDMEMBER nokey -9223372036854775808", Error("ERR value is out of range, value must between")),
    ("ZRANDMEMBER nokey 4611686018427387904 WITHSCORES", Error("ERR value is out of range")),
    ("ZSCAN z 0 MATCH b COUNT 1", [b"0", [b"b", b"2"]]),
    ("ZSCAN z x", Error("ERR invalid cursor")),
    ("ZSCAN nokey 0 FOO", [b"0", []]),
    ("MULTI", b"OK"),
    ("BZPOPMIN nokey 0", b"QUEUED"),
    ("BZPOPMIN z 0", b"QUEUED"),
    ("EXEC", [None, [b"z", b"a", b"1"]]),
]


@pytest.mark.parametrize("rows", [ZADD, RANGES, COMBINED, POPS], ids=["zadd", "ranges", "combined", "pops"])
def test_replies(rows: list[Row], tmp_path: Path) -> None:
    check_transcript(rows, tmp_path)


MEMBERS = [*"abcde", "aa", "", "é", "x" * 70]
SCORES = ["0", "1", "2", "-1", "0.1", "0.2", "0.3", "-0", "inf", "-inf", "1e17", "5e-324"]


def zset_command(rng: random.Random) -> list[str]:
    """Some sorted set command, wrong now and then."""
    key = rng.choice(["z1", "z2", "z3", "z4", "nokey", "s"])
    ranks = [str(rng.choice([0, 1, 2, 5, -1, -2, -100, 100])) for _ in range(2)]
    scores = [rng.choice(["", "("]) + rng.choice([*SCORES, "x", "nan"]) for _ in range(2)]
    # Where scores differ, what a skiplist gives for a range of members depends on its chance levels.
    lex = ["l", *(rng.choice(["-", "+", "[a", "(a", "[b", "(b", "[e", "(", "[aa", "a"]) for _ in range(2))]
    limit = rng.choice([[], ["LIMIT", rng.choice("012"), rng.choice(["1", "3", "-1"])]])
    with_scores = rng.choice([[], ["WITHSCORES"]])
    keys = [rng.choice(["z1", "z2", "z3", "set", "nokey"]) for _ in range(rng.randrange(1, 4))]
    weights = ["WEIGHTS", *(rng.choice(["1", "2", "0", "-1", "0.1"]) for _ in keys)] if rng.random() < 0.5 else []
    aggregate = ["AGGREGATE", rng.choice(["SUM", "min", "Max", "x"])] if rng.random() < 0.3 else []
    operation = rng.choice(["ZUNION", "ZINTER"])
    pairs = [word for _ in range(rng.randrange(1, 5)) for word in (rng.choice(SCORES), rng.choice(MEMBERS))]
    words = [word for word in ("NX", "xx", "GT", "LT", "CH", "Incr") if rng.random() < 0.15]
    return rng.choice(
        [
            ["ZADD", key, *words, *pairs],
            ["ZADD", key, *pairs],
            ["zadd", "l", "7", rng.choice(MEMBERS), "7", rng.choice(MEMBERS)],
            ["ZINCRBY", key, *pairs[:2]],
            ["ZREM", key, *rng.sample(MEMBERS, 2)],
            ["ZREMRANGEBYRANK", key, *ranks],
            ["ZREMRANGEBYSCORE", key, *scores],
            ["ZREMRANGEBYLEX", *lex],
            ["ZRANGE", key, *ranks, *rng.choice([[], ["REV"]]), *with_scores],
            ["ZRANGE", key, *scores, "BYSCORE", *rng.choice([[], ["Rev"]]), *limit, *with_scores],
            ["ZRANGE", *lex, "bylex", *limit],
            ["ZREVRANGEBYLEX", *lex, *limit],
            ["ZRANGESTORE", "z3", key, *ranks],
            ["ZRANGESTORE", "z4", key, *scores, "BYSCORE", *limit],
            ["ZCOUNT", key, *scores],
            ["ZLEXCOUNT", *lex],
            [rng.choice(["ZPOPMIN", "ZPOPMAX"]), key, rng.choice("012")],
            ["ZMPOP", str(len(keys)), *keys, rng.choice(["MIN", "MAX"]), "COUNT", rng.choice("013")],
            [operation, str(len(keys)), *keys, *weights, *aggregate, *with_scores],
            [operation + "STORE", rng.choice(["z2", "z4"]), str(len(keys)), *keys, *weights, *aggregate],
            ["ZDIFFSTORE", "z4", str(len(keys)), *keys],
            ["ZINTERCARD", str(len(keys)), *keys, "LIMIT", rng.choice("012")],
            [rng.choice(["ZRANK", "ZREVRANK", "ZSCORE"]), key, rng.choice(MEMBERS)],
            ["OBJECT", "ENCODING", key],
        ]
    )


@pytest.mark.parametrize("seed", range(2))
def test_random_commands_get_the_same_replies_and_leave_the_same_log(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    with Run(tmp_path) as run:
        run.both("CONFIG", "SET", "zset-max-listpack-entries", "5")
        run.both("SADD", "set", "a", "b", "1")
        run.both("SET", "s", "x")
        for _ in range(1500):
            run.both(*zset_command(rng))
        run.check_logs()
