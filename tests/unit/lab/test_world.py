"""`aof_world`: a test pulls the plug on itself, and finds what the policy promises."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.require import need_module

import aofnb
from aofnb.lab.world import World


@pytest.fixture
def world():
    world = World()
    yield world
    world.close()


@pytest.mark.parametrize(("policy", "left"), [("always", b"v"), ("no", None)])
def test_a_power_cut_leaves_what_the_policy_promises(world, policy, left):
    store = world.open(appendfsync=policy)
    assert store.execute("SET", "k", "v") == "OK"
    again = world.cut_power()
    assert again.execute("GET", "k") == left
    assert again.config_get("appendfsync") == policy
    with pytest.raises(aofnb.StoreClosedError, match="killed by the test"):
        store.execute("GET", "k")


def test_a_killed_process_leaves_what_was_written(world):
    world.open(appendfsync="no").execute("SET", "k", "v")
    store = world.kill()
    assert store.execute("GET", "k") == b"v"
    # A start makes durable what it has read: from then on the power takes none of it.
    assert world.cut_power().execute("GET", "k") == b"v"


def test_a_second_makes_everysec_durable(world):
    store = world.open(appendfsync="everysec")
    store.execute("SET", "k", "v", "EX", 100)
    world.advance(2)
    assert world.cut_power().execute("GET", "k") == b"v"
    world.advance(100)
    assert world.store.execute("GET", "k") is None


def test_redis_py_comes_back_with_its_options(world):
    need_module("redis")
    client = world.redis(appendfsync="always", decode_responses=True)
    with client.pipeline() as pipe:
        pipe.set("a", 1).rpush("l", "x", "y").execute()
    again = world.cut_power()
    assert again.get("a") == "1"
    assert again.lrange("l", 0, -1) == ["x", "y"]
    with pytest.raises(Exception, match="killed by the test"):
        client.get("a")


def test_at_every_crash_a_transaction_is_there_whole_or_not_at_all(world):
    need_module("redis")
    world.redis(appendfsync="always").set("stock", 5)

    def order(client):
        client.pipeline().decr("stock").rpush("orders", "o1").execute()
        client.set("done", "yes")

    found = set()
    for client in world.each_crash(order):
        state = client.get("stock"), client.lrange("orders", 0, -1), client.get("done")
        found.add((state[0], tuple(state[1]), state[2]))
    assert found == {(b"5", (), None), (b"4", (b"o1",), None), (b"4", (b"o1",), b"yes")}


def test_what_cannot_be_is_told(world):
    with pytest.raises(aofnb.ConfigError, match="nothing runs in this world yet"):
        world.kill()
    world.open()
    with pytest.raises(aofnb.ConfigError, match="running in this world already"):
        world.open()


@pytest.mark.slow
def test_pytest_knows_the_fixture(tmp_path):
    (tmp_path / "test_shop.py").write_text(
        "def test_it(aof_world):\n"
        "    aof_world.open(appendfsync='always').execute('SET', 'k', 'v')\n"
        "    assert aof_world.cut_power().execute('GET', 'k') == b'v'\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "aofnb.pytest_plugin", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True, text=True, timeout=60, cwd=tmp_path,
    )  # fmt: skip
    assert "1 passed" in done.stdout, done.stdout + done.stderr
