"""aofnb/resp/reader.py: bytes of a log to argument vectors."""

from __future__ import annotations

import io

import pytest

from aofnb.resp.encode import encode_command
from aofnb.resp.reader import Block, CommandReader, End, not_cut_short


def read(data: bytes, piece: int = 1 << 17, size: int | None = None) -> tuple[list[Block], End]:
    reader = CommandReader(io.BytesIO(data), len(data) if size is None else size, piece=piece)
    blocks = list(reader)
    assert reader.end is not None
    return blocks, reader.end


def argvs_of(blocks: list[Block]) -> list[list[bytes]]:
    return [argv for block in blocks for argv in block.argvs]


SET = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n"


@pytest.mark.parametrize(
    "argv",
    [
        [b"PING"],
        [b"GET", b"k"],
        [b"SET", b"k", b"v"],
        [b"HSET", b"k", b"f", b"v"],
        [b"RPUSH", b"k", *[b"%d" % i for i in range(2000)]],
        [b"SET", b"k", b"x" * 5000],
        [b"SET", b"k", b"a\r\nb"],
        [b"SET", b"\r\n", b"\r\n\r\n"],
        [b"SET", b"k", b"*3\r\n$3\r\nSET\r\n"],
        [b"SET", b"", b""],
        [b"", b""],
        [b"SET", b"k", bytes(range(256))],
    ],
)
@pytest.mark.parametrize("piece", [1, 7, 64, 1 << 17])
def test_what_is_encoded_is_read(argv, piece):
    data = SET + encode_command(argv) + SET
    blocks, end = read(data, piece)
    assert argvs_of(blocks) == [[b"SET", b"k", b"v"], argv, [b"SET", b"k", b"v"]]
    assert end == End("clean", len(data))


@pytest.mark.parametrize("piece", [1, 10, 1 << 17])
def test_offsets_and_ends_are_those_of_the_bytes(piece):
    records = [SET, b"*1\n$4\nPING\r\n", b"*2\r\n$3\r\nGET\r\n$4\r\na\r\nb\r\n", SET, SET]
    data = b"#TS:1\r\n".join(records)
    blocks, _ = read(data, piece)
    spans = [span for block in blocks for span in zip(block.offsets, block.ends, strict=True)]
    assert [data[start:end] for start, end in spans] == records
    annotations = [item for block in blocks for item in block.annotations]
    assert [(data[at : at + 7], text) for at, text in annotations] == [(b"#TS:1\r\n", b"#TS:1")] * 4
    assert [block.start for block in blocks[1:]] == [block.end for block in blocks[:-1]]


def test_split_keeps_places_and_annotations():
    data = SET + b"#TS:1\r\n" + SET + b"#TS:2\n" + b"*1\n$4\nPING\r\n" + SET
    (block,), _ = read(data)
    for index in range(4):
        before, after = block.split(index)
        assert before.argvs + after.argvs == block.argvs
        assert before.offsets + after.offsets == block.offsets
        assert before.ends + after.ends == block.ends
        assert before.annotations + after.annotations == block.annotations
        assert (before.start, before.end, after.end) == (0, after.start, len(data))


@pytest.mark.parametrize(
    ("data", "argv"),
    [
        (b"*2\n$3\nGET\r\n$1\nk\r\n", [b"GET", b"k"]),
        (b"*1abc\r\n$4xyz\r\nPING\r\n", [b"PING"]),
        (b"* +1\r\n$ 4\r\nPING\r\n", [b"PING"]),
        (b"*1\r\n$04\r\nPING\r\n", [b"PING"]),
        (b"*2\r\n$3\r\nGET\r\n$abc\r\n\r\n", [b"GET", b""]),
        (b"*1\r\n$4\r\nPINGxx", [b"PING"]),
        (b"*1\r\n$4\r\nPING$1", [b"PING"]),
    ],
)
def test_what_the_real_loader_lets_pass_is_read(data, argv):
    blocks, end = read(data + SET)
    assert argvs_of(blocks) == [argv, [b"SET", b"k", b"v"]]
    assert end.kind == "clean"


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"*0\r\n", "count of arguments"),
        (b"*-1\r\n", "count of arguments"),
        (b"*abc\r\n", "count of arguments"),
        (b"*2147483648\r\n$1\r\na\r\n", "count of arguments"),
        (b"*4294967297\r\n$4\r\nPING\r\n", "count of arguments"),
        (b"\r\n", "where a command should begin"),
        (b"\0\0\0\0", "zero bytes"),
        # What a power cut leaves where a size was noted before the data came.
        (b"*1\r\n$4\r\nPI\0\0\0\0", "zero bytes behind the argument"),
        (b"*1\r\n$4\r\nPING\r\0", "zero bytes behind the argument"),
        (b"*1\r\n$\0\0\0\n", "zero bytes in the line"),
        (b"*\0\0\0\r\n", "zero bytes in the line"),
        (b"#TS:\0\0\0\r\n", "zero bytes in the line"),
        (b"PING\r\n", "where a command should begin"),
        (b"*1\r\n:4\r\n", "where a length should begin"),
        (b"*1\r\n#TS:1\r\n$4\r\nPING\r\n", "where a length should begin"),
        (b"*1\r\n$-1\r\n", "negative length"),
        (b"*1\r\n$-99999999999999999999\r\n", "negative length"),
        (b"*1" + b" " * 1100 + b"\r\n$4\r\nPING\r\n", "longer than 1023"),
        (b"#" + b"x" * 1022 + b"\n", "longer than 1023"),
    ],
)
@pytest.mark.parametrize("piece", [3, 1 << 17])
def test_malformed_bytes_are_named_with_their_place(bad, reason, piece):
    blocks, end = read(SET + bad + SET, piece)
    assert argvs_of(blocks) == [[b"SET", b"k", b"v"]]
    assert (end.kind, end.offset) == ("format", len(SET))
    assert reason in end.reason


@pytest.mark.parametrize("piece", [1, 3, 1 << 17])
@pytest.mark.parametrize(
    ("bad", "changed"),
    [
        (b"*3\n$3\nSET\n$1\nk\n$1\nv\n", True),
        (b"*1\r\n$4\r\nPING\n*1\r\n$4\r\nPING\r\n", True),
        (b"*1\r\n:4\r\n", False),
        (b"PING\r\n", False),
        (b"\n\n\n", False),
    ],
)
def test_lost_carriage_returns_are_told_wherever_the_pieces_end(bad, changed, piece):
    _, end = read(SET + bad + SET, piece)
    assert (end.kind, end.line_ends_changed) == ("format", changed)


def test_the_longest_annotation_that_the_real_loader_takes_is_taken():
    line = b"#" + b"x" * 1021 + b"\n"
    (block,), end = read(line + SET)
    assert block.annotations == [(0, line[:-1])]
    assert end.kind == "clean"


@pytest.mark.parametrize(
    "tail", [b"*", b"*3", b"*3\r\n", b"*2\r\n$3\r\nGE", SET[:-1], SET[:-2], b"#TS:12", b"#TS:12\r", b"*1\r\n$"]
)
@pytest.mark.parametrize("piece", [1, 1 << 17])
def test_a_record_cut_short_begins_where_the_last_whole_one_ends(tail, piece):
    blocks, end = read(SET + tail, piece)
    assert argvs_of(blocks) == [[b"SET", b"k", b"v"]]
    assert (end.kind, end.offset) == ("truncated", len(SET))


class Counting(io.BytesIO):
    """Remembers the largest read it was asked for."""

    largest = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.largest = max(self.largest, size or 0)
        return super().read(size)


@pytest.mark.parametrize("header", [b"$1000000000000\r\n", b"$99999999999999999999999\r\n"])
def test_a_length_beyond_the_file_asks_for_no_memory(header):
    data = SET + b"*1\r\n" + header + b"x" * 100
    file = Counting(data)
    reader = CommandReader(file, len(data), piece=32)
    assert argvs_of(list(reader)) == [[b"SET", b"k", b"v"]]
    assert reader.end is not None
    assert (reader.end.kind, reader.end.offset) == ("truncated", len(SET))
    assert file.largest <= len(data)


def test_a_count_beyond_the_file_asks_for_no_memory():
    _, end = read(SET + b"*1000000000\r\n$1\r\na\r\n")
    assert (end.kind, end.offset) == ("truncated", len(SET))


def test_what_a_file_gets_meanwhile_is_not_seen():
    blocks, end = read(SET + SET, size=len(SET))
    assert argvs_of(blocks) == [[b"SET", b"k", b"v"]]
    assert end == End("clean", len(SET))


def test_a_file_that_became_shorter_meanwhile_is_cut_short():
    _, end = read(SET + SET[:10], size=2 * len(SET))
    assert (end.kind, end.offset) == ("truncated", len(SET))


def test_an_empty_file_is_clean():
    assert read(b"") == ([], End("clean", 0))


def judged(data: bytes) -> End:
    file = io.BytesIO(data)
    reader = CommandReader(file, len(data))
    for _block in reader:
        pass
    assert reader.end is not None
    return not_cut_short(file, reader.end, len(data))


@pytest.mark.parametrize("between", [1, 70_000, 200_000])
def test_whole_commands_behind_a_length_that_is_too_large_are_seen(between: int) -> None:
    """Wherever they begin: also across two pieces of the file."""
    swallowed = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$99999999\r\n"
    for size in range(between, between + 40):
        data = encode_command([b"PING"]) + swallowed + b"v" * size + b"\r\n" + encode_command([b"SET", b"a", b"b"]) * 3
        end = judged(data)
        assert (end.kind, end.offset) == ("format", 14)
        assert f"from byte {len(data) - 81} " in end.reason


@pytest.mark.parametrize(
    "tail",
    [
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$9999\r\nvalue",
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$9999\r\nvalue\r\n",
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$9999\r\n" + (b"\r\n*1\r\n$4\r\nPING\r\n" * 99)[:-5],
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$9999\r\n\r\n" + b"*1\r\n$4\r\nPING\r\n" * 2,
        b"*9\r\n$3\r\nSET\r\n",
        b"*",
        b"#TS:12",
    ],
)
def test_a_record_that_is_cut_short_is_told_from_it(tail: bytes) -> None:
    assert (judged(encode_command([b"PING"]) + tail).kind, judged(tail).kind) == ("truncated", "truncated")


def test_looking_for_them_takes_no_longer_than_reading_twice() -> None:
    class Counting(io.BytesIO):
        taken = 0

        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            self.taken += len(data)
            return data

    # From each place where a record begins all can be read but for the very end.
    data = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$99999999\r\n\r\n" + encode_command([b"PING"]) * 100_000 + b"*2\r\n"
    file = Counting(data)
    assert not_cut_short(file, End("truncated", 0), len(data)).kind == "truncated"
    assert file.taken < 4 * len(data)
