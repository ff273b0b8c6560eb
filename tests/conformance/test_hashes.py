import random

import pytest
from support.random_runs import check_random_run
from support.require import need
from support.server import available
from support.transcripts import OK, Error, check_transcript

pytestmark = pytest.mark.server
NOT_INT = Error("ERR value is not an integer or out of range")
SYNTAX = Error("ERR syntax error")
WRONG = Error("WRONGTYPE Operation against a key holding the wrong kind of value")

TRANSCRIPT = [
    ("HSET h f 1 g 2 f 3", 2),
    ("HSET h f", Error("ERR wrong number of arguments for 'hset' command")),
    ("HSET h f 1 g", Error("ERR wrong number of arguments for 'hset' command")),
    ("HMSET h f 1 g", Error("ERR wrong number of arguments for 'hmset' command")),
    ("HMSET h k v", OK),
    ("HGETALL h", [b"f", b"3", b"g", b"2", b"k", b"v"]),
    ("OBJECT ENCODING h", b"listpack"),
    ("HSETNX h f x", 0),
    ("HSETNX h n x", 1),
    ("SET s v", OK),
    ("HSET s f v", WRONG),
    ("HGET s f", WRONG),
    ("HGET h f", b"3"),
    ("HGET h none", None),
    ("HMGET h f none g", [b"3", None, b"2"]),
    ("HMGET none a b", [None, None]),
    ("HKEYS h", [b"f", b"g", b"k", b"n"]),
    ("HVALS h", [b"3", b"2", b"v", b"x"]),
    ("HGETALL none", []),
    ("HLEN h", 4),
    ("HSTRLEN h f", 1),
    ("HSTRLEN none f", 0),
    ("HEXISTS h f", 1),
    ("HEXISTS h none", 0),
    ("HDEL h n none", 1),
    ("HDEL none n", 0),
    ("HINCRBY h f 5", 8),
    ("HINCRBY h f x", NOT_INT),
    ("HINCRBY h k 1", Error("ERR hash value is not an integer")),
    ("HINCRBY h f 9223372036854775807", Error("ERR increment or decrement would overflow")),
    ("HINCRBY c new -2", -2),
    ("HINCRBYFLOAT h f 0.1", b"8.1"),
    ("HINCRBYFLOAT h big 3.0e3", b"3000"),
    ("HINCRBYFLOAT h big 0.1", b"3000.10000000000000009"),
    ("HINCRBYFLOAT h k 1", Error("ERR hash value is not a float")),
    ("HINCRBYFLOAT h f x", Error("ERR value is not a valid float")),
    ("HINCRBYFLOAT none f inf", Error("ERR value is NaN or Infinity")),
    ("HSET h e 1e4932", 1),
    ("HINCRBYFLOAT h e 1e4932", Error("ERR increment would produce NaN or Infinity")),
    ("HRANDFIELD none", None),
    ("HRANDFIELD none 3", []),
    ("HRANDFIELD c 5 withvalues", [b"new", b"-2"]),
    ("HRANDFIELD c -2", [b"new", b"new"]),
    ("HRANDFIELD c 1 foo", SYNTAX),
    ("HRANDFIELD c 1 WITHVALUES x", SYNTAX),
    ("HRANDFIELD c 9223372036854775807 WITHVALUES", Error("ERR value is out of range")),
    ("HRANDFIELD c -9223372036854775808", Error("ERR value is out of range, value must between -9223372036854775807")),
    ("HSCAN c 0", [b"0", [b"new", b"-2"]]),
    ("HSCAN c 0 MATCH x* COUNT 5", [b"0", []]),
    ("HSCAN c x", Error("ERR invalid cursor")),
    ("HSCAN c 0 COUNT 0", SYNTAX),
    (("HSET", "long", "f", "x" * 64), 1),
    ("OBJECT ENCODING long", b"listpack"),
    (("HSET", "long", "f", "x" * 65), 0),
    ("OBJECT ENCODING long", b"hashtable"),
    (("HINCRBY", "long2", "f" * 65, "1"), 1),
    ("OBJECT ENCODING long2", b"hashtable"),
    (("HSET", "many", *(str(i) for i in range(1024))), 512),
    ("OBJECT ENCODING many", b"listpack"),
    ("HSET many one more", 1),
    ("OBJECT ENCODING many", b"hashtable"),
]
READS = [
    ("HMGET h f g k big e", [b"8.1", b"2", b"v", b"3000.10000000000000009", b"1e4932"]),
    ("HGETALL c", [b"new", b"-2"]),
    ("HLEN many", 513),
    ("EXISTS none", 0),
]


def test_hashes_as_the_server(tmp_path):
    need("redis-server", available())
    check_transcript(TRANSCRIPT, tmp_path, reads=READS)


def hash_commands(rng: random.Random, count: int):
    def field():
        return rng.choice(["a", "b", "c", "d", "1", "", "longer-than-eight"])

    def text():
        return rng.choice(["a", "1", "-7", "2.5", "", "9223372036854775807", "1e10", "0x1p3"])

    def amount():
        return rng.choice(
            ["1", "-3", "0.1", "1e3", "-2.25", "x", "inf", f"{rng.uniform(-99, 99):.{rng.randint(0, 19)}f}"]
        )

    def key():
        return rng.choice(["k1", "k2", "k3"])

    def pairs():
        return [item for _ in range(rng.randint(1, 3)) for item in (field(), text())]

    makers = [
        lambda: [rng.choice(["HSET", "hset", "HMSET"]), key(), *pairs()],
        lambda: ["HSETNX", key(), field(), text()],
        lambda: ["HDEL", key(), field(), field()],
        lambda: ["HINCRBY", key(), field(), rng.choice(["1", "-5", "9223372036854775807", "x"])],
        lambda: [rng.choice(["HINCRBYFLOAT", "hincrbyfloat"]), key(), field(), amount()],
        lambda: ["HMGET", key(), field(), field()],
        lambda: [rng.choice(["HGETALL", "HKEYS", "HVALS", "HLEN"]), key()],
        lambda: ["HSTRLEN", key(), field()],
        lambda: ["HRANDFIELD", key(), "100", *rng.choice([[], ["withvalues"]])],
        lambda: ["HSCAN", key(), "0", "COUNT", "1000", *rng.choice([[], ["MATCH", "[a-c]"]])],
        lambda: ["OBJECT", "ENCODING", key()],
    ]
    for i in range(count):
        yield rng.choice(makers)()
        if i % 100 == 0:
            yield ["DEL", key()]


def test_random_hash_commands_give_the_same_replies_and_the_same_log(tmp_path):
    need("redis-server", available())
    check_random_run(
        tmp_path,
        hash_commands(random.Random(13), 3000),
        hash_max_listpack_entries=4,
        hash_max_listpack_value=8,
    )
