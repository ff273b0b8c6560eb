"""`check` gives redis-check-aof's verdicts, and tells rightly what a real server does with the same file."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.require import need
from support.samples import public_samples
from support.server import available, redis_server, start_fails
from support.snapshots import RDB, verdicts

import aofnb
from aofnb.aof.check import CheckReport, check, fix
from aofnb.errors import AofnbError

pytestmark = pytest.mark.server

SAMPLES = Path(__file__).parents[1] / "data" / "samples"
SNAPSHOTS = [path.read_bytes() for path in sorted((RDB / "generated").glob("*.rdb")) if path.stat().st_size < 9000]
BASE, INCR = "appendonly.aof.1.base.aof", "appendonly.aof.1.incr.aof"
MANIFEST = f"file {BASE} seq 1 type b\nfile {INCR} seq 1 type i\n"


@pytest.fixture(autouse=True, scope="module")
def _tools() -> None:
    need("redis-check-aof", available("redis-check-aof"))
    need("redis-server", available())


# --- files, whole and damaged ----------------------------------------------------------------------------


def record(*argv: bytes) -> bytes:
    return b"*%d\r\n" % len(argv) + b"".join(b"$%d\r\n%b\r\n" % (len(arg), arg) for arg in argv)


MULTI, EXEC = record(b"MULTI"), record(b"EXEC")
ODD = [
    b"*0\r\n",
    b"*-5\r\n",
    b"*\r\n",
    b"* \r\n",
    b"*+0\r\n",
    b"*1\r\n$-1\r\n",
    b"*1\r\n$\r\n\r\n",
    b"*1\r\n$abc\r\n\r\n",
    b"*1\r\n$4\nPING\r\n",
    b"*1\n$4\r\nPING\r\n",
    b"*1\r\n$4\r\nPINGxx",
    b"*1\r\n$ 4\r\nPING\r\n",
    b"*1x\r\n$4\r\nPING\r\n",
    b"*\t+1\r\n$+04\r\nPING\r\n",
    b"*1\r\n$4" + b" " * 140 + b"\r\nPING\r\n",
    b"*1\r\n$" + b"0" * 119 + b"4\r\nPING\r\n",
    b"*1\r\n$" + b"0" * 140 + b"4\r\nPING\r\n",
    b"*99999999999999999999\r\n",
    b"*1\r\n$9223372036854775807\r\n",
    b"*1\r\n$99999\r\nab\r\n",
    b"*1\0\r\n$4\r\nPING\r\n",
    b"*1\r\n:4\r\nPING\r\n",
    b"\r\n",
    b"\n",
    b"PING\r\n",
    b"\0\0\0\0",
    b"#\r\n",
    b"#TS:17\n",
    b"#TS:x\r\n",
    b"# file\n",
    b"#" + b"x" * 1022 + b"\n",
    b"#" + b"x" * 1023 + b"\n",
    b"#" + b"x" * 1022 + b"*1\r\n$4\r\nPING\r\n",
    b"\n#",
    b"#TS:170",
    record(b"MULTI\0x"),
    record(b"mUlTi", b"x"),
    record(b"exec\0"),
    record(b"eXeC"),
    record(b"MULTIS"),
    MULTI,
    EXEC,
    MULTI + EXEC,
    MULTI + MULTI + EXEC,
    record(b""),
    record(b"DISCARD"),
    b"REDIS",
    b"REDIS0010",
    b"*3\r\n$3\r\nSET\r\n#TS:1\r\n",
]


def whole_log(rng: random.Random) -> list[bytes]:
    """A log in pieces: records and annotations, transactions closed."""
    pieces, now = [record(b"SELECT", b"0")], 1_700_000_000
    for n in range(rng.choice((0, 1, 3, 8, 30, 30, 3000 if rng.random() < 0.1 else 30))):
        value = rng.choice((b"v", b"", b"a\r\nb", b"\r\n", b"*1\r\n", b"$3\r\n", rng.randbytes(rng.randrange(60))))
        if rng.random() < 0.02:
            value = rng.randbytes(5000)
        if rng.random() < 0.1:
            now += rng.randrange(1, 9)
            pieces.append(b"#TS:%d\r\n" % now)
        write = record(b"SET", b"k%d" % n, value)
        if rng.random() < 0.15:
            pieces += [MULTI, write, record(b"RPUSH", b"l", *[value] * rng.randrange(1, 4)), EXEC]
        else:
            pieces.append(write)
    return pieces


def damaged(rng: random.Random) -> bytes:
    """A log with none, one or two things wrong."""
    pieces = whole_log(rng)
    for _ in range(rng.choice((1, 1, 1, 2))):
        way = rng.randrange(10)
        at = rng.randrange(len(pieces) + 1)
        if way <= 2:
            pieces.insert(at, rng.choice(ODD))
        elif way == 3:
            pieces.append(rng.choice(ODD))
        elif way == 4 and pieces:
            del pieces[at % len(pieces)]
        elif way == 5:
            log = bytearray(b"".join(pieces))
            for _ in range(rng.choice((1, 1, 3))):
                if log:
                    log[rng.randrange(len(log))] ^= 1 << rng.randrange(8)
            pieces = [bytes(log)]
        elif way == 6:
            log = b"".join(pieces)
            pieces = [log[: rng.randrange(len(log) + 1)]]
        elif way == 7:
            pieces.append(b"\0" * rng.choice((1, 16, 4096)))
        elif way == 8:
            pieces.insert(at, rng.randbytes(rng.randrange(1, 40)))
        else:
            log = b"".join(pieces)
            start = rng.randrange(len(log) + 1)
            pieces = [log[:start] + log[start + rng.randrange(1, 4) :]]
    log = b"".join(pieces)
    # Longer ones look for memory, and files that look like a manifest are another test's matter.
    return b"x" + log if re.search(rb"(?m)^file|^REDIS", log) else log


def damaged_snapshot(rng: random.Random) -> bytes:
    """A snapshot of a real server with none, one or two things wrong, and mostly with commands behind it."""
    data = bytearray(rng.choice(SNAPSHOTS))
    end = len(data)
    for _ in range(rng.choice((0, 1, 1, 2))):
        way, at = rng.randrange(8), rng.randrange(end)
        if way == 0:
            del data[at:]
        elif way == 1:
            data[at] ^= 1 << rng.randrange(8)
        elif way == 2:
            data[at : at + 16] = bytes(16)
        elif way == 3:
            del data[at : at + rng.randrange(1, 5)]
        elif way == 4:
            data[at:at] = rng.randbytes(rng.randrange(1, 5))
        elif way == 5:
            data[at:at] = data[at : at + rng.randrange(1, 60)]
        elif way == 6:
            # A checksum of 0 is none: then the checks of each value must find what is wrong.
            data[at] ^= 1 << rng.randrange(8)
            data[-8:] = bytes(8)
        else:
            data = data.replace(b"\n", b"\r\n") if rng.random() < 0.5 else data.replace(b"\r\n", b"\n")
        end = max(1, len(data))
        if not data:
            break
    return bytes(data) + (damaged(rng) if rng.random() < 0.6 else b"")


def damaged_parts(rng: random.Random) -> tuple[bytes, bytes]:
    """Base and incr, one of them damaged, or both, or none."""
    base = (
        damaged_snapshot(rng)
        if rng.random() < 0.5
        else (damaged(rng) if rng.random() < 0.5 else b"".join(whole_log(rng)))
    )
    return base, damaged(rng) if rng.random() < 0.7 else b"".join(whole_log(rng))


def make(root: Path, incr: bytes, base: bytes = b"") -> Path:
    log = root / "appendonlydir"
    log.mkdir(parents=True)
    (log / BASE).write_bytes(base)
    (log / INCR).write_bytes(incr)
    (log / "appendonly.aof.manifest").write_text(MANIFEST)
    return root


# --- redis-check-aof -------------------------------------------------------------------------------------


def tool(path: Path, *options: str, answer: str = "") -> tuple[int, str]:
    """Exit code and output of the real tool; a signal counts as 1."""
    done = subprocess.run(
        ["redis-check-aof", *options, str(path)], input=answer.encode(), capture_output=True, timeout=60
    )
    return (done.returncode if done.returncode >= 0 else 1), done.stdout.decode(errors="replace")


def tool_on_all(paths: list[Path]) -> list[tuple[int, str]]:
    """`tool` on many files, started by one shell, which is quicker than by us."""
    script = 'for path do redis-check-aof "$path" 2>&1; printf "\\n== exit %d\\n" $?; done'
    done = subprocess.run(["sh", "-c", script, "sh", *map(str, paths)], capture_output=True, timeout=300, check=True)
    parts = re.split(r"\n== exit (\d+)\n", done.stdout.decode(errors="replace"))
    assert len(parts) == 2 * len(paths) + 1
    return [(min(int(code), 1), output) for output, code in zip(parts[::2], parts[1::2], strict=False)]


def last_analyzed(output: str) -> tuple[int, int] | None:
    """ok_up_to and ok_up_to_line of the file at which the tool ended."""
    found = re.findall(r"ok_up_to=(\d+), ok_up_to_line=(\d+)", output)
    return (int(found[-1][0]), int(found[-1][1])) if found else None


def check_against_tool(path: Path, report: CheckReport, context: object = "") -> None:
    check_against(tool(path), report, context)


def check_against(said: tuple[int, str], report: CheckReport, context: object = "") -> None:
    code, output = said
    assert (0 if report.verdict == "valid" else 1) == code, (context, report, output[-2000:])
    chosen = report.first_bad or report.files[-1]
    of_a_snapshot = chosen.damage is not None and chosen.damage.kind == "snapshot"
    assert of_a_snapshot == ("RDB ERROR DETECTED" in output or "RDB preamble of AOF file is not sane" in output)
    if not of_a_snapshot and (real := last_analyzed(output)) is not None and chosen.verdict != "empty":
        assert (chosen.ok_up_to, chosen.ok_up_to_line) == real, (context, report, output[-2000:])


def written(kind: str, seed: int, folder: Path) -> Path:
    """One damaged log of `kind`; what to give to the tool."""
    rng = random.Random(f"{kind} {seed}")
    path = folder / f"{kind}-{seed}.aof"
    if kind == "parts":
        base, incr = damaged_parts(rng)
        return make(folder / f"{kind}-{seed}", incr, base) / "appendonlydir" / "appendonly.aof.manifest"
    path.write_bytes(damaged(rng) if kind == "single" else damaged_snapshot(rng))
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "count"), [("single", 500), ("snapshot", 300), ("parts", 400)])
def test_more_than_a_thousand_damaged_logs_get_the_verdict_of_the_real_tool(
    kind: str, count: int, tmp_path: Path
) -> None:
    paths = [written(kind, seed, tmp_path) for seed in range(count)]
    with ThreadPoolExecutor(2) as pool:
        half = count // 2
        said = [answer for answers in pool.map(tool_on_all, (paths[:half], paths[half:])) for answer in answers]
    kinds: Counter[str] = Counter()
    for seed, (path, answer) in enumerate(zip(paths, said, strict=True)):
        report = check(path)
        check_against(answer, report, (kind, seed))
        kinds[report.verdict if report.damage is None else report.damage.kind] += 1
    print(f"{count} logs of kind {kind}: {dict(kinds)}")
    assert count // 10 < kinds["valid"] < count * 9 // 10, "a corpus of one kind proves nothing"


@pytest.mark.parametrize("folder", sorted(SAMPLES.glob("*/*/data")), ids=lambda path: "/".join(path.parts[-3:-1]))
def test_every_sample_gets_the_verdict_of_the_real_tool(folder: Path, tmp_path: Path) -> None:
    """But for snapshots that only newer servers write."""
    data = shutil.copytree(folder, tmp_path / "data")
    report = check(data)
    [target] = [*data.rglob("*.manifest")] or [*data.iterdir()]
    if "a snapshot of version" in report.server.reason:
        # As the tool of the server that wrote it would judge it; the one here knows no such version.
        assert [answer[0] for answer in tool_on_all([target])] == [1]
        return
    check_against_tool(target, report)
    assert check(target).verdict == report.verdict
    for file in report.files:
        if file.snapshot:
            check_against_tool(Path(file.path), check(file.path))


def test_every_public_log_gets_the_verdict_of_the_real_tool() -> None:
    """But for snapshots that only newer servers write: these are judged as their own tool judges them."""
    logs = [path for path in sorted(public_samples().rglob("*")) if path.suffix in (".aof", ".manifest")]
    newer = 0
    for path, said in zip(logs, tool_on_all(logs), strict=True):
        report = check(path)
        if "a snapshot of version" in report.server.reason:
            # What is behind the snapshot may be damaged all the same.
            assert said[0] == 1
            assert report.damage is None or report.damage.kind != "snapshot"
            newer += 1
        else:
            assert (0 if report.verdict == "valid" else 1) == said[0], path
    assert newer < len(logs) // 5


# The tool takes these, and what a server makes of them is chance, or depends on a module.
STRICTER = {
    "ascii_double_hex",
    "ascii_double_suffix",
    "ascii_double_us",
    "count_encval",
    "zset_lp_badscore",
    "module_op9",
}


# A record that only newer tools know, in a file of a version that does not have it.
KINDER = {"slot_info"}
# The server was given each as a snapshot by itself: at the front of a log what is behind it must be commands.
NO_LOGS = {"trailing", "v3_garbage_after", "trunc_0"}


def test_every_odd_snapshot_gets_the_verdict_of_the_real_tool(tmp_path: Path) -> None:
    paths = sorted((RDB / "hostile").glob("*.rdb")) + sorted((RDB / "generated").glob("*.rdb"))
    outcomes: Counter[str] = Counter()
    for path, said in zip(paths, tool_on_all(paths), strict=True):
        report = check(path)
        if path.stem in STRICTER:
            assert (said[0], report.verdict) == (0, "damaged")
        elif path.stem in KINDER:
            assert (said[0], report.verdict) == (1, "valid")
            continue
        else:
            check_against(said, report, path.name)
        server = verdicts().get(path.stem, {"server_7_0_15": "loads"})["server_7_0_15"]
        outcomes[report.server.action] += 1
        if report.server.action != "unknown" and path.stem not in NO_LOGS:
            assert report.server.action == server, path.name
    assert outcomes["loads"] > 20
    assert outcomes["refuses"] > 10


@pytest.mark.parametrize(
    ("base", "incr"),
    [
        (b"", b""),
        (record(b"SET", b"a", b"1"), record(b"SET", b"b", b"2")),
        (record(b"SET", b"a", b"1")[:-1], record(b"SET", b"b", b"2")),
        (b"", MULTI + record(b"SET", b"a", b"1")),
        (MULTI, EXEC),
    ],
)
def test_a_log_of_two_files_gets_the_verdict_of_the_real_tool(base: bytes, incr: bytes, tmp_path: Path) -> None:
    root = make(tmp_path / "data", incr, base)
    check_against_tool(root / "appendonlydir" / "appendonly.aof.manifest", check(root))


def test_truncating_to_a_time_cuts_where_the_real_tool_does(tmp_path: Path) -> None:
    folder = SAMPLES / "redis-7.0.15" / "03-timestamps"
    for row in json.loads((folder / "expected.json").read_text())["truncate_to_timestamp"]:
        data = shutil.copytree(folder / "data", tmp_path / str(row["timestamp"]))
        report = check(data, timestamp_s=row["timestamp"])
        assert (0 if report.verdict == "valid" else 1) == row["exit_status"]
        if row["exit_status"] == 0:
            fix(report, truncate=True)
        assert Path(report.files[-1].path).stat().st_size == row["incr_size_after"]


def test_truncating_damaged_files_to_a_time_goes_as_with_the_real_tool(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.aof", tmp_path / "theirs.aof"
    cuts = 0
    for seed in range(150):
        rng = random.Random(seed)
        ours.write_bytes(damaged(rng))
        shutil.copy(ours, theirs)
        when = 1_700_000_000 + rng.randrange(20)
        report = check(ours, timestamp_s=when)
        code, output = tool(theirs, "--truncate-to-timestamp", str(when))
        assert (0 if report.verdict == "valid" else 1) == code, (seed, report, output)
        if report.files[0].truncate_at is not None and MULTI not in ours.read_bytes():
            cuts += 1
            assert report.files[0].truncate_at == theirs.stat().st_size
    assert cuts


# --- servers, real and ours ------------------------------------------------------------------------------

CUT = record(b"SET", b"c", b"3")[:-3]
A, B = record(b"SET", b"a", b"1"), record(b"SET", b"b", b"2")
TAILS = {
    "whole": A + B,
    "cut record": A + CUT,
    "cut record behind an annotation": A + b"#TS:1700000000\r\n" + CUT,
    "only a cut record": CUT,
    "open transaction": A + MULTI + B,
    "open transaction behind an annotation": A + b"#TS:1700000000\r\n" + MULTI + B,
    "record cut in a transaction": A + MULTI + B + CUT,
    "MULTI twice, no EXEC": A + MULTI + B + MULTI + B,
    "half an annotation": A + b"#TS:170",
    "half an annotation in a transaction": A + MULTI + B + b"#TS:170",
    "EXEC alone": A + EXEC + B,
    "no CRs in headers": A + b"*1\n$4\nPING\r\n",
    "count 0": A + b"*0\r\n" + B,
    "zero bytes": A + b"\0" * 64,
    "garbage": A + b"garbage" + B,
}


@pytest.mark.parametrize("name", TAILS)
def test_both_do_what_is_told_of_them(name: str, tmp_path: Path) -> None:
    data = TAILS[name]
    theirs, ours = make(tmp_path / "theirs", data), make(tmp_path / "ours", data)
    report = check(theirs)
    incr = Path("appendonlydir") / INCR
    if report.server.action == "refuses":
        assert start_fails(theirs)[0] != 0
    else:
        with redis_server(theirs):
            pass
    cut = report.server.offset if report.server.action == "cuts" else None
    assert (theirs / incr).read_bytes() == data[:cut]
    before = (ours / incr).read_bytes()
    try:
        with aofnb.open(ours):
            pass
        assert report.aofnb.action in ("loads", "cuts")
    except AofnbError:
        assert report.aofnb.action == "refuses"
    assert (ours / incr).read_bytes() == before[: report.cut_at if report.aofnb.action == "cuts" else None]


def test_a_server_deletes_the_snapshot_in_front_of_a_cut_record(tmp_path: Path) -> None:
    """7.0.15 starts to count at 0 behind the snapshot, so it cuts there; the data are gone at the next start."""
    source = SAMPLES / "redis-7.0.15" / "06-old-single-rdb-preamble"
    end = json.loads((source / "expected.json").read_text())["rdb_preamble_bytes"]
    log = (source / "data" / "appendonly.aof").read_bytes()[:end] + CUT
    (tmp_path / "appendonly.aof").write_bytes(log)
    report = check(tmp_path)
    assert (report.ok_up_to, report.cut_at, report.server.offset) == (end, end, 0)
    with redis_server(tmp_path) as server:
        assert server.execute("DBSIZE") > 0
    assert (tmp_path / "appendonlydir" / "appendonly.aof").stat().st_size == 0


@pytest.mark.parametrize("name", [name for name in TAILS if name not in ("EXEC alone", "no CRs in headers")])
def test_what_was_fixed_loads_everywhere_and_is_valid(name: str, tmp_path: Path) -> None:
    root = make(tmp_path / "data", TAILS[name])
    fix(check(root))
    report = check(root)
    assert (report.verdict, report.server.action, report.aofnb.action) == ("valid", "loads", "loads")
    check_against_tool(root / "appendonlydir" / "appendonly.aof.manifest", report)
    with redis_server(root) as server:
        assert server.execute("DBSIZE") >= 0
    with aofnb.open(root) as store:
        assert store.load_report.files.truncated is None
