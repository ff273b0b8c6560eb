"""The scanner against what was written, for any log and any cut of it."""

import io
from itertools import pairwise

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from aofnb.forensics.columns import RowBuilder, Selection
from aofnb.forensics.scan import Damage, scan_file
from aofnb.resp.encode import encode_command

# Arguments made of what logs are made of, so that every kind of value looks like a log somewhere.
PIECES = [b"\r\n", b"\r", b"\n", b"*1", b"$3", b"$0\r\n", b"*2\r\n$3\r\n", b"#TS:1\r\n", b"SET", b"\0", b"\xff", b"12"]
pieces = st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=5)), max_size=6).map(b"".join)
argvs = st.lists(pieces, min_size=1, max_size=5)
logs_as_values = st.lists(argvs, max_size=3).map(lambda commands: b"".join(map(encode_command, commands)))
commands = st.lists(
    st.one_of(argvs, st.tuples(st.just(b"SET"), pieces, logs_as_values).map(list), st.integers(0, 9999)), max_size=8
)
chunks = st.sampled_from([1, 7, 30, 1 << 20])


def scan(data, chunk_bytes):
    argvs, spans, ts, damage = [], [], [], None
    for found in scan_file(io.BytesIO(data), chunk_bytes=chunk_bytes):
        if isinstance(found, Damage):
            damage = found
        else:
            ts += [(row + len(argvs), second) for row, second in found.ts]
            argvs += [found.argv(row) for row in range(len(found))]
            spans += zip(found.offset.tolist(), (found.offset + found.nbytes).tolist())
    return argvs, spans, ts, damage


def written(log):
    """The bytes of a log in which an int stands for an annotation, and where each piece ends."""
    data, ends = b"", [0]
    for each in log:
        data += b"#TS:%d\r\n" % each if isinstance(each, int) else encode_command(each)
        ends.append(len(data))
    return data, ends


@settings(deadline=None)
@given(commands, st.data(), chunks)
def test_every_prefix_of_a_log_is_read_as_it_was_written(log, data, chunk_bytes):
    content, ends = written(log)
    cut = data.draw(st.integers(0, len(content)))
    whole = sum(end <= cut for end in ends) - 1
    argvs, spans, ts, damage = scan(content[:cut], chunk_bytes)
    before = log[:whole]
    assert argvs == [each for each in before if not isinstance(each, int)]
    assert spans == [place for each, place in zip(before, pairwise(ends)) if not isinstance(each, int)]
    assert [second for _, second in ts] == [each for each in before if isinstance(each, int)]
    if cut == ends[whole]:
        assert damage is None
    else:
        assert damage.kind == ("annotation" if isinstance(log[whole], int) else "truncated")
        assert (damage.offset, damage.offset + damage.nbytes) == (ends[whole], cut)


@settings(deadline=None)
@given(st.binary(max_size=200) | st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join), chunks)
def test_any_bytes_are_commands_then_at_most_one_damage_and_nothing_is_left_out(content, chunk_bytes):
    argvs, spans, _, damage = scan(content, chunk_bytes)
    places = [*spans, *([(damage.offset, damage.offset + damage.nbytes)] if damage else [])]
    assert all(a_end <= b_start for (_, a_end), (b_start, _) in pairwise(places))
    # Only annotations lie between.
    edges = [0, *(edge for place in places for edge in place), len(content)]
    for begin, end in zip(edges[::2], edges[1::2]):
        assert all(line.startswith(b"#") for line in content[begin:end].splitlines() if begin == 0 or line)
    assert len(argvs) == len(spans)


lines = st.binary(max_size=8).map(lambda value: value.translate(None, b"\r*$#").replace(b"\n", b"\r\n"))


@settings(deadline=None)
@given(st.lists(st.lists(lines, min_size=1, max_size=4), max_size=5), chunks)
def test_lost_crs_are_put_back(log, chunk_bytes):
    """Where every line end of a value was CRLF, and none of its lines looks like a header."""
    content = b"".join(map(encode_command, log)).replace(b"\r\n", b"\n")
    argvs, spans, _, damage = scan(content, chunk_bytes)
    assert (argvs, damage) == (log, None)
    assert [end for _, end in spans][-1:] == [len(content)][: len(log)]


@settings(deadline=None)
@given(commands, chunks)
def test_columns_do_not_depend_on_how_the_file_was_cut_into_chunks(log, chunk_bytes):
    content, _ = written(log)
    selection = Selection.of(["offset", "nbytes", "ts", "db", "cmd", "key", "nkeys", "argc", "args", "arg1", "status"])

    def table(chunk_bytes):
        builder = RowBuilder(["x.aof"], selection)
        rows = [builder.batch(found) for found in scan_file(io.BytesIO(content), chunk_bytes=chunk_bytes)]
        batches = [batch for each in rows for batch in (each.settled, each.open) if batch is not None]
        return pa.Table.from_batches(batches, schema=builder.schema).to_pylist()

    rows = table(chunk_bytes)
    assert rows == table(1 << 20)
    assert [row["args"] for row in rows] == [each for each in log if not isinstance(each, int)]
