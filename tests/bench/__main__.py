"""`make bench`: every benchmark, as one table of ratios. ``--quick`` runs each once, small, to see that it works."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.bench import bench_commands, bench_forensics, bench_log, bench_memory, bench_rewrite, bench_server
from tests.bench.harness import machine, print_table

_SUBJECTS = {
    "commands": bench_commands,
    "forensics": bench_forensics,
    "log": bench_log,
    "rewrite": bench_rewrite,
    "server": bench_server,
    "memory": bench_memory,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small and once")
    parser.add_argument(
        "--megabytes", type=int, default=bench_forensics.MEGABYTES, help="size of the log that is asked (%(default)s)"
    )
    parser.add_argument("subjects", nargs="*", choices=[*_SUBJECTS, []], help="only these")
    args = parser.parse_args()
    print(machine())
    cases = []
    with tempfile.TemporaryDirectory() as directory:
        for name in args.subjects or _SUBJECTS:
            size = {"megabytes": args.megabytes} if name == "forensics" else {}
            cases += _SUBJECTS[name].run(Path(directory) / name, args.quick, **size)
    print_table(cases)
    results = Path("bench-results")
    results.mkdir(exist_ok=True)
    record = {"machine": machine(), "cases": [asdict(case) for case in cases]}
    (results / f"{time.strftime('%Y%m%d-%H%M%S')}.json").write_text(json.dumps(record, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
