"""What Tab offers."""

from __future__ import annotations

from typing import Any

import pytest
from IPython.core import completer

import aofnb
from aofnb.magics.complete import candidates, redis_text


@pytest.fixture
def session():
    with aofnb.open(None) as store:
        yield store.session()


def offered(text: str, session: Any = None, **namespace: object) -> list[str]:
    return [word for word, _ in candidates(text, session, namespace)[1]]


@pytest.mark.parametrize(
    ("cell", "line", "column", "expected"),
    [
        ("%redis GET us", 0, 13, "GET us"),
        ("x = %redis GET us", 0, 17, "GET us"),
        ("if True:\n    %redis GET us", 1, 17, "GET us"),
        ("%%redis\nSET a 1\nGET us", 2, 6, "\nSET a 1\nGET us"),
        ("\n%%redis -k\nGET", 2, 3, "-k\nGET"),
        ("%%redis --d", 0, 11, "--d"),
        ("x.GET us", 0, 8, None),
        ("%%time\nGET us", 1, 6, None),
        ("%%redisx\nGET", 1, 3, None),
        ("", 0, 0, None),
    ],
)
def test_where_redis_text_is(cell, line, column, expected):
    assert redis_text(cell, line, column) == expected


def test_commands_in_the_case_that_was_typed():
    assert offered("LRAN") == ["LRANGE"]
    assert offered("\nlran") == ["lrange"]
    assert {"GET", "SET"} <= set(offered(""))


def test_subcommands():
    assert offered("CONFIG RESETS") == ["CONFIG RESETSTAT"[7:]]
    assert "get" in offered("config g")


def test_option_words_that_still_fit():
    options = offered("SET k v ")
    assert {"NX", "XX", "EX", "KEEPTTL"} <= set(options)
    after = offered("SET k v NX ")
    assert "XX" not in after
    assert "EX" in after
    assert offered("SET k v keept") == ["keepttl"]


def test_options_of_the_magic():
    assert offered("--kee") == ["--keep-going"]
    assert offered("--open data --appendfs") == ["--appendfsync"]
    assert offered("-k --db 3 LRAN") == ["LRANGE"]
    assert offered("--store ") == []
    # Below the first line there are no options.
    assert offered("\n--kee") == []


def test_keys_where_a_key_belongs(session):
    session.run([["MSET", "user:1", "a", "user:2", "b", "two words", "c"], ["SELECT", "1"]])
    assert offered("GET user", session) == []
    session.execute("SELECT", 0)
    assert offered("GET user", session) == ["user:1", "user:2"]
    assert offered("MGET user:1 us", session) == ["user:1", "user:2"]
    assert offered("SET user:1 us", session) == []
    assert offered("GET tw", session) == ['"two words"']
    assert offered('GET "tw', session) == ['"two words"']
    assert offered("GET 'tw", session) == ["'two words'"]


def test_a_key_that_cannot_be_typed_is_escaped(session):
    session.execute("SET", b"k\xff", "v")
    session.execute("SET", "ké", "v")
    assert offered("GET k", session) == ["ké", '"k\\xff"']


def test_keys_are_looked_for_only_as_long_as_allowed(session):
    session.run([["SET", f"key:{i}", "v"] for i in range(5000)])
    ticks = iter(range(100))
    words = candidates("GET key:", session, {}, budget_s=2, clock=lambda: next(ticks))[1]
    assert 0 < len(words) <= 500
    assert candidates("GET zzz", session, {}, budget_s=2, clock=lambda: next(ticks))[1] == []


def test_python_names_inside_braces():
    assert offered("SET k {{na", name=1, nanny=2, other=3) == ["name", "nanny"]
    assert offered("SET k {{len(na", name=1) == ["name"]
    assert offered("SET k {{name.", name=1) == []


def test_an_unknown_command_offers_nothing():
    assert offered("NOSUCH k") == []


def test_ipython_offers_them(nb):
    nb.run("%%redis -q\nMSET user:1 a user:2 b 'two words' c")

    def offers(cell: str) -> list[str]:
        with completer.provisionalcompleter():
            found = nb.shell.Completer.completions(cell, len(cell))
            return [cell[: c.start] + c.text + cell[c.end :] for c in found]

    assert offers("%redis LRAN") == ["%redis LRANGE"]
    assert offers("x = %redis GET user:") == ["x = %redis GET user:1", "x = %redis GET user:2"]
    assert offers('%redis GET "tw') == ['%redis GET "two words"']
    assert offers("%redis SET k {{sorte") == ["%redis SET k {{sorted"]
    if not hasattr(completer, "context_matcher"):
        pytest.skip("IPython before 8.6 shows a matcher only the line; cells cannot be completed")
    assert offers("%%redis\nGET us") == ["%%redis\nGET user:1", "%%redis\nGET user:2"]
    assert offers("%aof sta") == ["%aof status"]
    assert offers("%aof config appendf") == ["%aof config appendfsync", "%aof config appendfilename"]
    # No Python names where nothing of ours fits.
    assert offers("%%redis\nNOSUCH ") in ([], ["%%redis\nNOSUCH "])
    assert offers("%%redis\nGET pri") == ["%%redis\nGET pri"]
