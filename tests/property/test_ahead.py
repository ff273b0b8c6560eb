"""A log that is read by two threads is the log that one reads, whatever is in it and however the reading ends."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

import aofnb
from aofnb.forensics import frame, rows
from aofnb.resp.encode import encode_command

words = st.sampled_from(
    [b"", b"k", b"user:1", b"12", b"\r\n", b"*1\r\n$4\r\nEXEC\r\n", b"$3\r\nSET\r\n", b"\0\xff", b"v" * 70]
)
plain = st.tuples(st.sampled_from([b"SET", b"set", b"LPUSH", b"NOSUCH"]), words, words).map(list)
framing = st.sampled_from(
    [[b"MULTI"], [b"EXEC"], [b"SELECT", b"3"], [b"SELECT", b"0"], [b"FLUSHALL"], [b"XGROUP", b"CREATE"]]
)
# A value that is a log, cut anywhere.
texts = st.lists(st.one_of(plain, framing), min_size=1, max_size=4).map(lambda log: b"".join(map(encode_command, log)))
nested = st.builds(lambda key, text, end: [b"SET", key, text[: len(text) - end]], words, texts, st.integers(0, 9))
commands = st.one_of(plain, framing, nested).map(encode_command)
times = st.integers(1, 99).map(lambda second: b"#TS:%d\r\n" % second)
junk = st.sampled_from([bytes(30), b"garbage", b"*2\r\n$3\r\nGET\r\n$9\r\nx", b"*1\n$4\nPING\n", b"#TS:5"])
# Mostly in order: of what is behind damage little is read but with `resync`.
logs = st.tuples(
    st.lists(st.one_of(commands, commands, times), max_size=20), st.lists(st.one_of(junk, commands), max_size=3)
).map(lambda both: b"".join(both[0] + both[1]))
options = st.fixed_dictionaries(
    {"on_bad": st.sampled_from(["error", "truncate", "resync"])},
    optional={
        "nrows": st.integers(0, 8),
        "chunksize": st.integers(1, 5),
        "cmd": st.just("SET"),
        "key": st.just("user*"),
        "db": st.just(3),
        "columns": st.just(["offset", "args", "status"]),
        "encoding": st.none(),
    },
)


def outcome(action: Callable[[], Any]) -> Any:
    """What comes of it, be it an error."""
    try:
        return action()
    except aofnb.AofError as problem:
        return type(problem), str(problem)


def read(path: Any, on_bad: str, **asked: Any) -> list[Any]:
    """Frames and what is said with them, the index, and where reading ended if it was left before the end."""
    frames = []

    def frames_of() -> None:
        made = aofnb.read_aof(path, on_bad=on_bad, **asked)
        frames.extend((each, each.attrs["aof"]) for each in (made if "chunksize" in asked else [made]))

    def left_early() -> Any:
        with aofnb.read_aof(path, on_bad=on_bad, iterator=True) as reader:
            return next(reader).index.to_list() if asked.get("nrows") is None else reader.get_chunk(1).index.to_list()

    log = aofnb.scan(path, on_bad=on_bad, cache_dir=False)
    return [frames, outcome(frames_of), outcome(log.index), outcome(left_early)]


# What is told of damage once depended on how much of it was in the chunk.
@example(bytes(60), {"on_bad": "truncate"}, 40)
# All of a short log comes once more where its end is cut.
@example(encode_command([b"SET", b"k", b"v" * 160]) + b"#TS:5", {"on_bad": "truncate"}, 200)
@given(logs, options, st.sampled_from([40, 200]))
def test_two_threads_read_what_one_reads(tmp_path, log, asked, chunk_bytes):
    path = tmp_path / "log.aof"
    path.write_bytes(log)
    found = []
    for pays in (False, True):
        with pytest.MonkeyPatch.context() as patch:
            for module in (frame, rows):
                patch.setattr(module, "pays_ahead", lambda nbytes, pays=pays: pays)
            patch.setattr(rows, "scan_file", partial(rows.scan_file, chunk_bytes=chunk_bytes))
            found.append(read(path, **asked))
    (one, *of_one), (two, *of_two) = found
    assert of_one == of_two
    assert [about for _, about in one] == [about for _, about in two]
    for (ours, _), (theirs, _) in zip(one, two, strict=True):
        assert_frame_equal(ours, theirs)
