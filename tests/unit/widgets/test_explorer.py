"""The explorer of a log: positions, keys and values as they were, and what stays in a saved notebook."""

from __future__ import annotations

import gzip

import pytest

import aofnb
from aofnb.widgets import Explorer
from aofnb.widgets.timeline import timeline_of

TS = b"#TS:%d\r\n"


def record(*words):
    args = [str(word).encode() for word in words]
    return b"*%d\r\n" % len(args) + b"".join(b"$%d\r\n%s\r\n" % (len(arg), arg) for arg in args)


LOG = b"".join(
    [
        record("SELECT", 0),
        TS % 1_700_000_000,
        record("SET", "user:1", "Ada"),
        record("HSET", "cart:42", "pears", 3),
        TS % 1_700_000_010,
        record("HSET", "cart:42", "figs", 1),
        record("SET", "user:[1]", "odd name"),
        record("FLUSHALL"),
        record("SET", "after", "flood"),
    ]
)


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "shop.aof"
    path.write_bytes(LOG)
    return aofnb.scan(path)


@pytest.fixture
def explorer(log):
    made = log.explorer("cart:42")
    yield made
    made.close()


def test_begins_at_the_end(explorer):
    assert explorer.position.seq == 7
    assert "1 in database 0: after" in explorer.text()
    assert "there is no such key" in explorer.text()


def test_goes_back_through_the_writes_of_a_key_and_forward_again(explorer):
    seen = []
    for _ in range(3):
        explorer.previous()
        seen.append((explorer.position.seq, explorer._value()[1]))
    assert seen == [(5, "pears: 3\nfigs: 1"), (3, "pears: 3"), (2, "there is no such key")]
    for row in (3, 4, 6):
        assert explorer.next().position.seq == row
    explorer.next()
    assert explorer.position.seq == 6
    assert "no later write" in explorer._html.value


def test_the_key_of_the_last_command_is_looked_at_first_and_others_are_offered(log):
    with log.explorer() as explorer:
        assert explorer.key == b"after"
        assert "after (string)" in explorer.text()
        assert list(explorer._key_box.options) == ["after"]
        explorer.go(5)
        assert list(explorer._key_box.options) == ["cart:42", "user:1", "user:[1]"]
        explorer._key_box.value = "user:1"
        assert "Ada" in explorer._html.value
    with log.explorer(where=6) as explorer:
        # A FLUSHALL has no key.
        assert explorer.key is None


def test_a_key_is_no_pattern(log):
    explorer = log.explorer("user:[1]")
    assert explorer.writes() == [4, 5]
    explorer.close()


@pytest.mark.parametrize(
    ("where", "row"), [(3, 3), ("#2", 2), ("start", 0), ("2023-11-14 22:13:20", 3), ("shop.aof:0", 0)]
)
def test_goes_where_it_is_told(explorer, where, row):
    assert explorer.go(where).position.seq == row
    assert explorer._slider.value == row


def test_the_slider_moves_the_data(explorer):
    explorer._slider.value = 5
    assert "user:1" in explorer._html.value
    assert "figs" in explorer._html.value
    assert "FLUSHALL" in explorer._html.value


def test_a_place_that_is_none_is_said_not_raised(explorer):
    explorer._where.value = "yesterday, about noon"
    assert "names no position" in explorer._html.value
    with pytest.raises(ValueError, match="names no position"):
        explorer.go("yesterday, about noon")


def test_lists_the_keys_that_are_asked_for(explorer):
    explorer.go(5)
    explorer._pattern_box.value = "user:*"
    assert "cart" not in " ".join(explorer._keys()[1])
    explorer._database.value = 1
    assert explorer._keys() == (0, [])


def test_marks_what_is_special(log):
    timeline = timeline_of(log)
    assert [(mark.kind, mark.seq) for mark in timeline.marks] == [("flush", 5)]
    assert timeline.rows == sum(stretch.rows for stretch in timeline.stretches) == 7
    assert sum(stretch.nbytes for stretch in timeline.stretches) == len(LOG) - 2 * len(TS % 1_700_000_000)
    assert timeline.has_times


def test_a_cut_end_is_a_mark(tmp_path):
    path = tmp_path / "cut.aof.gz"
    path.write_bytes(gzip.compress(LOG[:-3]))
    explorer = Explorer(aofnb.scan(path))
    assert [mark.kind for mark in explorer.timeline.marks] == ["flush", "damage"]
    assert "1 damage" in explorer._html.value
    explorer.close()


def test_a_rewrite_is_a_mark(tmp_path):
    with aofnb.open(tmp_path / "data", background=False) as store:
        store.execute("SET", "a", 1)
        store.bgrewriteaof()
        store.execute("SET", "b", 2)
    explorer = aofnb.scan(tmp_path / "data").explorer()
    assert any(mark.kind == "rewrite" for mark in explorer.timeline.marks)
    explorer.close()


def test_an_empty_log_is_shown(tmp_path):
    (tmp_path / "empty.aof").write_bytes(b"")
    explorer = aofnb.scan(tmp_path / "empty.aof").explorer("k")
    explorer.next().previous()
    assert "row 0 of 0" in explorer.text()
    explorer.close()


@pytest.mark.parametrize(
    ("command", "value"),
    [
        (("RPUSH", "k", "a", "b"), "a\nb"),
        (("SADD", "k", "b", "a"), "a\nb"),
        (("ZADD", "k", 2, "b", 1, "a"), "a: 1\nb: 2"),
        (("XADD", "k", "1-1", "f", "v"), "1-1 f v"),
        (("SET", "k", "<b>\x00"), "<b>\\x00"),
    ],
)
def test_values_of_all_types(tmp_path, command, value):
    (tmp_path / "one.aof").write_bytes(record("SELECT", 0) + record(*command))
    explorer = aofnb.scan(tmp_path / "one.aof").explorer("k")
    assert explorer._value()[1] == value
    assert "<b>\x00" not in explorer._html.value
    explorer.close()


def test_what_is_saved_needs_no_style_and_no_script(explorer):
    bundle = explorer._repr_mimebundle_()
    for tag in ("<style", "<script", "<svg"):
        assert tag not in bundle["text/html"]
    assert "row 7 of 7" in bundle["text/plain"]
