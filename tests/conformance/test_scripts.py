"""Scripts and functions give what they give on redis-server: replies under RESP2 and RESP3, and error texts.

Known differences are not in the tables: of a tail call of ``table.insert`` and its like no line is named; a negative
zero given to redis.call arrives as 0; replies nest 256 levels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.require import need
from support.script_tables import LIBRARIES, PLAIN, SCRIPTS
from support.server import Connection, RedisServer, available, redis_server
from support.transcripts import OK, Error, approx, check_transcript

import aofnb
from aofnb.commands.client import SetReply
from aofnb.lua.interpreter import available as lua_available

need("lupa with Lua 5.1", lua_available())


class Resp3(Connection):
    """Gives every reply with its type, so that a set and a list differ."""

    def _reply(self) -> Any:
        line = self._file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"_":
            return None
        if kind == b"#":
            return rest == b"t"
        if kind == b",":
            return float(rest)
        if kind == b"=":
            return self._file.read(int(rest) + 2)[4:-2]
        if kind == b"(":
            return rest
        if kind == b"%":
            return ("map", [(self._reply(), self._reply()) for _ in range(int(rest))])
        if kind == b"~":
            return ("set", [self._reply() for _ in range(int(rest))])
        if kind == b"*":
            return [self._reply() for _ in range(int(rest))]
        if kind == b"$":
            return self._file.read(int(rest) + 2)[:-2]
        if kind == b":":
            return int(rest)
        return rest.decode() if kind == b"+" else aofnb.ReplyError(rest.decode(errors="surrogateescape"))


def plain(reply: Any) -> Any:
    if isinstance(reply, SetReply):
        return ("set", [plain(item) for item in reply])
    if isinstance(reply, dict):
        return ("map", [(plain(key), plain(value)) for key, value in reply.items()])
    if isinstance(reply, list):
        return [plain(item) for item in reply]
    if isinstance(reply, tuple):
        return tuple(plain(item) for item in reply)
    if isinstance(reply, float):
        return ("double", reply)
    if isinstance(reply, Exception):
        return ("error", str(reply))
    return bytes(reply) if isinstance(reply, bytes) else reply


class Ours:
    def __init__(self) -> None:
        self.store = aofnb.open(None, background=False)

    def execute(self, *argv: Any) -> Any:
        try:
            return self.store.execute(*argv)
        except aofnb.ReplyError as problem:
            return problem


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    need("redis-server", available())
    with redis_server(tmp_path_factory.mktemp("redis"), appendonly="no") as server:
        yield server


@pytest.fixture(scope="module")
def ours() -> Iterator[Ours]:
    side = Ours()
    yield side
    side.store.close()


def differences(theirs: Any, ours: Any, calls: list[tuple[Any, ...]]) -> list[str]:
    found = []
    for side in (theirs, ours):
        for setup in (["FLUSHALL"], ["FUNCTION", "FLUSH"], ["SCRIPT", "FLUSH"]):
            side.execute(*setup)
    for call in calls:
        expected, given = repr(plain(theirs.execute(*call))), repr(plain(ours.execute(*call)))
        if expected != given:
            found.append(f"{call!r}\n  redis-server {expected}\n  aofnb        {given}")
    return found


def test_scripts_of_all_kinds(server, ours):
    calls = [("EVAL", script, *rest) for script in PLAIN for rest in ((0,), (1, "k", "v"))]
    assert not differences(server, ours, calls)


def test_read_only_scripts(server, ours):
    assert not differences(server, ours, [("EVAL_RO", script, 0) for script in PLAIN])


def test_libraries_of_scripts(server, ours):
    assert not differences(server, ours, [("EVAL", script, 0) for script in SCRIPTS])


def test_scripts_under_resp3(server):
    theirs, ours = Resp3(server.port), Ours()
    try:
        theirs.execute("HELLO", 3)
        ours.execute("HELLO", 3)
        assert not differences(theirs, ours, [("EVAL", script, 0) for script in PLAIN])
    finally:
        theirs.close()
        ours.store.close()


def test_function_libraries(server, ours):
    calls: list[tuple[Any, ...]] = []
    for code in LIBRARIES:
        calls += [
            ("FUNCTION", "LOAD", "REPLACE", code),
            ("FUNCTION", "LIST", "LIBRARYNAME", "lib"),
            ("FUNCTION", "DELETE", "lib"),
        ]
    assert not differences(server, ours, calls)


# ruff: noqa: E501
CODE = """#!lua name=lib
redis.register_function('f', function(k, a) return {k, a, #k, #a} end)
redis.register_function{function_name='ro', flags={'no-writes'}, callback=function() return redis.call('set', 'x', 1) end}
redis.register_function{function_name='get', flags={'no-writes'}, callback=function(k) return redis.call('get', k[1]) end}
redis.register_function('w', function(k, a) redis.call('set', k[1], a[1]) return redis.call('incr', 'cnt') end)
redis.register_function('e', function() error('x') end)
redis.register_function('glob', function() return x end)
redis.register_function('setg', function() x = 1 end)
redis.register_function('keys', function() return KEYS end)
redis.register_function('reg', function() redis.register_function('z', function() end) end)
redis.register_function('e2', function()

 return redis.call('nosuch') end)
"""


def test_functions_dumps_and_the_rest(server, ours):
    names = ("f", "ro", "get", "w", "e", "glob", "setg", "keys", "reg", "e2", "F", "nosuch")
    calls: list[tuple[Any, ...]] = [("FUNCTION", "LOAD", CODE), ("FUNCTION", "LIST", "WITHCODE"), ("FUNCTION", "STATS")]
    # Members of a library come in the order of a hash table there.
    calls = [call for call in calls if "LIST" not in call]
    calls += [(call, name, 1, "k", "v") for name in names for call in ("FCALL", "FCALL_RO")]
    calls += [("FCALL", "f", count, "k") for count in ("x", "-1", "5", " 1", "1", "0")]
    calls += [("FUNCTION", "DUMP")]
    assert not differences(server, ours, calls)
    dump = server.execute("FUNCTION", "DUMP")
    policies: list[tuple[Any, ...]] = [(), ("REPLACE",), ("APPEND",), ("FLUSH",), ("x",), ("FLUSH", "x")]
    restores = [("FUNCTION", "RESTORE", dump, *policy) for policy in policies]
    damaged = [("FUNCTION", "RESTORE", bad) for bad in (b"x", bytes(20), dump[:-1] + b"x")]
    assert not differences(server, ours, [("FUNCTION", "LOAD", CODE), *restores, *damaged, ("FUNCTION", "DUMP")])


def test_what_surrounds_scripts(server, ours):
    sha = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"
    lines = f"""EVAL|return 1|x
EVAL|return 1|-1
EVAL|return 1|2|a
EVAL|return 1
EVALSHA|x|0
EVALSHA|x|y
EVALSHA|{sha}|0
SCRIPT|EXISTS|{sha}|x
SCRIPT|LOAD|return 1
SCRIPT|LOAD|x=
EVALSHA|{sha.upper()}|0
EVALSHA_RO|{sha}|0
SCRIPT|EXISTS|{sha}|x|{sha.upper()}
SCRIPT|FLUSH|x
SCRIPT|FLUSH|ASYNC|x
SCRIPT|FLUSH|SYNC
SCRIPT|EXISTS|{sha}
SCRIPT|KILL
FUNCTION|KILL
FUNCTION|STATS
SCRIPT|DEBUG|NO
SCRIPT|DEBUG|x
SCRIPT|HELP
FUNCTION|HELP
FUNCTION|DELETE|nosuch
FUNCTION|FLUSH|x
FUNCTION|LIST|x
FUNCTION|LIST|LIBRARYNAME
FUNCTION|DUMP""".splitlines()
    assert not differences(server, ours, [tuple(line.split("|")) for line in lines])


# Written as Lua, since both sides are to read the same text.
NUMBERS = st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False))
VALUES = st.recursive(
    st.one_of(st.booleans(), NUMBERS, st.binary(max_size=40)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.binary(max_size=4), inner, max_size=1)),
    max_leaves=12,
)


def as_lua(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, bytes):
        return "'" + "".join(f"\\{byte:03d}" for byte in value) + "'"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        return "{" + ",".join(map(as_lua, value)) + "}"
    return "{" + ",".join(f"[{as_lua(key)}]={as_lua(item)}" for key, item in value.items()) + "}"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=VALUES)
def test_codecs_agree_on_any_value(server, ours, value):
    for script in (
        f"return cjson.encode({as_lua(value)})",
        f"return cmsgpack.pack({as_lua(value)})",
        f"return cjson.encode((cmsgpack.unpack(cmsgpack.pack({as_lua(value)}))))",
        f"return cjson.encode({{v=cjson.decode(cjson.encode({{{as_lua(value)}}}))}})",
    ):
        assert plain(ours.execute("EVAL", script, 0)) == plain(server.execute("EVAL", script, 0)), script


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.one_of(
        st.binary(max_size=30), st.text('[]{}",:0123456789.eE+-truefalsn\\u \n', max_size=30).map(str.encode)
    )
)
def test_codecs_agree_on_any_bytes(server, ours, text):
    for function in ("cjson.decode", "cmsgpack.unpack"):
        script = (
            f"local ok, v = pcall({function}, ARGV[1]) if ok then return {{type(v), cmsgpack.pack(v)}} end return v"
        )
        assert plain(ours.execute("EVAL", script, 0, text)) == plain(server.execute("EVAL", script, 0, text))


LIBRARY = (
    "#!lua name=lib\n"
    "redis.register_function('put', function(keys, args) return redis.call('set', keys[1], args[1]) end)\n"
    "redis.register_function{function_name='look', flags={'no-writes'},"
    " callback=function(keys) return redis.call('strlen', keys[1]) end}"
)
SHA = b"e0e1f9fabfc9d4800c877a703b823ac0578ff8db"
TRANSCRIPT: list[tuple[Any, Any]] = [
    (("FUNCTION", "LOAD", LIBRARY), b"lib"),
    (("FUNCTION", "LOAD", LIBRARY), Error("Library 'lib' already exists")),
    (("FUNCTION", "LOAD", "REPLACE", LIBRARY), b"lib"),
    (("FUNCTION", "LOAD", "#!lua name=other\nredis.register_function('put', function() end)"), Error("already exists")),
    (("FUNCTION", "LOAD", "return 1"), Error("Missing library metadata")),
    ("FCALL put 1 k value", OK),
    ("FCALL look 1 k", 5),
    ("FCALL_RO look 1 k", 5),
    ("FCALL_RO put 1 k other", Error("Can not execute a script with write flag using *_ro command.")),
    ("FCALL nosuch 0", Error("Function not found")),
    ("FCALL put -1", Error("Number of keys can't be negative")),
    (("EVAL", "redis.call('set', KEYS[1], 1) return redis.call('incrby', KEYS[1], ARGV[1])", 1, "n", 4), 5),
    (("EVAL", "redis.call('rpush', KEYS[1], 'a') redis.call('incr', KEYS[1])", 1, "l"), Error("WRONGTYPE")),
    (("EVAL", "redis.call('sadd', 's', 1, 2, 3) redis.call('spop', 's', 3) return redis.call('exists', 's')", 0), 0),
    (("EVAL", "return redis.call('set', 'e', 'v', 'EX', 100000)", 0), OK),
    (("EVAL", "redis.call('select', 1) return redis.call('set', 'far', 'away')", 0), OK),
    (
        ("EVAL_RO", "return redis.call('set', 'k', 'x')", 0),
        Error("Write commands are not allowed from read-only scripts"),
    ),
    (("EVALSHA", SHA, 0), Error("NOSCRIPT No matching script")),
    ("SCRIPT LOAD 'return 1'", SHA),
    (("EVALSHA", SHA, 0), 1),
    (("EVALSHA_RO", SHA, 0), 1),
    (("SCRIPT", "EXISTS", SHA, "0" * 40), [1, 0]),
    ("SCRIPT FLUSH", OK),
    (("EVALSHA_RO", SHA, 0), Error("NOSCRIPT")),
    (("FUNCTION", "LOAD", "#!lua name=gone\nredis.register_function('away', function() end)"), b"gone"),
    ("FUNCTION DELETE gone", OK),
    ("FUNCTION DELETE gone", Error("Library not found")),
]
READS: list[tuple[Any, Any]] = [
    ("FCALL_RO look 1 k", 5),
    (("EVAL_RO", "return {KEYS[1], redis.call('get', KEYS[1])}", 1, "k"), [b"k", b"value"]),
    ("FCALL away 0", Error("Function not found")),
    ("GET n", b"5"),
    ("LRANGE l 0 -1", [b"a"]),
    ("EXISTS s", 0),
    ("TTL e", approx(100000, 20)),
    ("SELECT 1", OK),
    ("GET far", b"away"),
]


def test_transcript_of_scripts_and_functions(tmp_path):
    need("redis-server", available())
    check_transcript(TRANSCRIPT, tmp_path, reads=READS)
