"""Libraries that were written for redis-py run on a store, unchanged."""

from __future__ import annotations

import importlib.util
import signal
import sys
import types

import pytest
from support.require import need

import aofnb


@pytest.fixture
def client(tmp_path):
    need("redis-py", importlib.util.find_spec("redis"))
    with aofnb.Redis(tmp_path / "app-data", appendfsync="no") as client:
        yield client


@pytest.fixture(autouse=True)
def _signals():
    """Workers put handlers of their own in place of Python's, and leave them there."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def jobs(monkeypatch):
    """A module that workers can import functions from, by name."""
    module = types.ModuleType("jobs_of_a_test")
    module.add = lambda a, b: a + b
    module.add.__module__, module.add.__qualname__, module.add.__name__ = module.__name__, "add", "add"
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def test_rq_queues_and_works(client, jobs):
    need("rq", importlib.util.find_spec("rq"))
    import rq

    queue = rq.Queue("work", connection=client)
    job = queue.enqueue(jobs.add, 2, 3)
    failing = queue.enqueue(jobs.add, 2, "three")
    assert job.get_status() == "queued"
    rq.SimpleWorker([queue], connection=client).work(burst=True)
    assert job.get_status() == "finished"
    assert job.return_value() == 5
    assert failing.get_status(refresh=True) == "failed"
    assert len(queue) == 0


def test_huey_runs_tasks(client):
    need("huey", importlib.util.find_spec("huey"))
    import huey

    tasks = huey.RedisHuey("app", connection_pool=client.connection_pool, immediate=False)

    @tasks.task()
    def add(a, b):
        return a + b

    result = add(2, 3)
    assert tasks.pending_count() == 1
    task = tasks.dequeue()
    tasks.execute(task)
    assert result.get() == 5
    assert tasks.pending_count() == 0


def test_limits_counts(client):
    need("limits", importlib.util.find_spec("limits"))
    import limits
    from limits.storage import RedisStorage
    from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter

    storage = RedisStorage("redis://", connection_pool=client.connection_pool)
    twice = limits.parse("2/minute")
    for strategy in (FixedWindowRateLimiter, MovingWindowRateLimiter):
        limiter = strategy(storage)
        name = strategy.__name__
        assert [limiter.hit(twice, name) for _ in range(3)] == [True, True, False]


def test_what_a_library_wrote_is_there_after_a_reopening(tmp_path, jobs):
    need("rq", importlib.util.find_spec("rq"))
    import rq

    with aofnb.Redis(tmp_path / "app-data", appendfsync="always") as client:
        rq.Queue("work", connection=client).enqueue(jobs.add, 2, 3, job_id="sum")
    with aofnb.Redis(tmp_path / "app-data", appendfsync="always") as client:
        rq.SimpleWorker(["work"], connection=client).work(burst=True)
        assert rq.job.Job.fetch("sum", connection=client).return_value() == 5
