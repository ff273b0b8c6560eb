"""Says before the tests which of the optional parts are there, so that a skip later is no surprise."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess

from aofnb import _kernels


def main() -> None:
    print(f"Python {platform.python_version()}, {platform.system()}, {os.cpu_count()} cores")
    print(f"  {_kernels.describe()}")
    for program, what in (
        ("redis-server", "comparison with a real server"),
        ("redis-check-aof", "its check of our files"),
        ("redis-cli", "comparison of printed replies"),
        ("chromium", "tests in a browser"),
    ):
        path = shutil.which(program)
        if path is None:
            required = os.environ.get("AOFNB_REQUIRE_ALL") == "1"
            print(f"  {program:16} not found: {what} " + ("will FAIL (required here)" if required else "is skipped"))
        else:
            version = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30).stdout.split(
                "\n"
            )[0]
            print(f"  {program:16} {version[:60] or 'found'}")


if __name__ == "__main__":
    main()
