import io
import itertools

import pytest
from support.samples import known_records, public_samples, sample

from aofnb.errors import AofFormatError, AofTruncatedError
from aofnb.forensics.scan import Damage, Incomplete, Records, read_record, scan_file
from aofnb.resp.encode import encode_command

SAMPLES = [
    ("redis-7.0.15", "01-rdb-base-incr"),
    ("redis-7.0.15", "02-aof-base-incr"),
    ("redis-7.0.15", "03-timestamps"),
    ("redis-7.0.15", "04-truncated-mid-command"),
    ("redis-7.0.15", "04b-truncated-inside-multi"),
    ("redis-7.0.15", "04c-multi-without-exec"),
    ("redis-7.0.15", "05-garbage-middle"),
    ("redis-7.0.15", "05b-zero-padded-tail"),
    ("redis-7.0.15", "06-old-single-rdb-preamble"),
    ("redis-7.0.15", "07-old-single-plain"),
    ("redis-7.0.15", "08-manifest-history-two-incr-quoted"),
    ("redis-7.0.15", "10-fresh-empty"),
    ("redis-6.2.16", "single-plain"),
    ("redis-6.2.16", "single-rdb-preamble"),
    ("redis-3.2.13", "single-plain"),
]
LF_DAMAGED = [
    "term-frequency/appendonly-late.aof",
    "term-frequency/appendonly-early.aof",
    "chrono-matchmaking/appendonlydir/appendonly.aof.1.incr.aof",
    "bullmq-auction/appendonly.aof.1.incr.aof",
    "redis-om-lf/appendonly.aof",
    "rate-limiter/appendonlydir/appendonly.aof.1.incr.aof",
    "ru301/primary/appendonlydir/primary.aof.3.incr.aof",
    "clones/gokv.aof",
]


def scan(data, **options):
    """(offset, end, argv) of each command, (row, ts) of each annotation, the damage."""
    commands, ts, damage = [], [], None
    for found in scan_file(io.BytesIO(data), **options):
        assert damage is None, "nothing may follow the damage"
        if isinstance(found, Damage):
            damage = found
            continue
        ts += [(row + len(commands), second) for row, second in found.ts]
        for row in range(len(found)):
            offset = int(found.offset[row])
            commands.append((offset, offset + int(found.nbytes[row]), found.argv(row)))
    return commands, ts, damage


def lf_rows(data):
    return [bool(lf) for found in scan_file(io.BytesIO(data)) if isinstance(found, Records) for lf in found.lf]


@pytest.mark.parametrize(("server", "name"), SAMPLES)
@pytest.mark.parametrize("chunk_bytes", [1, 100, 1 << 20])
def test_samples_are_read_as_an_independent_parser_reads_them(server, name, chunk_bytes):
    folder = sample(name, server)
    for path, known in known_records(folder).items():
        data = (folder / "data" / path).read_bytes()
        base = known.resp_starts_at
        commands, ts, damage = scan(data[base:], base=base, chunk_bytes=chunk_bytes)
        assert commands == known.commands
        assert [f"#TS:{second}" for _, second in ts] == [text for _, text in known.annotations]
        assert (None if damage is None else damage.offset) == known.error_at


def test_the_rest_of_a_damaged_file_is_one_piece_up_to_its_end():
    data = (sample("05-garbage-middle") / "data/appendonlydir/appendonly.aof.1.incr.aof").read_bytes()
    _, _, damage = scan(data, chunk_bytes=1)
    assert (damage.kind, damage.offset + damage.nbytes) == ("format", len(data))


def test_a_cut_command_shows_what_is_whole_of_it():
    data = encode_command([b"HSET", b"key", b"field", b"value"])
    _, _, damage = scan(data[:-9])
    assert (damage.kind, damage.argc, damage.argv) == ("truncated", 4, [b"HSET", b"key", b"field"])


@pytest.mark.parametrize(
    ("tail", "kind"),
    [
        (b"\0\0\0\0", "format"),
        (b"\r\n", "format"),
        (b"SET a b\r\n", "format"),
        (b"*0\r\n", "format"),
        (b"*-1\r\n", "format"),
        (b"*x\r\n", "format"),
        (b"*1\r\n$-1\r\n", "format"),
        (b"*1\r\n+OK\r\n", "format"),
        (b"*1\r\n$4\r\nPINGxx", "format"),
        (b"*1\r\n$4\r\nPIN\r\n", "format"),
        (b"*1\r\n$4\nPING\r\n", "format"),
        (b"*" + b"1" * 1023, "format"),
        (b"#" + b"x" * 1022 + b"\r\n", "format"),
        (b"*", "truncated"),
        (b"*1", "truncated"),
        (b"*1\r", "truncated"),
        (b"*1\r\n", "truncated"),
        (b"*1\r\n$", "truncated"),
        (b"*1\r\n$4\r\n", "truncated"),
        (b"*1\r\n$4\r\nPI", "truncated"),
        (b"*1\r\n$4\r\nPING", "truncated"),
        (b"*1\r\n$4\r\nPING\r", "truncated"),
        (b"*2000000000\r\n$4\r\nPING\r\n", "truncated"),
        (b"*1\r\n$1000000000000\r\nPING\r\n", "truncated"),
        (b"#TS:17951", "annotation"),
    ],
)
def test_what_is_no_command_is_told_from_what_is_cut(tail, kind):
    before = encode_command([b"SET", b"a", b"b"])
    commands, _, damage = scan(before + tail)
    assert [argv for *_, argv in commands] == [[b"SET", b"a", b"b"]]
    assert (damage.kind, damage.offset, damage.nbytes) == (kind, len(before), len(tail))


def test_errors_have_the_place_and_the_remedy():
    truncated = Damage("truncated", 7, 3, "the last command is cut short").error("x.aof")
    assert isinstance(truncated, AofTruncatedError)
    assert (truncated.file, truncated.offset) == ("x.aof", 7)
    assert "on_bad='truncate'" in str(truncated)
    assert isinstance(Damage("format", 7, 3, "no").error("x.aof"), AofFormatError)


def test_an_annotation_may_end_in_lf_alone_and_say_anything():
    command = encode_command([b"PING"])
    commands, ts, damage = scan(b"#TS:5\n" + command + b"#HDR:v1\r\n#TS:6\r\n" + command + b"#TS:x\r\n#\r\n" + command)
    assert (len(commands), ts, damage) == (3, [(0, 5), (1, 6)], None)


def test_values_that_are_logs_are_values():
    inner = encode_command([b"SET", b"a", b"b"]) * 5
    outer = [
        [b"SET", b"log", inner],
        [b"SET", b"cut", inner[:-3]],
        [b"MSET", b"a", inner, b"\r\n", b"\r", b"*1", b"\n"],
    ]
    commands, _, damage = scan(b"".join(map(encode_command, outer)))
    assert ([argv for *_, argv in commands], damage) == (outer, None)


def test_arguments_may_be_empty_and_names_too():
    argvs = [[b""], [b"SET", b"", b""], [b"", b""]]
    commands, _, _ = scan(b"".join(map(encode_command, argvs)))
    assert [argv for *_, argv in commands] == argvs


def test_a_command_longer_than_many_chunks_is_one_row():
    argv = [b"SET", b"key", b"\r\n$3\r\n" * 10_000]
    data = encode_command(argv)
    commands, _, _ = scan(data * 2, chunk_bytes=64)
    assert commands == [(0, len(data), argv), (len(data), 2 * len(data), argv)]


def test_reading_stops_at_the_size_that_was_asked_for():
    data = encode_command([b"PING"])
    commands, _, damage = scan(data * 3, size=2 * len(data))
    assert (len(commands), damage) == (2, None)


def test_lost_crs_are_put_back_where_the_lengths_say_so():
    argvs = [
        [b"MULTI"],
        [b"SET", b"plain", b"value"],
        [b"SET", b"crlf", b"a\r\nb\r\n"],
        [b"SET", b"lf stays", b"a\nb\n"],
        [b"SET", b"script", b"\r\n\r\n"],
        [b"SET", b"empty", b""],
        [b"EXEC"],
    ]
    data = b"".join(map(encode_command, argvs)).replace(b"\r\n", b"\n")
    commands, _, damage = scan(data)
    assert ([argv for *_, argv in commands], damage) == (argvs, None)
    assert commands[-1][1] == len(data)
    assert lf_rows(data) == [True] * len(argvs)


def test_lost_crs_are_not_guessed():
    """Of two line ends in the value one was LF before: nobody can say which."""
    data = encode_command([b"SET", b"k", b"a\r\nb\nc"]).replace(b"\r\n", b"\n") + encode_command([b"PING"])
    commands, _, damage = scan(data)
    assert (commands, damage.kind, damage.offset) == ([], "format", 0)


def test_rows_with_and_without_crs_may_alternate():
    good = encode_command([b"SET", b"k", b"v"])
    data = (good + good.replace(b"\r\n", b"\n")) * 300
    commands, _, damage = scan(data, chunk_bytes=1000)
    assert (len(commands), damage) == (600, None)
    assert lf_rows(data) == [False, True] * 300


@pytest.mark.parametrize("name", LF_DAMAGED)
def test_public_logs_that_git_damaged_are_read_whole(name):
    data = (public_samples() / name).read_bytes()
    commands, _, damage = scan(data)
    assert damage is None
    assert b"\r\n" not in data
    assert all(lf_rows(data))
    # Every byte is accounted for: the commands lie end to end.
    assert [0, *(end for _, end, _ in commands)] == [*(offset for offset, *_ in commands), len(data)]
    # What was put back makes a log that has the same commands.
    repaired = b"".join(encode_command(argv) for *_, argv in commands)
    assert [argv for *_, argv in scan(repaired)[0]] == [argv for *_, argv in commands]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("clones/git-lfs-pointer.aof", "git lfs pull"),
        ("clones/timestamped-text.aof", "where a command must begin"),
        ("clones/godis-blank-lines.aof", "where a command must begin"),
        ("preamble-only/appendonly.aof", "snapshot"),
    ],
)
def test_what_is_no_log_is_refused_saying_what_it_is(name, says):
    _, _, damage = scan((public_samples() / name).read_bytes())
    assert says in str(damage.error(name))


def test_a_record_is_incomplete_only_if_more_can_come():
    data = encode_command([b"SET", b"k", b"v"])
    for cut in range(1, len(data)):
        assert isinstance(read_record(data[:cut], 0, eof=False), Incomplete)
    assert read_record(data, 0, eof=False).end == len(data)


def test_memory_is_bounded_by_the_chunk():
    """No table spans more than what was read at once and what was left over."""
    data = encode_command([b"SET", b"key", b"v" * 50]) * 2000
    sizes = [len(found.data) for found in scan_file(io.BytesIO(data), chunk_bytes=4096)]
    assert max(sizes) <= 2 * 4096
    assert len(sizes) >= len(data) // (2 * 4096)


@pytest.mark.parametrize("period", [2, 3, 7])
def test_annotations_may_stand_anywhere_between_commands(period):
    command = encode_command([b"PING"])
    pieces = [(b"#TS:%d\r\n" % i if i % period == 0 else b"") + command for i in range(50)]
    _, ts, _ = scan(b"".join(pieces), chunk_bytes=40)
    assert ts == [(i, i) for i in itertools.takewhile(lambda i: i < 50, range(0, 50, period))]


def test_rows_that_frame_transactions_are_those_with_their_names():
    names = [b"MULTI", b"exec", b"Multi", b"EXEX", b"multj", b"", b"E", b"PING", b"RESET", b"m\x15LTI", b"EXEC"]
    argvs = [[name] for name in names] + [[b"EXEC", b"x"], [b"MULTI"]]
    rows, are_multi = Records.of(argvs, range(len(argvs)), [1] * len(argvs)).framing()
    assert rows.tolist() == [0, 1, 2, 10, 12]
    assert are_multi.tolist() == [True, False, True, False, True]
