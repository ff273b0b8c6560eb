import random

import pytest
from support.random_runs import check_random_run
from support.require import need
from support.server import available
from support.transcripts import OK, Error, check_transcript

pytestmark = pytest.mark.server
NOT_INT = Error("ERR value is not an integer or out of range")
NOT_POSITIVE = Error("ERR value is out of range, must be positive")
SYNTAX = Error("ERR syntax error")
WRONG = Error("WRONGTYPE Operation against a key holding the wrong kind of value")

TRANSCRIPT = [
    ("RPUSH l a b c b", 4),
    ("OBJECT ENCODING l", b"quicklist"),
    ("LPUSH l y x", 6),
    ("LRANGE l 0 -1", [b"x", b"y", b"a", b"b", b"c", b"b"]),
    ("LRANGE l 2 1", []),
    ("LRANGE l -100 1", [b"x", b"y"]),
    ("LRANGE l x 1", NOT_INT),
    ("LRANGE none 0 -1", []),
    ("LPUSHX none a", 0),
    ("RPUSHX l z", 7),
    ("RPUSH l", Error("ERR wrong number of arguments for 'rpush' command")),
    ("SET s v", OK),
    ("RPUSH s a", WRONG),
    ("LLEN s", WRONG),
    ("LLEN none", 0),
    ("LINDEX l -1", b"z"),
    ("LINDEX l 99", None),
    ("LINDEX none x", None),
    ("LINDEX l x", NOT_INT),
    ("LSET l 1 Y", OK),
    ("LSET l 99 v", Error("ERR index out of range")),
    ("LSET none 0 v", Error("ERR no such key")),
    ("LINSERT l before b new", 8),
    ("LINSERT l AFTER nope v", -1),
    ("LINSERT none BEFORE a v", 0),
    ("LINSERT l foo a v", SYNTAX),
    ("LPOS l b", 4),
    ("LPOS l b RANK -1", 6),
    ("LPOS l b COUNT 0", [4, 6]),
    ("LPOS l b COUNT 0 MAXLEN 5", [4]),
    ("LPOS l b RANK 2 COUNT 1", [6]),
    ("LPOS l nope COUNT 1", []),
    ("LPOS none b", None),
    ("LPOS l b RANK 0", Error("ERR RANK can't be zero: use 1 to start from the first match")),
    ("LPOS l b RANK -9223372036854775808", 6),
    ("LPOS l b COUNT -1", Error("ERR COUNT can't be negative")),
    ("LPOS l b MAXLEN x", Error("ERR MAXLEN can't be negative")),
    ("LPOS l b COUNT", SYNTAX),
    ("LPOP l", b"x"),
    ("LPOP l 2", [b"Y", b"a"]),
    ("LPOP l 0", []),
    ("LPOP none 2", None),
    ("LPOP l -1", NOT_POSITIVE),
    ("LPOP l x", NOT_POSITIVE),
    ("LPOP l 1 2", Error("ERR wrong number of arguments for 'lpop' command")),
    ("RPOP l 2", [b"z", b"b"]),
    ("LRANGE l 0 -1", [b"new", b"b", b"c"]),
    ("LMOVE l m LEFT right", b"new"),
    ("LMOVE l m up LEFT", SYNTAX),
    ("LMOVE none m LEFT LEFT", None),
    ("LMOVE l s LEFT LEFT", WRONG),
    ("RPOPLPUSH l l", b"c"),
    ("LMPOP 3 none l m left COUNT 5", [b"l", [b"c", b"b"]]),
    ("LMPOP 1 none LEFT", None),
    ("LMPOP 0 l LEFT", Error("ERR numkeys should be greater than 0")),
    ("LMPOP 2 l LEFT", SYNTAX),
    ("LMPOP 1 l LEFT COUNT 0", Error("ERR count should be greater than 0")),
    ("LMPOP 1 l LEFT COUNT 1 COUNT 1", SYNTAX),
    ("EXISTS l", 0),
    ("RPUSH r 1 2 1 3 1 4", 6),
    ("LREM r -2 1", 2),
    ("LREM r 0 nope", 0),
    ("LREM none x 1", NOT_INT),
    ("LTRIM r 1 -2", OK),
    ("LRANGE r 0 -1", [b"2", b"3"]),
    ("BLPOP none r 0", [b"r", b"2"]),
    ("BRPOP r 0x1", [b"r", b"3"]),
    ("BLPOP r -1", Error("ERR timeout is negative")),
    ("BLPOP r x", Error("ERR timeout is not a float or out of range")),
    ("BLPOP r inf", Error("ERR timeout is negative")),
    ("BLPOP s 0", WRONG),
    ("BLMOVE m q left RIGHT 0.5", b"new"),
    ("BRPOPLPUSH q q 0", b"new"),
    ("BLMPOP 0 2 none q LEFT COUNT 9", [b"q", [b"new"]]),
    ("BLMPOP x 1 q up", SYNTAX),
    ("BLMPOP x 1 q LEFT", Error("ERR timeout is not a float or out of range")),
    ("MULTI", OK),
    ("BLPOP none 0", "QUEUED"),
    ("RPUSH t a", "QUEUED"),
    ("BLPOP t 0", "QUEUED"),
    ("EXEC", [None, 1, [b"t", b"a"]]),
    ("RPUSH k 1 2 3", 3),
]
READS = [("LRANGE k 0 -1", [b"1", b"2", b"3"]), ("EXISTS l r q t", 0), ("LLEN m", 0)]


def test_lists_as_the_server(tmp_path):
    need("redis-server", available())
    check_transcript(TRANSCRIPT, tmp_path, reads=READS)


def list_commands(rng: random.Random, count: int):
    def item():
        return rng.choice("abc")

    def key():
        return rng.choice(["k1", "k2", "k3"])

    def index():
        return rng.choice(
            ["0", "1", "2", "-1", "-2", "300", "-300", "9223372036854775807", "-9223372036854775808", "x"]
        )

    def end():
        return rng.choice(["LEFT", "right", "Left", "RIGHT"])

    makers = [
        lambda: [rng.choice(["LPUSH", "rpush", "RPUSH"]), key(), *(item() for _ in range(rng.choice([1, 2, 9, 300])))],
        lambda: [rng.choice(["LPUSHX", "RPUSHX"]), key(), item()],
        lambda: [rng.choice(["LPOP", "RPOP"]), key(), *rng.choice([[], [index()]])],
        lambda: ["LSET", key(), index(), item()],
        lambda: ["LINSERT", key(), rng.choice(["before", "AFTER"]), item(), item()],
        lambda: ["LRANGE", key(), index(), index()],
        lambda: ["LINDEX", key(), index()],
        lambda: ["LREM", key(), index(), item()],
        lambda: ["LTRIM", key(), index(), index()],
        lambda: [
            "LPOS",
            key(),
            item(),
            *rng.choice([[], ["RANK", "-2"], ["COUNT", "2"], ["MAXLEN", "3", "COUNT", "0"]]),
        ],
        lambda: ["LMOVE", key(), key(), end(), end()],
        lambda: ["RPOPLPUSH", key(), key()],
        lambda: ["LMPOP", "2", key(), key(), end(), *rng.choice([[], ["count", "3"]])],
        lambda: ["LLEN", key()],
        lambda: ["DEL", key()],
    ]
    waiting = [
        lambda: [rng.choice(["BLPOP", "BRPOP"]), key(), key(), rng.choice(["0", "1.5"])],
        lambda: ["BLMOVE", key(), key(), end(), end(), "0"],
        lambda: ["BRPOPLPUSH", key(), key(), "1"],
        lambda: ["BLMPOP", "0", "2", key(), key(), end()],
    ]
    for i in range(count):
        if i % 20 == 0:  # those that wait must not: inside EXEC they answer nil
            yield ["MULTI"]
            yield from (make() for make in rng.choices(waiting, k=3))
            yield ["EXEC"]
        yield rng.choice(makers)()


def test_random_list_commands_give_the_same_replies_and_the_same_log(tmp_path):
    need("redis-server", available())
    check_random_run(tmp_path, list_commands(random.Random(11), 3000))
