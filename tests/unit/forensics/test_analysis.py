"""What ``df.aof`` answers, on logs small enough to count by hand."""

import shutil

import numpy as np
import pandas as pd
import pytest
from support.require import need_module
from support.samples import sample

import aofnb
from aofnb.forensics.roles import key_roles, template
from aofnb.resp.encode import encode_command


def words(line):
    return [word.encode() for word in line.split()]


@pytest.fixture
def frame_of(tmp_path):
    def made(*lines, **options):
        pieces = [line.encode() + b"\r\n" if line.startswith("#") else encode_command(words(line)) for line in lines]
        path = tmp_path / "x.aof"
        path.write_bytes(b"".join(pieces))
        return aofnb.read_aof(path, **options)

    return made


@pytest.mark.parametrize(
    ("line", "roles"),
    [
        ("SET k v", [("k", "OW")]),
        ("set k v keepttl", [("k", "RW")]),
        ("DEL a b", [("a", "RM"), ("b", "RM")]),
        ("RENAME a b", [("a", "RM"), ("b", "OW")]),
        ("COPY a b", [("a", "RO"), ("b", "OW")]),
        ("SUNIONSTORE d a b", [("d", "OW"), ("a", "RO"), ("b", "RO")]),
        ("ZUNIONSTORE d 2 a b", [("d", "OW"), ("a", "RO"), ("b", "RO")]),
        ("SMOVE a b m", [("a", "RW"), ("b", "RW")]),
        ("PFMERGE d a", [("d", "RW"), ("a", "RO")]),
        ("MSET a 1 b 2", [("a", "OW"), ("b", "OW")]),
        ("GET k", [("k", "RO")]),
        ("XGROUP CREATE s g 0", [("s", "RW")]),
        ("FLUSHALL", []),
        ("NOSUCH k", []),
        ("ZUNIONSTORE d x", [("d", "OW")]),
    ],
)
def test_roles_of_keys(line, roles):
    assert key_roles(words(line)) == [(key.encode(), role) for key, role in roles]


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("user:42", "user:{n}"),
        ("deadbeef", "deadbeef"),
        ("deadbeef1", "{hex}"),
        ("cafe:babe", "cafe:babe"),
        ("a1b2", "a{n}b{n}"),
        ("", ""),
    ],
)
def test_templates_take_numbers_out_and_leave_words(key, kind):
    assert template(key) == kind


def test_events_have_a_row_for_each_key_in_the_order_of_the_log(frame_of):
    df = frame_of("SET a 1", "MSET b 1 c 2", "PING", "SELECT 2", "RENAME b d", "SET a 2 KEEPTTL", "NOSUCH x")
    events = df.aof.events()
    assert list(zip(events.seq, events.db, events.cmd, events.key, events.role, strict=True)) == [
        (0, 0, "SET", "a", "OW"),
        (1, 0, "MSET", "b", "OW"),
        (1, 0, "MSET", "c", "OW"),
        (4, 2, "RENAME", "b", "RM"),
        (4, 2, "RENAME", "d", "OW"),
        (5, 2, "SET", "a", "RW"),
    ]
    assert events.key.dtype == df.key.dtype


def test_events_of_binary_keys_are_binary(frame_of):
    events = frame_of("MSET a 1 b 2", encoding=None).aof.events()
    assert [bytes(key) for key in events.key] == [b"a", b"b"]


def test_events_of_a_frame_without_rows(frame_of):
    assert len(frame_of("PING").aof.events()) == 0


def test_templates_count_commands_bytes_and_keys(frame_of):
    df = frame_of("SET user:1 aaaa", "SET user:2 b", "DEL user:1", "SET cfg x")
    kinds = df.aof.templates()
    assert kinds.loc["user:{n}", ["commands", "keys", "top_cmd"]].tolist() == [3, 2, "SET"]
    assert kinds.bytes.sum() == df.nbytes.sum()
    assert kinds.index[0] == "user:{n}"
    assert kinds.share.sum() == pytest.approx(1)


def test_hot_keys_by_bytes_and_by_commands(frame_of):
    df = frame_of("SET big " + "x" * 99, "INCR n", "INCR n", "SELECT 1", "INCR n")
    assert df.aof.hot_keys(1).key.tolist() == ["big"]
    top = df.aof.hot_keys(1, by="commands")
    assert (top.key[0], top.db[0], top.commands[0]) == ("n", 0, 2)
    with pytest.raises(ValueError, match="by= is 'bytes' or 'commands'"):
        df.aof.hot_keys(by="size")


def test_big_values_are_the_largest_first(frame_of):
    df = frame_of("SET a x", "SET b " + "x" * 50, "SET c " + "x" * 20)
    assert df.aof.big_values(2).key.tolist() == ["b", "c"]


def test_rates_have_empty_stretches_too(frame_of):
    df = frame_of("#TS:60", "SET a 1", "INCR n", "#TS:240", "SET a 2")
    rate = df.aof.rate("1min")
    assert rate.commands.tolist() == [2, 0, 0, 1]
    assert rate.bytes.sum() == df.nbytes.sum()
    assert df.aof.rate("1min", by="cmd").to_dict("list") == {"INCR": [1, 0, 0, 0], "SET": [1, 0, 0, 1]}


def test_a_log_without_times_has_no_rate_and_says_what_to_do(frame_of):
    with pytest.raises(ValueError, match="aof-timestamp-enabled"):
        frame_of("SET a 1").aof.rate()


def test_ttl_finds_deadlines_wherever_they_are_said(frame_of):
    df = frame_of(
        "#TS:1000",
        "SET a:1 PXAT",
        "SET a:2 v PXAT 1005000",
        "SET b v EXAT 1010",
        "PEXPIREAT a:1 1007500",
        "EXPIREAT b 2000",
        "GETEX b PXAT 1001000",
        "RESTORE c 1002000 payload ABSTTL",
        "RESTORE d 0 payload ABSTTL",
        "SET e PXAT PXAT 1003000",
        "PEXPIREAT a:1 99999999999999999",
    )
    ttl = df.aof.ttl()
    assert ttl.key.tolist() == ["a:2", "b", "a:1", "b", "b", "c", "e"]
    assert ttl.ttl.dt.total_seconds().tolist() == [5, 10, 7.5, 1000, 1, 2, 3]
    assert ttl.template.tolist()[:3] == ["a:{n}", "b", "a:{n}"]


def test_transactions_are_counted_with_and_without_their_end(frame_of):
    df = frame_of("SET a 1", "MULTI", "SELECT 1", "SET a 1", "SET b 1", "EXEC", "MULTI", "SET c 1", on_bad="truncate")
    txns = df.aof.transactions()
    assert txns[["first", "last", "commands", "keys", "complete"]].to_numpy().tolist() == [
        [1, 5, 2, 2, True],
        [6, 7, 1, 1, False],
    ]


def test_rows_written_back_give_the_same_data(frame_of, tmp_path):
    df = frame_of("SELECT 1", "SET a 1", "MULTI", "SET b 2", "SET c 3", "EXEC", "SELECT 0", "SET d 4")
    dest = tmp_path / "out.aof"
    assert df.aof.to_aof(dest) == dest.stat().st_size
    store = aofnb.scan(dest).at("end")
    assert store.run([["SELECT", "1"], ["MGET", "a", "b", "c"], ["SELECT", "0"], ["GET", "d"]])[1::2] == [
        [b"1", b"2", b"3"],
        b"4",
    ]


def test_chosen_rows_go_to_their_database_and_torn_transactions_lose_their_frame(frame_of, tmp_path):
    df = frame_of("SELECT 3", "SET a 1", "MULTI", "SET b 2", "EXEC", "MULTI", "SET c 3", "EXEC")
    chosen = df[df.key.notna() | (df.txn == 1).fillna(False)]
    dest = tmp_path / "out.aof"
    chosen.aof.to_aof(dest)
    back = aofnb.read_aof(dest)
    assert back.cmd.tolist() == ["SELECT", "SET", "MULTI", "SET", "EXEC", "SET"]
    assert back.db.tolist()[1:] == [3] * 5


def test_rows_that_nobody_ran_are_refused(frame_of, tmp_path):
    df = frame_of("MULTI", "SET a 1", on_bad="truncate")
    with pytest.raises(ValueError, match="discarded"):
        df.aof.to_aof(tmp_path / "out.aof")
    assert not (tmp_path / "out.aof").exists()


def test_nothing_is_overwritten(frame_of, tmp_path):
    (tmp_path / "out.aof").write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        frame_of("SET a 1").aof.to_aof(tmp_path / "out.aof")
    assert (tmp_path / "out.aof").read_bytes() == b"precious"


def test_rows_of_a_snapshot_have_arguments_and_bytes():
    df = aofnb.read_aof(sample("01-rdb-base-incr") / "data")
    sets = df[df.cmd == "SET"]
    values = aofnb.read_aof(sample("01-rdb-base-incr") / "data", columns=["arg2"], cmd="SET").arg2
    assert sets.aof.arg(2).tolist() == values.tolist()
    row = df[df.part.str.endswith("rdb") & (df.cmd == "SET")].iloc[0]
    assert row.key.encode() in df.aof.raw(row.name)
    with pytest.raises(ValueError, match="keep the index `seq`"):
        sets.reset_index(drop=True).aof.arg(2)


def test_a_snapshot_written_back_gives_the_same_data(tmp_path):
    df = aofnb.read_aof(sample("01-rdb-base-incr") / "data")
    df.aof.to_aof(tmp_path / "out.aof")
    digests = [
        aofnb.scan(path).at("end").execute("DEBUG", "DIGEST")
        for path in (sample("01-rdb-base-incr") / "data", tmp_path / "out.aof")
    ]
    assert digests[0] == digests[1]


def test_an_answer_says_which_column_it_lacks(frame_of):
    df = frame_of("SET a 1", columns=["part", "offset", "nbytes"])
    with pytest.raises(ValueError, match="this needs the column key and cmd"):
        df.aof.templates()


class TestPictures:
    """Each is drawn from counts, on the Axes it is given."""

    @pytest.fixture(autouse=True)
    def _agg(self):
        matplotlib = need_module("matplotlib")
        matplotlib.use("Agg")
        yield
        from matplotlib import pyplot

        pyplot.close("all")

    @pytest.fixture
    def df(self, frame_of):
        lines = ["#TS:1000"]
        for n in range(50):
            lines += [f"SET user:{n} {'v' * n}", f"INCR hits:{n % 3}", f"PEXPIREAT user:{n} {1_500_000 + n * 1000}"]
        return frame_of(*lines, "#TS:1060", "DEL user:1")

    def test_a_timeline_has_a_line_per_command(self, df):
        ax = df.aof.plot.timeline("user:1")
        assert [tick.get_text() for tick in ax.get_yticklabels()] == ["SET", "PEXPIREAT", "DEL"]
        with pytest.raises(ValueError, match="no row has the key"):
            df.aof.plot.timeline("nobody")

    def test_a_treemap_fills_the_square_in_proportion(self, df):
        ax = df.aof.plot.treemap(top=1)
        areas = sorted(patch.get_width() * patch.get_height() for patch in ax.patches)
        sizes = np.sort(df.aof.templates().bytes.to_numpy())
        assert areas == pytest.approx((sizes / sizes.sum()).tolist())

    def test_a_treemap_of_many_kinds_overlaps_nowhere(self):
        from aofnb.forensics.plots import _squares

        sizes = [400, 300, 100, 90, 50, 30, 20, 9, 1]
        boxes = _squares(sizes)
        assert sum(w * h for _, _, w, h in boxes) == pytest.approx(1)
        for n, (x, y, w, h) in enumerate(boxes):
            assert w * h == pytest.approx(sizes[n] / 1000)
            for x2, y2, w2, h2 in boxes[:n]:
                across = min(x + w, x2 + w2) - max(x, x2)
                up = min(y + h, y2 + h2) - max(y, y2)
                assert across < 1e-9 or up < 1e-9

    def test_deadlines_are_counted(self, df):
        ax = df.aof.plot.ttl(buckets=10)
        assert ax.patches[0].get_data().values.sum() == 50

    def test_a_heatmap_has_a_row_per_kind(self, df):
        ax = df.aof.plot.heatmap(top=2, buckets=5)
        assert [tick.get_text() for tick in ax.get_yticklabels()] == ["user:{n}", "hits:{n}"]
        assert ax.collections[0].get_array().sum() == df.key.notna().sum()


def test_frames_can_be_filtered_before_they_are_asked(frame_of):
    df = frame_of("SET a 1", "SET b 2", "DEL a")
    assert df[df.cmd == "DEL"].aof.events().role.tolist() == ["RM"]
    assert isinstance(df.aof.templates(), pd.DataFrame)


# --- no rows, and rows of several logs -------------------------------------------------------------------


def test_of_no_rows_every_answer_is_empty(frame_of, tmp_path):
    some = frame_of("#TS:1795183200", "MULTI", "SET a 1 PXAT 1795183300000", "EXEC")
    for df in (some.iloc[:0], some[some.key == "nobody"]):
        for answer in (df.aof.events(), df.aof.templates(), df.aof.hot_keys(), df.aof.big_values(), df.aof.ttl()):
            assert len(answer) == 0
        for name in ("events", "templates", "hot_keys", "ttl", "transactions", "rate"):
            assert list(getattr(df.aof, name)()) == list(getattr(some.aof, name)())
        assert len(df.aof.arg(1)) == 0
        assert df.aof.rate(by="cmd").empty
    # None of these rows can set a deadline.
    assert frame_of("PING").aof.ttl().empty
    with pytest.raises(ValueError, match="no row has a time"):
        frame_of("PING").aof.rate()


@pytest.fixture
def shards(tmp_path):
    """Two logs with files of the same name, the same keys, and rows and transactions of the same numbers."""
    base = sample("01-rdb-base-incr") / "data"
    other = tmp_path / "two" / "appendonlydir" / "appendonly.aof"
    shutil.copytree(base, tmp_path / "one")
    other.parent.mkdir(parents=True)
    log = ("SET a 1 PXAT 1795183300000", "MULTI", "MSET a 1 b 2", "EXEC", "MULTI", "DEL a", "EXEC")
    other.write_bytes(b"".join(encode_command(words(line)) for line in log))
    return [tmp_path / "one", tmp_path / "two"]


def test_rows_of_several_logs_are_read_from_the_log_they_are_of(shards, tmp_path):
    frames = [aofnb.read_aof(shard) for shard in shards]
    df = aofnb.read_aof(shards)
    assert df.aof.arg(1).tolist() == [arg for frame in frames for arg in frame.aof.arg(1).tolist()]
    assert df.sample(frac=1).aof.arg(2).sort_index(kind="stable").notna().sum() == df.aof.arg(2).notna().sum()
    events = df.aof.events()
    assert list(events)[:2] == ["shard", "seq"]
    assert events.key.tolist() == [key for frame in frames for key in frame.aof.events().key]
    assert len(df.aof.ttl()) == sum(len(frame.aof.ttl()) for frame in frames)
    last = df.reset_index(drop=True)
    assert last.aof.raw(len(last) - 1) == encode_command([b"EXEC"])
    assert last.aof.raw(len(last) - 2) == encode_command([b"DEL", b"a"])
    df[df["shard"] == "two"].aof.to_aof(tmp_path / "two.aof")
    assert len(aofnb.read_aof(tmp_path / "two.aof")) >= len(frames[1])


def test_what_has_the_same_number_or_name_in_several_logs_is_not_the_same(shards):
    frames = [aofnb.read_aof(shard) for shard in shards]
    df = aofnb.read_aof(shards)
    txns = df.aof.transactions()
    assert len(txns) == sum(len(frame.aof.transactions()) for frame in frames)
    assert txns.loc["two"].equals(frames[1].aof.transactions())
    hot = df.aof.hot_keys(10_000)
    assert hot.commands.sum() == df.key.notna().sum()
    assert len(hot) == sum(len(frame.aof.hot_keys(10_000)) for frame in frames)
    assert list(hot) == ["shard", "db", "key", "commands", "bytes"]
