"""What the conformance tests cannot show: where nothing may wait, and what must be gone from the keyspace."""

import pytest

import aofnb
from aofnb import ReplyError


@pytest.fixture
def store():
    with aofnb.open(None, background=False) as store:
        yield store


@pytest.mark.parametrize(
    "command",
    ["BLPOP q 0", "BRPOP q 0", "BLMOVE q d LEFT RIGHT 0", "BRPOPLPUSH q d 0", "BLMPOP 0 1 q LEFT"],
)
def test_a_command_that_would_have_to_wait_is_refused_in_a_batch_and_inside_exec_answers_nil(store, command):
    argv = command.split()
    with pytest.raises(ReplyError, match=f"ERR {argv[0]} would wait"), store.batch():
        store.execute(*argv)
    store.execute("MULTI")
    store.execute(*argv)
    assert store.execute("EXEC") == [None]


@pytest.mark.parametrize(
    "command",
    ["LPOP l", "RPOP l", "LPOP l 9", "LREM l 0 a", "LTRIM l 5 9", "RPOPLPUSH l m", "LMPOP 1 l LEFT", "BLPOP l 0"],
)
def test_a_list_that_became_empty_is_no_key_any_more(store, command):
    store.execute("RPUSH", "l", "a")
    store.execute(*command.split())
    assert store.execute("EXISTS", "l") == 0


def test_a_list_of_one_turned_over_onto_itself_stays(store):
    store.execute("RPUSH", "l", "a")
    assert store.execute("LMOVE", "l", "l", "LEFT", "RIGHT") == b"a"
    assert store.execute("LRANGE", "l", 0, -1) == [b"a"]


def test_keys_of_lmpop_are_found_behind_their_number():
    from aofnb.commands.registry import find

    argv = [b"BLMPOP", b"0", b"2", b"a", b"b", b"LEFT"]
    command = find(argv)
    assert command is not None
    assert command.key_positions(argv) == [3, 4]
