"""Commands by chance over everything the store holds: what the state machine of the conformance tests runs.

A grammar, one line per form of a command, is filled by a seeded `random.Random`. Rules: what a server decides by its
own chance or clock is left out or given as it must be (`XADD` with an ID, deadlines far ahead or long past); a
few commands in a hundred are spoiled on purpose, since errors are replies too. Left out besides, since here we differ
from the server on purpose: BITFIELD with OVERFLOW FAIL, which changes data unlogged there.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

__all__ = ["ALL_KEYS", "LEX_KEYS", "Machine"]

# {name}: one of its words. [x]: there or not. x+: one to three times. |: stands for a blank inside of a part.
GRAMMAR = {
    "strings": """
SET {s} {v} [{exists}] [GET] [{ttl}]
set {s} {v} [get] [keepttl]
SETEX {s} {soon} {v}
PSETEX {s} 100000000 {v}
GET {s}
GETSET {s} {v}
GETDEL {s}
GETEX {s} [{ttl}]
GETEX {s} PERSIST
GETRANGE {s} {n} {n}
SUBSTR {s} {n} {n}
SETRANGE {s} {n} {v}
APPEND {s} {v}
STRLEN {s}
MGET {s}+
MSET {s}|{v}+
MSETNX {s}|{v}+
SETNX {s} {v}
INCR {s}
DECR {s}
INCRBY {s} {n}
DECRBY {s} {n}
INCRBYFLOAT {s} {f}
LCS {s} {s} [LEN] [IDX] [MINMATCHLEN|{n}] [WITHMATCHLEN]
""",
    "bits": """
SETBIT {s} {offset} {bit}
GETBIT {s} {offset}
BITCOUNT {s}
BITCOUNT {s} {n} {n} [{unit}]
BITPOS {s} {bit} [{n}]
BITPOS {s} {bit} {n} {n} [{unit}]
BITOP {operation} {s} {s}+
BITFIELD {s} SET {width} {n} {n} [GET|{width}|{n}]
BITFIELD {s} OVERFLOW {overflow} INCRBY {width} #1 {n} [SET|{width}|#2|{n}]
BITFIELD {s} GET {width} {n}
BITFIELD_RO {s} GET {width} {n}
""",
    "keys": """
DEL {k}+
UNLINK {k}+
EXISTS {k}+
TOUCH {k}+
TYPE {k}
RENAME {k} {k}
RENAMENX {k} {k}
COPY {k} {k} [REPLACE] [DB|{db}]
MOVE {k} {db}
SELECT {db}
SWAPDB {db} {db}
KEYS {glob}
DBSIZE
SCAN 0 COUNT 100000 [MATCH|{glob}] [TYPE|{type}]
OBJECT ENCODING {c}
EXPIRE {k} {soon} [{condition}]
PEXPIRE {k} 100000000 [{condition}]
EXPIREAT {k} {seconds} [{condition}] [{condition}]
PEXPIREAT {k} {seconds}123 [{condition}]
EXPIRETIME {k}
PEXPIRETIME {k}
TTL {k}
PTTL {k}
PERSIST {k}
SORT {sortable} [DESC] [ALPHA] [GET|#] [GET|{get}] [LIMIT|{n}|{n}] [STORE|{k}]
SORT {sortable} [DESC] [BY|w_*] [GET|#] [GET|{get}] [LIMIT|{n}|{n}] [STORE|{k}]
SORT_RO {sortable} [ASC] [BY|{h}->*]
DUMP {k}
RESTORE {k} {restorettl} {dump} [REPLACE] [ABSTTL] [IDLETIME|{n}] [FREQ|{n}]
RESTORE-ASKING {k} {restorettl} {dump} [REPLACE] [ABSTTL]
OBJECT FREQ {k}
PUBLISH {m} {v}
SPUBLISH {m} {v}
COMMAND GETKEYSANDFLAGS COPY {k} {k}
OBJECT HELP
WAIT 0 0
""",
    "lists": """
{push} {l} {v}+
{push}X {l} {v}+
{pop} {l} [{n}]
LLEN {l}
LRANGE {l} {n} {n}
LINDEX {l} {n}
LSET {l} {n} {v}
LINSERT {l} {where} {v} {v}
LREM {l} {n} {v}
LTRIM {l} {n} {n}
LPOS {l} {v} [RANK|{n}] [COUNT|{n}] [MAXLEN|{n}]
LMOVE {l} {l} {side} {side}
RPOPLPUSH {l} {l}
LMPOP {count} {l} {l} {side} [COUNT|{n}]
B{pop} {l} {l} 0.01
BLMOVE {l} {l} {side} {side} 0.01
BRPOPLPUSH {l} {l} 0.01
BLMPOP 0.01 2 {l} {l} {side} [COUNT|{n}]
""",
    "sets": """
SADD {t} {v}+
SADD {t} {n}+
SREM {t} {v}+
SISMEMBER {t} {v}
SMISMEMBER {t} {v}+
SCARD {t}
SMEMBERS {t}
SMOVE {t} {t} {v}
SPOP {t} 1000
SRANDMEMBER {t} 1000
SINTER {t}+
SUNION {t}+
SDIFF {t}+
SINTERCARD {count} {t} {t} [LIMIT|{n}]
SINTERSTORE {t} {t}+
SUNIONSTORE {t} {t}+
SDIFFSTORE {t} {t}+
SSCAN {t} 0 COUNT 100000 [MATCH|{glob}]
""",
    "hashes": """
HSET {h} {m}|{v}+
HMSET {h} {m}|{v}+
HSETNX {h} {m} {v}
HGET {h} {m}
HMGET {h} {m}+
HGETALL {h}
HKEYS {h}
HVALS {h}
HLEN {h}
HSTRLEN {h} {m}
HEXISTS {h} {m}
HDEL {h} {m}+
HINCRBY {h} {m} {n}
HINCRBYFLOAT {h} {m} {f}
HRANDFIELD {h} 1000 [WITHVALUES]
HSCAN {h} 0 COUNT 100000 [MATCH|{glob}]
""",
    "zsets": """
ZADD {z} [{zcondition}] [{zcondition}] [CH] {f}|{m}+
ZADD {z} [{zcondition}] INCR {f} {m}
ZINCRBY {z} {f} {m}
ZREM {z} {m}+
ZCARD {z}
ZSCORE {z} {m}
ZMSCORE {z} {m}+
ZRANK {z} {m}
ZREVRANK {z} {m}
ZCOUNT {z} {score} {score}
ZLEXCOUNT {y} {lex} {lex}
ZRANGE {z} {n} {n} [REV] [WITHSCORES]
ZRANGE {z} {score} {score} BYSCORE [REV] [LIMIT|{n}|{n}] [WITHSCORES]
ZADD {y} 0|{m} 0|{m} 0|{m}
ZRANGE {y} {lex} {lex} BYLEX [REV] [LIMIT|{n}|{n}]
ZRANGESTORE {z} {z} {n} {n} [REV]
ZRANGESTORE {z} {z} {score} {score} BYSCORE [LIMIT|{n}|{n}]
ZRANGESTORE {y} {y} {lex} {lex} BYLEX [REV] [LIMIT|{n}|{n}]
ZREVRANGE {z} {n} {n} [WITHSCORES]
ZRANGEBYSCORE {z} {score} {score} [WITHSCORES] [LIMIT|{n}|{n}]
ZREVRANGEBYSCORE {z} {score} {score} [WITHSCORES]
ZRANGEBYLEX {y} {lex} {lex} [LIMIT|{n}|{n}]
ZREVRANGEBYLEX {y} {lex} {lex}
ZREMRANGEBYRANK {z} {n} {n}
ZREMRANGEBYSCORE {z} {score} {score}
ZREMRANGEBYLEX {y} {lex} {lex}
ZPOP{minmax} {z} [{n}]
ZMPOP {count} {z} {z} {minmax} [COUNT|{n}]
BZPOP{minmax} {z} {z} 0.01
BZMPOP 0.01 2 {z} {z} {minmax}
ZUNION {count} {sz} {sz} [WEIGHTS|{f}|{f}] [AGGREGATE|{aggregate}] [WITHSCORES]
ZINTER {count} {sz} {sz} [WEIGHTS|{f}|{f}] [AGGREGATE|{aggregate}] [WITHSCORES]
ZDIFF {count} {sz} {sz} [WITHSCORES]
ZINTERCARD {count} {sz} {sz} [LIMIT|{n}]
ZUNIONSTORE {z} {count} {sz} {sz} [WEIGHTS|{f}|{f}] [AGGREGATE|{aggregate}]
ZINTERSTORE {z} {count} {sz} {sz} [WEIGHTS|{f}|{f}] [AGGREGATE|{aggregate}]
ZDIFFSTORE {z} {count} {sz} {sz}
ZRANDMEMBER {z} 1000 [WITHSCORES]
ZSCAN {z} 0 COUNT 100000 [MATCH|{glob}]
""",
    "geo": """
GEOADD {g} [{exists}] [CH] {longitude}|{latitude}|{m}+
GEODIST {g} {m} {m} [{distance}]
GEOHASH {g} {m}+
GEOPOS {g} {m}+
GEOSEARCH {g} FROMMEMBER {m} BYRADIUS {radius} {distance} {order} [COUNT|{n}] [WITHCOORD] [WITHDIST] [WITHHASH]
GEOSEARCH {g} FROMLONLAT {longitude} {latitude} BYBOX {radius} {radius} {distance} {order} [WITHDIST]
GEOSEARCHSTORE {g} {g} FROMMEMBER {m} BYRADIUS {radius} {distance} [STOREDIST]
GEOSEARCHSTORE {g} {g} FROMLONLAT {longitude} {latitude} BYBOX {radius} {radius} {distance} {order} [STOREDIST]
GEORADIUSBYMEMBER_RO {g} {m} {radius} {distance} {order} [COUNT|{n}] [WITHHASH]
GEORADIUS {g} {longitude} {latitude} {radius} {distance} {order} [WITHDIST] [COUNT|{n}] [STORE|{g}]
GEORADIUSBYMEMBER {g} {m} {radius} {distance} {order} [WITHCOORD] [STOREDIST|{g}]
GEORADIUS_RO {g} {longitude} {latitude} {radius} {distance} {order}
""",
    "hyperloglogs": """
PFADD {p} {v}+
PFADD {p}
PFCOUNT {p}+
PFMERGE {p} {p}+
""",
    "streams": """
XADD {x} [NOMKSTREAM] {id} {m}|{v}+
XADD {x} [{trim}] {id} {m} {v}
XADD {x} {bigid} {m} {v}
XLEN {x}
XRANGE {x} {low} {high} [COUNT|{n}]
XREVRANGE {x} {high} {low} [COUNT|{n}]
XDEL {x} {id}+
XTRIM {x} {trim}
XSETID {x} {id} [ENTRIESADDED|{n}] [MAXDELETEDID|{id}]
XREAD [COUNT|{n}] STREAMS {x} {x} {id} {id}
XREAD BLOCK 5 STREAMS {x} {id}
XINFO STREAM {x} [FULL] [COUNT|{n}]
XINFO GROUPS {x}
XINFO CONSUMERS {x} {group}
XGROUP CREATE {x} {group} {groupid} [MKSTREAM] [ENTRIESREAD|{n}]
XGROUP SETID {x} {group} {groupid} [ENTRIESREAD|{n}]
XGROUP DESTROY {x} {group}
XGROUP CREATECONSUMER {x} {group} {consumer}
XGROUP DELCONSUMER {x} {group} {consumer}
XREADGROUP GROUP {group} {consumer} [COUNT|{n}] [NOACK] STREAMS {x} {readid}
XREADGROUP GROUP {group} {consumer} STREAMS {x} {x} > {readid}
XACK {x} {group} {id}+
XPENDING {x} {group}
XPENDING {x} {group} [IDLE|{idle}] {low} {high} {n} [{consumer}]
XCLAIM {x} {group} {consumer} {idle} {id}+ [FORCE] [JUSTID] [TIME|1700000000000] [RETRYCOUNT|{n}] [LASTID|{id}]
XAUTOCLAIM {x} {group} {consumer} {idle} {id} [COUNT|{n}] [JUSTID]
""",
    "transactions": """
WATCH {k}+
UNWATCH
MULTI
MULTI
EXEC
EXEC
EXEC
DISCARD
""",
    "scripts": """
EVAL {script} 2 {k} {k} {v} {n}
EVAL_RO {script} 2 {k} {k} {v} {n}
EVALSHA 0000000000000000000000000000000000000000 0
FCALL {function} 1 {k} {v} {n}
FCALL_RO {function} 1 {k} {v} {n}
FUNCTION LOAD [REPLACE] {library}
FUNCTION DELETE lib
FUNCTION FLUSH
SCRIPT LOAD {script}
SCRIPT FLUSH
SCRIPT EXISTS 0000000000000000000000000000000000000000
""",
}
# How often a family comes, and whole databases go.
WEIGHTS = {"strings": 5, "bits": 2, "keys": 5, "lists": 4, "sets": 4, "hashes": 4, "zsets": 6, "geo": 1,
           "hyperloglogs": 1, "streams": 6, "transactions": 1, "scripts": 1}  # fmt: skip
# Without their count, or with a cursor that was not given out, they answer by chance.
_RANDOM = {b"SPOP", b"SRANDMEMBER", b"HRANDFIELD", b"ZRANDMEMBER", b"SCAN", b"HSCAN", b"SSCAN", b"ZSCAN"}
# What may wait does, for a moment: rarely, or a run takes all day.
_WAITS = re.compile(r"0\.01|BLOCK")
FLUSH = ("FLUSHALL", "FLUSHDB", "FLUSHDB ASYNC", "FLUSHALL SYNC")

_SCRIPTS = (
    b"return redis.call('set', KEYS[1], ARGV[1])",
    b"redis.call('incr', KEYS[1]) return redis.call('rpush', KEYS[2], ARGV[1], ARGV[2])",
    b"return redis.pcall('incrby', KEYS[1], ARGV[2])",
    b"return {redis.call('type', KEYS[1]), redis.call('exists', KEYS[1], KEYS[2])}",
    b"redis.call('set', KEYS[1], 'x') return redis.error_reply('MY own error')",
    b"redis.call('sadd', KEYS[1], ARGV[1], ARGV[2]) redis.call('spop', KEYS[1], 100)",
    b"#!lua flags=no-writes\nreturn redis.call('get', KEYS[1])",
    b"#!lua\nredis.call('hset', KEYS[1], ARGV[1], ARGV[2]) return redis.call('hgetall', KEYS[1])",
    b"if redis.call('exists', KEYS[1]) == 1 then return redis.call('expire', KEYS[1], 100000) end return false",
)
_LIBRARY = (
    b"#!lua name=lib\n"
    b"redis.register_function('put', function(keys, args) return redis.call('set', keys[1], args[1]) end)\n"
    b"redis.register_function{function_name='look', flags={'no-writes'},"
    b" callback=function(keys) return redis.call('strlen', keys[1]) end}\n"
)

WORDS = {
    "v": ("0 1 -1 10 9223372036854775807 007 1.5 3.0e3 abc hello a b c \xe9 "
          "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx ''"),
    "n": "0 0 1 1 2 3 5 7 13 -1 -1 -2 -3 100",
    "f": "0 1 -1 2.5 1e3 -0.1 inf -inf 3.0 0.1 1e17 123456789.123",
    "m": "a b c d e f g 1 2 3 long-member-of-many-bytes ''",
    "exists": "NX XX",
    "ttl": "PXAT|4000000000001 EXAT|4000000001 PXAT EX|0 KEEPTTL EX|100000 PX|100000000",
    "soon": "100000 200000 0 -1",
    "offset": "0 1 7 8 63 100 1000 -1 4294967296",
    "bit": "0 1 1 2",
    "unit": "BIT BYTE byte",
    "operation": "AND OR XOR NOT",
    "width": "u8 i8 u1 i64 u63 i5 u64",
    "overflow": "WRAP SAT wrap sat",
    "db": "0 0 0 1 2 99",
    "glob": "* *1 [a-c]* ? h* nothing",
    "type": "string list hash set zset stream",
    "seconds": "4000000000 4000000001 1",
    "condition": "NX XX GT LT",
    "get": "w_* # nothing* h1->*",
    "restorettl": "0 0 4000000000001 -1",
    "push": "LPUSH RPUSH",
    "pop": "LPOP RPOP",
    "where": "BEFORE AFTER before",
    "side": "LEFT RIGHT left",
    "count": "2 2 2 2 1 3 0",
    "zcondition": "NX XX GT LT",
    "minmax": "MIN MAX",
    "score": "-inf +inf 0 (1 1 5 (5 -1",
    "lex": "- + [a (a [c (e",
    "aggregate": "SUM MIN MAX",
    "longitude": "13.361389 15.087269 0 -180 180.5 2.349014",
    "latitude": "38.115556 37.502669 0 85 -86 48.864716",
    "distance": "m km mi ft",
    "radius": "100 200 5000 0 1e7",
    "order": "ASC DESC",
    "id": "1-1 1-2 2-1 3-1 5-5 7-1 0-1 0-0 9-*",
    "low": "- 0 1 2-1 (1-1 5-5",
    "high": "+ 9 5-5 (5-5 3",
    "trim": "MAXLEN|3 MAXLEN|=|0 MINID|3-1 MAXLEN|~|4|LIMIT|0 MAXLEN|2",
    "group": "g1 g2 ''",
    "groupid": "0 $ 2-1 1-1",
    "readid": "> > > 0 2-1",
    "consumer": "c1 c2 Carol",
    "idle": "0 0 3600000000",
    "function": "put look LOOK nothere",
}  # fmt: skip

# By letter: the keys that commands of a kind are given most often.
KINDS = {"s": "s1 s2 s3", "l": "l1 l2 l3", "t": "t1 t2 t3", "h": "h1 h2 h3", "z": "z1 z2 z3", "g": "g1 g2",
         "p": "p1 p2", "x": "x1 x2"}  # fmt: skip
ALL_KEYS = [*" ".join(KINDS.values()).split(), "none"]
# Sorted sets of one score each, or a range of names is whatever a skiplist finds by chance.
LEX_KEYS = ("y1", "y2")
_ODD = (b"", b"-", b"x", b"9223372036854775808", b"-9223372036854775809", b"1e400", b"nan", b"\x00\xff\r\n", b"(", b"$",
        b"WITHSCORES", b"COUNT", b"99999999999999999999999", b" 1", b"+1", b"01")  # fmt: skip


class Machine:
    """Commands without end.

    Parameters
    ----------
    seed
        The same seed gives the same commands.
    spoiled
        How large a part of them is spoiled: an argument too many, too few, or odd.

    Attributes
    ----------
    dumps
        What DUMP gave: RESTORE draws from it. Whoever runs the commands puts it in.
    """

    def __init__(self, seed: int, spoiled: float = 0.04) -> None:
        self.random = random.Random(seed)
        self.spoiled = spoiled
        self.dumps: list[bytes] = [b"no payload"]
        self._forms = {name: text.strip().splitlines() for name, text in GRAMMAR.items()}
        self._words = {name: [_text(word) for word in text.split()] for name, text in WORDS.items()}
        self._last_id = 10

    def commands(self, count: int) -> Iterator[list[bytes]]:
        """`count` commands; in between, now and then, an empty one: a moment of time goes by."""
        families = list(WEIGHTS)
        weights = list(WEIGHTS.values())
        yield [b"MSET", b"w_1", b"3", b"w_2", b"2", b"w_0", b"1"]
        for number in range(1, count):
            if number % 997 == 0:
                yield self.random.choice(FLUSH).encode().split()
            elif number % 211 == 0:
                key = self.random.choice(ALL_KEYS).encode()
                # Not 1: the server compares with the clock once more.
                yield [b"PEXPIRE", key, b"3"]
                yield []
            else:
                family = self.random.choices(families, weights)[0]
                form = self.random.choice(self._forms[family])
                while _WAITS.search(form) and self.random.random() < 0.8:
                    form = self.random.choice(self._forms[family])
                argv = self._filled(form)
                spoil = self.random.random() < self.spoiled and argv[0] not in _RANDOM
                # A spoiled score would be another.
                spoil = spoil and not any(key.encode() in argv for key in LEX_KEYS)
                yield self._spoiled(argv) if spoil else argv

    def _filled(self, form: str) -> list[bytes]:
        chance = self.random
        argv: list[bytes] = []
        for part in form.split():
            if part.startswith("["):
                if chance.random() < 0.6:
                    continue
                part = part[1:-1]
            times = chance.choice((1, 1, 2, 3)) if part.endswith("+") else 1
            for _time in range(times):
                for piece in part.removesuffix("+").split("|"):
                    argv += self._piece(piece)
        return argv

    def _piece(self, piece: str) -> list[bytes]:
        match = re.search(r"\{(\w+)\}", piece)
        if match is None:
            return [piece.encode()]
        filled = [self._word(match[1])]
        if b"|" in filled[0] and len(match[0]) == len(piece):
            return filled[0].split(b"|")
        return [piece[: match.start()].encode() + filled[0] + piece[match.end() :].encode()]

    def _word(self, name: str) -> bytes:
        chance = self.random
        if name == "k" or (name in KINDS and chance.random() < 0.06):
            return chance.choice(ALL_KEYS).encode()
        if name == "sz":
            name = chance.choice("ttzzz")
        if name == "sortable":
            name = chance.choice("lltz")
        if name == "c":
            name = chance.choice("slthzx")
        if name in KINDS:
            return chance.choice(KINDS[name].split()).encode()
        if name == "y":
            return chance.choice(LEX_KEYS).encode()
        if name == "bigid":
            self._last_id += chance.choice((0, 1, 1, 2))
            return b"%d-%d" % (self._last_id, chance.choice((0, 1, 2)))
        if name == "dump":
            return chance.choice(self.dumps)
        if name == "script":
            return chance.choice(_SCRIPTS)
        if name == "library":
            return _LIBRARY
        return chance.choice(self._words[name])

    def _spoiled(self, argv: list[bytes]) -> list[bytes]:
        chance = self.random
        place = chance.randrange(1, len(argv)) if len(argv) > 1 else 0
        how = chance.random()
        if how < 0.3 or place == 0:
            return [*argv, chance.choice(_ODD)]
        if how < 0.5:
            return argv[:place] + argv[place + 1 :]
        return [*argv[:place], chance.choice(_ODD), *argv[place + 1 :]]


def _text(word: str) -> bytes:
    return b"" if word == "''" else word.encode()
