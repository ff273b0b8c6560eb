"""Every input that once broke something, the seeds of the fuzzer, and a few thousand inputs made of them."""

from __future__ import annotations

import random
import time
import tracemalloc
from pathlib import Path

import pytest

from tests.fuzz.drive import FINDS, HANG_S, Finds, limited
from tests.fuzz.mutate import mutated
from tests.fuzz.targets import TARGETS, Target

# A store, and what it takes to open one; then what a byte of a listpack, compressed at best, becomes.
FIXED_BYTES = 4 << 20
BYTES_PER_BYTE = 4000


@pytest.mark.parametrize("path", sorted(FINDS.rglob("*/*")), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_once_was_found_stays_mended(path: Path) -> None:
    """No error but ours, no hang, and no more memory than the size of the file allows."""
    data = path.read_bytes()
    target = TARGETS[path.parent.name]
    target.run(data)  # what is made once
    tracemalloc.start()
    started_s = time.process_time()
    try:
        target.run(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= FIXED_BYTES + BYTES_PER_BYTE * len(data)
    assert time.process_time() - started_s < HANG_S


def few(target: Target) -> int:
    return {"load": 400, "scan": 100}.get(target.name, 1000)


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_nothing_is_found_among_the_seeds_and_what_chance_makes_of_them(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    target = TARGETS[name]
    finds = Finds(target, tmp_path)
    rng = random.Random(f"{name} in every run")
    seeds = target.seeds()
    with limited():
        for seed in seeds[: min(300, few(target))]:
            finds.run(target.mend(seed))
        for _ in range(few(target)):
            finds.run(mutated(rng, seeds, target))
    print(f"{name}: {finds.executions} executions, {len(finds.places)} finds")
    assert not finds.places


def test_a_find_is_kept_once_and_the_shortest_of_its_kind(tmp_path: Path) -> None:
    def broken(data: bytes) -> None:
        if b"!" in data:
            raise IndexError(data)

    finds = Finds(Target("t", broken, list), tmp_path)
    for data in (b"ab", b"!" * 9, b"a!", b"!!!!"):
        finds.run(data)
    assert finds.executions == 4
    [path] = (tmp_path / "t").iterdir()
    assert path.read_bytes() == b"a!"


def test_what_never_ends_is_a_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(_data: bytes) -> None:
        while True:
            pass

    monkeypatch.setattr("tests.fuzz.drive.HANG_S", 0.05)
    finds = Finds(Target("t", endless, list), tmp_path)
    with limited():
        finds.run(b"x")
    assert [place.split()[0] for place in finds.places] == ["HangError"]
