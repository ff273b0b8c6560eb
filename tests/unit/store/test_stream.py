"""Streams keep their order, cut their nodes where the server cuts them, and know how far a group has read."""

from hypothesis import given
from hypothesis import strategies as st

from aofnb.store.stream import (
    ENTRIES_READ_UNKNOWN,
    MAX_ID,
    MIN_ID,
    Group,
    Node,
    Pending,
    PendingList,
    Stream,
    radix_tree_nodes,
)


def stream_of(count, node_max_entries=3):
    stream = Stream()
    for ms in range(1, count + 1):
        stream.append((ms, 0), (b"f", b"%d" % ms), 4096, node_max_entries)
    return stream


def ids_of(stream, *interval):
    return [entry_id[0] for entry_id, _ in stream.range(*interval)]


operations = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 3)),
        st.tuples(st.just("delete"), st.integers(0, 40)),
        st.tuples(st.just("length"), st.integers(0, 20)),
        st.tuples(st.just("below"), st.integers(0, 40)),
    ),
    max_size=40,
)


@given(operations, st.integers(1, 4))
def test_exact_operations_agree_with_a_plain_list(steps, node_max_entries):
    stream, model, last = Stream(), [], 0
    for operation, number in steps:
        if operation == "add":
            last += number
            stream.append((last, 0), (b"f", b"v"), 4096, node_max_entries)
            model.append(last)
        elif operation == "delete":
            assert stream.delete((number, 0)) == (number in model)
            model = [ms for ms in model if ms != number]
        elif operation == "length":
            assert stream.trim_to_length(number) == max(0, len(model) - number)
            model = model[max(0, len(model) - number) :]
        else:
            stream.trim_below((number, 0))
            model = [ms for ms in model if ms >= number]
        stream._check()
        assert ids_of(stream) == model
        assert [entry_id[0] for entry_id, _ in stream.reverse_range()] == model[::-1]
    assert ids_of(stream, (5, 0), (9, 0)) == [ms for ms in model if 5 <= ms <= 9]
    assert [entry_id[0] for entry_id, _ in stream.reverse_range((5, 0), (9, 0))] == [
        ms for ms in reversed(model) if 5 <= ms <= 9
    ]
    assert stream.first_id == ((model[0], 0) if model else MIN_ID)


def test_approximate_trimming_removes_whole_nodes_only():
    stream = stream_of(250, node_max_entries=100)
    assert stream.trim_to_length(100, approximate=True) == 100
    assert stream.length == 150
    assert stream.trim_to_length(149, approximate=True) == 0
    assert stream.trim_below((200, 0), approximate=True) == 0
    assert stream.trim_below((201, 0), approximate=True) == 100
    assert ids_of(stream) == list(range(201, 251))


def test_the_limit_of_a_trim_bounds_the_entries_removed():
    stream = stream_of(9)
    assert stream.trim_to_length(0, approximate=True, limit=5) == 3
    assert stream.trim_below((99, 0), approximate=True, limit=2) == 0


def test_a_node_ends_before_its_listpack_would_reach_the_limit():
    """The bytes are those of the listpack format; tests/conformance/test_streams.py compares the cuts they cause."""
    node = Node((1, 0), (b"f",))
    # Frame 7; count 2, deleted 2, number of fields 2, "f" 3, end of fields 2.
    assert node.listpack_bytes == 18
    node.append((1, 0), (b"f", b"value"))
    # Flags 2, ms 2, seq 2, "value" 7, length 2.
    assert node.listpack_bytes == 33
    node.append((200, 0), (b"g", b"-5000"))
    # Flags 2, ms 199 in 3, seq 2, fields 2, "g" 3, -5000 as 16 bits 4, length 2.
    assert node.listpack_bytes == 51
    node.remove(0)
    assert node.listpack_bytes == 51


def test_an_empty_stream_stays_and_can_lose_its_last_node_late():
    stream = stream_of(3)
    stream.delete((3, 0))
    # 3-0 was the newest of the node, so a trim below it has to look inside, and leaves the node behind.
    assert stream.trim_below((3, 0)) == 2
    assert len(stream.nodes) == 1
    assert stream.first_id == stream.top_id == MIN_ID
    assert stream.first_slot_id == (1, 0)
    stream._check()


def test_a_copy_shares_nothing_that_changes():
    stream = stream_of(3)
    group = stream.groups[b"g"] = Group(MIN_ID)
    consumer = group.create_consumer(b"c", 5)
    group.assign((1, 0), consumer, 10, 1)
    twin = stream.copy()
    twin._check()
    twin.delete((1, 0))
    twin.groups[b"g"].forget((1, 0))
    twin.groups[b"g"].create_consumer(b"d", 5)
    assert ids_of(stream) == [1, 2, 3]
    assert len(group.pel) == len(consumer.pel) == 1
    assert list(group.consumers) == [b"c"]
    stream._check()


def test_an_entry_is_pending_for_one_consumer_at_a_time():
    stream = stream_of(2)
    group = stream.groups[b"g"] = Group(MIN_ID)
    first, second = group.create_consumer(b"a", 0), group.create_consumer(b"b", 0)
    assert group.create_consumer(b"a", 0) is None
    group.assign((1, 0), first, 10, 1)
    group.assign((1, 0), second, 20, 2)
    stream._check()
    assert (len(first.pel), len(second.pel)) == (0, 1)
    assert group.delete_consumer(b"b") == 1
    assert len(group.pel) == 0
    assert group.delete_consumer(b"b") is None
    assert not group.forget((1, 0))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9))))
def test_a_pending_list_is_in_order_of_ids(steps):
    pel, model = PendingList(), {}
    for keep, number in steps:
        if keep:
            model[number, 0] = Pending(None, number)
            pel.set((number, 0), model[number, 0])
        else:
            assert pel.pop((number, 0)) is model.pop((number, 0), None)
    assert list(pel.items()) == sorted(model.items())
    assert pel.ids((3, 0), (6, 0), limit=2) == sorted(i for i in model if (3, 0) <= i <= (6, 0))[:2]
    assert list(pel.items(MAX_ID)) == []


def test_the_lag_is_known_at_the_ends_and_unknown_behind_a_gap():
    stream = stream_of(5)
    group = Group(MIN_ID)
    assert stream.lag(group) == 5
    assert stream.advance(group, (1, 0))
    assert not stream.advance(group, (1, 0))
    assert (group.entries_read, stream.lag(group)) == (1, 4)
    stream.delete((3, 0))
    assert stream.lag(group) is None
    assert stream.advance(group, (4, 0))
    assert group.entries_read == 2
    assert stream.lag(Group((2, 0))) is None
    assert stream.lag(Group((5, 0))) == 0
    assert stream.lag(Group((9, 0))) is None
    assert stream.entries_up_to((9, 0)) == ENTRIES_READ_UNKNOWN
    assert Stream().lag(Group((9, 0))) == 0


def test_radix_tree_nodes_of_small_trees():
    """None: the head. One key: its chain and its end. Two that part in the last byte: chain, branch, two ends."""
    assert radix_tree_nodes([]) == 1
    assert radix_tree_nodes([(1, 1)]) == 2
    assert radix_tree_nodes([(1, 1), (1, 2)]) == 4
    assert radix_tree_nodes([(1, 0), (2, 0)]) == 6
