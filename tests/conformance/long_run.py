"""Run random commands on us and on redis-server for as long as you like: python -m tests.conformance.long_run.

    python -m tests.conformance.long_run --commands 1000000 --seed 7

Ends with status 1 if anything was not the same: a reply, the data, a record of the log.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def main() -> int:
    from support.long_runs import Report, run, told

    parser = argparse.ArgumentParser(prog="python -m tests.conformance.long_run", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--commands", type=int, default=100_000, help="how many in all")
    parser.add_argument("--seed", type=int, default=1, help="of the first leg; each leg takes the next")
    parser.add_argument("--leg", type=int, default=50_000, help="how many before both begin with an empty directory")
    parser.add_argument("--deep", action="store_true", help="compare encodings after each command: finds what began it")
    args = parser.parse_args()
    os.nice(10)

    def progress(report: Report) -> None:
        print(f"  {report.commands}, {sum(report.kinds.values())} differences", end="\r", file=sys.stderr, flush=True)

    status, done, seed = 0, 0, args.seed
    while done < args.commands:
        with tempfile.TemporaryDirectory() as directory:
            report = run(Path(directory), seed, min(args.leg, args.commands - done), progress, deep=args.deep)
        done += min(args.leg, args.commands - done)
        print(
            f"seed {seed}: {'; '.join(told(report)) if not report.differences else chr(10).join(told(report))}",
            flush=True,
        )
        status |= bool(report.differences)
        seed += 1
    return status


if __name__ == "__main__":
    sys.exit(main())
