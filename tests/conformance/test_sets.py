import random

import pytest
from support.random_runs import check_random_run
from support.require import need
from support.server import available, redis_server
from support.transcripts import OK, Error, check_transcript, unordered

import aofnb

pytestmark = pytest.mark.server
NOT_INT = Error("ERR value is not an integer or out of range")
SYNTAX = Error("ERR syntax error")
WRONG = Error("WRONGTYPE Operation against a key holding the wrong kind of value")

TRANSCRIPT = [
    ("SADD i 10 -3 9", 3),
    ("SADD i 10", 0),
    ("SMEMBERS i", [b"-3", b"9", b"10"]),
    ("OBJECT ENCODING i", b"intset"),
    ("SADD s a b c", 3),
    ("OBJECT ENCODING s", b"hashtable"),
    ("SADD i 007", 1),
    ("OBJECT ENCODING i", b"hashtable"),
    ("SREM i 007 nope", 1),
    ("OBJECT ENCODING i", b"hashtable"),
    ("SET str v", OK),
    ("SADD str a", WRONG),
    ("SMEMBERS none", []),
    ("SISMEMBER s a", 1),
    ("SISMEMBER none a", 0),
    ("SMISMEMBER s a z b", [1, 0, 1]),
    ("SMISMEMBER none a z", [0, 0]),
    ("SCARD s", 3),
    ("SMOVE s d a", 1),
    ("SMOVE s d a", 0),
    ("SMOVE s s b", 1),
    ("SMOVE none str a", 0),
    ("SMOVE s str b", WRONG),
    ("SADD d b x", 2),
    ("SINTER s d", [b"b"]),
    ("SINTER s none", []),
    ("SINTER s none str", WRONG),
    ("SUNION s d none", unordered(b"a", b"b", b"c", b"x")),
    ("SDIFF d s none", unordered(b"a", b"x")),
    ("SDIFF none s", []),
    ("SDIFF s s", []),
    ("SINTERCARD 2 s d", 1),
    ("SINTERCARD 1 s LIMIT 1", 1),
    ("SINTERCARD 1 s limit 1 limit 0", 2),
    ("SINTERCARD 0 s", Error("ERR numkeys should be greater than 0")),
    ("SINTERCARD 2 s", Error("ERR Number of keys can't be greater than number of args")),
    ("SINTERCARD 1 s LIMIT -1", Error("ERR LIMIT can't be negative")),
    ("SINTERCARD 1 s x", SYNTAX),
    ("SUNIONSTORE str s d", 4),
    ("TYPE str", "set"),
    ("SINTERSTORE str s none", 0),
    ("EXISTS str", 0),
    ("SDIFFSTORE e d s", 2),
    ("SPOP e 0", []),
    ("SPOP e x", Error("ERR value is out of range, must be positive")),
    ("SPOP e 1 2", SYNTAX),
    ("SPOP e 9", unordered(b"a", b"x")),
    ("SPOP e", None),
    ("SPOP e 2", []),
    ("SRANDMEMBER e", None),
    ("SRANDMEMBER e 2", []),
    ("SRANDMEMBER s 9", unordered(b"b", b"c")),
    (
        "SRANDMEMBER s -9223372036854775808",
        Error("ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807"),
    ),
    ("SRANDMEMBER s x", NOT_INT),
    ("SRANDMEMBER s 1 2", SYNTAX),
    ("SADD n 3 1 2", 3),
    ("SSCAN n 0 COUNT 1", [b"0", [b"1", b"2", b"3"]]),
    ("SSCAN n 0 MATCH [13]", [b"0", [b"1", b"3"]]),
    ("SSCAN none 0 COUNT 0", [b"0", []]),
    ("SSCAN n 0 COUNT 0", SYNTAX),
    ("SSCAN n 0 COUNT x", NOT_INT),
    ("SSCAN n 0 TYPE set", SYNTAX),
    ("SSCAN n x", Error("ERR invalid cursor")),
]
READS = [
    ("SMEMBERS n", [b"1", b"2", b"3"]),
    ("SMEMBERS s", unordered(b"b", b"c")),
    ("SMEMBERS d", unordered(b"a", b"b", b"x")),
    ("SMEMBERS i", unordered(b"-3", b"9", b"10")),
    ("EXISTS e str", 0),
]


def test_sets_as_the_server(tmp_path):
    need("redis-server", available())
    check_transcript(TRANSCRIPT, tmp_path, reads=READS)


def set_commands(rng: random.Random, count: int):
    def member():
        return rng.choice(["a", "b", "1", "2", "3", "4", "-5", "10", "007", "", "9223372036854775808"])

    def members():
        return [member() for _ in range(rng.randint(1, 5))]

    def key():
        return rng.choice(["k1", "k2", "k3", "k4"])

    def keys():
        return [key() for _ in range(rng.randint(1, 3))]

    makers = [
        lambda: ["SADD", key(), *members()],
        lambda: ["sadd", key(), *(str(rng.randint(-9, 9)) for _ in range(3))],
        lambda: ["SREM", key(), *members()],
        lambda: ["SMOVE", key(), key(), member()],
        lambda: [rng.choice(["SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE", "SDIFFSTORE"]), key(), *keys()],
        lambda: [rng.choice(["SINTER", "SUNION", "SDIFF"]), *keys()],
        lambda: ["SINTERCARD", "2", key(), key(), *rng.choice([[], ["LIMIT", "1"]])],
        lambda: [rng.choice(["SMEMBERS", "SCARD"]), key()],
        lambda: ["SMISMEMBER", key(), *members()],
        lambda: ["SSCAN", key(), "0", "COUNT", "1000", *rng.choice([[], ["MATCH", "[0-9]*"]])],
        lambda: ["SPOP", key(), rng.choice(["0", "1000"])],
        lambda: ["OBJECT", "ENCODING", key()],
    ]
    for _ in range(count):
        yield rng.choice(makers)()


def test_random_set_commands_give_the_same_replies_and_the_same_log(tmp_path):
    need("redis-server", available())
    check_random_run(tmp_path, set_commands(random.Random(12), 3000), set_max_intset_entries=6)


def test_what_spop_took_stays_away_after_a_reload_here_and_on_the_server(tmp_path):
    need("redis-server", available())
    with aofnb.open(tmp_path, appendfsync="no", background=False) as store:
        for i in range(12):
            store.execute("SADD", f"s{i}", *range(20), *(["x"] if i % 2 else []))
            for count in (1, i, 2 * i):
                store.execute("SPOP", f"s{i}", count)
            store.execute("SPOP", f"s{i}")
        left = [sorted(store.execute("SMEMBERS", f"s{i}")) for i in range(12)]
        assert left[0] != []
        assert left[11] == []
    with aofnb.open(tmp_path, readonly=True) as store:
        assert [sorted(store.execute("SMEMBERS", f"s{i}")) for i in range(12)] == left
    with redis_server(tmp_path) as server:
        assert [sorted(server.execute("SMEMBERS", f"s{i}")) for i in range(12)] == left
