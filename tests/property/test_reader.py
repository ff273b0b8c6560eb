"""Every prefix of a log is understood or refused, never misread; nothing at all makes the readers fail."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st

from aofnb.aof.load import read_units
from aofnb.resp.encode import encode_command
from aofnb.resp.reader import CommandReader

words = st.one_of(
    st.binary(max_size=12),
    st.sampled_from(
        [b"", b"\r\n", b"a\r\nb", b"\r", b"\n", b"*1\r\n$1\r\nx\r\n", b"MULTI", b"EXEC", b"$3", b"x" * 4100]
    ),
)
argvs = st.lists(st.lists(words, min_size=1, max_size=5), max_size=12)
pieces = st.integers(1, 200)


def read(data: bytes, piece: int) -> tuple[list[list[bytes]], list[int], CommandReader]:
    reader = CommandReader(io.BytesIO(data), len(data), piece=piece)
    commands: list[list[bytes]] = []
    ends: list[int] = []
    for block in reader:
        commands += block.argvs
        ends += block.ends
    return commands, ends, reader


class BytesFs:
    """Just enough of an Fs to read one file."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def size(self, path: str) -> int:
        return len(self.data)

    def open_read(self, path: str) -> io.BytesIO:
        return io.BytesIO(self.data)


@given(argvs, pieces, st.data())
def test_cut_log(argvs, piece, data):
    records = [encode_command(argv) for argv in argvs]
    log = b"".join(records)
    cut = data.draw(st.integers(0, len(log)))
    borders = [sum(map(len, records[:n])) for n in range(len(records) + 1)]
    whole = sum(1 for border in borders[1:] if border <= cut)
    commands, ends, reader = read(log[:cut], piece)
    assert commands == argvs[:whole]
    assert ends == borders[1 : whole + 1]
    assert reader.end is not None
    assert reader.end.offset == borders[whole]
    assert reader.end.kind == ("clean" if cut == borders[whole] else "truncated")


def units(argvs: list[list[bytes]]) -> list[int]:
    """How many commands end each unit, by the rule: from MULTI to the next EXEC."""
    borders = [0]
    open_multi = False
    for count, argv in enumerate(argvs, 1):
        name = argv[0].upper()
        if name == b"MULTI":
            open_multi = True
        elif name == b"EXEC":
            open_multi = False
        if not open_multi:
            borders.append(count)
    return borders


names = st.sampled_from([b"SET", b"MULTI", b"multi", b"EXEC", b"Exec", b"INCR"])
transactions = st.lists(st.tuples(names, st.sampled_from([b"a", b"\r\n"])).map(list), max_size=14)


@given(transactions, st.data())
def test_cut_log_ends_at_a_whole_unit(argvs, data):
    records = [encode_command(argv) for argv in argvs]
    log = b"".join(records)
    cut = data.draw(st.integers(0, len(log)))
    borders = [sum(map(len, records[:n])) for n in range(len(records) + 1)]
    whole = max(count for count in units(argvs) if borders[count] <= cut)
    reader = read_units(BytesFs(log[:cut]), "log")  # type: ignore[arg-type]  # the one file it needs
    assert [argv for block in reader for argv in block.argvs] == argvs[:whole]
    assert reader.tail.cut_at == borders[whole]
    assert (reader.tail.kind == "clean") == (borders[whole] == cut)


bytes_like_a_log = st.lists(
    st.one_of(
        st.binary(max_size=6),
        st.sampled_from(
            [b"*1\r\n", b"*2\r\n", b"$1\r\n", b"$3\n", b"\r\n", b"a", b"#TS:1\r\n", b"*-1", b"$-3\r\n", b"$99999999999"]
        ),
    ),
    max_size=20,
).map(b"".join)


@given(bytes_like_a_log, pieces)
def test_any_bytes_are_read_the_same_in_any_pieces(data, piece):
    commands, ends, reader = read(data, piece)
    again, ends_again, whole = read(data, 1 << 20)
    assert (commands, ends) == (again, ends_again)
    assert reader.end is not None
    assert whole.end is not None
    assert (reader.end.kind, reader.end.offset) == (whole.end.kind, whole.end.offset)
    assert reader.end.offset <= len(data)
    assert all(ends[n] < ends[n + 1] for n in range(len(ends) - 1))
