"""Fuzz one reader: ``python -m tests.fuzz aof --seconds 600``.

With atheris installed (``pip install atheris``) coverage guides what is tried next, without it chance alone does. What
is found is kept in tests/data/fuzz, where tests/fuzz/test_finds.py replays it; it is a bug until that test passes.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

NAMES = ("aof", "load", "scan", "rdb", "dump", "manifest")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.split("\n", 1)[0])
    parser.add_argument("target", choices=NAMES)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plain", action="store_true", help="without atheris, even if it is installed")
    parser.add_argument("--finds", type=Path, help="folder for finds; tests/data/fuzz if not given")
    args = parser.parse_args()
    try:
        if args.plain:
            raise ModuleNotFoundError
        import atheris
    except ModuleNotFoundError:
        return plain(args)
    return guided(args, atheris)


def report(args: argparse.Namespace, finds, started: float) -> int:
    seconds = time.monotonic() - started
    print(
        f"{args.target}: {finds.executions} executions in {seconds:.0f} s ({finds.executions / seconds:.0f}/s), "
        f"{len(finds.places)} finds"
    )
    sys.stdout.flush()
    return 1 if finds.places else 0


def plain(args: argparse.Namespace) -> int:
    """Chance alone."""
    from tests.fuzz.drive import FINDS, Finds, limited
    from tests.fuzz.mutate import mutated
    from tests.fuzz.targets import TARGETS

    target = TARGETS[args.target]
    finds = Finds(target, args.finds or FINDS)
    rng = random.Random(args.seed)
    seeds = target.seeds()
    started = time.monotonic()
    with limited():
        for seed in seeds:
            finds.run(target.mend(seed))
        while time.monotonic() - started < args.seconds:
            finds.run(mutated(rng, seeds, target))
    return report(args, finds, started)


def guided(args: argparse.Namespace, atheris) -> int:
    """Coverage says which inputs are worth going on from; half of the changes are ours, half are the fuzzer's."""
    with atheris.instrument_imports(include=["aofnb"]):
        from tests.fuzz.targets import TARGETS
    from tests.fuzz.drive import FINDS, Finds, limited
    from tests.fuzz.mutate import mutated

    target = TARGETS[args.target]
    finds = Finds(target, args.finds or FINDS)
    seeds = target.seeds()
    started = time.monotonic()

    def mutate(data: bytes, longest: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if rng.random() < 0.5:
            return mutated(rng, [data, *rng.sample(seeds, 3)] if rng.random() < 0.5 else [data], target, longest)
        return target.mend(atheris.Mutate(data, longest))[:longest]

    def one(data: bytes) -> None:
        finds.run(data)
        if time.monotonic() - started > args.seconds:
            code = report(args, finds, started)
            os._exit(code)  # the fuzzer has no other way to be stopped from here

    with tempfile.TemporaryDirectory() as corpus, limited():
        for number, seed in enumerate(seeds):
            (Path(corpus) / str(number)).write_bytes(target.mend(seed))
        atheris.Setup(
            [sys.argv[0], corpus, f"-max_total_time={args.seconds}", "-timeout=100", "-rss_limit_mb=0",
             "-max_len=32768", f"-seed={args.seed}", "-print_final_stats=0", "-verbosity=0"],
            one,
            custom_mutator=mutate,
        )  # fmt: skip
        atheris.Fuzz()
    return report(args, finds, started)


if __name__ == "__main__":
    sys.exit(main())
