"""The kernel that reads and writes sockets, in both of its forms."""

from __future__ import annotations

import select
import socket
import struct
import sys
from typing import Any

import pytest
from support.kernels import FORMS, kernel

import aofnb
from aofnb.resp.requests import RequestReader


def reset(sock):
    """Close it so that the other side is told of a reset, not of an end."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.fixture(params=FORMS)
def hot(request) -> Any:
    return kernel("aofnb.adapters._peer_cy", request.param)


@pytest.fixture
def told(hot):
    """A peer that notes what is left to `Connection`, the socket of the other side, and the notes."""
    notes: list[Any] = []

    class Noting(hot.Peer):
        def fault(self):
            notes.append(("fault", sys.exc_info()[0]))

        def read(self, data):
            notes.append(("read", data))

        def said_all(self):
            notes.append("said all")

        def flush_carefully(self, data):
            notes.append(("carefully", len(data)))

        def hold(self, data):
            notes.append(("held", bytes(data)))

        def close(self):
            notes.append("closed")
            self.closing = True

    with aofnb.open(None) as store, socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
        ours.setblocking(False)
        client = store.engine.new_client()
        with ours, theirs:
            yield Noting(hot.Traffic(), ours, client, RequestReader(), 32), theirs, notes


def arrive(peer):
    """Wait until there is something, then tell."""
    select.select([peer.sock], [], [])
    peer.readable()


def test_what_comes_is_run_in_the_next_turn(told):
    peer, theirs, notes = told
    peer.readable()
    theirs.send(b"GET k\r\n")
    arrive(peer)
    assert peer.traffic.arrived == [(peer, b"GET k\r\n")]
    assert peer.traffic.input_bytes == 7
    assert notes == []
    theirs.shutdown(socket.SHUT_WR)
    arrive(peer)
    assert notes == ["said all"]


@pytest.mark.parametrize(
    "otherwise",
    [
        lambda peer: peer.requests.append([b"PING"]),
        lambda peer: setattr(peer, "waiting_for", [b"BLPOP"]),
        lambda peer: setattr(peer, "under_way", True),
    ],
)
def test_what_stands_behind_something_is_read_first(told, otherwise):
    peer, theirs, notes = told
    otherwise(peer)
    theirs.send(b"x")
    arrive(peer)
    assert notes == [("read", b"x")]
    assert peer.traffic.arrived == []


def test_peers_are_read_together_and_all_else_is_told_otherwise(hot, told):
    peer, theirs, notes = told
    theirs.send(b"GET k\r\n")
    select.select([peer.sock], [], [])
    watchers = {3: peer, 4: peer, 5: object()}
    assert hot.read_plain([(3, 1), (4, 5), (5, 1), (6, 1)], watchers) == [(4, 5), (5, 1), (6, 1)]
    assert (peer.traffic.arrived, notes) == ([(peer, b"GET k\r\n")], [])


def test_a_fault_ends_only_whose_it_is(hot, told, monkeypatch):
    peer, theirs, notes = told
    theirs.send(b"x")
    select.select([peer.sock], [], [])
    peer.under_way = True
    monkeypatch.setattr(type(peer), "read", lambda self, data: 1 / 0)
    assert hot.read_plain([(3, 1), (3, 1)], {3: peer}) == []
    monkeypatch.setattr(type(peer), "flush_carefully", lambda self, data: 1 / 0)
    big = b"x" * (17 << 10)
    assert hot.send_all([(peer, big), (peer, b"+OK\r\n")]) == []
    assert notes == [("fault", ZeroDivisionError)] * 2
    assert theirs.recv(100) == b"+OK\r\n"


def test_who_has_more_to_be_run_is_told(hot, told):
    peer, _, _ = told
    assert hot.send_all([(peer, b"")]) == []
    peer.requests.append([b"PING"])
    assert hot.send_all([(peer, b"")]) == [peer]
    peer.waiting_for = [b"BLPOP"]
    assert hot.send_all([(peer, b"")]) == []
    peer.waiting_for, peer.closing = None, True
    assert hot.send_all([(peer, b"")]) == []


@pytest.mark.parametrize("name", ["reads", "closing"])
def test_nothing_is_read_that_nobody_wants(told, name):
    peer, theirs, notes = told
    setattr(peer, name, name == "closing")
    theirs.send(b"x")
    arrive(peer)
    assert (notes, peer.traffic.input_bytes) == ([], 0)


def test_a_reset_is_the_end(told):
    peer, theirs, notes = told
    reset(theirs)
    arrive(peer)
    assert notes == ["closed"]


def test_what_is_written_to_one_who_left_ends_it(told):
    peer, theirs, notes = told
    reset(theirs)
    while not notes:
        peer.flush(b"+OK\r\n")
    assert notes[0] == "closed"


def test_what_is_not_taken_is_held(told):
    peer, theirs, notes = told
    peer.unread_bytes = 7
    peer.flush(b"")
    peer.flush(b"+OK\r\n")
    assert theirs.recv(100) == b"+OK\r\n"
    assert peer.unread_bytes == 0
    sent = 5
    piece = b"0123456789abcdef" * 1000
    while not notes:
        peer.flush(piece)
        sent += len(piece)
    [(_, held)] = notes
    assert piece.endswith(held)
    assert peer.traffic.output_bytes == sent - len(held)
    assert peer.offer(memoryview(held)) == 0
    received = b""
    while len(received) < sent - 5 - len(held):
        received += theirs.recv(1 << 20)
    assert received + held == piece * (len(received + held) // len(piece))
    assert peer.offer(memoryview(held)) == len(held)


@pytest.mark.parametrize(
    "otherwise",
    [
        lambda peer: peer.requests.append([b"PING"]),
        lambda peer: peer.unsent.append(b"x"),
        lambda peer: setattr(peer, "closing", True),
        lambda peer: setattr(peer, "leaving", True),
        lambda peer: setattr(peer, "reads", False),
    ],
)
def test_what_is_not_as_usual_is_heeded(told, otherwise):
    peer, _, notes = told
    otherwise(peer)
    peer.flush(b"+OK\r\n")
    assert notes == [("carefully", 5)]


def test_what_may_be_over_a_limit_is_heeded(told):
    peer, _, notes = told
    peer.flush(b"x" * (16 << 10))
    peer.flush(b"x" * ((16 << 10) + 1))
    assert notes == [("carefully", (16 << 10) + 1)]


def test_a_closed_one_takes_nothing(told):
    peer, _, _ = told
    peer.sock.close()
    peer.sock = None
    assert peer.offer(b"x") == 0
