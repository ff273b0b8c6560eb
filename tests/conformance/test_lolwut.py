"""LOLWUT: what is in order in its pictures is the server's dot for dot; the rest is chance."""

from __future__ import annotations

import random
import re

import pytest
from support.require import need
from support.server import available, redis_server
from support.transcripts import plain

import aofnb
from aofnb.commands.lolwut import Dots, schotter
from aofnb.errors import ReplyError

pytestmark = pytest.mark.server

# No more than two rows of squares: the third begins to fall into disorder.
IN_ORDER = (
    "", "VERSION", "VERSION 7", "VERSION 7 x", "FOO", "FOO 5", "5", "VERSION x", "VERSION 5 x", "VERSION 5 1 x",
    "VERSION 6 x", "VERSION 5 0 0 0", "VERSION 5 -1 1 1", "VERSION 5 1 1 1", "VERSION 5 2 1 1", "VERSION 5 3 1 1",
    "VERSION 5 10 1 1", "version 5 20 2 2", "VERSION 5 66 8 2", "VERSION 5 31 3 2", "VERSION 5 100 7 1",
    "VERSION 5 5 50 1", "VERSION 5 10 1 1 1",
)  # fmt: skip


def test_what_is_in_order_is_drawn_as_by_the_server(tmp_path):
    need("redis-server", available())
    with redis_server(tmp_path / "redis", appendonly="no") as server, aofnb.open(None) as store:
        for line in IN_ORDER:
            try:
                ours = plain(store.execute("LOLWUT", *line.split()))
            except ReplyError as problem:
                ours = plain(problem)
            assert ours == plain(server.execute("LOLWUT", *line.split())), line


def test_a_large_picture_falls_into_disorder_by_its_seed():
    first, again, other = (str(schotter(random.Random(seed), 40, 6, 8)) for seed in (1, 1, 2))
    assert first == again != other
    lines = first.splitlines()
    assert {len(line) for line in lines} == {40}
    assert lines[:3] == other.splitlines()[:3]


def test_a_skyline_has_its_size():
    with aofnb.open(None, seed=1) as store:
        *rows, dedication, version = store.execute("LOLWUT", "VERSION", 6, 30, 7).decode().splitlines()
    assert version == "Redis ver. 7.0.15"
    assert dedication.startswith("Dedicated")
    assert [len(re.findall("\\x1b\\[0;[0-9;]+m \\x1b\\[0m", row)) for row in rows] == [30] * 7


def test_lines_end_at_the_edge_of_the_sheet():
    sheet = Dots(4, 4)
    sheet.line(-5, 0, 9, 0)
    assert str(sheet) == "\N{BRAILLE PATTERN DOTS-14}" * 2 + "\n"
