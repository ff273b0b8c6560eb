"""What Tab offers."""

from __future__ import annotations

from typing import Any

import pytest
from IPython.core import completer

import aofnb
from aofnb.magics.cells import LocalCells
from aofnb.magics.complete import _aof_candidates, candidates, redis_text
from aofnb.magics.parse import AOF_WORDS


@pytest.fixture
def cells():
    with aofnb.open(None) as store:
        yield LocalCells(store)


def offered(text: str, cells: Any = None, **namespace: object) -> list[str]:
    return [word for word, _ in candidates(text, lambda name: cells, namespace, stores=lambda: ["log", "my store"])[1]]


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


def test_option_words_of_commands_with_an_order_of_their_own():
    assert offered("XADD s M") == ["MAXLEN", "MINID"]
    assert offered("XREAD B") == ["BLOCK"]
    assert offered("XREAD BLOCK ") == []
    assert offered("GEOSEARCH g FROMMEMBER m BY") == ["BYRADIUS", "BYBOX"]
    assert offered("GEOSEARCH g FROMMEMBER m BYRADIUS 1 km BY") == []
    assert offered("BITFIELD b GET u8 0 ") == ["GET", "OVERFLOW", "WRAP", "SAT", "FAIL", "SET", "INCRBY"]
    # A value comes first.
    assert offered("SET k ") == []


def test_options_of_the_magic():
    assert offered("--kee") == ["--keep-going"]
    assert offered("--open data --appendfs") == ["--appendfsync"]
    # Settings are of a store that is opened.
    assert offered("--appendfs") == []
    assert offered("-k --db 3 LRAN") == ["LRANGE"]
    # Below the first line there are no options.
    assert offered("\n--kee") == []


def test_values_of_options(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("mydata", "my other", "elsewhere"):
        (tmp_path / name).mkdir()
    (tmp_path / "mine.aof").touch()
    assert offered("--store ") == ["log", '"my store"']
    assert offered('--store "my') == ['"my store"']
    assert offered("--store=lo") == ["log"]
    assert offered("--open my") == ['"my other/"', "mydata/"]
    assert offered("--open nowhere/") == []
    assert offered("--open x --appendfsync a") == ["always"]
    assert offered("--open x --appendonly ") == ["yes", "no"]
    assert offered("--connect redis://") == ["redis://127.0.0.1:6379/0"]
    assert offered("--out ") == offered("--db ") == []


def test_what_help_is_there_on():
    assert offered("HELP GETD") == ["GETDEL"]
    assert "strings" in offered("HELP str")
    assert offered("HELP CONFIG RESE") == ["RESETSTAT"]
    assert offered("HEL") == ["HELLO", "HELP"]


def aof_offered(text: str) -> list[str]:
    return [word for word, _ in _aof_candidates(text, lambda: ["log"])[1]]


def test_words_of_aof(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.aof").touch()
    assert aof_offered("") == list(AOF_WORDS)
    assert aof_offered("--store l") == ["log"]
    assert aof_offered("--store log che") == ["check"]
    assert aof_offered("--path o") == ["old.aof"]
    assert aof_offered("config appendfsync ") == ["everysec", "always", "no"]
    assert aof_offered("at 57 HGETA") == ["HGETALL"]
    assert aof_offered("tail ") == []


def test_keys_where_a_key_belongs(cells):
    cells.session.run([["MSET", "user:1", "a", "user:2", "b", "two words", "c"], ["SELECT", "1"]])
    assert offered("GET user", cells) == []
    cells.session.execute("SELECT", 0)
    assert offered("GET user", cells) == ["user:1", "user:2"]
    assert offered("MGET user:1 us", cells) == ["user:1", "user:2"]
    assert offered("SET user:1 us", cells) == []
    assert offered("GET tw", cells) == ['"two words"']
    assert offered('GET "tw', cells) == ['"two words"']
    assert offered("GET 'tw", cells) == ["'two words'"]


def test_keys_of_the_store_that_the_options_name(cells):
    asked = []

    def cells_of(name):
        asked.append(name)
        return cells

    cells.session.execute("SET", "k", "v")
    for text in ("--store b GET ", "--store=b GET ", "--store b\nGET "):
        assert candidates(text, cells_of, {})[1] == [("k", "key")]
    assert asked == ["b", "b", "b"]


def test_a_key_that_cannot_be_typed_is_escaped(cells):
    cells.session.execute("SET", b"k\xff", "v")
    cells.session.execute("SET", "ké", "v")
    assert offered("GET k", cells) == ["ké", '"k\\xff"']


def test_keys_are_looked_for_only_as_long_as_allowed(cells):
    cells.session.run([["SET", f"key:{i}", "v"] for i in range(5000)])
    ticks = iter(range(100))
    words = candidates("GET key:", lambda name: cells, {}, budget_s=2, clock=lambda: next(ticks))[1]
    assert 0 < len(words) <= 500
    assert candidates("GET zzz", lambda name: cells, {}, budget_s=2, clock=lambda: next(ticks))[1] == []


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
    assert offers("%%redis --kee") == ["%%redis --keep-going"]
    assert offers("%aof sta") == ["%aof status"]
    assert offers("%aof config appendf") == ["%aof config appendfsync", "%aof config appendfilename"]
    # No Python names where nothing of ours fits.
    assert offers("%%redis\nNOSUCH ") in ([], ["%%redis\nNOSUCH "])
    assert offers("%%redis\nGET pri") == ["%%redis\nGET pri"]
