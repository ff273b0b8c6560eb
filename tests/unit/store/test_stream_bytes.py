"""The kernel that counts what a listpack would take, in both forms, against listpacks that are made."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.kernels import FORMS, kernel

from aofnb.rdb.listpack import encode_integer, encode_item
from aofnb.store.stream import Node, Stream

numbers = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([s * (2**n) + d for n in (7, 12, 15, 23, 31, 62) for d in (-1, 0, 1) for s in (1, -1)]),
)
texts = st.one_of(
    numbers.map(lambda number: b"%d" % number),
    st.binary(max_size=70),
    st.text("-0123456789", max_size=22).map(str.encode),
    st.sampled_from([bytes(n) for n in (63, 64, 125, 126, 4095, 4096, 16375, 16376, 16377, 16378, 2097145, 2097146)]),
    st.sampled_from([b"%d" % (s * 2**63 + d) for s in (1, -1) for d in (-1, 0, 1)]),
)


@pytest.fixture(params=FORMS, scope="module")
def counted(request):
    return kernel("aofnb.store._stream_cy", request.param)


@given(texts)
def test_a_string(counted, text):
    assert counted.string_bytes(text) == len(encode_item(text))


@given(numbers)
def test_a_number(counted, number):
    assert counted.integer_bytes(number) == len(encode_integer(number))


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)), min_size=1, max_size=8, unique=True))
def test_both_forms_add_alike(ids):
    streams = []
    for form in FORMS:
        hot = kernel("aofnb.store._stream_cy", form)
        hot.know(Stream, Node)
        stream = Stream()
        for number, entry_id in enumerate(sorted(ids)):
            fields = (b"a", b"b") if number % 3 else (b"a", b"c")
            hot.append(stream, Node, entry_id, (fields[0], b"%d" % number, fields[1], b"v"), 120, 3)
        stream._check()
        streams.append(stream)
    first, second = ([(node._body_bytes, node.ids, node.entries) for node in stream.nodes] for stream in streams)
    assert first == second
