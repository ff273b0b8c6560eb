"""Reading on behind damage: what is kept, what is lost, and that nothing is made up."""

import gzip
import random

import pytest
from support.samples import sample

import aofnb
from aofnb.resp.encode import encode_command

SELECT = [b"SELECT", b"0"]


def commands(count, seed=1):
    rng = random.Random(seed)
    out = [SELECT]
    for number in range(count):
        key = b"key:%d" % rng.randrange(50)
        value = rng.randbytes(rng.randrange(1, 40)).translate(None, b"\r\n*$\0")
        out.append(
            rng.choice([[b"SET", key, value], [b"HSET", key + b"h", b"f", b"%d" % number], [b"DEL", key, b"other"]])
        )
    return out


def read(path, data, **options):
    path.write_bytes(data)
    return aofnb.read_aof(path, on_bad="resync", columns=["offset", "db", "txn", "args", "status"], **options)


def argvs(frame):
    return [list(argv) for argv, status in zip(frame.args, frame.status, strict=True) if status != "truncated"]


def kinds(frame):
    return [each["kind"] for each in frame.attrs["aof"]["damage"]]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.aof"


LOG = commands(30)
RECORDS = [encode_command(argv) for argv in LOG]
PLACES = [sum(map(len, RECORDS[:row])) for row in range(len(RECORDS) + 1)]
DATA = b"".join(RECORDS)


def changed(at, new):
    return DATA[:at] + new + DATA[at + len(new) :]


@pytest.mark.parametrize(
    ("data", "lost", "kind"),
    [
        (changed(PLACES[10], b"+"), [], "mended"),  # the star of a command
        (changed(PLACES[10] + 1, b"9"), [], "mended"),  # its count, too large
        (changed(PLACES[11] - 2, b"x"), [], "mended"),  # one byte of its last line end
        (changed(PLACES[10] + 4, b"%"), [10], "command"),  # the $ of its name
        (changed(PLACES[10] + 5, b"9"), [10], "command"),  # the length of its name
        (changed(PLACES[10], bytes(PLACES[13] - PLACES[10])), [10, 11, 12], "zeros"),
        (DATA[: PLACES[10] + 6] + DATA[PLACES[12] + 5 :], [10, 11, 12], "command"),  # a block is missing
        (DATA[: PLACES[10]] + b"\r\n" + DATA[PLACES[10] :], [], "blank"),
        (DATA[: PLACES[10]] + b"what is this\r\n" + DATA[PLACES[10] :], [], "garbage"),
        (DATA + bytes(4096), [], "zeros"),
        (DATA[:-3], [30], "truncated"),
        (DATA + b"#TS:12", [], "annotation"),
        (b"garbage" + DATA, [], "mended"),
        (b"garbage\r\n" + DATA, [], "garbage"),
    ],
)
def test_only_what_was_hit_is_lost(path, data, lost, kind):
    frame = read(path, data)
    assert argvs(frame) == [argv for row, argv in enumerate(LOG) if row not in lost]
    assert kinds(frame) == [kind]


def test_a_count_that_is_too_small_takes_its_command_back(path):
    row = next(row for row, argv in enumerate(LOG) if argv[0] == b"DEL")
    frame = read(path, changed(PLACES[row] + 1, b"2"))
    assert argvs(frame) == LOG
    assert kinds(frame) == ["mended"]


def test_arguments_of_a_command_whose_beginning_is_missing_join_no_other(path):
    log = [[b"SET", b"a", b"1"], [b"SET", b"b", b"2"], [b"SET", b"c", b"3"]]
    records = list(map(encode_command, log))
    frame = read(path, records[0] + records[1][records[1].rindex(b"$") :] + records[2])
    assert argvs(frame) == [log[0], log[2]]


def test_a_command_without_its_count_joins_no_other(path):
    """`*4` and `*6` differ in one bit, but the two more begin with the name of a command that they can be."""
    log = [[b"RPUSH", b"l", b"1", b"2"], [b"INCR", b"n"], [b"SET", b"c", b"3"]]
    records = list(map(encode_command, log))
    frame = read(path, records[0] + records[1][len(b"*2\r\n") :] + records[2])
    assert argvs(frame) == [log[0], log[2]]
    assert kinds(frame) == ["garbage"]


def test_the_database_is_uncertain_until_the_next_select(path):
    log = [[b"SELECT", b"3"], [b"SET", b"a", b"1"], [b"SET", b"b", b"2"], SELECT, [b"SET", b"c", b"3"]]
    records = list(map(encode_command, log))
    frame = read(path, records[0] + b"%" + records[1][1:5] + b"x" + records[1][6:] + b"".join(records[2:]))
    assert list(frame.status) == ["ok", "resynced", "resynced", "ok"]
    assert list(frame.db) == [3, 3, 0, 0]


def test_a_log_inside_a_value_is_not_taken_for_commands(path):
    """Its header is gone, so that all of it looks like commands, but for the line end of the value behind it."""
    nested = encode_command([b"SET", b"backup", DATA])
    for start in (0, 5, 20):
        frame = read(path, DATA + nested[:start] + bytes(40 - start) + nested[40:] + DATA)
        assert argvs(frame) == LOG + LOG
        assert "nested" in kinds(frame)


def test_a_value_that_ends_in_zeros_is_not_searched(path):
    nested = encode_command([b"SET", b"backup", DATA])
    frame = read(path, DATA + nested[:-30] + bytes(30) + DATA)
    assert argvs(frame) == LOG + LOG
    assert kinds(frame) == ["zeros"]


def test_a_transaction_that_damage_cut_open_is_given_as_it_is(path):
    log = [[b"MULTI"], [b"SET", b"a", b"1"], [b"SET", b"b", b"2"], [b"EXEC"], [b"SET", b"c", b"3"]]
    records = list(map(encode_command, log))
    gone = b"".join(records[:2]) + bytes(len(records[2]) + len(records[3])) + records[4]
    frame = read(path, gone)
    assert argvs(frame) == [log[0], log[1], log[4]]
    assert frame.txn.fillna(0).tolist() == [1, 1, 0]
    assert list(frame.status) == ["ok", "ok", "resynced"]
    with aofnb.scan(path, on_bad="resync").at("end") as store:
        assert [store.execute("GET", key) for key in "abc"] == [b"1", None, b"3"]


def test_unknown_commands_and_impossible_ones_are_not_believed_behind_damage(path):
    odd = [encode_command(argv) for argv in ([b"NOSUCH", b"x"], [b"GET"], [b"XGROUP", b"NOSUCH", b"x"])]
    frame = read(path, RECORDS[0] + b"%%%%\r\n" + b"".join(odd) + b"".join(RECORDS[1:]))
    assert argvs(frame) == LOG


def test_lost_crs_and_damage_in_one_file(path):
    log = [argv for argv in LOG if b"\n" not in b"".join(argv)]
    lines = b"".join(map(encode_command, log)).replace(b"\r\n", b"\n")
    at = lines.index(b"*", len(lines) // 2)
    frame = read(path, lines[:at] + b"\0" * 30 + lines[at + 30 :])
    assert len(log) - 4 <= len(argvs(frame)) < len(log)
    assert all(argv in log for argv in argvs(frame))


def test_a_compressed_file_is_read_on_too(tmp_path):
    frame = read(tmp_path / "log.aof.gz", gzip.compress(changed(PLACES[10] + 4, b"%")))
    assert argvs(frame) == LOG[:10] + LOG[11:]


def test_a_mended_command_is_the_same_to_everybody(tmp_path):
    """Its count of arguments is wrong in the file, so what is read there again is not all of it."""
    path = tmp_path / "x.aof"
    before, broken = encode_command([b"SET", b"k", b"1"]), encode_command([b"RPUSH", b"l", b"a", b"b", b"c"])
    path.write_bytes(before * 9 + broken.replace(b"*5", b"*4", 1) + before * 9)
    log = aofnb.scan(path, on_bad="resync")
    assert log.to_pandas(columns=["args"])["args"][9] == [b"RPUSH", b"l", b"a", b"b", b"c"]
    assert log.history("l")["args"].tolist() == [[b"RPUSH", b"l", b"a", b"b", b"c"]]
    assert log.get("l") == log.at("end").execute("LRANGE", "l", 0, -1) == [b"a", b"b", b"c"]


def test_commands_behind_a_broken_snapshot_begin_where_it_ends(tmp_path):
    source = sample("01-rdb-base-incr") / "data" / "appendonlydir"
    base = next(source.glob("*.base.rdb")).read_bytes()
    broken = base[:200] + bytes(20) + base[220:] + DATA
    frame = read(tmp_path / "log.aof", broken)
    assert [argv for argv in argvs(frame) if argv in LOG][-len(LOG) :] == LOG
    assert "snapshot" in kinds(frame)


def test_positions_and_slices_count_what_is_behind_damage(path, monkeypatch):
    monkeypatch.setattr("aofnb.forensics.rows._MARK_ROWS", 5)
    data = changed(PLACES[10] + 4, b"%")
    whole = read(path, data)
    log = aofnb.scan(path, on_bad="resync")
    assert log.index().rows == len(whole)
    for start in range(len(whole)):
        stop = min(start + 3, len(whole))
        part = log.to_pandas(start=start, stop=stop, columns=["offset", "db", "txn", "args", "status"])
        assert argvs(part) == argvs(whole)[start : start + 3]
        assert list(part.status) == list(whole.status)[start : start + 3]
        assert log.position(start).offset == whole.offset[start]


def test_rows_behind_damage_have_no_number_in_a_log_that_stops_there(path):
    path.write_bytes(changed(PLACES[10] + 4, b"%"))
    with pytest.raises(ValueError, match="on_bad='resync'"):
        aofnb.scan(path).to_pandas(start=3, on_bad="resync")


@pytest.mark.parametrize("density", [10, 200])
def test_zeroed_blocks_cost_what_they_hit(path, density):
    """10 blocks of 4 KiB in 100 MB, as dense in a smaller file: 99.9 % stay, and nothing is made up."""
    rng = random.Random(density)
    blocks = 2
    size = 100_000_000 // 10 * blocks * 10 // density
    log, have = [SELECT], 0
    value = b"v" * 90
    while have < size:
        log.append([b"SET", b"key:%d" % rng.randrange(10_000), value])
        have += 120
    data = bytearray(b"".join(map(encode_command, log)))
    for _ in range(blocks):
        at = rng.randrange(len(data) - 4096)
        data[at : at + 4096] = bytes(4096)
    path.write_bytes(data)
    kept = 0
    written = set(map(tuple, log))
    for batch in aofnb.scan(path, on_bad="resync").batches(columns=["args"]):
        got = list(map(tuple, batch.column(1).to_pylist()))
        assert written.issuperset(got)
        kept += len(got)
    share = 4096 * density / 100_000_000
    assert kept / len(log) >= 1 - 1.2 * share - 4 * blocks / len(log)
    if density == 10:
        assert kept / len(log) >= 0.999
