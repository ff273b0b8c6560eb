"""redis-py on a store gives what redis-py on a server gives."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from support.require import need, need_module
from support.server import available, redis_server

import aofnb

redis = need_module("redis")
need("redis-server", available())

import aofnb.asyncio  # noqa: E402  # needs redis-py

Call = Callable[[Any], Any]

CALLS: list[Call] = [
    lambda r: r.set("k", "v", ex=100),
    lambda r: r.set("k", "w", nx=True),
    lambda r: r.set("k", b"\xff\x00", get=True) if not _decodes(r) else r.set("k", "x", get=True),
    lambda r: r.get("k"),
    lambda r: r.get("none"),
    lambda r: r.mset({"a": 1, "b": 2.5}),
    lambda r: r.mget("a", "b", "none"),
    lambda r: r.incr("a", 5),
    lambda r: r.incrbyfloat("f", 0.5),
    lambda r: r.append("k2", "é"),
    lambda r: r.expire("a", 100, nx=True),
    lambda r: r.ttl("a"),
    lambda r: r.exists("a", "b", "none"),
    lambda r: r.hset("h", mapping={"x": 1, "y": "two"}),
    lambda r: r.hgetall("h"),
    lambda r: r.hmget("h", "x", "none"),
    lambda r: r.hscan("h"),
    lambda r: dict(r.hscan_iter("h")),
    lambda r: r.rpush("l", "a", "b", "c"),
    lambda r: r.lpos("l", "b"),
    lambda r: r.lrange("l", 0, -1),
    lambda r: r.lpop("l", 2),
    lambda r: r.lmove("l", "l2"),
    lambda r: r.blpop(["none", "l2"], timeout=1),
    lambda r: r.blpop("none", timeout=0.01),
    lambda r: r.brpoplpush("none", "l", timeout=0.01),
    lambda r: r.sadd("s", "m", "n"),
    lambda r: r.smembers("s"),
    lambda r: sorted(r.sscan_iter("s")),
    lambda r: r.smismember("s", ["m", "x"]),
    lambda r: r.zadd("z", {"a": 1, "b": 2.5}),
    lambda r: r.zadd("z", {"a": 1}, incr=True),
    lambda r: r.zrange("z", 0, -1, withscores=True),
    lambda r: r.zscore("z", "b"),
    lambda r: r.zmscore("z", ["a", "none"]),
    lambda r: r.zpopmin("z"),
    lambda r: r.zscan("z"),
    lambda r: r.bzpopmax("none", timeout=0.01),
    lambda r: r.xadd("x", {"f": "v"}, id="1-1"),
    lambda r: r.xadd("x", {"f": "w"}, id="1-2"),
    lambda r: r.xrange("x"),
    lambda r: r.xread({"x": "1-1"}),
    lambda r: r.xread({"x": "$"}, block=10),
    lambda r: r.xgroup_create("x", "g", "0"),
    lambda r: r.xreadgroup("g", "c", {"x": ">"}, count=1),
    lambda r: r.xpending("x", "g"),
    lambda r: r.xinfo_groups("x"),
    lambda r: r.xack("x", "g", "1-1"),
    lambda r: r.geoadd("geo", (13.361389, 38.115556, "p")),
    lambda r: r.geopos("geo", "p", "none"),
    lambda r: r.geosearch("geo", member="p", radius=1, unit="km", withdist=True),
    lambda r: r.type("z"),
    lambda r: r.object("encoding", "h"),
    lambda r: r.config_get("hash-max-*"),
    lambda r: r.config_set("hash-max-listpack-entries", 100),
    lambda r: r.ping(),
    lambda r: r.echo("hi"),
    lambda r: r.client_getname(),
    lambda r: r.dbsize(),
    lambda r: sorted(r.scan_iter(match="?")),
    lambda r: r.sort("s", alpha=True),
    lambda r: r.pfadd("p", 1, 2),
    lambda r: r.setbit("bit", 7, 1),
    lambda r: r.bitfield("bit2").set("u8", 0, 255).get("u8", 0).execute(),
    lambda r: r.pipeline().set("p1", 1).incr("p1").get("p1").hgetall("h").execute(),
    lambda r: r.pipeline(transaction=False).set("p1", 1).lpush("p1", 1).get("p1").execute(raise_on_error=False),
    lambda r: r.pipeline().lpush("p1", 1).execute(),
    lambda r: r.transaction(lambda pipe: (pipe.multi(), pipe.incr("p1")), "p1"),
    lambda r: _watched(r),
    lambda r: r.eval("return {KEYS[1], ARGV[1], 1, {2, false}}", 1, "k", "v"),
    lambda r: r.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")(keys=["n"], args=[5]),
    lambda r: _locked(r),
    lambda r: _published(r),
    lambda r: r.incr("h"),
    lambda r: r.execute_command("NOSUCH", 1),
    lambda r: r.execute_command("CONFIG GET", "hz"),
    lambda r: r.set("k", None),
    lambda r: r.set("k", True),
    lambda r: r.evalsha("0" * 40, 0),
    lambda r: r.execute_command("EXEC"),
    lambda r: r.flushall(),
]


def _decodes(r: Any) -> bool:
    return bool(r.get_encoder().decode_responses)


def _watched(r: Any) -> Any:
    with r.pipeline() as pipe:
        pipe.watch("w")
        r.set("w", "changed by another")
        pipe.multi()
        pipe.get("w")
        return pipe.execute()


def _locked(r: Any) -> Any:
    with r.lock("lock", timeout=10) as lock:
        return lock.owned(), lock.locked(), r.lock("lock", timeout=10).acquire(blocking=False)


def _published(r: Any) -> Any:
    with r.pubsub() as pubsub:
        pubsub.subscribe("c")
        pubsub.psubscribe("d*")
        first = [pubsub.get_message(timeout=5) for _ in range(2)]
        counts = r.publish("c", "one"), r.publish("deep", "two"), r.publish("none", "three")
        return first, counts, [pubsub.get_message(timeout=5) for _ in range(2)], pubsub.get_message(timeout=0)


def outcome(call: Call, client: Any) -> Any:
    try:
        return _comparable(call(client))
    except Exception as problem:
        return _comparable(problem)


def _comparable(value: Any) -> Any:
    if isinstance(value, Exception):
        return type(value), str(value)
    return [_comparable(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    "options",
    [{}, {"decode_responses": True}, {"protocol": 2}, {"protocol": 2, "decode_responses": True}, {"db": 3}],
    ids=str,
)
def test_every_call_gives_the_same(tmp_path, options):
    with (
        redis_server(tmp_path / "redis", appendfsync="no") as server,
        redis.Redis(port=server.port, **options) as theirs,
        aofnb.Redis(tmp_path / "us", appendfsync="no", **options) as ours,
    ):
        assert isinstance(ours, redis.Redis)
        for number, call in enumerate(CALLS):
            expected = outcome(call, theirs)
            assert outcome(call, ours) == expected, f"call {number}; the server gives {expected!r}"


def test_every_call_gives_the_same_with_asyncio(tmp_path):
    async def run(client: Any) -> list[Any]:
        results = [
            await client.set("k", "v"),
            await client.get("k"),
            await client.hset("h", mapping={"a": 1}),
            await client.hgetall("h"),
            [key async for key in client.scan_iter(match="k*")],
            await client.pipeline().incr("n").incr("n").execute(),
            await client.blpop("none", timeout=0.01),
            await asyncio.gather(client.blpop("later", timeout=5), client.rpush("later", "x")),
        ]
        try:
            await client.incr("h")
        except redis.ResponseError as problem:
            results.append(str(problem))
        async with client.lock("lock", timeout=5) as lock:
            results.append(await lock.owned())
        async with client.pubsub() as pubsub:
            await pubsub.subscribe("c")
            results.append(await pubsub.get_message(timeout=5))
            results.append(await client.publish("c", "m"))
            results.append(await pubsub.get_message(timeout=5))
        await client.aclose()
        return results

    for options in ({}, {"protocol": 2, "decode_responses": True}):
        with redis_server(tmp_path / f"redis{len(options)}", appendfsync="no") as server:
            expected = asyncio.run(run(redis.asyncio.Redis(port=server.port, **options)))
        assert asyncio.run(run(aofnb.asyncio.Redis(tmp_path / f"us{len(options)}", **options))) == expected


def test_one_thread_waits_for_what_another_one_brings(tmp_path):
    with aofnb.Redis(tmp_path / "us", decode_responses=True) as r:
        brought = threading.Event()

        def bring() -> None:
            r.rpush("q", "job")
            brought.set()

        helper = threading.Thread(target=bring)
        helper.start()
        assert r.blpop("q", timeout=10) == ("q", "job")
        assert brought.wait(10)
        helper.join()


def test_a_user_may_do_no_more_than_its_rules_say(tmp_path):
    """On every way: plain commands, pipelines, and with asyncio."""
    with aofnb.open(tmp_path / "us") as store:
        store.execute("ACL", "SETUSER", "ann", "on", ">pw", "~*", "+get", "+select")
        client = store.redis(username="ann", password="pw", db=2)
        for call in (
            lambda: client.set("k", "v"),
            lambda: client.pipeline().set("k", "v").execute(),
            lambda: client.lpush("l", 1),
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                call()
        assert client.get("k") is None

        async def with_asyncio() -> None:
            other = aofnb.asyncio.Redis(store, username="ann", password="pw")
            with pytest.raises(redis.exceptions.NoPermissionError):
                await other.set("k", "v")
            assert await other.get("k") is None
            await other.aclose()

        asyncio.run(with_asyncio())
        assert store.execute("DBSIZE") == 0
