"""Rows of a frame are found again in their file, whichever are left of them and in whatever order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aofnb
from aofnb.forensics import reread
from aofnb.forensics.reread import FrameRows
from aofnb.resp.encode import encode_command

inner = encode_command([b"SET", b"inner", b"1"])
args = st.one_of(st.binary(max_size=12), st.sampled_from([inner, b"\r\n", b"*1\r\n$4\r\nEXEC\r\n", b"x" * 300]))
commands = st.builds(
    lambda name, rest: [name, *rest],
    st.sampled_from([b"SET", b"del", b"NOSUCH"]),
    st.lists(args, min_size=1, max_size=4),
)
notes = st.sampled_from([b"", b"", b"#TS:1795183200\r\n"])


@given(
    st.lists(st.tuples(commands, notes), min_size=1, max_size=40),
    st.data(),
    st.sampled_from([16, 200, 4 << 20]),
    st.sampled_from([1, 8]),
    st.sampled_from([0, 40, 16 << 10]),
)
def test_every_row_is_found_again(tmp_path_factory, written, data, stretch, few, gap):
    path = tmp_path_factory.mktemp("log") / "x.aof"
    path.write_bytes(b"".join(note + encode_command(argv) for argv, note in written))
    whole = aofnb.read_aof(path, on_bad="truncate")
    assert len(whole) == len(written)
    places = data.draw(st.lists(st.integers(0, len(written) - 1), max_size=60))
    if data.draw(st.booleans()):
        places = sorted(set(places))
    frame = whole.iloc[places]
    argvs = [written[place][0] for place in places]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reread, "_STRETCH_BYTES", stretch)
        patch.setattr(reread, "_FEW", few)
        patch.setattr(reread, "_GAP_BYTES", gap)
        rows = FrameRows(frame)
        assert list(rows.argvs()) == argvs
        assert list(rows.encoded()) == [encode_command(argv) for argv in argvs]
        for n in (0, 1, 3):
            assert rows.argument(n).to_pylist() == [argv[n] if len(argv) > n else None for argv in argvs]
    with_args = FrameRows(aofnb.read_aof(path, columns=["part", "offset", "nbytes", "args"]).iloc[places])
    assert with_args.argument(2).to_pylist() == [argv[2] if len(argv) > 2 else None for argv in argvs]


@given(st.lists(commands, min_size=9, max_size=30), st.data())
def test_a_byte_that_changed_since_is_told(tmp_path_factory, argvs, data):
    """A length or a name: what is written behind them may be anything."""
    path = tmp_path_factory.mktemp("log") / "x.aof"
    records = [encode_command(argv) for argv in argvs]
    path.write_bytes(b"".join(records))
    frame = aofnb.read_aof(path)
    number = data.draw(st.integers(0, len(records) - 1))
    changed = bytearray(b"".join(records))
    at = sum(map(len, records[:number])) + records[number].index(argvs[number][0])
    changed[at] ^= 1
    path.write_bytes(changed)
    with pytest.raises(aofnb.AofError, match="not the bytes of this row"):
        list(FrameRows(frame).argvs())
