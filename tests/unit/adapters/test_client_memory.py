"""maxmemory-clients: limits, classes of size, and what is counted."""

from __future__ import annotations

import logging
import socket
import time
from contextlib import suppress

import pytest

import aofnb
from aofnb.adapters.client_memory import ClientMemory, limit_bytes
from aofnb.config import Config
from aofnb.resp.encode import encode_command


@pytest.mark.parametrize(
    ("text", "maxmemory", "limit"),
    [
        ("0", 0, 0),
        ("0%", 1 << 30, 0),
        ("1", 0, 128 << 10),
        ("1mb", 0, 1 << 20),
        ("50%", 0, 0),
        ("50%", 1 << 30, 1 << 29),
        ("1%", 1000, 128 << 10),
    ],
)
def test_limits(text, maxmemory, limit):
    assert limit_bytes(Config({"maxmemory-clients": text, "maxmemory": maxmemory})) == limit


class Someone:
    """As much of a connection as is weighed."""

    kind = "normal"
    sock = True

    def __init__(self, client, size):
        self.client = client
        client.buffers = lambda: {"memory": size}


@pytest.fixture
def store():
    with aofnb.open(None, background=False) as store:
        yield store


def someone(store, size, *, no_evict=False):
    client = store.engine.new_client()
    client.no_evict = no_evict
    return Someone(client, size)


def test_the_largest_class_goes_first_and_in_it_who_came_first(store):
    memory = ClientMemory()
    small, first, second, large = (someone(store, size) for size in (100, 70_000, 100_000, 1 << 40))
    kept = someone(store, 1 << 41, no_evict=True)
    for each in (kept, small, first, second, large):
        memory.weigh(each)
    assert list(memory.largest_first()) == [large, first, second, small]
    assert memory.total == 100 + 70_000 + 100_000 + (1 << 40) + (1 << 41)
    # One that shrinks and grows again is the last of its class; one that is weighed again stays where it is.
    memory.weigh(first)
    assert list(memory.largest_first())[1] is first
    first.client.buffers = lambda: {"memory": 50}
    memory.weigh(first)
    memory.weigh(first, 70_000)
    assert list(memory.largest_first()) == [large, second, first, small]
    for each in (kept, small, first, second, large):
        memory.forget(each)
        memory.forget(each)
    assert (memory.total, list(memory.largest_first())) == (0, [])


def test_what_multi_put_off_is_counted_as_it_comes(store):
    memory = ClientMemory()
    each = someone(store, 0)
    each.client.multi = []
    for number in range(1, 4):
        each.client.multi.append((None, [b"SET", b"k", b"v" * 100]))
        memory.weigh(each)
        memory.weigh(each)
        assert memory.total == number * (104 + 24)
    each.client.multi = [(None, [b"GET", b"k"])]
    memory.weigh(each)
    assert memory.total == 4 + 24
    each.client.multi = None
    memory.weigh(each)
    assert memory.total == 0


def test_who_is_let_go_is_told_in_the_log_and_in_info(store, caplog):
    def ended(sock):
        sock.settimeout(20)
        try:
            return sock.recv(100) == b""
        except ConnectionError:
            return True

    with store.serve() as server, caplog.at_level(logging.INFO, "aofnb.server"):
        admin = store.session()
        assert admin.execute("CONFIG", "SET", "maxmemory-clients", "1mb") == "OK"
        with socket.create_connection(server.address) as sock:
            with suppress(ConnectionError):
                sock.sendall(encode_command([b"SET", b"k", b"v" * 5_000_000])[:-1])
            assert ended(sock)
        deadline = time.monotonic() + 20
        while "evicted_clients:1" not in admin.execute("INFO", "stats").decode() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert admin.execute("CONFIG", "SET", "maxmemory-clients", "0") == "OK"
        assert not server.weighs
        with socket.create_connection(server.address) as sock:
            sock.sendall(encode_command([b"SET", b"k", b"v" * 5_000_000]))
            assert sock.recv(100) == b"+OK\r\n"
    told = [record.getMessage() for record in caplog.records if "Evicting client: id=" in record.getMessage()]
    assert len(told) == 1
    assert " cmd=NULL " in told[0]
