"""A check that reads tables finds what a check finds that makes an object of every command."""

from __future__ import annotations

import importlib
import io
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.kernels import FORMS, kernel

from aofnb.aof.check import check
from aofnb.aof.fs import OsFs
from aofnb.forensics import blocks
from aofnb.resp.encode import encode_command

scan = importlib.import_module("aofnb.forensics.scan")

names = st.sampled_from(
    [*b"MULTI EXEC multi Exec SET EXPIRE MUL".split(), b"multi\0x", b"EXEC\0", b"", b"M" * 12, b"e" * 120]
)
words = st.one_of(st.binary(max_size=6), st.sampled_from([b"\r\n", b"*1\r\n$4\r\nEXEC\r\n", b"x" * 1100]))
commands = st.builds(lambda name, rest: encode_command([name, *rest]), names, st.lists(words, max_size=3))
pieces = st.one_of(
    commands,
    st.sampled_from(
        [
            *(b"#TS:1700000000\r\n", b"#a\0b\r\n", b"#\n", b"#" + b"x" * 1100 + b"\r\n", b"#"),
            *(b"*1\n$4\nEXEC\n", b"*01\r\n$5\r\nMULTI\r\n", b"*1\r\n$005\r\nMULTI\r\n", b"*1\r\n$0004\r\nEXEC\r\n"),
            *(b"*0\r\n", b"*1\r\n$-1\r\n", b"*1\r\n$9\r\nx\r\n", b"*2\r\n$1\r\n", b"$1\r\n", b"\r\n", b"\0\0", b"*"),
            *(b"*1\r\n$1\r\nxyz", b"*1\r\n$1\r\nx\0\0", b"*1\r\n$1\r\nxyy*1\r\n$1\r\nx\r\n"),
        ]
    ),
)


class OneFile(OsFs):
    """A file of these bytes, whatever it is called."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def exists(self, path: str) -> bool:
        return path == str(PLACE)

    def size(self, path: str) -> int:
        return len(self._data)

    def listdir(self, path: str) -> list[str]:
        if path == str(PLACE):
            raise NotADirectoryError(path)
        return [PLACE.name]

    def open_read(self, path: str) -> io.BytesIO:
        return io.BytesIO(self._data)


PLACE = Path("nowhere", "appendonly.aof").absolute()


@pytest.mark.parametrize("form", FORMS)
@given(st.lists(pieces, max_size=12).map(b"".join), st.data(), st.sampled_from([16, 100, 1 << 20]))
@example(encode_command([b"MULTI"]) * 3, None, 1 << 20)
def test_both_ways_find_the_same(form, data, draw, chunk_bytes):
    if draw is not None:
        data = data[: draw.draw(st.integers(0, len(data)))]
    hot = kernel("aofnb.forensics._walk_cy", form)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "_walk_cy", hot)
        patch.setattr(blocks, "CHUNK_BYTES", chunk_bytes)
        assert check(PLACE, fs=OneFile(data), reader=blocks.TableReader) == check(PLACE, fs=OneFile(data))
