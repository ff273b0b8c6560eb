"""Where the keys of a command are, and to which family it belongs."""

from __future__ import annotations

import pytest

import aofnb.commands.all  # noqa: F401  # fills the table
from aofnb.commands.registry import find, numbered_keys


@pytest.mark.parametrize(
    ("argv", "keys"),
    [
        ([b"ZINTERSTORE", b"to", b"2", b"a", b"b", b"WEIGHTS", b"1", b"2"], [1, 3, 4]),
        ([b"ZINTERSTORE", b"to", b"9", b"a"], [1, 3]),
        ([b"ZINTERSTORE", b"to", b"9" * 5000, b"a"], [1, 3]),
        ([b"ZINTERSTORE", b"to", b"-1", b"a"], [1]),
        ([b"ZINTERSTORE", b"to"], [1]),
        ([b"ZINTERSTORE"], []),
    ],
)
def test_numbered_keys_are_those_that_are_there_however_absurd_the_number(argv, keys):
    where = numbered_keys(2, 1)
    assert callable(where)
    assert where(argv) == keys


@pytest.mark.parametrize(
    ("argv", "family"), [([b"ZUNION"], "zsets"), ([b"XACK"], "streams"), ([b"XGROUP", b"CREATE"], "streams")]
)
def test_a_family_that_fills_two_files_is_one_family(argv, family):
    command = find(argv)
    assert command is not None
    assert command.group == family
