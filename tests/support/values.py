"""Values of every kind for hypothesis, and keyspaces of them."""

from __future__ import annotations

from hypothesis import strategies as st

from aofnb.store.hash_value import HashValue
from aofnb.store.keyspace import Keyspace
from aofnb.store.list_value import ListValue
from aofnb.store.set_value import SetValue
from aofnb.store.stream import Group, Stream
from aofnb.store.values import Value
from aofnb.store.zset import SortedSet

__all__ = ["ids", "int64s", "keyspace", "keyspaces", "numbers", "scores", "streams", "texts_", "values"]

BORDERS = [0, 127, 128, 4095, 4096, 32767, 32768, 8388607, 8388608, 2**31 - 1, 2**31, 2**63 - 1, 2**63, 2**64]
numbers = st.one_of(
    st.integers(-(2**65), 2**65), st.sampled_from(BORDERS + [-n for n in BORDERS] + [-n - 1 for n in BORDERS])
)
texts_ = st.one_of(
    st.binary(max_size=80),
    numbers.map(lambda n: b"%d" % n),
    st.sampled_from([b"-0", b"+1", b"01", b" 1", b"1.0", b"1_0", b"a" * 63, b"a" * 64, b"a" * 4095, b"a" * 4096]),
    st.builds(lambda part, n: part * n, st.binary(min_size=1, max_size=9), st.integers(1, 2000)),
)
scores = st.one_of(st.floats(allow_nan=False), numbers.map(float), st.sampled_from([0.0, 2.0**62, 2.0**63, -(2.0**63)]))
int64s = st.integers(-(2**63), 2**63 - 1)
ids = st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))


@st.composite
def streams(draw: st.DrawFn) -> Stream:
    stream = Stream()
    for entry_id in sorted(draw(st.sets(ids.filter(lambda i: i > (0, 0)), max_size=12))):
        fields = draw(st.lists(st.sampled_from([b"f", b"g", b"1"]), min_size=1, max_size=3))
        items = [part for name in fields for part in (name, draw(texts_))]
        stream.append(entry_id, items, draw(st.sampled_from([0, 100])), draw(st.sampled_from([0, 2])))
    for entry_id, _ in list(stream.range()):
        if draw(st.integers(0, 4)) == 0:
            stream.delete(entry_id)
    for name in draw(st.sets(texts_, max_size=2)):
        group = stream.groups[name] = Group(draw(ids), draw(st.sampled_from([-1, 0, 5, -7])))
        consumers = [group.create_consumer(c, draw(st.integers(0, 2**62))) for c in draw(st.sets(texts_, max_size=3))]
        for entry_id in draw(st.sets(ids, max_size=4)) if consumers else ():
            consumer = draw(st.sampled_from(consumers))
            assert consumer is not None
            group.assign(entry_id, consumer, draw(st.integers(0, 2**62)), draw(st.integers(0, 2**62)))
    return stream


values: st.SearchStrategy[Value] = st.one_of(
    texts_,
    st.lists(texts_, min_size=1, max_size=30).map(ListValue),
    st.sets(texts_, min_size=1, max_size=30).map(SetValue.of),
    st.sets(int64s.map(lambda n: b"%d" % n), min_size=1, max_size=30).map(SetValue.of),
    st.dictionaries(texts_, texts_, min_size=1, max_size=20).map(HashValue.of),
    st.dictionaries(texts_, scores, min_size=1, max_size=20).map(SortedSet.of),
    streams(),
)


keyspaces = st.dictionaries(
    st.integers(0, 15), st.dictionaries(texts_, st.tuples(values, st.none() | int64s), max_size=4), max_size=3
)


def keyspace(content: dict[int, dict[bytes, tuple[Value, int | None]]]) -> Keyspace:
    made = Keyspace(16, lambda: 0)
    made.expiring = False
    for index, keys in content.items():
        for key, (value, deadline_ms) in keys.items():
            made[index].put(key, value)
            # -1 is how a file says "never".
            if deadline_ms not in (None, -1):
                made[index].set_deadline(key, deadline_ms)
    return made
