"""aofnb/aof/lock.py: one writer per directory."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import pytest
from support.faults import FaultFs

from aofnb.aof import lock as lock_module
from aofnb.aof.fs import OsFs
from aofnb.aof.lock import LOCK_NAME, DirectoryLock
from aofnb.errors import AofLockedError

HOLD = """
import sys
from aofnb.aof.fs import OsFs
from aofnb.aof.lock import DirectoryLock
lock = DirectoryLock(OsFs(), sys.argv[1])
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_store_of_this_process_is_refused_until_the_first_releases(tmp_path):
    first, second = DirectoryLock(OsFs(), str(tmp_path)), DirectoryLock(OsFs(), str(tmp_path))
    first.acquire()
    assert first.enforced
    with pytest.raises(AofLockedError, match=f"process {os.getpid()}, which is this process.*readonly=True"):
        second.acquire()
    first.release()
    second.acquire()
    assert second.enforced
    second.release()
    second.release()


def test_a_killed_process_leaves_no_lock(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        mine = DirectoryLock(OsFs(), str(tmp_path))
        with pytest.raises(AofLockedError, match=rf"process {holder.pid} \(.*\), since 2"):
            mine.acquire()
        holder.kill()
        holder.wait()
        mine.acquire()
        assert mine.enforced
        mine.release()


def test_an_unreadable_description_is_no_failure(tmp_path):
    first = DirectoryLock(OsFs(), str(tmp_path))
    first.acquire()
    (tmp_path / LOCK_NAME).write_bytes(b"\xff{")
    with pytest.raises(AofLockedError, match="another process writes"):
        DirectoryLock(OsFs(), str(tmp_path)).acquire()
    first.release()


def test_where_there_are_no_file_locks_it_says_so(tmp_path, monkeypatch):
    def unsupported(_fd: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(lock_module, "_lock", unsupported)
    lock = DirectoryLock(OsFs(), str(tmp_path))
    with pytest.warns(RuntimeWarning, match="no file locks here"):
        lock.acquire()
    assert not lock.enforced
    lock.release()


def test_a_directory_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(AofLockedError, match=r"cannot be made.*readonly=True") as caught:
        DirectoryLock(OsFs(), str(tmp_path / "absent")).acquire()
    assert caught.value.file == str(tmp_path / "absent" / LOCK_NAME)


def test_a_simulated_file_system_has_no_other_users(tmp_path):
    lock = DirectoryLock(FaultFs(), str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lock.acquire()
    assert list(tmp_path.iterdir()) == []
    lock.release()


def test_a_child_that_outlives_its_killed_parent_for_a_moment_is_waited_for(tmp_path):
    """Between fork and exec a process has a copy of the lock's open file."""
    code = (
        "import os, sys, time\n"
        "from aofnb.aof.fs import OsFs\n"
        "from aofnb.aof.lock import DirectoryLock\n"
        "lock = DirectoryLock(OsFs(), sys.argv[1])\n"
        "lock.acquire()\n"
        "if os.fork() == 0:\n"
        "    time.sleep(0.3)\n"
        "    os._exit(0)\n"
        "print('locked', flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"locked\n"
    holder.wait()
    lock = DirectoryLock(OsFs(), str(tmp_path))
    lock.acquire()
    assert lock.enforced
    lock.release()
    holder.stdout.close()
