"""A base that we write holds the records of a base that redis-server 7.0.15 wrote of the same data."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

import aofnb
from aofnb.aof.fs import OsFs
from aofnb.aof.load import read_units

SAMPLES = Path(__file__).parents[1] / "data" / "samples" / "redis-7.0.15"

Argv = tuple[bytes, ...]


def records(path: Path) -> dict[tuple[int, bytes], list[Argv]]:
    """Commands by database and key, in order; containers that have none are compared by their sorted items."""
    found: dict[tuple[int, bytes], list[Argv]] = defaultdict(list)
    units = read_units(OsFs(), str(path))
    db = -1
    for block in units:
        for argv in block.argvs:
            if argv[0] == b"SELECT":
                db = int(argv[1])
                continue
            key = argv[2] if argv[0] in (b"XGROUP", b"FUNCTION") else argv[1]
            found[db, key].append(tuple(argv))
    assert units.tail.kind == "clean"
    return {place: unordered(commands) for place, commands in found.items()}


def unordered(commands: list[Argv]) -> list[Argv]:
    """Batches of a set, hash or sorted set as one command with sorted items, and the batch sizes."""
    name = commands[0][0]
    if name not in (b"SADD", b"HMSET", b"ZADD"):
        return commands
    width = 1 if name == b"SADD" else 2
    batches = [argv[2:] for argv in commands if argv[0] == name]
    items = [batch[i : i + width] for batch in batches for i in range(0, len(batch), width)]
    sizes = tuple(b"%d" % len(batch) for batch in batches)
    return [(name, *sizes), *sorted(items), *(argv for argv in commands if argv[0] != name)]


@pytest.mark.parametrize("sample", ["02-aof-base-incr", "03-timestamps"])
def test_a_rewritten_base_has_the_records_of_the_real_one(sample: str, tmp_path: Path) -> None:
    theirs = next((SAMPLES / sample / "data" / "appendonlydir").glob("*.base.aof"))
    log = tmp_path / "appendonlydir"
    log.mkdir()
    (log / theirs.name).write_bytes(theirs.read_bytes())
    (log / "appendonly.aof.manifest").write_text(f"file {theirs.name} seq 2 type b\n")
    with aofnb.open(tmp_path, aof_timestamp_enabled=True, aof_use_rdb_preamble=False) as store:
        store.bgrewriteaof()
        assert store.stats().last_rewrite_ok
    (ours,) = log.glob("*.base.aof")
    assert ours.name == "appendonly.aof.3.base.aof"
    assert ours.read_bytes().startswith(b"#TS:")
    assert records(ours) == records(theirs)
