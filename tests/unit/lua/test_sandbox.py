"""Nothing outside the sandbox can be reached, and nothing inside can be changed for the next script."""

import pytest
from support.require import need

import aofnb
from aofnb.lua import interpreter
from aofnb.lua.interpreter import available

need("lupa with Lua 5.1", available())


@pytest.fixture(scope="module")
def store():
    with aofnb.open(None, background=False) as store:
        yield store


HIDDEN = [
    "python",
    "os",
    "io",
    "debug",
    "package",
    "require",
    "module",
    "dofile",
    "loadfile",
    "newproxy",
    "print",
    "getfenv",
    "setfenv",
    "lupa",
    "eval",
    "__redis__err__handler",
    "sandbox",
    "aofnb",
]


@pytest.mark.parametrize("name", HIDDEN)
def test_a_name_that_opens_the_outside_is_not_there(store, name):
    with pytest.raises(aofnb.ReplyError, match=f"nonexistent global variable '{name}'"):
        store.execute("EVAL", f"return {name}", 0)
    assert store.execute("EVAL", f"return rawget(_G, '{name}') == nil", 0) == 1


ESCAPES = [
    # Precompiled code is read as text, whatever way it comes.
    "return loadstring(string.dump(function() return 1 end))",
    "local code = string.dump(function() return 1 end) local n = 0 "
    "return load(function() n = n + 1 if n <= #code then return code:sub(n, n) end end)",
    # The string metatable, the environment, and the tables behind the proxies.
    "return getmetatable('').__index == nil",
    "local f = loadstring('return python') local ok = pcall(f) return ok or nil",
    "local f = loadstring('leak = 1') local ok = pcall(f) return ok or nil",
    "local found for k, v in pairs(_G) do if type(v) == 'userdata' then found = k end end return found",
    "return rawequal(_G, getmetatable(_G).__index) or nil",
    # Errors of Python are never seen as objects.
    "local ok, e = pcall(redis.call, 'nosuch') return type(e) == 'userdata' or nil",
    "local ok, e = pcall(bit.band, 'x') return type(e) == 'userdata' or nil",
    "local t = coroutine.create(function() redis.call('nosuch') end) "
    "local ok, e = coroutine.resume(t) return type(e) == 'userdata' or nil",
    "local kind xpcall(function() redis.call('nosuch') end, function(e) kind = type(e) end) "
    "return kind == 'userdata' or nil",
    "local ok, e = xpcall(redis.call, function(e) return e end) return type(e) == 'userdata' or nil",
    "local ok, e = pcall(cjson.decode, '[') return type(e) == 'userdata' or nil",
    "local ok, e = pcall(struct.pack, 'i') return type(e) == 'userdata' or nil",
    "return redis.call.__class__",
]


@pytest.mark.parametrize("script", ESCAPES)
def test_an_attempt_to_get_out_gets_nothing(store, script):
    try:
        assert store.execute("EVAL", script, 0) is None
    except aofnb.ReplyError as problem:
        assert "attempt to index" in str(problem)


CHANGES = [
    "leak = 1", "_G.leak = 1", "rawset(_G, 'leak', 1)", "redis.leak = 1", "string.leak = 1", "table.leak = 1",
    "math.leak = 1", "cjson.leak = 1", "bit.leak = 1", "struct.leak = 1", "cmsgpack.leak = 1", "coroutine.leak = 1",
    "redis.call = nil", "rawset(redis, 'call', 1)", "setmetatable(_G, {})", "setmetatable(string, {})",
    "getmetatable(_G).__index = nil", "getmetatable('').__index = nil", "rawset(getmetatable(''), '__index', 1)",
    "table.insert(redis, 1)", "table.insert(_G, 1)", "table.remove(redis)", "table.sort(redis)", "table.setn(redis, 1)",
    "setmetatable(getmetatable(''), {})", "rawset(getmetatable(_G), '__index', 1)", "KEYS = 1", "ARGV = 1",
    "local name, real = next(_G, '_VERSION') _G._VERSION = 1",
    "for k, v in pairs(redis) do redis[k] = nil end",
]  # fmt: skip


@pytest.mark.parametrize("script", CHANGES)
def test_what_all_scripts_share_cannot_be_changed(store, script):
    with pytest.raises(aofnb.ReplyError, match=r"Attempt to modify a readonly table|'setn' is obsolete"):
        store.execute("EVAL", script, 0)
    assert store.execute("EVAL", "return ('x'):upper() .. #redis .. type(redis.call)", 0) == b"X0function"


def test_walking_a_library_gives_its_names_and_nothing_to_write_to(store):
    script = "local n = 0 for k in pairs(math) do n = n + 1 end table.foreach(math, function(k) n = n - 1 end) return n"
    assert store.execute("EVAL", script, 0) == 0


@pytest.fixture(scope="module")
def small():
    """A store whose scripts have 32 MiB."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interpreter, "MAX_MEMORY_BYTES", 32 << 20)
        with aofnb.open(None, background=False) as store:
            yield store


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("local function f() return f() + 1 end return f()", "stack overflow"),
        ("local function f() return pcall(f) end return f()", None),
        ("return ('x'):rep(1e6):rep(1000)", "not enough memory"),
        ("local s = 'x' while true do s = s .. s end", "not enough memory"),
        ("local t = {} while true do t[#t + 1] = string.rep('x', 1e6) .. #t end", "not enough memory"),
        ("return loadstring('return ' .. string.rep('(', 1e5))", None),
        ("return cjson.decode(string.rep('[', 1e5))", "Found too many nested data structures"),
        ("local t = {} for i = 1, 1e4 do t = {t} end return cjson.encode(t)", "excessive nesting"),
        ("return cmsgpack.unpack(string.rep('\\145', 1e5))", None),
        ("local t = {} while true do t[#t + 1] = redis.sha1hex(#t) end", "not enough memory"),
        ("local t = {} while true do t[#t + 1] = redis.call('echo', #t .. ('x'):rep(1e5)) end", "not enough memory"),
        ("local t = {} while true do t[#t + 1] = cmsgpack.pack(#t .. ('x'):rep(1e5)) end", "not enough memory"),
        ("return redis.call('echo', ('x'):rep(9e6))", "not enough memory"),
        ("return unpack({}, 1, 1e7)", "too many results to unpack"),
        ("return struct.pack('c2147483647', 'x')", "string too short"),
        ("local t = {} for i = 1, 9000 do t[i] = 'x' end return redis.call('mget', unpack(t))", "too many results"),
    ],
)
def test_a_script_that_wants_too_much_gets_an_error_and_the_next_one_runs(small, script, words):
    try:
        small.execute("EVAL", script, 0)
    except aofnb.ReplyError as problem:
        assert words is None or words in str(problem)
    else:
        assert words is None
    assert small.execute("EVAL", "return 1", 0) == 1


def test_a_reply_that_contains_itself_is_an_error_where_the_stack_ends(store):
    reply = store.execute("EVAL", "local t = {} t[1] = t return t", 0)
    depth = 0
    while isinstance(reply, list):
        [reply] = reply
        depth += 1
    assert depth == 257
    assert str(reply) == "ERR reached lua stack limit"
