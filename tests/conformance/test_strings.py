"""Strings and bitmaps answer as redis-server does, and hold the same after a reload."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from support.require import need
from support.server import available, redis_server
from support.transcripts import OK, Error, approx, check_transcript, plain

import aofnb

pytestmark = pytest.mark.server

WRONG_TYPE = Error("WRONGTYPE Operation against a key holding the wrong kind of value")
NOT_INTEGER = Error("value is not an integer or out of range")
SYNTAX = Error("syntax error")

SET_AND_GET = [
    ("SET k v", OK),
    ("GET k", b"v"),
    ("GET nokey", None),
    ("SET k w NX", None),
    ("SET k w XX", OK),
    ("SET nokey w XX", None),
    ("SET k x GET", b"w"),
    ("SET k y NX GET", b"x"),
    ("SET fresh y NX GET", None),
    ("SET k v EX 100 GET", b"x"),
    ("TTL k", 100),
    ("set k v get get keepttl", b"v"),
    ("TTL k", 100),
    ("SET k v", OK),
    ("TTL k", -1),
    ("SET k v EX 10 EX 20", OK),
    ("TTL k", 20),
    ("SET k v EX 10 PX 20", SYNTAX),
    ("SET k v NX XX", SYNTAX),
    ("SET k v KEEPTTL EX 10", SYNTAX),
    ("SET k v EX", SYNTAX),
    ("SET k v FOO", SYNTAX),
    ("SET k v EX x FOO", SYNTAX),
    ("SET k v EX x", NOT_INTEGER),
    ("SET k v EX 0", Error("invalid expire time in 'set' command")),
    ("SET k v EX 9223372036854775807", Error("invalid expire time in 'set' command")),
    ("SET k v PX -1", Error("invalid expire time in 'set' command")),
    ("SET gone v PXAT 1", OK),
    ("GET gone", None),
    ("RPUSH l a", 1),
    ("GET l", WRONG_TYPE),
    ("SET l v GET", WRONG_TYPE),
    ("SET l v NX", None),
    ("SETNX k v", 0),
    ("SETNX n v", 1),
    ("SETEX k 100 v", OK),
    ("SETEX k 0 v", Error("invalid expire time in 'setex' command")),
    ("PSETEX k -1 v", Error("invalid expire time in 'psetex' command")),
    ("PSETEX k 100000 v", OK),
    ("PTTL k", approx(100000, 5000)),
    ("GETSET k w", b"v"),
    ("TTL k", -1),
    ("GETSET l w", WRONG_TYPE),
    ("GETDEL k", b"w"),
    ("GETDEL k", None),
    ("GETDEL l", WRONG_TYPE),
    ("GETEX n", b"v"),
    ("GETEX n EX 100", b"v"),
    ("TTL n", 100),
    ("GETEX n PERSIST", b"v"),
    ("TTL n", -1),
    ("GETEX n EX 0", Error("invalid expire time in 'getex' command")),
    ("GETEX n KEEPTTL", SYNTAX),
    ("GETEX n EX 1 PERSIST", SYNTAX),
    ("GETEX n EXAT 1", b"v"),
    ("EXISTS n", 0),
    ("GETEX l", WRONG_TYPE),
    ("MSET a 1 b 2", OK),
    ("MSET a", Error("wrong number of arguments for 'mset' command")),
    ("MSET a 1 b", Error("wrong number of arguments for 'mset' command")),
    ("MSETNX c 3 a 4", 0),
    ("MSETNX c 3 d 4", 1),
    ("MSETNX c 3 d", Error("wrong number of arguments for 'msetnx' command")),
    ("MGET a b nokey l c", [b"1", b"2", None, None, b"3"]),
]

PARTS_AND_NUMBERS = [
    ("APPEND k hello", 5),
    ("APPEND k ' world'", 11),
    ("OBJECT ENCODING k", b"raw"),
    ("STRLEN k", 11),
    ("STRLEN nokey", 0),
    ("GETRANGE k 0 4", b"hello"),
    ("GETRANGE k -5 -1", b"world"),
    ("GETRANGE k -1 -5", b""),
    ("GETRANGE k 5 2", b""),
    ("GETRANGE k 0 100", b"hello world"),
    ("GETRANGE k -100 2", b"hel"),
    ("GETRANGE nokey x 2", NOT_INTEGER),
    ("SUBSTR k 1 2", b"el"),
    ("SETRANGE k 6 redis", 11),
    ("SETRANGE k 13 !", 14),
    ("GET k", b"hello redis\0\0!"),
    ("SETRANGE k 0 ''", 14),
    ("SETRANGE nokey 0 ''", 0),
    ("SETRANGE k -1 x", Error("offset is out of range")),
    ("SETRANGE k 536870912 x", Error("string exceeds maximum allowed size (proto-max-bulk-len)")),
    ("SETRANGE new 2 x", 3),
    ("GET new", b"\0\0x"),
    ("INCR n", 1),
    ("INCRBY n 41", 42),
    ("DECR n", 41),
    ("DECRBY n -9", 50),
    ("INCR k", NOT_INTEGER),
    ("INCRBY n x", NOT_INTEGER),
    ("DECRBY n -9223372036854775808", Error("decrement would overflow")),
    ("SET n 9223372036854775807", OK),
    ("INCR n", Error("increment or decrement would overflow")),
    ("SET n 007", OK),
    ("INCR n", NOT_INTEGER),
    ("SET n ''", OK),
    ("INCR n", NOT_INTEGER),
    ("SET f 3.0e3", OK),
    ("INCRBYFLOAT f 0.1", b"3000.10000000000000009"),
    ("INCRBYFLOAT f -3000.10000000000000009", b"0"),
    ("INCRBYFLOAT f 0x10", b"16"),
    ("INCRBYFLOAT f 1e30", b"1000000000000000000024696061952"),
    ("INCRBYFLOAT f inf", Error("increment would produce NaN or Infinity")),
    ("INCRBYFLOAT f nan", Error("value is not a valid float")),
    ("INCRBYFLOAT f 1e5000", Error("value is not a valid float")),
    ("INCRBYFLOAT k 1", Error("value is not a valid float")),
    ("MSET a ohmytext b mynewtext", OK),
    ("LCS a b", b"mytext"),
    ("LCS a b LEN", 6),
    ("LCS a b IDX", [b"matches", [[[4, 7], [5, 8]], [[2, 3], [0, 1]]], b"len", 6]),
    ("LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN", [b"matches", [[[4, 7], [5, 8], 4]], b"len", 6]),
    ("LCS a nokey", b""),
    ("LCS a b IDX LEN", Error("If you want both the length and indexes, please just use IDX.")),
    ("LCS a b MINMATCHLEN x", NOT_INTEGER),
    ("LCS a b FOO", SYNTAX),
    ("RPUSH l a", 1),
    ("LCS a l FOO", Error("The specified keys must contain string values")),
    ("APPEND l x", WRONG_TYPE),
    ("SETRANGE l 0 x", WRONG_TYPE),
    ("INCR l", WRONG_TYPE),
    ("STRLEN l", WRONG_TYPE),
]

BITMAPS = [
    ("SETBIT b 7 1", 0),
    ("SETBIT b 7 1", 1),
    ("SETBIT b 100 0", 0),
    ("STRLEN b", 13),
    ("SETBIT b -1 1", Error("bit offset is not an integer or out of range")),
    ("SETBIT b 4294967296 1", Error("bit offset is not an integer or out of range")),
    ("SETBIT b 0 2", Error("bit is not an integer or out of range")),
    ("GETBIT b 7", 1),
    ("GETBIT b 4294967295", 0),
    ("SET s foobar", OK),
    ("BITCOUNT s", 26),
    ("BITCOUNT s 0 0", 4),
    ("BITCOUNT s 1 1 BYTE", 6),
    ("BITCOUNT s 5 30 BIT", 17),
    ("BITCOUNT s -2 -1", 7),
    ("BITCOUNT s 1", SYNTAX),
    ("BITCOUNT s 0 1 FOO", SYNTAX),
    ("BITCOUNT nokey 1", 0),
    (("SET", "p", b"\xff\xf0\x00"), OK),
    ("BITPOS p 0", 12),
    ("BITPOS p 1 1", 8),
    ("BITPOS p 1 2", -1),
    ("BITPOS p 0 0 0", -1),
    ("BITPOS p 0 8 11 BIT", -1),
    ("BITPOS p 1 7 15 BIT", 7),
    ("BITPOS p 2", Error("The bit argument must be 1 or 0.")),
    ("BITPOS nokey 0", 0),
    ("BITPOS nokey 1", -1),
    (("SET", "ones", b"\xff\xff"), OK),
    ("BITPOS ones 0", 16),
    ("BITPOS ones 0 0 -1", -1),
    ("BITOP AND d s p", 6),
    ("GET d", b"f`\0\0\0\0"),
    ("BITOP OR d s p", 6),
    ("BITOP XOR d s p nokey", 6),
    ("BITOP NOT d p", 3),
    ("GET d", b"\0\x0f\xff"),
    ("BITOP NOT d p s", Error("BITOP NOT must be called with a single source key.")),
    ("BITOP FOO d p", SYNTAX),
    ("BITOP AND d none1 none2", 0),
    ("EXISTS d", 0),
    ("BITFIELD f SET u8 0 200 GET i8 0 INCRBY u8 0 100", [0, -56, 44]),
    ("BITFIELD f OVERFLOW SAT INCRBY u8 0 300 OVERFLOW FAIL INCRBY u8 0 1", [255, None]),
    ("BITFIELD f SET i5 #3 -1 GET u5 #3 GET u4 15", [0, 31, 15]),
    ("BITFIELD f SET u8 0 -1", [255]),
    ("BITFIELD f GET u64 0", Error("Invalid bitfield type")),
    ("BITFIELD f GET i8 x", Error("bit offset is not an integer or out of range")),
    ("BITFIELD f OVERFLOW FOO", Error("Invalid OVERFLOW type specified")),
    ("BITFIELD f GET i8", SYNTAX),
    ("BITFIELD f", []),
    ("BITFIELD_RO f GET u8 0", [255]),
    ("BITFIELD_RO f SET u8 0 1", Error("BITFIELD_RO only supports the GET subcommand")),
    ("BITFIELD nokey GET u8 0", [0]),
    ("EXISTS nokey", 0),
    ("OBJECT ENCODING f", b"raw"),
    ("RPUSH l a", 1),
    ("SETBIT l 0 1", WRONG_TYPE),
    ("GETBIT l 0", WRONG_TYPE),
    ("BITCOUNT l", WRONG_TYPE),
    ("BITPOS l 1", WRONG_TYPE),
    ("BITOP AND d s l", WRONG_TYPE),
    ("BITFIELD l GET u8 0", WRONG_TYPE),
]


@pytest.mark.parametrize(
    ("rows", "reads"),
    [
        (SET_AND_GET, [("MGET a b c d l", [b"1", b"2", b"3", b"4", None]), ("EXISTS gone n k", 0)]),
        (PARTS_AND_NUMBERS, [("MGET k new n", [b"hello redis\0\0!", b"\0\0x", b""]), ("STRLEN f", 31)]),
        (BITMAPS, [("BITFIELD_RO f GET u32 0", [0xFF01F000]), ("BITCOUNT b", 1), ("EXISTS d", 0)]),
    ],
    ids=["set-and-get", "parts-and-numbers", "bitmaps"],
)
def test_transcript(rows: list[tuple[object, object]], reads: list[tuple[object, object]], tmp_path: Path) -> None:
    need("redis-server", available())
    check_transcript(rows, tmp_path, reads=reads)


def numbers(rng: random.Random) -> str:
    """Something that strtold reads, or nearly."""
    digits = "".join(rng.choices("0123456789", k=rng.randrange(20)))
    return rng.choice(
        [
            str(rng.randrange(-(10**18), 10**18)),
            f"{rng.choice(['', '-', '+'])}{digits}.{rng.randrange(10**17)}",
            repr(rng.uniform(-1, 1) * 10.0 ** rng.randrange(-25, 25)),
            f"{digits}.{digits}e{rng.randrange(-60, 60)}",
            f"0x{rng.getrandbits(70):x}.8p{rng.randrange(-40, 40)}",
            rng.choice(
                ["", ".", "1.", ".5", "1e", "inf", "nan", " 1", "1 ", "1_0", "-0", "1e-5000", "3.6e-4951", "0e9999999"]
            ),
        ]
    )


def test_incrbyfloat_adds_as_the_server_does(tmp_path: Path) -> None:
    """Sums of random numbers have the server's digits, to the last."""
    need("redis-server", available())
    rng = random.Random(1)
    with redis_server(tmp_path / "redis", appendonly="no") as server, aofnb.open(None) as store:
        for _ in range(500):
            number, by = numbers(rng), numbers(rng)
            replies = []
            for side in (server, store):
                side.execute("SET", "f", number)
                try:
                    reply = side.execute("INCRBYFLOAT", "f", by)
                except aofnb.ReplyError as problem:
                    reply = problem
                replies.append(plain(reply))
            assert replies[0] == replies[1], f"{number} + {by}"
