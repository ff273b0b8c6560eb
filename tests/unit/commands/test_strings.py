"""The log's words by a clock that stands still, edits in place, and LCS against its definition."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aofnb
from aofnb import ReplyError
from aofnb.clock import FakeClock

NOW_MS = 1_700_000_000_000


@pytest.fixture
def store():
    with aofnb.open(None, background=False, clock=FakeClock(NOW_MS)) as store:
        yield store


@pytest.fixture
def logged(store, monkeypatch):
    """The records that each command leaves, as one list."""
    records = []
    end_unit = store.engine.end_unit

    def keep(*args):
        records.extend(b" ".join(argv) for _, argv in store.engine.effects)
        end_unit(*args)

    monkeypatch.setattr(store.engine, "end_unit", keep)
    return records


@pytest.mark.parametrize(
    ("command", "record"),
    [
        ("SET k v EX 100", b"SET k v PXAT 1700000100000"),
        ("set k v px 100 nx", None),
        ("set k v xx px 100 get", b"SET k v PXAT 1700000000100"),
        ("set k v get get keepttl", b"set k v keepttl"),
        ("SETEX k 1 v", b"SET k v PXAT 1700000001000"),
        ("psetex k 1 v", b"SET k v PXAT 1700000000001"),
        ("GETEX k EX 1", b"PEXPIREAT k 1700000001000"),
        ("GETEX k EXAT 1", b"DEL k"),
        ("GETEX k PERSIST", None),
        ("GETSET k w", b"SET k w"),
        ("INCRBYFLOAT k 0.1", b"SET k 3000.10000000000000009 KEEPTTL"),
        ("GETDEL k", b"DEL k"),
    ],
)
def test_what_is_logged_gives_the_same_data_at_any_later_time(store, logged, command, record):
    store.execute("SET", "k", "3.0e3")
    logged.clear()
    store.execute(*command.split())
    assert logged == ([] if record is None else [record])


def test_an_overdue_key_is_deleted_in_the_log_before_it_is_set(store, logged):
    store.execute("MSET", "a", 1, "b", 2)
    store.execute("PEXPIRE", "a", 10)
    logged.clear()
    store.clock.advance(1)
    store.execute("MSET", "b", 3, "a", 4)
    assert logged == [b"DEL a", b"MSET b 3 a 4"]
    assert store.execute("TTL", "a") == -1


def test_append_to_a_copy_leaves_the_original_alone(store):
    store.execute("SET", "a", "x")
    store.execute("APPEND", "a", "y")
    store.execute("COPY", "a", "b")
    store.execute("APPEND", "b", "z")
    store.execute("SETRANGE", "b", 0, "-")
    assert store.execute("MGET", "a", "b") == [b"xy", b"-yz"]


def test_a_reply_does_not_change_when_the_string_does(store):
    store.execute("SET", "a", "x")
    store.execute("APPEND", "a", "y")
    before = store.execute("GET", "a")
    store.execute("APPEND", "a", "z")
    assert before == b"xy"


@pytest.mark.parametrize("command", ["SET k new XX EX x", "SET k new GET EX 0", "MSET k new j", "SETEX k 0 new"])
def test_a_refused_command_changes_nothing(store, command):
    store.execute("SET", "k", "old")
    with pytest.raises(ReplyError):
        store.execute(*command.split())
    assert store.execute("MGET", "k", "j") == [b"old", None]


def lcs_length(a, b):
    """By the textbook."""
    above = [0] * (len(b) + 1)
    for x in a:
        row = [0]
        for j, y in enumerate(b):
            row.append(above[j] + 1 if x == y else max(above[j + 1], row[j]))
        above = row
    return above[-1]


def is_subsequence(part, whole):
    rest = iter(whole)
    return all(char in rest for char in part)


@given(st.text("abc", max_size=40).map(str.encode), st.text("abc", max_size=40).map(str.encode))
def test_lcs_is_a_longest_common_subsequence(a, b):
    with aofnb.open(None, background=False) as store:
        store.execute("MSET", "a", a, "b", b)
        found = store.execute("LCS", "a", "b")
        assert len(found) == store.execute("LCS", "a", "b", "LEN") == lcs_length(a, b)
        assert is_subsequence(found, a)
        assert is_subsequence(found, b)
        _, matches, _, length = store.execute("LCS", "a", "b", "IDX", "WITHMATCHLEN")
        assert sum(match[2] for match in matches) == length == len(found)
        for (a_first, a_last), (b_first, b_last), _ in matches:
            assert a[a_first : a_last + 1] == b[b_first : b_last + 1]


def test_lcs_of_strings_that_need_too_much_memory_is_refused(store):
    store.execute("CONFIG", "SET", "proto-max-bulk-len", 1 << 20)
    store.execute("MSET", "a", b"x" * 1000, "b", b"y" * 1000)
    with pytest.raises(ReplyError, match="transient memory for LCS exceeds"):
        store.execute("LCS", "a", "b")
