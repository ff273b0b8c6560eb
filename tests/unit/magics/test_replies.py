"""Replies are the Python values they stand for, and show themselves."""

from __future__ import annotations

import pickle
import re
from typing import Any

import pytest
from IPython.lib.pretty import pretty

from aofnb.commands.client import SetReply
from aofnb.errors import AofnbError, ReplyError
from aofnb.magics.replies import Array, CellError, Pairs, Replies, Text, command_text, plain, wrap

VALUES: list[tuple[Any, str]] = [
    (b"a\xff", '"a\\xff"'),
    (3, "(integer) 3"),
    ("OK", "OK"),
    (1.5, "(double) 1.5"),
    ([b"a", [1]], '1) "a"\n2) 1) (integer) 1'),
    ([], "(empty array)"),
    ({b"k": 1}, '1# "k" => (integer) 1'),
    (SetReply([b"a"]), '1~ "a"'),
]


@pytest.mark.parametrize(("value", "shown"), VALUES)
def test_a_reply_equals_the_value_and_shows_itself(value, shown):
    reply = wrap(value)
    assert reply == value
    assert isinstance(reply, type(value))
    assert pretty(reply) == shown


@pytest.mark.parametrize(("value", "shown"), VALUES)
def test_plain_gives_python_back(value, shown):
    back = plain(wrap(value))
    assert back == value
    assert type(back) in (bytes, int, str, float, list, dict)


@pytest.mark.parametrize(("value", "shown"), VALUES)
def test_a_reply_can_be_pickled(value, shown):
    assert pickle.loads(pickle.dumps(wrap(value))) == value


def test_nil_is_none():
    assert wrap(None) is None


def test_printing_a_reply_is_pythons():
    assert repr(wrap(b"a")) == "b'a'"
    assert f"{wrap(3)}" == "3"


def test_an_error_inside_an_array_is_shown_in_its_place():
    assert pretty(wrap([1, ReplyError("ERR no")])) == "1) (integer) 1\n2) (error) ERR no"


def test_the_command_decides_how_a_reply_is_shown():
    assert isinstance(wrap(b"a:1\r\n", [b"INFO"]), Text)
    assert pretty(wrap(b"a:1\r\n", [b"INFO"])) == "a:1"
    assert isinstance(wrap([b"f", b"v"], [b"HGETALL", b"h"]), Pairs)
    # Text stays redis-cli's; only HTML and tables know of pairs.
    assert pretty(wrap([b"f", b"v"], [b"HGETALL", b"h"])) == '1) "f"\n2) "v"'


def test_members_and_scores_are_named_as_such():
    reply = wrap([b"a", b"1.5", b"b", b"inf"], b"ZRANGE z 0 -1 WITHSCORES".split())
    assert '<th style="text-align:left">member</th>' in reply._repr_html_()
    frame = reply.df()
    assert list(frame.columns) == ["member", "score"]
    assert list(frame["score"]) == [1.5, float("inf")]
    # RESP3 pairs them itself.
    assert not isinstance(wrap([[b"a", 1.5]], b"ZRANGE z 0 -1 WITHSCORES".split()), Pairs)


RANGE = [[b"1-1", [b"t", b"20", b"h", b"55"]], [b"2-1", [b"t", b"21"]]]


def test_a_range_of_a_stream_is_a_table_of_its_fields():
    reply = wrap(RANGE, [b"XRANGE", b"s", b"-", b"+"])
    assert reply == RANGE
    assert pretty(reply) == pretty(wrap(RANGE))
    words = re.sub(r"<[^>]*>", " ", reply._repr_html_()).split()
    assert words == ["id", "t", "h", "1-1", "20", "55", "2-1", "21"]
    frame = reply.df()
    assert list(frame.columns) == ["t", "h"]
    assert list(frame.index) == ["1-1", "2-1"]
    assert list(frame["t"]) == ["20", "21"]
    assert frame["h"].isna().tolist() == [False, True]
    assert wrap([], [b"XRANGE", b"s", b"-", b"+"]).df().empty


@pytest.mark.parametrize("pairs", [[b"f", b"1", b"f", b"2"], [b"%d" % n for n in range(26)]])
def test_entries_of_odd_fields_are_shown_whole(pairs):
    """One field twice, or more than a table can hold."""
    shown = wrap([[b"1-1", pairs]], [b"XREVRANGE", b"s", b"+", b"-"])._repr_html_()
    for word in pairs:
        assert f"<code>{word.decode()}</code>" in shown


def test_scalars_have_no_html():
    assert not hasattr(wrap(b"a"), "_repr_html_")
    assert Array([])._repr_html_() is None


def test_a_reply_as_a_table():
    frame = wrap([b"f", b"1", b"g\xff", None], [b"HGETALL", b"h"]).df()
    assert list(frame.columns) == ["field", "value"]
    assert list(frame["field"]) == ["f", "g\\xff"]
    assert list(wrap([b"a", b"b"]).df(encoding=None)["value"]) == [b"a", b"b"]


def two_replies() -> Replies:
    return Replies([wrap("OK"), wrap(b"<v>")], [[b"SET", b"k", b"<v>"], [b"GET", b"k"]], [2, 3])


def test_the_replies_of_a_cell_are_a_list_that_knows_its_commands():
    replies = two_replies()
    assert replies == ["OK", b"<v>"]
    assert replies.last == b"<v>"
    assert pretty(replies) == 'OK\n"<v>"'
    assert re.sub(r' style="[^"]*"', "", replies._repr_html_() or "") == (
        "<table><thead><tr><th>line</th><th>command</th><th>reply</th></tr></thead><tbody>"
        "<tr><td>2</td><td><code>SET k &lt;v&gt;</code></td><td><pre>OK</pre></td></tr>"
        "<tr><td>3</td><td><code>GET k</code></td><td><pre>&quot;&lt;v&gt;&quot;</pre></td></tr></tbody></table>"
    )


def test_the_replies_of_a_cell_as_a_table():
    frame = two_replies().df()
    assert list(frame.columns) == ["line", "command", "reply"]
    assert list(frame["reply"]) == ["OK", "<v>"]


def test_many_replies_are_shortened_saying_so():
    replies = Replies([wrap(1)] * 1000, [[b"PING"]] * 1000, range(1000))
    assert pretty(replies).endswith("(integer) 1\n... (200 of 1,000 replies shown)")
    assert replies._repr_html_().endswith("<p>200 of 1,000 shown</p>")


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        ([b"SET", b"k", b"a b"], 'SET k "a b"'),
        ([b"SET", b"k", b""], 'SET k ""'),
        ([b"SET", b"k", b"\x00"], 'SET k "\\x00"'),
        ([b"SET", "ключ".encode(), "né è".encode()], 'SET ключ "né è"'),
        ([b"SET", b"k", b"\xffa"], 'SET k "\\xffa"'),
        ([b"SET", b"k", b"x" + "é".encode() * 60], "SET k x" + "é" * 50 + "..."),
        ([b"SET", b"k", b"v" * 100], "SET k " + "v" * 51 + "..."),
    ],
)
def test_a_command_in_a_line(argv, shown):
    assert command_text(argv) == shown


def test_a_cell_error_is_a_reply_error_in_one_line():
    problem = CellError(ReplyError("ERR no"), [b"INCR", b"k"], 3, Replies())
    assert isinstance(problem, ReplyError)
    assert isinstance(problem, AofnbError)
    assert str(problem) == "ERR no"
    assert problem.code == "ERR"
    assert problem._render_traceback_() == ["line 3, INCR k: (error) ERR no"]
