"""Shares of commands, from pieces of a log that may begin anywhere."""

from __future__ import annotations

from collections import Counter

from aofnb.resp.encode import encode_command
from aofnb.widgets.mix import LogTail, WriteMix, command_words

LOG = b"".join(
    encode_command(argv)
    for argv in [[b"SELECT", b"0"], [b"SET", b"k", b"v\r\n*9"], [b"incr", b"n"], [b"MULTI"], [b"DEL", b"k"], [b"EXEC"]]
)


def test_values_are_not_taken_for_commands():
    assert command_words(b"#TS:1\r\n" + LOG) == Counter({"SET": 1, "INCR": 1, "DEL": 1})


def test_any_piece_is_read_without_inventing_commands():
    for begin in range(len(LOG)):
        for end in range(begin, len(LOG)):
            found = command_words(LOG[begin:end], whole=False)
            assert set(found) <= {"SET", "INCR", "DEL"}
    assert command_words(LOG[1:], whole=False) == Counter({"SET": 1, "INCR": 1, "DEL": 1})


def test_a_file_is_read_from_where_it_was(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(LOG)
    tail = LogTail()
    assert tail.sample(str(path)) == Counter()
    with path.open("ab") as file:
        file.write(encode_command([b"SET", b"a", b"1"]) * 5)
    assert tail.sample(str(path)) == Counter({"SET": 5})
    assert tail.sample(str(path)) == Counter()


def test_of_much_growth_a_piece_is_read(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"")
    tail = LogTail()
    tail.sample(str(path))
    path.write_bytes(encode_command([b"SET", b"a", b"1"]) * 100_000)
    assert 500 < tail.sample(str(path))["SET"] < 2000


def test_a_file_that_is_gone_counts_nothing(tmp_path):
    tail = LogTail()
    assert tail.sample(str(tmp_path / "none")) == Counter()
    assert tail.sample(None) == Counter()


def test_shares_are_of_the_last_minute_and_sum_to_one():
    mix = WriteMix()
    mix.add(0, Counter({"OLD": 1000}))
    mix.add(30, Counter({"A": 1, "B": 2, "C": 3, "D": 4}))
    mix.add(61, Counter({"E": 10}))
    assert mix.shares() == (("E", 0.5), ("D", 0.2), ("C", 0.15), ("B", 0.1), ("others", 0.05))


def test_counters_that_grow_give_what_they_grew():
    mix = WriteMix()
    mix.add_calls(0, {"SET": 100})
    assert mix.shares() == ()
    mix.add_calls(1, {"SET": 103, "DEL": 1})
    assert mix.shares() == (("SET", 0.75), ("DEL", 0.25))


def test_one_sample_a_second():
    mix = WriteMix()
    assert mix.due(5.0)
    mix.add(5.1, Counter())
    assert not mix.due(5.9)
    assert mix.due(6.0)
