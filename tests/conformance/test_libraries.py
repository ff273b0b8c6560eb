"""Libraries that were written for redis-py run on a store, unchanged."""

from __future__ import annotations

import importlib.util
import queue
import signal
import sys
import threading
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


def test_dramatiq_works_in_threads(client):
    """Its broker is a Lua script, its workers are threads that poll and wait."""
    need("dramatiq", importlib.util.find_spec("dramatiq"))
    need("lupa", importlib.util.find_spec("lupa"))
    import dramatiq
    from dramatiq.brokers.redis import RedisBroker

    broker = RedisBroker(client=client)
    sums = queue.Queue()

    @dramatiq.actor(broker=broker)
    def add(a, b):
        sums.put(a + b)

    worker = dramatiq.Worker(broker, worker_timeout=50, worker_threads=2)
    worker.start()
    try:
        for number in range(10):
            add.send(number, 1)
        add.send_with_options(args=(100, 1), delay=20)
        assert sorted(sums.get(timeout=20) for _ in range(11)) == [*range(1, 11), 101]
        broker.join("default", timeout=20_000)
    finally:
        worker.stop()
        broker.close()


def test_redis_lock_waits_for_who_has_it(client):
    """Locks of python-redis-lock: scripts, and a blocking pop that a release wakes."""
    need("python-redis-lock", importlib.util.find_spec("redis_lock"))
    need("lupa", importlib.util.find_spec("lupa"))
    import redis_lock

    first, second = (redis_lock.Lock(client, "name", expire=20) for _ in range(2))
    assert first.acquire()
    assert not second.acquire(blocking=False)
    helper = threading.Timer(0.05, first.release)
    helper.start()
    assert second.acquire(timeout=10)
    helper.join()
    second.release()
    assert not second.locked()


def test_what_a_library_wrote_is_there_after_a_reopening(tmp_path, jobs):
    need("rq", importlib.util.find_spec("rq"))
    import rq

    with aofnb.Redis(tmp_path / "app-data", appendfsync="always") as client:
        rq.Queue("work", connection=client).enqueue(jobs.add, 2, 3, job_id="sum")
    with aofnb.Redis(tmp_path / "app-data", appendfsync="always") as client:
        rq.SimpleWorker(["work"], connection=client).work(burst=True)
        assert rq.job.Job.fetch("sum", connection=client).return_value() == 5
