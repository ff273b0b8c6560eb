"""Logs with damage of every kind of which the truth is known, and what salvage makes of them.

    python tests/support/damaged_logs.py 100      # 100 MB each; prints a table

Each command has a number of its own, so that what comes back can be held against what was written.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import aofnb
from aofnb.forensics.scan import Record, read_record
from aofnb.resp.encode import encode_command

__all__ = ["KINDS", "Outcome", "measured"]

BLOCK = 4096
Hits = list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a damaged log; MULTI, EXEC and SELECT do not count, but in `cut`.

    `total` commands were written, `hit` of them touched by damage; `kept` came back as they were, `changed` with
    another argument, where a bit or a hole was inside of a value; `phantoms` are what nobody wrote; `cut` is what
    cutting keeps.
    """

    total: int
    hit: int
    kept: int
    changed: int
    phantoms: int
    cut: int
    rows: int
    seconds: float


def _log(nbytes: int, rng: random.Random) -> list[bytes]:
    """Records of about so many bytes: strings, hashes, lists, streams, transactions, times; no value is a log."""
    records = [encode_command([b"SELECT", b"0"])]
    size = number = 0
    while size < nbytes:
        number += 1
        name = b"%08d" % number
        value = rng.randbytes(rng.randrange(40)) + b" some text, as people write it " * rng.randrange(4)
        made = rng.choice(_SHAPES)(name, value)
        records += made
        size += sum(map(len, made))
        if number % 500 == 0:
            records[-1] += b"#TS:%d\r\n" % (1_790_000_000 + number // 500)
        if number % 400 == 0:
            records.append(encode_command([b"SELECT", b"%d" % (number // 400 % 4)]))
    return records


_SHAPES: list[Callable[[bytes, bytes], list[bytes]]] = [
    lambda name, value: [encode_command([b"SET", b"key:" + name, value])],
    lambda name, value: [encode_command([b"HSET", b"user:" + name, b"name", value, b"age", b"42"])],
    lambda name, value: [encode_command([b"RPUSH", b"list:" + name[-2:], value, name])],
    lambda name, value: [encode_command([b"XADD", b"stream", b"%d-1" % int(name), b"f", value])],
    lambda name, value: [
        encode_command([b"MULTI"]),
        encode_command([b"SADD", b"set:" + name[-3:], name, value]),
        encode_command([b"PEXPIREAT", b"key:" + name, b"17900" + name]),
        encode_command([b"EXEC"]),
    ],
]


def _blocks(data: bytearray, rng: random.Random, count: int) -> list[int]:
    """Where blocks begin, none beside another."""
    places = rng.sample(range(2, len(data) // BLOCK - 2, 2), count)
    return sorted(place * BLOCK for place in places)


def _zeroed(data: bytearray, rng: random.Random, count: int) -> Hits:
    places = _blocks(data, rng, count)
    for at in places:
        data[at : at + BLOCK] = bytes(BLOCK)
    return [(at, at + BLOCK) for at in places]


def _dropped(data: bytearray, rng: random.Random, count: int) -> Hits:
    places = _blocks(data, rng, count)
    for at in reversed(places):
        del data[at : at + BLOCK]
    return [(at, at + BLOCK) for at in places]


def _flipped(data: bytearray, rng: random.Random, count: int) -> Hits:
    places = sorted(rng.sample(range(len(data)), count))
    for at in places:
        data[at] ^= 1 << rng.randrange(8)
    return [(at, at + 1) for at in places]


def _header(data: bytearray, rng: random.Random, count: int) -> Hits:
    """Bytes of headers are other ones."""
    hits = []
    for _ in range(count):
        at = data.index(b"\r\n$", rng.randrange(len(data) // 2)) + 2
        data[at] = ord("%")
        hits.append((at, at + 1))
    return sorted(hits)


def _garbage(data: bytearray, rng: random.Random, count: int) -> Hits:
    places = sorted(rng.sample(range(len(data)), count))
    for at in reversed(places):
        data[at:at] = rng.randbytes(rng.randrange(1, 3000))
    return [(at, at + 1) for at in places]


def _tail(data: bytearray, rng: random.Random, count: int) -> Hits:
    """The end is cut inside a command and filled up with zeros."""
    at = len(data) - rng.randrange(3, 200)
    end = len(data)
    data[at:] = bytes(count * BLOCK)
    return [(at, end)]


# Kind of damage; how often for 100 MB; what does it, and says which bytes of the original it took.
KINDS: dict[str, tuple[int, Callable[[bytearray, random.Random, int], Hits]]] = {
    "zeroed 4 KiB blocks": (10, _zeroed),
    "dropped 4 KiB blocks": (10, _dropped),
    "a byte of a header": (1, _header),
    "garbage in between": (10, _garbage),
    "a tail of zeros": (10, _tail),
    "flipped bits": (1000, _flipped),
}


def measured(kind: str, nbytes: int, seed: int, folder: Path, count: int | None = None) -> Outcome:
    """Damage a log of about so many bytes, salvage it, and count."""
    rng = random.Random(seed)
    records = _log(nbytes, rng)
    ends, at = [], 0
    for record in records:
        at += len(record)
        ends.append(at)
    data = bytearray(b"".join(records))
    times, damage = KINDS[kind]
    hits = damage(data, rng, count or times)
    touched = _touched(hits, ends)
    path = folder / "damaged.aof"
    path.write_bytes(data)
    begun = time.process_time()
    log = aofnb.scan(path, cache_dir=False)
    report = log.salvage(folder / "salvaged", dry_run=False, verify=False)
    seconds = time.process_time() - begun
    kept, changed, phantoms = _compared(folder / "salvaged", records, touched)
    total = sum(not _is_framing(record) for record in records)
    hit = sum(not _is_framing(records[row]) for row in touched)
    return Outcome(total, hit, kept, changed, phantoms, report.damage.truncation_keeps, len(records), seconds)


def _touched(hits: Hits, ends: list[int]) -> set[int]:
    touched = set()
    number = 0
    for start, end in hits:
        while ends[number] <= start:
            number += 1
        row = number
        while row < len(ends) and (row == 0 or ends[row - 1] < end):
            touched.add(row)
            row += 1
    return touched


def _compared(salvaged: Path, records: list[bytes], touched: set[int]) -> tuple[int, int, int]:
    """How many came back as they were, with other arguments, and from nowhere; in order. Framing does not count: of
    which transaction an EXEC is cannot be seen, and salvage adds one where damage cut a transaction open.
    """
    wanted = [(row, _argv(record)) for row, record in enumerate(records) if not _is_framing(record)]
    where = 0
    kept = changed = phantoms = 0
    for batch in aofnb.scan(salvaged, cache_dir=False).batches(columns=["args"], encoding=None):
        for argv in batch.column(1).to_pylist():
            if _is_framing(encode_command(argv)):
                continue
            near = range(where, min(where + 400, len(wanted)))
            same = next((place for place in near if wanted[place][1] == argv), None)
            if same is not None:
                kept, where = kept + 1, same + 1
            elif any(wanted[place][0] in touched and _may_be(argv, wanted[place][1]) for place in near[:5]):
                changed += 1
            else:
                phantoms += 1
    return kept, changed, phantoms


def _argv(record: bytes) -> list[bytes]:
    found = read_record(record, 0, eof=True)
    assert isinstance(found, Record)
    return found.argv


def _is_framing(record: bytes) -> bool:
    return record.startswith((b"*1\r\n", b"*2\r\n$6\r\nSELECT"))


def _may_be(argv: list[bytes], written: list[bytes]) -> bool:
    """Whether `argv` is what a bit, or a hole inside of a value, made of `written`: one or two arguments differ."""
    return len(argv) == len(written) and sum(a != b for a, b in zip(argv, written, strict=True)) <= 2


def main(megabytes: int) -> None:
    print("damage                    commands    hit       kept  changed  phantoms cut keeps  MB/s")
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            found = measured(kind, megabytes * 1_000_000, 1, Path(folder))
        print(
            f"{kind:24} {found.total:9,} {found.hit:6,} {found.kept / found.total:10.4%} {found.changed:8} "
            f"{found.phantoms:9} {found.cut / found.rows:9.2%} {megabytes / found.seconds:5.0f}"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
