"""Jobs are done in order, in a thread or by the caller."""

from __future__ import annotations

import threading

import pytest
from support.faults import FaultFs

from aofnb.aof.bio import Bio


@pytest.mark.parametrize("inline", [False, True])
def test_jobs_are_done_in_order(inline):
    bio = Bio(inline=inline)
    done = []
    for number in range(20):
        bio.run(lambda number=number: done.append(number))
    bio.close()
    assert done == list(range(20))


def test_inline_jobs_are_done_at_once_by_the_caller():
    bio = Bio(inline=True)
    threads = []
    bio.run(lambda: threads.append(threading.current_thread()))
    assert threads == [threading.current_thread()]


@pytest.mark.parametrize("end", ["drain", "close"])
def test_held_jobs_wait(end):
    bio = Bio(inline=True)
    bio.held = True
    done = []
    bio.run(lambda: done.append(1))
    assert done == []
    getattr(bio, end)()
    assert done == [1]


@pytest.mark.parametrize("fail_at", [None, 0])
def test_an_inline_fsync_tells_how_it_went(fail_at, tmp_path):
    bio = Bio(inline=True)
    bio.held = True
    file = FaultFs(fail_at, only={"fdatasync"}).create(str(tmp_path / "file"))
    told = []
    bio.fsync(file, told.append)
    assert (bio.pending, told) == (1, [])
    bio.drain()
    assert bio.pending == 0
    assert [problem is None for problem in told] == [fail_at is None]
    file.close()


@pytest.mark.parametrize("inline", [False, True])
def test_whatever_an_fsync_raises_is_told_as_an_error_of_the_disk(inline, tmp_path):
    bio = Bio(inline=inline)
    file = FaultFs().create(str(tmp_path / "file"))

    def broken() -> None:
        raise ValueError("no such luck")

    file.fdatasync = broken  # type: ignore[method-assign]
    told = []
    bio.fsync(file, told.append)
    bio.drain()
    assert bio.pending == 0
    assert [str(problem) for problem in told] == ["[Errno 5] ValueError: no such luck"]
    bio.close()
    file.close()


def test_a_job_that_fails_does_not_keep_the_others_waiting_for_ever(caplog):
    bio = Bio()
    done = []
    bio.run(lambda: 1 / 0)
    bio.run(lambda: done.append(1))
    bio.drain()
    assert done == [1]
    assert "failed" in caplog.text
    bio.close()
