"""Cells to argument vectors."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aofnb.magics.parse import MagicError, ParseError, bind, options, statements, unfinished


def argvs(text: str, namespace: dict[str, Any] | None = None, **given: Any) -> list[list[bytes]]:
    return [bind(statement, namespace or {}) for statement in statements(text, **given)]


def argv(text: str, **namespace: Any) -> list[bytes]:
    (only,) = argvs(text, namespace)
    return only


def line_options(text: str, namespace: dict[str, Any] | None = None) -> tuple[Any, list[bytes]]:
    given, rest = options(statements(text)[0], namespace or {})
    return given, bind(rest, namespace or {}) if rest else []


# --- splitting -------------------------------------------------------------------------------------------------


def test_blank_lines_and_comments_are_skipped():
    assert argvs("\n  # SET a b\nSET a #b\n\n\t#\nGET a") == [[b"SET", b"a", b"#b"], [b"GET", b"a"]]


def test_a_value_runs_over_lines_while_a_quote_is_open():
    assert argvs('EVAL "return 1\n# no comment\nend" 0\nGET k') == [
        [b"EVAL", b"return 1\n# no comment\nend", b"0"],
        [b"GET", b"k"],
    ]


def test_a_statement_knows_its_line_and_its_text():
    first, second = statements("SET a 'x\ny'\n\nGET  a  ", first_line=2)
    assert (first.line, second.line) == (2, 5)
    assert second.source == "GET  a"


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("GET k\nSET k 'open", 2, 6),
        ('SET k "a"b', 1, 9),
        ("\tSET k 'a'b", 1, 10),
        ("SET k {{x", 1, 6),
        ("SET k {{x +}}", 1, 6),
        ("MSET {{**m}}x", 1, 5),
        ("GET a\n# '\nGET 'a", 3, 4),
    ],
)
def test_an_error_names_line_and_column_with_a_caret(text, line, column):
    with pytest.raises(ParseError) as caught:
        statements(text)
    assert (caught.value.line, caught.value.column) == (line, column)
    message, shown, caret = str(caught.value).split("\n")
    assert message.startswith(f"line {line}: ")
    assert shown == text.split("\n")[line - 1]
    assert caret == "".join("\t" if c == "\t" else " " for c in shown[:column]) + "^"


def test_an_error_is_shown_in_three_lines():
    with pytest.raises(MagicError) as caught:
        statements("SET k 'open")
    assert len(caught.value._render_traceback_()) == 3


@given(st.text())
def test_any_text_is_split_or_refused(text):
    try:
        found = statements(text)
    except ParseError:
        return
    for statement in found:
        assert all(word.start < word.end <= len(text) for word in statement.words)


@given(st.lists(st.binary(), min_size=1))
def test_what_is_quoted_comes_back(args):
    quoted = " ".join('"' + "".join(f"\\x{byte:02x}" for byte in arg) + '"' for arg in args)
    assert argvs(quoted) == [args]


# --- binding ---------------------------------------------------------------------------------------------------


@given(st.one_of(st.binary(), st.text(), st.integers(), st.floats(allow_nan=False)))
def test_a_value_is_one_argument_whatever_is_in_it(value):
    spelled = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
    if isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value):
        return
    assert argv("SET k {{value}}", value=value) == [b"SET", b"k", spelled]


def test_a_value_is_never_split_again():
    assert argv("SET {{k}} {{v}}", k="a b", v="\" ' {{x}} \n#") == [b"SET", b"a b", b"\" ' {{x}} \n#"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("user:{{uid}}:name", b"user:7:name"),
        ("{{uid}}{{uid}}", b"77"),
        ("user:{{{uid}}}:cart", b"user:{7}:cart"),
        ("{{ {'a': {'b': uid}}['a']['b'] }}", b"7"),
        ("{{'}}'}}", b"}}"),
        ("{{sum([uid for _ in range(uid)])}}", b"49"),
        ("{{uid if uid else '}}'}}", b"7"),
        ("{{\n  uid\n}}", b"7"),
        ("{uid}", b"{uid}"),
        ("$uid", b"$uid"),
        ('{"a":{"b":1}}', None),
        ("'{{uid}}'", b"{{uid}}"),
        ('"{{uid}}"', b"{{uid}}"),
        ("a{{uid}}'b c'", b"a7b c"),
    ],
)
def test_only_double_braces_in_unquoted_text_are_evaluated(text, expected):
    if expected is None:
        with pytest.raises(ParseError, match="closing quote"):
            argv(f"GET {text}", uid=7)
    else:
        assert argv(f"GET {text}", uid=7) == [b"GET", expected]


def test_stars_spread():
    assert argv("RPUSH l {{*xs}} end", xs=["a b", 1, b"\xff"]) == [b"RPUSH", b"l", b"a b", b"1", b"\xff", b"end"]
    assert argv("HSET h {{**m}}", m={"f": 1, b"g": 2.5}) == [b"HSET", b"h", b"f", b"1", b"g", b"2.5"]
    assert argv("DEL {{*()}}") == [b"DEL"]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("SET k {{None}}", "None is not a Redis argument"),
        ("SET k {{True}}", "True is not a Redis argument"),
        ("SET k {{[1]}}", r"{{\*\[1\]}} gives one argument for each item"),
        ("SET k {{m}}", r"{{\*\*m}} gives fields and values"),
        ("SET k {{*'abc'}}", "not str"),
        ("SET k {{*5}}", "not int"),
        ("SET k {{**[1]}}", "not list"),
        ("SET k {{*[1, None]}}", "None is not a Redis argument"),
        ("SET k {{nowhere}}", "NameError"),
        ("SET k {{1 / 0}}", "ZeroDivisionError"),
    ],
)
def test_a_value_that_is_no_argument_is_refused_with_a_hint(text, hint):
    with pytest.raises(ParseError, match=hint):
        argv(text, m={})


def test_numpy_numbers_are_numbers():
    numpy = pytest.importorskip("numpy")
    assert argv("SET {{a}} {{b}}", a=numpy.int32(3), b=numpy.float64(1.5)) == [b"SET", b"3", b"1.5"]


def test_no_vars_takes_braces_literally():
    assert argvs("SET k {{x}}", bindings=False) == [[b"SET", b"k", b"{{x}}"]]


# --- options ---------------------------------------------------------------------------------------------------


def test_options_come_before_the_command():
    given, rest = line_options("-k --db 3 --out=r SET k -x")
    assert (given.keep_going, given.db, given.out) == (True, 3, "r")
    assert rest == [b"SET", b"k", b"-x"]


def test_open_takes_settings():
    given, rest = line_options('--open "my data" --appendfsync always --auto_aof_rewrite_percentage=50 PING')
    assert given.open == "my data"
    assert given.settings == {"appendfsync": "always", "auto-aof-rewrite-percentage": "50"}
    assert rest == [b"PING"]


def test_an_option_value_may_be_a_python_value():
    assert line_options("--open {{where}}", {"where": "a b"})[0].open == "a b"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("--nope GET k", "no option --nope"),
        ("--db", "--db needs a value"),
        ("--db x GET k", "--db needs a number"),
        ("--out 1x GET k", "not a variable name"),
        ("-o class GET k", "not a variable name"),
        ("--quiet=1 GET k", "takes no value"),
        ("--appendfsync always GET k", "needs --open"),
        ("--open a --close", "exclude each other"),
        ("--readonly GET k", "needs --open"),
        ("--df --bytes GET k", "exclude each other"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(text, hint):
    with pytest.raises(ParseError, match=hint):
        line_options(text)


# --- under the cursor ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words", "fragment", "prefix", "quote"),
    [
        ("", (), "", b"", ""),
        ("GE", (), "GE", b"GE", ""),
        ("GET ", (b"GET",), "", b"", ""),
        ("SET a b\nGET us", (b"GET",), "us", b"us", ""),
        ('GET "two w', (b"GET",), '"two w', b"two w", '"'),
        ("GET 'two w", (b"GET",), "'two w", b"two w", "'"),
        ("SET k {{na", (b"SET", b"k"), "na", b"", "{{"),
        ("# GE", (), "", b"", ""),
    ],
)
def test_the_word_under_the_cursor(text, words, fragment, prefix, quote):
    found = unfinished(text)
    assert (found.words, found.fragment, found.prefix, found.quote) == (words, fragment, prefix, quote)


@given(st.text())
def test_any_text_has_something_under_the_cursor(text):
    found = unfinished(text)
    assert text.endswith(found.fragment)
