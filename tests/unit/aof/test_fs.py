"""aofnb/aof/fs.py: files of the operating system, and the kernel that writes to them."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading

import pytest
from support.kernels import FORMS, kernel

from aofnb.aof import fs
from aofnb.aof.fs import OsFile


@pytest.fixture(params=FORMS)
def write_small(request):
    return kernel("aofnb.aof._write_cy", request.param).write_small


def test_a_small_write_is_a_write(write_small, tmp_path):
    with open(tmp_path / "file", "wb", buffering=0) as file:
        assert write_small(file.fileno(), bytearray(b"a\0b")) == 3
        assert write_small(file.fileno(), bytearray()) == 0
    assert (tmp_path / "file").read_bytes() == b"a\0b"


def test_it_fails_as_a_write_does(write_small, tmp_path):
    with open(tmp_path / "file", "wb") as file:
        closed = os.dup(file.fileno())
    os.close(closed)
    with pytest.raises(OSError, match="Bad file descriptor") as caught:
        write_small(closed, bytearray(b"x"))
    assert caught.value.errno == errno.EBADF


def test_a_signal_during_a_write_is_handled(write_small):
    """A full pipe stops the write; the handler raises, as Ctrl-C does."""

    class AlarmError(Exception):
        pass

    def handler(*_: object) -> None:
        raise AlarmError

    reader, writer = os.pipe()
    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(AlarmError):
            while True:
                write_small(writer, bytearray(1 << 14))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        os.close(reader)
        os.close(writer)


def test_no_other_thread_runs_during_small_writes(tmp_path):
    """A busy thread would get the GIL at the first write, and keep it for the whole switch interval."""
    kernel("aofnb.aof._write_cy", "compiled")
    ready, go = threading.Event(), threading.Event()
    stop = False
    turns = 0

    def busy() -> None:
        nonlocal turns
        ready.set()
        go.wait()
        while not stop:
            turns += 1

    file = OsFile(str(tmp_path / "file"), 0)
    thread = threading.Thread(target=busy)
    interval = sys.getswitchinterval()
    thread.start()
    ready.wait()
    try:
        sys.setswitchinterval(5)
        go.set()
        for _ in range(1000):
            file.write(bytearray(b"x" * 50))
        assert turns == 0
    finally:
        stop = True
        sys.setswitchinterval(interval)
        thread.join()
        file.close()
    assert (tmp_path / "file").stat().st_size == 50_000


@pytest.mark.parametrize("data", [bytes(5), memoryview(bytes(5)), bytearray(1 << 20)])
def test_what_is_no_small_buffer_goes_the_other_way(data, tmp_path, monkeypatch):
    monkeypatch.setattr(fs, "write_small", None)
    file = OsFile(str(tmp_path / "file"), 0)
    assert file.write(data) == len(data)
    file.close()


def test_a_write_beside_an_fsync_lets_others_run(tmp_path, monkeypatch):
    file = OsFile(str(tmp_path / "file"), 0)
    written = []

    def fdatasync(fd: int) -> None:
        monkeypatch.setattr(fs, "write_small", None)
        written.append(file.write(bytearray(b"x")))

    monkeypatch.setattr(fs, "_fdatasync", fdatasync)
    file.fdatasync()
    assert written == [1]
    assert not file._syncing
    file.close()
