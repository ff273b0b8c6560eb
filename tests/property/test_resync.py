"""Reading on behind damage, for any log and any damage: nothing is read twice, nothing made up, the rest is there."""

from hypothesis import example, given
from hypothesis import strategies as st
from support.long_way import examples
from support.random_logs import damaged, damages

import aofnb
from aofnb.resp.encode import encode_command

words = st.binary(max_size=12).map(lambda value: bytes(byte for byte in value if byte not in b"\r\n*$#\0"))
plain = st.one_of(
    st.tuples(st.just(b"SET"), words, words),
    st.tuples(st.just(b"RPUSH"), words, words, words),
    st.tuples(st.just(b"INCR"), words),
).map(list)
nested = st.lists(plain, max_size=4).map(lambda log: [b"SET", b"log", b"".join(map(encode_command, log))])
plain_logs = st.lists(plain, min_size=1, max_size=12)
any_logs = st.lists(st.one_of(plain, nested), min_size=1, max_size=12)


def rows_of(tmp_path, data):
    path = tmp_path / "log.aof"
    path.write_bytes(data)
    frame = aofnb.read_aof(path, on_bad="resync", columns=["offset", "nbytes", "args", "status"])
    return frame, frame.attrs["aof"]["damage"]


@given(plain_logs, damages)
# Of `$11` and `*4` becomes `$114`, and 114 bytes from there ends a line.
@example(
    [
        [b"RPUSH", b"", b"abc", b"_" * 11],
        [b"RPUSH", b"", b"a", b"_" * 9],
        *([b"INCR", b"_" * n] for n in (7, 11, 5, 7)),
    ],
    ("missing", 33, 16),
)
def test_all_that_was_not_hit_is_there(tmp_path, log, damage):
    records = list(map(encode_command, log))
    ends = [sum(map(len, records[: row + 1])) for row in range(len(records))]
    data, at, length = damaged(b"".join(records), damage)
    frame, noted = rows_of(tmp_path, data)
    rows = frame[frame.status != "truncated"]
    got = [list(argv) for argv in rows.args]
    before = sum(end <= at for end in ends)
    if at in ends and [each["kind"] for each in noted] == ["mended"]:
        # Of arguments without a command of their own a bit of the count in front can be the cause as well.
        before -= 1
        assert got[before][: len(log[before])] == log[before]
    assert got[:before] == log[:before]
    # Damage can make another length, and where that ends at a line end, what is before is a value as any other.
    spans = zip(rows.args, rows.offset + rows.nbytes, strict=True)
    value_end = max((end for argv, end in spans if any(b"\r\n" in arg for arg in argv)), default=0)
    begins = [end - len(record) for end, record in zip(ends, records, strict=True)]
    grown = len(data) - ends[-1]
    behind = sum(begin >= max(at + length, value_end - grown) for begin in begins)
    # A missing line end in front of it makes a command one with the one that was hit.
    sure = max(behind - 1, 0)
    assert got[len(got) - sure :] == log[len(log) - sure :] if sure else True
    assert len(got) <= len(log) + 1


@given(any_logs, st.lists(damages, max_size=4))
def test_rows_and_damage_share_the_file_without_overlap(tmp_path, log, some):
    data = b"".join(map(encode_command, log))
    for damage in some:
        data = damaged(data, damage)[0] or b"x"
    frame, damage = rows_of(tmp_path, data)
    spans = [
        (offset, offset + nbytes)
        for offset, nbytes, status in zip(frame.offset, frame.nbytes, frame.status, strict=True)
        if status != "truncated"
    ]
    spans += [
        (each["offset"], each["offset"] + each["nbytes"])
        for each in damage
        if each["kind"] not in ("mended", "open_multi")
    ]
    at = 0
    for start, end in [*sorted(spans), (len(data), len(data) + 1)]:
        # Damage may look like an annotation.
        assert start >= at
        assert all(line.startswith(b"#") for line in data[at:start].removesuffix(b"\n").split(b"\n") if at < start)
        assert end > start
        at = end


@given(any_logs)
@examples(30)
def test_a_whole_log_is_read_the_same(tmp_path, log):
    frame, damage = rows_of(tmp_path, b"".join(map(encode_command, log)))
    assert [list(argv) for argv in frame.args] == log
    assert not damage
    assert set(frame.status) == {"ok"}
