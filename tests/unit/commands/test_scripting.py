"""Libraries are kept and survive a reload; without lupa they are text, and what needs Lua says so."""

import sys

import pytest
from support.require import need

import aofnb
from aofnb.lua.interpreter import available
from aofnb.store.functions import parse_library

CODE = b"#!lua name=lib\nredis.register_function('f', function() return 1 end)"


def test_libraries_survive_a_reload(tmp_path):
    with aofnb.open(tmp_path, background=False) as store:
        assert store.execute("FUNCTION", "LOAD", CODE) == b"lib"
        store.execute("FLUSHALL")
    with aofnb.open(tmp_path, background=False) as store:
        [library] = store.execute("FUNCTION", "LIST", "WITHCODE")
        assert library[:4] == [b"library_name", b"lib", b"engine", b"LUA"]
        assert library[-1] == CODE
        store.execute("FUNCTION", "DELETE", "lib")
    with aofnb.open(tmp_path, background=False) as store:
        assert store.execute("FUNCTION", "LIST") == []


def test_a_function_belongs_to_one_library():
    with aofnb.open(None, background=False) as store:
        store.execute("FUNCTION", "LOAD", CODE)
        with pytest.raises(aofnb.ReplyError, match="Library 'lib' already exists"):
            store.execute("FUNCTION", "LOAD", CODE)
        with pytest.raises(aofnb.ReplyError, match="Function f already exists"):
            store.execute("FUNCTION", "LOAD", CODE.replace(b"lib", b"other"))
        assert store.execute("FUNCTION", "LOAD", "REPLACE", CODE) == b"lib"


@pytest.fixture
def without_lua(monkeypatch):
    # What an import of a module that is None raises is an ImportError.
    monkeypatch.setitem(sys.modules, "lupa", None)
    monkeypatch.setitem(sys.modules, "lupa.lua51", None)


@pytest.mark.parametrize(
    "command",
    ["EVAL x 0", "EVAL_RO x 0", "FCALL f 0", "FCALL_RO f 0", "SCRIPT LOAD x"],
)
def test_without_lupa_what_needs_lua_says_how_to_get_it(without_lua, command):
    with aofnb.open(None, background=False) as store:
        store.execute("FUNCTION", "LOAD", CODE)
        with pytest.raises(aofnb.ReplyError, match=r"^ERR scripting needs Lua 5\.1.*pip install 'aofnb\[lua\]'"):
            store.execute(*command.split())


def test_without_lupa_libraries_are_text(without_lua, tmp_path):
    with aofnb.open(tmp_path, background=False) as store:
        assert store.execute("FUNCTION", "LOAD", CODE) == b"lib"
        dump = store.execute("FUNCTION", "DUMP")
        store.execute("FUNCTION", "FLUSH")
        assert store.execute("FUNCTION", "RESTORE", dump) == "OK"
    with aofnb.open(tmp_path, background=False) as store:
        assert store.execute("FUNCTION", "LIST")[0][5] == [[b"name", b"f", b"description", None, b"flags", []]]


def test_a_library_of_a_snapshot_is_run_when_it_is_asked_for(tmp_path):
    need("lupa with Lua 5.1", available())
    computed = b"#!lua name=lib\nlocal name = 'f' .. 'g' redis.register_function(name, function(k) return k[1] end)"
    with aofnb.open(None, background=False) as store:
        store.engine.keyspace.functions["lib"] = parse_library(computed)
        assert store.execute("FUNCTION", "LIST")[0][5][0][1] == b"fg"
        assert store.execute("FCALL", "FG", 1, "x") == b"x"
        store.execute("FUNCTION", "FLUSH")
        with pytest.raises(aofnb.ReplyError, match=r"^ERR Function not found"):
            store.execute("FCALL", "fg", 1, "x")


def test_functions_run_after_a_reload(tmp_path):
    need("lupa with Lua 5.1", available())
    with aofnb.open(tmp_path, background=False) as store:
        store.execute("FUNCTION", "LOAD", CODE)
    with aofnb.open(tmp_path, background=False) as store:
        assert store.execute("FCALL", "f", 0) == 1


def test_the_debugger_is_refused():
    with aofnb.open(None, background=False) as store:
        assert store.execute("SCRIPT", "DEBUG", "NO") == "OK"
        for mode in ("YES", "SYNC"):
            with pytest.raises(aofnb.ReplyError, match=r"^ERR the Lua debugger is not available here"):
                store.execute("SCRIPT", "DEBUG", mode)
