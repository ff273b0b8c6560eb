import random
from collections import Counter, defaultdict
from functools import partial

import numpy as np
import pyarrow as pa
import pytest
from support.samples import sample

import aofnb
from aofnb.forensics import rows, waste
from aofnb.forensics.parts import Part
from aofnb.forensics.roles import roles_by_name, template
from aofnb.forensics.travel import blocks
from aofnb.resp.encode import encode_command


def log_of(path, *lines):
    path.write_bytes(b"".join(encode_command(line.encode().split()) for line in lines))
    return aofnb.scan(path)


def nbytes(*lines):
    return sum(len(encode_command(line.encode().split())) for line in lines)


@pytest.mark.parametrize(
    ("lines", "dead"),
    [
        (["SET k 1", "SET k 2"], ["SET k 1"]),
        (["SET k 1", "INCR k"], []),
        (["SET k 1", "INCR k", "DEL k"], ["SET k 1", "INCR k", "DEL k"]),
        (["SET k 1", "SELECT 1", "SET k 1", "FLUSHDB"], ["SET k 1"]),
        (["SET k 1", "SELECT 1", "SET k 1", "FLUSHALL"], ["SET k 1", "SET k 1"]),
        (["SET k 1", "SWAPDB 0 1", "SET k 2"], []),
        (["SET k 1", "SWAPDB 0 1", "SELECT 1", "SET k 2"], ["SET k 1"]),
        (["SET k 1", "SET j 1", "RENAME k j", "DEL j"], ["SET k 1", "SET j 1", "DEL j", "RENAME k j"]),
        (["SADD a 1", "SUNIONSTORE b a a"], []),
        (["MULTI", "SET k 1"], ["MULTI", "SET k 1"]),
    ],
)
@pytest.mark.parametrize("by", ["template", "key", "cmd"])
def test_what_a_later_command_undid_is_dead(lines, dead, by, tmp_path):
    frame = log_of(tmp_path / "x.aof", *lines).waste(by=by)
    sums = frame.attrs["waste"]
    assert sums["bytes"] == frame["bytes"].sum() == nbytes(*lines)
    # Of a command with several keys a share is dead with each.
    most = nbytes(*dead) + (max(map(nbytes, lines)) if "SUNIONSTORE" in lines[-1] else 0)
    least = nbytes(*dead) - ("RENAME" in " ".join(dead))
    assert least <= sums["dead_bytes"] <= most


def test_the_worst_kind_of_key_comes_first(tmp_path):
    log = log_of(tmp_path / "x.aof", "SET a:1 x", *["SET b:2 x"] * 10, "SET b:3 x")
    frame = log.waste()
    assert frame.index.tolist() == ["b:{n}", "a:{n}"]
    assert frame.loc["b:{n}", "dead_bytes"] == 9 * nbytes("SET b:2 x")
    assert log.waste(by="key").index.tolist() == [b"b:2", b"a:1", b"b:3"]
    assert log.waste(by="cmd").index.tolist() == ["SET"]
    assert log.amplification() == pytest.approx(12 / 3)
    assert frame.attrs["waste"]["replay_s"] > 0


def test_an_empty_log_wastes_nothing(tmp_path):
    log = log_of(tmp_path / "x.aof")
    assert (len(log.waste()), log.amplification()) == (0, 1.0)
    with pytest.raises(ValueError, match="by= is 'template', 'key' or 'cmd'"):
        log.waste(by="colour")


def test_a_log_is_read_once_but_for_its_first_rows(tmp_path, monkeypatch):
    log = log_of(tmp_path / "x.aof", *["SET k 1"] * 30)
    opened = []
    monkeypatch.setattr(Part, "open", lambda part, open_=Part.open: opened.append(part.name) or open_(part))
    assert (log.waste().commands.tolist(), len(log)) == ([30], 30)
    assert len(opened) == 2


def one_by_one(log, by):
    """The definition: every row by itself, and every thing that was said to a key kept until the key is buried."""
    columns = ["nbytes", "db", "cmd", "keys", "arg1", "arg2", "status"]
    commands, nbytes, dead = Counter(), Counter(), Counter()
    live = defaultdict(list)  # (database, key) -> [group, bytes]

    def bury(place):
        for group, size in live.pop(place, []):
            dead[group] += size

    for batch in log.batches(columns=columns, encoding=None, on_bad="truncate"):
        for row in batch.to_pylist():
            db, cmd, size, keys = row["db"], row["cmd"], row["nbytes"], row["keys"]
            if row["status"] in ("truncated", "discarded") or not keys:
                group = cmd if by == "cmd" else "(no key)"
                commands[group] += 1
                nbytes[group] += size
                dead[group] += size * (row["status"] in ("truncated", "discarded"))
                if row["status"] == "ok" and cmd in ("FLUSHALL", "FLUSHDB"):
                    for place in [place for place in live if cmd == "FLUSHALL" or place[0] == db]:
                        bury(place)
                if row["status"] == "ok" and cmd == "SWAPDB":
                    a, b = int(row["arg1"]), int(row["arg2"])
                    swapped = {({a: b, b: a}.get(db, db), key): said for (db, key), said in live.items()}
                    live.clear()
                    live.update(swapped)
                continue
            rename = cmd == "RENAME" and keys[0] != keys[1]
            if rename:
                old, new = ((db, key) for key in keys)
                bury(new)
                moved = live.pop(old, [])
                if moved:
                    live[new] = moved
                if by != "cmd":
                    for said in moved:
                        nbytes[said[0]] -= said[1]
                        said[0] = group_of(by, keys[1])
                        nbytes[said[0]] += said[1]
            for number, (key, role) in enumerate(zip(keys, roles_by_name(cmd, len(keys)), strict=True)):
                group = cmd if by == "cmd" else group_of(by, key)
                mine = size // len(keys) + (size % len(keys) if number == 0 else 0)
                commands[group] += by != "cmd" or number == 0
                nbytes[group] += mine
                if role in ("OW", "RM") and cmd != "RENAME":
                    bury((db, key))
                if role in ("RM", "RO"):
                    dead[group] += mine
                else:
                    live[db, key].append([group, mine])
    order = sorted(commands, key=lambda group: (-dead[group], -nbytes[group], str(group)))
    return [(group, commands[group], nbytes[group], dead[group]) for group in order]


def group_of(by, key):
    return key if by == "key" else template(key.decode())


@pytest.mark.parametrize("by", ["template", "key", "cmd"])
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("at_once", [1, 50, 1 << 17])
def test_rows_at_once_add_up_to_what_rows_one_by_one_do(by, seed, at_once, tmp_path, monkeypatch):
    monkeypatch.setattr(waste, "_USES", at_once)
    # With so few keys at most are numbers of dead ones kept.
    monkeypatch.setattr(waste, "_MANY_KEYS", 10)
    monkeypatch.setattr(rows, "scan_file", partial(rows.scan_file, chunk_bytes=512))
    rng = random.Random(seed)

    def key():
        return f"{rng.choice('ab')}:{rng.randrange(9)}"

    shapes = [
        *[lambda: f"SET {key()} {'x' * rng.randrange(30)}"] * 6,
        *[lambda: f"HSET {key()} f v"] * 3,
        *[lambda: f"DEL {' '.join(key() for _ in range(rng.randrange(1, 5)))}"] * 2,
        lambda: f"MSET {key()} 1 {key()} 2",
        lambda: f"SUNIONSTORE {key()} {key()} {key()}",
        lambda: f"COPY {key()} {key()}",
        lambda: f"SMOVE {key()} {key()} m",
        lambda: f"NOSUCHCOMMAND {key()}",
        lambda: f"SELECT {rng.randrange(3)}",
        lambda: "MULTI",
        lambda: "EXEC",
        lambda: rng.choice([f"RENAME {key()} {key()}", "FLUSHDB", "FLUSHALL", "SWAPDB 0 1", "PUBLISH c m"]),
    ]
    log = log_of(tmp_path / "x.aof", *(rng.choice(shapes)() for _ in range(400)), "MULTI", "SET a:1 cut")
    found = log.waste(by=by)
    assert list(found[["commands", "bytes", "dead_bytes"]].itertuples(name=None)) == one_by_one(log, by)
    assert found.dead_bytes.sum() > 0


def test_keys_are_told_apart_by_every_byte_and_their_length():
    keys = [bytes(size) for size in range(300)]
    keys += [b"x" * size + end for size in range(300) for end in (b"y", b"z", b"\xff")]
    keys += [b"user:%d" % number for number in range(20_000)]
    hashed = waste._Hash()
    codes = hashed.of(pa.array(keys, pa.binary()))
    assert len(set(codes.tolist())) == len(keys)
    # In whatever array they are, and alone.
    assert hashed.of(pa.array([b"before", *keys, b"behind"], pa.binary())[1:-1]).tolist() == codes.tolist()
    alone = [hashed.of(pa.array([key], pa.binary())).item() for key in keys[::97]]
    assert alone == codes[::97].tolist()
    assert hashed.of(pa.array([], pa.binary())).tolist() == []


@pytest.mark.parametrize("seed", range(4))
def test_an_index_is_a_dict(seed, monkeypatch):
    monkeypatch.setattr(waste, "_RECENT", 5)
    rng = random.Random(seed)
    index, plain = waste._Index(), {}
    for _ in range(200):
        codes = sorted(rng.sample(range(60), rng.randrange(1, 9)))
        array = np.array(codes, np.uint64)
        chance = rng.random()
        if chance < 0.5:
            numbers, new = index.add(array, 1000 + len(plain))
            places = [place for place, code in enumerate(codes) if code not in plain]
            assert new.tolist() == places
            plain.update(zip((codes[place] for place in places), range(1000 + len(plain), 2000), strict=False))
        elif chance < 0.9:
            numbers = np.array([rng.choice([-1, rng.randrange(1000)]) for _ in codes])
            index.put(array, numbers)
            plain.update(zip(codes, numbers.tolist(), strict=True))
            plain = {code: number for code, number in plain.items() if number >= 0}
        else:
            now = np.array([rng.choice([-1, number // 2]) for number in range(2000)])
            index.renumber(now)
            plain = {code: int(now[number]) for code, number in plain.items() if now[number] >= 0}
        found = index.of(np.arange(60, dtype=np.uint64)).tolist()
        assert found == [plain.get(code, -1) for code in range(60)]


@pytest.mark.parametrize("by", ["template", "key", "cmd"])
def test_databases_that_are_emptied_over_and_over(by, tmp_path, monkeypatch):
    monkeypatch.setattr(waste, "_MANY_KEYS", 40)
    monkeypatch.setattr(waste, "_USES", 30)
    lines = []
    for turn in range(30):
        lines += [f"SELECT {turn % 3}", f"SET a:{turn % 5} {turn}", "SET b:1 x", "SET b:1 y"]
        lines += [["FLUSHDB"], ["FLUSHALL"], [], ["SWAPDB 0 2"], ["RENAME b:1 a:1", "SET b:1 z"]][turn % 5]
    log = log_of(tmp_path / "x.aof", *lines)
    found = log.waste(by=by)
    assert list(found[["commands", "bytes", "dead_bytes"]].itertuples(name=None)) == one_by_one(log, by)


def test_keys_that_differ_in_high_bits_alone_are_told_apart():
    """What a multiplication leaves in its place in every word would cancel out."""
    ends = [bytes([low] * 7 + [high]) for low in (0, 65) for high in (0, 1, 64, 128, 192)]
    keys = [*ends, *(a + b for a in ends for b in ends), *(a + b + c for a in ends for b in ends for c in ends)]
    hashed = waste._Hash()
    codes = hashed.of(pa.array(keys, pa.binary()))
    assert len(np.unique(codes)) == len(keys)
    key, word = int(hashed._by_word), int(codes[0])
    assert int(hashed.mixed(codes[:1], np.zeros(1, np.uint64))[0]) == (word * key >> 64) ^ (word * key & (1 << 64) - 1)


def test_how_long_a_restart_takes_is_measured_on_the_base_as_servers_load_it(monkeypatch):
    """As the commands that would make its keys it takes many times as long."""
    replayed = []

    def noted(log, stop, start=0):
        replayed.append((start, stop))
        return blocks(log, stop, start)

    monkeypatch.setattr("aofnb.forensics.waste.blocks", noted)
    log = aofnb.scan(sample("01-rdb-base-incr") / "data")
    assert log.waste().attrs["waste"]["replay_s"] > 0
    assert replayed == [(log.index().marks[1].seq, len(log))]


@pytest.mark.parametrize("different", [1, 3, 1000])
def test_uses_of_a_key_stay_in_their_order(different):
    keys = np.random.default_rng(different).integers(0, (1 << 64) - 1, different, np.uint64)
    codes = keys[np.random.default_rng(0).integers(0, different, 5000)]
    assert (waste._in_order(codes) == np.argsort(codes, kind="stable")).all()
