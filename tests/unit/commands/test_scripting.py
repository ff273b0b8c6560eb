"""Libraries are kept and survive a reload; what needs Lua says so."""

import pytest

import aofnb

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


@pytest.mark.parametrize(
    "command",
    ["EVAL x 0", "EVAL_RO x 0", "EVALSHA x 0", "EVALSHA_RO x 0", "FCALL f 0", "FCALL_RO f 0", "SCRIPT LOAD x"],
)
def test_what_needs_lua_says_so(command):
    with (
        aofnb.open(None, background=False) as store,
        pytest.raises(aofnb.ReplyError, match=r"^ERR scripting needs Lua, which this version does not run yet"),
    ):
        store.execute(*command.split())
