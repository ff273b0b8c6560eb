"""Libraries are read without Lua: the first line, and the functions that are named literally."""

from contextlib import suppress

import pytest

from aofnb.store.functions import Function, LibraryError, parse_library


def test_names_are_found_in_both_forms_of_the_call():
    library = parse_library(
        b"#!lua name=lib\n"
        b"-- redis.register_function('comment', f)\n"
        b"--[[ redis.register_function('long', f) ]]\n"
        b"local text = [[ redis.register_function('text', f) ]]\n"
        b"redis.register_function('one', function() return '}' end)\n"
        b'redis.register_function{function_name="two", description="it\'s {odd}",\n'
        b"  callback=function() return {1, {2}} end, flags={'no-writes', 'allow-stale'}}\n"
        b"redis.register_function( { callback=f, function_name='three' } )\n"
        b"redis.register_function(computed(), f)\n"
    )
    assert (library.name, library.engine) == ("lib", "LUA")
    assert library.functions == (
        Function(b"one"),
        Function(b"two", b"it's {odd}", (b"no-writes", b"allow-stale")),
        Function(b"three"),
    )


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (b"", "Missing library metadata"),
        (b"return 1", "Missing library metadata"),
        (b"#!lua name=x", "Invalid library metadata"),
        (b"#!lua\n", "Library name was not given"),
        (b"#! lua name=x\n", "Invalid metadata value given: lua"),
        (b"#!lua name=x y\n", "Invalid metadata value given: y"),
        (b"#!lua name=x name=y\n", "Invalid metadata value, name argument was given multiple times"),
        (b"#!lua name=a-b\n", "Library names can only contain"),
        (b"#!js name=x\n", "Engine 'js' not found"),
        (b"#!lua name=x\nreturn 1", "No functions registered"),
    ],
)
def test_what_the_server_would_refuse(code, text):
    with pytest.raises(LibraryError, match="^" + text):
        parse_library(code)


def test_the_name_may_be_quoted():
    assert parse_library(b"#!LUA name=\"x\"\nredis.register_function('f', f)").name == "x"


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "piece",
    [
        b"--[[\n", b"[[", b"[=[", b"--[==[ ]=]\n", b"redis.register_function{", b"redis.register_function{'",
        b'"\\', b"'a",
        b"redis.register_function{description=' flags={ ", b"redis.register_function({function_name=",
    ],
)  # fmt: skip
def test_a_hostile_source_takes_no_more_time_than_its_size(piece):
    """Half a MiB in the twinkling of an eye, though nothing in it is closed."""
    with suppress(LibraryError):
        parse_library(b"#!lua name=a\n" + piece * (500_000 // len(piece)))
    with suppress(LibraryError):
        parse_library(b"#!lua name=a " + piece * (500_000 // len(piece)) + b"\n")


def test_what_is_never_closed_hides_the_rest():
    library = parse_library(b"#!lua name=a\nredis.register_function('f', f) --[[ redis.register_function('g', f)")
    assert library.functions == (Function(b"f"),)
