"""Replies to text and HTML. That the text is redis-cli's, `tests/conformance/test_redis_cli.py` says."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aofnb.errors import ReplyError
from aofnb.magics.show import NO_LIMITS, Limits, html, is_raw, pair_names, text

REPLIES = st.recursive(
    st.one_of(st.none(), st.integers(), st.binary(), st.text(), st.booleans(), st.builds(ReplyError, st.text())),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.binary(), inner)),
    max_leaves=30,
)
STYLES = ["margin:0", "text-align:left", "margin:0;padding:0;background:none;color:inherit;text-align:left"]


class Tags(HTMLParser):
    """Collects tags, and checks that they are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # Only our own constant styles: nothing of a reply may become an attribute.
        assert attrs in ([], *([("style", style)] for style in STYLES))
        self.open.append(tag)
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@given(REPLIES)
def test_html_is_well_formed_and_everything_in_it_is_escaped(reply):
    tags = Tags()
    tags.feed(html(reply))
    tags.close()
    assert tags.open == []
    assert tags.seen <= {"pre", "code", "table", "thead", "tbody", "tr", "th", "td", "p"}


@given(REPLIES, st.integers(1, 4), st.integers(1, 4))
def test_shortened_text_is_bounded(reply, items, most):
    assert len(text(reply, Limits(most, items, 1, 10)).split("\n")) <= len(text(reply, NO_LIMITS).split("\n"))


def test_a_script_in_a_value_is_text():
    assert "<script>" not in html([b"<script>alert(1)</script>", ReplyError("ERR <b>"), "<i>"])


def test_a_long_string_says_how_much_is_shown():
    assert text(b"a" * 3000) == '"' + "a" * 2000 + '"... (2,000 of 3,000 bytes shown)'


def test_a_long_array_says_how_much_is_shown():
    lines = text([b"x"] * 1234).split("\n")
    assert len(lines) == 51
    assert lines[0] == '   1) "x"'
    assert lines[-1] == "... (50 of 1,234 items shown)"


def test_an_array_of_arrays_is_bounded_as_a_whole():
    reply = [[[b"x"] * 50] * 50] * 50
    assert len(text(reply).split("\n")) < 5000
    assert "items shown" in html(reply) or "shown" in html(reply)


def test_limits_of_zero_show_everything():
    assert text([b"x"] * 3000, NO_LIMITS).count("\n") == 2999


def test_html_of_fields_and_values_is_a_table_of_two_columns():
    assert html([b"f", b"v", b"g", 2], pairs=("field", "value")).replace(' style="text-align:left"', "") == (
        '<table style="margin:0"><thead><tr><th>field</th><th>value</th></tr></thead><tbody>'
        "<tr><td><code>f</code></td><td><code>v</code></td></tr>"
        "<tr><td><code>g</code></td><td>2</td></tr></tbody></table>"
    )


def test_html_shows_letters_as_they_are_and_escapes_the_rest():
    assert "<code>é\\xff\\n</code>" in html(["é".encode() + b"\xff\n"])


def test_raw_text_is_shown_without_quotes():
    assert text(b"# Server\r\na:1\r\n", raw=True) == "# Server\na:1"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"HGETALL h", ("field", "value")),
        (b"config get *", ("setting", "value")),
        (b"CONFIG SET a b", None),
        (b"ZRANGE z 0 -1 WITHSCORES", ("member", "score")),
        (b"ZRANGE z 0 -1", None),
        (b"zpopmin z 3", ("member", "score")),
        (b"HRANDFIELD h 2 WITHVALUES", ("field", "value")),
        (b"GET withscores", None),
    ],
)
def test_commands_whose_reply_is_two_things_in_turn(line, expected):
    assert pair_names(line.split()) == expected


def test_only_the_top_level_of_info_is_raw():
    assert is_raw([b"info"])
    assert not is_raw([b"GET", b"INFO"])
