"""`redis.Redis` on a store: what the transcripts of `tests/conformance/test_redis_py.py` leave open."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("use", ["aofnb.Redis", "aofnb.connect", "aofnb.open(None).redis()"])
def test_without_redis_py_the_error_names_the_extra(use):
    # In a process of its own, since a module that is imported twice is two modules.
    code = f"import sys; sys.modules['redis'] = None; import aofnb; {use}"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "pip install 'aofnb[redis]'" in run.stderr.splitlines()[-1]
