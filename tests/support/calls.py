"""Calls of a command by its grammar: what tests/data/commands-7.0.15.json says of its arguments, filled by a seed.

Most calls are valid in form, with options in every combination and values that often fit the keys of `START`; some are
spoiled: an argument too few, too many, or odd. See `left_to_chance` and `not_compared` for what is not to be compared.
"""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["COMMANDS", "FACTS", "START", "Calls", "left_to_chance", "not_compared"]

FACTS: dict[str, dict[str, Any]] = json.loads((Path(__file__).parents[1] / "data" / "commands-7.0.15.json").read_text())
# What is about clients, settings or the machine has tests of its own.
_GROUPS = {
    "string",
    "bitmap",
    "list",
    "set",
    "hash",
    "sorted-set",
    "geo",
    "stream",
    "hyperloglog",
    "generic",
    "scripting",
}
_ELSEWHERE = {
    "migrate",
    "pfselftest",
    "wait",
    "function kill",
    "script kill",
    "script debug",
    "object idletime",
    "randomkey",
}
COMMANDS = [
    name
    for name, facts in FACTS.items()
    if facts["group"] in _GROUPS and name not in _ELSEWHERE and not any(other.startswith(name + " ") for other in FACTS)
]

LIBRARY = (
    b"#!lua name=lib\n"
    b"redis.register_function('f', function(keys, args) return redis.call('set', keys[1], args[1] or 'x') end)\n"
    b"redis.register_function{function_name='g', flags={'no-writes'}, callback=function(keys, args) return args end}"
)
START = [
    line.split()
    for line in b"""
SET s 10
SET s2 hello-world
SET s3 help-word
SET e 1 PXAT 4000000000000
SETBIT b 7 1
SETBIT b 100 1
RPUSH l a b c 1 2 a
RPUSH l2 3 1 2
SADD t 1 2 3 5
SADD t2 a b c hello
HSET h a 1 b x c 2.5
HSET h1 a 1
ZADD z 1 a 2 b 3 c 3 d
ZADD z2 0 a 0 b 0 c 0 d
GEOADD g 13.361389 38.115556 a 15.087269 37.502669 b 2.349014 48.864716 c
XADD x 1-1 a 1
XADD x 2-1 b 2 c 3
XADD x 3-1 d 4
XADD x 5-5 e 5
XGROUP CREATE x g 0
XGROUP CREATE x g2 2-1
XREADGROUP GROUP g c COUNT 2 STREAMS x >
XDEL x 1-1
PFADD p a b c
PFADD p2 c d e
MSET w_1 3 w_2 1 w_3 2
HSET hw_1 f 9 g x
HSET hw_2 f 8
SELECT 1
SET s other
SELECT 0
""".strip().splitlines()
]  # fmt: skip

_ALL_KEYS = "s s2 s3 b l l2 t t2 h h1 z z2 g x p p2 e none none2"
_KEYS = _ALL_KEYS.split()
_FITTING = {
    "string": "s s2 s3 e none", "bitmap": "b s s2 none", "list": "l l2 none", "set": "t t2 none", "hash": "h h1 none",
    "sorted-set": "z z2 none t", "geo": "g z none", "stream": "x none", "hyperloglog": "p p2 none",
}  # fmt: skip
_NUMBERS = "0 0 1 1 2 3 5 10 -1 -1 -2 -3 100"
# By name of argument; some only in some groups or commands.
_WORDS = {
    "member": "a b c d hello 1 zz", "member1": "a b c zz", "member2": "a b c zz", "field": "a b c zz",
    "element": "a b c 1 zz", "pivot": "a b zz", "value": "1 10 2.5 abc hello 007",
    "pattern": "* a* w_* w_*->f hw_*->f hw_*->g [ab]* # nosort none*", "group": "g g g2 nog", "groupname": "g g2 nog",
    "consumer": "c c d", "consumername": "c d", "start": "0 1 -2 - + (1 1 2-1 (1-1 [a (a -inf 3-1",
    "end": "-1 2 + 3-1 (5-5 5 10", "stop": "-1 2 3 (3 +inf + [c (c", "min": "-inf (1 1 2 - [a (a 0",
    "max": "+inf (3 3 + [c (c 2", "id": "1-1 2-1 3-1 9-9 0 7-* 10-1 5-5 3", "last-id": "9-9 5-5 1-1 10",
    "max_deleted_entry_id": "1-1 3-1 10-10", "threshold": "0 1 2 3-1 2-1 100", "min-idle-time": "0 0 100000000",
    "unit": "m km ft mi", "longitude": "13.5 15 0 -180 180 190", "latitude": "38 37 0 85.05112878 86",
    "radius": "200 1000 0 100000 -1", "width": "400 2000 0 -1", "height": "400 2000 0",
    "encoding": "u8 i8 u4 i64 u63 u64 i5 i1", "offset": "0 1 7 8 #0 #1 100 3 -1", "operation": "AND OR XOR NOT",
    "type": "string list hash zset set stream foo", "score": "1 2.5 -inf inf 3 0 1e3", "increment": "1 -1 2.5 10 3",
    "weight": "1 2 0.5 -1 inf", "timeout": "0.01 0.001 -1 x", "seconds": "100000 200000 0 -1 99999999999999999",
    "milliseconds": "100000000 0 -1", "unix-time-seconds": "4000000000 1 0 -1", "frequency": "0 5 255 256 -1",
    "unix-time-milliseconds": "4000000000001 1 0", "ttl": "0 100000000 -1 4000000000000", "ms": "1700000000000 0",
    "destination-db": "0 1 2 99", "db": "0 1 99", "index": "0 1 -1 5 100", "cursor": "0", "message": "hello",
    "library-name": "lib nolib", "function": "f g nof", "library-name-pattern": "lib* x", "bit": "0 1 2",
    "subcommand": "GETREG ENCODING DECODE TODENSE FOO", "index1": "0 1 99", "index2": "1 0 x", "rank": "1 -1 2 0 -2",
    "entries_added": "0 5 100 -1", "entries_read": "0 2 -1 -2 x", "arg": "1 x", "sha1": f"{'0' * 40} xyz",
    "bitmap start": _NUMBERS, "bitmap end": _NUMBERS, "stream start": "- + 0 1 2-1 (1-1 (5-5 3",
    "stream end": "- + 0 2-1 (1-1 (5-5 5-5 9", "setrange offset": "0 1 5 20 -1", "setbit value": "0 1 1 2",
    "bitfield value": _NUMBERS, "bitfield increment": _NUMBERS, "xread milliseconds": "1 5 -1 x",
    "xreadgroup milliseconds": "1 5 -1 x", "xread id": "0 1-1 $ 3-1 9", "xreadgroup id": "0 > > > 1-1 3-1",
    "scan cursor": "0 0 x", "incrby increment": "1 10 -5 0 9223372036854775807", "decrby decrement": "1 -5 0",
}  # fmt: skip
_SCRIPTS = [
    b"return 1", b"return redis.call('get', KEYS[1])", b"return {KEYS, ARGV}", b"return {map={a=1}}", b"error('boom')",
    b"return redis.pcall('lpush', KEYS[1], 1)", b"return redis.call('set', KEYS[1], ARGV[1])", b"return {set={a=true}}",
    b"return redis.error_reply('x y')", b"return {ok='fine'}", b"return {err='bad thing'}", b"return {double=3.5}",
    b"return redis.call('nosuch')", b"redis.setresp(3) return redis.call('hgetall', 'h1')", b"return {1, 2.7, nil, 3}",
    b"redis.setresp(3) return redis.call('zscore', 'z', 'a')", b"return {big_number='123'}", b"syntax error here",
    b"return {verbatim_string={format='txt', string='hi'}}", b"#!lua flags=bad\nreturn 1",
    b"#!lua flags=no-writes\nreturn redis.call('set', KEYS[1], 1)",
]  # fmt: skip
_ODD = [
    b"", b"-", b"x", b"9223372036854775808", b"-9223372036854775808", b"9223372036854775807", b"1e400", b"nan", b"(",
    b"\x00\xff\r\n", b"$", b"COUNT", b" 1", b"+1", b"01", b"-0", b"1.5", b"0x10", b"WITHSCORES", b"a" * 70,
]  # fmt: skip
_COUNT_OF_KEYS = b"\x00how many keys follow"


class Calls:
    """Calls of the command `name` (``xgroup create``). `dumps` are payloads for it, if it takes any."""

    def __init__(self, name: str, seed: int, dumps: list[bytes] | None = None) -> None:
        self._name = name.upper().encode().split()
        self._command = name
        self._arguments = FACTS[name].get("arguments", [])
        self._group = FACTS[name]["group"]
        self._random = random.Random(zlib.crc32(name.encode()) + seed)
        self._dumps = [*(dumps or ()), b"no payload"]

    def some(self, count: int) -> Iterator[list[bytes]]:
        """So many calls."""
        for _ in range(count):
            yield self._call()

    def _call(self) -> list[bytes]:
        chance = self._random
        # As often as not, all options; or none.
        left_out = chance.choice((0.55, 0.9, 0.2, 0.5))
        argv = [*self._name, *self._sequence(self._arguments, left_out)]
        if _COUNT_OF_KEYS in argv:
            at = argv.index(_COUNT_OF_KEYS)
            follow = 0
            while at + 1 + follow < len(argv) and argv[at + 1 + follow].decode("latin-1") in _KEYS:
                follow += 1
            argv[at] = b"%d" % follow if chance.random() < 0.9 else chance.choice(_NUMBERS.split()).encode()
        if b"STREAMS" in argv and chance.random() < 0.8:
            count = chance.choice((1, 1, 2))
            del argv[argv.index(b"STREAMS") + 1 :]
            argv += [self._key() for _ in range(count)] + [self._word("id") for _ in range(count)]
        if chance.random() < 0.12:
            self._spoil(argv)
        if chance.random() < 0.1:
            argv = [arg.lower() if arg.isalpha() and len(arg) > 2 else arg for arg in argv]
        return argv

    def _sequence(self, arguments: list[dict[str, Any]], left_out: float) -> list[bytes]:
        return [arg for argument in arguments for arg in self._argument(argument, left_out)]

    def _argument(self, argument: dict[str, Any], left_out: float) -> list[bytes]:
        flags, chance = argument.get("flags", []), self._random
        if "optional" in flags and chance.random() < left_out:
            return []
        token = argument["token"].encode() if "token" in argument else None
        found: list[bytes] = []
        for time in range(chance.choice((1, 1, 2, 3)) if "multiple" in flags else 1):
            if token is not None and (time == 0 or "multiple_token" in flags or argument["type"] == "pure-token"):
                found.append(token)
            if argument["type"] == "oneof":
                found += self._argument(chance.choice(argument["arguments"]), left_out)
            elif argument["type"] == "block":
                found += self._sequence(argument["arguments"], left_out)
            elif argument["type"] != "pure-token":
                found.append(self._value(argument["name"], argument["type"]))
        return found

    def _value(self, name: str, kind: str) -> bytes:
        chance = self._random
        if chance.random() < 0.03:
            return chance.choice(_ODD)
        if kind == "key":
            return self._key()
        if name == "numkeys":
            return _COUNT_OF_KEYS
        if name == "script":
            return chance.choice(_SCRIPTS)
        if name == "function-code":
            return LIBRARY
        if name == "serialized-value":
            return chance.choice(self._dumps)
        return self._word(name, {"integer": _NUMBERS, "double": "1 2.5 -1 inf 0"}.get(kind, "a b 1"), kind)

    def _key(self) -> bytes:
        fitting = "l2 l t t2 z h none" if self._command.startswith("sort") else _FITTING.get(self._group)
        keys = fitting.split() if fitting and self._random.random() < 0.85 else _KEYS
        return self._random.choice(keys).encode()

    def _word(self, name: str, otherwise: str = _NUMBERS, kind: str = "string") -> bytes:
        known = _WORDS.get(f"{self._command} {name}") or _WORDS.get(f"{self._group} {name}")
        if known is None and kind == "integer" and name in ("start", "end", "stop", "min", "max", "value"):
            known = _NUMBERS
        return self._random.choice((known or _WORDS.get(name, otherwise)).split()).encode()

    def _spoil(self, argv: list[bytes]) -> None:
        chance, first = self._random, len(self._name)
        how = chance.random()
        if how < 0.3 or len(argv) == first:
            argv.append(chance.choice(_ODD))
            return
        place = chance.randrange(first, len(argv))
        if how < 0.55:
            del argv[place]
        elif how < 0.8:
            argv[place] = chance.choice(_ODD)
        else:
            argv.insert(place, chance.choice(argv[first:]))


def left_to_chance(argv: list[bytes]) -> bool:
    """Whether two servers may differ in what they answer and do, though not in the kind of answer."""
    name, words = argv[0].upper(), [arg.upper() for arg in argv]
    if name in (b"SPOP", b"SRANDMEMBER", b"HRANDFIELD", b"ZRANDMEMBER", b"SCAN", b"DUMP"):
        return True
    if name == b"SSCAN":
        return b"t2" in argv[1:2]  # a hash table
    if name in (b"SORT", b"SORT_RO"):
        # Of a set that is not sorted, or in which two weigh the same, the order is that of a hash table.
        return argv[1:2] not in ([b"l"], [b"l2"]) or b"BY" in words
    return (name == b"XADD" and b"*" in argv) or (name == b"XREAD" and b"+" in argv)  # a meaning since 7.4


def not_compared(argv: list[bytes]) -> bool:
    """Whether it may wait for ever, wants much memory, or is a call in which we differ from the server on purpose."""
    name, words = argv[0].upper(), [arg.upper() for arg in argv]
    if name == b"BITFIELD" and b"FAIL" in words:
        return True  # changes data there, unlogged
    if name in (b"SETRANGE", b"SETBIT", b"BITFIELD"):
        return any(arg.lstrip(b"#").isdigit() and len(arg) > 6 for arg in argv)
    if b"BLOCK" in words[:-1]:
        return argv[words.index(b"BLOCK") + 1] not in (b"1", b"5", b"-1", b"x")
    zero = (b"0", b"-0")
    return name.startswith((b"BL", b"BR", b"BZ")) and (argv[-1] in zero or argv[1:2] in ([b"0"], [b"-0"]))
