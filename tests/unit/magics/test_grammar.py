"""The grammar of commands, read for completion. That it is the server's, `tests/conformance/test_grammar.py` says."""

from __future__ import annotations

import re

import pytest

from aofnb.commands.registry import all_commands
from aofnb.magics.grammar import GRAMMARS, option_words, signature


def words(text: str) -> list[str]:
    name, *given = text.split()
    return option_words(name, [word.encode() for word in given])


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("SET k v", ["NX", "XX", "GET", "EX", "PX", "EXAT", "PXAT", "KEEPTTL"]),
        ("SET k v ex 10 xx", ["GET"]),
        ("SET k v EX", []),
        ("SET k", []),
        # A value that looks like a word is none.
        ("GETEX k EX persist", []),
        ("SORT l GET x", ["BY", "LIMIT", "GET", "ASC", "DESC", "ALPHA", "STORE"]),
        ("XADD s MAXLEN ~ 5", ["NOMKSTREAM", "LIMIT"]),
        ("GET k", []),
        ("NOSUCH k", []),
    ],
)
def test_words_that_may_follow(typed, expected):
    assert words(typed) == expected


def test_every_declared_option_is_in_the_grammar():
    for command in all_commands():
        for option in command.options.options if command.options is not None else ():
            assert option.name in re.findall(r"[^][<>| ]+", GRAMMARS[command.name]), command.name


def test_brackets_are_balanced():
    for name, grammar in GRAMMARS.items():
        assert grammar.count("[") == grammar.count("]"), name
        assert grammar.count("<") == grammar.count(">"), name
        assert option_words(name, [b"x"] * 20) is not None
        assert signature(name) == f"{name} {grammar}"
